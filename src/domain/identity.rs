//! An account at an identity provider that a customer signs in by (rule A10).

use super::email::EmailAddress;
use super::handle::Handle;
use super::text::never_printed;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Who somebody is at a provider, after all checks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The provider's name in the configuration.
    pub provider: String,
    /// Its own, unchanging name for the person.
    pub subject: String,
    /// The address that it tells, whether verified or not.
    pub email: Option<EmailAddress>,
}

/// An account that is linked to a customer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// With the address of the time of linking.
    pub account: Account,
    pub linked_at: DateTime<Utc>,
}

never_printed!(Account, Identity);

impl Account {
    /// What it is found by.
    pub fn handle(&self) -> Handle {
        Handle::social(&self.provider, &self.subject)
    }
}
