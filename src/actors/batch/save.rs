//! Step three: what differs from what was loaded, in a few bulk statements sent without waiting in
//! between; the outbox last, since it takes the locks that make commit order.

mod attributes;
mod erasures;
mod memberships;
mod merges;
mod notes;
mod orders;
mod privacy_exports;
mod segments;
mod wishlists;

use super::Failure;
use super::fold::Folded;
use crate::db::statements::*;
use crate::db::transactions::{QueryError, is_consequence, split};
use crate::db::{self, Connection};
use crate::domain::handle::HandleKind;
use crate::domain::outcome::Rejection;
use crate::domain::{CustomerId, SessionId, State};
use crate::faults;
use attributes::AttributeRows;
use chrono::{DateTime, Utc};
use erasures::ErasureRows;
use futures_util::FutureExt;
use futures_util::future::join_all;
use memberships::MembershipRows;
use merges::MergeRows;
use notes::NoteRows;
use orders::OrderRows;
use privacy_exports::PrivacyExportRows;
use segments::SegmentRows;
use std::collections::BTreeSet;
use wishlists::WishlistRows;

/// What there is to wake somebody for.
pub struct Written {
    /// The logical shards with new messages.
    pub shards: BTreeSet<u16>,
    pub mails: bool,
    pub texts: bool,
    /// Whether a segment's new revision is to be carried to all customers.
    pub walks: bool,
    /// Sessions that ended before their time, and when.
    pub revoked: Vec<(SessionId, DateTime<Utc>)>,
}

impl Written {
    /// Nothing but messages in these shards.
    pub fn of_messages(shards: BTreeSet<u16>) -> Self {
        Self { shards, mails: false, texts: false, walks: false, revoked: Vec::new() }
    }
}

/// The rows to write, by statement.
#[derive(Default)]
pub struct Plan {
    identifiers: ClaimIdentifiers,
    held_identifiers: HoldIdentifiers,
    released_identifiers: ReleaseIdentifiers,
    new_keys: InsertDataKeys,
    new_customers: InsertCustomers,
    customers: UpdateCustomers,
    touched: TouchCustomers,
    deleted: DeleteCustomers,
    new_profiles: InsertProfiles,
    profiles: UpdateProfiles,
    new_preferences: InsertPreferences,
    preferences: UpdatePreferences,
    passwords: SavePasswords,
    deleted_passwords: DeletePasswords,
    deleted_addresses: DeleteAddresses,
    addresses: SaveAddresses,
    deleted_devices: DeleteDevices,
    devices: SaveDevices,
    deleted_identities: DeleteIdentities,
    identities: SaveIdentities,
    sessions: SaveSessions,
    deleted_passkeys: DeletePasskeys,
    passkeys: SavePasskeys,
    consent_entries: InsertConsentEntries,
    consents: SaveConsents,
    wishlists: WishlistRows,
    notes: NoteRows,
    orders: OrderRows,
    merges: MergeRows,
    memberships: MembershipRows,
    privacy_exports: PrivacyExportRows,
    erasures: ErasureRows,
    tokens: SaveTokens,
    flows: SaveFlows,
    deleted_groups: DeleteGroups,
    groups: UpdateGroups,
    new_groups: InsertGroups,
    attributes: AttributeRows,
    segments: SegmentRows,
    deleted_totp: DeleteTotp,
    totp: SaveTotp,
    deleted_backup_codes: DeleteBackupCodes,
    backup_codes: InsertBackupCodes,
    throttles: SaveThrottles,
    mails: InsertMails,
    texts: InsertTextMessages,
    deleted_phones: DeletePhoneConfirmations,
    phones: SavePhoneConfirmations,
    keys: InsertIdempotencyKeys,
    entries: InsertAuditEntries,
    outbox: AppendToOutbox,
    revoked: Vec<(SessionId, DateTime<Utc>)>,
}

/// Writes everything, all or nothing within the caller's transaction. Idempotency keys from before
/// `since` count for nothing and are overwritten.
pub async fn save(
    connection: &Connection,
    folded: &Folded<'_>,
    since: DateTime<Utc>,
) -> Result<Written, Failure> {
    let (plan, shards) = Plan::of(folded, since);
    plan.rows(connection).await?;
    faults::at("batch.rows_written");
    erasures::erase(connection, folded).await?;
    plan.append(connection).await?;
    Ok(plan.written(shards))
}

