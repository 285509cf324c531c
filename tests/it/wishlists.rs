//! Wishlists: every route right, wrong and with another customer's ids; exact counts, limits and
//! messages under concurrency.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use customer_service::db;
use customer_service::domain::wishlist::{ItemSought, Sku, WishlistItem};
use customer_service::domain::{CustomerId, WishlistId, WishlistItemId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::checker;
use crate::harness::shopper::address;
use crate::harness::{Api, Shop, Shopper, unique};

const LISTS: &str = "/v1/me/wishlists";

/// Makes a list; answers with its path.
async fn make(shopper: &Shopper, node: &Api, name: &str) -> String {
    let made = shopper.post(node, LISTS, json!({ "name": name })).send().await.expect(201);
    made.header("location").to_owned()
}

/// Puts a product on a list; answers with the item's path.
async fn put(shopper: &Shopper, node: &Api, list: &str, sku: &str) -> String {
    let body = json!({ "sku": sku });
    let added = shopper.post(node, &format!("{list}/items"), body).send().await.expect(201);
    added.header("location").to_owned()
}

async fn read(shopper: &Shopper, node: &Api, path: &str) -> Value {
    shopper.get(node, path).send().await.expect(200).json()
}

/// The last part of a path.
fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// What stands on a list, page by page: product and quantity.
async fn products(shopper: &Shopper, node: &Api, list: &str) -> Vec<(String, i64)> {
    let (mut query, mut seen) = ("limit=2".to_owned(), Vec::new());
    loop {
        let page = read(shopper, node, &format!("{list}/items?{query}")).await;
        for item in page["items"].as_array().unwrap() {
            let sku = item["sku"].as_str().unwrap().to_owned();
            seen.push((sku, item["quantity"].as_i64().unwrap()));
        }
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=2&cursor={cursor}"),
            None => return seen,
        }
    }
}

