//! Rule A12, measured: whether the time of an answer tells who has an account.
//!
//! Samples of all kinds of accounts are taken in turns, one at a time, each round in another order,
//! so that whatever else the machine does falls on all of them alike. For each kind the difference
//! to the address that nobody has is taken round by round; a bootstrap interval says how well its
//! median is known. A leak is a difference that lies with all of its interval beyond a share of what
//! the answer takes: no figure depends on the speed of the machine.
//!
//! Answers that could tell leave at round instants, every tenth of a second. Work that is left out
//! for some would hide behind that, so that passwords are hashed for everybody is counted.
//!
//! `TIMING_ROUNDS=100 cargo test --test it -- timing --nocapture` is the long form; it shows the
//! figures, and takes about five minutes.

use std::collections::BTreeMap;
use std::time::Instant;

use customer_service::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use crate::harness::shopper::{address, registration};
use crate::harness::{Answer, Api, Shop, Shopper, unique};

/// Rounds of the short form.
const ROUNDS: usize = 10;
/// The share of an answer's time from which on a difference is a leak.
const SHARE: f64 = 0.05;
/// Accounts of a kind; they are used in turn.
const ACCOUNTS: usize = 8;
const RESAMPLES: usize = 2_000;

/// The kinds of accounts that an address may have, and none.
const NOBODY: &str = "nobody";
const KINDS: [&str; 6] =
    [NOBODY, "customer", "without password", "suspended", "inactive", "unverified"];

