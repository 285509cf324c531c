//! The reaper: carries deletions out whose grace is over, and tells other services again to forget whom
//! they have not said to have forgotten (rule P2). It looks into two indexes and at nothing else.
//!
//! Whatever it does is one command to the customer's shard, decided there by what is so: two nodes, or
//! a kill at any instant, do nothing twice. What something stands against is put off in the same way.

use crate::actors::customers::{Customers, SubmitError};
use crate::actors::erasures::{DeletionSettings, buckets, fresh, fresh_steps, told_orders};
use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::erasures::DueErasure;
use crate::db::{self, Database};
use crate::domain::command::Subject;
use crate::domain::erasure::{BeginErasure, DeletionCommand, ErasureState};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{Actor, Command, Context, CustomerId, ErasureId, Submission};
use crate::faults;
use crate::order_service::OrderService;
use crate::security::tokens::ThrottleKeys;
use anyhow::bail;
use chrono::TimeDelta;
use metrics::{counter, gauge};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Erasures of one run.
const BATCH_MAX: i64 = 20;

/// A run begins no other erasure after this long: each may wait for an order service that hangs.
const BEGINNING_MAX: Duration = Duration::from_secs(20);

/// Between two complaints about the same.
const COMPLAINT_PERIOD: Duration = Duration::from_secs(60 * 60);

/// What the reaper works with.
#[derive(Clone)]
pub struct ReaperParts {
    pub database: Database,
    pub customers: Customers,
    pub clock: Arc<dyn Clock>,
    pub keys: Arc<ThrottleKeys>,
    pub orders: Option<OrderService>,
    pub settings: DeletionSettings,
    pub overdue: TimeDelta,
    pub period: Duration,
}

/// The worker; see the module.
pub struct GdprReaper {
    parts: ReaperParts,
    /// The last that was looked at, so that those that come to no end stand in nobody's way; `None`: it
    /// begins with the one that is due for the longest time.
    looked_at: Option<DueErasure>,
    complained_at: Option<Instant>,
}

impl GdprReaper {
    pub fn new(parts: ReaperParts) -> Self {
        Self { parts, looked_at: None, complained_at: None }
    }

    async fn submit(
        &self,
        customer: CustomerId,
        command: DeletionCommand,
    ) -> Result<Outcome, SubmitError> {
        let context = Context {
            actor: Actor::Service,
            now: self.parts.clock.now(),
            request_id: self.parts.clock.new_id().to_string(),
            traceparent: None,
        };
        let submission = Submission {
            subject: Subject::Customer(customer),
            command: Command::Deletion(command),
            context,
            idempotency: None,
        };
        Ok(self.parts.customers.submit(submission).await?.outcome)
    }

    /// Erases a customer whose grace is over, unless something stands against it.
    async fn begin(&self, customer: CustomerId) -> anyhow::Result<()> {
        let parts = &self.parts;
        let active_orders = told_orders(&parts.database, parts.orders.as_ref(), customer).await?;
        let buckets = {
            let connection = parts.database.get().await?;
            buckets(&connection, &parts.keys, &[customer]).await?
        };
        let begin = BeginErasure {
            buckets,
            steps: fresh_steps(&parts.settings.commands, &*parts.clock),
            active_orders,
            policy: parts.settings.policy,
        };
        let command = DeletionCommand::Begin(Box::new(begin));
        match self.submit(customer, command).await {
            Ok(Outcome::Deletion(erasure)) if erasure.state == ErasureState::Scheduled => {
                counter!("erasures_total", "outcome" => "put_off").increment(1);
                let obstacle = erasure.put_off.map(|obstacle| obstacle.as_str());
                tracing::info!(erasure.id = %erasure.id, obstacle, "a deletion that is due was put off");
                Ok(())
            }
            Ok(Outcome::Deletion(erasure)) => {
                faults::at("reaper.erased");
                counter!("erasures_total", "outcome" => "erased").increment(1);
                tracing::info!(erasure.id = %erasure.id, "a customer was erased");
                Ok(())
            }
            // Cancelled, put off or erased by somebody else a moment ago.
            Err(SubmitError::Rejected(Rejection::NotFound)) => Ok(()),
            other => bail!("an erasure came to no end: {}", told(&other)),
        }
    }