/// Every head counts what stands on its list, and a product stands there once.
async fn counts_are_exact(shop: &Shop) {
    let wrong = "SELECT l.id FROM wishlists l LEFT JOIN wishlist_items i \
        ON (i.customer_id, i.wishlist_id) = (l.customer_id, l.id) \
        GROUP BY l.id, l.item_count HAVING count(i.id) <> l.item_count OR count(DISTINCT i.sku) <> count(i.id)";
    assert_eq!(shop.database.column(wrong).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_lives_from_its_making_to_its_end() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let key = unique("key");
    let make =
        || shopper.post(&node, LISTS, json!({ "name": "  Tết  2027 🎁 " })).idempotency_key(&key);
    let made = make().send().await.expect(201);
    let list = made.json();
    assert_eq!((&list["name"], &list["shared"]), (&json!("Tết 2027 🎁"), &json!(false)));
    assert_eq!((&list["share_token"], &list["item_count"]), (&json!(null), &json!(0)));
    assert_eq!((made.version(), &list["version"]), (1, &json!(1)));
    let path = made.header("location").to_owned();
    assert_eq!(path, format!("{LISTS}/{}", list["id"].as_str().unwrap()));
    let again = make().send().await.expect(201);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &made.body));
    assert_eq!(again.header("location"), path);
    assert_eq!(shop.database.count("SELECT count(*) FROM wishlists").await, 1);

    let seen = shopper.get(&node, &path).send().await.expect(200);
    assert_eq!((seen.version(), seen.json()), (1, list));
    let known = shopper.get(&node, &path).header("if-none-match", "\"1\"");
    assert!(known.send().await.expect(304).body.is_empty());
    let late = shopper.patch(&node, &path, json!({ "name": "Late" })).if_match(7);
    late.send().await.problem(412, "precondition_failed");
    let renamed = shopper.patch(&node, &path, json!({ "name": "Xmas" })).if_match(1);
    assert_eq!(renamed.send().await.expect(200).version(), 2);
    let same = shopper.patch(&node, &path, json!({ "name": "Xmas", "shared": false }));
    assert_eq!(same.send().await.expect(200).version(), 2, "nothing changed");

    let second = self::make(&shopper, &node, "Second").await;
    let page = read(&shopper, &node, &format!("{LISTS}?limit=1")).await;
    assert_eq!(page["items"][0]["name"], "Xmas");
    let next = format!("{LISTS}?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = read(&shopper, &node, &next).await;
    assert_eq!((&page["items"][0]["name"], &page["next_cursor"]), (&json!("Second"), &json!(null)));

    put(&shopper, &node, &path, "A-1").await;
    shopper.delete(&node, &path).if_match(2).send().await.problem(412, "precondition_failed");
    shopper.delete(&node, &path).if_match(3).send().await.expect(204);
    shopper.delete(&node, &path).send().await.problem(404, "not_found");
    shopper.get(&node, &path).send().await.problem(404, "not_found");
    shopper.get(&node, &format!("{path}/items")).send().await.problem(404, "not_found");
    assert_eq!(shop.database.count("SELECT count(*) FROM wishlist_items").await, 0);
    shopper.get(&node, &second).send().await.expect(200);
    let messages = shop.messages(&shopper.id).await;
    let of_lists: Vec<_> = messages.iter().filter(|kind| kind.starts_with("wishlist.")).collect();
    assert_eq!(
        of_lists,
        [
            "wishlist.created",
            "wishlist.updated",
            "wishlist.created",
            "wishlist.item_added",
            "wishlist.deleted"
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_product_stands_on_a_list_once_and_says_how_many() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let list = make(&shopper, &node, "Kitchen").await;
    let items = format!("{list}/items");
    let price = json!({ "amount": 1_990_000, "currency": "vnd" });
    let wish =
        json!({ "sku": "LAMP-7/red", "quantity": 2, "note": "For Ánh\nred", "price_seen": price });
    let key = unique("key");
    let add = || shopper.post(&node, &items, wish.clone()).idempotency_key(&key).send();
    let added = add().await.expect(201);
    let item = added.json();
    let path = added.header("location").to_owned();
    assert_eq!(path, format!("{items}/{}", item["id"].as_str().unwrap()));
    assert_eq!((&item["sku"], &item["quantity"]), (&json!("LAMP-7/red"), &json!(2)));
    assert_eq!(item["price_seen"], json!({ "amount": 1_990_000, "currency": "VND" }));
    assert_eq!((&item["note"], &item["version"]), (&json!("For Ánh\nred"), &json!(1)));
    assert!(item["added_at"].is_string());
    let replayed = add().await.expect(201);
    assert_eq!((replayed.header("idempotency-replayed"), &replayed.body), ("true", &added.body));
    let other = shopper.post(&node, &items, json!({ "sku": "B" })).idempotency_key(&key);
    other.send().await.problem(422, "idempotency_key_reused");

    // Again without a key: as it is said now, and nothing twice.
    let again = shopper.post(&node, &items, wish.clone()).send().await.expect(200);
    assert_eq!((again.version(), again.json()), (1, item.clone()));
    let more = json!({ "sku": "LAMP-7/red", "quantity": 5 });
    let more = shopper.post(&node, &items, more).send().await.expect(200).json();
    assert_eq!((&more["id"], &more["quantity"]), (&item["id"], &json!(5)));
    assert_eq!((&more["note"], &more["version"]), (&item["note"], &json!(2)));
    assert_eq!(read(&shopper, &node, &list).await["item_count"], 1);

    let stale = shopper.patch(&node, &path, json!({ "quantity": 1 })).if_match(1);
    stale.send().await.problem(412, "precondition_failed");
    let change = shopper.patch(&node, &path, json!({ "note": null, "quantity": 1 })).if_match(2);
    let changed = change.send().await.expect(200);
    assert_eq!((changed.version(), &changed.json()["note"]), (3, &json!(null)));
    let cleared = shopper.patch(&node, &path, json!({ "price_seen": null })).send().await;
    assert_eq!(cleared.expect(200).json()["price_seen"], json!(null));
    let known = shopper.get(&node, &path).header("if-none-match", "\"4\"");
    assert!(known.send().await.expect(304).body.is_empty());

    for number in 0..4 {
        put(&shopper, &node, &list, &format!("P{number}")).await;
    }
    let expected: Vec<_> = ["LAMP-7/red", "P0", "P1", "P2", "P3"].map(|p| (p.to_owned(), 1)).into();
    assert_eq!(products(&shopper, &node, &list).await, expected);
    shopper.delete(&node, &path).if_match(3).send().await.problem(412, "precondition_failed");
    shopper.delete(&node, &path).if_match(4).send().await.expect(204);
    shopper.get(&node, &path).send().await.problem(404, "not_found");
    let head = read(&shopper, &node, &list).await;
    assert_eq!((&head["item_count"], &head["version"]), (&json!(4), &json!(7)));
    counts_are_exact(&shop).await;
    let changed = "SELECT data->>'changed' FROM outbox_events WHERE kind = 'wishlist.item_changed' \
        ORDER BY customer_sequence";
    let expected = [r#"["quantity"]"#, r#"["quantity", "note"]"#, r#"["price_seen"]"#];
    assert_eq!(shop.database.column(changed).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_moves_in_one_step() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let (first, second) =
        (make(&shopper, &node, "First").await, make(&shopper, &node, "Second").await);
    let wish = json!({ "sku": "A", "quantity": 3, "note": "blue" });
    let item = shopper.post(&node, &format!("{first}/items"), wish).send().await.expect(201);
    let (item, path) = (item.json(), item.header("location").to_owned());
    let to = |list: &str| json!({ "to": id(list) });
    let key = unique("key");
    let moving = || {
        let call = shopper.post(&node, &format!("{path}/move"), to(&second));
        call.if_match(1).idempotency_key(&key).send()
    };
    let moved = moving().await.expect(201);
    let there = format!("{second}/items/{}", id(&path));
    assert_eq!(moved.header("location"), there);
    assert_eq!((&moved.json()["id"], &moved.json()["note"]), (&item["id"], &json!("blue")));
    assert_eq!(moved.json()["added_at"], item["added_at"]);
    assert_eq!(moving().await.expect(201).header("idempotency-replayed"), "true");
    shopper.get(&node, &path).send().await.problem(404, "not_found");
    assert_eq!(read(&shopper, &node, &there).await, moved.json());
    let counts = [read(&shopper, &node, &first).await, read(&shopper, &node, &second).await];
    assert_eq!(counts.map(|list| list["item_count"].clone()), [json!(0), json!(1)]);

    // Where the product stands already, both become one.
    let twin = put(&shopper, &node, &first, "A").await;
    let one = shopper.post(&node, &format!("{twin}/move"), to(&second)).send().await.expect(200);
    assert_eq!((&one.json()["id"], &one.json()["quantity"]), (&item["id"], &json!(4)));
    assert_eq!((&one.json()["note"], one.header("location")), (&json!("blue"), ""));
    shopper.get(&node, &twin).send().await.problem(404, "not_found");
    counts_are_exact(&shop).await;
    // To where it is: nothing happens.
    let before = shop.messages(&shopper.id).await;
    shopper.post(&node, &format!("{there}/move"), to(&second)).send().await.expect(200);
    assert_eq!(shop.messages(&shopper.id).await, before);
    assert_eq!(
        before[before.len() - 5..],
        [
            "wishlist.item_removed",
            "wishlist.item_added",
            "wishlist.item_added",
            "wishlist.item_removed",
            "wishlist.item_changed"
        ]
    );
    let stale = shopper.post(&node, &format!("{there}/move"), to(&first)).if_match(1);
    stale.send().await.problem(412, "precondition_failed");
    let nowhere = json!({ "to": shopper.id });
    let refused = shopper.post(&node, &format!("{there}/move"), nowhere).send().await;
    let faults = refused.problem(422, "validation_failed").faults();
    assert_eq!(faults, ["#/to unknown_wishlist"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_checked_and_named() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for (body, fault) in [
        (json!({}), "#/name required"),
        (json!({ "name": " " }), "#/name required"),
        (json!({ "name": "x".repeat(81) }), "#/name too_long"),
        (json!({ "name": "a\u{202e}b" }), "#/name control_character"),
        (json!({ "name": "a", "shared": "yes" }), "#/shared wrong_type"),
        (json!({ "name": "a", "item_count": 1 }), "#/item_count unknown_field"),
    ] {
        let refused = shopper.post(&node, LISTS, body.clone()).send().await;
        assert_eq!(refused.problem(422, "validation_failed").faults(), [fault], "{body}");
    }
    let list = make(&shopper, &node, "List").await;
    let refused = shopper.patch(&node, &list, json!({ "name": null, "shared": null })).send().await;
    let faults = refused.problem(422, "validation_failed").faults();
    assert_eq!(faults, ["#/name required", "#/shared required"]);
    for (more, fault) in [
        (json!({ "sku": "a b" }), "#/sku invalid_sku"),
        (json!({ "sku": null }), "#/sku required"),
        (json!({ "quantity": 0 }), "#/quantity out_of_range"),
        (json!({ "quantity": 10_000 }), "#/quantity out_of_range"),
        (json!({ "quantity": 65_537 }), "#/quantity out_of_range"),
        (json!({ "quantity": 1.5 }), "#/quantity wrong_type"),
        (json!({ "note": "" }), "#/note required"),
        (json!({ "note": "x".repeat(1_001) }), "#/note too_long"),
        (json!({ "price_seen": 5 }), "#/price_seen wrong_type"),
        (json!({ "price_seen": { "amount": 5 } }), "#/price_seen/currency required"),
        (
            json!({ "price_seen": { "amount": -1, "currency": "VND" } }),
            "#/price_seen/amount out_of_range",
        ),
        (
            json!({ "price_seen": { "amount": 1, "currency": "BTC" } }),
            "#/price_seen/currency unknown_currency",
        ),
    ] {
        let mut body = json!({ "sku": "A" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let refused = shopper.post(&node, &format!("{list}/items"), body.clone()).send().await;
        assert_eq!(refused.problem(422, "validation_failed").faults(), [fault], "{body}");
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM wishlist_items").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_customers_lists_are_not_there() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (owner, other) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    let list = make(&owner, &node, "Mine").await;
    let item = put(&owner, &node, &list, "A").await;
    let theirs = make(&other, &node, "Theirs").await;
    // An item is not there on another list, either.
    let astray = format!("{theirs}/items/{}", id(&item));
    let (items, moving) = (format!("{list}/items"), format!("{item}/move"));
    let one = json!({ "quantity": 1 });
    for call in [
        other.get(&node, &list),
        other.patch(&node, &list, json!({ "shared": true })),
        other.delete(&node, &list),
        other.get(&node, &items),
        other.post(&node, &items, json!({ "sku": "B" })),
        other.get(&node, &item),
        other.patch(&node, &item, one.clone()),
        other.delete(&node, &item),
        other.post(&node, &moving, json!({ "to": id(&theirs) })),
        other.get(&node, &astray),
        other.patch(&node, &astray, one),
        other.delete(&node, &astray),
    ] {
        call.send().await.problem(404, "not_found");
    }
    // Nor can anything be moved to them.
    let refused = owner.post(&node, &moving, json!({ "to": id(&theirs) })).send().await;
    assert_eq!(refused.problem(422, "validation_failed").faults(), ["#/to unknown_wishlist"]);
    assert_eq!(products(&owner, &node, &list).await, [("A".to_owned(), 1)]);
    assert_eq!(products(&other, &node, &theirs).await, []);
    assert_eq!(read(&owner, &node, &list).await["shared"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_adders_never_pass_the_limits_and_every_count_is_exact() {
    let limits = [("CUSTOMERS__WISHLIST_LIMIT", "3"), ("CUSTOMERS__WISHLIST_ITEM_LIMIT", "20")];
    let shop = Shop::configured(&limits).await;
    let consumer = shop.consumer().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    let calls = (0..12).map(|number| {
        let call = shopper.post(&nodes[number % 2], LISTS, json!({ "name": "L" }));
        async move { call.send().await }
    });
    let (made, refused): (Vec<_>, Vec<_>) =
        join_all(calls).await.into_iter().partition(|answer| answer.status == 201);
    assert_eq!(made.len(), 3);
    for answer in refused {
        answer.problem(409, "wishlist_limit_reached");
    }
    let lists: Vec<_> = made.iter().map(|answer| answer.header("location").to_owned()).collect();

    // 32 at once, of 28 products: four of them twice, which count once.
    let items = format!("{}/items", lists[0]);
    let calls = (0..32).map(|number| {
        let body = json!({ "sku": format!("P{}", number % 28), "quantity": 1 + number / 28 });
        let call = shopper.post(&nodes[number % 2], &items, body);
        async move { call.send().await }
    });
    let mut added = 0;
    for answer in join_all(calls).await {
        match answer.status {
            201 => added += 1,
            200 => {}
            _ => drop(answer.problem(409, "wishlist_full")),
        }
    }
    assert_eq!(added, 20);
    assert_eq!(read(&shopper, &nodes[1], &lists[0]).await["item_count"], 20);
    assert_eq!(products(&shopper, &nodes[1], &lists[0]).await.len(), 20);
    counts_are_exact(&shop).await;

    // Moved, changed, taken off and added again, all at once.
    let page = read(&shopper, &nodes[0], &format!("{items}?limit=100")).await;
    let all = page["items"].as_array().unwrap();
    let calls = all.iter().enumerate().map(|(number, item)| {
        let (node, path) =
            (&nodes[number % 2], format!("{items}/{}", item["id"].as_str().unwrap()));
        let (list, sku) = (&lists[1 + number % 2], item["sku"].as_str().unwrap());
        let moving = json!({ "to": id(list) });
        let calls = [
            shopper.post(node, &format!("{path}/move"), moving),
            shopper.post(&nodes[0], &format!("{list}/items"), json!({ "sku": sku })),
            shopper.patch(&nodes[1], &path, json!({ "quantity": 7 })),
            shopper.delete(node, &path),
        ];
        async move {
            for answer in join_all(calls.map(crate::harness::api::Call::send)).await {
                let fine = matches!(answer.status, 200 | 201 | 204 | 404);
                assert!(fine, "{} {}", answer.status, answer.text());
            }
        }
    });
    join_all(calls).await;
    counts_are_exact(&shop).await;
    assert_eq!(read(&shopper, &nodes[0], &lists[0]).await["item_count"], 0);
    let over = "SELECT count(*) FROM wishlists WHERE item_count > 20";
    assert_eq!(shop.database.count(over).await, 0);
    checker::check(&shop.database, &consumer, &[], Duration::from_secs(20)).await;
    the_messages_tell_what_stands_there(&shop, &consumer.of(&shopper.id)).await;
    consumer.close().await;
}

/// Whoever follows the messages has the same lists as the tables.
async fn the_messages_tell_what_stands_there(
    shop: &Shop,
    messages: &[crate::harness::consumer::Message],
) {
    let mut told = BTreeMap::new();
    for message in messages {
        let data = &message.data;
        let text = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let (list, sku) = (text("wishlist_id"), text("sku"));
        match message.kind.as_str() {
            "wishlist.item_added" | "wishlist.item_changed" => {
                let (item, quantity) = (text("item_id"), data["quantity"].to_string());
                let before = told.insert((list, sku), (item, quantity)).is_some();
                assert_eq!(before, message.kind == "wishlist.item_changed", "{data}");
            }
            "wishlist.item_removed" => {
                let gone = told.remove(&(list, sku));
                assert_eq!(gone.map(|(item, _)| item), Some(text("item_id")));
            }
            _ => {}
        }
    }
    let rows =
        "SELECT wishlist_id::text, sku, id::text, quantity::text FROM wishlist_items ORDER BY 1, 2";
    let rows = shop.database.rows(rows).await;
    let mut kept: Vec<Vec<String>> =
        rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect();
    kept.sort();
    let told: Vec<Vec<String>> = told
        .into_iter()
        .map(|((list, sku), (item, quantity))| vec![list, sku, item, quantity])
        .collect();
    assert_eq!(told, kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_read_and_do_not_get_the_link() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let body = json!({ "name": "Birthday", "shared": true });
    let made = shopper.post(&node, LISTS, body).send().await.expect(201);
    let list = made.header("location").to_owned();
    put(&shopper, &node, &list, "A").await;
    let (_, key) = shop.key("customers:read");
    let lists = format!("/v1/admin/customers/{}/wishlists", shopper.id);
    let get = |path: String| node.get(&path).bearer(&key).send();
    let page = get(lists.clone()).await.expect(200).json();
    let seen = &page["items"][0];
    assert_eq!((&seen["name"], &seen["item_count"]), (&json!("Birthday"), &json!(1)));
    assert_eq!((&seen["shared"], &seen["share_token"]), (&json!(true), &json!(null)));
    let one = format!("{lists}/{}", id(&list));
    assert_eq!(get(one.clone()).await.expect(200).json(), *seen);
    let items = get(format!("{one}/items")).await.expect(200).json();
    assert_eq!(items["items"][0]["sku"], "A");
    // Another customer's list, and nobody's.
    let other = json!({ "email": address(), "first_name": "A", "last_name": "B" });
    let other = node.post("/v1/admin/customers", other).bearer(&shop.staff_key).send().await;
    let other = other.expect(201).json()["id"].as_str().unwrap().to_owned();
    let theirs = format!("/v1/admin/customers/{other}/wishlists");
    assert_eq!(get(theirs.clone()).await.expect(200).json()["items"], json!([]));
    let nobody = "/v1/admin/customers/0190b4a0-0000-7000-8000-000000000000/wishlists";
    for path in [
        format!("{theirs}/{}", id(&list)),
        format!("{theirs}/{}/items", id(&list)),
        nobody.to_owned(),
        format!("{nobody}/{}", id(&list)),
        format!("{nobody}/{}/items", id(&list)),
        format!("{lists}/{}", shopper.id),
    ] {
        get(path).await.problem(404, "not_found");
    }
    let (_, none) = shop.key("customers:write");
    for path in [lists, one.clone(), format!("{one}/items")] {
        let refused = node.get(&path).bearer(&none).send().await;
        refused.problem(403, "insufficient_scope");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_loads_the_items_that_it_names_and_no_whole_list() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let mut lists = Vec::new();
    for number in 0..20 {
        lists.push(make(&shopper, &node, &format!("List {number}")).await);
    }
    // 250 products on each list but the last.
    let last = id(&lists[19]);
    let fill = format!(
        "INSERT INTO wishlist_items (id, customer_id, wishlist_id, sku, quantity, added_at, version) \
         SELECT gen_random_uuid(), customer_id, id, 'P' || n, 1, now(), 1 FROM wishlists, generate_series(1, 250) AS n \
         WHERE id <> '{last}'; UPDATE wishlists SET item_count = 250 WHERE id <> '{last}'"
    );
    shop.database.execute(&fill).await;
    let uuid = |text: &str| Uuid::parse_str(text).unwrap();
    let list = |number: usize| WishlistId(uuid(id(&lists[number])));
    let customer = CustomerId(uuid(&shopper.id));
    let p7 = async |number: usize| {
        let sql = format!(
            "SELECT id FROM wishlist_items WHERE sku = 'P7' AND wishlist_id = '{}'",
            list(number)
        );
        (list(number), WishlistItemId(uuid(&shop.database.one(&sql).await)))
    };
    let (first, second) = (p7(0).await, p7(1).await);
    let product = |number, sku: &str| ItemSought::Product {
        list: list(number),
        sku: Sku::parse(sku).unwrap(),
    };
    let places = |items: Vec<(CustomerId, WishlistItem)>| -> BTreeSet<_> {
        items.into_iter().map(|(_, item)| (item.wishlist_id, item.id)).collect()
    };
    let database = shop.database.database();
    for (customer, sought, expected) in [
        (customer, product(0, "P7"), vec![first]),
        (customer, product(0, "p7"), vec![]),
        (customer, product(19, "P7"), vec![]),
        (customer, ItemSought::At(first), vec![first]),
        (customer, ItemSought::At((second.0, first.1)), vec![]),
        (customer, ItemSought::Both { place: first, list: second.0 }, vec![first, second]),
        (customer, ItemSought::Both { place: first, list: list(19) }, vec![first]),
        (customer, ItemSought::Both { place: first, list: first.0 }, vec![first]),
        // Of somebody else, nothing.
        (CustomerId(uuid(last)), ItemSought::Both { place: first, list: second.0 }, vec![]),
        (CustomerId(uuid(last)), product(0, "P7"), vec![]),
    ] {
        let told = format!("{sought:?}");
        let sought = vec![(customer, sought)];
        let found = database.read(move |connection| {
            let sought = sought.clone();
            Box::pin(async move { db::wishlists::items_sought(connection, &sought).await })
        });
        assert_eq!(places(found.await.unwrap()), expected.into_iter().collect(), "{told}");
    }
    // And with that, all of it works on full lists.
    let items = format!("{}/items", lists[0]);
    let full = shopper.post(&node, &items, json!({ "sku": "NEW" })).send().await;
    full.problem(409, "wishlist_full");
    let there = shopper.post(&node, &items, json!({ "sku": "P250", "quantity": 3 })).send().await;
    assert_eq!(there.expect(200).json()["quantity"], 3);
    let item = format!("{items}/{}", first.1);
    let moving = |to: &str| shopper.post(&node, &format!("{item}/move"), json!({ "to": id(to) }));
    moving(&lists[1]).send().await.expect(200);
    shopper.post(&node, &items, json!({ "sku": "NEW" })).send().await.expect(201);
    counts_are_exact(&shop).await;
    shopper.delete(&node, &lists[0]).send().await.expect(204);
    assert_eq!(shop.database.count("SELECT count(*) FROM wishlist_items").await, 18 * 250);
}
