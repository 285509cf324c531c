//! What is left of who was erased: nothing, in the whole database as it would be copied, in mails, texts
//! and logs. A personal column that no seeded customer fills fails here.

use std::time::Duration;

use customer_service::domain::personal::{self, Fate, Rows};
use serde_json::json;

use super::ground::{self, dump, give_keys, marked, seed, unmarked};
use crate::harness::services::ALL_COMMANDS;
use crate::harness::shopper::sign_in;
use crate::harness::{Services, Shop, eventually};

const CUSTOMERS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_of_a_hundred_customers_nothing_is_left_anywhere() {
    let shop = Shop::configured(&[("PRIVACY__COMMANDS", ALL_COMMANDS)]).await;
    let ids = seed(&shop.database, CUSTOMERS).await;
    let services = Services::obedient(&shop, 1).await;
    let node = shop.node().await;
    give_keys(&shop.database).await;
    assert_eq!(unmarked(&shop.database).await, Vec::<String>::new(), "say it in erasure/seed.sql");
    assert!(marked(&dump(&shop.database.url)).len() >= 5, "the marks are worth looking for");
    // Tries to sign in are counted where no id stands.
    for number in 0..3 {
        let email = format!("{}{number:06}@people.example", ground::MARK);
        sign_in(&node, &email, "some wrong password 1").await.expect(401);
    }
    assert!(shop.database.count("SELECT count(*) FROM sign_in_throttles").await >= 3);
    // One became another a while ago: who takes in is erased with whom it took in.
    let (kept, gone) = (&ids[0], &ids[1]);
    let merged = format!(
        "INSERT INTO customer_merges VALUES ('{gone}', '{kept}', '{{}}', now()); \
         DELETE FROM erasures WHERE customer_id = '{gone}'; \
         UPDATE customers SET deleted_at = now() WHERE id = '{gone}'"
    );
    shop.database.execute(&merged).await;
    let due = "UPDATE erasures SET due_at = now(), look_at = now()";
    shop.database.execute(due).await;
    let open = "SELECT count(*) FROM erasures WHERE state <> 'completed'";
    eventually("all are erased", Duration::from_secs(90), async || {
        (shop.database.count(open).await == 0).then_some(())
    })
    .await;

    assert_eq!(marked(&dump(&shop.database.url)), Vec::<String>::new());
    assert_eq!(shop.database.count("SELECT count(*) FROM sign_in_throttles").await, 0);
    for table in personal::tables() {
        if let Rows::OfCustomer { by, fate: Fate::Deleted } = table.rows {
            let (name, list) = (table.name, ids.join("', '"));
            let left = format!("SELECT count(*) FROM {name} WHERE {} IN ('{list}')", by[0]);
            assert_eq!(shop.database.count(&left).await, 0, "{name}");
        }
    }
    for folder in ["mail", "sms"] {
        let files = std::fs::read_dir(shop.folder().join(folder)).into_iter().flatten().flatten();
        for file in files {
            let text = String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned();
            assert_eq!(marked(&text), Vec::<String>::new(), "{}", file.path().display());
        }
    }
    assert_eq!(marked(&node.log()), Vec::<String>::new(), "the log");
    // Everybody is in the ledger, also who became one with another, and each service was told once.
    let ledger = "SELECT count(*) FROM erasure_ledger.erased_customers";
    assert_eq!(shop.database.count(ledger).await, CUSTOMERS as i64);
    let commanded = services.consumer.received();
    assert_eq!(commanded.len(), 3 * (CUSTOMERS - 1), "three commands of each erasure");
    for message in commanded {
        let (step, id) = (&message.data["step_id"], &message.data["erasure_id"]);
        assert!(step.is_string() && id == &json!(message.customer_id), "{message:?}");
    }
}
