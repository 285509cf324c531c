//! The threads that actors live on: a fixed number of seats, a dead arbiter replaced when the
//! next actor needs its seat.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix::{Arbiter, ArbiterHandle};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub(crate) struct Arbiters {
    /// `None` when its arbiter was stopped or could not be replaced.
    seats: Vec<Mutex<Option<Arbiter>>>,
    /// Where the owner lives: the only place when there are no seats.
    home: ArbiterHandle,
    /// Arbiters that died and were replaced; joined at the stop.
    dead: Mutex<Vec<Arbiter>>,
    stopped: AtomicBool,
}

impl Arbiters {
    pub fn start(count: usize) -> io::Result<Self> {
        let seats = (0..count).map(|_| Arbiter::try_new().map(|arbiter| Mutex::new(Some(arbiter))));
        Ok(Self {
            seats: seats.collect::<io::Result<_>>()?,
            home: Arbiter::current(),
            dead: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// The living arbiter of `seat` (taken modulo their number). It may die right after; the
    /// supervisor sees that as a child that ended. Call it on a thread of the actix system.
    ///
    /// # Errors
    /// When the operating system gives no thread, or after [`stop`](Self::stop).
    pub fn at(&self, seat: usize) -> io::Result<ArbiterHandle> {
        if self.is_stopped() {
            return Err(io::Error::other("the arbiters are stopped"));
        }
        if self.seats.is_empty() {
            return Ok(self.home.clone());
        }
        let mut arbiter = lock(&self.seats[seat % self.seats.len()]);
        if let Some(living) = arbiter.as_ref().filter(|arbiter| arbiter.alive()) {
            return Ok(living.handle());
        }
        lock(&self.dead).extend(arbiter.take());
        let fresh = Arbiter::try_new()?;
        let handle = fresh.handle();
        *arbiter = Some(fresh);
        Ok(handle)
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Stops every arbiter and waits for their threads. Returns how many had not ended by then.
    pub async fn stop(&self, deadline: Instant) -> usize {
        self.stopped.store(true, Ordering::Release);
        let mut ending: Vec<Arbiter> = lock(&self.dead).drain(..).collect();
        for seat in &self.seats {
            ending.extend(lock(seat).take().inspect(|arbiter| {
                arbiter.stop();
            }));
        }
        let mut late = 0;
        for ended in ending.into_iter().map(join).collect::<Vec<_>>() {
            late += usize::from(timeout_at(deadline, ended).await.is_err());
        }
        late
    }

    #[cfg(test)]
    pub fn kill(&self, seat: usize) {
        if let Some(arbiter) = lock(&self.seats[seat % self.seats.len()]).as_ref() {
            arbiter.stop();
        }
    }
}

/// Joins on a thread of its own, not on a blocking pool: that pool's runtime would wait without
/// limit for an arbiter that is stuck. The receiver ends, one way or the other, with the thread.
fn join(arbiter: Arbiter) -> oneshot::Receiver<()> {
    let (ended, wait) = oneshot::channel();
    let joiner = std::thread::Builder::new().name("arbiter-join".to_owned()).spawn(move || {
        if arbiter.join().is_err() {
            tracing::error!("the thread of an arbiter ended by a panic");
        }
        drop(ended);
    });
    if let Err(error) = joiner {
        tracing::warn!(%error, "no thread to join an arbiter; not waiting for it");
    }
    wait
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