impl Plan {
    /// What there is to write, and the shards of the messages. Idempotency keys from before `since`
    /// count for nothing and are overwritten.
    pub fn of(folded: &Folded<'_>, since: DateTime<Utc>) -> (Self, BTreeSet<u16>) {
        let (merges, orders) = (MergeRows::of(folded), OrderRows::of(folded));
        let segments = SegmentRows::of(&folded.segments, &folded.known_segments);
        let mut plan = Self { merges, orders, segments, ..Self::default() };
        plan.keys.since = since;
        // Sorted, so that every batch writes rows in one order.
        let mut ids: Vec<_> = folded.after.keys().copied().collect();
        ids.sort();
        let empty = State::default();
        for id in ids {
            let before = folded.before.get(&id).unwrap_or(&empty);
            if let Some(after) = folded.after.get(&id).filter(|after| *after != before) {
                plan.customer(id, before, after);
                if let Some(now) = folded.decided_at.get(&id) {
                    plan.password(id, before, after, *now);
                }
            }
        }
        let shards = plan.records(folded);
        (plan, shards)
    }

    /// Whom to wake once it is committed.
    pub fn written(self, shards: BTreeSet<u16>) -> Written {
        let (mails, texts) = (!self.mails.is_empty(), !self.texts.is_empty());
        let walks = self.segments.begin_walks();
        Written { shards, mails, texts, walks, revoked: self.revoked }
    }

    /// The rows of one customer that differ.
    fn customer(&mut self, id: CustomerId, before: &State, after: &State) {
        match (&before.customer, &after.customer) {
            (None, Some(customer)) => {
                self.new_customers.push(customer);
            }
            (Some(old), Some(new)) if old != new => {
                self.merges.changed(old, new);
                if TouchCustomers::suffices(old, new) {
                    self.touched.push(new);
                } else {
                    self.customers.push(new);
                }
            }
            (Some(_), None) => {
                if let Some(departed) = &after.departed {
                    self.deleted.push(departed);
                }
            }
            // Told of after its end: only its numbers go on.
            (None, None) if before.departed != after.departed => {
                after.departed.iter().for_each(|departed| self.touched.push(departed));
            }
            _ => {}
        }
        match (&before.profile, &after.profile) {
            (None, Some(profile)) => self.new_profiles.push(id, profile),
            (Some(old), Some(new)) if old != new => self.profiles.push(id, new),
            _ => {}
        }
        match (&before.preferences, &after.preferences) {
            (None, Some(preferences)) => self.new_preferences.push(id, preferences),
            (Some(old), Some(new)) if old != new => self.preferences.push(id, new),
            _ => {}
        }
        match (&before.phone_confirmation, &after.phone_confirmation) {
            (Some(_), None) => self.deleted_phones.push(id),
            (old, Some(new)) if old.as_ref() != Some(new) => self.phones.push(id, new),
            _ => {}
        }
        self.books(id, before, after);
        self.wishlists.push(id, &before.wishlists, &after.wishlists);
        self.notes.push(id, &before.notes, &after.notes);
        self.orders.push(id, &before.orders, &after.orders);
        self.memberships.push(id, &before.memberships, &after.memberships);
        self.privacy_exports.push(id, &before.privacy_exports, &after.privacy_exports);
        self.erasures.push(&before.deletions, &after.deletions);
        self.factors(id, before, after);
    }

    /// A password changes without its customer: it is no field of the record.
    fn password(&mut self, id: CustomerId, before: &State, after: &State, now: DateTime<Utc>) {
        match (&before.password_hash, &after.password_hash) {
            (Some(_), None) => self.deleted_passwords.push(id),
            (old, Some(new)) if old.as_ref() != Some(new) => self.passwords.push(id, new, now),
            _ => {}
        }
    }

    /// The lists of one customer, entry by entry.
    fn books(&mut self, id: CustomerId, before: &State, after: &State) {
        for gone in before.addresses.keys().filter(|key| !after.addresses.contains_key(key)) {
            self.deleted_addresses.push(id, *gone);
        }
        for (key, address) in &after.addresses {
            if before.addresses.get(key) != Some(address) {
                self.addresses.push(id, address);
            }
        }
        for gone in before.devices.keys().filter(|key| !after.devices.contains_key(key)) {
            self.deleted_devices.push(id, *gone);
        }
        for (key, device) in &after.devices {
            if before.devices.get(key) != Some(device) {
                self.devices.push(id, device);
            }
        }
        for (key, session) in &after.sessions {
            if before.sessions.get(key) != Some(session) {
                self.sessions.push(id, session);
                // A revoked session is never loaded, so it is revoked just now.
                self.revoked.extend(session.revoked_at.map(|at| (*key, at)));
            }
        }
        for gone in before.passkeys.keys().filter(|key| !after.passkeys.contains_key(key)) {
            self.deleted_passkeys.push(id, *gone);
        }
        for (key, passkey) in &after.passkeys {
            if before.passkeys.get(key) != Some(passkey) {
                self.passkeys.push(id, passkey);
            }
        }
        for gone in before.handles.keys().filter(|key| !after.handles.contains_key(key)) {
            if !self.merges.moves(gone) {
                self.released_identifiers.push(id, gone);
            }
        }
        for (handle, held_until) in &after.handles {
            if before.handles.get(handle) != Some(held_until) && !self.merges.moves(handle) {
                match held_until {
                    None => self.identifiers.push(id, handle),
                    Some(until) => self.held_identifiers.push(id, handle, *until),
                }
            }
        }
        for gone in before.identities.keys().filter(|key| !after.identities.contains_key(*key)) {
            self.deleted_identities.push(id, gone);
        }
        for (key, identity) in &after.identities {
            if before.identities.get(key) != Some(identity) {
                self.identities.push(id, identity);
            }
        }
        for (purpose, channel, consent) in after.consents.all() {
            if before.consents.get(purpose, channel) != Some(consent) {
                self.consents.push(id, purpose, channel, consent);
            }
        }
        for (key, token) in &after.tokens {
            if before.tokens.get(key) != Some(token) {
                self.tokens.push(id, token);
            }
        }
    }

