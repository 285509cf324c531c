//! Row r: what becomes of each class of requests when once, twice, three and five times as much is asked
//! as can be worked off. What a node can do is found first: by clients who wait for each answer.
//!
//! The load comes at its rate whatever becomes of it, from processors of its own where `make overload`
//! gives it some: at five times what can be done, what it uses itself is no longer little. The last stretch is
//! three times as much without admission (`overload.delay_ms` at its highest), for comparison.

use super::{Bench, WARM_UP};
use crate::database::{CUSTOMERS, SIGNERS};
use crate::mixed::{Askers, Class, Got, Stream};
use crate::stats::{Row, Target, median, percentile_ms};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::fmt::Write;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The share of each class, in the order of [`Class::ALL`]. A sign-in costs as much as hundreds of reads.
const MIX: [f64; 5] = [0.05, 0.65, 0.292, 0.003, 0.005];
const FACTORS: [f64; 4] = [1.0, 2.0, 3.0, 5.0];
/// Who wait for each answer, to find out what can be done: so many that batches fill and nothing is idle.
const CLIENTS: usize = 512;
/// Connections that send at a rate: more than are ever under way.
const SENDERS: usize = 1_500;
const SECONDS: u64 = 10;
const ROUNDS: usize = 3;
/// Of so few answers a hundredth says nothing.
const ENOUGH: usize = 200;

/// Nobody is refused.
const WITHOUT: &[(&str, &str)] = &[("CUSTOMER_SERVICE__OVERLOAD__DELAY_MS", "10000")];

const UNLIMITED: &[(&str, &str)] = &[
    ("CUSTOMER_SERVICE__LIMITS__REFRESH_PER_MINUTE", "1000000"),
    ("CUSTOMER_SERVICE__STUFFING__BRAKE", "off"),
];

/// One stretch of load.
struct Stretch {
    name: String,
    factor: f64,
    seconds: f64,
    got: [Got; 5],
}

impl Stretch {
    fn goodput(&self, class: Class) -> f64 {
        self.got[class as usize].latencies.len() as f64 / self.seconds
    }

    fn total(&self) -> f64 {
        Class::ALL.into_iter().map(|class| self.goodput(class)).sum()
    }

    fn p99_ms(&self, class: Class) -> Option<f64> {
        let latencies = &self.got[class as usize].latencies;
        (latencies.len() >= ENOUGH).then(|| percentile_ms(latencies, 0.99))
    }

    fn refusals(&self) -> Vec<u32> {
        let mut all: Vec<_> = self.got.iter().flat_map(|got| got.refusals.clone()).collect();
        all.sort_unstable();
        all
    }

    fn line(&self, class: Class) -> String {
        let got = &self.got[class as usize];
        let rate = |count: usize| count as f64 / self.seconds;
        let p99 = self.p99_ms(class).map_or("–".to_owned(), |p99| format!("{p99:.1}"));
        let others: u64 = got.others.values().sum::<u64>() + got.unsent;
        format!(
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.1} | {p99} | {others} |",
            self.name,
            class.name(),
            got.offered() as f64 / self.seconds,
            rate(got.latencies.len()),
            rate(got.refusals.len()),
            percentile_ms(&got.latencies, 0.5),
        )
    }

    fn to_json(&self) -> Value {
        let of = |class: Class| {
            let got = &self.got[class as usize];
            json!({
                "class": class.name(), "offered": got.offered() as f64 / self.seconds,
                "goodput": self.goodput(class), "refused": got.refusals.len() as f64 / self.seconds,
                "p50_ms": percentile_ms(&got.latencies, 0.5), "p99_ms": self.p99_ms(class),
                "others": got.others.iter().map(|(k, v)| (k.to_string(), *v)).collect::<Vec<_>>(),
                "unsent": got.unsent,
            })
        };
        json!({ "load": self.name, "classes": Class::ALL.map(of) })
    }
}

