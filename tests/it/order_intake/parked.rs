//! Facts that came before their customer: they wait, and are recorded when it is there, or given up
//! in time.

use std::time::{Duration, Instant};

use customer_service::clock::{Clock, SystemClock};
use serde_json::Value;

use super::{PATIENCE, customer, customer_of, is_kept, kept, recorded};
use crate::harness::orders::fact;
use crate::harness::{OrderService, Shop, eventually};
use crate::merge::{made, merge};

async fn parked(shop: &Shop) -> i64 {
    shop.database.count("SELECT count(*) FROM parked_order_facts").await
}

async fn wait_for_parked(shop: &Shop, count: i64) {
    eventually(&format!("{count} parked"), PATIENCE, async || {
        (parked(shop).await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_fact_waits_for_its_customer_and_holds_up_nobody() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let (known, id) = (customer(&shop).await, SystemClock.new_id());
    let late = id.to_string();
    // The last one twice: it is one message.
    let facts: Vec<Value> = [("P1", 1), ("P1", 2), ("P2", 1), ("P2", 1)]
        .map(|(o, v)| fact(o, &late, v, "placed"))
        .into();
    for one in &facts {
        orders.tell(one).await;
    }
    recorded(&shop, &orders, &fact("K", &known, 1, "placed")).await;
    wait_for_parked(&shop, 3).await;
    super::drained(&orders).await;
    // Tried, and tried again ever less often.
    eventually("it was tried", PATIENCE, async || {
        let tries = "SELECT min(tries) FROM parked_order_facts WHERE next_try_at > now()";
        shop.database.one(tries).await.parse::<i64>().ok().filter(|tries| *tries >= 3)
    })
    .await;
    assert_eq!(kept(&shop, "P1").await, "");
    eventually("what waits is counted", PATIENCE, async || {
        let waits = node.metric_where("order_facts_parked", "\"unknown_customer\"").await;
        (waits == 3.0).then_some(())
    })
    .await;
    customer_of(&shop, id).await;
    is_kept(&shop, &facts[1]).await;
    is_kept(&shop, &facts[2]).await;
    wait_for_parked(&shop, 0).await;
    assert_eq!(orders.dead().await, []);
    assert_eq!(node.metric_where("order_facts_total", "\"parked\"").await, 4.0);
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_fact_whose_customer_never_comes_is_a_dead_letter() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[("ORDERS__INTAKE__GIVE_UP_AFTER_SECONDS", "2")]).await;
    let _node = shop.node().await;
    let nobody = SystemClock.new_id().to_string();
    let lost = fact("LOST", &nobody, 1, "placed");
    orders.tell(&lost).await;
    let dead = orders.dead_letters(1).await;
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "unknown_customer"));
    assert_eq!(dead[0].body, lost.to_string().into_bytes());
    assert!((1..=4).contains(&dead[0].tries), "{}", dead[0].tries);
    assert!(!dead[0].detail.contains(&nobody));
    wait_for_parked(&shop, 0).await;
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_a_fact_follows_its_customer_and_one_of_somebody_gone_is_counted() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let node = shop.node().await;
    let ids = [made(&shop, &node).await, made(&shop, &node).await, made(&shop, &node).await];
    let [first, second, third] = &ids;
    recorded(&shop, &orders, &fact("M1", first, 1, "placed")).await;
    merge(&shop, &node, first, second).await.expect(200);
    merge(&shop, &node, second, third).await.expect(200);
    // The order service still calls them by their first name.
    orders.tell(&fact("M1", first, 2, "completed")).await;
    orders.tell(&fact("M2", first, 1, "placed")).await;
    is_kept(&shop, &fact("M1", third, 2, "completed")).await;
    is_kept(&shop, &fact("M2", third, 1, "placed")).await;

    let gone = made(&shop, &node).await;
    let deletion = node.delete(&format!("/v1/admin/customers/{gone}")).bearer(&shop.staff_key);
    assert!(deletion.send().await.status < 300);
    orders.tell(&fact("G", &gone, 1, "placed")).await;
    eventually("it is counted", PATIENCE, async || {
        let counted = node.metric_where("order_facts_total", "\"customer_gone\"").await;
        (counted == 1.0).then_some(())
    })
    .await;
    assert_eq!((kept(&shop, "G").await, parked(&shop).await), (String::new(), 0));
    assert_eq!(orders.dead().await, []);
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_with_a_parked_fact_gives_it_back() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[]).await;
    let id = SystemClock.new_id();
    // Whoever records this one dies, as soon as it is tried again.
    let killer = [("FAILPOINTS", "order_intake.parked.KILLER=return")];
    let mut node = shop.node_with(&killer).await;
    for order in ["KILLER", "BESIDE"] {
        orders.tell(&fact(order, &id.to_string(), 1, "placed")).await;
    }
    node.ended(PATIENCE).await;
    customer_of(&shop, id).await;
    // The lease is over, as it would be in two minutes.
    shop.database.execute("UPDATE parked_order_facts SET next_try_at = now()").await;
    let _next = shop.node().await;
    for order in ["KILLER", "BESIDE"] {
        is_kept(&shop, &fact(order, &id.to_string(), 1, "placed")).await;
    }
    wait_for_parked(&shop, 0).await;
    assert_eq!(orders.dead().await, []);
    orders.close().await;
}

