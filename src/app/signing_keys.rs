//! `customer-service key signing` and `key rotate-signing`: the keys that sign access tokens.
//!
//! The command writes rows; the running nodes read them and change at the instant they tell.

use super::{database_runtime, settings};
use crate::actors::signing::{self, EMERGENCY_LEAD};
use crate::actors::workers::clock_watch::shared_clock;
use crate::clock::Clock;
use crate::config::Config;
use crate::db;
use crate::db::audit::OwnActor;
use crate::db::signing_keys::Rotated;
use crate::security::keys::RootSecret;
use crate::security::sealing::Sealer;
use anyhow::{bail, ensure};
use chrono::{DateTime, Utc};

/// A key as `key signing list` shows it.
pub struct ListedKey {
    pub kid: String,
    /// `next`, `current`, `retiring`, `ended` or `revoked`.
    pub stage: &'static str,
    pub published_at: DateTime<Utc>,
    pub signs_from: DateTime<Utc>,
    /// When it stops to sign, or stopped.
    pub retired_at: Option<DateTime<Utc>>,
    /// When what it signed stops to count.
    pub ends_at: Option<DateTime<Utc>>,
}

/// All keys, the newest first.
///
/// # Errors
/// Those of the database.
pub fn list(config: &Config) -> anyhow::Result<Vec<ListedKey>> {
    let (rows, now) = database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::database(config)).await?;
        let clock = shared_clock(&connection).await?;
        anyhow::Ok((db::signing_keys::load_all(&connection).await?, clock.now()))
    })?;
    let overlap = settings::signing(config).overlap;
    let listed = rows.into_iter().map(|row| ListedKey {
        stage: signing::stage(&row, overlap, now).as_str(),
        ends_at: signing::ends(&row, overlap),
        kid: row.kid,
        published_at: row.created_at,
        signs_from: row.signs_from,
        retired_at: row.retired_at,
    });
    Ok(listed.collect())
}

/// A key just made, and what becomes of the ones before.
pub struct NewKey {
    pub kid: String,
    pub signs_from: DateTime<Utc>,
    /// The names of the keys that were revoked.
    pub revoked: Vec<String>,
}

/// Publishes a key that will sign as soon as every cached list of keys has it.
///
/// # Errors
/// The last key does not sign yet, another root key than the running nodes', or those of the
/// database.
pub fn rotate(config: &Config) -> anyhow::Result<NewKey> {
    let timing = settings::signing(config);
    let sealer = sealer(config);
    let (kid, signs_from) = database_runtime()?.block_on(async {
        let mut connection = db::pool::connect_once(&settings::database(config)).await?;
        let clock = shared_clock(&connection).await?;
        fits(&connection, &clock, &sealer, timing).await?;
        let key = signing::make(&clock, &sealer, timing.lead)?;
        let entry = signing::entry(&clock, OwnActor::Operator, "signing_key.rotated", &key);
        match db::signing_keys::rotate(&mut connection, &key, key.created_at, &entry).await? {
            Rotated::Done => Ok((key.kid, key.signs_from)),
            Rotated::TooEarly { kid, signs_from } => {
                bail!("the key {kid} is published already and signs from {signs_from}")
            }
        }
    })?;
    Ok(NewKey { kid, signs_from, revoked: Vec::new() })
}

/// Revokes every key and puts a new one in their place, as soon as all nodes can know of it.
///
/// # Errors
/// Another root key than the running nodes', or those of the database.
pub fn replace(config: &Config) -> anyhow::Result<NewKey> {
    let sealer = sealer(config);
    database_runtime()?.block_on(async {
        let mut connection = db::pool::connect_once(&settings::database(config)).await?;
        let clock = shared_clock(&connection).await?;
        fits(&connection, &clock, &sealer, settings::signing(config)).await?;
        let key = signing::make(&clock, &sealer, EMERGENCY_LEAD)?;
        let entry = signing::entry(&clock, OwnActor::Operator, "signing_key.replaced", &key);
        let revoked = db::signing_keys::replace_all(&mut connection, &key, &entry).await?;
        Ok(NewKey { kid: key.kid, signs_from: key.signs_from, revoked })
    })
}

fn sealer(config: &Config) -> Sealer {
    Sealer::new(&RootSecret::new(*config.secrets.root_key.expose()))
}

/// A key sealed with another root key would be one that no node can sign with.
async fn fits(
    connection: &db::Connection,
    clock: &dyn Clock,
    sealer: &Sealer,
    timing: signing::Settings,
) -> anyhow::Result<()> {
    let stored = db::signing_keys::load_all(connection).await?;
    ensure!(!stored.is_empty(), "there is no signing key yet: the service makes it at its start");
    signing::key_set(&stored, sealer, timing.overlap, clock.now())?;
    Ok(())
}
