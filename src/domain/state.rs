//! The loaded state of one customer: as much of it as the commands of a batch need.

use super::address::Address;
use super::attribute::Attributes;
use super::consent::Consents;
use super::customer::Customer;
use super::erasure::Deletions;
use super::flow::Flow;
use super::group::Standing;
use super::handle::Handle;
use super::identity::Identity;
use super::ids::{AddressId, DeviceId, PasskeyId, SessionId};
use super::merge::MergeReport;
use super::note::Notes;
use super::order::Orders;
use super::passkey::Passkey;
use super::phone_confirmation::PhoneConfirmation;
use super::place::Locale;
use super::preferences::Preferences;
use super::privacy_export::PrivacyExports;
use super::profile::Profile;
use super::second_factor::Totp;
use super::segment::membership::Memberships;
use super::segment::record::Segments;
use super::session::{Device, SecretHash, Session};
use super::throttle::{Bucket, Throttle};
use super::token::OneTimeToken;
use super::wishlist::Wishlists;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// What `decide` looks at and `evolve` changes. A part that no command of the batch needs is
/// empty; saving compares with what was loaded, so an unloaded part is never written.
#[derive(Clone, Default, PartialEq)]
pub struct State {
    /// `None`: there is no such customer, or it was deleted.
    pub customer: Option<Customer>,
    /// The customer as it was deleted a moment ago, for its last row and message: it is gone for
    /// whoever comes later in the batch. A command about deletions finds here who was deleted before.
    pub departed: Option<Customer>,
    pub profile: Option<Profile>,
    pub preferences: Option<Preferences>,
    /// The password hash in PHC form; `None` for who never set one.
    pub password_hash: Option<String>,
    pub addresses: BTreeMap<AddressId, Address>,
    pub sessions: BTreeMap<SessionId, Session>,
    pub devices: BTreeMap<DeviceId, Device>,
    pub tokens: BTreeMap<SecretHash, OneTimeToken>,
    /// A number that waits for its code.
    pub phone_confirmation: Option<PhoneConfirmation>,
    pub passkeys: BTreeMap<PasskeyId, Passkey>,
    /// What holds: the newest entry of each purpose and channel.
    pub consents: Consents,
    /// What the customer is found by; with an instant: given up, and kept for it until then.
    pub handles: BTreeMap<Handle, Option<DateTime<Utc>>>,
    /// The authenticator, also one that still waits for its first code.
    pub totp: Option<Totp>,
    /// The unused backup codes, each with the moment of its issue.
    pub backup_codes: BTreeMap<SecretHash, DateTime<Utc>>,
    /// Accounts at identity providers, by provider.
    pub identities: BTreeMap<String, Identity>,
    pub wishlists: Wishlists,
    /// What staff wrote down.
    pub notes: Notes,
    /// What the order service said.
    pub orders: Orders,
    /// The segments it belongs to.
    pub memberships: Memberships,
    /// Copies of all that is kept of it, made for it.
    pub privacy_exports: PrivacyExports,
    /// Its deletion, and what stands against it.
    pub deletions: Deletions,
    /// The buckets that the command at hand names; several customers' commands may name one
    /// bucket, so the batch lends them to each in turn.
    pub throttles: BTreeMap<Bucket, Throttle>,
    /// The flow that the command at hand names, or begins; lent likewise.
    pub flow: Option<Flow>,
    /// The group that the command at hand names; lent likewise.
    pub group: Option<Standing>,
    /// The definitions of custom attributes that the command at hand names; lent likewise.
    pub attributes: Attributes,
    /// All segments, for a command about one; lent likewise.
    pub segments: Segments,
    /// The customer that the command at hand merges into this one; lent likewise.
    pub other: Option<Box<State>>,
    /// How the customer ended, if it was merged into another. Known only to a command that asks for
    /// it again.
    pub merged: Option<MergeReport>,
}

/// Holds secrets and hashes of them: printed without.
impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("customer", &self.customer)
            .field("profile", &self.profile)
            .field("preferences", &self.preferences)
            .field("has_password", &self.password_hash.is_some())
            .field("addresses", &self.addresses)
            .field("sessions", &self.sessions)
            .field("devices", &self.devices)
            .field("tokens", &self.tokens.values())
            .field("phone_confirmation", &self.phone_confirmation)
            .field("passkeys", &self.passkeys)
            .field("handles", &self.handles)
            .field("totp", &self.totp)
            .field("backup_codes", &self.backup_codes.len())
            .field("identities", &self.identities)
            .field("throttles", &self.throttles.values())
            .field("flow", &self.flow)
            .finish()
    }
}

impl State {
    /// A bucket as it is; one that was never counted in is empty.
    pub fn throttle(&self, bucket: &Bucket) -> Throttle {
        self.throttles.get(bucket).cloned().unwrap_or_default()
    }

    /// The language that the customer reads, as far as it was loaded.
    pub fn locale(&self) -> Locale {
        self.preferences.as_ref().map_or_else(
            || Locale::from_stored("en".to_owned()),
            |preferences| preferences.locale.clone(),
        )
    }
}
