//! One customer with the parts that a caller asks for, from the tables of their owners, in one
//! round trip.

use super::{Connection, addresses, customers};
use crate::domain::CustomerId;
use crate::domain::address::Address;
use crate::domain::customer::Customer;
use crate::domain::preferences::Preferences;
use crate::domain::profile::Profile;
use diesel::QueryResult;
use tokio::try_join;

/// More addresses than any configuration allows.
const ADDRESSES_MAX: i64 = 1_000;

/// Which parts to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub profile: bool,
    pub preferences: bool,
    pub addresses: bool,
}

/// A customer with the parts that were asked for.
#[derive(Clone, Debug)]
pub struct Whole {
    pub customer: Customer,
    pub profile: Option<Profile>,
    pub preferences: Option<Preferences>,
    /// In the order of their creation.
    pub addresses: Option<Vec<Address>>,
}

/// A living customer with its parts. One statement each, all sent before the first answer comes.
///
/// # Errors
/// Those of the queries.
pub async fn find(conn: &Connection, id: CustomerId, parts: Parts) -> QueryResult<Option<Whole>> {
    let profile = async {
        match parts.profile {
            true => Ok(customers::profiles(conn, &[id.0]).await?.pop().map(|(_, one)| one)),
            false => Ok(None),
        }
    };
    let preferences = async {
        match parts.preferences {
            true => Ok(customers::preferences(conn, &[id.0]).await?.pop().map(|(_, one)| one)),
            false => Ok(None),
        }
    };
    let addresses = async {
        match parts.addresses {
            true => addresses::list(conn, id, None, ADDRESSES_MAX).await.map(Some),
            false => Ok(None),
        }
    };
    let (customer, profile, preferences, addresses) =
        try_join!(customers::find(conn, id), profile, preferences, addresses)?;
    Ok(customer.map(|customer| Whole { customer, profile, preferences, addresses }))
}
