//! Who somebody is in the eyes of another service (rule A10): identity providers from
//! configuration alone, each asked within one time limit and left alone while it is down.
//!
//! `oidc` finds a provider's addresses and keys and exchanges codes, `id_token` judges what comes
//! back, `apple` makes the one client secret that is signed, `facebook` speaks its own dialect,
//! `wire` is the HTTP client, `breaker` what keeps a dead provider from slowing us down.

mod apple;
mod breaker;
mod facebook;
mod id_token;
mod oidc;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use url::Url;

use crate::clock::Clock;
use crate::config::{ProviderConfig, ProviderKind, SocialConfig};

use breaker::Breaker;
use facebook::Facebook;
use oidc::Oidc;
use wire::Wire;

/// Calls to one provider at a time. A slow one must not gather thousands of waiting requests.
const CALLS_MAX: usize = 64;

/// Longest code or token that is looked at, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 16 * 1024;

/// What a provider vouches for, after every check.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedIdentity {
    /// The name of the provider in our configuration.
    pub provider: String,
    /// Who it is: unique and never reassigned at that provider.
    pub subject: String,
    pub email: Option<String>,
    /// Whether the provider has verified that the address is this person's.
    pub email_verified: bool,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    /// Until when the credential would be accepted again, were it not remembered as used.
    pub expires_at: DateTime<Utc>,
}

/// Personal: shown without the person.
impl fmt::Debug for VerifiedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedIdentity")
            .field("provider", &self.provider)
            .field("email_verified", &self.email_verified)
            .finish_non_exhaustive()
    }
}

/// A sign-in that was begun at a provider: what must be remembered, sealed, until its code comes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceremony {
    pub provider: String,
    pub redirect_uri: String,
    /// PKCE (RFC 7636): whoever brings the code must come by way of the one who began.
    verifier: String,
    nonce: String,
}

/// Holds secrets: shown without them.
impl fmt::Debug for Ceremony {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ceremony").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Why there is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SocialError {
    #[error("no provider is configured under this name")]
    UnknownProvider,
    #[error("the redirect address is not on the provider's list")]
    RedirectNotAllowed,
    /// The provider is down, slow, or does not accept this shop; nothing is known of the person.
    #[error("the provider does not answer")]
    Unavailable { retry_after: Duration },
    #[error("not accepted: {0}")]
    Refused(Refusal),
}

/// Which check failed. For operators: callers get one answer for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the provider does not accept the code")]
    Code,
    #[error("begun at another provider")]
    Provider,
    #[error("this provider issues no id_token")]
    Kind,
    #[error("no id_token that can be read")]
    Malformed,
    #[error("signed with an algorithm that is not allowed, or not at all")]
    Algorithm,
    #[error("signed by a key that the provider does not publish")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("of another issuer")]
    Issuer,
    #[error("made for another client")]
    Audience,
    #[error("requested by another client")]
    AuthorizedParty,
    #[error("expired")]
    Expired,
    #[error("issued in the future")]
    IssuedAt,
    #[error("does not count yet")]
    NotBefore,
    #[error("another nonce")]
    Nonce,
    #[error("no usable subject")]
    Subject,
    #[error("belongs to another access token")]
    AccessTokenHash,
}

/// What ends a call inside this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// The provider was not reached, or not understood; the text is for the log.
    Unreachable(&'static str),
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(refusal)
    }
}

/// A provider's section cannot be used. Found before anything is served.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Usually the machine's certificate store: the image lacks `ca-certificates`.
    #[error("no HTTP client for identity providers")]
    Client(#[source] reqwest::Error),
    #[error("social.providers.{0}: the private key cannot be read")]
    PrivateKey(String),
}

/// Where a user goes, and what to remember until the code comes back.
#[derive(Debug)]
pub struct Authorization {
    pub url: Url,
    pub ceremony: Ceremony,
}

/// All configured providers.
pub struct Social {
    providers: BTreeMap<String, Arc<Provider>>,
    clock: Arc<dyn Clock>,
    /// Where calls run: a connection lives on the runtime that opened it, and none of the HTTP
    /// workers' is meant to serve the others.
    runtime: Handle,
    timeout: Duration,
}

