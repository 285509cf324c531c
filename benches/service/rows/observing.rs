//! Row s: what watching costs: durable changes beside the same changes with nothing recorded at all. By
//! default there are metrics and logs at info, without traces; then traces of every tenth request, which is
//! the share by default, and of all, to a collector that takes them and forgets.

use super::{Bench, Stretch};
use crate::load::Load;
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// Clients that change at the same time.
const CONNECTIONS: usize = 128;
const SECONDS: u64 = 5;
/// For each round of other rows: what is looked for is less than that by which rounds differ.
const ROUNDS: usize = 2;

/// What is recorded: the metrics, the log's level, and of how many requests in a hundred a trace.
struct Way {
    name: &'static str,
    metrics: &'static str,
    log: &'static str,
    traced: Option<u32>,
}

const WAYS: [Way; 4] = [
    Way { name: "nothing", metrics: "off", log: "off", traced: None },
    Way { name: "metrics and logs", metrics: "on", log: "info", traced: None },
    Way { name: "and every tenth trace", metrics: "on", log: "info", traced: Some(10) },
    Way { name: "and all traces", metrics: "on", log: "info", traced: Some(100) },
];

/// All rounds of one way.
#[derive(Default)]
struct Rounds {
    per_second: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Microseconds each: database, service, generator and collector, all others (the broker, mostly).
    micros: Vec<[f64; 4]>,
    /// Bytes of spans that the collector was sent for each change.
    trace_bytes: Vec<f64>,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\ns: changes that are watched beside changes that are not, {CONNECTIONS} clients");
    let collector = Collector::start().await?;
    let mut rounds = WAYS.map(|_| Rounds::default());
    for round in 0..bench.rounds() * ROUNDS {
        // Each is first as often as the others: a machine that gets slower favours none.
        for turn in 0..WAYS.len() {
            let at = (round + turn) % WAYS.len();
            rounds[at].play(bench, &collector, &WAYS[at]).await?;
        }
    }
    Ok(judge(&rounds))
}

impl Rounds {
    async fn play(&mut self, bench: &Bench, collector: &Collector, way: &Way) -> Result<()> {
        let set = |key: &str, value: String| (format!("CUSTOMER_SERVICE__TELEMETRY__{key}"), value);
        let mut settings =
            vec![set("METRICS", way.metrics.to_owned()), set("LOG", way.log.to_owned())];
        if let Some(percent) = way.traced {
            settings.push(set("TRACES_URL", collector.url()));
            settings.push(set("TRACES_PERCENT", percent.to_string()));
        }
        let settings: Vec<(&str, String)> =
            settings.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let running = bench.serve(&settings).await?;
        let before = collector.bytes.get();
        let load = Load::closed(running.address, bench.changes(CONNECTIONS)).await?;
        let seconds = bench.seconds(SECONDS);
        let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
        running.stop().await?;
        // Of the warm-up too, hence only the share by time.
        let changes = stretch.per_second() * (stretch.seconds + super::WARM_UP.as_secs_f64());
        self.trace_bytes.push((collector.bytes.get() - before) as f64 / changes);
        println!("  {:<22} {:>7.0}/s", way.name, stretch.per_second());
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
            "trace_bytes_each": median(&self.trace_bytes),
            "cpu_micros_each": { "database": self.micros(0), "service": self.micros(1),
                                 "generator": self.micros(2), "others": self.micros(3) },
        })
    }
}

fn judge(rounds: &[Rounds; 4]) -> Vec<Row> {
    println!("medians [least–greatest]:");
    for (one, way) in rounds.iter().zip(&WAYS) {
        println!(
            "  {:<22} {}/s; p99 {:.1} ms; CPU µs each: database {:.0}, service {:.0}; {:.0} bytes of spans each",
            way.name,
            spread(&one.per_second, 0),
            median(&one.p99_ms),
            one.micros(0),
            one.micros(1),
            median(&one.trace_bytes),
        );
    }
    let bare = median(&rounds[0].per_second);
    let row = |name, at: usize, least| {
        let watched = median(&rounds[at].per_second);
        Row {
            name,
            what: format!("changes/s, {} ÷ nothing ({watched:.0}/s ÷ {bare:.0}/s)", WAYS[at].name),
            figure: watched / bare,
            unit: "×",
            target: Target::AtLeast(least),
            details: json!({ "watched": rounds[at].describe(), "nothing": rounds[0].describe() }),
        }
    };
    vec![row("s1", 1, 0.95), row("s2", 2, 0.9), row("s3", 3, 0.9)]
}

/// Takes traces by OTLP over HTTP and counts their bytes.
struct Collector {
    address: SocketAddr,
    bytes: Rc<Cell<u64>>,
}

impl Collector {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let bytes: Rc<Cell<u64>> = Rc::default();
        let counted = bytes.clone();
        spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A connection ends as its service does.
                spawn_local(take(stream, counted.clone()));
            }
        });
        Ok(Self { address, bytes })
    }

    fn url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }
}

async fn take(stream: TcpStream, bytes: Rc<Cell<u64>>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    let mut body = Vec::new();
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().context("a length that is no number")?;
            }
            if line.is_empty() {
                break;
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        bytes.set(bytes.get() + length as u64);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await?;
    }
}
