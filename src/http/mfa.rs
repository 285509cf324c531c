//! Second factors (rule A9): `/v1/me/mfa` for their owner, the second step of a sign-in at
//! `/v1/auth/mfa`, and the way out for an owner that lost them, which is staff's.

use super::auth::{client, origin, passed_gate};
use super::body::{JsonBody, MaybeJsonBody};
use super::catalogue::Code as ProblemCode;
use super::client_address::ClientAddress;
use super::field::FieldFault;
use super::form::Form;
use super::passkeys;
use super::principal::{CustomersWrite, Owner, Staff};
use super::problem::{Problem, ProblemDocument};
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::token_pair::TokenPair;
use super::values::PathId;
use crate::actors::gate::{Challenge, Code, Evidence, SecondStep, Shown, SignedIn};
use crate::db;
use crate::domain::CustomerId;
use crate::domain::command::Command;
use crate::domain::outcome::Outcome;
use crate::domain::session::SecondFactor;
use crate::security::backup_codes::BackupCode;
use crate::security::passwords::Password;
use crate::security::tokens::Token;
use crate::security::totp::{Provisioning, TotpCode};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use zeroize::Zeroizing;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show).service(start_totp).service(confirm_totp).service(remove_totp);
    cfg.service(renew_backup_codes).service(second_step).service(reset);
}

// --- bodies -----------------------------------------------------------------------------------

/// What shows that it is still the owner who asks: one of the two.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into an `Evidence`")]
pub(super) struct ProofBody {
    #[schema(format = "password")]
    password: Option<String>,
    /// Of the authenticator, or a backup code.
    #[schema(example = "287082")]
    code: Option<String>,
}

/// A code of the authenticator.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body")]
struct TotpCodeBody {
    #[schema(example = "287082")]
    code: String,
}

/// The answer to a challenge.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into an `Answer`")]
struct SecondStepBody {
    /// From the answer of `/v1/auth/login`.
    challenge: String,
    /// One of its `methods`: `totp`, `backup_code` or `passkey`.
    #[schema(example = "totp")]
    method: String,
    /// What `totp` and `backup_code` show.
    #[schema(example = "287082")]
    code: Option<String>,
    /// What `passkey` shows: `AuthenticationResponseJSON` of WebAuthn.
    #[schema(value_type = Option<Object>)]
    credential: Option<serde_json::Value>,
}

/// The evidence in a body, if there is any.
pub(super) fn read_evidence(form: &mut Form<'_>) -> Option<Option<Evidence>> {
    let (mut has_password, mut has_code) = (false, false);
    let password = form.optional("password", |raw| {
        has_password = true;
        raw.text().map(Password::presented)
    });
    let code = form.optional("code", |raw| {
        has_code = true;
        Code::parse(raw.text()?).ok_or_else(malformed_code)
    });
    match (has_password, has_code) {
        (true, true) => {
            let fault = FieldFault::new("not_both", "Give password or code, not both.");
            form.refuse("code", fault);
            None
        }
        (true, false) => password.map(|password| Some(Evidence::Password(password))),
        (false, true) => code.map(|code| Some(Evidence::Code(code))),
        (false, false) => Some(None),
    }
}

fn malformed_code() -> FieldFault {
    FieldFault::new("malformed_code", "Must be a code of six digits, or a backup code.")
}

pub(super) fn read_totp_code(form: &mut Form<'_>) -> Option<TotpCode> {
    form.required("code", |raw| {
        let code = TotpCode::parse(raw.text()?);
        code.ok_or_else(|| FieldFault::new("malformed_code", "Must be a code of six digits."))
    })
}

pub(super) struct Answer {
    challenge: Zeroizing<String>,
    shown: Shown,
}

impl Answer {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Answer> {
        let challenge =
            form.required("challenge", |raw| Ok(Zeroizing::new(raw.text()?.to_owned())));
        let method = form.required("method", |raw| match raw.text()? {
            "totp" => Ok(SecondFactor::Totp),
            "backup_code" => Ok(SecondFactor::BackupCode),
            "passkey" => Ok(SecondFactor::Passkey),
            _ => {
                Err(FieldFault::new("unknown_value", "Must be `totp`, `backup_code` or `passkey`."))
            }
        });
        let (mut has_code, mut has_credential) = (false, false);
        let code = form.optional("code", |raw| {
            has_code = true;
            let text = raw.text()?;
            match method {
                Some(SecondFactor::Totp) => TotpCode::parse(text).map(Code::Totp),
                Some(SecondFactor::BackupCode) => BackupCode::parse(text).map(Code::Backup),
                _ => Code::parse(text),
            }
            .ok_or_else(malformed_code)
        });
        let credential = form.optional("credential", |raw| {
            has_credential = true;
            passkeys::read_assertion(raw)
        });
        // which of the two there must be is the method's to say
        let passkey = method.map(|method| method == SecondFactor::Passkey);
        let required = |name: &str| FieldFault::new("required", format!("Give `{name}` with it."));
        match passkey {
            Some(true) if !has_credential => form.refuse("credential", required("credential")),
            Some(false) if !has_code => form.refuse("code", required("code")),
            _ => {}
        }
        let shown = match passkey? {
            true => Shown::Passkey(Box::new(credential?)),
            false => Shown::Code(code?),
        };
        Some(Answer { challenge: challenge?, shown })
    }
}

