//! Customers who are changed over and over while something breaks, and what was acknowledged to them and
//! when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::checker::Acknowledged;
use crate::harness::{Api, Shop, Shopper, eventually};

/// A caller waits no longer for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A load that runs; see the module.
pub struct Load {
    ended: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
    writers: JoinSet<Vec<(Instant, Acknowledged)>>,
}

/// What came of a load.
pub struct Told {
    /// In the order of the answers.
    pub acknowledged: Vec<(Instant, Acknowledged)>,
    /// Calls that were answered with 503 or not at all.
    pub refused: usize,
}

impl Load {
    /// So many customers, each changed as fast as the answers come, at these nodes in turn.
    pub async fn start(shop: &Shop, nodes: &[Api], writers: usize) -> Self {
        let (ended, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let mut tasks = JoinSet::new();
        for number in 0..writers {
            let shopper = Shopper::new(shop, &nodes[number % nodes.len()]).await;
            let node = nodes[number % nodes.len()].clone();
            tasks.spawn(write(node, shopper, ended.clone(), refused.clone()));
        }
        Self { ended, refused, writers: tasks }
    }

    pub async fn stop(self) -> Told {
        self.ended.store(true, Ordering::Release);
        let mut acknowledged: Vec<_> =
            self.writers.join_all().await.into_iter().flatten().collect();
        acknowledged.sort_by_key(|(at, _)| *at);
        Told { acknowledged, refused: self.refused.load(Ordering::Acquire) }
    }
}

impl Told {
    pub fn changes(&self) -> Vec<Acknowledged> {
        self.acknowledged.iter().map(|(_, change)| change.clone()).collect()
    }

    /// The longest time without an acknowledged change.
    pub fn longest_gap(&self) -> Duration {
        let pairs = self.acknowledged.windows(2);
        pairs.map(|pair| pair[1].0.duration_since(pair[0].0)).max().unwrap_or_default()
    }
}

async fn write(
    node: Api,
    shopper: Shopper,
    ended: Arc<AtomicBool>,
    refused: Arc<AtomicUsize>,
) -> Vec<(Instant, Acknowledged)> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if ended.load(Ordering::Acquire) {
            break;
        }
        let call =
            shopper.patch(&node, "/v1/me", json!({ "first_name": format!("Anna {number}") }));
        match tokio::time::timeout(PATIENCE, call.try_send()).await {
            Ok(Ok(answer)) if answer.status == 200 => {
                let version = answer.version();
                let change = Acknowledged { customer_id: shopper.id.clone(), version };
                acknowledged.push((Instant::now(), change));
                continue;
            }
            Ok(Ok(answer)) => assert_eq!(answer.status, 503, "{}", answer.text()),
            // The node lives all the time: whatever breaks is behind it.
            Ok(Err(error)) => panic!("{error:?}"),
            Err(_) => panic!("no answer within {PATIENCE:?}"),
        }
        refused.fetch_add(1, Ordering::AcqRel);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    acknowledged
}

/// Changes a customer, insisting; answers with the change when it is acknowledged.
pub async fn changed(node: &Api, shopper: &Shopper, limit: Duration) -> Acknowledged {
    let version = eventually("a change is acknowledged", limit, async || {
        let body = json!({ "last_name": format!("{:?}", Instant::now()) });
        let answer = shopper.patch(node, "/v1/me", body).send().await;
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        (answer.status == 200).then(|| answer.version())
    });
    Acknowledged { version: version.await, customer_id: shopper.id.clone() }
}
