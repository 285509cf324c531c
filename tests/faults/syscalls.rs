//! The kernel is the fault: the process is killed at its n-th call that writes, and a disk takes its
//! time. Both by `strace`, attached to processes that the suite started.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::checker::{self, Acknowledged};
use crate::harness::shopper::home;
use crate::harness::{Shopper, unique};
use crate::load::Load;
use crate::report::{Report, ms, percentile};
use crate::rescue::Rescued;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F01",
        fault: "killed at the n-th write, send or sync of a change and its relay, n swept",
        criterion: "≥ 300 sweeps; lost 0, doubled 0, acknowledged and missing 0, ready again ≤ 3 s",
        play: played!(killed_at_each_call),
        short: true,
    },
    Scenario {
        id: "F08",
        fault: "each fdatasync of PostgreSQL 200 ms slower, for 60 s",
        criterion: "failed calls ≤ 1 %, queues bounded, p99 of reads ≤ 2 × without",
        play: played!(slow_disk),
        short: false,
    },
];

/// Within this it lets go, a thread after the other.
const LETS_GO: Duration = Duration::from_secs(3);

/// `strace` with hands on some processes; lets go with the value.
struct Tracer(Child);

impl Tracer {
    /// Attaches to these processes, threads included, and does this to their calls.
    async fn attach(pids: &[String], inject: &str) -> Self {
        let calls = inject.split(':').next().unwrap();
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null"]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={inject}")]);
        for pid in pids {
            command.args(["-p", pid]);
        }
        let child =
            command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
        let tracer = Self(child.expect("the Debian package strace is installed"));
        let began = Instant::now();
        while !pids.iter().all(|pid| is_traced(pid)) {
            assert!(began.elapsed() < Duration::from_secs(10), "strace cannot attach");
            sleep(Duration::from_millis(5)).await;
        }
        tracer
    }
}

impl Drop for Tracer {
    #[expect(clippy::disallowed_methods, reason = "nothing can be awaited while it is dropped")]
    fn drop(&mut self) {
        // By a signal it detaches from whoever still lives; killed, it would leave them stopped.
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().ok();
        let began = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) {
            if began.elapsed() > LETS_GO {
                // It waits for ever where a process died while it let go of it: its main thread is
                // not gone before the others, and for these it does not look.
                self.0.kill().ok();
                self.0.wait().ok();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a tracer has all threads of a process; one that has ended counts as had.
fn is_traced(pid: &str) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        !status.contains("TracerPid:\t0\n")
    })
}

async fn killed_at_each_call(ground: &Ground, report: &mut Report) {
    let sweeps = ground.either(8, 300);
    let shop = Arc::new(ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await);
    let consumer = shop.consumer().await;
    let rescued = Rescued::watch(shop.clone(), shop.node().await);
    let shopper = Shopper::new(&shop, &rescued.api()).await;
    let (mut acknowledged, mut cities) = (Vec::new(), Vec::new());
    let began = Instant::now();
    for sweep in 0..sweeps {
        // Counted by each thread for itself; a dozen calls of one thread make a change.
        let nth = if ground.full { sweep % 30 + 1 } else { 1 + ground.roll(20) as usize };
        let inject = format!("write,writev,sendto,sendmsg,fsync,fdatasync:signal=KILL:when={nth}");
        let before = rescued.deaths().len();
        let tracer = Tracer::attach(&[rescued.pid().to_string()], &inject).await;
        let name = json!({ "first_name": format!("Anna {sweep}") });
        let answer = rescued.insist(&[200], |api| shopper.patch(api, "/v1/me", name.clone())).await;
        let customer_id = shopper.id.clone();
        acknowledged.push(Acknowledged { customer_id, version: answer.version() });
        let (key, city) = (unique("key"), unique("City"));
        rescued
            .insist(&[201], |api| {
                shopper.post(api, "/v1/me/addresses", home(&city)).idempotency_key(&key)
            })
            .await;
        cities.push(city);
        // The relay's turn: it publishes, hears back, and writes its cursor within a second.
        let waited = Instant::now();
        while rescued.deaths().len() == before && waited.elapsed() < Duration::from_millis(1_200) {
            sleep(Duration::from_millis(10)).await;
        }
        drop(tracer);
        let deaths = rescued.deaths().len();
        rescued.survived(deaths, Duration::from_secs(30)).await;
    }
    let (deaths, slowest) = (rescued.deaths().len(), rescued.slowest_return());
    let took = began.elapsed().as_secs();
    let enough = if ground.full { sweeps >= 300 } else { true };
    report.must(
        enough && deaths * 2 >= sweeps,
        format!("{sweeps} sweeps, {deaths} kills in {took} s"),
    );
    report.must(slowest <= Duration::from_secs(3), format!("ready again ≤ {}", ms(slowest)));
    let list = cities.iter().map(|city| format!("'{city}'")).collect::<Vec<_>>().join(", ");
    let kept = format!("SELECT count(*) FROM addresses WHERE city IN ({list})");
    let kept = shop.database.count(&kept).await;
    report.must(
        kept == cities.len() as i64,
        format!("{kept} of {} addresses, each once", cities.len()),
    );
    let limit = Duration::from_secs(60);
    let verdict = checker::check(&shop.database, &consumer, &acknowledged, limit).await;
    report.note(format!(
        "lost 0 of {} acknowledged, out of order 0 of {} messages, {} duplicates",
        verdict.acknowledged, verdict.messages, verdict.duplicates
    ));
    consumer.close().await;
}

/// Every process of the suite's PostgreSQL.
fn family(postmaster: &str) -> Vec<String> {
    let children =
        std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().map(str::to_owned);
    [postmaster.to_owned()].into_iter().chain(children).collect()
}

async fn slow_disk(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let calm = Load::begin(&shop, &[node.api()], 16, 80).await;
    sleep(ground.seconds(5, 20)).await;
    let calm = calm.end().await;
    let load = Load::begin(&shop, &[node.api()], 16, 80).await;
    sleep(Duration::from_millis(500)).await;
    let tracer =
        Tracer::attach(&family(&ground.postgres.pid()), "fdatasync,fsync:delay_exit=200000").await;
    let (began, lasts) = (Instant::now(), ground.seconds(8, 60));
    let mut deepest: f64 = 0.0;
    while began.elapsed() < lasts {
        deepest = deepest.max(node.metric_where("actor_queue_depth", "\"customers-").await);
        sleep(Duration::from_millis(100)).await;
    }
    drop(tracer);
    let told = load.end().await;
    let failed = told.attempts.iter().filter(|one| one.status.is_none_or(|status| status >= 500));
    let share = failed.count() as f64 / told.attempts.len() as f64 * 100.0;
    report.must(share <= 1.0, format!("{share:.2} % failed: {}", told.statuses()));
    report.must(deepest <= 1_024.0, format!("deepest queue {deepest}"));
    let (before, during) =
        (percentile(&mut calm.times(true), 0.99), percentile(&mut told.times(true), 0.99));
    let writes = (percentile(&mut calm.times(false), 0.5), percentile(&mut told.times(false), 0.5));
    report.must(
        during <= before * 2.0,
        format!(
            "p99 of reads {during:.1} ms against {before:.1} ({:.2} ×); median of writes {:.0} ms against {:.0}",
            during / before.max(0.001),
            writes.1,
            writes.0
        ),
    );
    report.must(writes.1 > 150.0, "writes felt the disk");
    let mut both = told;
    both.acknowledged.extend(calm.acknowledged);
    both.added += calm.added;
    both.judge(&shop, &consumer, report).await;
    consumer.close().await;
}
