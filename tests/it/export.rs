//! Copies of all that is kept of a customer, for its owner (rule P3): who gets one, how often, and what
//! keeps it from everybody else.

mod killed;
mod map;
mod whole;

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::time::{Duration, Instant};

use customer_service::clock::{Clock, SystemClock};
use customer_service::db::retention::{self, Perishable};
use serde_json::{Value, json};
use zip::ZipArchive;

use crate::harness::shopper::PASSWORD;
use crate::harness::{Answer, Api, Shop, Shopper, eventually};

const EXPORTS: &str = "/v1/me/privacy/export";

/// An export lasts no longer than this, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn ask(api: &Api, who: &Shopper) -> Answer {
    who.post(api, EXPORTS, json!({ "password": PASSWORD })).send().await
}

/// The path of an export that is ready.
pub async fn made(api: &Api, who: &Shopper) -> String {
    let path = ask(api, who).await.expect(202).header("location").to_owned();
    over(api, who, &path).await;
    path
}

/// Waits until it is over; answers with what is told of it.
async fn over(api: &Api, who: &Shopper, path: &str) -> Value {
    eventually("the export is over", PATIENCE, async || {
        let answer = who.get(api, path).send().await;
        // A point that makes a process wait holds up more than it names.
        if answer.status == 503 {
            return None;
        }
        let told = answer.expect(200).json();
        let state = told["state"].as_str().unwrap();
        assert!(["queued", "running", "ready", "failed"].contains(&state), "{told}");
        ["ready", "failed"].contains(&state).then_some(told)
    })
    .await
}

async fn download(api: &Api, who: &Shopper, path: &str) -> Answer {
    who.get(api, &format!("{path}/download")).send().await
}

/// The files of an archive, as text.
fn unzipped(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).expect("a ZIP");
    let mut files = BTreeMap::new();
    for place in 0..archive.len() {
        let mut file = archive.by_index(place).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).expect("whole, and UTF-8");
        let name = file.name().unwrap().into_owned();
        files.insert(name, text);
    }
    files
}

fn data(files: &BTreeMap<String, String>) -> Value {
    serde_json::from_str(&files["customer.json"]).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_owner_gets_all_that_is_kept_of_it_within_a_minute() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.add_address(&node, "Huế").await;
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>";
    let list = json!({ "name": hostile });
    shopper.post(&node, "/v1/me/wishlists", list).send().await.expect(201);
    let orders = format!(
        "INSERT INTO order_facts (customer_id, order_id, version, status, placed_at, currency, \
         total_amount, refunded_amount, recorded_at) SELECT '{}', 'order-' || n, 1, 'placed', \
         now() - n * interval '1 minute', 'VND', n, 0, now() FROM generate_series(1, 10000) AS n",
        shopper.id
    );
    shop.database.execute(&orders).await;
    let began = Instant::now();
    let path = ask(&node, &shopper).await.expect(202).header("location").to_owned();
    let told = over(&node, &shopper, &path).await;
    let took = began.elapsed();
    println!("an export of {} rows took {took:?}", told["progress"]["rows"]);
    assert_eq!((told["state"].as_str(), &told["asked_by"]), (Some("ready"), &json!("customer")));
    assert!(took < PATIENCE && told["progress"]["rows"].as_i64() > Some(10_000), "{told}");
    assert_eq!(told["progress"]["parts_done"], told["progress"]["parts_total"]);
    let answer = download(&node, &shopper, &path).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/zip");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert!(answer.header("content-disposition").starts_with("attachment"));
    assert_eq!(answer.header("content-length"), answer.body.len().to_string());
    assert_eq!(told["progress"]["bytes"], answer.body.len());

    let files = unzipped(&answer.body);
    assert_eq!(files.keys().collect::<Vec<_>>(), ["customer.json", "index.html", "manifest.json"]);
    let all = data(&files);
    assert_eq!(all["customer_id"], shopper.id);
    let tables = &all["tables"];
    assert_eq!(tables["customers"][0]["email"], shopper.email);
    assert_eq!(tables["order_facts"].as_array().unwrap().len(), 10_000);
    assert_eq!(tables["wishlists"][0]["name"], hostile);
    assert_eq!(tables["addresses"][0]["city"], "Huế");
    let page = &files["index.html"];
    assert!(page.contains(&shopper.email) && page.contains("order-10000"));
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(2)&gt;")
    );
    for bad in ["<script", "<img", "http://", "https://"] {
        assert!(!page.contains(bad), "the page holds {bad}");
    }
    let manifest: Value = serde_json::from_str(&files["manifest.json"]).unwrap();
    assert_eq!(manifest["withheld"]["passwords"][0]["column"], "hash");
    let counted = manifest["tables"].as_array().unwrap().iter();
    let facts = counted.clone().find(|table| table["name"] == "order_facts").unwrap();
    assert_eq!(facts["rows"], 10_000);
    assert!(counted.clone().all(|table| table["what"].as_str() != Some("")));

    told_to_nobody_else(&shop, &shopper, &path).await;
}

