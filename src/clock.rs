//! Time, identifiers and randomness, as one parameter: nothing else asks the operating system for
//! them, so that every rule about time can be tested without waiting. The service itself goes by
//! the database's time ([`SharedClock`]).

mod shared;

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use uuid::Uuid;

/// The source of instants, identifiers and random bytes; passed as `Arc<dyn Clock>`.
pub trait Clock: Send + Sync {
    /// The present, in whole microseconds: what PostgreSQL keeps, so that an instant equals itself
    /// after a round trip.
    fn now(&self) -> DateTime<Utc>;

    /// A new identifier, UUID version 7: it sorts by the time of its making, to the microsecond.
    fn new_id(&self) -> Uuid;

    /// Fills `bytes` with randomness that is fit for keys and tokens.
    fn random(&self, bytes: &mut [u8]);
}

pub use shared::{Reading, SharedClock};

/// The machine's clock and the operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    fn new_id(&self) -> Uuid {
        let mut random = [0; 8];
        self.random(&mut random);
        id_at(self.now(), random)
    }

    fn random(&self, bytes: &mut [u8]) {
        SysRng.try_fill_bytes(bytes).expect(
            "the operating system gives randomness; without it no token could be trusted, and \
             going on would be worse than ending",
        );
    }
}

/// A clock that stands still until it is moved, with repeatable identifiers and randomness.
/// For tests, and only for them: its randomness can be foretold.
#[derive(Debug)]
pub struct ManualClock {
    state: Mutex<ManualState>,
}

#[derive(Debug)]
struct ManualState {
    now: DateTime<Utc>,
    ids: u64,
    random: StdRng,
}

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: DateTime<Utc>) -> Self {
        let random = StdRng::seed_from_u64(7);
        Self { state: Mutex::new(ManualState { now: now.trunc_subsecs(6), ids: 0, random }) }
    }

    /// Moves the clock by `by`, backwards if it is negative.
    pub fn advance(&self, by: TimeDelta) {
        self.with(|state| state.now = (state.now + by).trunc_subsecs(6));
    }

    /// Sets the clock to `now`.
    pub fn set(&self, now: DateTime<Utc>) {
        self.with(|state| state.now = now.trunc_subsecs(6));
    }

    fn with<T>(&self, change: impl FnOnce(&mut ManualState) -> T) -> T {
        // a test that panicked elsewhere left no half-made state behind
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.with(|state| state.now)
    }

    /// As the system's, but counted instead of random: later ones are greater while time stands.
    fn new_id(&self) -> Uuid {
        self.with(|state| {
            state.ids += 1;
            id_at(state.now, state.ids.to_be_bytes())
        })
    }

    fn random(&self, bytes: &mut [u8]) {
        self.with(|state| state.random.fill_bytes(bytes));
    }
}

/// UUID version 7 of an instant (RFC 9562): 48 bits of milliseconds, then the fraction of the
/// millisecond in 12 bits (method 3 of its section 6.2), then `tail` without its two upper bits.
fn id_at(now: DateTime<Utc>, tail: [u8; 8]) -> Uuid {
    // instants before 1970 have no such identifier; 1970 itself stands for them
    let micros = u64::try_from(now.timestamp_micros()).unwrap_or(0);
    let fraction = (micros % 1_000) * 4_096 / 1_000;
    let [.., high, low] = fraction.to_be_bytes();
    let [t0, t1, t2, t3, t4, t5, t6, t7] = tail;
    let rest = [high, low, t0, t1, t2, t3, t4, t5, t6, t7];
    uuid::Builder::from_unix_timestamp_millis(micros / 1_000, &rest).into_uuid()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{TimeZone, Timelike};

    use super::*;

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap()
    }

    #[test]
    fn instants_have_whole_microseconds() {
        assert_eq!(SystemClock.now().nanosecond() % 1_000, 0);
        let clock = ManualClock::at(noon() + TimeDelta::nanoseconds(1_999));
        assert_eq!(clock.now(), noon() + TimeDelta::microseconds(1));
        clock.advance(TimeDelta::nanoseconds(1_500));
        assert_eq!(clock.now(), noon() + TimeDelta::microseconds(2));
    }

    #[test]
    fn system_ids_are_version_7_of_the_present_and_differ() {
        let before = SystemClock.now().timestamp_millis();
        let ids: Vec<_> = (0..1_000).map(|_| SystemClock.new_id()).collect();
        let after = SystemClock.now().timestamp_millis();
        for id in &ids {
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
            let millis = i64::try_from(seconds * 1_000 + u64::from(nanos) / 1_000_000).unwrap();
            assert!((before..=after).contains(&millis), "{id} lies outside its making");
        }
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 1_000);
    }

    #[test]
    fn ids_sort_by_the_microsecond() {
        let ids: Vec<_> = (0..5_000)
            .map(|micros| id_at(noon() + TimeDelta::microseconds(micros), [0xff; 8]))
            .collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn manual_ids_rise_and_repeat_from_run_to_run() {
        let (one, other) = (ManualClock::at(noon()), ManualClock::at(noon()));
        let ids: Vec<_> = (0..300).map(|_| one.new_id()).collect();
        assert!(ids.is_sorted_by(|id, next| id < next));
        assert_eq!(ids, (0..300).map(|_| other.new_id()).collect::<Vec<_>>());
    }

    #[test]
    fn manual_randomness_repeats_and_system_randomness_does_not() {
        let draw = |clock: &dyn Clock| {
            let mut bytes = [0; 32];
            clock.random(&mut bytes);
            bytes
        };
        let (one, other) = (ManualClock::at(noon()), ManualClock::at(noon()));
        let first = draw(&one);
        assert_eq!(first, draw(&other));
        assert_ne!(first, draw(&one));
        assert_ne!(draw(&SystemClock), draw(&SystemClock));
    }

    #[test]
    fn a_manual_clock_moves_only_when_moved() {
        let clock = ManualClock::at(noon());
        assert_eq!(clock.now(), clock.now());
        clock.advance(TimeDelta::minutes(-5));
        assert_eq!(clock.now(), noon() - TimeDelta::minutes(5));
        clock.set(noon());
        assert_eq!(clock.now(), noon());
    }
}
