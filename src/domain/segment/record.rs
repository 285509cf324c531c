//! A segment as the shop keeps it: what it is called, who belongs to it, and whether it is in force.
//!
//! Definitions are few and change rarely, so one shard decides about them all, with all of them locked
//! and in view: a segment can neither name one that is going nor come to name itself.

use crate::domain::attribute::AttributeKey;
use crate::domain::command::{Change, Subject};
use crate::domain::event::Trace;
use crate::domain::fault::Fault;
use crate::domain::ids::SegmentId;
use crate::domain::message::{Message, SegmentCreated, SegmentDeleted, SegmentUpdated};
use crate::domain::place::TimeZone;
use crate::domain::text::{Label, line};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Where the commands about definitions are decided.
pub const SUBJECT: Subject = Subject::Nobody([2; 32]);

/// Most segments that a shop may have.
pub const SEGMENTS_MAX: usize = 1_000;

/// What requests, messages and other segments name a segment by.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[a-z0-9][a-z0-9_-]{0,63}$"))]
pub struct SegmentCode(String);

impl SegmentCode {
    /// # Errors
    /// `invalid_code` unless 1–64 of `a-z 0-9 _ -`, the first a letter or a digit; ids are no codes,
    /// for a path may name a segment by either.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = raw.len() <= 64
            && uuid::Uuid::try_parse(raw).is_err()
            && raw.bytes().next().is_some_and(plain)
            && raw.bytes().all(|b| plain(b) || b == b'_' || b == b'-');
        if ok {
            Ok(Self(raw.to_owned()))
        } else {
            let detail =
                "codes must be 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit";
            Err(Fault::new("invalid_code", detail))
        }
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(code: String) -> Self {
        Self(code)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a path or a query names a segment by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentName {
    Id(SegmentId),
    Code(SegmentCode),
}

impl SegmentName {
    /// `None`: it can be neither, and names nothing.
    pub fn parse(raw: &str) -> Option<Self> {
        match uuid::Uuid::try_parse(raw) {
            Ok(id) => Some(Self::Id(SegmentId(id))),
            Err(_) => SegmentCode::parse(raw).ok().map(Self::Code),
        }
    }
}

/// Groups of segments that one belongs to: sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentTags(Vec<String>);

impl SegmentTags {
    pub const MAX: usize = 20;

    /// # Errors
    /// `too_many`, or those of [`line`] for a tag.
    pub fn parse(raw: &[String]) -> Result<Self, Fault> {
        if raw.len() > Self::MAX {
            return Err(Fault::new("too_many", format!("must have at most {} tags", Self::MAX)));
        }
        let mut tags =
            raw.iter().map(|tag| line(tag, Label::MAX)).collect::<Result<Vec<_>, _>>()?;
        tags.sort();
        tags.dedup();
        Ok(Self(tags))
    }

    pub fn from_stored(tags: Vec<String>) -> Self {
        Self(tags)
    }

    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Who belongs to a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Membership {
    /// Whomever a condition is true of.
    Rule(Rule),
    /// Whom staff puts in.
    Static,
}

impl Membership {
    pub fn kind(&self) -> MembershipKind {
        match self {
            Self::Rule(_) => MembershipKind::Rule,
            Self::Static => MembershipKind::Static,
        }
    }

    pub fn rule(&self) -> Option<&Rule> {
        match self {
            Self::Rule(rule) => Some(rule),
            Self::Static => None,
        }
    }
}

/// How the members of a segment are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MembershipKind {
    /// By a condition.
    Rule,
    /// By hand.
    Static,
}

impl MembershipKind {
    pub const ALL: [(&str, Self); 2] = [("rule", Self::Rule), ("static", Self::Static)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Static => "static",
        }
    }
}

/// A condition that was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// In its canonical form.
    pub definition: String,
    /// Where its days begin and end.
    pub time_zone: TimeZone,
    /// The segments that it names.
    pub uses: BTreeSet<SegmentCode>,
    /// The custom attributes that it reads, each with the type it was taken to have.
    pub attributes: BTreeMap<AttributeKey, crate::domain::attribute::Kind>,
}

/// Whether a segment is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Force {
    /// It has members.
    Active,
    /// It has none until it is active again.
    Inactive,
    /// Its last members are leaving; then it is gone.
    Deleting,
}

