//! The trait [`Worker`] and the one actor that runs any worker.
//!
//! A worker is nudged or its period passes; then it looks for itself what is due and says what
//! it did. A nudge carries no data, so losing, doubling or merging nudges is harmless, and the
//! period is the net under them. Each run is a task on the database runtime, guarded against
//! panics and cut off at a time limit; after a failure the worker rests, longer each time.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::runtime::supervisor::{GiveUp, Ping, Restarts, panic_text, supervise};
use super::runtime::{ActorState, ActorStats, Backoff, Escalation, Pause, Runtime};
use crate::faults;

/// A piece of recurring work. Its value keeps what is worth keeping between runs (a cursor, a
/// connection); it is rebuilt by its factory after a panic or an overrun.
pub trait Worker: Send + 'static {
    /// Unique in the process: `outbox_relay`.
    fn name(&self) -> &'static str;

    /// The longest rest between two runs when nobody nudges. Read after each run.
    fn period(&self) -> Duration;

    /// A run that takes longer is cut off, and counts as failed.
    fn time_limit(&self) -> Duration {
        RUN_TIME_MAX
    }

    /// The mean of the longest rest after failed runs, where the usual one is too long. Read after
    /// each run.
    fn rest_max(&self) -> Duration {
        Duration::MAX
    }

    /// Why nobody may pause it, where nobody may; a restart is allowed always.
    fn must_run(&self) -> Option<&'static str> {
        None
    }

    /// Looks for what is due and does a bounded part of it. Must bear being run twice, and being cut
    /// off at any point.
    fn run_once(&mut self) -> impl Future<Output = anyhow::Result<Done>> + Send;

    /// After the last run, at an orderly stop: write down what only memory knows.
    fn on_stop(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send {
        async { Ok(()) }
    }
}

/// The usual limit of one run: far above a healthy one, far below an operator's patience.
const RUN_TIME_MAX: Duration = Duration::from_secs(60);

/// What a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// How many items it handled.
    pub handled: usize,
    /// Whether it knows of more: then it runs again at once.
    pub more: bool,
}

/// Wakes a worker. Nudges while it runs are kept as one: it runs once more afterwards.
#[derive(Clone, Debug, Default)]
pub struct Nudge(Arc<Notify>);

impl Nudge {
    /// A nudge of its own, that wakes whoever awaits [`nudged`](Self::nudged).
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Something may be due. Never blocks, may be called from anywhere.
    pub fn nudge(&self) {
        self.0.notify_one();
    }

    /// Resolves at the next nudge, or at once if there was one since the last time.
    pub async fn nudged(&self) {
        self.0.notified().await;
    }
}

/// What the actor is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Run,
    /// Until then.
    Pause(Instant),
    Stop,
}

/// A running worker: nudge it, pause it, restart it, stop it.
#[derive(Clone)]
pub struct WorkerRef {
    stats: Arc<ActorStats>,
    nudge: Nudge,
    mode: watch::Sender<Mode>,
    renewals: watch::Sender<u64>,
    must_run: Option<&'static str>,
    closing: Arc<dyn Closing>,
}

impl WorkerRef {
    /// The worker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.stats.name()
    }

    /// The worker's numbers.
    #[must_use]
    pub fn stats(&self) -> &Arc<ActorStats> {
        &self.stats
    }

    /// The handle that wakes this worker.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        self.nudge.clone()
    }

    /// Why nobody may pause it, where nobody may.
    #[must_use]
    pub fn must_run(&self) -> Option<&'static str> {
        self.must_run
    }

    /// Lets the worker rest after its present run, until [`resume`](Self::resume), and at the longest
    /// until `ends`. One that rests already does so until then.
    pub fn pause(&self, pause: &Pause, ends: Instant) {
        let changed = self.mode.send_if_modified(|mode| {
            let may = *mode != Mode::Stop;
            if may {
                *mode = Mode::Pause(ends);
                self.stats.set_pause(Some(pause.clone()));
            }
            may
        });
        if changed {
            let (by, until) = (&pause.by, pause.until);
            tracing::info!(worker = self.name(), by, %until, "a worker was told to rest");
        }
    }

    /// Ends a pause; the worker runs at once.
    pub fn resume(&self) {
        let changed = self.mode.send_if_modified(|mode| {
            let paused = matches!(mode, Mode::Pause(_));
            if paused {
                *mode = Mode::Run;
                self.stats.set_pause(None);
            }
            paused
        });
        if changed {
            tracing::info!(worker = self.name(), "a worker was told to go on");
        }
    }

    /// Has a fresh value take the place of this one, and run at once. A run under way is cut off.
    pub fn restart(&self) {
        self.renewals.send_modify(|renewals| *renewals += 1);
    }

    /// Lets the present run finish, calls [`Worker::on_stop`], and ends the actor. False when
    /// that was not done by `deadline`, or `on_stop` failed.
    pub async fn stop(&self, deadline: Instant) -> bool {
        self.stats.set_state(ActorState::Draining);
        self.mode.send_replace(Mode::Stop);
        let ended = async {
            self.stats.ended().await;
            self.closing.clone().close(deadline).await
        };
        timeout_at(deadline, ended).await.unwrap_or(false)
    }
}

