//! What must hold between the database and a subscriber, whatever was killed meanwhile (rules M1,
//! M2): nothing acknowledged is lost, nothing is missing, nothing is out of order.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::consumer::{Consumer, Message};
use super::db::TestDatabase;

/// A change that the service acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acknowledged {
    pub customer_id: String,
    /// The customer's version that the answer bore.
    pub version: i64,
}

/// What a check counted, to be printed.
#[derive(Debug)]
#[expect(dead_code, reason = "some counts are only printed")]
pub struct Verdict {
    pub customers: usize,
    pub messages: usize,
    pub duplicates: usize,
    pub acknowledged: usize,
}

/// Waits until the subscriber has everything, then checks all of it.
///
/// # Panics
/// On the first promise that is broken, or when a message is still missing after `limit`.
pub async fn check(
    database: &TestDatabase,
    consumer: &Consumer,
    acknowledged: &[Acknowledged],
    limit: Duration,
) -> Verdict {
    let written = written(database).await;
    let received = all_received(&written, consumer, limit).await;
    let duplicates = no_two_differ(&written, &received);
    first_deliveries_in_order(&received);
    let customers = sequences_without_gap(database, &written).await;
    every_message_is_an_entry(database).await;
    nothing_acknowledged_is_lost(&written, acknowledged);
    Verdict { customers, messages: written.len(), duplicates, acknowledged: acknowledged.len() }
}

/// The outbox, by message id.
async fn written(database: &TestDatabase) -> HashMap<String, Message> {
    let sql = "SELECT id, kind, customer_id, customer_sequence, data FROM outbox_events";
    let rows = database.rows(sql).await;
    let message = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().map(Option::unwrap);
        let mut next = || row.next().unwrap();
        Message {
            id: next(),
            kind: next(),
            customer_id: next(),
            sequence: next().parse().unwrap(),
            data: serde_json::from_str(&next()).unwrap(),
        }
    };
    rows.into_iter().map(message).map(|message| (message.id.clone(), message)).collect()
}

