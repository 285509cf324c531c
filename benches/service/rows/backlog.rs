//! Row j: how fast a backlog drains. The outbox is filled with 200,000 messages before the service
//! starts, and the queue tells how fast they come; beside it, in turns, a bare publisher with
//! confirms puts as many of the same messages into the same queue, with as many under way. Both
//! start as processes of their own, both are counted at the queue from the first tenth on.

use super::Bench;
use crate::broker::Broker;
use crate::database::{CUSTOMERS, id_of, shard_of};
use crate::machine;
use crate::publisher::{self, BODY_VERSION, TRACE, body};
use crate::stats::{Row, Target, median, spread};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

const MESSAGES: u32 = 200_000;
const MESSAGES_QUICK: u32 = 20_000;
/// Left out at the beginning of a round: connecting, taking groups over, planning statements.
const WARM_UP_SHARE: f64 = 0.1;
const ROUND_MAX: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Rows of one append.
const CHUNK: u32 = 10_000;

/// One emptied backlog.
struct Drain {
    per_second: f64,
    /// Microseconds of processor time for each message: of the publishing process, of the database.
    own_micros: f64,
    database_micros: f64,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let messages = if bench.quick { MESSAGES_QUICK } else { MESSAGES };
    println!("\nj: a backlog of {messages} messages");
    let Some(queue) = &bench.broker else {
        println!("  left out: no broker");
        return Ok(Vec::new());
    };
    number_customers(bench).await?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..bench.rounds() {
        // In turns, and each first as often as the other: a machine that gets slower favours none.
        for relay in [round % 2 == 0, round % 2 != 0] {
            if relay {
                ours.push(by_relay(bench, queue, messages).await?);
            } else {
                bare.push(by_bare_publisher(bench, queue, messages).await?);
            }
        }
    }
    bench.server.reset().await?;
    queue.purge().await?;
    Ok(judge(messages, &ours, &bare))
}

fn judge(messages: u32, ours: &[Drain], bare: &[Drain]) -> Vec<Row> {
    let each = |of: &[Drain], figure: fn(&Drain) -> f64| of.iter().map(figure).collect::<Vec<_>>();
    let (our_rates, bare_rates) = (each(ours, |d| d.per_second), each(bare, |d| d.per_second));
    let ratios: Vec<f64> = our_rates.iter().zip(&bare_rates).map(|(a, b)| a / b).collect();
    let (our_micros, bare_micros) = (each(ours, |d| d.own_micros), each(bare, |d| d.own_micros));
    let database = each(ours, |d| d.database_micros);
    println!("  relay    {}/s; CPU µs each {}", spread(&our_rates, 0), spread(&our_micros, 1));
    println!("  database CPU µs each {}", spread(&database, 1));
    println!("  bare     {}/s; CPU µs each {}", spread(&bare_rates, 0), spread(&bare_micros, 1));
    println!("  ratio    {}", spread(&ratios, 2));
    let details = json!({
        "messages": messages, "ratios": ratios,
        "relay": { "per_second": our_rates, "cpu_micros_each": our_micros },
        "bare": { "per_second": bare_rates, "cpu_micros_each": bare_micros },
        "database_cpu_micros_each": database,
    });
    let row = |name, what, figure, unit, target| {
        let details = if name == "j1" { details.clone() } else { json!(null) };
        Row { name, what, figure, unit, target, details }
    };
    let rates = format!("{:.0} and {:.0}/s", median(&our_rates), median(&bare_rates));
    let what = format!("a backlog's messages/s ÷ a bare publisher's ({rates})");
    let micros = median(&our_micros);
    let beside = format!("(bare {:.0}, database {:.0})", median(&bare_micros), median(&database));
    vec![
        row("j1", what, median(&ratios), "×", Target::AtLeast(0.8)),
        row("j2", format!("the relay's CPU per message {beside}"), micros, "µs", Target::Shown),
    ]
}

