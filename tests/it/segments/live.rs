//! Who changes is judged, alone and at once; and time brings what it brings (rule S2).

use std::time::Duration;

use serde_json::json;

use super::shelf::*;
use crate::harness::{Shop, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_a_change_of_one_changes_the_segments_that_ask_about_it_and_those_that_ask_about_these()
{
    let shop = Shop::new().await;
    let node = shop.node().await;
    let staff = &shop.staff_key;
    rule(&shop, &node, "vip", "customer_tags CONTAINS 'vip'").await;
    rule(&shop, &node, "firms", "IN SEGMENT 'vip' AND customer_type = 'business'").await;
    rule(&shop, &node, "rest", "NOT IN SEGMENT 'firms'").await;
    quiet(&shop).await;
    let one = customer(&shop, &node, json!({ "customer_type": "business" })).await;
    becomes(&shop, "rest", &one, true).await;
    let tags = format!("/v1/admin/customers/{one}/tags");
    node.post(&tags, json!({ "tag": "vip" })).bearer(staff).send().await.expect(200);
    becomes(&shop, "firms", &one, true).await;
    let is = of_customer(&shop, &one).await;
    let both = [("firms", "change"), ("vip", "change")];
    assert_eq!(is, both.map(|(code, cause)| (code.to_owned(), cause.to_owned())).into());
    node.delete(&format!("{tags}/vip")).bearer(staff).send().await.expect(204);
    becomes(&shop, "rest", &one, true).await;
    quiet(&shop).await;
    let told = format!(
        "SELECT kind || ' ' || (data ->> 'segment') FROM outbox_events WHERE customer_id = '{one}' \
         AND kind LIKE 'segment.%' ORDER BY customer_sequence"
    );
    let expected = [
        "segment.assigned rest",
        "segment.assigned vip",
        "segment.assigned firms",
        "segment.removed rest",
        "segment.removed vip",
        "segment.removed firms",
        "segment.assigned rest",
    ];
    assert_eq!(shop.database.column(&told).await, expected);
    let entries = format!(
        "SELECT action FROM audit_entries WHERE customer_id = '{one}' AND action LIKE 'segment.%'"
    );
    assert_eq!(shop.database.column(&entries).await.len(), expected.len());
    // What nobody asks about is not judged.
    let judged = async || node.metric("segment_verdicts_total").await;
    let before = judged().await;
    let name = json!({ "first_name": "Ánh" });
    node.patch(&format!("/v1/admin/customers/{one}"), name).bearer(staff).send().await.expect(200);
    quiet(&shop).await;
    assert_eq!(judged().await, before);
    node.delete(&format!("/v1/admin/customers/{one}")).bearer(staff).send().await.expect(204);
    assert!(of_customer(&shop, &one).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_time_alone_turns_memberships_at_its_instant() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let one = customer(&shop, &node, json!({})).await;
    let aged = format!(
        "UPDATE customers SET created_at = now() - interval '59 minutes 56 seconds' WHERE id = '{one}'"
    );
    shop.database.execute(&aged).await;
    rule(&shop, &node, "fresh", "customer_added_date > -1h").await;
    rule(&shop, &node, "seasoned", "customer_added_date <= -1h").await;
    rule(&shop, &node, "not_fresh", "NOT IN SEGMENT 'fresh'").await;
    settled(&shop).await;
    assert!(members(&shop, "fresh").await.contains(&one), "before its hour is over");
    let due = shop.database.count("SELECT count(*) FROM segment_flips").await;
    assert_eq!(due, 2);
    becomes(&shop, "seasoned", &one, true).await;
    becomes(&shop, "not_fresh", &one, true).await;
    becomes(&shop, "fresh", &one, false).await;
    let late = format!(
        "SELECT extract(epoch FROM o.occurred_at - (c.created_at + interval '1 hour'))::text FROM outbox_events AS o \
         JOIN customers AS c ON c.id = o.customer_id WHERE o.customer_id = '{one}' AND o.data ->> 'cause' = 'time'"
    );
    let late: Vec<f64> =
        shop.database.column(&late).await.iter().map(|late| late.parse().unwrap()).collect();
    assert_eq!(late.len(), 3, "each once, and told by its cause: {late:?}");
    assert!(late.iter().all(|late| (0.0..5.0).contains(late)), "{late:?}");
    assert_eq!(shop.database.count("SELECT count(*) FROM segment_flips").await, 0);
}

/// What is due is found by an index, in order, however many flips there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_what_is_due_is_never_searched_for_among_the_customers() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let made = rule(&shop, &node, "fresh", "customer_added_date > -1h").await;
    settled(&shop).await;
    let one = customer(&shop, &node, json!({})).await;
    becomes(&shop, "fresh", &one, true).await;
    let fill = format!(
        "SET session_replication_role = replica; INSERT INTO segment_flips (customer_id, segment_id, shard, due_at) \
         SELECT gen_random_uuid(), '{}', n % 64, now() + interval '1 day' + n * interval '1 second' \
         FROM generate_series(1, 50000) AS n; ANALYZE segment_flips",
        made["id"].as_str().unwrap()
    );
    shop.database.execute(&fill).await;
    let plan = shop
        .database
        .column(
            "EXPLAIN SELECT f.customer_id FROM unnest(ARRAY[1, 2]::smallint[]) AS s (shard) CROSS JOIN LATERAL \
             (SELECT * FROM segment_flips AS f WHERE f.shard = s.shard AND f.due_at <= now() \
             ORDER BY f.due_at LIMIT 16) AS f",
        )
        .await
        .join("\n");
    assert!(plan.contains("segment_flips_due") && !plan.contains("Sort"), "{plan}");
    let read = "SELECT (seq_tup_read + idx_tup_fetch)::bigint FROM pg_stat_user_tables WHERE relname = 'segment_flips'";
    let counted = async || {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        shop.database.count(read).await
    };
    let before = counted().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(counted().await - before < 1_000, "looking costs nothing while nothing is due");
}

/// Rules that are not in force leave no flips that nobody ever takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_what_a_rule_no_longer_in_force_left_due_is_forgotten() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    rule(&shop, &node, "fresh", "customer_added_date > -1h").await;
    let one = customer(&shop, &node, json!({})).await;
    becomes(&shop, "fresh", &one, true).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM segment_flips").await, 1);
    change(&shop, &node, "fresh", json!({ "definition": "customer_type = 'individual'" }))
        .await
        .expect(200);
    quiet(&shop).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM segment_flips").await, 0);
    assert!(members(&shop, "fresh").await.contains(&one));
}

/// New cut points and what asks about them: everybody is looked at once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_new_cut_points_are_as_a_new_definition() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let one = customer(&shop, &node, json!({})).await;
    crate::orders::heard_in(&shop, &one, "USD").await;
    rule(&shop, &node, "scored", "rfm_group IS NOT NULL").await;
    // Also what the registration and the order owe: who is judged for them after the cut points joins by a change.
    quiet(&shop).await;
    assert!(members(&shop, "scored").await.is_empty());
    shop.database
        .execute(
            "INSERT INTO rfm_cut_points VALUES ('USD', 1, now(), now(), 5, '{1,2,3,4}', '{1,2,3,4}', '{1,2,3,4}')",
        )
        .await;
    becomes(&shop, "scored", &one, true).await;
    assert_eq!(of_customer(&shop, &one).await["scored"], "definition");
    eventually("the walk is over", Duration::from_secs(20), async || {
        let build = show(&shop, &node, "scored").await["build"].clone();
        (!build["finished_at"].is_null()).then_some(())
    })
    .await;
}
