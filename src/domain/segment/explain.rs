//! Why a customer is a member, or why not: the condition as a tree, with what each clause found, which
//! of them decide, since when, and when that can change.

use super::Checked;
use super::attributes::Field;
use super::condition::{Aggregate, Ask, Condition, Leaf, Matches, Operand, ValueKind};
use super::evaluate::{self, Answer, holds, is_absent};
use super::facts::Facts;
use super::missing::missing;
use super::number::{Number, decimals};
use super::when::Now;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    pub member: bool,
    /// Since when that is so at the latest, as far as the facts tell.
    pub since: Option<DateTime<Utc>>,
    pub next_flip: Option<DateTime<Utc>>,
    /// Of who is no member: what would have to become so, as a condition.
    pub missing: Option<String>,
    pub tree: Explained,
}

/// A part of a condition, and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// In canonical form.
    pub text: String,
    pub holds: bool,
    /// Whether the answer would be another one if this part, or some of those that decide, were.
    pub decides: bool,
    /// What the customer has; `None` of parts with members, and where it has none.
    pub value: Option<String>,
    /// Whether it has none.
    pub absent: bool,
    /// Since when this part is as it is at the latest, as far as the facts tell.
    pub since: Option<DateTime<Utc>>,
    /// When this part may turn next by time alone.
    pub next_turn: Option<DateTime<Utc>>,
    pub members: Vec<Explained>,
}

impl Explanation {
    /// The clauses that decide, from left to right: of who is no member, what is missing.
    pub fn deciding(&self) -> Vec<&Explained> {
        fn collect<'a>(part: &'a Explained, found: &mut Vec<&'a Explained>) {
            if part.members.is_empty() && part.decides {
                found.push(part);
            }
            part.members.iter().for_each(|member| collect(member, found));
        }
        let mut found = Vec::new();
        collect(&self.tree, &mut found);
        found
    }
}

/// See the module.
pub fn explain(checked: &Checked, facts: &Facts, now: DateTime<Utc>) -> Explanation {
    let Answer { member, next_flip } = evaluate::evaluate(checked, facts, now);
    let now = Now::new(now, checked.time_zone());
    let tree = explained(checked.condition(), facts, &now, true);
    let missing = missing(checked.condition(), facts, &now);
    Explanation { member, since: tree.since, next_flip, missing, tree }
}

fn explained(condition: &Condition, facts: &Facts, now: &Now, decides: bool) -> Explained {
    let is = holds(condition, facts, now);
    let (members, all) = match condition {
        Condition::Leaf(leaf) => return clause(leaf, facts, now, decides),
        Condition::Not(inner) => {
            let inner = explained(inner, facts, now, decides);
            let text = match inner.members.len() {
                0 | 1 => format!("NOT {}", inner.text),
                _ => format!("NOT ({})", inner.text),
            };
            let (since, next_turn) = (inner.since, inner.next_turn);
            return whole(text, is, decides, since, next_turn, vec![inner]);
        }
        Condition::All(members) => (members, true),
        Condition::Any(members) => (members, false),
    };
    // Where every member must be so, all decide together; else each one that is, by itself.
    let together = is == all;
    let parts: Vec<Explained> = members
        .iter()
        .map(|member| {
            let agrees = holds(member, facts, now) == is;
            explained(member, facts, now, decides && agrees)
        })
        .collect();
    let text = parts.iter().zip(members).map(|(part, member)| match member {
        Condition::Any(_) if all => format!("({})", part.text),
        _ => part.text.clone(),
    });
    let text = text.collect::<Vec<_>>().join(if all { " AND " } else { " OR " });
    let agreeing = parts.iter().filter(|part| part.holds == is).map(|part| part.since);
    let since = if together {
        // since the last of them; not known where one is not
        agreeing.collect::<Option<Vec<_>>>().and_then(|since| since.into_iter().max())
    } else {
        agreeing.flatten().min()
    };
    let next_turn = parts.iter().filter_map(|part| part.next_turn).min();
    whole(text, is, decides, since, next_turn, parts)
}

fn whole(
    text: String,
    holds: bool,
    decides: bool,
    since: Option<DateTime<Utc>>,
    next_turn: Option<DateTime<Utc>>,
    members: Vec<Explained>,
) -> Explained {
    let (value, absent) = (None, false);
    Explained { text, holds, decides, value, absent, since, next_turn, members }
}

