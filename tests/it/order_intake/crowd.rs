//! Facts by the thousand, each delivered three times, shuffled, to two nodes that are killed, through
//! a broker that is restarted (F17): the statistics are those of the facts, as a test computes them.
//!
//! `ORDER_FACTS` says how many; `make order-facts` takes 20 000.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use customer_service::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::drained;
use crate::harness::servers::PrivateServer;
use crate::harness::{OrderService, Shop, eventually};

const CUSTOMERS: usize = 300;
/// On two busy cores, a thousand facts three times.
const TIME_EACH_THOUSAND: Duration = Duration::from_secs(30);

fn facts_wanted() -> usize {
    std::env::var("ORDER_FACTS").ok().map_or(2_000, |text| text.parse().expect("a number"))
}

/// The same numbers each time (SplitMix64: Steele, Lea, Flood, 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// Up to four versions of each order: it is re-dated, costs less, is refunded beyond its total, is
/// cancelled and comes back.
fn made_up(dice: &mut Dice, customers: &[String], count: usize) -> Vec<Value> {
    let mut facts = Vec::with_capacity(count);
    let mut order = 0;
    while facts.len() < count {
        order += 1;
        let customer = &customers[dice.below(customers.len())];
        let currency = ["EUR", "EUR", "EUR", "USD", "VND"][dice.below(5)];
        for version in 1..=1 + dice.below(4) {
            let status = ["placed", "completed", "cancelled", "refunded"][dice.below(4)];
            let day = 1 + dice.below(28);
            let (total, refunded) = (dice.below(100_000), dice.below(120_000));
            let refunded = if dice.below(3) == 0 { refunded } else { 0 };
            facts.push(json!({
                "order_id": format!("C-{order}"),
                "customer_id": customer,
                "version": version,
                "status": status,
                "placed_at": format!("2026-02-{day:02}T10:{:02}:00Z", dice.below(60)),
                "total": { "amount": total, "currency": currency },
                "refunded": { "amount": refunded, "currency": currency },
                "items": (0..=dice.below(3)).map(|n| json!({ "sku": format!("S-{n}"), "quantity": n + 1 }))
                    .collect::<Vec<_>>(),
            }));
        }
    }
    facts.truncate(count);
    facts
}

/// Placed, completed, cancelled, refunded, spent, paid back; and when what counts was placed.
type Sums<'a> = ([i64; 6], Vec<&'a str>);

/// The statistics from scratch, a line a customer and currency: by the last version of each order.
fn expected(facts: &[Value]) -> Vec<String> {
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for fact in facts {
        let kept = last.entry(fact["order_id"].as_str().unwrap()).or_insert(fact);
        if fact["version"].as_i64() > kept["version"].as_i64() {
            *kept = fact;
        }
    }
    let mut lines: BTreeMap<(String, String), Sums> = BTreeMap::new();
    for fact in last.values() {
        let text = |pointer: &str| fact.pointer(pointer).unwrap().as_str().unwrap();
        let key = (text("/customer_id").to_owned(), text("/total/currency").to_owned());
        let (sums, dates) = lines.entry(key).or_default();
        let place = ["placed", "completed", "cancelled", "refunded"];
        sums[place.iter().position(|status| *status == text("/status")).unwrap()] += 1;
        if text("/status") == "cancelled" {
            continue;
        }
        let total = fact["total"]["amount"].as_i64().unwrap();
        let refunded = fact["refunded"]["amount"].as_i64().unwrap();
        sums[4] += (total - refunded).max(0);
        sums[5] += refunded.min(total);
        dates.push(text("/placed_at"));
    }
    let line = |((customer, currency), (sums, mut dates)): (_, Sums)| {
        dates.sort();
        let date = |date: Option<&&str>| date.map_or("-".to_owned(), |d| d[..16].replace('T', " "));
        let sums = sums.map(|sum| sum.to_string()).join(" ");
        format!("{customer} {currency} {sums} {} {}", date(dates.first()), date(dates.last()))
    };
    let both = |(key, value): ((String, String), _)| line((key, value));
    lines.into_iter().map(both).collect()
}

const STATISTICS: &str = "SELECT concat_ws(' ', customer_id, currency, placed, completed, cancelled, \
    refunded, spent_amount, refunded_amount, coalesce(to_char(first_order_at, 'YYYY-MM-DD HH24:MI'), '-'), \
    coalesce(to_char(last_order_at, 'YYYY-MM-DD HH24:MI'), '-')) \
    FROM order_statistics ORDER BY customer_id, currency";

