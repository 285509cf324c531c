//! What `/metrics` tells: words from lists that are known beforehand, nothing of anybody, and no more
//! series however much is asked; and what is looked up when somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use customer_service::telemetry::catalogue::{self, Metric, Values};
use serde_json::json;
use uuid::Uuid;

use crate::access::operations;
use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Api, Shop, Shopper, eventually, unique};

/// Stands in everything that the test makes up.
const MARKER: &str = "pangolin";

/// Labels that the format itself adds.
const OF_HISTOGRAMS: &str = "le";

/// One line of `/metrics`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

impl Series {
    fn read(line: &str) -> Self {
        let (head, value) = line.rsplit_once(' ').unwrap();
        value.parse::<f64>().unwrap_or_else(|error| panic!("{line}: {error}"));
        let (name, rest) = head.split_once('{').unwrap_or((head, "}"));
        let mut rest = rest.strip_suffix('}').unwrap();
        let mut labels = BTreeMap::new();
        while let Some((label, after)) = rest.split_once("=\"") {
            let (word, after) = after.split_once('"').unwrap();
            assert!(!word.contains('\\'), "{line}: a label that needs escapes");
            labels.insert(label.to_owned(), word.to_owned());
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        assert!(rest.is_empty(), "{line}: {rest} is left");
        Self { name: name.to_owned(), labels }
    }

    /// The metric that it is of.
    fn metric(&self) -> &'static Metric {
        let parts = ["_bucket", "_sum", "_count"];
        let whole = parts.iter().find_map(|part| {
            let name = self.name.strip_suffix(part)?;
            catalogue::all().find(|metric| metric.name == name)
        });
        let found = whole.or_else(|| catalogue::all().find(|metric| metric.name == self.name));
        found.unwrap_or_else(|| panic!("{} is not in the catalogue", self.name))
    }
}

async fn series(node: &Api) -> BTreeSet<Series> {
    let text = node.get("/metrics").send().await.expect(200).text();
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(Series::read)
        .collect()
}

/// Words alone: no address, no id, nothing with a blank or a sign that names of ours do not have.
fn assert_is_a_word(series: &Series, word: &str) {
    let known = |c: char| c.is_ascii_alphanumeric() || "_-.:/{}[]^*+".contains(c);
    assert!(word.chars().all(known), "{series:?}");
    assert!(word.len() <= 100, "{series:?}");
    let ids = word.as_bytes().windows(36).any(|part| Uuid::try_parse_ascii(part).is_ok());
    let hex = |part: &[u8]| part.iter().all(u8::is_ascii_hexdigit);
    assert!(!ids && !word.as_bytes().windows(24).any(hex), "{series:?}");
}