    /// The second factors of one customer.
    fn factors(&mut self, id: CustomerId, before: &State, after: &State) {
        match (&before.totp, &after.totp) {
            (Some(_), None) => self.deleted_totp.push(id),
            (old, Some(new)) if old.as_ref() != Some(new) => self.totp.push(id, new),
            _ => {}
        }
        for hash in
            before.backup_codes.keys().filter(|hash| !after.backup_codes.contains_key(*hash))
        {
            self.deleted_backup_codes.push(id, hash);
        }
        for (hash, issued_at) in &after.backup_codes {
            if !before.backup_codes.contains_key(hash) {
                self.backup_codes.push(id, hash, *issued_at);
            }
        }
    }

    /// Buckets, mails, keys, entries, messages. Returns the shards of the messages.
    fn records(&mut self, folded: &Folded<'_>) -> BTreeSet<u16> {
        for (bucket, throttle, at) in &folded.throttles {
            self.throttles.push(bucket, throttle, *at);
        }
        for flow in &folded.flows {
            self.flows.push(flow);
        }
        for change in &folded.groups {
            match change {
                (None, Some(new)) => self.new_groups.push(&new.group),
                (Some(_), Some(new)) => self.groups.push(&new.group),
                (Some(old), None) => self.deleted_groups.push(&old.group.code),
                (None, None) => {}
            }
        }
        for change in &folded.attributes {
            self.attributes.push(change);
        }
        for (mail, at) in &folded.mails {
            self.mails.push(mail, *at);
        }
        for (text, at) in &folded.texts {
            self.texts.push(text, *at);
        }
        for new in &folded.new_keys {
            self.new_keys.push(new.customer.0, &new.key, new.at);
        }
        for (customer, entry, context) in &folded.consents {
            self.consent_entries.push(*customer, entry, context);
        }
        for (key, customer, outcome, at) in &folded.keys {
            self.keys.push(key, *customer, outcome, *at);
        }
        for entry in &folded.entries {
            self.entries.push(
                entry.id,
                entry.shard,
                entry.customer_id,
                entry.context,
                entry.trace.clone(),
            );
        }
        let mut shards = BTreeSet::new();
        for outgoing in &folded.messages {
            shards.insert(outgoing.shard);
            self.outbox.push(
                outgoing.id,
                outgoing.customer_id,
                outgoing.customer_sequence,
                &outgoing.message,
                outgoing.sealed.as_ref(),
                outgoing.context,
            );
        }
        shards
    }

