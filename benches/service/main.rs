//! `make bench`: the whole service beside its peers, on real durable servers, each figure a ratio
//! of two things measured in turns in one run. The service, its servers and the load share the
//! machine: what the load generator and the broker use, the service has not.
//!
//! ```text
//! make bench            every row, and target/bench/service.json
//! make bench ROW=a      one row (a to s; several as ROW=a,c)
//! make bench ROW=g,h    with a million customers (CUSTOMERS=… for another number): minutes to fill;
//!                       likewise ROW=m,n
//! make bench ROW=k      HELD_SECONDS=600 to hold the snapshot for ten minutes instead of 90 s
//! make bench QUICK=1    two short rounds instead of five: to see that it runs, not to judge by
//! ```
//!
//! dev/bench starts the servers and gives their addresses: BENCH_DATABASE_URL, BENCH_REDIS_URL,
//! BENCH_AMQP_URL (the latter two may be empty), and BENCH_PGBENCH. The service runs as a process of
//! its own, from the binary that cargo builds beside this one, with the default configuration
//! apart from limits that one client address would meet; settings in the environment are passed
//! on, to try others (CUSTOMER_SERVICE__HASHING__THREADS=1 make bench ROW=d).

mod broker;
mod crowd;
mod database;
mod load;
mod machine;
mod mixed;
mod order_script;
mod peer;
mod pgbench;
mod publisher;
mod rows;
mod service;
mod setup;
mod stats;

use anyhow::Result;
use rows::Bench;
use serde_json::json;
use stats::{Row, table};
use std::process::ExitCode;

// As the service: the peers must not differ in this. Hashing, above all: with another allocator each
// hash may have its 19 MiB mapped and unmapped anew, which here more than doubles its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some(peer::ARGUMENT) => peer::serve(),
        Some(publisher::ARGUMENT) => publisher::publish(),
        _ => run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    // lapin asks for the process's provider of TLS; nothing has installed another one before
    let _ = rustls::crypto::ring::default_provider().install_default();
    // One thread: the generator must not take more of the machine than it needs.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let bench = setup::prepare().await?;
        println!("{}", bench.machine);
        let mut rows: Vec<Row> = Vec::new();
        let outcome = measure(&bench, &mut rows).await;
        bench.clean().await;
        report(&bench, &rows)?;
        outcome
    })
}

/// Runs the chosen rows; what was measured before one failed is kept.
async fn measure(bench: &Bench, rows: &mut Vec<Row>) -> Result<()> {
    if bench.wants("a") {
        rows.extend(rows::changes::measure(bench).await?);
    }
    if bench.wants("b") {
        rows.extend(rows::alone::measure(bench).await?);
    }
    if bench.wants("c") {
        rows.extend(rows::reads::measure(bench).await?);
    }
    if bench.wants("d") {
        rows.extend(rows::sign_ins::measure(bench).await?);
    }
    if bench.wants("e") {
        rows.extend(rows::delivery::measure(bench).await?);
    }
    if bench.wants("f") {
        rows.extend(rows::memory::measure(bench).await?);
    }
    if bench.wants("g") || bench.wants("h") {
        rows.extend(rows::crowd::measure(bench).await?);
    }
    if bench.wants("i") {
        rows.extend(rows::orders::measure(bench).await?);
    }
    if bench.wants("j") {
        rows.extend(rows::backlog::measure(bench).await?);
    }
    if bench.wants("k") {
        rows.extend(rows::snapshot::measure(bench).await?);
    }
    if bench.wants("l") {
        rows.extend(rows::nodes::measure(bench).await?);
    }
    if bench.wants("p") || bench.wants("o") {
        rows.extend(rows::segments::measure(bench).await?);
    }
    if bench.wants("m") || bench.wants("n") {
        rows.extend(rows::segment_crowd::measure(bench).await?);
    }
    if bench.wants("r") {
        rows.extend(rows::overload::measure(bench).await?);
    }
    if bench.wants("q") {
        rows.extend(rows::sealing::measure(bench).await?);
    }
    if bench.wants("s") {
        rows.extend(rows::observing::measure(bench).await?);
    }
    Ok(())
}

fn report(bench: &Bench, rows: &[Row]) -> Result<()> {
    let path = bench.folder.join("service.json");
    let document = json!({
        "machine": bench.machine, "quick": bench.quick,
        "rows": rows.iter().map(Row::to_json).collect::<Vec<_>>(),
    });
    std::fs::write(&path, serde_json::to_vec_pretty(&document)?)?;
    println!("\n{}\n{}", bench.machine, table(rows));
    if bench.quick {
        println!("QUICK=1: too short to judge by.");
    }
    println!("details: {}", path.display());
    Ok(())
}
