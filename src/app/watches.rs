//! What every node follows by itself: sessions that ended, and the keys that sign tokens.

use super::compose::Parts;
use super::settings;
use crate::actors::workers::revocation_watch::RevocationWatch;
use crate::actors::workers::signing_watch::SigningWatch;
use crate::config::Config;
use crate::security::sealing::Sealer;
use std::sync::Arc;
use tokio::runtime::Handle;

/// Reads the revoked sessions once, before anybody is served.
///
/// # Errors
/// Those of the read.
pub async fn know_revocations(
    config: &Config,
    parts: &Parts,
    database: &Handle,
) -> anyhow::Result<()> {
    let watch = revocation_watch(config, parts)();
    database.spawn(async move { watch.refresh().await }).await??;
    Ok(())
}

pub fn revocation_watch(
    config: &Config,
    parts: &Parts,
) -> impl Fn() -> RevocationWatch + Send + Sync + 'static {
    let (database, clock, revoked) =
        (parts.database.clone(), parts.clock.clone(), parts.revoked.clone());
    let life = config.sessions.access_token_minutes.delta();
    let period = config.sessions.revocation_poll_ms.duration();
    move || RevocationWatch::new(database.clone(), clock.clone(), revoked.clone(), life, period)
}

pub fn signing_watch(
    config: &Config,
    parts: &Parts,
) -> impl Fn() -> SigningWatch + Send + Sync + 'static {
    let (database, clock, access) =
        (parts.database.clone(), parts.clock.clone(), parts.access.clone());
    let (sealer, settings) = (Arc::new(Sealer::new(&parts.root)), settings::signing(config));
    move || {
        let (database, clock) = (database.clone(), clock.clone());
        SigningWatch::new(database, clock, sealer.clone(), access.clone(), settings)
    }
}
