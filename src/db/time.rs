//! The database's clock, which is the time of the whole deployment.

use super::Connection;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::time::{Duration, Instant};

diesel::define_sql_function! {
    /// The time at this moment, not that at which the transaction began.
    fn clock_timestamp() -> diesel::sql_types::Timestamptz;
}

/// An answer this quick is taken, without asking again.
const QUICK: Duration = Duration::from_millis(5);

/// The time, and between which moments it was read.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub asked: Instant,
    pub answered: Instant,
    pub time: DateTime<Utc>,
}

/// Asks at most `tries` times; the quickest answer is the most exact.
///
/// # Errors
/// Those of the query.
pub async fn ask(mut conn: &Connection, tries: u32) -> QueryResult<Told> {
    let mut best: Option<Told> = None;
    for _ in 0..tries.max(1) {
        let asked = Instant::now();
        let time = diesel::select(clock_timestamp()).get_result(&mut conn).await?;
        let told = Told { asked, answered: Instant::now(), time };
        if best.is_none_or(|best| told.took() < best.took()) {
            best = Some(told);
        }
        if told.took() <= QUICK {
            break;
        }
    }
    best.ok_or(diesel::result::Error::NotFound)
}

impl Told {
    /// Time from question to answer.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.answered.saturating_duration_since(self.asked)
    }
}
