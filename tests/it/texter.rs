//! The texter against a real PostgreSQL and a gateway over HTTP.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use customer_service::actors::worker::Worker;
use customer_service::actors::workers::texter::{Settings, Texter};
use customer_service::clock::{Clock, ManualClock, SystemClock};
use customer_service::security::keys::RootSecret;
use customer_service::security::phone_codes::PhoneCodes;
use customer_service::sms::{self, Gateway};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::db::{TestDatabase, insert_customer};
use crate::harness::gateway::SmsGateway;
use crate::harness::{Shop, Shopper, eventually};

const NONCE: [u8; 32] = [7; 32];
const NUMBER: &str = "+84912345678";

/// A database with a customer whose number waits for a code.
struct Desk {
    database: TestDatabase,
    client: Client,
    clock: Arc<ManualClock>,
    customer: Uuid,
    folder: std::path::PathBuf,
}

impl Desk {
    async fn new() -> Self {
        let database = TestDatabase::new().await;
        let client = database.client().await;
        let customer = SystemClock.new_id();
        insert_customer(&client, customer, "lan@example.com").await;
        let folder = std::env::temp_dir().join(format!("texter-{customer}"));
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        Self { database, client, clock, customer, folder }
    }

    fn texter(&self) -> Texter {
        let settings = sms::Settings::Files { folder: self.folder.clone() };
        let gateway: Arc<dyn Gateway> = sms::gateway(settings).unwrap().into();
        let codes = Arc::new(PhoneCodes::new(&RootSecret::new([1; 32])));
        let settings = Settings { tries_max: 3, shop: "Shop".to_owned(), domain: None };
        Texter::new(self.database.database(), gateway, codes, self.clock.clone(), settings)
    }

    /// A message that is good for five minutes, and the number that waits for it.
    async fn write(&self) -> Uuid {
        let id = SystemClock.new_id();
        let (customer, now) = (self.customer, self.clock.now());
        let (begin, end) = (now.to_rfc3339(), (now + TimeDelta::minutes(5)).to_rfc3339());
        let nonce: String = NONCE.iter().map(|byte| format!("{byte:02x}")).collect();
        let insert = format!(
            "INSERT INTO text_messages (id, customer_id, kind, locale, nonce, created_at, expires_at, due_at) \
             VALUES ('{id}', '{customer}', 'phone_code', 'vi', '\\x{nonce}', '{begin}', '{end}', '{begin}'); \
             INSERT INTO phone_confirmations (customer_id, text_message_id, phone, code_hash, tries, created_at, expires_at) \
             VALUES ('{customer}', '{id}', '{NUMBER}', '\\x{nonce}', 0, '{begin}', '{end}') \
             ON CONFLICT (customer_id) DO UPDATE SET text_message_id = excluded.text_message_id"
        );
        self.client.batch_execute(&insert).await.unwrap();
        id
    }

