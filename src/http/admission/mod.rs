//! Admission: what a node does when more is asked of it than it can work off. It refuses at once what
//! matters least, so that the rest is served as fast as ever.
//!
//! [`class`] says what each route is for, [`limit`] who is refused when, purely; [`watch`] sees how long
//! work waits before it is begun ([`delay`]) and moves the limit. Here is what a request meets: one
//! comparison before anything of it is read, and a [`Permit`] that ends with its answer, however that
//! comes about.
//!
//! An answer that is sent for minutes (an export, the operators' stream) gives its permit back with its
//! head. Exports ask before each page instead, and rest while the node refuses their class.

pub mod class;
mod delay;
pub mod limit;
pub mod watch;

pub use class::Class;
pub use limit::Settings;

use super::catalogue::Code;
use super::problem::Problem;
use super::services::Services;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage};
use delay::Beat;
use futures_util::StreamExt;
use limit::{Refusal, admits, ceiling, retry_after};
use metrics::{Counter, counter, gauge};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A refusal this long after the one before begins an overload of its own.
const APART: Duration = Duration::from_secs(2);

/// The body of a refused request is thrown away, so that its connection can be used again: of more bytes,
/// or of a body that takes longer, the connection is closed.
const THROWN_AWAY_BYTES: u64 = 64 * 1024;
const THROWN_AWAY_WITHIN: Duration = Duration::from_millis(500);

/// How often an export looks whether it may go on, and after how many looks it goes on in any case.
const REST: Duration = Duration::from_millis(100);
const RESTS: u32 = 20;

/// What all HTTP threads of a node share. Cheap to clone.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    settings: Settings,
    limit: AtomicUsize,
    /// The most that were under way since the last look.
    peak: AtomicUsize,
    /// Since the last look.
    finished: AtomicU64,
    /// How many finish in a second, as bits.
    pace: AtomicU64,
    classes: [Tally; Class::ALL.len()],
    /// How long work waits, as it was seen last: see [`watch::CAUSES`].
    delays: Mutex<watch::Delays>,
    /// Of the HTTP threads.
    beats: Mutex<Vec<std::sync::Weak<Beat>>>,
}

/// One class.
struct Tally {
    under_way: AtomicUsize,
    /// Of the class and those above it; those of health are nobody's.
    beside: AtomicUsize,
    /// Since the last look.
    refused: AtomicU64,
    spell: Mutex<Spell>,
    admissions: Counter,
    refusals: Counter,
}

/// Refusals with no pause between them.
#[derive(Clone, Copy, Default)]
struct Spell {
    began: Option<Instant>,
    last: Option<Instant>,
    number: u64,
}

impl Spell {
    /// One more refusal: for how long they have gone on, and the how manieth it is.
    fn note(&mut self, now: Instant) -> (Duration, u64) {
        let goes_on = self.last.is_some_and(|last| now.duration_since(last) < APART);
        let began = if goes_on { self.began.unwrap_or(now) } else { now };
        self.number = self.number.wrapping_add(1);
        (self.began, self.last) = (Some(began), Some(now));
        (now.duration_since(began), self.number)
    }
}

impl Tally {
    fn of(class: Class) -> Self {
        let name = class.as_str();
        Self {
            under_way: AtomicUsize::new(0),
            beside: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            spell: Mutex::default(),
            admissions: counter!("admission_admitted_total", "class" => name),
            refusals: counter!("admission_refused_total", "class" => name),
        }
    }
}

