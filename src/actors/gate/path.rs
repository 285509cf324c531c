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
    /// The link that leads to a new password. It opens no session.
    PasswordReset,
    /// The second step of a sign-in.
    SecondFactor,
    /// The first code of an authenticator that is being set up.
    TotpConfirmation,
    /// The way to an identity provider.
    SocialAuthorization,
    /// What an identity provider says, to sign in by it or to link it.
    Social,
    /// The link that makes another address the customer's. It opens no session.
    EmailChange,
    /// The link that takes the old address back. It opens no session.
    EmailChangeUndo,
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
    /// The token that keeps a session alive, counted by session.
    Refresh,
}

impl Path {
    pub const ALL: &[Self] = &[
        Self::Password,
        Self::EmailVerification,
        Self::PasswordReset,
        Self::SecondFactor,
        Self::TotpConfirmation,
        Self::SocialAuthorization,
        Self::Social,
        Self::PasskeyChallenge,
        Self::Passkey,
        Self::PasskeyRegistration,
        Self::PhoneCode,
        Self::EmailChange,
        Self::EmailChangeUndo,
        Self::Reauthentication,
        Self::Refresh,
    ];

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::EmailVerification => "email_verification",
            Self::PasswordReset => "password_reset",
            Self::EmailChange => "email_change",
            Self::EmailChangeUndo => "email_change_undo",
            Self::Reauthentication => "reauthentication",
            Self::SecondFactor => "second_factor",
            Self::TotpConfirmation => "totp_confirmation",
            Self::SocialAuthorization => "social_authorization",
            Self::Social => "social",
            Self::PasskeyChallenge => "passkey_challenge",
            Self::Passkey => "passkey",
            Self::PasskeyRegistration => "passkey_registration",
            Self::PhoneCode => "phone_code",
            Self::Refresh => "refresh",
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
