//! Merging among writers and under `kill -9` (rules L10, D1, M1, M2): what was acknowledged is there,
//! once; each kind of default has one holder; the one that ended has nothing left; and neither
//! sequence has a gap.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::attributes::define;
use crate::harness::checker;
use crate::harness::race::{rounds, shop_with_two_nodes};
use crate::harness::shopper::home;
use crate::harness::{Answer, Api, Shop, Shopper, eventually};
use crate::merge::{made, merge, path, remains};

const WRITERS: usize = 32;

/// What was acknowledged about the two customers of a round.
#[derive(Default)]
struct Acknowledged {
    /// Addresses that were added and not deleted.
    addresses: BTreeSet<String>,
    /// Items by the list they were put on.
    items: BTreeMap<String, BTreeSet<String>>,
    tags: BTreeSet<String>,
    keys: BTreeSet<String>,
}

struct Round {
    nodes: [Api; 2],
    staff_key: String,
    two: [Shopper; 2],
    ended: AtomicBool,
    acknowledged: Mutex<Acknowledged>,
}

impl Round {
    /// One writer: what it writes about whom follows from its number. It ends when it is told to, or
    /// when its customer is no more.
    async fn write(self: Arc<Self>, number: usize) -> usize {
        let (customer, what) = (&self.two[number % 2], number / 2 % 8);
        let (mut done, mut turn) = (0, 0);
        while !self.ended.load(Ordering::Acquire) {
            let node = &self.nodes[(number / 16 + turn) % 2];
            let name = format!("w{number}t{turn}");
            let answer = match what {
                0 | 1 => self.add_address(node, customer, &name).await,
                2 => self.change_default(node, customer, turn).await,
                3 => self.delete_address(node, customer).await,
                4 => self.wish(node, customer, &name).await,
                5 => self.tag(node, customer, &format!("w{number}t{}", turn % 2)).await,
                6 => self.describe(node, customer, &name, turn).await,
                _ => self.rename(node, customer, &name).await,
            };
            match answer.status {
                200..300 => done += 1,
                409 => assert_eq!(answer.code(), "last_address", "{}", answer.text()),
                // Nothing is written about who is gone, whoever asks.
                401 | 404 if what != 3 || self.is_gone(node, customer).await => return done,
                404 => {}
                other => panic!("{other}: {}", answer.text()),
            }
            turn += 1;
        }
        done
    }

    fn staff(&self, customer: &Shopper, part: &str) -> String {
        path(&customer.id, part)
    }

    async fn is_gone(&self, node: &Api, customer: &Shopper) -> bool {
        let seen = node.get(&self.staff(customer, "")).bearer(&self.staff_key).send().await;
        seen.status == 404
    }

    async fn add_address(&self, node: &Api, customer: &Shopper, city: &str) -> Answer {
        let call = node.post(&self.staff(customer, "/addresses"), home(city));
        let answer = call.bearer(&self.staff_key).send().await;
        if answer.status == 201 {
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            self.acknowledged.lock().unwrap().addresses.insert(id);
        }
        answer
    }

    async fn book(&self, node: &Api, customer: &Shopper) -> Result<Vec<String>, Answer> {
        let list = self.staff(customer, "/addresses?limit=100");
        let answer = node.get(&list).bearer(&self.staff_key).send().await;
        if answer.status != 200 {
            return Err(answer);
        }
        let page = answer.json();
        let ids = page["items"].as_array().unwrap().iter();
        Ok(ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect())
    }

    async fn change_default(&self, node: &Api, customer: &Shopper, turn: usize) -> Answer {
        let book = match self.book(node, customer).await {
            Ok(book) => book,
            Err(answer) => return answer,
        };
        let id = &book[turn * 7 % book.len()];
        let kind = ["shipping", "billing"][turn % 2];
        let place = self.staff(customer, &format!("/addresses/{id}/default"));
        let call = node.put(&place, json!({ "kind": kind })).bearer(&self.staff_key);
        let answer = call.send().await;
        // Deleted meanwhile by another writer: as if nothing had been tried.
        match answer.status {
            404 if !self.is_gone(node, customer).await => {
                node.get(&self.staff(customer, "")).bearer(&self.staff_key).send().await
            }
            _ => answer,
        }
    }

