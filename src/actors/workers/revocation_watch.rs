//! The revocation watch: reads again and again which sessions were revoked and which customers were
//! erased of late, on any node, so that their access tokens stop working here within a second (rule A7).

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metrics::{counter, gauge};

use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::faults;
use crate::security::revoked::RevokedSessions;

/// By how much the clocks of two nodes may differ, beyond the life of an access token.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(2);

/// A read that takes longer is of no use any more.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The worker; see the module.
pub struct RevocationWatch {
    database: Database,
    clock: Arc<dyn Clock>,
    revoked: Arc<RevokedSessions>,
    access_token_life: TimeDelta,
    period: Duration,
    failing: bool,
}

impl RevocationWatch {
    /// A watch that keeps `revoked` up to date, with one read each `period`.
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        revoked: Arc<RevokedSessions>,
        access_token_life: TimeDelta,
        period: Duration,
    ) -> Self {
        Self { database, clock, revoked, access_token_life, period, failing: false }
    }

    /// One read. Also to be awaited before the first request is served.
    ///
    /// # Errors
    /// Those of the read; what was known stays known.
    pub async fn refresh(&self) -> Result<usize, db::Error> {
        // Taken before the read: what is revoked during it may or may not be seen.
        let as_of = self.clock.now();
        let life = self.access_token_life;
        let since = as_of - life - CLOCK_SLACK;
        let found = self
            .database
            .read(move |connection| Box::pin(db::revocations::since(connection, since)))
            .await?;
        faults::at("revocations.read");
        let count = found.len();
        gauge!("sessions_revoked_known").set(count as f64);
        let until = found.into_iter().map(|one| (one.id, one.at + life + CLOCK_SLACK));
        self.revoked.replace_all(until, as_of);
        Ok(count)
    }
}

impl Worker for RevocationWatch {
    fn name(&self) -> &'static str {
        "revocation_watch"
    }

    fn must_run(&self) -> Option<&'static str> {
        Some("without it this node does not know which sessions have ended")
    }

    fn period(&self) -> Duration {
        self.period
    }

    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    /// Never fails: a failed run would be followed by a growing rest, and every second of rest
    /// after the database is back is one in which no token can be judged.
    async fn run_once(&mut self) -> anyhow::Result<Done> {
        match self.refresh().await {
            Ok(_) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("revoked sessions are known again");
                }
            }
            Err(error) => {
                counter!("revocation_reads_failed_total").increment(1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "revoked sessions cannot be read");
                }
            }
        }
        Ok(Done::default())
    }
}
