//! Table `attribute_definitions`, and who holds values of an attribute.

use super::Connection;
use super::schema::{attribute_definitions, customer_preferences, customer_profiles, customers};
use super::statements::{DeleteAttributes, InsertAttributes, UpdateAttributes};
use crate::domain::attribute::{
    AttributeKey, Audience, Definition, Kind, Limits, Part, Rule, Signpost,
};
use crate::domain::ids::AttributeId;
use crate::domain::text::Label;
use chrono::{DateTime, Utc};
use diesel::dsl::{self, sql};
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = attribute_definitions, check_for_backend(diesel::pg::Pg))]
struct Row {
    key: String,
    id: Uuid,
    part: String,
    kind: String,
    limits: Value,
    writer: String,
    reader: String,
    title: String,
    description: Option<String>,
    searchable: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
}

/// A stored word that this version does not know: only a newer version can have written it.
fn unknown(column: &'static str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(format!("unknown value in {column}").into())
}

fn known<T: Copy>(words: &[(&str, T)], word: &str, column: &'static str) -> QueryResult<T> {
    let found = words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    found.ok_or_else(|| unknown(column))
}

impl TryFrom<Row> for Definition {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> QueryResult<Self> {
        let kind = known(&Kind::ALL, &row.kind, "kind")?;
        let limits: Limits = serde_json::from_value(row.limits).map_err(|_| unknown("limits"))?;
        Ok(Self {
            id: AttributeId(row.id),
            key: AttributeKey::from_stored(row.key),
            part: known(&Part::ALL, &row.part, "part")?,
            rule: Rule::from_stored(kind, limits),
            write: known(&Audience::ALL, &row.writer, "writer")?,
            read: known(&Audience::ALL, &row.reader, "reader")?,
            title: Label::from_stored(row.title),
            description: row.description,
            searchable: row.searchable,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

fn definitions(rows: Vec<Row>) -> QueryResult<Vec<Definition>> {
    rows.into_iter().map(Definition::try_from).collect()
}

/// Loads definitions and locks them against change, in the order of their keys: many may write
/// values at the same time.
///
/// # Errors
/// Those of the query.
pub async fn lock_to_use(mut conn: &Connection, keys: &[String]) -> QueryResult<Vec<Definition>> {
    let locked = attribute_definitions::table
        .filter(attribute_definitions::key.eq_any(keys))
        .order(attribute_definitions::key)
        .select(Row::as_select())
        .for_share();
    definitions(locked.load(&mut conn).await?)
}

/// Loads definitions and locks them against change and use, in the order of their keys. Whoever is
/// about to write a value has by then written it, or waits.
///
/// # Errors
/// Those of the query.
pub async fn lock_to_change(
    mut conn: &Connection,
    keys: &[String],
) -> QueryResult<Vec<Definition>> {
    let locked = attribute_definitions::table
        .filter(attribute_definitions::key.eq_any(keys))
        .order(attribute_definitions::key)
        .select(Row::as_select())
        .for_update();
    definitions(locked.load(&mut conn).await?)
}

/// Whether a living customer holds a value. By an index, or by the first few rows where many do.
///
/// # Errors
/// Those of the query.
pub async fn in_use(mut conn: &Connection, key: &AttributeKey, part: Part) -> QueryResult<bool> {
    let key = key.as_str().to_owned();
    let living = customers::table.filter(customers::deleted_at.is_null()).select(customers::id);
    // Part of the index's condition; a text that is planned anew, with the key in view.
    let some = sql::<Bool>("custom <> '{}'");
    match part {
        Part::Profile => {
            let held = customer_profiles::table
                .filter(some)
                .filter(customer_profiles::custom.has_key(key))
                .filter(customer_profiles::customer_id.eq_any(living));
            diesel::select(dsl::exists(held)).get_result(&mut conn).await
        }
        Part::Preferences => {
            let held = customer_preferences::table
                .filter(some)
                .filter(customer_preferences::custom.has_key(key))
                .filter(customer_preferences::customer_id.eq_any(living));
            diesel::select(dsl::exists(held)).get_result(&mut conn).await
        }
    }
}

/// Enough of every definition for a suggestion.
///
/// # Errors
/// Those of the query.
pub async fn signposts(mut conn: &Connection) -> QueryResult<Vec<Signpost>> {
    let rows: Vec<(String, String, String)> = attribute_definitions::table
        .select((
            attribute_definitions::key,
            attribute_definitions::part,
            attribute_definitions::reader,
        ))
        .order(attribute_definitions::key)
        .load(&mut conn)
        .await?;
    let signpost = |(key, part, reader): (String, String, String)| {
        Ok(Signpost {
            key: AttributeKey::from_stored(key),
            part: known(&Part::ALL, &part, "part")?,
            read: known(&Audience::ALL, &reader, "reader")?,
        })
    };
    rows.into_iter().map(signpost).collect()
}

/// The keys of the attributes whose values customers may read.
///
/// # Errors
/// Those of the query.
pub async fn shown_to_customers(mut conn: &Connection) -> QueryResult<Vec<String>> {
    attribute_definitions::table
        .filter(attribute_definitions::reader.eq(Audience::Customer.as_str()))
        .select(attribute_definitions::key)
        .load(&mut conn)
        .await
}

/// One definition.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, key: &str) -> QueryResult<Option<Definition>> {
    let row: Option<Row> = attribute_definitions::table
        .find(key)
        .select(Row::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(Definition::try_from).transpose()
}

/// Those of these definitions that there are.
///
/// # Errors
/// Those of the query.
pub async fn find_many(mut conn: &Connection, keys: &[String]) -> QueryResult<Vec<Definition>> {
    let named = attribute_definitions::table.filter(attribute_definitions::key.eq_any(keys));
    definitions(named.select(Row::as_select()).load(&mut conn).await?)
}

/// A page of definitions in the order of their keys.
///
/// # Errors
/// Those of the query.
pub async fn page(
    mut conn: &Connection,
    after: Option<&str>,
    limit: i64,
) -> QueryResult<Vec<Definition>> {
    let rows = attribute_definitions::table
        .filter(attribute_definitions::key.gt(after.unwrap_or_default().to_owned()))
        .order(attribute_definitions::key)
        .limit(limit)
        .select(Row::as_select());
    definitions(rows.load(&mut conn).await?)
}

/// The columns that inserting and updating have in common.
macro_rules! push {
    ($rows:ident, $definition:ident) => {{
        let rule = &$definition.rule;
        $rows.key.push($definition.key.as_str().to_owned());
        $rows.id.push($definition.id.0);
        $rows.part.push($definition.part.as_str().to_owned());
        $rows.kind.push(rule.kind().as_str().to_owned());
        let limits = serde_json::to_value(rule.limits());
        $rows.limits.push(limits.expect("limits are numbers and texts, which are always JSON"));
        $rows.writer.push($definition.write.as_str().to_owned());
        $rows.reader.push($definition.read.as_str().to_owned());
        $rows.title.push($definition.title.as_str().to_owned());
        $rows.description.push($definition.description.clone());
        $rows.searchable.push($definition.searchable);
        $rows.created_at.push($definition.created_at);
        $rows.updated_at.push($definition.updated_at);
        $rows.version.push($definition.version);
    }};
}

impl InsertAttributes {
    pub fn push(&mut self, definition: &Definition) {
        push!(self, definition);
    }
}

impl UpdateAttributes {
    pub fn push(&mut self, definition: &Definition) {
        push!(self, definition);
    }
}

impl DeleteAttributes {
    pub fn push(&mut self, key: &AttributeKey) {
        self.key.push(key.as_str().to_owned());
    }
}
