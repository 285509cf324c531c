//! Custom attributes: what a shop keeps of its customers beyond the fields that every shop has. A
//! definition says of which type the values are, within which limits, and who may read and write
//! them; it is data of the shop, which staff keeps.
//!
//! A value is written under the definition's lock, and the definition is changed under it, so that
//! no value is ever stored that the definition of that moment does not allow.

mod rule;

pub use rule::{CHOICES_MAX, Kind, Limits, LimitsChange, Rule};

use super::command::{Actor, Subject};
use super::event::Trace;
use super::fault::Fault;
use super::ids::AttributeId;
use super::message::{AttributeCreated, AttributeDeleted, AttributeUpdated, Message};
use super::text::{Label, line, paragraph};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Definitions are few and change rarely: one shard decides about them all.
pub const SUBJECT: Subject = Subject::Nobody([1; 32]);

/// Most definitions that a shop may have.
pub const DEFINITIONS_MAX: usize = 200;

/// Most characters of a description.
pub const DESCRIPTION_MAX: usize = 500;

/// What an attribute is called in requests, messages and conditions: one name over all parts of a
/// customer's record.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(extend("pattern" = "^[a-z0-9_]{1,64}$"))]
pub struct AttributeKey(String);

impl AttributeKey {
    /// # Errors
    /// `invalid_key` unless 1–64 of `a-z 0-9 _`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let ok = (1..=64).contains(&raw.len())
            && raw.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if ok {
            Ok(Self(raw.to_owned()))
        } else {
            Err(Fault::new("invalid_key", "keys must be 1 to 64 of a-z, 0-9 and _"))
        }
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(key: String) -> Self {
        Self(key)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for AttributeKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The part of a customer's record that holds an attribute's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What the customer is.
    Profile,
    /// What the customer wants.
    Preferences,
}

impl Part {
    pub const ALL: [(&str, Self); 2] =
        [("profile", Self::Profile), ("preferences", Self::Preferences)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Profile => "profile",
            Self::Preferences => "preferences",
        }
    }
}

/// Who may read or write a value. Staff always may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// The owner of the value, and staff.
    Customer,
    /// Staff alone.
    Staff,
}

impl Audience {
    pub const ALL: [(&str, Self); 2] = [("customer", Self::Customer), ("staff", Self::Staff)];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Staff => "staff",
        }
    }

    pub fn includes(self, actor: &Actor) -> bool {
        self == Self::Customer || matches!(actor, Actor::Staff(_) | Actor::Operator)
    }
}

/// What goes wrong where customers could write what they cannot read: they would not even be told
/// what they wrote.
pub fn access_fault(write: Audience, read: Audience) -> Option<Fault> {
    (write == Audience::Customer && read == Audience::Staff)
        .then(|| Fault::new("conflicting", "customers cannot write what they cannot read"))
}

/// What may be a value of some attribute: a text, a number, a boolean or a list of texts.
///
/// # Errors
/// `invalid_key`, `wrong_type`, or those of [`line`].
pub fn plausible(key: &str, value: &Value) -> Result<Value, Fault> {
    const TEXT_MAX: usize = 500;
    let wrong_type =
        || Fault::new("wrong_type", "must be a text, a number, a boolean or a list of texts");
    AttributeKey::parse(key)?;
    match value {
        Value::String(text) => line(text, TEXT_MAX).map(Into::into),
        Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
        Value::Array(members) if !members.is_empty() => {
            let member = |member: &Value| line(member.as_str().ok_or_else(wrong_type)?, TEXT_MAX);
            members.iter().map(member).collect::<Result<Vec<_>, _>>().map(Into::into)
        }
        _ => Err(wrong_type()),
    }
}

/// The words of a description, of one line or several.
///
/// # Errors
/// Those of [`paragraph`].
pub fn description(raw: &str) -> Result<String, Fault> {
    paragraph(raw, DESCRIPTION_MAX)
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub id: AttributeId,
    /// Never another one.
    pub key: AttributeKey,
    /// Never another one.
    pub part: Part,
    pub rule: Rule,
    pub write: Audience,
    pub read: Audience,
    /// What people read.
    pub title: Label,
    pub description: Option<String>,
    /// Whether staff's search may ask for it.
    pub searchable: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises by one with each change.
    pub version: i64,
}

/// A definition as a command finds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    pub definition: Definition,
    /// Whether a customer holds a value. Known only to a command that
    /// [asks for it](AttributeCommand::asks_for_holders).
    pub in_use: bool,
}

/// As much of a definition as a suggestion needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Signpost {
    pub key: AttributeKey,
    pub part: Part,
    pub read: Audience,
}

