//! What the relay knows of the messages between reading and confirmation: which may be published
//! next, and how far each shard is done. Pure: no I/O, no clock.
//!
//! Two promises hold by construction. Of one customer at most one message is in flight, the one
//! that comes next, so a refusal can never let a later message overtake an earlier one. And a
//! position moves only over messages that are confirmed without a gap, so none is ever skipped.

use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

/// Where a message stands and whose it is.
pub trait Entry {
    /// Its logical shard.
    fn shard(&self) -> i16;
    /// Its number, rising within the shard.
    fn seq(&self) -> i64;
    /// Its hour, never falling within the shard.
    fn bucket(&self) -> i32;
    /// Whom it is about.
    fn customer(&self) -> Uuid;
    /// When it was decided.
    fn occurred_at(&self) -> DateTime<Utc>;
}

/// The messages read and not yet done, of the shards owned.
#[derive(Debug)]
pub struct Window<M> {
    in_flight_max: usize,
    in_flight: usize,
    shards: BTreeMap<i16, Progress>,
    lanes: HashMap<Uuid, Lane<M>>,
    /// Customers whose next message may go now.
    ready: VecDeque<Uuid>,
}

/// One shard: confirmed up to `position`, read up to `read_to`.
#[derive(Debug)]
struct Progress {
    position: i64,
    read_to: i64,
    /// No row after `read_to` lies in an earlier bucket, now or ever.
    floor: i32,
    /// Read and beyond `position`, ascending.
    pending: VecDeque<Pending>,
    /// How many of `pending` are not confirmed.
    open: usize,
}

#[derive(Debug)]
struct Pending {
    seq: i64,
    bucket: i32,
    occurred_at: DateTime<Utc>,
    confirmed: bool,
}

/// One customer's messages that are not confirmed, in order.
#[derive(Debug)]
struct Lane<M> {
    waiting: VecDeque<Arc<M>>,
    state: LaneState,
    /// How often in a row its first message failed by its own fault.
    failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    Ready,
    InFlight,
    Held(Instant),
}

impl<M: Entry> Window<M> {
    /// Nothing owned, nothing read. At most `in_flight_max` messages will be in flight at once.
    pub fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max,
            in_flight: 0,
            shards: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Begins with a shard that is confirmed up to `position` and has no unpublished row in a
    /// bucket before `floor`.
    pub fn own(&mut self, shard: i16, position: i64, floor: i32) {
        let progress =
            Progress { position, read_to: position, floor, pending: VecDeque::new(), open: 0 };
        self.shards.insert(shard, progress);
    }

    /// Forgets everything, messages in flight included.
    pub fn clear(&mut self) {
        *self = Self::new(self.in_flight_max);
    }

    /// Where to read on in a shard: after which `seq`, from which bucket on.
    pub fn read_from(&self, shard: i16) -> Option<(i64, i32)> {
        self.shards.get(&shard).map(|progress| (progress.read_to, progress.floor))
    }

    /// What to write down for a shard: its position, and the bucket before which nothing is left.
    pub fn progress(&self, shard: i16) -> Option<(i64, i32)> {
        self.shards.get(&shard).map(|progress| {
            let bucket = progress.pending.front().map_or(progress.floor, |first| first.bucket);
            (progress.position, bucket)
        })
    }

    /// Messages of a shard that are not confirmed.
    pub fn open(&self, shard: i16) -> usize {
        self.shards.get(&shard).map_or(0, |progress| progress.open)
    }

    /// Messages of a shard that are remembered, be it only because an earlier one is not done.
    pub fn tracked(&self, shard: i16) -> usize {
        self.shards.get(&shard).map_or(0, |progress| progress.pending.len())
    }

    /// Messages that are not confirmed, of all shards.
    pub fn open_total(&self) -> usize {
        self.shards.values().map(|progress| progress.open).sum()
    }

