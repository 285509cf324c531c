//! What a customer lacks to be a member: the rest of the condition, without what is so already.

use super::condition::Condition;
use super::evaluate::holds;
use super::facts::Facts;
use super::when::Now;

/// What would have to become so, as a condition; of a condition that does not hold.
pub(super) fn missing(condition: &Condition, facts: &Facts, now: &Now) -> Option<String> {
    (!holds(condition, facts, now)).then(|| rest(condition, facts, now, true).text)
}

/// A part of it.
struct Rest {
    text: String,
    /// Whether it must stand in parentheses among parts that must all be so.
    is_choice: bool,
}

/// What makes a condition as it is wanted that is not.
fn rest(condition: &Condition, facts: &Facts, now: &Now, wanted: bool) -> Rest {
    let (members, all) = match condition {
        Condition::Leaf(leaf) => {
            let text = if wanted { leaf.text.clone() } else { format!("NOT {}", leaf.text) };
            return Rest { text, is_choice: false };
        }
        Condition::Not(inner) => return rest(inner, facts, now, !wanted),
        Condition::All(members) => (members, true),
        Condition::Any(members) => (members, false),
    };
    let lacking = members.iter().filter(|member| holds(member, facts, now) != wanted);
    let mut parts: Vec<Rest> = lacking.map(|member| rest(member, facts, now, wanted)).collect();
    if parts.len() == 1 {
        return parts.remove(0);
    }
    // All of them must become so, or any one will do.
    let together = all == wanted;
    let text = parts.iter().map(|part| match part.is_choice && together {
        true => format!("({})", part.text),
        false => part.text.clone(),
    });
    let text = text.collect::<Vec<_>>().join(if together { " AND " } else { " OR " });
    Rest { text, is_choice: !together }
}
