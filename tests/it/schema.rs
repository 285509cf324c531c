//! The migrations: each can be undone, `schema.rs` is what they make, and no query of the service
//! reads a table from end to end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use customer_service::db::migrations;
use serde_json::json;

use crate::attributes::define;
use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::shopper::{PASSWORD, refresh, sign_in};
use crate::harness::{Shop, Shopper};
use crate::merge;
use crate::orders;

/// Everything a schema consists of, as sorted lines of text.
async fn schema(database: &TestDatabase) -> Vec<String> {
    const PARTS: &[&str] = &[
        "SELECT 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
            || a.attnotnull || coalesce(pg_get_expr(d.adbin, d.adrelid), '') || coalesce(col_description(c.oid, a.attnum), '-')
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
         WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'customer_keys', 'erasure_ledger')) AND c.relname NOT LIKE '\\_\\_diesel%'",
        "SELECT 'relation ' || relkind::text || ' ' || relname || ' ' || coalesce(reloptions::text, '') || coalesce(pg_get_expr(relpartbound, oid), '')
            || coalesce(obj_description(oid, 'pg_class'), '-')
         FROM pg_class WHERE relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'customer_keys', 'erasure_ledger')) AND relname NOT LIKE '\\_\\_diesel%'",
        "SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
         FROM pg_constraint WHERE connamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'customer_keys', 'erasure_ledger')) AND conname NOT LIKE '\\_\\_diesel%'",
        "SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname IN ('public', 'customer_keys', 'erasure_ledger') AND tablename NOT LIKE '\\_\\_diesel%'",
        "SELECT 'function ' || pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'customer_keys', 'erasure_ledger'))",
        "SELECT 'type ' || typname FROM pg_type WHERE typnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'customer_keys', 'erasure_ledger')) AND typtype IN ('d', 'e')",
        "SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT 'group ' || code || name FROM customer_groups",
    ];
    let mut lines = Vec::new();
    for part in PARTS {
        // Without tables there are no groups, either.
        if part.contains("FROM customer_groups")
            && database.one("SELECT to_regclass('customer_groups')").await.is_empty()
        {
            continue;
        }
        lines.extend(database.column(part).await);
    }
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_go_up_down_and_up_to_the_same_schema() {
    let database = TestDatabase::empty().await;
    let empty = schema(&database).await;
    let applied = migrations::run(&database.owner_settings()).await.unwrap();
    assert!(applied.len() >= 4, "{applied:?}");
    let first = schema(&database).await;
    assert!(migrations::run(&database.owner_settings()).await.unwrap().is_empty());
    assert!(migrations::pending(&database.owner_settings()).await.unwrap().is_empty());
    migrations::revert_all(&database.owner_settings()).await.unwrap();
    assert_eq!(schema(&database).await, empty, "nothing is left behind");
    migrations::run(&database.owner_settings()).await.unwrap();
    assert_eq!(schema(&database).await, first);
    let silent = "SELECT c.relname || '.' || a.attname FROM pg_class c \
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
        WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('public', 'customer_keys', 'erasure_ledger')) \
        AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname NOT LIKE '\\_\\_diesel%' AND col_description(c.oid, a.attnum) IS NULL";
    let silent = database.column(silent).await;
    assert!(silent.is_empty(), "columns without a comment: {silent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_rs_is_what_the_migrations_make() {
    let database = TestDatabase::new().await;
    let generated = generate(&database).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/db/schema.rs");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap();
    if kept != generated {
        let (kept, generated): (BTreeSet<_>, BTreeSet<_>) =
            (kept.lines().collect(), generated.lines().collect());
        panic!(
            "src/db/schema.rs differs from the migrations; UPDATE_SCHEMA=1 writes it anew\n\
             only in the file: {:#?}\nonly in the database: {:#?}",
            kept.difference(&generated).collect::<Vec<_>>(),
            generated.difference(&kept).collect::<Vec<_>>(),
        );
    }
}

