//! Another e-mail address: `POST /v1/me/email` and the two links that its mails lead to.

use super::auth::{origin, passed_gate, read_token};
use super::body::JsonBody;
use super::client_address::ClientAddress;
use super::form::Form;
use super::mfa::read_evidence;
use super::passwords::no_content;
use super::principal::Owner;
use super::problem::{Problem, ProblemDocument};
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::parsed;
use crate::actors::gate::Evidence;
use crate::domain::email::EmailAddress;
use actix_web::web::Data;
use actix_web::{HttpResponse, post};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

/// Registers the routes of this file.
pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(request).service(confirm).service(undo);
}

/// The new address, and what shows that it is the owner who asks: `password` or `code`. Without
/// either it is possible only right after signing in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Wish`")]
struct NewEmailBody {
    #[schema(format = "email", max_length = 254, example = "anh@example.org")]
    new_email: String,
    #[schema(format = "password")]
    password: Option<String>,
    /// Of the authenticator, or a backup code.
    #[schema(example = "287082")]
    code: Option<String>,
}

/// A token from a mail.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body")]
struct EmailTokenBody {
    token: String,
}

pub(super) struct Wish {
    email: EmailAddress,
    evidence: Evidence,
}

impl Wish {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Self> {
        let email = form.required("new_email", |raw| parsed(raw, EmailAddress::parse));
        let evidence = read_evidence(form);
        Some(Self { email: email?, evidence: evidence?.unwrap_or(Evidence::RecentSession) })
    }
}

/// The same for every address.
#[derive(Serialize, ToSchema)]
struct ConfirmationSent {
    #[schema(example = "confirmation_sent")]
    status: &'static str,
}

/// Asks for another e-mail address. It takes effect when the new one is confirmed by the link in
/// the mail to it. The answer is the same for an address that has an account, whose owner is told.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    request_body = NewEmailBody,
    responses(
        (status = 202, body = ConfirmationSent),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/email")]
async fn request(
    owner: Owner,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let Wish { email, evidence } = body.read(Wish::read)?;
    let origin = origin(&identity, address);
    let asked =
        Box::pin(services.email_change.request(owner.into(), evidence, email, &origin)).await;
    let ((), mut response) = passed_gate(asked)?;
    response.status(actix_web::http::StatusCode::ACCEPTED);
    Ok(response.json(ConfirmationSent { status: "confirmation_sent" }))
}

/// Confirms another e-mail address by the token from the mail to it. The address that the account
/// had until now is told, and can take the change back for 72 hours.
#[utoipa::path(
    tag = "sign-in",
    request_body = EmailTokenBody,
    responses(
        (status = 204, description = "The new address is the account's"),
        (status = 409, body = ProblemDocument, description = "`email_taken`: meanwhile"),
        (status = 422, body = ProblemDocument, description = "`token_invalid`"),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/auth/email/change/confirm")]
async fn confirm(
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let token = body.read(read_token)?;
    no_content(services.email_change.confirm(token, &origin(&identity, address)).await)
}

/// Takes a change of the e-mail address back, by the token from the mail to the old one. Every
/// session ends, and a link to a new password is mailed to the old address.
#[utoipa::path(
    tag = "sign-in",
    request_body = EmailTokenBody,
    responses(
        (status = 204, description = "The old address is the account's again"),
        (status = 422, body = ProblemDocument, description = "`token_invalid`"),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/auth/email/change/undo")]
async fn undo(
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let token = body.read(read_token)?;
    no_content(services.email_change.undo(token, &origin(&identity, address)).await)
}
