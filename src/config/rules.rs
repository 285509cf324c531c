//! What must hold beyond each key's own type and range: what is required, and how keys relate.
//! Each rule says in its fault what would go wrong without it.

mod analytics;
mod passkeys;
mod roles;

use std::time::Duration;

use tracing_subscriber::EnvFilter;
use url::Url;

use super::choices::{MailTransport, Switch};
use super::consents;
use super::hosts::{each_host, host_count};
use super::layers::variable;
use super::orders;
use super::privacy;
use super::sms_values::SmsTransport;
use super::social;
use super::values::ServerUrl;
use super::{
    AuditConfig, Config, CustomersConfig, DatabaseConfig, Fault, HashingConfig, HttpConfig,
    LimitsConfig, MailConfig, NOT_SET, Note, RabbitConfig, RedisConfig, SessionsConfig,
    ShardsConfig, SignInConfig, SmsConfig, StuffingConfig, TelemetryConfig, TokensConfig,
};

/// Connections that are kept free beside the shards: reads, sign-ins, and two workers.
const CONNECTIONS_BESIDE_SHARDS: usize = 4;

/// RabbitMQ keeps names in one length byte.
const BROKER_NAME_BYTES_MAX: usize = 255;

/// Adds a fault for each rule that `config` breaks.
pub(super) fn check(config: &Config, faults: &mut Vec<Fault>) {
    http(&config.http, faults);
    database(&config.database, &config.shards, faults);
    redis(&config.redis, faults);
    rabbit(&config.rabbit, faults);
    orders::check(config, faults);
    privacy::check(config, faults);
    shards(&config.shards, &config.http, faults);
    hashing(&config.hashing, faults);
    sign_in(&config.sign_in, &config.hashing, &config.http, faults);
    stuffing(&config.stuffing, &config.limits, faults);
    sessions(&config.sessions, faults);
    tokens(&config.tokens, faults);
    passkeys::check(&config.passkeys, faults);
    mail(&config.mail, &config.rabbit, faults);
    social::check(&config.social, &config.http, faults);
    sms(&config.sms, faults);
    customers(&config.customers, faults);
    consents::check(&config.consents, faults);
    consents::check_welcome(&config.welcome, faults);
    analytics::check(config, faults);
    telemetry(&config.telemetry, faults);
    audit(&config.audit, faults);
    if config.secrets.root_key.is_empty() {
        let name = variable("secrets.root_key");
        faults.push(Fault::new(
            "secrets.root_key",
            NOT_SET,
            format!(
                "make one with `openssl rand -base64 32`, keep it safe, and set {name}, or \
                 {name}_FILE to a file that holds it"
            ),
        ));
    }
}

/// The database refuses to delete younger entries, too.
fn audit(audit: &AuditConfig, faults: &mut Vec<Fault>) {
    if (1..30).contains(&audit.keep_days.count()) {
        let wrong = format!("is {} days: entries stay for 30 at least", audit.keep_days.count());
        faults.push(Fault::new("audit.keep_days", wrong, "write 30 or more, or 0 for good"));
    }
}

fn http(http: &HttpConfig, faults: &mut Vec<Fault>) {
    // port 0 lets the system choose, so two of them never meet
    if http.ops_bind == Some(http.bind) && http.bind.port() != 0 {
        faults.push(Fault::new(
            "http.ops_bind",
            "is the same address as http.bind",
            "leave it empty to serve the operator routes there, or choose another port",
        ));
    }
    if http.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        faults.push(Fault::new(
            "http.trusted_proxies",
            "trusts the whole internet, so every client could choose its own address",
            "list the networks of your own proxies only",
        ));
    }
    if http.public_url.query().is_some() || http.public_url.fragment().is_some() {
        faults.push(Fault::new(
            "http.public_url",
            "has a query or a fragment, to which no path can be added",
            "end it after the host or after a path",
        ));
    }
    if http.security_contact.as_deref().is_some_and(|contact| !is_contact(contact)) {
        faults.push(Fault::new(
            "http.security_contact",
            "is neither a mail nor a web address",
            "write it as mailto:security@shop.example or https://shop.example/security",
        ));
    }
    if http.shutdown_timeout_seconds.duration() < http.request_timeout_ms.duration() {
        faults.push(Fault::new(
            "http.shutdown_timeout_seconds",
            "is shorter than http.request_timeout_ms, so a shutdown would cut accepted requests",
            "make it at least as long",
        ));
    }
}

