//! What the janitor deletes: rows that nobody needs any more, a small batch at a time.
//!
//! A batch picks its rows over the index of their age, passes by what somebody has locked, and is
//! one short statement, so it never stands in a customer's way. These statements run once a minute,
//! so their texts need not be cached.

use super::Connection;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use uuid::Uuid;

/// Rows that end of themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Perishable {
    /// Remembered requests, by their age.
    IdempotencyKeys,
    /// Tokens from mails, by their expiry.
    OneTimeTokens,
    /// Counters of failed sign-ins, by their latest attempt and the end of a lock.
    Throttles,
    /// Mails that were sent or given up, by that moment.
    Mails,
    /// Flows, by their expiry.
    Flows,
    /// Authenticators that nobody confirmed, by their age.
    PendingTotp,
    /// Addresses that were given up, by the end of their keeping.
    HeldIdentifiers,
    /// Keys that sign no more, by when the next one took over or they were revoked.
    SigningKeys,
    /// Text messages that were sent or given up, by that moment.
    TextMessages,
    /// Numbers that were not confirmed, by the end of their code.
    PhoneConfirmations,
    /// Pieces of uploads that nobody goes on with or needs any more, by their last sign of life.
    ImportChunks,
    /// Errors of rows, by the end of their import. Before the imports, which take what is left along.
    ImportErrors,
    /// Imports, by their end; uploads that broke off.
    Imports,
    /// What is known of tries of facts whose messages never came again, by the last try.
    OrderFactAttempts,
    /// Facts that were given up, by their age; the dead letters have them too.
    PoisonedOrderFacts,
    /// What runs of reconciliation found, by their last sign of life. Before the runs, which take what
    /// is left along.
    ReconciliationDifferences,
    /// The runs, likewise.
    ReconciliationRuns,
    /// Parked messages that were published or discarded, by that moment, once their cursor has
    /// passed them.
    SettledMessages,
    /// Counts of members, by their hour.
    SegmentCounts,
    /// Archives that can be downloaded no more, by that moment.
    PrivacyExportPieces,
    /// What was asked for of these, by the end of its making.
    PrivacyExports,
}

impl Perishable {
    pub const ALL: [Self; 21] = [
        Self::IdempotencyKeys,
        Self::OneTimeTokens,
        Self::Throttles,
        Self::Mails,
        Self::Flows,
        Self::PendingTotp,
        Self::HeldIdentifiers,
        Self::SigningKeys,
        Self::TextMessages,
        Self::PhoneConfirmations,
        Self::ImportChunks,
        Self::ImportErrors,
        Self::Imports,
        Self::OrderFactAttempts,
        Self::PoisonedOrderFacts,
        Self::ReconciliationDifferences,
        Self::ReconciliationRuns,
        Self::SettledMessages,
        Self::SegmentCounts,
        Self::PrivacyExportPieces,
        Self::PrivacyExports,
    ];