const HEAD: &str = "| load | class | offered/s | good/s | refused/s | p50 ms | p99 ms | other |\n\
                    |---|---|---|---|---|---|---|---|";

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\nr: overload, {CLIENTS} clients for what can be done, then so many times as much");
    let scopes = ["key", "create", "--name", "bench", "--scopes", "analytics:read", "--json"];
    let made: Value = serde_json::from_str(&bench.program.ask(&scopes)?)?;
    let staff_key = made["key"].as_str().context("no key was made")?.to_owned();
    let askers = Askers::new(bench.holders.clone(), (CUSTOMERS, SIGNERS), staff_key, MIX);
    let rounds = if bench.quick { 1 } else { ROUNDS };
    let mut stretches: Vec<Vec<Stretch>> = Vec::new();
    for _ in 0..rounds {
        stretches.push(round(bench, &askers).await?);
    }
    let last = stretches.last().context("no round")?;
    tell(bench, last)?;
    Ok(judge(&stretches))
}

async fn round(bench: &Bench, askers: &Rc<Askers>) -> Result<Vec<Stretch>> {
    let capacity = stretch(bench, askers, "can", 0.0, None, WITHOUT).await?;
    let can = capacity.total();
    println!("  {can:.0}/s can be done; the last round is shown");
    let mut all = vec![capacity];
    for factor in FACTORS {
        let rate = Some(can * factor);
        all.push(stretch(bench, askers, &format!("{factor:.0}×"), factor, rate, &[]).await?);
    }
    all.push(stretch(bench, askers, "3× without", 3.0, Some(can * 3.0), WITHOUT).await?);
    Ok(all)
}

async fn stretch(
    bench: &Bench,
    askers: &Rc<Askers>,
    name: &str,
    factor: f64,
    rate: Option<f64>,
    settings: &[(&str, &str)],
) -> Result<Stretch> {
    let settings: Vec<_> =
        UNLIMITED.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
    let running = bench.serve(&settings).await?;
    let senders = if rate.is_some() { SENDERS } else { CLIENTS };
    let stream = Stream::begin(running.address, askers, senders, rate).await?;
    // Twice as long as elsewhere: the limit is found within it.
    tokio::time::sleep(WARM_UP * 2).await;
    stream.record();
    let since = Instant::now();
    tokio::time::sleep(Duration::from_secs(bench.seconds(SECONDS))).await;
    let seconds = since.elapsed().as_secs_f64();
    let got = stream.finish().await?;
    running.stop().await?;
    let stretch = Stretch { name: name.to_owned(), factor, seconds, got };
    for class in Class::ALL {
        println!("  {}", stretch.line(class));
        let others = &stretch.got[class as usize].others;
        let known = others.keys().all(|status| matches!(status, 0 | 408));
        ensure!(known, "{}: answered, by status: {others:?}", class.name());
    }
    Ok(stretch)
}

/// Writes the table and the picture of one round beside the other results.
fn tell(bench: &Bench, round: &[Stretch]) -> Result<()> {
    let mut table = format!("{HEAD}\n");
    for stretch in round {
        for class in Class::ALL {
            writeln!(table, "{}", stretch.line(class))?;
        }
    }
    println!("\n{table}");
    let shown: Vec<_> = round
        .iter()
        .filter(|stretch| stretch.factor > 0.0 && !stretch.name.contains(' '))
        .collect();
    let (table_path, picture) =
        (bench.folder.join("overload.md"), bench.folder.join("overload.svg"));
    std::fs::write(&table_path, table)?;
    std::fs::write(&picture, draw(&shown))?;
    println!("  table and picture: {}, {}", table_path.display(), picture.display());
    Ok(())
}

/// The stretches of one name, one of each round.
fn named<'s>(rounds: &'s [Vec<Stretch>], name: &str) -> Vec<&'s Stretch> {
    rounds.iter().flatten().filter(|stretch| stretch.name == name).collect()
}

