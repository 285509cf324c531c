//! How readers of the outbox get from one hour's partition to the next without leaving anything behind.

use super::letter::Letter;
use super::window::Window;
use crate::db;
use crate::domain::shard::SHARDS;
use std::ops::Range;

/// Where the readers of shards go on: who reads after positions in buckets that only rise.
pub trait Floors {
    /// The position and the first bucket to look into; `None` of a shard that is not read.
    fn read_from(&self, shard: i16) -> Option<(i64, i32)>;

    /// No row that is yet to be read lies in an earlier bucket.
    fn raise_floor(&mut self, shard: i16, bucket: i32);
}

impl Floors for Window<Letter> {
    fn read_from(&self, shard: i16) -> Option<(i64, i32)> {
        Window::read_from(self, shard)
    }

    fn raise_floor(&mut self, shard: i16, bucket: i32) {
        Window::raise_floor(self, shard, bucket);
    }
}

/// What is known, before a read of all shards, of the rows that later reads may find.
pub struct Survey {
    /// The bucket that is written into.
    hour: i32,
    /// Shards in which nothing was being appended after `hour` was asked for.
    quiet: u64,
}

impl Survey {
    pub async fn of(
        connection: &db::Connection,
        window: &impl Floors,
        owned: u64,
    ) -> Result<Self, db::Error> {
        let hour = db::outbox::hour(connection).await?;
        let older = |shard: &i16| window.read_from(*shard).is_some_and(|(_, floor)| floor < hour);
        let old: Vec<i16> = shards_in(owned).filter(older).collect();
        let quiet = match old.is_empty() {
            true => Vec::new(),
            false => db::outbox::quiet(connection, &old).await?,
        };
        Ok(Self { hour, quiet: quiet.into_iter().fold(0, |set, shard| set | bit(shard)) })
    }

    /// Moves the floors of the shards whose two buckets held no more: to the next bucket that has
    /// rows, at most to the one written into. Sound only for quiet shards, since an append that
    /// was under way may yet show rows in an earlier hour. Answers with those not yet at `hour`.
    pub async fn raise(
        &self,
        connection: &db::Connection,
        window: &mut impl Floors,
        exhausted: &[db::outbox::Place],
    ) -> Result<u64, db::Error> {
        let quiet = exhausted.iter().copied().filter(|place| self.quiet & bit(place.shard) != 0);
        let (near, far): (Vec<db::outbox::Place>, Vec<db::outbox::Place>) =
            quiet.partition(|place| place.bucket + 1 >= self.hour);
        for place in near {
            window.raise_floor(place.shard, self.hour);
        }
        let Some(lowest) = far.iter().map(|place| place.bucket + 2).min() else { return Ok(0) };
        let next = db::outbox::first_bucket(connection, lowest).await?;
        let next = next.map_or(self.hour, |bucket| bucket.min(self.hour));
        for place in &far {
            window.raise_floor(place.shard, next.max(place.bucket + 2));
        }
        Ok(far.iter().fold(0, |set, place| set | bit(place.shard)))
    }
}

pub fn bit(shard: i16) -> u64 {
    1 << (shard & 63)
}

pub fn shards_of(group: i16) -> Range<i16> {
    let first = group * db::outbox::GROUP_SHARDS;
    first..first + db::outbox::GROUP_SHARDS
}

pub fn shards_in(set: u64) -> impl Iterator<Item = i16> {
    (0..SHARDS as i16).filter(move |shard| set & bit(*shard) != 0)
}
