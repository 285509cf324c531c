//! What can be asked: every mutation of the service is one of these.
//!
//! A command carries all that deciding needs and the state does not hold: ids, hashes, random
//! nonces and policies are made before it is submitted, so that deciding stays pure.

mod footprint;

pub use footprint::Needs;

use super::address::{AddressFields, AddressKind, AddressLimits};
pub use super::attribute::AttributeCommand;
use super::attribute::AttributeKey;
pub use super::consent::ConsentCommand;
use super::consent::{MarketingTerms, MarketingWish};
use super::credential::PasswordHash;
pub use super::customer::TagCommand;
use super::customer::{CustomerType, GroupCode, Tags};
use super::decide::ways;
use super::email::EmailAddress;
pub use super::email_change::{ConfirmEmailChange, Letter, RequestEmailChange, UndoEmailChange};
pub use super::erasure::DeletionCommand;
use super::fault::Fault;
use super::flow::{Flow, FlowKind};
pub use super::group::GroupCommand;
use super::identity::Account;
use super::ids::*;
pub use super::import::ImportCustomer;
pub use super::merge::{MergeCommand, MergeMails};
pub use super::note::NoteCommand;
pub use super::order::OrderCommand;
use super::order::OrderId;
use super::passkey::{AddPasskey, PasskeyChange, SignInByPasskey};
use super::phone::PhoneNumber;
use super::phone_confirmation::FreshCode;
use super::place::{Currency, Locale, TimeZone};
use super::preferences::Topics;
pub use super::privacy_export::PrivacyExportCommand;
use super::proof::Proof;
use super::second_factor::ShownCode;
pub use super::segment::membership::MembershipCommand;
pub use super::segment::record::SegmentCommand;
pub use super::session::SignInMethod;
use super::session::{Client, Device, SecondFactor, SecretHash, SessionPolicy};
use super::status::{ReasonCode, Status};
use super::text::{Label, Line, PersonName, never_printed};
use super::throttle::{Bucket, Guard};
use super::token::FreshToken;
use super::wishlist::{ItemSought, WishlistCommand};
use chrono::{DateTime, NaiveDate, Utc};

/// What a command is about: the key that chooses its shard and the rows it locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    Customer(CustomerId),
    /// A sign-in bucket or a flow, by its key, whose customer is unknown or does not matter yet.
    Nobody([u8; 32]),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Nobody known: registration, sign-in, links from mails.
    Anonymous,
    Customer(CustomerId),
    /// A staff or service key, by its public id.
    Staff(String),
    /// Somebody at the command line.
    Operator,
    /// The service by itself: what it hears from others.
    Service,
}

/// The circumstances of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub actor: Actor,
    pub now: DateTime<Utc>,
    pub request_id: String,
    /// W3C `traceparent` of the request, to travel with its messages.
    pub traceparent: Option<String>,
}

impl Submission {
    /// The customer this is about, if it is about one.
    pub fn customer_id(&self) -> Option<CustomerId> {
        match self.subject {
            Subject::Customer(id) => Some(id),
            Subject::Nobody(_) => None,
        }
    }
}

/// One command on its way to the shard that owns its subject.
#[derive(Debug, Clone)]
pub struct Submission {
    pub subject: Subject,
    pub command: Command,
    pub context: Context,
    pub idempotency: Option<IdempotencyKey>,
}

/// A caller's promise that two requests are one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey {
    /// Whose key it is: keys of different callers never meet.
    pub owner: String,
    pub key: String,
    /// SHA-256 of method, path and body.
    pub request_hash: SecretHash,
}

/// A field of a merge patch (RFC 7396): absent, `null`, or a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Change<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T: Clone> Change<T> {
    /// An optional field after this change.
    pub fn apply(&self, current: &Option<T>) -> Option<T> {
        match self {
            Self::Keep => current.clone(),
            Self::Clear => None,
            Self::Set(value) => Some(value.clone()),
        }
    }
}

/// The parts of a session that are made before it is decided on.
#[derive(Clone)]
pub struct FreshSession {
    pub id: SessionId,
    pub refresh_hash: SecretHash,
    pub client: Client,
    /// A device not seen before, or the known one whose token was presented.
    pub device: SessionDevice,
    pub policy: SessionPolicy,
}

#[derive(Debug, Clone)]
pub enum SessionDevice {
    New(Device),
    Known(DeviceId),
}

