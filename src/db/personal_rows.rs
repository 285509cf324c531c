//! What is kept of one customer and of everybody who became one with it, table by table as the map of
//! personal columns names them, all of one instant. The statements are made of the map's names, so nothing here knows a table.

use super::{Connection, Database, Error};
use crate::domain::personal::Told;
use diesel::prelude::*;
use diesel::sql_types::{Array, Text, Uuid as SqlUuid};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use uuid::Uuid;

/// One state of the database for all that follows. The last setting lets whoever reads rest for a
/// moment between two tables; the first bounds one table of one customer.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
    SET LOCAL statement_timeout = '5min'; SET LOCAL idle_in_transaction_session_timeout = '1min'";

/// The database as it was at one instant, to be read from. With the value its transaction ends.
pub struct Snapshot(Connection);

/// What the database says of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub what: String,
    /// By column.
    pub columns: BTreeMap<String, String>,
    key: Vec<String>,
}

impl Described {
    /// A table without a key.
    #[must_use]
    pub fn of(what: &str, columns: BTreeMap<String, String>) -> Self {
        Self { what: what.to_owned(), columns, key: Vec::new() }
    }
}

/// Rows of a table, each as the text of a JSON object.
pub type Lines = BoxStream<'static, Result<String, Error>>;

impl Snapshot {
    /// Takes one, on a connection of its own.
    ///
    /// # Errors
    /// No connection can be had.
    pub async fn take(database: &Database) -> Result<Self, Error> {
        let mut connection = database.dedicated("customer-service-exporter").await?;
        connection.batch_execute(BEGIN).await?;
        Ok(Self(connection))
    }

    /// The connection, for reads of one's own.
    pub fn connection(&self) -> &Connection {
        &self.0
    }

    /// What the comments of a table and of its columns say.
    ///
    /// # Errors
    /// Those of the query; there is no such table.
    pub async fn describe(&mut self, table: &str) -> Result<Described, Error> {
        #[derive(QueryableByName)]
        struct Found {
            #[diesel(sql_type = Text)]
            what: String,
            #[diesel(sql_type = Array<Text>)]
            key: Vec<String>,
            #[diesel(sql_type = Array<Text>)]
            names: Vec<String>,
            #[diesel(sql_type = Array<Text>)]
            words: Vec<String>,
        }
        let columns = |of: &str| {
            format!(
                "ARRAY(SELECT {of} FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 \
                 AND NOT a.attisdropped ORDER BY a.attnum)"
            )
        };
        let text = format!(
            "SELECT coalesce(obj_description(c.oid, 'pg_class'), '') AS what, \
             ARRAY(SELECT a.attname::text FROM pg_index AS i \
             CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place) \
             JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.attnum \
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place) AS key, \
             {} AS names, {} AS words FROM pg_class AS c WHERE c.oid = to_regclass($1)",
            columns("a.attname::text"),
            columns("coalesce(col_description(a.attrelid, a.attnum), '')"),
        );
        let found: Found =
            diesel::sql_query(text).bind::<Text, _>(table).get_result(&mut self.0).await?;
        let columns = found.names.into_iter().zip(found.words).collect();
        Ok(Described { what: found.what, columns, key: found.key })
    }

    /// The rows of these customers in a table, in the order of their keys: a row at a time, however many
    /// there are. To be read to their end before anything else is.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn rows(
        &mut self,
        table: &Told,
        described: &Described,
        whose: &[Uuid],
    ) -> Result<Lines, Error> {
        #[derive(QueryableByName)]
        struct Line {
            #[diesel(sql_type = Text)]
            line: String,
        }
        let query = diesel::sql_query(statement(table, described))
            .bind::<Array<SqlUuid>, _>(whose.to_vec());
        let rows = query.load_stream::<Line>(&mut self.0).await?;
        Ok(rows.map_ok(|row| row.line).map_err(Error::from).boxed())
    }
}

/// Of the map's and the catalogue's own names; whose the rows are is a parameter.
fn statement(table: &Told, described: &Described) -> String {
    let list = |names: &mut dyn Iterator<Item = &str>| {
        names.map(|name| format!("t.{}", quoted(name))).collect::<Vec<_>>()
    };
    let columns = list(&mut table.columns.iter().copied()).join(", ");
    let own = list(&mut table.by.iter().copied()).join(" = ANY ($1) OR ");
    let order = list(&mut described.key.iter().map(String::as_str)).join(", ");
    let order = if order.is_empty() { String::new() } else { format!(" ORDER BY {order}") };
    let name = table.name.split('.').map(quoted).collect::<Vec<_>>().join(".");
    format!(
        "SELECT row_to_json(r)::text AS line FROM (SELECT {columns} FROM {name} AS t \
         WHERE {own} = ANY ($1){order}) AS r"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_statement_is_made_of_the_maps_names_alone() {
        let columns = vec!["name", "item_count"];
        let table = Told { name: "hidden.lists", by: &["customer_id", "giver_id"], columns };
        let key = ["customer_id", "id"].map(str::to_owned).to_vec();
        let described = Described { key, ..Described::of("", BTreeMap::new()) };
        assert_eq!(
            statement(&table, &described),
            "SELECT row_to_json(r)::text AS line FROM (SELECT t.\"name\", t.\"item_count\" \
             FROM \"hidden\".\"lists\" AS t WHERE t.\"customer_id\" = ANY ($1) \
             OR t.\"giver_id\" = ANY ($1) ORDER BY t.\"customer_id\", t.\"id\") AS r"
        );
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
    }
}
