//! One customer with the parts that a caller asks for, from the tables of their owners, in one
//! round trip: one statement a part, all sent before the first answer comes, each within the
//! statement's time limit.

use super::segment_members::Member;
use super::{
    Connection, addresses, attributes, consents, customers, identities, notes, orders,
    segment_members, sessions, wishlists,
};
use crate::domain::CustomerId;
use crate::domain::address::Address;
use crate::domain::consent::Consents;
use crate::domain::customer::Customer;
use crate::domain::identity::Identity;
use crate::domain::note::Note;
use crate::domain::order::Statistics;
use crate::domain::place::Currency;
use crate::domain::preferences::Preferences;
use crate::domain::profile::Profile;
use crate::domain::session::Session;
use crate::domain::wishlist::Wishlist;
use chrono::{DateTime, Utc};
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
    pub wishlists: bool,
    pub consents: bool,
    pub identities: bool,
    pub sessions: bool,
    pub notes: bool,
    pub stats: bool,
    pub segments: bool,
    /// Which custom attributes customers may see.
    pub shown_attributes: bool,
}

impl Parts {
    pub const ALL: Self = Self {
        profile: true,
        preferences: true,
        addresses: true,
        wishlists: true,
        consents: true,
        identities: true,
        sessions: true,
        notes: true,
        stats: true,
        segments: true,
        shown_attributes: true,
    };
}

/// A customer with the parts that were asked for.
#[derive(Clone, Debug)]
pub struct Whole {
    pub customer: Customer,
    pub profile: Option<Profile>,
    pub preferences: Option<Preferences>,
    /// In the order of their creation.
    pub addresses: Option<Vec<Address>>,
    /// The first of them, in the order of their making.
    pub wishlists: Option<Vec<Wishlist>>,
    pub consents: Option<Consents>,
    /// One of each provider at most.
    pub identities: Option<Vec<Identity>>,
    /// The newest of them.
    pub sessions: Option<Vec<Session>>,
    /// The newest of them.
    pub notes: Option<Vec<Note>>,
    /// One of each currency.
    pub stats: Option<Vec<(Currency, Statistics)>>,
    /// All that it belongs to, in the order of their codes.
    pub segments: Option<Vec<Member>>,
    /// Keys of the custom attributes that customers may see.
    pub shown_attributes: Option<Vec<String>>,
}

impl Whole {
    /// The customer alone.
    pub fn of(customer: Customer) -> Self {
        Self {
            customer,
            profile: None,
            preferences: None,
            addresses: None,
            wishlists: None,
            consents: None,
            identities: None,
            sessions: None,
            notes: None,
            stats: None,
            segments: None,
            shown_attributes: None,
        }
    }
}

/// A living customer with its parts, of lists that have no limit of their own at most `limit` items.
/// One statement each, all sent before the first answer comes.
///
/// # Errors
/// Those of the queries.
pub async fn find(
    conn: &Connection,
    id: CustomerId,
    parts: Parts,
    now: DateTime<Utc>,
    limit: i64,
) -> QueryResult<Option<Whole>> {
    let ids = [id.0];
    let (
        customer,
        profiles,
        preferences,
        addresses,
        wishlists,
        held,
        identities,
        sessions,
        notes,
        stats,
        segments,
        shown,
    ) = try_join!(
        customers::find(conn, id),
        when(parts.profile, customers::profiles(conn, &ids)),
        when(parts.preferences, customers::preferences(conn, &ids)),
        when(parts.addresses, addresses::list(conn, id, None, ADDRESSES_MAX)),
        when(parts.wishlists, wishlists::list(conn, id, None, limit)),
        when(parts.consents, consents::of_customers(conn, &ids)),
        when(parts.identities, identities::of_customers(conn, &ids)),
        when(parts.sessions, sessions::list_live(conn, id, now, None, limit)),
        when(parts.notes, notes::list(conn, id, None, limit)),
        when(parts.stats, orders::statistics(conn, id)),
        when(parts.segments, segment_members::of_customers(conn, &ids)),
        when(parts.shown_attributes, attributes::shown_to_customers(conn)),
    )?;
    let consents = held.map(|held| {
        let mut consents = Consents::default();
        for (_, (purpose, channel, consent)) in held {
            consents.put(purpose, channel, consent);
        }
        consents
    });
    Ok(customer.map(|customer| Whole {
        customer,
        profile: profiles.and_then(|mut all| all.pop()).map(|(_, profile)| profile),
        preferences: preferences.and_then(|mut all| all.pop()).map(|(_, one)| one),
        addresses,
        wishlists,
        consents,
        identities: identities.map(|all| all.into_iter().map(|(_, one)| one).collect()),
        sessions,
        notes,
        stats,
        segments: segments.map(|mut all| {
            all.sort_by(|one, next| one.code.cmp(&next.code));
            all
        }),
        shown_attributes: shown,
    }))
}

/// Runs a query only when its part is asked for.
async fn when<T>(
    asked_for: bool,
    query: impl Future<Output = QueryResult<T>>,
) -> QueryResult<Option<T>> {
    if asked_for { query.await.map(Some) } else { Ok(None) }
}
