//! Password hashing on its own few threads behind a bounded queue (rule A2): a login storm fills
//! this queue and nothing else, and whoever does not fit is told so at once. What fits is a matter of
//! time: as many calls as the threads will have worked off well before the deadline.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use tokio::sync::oneshot;

use super::argon::{ArgonError, Engine};
pub use super::argon::{Cost, CostError, PasswordHash, Reference, Verdict};
use super::password_policy::Appraisal;
use super::passwords::Password;
use crate::deadline;

/// How far the hashing threads stand back behind everything else on the machine (the nice value,
/// 0 to 19). One hash takes a core for tens of milliseconds; without this, whoever wakes meanwhile
/// for half a millisecond's work (a read, a commit) waits for the scheduler to get round to it.
/// Sign-ins lose nothing by it while a core has time to spare.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How the pool is built.
#[derive(Clone, Copy, Debug)]
pub struct HashingSettings {
    /// Threads; 0 means [`default_threads`]. Each holds `memory_kib` while it works.
    pub threads: usize,
    /// Most calls that may wait; one more is refused. Fewer where they would wait too long.
    pub queue_max: usize,
    /// Longest time a call may wait for a thread; judged when a thread looks for work. A call that
    /// would have to wait for longer than half of it is refused at once: hashing may turn out twice as
    /// slow as it was, and who was let in is still served.
    pub deadline: Duration,
    /// Argon2 memory, KiB.
    pub memory_kib: u32,
    /// Argon2 passes.
    pub passes: u32,
    /// Argon2 lanes.
    pub lanes: u32,
}

/// One less than there are cores, at least one: with a core for everything else (claims and
/// settlements of these same sign-ins, reads, refusals), hashing is what bounds sign-in, and nobody
/// who asks for something else waits behind a hash.
#[must_use]
pub fn default_threads() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).max(1)
}

/// Why a hash or verification was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The queue is full, or the call waited beyond its deadline.
    #[error("too many passwords are waiting to be hashed")]
    Overloaded {
        /// When to try again, whole seconds.
        retry_after: Duration,
    },
    /// The stored hash is damaged or of a kind that is not known. The work was done all the same.
    #[error("the stored password hash cannot be read")]
    Unreadable,
    /// No memory, no randomness, or a panic while hashing.
    #[error("password hashing failed")]
    Failed,
    /// The service is shutting down.
    #[error("password hashing has ended")]
    Closed,
}

impl From<ArgonError> for HashError {
    fn from(error: ArgonError) -> Self {
        match error {
            ArgonError::Unreadable => Self::Unreadable,
            ArgonError::Failed => Self::Failed,
        }
    }
}

