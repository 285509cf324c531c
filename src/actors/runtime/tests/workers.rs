//! What a worker is owed: its runs, its rests, another chance after a failure, an orderly end.

use tokio::sync::Notify;

use super::*;
use crate::actors::worker::{Done, Workers};

/// What a run of the fake worker does.
#[derive(Clone, Copy)]
enum Act {
    Done(Done),
    Error,
    Panic,
    Hang,
    /// Waits for `Script::go_on`.
    Wait,
}

const IDLE: Act = Act::Done(Done { handled: 0, more: false });

/// What the fake worker is to do, run by run, and what it did; shared by all its incarnations.
struct Script {
    acts: Vec<Act>,
    began: Instant,
    /// Moment of each run in milliseconds, and which value ran (1 = the first built).
    runs: Mutex<Vec<(u128, usize)>>,
    built: AtomicUsize,
    running: AtomicUsize,
    overlaps: AtomicUsize,
    flushed: AtomicUsize,
    go_on: Notify,
}

impl Script {
    /// After `acts` come idle runs.
    fn new(acts: &[Act]) -> Arc<Self> {
        Arc::new(Self {
            acts: acts.to_vec(),
            began: Instant::now(),
            runs: Mutex::default(),
            built: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            overlaps: AtomicUsize::new(0),
            flushed: AtomicUsize::new(0),
            go_on: Notify::new(),
        })
    }

    fn start(self: &Arc<Self>, runtime: &Runtime) -> WorkerRef {
        let script = self.clone();
        runtime.spawn_worker(move || {
            let value = script.built.fetch_add(1, Ordering::SeqCst) + 1;
            Fake { script: script.clone(), value }
        })
    }

    fn count(&self) -> usize {
        self.runs.lock().unwrap().len()
    }

    fn moments(&self) -> Vec<u128> {
        self.runs.lock().unwrap().iter().map(|(moment, _)| *moment).collect()
    }

    /// Whether the runs were at these milliseconds; a timer may be late by one each time.
    fn assert_moments(&self, expected: &[u128]) {
        let moments = self.moments();
        let pairs = moments.iter().zip(expected).zip(1..);
        let mut near = pairs.map(|((at, due), late_max)| (*due..=due + late_max).contains(at));
        assert!(
            moments.len() == expected.len() && near.all(|near| near),
            "ran at {moments:?}, expected {expected:?}"
        );
    }

    fn values(&self) -> Vec<usize> {
        self.runs.lock().unwrap().iter().map(|(_, value)| *value).collect()
    }
}

struct Fake {
    script: Arc<Script>,
    value: usize,
}

