//! Tables `segments`, `segment_revisions`, `segment_uses` and `segment_attributes`.

use super::Connection;
use super::schema::{
    attribute_definitions, segment_attributes, segment_book, segment_uses, segments,
};
use super::statements::{
    BeginSegmentBuilds, DeleteSegments, ForgetSegmentAttributes, ForgetSegmentUses,
    InsertSegmentAttributes, InsertSegmentRevisions, InsertSegmentUses, InsertSegments,
    UpdateSegments,
};
use crate::domain::attribute::{AttributeKey, Kind};
use crate::domain::command::Context;
use crate::domain::ids::SegmentId;
use crate::domain::place::TimeZone;
use crate::domain::segment::membership::InForce;
use crate::domain::segment::record::{
    Force, Membership, Rule, Segment, SegmentCode, SegmentName, SegmentTags, Segments,
};
use crate::domain::text::Label;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Text};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = segments, check_for_backend(diesel::pg::Pg))]
struct Row {
    code: String,
    id: Uuid,
    title: String,
    description: Option<String>,
    tags: Vec<String>,
    definition: Option<String>,
    time_zone: Option<String>,
    state: String,
    revision: i64,
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

/// What the definitions of some segments name.
struct Names {
    uses: HashMap<Uuid, BTreeSet<SegmentCode>>,
    attributes: HashMap<Uuid, BTreeMap<AttributeKey, Kind>>,
}

impl Names {
    async fn of(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Self> {
        let used: Vec<(Uuid, String)> = segment_uses::table
            .inner_join(segments::table.on(segments::id.eq(segment_uses::used_id)))
            .filter(segment_uses::segment_id.eq_any(ids))
            .select((segment_uses::segment_id, segments::code))
            .load(&mut conn)
            .await?;
        let read: Vec<(Uuid, String, String)> = segment_attributes::table
            .inner_join(
                attribute_definitions::table
                    .on(attribute_definitions::key.eq(segment_attributes::key)),
            )
            .filter(segment_attributes::segment_id.eq_any(ids))
            .select((
                segment_attributes::segment_id,
                attribute_definitions::key,
                attribute_definitions::kind,
            ))
            .load(&mut conn)
            .await?;
        let mut names = Self { uses: HashMap::new(), attributes: HashMap::new() };
        for (id, code) in used {
            names.uses.entry(id).or_default().insert(SegmentCode::from_stored(code));
        }
        for (id, key, kind) in read {
            let kind = known(&Kind::ALL, &kind, "kind")?;
            let attributes = names.attributes.entry(id).or_default();
            attributes.insert(AttributeKey::from_stored(key), kind);
        }
        Ok(names)
    }

    fn segment(&mut self, row: Row) -> QueryResult<Segment> {
        let membership = match row.definition.zip(row.time_zone) {
            Some((definition, zone)) => Membership::Rule(Rule {
                definition,
                time_zone: TimeZone::from_stored(zone),
                uses: self.uses.remove(&row.id).unwrap_or_default(),
                attributes: self.attributes.remove(&row.id).unwrap_or_default(),
            }),
            None => Membership::Static,
        };
        Ok(Segment {
            id: SegmentId(row.id),
            code: SegmentCode::from_stored(row.code),
            membership,
            title: Label::from_stored(row.title),
            description: row.description,
            tags: SegmentTags::from_stored(row.tags),
            force: known(&Force::ALL, &row.state, "state")?,
            revision: row.revision,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}

async fn whole(conn: &Connection, rows: Vec<Row>) -> QueryResult<Vec<Segment>> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let mut names = Names::of(conn, &ids).await?;
    rows.into_iter().map(|row| names.segment(row)).collect()
}

fn by_code(segments: Vec<Segment>) -> Segments {
    segments.into_iter().map(|segment| (segment.code.clone(), segment)).collect()
}

/// Advisory locks of the book: shared by those who write by what is in force, exclusive to whoever
/// changes that.
const BOOK_LOCK: i32 = 7264;

/// All segments, locked against change until the transaction ends: nobody else adds, changes or deletes
/// one, and nobody is judged, or put into one, by what was in force before.
///
/// # Errors
/// Those of the queries; a lock that could not be had in time.
pub async fn lock_all(mut conn: &Connection) -> QueryResult<Segments> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1, 0)")
        .bind::<Integer, _>(BOOK_LOCK)
        .execute(&mut conn)
        .await?;
    // In statements of their own: they see what was committed while the lock was waited for.
    all(conn).await
}

diesel::define_sql_function! {
    /// Of PostgreSQL.
    fn pg_advisory_xact_lock_shared(space: Integer, key: Integer);
}

/// What is in force until the transaction ends, with those of some segments that are static and not
/// about to go.
///
/// # Errors
/// Those of the queries; a lock that could not be had in time.
pub async fn hold(mut conn: &Connection, statics: &[Uuid]) -> QueryResult<InForce> {
    diesel::select(pg_advisory_xact_lock_shared(BOOK_LOCK, 0)).execute(&mut conn).await?;
    // In statements of their own: they see what was committed while the lock was waited for.
    let version = version(conn).await?;
    let open: Vec<Uuid> = match statics.is_empty() {
        true => Vec::new(),
        false => {
            segments::table
                .filter(segments::id.eq_any(statics))
                .filter(segments::definition.is_null())
                .filter(segments::state.eq(Force::Active.as_str()))
                .select(segments::id)
                .load(&mut conn)
                .await?
        }
    };
    Ok(InForce { version, open: open.into_iter().map(SegmentId).collect() })
}

/// Static segments by their codes, in the order of these; none for a code that no such segment has.
///
/// # Errors
/// Those of the query.
pub async fn statics(
    mut conn: &Connection,
    codes: &[String],
) -> QueryResult<Vec<(SegmentId, SegmentCode)>> {
    let rows: Vec<(Uuid, String)> = segments::table
        .filter(segments::code.eq_any(codes))
        .filter(segments::definition.is_null())
        .filter(segments::state.eq(Force::Active.as_str()))
        .order(segments::code)
        .select((segments::id, segments::code))
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(|(id, code)| (SegmentId(id), SegmentCode::from_stored(code))).collect())
}

/// Tells every node that it knows what was in force before, once this commits.
///
/// # Errors
/// Those of the query.
pub async fn turn_page(mut conn: &Connection) -> QueryResult<()> {
    diesel::update(segment_book::table)
        .set(segment_book::version.eq(segment_book::version + 1))
        .execute(&mut conn)
        .await
        .map(|_| ())
}

/// The version of what is in force.
///
/// # Errors
/// Those of the query.
pub async fn version(mut conn: &Connection) -> QueryResult<i64> {
    segment_book::table.select(segment_book::version).first(&mut conn).await
}

/// What is in force, and what there is that could be.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Edition {
    /// Of the whole.
    #[diesel(sql_type = BigInt)]
    pub version: i64,
    /// Version of the cut points that are in force; 0: none.
    #[diesel(sql_type = BigInt)]
    pub cut_points: i64,
    /// Likewise of the models of purchases.
    #[diesel(sql_type = BigInt)]
    pub models: i64,
    #[diesel(sql_type = BigInt)]
    pub newest_cut_points: i64,
    #[diesel(sql_type = BigInt)]
    pub newest_models: i64,
}

