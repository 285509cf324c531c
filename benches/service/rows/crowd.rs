//! Rows g and h: a million customers. g: how long staff's searches take while others change
//! customers. h: what a request costs in processor time, beside the same request where there are ten
//! thousand customers.

use super::{Bench, Stretch};
use crate::crowd::{Crowd, anyone, anyone_id};
use crate::load::{Connection, Cycle, Load, Seen, request};
use crate::service::Running;
use crate::stats::{Row, Target, median, percentile_ms, spread};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

const CUSTOMERS: u32 = 1_000_000;
const QUICK_CUSTOMERS: u32 = 100_000;
const FEW: u32 = 10_000;
pub const WRITES_PER_SECOND: f64 = 200.0;
pub const WRITERS: usize = 16;
const SEARCHES_PER_SECOND: f64 = 25.0;
const SEARCHERS: usize = 8;
const SEARCH_SECONDS: u64 = 8;
/// Pages of 25 that are turned before a search counts as deep.
const DEEP: usize = 400;
/// Clients of row h, and the requests that each has before it begins anew.
const CLIENTS: usize = 16;
const CYCLE: u32 = 2_000;
const SECONDS: u64 = 5;

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    let many = match std::env::var("CUSTOMERS") {
        Ok(text) => text.parse().context("CUSTOMERS")?,
        Err(_) if bench.quick => QUICK_CUSTOMERS,
        Err(_) => CUSTOMERS,
    };
    let given = std::env::var("BENCH_DATABASE_URL")?;
    println!("\ng, h: filling a database with {many} customers");
    let large = Crowd::gather(&given, &bench.program, "customer_service_bench_large", many).await?;
    let mut rows = Vec::new();
    if bench.wants("g") {
        rows.extend(searches(bench, &large).await?);
    }
    if bench.wants("h") {
        let small =
            Crowd::gather(&given, &bench.program, "customer_service_bench_small", FEW).await?;
        rows.extend(growth(bench, &small, &large).await?);
    }
    Ok(rows)
}

/// A kind of search: its name, what is asked for, and how long 99 of 100 may take.
struct Search {
    name: &'static str,
    what: &'static str,
    paths: Vec<String>,
    at_most_ms: f64,
}

fn kinds(crowd: &Crowd) -> Vec<Search> {
    let many = |path: fn(u32, u32) -> String| -> Vec<String> {
        (0..200).map(|turn| path(turn, crowd.customers)).collect()
    };
    let these = |queries: &[&str]| -> Vec<String> {
        queries.iter().map(|query| format!("/v1/admin/customers?{query}")).collect()
    };
    // One address of many, then one of a few names, and so on.
    let mixed = |address: fn(u32) -> String, names: &[&str]| -> Vec<String> {
        let addresses = (0..200).map(|turn| address(anyone(turn, crowd.customers)));
        let names = these(names);
        addresses
            .zip(names.iter().cycle().cloned())
            .flat_map(|(address, name)| [format!("/v1/admin/customers?{address}"), name])
            .collect()
    };
    let search = |name, what, paths| Search { name, what, paths, at_most_ms: 50.0 };
    vec![
        search(
            "g1",
            "by exact e-mail",
            many(|turn, customers| {
                let number = anyone(turn, customers);
                let email = format!("shopper-{number}@mail-{}.example", number % 20);
                format!("/v1/admin/customers?email={email}")
            }),
        ),
        search(
            "g2",
            "by exact phone",
            many(|turn, customers| {
                let number = 1_000_000 + anyone(turn, customers);
                format!("/v1/admin/customers?phone=%2B84%2090%20{number}")
            }),
        ),
        search(
            "g3",
            "by beginnings of names and addresses",
            mixed(
                |number| format!("q=shopper-{number}"),
                &["q=nguyen", "q=thao+dang", "q=anna+mull", "q=am+mens", "q=zo+lef"],
            ),
        ),
        Search {
            name: "g4",
            what: "by any part (substring)",
            paths: mixed(
                |number| format!("q=*opper-{number}%40"),
                &["q=*guye", "q=*erson", "q=*neil", "q=*giolla+*quy", "q=*farsi"],
            ),
            at_most_ms: 200.0,
        },
        search(
            "g5",
            "by group, tag, status and dates",
            these(&[
                "group=vip",
                "tag=newsletter",
                "tag=founder",
                "group=business&tag=wholesale",
                "status=inactive&group=individual",
                "group=vip&tag=newsletter&q=anna",
                "created_from=2020-01-01T00:00:00Z&created_to=2026-09-01T00:00:00Z&tag=wholesale",
            ]),
        ),
    ]
}

/// Row g.
async fn searches(bench: &Bench, crowd: &Crowd) -> Result<Vec<Row>> {
    println!(
        "\ng: {SEARCHES_PER_SECOND} searches/s among {} customers, beside {WRITES_PER_SECOND} changes/s",
        crowd.customers
    );
    crowd.settle().await?;
    let running = crowd.serve().await?;
    let mut kinds = kinds(crowd);
    kinds.push(Search {
        name: "g6",
        what: "by turning pages, after 400 of them",
        paths: deep_pages(&running, crowd).await?,
        at_most_ms: 50.0,
    });
    let mut found: Vec<[Vec<f64>; 2]> = kinds.iter().map(|_| Default::default()).collect();
    let mut writes = Vec::new();
    for round in 0..bench.rounds() {
        let writers =
            Load::paced(running.address, changes(crowd, WRITERS, round), WRITES_PER_SECOND).await?;
        writers.record();
        for (kind, [p50, p99]) in kinds.iter().zip(&mut found) {
            let seen = search(bench, &running, crowd, kind).await?;
            p50.push(percentile_ms(&seen.latencies, 0.5));
            p99.push(percentile_ms(&seen.latencies, 0.99));
        }
        let seen = writers.finish().await;
        ensure!(seen.refused.is_empty(), "changes refused: {:?}", seen.refused);
        writes.push(percentile_ms(&seen.latencies, 0.99));
    }
    running.stop().await?;
    println!("  p99 of the changes {} ms", spread(&writes, 1));
    let row = |(kind, [p50, p99]): (&Search, &[Vec<f64>; 2])| {
        println!("  {}: p50 {} ms, p99 {} ms", kind.what, spread(p50, 1), spread(p99, 1));
        Row {
            name: kind.name,
            what: format!("p99 of searches {}", kind.what),
            figure: median(p99),
            unit: "ms",
            target: Target::AtMost(kind.at_most_ms),
            details: json!({ "p50_ms": p50, "p99_ms": p99 }),
        }
    };
    Ok(kinds.iter().zip(&found).map(row).collect())
}

