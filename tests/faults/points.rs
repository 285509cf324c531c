//! The process ends at every named boundary of the code, one after the other, while a customer comes
//! to be, signs in, changes, hears of orders, is imported: the next process goes on, and everything
//! happened exactly once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use customer_service::faults::POINTS;
use serde_json::json;
use tokio::time::sleep;

use crate::erasures;
use crate::ground::Ground;
use crate::harness::checker::{self, Acknowledged};
use crate::harness::db::TestDatabase;
use crate::harness::orders::fact;
use crate::harness::services::ALL_COMMANDS;
use crate::harness::shopper::{PASSWORD, address, home, registration};
use crate::harness::{OrderService, Shop, Shopper, eventually, unique};
use crate::report::{Report, ms};
use crate::rescue::Rescued;
use crate::{Scenario, played, rescue};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F03",
    fault: "the process ends at each named point of the code (short form: six of them, by the seed)",
    criterion: "≥ 40 points, every one hit; acknowledged and missing 0, doubled 0; ready again ≤ 3 s",
    play: played!(at_every_point),
    short: true,
}];

/// What a story consists of, besides the customer who comes to be and changes.
const PARTS: &[(&str, &[&str])] = &[
    ("phone", &["texter."]),
    ("facts", &["order_intake.", "parked_orders."]),
    ("import", &["importer.", "block."]),
    ("export", &["exporter."]),
    ("erasure", &["reaper.", "erasure.", "answers."]),
    ("analyst", &["analyst."]),
    ("reconciler", &["reconciliation."]),
    ("walk", &["segments.page_"]),
    ("first key", &["signing.first_key"]),
    ("old key", &["signing.rotated"]),
    ("end", &["stop.", "relay.handing_back", "relay.handed_back"]),
];

async fn at_every_point(ground: &Ground, report: &mut Report) {
    let unlisted = differing();
    report.must(
        unlisted.is_empty() && POINTS.len() >= 40,
        format!("{} points, all listed {unlisted:?}", POINTS.len()),
    );
    let mut chosen: Vec<&str> = POINTS.to_vec();
    if let Ok(named) = std::env::var("FAULTS_POINTS") {
        chosen.retain(|point| named.split(',').any(|name| name == *point));
    } else if !ground.full {
        while chosen.len() > 6 {
            chosen.swap_remove(ground.roll(chosen.len() as u64) as usize);
        }
    }
    let orders = OrderService::new(&ground.rabbit.url);
    let settings = [
        ("REDIS__URL", ground.redis.url.as_str()),
        ("CUSTOMERS__ADDRESS_LIMIT", "1000"),
        ("ORDERS__INTAKE__GIVE_UP_AFTER_SECONDS", "1"),
        ("SESSIONS__SIGNING_KEY_DAYS", "30"),
        ("ORDERS__RECONCILIATION__EVERY_HOURS", "1"),
        ("PRIVACY__COMMANDS", ALL_COMMANDS),
        // That of the facts.
        ("ANALYTICS__CURRENCY", "EUR"),
    ];
    let database = TestDatabase::on(&ground.postgres.url).await;
    let shop = Arc::new(Shop::hearing_on(database, &orders, &settings).await);
    let consumer = shop.consumer().await;
    drop(shop.node().await);
    let mut book = Book::default();
    let mut missed = Vec::new();
    for point in &chosen {
        let began = Instant::now();
        if !one(&shop, &orders, point, &mut book).await {
            missed.push(*point);
        }
        println!("    {point} ({:.1} s)", began.elapsed().as_secs_f64());
    }
    report.must(
        missed.is_empty(),
        format!("{} ends, never hit {missed:?}", chosen.len() - missed.len()),
    );
    let slowest = book.slowest;
    report.must(slowest <= Duration::from_secs(3), format!("ready again ≤ {}", ms(slowest)));
    book.judge(&shop, report).await;
    // What the last one did not get out, the next one does.
    let _node = shop.node().await;
    let limit = Duration::from_secs(60);
    let verdict = checker::check(&shop.database, &consumer, &book.acknowledged, limit).await;
    report.note(format!(
        "lost 0 of {} acknowledged, out of order 0 of {} messages, {} duplicates",
        verdict.acknowledged, verdict.messages, verdict.duplicates
    ));
    consumer.close().await;
    orders.close().await;
}

