//! Identity providers: signing in by one, and the linked accounts of `/v1/me/identities`.

use super::auth::{Entrance, client, origin, passed_gate};
use super::body::{JsonBody, MaybeJsonBody};
use super::catalogue::Code;
use super::client_address::ClientAddress;
use super::field::{FieldFault, Raw};
use super::form::Form;
use super::mfa::{ProofBody, SecondFactorAsked, read_evidence};
use super::principal::Owner;
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::token_pair::TokenPair;
use super::values::parsed;
use crate::actors::gate::{
    Begun, Brought, Entered, Evidence, Linking, SocialAttempt, SocialRefusal,
};
use crate::db;
use crate::domain::MailId;
use crate::domain::command::Command;
use crate::domain::email::EmailAddress;
use crate::domain::identity::Identity;
use crate::domain::text::{Label, PersonName};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use zeroize::Zeroizing;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(authorize).service(sign_in);
    cfg.service(list).service(authorize_link).service(link).service(unlink);
}

// --- what is sent -----------------------------------------------------------------------------

/// Where the provider sends the user back to.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the query")]
struct AuthorizeParams {
    /// One of those that are configured for the provider, exactly.
    #[param(example = "https://shop.example/sign-in/google")]
    redirect_uri: String,
}

/// What a provider says: `code` and `state` from its page, or `id_token` and `nonce` from its
/// library in a native app.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Bringing`")]
struct SocialSignIn {
    code: Option<String>,
    /// As `/authorize` answered it; works once.
    state: Option<String>,
    id_token: Option<String>,
    /// The one that the app chose; in the token it may stand as its SHA-256 in hexadecimal.
    nonce: Option<String>,
    /// Refused unless it is the provider's address for this person.
    #[schema(format = "email")]
    email: Option<String>,
    /// For a new customer whose provider tells no name; Apple tells it once, to the page.
    #[schema(max_length = 100, example = "Thị Ánh")]
    first_name: Option<String>,
    #[schema(max_length = 100, example = "Nguyễn")]
    last_name: Option<String>,
    /// From an earlier sign-in on this device.
    device_token: Option<String>,
    /// To tell sessions apart by.
    #[schema(max_length = 80, example = "Ánh's phone")]
    device_name: Option<String>,
}

pub(super) struct Bringing {
    proof: Brought,
    email: Option<EmailAddress>,
    first_name: Option<PersonName>,
    last_name: Option<PersonName>,
    device_token: Option<Zeroizing<String>>,
    device_name: Option<Label>,
}

impl Bringing {
    pub(super) fn read(form: &mut Form<'_>) -> Option<Bringing> {
        let proof = read_proof(form);
        let email = form.optional("email", |raw| parsed(raw, EmailAddress::parse));
        let first_name = form.optional("first_name", |raw| parsed(raw, PersonName::parse));
        let last_name = form.optional("last_name", |raw| parsed(raw, PersonName::parse));
        let device_token = form.optional("device_token", secret);
        let device_name = form.optional("device_name", |raw| parsed(raw, Label::parse));
        Some(Bringing { proof: proof?, email, first_name, last_name, device_token, device_name })
    }
}

/// What shows that it is still the owner who asks, and where the provider sends it back to.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `LinkWish`")]
struct LinkBody {
    /// One of those that are configured for the provider, exactly. Left out by a native app, which
    /// asks the provider's own library.
    #[schema(example = "https://shop.example/sign-in/google")]
    redirect_uri: Option<String>,
    #[schema(format = "password")]
    password: Option<String>,
    /// Of the authenticator, or a backup code.
    #[schema(example = "287082")]
    code: Option<String>,
}

#[derive(Default)]
pub(super) struct LinkWish {
    redirect_uri: Option<String>,
    evidence: Option<Evidence>,
}

impl LinkWish {
    pub(super) fn read(form: &mut Form<'_>) -> Option<LinkWish> {
        let redirect_uri = form.optional("redirect_uri", |raw| raw.bounded_text(1, 2_000));
        let evidence = read_evidence(form);
        Some(LinkWish { redirect_uri, evidence: evidence? })
    }
}

