//! The shard actor: queue → batch → replies. It knows no business rule.
//!
//! While one batch commits, the next one gathers: no timer, so an idle shard answers with the
//! latency of one commit and a busy one shares a commit between many callers. The batch itself
//! is a task on the database runtime: it owns its callers' replies, so they get the true outcome
//! even if the actor dies meanwhile, and it holds the shard's fence, so the batch of a dead
//! incarnation and the first one of its successor never overlap.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture,
};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use super::runtime::admission::{Gate, Refused};
use super::runtime::reply::Ticket;
use super::runtime::supervisor::{Ping, Slot, panic_text, supervise};
use super::runtime::{ActorState, ActorStats, CallError, Reply, Runtime};
use crate::faults;

/// What a shard's batches do. Shared by all shards; the shards serialise their own batches, so
/// `run` is in progress at most once per shard.
pub trait BatchRunner: Send + Sync + 'static {
    /// What a caller asks for.
    type Work: Send + 'static;
    /// What the caller is answered, its refusals included.
    type Answer: Send + 'static;

    /// Does the whole batch in arrival order and answers every reply. A reply that it drops
    /// reads [`CallError::Unknown`]; where nothing was written, refuse it with
    /// [`CallError::NotStarted`] instead. Runs on the database runtime; may panic.
    fn run(
        self: Arc<Self>,
        batch: Vec<(Self::Work, Reply<Self::Answer>)>,
    ) -> BoxFuture<'static, ()>;
}

/// The measures of one set of shards.
#[derive(Clone, Copy, Debug)]
pub struct ShardSettings {
    /// How many shard actors, that is batches committing at once. Must be below the size of the
    /// connection pool.
    pub actors: usize,
    /// How many callers one shard accepts before it turns others away: acceptable wait × pace,
    /// about four full batches.
    pub queue_max: usize,
    /// How many works one batch takes.
    pub batch_max: usize,
    /// A batch that takes longer is cut off (its callers read `Unknown`): a net far above the
    /// database's own time limits, so that a hung connection does not hang a shard.
    pub batch_time_max: Duration,
}

/// One set of shards. Cheap to clone; handlers hold one.
pub struct Shards<R: BatchRunner> {
    refs: Arc<[ShardRef<R>]>,
}

impl<R: BatchRunner> Clone for Shards<R> {
    fn clone(&self) -> Self {
        Self { refs: self.refs.clone() }
    }
}

impl<R: BatchRunner> Shards<R> {
    pub(super) fn spawn(
        runtime: &Runtime,
        name: &str,
        settings: ShardSettings,
        runner: &Arc<R>,
    ) -> Self {
        let spawn = |index| ShardRef::spawn(runtime, name, index, settings, runner.clone());
        Self { refs: (0..settings.actors.max(1)).map(spawn).collect() }
    }

    /// The shard that owns `logical`, a logical shard or any other stable hash of the key whose
    /// works must stay in order.
    #[must_use]
    pub fn owner(&self, logical: u64) -> &ShardRef<R> {
        // The remainder is below the number of actors, so it fits.
        let index = logical % self.refs.len() as u64;
        &self.refs[usize::try_from(index).unwrap_or_default()]
    }

    /// All shards.
    #[must_use]
    pub fn all(&self) -> &[ShardRef<R>] {
        &self.refs
    }

    /// Lets no new work in, waits until everything accepted is answered, and ends the actors.
    /// Returns the names of those that were not done by `deadline`; their callers read
    /// `NotStarted` or `Unknown` when the process ends.
    pub async fn drain(&self, deadline: Instant) -> Vec<String> {
        let drained = join_all(self.refs.iter().map(|shard| shard.drain(deadline))).await;
        let late = self.refs.iter().zip(drained).filter(|(_, done)| !done);
        late.map(|(shard, _)| shard.stats().name().to_owned()).collect()
    }
}

/// The only way to call a shard. Cheap to clone.
pub struct ShardRef<R: BatchRunner> {
    slot: Arc<Slot<Shard<R>>>,
    core: Arc<Core<R>>,
}

impl<R: BatchRunner> Clone for ShardRef<R> {
    fn clone(&self) -> Self {
        Self { slot: self.slot.clone(), core: self.core.clone() }
    }
}

