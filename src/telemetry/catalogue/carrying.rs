//! Metrics of what is carried on after the answer: messages, mails, orders, segments, privacy, audit
//! and upkeep.

use super::{DELAYS, Label, Metric, Section, WAITS, counter, gauge, histogram, listed, words};

const OUTCOME_OF_SENDING: Label = words("outcome", &["sent", "put_off", "given_up", "stopped"]);
const QUEUE: Label = words("queue", &["mails", "text_messages"]);
const SOURCE: Label = words("source", &["facts", "order_service"]);
const ANALYSIS: Label = words("kind", &["rfm", "predictions"]);
const PARKED: Label = words("reason", &["unknown_customer", "poison"]);

pub const SECTIONS: &[Section] = &[
    Section { title: "Outbox", metrics: OUTBOX },
    Section { title: "Mails and text messages", metrics: LETTERS },
    Section { title: "Orders", metrics: ORDERS },
    Section { title: "Segments", metrics: SEGMENTS },
    Section { title: "Privacy and audit", metrics: PRIVACY },
    Section { title: "Upkeep, imports and figures", metrics: UPKEEP },
];

const OUTBOX: &[Metric] = &[
    gauge(
        "outbox_lag_seconds",
        &[words("group", &["0", "1", "2", "3", "4", "5", "6", "7"])],
        "Age of the oldest message that the broker has not confirmed, read or not, by group of shards, \
         looked up every five seconds whether the broker is there or not; 0 where another node relays \
         the group",
    ),
    gauge(
        "outbox_backlog",
        &[],
        "Messages not yet confirmed in the groups of this node; those not yet read are counted up to \
         500 in each of the 64 shards",
    ),
    gauge(
        "outbox_groups_owned",
        &[],
        "Groups of shards this node relays; over all nodes together there are 8",
    ),
    gauge(
        "outbox_held_customers",
        &[],
        "Customers whose messages wait behind one that cannot be published or is refused",
    ),
    counter("outbox_published_total", &[], "Messages confirmed by the broker"),
    counter("outbox_unrouted_total", &[], "Messages of types that no queue is bound for"),
    counter(
        "outbox_refused_total",
        &[],
        "Messages that the broker did not take for now, such as those for a full queue",
    ),
    counter(
        "outbox_message_faults_total",
        &[listed("type", "a type of message")],
        "Failed tries that were proven to be a message's own fault",
    ),
    counter(
        "outbox_channel_closures_total",
        &[],
        "Messages that were under way when the broker closed the channel because of one",
    ),
    counter(
        "outbox_parked_total",
        &[words("reason", &["refused", "not_encodable", "behind"])],
        "Messages parked, by reason; `behind`: one before it of the same customer is parked",
    ),
    gauge(
        "outbox_parked",
        &[words("state", &["trying", "parked", "behind", "released", "published", "discarded"])],
        "Messages that are kept, by state, counted up to 10 000; `parked` waits for staff; of the \
         installation",
    ),
    gauge(
        "outbox_partitions_ahead",
        &[],
        "Hours to come that have a partition; of the installation",
    ),
    gauge(
        "outbox_partitions_wanted",
        &[],
        "Hours to come that shall have one (`outbox.partitions_ahead_hours`)",
    ),
    gauge(
        "outbox_hours_in_default",
        &[],
        "Hours of which messages lie in the default partition; of the installation",
    ),
];

const LETTERS: &[Metric] = &[
    gauge(
        "deliveries_waiting",
        &[QUEUE],
        "Messages that are due, or were tried and put off, counted up to 10 000; of the installation",
    ),
    gauge(
        "deliveries_oldest_seconds",
        &[QUEUE],
        "How long ago the oldest of them was decided on; of the installation",
    ),
    counter(
        "mails_total",
        &[listed("kind", "a kind of mail"), OUTCOME_OF_SENDING],
        "Tries to send a mail, by kind and outcome",
    ),
    histogram(
        "mail_delay_seconds",
        DELAYS,
        &[],
        "From the decision on a mail until the mail server had it",
    ),
    counter(
        "text_messages_total",
        &[listed("kind", "a kind of text message"), OUTCOME_OF_SENDING],
        "Tries to send a text message, by kind and outcome",
    ),
    histogram(
        "text_message_delay_seconds",
        DELAYS,
        &[],
        "From the decision on a text message until the gateway had it",
    ),
    counter(
        "text_message_segments_total",
        &[],
        "Segments of the text messages that the gateway took: what is paid for",
    ),
    counter(
        "text_messages_refused_total",
        &[words("budget", &["sms_number", "sms_customer", "sms_total"])],
        "Text messages that were asked for and not sent, by the budget that was used up",
    ),
];

