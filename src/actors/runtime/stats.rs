//! What each actor is doing, readable without asking it: an actor whose mailbox is stuck is the
//! very one whose numbers are wanted.
//!
//! [`ActorStats`] holds one actor's numbers in atomics and outlives its incarnations;
//! [`Registry`] lists them all for `/ops/actors`; the same numbers go to the metrics recorder
//! with the label `actor`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{Counter, Gauge, Histogram};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::admission::{self, Gate};

/// Where an actor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Takes work.
    Running,
    /// It failed; a fresh one starts after the back-off.
    Restarting,
    /// Told to end: finishes what it has, takes nothing new.
    Draining,
    /// Ended as told. Final.
    Stopped,
    /// Failed too often and was given up. Final.
    Failed,
}

impl ActorState {
    /// Whether the actor will never run again.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Failed)
    }

    /// A failing actor that was told to end is still one that was told to end.
    fn may_become(self, next: Self) -> bool {
        match self {
            Self::Stopped | Self::Failed => false,
            Self::Draining => next.is_final(),
            Self::Running | Self::Restarting => self != next,
        }
    }
}

/// No moment noted; moments are microseconds since the actor's first start.
const NEVER: u64 = u64::MAX;

/// Longest error text that is kept, in bytes.
const ERROR_TEXT_MAX: usize = 300;

/// One actor's numbers, over all its incarnations.
pub struct ActorStats {
    name: String,
    kind: &'static str,
    epoch: Instant,
    state: watch::Sender<ActorState>,
    gate: Option<Gate>,
    pause: Mutex<Option<Pause>>,
    renewal: AtomicBool,
    generation: AtomicU64,
    restarts: AtomicU64,
    panics: AtomicU64,
    shed: AtomicU64,
    runs: AtomicU64,
    handled: AtomicU64,
    in_flight: AtomicU64,
    batch_last: AtomicU64,
    batch_total: AtomicU64,
    run_last: AtomicU64,
    heartbeat: AtomicU64,
    oldest: AtomicU64,
    standing: AtomicU64,
    succeeded: AtomicU64,
    pace: Mutex<Pace>,
    last_error: Mutex<Option<(String, Instant)>>,
    meters: Meters,
}

impl ActorStats {
    /// `kind` says which code it runs (`shard`, `worker`); `gate` bounds its queue, if it has one.
    pub(crate) fn new(name: String, kind: &'static str, gate: Option<Gate>) -> Self {
        Self {
            meters: Meters::bind(&name),
            name,
            kind,
            epoch: Instant::now(),
            state: watch::Sender::new(ActorState::Restarting),
            gate,
            pause: Mutex::default(),
            renewal: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            runs: AtomicU64::new(0),
            handled: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            batch_last: AtomicU64::new(0),
            batch_total: AtomicU64::new(0),
            run_last: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            oldest: AtomicU64::new(NEVER),
            standing: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            pace: Mutex::new(Pace::new()),
            last_error: Mutex::default(),
        }
    }

    /// The actor's name, unique in the process.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the actor is in its life.
    #[must_use]
    pub fn state(&self) -> ActorState {
        *self.state.borrow()
    }

