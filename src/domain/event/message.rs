//! What the outside is told of each event, in the types of the contract.

use super::Event;
use crate::domain::consent::Entry;
use crate::domain::event::PasswordCause;
use crate::domain::ids::{CustomerId, PasskeyId};
use crate::domain::merge::MergeReport;
use crate::domain::message::*;

impl Event {
    /// The message of this event about customer `id`, or about what is no customer's; `None` where
    /// the contract names none.
    pub fn message(&self, id: CustomerId) -> Option<Message> {
        let customer_id = id;
        Some(match self {
            Self::Created(created) => {
                let customer = &created.customer;
                let (customer_type, group) = (customer.customer_type, customer.group.clone());
                let source = created.source;
                CustomerCreated { customer_id, customer_type, group, source }.into()
            }
            Self::CustomerUpdated { customer, changed } => {
                updated(customer_id, changed, customer.version)
            }
            Self::ProfileUpdated { changed, version, .. }
            | Self::PreferencesNoted { changed, version, .. } => {
                updated(customer_id, changed, *version)
            }
            Self::PreferencesUpdated { preferences, changed } => {
                let (changed, version) = (changed.as_slice().into(), preferences.version);
                PreferencesUpdated { customer_id, changed, version }.into()
            }
            Self::GroupChanged { from, to } => {
                GroupChanged { customer_id, from: from.clone(), to: to.clone() }.into()
            }
            Self::PhoneChanged { .. } => PhoneChanged { customer_id }.into(),
            Self::EmailChanged { cause, .. } => EmailChanged { customer_id, cause: *cause }.into(),
            Self::StatusChanged { from, to, reason, .. } => {
                let reason = reason.clone();
                StatusChanged { customer_id, from: *from, to: *to, reason }.into()
            }
            Self::CustomerDeleted { merged_into, .. } => {
                CustomerDeleted { customer_id, merged_into: *merged_into }.into()
            }
            Self::Merged(report) => merged(customer_id, report),
            Self::EmailVerified { .. } => Verified { customer_id, channel: Channel::Email }.into(),
            Self::PhoneVerified { .. } | Self::PhoneTaken { .. } => {
                Verified { customer_id, channel: Channel::Phone }.into()
            }
            Self::SignedIn { session } => {
                let (method, second_factor) = (session.method, session.second_factor);
                SignedIn { customer_id, session_id: session.id, method, second_factor }.into()
            }
            Self::SignInLocked { factor, until } => {
                SignInLocked { customer_id, factor: *factor, until: *until }.into()
            }
            Self::PasswordChanged { cause, .. } => {
                PasswordChanged { customer_id, cause: *cause }.into()
            }
            Self::PasswordVoided => {
                PasswordChanged { customer_id, cause: PasswordCause::Voided }.into()
            }
            Self::SessionRevoked { id, reason, .. } => {
                SessionRevoked { customer_id, session_id: *id, reason: *reason }.into()
            }
            Self::TotpEnabled { .. } => {
                MfaChanged::Totp { customer_id, change: TotpChange::Enabled }.into()
            }
            Self::TotpRemoved { enabled: true } => {
                MfaChanged::Totp { customer_id, change: TotpChange::Removed }.into()
            }
            Self::BackupCodesIssued { .. } => backup_codes(customer_id, BackupCodeChange::Issued),
            Self::BackupCodeUsed { .. } => backup_codes(customer_id, BackupCodeChange::Used),
            Self::BackupCodesRemoved => backup_codes(customer_id, BackupCodeChange::Removed),
            Self::PasskeyAdded(passkey) => {
                of_passkey(customer_id, passkey.id, PasskeyChange::Added)
            }
            Self::PasskeyRemoved { id } => of_passkey(customer_id, *id, PasskeyChange::Removed),
            Self::PasskeyChanged { passkey, switched: Some(on) } => {
                let change = if *on { PasskeyChange::Enabled } else { PasskeyChange::Disabled };
                of_passkey(customer_id, passkey.id, change)
            }
            Self::PasskeySuspected { id } => of_passkey(customer_id, *id, PasskeyChange::Suspected),
            Self::AddressAdded { address } => {
                let (address_id, version) = (address.id, address.version);
                AddressCreated { customer_id, address_id, version }.into()
            }
            Self::AddressUpdated { address, changed } => {
                let (address_id, version) = (address.id, address.version);
                let changed = changed.as_slice().into();
                AddressUpdated { customer_id, address_id, changed, version }.into()
            }
            Self::AddressDeleted { id } => AddressDeleted { customer_id, address_id: *id }.into(),
            Self::DefaultAddressChanged { kind, from, to, .. } => {
                AddressDefaultChanged { customer_id, kind: *kind, from: *from, to: *to }.into()
            }
            Self::IdentityLinked(identity) => {
                let provider = identity.account.provider.clone();
                IdentityLinked { customer_id, provider }.into()
            }
            Self::IdentityUnlinked { provider } => {
                IdentityUnlinked { customer_id, provider: provider.clone() }.into()
            }
            Self::Consent(entry) => declared(customer_id, entry),
            Self::Wishlist(event) => event.message(customer_id),
            Self::Order(event) => return event.message(customer_id),
            Self::PrivacyExport(event) => return event.message(customer_id),
            Self::Attribute(event) => event.message(),
            Self::Segment(event) => event.message(),
            Self::Membership(event) => return event.message(customer_id),
            Self::Erasure(event) => return event.message(customer_id),
            Self::TokenIssued(_)
            | Self::TokenUsed { .. }
            | Self::TokenVoided { .. }
            | Self::MailQueued(_)
            | Self::PhoneRequested(_)
            | Self::PhoneCodeFailed
            | Self::PhoneRequestDropped
            | Self::TextQueued(_)
            | Self::AttemptClaimed { .. }
            | Self::AttemptFailed { .. }
            | Self::AttemptReleased { .. }
            | Self::AttemptSucceeded { .. }
            | Self::SecondFactorAsked { .. }
            | Self::TotpStarted(_)
            | Self::TotpStepUsed { .. }
            | Self::TotpRemoved { enabled: false }
            | Self::FactorsReset
            | Self::FlowOpened(_)
            | Self::FlowUsed { .. }
            | Self::FlowFailed
            | Self::SignInRefused { .. }
            | Self::PasswordRehashed { .. }
            | Self::PasswordChosen { .. }
            | Self::DeviceRemembered(_)
            | Self::DeviceForgotten { .. }
            | Self::SessionRefreshed { .. }
            | Self::PasskeyChanged { switched: None, .. }
            | Self::PasskeyUsed { .. }
            | Self::Note(_)
            | Self::Group(_)
            | Self::Unlocked { .. } => return None,
        })
    }
}

