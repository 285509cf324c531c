//! Another password: `/v1/auth/password/…` for who forgot it or thinks of one, `/v1/me/password`
//! for who knows it. Asking for a link never tells whether an address is known.

use super::auth::{Sent, chosen, origin, passed_gate, read_email, sent};
use super::body::JsonBody;
use super::client_address::ClientAddress;
use super::field::{FieldFault, Raw};
use super::form::Form;
use super::principal::Owner;
use super::problem::{Problem, ProblemDocument};
use super::rate_limit::{tell, tell_refused};
use super::request_id::RequestIdentity;
use super::services::Services;
use crate::actors::allowance::Counted;
use crate::actors::gate::SignedIn;
use crate::actors::passwords::Candidate;
use crate::security::password_policy::Appraisal;
use crate::security::passwords::Password;
use actix_web::web::Data;
use actix_web::{HttpResponse, post};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use zeroize::Zeroizing;

/// Most characters of a name or address that a thought-of password is compared with.
const HINT_MAX: usize = 254;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(forgot).service(reset).service(check).service(change);
}

/// An address.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body")]
struct ForgotBody {
    #[schema(format = "email", example = "anh@example.org")]
    email: String,
}

/// A token from a mail, and what to choose.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Reset`")]
struct ResetBody {
    token: String,
    /// 8 to 128 characters, not known from breaches, not made from the name or address.
    #[schema(format = "password", min_length = 8, max_length = 128)]
    new_password: String,
}

pub(super) struct Reset<'a> {
    token: &'a str,
    new_password: Password,
}

impl<'a> Reset<'a> {
    pub(super) fn read(form: &mut Form<'a>) -> Option<Reset<'a>> {
        let token = form.required("token", Raw::text);
        let new_password = form.required("new_password", chosen);
        Some(Reset { token: token?, new_password: new_password? })
    }
}

/// A password that somebody thinks of, and whose it would be, as far as known. Nothing of it is
/// kept or logged.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Check`")]
struct CheckBody {
    #[schema(format = "password")]
    password: String,
    #[schema(max_length = 254, example = "anh@example.org")]
    email: Option<String>,
    #[schema(max_length = 254, example = "Thị Ánh")]
    first_name: Option<String>,
    #[schema(max_length = 254, example = "Nguyễn")]
    last_name: Option<String>,
}

pub(super) struct Check {
    password: Zeroizing<String>,
    candidate: Candidate,
}

impl Check {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Check> {
        let password = form.required("password", |raw| Ok(Zeroizing::new(raw.text()?.to_owned())));
        // As typed so far: an address that is not whole yet is a hint all the same.
        let mut hint = |name| form.optional(name, |raw| raw.bounded_text(0, HINT_MAX));
        let (email, first_name, last_name) = (hint("email"), hint("first_name"), hint("last_name"));
        let names = [first_name, last_name].into_iter().flatten().collect();
        Some(Check { password: password?, candidate: Candidate { names, email } })
    }
}

/// The password that is right now, and the one that shall be.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Change`")]
struct ChangePasswordBody {
    #[schema(format = "password")]
    current_password: String,
    /// 8 to 128 characters, not known from breaches, not made from the name or address, another
    /// one than now.
    #[schema(format = "password", min_length = 8, max_length = 128)]
    new_password: String,
}

pub(super) struct Change {
    current: Password,
    new: Password,
}

impl Change {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Change> {
        let current = form.required("current_password", |raw| raw.text().map(Password::presented));
        let new = form.required("new_password", chosen);
        let (current, new) = (current?, new?);
        if current.as_bytes() == new.as_bytes() {
            form.refuse("new_password", FieldFault::new("unchanged", "Is the current password."));
        }
        Some(Change { current, new })
    }
}

// --- answers ----------------------------------------------------------------------------------

/// What is to be said about a password.
#[derive(Serialize, ToSchema)]
struct Verdict {
    /// Whether it may be chosen.
    acceptable: bool,
    /// How hard it is to guess: 0 (at once) to 4 (more than 10¹⁰ guesses). Shown to help, and no
    /// reason to refuse.
    #[schema(minimum = 0, maximum = 4)]
    score: u8,
    /// Why it may not be chosen.
    reasons: Vec<Remark>,
    /// What makes it weak, and what would help.
    advice: Vec<Remark>,
}

#[derive(Serialize, ToSchema)]
struct Remark {
    /// For programs: a reason is `too_short`, `too_long`, `too_common`, `derived_from_person` or
    /// `derived_from_shop`.
    #[schema(value_type = String, example = "too_common")]
    code: &'static str,
    /// For people, in English.
    detail: String,
}

impl From<Appraisal> for Verdict {
    fn from(appraisal: Appraisal) -> Self {
        let Appraisal { faults, score, advice } = appraisal;
        let reasons = faults.into_iter();
        let advice = advice.into_iter();
        Self {
            acceptable: reasons.len() == 0,
            score,
            reasons: reasons
                .map(|fault| Remark { code: fault.code(), detail: fault.detail() })
                .collect(),
            advice: advice
                .map(|advice| Remark { code: advice.code, detail: advice.detail })
                .collect(),
        }
    }
}

// --- handlers ---------------------------------------------------------------------------------

/// Mails a link that leads to a new password, where the address has an account. The answer is the
/// same where it has none.
#[utoipa::path(
    tag = "sign-in",
    request_body = ForgotBody,
    responses((status = 202, body = Sent), (status = 429, body = ProblemDocument))
)]
#[post("/v1/auth/password/forgot")]
async fn forgot(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let email = body.read(read_email)?;
    let counted = services.passwords.forgot(&email, &origin(&identity, address)).await;
    sent(counted, "reset_sent")
}

