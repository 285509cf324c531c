//! Row d: sign-ins beside what the hashing threads can do alone, and what a storm of them does
//! to reads.

use super::{Bench, Stretch};
use crate::database::{CUSTOMERS, SIGNERS};
use crate::load::{Cycle, Load};
use crate::machine::memory_mb;
use crate::service::Running;
use crate::setup::{FULL_COST, hashing, password, sign_in_request};
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::{Result, ensure};
use customer_service::security::hashing::{PasswordHash, Reference};
use serde_json::json;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Few enough that none waits beyond the deadline of the hashing queue.
const CLIENTS: usize = 16;
/// A storm: this many times what hashing can do, at a steady rate. More clients than the hashing
/// queue takes; what is refused is part of the storm.
const STORM_FACTOR: f64 = 10.0;
const STORM_CLIENTS: usize = 256;
const SECONDS: u64 = 9;
const READERS: usize = 16;
const SAMPLE_EVERY: Duration = Duration::from_millis(250);
const READS_PER_SECOND: f64 = 200.0;
/// Calm and storm take turns within a round: a machine that is slower for a while is so for both.
const TURNS: u64 = 3;

/// Each client signs in customers of its own, in turn.
fn sign_ins(clients: usize) -> Vec<Cycle> {
    let own = SIGNERS as usize / clients;
    let number = |client: usize, turn: usize| CUSTOMERS + (client * own + turn) as u32;
    (0..clients)
        .map(|client| (0..own).map(|turn| sign_in_request(number(client, turn))).collect())
        .collect()
}

/// What the rounds found, one figure a round.
#[derive(Default)]
struct Found {
    service: Vec<f64>,
    alone: Vec<f64>,
    micros: Vec<[f64; 4]>,
    hashing_ms: Vec<f64>,
    rest_ms: Vec<f64>,
    calm_p99: Vec<f64>,
    storm_p99: Vec<f64>,
    /// Processor seconds a second in the storm: hashing threads, the rest of the service, database.
    storm_cpu: Vec<[f64; 3]>,
    accepted: Vec<f64>,
    refused: Vec<f64>,
    /// The slowest of the accepted.
    accepted_ms: Vec<f64>,
    refused_p99: Vec<f64>,
    memory_mb: Vec<f64>,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!(
        "\nd: sign-ins, {CLIENTS} clients; then {READS_PER_SECOND} reads/s without and with a storm"
    );
    let seconds = bench.seconds(SECONDS);
    let mut found = Found::default();
    for _ in 0..bench.rounds() {
        let running = bench.serve(&[]).await?;
        let load = Load::closed(running.address, sign_ins(CLIENTS)).await?;
        let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
        found.service.push(stretch.per_second());
        found.micros.push(stretch.micros_each());
        let [hashing, rest] = stretch.hashing_and_rest_ms();
        found.hashing_ms.push(hashing);
        found.rest_ms.push(rest);
        found.alone.push(hashing_alone(seconds).await?);

        let (mut calm, mut stormy) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let seconds = seconds.div_ceil(TURNS).max(2);
            let reads =
                Load::paced(running.address, bench.reads(READERS), READS_PER_SECOND).await?;
            let stretch = Stretch::of(reads, bench, running.pid(), seconds).await?.all_well()?;
            calm.extend(stretch.seen.latencies);
            stormy.extend(storm(bench, &running, seconds, &mut found).await?);
        }
        for (figures, mut latencies) in
            [(&mut found.calm_p99, calm), (&mut found.storm_p99, stormy)]
        {
            latencies.sort_unstable();
            figures.push(percentile_ms(&latencies, 0.99));
        }
        running.stop().await?;
    }
    found.print();
    Ok(found.rows())
}