const ORDERS: &[Metric] = &[
    counter(
        "order_facts_total",
        &[words("outcome", &["recorded", "known", "customer_gone", "parked", "dead_letter"])],
        "Facts of orders, by what became of them",
    ),
    counter(
        "order_facts_dead_letters_total",
        &[listed("reason", "a reason of docs/orders.md")],
        "Messages about orders that cannot be used, by the reason; somebody should look",
    ),
    counter(
        "order_facts_retries_total",
        &[words(
            "cause",
            &[
                "database",
                "feed",
                "dead_letters",
                "panic",
                "outcome",
                "unknown",
                "unavailable",
                "merged_too_often",
            ],
        )],
        "Tries of facts that came to no end, by the cause",
    ),
    gauge("order_facts_in_flight", &[], "Facts that are being recorded"),
    gauge(
        "order_facts_in_flight_limit",
        &[],
        "Most facts that are recorded at once (`orders.intake.in_flight_max`)",
    ),
    gauge("order_facts_held", &[], "Facts read and not yet acknowledged"),
    gauge("order_facts_oldest_seconds", &[], "How long the oldest of them has been here"),
    gauge("order_intake_paused", &[], "1 while the intake waits for the database or the broker"),
    gauge(
        "order_facts_parked",
        &[PARKED],
        "Facts that wait for their customer, and facts given up, by the reason, counted up to 10 000; \
         of the installation",
    ),
    gauge(
        "order_facts_parked_oldest_seconds",
        &[PARKED],
        "Age of the oldest parked fact, by the reason; of the installation",
    ),
    counter(
        "reconciliation_customers_total",
        &[SOURCE],
        "Customers whose orders were compared, by what with",
    ),
    counter(
        "reconciliation_differences_total",
        &[SOURCE],
        "What was found to differ; it should not rise",
    ),
    counter("reconciliation_repaired_total", &[SOURCE], "Of what differed, repaired"),
    counter(
        "reconciliation_refused_facts_total",
        &[],
        "Facts that the order service answered and nobody can use",
    ),
    gauge(
        "reconciliation_age_seconds",
        &[SOURCE],
        "Since the last run was over, or since the one under way began; usual are up to \
         `orders.reconciliation.every_hours`; of the installation",
    ),
    gauge(
        "reconciliation_interval_seconds",
        &[],
        "From the begin of one run to that of the next (`orders.reconciliation.every_hours`); no series \
         where there are none",
    ),
    gauge("reconciliation_unreachable", &[], "1 while a run waits for the order service to answer"),
];

const SEGMENTS: &[Metric] = &[
    gauge(
        "segment_backlog_seconds",
        &[],
        "Age of the oldest change that is being judged, or was last; 0 when all is judged",
    ),
    histogram(
        "segment_change_lag_seconds",
        DELAYS,
        &[],
        "From a change to the commit of what it means for segments, where any asks about it",
    ),
    histogram(
        "segment_time_lag_seconds",
        DELAYS,
        &[],
        "From the instant that time makes a verdict due to the commit of what it means",
    ),
    counter(
        "segment_verdicts_total",
        &[words("cause", &["change", "time"])],
        "Customers judged, by what made it due",
    ),
    gauge(
        "segment_groups_owned",
        &[],
        "Groups of shards whose customers this node judges; over all nodes together there are 8",
    ),
    gauge(
        "segment_walks_open",
        &[],
        "Segments whose latest revision is not yet carried to all customers",
    ),
    counter(
        "segment_walk_customers_total",
        &[],
        "Customers looked at for a segment's new revision",
    ),
    gauge(
        "segments_unreadable",
        &[],
        "Definitions that cannot be read any more, whose members stay as they are",
    ),
];

const PRIVACY: &[Metric] = &[
    counter(
        "erasures_total",
        &[words("outcome", &["erased", "put_off"])],
        "Deletions, by what the reaper did",
    ),
    gauge(
        "erasures_overdue",
        &[words("waits_for", &["local", "services"])],
        "Deletions that should be over (up to 1000), by what they wait for; of the installation",
    ),
    counter("erasure_commands_resent_total", &[], "Erasures commanded again"),
    counter(
        "erasure_answers_total",
        &[words("outcome", &["recorded", "known", "buried"])],
        "Answers of other services, by what became of them",
    ),
    counter(
        "privacy_exports_total",
        &[words("outcome", &["ready", "failed", "lost", "gone"])],
        "Copies made of all that is kept of a customer, by outcome",
    ),
    histogram(
        "privacy_export_seconds",
        DELAYS,
        &[],
        "From the beginning of such a copy until it was ready",
    ),
    counter("audit_entries_sealed_total", &[], "Audit entries under a checkpoint"),
    gauge(
        "audit_unsealed_seconds",
        &[],
        "Age of the oldest audit entry that no checkpoint covers; of the installation",
    ),
    gauge(
        "audit_seal_interval_seconds",
        &[],
        "How often entries are sealed (`audit.seal_seconds`)",
    ),
];

const UPKEEP: &[Metric] = &[
    counter(
        "janitor_rows_deleted_total",
        &[listed("table", "a table that rows expire from")],
        "Rows deleted because their time was over",
    ),
    counter(
        "import_rows_total",
        &[words("outcome", &["imported", "failed"])],
        "Rows of imports that are done with, by outcome",
    ),
    histogram("import_block_seconds", WAITS, &[], "From a block's begin to its commit"),
    histogram(
        "analytics_run_seconds",
        DELAYS,
        &[ANALYSIS],
        "Time of a computation of cut points (`rfm`) or models (`predictions`)",
    ),
    gauge(
        "analytics_last_success_timestamp_seconds",
        &[ANALYSIS],
        "When cut points and models were last computed by this node",
    ),
];
