//! The fault suite: a service under load, its servers killed, frozen and cut off, its process ended
//! at every boundary; each scenario has a number, a criterion, and the figures that it reached.
//!
//! `make faults` runs all of it; `cargo test` the short form. Scenarios run one after the other, since
//! each needs the machine to itself, on private servers that belong to the suite alone. Arguments name
//! scenarios to run: `cargo test --test faults -- F05 F07`.

mod actors;
mod alone;
mod balancer;
mod broker;
mod clients;
mod clock;
mod database;
mod disk;
mod erasures;
mod ground;
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the integration tests use the rest of it")]
mod harness;
mod kills;
mod load;
mod migration;
mod nodes;
mod outbox;
mod points;
mod poison;
mod rabbitmqctl;
mod report;
mod rescue;
mod stories;
mod syscalls;
mod twins;
mod upgrade;
mod velocity;

use std::fmt::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ground::Ground;
use report::Report;

/// One fault and what must hold in spite of it.
pub struct Scenario {
    pub id: &'static str,
    pub fault: &'static str,
    pub criterion: &'static str,
    pub play: for<'a> fn(&'a Ground, &'a mut Report) -> BoxFuture<'a, ()>,
    /// Whether the short form has it.
    pub short: bool,
}

/// Makes a scenario's `play` of an `async fn`.
macro_rules! played {
    ($path:path) => {
        |ground, report| Box::pin($path(ground, report))
    };
}
pub(crate) use played;

/// While a twin is expected to break a promise, its panics are no news.
pub static QUIET: AtomicBool = AtomicBool::new(false);

/// No scenario takes longer, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(2_400);

fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    for group in [
        points::SCENARIOS,
        erasures::SCENARIOS,
        syscalls::SCENARIOS,
        kills::SCENARIOS,
        nodes::SCENARIOS,
        database::SCENARIOS,
        migration::SCENARIOS,
        upgrade::SCENARIOS,
        outbox::SCENARIOS,
        broker::SCENARIOS,
        poison::SCENARIOS,
        velocity::SCENARIOS,
        clock::SCENARIOS,
        clients::SCENARIOS,
        alone::SCENARIOS,
        actors::SCENARIOS,
        twins::SCENARIOS,
    ] {
        all.extend(group.iter());
    }
    all.sort_by_key(|scenario| scenario.id);
    all.into_iter().map(|one| Scenario { play: one.play, ..*one }).collect()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let full = std::env::var("FAULTS").is_ok_and(|scale| scale == "full");
    let flags = |argument: &String| argument.starts_with('-');
    if arguments.iter().any(|argument| argument == "--list") {
        scenarios().iter().for_each(|scenario| println!("{}: test", scenario.id));
        return ExitCode::SUCCESS;
    }
    let names: Vec<&String> = arguments.iter().filter(|argument| !flags(argument)).collect();
    let chosen: Vec<Scenario> = scenarios()
        .into_iter()
        .filter(|scenario| match names.is_empty() {
            true => full || scenario.short,
            false => names.iter().any(|name| scenario.id.starts_with(name.as_str())),
        })
        .collect();
    if chosen.is_empty() {
        println!("test result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let undocumented = undocumented();
    if !undocumented.is_empty() {
        println!("docs/faults.md does not list {undocumented:?}");
        return ExitCode::FAILURE;
    }
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |information| {
        if !QUIET.load(Ordering::Acquire) {
            usual(information);
        }
    }));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(chosen, full))
}

/// Scenarios without a row in the documentation.
fn undocumented() -> Vec<&'static str> {
    let page = include_str!("../../docs/faults.md");
    let missing = |scenario: &Scenario| !page.contains(&format!("\n| {} |", scenario.id));
    scenarios().into_iter().filter(missing).map(|scenario| scenario.id).collect()
}

async fn run(chosen: Vec<Scenario>, full: bool) -> ExitCode {
    let (began, seed) = (Instant::now(), ground::seed());
    println!("{} scenarios, FAULTS_SEED={seed}", chosen.len());
    let ground = Arc::new(tokio::task::block_in_place(|| Ground::prepare(full, seed)));
    let mut table = format!(
        "Seed {seed}, {} form.\n\n| | Fault | Criterion | Reached | Met | Time |\n\
         |---|---|---|---|---|---|\n",
        if full { "whole" } else { "short" }
    );
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/.local/faults");
    std::fs::create_dir_all(folder).expect("a folder for the table");
    let mut failed = Vec::new();
    for scenario in &chosen {
        let (report, took) = play(scenario, &ground).await;
        let Scenario { id, fault, criterion, .. } = scenario;
        let (text, met) = (report.text(), if report.is_met() { "yes" } else { "**no**" });
        println!("{id} {fault} | criterion: {criterion} | reached: {text} | met: {met} ({took} s)");
        let cell = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let (criterion, text) = (cell(criterion), cell(&text));
        writeln!(table, "| {id} | {fault} | {criterion} | {text} | {met} | {took} s |").unwrap();
        // After each: a run that is broken off has told what it reached.
        std::fs::write(format!("{folder}/table.md"), &table).expect("the table is written");
        if !report.is_met() {
            failed.push(*id);
        }
    }
    println!("\n{table}");
    let passed = chosen.len() - failed.len();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {passed} passed; {} failed {failed:?}; finished in {} s; seed {seed}",
        failed.len(),
        began.elapsed().as_secs()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays one scenario. What panics has missed its criterion.
async fn play(scenario: &Scenario, ground: &Ground) -> (Report, u64) {
    let began = Instant::now();
    let mut report = Report::default();
    let playing = AssertUnwindSafe((scenario.play)(ground, &mut report)).catch_unwind();
    let ended = tokio::time::timeout(LIMIT, playing).await;
    QUIET.store(false, Ordering::Release);
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => report.must(false, panic_text(&*panic)),
        Err(_) => report.must(false, format!("not over within {LIMIT:?}")),
    }
    (report, began.elapsed().as_secs())
}

/// What a panic said, in short.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
