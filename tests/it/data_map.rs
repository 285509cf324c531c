//! The one map of personal data against the database as the migrations make it (rule P3), and the
//! page that is written from both.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::personal::{
    self, Care, Column, Erasure, Export, Fate, Form, Rows, SealedBy, Table,
};

use crate::harness::db::{TestDatabase, insert_customer};

/// Tables in the sense of the map: no partitions, nothing of PostgreSQL's or of the migrations' own.
const TABLES: &str = "c.relkind IN ('r', 'p') AND NOT c.relispartition \
    AND c.relname <> '__diesel_schema_migrations' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// A table's name on the map, of `pg_class AS c` and `pg_namespace AS n`.
const NAME: &str =
    "CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END";

/// `table.column` of every column there is.
async fn columns(database: &TestDatabase) -> BTreeSet<String> {
    let columns = format!(
        "SELECT {NAME} || '.' || a.attname FROM pg_class AS c \
         JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE {TABLES}"
    );
    database.column(&columns).await.into_iter().collect()
}

/// What the database has and the map has not, and the other way round.
async fn differences(database: &TestDatabase) -> [Vec<String>; 2] {
    let there = columns(database).await;
    let mapped: BTreeSet<_> = personal::tables()
        .flat_map(|table| table.each().map(move |(column, _)| format!("{}.{column}", table.name)))
        .collect();
    [there.difference(&mapped).cloned().collect(), mapped.difference(&there).cloned().collect()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_no_column_comes_or_goes_without_being_on_the_map() {
    let database = TestDatabase::new().await;
    let [unmapped, gone] = differences(&database).await;
    assert!(
        unmapped.is_empty() && gone.is_empty(),
        "say in src/domain/personal what they are to a person: {unmapped:#?}\n\
         and take out what is no more: {gone:#?}"
    );
    // And it would tell.
    database
        .execute(
            "ALTER TABLE customers ADD COLUMN nickname text; ALTER TABLE addresses DROP COLUMN label; \
             CREATE TABLE diaries (entry text); CREATE SCHEMA hidden; CREATE TABLE hidden.letters (body text)",
        )
        .await;
    let [unmapped, gone] = differences(&database).await;
    assert_eq!(unmapped, ["customers.nickname", "diaries.entry", "hidden.letters.body"]);
    assert_eq!(gone, ["addresses.label"]);
}

/// A table that refers to customers is about them, and is found by just those columns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_whatever_refers_to_a_customer_is_found_by_it() {
    let database = TestDatabase::new().await;
    let referring = format!(
        "SELECT DISTINCT {NAME}, a.attname FROM pg_class AS c \
         JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         WHERE {TABLES} AND (a.attname = 'customer_id' OR EXISTS (SELECT FROM pg_constraint AS k \
         WHERE k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid = 'customers'::regclass \
         AND a.attnum = ANY (k.conkey))) ORDER BY 1, 2"
    );
    let rows = database.rows(&referring).await;
    assert!(rows.len() > 25, "{rows:?}");
    for row in rows {
        let [Some(table), Some(column)] = &row[..] else { panic!("{row:?}") };
        let found = personal::tables().find(|known| known.name == table).map(|known| known.rows);
        assert!(
            matches!(found, Some(Rows::OfCustomer { by, .. }) if by.contains(&column.as_str())),
            "{table}.{column} names a customer; the map says {found:?}"
        );
    }
}

/// What the map leaves in rows that stay is what their constraints let stand there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_rows_that_stay_take_what_erasure_leaves_in_them() {
    let database = TestDatabase::new().await;
    let id = SystemClock.new_id();
    insert_customer(&database.client().await, id, "mai@example.org").await;
    let erasure = format!(
        "INSERT INTO erasures (id, customer_id, state, requested_by, status_before, \
         requested_at, due_at, legal_due_at, look_at) \
         VALUES ('{id}', '{id}', 'scheduled', 'owner', 'active', now(), now(), now(), now())"
    );
    database.execute(&erasure).await;
    let mut tried = 0;
    for table in personal::tables() {
        let Rows::OfCustomer { by, fate: Fate::Kept(_) } = table.rows else { continue };
        let left: Vec<_> = table
            .each()
            .filter_map(|(column, what)| match what {
                Column::Personal(Care { erasure: Erasure::Set(value), .. }) => {
                    Some(format!("{column} = {}", value.as_sql()))
                }
                _ => None,
            })
            .collect();
        if left.is_empty() {
            continue;
        }
        let (name, by) = (table.name, by[0]);
        let erase = format!("UPDATE {name} SET {} WHERE {by} = '{id}'", left.join(", "));
        database.execute(&erase).await;
        let named = format!(
            "SELECT count(*) FROM {name} AS t WHERE {by} = '{id}' AND t::text !~* 'mai@|Lan|Nguyễn'"
        );
        assert_eq!(database.count(&named).await, 1, "{name}");
        tried += 1;
    }
    assert!(tried > 0);
}

