//! How many members segments had, by day, week or month.

use super::plots::Series;
use super::view::{RangeView, label, titled};
use super::{ALL, Asked, FormatParam, RangeParams, Takes};
use crate::db;
use crate::db::segment_counts::Count;
use crate::domain::analytics::calendar::{Span, Unit};
use crate::domain::segment::record::SegmentName;
use crate::http::field::FieldFault;
use crate::http::principal::{AnalyticsRead, Staff};
use crate::http::problem::Problem;
use crate::http::query::Parameter;
use crate::http::services::Services;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(sizes);
}

const OF_SEGMENTS: Takes = Takes { group: false, currency: false, segments: true, ..ALL };

/// As many as a picture has colours for.
const SEGMENTS_MAX: usize = 4;

/// Of which segments.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; `names` reads it")]
struct SegmentsParam {
    /// Ids or codes of up to four segments, with commas between; by default the four largest.
    #[param(required = false, example = "regulars,lapsed")]
    segment: Option<String>,
}

/// Reads `segment`.
pub(super) fn names(raw: Parameter<'_>) -> Result<Vec<SegmentName>, FieldFault> {
    let words: Vec<&str> = raw.text().split(',').collect();
    if words.len() > SEGMENTS_MAX {
        let detail = format!("At most {SEGMENTS_MAX} segments.");
        return Err(FieldFault::new("too_many", detail));
    }
    words.into_iter().map(|word| SegmentName::parse(word).ok_or_else(unknown)).collect()
}

fn unknown() -> FieldFault {
    FieldFault::new("unknown_segment", "There is no such segment.")
}

/// Members of segments over a range.
#[derive(Serialize, ToSchema)]
struct SegmentFigures {
    range: RangeView,
    segments: Vec<SegmentCounts>,
}

#[derive(Serialize, ToSchema)]
struct SegmentCounts {
    id: Uuid,
    /// The segment's code.
    #[schema(example = "regulars")]
    segment: String,
    periods: Vec<SegmentPeriod>,
}

#[derive(Serialize, ToSchema)]
struct SegmentPeriod {
    from: NaiveDate,
    /// Included.
    to: NaiveDate,
    /// Members when they were counted last in it; `null`: they were not.
    members: Option<i64>,
    /// The full hour at which that was.
    counted_at: Option<DateTime<Utc>>,
}

/// How many members segments had: the last count of each period. Members are counted at every full hour
/// since the segment was made, and counts are kept for 1100 days.
#[utoipa::path(
    tag = "analytics",
    operation_id = "segment_figures",
    security(("staff" = ["analytics:read"])),
    params(RangeParams, SegmentsParam, FormatParam),
    responses((status = 200, content((SegmentFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/segments")]
async fn sizes(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&services, request.query_string(), OF_SEGMENTS, Unit::Day).await?;
    let (pieces, bounds, names) = (asked.pieces(), asked.slice().bounds, asked.segments.clone());
    let read = services.reports.read(move |connection| {
        let (bounds, names) = (bounds.clone(), names.clone());
        Box::pin(async move {
            let Some(segments) = these(connection, &names).await? else { return Ok(None) };
            let ids: Vec<Uuid> = segments.iter().map(|(id, _)| *id).collect();
            let counts = db::segment_counts::last_of_each(connection, &ids, &bounds).await?;
            Ok(Some((segments, counts)))
        })
    });
    let unknown = || Problem::invalid(vec![unknown().of_parameter("segment")]);
    let (segments, counts) = read.await?.ok_or_else(unknown)?;
    let of_one = |(id, segment): (Uuid, String)| {
        let period = |(number, piece): (usize, &Span)| {
            let counted =
                |one: &&Count| one.segment_id == id && usize::try_from(one.piece) == Ok(number);
            told_of(piece, counts.iter().find(counted))
        };
        SegmentCounts { id, segment, periods: pieces.iter().enumerate().map(period).collect() }
    };
    let figures = SegmentFigures {
        range: RangeView::from(&asked),
        segments: segments.into_iter().map(of_one).collect(),
    };
    Ok(asked.answer(&figures, |figures| {
        let values = |one: &SegmentCounts| {
            one.periods.iter().map(|period| period.members.unwrap_or(0) as f64).collect()
        };
        let series = figures.segments.iter();
        let series = series.map(|one| Series { name: &one.segment, values: values(one) });
        let series: Vec<_> = series.collect();
        let labels: Vec<_> = pieces.iter().map(|one| label(one, asked.unit.as_str())).collect();
        titled("Members of segments", &told(figures)).bars(&labels, &series)
    }))
}

/// Ids and codes; `None`: one of them is nobody's.
async fn these(
    connection: &db::Connection,
    names: &[SegmentName],
) -> Result<Option<Vec<(Uuid, String)>>, db::transactions::QueryError> {
    if names.is_empty() {
        let largest = db::segment_counts::largest(connection, SEGMENTS_MAX as i64).await?;
        return Ok(Some(largest));
    }
    let mut found = Vec::new();
    for name in names {
        match db::segment_book::find(connection, name).await? {
            Some(segment) => found.push((segment.id.0, segment.code.as_str().to_owned())),
            None => return Ok(None),
        }
    }
    Ok(Some(found))
}

fn told_of(piece: &Span, count: Option<&Count>) -> SegmentPeriod {
    SegmentPeriod {
        from: piece.from,
        to: piece.to,
        members: count.map(|count| count.members),
        counted_at: count.map(|count| count.counted_at),
    }
}

/// For who cannot see it.
fn told(figures: &SegmentFigures) -> String {
    let last = |one: &SegmentCounts| {
        let members = one.periods.iter().rev().find_map(|period| period.members);
        match members {
            Some(members) => format!("{}: {members}", one.segment),
            None => format!("{}: not counted", one.segment),
        }
    };
    let segments: Vec<_> = figures.segments.iter().map(last).collect();
    match segments.is_empty() {
        true => "No segment was counted yet.".to_owned(),
        false => format!("Members when they were counted last: {}.", segments.join(", ")),
    }
}
