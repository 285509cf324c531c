//! Rows m and n: segments of a million customers. m: how long after its instant a verdict that time turns
//! is told, and how many rows are read for it, beside as many turns among ten thousand customers. n: how
//! fast a new segment is filled, beside the bare `INSERT … SELECT` of its members, and beside bare statements
//! that write all that is owed for a member (rule S3): its row, its message, its entry in the audit trail and
//! its customer's next number; and what others feel.

use super::Bench;
use super::crowd::{WRITERS, WRITES_PER_SECOND, changes};
use super::delivery::at;
use super::segments::{forget, now_ms};
use crate::broker::{self, Broker};
use crate::crowd::{Crowd, anyone_id};
use crate::load::{Connection, Load, request};
use crate::service::Running;
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::{Context, Result, ensure};
use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::{CustomerId, shard};
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CUSTOMERS: u32 = 1_000_000;
const QUICK_CUSTOMERS: u32 = 50_000;
const FEW: u32 = 10_000;

/// Verdicts that time turns, and how many in a second.
const FLIPS: u32 = 6_000;
const QUICK_FLIPS: u32 = 500;
const FLIPS_PER_SECOND: u32 = 100;
/// Until the first of them: time to write them down.
const AHEAD: Duration = Duration::from_secs(8);
const LAST_WITHIN: Duration = Duration::from_secs(60);

/// How long the live service is watched before the segment is made.
const CALM_SECONDS: u64 = 20;
const FILLED_WITHIN: Duration = Duration::from_secs(3_600);

/// Who belongs to the new segment.
struct Joining {
    share: &'static str,
    definition: &'static str,
    condition: &'static str,
}

/// The row's target is measured by the first.
const JOINING: [Joining; 3] = [
    Joining {
        share: "one in a thousand joins",
        definition: "customer_tags CONTAINS 'wholesale'",
        condition: "tags @> ARRAY['wholesale']",
    },
    Joining {
        share: "one in twenty joins",
        definition: "customer_type = 'business'",
        condition: "customer_type = 'business'",
    },
    Joining {
        share: "one in three joins",
        definition: "accepts_marketing = true",
        condition: "accepts_marketing",
    },
];

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let Some(queue) = &bench.broker else {
        println!("\nm, n: left out: no broker");
        return Ok(Vec::new());
    };
    let many = match std::env::var("CUSTOMERS") {
        Ok(text) => text.parse().context("CUSTOMERS")?,
        Err(_) if bench.quick => QUICK_CUSTOMERS,
        Err(_) => CUSTOMERS,
    };
    let given = std::env::var("BENCH_DATABASE_URL")?;
    println!("\nm, n: filling a database with {many} customers");
    let large = Crowd::gather(&given, &bench.program, "customer_service_bench_large", many).await?;
    let mut rows = Vec::new();
    if bench.wants("m") {
        let small =
            Crowd::gather(&given, &bench.program, "customer_service_bench_small", FEW).await?;
        let few = flips(bench, queue, &small).await?;
        let many = flips(bench, queue, &large).await?;
        rows.extend(judge_flips(&few, &many, &large));
    }
    if bench.wants("n") {
        rows.extend(filling(bench, queue, &large).await?);
    }
    Ok(rows)
}

// --- row m -------------------------------------------------------------------------------------

struct Flips {
    /// Milliseconds from each instant to the consumer; ascending.
    lags: Vec<f64>,
    /// Rows that were read of any table, for each.
    rows_each: f64,
}

/// When each customer is due, in milliseconds since 1970.
type Dues = HashMap<String, f64>;

