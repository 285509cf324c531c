//! From configuration to the settings of each part: the parts do not know each other's keys.

use crate::actors::allowance::brake_policy;
use crate::actors::batch::Seals;
use crate::actors::batch::defaults::Defaults;
use crate::actors::dead_letters;
use crate::actors::reconciliation;
use crate::actors::retention::Retention;
use crate::actors::runtime::{Backoff, Intensity, RuntimeSettings};
use crate::actors::shard::ShardSettings;
use crate::actors::signing;
use crate::actors::workers::{janitor, mailer, order_intake, outbox_relay, texter};
use crate::brokers::limits::{Limiter, OnFailure};
use crate::brokers::rabbit::{self, DeadLetters, OrderQueue, Rabbit, Source};
use crate::brokers::redis::{self, Redis};
use crate::config::{
    self, Config, MailTransport, OnRedisFailure, RabbitConfig, ReadPooler, ServerUrl, SmsTransport,
    Switch,
};
use crate::db::roles::ApplicationRole;
use crate::db::{Database, DatabaseSettings, Purpose, Replica};
use crate::domain::Actor;
use crate::domain::handle::ADDRESS_HELD;
use crate::mail::{self, Transport};
use crate::order_service::{self, OrderService};
use crate::security::access::AccessSettings;
use crate::security::customer_keys::WrappingKeys;
use crate::security::hashing::HashingSettings;
use crate::security::key_ring::{KEYS_MAX, KeyRing};
use crate::security::keys::RootSecret;
use crate::security::password_policy::PasswordPolicy;
use crate::security::tokens::ThrottleKeys;
use crate::sms::{self, Gateway, HttpSettings};
use anyhow::Context;
use chrono::TimeDelta;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Answers of other services that are read before those in front of them are recorded.
const ANSWERS_AHEAD: u16 = 20;

/// Longest silence of an actor before its thread counts as blocked for good.
const STALL_MAX: Duration = Duration::from_secs(15);

/// Connections to Redis: commands are multiplexed, so a few are many.
const REDIS_POOL: u32 = 4;

/// Facts read for each that may be under way: the next ones are here when a batch commits.
const READ_AHEAD: u32 = 2;

/// For one mail: connection, TLS, sign-in and dialogue.
const SMTP_TIMEOUT: Duration = Duration::from_secs(20);

/// Clocks of nodes may differ by this much.
const ACCESS_LEEWAY: Duration = Duration::from_secs(2);

/// By how much later than its time a node may sign with a key for the last time, its clock being
/// slow; beyond what is tolerated in a token's own times.
const CLOCK_SLACK: TimeDelta = TimeDelta::minutes(2);

/// Time for every node to learn of a new signing key, before caches of the old list count as fresh.
const PUBLISHING_SLACK: TimeDelta = TimeDelta::seconds(5);

/// For a statement of a tool that somebody waits for.
const UNHURRIED: Duration = Duration::from_secs(600);

/// Verified access tokens remembered: about 500 bytes each.
const ACCESS_CACHE_MAX: usize = 20_000;

pub fn database(config: &Config) -> DatabaseSettings {
    let database = &config.database;
    DatabaseSettings {
        url: database.url.expose().to_owned(),
        purpose: Purpose::Writes,
        pool_size: database.pool_size,
        acquire_timeout: database.acquire_timeout_ms.duration(),
        connect_timeout: database.connect_timeout_ms.duration(),
        statement_timeout: database.statement_timeout_ms.duration(),
        lock_timeout: database.lock_timeout_ms.duration(),
        max_connection_age: database.max_connection_age_minutes.duration(),
    }
}

/// As the owner of the tables, for `migrate`.
pub fn owner(config: &Config) -> DatabaseSettings {
    let own = config.database.migration_url.as_ref().unwrap_or(&config.database.url);
    DatabaseSettings { url: own.expose().to_owned(), ..database(config) }
}

/// Whom `migrate` gives the service's rights to; with the password of `database.url`, if that is
/// where this role signs in.
pub fn application_role(config: &Config) -> Option<ApplicationRole> {
    let name = config.database.application_role.clone();
    let url = config.database.url.expose().parse::<tokio_postgres::Config>().ok();
    let own = url.filter(|url| url.get_user() == Some(name.as_str()));
    let password = own.and_then(|url| String::from_utf8(url.get_password()?.to_vec()).ok());
    let password = password.map(SecretString::from);
    (!name.is_empty()).then_some(ApplicationRole { name, password })
}

