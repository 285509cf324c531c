//! Metrics, alerts and the dashboard agree: what is counted is described, what is asked for is counted,
//! and every alert has a test and says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use customer_service::telemetry::catalogue::{self, Metric};

use super::{nothing_found, sources};

/// Labels that Prometheus adds, or the format.
const ADDED: &[&str] = &["job", "instance", "le"];

/// What Prometheus itself tells.
const OF_PROMETHEUS: &[&str] = &["up", "ALERTS"];

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The text between a bracket that was opened before it and the one that closes it.
fn within(text: &str) -> &str {
    let mut depth = 1;
    let mut quoted = false;
    for (at, sign) in text.char_indices() {
        match sign {
            '"' => quoted = !quoted,
            '(' | '{' if !quoted => depth += 1,
            ')' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

/// `counter!("name", "label" => …)` and the like: kind, name, labels. A name that is no literal is empty.
fn counted(code: &str) -> Vec<(&'static str, String, Vec<String>)> {
    let mut found = Vec::new();
    for kind in ["counter", "gauge", "histogram"] {
        let call = format!("{kind}!(");
        for (at, _) in code.match_indices(&call) {
            let arguments = within(&code[at + call.len()..]).trim();
            let name = arguments.strip_prefix('"').and_then(|rest| rest.split('"').next());
            let labels = arguments.split("=>").map(str::trim_end).filter_map(|before| {
                let quoted = before.strip_suffix('"')?;
                Some(quoted.rsplit('"').next()?.to_owned())
            });
            let labels = labels.take(arguments.matches("=>").count()).collect();
            found.push((kind, name.unwrap_or_default().to_owned(), labels));
        }
    }
    found
}

#[test]
fn what_is_counted_is_in_the_catalogue_and_the_other_way_round() {
    let mut findings = String::new();
    let mut text = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        if source.path.starts_with("src/telemetry/catalogue") {
            continue;
        }
        let code: Vec<_> = source.statements().map(|(_, line)| line).collect();
        let code = code.join("\n");
        if code.contains("describe_counter!") || code.contains("describe_gauge!") {
            writeln!(findings, "{}: describe it in src/telemetry/catalogue", source.path).unwrap();
        }
        for (kind, name, labels) in
            counted(&code).into_iter().filter(|(_, name, _)| !name.is_empty())
        {
            let known = catalogue::all().find(|metric| metric.name == name);
            let Some(known) = known else {
                writeln!(findings, "{}: {name} is not in the catalogue", source.path).unwrap();
                continue;
            };
            if known.kind_name() != kind {
                writeln!(findings, "{}: {name} is no {kind}", source.path).unwrap();
            }
            let of_catalogue: BTreeSet<_> = known.labels.iter().map(|label| label.name).collect();
            // Where a label's name is a constant, the running service is looked at (tests/it/metrics.rs).
            let by_constant = code.contains("POOL =>") && name.starts_with("db_client");
            if !by_constant && of_catalogue != labels.iter().map(String::as_str).collect() {
                writeln!(findings, "{}: {name} has the labels {labels:?}", source.path).unwrap();
            }
        }
        text += &code;
    }
    for metric in catalogue::all() {
        if !text.contains(&format!("\"{}\"", metric.name)) {
            writeln!(findings, "{} is never counted: take it out", metric.name).unwrap();
        }
    }
    nothing_found(&findings);
}

/// What a query asks for: each metric with the labels that it is chosen by.
fn asked(query: &str) -> Vec<(String, Vec<String>)> {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    for (at, _) in query.match_indices('{') {
        let metric = query[..at].rsplit(|c: char| !name(c)).next().unwrap_or_default();
        let labels = within(&query[at + 1..]).split(',').filter_map(|matcher| {
            let end = matcher.find(|c: char| !name(c))?;
            let is_one = matcher[end..].starts_with(['=', '!']);
            is_one.then(|| matcher[..end].to_owned())
        });
        found.push((metric.to_owned(), labels.collect()));
    }
    found
}

fn known(name: &str) -> Option<&'static Metric> {
    let whole = ["_bucket", "_sum", "_count"].iter().find_map(|part| {
        let base = name.strip_suffix(part)?;
        catalogue::all().find(|metric| metric.name == base && metric.kind_name() == "histogram")
    });
    let plain = || catalogue::all().find(|one| one.name == name && one.kind_name() != "histogram");
    whole.or_else(plain)
}

/// Notes what the query asks for and nobody counts.
fn check(place: &str, query: &str, findings: &mut String) {
    let asked = asked(query);
    if asked.is_empty() {
        writeln!(findings, "{place}: asks for nothing").unwrap();
    }
    for (name, labels) in asked.iter().filter(|(name, _)| !OF_PROMETHEUS.contains(&name.as_str())) {
        let Some(metric) = known(name) else {
            writeln!(findings, "{place}: nobody counts {name}").unwrap();
            continue;
        };
        for label in labels.iter().filter(|label| !ADDED.contains(&label.as_str())) {
            if !metric.labels.iter().any(|known| known.name == label) {
                writeln!(findings, "{place}: {name} has no label {label}").unwrap();
            }
        }
        if !labels.iter().any(|label| label == "job") {
            writeln!(findings, "{place}: {name} of which job?").unwrap();
        }
    }
}

/// Each alert of the rules: its name and the rest of its text.
fn alerts(rules: &str) -> BTreeMap<String, String> {
    let alerts = rules.split("- alert: ").skip(1).map(|alert| {
        let (name, rest) = alert.split_once('\n').unwrap();
        (name.to_owned(), rest.to_owned())
    });
    alerts.collect()
}

/// The lines below `expr: |-`.
fn expression(alert: &str) -> String {
    let lines = alert.lines().skip_while(|line| !line.contains("expr: |-")).skip(1);
    let lines: Vec<_> = lines.take_while(|line| line.starts_with("          ")).collect();
    lines.join("\n")
}

#[test]
fn every_alert_asks_for_what_is_counted_and_says_what_to_do_and_is_tested() {
    let rules = file("deploy/prometheus/alerts.yaml");
    let tests = file("deploy/prometheus/alerts_test.yaml");
    let runbooks = file("docs/runbooks.md");
    let mut findings = String::new();
    let alerts = alerts(&rules);
    assert!(alerts.len() > 30, "{}", alerts.len());
    for (name, alert) in &alerts {
        check(name, &expression(alert), &mut findings);
        let severe =
            ["critical", "warning"].map(|word| alert.contains(&format!("severity: {word}\n")));
        assert!(severe.contains(&true), "{name} has no severity");
        let anchor = format!("runbook_url: docs/runbooks.md#{}\n", name.to_lowercase());
        for part in ["summary: \"", "description: \"", &anchor] {
            if !alert.contains(part) {
                writeln!(findings, "{name}: {} is missing", part.trim()).unwrap();
            }
        }
        let heading = format!("\n## {name}\n");
        let section = runbooks.split(&heading).nth(1).and_then(|rest| rest.split("\n## ").next());
        let section = section.unwrap_or_default();
        if !(section.contains("**Look**") && section.contains("**Do**")) {
            writeln!(findings, "docs/runbooks.md: no section {name}, or it says not what to do")
                .unwrap();
        }
        let cases: Vec<_> = tests.split("alertname: ").skip(1).collect();
        let cases = cases.iter().filter(|case| case.lines().next() == Some(name));
        let (silent, fires): (Vec<&&str>, Vec<&&str>) =
            cases.partition(|case| case.contains("exp_alerts: []"));
        if silent.is_empty() || fires.is_empty() {
            writeln!(findings, "{name}: test that it fires, and that it is silent").unwrap();
        }
    }
    for heading in runbooks.lines().filter_map(|line| line.strip_prefix("## ")) {
        if !alerts.contains_key(heading) {
            writeln!(findings, "docs/runbooks.md: there is no alert {heading}").unwrap();
        }
    }
    nothing_found(&findings);
}

#[test]
fn the_dashboard_shows_what_is_counted() {
    let dashboard = file("deploy/grafana/customer-service.json");
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|one| one["type"] == "datasource" && one["name"] == "datasource"));
    let mut findings = String::new();
    let (mut ids, mut rows) = (BTreeSet::new(), Vec::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is another one's");
        let place = &panel["gridPos"];
        let wide = place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap();
        assert!(wide <= 24 && place["y"].is_u64() && place["h"].is_u64(), "{title}: {place}");
        if panel["type"] == "row" {
            rows.push(title.to_owned());
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().unwrap() {
            check(title, target["expr"].as_str().unwrap(), &mut findings);
        }
    }
    for row in [
        "Traffic",
        "Writes and shards",
        "Dependencies",
        "Outbox",
        "Workers",
        "Privacy",
        "Segments",
        "Orders",
    ] {
        assert!(rows.iter().any(|known| known == row), "no row {row} in {rows:?}");
    }
    nothing_found(&findings);
}

#[test]
fn queries_are_read_as_they_are_meant() {
    let query =
        "sum by (le) (rate(a_seconds_bucket{job=\"x{y\",route!~\"/v1,b.*\"}[5m])) / up{} > 1";
    let found = asked(query);
    assert_eq!(
        found[0],
        ("a_seconds_bucket".to_owned(), vec!["job".to_owned(), "route".to_owned()])
    );
    assert_eq!(found.last().unwrap().0, "up");
    let mut findings = String::new();
    check("here", "rate(nobody_counts_this_total{job=\"x\"}[5m])", &mut findings);
    check("here", "actor_up{job=\"x\",colour=\"red\"}", &mut findings);
    check("here", "actor_up{actor=\"x\"}", &mut findings);
    check("here", "http_server_request_duration_seconds{job=\"x\"}", &mut findings);
    assert_eq!(findings.lines().count(), 4, "{findings}");
    let code = "metrics::counter!(\n \"a_total\",\n \"b\" => kind.name(\"x\"), \"c\" => (1, 2)).increment(1)";
    let labels = vec!["b".to_owned(), "c".to_owned()];
    assert_eq!(counted(code), [("counter", "a_total".to_owned(), labels)]);
}