fn declared(customer_id: CustomerId, entry: &Entry) -> Message {
    let (purpose, channel, source) = (entry.purpose.clone(), entry.channel, entry.source);
    let number = entry.number;
    match &entry.text_version {
        Some(text_version) => ConsentGranted {
            customer_id,
            purpose,
            channel,
            text_version: text_version.clone(),
            locale: entry.locale.as_ref().map(|locale| locale.as_str().to_owned()),
            source,
            entry: number,
        }
        .into(),
        None => ConsentWithdrawn { customer_id, purpose, channel, source, entry: number }.into(),
    }
}

fn merged(customer_id: CustomerId, report: &MergeReport) -> Message {
    let moved = &report.moved;
    CustomerMerged {
        customer_id,
        from: report.from,
        addresses: moved.addresses.len(),
        wishlists: moved.wishlists.len(),
        wishlist_items: moved.wishlist_items,
        orders: moved.orders,
        identities: moved.identities.clone(),
        tags: moved.tags,
        changed: report.changed.clone(),
        version: report.version,
    }
    .into()
}

fn updated(customer_id: CustomerId, changed: &[String], version: i64) -> Message {
    CustomerUpdated { customer_id, changed: changed.into(), version }.into()
}

fn backup_codes(customer_id: CustomerId, change: BackupCodeChange) -> Message {
    MfaChanged::BackupCode { customer_id, change }.into()
}

fn of_passkey(customer_id: CustomerId, passkey_id: PasskeyId, change: PasskeyChange) -> Message {
    MfaChanged::Passkey { customer_id, passkey_id, change }.into()
}
