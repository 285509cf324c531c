//! Row d: sign-ins beside what the hashing threads can do alone, and what a storm of them does
//! to reads.

use super::{Bench, Stretch};
use crate::database::{CUSTOMERS, SIGNERS};
use crate::load::{Cycle, Load};
use crate::setup::{FULL_COST, hashing, password, sign_in_request};
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::Result;
use customer_service::security::hashing::{PasswordHash, Reference};
use serde_json::json;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Few enough that none waits beyond the deadline of the hashing queue.
const CLIENTS: usize = 16;
/// A storm: this many times what hashing can do, at a steady rate. More clients than the hashing
/// queue takes; what is refused is part of the storm.
const STORM_FACTOR: f64 = 10.0;
const STORM_CLIENTS: usize = 256;
const SECONDS: u64 = 6;
const READERS: usize = 16;
const READS_PER_SECOND: f64 = 200.0;

/// Each client signs in customers of its own, in turn.
fn sign_ins(clients: usize) -> Vec<Cycle> {
    let own = SIGNERS as usize / clients;
    let number = |client: usize, turn: usize| CUSTOMERS + (client * own + turn) as u32;
    (0..clients)
        .map(|client| (0..own).map(|turn| sign_in_request(number(client, turn))).collect())
        .collect()
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!(
        "\nd: sign-ins, {CLIENTS} clients; then {READS_PER_SECOND} reads/s without and with a storm"
    );
    let seconds = bench.seconds(SECONDS);
    let (mut service, mut alone, mut micros) = (Vec::new(), Vec::new(), Vec::new());
    let (mut calm, mut storm, mut storm_rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let running = bench.serve(&[]).await?;
        let load = Load::closed(running.address, sign_ins(CLIENTS)).await?;
        let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
        service.push(stretch.per_second());
        micros.push(stretch.micros_each());
        alone.push(hashing_alone(seconds).await?);

        let reads = Load::paced(running.address, bench.reads(READERS), READS_PER_SECOND).await?;
        let stretch = Stretch::of(reads, bench, running.pid(), seconds).await?.all_well()?;
        calm.push(percentile_ms(&stretch.seen.latencies, 0.99));

        let offered = alone.last().copied().unwrap_or_default() * STORM_FACTOR;
        let sign_ins = Load::paced(running.address, sign_ins(STORM_CLIENTS), offered).await?;
        sign_ins.record();
        let since = Instant::now();
        let reads = Load::paced(running.address, bench.reads(READERS), READS_PER_SECOND).await?;
        let stretch = Stretch::of(reads, bench, running.pid(), seconds).await?.all_well()?;
        storm.push(percentile_ms(&stretch.seen.latencies, 0.99));
        let lasted = since.elapsed().as_secs_f64();
        let seen = sign_ins.finish().await;
        let refused: u64 = seen.refused.values().sum();
        storm_rates.push((seen.done as f64 / lasted, refused as f64 / lasted));
        running.stop().await?;
    }
    let each = |whose: usize| median(&micros.iter().map(|m| m[whose]).collect::<Vec<_>>()) / 1000.0;
    println!(
        "  sign-ins {}/s, CPU ms each: database {:.1}, service {:.1}, generator {:.1}, others {:.1}; hashing alone {}/s",
        spread(&service, 1),
        each(0),
        each(1),
        each(2),
        each(3),
        spread(&alone, 1)
    );
    let (signed_in, refused) = storm_rates.iter().copied().unzip::<f64, f64, Vec<_>, Vec<_>>();
    println!(
        "  p99 of reads {} ms; in a storm of {}/s accepted and {}/s refused: {} ms",
        spread(&calm, 2),
        spread(&signed_in, 1),
        spread(&refused, 0),
        spread(&storm, 2)
    );
    Ok(vec![
        Row {
            name: "d1",
            what: "sign-ins per second ÷ what the hashing threads do alone".to_owned(),
            figure: median(&service) / median(&alone),
            unit: "×",
            target: Target::AtLeast(0.9),
            details: json!({ "service": service, "hashing_alone": alone, "cpu_micros_each": micros }),
        },
        Row {
            name: "d2",
            what: "p99 of reads in a sign-in storm ÷ without".to_owned(),
            figure: median(&storm) / median(&calm),
            unit: "×",
            target: Target::AtMost(3.0),
            details: json!({ "calm_p99_ms": calm, "storm_p99_ms": storm, "storm": storm_rates }),
        },
    ])
}

/// Verifications per second of the service's own hashing threads, with nothing around them.
async fn hashing_alone(seconds: u64) -> Result<f64> {
    let pool = Rc::new(hashing(FULL_COST)?);
    let hash: PasswordHash = pool.hash(password()).await?;
    let since = Instant::now();
    let end = since + Duration::from_secs(seconds);
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (pool, hash) = (Rc::clone(&pool), hash.clone());
            tokio::task::spawn_local(async move {
                let mut done = 0_u64;
                while Instant::now() < end {
                    pool.verify(password(), Reference::Stored(hash.clone())).await?;
                    done += 1;
                }
                anyhow::Ok(done)
            })
        })
        .collect();
    let mut done = 0;
    for client in clients {
        done += client.await??;
    }
    Ok(done as f64 / since.elapsed().as_secs_f64())
}
