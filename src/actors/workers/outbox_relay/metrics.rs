//! What the relay tells of itself.

use chrono::TimeDelta;
use metrics::gauge;

use super::OutboxRelay;
use super::survey::shards_of;
use crate::db;

/// The groups' names in metrics.
const GROUPS: [&str; db::outbox::GROUPS as usize] = ["0", "1", "2", "3", "4", "5", "6", "7"];

impl OutboxRelay {
    pub(super) fn report(&self) {
        let now = self.clock.now();
        // All of them each time: one that was lost is no longer behind here.
        for (group, name) in (0..).zip(GROUPS) {
            let age = self.window.oldest(shards_of(group)).map(|oldest| now - oldest);
            let age = age.unwrap_or_default().max(TimeDelta::zero());
            gauge!("outbox_lag_seconds", "group" => name).set(age.as_seconds_f64());
        }
        gauge!("outbox_backlog").set(self.window.open_total() as f64);
        gauge!("outbox_held_customers").set(self.window.held() as f64);
        gauge!("outbox_groups_owned").set(self.groups().len() as f64);
    }
}
