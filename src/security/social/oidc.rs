//! A provider of OpenID Connect: its addresses and keys, discovered and kept, and the exchange of
//! a code for an `id_token`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::IssuerUrl;
use openidconnect::core::{CoreClientAuthMethod, CoreJsonWebKeySet, CoreProviderMetadata};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::apple::AppleSecret;
use super::id_token::{Expected, ExpectedNonce, judge};
use super::wire::{Answer, Wire};
use super::{Ceremony, Failure, Refusal, SetupError, VerifiedIdentity, challenge};
use crate::config::{ProviderConfig, ProviderKind, SecretText};

/// How long what was discovered is taken for true without another look.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// How long it serves while the provider cannot be asked: keys rotate within days.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Pause between attempts to renew what still serves.
const RENEW_PAUSE: Duration = Duration::from_secs(30);

/// How long a failed discovery answers for those who waited for it, so that they do not try one
/// after the other.
const FAILURE_SHARED: Duration = Duration::from_secs(1);

/// Looks for newer keys, at most so many in [`KEY_LOOKS_PERIOD`]: tokens with invented key names
/// are free, and must not make us flood the provider.
const KEY_LOOKS_MAX: usize = 5;
const KEY_LOOKS_PERIOD: Duration = Duration::from_secs(60);

pub(super) struct Oidc {
    name: String,
    issuer: String,
    client_id: String,
    /// This shop's own client and its native apps.
    clients: Vec<String>,
    secret: ClientSecret,
    scopes: String,
    /// Apple answers by a form whenever it is asked for a name or an address.
    form_post: bool,
    skew: TimeDelta,
    wire: Wire,
    cache: Mutex<Cache>,
}

enum ClientSecret {
    /// A public client, which PKCE alone protects.
    None,
    Given(SecretText),
    Signed(Box<AppleSecret>),
}

/// What was discovered.
struct Known {
    issuer: IssuerUrl,
    authorization: Url,
    token: Option<Url>,
    jwks: Url,
    /// Whether the secret goes into the form instead of the header.
    secret_in_form: bool,
    keys: CoreJsonWebKeySet,
}

#[derive(Default)]
struct Cache {
    known: Option<Arc<Known>>,
    found_at: Option<Instant>,
    tried_at: Option<Instant>,
    failed: Option<(Instant, Failure)>,
    key_looks: VecDeque<Instant>,
}

/// The members of a token response that matter (RFC 6749, OpenID Connect Core 3.1.3.3).
#[derive(Deserialize)]
struct Tokens {
    access_token: Option<String>,
    id_token: Option<String>,
}

impl Oidc {
    pub fn new(
        name: &str,
        section: &ProviderConfig,
        skew: TimeDelta,
        wire: Wire,
    ) -> Result<Self, SetupError> {
        let secret = match (section.kind, &section.client_secret, &section.private_key) {
            (ProviderKind::Apple, _, Some(_)) => AppleSecret::new(section)
                .map(|signed| ClientSecret::Signed(Box::new(signed)))
                .ok_or_else(|| SetupError::PrivateKey(name.to_owned()))?,
            (_, Some(secret), _) => ClientSecret::Given(secret.clone()),
            _ => ClientSecret::None,
        };
        let scopes = section.scopes_or_usual();
        let personal = scopes.iter().any(|scope| scope == "name" || scope == "email");
        let own = std::iter::once(&section.client_id);
        Ok(Self {
            name: name.to_owned(),
            issuer: section.issuer_or_usual().to_owned(),
            client_id: section.client_id.clone(),
            clients: own.chain(&section.audiences).cloned().collect(),
            secret,
            scopes: scopes.join(" "),
            form_post: section.kind == ProviderKind::Apple && personal,
            skew,
            wire,
            cache: Mutex::default(),
        })
    }

