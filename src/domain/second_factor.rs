//! Second factors (rule A9): what a customer shows after its first one, and what is kept to judge
//! it by.

use super::ids::{CustomerId, MailId};
use super::mail::{Mail, MailBody};
use super::place::Locale;
use super::session::SecondFactor;
use super::state::State;
use chrono::{DateTime, TimeDelta, Utc};

/// Tries that one challenge allows.
pub const CHALLENGE_TRIES: i32 = 5;

/// How long an authenticator that was handed out waits for its first code.
pub const SETUP_LIFE: TimeDelta = TimeDelta::hours(1);

/// An authenticator: handed out, and from its first valid code on a second factor.
#[derive(Clone, PartialEq)]
pub struct Totp {
    /// Sealed; the domain only compares it.
    pub secret: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The latest step whose code was accepted, at confirmation, sign-in or wherever it was asked
    /// for again.
    pub last_step: Option<i64>,
}

/// Holds a secret: printed without it.
impl std::fmt::Debug for Totp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Totp")
            .field("created_at", &self.created_at)
            .field("confirmed_at", &self.confirmed_at)
            .field("last_step", &self.last_step)
            .finish_non_exhaustive()
    }
}

/// A code as it was looked at outside: under which secret, and of which step it is.
#[derive(Clone, PartialEq)]
pub struct ShownCode {
    /// Sealed, as it was read; of another one than today's the code proves nothing.
    pub secret: Vec<u8>,
    /// `None`: of none of the steps that may be shown at present.
    pub step: Option<i64>,
}

/// Holds a secret: printed without it.
impl std::fmt::Debug for ShownCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShownCode").field("step", &self.step).finish_non_exhaustive()
    }
}

impl Totp {
    pub fn is_enabled(&self) -> bool {
        self.confirmed_at.is_some()
    }

    /// Whether it still waits for its first code.
    pub fn is_pending(&self, now: DateTime<Utc>) -> bool {
        !self.is_enabled() && now < self.created_at + SETUP_LIFE
    }

    /// The step that this code uses up; `None` when it is wrong or was used before.
    pub fn accepts(&self, shown: &ShownCode) -> Option<i64> {
        let step = shown.step.filter(|_| self.secret == shown.secret)?;
        self.last_step.is_none_or(|last| step > last).then_some(step)
    }
}

/// The factors with which a customer can answer a challenge, in the order to offer them. Empty:
/// there is no second factor.
///
/// With `since` only those that were set up by then: a later one proves nothing about who began the
/// sign-in, so a reset in between voids the challenge.
pub fn offered(state: &State, since: Option<DateTime<Utc>>) -> Vec<SecondFactor> {
    let in_time = |at: DateTime<Utc>| since.is_none_or(|since| at <= since);
    let mut offered = Vec::with_capacity(3);
    if state.totp.as_ref().and_then(|totp| totp.confirmed_at).is_some_and(in_time) {
        offered.push(SecondFactor::Totp);
    }
    // Any passkey may answer once something asks; on its own it asks only where its owner said so.
    let mut passkeys = state.passkeys.values().filter(|passkey| in_time(passkey.created_at));
    let asked_for = passkeys.clone().any(|passkey| passkey.second_factor);
    if passkeys.next().is_some() && (asked_for || !offered.is_empty()) {
        offered.push(SecondFactor::Passkey);
    }
    // Backup codes stand in for a factor and are none of their own.
    if !offered.is_empty() && !state.backup_codes.is_empty() {
        offered.push(SecondFactor::BackupCode);
    }
    offered
}

/// What an owner is told by mail about its factors.
pub fn notice(state: &State, customer_id: CustomerId, id: MailId, body: MailBody) -> Mail {
    let locale = state.preferences.as_ref().map_or_else(
        || Locale::from_stored("en".to_owned()),
        |preferences| preferences.locale.clone(),
    );
    Mail { id, customer_id, to: None, body, locale }
}