async fn flips(bench: &Bench, queue: &Broker, crowd: &Crowd) -> Result<Flips> {
    let count = if bench.quick { QUICK_FLIPS } else { FLIPS };
    prepare(crowd).await?;
    queue.purge().await?;
    let running = crowd.serve().await?;
    let dues = Rc::new(write_down(crowd, count).await?);
    let lags: Rc<RefCell<Vec<f64>>> = Rc::default();
    let mut consumer = queue.consumer().await?;
    let consuming = {
        let (lags, dues) = (Rc::clone(&lags), Rc::clone(&dues));
        tokio::task::spawn_local(async move {
            while let Some(message) = broker::next(&mut consumer).await? {
                let due = dues.get(&message.customer_id);
                if let (Some(due), "segment.removed") = (due, message.kind.as_str()) {
                    lags.borrow_mut().push(now_ms() - due);
                }
            }
            anyhow::Ok(())
        })
    };
    // What is read once at the start, such as the number of members for the hour, is not for them.
    let first = dues.values().copied().fold(f64::MAX, f64::min);
    let ahead = Duration::from_secs_f64(((first - now_ms()) / 1e3 - 1.5).max(0.0));
    tokio::time::sleep(ahead).await;
    let before = rows_read(crowd).await?;
    let (since, last) = (Instant::now(), dues.values().copied().fold(0.0, f64::max));
    let all = Duration::from_secs_f64(((last - now_ms()) / 1e3).max(0.0)) + LAST_WITHIN;
    while lags.borrow().len() < count as usize && since.elapsed() < all {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Servers tell what they read a moment later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let read = rows_read(crowd).await? - before;
    queue.cancel().await?;
    consuming.abort();
    running.stop().await?;
    let mut lags = lags.take();
    ensure!(lags.len() == count as usize, "{} of {count} flips were told", lags.len());
    lags.sort_by(f64::total_cmp);
    let rows_each = read as f64 / f64::from(count);
    println!(
        "  {} customers: p50 {:.0} ms, p99 {:.0} ms after the instant; {rows_each:.1} rows read for each",
        crowd.customers,
        at(&lags, 0.5),
        at(&lags, 0.99)
    );
    Ok(Flips { lags, rows_each })
}

/// Two segments: one that some leave soon, and one that everybody leaves in a hundred years.
async fn prepare(crowd: &Crowd) -> Result<()> {
    forget(crowd.server()).await?;
    crowd
        .server()
        .execute(
            "INSERT INTO segments (code, id, kind, title, definition, time_zone, state, revision, created_at,
                 updated_at, version)
             VALUES ('fresh', '01900000-0000-7000-8000-000000000001', 'rule', 'Fresh',
                     'customer_added_date > -24h', 'UTC', 'active', 1, now(), now(), 1),
                    ('all', '01900000-0000-7000-8000-000000000002', 'rule', 'All',
                     'customer_added_date > -100y', 'UTC', 'active', 1, now(), now(), 1);
             INSERT INTO segment_members (customer_id, segment_id, since, cause)
                 SELECT id, '01900000-0000-7000-8000-000000000002', now(), 'definition' FROM customers;
             INSERT INTO segment_flips (customer_id, segment_id, shard, due_at)
                 SELECT id, '01900000-0000-7000-8000-000000000002', abs(hashtext(id::text)) % 64,
                     created_at + interval '100 years' FROM customers",
        )
        .await?;
    crowd.settle().await
}

