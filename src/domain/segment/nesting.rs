//! Segments that ask about segments: none may, over any others, ask about itself.

use std::collections::{BTreeMap, BTreeSet};

/// A cycle of names, if a segment of this name that asks about these closes one: from the segment over
/// the others back to it. `known` tells what every other segment asks about.
pub fn cycle(
    name: &str,
    asks: &BTreeSet<String>,
    known: &BTreeMap<String, BTreeSet<String>>,
) -> Option<Vec<String>> {
    // Each segment is entered once, with the one that it was reached from: no path is walked twice.
    let mut reached_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ahead: Vec<&str> = Vec::new();
    for next in asks {
        reached_from.insert(next, name);
        ahead.push(next);
    }
    while let Some(at) = ahead.pop() {
        if at == name {
            break;
        }
        for next in known.get(at).into_iter().flatten() {
            if !reached_from.contains_key(next.as_str()) {
                reached_from.insert(next, at);
                ahead.push(next);
            }
        }
    }
    let mut path = vec![name.to_owned()];
    let mut at = *reached_from.get(name)?;
    while at != name {
        path.push(at.to_owned());
        at = reached_from.get(at)?;
    }
    path.push(name.to_owned());
    path.reverse();
    Some(path)
}

/// All segments, each after those that it asks about; of those on a cycle, and of those that ask about
/// them, none.
pub fn in_order(known: &BTreeMap<String, BTreeSet<String>>) -> Vec<&str> {
    let mut order = Vec::with_capacity(known.len());
    let mut waits: BTreeMap<&str, usize> = BTreeMap::new();
    let mut asked_by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, asks) in known {
        let asks = asks.iter().filter(|asked| known.contains_key(*asked));
        waits.insert(name, asks.clone().count());
        asks.for_each(|asked| asked_by.entry(asked).or_default().push(name));
    }
    let mut ready: Vec<&str> =
        waits.iter().filter(|(_, waits)| **waits == 0).map(|(name, _)| *name).collect();
    while let Some(name) = ready.pop() {
        order.push(name);
        for by in asked_by.get(name).into_iter().flatten() {
            if let Some(left) = waits.get_mut(by) {
                *left -= 1;
                if *left == 0 {
                    ready.push(by);
                }
            }
        }
    }
    order
}
