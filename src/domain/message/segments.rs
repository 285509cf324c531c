//! The data of messages about segments: about the definitions, which are about no customer (what they
//! bear as subject is the segment's id), and about who joins and leaves.

use super::{Data, FieldNames};
use crate::domain::ids::{CustomerId, SegmentId};
use crate::domain::segment::record::{Force, MembershipKind, SegmentCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SegmentCreated {
    /// The segment.
    pub segment_id: SegmentId,
    /// What it is called: no other segment has this name now.
    pub segment: SegmentCode,
    /// How its members are found.
    pub kind: MembershipKind,
    /// Whether it has members.
    pub state: Force,
    /// The segment's version.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SegmentUpdated {
    /// The segment.
    pub segment_id: SegmentId,
    /// What it is called.
    pub segment: SegmentCode,
    /// What changed.
    pub changed: FieldNames,
    /// Whether it has members; `deleting`: the last ones are leaving.
    pub state: Force,
    /// The segment's version from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SegmentDeleted {
    /// The segment.
    pub segment_id: SegmentId,
    /// What it was called; another one may have this name from then on.
    pub segment: SegmentCode,
    /// One more than the last version.
    #[schemars(range(min = 1))]
    pub version: i64,
}

/// Why somebody joined or left a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MembershipCause {
    /// The customer changed.
    Change,
    /// Time passed.
    Time,
    /// The segment changed.
    Definition,
    /// Staff said so.
    Manual,
}

impl MembershipCause {
    pub const ALL: [(&str, Self); 4] = [
        ("change", Self::Change),
        ("time", Self::Time),
        ("definition", Self::Definition),
        ("manual", Self::Manual),
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Time => "time",
            Self::Definition => "definition",
            Self::Manual => "manual",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SegmentAssigned {
    /// Who joined.
    pub customer_id: CustomerId,
    /// The segment.
    pub segment_id: SegmentId,
    /// What it is called.
    pub segment: SegmentCode,
    /// Why.
    pub cause: MembershipCause,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SegmentRemoved {
    /// Who left.
    pub customer_id: CustomerId,
    /// The segment.
    pub segment_id: SegmentId,
    /// What it is called.
    pub segment: SegmentCode,
    /// Why.
    pub cause: MembershipCause,
}

const SEGMENT: SegmentId = SegmentId(Uuid::from_u128(0x01a2_0288_4a10_7c52_b1e7_60d2_94af_7707));
const CUSTOMER: CustomerId = CustomerId(Uuid::from_u128(0x01a2_027b_d680_7c3a_9d41_5b0e_2f7a_8801));

fn regulars() -> SegmentCode {
    SegmentCode::from_stored("regulars".to_owned())
}

impl Data for SegmentCreated {
    fn example() -> Self {
        let (kind, state) = (MembershipKind::Rule, Force::Active);
        Self { segment_id: SEGMENT, segment: regulars(), kind, state, version: 1 }
    }
}

impl Data for SegmentUpdated {
    fn example() -> Self {
        let changed = FieldNames(vec!["definition".to_owned()]);
        Self { segment_id: SEGMENT, segment: regulars(), changed, state: Force::Active, version: 2 }
    }
}

impl Data for SegmentDeleted {
    fn example() -> Self {
        Self { segment_id: SEGMENT, segment: regulars(), version: 4 }
    }
}

impl Data for SegmentAssigned {
    fn example() -> Self {
        let cause = MembershipCause::Change;
        Self { customer_id: CUSTOMER, segment_id: SEGMENT, segment: regulars(), cause }
    }
}

impl Data for SegmentRemoved {
    fn example() -> Self {
        let cause = MembershipCause::Time;
        Self { customer_id: CUSTOMER, segment_id: SEGMENT, segment: regulars(), cause }
    }
}