/// Customers who leave the first segment, one after the other.
async fn write_down(crowd: &Crowd, count: u32) -> Result<Dues> {
    let begin = SystemClock.now() + AHEAD;
    let (mut dues, mut values) = (Dues::new(), String::new());
    for turn in 0..count {
        let id = anyone_id(turn, crowd.customers);
        let step = Duration::from_secs_f64(f64::from(turn) / f64::from(FLIPS_PER_SECOND));
        let due = begin + step;
        let comma = if turn == 0 { "" } else { "," };
        let shard = shard::of_customer(CustomerId(id));
        write!(values, "{comma}('{id}'::uuid, {shard}, '{}'::timestamptz)", due.to_rfc3339())?;
        dues.insert(id.to_string(), due.timestamp_micros() as f64 / 1e3);
    }
    ensure!(dues.len() == count as usize, "a customer is due twice");
    crowd
        .server()
        .execute(&format!(
            "BEGIN;
             CREATE TEMPORARY TABLE due (id uuid, shard smallint, at timestamptz) ON COMMIT DROP;
             INSERT INTO due VALUES {values};
             UPDATE customers AS c SET created_at = d.at - interval '24 hours' FROM due AS d WHERE d.id = c.id;
             INSERT INTO segment_members (customer_id, segment_id, since, cause)
                 SELECT id, '01900000-0000-7000-8000-000000000001', now(), 'definition' FROM due;
             INSERT INTO segment_flips (customer_id, segment_id, shard, due_at)
                 SELECT id, '01900000-0000-7000-8000-000000000001', shard, at FROM due;
             COMMIT"
        ))
        .await?;
    ensure!(SystemClock.now() < begin, "they were due before they were written down");
    Ok(dues)
}

/// Rows that were read of all tables so far, over indexes or not.
async fn rows_read(crowd: &Crowd) -> Result<i64> {
    crowd
        .server()
        .number(
            "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint
             FROM pg_stat_user_tables",
        )
        .await
}

fn judge_flips(few: &Flips, many: &Flips, crowd: &Crowd) -> Vec<Row> {
    let customers = crowd.customers;
    let details = json!({
        "lag_ms": { "p50": at(&many.lags, 0.5), "p99": at(&many.lags, 0.99), "max": many.lags.last() },
        "few_lag_ms": { "p50": at(&few.lags, 0.5), "p99": at(&few.lags, 0.99), "max": few.lags.last() },
        "rows_read_each": { "many": many.rows_each, "few": few.rows_each },
    });
    let row = |name, what, figure, unit, target| Row {
        name,
        what,
        figure,
        unit,
        target,
        details: details.clone(),
    };
    let lag = format!("a flip's instant to its message, {customers} customers, p99");
    let rows = format!("rows read for a flip, {customers} customers ÷ {FEW}");
    vec![
        row("m1", lag, at(&many.lags, 0.99), "ms", Target::AtMost(2_000.0)),
        row("m2", rows, many.rows_each / few.rows_each, "×", Target::AtMost(1.2)),
    ]
}

// --- row n -------------------------------------------------------------------------------------

struct Filling {
    /// Of the rows of memberships alone.
    bare_seconds: f64,
    /// Of all rows that are owed.
    owed_seconds: f64,
    own_seconds: f64,
    calm_p99_ms: f64,
    busy_p99_ms: f64,
}

async fn filling(bench: &Bench, queue: &Broker, crowd: &Crowd) -> Result<Vec<Row>> {
    let mut rounds: Vec<Vec<Filling>> = JOINING.iter().map(|_| Vec::new()).collect();
    for round in 0..if bench.quick { 1 } else { 2 } {
        for (place, joining) in JOINING.iter().enumerate() {
            let turn = 2 * (round * JOINING.len() + place);
            rounds[place].push(filled(bench, queue, crowd, joining, turn).await?);
        }
    }
    forget(crowd.server()).await?;
    queue.purge().await?;
    let names = [["n1", "n2", "n3"], ["n4", "n5", "n6"], ["n7", "n8", "n9"]];
    let judged = JOINING.iter().zip(&rounds).zip(names);
    Ok(judged
        .flat_map(|((joining, rounds), names)| judge_filling(joining, rounds, names, crowd))
        .collect())
}