/// Figures have connections and a time limit of their own: however many are asked for, nobody else
/// waits for a connection.
pub fn reports(config: &Config) -> DatabaseSettings {
    DatabaseSettings {
        pool_size: config.analytics.connections,
        statement_timeout: config.analytics.statement_timeout_ms.duration(),
        ..database(config)
    }
}

/// The replica, if there is one, for reads that are otherwise made as with `primary`. On the runtime
/// that the connections live on.
pub fn replica(config: &Config, primary: DatabaseSettings) -> Option<Replica> {
    let database = &config.database;
    let purpose = match database.read_pooler {
        ReadPooler::None => Purpose::Reads,
        ReadPooler::Transaction => Purpose::PooledReads,
    };
    let url = database.read_url.as_ref()?.expose().to_owned();
    let settings = DatabaseSettings { url, purpose, ..primary };
    let wait = database.read_wait_ms.duration();
    Some(Replica::new(Database::new(settings, Handle::current()), wait))
}

/// Lists and searches share the connections of everything where they are not read from a replica.
pub fn lists(config: &Config) -> DatabaseSettings {
    DatabaseSettings { pool_size: config.database.read_pool_size, ..database(config) }
}

pub fn runtime(config: &Config) -> RuntimeSettings {
    let shards = &config.shards;
    RuntimeSettings {
        arbiters: shards.arbiters,
        backoff: Backoff {
            first: Duration::from_millis(50),
            // Short enough that what waits for a broker or a database flows again within seconds.
            max: Duration::from_secs(5),
            jitter,
        },
        intensity: Intensity {
            failures: shards.restart_intensity as usize,
            period: shards.restart_period_seconds.duration(),
        },
        stall_max: STALL_MAX,
    }
}

/// Spreads restarts that one cause made at the same moment; nothing is decided by it.
#[expect(clippy::disallowed_methods, reason = "a spread of delays needs no repeatable randomness")]
fn jitter() -> f64 {
    rand::random()
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

/// What the shop is called counts as known to everybody.
pub fn passwords(config: &Config) -> PasswordPolicy {
    let tokens = [config.tokens.issuer.as_str(), config.tokens.audience.as_str()];
    PasswordPolicy::new(config.passwords.shop_words.iter().map(String::as_str).chain(tokens))
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

pub fn signing(config: &Config) -> signing::Settings {
    let sessions = &config.sessions;
    let age = sessions.signing_key_days;
    signing::Settings {
        lead: sessions.jwks_max_age_seconds.delta() + PUBLISHING_SLACK,
        overlap: sessions.access_token_minutes.delta() + CLOCK_SLACK,
        rotate_after: (age.count() > 0).then(|| age.delta()),
    }
}

pub fn relay(config: &Config) -> outbox_relay::Settings {
    let outbox = &config.outbox;
    outbox_relay::Settings {
        owner: this_process(),
        schemas: schemas(config),
        read_max: outbox.read_max as usize,
        window_max: outbox.window_max,
        poll: outbox.poll_ms.duration(),
        tries: outbox.tries,
        after_parking: match outbox.after_parking {
            config::AfterParking::Wait => outbox_relay::AfterParking::Wait,
            config::AfterParking::Pass => outbox_relay::AfterParking::Pass,
        },
    }
}

/// This process, for people who read who owns what.
pub fn this_process() -> String {
    format!("{}:{}", hostname(), std::process::id())
}

pub fn dead_letters(config: &Config) -> dead_letters::Settings {
    dead_letters::Settings {
        schemas: schemas(config),
        replay_queues: config.outbox.replay_queues.clone(),
    }
}

/// Where the schemas of messages are served.
fn schemas(config: &Config) -> String {
    format!("{}/schemas", config.http.public_url.as_str().trim_end_matches('/'))
}

/// This machine's name.
fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "node".to_owned(), |name| name.trim().to_owned())
}

pub fn mailer(config: &Config) -> mailer::Settings {
    mailer::Settings {
        batch_max: config.mail.batch_max as usize,
        tries_max: config.mail.tries_max,
        verify_email: mailer::Link {
            page: config.mail.links.verify_email.clone(),
            life: config.tokens.verify_email_hours.delta(),
        },
        reset_password: mailer::Link {
            page: config.mail.links.reset_password.clone(),
            life: config.tokens.reset_password_minutes.delta(),
        },
        change_email: mailer::Link {
            page: config.mail.links.change_email.clone(),
            life: config.tokens.change_email_hours.delta(),
        },
        undo_email_change: mailer::Link {
            page: config.mail.links.undo_email_change.clone(),
            life: ADDRESS_HELD,
        },
        sign_in: config.mail.links.sign_in.clone(),
        welcome: config
            .welcome
            .mails
            .iter()
            .map(|(step, mail)| (step.clone(), mail.condition))
            .collect(),
    }
}

