//! What a definition costs to evaluate, and why it may cost too much.
//!
//! The unit is one column of the customer's own row. What lies in other rows costs more, and what must
//! be gathered from several facts most. Whoever asks too much is told which clauses ask it.

use super::condition::{Ask, Condition, Filter, Leaf, Matches, Numbers, Test};
use super::mistake::{Mistake, Span};

/// Of a filter over several facts.
const FILTER: u32 = 2;
/// Of a filter that looks into each fact.
const INNER_FILTER: u32 = 10;
/// Of being a member of a segment: one row.
const SEGMENT: u32 = 4;
/// Of how many listed values cost as much as a column.
const VALUES: usize = 10;

/// See the module.
pub(super) fn of(condition: &Condition) -> u32 {
    let mut sum = 0_u32;
    condition.leaves(&mut |leaf| sum = sum.saturating_add(of_leaf(leaf)));
    sum
}

/// Of one clause.
pub fn of_leaf(leaf: &Leaf) -> u32 {
    match &leaf.asks {
        Ask::Attribute { operand, test } => operand.cost + listed(test),
        Ask::Remembered { operand, .. } => operand.cost + 1,
        Ask::Segment(_) => SEGMENT,
        Ask::Matches(matches) => of_matches(matches),
    }
}

fn listed(test: &Test) -> u32 {
    let values = match test {
        Test::Number(Numbers::OneOf { numbers, .. }) => numbers.len(),
        Test::Text(words) | Test::List(words) => words.any_of.len(),
        Test::Moment(when) | Test::Day(when) => when.ranges.len(),
        Test::Number(_) | Test::Flag(_) | Test::Null { .. } => 1,
    };
    u32::try_from(values / VALUES).unwrap_or(u32::MAX)
}

fn of_matches(matches: &Matches) -> u32 {
    let filter = |filter: &Filter| match filter {
        Filter::Sku(words) => {
            INNER_FILTER + u32::try_from(words.any_of.len() / VALUES).unwrap_or(u32::MAX)
        }
        _ => FILTER,
    };
    matches.cost + matches.filters.iter().map(filter).sum::<u32>()
}

/// How many of the dearest clauses are named.
const NAMED: usize = 3;
/// Most characters of a clause that are shown.
const SHOWN: usize = 60;

/// What is wrong with a definition that costs more than it may.
pub(super) fn too_dear(condition: &Condition, most: u32) -> Option<Mistake> {
    let all = of(condition);
    if all <= most {
        return None;
    }
    let mut leaves: Vec<(u32, &Leaf)> = Vec::new();
    condition.leaves(&mut |leaf| leaves.push((of_leaf(leaf), leaf)));
    leaves.sort_by_key(|(cost, leaf)| (std::cmp::Reverse(*cost), leaf.span));
    let span = leaves.first().map_or(Span::default(), |(_, leaf)| leaf.span);
    let named = leaves.iter().take(NAMED).map(|(cost, leaf)| {
        let mut text: String = leaf.text.chars().take(SHOWN).collect();
        if text.len() < leaf.text.len() {
            text.push('…');
        }
        format!("{text} costs {cost}")
    });
    let named: Vec<_> = named.collect();
    let rest = leaves.len().saturating_sub(NAMED);
    let rest = if rest > 0 { format!(", and {rest} more") } else { String::new() };
    let detail =
        format!("it costs {all} to evaluate, and may cost {most}: {}{rest}", named.join(", "));
    Some(Mistake::new("too_dear", span, detail))
}
