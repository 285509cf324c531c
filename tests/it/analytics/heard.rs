//! What the order service says late, twice, out of order and with another date moves cohorts and scores
//! as if it had been known from the start: facts come through the broker and the intake, and what is
//! told is compared with what follows from the orders alone.

use std::collections::HashMap;

use chrono::SecondsFormat;
use chrono_tz::America;
use serde_json::{Value, json};

use super::facts::{Dice, Fact, customers, orders};
use super::lives::{cohorts_agree, moved, rfm_agrees};
use super::{BY_COMMAND, Desk, at};
use crate::harness::{OrderService, Shop, eventually};

/// The order service's side: which version of each order it said last.
struct Told {
    service: OrderService,
    versions: HashMap<String, (i64, Fact)>,
    dice: Dice,
}

impl Told {
    fn body(&self, fact: &Fact, version: i64, customers: &[String]) -> Value {
        let money = |amount: i64| json!({ "amount": amount, "currency": fact.currency });
        json!({
            "order_id": fact.id,
            "customer_id": customers[fact.customer],
            "version": version,
            "status": fact.status,
            "placed_at": fact.at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            "total": money(fact.total),
            "refunded": money(fact.refunded),
            "items": [{ "sku": "LAMP-1", "quantity": 1 }],
        })
    }

    /// Says what of these orders is news, each twice and shuffled, and along with it again what it
    /// had said before.
    async fn tell(&mut self, facts: &[Fact], customers: &[String]) {
        let mut bodies = Vec::new();
        for fact in facts {
            let before = self.versions.get(&fact.id).cloned();
            let version = match &before {
                Some((_, known)) if same(known, fact) => continue,
                Some((version, _)) => version + 1,
                None => 1,
            };
            let body = self.body(fact, version, customers);
            bodies.extend([body.clone(), body]);
            if let Some((version, known)) = before {
                bodies.push(self.body(&known, version, customers));
            }
            self.versions.insert(fact.id.clone(), (version, fact.clone()));
        }
        assert!(!bodies.is_empty(), "there is news");
        for place in (1..bodies.len()).rev() {
            bodies.swap(place, self.dice.below(place as u64 + 1) as usize);
        }
        self.service.tell_all(&bodies).await;
    }

    /// Waits until the newest version of each order is kept.
    async fn heard(&self, shop: &Shop) {
        let versions: i64 = self.versions.values().map(|(version, _)| version).sum();
        let expected = format!("{} {versions}", self.versions.len());
        let sql = "SELECT count(*) || ' ' || coalesce(sum(version), 0) FROM order_facts";
        eventually("all is heard", std::time::Duration::from_secs(120), async || {
            (shop.database.one(sql).await == expected).then_some(())
        })
        .await;
    }
}

fn same(one: &Fact, other: &Fact) -> bool {
    (one.status, one.at, one.currency, one.total, one.refunded)
        == (other.status, other.at, other.currency, other.total, other.refunded)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_late_twice_and_dated_anew_move_cohorts_and_scores_through_the_intake() {
    let zone = America::New_York;
    let service = OrderService::shared();
    let mut settings = BY_COMMAND.to_vec();
    settings.push(("ANALYTICS__TIME_ZONE", zone.name()));
    let shop = Shop::hearing(&service, &settings).await;
    let node = shop.node().await;
    let customers = customers(&shop.database, 40).await;
    let facts = orders(40, 260, at("2026-01-05T00:00:00Z"), 310);
    let mut told = Told { service, versions: HashMap::new(), dice: Dice(11) };
    // The second half is heard of first, and cut points are computed in between.
    told.tell(&facts[130..], &customers).await;
    told.heard(&shop).await;
    let mut desk = Desk { shop, node, customers, facts: facts[130..].to_vec(), zone };
    desk.command("rfm");
    rfm_agrees(&desk, "half of it").await;
    told.tell(&facts, &desk.customers).await;
    told.heard(&desk.shop).await;
    desk.facts = facts;
    cohorts_agree(&desk, "at first").await;
    rfm_agrees(&desk, "at first").await;
    for (what, facts) in moved(&desk.facts) {
        told.tell(&facts, &desk.customers).await;
        told.heard(&desk.shop).await;
        desk.facts = facts;
        cohorts_agree(&desk, what).await;
        rfm_agrees(&desk, what).await;
    }
    desk.command("rfm");
    rfm_agrees(&desk, "computed anew").await;
    assert_eq!(told.service.dead().await, []);
    told.service.close().await;
}
