//! The paths through the gate: every way to show a credential, each with its own budget of calls.

use super::super::allowance::Quota;
use std::time::Duration;

/// One way to show a credential. A new one is a variant here before it is anything else: the test
/// of the one gate walks through them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// E-mail or phone with the password.
    Password,
    /// The link that verifies an address and opens the first session.
    EmailVerification,
    /// The second step of a sign-in.
    SecondFactor,
    /// The first code of an authenticator that is being set up.
    TotpConfirmation,
    /// A challenge for whoever has a passkey.
    PasskeyChallenge,
    /// Nothing but a passkey.
    Passkey,
    /// A new passkey, which proves that it is there.
    PasskeyRegistration,
    /// Password, code or age of the session, asked again of somebody who is signed in.
    Reauthentication,
    /// The code that was sent to a phone.
    PhoneCode,
}

impl Path {
    pub const ALL: [Self; 9] = [
        Self::Password,
        Self::EmailVerification,
        Self::SecondFactor,
        Self::TotpConfirmation,
        Self::PasskeyChallenge,
        Self::Passkey,
        Self::PasskeyRegistration,
        Self::Reauthentication,
        Self::PhoneCode,
    ];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::EmailVerification => "email_verification",
            Self::SecondFactor => "second_factor",
            Self::TotpConfirmation => "totp_confirmation",
            Self::PasskeyChallenge => "passkey_challenge",
            Self::Passkey => "passkey",
            Self::PasskeyRegistration => "passkey_registration",
            Self::Reauthentication => "reauthentication",
            Self::PhoneCode => "phone_code",
        }
    }

    /// The budget of one client address. Paths do not share theirs: a second step does not eat the
    /// tries of the first.
    pub(super) fn quota(self, per_minute: u32) -> Quota {
        let name = match self {
            Self::Password => "login",
            other => other.as_str(),
        };
        Quota { name, requests: per_minute, window: Duration::from_secs(60) }
    }
}
