//! What is told to the outside: every type of message, with the data it carries, when it is sent and
//! an example. The schemas that consumers read are made from the types that write the messages.
//!
//! A type is one line of the list below. Without schema or example it does not compile, and no
//! message is written that is not in the list.
//!
//! Data holds ids, codes, numbers, times and names of fields, never a personal value in the clear (rule
//! M6); where a type says what it seals, the data of its messages may have them under `sealed`.

mod attributes;
mod examples;
mod exports;
mod merges;
mod orders;
mod privacy;
mod schemas;
mod sealed;
mod segments;
mod wishlists;

pub use attributes::*;
pub use exports::ExportReady;
pub use merges::CustomerMerged;
pub use orders::StatisticsUpdated;
pub use privacy::*;
pub use sealed::Sealed;
pub use segments::*;
pub use wishlists::*;

use super::address::AddressKind;
use super::consent;
use super::customer::{CustomerType, GroupCode};
use super::event::{EmailChangeCause, PasswordCause, Source};
use super::ids::{AddressId, CustomerId, PasskeyId, SessionId};
use super::session::{RevocationReason, SecondFactor, SignInMethod};
use super::status::{ReasonCode, Status};
use super::throttle::Factor;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The data of one type of message.
trait Data: Serialize + JsonSchema {
    /// What the envelope opens to that its messages may carry: a sentence.
    const SEALS: Option<&'static str> = None;

    fn example() -> Self;
}

/// A type of message, for whoever describes it.
#[derive(Debug, Clone, Copy)]
pub struct MessageType {
    /// Its name, which is also its routing key.
    pub kind: &'static str,
    /// When it is sent: one sentence.
    pub when: &'static str,
    /// The schema of its data (JSON Schema 2020-12), whole in itself: what consumers may rely on.
    pub schema: fn() -> Value,
    /// The same without room for what later versions may add.
    pub exact: fn() -> Value,
    /// Data as it could be.
    pub example: fn() -> Value,
    /// What it may carry sealed: a sentence.
    pub seals: Option<&'static str>,
}

macro_rules! contract {
    ($($(#[doc = $when:literal])+ $name:ident = $kind:literal,)+) => {
        /// A message: its type and its data.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Message {
            $($(#[doc = $when])+ $name($name),)+
        }

        impl Message {
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $kind,)+
                }
            }

            /// The body, but for what is sealed.
            pub fn data(&self) -> Value {
                match self {
                    $(Self::$name(data) => json(data),)+
                }
            }

            /// Whether its type has room for sealed values.
            pub fn seals(&self) -> bool {
                match self {
                    $(Self::$name(_) => $name::SEALS.is_some(),)+
                }
            }
        }

        $(impl From<$name> for Message {
            fn from(data: $name) -> Self {
                Self::$name(data)
            }
        })+

        /// Every type of message that this version writes.
        pub const TYPES: &[MessageType] = &[$(MessageType {
            kind: $kind,
            when: concat!($($when),+).trim_ascii(),
            schema: schemas::served::<$name>,
            exact: schemas::exact::<$name>,
            example: || with($name::SEALS.map(|_| Sealed::example()).as_ref(), json(&$name::example())),
            seals: $name::SEALS,
        },)+];
    };
}

