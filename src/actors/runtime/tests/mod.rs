//! Tests of the actor runtime with the shard and the worker on it: a fake store whose batches
//! fail on request, actors and arbiters that are killed.

mod chaos;
mod shards;
mod workers;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::*;
use crate::actors::shard::ShardRef;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// What this test process is patient for: far more than any test takes on a busy machine.
fn patience() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn settings(arbiters: usize) -> RuntimeSettings {
    RuntimeSettings {
        arbiters,
        backoff: Backoff { first: millis(50), max: Duration::from_secs(5), jitter: || 0.5 },
        intensity: Intensity { failures: 10, period: Duration::from_secs(60) },
        stall_max: Duration::from_secs(30),
    }
}

fn shard_settings() -> ShardSettings {
    ShardSettings {
        actors: 1,
        queue_max: 1024,
        batch_max: 256,
        batch_time_max: Duration::from_secs(10),
    }
}

fn runtime(db: Handle, settings: RuntimeSettings) -> (Runtime, watch::Receiver<Option<Escalated>>) {
    let (escalation, escalated) = Escalation::new();
    (Runtime::new(db, settings, escalation).unwrap(), escalated)
}

/// Real time, a database runtime of its own and arbiters on their own threads, as in production.
fn real<F: Future<Output = ()>>(test: impl FnOnce(Handle) -> F) {
    hush();
    let db =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let handle = db.handle().clone();
    actix::System::new().block_on(async {
        let limited = tokio::time::timeout(Duration::from_secs(60), test(handle));
        limited.await.expect("a call hangs");
    });
    db.shutdown_timeout(Duration::from_secs(1));
}

/// A paused clock and everything on one thread: deterministic, and an hour costs nothing.
fn paused<F: Future<Output = ()>>(test: impl FnOnce(Handle) -> F) {
    hush();
    actix::System::new().block_on(async {
        tokio::time::pause();
        test(Handle::current()).await;
    });
}

/// Keeps the panics that tests inject out of the output.
pub(super) fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload_as_str().is_some_and(|text| text.starts_with("injected")) {
                usual(info);
            }
        }));
    });
}

/// Waits for `condition`, which must come true soon.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = patience();
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(millis(1)).await;
    }
}

/// The numbers once no batch is in flight: callers are answered just before it is noted.
async fn settled(shard: &ShardRef<Store>) -> Snapshot {
    eventually("no batch is in flight", || shard.stats().snapshot().in_flight == 0).await;
    shard.stats().snapshot()
}

/// How a batch goes wrong; the worst of its jobs decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    None,
    /// Rolled back, every caller told.
    Error,
    PanicBefore,
    PanicAfter,
    Hang,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    id: u64,
    fault: Fault,
}

fn job(id: u64) -> Job {
    Job { id, fault: Fault::None }
}

/// An in-memory store whose batch takes `commit` and counts how often each id was stored.
struct Store {
    commit: Duration,
    rows: Mutex<HashMap<u64, usize>>,
    batches: Mutex<Vec<usize>>,
    running: AtomicUsize,
    most_at_once: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RolledBack;

impl Store {
    fn new(commit: Duration) -> Arc<Self> {
        Arc::new(Self {
            commit,
            rows: Mutex::default(),
            batches: Mutex::default(),
            running: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        })
    }

    fn stored(&self, id: u64) -> usize {
        self.rows.lock().unwrap().get(&id).copied().unwrap_or(0)
    }

    fn begun(&self) -> usize {
        self.batches.lock().unwrap().len()
    }

    fn save(&self, batch: &[(Job, Reply<Result<(), RolledBack>>)]) {
        let mut rows = self.rows.lock().unwrap();
        for (job, _) in batch {
            *rows.entry(job.id).or_default() += 1;
        }
    }
}

struct Leave<'a>(&'a AtomicUsize);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl BatchRunner for Store {
    type Work = Job;
    type Answer = Result<(), RolledBack>;

    fn run(
        self: Arc<Self>,
        batch: Vec<(Job, Reply<Result<(), RolledBack>>)>,
    ) -> BoxFuture<'static, ()> {
        async move {
            let inside = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            let _leave = Leave(&self.running);
            self.most_at_once.fetch_max(inside, Ordering::SeqCst);
            self.batches.lock().unwrap().push(batch.len());
            let fault = batch.iter().map(|(job, _)| job.fault).max().unwrap_or(Fault::None);
            sleep(self.commit).await;
            match fault {
                Fault::PanicBefore => panic!("injected: before the commit"),
                Fault::Hang => std::future::pending().await,
                Fault::None | Fault::PanicAfter => self.save(&batch),
                Fault::Error => {}
            }
            assert!(fault != Fault::PanicAfter, "injected: after the commit");
            let answer = if fault == Fault::Error { Err(RolledBack) } else { Ok(()) };
            for (_, reply) in batch {
                reply.answer(answer);
            }
        }
        .boxed()
    }
}