/// What RFC 9116 takes as a contact, on one line.
fn is_contact(text: &str) -> bool {
    let scheme = text.starts_with("mailto:") || text.starts_with("https://");
    scheme && Url::parse(text).is_ok() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn database(database: &DatabaseConfig, shards: &ShardsConfig, faults: &mut Vec<Fault>) {
    if database.url.is_empty() {
        faults.push(Fault::new(
            "database.url",
            NOT_SET,
            format!(
                "set {} or DATABASE_URL, like postgres://user:password@host:5432/customers",
                variable("database.url")
            ),
        ));
    } else {
        postgres("database.url", &database.url, faults);
        if database.url.expose().contains("target_session_attrs=read-only") {
            faults.push(Fault::new(
                "database.url",
                "asks for servers that take no writes",
                "leave target_session_attrs out: of several hosts the one that takes writes is found",
            ));
        }
    }
    if let Some(url) = &database.read_url {
        postgres("database.read_url", url, faults);
    }
    roles::check(database, faults);
    // lossless: the range of pool_size ends at 1000
    let pool_size = database.pool_size as usize;
    let least = shards.actors.saturating_add(CONNECTIONS_BESIDE_SHARDS + 1);
    if pool_size < least {
        faults.push(Fault::new(
            "database.pool_size",
            format!(
                "is {pool_size}, so that {} shards at work would leave reads waiting",
                shards.actors
            ),
            format!("make it at least {least} (shards.actors + 5), or lower shards.actors"),
        ));
    }
    if database.lock_timeout_ms >= database.statement_timeout_ms {
        faults.push(Fault::new(
            "database.lock_timeout_ms",
            "is not shorter than database.statement_timeout_ms, so it would never be reached and \
             waiting for a lock could not be told from a slow statement",
            "make it shorter",
        ));
    }
}

fn postgres(key: &str, url: &ServerUrl, faults: &mut Vec<Fault>) {
    let fix = "write it as postgres://user:password@host:5432/name";
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        faults.push(Fault::new(key, "is no PostgreSQL address", fix));
    } else if let Err(error) = url.expose().parse::<tokio_postgres::Config>() {
        // the driver names the part that it refuses, and never its value
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let wrong = format!("is refused by the driver: {error}{}", cause.unwrap_or_default());
        faults.push(Fault::new(key, wrong, fix));
    }
}

fn server(key: &str, url: &ServerUrl, schemes: &[&str], faults: &mut Vec<Fault>) {
    let has_host = |address: &String| {
        Url::parse(address).is_ok_and(|url| url.host_str().is_some_and(|host| !host.is_empty()))
    };
    let sound = schemes.contains(&url.scheme()) && each_host(url.expose()).iter().all(has_host);
    if !sound {
        let forms: Vec<_> =
            schemes.iter().map(|scheme| format!("{scheme}://user:password@host:port")).collect();
        faults.push(Fault::new(
            key,
            "is no address of such a server",
            format!("write it as {}", forms.join(" or ")),
        ));
    }
}

fn redis(redis: &RedisConfig, faults: &mut Vec<Fault>) {
    let Some(url) = &redis.url else { return };
    server("redis.url", url, &["redis", "rediss"], faults);
    if redis.cluster == Switch::Off && host_count(url.expose()) > 1 {
        faults.push(Fault::new(
            "redis.url",
            "lists several hosts, which only a cluster has",
            "set redis.cluster = \"on\", or name one host",
        ));
    }
}

fn rabbit(rabbit: &RabbitConfig, faults: &mut Vec<Fault>) {
    if let Some(url) = &rabbit.url {
        server("rabbit.url", url, &["amqp", "amqps"], faults);
    }
    for (key, name) in [
        ("rabbit.exchange", &rabbit.exchange),
        ("rabbit.notifications_exchange", &rabbit.notifications_exchange),
    ] {
        broker_name(key, name, faults);
    }
    if rabbit.exchange == rabbit.notifications_exchange {
        faults.push(Fault::new(
            "rabbit.notifications_exchange",
            "is the same as rabbit.exchange, so consumers of events would receive mails",
            "choose another name",
        ));
    }
}