/// Ids and shards of the customers, for the statement that fills the outbox.
async fn number_customers(bench: &Bench) -> Result<()> {
    let rows: Vec<String> = (0..CUSTOMERS)
        .map(|number| format!("({number}, '{}', {})", id_of(number), shard_of(number)))
        .collect();
    bench
        .server
        .execute(&format!(
            "DROP TABLE IF EXISTS bench_customers;
             CREATE TABLE bench_customers (number integer PRIMARY KEY, id uuid, shard smallint);
             INSERT INTO bench_customers VALUES {};
             ANALYZE bench_customers",
            rows.join(", ")
        ))
        .await
}

/// Messages of all customers in turn, as the shard actors append them.
async fn fill(bench: &Bench, messages: u32) -> Result<()> {
    let data = body("' || b.id || '");
    let data = data.replace(BODY_VERSION, &format!("' || n / {CUSTOMERS} + 2 || '"));
    for from in (0..messages).step_by(CHUNK as usize) {
        let until = (from + CHUNK).min(messages) - 1;
        bench
            .server
            .execute(&format!(
                "SELECT outbox_append(array_agg(shard), array_agg(message), array_agg(id),
                     array_agg(sequence), array_agg(kind), array_agg(time), array_agg(trace), array_agg(data))
                 FROM (
                     SELECT b.shard, gen_random_uuid() AS message, b.id, (n / {CUSTOMERS} + 1)::bigint AS sequence,
                         'customer.updated' AS kind, clock_timestamp() AS time, '{TRACE}' AS trace,
                         ('{data}')::jsonb AS data
                     FROM generate_series({from}, {until}) AS n
                     JOIN bench_customers AS b ON b.number = n % {CUSTOMERS} ORDER BY n
                 ) AS backlog"
            ))
            .await?;
    }
    let kept = bench.server.count("outbox_events").await?;
    ensure!(kept == i64::from(messages), "the outbox holds {kept} of {messages} messages");
    bench.server.execute("ANALYZE outbox_events; CHECKPOINT").await
}

async fn by_relay(bench: &Bench, queue: &Broker, messages: u32) -> Result<Drain> {
    bench.server.reset().await?;
    queue.purge().await?;
    fill(bench, messages).await?;
    let running = bench.program.start(&["serve"], &[], "/health/live").await?;
    let drain = watch(bench, queue, running.pid(), messages).await?;
    running.stop().await?;
    println!("  relay {:>7.0}/s", drain.per_second);
    Ok(drain)
}

async fn by_bare_publisher(bench: &Bench, queue: &Broker, messages: u32) -> Result<Drain> {
    bench.server.reset().await?;
    queue.purge().await?;
    let publisher = publisher::start(bench, messages)?;
    let drain = watch(bench, queue, publisher.pid(), messages).await?;
    publisher.ended()?;
    println!("  bare  {:>7.0}/s", drain.per_second);
    Ok(drain)
}

/// Counts what comes into the queue. A message that comes twice would count twice: then there are
/// more in the end, and the round fails.
async fn watch(bench: &Bench, queue: &Broker, pid: u32, messages: u32) -> Result<Drain> {
    let began = Instant::now();
    let warm = (f64::from(messages) * WARM_UP_SHARE) as u32;
    let spent = || (machine::cpu_of(pid), bench.server.cpu().unwrap_or(0.0));
    let mut counted_from = None;
    loop {
        ensure!(began.elapsed() < ROUND_MAX, "the backlog is not drained after {ROUND_MAX:?}");
        let (here, now) = (queue.waiting().await?, Instant::now());
        match counted_from {
            None if here >= warm => counted_from = Some((now, here, spent())),
            Some((since, at, before)) if here >= messages => {
                ensure!(here == messages, "{here} messages came of {messages}");
                let counted = f64::from(here - at);
                let after = spent();
                return Ok(Drain {
                    per_second: counted / now.duration_since(since).as_secs_f64(),
                    own_micros: (after.0 - before.0) * 1e6 / counted,
                    database_micros: (after.1 - before.1) * 1e6 / counted,
                });
            }
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