async fn customers(shop: &Shop) -> Vec<String> {
    let ids: Vec<String> = (0..CUSTOMERS).map(|_| SystemClock.new_id().to_string()).collect();
    let mut sql = String::from(
        "INSERT INTO customers (id, email, email_canonical, first_name, last_name, customer_type, \
         group_code, status, accepts_marketing, created_at, updated_at, version, sequence) VALUES ",
    );
    for (n, id) in ids.iter().enumerate() {
        let comma = if n == 0 { "" } else { ", " };
        write!(
            sql,
            "{comma}('{id}', '{id}@shop.example', '{id}@shop.example', 'Lan', 'Nguyễn', \
             'individual', 'individual', 'pending', false, now(), now(), 1, 0)"
        )
        .unwrap();
    }
    shop.database.execute(&sql).await;
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o1_thousands_of_facts_thrice_and_shuffled_come_to_the_right_statistics_through_kills() {
    let rabbit = PrivateServer::start("rabbitmq");
    let orders = Arc::new(OrderService::new(&rabbit.url));
    let shop = Shop::hearing(&orders, &[]).await;
    let customers = customers(&shop).await;
    let mut dice = Dice(20_000);
    let facts = made_up(&mut dice, &customers, facts_wanted());
    let expected = expected(&facts);
    let mut deliveries: Vec<Value> =
        facts.iter().flat_map(|fact| [fact, fact, fact]).cloned().collect();
    for place in (1..deliveries.len()).rev() {
        deliveries.swap(place, dice.below(place + 1));
    }
    let mut nodes = [shop.node().await, shop.node().await];
    let total = deliveries.len();
    let (began, limit) = (Instant::now(), TIME_EACH_THOUSAND * (total as u32 / 3_000 + 2));
    let telling = tokio::spawn({
        let orders = orders.clone();
        async move { orders.tell_all(&deliveries).await }
    });
    let kept = || shop.database.count("SELECT count(*) FROM order_facts");
    let orders_total = facts
        .iter()
        .map(|fact| fact["order_id"].to_string())
        .collect::<std::collections::BTreeSet<_>>()
        .len();
    // Kills at rising shares of the orders, and the broker's in the middle.
    for (kill, share) in [10, 25, 40, 55, 70, 85].into_iter().enumerate() {
        let enough = i64::try_from(orders_total * share / 100).unwrap();
        eventually("facts come in", limit, async || (kept().await >= enough).then_some(())).await;
        let victim = kill % 2;
        nodes[victim].kill9();
        if share == 55 {
            rabbit.stop("KILL").await;
            tokio::task::block_in_place(|| rabbit.start_again());
        }
        nodes[victim] = shop.node().await;
    }
    telling.await.unwrap();
    println!("{total} deliveries were told after {:?}", began.elapsed());
    eventually("the statistics are right", limit, async || {
        (shop.database.column(STATISTICS).await == expected).then_some(())
    })
    .await;
    // The last ones may be known versions, which change nothing.
    eventually("nobody holds anything", limit, async || {
        let waiting = orders.waiting(&orders.queue()).await?;
        let mut held = 0.0;
        for node in &nodes {
            held += node.metric("order_facts_held").await;
        }
        (waiting == 0 && held == 0.0).then_some(())
    })
    .await;
    for node in &mut nodes {
        node.sigterm();
        assert!(node.ended(Duration::from_secs(30)).await.success());
    }
    drained(&orders).await;
    println!("{total} deliveries of {} facts in {:?}", facts.len(), began.elapsed());
    assert_eq!(shop.database.column(STATISTICS).await, expected, "and stay so");
    assert_eq!(orders.dead().await, [], "no innocent message is a dead letter");
    for table in ["parked_order_facts", "order_fact_attempts"] {
        assert_eq!(shop.database.count(&format!("SELECT count(*) FROM {table}")).await, 0);
    }
    // No version of an order was recorded twice.
    let twice = "SELECT count(*) - count(DISTINCT (data->>'order_id', data->>'version')) \
                 FROM audit_entries WHERE action = 'order.recorded'";
    assert_eq!(shop.database.count(twice).await, 0);
}
