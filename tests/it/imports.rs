//! Imports and exports (issue of the record, rules L1, L5): files as other shops write them, sound
//! and broken, over HTTP and at the command line; killed in the middle, and gone on with.

mod broken;
mod killed;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::attributes::define;
use crate::harness::api::Call;
use crate::harness::{Answer, Node, Shop, eventually, unique};

const CSV: &str = "text/csv";
const NDJSON: &str = "application/x-ndjson";
const HEADER: &str = "email,first_name,last_name";

/// So many sound rows of CSV.
fn rows(count: usize) -> String {
    let mut file = format!("{HEADER}\n");
    for n in 0..count {
        file.push_str(&format!("c{n}@shop.example,Ánh {n},Nguyễn\n"));
    }
    file
}

fn send(shop: &Shop, node: &Node, query: &str, media_type: &str, file: impl Into<Vec<u8>>) -> Call {
    let path = format!("/v1/admin/imports{query}");
    node.call(Method::POST, &path).body(media_type, file.into()).bearer(&shop.staff_key)
}

/// Waits for the end of an import.
async fn over(shop: &Shop, node: &Node, location: &str) -> Value {
    eventually("the import is over", Duration::from_secs(120), async || {
        let import = node.get(location).bearer(&shop.staff_key).send().await.expect(200).json();
        import["finished_at"].is_string().then_some(import)
    })
    .await
}

/// Imports a file to its end.
pub async fn import(shop: &Shop, node: &Node, query: &str, media_type: &str, file: &[u8]) -> Value {
    let accepted = send(shop, node, query, media_type, file).send().await.expect(202);
    over(shop, node, accepted.header("location")).await
}

/// `line field code` of each error.
async fn errors(shop: &Shop, node: &Node, import: &Value) -> Vec<String> {
    let path = format!("/v1/admin/imports/{}/errors?format=ndjson", import["id"].as_str().unwrap());
    let answer = node.get(&path).bearer(&shop.staff_key).send().await.expect(200);
    let line = |line: &str| {
        let error: Value = serde_json::from_str(line).unwrap();
        let field = error["field"].as_str().unwrap_or("row");
        format!("{} {field} {}", error["line"], error["code"].as_str().unwrap())
    };
    answer.text().lines().map(line).collect()
}

fn counts(import: &Value) -> (i64, i64, i64) {
    let count = |name: &str| import[name].as_i64().unwrap();
    (count("rows_read"), count("rows_imported"), count("rows_failed"))
}

