//! What one node does for all (groups of the relay, the import that runs) goes on at the other one: at
//! once when its owner ends, within 12 s when the owner is frozen or cut off and so tells nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::checker::{self, Acknowledged};
use crate::harness::proxy::Proxy;
use crate::harness::{Api, Consumer, Node, Shop, Shopper, eventually};

/// All groups of the relay.
const GROUPS: usize = 8;
/// The longest that what a node owns may lie still when the node tells nobody.
const SILENT_MAX: Duration = Duration::from_secs(12);
/// The same when its connections end with it; the rest is for a busy machine.
const ENDED_MAX: Duration = Duration::from_secs(5);

/// Two nodes, of which the first owns every group, and customers to be changed.
struct Pair {
    shop: Shop,
    consumer: Consumer,
    owner: Node,
    other: Node,
    shoppers: Vec<Shopper>,
}

impl Pair {
    /// `owner`: settings of the owner's own.
    async fn new(shop: Shop, owner: &[(&str, &str)]) -> Self {
        let consumer = shop.consumer().await;
        let owner = shop.node_with(owner).await;
        owns_all(&shop, &owner).await;
        let other = shop.node().await;
        let mut shoppers = Vec::new();
        for _ in 0..8 {
            shoppers.push(Shopper::new(&shop, &other).await);
        }
        Self { shop, consumer, owner, other, shoppers }
    }

    /// Changes every customer at the other node, insisting, and waits until each change has come to
    /// the subscriber. Answers with what was acknowledged and with how long it took since `since`.
    async fn all_changed_and_told(
        &self,
        since: Instant,
        limit: Duration,
    ) -> (Vec<Acknowledged>, Duration) {
        let mut acknowledged = Vec::new();
        for shopper in &self.shoppers {
            let change = eventually("a change at the other node", limit, async || {
                let body = json!({ "first_name": format!("{:?}", since.elapsed()) });
                let answer = shopper.patch(&self.other, "/v1/me", body).send().await;
                assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
                (answer.status == 200).then(|| answer.version())
            });
            let version = change.await;
            acknowledged.push(Acknowledged { customer_id: shopper.id.clone(), version });
        }
        for change in &acknowledged {
            eventually("the message of a change", SILENT_MAX * 3, async || {
                let messages = self.consumer.of(&change.customer_id);
                messages.iter().any(|one| one.data["version"] == change.version).then_some(())
            })
            .await;
        }
        (acknowledged, since.elapsed())
    }

    async fn whole(self, acknowledged: &[Acknowledged]) {
        let limit = Duration::from_secs(60);
        let verdict = checker::check(&self.shop.database, &self.consumer, acknowledged, limit);
        println!("{:?}", verdict.await);
        self.consumer.close().await;
    }
}

async fn owns_all(shop: &Shop, node: &Node) {
    let owner = format!("SELECT count(*) FROM outbox_cursors WHERE owner LIKE '%:{}'", node.pid());
    eventually("one node owns every group", Duration::from_secs(30), async || {
        (shop.database.count(&owner).await == GROUPS as i64).then_some(())
    })
    .await;
}