/// Every operation, with identifiers that somebody made up.
async fn knock(node: &Api, shop: &Shop, shopper: &Shopper, parameter: &str) {
    // The stream of the operators' page has no end.
    let all = operations(node).await.into_iter();
    for operation in all.filter(|operation| operation.template != "/ops/stream") {
        let call = node.call(operation.method.clone(), &operation.path(parameter));
        let call = match operation.security.first().map(String::as_str) {
            Some("customer") => call.bearer(&shopper.access),
            Some(_) => call.bearer(&shop.staff_key),
            None => call,
        };
        let body = json!({ "email": format!("{parameter}@example.org"), "password": PASSWORD });
        let call = if operation.body.is_some() { call.json(body) } else { call };
        // What came of it is of no interest, nor whether anything did.
        let _ = call.try_send().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_name_nobody_and_do_not_grow_with_what_is_asked() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.add_address(&node, &unique(MARKER)).await;
    let phone = json!({ "phone": "+84 912 345 678" });
    shopper.post(&node, "/v1/me/phone", phone).send().await;
    for _ in 0..3 {
        sign_in(&node, &shopper.email, &unique(MARKER)).await;
    }
    let path = format!("/v1/admin/customers/{}", shopper.id);
    node.get(&path).bearer(&shop.staff_key).send().await.expect(200);
    let export = json!({ "password": PASSWORD });
    shopper.post(&node, "/v1/me/privacy/export", export).send().await;
    let other = Shopper::new(&shop, &node).await;
    let deletion = json!({ "password": PASSWORD });
    other.post(&node, "/v1/me/privacy/deletion", deletion).send().await.expect(202);
    let unknown =
        |n: usize| format!("/{}/{n}/{}", unique(MARKER), Uuid::from_u128(n as u128 | 7 << 80));
    for parameter in [unique(MARKER), Uuid::from_u128(11 << 90).to_string()] {
        knock(&node, &shop, &shopper, &parameter).await;
    }
    for n in 0..5 {
        node.get(&unknown(n)).send().await.expect(404);
        node.get(&format!("/v1/admin/customers/{}", Uuid::from_u128(n as u128 | 1 << 90)))
            .bearer(&shop.staff_key)
            .send()
            .await
            .expect(404);
    }

    let told = series(&node).await;
    let templates: BTreeSet<_> =
        operations(&node).await.into_iter().map(|one| one.template).collect();
    let problems = node.get("/problems").send().await.expect(200).text();
    for one in &told {
        let metric = one.metric();
        for (label, word) in &one.labels {
            if label == OF_HISTOGRAMS && metric.kind_name() == "histogram" {
                continue;
            }
            let known = metric.labels.iter().find(|known| known.name == label);
            let known = known.unwrap_or_else(|| panic!("{one:?}: {label} is not in the catalogue"));
            assert_is_a_word(one, word);
            match known.values {
                Values::Words(words) => assert!(words.contains(&word.as_str()), "{one:?}"),
                Values::Listed(_) if label == "http_route" => {
                    let of_documents = [
                        "/docs",
                        "/openapi.json",
                        "/asyncapi.json",
                        "/schemas",
                        "/problems",
                        "/.well-known",
                    ];
                    let document = of_documents.iter().any(|path| word.starts_with(path));
                    let known = word == "none" || document || templates.contains(word);
                    assert!(known, "{one:?}");
                }
                Values::Listed(_) if label == "code" => {
                    assert!(problems.contains(word.as_str()), "{one:?}");
                }
                Values::Listed(_) => {}
            }
        }
    }
    let text = node.get("/metrics").send().await.expect(200).text();
    for secret in [MARKER, "@", "shoppers", &shopper.id, &other.id, "+84"] {
        assert!(!text.contains(secret), "{secret}");
    }

    for n in 0..200 {
        node.get(&unknown(n)).send().await.expect(404);
        let path = format!("/v1/admin/customers/{}", Uuid::from_u128(n as u128 | 1 << 91));
        node.get(&path).bearer(&shop.staff_key).send().await.expect(404);
        let path = format!("/v1/me/addresses/{}", Uuid::from_u128(n as u128 | 1 << 92));
        shopper.get(&node, &path).send().await;
    }
    for _ in 0..30 {
        sign_in(&node, &format!("{}@example.org", unique(MARKER)), &unique(MARKER)).await;
    }
    let later = series(&node).await;
    let grown: Vec<_> =
        later.difference(&told).filter(|one| !one.labels.contains_key("le")).collect();
    // An answer that was not given before (the limit of sign-ins) may be new; an id is not.
    assert!(grown.len() <= 24, "{} series more: {grown:#?}", grown.len());
    let text = node.get("/metrics").send().await.expect(200).text();
    assert!(!text.contains(MARKER) && !text.contains('@'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_pools_workers_and_dependencies_are_measured() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    Shopper::new(&shop, &node).await;
    let told = async |name: &str, label: &str| node.metric_where(name, label).await;
    assert_eq!(told("service_ready", "").await, 1.0);
    for dependency in ["actors", "database", "rabbit", "redis"] {
        assert_eq!(told("dependency_up", dependency).await, 1.0, "{dependency}");
        assert!(told("dependency_probe_seconds", dependency).await < 1.0, "{dependency}");
    }
    for pool in ["\"writes\"", "\"reports\""] {
        assert!(told("db_client_connection_max", pool).await >= 1.0, "{pool}");
    }
    let open = told("db_client_connection_count", "\"writes\"").await;
    assert!(open >= 1.0 && open <= told("db_client_connection_max", "\"writes\"").await, "{open}");
    assert_eq!(told("db_client_connection_timeouts_total", "").await, 0.0);
    assert!(told("actor_queue_limit", "\"customers-0\"").await >= 1.0);
    assert!(told("password_hash_queue_limit", "").await >= 1.0);
    assert!(told("password_hash_threads", "").await >= 1.0);
    assert_eq!(told("http_problems_total", "not_found").await, 0.0);
    node.get("/v1/nothing").send().await.expect(404);
    assert_eq!(told("http_problems_total", "not_found").await, 1.0);
    eventually("the relay tells its lag by group", Duration::from_secs(20), async || {
        let all = series(&node).await;
        let lags = all.iter().filter(|one| one.name == "outbox_lag_seconds").count();
        let owned = node.metric("outbox_groups_owned").await;
        (lags == 8 && owned == 8.0).then_some(())
    })
    .await;
    eventually("workers succeed", Duration::from_secs(20), async || {
        let age = told("actor_success_age_seconds", "\"mailer\"").await;
        let all = series(&node).await;
        let known = all.iter().any(|one| {
            one.name == "deliveries_waiting" && one.labels.values().any(|queue| queue == "mails")
        });
        (known && age < 30.0).then_some(())
    })
    .await;
}

/// What is away is told, and so is what piles up because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_away_and_what_waits_for_it_is_told() {
    let shop = Shop::configured(&[
        ("RABBIT__URL", "amqp://nobody:nothing@127.0.0.1:9/%2f"),
        ("MAIL__TRANSPORT", "smtp"),
        ("MAIL__SMTP_URL", "smtp://127.0.0.1:9"),
    ])
    .await;
    let node = shop.node().await;
    crate::harness::shopper::register(&node, &crate::harness::shopper::address()).await.expect(202);
    eventually("RabbitMQ is down, and a mail waits", Duration::from_secs(40), async || {
        let down = node.metric_where("dependency_up", "\"rabbit\"").await == 0.0;
        let waits = node.metric_where("deliveries_waiting", "\"mails\"").await;
        let age = node.metric_where("deliveries_oldest_seconds", "\"mails\"").await;
        let failed = node.metric_where("actor_failed_runs_total", "\"outbox_relay\"").await;
        (down && waits == 1.0 && age > 0.0 && failed >= 1.0).then_some(())
    })
    .await;
    // The relay cannot publish, and tells all the same what waits by now, and for how long.
    eventually("the backlog and its age grow", Duration::from_secs(40), async || {
        let written = shop.database.count("SELECT count(*) FROM outbox_events").await;
        let backlog = node.metric("outbox_backlog").await;
        let lag = node.metric("outbox_lag_seconds").await;
        (written > 0 && backlog == written as f64 && lag > 6.0).then_some(())
    })
    .await;
    // The service serves without it.
    assert_eq!(node.metric("service_ready").await, 1.0);
    assert!(node.metric_where("actor_success_age_seconds", "\"outbox_relay\"").await > 0.0);
}