impl Edition {
    pub fn is_newest(&self) -> bool {
        (self.cut_points, self.models) == (self.newest_cut_points, self.newest_models)
    }
}

/// See [`Edition`]; `currency`: of record.
///
/// # Errors
/// Those of the query.
pub async fn edition(mut conn: &Connection, currency: &str) -> QueryResult<Edition> {
    diesel::sql_query(
        "SELECT version, cut_points, models, \
         coalesce((SELECT max(version) FROM rfm_cut_points WHERE currency = $1), 0) AS newest_cut_points, \
         coalesce((SELECT max(version) FROM prediction_models WHERE currency = $1), 0) AS newest_models \
         FROM segment_book",
    )
    .bind::<Text, _>(currency)
    .get_result(&mut conn)
    .await
}

/// Brings the newest figures of an edition into force, in the transaction that has [`lock_all`].
///
/// # Errors
/// Those of the query.
pub async fn adopt(mut conn: &Connection, edition: &Edition) -> QueryResult<()> {
    diesel::update(segment_book::table)
        .set((
            segment_book::version.eq(segment_book::version + 1),
            segment_book::cut_points.eq(edition.newest_cut_points),
            segment_book::models.eq(edition.newest_models),
        ))
        .execute(&mut conn)
        .await
        .map(|_| ())
}

/// All segments.
///
/// # Errors
/// Those of the query.
pub async fn all(mut conn: &Connection) -> QueryResult<Segments> {
    let rows =
        segments::table.order(segments::code).select(Row::as_select()).load(&mut conn).await?;
    Ok(by_code(whole(conn, rows).await?))
}

/// One segment, by its id or by its code.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, name: &SegmentName) -> QueryResult<Option<Segment>> {
    let query = segments::table.select(Row::as_select()).into_boxed();
    let query = match name {
        SegmentName::Id(id) => query.filter(segments::id.eq(id.0)),
        SegmentName::Code(code) => query.filter(segments::code.eq(code.as_str().to_owned())),
    };
    let row: Option<Row> = query.first(&mut conn).await.optional()?;
    Ok(whole(conn, row.into_iter().collect()).await?.pop())
}