fn judge(rounds: &[Vec<Stretch>]) -> Vec<Row> {
    let middle = |name: &str, figure: &dyn Fn(&Stretch) -> Option<f64>| {
        let figures: Vec<_> = named(rounds, name).into_iter().filter_map(figure).collect();
        (!figures.is_empty()).then(|| median(&figures))
    };
    let total = |name: &str| middle(name, &|stretch| Some(stretch.total())).unwrap_or_default();
    let details = json!(
        rounds
            .iter()
            .map(|round| { round.iter().map(Stretch::to_json).collect::<Vec<_>>() })
            .collect::<Vec<_>>()
    );
    let worst = |name: &str| {
        let of = |class: Class| {
            let p99 = |name: &str| middle(name, &|stretch| stretch.p99_ms(class));
            Some(p99(name)? / p99("1×")?)
        };
        Class::ALL.into_iter().filter_map(of).fold(0.0, f64::max)
    };
    let row = |name, what: &str, figure, unit, target| Row {
        name,
        what: what.to_owned(),
        figure,
        unit,
        target,
        details: Value::Null,
    };
    let refusals = middle("3×", &|stretch| Some(percentile_ms(&stretch.refusals(), 0.99)));
    vec![
        Row {
            details,
            ..row(
                "r1",
                "goodput at 3 times what can be done ÷ at once",
                total("3×") / total("1×"),
                "×",
                Target::AtLeast(0.95),
            )
        },
        row("r2", "goodput at 5 times ÷ at once", total("5×") / total("1×"), "×", Target::Shown),
        row(
            "r3",
            "p99 of who is admitted at 3 times ÷ at once, the worst class",
            worst("3×"),
            "×",
            Target::AtMost(2.0),
        ),
        row("r4", "the same at 5 times", worst("5×"), "×", Target::Shown),
        row("r5", "the same at 3 times without admission", worst("3× without"), "×", Target::Shown),
        row("r6", "p99 of refusals at 3 times", refusals.unwrap_or_default(), "ms", Target::Shown),
    ]
}

// ---- the picture

const COLOURS: [&str; 5] = ["#1b6ca8", "#2a9d4e", "#e08e0b", "#c0392b", "#7d3c98"];
/// A panel without what is written around it.
const WIDE: f64 = 380.0;
const HIGH: f64 = 260.0;
const MARGIN: f64 = 60.0;

/// Goodput and p99 of each class over the load, both in tens.
fn draw(stretches: &[&Stretch]) -> String {
    let goodput =
        |stretch: &Stretch, class| Some(stretch.goodput(class)).filter(|rate| *rate > 0.0);
    let whole = MARGIN + WIDE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        whole * 2.0 + MARGIN * 2.0,
        HIGH + MARGIN * 2.0,
    );
    svg += &panel(stretches, "answered well, a second", MARGIN, &goodput);
    svg += &panel(stretches, "p99 of those, ms", whole + MARGIN * 2.0, &|stretch, class| {
        stretch.p99_ms(class)
    });
    for (at, class) in Class::ALL.into_iter().enumerate() {
        let (x, colour) = (MARGIN + 90.0 * at as f64, COLOURS[at]);
        let y = HIGH + MARGIN * 1.75;
        svg += &format!(
            "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{}\" y=\"{y}\">{}</text>\n",
            y - 9.0,
            x + 15.0,
            class.name(),
        );
    }
    svg + "</svg>\n"
}

fn panel(
    stretches: &[&Stretch],
    title: &str,
    left: f64,
    figure: &dyn Fn(&Stretch, Class) -> Option<f64>,
) -> String {
    let values =
        stretches.iter().flat_map(|stretch| Class::ALL.map(|class| figure(stretch, class)));
    let tens: Vec<_> = values.flatten().map(f64::log10).collect();
    let low = tens.iter().copied().fold(f64::INFINITY, f64::min).floor().min(0.0);
    let high = tens.iter().copied().fold(low + 1.0, f64::max).ceil();
    let most = FACTORS[FACTORS.len() - 1];
    let x = |factor: f64| left + WIDE * factor / most;
    let y = |value: f64| MARGIN + HIGH * (high - value.log10()) / (high - low);
    let mut svg =
        format!("<text x=\"{left}\" y=\"{}\" font-weight=\"bold\">{title}</text>\n", MARGIN - 20.0);
    let mut ten = low;
    while ten <= high {
        let value = 10_f64.powf(ten);
        svg += &format!(
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{at}\" y2=\"{at}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>\n",
            left + WIDE,
            left - 6.0,
            y(value) + 4.0,
            at = y(value),
        );
        ten += 1.0;
    }
    for factor in FACTORS {
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{factor}×</text>\n",
            x(factor),
            MARGIN + HIGH + 18.0
        );
    }
    for (class, colour) in Class::ALL.into_iter().zip(COLOURS) {
        let points = stretches.iter().filter_map(|stretch| {
            Some(format!("{:.1},{:.1}", x(stretch.factor), y(figure(stretch, class)?)))
        });
        let points: Vec<_> = points.collect();
        svg += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            points.join(" ")
        );
    }
    svg
}
