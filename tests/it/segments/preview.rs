//! Previews and explanations against the evaluation of one customer after the other, and as staff asks
//! for them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use customer_service::actors::segments::preview::{Moves, Order};
use customer_service::actors::segments::{SegmentDesk, Standards};
use customer_service::config::Config;
use customer_service::db;
use customer_service::domain::CustomerId;
use customer_service::domain::ids::SegmentId;
use customer_service::domain::segment::record::SegmentName;
use customer_service::domain::segment::{Checked, Facts, evaluate, explain};
use serde_json::{Value, json};
use uuid::Uuid;

use super::generate::{self, Dice};
use super::{checked, rows};
use crate::harness::db::TestDatabase;
use crate::harness::{Answer, Shop};

fn desk() -> SegmentDesk {
    let config =
        Config::load_without(&["database.url", "secrets.root_key"], None, &BTreeMap::new());
    SegmentDesk::new(&config.map_err(|_| "the defaults").unwrap(), Standards::default())
}

/// A rule segment with these members, as rows.
async fn segment(database: &TestDatabase, definition: &str, members: &[Uuid]) -> SegmentId {
    let id = Uuid::from_u128(77);
    let definition = definition.replace('\'', "''");
    let mut sql = format!(
        "INSERT INTO segments (code, id, kind, title, definition, time_zone, state, revision, created_at, \
         updated_at, version) VALUES ('tried', '{id}', 'rule', 'Tried', '{definition}', 'UTC', 'active', 1, \
         now(), now(), 1);"
    );
    for member in members {
        sql.push_str(&format!(
            "INSERT INTO segment_members VALUES ('{member}', '{id}', '2026-01-01T00:00:00Z', 'change');"
        ));
    }
    database.execute(&sql).await;
    SegmentId(id)
}

/// What the evaluation of each customer comes to.
#[derive(Debug, Default, PartialEq)]
struct Side {
    customers: BTreeSet<Uuid>,
    clauses: BTreeMap<String, i64>,
}

impl Side {
    fn add(&mut self, id: Uuid, definition: &Checked, facts: &Facts, now: DateTime<Utc>) {
        self.customers.insert(id);
        for part in explain(definition, facts, now).deciding() {
            *self.clauses.entry(part.text.clone()).or_default() += 1;
        }
    }

