//! The supervising parent: starts an actor, watches it end, rebuilds it with fresh state.
//!
//! It spawns the actor's future itself and so holds its `JoinHandle`, which is the only place
//! where a panic of an actix actor can be seen. One actor, one supervising loop: incarnations
//! follow one another in plain sequence, so none can be taken for another.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix::dev::channel::{AddressReceiver, channel};
use actix::dev::{Request, ToEnvelope};
use actix::{Actor, Addr, Context, Handler, Message};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::arbiters::Arbiters;
use super::stats::{ActorState, ActorStats};
use super::{Escalation, Runtime};

/// How long something that failed stays down: doubling from `first` up to `max`, times a random
/// factor of 0.5 to 1.5, so that what failed together does not come back together.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// Mean of the first delay. 50 ms brings an actor back within 75 ms.
    pub first: Duration,
    /// Mean of the longest delay.
    pub max: Duration,
    /// Uniform in 0.0..1.0. Passed in, so that tests are deterministic.
    pub jitter: fn() -> f64,
}

impl Backoff {
    /// The delay after the `failures`-th failure in a row (1 = the first).
    #[must_use]
    pub fn delay(&self, failures: usize) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).min(30);
        let mean = self.first.saturating_mul(1 << doublings).min(self.max);
        mean.mul_f64(0.5 + (self.jitter)().clamp(0.0, 1.0))
    }

    /// The same, but no mean above `max`.
    #[must_use]
    pub fn up_to(self, max: Duration) -> Self {
        Self { max: self.max.min(max), ..self }
    }
}

/// More than `failures` failures within `period` are no accident: give up.
#[derive(Clone, Copy, Debug)]
pub struct Intensity {
    /// How many failures are borne within `period`.
    pub failures: usize,
    /// After this long without one, a failure counts as the first again.
    pub period: Duration,
}

/// The failures of the last period, and what follows from them.
#[derive(Debug)]
pub(crate) struct Restarts {
    backoff: Backoff,
    intensity: Intensity,
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub fn new(backoff: Backoff, intensity: Intensity) -> Self {
        Self { backoff, intensity, recent: VecDeque::new() }
    }

    /// Notes a failure. How long to wait before the restart, or `None` to give up.
    pub fn after_failure(&mut self, now: Instant) -> Option<Duration> {
        let period = self.intensity.period;
        self.recent.retain(|failed| now.duration_since(*failed) < period);
        self.recent.push_back(now);
        let failures = self.recent.len();
        (failures <= self.intensity.failures).then(|| self.backoff.delay(failures))
    }
}

/// Why an incarnation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// It stopped itself.
    Normal,
    /// It panicked; what may be told of the panic.
    Panicked(&'static str),
    /// Its arbiter ended under it, or could not be had.
    ArbiterGone,
    /// It answered no heartbeat for too long.
    Stalled,
}

impl Why {
    fn text(&self) -> String {
        match self {
            Self::Normal => "the actor stopped without being told to".to_owned(),
            Self::Panicked(text) => format!("the actor panicked: {text}"),
            Self::ArbiterGone => "the actor's thread ended".to_owned(),
            Self::Stalled => "the actor's thread is blocked".to_owned(),
        }
    }
}

/// The end of an incarnation.
struct Ended {
    why: Why,
    at: Instant,
}

impl Ended {
    fn now(why: Why) -> Self {
        Self { why, at: Instant::now() }
    }
}

/// The text of a panic if it was written as a literal. A formatted text may carry a customer's
/// data, so it goes no further than the panic hook.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(formatted text withheld)")
}

/// Sent through each mailbox every second; supervision cannot see a blocked thread otherwise.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ping;

/// Where the living incarnation of an actor is reached.
pub(crate) struct Slot<A: Actor>(RwLock<Option<Addr<A>>>);

impl<A: Actor<Context = Context<A>>> Slot<A> {
    fn new() -> Self {
        Self(RwLock::new(None))
    }

    fn set(&self, address: Option<Addr<A>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Sends `message` to the living incarnation; `None` when there is none. The address is
    /// borrowed, not cloned: a clone costs more than the whole admission.
    pub fn send<M>(&self, message: M) -> Option<Request<A, M>>
    where
        M: Message<Result: Send> + Send + 'static,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        let slot = self.0.read().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().map(|address| address.send(message))
    }
}

