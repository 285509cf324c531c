//! The rows of the benchmark, one file each, and what they share.

pub mod alone;
pub mod backlog;
pub mod changes;
pub mod crowd;
pub mod delivery;
pub mod memory;
pub mod nodes;
pub mod observing;
pub mod orders;
pub mod overload;
pub mod reads;
pub mod sealing;
pub mod segment_crowd;
pub mod segments;
pub mod sign_ins;
pub mod snapshot;

use super::broker::Broker;
use super::database::Server;
use super::load::{Cycle, Load, Seen, request};
use super::machine;
use super::pgbench::Pgbench;
use super::service::{Program, Running};
use anyhow::{Result, ensure};
use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A customer who is signed in.
#[derive(Clone)]
pub struct Holder {
    pub number: u32,
    pub token: String,
    /// As it was given; only row r exchanges it.
    pub refresh: String,
}

/// What every row works with.
pub struct Bench {
    /// Where results and logs go.
    pub folder: PathBuf,
    pub server: Server,
    pub broker: Option<Broker>,
    pub program: Program,
    pub holders: Vec<Holder>,
    pub pgbench: Pgbench,
    /// The machine and its servers, in one line.
    pub machine: String,
    pub rows: Vec<String>,
    pub quick: bool,
    /// Loads made so far: each changes to texts of its own, so that its first request is a change too.
    pub loads: Cell<u32>,
}

/// Before anything counts: connections open, plans cached, batches at their size.
const WARM_UP: Duration = Duration::from_secs(2);

impl Bench {
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }

    pub fn rounds(&self) -> usize {
        if self.quick { 2 } else { 5 }
    }

    /// Length of one phase.
    pub fn seconds(&self, full: u64) -> u64 {
        if self.quick { 2 } else { full }
    }

    /// A fresh service on a database that was put back.
    pub async fn serve(&self, settings: &[(&str, String)]) -> Result<Running> {
        self.server.reset().await?;
        if let Some(broker) = &self.broker {
            broker.purge().await?;
        }
        self.program.start(&["serve"], settings, "/health/ready").await
    }

    /// Another node beside that of `serve`.
    pub async fn serve_too(&self) -> Result<Running> {
        self.program.start(&["serve"], &[], "/health/ready").await
    }

    /// What the first `count` holders send when they change their profile over and over: two texts
    /// in turn, so that each is a change.
    pub fn changes(&self, count: usize) -> Vec<Cycle> {
        self.loads.set(self.loads.get() + 1);
        let texts = ["odd", "even"]
            .map(|turn| format!("A few lines about oneself, {} {turn}", self.loads.get()));
        let change = |token: &str, text: &str| {
            let body = format!("{{\"bio\":\"{text}\"}}");
            request("PATCH", "/v1/me/profile", Some(token), Some(&body))
        };
        let spread = self.holders.iter().step_by((self.holders.len() / count).max(1)).take(count);
        spread
            .map(|holder| texts.iter().map(|text| change(&holder.token, text)).collect())
            .collect()
    }

    /// What the first `count` holders send when they read themselves.
    pub fn reads(&self, count: usize) -> Vec<Cycle> {
        let holders = self.holders.iter().take(count);
        holders.map(|holder| vec![request("GET", "/v1/me", Some(&holder.token), None)]).collect()
    }

    /// Removes what the run made outside its folder. A broker that cannot be reached keeps it.
    pub async fn clean(&self) {
        if let Some(broker) = &self.broker
            && let Err(error) = broker.clean().await
        {
            eprintln!("bench: the broker keeps the bench's queue: {error:#}");
        }
    }
}

/// One stretch of load, with the processor time of everybody in it.
pub struct Stretch {
    pub seen: Seen,
    pub seconds: f64,
    pub database_cpu: Option<f64>,
    pub service_cpu: f64,
    /// Of that, what the hashing threads used.
    pub hashing_cpu: f64,
    pub generator_cpu: f64,
    /// The machine's, all together.
    pub machine_cpu: f64,
}

impl Stretch {
    /// Lets the load warm up, then watches it for `seconds`.
    pub async fn of(load: Load, bench: &Bench, pid: u32, seconds: u64) -> Result<Self> {
        Self::of_nodes(load, bench, &[pid], seconds).await
    }

    /// The same of several nodes, whose processor time counts together.
    pub async fn of_nodes(load: Load, bench: &Bench, pids: &[u32], seconds: u64) -> Result<Self> {
        tokio::time::sleep(WARM_UP).await;
        let own = std::process::id();
        let spent = || {
            let database = bench.server.cpu();
            [
                pids.iter().map(|pid| machine::cpu_of(*pid)).sum(),
                pids.iter().map(|pid| machine::cpu_of_threads(*pid, "hashing-")).sum(),
                machine::cpu_of(own),
                machine::cpu_of_all(),
                database.unwrap_or(0.0),
            ]
        };
        let before = spent();
        let since = Instant::now();
        load.record();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let seconds = since.elapsed().as_secs_f64();
        let after = spent();
        let seen = load.finish().await;
        ensure!(seen.done > 0, "nothing succeeded; refused: {:?}", seen.refused);
        let [service_cpu, hashing_cpu, generator_cpu, machine_cpu, database_cpu] =
            std::array::from_fn(|at| after[at] - before[at]);
        let database_cpu = bench.server.cpu().map(|_| database_cpu);
        Ok(Self {
            seen,
            seconds,
            database_cpu,
            service_cpu,
            hashing_cpu,
            generator_cpu,
            machine_cpu,
        })
    }

    pub fn per_second(&self) -> f64 {
        self.seen.done as f64 / self.seconds
    }

    /// Microseconds of processor time for each request: database, service, generator, all others.
    pub fn micros_each(&self) -> [f64; 4] {
        let database = self.database_cpu.unwrap_or(0.0);
        let others = self.machine_cpu - database - self.service_cpu - self.generator_cpu;
        [database, self.service_cpu, self.generator_cpu, others]
            .map(|seconds| seconds * 1e6 / self.seen.done as f64)
    }

    /// Milliseconds of processor time that each request took of the hashing threads, and of all
    /// others but the generator: service, database, broker, Redis.
    pub fn hashing_and_rest_ms(&self) -> [f64; 2] {
        let rest = self.machine_cpu - self.generator_cpu - self.hashing_cpu;
        [self.hashing_cpu, rest].map(|seconds| seconds * 1e3 / self.seen.done as f64)
    }

    /// Fails when anything but success was answered.
    pub fn all_well(self) -> Result<Self> {
        ensure!(self.seen.refused.is_empty(), "refused, by status: {:?}", self.seen.refused);
        Ok(self)
    }
}
