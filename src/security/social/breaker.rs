//! A provider that failed some times in a row is left alone for a while: its callers hear so at
//! once instead of waiting for the time limit one by one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::clock::Clock;

/// Failures in a row that are still taken for bad luck.
const FAILURES_MAX: u32 = 3;

pub(super) struct Breaker {
    pause: Duration,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failures: u32,
    open_until: Option<DateTime<Utc>>,
}

impl Breaker {
    pub fn new(pause: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { pause, clock, state: Mutex::default() }
    }

    /// How long to wait before asking again.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Whether the provider is to be left alone now. When the pause is over the next call tries;
    /// should it fail, the pause begins anew.
    pub fn is_open(&self) -> bool {
        let now = self.clock.now();
        self.with(|state| state.open_until.is_some_and(|until| now < until))
    }

    pub fn reached(&self) {
        self.with(|state| *state = State::default());
    }

    pub fn failed(&self) {
        let pause = TimeDelta::from_std(self.pause).unwrap_or(TimeDelta::MAX);
        let now = self.clock.now();
        self.with(|state| {
            state.failures = state.failures.saturating_add(1);
            if state.failures >= FAILURES_MAX {
                state.open_until = now.checked_add_signed(pause);
            }
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        // nothing in here can panic half-way
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone as _;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn three_failures_in_a_row_open_it_for_the_pause() {
        let noon = Utc.with_ymd_and_hms(2026, 11, 22, 12, 0, 0).single().expect("an instant");
        let clock = Arc::new(ManualClock::at(noon));
        let breaker = Breaker::new(Duration::from_secs(10), clock.clone());
        breaker.failed();
        breaker.failed();
        breaker.reached();
        breaker.failed();
        breaker.failed();
        assert!(!breaker.is_open());
        breaker.failed();
        assert!(breaker.is_open());
        clock.advance(TimeDelta::seconds(10));
        assert!(!breaker.is_open(), "one may try");
        breaker.failed();
        assert!(breaker.is_open(), "it failed again");
        clock.advance(TimeDelta::seconds(10));
        breaker.reached();
        breaker.failed();
        assert!(!breaker.is_open());
    }
}
