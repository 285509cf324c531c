//! What was decided. Each event changes the state in one way (`evolve`), is one entry of the audit
//! trail, and, where the contract names one, one message to the outside.
//!
//! Messages and entries hold ids, names of fields and non-personal values only (rule M6).

mod consents;
mod trace;

use super::address::{Address, AddressKind};
use super::consent;
use super::credential::PasswordHash;
use super::customer::{Customer, GroupCode};
use super::email::EmailAddress;
use super::flow::Flow;
use super::identity::Identity;
use super::ids::*;
use super::mail::Mail;
use super::outcome::SignInRefusal;
use super::passkey::Passkey;
use super::phone::PhoneNumber;
use super::phone_confirmation::PhoneConfirmation;
use super::preferences::Preferences;
use super::profile::Profile;
use super::second_factor::{FactorChange, Totp};
use super::session::{Device, RevocationReason, SecondFactor, SecretHash, Session};
use super::status::{ReasonCode, Status};
use super::text_message::TextMessage;
use super::throttle::{Bucket, Factor, Throttle};
use super::token::{OneTimeToken, Purpose};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    Created(Box<Created>),
    /// A field of the customer itself changed; holds the customer as it then is.
    CustomerUpdated {
        customer: Box<Customer>,
        changed: Vec<String>,
    },
    GroupChanged {
        from: GroupCode,
        to: GroupCode,
    },
    PhoneChanged,
    /// A number waits for its code; whatever waited before waits no more.
    PhoneRequested(Box<PhoneConfirmation>),
    /// A wrong code for it.
    PhoneCodeFailed,
    /// Nothing waits any more.
    PhoneRequestDropped,
    /// Its code was shown: the number is the customer's, who is found by it from now on.
    PhoneVerified {
        phone: PhoneNumber,
        at: DateTime<Utc>,
    },
    TextQueued(Box<TextMessage>),
    /// What the customer is found by; the customer with the new address is in `CustomerUpdated`.
    EmailChanged {
        from: EmailAddress,
        to: EmailAddress,
        cause: EmailChangeCause,
        /// Until when nobody else gets the old address; `None`: it is free at once.
        held_until: Option<DateTime<Utc>>,
    },
    ProfileUpdated {
        profile: Box<Profile>,
        changed: Vec<String>,
        version: i64,
        at: DateTime<Utc>,
    },
    PreferencesUpdated {
        preferences: Box<Preferences>,
        changed: Vec<String>,
    },
    /// The customer's side of a change of preferences (rule L2).
    PreferencesNoted {
        changed: Vec<String>,
        version: i64,
        at: DateTime<Utc>,
    },
    StatusChanged {
        from: Status,
        to: Status,
        reason: ReasonCode,
        at: DateTime<Utc>,
    },
    EmailVerified {
        at: DateTime<Utc>,
    },
    TokenIssued(Box<OneTimeToken>),
    TokenUsed {
        hash: SecretHash,
        at: DateTime<Utc>,
    },
    /// A token that leads nowhere any more, though nobody used it.
    TokenVoided {
        hash: SecretHash,
        purpose: Purpose,
        at: DateTime<Utc>,
    },
    MailQueued(Box<Mail>),
    AttemptClaimed {
        bucket: Bucket,
        throttle: Throttle,
    },
    AttemptFailed {
        bucket: Bucket,
        factor: Factor,
        throttle: Throttle,
    },
    /// A claim given back unverified.
    AttemptReleased {
        bucket: Bucket,
        throttle: Throttle,
    },
    SignInLocked {
        factor: Factor,
        until: DateTime<Utc>,
    },
    /// A right password: the bucket as it is without the claim and its failures.
    AttemptSucceeded {
        bucket: Bucket,
        throttle: Throttle,
    },
    /// The first factor was right.
    SecondFactorAsked {
        methods: Vec<SecondFactor>,
    },
    /// An authenticator was handed out; it does not count yet.
    TotpStarted(Box<Totp>),
    /// Its first code was right.
    TotpEnabled {
        step: i64,
        at: DateTime<Utc>,
    },
    /// A code was accepted: none up to its step is again.
    TotpStepUsed {
        step: i64,
    },
    TotpRemoved {
        /// Whether it counted.
        enabled: bool,
    },
    /// A new set, which voids the old one.
    BackupCodesIssued {
        hashes: Vec<SecretHash>,
        at: DateTime<Utc>,
    },
    BackupCodeUsed {
        hash: SecretHash,
        left: usize,
    },
    BackupCodesRemoved,
    /// Staff took all second factors away.
    FactorsReset,
    FlowOpened(Box<Flow>),
    /// Finished, or given up: nobody finishes it any more.
    FlowUsed {
        at: DateTime<Utc>,
    },
    /// A wrong try to finish it.
    FlowFailed,
    SignInRefused {
        refusal: SignInRefusal,
    },
    PasswordRehashed {
        hash: PasswordHash,
    },
    /// The password of the registration whose link was confirmed.
    PasswordChosen {
        hash: PasswordHash,
    },
    PasswordChanged {
        hash: PasswordHash,
        cause: PasswordCause,
    },
    DeviceRemembered(Box<Device>),
    DeviceForgotten {
        id: DeviceId,
    },
    SignedIn {
        session: Box<Session>,
    },
    SessionRefreshed {
        session: Box<Session>,
    },
    SessionRevoked {
        id: SessionId,
        reason: RevocationReason,
        at: DateTime<Utc>,
    },
    AddressAdded {
        address: Box<Address>,
    },
    AddressUpdated {
        address: Box<Address>,
        changed: Vec<String>,
    },
    AddressDeleted {
        id: AddressId,
    },
    DefaultAddressChanged {
        kind: AddressKind,
        from: Option<AddressId>,
        to: AddressId,
        at: DateTime<Utc>,
    },
    IdentityLinked(Box<Identity>),
    IdentityUnlinked {
        provider: String,
    },
    PasskeyAdded(Box<Passkey>),
    /// Holds the passkey as it then is, and whether it is asked for after a password where that
    /// changed.
    PasskeyChanged {
        passkey: Box<Passkey>,
        switched: Option<bool>,
    },
    PasskeyRemoved {
        id: PasskeyId,
    },
    /// A true signature was accepted.
    PasskeyUsed {
        id: PasskeyId,
        counter: u32,
        backed_up: bool,
        at: DateTime<Utc>,
    },
    /// A true signature whose counter did not rise: there may be a copy. It was refused.
    PasskeySuspected {
        id: PasskeyId,
    },
    /// One more entry of the ledger of consents, from which `accepts_marketing` follows.
    Consent(Box<consent::Entry>),
    Unlocked {
        buckets: Vec<Bucket>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    pub customer: Customer,
    pub profile: Profile,
    pub preferences: Preferences,
    pub password_hash: Option<String>,
    pub source: Source,
}

