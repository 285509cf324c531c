//! What operators watch and do: the board that the page is told from, the worker that keeps its last
//! hour, the desk that restarts actors and lets workers rest.

use super::compose::Parts;
use super::settings;
use crate::actors::batch::Batches;
use crate::actors::operators::desk::ActorDesk;
use crate::actors::operators::installation::Known;
use crate::actors::operators::last_hour::LastHour;
use crate::actors::runtime::{Registry, Runtime};
use crate::actors::shard::Shards;
use crate::actors::worker::{WorkerRef, Workers};
use crate::actors::workers::hour_keeper::HourKeeper;
use crate::http::ops::board::Board;
use crate::http::readiness::Note;
use std::sync::Arc;

pub fn board(parts: &Parts, hour: LastHour) -> Board {
    let installation = Known::new(parts.database.clone(), parts.clock.clone());
    Board::new(settings::this_process(), installation, hour)
}

pub fn hour_keeper(parts: &Parts, runtime: &Runtime, hour: LastHour) -> WorkerRef {
    let keeper = HourKeeper::new(
        hour,
        runtime.registry(),
        parts.prometheus.clone(),
        parts.database.clone(),
        parts.clock.clone(),
    );
    runtime.spawn_worker(move || keeper.clone())
}

/// The desk of these workers and shards.
pub fn desk(parts: &Parts, workers: [&Workers; 2], shards: &Shards<Batches>) -> ActorDesk {
    let mut all = Workers::new();
    workers.iter().flat_map(|some| some.all()).for_each(|worker| all.add(worker.clone()));
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    ActorDesk::new(all, shards.clone(), database, clock, settings::this_process())
}

/// What everybody should know who asks whether this node is well.
pub fn note(registry: Arc<Registry>) -> Note {
    let text = "a worker of this node rests because somebody told it to: /ops says which, who and until when";
    Box::new(move || registry.any_paused().then_some(text))
}
