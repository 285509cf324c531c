//! Makes the copies that customers asked for of all that is kept of them: one at a time on each node,
//! each by whoever has its lease. A lease that shows no sign of life is over, and the next one begins
//! anew; what an earlier attempt wrote is written over, and what it still wants to write is refused.

use crate::actors::customers::{Customers, SubmitError};
use crate::actors::privacy_exports::Stop;
use crate::actors::privacy_exports::making::{Maker, PATIENCE};
use crate::actors::worker::{Done, Worker};
use crate::actors::workers::space_watch::Space;
use crate::db::privacy_exports::{self as rows, Lease};
use crate::domain::command::{Command, PrivacyExportCommand, Subject};
use crate::domain::privacy_export::{Archive, ExportFault};
use crate::domain::{Actor, Context, MailId, Rejection, Submission};
use crate::{db, faults};
use chrono::TimeDelta;
use metrics::{counter, histogram};
use std::time::Duration;
use tokio::time::Instant;

/// How often a node looks for exports that others took in, or left behind.
const PERIOD: Duration = Duration::from_secs(2);

/// Far above what the largest export takes.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// Attempts until an export is given up: one that ends every process that makes it shall not go on
/// doing so.
const ATTEMPTS_MAX: i32 = 10;

/// The worker; see the module. Cheap to clone.
#[derive(Clone)]
pub struct Exporter {
    maker: Maker,
    customers: Customers,
    space: Space,
    /// How long an archive can be downloaded.
    keep: TimeDelta,
}

impl Exporter {
    /// An exporter that rests while `space` is tight.
    pub fn new(maker: Maker, customers: Customers, space: Space, keep: TimeDelta) -> Self {
        Self { maker, customers, space, keep }
    }

    async fn one(&self) -> anyhow::Result<bool> {
        let now = self.maker.clock.now();
        let claimed = {
            let connection = self.maker.database.get().await?;
            rows::claim(&connection, now, now + PATIENCE).await.map_err(db::Error::from)?
        };
        let Some(lease) = claimed else { return Ok(false) };
        faults::at("exporter.claimed");
        let began = Instant::now();
        let made = match lease.attempt > ATTEMPTS_MAX {
            true => self.give_up(lease, ExportFault::Interrupted).await,
            false => match Box::pin(self.maker.make(lease)).await {
                Ok(progress) => {
                    faults::at("exporter.made");
                    let (rows, bytes, pieces) = (progress.rows, progress.bytes, progress.pieces);
                    self.finish(lease, Archive { rows, bytes, pieces }).await
                }
                Err(Stop::TooLarge) => self.give_up(lease, ExportFault::TooLarge).await,
                Err(stop) => Err(stop),
            },
        };
        let outcome = match made {
            Ok(outcome) => outcome,
            Err(Stop::Lost | Stop::TooLarge) => "lost",
            Err(Stop::Gone) => {
                let connection = self.maker.database.get().await?;
                rows::discard(&connection, &lease).await.map_err(db::Error::from)?;
                "gone"
            }
            Err(Stop::Trouble(error)) => {
                // Not to be waited for by whoever tries next; if this fails too, the lease ends.
                if let Ok(connection) = self.maker.database.get().await {
                    rows::let_go(&connection, &lease).await.ok();
                }
                return Err(error);
            }
        };
        counter!("privacy_exports_total", "outcome" => outcome).increment(1);
        if outcome == "ready" {
            histogram!("privacy_export_seconds").record(began.elapsed());
        }
        tracing::info!(export = %lease.export(), outcome, "an export is over");
        Ok(true)
    }

    async fn finish(&self, lease: Lease, archive: Archive) -> Result<&'static str, Stop> {
        let mail_id = MailId(self.maker.clock.new_id());
        let (id, attempt, keep) = (lease.export(), lease.attempt, self.keep);
        let finish = PrivacyExportCommand::Finish { id, attempt, archive, keep, mail_id };
        self.submit(lease, finish).await.map(|()| "ready")
    }

    async fn give_up(&self, lease: Lease, fault: ExportFault) -> Result<&'static str, Stop> {
        let (id, attempt) = (lease.export(), lease.attempt);
        self.submit(lease, PrivacyExportCommand::GiveUp { id, attempt, fault }).await?;
        tracing::warn!(export = %id, reason = fault.as_str(), "an export was given up");
        Ok("failed")
    }

    async fn submit(&self, lease: Lease, command: PrivacyExportCommand) -> Result<(), Stop> {
        let context = Context {
            actor: Actor::Service,
            now: self.maker.clock.now(),
            request_id: format!("privacy_export:{}", lease.export()),
            traceparent: None,
        };
        let submission = Submission {
            subject: Subject::Customer(lease.customer()),
            command: Command::PrivacyExport(Box::new(command)),
            context,
            idempotency: None,
        };
        match self.customers.submit(submission).await {
            Ok(_) => Ok(()),
            Err(SubmitError::Rejected(Rejection::Conflict)) => Err(Stop::Lost),
            Err(SubmitError::Rejected(Rejection::NotFound)) => Err(Stop::Gone),
            Err(error) => Err(Stop::Trouble(anyhow::Error::new(error))),
        }
    }
}

impl Worker for Exporter {
    fn name(&self) -> &'static str {
        "exporter"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        if self.space.is_tight() {
            return Ok(Done::default());
        }
        let more = self.one().await?;
        Ok(Done { handled: usize::from(more), more })
    }
}