/// All workers of the process, in the order in which they are to be stopped.
#[derive(Clone, Default)]
pub struct Workers(Vec<WorkerRef>);

impl Workers {
    /// No workers yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a worker.
    pub fn add(&mut self, worker: WorkerRef) {
        self.0.push(worker);
    }

    /// The worker of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&WorkerRef> {
        self.0.iter().find(|worker| worker.name() == name)
    }

    /// All workers.
    #[must_use]
    pub fn all(&self) -> &[WorkerRef] {
        &self.0
    }

    /// Stops all of them at once. Returns the names of those that did not end well by `deadline`.
    pub async fn stop(&self, deadline: Instant) -> Vec<String> {
        let stopped = join_all(self.0.iter().map(|worker| worker.stop(deadline))).await;
        let late = self.0.iter().zip(stopped).filter(|(_, done)| !done);
        late.map(|(worker, _)| worker.name().to_owned()).collect()
    }
}

/// Starts the actor of the worker that `factory` builds; see [`Runtime::spawn_worker`].
pub(super) fn spawn<W, F>(runtime: &Runtime, factory: F) -> WorkerRef
where
    W: Worker,
    F: Fn() -> W + Send + Sync + 'static,
{
    let worker = factory();
    let must_run = worker.must_run();
    let settings = runtime.settings();
    let core = Arc::new(Core {
        stats: Arc::new(ActorStats::new(worker.name().to_owned(), "worker", None)),
        value: Arc::new(tokio::sync::Mutex::new(Some((0, worker)))),
        built: AtomicU64::new(0),
        renewals: watch::Sender::new(0),
        factory: Box::new(factory),
        nudge: Nudge::new(),
        mode: watch::Sender::new(Mode::Run),
        db: runtime.db().clone(),
        backoff: settings.backoff,
        trouble: Mutex::new(Trouble {
            errors: 0,
            restarts: Restarts::new(settings.backoff, settings.intensity),
        }),
        escalation: runtime.escalation().clone(),
    });
    let inner = core.clone();
    // The handle of the actor is not needed: all that is told to it survives it in the core.
    let seat = runtime.next_seat();
    supervise(runtime, core.stats.clone(), seat, move || WorkerActor { core: inner.clone() });
    WorkerRef {
        stats: core.stats.clone(),
        nudge: core.nudge.clone(),
        mode: core.mode.clone(),
        renewals: core.renewals.clone(),
        must_run,
        closing: core,
    }
}

/// What a worker's incarnations share.
struct Core<W> {
    stats: Arc<ActorStats>,
    /// The worker, locked by the run in progress: the lock is also the fence between the run of
    /// a dead incarnation and the next one. Taken out during a run and put back after it, so
    /// `None` means that the last run broke the worker. With it, after how many renewals it was built.
    value: Arc<tokio::sync::Mutex<Option<(u64, W)>>>,
    /// After how many renewals the last run began.
    built: AtomicU64,
    /// How often somebody asked for a fresh value.
    renewals: watch::Sender<u64>,
    factory: Box<dyn Fn() -> W + Send + Sync>,
    nudge: Nudge,
    mode: watch::Sender<Mode>,
    db: Handle,
    backoff: Backoff,
    trouble: Mutex<Trouble>,
    escalation: Escalation,
}

/// The failures that the next rest depends on.
struct Trouble {
    /// Runs in a row that failed without a panic.
    errors: usize,
    /// Panics. Above their intensity the worker is given up.
    restarts: Restarts,
}

