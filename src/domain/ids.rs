//! Identities. A distinct type for each, so that no id can stand where another is meant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

id!(
    /// A customer, for ever: never reused, also after erasure.
    CustomerId,
    /// One address in a customer's book.
    AddressId,
    /// One signed-in device, from sign-in to sign-out.
    SessionId,
    /// One browser or app that signed in before and may count its failures apart.
    DeviceId,
    /// One passkey of a customer.
    PasskeyId,
    /// One definition of a custom attribute; a later one of the same key is another.
    AttributeId,
    /// One segment; a later one of the same code is another.
    SegmentId,
    /// One note of staff about a customer.
    NoteId,
    /// One wishlist of a customer.
    WishlistId,
    /// One product on a wishlist; keeps its name when it moves to another list.
    WishlistItemId,
    /// One attempt at a credential, claimed before it is verified.
    ClaimId,
    /// One mail to be sent.
    MailId,
    /// One text message to be sent.
    TextMessageId,
    /// One message in the outbox; stable over redelivery.
    MessageId,
    /// One entry of the audit trail.
    EntryId,
    /// One import of customers.
    ImportId,
    /// One copy of all that is kept of a customer, made for it.
    PrivacyExportId,
    /// One deletion that a customer or staff asked for.
    ErasureId,
    /// One step of an erasure.
    StepId,
    /// One duty to keep a customer.
    HoldId,
);
