//! `make bench-import`: customers imported from a file ÷ `COPY` of the same rows into the same
//! tables, on one durable PostgreSQL, in turns in one run; the memory of the importing process;
//! and a kill in the middle, after which a second start ends with exactly as many.
//!
//! ```text
//! make bench-import               1,000,000 rows in five parts
//! make bench-import ROWS=50000    a short look
//! ```
//!
//! The file is cut in five parts. Of each, `customer-service import` is timed as a whole process,
//! from its start to its end; then the very rows that it wrote (customers, identifiers, profiles,
//! preferences, consents, messages, audit entries) are copied, one `COPY` a table in one
//! transaction, into another database with the same schema and as many rows so far. The import of
//! the third part is killed in its middle and started again, and counts for no time.
//!
//! dev/bench-import starts the server and gives its address: BENCH_DATABASE_URL.

mod copy;
mod file;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use copy::{Side, TABLES};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const PARTS: usize = 5;
/// The part whose import is killed in its middle.
const KILLED: usize = 2;
/// Nothing of this takes longer on a machine on which it makes sense.
const BOUND: Duration = Duration::from_secs(3 * 3_600);
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

const RATIO: f64 = 0.2;
const MEMORY_MB: f64 = 150.0;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.context("no runtime").and_then(|runtime| {
        runtime.block_on(async {
            let bounded = tokio::time::timeout(BOUND, run()).await;
            bounded.unwrap_or_else(|_| bail!("not done within {BOUND:?}"))
        })
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-import: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What one round came to.
struct Round {
    import: Duration,
    copy: Duration,
    memory_mb: f64,
}

async fn run() -> Result<bool> {
    let rows: usize = match std::env::var("ROWS") {
        Ok(text) if !text.is_empty() => text.parse().context("ROWS")?,
        _ => 1_000_000,
    };
    ensure!(rows >= PARTS * 100, "ROWS must be at least {}", PARTS * 100);
    let given = std::env::var("BENCH_DATABASE_URL")
        .context("BENCH_DATABASE_URL is not set; run `make bench-import`")?;
    let folder = target_folder()?;
    let server = Side::create(&given, "bench_import").await?;
    let peer = Side::create(&given, "bench_import_peer").await?;
    for side in [&server, &peer] {
        let status = command(side)?.arg("migrate").status()?;
        ensure!(status.success(), "the database cannot be migrated");
        side.define().await?;
    }
    println!("{}", server.told().await?);
    let mut rounds = Vec::new();
    for part in 0..PARTS {
        let path = folder.join(format!("part-{part}.csv"));
        let count = rows / PARTS + usize::from(part < rows % PARTS);
        file::write(&path, part, count)?;
        let killed = part == KILLED;
        let (import, memory_mb) = import(&server, &path, killed.then_some(count)).await?;
        let dumped = server.dump(&folder, part).await?;
        let copied = peer.copy(&dumped).await?;
        std::fs::remove_file(&path)?;
        let (rate, ratio) =
            (count as f64 / import.as_secs_f64(), copied.as_secs_f64() / import.as_secs_f64());
        println!(
            "  part {}: import {:.1} s ({rate:.0} rows/s), COPY {:.1} s, ratio {ratio:.2}, {memory_mb:.0} MB{}",
            part + 1,
            import.as_secs_f64(),
            copied.as_secs_f64(),
            if killed { "; killed in the middle, not counted" } else { "" },
        );
        rounds.push(Round { import, copy: copied, memory_mb });
    }
    let counts = server.counts().await?;
    server.drop_database(&given).await?;
    peer.drop_database(&given).await?;
    report(rows, &rounds, &counts, &folder)
}

/// Runs the command on a file and waits for its end; with `kill_in` rows, kills it at half of them
/// and runs it again. Answers with the time and the greatest memory.
async fn import(server: &Side, path: &Path, kill_in: Option<usize>) -> Result<(Duration, f64)> {
    let since = Instant::now();
    let mut memory = 0.0_f64;
    if let Some(count) = kill_in {
        let before = server.imported().await?;
        let mut child = start(server, path)?;
        while server.imported().await? - before < count as i64 / 2 {
            ensure!(child.try_wait()?.is_none(), "the import ended before it was killed");
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
        // SIGKILL
        child.kill()?;
        child.wait()?;
        println!("  killed after {} rows", server.imported().await? - before);
    }
    let mut child = start(server, path)?;
    let status = loop {
        memory = memory.max(peak_mb(child.id()).unwrap_or(0.0));
        match child.try_wait()? {
            Some(status) => break status,
            None => tokio::time::sleep(SAMPLE_EVERY).await,
        }
    };
    ensure!(status.success(), "the import ended with {status}");
    Ok((since.elapsed(), memory))
}

fn start(server: &Side, path: &Path) -> Result<Child> {
    let mut command = command(server)?;
    command.arg("import").arg(path).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command.spawn()?)
}

/// The binary with the default configuration on one database.
fn command(side: &Side) -> Result<Command> {
    let binary = std::env::var_os("BENCH_SERVICE")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_customer-service")), PathBuf::from);
    let mut command = Command::new(binary);
    let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    command
        .env_clear()
        .env("CUSTOMER_SERVICE__SECRETS__ROOT_KEY", key)
        .env("CUSTOMER_SERVICE__DATABASE__URL", side.url.as_str())
        .env("CUSTOMER_SERVICE__TELEMETRY__LOG", "warn");
    // To try other settings: the caller's own, which come last and win.
    command.envs(std::env::vars().filter(|(name, _)| name.starts_with("CUSTOMER_SERVICE__")));
    Ok(command)
}

/// The greatest resident memory of a process so far, in MB (10^6 bytes).
fn peak_mb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// `bench` in cargo's target folder, which is where this program lies, some folders up.
fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/deps/import-…
    let folder = program.ancestors().nth(3).unwrap_or(Path::new("target")).join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn report(
    rows: usize,
    rounds: &[Round],
    counts: &[(&'static str, i64)],
    folder: &Path,
) -> Result<bool> {
    let timed = || rounds.iter().enumerate().filter(|(part, _)| *part != KILLED);
    let import: f64 = timed().map(|(_, round)| round.import.as_secs_f64()).sum();
    let copy: f64 = timed().map(|(_, round)| round.copy.as_secs_f64()).sum();
    let memory = rounds.iter().map(|round| round.memory_mb).fold(0.0, f64::max);
    let ratio = copy / import;
    let timed_rows = rows - rows / PARTS;
    let exact = counts.iter().all(|(_, count)| *count == rows as i64);
    println!("\n{rows} rows, in turns with COPY of the same rows into {}", TABLES.join(", "));
    let mut passed = true;
    let mut line = |what: &str, figure: String, target: &str, reached: bool| {
        passed &= reached;
        println!(
            "  {what:<52} {figure:>12}  {target:<8} {}",
            if reached { "pass" } else { "falls short" }
        );
    };
    line("imported rows/s ÷ copied rows/s", format!("{ratio:.2}"), "≥ 0.2", ratio >= RATIO);
    let rate = format!("{:.0}", timed_rows as f64 / import);
    line("imported rows/s", rate, "–", true);
    line("copied rows/s", format!("{:.0}", timed_rows as f64 / copy), "–", true);
    line(
        "memory of the importing process, at most, MB",
        format!("{memory:.0}"),
        "≤ 150",
        memory <= MEMORY_MB,
    );
    for (what, count) in counts {
        line(what, count.to_string(), &format!("= {rows}"), *count == rows as i64);
    }
    let document = json!({
        "rows": rows, "ratio": ratio, "memory_mb": memory, "exact": exact,
        "rounds": rounds.iter().map(|round| json!({
            "import_seconds": round.import.as_secs_f64(),
            "copy_seconds": round.copy.as_secs_f64(),
            "memory_mb": round.memory_mb,
        })).collect::<Vec<_>>(),
    });
    let path = folder.join("import.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&document)?)?;
    println!("details: {}", path.display());
    Ok(passed)
}
