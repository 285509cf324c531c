//! Facebook's web sign-in: OAuth 2 and the Graph API instead of an `id_token`. That a token was
//! made for this very app is asked of Facebook itself, since the token does not tell.

use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;
use serde::Deserialize;
use url::Url;

use super::wire::{Answer, Wire};
use super::{Ceremony, Failure, Refusal, VerifiedIdentity, challenge, filled, subject};
use crate::config::{ProviderConfig, SecretText, TrustEmail};

pub(super) struct Facebook {
    name: String,
    client_id: String,
    client_secret: Option<SecretText>,
    scopes: String,
    trust_email: bool,
    authorize: Url,
    graph: Url,
    wire: Wire,
}

#[derive(Deserialize)]
struct Token {
    access_token: String,
}

/// What Facebook says about a token.
#[derive(Deserialize)]
struct Inspection {
    data: Inspected,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(default)]
    app_id: String,
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    is_valid: bool,
    /// Seconds since 1970; 0 = never.
    #[serde(default)]
    expires_at: i64,
}

#[derive(Deserialize)]
struct Person {
    id: String,
    name: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
}

impl Facebook {
    pub fn new(name: &str, section: &ProviderConfig, wire: Wire) -> Self {
        Self {
            name: name.to_owned(),
            client_id: section.client_id.clone(),
            client_secret: section.client_secret.clone(),
            scopes: section.scopes_or_usual().join(","),
            trust_email: section.trust_email == TrustEmail::Always,
            authorize: section.authorize_url_or_usual(),
            graph: section.graph_url_or_usual(),
            wire,
        }
    }

    /// Facebook's page for one ceremony.
    pub fn authorization_url(&self, ceremony: &Ceremony, state: &str) -> Url {
        let mut url = self.authorize.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &ceremony.redirect_uri)
            .append_pair("scope", &self.scopes)
            .append_pair("state", state)
            .append_pair("code_challenge", &challenge(&ceremony.verifier))
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// Exchanges a code, asks whose and which app's the token is, and who the person is.
    pub async fn exchange(
        &self,
        ceremony: &Ceremony,
        code: &str,
        now: DateTime<Utc>,
    ) -> Result<VerifiedIdentity, Failure> {
        let secret = self.client_secret.as_ref().map_or("", SecretText::expose);
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", secret),
            ("redirect_uri", &ceremony.redirect_uri),
            ("code", code),
            ("code_verifier", &ceremony.verifier),
        ];
        let url = self.graph(&["oauth", "access_token"], &[]);
        let token: Token = accepted(self.wire.post(&url, &form, None).await?)?;
        let user_id = self.inspect(&token.access_token, secret, now).await?;
        let person = self.person(&token.access_token, secret).await?;
        if person.id != user_id {
            return Err(Refusal::Subject.into());
        }
        Ok(VerifiedIdentity {
            provider: self.name.clone(),
            subject: subject(&person.id)?,
            email_verified: self.trust_email && person.email.is_some(),
            email: person.email.as_deref().and_then(filled),
            given_name: person.first_name.as_deref().or(person.name.as_deref()).and_then(filled),
            family_name: person.last_name.as_deref().and_then(filled),
            // a code is worth one exchange, which Facebook and the ceremony both see to
            expires_at: now,
        })
    }

    /// Whose token it is, if it is valid and of this app: one of another app would sign its users
    /// in here.
    async fn inspect(
        &self,
        access_token: &str,
        secret: &str,
        now: DateTime<Utc>,
    ) -> Result<String, Failure> {
        let url = self.graph(&["debug_token"], &[("input_token", access_token)]);
        let own = format!("{}|{secret}", self.client_id);
        let inspected = accepted(self.wire.get::<Inspection>(&url, &own).await?)?.data;
        let expired = inspected.expires_at != 0
            && now - TimeDelta::minutes(1) > instant(inspected.expires_at);
        if inspected.app_id != self.client_id {
            return Err(Refusal::Audience.into());
        }
        if !inspected.is_valid || expired {
            return Err(Refusal::Expired.into());
        }
        Ok(inspected.user_id)
    }

    async fn person(&self, access_token: &str, secret: &str) -> Result<Person, Failure> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let proof = hmac::sign(&key, access_token.as_bytes());
        let proof: String = proof.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let fields = "id,name,first_name,last_name,email";
        let url = self.graph(&["me"], &[("fields", fields), ("appsecret_proof", &proof)]);
        accepted(self.wire.get(&url, access_token).await?)
    }

    fn graph(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.graph.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

/// The Graph API tells a wrong code, a wrong secret and a revoked token apart by text only, so
/// every refusal is taken for the credential's.
fn accepted<T>(answer: Answer<T>) -> Result<T, Failure> {
    match answer {
        Answer::Ok(found) => Ok(found),
        Answer::Refused(_) => Err(Refusal::Code.into()),
    }
}

fn instant(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MIN_UTC)
}
