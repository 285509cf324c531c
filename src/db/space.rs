//! How much room the database takes.

use super::Connection;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

diesel::define_sql_function! {
    fn current_database() -> diesel::sql_types::Text;
}

diesel::define_sql_function! {
    /// Of all tables and indexes, in bytes; the write-ahead log and temporary files come on top.
    fn pg_database_size(name: diesel::sql_types::Text) -> diesel::sql_types::BigInt;
}

/// The size of this database in bytes.
///
/// # Errors
/// Those of the query.
pub async fn size(mut conn: &Connection) -> QueryResult<i64> {
    diesel::select(pg_database_size(current_database())).get_result(&mut conn).await
}
