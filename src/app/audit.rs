//! `customer-service audit …`, and the worker that seals the trail.

use super::compose::Parts;
use super::{database_runtime, settings};
use crate::actors::audit_trail::{self, Shown, Verdict};
use crate::actors::workers::audit_sealer::AuditSealer;
use crate::config::Config;
use crate::db;
use crate::domain::audit_chain::{Hash, Walk};
use crate::security::audit_seal::{AuditKey, AuditPublicKey};
use crate::security::keys::RootSecret;
use std::sync::Arc;
use uuid::Uuid;

/// The public key that checkpoints of this service are signed by.
pub fn key(config: &Config) -> AuditPublicKey {
    signer(config).public()
}

fn signer(config: &Config) -> AuditKey {
    AuditKey::new(&RootSecret::new(*config.secrets.root_key.expose()))
}

/// Walks along the chain. Trusted is the service's own key, and those that are given.
///
/// # Errors
/// Those of the database.
pub fn verify(
    config: &Config,
    trusted: Vec<AuditPublicKey>,
    noted: Option<(i64, Hash)>,
    told: impl FnMut(&Walk),
) -> anyhow::Result<Verdict> {
    let mut keys = trusted;
    keys.push(key(config));
    database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::unhurried(config)).await?;
        db::audit_chain::see_one_moment(&connection).await?;
        Ok(audit_trail::verify(&connection, &keys, noted, told).await?)
    })
}

/// The proof that an entry is in the chain.
///
/// # Errors
/// Those of the database.
pub fn prove(config: &Config, entry: Uuid) -> anyhow::Result<Shown> {
    database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::database(config)).await?;
        Ok(audit_trail::prove(&connection, entry).await?)
    })
}

/// The worker that seals.
pub(super) fn sealer(
    config: &Config,
    parts: &Parts,
) -> impl Fn() -> AuditSealer + Send + Sync + 'static {
    let key = Arc::new(AuditKey::new(&parts.root));
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    let period = config.audit.seal_seconds.duration();
    move || AuditSealer::new(database.clone(), clock.clone(), key.clone(), period)
}