#[derive(Debug, Clone)]
pub enum Command {
    Register(Box<Register>),
    /// Somebody registered an address that has an account: its owner is told by mail.
    RemindOfAccount {
        mail_id: MailId,
        token: FreshToken,
        /// Of the password that came with this registration: confirming by this very link makes it
        /// the account's.
        password_hash: PasswordHash,
    },
    CreateByStaff(Box<CreateByStaff>),
    /// A row of an import.
    Import(Box<ImportCustomer>),
    VerifyEmail {
        token_hash: SecretHash,
        session: Box<FreshSession>,
    },
    ResendVerification {
        mail_id: MailId,
        token: FreshToken,
    },
    /// Somebody forgot a password: the owner of the address is mailed a link to a new one.
    RequestPasswordReset {
        mail_id: MailId,
        token: FreshToken,
    },
    ResetPassword(Box<ResetPassword>),
    ChangePassword(Box<ChangePassword>),
    RequestEmailChange(Box<RequestEmailChange>),
    ConfirmEmailChange(Box<ConfirmEmailChange>),
    UndoEmailChange(Box<UndoEmailChange>),
    ClaimAttempt {
        guard: Guard,
        claim: ClaimId,
    },
    /// A claimed attempt was wrong.
    FailAttempt {
        guard: Guard,
        claim: ClaimId,
    },
    /// A claimed attempt whose secret was never verified: it counts for nothing.
    ReleaseAttempt {
        bucket: Bucket,
        claim: ClaimId,
    },
    SignIn(Box<SignIn>),
    /// The second step of a sign-in.
    AnswerChallenge(Box<AnswerChallenge>),
    /// Hands out an authenticator.
    StartTotp {
        proof: Proof,
        secret: SealedSecret,
    },
    /// The first code of the authenticator that was handed out.
    ConfirmTotp {
        shown: ShownCode,
        /// The backup codes that come with it.
        codes: Vec<SecretHash>,
        mail_id: MailId,
    },
    RemoveTotp {
        proof: Proof,
        mail_id: MailId,
    },
    RenewBackupCodes {
        proof: Proof,
        codes: Vec<SecretHash>,
        mail_id: MailId,
    },
    /// Takes all second factors away, for an owner that lost them.
    ResetFactors {
        mail_id: MailId,
    },
    /// Somebody whom a provider vouches for, and who is nobody here yet.
    RegisterByIdentity(Box<RegisterByIdentity>),
    /// Somebody whom a provider vouches for, and who may be this customer.
    SignInByIdentity(Box<SignInByIdentity>),
    /// Begins the linking of an account, by its owner.
    BeginLinking {
        proof: Proof,
        flow: Box<Flow>,
    },
    /// Finishes it; the flow was taken before.
    LinkIdentity {
        account: Box<Account>,
        mail_id: MailId,
    },
    UnlinkIdentity {
        provider: String,
        proof: Proof,
        mail_id: MailId,
    },
    /// Begins a ceremony that its holder finishes later.
    OpenFlow {
        flow: Box<Flow>,
    },
    /// Finishes a flow whose remaining work is done outside: whoever takes it is the only one.
    TakeFlow {
        hash: SecretHash,
        kind: FlowKind,
    },
    Refresh {
        session_id: SessionId,
        presented: SecretHash,
        child: SecretHash,
        policy: SessionPolicy,
    },
    SignOut {
        session_id: SessionId,
    },
    RevokeSession {
        session_id: SessionId,
    },
    RevokeOtherSessions {
        keep: SessionId,
    },
    RevokeAllSessions,
    UpdateCustomer {
        change: Box<CustomerChange>,
        if_match: Option<i64>,
    },
    UpdateProfile {
        change: Box<ProfileChange>,
        if_match: Option<i64>,
    },
    UpdatePreferences {
        change: Box<PreferencesChange>,
        if_match: Option<i64>,
    },
    AddAddress {
        id: AddressId,
        fields: Box<AddressFields>,
        defaults: Vec<AddressKind>,
        limits: AddressLimits,
    },
    ChangeAddress {
        id: AddressId,
        change: Box<AddressChange>,
        if_match: Option<i64>,
    },
    DeleteAddress {
        id: AddressId,
        if_match: Option<i64>,
    },
    SetDefaultAddress {
        id: AddressId,
        kind: AddressKind,
        if_match: Option<i64>,
    },
    /// Begins the registration of a passkey.
    BeginPasskey {
        proof: Proof,
        flow: Box<Flow>,
        limit: usize,
    },
    AddPasskey(Box<AddPasskey>),
    ChangePasskey(Box<PasskeyChange>),
    RemovePasskey {
        id: PasskeyId,
        proof: Proof,
        mail_id: MailId,
        if_match: Option<i64>,
    },
    SignInByPasskey(Box<SignInByPasskey>),
    Wishlist(Box<WishlistCommand>),
    MoveStatus {
        to: Status,
        reason: ReasonCode,
    },
    /// A code is sent to a number that shall be the customer's.
    RequestPhone {
        phone: PhoneNumber,
        code: FreshCode,
    },
    /// The number that waits for a code becomes the customer's, by the code.
    ConfirmPhone {
        proof: Proof,
        mail_id: MailId,
    },
    /// The owner gives its number up.
    RemovePhone {
        proof: Proof,
        mail_id: MailId,
    },
    /// One tag of the customer, and none of the others.
    Tag(TagCommand),
    /// What staff writes down about the customer.
    Note(NoteCommand),
    /// What the order service says of an order of the customer's.
    Order(OrderCommand),
    /// A copy of all that is kept of the customer, made for it.
    PrivacyExport(Box<PrivacyExportCommand>),
    /// A consent is granted or withdrawn.
    Consent(Box<ConsentCommand>),
    /// About a group of customers, and none of them.
    Group(GroupCommand),
    /// About the definition of a custom attribute.
    Attribute(AttributeCommand),
    /// About a segment.
    Segment(SegmentCommand),
    /// About who belongs to one.
    Membership(MembershipCommand),
    /// Soft: absent from then on for every read but audit, its ways in gone (rule L4).
    DeleteCustomer {
        if_match: Option<i64>,
    },
    /// About its erasure, which is for good.
    Deletion(DeletionCommand),
    /// Another customer becomes one with this (rule L10).
    Merge(MergeCommand),
    /// Lifts the locks on the customer's identifiers, devices and factors, given as their buckets.
    Unlock {
        buckets: Vec<Bucket>,
    },
}