impl Force {
    pub const ALL: [(&str, Self); 3] =
        [("active", Self::Active), ("inactive", Self::Inactive), ("deleting", Self::Deleting)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Deleting => "deleting",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub id: SegmentId,
    /// Never another one.
    pub code: SegmentCode,
    /// Of the same kind for good.
    pub membership: Membership,
    /// What people read.
    pub title: Label,
    pub description: Option<String>,
    pub tags: SegmentTags,
    pub force: Force,
    /// Rises by one with each change of who belongs.
    pub revision: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises by one with each change.
    pub version: i64,
}

impl Segment {
    /// Whether a new revision is carried to the customers one by one: of a condition always; of a
    /// static segment when it goes.
    pub fn is_walked(&self) -> bool {
        self.membership.rule().is_some() || self.force == Force::Deleting
    }
}

/// All segments, as a command about definitions finds them.
pub type Segments = BTreeMap<SegmentCode, Segment>;

/// What may be done to a definition.
#[derive(Debug, Clone)]
pub enum SegmentCommand {
    Create {
        /// A fresh id.
        id: SegmentId,
        new: Box<NewSegment>,
    },
    Change {
        name: SegmentName,
        change: Box<SegmentChange>,
        if_match: Option<i64>,
    },
    /// Its members leave first, so this is not its end.
    Delete {
        /// New customers are put into these: none of them can go.
        defaults: Vec<SegmentCode>,
        name: SegmentName,
        if_match: Option<i64>,
    },
    /// Its last member has left.
    Finish {
        id: SegmentId,
    },
}

impl SegmentCommand {
    /// The custom attributes that its definition reads.
    pub fn attributes(&self) -> Vec<AttributeKey> {
        let rule = match self {
            Self::Create { new, .. } => new.membership.rule(),
            Self::Change { change, .. } => change.rule.as_ref(),
            Self::Delete { .. } | Self::Finish { .. } => None,
        };
        rule.into_iter().flat_map(|rule| rule.attributes.keys().cloned()).collect()
    }
}

#[derive(Debug, Clone)]
pub struct NewSegment {
    pub code: SegmentCode,
    pub membership: Membership,
    pub title: Label,
    pub description: Option<String>,
    pub tags: SegmentTags,
    pub active: bool,
}

/// A change; `None` keeps what there is.
#[derive(Debug, Clone, Default)]
pub struct SegmentChange {
    pub rule: Option<Rule>,
    pub title: Option<Label>,
    pub description: Change<String>,
    pub tags: Option<SegmentTags>,
    pub active: Option<bool>,
}

/// What became of a segment.
#[derive(Debug, Clone, PartialEq)]
pub enum SegmentEvent {
    Created(Box<Segment>),
    /// Holds the segment as it then is.
    Changed {
        segment: Box<Segment>,
        changed: Vec<String>,
    },
    /// No customer belongs to it any more, and nobody finds it.
    Deleted {
        id: SegmentId,
        code: SegmentCode,
        version: i64,
    },
}

impl SegmentEvent {
    /// The segments after this event.
    pub(in crate::domain) fn apply(&self, segments: &mut Segments) {
        match self {
            Self::Created(segment) | Self::Changed { segment, .. } => {
                segments.insert(segment.code.clone(), (**segment).clone());
            }
            Self::Deleted { code, .. } => {
                segments.remove(code);
            }
        }
    }

    /// What its message is about, and the message's number among those about it: the version that the
    /// segment has from then on, so they are without a gap.
    pub fn place(&self) -> (SegmentId, i64) {
        match self {
            Self::Created(segment) | Self::Changed { segment, .. } => (segment.id, segment.version),
            Self::Deleted { id, version, .. } => (*id, *version),
        }
    }

    pub(in crate::domain) fn message(&self) -> Message {
        let (segment_id, version) = self.place();
        match self {
            Self::Created(segment) => SegmentCreated {
                segment_id,
                segment: segment.code.clone(),
                kind: segment.membership.kind(),
                state: segment.force,
                version,
            }
            .into(),
            Self::Changed { segment, changed } => SegmentUpdated {
                segment_id,
                segment: segment.code.clone(),
                changed: changed.as_slice().into(),
                state: segment.force,
                version,
            }
            .into(),
            Self::Deleted { code, .. } => {
                SegmentDeleted { segment_id, segment: code.clone(), version }.into()
            }
        }
    }

    pub(in crate::domain) fn trace(&self) -> Trace {
        let version = self.place().1;
        match self {
            Self::Created(segment) => Trace {
                action: "segment.created",
                data: json!({ "segment": segment.code, "revision": segment.revision, "version": version }),
            },
            Self::Changed { segment, changed } => Trace {
                action: "segment.updated",
                data: json!({
                    "segment": segment.code, "changed": changed, "revision": segment.revision,
                    "version": version,
                }),
            },
            Self::Deleted { code, .. } => Trace {
                action: "segment.deleted",
                data: json!({ "segment": code, "version": version }),
            },
        }
    }
}
