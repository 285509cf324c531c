//! The relay's own connection: it holds the locks by which this node owns its groups, and writes
//! their cursors. Losing it is losing the groups.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::letter::Letter;
use super::window::Window;
use super::{BEAT, IDLE_SECONDS, Trouble};
use crate::db::{self, Database};
use crate::domain::shard::SHARDS;
use crate::faults;

/// The connection that holds the locks, and what it owns.
pub struct Session {
    pub connection: db::Connection,
    /// By group, what its row says.
    pub written: BTreeMap<i16, db::outbox::Cursor>,
    pub touched_at: Instant,
    pub flush_at: Instant,
    take_over_at: Instant,
}

impl Session {
    pub async fn open(database: &Database) -> Result<Self, Trouble> {
        let mut connection = database.dedicated("customer-service-relay").await?;
        db::outbox::guard_session(&mut connection, IDLE_SECONDS).await.map_err(db::Error::from)?;
        let now = Instant::now();
        Ok(Self {
            connection,
            written: BTreeMap::new(),
            touched_at: now,
            flush_at: now + BEAT,
            take_over_at: now,
        })
    }

    /// Tries for the groups that are not ours, once a beat.
    pub async fn take_over(&mut self, owner: &str) -> Result<Vec<db::outbox::Cursor>, Trouble> {
        let missing: Vec<i16> =
            (0..db::outbox::GROUPS).filter(|group| !self.written.contains_key(group)).collect();
        let now = Instant::now();
        if missing.is_empty() || now < self.take_over_at {
            return Ok(Vec::new());
        }
        self.take_over_at = now + BEAT;
        let taken = db::outbox::take_over(&self.connection, &missing, owner).await;
        self.touched_at = Instant::now();
        Ok(taken.map_err(db::Error::from)?)
    }

    pub async fn touch(&mut self) -> Result<(), Trouble> {
        db::outbox::touch(&self.connection).await.map_err(db::Error::from)?;
        self.touched_at = Instant::now();
        Ok(())
    }

    /// Writes the cursors that have moved. A group whose row names a newer owner is lost.
    pub async fn flush(&mut self, window: &Window<Letter>) -> Result<(), Trouble> {
        self.flush_at = Instant::now() + BEAT;
        let moved: Vec<_> = self
            .written
            .values()
            .map(|written| cursor_now(written, window))
            .filter(|cursor| self.written.get(&cursor.group) != Some(cursor))
            .collect();
        if moved.is_empty() {
            return self.touch().await;
        }
        faults::at("relay.before_flush");
        let written = db::outbox::flush(&self.connection, &moved).await.map_err(db::Error::from)?;
        faults::at("relay.after_flush");
        self.touched_at = Instant::now();
        if written.len() != moved.len() {
            return Err(Trouble::Superseded);
        }
        self.written.extend(moved.into_iter().map(|cursor| (cursor.group, cursor)));
        Ok(())
    }

    pub fn owned_shards(&self) -> u64 {
        self.written.keys().flat_map(|group| shards_of(*group)).fold(0, |set, s| set | bit(s))
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
        window: &Window<Letter>,
        owned: u64,
    ) -> Result<Self, Trouble> {
        let hour = db::outbox::hour(connection).await.map_err(db::Error::from)?;
        let older = |shard: &i16| window.read_from(*shard).is_some_and(|(_, floor)| floor < hour);
        let old: Vec<i16> = shards_in(owned).filter(older).collect();
        let quiet = match old.is_empty() {
            true => Vec::new(),
            false => db::outbox::quiet(connection, &old).await.map_err(db::Error::from)?,
        };
        Ok(Self { hour, quiet: quiet.into_iter().fold(0, |set, shard| set | bit(shard)) })
    }

    /// Moves the floors of the shards whose two buckets held no more: to the next bucket that has
    /// rows, at most to the one written into. Sound only for quiet shards, since an append that
    /// was under way may yet show rows in an earlier hour. Answers with those not yet at `hour`.
    pub async fn raise(
        &self,
        connection: &db::Connection,
        window: &mut Window<Letter>,
        exhausted: &[db::outbox::Place],
    ) -> Result<u64, Trouble> {
        let quiet = exhausted.iter().copied().filter(|place| self.quiet & bit(place.shard) != 0);
        let (near, far): (Vec<db::outbox::Place>, Vec<db::outbox::Place>) =
            quiet.partition(|place| place.bucket + 1 >= self.hour);
        for place in near {
            window.raise_floor(place.shard, self.hour);
        }
        let Some(lowest) = far.iter().map(|place| place.bucket + 2).min() else { return Ok(0) };
        let next = db::outbox::first_bucket(connection, lowest).await.map_err(db::Error::from)?;
        let next = next.map_or(self.hour, |bucket| bucket.min(self.hour));
        for place in &far {
            window.raise_floor(place.shard, next.max(place.bucket + 2));
        }
        Ok(far.iter().fold(0, |set, place| set | bit(place.shard)))
    }
}

fn cursor_now(written: &db::outbox::Cursor, window: &Window<Letter>) -> db::outbox::Cursor {
    let known = |shard| match faults::cursor_runs_ahead() {
        true => window.read_from(shard),
        false => window.progress(shard),
    };
    let progress: Vec<_> = shards_of(written.group).filter_map(known).collect();
    db::outbox::Cursor {
        positions: progress.iter().map(|(position, _)| *position).collect(),
        bucket: progress.iter().map(|(_, bucket)| *bucket).min().unwrap_or(written.bucket),
        ..written.clone()
    }
}

pub fn bit(shard: i16) -> u64 {
    1 << (shard & 63)
}

pub fn shards_of(group: i16) -> impl Iterator<Item = i16> {
    let first = group * db::outbox::GROUP_SHARDS;
    first..first + db::outbox::GROUP_SHARDS
}

pub fn shards_in(set: u64) -> impl Iterator<Item = i16> {
    (0..SHARDS as i16).filter(move |shard| set & bit(*shard) != 0)
}