#[derive(Clone)]
pub struct Register {
    /// A fresh id.
    pub id: CustomerId,
    pub email: EmailAddress,
    pub password_hash: String,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub phone: Option<PhoneNumber>,
    pub customer_type: CustomerType,
    pub group: GroupCode,
    /// `Some`: advertising is accepted, by these terms.
    pub marketing: Option<MarketingTerms>,
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
    pub mail_id: MailId,
    pub token: FreshToken,
}

#[derive(Debug, Clone)]
pub struct CreateByStaff {
    /// A fresh id.
    pub id: CustomerId,
    pub email: EmailAddress,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub phone: Option<PhoneNumber>,
    pub customer_type: CustomerType,
    pub group: GroupCode,
    pub tags: Tags,
    /// `Some`: advertising is accepted, by these terms.
    pub marketing: Option<MarketingTerms>,
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
}

/// A new password by the link of a mail.
#[derive(Debug, Clone)]
pub struct ResetPassword {
    pub token_hash: SecretHash,
    pub password_hash: PasswordHash,
    /// Where the customer's wrong passwords are counted: no lock outlives the password.
    pub buckets: Vec<Bucket>,
    pub mail_id: MailId,
}

/// A new password by its owner, who showed the old one.
#[derive(Debug, Clone)]
pub struct ChangePassword {
    pub proof: Proof,
    pub password_hash: PasswordHash,
    /// The session that goes on.
    pub keep: SessionId,
    pub mail_id: MailId,
}

/// A sign-in whose password was right; status and verification are still to be looked at.
#[derive(Clone)]
pub struct SignIn {
    /// Of the password: should it have changed since it was verified, the sign-in is void.
    pub proof: Proof,
    /// A hash of today's cost, when the verified one was of another.
    pub rehash: Option<PasswordHash>,
    pub session: FreshSession,
    /// What is answered instead of a session where there is a second factor.
    pub challenge: Option<FreshChallenge>,
}

/// The secret of an authenticator, sealed.
#[derive(Clone)]
pub struct SealedSecret(pub Vec<u8>);

