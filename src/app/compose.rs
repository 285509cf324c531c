//! Making the parts and starting what lives, in the order of their dependence.

use super::watches::{revocation_watch, signing_watch};
use super::{
    analytics, audit, erasures, operators, preconditions, privacy_exports, probes, segment_workers,
    settings,
};
use crate::actors::allowance::Allowance;
use crate::actors::batch::{AfterCommit, Batches, Seals};
use crate::actors::consents::{self, Purposes};
use crate::actors::customer_keys::{self, CustomerKeys};
use crate::actors::customers::Customers;
use crate::actors::dead_letters::DeadLetterDesk;
use crate::actors::email_change::{EmailChange, EmailChangeParts, EmailChangeSettings};
use crate::actors::gate::{Gate, GateParts, GateSettings};
use crate::actors::imports::Imports;
use crate::actors::imports::engine::Engine;
use crate::actors::operators::desk::ActorDesk;
use crate::actors::operators::last_hour::LastHour;
use crate::actors::passkeys::{PasskeyParts, Passkeys};
use crate::actors::passwords::{PasswordParts, PasswordSettings, Passwords};
use crate::actors::phones::{PhoneSettings, Phones};
use crate::actors::reconciliation;
use crate::actors::registration::{Registration, RegistrationParts, RegistrationSettings};
use crate::actors::runtime::{Escalated, Escalation, Runtime};
use crate::actors::second_factors::{SecondFactorParts, SecondFactors};
use crate::actors::segments::{SegmentDesk, Standards};
use crate::actors::sessions::{SessionSettings, Sessions};
use crate::actors::shard::Shards;
use crate::actors::sharing::Sharing;
use crate::actors::signing;
use crate::actors::worker::{Nudge, WorkerRef, Workers};
use crate::actors::workers::clock_watch::{self, ClockWatch};
use crate::actors::workers::importer::Importer;
use crate::actors::workers::janitor::Janitor;
use crate::actors::workers::mailer::Mailer;
use crate::actors::workers::order_intake::{Desk, OrderIntake, ParkedOrders};
use crate::actors::workers::outbox_relay::{Dirty, OutboxRelay};
use crate::actors::workers::reconciler::Reconciler;
use crate::actors::workers::space_watch::{Space, SpaceWatch};
use crate::actors::workers::texter::Texter;
use crate::brokers::limits::Limiter;
use crate::brokers::rabbit::Rabbit;
use crate::brokers::redis::Redis;
use crate::clock::{Clock, SharedClock};
use crate::config::Config;
use crate::db::{self, Database};
use crate::domain::Actor;
use crate::http::admission::{self, Admission};
use crate::http::ops::board::Board;
use crate::http::readiness::Readiness;
use crate::http::services::Services;
use crate::http::staff_keys::StaffKeys;
use crate::mail::Transport;
use crate::security::access::AccessTokens;
use crate::security::backup_codes::BackupCodes;
use crate::security::hashing::HashingPool;
use crate::security::keys::RootSecret;
use crate::security::passkeys::RelyingParty;
use crate::security::phone_codes::PhoneCodes;
use crate::security::revoked::RevokedSessions;
use crate::security::sealing::Sealer;
use crate::security::social::Social;
use crate::security::tokens::{OneTimeTokens, RefreshTokens, ThrottleKeys};
use crate::sms::Gateway;
use crate::telemetry::Telemetry;
use crate::telemetry::levels::Levels;
use anyhow::{Context, ensure};
use chrono::TimeDelta;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// The difference of times that access tokens tolerate, at most. All nodes go by the database's
/// clock: what is left are the moments after that was set.
const CLOCK_LEEWAY: TimeDelta = TimeDelta::seconds(5);

/// What the connection is for on which mails go to the service that sends them: none waits behind
/// messages, and none is lost with a channel that one of these closes.
const MAILS: &str = "mails";

