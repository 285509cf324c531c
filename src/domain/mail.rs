//! A mail as a decision: what to say to whom. It is a row of the transaction (rule A11); a worker
//! renders and sends it. It names no address where the customer's own is meant: that is read when
//! it is sent.

use super::email::EmailAddress;
use super::ids::{CustomerId, MailId};
use super::place::Locale;
use super::welcome::WelcomeMail;
use chrono::{DateTime, Utc};

/// Which mail, with what only that mail needs.
#[derive(Clone, PartialEq, Eq)]
pub enum MailBody {
    /// Confirm your address, with the link's token.
    VerifyEmail {
        nonce: [u8; 32],
    },
    /// Somebody, perhaps you, registered an address that has an account.
    AlreadyRegistered,
    /// The same where the account still waits for its confirmation; with a fresh link.
    AlreadyRegisteredPending {
        nonce: [u8; 32],
    },
    /// Your account has another phone number now.
    PhoneChanged,
    /// Your account has no phone number any more.
    PhoneRemoved,
    /// Choose another password, with the link's token.
    ResetPassword {
        nonce: [u8; 32],
    },
    /// Your password is another one now.
    PasswordChanged,
    /// An authenticator is asked for from now on.
    TotpEnabled,
    TotpRemoved,
    BackupCodesRenewed,
    /// A backup code was used, wherever one is asked for.
    BackupCodeUsed {
        left: usize,
    },
    /// Staff took all second factors away.
    FactorsReset,
    /// Too many wrong codes.
    SecondFactorLocked,
    /// Too many wrong passwords or codes; nobody came in.
    SignInLocked,
    /// Somebody signed in from a device that had not been here before.
    NewDevice,
    /// A new account, made by signing in with an account elsewhere.
    IdentityWelcome,
    /// One can sign in with an account elsewhere from now on.
    IdentityLinked,
    /// No longer.
    IdentityUnlinked,
    /// To a new address: confirm it, with the link's token.
    ChangeEmail {
        nonce: [u8; 32],
    },
    /// To an address that somebody else has: another customer wants it.
    ChangeEmailTaken,
    /// To the present address: another one was asked for.
    ChangeEmailRequested,
    /// To the old address: take it back, with the link's token.
    EmailChanged {
        nonce: [u8; 32],
    },
    /// The same, where an older address has the link.
    EmailChangedAgain,
    /// To the old address, which is the customer's again: choose another password, with the link's
    /// token.
    EmailChangeUndone {
        nonce: [u8; 32],
    },
    PasskeyAdded,
    PasskeyRemoved,
    /// From now on a passkey is asked for after the password.
    PasskeyRequired,
    /// The reverse.
    PasskeyNotRequired,
    /// There may be a copy of a passkey.
    PasskeySuspected,
    /// To the address of an account that became one with another.
    Merged,
    /// A copy of all that is kept of the customer can be downloaded.
    ExportReady,
    /// The account is frozen, and its deletion can be cancelled until this instant.
    DeletionScheduled {
        due_at: DateTime<Utc>,
    },
    /// It was cancelled.
    DeletionCancelled,
    /// A step of the welcome series.
    Welcome(WelcomeMail),
}

/// Printed by its name alone: the token of its link is derived from the rest.
impl std::fmt::Debug for MailBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl MailBody {
    /// The name under which a mail is stored and its templates are kept.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::VerifyEmail { .. } => "verify_email",
            Self::AlreadyRegistered => "already_registered",
            Self::AlreadyRegisteredPending { .. } => "already_registered_pending",
            Self::PhoneChanged => "phone_changed",
            Self::PhoneRemoved => "phone_removed",
            Self::ResetPassword { .. } => "reset_password",
            Self::PasswordChanged => "password_changed",
            Self::TotpEnabled => "totp_enabled",
            Self::TotpRemoved => "totp_removed",
            Self::BackupCodesRenewed => "backup_codes_renewed",
            Self::BackupCodeUsed { .. } => "backup_code_used",
            Self::FactorsReset => "factors_reset",
            Self::SecondFactorLocked => "second_factor_locked",
            Self::SignInLocked => "sign_in_locked",
            Self::NewDevice => "new_device",
            Self::IdentityWelcome => "identity_welcome",
            Self::IdentityLinked => "identity_linked",
            Self::IdentityUnlinked => "identity_unlinked",
            Self::ChangeEmail { .. } => "change_email",
            Self::ChangeEmailTaken => "change_email_taken",
            Self::ChangeEmailRequested => "change_email_requested",
            Self::EmailChanged { .. } => "email_changed",
            Self::EmailChangedAgain => "email_changed_again",
            Self::EmailChangeUndone { .. } => "email_change_undone",
            Self::PasskeyAdded => "passkey_added",
            Self::PasskeyRemoved => "passkey_removed",
            Self::PasskeyRequired => "passkey_required",
            Self::PasskeyNotRequired => "passkey_not_required",
            Self::PasskeySuspected => "passkey_suspected",
            Self::Merged => "merged",
            Self::ExportReady => "export_ready",
            Self::DeletionScheduled { .. } => "deletion_scheduled",
            Self::DeletionCancelled => "deletion_cancelled",
            Self::Welcome(mail) => mail.template.kind(),
        }
    }

    /// What the token of the mail's link is derived from, where the mail has a link.
    pub fn nonce(&self) -> Option<[u8; 32]> {
        match self {
            Self::VerifyEmail { nonce }
            | Self::AlreadyRegisteredPending { nonce }
            | Self::ResetPassword { nonce }
            | Self::ChangeEmail { nonce }
            | Self::EmailChanged { nonce }
            | Self::EmailChangeUndone { nonce } => Some(*nonce),
            Self::AlreadyRegistered
            | Self::PhoneChanged
            | Self::PhoneRemoved
            | Self::PasswordChanged
            | Self::TotpEnabled
            | Self::TotpRemoved
            | Self::BackupCodesRenewed
            | Self::BackupCodeUsed { .. }
            | Self::FactorsReset
            | Self::SignInLocked
            | Self::NewDevice
            | Self::SecondFactorLocked
            | Self::IdentityWelcome
            | Self::IdentityLinked
            | Self::IdentityUnlinked
            | Self::ChangeEmailTaken
            | Self::ChangeEmailRequested
            | Self::EmailChangedAgain
            | Self::PasskeyAdded
            | Self::PasskeyRemoved
            | Self::PasskeyRequired
            | Self::PasskeyNotRequired
            | Self::PasskeySuspected
            | Self::Merged
            | Self::ExportReady
            | Self::DeletionScheduled { .. }
            | Self::DeletionCancelled
            | Self::Welcome(_) => None,
        }
    }

    /// The step of a series that the mail is.
    pub fn step(&self) -> Option<&str> {
        match self {
            Self::Welcome(mail) => Some(&mail.step),
            _ => None,
        }
    }

    /// When it is to be sent, where that is not at once.
    pub fn due_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Welcome(mail) => Some(mail.due_at),
            _ => None,
        }
    }

    /// The instant that it names.
    pub fn tells_of(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::DeletionScheduled { due_at } => Some(*due_at),
            _ => None,
        }
    }

    /// How many backup codes are left, in the mail that tells of one.
    pub fn codes_left(&self) -> Option<usize> {
        match self {
            Self::BackupCodeUsed { left } => Some(*left),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    pub id: MailId,
    pub customer_id: CustomerId,
    /// An address other than the customer's own of the time of sending.
    pub to: Option<EmailAddress>,
    pub body: MailBody,
    pub locale: Locale,
}
