//! `/v1/admin/analytics`: figures about all customers, for a range of days of the shop's calendar, as
//! JSON and as pictures. `docs/analytics.md` defines each of them.
//!
//! They are read on connections of their own, from the replica where there is one, and each statement
//! has a time limit: however much is asked for, nobody else waits.

mod figures;
mod lives;
mod one;
mod plots;
mod segments;
mod view;

use super::field::FieldFault;
use super::problem::Problem;
use super::query::{Parameter, Query};
use super::services::Services;
use crate::actors::analytics::currency_of_record;
use crate::db;
use crate::db::reports::Slice;
use crate::domain::analytics::calendar::{Span, Unit, bounds, day_of};
use crate::domain::customer::GroupCode;
use crate::domain::place::Currency;
use crate::domain::segment::record::SegmentName;
use actix_web::HttpResponse;
use actix_web::http::header;
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.configure(figures::routes).configure(lives::routes).configure(one::routes);
    cfg.configure(segments::routes);
}

/// A picture brings its own style and nothing else.
const PICTURE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/// Pieces that are told when no beginning is asked for.
const PIECES: u64 = 30;
const WEEKS: u64 = 12;
const MONTHS: u32 = 12;

/// Which days, told how.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters; `Asked` reads them")]
struct RangeParams {
    /// First day of the range, in the shop's time zone. By default 30 days, 12 weeks or 12 months.
    #[param(required = false, example = "2026-01-01")]
    from: Option<NaiveDate>,
    /// Last day of the range, included; by default today.
    #[param(required = false, example = "2026-01-31")]
    to: Option<NaiveDate>,
    /// `day` (the default), `week` (from Monday) or `month`. The first and the last piece are cut where
    /// the range ends.
    #[param(required = false, example = "week")]
    by: Option<String>,
}

/// Of which customers.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; `Asked` reads it")]
struct GroupParam {
    /// The code of a customer group; by default all.
    #[param(required = false, example = "individual")]
    group: Option<String>,
}

/// In which money.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; `Asked` reads it")]
struct CurrencyParam {
    /// ISO 4217; by default the currency of record.
    #[param(required = false, example = "USD")]
    currency: Option<String>,
}

/// As what.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; `Asked` reads it")]
struct FormatParam {
    /// `json` (the default), or `svg` for a picture.
    #[param(required = false, example = "svg")]
    format: Option<String>,
}

/// Which parameters a route knows.
#[derive(Clone, Copy)]
struct Takes {
    /// `from` and `to`.
    range: bool,
    by: bool,
    group: bool,
    currency: bool,
    format: bool,
    /// `segment`.
    segments: bool,
}

const ALL: Takes =
    Takes { range: true, by: true, group: true, currency: true, format: true, segments: false };

/// What is asked for.
struct Asked {
    now: DateTime<Utc>,
    zone: Tz,
    span: Span,
    unit: Unit,
    group: Option<String>,
    currency: String,
    picture: bool,
    /// Of which segments; empty: nobody said.
    segments: Vec<SegmentName>,
}

/// How a query is judged.
struct Terms {
    now: DateTime<Utc>,
    zone: Tz,
    days_max: i64,
    currency: String,
}

impl Asked {
    /// Reads a query string; `unit` where the route knows no `by`.
    async fn read(
        services: &Services,
        query: &str,
        takes: Takes,
        unit: Unit,
    ) -> Result<Self, Problem> {
        let config = &services.config;
        let terms = Terms {
            now: services.clock.now(),
            zone: config.analytics.time_zone,
            days_max: config.analytics.range_max_days.into(),
            currency: currency_of_record(config),
        };
        let asked = Query::read(query, |query| Self::parse(query, takes, unit, terms))?;
        if let Some(group) = asked.group.clone() {
            let exists = services.database.read(move |connection| {
                let group = group.clone();
                Box::pin(async move { db::groups::exists(connection, &group).await })
            });
            if !exists.await? {
                let fault = FieldFault::new("unknown_group", "There is no such group.");
                return Err(Problem::invalid(vec![fault.of_parameter("group")]));
            }
        }
        Ok(asked)
    }

    fn parse(query: &mut Query<'_>, takes: Takes, unit: Unit, terms: Terms) -> Option<Self> {
        let units = Unit::ALL.map(|unit| (unit.as_str(), unit));
        let by = if takes.by { query.optional("by", |raw| raw.one_of(&units)) } else { None };
        let unit = by.unwrap_or(unit);
        let (mut from, mut to) = (None, None);
        if takes.range {
            from = query.optional("from", date);
            to = query.optional("to", date);
        }
        let group = match takes.group {
            true => query.optional("group", |raw| {
                let code = GroupCode::parse(raw.text());
                code.map(|code| code.as_str().to_owned()).map_err(FieldFault::from)
            }),
            false => None,
        };
        let currency = match takes.currency {
            true => query.optional("currency", |raw| {
                let code = Currency::parse(raw.text());
                code.map(|code| code.as_str().to_owned()).map_err(FieldFault::from)
            }),
            false => None,
        };
        let formats = [("json", false), ("svg", true)];
        let format = match takes.format {
            true => query.optional("format", |raw| raw.one_of(&formats)),
            false => None,
        };
        let segments = match takes.segments {
            true => query.optional("segment", segments::names),
            false => None,
        };
        let to = to.unwrap_or_else(|| day_of(terms.now, terms.zone));
        let span = Span { from: from.unwrap_or_else(|| usual_start(to, unit)), to };
        if span.from > span.to {
            let detail = "Must not be after the end of the range.";
            query.refuse("from", FieldFault::new("out_of_range", detail));
        } else if span.days() > terms.days_max {
            let detail = format!("The range may be of {} days at most.", terms.days_max);
            query.refuse("from", FieldFault::new("out_of_range", detail));
        }
        Some(Self {
            now: terms.now,
            zone: terms.zone,
            span,
            unit,
            group,
            currency: currency.unwrap_or(terms.currency),
            picture: format.unwrap_or(false),
            segments: segments.unwrap_or_default(),
        })
    }

