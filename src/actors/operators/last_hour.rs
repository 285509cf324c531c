//! A few series of the last hour, a point each ten seconds, kept in this process: what the sparklines of
//! the page for operators show to who opens it now. A new process begins anew; for longer there is
//! Prometheus.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::Instant;

use super::figures::{Figures, Reading};
use crate::actors::runtime::Snapshot;

/// Between two points.
pub const STEP: Duration = Duration::from_secs(10);

/// An hour of them.
const POINTS: usize = 360;

/// The ways of signing in whose failures are counted.
const SIGN_INS: [&str; 4] = ["password", "second_factor", "passkey", "social"];

/// What each value of a point is, in their order.
pub const SERIES: [&str; 6] = [
    "requests_per_second",
    "changes_per_second",
    "errors_per_second",
    "sign_in_failures_per_second",
    "outbox_lag_seconds",
    "queue_depth",
];

/// One moment: seconds since 1970, and the values of [`SERIES`]; `None` where nothing is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub at: i64,
    pub values: [Option<f64>; SERIES.len()],
}

impl Serialize for Point {
    /// As one flat list: there are hundreds of them.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        let [a, b, c, d, e, f] = self.values.map(|value| value.map(rounded));
        (self.at, a, b, c, d, e, f).serialize(serializer)
    }
}

/// The points of the last hour; clones are one.
#[derive(Clone, Default)]
pub struct LastHour(Arc<Mutex<Points>>);

#[derive(Default)]
struct Points {
    kept: VecDeque<Point>,
    /// How many there were ever.
    count: u64,
}

impl LastHour {
    /// Adds a point; where there are [`POINTS`] the oldest goes.
    pub fn push(&self, point: Point) {
        let mut points = self.points();
        if points.kept.len() == POINTS {
            points.kept.pop_front();
        }
        points.kept.push_back(point);
        points.count += 1;
    }

    /// The points after the first `known` that there ever were, as far as they are kept, and how many
    /// there were by now.
    #[must_use]
    pub fn after(&self, known: u64) -> (u64, Vec<Point>) {
        let points = self.points();
        let new = usize::try_from(points.count.saturating_sub(known)).unwrap_or(usize::MAX);
        let skip = points.kept.len().saturating_sub(new);
        (points.count, points.kept.iter().skip(skip).copied().collect())
    }

    fn points(&self) -> MutexGuard<'_, Points> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What only rises, at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counted {
    at: Instant,
    requests: f64,
    changes: f64,
    errors: f64,
    failures: f64,
}

impl Counted {
    #[must_use]
    pub fn of(figures: &Figures, shards: &[Snapshot], at: Instant) -> Self {
        const REQUESTS: &str = "http_server_request_duration_seconds_count";
        let failed = |one: &Reading| one.label("http_response_status_code").starts_with('5');
        let failure = |one: &Reading| {
            SIGN_INS.contains(&one.label("path")) && one.label("outcome") != "passed"
        };
        Self {
            at,
            requests: figures.sum(REQUESTS, |_| true),
            changes: shards.iter().map(|shard| shard.handled as f64).sum(),
            errors: figures.sum(REQUESTS, failed),
            failures: figures.sum("gate_passages_total", failure),
        }
    }

    /// Requests, changes, errors and failed sign-ins a second since then.
    #[must_use]
    pub fn since(&self, before: &Self) -> Option<[f64; 4]> {
        let seconds = self.at.duration_since(before.at).as_secs_f64();
        let pairs = [
            (self.requests, before.requests),
            (self.changes, before.changes),
            (self.errors, before.errors),
            (self.failures, before.failures),
        ];
        (seconds > 0.0).then(|| pairs.map(|(now, then)| (now - then).max(0.0) / seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64) -> Point {
        Point { at, values: [Some(1.0), None, Some(0.12345), None, None, Some(4.0)] }
    }

    fn times(points: &[Point]) -> Vec<i64> {
        points.iter().map(|point| point.at).collect()
    }

    #[test]
    fn an_hour_is_kept_and_told_once_and_then_what_is_new() {
        let hour = LastHour::default();
        assert_eq!(hour.after(0), (0, Vec::new()));
        for at in 0..400 {
            hour.push(point(at));
        }
        let (known, all) = hour.after(0);
        assert_eq!((known, all.len()), (400, POINTS), "bounded");
        assert_eq!((all[0].at, all[POINTS - 1].at), (40, 399));
        assert_eq!(hour.after(known), (400, Vec::new()));
        hour.push(point(400));
        hour.push(point(401));
        assert_eq!(times(&hour.after(known).1), [400, 401]);
        assert_eq!(hour.after(10).1.len(), POINTS, "who was away for long gets what there is");
        assert!(hour.after(9_999).1.is_empty(), "who knows more comes from another process");
    }

    #[test]
    fn a_point_is_a_flat_list_of_as_many_values_as_there_are_series() {
        let json = serde_json::to_value(point(7)).unwrap();
        assert_eq!(json, serde_json::json!([7, 1.0, null, 0.123, null, null, 4.0]));
        assert_eq!(json.as_array().unwrap().len(), 1 + SERIES.len());
    }

    #[test]
    fn rates_are_what_was_counted_over_the_time_between() {
        let text = "\
http_server_request_duration_seconds_count{http_response_status_code=\"200\"} 90
http_server_request_duration_seconds_count{http_response_status_code=\"503\"} 10
gate_passages_total{path=\"password\",outcome=\"passed\"} 40
gate_passages_total{path=\"password\",outcome=\"invalid_credentials\"} 20
gate_passages_total{path=\"refresh\",outcome=\"refresh_invalid\"} 500
";
        let began = Instant::now();
        let before = Counted::of(&Figures::default(), &[], began);
        let later = Counted::of(&Figures::read(text), &[], began + Duration::from_secs(10));
        assert_eq!(later.since(&before), Some([10.0, 0.0, 1.0, 2.0]));
        assert_eq!(before.since(&before), None, "no time, no rate");
        let anew = Counted { at: began + Duration::from_secs(20), ..before };
        assert_eq!(anew.since(&later), Some([0.0; 4]), "never below zero");
    }
}