/// Reads while many more sign-ins arrive than can be hashed: how long each took, microseconds.
async fn storm(
    bench: &Bench,
    running: &Running,
    seconds: u64,
    found: &mut Found,
) -> Result<Vec<u32>> {
    let offered = found.alone.last().copied().unwrap_or_default() * STORM_FACTOR;
    let storm = Load::paced(running.address, sign_ins(STORM_CLIENTS), offered).await?;
    storm.record();
    let since = Instant::now();
    let (over, pid) = (Rc::new(Cell::new(false)), running.pid());
    let watched = Rc::clone(&over);
    let memory = tokio::task::spawn_local(async move {
        let mut most = 0.0;
        while !watched.get() {
            most = f64::max(most, memory_mb(pid)?.0);
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
        anyhow::Ok(most)
    });
    let reads = Load::paced(running.address, bench.reads(READERS), READS_PER_SECOND).await?;
    let stretch = Stretch::of(reads, bench, pid, seconds).await?.all_well()?;
    let lasted = since.elapsed().as_secs_f64();
    let seen = storm.finish().await;
    over.set(true);
    let only_503 = seen.refused.keys().all(|status| *status == 503);
    ensure!(only_503, "refused in the storm, by status: {:?}", seen.refused);
    let refused: u64 = seen.refused.values().sum();
    let parts = [
        stretch.hashing_cpu,
        stretch.service_cpu - stretch.hashing_cpu,
        stretch.database_cpu.unwrap_or_default(),
    ];
    found.storm_cpu.push(parts.map(|cpu| cpu / stretch.seconds));
    found.accepted.push(seen.done as f64 / lasted);
    found.refused.push(refused as f64 / lasted);
    found.accepted_ms.push(percentile_ms(&seen.waits, 1.0));
    found.refused_p99.push(percentile_ms(&seen.refusals, 0.99));
    found.memory_mb.push(memory.await??);
    Ok(stretch.seen.latencies)
}

impl Found {
    fn print(&self) {
        let each = |whose: usize| {
            median(&self.micros.iter().map(|micros| micros[whose]).collect::<Vec<_>>()) / 1000.0
        };
        let storm_cpu =
            |whose: usize| median(&self.storm_cpu.iter().map(|cpu| cpu[whose]).collect::<Vec<_>>());
        println!(
            "  sign-ins {}/s; CPU ms each: database {:.1}, service {:.1}, generator {:.1}, others {:.1}; \
             hashing threads {}, all else but the generator {}; hashing alone {}/s",
            spread(&self.service, 1),
            each(0),
            each(1),
            each(2),
            each(3),
            spread(&self.hashing_ms, 1),
            spread(&self.rest_ms, 1),
            spread(&self.alone, 1)
        );
        println!(
            "  p99 of reads {} ms; in a storm of {}/s accepted (the slowest after {} ms) and {}/s \
             refused (99 % within {} ms): {} ms, memory at most {} MB; cores busy with hashing {:.2}, \
             the rest of the service {:.2}, the database {:.2}",
            spread(&self.calm_p99, 2),
            spread(&self.accepted, 1),
            spread(&self.accepted_ms, 0),
            spread(&self.refused, 0),
            spread(&self.refused_p99, 1),
            spread(&self.storm_p99, 2),
            spread(&self.memory_mb, 1),
            storm_cpu(0),
            storm_cpu(1),
            storm_cpu(2)
        );
    }

    fn rows(&self) -> Vec<Row> {
        let shown = |name, what: &str, figures: &[f64], unit, target| Row {
            name,
            what: what.to_owned(),
            figure: median(figures),
            unit,
            target,
            details: json!(figures),
        };
        vec![
            Row {
                name: "d1",
                what: "sign-ins per second ÷ what as many hashing threads do alone".to_owned(),
                figure: median(&self.service) / median(&self.alone),
                unit: "×",
                target: Target::AtLeast(0.9),
                details: json!({ "service": self.service, "hashing_alone": self.alone }),
            },
            Row {
                name: "d2",
                what: "p99 of reads in a sign-in storm ÷ without".to_owned(),
                figure: median(&self.storm_p99) / median(&self.calm_p99),
                unit: "×",
                target: Target::AtMost(2.0),
                details: json!({
                    "calm_p99_ms": self.calm_p99, "storm_p99_ms": self.storm_p99,
                    "accepted_per_second": self.accepted, "refused_per_second": self.refused,
                }),
            },
            shown(
                "d3",
                "slowest sign-in accepted in the storm",
                &self.accepted_ms,
                "ms",
                Target::AtMost(1_500.0),
            ),
            shown(
                "d4",
                "p99 of refusals in the storm",
                &self.refused_p99,
                "ms",
                Target::AtMost(100.0),
            ),
            shown(
                "d5",
                "memory in the storm, at most",
                &self.memory_mb,
                "MB",
                Target::AtMost(150.0),
            ),
            shown(
                "d6",
                "CPU of a sign-in beside its hash (all but the generator)",
                &self.rest_ms,
                "ms",
                Target::Shown,
            ),
        ]
    }
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
