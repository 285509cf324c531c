//! The statement that remembers what callers were told.

use super::{Connection, IdempotencyRows};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;

/// Remembers what callers were told; fewer rows than asked for means that another node carries out
/// one of these requests too, or did since `since`. A key from before counts for nothing.
#[derive(Debug, Default, QueryId)]
pub struct InsertIdempotencyKeys {
    pub rows: IdempotencyRows,
    pub since: DateTime<Utc>,
}

impl InsertIdempotencyKeys {
    /// Rows to write.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Runs the statement, or nothing when there is nothing to write. Answers with the number of
    /// rows written.
    ///
    /// # Errors
    /// Those of the statement.
    pub async fn execute(&self, mut conn: &Connection) -> QueryResult<usize> {
        if self.is_empty() { Ok(0) } else { RunQueryDsl::execute(self, &mut conn).await }
    }
}

impl QueryFragment<Pg> for InsertIdempotencyKeys {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.rows.walk_ast(out.reborrow())?;
        out.push_bind_param::<Timestamptz, DateTime<Utc>>(&self.since)
    }
}
