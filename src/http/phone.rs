//! `/v1/me/phone`: asking for a code at a number, confirming the number by it, giving it up (rules
//! A8, L5, L7).

use super::auth::{origin, passed_gate};
use super::body::{JsonBody, MaybeJsonBody};
use super::client_address::ClientAddress;
use super::customer_view::{self, CustomerView};
use super::field::FieldFault;
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::mfa::{ProofBody, evidence};
use super::principal::Owner;
use super::problem::{Problem, ProblemDocument};
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{IdempotencyParam, parsed};
use crate::actors::customers::Answered;
use crate::actors::gate::Evidence;
use crate::domain::MailId;
use crate::domain::command::Command;
use crate::domain::outcome::Outcome;
use crate::domain::phone::PhoneNumber;
use crate::security::phone_codes::PhoneCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, delete, post};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(request_code).service(confirm).service(remove);
}

/// A number that shall be mine.
#[derive(ToSchema)]
pub struct PhoneBody {
    /// With its country code, in any common formatting.
    #[schema(value_type = String, max_length = 40, example = "+84 912 345 678")]
    phone: PhoneNumber,
}

/// The code from the text message.
#[derive(ToSchema)]
pub struct PhoneCodeBody {
    #[schema(value_type = String, pattern = "^[0-9]{6}$", example = "012345")]
    code: PhoneCode,
}

/// That a code is on its way.
#[derive(Serialize, ToSchema)]
pub struct CodeSent {
    #[schema(example = "code_sent")]
    status: &'static str,
    /// How long the code is good, in seconds.
    #[schema(example = 300)]
    expires_in: i64,
}

pub(super) fn read_phone(form: &mut Form<'_>) -> Option<PhoneBody> {
    let phone = form.required("phone", |raw| parsed(raw, PhoneNumber::parse));
    Some(PhoneBody { phone: phone? })
}

pub(super) fn read_code(form: &mut Form<'_>) -> Option<PhoneCodeBody> {
    let code = form.required("code", |raw| {
        let fault = || FieldFault::new("invalid_code", "Must be six digits.");
        PhoneCode::parse(raw.text()?).ok_or_else(fault)
    });
    Some(PhoneCodeBody { code: code? })
}

/// Sends a code to a number that shall be mine. A code sent before is void. The answer is the same for
/// a number that another customer has verified.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(IdempotencyParam),
    request_body = PhoneBody,
    responses(
        (status = 202, body = CodeSent),
        (status = 409, body = ProblemDocument, description = "`phone_already_verified`"),
        (status = 429, body = ProblemDocument, description = "too many text messages")
    )
)]
#[post("/v1/me/phone")]
async fn request_code(
    owner: Owner,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let PhoneBody { phone } = body.read(read_phone)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let command = services.phones.request(owner.customer_id, phone).await?;
    let answered = services.submit(&owner, &identity, owner.customer_id, command, key).await?;
    match &answered.outcome {
        Outcome::Done => {
            let mut response = HttpResponse::Accepted();
            note_replay(&mut response, &answered);
            let life = services.config.tokens.phone_code_minutes.delta();
            Ok(response.json(CodeSent { status: "code_sent", expires_in: life.num_seconds() }))
        }
        other => Err(unexpected(other)),
    }
}

/// Makes the number mine by the code that was sent to it; from then on I may sign in by it. Five
/// wrong codes lock for a while.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    request_body = PhoneCodeBody,
    responses(
        (status = 200, body = CustomerView),
        (status = 403, body = ProblemDocument, description = "`proof_invalid`: a wrong code, counted"),
        (status = 409, body = ProblemDocument, description = "`phone_taken`"),
        (status = 422, body = ProblemDocument, description = "`token_invalid`: no number waits for a code"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/phone/confirm")]
async fn confirm(
    owner: Owner,
    body: JsonBody,
    address: ClientAddress,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let PhoneCodeBody { code } = body.read(read_code)?;
    let origin = origin(&identity, address);
    let passed = services.gate.confirm_phone(owner.into(), code, &origin).await;
    let (outcome, response) = passed_gate(passed)?;
    customer_view::answer(response, Answered { outcome, replayed: false })
}

/// Gives my number up: nobody signs in by it any more. Asks for a fresh proof. Without a number there
/// is nothing to give up: 204 as well.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    request_body = ProofBody,
    responses(
        (status = 204, description = "Gone"),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[delete("/v1/me/phone")]
async fn remove(
    owner: Owner,
    MaybeJsonBody(body): MaybeJsonBody,
    address: ClientAddress,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let evidence = evidence(body.as_ref())?.unwrap_or(Evidence::RecentSession);
    let mail_id = MailId(services.clock.new_id());
    let command = move |proof| Command::RemovePhone { proof, mail_id };
    let origin = origin(&identity, address);
    let passed = services.gate.prove(owner.into(), evidence, &origin, command).await;
    match passed_gate(passed)? {
        (Outcome::Done, _) => Ok(HttpResponse::NoContent().finish()),
        (other, _) => Err(unexpected(&other)),
    }
}
