//! Passkeys: `/v1/me/passkeys` for their owner, and signing in with nothing but one.
//!
//! What browsers exchange is the standard's own JSON (WebAuthn Level 3): `public_key` is what
//! `PublicKeyCredential.parseCreationOptionsFromJSON` and `parseRequestOptionsFromJSON` take,
//! `credential` what `toJSON()` of the answer gives.

use super::auth::{client, origin, passed_gate};
use super::body::{JsonBody, MaybeJsonBody};
use super::catalogue::Code;
use super::client_address::ClientAddress;
use super::conditional::{IfMatch, IfNoneMatch, etag};
use super::field::{FieldFault, Raw};
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::mfa::{ProofBody, read_evidence};
use super::pages::{Page, PageRequest};
use super::principal::Owner;
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::token_pair::{TokenPair, seconds_until};
use super::values::{
    IdempotencyParam, IfMatchParam, IfNoneMatchParam, PageParams, PathId, given, parsed,
};
use crate::actors::gate::{Evidence, PasskeyAttempt, PasskeyChallenge};
use crate::actors::passkeys::{Finish, Passkeys};
use crate::db;
use crate::domain::PasskeyId;
use crate::domain::command::Command;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::passkey::{Passkey, PasskeyChange};
use crate::domain::text::Label;
use crate::security::passkeys::{Assertion, Attestation};
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, delete, get, patch, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;
use zeroize::Zeroizing;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(begin_sign_in).service(sign_in);
    cfg.service(begin_registration).service(list).service(create).service(show);
    cfg.service(change_passkey).service(remove);
}

/// The ceremonies, where passkeys are on.
fn enabled(services: &Services) -> Result<&Passkeys, Problem> {
    services.passkeys.as_ref().ok_or(Problem::new(Code::PasskeysOff))
}

// --- bodies -----------------------------------------------------------------------------------

/// A new passkey.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Finish`")]
struct NewPasskey {
    /// From the answer of `/v1/me/passkeys/challenge`.
    challenge: String,
    /// `RegistrationResponseJSON`: what `toJSON()` of the new credential gives.
    #[schema(value_type = Object)]
    credential: Value,
    /// The owner's name for it.
    #[schema(max_length = 80, default = "Passkey", example = "Ánh's phone")]
    name: Option<String>,
}

pub(super) fn read_finish(form: &mut Form<'_>) -> Option<Finish> {
    let challenge = form.required("challenge", token);
    let attestation = form.required("credential", |raw| {
        Attestation::parse(raw.value().clone()).map_err(|_| malformed_credential())
    });
    let name = form.optional("name", |raw| parsed(raw, Label::parse));
    Some(Finish { challenge: challenge?, attestation: attestation?, name })
}

/// A change of a passkey. A name is changed as it is; what is asked for after a password takes a
/// proof, as removing a passkey does.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Change`")]
struct PasskeyPatch {
    #[schema(nullable = false, max_length = 80, example = "Ánh's phone")]
    name: Option<String>,
    /// `true`: after a password, one of my passkeys is asked for.
    #[schema(nullable = false)]
    second_factor: Option<bool>,
    #[schema(format = "password")]
    password: Option<String>,
    /// Of the authenticator app, or a backup code.
    code: Option<String>,
}

pub(super) struct Change {
    name: Option<Label>,
    second_factor: Option<bool>,
    evidence: Evidence,
}

impl Change {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Change> {
        let name = given(form.patch_required("name", |raw| parsed(raw, Label::parse)));
        let second_factor = given(form.patch_required("second_factor", Raw::boolean));
        Some(Change {
            name,
            second_factor,
            evidence: read_evidence(form)?.unwrap_or(Evidence::RecentSession),
        })
    }
}

/// The answer of an authenticator.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into an `Answer`")]
struct PasskeySignIn {
    /// From the answer of `/v1/auth/passkey/challenge`.
    challenge: String,
    /// `AuthenticationResponseJSON`: what `toJSON()` of the credential gives.
    #[schema(value_type = Object)]
    credential: Value,
    /// From an earlier sign-in on this device.
    device_token: Option<String>,
    /// To tell sessions apart by.
    #[schema(max_length = 80, example = "Ánh's phone")]
    device_name: Option<String>,
}

pub(super) struct Answer {
    challenge: Zeroizing<String>,
    assertion: Assertion,
    device_token: Option<Zeroizing<String>>,
    device_name: Option<Label>,
}

impl Answer {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Answer> {
        let challenge = form.required("challenge", token);
        let assertion = form.required("credential", read_assertion);
        let device_token = form.optional("device_token", token);
        let device_name = form.optional("device_name", |raw| parsed(raw, Label::parse));
        Some(Answer { challenge: challenge?, assertion: assertion?, device_token, device_name })
    }
}

fn token(raw: Raw<'_>) -> Result<Zeroizing<String>, FieldFault> {
    Ok(Zeroizing::new(raw.text()?.to_owned()))
}

