//! What a definition is checked against: what the shop keeps beyond what every shop has, whose days it
//! counts, and how much a definition may ask for.

use super::parser::Bounds;
use crate::domain::attribute::{Kind, Part};
use crate::domain::consent::Channel;
use chrono_tz::Tz;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Whose days are meant.
    pub time_zone: Tz,
    /// The currency of record, ISO 4217.
    pub currency: String,
    /// Definitions of custom attributes, by key.
    pub custom: BTreeMap<String, CustomAttribute>,
    /// What customers are asked to consent to, with the channels that are asked for one by one.
    pub purposes: BTreeMap<String, Vec<Channel>>,
    /// Names of all segments; `None` where they are not known, and any name will do.
    pub segments: Option<BTreeSet<String>>,
    pub bounds: Bounds,
    /// Most that a definition may cost; see [`cost`](super::cost).
    pub cost_max: u32,
}

impl Schema {
    /// Most that a definition may cost unless the shop says otherwise.
    pub const COST_MAX: u32 = 400;

    /// Of a shop that keeps nothing of its own.
    pub fn new(time_zone: Tz, currency: impl Into<String>) -> Self {
        Self {
            time_zone,
            currency: currency.into(),
            custom: BTreeMap::new(),
            purposes: BTreeMap::new(),
            segments: None,
            bounds: Bounds::default(),
            cost_max: Self::COST_MAX,
        }
    }
}

/// As much of a definition as its conditions depend on.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomAttribute {
    pub part: Part,
    pub kind: Kind,
    /// Of a choice, and of a list that is not free: what may be.
    pub choices: Vec<String>,
}
