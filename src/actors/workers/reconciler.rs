//! Reconciles orders on schedule: one run at a time in the whole deployment, on whichever node holds
//! the lock. The lock only saves work; that nothing is done twice follows from the run's cursor, which
//! a step moves from where it took it to be, or not at all.
//!
//! Statistics come first. An order service that cannot be asked keeps nothing waiting but its own
//! run, which says so and goes on where it was as soon as there are answers.

use std::time::Duration;

use anyhow::bail;
use chrono::{DateTime, TimeDelta, Utc};
use metrics::gauge;
use tokio::time::{Instant, sleep};

use crate::actors::reconciliation::{Engine, Run, Step, Trouble};
use crate::actors::worker::{Done, Worker};
use crate::db;
use crate::db::reconciliation::Source;
use crate::db::reconciliation_runs::{self as runs, Row};

/// How often a node looks whether a run is due, or was left behind by another one.
const PERIOD: Duration = Duration::from_secs(5);

/// After so long a run lets others know that it lives; it goes on at once.
const SLICE: Duration = Duration::from_secs(3);

/// One customer may have many pages of orders at a slow order service.
const TIME_MAX: Duration = Duration::from_secs(300);

/// Rest of a run whose order service could not be asked.
const UNREACHABLE_REST: Duration = Duration::from_secs(60);

/// A frozen owner loses its lock after this long; longer than a page may take.
const IDLE_SECONDS: u64 = 330;

/// The worker; see the module.
pub struct Reconciler {
    engine: Engine,
    every: TimeDelta,
    /// The session that holds the lock.
    turn: Option<db::Connection>,
    run: Option<Run>,
    /// Until when the order service is not asked.
    unreachable_until: Option<Instant>,
}

impl Reconciler {
    /// `every`: from the begin of one run to that of the next.
    pub fn new(engine: Engine, every: TimeDelta) -> Self {
        Self { engine, every, turn: None, run: None, unreachable_until: None }
    }

    /// Goes on with the run at hand, or with one that is due.
    async fn work(&mut self) -> anyhow::Result<Done> {
        let Some(mut run) = self.take_up().await? else { return Ok(Done::default()) };
        let until = Instant::now() + SLICE;
        let mut handled = 0;
        loop {
            self.keep_turn().await?;
            match run.step(&self.engine).await {
                Ok(Step { over: true, .. }) => {
                    self.tell_end(&run).await?;
                    return Ok(Done { handled, more: true });
                }
                Ok(step) => {
                    handled += step.customers;
                    if step.rest {
                        sleep(self.engine.settings.pause).await;
                    }
                }
                Err(Trouble::Unreachable(why)) => {
                    self.wait(&run, &why.to_string()).await?;
                    return Err(why.into());
                }
                Err(trouble) => return Err(trouble.into()),
            }
            if Instant::now() >= until {
                self.run = Some(run);
                return Ok(Done { handled, more: true });
            }
        }
    }

    async fn take_up(&mut self) -> anyhow::Result<Option<Run>> {
        if let Some(run) = self.run.take() {
            // One that comes to no end must be seen to grow old.
            self.due().await?;
            return Ok(Some(run));
        }
        if self.due().await?.is_none() {
            // Nothing is due: whoever is next may have the lock.
            self.turn = None;
            return Ok(None);
        }
        if self.turn.is_none() && !self.take_turn().await? {
            return Ok(None);
        }
        // Under the lock: the one before us may have gone on meanwhile.
        let Some((source, left)) = self.due().await? else { return Ok(None) };
        let run = match left {
            Some(row) => {
                tracing::info!(run = %row.id, source = source.as_str(), customers_done = row.customers,
                    "a reconciliation is gone on with");
                self.engine.go_on(source, &row).await?
            }
            None => {
                let run = self.engine.begin(source, None).await?;
                tracing::info!(run = ?run.id(), source = source.as_str(), "a reconciliation begins");
                run
            }
        };
        Ok(Some(run))
    }