/// The text of `src/db/schema.rs` for this database.
async fn generate(database: &TestDatabase) -> String {
    let mut text = String::from(
        "//! The tables as the migrations make them. Generated: `UPDATE_SCHEMA=1 cargo test --test it schema`\n\
         //! writes it anew from a migrated database, and the same test fails when the two differ.\n\n",
    );
    let tables = "SELECT CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END, \
        coalesce(obj_description(c.oid, 'pg_class'), ''), c.relname \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname IN ('public', 'customer_keys', 'erasure_ledger') AND c.relkind IN ('r', 'p') AND NOT c.relispartition \
        AND c.relname <> '__diesel_schema_migrations' ORDER BY 3";
    let mut names = Vec::new();
    for row in database.rows(tables).await {
        let [Some(table), Some(about), Some(name)] = &row[..] else { panic!("{row:?}") };
        let key = format!(
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) \
             WHERE i.indrelid = '{table}'::regclass AND i.indisprimary ORDER BY array_position(i.indkey::int[], a.attnum::int)"
        );
        let key = database.column(&key).await.join(", ");
        let columns = format!(
            "SELECT a.attname, t.typname, a.attnotnull, coalesce(col_description(a.attrelid, a.attnum), '') \
             FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
             WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 AND NOT attisdropped ORDER BY a.attnum"
        );
        writeln!(text, "diesel::table! {{\n    /// {about}.\n    {table} ({key}) {{").unwrap();
        for column in database.rows(&columns).await {
            let [Some(name), Some(kind), Some(not_null), Some(about)] = &column[..] else {
                panic!("{column:?}")
            };
            let kind = diesel_type(kind);
            let kind = if not_null == "t" { kind.to_owned() } else { format!("Nullable<{kind}>") };
            writeln!(text, "        /// {about}.\n        {name} -> {kind},").unwrap();
        }
        text.push_str("    }\n}\n\n");
        names.push(name.clone());
    }
    let names = names.join(",\n    ");
    writeln!(text, "diesel::allow_tables_to_appear_in_same_query!(\n    {names},\n);").unwrap();
    text
}

fn diesel_type(postgres: &str) -> &'static str {
    match postgres {
        "uuid" => "Uuid",
        "text" => "Text",
        "timestamptz" => "Timestamptz",
        "int2" => "Int2",
        "int4" => "Int4",
        "int8" => "Int8",
        "bool" => "Bool",
        "jsonb" => "Jsonb",
        "bytea" => "Bytea",
        "date" => "Date",
        "inet" => "Inet",
        "_text" => "Array<Text>",
        "_int8" => "Array<Int8>",
        "float8" => "Float8",
        "_float8" => "Array<Float8>",
        other => panic!("no diesel type is known for {other}: add it here"),
    }
}

/// Tables of a few rows, for ever, and sequences.
const SMALL: &[&str] = &[
    "attribute_definitions",
    "customer_groups",
    // a few a year; kept for a month
    "imports",
    "outbox_hours",
    "outbox_cursors",
    // one row
    "segment_book",
    "signing_keys",
    "staff_keys",
    "__diesel_schema_migrations",
];

