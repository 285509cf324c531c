//! What was decided. Each event changes the state in one way (`evolve`), is one entry of the audit
//! trail, and, where the contract names one, one message to the outside.
//!
//! Messages and entries hold ids, names of fields and non-personal values in the clear; personal ones
//! are told apart, to be sealed (rule M6).

mod erasure;
mod message;
mod order;
mod personal;
mod trace;
mod wishlist;

pub use erasure::ErasureEvent;
pub use order::OrderEvent;
pub use personal::PersonalValues;
pub use wishlist::WishlistEvent;

use super::address::{Address, AddressKind};
use super::attribute::AttributeEvent;
use super::consent;
use super::credential::PasswordHash;
use super::customer::{Customer, GroupCode};
use super::email::EmailAddress;
use super::flow::Flow;
use super::group::GroupEvent;
use super::identity::Identity;
use super::ids::*;
use super::mail::Mail;
use super::merge::MergeReport;
use super::note::NoteEvent;
use super::outcome::SignInRefusal;
use super::passkey::Passkey;
use super::phone::PhoneNumber;
use super::phone_confirmation::PhoneConfirmation;
use super::preferences::Preferences;
use super::privacy_export::PrivacyExportEvent;
use super::profile::Profile;
use super::second_factor::Totp;
use super::segment::membership::MembershipEvent;
use super::segment::record::SegmentEvent;
use super::session::{Device, RevocationReason, SecondFactor, SecretHash, Session};
use super::status::{ReasonCode, Status};
use super::text_message::TextMessage;
use super::throttle::{Bucket, Factor, Throttle};
use super::token::{OneTimeToken, Purpose};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

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
    PhoneChanged {
        from: Option<PhoneNumber>,
        to: Option<PhoneNumber>,
    },
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
    /// A verified number came along with another customer; the customer with it is in
    /// `CustomerUpdated`.
    PhoneTaken {
        phone: PhoneNumber,
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
    /// Absent from now on, its ways in gone. The last event of a customer.
    CustomerDeleted {
        at: DateTime<Utc>,
        /// Who has what it had.
        merged_into: Option<CustomerId>,
    },
    /// Another customer became one with this: all that came along stands in events before it.
    Merged(Box<MergeReport>),
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
    /// The password may be a thief's: there is none until its owner chooses one by a mailed link.
    PasswordVoided,
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
    Wishlist(WishlistEvent),
    /// Of a copy of all that is kept of it.
    PrivacyExport(PrivacyExportEvent),
    /// Of what staff wrote down.
    Note(NoteEvent),
    /// Of orders, and of what they come to.
    Order(OrderEvent),
    /// Of a group, and no customer.
    Group(GroupEvent),
    /// Of the definition of a custom attribute, and no customer.
    Attribute(AttributeEvent),
    /// Of a segment, and no customer.
    Segment(SegmentEvent),
    /// It joined or left a segment.
    Membership(MembershipEvent),
    /// Of its deletion.
    Erasure(ErasureEvent),
    Unlocked {
        buckets: Vec<Bucket>,
    },
}

impl Event {
    /// What an event that is about no customer is about, and its number among those about it; `None`
    /// where it is about a customer.
    pub fn place(&self) -> Option<(Uuid, i64)> {
        match self {
            Self::Attribute(event) => {
                let (id, number) = event.place();
                Some((id.0, number))
            }
            Self::Segment(event) => {
                let (id, number) = event.place();
                Some((id.0, number))
            }
            Self::Erasure(event) => event.place().map(|(id, number)| (id.0, number)),
            _ => None,
        }
    }

    /// The id of its message, where that was made before it was decided.
    pub fn message_id(&self) -> Option<MessageId> {
        match self {
            Self::Erasure(event) => event.message_id(),
            _ => None,
        }
    }
}

#[derive(Clone, PartialEq)]
pub struct Created {
    pub customer: Customer,
    pub profile: Profile,
    pub preferences: Preferences,
    pub password_hash: Option<String>,
    pub source: Source,
}

/// Printed without the hash.
impl std::fmt::Debug for Created {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Created")
            .field("customer", &self.customer)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// How a password came to be another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum PasswordCause {
    /// By the link of a mail.
    Reset,
    /// By its owner, signed in.
    Change,
    /// None at present: the old one may be a thief's.
    Voided,
}

/// By which door a customer came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum Source {
    Registration,
    Staff,
    /// An account at an identity provider.
    Identity,
    /// A file from another system.
    Import,
}

/// Why an address is another one now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum EmailChangeCause {
    /// The new one was confirmed.
    Confirmed,
    /// The change was taken back from the old one.
    Undone,
}

/// What the audit trail keeps of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    pub action: &'static str,
    pub data: Value,
}
