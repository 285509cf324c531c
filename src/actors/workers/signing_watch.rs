//! The signing watch: reads again and again which signing keys there are, so that every node
//! publishes a new key before it signs and changes to it at the same instant, and refuses a revoked
//! one within a second. It also puts a new key behind one that has signed for long enough.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use metrics::{counter, gauge};

use crate::actors::signing::{self, Settings, Stage};
use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::audit::OwnActor;
use crate::db::signing_keys::{Rotated, StoredKey};
use crate::db::{self, Database};
use crate::faults;
use crate::security::access::AccessTokens;
use crate::security::sealing::Sealer;

/// Several times within [`signing::EMERGENCY_LEAD`].
const PERIOD: Duration = Duration::from_millis(300);

/// A read that takes longer is of no use any more.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The worker; see the module.
pub struct SigningWatch {
    database: Database,
    clock: Arc<dyn Clock>,
    sealer: Arc<Sealer>,
    access: Arc<AccessTokens>,
    settings: Settings,
    /// What the set in use was made of; empty before the first read.
    known: Vec<StoredKey>,
    failing: bool,
}

impl SigningWatch {
    /// A watch that keeps the keys of `access` up to date.
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        sealer: Arc<Sealer>,
        access: Arc<AccessTokens>,
        settings: Settings,
    ) -> Self {
        Self { database, clock, sealer, access, settings, known: Vec::new(), failing: false }
    }

    /// One look, and a new key if one is due. True when that was done.
    ///
    /// # Errors
    /// Those of the database, and stored keys that cannot be used; the keys in use stay then.
    async fn look(&mut self) -> anyhow::Result<bool> {
        let stored = self
            .database
            .read(|connection| Box::pin(db::signing_keys::load_all(connection)))
            .await?;
        let now = self.clock.now();
        measure(&stored, self.settings.overlap, now);
        if stored != self.known {
            let keys = signing::key_set(&stored, &self.sealer, self.settings.overlap, now)?;
            self.access.replace_keys(keys);
            // The first look finds what the start has found.
            if !self.known.is_empty() {
                tracing::info!(keys = stored.len(), "the signing keys have changed");
            }
            self.known = stored;
        }
        match self.settings.rotate_after {
            Some(age) if is_old(&self.known, now - age) => self.rotate(now - age).await,
            _ => Ok(false),
        }
    }

    /// Whichever node comes first does it; the others are too early then.
    async fn rotate(&self, not_after: DateTime<Utc>) -> anyhow::Result<bool> {
        let key = signing::make(&*self.clock, &self.sealer, self.settings.lead)?;
        let action = "signing_key.rotated";
        let entry = signing::entry(&*self.clock, OwnActor::Service, action, &key);
        let mut connection = self.database.get().await?;
        let rotated = db::signing_keys::rotate(&mut connection, &key, not_after, &entry)
            .await
            .context("the old signing key is not followed by a new one")?;
        if rotated != Rotated::Done {
            return Ok(false);
        }
        faults::at("signing.rotated");
        tracing::info!(kid = key.kid, signs_from = %key.signs_from, "made the next signing key");
        Ok(true)
    }
}

/// Whether the last key has signed since before `limit`.
fn is_old(stored: &[StoredKey], limit: DateTime<Utc>) -> bool {
    let mut last = stored.iter().filter(|row| row.retired_at.is_none() && row.revoked_at.is_none());
    last.next().is_some_and(|row| row.signs_from <= limit)
}

fn measure(stored: &[StoredKey], overlap: TimeDelta, now: DateTime<Utc>) {
    for stage in [Stage::Next, Stage::Current, Stage::Retiring, Stage::Revoked] {
        let there = stored.iter().filter(|row| signing::stage(row, overlap, now) == stage).count();
        gauge!("signing_keys", "stage" => stage.as_str()).set(there as f64);
    }
    let current = stored.iter().find(|row| signing::stage(row, overlap, now) == Stage::Current);
    if let Some(row) = current {
        gauge!("signing_key_age_seconds").set((now - row.signs_from).as_seconds_f64());
    }
}

impl Worker for SigningWatch {
    fn name(&self) -> &'static str {
        "signing_watch"
    }

    fn must_run(&self) -> Option<&'static str> {
        Some("without it this node misses a change of the keys that sign tokens")
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    /// Never fails: a failed run would be followed by a growing rest, and a key that is revoked
    /// meanwhile would be believed for as long.
    async fn run_once(&mut self) -> anyhow::Result<Done> {
        match self.look().await {
            Ok(rotated) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("signing keys are known again");
                }
                Ok(Done { handled: usize::from(rotated), more: rotated })
            }
            Err(error) => {
                counter!("signing_key_reads_failed_total").increment(1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error = format!("{error:#}"), "signing keys cannot be read");
                }
                Ok(Done::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_key_decides_whether_a_new_one_is_due() {
        let at = |seconds| DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        let row = |signs: i64, retired: Option<i64>, revoked: Option<i64>| StoredKey {
            kid: String::new(),
            sealed_private_key: Vec::new(),
            public_key: Vec::new(),
            created_at: at(signs),
            signs_from: at(signs),
            retired_at: retired.map(at),
            revoked_at: revoked.map(at),
        };
        assert!(!is_old(&[], at(100)));
        assert!(!is_old(&[row(101, None, None)], at(100)));
        assert!(is_old(&[row(100, None, None)], at(100)));
        // its successor is there already, or it is revoked
        assert!(!is_old(&[row(150, None, None), row(0, Some(150), None)], at(100)));
        assert!(!is_old(&[row(150, None, None), row(0, None, Some(150))], at(100)));
    }
}