/// What exists before any actor does. Connections among it live on the database's runtime.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    /// The same clock, as it is corrected.
    pub shared_clock: Arc<SharedClock>,
    pub space: Space,
    pub database: Database,
    /// For lists and searches of staff: from the replica if there is one.
    pub lists: Database,
    /// For figures of all customers: connections of their own, to the replica if there is one.
    pub reports: Database,
    pub redis: Option<Redis>,
    pub rabbit: Option<Rabbit>,
    pub limiter: Arc<Limiter>,
    pub transport: Arc<Transport>,
    pub gateway: Arc<dyn Gateway>,
    pub root: RootSecret,
    pub seals: Seals,
    pub access: Arc<AccessTokens>,
    pub revoked: Arc<RevokedSessions>,
    pub hashing: Arc<HashingPool>,
    pub social: Arc<Social>,
    pub prometheus: PrometheusHandle,
    pub levels: Levels,
}

/// What lives until the end, and what ends it.
pub struct Running {
    pub services: Services,
    pub shards: Shards<Batches>,
    pub workers: Workers,
    /// Workers that work through the shards: they stop before these do.
    pub intake: Workers,
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
/// fit, a signing key or keys of customers that the configured keys do not open.
pub async fn parts(config: Arc<Config>, telemetry: &Telemetry) -> anyhow::Result<Parts> {
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
    let lists = database.clone().reading_from(settings::replica(&config, settings::lists(&config)));
    let reports = reports(&config);
    let read = clock_watch::shared_clock_of(&database).await;
    let shared_clock = Arc::new(read.context("the database cannot be asked for its time")?);
    let clock: Arc<dyn Clock> = shared_clock.clone();
    preconditions::check(&config, &database).await?;
    let root = RootSecret::new(*config.secrets.root_key.expose());
    let overlap = settings::signing(&config).overlap;
    let keys = signing::first(&database, &*clock, &Sealer::new(&root), overlap).await?;
    let seals = settings::seals(&config);
    customer_keys::all_open(&database, seals.keys.wrapping()).await?;
    let rabbit = settings::rabbit(&config)?;
    let redis = settings::redis(&config)?;
    Ok(Parts {
        limiter: Arc::new(settings::limiter(&config, redis.clone(), &ThrottleKeys::new(&root))),
        transport: Arc::new(settings::mail(
            &config,
            rabbit.as_ref().map(|rabbit| rabbit.apart(MAILS)),
        )?),
        gateway: settings::sms(&config)?.into(),
        access: Arc::new(AccessTokens::new(settings::access(&config), keys)),
        revoked: Arc::new(RevokedSessions::new()),
        hashing: Arc::new(HashingPool::start(settings::hashing(&config))?),
        social: Arc::new(Social::new(&config.social, clock.clone(), Handle::current())?),
        clock,
        shared_clock,
        space: Space::default(),
        database,
        lists,
        reports,
        redis,
        rabbit,
        root,
        seals,
        prometheus: telemetry.prometheus.clone(),
        levels: telemetry.levels.clone(),
    })
}

/// The database for figures. On the runtime that its connections live on.
pub fn reports(config: &Config) -> Database {
    let settings = settings::reports(config);
    let replica = settings::replica(config, settings.clone());
    Database::new(settings, Handle::current()).reading_from(replica)
}

/// Starts workers, shards and what handlers work with. On the `System`'s thread.
///
/// # Errors
/// When the operating system gives no thread.
pub fn start(config: &Arc<Config>, parts: Parts, database: Handle) -> anyhow::Result<Running> {
    let (escalation, escalated) = Escalation::new();
    let runtime = Runtime::new(database, settings::runtime(config), escalation)?;
    let (mut workers, after) = start_workers(config, &parts, &runtime)?;
    let desk = SegmentDesk::new(config, Standards::default());
    let batches = Arc::new(Batches {
        database: parts.database.clone(),
        clock: parts.clock.clone(),
        keep_keys: config.idempotency.keep_hours.delta(),
        welcome: consents::welcome_series(config),
        defaults: settings::default_segments(config),
        standards: desk.standards().clone(),
        seals: parts.seals.clone(),
        after,
    });
    let shards = runtime.spawn_shards("customers", settings::shards(config), &batches);
    let customers = Customers::new(shards.clone(), config.shards.call_timeout_ms.duration());
    // The importer works through the batches, which wake other workers: it comes last.
    let engine = Engine::new(config, batches.clone());
    let space = parts.space.clone();
    let importer = runtime.spawn_worker(move || Importer::new(engine.clone(), space.clone()));
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    let imports = Imports::new(database, clock, importer.nudge(), parts.space.clone());
    workers.add(importer);
    let mut intake = start_intake(config, &parts, &runtime, &customers)?;
    if let Some(reconciler) = start_reconciler(config, &parts, &runtime, &customers)? {
        intake.add(reconciler);
    }
    segment_workers::start(config, &parts, &runtime, &mut intake, &batches, &customers, &desk);
    let exporter = privacy_exports::worker(config, &parts, &runtime, &customers);
    let exports = exporter.nudge();
    intake.add(exporter);
    let reaper = erasures::start(config, &parts, &runtime, &mut intake, &customers)?;
    let hour = LastHour::default();
    workers.add(operators::hour_keeper(&parts, &runtime, hour.clone()));
    let board = operators::board(&parts, hour);
    let actors = operators::desk(&parts, [&workers, &intake], &shards);
    let begun = Begun { imports, segments: desk, board, actors, exports, reaper };
    let services = services(config, &parts, &runtime, customers, begun)?;
    Ok(Running {
        services,
        shards,
        workers,
        intake,
        runtime,
        hashing: parts.hashing,
        rabbit: parts.rabbit,
        escalated,
    })
}

/// Starts the workers, and says whom a commit wakes.
fn start_workers(
    config: &Arc<Config>,
    parts: &Parts,
    runtime: &Runtime,
) -> anyhow::Result<(Workers, AfterCommit)> {
    let mut workers = Workers::new();
    let (outbox, segments) = (Dirty::new(), Dirty::new());
    // Without a broker the messages wait in the outbox.
    if let Some(rabbit) = parts.rabbit.clone() {
        let (database, clock) = (parts.database.clone(), parts.clock.clone());
        let (dirty, settings) = (outbox.clone(), settings::relay(config));
        let relay = runtime.spawn_worker(move || {
            OutboxRelay::new(
                database.clone(),
                rabbit.clone(),
                clock.clone(),
                dirty.clone(),
                settings.clone(),
            )
        });
        outbox.wake(relay.nudge());
        workers.add(relay);
    }
    let mailer = Mailer::new(
        parts.database.clone(),
        parts.transport.clone(),
        Arc::new(OneTimeTokens::new(&parts.root)),
        parts.clock.clone(),
        settings::mailer(config),
    );
    let mailer = runtime.spawn_worker(move || mailer.clone());
    let texter = texter_worker(config, parts, runtime);
    let life = config.sessions.access_token_minutes.delta();
    let after = AfterCommit {
        outbox,
        segments,
        walks: Arc::default(),
        mailer: Some(mailer.nudge()),
        texter: Some(texter.nudge()),
        revoked: parts.revoked.clone(),
        remember_revoked: life + CLOCK_LEEWAY,
    };
    workers.add(mailer);
    workers.add(texter);
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    let settings = settings::janitor(config)?;
    workers.add(
        runtime
            .spawn_worker(move || Janitor::new(database.clone(), clock.clone(), settings.clone())),
    );
    let (database, clock) = (parts.database.clone(), parts.shared_clock.clone());
    workers.add(runtime.spawn_worker(move || ClockWatch::new(database.clone(), clock.clone())));
    let room = config.database.room_mib;
    let watch = SpaceWatch::new(parts.database.clone(), parts.space.clone(), room);
    workers.add(runtime.spawn_worker(move || watch.clone()));
    workers.add(runtime.spawn_worker(revocation_watch(config, parts)));
    workers.add(runtime.spawn_worker(signing_watch(config, parts)));
    workers.add(runtime.spawn_worker(audit::sealer(config, parts)));
    workers.add(analytics::worker(config, parts, runtime));
    Ok((workers, after))
}

/// The workers that hear of orders; none without a broker.
fn start_intake(
    config: &Config,
    parts: &Parts,
    runtime: &Runtime,
    customers: &Customers,
) -> anyhow::Result<Workers> {
    let mut intake = Workers::new();
    let Some(settings::Letters { source, dead_letters }) = settings::orders(config)? else {
        return Ok(intake);
    };
    let keys = &config.orders.intake;
    let desk = Arc::new(Desk::new(
        parts.database.clone(),
        customers.clone(),
        parts.clock.clone(),
        dead_letters,
        keys.body_limit_bytes,
        keys.give_up_after_seconds.delta(),
        keys.parked_max,
    ));
    // lossless: the range of the key ends at 1000
    let in_flight_max = keys.in_flight_max as usize;
    let parked = desk.clone();
    intake.add(
        runtime.spawn_worker(move || OrderIntake::new(source.clone(), desk.clone(), in_flight_max)),
    );
    intake.add(runtime.spawn_worker(move || ParkedOrders::new(parked.clone())));
    Ok(intake)
}

/// The worker that reconciles orders on schedule, if there is one.
fn start_reconciler(
    config: &Config,
    parts: &Parts,
    runtime: &Runtime,
    customers: &Customers,
) -> anyhow::Result<Option<WorkerRef>> {
    let every = config.orders.reconciliation.every_hours;
    if every.count() == 0 {
        return Ok(None);
    }
    let engine = reconciliation::Engine {
        database: parts.database.clone(),
        clock: parts.clock.clone(),
        door: reconciliation::Door::Shards(customers.clone()),
        orders: settings::order_service(config)?,
        settings: settings::reconciliation(config, Actor::Service),
    };
    let every = every.delta();
    Ok(Some(runtime.spawn_worker(move || Reconciler::new(engine.clone(), every))))
}

fn texter_worker(config: &Config, parts: &Parts, runtime: &Runtime) -> WorkerRef {
    let texter = Texter::new(
        parts.database.clone(),
        parts.gateway.clone(),
        Arc::new(PhoneCodes::new(&parts.root)),
        parts.clock.clone(),
        settings::texter(config),
    );
    runtime.spawn_worker(move || texter.clone())
}

/// What several of the handlers' parts work with.
struct Shared {
    keys: Arc<ThrottleKeys>,
    codes: Arc<PhoneCodes>,
    allowance: Arc<Allowance>,
    sessions: Arc<Sessions>,
    sealer: Arc<Sealer>,
    customer_keys: CustomerKeys,
    backup_codes: Arc<BackupCodes>,
    relying_party: Option<Arc<RelyingParty>>,
}

impl Shared {
    fn new(config: &Config, parts: &Parts, customers: &Customers) -> Self {
        let keys = Arc::new(ThrottleKeys::new(&parts.root));
        let allowance = Arc::new(Allowance::new(parts.limiter.clone(), keys.clone()));
        let sessions = Sessions::new(
            parts.database.clone(),
            customers.clone(),
            parts.clock.clone(),
            RefreshTokens::new(&parts.root),
            SessionSettings::from(config),
        );
        Self {
            keys,
            codes: Arc::new(PhoneCodes::new(&parts.root)),
            allowance,
            sessions: Arc::new(sessions),
            sealer: Arc::new(Sealer::new(&parts.root)),
            customer_keys: CustomerKeys::new(&parts.database, &parts.clock, &parts.seals.keys),
            backup_codes: Arc::new(BackupCodes::new(&parts.root)),
            relying_party: RelyingParty::new(&config.passkeys).map(Arc::new),
        }
    }