    fn pieces(&self) -> Vec<Span> {
        self.span.split(self.unit)
    }

    fn slice(&self) -> Slice {
        Slice { bounds: bounds(&self.pieces(), self.zone), group: self.group.clone() }
    }

    /// The figures as JSON, or drawn.
    fn answer<T: Serialize>(&self, figures: &T, draw: impl FnOnce(&T) -> String) -> HttpResponse {
        if !self.picture {
            return HttpResponse::Ok().json(figures);
        }
        HttpResponse::Ok()
            .content_type("image/svg+xml")
            .insert_header((header::CONTENT_SECURITY_POLICY, PICTURE_POLICY))
            .body(draw(figures))
    }
}

/// So that there are some pieces, the last one with `to` in it.
fn usual_start(to: NaiveDate, unit: Unit) -> NaiveDate {
    match unit {
        Unit::Day => to - Days::new(PIECES - 1),
        Unit::Week => unit.first_day(to) - Days::new(7 * (WEEKS - 1)),
        Unit::Month => unit.first_day(to) - Months::new(MONTHS - 1),
    }
}

/// A day as ISO 8601 writes it, within what calendars are kept for.
fn date(raw: Parameter<'_>) -> Result<NaiveDate, FieldFault> {
    let fault = || FieldFault::new("invalid_date", "Must be a day: 2026-01-31.");
    let text = raw.text();
    let day: NaiveDate = text.parse().map_err(|_| fault())?;
    let plain = text.len() == 10 && (1900..=2999).contains(&day.year());
    if plain { Ok(day) } else { Err(fault()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms() -> Terms {
        Terms {
            // the 23rd in Vietnam
            now: "2026-11-22T18:00:00Z".parse().unwrap(),
            zone: Tz::Asia__Ho_Chi_Minh,
            days_max: 100,
            currency: "VND".to_owned(),
        }
    }

    fn read(query: &str) -> Result<Asked, Problem> {
        Query::read(query, |query| Asked::parse(query, ALL, Unit::Day, terms()))
    }

    fn span(query: &str) -> (String, String) {
        let span = read(query).ok().unwrap().span;
        (span.from.to_string(), span.to.to_string())
    }

    #[test]
    fn a_range_has_a_usual_beginning_and_ends_today() {
        for (query, from, to) in [
            ("", "2026-10-25", "2026-11-23"),
            // the 23rd is a Monday
            ("by=week", "2026-09-07", "2026-11-23"),
            ("by=month&to=2026-03-31&from=2026-01-01", "2026-01-01", "2026-03-31"),
            ("to=2026-01-05", "2025-12-07", "2026-01-05"),
            ("from=2026-11-23", "2026-11-23", "2026-11-23"),
        ] {
            assert_eq!(span(query), (from.to_owned(), to.to_owned()), "{query}");
        }
        let asked = read("currency=usd&format=svg&group=vip").ok().unwrap();
        assert_eq!((asked.currency.as_str(), asked.picture), ("USD", true));
        assert_eq!(asked.group.as_deref(), Some("vip"));
        assert_eq!(read("").ok().unwrap().currency, "VND");
    }

    #[test]
    fn what_nobody_can_mean_is_refused() {
        for (query, parameter, code) in [
            ("from=2026-12-01", "from", "out_of_range"),
            ("from=2026-01-01", "from", "out_of_range"),
            ("from=2026-1-1", "from", "invalid_date"),
            ("from=2026-02-30", "from", "invalid_date"),
            ("to=%2B12026-02-01", "to", "invalid_date"),
            ("to=-0001-02-01", "to", "invalid_date"),
            ("by=hour", "by", "unknown_value"),
            ("currency=BTC", "currency", "unknown_currency"),
            ("group=A%20B", "group", "invalid_group"),
            ("format=png", "format", "unknown_value"),
            ("zone=UTC", "zone", "unknown_parameter"),
        ] {
            let problem = read(query).err().unwrap_or_else(|| panic!("{query}"));
            let told: Vec<_> =
                problem.errors().iter().map(|e| (e.parameter.clone().unwrap(), e.code)).collect();
            assert_eq!(told, [(parameter.to_owned(), code)], "{query}");
        }
    }
}