impl Worker for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(2)
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let script = &self.script;
        let overlaps = script.running.fetch_add(1, Ordering::SeqCst);
        script.overlaps.fetch_add(overlaps, Ordering::SeqCst);
        let _leave = Leave(&script.running);
        let number = {
            let mut runs = script.runs.lock().unwrap();
            runs.push((script.began.elapsed().as_millis(), self.value));
            runs.len() - 1
        };
        match script.acts.get(number).copied().unwrap_or(IDLE) {
            Act::Done(done) => return Ok(done),
            Act::Error => anyhow::bail!("the broker is away"),
            Act::Panic => panic!("injected: a run"),
            Act::Hang => std::future::pending::<()>().await,
            Act::Wait => script.go_on.notified().await,
        }
        Ok(Done::default())
    }

    async fn on_stop(&mut self) -> anyhow::Result<()> {
        assert_eq!(self.script.running.load(Ordering::SeqCst), 0, "stopped during a run");
        self.script.flushed.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_worker_runs_at_once_then_each_period_and_again_while_there_is_more() {
    paused(|db| async move {
        let (runtime, _) = runtime(db, settings(0));
        let more = Act::Done(Done { handled: 5, more: true });
        let script = Script::new(&[more, more, IDLE]);
        let worker = script.start(&runtime);
        sleep(Duration::from_secs(25)).await;
        script.assert_moments(&[0, 0, 0, 10_000, 20_000]);
        let stats = worker.stats().snapshot();
        assert_eq!((stats.runs, stats.handled, stats.in_flight), (5, 10, 0));
    });
}

#[test]
fn a_panicking_worker_is_rebuilt_and_back_within_100_ms() {
    real(|db| async move {
        let (runtime, escalated) = runtime(db, settings(1));
        let mut fastest = u128::MAX;
        let mut last = None;
        for _ in 0..5 {
            let script = Script::new(&[Act::Panic]);
            let worker = script.start(&runtime);
            eventually("it ran again", || script.count() == 2).await;
            let moments = script.moments();
            fastest = fastest.min(moments[1] - moments[0]);
            last = Some((script, worker));
        }
        // The fastest of some: this machine may have other things to do.
        assert!(fastest < 100, "back after {fastest} ms");
        let (script, worker) = last.unwrap();
        assert_eq!(script.values(), [1, 2], "a fresh value");
        let stats = worker.stats().snapshot();
        assert_eq!((stats.panics, stats.restarts, stats.state), (1, 1, ActorState::Running));
        assert_eq!(stats.last_error.unwrap().text, "a run panicked: injected: a run");
        assert_eq!(*escalated.borrow(), None);
    });
}

#[test]
fn a_worker_that_panics_without_end_is_given_up() {
    paused(|db| async move {
        let mut settings = settings(0);
        settings.intensity.failures = 3;
        let (runtime, escalated) = runtime(db, settings);
        let script = Script::new(&[Act::Panic; 20]);
        let worker = script.start(&runtime);
        sleep(Duration::from_secs(60)).await;
        script.assert_moments(&[0, 50, 150, 350]);
        assert_eq!(worker.stats().state(), ActorState::Failed);
        assert_eq!(escalated.borrow().as_ref().unwrap().actor, "fake");
        assert_eq!(runtime.registry().failed(), ["fake"]);
    });
}

#[test]
fn errors_back_off_whatever_the_nudges_and_keep_the_value() {
    paused(|db| async move {
        let (runtime, escalated) = runtime(db, settings(0));
        let script = Script::new(&[Act::Error; 20]);
        let worker = script.start(&runtime);
        for _ in 0..1700 {
            worker.nudge().nudge();
            sleep(millis(10)).await;
        }
        // Doubling, and five seconds at most.
        script.assert_moments(&[0, 50, 150, 350, 750, 1550, 3150, 6350, 11_350, 16_350]);
        assert!(script.values().iter().all(|value| *value == 1));
        let stats = worker.stats().snapshot();
        assert_eq!((stats.panics, stats.restarts, stats.state), (0, 0, ActorState::Running));
        assert_eq!(stats.last_error.unwrap().text, "the broker is away");
        assert_eq!(*escalated.borrow(), None, "an error is no bug of ours");
    });
}

#[test]
fn a_run_over_its_time_is_cut_off_and_the_worker_rebuilt() {
    paused(|db| async move {
        let (runtime, _) = runtime(db, settings(0));
        let script = Script::new(&[Act::Hang]);
        let worker = script.start(&runtime);
        sleep(Duration::from_secs(3)).await;
        script.assert_moments(&[0, 2050]);
        assert_eq!(script.values(), [1, 2]);
        assert_eq!(worker.stats().snapshot().restarts, 1);
    });
}

#[test]
fn nudges_during_a_run_are_kept_as_one() {
    paused(|db| async move {
        let (runtime, _) = runtime(db, settings(0));
        let script = Script::new(&[Act::Wait]);
        let worker = script.start(&runtime);
        eventually("it runs", || script.count() == 1).await;
        for _ in 0..5 {
            worker.nudge().nudge();
        }
        sleep(millis(500)).await;
        assert_eq!(script.count(), 1, "no second run beside the first");
        script.go_on.notify_one();
        sleep(millis(100)).await;
        assert_eq!(script.count(), 2, "one more run for all nudges");
        worker.nudge().nudge();
        sleep(millis(1)).await;
        assert_eq!(script.count(), 3, "a nudge at rest");
    });
}

#[test]
fn a_paused_worker_rests_until_it_is_resumed() {
    paused(|db| async move {
        let (runtime, _) = runtime(db, settings(0));
        let script = Script::new(&[]);
        let worker = script.start(&runtime);
        sleep(millis(10)).await;
        worker.pause(&pause(), Instant::now() + Duration::from_secs(600));
        worker.nudge().nudge();
        sleep(Duration::from_secs(60)).await;
        assert_eq!(script.count(), 1);
        assert_eq!(worker.stats().snapshot().pause, Some(pause()));
        assert!(runtime.registry().any_paused());
        worker.resume();
        sleep(millis(10)).await;
        assert!(script.count() >= 2, "a resumed worker runs at once");
        assert_eq!(worker.stats().snapshot().pause, None);
        assert!(!runtime.registry().any_paused());
    });
}

fn pause() -> Pause {
    let since = chrono::DateTime::UNIX_EPOCH;
    Pause { by: "key".to_owned(), since, until: since + chrono::TimeDelta::minutes(10) }
}

#[test]
fn a_pause_ends_by_itself_when_it_was_last_said_to() {
    paused(|db| async move {
        let (runtime, _) = runtime(db, settings(0));
        let script = Script::new(&[]);
        let worker = script.start(&runtime);
        sleep(millis(10)).await;
        worker.pause(&pause(), Instant::now() + Duration::from_secs(60));
        sleep(Duration::from_secs(50)).await;
        worker.pause(&pause(), Instant::now() + Duration::from_secs(60));
        sleep(Duration::from_secs(59)).await;
        assert_eq!(script.count(), 1, "said anew, it rests for longer");
        assert_eq!(worker.stats().snapshot().pause, Some(pause()));
        sleep(Duration::from_secs(2)).await;
        assert_eq!(script.count(), 2, "it is over");
        assert_eq!(worker.stats().snapshot().pause, None);
        sleep(Duration::from_secs(21)).await;
        assert_eq!(script.count(), 4, "and everything is as before");
    });
}

#[test]
fn a_pause_lets_the_run_finish_and_a_stop_end_it() {
    paused(|db| async move {
        let (runtime, _) = runtime(db, settings(0));
        let script = Script::new(&[Act::Wait]);
        let mut workers = Workers::new();
        workers.add(script.start(&runtime));
        let worker = &workers.all()[0];
        sleep(millis(10)).await;
        worker.pause(&pause(), Instant::now() + Duration::from_secs(600));
        script.go_on.notify_one();
        sleep(Duration::from_secs(60)).await;
        assert_eq!((script.count(), worker.stats().snapshot().runs), (1, 1));
        assert_eq!(workers.stop(Instant::now() + Duration::from_secs(5)).await, [""; 0]);
        assert_eq!(script.flushed.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_restart_cuts_off_the_run_and_begins_with_a_fresh_value_at_once() {
    paused(|db| async move {
        let (runtime, escalated) = runtime(db, settings(0));
        let script = Script::new(&[Act::Hang]);
        let worker = script.start(&runtime);
        sleep(millis(500)).await;
        worker.restart();
        sleep(millis(100)).await;
        script.assert_moments(&[0, 500]);
        assert_eq!(script.values(), [1, 2]);
        let stats = worker.stats().snapshot();
        assert_eq!((stats.restarts, stats.generation, stats.panics), (1, 2, 0));
        assert!(stats.last_error.is_none(), "nothing went wrong");
        worker.restart();
        sleep(millis(100)).await;
        assert_eq!(script.values(), [1, 2, 3], "a rest is no hindrance");
        assert_eq!(worker.stats().snapshot().generation, 3);
        for _ in 0..30 {
            worker.restart();
            sleep(millis(10)).await;
        }
        assert_eq!(worker.stats().state(), ActorState::Running, "however often it is asked");
        assert_eq!(*escalated.borrow(), None);
    });
}

#[test]
fn a_restart_spares_a_failing_worker_its_rest() {
    paused(|db| async move {
        let (runtime, _) = runtime(db, settings(0));
        let script = Script::new(&[Act::Error; 7]);
        let worker = script.start(&runtime);
        sleep(Duration::from_secs(4)).await;
        script.assert_moments(&[0, 50, 150, 350, 750, 1550, 3150]);
        worker.restart();
        sleep(millis(100)).await;
        script.assert_moments(&[0, 50, 150, 350, 750, 1550, 3150, 4000]);
        assert_eq!(script.values().last(), Some(&2));
    });
}

#[test]
fn a_stop_lets_the_run_finish_and_flushes() {
    real(|db| async move {
        let (runtime, escalated) = runtime(db, settings(1));
        let script = Script::new(&[Act::Wait]);
        let mut workers = Workers::new();
        workers.add(script.start(&runtime));
        eventually("it runs", || script.count() == 1).await;
        let go_on = async {
            sleep(millis(100)).await;
            assert_eq!(script.flushed.load(Ordering::SeqCst), 0);
            script.go_on.notify_one();
        };
        let (late, ()) = tokio::join!(workers.stop(patience()), go_on);
        assert_eq!(late, [""; 0]);
        assert_eq!((script.count(), script.flushed.load(Ordering::SeqCst)), (1, 1));
        assert_eq!(workers.find("fake").unwrap().stats().state(), ActorState::Stopped);
        assert_eq!(runtime.stop(patience()).await, 0);
        assert_eq!(*escalated.borrow(), None);
    });
}

#[test]
fn a_stop_does_not_wait_beyond_its_deadline() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let script = Script::new(&[Act::Wait]);
        let mut workers = Workers::new();
        workers.add(script.start(&runtime));
        eventually("it runs", || script.count() == 1).await;
        assert_eq!(workers.stop(Instant::now() + millis(100)).await, ["fake"]);
        assert_eq!(script.flushed.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_worker_outlives_its_arbiter_and_never_runs_twice_at_once() {
    real(|db| async move {
        let (runtime, _) = runtime(db, settings(1));
        let script = Script::new(&[Act::Wait]);
        let worker = script.start(&runtime);
        eventually("it runs", || script.count() == 1).await;
        runtime.kill_arbiter(0);
        eventually("the actor is back", || worker.stats().snapshot().generation == 2).await;
        sleep(millis(100)).await;
        assert_eq!(script.count(), 1, "the first run is still in progress");
        script.go_on.notify_one();
        eventually("it runs again", || script.count() == 2).await;
        assert_eq!(script.overlaps.load(Ordering::SeqCst), 0);
        assert_eq!(script.values(), [1, 1], "the same value");
    });
}
