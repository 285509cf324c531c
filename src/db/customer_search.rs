//! Finding customers: what staff's list may be asked for, newest first, page by page.
//!
//! Words are compared in the form that the column `search_text` holds: without accents and case, signs
//! within words as letters.
//!
//! A word's beginning is first looked for among the customers that come next, for many have what is
//! asked for often; then by the index of beginnings, which knows the few that have it. So neither
//! costs more than some thousand rows, and nobody has to guess how many there are.
//!
//! How many customers hold a part of a word decides whether the index of trigrams or reading newest
//! first is the faster way; therefore such a query is planned anew each time, with its words in view,
//! and never kept as a prepared statement whose plan would have to fit them all. So are questions
//! for tags and for custom attributes.

use super::Connection;
use super::customers::CustomerRow;
use super::schema::{customer_identifiers, customers};
use crate::domain::attribute::Part;
use crate::domain::customer::Customer;
use crate::domain::ids::SegmentId;
use crate::domain::status::Status;
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Bool, Jsonb, Nullable, Record, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use serde_json::{Map, Value};
use uuid::Uuid;

/// A word to look for in names and e-mail addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As it was asked for, in any case and with or without accents; not empty.
    pub text: String,
    /// Anywhere, and not only where a name or the address begins.
    pub anywhere: bool,
}

impl Word {
    /// The pattern of `LIKE` that finds it anywhere in `search_text` once it is in its form.
    fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.text.len() + 2);
        pattern.push('%');
        for character in self.text.chars() {
            if matches!(character, '\\' | '%' | '_') {
                pattern.push('\\');
            }
            pattern.push(character);
        }
        pattern.push('%');
        pattern
    }
}

/// Among how many of the customers that come next a beginning is looked for without its index.
const NEXT: &str = "2000";

/// The longest beginning that its index knows, in characters (`word_beginnings` in the migrations).
const BEGINNING_MAX: &str = "16";

/// Where customers are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// Among those that come next.
    Next,
    /// Among all.
    All,
}

/// What must be held of custom attributes.
#[derive(Debug, Clone)]
pub enum Held {
    /// These values; of a list, these members.
    These(Map<String, Value>),
    /// A value of this one, whichever.
    Any(String),
}

const IN_PROFILE: &str =
    "customers.id IN (SELECT customer_id FROM customer_profiles WHERE custom <> '{}' AND ";
const IN_PREFERENCES: &str =
    "customers.id IN (SELECT customer_id FROM customer_preferences WHERE custom <> '{}' AND ";

/// What the list may be asked for; every condition must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub words: Vec<Word>,
    /// Canonical.
    pub email: Option<String>,
    /// E.164.
    pub phone: Option<String>,
    pub status: Option<Status>,
    pub group: Option<String>,
    pub tag: Option<String>,
    /// That it must belong to.
    pub segment: Option<SegmentId>,
    /// Custom attributes that must be held.
    pub attributes: Vec<(Part, Held)>,
    /// Created then or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before.
    pub created_to: Option<DateTime<Utc>>,
}

impl Filter {
    /// Where to look, until a page is full.
    fn reaches(&self) -> &'static [Reach] {
        let beginnings = self.words.iter().any(|word| !word.anywhere);
        if beginnings { &[Reach::Next, Reach::All] } else { &[Reach::All] }
    }
}

/// A page of living customers, newest first, after the given position (creation time and id).
///
/// # Errors
/// Those of the query.
pub async fn page(
    mut conn: &Connection,
    filter: &Filter,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> QueryResult<Vec<Customer>> {
    let mut rows: Vec<CustomerRow> = Vec::new();
    for reach in filter.reaches() {
        rows = query(filter, after, limit, *reach).load(&mut conn).await?;
        if rows.len() as i64 == limit {
            break;
        }
    }
    rows.into_iter().map(Customer::try_from).collect()
}

/// How PostgreSQL would answer [`page`] now, line by line: for tests that look for an index.
///
/// # Errors
/// Those of the query.
pub async fn plan(
    mut conn: &Connection,
    filter: &Filter,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> QueryResult<Vec<String>> {
    let mut lines = Vec::new();
    for reach in filter.reaches() {
        lines.extend(Explained(query(filter, after, limit, *reach)).load(&mut conn).await?);
    }
    Ok(lines)
}

/// `EXPLAIN` before a query.
#[derive(QueryId)]
struct Explained<Q>(Q);

impl<Q> Query for Explained<Q> {
    type SqlType = Text;
}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explained<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("EXPLAIN ");
        self.0.walk_ast(out.reborrow())
    }
}

type Page<'a> = diesel::helper_types::IntoBoxed<
    'a,
    diesel::helper_types::Select<customers::table, diesel::helper_types::AsSelect<CustomerRow, Pg>>,
    Pg,
>;

