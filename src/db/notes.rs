//! Table `customer_notes`.

use super::Connection;
use super::schema::customer_notes;
use super::statements::{DeleteNotes, InsertNotes};
use crate::domain::note::{Note, NoteText};
use crate::domain::{CustomerId, NoteId};
use chrono::{DateTime, Utc};
use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_notes, check_for_backend(diesel::pg::Pg))]
struct Row {
    id: Uuid,
    customer_id: Uuid,
    text: String,
    author: String,
    created_at: DateTime<Utc>,
}

impl From<Row> for (CustomerId, Note) {
    fn from(row: Row) -> Self {
        let note = Note {
            id: NoteId(row.id),
            text: NoteText::from_stored(row.text),
            author: row.author,
            created_at: row.created_at,
        };
        (CustomerId(row.customer_id), note)
    }
}

/// How many notes there are about each of the customers, whose rows the caller has locked; one
/// without any is missing. Reads the key alone, as much of it as there are notes, whose number is
/// limited.
///
/// # Errors
/// Those of the query.
pub async fn counts(
    mut conn: &Connection,
    customers: &[Uuid],
) -> QueryResult<Vec<(CustomerId, usize)>> {
    let counted: Vec<(Uuid, i64)> = customer_notes::table
        .filter(customer_notes::customer_id.eq_any(customers))
        .group_by(customer_notes::customer_id)
        .select((customer_notes::customer_id, count_star()))
        .load(&mut conn)
        .await?;
    let count = |count: i64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(counted.into_iter().map(|(id, number)| (CustomerId(id), count(number))).collect())
}

/// These notes, each about the customer it is named with, whose row the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn named(
    mut conn: &Connection,
    names: &[(Uuid, NoteId)],
) -> QueryResult<Vec<(CustomerId, Note)>> {
    let customers = names.iter().map(|(customer, _)| *customer).collect::<Vec<_>>();
    let ids = names.iter().map(|(_, id)| id.0).collect::<Vec<_>>();
    let rows: Vec<Row> = customer_notes::table
        .filter(customer_notes::customer_id.eq_any(customers))
        .filter(customer_notes::id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// All notes about the customers, whose rows the caller has locked.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(
    mut conn: &Connection,
    customers: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Note)>> {
    let rows: Vec<Row> = customer_notes::table
        .filter(customer_notes::customer_id.eq_any(customers))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// One note about a customer.
///
/// # Errors
/// Those of the query.
pub async fn find(
    mut conn: &Connection,
    customer: CustomerId,
    id: NoteId,
) -> QueryResult<Option<Note>> {
    let row: Option<Row> = customer_notes::table
        .find((customer.0, id.0))
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    Ok(row.map(|row| <(CustomerId, Note)>::from(row).1))
}

/// A page of the notes about a customer, newest first: in the order of their ids, which is that in
/// which they were written.
///
/// # Errors
/// Those of the query.
pub async fn list(
    mut conn: &Connection,
    customer: CustomerId,
    before: Option<Uuid>,
    limit: i64,
) -> QueryResult<Vec<Note>> {
    let rows: Vec<Row> = customer_notes::table
        .filter(customer_notes::customer_id.eq(customer.0))
        .filter(customer_notes::id.lt(before.unwrap_or(Uuid::max())))
        .order(customer_notes::id.desc())
        .limit(limit)
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|row| <(CustomerId, Note)>::from(row).1).collect())
}

impl InsertNotes {
    pub fn push(&mut self, customer: CustomerId, note: &Note) {
        self.id.push(note.id.0);
        self.customer_id.push(customer.0);
        self.text.push(note.text.as_str().to_owned());
        self.author.push(note.author.clone());
        self.created_at.push(note.created_at);
    }
}

impl DeleteNotes {
    pub fn push(&mut self, customer: CustomerId, id: NoteId) {
        self.customer_id.push(customer.0);
        self.id.push(id.0);
    }
}
