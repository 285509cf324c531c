//! Three nodes of RabbitMQ, by one address with three hosts, of which one after the other is killed under
//! load: no acknowledged change lacks its message, and messages flow again by themselves.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::checker::{self, Acknowledged};
use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::{Consumer, Node, Shop, Shopper, eventually};
use crate::load::{Load, changed};
use crate::rabbitmqctl::{node_name, rabbitmqctl};
use crate::{state, together};

/// From the death of a broker node to the delivery of a change that was made after it.
const FLOWS_AGAIN_MAX: Duration = Duration::from_secs(30);

/// Waits for the message of a change. What is known of its whereabouts is told by `known` when it
/// does not come.
async fn told<F>(consumer: &Consumer, change: &Acknowledged, known: impl FnOnce() -> F)
where
    F: Future<Output = String>,
{
    let began = Instant::now();
    let came = || {
        let messages = consumer.of(&change.customer_id);
        messages.iter().any(|one| one.data["version"] == change.version)
    };
    while !came() {
        if began.elapsed() > FLOWS_AGAIN_MAX {
            panic!("no message of a change within {FLOWS_AGAIN_MAX:?}: {}", known().await);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whom a broker node takes for the leader of the consumer's queue, its members, and who of them is
/// there.
fn members(broker: &PrivateServer, consumer: &Consumer) -> Value {
    let columns = ["list_queues", "--formatter", "json", "name", "leader", "members", "online"];
    let queues = tokio::task::block_in_place(|| rabbitmqctl(broker, &columns));
    let queues: Value = serde_json::from_str(&queues).unwrap();
    let queues = queues.as_array().unwrap();
    queues.iter().find(|queue| queue["name"] == *consumer.queue).cloned().unwrap_or_default()
}

/// Waits until each broker node has its part of the consumer's queue, in the eyes of each.
async fn whole(brokers: &[PrivateServer], consumer: &Consumer) {
    for broker in brokers {
        eventually("a broker node takes connections", Duration::from_secs(60), async || {
            let properties = lapin::ConnectionProperties::default();
            lapin::Connection::connect(&broker.url, properties).await.ok()
        })
        .await;
    }
    let began = Instant::now();
    for broker in brokers {
        loop {
            let seen = members(broker, consumer);
            if seen["online"].as_array().is_some_and(|online| online.len() == brokers.len()) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "not whole again: {seen}");
        }
    }
}

/// Where messages may be.
async fn known(broker: &PrivateServer, consumer: &Consumer, nodes: &[Node]) -> String {
    let mut told = format!("{} received", consumer.received().len());
    for node in nodes {
        let (published, refused) = ("outbox_published_total", "outbox_refused_total");
        let (published, refused) = (node.metric(published).await, node.metric(refused).await);
        told += &format!("; of a node {published} confirmed, {refused} refused");
    }
    told + &format!("; {}", members(broker, consumer))
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
    told(&consumer, &changes[0], async || known(&brokers[0], &consumer, &nodes).await).await;
    whole(&brokers, &consumer).await;
    let mut slowest = Duration::ZERO;
    for (number, broker) in brokers.iter().enumerate() {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let killed_at = Instant::now();
        broker.stop("KILL").await;
        let change = changed(&nodes[0], &marker, Duration::from_secs(10)).await;
        let other = &brokers[(number + 1) % brokers.len()];
        told(&consumer, &change, async || known(other, &consumer, &nodes).await).await;
        let took = killed_at.elapsed();
        println!("broker node {}: messages flow again {took:?} after its death", number + 1);
        slowest = slowest.max(took);
        changes.push(change);
        tokio::task::block_in_place(|| broker.start_again());
        whole(&brokers, &consumer).await;
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

/// Of a queue whose leader is gone each message is refused. A broker node goes on to refuse them on a
/// channel that was opened meanwhile, for as long as the former leader stays away.
pub async fn a_queue_that_found_another_leader_is_published_to() {
    let first = PrivateServer::start("rabbitmq");
    let member = || PrivateServer::start_as("rabbitmq", &[("MEMBER_OF", state(&first))]);
    let (second, third) = (member(), member());
    let brokers = [first, second, third];
    let urls = together(&[&brokers[0].url, &brokers[1].url, &brokers[2].url]);
    let settings = [("RABBIT__URL", urls.as_str()), ("OUTBOX__POLL_MS", "50")];
    let shop = Shop::with(TestDatabase::new().await, &settings).await;
    let consumer = shop.consumer().await;
    whole(&brokers, &consumer).await;
    let leader = members(&brokers[0], &consumer)["leader"].as_str().unwrap().to_owned();
    let (leaders, others): (Vec<_>, Vec<_>) =
        brokers.iter().partition(|broker| node_name(broker) == leader);
    // Without a majority there is no leader.
    leaders[0].stop("KILL").await;
    others[0].stop("KILL").await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let change = changed(&node, &shopper, Duration::from_secs(10)).await;
    eventually("the broker refuses", Duration::from_secs(30), async || {
        (node.metric("outbox_refused_total").await > 0.0).then_some(())
    })
    .await;
    tokio::task::block_in_place(|| others[0].start_again());
    let there = Instant::now();
    let nodes = [node];
    told(&consumer, &change, async || known(others[1], &consumer, &nodes).await).await;
    println!(
        "a queue without its leader: messages flow again {:?} after it found another; {}",
        there.elapsed(),
        known(others[1], &consumer, &nodes).await
    );
    let limit = Duration::from_secs(60);
    println!("{:?}", checker::check(&shop.database, &consumer, &[change], limit).await);
    consumer.close().await;
}