// --- answers ----------------------------------------------------------------------------------

/// Which second factors are on.
#[derive(Serialize, ToSchema)]
struct Factors {
    /// Whether signing in asks for a second factor.
    enabled: bool,
    /// With what it can be answered.
    #[schema(value_type = Vec<String>, example = json!(["totp", "backup_code"]))]
    methods: Vec<SecondFactor>,
    totp: TotpView,
    #[schema(example = 10)]
    backup_codes_left: usize,
}

/// The authenticator.
#[derive(Serialize, ToSchema)]
struct TotpView {
    enabled: bool,
    /// Handed out, and waiting for its first code.
    pending: bool,
    enabled_at: Option<DateTime<Utc>>,
}

/// An authenticator to set up: three forms of one secret, not shown again.
#[derive(Serialize, ToSchema)]
struct TotpSetup {
    /// Base32, to be typed.
    #[schema(example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    secret: String,
    /// To be opened on the phone itself.
    #[schema(example = "otpauth://totp/Shop:anh%40example.org?secret=GEZDGNBV&issuer=Shop")]
    otpauth_uri: String,
    /// The URI as a QR code: an SVG element.
    #[schema(example = "<svg …></svg>")]
    qr_svg: String,
}

impl From<Provisioning> for TotpSetup {
    fn from(provisioning: Provisioning) -> Self {
        Self {
            secret: provisioning.secret.as_str().to_owned(),
            otpauth_uri: provisioning.uri.as_str().to_owned(),
            qr_svg: provisioning.qr_svg.as_str().to_owned(),
        }
    }
}

/// Backup codes, shown this once. Each works once in place of the second factor.
#[derive(Serialize, ToSchema)]
struct BackupCodeSet {
    #[schema(example = json!(["1x0a9-7mzkq-c4r2t"]))]
    backup_codes: Vec<String>,
}

impl From<Vec<Token>> for BackupCodeSet {
    fn from(codes: Vec<Token>) -> Self {
        Self { backup_codes: codes.iter().map(|code| code.as_str().to_owned()).collect() }
    }
}

/// The first factor was right; a second one is asked for at `/v1/auth/mfa`.
#[derive(Serialize, ToSchema)]
pub struct SecondFactorAsked {
    #[schema(value_type = String, example = "mfa_required")]
    status: &'static str,
    /// To be sent with the second factor; good once, for five tries.
    challenge: String,
    /// Life of the challenge, seconds.
    #[schema(example = 300)]
    expires_in: i64,
    #[schema(value_type = Vec<String>, example = json!(["totp", "backup_code"]))]
    methods: Vec<SecondFactor>,
    /// For `navigator.credentials.get()` in the standard's JSON, where `passkey` is among the
    /// methods.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    public_key: Option<serde_json::Value>,
}

impl SecondFactorAsked {
    pub fn new(challenge: &Challenge, now: DateTime<Utc>) -> Self {
        Self {
            status: "mfa_required",
            challenge: challenge.token.as_str().to_owned(),
            expires_in: super::token_pair::seconds_until(challenge.expires_at, now),
            methods: challenge.methods.clone(),
            public_key: challenge.passkey.clone(),
        }
    }
}

// --- the owner's own --------------------------------------------------------------------------

/// Which second factors I have, and how many backup codes are left.
#[utoipa::path(
    tag = "second factors",
    security(("customer" = [])),
    responses((status = 200, body = Factors))
)]
#[get("/v1/me/mfa")]
async fn show(owner: Owner, services: Data<Services>) -> Result<HttpResponse, Problem> {
    let id = owner.customer_id;
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::second_factors::of_customer(connection, id).await })
    });
    let state = read.await?;
    let now = services.clock.now();
    let totp = state.totp.as_ref();
    let methods = crate::domain::second_factor::offered(&state, None);
    Ok(HttpResponse::Ok().json(Factors {
        enabled: !methods.is_empty(),
        methods,
        totp: TotpView {
            enabled: totp.is_some_and(|totp| totp.is_enabled()),
            pending: totp.is_some_and(|totp| totp.is_pending(now)),
            enabled_at: totp.and_then(|totp| totp.confirmed_at),
        },
        backup_codes_left: state.backup_codes.len(),
    }))
}

/// Hands out the secret of an authenticator. Asks for the password or a code, or without either for
/// a session that began just now. Nothing changes at sign-in until its first code is confirmed;
/// asking again replaces a secret that was not.
#[utoipa::path(
    tag = "second factors",
    security(("customer" = [])),
    request_body = ProofBody,
    responses(
        (status = 200, body = TotpSetup),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 409, body = ProblemDocument, description = "`mfa_enabled`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/mfa/totp")]
