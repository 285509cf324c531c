//! Figures, scores and predictions for staff, against the same computed here from the same orders.

mod facts;
mod figures;
mod heard;
mod lives;
mod running;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use crate::harness::{Answer, Node, Shop};
use facts::Fact;

/// A shop with customers and orders, and a node that serves it.
struct Desk {
    shop: Shop,
    node: Node,
    customers: Vec<String>,
    facts: Vec<Fact>,
    zone: Tz,
}

/// Nothing is computed but by command.
pub(crate) const BY_COMMAND: [(&str, &str); 2] =
    [("ANALYTICS__RFM_HOURS", "0"), ("ANALYTICS__PREDICTIONS_HOURS", "0")];

impl Desk {
    async fn open(zone: Tz, customers: usize, facts: Vec<Fact>) -> Self {
        let mut settings = BY_COMMAND.to_vec();
        settings.push(("ANALYTICS__TIME_ZONE", zone.name()));
        let shop = Shop::configured(&settings).await;
        let customers = facts::customers(&shop.database, customers).await;
        facts::put(&shop.database, &customers, &facts).await;
        let node = shop.node().await;
        Self { shop, node, customers, facts, zone }
    }

    async fn ask(&self, path: &str) -> Answer {
        let path = format!("/v1/admin/analytics/{path}");
        self.node.get(&path).bearer(&self.shop.staff_key).send().await
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(path).await.expect(200).json()
    }

    async fn of(&self, customer: usize) -> Value {
        let path = format!("/v1/admin/customers/{}/predictions", self.customers[customer]);
        self.node.get(&path).bearer(&self.shop.staff_key).send().await.expect(200).json()
    }

    /// Puts other orders in the place of those that are there.
    async fn now_are(&mut self, facts: Vec<Fact>) {
        facts::put(&self.shop.database, &self.customers, &facts).await;
        self.facts = facts;
    }

    /// Runs `customer-service analytics …`; answers with what it told.
    fn command(&self, what: &str) -> String {
        let output = self.shop.run(&["analytics", what]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        told
    }
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}
