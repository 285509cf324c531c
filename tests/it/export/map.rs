//! The export against the map: every column that the map tells is in it, and none that it withholds, of
//! the customer and of everybody who became one with it. Rows are made of the catalogue alone, with a
//! value of its own in each column, so that a new column on the map fails here until it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use customer_service::actors::customer_keys::CustomerKeys;
use customer_service::actors::privacy_exports::Reader;
use customer_service::actors::privacy_exports::making::Maker;
use customer_service::clock::{Clock, SystemClock};
use customer_service::db::privacy_exports as rows;
use customer_service::domain::CustomerId;
use customer_service::domain::personal::{self, Care, Column, Export, Rows, Table};
use customer_service::security::customer_keys::WrappingKeys;
use customer_service::security::key_ring::{KEYS_MAX, KeyRing};
use customer_service::security::keys::RootSecret;
use serde_json::{Value, json};

use super::{data, unzipped};
use crate::harness::db::{TestDatabase, insert_customer};

/// Whatever keeps a row of nobody's making out of a table.
const NO_CONSTRAINTS: &str = "DO $$
DECLARE one record;
BEGIN
    FOR one IN SELECT conrelid::regclass AS tab, conname FROM pg_constraint
        WHERE contype IN ('f', 'c', 'x') AND conrelid <> 0 AND conparentid = 0 AND coninhcount = 0
            AND connamespace = 'public'::regnamespace
    LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', one.tab, one.conname);
    END LOOP;
END $$";

/// A column as the catalogue has it.
struct Found {
    name: String,
    kind: String,
}

/// Those that can be written.
async fn columns(database: &TestDatabase, table: &str) -> Vec<Found> {
    let query = format!(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = '{table}'::regclass \
         AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
    );
    let rows = database.rows(&query).await;
    rows.into_iter()
        .map(|row| {
            let [Some(name), Some(kind)] = <[_; 2]>::try_from(row).unwrap() else { panic!() };
            Found { name, kind }
        })
        .collect()
}

/// A value that no other column has, as SQL; texts say where they are from.
fn value(table: &str, column: &Found, word: &str, number: usize) -> String {
    let text = format!("{word}-{table}-{}-{number}", column.name);
    match column.kind.as_str() {
        "text" | "character varying" => format!("'{text}'"),
        "text[]" => format!("ARRAY['{text}']"),
        "jsonb" | "json" => format!("'{{\"{text}\": 1}}'"),
        "boolean" => "true".to_owned(),
        "smallint" => (20_000 + number).to_string(),
        "integer" | "bigint" | "numeric" => (70_000_000 + number).to_string(),
        "timestamp with time zone" => {
            format!("'2001-02-03T04:05:06Z'::timestamptz + interval '{number} minutes'")
        }
        "date" => format!("'1901-02-03'::date + {number}"),
        "uuid" => format!("'00000000-0000-4000-8000-{number:012}'"),
        "inet" | "cidr" => format!("'203.0.113.0/32'::inet + {}", number % 200),
        "bytea" => format!("sha256('{text}')"),
        other => panic!("{table}.{} is a {other}: say here what it may hold", column.name),
    }
}

/// Whether the map tells a column; `None` where it is nobody's.
fn told(table: &Table, column: &str) -> Option<bool> {
    let (_, what) = table.each().find(|(name, _)| *name == column)?;
    match what {
        Column::Personal(Care { export: Export::Told, .. }) => Some(true),
        Column::Personal(_) => Some(false),
        Column::Ours | Column::Id => None,
    }
}