/// # Errors
/// Numbers of hours beyond what the database's integers hold.
pub fn janitor(config: &Arc<Config>) -> anyhow::Result<janitor::Settings> {
    Ok(janitor::Settings {
        outbox_hours: config.outbox.retention_hours.count().try_into()?,
        partitions_ahead_hours: config.outbox.partitions_ahead_hours.count().try_into()?,
        retention: retention(config),
    })
}

/// How long rows are kept that end of themselves.
pub fn retention(config: &Arc<Config>) -> Retention {
    Retention::new(config.clone(), signing(config).overlap)
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
        commands_exchange: config.privacy.exchange.clone(),
        connect_timeout: config.rabbit.connect_timeout_ms.duration(),
        confirm_timeout: config.rabbit.confirm_timeout_ms.duration(),
        heartbeat_seconds: u16::try_from(config.rabbit.heartbeat_seconds.count())
            .context("rabbit.heartbeat_seconds is too large")?,
        unrouted: rabbit::Unrouted::default(),
        connection_name: format!("customer-service {}", std::process::id()),
    };
    Ok(Some(Rabbit::new(settings)?))
}

/// Where messages come from, and where they go when nobody can use them.
pub struct Letters {
    pub source: Source,
    pub dead_letters: DeadLetters,
}

/// The broker's side of the intake of orders, when a broker is configured and the intake is on.
///
/// # Errors
/// An address that cannot be read.
pub fn orders(config: &Config) -> anyhow::Result<Option<Letters>> {
    let (rabbit, intake) = (&config.rabbit, &config.orders.intake);
    let Some(url) = rabbit.url.as_ref().filter(|_| intake.enabled == Switch::On) else {
        return Ok(None);
    };
    let access = broker_access(rabbit, url, "orders")?;
    let names = OrderQueue {
        exchange: intake.exchange.clone(),
        queue: intake.queue.clone(),
        routing_keys: order_intake::routing_keys(),
        dead_letter_exchange: intake.dead_letter_exchange.clone(),
        dead_letter_queue: intake.dead_letter_queue.clone(),
        dead_letters_max: intake.dead_letters_max,
    };
    let prefetch = u16::try_from(intake.in_flight_max * READ_AHEAD)
        .context("orders.intake.in_flight_max is too large")?;
    let dead_letters = DeadLetters::new(access.clone(), names.clone())?;
    Ok(Some(Letters { source: Source::new(access, names, prefetch)?, dead_letters }))
}

/// A connection beside the publisher's.
fn broker_access(
    rabbit: &RabbitConfig,
    url: &ServerUrl,
    what_for: &str,
) -> anyhow::Result<rabbit::Access> {
    Ok(rabbit::Access {
        url: SecretString::from(url.expose()),
        connect_timeout: rabbit.connect_timeout_ms.duration(),
        confirm_timeout: rabbit.confirm_timeout_ms.duration(),
        heartbeat_seconds: u16::try_from(rabbit.heartbeat_seconds.count())
            .context("rabbit.heartbeat_seconds is too large")?,
        connection_name: format!("customer-service {} {what_for}", std::process::id()),
    })
}

/// Where answers to the commands of erasures come from, when a broker is configured and anybody is
/// commanded.
///
/// # Errors
/// An address that cannot be read.
pub fn erasure_answers(config: &Config) -> anyhow::Result<Option<Letters>> {
    let (rabbit, intake) = (&config.rabbit, &config.orders.intake);
    let Some(url) = rabbit.url.as_ref().filter(|_| !config.privacy.commands.is_empty()) else {
        return Ok(None);
    };
    let access = broker_access(rabbit, url, "erasures")?;
    let queue = &config.privacy.answer_queue;
    let names = OrderQueue {
        exchange: queue.clone(),
        queue: queue.clone(),
        routing_keys: vec!["#".to_owned()],
        dead_letter_exchange: intake.dead_letter_exchange.clone(),
        dead_letter_queue: intake.dead_letter_queue.clone(),
        dead_letters_max: intake.dead_letters_max,
    };
    let dead_letters = DeadLetters::new(access.clone(), names.clone())?;
    let source = Source::new(access, names, ANSWERS_AHEAD)?;
    Ok(Some(Letters { source, dead_letters }))
}

/// The order service, when it can be asked.
///
/// # Errors
/// What the HTTP client says of the machine's TLS roots.
pub fn order_service(config: &Config) -> anyhow::Result<Option<OrderService>> {
    let service = &config.orders.service;
    let Some(url) = service.url.clone() else { return Ok(None) };
    let token = service.token.as_ref().map(|token| SecretString::from(token.expose()));
    let timeout = service.timeout_ms.duration();
    Ok(Some(OrderService::new(order_service::Settings { url, token, timeout })?))
}

