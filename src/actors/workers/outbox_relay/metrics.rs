//! What the relay tells of itself.

use chrono::TimeDelta;
use metrics::{Unit, describe_counter, describe_gauge, gauge};

use super::OutboxRelay;

/// Describes the relay's metrics; once per process.
pub fn describe_metrics() {
    describe_gauge!(
        "outbox_lag_seconds",
        Unit::Seconds,
        "Age of the oldest message read and not yet confirmed by the broker"
    );
    describe_gauge!("outbox_backlog", Unit::Count, "Messages read and not yet confirmed");
    describe_gauge!(
        "outbox_held_customers",
        Unit::Count,
        "Customers whose messages wait behind one that cannot be published or is refused"
    );
    describe_gauge!("outbox_groups_owned", Unit::Count, "Groups of shards this node relays");
    describe_counter!("outbox_published_total", Unit::Count, "Messages confirmed by the broker");
    describe_counter!(
        "outbox_unrouted_total",
        Unit::Count,
        "Messages of types that no queue is bound for"
    );
    describe_counter!(
        "outbox_refused_total",
        Unit::Count,
        "Messages that the broker did not take for now, such as those for a full queue"
    );
    describe_counter!(
        "outbox_message_faults_total",
        Unit::Count,
        "Failed tries that were proven to be a message's own fault"
    );
    describe_counter!(
        "outbox_channel_closures_total",
        Unit::Count,
        "Messages that were under way when the broker closed the channel because of one"
    );
    describe_counter!(
        "outbox_parked_total",
        Unit::Count,
        "Messages parked, by reason; alarm on any reason but `behind`"
    );
    describe_gauge!(
        "outbox_parked",
        Unit::Count,
        "Messages of the whole installation that are kept, by state, counted up to 10 000; `parked` \
         waits for staff"
    );
}

impl OutboxRelay {
    pub(super) fn report(&self) {
        let age = self.window.oldest().map(|oldest| self.clock.now() - oldest);
        let age = age.unwrap_or_default().max(TimeDelta::zero());
        gauge!("outbox_lag_seconds").set(age.as_seconds_f64());
        gauge!("outbox_backlog").set(self.window.open_total() as f64);
        gauge!("outbox_held_customers").set(self.window.held() as f64);
        gauge!("outbox_groups_owned").set(self.groups().len() as f64);
    }
}