/// What was acknowledged in all stories.
#[derive(Default)]
struct Book {
    acknowledged: Vec<Acknowledged>,
    /// Cities of addresses that are there once each.
    cities: Vec<String>,
    /// Orders that are kept once each.
    orders: Vec<String>,
    /// Imported addresses, each a customer's.
    imported: Vec<String>,
    slowest: Duration,
}

impl Book {
    async fn judge(&self, shop: &Shop, report: &mut Report) {
        let mut wrong = Vec::new();
        let mut look = async |what: &str, sql: &str, names: &[String]| {
            let list = names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
            if names.is_empty() {
                return;
            }
            let count = shop.database.count(&sql.replace("$", &list)).await;
            if count != names.len() as i64 {
                wrong.push(format!("{count} of {} {what}", names.len()));
            }
        };
        look("addresses", "SELECT count(*) FROM addresses WHERE city IN ($)", &self.cities).await;
        look(
            "orders",
            "SELECT sum(placed)::bigint FROM order_statistics WHERE customer_id IN \
            (SELECT customer_id FROM order_facts WHERE order_id IN ($))",
            &self.orders,
        )
        .await;
        look("imported", "SELECT count(*) FROM customers WHERE email IN ($)", &self.imported).await;
        let done = self.cities.len() + self.orders.len() + self.imported.len();
        report.must(wrong.is_empty(), format!("{done} keyed effects, each once {wrong:?}"));
    }
}

/// One story with an end at this point. Tells whether the process ended there.
async fn one(shop: &Arc<Shop>, orders: &OrderService, point: &str, book: &mut Book) -> bool {
    let part = PARTS.iter().find(|(_, points)| points.iter().any(|one| point.starts_with(one)));
    let part = part.map_or("", |(part, _)| *part);
    prepare(shop, part).await;
    let buyers = "SELECT count(*) FROM order_facts";
    if ["analyst", "reconciler"].contains(&part) && shop.database.count(buyers).await == 0 {
        // There is nothing to compute or to compare without anybody who bought.
        let sound = Rescued::watch(shop.clone(), shop.node().await);
        let shopper = change(shop, &sound, book).await;
        hear(shop, &sound, orders, &shopper, book).await;
    }
    if part == "reconciler" {
        let sql = "DELETE FROM reconciliation_runs; UPDATE order_statistics SET placed = placed + 1 \
            WHERE customer_id = (SELECT customer_id FROM order_facts ORDER BY customer_id LIMIT 1)";
        shop.database.execute(sql).await;
    }
    if point == "order_intake.tried" {
        // What comes a second time: whoever had it first died of something.
        let unknown = unique("R");
        let nobody = "01920000-0000-7000-8000-00000000dead";
        orders.tell(&fact(&unknown, nobody, 1, "placed")).await;
        rescue::dies(shop, "order_intake.recorded=return").await;
    }
    let rescued = Rescued::doomed(shop.clone(), &format!("{point}=return"));
    let shopper = change(shop, &rescued, book).await;
    match part {
        "phone" => {
            // Not all of +849 is in use; what begins with 91 is.
            let number = format!("+8491{:07}", rand_digits());
            let body = json!({ "phone": number });
            rescued.insist(&[202], |api| shopper.post(api, "/v1/me/phone", body.clone())).await;
            eventually("a text message", Duration::from_secs(60), async || {
                leases_pass(shop, &rescued).await;
                (!shop.texts_to(&number).is_empty()).then_some(())
            })
            .await;
        }
        "facts" => hear(shop, &rescued, orders, &shopper, book).await,
        "import" => import(shop, &rescued, book).await,
        "export" => export(shop, &rescued, &shopper).await,
        "erasure" => drop(erasures::erase(shop, &rescued).await),
        "reconciler" => {
            let ended = "SELECT count(*) FROM reconciliation_runs WHERE finished_at IS NOT NULL";
            eventually(
                "statistics are compared and repaired",
                Duration::from_secs(60),
                async || (shop.database.count(ended).await > 0).then_some(()),
            )
            .await;
        }
        "walk" => walk(shop, &rescued).await,
        "end" => rescued.sigterm(),
        _ => {}
    }
    let hit = rescued.survived(1, Duration::from_secs(20)).await;
    book.slowest = book.slowest.max(rescued.slowest_return());
    // Ended by abort(), and not otherwise.
    hit && rescued.deaths()[0] == 6
}

