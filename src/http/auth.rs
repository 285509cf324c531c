//! `/v1/auth`: registration, verification of the address, signing in, keeping a session, signing
//! out. Answers never tell whether an address is known, neither by text, status, field nor time.

use super::body::JsonBody;
use super::catalogue::Code;
use super::client_address::ClientAddress;
use super::customer_view::CustomerView;
use super::field::{FieldFault, Raw};
use super::form::Form;
use super::mfa::SecondFactorAsked;
use super::problem::{Problem, ProblemDocument};
use super::rate_limit::{tell, tell_refused};
use super::request_id::RequestIdentity;
use super::services::Services;
use super::token_pair::TokenPair;
use super::values::parsed;
use crate::actors::allowance::Counted;
use crate::actors::gate::{Attempt, Entered, GateError, Identifier, Path};
use crate::actors::origin::{Origin, Trouble};
use crate::actors::registration::{Applicant, RegistrationError};
use crate::actors::sessions::RefreshError;
use crate::domain::customer::CustomerType;
use crate::domain::email::EmailAddress;
use crate::domain::outcome::SignInRefusal;
use crate::domain::phone::PhoneNumber;
use crate::domain::place::{Locale, TimeZone};
use crate::domain::session::Client;
use crate::domain::text::{Label, PersonName};
use crate::security::password_policy::{PasswordFault, PasswordPolicy, Person};
use crate::security::passwords::Password;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, post};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use zeroize::Zeroizing;

/// Most characters kept of a `User-Agent`.
const USER_AGENT_MAX: usize = 300;

/// Registers the routes of this file.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(register).service(verify_email).service(resend);
    cfg.service(login).service(refresh).service(logout);
}

// --- bodies -----------------------------------------------------------------------------------

/// Who wants to become a customer.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into an `Applicant`")]
struct RegisterBody {
    #[schema(format = "email", max_length = 254, example = "anh@example.org")]
    email: String,
    /// 8 to 128 characters, not known from breaches, not made from the name or address.
    #[schema(format = "password", min_length = 8, max_length = 128)]
    password: String,
    #[schema(max_length = 100, example = "Thị Ánh")]
    first_name: String,
    #[schema(max_length = 100, example = "Nguyễn")]
    last_name: String,
    /// International form.
    #[schema(example = "+84912345678")]
    phone: Option<String>,
    #[schema(example = "vi-VN")]
    locale: Option<String>,
    #[schema(example = "Asia/Ho_Chi_Minh")]
    timezone: Option<String>,
    #[schema(default = false)]
    accepts_marketing: Option<bool>,
    /// `individual` (the default) or `business`.
    #[schema(default = "individual")]
    customer_type: Option<String>,
}

pub(super) fn read_applicant(form: &mut Form<'_>, policy: &PasswordPolicy) -> Option<Applicant> {
    let email = form.required("email", |raw| parsed(raw, EmailAddress::parse));
    let password = form.required("password", chosen);
    let first_name = form.required("first_name", |raw| parsed(raw, PersonName::parse));
    let last_name = form.required("last_name", |raw| parsed(raw, PersonName::parse));
    let phone = form.optional("phone", |raw| parsed(raw, PhoneNumber::parse));
    let locale = form.optional("locale", |raw| parsed(raw, Locale::parse));
    let timezone = form.optional("timezone", |raw| parsed(raw, TimeZone::parse));
    let accepts_marketing = form.optional("accepts_marketing", Raw::boolean);
    let customer_type = form.optional("customer_type", |raw| parsed(raw, CustomerType::parse));
    if let Some(password) = &password {
        // Judged against what could be read, so that its faults are told with all the others.
        let names: Vec<_> =
            [&first_name, &last_name].into_iter().flatten().map(PersonName::as_str).collect();
        let person = Person { names: &names, email: email.as_ref().map(EmailAddress::as_str) };
        if let Err(fault) = policy.judge(password, person) {
            form.refuse("password", password_fault(fault));
        }
    }
    Some(Applicant {
        email: email?,
        password: password?,
        first_name: first_name?,
        last_name: last_name?,
        phone,
        customer_type: customer_type.unwrap_or(CustomerType::Individual),
        accepts_marketing: accepts_marketing.unwrap_or(false),
        locale,
        timezone,
    })
}