impl<R: BatchRunner> ShardRef<R> {
    fn spawn(
        runtime: &Runtime,
        name: &str,
        index: usize,
        settings: ShardSettings,
        runner: Arc<R>,
    ) -> Self {
        let gate = Gate::new(settings.queue_max);
        let core = Arc::new(Core {
            stats: Arc::new(ActorStats::new(format!("{name}-{index}"), "shard", Some(gate))),
            runner,
            fence: Arc::default(),
            db: runtime.db().clone(),
            settings,
        });
        let inner = core.clone();
        let make = move || Shard::new(inner.clone());
        Self { slot: supervise(runtime, core.stats.clone(), index, make), core }
    }

    /// The shard's numbers.
    #[must_use]
    pub fn stats(&self) -> &Arc<ActorStats> {
        &self.core.stats
    }

    /// Has the shard do `work`; answers what the batch answered, at the latest at `deadline`.
    /// Dropping the future before the work is begun withdraws it.
    ///
    /// # Errors
    /// See [`CallError`], which also says after which of them the call may be repeated.
    pub async fn call(&self, work: R::Work, deadline: Instant) -> Result<R::Answer, CallError> {
        match self.stats().state() {
            ActorState::Running => {}
            ActorState::Restarting => return Err(CallError::Restarting),
            ActorState::Draining | ActorState::Stopped => return Err(CallError::Draining),
            ActorState::Failed => return Err(CallError::Failed),
        }
        let permit = self.admit()?;
        let ticket = Arc::new(Ticket::default());
        let since = Instant::now();
        let admitted = Admitted { work, permit, ticket: ticket.clone(), since, until: deadline };
        let Some(request) = self.slot.send(admitted) else {
            return Err(CallError::Restarting);
        };
        match timeout_at(deadline, request).await {
            Ok(Ok(outcome)) => outcome,
            // The mailbox closed over it. Once the actor takes a message out, its reply answers
            // whatever happens, so this message was never taken out.
            Ok(Err(_closed)) => Err(CallError::NotStarted),
            Err(_) if ticket.abandon() => Err(CallError::NotStarted),
            Err(_) => Err(CallError::TimedOut),
        }
    }

    fn admit(&self) -> Result<OwnedSemaphorePermit, CallError> {
        self.core.gate().admit().map_err(|refused| match refused {
            Refused::Closed => CallError::Draining,
            Refused::Full => CallError::Overloaded { retry_after: self.stats().note_shed() },
        })
    }

    /// See [`Shards::drain`]. True when everything was answered in time.
    async fn drain(&self, deadline: Instant) -> bool {
        let stats = self.stats();
        stats.set_state(ActorState::Draining);
        self.core.gate().close();
        let ended = async {
            // Told again and again, because the actor may just be restarting. A mailbox is first
            // in, first out: it reads the order after everything that was accepted before.
            loop {
                if let Some(order) = self.slot.send(Drain) {
                    // It may end before it answers; its end is what counts.
                    let _ = order.await;
                }
                if timeout(DRAIN_REPEAT, stats.ended()).await.is_ok() {
                    break;
                }
            }
            // The last batch of an incarnation that died still answers its callers.
            drop(self.core.fence.lock().await);
        };
        timeout_at(deadline, ended).await.is_ok() && stats.depth() == 0
    }

    /// Has a fresh incarnation take the place of this one. Who waits in its queue reads `NotStarted`; a
    /// batch under way goes on, its callers read its outcome, and the next batch waits for its end.
    pub async fn restart(&self) {
        self.stats().ask_renewal();
        match self.slot.send(Renew) {
            // It may end before it answers; its end is what counts.
            Some(order) => drop(order.await),
            // It restarts anyway.
            None => {
                self.stats().take_renewal();
            }
        }
    }

    /// Makes the actor panic in a handler, as a bug would.
    #[cfg(test)]
    pub(super) async fn poison(&self) {
        if let Some(request) = self.slot.send(Poison) {
            let _ = request.await;
        }
    }
}

/// How often a drain that is not done looks again.
const DRAIN_REPEAT: Duration = Duration::from_millis(20);

