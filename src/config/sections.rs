//! Every key of the service, by section: its type and, for numbers, its range. What a key means
//! and when to change it is written in `config/default.toml`; a test keeps the two lists equal.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use chrono_tz::Tz;
use ipnet::IpNet;
use lettre::message::Mailbox;
use url::Url;

use super::body_template::BodyTemplate;
use super::choices::{
    AfterParking, LogFormat, MailTransport, OnRedisFailure, OnRevocationUnknown, ReadPooler, Switch,
};
use super::consents::{ConsentsConfig, WelcomeConfig};
use super::layers::Layers;
use super::orders::OrdersConfig;
use super::passkey_origin::PasskeyOrigin;
use super::privacy::PrivacyConfig;
use super::sms_values::{Country, HttpStatus, SmsTransport};
use super::social::SocialConfig;
use super::values::{
    Days, Hours, KeyList, LinkTemplate, Millis, Minutes, Number, Origin, RootKey, Seconds,
    SecretText, ServerUrl, Setting,
};

/// A key or a section of keys: what can stand in a section.
pub(super) trait Node: Sized {
    /// The effective value; a value that cannot be read is noted as a fault in `layers`.
    fn read(layers: &mut Layers, key: &str) -> Self;

    /// Shows each key below this one, in the order of declaration.
    fn visit(&self, key: &str, see: &mut dyn FnMut(Leaf));

    /// Shows each number below this one that has a range.
    fn ranges(&self, _key: &str, _see: &mut dyn FnMut(Ranged)) {}
}

/// One key with its value as people may see it.
pub(super) struct Leaf {
    pub key: String,
    pub shown: String,
}

/// One number with the range it must lie in.
pub(super) struct Ranged {
    pub key: String,
    pub number: u64,
    pub range: RangeInclusive<u64>,
}

impl<T: Setting> Node for T {
    fn read(layers: &mut Layers, key: &str) -> Self {
        layers.read(key)
    }

    fn visit(&self, key: &str, see: &mut dyn FnMut(Leaf)) {
        see(Leaf { key: key.to_owned(), shown: self.show() });
    }
}

/// Sections of the same keys, by the names that they were given.
impl<T: Node> Node for BTreeMap<String, T> {
    fn read(layers: &mut Layers, key: &str) -> Self {
        let names = layers.names(key);
        let section = |name: String| {
            let section = below(key, &name);
            (name, T::read(layers, &section))
        };
        names.into_iter().map(section).collect()
    }

    fn visit(&self, key: &str, see: &mut dyn FnMut(Leaf)) {
        self.iter().for_each(|(name, section)| section.visit(&below(key, name), see));
    }

    fn ranges(&self, key: &str, see: &mut dyn FnMut(Ranged)) {
        self.iter().for_each(|(name, section)| section.ranges(&below(key, name), see));
    }
}

pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Declares one section: a struct that is read and visited key by key.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$key_doc:meta])* $key:ident : $kind:ty $([$range:expr])?,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[$key_doc])* pub $key: $kind,)* }

        impl Node for $name {
            fn read(layers: &mut Layers, path: &str) -> Self {
                $name { $($key: Node::read(layers, &below(path, stringify!($key))),)* }
            }

            fn visit(&self, path: &str, see: &mut dyn FnMut(Leaf)) {
                $(Node::visit(&self.$key, &below(path, stringify!($key)), see);)*
            }

            fn ranges(&self, path: &str, see: &mut dyn FnMut(Ranged)) {
                $(
                    let key = below(path, stringify!($key));
                    Node::ranges(&self.$key, &key, see);
                    $(see(Ranged { key, number: self.$key.number(), range: $range });)?
                )*
            }
        }
    };
}

pub(super) use section;

section! {
    /// Everything that can be configured. [`Config::load`] and [`Config::from_sources`] make it and
    /// have checked it. Fields are named after their keys; those with a unit at their end are
    /// [`Span`](super::Span)s of it.
    Config {
        http: HttpConfig,
        database: DatabaseConfig,
        redis: RedisConfig,
        rabbit: RabbitConfig,
        outbox: OutboxConfig,
        shards: ShardsConfig,
        hashing: HashingConfig,
        sign_in: SignInConfig,
        passwords: PasswordsConfig,
        limits: LimitsConfig,
        stuffing: StuffingConfig,
        overload: OverloadConfig,
        sessions: SessionsConfig,
        tokens: TokensConfig,
        passkeys: PasskeysConfig,
        mail: MailConfig,
        social: SocialConfig,
        sms: SmsConfig,
        customers: CustomersConfig,
        consents: ConsentsConfig,
        welcome: WelcomeConfig,
        imports: ImportsConfig,
        analytics: AnalyticsConfig,
        segments: SegmentsConfig,
        orders: OrdersConfig,
        idempotency: IdempotencyConfig,
        privacy_exports: PrivacyExportsConfig,
        audit: AuditConfig,
        retention: RetentionConfig,
        privacy: PrivacyConfig,
        secrets: SecretsConfig,
        telemetry: TelemetryConfig,
    }
}

