//! What a new revision means is carried to everybody, while they change and nodes are killed (rule S3).

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::CustomerId;
use customer_service::domain::command::{Actor, Command, Context, Subject, Submission, TagCommand};
use customer_service::domain::text::Label;
use serde_json::json;
use tokio::task::JoinSet;

use super::shelf::*;
use crate::harness::{Inside, Node, Shop, eventually, unique};

/// Small pages: many instants between two commits.
const SMALL: &[(&str, &str)] = &[("SEGMENTS__PAGE_CUSTOMERS", "10")];

/// Each may ask about those before it.
const RULES: &[(&str, &str)] = &[
    ("a", "customer_tags CONTAINS 'x' AND customer_type = 'individual'"),
    ("b", "NOT IN SEGMENT 'a' OR customer_tags CONTAINS 'y'"),
    ("c", "customer_added_date > -2d AND customer_tags CONTAINS 'x'"),
    // Rows decide about it, and nobody asks about it: the short way.
    ("d", "customer_tags CONTAINS 'y' AND customer_type = 'individual'"),
];

/// What they are changed to.
const CHANGED: &[&str] = &["customer_tags CONTAINS 'y'", "customer_type = 'business'"];

/// As many customers, of whom some bear tags.
async fn people(shop: &Shop, node: &Node, count: usize) -> Vec<String> {
    let mut made = Vec::new();
    for chunk in (0..count).collect::<Vec<_>>().chunks(16) {
        let new = chunk.iter().map(|n| {
            let tags: Vec<&str> = [("x", n % 2 == 0), ("y", n % 3 == 0)]
                .iter()
                .filter(|(_, is)| *is)
                .map(|(tag, _)| *tag)
                .collect();
            customer(shop, node, json!({ "tags": tags }))
        });
        made.extend(futures_util::future::join_all(new).await);
    }
    made
}

/// One random change of one of them. What a killed node did not answer may have been done or not.
async fn some_change(base: String, key: String, id: String, dice: u64) {
    let api = crate::harness::Api::new(base);
    let path = format!("/v1/admin/customers/{id}");
    let call = match dice % 7 {
        0 | 1 => api.post(&format!("{path}/tags"), json!({ "tag": "x" })),
        2 => api.delete(&format!("{path}/tags/x")),
        3 => api.post(&format!("{path}/tags"), json!({ "tag": "y" })),
        4 => api.delete(&format!("{path}/tags/y")),
        5 => api.patch(
            &path,
            json!({ "customer_type": if dice.is_multiple_of(2) { "business" } else { "individual" } }),
        ),
        _ if dice.is_multiple_of(13) => api.delete(&path),
        _ => api.patch(&path, json!({ "customer_type": "individual" })),
    };
    drop(call.bearer(&key).try_send().await);
}

/// A number after another, as random as it needs to be.
fn next(dice: &mut u64) -> u64 {
    *dice ^= *dice << 13;
    *dice ^= *dice >> 7;
    *dice ^= *dice << 17;
    *dice
}