/// What may name an exchange or a queue of ours.
pub(super) fn broker_name(key: &str, name: &str, faults: &mut Vec<Fault>) {
    if name.is_empty() || name.len() > BROKER_NAME_BYTES_MAX || name.starts_with("amq.") {
        faults.push(Fault::new(
            key,
            "is no name that RabbitMQ lets a client use",
            "write 1 to 255 bytes that do not begin with amq.",
        ));
    }
}

fn shards(shards: &ShardsConfig, http: &HttpConfig, faults: &mut Vec<Fault>) {
    if shards.arbiters > shards.actors {
        faults.push(Fault::new(
            "shards.arbiters",
            "is greater than shards.actors, so some threads would have nothing to do",
            "make it at most as great",
        ));
    }
    if shards.batch_max > shards.queue_max {
        faults.push(Fault::new(
            "shards.batch_max",
            "is greater than shards.queue_max, so no batch could ever fill",
            "make it at most as great; a fourth of the queue is usual",
        ));
    }
    if shards.call_timeout_ms.duration() >= http.request_timeout_ms.duration() {
        faults.push(Fault::new(
            "shards.call_timeout_ms",
            "is not shorter than http.request_timeout_ms, so callers would be cut off before \
             they learn what became of their change",
            "make it shorter",
        ));
    }
}

fn hashing(hashing: &HashingConfig, faults: &mut Vec<Fault>) {
    let least = hashing.lanes.saturating_mul(8);
    if hashing.memory_kib < least {
        faults.push(Fault::new(
            "hashing.memory_kib",
            format!("is less than Argon2 needs for {} lanes", hashing.lanes),
            format!("make it at least {least} (8 for each lane)"),
        ));
    }
}

fn sign_in(
    sign_in: &SignInConfig,
    hashing: &HashingConfig,
    http: &HttpConfig,
    faults: &mut Vec<Fault>,
) {
    let issuer = sign_in.totp_issuer.trim();
    if issuer.is_empty() || issuer.contains(':') || issuer.chars().count() > 64 {
        faults.push(Fault::new(
            "sign_in.totp_issuer",
            "is empty, too long or contains a colon",
            "authenticator apps show it: a name of 1 to 64 characters without a colon",
        ));
    }
    if sign_in.lock_max_hours.duration() < sign_in.lock_minutes.duration() {
        faults.push(Fault::new(
            "sign_in.lock_max_hours",
            "is shorter than sign_in.lock_minutes, the first lock",
            "make it at least as long",
        ));
    }
    let request_timeout = http.request_timeout_ms.duration();
    if sign_in.claim_timeout_seconds.duration() < request_timeout {
        faults.push(Fault::new(
            "sign_in.claim_timeout_seconds",
            "is shorter than http.request_timeout_ms, so an attempt could be given up while its \
             password is still being verified",
            "make it at least as long",
        ));
    }
    let longest: Duration = sign_in.wait_ms.duration() + hashing.deadline_ms.duration();
    if longest >= request_timeout {
        faults.push(Fault::new(
            "sign_in.wait_ms",
            "and hashing.deadline_ms together are not shorter than http.request_timeout_ms, so \
             a sign-in that waited its turn would be cut off",
            "make their sum shorter",
        ));
    }
}

fn stuffing(stuffing: &StuffingConfig, limits: &LimitsConfig, faults: &mut Vec<Fault>) {
    if stuffing.sign_in_per_minute > limits.sign_in_per_minute {
        faults.push(Fault::new(
            "stuffing.sign_in_per_minute",
            "is larger than limits.sign_in_per_minute, so the brake would hold nobody back",
            "make it smaller, or switch the brake off (stuffing.brake = \"off\")",
        ));
    }
}

fn sessions(sessions: &SessionsConfig, faults: &mut Vec<Fault>) {
    if sessions.absolute_days < sessions.refresh_days {
        faults.push(Fault::new(
            "sessions.absolute_days",
            "is shorter than sessions.refresh_days, so the sliding time would never be reached",
            "make it at least as long",
        ));
    }
}

fn tokens(tokens: &TokensConfig, faults: &mut Vec<Fault>) {
    for (key, name) in [("tokens.issuer", &tokens.issuer), ("tokens.audience", &tokens.audience)] {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            faults.push(Fault::new(
                key,
                "is empty or contains a space",
                "write a name without spaces, or a web address",
            ));
        }
    }
}

