//! Who may go next: what belongs together goes one after the other, in the order in which it came;
//! what does not, at the same time.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Things that wait, by the lane they keep to.
pub struct Lanes<K, T> {
    /// A lane is here while something of it waits or is under way.
    lanes: HashMap<K, VecDeque<T>>,
    /// Lanes of which nothing is under way and something waits, in the order of arrival.
    ready: VecDeque<K>,
}

impl<K: Clone + Eq + Hash, T> Lanes<K, T> {
    pub fn new() -> Self {
        Self { lanes: HashMap::new(), ready: VecDeque::new() }
    }

    pub fn push(&mut self, lane: K, item: T) {
        match self.lanes.get_mut(&lane) {
            Some(queue) => queue.push_back(item),
            None => {
                self.lanes.insert(lane.clone(), VecDeque::from([item]));
                self.ready.push_back(lane);
            }
        }
    }

    /// The next one that may go. Its lane is closed until [`Lanes::done`].
    pub fn take(&mut self) -> Option<(K, T)> {
        let lane = self.ready.pop_front()?;
        let item = self.lanes.get_mut(&lane)?.pop_front()?;
        Some((lane, item))
    }

    /// What was taken of this lane has ended.
    pub fn done(&mut self, lane: K) {
        match self.lanes.get(&lane) {
            Some(queue) if !queue.is_empty() => self.ready.push_back(lane),
            _ => drop(self.lanes.remove(&lane)),
        }
    }

    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lane_keeps_its_order_and_holds_up_no_other() {
        let mut lanes = Lanes::new();
        for (lane, item) in [("a", 1), ("a", 2), ("b", 3), ("a", 4), ("c", 5)] {
            lanes.push(lane, item);
        }
        let first: Vec<_> = std::iter::from_fn(|| lanes.take()).collect();
        assert_eq!(first, [("a", 1), ("b", 3), ("c", 5)]);
        lanes.done("b");
        assert_eq!(lanes.take(), None);
        lanes.done("a");
        assert_eq!(lanes.take(), Some(("a", 2)));
        // It came while its lane was closed.
        lanes.push("a", 6);
        assert_eq!(lanes.take(), None);
        lanes.done("a");
        assert_eq!(lanes.take(), Some(("a", 4)));
        lanes.done("a");
        assert_eq!(lanes.take(), Some(("a", 6)));
        lanes.done("a");
        lanes.done("c");
        assert!(lanes.lanes.is_empty() && lanes.ready.is_empty(), "nothing is left behind");
    }
}