/// Changes some of them, eight at a time, until told to stop.
fn stir(shop: &Shop, node: &Node, people: &[String], mut dice: u64) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..8 {
        let (base, key, people) = (node.base().to_owned(), shop.staff_key.clone(), people.to_vec());
        let mut dice = next(&mut dice);
        all.spawn(async move {
            loop {
                let id = people[(next(&mut dice) as usize) % people.len()].clone();
                some_change(base.clone(), key.clone(), id, next(&mut dice)).await;
            }
        });
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_changes_during_a_walk_are_not_lost() {
    let shop = Shop::configured(SMALL).await;
    let (node, other) = tokio::join!(shop.node(), shop.node());
    let people = people(&shop, &node, 300).await;
    let seed = SystemClock.now().timestamp_nanos_opt().unwrap() as u64 | 1;
    println!("seed {seed}");
    let mut stirred = stir(&shop, &other, &people, seed);
    for (code, definition) in RULES {
        rule(&shop, &node, code, definition).await;
    }
    settled(&shop).await;
    // A walk begins while the one before it is under way, and they ask about each other.
    let mut rules = RULES.to_vec();
    for definition in [CHANGED[0], CHANGED[1], RULES[0].1] {
        change(&shop, &node, "a", json!({ "definition": definition })).await.expect(200);
        tokio::time::sleep(Duration::from_millis(150)).await;
        rules[0].1 = definition;
    }
    for definition in [CHANGED[1], RULES[3].1, CHANGED[0]] {
        change(&shop, &node, "d", json!({ "definition": definition })).await.expect(200);
        settled(&shop).await;
        rules[3].1 = definition;
    }
    for code in ["c", "d"] {
        change(&shop, &other, code, json!({ "active": false })).await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
        change(&shop, &other, code, json!({ "active": true })).await.expect(200);
    }
    settled(&shop).await;
    stirred.shutdown().await;
    quiet(&shop).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    quiet(&shop).await;
    holds(&shop, &rules).await;
    let build = show(&shop, &node, "a").await["build"].clone();
    assert!(build["looked_at"].as_i64().unwrap() >= 200, "{build}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_who_changes_while_a_page_waits_for_its_lock_is_judged_as_it_is_then() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    for (code, definition, askers) in [
        // Both ways: by a condition over rows, and by facts, because somebody asks about it.
        ("rows", "customer_tags CONTAINS 'y'", false),
        ("facts", "customer_tags CONTAINS 'y'", true),
    ] {
        let [stays, turns, joins] = [json!([]), json!(["y"]), json!([])]
            .map(|tags| customer(&shop, &node, json!({ "tags": tags })));
        let (stays, turns, joins) = (stays.await, turns.await, joins.await);
        quiet(&shop).await;
        rule(&shop, &node, code, "customer_tags CONTAINS 'nobody'").await;
        if askers {
            rule(&shop, &node, "asks", &format!("IN SEGMENT '{code}'")).await;
        }
        settled(&shop).await;
        // Somebody else has them locked, and changes them, when the page has found who differs.
        let other = shop.database.client().await;
        other
            .batch_execute(&format!(
                "BEGIN; UPDATE customers SET tags = '{{}}' WHERE id = '{turns}';
                 UPDATE customers SET tags = '{{y}}' WHERE id = '{joins}'"
            ))
            .await
            .unwrap();
        change(&shop, &node, code, json!({ "definition": definition })).await.expect(200);
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND datname = current_database()";
        eventually("the page waits for a lock", Duration::from_secs(10), async || {
            (shop.database.count(waits).await > 0).then_some(())
        })
        .await;
        other.batch_execute("COMMIT").await.unwrap();
        settled(&shop).await;
        let members = format!(
            "SELECT count(*) FROM segment_members AS m JOIN segments AS s ON s.id = m.segment_id \
             WHERE s.code = '{code}' AND customer_id IN ('{stays}', '{turns}')"
        );
        assert_eq!(shop.database.count(&members).await, 0, "{code}");
        for id in [stays, turns, joins] {
            let gone = node.delete(&format!("/v1/admin/customers/{id}")).bearer(&shop.staff_key);
            gone.send().await.expect(204);
        }
    }
}

/// A process of the service, without waiting until it is ready: it may not live so long.
struct Doomed(Child);

impl Doomed {
    fn new(shop: &Shop, points: &str) -> Self {
        let bind = "127.0.0.1:0";
        let mut command =
            shop.command(&[("HTTP__BIND", bind), ("HTTP__PUBLIC_URL", "http://localhost")]);
        let (out, err) = (Stdio::null(), Stdio::null());
        Self(
            command.env("FAILPOINTS", points).arg("serve").stdout(out).stderr(err).spawn().unwrap(),
        )
    }

    /// Whether it ended by itself within this time.
    async fn ends(&mut self, limit: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < limit {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Changes a tag of somebody while no node is there.
async fn retag(door: &Inside, id: &str, add: bool) {
    let tag = Label::parse("x").unwrap();
    let command = match add {
        true => TagCommand::Add { tag },
        false => TagCommand::Remove { tag, if_match: None },
    };
    let context = Context {
        actor: Actor::Staff("key".to_owned()),
        now: SystemClock.now(),
        request_id: unique("tag"),
        traceparent: None,
    };
    let subject = Subject::Customer(CustomerId(id.parse().unwrap()));
    let submission =
        Submission { subject, command: Command::Tag(command), context, idempotency: None };
    door.customers().submit(submission).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_a_walk_goes_on_after_a_kill_at_any_page_and_doubles_nothing() {
    let shop = Shop::configured(SMALL).await;
    let mut node = shop.node().await;
    let people = people(&shop, &node, 120).await;
    for (code, definition) in RULES {
        rule(&shop, &node, code, definition).await;
    }
    quiet(&shop).await;
    let door = Inside::open(&shop.database, 16).await;
    let open = "SELECT count(*) FROM segment_builds WHERE finished_at IS NULL";
    let points =
        ["segments.page_read", "segments.page_written", "segments.page_done", "segments.judged"];
    for (round, point) in points.into_iter().enumerate() {
        let mut rules = RULES.to_vec();
        if round % 2 == 0 {
            (rules[0].1, rules[3].1) = (CHANGED[0], CHANGED[1]);
        }
        for rule in [rules[0], rules[3]] {
            change(&shop, &node, rule.0, json!({ "definition": rule.1 })).await.expect(200);
        }
        // Before its first page is done, or after: both are as good.
        node.kill9();
        let mut kills = 0;
        for after in [0, 1, 3, 5] {
            for n in 0..6 {
                retag(
                    &door,
                    &people[(round * 20 + after * 7 + n) % people.len()],
                    (n + after) % 2 == 0,
                )
                .await;
            }
            let action =
                if after == 0 { "return".to_owned() } else { format!("{after}*off->return") };
            let mut doomed = Doomed::new(&shop, &format!("{point}={action}"));
            kills += usize::from(doomed.ends(Duration::from_secs(6)).await);
            if point != "segments.judged" && shop.database.count(open).await == 0 {
                break;
            }
        }
        assert!(kills >= 2, "{point}: killed {kills} times");
        node = shop.node().await;
        quiet(&shop).await;
        holds(&shop, &rules).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_a_walk_tells_how_far_it_is_and_changes_only_what_differs() {
    let shop = Shop::configured(SMALL).await;
    let node = shop.node().await;
    people(&shop, &node, 60).await;
    rule(&shop, &node, "x", "customer_tags CONTAINS 'x'").await;
    settled(&shop).await;
    let build = show(&shop, &node, "x").await["build"].clone();
    assert_eq!(
        (&build["looked_at"], &build["joined"], &build["left"]),
        (&json!(60), &json!(30), &json!(0))
    );
    change(
        &shop,
        &node,
        "x",
        json!({ "definition": "customer_tags CONTAINS 'x' AND customer_tags CONTAINS 'y'" }),
    )
    .await
    .expect(200);
    settled(&shop).await;
    let build = show(&shop, &node, "x").await["build"].clone();
    assert_eq!(
        (&build["looked_at"], &build["joined"], &build["left"]),
        (&json!(60), &json!(0), &json!(20))
    );
    assert_eq!(show(&shop, &node, "x").await["members"], 10);
    // Who stayed was told nothing.
    let told = "SELECT count(*) FROM outbox_events WHERE kind LIKE 'segment.assigned' OR kind LIKE 'segment.removed'";
    assert_eq!(shop.database.count(told).await, 50);
    eventually("cursors are passed", Duration::from_secs(10), async || {
        let behind = "SELECT count(*) FROM segment_cursors AS s JOIN outbox_cursors AS c ON c.relay_group = s.shard_group \
                      WHERE s.positions <> c.positions";
        (shop.database.count(behind).await == 0).then_some(())
    })
    .await;
}
