//! Three nodes of RabbitMQ, by one address with three hosts, of which one after the other is killed under
//! load: no acknowledged change lacks its message, and messages flow again by themselves.

use std::time::{Duration, Instant};

use crate::harness::checker::{self, Acknowledged};
use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::{Consumer, Shop, Shopper, eventually};
use crate::load::{Load, changed};
use crate::{state, together};

/// From the death of a broker node to the delivery of a change that was made after it.
const FLOWS_AGAIN_MAX: Duration = Duration::from_secs(30);

async fn told(consumer: &Consumer, change: &Acknowledged) {
    eventually("the message of a change", FLOWS_AGAIN_MAX, async || {
        let messages = consumer.of(&change.customer_id);
        messages.iter().any(|one| one.data["version"] == change.version).then_some(())
    })
    .await;
}

/// Whether every broker node runs and each has its part of every quorum queue again.
async fn whole(brokers: &[PrivateServer], urls: &str) {
    for broker in brokers {
        eventually("a broker node takes connections", Duration::from_secs(60), async || {
            let properties = lapin::ConnectionProperties::default();
            lapin::Connection::connect(&broker.url, properties).await.ok()
        })
        .await;
    }
    assert_eq!(urls.matches(',').count() + 1, brokers.len());
    // A follower that has come back reads what it missed.
    tokio::time::sleep(Duration::from_secs(5)).await;
}

pub async fn a_broker_node_that_dies_costs_no_message_whichever_it_is() {
    let first = PrivateServer::start("rabbitmq");
    let member = || PrivateServer::start_as("rabbitmq", &[("MEMBER_OF", state(&first))]);
    let (second, third) = (member(), member());
    let brokers = [first, second, third];
    let urls = together(&[&brokers[0].url, &brokers[1].url, &brokers[2].url]);
    let settings = [("RABBIT__URL", urls.as_str()), ("OUTBOX__POLL_MS", "50")];
    let shop = Shop::with(TestDatabase::new().await, &settings).await;
    let consumer = shop.consumer().await;
    let nodes = [shop.node().await, shop.node().await];
    let marker = Shopper::new(&shop, &nodes[0]).await;
    let load = Load::start(&shop, &[nodes[0].api(), nodes[1].api()], 12).await;
    let mut changes = vec![changed(&nodes[0], &marker, Duration::from_secs(10)).await];
    told(&consumer, &changes[0]).await;
    let mut slowest = Duration::ZERO;
    for (number, broker) in brokers.iter().enumerate() {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let killed_at = Instant::now();
        broker.stop("KILL").await;
        let change = changed(&nodes[0], &marker, Duration::from_secs(10)).await;
        told(&consumer, &change).await;
        println!(
            "broker node {}: messages flow again {:?} after its death",
            number + 1,
            killed_at.elapsed()
        );
        slowest = slowest.max(killed_at.elapsed());
        changes.push(change);
        tokio::task::block_in_place(|| broker.start_again());
        whole(&brokers, &urls).await;
    }
    let told = load.stop().await;
    changes.extend(told.changes());
    println!(
        "3 broker nodes killed in turn: {} changes acknowledged, {} refused, longest pause of changes {:?}, \
         of messages {slowest:?}",
        changes.len(),
        told.refused,
        told.longest_gap(),
    );
    assert_eq!(told.refused, 0, "changes do not wait for the broker");
    let limit = Duration::from_secs(120);
    println!("{:?}", checker::check(&shop.database, &consumer, &changes, limit).await);
    consumer.close().await;
}
