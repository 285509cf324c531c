//! PostgreSQL dies, freezes, and loses connections in the middle of a commit.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::api::Call;
use crate::harness::proxy::{Proxy, Way};
use crate::harness::shopper::home;
use crate::harness::{Api, Node, Shop, Shopper, unique};
use crate::load::Load;
use crate::report::{Report, ms};
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F05",
        fault: "PostgreSQL: a backend killed (the server restarts), or the server stopped at once and started, in turn",
        criterion: "acknowledged writes lost 0, works again ≤ 10 s after PostgreSQL is up, panics 0",
        play: played!(restarted),
        short: false,
    },
    Scenario {
        id: "F06",
        fault: "PostgreSQL frozen for 20 s",
        criterion: "every request answered ≤ 2.5 s with 503 and Retry-After; all pooled connections idle ≤ 5 s after",
        play: played!(frozen),
        short: true,
    },
    Scenario {
        id: "F07",
        fault: "the connection to PostgreSQL cut in a transaction's answers, byte by byte, and in that to COMMIT",
        criterion: "≥ 100 cuts; a repetition with the same key has exactly one effect, always",
        play: played!(cut),
        short: true,
    },
];

async fn restarted(ground: &Ground, report: &mut Report) {
    let rounds = ground.either(2, 5);
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let mut node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 10, 100).await;
    let mut slowest = Duration::ZERO;
    let mut back = 0;
    for round in 0..rounds {
        sleep(Duration::from_millis(700 + ground.roll(800))).await;
        if round % 2 == 0 {
            // The postmaster ends all sessions and recovers by itself.
            signal("KILL", &backends(&shop).await[..1]);
            sleep(Duration::from_millis(200)).await;
            let began = Instant::now();
            while !accepts(&ground.postgres.url).await {
                assert!(began.elapsed() < Duration::from_secs(30), "PostgreSQL does not recover");
                sleep(Duration::from_millis(20)).await;
            }
        } else {
            ground.postgres.stop("QUIT").await;
            tokio::task::block_in_place(|| ground.postgres.start_again());
        }
        if let Some(took) = load.works_again(Duration::from_secs(30)).await {
            slowest = slowest.max(took);
            back += 1;
        }
    }
    sleep(Duration::from_secs(1)).await;
    let panics = node.metric("actor_panics_total").await;
    let told = load.end().await;
    report.must(
        back == rounds && slowest <= Duration::from_secs(10),
        format!("{back} of {rounds} survived, works again ≤ {}", ms(slowest)),
    );
    report.must(panics == 0.0 && node.runs(), format!("panics {panics}"));
    report.note(format!("calls: {}", told.statuses()));
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

async fn accepts(url: &str) -> bool {
    let connecting = tokio_postgres::connect(url, tokio_postgres::NoTls);
    match tokio::time::timeout(Duration::from_secs(1), connecting).await {
        Ok(Ok((client, connection))) => {
            tokio::spawn(connection);
            client.simple_query("SELECT 1").await.is_ok()
        }
        _ => false,
    }
}

/// The service's sessions in this shop's database, by pid.
async fn backends(shop: &Shop) -> Vec<String> {
    let sessions = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name LIKE 'customer-service%'";
    shop.database.column(sessions).await
}

/// The signal to processes of the suite's own servers.
fn signal(signal: &str, pids: &[String]) {
    Command::new("kill").arg(format!("-{signal}")).args(pids).status().unwrap();
}

/// Ends the freeze also when a scenario breaks off.
struct Thaw<'a> {
    ground: &'a Ground,
    backends: Vec<String>,
}

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        signal("CONT", &self.backends);
        signal("CONT", &[self.ground.postgres.pid()]);
    }
}