    /// The gate that every credential passes.
    fn gate(&self, config: &Config, parts: &Parts, customers: &Customers) -> Gate {
        let gate = GateParts {
            database: parts.database.clone(),
            customers: customers.clone(),
            sessions: self.sessions.clone(),
            hashing: parts.hashing.clone(),
            allowance: self.allowance.clone(),
            keys: self.keys.clone(),
            phone_codes: self.codes.clone(),
            sealer: self.sealer.clone(),
            customer_keys: self.customer_keys.clone(),
            backup_codes: self.backup_codes.clone(),
            social: parts.social.clone(),
            relying_party: self.relying_party.clone(),
            clock: parts.clock.clone(),
        };
        Gate::new(gate, GateSettings::from(config))
    }
}

/// What handlers need of what lives, and what wakes the workers that carry out what routes ask for.
struct Begun {
    imports: Imports,
    segments: SegmentDesk,
    board: Board,
    actors: ActorDesk,
    exports: Nudge,
    reaper: Nudge,
}

/// What handlers work with.
fn services(
    config: &Arc<Config>,
    parts: &Parts,
    runtime: &Runtime,
    customers: Customers,
    begun: Begun,
) -> anyhow::Result<Services> {
    let shared = Shared::new(config, parts, &customers);
    let gate = shared.gate(config, parts, &customers);
    let Shared {
        keys, codes, allowance, sessions, customer_keys, backup_codes, relying_party, ..
    } = shared;
    let phones =
        Phones::new(allowance.clone(), codes, parts.clock.clone(), PhoneSettings::from(&**config));
    let privacy_exports =
        privacy_exports::desk(config, parts, &gate, &customer_keys, begun.exports);
    let second_factors = SecondFactorParts {
        database: parts.database.clone(),
        gate: gate.clone(),
        customer_keys: customer_keys.clone(),
        backup_codes,
        clock: parts.clock.clone(),
        issuer: config.sign_in.totp_issuer.clone(),
    };
    let passkeys = relying_party.map(|relying_party| {
        Passkeys::new(PasskeyParts {
            database: parts.database.clone(),
            gate: gate.clone(),
            relying_party,
            clock: parts.clock.clone(),
            // lossless: the range of the key ends at 100
            limit: config.passkeys.limit as usize,
        })
    });
    let registration = RegistrationParts {
        database: parts.database.clone(),
        customers: customers.clone(),
        sessions: sessions.clone(),
        hashing: parts.hashing.clone(),
        allowance: allowance.clone(),
        keys: keys.clone(),
        tokens: OneTimeTokens::new(&parts.root),
        clock: parts.clock.clone(),
    };
    let policy = Arc::new(settings::passwords(config));
    let email_change = EmailChangeParts {
        database: parts.database.clone(),
        customers: customers.clone(),
        gate: gate.clone(),
        allowance: allowance.clone(),
        tokens: OneTimeTokens::new(&parts.root),
        clock: parts.clock.clone(),
    };
    let passwords = PasswordParts {
        database: parts.database.clone(),
        customers: customers.clone(),
        gate: gate.clone(),
        hashing: parts.hashing.clone(),
        allowance: allowance.clone(),
        keys: keys.clone(),
        tokens: OneTimeTokens::new(&parts.root),
        policy: policy.clone(),
        clock: parts.clock.clone(),
    };
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    let sharing = Sharing::new(database, clock, allowance, &parts.root, config);
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    let rabbit = parts.rabbit.clone();
    let dead_letters = DeadLetterDesk::new(database, clock, rabbit, settings::dead_letters(config));
    let deletions = erasures::desk(config, parts, &gate, begun.reaper)?;
    let registry = runtime.registry();
    let mut notes = probes::notes(parts);
    notes.push(operators::note(registry.clone()));
    let admission = Admission::new(admission::Settings::from(&**config));
    admission.watch(&parts.database, registry.clone());
    Ok(Services {
        customers,
        dead_letters,
        deletions,
        phones: Arc::new(phones),
        gate,
        passwords: Passwords::new(passwords, PasswordSettings::from(&**config)),
        email_change: EmailChange::new(email_change, EmailChangeSettings::from(&**config)),
        password_policy: policy,
        customer_keys,
        second_factors: SecondFactors::new(second_factors),
        passkeys,
        registration: Registration::new(registration, RegistrationSettings::from(&**config)),
        sessions,
        segments: begun.segments,
        sharing,
        imports: begun.imports,
        privacy_exports,
        database: parts.database.clone(),
        lists: parts.lists.clone(),
        reports: parts.reports.clone(),
        access: parts.access.clone(),
        revoked: parts.revoked.clone(),
        staff_keys: StaffKeys::new(parts.database.clone()),
        throttle_keys: keys,
        clock: parts.clock.clone(),
        purposes: Arc::new(Purposes::from(&**config)),
        config: config.clone(),
        retention: settings::retention(config),
        hashing: parts.hashing.clone(),
        readiness: Readiness::new(probes::all(parts, registry.clone()), notes),
        registry,
        board: begun.board,
        actors: begun.actors,
        admission,
        levels: parts.levels.clone(),
        prometheus: parts.prometheus.clone(),
    })
}
