//! The whole application without a database: what is refused before it, what is said when it is
//! gone, and that the description tells the truth about the routes and the bodies.

mod answers;
mod bodies;
mod document;
mod overload;
mod shop;

use super::admission::{self, Admission, Class};
use super::ops::board::Board;
use super::readiness::{Found, Probe, Readiness};
use super::services::Services;
use super::staff_keys::StaffKeys;
use super::{Surface, app};
use crate::actors::allowance::Allowance;
use crate::actors::batch::{AfterCommit, Batches, Seals};
use crate::actors::consents::Purposes;
use crate::actors::customer_keys::CustomerKeys;
use crate::actors::customers::Customers;
use crate::actors::dead_letters::{DeadLetterDesk, Settings as DeadLetterSettings};
use crate::actors::email_change::{EmailChange, EmailChangeParts, EmailChangeSettings};
use crate::actors::erasures::{Certificates, DeletionParts, DeletionSettings, Deletions};
use crate::actors::gate::{Gate, GateParts, GateSettings};
use crate::actors::imports::Imports;
use crate::actors::operators::desk::ActorDesk;
use crate::actors::operators::installation::Known;
use crate::actors::operators::last_hour::LastHour;
use crate::actors::passkeys::{PasskeyParts, Passkeys};
use crate::actors::passwords::{PasswordParts, PasswordSettings, Passwords};
use crate::actors::phones::{PhoneSettings, Phones};
use crate::actors::privacy_exports::{PrivacyExportParts, PrivacyExports};
use crate::actors::registration::{Registration, RegistrationParts, RegistrationSettings};
use crate::actors::retention::Retention;
use crate::actors::runtime::{Backoff, Escalation, Intensity, Runtime, RuntimeSettings};
use crate::actors::second_factors::{SecondFactorParts, SecondFactors};
use crate::actors::segments::SegmentDesk;
use crate::actors::sessions::{SessionSettings, Sessions};
use crate::actors::shard::ShardSettings;
use crate::actors::sharing::Sharing;
use crate::actors::worker::{Nudge, Workers};
use crate::actors::workers::space_watch::Space;
use crate::brokers::limits::Limiter;
use crate::clock::{Clock, ManualClock};
use crate::config::Config;
use crate::db::{Database, DatabaseSettings, Purpose};
use crate::security::access::{Access, AccessSettings, AccessTokens};
use crate::security::audit_seal::AuditKey;
use crate::security::backup_codes::BackupCodes;
use crate::security::customer_keys::WrappingKeys;
use crate::security::hashing::{HashingPool, HashingSettings};
use crate::security::key_ring::{KEYS_MAX, KeyRing};
use crate::security::keys::RootSecret;
use crate::security::passkeys::RelyingParty;
use crate::security::password_policy::PasswordPolicy;
use crate::security::phone_codes::PhoneCodes;
use crate::security::revoked::RevokedSessions;
use crate::security::sealing::Sealer;
use crate::security::signing::{KeySet, Period, SigningKey};
use crate::security::social::Social;
use crate::security::tokens::{OneTimeTokens, RefreshTokens, ThrottleKeys, staff_key};
use crate::telemetry::levels::Levels;
use actix_web::body::to_bytes;
use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, header};
use actix_web::test::{TestRequest, init_service, try_call_service};
use bodies::bodies;
use chrono::{DateTime, TimeDelta, Utc};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

// ---- an application whose database refuses every connection

