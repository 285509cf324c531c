//! Who asks: extractors that prove it. A handler that takes one cannot forget the check.
//!
//! [`Owner`] is a signed-in customer, by an access token; [`Staff`] is an API key that carries the
//! scope that its type names.

use super::catalogue::Code;
use super::problem::Problem;
use super::reads;
use super::services::{Principal, Services};
use crate::config::OnRevocationUnknown;
use crate::db::staff_keys::StaffKey;
use crate::domain::command::Actor;
use crate::domain::{CustomerId, SessionId};
use crate::security::revoked::Liveness;
use crate::security::tokens::{PresentedStaffKey, parse_staff_key};
use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use futures_util::future::LocalBoxFuture;
use std::future::{Ready, ready};
use std::marker::PhantomData;
use std::sync::Arc;

/// The signed-in customer. An extractor: 401 without a valid access token of a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub customer_id: CustomerId,
    pub session_id: SessionId,
    /// How many kinds of factor were shown at the sign-in, 1 or 2.
    pub aal: u8,
}

impl Principal for Owner {
    fn actor(&self) -> Actor {
        Actor::Customer(self.customer_id)
    }

    fn key_owner(&self) -> String {
        format!("customer:{}", self.customer_id)
    }
}

/// The signed-in customer, also one whose deletion is scheduled: for looking at it and cancelling it, and
/// for what the law leaves everybody until nothing is kept any more: a copy of it, and withdrawing
/// consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving(pub Owner);

impl FromRequest for Leaving {
    type Error = Problem;
    type Future = Ready<Result<Leaving, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(signed_in(request).map(|(owner, _)| Leaving(owner)))
    }
}

impl FromRequest for Owner {
    type Error = Problem;
    type Future = Ready<Result<Owner, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(owner(request))
    }
}

/// Whose deletion is scheduled may do nothing but what [`Leaving`] is for.
fn owner(request: &HttpRequest) -> Result<Owner, Problem> {
    match signed_in(request)? {
        (owner, false) => Ok(owner),
        (_, true) => Err(Problem::new(Code::DeletionPending)),
    }
}

/// Who is signed in, and whether only to leave.
fn signed_in(request: &HttpRequest) -> Result<(Owner, bool), Problem> {
    let services = services(request)?;
    let token = bearer(request)?;
    let now = services.clock.now();
    let verified = services.access.verify(token, now).map_err(|error| {
        tracing::debug!(%error, "an access token was refused");
        invalid_token()
    })?;
    let access = &verified.access;
    match services.revoked.check(access.session_id, access.customer_id, now) {
        Liveness::Live => {}
        Liveness::Revoked => return Err(invalid_token()),
        Liveness::Unknown => match services.config.sessions.on_revocation_unknown {
            OnRevocationUnknown::Open => {}
            OnRevocationUnknown::Closed => {
                return Err(Problem::new(Code::Unavailable)
                    .detail("It cannot be told at present whether the session is still alive."));
            }
        },
    }
    let owner = Owner {
        customer_id: CustomerId(access.customer_id),
        session_id: SessionId(access.session_id),
        aal: access.aal,
    };
    Ok((owner, access.leaving))
}

/// Something that an API key may be allowed to do.
pub trait Scope: 'static {
    /// As keys carry it and answers name it, such as `customers:read`.
    const NAME: &'static str;
}

macro_rules! scopes {
    ($($name:ident $text:literal)*) => {
        $(
            #[doc = concat!("The scope `", $text, "`.")]
            #[derive(Clone, Copy, Debug)]
            pub struct $name;

            impl Scope for $name {
                const NAME: &'static str = $text;
            }
        )*

        /// Every scope that a key may carry.
        pub const SCOPES: &[&str] = &[$($text),*];
    };
}

scopes! {
    CustomersRead "customers:read"
    CustomersWrite "customers:write"
    CustomersStatus "customers:status"
    CustomersUnseal "customers:unseal"
    GroupsWrite "groups:write"
    SegmentsRead "segments:read"
    SegmentsWrite "segments:write"
    PrivacyWrite "privacy:write"
    AuditRead "audit:read"
    AnalyticsRead "analytics:read"
    OpsRead "ops:read"
    OpsWrite "ops:write"
    KeysWrite "keys:write"
}

/// A staff member or a service, by an API key that carries the scope `S`. An extractor: 401 for
/// an unknown key, 403 that names the scope for one without it.
#[derive(Clone, Debug)]
pub struct Staff<S> {
    presented: PresentedStaffKey,
    scope: PhantomData<S>,
}

impl<S: Scope> Staff<S> {
    /// The public id of the key.
    pub fn key_id(&self) -> &str {
        &self.presented.id
    }

