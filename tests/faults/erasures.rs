//! The process ends at every boundary of an erasure: whoever starts it again finds it gone on with,
//! nothing of the customer left, and each service told once by each message.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use customer_service::domain::personal::{self, Fate, Rows};
use serde_json::json;

use crate::ground::Ground;
use crate::harness::db::TestDatabase;
use crate::harness::services::{ALL_COMMANDS, COMMANDS};
use crate::harness::shopper::{address, home};
use crate::harness::{OrderService, Services, Shop, eventually};
use crate::report::Report;
use crate::rescue::Rescued;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F25",
    fault: "the process ends at each boundary of an erasure, three times each (short form: once each)",
    criterion: "resumed 100 %; residual rows 0; told once: each step, and the end",
    play: played!(at_every_boundary),
    short: true,
}];

/// From the wish to the last answer, in the order in which an erasure passes them.
const BOUNDARIES: &[&str] = &[
    "reaper.read",
    "batch.begun",
    "batch.decide",
    "batch.rows_written",
    "erasure.begun",
    "erasure.erased",
    "batch.before_commit",
    "batch.after_commit",
    "batch.woken",
    "reaper.erased",
    "relay.published",
    "relay.confirmed",
    "relay.before_flush",
    "reaper.resent",
    "answers.taken",
    "answers.recorded",
    "answers.acknowledged",
    "answers.buried",
];

async fn at_every_boundary(ground: &Ground, report: &mut Report) {
    let orders = OrderService::new(&ground.rabbit.url);
    let settings = [("REDIS__URL", ground.redis.url.as_str()), ("PRIVACY__COMMANDS", ALL_COMMANDS)];
    let database = TestDatabase::on(&ground.postgres.url).await;
    let shop = Arc::new(Shop::hearing_on(database, &orders, &settings).await);
    drop(shop.node().await);
    let rounds = if ground.full { 3 } else { 1 };
    let (mut missed, mut residue, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for point in BOUNDARIES {
        for _ in 0..rounds {
            let rescued = Rescued::doomed(shop.clone(), &format!("{point}=return"));
            let Erased { customer, erasure, services } = erase(&shop, &rescued).await;
            if !rescued.survived(1, Duration::from_secs(20)).await {
                missed.push(*point);
            }
            residue.extend(left_of(&shop, &customer).await);
            told.extend(told_otherwise(&shop, &services, &customer, &erasure, point).await);
        }
    }
    let ends = BOUNDARIES.len() * rounds;
    report.must(missed.is_empty(), format!("{ends} ends, all survived, never hit {missed:?}"));
    report.must(residue.is_empty(), format!("residual rows 0 {residue:?}"));
    report.must(told.is_empty(), format!("each told once {told:?}"));
    orders.close().await;
}

/// A customer that is no more, and who was told.
pub struct Erased {
    customer: String,
    erasure: String,
    services: Services,
}

/// A customer comes to be, is asked to be deleted at once, and every service forgets it.
pub async fn erase(shop: &Shop, rescued: &Rescued) -> Erased {
    // Each step is commanded twice, so that this is a boundary of every erasure, too.
    let services = Services::obedient(shop, 2).await;
    services.say(b"no answer").await;
    let email = address();
    let new = json!({ "email": email, "first_name": "Ánh", "last_name": "Trần" });
    let all = "/v1/admin/customers";
    rescued.insist(&[201, 409], |api| api.post(all, new.clone()).bearer(&shop.staff_key)).await;
    let customer =
        shop.database.one(&format!("SELECT id FROM customers WHERE email = '{email}'")).await;
    let one = format!("{all}/{customer}");
    rescued
        .insist(&[201], |api| {
            api.post(&format!("{one}/addresses"), home("Huế")).bearer(&shop.staff_key)
        })
        .await;
    let now = json!({ "at_once": true });
    // 409: it was asked for, and the answer was lost; 404: it is over by now.
    rescued
        .insist(&[202, 404, 409], |api| {
            api.post(&format!("{one}/deletion"), now.clone()).bearer(&shop.staff_key)
        })
        .await;
    let mine = format!("FROM erasures WHERE customer_id = '{customer}'");
    let over = format!("SELECT count(*) {mine} AND state = 'completed'");
    // An answer that takes too long is asked for again.
    let silent = format!(
        "UPDATE erasure_steps SET next_try_at = now() WHERE state <> 'done' AND customer_id = '{customer}'"
    );
    eventually("the erasure is over", Duration::from_secs(60), async || {
        shop.database.execute(&silent).await;
        (shop.database.count(&over).await == 1).then_some(())
    })
    .await;
    let erasure = shop.database.one(&format!("SELECT id {mine}")).await;
    Erased { customer, erasure, services }
}

/// Tables that still have something of a customer.
async fn left_of(shop: &Shop, customer: &str) -> Vec<String> {
    let mut found = Vec::new();
    for table in personal::tables() {
        if let Rows::OfCustomer { by, fate: Fate::Deleted } = table.rows {
            let left =
                format!("SELECT count(*) FROM {} WHERE {} = '{customer}'", table.name, by[0]);
            if shop.database.count(&left).await != 0 {
                found.push(table.name.to_owned());
            }
        }
    }
    let nobody = format!(
        "SELECT count(*) FROM customers WHERE id = '{customer}' AND status = 'erased' AND email = ''"
    );
    if shop.database.count(&nobody).await != 1 {
        found.push("customers".to_owned());
    }
    found
}

/// What was not told exactly once: the begin, the end, and each step by each of its messages.
async fn told_otherwise(
    shop: &Shop,
    services: &Services,
    customer: &str,
    erasure: &str,
    point: &str,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for kind in ["privacy.erasure_started", "privacy.erasure_completed"] {
        let told = format!(
            "SELECT count(*) FROM outbox_events WHERE customer_id = '{customer}' AND kind = '{kind}'"
        );
        if shop.database.count(&told).await != 1 {
            wrong.push(format!("{point}: {kind}"));
        }
    }
    let tries = format!(
        "SELECT sum(tries) FROM erasure_steps WHERE erasure_id = '{erasure}' AND name <> 'local'"
    );
    let (tries, commanded) = (shop.database.count(&tries).await, services.commanded(erasure));
    // Each message is one try of one step, whichever deliveries it had.
    if commanded.len() as i64 > tries {
        wrong.push(format!("{point}: {} messages of {tries} tries", commanded.len()));
    }
    let mut steps: BTreeMap<&str, Vec<&serde_json::Value>> = BTreeMap::new();
    for message in &commanded {
        steps.entry(message.kind.as_str()).or_default().push(&message.data);
    }
    let kinds: Vec<_> = steps.keys().copied().collect();
    let mut expected = COMMANDS;
    expected.sort_unstable();
    let same = steps.values().all(|all| all.windows(2).all(|two| two[0] == two[1]));
    if kinds != expected || !same {
        wrong.push(format!("{point}: {kinds:?}"));
    }
    wrong
}
