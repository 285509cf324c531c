//! The token pair: what a sign-in, a verified address and a refresh answer with.

use super::services::Services;
use crate::actors::sessions::{Opened, Refreshed};
use crate::domain::CustomerId;
use crate::domain::session::{SecondFactor, Session, SignInMethod};
use crate::domain::status::Status;
use crate::security::access::{Access, LEAVING};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// An access token, and the refresh token that buys the next one.
#[derive(Serialize, ToSchema)]
pub struct TokenPair {
    /// A JWT (EdDSA; keys at `/.well-known/jwks.json`), to be sent as `Authorization: Bearer`.
    access_token: String,
    #[schema(value_type = String, example = "Bearer")]
    token_type: &'static str,
    /// Life of the access token, seconds.
    #[schema(example = 600)]
    expires_in: i64,
    /// Works once, at `/v1/auth/refresh`.
    refresh_token: String,
    /// Life of the refresh token, seconds.
    #[schema(example = 2_592_000)]
    refresh_expires_in: i64,
    session_id: Uuid,
    /// To be sent with the next sign-in from this device, whose failures then count apart. Absent
    /// from the answer of a refresh: the one at hand stays good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    device_token: Option<String>,
    customer_id: Uuid,
    /// `deletion`: the account is scheduled for deletion, and the tokens are good for nothing but
    /// looking at that and cancelling it. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, required = false, example = "deletion")]
    scope: Option<&'static str>,
}

/// What was shown at the sign-in, in the names of RFC 8176, which has none for a link from a mail.
fn methods(session: &Session) -> Vec<String> {
    let first: &[&str] = match session.method {
        SignInMethod::Password => &["pwd"],
        SignInMethod::EmailVerification | SignInMethod::Social => &[],
        // Proof of a key, and its holder verified to the device.
        SignInMethod::Passkey => &["pop", "user"],
    };
    let second: &[&str] = match session.second_factor {
        None => &[],
        Some(SecondFactor::Totp | SecondFactor::BackupCode) => &["otp"],
        Some(SecondFactor::Passkey) => &["pop"],
    };
    let both: &[&str] = if session.assurance() > 1 { &["mfa"] } else { &[] };
    [first, second, both].concat().into_iter().map(str::to_owned).collect()
}

impl TokenPair {
    /// Of a session just opened.
    pub fn opened(services: &Services, opened: &Opened) -> TokenPair {
        let device_token = Some(opened.device_token.as_str().to_owned());
        let refresh_token = opened.refresh_token.as_str();
        TokenPair {
            device_token,
            ..pair(
                services,
                &opened.customer.id,
                opened.customer.status,
                &opened.session,
                refresh_token,
            )
        }
    }

    /// Of a session that goes on.
    pub fn refreshed(services: &Services, refreshed: &Refreshed) -> TokenPair {
        let Refreshed { customer_id, status, session, refresh_token } = refreshed;
        pair(services, customer_id, *status, session, refresh_token.as_str())
    }
}

fn pair(
    services: &Services,
    customer_id: &CustomerId,
    status: Status,
    session: &Session,
    refresh_token: &str,
) -> TokenPair {
    let now = services.clock.now();
    let leaving = status == Status::DeletionScheduled;
    let access = Access {
        customer_id: customer_id.0,
        session_id: session.id.0,
        aal: session.assurance(),
        amr: methods(session),
        auth_time: session.created_at,
        token_id: Some(services.clock.new_id()),
        leaving,
    };
    let issued = services.access.issue(&access, now);
    TokenPair {
        access_token: issued.token,
        token_type: "Bearer",
        expires_in: seconds_until(issued.expires_at, now),
        refresh_token: refresh_token.to_owned(),
        refresh_expires_in: seconds_until(session.expires_at, now),
        session_id: session.id.0,
        device_token: None,
        customer_id: customer_id.0,
        scope: leaving.then_some(LEAVING),
    }
}

/// Whole seconds, rounded to the nearest: an access token's end is a whole second, and 600 is what
/// its holder expects to read, not 599.
pub(super) fn seconds_until(end: DateTime<Utc>, now: DateTime<Utc>) -> i64 {
    ((end - now).num_milliseconds() + 500).div_euclid(1000).max(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn lives_are_told_in_whole_seconds() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (milliseconds, seconds) in
            [(600_000, 600), (599_600, 600), (599_400, 599), (499, 0), (-5_000, 0)]
        {
            let end = now + TimeDelta::milliseconds(milliseconds);
            assert_eq!(seconds_until(end, now), seconds);
        }
    }
}
