//! The relay's own connection: it holds the locks by which this node owns its groups, and writes
//! their cursors. Losing it is losing the groups.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::letter::Letter;
use super::survey::{bit, shards_of};
use super::window::Window;
use super::{BEAT, IDLE_SECONDS, Trouble};
use crate::db::{self, Database};
use crate::faults;

/// From a new session to its first cursor; from then on twice as long each time, up to a beat. A process
/// that died before its first one, over and over, would publish the same again with each life, and ever
/// more of it.
const FLUSH_FIRST: Duration = Duration::from_millis(100);

/// The connection that holds the locks, and what it owns.
pub struct Session {
    pub connection: db::Connection,
    /// By group, what its row says.
    pub written: BTreeMap<i16, db::outbox::Cursor>,
    pub touched_at: Instant,
    pub flush_at: Instant,
    flush_after: Duration,
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
            flush_at: now + FLUSH_FIRST,
            flush_after: FLUSH_FIRST,
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
        self.flush_after = (self.flush_after * 2).min(BEAT);
        self.flush_at = Instant::now() + self.flush_after;
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
