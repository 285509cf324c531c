//! Segments: which customers are meant, as a condition in a small language.
//!
//! A definition goes through one parser and one checker and becomes a [`Checked`]: one syntax tree, one
//! canonical form, one condition. Two evaluators read the condition: [`evaluate`] over one customer's
//! [`Facts`], and the compiler to SQL in `db`, for all customers. They must agree (rule S4), so whatever
//! can be said once is said here: where a day begins, how texts are folded, what is absent.
//!
//! `docs/segments.md` describes the language.

pub mod attributes;
mod check;
pub mod condition;
pub mod cost;
mod deciding;
mod evaluate;
mod explain;
mod facts;
mod fold;
mod lexer;
pub mod marks;
pub mod membership;
mod missing;
mod mistake;
pub mod nesting;
mod number;
mod parser;
mod print;
pub mod record;
mod resolve;
mod schema;
pub mod syntax;
mod values;
mod warnings;
pub mod when;

#[cfg(test)]
mod tests;

pub use deciding::deciding;
pub use evaluate::{Answer, evaluate};
pub use explain::{Explained, Explanation, explain};
pub use facts::{AddressFact, Facts, OrderFact, OrderSums, RfmFact};
pub use fold::{folded, replacements};
pub use mistake::{Mistake, Mistakes, Place, Span, Warning, shown};
pub use number::{Number, decimals};
pub use parser::Bounds;
pub use schema::{CustomAttribute, Schema};

use attributes::Mark;
use chrono_tz::Tz;
use condition::Condition;
use std::collections::BTreeSet;

/// A definition without mistakes.
#[derive(Debug, Clone)]
pub struct Checked {
    canonical: String,
    condition: Condition,
    time_zone: Tz,
    reads: BTreeSet<String>,
    marks: BTreeSet<Mark>,
    segments: BTreeSet<String>,
    cost: u32,
    warnings: Vec<Warning>,
}

impl Checked {
    /// Reads and checks a definition.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, Mistakes> {
        let (mut node, form) = parser::read(text, schema.bounds)?;
        let mut findings = check::Findings { mistakes: form, ..check::Findings::default() };
        let condition = check::condition(&mut node, schema, &mut findings);
        let Some(condition) = condition.filter(|_| findings.mistakes.is_empty()) else {
            return Err(Mistakes::of(findings.mistakes));
        };
        if let Some(mistake) = cost::too_dear(&condition, schema.cost_max) {
            return Err(mistake.into());
        }
        let check::Findings { reads, marks, segments, .. } = findings;
        Ok(Self {
            canonical: node.to_string(),
            cost: cost::of(&condition),
            warnings: warnings::of(&condition),
            condition,
            time_zone: schema.time_zone,
            reads,
            marks,
            segments,
        })
    }

    /// The one form of all that say the same in the same order.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Whose days are meant.
    pub fn time_zone(&self) -> Tz {
        self.time_zone
    }

    /// Names of the attributes and functions that it reads.
    pub fn reads(&self) -> &BTreeSet<String> {
        &self.reads
    }

    /// What marks of a change make it worth evaluating; besides [`Mark::Created`], which is of all.
    pub fn marks(&self) -> &BTreeSet<Mark> {
        &self.marks
    }

    /// Names of the segments that it asks about.
    pub fn segments(&self) -> &BTreeSet<String> {
        &self.segments
    }

    /// See [`cost`].
    pub fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether time alone can change the answer about anybody.
    pub fn is_timed(&self) -> bool {
        evaluate::is_timed(&self.condition)
    }

    /// What is doubtful about it.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}