/// The mail, the message and the entries: that it is ready, and nothing of what it holds.
async fn told_to_nobody_else(shop: &Shop, shopper: &Shopper, path: &str) {
    let id = path.rsplit('/').next().unwrap();
    let mail = eventually("the mail", Duration::from_secs(20), async || {
        let mails = shop.mails_to(&shopper.email);
        mails.into_iter().find(|mail| mail.kind == "export_ready")
    })
    .await;
    for told in ["Nguyễn", "Ánh", id, "/download", "export/"] {
        assert!(!mail.text().contains(told), "{told} is told in {}", mail.text());
    }
    let messages = shop.messages(&shopper.id).await;
    assert_eq!(messages.iter().filter(|kind| *kind == "privacy.export_ready").count(), 1);
    let entries = shop.entries(&shopper.id).await;
    let ours: Vec<_> = entries.iter().filter(|action| action.starts_with("privacy.")).collect();
    let expected = ["requested", "ready", "downloaded"].map(|end| format!("privacy.export_{end}"));
    assert_eq!(ours, expected.iter().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_export_is_its_owners_alone_and_takes_a_fresh_proof() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (owner, other) = (Shopper::new(&shop, &node).await, Shopper::new(&shop, &node).await);
    for (body, code) in
        [(json!({}), "proof_needed"), (json!({ "password": "no" }), "proof_invalid")]
    {
        owner.post(&node, EXPORTS, body).send().await.problem(403, code);
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM privacy_exports").await, 0);
    let path = made(&node, &owner).await;
    for path in [path.clone(), format!("{path}/download")] {
        other.get(&node, &path).send().await.problem(404, "not_found");
        node.get(&path).send().await.problem(401, "unauthorized");
        node.get(&path).bearer(&shop.staff_key).send().await.problem(401, "unauthorized");
    }
    let listed = owner.get(&node, EXPORTS).send().await.expect(200).json();
    assert_eq!(listed["items"][0]["id"], path.rsplit('/').next().unwrap());
    let listed = other.get(&node, EXPORTS).send().await.expect(200).json();
    assert_eq!(listed["items"], json!([]));

    // Only by the session that asked, or by one that began just now.
    let stale = owner.again(&node).await;
    let age = "UPDATE sessions SET created_at = created_at - interval '1 hour'";
    shop.database.execute(age).await;
    download(&node, &stale, &path).await.problem(403, "proof_needed");
    download(&node, &owner, &path).await.expect(200);
    let fresh = owner.again(&node).await;
    download(&node, &fresh, &path).await.expect(200);
    owner.delete(&node, "/v1/me/sessions").send().await.expect(204);
    eventually("the session is refused", Duration::from_secs(5), async || {
        (download(&node, &fresh, &path).await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_one_runs_at_a_time_and_so_many_a_day() {
    let shop = Shop::configured(&[("PRIVACY_EXPORTS__PER_DAY", "2")]).await;
    let slow = shop.node_with(&[("FAILPOINTS", "exporter.claimed=sleep(2000)")]).await;
    let shopper = Shopper::new(&shop, &slow).await;
    let first = ask(&slow, &shopper).await.expect(202).header("location").to_owned();
    let id = first.rsplit('/').next().unwrap();
    let refused = ask(&slow, &shopper).await.problem(409, "export_running");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(id) && detail.contains("look at it"), "{detail}");
    download(&slow, &shopper, &first).await.problem(409, "export_not_ready");
    let staffs = format!("/v1/admin/customers/{}/privacy/export", shopper.id);
    let by_staff = || slow.call(reqwest::Method::POST, &staffs).bearer(&shop.staff_key);
    by_staff().send().await.problem(409, "export_running");
    over(&slow, &shopper, &first).await;
    made(&slow, &shopper).await;
    let refused = ask(&slow, &shopper).await.problem(429, "export_limit_reached");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((86_000..=86_400).contains(&wait), "{wait}");

    // What staff asks for does not count, and only the customer gets it; asked twice it is one.
    let asked = by_staff().idempotency_key("once").send().await.expect(202);
    let again = by_staff().idempotency_key("once").send().await.expect(202);
    assert_eq!(asked.header("location"), again.header("location"));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let id = asked.json()["id"].as_str().unwrap().to_owned();
    let told = over(&slow, &shopper, &format!("{EXPORTS}/{id}")).await;
    assert_eq!((&told["state"], &told["asked_by"]), (&json!("ready"), &json!("staff")));
    let seen = slow.get(asked.header("location")).bearer(&shop.staff_key).send().await;
    assert_eq!(seen.expect(200).json()["state"], "ready");
    let path = format!("{}/download", asked.header("location"));
    slow.get(&path).bearer(&shop.staff_key).send().await.expect(404);
    download(&slow, &shopper, &format!("{EXPORTS}/{id}")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p3_of_many_that_ask_at_once_one_is_made() {
    let shop = Shop::new().await;
    let point = [("FAILPOINTS", "exporter.claimed=sleep(4000)")];
    let (one, two) = (shop.node_with(&point).await, shop.node_with(&point).await);
    let shopper = Shopper::new(&shop, &one).await;
    let calls = (0..12).map(|n| ask(if n % 2 == 0 { &one } else { &two }, &shopper));
    let answers = futures_util::future::join_all(calls).await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!((answer.status, answer.code().as_str()), (409, "export_running"));
    }
    assert_eq!(accepted, 1);
    assert_eq!(shop.database.count("SELECT count(*) FROM privacy_exports").await, 1);
    // And the database would not have it otherwise.
    let second = "INSERT INTO privacy_exports SELECT (r).* FROM (SELECT \
        jsonb_populate_record(e, jsonb_build_object('id', gen_random_uuid())) AS r FROM privacy_exports AS e) AS s";
    let refused = shop.database.client().await.batch_execute(second).await.unwrap_err();
    assert!(format!("{refused:?}").contains("privacy_exports_one_at_a_time"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_expired_export_is_gone_and_its_pieces_with_it() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let (path, kept) = (made(&node, &shopper).await, made(&node, &shopper).await);
    let expired = format!(
        "UPDATE privacy_exports SET expires_at = finished_at WHERE id = '{}'",
        path.rsplit('/').next().unwrap()
    );
    shop.database.execute(&expired).await;
    download(&node, &shopper, &path).await.problem(404, "export_expired");
    let connection = shop.database.database().get().await.unwrap();
    let now = SystemClock.now();
    let pieces = retention::expire(&connection, Perishable::PrivacyExportPieces, now, 500).await;
    assert_eq!(pieces.unwrap(), 1);
    let rows = retention::expire(&connection, Perishable::PrivacyExports, now, 500).await;
    assert_eq!(rows.unwrap(), 1);
    download(&node, &shopper, &path).await.problem(404, "not_found");
    download(&node, &shopper, &kept).await.expect(200);
}

/// Who is deleted meanwhile gets nothing, and nothing of the export stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_export_of_who_is_deleted_meanwhile_goes_too() {
    let shop = Shop::new().await;
    let node = shop.node_with(&[("FAILPOINTS", "exporter.made=sleep(1500)")]).await;
    let shopper = Shopper::new(&shop, &node).await;
    ask(&node, &shopper).await.expect(202);
    let gone = format!("/v1/admin/customers/{}", shopper.id);
    node.delete(&gone).bearer(&shop.staff_key).send().await.expect(204);
    eventually("the export is gone", PATIENCE, async || {
        let left = "SELECT (SELECT count(*) FROM privacy_exports) + \
            (SELECT count(*) FROM privacy_export_pieces)";
        (shop.database.count(left).await == 0).then_some(())
    })
    .await;
    assert!(!shop.messages(&shopper.id).await.contains(&"privacy.export_ready".to_owned()));
}

/// One that would be too large fails with its reason, and the next may be asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_export_has_a_limit_that_is_told() {
    let settings = [("PRIVACY_EXPORTS__SIZE_LIMIT_MIB", "1"), ("PRIVACY_EXPORTS__PER_DAY", "1")];
    let shop = Shop::configured(&settings).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    // Text that no compressor makes smaller.
    let notes = format!(
        "INSERT INTO customer_notes (id, customer_id, text, author, created_at) \
         SELECT gen_random_uuid(), '{}', (SELECT string_agg(md5(random()::text || n || m), '') \
         FROM generate_series(1, 100) AS m), 'key', now() FROM generate_series(1, 1200) AS n",
        shopper.id
    );
    shop.database.execute(&notes).await;
    let path = ask(&node, &shopper).await.expect(202).header("location").to_owned();
    let told = over(&node, &shopper, &path).await;
    assert_eq!((&told["state"], &told["reason"]), (&json!("failed"), &json!("too_large")));
    download(&node, &shopper, &path).await.problem(409, "export_not_ready");
    assert!(!shop.messages(&shopper.id).await.contains(&"privacy.export_ready".to_owned()));
    shop.database.execute("DELETE FROM customer_notes").await;
    let path = made(&node, &shopper).await;
    download(&node, &shopper, &path).await.expect(200);
}
