//! The window with messages at fault: one test for each thing that may happen to them, and a model
//! of the whole relay, with its table of parked messages, staff and changes of owner, driven at
//! random.

use super::*;
use std::collections::BTreeMap;

const TRIES: u32 = 2;
const CUSTOMERS: u128 = 4;

fn alone(window: &mut Window<Message>) -> Vec<i64> {
    std::iter::from_fn(|| window.take_suspect()).map(|message| message.seq).collect()
}

fn diverted(window: &Window<Message>) -> Vec<i64> {
    window.diverted().iter().map(|message| message.seq).collect()
}

fn stored(message: &Message) -> Message {
    Message { stored: true, ..message.clone() }
}

/// A window whose first message has been proven at fault once; those after it are in flight.
fn once_guilty(messages: &[(i64, u128)], until: Instant) -> Window<Message> {
    let mut window = window(10, messages);
    let first = window.take().unwrap();
    window.caught(&first);
    while let Some(message) = window.take() {
        if message == first {
            window.caught(&first);
        }
    }
    assert_eq!(window.take_suspect().unwrap(), first);
    window.hold(&first, window.tries(&first) + 1, until);
    window
}

#[test]
fn m4_what_was_twice_under_way_when_the_channel_closed_goes_alone() {
    let mut window = window(10, &[(1, 1), (2, 2), (3, 1)]);
    for _ in 0..2 {
        assert_eq!(taken(&mut window), [1, 2]);
        window.caught(&message(1, 1));
        window.caught(&message(2, 2));
    }
    assert_eq!(taken(&mut window), [] as [i64; 0]);
    assert_eq!(alone(&mut window), [1, 2]);
    window.confirmed(&message(2, 2));
    window.confirmed(&message(1, 1));
    assert_eq!(taken(&mut window), [3], "the suspicion was of that message, not of the customer");
    assert_eq!(window.tries(&message(3, 1)), 0);
}

#[test]
fn m4_a_faulty_message_holds_its_own_customer_only() {
    let now = Instant::now();
    let mut window = once_guilty(&[(1, 1), (2, 1), (3, 2)], now + Duration::from_secs(1));
    window.confirmed(&message(3, 2));
    assert_eq!(window.progress(0), Some((0, 0)), "the position waits for the held one");
    window.release_due(now);
    assert_eq!((alone(&mut window), window.held()), (vec![], 1));
    window.release_due(now + Duration::from_secs(1));
    assert_eq!(alone(&mut window), [1]);
    assert_eq!(window.tries(&message(1, 1)), 1);
}

#[test]
fn m4_behind_a_parked_message_its_customers_later_ones_are_kept() {
    let now = Instant::now();
    let mut window = once_guilty(&[(1, 1), (2, 1), (3, 2)], now);
    window.release_due(now);
    window.take_suspect().unwrap();
    window.park(&message(1, 1), true);
    window.admit(message(4, 1));
    assert_eq!(window.progress(0), Some((1, 0)), "the position passes what is parked");
    assert_eq!(diverted(&window), [2, 4]);
    window.kept(2);
    window.confirmed(&message(3, 2));
    assert_eq!(window.progress(0), Some((4, 0)));
    assert_eq!((window.open_total(), window.held()), (0, 1));

    window.admit_stored(stored(&message(1, 1)), 0);
    assert_eq!(taken(&mut window), [1]);
    window.confirmed(&message(1, 1));
    assert_eq!(taken(&mut window), [] as [i64; 0], "a row of the outbox is not the parked one");
    window.confirmed(&stored(&message(1, 1)));
    window.unblock(Uuid::from_u128(1));
    window.admit(message(5, 1));
    assert_eq!(taken(&mut window), [5]);
}

