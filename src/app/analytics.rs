//! `customer-service analytics …`: the engine of the service without the service; and the worker that
//! drives it within.

use super::{compose, database_runtime, settings};
use crate::actors::analytics::{Analyst, Outcome, Settings, Turn, Watcher};
use crate::actors::runtime::Runtime;
use crate::actors::worker::WorkerRef;
use crate::actors::workers::analyst::AnalystWorker;
use crate::actors::workers::clock_watch::shared_clock_of;
use crate::config::Config;
use crate::db::predictions::{KeptCutPoints, KeptModel};
use crate::db::{self, Database};
use anyhow::{bail, ensure};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How often the lock is tried for, and how long between.
const TRIES: usize = 10;
const RETRY: Duration = Duration::from_millis(200);

/// The worker that computes on schedule.
pub fn worker(config: &Config, parts: &compose::Parts, runtime: &Runtime) -> WorkerRef {
    let analyst = Analyst {
        database: parts.database.clone(),
        reports: parts.reports.clone(),
        clock: parts.clock.clone(),
        settings: Settings::from(config),
    };
    runtime.spawn_worker(move || AnalystWorker::new(analyst.clone()))
}

/// Computes the cut points of RFM scores anew.
///
/// # Errors
/// Those of the database; when somebody else computes at the moment.
pub fn rfm(config: &Config, watcher: &mut dyn Watcher) -> anyhow::Result<Outcome<KeptCutPoints>> {
    database_runtime()?.block_on(async {
        let (analyst, mut turn) = begin(config).await?;
        analyst.recompute_rfm(&mut turn, watcher).await
    })
}

/// Fits the models anew.
///
/// # Errors
/// As [`rfm`].
pub fn refit(config: &Config, watcher: &mut dyn Watcher) -> anyhow::Result<Outcome<KeptModel>> {
    database_runtime()?.block_on(async {
        let (analyst, mut turn) = begin(config).await?;
        analyst.refit(&mut turn, watcher).await
    })
}

async fn begin(config: &Config) -> anyhow::Result<(Analyst, Turn)> {
    let pending = db::migrations::pending(&settings::database(config)).await?;
    ensure!(pending.is_empty(), "the schema is not this version's: run `customer-service migrate`");
    let database = Database::new(settings::database(config), Handle::current());
    let clock = shared_clock_of(&database).await?;
    let analyst = Analyst {
        database,
        reports: compose::reports(config),
        clock: Arc::new(clock),
        settings: Settings::from(config),
    };
    // Who has just ended holds the lock until the server has noticed.
    for _ in 0..TRIES {
        if let Some(turn) = analyst.take_turn().await? {
            return Ok((analyst, turn));
        }
        tokio::time::sleep(RETRY).await;
    }
    bail!("somebody computes already: look again when that is done")
}
