//! What a definition would come to, before it is saved: how many customers, some of them, and against
//! the members that a segment has now who would join and who would leave, by the clauses that decide it.
//!
//! All customers are looked at, a stretch of their ids at a time, until that is done or time is up: then
//! what was reached is told, and that it is not all. Nothing is written.

use super::SegmentDesk;
use crate::db::predictions::KeptModel;
use crate::db::segments::preview::{Against, Asked, Found, Stretch, found, stretch, tail};
use crate::db::segments::{Named, NotInSql, Rfm, Surroundings, clauses, compile, tiers_between};
use crate::db::transactions::QueryError;
use crate::db::{self, Connection, Database};
use crate::domain::ids::SegmentId;
use crate::domain::segment::attributes::Mark;
use crate::domain::segment::condition::Leaf;
use crate::domain::segment::record::SegmentName;
use crate::domain::segment::{Checked, Schema, deciding};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Customers of the first stretch. Later ones are as many as take [`STRETCH_TIME`].
const STRETCH: i64 = 2_000;
const STRETCH_MAX: i64 = 100_000;
/// Where tiers are computed, all orders of a stretch are held in memory.
const TIERS_STRETCH_MAX: i64 = 5_000;
const STRETCH_TIME: Duration = Duration::from_millis(400);

/// With less time than this nothing more is begun.
const TIME_MIN: Duration = Duration::from_millis(20);

/// What is to be told.
#[derive(Debug, Clone)]
pub struct Order {
    pub checked: Checked,
    /// The segment whose members now are compared with those that it would have.
    pub redefines: Option<SegmentId>,
    /// How many customers are named, of each kind.
    pub sample: usize,
    /// For all of it.
    pub limit: Duration,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Who fulfils the definition, among those looked at.
    pub customers: i64,
    pub looked_at: i64,
    /// Living customers; about, where not all were looked at.
    pub total: i64,
    /// Whether all customers were looked at.
    pub complete: bool,
    pub sample: Vec<Uuid>,
    pub change: Option<Redefinition>,
}

/// What a new definition would change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redefinition {
    /// Who belongs to the segment now, among those looked at.
    pub members: i64,
    pub joins: Moves,
    pub leaves: Moves,
}

/// Who would join, or leave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    pub customers: i64,
    pub sample: Vec<Uuid>,
    /// The clauses that decide it, each with how many customers it decides for, by itself or with
    /// others; most first.
    pub clauses: Vec<(String, i64)>,
}

/// What conditions are evaluated against besides rows, as of one moment.
#[derive(Debug)]
struct Circumstances {
    now: DateTime<Utc>,
    rfm: Option<Rfm>,
    model: Option<KeptModel>,
    currency: String,
    segments: BTreeMap<String, Named>,
    /// Customers, as the server estimates.
    total: i64,
}

/// What a trial is checked against, and which segment it would redefine.
#[derive(Debug)]
pub struct Grounds {
    pub schema: Schema,
    pub redefines: Option<SegmentId>,
}

/// Why a segment cannot be redefined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRedefinable {
    /// There is none of the name.
    Unknown,
    /// Who belongs to it is said by hand.
    Static,
}

impl SegmentDesk {
    /// See [`Grounds`].
    ///
    /// # Errors
    /// Those of the queries.
    pub async fn grounds(
        &self,
        connection: &Connection,
        segment: Option<&SegmentName>,
    ) -> Result<Result<Grounds, NotRedefinable>, QueryError> {
        let mut schema = self.schema(connection).await?;
        let Some(name) = segment else { return Ok(Ok(Grounds { schema, redefines: None })) };
        let Some(segment) = db::segment_book::find(connection, name).await? else {
            return Ok(Err(NotRedefinable::Unknown));
        };
        let Some(rule) = segment.membership.rule() else {
            return Ok(Err(NotRedefinable::Static));
        };
        schema.time_zone = rule.time_zone.zone().unwrap_or(schema.time_zone);
        // It cannot ask about itself.
        if let Some(names) = &mut schema.segments {
            names.remove(segment.code.as_str());
        }
        Ok(Ok(Grounds { schema, redefines: Some(segment.id) }))
    }

    /// See the module.
    ///
    /// # Errors
    /// Those of the database, but for time that is up.
    pub async fn preview(
        &self,
        database: &Database,
        order: Order,
        now: DateTime<Utc>,
    ) -> Result<Preview, db::Error> {
        let began = Instant::now();
        let desk = self.clone();
        let read = database.read(move |connection| {
            let desk = desk.clone();
            Box::pin(async move { desk.circumstances(connection, now).await })
        });
        let around = Arc::new(read.await?);
        let order = Arc::new(order);
        let most = if reads_tiers(&order.checked) { TIERS_STRETCH_MAX } else { STRETCH_MAX };
        let mut tally = Tally::new(&order);
        let (mut after, mut customers, mut complete) = (Uuid::nil(), STRETCH, false);
        while !complete {
            let left = order.limit.saturating_sub(began.elapsed());
            if left < TIME_MIN {
                break;
            }
            let (since, task) = (Instant::now(), (Arc::clone(&order), Arc::clone(&around)));
            let read = database.read(move |connection| {
                let (order, around) = task.clone();
                Box::pin(async move {
                    let stretch = stretch(connection, after, customers).await?;
                    let found = one(connection, &order, &around, stretch, left).await?;
                    Ok((stretch, found))
                })
            });
            match read.await {
                Ok((stretch, found)) => {
                    tally.add(found);
                    (after, complete) = (stretch.until, stretch.is_last());
                }
                // Time was up in the middle of it: what was found before stands.
                Err(db::Error::Transient(_)) => break,
                Err(error) => return Err(error),
            }
            let took = since.elapsed().max(Duration::from_millis(1));
            let fitting = customers as f64 * STRETCH_TIME.as_secs_f64() / took.as_secs_f64();
            customers = (fitting as i64).clamp(STRETCH / 4, customers * 4).min(most);
        }
        Ok(tally.preview(complete, around.total))
    }

