//! Making the parts and starting what lives, in the order of their dependence.

use super::{readiness, settings};
use crate::actors::batch::{AfterCommit, Batches};
use crate::actors::customers::Customers;
use crate::actors::registration::Registration;
use crate::actors::runtime::{Escalated, Escalation, Runtime};
use crate::actors::sessions::Sessions;
use crate::actors::shard::Shards;
use crate::actors::sign_in::SignInGate;
use crate::actors::worker::Workers;
use crate::brokers::limits::Limiter;
use crate::brokers::rabbit::Rabbit;
use crate::brokers::redis::Redis;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Database};
use crate::http::services::Services;
use crate::http::staff_keys::StaffKeys;
use crate::mail::transport::Transport;
use crate::security::access::AccessTokens;
use crate::security::hashing::HashingPool;
use crate::security::keys::RootSecret;
use crate::security::revoked::RevokedSessions;
use crate::security::sealing::Sealer;
use crate::security::signing::{KeySet, PublicKey, SigningKey};
use anyhow::{Context, ensure};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What exists before any actor does. Connections among it live on the database's runtime.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub database: Database,
    pub redis: Option<Redis>,
    pub rabbit: Option<Rabbit>,
    pub limiter: Arc<Limiter>,
    pub transport: Arc<Transport>,
    pub root: RootSecret,
    pub access: Arc<AccessTokens>,
    pub revoked: Arc<RevokedSessions>,
    pub hashing: Arc<HashingPool>,
    pub prometheus: PrometheusHandle,
}

/// What lives until the end, and what ends it.
pub struct Running {
    pub services: Services,
    pub shards: Shards<Batches>,
    pub workers: Workers,
    pub runtime: Runtime,
    pub hashing: Arc<HashingPool>,
    pub rabbit: Option<Rabbit>,
    pub escalated: watch::Receiver<Option<Escalated>>,
}

/// Makes the parts and checks what must be true before anybody is served. On the database's
/// runtime.
///
/// # Errors
/// A schema that is not this version's, default groups that do not exist, settings that do not
/// fit, a signing key that the configured root key does not open.
pub async fn parts(
    config: Arc<Config>,
    clock: Arc<dyn Clock>,
    prometheus: PrometheusHandle,
) -> anyhow::Result<Parts> {
    let database_settings = settings::database(&config);
    let pending = db::migrations::pending(&database_settings)
        .await
        .context("the database cannot be asked for its schema")?;
    ensure!(
        pending.is_empty(),
        "the schema lacks {}: run `customer-service migrate`",
        pending.join(", ")
    );
    let database = Database::new(database_settings, Handle::current());
    check_groups(&config, &database).await?;
    let root = RootSecret::new(*config.secrets.root_key.expose());
    let keys = signing_keys(&database, &root, &*clock).await?;
    let rabbit = settings::rabbit(&config)?;
    let redis = settings::redis(&config)?;
    Ok(Parts {
        limiter: Arc::new(settings::limiter(&config, redis.clone())),
        transport: Arc::new(settings::mail(&config, rabbit.clone())?),
        access: Arc::new(AccessTokens::new(settings::access(&config), keys)),
        revoked: Arc::new(RevokedSessions::new()),
        hashing: Arc::new(HashingPool::start(settings::hashing(&config))?),
        clock,
        database,
        redis,
        rabbit,
        root,
        prometheus,
    })
}

/// Rule L6: a default that does not exist would refuse every registration.
async fn check_groups(config: &Config, database: &Database) -> anyhow::Result<()> {
    let customers = &config.customers;
    let defaults = [
        ("customers.default_group_individual", &customers.default_group_individual),
        ("customers.default_group_business", &customers.default_group_business),
    ];
    for (key, code) in defaults {
        let code = code.clone();
        let asked = code.clone();
        let exists = database
            .read(move |connection| {
                let code = asked.clone();
                Box::pin(async move { db::groups::exists(connection, &code).await })
            })
            .await?;
        ensure!(exists, "{key} names the group {code:?}, which does not exist in customer_groups");
    }
    Ok(())
}

/// The stored keys, or the first one made now. Of several nodes that start at once, one makes it.
async fn signing_keys(
    database: &Database,
    root: &RootSecret,
    clock: &dyn Clock,
) -> anyhow::Result<KeySet> {
    let sealer = Sealer::new(root);
    let mut connection = database.get().await?;
    let mut stored = db::signing_keys::load_all(&connection).await?;
    if stored.iter().all(|key| key.retired_at.is_some()) {
        let mut seed = [0; 32];
        clock.random(&mut seed);
        let key = SigningKey::generate(seed);
        let row = db::signing_keys::StoredKey {
            kid: key.kid().to_owned(),
            sealed_private_key: key.seal(&sealer)?,
            public_key: key.public().as_bytes().to_vec(),
            created_at: clock.now(),
            retired_at: None,
        };
        db::signing_keys::insert_if_none(&mut connection, &row).await?;
        stored = db::signing_keys::load_all(&connection).await?;
    }
    let current = stored
        .iter()
        .find(|key| key.retired_at.is_none())
        .context("there is no signing key, although one was just made")?;
    let signing = SigningKey::open(&current.kid, &current.sealed_private_key, &sealer)
        .context("secrets.root_key does not open the stored signing key: is it another one?")?;
    let older = stored.iter().filter(|key| key.kid != current.kid);
    let older = older
        .map(|key| {
            let bytes: Option<&[u8; 32]> = key.public_key.as_slice().try_into().ok();
            bytes.and_then(PublicKey::from_bytes).context("a stored public key is damaged")
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(KeySet::new(signing, older))
}

/// Starts workers, shards and what handlers work with. On the `System`'s thread.
///
/// # Errors
/// When the operating system gives no thread.
pub fn start(config: &Arc<Config>, parts: Parts, database: Handle) -> anyhow::Result<Running> {
    let (escalation, escalated) = Escalation::new();
    let runtime = Runtime::new(database, settings::runtime(config), escalation)?;
    let dirty = Arc::new(AtomicU64::new(0));
    let (workers, after) = start_workers(config, &parts, &runtime, dirty);
    let batches = Arc::new(Batches {
        database: parts.database.clone(),
        clock: parts.clock.clone(),
        keep_keys: config.idempotency.keep_hours.delta(),
        after,
    });
    let shards = runtime.spawn_shards("customers", settings::shards(config), &batches);
    let customers = Customers::new(shards.clone(), config.shards.call_timeout_ms.duration());
    let services = services(config, &parts, &runtime, customers);
    Ok(Running {
        services,
        shards,
        workers,
        runtime,
        hashing: parts.hashing,
        rabbit: parts.rabbit,
        escalated,
    })
}