/// The answer of an authenticator to a sign-in.
pub(super) fn read_assertion(raw: Raw<'_>) -> Result<Assertion, FieldFault> {
    Assertion::parse(raw.value().clone()).map_err(|_| malformed_credential())
}

fn malformed_credential() -> FieldFault {
    FieldFault::new("malformed_credential", "Must be a credential in the JSON of WebAuthn.")
}

// --- answers ----------------------------------------------------------------------------------

/// A passkey.
#[derive(Serialize, ToSchema)]
#[schema(as = Passkey)]
struct PasskeyView {
    id: Uuid,
    #[schema(example = "Ánh's phone")]
    name: String,
    /// Whether it is asked for after a password.
    second_factor: bool,
    /// Whether it may be on several devices of its owner.
    synced: bool,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    /// The `ETag`.
    version: i64,
}

impl From<Passkey> for PasskeyView {
    fn from(passkey: Passkey) -> PasskeyView {
        PasskeyView {
            id: passkey.id.0,
            name: passkey.name.as_str().to_owned(),
            second_factor: passkey.second_factor,
            synced: passkey.backup_eligible,
            created_at: passkey.created_at,
            last_used_at: passkey.last_used_at,
            version: passkey.version,
        }
    }
}

/// What to ask an authenticator.
#[derive(Serialize, ToSchema)]
struct Asked {
    /// To be sent back with the answer; good once.
    challenge: String,
    /// Life of the challenge, seconds.
    #[schema(example = 300)]
    expires_in: i64,
    /// For `navigator.credentials`, in the standard's JSON.
    #[schema(value_type = Object)]
    public_key: Value,
}

impl Asked {
    fn new(challenge: PasskeyChallenge, now: DateTime<Utc>) -> Asked {
        Asked {
            challenge: challenge.token.as_str().to_owned(),
            expires_in: seconds_until(challenge.expires_at, now),
            public_key: challenge.options,
        }
    }
}

fn answer(mut response: HttpResponseBuilder, outcome: Outcome) -> Result<HttpResponse, Problem> {
    match outcome {
        Outcome::Passkey(passkey) => {
            response.insert_header(etag(passkey.version));
            Ok(response.json(PasskeyView::from(*passkey)))
        }
        other => Err(unexpected(&other)),
    }
}

// --- signing in -------------------------------------------------------------------------------

/// A challenge to sign in by passkey, without a name.
#[utoipa::path(
    tag = "sign-in",
    responses(
        (status = 200, body = Asked),
        (status = 404, body = ProblemDocument, description = "`passkeys_off`"),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/auth/passkey/challenge")]
async fn begin_sign_in(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
) -> Result<HttpResponse, Problem> {
    enabled(&services)?;
    let origin = origin(&identity, address);
    let asked = services.gate.passkey_challenge(&origin).await;
    let (challenge, mut response) = passed_gate(asked)?;
    Ok(response.json(Asked::new(challenge, services.clock.now())))
}

/// Signs in with nothing but a passkey. It verified its user, so it is two factors in one and no
/// second one is asked for.
#[utoipa::path(
    tag = "sign-in",
    request_body = PasskeySignIn,
    responses(
        (status = 200, body = TokenPair),
        (status = 401, body = ProblemDocument,
            description = "`invalid_credentials`, whatever is wrong with the answer; `flow_invalid`: \
                the challenge is over"),
        (status = 403, body = ProblemDocument, description = "only after a right answer"),
        (status = 404, body = ProblemDocument, description = "`passkeys_off`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/auth/passkey")]
async fn sign_in(
    services: Data<Services>,
    request: HttpRequest,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let Answer { challenge, assertion, device_token, device_name } = body.read(Answer::read)?;
    enabled(&services)?;
    let attempt = PasskeyAttempt {
        challenge,
        assertion,
        device_token,
        client: client(&request, address, device_name),
        origin: origin(&identity, address),
    };
    let (opened, mut response) = passed_gate(services.gate.passkey_sign_in(attempt).await)?;
    Ok(response.json(TokenPair::opened(&services, &opened)))
}

// --- the owner's own --------------------------------------------------------------------------

/// A challenge for a new passkey. Asks for the password or a code; where there is
/// neither, for a session that began just now.
#[utoipa::path(
    tag = "passkeys",
    security(("customer" = [])),
    request_body = ProofBody,
    responses(
        (status = 200, body = Asked),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 404, body = ProblemDocument, description = "`passkeys_off`"),
        (status = 409, body = ProblemDocument, description = "`passkey_limit_reached`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/passkeys/challenge")]
async fn begin_registration(
    owner: Owner,
    identity: RequestIdentity,
    address: ClientAddress,
    body: MaybeJsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let evidence = evidence(&body)?;
    let passkeys = enabled(&services)?;
    let origin = origin(&identity, address);
    let (challenge, mut response) =
        passed_gate(passkeys.begin(owner.into(), evidence, &origin).await)?;
    Ok(response.json(Asked::new(challenge, services.clock.now())))
}

