//! How long rows are kept that end of themselves: by the configuration, or by what they are.

use crate::config::Config;
use crate::db::retention::Perishable;
use crate::domain::second_factor::SETUP_LIFE;
use chrono::TimeDelta;
use std::sync::Arc;

/// Long enough to tell its owner that the code has expired: the row holds a number.
const PHONE_CONFIRMATIONS_KEPT: TimeDelta = TimeDelta::hours(1);

/// An upload that shows no sign of life for so long has broken off with its node.
const UPLOADS_KEPT: TimeDelta = TimeDelta::hours(1);

/// How long something is kept, and the key that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// After it was of use for the last time.
    pub kept: TimeDelta,
    /// `None`: it follows from what it is.
    pub setting: Option<&'static str>,
}

/// The limits of one configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Retention {
    config: Arc<Config>,
    signing_keys: TimeDelta,
}

impl Retention {
    /// `signing_keys`: how long a key is verified by after it signed for the last time.
    pub fn new(config: Arc<Config>, signing_keys: TimeDelta) -> Self {
        Self { config, signing_keys }
    }

    /// How long rows of a kind are kept.
    pub fn of(&self, what: Perishable) -> Term {
        let config = &*self.config;
        let limits = &config.retention;
        let by = |setting, kept| Term { kept, setting: Some(setting) };
        let always = |kept| Term { kept, setting: None };
        match what {
            Perishable::IdempotencyKeys => {
                by("idempotency.keep_hours", config.idempotency.keep_hours.delta())
            }
            Perishable::OneTimeTokens => {
                by("retention.spent_tokens_days", limits.spent_tokens_days.delta())
            }
            Perishable::Throttles => {
                by("retention.sign_in_counters_hours", limits.sign_in_counters_hours.delta())
            }
            Perishable::Mails => by("retention.mails_days", limits.mails_days.delta()),
            // A spent proof is remembered for as long as it could be presented, which is its expiry.
            Perishable::PendingTotp => always(SETUP_LIFE),
            Perishable::Flows | Perishable::HeldIdentifiers => always(TimeDelta::zero()),
            // They expire by it, and lie there no longer.
            Perishable::PrivacyExportPieces => {
                Term { kept: TimeDelta::zero(), setting: Some("privacy_exports.keep_days") }
            }
            Perishable::SigningKeys => by("sessions.access_token_minutes", self.signing_keys),
            Perishable::TextMessages => {
                by("retention.text_messages_days", limits.text_messages_days.delta())
            }
            Perishable::PhoneConfirmations => always(PHONE_CONFIRMATIONS_KEPT),
            Perishable::ImportChunks => always(UPLOADS_KEPT),
            Perishable::ImportErrors | Perishable::Imports => {
                by("imports.keep_days", config.imports.keep_days.delta())
            }
            Perishable::OrderFactAttempts => {
                by("retention.order_fact_attempts_days", limits.order_fact_attempts_days.delta())
            }
            Perishable::PoisonedOrderFacts => {
                by("retention.parked_order_facts_days", limits.parked_order_facts_days.delta())
            }
            Perishable::ReconciliationDifferences | Perishable::ReconciliationRuns => {
                by("retention.reconciliations_days", limits.reconciliations_days.delta())
            }
            Perishable::SettledMessages => {
                by("retention.settled_messages_days", limits.settled_messages_days.delta())
            }
            Perishable::SegmentCounts => {
                by("retention.segment_counts_days", limits.segment_counts_days.delta())
            }
            Perishable::PrivacyExports => {
                by("retention.export_requests_days", limits.export_requests_days.delta())
            }
        }
    }

    /// Sessions, after their end.
    pub fn of_sessions(&self) -> Term {
        let kept = self.config.retention.sessions_days.delta();
        Term { kept, setting: Some("retention.sessions_days") }
    }

    /// Messages, after they were written; the partition of an hour goes as a whole.
    pub fn of_messages(&self) -> Term {
        let kept = self.config.outbox.retention_hours.delta();
        Term { kept, setting: Some("outbox.retention_hours") }
    }

    /// Entries of the audit trail; `None`: for good.
    pub fn of_audit_entries(&self) -> Option<Term> {
        let days = self.config.audit.keep_days;
        (days.count() > 0).then(|| Term { kept: days.delta(), setting: Some("audit.keep_days") })
    }
}
