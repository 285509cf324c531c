//! The schema's history, embedded in the binary and applied by `customer-service migrate`.

use super::Connection;
use super::pool::{DatabaseSettings, connect_once};
use diesel::QueryableByName;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeSet;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Key of the advisory lock under which one process at a time migrates.
const LOCK: i64 = 0x6375_7374_6d69_6772;

/// Applies what has not been applied; answers with the versions applied now.
/// Must run on a multi-thread runtime.
///
/// # Errors
/// Those of connecting and of the migrations; what came before a failing one stays applied.
pub async fn run(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    let mut connection = connect_once(&patient(settings)).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(&mut connection)
        .await?;
    connection.batch_execute("SET client_min_messages = warning").await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let applied = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| anyhow::anyhow!("a migration failed: {error}"))?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

/// A migration may take longer than any request may.
pub(super) fn patient(settings: &DatabaseSettings) -> DatabaseSettings {
    DatabaseSettings {
        statement_timeout: std::time::Duration::ZERO,
        lock_timeout: std::time::Duration::from_secs(30),
        ..settings.clone()
    }
}

/// Waits until nobody else migrates, and keeps others from it until the transaction ends.
pub(super) async fn lock(connection: &mut Connection) -> diesel::QueryResult<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(connection)
        .await
        .map(|_| ())
}

/// Undoes every migration, newest first: for tests that prove each `down.sql`.
///
/// # Errors
/// As [`run`].
pub async fn revert_all(settings: &DatabaseSettings) -> anyhow::Result<()> {
    let connection = connect_once(settings).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    harness
        .revert_all_migrations(MIGRATIONS)
        .map_err(|error| anyhow::anyhow!("a migration could not be undone: {error}"))?;
    Ok(())
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Versions that the database lacks; empty when it fits this binary. Needs no right but to read.
///
/// # Errors
/// Those of connecting and of the query.
pub async fn pending(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    let mut connection = connect_once(settings).await?;
    // diesel's own question would make the table, which only the owner may.
    let kept: Vec<Applied> = diesel::sql_query(
        "SELECT c.relname::text AS version FROM pg_class AS c \
         WHERE c.oid = to_regclass('__diesel_schema_migrations')",
    )
    .load(&mut connection)
    .await?;
    let applied: Vec<Applied> = match kept.is_empty() {
        true => Vec::new(),
        false => {
            let all = "SELECT version::text AS version FROM __diesel_schema_migrations";
            diesel::sql_query(all).load(&mut connection).await?
        }
    };
    let applied: BTreeSet<_> = applied.into_iter().map(|row| row.version).collect();
    let mut known: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS
        .migrations()
        .map_err(|error| anyhow::anyhow!("the migrations cannot be listed: {error}"))?;
    known.retain(|migration| !applied.contains(&migration.name().version().to_string()));
    let mut names: Vec<_> = known.iter().map(|migration| migration.name().to_string()).collect();
    names.sort();
    Ok(names)
}