/// A password to be.
pub(super) fn chosen(raw: Raw<'_>) -> Result<Password, FieldFault> {
    Password::chosen(raw.text()?).map_err(password_fault)
}

pub(super) fn password_fault(fault: PasswordFault) -> FieldFault {
    FieldFault::new(fault.code(), fault.detail())
}

/// A token from a mail.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body")]
struct VerifyEmailBody {
    token: String,
}

/// An address.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body")]
struct ResendBody {
    #[schema(format = "email", example = "anh@example.org")]
    email: String,
}

/// Who signs in: `email` or `phone`, not both.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Login`")]
struct LoginBody {
    #[schema(format = "email", example = "anh@example.org")]
    email: Option<String>,
    /// A verified number, in international form.
    phone: Option<String>,
    #[schema(format = "password")]
    password: String,
    /// From an earlier sign-in on this device.
    device_token: Option<String>,
    /// To tell sessions apart by.
    #[schema(max_length = 80, example = "Ánh's phone")]
    device_name: Option<String>,
}

pub(super) struct Login {
    identifier: Identifier,
    password: Password,
    device_token: Option<Zeroizing<String>>,
    device_name: Option<Label>,
}

/// Holds secrets: printed without them.
impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

impl Login {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Login> {
        let (mut has_email, mut has_phone) = (false, false);
        let email = form.optional("email", |raw| {
            has_email = true;
            parsed(raw, EmailAddress::parse)
        });
        let phone = form.optional("phone", |raw| {
            has_phone = true;
            parsed(raw, PhoneNumber::parse)
        });
        let password = form.required("password", |raw| raw.text().map(Password::presented));
        let device_token =
            form.optional("device_token", |raw| Ok(Zeroizing::new(raw.text()?.to_owned())));
        let device_name = form.optional("device_name", |raw| parsed(raw, Label::parse));
        let identifier = match (email, phone, has_email, has_phone) {
            (_, _, true, true) => {
                form.refuse("phone", FieldFault::new("not_both", "Give email or phone, not both."));
                None
            }
            (_, _, false, false) => {
                form.refuse("email", FieldFault::new("required", "Give email or phone."));
                None
            }
            (email, phone, _, _) => email.map(Identifier::Email).or(phone.map(Identifier::Phone)),
        };
        Some(Login { identifier: identifier?, password: password?, device_token, device_name })
    }
}

/// A refresh token.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body")]
struct RefreshBody {
    refresh_token: String,
}

pub(super) fn read_token<'a>(form: &mut Form<'a>) -> Option<&'a str> {
    form.required("token", Raw::text)
}

pub(super) fn read_refresh_token<'a>(form: &mut Form<'a>) -> Option<&'a str> {
    form.required("refresh_token", Raw::text)
}

pub(super) fn read_email(form: &mut Form<'_>) -> Option<EmailAddress> {
    form.required("email", |raw| parsed(raw, EmailAddress::parse))
}

// --- answers ----------------------------------------------------------------------------------

/// What a request that may cause a mail is told, whatever it caused.
#[derive(Serialize, ToSchema)]
pub(super) struct Sent {
    #[schema(value_type = String, example = "verification_sent")]
    status: &'static str,
}

/// A token pair with its customer.
#[derive(Serialize, ToSchema)]
struct FirstSession {
    #[serde(flatten)]
    tokens: TokenPair,
    customer: CustomerView,
}

/// The same answer for every address, with how the caller's own quota stands.
pub(super) fn sent(
    counted: Counted<Result<(), RegistrationError>>,
    status: &'static str,
) -> Result<HttpResponse, Problem> {
    let Counted { standing, result } = counted;
    result.map_err(|error| tell_refused(error.into(), standing.as_ref()))?;
    let mut response = HttpResponse::Accepted();
    tell(&mut response, standing.as_ref());
    Ok(response.json(Sent { status }))
}

