//! Apple's client secret: a JWT (ES256) that the developer's key signs, made here when needed, so
//! that nobody has to renew one by hand every six months.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::DecodePrivateKey as _;
use serde_json::json;

use crate::config::ProviderConfig;

/// How long one secret holds. Apple allows six months; nothing is gained by that.
const LIFETIME: TimeDelta = TimeDelta::hours(1);

/// A secret that expires sooner than this is made anew.
const LEAST_LEFT: TimeDelta = TimeDelta::minutes(10);

pub(super) struct AppleSecret {
    team_id: String,
    key_id: String,
    client_id: String,
    issuer: String,
    key: SigningKey,
    made: Mutex<Option<(String, DateTime<Utc>)>>,
}

impl AppleSecret {
    /// `None`: no key is configured, or none that can be read.
    pub fn new(section: &ProviderConfig) -> Option<Self> {
        let pem = section.private_key.as_ref()?;
        Some(Self {
            team_id: section.team_id.clone(),
            key_id: section.key_id.clone(),
            client_id: section.client_id.clone(),
            issuer: section.issuer_or_usual().to_owned(),
            key: SigningKey::from_pkcs8_pem(pem.expose()).ok()?,
            made: Mutex::new(None),
        })
    }

    /// The secret to present now.
    pub fn at(&self, now: DateTime<Utc>) -> String {
        // a string is replaced whole or not at all
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((secret, expires_at)) if *expires_at - now >= LEAST_LEFT => secret.clone(),
            _ => {
                let expires_at = now + LIFETIME;
                let secret = self.sign(now, expires_at);
                *made = Some((secret.clone(), expires_at));
                secret
            }
        }
    }

    fn sign(&self, now: DateTime<Utc>, expires_at: DateTime<Utc>) -> String {
        let header = json!({ "alg": "ES256", "kid": self.key_id });
        let claims = json!({
            "iss": self.team_id,
            "iat": now.timestamp(),
            "exp": expires_at.timestamp(),
            "aud": self.issuer,
            "sub": self.client_id,
        });
        let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature: Signature = self.key.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}