    /// How many messages are accepted and not yet answered.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.gate.as_ref().map_or(0, Gate::depth)
    }

    pub(crate) fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref()
    }

    /// Moves to `next` unless its present state forbids it. Returns whether it moved.
    pub(crate) fn set_state(&self, next: ActorState) -> bool {
        let moved = self.state.send_if_modified(|state| {
            let may = state.may_become(next);
            if may {
                *state = next;
            }
            may
        });
        self.meters.up.set(f64::from(u8::from(self.state() == ActorState::Running)));
        moved
    }

    /// Waits until the actor will never run again.
    pub(crate) async fn ended(&self) {
        let mut state = self.state.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = state.wait_for(|state| state.is_final()).await;
    }

    pub(crate) fn set_pause(&self, pause: Option<Pause>) {
        *lock(&self.pause) = pause;
    }

    /// The rest that somebody ordered.
    #[must_use]
    pub fn pause(&self) -> Option<Pause> {
        lock(&self.pause).clone()
    }

    /// Which incarnation there is: each that begins counts one more.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The next end of the actor is one that somebody asked for.
    pub(crate) fn ask_renewal(&self) {
        self.renewal.store(true, Ordering::Release);
    }

    /// Whether the end of the actor was asked for; holds once.
    pub(crate) fn take_renewal(&self) -> bool {
        self.renewal.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn note_generation(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn note_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.meters.restarts.increment(1);
    }

    /// A fresh incarnation runs, so long after the end of the one before.
    pub(crate) fn note_back(&self, took: Duration) {
        self.meters.restart_time.record(took.as_secs_f64());
    }

    pub(crate) fn note_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        self.meters.panics.increment(1);
    }

    /// A caller was turned away for lack of room. Returns when to come again.
    pub(crate) fn note_shed(&self) -> Duration {
        self.shed.fetch_add(1, Ordering::Relaxed);
        self.meters.shed.increment(1);
        admission::retry_after(self.depth(), lock(&self.pace).per_second(Instant::now()))
    }

    /// `text` must be free of personal data: fixed words, or the Display of an error of our own.
    pub(crate) fn note_error(&self, text: &str) {
        let mut end = text.len().min(ERROR_TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        *lock(&self.last_error) = Some((text[..end].to_owned(), Instant::now()));
    }

    /// Since when the first in the actor's queue waits; `None` when it is empty.
    pub(crate) fn set_oldest(&self, since: Option<Instant>) {
        let moment = since.map_or(NEVER, |since| micros(since.duration_since(self.epoch)));
        self.oldest.store(moment, Ordering::Relaxed);
    }

    /// Somebody who had waited so long was left behind by a batch that could take no more. Where the
    /// batch took all who waited there is nobody, however long the one before took. Holds until the next
    /// batch: that may be a while, and nobody is begun before.
    pub(crate) fn set_standing(&self, waited: Duration) {
        self.standing.store(micros(waited), Ordering::Relaxed);
    }

    /// A batch or a worker's run begins; it ends when the guard is dropped, however that happens.
    pub(crate) fn begin_run(self: &Arc<Self>, size: usize) -> Run {
        self.in_flight.fetch_add(size as u64, Ordering::Relaxed);
        self.meters.depth.set(metric(self.depth()));
        Run { stats: self.clone(), size, began: Instant::now() }
    }

    pub(crate) fn note_batch(&self, size: usize) {
        self.batch_last.store(size as u64, Ordering::Relaxed);
        self.batch_total.fetch_add(size as u64, Ordering::Relaxed);
        self.meters.batch_size.record(metric(size));
    }

    /// A batch or a run came to a good end.
    pub(crate) fn note_handled(&self, handled: usize) {
        self.handled.fetch_add(handled as u64, Ordering::Relaxed);
        self.succeeded.store(micros(self.epoch.elapsed()), Ordering::Relaxed);
    }

    /// A worker's run failed, was cut off or panicked.
    pub(crate) fn note_failed_run(&self) {
        self.meters.failed_runs.increment(1);
    }

    /// How long the actor took to answer a heartbeat, or has been silent since.
    pub(crate) fn note_heartbeat(&self, rtt: Duration) {
        self.heartbeat.store(micros(rtt), Ordering::Relaxed);
        self.meters.heartbeat.set(rtt.as_secs_f64());
        self.meters.depth.set(metric(self.depth()));
    }

    /// Sets what is known by looking at it, not by counting.
    fn measure(&self) {
        let actor = || self.name.clone();
        if let Some(gate) = &self.gate {
            let now = Instant::now();
            let oldest = match self.oldest.load(Ordering::Relaxed) {
                NEVER => Duration::ZERO,
                moment => now.saturating_duration_since(self.epoch + Duration::from_micros(moment)),
            };
            self.meters.depth.set(metric(gate.depth()));
            metrics::gauge!("actor_queue_limit", "actor" => actor()).set(metric(gate.limit()));
            metrics::gauge!("actor_oldest_seconds", "actor" => actor()).set(oldest.as_secs_f64());
        } else {
            let succeeded = Duration::from_micros(self.succeeded.load(Ordering::Relaxed));
            let age = self.epoch.elapsed().saturating_sub(succeeded);
            metrics::gauge!("actor_success_age_seconds", "actor" => actor()).set(age.as_secs_f64());
            let paused = u8::from(self.pause().is_some());
            metrics::gauge!("actor_paused", "actor" => actor()).set(paused);
        }
    }

    /// All numbers at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let number = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let oldest = match number(&self.oldest) {
            NEVER => None,
            moment => Some(now.duration_since(self.epoch + Duration::from_micros(moment))),
        };
        Snapshot {
            name: self.name.clone(),
            kind: self.kind,
            state: self.state(),
            pause: self.pause(),
            generation: number(&self.generation),
            restarts: number(&self.restarts),
            panics: number(&self.panics),
            shed: number(&self.shed),
            queue_depth: self.depth(),
            queue_limit: self.gate.as_ref().map(Gate::limit),
            oldest_waiting_seconds: oldest.map(|age| age.as_secs_f64()),
            in_flight: number(&self.in_flight),
            batch_size_last: number(&self.batch_last),
            batch_size_total: number(&self.batch_total),
            runs: number(&self.runs),
            handled: number(&self.handled),
            handled_per_second: lock(&self.pace).per_second(now),
            run_last_seconds: Duration::from_micros(number(&self.run_last)).as_secs_f64(),
            heartbeat_seconds: Duration::from_micros(number(&self.heartbeat)).as_secs_f64(),
            last_error: lock(&self.last_error).as_ref().map(|(text, at)| LastError {
                text: text.clone(),
                seconds_ago: now.duration_since(*at).as_secs_f64(),
            }),
        }
    }
}

