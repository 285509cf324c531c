//! What the figures were taken on, and who used its processors.

use anyhow::{Context, Result};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

/// Clock ticks a second in /proc (fixed at 100 for user space on Linux).
const TICKS_PER_SECOND: f64 = 100.0;
/// Writes of the probe of the disk, and their size: what PostgreSQL writes at the least.
const SYNC_PROBES: usize = 200;
const SYNC_BYTES: usize = 8192;

/// Processors this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Median time to make 8 KiB durable in `folder`, in milliseconds: no commit can be faster.
pub fn sync_ms(folder: &Path) -> Result<f64> {
    let path = folder.join("sync-probe");
    let mut file = std::fs::File::create(&path)?;
    let block = [7_u8; SYNC_BYTES];
    let mut times = Vec::with_capacity(SYNC_PROBES);
    for _ in 0..SYNC_PROBES {
        let since = Instant::now();
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(since.elapsed().as_secs_f64() * 1000.0);
    }
    std::fs::remove_file(&path)?;
    Ok(super::stats::median(&times))
}

/// Fields of /proc/PID/stat behind the name of the command, which may itself hold blanks.
fn stat_fields(pid: u32) -> Option<Vec<u64>> {
    stat_fields_of(&format!("/proc/{pid}"))
}

fn stat_fields_of(folder: &str) -> Option<Vec<u64>> {
    let stat = std::fs::read_to_string(format!("{folder}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    // The state's letter stands first; as 0 it keeps the places of the others.
    Some(rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
}

/// The process that started `pid`.
pub fn parent_of(pid: u32) -> Option<u32> {
    u32::try_from(*stat_fields(pid)?.get(1)?).ok()
}

/// Seconds of processor time of one process (user and system).
pub fn cpu_of(pid: u32) -> f64 {
    let ticks = stat_fields(pid).map_or(0, |fields| fields.iter().skip(11).take(2).sum());
    ticks as f64 / TICKS_PER_SECOND
}

/// Seconds of processor time of those threads of a process whose names begin so.
pub fn cpu_of_threads(pid: u32, name: &str) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let folders = tasks.map(|task| task.path().display().to_string());
    let named = folders.filter(|folder| {
        let known = std::fs::read_to_string(format!("{folder}/comm")).unwrap_or_default();
        known.starts_with(name)
    });
    let fields = named.filter_map(|folder| stat_fields_of(&folder));
    let ticks: u64 = fields.map(|fields| fields.iter().skip(11).take(2).sum::<u64>()).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Seconds of processor time of a process, its children that live, and those that ended.
pub fn cpu_of_family(parent: u32) -> f64 {
    let mut ticks: u64 = 0;
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let Some(fields) = stat_fields(pid) else { continue };
        if pid == parent {
            // With the times of children that were waited for.
            ticks += fields.iter().skip(11).take(4).sum::<u64>();
        } else if fields.get(1) == Some(&u64::from(parent)) {
            ticks += fields.iter().skip(11).take(2).sum::<u64>();
        }
    }
    ticks as f64 / TICKS_PER_SECOND
}

/// Seconds of processor time of the whole machine, idle time left out.
pub fn cpu_of_all() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let fields: Vec<u64> =
        first.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal: all but idle, iowait and steal
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| fields.get(*at)).sum();
    busy as f64 / TICKS_PER_SECOND
}

/// Resident and proportional memory of a process, in MB (10^6 bytes).
pub fn memory_mb(pid: u32) -> Result<(f64, f64)> {
    let file = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .context("the service's memory cannot be read")?;
    let kib = |name: &str| -> f64 {
        file.lines()
            .filter_map(|line| {
                line.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok()
            })
            .sum()
    };
    Ok((kib("Rss:") * 1024.0 / 1e6, kib("Pss:") * 1024.0 / 1e6))
}