/// How a run ended.
enum Outcome {
    Done {
        done: Done,
        period: Duration,
    },
    Failed {
        text: String,
        rest_max: Duration,
    },
    CutOff,
    /// Somebody asked for a fresh worker.
    Renewed,
    Panicked(&'static str),
}

/// What comes after a run.
enum Next {
    /// The next run, at once.
    Run,
    /// The next run at a moment, or at a nudge before it.
    Rest(Instant),
    /// The next run at a moment and not before: nudges must not wear down what is in trouble.
    BackOff(Instant),
    /// No next run.
    End,
}

impl<W: Worker> Core<W> {
    /// One run, on the database runtime.
    async fn run(self: Arc<Self>) -> Outcome {
        let mut value = self.value.clone().lock_owned().await;
        let mut renewals = self.renewals.subscribe();
        let renewal = *renewals.borrow_and_update();
        self.built.store(renewal, Ordering::Release);
        let _run = self.stats.begin_run(1);
        let build = || catch_unwind(AssertUnwindSafe(|| (self.factory)()));
        let taken = match value.take() {
            Some((built, worker)) if built == renewal => Ok(worker),
            Some((_, former)) => {
                drop(former);
                self.note_renewed();
                build()
            }
            None => build(),
        };
        let mut worker = match taken {
            Ok(worker) => worker,
            Err(payload) => return Outcome::Panicked(panic_text(&*payload)),
        };
        let limit = worker.time_limit();
        let run = async {
            faults::at("worker.run");
            worker.run_once().await
        };
        let guarded = AssertUnwindSafe(timeout(limit, run)).catch_unwind();
        let ended = tokio::select! {
            ended = guarded => ended,
            // The sender lives in `self`, so waiting for it cannot fail.
            _ = renewals.changed() => return Outcome::Renewed,
        };
        match ended {
            Ok(Ok(result)) => {
                let (period, rest_max) = (worker.period(), worker.rest_max());
                *value = Some((renewal, worker));
                match result {
                    Ok(done) => Outcome::Done { done, period },
                    Err(error) => Outcome::Failed { text: error.to_string(), rest_max },
                }
            }
            Ok(Err(_elapsed)) => Outcome::CutOff,
            Err(payload) => Outcome::Panicked(panic_text(&*payload)),
        }
    }

    /// Notes how a run ended and decides what comes next.
    fn conclude(&self, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Done { done, period } => {
                self.trouble().errors = 0;
                self.stats.note_handled(done.handled);
                if done.handled > 0 {
                    self.stats.note_batch(done.handled);
                }
                if done.more { Next::Run } else { Next::Rest(Instant::now() + period) }
            }
            Outcome::Failed { text, rest_max } => self.rest_after_error(&text, rest_max),
            Outcome::CutOff => {
                self.stats.note_restart();
                self.rest_after_error("a run was cut off at its time limit", Duration::MAX)
            }
            Outcome::Renewed => {
                self.note_renewed();
                Next::Run
            }
            Outcome::Panicked(text) => self.rest_after_panic(text),
        }
    }

    /// What went wrong before is the former value's.
    fn note_renewed(&self) {
        self.trouble().errors = 0;
        self.stats.note_restart();
        self.stats.note_generation();
        tracing::info!(worker = self.stats.name(), "a worker begins anew, as it was asked to");
    }

    /// An error is the world's (a broker is away), so it is borne without limit.
    fn rest_after_error(&self, text: &str, rest_max: Duration) -> Next {
        let failures = {
            let mut trouble = self.trouble();
            trouble.errors += 1;
            trouble.errors
        };
        let delay = self.backoff.up_to(rest_max).delay(failures);
        self.stats.note_failed_run();
        self.stats.note_error(text);
        tracing::warn!(worker = self.stats.name(), failures, ?delay, error = text, "a run failed");
        Next::BackOff(Instant::now() + delay)
    }

    /// A panic is a bug of ours: a few are borne, many end the process.
    fn rest_after_panic(&self, text: &str) -> Next {
        self.stats.note_panic();
        self.stats.note_failed_run();
        self.stats.note_error(&format!("a run panicked: {text}"));
        let now = Instant::now();
        let delay = self.trouble().restarts.after_failure(now);
        tracing::error!(worker = self.stats.name(), text, ?delay, "a run panicked");
        match delay {
            Some(delay) => {
                self.stats.note_restart();
                Next::BackOff(now + delay)
            }
            None => {
                let given_up =
                    GiveUp { stats: self.stats.clone(), escalation: self.escalation.clone() };
                given_up.give_up("its runs panicked too often");
                Next::End
            }
        }
    }