/// A supervised actor: what it takes to start it once more.
struct Child<A: Actor> {
    slot: Arc<Slot<A>>,
    stats: Arc<ActorStats>,
    make: Arc<dyn Fn() -> A + Send + Sync>,
    arbiters: Arc<Arbiters>,
    seat: usize,
}

/// Starts an actor under supervision on the arbiter of `seat`. Its slot takes messages when this
/// returns; `make` builds each incarnation, on the arbiter.
pub(crate) fn supervise<A>(
    runtime: &Runtime,
    stats: Arc<ActorStats>,
    seat: usize,
    make: impl Fn() -> A + Send + Sync + 'static,
) -> Arc<Slot<A>>
where
    A: Actor<Context = Context<A>> + Handler<Ping>,
{
    let slot = Arc::new(Slot::new());
    runtime.registry.add(stats.clone());
    let child = Child {
        slot: slot.clone(),
        stats: stats.clone(),
        make: Arc::new(make),
        arbiters: runtime.arbiters().clone(),
        seat,
    };
    let first = child.start(None);
    let restarts = Restarts::new(runtime.settings.backoff, runtime.settings.intensity);
    let guard = GiveUp { stats, escalation: runtime.escalation.clone() };
    actix::spawn(watch_over(child, first, restarts, runtime.settings.stall_max, guard));
    slot
}

/// The life of one supervised actor, to its final state.
async fn watch_over<A>(
    child: Child<A>,
    mut ended: oneshot::Receiver<Ended>,
    mut restarts: Restarts,
    stall_max: Duration,
    guard: GiveUp,
) where
    A: Actor<Context = Context<A>> + Handler<Ping>,
{
    let stats = &child.stats;
    loop {
        let Ended { why, at } = tokio::select! {
            biased;
            told = &mut ended => told.unwrap_or_else(|_| Ended::now(Why::ArbiterGone)),
            () = heartbeats(&child.slot, stats, stall_max) => Ended::now(Why::Stalled),
        };
        child.slot.set(None);
        if child.is_over() {
            return;
        }
        if stats.take_renewal() && why == Why::Normal {
            // No failure, so nothing to rest for.
            tracing::info!(actor = stats.name(), "an actor begins anew, as it was asked to");
            stats.note_restart();
            ended = child.start(Some(at));
            continue;
        }
        stats.set_state(ActorState::Restarting);
        stats.note_error(&why.text());
        if matches!(why, Why::Panicked(_)) {
            stats.note_panic();
        }
        if why == Why::Stalled {
            // The old incarnation may wake up again; a second one beside it helps nobody.
            return guard.give_up("it answered no heartbeat");
        }
        let Some(delay) = restarts.after_failure(Instant::now()) else {
            return guard.give_up("it failed too often");
        };
        tracing::error!(actor = stats.name(), reason = why.text(), ?delay, "an actor restarts");
        sleep(delay).await;
        if child.is_over() {
            return;
        }
        stats.note_restart();
        ended = child.start(Some(at));
    }
}

impl<A> Child<A>
where
    A: Actor<Context = Context<A>>,
{
    /// Whether there is to be no further incarnation. Once the actor was told to end, by a drain
    /// or by the end of the process, any way to end is the end.
    fn is_over(&self) -> bool {
        if self.stats.state() == ActorState::Draining || self.arbiters.is_stopped() {
            self.stats.set_state(ActorState::Stopped);
        }
        self.stats.state().is_final()
    }

    /// Starts an incarnation, after the one before it ended at `fell`. The receiver says why it
    /// ended; it closes without a word when the arbiter ends under it.
    fn start(&self, fell: Option<Instant>) -> oneshot::Receiver<Ended> {
        // 0 = unbounded: a mailbox's capacity does not hold, the gate's does.
        let (sender, receiver) = channel::<A>(0);
        let (tell, ended) = oneshot::channel();
        let (make, stats) = (self.make.clone(), self.stats.clone());
        let begun = move || {
            if let Some(fell) = fell {
                stats.note_back(fell.elapsed());
            }
        };
        match self.arbiters.at(self.seat) {
            Ok(arbiter) => {
                arbiter.spawn_fn(move || live(&*make, receiver, tell, begun));
                self.stats.note_generation();
                self.slot.set(Some(Addr::new(sender)));
                self.stats.set_state(ActorState::Running);
            }
            Err(error) => {
                tracing::error!(actor = self.stats.name(), %error, "no arbiter for an actor");
            }
        }
        ended
    }
}

