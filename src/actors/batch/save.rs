//! Step three: what differs from what was loaded, in a few bulk statements sent without waiting in
//! between; the outbox last, since it takes the locks that make commit order.

use super::Failure;
use super::fold::Folded;
use crate::db::Connection;
use crate::db::statements::*;
use crate::db::transactions::{QueryError, is_consequence};
use crate::domain::handle::HandleKind;
use crate::domain::outcome::Rejection;
use crate::domain::{CustomerId, SessionId, State};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;

/// What there is to wake somebody for.
pub struct Written {
    /// The logical shards with new messages.
    pub shards: BTreeSet<u16>,
    pub mails: bool,
    pub texts: bool,
    /// Sessions that ended before their time, and when.
    pub revoked: Vec<(SessionId, DateTime<Utc>)>,
}

#[derive(Default)]
struct Plan {
    identifiers: ClaimIdentifiers,
    held_identifiers: HoldIdentifiers,
    released_identifiers: ReleaseIdentifiers,
    new_customers: InsertCustomers,
    customers: UpdateCustomers,
    touched: TouchCustomers,
    new_profiles: InsertProfiles,
    profiles: UpdateProfiles,
    new_preferences: InsertPreferences,
    preferences: UpdatePreferences,
    passwords: SavePasswords,
    deleted_addresses: DeleteAddresses,
    addresses: SaveAddresses,
    deleted_devices: DeleteDevices,
    devices: SaveDevices,
    deleted_identities: DeleteIdentities,
    identities: SaveIdentities,
    sessions: SaveSessions,
    tokens: SaveTokens,
    flows: SaveFlows,
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
    let mut plan = Plan::default();
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
    let (mails, texts) = (!plan.mails.is_empty(), !plan.texts.is_empty());
    plan.execute(connection).await?;
    Ok(Written { shards, mails, texts, revoked: plan.revoked })
}

impl Plan {
    /// The rows of one customer that differ.
    fn customer(&mut self, id: CustomerId, before: &State, after: &State) {
        match (&before.customer, &after.customer) {
            (None, Some(customer)) => {
                self.new_customers.push(customer);
            }
            (Some(old), Some(new)) if old != new => {
                if TouchCustomers::suffices(old, new) {
                    self.touched.push(new);
                } else {
                    self.customers.push(new);
                }
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
        self.factors(id, before, after);
    }

    /// A password changes without its customer: it is no field of the record.
    fn password(&mut self, id: CustomerId, before: &State, after: &State, now: DateTime<Utc>) {
        if let Some(hash) = after.password_hash.as_ref()
            && before.password_hash.as_ref() != Some(hash)
        {
            self.passwords.push(id, hash, now);
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
        for gone in before.handles.keys().filter(|key| !after.handles.contains_key(key)) {
            self.released_identifiers.push(id, gone);
        }
        for (handle, held_until) in &after.handles {
            if before.handles.get(handle) != Some(held_until) {
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
        for (mail, at) in &folded.mails {
            self.mails.push(mail, *at);
        }
        for (text, at) in &folded.texts {
            self.texts.push(text, *at);
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
                outgoing.context,
            );
        }
        shards
    }

    async fn execute(&self, connection: &Connection) -> Result<(), Failure> {
        // The locks of uniqueness first, so that who comes too late has written nothing else.
        let (keys, identifiers) =
            tokio::join!(self.keys.execute(connection), self.identifiers.claim(connection));
        let (lost, identifiers) =
            identifiers.map_or_else(|error| (None, Err(error)), |lost| (lost, Ok(0)));
        let [keys, _] = all_done([keys, identifiers])?;
        // Before the addresses: who lost both to the same request of another node is told what
        // that one was told, not that its own address is taken.
        if keys < self.keys.len() {
            return Err(Failure::KeyTaken);
        }
        if let Some(kind) = lost {
            return Err(Failure::Refused(match kind {
                HandleKind::Email => Rejection::EmailTaken,
                HandleKind::Phone => Rejection::PhoneTaken,
                HandleKind::Social(_) => Rejection::IdentityTaken,
            }));
        }
        let (
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
            k,
            l,
            m,
            n,
            o,
            p,
            q,
            r,
            s,
            t,
            u,
            v,
            w,
            x,
            y,
            z,
            z2,
            z3,
            z4,
        ) = tokio::join!(
            self.customers.execute(connection),
            self.touched.execute(connection),
            self.profiles.execute(connection),
            self.preferences.execute(connection),
            self.deleted_addresses.execute(connection),
            self.tokens.execute(connection),
            self.flows.execute(connection),
            self.held_identifiers.execute(connection),
            self.released_identifiers.execute(connection),
            self.deleted_phones.execute(connection),
            self.deleted_totp.execute(connection),
            self.totp.execute(connection),
            self.deleted_backup_codes.execute(connection),
            self.new_customers.execute(connection),
            self.new_profiles.execute(connection),
            self.new_preferences.execute(connection),
            self.passwords.execute(connection),
            self.addresses.execute(connection),
            self.deleted_devices.execute(connection),
            self.devices.execute(connection),
            self.sessions.execute(connection),
            self.backup_codes.execute(connection),
            self.throttles.execute(connection),
            self.mails.execute(connection),
            self.phones.execute(connection),
            self.texts.execute(connection),
            self.entries.execute(connection),
            self.deleted_identities.execute(connection),
            self.identities.execute(connection),
        );
        let counts = all_done([
            a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w, x, y, z, z2, z3,
            z4,
        ])?;
        let [
            customers,
            touched,
            profiles,
            preferences,
            deleted,
            tokens,
            flows,
            held,
            released,
            phones,
            rest @ ..,
        ] = counts;
        let [no_totp, totp, no_codes, ..] = rest;
        let complete = customers == self.customers.len()
            && touched == self.touched.len()
            && profiles == self.profiles.len()
            && preferences == self.preferences.len()
            && deleted == self.deleted_addresses.len()
            && tokens == self.tokens.len()
            && flows == self.flows.len()
            && held == self.held_identifiers.len()
            && released == self.released_identifiers.len()
            && phones == self.deleted_phones.len()
            && no_totp == self.deleted_totp.len()
            && totp == self.totp.len()
            && no_codes == self.deleted_backup_codes.len();
        if !complete {
            // A locked row that is not there, or a token or code used by somebody without its lock.
            return Err(Failure::Refused(Rejection::Conflict));
        }
        self.outbox.execute(connection).await?;
        Ok(())
    }
}

/// The affected rows of statements that were sent together. Of several errors the one that tells
/// the cause: once a statement fails, those behind it only say that the transaction is over.
fn all_done<const N: usize>(
    results: [Result<usize, QueryError>; N],
) -> Result<[usize; N], Failure> {
    let mut counts = [0; N];
    let mut consequence = None;
    for (count, result) in counts.iter_mut().zip(results) {
        match result {
            Ok(rows) => *count = rows,
            Err(error) if is_consequence(&error) => consequence = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    consequence.map_or(Ok(counts), |error| Err(error.into()))
}
