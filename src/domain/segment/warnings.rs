//! What is doubtful about a definition that is in order: customers without a value who were probably
//! forgotten, and conditions that no customer or every customer fulfils.

use super::condition::{Ask, Condition, Leaf, Numbers, Operand, Test, ValueKind};
use super::mistake::{Span, Warning};
use super::syntax::Comparison;
use super::values::Values;
use std::collections::BTreeSet;

/// All warnings, in the order of the text.
pub(super) fn of(condition: &Condition) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut asked = BTreeSet::new();
    condition.leaves(&mut |leaf| {
        if let Ask::Attribute { operand, test: Test::Null { .. } } = &leaf.asks {
            asked.insert(operand.name.as_str());
        }
    });
    forgotten(condition, false, &asked, &mut warnings);
    decided(condition, &mut warnings);
    warnings.sort_by_key(|warning| warning.span);
    warnings
}

/// Customers without a value, where the definition nowhere asks who has one.
fn forgotten(
    condition: &Condition,
    turned: bool,
    asked: &BTreeSet<&str>,
    warnings: &mut Vec<Warning>,
) {
    match condition {
        Condition::All(members) | Condition::Any(members) => {
            members.iter().for_each(|member| forgotten(member, turned, asked, warnings));
        }
        Condition::Not(inner) => forgotten(inner, !turned, asked, warnings),
        Condition::Leaf(leaf) => {
            let operand = match &leaf.asks {
                Ask::Attribute { operand, .. } | Ask::Remembered { operand, .. } => operand,
                Ask::Matches(_) | Ask::Segment(_) => return,
            };
            if !may_be_forgotten(operand) || asked.contains(operand.name.as_str()) {
                return;
            }
            let name = &operand.name;
            let detail = if turned {
                format!(
                    "NOT takes customers without {name} too; if they are not meant, add: AND {name} IS NOT NULL"
                )
            } else if is_opposite(leaf) {
                format!(
                    "customers without {name} are not taken; if they are meant, add: OR {name} IS NULL"
                )
            } else {
                return;
            };
            warnings.push(Warning { code: "missing_value", detail, span: leaf.span });
        }
    }
}

fn may_be_forgotten(operand: &Operand) -> bool {
    operand.may_be_absent && !matches!(operand.kind, ValueKind::List(_))
}

/// Whether it asks a value not to be something.
fn is_opposite(leaf: &Leaf) -> bool {
    let Ask::Attribute { test, .. } = &leaf.asks else { return false };
    match test {
        Test::Moment(when) | Test::Day(when) => when.negated,
        Test::Number(numbers) => match numbers {
            Numbers::Compare { how, .. } => *how == Comparison::Unequal,
            Numbers::Between { negated, .. } | Numbers::OneOf { negated, .. } => *negated,
        },
        Test::Text(words) => words.negated,
        Test::Flag(_) | Test::List(_) | Test::Null { .. } => false,
    }
}

fn extent(condition: &Condition) -> Span {
    let mut extent: Option<Span> = None;
    condition.leaves(&mut |leaf| {
        extent = Some(extent.map_or(leaf.span, |span| span.to(leaf.span)));
    });
    extent.unwrap_or_default()
}

/// Conditions that no customer fulfils, or every one; the smallest that do are named.
fn decided(condition: &Condition, warnings: &mut Vec<Warning>) {
    let before = warnings.len();
    match condition {
        Condition::All(members) | Condition::Any(members) => {
            members.iter().for_each(|member| decided(member, warnings));
        }
        Condition::Not(inner) => decided(inner, warnings),
        Condition::Leaf(_) => {}
    }
    if warnings.len() > before {
        return;
    }
    let whole = Values::of(condition);
    if let Some(warning) = whole.as_ref().and_then(|values| judged(values, extent(condition))) {
        warnings.push(warning);
        return;
    }
    let (members, all) = match condition {
        Condition::All(members) => (members, true),
        Condition::Any(members) => (members, false),
        Condition::Not(_) | Condition::Leaf(_) => return,
    };
    // Members that ask for one attribute are judged together.
    let mut groups: Vec<(Values, Span)> = Vec::new();
    for member in members {
        let Some(values) = Values::of(member) else { continue };
        let span = extent(member);
        let group = groups.iter_mut().find(|(group, _)| group.operand == values.operand);
        match group {
            None => groups.push((values, span)),
            Some((group, of)) => {
                let both = group.clone();
                let joined = if all { both.and(values) } else { both.or(values) };
                if let Some(joined) = joined {
                    (*group, *of) = (joined, of.to(span));
                }
            }
        }
    }
    let wanted = if all { "never" } else { "always" };
    let judged = groups.iter().filter_map(|(values, span)| judged(values, *span));
    warnings.extend(judged.filter(|warning| warning.code == wanted));
}

fn judged(values: &Values, span: Span) -> Option<Warning> {
    let name = &values.operand;
    if values.is_none() {
        let detail = format!("no customer fulfils this: {name} cannot be all of it");
        return Some(Warning { code: "never", detail, span });
    }
    values.is_all().then(|| {
        let detail = format!("every customer fulfils this, whatever {name} is");
        Warning { code: "always", detail, span }
    })
}
