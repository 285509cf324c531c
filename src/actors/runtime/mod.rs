//! The thin layer over actix that makes its actors safe to run a service on.
//!
//! actix itself restarts no actor that panics, enforces no mailbox capacity and drains nothing
//! at shutdown. So here: a supervising parent ([`supervisor`]) that spawns each actor on an
//! arbiter, watches it end and rebuilds it; admission by a permit that travels with the message
//! ([`admission`]); a reply guard that always answers ([`reply`]); numbers that are readable
//! without asking the actor ([`stats`]); and [`Runtime`], which owns all of it.
//!
//! Rules for whoever writes an actor on top:
//! 1. Call it only through a reference that admits first; never through a bare `Addr`.
//! 2. A handler is short and synchronous: check, queue, return. Input and output run as tasks
//!    on the database runtime, never on an arbiter.
//! 3. `stopping`, `stopped` and the `Drop` of an actor's fields never panic: actix runs them
//!    while it unwinds, where a second panic ends the process.
//! 4. Never start an actor inside an HTTP handler or worker: its arbiter stops first.
//!
//! This folder, `shard.rs` and `worker.rs` are the only places that name actix's actors.

pub mod admission;
mod arbiters;
pub mod reply;
pub mod stats;
pub mod supervisor;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

pub use admission::CallError;
use arbiters::Arbiters;
pub use reply::Reply;
pub use stats::{ActorState, ActorStats, Pause, Registry, Snapshot};
pub use supervisor::{Backoff, Intensity};

use super::shard::{BatchRunner, ShardSettings, Shards};
use super::worker::{self, Worker, WorkerRef};

/// How actors are placed and how failures are borne.
#[derive(Clone, Copy, Debug)]
pub struct RuntimeSettings {
    /// Threads that actors live on. 0 = on the thread that owns the [`Runtime`]; only tests with
    /// a paused clock want that, because each thread has its own clock.
    pub arbiters: usize,
    /// How long a failed actor stays down.
    pub backoff: Backoff,
    /// How many failures are borne before the process is given up.
    pub intensity: Intensity,
    /// An actor that answers no heartbeat for this long sits on a blocked thread, which no
    /// restart can mend: it is given up.
    pub stall_max: Duration,
}

/// Why the process can no longer do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalated {
    /// Name of the actor that was given up.
    pub actor: String,
    /// One sentence for the operator; carries no personal data.
    pub reason: String,
}

/// The way up for a failure that no restart mends: whoever holds the other end turns the process
/// not ready and ends it, so that the orchestrator starts a new one.
#[derive(Clone, Debug)]
pub struct Escalation(watch::Sender<Option<Escalated>>);

impl Escalation {
    /// Both ends. The receiver keeps the first escalation, also when it looks late.
    #[must_use]
    pub fn new() -> (Self, watch::Receiver<Option<Escalated>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    /// Reports that `actor` was given up. The first report wins: it is the cause, later ones are
    /// mostly its consequences.
    pub(crate) fn raise(&self, actor: &str, reason: &str) {
        tracing::error!(actor, reason, "an actor was given up; this process should end");
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(Escalated { actor: actor.to_owned(), reason: reason.to_owned() });
            }
            first
        });
    }
}

/// Owns the arbiters, starts supervised actors on them and knows them all.
///
/// Lives on the thread of the actix `System`; supervisors run there too, so that no arbiter
/// they supervise can take them along.
pub struct Runtime {
    db: Handle,
    settings: RuntimeSettings,
    escalation: Escalation,
    registry: Arc<Registry>,
    arbiters: Arc<Arbiters>,
    workers: AtomicUsize,
}

impl Runtime {
    /// Starts the arbiters. `db` is the runtime that batches and worker runs execute on. Install
    /// the metrics recorder first: actors bind their meters when they are spawned.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    ///
    /// # Panics
    /// Outside of an actix `System`, like actix itself.
    pub fn new(db: Handle, settings: RuntimeSettings, escalation: Escalation) -> io::Result<Self> {
        Ok(Self {
            db,
            settings,
            escalation,
            registry: Arc::new(Registry::new()),
            arbiters: Arc::new(Arbiters::start(settings.arbiters)?),
            workers: AtomicUsize::new(0),
        })
    }

    /// All actors and their numbers, for `/ops/actors` and readiness.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        self.registry.clone()
    }

    /// Starts `settings.actors` shard actors named `<name>-0`, `<name>-1`, … that share `runner`.
    /// They take calls as soon as this returns.
    pub fn spawn_shards<R: BatchRunner>(
        &self,
        name: &str,
        settings: ShardSettings,
        runner: &Arc<R>,
    ) -> Shards<R> {
        Shards::spawn(self, name, settings, runner)
    }

    /// Starts an actor that runs the worker which `factory` builds. The factory is called once
    /// now and again after every panic or overrun of the worker; its first run starts at once.
    pub fn spawn_worker<W, F>(&self, factory: F) -> WorkerRef
    where
        W: Worker,
        F: Fn() -> W + Send + Sync + 'static,
    {
        worker::spawn(self, factory)
    }

    /// Stops and joins the arbiters. Comes after `Shards::drain` and `Workers::stop`; an actor
    /// that still lives loses its queue (callers read `NotStarted`), while batches that already
    /// run on the database runtime go on.
    ///
    /// Returns how many arbiters had not ended by `deadline`.
    pub async fn stop(&self, deadline: Instant) -> usize {
        self.arbiters.stop(deadline).await
    }

    pub(super) fn db(&self) -> &Handle {
        &self.db
    }

    pub(super) fn settings(&self) -> &RuntimeSettings {
        &self.settings
    }

    pub(super) fn escalation(&self) -> &Escalation {
        &self.escalation
    }

    /// Workers take the arbiters in turn.
    pub(super) fn next_seat(&self) -> usize {
        self.workers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn arbiters(&self) -> &Arc<Arbiters> {
        &self.arbiters
    }

    /// Ends the arbiter of `seat` under its actors, as a crash of its thread would.
    #[cfg(test)]
    pub(crate) fn kill_arbiter(&self, seat: usize) {
        self.arbiters.kill(seat);
    }
}
