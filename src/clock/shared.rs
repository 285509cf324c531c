//! One time for all nodes: the database's. A node keeps it with its own monotonic clock, which
//! nobody sets, and corrects that by readings of the database's. The machine's own calendar clock
//! may be minutes off, or be set while the service runs, and nothing that is decided depends on it:
//! a token of one node is as old at every other.
//!
//! A reading tells the database's time at some moment between question and answer, so it is exact to
//! half of the time that it took. One that agrees with what is known, within that, changes nothing:
//! else every reading would move the time a little to and fro.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Clock, SystemClock, id_at};

/// The database's time, read at some moment from `asked` to `answered`.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Before the question was sent.
    pub asked: Instant,
    /// After the answer was there.
    pub answered: Instant,
    /// What the database's clock showed.
    pub time: DateTime<Utc>,
}

impl Reading {
    /// By how much the time may be wrong, either way, at the middle between question and answer.
    #[must_use]
    pub fn uncertainty(&self) -> Duration {
        self.answered.saturating_duration_since(self.asked) / 2
    }
}

/// The database's time; see the module. Randomness is the operating system's.
#[derive(Debug)]
pub struct SharedClock {
    began: Instant,
    /// The database's time at `began`, in microseconds since 1970.
    epoch: AtomicI64,
}

impl SharedClock {
    /// A clock that goes by a first reading.
    #[must_use]
    pub fn new(reading: &Reading) -> Self {
        let clock = Self { began: reading.asked, epoch: AtomicI64::new(0) };
        clock.epoch.store(clock.epoch_of(reading), Ordering::Release);
        clock
    }

    /// Takes a reading in. Answers with the correction: by how much the clock was put forward,
    /// negative if back, zero where the reading agrees with it.
    pub fn learn(&self, reading: &Reading) -> TimeDelta {
        let (known, read) = (self.epoch.load(Ordering::Acquire), self.epoch_of(reading));
        let off = read.saturating_sub(known);
        if off.unsigned_abs() <= u64::try_from(micros(reading.uncertainty())).unwrap_or(0) {
            return TimeDelta::zero();
        }
        self.epoch.store(read, Ordering::Release);
        TimeDelta::microseconds(off)
    }

    /// By how much the machine's calendar clock is ahead of the database's, negative if behind.
    #[must_use]
    pub fn machine_offset(&self) -> TimeDelta {
        SystemClock.now() - self.now()
    }

    fn epoch_of(&self, reading: &Reading) -> i64 {
        let middle = reading.asked.saturating_duration_since(self.began) + reading.uncertainty();
        reading.time.timestamp_micros().saturating_sub(micros(middle))
    }

    fn at(&self, elapsed: Duration) -> DateTime<Utc> {
        let now = self.epoch.load(Ordering::Acquire).saturating_add(micros(elapsed));
        // Beyond the calendar lies only what no database can have told.
        DateTime::from_timestamp_micros(now).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

impl Clock for SharedClock {
    fn now(&self) -> DateTime<Utc> {
        self.at(self.began.elapsed())
    }

    fn new_id(&self) -> Uuid {
        let mut random = [0; 8];
        self.random(&mut random);
        id_at(self.now(), random)
    }

    fn random(&self, bytes: &mut [u8]) {
        SystemClock.random(bytes);
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn noon() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 21, 12, 0, 0).unwrap()
    }

    /// A reading that took `width` ms, begun `after` ms after `began`, when the database's clock
    /// showed `ahead` ms more than noon plus what has passed.
    fn reading(began: Instant, after: u64, width: u64, ahead: i64) -> Reading {
        let asked = began + Duration::from_millis(after);
        let middle = i64::try_from(after + width / 2).unwrap();
        Reading {
            asked,
            answered: asked + Duration::from_millis(width),
            time: noon() + TimeDelta::milliseconds(middle + ahead),
        }
    }

    fn ms(delta: TimeDelta) -> i64 {
        delta.num_milliseconds()
    }

    #[test]
    fn it_shows_the_databases_time_whatever_the_machines_clock_says() {
        let began = Instant::now();
        let clock = SharedClock::new(&reading(began, 0, 10, 0));
        assert_eq!(clock.at(Duration::ZERO), noon());
        assert_eq!(clock.at(Duration::from_secs(90)), noon() + TimeDelta::seconds(90));
        let off = SystemClock.now() - noon();
        assert!((clock.machine_offset() - off).abs() < TimeDelta::seconds(10));
    }

    #[test]
    fn a_reading_that_agrees_within_its_width_changes_nothing() {
        let began = Instant::now();
        let clock = SharedClock::new(&reading(began, 0, 10, 0));
        assert_eq!(ms(clock.learn(&reading(began, 1_000, 60, 30))), 0);
        assert_eq!(ms(clock.learn(&reading(began, 2_000, 60, -30))), 0);
        assert_eq!(ms(clock.learn(&reading(began, 3_000, 2, 2))), 2, "a narrow one does");
        assert_eq!(clock.at(Duration::ZERO), noon() + TimeDelta::milliseconds(2));
    }

    #[test]
    fn a_reading_that_disagrees_is_followed_both_ways() {
        let began = Instant::now();
        let clock = SharedClock::new(&reading(began, 0, 10, 0));
        assert_eq!(ms(clock.learn(&reading(began, 1_000, 40, 600_000))), 600_000);
        assert_eq!(clock.at(Duration::ZERO), noon() + TimeDelta::minutes(10));
        assert_eq!(ms(clock.learn(&reading(began, 2_000, 40, -3_600_000))), -4_200_000);
        assert_eq!(clock.at(Duration::from_secs(3_600)), noon());
    }

    #[test]
    fn instants_have_whole_microseconds_and_ids_are_of_that_time() {
        let clock = SharedClock::new(&reading(Instant::now(), 0, 0, 0));
        assert_eq!(clock.now().timestamp_subsec_nanos() % 1_000, 0);
        let (seconds, _) = clock.new_id().get_timestamp().unwrap().to_unix();
        let apart = noon().timestamp() - i64::try_from(seconds).unwrap();
        assert!(apart.abs() < 60, "an id of {apart} s before");
    }
}