    /// The table's name, for logs and metrics.
    pub fn table(self) -> &'static str {
        match self {
            Self::IdempotencyKeys => "idempotency_keys",
            Self::OneTimeTokens => "one_time_tokens",
            Self::Throttles => "sign_in_throttles",
            Self::Mails => "mails",
            Self::Flows => "sign_in_flows",
            Self::PendingTotp => "customer_totp",
            Self::HeldIdentifiers => "customer_identifiers",
            Self::SigningKeys => "signing_keys",
            Self::TextMessages => "text_messages",
            Self::PhoneConfirmations => "phone_confirmations",
            Self::ImportChunks => "import_chunks",
            Self::ImportErrors => "import_errors",
            Self::Imports => "imports",
            Self::OrderFactAttempts => "order_fact_attempts",
            Self::PoisonedOrderFacts => "parked_order_facts",
            Self::ReconciliationDifferences => "reconciliation_differences",
            Self::ReconciliationRuns => "reconciliation_runs",
            Self::SettledMessages => "outbox_parked",
            Self::SegmentCounts => "segment_counts",
            Self::PrivacyExportPieces => "privacy_export_pieces",
            Self::PrivacyExports => "privacy_exports",
        }
    }

    /// Which rows, and what they are kept after, for reports.
    pub fn rows(self) -> &'static str {
        match self {
            Self::IdempotencyKeys => "requests with an idempotency key, after their answer",
            Self::OneTimeTokens => "links from mails, after their expiry",
            Self::Throttles => "counters of failed sign-ins, after the last try and any lock",
            Self::Mails => "mails, after they were sent or given up",
            Self::Flows => "sign-ins on their way, after their expiry",
            Self::PendingTotp => "authenticators that nobody confirmed, after their making",
            Self::HeldIdentifiers => "addresses that were given up, after the end of their keeping",
            Self::SigningKeys => "signing keys, after their last signature",
            Self::TextMessages => "text messages, after they were sent or given up",
            Self::PhoneConfirmations => "numbers to be confirmed, after the expiry of their code",
            Self::ImportChunks => "uploads, after their last sign of life",
            Self::ImportErrors => "errors of imports, after the end of the import",
            Self::Imports => "imports, after their end",
            Self::OrderFactAttempts => "tries of facts of orders, after the last",
            Self::PoisonedOrderFacts => "facts of orders that were given up, after that",
            Self::ReconciliationDifferences => "what reconciliations found, after their end",
            Self::ReconciliationRuns => "reconciliations, after their end",
            Self::SettledMessages => "parked messages, after they were published or discarded",
            Self::SegmentCounts => "counts of members of segments, after their hour",
            Self::PrivacyExportPieces => "copies of all data, after the end of their download",
            Self::PrivacyExports => "what is known of such copies, after the end of their download",
        }
    }

    fn over(self) -> &'static str {
        match self {
            Self::IdempotencyKeys => "created_at < $1",
            Self::OneTimeTokens | Self::Flows | Self::PhoneConfirmations => "expires_at < $1",
            Self::PendingTotp => "created_at < $1 AND confirmed_at IS NULL",
            Self::HeldIdentifiers => "held_until < $1",
            Self::Throttles => "updated_at < $1 AND (locked_until IS NULL OR locked_until < $1)",
            Self::ImportChunks => {
                "import_id = ANY (ARRAY(SELECT id FROM imports WHERE touched_at < $1 \
                 AND (finished_at IS NOT NULL OR state = 'uploading')))"
            }
            Self::ImportErrors => {
                "import_id = ANY (ARRAY(SELECT id FROM imports WHERE finished_at < $1))"
            }
            Self::Imports => {
                "(finished_at < $1 OR (state = 'uploading' AND touched_at < $1)) AND NOT EXISTS \
                 (SELECT FROM import_errors AS e WHERE e.import_id = imports.id)"
            }
            Self::SigningKeys => "retired_at < $1 OR revoked_at < $1",
            Self::OrderFactAttempts => "tried_at < $1",
            Self::PoisonedOrderFacts => "reason = 'poison' AND first_seen_at < $1",
            Self::ReconciliationDifferences => {
                "run_id = ANY (ARRAY(SELECT id FROM reconciliation_runs WHERE touched_at < $1))"
            }
            Self::ReconciliationRuns => {
                "touched_at < $1 AND NOT EXISTS (SELECT FROM reconciliation_differences AS d \
                 WHERE d.run_id = reconciliation_runs.id)"
            }
            Self::SegmentCounts => "counted_at < $1",
            Self::PrivacyExportPieces => {
                "(customer_id, export_id) IN (SELECT e.customer_id, e.id FROM privacy_exports AS e \
                 WHERE e.expires_at < $1)"
            }
            Self::PrivacyExports => {
                "expires_at < $1 AND NOT EXISTS (SELECT FROM privacy_export_pieces AS p \
                 WHERE p.customer_id = privacy_exports.customer_id AND p.export_id = privacy_exports.id)"
            }
            // A successor must find it until the position is written down.
            Self::SettledMessages => {
                "settled_at < $1 AND seq <= (SELECT c.positions[shard % 8 + 1] \
                 FROM outbox_cursors AS c WHERE c.relay_group = shard / 8)"
            }
            // The first is implied and has the index.
            Self::Mails | Self::TextMessages => {
                "created_at < $1 AND (sent_at < $1 OR given_up_at < $1)"
            }
        }
    }
}

/// Deletes rows that were over before `before`, at most `limit`. Answers with their number.
///
/// # Errors
/// Those of the query.
pub async fn expire(
    mut conn: &Connection,
    what: Perishable,
    before: DateTime<Utc>,
    limit: i64,
) -> QueryResult<usize> {
    let (table, over) = (what.table(), what.over());
    let text = format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(\
         SELECT ctid FROM {table} WHERE {over} LIMIT $2 FOR UPDATE SKIP LOCKED))"
    );
    diesel::sql_query(text)
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(limit)
        .execute(&mut conn)
        .await
}

/// How many rows were over before `before` and are there still, counted up to `most`.
///
/// # Errors
/// Those of the query.
pub async fn outlived(
    mut conn: &Connection,
    what: Perishable,
    before: DateTime<Utc>,
    most: i64,
) -> QueryResult<i64> {
    #[derive(QueryableByName)]
    struct Count {
        #[diesel(sql_type = BigInt)]
        number: i64,
    }
    let (table, over) = (what.table(), what.over());
    let text = format!(
        "SELECT count(*) AS number FROM (SELECT FROM {table} WHERE {over} LIMIT $2) AS rows"
    );
    let count: Count = diesel::sql_query(text)
        .bind::<Timestamptz, _>(before)
        .bind::<BigInt, _>(most)
        .get_result(&mut conn)
        .await?;
    Ok(count.number)
}

/// What one step through the sessions came to.
#[derive(Debug, PartialEq, Eq, QueryableByName)]
pub struct Sweep {
    /// The last session looked at; `None` at the end of the table.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub last: Option<Uuid>,
    /// Sessions deleted.
    #[diesel(sql_type = BigInt)]
    pub deleted: i64,
}

/// Looks at the next `page` sessions after `after` and deletes those that had ended before
/// `before`.
///
/// There is no index of the end of a session: it moves with every refresh, and an index on it
/// would make each refresh dearer. So the janitor walks through the table instead, in circles.
///
/// # Errors
/// Those of the query.
pub async fn sweep_sessions(
    mut conn: &Connection,
    after: Uuid,
    before: DateTime<Utc>,
    page: i64,
) -> QueryResult<Sweep> {
    diesel::sql_query(
        "WITH page AS MATERIALIZED (SELECT id FROM sessions WHERE id > $1 ORDER BY id LIMIT $3), \
         gone AS (DELETE FROM sessions AS s USING page WHERE s.id = page.id \
         AND (s.expires_at < $2 OR s.revoked_at < $2) RETURNING s.id) \
         SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1) AS last, \
         (SELECT count(*) FROM gone) AS deleted",
    )
    .bind::<SqlUuid, _>(after)
    .bind::<Timestamptz, _>(before)
    .bind::<BigInt, _>(page)
    .get_result(&mut conn)
    .await
}