    /// What is due, with the run that was left behind, if one was.
    async fn due(&self) -> Result<Option<(Source, Option<Row>)>, db::Error> {
        gauge!("reconciliation_interval_seconds").set(self.every.as_seconds_f64());
        let now = self.engine.clock.now();
        let connection = self.engine.database.get().await?;
        let mut due = None;
        for source in Source::ALL {
            if source == Source::OrderService && self.engine.orders.is_none() {
                continue;
            }
            let latest = runs::latest(&connection, source).await?;
            note_age(source, latest.as_ref(), now);
            let rests = source == Source::OrderService && self.rests();
            if rests || due.is_some() {
                continue;
            }
            due = match latest {
                Some(row) if row.finished_at.is_none() => Some((source, Some(row))),
                Some(row) if now - row.started_at < self.every => None,
                _ => Some((source, None)),
            };
        }
        Ok(due)
    }

    /// Whether the order service was asked a moment ago and gave no answer.
    fn rests(&self) -> bool {
        let rests = self.unreachable_until.is_some_and(|until| Instant::now() < until);
        gauge!("reconciliation_unreachable").set(f64::from(u8::from(rests)));
        rests
    }

    async fn take_turn(&mut self) -> Result<bool, db::Error> {
        let mut session = self.engine.database.dedicated("customer-service-reconciler").await?;
        db::outbox::guard_session(&mut session, IDLE_SECONDS).await?;
        if runs::try_lock(&session).await? {
            self.turn = Some(session);
            return Ok(true);
        }
        Ok(false)
    }

    /// A sign of life. Without the lock somebody else may be at it: then we stop.
    async fn keep_turn(&mut self) -> anyhow::Result<()> {
        let alive = match &self.turn {
            Some(session) => db::outbox::touch(session).await.is_ok(),
            None => false,
        };
        if !alive {
            self.turn = None;
            bail!("the lock of reconciliations was lost");
        }
        Ok(())
    }

    /// Says what a run waits for, and leaves it for a while.
    async fn wait(&mut self, run: &Run, why: &str) -> Result<(), db::Error> {
        self.unreachable_until = Some(Instant::now() + UNREACHABLE_REST);
        if let Some(id) = run.id() {
            let connection = self.engine.database.get().await?;
            runs::wait(&connection, id, why, self.engine.clock.now()).await?;
        }
        Ok(())
    }

    async fn tell_end(&self, run: &Run) -> Result<(), db::Error> {
        let Some(id) = run.id() else { return Ok(()) };
        let row = {
            let connection = self.engine.database.get().await?;
            runs::find(&connection, id).await?
        };
        let Some(row) = row else { return Ok(()) };
        let Row { source, customers, differences, repaired, refused, .. } = row;
        if differences > 0 || refused > 0 {
            tracing::warn!(run = %id, source, customers, differences, repaired, refused,
                "a reconciliation found differences");
        } else {
            tracing::info!(run = %id, source, customers, "a reconciliation found no difference");
        }
        Ok(())
    }
}

fn note_age(source: Source, latest: Option<&Row>, now: DateTime<Utc>) {
    let since = latest.map(|row| row.finished_at.unwrap_or(row.started_at));
    let age = since.map(|since| now - since).unwrap_or_default().max(TimeDelta::zero());
    gauge!("reconciliation_age_seconds", "source" => source.as_str()).set(age.as_seconds_f64());
}

impl Worker for Reconciler {
    fn name(&self) -> &'static str {
        "reconciler"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn time_limit(&self) -> Duration {
        TIME_MAX
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let done = self.work().await;
        if done.is_err() {
            // What is known of the run may be wrong by now: it is asked anew.
            self.run = None;
        }
        done
    }

    async fn on_stop(&mut self) -> anyhow::Result<()> {
        self.run = None;
        self.turn = None;
        Ok(())
    }
}
