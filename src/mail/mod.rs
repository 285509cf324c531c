//! Mails to customers: rendered from embedded templates in the customer's language and sent, by a
//! worker and never by a request, through one of four transports.
//!
//! Sending is at least once and recognisable: the same [`Mail`] sent twice is one file, or one
//! `Message-ID`, or one message id. Faults never tell the recipient's address.

mod render;
mod transport;

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

pub use render::{Language, RenderedMail, render};
pub use transport::{COMMAND, Settings, SetupFault, Transport};

/// Values for a template, by name. See [`MailKind`] for what each kind needs.
pub type Values = Map<String, Value>;

/// What a mail is about. A new kind without templates in every language does not compile.
///
/// No kind shows a name or any other text that a visitor typed: whoever registers with a foreign
/// address could otherwise have the shop send that person a text of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// A new customer confirms the address. Needs `link`, `valid_hours`.
    VerifyEmail,
    /// Somebody registered with the address of a customer. Needs `link` (to sign in).
    AlreadyRegistered,
    /// The same, and that customer has not confirmed yet. Needs `link`, `valid_hours`.
    AlreadyRegisteredPending,
    /// The account has another phone number now. Needs `link` (to sign in).
    PhoneChanged,
    /// The account has no phone number any more. Needs `link` (to sign in).
    PhoneRemoved,
    /// Somebody forgot the password. Needs `link`, `valid_minutes`.
    ResetPassword,
    /// The password is another one now. Needs `link` (to sign in).
    PasswordChanged,
    /// An authenticator is asked for from now on. Needs `link` (to sign in), as all below.
    TotpEnabled,
    /// The authenticator was taken away.
    TotpRemoved,
    /// A new set of backup codes.
    BackupCodesRenewed,
    /// Staff took all second factors away.
    FactorsReset,
    /// Too many wrong codes.
    SecondFactorLocked,
    /// Too many wrong passwords or codes.
    SignInLocked,
    /// A sign-in from a device that had not been here before. It does not say from which: the name
    /// of a device is text of whoever signed in.
    NewDevice,
    /// A new account, made by signing in with an account elsewhere. Needs `link` (to sign in), as
    /// all about such accounts.
    IdentityWelcome,
    /// One can sign in with an account elsewhere from now on.
    IdentityLinked,
    /// No longer.
    IdentityUnlinked,
    /// To a new address, which is to be confirmed. Needs `link`, `valid_hours`.
    ChangeEmail,
    /// To an address that another customer wants. Needs `link` (to sign in).
    ChangeEmailTaken,
    /// To the present address: another one was asked for. Needs `link` (to sign in).
    ChangeEmailRequested,
    /// To the old address, which can be taken back. Needs `link`, `valid_hours`.
    EmailChanged,
    /// The same where an older address can be. Needs `link` (to sign in).
    EmailChangedAgain,
    /// The owner has a new passkey. Needs `link` (to sign in), as all about passkeys.
    PasskeyAdded,
    /// It has one less.
    PasskeyRemoved,
    /// A passkey is asked for after the password from now on.
    PasskeyRequired,
    /// It no longer is.
    PasskeyNotRequired,
    /// There may be a copy of one.
    PasskeySuspected,
    /// A greeting, once the address is verified. Needs `link` (to sign in), as all of the series.
    Welcome,
    /// What one can do with an account.
    WelcomeGuide,
    /// News and offers. Tells how to be spared more of them.
    WelcomeOffers,
}

impl MailKind {
    pub const ALL: &[Self] = &[
        Self::VerifyEmail,
        Self::AlreadyRegistered,
        Self::AlreadyRegisteredPending,
        Self::PhoneChanged,
        Self::PhoneRemoved,
        Self::ResetPassword,
        Self::PasswordChanged,
        Self::TotpEnabled,
        Self::TotpRemoved,
        Self::BackupCodesRenewed,
        Self::FactorsReset,
        Self::SecondFactorLocked,
        Self::SignInLocked,
        Self::NewDevice,
        Self::IdentityWelcome,
        Self::IdentityLinked,
        Self::IdentityUnlinked,
        Self::ChangeEmail,
        Self::ChangeEmailTaken,
        Self::ChangeEmailRequested,
        Self::EmailChanged,
        Self::EmailChangedAgain,
        Self::PasskeyAdded,
        Self::PasskeyRemoved,
        Self::PasskeyRequired,
        Self::PasskeyNotRequired,
        Self::PasskeySuspected,
        Self::Welcome,
        Self::WelcomeGuide,
        Self::WelcomeOffers,
    ];

    /// The name in the database, in handed-over commands and of the templates' folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::AlreadyRegisteredPending => "already_registered_pending",
            Self::PhoneChanged => "phone_changed",
            Self::PhoneRemoved => "phone_removed",
            Self::ResetPassword => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::TotpEnabled => "totp_enabled",
            Self::TotpRemoved => "totp_removed",
            Self::BackupCodesRenewed => "backup_codes_renewed",
            Self::FactorsReset => "factors_reset",
            Self::SecondFactorLocked => "second_factor_locked",
            Self::SignInLocked => "sign_in_locked",
            Self::NewDevice => "new_device",
            Self::IdentityWelcome => "identity_welcome",
            Self::IdentityLinked => "identity_linked",
            Self::IdentityUnlinked => "identity_unlinked",
            Self::ChangeEmail => "change_email",
            Self::ChangeEmailTaken => "change_email_taken",
            Self::ChangeEmailRequested => "change_email_requested",
            Self::EmailChanged => "email_changed",
            Self::EmailChangedAgain => "email_changed_again",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::PasskeyRequired => "passkey_required",
            Self::PasskeyNotRequired => "passkey_not_required",
            Self::PasskeySuspected => "passkey_suspected",
            Self::Welcome => "welcome",
            Self::WelcomeGuide => "welcome_guide",
            Self::WelcomeOffers => "welcome_offers",
        }
    }

    /// The kind of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

/// One mail to send.
#[derive(Clone)]
pub struct Mail {
    /// Identifies the mail over all attempts.
    pub id: Uuid,
    /// The recipient's bare address.
    pub to: String,
    pub kind: MailKind,
    /// BCP 47, for example `vi-VN`.
    pub locale: String,
    pub values: Values,
    /// When it was asked for; the `Date` of every attempt.
    pub created_at: DateTime<Utc>,
}

/// Address and values (they hold single-use links) stay out of logs.
impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Why a mail was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailFault {
    /// Who should take it is away or takes no mail at all: this mail has not been judged, so it
    /// has spent no try.
    #[error("the mail was not sent yet: {0}")]
    Unreachable(String),
    /// Refused for now, worth another try later.
    #[error("the mail was not sent yet: {0}")]
    Transient(String),
    /// This mail can never be sent as it is.
    #[error("the mail cannot be sent: {0}")]
    Permanent(String),
}