fn mail(mail: &MailConfig, rabbit: &RabbitConfig, faults: &mut Vec<Fault>) {
    if let Some(url) = &mail.smtp_url {
        server("mail.smtp_url", url, &["smtp", "smtps"], faults);
    }
    match mail.transport {
        MailTransport::Smtp if mail.smtp_url.is_none() => faults.push(Fault::new(
            "mail.smtp_url",
            "is not set, but mail.transport is smtp",
            format!(
                "set {}, like smtp://user:password@host:587?tls=required",
                variable("mail.smtp_url")
            ),
        )),
        MailTransport::Message if rabbit.url.is_none() => faults.push(Fault::new(
            "mail.transport",
            "is message, but rabbit.url is not set, so no mail would ever leave",
            format!("set {} or AMQP_URL, or choose another transport", variable("rabbit.url")),
        )),
        MailTransport::Files if mail.folder.as_os_str().is_empty() => faults.push(Fault::new(
            "mail.folder",
            "is empty, but mail.transport is files",
            "name a folder; it is made when it does not exist",
        )),
        _ => {}
    }
}

fn sms(sms: &SmsConfig, faults: &mut Vec<Fault>) {
    match sms.transport {
        SmsTransport::Http if sms.url.is_none() => faults.push(Fault::new(
            "sms.url",
            "is not set, but sms.transport is http",
            format!("set {}, like https://gateway.example/messages", variable("sms.url")),
        )),
        SmsTransport::Files if sms.folder.as_os_str().is_empty() => faults.push(Fault::new(
            "sms.folder",
            "is empty, but sms.transport is files",
            "name a folder; it is made when it does not exist",
        )),
        _ => {}
    }
    let wants_secret = |text: &str| text.contains("{secret}");
    let wanted = sms.authorization.as_deref().is_some_and(wants_secret)
        || wants_secret(&sms.body.to_string());
    if sms.transport == SmsTransport::Http && wanted && sms.secret.is_none() {
        faults.push(Fault::new(
            "sms.secret",
            "is not set, but sms.authorization or sms.body holds {secret}",
            format!("set {0} or {0}_FILE, or leave {{secret}} out", variable("sms.secret")),
        ));
    }
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if sms.id_header.is_empty() || !sms.id_header.bytes().all(token) {
        faults.push(Fault::new(
            "sms.id_header",
            "is no name of a header",
            "write letters, digits and hyphens, like Idempotency-Key",
        ));
    }
    if sms.success_statuses.is_empty() {
        faults.push(Fault::new(
            "sms.success_statuses",
            "is empty, so no message would ever count as sent",
            "list the statuses by which the gateway says that it took a message",
        ));
    }
    if sms.domain.as_deref().is_some_and(|domain| !is_host(domain)) {
        faults.push(Fault::new(
            "sms.domain",
            "is no name of a host",
            "write the host alone, without https:// and path: shop.example",
        ));
    }
}

/// A host name as it stands in an address, in its ASCII form.
fn is_host(name: &str) -> bool {
    Url::parse(&format!("https://{name}/"))
        .is_ok_and(|url| url.domain() == Some(name) && url.path() == "/" && name.contains('.'))
}

fn customers(customers: &CustomersConfig, faults: &mut Vec<Fault>) {
    for (key, group) in [
        ("customers.default_group_individual", &customers.default_group_individual),
        ("customers.default_group_business", &customers.default_group_business),
    ] {
        if group.trim().is_empty() {
            let fix = "name a group of the table customer_groups";
            faults.push(Fault::new(key, "is empty", fix));
        }
    }
    if !is_language_tag(&customers.default_locale) {
        faults.push(Fault::new(
            "customers.default_locale",
            format!("is \"{}\", which is no language tag", customers.default_locale),
            "write a language with or without a region: en, vi, en-GB",
        ));
    }
    currency("customers.default_currency", &customers.default_currency, faults);
}

fn currency(key: &str, code: &str, faults: &mut Vec<Fault>) {
    if code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        faults.push(Fault::new(
            key,
            format!("is \"{code}\", which is no currency code"),
            "write three capital letters of ISO 4217, like USD or VND",
        ));
    }
}