async fn frozen(ground: &Ground, report: &mut Report) {
    // As configured by default, but for the two limits that the criterion is about.
    let limits = [
        ("HTTP__REQUEST_TIMEOUT_MS", "2400"),
        ("SHARDS__CALL_TIMEOUT_MS", "2000"),
        ("DATABASE__ACQUIRE_TIMEOUT_MS", "1500"),
        ("DATABASE__CONNECT_TIMEOUT_MS", "2000"),
        ("DATABASE__STATEMENT_TIMEOUT_MS", "2000"),
        ("SIGN_IN__WAIT_MS", "800"),
        ("SOCIAL__TIMEOUT_MS", "2000"),
        ("HASHING__DEADLINE_MS", "1500"),
        ("ANALYTICS__STATEMENT_TIMEOUT_MS", "2000"),
        ("SMS__TIMEOUT_MS", "2000"),
    ];
    let shop = ground.shop(&limits).await;
    let node = shop.node().await;
    let mut shoppers = Vec::new();
    for _ in 0..8 {
        shoppers.push(Shopper::new(&shop, &node).await);
    }
    // So that the pool is full before.
    for _ in 0..4 {
        burst(&node, &shoppers, 24).await;
    }
    let thaw = Thaw { ground, backends: backends(&shop).await };
    signal("STOP", &[ground.postgres.pid()]);
    signal("STOP", &thaw.backends);
    let (began, lasts) = (Instant::now(), ground.seconds(6, 20));
    let (mut answered, mut slowest, mut odd) = (0, Duration::ZERO, Vec::new());
    while began.elapsed() < lasts {
        for (status, hinted, took) in burst(&node, &shoppers, 16).await {
            answered += 1;
            slowest = slowest.max(took);
            if status != 503 || !hinted {
                odd.push(status);
            }
        }
    }
    drop(thaw);
    report.must(
        slowest <= Duration::from_millis(2_500),
        format!("{answered} requests, slowest {} (limits set to 2.4 s, default 10 s)", ms(slowest)),
    );
    report.must(odd.is_empty(), format!("other than 503 with Retry-After: {odd:?}"));
    let began = Instant::now();
    loop {
        let count = async |state: &str| {
            let which = format!("pool_name=\"writes\",db_client_connection_state=\"{state}\"");
            node.metric_where("db_client_connection_count", &which).await
        };
        let idle = count("idle").await;
        let open = idle + count("used").await;
        if open == idle && open > 0.0 {
            let took = began.elapsed();
            report.must(
                took <= Duration::from_secs(5),
                format!("{idle} of {open} idle after {}", ms(took)),
            );
            break;
        }
        if began.elapsed() > Duration::from_secs(15) {
            report.must(false, format!("{idle} of {open} idle after 15 s"));
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    let took = loop {
        let after = burst(&node, &shoppers, 32).await;
        let all_good = after.iter().all(|(status, ..)| *status == 200);
        if all_good || began.elapsed() > Duration::from_secs(15) {
            break all_good.then(|| began.elapsed());
        }
    };
    let quick = took.is_some_and(|took| took <= Duration::from_secs(5));
    report.must(quick, format!("32 of 32 good {took:.1?} after"));
}

/// So many reads and writes at once: status, whether it says when to come again, time.
async fn burst(node: &Node, shoppers: &[Shopper], count: usize) -> Vec<(u16, bool, Duration)> {
    let mut calls = JoinSet::new();
    for number in 0..count {
        let (shopper, node) = (shoppers[number % shoppers.len()].clone(), node.api());
        calls.spawn(async move {
            let call = match number % 2 {
                0 => shopper.get(&node, "/v1/me"),
                _ => shopper.patch(&node, "/v1/me", json!({ "first_name": unique("A") })),
            };
            let began = Instant::now();
            let answer = call.send().await;
            (answer.status, !answer.header("retry-after").is_empty(), began.elapsed())
        });
    }
    calls.join_all().await
}

async fn cut(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[]).await;
    let proxy = Proxy::to(&shop.database.service_url).await;
    let node = shop.node_with(&[("DATABASE__URL", &proxy.url)]).await;
    let told = cuts(&shop, &node, &proxy, ground.either(100, 300)).await;
    let Cuts { cuts, wrong, unknown, replayed } = &told;
    report.must(*cuts >= 100, format!("{cuts} cuts"));
    report.must(wrong.is_empty(), format!("other than one effect: {} {wrong:?}", wrong.len()));
    report.note(format!("{unknown} were told that the outcome is unknown, {replayed} replayed"));
}

/// What came of keys whose first request was cut off.
#[derive(Debug, Default)]
pub struct Cuts {
    pub cuts: u64,
    /// Cities with another number of addresses than one, with that number.
    pub wrong: Vec<(String, i64)>,
    pub unknown: usize,
    pub replayed: usize,
}

/// Cuts the line to the database so often, in the middle of adding an address, which is then
/// insisted on under its key.
pub async fn cuts(shop: &Shop, node: &Node, proxy: &Proxy, wanted: u64) -> Cuts {
    let mut told = Cuts::default();
    let mut cities = Vec::new();
    let mut shopper = Shopper::new(shop, node).await;
    let before = proxy.cuts();
    for number in 0..wanted as usize * 3 {
        if proxy.cuts() - before >= wanted {
            break;
        }
        if number % 40 == 39 {
            // An address book holds fifty.
            shopper = Shopper::new(shop, node).await;
        }
        // The answer to COMMIT has 18 bytes; a whole transaction's some thousand.
        match number % 2 {
            0 => proxy.cut_behind("COMMIT", number / 2 % 19),
            _ => proxy.cut_after(Way::Down, (number * 37) % 2_800),
        }
        let city = format!("City {number} {}", unique("x"));
        told.replayed += usize::from(insist(node, &shopper, &city, &mut told.unknown).await);
        cities.push(city);
        proxy.no_cut();
    }
    told.cuts = proxy.cuts() - before;
    for city in cities {
        let sql = format!("SELECT count(*) FROM addresses WHERE city = '{city}'");
        let count = shop.database.count(&sql).await;
        if count != 1 {
            told.wrong.push((city, count));
        }
    }
    told
}

/// Adds an address under one key until that is acknowledged; tells whether the answer was a replay.
async fn insist(node: &Api, shopper: &Shopper, city: &str, unknown: &mut usize) -> bool {
    let key = unique("key");
    let add =
        || -> Call { shopper.post(node, "/v1/me/addresses", home(city)).idempotency_key(&key) };
    let began = Instant::now();
    loop {
        let answer = add().send().await;
        if answer.status == 201 {
            return answer.header("idempotency-replayed") == "true";
        }
        *unknown += usize::from(answer.code() == "outcome_unknown");
        let excused = matches!(answer.status, 409 | 503);
        assert!(excused, "{} {}", answer.status, answer.text());
        assert!(began.elapsed() < Duration::from_secs(30), "no end: {}", answer.text());
        sleep(Duration::from_millis(20)).await;
    }
}