fn query(
    filter: &Filter,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
    reach: Reach,
) -> Page<'static> {
    let mut query = customers::table
        .select(CustomerRow::as_select())
        .into_boxed()
        .filter(customers::deleted_at.is_null())
        .limit(limit);
    query = if reach == Reach::All && filter.reaches().len() > 1 {
        // As one value, so that the planner does not hope to meet a beginning newest first.
        query.order(
            sql::<Record<(Timestamptz, SqlUuid)>>("(customers.created_at, customers.id)").desc(),
        )
    } else {
        query.order((customers::created_at.desc(), customers::id.desc()))
    };
    if reach == Reach::Next {
        let last =
            after.map(|(created_at, _)| created_at).into_iter().chain(filter.created_to).min();
        let bound = sql::<Bool>(
            "customers.created_at >= coalesce((SELECT n.created_at FROM customers AS n \
             WHERE n.deleted_at IS NULL AND n.created_at <= coalesce(",
        );
        let bound = bound
            .bind::<Nullable<Timestamptz>, _>(last)
            .sql(", 'infinity') ORDER BY n.created_at DESC, n.id DESC LIMIT 1 OFFSET ");
        query = query.filter(bound.sql(NEXT).sql("), '-infinity')"));
    }
    for word in &filter.words {
        // A literal is never kept as a prepared statement: see above.
        if word.anywhere {
            let found = sql::<Bool>("customers.search_text LIKE searchable(");
            query = query.filter(found.bind::<Text, _>(word.pattern()).sql(")"));
            continue;
        }
        // In the column each word follows a space.
        let found = sql::<Bool>("strpos(customers.search_text, ' ' || searchable(");
        query = query.filter(found.bind::<Text, _>(word.text.clone()).sql(")) > 0"));
        if reach == Reach::All {
            let indexed =
                sql::<Bool>("word_beginnings(customers.search_text) @> ARRAY[left(searchable(");
            let indexed = indexed.bind::<Text, _>(word.text.clone()).sql("), ");
            query = query.filter(indexed.sql(BEGINNING_MAX).sql(")]"));
        }
    }
    if let Some(email) = &filter.email {
        let owner = customer_identifiers::table
            .filter(customer_identifiers::kind.eq("email"))
            .filter(customer_identifiers::value.eq(email.clone()))
            .filter(customer_identifiers::held_until.is_null())
            .select(customer_identifiers::customer_id);
        query = query.filter(customers::id.eq_any(owner));
    }
    if let Some(phone) = &filter.phone {
        query = query.filter(customers::phone.eq(phone.clone()));
    }
    if let Some(status) = filter.status {
        query = query.filter(customers::status.eq(status.as_str()));
    }
    if let Some(group) = &filter.group {
        query = query.filter(customers::group_code.eq(group.clone()));
    }
    if let Some(tag) = &filter.tag {
        // Likewise: some tags are on every customer, some on one.
        let tagged = sql::<Bool>("customers.tags @> ARRAY[");
        query = query.filter(tagged.bind::<Text, _>(tag.clone()).sql("]"));
    }
    query = in_segment(query, filter.segment);
    for (part, values) in &filter.attributes {
        // Likewise; and who holds no attribute at all is not in the index.
        let holders = sql::<Bool>(match part {
            Part::Profile => IN_PROFILE,
            Part::Preferences => IN_PREFERENCES,
        });
        query = match values {
            Held::These(values) => {
                let values = Value::Object(values.clone());
                query.filter(holders.sql("custom @> ").bind::<Jsonb, _>(values).sql(")"))
            }
            Held::Any(key) => {
                query.filter(holders.sql("custom ? ").bind::<Text, _>(key.clone()).sql(")"))
            }
        };
    }
    if let Some(from) = filter.created_from {
        query = query.filter(customers::created_at.ge(from));
    }
    if let Some(to) = filter.created_to {
        query = query.filter(customers::created_at.lt(to));
    }
    if let Some((created_at, id)) = after {
        let before = customers::created_at
            .lt(created_at)
            .or(customers::created_at.eq(created_at).and(customers::id.lt(id)));
        query = query.filter(customers::created_at.le(created_at)).filter(before);
    }
    query
}

fn in_segment(query: Page<'static>, segment: Option<SegmentId>) -> Page<'static> {
    let Some(segment) = segment else { return query };
    // A literal is never kept as a prepared statement: most belong to some segments, few to others.
    let member = sql::<Bool>(
        "customers.id IN (SELECT m.customer_id FROM segment_members AS m WHERE m.segment_id = ",
    );
    query.filter(member.bind::<SqlUuid, _>(segment.0).sql(")"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_looked_for_as_it_is_written_whatever_it_holds() {
        let pattern = |text: &str| Word { text: text.to_owned(), anywhere: true }.pattern();
        assert_eq!(pattern("guy"), "%guy%");
        assert_eq!(pattern(r"100%_\"), r"%100\%\_\\%");
    }

    #[test]
    fn the_words_are_values_and_the_plan_is_made_for_them() {
        let word = |text: &str, anywhere| Word { text: text.to_owned(), anywhere };
        let words = vec![word("o'neill", false), word("ann", true)];
        let filter = Filter { words, ..Filter::default() };
        for reach in [Reach::Next, Reach::All] {
            let shown = diesel::debug_query::<Pg, _>(&query(&filter, None, 26, reach)).to_string();
            let (text, values) = shown.split_once(" -- binds: ").unwrap();
            assert!(!text.contains("neill") && values.contains("o'neill"), "{shown}");
            assert!(!text.contains("ann") && values.contains("%ann%"), "{shown}");
        }
    }
}
