//! Lists and figures read from a standby: nobody misses what was committed before the read began,
//! however far the standby is behind, and without the standby the primary answers.

use std::time::{Duration, Instant};

use crate::at;
use crate::harness::{Node, Shopper, eventually};
use crate::load::changed;
use crate::postgres::{Pair, Replication};

/// How long a read waits for the standby here.
const WAIT: Duration = Duration::from_millis(150);

/// Staff's list of one customer; how long it took.
async fn listed(pair: &Pair, node: &Node, shopper: &Shopper) -> (i64, Duration) {
    let path = format!("/v1/admin/customers?email={}", shopper.email);
    let asked_at = Instant::now();
    let list = node.get(&path).bearer(&pair.shop.staff_key).send().await.expect(200).json();
    let took = asked_at.elapsed();
    (list["items"][0]["version"].as_i64().unwrap_or_else(|| panic!("{list}")), took)
}

async fn answered_by(node: &Node, who: &str) -> f64 {
    node.metric_where("database_replica_reads_total", &format!("answered_by=\"{who}\"")).await
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// Changes a customer and reads the list at once, so often; each read shows the change.
async fn change_and_list(
    pair: &Pair,
    node: &Node,
    shopper: &Shopper,
    times: usize,
) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let change = changed(node, shopper, Duration::from_secs(5)).await;
        let (version, time) = listed(pair, node, shopper).await;
        assert_eq!(version, change.version, "the list is behind");
        took.push(time);
    }
    took
}

pub async fn a_list_from_the_replica_shows_what_was_committed_before_and_the_primary_stands_in() {
    let wait = WAIT.as_millis().to_string();
    let pair = Pair::start(Replication::Asynchronous, &[("DATABASE__READ_WAIT_MS", &wait)]).await;
    let replica = at(&pair.standby.url, &pair.shop.database.service_url);
    let reads = [("DATABASE__READ_URL", replica.as_str())];
    let node = pair.shop.node_with(&reads).await;
    let plain = pair.shop.node().await;
    let shopper = Shopper::new(&pair.shop, &node).await;
    let mut primary = change_and_list(&pair, &plain, &shopper, 200).await;
    let mut replica = change_and_list(&pair, &node, &shopper, 200).await;
    let (at_replica, at_primary) =
        (answered_by(&node, "replica").await, answered_by(&node, "primary").await);
    println!(
        "a list right after a change: primary p50 {:?} p99 {:?}; replica p50 {:?} p99 {:?} \
         ({at_replica} answered by the replica, {at_primary} by the primary)",
        percentile(&mut primary, 50),
        percentile(&mut primary, 99),
        percentile(&mut replica, 50),
        percentile(&mut replica, 99),
    );
    assert!(at_replica >= 150.0, "the replica is there to be read");

    // Behind: the standby has it all and shows none of it.
    let standby = tokio_postgres::connect(&pair.at_standby, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(standby.1);
    standby.0.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    let before = answered_by(&node, "primary").await;
    let mut behind = change_and_list(&pair, &node, &shopper, 20).await;
    assert!(answered_by(&node, "primary").await >= before + 20.0);
    let worst = percentile(&mut behind, 100);
    println!("behind: the primary stands in after {worst:?} at worst");
    assert!(worst >= WAIT && worst < WAIT + Duration::from_secs(2), "{worst:?}");
    standby.0.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    drop(standby.0);

    // Away, and back.
    pair.standby.stop("INT").await;
    let away = change_and_list(&pair, &node, &shopper, 5).await;
    println!("away: the primary stands in after {:?}", away);
    figures(&pair, &node).await;
    tokio::task::block_in_place(|| pair.standby.start_again());
    let before = answered_by(&node, "replica").await;
    eventually("the replica is read again", Duration::from_secs(30), async || {
        listed(&pair, &node, &shopper).await;
        (answered_by(&node, "replica").await > before).then_some(())
    })
    .await;
    figures(&pair, &node).await;
}

/// Figures of all customers, which have connections of their own.
async fn figures(pair: &Pair, node: &Node) {
    let path = "/v1/admin/analytics/registrations";
    node.get(path).bearer(&pair.shop.staff_key).send().await.expect(200);
}
