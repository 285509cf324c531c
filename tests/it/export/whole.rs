//! What of a customer is in an export beside its own rows: those of everybody who became one with it, and
//! which of its things belongs to which.

use serde_json::{Value, json};

use super::{data, download, made, unzipped};
use crate::harness::{Answer, Shop, Shopper};
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
