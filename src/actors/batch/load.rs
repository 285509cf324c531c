//! Step one: the rows that the commands declare they need, locked.
//!
//! Customers are locked before buckets, those before flows, those before groups, those before
//! definitions of attributes, those before segments, each in the order of their keys: batches of other
//! nodes that want the same rows wait, they never deadlock.

mod attributes;
mod erasures;
mod memberships;
mod merges;
mod notes;
mod orders;
mod wishlists;

pub use attributes::{FoundAttributes, read as read_attributes};

use super::Failure;
use super::defaults::{DefaultSegment, Defaults};
use crate::actors::segments::Standards;
use crate::db::customer_keys::KeptKey;
use crate::db::{self, idempotency::Remembered};
use crate::domain::command::{Needs, Subject};
use crate::domain::customer::GroupCode;
use crate::domain::flow::Flow;
use crate::domain::group::Standing;
use crate::domain::identity::Identity;
use crate::domain::order::OrderId;
use crate::domain::passkey::Passkey;
use crate::domain::second_factor::Totp;
use crate::domain::segment::record::Segments;
use crate::domain::session::SecretHash;
use crate::domain::throttle::{Bucket, Throttle};
use crate::domain::wishlist::ItemSought;
use crate::domain::{CustomerId, NoteId, State, Submission};
use attributes::WantedAttributes;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

/// What the commands of a batch see.
#[derive(Default)]
pub struct Loaded {
    pub states: HashMap<CustomerId, State>,
    /// The keys of those that have one.
    pub keys: HashMap<CustomerId, KeptKey>,
    pub throttles: HashMap<Bucket, Throttle>,
    pub flows: HashMap<SecretHash, Flow>,
    pub groups: HashMap<GroupCode, Standing>,
    pub attributes: FoundAttributes,
    /// All of them, where a command is about one.
    pub segments: Segments,
    /// What new customers are put into, where there may be any of these.
    pub defaults: Vec<DefaultSegment>,
    pub remembered: Vec<Remembered>,
}

/// Which customers need which part.
#[derive(Default)]
struct Wanted {
    customers: BTreeSet<Uuid>,
    profile: Vec<Uuid>,
    preferences: Vec<Uuid>,
    password: Vec<Uuid>,
    addresses: Vec<Uuid>,
    sessions: Vec<Uuid>,
    devices: Vec<Uuid>,
    tokens: Vec<Uuid>,
    handles: Vec<Uuid>,
    phone_confirmation: Vec<Uuid>,
    factors: Vec<Uuid>,
    identities: Vec<Uuid>,
    passkeys: Vec<Uuid>,
    consents: Vec<Uuid>,
    wishlists: Vec<Uuid>,
    wishlist_items: Vec<(CustomerId, ItemSought)>,
    all_wishlist_items: Vec<Uuid>,
    note_counts: Vec<Uuid>,
    notes: Vec<(Uuid, NoteId)>,
    all_notes: Vec<Uuid>,
    merged: Vec<Uuid>,
    statistics: Vec<Uuid>,
    order_counts: Vec<Uuid>,
    memberships: Vec<Uuid>,
    facts: Vec<Uuid>,
    recounts: Vec<Uuid>,
    privacy_exports: Vec<Uuid>,
    deletions: Vec<Uuid>,
    orders: BTreeSet<(Uuid, OrderId)>,
    buckets: BTreeSet<Bucket>,
    flows: BTreeSet<SecretHash>,
    groups: BTreeSet<String>,
    attributes: WantedAttributes,
}

impl Wanted {
    fn of(submissions: &[Submission]) -> Self {
        let mut needs: BTreeMap<Uuid, Needs> = BTreeMap::new();
        let mut wanted = Self::default();
        for submission in submissions {
            if let Some(id) = asked_for(submission) {
                let need = submission.command.needs();
                // A session may begin on a new device, of which the owner is told in its language.
                let need = Needs { preferences: need.preferences || need.devices, ..need };
                let all = needs.entry(id).or_default();
                *all = all.and(need);
                let item = submission.command.wishlist_item();
                wanted.wishlist_items.extend(item.map(|item| (CustomerId(id), item)));
                wanted.notes.extend(submission.command.note().map(|note| (id, note)));
                wanted.orders.extend(submission.command.order().map(|order| (id, order.clone())));
            }
            if let Some(from) = submission.command.merges() {
                let all = needs.entry(from.0).or_default();
                *all = all.and(Needs::of_the_merged());
            }
            wanted.buckets.extend(submission.command.buckets());
            wanted.flows.extend(submission.command.flow());
            wanted.groups.extend(submission.command.group().map(|code| code.as_str().to_owned()));
            wanted.attributes.note(submission);
        }
        for (id, need) in needs {
            wanted.customers.insert(id);
            let parts = [
                (need.profile, &mut wanted.profile),
                (need.preferences, &mut wanted.preferences),
                (need.password, &mut wanted.password),
                (need.addresses, &mut wanted.addresses),
                (need.sessions, &mut wanted.sessions),
                (need.devices, &mut wanted.devices),
                (need.tokens, &mut wanted.tokens),
                (need.handles, &mut wanted.handles),
                (need.phone_confirmation, &mut wanted.phone_confirmation),
                (need.factors, &mut wanted.factors),
                (need.identities, &mut wanted.identities),
                // passkeys are second factors as well
                (need.passkeys || need.factors, &mut wanted.passkeys),
                (need.consents, &mut wanted.consents),
                (need.wishlists, &mut wanted.wishlists),
                (need.wishlist_items, &mut wanted.all_wishlist_items),
                (need.note_count, &mut wanted.note_counts),
                (need.notes, &mut wanted.all_notes),
                (need.merged, &mut wanted.merged),
                (need.statistics, &mut wanted.statistics),
                (need.order_count, &mut wanted.order_counts),
                (need.memberships, &mut wanted.memberships),
                (need.facts, &mut wanted.facts),
                (need.recount, &mut wanted.recounts),
                (need.privacy_exports, &mut wanted.privacy_exports),
                (need.deletion, &mut wanted.deletions),
            ];
            for (needed, list) in parts {
                if needed {
                    list.push(id);
                }
            }
        }
        wanted
    }
}

