//! The data of messages about the definitions of custom attributes. They are about no customer: what
//! they bear as subject is the definition's id.

use super::{Data, FieldNames};
use crate::domain::attribute::{AttributeKey, Audience, Kind, Part};
use crate::domain::ids::AttributeId;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AttributeCreated {
    /// The definition.
    pub attribute_id: AttributeId,
    /// What it is called: no other definition has this name now.
    pub key: AttributeKey,
    /// The part of a customer's record that holds the values.
    pub part: Part,
    /// The type of the values.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Who may write values; staff always may.
    pub write: Audience,
    /// Who may read them; staff always may.
    pub read: Audience,
    /// Whether staff's search may ask for it.
    pub searchable: bool,
    /// The definition's version.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AttributeUpdated {
    /// The definition.
    pub attribute_id: AttributeId,
    /// What it is called.
    pub key: AttributeKey,
    /// What changed.
    pub changed: FieldNames,
    /// The definition's version from then on.
    #[schemars(range(min = 1))]
    pub version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct AttributeDeleted {
    /// The definition.
    pub attribute_id: AttributeId,
    /// What it was called; another one may have this name from then on.
    pub key: AttributeKey,
    /// One more than the last version.
    #[schemars(range(min = 1))]
    pub version: i64,
}

const ATTRIBUTE: AttributeId =
    AttributeId(Uuid::from_u128(0x01a2_0286_22b0_7e19_9a4c_51f0_8d3e_6606));

fn shoe_size() -> AttributeKey {
    AttributeKey::from_stored("shoe_size".to_owned())
}

impl Data for AttributeCreated {
    fn example() -> Self {
        Self {
            attribute_id: ATTRIBUTE,
            key: shoe_size(),
            part: Part::Profile,
            kind: Kind::Integer,
            write: Audience::Customer,
            read: Audience::Customer,
            searchable: true,
            version: 1,
        }
    }
}

impl Data for AttributeUpdated {
    fn example() -> Self {
        let changed = FieldNames(vec!["maximum".to_owned(), "title".to_owned()]);
        Self { attribute_id: ATTRIBUTE, key: shoe_size(), changed, version: 2 }
    }
}

impl Data for AttributeDeleted {
    fn example() -> Self {
        Self { attribute_id: ATTRIBUTE, key: shoe_size(), version: 3 }
    }
}