    /// sent, given up, tries, last error, whether the nonce is still there.
    async fn state(&self, id: Uuid) -> (bool, bool, i32, Option<String>, bool) {
        let query = format!(
            "SELECT sent_at IS NOT NULL, given_up_at IS NOT NULL, tries, last_error, \
             nonce IS NOT NULL FROM text_messages WHERE id = '{id}'"
        );
        let row = self.client.query_one(&query, &[]).await.unwrap();
        (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4))
    }

    fn files(&self) -> Vec<Value> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap()
        };
        entries.map(read).collect()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texter_a_message_carries_the_code_of_its_nonce_and_forgets_it() {
    let desk = Desk::new().await;
    let id = desk.write().await;
    assert_eq!(desk.texter().run_once().await.unwrap().handled, 1);
    assert_eq!(desk.state(id).await, (true, false, 0, None, false));
    let [file] = &desk.files()[..] else { panic!("one message") };
    let codes = PhoneCodes::new(&RootSecret::new([1; 32]));
    let code = codes.code(desk.customer, NUMBER, &NONCE);
    let text =
        format!("{} là mã xác nhận tại Shop, có hiệu lực 5 phút. Đừng đưa cho ai.", code.as_str());
    assert_eq!((&file["to"], &file["text"]), (&json!(NUMBER), &json!(text)));
    assert_eq!(desk.texter().run_once().await.unwrap().handled, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn texter_a_code_that_is_no_longer_good_is_not_sent() {
    let desk = Desk::new().await;
    let older = desk.write().await;
    let newer = desk.write().await;
    desk.texter().run_once().await.unwrap();
    let (sent, given_up, _, error, nonce) = desk.state(older).await;
    assert_eq!((sent, given_up, nonce), (false, true, false), "{error:?}");
    assert!(desk.state(newer).await.0);

    let late = desk.write().await;
    desk.clock.advance(TimeDelta::minutes(5));
    desk.texter().run_once().await.unwrap();
    let (sent, given_up, _, error, nonce) = desk.state(late).await;
    assert_eq!((sent, given_up, nonce), (false, true, false));
    assert_eq!(error.as_deref(), Some("its code has expired"));
    assert_eq!(desk.files().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn texter_two_nodes_send_each_message_once() {
    let desk = Desk::new().await;
    for _ in 0..20 {
        desk.write().await;
    }
    let (mut one, mut two) = (desk.texter(), desk.texter());
    let (one, two) = tokio::join!(one.run_once(), two.run_once());
    assert_eq!(one.unwrap().handled + two.unwrap().handled, 20);
}

// --- a whole node with a gateway over HTTP ----------------------------------------------------------

async fn shop(gateway: &SmsGateway, more: &[(&str, &str)]) -> Shop {
    let url = gateway.url();
    let mut settings = vec![
        ("SMS__TRANSPORT", "http"),
        ("SMS__URL", url.as_str()),
        ("SMS__SECRET", "hunter2"),
        ("SMS__TIMEOUT_MS", "1000"),
    ];
    settings.extend(more);
    Shop::configured(&settings).await
}

async fn ask(shop: &Shop, node: &crate::harness::Node, number: &str) -> Shopper {
    let shopper = Shopper::new(shop, node).await;
    let asked = shopper.post(node, "/v1/me/phone", json!({ "phone": number })).send().await;
    asked.expect(202);
    shopper
}

async fn sent(shop: &Shop, count: i64) {
    let sent = "SELECT count(*) FROM text_messages WHERE sent_at IS NOT NULL";
    eventually("the message is sent", Duration::from_secs(30), async || {
        (shop.database.count(sent).await == count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texter_the_gateway_gets_what_was_configured() {
    let gateway = SmsGateway::start().await;
    let shop = shop(&gateway, &[]).await;
    let node = shop.node().await;
    let shopper = ask(&shop, &node, NUMBER).await;
    let taken = gateway.request(1).await;
    assert!(taken.head.starts_with("POST /messages HTTP/1.1"), "{}", taken.head);
    assert_eq!(taken.header("authorization"), "Bearer hunter2");
    assert_eq!(taken.header("content-type"), "application/json");
    let body: Value = serde_json::from_str(&taken.body).unwrap();
    assert_eq!(body["to"], NUMBER);
    assert_eq!(taken.header("idempotency-key"), body["id"].as_str().unwrap());
    let code: String = body["text"].as_str().unwrap().chars().take(6).collect();
    let confirm = shopper.post(&node, "/v1/me/phone/confirm", json!({ "code": code }));
    confirm.send().await.expect(200);
    let log = node.log();
    for secret in ["hunter2", "912345678", &code] {
        assert!(!log.contains(secret), "the log tells {secret}");
    }

    let form = shop
        .node_with(&[
            ("SMS__BODY", "To={to}&Text={text}&Key={secret}"),
            ("SMS__AUTHORIZATION", ""),
            ("SMS__SUCCESS_TEXT", "\"status\":\"ok\""),
        ])
        .await;
    drop(node);
    ask(&shop, &form, "+84912345679").await;
    let taken = gateway.request(2).await;
    assert_eq!(taken.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(taken.header("authorization"), "");
    assert!(
        taken.body.starts_with("To=%2B84912345679&Text=") && taken.body.ends_with("&Key=hunter2"),
        "{}",
        taken.body
    );
    sent(&shop, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texter_a_gateway_that_is_down_slow_or_failing_delays_and_loses_nothing() {
    let mut gateway = SmsGateway::start().await;
    let shop = shop(&gateway, &[]).await;
    let node = shop.node().await;
    gateway.down().await;
    ask(&shop, &node, NUMBER).await;
    let error = "SELECT count(*) FROM text_messages WHERE last_error LIKE '%cannot be reached%' AND tries = 0";
    eventually("the try is noted", Duration::from_secs(20), async || {
        (shop.database.count(error).await == 1).then_some(())
    })
    .await;
    gateway.up().await;
    let first = gateway.request(1).await;
    sent(&shop, 1).await;
    assert_eq!(gateway.taken().len(), 1);

    // Slow, and then in trouble: the same message again, with the same key.
    gateway.delay(Duration::from_secs(3));
    ask(&shop, &node, "+84912345679").await;
    let slow = gateway.request(2).await;
    gateway.delay(Duration::ZERO);
    gateway.answer(500);
    let failed = gateway.request(3).await;
    gateway.answer(200);
    sent(&shop, 2).await;
    let keys =
        [&slow, &failed, &gateway.request(4).await].map(|taken| taken.header("idempotency-key"));
    assert!(keys.iter().all(|key| *key == keys[0]) && keys[0] != first.header("idempotency-key"));
    assert_eq!(slow.body, failed.body);

    // A refusal of this one message ends it, and the next one is sent.
    gateway.answer(422);
    ask(&shop, &node, "+84912345670").await;
    let given_up =
        "SELECT count(*) FROM text_messages WHERE given_up_at IS NOT NULL AND nonce IS NULL";
    eventually("the message is given up", Duration::from_secs(20), async || {
        (shop.database.count(given_up).await == 1).then_some(())
    })
    .await;
    gateway.answer(202);
    ask(&shop, &node, "+84912345671").await;
    sent(&shop, 3).await;
    assert!(node.metric_where("text_messages_total", "outcome=\"sent\"").await >= 3.0);
    assert!(node.metric("text_message_segments_total").await >= 3.0);
}