/// Whose rows a submission asks for. A try at an identifier that nobody has asks for the rows of the
/// customer that nobody is: the same statements as for a known one, in the same time (rule A12).
fn asked_for(submission: &Submission) -> Option<Uuid> {
    match submission.subject {
        Subject::Customer(id) => Some(id.0),
        Subject::Nobody(_) if submission.command.buckets().is_empty() => None,
        Subject::Nobody(_) => Some(Uuid::nil()),
    }
}

/// Loads and locks. `since` bounds the age of idempotency keys.
pub async fn load(
    connection: &db::Connection,
    submissions: &[Submission],
    since: DateTime<Utc>,
    now: DateTime<Utc>,
    standards: &Standards,
    defaults: &Defaults,
) -> Result<Loaded, Failure> {
    let wanted = Wanted::of(submissions);
    let customers: Vec<Uuid> = wanted.customers.iter().copied().collect();
    let buckets: Vec<Vec<u8>> = wanted.buckets.iter().map(|bucket| bucket.to_vec()).collect();
    let flows: Vec<Vec<u8>> = wanted.flows.iter().map(|hash| hash.to_vec()).collect();
    let groups: Vec<String> = wanted.groups.iter().cloned().collect();
    let keys: Vec<_> = submissions.iter().filter_map(|s| s.idempotency.as_ref()).collect();
    // First the locks, alone: what is read before them might be stale by the time they are had.
    let locked = unless_empty(&customers, db::customers::lock_many(connection, &customers)).await?;
    let throttles = db::throttles::lock_many(connection, &buckets, now).await?;
    let flows = unless_empty(&flows, db::flows::lock_many(connection, &flows)).await?;
    let groups = unless_empty(&groups, db::groups::lock_many(connection, &groups)).await?;
    let attributes = attributes::lock(connection, &wanted).await?;
    let about_segments = submissions.iter().any(|one| one.command.is_about_segments());
    let segments = match about_segments {
        true => db::segment_book::lock_all(connection).await?,
        false => Segments::new(),
    };
    let in_force = memberships::hold(connection, submissions).await?;
    // Then the parts, sent without waiting in between.
    let (
        profiles,
        preferences,
        passwords,
        addresses,
        sessions,
        devices,
        tokens,
        handles,
        phone_confirmations,
        ways_in,
        consents,
        wishlists,
        notes,
        merges,
        orders,
        memberships,
        exports,
        found_defaults,
        deletions,
        remembered,
    ) = tokio::try_join!(
        unless_empty(&wanted.profile, db::customers::profiles(connection, &wanted.profile)),
        unless_empty(
            &wanted.preferences,
            db::customers::preferences(connection, &wanted.preferences)
        ),
        unless_empty(&wanted.password, db::passwords::of_customers(connection, &wanted.password)),
        unless_empty(&wanted.addresses, db::addresses::of_customers(connection, &wanted.addresses)),
        unless_empty(&wanted.sessions, db::sessions::unrevoked(connection, &wanted.sessions)),
        unless_empty(&wanted.devices, db::devices::of_customers(connection, &wanted.devices)),
        unless_empty(&wanted.tokens, db::one_time_tokens::open(connection, &wanted.tokens)),
        unless_empty(&wanted.handles, db::handles::of_customers(connection, &wanted.handles)),
        unless_empty(
            &wanted.phone_confirmation,
            db::phone_confirmations::of_customers(connection, &wanted.phone_confirmation)
        ),
        ways_in(connection, &wanted),
        unless_empty(&wanted.consents, db::consents::of_customers(connection, &wanted.consents)),
        wishlists::load(connection, &wanted),
        notes::load(connection, &wanted),
        merges::load(connection, &wanted),
        orders::load(connection, &wanted, &locked),
        memberships::load(connection, &wanted, submissions, in_force, standards),
        unless_empty(
            &wanted.privacy_exports,
            db::privacy_exports::of_customers(connection, &wanted.privacy_exports)
        ),
        defaults.of_newcomers(connection, submissions),
        erasures::load(connection, &wanted.deletions),
        unless_empty(&keys, db::idempotency::find_many(connection, &keys, since)),
    )?;
    let mut states: HashMap<CustomerId, State> = HashMap::with_capacity(customers.len());
    let mut keys = HashMap::with_capacity(locked.len());
    for (customer, key) in locked {
        let id = customer.id;
        keys.extend(key.map(|key| (id, key)));
        states.entry(id).or_default().customer = Some(customer);
    }
    for (id, profile) in profiles {
        states.entry(id).or_default().profile = Some(profile);
    }
    for (id, preferences) in preferences {
        states.entry(id).or_default().preferences = Some(preferences);
    }
    for (id, hash) in passwords {
        states.entry(id).or_default().password_hash = Some(hash);
    }
    for (id, address) in addresses {
        states.entry(id).or_default().addresses.insert(address.id, address);
    }
    for (id, session) in sessions {
        states.entry(id).or_default().sessions.insert(session.id, session);
    }
    for (id, device) in devices {
        states.entry(id).or_default().devices.insert(device.id, device);
    }
    for (id, token) in tokens {
        states.entry(id).or_default().tokens.insert(token.hash, token);
    }
    for (id, waiting) in phone_confirmations {
        states.entry(id).or_default().phone_confirmation = Some(waiting);
    }
    for (id, (handle, held_until)) in handles {
        states.entry(id).or_default().handles.insert(handle, held_until);
    }
    for (id, (purpose, channel, consent)) in consents {
        states.entry(id).or_default().consents.put(purpose, channel, consent);
    }
    for (id, export) in exports {
        states.entry(id).or_default().privacy_exports.insert(export.id, export);
    }
    ways_in.add_to(&mut states);
    wishlists.add_to(&mut states);
    notes.add_to(&mut states);
    merges.add_to(&mut states);
    orders.add_to(&mut states);
    memberships.add_to(&mut states);
    deletions.add_to(&mut states);
    Ok(Loaded {
        states,
        keys,
        throttles: throttles.into_iter().collect(),
        flows: flows.into_iter().map(|flow| (flow.hash, flow)).collect(),
        groups: groups.into_iter().map(|one| (one.group.code.clone(), one)).collect(),
        attributes,
        segments,
        defaults: defaults.complete(found_defaults)?,
        remembered,
    })
}

