//! Writes a syntax tree in its one canonical form: keywords in capitals, single spaces, parentheses
//! where they are needed and nowhere else. Reading what was written gives the same tree.

use super::number::Number;
use super::syntax::{At, Clause, Date, Node, Test, Value};
use std::fmt::{Display, Formatter, Result};

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Or(members) => separated(f, members, " OR "),
            Self::And(members) => {
                for (n, member) in members.iter().enumerate() {
                    f.write_str(if n == 0 { "" } else { " AND " })?;
                    match member {
                        Self::Or(_) => write!(f, "({member})")?,
                        _ => write!(f, "{member}")?,
                    }
                }
                Ok(())
            }
            Self::Not(inner) => match **inner {
                Self::Or(_) | Self::And(_) => write!(f, "NOT ({inner})"),
                _ => write!(f, "NOT {inner}"),
            },
            Self::Clause(clause) => clause.it.fmt(f),
            Self::Broken => f.write_str("…"),
        }
    }
}

fn separated<T: Display>(f: &mut Formatter<'_>, members: &[T], by: &str) -> Result {
    for (n, member) in members.iter().enumerate() {
        write!(f, "{}{member}", if n == 0 { "" } else { by })?;
    }
    Ok(())
}

impl<T: Display> Display for At<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        self.it.fmt(f)
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

impl Display for Clause {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Attribute { name, test } => write!(f, "{name} {test}"),
            Self::Function { name, negated, params } => {
                write!(f, "{name} {}MATCHES (", not(*negated))?;
                for (n, (name, test)) in params.iter().enumerate() {
                    write!(f, "{}{name} {test}", if n == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Self::Anniversary { name, test } => write!(f, "anniversary({name}) {test}"),
            Self::Segment { name } => write!(f, "IN SEGMENT {}", Quoted(&name.it)),
        }
    }
}

impl Display for Test {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Compare { how, value } => write!(f, "{} {value}", how.sign()),
            Self::Between { negated, from, to } => {
                write!(f, "{}BETWEEN {from} AND {to}", not(*negated))
            }
            Self::In { negated, values } => {
                write!(f, "{}IN (", not(*negated))?;
                separated(f, values, ", ")?;
                f.write_str(")")
            }
            Self::Contains { negated, value } => write!(f, "{}CONTAINS {value}", not(*negated)),
            Self::Null { negated } => write!(f, "IS {}NULL", not(*negated)),
        }
    }
}

impl Display for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Number(number) => Number::fmt(number, f),
            Self::Text(text) => Quoted(text).fmt(f),
            Self::Date(date) => date.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Broken => f.write_str("…"),
        }
    }
}

impl Display for Date {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Day(day) => write!(f, "{}", day.format("%Y-%m-%d")),
            Self::Time(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S")),
            Self::Offset { number, unit } => write!(f, "{number:+}{}", unit.letter()),
            Self::Today => f.write_str("today"),
            Self::Yesterday => f.write_str("yesterday"),
        }
    }
}

/// A text in single quotes.
pub(super) struct Quoted<'a>(pub &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "'{}'", self.0.replace('\\', "\\\\").replace('\'', "\\'"))
    }
}
