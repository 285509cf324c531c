//! The other services that are told to forget a customer who is erased: what they were commanded, and
//! what they answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::consumer::{Consumer, Message, commands_of};
use super::orders::OrderService;
use super::shop::Shop;

/// Every service, as a setting.
pub const ALL_COMMANDS: &str = "order.anonymize,payment.delete_methods,notification.forget";
/// What each is commanded, in the order in which they are.
pub const COMMANDS: [&str; 3] =
    ["order.anonymize", "payment.delete_methods", "notification.forget"];

/// The other services: they read what they are commanded and say that it is done.
pub struct Services {
    pub consumer: Arc<Consumer>,
    answering: Option<JoinHandle<()>>,
    broker: OrderService,
    queue: String,
}

impl Services {
    /// Who hears and says nothing by itself.
    pub async fn silent(shop: &Shop) -> Self {
        let exchange = commands_of(&shop.exchange);
        let consumer = Arc::new(Consumer::bind(&shop.amqp_url, &exchange).await);
        let broker = OrderService::new(&shop.amqp_url);
        let queue = format!("{}.answers", shop.exchange);
        Self { consumer, answering: None, broker, queue }
    }

    /// Who says of each that it is done when it is told for the first time, the second, or a later one.
    pub async fn obedient(shop: &Shop, told: usize) -> Self {
        let mut services = Self::silent(shop).await;
        let (consumer, queue) = (services.consumer.clone(), services.queue.clone());
        let broker = OrderService::new(&shop.amqp_url);
        services.answering = Some(tokio::spawn(async move {
            let (mut heard, mut times) = (HashSet::new(), HashMap::<String, usize>::new());
            loop {
                for message in consumer.received() {
                    if !heard.insert(message.id.clone()) {
                        continue;
                    }
                    let step = times.entry(message.data["step_id"].to_string()).or_default();
                    *step += 1;
                    if *step >= told {
                        let body = done(&message.data).to_string();
                        broker.publish_to("", &queue, body.as_bytes()).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        services
    }

    pub async fn say(&self, body: &[u8]) {
        self.broker.publish_to("", &self.queue, body).await;
    }

    /// What was commanded about an erasure, each message once.
    pub fn commanded(&self, erasure: &str) -> Vec<Message> {
        self.consumer.of(erasure)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        if let Some(answering) = &self.answering {
            answering.abort();
        }
    }
}

/// The answer to a command, that it is done.
pub fn done(command: &Value) -> Value {
    json!({ "erasure_id": command["erasure_id"], "step_id": command["step_id"], "result": "done" })
}