/// What customers sign in by beside a password.
struct WaysIn {
    totp: Vec<(CustomerId, Totp)>,
    backup_codes: Vec<(CustomerId, (SecretHash, DateTime<Utc>))>,
    identities: Vec<(CustomerId, Identity)>,
    passkeys: Vec<(CustomerId, Passkey)>,
}

async fn ways_in(
    connection: &db::Connection,
    wanted: &Wanted,
) -> Result<WaysIn, db::transactions::QueryError> {
    let (factors, identities) = (&wanted.factors, &wanted.identities);
    let (totp, backup_codes, identities, passkeys) = tokio::try_join!(
        unless_empty(factors, db::second_factors::totp_of_customers(connection, factors)),
        unless_empty(factors, db::second_factors::backup_codes_of_customers(connection, factors)),
        unless_empty(identities, db::identities::of_customers(connection, identities)),
        unless_empty(&wanted.passkeys, db::passkeys::of_customers(connection, &wanted.passkeys)),
    )?;
    Ok(WaysIn { totp, backup_codes, identities, passkeys })
}

impl WaysIn {
    fn add_to(self, states: &mut HashMap<CustomerId, State>) {
        for (id, totp) in self.totp {
            states.entry(id).or_default().totp = Some(totp);
        }
        for (id, (hash, issued_at)) in self.backup_codes {
            states.entry(id).or_default().backup_codes.insert(hash, issued_at);
        }
        for (id, identity) in self.identities {
            let provider = identity.account.provider.clone();
            states.entry(id).or_default().identities.insert(provider, identity);
        }
        for (id, passkey) in self.passkeys {
            states.entry(id).or_default().passkeys.insert(passkey.id, passkey);
        }
    }
}

/// Runs a query only when there is something to ask for.
async fn unless_empty<K, T>(
    keys: &[K],
    query: impl Future<Output = Result<Vec<T>, db::transactions::QueryError>>,
) -> Result<Vec<T>, db::transactions::QueryError> {
    if keys.is_empty() { Ok(Vec::new()) } else { query.await }
}
