//! What the database alone knows, for who watches: asked at most every few seconds however many watch,
//! with a short deadline, behind everybody's back. While it cannot be asked the last answer is told with
//! its age.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::clock::Clock;
use crate::db::deliveries::Backlog;
use crate::db::supervision::{self, Group, Installation};
use crate::db::{self, Database};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(5);

/// An answer that is not there by then is none.
const DEADLINE: Duration = Duration::from_secs(1);

/// What is known of the installation; clones are one.
#[derive(Clone)]
pub struct Known {
    database: Database,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked_at: Option<Instant>,
    answer: Option<(Instant, Value)>,
    trouble: Option<&'static str>,
}

/// What is told of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    /// How old the answer is; `null`: there is none yet.
    pub age_seconds: Option<f64>,
    /// Why there is no newer one.
    pub trouble: Option<&'static str>,
    /// The answer; `null`: there is none yet.
    pub answer: Option<Value>,
}

impl Known {
    /// Knows nothing yet.
    pub fn new(database: Database, clock: Arc<dyn Clock>) -> Self {
        Self { database, clock, state: Arc::default() }
    }

    /// What is known now. Asks anew, without waiting for it, when it is time.
    #[must_use]
    pub fn now(&self) -> Told {
        let mut state = self.state();
        if state.asked_at.is_none_or(|at| at.elapsed() >= EVERY) {
            state.asked_at = Some(Instant::now());
            let known = self.clone();
            // A question that dies leaves the former answer, which grows old visibly.
            drop(self.database.spawn(async move { known.ask().await }));
        }
        let (answer, age) = match &state.answer {
            Some((at, answer)) => (Some(answer.clone()), Some(at.elapsed().as_secs_f64())),
            None => (None, None),
        };
        Told { age_seconds: age, trouble: state.trouble, answer }
    }

    async fn ask(&self) {
        let now = self.clock.now();
        let question = async {
            let connection = self.database.get().await?;
            supervision::installation(&connection, now).await.map_err(db::Error::from)
        };
        let answer: Result<_, Trouble> = match timeout(DEADLINE, question).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(Trouble::of(&error)),
            Err(_) => Err(Trouble::Silent),
        };
        let mut state = self.state();
        match answer {
            Ok(found) => {
                state.answer = Some((Instant::now(), shown(&found, now)));
                state.trouble = None;
            }
            Err(trouble) => state.trouble = Some(trouble.text()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why there is no answer, in words that quote nobody.
enum Trouble {
    Away,
    Silent,
    Refused,
}

impl Trouble {
    fn of(error: &db::Error) -> Self {
        match error {
            db::Error::Unavailable(_) => Self::Away,
            db::Error::Transient(_) => Self::Silent,
            db::Error::Constraint(_) | db::Error::Internal(_) => {
                tracing::warn!(%error, "the installation cannot be looked at");
                Self::Refused
            }
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::Away => "no connection to PostgreSQL can be had",
            Self::Silent => "PostgreSQL did not answer within a second",
            Self::Refused => "PostgreSQL refused the question; the log tells why",
        }
    }
}

fn age(now: DateTime<Utc>, since: Option<DateTime<Utc>>) -> Option<f64> {
    since.map(|since| (now - since).as_seconds_f64())
}

/// As it is told: counts, names of ours and ages, nobody's id.
fn shown(found: &Installation, now: DateTime<Utc>) -> Value {
    let group = |one: &Group| {
        json!({
            "group": one.group, "owner": one.owner, "idle_seconds": one.idle_seconds,
            "lag_seconds": age(now, one.oldest).unwrap_or(0.0).max(0.0),
        })
    };
    let counts = found.dead_letters.counts.iter();
    let counts = counts.map(|(state, count)| (state.as_str().to_owned(), json!(count)));
    let backlog =
        |one: Backlog| json!({ "waiting": one.waiting, "oldest_seconds": age(now, one.oldest) });
    let parked = found.parked_orders.iter().map(|(reason, count, oldest)| {
        json!({ "reason": reason.as_str(), "count": count, "oldest_seconds": age(now, *oldest) })
    });
    let erasures = found.erasures.iter().map(|one| {
        json!({
            "step": one.step, "state": one.state, "count": one.count,
            "first_seconds_ago": age(now, one.first),
        })
    });
    json!({
        "outbox": found.groups.iter().map(group).collect::<Vec<_>>(),
        "dead_letters": {
            "counts": counts.collect::<serde_json::Map<_, _>>(),
            "oldest_seconds": age(now, found.dead_letters.oldest),
        },
        "mails": backlog(found.mails),
        "text_messages": backlog(found.text_messages),
        "parked_orders": parked.collect::<Vec<_>>(),
        "segments": {
            "walks": {
                "open": found.walks.open, "looked_at": found.walks.looked_at,
                "total": found.walks.total,
            },
            "next_flip_in_seconds": age(now, found.flips.next).map(|late| -late),
            "flips_within_hour": found.flips.within_hour,
        },
        "erasures": erasures.collect::<Vec<_>>(),
        "locks": { "locked": found.locks.locked, "looked_at": found.locks.looked_at },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::supervision::{DeadLetters, ErasureStep, Flips, Locks, Walks};
    use chrono::TimeDelta;

    #[test]
    fn ages_are_told_and_what_lies_ahead_has_the_other_sign() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ago = |seconds| Some(now - TimeDelta::seconds(seconds));
        let group = |group, oldest| Group { group, owner: None, idle_seconds: None, oldest };
        let found = Installation {
            groups: vec![group(0, None), group(1, ago(30)), group(2, ago(-3))],
            dead_letters: DeadLetters { counts: Vec::new(), oldest: ago(7) },
            mails: Backlog { waiting: 2, oldest: ago(4) },
            text_messages: Backlog { waiting: 0, oldest: None },
            parked_orders: Vec::new(),
            flips: Flips { next: ago(-60), within_hour: 1 },
            walks: Walks::default(),
            erasures: vec![ErasureStep {
                step: "scheduled".to_owned(),
                state: "waiting".to_owned(),
                count: 1,
                first: ago(-10),
            }],
            locks: Locks { locked: 1, looked_at: 9 },
        };
        let told = shown(&found, now);
        let lags: Vec<_> =
            told["outbox"].as_array().unwrap().iter().map(|one| &one["lag_seconds"]).collect();
        assert_eq!(lags, [0.0, 30.0, 0.0], "clocks that differ make no negative lag");
        assert_eq!(told["dead_letters"]["oldest_seconds"], 7.0);
        assert_eq!(told["mails"], json!({ "waiting": 2, "oldest_seconds": 4.0 }));
        assert_eq!(told["text_messages"]["oldest_seconds"], Value::Null);
        assert_eq!(told["segments"]["next_flip_in_seconds"], 60.0);
        assert_eq!(told["erasures"][0]["first_seconds_ago"], -10.0);
    }
}
