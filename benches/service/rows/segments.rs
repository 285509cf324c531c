//! Rows p and o: segments that follow changes. p: from a change, at a steady 200 a second and with 200
//! active segments, to the message of the membership that it turned. o: what a change costs in processor
//! time with 1,000 segments, beside 10; ten of them read what changes in both.
//!
//! Each change gives a customer the other one of two languages, so one segment takes it in or lets it go.
//! Spans begin when the change was decided (the time of its own message) and end when the consumer has
//! the message of the membership.

use super::Bench;
use super::delivery::at;
use crate::broker::{self, Broker};
use crate::database::Server;
use crate::load::{Cycle, Load, request};
use crate::machine;
use crate::stats::{Row, Target, median, spread};
use anyhow::{Result, ensure};
use customer_service::clock::{Clock, SystemClock};
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

const SEGMENTS: u32 = 200;
/// Segments that read what changes.
const READERS: u32 = 10;
const FEW: u32 = 10;
const MANY: u32 = 1_000;
const PER_SECOND: u64 = 200;
const SECONDS: u64 = 30;
/// Left out at the beginning.
const WARM_UP_SECONDS: u64 = 3;
/// How long the last messages may be under way.
const LAST_WITHIN: Duration = Duration::from_secs(30);

/// One stretch of changes.
struct Trial {
    changes: usize,
    memberships: usize,
    /// Milliseconds from each change to the message of its membership, without the warm-up; ascending.
    delays: Vec<f64>,
    /// Microseconds of processor time for each change: of the service, of the database.
    micros: [f64; 2],
}

/// When a customer's changes were decided, and when the messages of its memberships came.
#[derive(Default)]
struct Instants {
    decided: Vec<f64>,
    received: Vec<f64>,
}

pub fn now_ms() -> f64 {
    SystemClock.now().timestamp_micros() as f64 / 1000.0
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\no, p: segments that follow changes");
    let Some(queue) = &bench.broker else {
        println!("  left out: no broker");
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();
    if bench.wants("p") {
        let mut trials = Vec::new();
        for _ in 0..bench.rounds() {
            trials.push(trial(bench, queue, SEGMENTS).await?);
        }
        rows.extend(judge_delays(&trials));
    }
    if bench.wants("o") {
        let (mut few, mut many) = (Vec::new(), Vec::new());
        for round in 0..bench.rounds() {
            // In turns, and each first as often as the other.
            for large in [round % 2 == 0, round % 2 != 0] {
                let (of, count) = if large { (&mut many, MANY) } else { (&mut few, FEW) };
                of.push(trial(bench, queue, count).await?);
            }
        }
        rows.push(judge_costs(&few, &many));
    }
    forget(&bench.server).await?;
    bench.server.reset().await?;
    queue.purge().await?;
    Ok(rows)
}

/// No segments.
pub async fn forget(server: &Server) -> Result<()> {
    server.execute("TRUNCATE segments CASCADE; UPDATE segment_book SET version = version + 1").await
}

/// So many active segments that nobody belongs to, of which `READERS` read the language.
async fn define(server: &Server, count: u32) -> Result<()> {
    forget(server).await?;
    server.execute("UPDATE customer_preferences SET locale = 'en' WHERE locale <> 'en'").await?;
    server
        .execute(&format!(
            "INSERT INTO segments (code, id, kind, title, definition, time_zone, state, revision, created_at,
                 updated_at, version)
             SELECT 'bench-' || n, gen_random_uuid(), 'rule', 'Bench', CASE
                 WHEN n = 0 THEN 'customer_language = ''vi'''
                 WHEN n < {READERS} THEN 'customer_language = ''l' || n || ''''
                 ELSE (ARRAY['number_of_orders >= ' || n, 'amount_spent > ' || n,
                     'customer_tags CONTAINS ''t' || n || '''', 'wishlist_items >= ' || n,
                     'last_order_date > -' || n || 'd', 'number_of_addresses >= ' || n,
                     'group = ''g' || n || '''', 'topics CONTAINS ''t' || n || ''''])[1 + n % 8]
                 END, 'UTC', 'active', 1, now(), now(), 1
             FROM generate_series(0, {count} - 1) AS n;
             ANALYZE segments"
        ))
        .await
}

/// Two languages in turn, from every holder.
fn changes(bench: &Bench) -> Vec<Cycle> {
    let change = |token: &str, locale: &str| {
        let body = json!({ "locale": locale }).to_string();
        request("PATCH", "/v1/me/preferences", Some(token), Some(&body))
    };
    let holders = bench.holders.iter();
    holders.map(|one| ["vi", "en"].map(|locale| change(&one.token, locale)).into()).collect()
}