/// One batch or run in progress.
pub(crate) struct Run {
    stats: Arc<ActorStats>,
    size: usize,
    began: Instant,
}

impl Drop for Run {
    fn drop(&mut self) {
        let (stats, now) = (&self.stats, Instant::now());
        let took = now - self.began;
        stats.in_flight.fetch_sub(self.size as u64, Ordering::Relaxed);
        stats.runs.fetch_add(1, Ordering::Relaxed);
        stats.run_last.store(micros(took), Ordering::Relaxed);
        stats.meters.run_duration.record(took.as_secs_f64());
        lock(&stats.pace).add(self.size, now);
        stats.meters.depth.set(metric(stats.depth()));
    }
}

/// How many works a second the actor finishes: a mean in which the last seconds weigh most.
struct Pace {
    count: f64,
    since: Instant,
    updated: Instant,
}

/// Work this old weighs a third of work done now.
const PACE_MEMORY: Duration = Duration::from_secs(5);

impl Pace {
    fn new() -> Self {
        let now = Instant::now();
        Self { count: 0.0, since: now, updated: now }
    }

    fn add(&mut self, done: usize, now: Instant) {
        self.count = self.faded(now) + metric(done);
        self.updated = now;
    }

    fn per_second(&self, now: Instant) -> f64 {
        // A young actor's window is shorter than the memory; without this its pace reads too low.
        let window = 1.0 - (-Self::memories(now - self.since)).exp();
        if window <= f64::EPSILON {
            return 0.0;
        }
        self.faded(now) / (PACE_MEMORY.as_secs_f64() * window)
    }

    fn faded(&self, now: Instant) -> f64 {
        self.count * (-Self::memories(now - self.updated)).exp()
    }

    fn memories(time: Duration) -> f64 {
        time.as_secs_f64() / PACE_MEMORY.as_secs_f64()
    }
}

/// One actor's numbers at one moment. Durations in seconds.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Unique in the process: `customers-0`, `outbox_relay`.
    pub name: String,
    /// `shard` or `worker`.
    pub kind: &'static str,
    /// Where it is in its life.
    pub state: ActorState,
    /// A worker's rest that somebody ordered.
    pub pause: Option<Pause>,
    /// How many incarnations there were.
    pub generation: u64,
    /// How often it was rebuilt after a failure (a worker's value counts too).
    pub restarts: u64,
    /// Panics of the actor, its batches or its runs.
    pub panics: u64,
    /// Callers turned away because the queue was full.
    pub shed: u64,
    /// Accepted and not yet answered: mailbox, queue and batch in flight.
    pub queue_depth: usize,
    /// Above this, callers are turned away. `None`: it has no queue.
    pub queue_limit: Option<usize>,
    /// Age of the first in the queue.
    pub oldest_waiting_seconds: Option<f64>,
    /// Works of the batch in flight; 1 while a worker runs.
    pub in_flight: u64,
    /// Size of the last batch.
    pub batch_size_last: u64,
    /// Works in all batches.
    pub batch_size_total: u64,
    /// Batches or runs that ended, well or not.
    pub runs: u64,
    /// Works of batches that did not break; what a worker says that it handled.
    pub handled: u64,
    /// Recent pace of the actor (runs a second, for a worker).
    pub handled_per_second: f64,
    /// How long the last batch or run took.
    pub run_last_seconds: f64,
    /// Time through the mailbox and back, measured each second.
    pub heartbeat_seconds: f64,
    /// The last failure.
    pub last_error: Option<LastError>,
}

/// A rest that somebody ordered, and that ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// The id of the key.
    pub by: String,
    /// When it was ordered.
    pub since: DateTime<Utc>,
    /// When it ends.
    pub until: DateTime<Utc>,
}

/// A failure, without personal data.
#[derive(Clone, Debug, Serialize)]
pub struct LastError {
    /// What went wrong.
    pub text: String,
    /// Its age.
    pub seconds_ago: f64,
}

/// Every actor of the process.
#[derive(Default)]
pub struct Registry {
    actors: RwLock<Vec<Arc<ActorStats>>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn add(&self, stats: Arc<ActorStats>) {
        self.actors.write().unwrap_or_else(PoisonError::into_inner).push(stats);
    }