    /// Customers whose messages wait because of a faulty one.
    pub fn held(&self) -> usize {
        self.lanes.values().filter(|lane| matches!(lane.state, LaneState::Held(_))).count()
    }

    /// When the oldest message that is not done was decided.
    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        let firsts = self.shards.values().filter_map(|progress| progress.pending.front());
        firsts.map(|first| first.occurred_at).min()
    }

    /// Takes in a message that was read. False for one that is not news: its shard is not owned,
    /// or it was read before.
    pub fn admit(&mut self, message: M) -> bool {
        let Some(progress) = self.shards.get_mut(&message.shard()) else { return false };
        if message.seq() <= progress.read_to {
            return false;
        }
        progress.read_to = message.seq();
        progress.floor = progress.floor.max(message.bucket());
        progress.open += 1;
        progress.pending.push_back(Pending {
            seq: message.seq(),
            bucket: message.bucket(),
            occurred_at: message.occurred_at(),
            confirmed: false,
        });
        let customer = message.customer();
        let lane = self.lanes.entry(customer).or_insert_with(|| {
            self.ready.push_back(customer);
            Lane { waiting: VecDeque::new(), state: LaneState::Ready, failures: 0 }
        });
        lane.waiting.push_back(Arc::new(message));
        true
    }

    /// It was proven that no row after what was read lies in a bucket before `floor`.
    pub fn raise_floor(&mut self, shard: i16, floor: i32) {
        if let Some(progress) = self.shards.get_mut(&shard) {
            progress.floor = progress.floor.max(floor);
        }
    }

    /// The next message to publish; it counts as in flight from now on. `None` when nothing may
    /// go at this moment.
    pub fn take(&mut self) -> Option<Arc<M>> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let customer = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&customer)?;
        lane.state = LaneState::InFlight;
        self.in_flight += 1;
        lane.waiting.front().cloned()
    }

    /// The broker has the message.
    pub fn confirmed(&mut self, message: &M) {
        let customer = message.customer();
        let Some(lane) = self.landed(message) else { return };
        lane.waiting.pop_front();
        lane.failures = 0;
        if lane.waiting.is_empty() {
            self.lanes.remove(&customer);
        } else {
            lane.state = LaneState::Ready;
            self.ready.push_back(customer);
        }
        if let Some(progress) = self.shards.get_mut(&message.shard()) {
            progress.confirm(message.seq());
        }
    }

    /// The broker does not (surely) have the message, by no fault of its own: it goes again.
    pub fn failed(&mut self, message: &M) {
        let customer = message.customer();
        if let Some(lane) = self.landed(message) {
            lane.state = LaneState::Ready;
            self.ready.push_back(customer);
        }
    }

    /// The message itself is at fault: it and its customer's later ones wait until the moment
    /// that `until` gives for the number of its failures.
    pub fn hold(&mut self, message: &M, until: impl FnOnce(u32) -> Instant) {
        if let Some(lane) = self.landed(message) {
            lane.failures = lane.failures.saturating_add(1);
            lane.state = LaneState::Held(until(lane.failures));
        }
    }

    /// Gives the held messages whose time has come another try.
    pub fn release_due(&mut self, now: Instant) {
        for (customer, lane) in &mut self.lanes {
            if matches!(lane.state, LaneState::Held(until) if until <= now) {
                lane.state = LaneState::Ready;
                self.ready.push_back(*customer);
            }
        }
    }

    /// The lane whose message in flight this is; it is no longer in flight then.
    fn landed(&mut self, message: &M) -> Option<&mut Lane<M>> {
        let lane = self.lanes.get_mut(&message.customer())?;
        let first = lane.waiting.front().is_some_and(|first| first.seq() == message.seq());
        if !first || lane.state != LaneState::InFlight {
            return None;
        }
        self.in_flight -= 1;
        Some(lane)
    }
}

