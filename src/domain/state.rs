//! The loaded state of one customer: as much of it as the commands of a batch need.

use super::address::Address;
use super::consent::Consents;
use super::customer::Customer;
use super::flow::Flow;
use super::handle::Handle;
use super::identity::Identity;
use super::ids::{AddressId, DeviceId, PasskeyId, SessionId};
use super::passkey::Passkey;
use super::phone_confirmation::PhoneConfirmation;
use super::place::Locale;
use super::preferences::Preferences;
use super::profile::Profile;
use super::second_factor::Totp;
use super::session::{Device, SecretHash, Session};
use super::throttle::{Bucket, Throttle};
use super::token::OneTimeToken;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

/// What `decide` looks at and `evolve` changes. A part that no command of the batch needs is
/// empty; saving compares with what was loaded, so an unloaded part is never written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// `None`: there is no such customer, or it was deleted.
    pub customer: Option<Customer>,
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
    /// The buckets that the command at hand names; several customers' commands may name one
    /// bucket, so the batch lends them to each in turn.
    pub throttles: BTreeMap<Bucket, Throttle>,
    /// The flow that the command at hand names, or begins; lent likewise.
    pub flow: Option<Flow>,
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
