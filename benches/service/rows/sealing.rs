//! Row q: what sealing costs: durable changes whose messages and entries carry the values that changed,
//! sealed by each customer's key, beside the same changes without values (`privacy.seal_values`).

use super::{Bench, Stretch};
use crate::load::Load;
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::Result;
use serde_json::{Value, json};

/// Clients that change at the same time.
const CONNECTIONS: usize = 128;
const SECONDS: u64 = 8;

const WAYS: [&str; 2] = ["on", "off"];

/// All rounds of one way.
#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Microseconds each: database, service, generator, all others (the broker, mostly).
    micros: Vec<[f64; 4]>,
    wal_bytes: Vec<f64>,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\nq: changes with sealed values beside changes without, {CONNECTIONS} clients");
    let mut rounds = WAYS.map(|_| Rounds::default());
    for round in 0..bench.rounds() {
        // Each is first as often as the other: a machine that gets slower favours none.
        for turn in 0..WAYS.len() {
            let at = (round + turn) % WAYS.len();
            rounds[at].play(bench, WAYS[at]).await?;
        }
    }
    Ok(vec![judge(&rounds)])
}

impl Rounds {
    async fn play(&mut self, bench: &Bench, values: &str) -> Result<()> {
        let setting = ("CUSTOMER_SERVICE__PRIVACY__SEAL_VALUES", values.to_owned());
        let running = bench.serve(&[setting]).await?;
        let wal = bench.server.wal_bytes().await?;
        let load = Load::closed(running.address, bench.changes(CONNECTIONS)).await?;
        let seconds = bench.seconds(SECONDS);
        let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
        // Of the warm-up too, hence only the share by time.
        let changes = stretch.per_second() * (stretch.seconds + super::WARM_UP.as_secs_f64());
        self.wal_bytes.push((bench.server.wal_bytes().await? - wal) / changes);
        running.stop().await?;
        println!("  values {values:<4} {:>7.0}/s", stretch.per_second());
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
            "wal_bytes_each": median(&self.wal_bytes),
            "cpu_micros_each": { "database": self.micros(0), "service": self.micros(1),
                                 "generator": self.micros(2), "others": self.micros(3) },
        })
    }
}

fn judge(rounds: &[Rounds; 2]) -> Row {
    println!("medians [least–greatest]:");
    for (one, values) in rounds.iter().zip(WAYS) {
        println!(
            "  values {values:<4} {}/s; p99 {:.1} ms; CPU µs each: database {:.0}, service {:.0}; WAL {:.0} bytes each",
            spread(&one.per_second, 0),
            median(&one.p99_ms),
            one.micros(0),
            one.micros(1),
            median(&one.wal_bytes),
        );
    }
    let [on, off] = [&rounds[0], &rounds[1]].map(|one| median(&one.per_second));
    Row {
        name: "q",
        what: format!("changes/s, values sealed ÷ without ({on:.0}/s ÷ {off:.0}/s)"),
        figure: on / off,
        unit: "×",
        target: Target::AtLeast(0.85),
        details: json!({ "sealed": rounds[0].describe(), "without": rounds[1].describe() }),
    }
}