/// What of the definitions a command looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes {
    /// Those that it names, as far as there are any.
    pub named: BTreeMap<AttributeKey, Standing>,
    /// All there are, where a command of the batch names one that is not: for a suggestion, and for
    /// how many there are.
    pub all: Arc<Vec<Signpost>>,
}

/// What may be done to a definition.
#[derive(Debug, Clone)]
pub enum AttributeCommand {
    Create {
        /// A fresh id.
        id: AttributeId,
        new: Box<NewDefinition>,
    },
    Change {
        key: AttributeKey,
        change: Box<DefinitionChange>,
        if_match: Option<i64>,
    },
    Delete {
        key: AttributeKey,
        if_match: Option<i64>,
    },
}

#[derive(Debug, Clone)]
pub struct NewDefinition {
    pub key: AttributeKey,
    pub part: Part,
    pub rule: Rule,
    pub write: Audience,
    pub read: Audience,
    pub title: Label,
    pub description: Option<String>,
    pub searchable: bool,
}

/// A change of a definition; `None` keeps what there is.
#[derive(Debug, Clone, Default)]
pub struct DefinitionChange {
    pub kind: Option<Kind>,
    pub limits: LimitsChange,
    pub write: Option<Audience>,
    pub read: Option<Audience>,
    pub title: Option<Label>,
    pub description: super::command::Change<String>,
    pub searchable: Option<bool>,
}

impl AttributeCommand {
    /// The definition whose row must be locked.
    pub fn key(&self) -> &AttributeKey {
        match self {
            Self::Create { new, .. } => &new.key,
            Self::Change { key, .. } | Self::Delete { key, .. } => key,
        }
    }

    /// Whether it depends on somebody's holding a value.
    pub fn asks_for_holders(&self) -> bool {
        match self {
            Self::Create { .. } => false,
            Self::Change { change, .. } => change.kind.is_some() || !change.limits.is_empty(),
            Self::Delete { .. } => true,
        }
    }
}

/// What became of a definition.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeEvent {
    Created(Box<Definition>),
    /// Holds the definition as it then is.
    Changed {
        definition: Box<Definition>,
        changed: Vec<String>,
    },
    Deleted {
        id: AttributeId,
        key: AttributeKey,
        version: i64,
    },
}

impl AttributeEvent {
    /// The definitions after this event.
    pub(super) fn apply(&self, attributes: &mut Attributes) {
        match self {
            Self::Created(definition) => {
                let definition = (**definition).clone();
                let (key, part, read) = (definition.key.clone(), definition.part, definition.read);
                let standing = Standing { definition, in_use: false };
                attributes.named.insert(key.clone(), standing);
                Arc::make_mut(&mut attributes.all).push(Signpost { key, part, read });
            }
            Self::Changed { definition, .. } => {
                if let Some(standing) = attributes.named.get_mut(&definition.key) {
                    standing.definition = (**definition).clone();
                }
            }
            Self::Deleted { key, .. } => {
                attributes.named.remove(key);
                if attributes.all.iter().any(|known| known.key == *key) {
                    Arc::make_mut(&mut attributes.all).retain(|known| known.key != *key);
                }
            }
        }
    }

    /// What its message is about, and the message's number among those about it: the version that
    /// the definition has from then on, so they are without a gap.
    pub fn place(&self) -> (AttributeId, i64) {
        match self {
            Self::Created(definition) | Self::Changed { definition, .. } => {
                (definition.id, definition.version)
            }
            Self::Deleted { id, version, .. } => (*id, *version),
        }
    }

    pub(super) fn message(&self) -> Message {
        let (attribute_id, version) = self.place();
        match self {
            Self::Created(definition) => AttributeCreated {
                attribute_id,
                key: definition.key.clone(),
                part: definition.part,
                kind: definition.rule.kind(),
                write: definition.write,
                read: definition.read,
                searchable: definition.searchable,
                version,
            }
            .into(),
            Self::Changed { definition, changed } => AttributeUpdated {
                attribute_id,
                key: definition.key.clone(),
                changed: changed.as_slice().into(),
                version,
            }
            .into(),
            Self::Deleted { key, .. } => {
                AttributeDeleted { attribute_id, key: key.clone(), version }.into()
            }
        }
    }

    pub(super) fn trace(&self) -> Trace {
        let version = self.place().1;
        match self {
            Self::Created(definition) => Trace {
                action: "attribute.created",
                data: json!({ "attribute": definition.key, "version": version }),
            },
            Self::Changed { definition, changed } => Trace {
                action: "attribute.updated",
                data: json!({ "attribute": definition.key, "changed": changed, "version": version }),
            },
            Self::Deleted { key, .. } => Trace {
                action: "attribute.deleted",
                data: json!({ "attribute": key, "version": version }),
            },
        }
    }
}