    /// All actors in the order of their start.
    #[must_use]
    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.each(|actor| actor.snapshot())
    }

    /// Sets the gauges that are looked up when somebody asks for metrics.
    pub fn measure(&self) {
        self.each(ActorStats::measure);
    }

    /// How long somebody had waited in every queue and was left behind all the same by its last batch. One
    /// queue alone that stands is that of a customer who is asked for again and again.
    #[must_use]
    pub fn standing(&self) -> Duration {
        let waited =
            self.each(|actor| actor.gate.as_ref().map(|_| actor.standing.load(Ordering::Relaxed)));
        Duration::from_micros(waited.into_iter().flatten().min().unwrap_or_default())
    }

    /// Names of the actors that were given up; the process is not ready while there is one.
    #[must_use]
    pub fn failed(&self) -> Vec<String> {
        let failed = |actor: &ActorStats| {
            (actor.state() == ActorState::Failed).then(|| actor.name().to_owned())
        };
        self.each(failed).into_iter().flatten().collect()
    }

    /// Whether somebody told a worker to rest.
    #[must_use]
    pub fn any_paused(&self) -> bool {
        self.each(|actor| actor.pause().is_some()).contains(&true)
    }

    fn each<T>(&self, read: impl Fn(&ActorStats) -> T) -> Vec<T> {
        let actors = self.actors.read().unwrap_or_else(PoisonError::into_inner);
        actors.iter().map(|actor| read(actor)).collect()
    }
}

/// The actor's handles at the metrics recorder.
struct Meters {
    restarts: Counter,
    panics: Counter,
    failed_runs: Counter,
    shed: Counter,
    depth: Gauge,
    up: Gauge,
    heartbeat: Gauge,
    batch_size: Histogram,
    restart_time: Histogram,
    run_duration: Histogram,
}

impl Meters {
    fn bind(actor: &str) -> Self {
        let actor = actor.to_owned();
        Self {
            restarts: metrics::counter!("actor_restarts_total", "actor" => actor.clone()),
            panics: metrics::counter!("actor_panics_total", "actor" => actor.clone()),
            failed_runs: metrics::counter!("actor_failed_runs_total", "actor" => actor.clone()),
            shed: metrics::counter!("actor_shed_total", "actor" => actor.clone()),
            depth: metrics::gauge!("actor_queue_depth", "actor" => actor.clone()),
            up: metrics::gauge!("actor_up", "actor" => actor.clone()),
            heartbeat: metrics::gauge!("actor_heartbeat_seconds", "actor" => actor.clone()),
            batch_size: metrics::histogram!("actor_batch_size", "actor" => actor.clone()),
            restart_time: metrics::histogram!("actor_restart_duration_seconds", "actor" => actor.clone()),
            run_duration: metrics::histogram!("actor_run_duration_seconds", "actor" => actor),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of messages are far below 2^52")]
fn metric(count: usize) -> f64 {
    count as f64
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(NEVER - 1)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_move_only_towards_the_end() {
        use ActorState::{Draining, Failed, Restarting, Running, Stopped};
        let stats = ActorStats::new("a".to_owned(), "shard", None);
        assert!(stats.set_state(Running));
        assert!(stats.set_state(Restarting));
        assert!(stats.set_state(Draining));
        assert!(!stats.set_state(Restarting), "told to end stays told to end");
        assert!(!stats.set_state(Running));
        assert!(stats.set_state(Stopped));
        assert!(!stats.set_state(Failed));
    }

    #[tokio::test(start_paused = true)]
    async fn pace_follows_the_last_seconds() {
        let mut pace = Pace::new();
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            pace.add(50, Instant::now());
        }
        let young = pace.per_second(Instant::now());
        assert!((450.0..600.0).contains(&young), "500 a second for one second read {young}");
        tokio::time::sleep(Duration::from_secs(20)).await;
        let idle = pace.per_second(Instant::now());
        assert!(idle < 3.0, "20 s of silence read {idle}");
    }

    #[test]
    fn a_snapshot_serializes_and_long_errors_are_cut_between_characters() {
        let stats = ActorStats::new("a".to_owned(), "shard", Some(Gate::new(4)));
        stats.note_error(&"é".repeat(ERROR_TEXT_MAX));
        let json = serde_json::to_value(stats.snapshot()).unwrap();
        assert_eq!(json["state"], "restarting");
        assert_eq!(json["queue_limit"], 4);
        assert_eq!(json["last_error"]["text"].as_str().unwrap().len(), ERROR_TEXT_MAX);
    }
}