    async fn delete_address(&self, node: &Api, customer: &Shopper) -> Answer {
        let book = match self.book(node, customer).await {
            Ok(book) => book,
            Err(answer) => return answer,
        };
        let id = book.last().unwrap();
        let place = self.staff(customer, &format!("/addresses/{id}"));
        let answer = node.delete(&place).bearer(&self.staff_key).send().await;
        if answer.status == 204 {
            // It may have been added a moment ago by who has not noted it yet.
            self.acknowledged.lock().unwrap().addresses.insert(format!("deleted {id}"));
        }
        answer
    }

    /// The owner, on a list of its own.
    async fn wish(&self, node: &Api, customer: &Shopper, name: &str) -> Answer {
        let list = customer.post(node, "/v1/me/wishlists", json!({ "name": name })).send().await;
        if list.status != 201 {
            return list;
        }
        let place = list.header("location").to_owned();
        let id = list.json()["id"].as_str().unwrap().to_owned();
        self.acknowledged.lock().unwrap().items.entry(id.clone()).or_default();
        let mut last = list;
        for sku in ["A", "B"] {
            let wish = json!({ "sku": sku });
            last = customer.post(node, &format!("{place}/items"), wish).send().await;
            if last.status == 201 {
                let item = last.json()["id"].as_str().unwrap().to_owned();
                let mut acknowledged = self.acknowledged.lock().unwrap();
                acknowledged.items.get_mut(&id).unwrap().insert(item);
            }
        }
        last
    }

    async fn tag(&self, node: &Api, customer: &Shopper, tag: &str) -> Answer {
        let call = node.post(&self.staff(customer, "/tags"), json!({ "tag": tag }));
        let answer = call.bearer(&self.staff_key).send().await;
        if answer.status == 200 {
            self.acknowledged.lock().unwrap().tags.insert(tag.to_owned());
        }
        answer
    }

    async fn describe(&self, node: &Api, customer: &Shopper, name: &str, turn: usize) -> Answer {
        // Few keys, so that the two together stay below what one may have.
        let key = format!("{}_{}", name.split('t').next().unwrap(), turn % 3);
        let change = json!({ "bio": name, "custom": { key.clone(): turn } });
        let call = node.patch(&self.staff(customer, "/profile"), change);
        let answer = call.bearer(&self.staff_key).send().await;
        if answer.status == 200 {
            self.acknowledged.lock().unwrap().keys.insert(key);
        }
        answer
    }

    async fn rename(&self, node: &Api, customer: &Shopper, name: &str) -> Answer {
        customer.patch(node, "/v1/me", json!({ "last_name": name })).send().await
    }