/// Sets a new password by the token from a mail. All sessions end, a lock is lifted, and an address
/// that was not verified yet is. It does not sign in.
#[utoipa::path(
    tag = "sign-in",
    request_body = ResetBody,
    responses(
        (status = 204, description = "The password is another one now"),
        (status = 422, body = ProblemDocument,
            description = "`token_invalid`; or `validation_failed`, and the token is still good"),
        (status = 429, body = ProblemDocument)
    )
)]
#[post("/v1/auth/password/reset")]
async fn reset(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let Reset { token, new_password } = body.read(Reset::read)?;
    let origin = origin(&identity, address);
    no_content(services.passwords.reset(token, new_password, &origin).await)
}

/// Judges a password before it is chosen.
#[utoipa::path(
    tag = "sign-in",
    request_body = CheckBody,
    responses((status = 200, body = Verdict), (status = 429, body = ProblemDocument))
)]
#[post("/v1/auth/password/check")]
async fn check(
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let Check { password, candidate } = body.read(Check::read)?;
    let origin = origin(&identity, address);
    let Counted { standing, result } = services.passwords.check(password, candidate, &origin).await;
    let appraisal = result.map_err(|error| tell_refused(error.into(), standing.as_ref()))?;
    let mut response = HttpResponse::Ok();
    tell(&mut response, standing.as_ref());
    Ok(response.json(Verdict::from(appraisal)))
}

/// Changes my password. My other sessions end; I am told by mail.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    request_body = ChangePasswordBody,
    responses(
        (status = 204, description = "The password is another one now"),
        (status = 403, body = ProblemDocument, description = "`proof_invalid`"),
        (status = 422, body = ProblemDocument),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[post("/v1/me/password")]
async fn change(
    owner: Owner,
    services: Data<Services>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let Change { current, new } = body.read(Change::read)?;
    let who = SignedIn { customer: owner.customer_id, session: owner.session_id };
    let origin = origin(&identity, address);
    no_content(services.passwords.change(who, current, new, &origin).await)
}

/// 204, with how the caller's own quota stands; or the refusal.
pub(super) fn no_content(
    counted: Counted<Result<(), crate::actors::gate::GateError>>,
) -> Result<HttpResponse, Problem> {
    let ((), mut response) = passed_gate(counted)?;
    Ok(response.status(actix_web::http::StatusCode::NO_CONTENT).finish())
}
