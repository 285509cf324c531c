//! How fast an import may go: it yields to whoever else is at work in the database, on this node
//! or another, and holds to a rate where one is asked for.

use std::time::Duration;
use tokio::time::Instant;

/// What an import may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most rows of one block, which is one transaction.
    pub block_rows: usize,
    /// How long a block shall take: it is made smaller where it takes longer.
    pub block_time: Duration,
    /// The rest after a block, in percent of its time for each other session that is at work.
    pub yield_percent: u32,
    /// The longest such rest.
    pub rest_max: Duration,
    /// Rows a second; `None`: as fast as the others let it.
    pub rows_per_second: Option<u32>,
}

/// Fewest rows of a block: below that a transaction costs more than its rows.
const BLOCK_ROWS_MIN: usize = 20;

/// The weight of the latest observation.
const WEIGHT: f64 = 0.2;

/// The pace of one import.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    rows: usize,
    /// Other sessions at work, on the average of late.
    busy: f64,
    /// Rows a second, on the average of late; 0: not known yet.
    rate: f64,
    /// When the last block was over, its rest included.
    since: Instant,
}

impl Pace {
    /// The pace of an import that has had this rate before.
    pub fn new(limits: Limits, rows_per_minute: i64) -> Self {
        let rate = rows_per_minute as f64 / 60.0;
        Self { limits, rows: limits.block_rows, busy: 0.0, rate, since: Instant::now() }
    }

    /// Rows of the next block.
    pub fn block_rows(&self) -> usize {
        self.rows
    }

    /// Rows a minute.
    pub fn rows_per_minute(&self) -> i64 {
        (self.rate * 60.0).round() as i64
    }

    /// How long to rest after a block of `rows` that took `time`, while `busy` others were at work.
    pub fn rest(&mut self, rows: usize, time: Duration, busy: u32) -> Duration {
        self.busy += WEIGHT * (f64::from(busy) - self.busy);
        let most = self.limits.block_rows;
        self.rows = match time > self.limits.block_time {
            true => (self.rows * 2 / 3).max(BLOCK_ROWS_MIN.min(most)),
            // by and by, so that it finds the size and stays there
            false => (self.rows + self.rows / 8 + 1).min(most),
        };
        let share = self.busy * f64::from(self.limits.yield_percent) / 100.0;
        let yielding = time.mul_f64(share.min(1_000.0)).min(self.limits.rest_max);
        let held = self.limits.rows_per_second.map_or(Duration::ZERO, |rate| {
            let due = Duration::from_secs_f64(rows as f64 / f64::from(rate.max(1)));
            due.saturating_sub(time)
        });
        yielding.max(held)
    }

    /// A block of `rows` is over, its rest included.
    pub fn note(&mut self, rows: usize) {
        let now = Instant::now();
        let took = now.duration_since(self.since).as_secs_f64().max(1e-6);
        self.since = now;
        let rate = rows as f64 / took;
        self.rate = if self.rate == 0.0 { rate } else { self.rate + WEIGHT * (rate - self.rate) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        block_rows: 500,
        block_time: Duration::from_millis(200),
        yield_percent: 100,
        rest_max: Duration::from_secs(2),
        rows_per_second: None,
    };
    const BLOCK: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn it_rests_the_longer_the_more_others_are_at_work() {
        let mut pace = Pace::new(LIMITS, 0);
        assert_eq!(pace.rest(500, BLOCK, 0), Duration::ZERO);
        let rests: Vec<_> = (0..40).map(|_| pace.rest(500, BLOCK, 2)).collect();
        assert!(rests.is_sorted());
        // two others: two thirds of the time are theirs
        let last = *rests.last().unwrap();
        assert!(
            last > Duration::from_millis(190) && last <= Duration::from_millis(200),
            "{last:?}"
        );
        assert_eq!(pace.rest(500, Duration::from_secs(5), 100), LIMITS.rest_max);
        let mut never = Pace::new(Limits { yield_percent: 0, ..LIMITS }, 0);
        assert_eq!(never.rest(500, BLOCK, 50), Duration::ZERO);
    }

    #[tokio::test]
    async fn blocks_shrink_to_the_time_they_may_take_and_grow_again() {
        let mut pace = Pace::new(LIMITS, 0);
        for _ in 0..30 {
            pace.rest(pace.block_rows(), LIMITS.block_time * 2, 0);
        }
        assert_eq!(pace.block_rows(), BLOCK_ROWS_MIN);
        for _ in 0..60 {
            pace.rest(pace.block_rows(), BLOCK, 0);
        }
        assert_eq!(pace.block_rows(), 500);
        let small = Limits { block_rows: 7, ..LIMITS };
        let mut pace = Pace::new(small, 0);
        pace.rest(7, LIMITS.block_time * 2, 0);
        assert_eq!(pace.block_rows(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_held_and_told() {
        let mut pace = Pace::new(Limits { rows_per_second: Some(1_000), ..LIMITS }, 0);
        assert_eq!(pace.rest(500, BLOCK, 0), Duration::from_millis(400));
        tokio::time::advance(Duration::from_millis(500)).await;
        pace.note(500);
        assert_eq!(pace.rows_per_minute(), 60_000);
    }
}
