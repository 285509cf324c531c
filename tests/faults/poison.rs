//! A message that the broker does not take: only its customer waits, and the others hardly notice.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::broker::inversions;
use crate::ground::Ground;
use crate::harness::servers::PrivateServer;
use crate::harness::{Consumer, Shop, unique};
use crate::load::Load;
use crate::outbox::p99;
use crate::report::Report;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F15",
    fault: "a message that the broker does not take, under load",
    criterion: "parked after 3 tries, p99 of others ≤ 1.2 × without, only its customer waits, replay and discard work",
    play: played!(poisoned),
    short: false,
}];

/// The broker takes no larger body: it closes the channel on which it is given one.
const BODY_MAX: usize = 64 * 1024;

/// The customer whose second message is too large.
const POISONED: &str = "00000000-0000-4000-9000-000000000001";

async fn poisoned(ground: &Ground, report: &mut Report) {
    let broker = tokio::task::block_in_place(|| PrivateServer::small_broker(BODY_MAX));
    let settings = [("RABBIT__URL", broker.url.as_str()), ("CUSTOMERS__ADDRESS_LIMIT", "1000")];
    let shop = ground.shop(&settings).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 20, 120).await;
    sleep(Duration::from_secs(3)).await;
    let window = ground.seconds(10, 40);
    let first = consumer.received().len();
    sleep(window).await;
    let second = consumer.received().len();
    let began = Instant::now();
    for (sequence, bytes) in [(1, 0), (2, BODY_MAX), (3, 0), (4, 0)] {
        append(&shop, sequence, bytes).await;
    }
    let parked = "SELECT count(*) FROM outbox_parked WHERE state = 'parked'";
    while shop.database.count(parked).await == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "never parked");
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    sleep(window.saturating_sub(took)).await;
    let third = consumer.received().len();
    let tries =
        shop.database.count("SELECT tries::bigint FROM outbox_parked WHERE state = 'parked'");
    let tries = tries.await;
    report.must(tries == 3, format!("parked after {tries} tries and {took:.1?}"));
    let waits = sequences(&consumer);
    report.must(waits == [1], format!("of its customer's four messages {waits:?} arrived"));
    let ((count, before), (others, during)) =
        (p99(&consumer, first..second), p99(&consumer, second..third));
    report.must(
        during <= before * 1.2,
        format!(
            "p99 of others {during:.1} ms of {others} against {before:.1} ms of {count} ({:.2} ×)",
            during / before.max(0.001)
        ),
    );
    decided(&shop, &node, &consumer, report).await;
    let told = load.end().await;
    report.note(format!("calls: {}", told.statuses()));
    report.must(told.odd.is_empty(), format!("{} odd answers {:?}", told.odd.len(), told.odd));
    let written = shop.database.count("SELECT count(*) FROM outbox_events").await - 1;
    let arrived = crate::broker::arrived(&consumer, written).await as i64;
    report.must(arrived == written, format!("{arrived} of {written} others arrived"));
    let inversions = inversions(&consumer);
    report.must(inversions == 0, format!("inversions {inversions}"));
    consumer.close().await;
}

/// One message about the poisoned customer, so many bytes larger than it need be.
async fn append(shop: &Shop, sequence: i64, bytes: usize) {
    let sql = format!(
        "SELECT outbox_append(ARRAY[9::smallint], ARRAY[gen_random_uuid()], \
         ARRAY['{POISONED}'::uuid], ARRAY[{sequence}::bigint], ARRAY['customer.updated'], \
         ARRAY[clock_timestamp()], ARRAY[NULL::text], \
         ARRAY[jsonb_build_object('version', {sequence}, 'pad', repeat('x', {bytes}))])"
    );
    shop.database.client().await.batch_execute(&sql).await.unwrap();
}

/// What arrived of the poisoned customer, in order.
fn sequences(consumer: &Consumer) -> Vec<i64> {
    let received = consumer.received();
    let its = received.iter().filter(|message| message.customer_id == POISONED);
    its.map(|message| message.sequence).collect()
}

/// Staff has it tried again, in vain, and gives it up: the two behind it go their way.
async fn decided(
    shop: &Shop,
    node: &crate::harness::Node,
    consumer: &Consumer,
    report: &mut Report,
) {
    let id = shop.database.one("SELECT id FROM outbox_parked WHERE state = 'parked'").await;
    let decide = |what: &str, body| {
        let path = format!("/v1/admin/events/dead_letters/{id}/{what}");
        let call = node.post(&path, body).bearer(&shop.staff_key);
        call.idempotency_key(&unique("key")).send()
    };
    let asked = Instant::now();
    let replayed = decide("replay", json!({})).await.status;
    let answered = asked.elapsed();
    let state = format!("SELECT state FROM outbox_parked WHERE id = '{id}'");
    sleep(Duration::from_secs(2)).await;
    while shop.database.one(&state).await != "parked" {
        assert!(asked.elapsed() < Duration::from_secs(40), "it is not parked again");
        sleep(Duration::from_millis(50)).await;
    }
    let again = asked.elapsed();
    let began = Instant::now();
    let discarded = decide("discard", json!({ "reason": "too_large" })).await.status;
    while sequences(consumer).len() < 3 && began.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(20)).await;
    }
    let arrived = sequences(consumer);
    report.must(
        arrived == [1, 3, 4],
        format!(
            "replay {replayed} in {answered:.0?}, parked again after {again:.1?}; discard \
             {discarded}, then {arrived:?} arrived after {:.1?}",
            began.elapsed()
        ),
    );
}