async fn search(bench: &Bench, running: &Running, crowd: &Crowd, kind: &Search) -> Result<Seen> {
    let cycle = |client: usize| -> Cycle {
        let own = kind.paths.iter().cycle().skip(client * kind.paths.len() / SEARCHERS);
        own.take(kind.paths.len())
            .map(|path| request("GET", path, Some(&crowd.staff_key), None))
            .collect()
    };
    let cycles = (0..SEARCHERS).map(cycle).collect();
    let load = Load::paced(running.address, cycles, SEARCHES_PER_SECOND).await?;
    let seconds = bench.seconds(SEARCH_SECONDS);
    let stretch = Stretch::of(load, bench, running.pid(), seconds).await?;
    Ok(stretch.all_well().with_context(|| format!("searches {}", kind.what))?.seen)
}

/// The paths of pages far down some lists.
async fn deep_pages(running: &Running, crowd: &Crowd) -> Result<Vec<String>> {
    let mut connection = Connection::open(running.address).await?;
    let mut paths = Vec::new();
    for query in ["", "tag=newsletter&", "group=individual&", "q=shopper&"] {
        let mut path = format!("/v1/admin/customers?{query}limit=25");
        for turned in 0..DEEP + 25 {
            let get = request("GET", &path, Some(&crowd.staff_key), None);
            let answer = connection.exchange(&get).await?;
            ensure!(answer.status == 200, "{path} answered {}", answer.status);
            let page: Value = serde_json::from_slice(answer.body)?;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/admin/customers?{query}limit=25&cursor={cursor}");
            if turned >= DEEP {
                paths.push(path.clone());
            }
        }
    }
    ensure!(!paths.is_empty(), "no list is so long");
    Ok(paths)
}

/// Row h.
async fn growth(bench: &Bench, small: &Crowd, large: &Crowd) -> Result<Vec<Row>> {
    println!(
        "\nh: cost of a request with {} customers and with {}",
        small.customers, large.customers
    );
    // Two costs, of two crowds: processor time of service and database, in microseconds.
    let mut costs: [[Vec<f64>; 2]; 2] = Default::default();
    for round in 0..bench.rounds() {
        for (at, crowd) in [small, large].into_iter().enumerate() {
            crowd.settle().await?;
            let running = crowd.serve().await?;
            for (kind, cycles) in
                [reads(crowd, round), changes(crowd, CLIENTS, round)].into_iter().enumerate()
            {
                let load = Load::closed(running.address, cycles).await?;
                let seconds = bench.seconds(SECONDS);
                let stretch = Stretch::of(load, bench, running.pid(), seconds).await?.all_well()?;
                let [database, service, ..] = stretch.micros_each();
                costs[kind][at].push(database + service);
            }
            running.stop().await?;
        }
    }
    let rows = [("h1", "reads"), ("h2", "changes")].into_iter().zip(&costs);
    Ok(rows
        .map(|((name, what), [few, many])| {
            println!("  CPU µs of {what}: {} and {}", spread(few, 0), spread(many, 0));
            Row {
                name,
                what: format!("CPU of {what}, {} customers ÷ {}", large.customers, small.customers),
                figure: median(many) / median(few),
                unit: "×",
                target: Target::AtMost(1.3),
                details: json!({ "few_us": few, "many_us": many }),
            }
        })
        .collect())
}

/// Staff looks at customers all over the table: by id with all parts, and by address.
fn reads(crowd: &Crowd, round: usize) -> Vec<Cycle> {
    each_client(CLIENTS, round, |turn| {
        let path = if turn % 4 == 0 {
            let number = anyone(turn, crowd.customers);
            format!("/v1/admin/customers?email=shopper-{number}@mail-{}.example", number % 20)
        } else {
            let id = anyone_id(turn, crowd.customers);
            format!("/v1/admin/customers/{id}?expand=profile,preferences,addresses")
        };
        request("GET", &path, Some(&crowd.staff_key), None)
    })
}

/// Staff changes customers all over the table.
pub fn changes(crowd: &Crowd, clients: usize, round: usize) -> Vec<Cycle> {
    each_client(clients, round, |turn| {
        let id = anyone_id(turn, crowd.customers);
        let body = json!({ "bio": format!("A few lines about oneself, {round} {turn}") });
        let path = format!("/v1/admin/customers/{id}/profile");
        request("PATCH", &path, Some(&crowd.staff_key), Some(&body.to_string()))
    })
}

fn each_client(clients: usize, round: usize, of: impl Fn(u32) -> Vec<u8>) -> Vec<Cycle> {
    let count = clients as u32;
    (0..count)
        .map(|client| {
            let first = round as u32 * count * CYCLE + client * CYCLE;
            (first..first + CYCLE).map(&of).collect()
        })
        .collect()
}
