//! What of a customer is in an export beside its own rows: those of everybody who became one with it, and
//! which of its things belongs to which. And that whoever leaves gets it too.

use std::time::Duration;

use serde_json::{Value, json};

use super::{EXPORTS, data, download, made, unzipped};
use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Answer, Shop, Shopper, eventually};
use crate::merge::{self, merge};

fn files(answer: &Answer) -> Value {
    data(&unzipped(&answer.body))
}

/// The values of a column, in the order of the rows.
fn column<'a>(told: &'a Value, table: &str, name: &str) -> Vec<&'a Value> {
    told["tables"][table].as_array().unwrap().iter().map(|row| &row[name]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_export_tells_of_all_who_became_one_with_its_owner() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let [merged, earlier] = [merge::made(&shop, &node).await, merge::made(&shop, &node).await];
    for (id, words) in [(&merged, "likes tea"), (&earlier, "likes rain")] {
        let path = merge::path(id, "/profile");
        let change = node.patch(&path, json!({ "bio": words })).bearer(&shop.staff_key);
        change.send().await.expect(200);
    }
    merge(&shop, &node, &earlier, &merged).await.expect(200);
    merge(&shop, &node, &merged, &shopper.id).await.expect(200);
    let stranger = Shopper::new(&shop, &node).await;

    let path = made(&node, &shopper).await;
    let told = files(&download(&node, &shopper, &path).await.expect(200));
    assert_eq!(told["customer_id"], shopper.id);
    let mut ids = [merged, earlier];
    ids.sort();
    assert_eq!(told["merged_customer_ids"], json!(ids));
    let emails = column(&told, "customers", "email");
    assert!(emails.len() == 3 && emails.contains(&&json!(shopper.email)), "{emails:?}");
    let bios = column(&told, "customer_profiles", "bio");
    for words in ["likes tea", "likes rain"] {
        assert!(bios.contains(&&json!(words)), "{bios:?}");
    }
    assert!(!told.to_string().contains(&stranger.email));

    // Who took nobody in gets its own alone.
    let path = made(&node, &stranger).await;
    let told = files(&download(&node, &stranger, &path).await.expect(200));
    assert_eq!(column(&told, "customers", "email"), [&json!(stranger.email)]);
    assert_eq!(told["merged_customer_ids"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_a_reader_can_tell_which_item_stands_on_which_list() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for (name, sku) in [("Birthday", "kite"), ("Garden", "spade")] {
        let list = shopper.post(&node, "/v1/me/wishlists", json!({ "name": name })).send().await;
        let items = format!("{}/items", list.expect(201).header("location"));
        shopper.post(&node, &items, json!({ "sku": sku })).send().await.expect(201);
    }
    let path = made(&node, &shopper).await;
    let told = files(&download(&node, &shopper, &path).await.expect(200));
    let lists = told["tables"]["wishlists"].as_array().unwrap();
    let items = told["tables"]["wishlist_items"].as_array().unwrap();
    for (name, sku) in [("Birthday", "kite"), ("Garden", "spade")] {
        let list = lists.iter().find(|list| list["name"] == name).unwrap();
        let item = items.iter().find(|item| item["sku"] == sku).unwrap();
        assert!(list["id"].is_string(), "{list}");
        assert_eq!(item["wishlist_id"], list["id"]);
    }
}

/// The right of access lasts until nothing is kept any more (GDPR, article 15).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_whoever_leaves_gets_an_export_until_the_end_of_the_grace() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let deletion = "/v1/me/privacy/deletion";
    let asked = shopper.post(&node, deletion, json!({ "password": PASSWORD }));
    asked.send().await.expect(202);
    let pair = sign_in(&node, &shopper.email, PASSWORD).await.expect(200);
    assert_eq!(pair.json()["scope"], "deletion");
    let inside = Shopper::of(&shopper.email, &pair);

    let wrong = json!({ "password": "not the password 12" });
    inside.post(&node, EXPORTS, wrong).send().await.problem(403, "proof_invalid");
    let path = made(&node, &inside).await;
    let listed = inside.get(&node, EXPORTS).send().await.expect(200).json();
    assert_eq!(listed["items"][0]["state"], "ready");
    let told = files(&download(&node, &inside, &path).await.expect(200));
    assert_eq!(column(&told, "customers", "status"), [&json!("deletion_scheduled")]);
    eventually("the mail", Duration::from_secs(20), async || {
        let mails = shop.mails_to(&shopper.email);
        mails.into_iter().find(|mail| mail.kind == "export_ready")
    })
    .await;
    // Staff may ask on its behalf as before.
    let staffs = merge::path(&shopper.id, "/privacy/export");
    let by_staff = node.call(reqwest::Method::POST, &staffs).bearer(&shop.staff_key);
    by_staff.send().await.expect(202);

    // It is the one thing more that is open, and changes nothing of the deletion.
    inside.get(&node, "/v1/me").send().await.problem(403, "deletion_pending");
    let shown = inside.get(&node, deletion).send().await.expect(200).json();
    assert_eq!(shown["state"], "scheduled");
    inside.delete(&node, deletion).send().await.expect(204);
    let back = shopper.again(&node).await;
    download(&node, &back, &path).await.expect(200);
}