    /// Writes everything but the messages.
    pub async fn rows(&self, connection: &Connection) -> Result<(), Failure> {
        self.claims(connection).await?;
        // Polled in this order, so that they are sent in it.
        let written = join_all([
            self.new_keys.execute(connection).boxed(),
            self.customers.execute(connection).boxed(),
            self.touched.execute(connection).boxed(),
            self.deleted.execute(connection).boxed(),
            self.deleted_groups.execute(connection).boxed(),
            self.groups.execute(connection).boxed(),
            self.attributes.execute(connection).boxed(),
            self.segments.execute(connection).boxed(),
            self.deleted_passwords.execute(connection).boxed(),
            self.profiles.execute(connection).boxed(),
            self.preferences.execute(connection).boxed(),
            self.deleted_addresses.execute(connection).boxed(),
            self.tokens.execute(connection).boxed(),
            self.flows.execute(connection).boxed(),
            self.held_identifiers.execute(connection).boxed(),
            self.released_identifiers.execute(connection).boxed(),
            self.deleted_totp.execute(connection).boxed(),
            self.totp.execute(connection).boxed(),
            self.deleted_backup_codes.execute(connection).boxed(),
            self.deleted_phones.execute(connection).boxed(),
            self.consents.execute(connection).boxed(),
            self.consent_entries.execute(connection).boxed(),
            self.wishlists.execute(connection).boxed(),
            self.notes.execute(connection).boxed(),
            self.orders.execute(connection).boxed(),
            self.merges.execute(connection).boxed(),
            self.memberships.execute(connection).boxed(),
            self.privacy_exports.execute(connection).boxed(),
            self.erasures.execute(connection).boxed(),
            self.new_groups.execute(connection).boxed(),
            self.new_customers.execute(connection).boxed(),
            self.new_profiles.execute(connection).boxed(),
            self.new_preferences.execute(connection).boxed(),
            self.passwords.execute(connection).boxed(),
            self.addresses.execute(connection).boxed(),
            self.deleted_devices.execute(connection).boxed(),
            self.devices.execute(connection).boxed(),
            self.sessions.execute(connection).boxed(),
            self.backup_codes.execute(connection).boxed(),
            self.throttles.execute(connection).boxed(),
            self.mails.execute(connection).boxed(),
            self.phones.execute(connection).boxed(),
            self.texts.execute(connection).boxed(),
            self.entries.execute(connection).boxed(),
            self.deleted_passkeys.execute(connection).boxed(),
            self.passkeys.execute(connection).boxed(),
            self.deleted_identities.execute(connection).boxed(),
            self.identities.execute(connection).boxed(),
        ]);
        let written = all_done(written.await)?;
        let (new_keys, written) = written.split_first().unwrap_or((&0, &[]));
        if *new_keys < self.new_keys.len() {
            // Sealed by a key that is not the customer's: to be done anew, by the one that is.
            let given = "a customer was given a key meanwhile".to_owned();
            return Err(Failure::NotDone(db::Error::Transient(given)));
        }
        // What must be there already, or may be written by nobody else, in the same order.
        let expected = [
            self.customers.len(),
            self.touched.len(),
            self.deleted.len(),
            self.deleted_groups.len(),
            self.groups.len(),
            self.attributes.len(),
            self.segments.len(),
            self.deleted_passwords.len(),
            self.profiles.len(),
            self.preferences.len(),
            self.deleted_addresses.len(),
            self.tokens.len(),
            self.flows.len(),
            self.held_identifiers.len(),
            self.released_identifiers.len(),
            self.deleted_totp.len(),
            self.totp.len(),
            self.deleted_backup_codes.len(),
            self.deleted_phones.len(),
            self.consents.len(),
            self.consent_entries.len(),
            self.wishlists.len(),
            self.notes.len(),
            self.orders.len(),
            self.merges.len(),
            self.memberships.len(),
            self.privacy_exports.len(),
            self.erasures.len(),
        ];
        let complete = written.iter().zip(expected).all(|(rows, expected)| *rows == expected);
        if !complete {
            // A locked row that is not there, or a token or code used by somebody without its lock.
            return Err(Failure::Refused(Rejection::Conflict));
        }
        Ok(())
    }

    /// The locks of uniqueness, first, so that who comes too late has written nothing else.
    async fn claims(&self, connection: &Connection) -> Result<(), Failure> {
        let (keys, identifiers) =
            tokio::join!(self.keys.execute(connection), self.identifiers.claim(connection));
        let (lost, identifiers) =
            identifiers.map_or_else(|error| (None, Err(error)), |lost| (lost, Ok(0)));
        let keys = all_done([keys, identifiers])?.first().copied().unwrap_or_default();
        // Before the addresses: who lost both to the same request of another node is told what
        // that one was told, not that its own address is taken.
        if keys < self.keys.len() {
            return Err(Failure::KeyTaken);
        }
        if keys > 0 && faults::key_before_effect() {
            split(connection).await?;
        }
        if let Some(kind) = lost {
            return Err(Failure::Refused(match kind {
                HandleKind::Email => Rejection::EmailTaken,
                HandleKind::Phone => Rejection::PhoneTaken,
                HandleKind::Social(_) => Rejection::IdentityTaken,
            }));
        }
        Ok(())
    }

    /// Appends the messages: the last statement before the commit, since it takes the locks that
    /// make commit order.
    pub async fn append(&self, connection: &Connection) -> Result<(), Failure> {
        self.outbox.execute(connection).await?;
        Ok(())
    }
}

/// The affected rows of statements that were sent together. Of several errors the one that tells
/// the cause: once a statement fails, those behind it only say that the transaction is over.
pub(super) fn all_done(
    results: impl IntoIterator<Item = Result<usize, QueryError>>,
) -> Result<Vec<usize>, QueryError> {
    let mut counts = Vec::new();
    let mut consequence = None;
    for result in results {
        match result {
            Ok(rows) => counts.push(rows),
            Err(error) if is_consequence(&error) => consequence = Some(error),
            Err(error) => return Err(error),
        }
    }
    consequence.map_or(Ok(counts), Err)
}