/// A copy of all that is kept of the customer is made for it.
async fn export(shop: &Shop, rescued: &Rescued, shopper: &Shopper) {
    let ask = |api: &crate::harness::Api| {
        shopper.post(api, "/v1/me/privacy/export", json!({ "password": PASSWORD }))
    };
    // 409: it was asked for, and the answer was lost.
    rescued.insist(&[202, 409], ask).await;
    let open = "SELECT count(*) FROM privacy_exports WHERE finished_at IS NULL";
    eventually("the export is ready", Duration::from_secs(60), async || {
        let passed = "UPDATE privacy_exports SET leased_until = now() WHERE finished_at IS NULL";
        if !rescued.deaths().is_empty() {
            shop.database.execute(passed).await;
        }
        (shop.database.count(open).await == 0).then_some(())
    })
    .await;
}

/// A new segment is carried to everybody.
async fn walk(shop: &Shop, rescued: &Rescued) {
    let code = unique("s");
    let body = json!({ "code": code, "title": "Verified", "definition": "email_verified = true" });
    // 409: it was made, and the answer was lost.
    let made = |api: &crate::harness::Api| {
        api.post("/v1/admin/segments", body.clone()).bearer(&shop.staff_key)
    };
    rescued.insist(&[201, 409], made).await;
    let open = "SELECT count(*) FROM segment_builds WHERE finished_at IS NULL";
    eventually("the walk is over", Duration::from_secs(60), async || {
        (shop.database.count(open).await == 0).then_some(())
    })
    .await;
}

/// Who died with a mail, a text or a parked fact in its hands had it for two minutes more: they pass.
async fn leases_pass(shop: &Shop, rescued: &Rescued) {
    if rescued.deaths().is_empty() {
        return;
    }
    let sql = "UPDATE mails SET due_at = now() WHERE sent_at IS NULL AND due_at > now(); \
        UPDATE text_messages SET due_at = now() WHERE sent_at IS NULL AND due_at > now(); \
        UPDATE parked_order_facts SET next_try_at = now() WHERE unended > 0 \
            AND next_try_at > now() + interval '60 s'";
    shop.database.execute(sql).await;
}

fn rand_digits() -> u32 {
    let id = unique("n");
    u32::from_str_radix(&id[id.len() - 7..], 16).unwrap() % 10_000_000
}

/// Makes that due which is only done now and then.
async fn prepare(shop: &Shop, part: &str) {
    match part {
        "analyst" => shop.database.execute("DELETE FROM analytics_runs").await,
        "first key" => shop.database.execute("DELETE FROM signing_keys").await,
        "old key" => {
            let sql = "UPDATE signing_keys SET created_at = created_at - interval '40 days', \
                signs_from = signs_from - interval '40 days', \
                retired_at = retired_at - interval '40 days'";
            shop.database.execute(sql).await;
        }
        _ => {}
    }
}