fn clause(leaf: &Leaf, facts: &Facts, now: &Now, decides: bool) -> Explained {
    let turns = evaluate::turns(leaf, facts, now);
    let next_turn = turns.at.iter().copied().filter(|at| *at > now.instant).min();
    let past = turns.at.into_iter().filter(|at| *at <= now.instant).max();
    let (value, absent) = value(leaf, facts, now);
    Explained {
        text: leaf.text.clone(),
        holds: holds(&Condition::Leaf(leaf.clone()), facts, now),
        decides,
        since: since(leaf, facts, now, past),
        value,
        absent,
        next_turn,
        members: Vec::new(),
    }
}

/// Since when a clause is as it is: since time turned it last, or since what it looks at is there.
/// What customers and staff enter bears no instant of its own, so nothing is known of that.
fn since(
    leaf: &Leaf,
    facts: &Facts,
    now: &Now,
    past: Option<DateTime<Utc>>,
) -> Option<DateTime<Utc>> {
    let arose = match &leaf.asks {
        Ask::Attribute { operand, .. } | Ask::Remembered { operand, .. } => match &operand.field {
            Field::Custom { .. } | Field::BirthDate => None,
            Field::EmailVerified => facts.email_verified_at,
            Field::PhoneVerified => facts.phone_verified_at,
            field => facts.moment(field),
        },
        Ask::Matches(matches) => {
            let newest = match matches.function {
                super::attributes::Function::SignedIn => facts.sign_ins.iter().max().copied(),
                _ => facts.orders.iter().map(|order| order.placed_at).max(),
            };
            // Nothing ever happened that it looks at, or something did at that time.
            Some(newest.unwrap_or(facts.added_at))
        }
        Ask::Segment(_) => None,
    }?;
    let arose = Some(arose).filter(|arose| *arose <= now.instant);
    past.max(arose)
}

/// What the customer has, and whether it has none.
fn value(leaf: &Leaf, facts: &Facts, now: &Now) -> (Option<String>, bool) {
    match &leaf.asks {
        Ask::Attribute { operand, .. } | Ask::Remembered { operand, .. } => {
            let absent = is_absent(operand, facts, now);
            (shown(operand, facts, now).filter(|_| !absent), absent)
        }
        Ask::Matches(matches) => (Some(shown_sums(matches, facts, now)), false),
        Ask::Segment(name) => {
            let is = if facts.segments.contains(name) { "a member" } else { "no member" };
            (Some(is.to_owned()), false)
        }
    }
}

fn shown(operand: &Operand, facts: &Facts, now: &Now) -> Option<String> {
    let field = &operand.field;
    match &operand.kind {
        ValueKind::Moment => facts.moment(field).map(|moment| {
            moment.with_timezone(&now.zone).to_rfc3339_opts(SecondsFormat::Secs, true)
        }),
        ValueKind::Day => facts.day(field).map(|day| day.to_string()),
        ValueKind::Count | ValueKind::Number { .. } => {
            facts.number(field).map(|number| number.to_string())
        }
        ValueKind::Money { currency } => {
            facts.number(field).map(|number| format!("{number} {currency}"))
        }
        ValueKind::Text | ValueKind::Choice(_) => {
            facts.text(field, now).map(std::borrow::Cow::into_owned)
        }
        ValueKind::Flag => facts.flag(field).map(|flag| flag.to_string()),
        ValueKind::List(_) => Some(facts.list(field).join(", ")),
    }
}

fn shown_sums(matches: &Matches, facts: &Facts, now: &Now) -> String {
    let sums = evaluate::sums(matches, facts, now);
    let told = matches.aggregates.iter().map(|(aggregate, _)| match aggregate {
        Aggregate::Count => format!("count {}", sums.count),
        Aggregate::SumQuantity => format!("sum_quantity {}", sums.quantity),
        Aggregate::SumAmount => {
            let currency = matches.currency.as_deref().unwrap_or("");
            let sum = Number::of_units(sums.amount, decimals(currency));
            format!("sum_amount {sum} {currency}")
        }
    });
    told.collect::<Vec<_>>().join(", ")
}
