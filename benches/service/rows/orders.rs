//! Row i: facts of orders. How many a second get from the queue into committed statistics, beside
//! pgbench writing the same with the same statements, one transaction each, in turns; and, at a steady
//! 200 facts a second, how soon `statistics.updated` is with its consumer: from the moment the fact was
//! decided, which holds saving and committing, so it is an upper bound of commit → consumer.

use super::Bench;
use crate::broker;
use crate::database::{CUSTOMERS, id_of};
use crate::order_script;
use crate::setup::customers_of_pgbench;
use crate::stats::{Row, Target, median, spread};
use anyhow::{Context, Result, ensure};
use customer_service::clock::{Clock, SystemClock};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::json;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

const EXCHANGE: &str = "customer-bench.orders";
const QUEUE: &str = "customer-bench.order-facts";
const DEAD: &str = "customer-bench.dead-letters";

/// Facts of one round.
const FACTS: usize = 20_000;
const FACTS_QUICK: usize = 4_000;
/// Left out at the beginning of a round: the first batches plan their statements.
const WARM_UP_SHARE: f64 = 0.1;
const ROUND_MAX: Duration = Duration::from_secs(120);
const PGBENCH_CLIENTS: [usize; 3] = [8, 16, 32];
const PGBENCH_SECONDS: u64 = 4;
const FACTS_PER_SECOND: f64 = 200.0;
const STEADY_SECONDS: u64 = 20;
const STEADY_WARM_UP: usize = 400;
/// Publishes that wait for their confirmation together.
const WINDOW: usize = 500;

/// The order service's side.
struct Orders {
    _connection: Connection,
    channel: Channel,
}