/// How a password came to be another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCause {
    /// By the link of a mail.
    Reset,
    /// By its owner, signed in.
    Change,
}

impl PasswordCause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Change => "change",
        }
    }
}

/// By which door a customer came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Registration,
    Staff,
    /// An account at an identity provider.
    Identity,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registration => "registration",
            Self::Staff => "staff",
            Self::Identity => "identity",
        }
    }
}

/// Why an address is another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailChangeCause {
    /// The new one was confirmed.
    Confirmed,
    /// The change was taken back from the old one.
    Undone,
}

impl EmailChangeCause {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Undone => "undone",
        }
    }
}

/// An event's outward form: a type of the contract and its `data`.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub kind: &'static str,
    pub data: Value,
}

/// What the audit trail keeps of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    pub action: &'static str,
    pub data: Value,
}

impl Event {
    /// The message of this event about customer `id`; `None` where the contract names none.
    pub fn message(&self, id: CustomerId) -> Option<Message> {
        let message = |kind, data| Some(Message { kind, data });
        match self {
            Self::Created(created) => message(
                "customer.created",
                json!({
                    "customer_id": id,
                    "customer_type": created.customer.customer_type,
                    "group": created.customer.group,
                    "source": created.source.as_str(),
                }),
            ),
            Self::CustomerUpdated { customer, changed } => message(
                "customer.updated",
                json!({ "customer_id": id, "changed": changed, "version": customer.version }),
            ),
            Self::ProfileUpdated { changed, version, .. }
            | Self::PreferencesNoted { changed, version, .. } => message(
                "customer.updated",
                json!({ "customer_id": id, "changed": changed, "version": version }),
            ),
            Self::PreferencesUpdated { preferences, changed } => message(
                "preferences.updated",
                json!({ "customer_id": id, "changed": changed, "version": preferences.version }),
            ),
            Self::GroupChanged { from, to } => message(
                "customer.group_changed",
                json!({ "customer_id": id, "from": from, "to": to }),
            ),
            Self::PhoneChanged => message("customer.phone_changed", json!({ "customer_id": id })),
            Self::EmailChanged { cause, .. } => message(
                "customer.email_changed",
                json!({ "customer_id": id, "cause": cause.as_str() }),
            ),
            Self::StatusChanged { from, to, reason, .. } => message(
                "customer.status_changed",
                json!({ "customer_id": id, "from": from, "to": to, "reason": reason }),
            ),
            Self::EmailVerified { .. } => {
                message("customer.verified", json!({ "customer_id": id, "channel": "email" }))
            }
            Self::PhoneVerified { .. } => {
                message("customer.verified", json!({ "customer_id": id, "channel": "phone" }))
            }
            Self::SignedIn { session } => message(
                "customer.signed_in",
                json!({ "customer_id": id, "session_id": session.id, "method": session.method,
                        "second_factor": session.second_factor }),
            ),
            Self::SignInLocked { factor, until } => message(
                "customer.sign_in_locked",
                json!({ "customer_id": id, "factor": factor, "until": until }),
            ),
            Self::PasswordChanged { cause, .. } => message(
                "customer.password_changed",
                json!({ "customer_id": id, "cause": cause.as_str() }),
            ),
            Self::SessionRevoked { id: session_id, reason, .. } => message(
                "customer.session_revoked",
                json!({ "customer_id": id, "session_id": session_id, "reason": reason }),
            ),
            Self::TotpEnabled { .. } => mfa_changed(id, SecondFactor::Totp, FactorChange::Enabled),
            Self::TotpRemoved { enabled: true } => {
                mfa_changed(id, SecondFactor::Totp, FactorChange::Removed)
            }
            Self::BackupCodesIssued { .. } => {
                mfa_changed(id, SecondFactor::BackupCode, FactorChange::Issued)
            }
            Self::BackupCodeUsed { .. } => {
                mfa_changed(id, SecondFactor::BackupCode, FactorChange::Used)
            }
            Self::BackupCodesRemoved => {
                mfa_changed(id, SecondFactor::BackupCode, FactorChange::Removed)
            }
            Self::AddressAdded { address } => message(
                "address.created",
                json!({ "customer_id": id, "address_id": address.id, "version": address.version }),
            ),
            Self::AddressUpdated { address, changed } => message(
                "address.updated",
                json!({ "customer_id": id, "address_id": address.id, "changed": changed,
                        "version": address.version }),
            ),
            Self::AddressDeleted { id: address_id } => {
                message("address.deleted", json!({ "customer_id": id, "address_id": address_id }))
            }
            Self::DefaultAddressChanged { kind, from, to, .. } => message(
                "address.default_changed",
                json!({ "customer_id": id, "kind": kind, "from": from, "to": to }),
            ),
            Self::IdentityLinked(identity) => message(
                "customer.identity_linked",
                json!({ "customer_id": id, "provider": identity.account.provider }),
            ),
            Self::IdentityUnlinked { provider } => message(
                "customer.identity_unlinked",
                json!({ "customer_id": id, "provider": provider }),
            ),
            Self::PasskeyAdded(passkey) => passkey_message(id, passkey.id, "added"),
            Self::PasskeyRemoved { id: passkey_id } => passkey_message(id, *passkey_id, "removed"),
            Self::PasskeyChanged { passkey, switched: Some(on) } => {
                passkey_message(id, passkey.id, if *on { "enabled" } else { "disabled" })
            }
            Self::PasskeySuspected { id: passkey_id } => {
                passkey_message(id, *passkey_id, "suspected")
            }
            Self::Consent(entry) => message(consents::kind(entry), consents::data(id, entry)),
            Self::TokenIssued(_)
            | Self::TokenUsed { .. }
            | Self::TokenVoided { .. }
            | Self::MailQueued(_)
            | Self::PhoneRequested(_)
            | Self::PhoneCodeFailed
            | Self::PhoneRequestDropped
            | Self::TextQueued(_)
            | Self::AttemptClaimed { .. }
            | Self::AttemptFailed { .. }
            | Self::AttemptReleased { .. }
            | Self::AttemptSucceeded { .. }
            | Self::SecondFactorAsked { .. }
            | Self::TotpStarted(_)
            | Self::TotpStepUsed { .. }
            | Self::TotpRemoved { enabled: false }
            | Self::FactorsReset
            | Self::FlowOpened(_)
            | Self::FlowUsed { .. }
            | Self::FlowFailed
            | Self::SignInRefused { .. }
            | Self::PasswordRehashed { .. }
            | Self::PasswordChosen { .. }
            | Self::DeviceRemembered(_)
            | Self::DeviceForgotten { .. }
            | Self::SessionRefreshed { .. }
            | Self::PasskeyChanged { switched: None, .. }
            | Self::PasskeyUsed { .. }
            | Self::Unlocked { .. } => None,
        }
    }
}

fn mfa_changed(id: CustomerId, factor: SecondFactor, change: FactorChange) -> Option<Message> {
    let data = json!({ "customer_id": id, "factor": factor, "change": change });
    Some(Message { kind: "customer.mfa_changed", data })
}

/// What happened to a passkey, as a change of the factors that a customer has.
fn passkey_message(id: CustomerId, passkey: PasskeyId, change: &str) -> Option<Message> {
    let data =
        json!({ "customer_id": id, "factor": "passkey", "passkey_id": passkey, "change": change });
    Some(Message { kind: "customer.mfa_changed", data })
}

/// Every message type this version writes, for schemas and topology.
pub const MESSAGE_KINDS: &[&str] = &[
    "customer.created",
    "customer.updated",
    "customer.group_changed",
    "customer.phone_changed",
    "customer.email_changed",
    "customer.status_changed",
    "customer.verified",
    "customer.signed_in",
    "customer.sign_in_locked",
    "customer.password_changed",
    "customer.session_revoked",
    "customer.mfa_changed",
    "customer.identity_linked",
    "customer.identity_unlinked",
    "preferences.updated",
    "address.created",
    "address.updated",
    "address.deleted",
    "address.default_changed",
    "consent.granted",
    "consent.withdrawn",
];
