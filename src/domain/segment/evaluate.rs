//! Whether one customer is a member now, and when that can next change without anything happening.
//!
//! Logic is of two values: a comparison with an absent value is false, and so is its opposite
//! (`!=`, `NOT IN`, `NOT BETWEEN`); `NOT` turns whatever it stands before round.

use super::Checked;
use super::attributes::{Field, Function};
use super::condition::{
    Aggregate, Ask, Condition, Filter, Leaf, Matches, Operand, Test, ValueKind,
};
use super::facts::{Facts, OrderFact};
use super::fold::folded;
use super::number::{Number, decimals};
use super::when::Now;
use crate::domain::analytics::calendar::{day_of, start_of};
use crate::domain::order::OrderStatus;
use chrono::{DateTime, Days, Utc};

/// What an evaluation comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    pub member: bool,
    /// The earliest instant after now at which `member` can change by time alone: never later than it
    /// does. `None`: it cannot. Where it is looked at again and did not change, it is computed anew.
    pub next_flip: Option<DateTime<Utc>>,
}

/// See [`Answer`].
pub fn evaluate(checked: &Checked, facts: &Facts, now: DateTime<Utc>) -> Answer {
    let now = Now::new(now, checked.time_zone());
    let condition = checked.condition();
    let member = holds(condition, facts, &now);
    Answer { member, next_flip: next_flip(condition, facts, &now, member) }
}

/// Whether a condition holds of a customer at an instant.
pub(super) fn holds(condition: &Condition, facts: &Facts, now: &Now) -> bool {
    match condition {
        Condition::All(members) => members.iter().all(|member| holds(member, facts, now)),
        Condition::Any(members) => members.iter().any(|member| holds(member, facts, now)),
        Condition::Not(inner) => !holds(inner, facts, now),
        Condition::Leaf(leaf) => leaf_holds(leaf, facts, now),
    }
}

fn leaf_holds(leaf: &Leaf, facts: &Facts, now: &Now) -> bool {
    match &leaf.asks {
        Ask::Attribute { operand, test } => attribute_holds(operand, test, facts, now),
        Ask::Matches(matches) => matches_holds(matches, facts, now),
        Ask::Remembered { operand, days } => {
            let day = match operand.kind {
                ValueKind::Day => facts.day(&operand.field),
                _ => facts.moment(&operand.field).map(|moment| day_of(moment, now.zone)),
            };
            day.is_some_and(|day| days.holds(day, now))
        }
        Ask::Segment(name) => facts.segments.contains(name),
    }
}

fn attribute_holds(operand: &Operand, test: &Test, facts: &Facts, now: &Now) -> bool {
    let field = &operand.field;
    match test {
        Test::Moment(when) => facts.moment(field).is_some_and(|value| when.moment_is(value, now)),
        Test::Day(when) => facts.day(field).is_some_and(|value| when.day_is(value, now)),
        Test::Number(numbers) => facts.number(field).is_some_and(|value| numbers.holds(value)),
        Test::Text(words) => facts.text(field, now).is_some_and(|value| words.holds(&value)),
        Test::Flag(is) => facts.flag(field).is_some_and(|value| value == *is),
        // a list is never absent
        Test::List(words) => {
            let has = |member: &&str| words.any_of.contains(&folded(member));
            facts.list(field).iter().any(has) != words.negated
        }
        Test::Null { negated } => is_absent(operand, facts, now) != *negated,
    }
}

/// Whether the customer has no value; of a list: none in it.
pub(super) fn is_absent(operand: &Operand, facts: &Facts, now: &Now) -> bool {
    let field = &operand.field;
    match operand.kind {
        ValueKind::Moment => facts.moment(field).is_none(),
        ValueKind::Day => facts.day(field).is_none(),
        ValueKind::Count | ValueKind::Money { .. } | ValueKind::Number { .. } => {
            facts.number(field).is_none()
        }
        ValueKind::Text | ValueKind::Choice(_) => facts.text(field, now).is_none(),
        ValueKind::Flag => facts.flag(field).is_none(),
        ValueKind::List(_) => facts.list(field).is_empty(),
    }
}

