//! What staff does to the actors of this process: has one begin anew, lets a worker rest, has it go on.
//! All of it is this process's alone and ends with it. Each deed is written into the audit trail before
//! it is done: what cannot be written down is not done.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::actors::batch::Batches;
use crate::actors::dead_letters::Asker;
use crate::actors::runtime::{ActorState, ActorStats, Pause, Snapshot};
use crate::actors::shard::{ShardRef, Shards};
use crate::actors::worker::{WorkerRef, Workers};
use crate::clock::Clock;
use crate::db::audit::Deed;
use crate::db::{self, Database};

/// The longest pause, in minutes. Whoever wants a longer one says so again: nothing rests for ever
/// because somebody forgot it.
pub const PAUSE_MINUTES_MAX: i64 = 60;

/// How long a restart is waited for. One whose thread is busy begins when that is done.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two looks at whether it has begun anew.
const LOOK: Duration = Duration::from_millis(10);

/// The desk; cheap to clone.
#[derive(Clone)]
pub struct ActorDesk {
    workers: Workers,
    shards: Shards<Batches>,
    database: Database,
    clock: Arc<dyn Clock>,
    /// This process, as the audit trail names it.
    node: String,
    /// One restart at a time: of two who ask for the same incarnation's one finds it gone.
    restarting: Arc<tokio::sync::Mutex<()>>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("this node has no actor of that name")]
    Unknown,
    #[error("only a worker can rest: a shard answers callers")]
    NoWorker,
    #[error("it may not rest: {0}")]
    MustRun(&'static str),
    #[error("the worker rests: resume it first")]
    Paused,
    #[error("it has ended, or is about to: start a new process")]
    Ended,
    #[error("there is no such incarnation yet")]
    NoSuchIncarnation,
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// An actor of this process.
enum Found<'a> {
    Worker(&'a WorkerRef),
    Shard(&'a ShardRef<Batches>),
}

impl Found<'_> {
    fn stats(&self) -> &ActorStats {
        match self {
            Self::Worker(worker) => worker.stats(),
            Self::Shard(shard) => shard.stats(),
        }
    }
}

impl ActorDesk {
    pub fn new(
        workers: Workers,
        shards: Shards<Batches>,
        database: Database,
        clock: Arc<dyn Clock>,
        node: String,
    ) -> Self {
        Self { workers, shards, database, clock, node, restarting: Arc::default() }
    }

    /// Has an actor begin anew whose incarnation is `generation`. If it is a later one by now, somebody
    /// was faster, or this is asked again, and nothing is done.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn restart(
        &self,
        name: &str,
        generation: u64,
        asker: &Asker,
    ) -> Result<Snapshot, Refused> {
        let _one_at_a_time = self.restarting.lock().await;
        let found = self.living(name)?;
        let stats = found.stats();
        if generation > stats.generation() {
            return Err(Refused::NoSuchIncarnation);
        }
        if generation < stats.generation() {
            return Ok(stats.snapshot());
        }
        if stats.pause().is_some() {
            return Err(Refused::Paused);
        }
        let data = json!({ "actor": name, "node": self.node, "generation": generation });
        self.write_down("actor.restarted", data, asker).await?;
        match &found {
            Found::Worker(worker) => worker.restart(),
            Found::Shard(shard) => drop(tokio::time::timeout(PATIENCE, shard.restart()).await),
        }
        let since = Instant::now();
        while stats.generation() == generation && since.elapsed() < PATIENCE {
            sleep(LOOK).await;
        }
        Ok(stats.snapshot())
    }

    /// Lets a worker rest for `minutes` from now, at most [`PAUSE_MINUTES_MAX`], after its present run.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn pause(
        &self,
        name: &str,
        minutes: i64,
        asker: &Asker,
    ) -> Result<Snapshot, Refused> {
        let Found::Worker(worker) = self.living(name)? else { return Err(Refused::NoWorker) };
        if let Some(reason) = worker.must_run() {
            return Err(Refused::MustRun(reason));
        }
        let rest = TimeDelta::minutes(minutes.clamp(1, PAUSE_MINUTES_MAX));
        let since = self.clock.now();
        let pause = Pause { by: asker.name(), since, until: since + rest };
        let data = json!({ "actor": name, "node": self.node, "until": pause.until });
        self.write_down("worker.paused", data, asker).await?;
        worker.pause(&pause, Instant::now() + rest.to_std().unwrap_or_default());
        Ok(worker.stats().snapshot())
    }

    /// Ends a pause; the worker runs at once. One that does not rest goes on as it does.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn resume(&self, name: &str, asker: &Asker) -> Result<Snapshot, Refused> {
        let Found::Worker(worker) = self.living(name)? else { return Err(Refused::NoWorker) };
        if worker.stats().pause().is_some() {
            let data = json!({ "actor": name, "node": self.node });
            self.write_down("worker.resumed", data, asker).await?;
            worker.resume();
        }
        Ok(worker.stats().snapshot())
    }

    fn living(&self, name: &str) -> Result<Found<'_>, Refused> {
        let shard = || self.shards.all().iter().find(|shard| shard.stats().name() == name);
        let found = self.workers.find(name).map(Found::Worker);
        let found = found.or_else(|| shard().map(Found::Shard)).ok_or(Refused::Unknown)?;
        match found.stats().state() {
            ActorState::Running | ActorState::Restarting => Ok(found),
            ActorState::Draining | ActorState::Stopped | ActorState::Failed => Err(Refused::Ended),
        }
    }

    async fn write_down(
        &self,
        action: &'static str,
        data: Value,
        asker: &Asker,
    ) -> Result<(), db::Error> {
        let (database, asker) = (self.database.clone(), asker.clone());
        let (id, occurred_at) = (self.clock.new_id(), self.clock.now());
        let writing = self.database.spawn(async move {
            let mut connection = database.get().await?;
            let (actor, request_id) = (&asker.actor, asker.request_id.as_str());
            let deed = Deed { id, actor, action, data, request_id, occurred_at };
            Ok(db::audit::append_deed(&mut connection, &deed, None).await?)
        });
        writing.await.map_err(|error| db::Error::Internal(error.to_string()))?
    }
}