    /// What must hold between the one that ended and the one that went on.
    async fn verify(&self, shop: &Shop, from: &Shopper, into: &Shopper) {
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        let id = &into.id;
        let column = async |sql: String| -> BTreeSet<String> {
            shop.database.column(&sql).await.into_iter().collect()
        };
        let deleted = |address: &&String| {
            !address.starts_with("deleted ")
                && !acknowledged.addresses.contains(&format!("deleted {address}"))
        };
        let expected: BTreeSet<_> =
            acknowledged.addresses.iter().filter(deleted).cloned().collect();
        let all = "SELECT id FROM addresses".to_owned();
        let found = column(format!("{all} WHERE customer_id = '{id}'")).await;
        let lost: Vec<_> = expected.difference(&found).collect();
        let risen: Vec<_> = found.difference(&expected).collect();
        assert!(lost.is_empty() && risen.is_empty(), "lost {lost:?}, of nobody {risen:?}");
        for kind in ["shipping", "billing"] {
            let holders = format!("{all} WHERE customer_id = '{id}' AND default_{kind}");
            assert_eq!(column(holders).await.len(), 1, "D1: one default of {kind}");
        }
        for (list, items) in &acknowledged.items {
            let place = format!("WHERE customer_id = '{id}' AND wishlist_id = '{list}'");
            let found = column(format!("SELECT id FROM wishlist_items {place}")).await;
            assert!(items.is_subset(&found), "items of {list}");
            let counted = format!(
                "SELECT item_count FROM wishlists WHERE customer_id = '{id}' AND id = '{list}'"
            );
            assert_eq!(shop.database.count(&counted).await, found.len() as i64);
        }
        let customer = self.nodes[0].get(&path(id, "?expand=profile")).bearer(&self.staff_key);
        let customer = customer.send().await.expect(200).json();
        let tags: BTreeSet<_> =
            customer["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        assert!(acknowledged.tags.iter().all(|tag| tags.contains(tag.as_str())), "tags");
        let custom = customer["profile"]["custom"].as_object().unwrap();
        assert!(acknowledged.keys.iter().all(|key| custom.contains_key(key)), "attributes");
        assert_eq!(remains(shop, &from.id).await, 0, "nothing is left behind");
        let last = shop.messages(&from.id).await.pop();
        assert_eq!(last.as_deref(), Some("customer.deleted"));
    }
}

/// Lets 32 writers loose on two customers, merges meanwhile, and waits until all have ended.
async fn round(
    shop: &Shop,
    nodes: [Api; 2],
    merging: impl AsyncFnOnce(&Round) -> Vec<Answer>,
) -> (Arc<Round>, Vec<Answer>) {
    let two = [Shopper::new(shop, &nodes[0]).await, Shopper::new(shop, &nodes[1]).await];
    let round = Arc::new(Round {
        nodes,
        staff_key: shop.staff_key.clone(),
        two,
        ended: AtomicBool::new(false),
        acknowledged: Mutex::default(),
    });
    // The attributes that `describe` writes; of an earlier round they are there.
    for key in (0..WRITERS).filter(|number| number / 2 % 8 == 6) {
        for turn in 0..3 {
            let key = format!("w{key}_{turn}");
            define(&round.nodes[0], shop, &key, json!({ "type": "integer" })).await;
        }
    }
    for customer in &round.two {
        for city in ["Huế", "Vinh"] {
            assert_eq!(round.add_address(&round.nodes[0], customer, city).await.status, 201);
        }
    }
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        writers.spawn(round.clone().write(number));
    }
    tokio::time::sleep(Duration::from_millis(400)).await;
    let answers = merging(&round).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    round.ended.store(true, Ordering::Release);
    let done: usize = writers.join_all().await.into_iter().sum();
    assert!(done > WRITERS, "too little was written: {done}");
    println!("{done} changes by {WRITERS} writers around a merge");
    (round, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_a_merge_under_32_parallel_writers_loses_and_doubles_nothing() {
    let settings = [("CUSTOMERS__ADDRESS_LIMIT", "1000"), ("CUSTOMERS__WISHLIST_LIMIT", "100")];
    let (shop, nodes) = shop_with_two_nodes(&settings).await;
    let consumer = shop.consumer().await;
    let apis = || [nodes[0].api(), nodes[1].api()];
    for number in 0..rounds() {
        let (round, answers) = round(&shop, apis(), async |round: &Round| {
            let [from, into] = &round.two;
            vec![merge(&shop, &nodes[number % 2], &from.id, &into.id).await]
        })
        .await;
        answers.into_iter().for_each(|answer| drop(answer.expect(200)));
        let [from, into] = &round.two;
        round.verify(&shop, from, into).await;
        let late = round.add_address(&round.nodes[1], from, "Huế").await;
        assert_eq!(late.problem(404, "not_found").json()["merged_into"], into.id);
    }
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(60)).await;
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_of_two_merges_against_each_other_under_32_writers_one_is_done() {
    let settings = [("CUSTOMERS__ADDRESS_LIMIT", "1000"), ("CUSTOMERS__WISHLIST_LIMIT", "100")];
    let (shop, nodes) = shop_with_two_nodes(&settings).await;
    let consumer = shop.consumer().await;
    let apis = || [nodes[0].api(), nodes[1].api()];
    for _ in 0..rounds() {
        let (round, answers) = round(&shop, apis(), async |round: &Round| {
            let [one, two] = &round.two;
            let calls = (0..8).map(|call| {
                let (from, into) = if call % 2 == 0 { (one, two) } else { (two, one) };
                merge(&shop, &nodes[call / 2 % 2], &from.id, &into.id)
            });
            join_all(calls).await
        })
        .await;
        let done: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
        let reports: BTreeSet<_> = done.iter().map(|answer| answer.text()).collect();
        assert_eq!((done.len(), reports.len()), (4, 1), "each direction was asked for four times");
        let report: Value = done[0].json();
        let (from, into) = (&report["from"], &report["into"]);
        for refused in answers.iter().filter(|answer| answer.status != 200) {
            let problem = refused.clone().problem(404, "not_found").json();
            assert_eq!(problem["merged_into"], *into);
        }
        let who = |id: &Value| round.two.iter().find(|one| *id == one.id.as_str()).unwrap();
        round.verify(&shop, who(from), who(into)).await;
    }
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(60)).await;
    consumer.close().await;
}

/// A merge that was cut off is done or not, and is asked for again until it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l10_a_merge_that_is_killed_is_whole_or_nothing() {
    let shop = Shop::new().await;
    let consumer = shop.consumer().await;
    let mut node = shop.node().await;
    let (mut cut, mut kept) = (0, 0);
    for turn in 0..6 {
        let (from, into) = (made(&shop, &node).await, made(&shop, &node).await);
        for id in [&from, &into] {
            for city in ["Huế", "Vinh", "Sa Pa"] {
                let call = node.post(&path(id, "/addresses"), home(city)).bearer(&shop.staff_key);
                call.send().await.expect(201);
            }
        }
        let body = json!({ "from": from, "into": into });
        let call = node.post("/v1/admin/customers/merge", body).bearer(&shop.staff_key);
        let asked = tokio::spawn(call.try_send());
        tokio::time::sleep(Duration::from_millis(turn * turn * 8)).await;
        node.kill9();
        // A commit that was under way comes to its end without the one who asked for it.
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
            AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
        eventually("its connections are over", Duration::from_secs(20), async || {
            (shop.database.count(others).await == 0).then_some(())
        })
        .await;
        let answered = asked.await.unwrap().is_ok_and(|answer| answer.status == 200);
        let merges = format!("SELECT count(*) FROM customer_merges WHERE from_id = '{from}'");
        let done = shop.database.count(&merges).await == 1;
        assert!(done || !answered, "acknowledged and lost");
        let own = |id: &str| format!("SELECT count(*) FROM addresses WHERE customer_id = '{id}'");
        let books =
            (shop.database.count(&own(&from)).await, shop.database.count(&own(&into)).await);
        assert_eq!(books, if done { (0, 6) } else { (3, 3) });
        node = shop.node().await;
        let report = merge(&shop, &node, &from, &into).await.expect(200).json();
        assert_eq!(report["moved"]["addresses"].as_array().unwrap().len(), 3);
        assert_eq!(shop.database.count(&own(&into)).await, 6);
        assert_eq!(remains(&shop, &from).await, 0);
        if done { kept += 1 } else { cut += 1 }
    }
    println!("{cut} merges were cut off, {kept} had been done");
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(60)).await;
    consumer.close().await;
}
