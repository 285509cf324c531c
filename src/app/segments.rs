//! `customer-service segment`: what definitions are checked against, without the service.

use super::{database_runtime, settings};
use crate::actors::analytics::currency_of_record;
use crate::actors::consents::Purposes;
use crate::config::Config;
use crate::db;
use crate::domain::attribute::{DEFINITIONS_MAX, Definition};
use crate::domain::segment::{Bounds, CustomAttribute, Schema};
use chrono_tz::Tz;

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
    if text.contains("custom.") {
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