// --- functions --------------------------------------------------------------------------------

/// One of the facts that a function looks at.
#[derive(Clone, Copy)]
struct Fact<'a> {
    at: DateTime<Utc>,
    /// Whose item it is, or the order itself; none of a sign-in.
    order: Option<&'a OrderFact>,
    /// Sku and how many, of an item.
    item: Option<(&'a str, i64)>,
}

/// The facts that may match, dates apart.
fn candidates<'a>(matches: &'a Matches, facts: &'a Facts) -> impl Iterator<Item = Fact<'a>> {
    let plain = |order: &'a OrderFact| Fact { at: order.placed_at, order: Some(order), item: None };
    let counts = |order: &&OrderFact| {
        (matches.any_status() || order.status != OrderStatus::Cancelled)
            && matches.currency.as_ref().is_none_or(|currency| *currency == order.currency)
    };
    let orders = facts.orders.iter().filter(counts);
    let found: Vec<Fact<'a>> = match matches.function {
        Function::OrdersPlaced => orders.map(plain).collect(),
        Function::ProductsPurchased => orders
            .flat_map(|order| {
                let of = plain(order);
                order.items.iter().map(move |(sku, many)| Fact { item: Some((sku, *many)), ..of })
            })
            .collect(),
        Function::SignedIn => {
            facts.sign_ins.iter().map(|at| Fact { at: *at, order: None, item: None }).collect()
        }
    };
    let fits = |fact: &Fact<'a>| matches.filters.iter().all(|filter| passes(filter, fact));
    found.into_iter().filter(fits)
}

fn amount(order: &OrderFact) -> Number {
    Number::of_units(order.amount, decimals(&order.currency))
}

/// Whether a fact passes a filter that is not of dates.
fn passes(filter: &Filter, fact: &Fact<'_>) -> bool {
    match filter {
        Filter::Date(_) => true,
        Filter::Amount(numbers) => fact.order.is_some_and(|order| numbers.holds(amount(order))),
        Filter::Status(words) => fact.order.is_some_and(|order| words.holds(order.status.as_str())),
        Filter::Sku(words) => match (fact.item, fact.order) {
            (Some((sku, _)), _) => words.holds(sku),
            // an order has the skus of its items: one of these, or, negated, none of them
            (None, Some(order)) => {
                let any = order.items.iter().any(|(sku, _)| words.any_of.contains(sku));
                any != words.negated
            }
            (None, None) => false,
        },
        Filter::Quantity(numbers) => {
            fact.item.is_some_and(|(_, many)| numbers.holds(Number::whole(many)))
        }
    }
}

fn on_time(matches: &Matches, fact: &Fact<'_>, now: &Now) -> bool {
    matches.filters.iter().all(|filter| match filter {
        Filter::Date(when) => when.moment_is(fact.at, now),
        _ => true,
    })
}

/// What the matching facts come to.
pub(super) struct Sums {
    pub count: i64,
    pub quantity: i64,
    /// In minor units of the function's currency.
    pub amount: i64,
}

pub(super) fn sums(matches: &Matches, facts: &Facts, now: &Now) -> Sums {
    let mut sums = Sums { count: 0, quantity: 0, amount: 0 };
    for fact in candidates(matches, facts).filter(|fact| on_time(matches, fact, now)) {
        sums.count += 1;
        sums.quantity = sums.quantity.saturating_add(fact.item.map_or(0, |(_, many)| many));
        let amount = fact.order.map_or(0, |order| order.amount);
        sums.amount = sums.amount.saturating_add(amount);
    }
    sums
}

fn matches_holds(matches: &Matches, facts: &Facts, now: &Now) -> bool {
    let sums = sums(matches, facts, now);
    let units = matches.currency.as_deref().map_or(0, decimals);
    let fulfilled = matches.aggregates.iter().all(|(aggregate, numbers)| {
        numbers.holds(match aggregate {
            Aggregate::Count => Number::whole(sums.count),
            Aggregate::SumQuantity => Number::whole(sums.quantity),
            Aggregate::SumAmount => Number::of_units(sums.amount, units),
        })
    });
    fulfilled != matches.negated
}