contract! {
    /// A customer came to be: registered, made by staff, imported, or signed in for the first time
    /// with an account elsewhere.
    CustomerCreated = "customer.created",
    /// Fields of a customer, of its profile or of its preferences changed.
    CustomerUpdated = "customer.updated",
    /// A customer was deleted by staff, or merged into another: the last that is told of it.
    CustomerDeleted = "customer.deleted",
    /// A customer took another one in. What came along was told just before, as if it were new; the
    /// other's end is its own `customer.deleted`.
    CustomerMerged = "customer.merged",
    /// A customer moved to another status.
    StatusChanged = "customer.status_changed",
    /// A customer moved to another group.
    GroupChanged = "customer.group_changed",
    /// A customer showed that an e-mail address or a phone number is its own.
    Verified = "customer.verified",
    /// A customer has another e-mail address.
    EmailChanged = "customer.email_changed",
    /// A customer has another phone number, or none any more.
    PhoneChanged = "customer.phone_changed",
    /// A session was opened.
    SignedIn = "customer.signed_in",
    /// A session ended before its time.
    SessionRevoked = "customer.session_revoked",
    /// Too many wrong passwords, codes or signatures: none of this kind is accepted for a while.
    SignInLocked = "customer.sign_in_locked",
    /// A customer has another password.
    PasswordChanged = "customer.password_changed",
    /// A second factor or a passkey was added, removed, switched, used up or found suspicious.
    MfaChanged = "customer.mfa_changed",
    /// An account at an identity provider was linked: one can sign in with it.
    IdentityLinked = "customer.identity_linked",
    /// An account at an identity provider is linked no more.
    IdentityUnlinked = "customer.identity_unlinked",
    /// Preferences of a customer changed; a `customer.updated` follows.
    PreferencesUpdated = "preferences.updated",
    /// An address was added to a customer's book.
    AddressCreated = "address.created",
    /// Fields of an address changed.
    AddressUpdated = "address.updated",
    /// An address was removed from a customer's book.
    AddressDeleted = "address.deleted",
    /// Another address is the default of its kind.
    AddressDefaultChanged = "address.default_changed",
    /// A customer agreed to a purpose by a channel, or agreed anew to another wording.
    ConsentGranted = "consent.granted",
    /// A customer took a consent back, or refused one that was never given.
    ConsentWithdrawn = "consent.withdrawn",
    /// A customer made a wishlist.
    WishlistCreated = "wishlist.created",
    /// A wishlist was renamed, shared, or its link withdrawn.
    WishlistUpdated = "wishlist.updated",
    /// A wishlist is gone, with all that stood on it.
    WishlistDeleted = "wishlist.deleted",
    /// A product is on a wishlist where it was not.
    WishlistItemAdded = "wishlist.item_added",
    /// A customer says anew how many of a product it wishes for, or what it wrote to it.
    WishlistItemChanged = "wishlist.item_changed",
    /// A product is on a wishlist no more; where it moved to another, a `wishlist.item_added` or
    /// `wishlist.item_changed` follows.
    WishlistItemRemoved = "wishlist.item_removed",
    /// A copy of all that is kept of a customer is ready for it to download.
    ExportReady = "privacy.export_ready",
    /// What a customer's orders in one currency come to is something else.
    StatisticsUpdated = "statistics.updated",
    /// The shop keeps one more custom attribute of its customers.
    AttributeCreated = "attribute.created",
    /// Type, limits, rights or texts of a custom attribute changed.
    AttributeUpdated = "attribute.updated",
    /// A custom attribute is gone. No customer held a value of it.
    AttributeDeleted = "attribute.deleted",
    /// The shop keeps one more segment of its customers; whoever belongs to it joins afterwards.
    SegmentCreated = "segment.created",
    /// A segment is called or defined otherwise, or goes in or out of force; who joins or leaves by it
    /// does so afterwards.
    SegmentUpdated = "segment.updated",
    /// A segment is gone. Its members have left before.
    SegmentDeleted = "segment.deleted",
    /// A customer belongs to a segment to which it did not.
    SegmentAssigned = "segment.assigned",
    /// A customer does not belong to a segment any more.
    SegmentRemoved = "segment.removed",
    /// A deletion was asked for: the account is frozen, and within its grace it can be cancelled.
    DeletionRequested = "privacy.deletion_requested",
    /// A scheduled deletion was cancelled: the account is as it was.
    DeletionCancelled = "privacy.deletion_cancelled",
    /// Nothing is kept of a customer any more; the services that were configured are commanded to forget.
    ErasureStarted = "privacy.erasure_started",
    /// Every service that was commanded has answered that it forgot the customer.
    ErasureCompleted = "privacy.erasure_completed",
    /// A command: what is kept of a customer's orders shall name nobody any more.
    OrderAnonymize = "order.anonymize",
    /// A command: a customer's ways to pay shall be deleted.
    PaymentDeleteMethods = "payment.delete_methods",
    /// A command: addresses, numbers and texts sent to a customer shall be deleted.
    NotificationForget = "notification.forget",
}

fn json(data: &impl Serialize) -> Value {
    serde_json::to_value(data).expect("ids, codes, numbers and times are always JSON")
}

impl Message {
    /// The body, with what is sealed.
    pub fn body(&self, sealed: Option<&Sealed>) -> Value {
        with(sealed, self.data())
    }
}

/// Where sealed values stand in the data of a message and of an entry.
pub const SEALED: &str = "sealed";

fn with(sealed: Option<&Sealed>, mut data: Value) -> Value {
    if let Some(sealed) = sealed {
        data[SEALED] = json(sealed);
    }
    data
}

/// Names of fields, such as `first_name` or `profile.custom.pet`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct FieldNames(
    #[schemars(length(min = 1), inner(regex(pattern = r"^[a-z0-9_]+(\.[a-z0-9_]+)*$")))]
    Vec<String>,
);

