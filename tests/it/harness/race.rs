//! Races for what may be used once: 64 uses at the same time, spread over two nodes of one database,
//! round after round. In every round one use succeeds, every other one gets the refusal that the
//! contract names, and the database tells of one use.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::{Answer, Node, Shop};

/// Uses of one thing in one round.
pub const USES: usize = 64;

/// For nodes on a busy machine: nothing is refused for want of time. The limits of a test's shop are
/// wide by themselves.
const PATIENT: &[(&str, &str)] = &[
    ("HTTP__HEAD_TIMEOUT_MS", "30000"),
    ("HTTP__BODY_TIMEOUT_MS", "30000"),
    ("HTTP__REQUEST_TIMEOUT_MS", "60000"),
    ("HTTP__SHUTDOWN_TIMEOUT_SECONDS", "60"),
    ("SHARDS__CALL_TIMEOUT_MS", "40000"),
    ("DATABASE__ACQUIRE_TIMEOUT_MS", "30000"),
    ("DATABASE__STATEMENT_TIMEOUT_MS", "30000"),
    ("DATABASE__LOCK_TIMEOUT_MS", "20000"),
    ("HASHING__DEADLINE_MS", "20000"),
    ("REDIS__TIMEOUT_MS", "5000"),
    ("SIGN_IN__WAIT_MS", "20000"),
    ("SIGN_IN__CLAIM_TIMEOUT_SECONDS", "60"),
    ("SIGN_IN__CHALLENGE_MINUTES", "60"),
    ("SIGN_IN__SECOND_FACTOR_MAX_FAILURES", "100"),
    ("SESSIONS__REUSE_GRACE_SECONDS", "60"),
    ("LIMITS__PASSWORD_CHECKS_PER_MINUTE", "1000000"),
];

/// How often each race is run: a few times, or as `TEST_ROUNDS` says.
pub fn rounds() -> usize {
    std::env::var("TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// A shop with two nodes, and with settings (`SECTION__KEY`) of the thing's own.
pub async fn shop_with_two_nodes(more: &[(&str, &str)]) -> (Shop, [Node; 2]) {
    let settings: Vec<_> = PATIENT.iter().chain(more).copied().collect();
    let shop = Shop::configured(&settings).await;
    let nodes = [shop.node().await, shop.node().await];
    (shop, nodes)
}

/// All uses at once, every second one on the other node; the answers in the order of the uses.
pub async fn all_at_once<'a, F>(
    nodes: &'a [Node; 2],
    use_it: impl Fn(&'a Node, usize) -> F,
) -> Vec<Answer>
where
    F: Future<Output = Answer>,
{
    join_all((0..USES).map(|number| use_it(&nodes[number % 2], number))).await
}

/// The races for one thing.
pub struct Race {
    thing: &'static str,
    /// What one of the uses is answered: its status, and its code where it is a problem.
    once: &'static str,
    /// What all others are answered.
    others: &'static str,
    rounds: usize,
    successes: usize,
    refused: usize,
}

impl Race {
    pub fn new(thing: &'static str, once: &'static str, others: &'static str) -> Self {
        Self { thing, once, others, rounds: 0, successes: 0, refused: 0 }
    }

    /// One round. Answers with the number of the use that was the one, and its answer.
    ///
    /// # Panics
    /// Unless all answers are those expected.
    pub async fn round<'a, F>(
        &mut self,
        nodes: &'a [Node; 2],
        use_it: impl Fn(&'a Node, usize) -> F,
    ) -> (usize, Answer)
    where
        F: Future<Output = Answer>,
    {
        let answers = all_at_once(nodes, use_it).await;
        self.rounds += 1;
        let mut counted = BTreeMap::new();
        for answer in &answers {
            *counted.entry(told(answer)).or_insert(0) += 1;
            if answer.status >= 400 {
                answer.assert_problem();
                self.refused += 1;
            } else {
                self.successes += 1;
            }
        }
        let expected =
            BTreeMap::from([(self.once.to_owned(), 1), (self.others.to_owned(), USES - 1)]);
        assert_eq!(counted, expected, "{}: round {}", self.thing, self.rounds);
        let the_one = answers.into_iter().enumerate().find(|(_, answer)| told(answer) == self.once);
        the_one.expect("it was counted")
    }

    /// Prints what came of all rounds.
    pub fn report(self) {
        let Self { thing, rounds, successes, refused, .. } = self;
        println!(
            "{thing}: {rounds} rounds of {USES} uses over two nodes, {successes} successes, \
             {refused} refused"
        );
    }
}

/// An answer in short: its status, and its code where it is a problem.
fn told(answer: &Answer) -> String {
    format!("{} {}", answer.status, answer.code()).trim_end().to_owned()
}

/// What was written about one customer until now: its messages and audit entries.
pub struct Written<'a> {
    shop: &'a Shop,
    customer: String,
    counted: BTreeMap<String, usize>,
}

impl<'a> Written<'a> {
    pub async fn about(shop: &'a Shop, customer: &str) -> Self {
        let mut written = Self::nothing_about(shop, customer);
        written.counted = written.count().await;
        written
    }

    /// For a customer who has just come to be.
    pub fn nothing_about(shop: &'a Shop, customer: &str) -> Self {
        Self { shop, customer: customer.to_owned(), counted: BTreeMap::new() }
    }

    /// What was written since then, sorted: `entry …` and `message …`, with its number in front
    /// where it is more than one.
    pub async fn since(&self) -> Vec<String> {
        let now = self.count().await;
        let grown = now.into_iter().filter_map(|(name, count)| {
            match count - self.counted.get(&name).copied().unwrap_or(0) {
                0 => None,
                1 => Some(name),
                more => Some(format!("{more} {name}")),
            }
        });
        grown.collect()
    }

    async fn count(&self) -> BTreeMap<String, usize> {
        let messages = self.shop.messages(&self.customer).await;
        let entries = self.shop.entries(&self.customer).await;
        let messages = messages.into_iter().map(|kind| format!("message {kind}"));
        let entries = entries.into_iter().map(|action| format!("entry {action}"));
        let mut counted = BTreeMap::new();
        for name in messages.chain(entries) {
            *counted.entry(name).or_insert(0) += 1;
        }
        counted
    }
}