/// The pool cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configured cost is impossible.
    #[error(transparent)]
    Cost(#[from] CostError),
    /// The operating system gave no thread.
    #[error("no thread for password hashing")]
    Thread(#[source] std::io::Error),
}

/// Hashes and verifies passwords; the only place where that work is done.
///
/// Calls wait in one queue and are taken oldest first. Where hashing turns out slower than it was
/// when they were let in, and the oldest are about to miss their deadline anyway, newest first: those
/// can still be served in time (adaptive LIFO). Calls that nobody waits for any more are skipped.
pub struct HashingPool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl HashingPool {
    /// Starts the threads.
    ///
    /// # Errors
    /// [`StartError`] when the cost is impossible or a thread cannot be made.
    pub fn start(settings: HashingSettings) -> Result<Self, StartError> {
        let HashingSettings { memory_kib, passes, lanes, .. } = settings;
        let threads = match settings.threads {
            0 => default_threads(),
            threads => threads,
        };
        let shared = Arc::new(Shared {
            engine: Engine::new(Cost { memory_kib, passes, lanes })?,
            queue: Mutex::new(Queue::new(settings.queue_max, settings.deadline, threads)),
            work_or_end: Condvar::new(),
        });
        // Made before the threads: should one of them fail to start, dropping it ends the others.
        let pool = Self { shared, threads: Mutex::default() };
        for index in 0..threads {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new()
                .name(format!("hashing-{index}"))
                .spawn(move || {
                    stand_back();
                    shared.work();
                })
                .map_err(StartError::Thread)?;
            locked(&pool.threads).push(thread);
        }
        Ok(pool)
    }

    /// Hashes a password with the configured cost and a fresh salt.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when the queue is full; otherwise see [`HashError`].
    pub async fn hash(&self, password: Password) -> Result<PasswordHash, HashError> {
        self.submit("hash", None, move |engine| Ok(engine.hash(&password)?)).await
    }

    /// Verifies a password against an account's hash, or does the same work for no account.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when the queue is full; otherwise see [`HashError`].
    pub async fn verify(
        &self,
        password: Password,
        reference: Reference,
    ) -> Result<Verdict, HashError> {
        self.submit("verify", None, move |engine| Ok(engine.verify(&password, &reference)?)).await
    }

    /// As [`Self::verify`], in a place that was kept: it is not refused for want of room.
    ///
    /// # Errors
    /// See [`HashError`]; [`HashError::Overloaded`] only beyond the deadline.
    pub async fn verify_in(
        &self,
        place: Place,
        password: Password,
        reference: Reference,
    ) -> Result<Verdict, HashError> {
        let work = move |engine: &Engine| Ok(engine.verify(&password, &reference)?);
        self.submit("verify", Some(place), work).await
    }

    /// Says all about a password that somebody thinks of choosing: here, because estimating its
    /// strength takes as long as a cheap hash.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] at once when the queue is full; otherwise see [`HashError`].
    pub async fn appraise<F>(&self, appraisal: F) -> Result<Appraisal, HashError>
    where
        F: FnOnce() -> Appraisal + Send + 'static,
    {
        self.submit("appraise", None, move |_| Ok(appraisal())).await
    }

    /// Whether a call would find room now. For who would otherwise spend work on a call that is
    /// going to be refused; the call itself may still be, when others come first.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] when the queue is full.
    pub fn check_room(&self) -> Result<(), HashError> {
        locked(&self.shared.queue).check_room(Instant::now())
    }

    /// Keeps a place in the queue for a call that needs some preparation first, which would be
    /// wasted if there were no room in the end.
    ///
    /// # Errors
    /// [`HashError::Overloaded`] when the queue is full.
    pub fn keep_place(&self) -> Result<Place, HashError> {
        let mut queue = locked(&self.shared.queue);
        queue.check_room(Instant::now())?;
        queue.kept += 1;
        Ok(Place(Arc::clone(&self.shared)))
    }

    /// How many verifications were computed since the start, dummy ones included. The same number
    /// as the metric `password_verifications_total`.
    #[must_use]
    pub fn verifications(&self) -> u64 {
        self.shared.engine.verifications()
    }

    /// Sets the gauges that are looked up when somebody asks for metrics.
    pub fn measure(&self) {
        locked(&self.shared.queue).measure();
    }

    /// Takes no more calls, finishes those that wait, joins the threads. Blocks for at most the
    /// deadline and one hash; a second call does nothing.
    pub fn shutdown(&self) {
        locked(&self.shared.queue).closing = true;
        self.shared.work_or_end.notify_all();
        for thread in locked(&self.threads).drain(..) {
            // A thread catches what its work throws; were one dead all the same, it has ended.
            let _ = thread.join();
        }
    }

    async fn submit<T, F>(
        &self,
        operation: &'static str,
        place: Option<Place>,
        work: F,
    ) -> Result<T, HashError>
    where
        T: Send + 'static,
        F: FnOnce(&Engine) -> Result<T, HashError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let task = Box::new(Pending { work, reply });
        let has_place = place.is_some();
        let until = deadline::current().map(tokio::time::Instant::into_std);
        self.shared.enqueue(Job { task, operation, since: Instant::now(), until }, has_place)?;
        // Only now: nobody else may come between.
        drop(place);
        answer.await.unwrap_or(Err(HashError::Closed))
    }
}

impl Drop for HashingPool {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl fmt::Debug for HashingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashingPool(..)")
    }
}

/// A place in the queue; given up when dropped.
#[must_use]
pub struct Place(Arc<Shared>);

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.0.queue).kept -= 1;
    }
}

struct Shared {
    engine: Engine,
    queue: Mutex<Queue>,
    work_or_end: Condvar,
}

impl Shared {
    fn enqueue(&self, job: Job, has_place: bool) -> Result<(), HashError> {
        locked(&self.queue).push(job, has_place)?;
        self.work_or_end.notify_one();
        Ok(())
    }

    /// One thread's life: take, work, until the end.
    fn work(&self) {
        while let Some(job) = self.next() {
            let started = Instant::now();
            histogram!("password_hash_wait_seconds").record(started - job.since);
            job.task.run(&self.engine);
            let took = started.elapsed();
            locked(&self.queue).learn(took);
            histogram!("password_hash_duration_seconds", "operation" => job.operation).record(took);
        }
    }