/// The service runs on a server that logs the plan of every statement and avoids reading a table
/// from end to end wherever it can: where it still does, an index is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_query_reads_a_table_from_end_to_end() {
    let postgres = PrivateServer::start("postgres");
    let database = TestDatabase::on(&postgres.url).await;
    let name = database.one("SELECT current_database()").await;
    for setting in [
        "session_preload_libraries = 'auto_explain'",
        "auto_explain.log_min_duration = 0",
        "auto_explain.log_nested_statements = on",
        "enable_seqscan = off",
    ] {
        database.execute(&format!("ALTER DATABASE {name} SET {setting}")).await;
    }
    let shop = Shop::with(database, &[("ORDERS__RECONCILIATION__EVERY_HOURS", "1")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    everything(&shop, &node, &shopper).await;
    // The janitor and the relay had their turn, too.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let log = postgres.log();
    let plans = log.matches("Query Text").count();
    assert!(plans > 100, "only {plans} plans were logged");
    let mut query = "";
    let mut bad = BTreeSet::new();
    for line in log.lines() {
        if let Some((_, text)) = line.split_once("Query Text: ") {
            query = text;
        }
        let scanned = line.split_once("Seq Scan on ").map(|(_, rest)| rest);
        let table = scanned.and_then(|rest| rest.split([' ', '\n']).next()).unwrap_or_default();
        let ours = query.contains("outbox_") || !query.contains("pg_catalog");
        if !table.is_empty() && ours && !SMALL.contains(&table) && !table.starts_with("pg_") {
            bad.insert(format!("{table}: {}", query.chars().take(200).collect::<String>()));
        }
    }
    assert!(bad.is_empty(), "read from end to end: {bad:#?}");
}

/// Every kind of call once.
async fn everything(shop: &Shop, node: &crate::harness::Api, shopper: &Shopper) {
    orders::heard(shop, &shopper.id).await;
    sign_in(node, &shopper.email, PASSWORD).await.expect(200);
    sign_in(node, &shopper.email, "wrong password 12").await.expect(401);
    let second = shopper.again(node).await;
    refresh(node, &second.refresh).await.expect(200);
    let address = shopper.add_address(node, "Huế").await;
    shopper.add_address(node, "Sa Pa").await;
    let address = format!("/v1/me/addresses/{address}");
    shopper.patch(node, &address, json!({ "label": "home" })).send().await.expect(200);
    shopper.get(node, &address).send().await.expect(200);
    shopper.get(node, "/v1/me/addresses?limit=1").send().await.expect(200);
    let default = format!("{address}/default");
    shopper.put(node, &default, json!({ "kind": "billing" })).send().await.expect(200);
    shopper.delete(node, &address).send().await.expect(204);
    shopper.patch(node, "/v1/me", json!({ "first_name": "B" })).send().await.expect(200);
    shopper.patch(node, "/v1/me/profile", json!({ "bio": "B" })).send().await.expect(200);
    shopper.patch(node, "/v1/me/preferences", json!({ "locale": "vi" })).send().await.expect(200);
    shopper.get(node, "/v1/me?expand=profile,preferences,addresses").send().await.expect(200);
    shopper.get(node, "/v1/me/sessions").send().await.expect(200);
    let marketing = "/v1/me/consents/marketing";
    let grant = json!({ "granted": true, "text_version": "1" });
    shopper.put(node, marketing, grant).send().await.expect(200);
    shopper.put(node, marketing, json!({ "granted": false })).send().await.expect(200);
    for path in ["", "?at=2030-01-01T00:00:00Z", "/marketing/ledger?limit=1"] {
        shopper.get(node, &format!("/v1/me/consents{path}")).send().await.expect(200);
    }
    let email = &shopper.email;
    wishlists(shop, node, shopper).await;
    staff_writes(shop, node, shopper).await;
    attributes(shop, node, shopper).await;
    for query in ["", "?limit=1", &format!("?email={email}"), "?status=active", "?group=business"] {
        let list = node.get(&format!("/v1/admin/customers{query}")).bearer(&shop.staff_key);
        list.send().await.expect(200);
    }
    node.post("/v1/auth/email/resend", json!({ "email": email })).send().await.expect(202);
    crate::harness::shopper::register(node, email).await.expect(202);
    let unlock = format!("/v1/admin/customers/{}/unlock", shopper.id);
    node.post(&unlock, json!({})).bearer(&shop.staff_key).send().await;
    let status = format!("/v1/admin/customers/{}/status", shopper.id);
    let body = json!({ "to": "inactive", "reason": "asked_for" });
    node.post(&status, body).bearer(&shop.staff_key).send().await.expect(200);
}

async fn wishlists(shop: &Shop, node: &crate::harness::Api, shopper: &Shopper) {
    let lists = "/v1/me/wishlists";
    let mut made = Vec::new();
    for name in ["One", "Two"] {
        let list = shopper.post(node, lists, json!({ "name": name, "shared": true }));
        made.push(list.send().await.expect(201).json());
    }
    let [one, two] = [0, 1].map(|n| made[n]["id"].as_str().unwrap());
    let items = format!("{lists}/{one}/items");
    let item = shopper.post(node, &items, json!({ "sku": "A" })).send().await.expect(201);
    let path = item.header("location");
    shopper.patch(node, path, json!({ "quantity": 2 })).send().await.expect(200);
    for path in [lists, &format!("{lists}/{one}"), &items, path] {
        shopper.get(node, path).send().await.expect(200);
    }
    let link = format!("/v1/wishlists/shared/{}", made[0]["share_token"].as_str().unwrap());
    node.get(&link).send().await.expect(200);
    let moved = shopper.post(node, &format!("{path}/move"), json!({ "to": two }));
    let moved = moved.send().await.expect(201);
    shopper.delete(node, moved.header("location")).send().await.expect(204);
    let staff = format!("/v1/admin/customers/{}/wishlists", shopper.id);
    for path in [&staff, &format!("{staff}/{one}"), &format!("{staff}/{one}/items")] {
        node.get(path).bearer(&shop.staff_key).send().await.expect(200);
    }
    shopper.delete(node, &format!("{lists}/{one}")).send().await.expect(204);
}

/// Definitions, values, and the question who holds one.
async fn attributes(shop: &Shop, node: &crate::harness::Api, shopper: &Shopper) {
    let (key, size) = (&shop.staff_key, "/v1/admin/attributes/size");
    define(node, shop, "size", json!({ "type": "integer" })).await.expect(201);
    let value = json!({ "custom": { "size": 42 } });
    shopper.patch(node, "/v1/me/profile", value).send().await.expect(200);
    let unknown = json!({ "custom": { "sise": 42 } });
    shopper.patch(node, "/v1/me/profile", unknown).send().await.expect(422);
    node.patch(size, json!({ "maximum": 9 })).bearer(key).send().await.expect(409);
    node.delete(size).bearer(key).send().await.expect(409);
    let parts = "wishlists,consents,identities,sessions";
    shopper.get(node, &format!("/v1/me?expand={parts}")).send().await.expect(200);
    let staffs = format!("/v1/admin/customers/{}?expand={parts},notes", shopper.id);
    for path in [
        &staffs,
        "/v1/admin/attributes?limit=1",
        "/v1/admin/customers?attribute.size=42",
        "/v1/admin/customers?has_attribute=size",
    ] {
        node.get(path).bearer(key).send().await.expect(200);
    }
}

async fn staff_writes(shop: &Shop, node: &crate::harness::Api, shopper: &Shopper) {
    let (from, into) = (merge::made(shop, node).await, merge::made(shop, node).await);
    let notes = merge::path(&from, "/notes");
    let note = node.post(&notes, json!({ "text": "One" })).bearer(&shop.staff_key).send().await;
    note.expect(201);
    for _ in 0..2 {
        merge::merge(shop, node, &from, &into).await.expect(200);
    }
    let gone = node.get(&notes).bearer(&shop.staff_key).send().await;
    gone.problem(404, "not_found");
    let (path, key) = (format!("/v1/admin/customers/{}", shopper.id), &shop.staff_key);
    let tags = format!("{path}/tags");
    node.post(&tags, json!({ "tag": "one" })).bearer(key).send().await.expect(200);
    node.delete(&format!("{tags}/one")).bearer(key).send().await.expect(204);
    let notes = format!("{path}/notes");
    let note = node.post(&notes, json!({ "text": "One" })).bearer(key).send().await.expect(201);
    let note = note.header("location");
    for path in [&tags, &notes, note, &format!("{path}/timeline?limit=3")] {
        node.get(path).bearer(key).send().await.expect(200);
    }
    node.delete(note).bearer(key).send().await.expect(204);
}
