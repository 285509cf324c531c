//! The page of metrics is what the catalogue says, and names are sound.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use super::*;

const INTRODUCTION: &str = "\
# Metrics

What a node tells at `/metrics`, in the text format of Prometheus. Written from `src/telemetry/catalogue` by `UPDATE_METRICS=1 cargo test --lib catalogue`; a test fails when a metric is counted that does not stand here, or stands here and is not counted.

- Names follow Prometheus: `_total` for counters, base units (`_seconds`, `_bytes`). Where OpenTelemetry has a name (`http_server_request_duration_seconds`, `db_client_connection_count`), it is that one, with its labels.
- Labels say words from lists that are known beforehand. No id, no address, no path as it was asked for: the number of series is bounded, and nobody can be told from them.
- *Of the installation*: every node reads the same figure from the database, so take `max`, not `sum`.
- A counter with few labels stands at 0 from the start.

What to watch is [runbooks.md](runbooks.md) with `deploy/prometheus/alerts.yaml`, what to look at is `deploy/grafana/customer-service.json`.
";

fn page() -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in sections() {
        let head = "| Metric | Type | Labels | Meaning |\n|---|---|---|---|";
        writeln!(text, "\n## {}\n\n{head}", section.title).unwrap();
        for metric in section.metrics {
            let labels: Vec<_> = metric.labels.iter().map(cell).collect();
            let labels = if labels.is_empty() { "–".to_owned() } else { labels.join("; ") };
            let (name, kind, meaning) = (metric.name, metric.kind_name(), metric.meaning);
            writeln!(text, "| `{name}` | {kind} | {labels} | {meaning} |").unwrap();
        }
    }
    text
}

fn cell(label: &Label) -> String {
    match label.values {
        Values::Listed(what) => format!("`{}`: {what}", label.name),
        Values::Words(words) => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("`{}`: {}", label.name, words.join(", "))
        }
    }
}

#[test]
fn the_page_of_metrics_is_what_the_catalogue_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("UPDATE_METRICS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == page(),
        "docs/metrics.md differs: UPDATE_METRICS=1 cargo test --lib catalogue writes it anew"
    );
}

#[test]
fn names_are_those_that_prometheus_advises_and_each_stands_once() {
    let mut names = BTreeSet::new();
    for metric in all() {
        let name = metric.name;
        assert!(names.insert(name), "{name} stands twice");
        let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.chars().all(snake), "{name}");
        assert_eq!(metric.kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(!name.contains("_ms") && !name.contains("milli"), "{name}: base units");
        if let Kind::Histogram(bounds) = metric.kind {
            assert!(name.ends_with("_seconds") || name.ends_with("_size"), "{name}");
            assert!(bounds.is_sorted(), "{name}");
        }
        assert!(!metric.meaning.ends_with('.') && !metric.meaning.contains('|'), "{name}");
        for label in metric.labels {
            assert!(label.name.chars().all(snake), "{name}: {}", label.name);
            if let Values::Words(words) = label.values {
                let sound = words
                    .iter()
                    .all(|word| word.chars().all(|c| snake(c) || c.is_ascii_uppercase()));
                assert!(sound && !words.is_empty(), "{name}: {words:?}");
            }
        }
    }
}

#[test]
fn small_counters_are_there_before_anything_happened() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, describe);
    let text = handle.render();
    assert!(text.contains("password_hash_shed_total{reason=\"full\"} 0"), "{text}");
    assert!(text.contains("outbox_published_total 0"), "{text}");
    assert!(!text.contains("\nactor_restarts_total"), "its labels are not known yet: {text}");
}
