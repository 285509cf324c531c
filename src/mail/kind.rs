//! What mails are about: one list, by which each kind has its name and its templates.

use super::render::Language;

/// The template files of one kind in one language, embedded.
pub(super) struct Sources {
    pub(super) subject: &'static str,
    pub(super) text: &'static str,
    pub(super) html: &'static str,
}

macro_rules! sources {
    ($name:literal, $language:literal) => {
        Sources {
            subject: include_str!(concat!("templates/", $name, "/", $language, ".subject")),
            text: include_str!(concat!("templates/", $name, "/", $language, ".txt")),
            html: include_str!(concat!("templates/", $name, "/", $language, ".html")),
        }
    };
}

macro_rules! kinds {
    ($($(#[doc = $about:literal])+ $kind:ident = $name:literal,)+) => {
        /// What a mail is about. A new kind without templates in every language does not compile.
        ///
        /// No kind shows a name or any other text that a visitor typed: whoever registers with a
        /// foreign address could otherwise have the shop send that person a text of his own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum MailKind {
            $($(#[doc = $about])+ $kind,)+
        }

        impl MailKind {
            pub const ALL: &[Self] = &[$(Self::$kind),+];

            /// The name in the database, in handed-over commands and of the templates' folder.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            pub(super) fn sources(self, language: Language) -> Sources {
                match (self, language) {
                    $((Self::$kind, Language::En) => sources!($name, "en"),
                    (Self::$kind, Language::Vi) => sources!($name, "vi"),)+
                }
            }
        }
    };
}

kinds! {
    /// A new customer confirms the address. Needs `link`, `valid_hours`.
    VerifyEmail = "verify_email",
    /// Somebody registered with the address of a customer. Needs `link` (to sign in).
    AlreadyRegistered = "already_registered",
    /// The same, and that customer has not confirmed yet. Needs `link`, `valid_hours`.
    AlreadyRegisteredPending = "already_registered_pending",
    /// The account has another phone number now. Needs `link` (to sign in).
    PhoneChanged = "phone_changed",
    /// The account has no phone number any more. Needs `link` (to sign in).
    PhoneRemoved = "phone_removed",
    /// Somebody forgot the password. Needs `link`, `valid_minutes`.
    ResetPassword = "reset_password",
    /// The password is another one now. Needs `link` (to sign in).
    PasswordChanged = "password_changed",
    /// An authenticator is asked for from now on. Needs `link` (to sign in), as all below.
    TotpEnabled = "totp_enabled",
    /// The authenticator was taken away.
    TotpRemoved = "totp_removed",
    /// A new set of backup codes.
    BackupCodesRenewed = "backup_codes_renewed",
    /// A backup code was used. Needs `codes_left` as well.
    BackupCodeUsed = "backup_code_used",
    /// Staff took all second factors away.
    FactorsReset = "factors_reset",
    /// Too many wrong codes.
    SecondFactorLocked = "second_factor_locked",
    /// Too many wrong passwords or codes.
    SignInLocked = "sign_in_locked",
    /// A sign-in from a device that had not been here before. It does not say from which: the name
    /// of a device is text of whoever signed in.
    NewDevice = "new_device",
    /// A new account, made by signing in with an account elsewhere. Needs `link` (to sign in), as
    /// all about such accounts.
    IdentityWelcome = "identity_welcome",
    /// One can sign in with an account elsewhere from now on.
    IdentityLinked = "identity_linked",
    /// No longer.
    IdentityUnlinked = "identity_unlinked",
    /// To a new address, which is to be confirmed. Needs `link`, `valid_hours`.
    ChangeEmail = "change_email",
    /// To an address that another customer wants. Needs `link` (to sign in).
    ChangeEmailTaken = "change_email_taken",
    /// To the present address: another one was asked for. Needs `link` (to sign in).
    ChangeEmailRequested = "change_email_requested",
    /// To the old address, which can be taken back. Needs `link`, `valid_hours`.
    EmailChanged = "email_changed",
    /// The same where an older address can be. Needs `link` (to sign in).
    EmailChangedAgain = "email_changed_again",
    /// To the old address, which was taken back. Needs `link` (to a new password), `valid_minutes`.
    EmailChangeUndone = "email_change_undone",
    /// The owner has a new passkey. Needs `link` (to sign in), as all about passkeys.
    PasskeyAdded = "passkey_added",
    /// It has one less.
    PasskeyRemoved = "passkey_removed",
    /// A passkey is asked for after the password from now on.
    PasskeyRequired = "passkey_required",
    /// It no longer is.
    PasskeyNotRequired = "passkey_not_required",
    /// There may be a copy of one.
    PasskeySuspected = "passkey_suspected",
    /// To the address of an account that became one with another. Needs `link` (to sign in).
    Merged = "merged",
    /// A copy of all that is kept of the customer can be downloaded. Needs `link` (to sign in).
    ExportReady = "export_ready",
    /// The account is frozen, and is erased on a day. Needs `day` as well.
    DeletionScheduled = "deletion_scheduled",
    /// It is not erased after all. Needs `link` (to sign in).
    DeletionCancelled = "deletion_cancelled",
    /// A greeting, once the address is verified. Needs `link` (to sign in), as all of the series.
    Welcome = "welcome",
    /// What one can do with an account.
    WelcomeGuide = "welcome_guide",
    /// News and offers. Tells how to be spared more of them.
    WelcomeOffers = "welcome_offers",
}

impl MailKind {
    /// The kind of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}
