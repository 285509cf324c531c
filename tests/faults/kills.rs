//! The process is killed, or told to end, while it works.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::ground::Ground;
use crate::load::Load;
use crate::report::{Report, ms};
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "F02",
        fault: "random SIGKILLs of the service under load",
        criterion: "lost 0, out of order 0, duplicates ≤ rate × 1 s per kill",
        play: played!(killed),
        short: true,
    },
    Scenario {
        id: "F30",
        fault: "SIGTERM during load",
        criterion: "what is under way finished ≤ 10 s, 5xx 0, cursor written, duplicates after the restart ≤ the window (512)",
        play: played!(told_to_end),
        short: true,
    },
];

async fn killed(ground: &Ground, report: &mut Report) {
    let kills = ground.either(6, 50);
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let mut node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 16, 200).await;
    let (mut slowest, mut down) = (Duration::ZERO, Duration::ZERO);
    for kill in 0..kills {
        // Some live for a while. Most die young: what one of them published may come again once, not
        // with each that follows.
        let span = if kill % 3 == 0 { 1_200 } else { 300 };
        sleep(Duration::from_millis(300 + ground.roll(span))).await;
        let began = Instant::now();
        node.kill9();
        node = shop.node().await;
        slowest = slowest.max(began.elapsed());
        down += began.elapsed();
        load.go_to(&[node.api()]);
    }
    sleep(Duration::from_secs(1)).await;
    let told = load.end().await;
    report.note(format!(
        "{kills} kills at {:.0} changes/s, ready again ≤ {}",
        told.rate(),
        ms(slowest)
    ));
    let verdict = told.judge(&shop, &consumer, report).await;
    // While it lives; of messages, not changes: an address makes one as well.
    let rate = verdict.messages as f64 / told.took.saturating_sub(down).as_secs_f64();
    let most = rate * f64::from(kills);
    report.must(
        verdict.duplicates as f64 <= most,
        format!("{rate:.0} messages/s while it lives, so duplicates ≤ {most:.0}"),
    );
    consumer.close().await;
}

async fn told_to_end(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let mut node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 16, 200).await;
    sleep(ground.seconds(3, 10)).await;
    let began = Instant::now();
    node.sigterm();
    let status = node.ended(Duration::from_secs(30)).await;
    let took = began.elapsed();
    report.must(
        status.success() && took <= Duration::from_secs(10),
        format!("ended after {}", ms(took)),
    );
    let behind = "SELECT count(*) FROM outbox_events AS e JOIN outbox_cursors AS c \
        ON c.relay_group = e.shard / 8 WHERE e.seq > c.positions[e.shard % 8 + 1]";
    let received = consumer.received().len();
    let behind = shop.database.count(behind).await;
    let node = shop.node().await;
    load.go_to(&[node.api()]);
    sleep(Duration::from_secs(1)).await;
    let told = load.end().await;
    let server_errors = told.attempts.iter().filter(|one| {
        one.began >= began && one.began <= began + took && one.status.is_some_and(|s| s >= 500)
    });
    let (errors, calls) = (server_errors.count(), told.statuses());
    report.must(errors == 0, format!("5xx {errors} (calls: {calls})"));
    report.note(format!("{behind} messages left to the next process, {received} delivered before"));
    let verdict = told.judge(&shop, &consumer, report).await;
    report.must(verdict.duplicates <= 512, "duplicates ≤ 512");
    consumer.close().await;
}