/// A challenge about to be made: the flow that a second step finishes.
#[derive(Clone)]
pub struct FreshChallenge {
    pub hash: SecretHash,
    /// Sealed: what the second step needs of the first.
    pub payload: Vec<u8>,
    pub expires_at: DateTime<Utc>,
}

/// What a first step showed.
#[derive(Clone)]
pub struct FirstStep {
    pub method: SignInMethod,
    /// The hash that was verified: should it have changed since, the challenge is void.
    pub password: Option<PasswordHash>,
}

/// A second factor shown in answer to a challenge.
#[derive(Clone)]
pub struct AnswerChallenge {
    pub challenge: SecretHash,
    pub first: FirstStep,
    pub shown: SecondFactor,
    pub proof: Proof,
    pub session: FreshSession,
    /// Of the mail that tells of a lock.
    pub mail_id: MailId,
}

/// A customer that begins with an account at an identity provider.
#[derive(Clone)]
pub struct RegisterByIdentity {
    /// A fresh id.
    pub id: CustomerId,
    pub account: Account,
    /// The account's, which the provider has verified.
    pub email: EmailAddress,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub group: GroupCode,
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
    pub mail_id: MailId,
    pub session: FreshSession,
}

/// A sign-in by an account at an identity provider.
#[derive(Clone)]
pub struct SignInByIdentity {
    pub account: Account,
    /// The account's address, where the provider has verified it.
    pub verified_email: Option<EmailAddress>,
    /// Of the mail that tells of a new link.
    pub mail_id: MailId,
    pub session: FreshSession,
    /// What is answered instead of a session where there is a second factor.
    pub challenge: Option<FreshChallenge>,
}

#[derive(Debug, Clone, Default)]
pub struct CustomerChange {
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
    pub marketing: Option<MarketingWish>,
    /// The fields below are for staff; the owner's routes never fill them.
    pub phone: Change<PhoneNumber>,
    /// Of the mail to the owner, whose way to sign in goes with a verified number.
    pub mail_id: Option<MailId>,
    pub customer_type: Option<CustomerType>,
    pub group: Option<GroupCode>,
    pub tags: Option<Tags>,
}

#[derive(Clone, Default)]
pub struct ProfileChange {
    pub date_of_birth: Change<NaiveDate>,
    pub gender: Change<String>,
    pub avatar_url: Change<String>,
    pub company: Change<Line>,
    pub tax_id: Change<String>,
    pub bio: Change<String>,
    /// Merged key by key, each value checked against its definition; `null` removes one.
    pub custom: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Default)]
pub struct PreferencesChange {
    pub locale: Option<Locale>,
    pub timezone: Option<TimeZone>,
    pub currency: Option<Currency>,
    pub email: Option<bool>,
    pub sms: Option<bool>,
    pub push: Option<bool>,
    pub topics: Option<Topics>,
    /// Merged key by key, each value checked against its definition; `null` removes one.
    pub custom: serde_json::Map<String, serde_json::Value>,
}

#[derive(Clone, Default)]
pub struct AddressChange {
    pub label: Change<Label>,
    pub recipient: Option<Line>,
    pub company: Change<Line>,
    pub line1: Option<Line>,
    pub line2: Change<Line>,
    pub city: Option<Line>,
    /// As written, like the two below: what it means depends on the country that the address will
    /// then have.
    pub region: Change<Line>,
    pub postal_code: Change<String>,
    pub country: Option<super::place::Country>,
    pub phone: Change<String>,
    /// `true` makes it the default; a default is only ever handed over, so `false` is refused on
    /// the one that holds it.
    pub default_shipping: Option<bool>,
    pub default_billing: Option<bool>,
}

never_printed!(
    Register,
    SignIn,
    FreshChallenge,
    FirstStep,
    AnswerChallenge,
    ProfileChange,
    PreferencesChange,
    AddressChange
);
never_printed!(RegisterByIdentity, SignInByIdentity, FreshSession, SealedSecret);

/// A postal code checked against the country it goes with.
///
/// # Errors
/// Those of [`postal_code::parse`](super::postal_code::parse).
pub(super) fn checked_postal_code(
    raw: Option<String>,
    country: &super::place::Country,
) -> Result<Option<String>, Fault> {
    raw.map(|code| super::postal_code::parse(&code, country)).transpose()
}