    /// Whether the key carries another scope, too: for parts of an answer that ask for more.
    ///
    /// # Errors
    /// As the extractor, but for the scope.
    pub async fn carries<O: Scope>(&self, services: &Services) -> Result<bool, Problem> {
        match prove(services, &self.presented, O::NAME).await {
            Ok(()) => Ok(true),
            Err(problem) if problem.code() == Code::InsufficientScope => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    /// That the key carries another scope, too: for requests that ask for more.
    ///
    /// # Errors
    /// As the extractor.
    pub async fn with<O: Scope>(&self, services: &Services) -> Result<(), Problem> {
        prove(services, &self.presented, O::NAME).await
    }

    /// Proves the key anew, for answers that go on for long.
    ///
    /// # Errors
    /// As the extractor.
    pub async fn prove_again(&self, services: &Services) -> Result<(), Problem> {
        prove(services, &self.presented, S::NAME).await
    }
}

impl<S: Scope> Principal for Staff<S> {
    fn actor(&self) -> Actor {
        Actor::Staff(self.presented.id.clone())
    }

    fn key_owner(&self) -> String {
        format!("staff:{}", self.presented.id)
    }
}

impl<S: Scope> FromRequest for Staff<S> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Staff<S>, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (services, request) = (services(request).cloned(), request.clone());
        let presented =
            bearer(&request).and_then(|token| parse_staff_key(token).ok_or_else(invalid_token));
        Box::pin(async move {
            let (services, presented) = (services?, presented?);
            prove(&services, &presented, S::NAME).await?;
            reads::begin(&request, &presented.id, &services)?;
            Ok(Staff { presented, scope: PhantomData })
        })
    }
}

async fn prove(
    services: &Services,
    presented: &PresentedStaffKey,
    scope: &'static str,
) -> Result<(), Problem> {
    let key = services.staff_keys.authenticate(presented, services.clock.now()).await?;
    judge(key, scope)
}

fn judge(key: Option<Arc<StaffKey>>, scope: &'static str) -> Result<(), Problem> {
    let key = key.ok_or_else(invalid_token)?;
    if key.scopes.iter().any(|carried| carried == scope) {
        return Ok(());
    }
    // RFC 6750, 3.1
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
    let challenge = HeaderValue::from_str(&challenge)
        .expect("scopes are visible ASCII, which a header may hold");
    Err(Problem::new(Code::InsufficientScope)
        .detail(format!("The key does not carry the scope {scope}."))
        .header(header::WWW_AUTHENTICATE, challenge))
}

fn services(request: &HttpRequest) -> Result<&Data<Services>, Problem> {
    request.app_data::<Data<Services>>().ok_or(Problem::new(Code::Internal))
}

/// The one token of `Authorization: Bearer <token>`.
fn bearer(request: &HttpRequest) -> Result<&str, Problem> {
    let mut values = request.headers().get_all(header::AUTHORIZATION);
    let value = values.next().ok_or(Problem::new(Code::Unauthorized))?;
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim_start_matches(' '));
    // two credentials: nobody can say which one was meant
    token.filter(|_| values.next().is_none()).ok_or_else(invalid_token)
}

fn invalid_token() -> Problem {
    let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
    Problem::new(Code::Unauthorized).header(header::WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderMap;
    use actix_web::test::TestRequest;

    fn challenge(problem: &Problem) -> String {
        let mut headers = HeaderMap::new();
        problem.write_headers(&mut headers);
        headers.get(header::WWW_AUTHENTICATE).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn one_bearer_token_is_read() {
        let token = |values: &[&str]| {
            let mut request = TestRequest::get();
            for value in values {
                request = request.append_header((header::AUTHORIZATION, *value));
            }
            let request = request.to_http_request();
            bearer(&request).map(str::to_owned).map_err(|problem| challenge(&problem))
        };
        assert_eq!(token(&["Bearer abc"]), Ok("abc".into()));
        assert_eq!(token(&["bearer  abc"]), Ok("abc".into()));
        assert_eq!(token(&[]), Err("Bearer".into()));
        for refused in
            [&["Basic abc"][..], &["abc"], &["Bearer"], &["Bearer a", "Bearer a"], &["Béarer a"]]
        {
            assert_eq!(token(refused), Err("Bearer error=\"invalid_token\"".into()), "{refused:?}");
        }
    }

    #[test]
    fn a_key_needs_the_very_scope() {
        let key = |scopes: &[&str]| {
            let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
            Some(Arc::new(StaffKey { id: "k".into(), secret_hash: [0; 32], scopes }))
        };
        assert!(judge(key(&["ops:read", "customers:read"]), CustomersRead::NAME).is_ok());
        let unknown = judge(None, OpsRead::NAME).unwrap_err();
        assert_eq!((unknown.status().as_u16(), unknown.code().as_str()), (401, "unauthorized"));
        for scopes in [&[][..], &["customers:write"], &["customers:*"], &["CUSTOMERS:READ"]] {
            let problem = judge(key(scopes), CustomersRead::NAME).unwrap_err();
            assert_eq!(problem.status(), 403);
            assert_eq!(problem.code().as_str(), "insufficient_scope");
            assert!(challenge(&problem).contains("scope=\"customers:read\""));
            let document = String::from_utf8(problem.document(None)).unwrap();
            assert!(document.contains("customers:read"), "{document}");
        }
    }

    #[test]
    fn every_scope_of_the_contract_exists() {
        let contract = "customers:read customers:write customers:status customers:unseal \
            groups:write segments:read segments:write privacy:write audit:read analytics:read ops:read \
            ops:write keys:write";
        assert_eq!(SCOPES, contract.split_whitespace().collect::<Vec<_>>());
    }
}
