//! Every attribute of the code's one list: a change of it is heard of, and changes who belongs (rule S2).
//! An attribute that is added there has no line here, and so fails.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use customer_service::domain::message::TYPES;
use customer_service::domain::segment::attributes::{FUNCTIONS, Mark, all};
use customer_service::domain::segment::marks;
use serde_json::{Value, json};

use super::shelf::*;
use crate::attributes::define;
use crate::harness::shopper::{PASSWORD, sign_in};
use crate::harness::{Api, Shop, Shopper, eventually};
use crate::second_factors::Guarded;
use crate::{email_change, orders, phones};

/// When a definition becomes true of a customer.
#[derive(Clone, Copy, PartialEq)]
enum When {
    /// When it comes to be, or is verified.
    Registered,
    /// When what is done below is done.
    Changed,
}
use When::{Changed, Registered};

/// Each attribute and function with a definition that reads nothing else.
const TABLE: &[(&str, When, &str)] = &[
    ("customer_added_date", Registered, "customer_added_date >= today"),
    ("email_verified", Registered, "email_verified = true"),
    ("email_verified_date", Registered, "email_verified_date >= today"),
    // no models are fitted: it has no tier, and nobody has
    ("predicted_spend_tier", Registered, "predicted_spend_tier IS NULL"),
    ("customer_account_status", Changed, "customer_account_status = 'inactive'"),
    ("customer_type", Changed, "customer_type = 'business'"),
    ("group", Changed, "group = 'business'"),
    ("customer_tags", Changed, "customer_tags CONTAINS 'vip'"),
    ("customer_email_domain", Changed, "customer_email_domain = 'elsewhere.example'"),
    ("phone_verified", Changed, "phone_verified = true"),
    ("phone_verified_date", Changed, "phone_verified_date >= today"),
    ("mfa_enabled", Changed, "mfa_enabled = true"),
    ("last_sign_in_date", Changed, "last_sign_in_date >= today"),
    ("date_of_birth", Changed, "date_of_birth = 1990-05-17"),
    ("customer_language", Changed, "customer_language = 'vi'"),
    ("customer_locale", Changed, "customer_locale = 'vi-VN'"),
    ("customer_time_zone", Changed, "customer_time_zone = 'Asia/Ho_Chi_Minh'"),
    ("customer_currency", Changed, "customer_currency = 'VND'"),
    ("topics", Changed, "topics CONTAINS 'lamps'"),
    ("accepts_marketing", Changed, "accepts_marketing = true"),
    ("accepts_email", Changed, "accepts_email = true"),
    ("accepts_sms", Changed, "accepts_sms = true"),
    ("accepts_push", Changed, "accepts_push = true"),
    ("email_subscription_status", Changed, "email_subscription_status = 'subscribed'"),
    ("sms_subscription_status", Changed, "sms_subscription_status = 'subscribed'"),
    ("push_subscription_status", Changed, "push_subscription_status = 'subscribed'"),
    ("consent", Changed, "consent.analytics = true"),
    ("number_of_addresses", Changed, "number_of_addresses = 1"),
    ("customer_cities", Changed, "customer_cities CONTAINS 'Berlin'"),
    ("customer_regions", Changed, "customer_regions CONTAINS 'BE'"),
    ("customer_postal_codes", Changed, "customer_postal_codes CONTAINS '10115'"),
    ("customer_countries", Changed, "customer_countries CONTAINS 'DE'"),
    ("wishlist_items", Changed, "wishlist_items >= 1"),
    ("number_of_orders", Changed, "number_of_orders = 1"),
    ("amount_spent", Changed, "amount_spent > 0"),
    ("average_order_value", Changed, "average_order_value > 0"),
    ("first_order_date", Changed, "first_order_date IS NOT NULL"),
    ("last_order_date", Changed, "last_order_date IS NOT NULL"),
    ("rfm_group", Changed, "rfm_group IS NOT NULL"),
    ("custom", Changed, "custom.pet = 'cat'"),
    ("orders_placed", Changed, "orders_placed MATCHES (sku = 'A')"),
    ("products_purchased", Changed, "products_purchased MATCHES (sku = 'B', sum_quantity = 2)"),
    ("signed_in", Changed, "signed_in MATCHES (count >= 2)"),
];