async fn filled(
    bench: &Bench,
    queue: &Broker,
    crowd: &Crowd,
    joining: &Joining,
    turn: usize,
) -> Result<Filling> {
    forget(crowd.server()).await?;
    crowd.settle().await?;
    queue.purge().await?;
    let bare_seconds = bare(crowd, joining).await?;
    let owed_seconds = owed(crowd, joining).await?;
    crowd.settle().await?;
    let running = crowd.serve().await?;
    let calm = live(&running, crowd, turn).await?;
    tokio::time::sleep(Duration::from_secs(bench.seconds(CALM_SECONDS))).await;
    let calm = calm.finish().await;
    let busy = live(&running, crowd, turn + 1).await?;
    let own_seconds = fill(&running, crowd, joining).await?;
    let busy = busy.finish().await;
    running.stop().await?;
    for seen in [&calm, &busy] {
        ensure!(seen.refused.is_empty(), "refused, by status: {:?}", seen.refused);
    }
    let one = Filling {
        bare_seconds,
        owed_seconds,
        own_seconds,
        calm_p99_ms: percentile_ms(&calm.latencies, 0.99),
        busy_p99_ms: percentile_ms(&busy.latencies, 0.99),
    };
    println!(
        "  {}: memberships alone {:.2} s, all that is owed {:.2} s, filled in {:.2} s; changes' p99 {:.0} ms \
         before, {:.0} ms meanwhile",
        joining.share,
        one.bare_seconds,
        one.owed_seconds,
        one.own_seconds,
        one.calm_p99_ms,
        one.busy_p99_ms
    );
    Ok(one)
}

/// The same members into a table of the same columns and indexes.
async fn bare(crowd: &Crowd, joining: &Joining) -> Result<f64> {
    let server = crowd.server();
    server
        .execute(
            "DROP TABLE IF EXISTS bench_members;
             CREATE TABLE bench_members (LIKE segment_members INCLUDING ALL); CHECKPOINT",
        )
        .await?;
    let since = Instant::now();
    server
        .execute(&format!(
            "INSERT INTO bench_members (customer_id, segment_id, since, cause)
             SELECT id, '01900000-0000-7000-8000-000000000001', now(), 'definition' FROM customers
             WHERE deleted_at IS NULL AND {}",
            joining.condition
        ))
        .await?;
    let seconds = since.elapsed().as_secs_f64();
    server.execute("DROP TABLE bench_members").await?;
    Ok(seconds)
}

/// All that is owed for the same members, one statement for each table, in one transaction.
async fn owed(crowd: &Crowd, joining: &Joining) -> Result<f64> {
    let server = crowd.server();
    server
        .execute(
            "DROP TABLE IF EXISTS bench_members, bench_entries, bench_messages;
             CREATE TABLE bench_members (LIKE segment_members INCLUDING ALL);
             CREATE TABLE bench_entries (LIKE audit_entries INCLUDING ALL);
             CREATE TABLE bench_messages (LIKE outbox_events INCLUDING ALL); CHECKPOINT",
        )
        .await?;
    let since = Instant::now();
    server
        .execute(&format!(
            "BEGIN;
             INSERT INTO bench_members (customer_id, segment_id, since, cause)
             SELECT id, '01900000-0000-7000-8000-000000000001', now(), 'definition' FROM customers
             WHERE deleted_at IS NULL AND {};
             UPDATE customers AS c SET sequence = sequence + 1 FROM bench_members AS m WHERE c.id = m.customer_id;
             INSERT INTO bench_entries (id, shard, customer_id, actor_kind, action, data, request_id, occurred_at)
             SELECT gen_random_uuid(), abs(hashtext(customer_id::text)) % 64, customer_id, 'service',
                 'segment.assigned', '{{\"segment\": \"filled\", \"cause\": \"definition\"}}',
                 'segment-builder', now() FROM bench_members;
             INSERT INTO bench_messages (bucket, shard, seq, id, customer_id, customer_sequence, kind,
                 occurred_at, data)
             SELECT 1, abs(hashtext(m.customer_id::text)) % 64, row_number() OVER (), gen_random_uuid(),
                 m.customer_id, c.sequence, 'segment.assigned', now(),
                 jsonb_build_object('customer_id', m.customer_id, 'segment_id', m.segment_id,
                     'segment', 'filled', 'cause', 'definition')
             FROM bench_members AS m JOIN customers AS c ON c.id = m.customer_id;
             COMMIT",
            joining.condition
        ))
        .await?;
    let seconds = since.elapsed().as_secs_f64();
    server.execute("DROP TABLE bench_members, bench_entries, bench_messages").await?;
    Ok(seconds)
}