section! {
    /// The HTTP server.
    HttpConfig {
        bind: SocketAddr,
        /// `None`: the operator routes are served at `bind`.
        ops_bind: Option<SocketAddr>,
        public_url: Url,
        /// 0 = one per core, see [`HttpConfig::workers_or_cores`].
        workers: usize [0..=256],
        trusted_proxies: Vec<IpNet>,
        cors_origins: Vec<Origin>,
        /// `None`: there is no security.txt.
        security_contact: Option<String>,
        body_limit_bytes: usize [1_024..=4_194_304],
        head_timeout_ms: Millis [100..=60_000],
        body_timeout_ms: Millis [100..=120_000],
        request_timeout_ms: Millis [500..=120_000],
        keep_alive_seconds: Seconds [1..=600],
        /// Per worker.
        max_connections: usize [16..=65_535],
        drain_delay_ms: Millis [0..=60_000],
        shutdown_timeout_seconds: Seconds [1..=300],
    }
}

section! {
    /// PostgreSQL, where all state lives.
    DatabaseConfig {
        url: ServerUrl,
        /// `None`: everything is read from `url`.
        read_url: Option<ServerUrl>,
        read_pooler: ReadPooler,
        read_pool_size: u32 [1..=1_000],
        read_wait_ms: Millis [0..=10_000],
        /// The owner's, for `migrate`. `None`: `url`.
        migration_url: Option<ServerUrl>,
        /// Empty: the service works as the owner of its tables.
        application_role: String,
        pool_size: u32 [6..=1_000],
        acquire_timeout_ms: Millis [50..=60_000],
        connect_timeout_ms: Millis [50..=60_000],
        statement_timeout_ms: Millis [50..=60_000],
        lock_timeout_ms: Millis [10..=60_000],
        max_connection_age_minutes: Minutes [1..=10_080],
        /// 0: any.
        room_mib: u32 [0..=1_000_000_000],
    }
}

section! {
    /// Redis, which holds request rates only.
    RedisConfig {
        /// `None`: each node limits from its own memory.
        url: Option<ServerUrl>,
        cluster: Switch,
        timeout_ms: Millis [5..=5_000],
        on_failure: OnRedisFailure,
    }
}

section! {
    /// RabbitMQ, which carries messages out.
    RabbitConfig {
        /// `None`: messages wait in the outbox.
        url: Option<ServerUrl>,
        exchange: String,
        notifications_exchange: String,
        connect_timeout_ms: Millis [100..=60_000],
        confirm_timeout_ms: Millis [100..=120_000],
        heartbeat_seconds: Seconds [1..=600],
    }
}

section! {
    /// The outbox and its relay.
    OutboxConfig {
        retention_hours: Hours [1..=8_760],
        partitions_ahead_hours: Hours [2..=720],
        read_max: u32 [1..=10_000],
        window_max: usize [1..=10_000],
        poll_ms: Millis [10..=60_000],
        /// Of a message that fails by its own fault.
        tries: u32 [1..=20],
        after_parking: AfterParking,
        /// Names, or beginnings of names before a `*`.
        replay_queues: Vec<String>,
    }
}

section! {
    /// The actors that own customers.
    ShardsConfig {
        actors: usize [1..=64],
        arbiters: usize [1..=64],
        /// Per actor.
        queue_max: usize [1..=100_000],
        batch_max: usize [1..=1_024],
        call_timeout_ms: Millis [100..=60_000],
        restart_intensity: u32 [1..=1_000],
        restart_period_seconds: Seconds [1..=3_600],
    }
}

section! {
    /// Password hashing: its threads, its queue and the cost of one hash.
    HashingConfig {
        /// 0 = as many as `security::hashing` thinks fit.
        threads: usize [0..=256],
        queue_max: usize [1..=10_000],
        deadline_ms: Millis [50..=30_000],
        memory_kib: u32 [8..=1_048_576],
        passes: u32 [1..=64],
        lanes: u32 [1..=16],
    }
}

