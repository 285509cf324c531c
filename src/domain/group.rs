//! Groups that customers belong to (rule L6): data of the shop, which staff keeps.

use super::command::Subject;
use super::customer::GroupCode;
use super::text::Label;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Groups are few and change rarely: one shard decides about them all.
pub const SUBJECT: Subject = Subject::Nobody([0; 32]);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What requests and messages name it by; never another one.
    pub code: GroupCode,
    /// What people read.
    pub name: Label,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises by one with each change.
    pub version: i64,
}

/// A group as a command finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub group: Group,
    /// Whether any customer belongs to it, or a deleted one did.
    pub in_use: bool,
}

/// What may be done to a group.
#[derive(Debug, Clone)]
pub enum GroupCommand {
    Create {
        code: GroupCode,
        name: Label,
    },
    Rename {
        code: GroupCode,
        name: Label,
        if_match: Option<i64>,
    },
    Delete {
        code: GroupCode,
        if_match: Option<i64>,
        /// The groups that new customers get by configuration; they stay.
        defaults: Vec<GroupCode>,
    },
}

impl GroupCommand {
    /// The group whose row must be locked.
    pub fn code(&self) -> &GroupCode {
        match self {
            Self::Create { code, .. } | Self::Rename { code, .. } | Self::Delete { code, .. } => {
                code
            }
        }
    }
}

/// What became of a group.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupEvent {
    Created(Group),
    Renamed(Group),
    Deleted { code: GroupCode },
}
