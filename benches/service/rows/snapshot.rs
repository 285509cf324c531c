//! Row k: a snapshot held open, as a dump or a forgotten transaction holds one, while 200 changes a
//! second go on. Nothing that it could see may be cleaned up, so a table whose rows are changed or
//! deleted bloats; the outbox's are neither. Shown: dead rows of the outbox, how often the cursors
//! were written, and delivery beside delivery without a snapshot, half of it before and half after.

use super::Bench;
use super::delivery::{Delays, Pace, at, watch};
use crate::broker::Broker;
use crate::service::Running;
use crate::stats::{Row, Target};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::Instant;

/// Everybody who can change: the profiles' own dead rows are spread among them.
const CLIENTS: usize = 256;
const CHANGES_PER_SECOND: u64 = 200;
/// How long the snapshot is held; `HELD_SECONDS=600` for ten minutes.
const SECONDS: u64 = 90;
const SECONDS_QUICK: u64 = 10;
const GROUPS: f64 = 8.0;

const DEAD_ROWS: &str = "SELECT coalesce(sum(n_dead_tup + n_tup_upd + n_tup_del), 0)::bigint \
     FROM pg_stat_user_tables WHERE relname ~ '^outbox_events'";
const CURSOR_WRITES: &str =
    "SELECT n_tup_upd::bigint FROM pg_stat_user_tables WHERE relname = 'outbox_cursors'";

fn held_seconds(bench: &Bench) -> Result<u64> {
    match std::env::var("HELD_SECONDS") {
        Ok(text) => text.parse().context("HELD_SECONDS"),
        Err(_) if bench.quick => Ok(SECONDS_QUICK),
        Err(_) => Ok(SECONDS),
    }
}

/// What the server knew when the snapshot was closed.
struct Held {
    delays: Delays,
    dead_rows: i64,
    writes_per_second: f64,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let seconds = held_seconds(bench)?;
    println!("\nk: a snapshot held open for {seconds} s");
    let Some(queue) = &bench.broker else {
        println!("  left out: no broker");
        return Ok(Vec::new());
    };
    let running = bench.serve(&[]).await?;
    let half = Pace { clients: CLIENTS, per_second: CHANGES_PER_SECOND, seconds: seconds / 2 };
    let mut without = watch(bench, queue, running.address, half).await?;
    let held = hold(bench, queue, &running, seconds).await?;
    bench.server.execute("VACUUM customers").await?;
    bench.server.execute("VACUUM customer_profiles").await?;
    let after = watch(bench, queue, running.address, half).await?;
    running.stop().await?;
    without.merge(after);
    Ok(judge(seconds, &held, &without))
}

/// Opens the snapshot, lets the load go on for so long, and closes it.
async fn hold(bench: &Bench, queue: &Broker, running: &Running, seconds: u64) -> Result<Held> {
    let (writes_before, since) = (bench.server.number(CURSOR_WRITES).await?, Instant::now());
    let snapshot = bench.server.connect().await?;
    snapshot.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let seen = async || -> Result<i64> {
        Ok(snapshot.query_one("SELECT count(*) FROM outbox_events", &[]).await?.get(0))
    };
    let seen_first = seen().await?;
    let pace = Pace { clients: CLIENTS, per_second: CHANGES_PER_SECOND, seconds };
    let delays = watch(bench, queue, running.address, pace).await?;
    ensure!(seen().await? == seen_first, "the snapshot was not held");
    let there = bench.server.count("outbox_events").await?;
    ensure!(there > seen_first, "nothing was written beside the snapshot");
    let writes = bench.server.number(CURSOR_WRITES).await? - writes_before;
    let held = Held {
        delays,
        dead_rows: bench.server.number(DEAD_ROWS).await?,
        writes_per_second: writes as f64 / since.elapsed().as_secs_f64() / GROUPS,
    };
    snapshot.batch_execute("COMMIT").await?;
    Ok(held)
}

fn judge(seconds: u64, held: &Held, without: &Delays) -> Vec<Row> {
    let p99 = |delays: &Delays| at(&delays.from_decision, 0.99);
    let (with_it, without_it) = (p99(&held.delays), p99(without));
    let details = json!({
        "held_seconds": seconds, "changes_per_second": CHANGES_PER_SECOND,
        "held": held.delays.to_json(), "without": without.to_json(),
    });
    println!("  {details}");
    let row = |name, what: String, figure, unit, target| {
        let details = if name == "k1" { details.clone() } else { json!(null) };
        Row { name, what, figure, unit, target, details }
    };
    let both = format!("{with_it:.1} ms ÷ {without_it:.1} ms");
    vec![
        row(
            "k1",
            format!("delivery p99 under a snapshot of {seconds} s ÷ without ({both})"),
            with_it / without_it,
            "×",
            Target::AtMost(1.5),
        ),
        row(
            "k2",
            "dead, changed and deleted rows of the outbox".to_owned(),
            held.dead_rows as f64,
            "",
            Target::AtMost(0.0),
        ),
        row(
            "k3",
            "writes of each group's cursor per second".to_owned(),
            held.writes_per_second,
            "/s",
            Target::AtMost(1.0),
        ),
    ]
}
