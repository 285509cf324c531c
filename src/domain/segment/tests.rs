//! The language, its checker and its evaluation: fixed cases in tables, one a rule, and what must hold
//! of any definition and any customer.

mod cases;
mod docs;
mod generate;
mod language;
mod mistakes;
mod random;
mod rules;
mod time;
mod warnings;

use super::*;
use crate::domain;
use chrono::{DateTime, Utc};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn checked(text: &str, zone: Tz) -> Checked {
    Checked::parse(text, &generate::schema(zone)).unwrap_or_else(|mistakes| {
        panic!(
            "{text}\n{}",
            mistakes.list.iter().map(|m| shown(text, m.span, m)).collect::<String>()
        )
    })
}

fn is_member(text: &str, facts: &Facts, now: &str, zone: Tz) -> bool {
    evaluate(&checked(text, zone), facts, at(now)).member
}
