//! `customer-service segment`: definitions are checked and tried, and memberships explained, without the
//! service.

use super::{database_runtime, settings};
use crate::actors::analytics::currency_of_record;
use crate::actors::consents::Purposes;
use crate::actors::segments::preview::{Grounds, NotRedefinable, Order, Preview};
use crate::actors::segments::{SegmentDesk, Standards, Why};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::db::{self, Database, DatabaseSettings};
use crate::domain::CustomerId;
use crate::domain::attribute::{DEFINITIONS_MAX, Definition};
use crate::domain::segment::record::SegmentName;
use crate::domain::segment::{Bounds, Checked, CustomAttribute, Mistakes, Schema};
use anyhow::bail;
use chrono_tz::Tz;
use std::time::Duration;
use tokio::runtime::Handle;

/// Whether a text speaks of what only the database knows.
pub fn asks_database(text: &str) -> bool {
    text.contains("custom.")
}

/// What a definition is checked against. The database is asked for the definitions of custom attributes
/// when the text speaks of them.
///
/// # Errors
/// Those of the database.
pub fn schema(config: &Config, text: &str, zone: Option<Tz>) -> anyhow::Result<Schema> {
    let zone = zone.unwrap_or(config.analytics.time_zone);
    let mut schema = Schema::new(zone, currency_of_record(config));
    schema.cost_max = config.segments.cost_max;
    schema.bounds = Bounds { bytes: config.segments.definition_bytes_max, ..Bounds::default() };
    schema.purposes = Purposes::from(config).channels();
    if asks_database(text) {
        let definitions = database_runtime()?.block_on(async {
            let connection = db::pool::connect_once(&settings::database(config)).await?;
            anyhow::Ok(db::attributes::page(&connection, None, DEFINITIONS_MAX as i64).await?)
        })?;
        schema.custom = definitions.iter().map(custom).collect();
    }
    Ok(schema)
}

fn custom(definition: &Definition) -> (String, CustomAttribute) {
    let Definition { key, part, rule, .. } = definition;
    let (kind, choices) = (rule.kind(), rule.limits().choices.clone());
    (key.as_str().to_owned(), CustomAttribute { part: *part, kind, choices })
}

/// What is to be tried.
pub struct Trial<'a> {
    pub text: &'a str,
    /// Whose days are meant; `None`: those of the segment, or else the shop's.
    pub zone: Option<Tz>,
    /// The id or code of a segment that it would redefine.
    pub segment: Option<&'a str>,
    pub sample: usize,
    pub limit: Duration,
}

/// A definition with what it would come to, or what is wrong with it.
pub type Tried = Result<(Checked, Preview), Mistakes>;

/// What a definition would come to, before it is saved.
///
/// # Errors
/// Those of the database; a segment that is not there, or is static.
pub fn preview(config: &Config, trial: &Trial<'_>) -> anyhow::Result<Tried> {
    let desk = SegmentDesk::new(config, Standards::default());
    let name = trial.segment.map(named).transpose()?;
    let primary = settings::reports(config);
    let settings = DatabaseSettings { statement_timeout: trial.limit, ..primary };
    database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::database(config)).await?;
        let grounds = desk.grounds(&connection, name.as_ref()).await?;
        let Grounds { mut schema, redefines } = match (grounds, trial.segment) {
            (Ok(grounds), _) => grounds,
            (Err(NotRedefinable::Static), Some(name)) => bail!("the segment {name} is static"),
            (Err(_), name) => bail!("there is no segment {}", name.unwrap_or("of no name")),
        };
        schema.time_zone = trial.zone.unwrap_or(schema.time_zone);
        let checked = match Checked::parse(trial.text, &schema) {
            Ok(checked) => checked,
            Err(mistakes) => return Ok(Err(mistakes)),
        };
        let database = Database::new(settings, Handle::current());
        let (sample, limit) = (trial.sample, trial.limit);
        let order = Order { checked: checked.clone(), redefines, sample, limit };
        let preview = desk.preview(&database, order, SystemClock.now()).await?;
        Ok(Ok((checked, preview)))
    })
}

/// Why a customer belongs to a segment, or why not; `None`: one of them is not there.
///
/// # Errors
/// Those of the database.
pub fn why(config: &Config, segment: &str, customer: CustomerId) -> anyhow::Result<Option<Why>> {
    let desk = SegmentDesk::new(config, Standards::default());
    let name = named(segment)?;
    database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::database(config)).await?;
        Ok(desk.why(&connection, &name, customer, SystemClock.now()).await?)
    })
}

fn named(text: &str) -> anyhow::Result<SegmentName> {
    let name = SegmentName::parse(text);
    name.ok_or_else(|| anyhow::anyhow!("{text:?} is neither the id nor the code of a segment"))
}
