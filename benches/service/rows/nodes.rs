//! Row l: two nodes beside one, durable changes of the same clients. Kept: each customer's requests go
//! to one node, as a balancer that hashes sends them. In turn: each client's next request goes to the
//! other node. All nodes share the machine's cores, its database and its broker, so that a second node
//! brings no more processor: shown is what it costs, not what another machine would add.

use super::{Bench, Stretch};
use crate::load::{Client, Load};
use crate::service::Running;
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::Result;
use serde_json::{Value, json};

/// Clients that change at the same time, over all nodes.
const CONNECTIONS: usize = 128;
const SECONDS: u64 = 8;

/// Who serves, and which of them a client asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nodes {
    One,
    Kept,
    InTurn,
}

const WAYS: [(Nodes, &str); 3] = [
    (Nodes::One, "one node"),
    (Nodes::Kept, "two nodes, a customer to one"),
    (Nodes::InTurn, "two nodes in turn"),
];

/// All rounds of one way.
#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Microseconds each: database, all nodes, generator, all others (the broker, mostly).
    micros: Vec<[f64; 4]>,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\nl: two nodes beside one, {CONNECTIONS} clients");
    let mut rounds = WAYS.map(|_| Rounds::default());
    for round in 0..bench.rounds() {
        // Each is first as often as the others: a machine that gets slower favours none.
        for turn in 0..WAYS.len() {
            let at = (round + turn) % WAYS.len();
            rounds[at].play(bench, WAYS[at]).await?;
        }
    }
    Ok(judge(&rounds))
}

impl Rounds {
    async fn play(&mut self, bench: &Bench, (nodes, name): (Nodes, &str)) -> Result<()> {
        let mut running = vec![bench.serve(&[]).await?];
        if nodes != Nodes::One {
            running.push(bench.serve_too().await?);
        }
        let load = Load::of(clients(bench, nodes, &running)).await?;
        let pids: Vec<u32> = running.iter().map(Running::pid).collect();
        let seconds = bench.seconds(SECONDS);
        let stretch = Stretch::of_nodes(load, bench, &pids, seconds).await?.all_well()?;
        for node in running {
            node.stop().await?;
        }
        println!("  {name:<30} {:>7.0}/s", stretch.per_second());
        self.per_second.push(stretch.per_second());
        self.p99_ms.push(percentile_ms(&stretch.seen.latencies, 0.99));
        self.micros.push(stretch.micros_each());
        Ok(())
    }

    fn micros(&self, whose: usize) -> f64 {
        median(&self.micros.iter().map(|each| each[whose]).collect::<Vec<_>>())
    }

    fn describe(&self) -> Value {
        json!({
            "connections": CONNECTIONS, "per_second": self.per_second, "p99_ms": median(&self.p99_ms),
            "cpu_micros_each": { "database": self.micros(0), "nodes": self.micros(1),
                                 "generator": self.micros(2), "others": self.micros(3) },
        })
    }
}

fn clients(bench: &Bench, nodes: Nodes, running: &[Running]) -> Vec<Client> {
    let cycles = bench.changes(CONNECTIONS).into_iter().enumerate();
    let asked = |number: usize| match nodes {
        Nodes::One | Nodes::Kept => vec![running[number % running.len()].address],
        // Half of the clients begin with either.
        Nodes::InTurn => {
            (0..running.len()).map(|at| running[(number + at) % running.len()].address).collect()
        }
    };
    cycles.map(|(number, cycle)| Client { addresses: asked(number), cycle }).collect()
}

fn judge(rounds: &[Rounds]) -> Vec<Row> {
    println!("medians [least–greatest]:");
    for (one, (_, name)) in rounds.iter().zip(WAYS) {
        println!(
            "  {name:<30} {}/s; p99 {:.1} ms; CPU µs each: database {:.0}, nodes {:.0}, generator {:.0}, others {:.0}",
            spread(&one.per_second, 0),
            median(&one.p99_ms),
            one.micros(0),
            one.micros(1),
            one.micros(2),
            one.micros(3),
        );
    }
    let rate = |at: usize| median(&rounds[at].per_second);
    let all: Vec<Value> = rounds
        .iter()
        .zip(WAYS)
        .map(|(one, (_, name))| json!({ "way": name, "measured": one.describe() }))
        .collect();
    let names = ["l1", "l2"];
    let row = |(at, name): (usize, &'static str)| Row {
        name,
        what: format!(
            "changes/s, {} ÷ one node ({:.0}/s ÷ {:.0}/s)",
            WAYS[at].1,
            rate(at),
            rate(0)
        ),
        figure: rate(at) / rate(0),
        unit: "×",
        target: Target::Shown,
        details: json!(all),
    };
    (1..).zip(names).map(row).collect()
}
