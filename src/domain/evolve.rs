//! The state after an event. Total: an event that was decided always applies.

mod wishlists;

use super::event::Event;
use super::group::{GroupEvent, Standing};
use super::handle::{Handle, HandleKind};
use super::ids::AddressId;
use super::note::Notes;
use super::order::Orders;
use super::state::State;
use super::status::Status;
use super::wishlist::Wishlists;
use chrono::{DateTime, Utc};

/// Applies one event.
pub fn evolve(state: &mut State, event: &Event) {
    match event {
        Event::Created(created) => {
            state.handles.insert(Handle::email(&created.customer.email), None);
            hold(state, &created.profile.custom);
            state.customer = Some(created.customer.clone());
            state.profile = Some(created.profile.clone());
            state.preferences = Some(created.preferences.clone());
            state.password_hash.clone_from(&created.password_hash);
        }
        Event::CustomerUpdated { customer, .. } => state.customer = Some((**customer).clone()),
        Event::ProfileUpdated { profile, at, .. } => {
            hold(state, &profile.custom);
            state.profile = Some((**profile).clone());
            touch(state, *at);
        }
        Event::PreferencesUpdated { preferences, .. } => {
            hold(state, &preferences.custom);
            state.preferences = Some((**preferences).clone());
        }
        Event::PreferencesNoted { at, .. } => touch(state, *at),
        Event::StatusChanged { from, to, at, .. } => change_status(state, *from, *to, *at),
        Event::Group(GroupEvent::Created(group) | GroupEvent::Renamed(group)) => {
            let in_use = state.group.as_ref().is_some_and(|standing| standing.in_use);
            state.group = Some(Standing { group: group.clone(), in_use });
        }
        Event::Group(GroupEvent::Deleted { .. }) => state.group = None,
        Event::Attribute(event) => event.apply(&mut state.attributes),
        Event::Segment(event) => event.apply(&mut state.segments),
        Event::Membership(event) => event.apply(&mut state.memberships),
        Event::Erasure(event) => event.apply(state),
        Event::CustomerDeleted { at, merged_into } => {
            depart(state, *at);
            if merged_into.is_some() {
                leave(state);
            }
        }
        Event::PhoneTaken { phone } => {
            state.handles.insert(Handle::phone(phone), None);
        }
        Event::EmailVerified { at } => {
            if let Some(customer) = &mut state.customer {
                customer.email_verified_at = Some(*at);
            }
            touch(state, *at);
        }
        Event::PhoneChanged { .. } => {
            // Whoever has the old number signs in by it no more.
            state.handles.retain(|handle, _| handle.kind != HandleKind::Phone);
        }
        Event::PhoneRequested(waiting) => state.phone_confirmation = Some((**waiting).clone()),
        Event::PhoneCodeFailed => {
            if let Some(waiting) = &mut state.phone_confirmation {
                waiting.tries += 1;
            }
        }
        Event::PhoneRequestDropped => state.phone_confirmation = None,
        Event::PhoneVerified { phone, at } => {
            state.phone_confirmation = None;
            state.handles.insert(Handle::phone(phone), None);
            if let Some(customer) = &mut state.customer {
                customer.phone_verified_at = Some(*at);
            }
            touch(state, *at);
        }
        Event::EmailChanged { from, to, held_until, .. } => {
            match held_until {
                Some(_) => state.handles.insert(Handle::email(from), *held_until),
                None => state.handles.remove(&Handle::email(from)),
            };
            state.handles.insert(Handle::email(to), None);
        }
        Event::TokenIssued(token) => {
            // Expired ones too: the table allows one token of a purpose that is neither used nor void.
            for older in state.tokens.values_mut() {
                if older.purpose == token.purpose
                    && older.used_at.is_none()
                    && older.voided_at.is_none()
                {
                    older.voided_at = Some(token.created_at);
                }
            }
            state.tokens.insert(token.hash, (**token).clone());
        }
        Event::TokenUsed { hash, at } => {
            if let Some(token) = state.tokens.get_mut(hash) {
                token.used_at = Some(*at);
            }
        }
        Event::AttemptClaimed { bucket, throttle }
        | Event::AttemptFailed { bucket, throttle, .. }
        | Event::AttemptReleased { bucket, throttle }
        | Event::AttemptSucceeded { bucket, throttle } => {
            state.throttles.insert(*bucket, throttle.clone());
        }
        Event::Unlocked { buckets } => {
            for bucket in buckets {
                let unlocked = state.throttle(bucket).unlocked();
                state.throttles.insert(*bucket, unlocked);
            }
        }
        Event::TotpStarted(totp) => state.totp = Some((**totp).clone()),
        Event::TotpEnabled { step, at } => {
            if let Some(totp) = &mut state.totp {
                totp.confirmed_at = Some(*at);
                totp.last_step = Some(*step);
            }
        }
        Event::TotpStepUsed { step } => {
            if let Some(totp) = &mut state.totp {
                totp.last_step = Some(*step);
            }
        }
        Event::TotpRemoved { .. } => state.totp = None,
        Event::BackupCodesIssued { hashes, at } => {
            state.backup_codes = hashes.iter().map(|hash| (*hash, *at)).collect();
        }
        Event::BackupCodeUsed { hash, .. } => {
            state.backup_codes.remove(hash);
        }
        Event::BackupCodesRemoved => state.backup_codes.clear(),
        Event::FlowOpened(flow) => state.flow = Some((**flow).clone()),
        Event::FlowUsed { at } => {
            if let Some(flow) = &mut state.flow {
                flow.used_at = Some(*at);
            }
        }
        Event::FlowFailed => {
            if let Some(flow) = &mut state.flow {
                flow.failures += 1;
            }
        }
        Event::TokenVoided { hash, at, .. } => {
            if let Some(token) = state.tokens.get_mut(hash) {
                token.voided_at = Some(*at);
            }
        }
        Event::PasswordRehashed { hash }
        | Event::PasswordChosen { hash }
        | Event::PasswordChanged { hash, .. } => {
            state.password_hash = Some(hash.as_str().to_owned())
        }
        Event::PasswordVoided => state.password_hash = None,
        Event::DeviceRemembered(device) => {
            state.devices.insert(device.id, (**device).clone());
        }
        Event::DeviceForgotten { id } => {
            state.devices.remove(id);
        }
        Event::SignedIn { session, .. } => {
            if let Some(customer) = &mut state.customer {
                customer.last_sign_in_at = Some(session.created_at);
            }
            if let Some(device) = session.device_id.and_then(|id| state.devices.get_mut(&id)) {
                device.last_used_at = session.created_at;
            }
            state.sessions.insert(session.id, (**session).clone());
        }
        Event::SessionRefreshed { session } => {
            state.sessions.insert(session.id, (**session).clone());
        }
        Event::SessionRevoked { id, at, .. } => {
            if let Some(session) = state.sessions.get_mut(id) {
                session.revoked_at = Some(*at);
            }
        }
        Event::PasskeyAdded(passkey) | Event::PasskeyChanged { passkey, .. } => {
            state.passkeys.insert(passkey.id, (**passkey).clone());
        }
        Event::PasskeyRemoved { id } => {
            state.passkeys.remove(id);
        }
        Event::PasskeyUsed { id, counter, backed_up, at } => {
            if let Some(passkey) = state.passkeys.get_mut(id) {
                passkey.counter = *counter;
                // What was made to stay on its device is never told to have left it.
                passkey.backed_up = passkey.backup_eligible && *backed_up;
                passkey.last_used_at = Some(*at);
            }
        }
        Event::AddressAdded { address } | Event::AddressUpdated { address, .. } => {
            state.addresses.insert(address.id, (**address).clone());
        }
        Event::AddressDeleted { id } => {
            state.addresses.remove(id);
        }
        Event::DefaultAddressChanged { kind, from, to, at } => {
            let mut set = |id: &AddressId, on: bool| {
                if let Some(address) = state.addresses.get_mut(id) {
                    address.set_default(*kind, on);
                    address.version += 1;
                    address.updated_at = *at;
                    if on {
                        address.last_used_at = *at;
                    }
                }
            };
            if let Some(from) = from {
                set(from, false);
            }
            set(to, true);
        }
        Event::IdentityLinked(identity) => {
            state.handles.insert(identity.account.handle(), None);
            state.identities.insert(identity.account.provider.clone(), (**identity).clone());
        }
        Event::IdentityUnlinked { provider } => {
            if let Some(identity) = state.identities.remove(provider) {
                state.handles.remove(&identity.account.handle());
            }
        }
        Event::Note(event) => event.apply(&mut state.notes),
        Event::PrivacyExport(event) => event.apply(&mut state.privacy_exports),
        Event::Order(event) => event.apply(&mut state.orders),
        Event::Consent(entry) => {
            state.consents.record(entry);
            if let Some(customer) = &mut state.customer {
                // While a deletion is scheduled there is no advertising, whatever is left of the consents.
                let frozen = customer.status == Status::DeletionScheduled;
                customer.accepts_marketing = !frozen && state.consents.accepts_marketing();
            }
        }
        Event::Wishlist(event) => wishlists::evolve(&mut state.wishlists, event),
        Event::GroupChanged { .. }
        | Event::MailQueued(_)
        | Event::TextQueued(_)
        | Event::SignInLocked { .. }
        | Event::SecondFactorAsked { .. }
        | Event::FactorsReset
        | Event::Merged(_)
        | Event::SignInRefused { .. }
        | Event::PasskeySuspected { .. } => {}
    }
}

