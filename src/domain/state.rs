//! The loaded state of one customer: as much of it as the commands of a batch need.

use super::address::Address;
use super::customer::Customer;
use super::ids::{AddressId, DeviceId, SessionId};
use super::preferences::Preferences;
use super::profile::Profile;
use super::session::{Device, SecretHash, Session};
use super::throttle::Throttle;
use super::token::OneTimeToken;
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
    /// The sign-in bucket that the command at hand names; several customers' commands may name
    /// one bucket, so the batch lends it to each in turn.
    pub throttle: Throttle,
}
