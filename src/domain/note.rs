//! What staff writes down about a customer: for staff alone, since the customer never sees it. A
//! note is written and taken away; what it says stays as it was written.

use super::event::Trace;
use super::fault::Fault;
use super::ids::NoteId;
use super::text::{never_printed, paragraph};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// The words of a note, of one line or several.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NoteText(String);

never_printed!(NoteText);

impl NoteText {
    /// Most characters it may have.
    pub const MAX: usize = 4_000;

    /// # Errors
    /// Those of [`paragraph`].
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        paragraph(raw, Self::MAX).map(Self)
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub id: NoteId,
    pub text: NoteText,
    /// The staff key that wrote it, by its public id.
    pub author: String,
    pub created_at: DateTime<Utc>,
}

/// As much of a customer's notes as commands look at: there may be a thousand.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Notes {
    /// How many there are. Known only to a command that adds one.
    pub count: usize,
    /// Those that commands name.
    pub named: BTreeMap<NoteId, Note>,
}

#[derive(Debug, Clone)]
pub enum NoteCommand {
    Add {
        id: NoteId,
        text: NoteText,
        /// How many a customer may have.
        limit: usize,
    },
    Remove {
        id: NoteId,
    },
}

impl NoteCommand {
    /// Whether there will be one more.
    pub fn adds(&self) -> bool {
        matches!(self, Self::Add { .. })
    }

    /// The note that must be there.
    pub fn named(&self) -> Option<NoteId> {
        match self {
            Self::Add { .. } => None,
            Self::Remove { id } => Some(*id),
        }
    }
}

/// What became of a note. Nobody outside is told: notes are the staff's own.
#[derive(Debug, Clone, PartialEq)]
pub enum NoteEvent {
    Added(Box<Note>),
    Removed { id: NoteId },
}

impl NoteEvent {
    /// The notes after this event.
    pub(super) fn apply(&self, notes: &mut Notes) {
        match self {
            Self::Added(note) => {
                notes.count += 1;
                notes.named.insert(note.id, (**note).clone());
            }
            Self::Removed { id } => {
                notes.count = notes.count.saturating_sub(1);
                notes.named.remove(id);
            }
        }
    }

    /// Which note, and never what it says.
    pub(super) fn trace(&self) -> Trace {
        let (action, id) = match self {
            Self::Added(note) => ("note.added", note.id),
            Self::Removed { id } => ("note.removed", *id),
        };
        Trace { action, data: json!({ "note_id": id }) }
    }
}