/// Changes a customer over and over at a node that may be in trouble; any answer will do, within the
/// time that a request may take.
async fn insist(api: Api, shopper: Shopper, ended: Arc<AtomicBool>) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if ended.load(Ordering::Acquire) {
            break;
        }
        let body = json!({ "last_name": format!("No {number}") });
        match shopper.patch(&api, "/v1/me", body).try_send().await {
            Ok(answer) if answer.status == 200 => {
                let version = answer.version();
                acknowledged.push(Acknowledged { customer_id: shopper.id.clone(), version });
            }
            Ok(answer) => assert!(matches!(answer.status, 503 | 504), "{}", answer.text()),
            // Frozen for longer than the client waits, or gone.
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_frozen_node_owns_goes_on_at_the_other_within_12_s_and_thaws_harmless() {
    let pair = Pair::new(Shop::new().await, &[]).await;
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for shopper in &pair.shoppers {
        // In the middle of its batches, too: it holds locks of rows when it freezes.
        writers.spawn(insist(pair.owner.api(), shopper.clone(), ended.clone()));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let frozen_at = Instant::now();
    pair.owner.signal("STOP");
    let (mut acknowledged, took) = pair.all_changed_and_told(frozen_at, SILENT_MAX).await;
    owns_all(&pair.shop, &pair.other).await;
    println!("frozen: changed and told again after {took:?}");
    assert!(took <= SILENT_MAX, "{took:?}");
    tokio::time::sleep(Duration::from_secs(14).saturating_sub(frozen_at.elapsed())).await;
    pair.owner.signal("CONT");
    let thawed_at = Instant::now();
    eventually("the thawed node serves", Duration::from_secs(15), async || {
        let call = pair.shoppers[0].get(&pair.owner, "/v1/me").try_send().await;
        call.is_ok_and(|answer| answer.status == 200).then_some(())
    })
    .await;
    println!("thawed: serves again after {:?}", thawed_at.elapsed());
    tokio::time::sleep(Duration::from_secs(1)).await;
    ended.store(true, Ordering::Release);
    acknowledged.extend(writers.join_all().await.into_iter().flatten());
    pair.whole(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_owned_goes_on_at_once_when_it_is_stopped_or_killed() {
    let mut acknowledged = Vec::new();
    let mut pair = Pair::new(Shop::new().await, &[]).await;
    pair.owner.sigterm();
    pair.owner.ended(Duration::from_secs(30)).await;
    let (changes, took) = pair.all_changed_and_told(Instant::now(), ENDED_MAX).await;
    println!("stopped: changed and told again after {took:?}");
    assert!(took <= ENDED_MAX, "{took:?}");
    acknowledged.extend(changes);
    // And the other way round, without a good-bye.
    owns_all(&pair.shop, &pair.other).await;
    pair.owner = std::mem::replace(&mut pair.other, pair.shop.node().await);
    let killed_at = Instant::now();
    pair.owner.kill9();
    let (changes, took) = pair.all_changed_and_told(killed_at, ENDED_MAX).await;
    println!("killed: changed and told again after {took:?}");
    assert!(took <= ENDED_MAX, "{took:?}");
    acknowledged.extend(changes);
    pair.whole(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_cut_off_from_the_database_loses_what_it_owned_and_comes_back() {
    let shop = Shop::new().await;
    let line = Proxy::to(&shop.database.service_url).await;
    let shorter =
        [("DATABASE__STATEMENT_TIMEOUT_MS", "3000"), ("DATABASE__URL", line.url.as_str())];
    let pair = Pair::new(shop, &shorter).await;
    let shopper = pair.shoppers[0].clone();
    shopper.get(&pair.owner, "/v1/me").send().await.expect(200);
    let cut_at = Instant::now();
    line.black_hole();
    // No caller waits for ever: refused within the time of a statement and of a connection.
    let asked_at = Instant::now();
    shopper.get(&pair.owner, "/v1/me").send().await.problem(503, "unavailable");
    println!("cut off: a read is refused after {:?}", asked_at.elapsed());
    assert!(asked_at.elapsed() < Duration::from_secs(8), "{:?}", asked_at.elapsed());
    let (mut acknowledged, took) = pair.all_changed_and_told(cut_at, SILENT_MAX).await;
    println!("cut off: changed and told again after {took:?}");
    assert!(took <= SILENT_MAX, "{took:?}");
    tokio::time::sleep(Duration::from_secs(14).saturating_sub(cut_at.elapsed())).await;
    line.mend();
    line.reset();
    let mended_at = Instant::now();
    let version = eventually("the node serves again", Duration::from_secs(15), async || {
        let body = json!({ "first_name": "Back" });
        let answer = shopper.patch(&pair.owner, "/v1/me", body).send().await;
        (answer.status == 200).then(|| answer.version())
    });
    acknowledged.push(Acknowledged { version: version.await, customer_id: shopper.id.clone() });
    println!("mended: serves again after {:?}", mended_at.elapsed());
    pair.whole(&acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_a_frozen_node_carries_out_goes_on_at_the_other_within_12_s() {
    let slow = [("IMPORTS__BLOCK_ROWS", "20"), ("IMPORTS__ROWS_PER_SECOND", "100")];
    let shop = Shop::configured(&slow).await;
    let (owner, other) = (shop.node().await, shop.node().await);
    let mut file = "email,first_name,last_name\n".to_owned();
    for row in 0..1_000 {
        file.push_str(&format!("row{row}@frozen.example,Lan,Nguyễn\n"));
    }
    let call = owner.call(reqwest::Method::POST, "/v1/admin/imports").bearer(&shop.staff_key);
    call.body("text/csv", file.into_bytes()).send().await.expect(202);
    let imported = async || shop.database.count("SELECT count(*) FROM customers").await;
    let more_than = async |rows: i64, limit: Duration| {
        eventually("rows come in", limit, async || (imported().await > rows).then_some(())).await;
    };
    more_than(100, Duration::from_secs(30)).await;
    let (node, spare) = match owner.log().contains("is taken up") {
        true => (&owner, &other),
        false => (&other, &owner),
    };
    node.signal("STOP");
    let frozen_at = Instant::now();
    // What it had sent may still be committed.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let left = imported().await;
    more_than(left, SILENT_MAX - frozen_at.elapsed()).await;
    println!("frozen: the import goes on after {:?}", frozen_at.elapsed());
    assert!(spare.log().contains("is taken up"));
    node.signal("CONT");
    let rows = "SELECT rows_imported FROM imports WHERE state = 'completed'";
    eventually("the import ends", Duration::from_secs(60), async || {
        (shop.database.one(rows).await == "1000").then_some(())
    })
    .await;
    assert_eq!(imported().await, 1_000, "no row twice");
}