async fn all_received(
    written: &HashMap<String, Message>,
    consumer: &Consumer,
    limit: Duration,
) -> Vec<Message> {
    let began = Instant::now();
    loop {
        let received = consumer.received();
        let mut missing = written.clone();
        received.iter().for_each(|message| drop(missing.remove(&message.id)));
        if missing.is_empty() {
            return received;
        }
        let some: Vec<_> = missing.values().take(3).collect();
        assert!(
            began.elapsed() < limit,
            "{} of {} messages did not arrive within {limit:?}, such as {some:?}",
            missing.len(),
            written.len()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Every delivery is a message of the outbox, unchanged. Answers with the number of duplicates.
fn no_two_differ(written: &HashMap<String, Message>, received: &[Message]) -> usize {
    for message in received {
        let original = written.get(&message.id);
        assert_eq!(original, Some(message), "delivered differs from written");
    }
    received.len() - written.len()
}

fn first_deliveries_in_order(received: &[Message]) {
    let mut last: HashMap<&str, i64> = HashMap::new();
    for message in received {
        let last = last.entry(&message.customer_id).or_default();
        if message.sequence > *last {
            assert_eq!(message.sequence, *last + 1, "a gap or an inversion before {message:?}");
            *last = message.sequence;
        }
    }
}

/// Kinds of messages that are about a definition of an attribute or of a segment, not about a customer.
const OF_DEFINITIONS: [&str; 6] = [
    "segment.created",
    "segment.updated",
    "segment.deleted",
    // about an erasure
    "order.anonymize",
    "payment.delete_methods",
    "notification.forget",
];

/// Per customer: 1 to n without a gap, and n is what the customer's row says. Per definition of an
/// attribute or of a segment, 1 to n as well.
async fn sequences_without_gap(
    database: &TestDatabase,
    written: &HashMap<String, Message>,
) -> usize {
    let mut sequences: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    let mut definitions: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for message in written.values() {
        let kind = message.kind.as_str();
        let of_definition = kind.starts_with("attribute.") || OF_DEFINITIONS.contains(&kind);
        let about = if of_definition { &mut definitions } else { &mut sequences };
        about.entry(&message.customer_id).or_default().push(message.sequence);
    }
    for (id, mut found) in definitions {
        found.sort_unstable();
        assert!(found.iter().copied().eq(1..=found.len() as i64), "{id}: {found:?}");
    }
    let rows = database.rows("SELECT id, sequence FROM customers").await;
    assert_eq!(rows.len(), sequences.len(), "customers with messages");
    for row in &rows {
        let (id, sequence) = (row[0].as_deref().unwrap(), row[1].as_deref().unwrap());
        let mut found = sequences.remove(id).unwrap_or_default();
        found.sort_unstable();
        let expected: Vec<i64> = (1..=sequence.parse().unwrap()).collect();
        assert_eq!(found, expected, "sequence of customer {id}");
    }
    rows.len()
}

/// Messages and audit entries are written by the same events, so they must agree in number, per
/// customer and kind.
async fn every_message_is_an_entry(database: &TestDatabase) {
    let sql = "
        WITH none AS (
            SELECT '00000000-0000-0000-0000-000000000000'::uuid AS nobody
        ), messages AS (
            SELECT CASE WHEN kind LIKE 'attribute.%' OR kind IN ('segment.created', 'segment.updated', 'segment.deleted')
                THEN nobody ELSE customer_id END AS customer_id, CASE kind
                WHEN 'customer.signed_in' THEN 'sign_in.succeeded'
                WHEN 'customer.sign_in_locked' THEN 'sign_in.locked'
                WHEN 'customer.session_revoked' THEN 'session.revoked'
                ELSE kind END AS action, count(*) AS n
            FROM outbox_events, none
            WHERE kind NOT IN ('order.anonymize', 'payment.delete_methods', 'notification.forget') GROUP BY 1, 2
        ), entries AS (
            SELECT coalesce(customer_id, nobody) AS customer_id, CASE
                WHEN action = 'profile.updated' THEN 'customer.updated'
                WHEN action = 'order.recorded' THEN 'statistics.updated'
                WHEN action LIKE 'mfa.%' OR action LIKE 'passkey.%' THEN 'customer.mfa_changed'
                ELSE action END AS action, count(*) AS n
            FROM audit_entries, none
            WHERE action NOT LIKE 'staff_key.%' AND action NOT LIKE 'signing_key.%' AND action NOT IN ('token.issued', 'token.used',
                'token.voided', 'mail.queued', 'sign_in.failed', 'sign_in.refused',
                'sign_in.second_factor_asked', 'sign_in.unlocked', 'password.rehashed', 'password.chosen',
                'device.remembered', 'device.forgotten', 'session.refreshed', 'mfa.totp_started',
                'mfa.reset', 'passkey.used', 'passkey.suspected', 'phone.requested',
                'phone.request_dropped', 'phone.code_failed', 'text_message.queued', 'note.added',
                'note.removed', 'privacy.export_requested', 'privacy.export_failed',
                'privacy.export_downloaded', 'personal_data.read', 'legal_hold.placed',
                'legal_hold.released', 'privacy.deletion_hastened', 'privacy.deletion_put_off',
                'privacy.erasure_commanded', 'privacy.erasure_step_failed', 'privacy.erasure_step_done',
                'privacy.erasure_repeated') AND data->'changed' IS DISTINCT FROM '[]'
            GROUP BY 1, 2
        )
        SELECT coalesce(m.customer_id, e.customer_id), coalesce(m.action, e.action),
            coalesce(m.n, 0) AS messages, coalesce(e.n, 0) AS entries
        FROM messages m FULL JOIN entries e USING (customer_id, action)
        WHERE m.n IS DISTINCT FROM e.n LIMIT 5";
    let differing = database.rows(sql).await;
    assert!(differing.is_empty(), "messages and audit entries differ: {differing:?}");
}

fn nothing_acknowledged_is_lost(written: &HashMap<String, Message>, acknowledged: &[Acknowledged]) {
    let mut found: Vec<Acknowledged> = written
        .values()
        .filter(|message| message.kind == "customer.updated")
        .map(|message| Acknowledged {
            customer_id: message.customer_id.clone(),
            version: message.data["version"].as_i64().unwrap_or_default(),
        })
        .collect();
    found.sort();
    for change in acknowledged {
        assert!(found.binary_search(change).is_ok(), "acknowledged and lost: {change:?}");
    }
}