/// Somebody holds values of these attributes, for whoever comes later in the batch.
fn hold(state: &mut State, values: &serde_json::Map<String, serde_json::Value>) {
    for (key, standing) in &mut state.attributes.named {
        standing.in_use |= values.contains_key(key.as_str());
    }
}

/// The customer changed, though in a part of its own.
fn touch(state: &mut State, at: DateTime<Utc>) {
    if let Some(customer) = &mut state.customer {
        customer.version += 1;
        customer.updated_at = at;
    }
}

/// Who is deleted can be found by nothing and has no way in. What it was stays for the audit and
/// for erasure.
fn depart(state: &mut State, at: DateTime<Utc>) {
    touch(state, at);
    state.departed = state.customer.take();
    state.handles.clear();
    state.password_hash = None;
    state.totp = None;
    state.backup_codes.clear();
    state.passkeys.clear();
    state.identities.clear();
    state.devices.clear();
    state.phone_confirmation = None;
    for token in state.tokens.values_mut().filter(|token| token.used_at.is_none()) {
        token.voided_at.get_or_insert(at);
    }
}

/// What belongs to another customer now is not this one's any more.
fn leave(state: &mut State) {
    state.addresses.clear();
    state.wishlists = Wishlists::default();
    state.notes = Notes::default();
    state.orders = Orders::default();
}

fn change_status(state: &mut State, from: Status, to: Status, at: DateTime<Utc>) {
    if let Some(customer) = &mut state.customer {
        customer.status = to;
        customer.status_before_deletion = (to == Status::DeletionScheduled).then_some(from);
    }
    touch(state, at);
}
