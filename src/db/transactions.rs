//! The one way to open a transaction. It is opened and closed by hand, not by a closure, because
//! the work inside is pipelined over a shared connection.
//!
//! A future dropped in mid-transaction leaves the connection marked as broken, and the pool
//! discards it.

use super::Connection;
use diesel_async::{AnsiTransactionManager, SimpleAsyncConnection, TransactionManager};

/// What a statement fails with.
pub type QueryError = diesel::result::Error;

/// Whether a statement failed only because one before it in the transaction did.
pub fn is_consequence(error: &QueryError) -> bool {
    matches!(error, QueryError::DatabaseError(_, told)
        if told.message().starts_with("current transaction is aborted"))
}

/// How a transaction begins, in one message. Its statements find rows by their keys, whatever the
/// values: one plan serves all of them, and making it anew for each would cost the server more than
/// carrying it out. (Left to itself it makes it anew: of lists of values it expects less from the
/// general plan.) Since the plan is kept, it must not be that of a table that was small when it was
/// made: whole tables are read only where no index serves. What that costs in the planner's own
/// reckoning is high enough for it to compile such a plan, which would take longer than any of
/// these statements: hence the last setting.
const BEGIN: &str = "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; \
    SET LOCAL enable_seqscan = off; SET LOCAL jit = off";

/// # Errors
/// Those of the statement; nothing has begun then.
pub async fn begin(connection: &mut Connection) -> Result<(), QueryError> {
    AnsiTransactionManager::begin_transaction_sql(connection, BEGIN).await
}

/// # Errors
/// A constraint that was deferred to now (the transaction is rolled back), or a lost connection
/// (it is not known whether it was committed).
pub async fn commit(connection: &mut Connection) -> Result<(), QueryError> {
    AnsiTransactionManager::commit_transaction(connection).await
}

/// Makes two transactions of one: the mistake of the twin `key_before_effect`.
///
/// # Errors
/// Those of the statements.
pub async fn split(mut connection: &Connection) -> Result<(), QueryError> {
    connection.batch_execute("COMMIT; BEGIN").await
}

/// Rolls back. When that fails, the connection is broken and the server rolls back by itself.
pub async fn rollback(connection: &mut Connection) {
    if let Err(error) = AnsiTransactionManager::rollback_transaction(connection).await {
        tracing::debug!(error = %super::Error::from(error), "a rollback was left to the server");
    }
}