async fn trial(bench: &Bench, queue: &Broker, segments: u32) -> Result<Trial> {
    define(&bench.server, segments).await?;
    let running = bench.serve(&[]).await?;
    let book: Rc<RefCell<HashMap<String, Instants>>> = Rc::default();
    let mut consumer = queue.consumer().await?;
    let consuming = {
        let book = Rc::clone(&book);
        tokio::task::spawn_local(async move {
            while let Some(message) = broker::next(&mut consumer).await? {
                let now = now_ms();
                let mut book = book.borrow_mut();
                let one = book.entry(message.customer_id).or_default();
                match message.kind.as_str() {
                    "customer.updated" => one.decided.extend(message.decided_ms),
                    "segment.assigned" | "segment.removed" => one.received.push(now),
                    _ => {}
                }
            }
            anyhow::Ok(())
        })
    };
    let (pid, own) = (running.pid(), &bench.server);
    let spent = || [machine::cpu_of(pid), own.cpu().unwrap_or(0.0)];
    let before = spent();
    let load = Load::paced(running.address, changes(bench), PER_SECOND as f64).await?;
    load.record();
    tokio::time::sleep(Duration::from_secs(WARM_UP_SECONDS + bench.seconds(SECONDS))).await;
    let seen = load.finish().await;
    ensure!(seen.refused.is_empty(), "refused, by status: {:?}", seen.refused);
    let count = |of: fn(&Instants) -> usize| book.borrow().values().map(of).sum::<usize>();
    let since = Instant::now();
    // Two changes of one customer that are looked at together turn nothing, and have no message.
    let mut quiet = (0, Instant::now());
    while since.elapsed() < LAST_WITHIN {
        let (told, turned) = (count(|one| one.decided.len()), count(|one| one.received.len()));
        if told + turned != quiet.0 {
            quiet = (told + turned, Instant::now());
        }
        if (told as u64 >= seen.done && turned >= told)
            || quiet.1.elapsed() > Duration::from_secs(5)
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = spent();
    queue.cancel().await?;
    consuming.abort();
    running.stop().await?;
    let (changes, memberships) = (count(|one| one.decided.len()), count(|one| one.received.len()));
    // Those that were under way at the end count, too.
    ensure!(changes as u64 >= seen.done, "{} changes, {changes} messages of them", seen.done);
    let mut delays = Vec::new();
    let first = book
        .borrow()
        .values()
        .filter_map(|one| one.decided.first().copied())
        .fold(f64::MAX, f64::min);
    for one in book.borrow().values() {
        // In order on both sides. Where some turned nothing, later messages are laid to earlier changes:
        // a span is told too long, never too short.
        let pairs = one.received.iter().zip(&one.decided);
        let counted = pairs.filter(|(_, then)| **then > first + 1e3 * WARM_UP_SECONDS as f64);
        delays.extend(counted.map(|(got, then)| got - then));
    }
    delays.sort_by(f64::total_cmp);
    let micros = std::array::from_fn(|at| (after[at] - before[at]) * 1e6 / changes as f64);
    println!(
        "  {segments} segments: {changes} changes, {memberships} memberships; p50 {:.0} ms, p99 {:.0} ms; CPU µs \
         each: service {:.0}, database {:.0}",
        at(&delays, 0.5),
        at(&delays, 0.99),
        micros[0],
        micros[1]
    );
    Ok(Trial { changes, memberships, delays, micros })
}

fn judge_delays(trials: &[Trial]) -> Vec<Row> {
    let each = |share| trials.iter().map(|one| at(&one.delays, share)).collect::<Vec<_>>();
    let (p50, p99) = (each(0.5), each(0.99));
    let missing: usize = trials.iter().map(|one| one.changes.saturating_sub(one.memberships)).sum();
    println!("  p50 {} ms, p99 {} ms", spread(&p50, 0), spread(&p99, 0));
    let details = json!({
        "per_second": PER_SECOND, "segments": SEGMENTS, "p50_ms": p50, "p99_ms": p99,
        "changes_without_a_message": missing,
        "max_ms": trials.iter().map(|one| one.delays.last()).collect::<Vec<_>>(),
    });
    let what = |share| {
        format!("change to membership message, {PER_SECOND}/s, {SEGMENTS} segments, {share}")
    };
    let row = |name, share, figures: &[f64], target| Row {
        name,
        what: what(share),
        figure: median(figures),
        unit: "ms",
        target,
        details: details.clone(),
    };
    vec![row("p1", "p50", &p50, Target::Shown), row("p2", "p99", &p99, Target::AtMost(1_000.0))]
}

fn judge_costs(few: &[Trial], many: &[Trial]) -> Row {
    let cost =
        |of: &[Trial]| of.iter().map(|one| one.micros[0] + one.micros[1]).collect::<Vec<_>>();
    let (few_cost, many_cost) = (cost(few), cost(many));
    println!(
        "  {FEW} segments {} µs, {MANY} segments {} µs",
        spread(&few_cost, 0),
        spread(&many_cost, 0)
    );
    let each = |of: &[Trial]| of.iter().map(|one| one.micros).collect::<Vec<_>>();
    Row {
        name: "o1",
        what: format!(
            "CPU per change with {MANY} segments ÷ with {FEW}, {READERS} read what changes"
        ),
        figure: median(&many_cost) / median(&few_cost),
        unit: "×",
        target: Target::AtMost(2.0),
        details: json!({ "service_and_database_micros": { "few": each(few), "many": each(many) } }),
    }
}
