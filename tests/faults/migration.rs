//! A migration while the version before serves. The version that serves is this one; the next one's
//! migrations are made up here: what a release that wants to get on with its predecessor may do, a
//! column with a default, a table, a constraint that is not validated yet.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use customer_service::db::migrations;
use diesel_migrations::FileBasedMigrations;
use tokio::time::sleep;

use crate::ground::Ground;
use crate::harness::Shop;
use crate::load::Load;
use crate::report::{Report, ms};
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F32",
    fault: "a migration while the version before runs under load, and somebody reads the table for 5 s",
    criterion: "failed calls 0, nobody waits > 1 s, migrated all the same, nothing lost",
    play: played!(migrated),
    short: false,
}];

/// How long somebody's transaction keeps the tables from being changed.
const READING: Duration = Duration::from_secs(5);

/// What the next version adds, one transaction each.
pub const NEXT: &[(&str, &str)] = &[
    (
        "2099-01-01-000010_column",
        "ALTER TABLE customers ADD COLUMN next_note text NOT NULL DEFAULT ''; \
         ALTER TABLE addresses ADD COLUMN next_checked_at timestamptz;",
    ),
    (
        "2099-01-01-000020_table",
        "CREATE TABLE next_things (id uuid PRIMARY KEY, customer_id uuid NOT NULL REFERENCES customers);",
    ),
    (
        "2099-01-01-000030_constraint",
        "ALTER TABLE addresses ADD CONSTRAINT next_line1 CHECK (line1 <> 'next') NOT VALID;",
    ),
    (
        "2099-01-01-000040_column",
        "ALTER TABLE outbox_events ADD COLUMN next_hint smallint; \
         ALTER TABLE audit_entries ADD COLUMN next_hint smallint;",
    ),
];

/// The next version's migrations as files.
fn next_version(folder: &Path) -> PathBuf {
    let migrations = folder.join("migrations");
    for (name, up) in NEXT {
        let one = migrations.join(name);
        std::fs::create_dir_all(&one).unwrap();
        std::fs::write(one.join("up.sql"), up).unwrap();
        std::fs::write(one.join("down.sql"), "SELECT 1;").unwrap();
    }
    migrations
}

async fn migrated(ground: &Ground, report: &mut Report) {
    let shop = ground.shop(&[("CUSTOMERS__ADDRESS_LIMIT", "1000")]).await;
    let consumer = shop.consumer().await;
    let node = shop.node().await;
    let load = Load::begin(&shop, &[node.api()], 16, 120).await;
    sleep(ground.seconds(2, 5)).await;
    // As a backup does: it reads, and holds its locks to the end.
    let reader = shop.database.client().await;
    let read = "BEGIN; SELECT count(*) FROM customers; SELECT count(*) FROM addresses; \
        SELECT count(*) FROM outbox_events; SELECT count(*) FROM audit_entries";
    reader.batch_execute(read).await.unwrap();
    let began = Instant::now();
    let migrating = tokio::spawn(migrate(&shop));
    sleep(READING).await;
    let early = migrating.is_finished();
    reader.batch_execute("COMMIT").await.unwrap();
    let applied = migrating.await.unwrap();
    let took = began.elapsed();
    sleep(ground.seconds(2, 5)).await;
    // A second process of the version before starts as well, which a rolling update needs.
    let second = shop.node().await;
    load.go_to(&[node.api(), second.api()]);
    sleep(ground.seconds(2, 5)).await;
    let told = load.end().await;
    report.must(
        applied.as_ref().is_ok_and(|applied| applied.len() == NEXT.len()) && !early,
        format!("{applied:?} after {}, {} held by a reader", ms(took), ms(READING)),
    );
    let bad = told.attempts.iter().filter(|one| one.status.is_none_or(|status| status >= 400));
    let bad = bad.count();
    let slowest = told.attempts.iter().map(|one| one.took).max().unwrap_or_default();
    report.must(bad == 0, format!("failed {bad} of {}: {}", told.attempts.len(), told.statuses()));
    report.must(slowest <= Duration::from_secs(1), format!("slowest call {}", ms(slowest)));
    told.judge(&shop, &consumer, report).await;
    consumer.close().await;
}

/// Brings the schema to that of the next version; answers with the migrations applied.
pub fn migrate(shop: &Shop) -> impl Future<Output = Result<Vec<String>, String>> + Send + 'static {
    let source = FileBasedMigrations::from_path(next_version(shop.folder())).unwrap();
    let settings = shop.database.owner_settings();
    async move {
        let done = migrations::run_all(&settings, || source.clone()).await;
        done.map_err(|error| error.to_string())
    }
}