#[test]
fn m4_a_parked_message_is_passed_where_that_is_configured() {
    let now = Instant::now();
    let mut window = once_guilty(&[(1, 1), (2, 1)], now);
    window.release_due(now);
    window.take_suspect().unwrap();
    window.park(&message(1, 1), false);
    assert_eq!((taken(&mut window), diverted(&window)), (vec![2], vec![]));
    assert_eq!(window.progress(0), Some((1, 0)));
}

#[test]
fn m4_what_an_owner_before_has_kept_is_done_and_what_it_tried_counts_on() {
    let mut window = Window::new(10);
    window.own(0, 0, 0);
    window.know(0, 1, Known::Kept);
    window.know(0, 2, Known::Tried(2));
    window.admit(message(1, 1));
    window.admit(message(2, 2));
    assert_eq!(window.progress(0), Some((1, 0)));
    assert_eq!(taken(&mut window), [] as [i64; 0]);
    assert_eq!(alone(&mut window), [2], "known to be at fault, it closes nobody's channel");
    assert_eq!(window.tries(&message(2, 2)), 2);
}

/// A row of the table of parked messages, as the real one is used.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kept {
    Trying(u32),
    Parked,
    Behind,
    Released(u32),
    Discarded,
    Over,
}

/// What happens next; the numbers choose among what is there.
#[derive(Clone, Debug)]
enum Step {
    Read,
    Launch,
    Try,
    Land(usize, Answer),
    Staff(usize, Decision),
    LookAfter,
    NewOwner,
    /// The broker takes one of the poisoned messages from now on.
    Mend(usize),
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Yes,
    Down,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    Replay,
    Discard,
}

fn step() -> impl Strategy<Value = Step> {
    let answer =
        prop_oneof![6 => Just(Answer::Yes), 1 => Just(Answer::Down), 1 => Just(Answer::Closed)];
    let decision = prop_oneof![Just(Decision::Replay), Just(Decision::Discard)];
    prop_oneof![
        3 => Just(Step::Read),
        3 => Just(Step::Launch),
        3 => Just(Step::Try),
        8 => (0_usize..64, answer).prop_map(|(at, answer)| Step::Land(at, answer)),
        2 => (0_usize..64, decision).prop_map(|(at, decision)| Step::Staff(at, decision)),
        4 => Just(Step::LookAfter),
        1 => Just(Step::NewOwner),
        1 => (0_usize..64).prop_map(Step::Mend),
    ]
}

/// The outbox with one shard, its cursor, the table of parked messages, and one owner after the
/// other.
struct Relay {
    outbox: Vec<Message>,
    poisoned: Vec<i64>,
    cursor: i64,
    table: BTreeMap<i64, Kept>,
    window: Window<Message>,
    flying: Vec<(Arc<Message>, bool)>,
    under_way: Vec<u128>,
    /// Everything that the broker took, in order.
    delivered: Vec<Message>,
    now: Instant,
}

impl Relay {
    fn new(outbox: Vec<Message>, poisoned: Vec<i64>) -> Self {
        let mut relay = Self {
            outbox,
            poisoned,
            cursor: 0,
            table: BTreeMap::new(),
            window: Window::new(4),
            flying: Vec::new(),
            under_way: Vec::new(),
            delivered: Vec::new(),
            now: Instant::now(),
        };
        relay.own();
        relay
    }

    fn row(&self, seq: i64) -> &Message {
        self.outbox.iter().find(|message| message.seq == seq).unwrap()
    }

    /// The customer's first row that waits.
    fn head(&self, customer: u128) -> Option<(i64, Kept)> {
        let waits = |kept: &Kept| !matches!(kept, Kept::Over | Kept::Trying(_));
        let mut rows = self.table.iter().filter(|(seq, _)| self.row(**seq).customer == customer);
        rows.find(|(_, kept)| waits(kept)).map(|(seq, kept)| (*seq, *kept))
    }