/// The answer to a right first factor: a session, or the question for the second one.
pub(super) fn entered(
    services: &Services,
    entered: &Entered,
    mut response: HttpResponseBuilder,
) -> HttpResponse {
    response.json(match entered {
        Entered::SignedIn(opened) => Entrance::Open(TokenPair::opened(services, opened)),
        Entered::Challenged(challenge) => {
            Entrance::Asked(SecondFactorAsked::new(challenge, services.clock.now()))
        }
    })
}

/// What a right first factor is answered with.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Entrance {
    /// There is no second factor.
    Open(TokenPair),
    /// There is one.
    Asked(SecondFactorAsked),
}

/// What passed the gate, and a 200 that tells how the caller's own quota stands; or the refusal.
pub(super) fn passed_gate<T>(
    counted: Counted<Result<T, GateError>>,
) -> Result<(T, HttpResponseBuilder), Problem> {
    let Counted { standing, result } = counted;
    let passed = result.map_err(|error| tell_refused(error.into(), standing.as_ref()))?;
    let mut response = HttpResponse::Ok();
    tell(&mut response, standing.as_ref());
    Ok((passed, response))
}

// --- handlers ---------------------------------------------------------------------------------

/// Registers a customer. The answer is the same for an address that has an account, whose owner
/// is told by mail.
#[utoipa::path(
    tag = "sign-in",
    request_body = RegisterBody,
    responses((status = 202, body = Sent), (status = 429, body = ProblemDocument))
)]
#[post("/v1/auth/register")]
async fn register(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let applicant = body.read(|form| read_applicant(form, &services.password_policy))?;
    let counted = services.registration.register(applicant, &origin(&identity, address)).await;
    sent(counted, "verification_sent")
}

/// Sends the verification mail again, where there is an address to verify. The answer is the same
/// where there is not.
#[utoipa::path(
    tag = "sign-in",
    request_body = ResendBody,
    responses((status = 202, body = Sent), (status = 429, body = ProblemDocument))
)]
#[post("/v1/auth/email/resend")]
async fn resend(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let email = body.read(read_email)?;
    let counted = services.registration.resend(&email, &origin(&identity, address)).await;
    sent(counted, "verification_sent")
}

