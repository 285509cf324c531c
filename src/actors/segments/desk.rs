//! Where definitions are checked, and read again when something changed.

use super::{Known, Standards};
use crate::actors::analytics::currency_of_record;
use crate::actors::consents::Purposes;
use crate::config::Config;
use crate::db::segment_book::Edition;
use crate::db::segment_members::Flip;
use crate::db::segments::Rfm;
use crate::db::transactions::{QueryError, begin, commit, rollback};
use crate::db::{self, Connection};
use crate::domain::attribute::{DEFINITIONS_MAX, Definition};
use crate::domain::ids::SegmentId;
use crate::domain::segment::attributes::Mark;
use crate::domain::segment::membership::{Program, Programs};
use crate::domain::segment::record::{Force, Segment, Segments};
use crate::domain::segment::{Bounds, Checked, CustomAttribute, Mistakes, Schema};
use chrono::{DateTime, Utc};
use metrics::gauge;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct SegmentDesk {
    /// What definitions are checked against, without what the database knows.
    pub(super) shop: Arc<Schema>,
    standards: Standards,
}

impl SegmentDesk {
    pub fn new(config: &Config, standards: Standards) -> Self {
        Self { shop: Arc::new(shop(config)), standards }
    }

    pub fn standards(&self) -> &Standards {
        &self.standards
    }

    /// What a new definition is checked against.
    ///
    /// # Errors
    /// Those of the queries.
    pub async fn schema(&self, connection: &Connection) -> Result<Schema, QueryError> {
        let mut schema = Schema::clone(&self.shop);
        let (custom, segments) =
            tokio::try_join!(custom(connection), db::segment_book::all(connection))?;
        schema.custom = custom;
        let living = segments.values().filter(|segment| segment.force != Force::Deleting);
        schema.segments = Some(living.map(|one| one.code.as_str().to_owned()).collect());
        Ok(schema)
    }

    /// What is in force, read anew if it is not what is known. New cut points and models come into force
    /// by this: with a walk for each segment that asks about them.
    ///
    /// # Errors
    /// Those of the queries.
    pub async fn refresh(
        &self,
        connection: &mut Connection,
        now: DateTime<Utc>,
    ) -> Result<Arc<Known>, db::Error> {
        let currency = self.shop.currency.clone();
        loop {
            let edition = db::segment_book::edition(connection, &currency).await?;
            let known = self.standards.known();
            if known.programs.version == edition.version
                && edition.is_newest()
                && !known.currency.is_empty()
            {
                return Ok(known);
            }
            if !edition.is_newest() {
                self.adopt(connection, now).await?;
                continue;
            }
            let read = self.read(connection, &edition).await?;
            // Statements see each what is committed by then: only what stayed the same is of one piece.
            if db::segment_book::edition(connection, &currency).await? == edition {
                return Ok(self.standards.learn(read));
            }
        }
    }

    async fn read(&self, connection: &Connection, edition: &Edition) -> Result<Known, db::Error> {
        let currency = self.shop.currency.clone();
        let (segments, custom, cuts, model) = tokio::try_join!(
            db::segment_book::all(connection),
            custom(connection),
            db::predictions::cut_points(connection, &currency),
            db::predictions::model(connection, &currency),
        )?;
        let schema = Schema { custom, ..Schema::clone(&self.shop) };
        let rules = rules(&segments, &schema);
        let zone = self.shop.time_zone;
        let rfm = cuts.map(|kept| Rfm { cuts: kept.cuts, currency: currency.clone(), zone });
        let programs = Arc::new(Programs::new(edition.version, rules));
        Ok(Known { programs, rfm, model, currency })
    }

    /// Forgets when time would turn answers of rules that are not in force, unless other ones are by now.
    ///
    /// # Errors
    /// Those of the queries.
    pub async fn forget_flips(
        &self,
        connection: &mut Connection,
        version: i64,
        flips: &[Flip],
    ) -> Result<(), db::Error> {
        begin(connection).await?;
        let forgotten = async {
            if db::segment_book::hold(connection, &[]).await?.version == version {
                db::segment_members::forget_these(connection, flips).await?;
            }
            Ok(())
        };
        self.end(forgotten.await, connection).await
    }

