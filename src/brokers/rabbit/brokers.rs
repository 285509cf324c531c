//! The nodes of a RabbitMQ cluster, or the one broker there is: an address may list several, and each is
//! tried in turn, beginning with the one that served last. Processes begin with different ones, so
//! that a cluster is not entered through one node by all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::{InvalidUrl, PublishFault};
use crate::config::each_host;

/// What an address lists; clones agree on the one that served last.
#[derive(Clone)]
pub(super) struct Brokers {
    uris: Arc<[AMQPUri]>,
    first: Arc<AtomicUsize>,
}

impl Brokers {
    pub fn of(url: &SecretString, heartbeat_seconds: u16) -> Result<Self, InvalidUrl> {
        let each = each_host(url.expose_secret());
        let uris: Vec<_> =
            each.iter().map(|one| uri(one, heartbeat_seconds)).collect::<Result<_, _>>()?;
        // lossless wherever a pointer has 32 bits
        let process = std::process::id() as usize;
        let first = AtomicUsize::new(process % uris.len().max(1));
        Ok(Self { uris: uris.into(), first: Arc::new(first) })
    }

    /// Opens something at the first broker where that succeeds, each having `limit` for it.
    ///
    /// # Errors
    /// Why it failed at the broker that was tried last.
    pub async fn open<T, F>(
        &self,
        limit: Duration,
        open: impl Fn(AMQPUri) -> F,
    ) -> Result<T, PublishFault>
    where
        F: Future<Output = Result<T, PublishFault>>,
    {
        let first = self.first.load(Ordering::Relaxed);
        let mut last = PublishFault::Down("no broker is configured".to_owned());
        for number in 0..self.uris.len() {
            let index = (first + number) % self.uris.len();
            let opening = timeout(limit, open(self.uris[index].clone()));
            match opening.await.unwrap_or(Err(PublishFault::TimedOut("connecting"))) {
                Ok(opened) => {
                    self.first.store(index, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(fault) => {
                    tracing::debug!(broker.address = %place(&self.uris[index]), %fault, "no way in");
                    last = fault;
                }
            }
        }
        Err(last)
    }

    /// Where it connected last, or will first, without credentials.
    pub fn address(&self) -> String {
        let first = self.first.load(Ordering::Relaxed);
        self.uris.get(first).map(place).unwrap_or_default()
    }
}

fn place(uri: &AMQPUri) -> String {
    format!("{}:{} vhost {}", uri.authority.host, uri.authority.port, uri.vhost)
}

/// The address as lapin takes it.
fn uri(url: &str, heartbeat_seconds: u16) -> Result<AMQPUri, InvalidUrl> {
    let mut uri: AMQPUri = url.parse().map_err(|_| InvalidUrl)?;
    // `amqp://host/` means the virtual host "" to the letter, which nobody has.
    if uri.vhost.is_empty() {
        uri.vhost = "/".to_owned();
    }
    uri.query.heartbeat = Some(heartbeat_seconds);
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn three() -> Brokers {
        let url = SecretString::from("amqp://shop:pw@one,two:5673,three/%2f");
        Brokers::of(&url, 5).expect("three brokers")
    }

    /// Tries each; `good` serves, `frozen` never answers, all others refuse.
    async fn tried(brokers: &Brokers, good: &str, frozen: &str) -> Vec<String> {
        let seen = std::sync::Mutex::new(Vec::new());
        let opened = brokers.open(LIMIT, |uri| {
            let host = uri.authority.host;
            seen.lock().expect("no panic").push(host.clone());
            async move {
                if host == frozen {
                    std::future::pending::<()>().await;
                }
                (host == good).then_some(()).ok_or(PublishFault::Refused)
            }
        });
        assert_eq!(opened.await.is_ok(), good != "none");
        seen.into_inner().expect("no panic")
    }

    #[tokio::test]
    async fn the_one_that_served_last_is_tried_first_and_a_frozen_one_costs_its_limit() {
        let brokers = three();
        brokers.first.store(0, Ordering::Relaxed);
        assert_eq!(tried(&brokers, "two", "").await, ["one", "two"]);
        assert_eq!(brokers.address(), "two:5673 vhost /");
        assert_eq!(tried(&brokers, "two", "").await, ["two"]);
        assert_eq!(tried(&brokers, "one", "two").await, ["two", "three", "one"]);
        assert_eq!(tried(&brokers, "none", "").await, ["one", "two", "three"]);
        assert_eq!(tried(&brokers, "one", "").await, ["one"]);
    }

    #[test]
    fn every_broker_of_the_list_must_be_one() {
        assert!(Brokers::of(&SecretString::from("amqp://one,two:port/x"), 5).is_err());
    }
}
