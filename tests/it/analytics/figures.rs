//! Registrations, sign-ins, orders and consents by day, week and month, where clocks change and at the
//! bounds of days; as pictures; and from indexes alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{Datelike, Days, NaiveDate};
use chrono_tz::{America, Asia, Europe, Tz};
use serde_json::{Value, json};

use super::facts::{Fact, cdnow, orders};
use super::{Desk, at};
use crate::harness::Shopper;
use crate::harness::shopper::sign_in;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The first day of the piece that an order is told in.
fn piece(fact: &Fact, zone: Tz, by: &str, from: NaiveDate) -> NaiveDate {
    let day = fact.at.with_timezone(&zone).date_naive();
    let first = match by {
        "day" => day,
        "week" => day - Days::new(day.weekday().num_days_from_monday().into()),
        _ => day.with_day(1).unwrap(),
    };
    first.max(from)
}

/// What the orders of a range come to.
fn sums<'a>(facts: impl Iterator<Item = &'a Fact>, currency: &str) -> Value {
    let all: Vec<_> = facts.filter(|fact| fact.currency == currency).collect();
    let counted: Vec<_> = all.iter().filter(|fact| fact.counts(currency)).collect();
    let revenue: i64 = counted.iter().map(|fact| fact.paid()).sum();
    let refunded: i64 = counted.iter().map(|fact| fact.refunded.min(fact.total)).sum();
    let customers: BTreeSet<_> = counted.iter().map(|fact| fact.customer).collect();
    let average = (!counted.is_empty()).then(|| {
        let mean = revenue as f64 / counted.len() as f64;
        json!({ "amount": (mean + 0.5).floor() as i64, "currency": currency })
    });
    let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
    for fact in &all {
        *groups.entry(group(fact)).or_default() += usize::from(fact.counts(currency));
    }
    json!({
        "orders": counted.len(), "cancelled": all.len() - counted.len(), "customers": customers.len(),
        "revenue": { "amount": revenue, "currency": currency },
        "refunded": { "amount": refunded, "currency": currency },
        "average": average, "groups": groups,
    })
}

fn group(fact: &Fact) -> &'static str {
    if fact.customer.is_multiple_of(3) { "business" } else { "individual" }
}