/// Keeps a new passkey.
#[utoipa::path(
    tag = "passkeys",
    security(("customer" = [])),
    params(IdempotencyParam),
    request_body = NewPasskey,
    responses(
        (status = 201, body = PasskeyView, headers(("Location" = String), ("ETag" = String))),
        (status = 401, body = ProblemDocument, description = "`flow_invalid`: the challenge is over"),
        (status = 404, body = ProblemDocument, description = "`passkeys_off`"),
        (status = 409, body = ProblemDocument,
            description = "`passkey_known`, `passkey_limit_reached`, `account_frozen`"),
        (status = 422, body = ProblemDocument, description = "`passkey_refused`, `validation_failed`"),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/me/passkeys")]
async fn create(
    owner: Owner,
    request: HttpRequest,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let finish = body.read(read_finish)?;
    let passkeys = enabled(&services)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let origin = origin(&identity, address);
    let judged = passkeys.finish(owner.customer_id, finish, &origin).await;
    let (command, _) = passed_gate(judged)?;
    let answered = services.submit(&owner, &identity, owner.customer_id, command, key).await?;
    let mut response = HttpResponse::Created();
    note_replay(&mut response, &answered);
    if let Outcome::Passkey(passkey) = &answered.outcome {
        let location = format!("/v1/me/passkeys/{}", passkey.id);
        response.insert_header((header::LOCATION, location));
    }
    answer(response, answered.outcome)
}

/// My passkeys, in the order of their registration.
#[utoipa::path(
    tag = "passkeys",
    security(("customer" = [])),
    params(PageParams),
    responses((status = 200, body = Page<PasskeyView>))
)]
#[get("/v1/me/passkeys")]
async fn list(
    owner: Owner,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<PasskeyView>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<Uuid>::read(query, "passkeys"))?;
    let (id, after, limit) = (owner.customer_id, page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::passkeys::list(connection, id, after, limit).await })
    });
    Ok(web::Json(page.page(read.await?, |passkey| passkey.id.0, PasskeyView::from)))
}

/// One of my passkeys.
#[utoipa::path(
    tag = "passkeys",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = PasskeyView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/me/passkeys/{id}")]
async fn show(
    owner: Owner,
    id: web::Path<PathId>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (customer, id) = (owner.customer_id, PasskeyId(id.0));
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::passkeys::find(connection, customer, id).await })
    });
    let passkey = read.await?.ok_or(Rejection::NotFound)?;
    Ok(known.answer(passkey.version, &PasskeyView::from(passkey)))
}

/// Renames one of my passkeys, or says whether it is asked for after a password.
#[utoipa::path(
    tag = "passkeys",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = PasskeyPatch,
    responses(
        (status = 200, body = PasskeyView),
        (status = 403, body = ProblemDocument,
            description = "`proof_needed`, `proof_invalid`: only with `second_factor`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[patch("/v1/me/passkeys/{id}")]
async fn change_passkey(
    owner: Owner,
    id: web::Path<PathId>,
    on: IfMatch,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Change { name, second_factor, evidence } = body.read(Change::read)?;
    let change = PasskeyChange {
        id: PasskeyId(id.0),
        name,
        second_factor,
        proof: None,
        mail_id: crate::domain::MailId(services.clock.new_id()),
        if_match: on.version()?,
    };
    if second_factor.is_none() {
        let command = Command::ChangePasskey(Box::new(change));
        let answered = services.submit(&owner, &identity, owner.customer_id, command, None).await?;
        return answer(HttpResponse::Ok(), answered.outcome);
    }
    let passkeys = enabled(&services)?;
    let origin = origin(&identity, address);
    let changed = passkeys.change(owner.into(), change, evidence, &origin).await;
    let (outcome, response) = passed_gate(changed)?;
    answer(response, outcome)
}

/// Removes one of my passkeys. Asks for the password or a code; where there is
/// neither, for a session that began just now. The
/// last way to sign in stays.
#[utoipa::path(
    tag = "passkeys",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = ProofBody,
    responses(
        (status = 204, description = "Removed"),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 409, body = ProblemDocument, description = "`last_sign_in_method`, `account_frozen`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[delete("/v1/me/passkeys/{id}")]
async fn remove(
    owner: Owner,
    id: web::Path<PathId>,
    on: IfMatch,
    identity: RequestIdentity,
    address: ClientAddress,
    body: MaybeJsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let evidence = evidence(&body)?;
    let passkeys = enabled(&services)?;
    let origin = origin(&identity, address);
    let id = PasskeyId(id.0);
    passed_gate(passkeys.remove(owner.into(), id, on.version()?, evidence, &origin).await)?;
    Ok(HttpResponse::NoContent().finish())
}

/// No body is no evidence but the session.
fn evidence(body: &MaybeJsonBody) -> Result<Evidence, Problem> {
    let shown = body.0.as_ref().map_or(Ok(None), |body| body.read(read_evidence))?;
    Ok(shown.unwrap_or(Evidence::RecentSession))
}