/// One test's accounts: the addresses of each kind.
struct Accounts(BTreeMap<&'static str, Vec<String>>);

impl Accounts {
    /// Made by staff in a moment, then given what makes their kind.
    async fn new(shop: &Shop, api: &Api, each: usize) -> Self {
        let model = Shopper::new(shop, api).await;
        let mut all = BTreeMap::new();
        for kind in KINDS {
            let addresses: Vec<String> = (0..each).map(|_| address()).collect();
            for email in addresses.iter().filter(|_| kind != NOBODY) {
                let body = json!({ "email": email, "first_name": "Lan", "last_name": "Nguyễn" });
                let made = api.post("/v1/admin/customers", body).bearer(&shop.staff_key);
                made.send().await.expect(201);
            }
            let (status, verified) = match kind {
                "suspended" => ("suspended", "now()"),
                "inactive" => ("inactive", "now()"),
                "unverified" => ("pending", "NULL"),
                _ => ("active", "now()"),
            };
            let list = addresses.iter().map(|email| format!("'{email}'")).collect::<Vec<_>>();
            let list = list.join(", ");
            let mut sql = format!(
                "UPDATE customers SET status = '{status}', email_verified_at = {verified} \
                 WHERE email_canonical IN ({list});"
            );
            if kind != "without password" {
                sql += &format!(
                    "INSERT INTO passwords (customer_id, hash, changed_at) \
                     SELECT c.id, p.hash, now() FROM customers c, passwords p \
                     WHERE c.email_canonical IN ({list}) AND p.customer_id = '{}';",
                    model.id
                );
            }
            shop.database.execute(&sql).await;
            all.insert(kind, addresses);
        }
        Self(all)
    }

    fn of(&self, kind: &str, round: usize) -> &str {
        let addresses = &self.0[kind];
        &addresses[round % addresses.len()]
    }
}

/// Everything of an answer that its reader can compare, but for what differs by nature.
fn shape(answer: &Answer) -> (u16, Vec<String>, Value) {
    let mut headers: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
    headers.sort();
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    (answer.status, headers, body)
}

/// What was measured of one route.
struct Samples {
    route: &'static str,
    /// Milliseconds by kind, one a round.
    times: BTreeMap<&'static str, Vec<f64>>,
}

impl Samples {
    /// Takes `rounds` samples of each kind. All answers must have one shape.
    async fn take<F>(
        route: &'static str,
        rounds: usize,
        kinds: &[&'static str],
        mut call: impl FnMut(&'static str, usize) -> F,
    ) -> Self
    where
        F: Future<Output = Answer>,
    {
        let mut times: BTreeMap<_, Vec<f64>> = BTreeMap::new();
        let (mut expected, mut chance) = (None, Chance::new());
        // The first round opens connections and plans statements.
        for round in 0..=rounds {
            for kind in chance.shuffled(kinds) {
                let since = Instant::now();
                let answer = call(kind, round).await;
                let took = since.elapsed().as_secs_f64() * 1000.0;
                let shape = shape(&answer);
                assert_eq!(
                    expected.get_or_insert_with(|| shape.clone()),
                    &shape,
                    "{route}: {kind}"
                );
                if round > 0 {
                    times.entry(kind).or_default().push(took);
                }
            }
        }
        Self { route, times }
    }

    /// Prints what was found; answers with the kinds that could be told from nobody by a
    /// difference of more than `share` of the time of an answer.
    fn leaks(&self, share: f64) -> Vec<String> {
        let (nobody, mut chance) = (&self.times[NOBODY], Chance::new());
        let typical = median(nobody.clone());
        println!("{}: an address that nobody has: {typical:.2} ms", self.route);
        let mut leaks = Vec::new();
        for (kind, times) in self.times.iter().filter(|(kind, _)| **kind != NOBODY) {
            let differences: Vec<_> = times.iter().zip(nobody).map(|(a, b)| a - b).collect();
            let found = median(differences.clone());
            let (low, high) = interval(&differences, &mut chance);
            println!(
                "  {kind:18} {:8.2} ms, differs by {found:+.2} ms (99.9 %: {low:+.2} to {high:+.2})",
                median(times.clone())
            );
            if low > share * typical || high < -share * typical {
                leaks.push(format!("{}: {kind} by {found:+.2} ms of {typical:.2}", self.route));
            }
        }
        leaks
    }
}

/// Where the median lies with a probability of 99.9 %, by resampling.
fn interval(samples: &[f64], chance: &mut Chance) -> (f64, f64) {
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| median((0..samples.len()).map(|_| samples[chance.below(samples.len())]).collect()))
        .collect();
    medians.sort_by(f64::total_cmp);
    (medians[RESAMPLES / 2_000], medians[RESAMPLES - 1 - RESAMPLES / 2_000])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A few random numbers (xorshift), from a seed of the system's.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let mut seed = [0; 8];
        SystemClock.random(&mut seed);
        Self(u64::from_le_bytes(seed) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn shuffled<T: Copy>(&mut self, items: &[T]) -> Vec<T> {
        let mut items = items.to_vec();
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
        items
    }
}

fn rounds() -> usize {
    let wanted = std::env::var("TIMING_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    wanted.unwrap_or(ROUNDS)
}

/// Nobody else's traffic in between, and no lock in the way.
async fn shop() -> Shop {
    Shop::configured(&[("SIGN_IN__MAX_FAILURES", "100"), ("OUTBOX__POLL_MS", "1000")]).await
}

/// The costs of a hash: next to nothing, and that of a real shop.
const COSTS: [(&str, &str, &str); 2] =
    [("login, cheap hash", "256", "1"), ("login, full hash", "19456", "2")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_timing_of_a_wrong_password_tells_nothing_of_the_account() {
    let shop = shop().await;
    let mut leaks = Vec::new();
    for (route, memory, passes) in COSTS {
        let cost = [("HASHING__MEMORY_KIB", memory), ("HASHING__PASSES", passes)];
        let node = shop.node_with(&cost).await;
        let rounds = rounds();
        let accounts = Accounts::new(&shop, &node, ACCOUNTS.max(rounds / 40)).await;
        let before = node.metric("password_verifications_total").await;
        let samples = Samples::take(route, rounds, &KINDS, |kind, round| {
            let body =
                json!({ "email": accounts.of(kind, round), "password": "wrong password 12" });
            node.post("/v1/auth/login", body).send()
        })
        .await;
        let verified = node.metric("password_verifications_total").await - before;
        assert_eq!(verified, ((rounds + 1) * KINDS.len()) as f64, "one hash for each answer");
        leaks.extend(samples.leaks(SHARE));
    }
    assert_eq!(leaks, [""; 0]);
}

/// The failure that locks is more to write where there is an owner to be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_timing_of_the_failure_that_locks_tells_nothing_of_the_account() {
    let shop = Shop::configured(&[("SIGN_IN__MAX_FAILURES", "1")]).await;
    let node = shop.node().await;
    let rounds = rounds();
    let accounts = Accounts::new(&shop, &node, rounds + 1).await;
    let samples = Samples::take("login, locks", rounds, &KINDS, |kind, round| {
        let body = json!({ "email": accounts.of(kind, round), "password": "wrong password 12" });
        node.post("/v1/auth/login", body).send()
    })
    .await;
    assert_eq!(samples.leaks(SHARE), [""; 0]);
    let locks = "SELECT count(*) FROM audit_entries WHERE action = 'sign_in.locked'";
    assert_eq!(shop.database.count(locks).await, ((rounds + 1) * (KINDS.len() - 1)) as i64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_timing_of_a_lock_tells_nothing_of_the_account() {
    let shop = Shop::configured(&[("SIGN_IN__MAX_FAILURES", "1")]).await;
    let node = shop.node().await;
    let accounts = Accounts::new(&shop, &node, 2).await;
    let try_once = |kind: &'static str, round| {
        let body = json!({ "email": accounts.of(kind, round), "password": "wrong password 12" });
        node.post("/v1/auth/login", body).send()
    };
    for kind in KINDS {
        for round in 0..2 {
            try_once(kind, round).await.problem(401, "invalid_credentials");
        }
    }
    let samples = Samples::take("login, locked", rounds(), &KINDS, |kind, round| {
        let answer = try_once(kind, round);
        async move { untimed(answer.await.problem(429, "login_locked")) }
    })
    .await;
    assert_eq!(samples.leaks(SHARE), [""; 0]);
}

/// Without the seconds that are left of a lock, which go by.
fn untimed(mut answer: Answer) -> Answer {
    let mut body = answer.json();
    body["detail"] = Value::Null;
    answer.body = body.to_string().into_bytes();
    answer
}

/// Every account is used for few samples: mails to one address are limited.
async fn paced_accounts(shop: &Shop, api: &Api, rounds: usize) -> Accounts {
    Accounts::new(shop, api, rounds / 2 + 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_timing_of_registering_tells_nothing_of_the_account() {
    let shop = shop().await;
    let node = shop.node().await;
    let rounds = rounds();
    let accounts = paced_accounts(&shop, &node, rounds).await;
    let samples = Samples::take("register", rounds, &KINDS, |kind, round| {
        // Who registers has an account afterwards: nobody's address is new each time.
        let fresh = format!("{}@shoppers.example", unique("nobody"));
        let email = if kind == NOBODY { &fresh } else { accounts.of(kind, round) };
        node.post("/v1/auth/register", registration(email)).send()
    })
    .await;
    assert_eq!(samples.leaks(SHARE), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_timing_of_resending_tells_nothing_of_the_account() {
    let shop = shop().await;
    let node = shop.node().await;
    let rounds = rounds();
    let accounts = paced_accounts(&shop, &node, rounds).await;
    let samples = Samples::take("resend", rounds, &KINDS, |kind, round| {
        node.post("/v1/auth/email/resend", json!({ "email": accounts.of(kind, round) })).send()
    })
    .await;
    assert_eq!(samples.leaks(SHARE), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a12_timing_of_a_forgotten_password_tells_nothing_of_the_account() {
    let shop = shop().await;
    let node = shop.node().await;
    let rounds = rounds();
    let accounts = paced_accounts(&shop, &node, rounds).await;
    let samples = Samples::take("forgot", rounds, &KINDS, |kind, round| {
        node.post("/v1/auth/password/forgot", json!({ "email": accounts.of(kind, round) })).send()
    })
    .await;
    assert_eq!(samples.leaks(SHARE), [""; 0]);
}

/// The measure itself: it must see what is there, and not what is not.
#[test]
fn a12_a_leak_is_told_from_noise() {
    let mut chance = Chance::new();
    let mut samples = |more: f64| -> Vec<f64> {
        (0..40).map(|_| 10.0 + more + chance.below(400) as f64 / 100.0).collect()
    };
    let (quiet, leaking) = (samples(0.0), samples(6.0));
    let times = BTreeMap::from([(NOBODY, samples(0.0)), ("quiet", quiet), ("leaking", leaking)]);
    let leaks = Samples { route: "made up", times }.leaks(0.25);
    assert!(leaks.len() == 1 && leaks[0].contains("leaking"), "{leaks:?}");
}