/// Hashes and what is sealed are no text that somebody could read, but for the standard's own form
/// of a password's hash, and for envelopes, whose text is theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p3_what_is_sealed_or_hashed_is_kept_as_bytes() {
    let database = TestDatabase::new().await;
    for table in personal::tables() {
        for (column, what) in table.each() {
            let Column::Personal(care) = what else { continue };
            let passwords = matches!(
                (table.name, column),
                ("passwords", "hash") | ("one_time_tokens", "password_hash")
            );
            let envelopes = column == "data" && care.form == Form::Sealed(SealedBy::Customer);
            if care.form == Form::Clear || passwords || envelopes {
                continue;
            }
            let kind = format!(
                "SELECT format_type(atttypid, atttypmod) FROM pg_attribute \
                 WHERE attrelid = '{}'::regclass AND attname = '{column}'",
                table.name
            );
            assert_eq!(database.one(&kind).await, "bytea", "{}.{column}", table.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_the_map_is_what_the_map_says() {
    let database = TestDatabase::new().await;
    let generated = page(&database).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/data-map.md");
    if std::env::var_os("UPDATE_DATA_MAP").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "docs/data-map.md differs: UPDATE_DATA_MAP=1 cargo test --test it data_map writes it anew"
    );
}

const INTRODUCTION: &str = "\
# Data map

Every column of every table, and what it is to a person. Generated from `src/domain/personal` and the comments of the database: `UPDATE_DATA_MAP=1 cargo test --test it data_map` writes it anew, and a test fails when a column is missing here or is no more.

- **Kind**: *own* tells nothing of a person; *id* names a customer or a staff key and nobody once no row tells who that is; *personal* is all else. Personal values are *clear*, *sealed* (encrypted, with the key that is named), a *blind index* (a keyed hash: an equal value is found, nothing is read) or a *digest* (a hash of a secret that somebody shows).
- **Export**: whether its owner gets the value with all else that is kept of him, or why not.
- **Erasure**: what is left of the value when its owner is erased.

The export (`docs/export.md`) is made of this map. What stands under *erasure* is what an erasure does: its statement is made from this map too ([erasure.md](erasure.md)).
";

async fn page(database: &TestDatabase) -> String {
    let (mut text, mut counts) = (String::new(), [0; 3]);
    let mut tables: Vec<_> = personal::tables().collect();
    tables.sort_by_key(|table| table.name);
    for table in &tables {
        for (_, what) in table.each() {
            counts[match what {
                Column::Ours => 0,
                Column::Id => 1,
                Column::Personal(_) => 2,
            }] += 1;
        }
        section(database, table, &mut text).await;
    }
    let [own, ids, personal] = counts;
    format!(
        "{INTRODUCTION}\n{} tables, {} columns: {personal} personal, {ids} ids, {own} own.\n{text}",
        tables.len(),
        own + ids + personal
    )
}

async fn section(database: &TestDatabase, table: &Table, text: &mut String) {
    let name = table.name;
    let about = format!("SELECT obj_description('{name}'::regclass, 'pg_class')");
    let about = database.one(&about).await;
    let rows = match table.rows {
        Rows::OfCustomer { by, fate } => {
            let by = by.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ");
            match fate {
                Fate::Deleted => format!("Rows of a customer, by {by}; erasure deletes them."),
                Fate::Kept(why) => format!("Rows of a customer, by {by}; they stay: {why}."),
            }
        }
        Rows::Found(how) => format!("Rows of a customer, found {how}; erasure deletes them."),
        Rows::Passing(when) => format!("Rows of nobody who can be told: {when}."),
        Rows::Installation => "Rows of the shop, about no customer.".to_owned(),
    };
    writeln!(text, "\n## {name}\n\n{about}. {rows}\n").unwrap();
    writeln!(text, "| Column | What | Kind | Export | Erasure |\n|---|---|---|---|---|").unwrap();
    let comments = format!(
        "SELECT attname, coalesce(col_description(attrelid, attnum), '') FROM pg_attribute \
         WHERE attrelid = '{name}'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    );
    for row in database.rows(&comments).await {
        let [Some(column), Some(comment)] = &row[..] else { panic!("{row:?}") };
        let what = table.each().find(|(known, _)| known == column);
        let (_, what) = what.unwrap_or_else(|| panic!("{name}.{column} is not on the map"));
        let (kind, export, erasure) = cells(what);
        let comment = comment.replace('|', "\\|");
        writeln!(text, "| `{column}` | {comment} | {kind} | {export} | {erasure} |").unwrap();
    }
}

fn cells(what: Column) -> (&'static str, String, String) {
    let care = match what {
        Column::Ours => return ("own", "–".to_owned(), "–".to_owned()),
        Column::Id => return ("id", "–".to_owned(), "–".to_owned()),
        Column::Personal(care) => care,
    };
    let kind = match care.form {
        Form::Clear => "personal, clear",
        Form::Sealed(SealedBy::Root) => "personal, sealed (root key)",
        Form::Sealed(SealedBy::Wrapping) => "personal, sealed (wrapping key)",
        Form::Sealed(SealedBy::Customer) => "personal, sealed (customer's key)",
        Form::BlindIndex => "personal, blind index",
        Form::Digest => "personal, digest",
    };
    let export = match care.export {
        Export::Told => "yes".to_owned(),
        Export::Withheld(why) => format!("no: {why}"),
    };
    let erasure = match care.erasure {
        Erasure::WithRow => "goes with the row".to_owned(),
        Erasure::Set(value) => format!("`{}`", value.as_sql()),
        Erasure::Follows => "follows from what is left beside it".to_owned(),
        Erasure::Stays(why) => format!("stays: {why}"),
    };
    (kind, export, erasure)
}