/// A row of the customer in each table that is about customers, in place of whatever is there. Numbers
/// from `first` on tell its values from those of others.
async fn seed(
    database: &TestDatabase,
    customer: CustomerId,
    first: usize,
) -> BTreeMap<&'static str, usize> {
    let (mut number, mut seeded) = (first, BTreeMap::new());
    for table in personal::tables() {
        let Rows::OfCustomer { by, .. } = table.rows else { continue };
        // The key must open; messages are nobody's to write, and tell nothing.
        let any = table.each().any(|(column, _)| told(table, column).is_some());
        if table.name.contains('.') || !any {
            continue;
        }
        let (mut names, mut values) = (Vec::new(), Vec::new());
        for column in columns(database, table.name).await {
            number += 1;
            values.push(match told(table, &column.name) {
                _ if column.name == by[0] => format!("'{customer}'"),
                Some(true) => value(table.name, &column, "marker", number),
                Some(false) | None => value(table.name, &column, "hidden", number),
            });
            names.push(column.name);
        }
        let name = table.name;
        let statement = format!(
            "DELETE FROM {name} WHERE {} = '{customer}'; INSERT INTO {name} ({}) \
             OVERRIDING SYSTEM VALUE VALUES ({})",
            by[0],
            names.join(", "),
            values.join(", ")
        );
        database.execute(&statement).await;
        let count = table.each().filter(|(column, _)| told(table, column) == Some(true)).count();
        seeded.insert(name, count);
    }
    seeded
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_an_export_tells_every_column_that_the_map_tells_and_no_other() {
    let database = TestDatabase::new().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let [customer, merged, earlier, other] = [(); 4].map(|()| CustomerId(clock.new_id()));
    let client = database.client().await;
    for (id, name) in [(customer, "mai"), (merged, "mai2"), (earlier, "mai3"), (other, "stranger")]
    {
        insert_customer(&client, id.0, &format!("{name}@example.org")).await;
    }
    let service = database.database();
    let wrapping = WrappingKeys::new(&RootSecret::new([7; 32]), &[]);
    let keys = CustomerKeys::new(&service, &clock, &Arc::new(KeyRing::new(wrapping, KEYS_MAX)));
    let key = keys.of(customer).await.unwrap().expect("a customer has a key");
    database.execute(NO_CONSTRAINTS).await;
    let seeded = seed(&database, customer, 0).await;
    // One became another, and that one became the customer.
    for (first, from, into) in [(2_000, merged, customer), (4_000, earlier, merged)] {
        assert_eq!(seed(&database, from, first).await, seeded);
        let merge =
            format!("INSERT INTO customer_merges VALUES ('{from}', '{into}', '{{}}', now())");
        database.execute(&merge).await;
    }
    let waiting = format!(
        "INSERT INTO privacy_exports (id, customer_id, state, actor_kind, actor_id, attempt, tables_done, \
         tables_total, row_count, bytes, pieces, created_at) VALUES \
         (gen_random_uuid(), '{customer}', 'queued', 'customer', 'x', 0, 0, 0, 0, 0, 0, now())"
    );
    database.execute(&waiting).await;
    let connection = service.get().await.unwrap();
    let now = clock.now();
    let lease = rows::claim(&connection, now, now + TimeDelta::minutes(1)).await.unwrap().unwrap();
    let maker = Maker {
        database: service.clone(),
        customer_keys: keys.clone(),
        clock: clock.clone(),
        bytes_max: 1 << 24,
    };
    let made = maker.make(lease).await.unwrap();

    let reader = Reader::new(service.clone(), customer, key);
    let mut archive = Vec::new();
    for number in 0..made.pieces {
        let piece = reader.piece(lease.export(), number).await.unwrap().expect("a piece");
        archive.extend_from_slice(&piece);
    }
    assert_eq!(archive.len() as i64, made.bytes);
    let files = unzipped(&archive);
    let told = data(&files);
    let mut ids = [merged, earlier];
    ids.sort();
    assert_eq!(told["merged_customer_ids"], json!(ids));
    for one in [customer, merged, earlier] {
        let found = all_told(&database, one, &seeded, &told["tables"]).await;
        assert_eq!(found, seeded.values().sum::<usize>());
        assert!(found > 150, "only {found} columns");
    }

    // Nothing that is withheld, in any file; and each marker also on the page.
    for (name, text) in &files {
        assert!(!text.contains("hidden-"), "{name} tells what is withheld");
        assert!(!text.contains("stranger@"), "{name} tells of somebody else");
    }
    let markers = files["customer.json"].matches("marker-").count();
    assert!(markers > 60, "only {markers} markers");
    assert!(files["index.html"].matches("marker-").count() >= markers, "the page tells less");

    sealed_at_rest(&database, &archive).await;
}

/// That all that the map tells of one customer stands in `tables`, and nothing else; how many columns
/// that were.
async fn all_told(
    database: &TestDatabase,
    customer: CustomerId,
    seeded: &BTreeMap<&'static str, usize>,
    tables: &Value,
) -> usize {
    let mut missing = Vec::new();
    let mut found = 0;
    for table in personal::tables().filter(|table| seeded.contains_key(table.name)) {
        let Rows::OfCustomer { by, .. } = table.rows else { unreachable!() };
        let (name, by) = (table.name, by[0]);
        let rows = tables[name].as_array().cloned().unwrap_or_default();
        for (column, _) in table.each() {
            if told(table, column) != Some(true) {
                if rows.iter().any(|row| row.get(column).is_some()) {
                    missing.push(format!("{name}.{column} is told and should not be"));
                }
                continue;
            }
            let kept = format!(
                "SELECT to_jsonb(t.\"{column}\") FROM {name} AS t WHERE t.\"{by}\" = '{customer}' \
                 AND t.\"{column}\" IS NOT NULL ORDER BY ctid LIMIT 1"
            );
            let kept: Value = serde_json::from_str(&database.one(&kept).await).unwrap();
            if !rows.iter().any(|row| row[column] == kept) {
                missing.push(format!("{name}.{column}: {kept}"));
            }
            found += 1;
        }
    }
    assert!(missing.is_empty(), "of {customer}: {missing:#?}");
    found
}

/// A scan of the bytes as they lie in the table.
async fn sealed_at_rest(database: &TestDatabase, archive: &[u8]) {
    let pieces = database.column("SELECT encode(data, 'hex') FROM privacy_export_pieces").await;
    // With those that were seeded.
    assert_eq!(pieces.len(), 4);
    let sealed = pieces.iter().max_by_key(|piece| piece.len()).unwrap();
    assert!(sealed.starts_with("02"), "sealed by the customer's key");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for clear in [&archive[..16], &archive[archive.len() - 22..], b"customer.json", b"marker-"] {
        assert!(!sealed.contains(&hex(clear)), "{clear:?} lies in the clear");
    }
    let everywhere =
        "SELECT count(*) FROM privacy_export_pieces WHERE position('PK'::bytea IN data) = 1";
    assert_eq!(database.count(everywhere).await, 0);
}
