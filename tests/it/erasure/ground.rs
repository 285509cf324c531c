//! What tests of erasures share: customers with a mark in every personal column, the other services, and
//! looks at what is left.

use std::collections::BTreeMap;
use std::process::Command;

use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::personal::{self, Column, Erasure, Rows};

use crate::harness::db::TestDatabase;
use crate::harness::{Api, Shop};

/// What nothing but seeded customers holds.
pub const MARK: &str = "zqmark";

pub fn deletion(customer: &str) -> String {
    format!("/v1/admin/customers/{customer}/deletion")
}

pub async fn state_of(api: &Api, shop: &Shop, erasure: &str) -> String {
    let path = format!("/v1/admin/erasures/{erasure}");
    let shown = api.get(&path).bearer(&shop.staff_key).send().await.expect(200);
    shown.json()["state"].as_str().unwrap().to_owned()
}

/// Everything that is kept of a customer, but what only tells that something happened.
pub async fn rows_of(shop: &Shop, customer: &str) -> BTreeMap<String, Vec<String>> {
    let told = ["audit_entries", "outbox_events", "mails", "erasures", "idempotency_keys"];
    let mut found = BTreeMap::new();
    for table in personal::tables().filter(|table| !told.contains(&table.name)) {
        let Rows::OfCustomer { by, .. } = table.rows else { continue };
        let sql = format!(
            "SELECT (to_jsonb(t) - 'version' - 'sequence' - 'updated_at')::text FROM {} AS t \
             WHERE {} = '{customer}' ORDER BY 1",
            table.name, by[0]
        );
        found.insert(table.name.to_owned(), shop.database.column(&sql).await);
    }
    found
}

/// Customers whose deletion is due in a day, with a mark in every personal column.
pub async fn seed(database: &TestDatabase, count: usize) -> Vec<String> {
    let segment = SystemClock.new_id();
    let make = format!(
        "INSERT INTO segments VALUES ('marked', '{segment}', 'static', 'Marked', NULL, '{{}}', NULL, \
         NULL, 'active', 1, now(), now(), 1)"
    );
    database.execute(&make).await;
    let seed = include_str!("seed.sql");
    let mut ids = Vec::new();
    for number in 0..count {
        let (id, mark) = (SystemClock.new_id().to_string(), format!("{MARK}{number:06}"));
        let bytes = format!("decode(rpad(encode('{mark}', 'hex'), 64, '0'), 'hex')");
        let sql = seed
            .replace("{id}", &id)
            .replace("{m}", &mark)
            .replace("{n}", &format!("876{number:04}"))
            .replace("{segment}", &segment.to_string())
            .replace("{bytes}", &bytes);
        database.execute(&format!("BEGIN; {sql} COMMIT;")).await;
        ids.push(id);
    }
    ids
}

/// Gives each of them a key, which nobody opens: a service that starts would ask for what wraps it.
pub async fn give_keys(database: &TestDatabase) {
    let keys = format!(
        "INSERT INTO customer_keys.data_keys SELECT id, decode(rpad(encode(split_part(email, '@', 1)::bytea, \
         'hex'), 122, '0'), 'hex'), '0123456789abcdef', now(), now() FROM customers WHERE email LIKE '{MARK}%'"
    );
    database.execute(&keys).await;
}

/// Personal columns in which no seeded customer has anything: what a new column fails by.
pub async fn unmarked(database: &TestDatabase) -> Vec<String> {
    let mut found = Vec::new();
    for table in personal::tables() {
        let Rows::OfCustomer { by, .. } = table.rows else { continue };
        for (column, what) in table.each() {
            // What stays is told why, and a customer that lives has no end.
            let Column::Personal(care) = what else { continue };
            let spared = ["deleted_at", "used_at", "voided_at"].contains(&column);
            if spared || matches!(care.erasure, Erasure::Stays(_)) {
                continue;
            }
            let (name, by) = (table.name, by[0]);
            let filled = format!(
                "SELECT count(*) FROM {name} AS t JOIN customers AS c ON c.id = t.{by} \
                 WHERE c.email LIKE '{MARK}%' AND t.{column} IS NOT NULL"
            );
            if database.count(&filled).await == 0 {
                found.push(format!("{name}.{column}"));
            }
        }
    }
    found
}

pub fn dump(url: &str) -> String {
    let dumped =
        Command::new("pg_dump").args(["--dbname", url]).output().expect("pg_dump is there");
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    String::from_utf8_lossy(&dumped.stdout).into_owned()
}

/// Lines of a text that still tell of a seeded customer: by the mark, by its bytes, by the number.
pub fn marked(text: &str) -> Vec<String> {
    let hex: String = MARK.bytes().map(|byte| format!("{byte:02x}")).collect();
    let told = [MARK, hex.as_str(), "+8499876", "1911-11-11", "203.0.113.77"];
    let lines = text.lines().filter(|line| told.iter().any(|one| line.contains(one)));
    lines.take(5).map(|line| line.chars().take(300).collect()).collect()
}