struct World {
    clock: Arc<ManualClock>,
    services: Services,
    _runtime: Runtime,
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn config(more: &[(&str, &str)]) -> Arc<Config> {
    let mut environment = BTreeMap::from([
        ("DATABASE_URL".to_owned(), "postgres://nobody@127.0.0.1:1/none".to_owned()),
        (
            "CUSTOMER_SERVICE__SECRETS__ROOT_KEY".to_owned(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned(),
        ),
    ]);
    environment.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Arc::new(Config::from_sources(None, &environment).unwrap())
}

fn world(more: &[(&str, &str)]) -> World {
    let config = config(more);
    let clock = Arc::new(ManualClock::at(now()));
    let shared: Arc<dyn Clock> = clock.clone();
    let handle = tokio::runtime::Handle::current();
    let short = Duration::from_millis(50);
    let settings = DatabaseSettings {
        url: config.database.url.expose().to_owned(),
        purpose: Purpose::Writes,
        pool_size: 2,
        acquire_timeout: short,
        connect_timeout: short,
        statement_timeout: short,
        lock_timeout: short,
        max_connection_age: Duration::from_secs(60),
    };
    let database = Database::new(settings, handle.clone());
    let runtime = Runtime::new(
        handle,
        RuntimeSettings {
            arbiters: 0,
            backoff: Backoff { first: short, max: short, jitter: || 0.0 },
            intensity: Intensity { failures: 5, period: Duration::from_secs(60) },
            stall_max: Duration::from_secs(5),
        },
        Escalation::new().0,
    )
    .unwrap();
    let root = RootSecret::new([7; 32]);
    let ring = Arc::new(KeyRing::new(WrappingKeys::new(&root, &[]), KEYS_MAX));
    let batches = Arc::new(Batches {
        database: database.clone(),
        clock: shared.clone(),
        keep_keys: TimeDelta::hours(24),
        welcome: Default::default(),
        defaults: Default::default(),
        standards: Default::default(),
        seals: Seals { keys: ring.clone(), values: true },
        after: AfterCommit::default(),
    });
    let shards = ShardSettings {
        actors: 1,
        queue_max: 16,
        batch_max: 16,
        batch_time_max: Duration::from_secs(5),
    };
    let shards = runtime.spawn_shards("customers", shards, &batches);
    let signs = Period { signs_from: now(), ends: None };
    let access = AccessSettings {
        issuer: "customer-service".to_owned(),
        audience: "shop".to_owned(),
        lifetime: Duration::from_secs(600),
        leeway: Duration::ZERO,
        cache_max: 100,
    };
    let gone = || Probe::needed("database", || Box::pin(async { Found::Down("gone".to_owned()) }));
    let node = "test:1".to_owned();
    let actors = ActorDesk::new(
        Workers::new(),
        shards.clone(),
        database.clone(),
        shared.clone(),
        node.clone(),
    );
    let (customers, keys) =
        (Customers::new(shards, Duration::from_secs(2)), Arc::new(ThrottleKeys::new(&root)));
    let allowance = Arc::new(Allowance::new(Arc::new(Limiter::local()), keys.clone()));
    let hashing = HashingSettings {
        threads: 1,
        queue_max: 1,
        deadline: Duration::from_secs(5),
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    let hashing = Arc::new(HashingPool::start(hashing).unwrap());
    let revoked = Arc::new(RevokedSessions::new());
    let sessions = Arc::new(Sessions::new(
        database.clone(),
        customers.clone(),
        shared.clone(),
        RefreshTokens::new(&root),
        SessionSettings::from(&*config),
    ));
    let sealer = Arc::new(Sealer::new(&root));
    let customer_keys = CustomerKeys::new(&database, &shared, &ring);
    let backup_codes = Arc::new(BackupCodes::new(&root));
    let codes = Arc::new(PhoneCodes::new(&root));
    let social =
        Social::new(&config.social, shared.clone(), tokio::runtime::Handle::current()).unwrap();
    let relying_party = RelyingParty::new(&config.passkeys).map(Arc::new);
    let gate = GateParts {
        database: database.clone(),
        customers: customers.clone(),
        sessions: sessions.clone(),
        hashing: hashing.clone(),
        allowance: allowance.clone(),
        keys: keys.clone(),
        phone_codes: codes.clone(),
        sealer,
        customer_keys: customer_keys.clone(),
        backup_codes: backup_codes.clone(),
        social: Arc::new(social),
        relying_party: relying_party.clone(),
        clock: shared.clone(),
    };
    let phones =
        Phones::new(allowance.clone(), codes, shared.clone(), PhoneSettings::from(&*config));
    let gate = Gate::new(gate, GateSettings::from(&*config));
    let second_factors = SecondFactorParts {
        database: database.clone(),
        gate: gate.clone(),
        customer_keys: customer_keys.clone(),
        backup_codes,
        clock: shared.clone(),
        issuer: config.sign_in.totp_issuer.clone(),
    };
    let passkeys = relying_party.map(|relying_party| {
        Passkeys::new(PasskeyParts {
            database: database.clone(),
            gate: gate.clone(),
            relying_party,
            clock: shared.clone(),
            // lossless: the range of the key ends at 100
            limit: config.passkeys.limit as usize,
        })
    });
    let registration = RegistrationParts {
        database: database.clone(),
        customers: customers.clone(),
        sessions: sessions.clone(),
        hashing: hashing.clone(),
        allowance: allowance.clone(),
        keys: keys.clone(),
        tokens: OneTimeTokens::new(&root),
        clock: shared.clone(),
    };
    let password_policy = Arc::new(PasswordPolicy::default());
    let email_change = EmailChangeParts {
        database: database.clone(),
        customers: customers.clone(),
        gate: gate.clone(),
        allowance: allowance.clone(),
        tokens: OneTimeTokens::new(&root),
        clock: shared.clone(),
    };
    let passwords = PasswordParts {
        database: database.clone(),
        customers: customers.clone(),
        gate: gate.clone(),
        hashing: hashing.clone(),
        allowance: allowance.clone(),
        keys: keys.clone(),
        tokens: OneTimeTokens::new(&root),
        policy: password_policy.clone(),
        clock: shared.clone(),
    };
    let privacy_exports = PrivacyExportParts {
        database: database.clone(),
        gate: gate.clone(),
        customer_keys: customer_keys.clone(),
        clock: shared.clone(),
        nudge: Nudge::new(),
        per_day: config.privacy_exports.per_day,
    };
    let deletions = DeletionParts {
        database: database.clone(),
        gate: gate.clone(),
        clock: shared.clone(),
        orders: None,
        reaper: Nudge::new(),
        certificates: Certificates::new(AuditKey::new(&root), "https://test.example".to_owned()),
    };
    let installation = Known::new(database.clone(), shared.clone());
    let admission = Admission::new(admission::Settings::from(&*config));
    let services = Services {
        customers,
        privacy_exports: PrivacyExports::new(privacy_exports),
        deletions: Deletions::new(deletions, DeletionSettings::from(&*config)),
        phones: Arc::new(phones),
        gate,
        passwords: Passwords::new(passwords, PasswordSettings::from(&*config)),
        email_change: EmailChange::new(email_change, EmailChangeSettings::from(&*config)),
        password_policy,
        customer_keys,
        second_factors: SecondFactors::new(second_factors),
        passkeys,
        registration: Registration::new(registration, RegistrationSettings::from(&*config)),
        sessions,
        imports: Imports::new(database.clone(), shared.clone(), Nudge::new(), Space::default()),
        dead_letters: DeadLetterDesk::new(
            database.clone(),
            shared.clone(),
            None,
            DeadLetterSettings::default(),
        ),
        segments: SegmentDesk::new(&config, Default::default()),
        sharing: Sharing::new(database.clone(), shared.clone(), allowance, &root, &config),
        staff_keys: StaffKeys::new(database.clone()),
        lists: database.clone(),
        reports: database.clone(),
        database,
        access: Arc::new(AccessTokens::new(
            access,
            KeySet::new(vec![(SigningKey::generate([3; 32]), signs)], Vec::new()).unwrap(),
        )),
        revoked,
        throttle_keys: keys,
        clock: shared,
        purposes: Arc::new(Purposes::from(&*config)),
        retention: Retention::new(config.clone(), chrono::TimeDelta::minutes(12)),
        config,
        hashing,
        registry: runtime.registry(),
        admission,
        readiness: Readiness::new(vec![gone(), Probe::actors(runtime.registry())], Vec::new()),
        board: Board::new(node, installation, LastHour::default()),
        actors,
        levels: Levels::new("info", Box::new(|_| true)),
        prometheus: PrometheusBuilder::new().build_recorder().handle(),
    };
    World { clock, services, _runtime: runtime }
}

impl World {
    /// An access token of a session that is known to live, or not to.
    fn token(&self, session: u128) -> String {
        let access = Access {
            customer_id: Uuid::from_u128(1),
            session_id: Uuid::from_u128(session),
            aal: 1,
            amr: vec!["pwd".to_owned()],
            auth_time: self.clock.now(),
            token_id: None,
            leaving: false,
        };
        self.services.access.issue(&access, self.clock.now()).token
    }

    /// What the revocation watch does when it has read the database.
    fn nothing_revoked(&self) {
        self.services.revoked.replace_all([], self.clock.now());
    }

    async fn send(&self, request: TestRequest) -> Answer {
        let app = init_service(app(self.services.clone(), Surface::public(true))).await;
        match try_call_service(&app, request.to_request()).await {
            Ok(response) => Answer::of(response).await,
            Err(error) => {
                let request = TestRequest::default().to_http_request();
                Answer::of(ServiceResponse::new(request, error.error_response())).await
            }
        }
    }

    async fn get_as(&self, uri: &str, token: &str) -> Answer {
        let bearer = (header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(TestRequest::get().uri(uri).insert_header(bearer)).await
    }

    async fn get(&self, uri: &str) -> Answer {
        self.send(TestRequest::get().uri(uri)).await
    }

    async fn document(&self) -> Value {
        self.get("/openapi.json").await.json()
    }
}

struct Answer {
    status: u16,
    headers: header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    async fn of(response: ServiceResponse<impl actix_web::body::MessageBody>) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.ok().unwrap().to_vec();
        Answer { status, headers, body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and code of a problem.
    fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        (self.status, self.json()["code"].as_str().unwrap().to_owned())
    }
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

// ---- the description

fn schema_name(schema: &Value) -> Option<&str> {
    // an optional object is `oneOf` null and a reference
    let direct = schema["$ref"].as_str();
    let one_of = schema["oneOf"].as_array().into_iter().flatten();
    direct.or_else(|| one_of.filter_map(|one| one["$ref"].as_str()).next())?.rsplit('/').next()
}

/// An object with every documented property, and one that is not.
fn every_property(schemas: &Value, name: &str) -> Value {
    let mut object = Map::from_iter([("bogus".to_owned(), json!(1))]);
    for (property, schema) in schemas[name]["properties"].as_object().unwrap() {
        let value = match schema_name(schema) {
            Some(nested) => every_property(schemas, nested),
            None => json!(1),
        };
        object.insert(property.clone(), value);
    }
    Value::Object(object)
}

#[actix_web::test]
async fn the_documented_fields_are_those_that_are_read() {
    let document = world(&[]).document().await;
    let schemas = &document["components"]["schemas"];
    let bodies = bodies();
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            if body.is_null() {
                continue;
            }
            let name = schema_name(body).unwrap_or_else(|| panic!("{method} {path}"));
            let (read, known) =
                bodies.get(name).unwrap_or_else(|| panic!("add {name} to `bodies` of this file"));
            documented.insert(name.to_owned());
            let properties = schemas[name]["properties"].as_object().unwrap();
            let described: BTreeSet<_> = properties.keys().map(String::as_str).collect();
            assert_eq!(described, known().into_iter().collect(), "fields of {name}");
            let unknown: Vec<_> = read(&every_property(schemas, name))
                .into_iter()
                .filter(|error| error.code == "unknown_field")
                .filter_map(|error| error.pointer)
                .collect();
            assert!(unknown.contains(&"#/bogus".to_owned()), "{name}");
            assert!(unknown.iter().all(|at| at.ends_with("/bogus")), "{name}: {unknown:?}");
        }
    }
    let listed: BTreeSet<_> = bodies.keys().map(|&name| name.to_owned()).collect();
    assert_eq!(documented, listed, "bodies of this file and of the document");
}

#[actix_web::test]
async fn what_must_be_given_is_documented_as_required() {
    let document = world(&[]).document().await;
    for (name, (read, _)) in bodies() {
        let schema = &document["components"]["schemas"][name];
        let required = schema["required"].as_array().into_iter().flatten();
        let required: BTreeSet<_> =
            required.map(|field| format!("#/{}", field.as_str().unwrap())).collect();
        let missed: BTreeSet<_> = read(&json!({}))
            .into_iter()
            .filter(|error| error.code == "required")
            .filter_map(|error| error.pointer)
            .collect();
        // of these two either will do, which a schema of properties cannot say
        let either = |name: &str| BTreeSet::from([name.to_owned()]);
        let undocumented = match name {
            "LoginBody" => either("#/email"),
            "SocialSignIn" | "SocialLink" => either("#/code"),
            _ => BTreeSet::new(),
        };
        assert_eq!(&missed - &required, undocumented, "{name}");
        assert!(required.is_subset(&missed), "{name}");
    }
}

fn operations(document: &Value) -> Vec<(Method, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            all.push((method, path.clone(), operation.clone()));
        }
    }
    all
}

#[actix_web::test]
async fn every_route_that_needs_credentials_refuses_without() {
    let world = world(&[]);
    world.nothing_revoked();
    let mut guarded = 0;
    for (method, path, operation) in operations(&world.document().await) {
        let needs = operation["security"].as_array().is_some_and(|all| !all.is_empty());
        let private = path.starts_with("/v1/me") || path.starts_with("/v1/admin");
        assert!(needs || !private, "{method} {path} asks for no credentials");
        if !needs {
            continue;
        }
        guarded += 1;
        let uri = path.replace("{id}", "0190b4a0-0000-7000-8000-000000000000");
        for credentials in [None, Some("Bearer nonsense"), Some("Basic YTpi")] {
            let mut request = TestRequest::default().method(method.clone()).uri(&uri);
            if let Some(credentials) = credentials {
                request = request.insert_header((header::AUTHORIZATION, credentials));
            }
            let answer = world.send(request).await;
            assert_eq!(answer.problem(), is(401, "unauthorized"), "{method} {path}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    assert!(guarded >= 20, "{guarded}");
}

/// Routes without `Idempotency-Key`: their bodies or answers hold secrets, of which not even a hash
/// is kept, or what they do is many changes. They are safe to repeat by their own design.
const KEYLESS: &[&str] = &[
    // asks for the password again; a second one while one runs is told which that is
    "/v1/me/privacy/export",
    "/v1/me/password",
    "/v1/me/email",
    "/v1/me/phone/confirm",
    "/v1/me/identities/{provider}",
    "/v1/me/identities/{provider}/authorize",
    "/v1/me/mfa/totp",
    "/v1/me/mfa/totp/confirm",
    "/v1/me/mfa/backup_codes",
    "/v1/me/privacy/deletion",
    "/v1/me/passkeys/challenge",
    "/v1/admin/segments/{id}/members",
    "/v1/admin/segments/preview",
];

#[actix_web::test]
async fn every_post_that_changes_something_documents_its_idempotency_key() {
    for (method, path, operation) in operations(&world(&[]).document().await) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let has = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
        let resource = ["/v1/me", "/v1/admin", "/ops"].iter().any(|at| path.starts_with(at))
            && !KEYLESS.contains(&path.as_str());
        assert_eq!(method == Method::POST && resource, has("Idempotency-Key"), "{method} {path}");
        if method == Method::PATCH {
            assert!(has("If-Match"), "{method} {path}");
        }
        for placeholder in path.split(['{', '}']).skip(1).step_by(2) {
            assert!(has(placeholder), "{method} {path}");
        }
    }
}

#[actix_web::test]
async fn the_two_surfaces_share_the_description_and_what_the_page_for_operators_asks() {
    let world = world(&[]);
    for (surface, own, foreign) in
        [(Surface::public(false), "/v1/me", "/livez"), (Surface::operators(), "/livez", "/v1/me")]
    {
        let app = init_service(app(world.services.clone(), surface)).await;
        let status = async |uri: &str| {
            let request = TestRequest::get().uri(uri).to_request();
            try_call_service(&app, request).await.unwrap().status().as_u16()
        };
        assert_ne!(status(own).await, 404);
        assert_eq!(status(foreign).await, 404);
        assert_eq!(status("/problems/not_found").await, 200);
        assert_eq!(status("/openapi.json").await, 200);
        for shared in
            ["events/dead_letters", "customers/0190b4a0-0000-7000-8000-000000000000/timeline"]
        {
            assert_eq!(status(&format!("/v1/admin/{shared}")).await, 401, "{shared}");
        }
    }
}
