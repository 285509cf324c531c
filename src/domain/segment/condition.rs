//! A definition as it is evaluated: the checked tree, in which each value is of the type of what it is
//! compared with. Whatever is in it can be asked, in memory and in SQL.

use super::attributes::{Field, Function};
use super::mistake::Span;
use super::number::Number;
use super::syntax::Comparison;
use super::when::{Remembered, When};

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Leaf(Leaf),
}

/// One clause.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// In canonical form.
    pub text: String,
    /// Where it stood in what was checked.
    pub span: Span,
    pub asks: Ask,
}

/// Where it stood does not count.
impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        self.asks == other.asks
    }
}

/// What a clause asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    Attribute {
        operand: Operand,
        test: Test,
    },
    Matches(Matches),
    Remembered {
        operand: Operand,
        days: Remembered,
    },
    /// Membership of the segment of this name.
    Segment(String),
}

/// An attribute, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Operand {
    /// In canonical form.
    pub name: String,
    pub field: Field,
    pub kind: ValueKind,
    /// Whether there are customers without a value.
    pub may_be_absent: bool,
    /// What one question costs.
    pub cost: u32,
}

/// The type of an attribute's values.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueKind {
    Moment,
    Day,
    /// Not below zero, and without decimals.
    Count,
    /// Not below zero.
    Money {
        currency: String,
    },
    /// With decimals unless it is `whole`.
    Number {
        whole: bool,
    },
    Text,
    Choice(Vec<String>),
    Flag,
    /// Of these members; of any, where there are none.
    List(Vec<String>),
}

/// What is asked of a value. All but [`Test::Null`] is false of one that is absent.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Moment(When),
    Day(When),
    Number(Numbers),
    Text(Words),
    Flag(bool),
    /// To have one of these members, folded.
    List(Words),
    Null {
        negated: bool,
    },
}

/// What is asked of a number.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    Compare { how: Comparison, with: Number },
    Between { negated: bool, from: Number, to: Number },
    OneOf { negated: bool, numbers: Vec<Number> },
}

impl Numbers {
    pub fn holds(&self, number: Number) -> bool {
        match self {
            Self::Compare { how, with } => how.holds(number.cmp(with)),
            Self::Between { negated, from, to } => (*from <= number && number <= *to) != *negated,
            Self::OneOf { negated, numbers } => numbers.contains(&number) != *negated,
        }
    }
}

/// What is asked of a text: to be one of these; or, negated, none.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    pub negated: bool,
    pub any_of: Vec<String>,
}

impl Words {
    pub fn holds(&self, text: &str) -> bool {
        self.any_of.iter().any(|one| one == text) != self.negated
    }
}

/// What is asked of several facts: those that every filter lets through must fulfil every aggregate.
#[derive(Debug, Clone, PartialEq)]
pub struct Matches {
    pub function: Function,
    pub negated: bool,
    pub filters: Vec<Filter>,
    /// Never empty.
    pub aggregates: Vec<(Aggregate, Numbers)>,
    /// Facts of this currency alone.
    pub currency: Option<String>,
    /// What it costs.
    pub cost: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    Date(When),
    /// In units of the currency's main unit.
    Amount(Numbers),
    Status(Words),
    Sku(Words),
    Quantity(Numbers),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aggregate {
    Count,
    /// Of none, 0.
    SumAmount,
    /// Of none, 0.
    SumQuantity,
}

impl Matches {
    /// Whether orders of any status are looked at, and not only those that were not cancelled.
    pub fn any_status(&self) -> bool {
        self.filters.iter().any(|filter| matches!(filter, Filter::Status(_)))
    }
}

impl Condition {
    /// Calls `look` on every clause, from left to right.
    pub fn leaves<'a>(&'a self, look: &mut impl FnMut(&'a Leaf)) {
        match self {
            Self::All(members) | Self::Any(members) => {
                members.iter().for_each(|member| member.leaves(look));
            }
            Self::Not(inner) => inner.leaves(look),
            Self::Leaf(leaf) => look(leaf),
        }
    }
}
