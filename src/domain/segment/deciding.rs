//! Which clauses decide, where only is known of each clause whether it holds: as the database tells of
//! many customers at once. The explanation of one customer says the same.

use super::condition::Condition;

/// Whether a condition holds whose clauses, from left to right, hold or do not, and which of them
/// decide that: the answer would be another one if they, or some of them, were. A clause that is not
/// told of counts as one that does not hold.
pub fn deciding(condition: &Condition, clauses: &[bool]) -> (bool, Vec<usize>) {
    part(condition, clauses, &mut 0)
}

fn part(condition: &Condition, clauses: &[bool], next: &mut usize) -> (bool, Vec<usize>) {
    let (members, all) = match condition {
        Condition::Leaf(_) => {
            let place = *next;
            *next += 1;
            return (clauses.get(place).copied().unwrap_or(false), vec![place]);
        }
        Condition::Not(inner) => {
            let (holds, deciding) = part(inner, clauses, next);
            return (!holds, deciding);
        }
        Condition::All(members) => (members, true),
        Condition::Any(members) => (members, false),
    };
    let parts: Vec<_> = members.iter().map(|member| part(member, clauses, next)).collect();
    let holds = match all {
        true => parts.iter().all(|(holds, _)| *holds),
        false => parts.iter().any(|(holds, _)| *holds),
    };
    let agreeing = parts.into_iter().filter(|(is, _)| *is == holds);
    (holds, agreeing.flat_map(|(_, deciding)| deciding).collect())
}
