//! The hour keeper: notes a point of each series of the last hour every ten seconds.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::{Instant, timeout};

use crate::actors::operators::figures::Figures;
use crate::actors::operators::last_hour::{Counted, LastHour, Point, STEP};
use crate::actors::runtime::{Registry, Snapshot};
use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::{self, Database};

/// What is asked of the database must be there by then, or the point goes without.
const DEADLINE: Duration = Duration::from_secs(1);

/// The worker; see the module.
#[derive(Clone)]
pub struct HourKeeper {
    hour: LastHour,
    registry: Arc<Registry>,
    prometheus: PrometheusHandle,
    database: Database,
    clock: Arc<dyn Clock>,
    /// What was counted when the last point was noted.
    before: Option<Counted>,
}

impl HourKeeper {
    pub fn new(
        hour: LastHour,
        registry: Arc<Registry>,
        prometheus: PrometheusHandle,
        database: Database,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { hour, registry, prometheus, database, clock, before: None }
    }

    /// The age of the oldest message that no cursor has passed, whoever relays it.
    async fn lag(&self) -> Option<f64> {
        let asked = async {
            let connection = self.database.get().await.ok()?;
            db::supervision::groups(&connection).await.ok()
        };
        let groups = timeout(DEADLINE, asked).await.ok()??;
        let oldest = groups.iter().filter_map(|group| group.oldest).min();
        let age = oldest.map(|oldest| self.clock.now() - oldest).unwrap_or_default();
        Some(age.max(TimeDelta::zero()).as_seconds_f64())
    }
}

impl Worker for HourKeeper {
    fn name(&self) -> &'static str {
        "hour_keeper"
    }

    fn period(&self) -> Duration {
        STEP
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let actors = self.registry.snapshots();
        let shards: Vec<Snapshot> = actors.into_iter().filter(|one| one.kind == "shard").collect();
        let figures = Figures::read(&self.prometheus.render());
        let now = Counted::of(&figures, &shards, Instant::now());
        let rates = self.before.and_then(|before| now.since(&before));
        self.before = Some(now);
        let [requests, changes, errors, failures] = match rates {
            Some(rates) => rates.map(Some),
            None => [None; 4],
        };
        let waiting: f64 = shards.iter().map(|shard| shard.queue_depth as f64).sum();
        let lag = self.lag().await;
        let values = [requests, changes, errors, failures, lag, Some(waiting)];
        self.hour.push(Point { at: self.clock.now().timestamp(), values });
        Ok(Done::default())
    }
}
