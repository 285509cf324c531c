//! Callers who stop asking: the future of a write is dropped after so many steps.
//!
//! Every change of a customer goes through one door, `Customers::submit`; what holds for one command
//! there holds for all.

use std::time::{Duration, Instant};

use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::order::OrderFact;
use futures_util::FutureExt;
use tokio::task::yield_now;

use crate::ground::Ground;
use crate::harness::db::insert_customer;
use crate::harness::inside::Inside;
use crate::harness::orders::fact;
use crate::report::Report;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F22",
    fault: "the future of a write dropped after k polls, k = 1 to 200",
    criterion: "nothing half applied, the next use of the pool clean",
    play: played!(dropped),
    short: true,
}];

async fn dropped(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[]).await;
    let inside = Inside::open(&shop.database, 64).await;
    let client = shop.database.client().await;
    let (mut open, mut news, mut refused) = (0, 0, 0);
    let customer = SystemClock.new_id();
    insert_customer(&client, customer, "dropped@shop.example").await;
    let polls = 200_i64;
    for k in 1..=polls {
        let fact = fact(&format!("D-{k}"), &customer.to_string(), 1, "placed");
        let fact = OrderFact::parse(fact.to_string().as_bytes()).unwrap();
        {
            let mut writing = Box::pin(inside.record(fact.clone()));
            let mut ready = false;
            for _ in 0..k {
                ready |= (&mut writing).now_or_never().is_some();
                if ready {
                    break;
                }
                // So that the last k outlive a whole commit, in even steps.
                let polled = Instant::now();
                while polled.elapsed() < Duration::from_micros(25) {
                    yield_now().await;
                }
            }
            open += i64::from(!ready);
        }
        match inside.record(fact).await {
            Ok(new) => news += i64::from(new),
            Err(_) => refused += 1,
        }
    }
    let count = async |sql: &str| shop.database.count(sql).await;
    let facts = count("SELECT count(*) FROM order_facts").await;
    let told = count("SELECT count(*) FROM outbox_events WHERE kind = 'statistics.updated'").await;
    let orders = count("SELECT sum(placed)::bigint FROM order_statistics").await;
    report.must(
        refused == 0,
        format!("{polls} futures, {open} dropped in the middle, {refused} repetitions refused"),
    );
    report.must(
        (facts, told, orders) == (polls, polls, polls),
        format!("{facts} facts, {told} messages, {orders} orders counted; {news} came to be by the repetition"),
    );
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND state LIKE 'idle in transaction%'";
    let idle = count(idle).await;
    report.must(idle == 0, format!("open transactions {idle}"));
}