/// Language, optionally script, optionally region, each in its usual spelling (BCP 47).
fn is_language_tag(tag: &str) -> bool {
    let mut parts = tag.split('-').peekable();
    let language = parts.next().unwrap_or_default();
    let sound = matches!(language.len(), 2 | 3) && language.bytes().all(|b| b.is_ascii_lowercase());
    if parts.peek().is_some_and(|part| part.len() == 4) {
        let script = parts.next().unwrap_or_default();
        if !script.bytes().all(|byte| byte.is_ascii_alphabetic()) {
            return false;
        }
    }
    let region = parts.next().is_none_or(|region| match region.len() {
        2 => region.bytes().all(|byte| byte.is_ascii_uppercase()),
        3 => region.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    });
    sound && region && parts.next().is_none()
}

fn telemetry(telemetry: &TelemetryConfig, faults: &mut Vec<Fault>) {
    if let Err(error) = EnvFilter::try_new(&telemetry.log) {
        faults.push(Fault::new(
            "telemetry.log",
            format!("is \"{}\", which is no filter: {error}", telemetry.log),
            "write a level, or levels by module: info,customer_service=debug",
        ));
    }
    if let Some(url) = telemetry.traces_url.as_ref().filter(|url| url.path() == "/") {
        faults.push(Fault::new(
            "telemetry.traces_url",
            format!("is \"{url}\", which has no path"),
            "write it with its path: http://otel-collector:4318/v1/traces",
        ));
    }
}

/// What is allowed, but changes what the service promises.
pub(super) fn notes(config: &Config) -> Vec<Note> {
    let mut notes = Vec::new();
    let mut note = |applies: bool, key: &'static str, text: &str| {
        if applies {
            notes.push(Note { key, text: text.to_owned() });
        }
    };
    let http = &config.http;
    let public_bind = !http.bind.ip().is_loopback();
    note(
        public_bind && http.ops_bind.is_none(),
        "http.ops_bind",
        "the operator routes are served at http.bind; keep them from the public at the proxy",
    );
    note(
        http.public_url.scheme() == "http" && !is_local(&http.public_url),
        "http.public_url",
        "is not https; tokens would cross the network in the clear",
    );
    note(
        config.database.application_role.is_empty(),
        "database.application_role",
        "not set: unless url signs in as a role of few rights, the service owns its tables, and \
         nothing but its code keeps it from changing messages and audit trail",
    );
    note(
        config.redis.url.is_none(),
        "redis.url",
        "not set: request limits are counted in memory, so each node gives the whole budget and \
         a restart forgets it; run one node, or set it",
    );
    note(
        config.rabbit.url.is_none(),
        "rabbit.url",
        "not set: messages are written and wait in the outbox until a broker is configured",
    );
    note(
        config.mail.transport == MailTransport::Files,
        "mail.transport",
        "files: mails are written to mail.folder and reach nobody",
    );
    note(
        config.mail.transport == MailTransport::None,
        "mail.transport",
        "none: mails are thrown away",
    );
    note(
        config.sms.transport == SmsTransport::Files,
        "sms.transport",
        "files: text messages are written to sms.folder and reach nobody",
    );
    note(
        config.sms.transport == SmsTransport::None,
        "sms.transport",
        "none: text messages are thrown away",
    );
    note(
        config.sms.transport == SmsTransport::Http && config.sms.countries.is_empty(),
        "sms.countries",
        "empty: text messages are sent to every country, also to dear ones",
    );
    note(
        config.sms.url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_local(url)),
        "sms.url",
        "is not https; codes and the gateway's secret would cross the network in the clear",
    );
    let orders = &config.orders.service;
    note(
        orders.url.as_ref().is_some_and(|url| url.scheme() == "http" && !is_local(url)),
        "orders.service.url",
        "is not https; the token and orders would cross the network in the clear",
    );
    let hashing = &config.hashing;
    // the least that OWASP recommends for Argon2id, at the default of two passes
    note(
        u64::from(hashing.memory_kib) * u64::from(hashing.passes) < 19_456 * 2,
        "hashing.memory_kib",
        "with hashing.passes is cheaper than OWASP's least (19456 KiB × 2); for tests only",
    );
    notes
}

pub(super) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
