//! The certificate of an erasure: a JWS (EdDSA) of what was done and when, by the key that seals the
//! audit trail. It is made of what is kept whenever somebody asks for it, and is the same each time.

use crate::db::erasures::Kept;
use crate::domain::erasure::ErasureState;
use crate::security::audit_seal::AuditKey;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::sync::Arc;

/// Makes certificates. Cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    key: Arc<AuditKey>,
    /// Who certifies: where the service is reached.
    issuer: String,
}

impl Certificates {
    pub fn new(key: AuditKey, issuer: String) -> Self {
        Self { key: Arc::new(key), issuer }
    }

    /// What others check certificates by.
    pub fn public_key(&self) -> String {
        self.key.public().to_string()
    }

    /// The certificate; `None`: it is not over.
    pub fn of(&self, kept: &Kept) -> Option<String> {
        let erasure = &kept.erasure;
        let (started_at, completed_at) = erasure.started_at.zip(erasure.completed_at)?;
        if erasure.state != ErasureState::Completed {
            return None;
        }
        let header = json!({
            "alg": "EdDSA", "typ": "erasure-certificate+jwt", "kid": self.public_key(),
        });
        let steps: Vec<Value> = erasure
            .steps
            .iter()
            .map(|step| json!({ "name": step.name, "done_at": step.done_at, "tries": step.tries }))
            .collect();
        let payload = json!({
            "iss": self.issuer,
            "sub": erasure.customer_id,
            "iat": completed_at.timestamp(),
            "erasure_id": erasure.id,
            "requested_at": erasure.requested_at,
            "erased_at": started_at,
            "completed_at": completed_at,
            "steps": steps,
            "removed": kept.removed,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&payload));
        let signature = URL_SAFE_NO_PAD.encode(self.key.certify(&signed));
        Some(format!("{signed}.{signature}"))
    }
}