/// What a shard's incarnations share.
struct Core<R> {
    runner: Arc<R>,
    stats: Arc<ActorStats>,
    /// Held by the batch in flight. It lives here, not in the actor, because a batch outlives
    /// the incarnation that began it.
    fence: Arc<Mutex<()>>,
    db: Handle,
    settings: ShardSettings,
}

impl<R: BatchRunner> Core<R> {
    fn gate(&self) -> &Gate {
        self.stats.gate().expect("a shard's stats are made with a gate")
    }

    /// One batch, on the database runtime.
    async fn run_batch(self: Arc<Self>, batch: Vec<Waiting<R>>) {
        let _fence = self.fence.clone().lock_owned().await;
        let begun: Vec<_> = batch.into_iter().filter_map(Waiting::begin).collect();
        if begun.is_empty() {
            return;
        }
        let size = begun.len();
        self.stats.note_batch(size);
        let _run = self.stats.begin_run(size);
        let (runner, stats) = (self.runner.clone(), &self.stats);
        let run = async move {
            faults::at("shard.batch");
            runner.run(begun).await;
        };
        let guarded = AssertUnwindSafe(timeout(self.settings.batch_time_max, run)).catch_unwind();
        match guarded.await {
            Ok(Ok(())) => stats.note_handled(size),
            Ok(Err(_elapsed)) => {
                stats.note_error("a batch was cut off at its time limit");
                tracing::error!(actor = stats.name(), size, "a batch was cut off");
            }
            Err(payload) => {
                let text = panic_text(&*payload);
                stats.note_panic();
                stats.note_error(&format!("a batch panicked: {text}"));
                tracing::error!(actor = stats.name(), size, text, "a batch panicked");
            }
        }
    }
}

/// A work that was let in, on its way through the mailbox.
struct Admitted<R: BatchRunner> {
    work: R::Work,
    permit: OwnedSemaphorePermit,
    ticket: Arc<Ticket>,
    since: Instant,
    until: Instant,
}

impl<R: BatchRunner> Message for Admitted<R> {
    type Result = Result<R::Answer, CallError>;
}

/// A work in the queue, with the duty to answer it.
struct Waiting<R: BatchRunner> {
    work: R::Work,
    reply: Reply<R::Answer>,
    since: Instant,
    /// Its caller waits no longer.
    until: Instant,
}

impl<R: BatchRunner> Waiting<R> {
    /// Whether its caller still waits. One whose thread has no time to look at its own clock has not
    /// given up yet, and still comes too late.
    fn is_wanted(&self) -> bool {
        !self.reply.is_closed() && Instant::now() < self.until
    }

    /// The point of no return; `None` when the caller was faster to give up, or its time is over.
    fn begin(mut self) -> Option<(R::Work, Reply<R::Answer>)> {
        (self.is_wanted() && self.reply.begin()).then_some((self.work, self.reply))
    }
}

type Queue<R> = Rc<RefCell<VecDeque<Waiting<R>>>>;

/// Puts a message and its caller into the queue. As a `MessageResponse` it is handed actix's own
/// reply sender, so that a waiting caller costs no future in the actor (actix polls all of them
/// at each wake-up).
struct Park<R: BatchRunner> {
    queue: Queue<R>,
    stats: Arc<ActorStats>,
    admitted: Admitted<R>,
}

impl<R: BatchRunner> MessageResponse<Shard<R>, Admitted<R>> for Park<R> {
    fn handle(
        self,
        _context: &mut Context<Shard<R>>,
        sender: Option<OneshotSender<Result<R::Answer, CallError>>>,
    ) {
        let Admitted { work, permit, ticket, since, until } = self.admitted;
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            self.stats.set_oldest(Some(since));
        }
        queue.push_back(Waiting { work, reply: Reply::new(sender, ticket, permit), since, until });
    }
}

/// Take a batch out of the queue, if none is in flight.
#[derive(Message)]
#[rtype(result = "()")]
struct Kick;

/// Answer what was accepted, then stop.
#[derive(Message)]
#[rtype(result = "()")]
struct Drain;

/// Stop, for a fresh one to begin.
#[derive(Message)]
#[rtype(result = "()")]
struct Renew;

/// After this many messages the actor yields, so that a flood of messages cannot keep it from its
/// batches: actix reads a mailbox until it is empty.
const MESSAGES_PER_YIELD: usize = 64;