    /// What a successor knows is the cursor and the table.
    fn own(&mut self) {
        self.window.clear();
        self.flying.clear();
        self.under_way.clear();
        self.window.own(0, self.cursor, 0);
        self.table.retain(|seq, kept| *seq > self.cursor || !matches!(kept, Kept::Trying(_)));
        for (seq, kept) in self.table.range(self.cursor + 1..) {
            let known = match kept {
                Kept::Trying(tries) => Known::Tried(*tries),
                _ => Known::Kept,
            };
            self.window.know(0, *seq, known);
        }
        for customer in 0..CUSTOMERS {
            if self.head(customer).is_some() {
                self.window.block(Uuid::from_u128(customer));
            }
        }
    }

    fn keep_diverted(&mut self) {
        let some = diverted(&self.window);
        for seq in &some {
            let row = self.table.entry(*seq).or_insert(Kept::Behind);
            if matches!(row, Kept::Trying(_)) {
                *row = Kept::Behind;
            }
        }
        self.window.kept(some.len());
    }

    fn land(&mut self, message: &Arc<Message>, trial: bool, answer: Answer) {
        let poisoned = self.poisoned.contains(&message.seq);
        match (answer, trial) {
            (Answer::Down, false) => self.window.failed(message),
            (Answer::Down, true) => {
                let tries = self.window.tries(message);
                self.window.hold(message, tries, self.now);
            }
            (_, true) if poisoned => self.sentence(message),
            (Answer::Closed, false) => self.window.caught(message),
            (Answer::Yes, false) if poisoned => self.window.caught(message),
            (Answer::Yes | Answer::Closed, _) => {
                self.delivered.push((**message).clone());
                if message.stored {
                    self.table.insert(message.seq, Kept::Over);
                    self.under_way.retain(|customer| *customer != message.customer);
                } else {
                    self.table.remove(&message.seq);
                }
                self.window.confirmed(message);
            }
        }
    }

    fn sentence(&mut self, message: &Arc<Message>) {
        let tries = self.window.tries(message) + 1;
        let kept = match (tries >= TRIES, message.stored) {
            (true, _) => Kept::Parked,
            (false, true) => Kept::Released(tries),
            (false, false) => Kept::Trying(tries),
        };
        self.table.insert(message.seq, kept);
        if kept != Kept::Parked {
            return self.window.hold(message, tries, self.now);
        }
        self.window.park(message, true);
        if message.stored {
            self.under_way.retain(|customer| *customer != message.customer);
        }
        self.keep_diverted();
    }

    fn look_after(&mut self) {
        for customer in 0..CUSTOMERS {
            while !self.under_way.contains(&customer) {
                let Some((seq, kept)) = self.head(customer) else {
                    self.window.unblock(Uuid::from_u128(customer));
                    break;
                };
                let tries = match kept {
                    Kept::Parked => break,
                    Kept::Discarded => {
                        self.table.insert(seq, Kept::Over);
                        continue;
                    }
                    Kept::Released(tries) => tries,
                    _ => 0,
                };
                self.table.insert(seq, Kept::Released(tries));
                let row = stored(self.row(seq));
                self.window.admit_stored(row, tries);
                self.under_way.push(customer);
            }
        }
    }

