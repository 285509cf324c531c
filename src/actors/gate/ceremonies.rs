//! The server's part of a ceremony that a client finishes later: sealed in its flow, for this flow
//! and this kind of ceremony only.

use super::super::origin::Trouble;
use super::{Gate, GateError};
use crate::domain::CustomerId;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::outcome::Rejection;
use crate::domain::session::SecretHash;
use crate::security::passkeys::{CHALLENGE_LIFE, CeremonyError};
use crate::security::tokens::{Token, flow_token};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use zeroize::Zeroizing;

impl Gate {
    /// A flow that keeps the state of a ceremony, and the token to finish it with.
    ///
    /// # Errors
    /// [`GateError::Trouble`] where the state cannot be sealed, which is recorded.
    pub fn ceremony(
        &self,
        kind: FlowKind,
        customer_id: Option<CustomerId>,
        state: &[u8],
    ) -> Result<(Token, Flow), GateError> {
        let parts = &self.0.parts;
        let mut random = [0; 32];
        parts.clock.random(&mut random);
        let issued = flow_token(random);
        let payload = parts.sealer.seal(&place(kind, &issued.hash), state).map_err(|error| {
            tracing::error!(%error, "a ceremony was not sealed");
            Trouble::Internal
        })?;
        let created_at = parts.clock.now();
        let life = TimeDelta::from_std(CHALLENGE_LIFE).unwrap_or(TimeDelta::zero());
        let flow = Flow {
            hash: issued.hash,
            kind,
            customer_id,
            payload,
            created_at,
            expires_at: created_at + life,
            failures: 0,
            used_at: None,
        };
        Ok((issued.token, flow))
    }

    /// The state of a ceremony of this kind. Whether the flow may still be finished is decided on
    /// the locked row.
    ///
    /// # Errors
    /// [`Rejection::FlowInvalid`] for a flow of another kind.
    pub fn ceremony_state(
        &self,
        flow: &Flow,
        kind: FlowKind,
    ) -> Result<Zeroizing<Vec<u8>>, GateError> {
        let opened = self.0.parts.sealer.open(&place(kind, &flow.hash), &flow.payload);
        opened.map_err(|_| GateError::Rejected(Rejection::FlowInvalid))
    }
}

fn place(kind: FlowKind, hash: &SecretHash) -> String {
    format!("sign_in_flows/{}/{}", kind.as_str(), URL_SAFE_NO_PAD.encode(hash))
}

/// A ceremony that failed through nobody's fault but ours.
pub fn ceremony_trouble(error: CeremonyError) -> GateError {
    tracing::error!(%error, "a passkey ceremony failed");
    GateError::Trouble(Trouble::Internal)
}
