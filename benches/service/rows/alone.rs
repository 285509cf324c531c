//! Row b: how long one change takes a client who is alone.

use super::{Bench, Stretch};
use crate::load::Load;
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::Result;
use serde_json::json;

const SECONDS: u64 = 4;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\nb: one client alone");
    let seconds = bench.seconds(SECONDS);
    let (mut service, mut pgbench) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let running = bench.serve(&[]).await?;
        let load = Load::closed(running.address, bench.changes(1)).await?;
        let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
        service.push(percentile_ms(&stretch.seen.latencies, 0.5));
        running.stop().await?;
        bench.server.reset().await?;
        pgbench.push(bench.pgbench.alone_ms(&bench.server, seconds)?);
    }
    println!("  p50 service {} ms, pgbench {} ms", spread(&service, 2), spread(&pgbench, 2));
    Ok(vec![Row {
        name: "b",
        what: "p50 of one client's change ÷ pgbench -c 1".to_owned(),
        figure: median(&service) / median(&pgbench),
        unit: "×",
        target: Target::AtMost(3.0),
        details: json!({ "service_p50_ms": service, "pgbench_p50_ms": pgbench }),
    }])
}
