//! What stands in front of the nodes: it asks each of them again and again whether it is ready, and
//! sends requests to those that said so last. It repeats nothing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::Api;
use crate::load::Route;

/// Time between two questions. A node that is told to end must go on for longer than a few of them.
const EVERY: Duration = Duration::from_millis(100);
/// A node that does not answer by then is not ready.
const PATIENCE: Duration = Duration::from_secs(1);

/// See the module; it ends with the value.
pub struct Balancer {
    nodes: Arc<Mutex<Vec<Api>>>,
    route: Route,
    asking: JoinHandle<()>,
}

impl Balancer {
    /// In front of these nodes, which are ready.
    pub fn of(nodes: &[Api], route: &Route) -> Self {
        let nodes = Arc::new(Mutex::new(nodes.to_vec()));
        let asking = tokio::spawn(ask(nodes.clone(), route.clone()));
        Self { nodes, route: route.clone(), asking }
    }

    /// Another node instead of one that has ended.
    pub fn replace(&self, ended: &Api, next: &Api) {
        let mut nodes = self.nodes.lock().unwrap();
        nodes.retain(|node| node.base() != ended.base());
        nodes.push(next.clone());
    }

    /// Waits until so many nodes are sent requests.
    ///
    /// # Panics
    /// After half a minute.
    pub async fn leads_to(&self, count: usize) {
        let began = Instant::now();
        while self.route.nodes() != count {
            assert!(began.elapsed() < Duration::from_secs(30), "{count} nodes are never ready");
            sleep(EVERY / 2).await;
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

async fn ask(nodes: Arc<Mutex<Vec<Api>>>, route: Route) {
    loop {
        let mut ready = Vec::new();
        let asked = nodes.lock().unwrap().clone();
        for node in &asked {
            let asked = timeout(PATIENCE, node.get("/health/ready").try_send()).await;
            if asked.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200)) {
                ready.push(node.clone());
            }
        }
        // With nobody ready it goes on as before: requests fail then, as they should be seen to.
        if !ready.is_empty() {
            route.change(&ready);
        }
        sleep(EVERY).await;
    }
}