impl Admission {
    /// Install the metrics recorder first. Without a [`watch`] the limit stays where it begins.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings,
            limit: AtomicUsize::new(settings.most.max(settings.least)),
            peak: AtomicUsize::new(0),
            finished: AtomicU64::new(0),
            pace: AtomicU64::new(0),
            classes: Class::ALL.map(Tally::of),
            delays: Mutex::default(),
            beats: Mutex::default(),
        }))
    }

    /// A place for a request of the class, at once or not at all.
    ///
    /// # Errors
    /// When to come again.
    pub fn enter(&self, class: Class) -> Result<Permit, Duration> {
        let tally = self.tally(class);
        if class != Class::Health {
            let limit = self.0.limit.load(Relaxed);
            let entered = tally.beside.fetch_update(Relaxed, Relaxed, |beside| {
                admits(class, beside, limit).then_some(beside + 1)
            });
            if let Err(beside) = entered {
                return Err(self.refuse(class, beside, limit));
            }
            for lower in self.below(class) {
                lower.beside.fetch_add(1, Relaxed);
            }
            self.0.peak.fetch_max(self.under_way(), Relaxed);
        }
        tally.under_way.fetch_add(1, Relaxed);
        tally.admissions.increment(1);
        Ok(Permit { admission: self.clone(), class })
    }

    fn refuse(&self, class: Class, beside: usize, limit: usize) -> Duration {
        let tally = self.tally(class);
        tally.refused.fetch_add(1, Relaxed);
        tally.refusals.increment(1);
        let (lasted, number) = locked(&tally.spell).note(Instant::now());
        let room = ceiling(class, limit).unwrap_or(usize::MAX);
        let excess = (beside + 1).saturating_sub(room);
        let per_second = f64::from_bits(self.0.pace.load(Relaxed));
        retry_after(Refusal { excess, per_second, lasted, number })
    }

    /// Waits while the class would be refused, for two seconds at most: before a further piece of an
    /// answer that is under way.
    pub async fn rest(&self, class: Class) {
        for _ in 0..RESTS {
            let beside = self.tally(class).beside.load(Relaxed);
            if admits(class, beside, self.0.limit.load(Relaxed)) {
                return;
            }
            sleep(REST).await;
        }
    }

    /// Watches the lateness of the thread that this is called on, for as long as it lives.
    pub fn watch_this_thread(&self) {
        let beat = Beat::new();
        locked(&self.0.beats).push(Arc::downgrade(&beat));
        actix_web::rt::spawn(beat.run());
    }

    /// Sets the gauges that are looked up when somebody asks for metrics.
    #[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
    pub fn measure(&self) {
        gauge!("admission_limit").set(self.0.limit.load(Relaxed) as f64);
        for class in Class::ALL {
            let under_way = self.tally(class).under_way.load(Relaxed);
            gauge!("admission_under_way", "class" => class.as_str()).set(under_way as f64);
        }
        let delays = *locked(&self.0.delays);
        for (cause, delay) in watch::CAUSES.into_iter().zip(delays) {
            gauge!("admission_delay_seconds", "cause" => cause).set(delay.as_secs_f64());
        }
    }

    /// Requests of all classes that can be refused.
    fn under_way(&self) -> usize {
        self.0.classes.last().map_or(0, |lowest| lowest.beside.load(Relaxed))
    }

    fn below(&self, class: Class) -> &[Tally] {
        &self.0.classes[class as usize + 1..]
    }

    fn tally(&self, class: Class) -> &Tally {
        // Declared in this order, and `ALL` has every one.
        &self.0.classes[class as usize]
    }
}

/// The right to be under way; given back when dropped.
#[must_use]
pub struct Permit {
    admission: Admission,
    class: Class,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let tally = self.admission.tally(self.class);
        tally.under_way.fetch_sub(1, Relaxed);
        if self.class != Class::Health {
            for seen in std::iter::once(tally).chain(self.admission.below(self.class)) {
                seen.beside.fetch_sub(1, Relaxed);
            }
            self.admission.0.finished.fetch_add(1, Relaxed);
        }
    }
}

/// On a request that was refused here: its access record is not worth one.
pub struct Refused;

/// Lets a request pass, or refuses it.
///
/// # Errors
/// Those of the service within; a refusal is an answer.
pub async fn admit(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(services) = request.app_data::<Data<Services>>() else {
        return next.call(request).await;
    };
    // What is no route costs next to nothing, and nobody needs it.
    let class = Class::of(request.method(), request.path()).unwrap_or(Class::Export);
    match services.admission.enter(class) {
        Ok(permit) => {
            let answered = next.call(request).await;
            drop(permit);
            answered
        }
        Err(wait) => {
            request.extensions_mut().insert(Refused);
            throw_body_away(&mut request).await;
            let problem = Problem::new(Code::Overloaded)
                .detail("More is asked than can be worked off. Nothing was changed.")
                .retry_after(wait);
            Ok(request.error_response(problem))
        }
    }
}

/// A body that has come with its head costs one more look; without it the connection would be closed, and
/// opening the next one costs everybody more than the refusal.
async fn throw_body_away(request: &mut ServiceRequest) {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| (1..=THROWN_AWAY_BYTES).contains(&length)) {
        let mut body = request.take_payload();
        let rest = async { while let Some(Ok(_)) = body.next().await {} };
        // Not all of it came: the answer closes the connection.
        let _ = timeout(THROWN_AWAY_WITHIN, rest).await;
    }
}

/// Nothing panics under these locks, and their content is valid after every statement.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