/// A customer comes to be, signs in, takes another name and an address.
async fn change(shop: &Shop, rescued: &Rescued, book: &mut Book) -> Shopper {
    let email = address();
    rescued.insist(&[202], |api| api.post("/v1/auth/register", registration(&email))).await;
    eventually("a mail", Duration::from_secs(60), async || {
        leases_pass(shop, rescued).await;
        (!shop.mails_to(&email).is_empty()).then_some(())
    })
    .await;
    let login = json!({ "email": email, "password": PASSWORD });
    let began = Instant::now();
    let answer = loop {
        // Who registers again because the answer was lost gets another mail, and its link counts.
        let token = shop.mails_to(&email).pop().expect("there is a mail").token();
        let body = json!({ "token": token });
        // Its own answer may have been lost as well: then the link is spent.
        let told = [200, 400, 401, 403, 404, 410, 422];
        rescued.insist(&told, |api| api.post("/v1/auth/email/verify", body.clone())).await;
        let answer =
            rescued.insist(&[200, 403], |api| api.post("/v1/auth/login", login.clone())).await;
        if answer.status == 200 {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{}", answer.text());
        sleep(Duration::from_millis(50)).await;
    };
    let shopper = Shopper::of(&email, &answer);
    let name = json!({ "first_name": "Bình" });
    let answer = rescued.insist(&[200], |api| shopper.patch(api, "/v1/me", name.clone())).await;
    let customer_id = shopper.id.clone();
    let known = book.acknowledged.iter().any(|one| one.customer_id == customer_id);
    assert!(!known);
    book.acknowledged.push(Acknowledged { customer_id, version: answer.version() });
    let (key, city) = (unique("key"), unique("City"));
    let add = || home(&city);
    rescued
        .insist(&[201], |api| shopper.post(api, "/v1/me/addresses", add()).idempotency_key(&key))
        .await;
    book.cities.push(city);
    shopper
}

/// Facts of orders: one to keep, one of nobody, one that cannot be used.
async fn hear(
    shop: &Shop,
    rescued: &Rescued,
    orders: &OrderService,
    shopper: &Shopper,
    book: &mut Book,
) {
    let order = unique("O");
    let nobody = "01920000-0000-7000-8000-00000000dead";
    let mut bad = fact(&unique("B"), &shopper.id, 1, "placed");
    bad["total"] = json!("much");
    for fact in
        [fact(&order, &shopper.id, 1, "placed"), fact(&unique("N"), nobody, 1, "placed"), bad]
    {
        orders.tell(&fact).await;
    }
    let kept = format!("SELECT count(*) FROM order_facts WHERE order_id = '{order}'");
    eventually("the fact is kept", Duration::from_secs(60), async || {
        (shop.database.count(&kept).await == 1).then_some(())
    })
    .await;
    book.orders.push(order);
    eventually("nothing waits", Duration::from_secs(60), async || {
        leases_pass(shop, rescued).await;
        let parked = "SELECT count(*) FROM parked_order_facts WHERE next_try_at IS NOT NULL";
        let waiting = orders.waiting(&orders.queue()).await;
        (waiting == Some(0) && shop.database.count(parked).await == 0).then_some(())
    })
    .await;
}

async fn import(shop: &Shop, rescued: &Rescued, book: &mut Book) {
    let emails = [address(), address()];
    let rows = emails.iter().map(|email| format!("{email},Ánh,Nguyễn\n")).collect::<String>();
    let file = format!("email,first_name,last_name\n{rows}");
    let key = unique("import");
    let answer = rescued
        .insist(&[202], |api| {
            api.call(reqwest::Method::POST, "/v1/admin/imports")
                .body("text/csv", file.clone().into_bytes())
                .bearer(&shop.staff_key)
                .idempotency_key(&key)
        })
        .await;
    let location = answer.header("location").to_owned();
    let began = Instant::now();
    loop {
        let import = rescued.insist(&[200], |api| api.get(&location).bearer(&shop.staff_key)).await;
        if import.json()["finished_at"].is_string() {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the import does not end");
        sleep(Duration::from_millis(20)).await;
    }
    book.imported.extend(emails);
}

/// Names that stand in the sources and not in the list, or the other way round.
fn differing() -> Vec<String> {
    let mut found = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            for call in text.split("faults::at(\"").skip(1) {
                found.insert(call.split('"').next().unwrap().to_owned());
            }
            // The two dispatchers share their code.
            for call in text.split("faults::at_part(P::NAME, \"").skip(1) {
                let point = call.split('"').next().unwrap();
                found.extend(["mailer", "texter"].map(|part| format!("{part}.{point}")));
            }
        }
    }
    let listed: BTreeSet<String> = POINTS.iter().map(|point| (*point).to_owned()).collect();
    found.symmetric_difference(&listed).cloned().collect()
}