/// A page of segments in the order of their codes; with `tag`, only those that bear it.
///
/// # Errors
/// Those of the query.
pub async fn page(
    mut conn: &Connection,
    tag: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> QueryResult<Vec<Segment>> {
    let mut query = segments::table
        .filter(segments::code.gt(after.unwrap_or_default().to_owned()))
        .order(segments::code)
        .limit(limit)
        .select(Row::as_select())
        .into_boxed();
    if let Some(tag) = tag {
        query = query.filter(segments::tags.contains(vec![tag.to_owned()]));
    }
    let rows = query.load(&mut conn).await?;
    whole(conn, rows).await
}

/// Whether a definition reads this custom attribute.
///
/// # Errors
/// Those of the query.
pub async fn read_attribute(mut conn: &Connection, key: &AttributeKey) -> QueryResult<bool> {
    let readers =
        segment_attributes::table.filter(segment_attributes::key.eq(key.as_str().to_owned()));
    diesel::select(diesel::dsl::exists(readers)).get_result(&mut conn).await
}

fn tags(segment: &Segment) -> Value {
    segment.tags.as_slice().into()
}

fn definition(segment: &Segment) -> (Option<String>, Option<String>) {
    match segment.membership.rule() {
        Some(rule) => (Some(rule.definition.clone()), Some(rule.time_zone.as_str().to_owned())),
        None => (None, None),
    }
}

impl InsertSegments {
    pub fn push(&mut self, segment: &Segment) {
        let (definition, time_zone) = definition(segment);
        self.code.push(segment.code.as_str().to_owned());
        self.id.push(segment.id.0);
        self.kind.push(segment.membership.kind().as_str().to_owned());
        self.title.push(segment.title.as_str().to_owned());
        self.description.push(segment.description.clone());
        self.tags.push(tags(segment));
        self.definition.push(definition);
        self.time_zone.push(time_zone);
        self.state.push(segment.force.as_str().to_owned());
        self.revision.push(segment.revision);
        self.created_at.push(segment.created_at);
        self.updated_at.push(segment.updated_at);
        self.version.push(segment.version);
    }
}

impl UpdateSegments {
    pub fn push(&mut self, segment: &Segment) {
        let (definition, time_zone) = definition(segment);
        self.id.push(segment.id.0);
        self.title.push(segment.title.as_str().to_owned());
        self.description.push(segment.description.clone());
        self.tags.push(tags(segment));
        self.definition.push(definition);
        self.time_zone.push(time_zone);
        self.state.push(segment.force.as_str().to_owned());
        self.revision.push(segment.revision);
        self.updated_at.push(segment.updated_at);
        self.version.push(segment.version);
    }
}

impl DeleteSegments {
    pub fn push(&mut self, id: SegmentId) {
        self.id.push(id.0);
    }
}

impl InsertSegmentRevisions {
    pub fn push(&mut self, segment: &Segment, context: &Context) {
        let (kind, id) = super::audit::actor(&context.actor);
        let (definition, time_zone) = definition(segment);
        self.segment_id.push(segment.id.0);
        self.revision.push(segment.revision);
        self.definition.push(definition);
        self.time_zone.push(time_zone);
        self.state.push(segment.force.as_str().to_owned());
        self.changed_at.push(segment.updated_at);
        self.changed_by.push(match id {
            Some(id) => format!("{kind}:{id}"),
            None => kind.to_owned(),
        });
    }
}

impl ForgetSegmentUses {
    pub fn push(&mut self, segment: SegmentId) {
        self.segment_id.push(segment.0);
    }
}

impl ForgetSegmentAttributes {
    pub fn push(&mut self, segment: SegmentId) {
        self.segment_id.push(segment.0);
    }
}

impl InsertSegmentUses {
    pub fn push(&mut self, segment: SegmentId, used: SegmentId) {
        self.segment_id.push(segment.0);
        self.used_id.push(used.0);
    }
}

impl InsertSegmentAttributes {
    pub fn push(&mut self, segment: SegmentId, key: &AttributeKey) {
        self.segment_id.push(segment.0);
        self.key.push(key.as_str().to_owned());
    }
}

impl BeginSegmentBuilds {
    pub fn push(&mut self, segment: &Segment) {
        self.segment_id.push(segment.id.0);
        self.revision.push(segment.revision);
        self.at.push(segment.updated_at);
    }
}