    /// Waits for the next job; `None` at the end, when nothing is left to do.
    fn next(&self) -> Option<Job> {
        let mut queue = locked(&self.queue);
        loop {
            if let Some(job) = queue.take(Instant::now()) {
                return Some(job);
            }
            if queue.closing {
                return None;
            }
            queue = self.work_or_end.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The waiting jobs, oldest in front.
struct Queue {
    jobs: VecDeque<Job>,
    /// Places promised to calls that are still being prepared.
    kept: usize,
    max: usize,
    deadline: Duration,
    threads: u32,
    /// How long a job takes, averaged over the last few; zero as long as nobody knows.
    pace: Duration,
    closing: bool,
}

impl Queue {
    fn new(max: usize, deadline: Duration, threads: usize) -> Self {
        let threads = u32::try_from(threads).unwrap_or(u32::MAX).max(1);
        let (jobs, pace) = (VecDeque::with_capacity(max), Duration::ZERO);
        Self { jobs, kept: 0, max, deadline, threads, pace, closing: false }
    }

    fn push(&mut self, job: Job, has_place: bool) -> Result<(), HashError> {
        if self.closing {
            return Err(HashError::Closed);
        }
        if !has_place {
            self.check_room(job.since)?;
        }
        self.jobs.push_back(job);
        self.show_depth();
        Ok(())
    }

    fn check_room(&mut self, now: Instant) -> Result<(), HashError> {
        if self.is_full() {
            self.sweep(now);
        }
        if self.is_full() {
            counter!("password_hash_shed_total", "reason" => "full").increment(1);
            return Err(self.overloaded());
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        let ahead = self.jobs.len() + self.kept;
        let rounds = u32::try_from(ahead).unwrap_or(u32::MAX) / self.threads;
        ahead >= self.max || self.pace.saturating_mul(rounds) > self.deadline / 2
    }

    /// A job took so long.
    fn learn(&mut self, took: Duration) {
        self.pace = if self.pace.is_zero() { took } else { (self.pace * 7 + took) / 8 };
    }

    /// The next job that is still wanted and in time.
    fn take(&mut self, now: Instant) -> Option<Job> {
        let job = loop {
            self.refuse_overdue(now);
            let waited = |job: &Job| now.saturating_duration_since(job.since);
            let late = self.jobs.front().is_some_and(|job| waited(job) > self.deadline * 5 / 6);
            let job = if late { self.jobs.pop_back() } else { self.jobs.pop_front() };
            match job {
                Some(job) if job.task.is_abandoned() => {}
                Some(job) if job.until.is_some_and(|until| until <= now) => self.refuse(job),
                job => break job,
            }
        };
        self.show_depth();
        job
    }

    /// Makes room: without the overdue and the abandoned.
    fn sweep(&mut self, now: Instant) {
        self.refuse_overdue(now);
        self.jobs.retain(|job| !job.task.is_abandoned());
    }

    /// Answers the jobs in front that waited too long; behind them all are younger.
    fn refuse_overdue(&mut self, now: Instant) {
        let is_overdue = |job: &Job| now.saturating_duration_since(job.since) >= self.deadline;
        while self.jobs.front().is_some_and(is_overdue) {
            let Some(job) = self.jobs.pop_front() else { return };
            if !job.task.is_abandoned() {
                self.refuse(job);
            }
        }
    }

    /// Answers a job whose time is over.
    fn refuse(&self, job: Job) {
        counter!("password_hash_shed_total", "reason" => "deadline").increment(1);
        job.task.refuse(self.overloaded());
    }

    /// A full queue is worked off or overdue within one deadline: come back then.
    fn overloaded(&self) -> HashError {
        let seconds = self.deadline.as_millis().div_ceil(1000).max(1);
        HashError::Overloaded {
            retry_after: Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
    fn measure(&self) {
        let oldest = self.jobs.front().map(|job| job.since.elapsed()).unwrap_or_default();
        gauge!("password_hash_oldest_seconds").set(oldest.as_secs_f64());
        gauge!("password_hash_queue_limit").set(self.max as f64);
        gauge!("password_hash_threads").set(f64::from(self.threads));
        self.show_depth();
    }

    #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
    fn show_depth(&self) {
        gauge!("password_hash_queue_depth").set(self.jobs.len() as f64);
    }
}

struct Job {
    task: Box<dyn Task + Send>,
    operation: &'static str,
    since: Instant,
    /// Its caller waits no longer.
    until: Option<Instant>,
}

/// Work with somebody waiting for its answer, whatever type that has.
trait Task {
    /// Nobody waits any more.
    fn is_abandoned(&self) -> bool;
    /// Answers without working.
    fn refuse(self: Box<Self>, error: HashError);
    /// Works and answers; a panic is an answer too.
    fn run(self: Box<Self>, engine: &Engine);
}

struct Pending<T, F> {
    work: F,
    reply: oneshot::Sender<Result<T, HashError>>,
}

impl<T, F: FnOnce(&Engine) -> Result<T, HashError>> Task for Pending<T, F> {
    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn refuse(self: Box<Self>, error: HashError) {
        // The caller may be gone; then nobody misses the answer.
        let _ = self.reply.send(Err(error));
    }

    fn run(self: Box<Self>, engine: &Engine) {
        let Self { work, reply } = *self;
        // Unwinding out of `work` leaves nothing half-done: it owns its password, and the engine
        // holds constants and a counter.
        let answer = catch_unwind(AssertUnwindSafe(|| work(engine))).unwrap_or_else(|_| {
            counter!("password_hash_panics_total").increment(1);
            Err(HashError::Failed)
        });
        let _ = reply.send(answer);
    }
}

/// Lowers the rank of the calling thread. Linux alone counts it by thread; elsewhere it would
/// lower the whole service's.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::info!(%error, "hashing threads keep the rank of all others");
    }
}

/// A panic never happens under these locks, and were it to, their content stays valid.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