// --- what time does ---------------------------------------------------------------------------

/// Most turns that are looked at one by one: beyond, it is looked at again when the last one comes.
const TURNS_MAX: usize = 512;

/// When a clause may turn, in any order; and until when that is known.
pub(super) struct Turns {
    pub at: Vec<DateTime<Utc>>,
    pub known_until: Option<DateTime<Utc>>,
}

/// When a clause may turn by time alone, before and after now.
pub(super) fn turns(leaf: &Leaf, facts: &Facts, now: &Now) -> Turns {
    let (mut at, mut known_until) = (Vec::new(), None);
    match &leaf.asks {
        Ask::Attribute { operand, test } => match test {
            Test::Moment(when) => {
                let value = facts.moment(&operand.field);
                at.extend(
                    value.into_iter().flat_map(|value| when.turns_of_moment(value, now.zone)),
                );
            }
            Test::Day(when) => {
                let value = facts.day(&operand.field);
                at.extend(value.into_iter().flat_map(|value| when.turns_of_day(value, now.zone)));
            }
            _ if operand.field == Field::RfmGroup => at.extend(turns_of_score(facts)),
            _ => {}
        },
        Ask::Matches(matches) => {
            let dates = matches.filters.iter().filter_map(|filter| match filter {
                Filter::Date(when) if when.moves() => Some(when),
                _ => None,
            });
            for when in dates {
                let turns = |fact: Fact<'_>| when.turns_of_moment(fact.at, now.zone);
                at.extend(candidates(matches, facts).flat_map(turns));
            }
        }
        Ask::Remembered { operand, days } => {
            let day = match operand.kind {
                ValueKind::Day => facts.day(&operand.field),
                _ => facts.moment(&operand.field).map(|moment| day_of(moment, now.zone)),
            };
            if let Some(day) = day {
                (at, known_until) = days.turns(day, now);
            }
        }
        Ask::Segment(_) => {}
    }
    Turns { at, known_until }
}

/// Whether time alone can change the answer about anybody.
pub(super) fn is_timed(condition: &Condition) -> bool {
    let mut timed = false;
    condition.leaves(&mut |leaf| {
        timed |= match &leaf.asks {
            Ask::Attribute { operand, test } => match test {
                Test::Moment(when) | Test::Day(when) => when.moves(),
                _ => operand.field == Field::RfmGroup,
            },
            Ask::Matches(matches) => matches.filters.iter().any(|filter| match filter {
                Filter::Date(when) => when.moves(),
                _ => false,
            }),
            Ask::Remembered { .. } => true,
            Ask::Segment(_) => false,
        }
    });
    timed
}

/// When the days since the last order exceed a cut point.
fn turns_of_score(facts: &Facts) -> Vec<DateTime<Utc>> {
    let Some(rfm) = facts.rfm else { return Vec::new() };
    let last = day_of(rfm.bought.last_order_at, rfm.zone);
    let passed = |days: i64| last.checked_add_days(Days::new(days.unsigned_abs() + 1));
    let days = rfm.cuts.recency_days.iter().filter_map(|days| passed(*days));
    days.map(|day| start_of(day, rfm.zone)).collect()
}

/// See [`Answer::next_flip`]. Between two turns nothing changes: so the answer is looked at there.
fn next_flip(
    condition: &Condition,
    facts: &Facts,
    now: &Now,
    member: bool,
) -> Option<DateTime<Utc>> {
    let (mut ahead, mut known_until) = (Vec::new(), None);
    condition.leaves(&mut |leaf| {
        let turns = turns(leaf, facts, now);
        ahead.extend(turns.at.into_iter().filter(|at| *at > now.instant));
        let ends = turns.known_until.filter(|until| *until > now.instant);
        known_until = [known_until, ends].into_iter().flatten().min();
    });
    ahead.sort_unstable();
    ahead.dedup();
    let known = ahead.into_iter().filter(|at| known_until.is_none_or(|until| *at <= until));
    for (n, at) in known.enumerate() {
        let then = Now::new(at, now.zone);
        if n == TURNS_MAX || holds(condition, facts, &then) != member {
            return Some(at);
        }
    }
    known_until
}
