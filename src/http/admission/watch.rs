//! Sees how long work waits before it is begun, a few times a second, and moves the limit.
//!
//! Four places where it waits: for an HTTP thread, for the database's runtime, for a connection, and in
//! every shard, left behind by a full batch. Not among them is the queue of passwords: it has a
//! bound of its own, by the time that it takes, and nobody but who signs in waits in it.

use super::delay::{Beat, median};
use super::limit::{Limit, WINDOW, Window};
use super::{Admission, Class, locked};
use crate::actors::runtime::Registry;
use crate::db::{Database, PoolWaits};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Where work waits, in the order of [`Delays`].
pub const CAUSES: [&str; 4] = ["http", "runtime", "connection", "shard"];

/// How long it waited in the last window.
pub type Delays = [Duration; CAUSES.len()];

/// While requests are refused the log says so this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What one new figure of the pace counts beside those before.
const NEW: f64 = 0.2;

impl Admission {
    /// Begins to watch, on the database's runtime.
    pub fn watch(&self, database: &Database, registry: Arc<Registry>) {
        let (admission, pool) = (self.clone(), database.clone());
        database.spawn(async move {
            loop {
                let watch = Watch::new(&admission, &pool, &registry).run();
                // It has nothing that can panic; if it does all the same, a limit that nobody moves
                // must not stay.
                if AssertUnwindSafe(watch).catch_unwind().await.is_err() {
                    admission.0.limit.store(usize::MAX, Relaxed);
                }
            }
        });
    }
}

struct Watch<'a> {
    admission: &'a Admission,
    database: &'a Database,
    registry: &'a Registry,
    limit: Limit,
    beat: Arc<Beat>,
    waits: PoolWaits,
    told: Telling,
    pace: f64,
}

impl<'a> Watch<'a> {
    fn new(admission: &'a Admission, database: &'a Database, registry: &'a Registry) -> Self {
        let beat = Beat::new();
        Self {
            limit: Limit::new(admission.0.settings),
            admission,
            database,
            registry,
            beat,
            waits: database.waits(),
            told: Telling::default(),
            pace: 0.0,
        }
    }

    async fn run(mut self) {
        let beat = AbortOnDrop(tokio::spawn(self.beat.clone().run()));
        let mut since = Instant::now();
        loop {
            sleep(WINDOW).await;
            let now = Instant::now();
            self.look(now, now - since);
            since = now;
            debug_assert!(!beat.0.is_finished());
        }
    }

    fn look(&mut self, now: Instant, passed: Duration) {
        let delays = self.delays(now);
        *locked(&self.admission.0.delays) = delays;
        let shared = &self.admission.0;
        let refused = Class::ALL.map(|class| {
            let tally = self.admission.tally(class);
            tally.refused.swap(0, Relaxed)
        });
        let peak = shared.peak.swap(self.admission.under_way(), Relaxed);
        let delay = delays.into_iter().max().unwrap_or_default();
        let limit = self.limit.observe(Window { delay, peak, refused: refused.iter().sum() });
        shared.limit.store(limit, Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let finished = shared.finished.swap(0, Relaxed) as f64 / passed.as_secs_f64().max(0.001);
        self.pace += (finished - self.pace) * NEW;
        shared.pace.store(self.pace.to_bits(), Relaxed);
        self.told.tell(now, &self.limit, delays, refused);
    }

    fn delays(&mut self, now: Instant) -> Delays {
        let mut beats = locked(&self.admission.0.beats);
        beats.retain(|beat| beat.strong_count() > 0);
        let http: Vec<_> = beats.iter().filter_map(std::sync::Weak::upgrade).collect();
        drop(beats);
        let http = median(http.iter().flat_map(|beat| beat.take(now)).collect());
        let waits = self.database.waits();
        let connection = waits.mean_since(&self.waits);
        self.waits = waits;
        [http, median(self.beat.take(now)), connection, self.registry.standing()]
    }
}

/// A beat ends with its watch.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the log says of an overload: that it began, how it goes, that it is over.
#[derive(Default)]
struct Telling {
    refusing: Option<Refusing>,
}

struct Refusing {
    since: Instant,
    told: Instant,
    refused: [u64; Class::ALL.len()],
}

impl Telling {
    fn tell(&mut self, now: Instant, limit: &Limit, delays: Delays, refused: [u64; 6]) {
        if !limit.refuses() {
            if let Some(over) = self.refusing.take() {
                let seconds = (now - over.since).as_secs_f64();
                let refused: u64 = over.refused.iter().sum();
                tracing::info!(seconds, refused, "no request is refused any more");
            }
            return;
        }
        let first = self.refusing.is_none();
        let refusing = self.refusing.get_or_insert(Refusing {
            since: now,
            told: now,
            refused: [0; Class::ALL.len()],
        });
        for (sum, count) in refusing.refused.iter_mut().zip(refused) {
            *sum += count;
        }
        if !first && now - refusing.told < TELL_EVERY {
            return;
        }
        refusing.told = now;
        let worst = CAUSES.into_iter().zip(delays).max_by_key(|(_, delay)| *delay);
        let (waits_for, delay) = worst.unwrap_or_default();
        let [_, refresh, reads, writes, sign_in, export] = refusing.refused;
        tracing::warn!(
            limit = limit.now(),
            waits_for,
            delay_ms = delay.as_secs_f64() * 1_000.0,
            refresh,
            reads,
            writes,
            sign_in,
            export,
            "more is asked than can be worked off: requests are refused"
        );
    }
}