impl Progress {
    fn confirm(&mut self, seq: i64) {
        let Ok(index) = self.pending.binary_search_by_key(&seq, |pending| pending.seq) else {
            return;
        };
        if let Some(pending) = self.pending.get_mut(index)
            && !pending.confirmed
        {
            pending.confirmed = true;
            self.open -= 1;
        }
        while let Some(first) = self.pending.front().filter(|first| first.confirmed) {
            self.position = first.seq;
            self.pending.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    #[derive(Clone, Debug, PartialEq)]
    struct Message {
        shard: i16,
        seq: i64,
        customer: u128,
    }

    impl Entry for Message {
        fn shard(&self) -> i16 {
            self.shard
        }
        fn seq(&self) -> i64 {
            self.seq
        }
        fn bucket(&self) -> i32 {
            i32::try_from(self.seq / 10).unwrap()
        }
        fn customer(&self) -> Uuid {
            Uuid::from_u128(self.customer)
        }
        fn occurred_at(&self) -> DateTime<Utc> {
            DateTime::from_timestamp(self.seq, 0).unwrap()
        }
    }

    fn message(seq: i64, customer: u128) -> Message {
        Message { shard: 0, seq, customer }
    }

    fn window(in_flight_max: usize, messages: &[(i64, u128)]) -> Window<Message> {
        let mut window = Window::new(in_flight_max);
        window.own(0, 0, 0);
        for (seq, customer) in messages {
            assert!(window.admit(message(*seq, *customer)));
        }
        window
    }

    fn taken(window: &mut Window<Message>) -> Vec<i64> {
        std::iter::from_fn(|| window.take()).map(|message| message.seq).collect()
    }

    #[test]
    fn m2_one_message_of_a_customer_is_in_flight_at_a_time() {
        let mut window = window(10, &[(1, 7), (2, 7), (3, 8), (4, 7)]);
        assert_eq!(taken(&mut window), [1, 3]);
        window.confirmed(&message(1, 7));
        assert_eq!(taken(&mut window), [2]);
        window.failed(&message(2, 7));
        assert_eq!(taken(&mut window), [2], "the same again, not the one after it");
        window.confirmed(&message(2, 7));
        assert_eq!(taken(&mut window), [4]);
    }

    #[test]
    fn m1_a_position_moves_only_over_a_prefix_without_gaps() {
        let mut window = window(10, &[(1, 1), (2, 2), (5, 3)]);
        assert_eq!(taken(&mut window), [1, 2, 5]);
        assert_eq!(window.progress(0), Some((0, 0)));
        window.confirmed(&message(2, 2));
        window.confirmed(&message(5, 3));
        assert_eq!(window.progress(0), Some((0, 0)));
        window.confirmed(&message(1, 1));
        assert_eq!(window.progress(0), Some((5, 0)));
        assert_eq!((window.open_total(), window.tracked(0)), (0, 0));
    }

    #[test]
    fn the_window_has_a_limit() {
        let mut window = window(2, &[(1, 1), (2, 2), (3, 3)]);
        assert_eq!(taken(&mut window), [1, 2]);
        window.failed(&message(1, 1));
        assert_eq!(taken(&mut window), [3], "a place is free again");
    }

    #[test]
    fn m4_a_faulty_message_holds_its_own_customer_only() {
        let mut window = window(10, &[(1, 1), (2, 1), (3, 2)]);
        assert_eq!(taken(&mut window), [1, 3]);
        let now = Instant::now();
        window.hold(&message(1, 1), |failures| now + Duration::from_secs(failures.into()));
        window.confirmed(&message(3, 2));
        assert_eq!(window.progress(0), Some((0, 0)), "the position waits for the held one");
        window.release_due(now);
        assert_eq!((taken(&mut window), window.held()), (vec![], 1));
        window.release_due(now + Duration::from_secs(1));
        assert_eq!(taken(&mut window), [1]);
        window.hold(&message(1, 1), |failures| now + Duration::from_secs(failures.into()));
        window.release_due(now + Duration::from_secs(1));
        assert_eq!(taken(&mut window), [] as [i64; 0], "longer the second time");
    }

    #[test]
    fn what_was_read_before_or_is_not_owned_is_no_news() {
        let mut window = window(10, &[(4, 1)]);
        assert!(!window.admit(message(4, 1)));
        assert!(!window.admit(message(3, 1)));
        assert!(!window.admit(Message { shard: 1, seq: 9, customer: 1 }));
        assert_eq!(window.read_from(0), Some((4, 0)));
    }

    #[test]
    fn the_bucket_written_down_is_that_of_the_oldest_unconfirmed() {
        let mut window = window(10, &[(9, 1), (31, 2)]);
        assert_eq!(window.progress(0), Some((0, 0)));
        window.raise_floor(0, 8);
        assert_eq!(window.progress(0), Some((0, 0)), "an hour is not done while one of it is open");
        assert_eq!(taken(&mut window), [9, 31]);
        window.confirmed(&message(9, 1));
        assert_eq!(window.progress(0), Some((9, 3)));
        window.confirmed(&message(31, 2));
        assert_eq!(window.progress(0), Some((31, 8)));
    }

    #[test]
    fn a_late_word_about_a_forgotten_message_is_ignored() {
        let mut window = window(10, &[(1, 1)]);
        let sent = window.take().unwrap();
        window.clear();
        window.own(0, 0, 0);
        window.admit(message(1, 1));
        window.confirmed(&sent);
        assert_eq!(window.progress(0), Some((0, 0)), "not in flight in this life");
        assert_eq!(taken(&mut window), [1]);
    }

    proptest! {
        /// Whatever the broker answers in whatever order: first confirmations are in order per
        /// customer, no two of a customer are in flight, positions never pass an open message,
        /// and in the end everything is confirmed.
        #[test]
        fn order_and_completeness(
            customers in proptest::collection::vec((0_u128..6, 0_i16..3), 1..60),
            limit in 1_usize..8,
            answers in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..10), 0..400),
        ) {
            let mut window = Window::new(limit);
            (0..3).for_each(|shard| window.own(shard, 0, 0));
            let all: Vec<Message> = customers.iter().enumerate().map(|(n, (customer, _))| {
                // A customer lives in one shard.
                let shard = i16::try_from(customer % 3).unwrap();
                Message { shard, seq: i64::try_from(n).unwrap() + 1, customer: *customer }
            }).collect();
            let now = Instant::now();
            let mut unread = all.iter();
            let mut flying: Vec<Arc<Message>> = Vec::new();
            let mut done: Vec<Message> = Vec::new();
            let mut answers = answers.into_iter();
            loop {
                if let Some(message) = unread.next() {
                    window.admit(message.clone());
                }
                while let Some(message) = window.take() {
                    prop_assert!(flying.iter().all(|other| other.customer != message.customer));
                    flying.push(message);
                }
                prop_assert!(flying.len() <= limit);
                if flying.is_empty() && unread.len() == 0 {
                    if window.open_total() == 0 { break; }
                    window.release_due(now + Duration::from_secs(60));
                    continue;
                }
                if flying.is_empty() { continue; }
                let (index, verdict) = answers.next().map_or((0, 9), |(index, verdict)| (index.index(flying.len()), verdict));
                let message = flying.swap_remove(index);
                match verdict {
                    0..3 => window.failed(&message),
                    3 => window.hold(&message, |_| now + Duration::from_secs(1)),
                    _ => {
                        window.confirmed(&message);
                        done.push((*message).clone());
                    }
                }
                for shard in 0..3 {
                    let (position, _) = window.progress(shard).unwrap();
                    let passed = all.iter().filter(|m| m.shard == shard && m.seq <= position);
                    prop_assert!(passed.clone().all(|m| done.contains(m)), "position {position}");
                }
            }
            prop_assert_eq!(done.len(), all.len());
            for customer in 0..6 {
                let order = done.iter().filter(|m| m.customer == customer).map(|m| m.seq);
                prop_assert!(order.is_sorted());
            }
        }
    }
}