    /// Commands again what has no answer.
    async fn resend(&self, customer: CustomerId, erasure: ErasureId) -> anyhow::Result<()> {
        let (policy, messages) = (self.parts.settings.policy, fresh(&*self.parts.clock));
        let command = DeletionCommand::Resend { erasure, messages, policy, all: false };
        match self.submit(customer, command).await {
            Ok(Outcome::Deletion(_)) => {
                faults::at("reaper.resent");
                counter!("erasure_commands_resent_total").increment(1);
                Ok(())
            }
            Err(SubmitError::Rejected(Rejection::NotFound)) => Ok(()),
            other => bail!("commanding again came to no end: {}", told(&other)),
        }
    }

    async fn look_for_overdue(&mut self) -> Result<(), db::Error> {
        let since = self.parts.clock.now() - self.parts.overdue;
        let overdue = self.parts.database.read(move |connection| {
            Box::pin(async move { db::erasures::overdue(connection, since).await })
        });
        let overdue = overdue.await?;
        gauge!("erasures_overdue", "waits_for" => "local").set(overdue.waiting as f64);
        gauge!("erasures_overdue", "waits_for" => "services").set(overdue.running as f64);
        let any = overdue.waiting + overdue.running > 0;
        let again = self.complained_at.is_none_or(|at| at.elapsed() >= COMPLAINT_PERIOD);
        if any && again {
            self.complained_at = Some(Instant::now());
            tracing::error!(
                waiting = overdue.waiting,
                running = overdue.running,
                "deletions are overdue: see GET /v1/admin/erasures"
            );
        }
        Ok(())
    }
}

/// Without what an outcome holds.
fn told(answer: &Result<Outcome, SubmitError>) -> String {
    match answer {
        Ok(_) => "it came to an outcome that it cannot have".to_owned(),
        Err(error) => format!("{error}"),
    }
}

impl Worker for GdprReaper {
    fn name(&self) -> &'static str {
        "gdpr_reaper"
    }

    fn period(&self) -> Duration {
        self.parts.period
    }

    /// One that comes to no end keeps nobody else from its own: what waits for nobody goes first, and
    /// after a failure the next run goes on with those behind.
    async fn run_once(&mut self) -> anyhow::Result<Done> {
        self.look_for_overdue().await?;
        let now = self.parts.clock.now();
        let (due, silent) = {
            let connection = self.parts.database.get().await?;
            let due = db::erasures::due(&connection, now, self.looked_at, BATCH_MAX).await;
            let silent = db::erasures::silent(&connection, now, BATCH_MAX).await;
            (due.map_err(db::Error::from)?, silent.map_err(db::Error::from)?)
        };
        if !due.is_empty() || !silent.is_empty() {
            faults::at("reaper.read");
        }
        let full = BATCH_MAX as usize;
        let (mut handled, mut failure) = (silent.len(), None);
        let many_silent = silent.len() == full;
        for (customer, erasure) in silent {
            if let Err(error) = self.resend(customer, erasure).await {
                failure.get_or_insert(error);
            }
        }
        let began = Instant::now();
        let mut left = due.len() == full;
        for one in due {
            if began.elapsed() >= BEGINNING_MAX {
                left = true;
                break;
            }
            self.looked_at = Some(one);
            handled += 1;
            if let Err(error) = self.begin(one.customer).await {
                failure.get_or_insert(error);
            }
        }
        if !left {
            self.looked_at = None;
        }
        let more = many_silent || left;
        match failure {
            Some(failure) => Err(failure),
            None => Ok(Done { handled, more }),
        }
    }
}