    /// Forgets all of a segment, a piece at a time. Answers with how many they were; `None`: another
    /// rule may be in force by now.
    ///
    /// # Errors
    /// Those of the queries.
    pub async fn forget_all_flips(
        &self,
        connection: &mut Connection,
        version: i64,
        segment: SegmentId,
        limit: i64,
    ) -> Result<Option<usize>, db::Error> {
        begin(connection).await?;
        let forgotten = async {
            if db::segment_book::hold(connection, &[]).await?.version != version {
                return Ok(None);
            }
            db::segment_members::forget_flips(connection, segment, limit).await.map(Some)
        };
        let forgotten = forgotten.await;
        self.end(forgotten, connection).await
    }

    async fn end<T>(
        &self,
        done: Result<T, QueryError>,
        connection: &mut Connection,
    ) -> Result<T, db::Error> {
        match done {
            Ok(done) => {
                commit(connection).await?;
                Ok(done)
            }
            Err(error) => {
                rollback(connection).await;
                Err(error.into())
            }
        }
    }

    /// Brings the newest figures into force.
    async fn adopt(
        &self,
        connection: &mut Connection,
        now: DateTime<Utc>,
    ) -> Result<(), db::Error> {
        begin(connection).await?;
        let adopted = self.adopt_within(connection, now).await;
        self.end(adopted, connection).await
    }

    async fn adopt_within(
        &self,
        connection: &Connection,
        now: DateTime<Utc>,
    ) -> Result<(), QueryError> {
        let segments = db::segment_book::lock_all(connection).await?;
        let edition = db::segment_book::edition(connection, &self.shop.currency).await?;
        // Another node may have been first.
        if edition.is_newest() {
            return Ok(());
        }
        let custom = custom(connection).await?;
        let schema = Schema { custom, ..Schema::clone(&self.shop) };
        let mut asks = Vec::new();
        if edition.cut_points != edition.newest_cut_points {
            asks.push(Mark::CutPoints);
        }
        if edition.models != edition.newest_models {
            asks.push(Mark::Models);
        }
        let reads = |rule: &Program| asks.iter().any(|mark| rule.checked.marks().contains(mark));
        let readers = rules(&segments, &schema).into_iter().filter(reads);
        let begun = readers.filter_map(|rule| Some((rule.id, segments.get(&rule.code)?.revision)));
        db::segment_builds::begin_anew(connection, &begun.collect::<Vec<_>>(), now).await?;
        db::segment_book::adopt(connection, &edition).await
    }
}

/// The rules in force. One that cannot be read any more, since the shop's configuration is another one
/// than when it was checked, is left out: its members stay as they are.
fn rules(segments: &Segments, schema: &Schema) -> Vec<Program> {
    let active = segments.values().filter(|segment| segment.force == Force::Active);
    let mut broken = 0_u32;
    let rules = active.filter_map(|segment| match checked(segment, schema)? {
        Ok(checked) => Some(Program { id: segment.id, code: segment.code.clone(), checked }),
        Err(mistakes) => {
            broken += 1;
            let code = mistakes.list.first().map(|mistake| mistake.code);
            tracing::error!(
                segment = segment.code.as_str(),
                code,
                "a definition cannot be read any more"
            );
            None
        }
    });
    let rules = rules.collect();
    gauge!("segments_unreadable").set(f64::from(broken));
    rules
}

/// The definition of a segment, as it was checked; `None` of a static one.
pub fn checked(segment: &Segment, schema: &Schema) -> Option<Result<Checked, Mistakes>> {
    let rule = segment.membership.rule()?;
    let schema = Schema {
        time_zone: rule.time_zone.zone().unwrap_or(schema.time_zone),
        segments: None,
        // It was within the limits of its day.
        cost_max: u32::MAX,
        bounds: Bounds { bytes: usize::MAX, ..schema.bounds },
        ..schema.clone()
    };
    Some(Checked::parse(&rule.definition, &schema))
}

/// What the configuration alone says of what definitions are checked against.
fn shop(config: &Config) -> Schema {
    let mut schema = Schema::new(config.analytics.time_zone, currency_of_record(config));
    schema.cost_max = config.segments.cost_max;
    schema.bounds = Bounds { bytes: config.segments.definition_bytes_max, ..Bounds::default() };
    schema.purposes = Purposes::from(config).channels();
    schema
}

async fn custom(connection: &Connection) -> Result<BTreeMap<String, CustomAttribute>, QueryError> {
    let all = db::attributes::page(connection, None, DEFINITIONS_MAX as i64).await?;
    let named = |definition: &Definition| {
        let Definition { key, part, rule, .. } = definition;
        let (kind, choices) = (rule.kind(), rule.limits().choices.clone());
        (key.as_str().to_owned(), CustomAttribute { part: *part, kind, choices })
    };
    Ok(all.iter().map(named).collect())
}