/// What a provider says, to link its account: `code`, or `id_token` and `nonce`; and the state.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read into a `Brought`")]
struct SocialLink {
    code: Option<String>,
    /// As `/v1/me/identities/{provider}/authorize` answered it; works once.
    state: String,
    id_token: Option<String>,
    nonce: Option<String>,
}

pub(super) fn read_link(form: &mut Form<'_>) -> Option<Brought> {
    read_brought(form, true)
}

fn read_proof(form: &mut Form<'_>) -> Option<Brought> {
    read_brought(form, false)
}

/// A linking always comes with the state of its beginning; a sign-in only where it has a code.
fn read_brought(form: &mut Form<'_>, linking: bool) -> Option<Brought> {
    let (mut by_code, mut by_token) = (false, false);
    let code = form.optional("code", |raw| {
        by_code = true;
        secret(raw)
    });
    let state = match linking {
        true => form.required("state", secret),
        false => form.optional("state", secret),
    };
    let id_token = form.optional("id_token", |raw| {
        by_token = true;
        secret(raw)
    });
    let nonce = form.optional("nonce", secret);
    let mut refuse = |name, code, detail| {
        form.refuse(name, FieldFault::new(code, detail));
        None
    };
    match (by_code, by_token) {
        (true, true) => refuse("id_token", "not_both", "Give code or id_token, not both."),
        (false, false) => refuse("code", "required", "Give code, or id_token and nonce."),
        (true, false) => match (code, state) {
            (Some(code), Some(state)) => Some(Brought::Code { code, state }),
            (_, None) if !linking => refuse("state", "required", "Must be given with code."),
            _ => None,
        },
        (false, true) => match (id_token, nonce) {
            (Some(id_token), Some(nonce)) if state.is_some() || !linking => {
                Some(Brought::IdToken { id_token, nonce, state })
            }
            (_, None) => refuse("nonce", "required", "Must be given with id_token."),
            _ => None,
        },
    }
}

fn secret(raw: Raw<'_>) -> Result<Zeroizing<String>, FieldFault> {
    Ok(Zeroizing::new(raw.text()?.to_owned()))
}

// --- answers ----------------------------------------------------------------------------------

/// The way to a provider.
#[derive(Serialize, ToSchema)]
struct Authorize {
    /// To send the user to; not without a `redirect_uri`.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_url: Option<String>,
    /// Comes back with the code; keep it to compare, and send both.
    state: String,
}

impl From<Begun> for Authorize {
    fn from(begun: Begun) -> Authorize {
        let authorization_url = begun.url.map(Into::into);
        Authorize { authorization_url, state: begun.state.as_str().to_owned() }
    }
}

/// A token pair or a challenge, and whether the customer is new.
#[derive(Serialize, ToSchema)]
struct SocialSession {
    #[serde(flatten)]
    entrance: Entrance,
    created: bool,
}

/// A linked account.
#[derive(Serialize, ToSchema)]
#[schema(as = Identity)]
pub struct IdentityView {
    #[schema(example = "google")]
    provider: String,
    /// The address that the provider told when it was linked.
    email: Option<String>,
    linked_at: DateTime<Utc>,
}

impl From<Identity> for IdentityView {
    fn from(identity: Identity) -> IdentityView {
        let Identity { account, linked_at } = identity;
        let email = account.email.map(|email| email.as_str().to_owned());
        IdentityView { provider: account.provider, email, linked_at }
    }
}

/// All linked accounts: one of each provider at most.
#[derive(Serialize, ToSchema)]
struct Identities {
    items: Vec<IdentityView>,
}

impl From<SocialRefusal> for Problem {
    fn from(refusal: SocialRefusal) -> Self {
        match refusal {
            SocialRefusal::UnknownProvider => {
                Problem::new(Code::NotFound).detail("There is no identity provider of this name.")
            }
            SocialRefusal::RedirectNotAllowed => Problem::new(Code::RedirectUriNotAllowed),
            SocialRefusal::Invalid => Problem::new(Code::IdentityInvalid),
            SocialRefusal::EmailMismatch => Problem::new(Code::EmailMismatch),
            SocialRefusal::EmailNotVerified => Problem::new(Code::EmailNotVerifiedByProvider),
            SocialRefusal::Unavailable { retry_after } => {
                Problem::new(Code::ProviderUnavailable).retry_after(retry_after)
            }
        }
    }
}

