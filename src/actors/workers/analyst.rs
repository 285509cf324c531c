//! Computes the cut points of RFM scores and fits the models when they have grown old: one node at a
//! time does, whichever holds the lock.

use crate::actors::analytics::{Analyst, Outcome, Turn, Unwatched};
use crate::actors::worker::{Done, Worker};
use crate::db;
use crate::db::predictions::{Kind, Run};
use crate::faults;
use chrono::{DateTime, TimeDelta, Utc};
use metrics::{gauge, histogram};
use std::time::Duration;
use uuid::Uuid;

const PERIOD: Duration = Duration::from_secs(60);

const KINDS: [Kind; 2] = [Kind::Rfm, Kind::Predictions];

/// Millions of customers are read and fitted within it.
const TIME_LIMIT: Duration = Duration::from_secs(3_600);

/// After a run that broke off, or failed by no fault of the data.
const RETRY: TimeDelta = TimeDelta::minutes(10);

/// The worker; see the module.
pub struct AnalystWorker {
    analyst: Analyst,
}

impl AnalystWorker {
    pub fn new(analyst: Analyst) -> Self {
        Self { analyst }
    }

    async fn is_due(&self, kind: Kind) -> Result<bool, db::Error> {
        let every = match kind {
            Kind::Rfm => self.analyst.settings.rfm_every,
            Kind::Predictions => self.analyst.settings.predictions_every,
        };
        let Some(every) = every else { return Ok(false) };
        let latest = self.analyst.latest(kind).await?;
        Ok(latest.is_none_or(|run| is_old(&run, every, self.analyst.clock.now())))
    }

    /// Whether there is anybody to compute from.
    async fn has_buyers(&self) -> Result<bool, db::Error> {
        let connection = self.analyst.database.get().await?;
        let currency = &self.analyst.settings.currency;
        Ok(!db::predictions::buyers(&connection, currency, Uuid::nil(), 1).await?.is_empty())
    }

    async fn carry_out(&self, kind: Kind, turn: &mut Turn) -> anyhow::Result<()> {
        let began = tokio::time::Instant::now();
        let fault = match kind {
            Kind::Rfm => told(kind, self.analyst.recompute_rfm(turn, &mut Unwatched).await?),
            Kind::Predictions => told(kind, self.analyst.refit(turn, &mut Unwatched).await?),
        };
        let took = began.elapsed().as_secs_f64();
        histogram!("analytics_run_seconds", "kind" => kind.as_str()).record(took);
        if fault.is_none() {
            let at = self.analyst.clock.now().timestamp() as f64;
            gauge!("analytics_last_success_timestamp_seconds", "kind" => kind.as_str()).set(at);
            tracing::info!(kind = kind.as_str(), seconds = took, "computed anew");
        }
        Ok(())
    }
}

fn told<T>(kind: Kind, outcome: Outcome<T>) -> Option<&'static str> {
    match outcome {
        Outcome::Done(_) => None,
        Outcome::Nothing(why) => {
            tracing::info!(kind = kind.as_str(), why, "not computed: the data do not tell it yet");
            Some(why)
        }
    }
}

/// Whether it is time again. A run that broke off, or failed by no fault of the data, has not been.
fn is_old(run: &Run, every: TimeDelta, now: DateTime<Utc>) -> bool {
    let broken = run.finished_at.is_none() || run.fault.as_deref() == Some("failed");
    let rest = if broken { every.min(RETRY) } else { every };
    now - run.started_at >= rest
}

impl Worker for AnalystWorker {
    fn name(&self) -> &'static str {
        "analyst"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    fn time_limit(&self) -> Duration {
        TIME_LIMIT
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let mut due = false;
        for kind in KINDS {
            due |= self.is_due(kind).await?;
        }
        if !due || !self.has_buyers().await? {
            return Ok(Done::default());
        }
        let Some(mut turn) = self.analyst.take_turn().await? else { return Ok(Done::default()) };
        faults::at("analyst.took_turn");
        let mut handled = 0;
        for kind in KINDS {
            // Under the lock: the one before us may just have done it.
            if self.is_due(kind).await? {
                self.carry_out(kind, &mut turn).await?;
                faults::at("analyst.computed");
                handled += 1;
            }
        }
        Ok(Done { handled, more: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_repeated_when_it_is_old_and_soon_when_it_broke_off() {
        let start: DateTime<Utc> = "2026-11-22T00:00:00Z".parse().unwrap();
        let run = |finished: bool, fault: Option<&str>| Run {
            started_at: start,
            touched_at: start,
            stage: String::new(),
            customers: 0,
            evaluations: 0,
            finished_at: finished.then_some(start),
            fault: fault.map(str::to_owned),
        };
        let day = TimeDelta::hours(24);
        for (run, minutes, expected) in [
            (run(true, None), 24 * 60 - 1, false),
            (run(true, None), 24 * 60, true),
            (run(true, Some("too_few_customers")), 60, false),
            (run(true, Some("failed")), 9, false),
            (run(true, Some("failed")), 10, true),
            (run(false, None), 9, false),
            (run(false, None), 10, true),
        ] {
            let then = start + TimeDelta::minutes(minutes);
            assert_eq!(is_old(&run, day, then), expected, "{run:?} after {minutes} min");
        }
    }
}