    /// The provider's page for one ceremony.
    pub async fn authorization_url(
        &self,
        ceremony: &Ceremony,
        state: &str,
    ) -> Result<Url, Failure> {
        let mut url = self.known().await?.authorization.clone();
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &ceremony.redirect_uri)
            .append_pair("scope", &self.scopes)
            .append_pair("state", state)
            .append_pair("nonce", &ceremony.nonce)
            .append_pair("code_challenge", &challenge(&ceremony.verifier))
            .append_pair("code_challenge_method", "S256");
        if self.form_post {
            query.append_pair("response_mode", "form_post");
        }
        drop(query);
        Ok(url)
    }

    /// Exchanges a code and judges the token it is worth.
    pub async fn exchange(
        &self,
        ceremony: &Ceremony,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<VerifiedIdentity, Failure> {
        let known = self.known().await?;
        let tokens = self.tokens(&known, ceremony, code, now).await?;
        let id_token = tokens.id_token.ok_or(Refusal::Malformed)?;
        // a code is this shop's own, so its token is for this shop's own client
        let clients = std::slice::from_ref(&self.client_id);
        let nonce = ExpectedNonce::Same(&ceremony.nonce);
        self.judge(known, &id_token, clients, nonce, tokens.access_token.as_deref(), now).await
    }

    /// Judges a token that a native app brings.
    pub async fn verify(
        &self,
        id_token: &str,
        nonce: &str,
        now: DateTime<Utc>,
    ) -> Result<VerifiedIdentity, Failure> {
        let known = self.known().await?;
        let nonce = ExpectedNonce::SameOrHashed(nonce);
        self.judge(known, id_token, &self.clients, nonce, None, now).await
    }

    async fn judge(
        &self,
        known: Arc<Known>,
        id_token: &str,
        clients: &[String],
        nonce: ExpectedNonce<'_>,
        access_token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<VerifiedIdentity, Failure> {
        let issuer = &known.issuer;
        let expected = Expected { issuer, clients, nonce, access_token, now, skew: self.skew };
        match judge(&self.name, id_token, &known.keys, &expected) {
            Err(Refusal::UnknownKey) => {
                let newer = self.newer_keys(&known).await?;
                Ok(judge(&self.name, id_token, &newer.keys, &expected)?)
            }
            judged => Ok(judged?),
        }
    }

    async fn tokens(
        &self,
        known: &Known,
        ceremony: &Ceremony,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<Tokens, Failure> {
        let url = known.token.as_ref().ok_or(Failure::Unreachable("it has no token endpoint"))?;
        let secret = match &self.secret {
            ClientSecret::None => None,
            ClientSecret::Given(secret) => Some(secret.expose().to_owned()),
            ClientSecret::Signed(apple) => Some(apple.at(now)),
        };
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &ceremony.redirect_uri),
            ("code_verifier", &ceremony.verifier),
        ];
        let basic = match &secret {
            Some(secret) if !known.secret_in_form => Some((self.client_id.as_str(), &**secret)),
            Some(secret) => {
                form.push(("client_id", &self.client_id));
                form.push(("client_secret", secret));
                None
            }
            None => {
                form.push(("client_id", &self.client_id));
                None
            }
        };
        match self.wire.post(url, &form, basic).await? {
            Answer::Ok(tokens) => Ok(tokens),
            // our configuration is at fault, and no sign-in can succeed until it is mended
            Answer::Refused(code) if code == "invalid_client" || code == "unauthorized_client" => {
                tracing::error!(provider = self.name, code, "a provider refuses our client");
                Err(Failure::Unreachable("it refuses our client id or secret"))
            }
            Answer::Refused(_) => Err(Refusal::Code.into()),
        }
    }

    /// What is known of the provider, discovered when it is not, or not any more.
    async fn known(&self) -> Result<Arc<Known>, Failure> {
        let mut cache = self.cache.lock().await;
        let now = Instant::now();
        let age = cache.found_at.map(|at| now - at);
        let tried = cache.tried_at.is_some_and(|at| now - at < RENEW_PAUSE);
        match (&cache.known, age) {
            (Some(known), Some(age)) if age < FRESH || (age < STALE && tried) => {
                return Ok(known.clone());
            }
            _ => {}
        }
        if let Some((at, failure)) = cache.failed
            && now - at < FAILURE_SHARED
        {
            return Err(failure);
        }
        cache.tried_at = Some(now);
        // noted first, for the time limit may end this very call
        cache.failed = Some((now, Failure::Unreachable("discovery did not end in time")));
        match self.discover().await {
            Ok(known) => {
                let known = Arc::new(known);
                cache.known = Some(known.clone());
                cache.found_at = Some(Instant::now());
                cache.failed = None;
                Ok(known)
            }
            Err(failure) => {
                cache.failed = Some((Instant::now(), failure));
                match (&cache.known, age) {
                    (Some(known), Some(age)) if age < STALE => Ok(known.clone()),
                    _ => Err(failure),
                }
            }
        }
    }

    /// Keys that are newer than `than`, when a token names one that is not among them.
    async fn newer_keys(&self, than: &Arc<Known>) -> Result<Arc<Known>, Failure> {
        let mut cache = self.cache.lock().await;
        if let Some(known) = cache.known.as_ref().filter(|known| !Arc::ptr_eq(known, than)) {
            return Ok(known.clone());
        }
        let now = Instant::now();
        while cache.key_looks.front().is_some_and(|at| now - *at >= KEY_LOOKS_PERIOD) {
            cache.key_looks.pop_front();
        }
        if cache.key_looks.len() >= KEY_LOOKS_MAX {
            return Err(Refusal::UnknownKey.into());
        }
        cache.key_looks.push_back(now);
        let keys = self.wire.document(&than.jwks).await?;
        let newer = Arc::new(Known {
            issuer: than.issuer.clone(),
            authorization: than.authorization.clone(),
            token: than.token.clone(),
            jwks: than.jwks.clone(),
            secret_in_form: than.secret_in_form,
            keys,
        });
        cache.known = Some(newer.clone());
        Ok(newer)
    }

    async fn discover(&self) -> Result<Known, Failure> {
        let issuer = self.issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{issuer}/.well-known/openid-configuration"))
            .map_err(|_| Failure::Unreachable("its issuer is no address"))?;
        let found: CoreProviderMetadata = self.wire.document(&url).await?;
        // or one provider could speak for another
        if found.issuer().as_str() != self.issuer {
            return Err(Failure::Unreachable("it says to be another issuer than configured"));
        }
        let jwks = self.endpoint(found.jwks_uri().url())?;
        let methods = found.token_endpoint_auth_methods_supported();
        let in_form = |methods: &Vec<_>| {
            methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
        };
        Ok(Known {
            issuer: found.issuer().clone(),
            authorization: self.endpoint(found.authorization_endpoint().url())?,
            token: found.token_endpoint().map(|at| self.endpoint(at.url())).transpose()?,
            secret_in_form: methods.is_some_and(in_form),
            keys: self.wire.document(&jwks).await?,
            jwks,
        })
    }

    /// An address that the provider names: as safe as the issuer itself.
    fn endpoint(&self, url: &Url) -> Result<Url, Failure> {
        // a configured issuer without TLS is on this machine, see the configuration's rules
        let plain = self.issuer.starts_with("http://") && is_loopback(url);
        match url.scheme() {
            "https" => Ok(url.clone()),
            "http" if plain => Ok(url.clone()),
            _ => Err(Failure::Unreachable("it names an address without TLS")),
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
