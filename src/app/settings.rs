//! From configuration to the settings of each part: the parts do not know each other's keys.

use crate::actors::runtime::{Backoff, Intensity, RuntimeSettings};
use crate::actors::shard::ShardSettings;
use crate::brokers::limits::{Limiter, OnFailure};
use crate::brokers::rabbit::{self, Rabbit};
use crate::brokers::redis::{self, Redis};
use crate::config::{Config, MailTransport, OnRedisFailure};
use crate::db::DatabaseSettings;
use crate::domain::session::SessionPolicy;
use crate::domain::throttle::ThrottlePolicy;
use crate::mail::transport::{self, Transport};
use crate::security::access::AccessSettings;
use crate::security::hashing::HashingSettings;
use anyhow::Context;
use secrecy::SecretString;
use std::time::Duration;

/// Longest silence of an actor before its thread counts as blocked for good.
const STALL_MAX: Duration = Duration::from_secs(15);

/// Connections to Redis: commands are multiplexed, so a few are many.
const REDIS_POOL: u32 = 4;

/// For one mail: connection, TLS, sign-in and dialogue.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// Clocks of nodes may differ by this much.
const ACCESS_LEEWAY: Duration = Duration::from_secs(2);

/// Verified access tokens remembered: about 500 bytes each.
const ACCESS_CACHE_MAX: usize = 20_000;

pub fn database(config: &Config) -> DatabaseSettings {
    let database = &config.database;
    DatabaseSettings {
        url: database.url.expose().to_owned(),
        pool_size: database.pool_size,
        acquire_timeout: database.acquire_timeout_ms.duration(),
        connect_timeout: database.connect_timeout_ms.duration(),
        statement_timeout: database.statement_timeout_ms.duration(),
        lock_timeout: database.lock_timeout_ms.duration(),
        max_connection_age: database.max_connection_age_minutes.duration(),
    }
}

pub fn runtime(config: &Config) -> RuntimeSettings {
    let shards = &config.shards;
    RuntimeSettings {
        arbiters: shards.arbiters,
        backoff: Backoff {
            first: Duration::from_millis(50),
            max: Duration::from_secs(30),
            jitter: rand::random::<f64>,
        },
        intensity: Intensity {
            failures: shards.restart_intensity as usize,
            period: shards.restart_period_seconds.duration(),
        },
        stall_max: STALL_MAX,
    }
}

pub fn shards(config: &Config) -> ShardSettings {
    let shards = &config.shards;
    ShardSettings {
        actors: shards.actors,
        queue_max: shards.queue_max,
        batch_max: shards.batch_max,
        // Every statement and lock has a limit of its own; this one catches a dead connection.
        batch_time_max: shards.call_timeout_ms.duration() * 2,
    }
}

pub fn hashing(config: &Config) -> HashingSettings {
    let hashing = &config.hashing;
    HashingSettings {
        threads: hashing.threads,
        queue_max: hashing.queue_max,
        deadline: hashing.deadline_ms.duration(),
        memory_kib: hashing.memory_kib,
        passes: hashing.passes,
        lanes: hashing.lanes,
    }
}

pub fn access(config: &Config) -> AccessSettings {
    AccessSettings {
        issuer: config.tokens.issuer.clone(),
        audience: config.tokens.audience.clone(),
        lifetime: config.sessions.access_token_minutes.duration(),
        leeway: ACCESS_LEEWAY,
        cache_max: ACCESS_CACHE_MAX,
    }
}

pub fn sessions(config: &Config) -> SessionPolicy {
    SessionPolicy {
        sliding: config.sessions.refresh_days.delta(),
        absolute: config.sessions.absolute_days.delta(),
        reuse_grace: config.sessions.reuse_grace_seconds.delta(),
    }
}

pub fn throttle(config: &Config) -> ThrottlePolicy {
    let sign_in = &config.sign_in;
    ThrottlePolicy {
        max_failures: sign_in.max_failures as usize,
        window: sign_in.window_minutes.delta(),
        lock: sign_in.lock_minutes.delta(),
        lock_max: sign_in.lock_max_hours.delta(),
        claim_timeout: sign_in.claim_timeout_seconds.delta(),
    }
}

/// The publisher, when a broker is configured. Inside the runtime that its connection lives on.
///
/// # Errors
/// An address that cannot be read.
pub fn rabbit(config: &Config) -> anyhow::Result<Option<Rabbit>> {
    let Some(url) = &config.rabbit.url else { return Ok(None) };
    let settings = rabbit::Settings {
        url: SecretString::from(url.expose()),
        exchange: config.rabbit.exchange.clone(),
        notifications_exchange: config.rabbit.notifications_exchange.clone(),
        connect_timeout: config.rabbit.connect_timeout_ms.duration(),
        confirm_timeout: config.rabbit.confirm_timeout_ms.duration(),
        heartbeat_seconds: u16::try_from(config.rabbit.heartbeat_seconds.count())
            .context("rabbit.heartbeat_seconds is too large")?,
        unrouted: rabbit::Unrouted::default(),
        connection_name: format!("customer-service {}", std::process::id()),
    };
    Ok(Some(Rabbit::new(settings)?))
}

/// Redis, when it is configured. Inside the runtime that its connections live on.
///
/// # Errors
/// An address that cannot be read.
pub fn redis(config: &Config) -> anyhow::Result<Option<Redis>> {
    let Some(url) = &config.redis.url else { return Ok(None) };
    let settings = redis::Settings {
        url: SecretString::from(url.expose()),
        timeout: config.redis.timeout_ms.duration(),
        pool_size: REDIS_POOL,
    };
    Ok(Some(Redis::new(&settings)?))
}

pub fn limiter(config: &Config, redis: Option<Redis>) -> Limiter {
    let on_failure = match config.redis.on_failure {
        OnRedisFailure::Closed => OnFailure::Closed,
        OnRedisFailure::Local => OnFailure::Local,
    };
    redis.map_or_else(Limiter::local, |redis| Limiter::shared(redis, on_failure))
}

/// # Errors
/// Mail settings that do not fit.
pub fn mail(config: &Config, rabbit: Option<Rabbit>) -> anyhow::Result<Transport> {
    let settings = match config.mail.transport {
        MailTransport::Files => transport::Settings::Files { folder: config.mail.folder.clone() },
        MailTransport::Smtp => {
            let url = config.mail.smtp_url.as_ref().context("mail.smtp_url is missing")?;
            let url = SecretString::from(url.expose());
            transport::Settings::Smtp { url, timeout: SMTP_TIMEOUT }
        }
        MailTransport::Message => transport::Settings::Message,
        MailTransport::None => transport::Settings::None,
    };
    Ok(Transport::new(settings, &config.mail.from.to_string(), rabbit)?)
}