impl From<&[String]> for FieldNames {
    fn from(names: &[String]) -> Self {
        Self(names.to_vec())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CustomerCreated {
    /// The customer.
    pub customer_id: CustomerId,
    /// Whether it buys as a person or as a company.
    pub customer_type: CustomerType,
    /// The code of its group.
    pub group: GroupCode,
    /// By which door it came in.
    pub source: Source,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CustomerUpdated {
    /// The customer.
    pub customer_id: CustomerId,
    /// What changed; fields of parts bear the part's name in front (`profile.bio`).
    pub changed: FieldNames,
    /// The customer's version from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CustomerDeleted {
    /// The customer.
    pub customer_id: CustomerId,
    /// The customer that it became one with; null where it was deleted alone.
    pub merged_into: Option<CustomerId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StatusChanged {
    /// The customer.
    pub customer_id: CustomerId,
    /// Where it stood.
    pub from: Status,
    /// Where it stands.
    pub to: Status,
    /// Why: a code of the shop, `email_verified`, or of a deletion `deletion_requested`,
    /// `deletion_cancelled`, `deletion_due`.
    pub reason: ReasonCode,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct GroupChanged {
    /// The customer.
    pub customer_id: CustomerId,
    /// The code of the group it was in.
    pub from: GroupCode,
    /// The code of the group it is in.
    pub to: GroupCode,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Verified {
    /// The customer.
    pub customer_id: CustomerId,
    /// What was shown to be its own.
    pub channel: Channel,
}

/// Where a customer can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Email,
    Phone,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct EmailChanged {
    /// The customer.
    pub customer_id: CustomerId,
    /// How it came to have another address.
    pub cause: EmailChangeCause,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PhoneChanged {
    /// The customer.
    pub customer_id: CustomerId,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SignedIn {
    /// The customer.
    pub customer_id: CustomerId,
    /// The session.
    pub session_id: SessionId,
    /// What was shown first.
    pub method: SignInMethod,
    /// What was shown next; null where nothing was asked for.
    pub second_factor: Option<SecondFactor>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SessionRevoked {
    /// The customer.
    pub customer_id: CustomerId,
    /// The session.
    pub session_id: SessionId,
    /// Why it ended.
    pub reason: RevocationReason,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SignInLocked {
    /// The customer.
    pub customer_id: CustomerId,
    /// What is locked.
    pub factor: Factor,
    /// Until when.
    pub until: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PasswordChanged {
    /// The customer.
    pub customer_id: CustomerId,
    /// How it came to have another password.
    pub cause: PasswordCause,
}

/// By factor, for each has changes of its own.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "factor", rename_all = "snake_case")]
#[schemars(deny_unknown_fields)]
pub enum MfaChanged {
    /// The authenticator.
    Totp {
        /// The customer.
        customer_id: CustomerId,
        /// What became of it.
        change: TotpChange,
    },
    /// The backup codes.
    BackupCode {
        /// The customer.
        customer_id: CustomerId,
        /// What became of them.
        change: BackupCodeChange,
    },
    /// A passkey.
    Passkey {
        /// The customer.
        customer_id: CustomerId,
        /// Which of the customer's passkeys.
        passkey_id: PasskeyId,
        /// What became of it.
        change: PasskeyChange,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TotpChange {
    /// Signing in asks for it from now on.
    Enabled,
    Removed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupCodeChange {
    /// A new set, which voids the old one.
    Issued,
    /// One of them was used up.
    Used,
    Removed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PasskeyChange {
    Added,
    /// Signing in by password asks for it from now on.
    Enabled,
    /// It is no longer why signing in by password asks for a second factor.
    Disabled,
    /// Its counter did not rise: there may be a copy. The signature was refused.
    Suspected,
    Removed,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct IdentityLinked {
    /// The customer.
    pub customer_id: CustomerId,
    /// The provider, as it is called in the configuration.
    #[schemars(regex(pattern = "^[a-z0-9_-]{1,32}$"))]
    pub provider: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct IdentityUnlinked {
    /// The customer.
    pub customer_id: CustomerId,
    /// The provider, as it is called in the configuration.
    #[schemars(regex(pattern = "^[a-z0-9_-]{1,32}$"))]
    pub provider: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PreferencesUpdated {
    /// The customer.
    pub customer_id: CustomerId,
    /// What changed.
    pub changed: FieldNames,
    /// The version of the preferences from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AddressCreated {
    /// The customer.
    pub customer_id: CustomerId,
    /// The address.
    pub address_id: AddressId,
    /// The address's version.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AddressUpdated {
    /// The customer.
    pub customer_id: CustomerId,
    /// The address.
    pub address_id: AddressId,
    /// What changed.
    pub changed: FieldNames,
    /// The address's version from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AddressDeleted {
    /// The customer.
    pub customer_id: CustomerId,
    /// The address.
    pub address_id: AddressId,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AddressDefaultChanged {
    /// The customer.
    pub customer_id: CustomerId,
    /// What it is the default for.
    pub kind: AddressKind,
    /// The default before; null where there was none.
    pub from: Option<AddressId>,
    /// The default from now on.
    pub to: AddressId,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ConsentGranted {
    /// The customer.
    pub customer_id: CustomerId,
    /// What for, as it is called in the configuration.
    pub purpose: consent::Purpose,
    /// By which way; `all` where the purpose knows no channels.
    pub channel: consent::Channel,
    /// Which wording was agreed to.
    pub text_version: consent::TextVersion,
    /// In which language it was read (BCP 47); null where that is not known.
    #[schemars(length(min = 2, max = 35))]
    pub locale: Option<String>,
    /// By which door it came in.
    pub source: consent::Source,
    /// The number of its entry in the customer's ledger of consents.
    #[schemars(range(min = 1))]
    pub entry: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ConsentWithdrawn {
    /// The customer.
    pub customer_id: CustomerId,
    /// What for, as it is called in the configuration.
    pub purpose: consent::Purpose,
    /// By which way; `all` where the purpose knows no channels.
    pub channel: consent::Channel,
    /// By which door it came in.
    pub source: consent::Source,
    /// The number of its entry in the customer's ledger of consents.
    #[schemars(range(min = 1))]
    pub entry: i64,
}