impl Orders {
    async fn open() -> Result<Self> {
        let url = std::env::var("BENCH_AMQP_URL").context("BENCH_AMQP_URL")?;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self { _connection: connection, channel })
    }

    /// Order number `number` of the run: of some customer, with two items.
    async fn publish(&self, number: usize) -> Result<lapin::PublisherConfirm> {
        // A stride without a common factor: neighbours are of different shards and pages.
        let customer = id_of((number * 797) as u32 % CUSTOMERS);
        let body = json!({
            "order_id": format!("B-{number}"), "customer_id": customer, "version": 1,
            "status": "placed", "placed_at": "2026-03-07T10:00:00Z",
            "total": { "amount": 1_000, "currency": "EUR" },
            "items": [{ "sku": "LAMP-1", "quantity": 1 }, { "sku": "LAMP-2", "quantity": 2 }],
        });
        let properties = BasicProperties::default().with_delivery_mode(2);
        let (exchange, key) = (EXCHANGE.into(), "order.placed".into());
        let body = body.to_string();
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(exchange, key, options, body.as_bytes(), properties);
        Ok(sent.await?)
    }

    async fn fill(&self, from: usize, count: usize) -> Result<()> {
        let mut waiting = Vec::with_capacity(WINDOW);
        for number in from..from + count {
            waiting.push(self.publish(number).await?);
            if waiting.len() == WINDOW {
                for confirm in waiting.drain(..) {
                    confirm.await?;
                }
            }
        }
        for confirm in waiting {
            confirm.await?;
        }
        Ok(())
    }

    async fn clean(&self) -> Result<()> {
        for queue in [QUEUE, DEAD] {
            self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        for exchange in [EXCHANGE, DEAD] {
            self.channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        Ok(())
    }
}

/// The intake of this row, with names of its own.
fn settings() -> Vec<(&'static str, String)> {
    [
        ("CUSTOMER_SERVICE__ORDERS__INTAKE__ENABLED", "on"),
        ("CUSTOMER_SERVICE__ORDERS__INTAKE__EXCHANGE", EXCHANGE),
        ("CUSTOMER_SERVICE__ORDERS__INTAKE__QUEUE", QUEUE),
        ("CUSTOMER_SERVICE__ORDERS__INTAKE__DEAD_LETTER_EXCHANGE", DEAD),
        ("CUSTOMER_SERVICE__ORDERS__INTAKE__DEAD_LETTER_QUEUE", DEAD),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\ni: facts of orders");
    if bench.broker.is_none() {
        println!("  left out: no broker");
        return Ok(Vec::new());
    }
    // Declares the queue.
    bench.serve(&settings()).await?.stop().await?;
    let orders = Orders::open().await?;
    let outcome = measure_with(bench, &orders).await;
    orders.clean().await?;
    outcome
}

async fn measure_with(bench: &Bench, orders: &Orders) -> Result<Vec<Row>> {
    let script = order_script::script(&customers_of_pgbench())?;
    let pgbench = bench.pgbench.with("order", &script)?;
    let facts = if bench.quick { FACTS_QUICK } else { FACTS };
    let (mut ours, mut theirs, mut best) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.rounds() {
        let rate = round_of(bench, orders, round * facts, facts).await?;
        println!("  intake   {rate:>7.0} facts/s");
        ours.push(rate);
        let mut rates = Vec::new();
        for clients in PGBENCH_CLIENTS {
            forget_orders(bench).await?;
            let run = pgbench.run(&bench.server, clients, bench.seconds(PGBENCH_SECONDS))?;
            rates.push(run.transactions_per_second);
        }
        let fastest = rates.iter().copied().fold(0.0, f64::max);
        println!("  pgbench  {fastest:>7.0} facts/s (the best of {rates:.0?})");
        best.push(fastest);
        theirs.push(rates);
    }
    let ratios: Vec<f64> = ours.iter().zip(&best).map(|(one, other)| one / other).collect();
    println!("  ratio {}", spread(&ratios, 2));
    let mut rows = vec![Row {
        name: "i1",
        what: format!(
            "facts of orders ÷ pgbench ({:.0} and {:.0} facts/s)",
            median(&ours),
            median(&best)
        ),
        figure: median(&ratios),
        unit: "×",
        target: Target::AtLeast(3.0),
        details: json!({
            "facts": facts, "per_second": ours, "ratios": ratios,
            "pgbench": { "clients": PGBENCH_CLIENTS, "per_second": theirs },
        }),
    }];
    rows.extend(steady(bench, orders, bench.rounds() * facts).await?);
    Ok(rows)
}

async fn forget_orders(bench: &Bench) -> Result<()> {
    bench.server.execute("TRUNCATE order_facts, order_items, order_statistics").await?;
    bench.server.reset().await
}

/// Fills the queue, starts a service, and watches it empty the queue. Facts a second, those of the
/// warm-up left out.
async fn round_of(bench: &Bench, orders: &Orders, from: usize, count: usize) -> Result<f64> {
    forget_orders(bench).await?;
    orders.channel.queue_purge(QUEUE.into(), QueuePurgeOptions::default()).await?;
    orders.fill(from, count).await?;
    let running = bench.serve(&settings()).await?;
    let began = Instant::now();
    let warm = (count as f64 * WARM_UP_SHARE) as i64;
    let mut counted_from = None;
    let rate = loop {
        ensure!(began.elapsed() < ROUND_MAX, "the queue is not empty after {ROUND_MAX:?}");
        let kept = bench.server.count("order_facts").await?;
        let now = Instant::now();
        match counted_from {
            None if kept >= warm => counted_from = Some((now, kept)),
            Some((since, at)) if kept >= count as i64 => {
                break (kept - at) as f64 / now.duration_since(since).as_secs_f64();
            }
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    running.stop().await?;
    Ok(rate)
}

/// Facts at fixed instants, and their messages at the consumer.
async fn steady(bench: &Bench, orders: &Orders, from: usize) -> Result<Vec<Row>> {
    let Some(queue) = &bench.broker else { return Ok(Vec::new()) };
    forget_orders(bench).await?;
    let running = bench.serve(&settings()).await?;
    let delays: Rc<RefCell<Vec<f64>>> = Rc::default();
    let mut consumer = queue.consumer().await?;
    let consuming = {
        let delays = Rc::clone(&delays);
        tokio::task::spawn_local(async move {
            while let Some(message) = broker::next(&mut consumer).await? {
                let now = SystemClock.now().timestamp_micros() as f64 / 1000.0;
                if message.kind == "statistics.updated" {
                    delays.borrow_mut().extend(message.decided_ms.map(|then| now - then));
                }
            }
            anyhow::Ok(())
        })
    };
    let total = (bench.seconds(STEADY_SECONDS) as f64 * FACTS_PER_SECOND) as usize + STEADY_WARM_UP;
    let begin = Instant::now() + Duration::from_millis(50);
    for at in 0..total {
        let due = begin + Duration::from_secs_f64(at as f64 / FACTS_PER_SECOND);
        tokio::time::sleep_until(due.into()).await;
        // Its confirmation is not waited for: the next one has its own instant.
        drop(orders.publish(from + at).await?);
    }
    let waited = Instant::now();
    while delays.borrow().len() < total && waited.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    queue.cancel().await?;
    consuming.abort();
    running.stop().await?;
    let delays = delays.take();
    ensure!(delays.len() == total, "{total} facts, {} messages", delays.len());
    let mut counted: Vec<f64> = delays.into_iter().skip(STEADY_WARM_UP).collect();
    counted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        counted.get((counted.len() as f64 * share) as usize).copied().unwrap_or_default()
    };
    let details = json!({
        "facts": total, "per_second": FACTS_PER_SECOND,
        "from_decision_ms": { "p50": at(0.5), "p99": at(0.99), "max": counted.last() },
    });
    println!("  {details}");
    Ok([("i2", "p50", 0.5), ("i3", "p99", 0.99)]
        .into_iter()
        .map(|(name, label, share)| Row {
            name,
            what: format!("fact decided to statistics.updated at the consumer, {label}"),
            figure: at(share),
            unit: "ms",
            target: Target::Shown,
            details: details.clone(),
        })
        .collect())
}