/// The database refuses this one order, whatever is tried, and takes all others.
const REFUSE: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
    IF NEW.order_id = 'BAD' THEN RAISE EXCEPTION 'made by a test'; END IF; RETURN NEW; END $$; \
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON order_facts FOR EACH ROW EXECUTE FUNCTION refuse()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_a_parked_fact_that_always_fails_rests_ever_longer_and_is_given_up_in_time() {
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[("ORDERS__INTAKE__GIVE_UP_AFTER_SECONDS", "20")]).await;
    let node = shop.node().await;
    shop.database.execute(REFUSE).await;
    let id = SystemClock.new_id();
    for order in ["BAD", "GOOD"] {
        orders.tell(&fact(order, &id.to_string(), 1, "placed")).await;
    }
    wait_for_parked(&shop, 2).await;
    customer_of(&shop, id).await;
    is_kept(&shop, &fact("GOOD", &id.to_string(), 1, "placed")).await;
    // Its rests, each cut short once it was seen.
    let tried = "SELECT coalesce(max(tries), 0) FROM order_fact_attempts";
    let rest = "SELECT coalesce(extract(epoch FROM next_try_at - now()), 0)::bigint \
        FROM parked_order_facts WHERE unended = 0";
    let hurry = "UPDATE parked_order_facts SET next_try_at = now() WHERE unended = 0 \
        AND next_try_at > now()";
    let given_up = "SELECT count(*) FROM parked_order_facts WHERE reason = 'poison'";
    let (mut rests, mut seen, began) = (Vec::new(), 0, Instant::now());
    while shop.database.count(given_up).await == 0 {
        assert!(began.elapsed() < PATIENCE, "it is not given up: {rests:?}");
        let misses = shop.database.count(tried).await;
        if misses > seen
            && let Ok(seconds) = shop.database.one(rest).await.parse::<i64>()
        {
            seen = misses;
            rests.push((misses, seconds));
            shop.database.execute(hurry).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let dead = orders.dead_letters(1).await;
    assert_eq!((dead.len(), dead[0].reason.as_str()), (1, "poison"));
    // From the fourth on they double: 8, 16, 32 s …
    let long = rests.iter().filter(|(misses, _)| *misses >= 4);
    assert!(long.clone().count() > 0, "{rests:?}");
    for (misses, seconds) in long {
        let most = 1 << (misses - 1).min(10);
        assert!((most / 2..=most).contains(seconds), "{rests:?}");
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM order_fact_attempts").await, 0);
    assert_eq!(node.metric("actor_panics_total").await, 0.0);
    // What kept it from being recorded is mended, and staff has it tried once more.
    shop.database.execute("DROP TRIGGER refuse ON order_facts").await;
    let parked = shop.database.one("SELECT id FROM parked_order_facts").await;
    let path = format!("/v1/admin/orders/parked/{parked}/retry");
    assert!(node.post(&path, Value::Null).bearer(&shop.staff_key).send().await.status < 300);
    is_kept(&shop, &fact("BAD", &id.to_string(), 1, "placed")).await;
    wait_for_parked(&shop, 0).await;
    orders.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_no_more_facts_wait_than_may_and_the_oldest_make_room() {
    const MOST: usize = 100;
    let orders = OrderService::shared();
    let shop = Shop::hearing(&orders, &[("ORDERS__INTAKE__PARKED_MAX", "100")]).await;
    let node = shop.node().await;
    let ids: Vec<_> = (0..MOST + 40).map(|_| SystemClock.new_id()).collect();
    let facts: Vec<Value> = ids
        .iter()
        .enumerate()
        .map(|(n, id)| fact(&format!("W{n}"), &id.to_string(), 1, "placed"))
        .collect();
    orders.tell_all(&facts[..MOST]).await;
    wait_for_parked(&shop, MOST as i64).await;
    orders.tell_all(&facts[MOST..]).await;
    let dead = orders.dead_letters(40).await;
    wait_for_parked(&shop, MOST as i64).await;
    let early: Vec<Vec<u8>> =
        facts[..MOST].iter().map(|fact| fact.to_string().into_bytes()).collect();
    for one in &dead {
        assert_eq!(one.reason, "unknown_customer");
        assert!(one.detail.contains("too many"), "{}", one.detail);
        assert!(early.contains(&one.body) && one.tries >= 1, "one that came late was given up");
    }
    assert_eq!(orders.dead().await, [], "nobody was given up without need");
    // The intake goes on, and who waits is heard.
    let known = customer(&shop).await;
    recorded(&shop, &orders, &fact("K", &known, 1, "placed")).await;
    customer_of(&shop, ids[MOST + 39]).await;
    is_kept(&shop, &facts[MOST + 39]).await;
    wait_for_parked(&shop, MOST as i64 - 1).await;
    // What others brought beyond the most goes with the next count.
    shop.database
        .execute(
            "INSERT INTO parked_order_facts (id, digest, reason, routing_key, body, tries, first_seen_at, \
             next_try_at) SELECT gen_random_uuid(), sha256(n::text::bytea), 'unknown_customer', \
             'order.placed', '{}', 1, now() - interval '1 hour', now() + interval '1 hour' \
             FROM generate_series(1, 21) AS n",
        )
        .await;
    assert_eq!(orders.dead_letters(20).await.len(), 20);
    wait_for_parked(&shop, MOST as i64).await;
    assert_eq!(node.metric("actor_panics_total").await, 0.0);
    orders.close().await;
}
