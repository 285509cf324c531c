//! The schema's history, embedded in the binary and applied by `customer-service migrate`, also
//! while the version before serves: a migration that waits for a table makes everybody wait who
//! comes after it, so it waits for less than a request may, gives way, and tries again.

use super::Connection;
use super::pool::{DatabaseSettings, connect_once};
use diesel::QueryableByName;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeSet;
use std::time::Duration;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Key of the advisory lock under which one process at a time migrates.
const LOCK: i64 = 0x6375_7374_6d69_6772;

/// The longest wait of a migration for a lock; never more than half of what a request waits.
const LOCK_WAIT_MAX: Duration = Duration::from_millis(500);

/// Rest before a migration that gave way is tried again, and how often that is done.
const REST: Duration = Duration::from_secs(1);
const TRIES: u32 = 120;

/// What PostgreSQL says when a lock was not to be had in time.
const NO_LOCK: &str = "due to lock timeout";

/// Applies what has not been applied; answers with the versions applied now.
/// Must run on a multi-thread runtime.
///
/// # Errors
/// Those of connecting and of the migrations; what came before a failing one stays applied.
pub async fn run(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    run_all(settings, || MIGRATIONS).await
}

/// As [`run`], of another history: for tests of how a migration gets on with a service that runs.
///
/// # Errors
/// As [`run`].
pub async fn run_all<S: MigrationSource<Pg>>(
    settings: &DatabaseSettings,
    migrations: impl Fn() -> S,
) -> anyhow::Result<Vec<String>> {
    let mut connection = connect_once(&patient(settings)).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<BigInt, _>(LOCK)
        .execute(&mut connection)
        .await?;
    let wait = (settings.lock_timeout / 2).min(LOCK_WAIT_MAX).as_millis();
    let set = format!("SET client_min_messages = warning; SET lock_timeout = {wait}");
    connection.batch_execute(&set).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let mut applied = Vec::new();
    let mut tries = 0;
    while harness
        .has_pending_migration(migrations())
        .map_err(|error| anyhow::anyhow!("the migrations cannot be listed: {error}"))?
    {
        match harness.run_next_migration(migrations()) {
            Ok(version) => applied.push(version.to_string()),
            Err(error) if error.to_string().contains(NO_LOCK) && tries < TRIES => {
                tries += 1;
                tracing::info!(tries, "a migration gives way to whoever holds a table");
                tokio::time::sleep(REST).await;
            }
            Err(error) => anyhow::bail!("a migration failed: {error}"),
        }
    }
    Ok(applied)
}

/// A migration may take longer than any request may.
pub(super) fn patient(settings: &DatabaseSettings) -> DatabaseSettings {
    DatabaseSettings {
        statement_timeout: Duration::ZERO,
        lock_timeout: Duration::from_secs(30),
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