struct Provider {
    name: String,
    redirect_uris: Vec<String>,
    dialect: Dialect,
    breaker: Breaker,
    calls: Arc<Semaphore>,
}

enum Dialect {
    Oidc(Oidc),
    Facebook(Facebook),
}

impl Social {
    /// Makes what each provider needs; nobody is called yet.
    ///
    /// # Errors
    /// [`SetupError`]; never without providers.
    pub fn new(
        config: &SocialConfig,
        clock: Arc<dyn Clock>,
        runtime: Handle,
    ) -> Result<Self, SetupError> {
        let timeout = config.timeout_ms.duration();
        let mut providers = BTreeMap::new();
        // no provider, no client: a machine without a certificate store serves passwords
        let wire = match config.providers.is_empty() {
            true => None,
            false => Some(Wire::new(timeout).map_err(SetupError::Client)?),
        };
        for ((name, section), wire) in config.providers.iter().zip(wire.iter().cycle()) {
            let provider = Provider::new(name, section, config, wire.clone(), &clock)?;
            providers.insert(name.clone(), Arc::new(provider));
        }
        Ok(Self { providers, clock, runtime, timeout })
    }

    /// Whether a provider of this name is configured.
    #[must_use]
    pub fn knows(&self, provider: &str) -> bool {
        self.providers.contains_key(provider)
    }

    /// Begins a sign-in: the provider's page for it, with PKCE and a nonce of our own.
    ///
    /// `state` comes back with the code; it must be secret, unique, and name the ceremony.
    ///
    /// # Errors
    /// [`SocialError`], all but `Refused`.
    pub async fn authorize(
        &self,
        provider: &str,
        redirect_uri: &str,
        state: &str,
    ) -> Result<Authorization, SocialError> {
        let provider = self.find(provider)?;
        if !provider.redirect_uris.iter().any(|allowed| allowed == redirect_uri) {
            return Err(SocialError::RedirectNotAllowed);
        }
        let ceremony = Ceremony {
            provider: provider.name.clone(),
            redirect_uri: redirect_uri.to_owned(),
            verifier: self.secret(),
            nonce: self.secret(),
        };
        let (remembered, state) = (ceremony.clone(), state.to_owned());
        let url = self
            .call(&provider, |provider| async move {
                match &provider.dialect {
                    Dialect::Oidc(oidc) => oidc.authorization_url(&remembered, &state).await,
                    Dialect::Facebook(facebook) => {
                        Ok(facebook.authorization_url(&remembered, &state))
                    }
                }
            })
            .await?;
        Ok(Authorization { url, ceremony })
    }

    /// Ends a sign-in that [`Self::authorize`] began: exchanges the code and checks all that comes.
    ///
    /// The ceremony must have been consumed before: a code is tried once.
    ///
    /// # Errors
    /// [`SocialError`].
    pub async fn exchange(
        &self,
        provider: &str,
        ceremony: Ceremony,
        code: &str,
    ) -> Result<VerifiedIdentity, SocialError> {
        let provider = self.find(provider)?;
        if ceremony.provider != provider.name {
            return Err(SocialError::Refused(Refusal::Provider));
        }
        // the list may have changed since
        if !provider.redirect_uris.contains(&ceremony.redirect_uri) {
            return Err(SocialError::RedirectNotAllowed);
        }
        let code = credential(code, Refusal::Code)?;
        let now = self.clock.now();
        self.call(&provider, |provider| async move {
            match &provider.dialect {
                Dialect::Oidc(oidc) => oidc.exchange(&ceremony, &code, now).await,
                Dialect::Facebook(facebook) => facebook.exchange(&ceremony, &code, now).await,
            }
        })
        .await
    }

    /// Checks an `id_token` that a native app got from the provider's own library, for which it
    /// chose `nonce`.
    ///
    /// # Errors
    /// [`SocialError`].
    pub async fn verify(
        &self,
        provider: &str,
        id_token: &str,
        nonce: &str,
    ) -> Result<VerifiedIdentity, SocialError> {
        let provider = self.find(provider)?;
        let id_token = credential(id_token, Refusal::Malformed)?;
        let (nonce, now) = (nonce.to_owned(), self.clock.now());
        self.call(&provider, |provider| async move {
            match &provider.dialect {
                Dialect::Oidc(oidc) => oidc.verify(&id_token, &nonce, now).await,
                Dialect::Facebook(_) => Err(Failure::Refused(Refusal::Kind)),
            }
        })
        .await
    }

