//! The window without faults of messages: order, completeness, limits.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

mod parking;

#[derive(Clone, Debug, PartialEq)]
struct Message {
    shard: i16,
    seq: i64,
    customer: u128,
    stored: bool,
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
    fn stored(&self) -> bool {
        self.stored
    }
}

fn message(seq: i64, customer: u128) -> Message {
    Message { shard: 0, seq, customer, stored: false }
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
fn what_was_read_before_or_is_not_owned_is_no_news() {
    let mut window = window(10, &[(4, 1)]);
    assert!(!window.admit(message(4, 1)));
    assert!(!window.admit(message(3, 1)));
    assert!(!window.admit(Message { shard: 1, ..message(9, 1) }));
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

fn probed(window: &mut Window<Message>) -> Vec<i64> {
    std::iter::from_fn(|| window.take_refused()).map(|message| message.seq).collect()
}

#[test]
fn m3_what_is_refused_stops_nobody_else_and_goes_again_when_one_of_it_is_taken() {
    let mut window = window(10, &[(1, 1), (2, 2), (3, 3), (4, 1), (5, 4)]);
    assert_eq!(taken(&mut window), [1, 2, 3, 5]);
    window.refused(&message(1, 1));
    window.refused(&message(2, 2));
    window.refused(&message(3, 3));
    window.confirmed(&message(5, 4));
    window.admit(message(6, 4));
    assert_eq!(taken(&mut window), [6], "the others go on");
    window.confirmed(&message(6, 4));
    assert_eq!((window.refused_count(), window.held()), (3, 3));
    let probe = window.take_refused().expect("one may be tried");
    assert_eq!(probe.seq, 1);
    window.refused(&probe);
    assert_eq!(window.take_refused().map(|next| next.seq), Some(2), "each in its turn");
    assert_eq!(taken(&mut window), [] as [i64; 0], "still no room");
    window.confirmed(&message(2, 2));
    assert_eq!(taken(&mut window), [3, 1], "there is room for all");
    window.confirmed(&message(1, 1));
    window.confirmed(&message(3, 3));
    assert_eq!(taken(&mut window), [4], "the refusal was of that message, not of the customer");
    window.confirmed(&message(4, 1));
    assert_eq!((window.progress(0), window.held()), (Some((6, 0)), 0));
    assert_eq!(probed(&mut window), [] as [i64; 0]);
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
            Message { shard, ..message(i64::try_from(n).unwrap() + 1, *customer) }
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
            while let Some(message) =
                window.take().or_else(|| window.take_suspect()).or_else(|| window.take_refused())
            {
                prop_assert!(flying.iter().all(|other| other.customer != message.customer));
                flying.push(message);
            }
            if flying.is_empty() && unread.len() == 0 {
                if window.open_total() == 0 { break; }
                window.release_due(now + Duration::from_secs(60));
                continue;
            }
            if flying.is_empty() { continue; }
            let (index, verdict) = answers.next().map_or((0, 9), |(index, verdict)| (index.index(flying.len()), verdict));
            let message = flying.swap_remove(index);
            match verdict {
                0..2 => window.failed(&message),
                2 => window.refused(&message),
                3 => window.caught(&message),
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
