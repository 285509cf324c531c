//! Row a: durable changes. Batches of many and batches of one over HTTP, beside pgbench with the
//! same statements in a transaction each; and what the database itself spends on one change.

use super::{Bench, Stretch};
use crate::load::Load;
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::Result;
use serde_json::json;

/// Clients that change at the same time.
const CONNECTIONS: usize = 128;
const PGBENCH_CLIENTS: [usize; 5] = [1, 4, 8, 16, 32];
const SECONDS: u64 = 8;
const PGBENCH_SECONDS: u64 = 4;

/// All rounds of one way of running the service.
struct Way {
    name: &'static str,
    settings: Vec<(&'static str, String)>,
    per_second: Vec<f64>,
    /// Microseconds each: database, service, generator, all others (the broker, mostly).
    micros: Vec<[f64; 4]>,
    /// Share of the messages that were with the consumer's queue when the stretch ended.
    delivered: Vec<f64>,
    p99_ms: Vec<f64>,
    wal_bytes: Vec<f64>,
}

impl Way {
    fn new(name: &'static str, settings: Vec<(&'static str, String)>) -> Self {
        let [per_second, delivered, p99_ms, wal_bytes] = Default::default();
        Self { name, settings, per_second, micros: Vec::new(), delivered, p99_ms, wal_bytes }
    }

    async fn round(&mut self, bench: &Bench) -> Result<()> {
        let running = bench.serve(&self.settings).await?;
        let wal = bench.server.wal_bytes().await?;
        let load = Load::closed(running.address, bench.changes(CONNECTIONS)).await?;
        let seconds = bench.seconds(SECONDS);
        let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
        // Of the warm-up too, hence only the share by time.
        let changes = stretch.per_second() * (stretch.seconds + super::WARM_UP.as_secs_f64());
        if let Some(broker) = &bench.broker {
            self.delivered.push(f64::from(broker.waiting().await?) / changes);
        }
        self.wal_bytes.push((bench.server.wal_bytes().await? - wal) / changes);
        running.stop().await?;
        self.per_second.push(stretch.per_second());
        self.micros.push(stretch.micros_each());
        self.p99_ms.push(percentile_ms(&stretch.seen.latencies, 0.99));
        println!("  {:<24} {:>7.0}/s", self.name, stretch.per_second());
        Ok(())
    }

    fn micros(&self, whose: usize) -> f64 {
        median(&self.micros.iter().map(|each| each[whose]).collect::<Vec<_>>())
    }

    fn describe(&self) -> serde_json::Value {
        json!({
            "connections": CONNECTIONS, "per_second": self.per_second, "p99_ms": median(&self.p99_ms),
            "wal_bytes_each": median(&self.wal_bytes), "delivered_share": median(&self.delivered),
            "cpu_micros_each": { "database": self.micros(0), "service": self.micros(1),
                                 "generator": self.micros(2), "others": self.micros(3) },
        })
    }

    fn print(&self) {
        println!(
            "  {:<24} {}/s; p99 {:.1} ms; CPU µs each: database {:.0}, service {:.0}, generator {:.0}, others {:.0}; \
             WAL {:.0} bytes each; delivered at once {:.0} %",
            self.name,
            spread(&self.per_second, 0),
            median(&self.p99_ms),
            self.micros(0),
            self.micros(1),
            self.micros(2),
            self.micros(3),
            median(&self.wal_bytes),
            median(&self.delivered) * 100.0
        );
    }
}

/// All rounds of pgbench with one number of clients.
#[derive(Default)]
struct Peer {
    clients: usize,
    per_second: Vec<f64>,
    database_micros: Vec<f64>,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\na: durable profile changes, {CONNECTIONS} clients");
    let one = ("CUSTOMER_SERVICE__SHARDS__BATCH_MAX", "1".to_owned());
    let no_broker = ("CUSTOMER_SERVICE__RABBIT__URL", String::new());
    let mut ways =
        vec![Way::new("service", vec![]), Way::new("service, batches of one", vec![one])];
    if bench.broker.is_some() {
        ways.push(Way::new("service, no broker", vec![no_broker]));
    }
    let mut peers = PGBENCH_CLIENTS.map(|clients| Peer { clients, ..Peer::default() });
    for round in 1..=bench.rounds() {
        println!("round {round}");
        for way in &mut ways {
            way.round(bench).await?;
        }
        for peer in &mut peers {
            bench.server.reset().await?;
            let seconds = bench.seconds(PGBENCH_SECONDS);
            let run = bench.pgbench.run(&bench.server, peer.clients, seconds)?;
            println!("  pgbench -c {:<13} {:>7.0}/s", peer.clients, run.transactions_per_second);
            peer.per_second.push(run.transactions_per_second);
            peer.database_micros.extend(run.database_micros);
        }
    }
    Ok(judge(&ways, &peers))
}

fn judge(ways: &[Way], peers: &[Peer]) -> Vec<Row> {
    println!("medians [least–greatest]:");
    for way in ways {
        way.print();
    }
    for peer in peers {
        let cpu = median(&peer.database_micros);
        let rate = spread(&peer.per_second, 0);
        println!("  pgbench -c {:<13} {rate}/s; CPU µs each: database {cpu:.0}", peer.clients);
    }
    let best = peers
        .iter()
        .max_by(|one, other| median(&one.per_second).total_cmp(&median(&other.per_second)));
    let Some(best) = best else { return Vec::new() };
    let best_rate = median(&best.per_second);
    let best_micros = median(&best.database_micros);
    let details = json!({
        "ways": ways.iter().map(|way| json!({ way.name: way.describe() })).collect::<Vec<_>>(),
        "pgbench": peers.iter().map(|peer| json!({
            "clients": peer.clients, "per_second": peer.per_second, "database_micros": peer.database_micros,
        })).collect::<Vec<_>>(),
    });
    let names = ["a1", "a2", "a3"];
    let targets = [Target::AtLeast(1.5), Target::Shown, Target::Shown];
    let mut rows: Vec<Row> = ways
        .iter()
        .zip(names.into_iter().zip(targets))
        .map(|(way, (name, target))| Row {
            name,
            what: format!("changes/s, {} ÷ pgbench -c {}", way.name, best.clients),
            figure: median(&way.per_second) / best_rate,
            unit: "×",
            target,
            details: details.clone(),
        })
        .collect();
    if best_micros > 0.0 {
        rows.push(Row {
            name: "a4",
            what: "the database's CPU time per change ÷ pgbench's".to_owned(),
            figure: ways[0].micros(0) / best_micros,
            unit: "×",
            target: Target::AtMost(0.35),
            details: json!({ "service_micros": ways[0].micros(0), "pgbench_micros": best_micros }),
        });
    }
    rows
}