async fn start_totp(
    owner: Owner,
    identity: RequestIdentity,
    address: ClientAddress,
    MaybeJsonBody(body): MaybeJsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let evidence = evidence(body.as_ref())?.unwrap_or(Evidence::RecentSession);
    let origin = origin(&identity, address);
    let started = services.second_factors.start_totp(owner.into(), evidence, &origin).await;
    let (provisioning, mut response) = passed_gate(started)?;
    Ok(response.json(TotpSetup::from(provisioning)))
}

/// Enables the authenticator by its first code. Answers with ten backup codes, shown this once.
#[utoipa::path(
    tag = "second factors",
    security(("customer" = [])),
    request_body = TotpCodeBody,
    responses(
        (status = 200, body = BackupCodeSet),
        (status = 409, body = ProblemDocument, description = "`mfa_enabled`, `mfa_not_started`"),
        (status = 422, body = ProblemDocument, description = "the code is not right"),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/me/mfa/totp/confirm")]
async fn confirm_totp(
    owner: Owner,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let code = body.read(read_totp_code)?;
    let origin = origin(&identity, address);
    let confirmed = services.second_factors.confirm_totp(owner.into(), code, &origin).await;
    let (codes, mut response) = passed_gate(confirmed)?;
    Ok(response.json(BackupCodeSet::from(codes)))
}

/// Takes the authenticator away. Asks for the password or a code; being signed in is not enough.
#[utoipa::path(
    tag = "second factors",
    security(("customer" = [])),
    request_body = ProofBody,
    responses(
        (status = 204, description = "Removed"),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 404, body = ProblemDocument, description = "there is none"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[delete("/v1/me/mfa/totp")]
async fn remove_totp(
    owner: Owner,
    identity: RequestIdentity,
    address: ClientAddress,
    MaybeJsonBody(body): MaybeJsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let evidence = evidence(body.as_ref())?.ok_or_else(|| {
        Problem::new(ProblemCode::ProofNeeded).detail("Send `password` or `code` in the body.")
    })?;
    let origin = origin(&identity, address);
    let removed = services.second_factors.remove_totp(owner.into(), evidence, &origin).await;
    passed_gate(removed)?;
    Ok(HttpResponse::NoContent().finish())
}

/// Issues ten new backup codes; the old ones are void.
#[utoipa::path(
    tag = "second factors",
    security(("customer" = [])),
    request_body = ProofBody,
    responses(
        (status = 200, body = BackupCodeSet),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 409, body = ProblemDocument, description = "`mfa_not_enabled`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/mfa/backup_codes")]
async fn renew_backup_codes(
    owner: Owner,
    identity: RequestIdentity,
    address: ClientAddress,
    MaybeJsonBody(body): MaybeJsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let evidence = evidence(body.as_ref())?.unwrap_or(Evidence::RecentSession);
    let origin = origin(&identity, address);
    let renewed = services.second_factors.renew_backup_codes(owner.into(), evidence, &origin).await;
    let (codes, mut response) = passed_gate(renewed)?;
    Ok(response.json(BackupCodeSet::from(codes)))
}

/// No body is no evidence.
pub(super) fn evidence(body: Option<&JsonBody>) -> Result<Option<Evidence>, Problem> {
    body.map_or(Ok(None), |body| body.read(read_evidence))
}

impl From<Owner> for SignedIn {
    fn from(owner: Owner) -> Self {
        Self { customer: owner.customer_id, session: owner.session_id }
    }
}

// --- signing in -------------------------------------------------------------------------------

/// The second step of a sign-in.
#[utoipa::path(
    tag = "sign-in",
    request_body = SecondStepBody,
    responses(
        (status = 200, body = TokenPair),
        (status = 401, body = ProblemDocument,
            description = "`invalid_credentials`: the code is wrong or was used before, or the passkey's \
                answer is; \
                `flow_invalid`: the challenge is over"),
        (status = 403, body = ProblemDocument, description = "only after a right code"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/auth/mfa")]
async fn second_step(
    services: Data<Services>,
    request: HttpRequest,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let Answer { challenge, shown } = body.read(Answer::read)?;
    let step = SecondStep {
        challenge,
        shown,
        client: client(&request, address, None),
        origin: origin(&identity, address),
    };
    let (opened, mut response) = passed_gate(services.gate.second_step(step).await)?;
    Ok(response.json(TokenPair::opened(&services, &opened)))
}

// --- staff ------------------------------------------------------------------------------------

/// Takes all second factors and backup codes of a customer away, and signs it out everywhere. For
/// an owner that lost them and has shown otherwise who it is.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = uuid::Uuid, Path)),
    responses((status = 204, description = "The customer has no second factor"))
)]
#[delete("/v1/admin/customers/{id}/mfa")]
async fn reset(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let mail_id = services.second_factors.mail_id();
    let command = Command::ResetFactors { mail_id };
    let answered = services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    match answered.outcome {
        Outcome::Done => Ok(HttpResponse::NoContent().finish()),
        other => Err(unexpected(&other)),
    }
}