/// On behalf of `actor`.
pub fn reconciliation(config: &Config, actor: Actor) -> reconciliation::Settings {
    let keys = &config.orders.reconciliation;
    reconciliation::Settings {
        page: keys.page.into(),
        pause: keys.pause_ms.duration(),
        owner: this_process(),
        actor,
    }
}

/// Redis, when it is configured. Inside the runtime that its connections live on.
///
/// # Errors
/// An address that cannot be read.
pub fn redis(config: &Config) -> anyhow::Result<Option<Redis>> {
    let Some(url) = &config.redis.url else { return Ok(None) };
    let settings = redis::Settings {
        url: SecretString::from(url.expose()),
        cluster: config.redis.cluster == Switch::On,
        timeout: config.redis.timeout_ms.duration(),
        pool_size: REDIS_POOL,
    };
    Ok(Some(Redis::new(&settings)?))
}

pub fn limiter(config: &Config, redis: Option<Redis>, keys: &ThrottleKeys) -> Limiter {
    let on_failure = match config.redis.on_failure {
        OnRedisFailure::Closed => OnFailure::Closed,
        OnRedisFailure::Local => OnFailure::Local,
    };
    let limiter = redis.map_or_else(Limiter::local, |redis| Limiter::shared(redis, on_failure));
    match brake_policy(&config.stuffing, keys) {
        Some(policy) => limiter.with_brake(policy),
        None => limiter,
    }
}

/// # Errors
/// Mail settings that do not fit.
pub fn mail(config: &Config, rabbit: Option<Rabbit>) -> anyhow::Result<Transport> {
    let settings = match config.mail.transport {
        MailTransport::Files => mail::Settings::Files { folder: config.mail.folder.clone() },
        MailTransport::Smtp => {
            let url = config.mail.smtp_url.as_ref().context("mail.smtp_url is missing")?;
            let url = SecretString::from(url.expose());
            mail::Settings::Smtp { url, timeout: SMTP_TIMEOUT }
        }
        MailTransport::Message => mail::Settings::Message,
        MailTransport::None => mail::Settings::None,
    };
    Ok(Transport::new(settings, &config.mail.from.to_string(), rabbit)?)
}

pub fn texter(config: &Config) -> texter::Settings {
    let from = &config.mail.from;
    let shop = from.name.clone().unwrap_or_else(|| from.email.domain().to_owned());
    texter::Settings { tries_max: config.sms.tries_max, shop, domain: config.sms.domain.clone() }
}

/// Whoever carries text messages. Inside the runtime that its connections live on.
///
/// # Errors
/// Settings of text messages that do not fit.
pub fn sms(config: &Config) -> anyhow::Result<Box<dyn Gateway>> {
    let sms = &config.sms;
    let settings = match sms.transport {
        SmsTransport::Files => sms::Settings::Files { folder: sms.folder.clone() },
        SmsTransport::Http => {
            let secret = sms.secret.as_ref().map(|secret| secret.expose()).unwrap_or_default();
            sms::Settings::Http(Box::new(HttpSettings {
                url: sms.url.clone().context("sms.url is missing")?,
                authorization: sms.authorization.clone(),
                secret: SecretString::from(secret),
                body: sms.body.clone(),
                id_header: sms.id_header.clone(),
                success_statuses: sms.success_statuses.iter().map(|status| status.0).collect(),
                success_text: sms.success_text.clone(),
                timeout: sms.timeout_ms.duration(),
            }))
        }
        SmsTransport::None => sms::Settings::None,
    };
    Ok(sms::gateway(settings)?)
}

/// What is sealed of customers, and by what.
pub fn seals(config: &Config) -> Seals {
    let keys = Arc::new(KeyRing::new(wrapping_keys(config), KEYS_MAX));
    Seals { keys, values: config.privacy.seal_values == Switch::On }
}

/// What wraps keys of customers.
pub fn wrapping_keys(config: &Config) -> WrappingKeys {
    let root = RootSecret::new(*config.secrets.root_key.expose());
    WrappingKeys::new(&root, config.secrets.wrapping_keys.expose())
}

/// For a tool that reads all there is of something: a statement may take as long as it takes.
pub fn unhurried(config: &Config) -> DatabaseSettings {
    DatabaseSettings { statement_timeout: UNHURRIED, ..database(config) }
}

/// The segments that new customers are put into.
pub fn default_segments(config: &Config) -> Defaults {
    Defaults::new(config.segments.defaults.clone())
}
