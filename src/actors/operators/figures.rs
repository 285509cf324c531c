//! The figures that the page for operators shows, out of what `/metrics` tells: so both say the same,
//! and who works counts once.

use std::collections::BTreeMap;

use serde::Serialize;

/// Which metrics the page asks for; histograms by the name of their `_count`. No others are kept.
const SHOWN: &str = "
    http_server_request_duration_seconds_count http_server_active_requests http_problems_total
    admission_admitted_total admission_refused_total admission_under_way admission_limit admission_delay_seconds
    gate_passages_total stuffing_brake_engaged stuffing_brake_refusals_total rate_limiter_failures_total
    password_hash_queue_depth password_hash_queue_limit password_hash_oldest_seconds
    password_hash_threads password_hash_shed_total password_verifications_total
    sessions_revoked_known signing_key_age_seconds
    db_client_connection_count db_client_connection_max db_client_connection_waits_total
    db_client_connection_timeouts_total database_size_bytes database_room_bytes redis_breaker_open
    outbox_lag_seconds outbox_backlog outbox_groups_owned outbox_held_customers outbox_published_total
    outbox_refused_total outbox_unrouted_total
    mails_total text_messages_total text_messages_refused_total
    order_facts_total order_facts_dead_letters_total order_facts_in_flight order_facts_in_flight_limit
    order_facts_held order_facts_oldest_seconds order_intake_paused
    segment_backlog_seconds segment_groups_owned segment_walks_open segments_unreadable
    erasures_overdue audit_unsealed_seconds
";

/// One series at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reading {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// The figures at one moment, by their metrics' names.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<String, Vec<Reading>>);

impl Figures {
    /// Reads the text format of Prometheus. A series with labels that stands at 0 says nothing that its
    /// absence does not.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut figures = Self::default();
        for line in text.lines() {
            if let Some((name, reading)) = series(line)
                && (reading.value != 0.0 || reading.labels.is_empty())
            {
                figures.0.entry(name.to_owned()).or_default().push(reading);
            }
        }
        figures
    }

    /// The sum over the series of a metric that fit.
    pub fn sum(&self, name: &str, fits: impl Fn(&Reading) -> bool) -> f64 {
        let readings = self.0.get(name).into_iter().flatten();
        // Not `sum`, which of nothing is minus 0.
        readings.filter(|one| fits(one)).fold(0.0, |sum, one| sum + one.value)
    }
}

impl Reading {
    /// What a label says; empty where there is none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

fn series(line: &str) -> Option<(&str, Reading)> {
    let end = line.find(['{', ' '])?;
    let name = &line[..end];
    if !SHOWN.split_ascii_whitespace().any(|shown| shown == name) {
        return None;
    }
    let (head, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok().filter(|value: &f64| value.is_finite())?;
    // What our labels say is words: no quote and no comma stands in them.
    let labels = head[end..].trim_start_matches('{').trim_end_matches('}').split(',');
    let pair = |pair: &str| {
        let (label, word) = pair.split_once('=')?;
        Some((label.to_owned(), word.trim_matches('"').to_owned()))
    };
    Some((name, Reading { labels: labels.filter_map(pair).collect(), value }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::catalogue::{self, Kind};

    const TEXT: &str = concat!(
        "# HELP outbox_backlog Messages read and not yet confirmed\n",
        "# TYPE outbox_backlog gauge\n",
        "outbox_backlog 0\n",
        "outbox_lag_seconds{group=\"0\"} 1.5\n",
        "outbox_lag_seconds{group=\"1\"} 0\n",
        "outbox_lag_seconds{group=\"2\"} 2\n",
        "nobody_asks_for_this{a=\"b\"} 7\n",
        "gate_passages_total{path=\"password\",outcome=\"locked\"} 3\n",
        "order_facts_oldest_seconds NaN\n",
        "http_server_request_duration_seconds_bucket{http_route=\"/v1/me\",le=\"0.1\"} 4\n",
        "http_server_request_duration_seconds_count{http_route=\"/v1/me/{id}\"} 9\n",
    );

    #[test]
    fn what_is_shown_is_read_and_nothing_else() {
        let figures = Figures::read(TEXT);
        assert_eq!(figures.sum("outbox_lag_seconds", |_| true), 3.5);
        assert_eq!(figures.sum("outbox_lag_seconds", |one| one.label("group") == "2"), 2.0);
        assert_eq!(figures.sum("gate_passages_total", |one| one.label("outcome") == "locked"), 3.0);
        let route = |one: &Reading| one.label("http_route") == "/v1/me/{id}";
        assert_eq!(figures.sum("http_server_request_duration_seconds_count", route), 9.0);
        let json = serde_json::to_value(&figures).unwrap();
        assert_eq!(json["outbox_backlog"], serde_json::json!([{ "value": 0.0 }]), "it stands at 0");
        assert_eq!(json["outbox_lag_seconds"].as_array().unwrap().len(), 2, "0 is its absence");
        for absent in ["nobody_asks_for_this", "order_facts_oldest_seconds"] {
            assert!(json.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn whatever_is_no_series_is_passed_by() {
        for text in ["", "\n", "{", "outbox_backlog", "outbox_backlog x", "outbox_backlog{ 1 2 }"] {
            assert_eq!(Figures::read(text).sum("outbox_backlog", |_| true), 0.0, "{text}");
        }
    }

    #[test]
    fn every_figure_is_one_that_is_counted() {
        for name in SHOWN.split_ascii_whitespace() {
            let histogram = name.strip_suffix("_count").and_then(find);
            let is_histogram = histogram.is_some_and(|kind| matches!(kind, Kind::Histogram(_)));
            assert!(is_histogram || find(name).is_some(), "{name}");
        }
    }

    fn find(name: &str) -> Option<Kind> {
        catalogue::all().find(|metric| metric.name == name).map(|metric| metric.kind)
    }
}