// --- signing in -------------------------------------------------------------------------------

/// Begins a sign-in at an identity provider, with PKCE and a nonce.
#[utoipa::path(
    tag = "sign-in",
    params(("provider" = String, Path, example = "google"), AuthorizeParams),
    responses(
        (status = 200, body = Authorize),
        (status = 404, body = ProblemDocument, description = "no such provider"),
        (status = 422, body = ProblemDocument, description = "`redirect_uri_not_allowed`"),
        (status = 429, body = ProblemDocument),
        (status = 503, body = ProblemDocument, description = "`provider_unavailable`")
    )
)]
#[get("/v1/auth/social/{provider}/authorize")]
async fn authorize(
    services: Data<Services>,
    request: HttpRequest,
    provider: web::Path<String>,
    identity: RequestIdentity,
    address: ClientAddress,
) -> Result<HttpResponse, Problem> {
    let uri = Query::read(request.query_string(), |query| {
        query.required("redirect_uri", |raw| raw.bounded_text(1, 2_000))
    })?;
    let origin = origin(&identity, address);
    let begun = services.gate.social_authorization(&provider, &uri, &origin).await;
    let (begun, mut response) = passed_gate(begun)?;
    Ok(response.json(Authorize::from(begun)))
}

/// Signs in by what an identity provider says. Who is new becomes a customer, active at once,
/// where the provider has verified the address; an existing one is linked where both sides have.
#[utoipa::path(
    tag = "sign-in",
    params(("provider" = String, Path, example = "google")),
    request_body = SocialSignIn,
    responses(
        (status = 200, body = SocialSession),
        (status = 401, body = ProblemDocument,
            description = "`identity_invalid`, whatever is wrong with code, state or token"),
        (status = 403, body = ProblemDocument, description = "only after a right identity"),
        (status = 404, body = ProblemDocument, description = "no such provider"),
        (status = 409, body = ProblemDocument, description = "`link_required`"),
        (status = 422, body = ProblemDocument,
            description = "`email_mismatch`, `email_not_verified_by_provider`"),
        (status = 429, body = ProblemDocument),
        (status = 503, body = ProblemDocument, description = "`provider_unavailable`")
    )
)]
#[post("/v1/auth/social/{provider}")]
async fn sign_in(
    services: Data<Services>,
    request: HttpRequest,
    provider: web::Path<String>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let Bringing { proof, email, first_name, last_name, device_token, device_name } =
        body.read(Bringing::read)?;
    let attempt = SocialAttempt {
        provider: provider.into_inner(),
        proof,
        email,
        first_name,
        last_name,
        device_token,
        client: client(&request, address, device_name),
        origin: origin(&identity, address),
    };
    let (entry, mut response) = passed_gate(services.gate.social_sign_in(attempt).await)?;
    let entrance = match &entry.entered {
        Entered::SignedIn(opened) => Entrance::Open(TokenPair::opened(&services, opened)),
        Entered::Challenged(challenge) => {
            Entrance::Asked(SecondFactorAsked::new(challenge, services.clock.now()))
        }
    };
    Ok(response.json(SocialSession { entrance, created: entry.created }))
}

// --- the owner's own --------------------------------------------------------------------------

/// The accounts at identity providers that I can sign in by.
#[utoipa::path(
    tag = "identities",
    security(("customer" = [])),
    responses((status = 200, body = Identities))
)]
#[get("/v1/me/identities")]
async fn list(owner: Owner, services: Data<Services>) -> Result<web::Json<Identities>, Problem> {
    let ids = [owner.customer_id.0];
    let found = services.database.read(move |connection| {
        Box::pin(async move { db::identities::of_customers(connection, &ids).await })
    });
    let items = found.await?.into_iter().map(|(_, identity)| identity.into()).collect();
    Ok(web::Json(Identities { items }))
}

