//! Which alert is brought about where and how; which are not, and why; and which series are born with
//! the trouble that they tell of.

use std::collections::BTreeSet;

use crate::rules;

/// The test that brings alerts about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Dependencies,
    SignIns,
    Records,
    Clocks,
    Crowds,
}

/// An alert that a running service is made to fire.
pub struct Row {
    pub alert: &'static str,
    pub stage: Stage,
    /// How its trouble is made.
    pub trouble: &'static str,
    /// What was changed in its expression beside ranges: thresholds that are themselves a time.
    pub changed: &'static [(&'static str, &'static str)],
}

const fn row(alert: &'static str, stage: Stage, trouble: &'static str) -> Row {
    Row { alert, stage, trouble, changed: &[] }
}

use Stage::{Clocks, Crowds, Dependencies, Records, SignIns};

pub const FIRED: &[Row] = &[
    row("RabbitUnreachable", Dependencies, "the line to RabbitMQ is reset and refuses"),
    Row {
        changed: &[("> 60", "> 3")],
        ..row("OutboxLag", Dependencies, "changes while RabbitMQ is away")
    },
    Row {
        changed: &[("> 300", "> 3")],
        ..row("WorkerFailing", Dependencies, "the relay without RabbitMQ")
    },
    row("OrderIntakeLag", Dependencies, "the intake rests while RabbitMQ is away"),
    row("RedisUnreachable", Dependencies, "the line to Redis refuses"),
    row("AnswersSlow", Dependencies, "the line to PostgreSQL delays each piece"),
    row("DatabasePoolExhausted", Dependencies, "more reads than connections, on the slow line"),
    row("DatabaseUnreachable", Dependencies, "the line to PostgreSQL refuses"),
    row("ServiceDown", Dependencies, "the same, of the only node"),
    row("NodeNotReady", Dependencies, "the same"),
    row("RevocationsUnread", Dependencies, "the same"),
    row("ErrorRatioHigh", Dependencies, "reads meanwhile, answered 503"),
    row("NodeUnreachable", Dependencies, "the node is killed"),
    row("TextBudgetSpent", SignIns, "codes asked for beyond limits.sms_per_hour"),
    row("IdentityProviderUnavailable", SignIns, "a provider that answers 503 to everything"),
    Row {
        changed: &[("> 600", "> 3")],
        ..row("DeliveriesWait", SignIns, "a mail while nobody listens at mail.smtp_url")
    },
    row("HashingQueueFull", SignIns, "many sign-ins at once, one slow hashing thread"),
    row("Overloaded", SignIns, "the same: who is turned away is told so"),
    row("StuffingBrakeEngaged", SignIns, "a list of addresses and passwords"),
    row(
        "OutboxNotRelayed",
        Records,
        "another session holds the lock of a group and relays nothing",
    ),
    row("SegmentBacklog", Records, "another session holds the lock of a group and judges nobody"),
    row("OutboxPartitionsShort", Records, "a message of an hour that had no partition"),
    row("SegmentsUnreadable", Records, "a definition that the language no longer reads"),
    row("MessagesParked", Records, "a message whose type AMQP cannot carry"),
    row("OrderDeadLetters", Records, "a message of the order service that is no fact"),
    row("OrdersGivenUp", Records, "a fact at which whoever records it panics"),
    row("OrdersDiffer", Records, "statistics changed by hand, and a comparison that is due"),
    row("ExportsFail", Records, "a copy larger than privacy_exports.size_limit_mib"),
    row("CustomerKeysShut", Records, "one bit of a customer's key turned in the database"),
    row("ErasuresOverdue", Records, "an erasure whose services have not answered for hours"),
    Row {
        changed: &[(", 900)", ", 3)")],
        ..row("AuditSealingLate", Records, "a transaction that stays open")
    },
    row(
        "DeliveriesGivenUp",
        Records,
        "a file in the place of mail.folder, and mails with one try each",
    ),
    row("ActorPaused", Records, "an order to rest"),
    row(
        "CustomersRefused",
        Crowds,
        "hundreds of reads at once, few connections, a distant database",
    ),
    row("ClockOff", Clocks, "a node whose machine's clock is ten seconds ahead (libfaketime)"),
    row("DatabaseRoomShort", Clocks, "database.room_mib below what is there"),
    row("Panics", Clocks, "a shard that panics at messages"),
    row("ActorRestarting", Clocks, "the same, more than three times"),
];

/// Alerts that no honest test of minutes brings about here, with what proves them instead.
pub const NOT_HERE: &[(&str, &str)] = &[(
    "ActorDown",
    "the net under a net: an actor that is given up ends the process (tests/faults, tests/it), so the series \
     stands at 0 for two minutes only if that fails, too; between restarts it does so for moments, which \
     with a short `for` would prove nothing",
)];

/// Series that a healthy node does not tell, and what their alerts make of it.
pub const BORN_WITH_TROUBLE: &[(&str, &str)] = &[
    (
        r#"http_server_request_duration_seconds_count{job="customer-service",http_route!~"/health/.*|/metrics",http_response_status_code=~"5.."}"#,
        "by the first 5xx of a route; without any the ratio has no value, which is silence. A route's first \
         5xx does not count as a rise, the next ones do, and five minutes of them are asked for",
    ),
    (
        r#"http_problems_total{job="customer-service",code="overloaded"}"#,
        "by the first answer of the kind; `or vector(0)` stands for it until then, so that the other half of \
         the sum counts alone",
    ),
    (
        r#"identity_provider_calls_total{job="customer-service"}"#,
        "by the first call of a provider; nobody calls, nobody fails",
    ),
    (
        r#"identity_provider_calls_total{job="customer-service",outcome=~"unavailable|left_alone"}"#,
        "by the first call that fails; the next ones are a rise",
    ),
];

#[test]
fn every_alert_is_brought_about_or_named_with_the_reason() {
    let fired: BTreeSet<_> = FIRED.iter().map(|row| row.alert).collect();
    let not_here: BTreeSet<_> = NOT_HERE.iter().map(|(alert, _)| *alert).collect();
    assert_eq!(fired.len() + not_here.len(), FIRED.len() + NOT_HERE.len(), "one stands twice");
    assert!(fired.is_disjoint(&not_here));
    let both: BTreeSet<_> = fired.union(&not_here).copied().collect();
    let all: BTreeSet<_> = rules::alerts().into_keys().collect();
    assert_eq!(both, all, "a new alert stands in one of the lists of tests/alerts/table.rs");
    for row in FIRED {
        assert!(!row.trouble.is_empty(), "{}", row.alert);
    }
    for (selector, reason) in BORN_WITH_TROUBLE {
        assert!(rules::selectors().contains(selector), "nobody asks for {selector}");
        assert!(!reason.is_empty());
    }
}