struct Shard<R: BatchRunner> {
    core: Arc<Core<R>>,
    queue: Queue<R>,
    /// A [`Kick`] is under way. It runs once the mailbox is read out, so that the first batch of
    /// a burst is not of size one.
    kicked: bool,
    in_flight: bool,
    draining: bool,
    messages: usize,
}

impl<R: BatchRunner> Actor for Shard<R> {
    type Context = Context<Self>;
}

impl<R: BatchRunner> Shard<R> {
    fn new(core: Arc<Core<R>>) -> Self {
        // What a dead predecessor had queued is answered and gone.
        core.stats.set_oldest(None);
        core.stats.set_standing(Duration::ZERO);
        Self {
            core,
            queue: Queue::default(),
            kicked: false,
            in_flight: false,
            draining: false,
            messages: 0,
        }
    }

    fn kick_soon(&mut self, context: &mut Context<Self>) {
        if !self.kicked && !self.in_flight {
            self.kicked = true;
            context.notify(Kick);
        }
    }

    /// Starts the next batch, unless one is in flight. Its end brings us here again.
    fn start_batch(&mut self, context: &mut Context<Self>) {
        if self.in_flight {
            return;
        }
        let batch = self.take_batch();
        if batch.is_empty() {
            if self.draining {
                context.stop();
            }
            return;
        }
        self.in_flight = true;
        let running = self.core.db.spawn(self.core.clone().run_batch(batch));
        let done = running.into_actor(self).map(|joined, shard, context| {
            if joined.is_err() {
                // Panics are caught inside the task; this is the database runtime ending.
                shard.core.stats.note_error("the database runtime cancelled a batch");
            }
            shard.in_flight = false;
            shard.start_batch(context);
        });
        context.spawn(done);
    }

    /// The next works whose callers still wait; the others' replies are dropped on the way.
    fn take_batch(&mut self) -> Vec<Waiting<R>> {
        let mut queue = self.queue.borrow_mut();
        let mut batch = Vec::with_capacity(queue.len().min(self.core.settings.batch_max));
        while batch.len() < self.core.settings.batch_max.max(1) {
            let Some(waiting) = queue.pop_front() else { break };
            if waiting.is_wanted() {
                batch.push(waiting);
            }
        }
        let left_behind = queue.front().map(|waiting| waiting.since);
        self.core.stats.set_oldest(left_behind);
        let standing = left_behind.map(|since| since.elapsed());
        self.core.stats.set_standing(standing.unwrap_or_default());
        batch
    }
}

impl<R: BatchRunner> Handler<Admitted<R>> for Shard<R> {
    type Result = Park<R>;

    fn handle(&mut self, admitted: Admitted<R>, context: &mut Context<Self>) -> Park<R> {
        faults::at("shard.message");
        self.messages += 1;
        if self.messages.is_multiple_of(MESSAGES_PER_YIELD) {
            context.wait(tokio::task::yield_now().into_actor(self));
        }
        self.kick_soon(context);
        Park { queue: self.queue.clone(), stats: self.core.stats.clone(), admitted }
    }
}

impl<R: BatchRunner> Handler<Kick> for Shard<R> {
    type Result = ();

    fn handle(&mut self, _kick: Kick, context: &mut Context<Self>) {
        self.kicked = false;
        self.start_batch(context);
    }
}

impl<R: BatchRunner> Handler<Drain> for Shard<R> {
    type Result = ();

    fn handle(&mut self, _drain: Drain, context: &mut Context<Self>) {
        self.draining = true;
        self.kick_soon(context);
    }
}

impl<R: BatchRunner> Handler<Renew> for Shard<R> {
    type Result = ();

    fn handle(&mut self, _renew: Renew, context: &mut Context<Self>) {
        context.stop();
    }
}

impl<R: BatchRunner> Handler<Ping> for Shard<R> {
    type Result = ();

    fn handle(&mut self, _ping: Ping, _context: &mut Context<Self>) {}
}

#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
struct Poison;

#[cfg(test)]
impl<R: BatchRunner> Handler<Poison> for Shard<R> {
    type Result = ();

    fn handle(&mut self, _poison: Poison, _context: &mut Context<Self>) {
        panic!("injected: a handler");
    }
}