#[test]
fn s2_the_table_has_every_attribute_and_every_mark_is_made_by_some_message() {
    let listed: BTreeSet<_> =
        all().map(|entry| entry.name).chain(FUNCTIONS.iter().map(|entry| entry.name)).collect();
    let tabled: BTreeSet<_> = TABLE.iter().map(|(name, ..)| *name).collect();
    assert_eq!(tabled, listed);
    assert_eq!(TABLE.len(), listed.len());
    // What messages mark: by their own examples, and by the names of fields that they may tell.
    let mut made: BTreeSet<Mark> = BTreeSet::new();
    for message in TYPES {
        made.extend(marks::of_message(message.kind, &(message.example)()).expect(message.kind));
    }
    let fields = [
        "customer_type",
        "group",
        "tags",
        "email",
        "phone",
        "accepts_marketing",
        "profile.date_of_birth",
        "preferences.locale",
        "preferences.timezone",
        "preferences.currency",
        "preferences.topics",
        "preferences.channels.email",
    ];
    for field in fields {
        let marked = marks::of_message("customer.updated", &json!({ "changed": [field] })).unwrap();
        assert!(!marked.is_empty(), "{field}");
        made.extend(marked);
    }
    // Of all customers at once, and so by a walk.
    made.extend([Mark::CutPoints, Mark::Models]);
    let wanted =
        all().flat_map(|entry| entry.marks).chain(FUNCTIONS.iter().map(|entry| &entry.mark));
    let unmade: Vec<_> = wanted.filter(|mark| !made.contains(mark)).collect();
    assert!(unmade.is_empty(), "no message marks {unmade:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_every_attribute_that_changes_changes_who_belongs() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    shop.database
        .execute(
            "INSERT INTO rfm_cut_points VALUES ('USD', 1, now(), now(), 5, '{1,2,3,4}', '{1,2,3,4}', '{1,2,3,4}')",
        )
        .await;
    define(&node, &shop, "pet", json!({ "type": "text" })).await.expect(201);
    let one = Shopper::new(&shop, &node).await;
    for (name, when, definition) in TABLE {
        if *when == Changed {
            rule(&shop, &node, &format!("of_{name}"), definition).await;
        }
    }
    quiet(&shop).await;
    let before: BTreeMap<_, _> = of_customer(&shop, &one.id).await;
    let early: Vec<_> = before.keys().filter(|code| *code != "of_last_sign_in_date").collect();
    assert!(early.is_empty(), "true before anything changed: {early:?}");
    everything(&shop, &node, &one).await;
    let wanted: BTreeSet<String> = TABLE
        .iter()
        .filter(|(_, when, _)| *when == Changed)
        .map(|(name, ..)| format!("of_{name}"))
        .collect();
    let all = eventually("every change is heard of", Duration::from_secs(30), async || {
        let all = of_customer(&shop, &one.id).await;
        (all.len() == wanted.len()).then_some(all)
    });
    let all = match tokio::time::timeout(Duration::from_secs(25), all).await {
        Ok(all) => all,
        Err(_) => of_customer(&shop, &one.id).await,
    };
    let missing: Vec<_> = wanted.iter().filter(|code| !all.contains_key(*code)).collect();
    assert!(missing.is_empty(), "never joined: {missing:?}");
    let otherwise: Vec<_> = all
        .iter()
        .filter(|(code, cause)| !before.contains_key(*code) && *cause != "change")
        .collect();
    assert!(otherwise.is_empty(), "{otherwise:?}");

    for (name, when, definition) in TABLE {
        if *when == Registered {
            rule(&shop, &node, &format!("of_{name}"), definition).await;
        }
    }
    quiet(&shop).await;
    let other = Shopper::new(&shop, &node).await;
    for (name, ..) in TABLE.iter().filter(|(_, when, _)| *when == Registered) {
        becomes(&shop, &format!("of_{name}"), &other.id, true).await;
        assert_eq!(of_customer(&shop, &other.id).await[&format!("of_{name}")], "change");
    }
}

/// What makes each of the definitions true that are about changes.
async fn everything(shop: &Shop, node: &Api, one: &Shopper) {
    let staff = |path: &str| format!("/v1/admin/customers/{}{path}", one.id);
    let patch = async |path: &str, body: Value| {
        one.patch(node, path, body).send().await.expect(200);
    };
    patch("/v1/me/profile", json!({ "date_of_birth": "1990-05-17" })).await;
    let channels = json!({ "email": true, "sms": true, "push": true });
    let preferences = json!({ "locale": "vi-VN", "timezone": "Asia/Ho_Chi_Minh", "currency": "VND",
                              "topics": ["lamps"], "channels": channels });
    patch("/v1/me/preferences", preferences).await;
    let pet = json!({ "custom": { "pet": "cat" } });
    node.patch(&staff("/profile"), pet).bearer(&shop.staff_key).send().await.expect(200);
    for purpose in ["analytics", "marketing"] {
        let path = format!("/v1/me/consents/{purpose}");
        let channels: &[Option<&str>] = match purpose {
            "marketing" => &[Some("email"), Some("sms"), Some("push")],
            _ => &[None],
        };
        for channel in channels {
            let mut grant = json!({ "granted": true, "text_version": "1" });
            if let Some(channel) = channel {
                grant["channel"] = json!(channel);
            }
            one.put(node, &path, grant).send().await.expect(200);
        }
    }
    let mut home = crate::harness::shopper::home("Berlin");
    home["region"] = json!("BE");
    home["postal_code"] = json!("10115");
    home["country"] = json!("DE");
    one.post(node, "/v1/me/addresses", home).send().await.expect(201);
    let list = one.post(node, "/v1/me/wishlists", json!({ "name": "A" })).send().await.expect(201);
    let items = format!("{}/items", list.header("location"));
    one.post(node, &items, json!({ "sku": "A" })).send().await.expect(201);
    orders::heard_in(shop, &one.id, "USD").await;
    phones::own(shop, node, one, "+84912345678").await;
    email_change::change(shop, node, one, "lan@elsewhere.example").await;
    for _ in 0..2 {
        sign_in(node, "lan@elsewhere.example", PASSWORD).await.expect(200);
    }
    Guarded::of(one.clone(), node).await;
    let body = json!({ "customer_type": "business", "group": "business" });
    node.patch(&staff(""), body).bearer(&shop.staff_key).send().await.expect(200);
    node.post(&staff("/tags"), json!({ "tag": "vip" }))
        .bearer(&shop.staff_key)
        .send()
        .await
        .expect(200);
    let body = json!({ "to": "inactive", "reason": "customer_request" });
    node.post(&staff("/status"), body).bearer(&shop.staff_key).send().await.expect(200);
}
