//! What a command came to: an [`Outcome`] for its caller, or a [`Rejection`] that changed nothing.

use super::address::Address;
use super::attribute::Definition;
use super::consent::{PurposeConsents, TextVersion};
use super::customer::Customer;
use super::erasure::{Erasure, LegalHold};
use super::fault::Fault;
use super::group::Group;
use super::identity::Identity;
use super::ids::{CustomerId, PrivacyExportId, SessionId};
use super::merge::MergeReport;
use super::note::Note;
use super::passkey::Passkey;
use super::preferences::Preferences;
use super::privacy_export::PrivacyExport;
use super::profile::Profile;
use super::proof::ProofRefusal;
use super::segment::record::{Segment, SegmentCode};
use super::session::{SecondFactor, Session};
use super::status::Status;
use super::throttle::Admission;
use super::wishlist::WishlistAnswer;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What the caller is told. Stored with an idempotency key, so that a repetition is told the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "snake_case")]
pub enum Outcome {
    Done,
    Customer(Box<Customer>),
    Profile(Box<Profile>),
    Preferences(Box<Preferences>),
    Address(Box<Address>),
    Identity(Box<Identity>),
    Passkey(Box<Passkey>),
    Consents(Box<PurposeConsents>),
    Wishlist(Box<WishlistAnswer>),
    Note(Box<Note>),
    PrivacyExport(Box<PrivacyExport>),
    Group(Box<Group>),
    Attribute(Box<Definition>),
    Segment(Box<Segment>),
    Merged(Box<MergeReport>),
    Deletion(Box<Erasure>),
    LegalHold(Box<LegalHold>),
    Order {
        /// Whether it was news: neither this version of the order nor a later one was known.
        recorded: bool,
    },
    /// In how many currencies the statistics were not what the facts come to, and are now.
    Reconciled {
        currencies: usize,
    },
    Admission(Admission),
    /// A wrong password; locked now, perhaps.
    AttemptFailed {
        locked_until: Option<DateTime<Utc>>,
    },
    SignedIn(Box<SignedIn>),
    /// The first factor was right; one of these is asked for as the second.
    SecondFactorRequired {
        /// The passkeys that may answer, as far as verifying needs them.
        passkeys: Vec<serde_json::Value>,
        methods: Vec<SecondFactor>,
    },
    /// The password was right, but the account may not sign in.
    SignInRefused(SignInRefusal),
    /// What was shown proves nothing; nothing else was done.
    ProofRefused(ProofRefusal),
    FlowTaken {
        customer_id: Option<CustomerId>,
        payload: Vec<u8>,
    },
    Refreshed {
        session: Box<Session>,
        status: Status,
    },
    /// A rotated token came back: its session is revoked now.
    RefreshReused {
        session_id: SessionId,
    },
    Revoked {
        sessions: Vec<SessionId>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedIn {
    pub session: Session,
    pub customer: Customer,
    /// Sessions that had to make room.
    pub evicted: Vec<SessionId>,
}

/// Why a right password did not sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInRefusal {
    EmailUnverified,
    Suspended,
    Inactive,
    DeletionScheduled,
    /// The password changed between its verification and now.
    PasswordChanged,
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// No such customer, address or session, or another customer's.
    NotFound,
    /// No such customer, or none that lives, named in a request's field.
    NoSuchCustomer {
        field: &'static str,
    },
    /// A customer of the one status does not become one of the other.
    MergeNotAllowed {
        from: Status,
        into: Status,
    },
    /// An order that was another customer's before.
    OrderOfAnotherCustomer,
    /// Deleted or erased: nothing is kept of such a customer any more.
    CustomerGone,
    /// The customer became one with another, who has its orders.
    CustomerMerged {
        into: CustomerId,
    },
    EmailTaken,
    /// A number that another customer has verified.
    PhoneTaken,
    /// An account at an identity provider that is linked to another customer.
    IdentityTaken,
    /// `If-Match` named another version.
    VersionMismatch,
    TransitionNotAllowed {
        from: Status,
        to: Status,
    },
    /// The number is the customer's own already, and verified.
    PhoneAlreadyVerified,
    AddressLimitReached {
        limit: usize,
    },
    LastAddress,
    WishlistLimitReached {
        limit: usize,
    },
    /// The list has as many items as it may have.
    WishlistFull {
        limit: usize,
    },
    /// The customer has as many tags as it may have.
    TagLimitReached,
    /// Staff has written as many notes about the customer as it may.
    NoteLimitReached {
        limit: usize,
    },
    /// An account here has the address, but not both sides verified it.
    LinkRequired,
    /// Another account at this provider is linked already.
    ProviderLinked,
    PasskeyLimitReached {
        limit: usize,
    },
    /// The shop does not ask for consent to this purpose.
    ConsentNotOffered,
    /// The wording that was agreed to is not the one in use.
    ConsentTextOutdated {
        current: TextVersion,
    },
    /// Registered already, by this customer or another.
    PasskeyKnown,
    /// What an authenticator answered to the challenge of a new passkey is not true.
    PasskeyRefused,
    /// Without it nobody could sign in any more.
    LastSignInMethod,
    /// The account's status does not let its owner change anything.
    NotActive(Status),
    /// It was asked for before.
    DeletionScheduled {
        due_at: DateTime<Utc>,
    },
    /// The grace is over, and nothing is kept any more.
    ErasureBegun,
    /// Orders are on their way.
    ActiveOrders,
    /// There is one already.
    LegalHoldExists,
    /// A one-time token that is unknown, used, void, expired or for another purpose.
    TokenInvalid,
    /// An authenticator is set up already.
    FactorEnabled,
    /// No authenticator waits for its first code, or it has waited too long.
    FactorNotStarted,
    /// There is no authenticator to take away.
    FactorNotFound,
    /// There is no second factor that backup codes could stand in for.
    NoSecondFactor,
    /// A flow that is unknown, finished, expired or of another kind.
    FlowInvalid,
    /// A refresh token of no live session.
    RefreshInvalid,
    UnknownGroup,
    GroupExists,
    /// Customers belong to it.
    GroupInUse,
    /// New customers get it by configuration.
    GroupIsDefault,
    AttributeExists,
    /// The shop has as many custom attributes as it may have.
    AttributeLimitReached {
        limit: usize,
    },
    /// Customers hold values of the attribute.
    AttributeInUse {
        /// The limit that some of them might not keep; `None`: it was to be deleted.
        narrowed: Option<&'static str>,
    },
    SegmentExists,
    /// The shop has as many segments as it may have.
    SegmentLimitReached {
        limit: usize,
    },
    /// New customers are put into it.
    SegmentIsDefault,
    /// Other segments are defined by it.
    SegmentInUse {
        by: Vec<SegmentCode>,
    },
    /// Values that the state does not allow, each with its JSON pointer.
    InvalidFields(Vec<(String, Fault)>),
    /// Values that are each valid but not together, or not with the state.
    Invalid {
        pointer: &'static str,
        fault: Fault,
    },
    /// A copy of all that is kept of the customer is being made already.
    ExportRunning {
        id: PrivacyExportId,
    },
    /// Its owner asked for as many within a day as it may.
    ExportLimitReached {
        per_day: usize,
        /// Until it may again.
        wait_seconds: i64,
    },
    /// It is not made yet, or was given up.
    ExportNotReady,
    ExportExpired,
    IdempotencyKeyReused,
    /// An invariant of the database that no rule above foresaw refused the change.
    Conflict,
}
