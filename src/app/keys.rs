//! `customer-service key`: API keys of staff and services.

use super::{database_runtime, settings};
use crate::actors::workers::clock_watch::shared_clock;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::db;
use crate::db::audit::{OwnActor, OwnEntry};
use crate::http::principal::SCOPES;
use crate::security::tokens;
use anyhow::ensure;
use serde_json::{Value, json};

/// A key just made. `key` is shown once; only its hash is stored.
pub struct CreatedKey {
    pub id: String,
    pub name: String,
    pub scopes: Vec<String>,
    pub key: String,
}

/// Makes a key.
///
/// # Errors
/// An unknown scope, a name that is empty or too long, or those of the database.
pub fn create(config: &Config, name: String, scopes: Vec<String>) -> anyhow::Result<CreatedKey> {
    ensure!(!scopes.is_empty(), "a key needs at least one scope: {}", SCOPES.join(", "));
    for scope in &scopes {
        ensure!(
            SCOPES.contains(&scope.as_str()),
            "there is no scope {scope:?}; there are: {}",
            SCOPES.join(", ")
        );
    }
    let name = crate::domain::text::Label::parse(&name)
        .map_err(|fault| anyhow::anyhow!("the name {}", fault.detail))?;
    let (mut id, mut secret) = ([0; 10], [0; 32]);
    SystemClock.random(&mut id);
    SystemClock.random(&mut secret);
    let issued = tokens::staff_key(id, secret);
    database_runtime()?.block_on(async {
        let mut connection = db::pool::connect_once(&settings::database(config)).await?;
        let clock = shared_clock(&connection).await?;
        let row = db::staff_keys::NewStaffKey {
            id: issued.id.clone(),
            name: name.as_str().to_owned(),
            secret_hash: issued.hash,
            scopes: scopes.clone(),
            created_at: clock.now(),
        };
        // Without the name, which may be a person's.
        let data = json!({ "id": row.id, "scopes": row.scopes });
        let entry = entry(&clock, "staff_key.created", data);
        db::staff_keys::insert(&mut connection, &row, &entry).await?;
        anyhow::Ok(())
    })?;
    Ok(CreatedKey {
        id: issued.id,
        name: name.as_str().to_owned(),
        scopes,
        key: issued.key.as_str().to_owned(),
    })
}

/// A key as `key list` shows it.
pub struct ListedKey {
    pub id: String,
    pub name: String,
    pub scopes: Vec<String>,
    pub revoked: bool,
}

/// All keys, oldest first.
///
/// # Errors
/// Those of the database.
pub fn list(config: &Config) -> anyhow::Result<Vec<ListedKey>> {
    let rows = database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::database(config)).await?;
        anyhow::Ok(db::staff_keys::list(&connection).await?)
    })?;
    Ok(rows
        .into_iter()
        .map(|row| ListedKey {
            id: row.id,
            name: row.name,
            scopes: row.scopes,
            revoked: row.revoked_at.is_some(),
        })
        .collect())
}

/// Ends a key: nodes refuse it within five seconds.
///
/// # Errors
/// No such key that is still good, or those of the database.
pub fn revoke(config: &Config, id: &str) -> anyhow::Result<()> {
    let revoked = database_runtime()?.block_on(async {
        let mut connection = db::pool::connect_once(&settings::database(config)).await?;
        let clock = shared_clock(&connection).await?;
        let entry = entry(&clock, "staff_key.revoked", json!({ "id": id }));
        anyhow::Ok(db::staff_keys::revoke(&mut connection, id, &entry).await?)
    })?;
    ensure!(revoked, "there is no such key, or it was revoked before");
    Ok(())
}

fn entry(clock: &impl Clock, action: &'static str, data: Value) -> OwnEntry {
    let actor = OwnActor::Operator;
    OwnEntry { id: clock.new_id(), actor, action, data, occurred_at: clock.now() }
}