    fn find(&self, name: &str) -> Result<Arc<Provider>, SocialError> {
        self.providers.get(name).cloned().ok_or(SocialError::UnknownProvider)
    }

    /// 256 random bits, in the alphabet of RFC 7636.
    fn secret(&self) -> String {
        let mut bytes = [0; 32];
        self.clock.random(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Runs `work` where connections live, within the time limit, unless the provider is known to
    /// be down or has too many calls waiting. A caller that goes away ends nothing half-way.
    async fn call<T, W>(
        &self,
        provider: &Arc<Provider>,
        work: impl FnOnce(Arc<Provider>) -> W,
    ) -> Result<T, SocialError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let unavailable = |provider: &Provider| SocialError::Unavailable {
            retry_after: provider.breaker.pause(),
        };
        if provider.breaker.is_open() {
            count(&provider.name, "left_alone");
            return Err(unavailable(provider));
        }
        let Ok(permit) = provider.calls.clone().try_acquire_owned() else {
            count(&provider.name, "too_many");
            return Err(unavailable(provider));
        };
        let (theirs, limit) = (provider.clone(), self.timeout);
        let work = work(provider.clone());
        let task = self.runtime.spawn(async move {
            let result = tokio::time::timeout(limit, work).await;
            drop(permit);
            let result = result.unwrap_or(Err(Failure::Unreachable("no answer in time")));
            theirs.note(&result);
            result
        });
        match task.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failure::Refused(refusal))) => Err(SocialError::Refused(refusal)),
            Ok(Err(Failure::Unreachable(_))) => Err(unavailable(provider)),
            Err(_) => {
                // a panic in a library that read foreign input: ours is not to trust the rest
                tracing::error!(
                    provider = provider.name,
                    "a call to an identity provider panicked"
                );
                Err(SocialError::Refused(Refusal::Malformed))
            }
        }
    }
}

impl Provider {
    fn new(
        name: &str,
        section: &ProviderConfig,
        config: &SocialConfig,
        wire: Wire,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let dialect = match section.kind {
            ProviderKind::Oidc | ProviderKind::Apple => {
                let skew = config.clock_skew_seconds.delta();
                Dialect::Oidc(Oidc::new(name, section, skew, wire)?)
            }
            ProviderKind::Facebook => Dialect::Facebook(Facebook::new(name, section, wire)),
        };
        Ok(Self {
            name: name.to_owned(),
            redirect_uris: section.redirect_uris.clone(),
            dialect,
            breaker: Breaker::new(config.retry_seconds.duration(), clock.clone()),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
        })
    }

    /// Counts how a call ended, and tells operators what callers are not told.
    fn note<T>(&self, result: &Result<T, Failure>) {
        match result {
            Ok(_) => {
                self.breaker.reached();
                count(&self.name, "ok");
            }
            Err(Failure::Refused(refusal)) => {
                tracing::info!(provider = self.name, %refusal, "an identity was refused");
                count(&self.name, "refused");
            }
            Err(Failure::Unreachable(why)) => {
                self.breaker.failed();
                tracing::warn!(provider = self.name, why, "an identity provider is not usable");
                count(&self.name, "unavailable");
            }
        }
    }
}

fn count(provider: &str, outcome: &'static str) {
    let provider = provider.to_owned();
    metrics::counter!("identity_provider_calls_total", "provider" => provider, "outcome" => outcome)
        .increment(1);
}

fn credential(text: &str, otherwise: Refusal) -> Result<String, SocialError> {
    match text.len() {
        1..=CREDENTIAL_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(SocialError::Refused(otherwise)),
    }
}

/// The S256 challenge of a PKCE verifier.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// A subject as it may be stored: OpenID Connect allows 255 ASCII characters.
fn subject(text: &str) -> Result<String, Refusal> {
    let sound = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if sound { Ok(text.to_owned()) } else { Err(Refusal::Subject) }
}

/// A text that says something.
fn filled(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
