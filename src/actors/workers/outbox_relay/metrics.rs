//! What the relay tells of itself, and what waits by the database's word: the figures of a backlog must
//! grow above all while the relay cannot read or publish.

use std::time::Duration;

use chrono::TimeDelta;
use metrics::gauge;
use tokio::time::Instant;

use super::survey::{shards_in, shards_of};
use super::{OutboxRelay, Trouble};
use crate::db;

/// The groups' names in metrics.
const GROUPS: [&str; db::outbox::GROUPS as usize] = ["0", "1", "2", "3", "4", "5", "6", "7"];

/// Time between two looks at what waits unread.
const MEASURE_PERIOD: Duration = Duration::from_secs(5);

/// After a look that took too long.
const REST: Duration = Duration::from_secs(60);

/// Unread messages are counted up to so many in each shard.
const UNREAD_MAX: i64 = 500;

impl OutboxRelay {
    /// What is owned and held.
    pub(super) fn report(&self) {
        gauge!("outbox_held_customers").set(self.window.held() as f64);
        gauge!("outbox_groups_owned").set(self.groups().len() as f64);
    }

    /// Others own what was owned here: nothing waits here any more.
    pub(super) fn tell_nothing_waits(&self) {
        self.tell(&[]);
    }

    /// Looks, when it is time, at what waits: whatever the broker does, on the session that owns
    /// the groups. A step into an index for each shard, mostly.
    pub(super) async fn measure(&mut self) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let now = Instant::now();
        if now < self.measure_at {
            return Ok(());
        }
        self.measure_at = now + MEASURE_PERIOD;
        let places: Vec<_> = shards_in(session.owned_shards())
            .filter_map(|shard| {
                let (after, bucket) = self.window.read_from(shard)?;
                Some(db::outbox::Place { shard, after, bucket })
            })
            .collect();
        let mut unread = Vec::new();
        if !places.is_empty() {
            let found = db::outbox::unread(&session.connection, &places, UNREAD_MAX).await;
            session.touched_at = Instant::now();
            unread = match found.map_err(db::Error::from) {
                Ok(unread) => unread,
                Err(error @ db::Error::Unavailable(_)) => return Err(error.into()),
                // A figure is not worth the session: the next look is late, and what was told stands.
                Err(error) => {
                    self.measure_at = Instant::now() + REST;
                    tracing::warn!(%error, "what waits in the outbox could not be counted");
                    return Ok(());
                }
            };
        }
        self.tell(&unread);
        Ok(())
    }

    /// What was read and is not confirmed, together with what is not read yet.
    fn tell(&self, unread: &[db::outbox::Unread]) {
        let now = self.clock.now();
        // All groups each time: one that was lost is no longer behind here.
        for (group, name) in (0..).zip(GROUPS) {
            let shards = shards_of(group);
            let behind = unread.iter().filter(|one| shards.contains(&one.shard));
            let oldest = behind.map(|one| one.oldest).chain(self.window.oldest(shards.clone()));
            let age = oldest.min().map(|oldest| now - oldest);
            let age = age.unwrap_or_default().max(TimeDelta::zero());
            gauge!("outbox_lag_seconds", "group" => name).set(age.as_seconds_f64());
        }
        let behind: i64 = unread.iter().map(|one| one.count).sum();
        gauge!("outbox_backlog").set(self.window.open_total() as f64 + behind as f64);
    }
}