    fn is(&self, moves: &Moves, what: &str) {
        let mut clauses: BTreeMap<String, i64> = BTreeMap::new();
        for (clause, customers) in &moves.clauses {
            *clauses.entry(clause.clone()).or_default() += customers;
        }
        let sample: BTreeSet<Uuid> = moves.sample.iter().copied().collect();
        assert_eq!(moves.customers, self.customers.len() as i64, "{what}");
        assert_eq!(clauses, self.clauses, "{what}");
        assert_eq!(sample.len(), self.customers.len().min(5), "{what}");
        assert!(sample.is_subset(&self.customers), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s4_a_preview_comes_to_what_every_customer_comes_to() {
    let database = TestDatabase::new().await;
    rows::groups(&database).await;
    let (zone, mut dice) = (Tz::Europe__Berlin, Dice::new(7));
    let now = generate::now(&mut dice, zone);
    let mut made: Vec<Facts> = (0..120).map(|_| generate::facts(&mut dice, now, zone)).collect();
    // Neither cut points nor models are there.
    for facts in &mut made {
        (facts.rfm, facts.spend_tier) = (None, None);
    }
    let ids = rows::add(&database, Uuid::from_u128(1_000), &made).await;
    let members: Vec<Uuid> = ids.iter().step_by(3).copied().collect();
    let segment = segment(&database, "mfa_enabled = true", &members).await;
    let (handle, desk) = (database.database(), desk());
    let mut differed = 0;
    for _ in 0..40 {
        let text = std::iter::repeat_with(|| generate::definition(&mut dice))
            .find(|text| !text.to_lowercase().contains("in segment"))
            .unwrap();
        let definition = checked(&text, zone);
        let (mut fits, mut joins, mut leaves) = (0, Side::default(), Side::default());
        for (id, facts) in ids.iter().zip(&made) {
            let (is, was) = (evaluate(&definition, facts, now).member, members.contains(id));
            fits += i64::from(is);
            match (is, was) {
                (true, false) => joins.add(*id, &definition, facts, now),
                (false, true) => leaves.add(*id, &definition, facts, now),
                _ => {}
            }
        }
        let limit = Duration::from_secs(20);
        let redefines = Some(segment);
        let order = Order { checked: definition, redefines, sample: 5, limit };
        let told = desk.preview(&handle, order, now).await.unwrap();
        assert_eq!((told.customers, told.complete), (fits, true), "{text}");
        assert_eq!((told.looked_at, told.total), (120, 120));
        assert_eq!(told.sample.len() as i64, fits.min(5));
        let change = told.change.unwrap();
        assert_eq!(change.members, 40);
        joins.is(&change.joins, &text);
        leaves.is(&change.leaves, &text);
        differed += joins.customers.len() + leaves.customers.len();
    }
    assert!(differed > 100, "{differed}");
}

/// Who is kept as a member counts where a definition asks about a segment.
#[tokio::test(flavor = "multi_thread")]
async fn s4_a_preview_asks_about_kept_members_and_tells_when_time_is_up() {
    let database = TestDatabase::new().await;
    rows::groups(&database).await;
    let (zone, mut dice) = (Tz::UTC, Dice::new(11));
    let now = generate::now(&mut dice, zone);
    let made: Vec<Facts> = (0..9).map(|_| generate::facts(&mut dice, now, zone)).collect();
    let ids = rows::add(&database, Uuid::from_u128(1_000), &made).await;
    segment(&database, "mfa_enabled = true", &ids[..4]).await;
    let (handle, desk) = (database.database(), desk());
    let schema = desk.schema(&handle.dedicated("preview").await.unwrap()).await.unwrap();
    let tried = |text: &str, limit: u64| {
        let checked = Checked::parse(text, &schema).unwrap();
        let limit = Duration::from_millis(limit);
        let order = Order { checked, redefines: None, sample: 100, limit };
        desk.preview(&handle, order, now)
    };
    let inside = tried("IN SEGMENT 'tried'", 20_000).await.unwrap();
    let mut sample = inside.sample.clone();
    sample.sort();
    assert_eq!((inside.customers, sample.as_slice()), (4, &ids[..4]));
    let outside = tried("NOT IN SEGMENT 'tried'", 20_000).await.unwrap();
    assert_eq!((outside.customers, outside.change, outside.complete), (5, None, true));

    let none = tried("IN SEGMENT 'tried'", 0).await.unwrap();
    assert_eq!((none.complete, none.looked_at, none.customers), (false, 0, 0));
    // The database cannot answer in time: that is told, and not waited for.
    let locker = database.client().await;
    locker
        .batch_execute("BEGIN; LOCK TABLE segment_members IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let began = Instant::now();
    let cut = tried("IN SEGMENT 'tried'", 300).await.unwrap();
    assert_eq!((cut.complete, cut.looked_at, cut.customers), (false, 0, 0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    locker.batch_execute("ROLLBACK").await.unwrap();

    // What is kept is explained beside what the condition says.
    let connection = handle.dedicated("why").await.unwrap();
    let name = SegmentName::parse("tried").unwrap();
    for (id, facts) in ids.iter().zip(&made) {
        let why = desk.why(&connection, &name, CustomerId(*id), now).await.unwrap().unwrap();
        assert_eq!(why.held.is_some(), ids[..4].contains(id));
        let told = why.explanation.unwrap();
        assert_eq!(told.member, facts.mfa_enabled);
        assert_eq!(
            told.tree.value.as_deref(),
            Some(if facts.mfa_enabled { "true" } else { "false" })
        );
    }
    let nobody = CustomerId(Uuid::from_u128(5));
    assert!(desk.why(&connection, &name, nobody, now).await.unwrap().is_none());
}

fn ids(sample: &Value) -> Vec<&str> {
    sample.as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

/// As staff sees it: what a key may not read is not in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s1_staff_previews_explains_exports_and_counts() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    // It reads segments and no customers.
    let (_, narrow) = shop.key("segments:read");
    let mut made = Vec::new();
    for (name, customer_type) in [("An", "individual"), ("Bo", "business")] {
        let body = json!({ "email": crate::harness::shopper::address(), "first_name": name,
                           "last_name": "Lê", "customer_type": customer_type });
        let one = node.post("/v1/admin/customers", body).bearer(key).send().await.expect(201);
        made.push(one.json()["id"].as_str().unwrap().to_owned());
    }
    let rule =
        json!({ "code": "firms", "title": "Firms", "definition": "customer_type = 'business'" });
    node.post("/v1/admin/segments", rule).bearer(key).send().await.expect(201);
    let static_ = json!({ "code": "guests", "title": "Guests", "kind": "static" });
    node.post("/v1/admin/segments", static_).bearer(key).send().await.expect(201);
    let put = format!("/v1/admin/segments/guests/members/{}", made[0]);
    node.post(&put, json!({})).bearer(key).send().await.expect(204);

    // preview
    let preview = async |body: Value, key: &str| -> Answer {
        node.post("/v1/admin/segments/preview", body).bearer(key).send().await
    };
    let asked = json!({ "definition": "customer_type='business' or in segment 'guests'" });
    let told = preview(asked.clone(), key).await.expect(200).json();
    assert_eq!(told["definition"], "customer_type = 'business' OR IN SEGMENT 'guests'");
    assert_eq!(
        (&told["customers"], &told["complete"], &told["change"]),
        (&json!(2), &json!(true), &Value::Null)
    );
    let names: BTreeSet<_> = told["sample"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["customer"]["first_name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["An", "Bo"].into());
    let told = preview(asked, &narrow).await.expect(200).json();
    assert_eq!(ids(&told["sample"]).len(), 2);
    assert!(told["sample"].as_array().unwrap().iter().all(|one| one["customer"].is_null()));
    let wrong = preview(json!({ "definition": "number_of_order > 1" }), key).await;
    assert_eq!(
        wrong.problem(422, "validation_failed").faults(),
        ["#/definition unknown_attribute"]
    );
    let itself = json!({ "definition": "IN SEGMENT 'firms'", "segment": "firms" });
    let wrong = preview(itself, key).await.problem(422, "validation_failed");
    assert_eq!(wrong.faults(), ["#/definition unknown_segment"]);
    for (segment, code) in [("nobody", "unknown_segment"), ("guests", "not_applicable")] {
        let body = json!({ "definition": "mfa_enabled = true", "segment": segment });
        let wrong = preview(body, key).await.problem(422, "validation_failed");
        assert_eq!(wrong.faults(), [format!("#/segment {code}")]);
    }
    let huge = json!({ "definition": "(".repeat(10_000) });
    assert_eq!(
        preview(huge, key).await.problem(422, "validation_failed").faults(),
        ["#/definition too_deep"]
    );
    let huge = json!({ "definition": "x".repeat(1 << 20) });
    preview(huge, key).await.problem(413, "payload_too_large");

    // explain
    let why = async |segment: &str, customer: &str, key: &str| -> Answer {
        let path = format!("/v1/admin/segments/{segment}/explain/{customer}");
        node.get(&path).bearer(key).send().await
    };
    let told = why("firms", &made[0], key).await.expect(200).json();
    let condition = &told["condition"];
    assert_eq!((&told["member"], &condition["holds"]), (&json!(false), &json!(false)));
    assert_eq!(condition["missing"], "customer_type = 'business'");
    assert_eq!(condition["tree"]["value"], "individual");
    let told = why("firms", &made[1], &narrow).await.expect(200).json();
    assert_eq!((&told["condition"], &told["segment"]), (&Value::Null, &json!("firms")));
    let told = why("guests", &made[0], key).await.expect(200).json();
    assert_eq!(
        (&told["member"], &told["cause"], &told["condition"]),
        (&json!(true), &json!("manual"), &Value::Null)
    );
    why("nobody", &made[0], key).await.problem(404, "not_found");
    why("firms", &Uuid::nil().to_string(), key).await.problem(404, "not_found");

    // export
    let export = async |query: &str| {
        let path = format!("/v1/admin/exports/segments/guests{query}");
        node.get(&path).bearer(&narrow).send().await.expect(200)
    };
    let line: Value = serde_json::from_str(export("").await.text().trim_end()).unwrap();
    assert_eq!((&line["customer_id"], &line["cause"]), (&json!(made[0]), &json!("manual")));
    let csv = export("?format=csv").await.text();
    assert!(csv.starts_with(&format!("customer_id,since,cause\n{},20", made[0])), "{csv}");
    assert!(csv.ends_with(",manual\n"), "{csv}");

    // counts
    let handle = shop.database.database();
    let connection = handle.dedicated("counts").await.unwrap();
    let guests = shop.database.one("SELECT id::text FROM segments WHERE code = 'guests'").await;
    let hour = shop.database.one("SELECT to_char(date_trunc('hour', now() AT TIME ZONE 'UTC'), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')").await;
    let hour: DateTime<Utc> = hour.parse().unwrap();
    for _ in 0..2 {
        db::segment_counts::count(&connection, guests.parse().unwrap(), hour).await.unwrap();
    }
    let counts = async |query: &str| {
        node.get(&format!("/v1/admin/analytics/segments{query}")).bearer(key).send().await
    };
    let told = counts("?segment=guests").await.expect(200).json();
    let periods = told["segments"][0]["periods"].as_array().unwrap().clone();
    assert_eq!(periods.len(), 30);
    assert_eq!((&periods[29]["members"], &periods[0]["members"]), (&json!(1), &Value::Null));
    let picture = counts("?format=svg&by=week").await.expect(200);
    assert!(picture.text().contains("guests") && picture.text().starts_with("<svg"));
    counts("?segment=nobody").await.problem(422, "validation_failed");
    counts("?segment=a,b,c,d,e").await.problem(422, "validation_failed");

    // on the command line
    let run = |arguments: &[&str]| {
        let output = shop.run(&[&["segment"][..], arguments].concat());
        let [out, error] =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.code(), out, error)
    };
    std::fs::write(shop.folder().join("firms.segment"), "customer_type='business'\n").unwrap();
    let (code, out, error) = run(&["preview", "firms.segment", "--segment", "firms"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.starts_with("customer_type = 'business'\n"), "{out}");
    assert!(out.contains(&format!("customers  1 of 2\n           {}\n", made[1])), "{out}");
    assert!(out.contains("\njoins      ") && out.contains("\nleaves     0\n"), "{out}");
    let (code, _, error) = run(&["preview", "firms.segment", "--segment", "guests"]);
    assert_eq!((code, error.contains("is static")), (Some(1), true), "{error}");
    let (code, out, error) = run(&["explain", "firms", &made[0]]);
    assert_eq!(code, Some(0), "{error}");
    assert!(out.contains("\nmissing    customer_type = 'business'\n"), "{out}");
    assert!(out.ends_with("-* customer_type = 'business'   has individual\n"), "{out}");
    assert_eq!(run(&["explain", "firms", &Uuid::nil().to_string()]).0, Some(1));
}
