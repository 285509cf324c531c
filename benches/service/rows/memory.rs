//! Row f: resident memory, idle and under 256 busy connections.

use super::Bench;
use crate::load::Load;
use crate::machine::memory_mb;
use crate::setup::HOLDERS;
use crate::stats::{Row, Target};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(5);
const SECONDS: u64 = 15;
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\nf: resident memory, idle and under {HOLDERS} connections");
    let running = bench.serve(&[]).await?;
    tokio::time::sleep(IDLE).await;
    let idle = memory_mb(running.pid())?;
    // Half of them read, half of them change, all as fast as they can.
    let half = HOLDERS as usize / 2;
    let mut cycles = bench.changes(half);
    cycles.extend(bench.reads(half));
    let load = Load::closed(running.address, cycles).await?;
    load.record();
    let mut most = (0.0, 0.0);
    let samples = bench.seconds(SECONDS) * 4;
    for _ in 0..samples {
        tokio::time::sleep(SAMPLE_EVERY).await;
        let (resident, proportional) = memory_mb(running.pid())?;
        most = (f64::max(most.0, resident), f64::max(most.1, proportional));
    }
    let seen = load.finish().await;
    ensure!(seen.refused.is_empty(), "refused, by status: {:?}", seen.refused);
    running.stop().await?;
    println!(
        "  idle {:.1} MB (Pss {:.1}); busy, at most {:.1} MB (Pss {:.1})",
        idle.0, idle.1, most.0, most.1
    );
    let row = |name, what: &str, (resident, proportional): (f64, f64), bound| Row {
        name,
        what: what.to_owned(),
        figure: resident,
        unit: "MB",
        target: Target::AtMost(bound),
        details: json!({ "rss_mb": resident, "pss_mb": proportional }),
    };
    Ok(vec![
        row("f1", "resident memory, idle", idle, 40.0),
        row("f2", "resident memory under 256 busy connections, at most", most, 150.0),
    ])
}