section! {
    /// When an identifier is locked after failed sign-ins.
    SignInConfig {
        max_failures: u32 [1..=100],
        window_minutes: Minutes [1..=1_440],
        lock_minutes: Minutes [1..=1_440],
        lock_max_hours: Hours [1..=720],
        claim_timeout_seconds: Seconds [1..=600],
        wait_ms: Millis [0..=30_000],
        recent_minutes: Minutes [1..=1_440],
        second_factor_max_failures: u32 [5..=100],
        second_factor_window_minutes: Minutes [1..=1_440],
        second_factor_lock_minutes: Minutes [1..=1_440],
        challenge_minutes: Minutes [1..=60],
        totp_issuer: String,
    }
}

section! {
    /// How often one client address may call, and how many text messages may be paid for.
    LimitsConfig {
        sign_in_per_minute: u32 [1..=1_000_000],
        mail_requests_per_hour: u32 [1..=1_000_000],
        refresh_per_minute: u32 [1..=1_000_000],
        sms_per_number_per_hour: u32 [1..=1_000_000],
        sms_per_customer_per_hour: u32 [1..=1_000_000],
        /// Of the whole service.
        sms_per_hour: u32 [1..=1_000_000],
        password_checks_per_minute: u32 [1..=1_000_000],
        shared_wishlists_per_minute: u32 [1..=1_000_000],
    }
}

section! {
    /// The brake on credential stuffing.
    StuffingConfig {
        brake: Switch,
        window_seconds: Seconds [1..=3_600],
        min_failures: u32 [1..=1_000_000],
        failure_percent: u32 [1..=100],
        hold_seconds: Seconds [1..=3_600],
        sign_in_per_minute: u32 [1..=1_000_000],
        network_identifiers: u32 [1..=10_000],
    }
}

section! {
    /// When requests are refused because more is asked than can be worked off.
    OverloadConfig {
        delay_ms: Millis [1..=10_000],
        in_flight_min: usize [8..=100_000],
    }
}

section! {
    /// What may be chosen as a password.
    PasswordsConfig {
        /// Beside the words of `tokens.issuer` and `tokens.audience`.
        shop_words: Vec<String>,
    }
}

section! {
    /// Sessions and their tokens.
    SessionsConfig {
        access_token_minutes: Minutes [1..=60],
        refresh_days: Days [1..=365],
        absolute_days: Days [1..=730],
        reuse_grace_seconds: Seconds [0..=60],
        revocation_poll_ms: Millis [50..=500],
        on_revocation_unknown: OnRevocationUnknown,
        /// 0 = keys are rotated by hand only.
        signing_key_days: Days [0..=3_650],
        jwks_max_age_seconds: Seconds [1..=86_400],
    }
}

section! {
    /// What tokens say about themselves, and how long mailed ones hold.
    TokensConfig {
        issuer: String,
        audience: String,
        verify_email_hours: Hours [1..=720],
        phone_code_minutes: Minutes [1..=10],
        reset_password_minutes: Minutes [5..=1_440],
        change_email_hours: Hours [1..=720],
    }
}

section! {
    /// Passkeys (WebAuthn).
    PasskeysConfig {
        /// `None`: passkeys are off.
        rp_id: Option<String>,
        rp_name: String,
        origins: Vec<PasskeyOrigin>,
        limit: u32 [1..=100],
    }
}

section! {
    /// How mails leave the service and what they link to.
    MailConfig {
        transport: MailTransport,
        folder: PathBuf,
        smtp_url: Option<ServerUrl>,
        from: Mailbox,
        batch_max: u32 [1..=1_000],
        tries_max: u32 [1..=100],
        links: MailLinks,
    }
}

section! {
    /// Addresses of the shop's front end.
    MailLinks {
        verify_email: LinkTemplate,
        reset_password: LinkTemplate,
        change_email: LinkTemplate,
        undo_email_change: LinkTemplate,
        sign_in: Url,
    }
}

section! {
    /// How text messages leave the service.
    SmsConfig {
        transport: SmsTransport,
        folder: PathBuf,
        url: Option<Url>,
        authorization: Option<String>,
        secret: Option<SecretText>,
        body: BodyTemplate,
        id_header: String,
        success_statuses: Vec<HttpStatus>,
        success_text: Option<String>,
        timeout_ms: Millis [100..=20_000],
        tries_max: u32 [1..=100],
        /// Empty: every country.
        countries: Vec<Country>,
        /// The site that phones may fill codes in on.
        domain: Option<String>,
    }
}