/// One incarnation, on its arbiter: built, run, its end told.
fn live<A>(
    make: &dyn Fn() -> A,
    receiver: AddressReceiver<A>,
    tell: oneshot::Sender<Ended>,
    begun: impl FnOnce(),
) where
    A: Actor<Context = Context<A>>,
{
    let build = || Context::with_receiver(receiver).into_future(make());
    match catch_unwind(AssertUnwindSafe(build)) {
        Ok(actor) => {
            let running = actix::spawn(actor);
            begun();
            actix::spawn(async move {
                let why = match running.await {
                    Ok(()) => Why::Normal,
                    Err(error) => match error.try_into_panic() {
                        Ok(payload) => Why::Panicked(panic_text(&*payload)),
                        Err(_) => Why::ArbiterGone,
                    },
                };
                // Nobody listens once the supervisor gave the actor up.
                let _ = tell.send(Ended::now(why));
            });
        }
        Err(payload) => {
            let _ = tell.send(Ended::now(Why::Panicked(panic_text(&*payload))));
        }
    }
}

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Measures the way through the mailbox each second; returns when it is blocked for good.
async fn heartbeats<A>(slot: &Slot<A>, stats: &ActorStats, stall_max: Duration)
where
    A: Actor<Context = Context<A>> + Handler<Ping>,
{
    loop {
        sleep(HEARTBEAT).await;
        let sent = Instant::now();
        // An actor that ends meanwhile is the other branch's business: its ping fails at once.
        let Some(ping) = slot.send(Ping) else { continue };
        let mut ping = std::pin::pin!(ping);
        while timeout(HEARTBEAT, ping.as_mut()).await.is_err() {
            stats.note_heartbeat(sent.elapsed());
            tracing::warn!(actor = stats.name(), silent = ?sent.elapsed(), "an actor is silent");
            if sent.elapsed() >= stall_max {
                return;
            }
        }
        stats.note_heartbeat(sent.elapsed());
    }
}

/// Gives an actor up, at the latest when its supervisor itself is dropped or panics: an actor
/// must not be left alone in silence.
pub(crate) struct GiveUp {
    pub stats: Arc<ActorStats>,
    pub escalation: Escalation,
}

impl GiveUp {
    pub fn give_up(&self, reason: &str) {
        if self.stats.set_state(ActorState::Failed) {
            self.escalation.raise(self.stats.name(), reason);
        }
    }
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        // Does nothing after a final state, which every ordinary end sets.
        self.give_up("its supervisor ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(jitter: fn() -> f64) -> Backoff {
        Backoff { first: Duration::from_millis(50), max: Duration::from_secs(5), jitter }
    }

    #[test]
    fn delays_double_up_to_the_longest_and_spread() {
        let middle = backoff(|| 0.5);
        let millis: Vec<u128> = (1..=9).map(|n| middle.delay(n).as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(middle.delay(usize::MAX), Duration::from_secs(5));
        assert_eq!(backoff(|| 0.0).delay(1), Duration::from_millis(25));
        assert_eq!(backoff(|| 1.0).delay(1), Duration::from_millis(75), "back within 100 ms");
        let hurried = middle.up_to(Duration::from_secs(1));
        assert_eq!([4, 5, 6, 99].map(|n| hurried.delay(n).as_millis()), [400, 800, 1000, 1000]);
        assert_eq!(middle.up_to(Duration::MAX).delay(9), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_on_too_many_failures_in_a_period_only() {
        let intensity = Intensity { failures: 2, period: Duration::from_secs(60) };
        let mut restarts = Restarts::new(backoff(|| 0.5), intensity);
        assert_eq!(restarts.after_failure(Instant::now()), Some(Duration::from_millis(50)));
        assert_eq!(restarts.after_failure(Instant::now()), Some(Duration::from_millis(100)));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(restarts.after_failure(Instant::now()), Some(Duration::from_millis(50)));
        assert_eq!(restarts.after_failure(Instant::now()), Some(Duration::from_millis(100)));
        assert_eq!(restarts.after_failure(Instant::now()), None);
    }

    #[test]
    fn only_literal_panic_texts_are_told() {
        crate::actors::runtime::tests::hush();
        let literal = catch_unwind(|| std::panic::panic_any("injected")).unwrap_err();
        assert_eq!(panic_text(&*literal), "injected");
        let formatted =
            catch_unwind(|| std::panic::panic_any(format!("injected: {}@example", "ann")));
        assert_eq!(panic_text(&*formatted.unwrap_err()), "(formatted text withheld)");
    }
}