    async fn circumstances(
        &self,
        connection: &Connection,
        now: DateTime<Utc>,
    ) -> Result<Circumstances, QueryError> {
        let currency = self.shop.currency.clone();
        let (segments, cuts, model, total) = tokio::try_join!(
            db::segment_book::all(connection),
            db::predictions::cut_points(connection, &currency),
            db::predictions::model(connection, &currency),
            db::segments::preview::about_all(connection),
        )?;
        let kept =
            segments.values().map(|one| (one.code.as_str().to_owned(), Named::Kept(one.id.0)));
        let zone = self.shop.time_zone;
        Ok(Circumstances {
            now,
            rfm: cuts.map(|kept| Rfm { cuts: kept.cuts, currency: currency.clone(), zone }),
            model,
            segments: kept.collect(),
            currency,
            total,
        })
    }
}

fn reads_tiers(checked: &Checked) -> bool {
    checked.marks().contains(&Mark::Models)
}

/// What is found in one stretch.
async fn one(
    connection: &mut Connection,
    order: &Order,
    around: &Circumstances,
    stretch: Stretch,
    limit: Duration,
) -> Result<Found, QueryError> {
    let tiers = match (&around.model, reads_tiers(&order.checked)) {
        (Some(model), true) => {
            tiers_between(connection, stretch, (model, &around.currency)).await?
        }
        _ => Default::default(),
    };
    let (rfm, segments, tiers) = (around.rfm.as_ref(), &around.segments, Some(&tiers));
    let surroundings = Surroundings { now: around.now, rfm, segments, tiers };
    let told = |error: NotInSql| QueryError::QueryBuilderError(Box::new(error));
    let against = match order.redefines {
        Some(segment) => {
            let clauses = clauses(&order.checked, surroundings).map_err(told)?;
            Some(Against { segment: segment.0, clauses })
        }
        None => None,
    };
    let condition = compile(&order.checked, surroundings).map_err(told)?;
    let sample = i32::try_from(order.sample).unwrap_or(i32::MAX);
    found(connection, &Asked { condition, against, sample }, stretch, limit).await
}

/// What was found so far.
struct Tally<'a> {
    order: &'a Order,
    clauses: Vec<&'a Leaf>,
    customers: i64,
    looked_at: i64,
    sample: Vec<Uuid>,
    members: i64,
    joins: Side,
    leaves: Side,
}

#[derive(Default)]
struct Side {
    customers: i64,
    sample: Vec<Uuid>,
    /// By the place of a clause.
    clauses: BTreeMap<usize, i64>,
}

impl<'a> Tally<'a> {
    fn new(order: &'a Order) -> Self {
        let mut clauses = Vec::new();
        order.checked.condition().leaves(&mut |leaf| clauses.push(leaf));
        Self {
            order,
            clauses,
            customers: 0,
            looked_at: 0,
            sample: Vec::new(),
            members: 0,
            joins: Side::default(),
            leaves: Side::default(),
        }
    }

    fn add(&mut self, found: Found) {
        self.customers += found.fits;
        self.looked_at += found.looked_at;
        self.members += found.members;
        let most = self.order.sample;
        draw(&mut self.sample, found.sample, most);
        for difference in found.differences {
            let side = if difference.joins { &mut self.joins } else { &mut self.leaves };
            side.customers += difference.customers;
            draw(&mut side.sample, difference.sample, most);
            let (_, places) = deciding(self.order.checked.condition(), &difference.clauses);
            for place in places {
                *side.clauses.entry(place).or_default() += difference.customers;
            }
        }
    }

    fn preview(self, complete: bool, about: i64) -> Preview {
        let text = |place: usize| self.clauses.get(place).map(|leaf| leaf.text.clone());
        let moves = |side: Side| {
            let told = side.clauses.into_iter().filter_map(|(at, many)| Some((text(at)?, many)));
            let mut clauses: Vec<_> = told.collect();
            clauses.sort_by_key(|(_, customers)| -customers);
            Moves { customers: side.customers, sample: side.sample, clauses }
        };
        let (joins, leaves) = (moves(self.joins), moves(self.leaves));
        let redefinition = Redefinition { members: self.members, joins, leaves };
        Preview {
            customers: self.customers,
            looked_at: self.looked_at,
            total: if complete { self.looked_at } else { about.max(self.looked_at) },
            complete,
            sample: self.sample,
            change: self.order.redefines.map(|_| redefinition),
        }
    }
}

/// The first of both in the order of samples.
fn draw(sample: &mut Vec<Uuid>, more: Vec<Uuid>, most: usize) {
    sample.extend(more);
    sample.sort_unstable_by_key(|id| (tail(*id), *id));
    sample.truncate(most);
}
