//! What the audit trail keeps of each event in the clear: ids, kinds and names, never a value.

use super::{Event, PasswordCause, Trace};
use crate::domain::group::GroupEvent;
use serde_json::json;

impl Event {
    /// The audit entry of this event. `None` only for an attempt's claim and its giving back, and for
    /// flows: they change nobody's account, and what they come to (failed, refused, signed in) is an
    /// entry.
    pub fn trace(&self) -> Option<Trace> {
        let trace = |action, data| Some(Trace { action, data });
        match self {
            Self::Created(created) => {
                trace("customer.created", json!({ "source": created.source }))
            }
            Self::CustomerUpdated { customer, changed } => trace(
                "customer.updated",
                json!({ "changed": changed, "version": customer.version }),
            ),
            Self::ProfileUpdated { changed, version, .. } => {
                trace("profile.updated", json!({ "changed": changed, "version": version }))
            }
            Self::PreferencesNoted { changed, version, .. } => {
                trace("customer.updated", json!({ "changed": changed, "version": version }))
            }
            Self::PreferencesUpdated { preferences, changed } => trace(
                "preferences.updated",
                json!({ "changed": changed, "version": preferences.version }),
            ),
            Self::GroupChanged { from, to } => {
                trace("customer.group_changed", json!({ "from": from, "to": to }))
            }
            Self::PhoneChanged { .. } => trace("customer.phone_changed", json!({})),
            Self::PhoneRequested(waiting) => {
                trace("phone.requested", json!({ "expires_at": waiting.expires_at }))
            }
            Self::PhoneCodeFailed => trace("phone.code_failed", json!({})),
            Self::PhoneRequestDropped => trace("phone.request_dropped", json!({})),
            Self::PhoneVerified { .. } | Self::PhoneTaken { .. } => {
                trace("customer.verified", json!({ "channel": "phone" }))
            }
            Self::TextQueued(text) => trace(
                "text_message.queued",
                json!({ "text_message_id": text.id, "kind": text.body.kind() }),
            ),
            Self::EmailChanged { cause, .. } => {
                trace("customer.email_changed", json!({ "cause": cause }))
            }
            Self::StatusChanged { from, to, reason, .. } => trace(
                "customer.status_changed",
                json!({ "from": from, "to": to, "reason": reason }),
            ),
            Self::Group(GroupEvent::Created(group)) => {
                trace("group.created", json!({ "group": group.code }))
            }
            Self::Group(GroupEvent::Renamed(group)) => {
                trace("group.renamed", json!({ "group": group.code, "version": group.version }))
            }
            Self::Group(GroupEvent::Deleted { code }) => {
                trace("group.deleted", json!({ "group": code }))
            }
            Self::CustomerDeleted { merged_into: None, .. } => trace("customer.deleted", json!({})),
            Self::CustomerDeleted { merged_into: Some(into), .. } => {
                trace("customer.deleted", json!({ "merged_into": into }))
            }
            Self::Merged(report) => trace(
                "customer.merged",
                json!({ "from": report.from, "moved": report.moved, "defaults": report.defaults,
                        "changed": report.changed, "kept": report.kept,
                        "consents": report.consents, "ended": report.ended,
                        "version": report.version }),
            ),
            Self::EmailVerified { .. } => trace("customer.verified", json!({ "channel": "email" })),
            Self::TokenIssued(token) => trace(
                "token.issued",
                json!({ "purpose": token.purpose, "expires_at": token.expires_at }),
            ),
            Self::TokenUsed { .. } => trace("token.used", json!({})),
            Self::TokenVoided { purpose, .. } => {
                trace("token.voided", json!({ "purpose": purpose }))
            }
            Self::MailQueued(mail) => {
                trace("mail.queued", json!({ "mail_id": mail.id, "kind": mail.body.kind() }))
            }
            Self::AttemptFailed { factor, .. } => {
                trace("sign_in.failed", json!({ "factor": factor }))
            }
            Self::SignInLocked { factor, until } => {
                trace("sign_in.locked", json!({ "factor": factor, "until": until }))
            }
            Self::SignInRefused { refusal } => {
                trace("sign_in.refused", json!({ "reason": refusal }))
            }
            Self::PasswordRehashed { .. } => trace("password.rehashed", json!({})),
            Self::PasswordChosen { .. } => trace("password.chosen", json!({})),
            Self::PasswordChanged { cause, .. } => {
                trace("customer.password_changed", json!({ "cause": cause }))
            }
            Self::PasswordVoided => {
                trace("customer.password_changed", json!({ "cause": PasswordCause::Voided }))
            }
            Self::DeviceRemembered(device) => {
                trace("device.remembered", json!({ "device_id": device.id }))
            }
            Self::DeviceForgotten { id } => trace("device.forgotten", json!({ "device_id": id })),
            Self::SignedIn { session } => trace(
                "sign_in.succeeded",
                json!({ "session_id": session.id, "method": session.method,
                        "second_factor": session.second_factor }),
            ),
            Self::SessionRefreshed { session } => trace(
                "session.refreshed",
                json!({ "session_id": session.id, "generation": session.generation }),
            ),
            Self::SessionRevoked { id, reason, .. } => {
                trace("session.revoked", json!({ "session_id": id, "reason": reason }))
            }
            Self::SecondFactorAsked { methods } => {
                trace("sign_in.second_factor_asked", json!({ "methods": methods }))
            }
            Self::TotpStarted(_) => trace("mfa.totp_started", json!({})),
            Self::TotpEnabled { .. } => trace("mfa.totp_enabled", json!({})),
            Self::TotpRemoved { enabled } => {
                trace("mfa.totp_removed", json!({ "enabled": enabled }))
            }
            Self::BackupCodesIssued { hashes, .. } => {
                trace("mfa.backup_codes_issued", json!({ "number": hashes.len() }))
            }
            Self::BackupCodeUsed { left, .. } => {
                trace("mfa.backup_code_used", json!({ "left": left }))
            }
            Self::BackupCodesRemoved => trace("mfa.backup_codes_removed", json!({})),
            Self::FactorsReset => trace("mfa.reset", json!({})),
            Self::AddressAdded { address } => trace(
                "address.created",
                json!({ "address_id": address.id, "version": address.version }),
            ),
            Self::AddressUpdated { address, changed } => trace(
                "address.updated",
                json!({ "address_id": address.id, "changed": changed, "version": address.version }),
            ),
            Self::AddressDeleted { id } => trace("address.deleted", json!({ "address_id": id })),
            Self::DefaultAddressChanged { kind, from, to, .. } => {
                trace("address.default_changed", json!({ "kind": kind, "from": from, "to": to }))
            }
            Self::IdentityLinked(identity) => {
                trace("customer.identity_linked", json!({ "provider": identity.account.provider }))
            }
            Self::IdentityUnlinked { provider } => {
                trace("customer.identity_unlinked", json!({ "provider": provider }))
            }
            Self::PasskeyAdded(passkey) => trace(
                "passkey.added",
                json!({ "passkey_id": passkey.id, "backup_eligible": passkey.backup_eligible }),
            ),
            Self::PasskeyChanged { passkey, switched } => trace(
                "passkey.changed",
                json!({ "passkey_id": passkey.id, "second_factor": switched,
                        "version": passkey.version }),
            ),
            Self::PasskeyRemoved { id } => trace("passkey.removed", json!({ "passkey_id": id })),
            Self::PasskeyUsed { id, .. } => trace("passkey.used", json!({ "passkey_id": id })),
            Self::PasskeySuspected { id } => {
                trace("passkey.suspected", json!({ "passkey_id": id }))
            }
            Self::Consent(entry) => trace(
                if entry.granted { "consent.granted" } else { "consent.withdrawn" },
                json!({ "purpose": entry.purpose, "channel": entry.channel,
                        "text_version": entry.text_version, "source": entry.source,
                        "entry": entry.number }),
            ),
            Self::Wishlist(event) => Some(event.trace()),
            Self::Attribute(event) => Some(event.trace()),
            Self::Segment(event) => Some(event.trace()),
            Self::Membership(event) => event.trace(),
            Self::Note(event) => Some(event.trace()),
            Self::PrivacyExport(event) => Some(event.trace()),
            Self::Order(event) => Some(event.trace()),
            Self::Erasure(event) => Some(event.trace()),
            Self::Unlocked { .. } => trace("sign_in.unlocked", json!({})),
            Self::AttemptClaimed { .. }
            | Self::AttemptReleased { .. }
            | Self::AttemptSucceeded { .. }
            | Self::TotpStepUsed { .. }
            | Self::FlowOpened(_)
            | Self::FlowUsed { .. }
            | Self::FlowFailed => None,
        }
    }
}
