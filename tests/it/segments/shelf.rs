//! Making segments, and asking who is in them and who should be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use customer_service::clock::{Clock, SystemClock};
use customer_service::db::segments::{Needs, of};
use customer_service::domain::segment::{Checked, Schema, evaluate};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Api, Shop, eventually, unique};

pub const SEGMENTS: &str = "/v1/admin/segments";

/// Asks for a new segment.
pub async fn ask(shop: &Shop, node: &Api, body: Value) -> Answer {
    node.post(SEGMENTS, body).bearer(&shop.staff_key).send().await
}

/// Makes one by a definition. Who belongs to it may yet have to join.
pub async fn rule(shop: &Shop, node: &Api, code: &str, definition: &str) -> Value {
    let body = json!({ "code": code, "title": code, "definition": definition });
    ask(shop, node, body).await.expect(201).json()
}

/// Makes a static one.
pub async fn by_hand(shop: &Shop, node: &Api, code: &str) -> Value {
    ask(shop, node, json!({ "code": code, "title": code, "kind": "static" }))
        .await
        .expect(201)
        .json()
}

pub async fn change(shop: &Shop, node: &Api, code: &str, body: Value) -> Answer {
    node.patch(&format!("{SEGMENTS}/{code}"), body).bearer(&shop.staff_key).send().await
}

pub async fn show(shop: &Shop, node: &Api, code: &str) -> Value {
    let path = format!("{SEGMENTS}/{code}");
    node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json()
}

pub async fn delete(shop: &Shop, node: &Api, code: &str) -> Answer {
    node.delete(&format!("{SEGMENTS}/{code}")).bearer(&shop.staff_key).send().await
}

/// A new customer of staff's making.
pub async fn customer(shop: &Shop, node: &Api, more: Value) -> String {
    let mut body = json!({ "email": format!("{}@shoppers.example", unique("s")),
                           "first_name": "Lan", "last_name": "Trần" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    made.expect(201).json()["id"].as_str().unwrap().to_owned()
}

/// Waits until every walk is over.
pub async fn settled(shop: &Shop) {
    let open = "SELECT count(*) FROM segment_builds WHERE finished_at IS NULL";
    eventually("every walk is over", Duration::from_secs(60), async || {
        (shop.database.count(open).await == 0).then_some(())
    })
    .await;
}

/// Waits until every message is looked at by whoever judges.
pub async fn judged(shop: &Shop) {
    let unseen = "SELECT count(*) FROM outbox_events AS o JOIN segment_cursors AS c ON c.shard_group = o.shard / 8 \
                  WHERE o.seq > c.positions[o.shard % 8 + 1]";
    eventually("every change is judged", Duration::from_secs(60), async || {
        (shop.database.count(unseen).await == 0).then_some(())
    })
    .await;
}

/// Waits until nothing is left to be judged by anybody, but for what time brings.
pub async fn quiet(shop: &Shop) {
    // A walk tells of who joined, and what that means for others is judged after it.
    settled(shop).await;
    judged(shop).await;
}

/// Who is in a segment.
pub async fn members(shop: &Shop, code: &str) -> BTreeSet<String> {
    let sql = format!(
        "SELECT m.customer_id::text FROM segment_members AS m JOIN segments AS s ON s.id = m.segment_id \
         WHERE s.code = '{code}'"
    );
    shop.database.column(&sql).await.into_iter().collect()
}

/// The codes of the segments that a customer is in, each with why.
pub async fn of_customer(shop: &Shop, customer: &str) -> BTreeMap<String, String> {
    let sql = format!(
        "SELECT s.code || ' ' || m.cause FROM segment_members AS m JOIN segments AS s ON s.id = m.segment_id \
         WHERE m.customer_id = '{customer}'"
    );
    let rows = shop.database.column(&sql).await;
    let split =
        |row: String| row.split_once(' ').map(|(code, cause)| (code.to_owned(), cause.to_owned()));
    rows.into_iter().filter_map(split).collect()
}

/// Waits until a customer is in a segment, or is not.
pub async fn becomes(shop: &Shop, code: &str, customer: &str, member: bool) {
    let what = format!("{customer} is {}in {code}", if member { "" } else { "not " });
    eventually(&what, Duration::from_secs(20), async || {
        (members(shop, code).await.contains(customer) == member).then_some(())
    })
    .await;
}

/// Who should be in segments by these definitions, evaluated in memory one after the other: each may ask
/// about those before it.
pub async fn expected(shop: &Shop, rules: &[(&str, &str)]) -> BTreeMap<String, BTreeSet<String>> {
    let schema = Schema::new(chrono_tz::UTC, "USD");
    let living = "SELECT id::text FROM customers WHERE deleted_at IS NULL";
    let ids: Vec<Uuid> =
        shop.database.column(living).await.iter().map(|id| id.parse().unwrap()).collect();
    let checked: Vec<Checked> =
        rules.iter().map(|(_, text)| Checked::parse(text, &schema).unwrap()).collect();
    let mut needs = Needs::default();
    checked.iter().for_each(|one| needs.add(one.condition()));
    let database = shop.database.database();
    let facts = database.read(move |connection| {
        let ids = ids.clone();
        Box::pin(async move { of(connection, &ids, needs, None, None).await })
    });
    let now = SystemClock.now();
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, mut facts) in facts.await.unwrap() {
        for ((code, _), checked) in rules.iter().zip(&checked) {
            let who = all.entry((*code).to_owned()).or_default();
            if evaluate(checked, &facts, now).member {
                facts.segments.insert((*code).to_owned());
                who.insert(id.to_string());
            }
        }
    }
    all
}

/// Panics unless everybody is where the rules say, and what was told comes to the same: of each customer
/// and segment joining and leaving take turns, up to what is.
pub async fn holds(shop: &Shop, rules: &[(&str, &str)]) {
    let expected = expected(shop, rules).await;
    for (code, _) in rules {
        let is = members(shop, code).await;
        let should = expected.get(*code).cloned().unwrap_or_default();
        let (missing, wrong): (Vec<_>, Vec<_>) =
            (should.difference(&is).collect(), is.difference(&should).collect());
        assert!(missing.is_empty() && wrong.is_empty(), "{code}: {missing:?} not in, {wrong:?} in");
        assert_eq!(told(shop, code).await, is, "what was told of {code}");
    }
}

/// Who is in a segment by what the messages told.
async fn told(shop: &Shop, code: &str) -> BTreeSet<String> {
    let sql = format!(
        "SELECT customer_id || ' ' || kind FROM outbox_events WHERE kind IN ('segment.assigned', 'segment.removed') \
         AND data ->> 'segment' = '{code}' ORDER BY customer_id, customer_sequence"
    );
    let mut who = BTreeSet::new();
    for row in shop.database.column(&sql).await {
        let (customer, kind) = row.split_once(' ').unwrap();
        let news = match kind {
            "segment.assigned" => who.insert(customer.to_owned()),
            _ => who.remove(customer),
        };
        assert!(news, "{kind} of {customer} and {code} was told twice");
    }
    who
}