    fn decide(&mut self, at: usize, decision: Decision) {
        let may = |kept: &Kept| match decision {
            Decision::Replay => *kept == Kept::Parked,
            Decision::Discard => matches!(kept, Kept::Parked | Kept::Behind),
        };
        let open: Vec<i64> =
            self.table.iter().filter(|(_, kept)| may(kept)).map(|(seq, _)| *seq).collect();
        if !open.is_empty() {
            let decided = match decision {
                Decision::Replay => Kept::Released(0),
                Decision::Discard => Kept::Discarded,
            };
            self.table.insert(open[at % open.len()], decided);
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Read => {
                let (after, _) = self.window.read_from(0).unwrap();
                if let Some(next) = self.outbox.iter().find(|message| message.seq > after) {
                    self.window.admit(next.clone());
                    self.keep_diverted();
                }
            }
            Step::Launch => {
                while let Some(message) = self.window.take() {
                    self.flying.push((message, false));
                }
            }
            Step::Try => {
                self.window.release_due(self.now);
                if !self.flying.iter().any(|(_, trial)| *trial)
                    && let Some(message) = self.window.take_suspect()
                {
                    self.flying.push((message, true));
                }
            }
            Step::Land(at, answer) => {
                if !self.flying.is_empty() {
                    let (message, trial) = self.flying.swap_remove(at % self.flying.len());
                    self.land(&message, trial, *answer);
                }
            }
            Step::Staff(at, decision) => self.decide(*at, *decision),
            Step::LookAfter => self.look_after(),
            Step::NewOwner => self.own(),
            Step::Mend(at) => {
                if !self.poisoned.is_empty() {
                    self.poisoned.swap_remove(at % self.poisoned.len());
                }
            }
        }
        // Written down now and then, not after each step.
        if matches!(step, Step::Read | Step::LookAfter) {
            self.cursor = self.window.progress(0).unwrap().0;
        }
        self.check();
    }

    /// What holds after each step.
    fn check(&self) {
        for customer in 0..CUSTOMERS {
            let flying = self.flying.iter().filter(|(message, _)| message.customer == customer);
            assert!(flying.count() <= 1, "two of one customer on their way");
        }
        for message in self.outbox.iter().filter(|message| message.seq <= self.cursor) {
            let there = self.delivered.iter().any(|delivered| delivered.seq == message.seq);
            let kept = self.table.get(&message.seq);
            let kept = kept.is_some_and(|kept| !matches!(kept, Kept::Trying(_)));
            assert!(there || kept, "lost: {message:?}");
        }
        let mut latest: BTreeMap<u128, i64> = BTreeMap::new();
        for message in &self.delivered {
            let last = latest.entry(message.customer).or_default();
            // Whatever was jumped over, staff has discarded.
            let skipped = self.outbox.iter().filter(|other| {
                other.customer == message.customer && other.seq > *last && other.seq < message.seq
            });
            for other in skipped {
                let row = self.table.get(&other.seq);
                let discarded = matches!(row, Some(Kept::Discarded | Kept::Over));
                assert!(discarded, "{} overtook {}", message.seq, other.seq);
            }
            *last = (*last).max(message.seq);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the broker answers, staff decides and owners come and go: nothing is lost, first
    /// deliveries of a customer are in order, and once the broker takes everything and staff has
    /// replayed everything, everything is there.
    #[test]
    fn m2_m4_order_and_completeness_with_messages_at_fault(
        messages in prop::collection::vec((0..CUSTOMERS, prop::bool::weighted(0.2)), 1..24),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let numbered = || (1_i64..).zip(&messages);
        let outbox = numbered().map(|(seq, (customer, _))| message(seq, *customer)).collect();
        let poisoned = numbered().filter(|(_, (_, poisoned))| *poisoned).map(|(seq, _)| seq);
        let mut relay = Relay::new(outbox, poisoned.collect());
        for step in &steps {
            relay.take(step);
        }
        relay.poisoned.clear();
        for _ in 0..80 {
            for step in [
                Step::Staff(0, Decision::Replay), Step::LookAfter, Step::Read, Step::Launch,
                Step::Try, Step::Land(0, Answer::Yes), Step::LookAfter,
            ] {
                relay.take(&step);
            }
        }
        for message in &relay.outbox {
            let there = relay.delivered.iter().any(|delivered| delivered.seq == message.seq);
            let discarded = relay.table.get(&message.seq) == Some(&Kept::Over);
            prop_assert!(there || discarded, "{message:?} is stuck: {:?}", relay.table);
        }
        prop_assert_eq!(relay.window.progress(0).unwrap().0, i64::try_from(messages.len()).unwrap());
        prop_assert_eq!((relay.window.open_total(), relay.window.held()), (0, 0));
    }
}
