//! Keys of customers: what is sealed of one opens by its own key alone, and the keys that wrap them
//! change while everybody works.

use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use customer_service::clock::{Clock, SystemClock};
use customer_service::db;
use customer_service::db::customer_keys::KeptKey;
use customer_service::security::customer_keys::WrappingKeys;
use customer_service::security::keys::RootSecret;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::shopper::PASSWORD;
use crate::harness::{Api, Shop, Shopper};
use crate::second_factors::{Authenticator, Guarded, confirm, second_step, start, steady};

const SETTING: &str = "SECRETS__WRAPPING_KEYS";

/// A wrapping key as it is configured.
fn key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

fn told(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr];
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

fn rotate(shop: &Shop, keys: &str) -> Output {
    shop.command(&[(SETTING, keys)]).args(["key", "rotate-customers"]).output().unwrap()
}

/// Stage and number of keys, by the command.
fn listed(shop: &Shop, keys: &str) -> Vec<(String, i64)> {
    let arguments = ["key", "customers", "list", "--json"];
    let output = shop.command(&[(SETTING, keys)]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = |key: &Value| {
        (key["stage"].as_str().unwrap().to_owned(), key["customers"].as_i64().unwrap())
    };
    listed.as_array().unwrap().iter().map(one).collect()
}

/// Keys of customers that are not there: as many as a rotation needs to last.
async fn seed(shop: &Shop, keys: &WrappingKeys, count: usize) {
    let rows: Vec<String> = (0..count)
        .map(|_| {
            let (customer, mut random) = (SystemClock.new_id(), [0; 32]);
            SystemClock.random(&mut random);
            let (_, wrapped) = keys.make(customer, random).unwrap();
            let bytes: String = wrapped.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("('{customer}', '\\x{bytes}', '{}', now(), now())", wrapped.by)
        })
        .collect();
    let insert = format!("INSERT INTO customer_keys.data_keys VALUES {}", rows.join(", "));
    shop.database.execute(&insert).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_what_was_sealed_of_a_customer_opens_by_its_own_key_alone() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    // Everybody has one from the start; whoever lost it gets another when something is sealed.
    Shopper::new(&shop, &node).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM customer_keys.data_keys").await, 1);
    shop.database.execute("DELETE FROM customer_keys.data_keys").await;
    let guarded = Guarded::new(&shop, &node).await;
    let other = Guarded::of(Shopper::new(&shop, &node).await, &node).await;
    let by_customer = "SELECT count(*) FROM customer_totp AS t \
        JOIN customer_keys.data_keys AS k USING (customer_id) WHERE get_byte(t.secret, 0) = 2";
    assert_eq!(shop.database.count(by_customer).await, 2);
    // Neither the key of somebody else, nor with none, nor the secret of somebody else.
    let (mine, theirs) = (&guarded.shopper.id, &other.shopper.id);
    let swap = |table: &str, column: &str| {
        format!(
            "UPDATE {table} AS t SET {column} = o.{column} FROM {table} AS o \
             WHERE t.customer_id <> o.customer_id"
        )
    };
    let keys = swap("customer_keys.data_keys", "wrapped");
    let secrets = swap("customer_totp", "secret");
    for harm in [&keys, &secrets] {
        let challenge = guarded.challenge(&node).await;
        shop.database.execute(harm).await;
        let refused = second_step(&node, &challenge, "totp", &guarded.app.code(0)).await;
        assert_eq!(refused.status, 500, "{}", refused.text());
        shop.database.execute(harm).await;
    }
    let challenge = other.challenge(&node).await;
    second_step(&node, &challenge, "totp", &other.app.code(0)).await.expect(200);
    // With the key all is gone, whatever backup the sealed value comes back from.
    let challenge = guarded.challenge(&node).await;
    let gone = format!("DELETE FROM customer_keys.data_keys WHERE customer_id = '{mine}'");
    shop.database.execute(&gone).await;
    let refused = second_step(&node, &challenge, "totp", &guarded.app.code(0)).await;
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(!node.log().contains(&guarded.app.code(0)));
    // Nobody gets a key who is not there.
    node.delete(&format!("/v1/admin/customers/{theirs}"))
        .bearer(&shop.staff_key)
        .send()
        .await
        .expect(204);
    shop.database.execute("DELETE FROM customer_keys.data_keys").await;
    let database = shop.database.database();
    let kept = KeptKey { wrapped: vec![0; 61], wrapped_by: "0".repeat(16) };
    for id in [theirs.parse().unwrap(), SystemClock.new_id()] {
        let connection = database.get().await.unwrap();
        let now = SystemClock.now();
        let none = db::customer_keys::keep(&connection, id, &kept, now).await.unwrap();
        assert_eq!(none, None, "{id}");
    }
}

/// Two nodes in the middle of a change of configuration: one wraps by the old key still.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p2_wrapping_keys_are_changed_under_load_without_a_failed_request() {
    let (old, new) = (key(0x61), key(0x62));
    let (both, turned) = (format!("{old},{new}"), format!("{new},{old}"));
    let shop = Shop::configured(&[(SETTING, &both)]).await;
    let root = RootSecret::new(shop.root_key);
    // Some from before any was configured, many by the old one.
    seed(&shop, &WrappingKeys::new(&root, &[]), 50).await;
    seed(&shop, &WrappingKeys::new(&root, &[[0x61; 32], [0x62; 32]]), 4_000).await;
    let before = shop.node().await;
    let after = shop.node_with(&[(SETTING, &turned)]).await;
    let mut shoppers = Vec::new();
    for _ in 0..4 {
        shoppers.push(Shopper::new(&shop, &before).await);
    }
    start(&before, &shoppers[0]).await.expect(200);
    assert_eq!(listed(&shop, &both), [("current", 4_004), ("opens", 0), ("opens", 50)].map(named));
    let (end, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let streams: Vec<_> = shoppers
        .iter()
        .map(|shopper| {
            let nodes: [Api; 2] = [(*before).clone(), (*after).clone()];
            let (end, calls) = (end.clone(), calls.clone());
            let (access, id) = (shopper.access.clone(), shopper.id.clone());
            tokio::spawn(async move {
                let (mut failed, mut number) = (Vec::new(), 0);
                while !end.load(Ordering::Relaxed) {
                    for node in &nodes {
                        let body = json!({ "password": PASSWORD });
                        let answer =
                            node.post("/v1/me/mfa/totp", body).bearer(&access).send().await;
                        calls.fetch_add(1, Ordering::Relaxed);
                        if answer.status != 200 {
                            failed.push(format!("{id}: {}", answer.text()));
                        }
                        number += 1;
                        let body = json!({ "first_name": format!("Zfirst {number}") });
                        let answer = node.patch("/v1/me", body).bearer(&access).send().await;
                        if answer.status != 200 {
                            failed.push(format!("{id}: {}", answer.text()));
                        }
                    }
                }
                failed
            })
        })
        .collect();
    let busy = |least: usize| {
        let calls = calls.clone();
        async move {
            let target = calls.load(Ordering::Relaxed) + least;
            while calls.load(Ordering::Relaxed) < target {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    busy(8).await;
    let (shop, keys) = (Arc::new(shop), turned.clone());
    let command = tokio::task::spawn_blocking({
        let shop = shop.clone();
        move || rotate(&shop, &keys)
    });
    let output = command.await.unwrap();
    assert!(output.status.success(), "{}", told(&output));
    busy(8).await;
    end.store(true, Ordering::Relaxed);
    for stream in streams {
        let failed = stream.await.unwrap();
        assert!(failed.is_empty(), "{failed:#?}");
    }
    // Each change was sealed, before and after, by the one key that each has.
    for shopper in &shoppers {
        let page = after
            .get(&format!("/v1/admin/customers/{}/timeline?limit=100&values=true", shopper.id));
        let page = page.bearer(&shop.staff_key).send().await.expect(200).json();
        let moments = page["items"].as_array().unwrap().iter();
        let changes: Vec<_> =
            moments.filter(|moment| !moment["data"]["sealed"].is_null()).collect();
        assert!(changes.len() >= 4, "{page}");
        for change in changes {
            assert!(change["values"].is_object(), "{change}");
        }
    }
    drop(before);
    // The node of the former order may have made some behind the command; run again, it gets them.
    assert!(rotate(&shop, &turned).status.success());
    let all = listed(&shop, &new);
    assert_eq!(all, [("current", 4_054), ("opens", 0)].map(named));
    let entries = "SELECT count(*) FROM audit_entries WHERE action = 'customer_keys.rotated'";
    assert!(shop.database.count(entries).await >= 1);
    // The old one can go; what it had wrapped opens.
    drop(after);
    let node = shop.node_with(&[(SETTING, &new)]).await;
    steady(12).await;
    let app = Authenticator::new(&start(&node, &shoppers[0]).await.expect(200).json());
    confirm(&node, &shoppers[0], &app.code(-1)).await.expect(200);
    // But not the new one.
    let refused = shop.command(&[(SETTING, &old)]).arg("serve").output().unwrap();
    assert!(!refused.status.success());
    assert!(told(&refused).contains("not among secrets.wrapping_keys"), "{}", told(&refused));
    let refused = rotate(&shop, &old);
    assert!(!refused.status.success() && told(&refused).contains("is not configured"));
}

fn named((stage, count): (&str, i64)) -> (String, i64) {
    (stage.to_owned(), count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_a_key_that_does_not_open_holds_up_no_other() {
    let shop = Shop::new().await;
    let keys = WrappingKeys::new(&RootSecret::new(shop.root_key), &[]);
    seed(&shop, &keys, 700).await;
    let damaged = "UPDATE customer_keys.data_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) \
        WHERE customer_id = (SELECT customer_id FROM customer_keys.data_keys ORDER BY customer_id LIMIT 1 OFFSET 300)";
    shop.database.execute(damaged).await;
    let new = key(0x63);
    let output = rotate(&shop, &new);
    assert!(!output.status.success());
    assert!(told(&output).contains("the keys of 1 customers do not open"), "{}", told(&output));
    assert_eq!(listed(&shop, &new), [("current", 699), ("opens", 1)].map(named));
    let id = shop
        .database
        .one("SELECT customer_id FROM customer_keys.data_keys WHERE wrapped_at = created_at");
    let id: Uuid = id.await.parse().unwrap();
    assert!(told(&output).contains(&id.to_string()));
    shop.database
        .execute(&format!("DELETE FROM customer_keys.data_keys WHERE customer_id = '{id}'"))
        .await;
    assert!(rotate(&shop, &new).status.success());
}
