//! A copy of all that is kept of a customer, made for it (rule P3): asked for by its owner, who shows
//! again who it is, or by staff for it; one at a time, and by its owner only so often. Making it takes
//! its time and is no command; that it is made, given up or handed out is.

use super::command::{Actor, Needs};
use super::event::Trace;
use super::ids::{CustomerId, MailId, PrivacyExportId, SessionId};
use super::message::{ExportReady, Message};
use super::proof::Proof;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// A customer's exports, as far as they are still known: those of a month, and few a day.
pub type PrivacyExports = BTreeMap<PrivacyExportId, PrivacyExport>;

/// An export, as far as rules care.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrivacyExport {
    pub id: PrivacyExportId,
    pub asked_by: Asker,
    pub created_at: DateTime<Utc>,
    /// How often it was begun: whoever began an earlier one has lost it.
    pub attempt: i32,
    /// `None`: it waits, or is under way.
    pub end: Option<ExportEnd>,
    pub downloaded_at: Option<DateTime<Utc>>,
}

/// Who asked for an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asker {
    Owner {
        session: SessionId,
    },
    /// A staff key, by its public id.
    Staff(String),
}

/// How the making of an export ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportEnd {
    Ready { at: DateTime<Utc>, expires_at: DateTime<Utc>, archive: Archive },
    Failed { at: DateTime<Utc>, fault: ExportFault },
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    pub rows: i64,
    pub bytes: i64,
    pub pieces: i32,
}

/// Why an export was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFault {
    /// It would be larger than an export may be.
    TooLarge,
    /// Its making broke off too often.
    Interrupted,
}

impl ExportFault {
    pub const ALL: [Self; 2] = [Self::TooLarge, Self::Interrupted];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Interrupted => "interrupted",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == text)
    }
}

impl PrivacyExport {
    /// Whether it waits or is under way.
    pub fn is_open(&self) -> bool {
        self.end.is_none()
    }

    /// Whether it counts for the owner's limit: what came to nothing does not.
    fn counts(&self) -> bool {
        let failed = matches!(self.end, Some(ExportEnd::Failed { .. }));
        matches!(self.asked_by, Asker::Owner { .. }) && !failed
    }

    /// When its owner may ask for the next one, where it may not now: after so many within a day.
    pub fn next_at(
        exports: &PrivacyExports,
        per_day: usize,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let day = TimeDelta::hours(24);
        let mut asked: Vec<_> = exports
            .values()
            .filter(|export| export.counts())
            .map(|export| export.created_at + day)
            .filter(|free| *free > now)
            .collect();
        asked.sort();
        // Of the latest `per_day` the first to be over makes room.
        asked.len().checked_sub(per_day).and_then(|place| asked.get(place).copied())
    }
}

#[derive(Debug, Clone)]
pub enum PrivacyExportCommand {
    /// By its owner, who shows again who it is.
    Ask {
        id: PrivacyExportId,
        session: SessionId,
        proof: Proof,
        per_day: usize,
    },
    /// By staff, for its owner.
    AskFor {
        id: PrivacyExportId,
    },
    /// Its archive is made.
    Finish {
        id: PrivacyExportId,
        attempt: i32,
        archive: Archive,
        keep: TimeDelta,
        /// Of the mail that says so.
        mail_id: MailId,
    },
    GiveUp {
        id: PrivacyExportId,
        attempt: i32,
        fault: ExportFault,
    },
    /// It is about to be handed out to its owner.
    HandOut {
        id: PrivacyExportId,
    },
}

impl PrivacyExportCommand {
    pub fn needs(&self) -> Needs {
        let exports = Needs { privacy_exports: true, ..Needs::default() };
        match self {
            Self::Ask { proof, .. } => exports.and(proof.needs()),
            // The mail is in the customer's language.
            Self::Finish { .. } => Needs { preferences: true, ..exports },
            Self::AskFor { .. } | Self::GiveUp { .. } | Self::HandOut { .. } => exports,
        }
    }

    /// What shows who asks.
    pub fn proof(&self) -> Option<&Proof> {
        match self {
            Self::Ask { proof, .. } => Some(proof),
            _ => None,
        }
    }
}

/// What became of an export; each holds it as it then is.
#[derive(Debug, Clone, PartialEq)]
pub enum PrivacyExportEvent {
    Asked(Box<PrivacyExport>),
    Ready { export: Box<PrivacyExport>, expires_at: DateTime<Utc>, archive: Archive },
    GivenUp { export: Box<PrivacyExport>, fault: ExportFault },
    HandedOut(Box<PrivacyExport>),
}

impl PrivacyExportEvent {
    fn export(&self) -> &PrivacyExport {
        match self {
            Self::Asked(export)
            | Self::Ready { export, .. }
            | Self::GivenUp { export, .. }
            | Self::HandedOut(export) => export,
        }
    }

    /// The exports after this event.
    pub(super) fn apply(&self, exports: &mut PrivacyExports) {
        let export = self.export();
        exports.insert(export.id, export.clone());
    }

    pub(super) fn message(&self, customer_id: CustomerId) -> Option<Message> {
        let Self::Ready { export, expires_at, .. } = self else { return None };
        Some(ExportReady { customer_id, export_id: export.id, expires_at: *expires_at }.into())
    }

    /// Which export, and how much it holds; never what.
    pub(super) fn trace(&self) -> Trace {
        let id = self.export().id;
        let (action, data) = match self {
            Self::Asked(_) => ("privacy.export_requested", json!({ "export_id": id })),
            Self::Ready { expires_at, archive, .. } => (
                "privacy.export_ready",
                json!({ "export_id": id, "rows": archive.rows, "bytes": archive.bytes,
                        "expires_at": expires_at }),
            ),
            Self::GivenUp { fault, .. } => {
                ("privacy.export_failed", json!({ "export_id": id, "reason": fault }))
            }
            Self::HandedOut(_) => ("privacy.export_downloaded", json!({ "export_id": id })),
        };
        Trace { action, data }
    }
}

impl Asker {
    /// Kind and id, as every record of who did something has them.
    pub fn actor(&self, customer: CustomerId) -> Actor {
        match self {
            Self::Owner { .. } => Actor::Customer(customer),
            Self::Staff(key) => Actor::Staff(key.clone()),
        }
    }

    /// The session that asked.
    pub fn session(&self) -> Option<SessionId> {
        match self {
            Self::Owner { session } => Some(*session),
            Self::Staff(_) => None,
        }
    }
}