    /// Rests until `due`, a nudge (if `wakeful`), a renewal, the end of a pause or a stop. What becomes
    /// due during a pause waits for its end.
    async fn rest(self: Arc<Self>, due: Instant, wakeful: bool) {
        let (mut mode, mut renewals) = (self.mode.subscribe(), self.renewals.subscribe());
        let built = self.built.load(Ordering::Acquire);
        // The senders live in `self`, so waiting for them cannot fail.
        tokio::select! {
            _ = mode.wait_for(|mode| *mode != Mode::Run) => {}
            _ = renewals.wait_for(|renewals| *renewals != built) => {}
            () = self.nudge.nudged(), if wakeful => {}
            () = sleep_until(due) => {}
        }
        while let Mode::Pause(ends) = self.mode() {
            tokio::select! {
                _ = mode.wait_for(|mode| *mode != Mode::Pause(ends)) => {}
                () = sleep_until(ends) => self.end_pause(ends),
            }
        }
    }

    /// A pause is over by itself.
    fn end_pause(&self, ends: Instant) {
        let ended = self.mode.send_if_modified(|mode| {
            let over = *mode == Mode::Pause(ends);
            if over {
                *mode = Mode::Run;
                self.stats.set_pause(None);
            }
            over
        });
        if ended {
            tracing::info!(worker = self.stats.name(), "the pause of a worker is over");
        }
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mode(&self) -> Mode {
        *self.mode.borrow()
    }
}

/// The last act of a worker, without its type.
trait Closing: Send + Sync {
    /// Waits for a run in progress and calls `on_stop`. Whether that went well.
    fn close(self: Arc<Self>, deadline: Instant) -> BoxFuture<'static, bool>;
}

impl<W: Worker> Closing for Core<W> {
    fn close(self: Arc<Self>, deadline: Instant) -> BoxFuture<'static, bool> {
        // On the database runtime too: the worker's connections belong to it.
        let closing = self.clone().db.spawn(async move {
            let mut value = self.value.clone().lock_owned().await;
            let Some((_, mut worker)) = value.take() else { return true };
            let flush = AssertUnwindSafe(timeout_at(deadline, worker.on_stop())).catch_unwind();
            let trouble = match flush.await {
                Ok(Ok(Ok(()))) => return true,
                Ok(Ok(Err(error))) => error.to_string(),
                Ok(Err(_elapsed)) => "too late".to_owned(),
                Err(payload) => format!("panicked: {}", panic_text(&*payload)),
            };
            self.stats.note_error(&format!("the last flush failed: {trouble}"));
            tracing::error!(worker = self.stats.name(), error = trouble, "the last flush failed");
            false
        });
        async move { closing.await.unwrap_or(false) }.boxed()
    }
}

/// Runs one worker: run, rest, run, … until told to stop.
struct WorkerActor<W> {
    core: Arc<Core<W>>,
}

impl<W: Worker> Actor for WorkerActor<W> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // Something may have become due while no incarnation was there.
        self.take(Next::Run, context);
    }
}

impl<W: Worker> WorkerActor<W> {
    fn take(&mut self, next: Next, context: &mut Context<Self>) {
        let core = self.core.clone();
        match next {
            _ if core.mode() == Mode::Stop => context.stop(),
            Next::End => context.stop(),
            Next::Run if core.mode() == Mode::Run => self.run(context),
            Next::Run => self.rest(Instant::now(), true, context),
            Next::Rest(due) => self.rest(due, true, context),
            Next::BackOff(due) => self.rest(due, false, context),
        }
    }

    fn rest(&mut self, due: Instant, wakeful: bool, context: &mut Context<Self>) {
        let resting = self.core.clone().rest(due, wakeful).into_actor(self);
        context.spawn(resting.map(|(), actor, context| actor.take(Next::Run, context)));
    }

    fn run(&mut self, context: &mut Context<Self>) {
        let running = self.core.db.spawn(self.core.clone().run()).into_actor(self);
        context.spawn(running.map(|joined, actor, context| {
            // A panic outside of the guard is one in the worker's Drop.
            let outcome = joined.unwrap_or_else(|error| match error.try_into_panic() {
                Ok(payload) => Outcome::Panicked(panic_text(&*payload)),
                Err(_) => Outcome::Failed {
                    text: "the database runtime cancelled a run".to_owned(),
                    rest_max: Duration::MAX,
                },
            });
            let next = actor.core.conclude(outcome);
            actor.take(next, context);
        }));
    }
}

impl<W: Worker> Handler<Ping> for WorkerActor<W> {
    type Result = ();

    fn handle(&mut self, _ping: Ping, _context: &mut Context<Self>) {}
}