section! {
    /// What a new customer starts with.
    CustomersConfig {
        default_group_individual: String,
        default_group_business: String,
        address_limit: u32 [1..=1_000],
        /// 0: as many as a person.
        address_limit_business: u32 [0..=1_000],
        note_limit: u32 [1..=10_000],
        wishlist_limit: u32 [1..=1_000],
        /// Of one list.
        wishlist_item_limit: u32 [1..=10_000],
        default_locale: String,
        default_timezone: Tz,
        default_currency: String,
    }
}

section! {
    /// Imports of customers.
    ImportsConfig {
        upload_limit_mib: u32 [1..=1_048_576],
        upload_minutes: Minutes [1..=1_440],
        record_limit_bytes: usize [1_024..=1_048_576],
        block_rows: usize [1..=5_000],
        block_ms: Millis [20..=2_000],
        yield_percent: u32 [0..=1_000],
        rest_max_ms: Millis [0..=3_000],
        /// 0 = no limit.
        rows_per_second: u32 [0..=1_000_000],
        keep_days: Days [1..=3_650],
    }
}

section! {
    /// Copies of all that is kept of a customer, made for it.
    PrivacyExportsConfig {
        per_day: usize [1..=100],
        keep_days: Days [1..=30],
        size_limit_mib: u32 [1..=4_096],
    }
}

section! {
    /// Figures, scores and predictions for staff.
    AnalyticsConfig {
        time_zone: Tz,
        /// `None`: `customers.default_currency`.
        currency: Option<String>,
        connections: u32 [1..=100],
        statement_timeout_ms: Millis [100..=60_000],
        range_max_days: u32 [31..=36_600],
        /// 0 = by command only.
        rfm_hours: Hours [0..=8_760],
        /// 0 = by command only.
        predictions_hours: Hours [0..=8_760],
        horizon_months: u32 [1..=120],
        discount_percent: u32 [0..=100],
    }
}

section! {
    /// Segments of customers.
    SegmentsConfig {
        /// In columns of the customer's own row.
        cost_max: u32 [10..=100_000],
        /// Codes of static segments that every new customer is put into.
        defaults: Vec<String>,
        definition_bytes_max: usize [256..=65_536],
        /// Customers that are looked at for one page of a new revision.
        page_customers: u32 [10..=20_000],
        preview_ms: Millis [100..=60_000],
    }
}

section! {
    /// How long a repeated request is recognised.
    IdempotencyConfig {
        keep_hours: Hours [1..=720],
    }
}

section! {
    /// How long rows are kept that nothing else limits, after they were of use for the last time.
    RetentionConfig {
        spent_tokens_days: Days [1..=90],
        sign_in_counters_hours: Hours [48..=720],
        sessions_days: Days [1..=365],
        mails_days: Days [1..=365],
        text_messages_days: Days [2..=365],
        export_requests_days: Days [2..=365],
        settled_messages_days: Days [1..=365],
        order_fact_attempts_days: Days [1..=90],
        parked_order_facts_days: Days [1..=365],
        reconciliations_days: Days [1..=3_650],
        segment_counts_days: Days [1..=36_500],
    }
}

section! {
    /// The audit trail.
    AuditConfig {
        seal_seconds: Seconds [1..=3_600],
        /// 0 = for good.
        keep_days: Days [0..=36_500],
        /// Whether staff says what it reads personal data for.
        purpose_required: Switch,
    }
}

section! {
    /// What must never be written into a configuration file.
    SecretsConfig {
        root_key: RootKey,
        /// The first wraps keys of customers, all open them; none: one that follows from the root key.
        wrapping_keys: KeyList,
    }
}

section! {
    /// Logs and traces.
    TelemetryConfig {
        log: String,
        format: LogFormat,
        metrics: Switch,
        /// Where OTLP is taken over HTTP, with its path. `None`: there are no traces.
        traces_url: Option<Url>,
        /// Of the requests whose callers decide nothing.
        traces_percent: u32 [0..=100],
    }
}

impl CustomersConfig {
    /// How many addresses the book of a person and of a company may have. Lossless: the ranges of
    /// the keys end at 1000.
    pub fn address_limits(&self) -> (usize, usize) {
        let individual = self.address_limit as usize;
        let business = match self.address_limit_business {
            0 => individual,
            business => business as usize,
        };
        (individual, business)
    }
}

impl HttpConfig {
    /// The number of HTTP workers to start.
    pub fn workers_or_cores(&self) -> usize {
        match self.workers {
            // where the platform does not tell, one is always there
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }
}
