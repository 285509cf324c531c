//! The schema's history, embedded in the binary and applied by `customer-service migrate`.

use super::pool::{DatabaseSettings, connect_once};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Key of the advisory lock under which one process at a time migrates.
const LOCK: i64 = 0x6375_7374_6d69_6772;

/// Applies what has not been applied; answers with the versions applied now.
/// Must run on a multi-thread runtime.
///
/// # Errors
/// Those of connecting and of the migrations; what came before a failing one stays applied.
pub async fn run(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    // A migration may take longer than any request may.
    let settings = DatabaseSettings {
        statement_timeout: std::time::Duration::ZERO,
        lock_timeout: std::time::Duration::from_secs(30),
        ..settings.clone()
    };
    let mut connection = connect_once(&settings).await?;
    diesel::sql_query("SELECT pg_advisory_lock($1)")
        .bind::<diesel::sql_types::BigInt, _>(LOCK)
        .execute(&mut connection)
        .await?;
    connection.batch_execute("SET client_min_messages = warning").await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let applied = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| anyhow::anyhow!("a migration failed: {error}"))?;
    Ok(applied.iter().map(ToString::to_string).collect())
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

/// Versions that the database lacks; empty when it fits this binary.
///
/// # Errors
/// As [`run`].
pub async fn pending(settings: &DatabaseSettings) -> anyhow::Result<Vec<String>> {
    let connection = connect_once(settings).await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let pending = harness
        .pending_migrations(MIGRATIONS)
        .map_err(|error| anyhow::anyhow!("the schema's history cannot be read: {error}"))?;
    Ok(pending.iter().map(|migration| migration.name().to_string()).collect())
}