/// Begins the linking of an account: as for a sign-in, but only I can finish it. Asks for the
/// password or a code, or without either for a session that began just now.
#[utoipa::path(
    tag = "identities",
    security(("customer" = [])),
    params(("provider" = String, Path, example = "google")),
    request_body = LinkBody,
    responses(
        (status = 200, body = Authorize),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 404, body = ProblemDocument, description = "no such provider"),
        (status = 422, body = ProblemDocument, description = "`redirect_uri_not_allowed`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`"),
        (status = 503, body = ProblemDocument, description = "`provider_unavailable`")
    )
)]
#[post("/v1/me/identities/{provider}/authorize")]
async fn authorize_link(
    owner: Owner,
    services: Data<Services>,
    provider: web::Path<String>,
    identity: RequestIdentity,
    address: ClientAddress,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<HttpResponse, Problem> {
    let body = body.as_ref();
    let LinkWish { redirect_uri, evidence } =
        body.map_or_else(|| Ok(LinkWish::default()), |body| body.read(LinkWish::read))?;
    let (evidence, uri) = (evidence.unwrap_or(Evidence::RecentSession), redirect_uri.as_deref());
    let origin = origin(&identity, address);
    let begun = services.gate.begin_linking(owner.into(), evidence, &provider, uri, &origin).await;
    let (begun, mut response) = passed_gate(begun)?;
    Ok(response.json(Authorize::from(begun)))
}

/// Links an account at an identity provider, by which I can sign in from now on. The same one
/// again changes nothing.
#[utoipa::path(
    tag = "identities",
    security(("customer" = [])),
    params(("provider" = String, Path, example = "google")),
    request_body = SocialLink,
    responses(
        (status = 200, body = IdentityView),
        (status = 401, body = ProblemDocument,
            description = "`identity_invalid`, whatever is wrong with code, state or token"),
        (status = 404, body = ProblemDocument, description = "no such provider"),
        (status = 409, body = ProblemDocument,
            description = "`identity_taken` by another customer; `provider_already_linked`"),
        (status = 429, body = ProblemDocument),
        (status = 503, body = ProblemDocument, description = "`provider_unavailable`")
    )
)]
#[post("/v1/me/identities/{provider}")]
async fn link(
    owner: Owner,
    services: Data<Services>,
    provider: web::Path<String>,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let linking = Linking {
        who: owner.into(),
        provider: provider.into_inner(),
        proof: body.read(read_link)?,
        origin: origin(&identity, address),
    };
    let (linked, mut response) = passed_gate(services.gate.link(linking).await)?;
    Ok(response.json(IdentityView::from(linked)))
}

/// Unlinks the account at an identity provider. Asks for the password or a code, or without either
/// for a session that began just now.
#[utoipa::path(
    tag = "identities",
    security(("customer" = [])),
    params(("provider" = String, Path, example = "google")),
    request_body = ProofBody,
    responses(
        (status = 204, description = "Unlinked"),
        (status = 403, body = ProblemDocument, description = "`proof_needed`, `proof_invalid`"),
        (status = 404, body = ProblemDocument, description = "not linked"),
        (status = 409, body = ProblemDocument, description = "`last_sign_in_method`"),
        (status = 429, body = ProblemDocument, description = "`login_locked`, `rate_limited`")
    )
)]
#[delete("/v1/me/identities/{provider}")]
async fn unlink(
    owner: Owner,
    services: Data<Services>,
    provider: web::Path<String>,
    identity: RequestIdentity,
    address: ClientAddress,
    MaybeJsonBody(body): MaybeJsonBody,
) -> Result<HttpResponse, Problem> {
    let evidence = match &body {
        Some(body) => body.read(read_evidence)?.unwrap_or(Evidence::RecentSession),
        None => Evidence::RecentSession,
    };
    let provider = provider.into_inner();
    let mail_id = MailId(services.clock.new_id());
    let command =
        move |proof| Command::UnlinkIdentity { provider: provider.clone(), proof, mail_id };
    let origin = origin(&identity, address);
    let unlinked = services.gate.prove(owner.into(), evidence, &origin, command).await;
    passed_gate(unlinked)?;
    Ok(HttpResponse::NoContent().finish())
}
