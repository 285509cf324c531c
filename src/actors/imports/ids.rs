//! Ids for the customers of a block, all of one logical shard: then the block's messages are
//! appended under the lock of that one shard, and live writers of the other 63 never wait for it.

use crate::clock::Clock;
use crate::domain::{CustomerId, shard};
use uuid::{Builder, Uuid};

/// Random bytes fetched at once: asking the system for each id would cost more than all the rest,
/// since of 64 ids one falls into the shard.
const POOL: usize = 4_096;

/// Random bytes of an id.
const TAIL: usize = 10;

/// Makes ids of one shard.
pub struct Ids<'c> {
    clock: &'c dyn Clock,
    shard: u16,
    millis: u64,
    pool: Vec<u8>,
    at: usize,
    /// Ids in a row so far, of those that are made in a row.
    made: u16,
}

impl<'c> Ids<'c> {
    /// Ids of now, of one of the 64 shards.
    pub fn new(clock: &'c dyn Clock, shard: u16) -> Self {
        let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
        Self { clock, shard: shard % shard::SHARDS, millis, pool: vec![0; POOL], at: POOL, made: 0 }
    }

    /// A fresh id of a customer: UUIDv7, drawn until it falls into the shard.
    pub fn customer(&mut self) -> CustomerId {
        loop {
            let id = CustomerId(self.draw());
            if shard::of_customer(id) == self.shard {
                return id;
            }
        }
    }

    /// A fresh id of whatever shard, greater than the one before: what hangs on a customer is
    /// listed in the order of its ids.
    pub fn in_a_row(&mut self) -> Uuid {
        // 12 bits stand between the millisecond and the randomness
        self.made = (self.made + 1) % 4_096;
        if self.made == 0 {
            self.millis += 1;
        }
        let mut tail = self.tail();
        [tail[0], tail[1]] = self.made.to_be_bytes();
        Builder::from_unix_timestamp_millis(self.millis, &tail).into_uuid()
    }

    fn draw(&mut self) -> Uuid {
        Builder::from_unix_timestamp_millis(self.millis, &self.tail()).into_uuid()
    }

    fn tail(&mut self) -> [u8; TAIL] {
        if self.at + TAIL > POOL {
            self.clock.random(&mut self.pool);
            self.at = 0;
        }
        let mut tail = [0; TAIL];
        tail.copy_from_slice(&self.pool[self.at..self.at + TAIL]);
        self.at += TAIL;
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::collections::BTreeSet;

    #[test]
    fn ids_are_fresh_and_of_one_shard() {
        for number in [0, 17, 63, 64] {
            let mut ids = Ids::new(&SystemClock, number);
            let made: BTreeSet<_> = (0..300).map(|_| ids.customer()).collect();
            assert_eq!(made.len(), 300);
            assert!(made.iter().all(|id| shard::of_customer(*id) == number % 64));
            assert!(made.iter().all(|id| id.0.get_version_num() == 7));
            let row: Vec<_> = (0..9_000).map(|_| ids.in_a_row()).collect();
            assert!(row.is_sorted() && row.iter().collect::<BTreeSet<_>>().len() == 9_000);
        }
    }
}