/// Rows, messages and audit entries of imported customers: as many of each, and every part.
async fn whole(shop: &Shop, customers: i64) {
    for sql in [
        "SELECT count(*) FROM customers",
        "SELECT count(*) FROM customer_profiles",
        "SELECT count(*) FROM customer_preferences",
        "SELECT count(*) FROM customer_identifiers WHERE kind = 'email'",
        "SELECT count(DISTINCT email_canonical) FROM customers",
        "SELECT count(*) FROM outbox_events WHERE kind = 'customer.created'",
        "SELECT count(DISTINCT customer_id) FROM outbox_events WHERE kind = 'customer.created'",
        "SELECT count(*) FROM audit_entries WHERE action = 'customer.created'",
        "SELECT count(DISTINCT request_id) FROM audit_entries WHERE action = 'customer.created'",
    ] {
        assert_eq!(shop.database.count(sql).await, customers, "{sql}");
    }
    assert_eq!(shop.database.count("SELECT count(*) FROM import_chunks").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_every_row_is_an_ordinary_customer() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    define(&node, &shop, "size", json!({ "type": "integer" })).await.expect(201);
    let csv = "E-Mail,First Name,Last Name,Phone,Accepts Email Marketing,Tags,Total Spent,\
        address.line1,address.city,address.country,custom.size,password_hash,email_verified\n\
        anh@example.org,Ánh,Nguyễn,+84 912 345 678,yes,\"vip, early\",12.50,12 Lê Lợi,Huế,VN,42,\
        $2b$04$ydYcFI/KdkV/Y0MqMKB9WOfeR4tK/sbmrr5CTXRsiH5sQVM2FLzWi,yes\n";
    let query = "?map=E-Mail%3Demail,Accepts+Email+Marketing%3Daccepts_marketing,Total+Spent%3D-&name=a.csv";
    let done = import(&shop, &node, query, CSV, csv.as_bytes()).await;
    assert_eq!((done["state"].as_str(), counts(&done)), (Some("completed"), (1, 1, 0)), "{done}");
    assert_eq!((&done["name"], &done["bytes"]), (&json!("a.csv"), &json!(csv.len())));
    let found = node.get("/v1/admin/customers?email=anh@example.org").bearer(&shop.staff_key);
    let found = found.send().await.expect(200).json()["items"][0].clone();
    assert_eq!((&found["status"], &found["group"]), (&json!("active"), &json!("individual")));
    assert_eq!(
        (&found["tags"], &found["phone"]),
        (&json!(["early", "vip"]), &json!("+84912345678"))
    );
    assert_eq!(
        (&found["accepts_marketing"], &found["email_verified"]),
        (&json!(true), &json!(true))
    );
    let id = found["id"].as_str().unwrap();
    let path = format!("/v1/admin/customers/{id}?expand=profile,addresses");
    let full = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
    assert_eq!(full["profile"]["custom"], json!({ "size": 42 }));
    assert_eq!(full["addresses"][0]["recipient"], "Ánh Nguyễn");
    assert_eq!(
        shop.messages(id).await,
        [
            "customer.created",
            "consent.granted",
            "address.created",
            "address.default_changed",
            "address.default_changed",
        ]
    );
    let ledger = "SELECT source || ' ' || text_version || ' ' || actor_kind FROM consent_entries";
    assert_eq!(shop.database.column(ledger).await, ["import unrecorded staff"]);
    let line = "SELECT request_id FROM audit_entries WHERE action = 'customer.created'";
    assert_eq!(shop.database.one(line).await, format!("import:{}:2", done["id"].as_str().unwrap()));
    assert_eq!(shop.database.count("SELECT count(*) FROM mails").await, 0);
    // The password of the other shop opens the account.
    let login = json!({ "email": "anh@example.org", "password": "Mật khẩu 🐧 dài" });
    node.post("/v1/auth/login", login).send().await.expect(200);
    whole(&shop, 1).await;
}

async fn attributes(shop: &Shop, node: &Node) {
    define(node, shop, "size", json!({ "type": "integer" })).await.expect(201);
    define(node, shop, "code", json!({ "type": "text" })).await.expect(201);
}

/// Rows are judged by the definitions, like everything that is written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attributes_of_rows_are_what_their_definitions_say() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    attributes(&shop, &node).await;
    define(&node, &shop, "likes", json!({ "type": "list" })).await.expect(201);
    let csv = "email,first_name,last_name,custom.size,custom.code,custom.likes,custom.sise\n\
        a@shop.example,A,A,42,42,\"tea, cats\",\n\
        b@shop.example,B,B,big,7,tea,\n\
        c@shop.example,C,C,1,7,tea,4\n";
    let done = import(&shop, &node, "", CSV, csv.as_bytes()).await;
    let told = errors(&shop, &node, &done).await;
    assert_eq!(told, ["3 custom.size wrong_type", "4 custom.sise unknown_attribute"]);
    assert_eq!(counts(&done), (3, 1, 2));
    let kept = shop.database.one("SELECT custom FROM customer_profiles").await;
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept, json!({ "size": 42, "code": "42", "likes": ["cats", "tea"] }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_read_by_an_import() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    attributes(&shop, &node).await;
    let object = json!({
        "email": "a@shop.example", "first_name": "A \"the\" 1st", "last_name": "O’Neill, x",
        "status": "suspended", "tags": ["a, b", "c"], "custom": { "size": 42, "code": "007" },
        "addresses": [{ "recipient": "R", "line1": "1", "city": "C", "country": "VN" },
                      { "line1": "2", "city": "D", "country": "DE", "postal_code": "10115" }],
        "date_of_birth": "1990-02-28", "bio": "two\nlines", "created_at": "2019-05-01T10:00:00Z",
    });
    let plain: String = (0..700)
        .map(|n| json!({ "email": format!("p{n}@shop.example"), "first_name": "P", "last_name": "Q" }))
        .map(|object| format!("{object}\n"))
        .collect();
    let file = format!("{object}\n{plain}");
    let done = import(&shop, &node, "", NDJSON, file.as_bytes()).await;
    assert_eq!(counts(&done), (701, 701, 0), "{:?}", errors(&shop, &node, &done).await);
    for (format, media_type) in [("csv", CSV), ("ndjson", NDJSON)] {
        let path = format!("/v1/admin/exports/customers?format={format}");
        let export = node.get(&path).bearer(&shop.staff_key).send().await.expect(200);
        let told = shop.run(&["export", "customers", "--format", format]);
        assert_eq!(told.stdout, export.body, "the command writes the same");
        let other = Shop::new().await;
        let there = other.node().await;
        attributes(&other, &there).await;
        let done = import(&other, &there, "", media_type, &export.body).await;
        let told = errors(&other, &there, &done).await;
        assert_eq!(counts(&done), (701, 701, 0), "{format}: {told:?}");
        let again = there.get("/v1/admin/exports/customers").bearer(&other.staff_key);
        let again = again.send().await.expect(200);
        let plain = |answer: &Answer| -> Vec<Value> {
            let mut objects: Vec<Value> = answer
                .text()
                .lines()
                .map(|line| {
                    let mut object: Value = serde_json::from_str(line).unwrap();
                    for name in ["id", "updated_at", "version"] {
                        object.as_object_mut().unwrap().remove(name);
                    }
                    if object["email"].as_str().unwrap().starts_with('p') {
                        object.as_object_mut().unwrap().remove("created_at");
                    }
                    object
                })
                .collect();
            objects.sort_by_key(|object| object["email"].as_str().unwrap().to_owned());
            objects
        };
        let here = node.get("/v1/admin/exports/customers").bearer(&shop.staff_key);
        assert_eq!(plain(&again), plain(&here.send().await.expect(200)), "{format}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_judges_and_writes_nothing() {
    let shop = Shop::configured(&[("IMPORTS__BLOCK_ROWS", "2")]).await;
    let node = shop.node().await;
    let before = import(&shop, &node, "", CSV, format!("{HEADER}\nt@x.org,T,T\n").as_bytes()).await;
    assert_eq!(counts(&before), (1, 1, 0));
    // A double in another block than the first of it, and one that is a customer.
    let file = format!("{HEADER}\na@x.org,A,A\nb@x.org,B,B\nbad,C,C\nA@X.org,D,D\nt@x.org,E,E\n");
    let done = import(&shop, &node, "?dry_run=true", CSV, file.as_bytes()).await;
    assert_eq!((counts(&done), &done["dry_run"]), ((5, 2, 3), &json!(true)));
    let told = errors(&shop, &node, &done).await;
    let expected = ["4 email invalid_email", "5 email duplicate_in_file", "6 email email_taken"];
    assert_eq!(told, expected);
    whole(&shop, 1).await;
    let real = import(&shop, &node, "", CSV, file.as_bytes()).await;
    assert_eq!((counts(&real), errors(&shop, &node, &real).await), (counts(&done), told));
    whole(&shop, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_customers_imports_and_exports_none() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (_, reader) = shop.key("customers:read,groups:write,ops:write");
    let file = rows(1);
    let sent = node.call(Method::POST, "/v1/admin/imports").body(CSV, file.clone().into_bytes());
    sent.bearer(&reader).send().await.problem(403, "insufficient_scope");
    let done = import(&shop, &node, "", CSV, file.as_bytes()).await;
    let id = done["id"].as_str().unwrap();
    for path in [
        "/v1/admin/imports".to_owned(),
        format!("/v1/admin/imports/{id}"),
        format!("/v1/admin/imports/{id}/errors"),
        "/v1/admin/exports/customers".to_owned(),
    ] {
        node.get(&path).bearer(&reader).send().await.problem(403, "insufficient_scope");
        node.get(&path).send().await.problem(401, "unauthorized");
    }
    let cancel = node.post(&format!("/v1/admin/imports/{id}/cancel"), json!({})).bearer(&reader);
    cancel.send().await.problem(403, "insufficient_scope");
    let nobody = "/v1/admin/imports/0190b4a0-0000-7000-8000-000000000000";
    for path in [nobody.to_owned(), format!("{nobody}/errors")] {
        node.get(&path).bearer(&shop.staff_key).send().await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_are_listed_cancelled_and_known_by_their_key() {
    let shop =
        Shop::configured(&[("IMPORTS__ROWS_PER_SECOND", "20"), ("IMPORTS__BLOCK_ROWS", "10")])
            .await;
    let node = shop.node().await;
    let file = rows(2_000);
    let key = unique("key");
    let slow = || send(&shop, &node, "?name=slow", CSV, file.clone()).idempotency_key(&key);
    let first = slow().send().await.expect(202);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = slow().send().await.expect(202);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json()["id"], first.json()["id"]);
    let other = send(&shop, &node, "", CSV, rows(1)).idempotency_key(&key);
    other.send().await.problem(422, "idempotency_key_reused");
    let location = first.header("location").to_owned();
    eventually("some rows are in", Duration::from_secs(30), async || {
        let import = node.get(&location).bearer(&shop.staff_key).send().await.expect(200).json();
        let (read, ..) = counts(&import);
        assert_eq!(import["state"] == "queued", import["started_at"].is_null());
        let told = import["seconds_left"].as_i64().is_some_and(|left| left > 10);
        (read > 20 && told && import["rows_per_second"].as_f64().unwrap() > 0.0).then_some(())
    })
    .await;
    let waiting = send(&shop, &node, "?name=next", CSV, rows(3)).send().await.expect(202);
    let list = node.get("/v1/admin/imports?limit=1").bearer(&shop.staff_key).send().await;
    let list = list.expect(200).json();
    assert_eq!(list["items"][0]["name"], "next");
    let more = format!("/v1/admin/imports?cursor={}", list["next_cursor"].as_str().unwrap());
    let more = node.get(&more).bearer(&shop.staff_key).send().await.expect(200).json();
    assert_eq!(
        (&more["items"][0]["name"], more["items"].as_array().unwrap().len()),
        (&json!("slow"), 1)
    );
    let cancel = || {
        let path = format!("{location}/cancel");
        node.call(Method::POST, &path).bearer(&shop.staff_key).send()
    };
    let cancelled = cancel().await.expect(200).json();
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(cancel().await.expect(200).json()["finished_at"], cancelled["finished_at"]);
    // What was in stays, whole; the next one has its turn.
    let done = over(&shop, &node, waiting.header("location")).await;
    let (_, imported, _) = counts(&node.get(&location).bearer(&shop.staff_key).send().await.json());
    assert!((20..2_000).contains(&imported), "{imported}");
    let (_, doubled, failed) = counts(&done);
    assert_eq!((doubled, failed), (0, 3), "the first three were in already");
    whole(&shop, imported).await;
    let cancel = format!("{}/cancel", waiting.header("location"));
    let cancel = node.call(Method::POST, &cancel).bearer(&shop.staff_key);
    cancel.send().await.problem(409, "import_over");
}