/// Changes at a steady pace.
async fn live(running: &Running, crowd: &Crowd, round: usize) -> Result<Load> {
    let load =
        Load::paced(running.address, changes(crowd, WRITERS, round), WRITES_PER_SECOND).await?;
    load.record();
    Ok(load)
}

/// Makes the segment, and waits until everybody has joined who belongs to it.
async fn fill(running: &Running, crowd: &Crowd, joining: &Joining) -> Result<f64> {
    let Joining { definition, condition, .. } = joining;
    let body = json!({ "code": "filled", "title": "Filled", "definition": definition }).to_string();
    let mut connection = Connection::open(running.address).await?;
    let call = request("POST", "/v1/admin/segments", Some(&crowd.staff_key), Some(&body));
    let since = Instant::now();
    let answer = connection.exchange(&call).await?;
    ensure!(answer.status == 201, "making the segment answered {}", answer.status);
    loop {
        let open = "SELECT count(*) FROM segment_builds WHERE finished_at IS NULL";
        if crowd.server().number(open).await? == 0 {
            break;
        }
        ensure!(since.elapsed() < FILLED_WITHIN, "not filled after {FILLED_WITHIN:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let seconds = since.elapsed().as_secs_f64();
    let differing = format!(
        "SELECT count(*) FROM (SELECT deleted_at IS NULL AND {condition} AS belongs, id FROM customers) AS c
         FULL JOIN segment_members AS m ON m.customer_id = c.id
         WHERE c.belongs IS DISTINCT FROM (m.customer_id IS NOT NULL)"
    );
    let wrong = crowd.server().number(&differing).await?;
    ensure!(wrong == 0, "{wrong} customers are not where they belong");
    Ok(seconds)
}

fn judge_filling(
    joining: &Joining,
    rounds: &[Filling],
    names: [&'static str; 3],
    crowd: &Crowd,
) -> Vec<Row> {
    let each = |of: fn(&Filling) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    let speed = each(|one| one.bare_seconds / one.own_seconds);
    let beside_owed = each(|one| one.owed_seconds / one.own_seconds);
    let felt = each(|one| one.busy_p99_ms / one.calm_p99_ms);
    println!(
        "  {}: memberships alone ÷ filled {}, all that is owed ÷ filled {}, p99 meanwhile ÷ before {}",
        joining.share,
        spread(&speed, 3),
        spread(&beside_owed, 2),
        spread(&felt, 2)
    );
    let details = json!({
        "customers": crowd.customers, "definition": joining.definition,
        "bare_seconds": each(|one| one.bare_seconds), "owed_seconds": each(|one| one.owed_seconds),
        "filled_seconds": each(|one| one.own_seconds),
        "p99_before_ms": each(|one| one.calm_p99_ms), "p99_meanwhile_ms": each(|one| one.busy_p99_ms),
    });
    let row = |name, what, figure, target| Row {
        name,
        what,
        figure,
        unit: "×",
        target,
        details: details.clone(),
    };
    let what = format!(
        "a new segment carried to {} customers, {}, speed ÷ bare INSERT",
        crowd.customers, joining.share
    );
    let owed = format!(
        "a new segment carried to {} customers, {}, speed ÷ bare statements of all that is owed",
        crowd.customers, joining.share
    );
    let meanwhile = format!("changes' p99 meanwhile ÷ before, {WRITES_PER_SECOND}/s");
    let [filling, beside, felt_by_others] = names;
    vec![
        row(filling, what, median(&speed), Target::AtLeast(0.5)),
        row(beside, owed, median(&beside_owed), Target::AtLeast(0.5)),
        row(felt_by_others, meanwhile, median(&felt), Target::AtMost(2.0)),
    ]
}
