//! A definition as it is written: the syntax tree, with the place of each piece. Two trees are equal
//! when they say the same; places do not count.

use super::mistake::Span;
use super::number::Number;
use chrono::{NaiveDate, NaiveDateTime};

/// Something with its place.
#[derive(Debug, Clone)]
pub struct At<T> {
    pub it: T,
    pub span: Span,
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.it == other.it
    }
}

/// A condition. `Or` and `And` have at least two members, none of them of its own kind; what `Not`
/// turns round is no `Not`.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Clause(At<Clause>),
    /// Stands where something was not understood; never in a definition without mistakes.
    Broken,
}

impl Node {
    pub(super) fn any(members: Vec<Node>) -> Node {
        Self::joined(members, Self::Or, |node| match node {
            Self::Or(inner) => inner,
            other => vec![other],
        })
    }

    pub(super) fn all(members: Vec<Node>) -> Node {
        Self::joined(members, Self::And, |node| match node {
            Self::And(inner) => inner,
            other => vec![other],
        })
    }

    pub(super) fn not(node: Node) -> Node {
        match node {
            Self::Not(inner) => *inner,
            other => Self::Not(Box::new(other)),
        }
    }

    /// `parts`: the members of one of the same kind, or the one by itself.
    fn joined(
        members: Vec<Node>,
        make: impl Fn(Vec<Node>) -> Node,
        parts: impl Fn(Node) -> Vec<Node>,
    ) -> Node {
        let mut flat: Vec<Node> = members.into_iter().flat_map(parts).collect();
        match flat.len() {
            0 => Self::Broken,
            1 => flat.swap_remove(0),
            _ => make(flat),
        }
    }
}

/// What is asked of a customer at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Clause {
    /// `ATTR …`
    Attribute { name: At<String>, test: Test },
    /// `FUNC [NOT] MATCHES (…)`
    Function { name: At<String>, negated: bool, params: Vec<(At<String>, Test)> },
    /// `anniversary(ATTR) …`
    Anniversary { name: At<String>, test: Test },
    /// `IN SEGMENT '…'`
    Segment { name: At<String> },
}

/// What is asked of a value.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    Compare { how: Comparison, value: At<Value> },
    Between { negated: bool, from: At<Value>, to: At<Value> },
    In { negated: bool, values: Vec<At<Value>> },
    Contains { negated: bool, value: At<Value> },
    Null { negated: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    Unequal,
    Greater,
    AtLeast,
    Less,
    AtMost,
}

impl Comparison {
    pub fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Unequal => "!=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
            Self::Less => "<",
            Self::AtMost => "<=",
        }
    }

    /// Whether it holds of two values that stand to each other in this order.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Number(Number),
    Text(String),
    Date(Date),
    Flag(bool),
    /// As [`Node::Broken`].
    Broken,
}

/// A day or an instant, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Date {
    Day(NaiveDate),
    /// What clocks show, to the second.
    Time(NaiveDateTime),
    /// From today, or from now.
    Offset {
        number: i32,
        unit: Unit,
    },
    Today,
    Yesterday,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Hours,
    Days,
    Weeks,
    Months,
    Years,
}

impl Unit {
    /// The unit of this letter.
    pub(super) fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'h' => Self::Hours,
            'd' => Self::Days,
            'w' => Self::Weeks,
            'm' => Self::Months,
            'y' => Self::Years,
            _ => return None,
        })
    }

    pub(super) fn letter(self) -> char {
        match self {
            Self::Hours => 'h',
            Self::Days => 'd',
            Self::Weeks => 'w',
            Self::Months => 'm',
            Self::Years => 'y',
        }
    }

    /// How many make a century, the farthest that an offset may reach.
    pub(super) fn most(self) -> i32 {
        match self {
            Self::Hours => 876_576,
            Self::Days => 36_524,
            Self::Weeks => 5_217,
            Self::Months => 1_200,
            Self::Years => 100,
        }
    }
}

/// Words that are part of the language, in any case; no attribute bears such a name.
pub(super) const KEYWORDS: &[&str] = &[
    "AND",
    "OR",
    "NOT",
    "BETWEEN",
    "IN",
    "CONTAINS",
    "IS",
    "NULL",
    "MATCHES",
    "TRUE",
    "FALSE",
    "TODAY",
    "YESTERDAY",
];

pub(super) fn is_keyword(word: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
}