/// Verifies an e-mail address by the token from its mail and opens the first session.
#[utoipa::path(
    tag = "sign-in",
    request_body = VerifyEmailBody,
    responses(
        (status = 200, body = FirstSession),
        (status = 403, body = ProblemDocument),
        (status = 422, body = ProblemDocument, description = "`token_invalid`"),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/auth/email/verify")]
async fn verify_email(
    services: Data<Services>,
    request: HttpRequest,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let token = body.read(read_token)?;
    let client = client(&request, address, None);
    let origin = origin(&identity, address);
    let verify = services.registration.verify(token, client, &origin);
    let passed = services.gate.pass(Path::EmailVerification, &origin, verify).await;
    let (opened, mut response) = passed_gate(passed)?;
    let tokens = TokenPair::opened(&services, &opened);
    Ok(response.json(FirstSession { tokens, customer: opened.customer.into() }))
}

/// Signs in with a password.
#[utoipa::path(
    tag = "sign-in",
    request_body = LoginBody,
    responses(
        (status = 200, body = Entrance),
        (status = 401, body = ProblemDocument, description = "`invalid_credentials`"),
        (status = 403, body = ProblemDocument, description = "only after a right password"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/auth/login")]
async fn login(
    services: Data<Services>,
    request: HttpRequest,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let Login { identifier, password, device_token, device_name } = body.read(Login::read)?;
    let attempt = Attempt {
        identifier,
        password,
        device_token,
        client: client(&request, address, device_name),
        origin: origin(&identity, address),
    };
    let (passed, response) = passed_gate(services.gate.sign_in(attempt).await)?;
    Ok(entered(&services, &passed, response))
}

/// Exchanges a refresh token for the next token pair. A second use within 10 seconds, of a reply
/// that was lost, is answered with the same refresh token; a later one ends the session.
#[utoipa::path(
    tag = "sign-in",
    request_body = RefreshBody,
    responses(
        (status = 200, body = TokenPair),
        (status = 401, body = ProblemDocument),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/auth/refresh")]
async fn refresh(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let token = body.read(read_refresh_token)?;
    let refreshed = services.gate.refresh(token, &origin(&identity, address)).await?;
    Ok(HttpResponse::Ok().json(TokenPair::refreshed(&services, &refreshed)))
}

/// Ends the session of a refresh token. One that is over, or a token that never was one, has
/// nothing to end: 204 as well.
#[utoipa::path(tag = "sign-in", request_body = RefreshBody, responses((status = 204)))]
#[post("/v1/auth/logout")]
async fn logout(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let token = body.read(read_refresh_token)?;
    services.sessions.sign_out(token, &origin(&identity, address)).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub(super) fn origin(identity: &RequestIdentity, address: ClientAddress) -> Origin {
    Origin {
        network: address.limit_key(),
        request_id: identity.id().to_owned(),
        traceparent: identity.trace_parent().map(str::to_owned),
    }
}

/// What the session's owner will recognise it by.
pub(super) fn client(request: &HttpRequest, address: ClientAddress, name: Option<Label>) -> Client {
    let agent = request.headers().get(header::USER_AGENT);
    Client {
        device_name: name.map(|name| name.as_str().to_owned()),
        user_agent: agent.and_then(|agent| user_agent(agent.as_bytes())),
        address: Some(address.ip()),
    }
}

/// As much as is kept of a `User-Agent`, which a client may fill with anything.
fn user_agent(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let kept: String = text.chars().filter(|c| !c.is_control()).take(USER_AGENT_MAX).collect();
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

// --- refusals ---------------------------------------------------------------------------------

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Overloaded { retry_after } => {
                Problem::new(Code::Overloaded).retry_after(retry_after)
            }
            Trouble::Unavailable => Problem::new(Code::Unavailable),
            Trouble::Unknown => Problem::new(Code::OutcomeUnknown)
                .detail("The request may have taken effect. Repeating it is safe."),
            Trouble::Internal => Problem::new(Code::Internal),
        }
    }
}

impl From<RegistrationError> for Problem {
    fn from(error: RegistrationError) -> Self {
        match error {
            RegistrationError::RateLimited { retry_after } => {
                Problem::new(Code::RateLimited).retry_after(retry_after)
            }
            RegistrationError::Trouble(trouble) => trouble.into(),
        }
    }
}

impl From<GateError> for Problem {
    fn from(error: GateError) -> Self {
        match error {
            GateError::RateLimited { retry_after } => {
                Problem::new(Code::RateLimited).retry_after(retry_after)
            }
            GateError::LimiterUnavailable => Problem::new(Code::RateLimiterUnavailable),
            GateError::Locked { retry_after } => {
                Problem::new(Code::LoginLocked).retry_after(retry_after)
            }
            GateError::InvalidCredentials => Problem::new(Code::InvalidCredentials),
            GateError::Refused(refusal) => refusal.into(),
            GateError::InvalidProof => Problem::new(Code::ProofInvalid),
            GateError::ProofNeeded => Problem::new(Code::ProofNeeded),
            GateError::Social(refusal) => refusal.into(),
            GateError::Rejected(rejection) => rejection.into(),
            GateError::Trouble(trouble) => trouble.into(),
        }
    }
}

impl From<SignInRefusal> for Problem {
    fn from(refusal: SignInRefusal) -> Self {
        match refusal {
            SignInRefusal::EmailUnverified => Problem::new(Code::EmailUnverified),
            SignInRefusal::Suspended => Problem::new(Code::AccountSuspended),
            SignInRefusal::Inactive => Problem::new(Code::AccountInactive),
            // `account_frozen` is a 409: what signed-in owners meet when they change something.
            SignInRefusal::DeletionScheduled => {
                Problem::new(Code::AccountInactive).detail("The account is scheduled for deletion.")
            }
            SignInRefusal::PasswordChanged => Problem::new(Code::InvalidCredentials),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Invalid => Problem::new(Code::RefreshInvalid),
            RefreshError::Reused => Problem::new(Code::RefreshReused),
            RefreshError::RateLimited { retry_after } => {
                Problem::new(Code::RateLimited).retry_after(retry_after)
            }
            RefreshError::Trouble(trouble) => trouble.into(),
        }
    }
}

#[cfg(test)]
mod tests;