/// The members of `expected`, of what was told.
fn same(told: &Value, expected: &Value) -> Value {
    let members = expected.as_object().unwrap().keys();
    members.map(|name| (name.clone(), told[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o2_orders_are_told_by_the_shops_days_weeks_and_months_whatever_its_clocks_do() {
    // both changes of the clocks of New York and of Berlin
    for zone in [America::New_York, Asia::Ho_Chi_Minh, Europe::Berlin] {
        let facts = orders(20, 600, at("2026-02-01T00:00:00Z"), 290);
        let desk = Desk::open(zone, 20, facts).await;
        let (from, to) = (day("2026-02-03"), day("2026-11-12"));
        let within = |fact: &&Fact| {
            let day = fact.at.with_timezone(&zone).date_naive();
            day >= from && day <= to
        };
        for by in ["day", "week", "month"] {
            let told = desk.get(&format!("orders?from={from}&to={to}&by={by}")).await;
            let periods = told["periods"].as_array().unwrap();
            assert_eq!(
                (&periods[0]["from"], &periods.last().unwrap()["to"]),
                (&json!(from), &json!(to))
            );
            assert_eq!(told["range"]["time_zone"], zone.name());
            for period in periods {
                let first: NaiveDate = day(period["from"].as_str().unwrap());
                let facts = desk.facts.iter().filter(within);
                let of_piece = facts.filter(|fact| piece(fact, zone, by, from) == first);
                let expected = sums(of_piece, "USD");
                assert_eq!(same(period, &expected), expected, "{zone} by {by}: {period}");
            }
            let mut expected = sums(desk.facts.iter().filter(within), "USD");
            expected.as_object_mut().unwrap().remove("groups");
            assert_eq!(same(&told, &expected), expected, "{zone} by {by}");
        }
        let told =
            desk.get(&format!("orders?from={from}&to={to}&group=business&currency=eur")).await;
        let business = |fact: &&Fact| group(fact) == "business";
        let mut expected = sums(desk.facts.iter().filter(within).filter(business), "EUR");
        expected.as_object_mut().unwrap().remove("groups");
        assert_eq!(same(&told, &expected), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_ends_at_the_shops_midnight() {
    let fact = |id: &str, when: &str| Fact {
        id: id.to_owned(),
        customer: 0,
        status: "placed",
        at: at(when),
        currency: "USD",
        total: 100,
        refunded: 0,
    };
    // 8 March 2026 has 23 hours in New York, from 05:00 to 04:00 UTC
    let facts = vec![
        fact("last of the 7th", "2026-03-08T04:59:59.999999Z"),
        fact("first of the 8th", "2026-03-08T05:00:00Z"),
        fact("last of the 8th", "2026-03-09T03:59:59.999999Z"),
        fact("first of the 9th", "2026-03-09T04:00:00Z"),
    ];
    let mut facts = facts;
    facts.iter_mut().for_each(|fact| fact.id = fact.id.replace(' ', "-"));
    let desk = Desk::open(America::New_York, 1, facts).await;
    let told = desk.get("orders?from=2026-03-07&to=2026-03-09").await;
    let orders: Vec<_> =
        told["periods"].as_array().unwrap().iter().map(|p| p["orders"].as_i64().unwrap()).collect();
    assert_eq!(orders, [1, 2, 1]);
    // registrations and sign-ins are told by the same days
    let database = &desk.shop.database;
    let customer = &desk.customers[0];
    for when in ["2026-03-08T04:59:59Z", "2026-03-08T05:00:00Z", "2026-03-09T03:59:59Z"] {
        let sql = format!(
            "INSERT INTO customers (id, email, email_canonical, first_name, last_name, customer_type, \
             group_code, status, accepts_marketing, created_at, updated_at, version, sequence) \
             SELECT gen_random_uuid(), '{when}@example.org', '{when}@example.org', 'Lan', 'Nguyễn', 'individual', \
             'individual', 'pending', false, '{when}', now(), 1, 0; \
             INSERT INTO audit_entries (id, shard, customer_id, actor_kind, action, data, request_id, occurred_at) \
             SELECT gen_random_uuid(), 0, '{customer}', 'customer', 'sign_in.succeeded', '{{}}', 'r', '{when}'"
        );
        database.execute(&sql).await;
    }
    for (route, member, expected) in
        [("registrations", "customers", [1, 2, 0]), ("logins", "sign_ins", [1, 2, 0])]
    {
        let told = desk.get(&format!("{route}?from=2026-03-07&to=2026-03-09")).await;
        let periods = told["periods"].as_array().unwrap();
        let told: Vec<_> = periods.iter().map(|p| p[member].as_i64().unwrap()).collect();
        assert_eq!(told, expected, "{route}");
    }
    // who was active on two days was one customer
    let told = desk.get("logins?from=2026-03-07&to=2026-03-09").await;
    assert_eq!((&told["sign_ins"], &told["active_customers"]), (&json!(3), &json!(1)));
    assert_eq!(told["periods"][1]["groups"], json!({ "business": 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registrations_sign_ins_and_consents_of_real_customers_are_counted() {
    let desk = Desk::open(Tz::UTC, 0, Vec::new()).await;
    let one = Shopper::new(&desk.shop, &desk.node).await;
    let other = Shopper::new(&desk.shop, &desk.node).await;
    for _ in 0..2 {
        sign_in(&desk.node, &one.email, crate::harness::shopper::PASSWORD).await.expect(200);
    }
    let consent = "/v1/me/consents/marketing";
    let grant = json!({ "granted": true, "channel": "email", "text_version": "1" });
    one.put(&desk.node, consent, grant.clone()).send().await.expect(200);
    other.put(&desk.node, consent, grant).send().await.expect(200);
    let withdrawal = json!({ "granted": false, "channel": "email" });
    other.put(&desk.node, consent, withdrawal).send().await.expect(200);
    let told = desk.get("registrations?by=month").await;
    assert_eq!((&told["customers"], &told["verified"]), (&json!(2), &json!(2)));
    assert_eq!(told["periods"].as_array().unwrap().len(), 12);
    // each was signed in by the confirmation of its address
    let told = desk.get("logins").await;
    assert_eq!((&told["sign_ins"], &told["active_customers"]), (&json!(4), &json!(2)));
    let told = desk.get("consents?by=week").await;
    let flow =
        json!([{ "purpose": "marketing", "channel": "email", "granted": 2, "withdrawn": 1 }]);
    assert_eq!(told["periods"][11]["purposes"], flow);
    let held = json!([{ "purpose": "marketing", "channel": "email", "customers": 1 }]);
    assert_eq!(told["held"], held);
    // a deleted customer is absent
    let path = format!("/v1/admin/customers/{}", one.id);
    desk.node.delete(&path).bearer(&desk.shop.staff_key).send().await.expect(204);
    assert_eq!(desk.get("registrations").await["customers"], 1);
    assert_eq!(desk.get("consents").await["held"], json!([]));
    desk.ask("registrations?group=nobody").await.problem(422, "validation_failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_figure_is_drawn_as_well_formed_xml() {
    let desk = Desk::open(Asia::Ho_Chi_Minh, 2_357, cdnow()).await;
    let routes = ["registrations", "logins", "orders", "consents", "cohorts", "rfm", "predictions"];
    for round in ["empty", "computed"] {
        for route in routes {
            let range = match route {
                "rfm" | "predictions" => "",
                _ => "from=2026-01-01&to=2026-11-30&",
            };
            let answer = desk.ask(&format!("{route}?{range}format=svg")).await.expect(200);
            assert_eq!(answer.header("content-type"), "image/svg+xml", "{route}");
            assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
            let svg = answer.text();
            let client = desk.shop.database.client().await;
            let sound = client.query_one("SELECT xml_is_well_formed_document($1)", &[&svg]).await;
            assert!(sound.unwrap().get::<_, bool>(0), "{route} ({round}): {svg}");
            let titled = "SELECT array_length(xpath('/s:svg/s:title', $1::text::xml, \
                ARRAY[ARRAY['s', 'http://www.w3.org/2000/svg']]), 1)";
            let title = client.query_one(titled, &[&svg]).await.unwrap();
            assert_eq!(title.get::<_, Option<i32>>(0), Some(1), "{route}");
            assert!(!svg.contains("<script") && !svg.contains("href"), "{route}");
        }
        if round == "empty" {
            desk.command("rfm");
            desk.command("refit");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_range_reads_a_short_piece_of_the_tables() {
    let desk = Desk::open(Tz::UTC, 2_000, Vec::new()).await;
    let database = &desk.shop.database;
    let customer = "(SELECT array_agg(id) FROM customers)";
    database
        .execute(&format!(
            "CREATE TEMP TABLE ids AS SELECT {customer} AS ids; \
             INSERT INTO order_facts (customer_id, order_id, version, status, placed_at, currency, total_amount, \
             refunded_amount, recorded_at) SELECT ids[1 + n % 2000], 'o' || n, 1, 'completed', \
             '2024-01-01T00:00:00Z'::timestamptz + n * interval '17 minutes', 'USD', n, 0, now() \
             FROM ids, generate_series(1, 60000) AS n; \
             INSERT INTO audit_entries (id, shard, customer_id, actor_kind, action, data, request_id, occurred_at) \
             SELECT gen_random_uuid(), 0, ids[1 + n % 2000], 'customer', \
             CASE n % 3 WHEN 0 THEN 'sign_in.succeeded' ELSE 'session.refreshed' END, '{{}}', 'r', \
             '2024-01-01T00:00:00Z'::timestamptz + n * interval '17 minutes' \
             FROM ids, generate_series(1, 60000) AS n; \
             INSERT INTO consent_entries (customer_id, number, purpose, channel, granted, text_version, source, \
             actor_kind, request_id, occurred_at) SELECT ids[1 + n % 2000], n / 2000 + 1, 'marketing', 'email', true, \
             '1', 'import', 'operator', 'r', '2024-01-01T00:00:00Z'::timestamptz + n * interval '17 minutes' \
             FROM ids, generate_series(1, 60000) AS n; \
             INSERT INTO order_statistics SELECT customer_id, currency, 0, count(*), 0, 0, sum(total_amount), 0, \
             min(placed_at) + (random() * 600) * interval '1 day', max(placed_at) + interval '700 days', 1, now() \
             FROM order_facts GROUP BY 1, 2; ANALYZE"
        ))
        .await;
    let tables =
        "relname IN ('order_facts', 'audit_entries', 'consent_entries', 'order_statistics')";
    database.execute("SELECT pg_stat_reset()").await;
    for route in ["orders", "logins", "consents", "registrations"] {
        desk.get(&format!("{route}?from=2024-06-03&to=2024-06-05")).await;
    }
    desk.get("cohorts?from=2024-06-01&to=2024-06-30").await;
    desk.of(7).await;
    let told = "told by the connections";
    desk.node.sigterm();
    let mut desk = desk;
    desk.node.ended(Duration::from_secs(20)).await;
    let read = format!(
        "SELECT relname || ' ' || seq_tup_read FROM pg_stat_user_tables WHERE {tables} AND seq_tup_read > 0"
    );
    let whole = desk.shop.database.column(&read).await;
    assert!(whole.is_empty(), "{told}: {whole:?}");
    let fetched = format!("SELECT max(idx_tup_fetch) FROM pg_stat_user_tables WHERE {tables}");
    let fetched = desk.shop.database.count(&fetched).await;
    assert!(fetched > 0 && fetched < 20_000, "{fetched}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_figure_that_takes_too_long_is_given_up_and_nobody_else_waits() {
    let desk = Desk::open(Tz::UTC, 1, Vec::new()).await;
    let short = [("ANALYTICS__STATEMENT_TIMEOUT_MS", "300"), ("ANALYTICS__CONNECTIONS", "1")];
    let node = desk.shop.node_with(&short).await;
    let mut client = desk.shop.database.client().await;
    let lock = client.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE order_facts").await.unwrap();
    let began = Instant::now();
    let figure = node.get("/v1/admin/analytics/orders").bearer(&desk.shop.staff_key);
    figure.send().await.problem(503, "overloaded");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let path = format!("/v1/admin/customers/{}", desk.customers[0]);
    node.get(&path).bearer(&desk.shop.staff_key).send().await.expect(200);
    lock.rollback().await.unwrap();
    node.get("/v1/admin/analytics/orders").bearer(&desk.shop.staff_key).send().await.expect(200);
}
