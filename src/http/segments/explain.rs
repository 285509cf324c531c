//! `GET /v1/admin/segments/{id}/explain/{customer_id}`: why a customer belongs to a segment, or why not.

use super::named;
use crate::actors::segments::Why;
use crate::domain::CustomerId;
use crate::domain::outcome::Rejection;
use crate::domain::segment::{Explained, Explanation};
use crate::http::principal::{CustomersRead, SegmentsRead, Staff};
use crate::http::problem::Problem;
use crate::http::services::Services;
use crate::http::values::PathId;
use actix_web::get;
use actix_web::web::{self, Data};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(explain);
}

/// Why a customer belongs to a segment, or why not.
#[derive(Serialize, ToSchema)]
pub struct SegmentExplanation {
    segment_id: Uuid,
    /// The segment's code.
    #[schema(example = "regulars")]
    segment: String,
    /// `rule` or `static`.
    #[schema(example = "rule")]
    kind: &'static str,
    /// Of the segment; one that is not `active` has no members.
    #[schema(example = "active")]
    state: &'static str,
    customer_id: Uuid,
    /// Whether it belongs to the segment.
    member: bool,
    /// Since when without a break; `null` of who does not.
    since: Option<DateTime<Utc>>,
    /// Why it joined: `change` of the customer, `time`, `definition` of the segment, or `manual`.
    #[schema(example = "change")]
    cause: Option<&'static str>,
    /// What the condition says of the customer now. `null` of a static segment, of a definition that the
    /// configuration does not allow any more, and for a key without the scope `customers:read`.
    condition: Option<ConditionView>,
}

/// What a condition says of a customer now.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentCondition)]
struct ConditionView {
    /// When it was asked.
    at: DateTime<Utc>,
    /// Whether it holds. Other than `member` while a change is on its way, or a segment is filled.
    holds: bool,
    /// Since when that is so at the latest, as far as the facts tell.
    since: Option<DateTime<Utc>>,
    /// The earliest instant at which time alone can change that; `null`: it cannot.
    next_flip: Option<DateTime<Utc>>,
    /// The clauses that decide.
    deciding: Vec<String>,
    /// Where it does not hold: what would have to become so, as a condition.
    #[schema(example = "last_order_date >= -90d")]
    missing: Option<String>,
    tree: PartView,
}

/// A part of a condition, and what it came to.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentConditionPart)]
struct PartView {
    /// In canonical form.
    #[schema(example = "last_order_date >= -90d")]
    text: String,
    holds: bool,
    /// Whether the answer would be another one if this part, or some of those that decide, were.
    decides: bool,
    /// What the customer has; `null` of parts with members, and where it has none.
    #[schema(example = "2026-06-05T12:00:00Z")]
    value: Option<String>,
    /// Whether it has none.
    absent: bool,
    since: Option<DateTime<Utc>>,
    /// When this part may turn next by time alone.
    next_turn: Option<DateTime<Utc>>,
    #[schema(no_recursion)]
    members: Vec<PartView>,
}

impl From<Explained> for PartView {
    fn from(part: Explained) -> Self {
        Self {
            text: part.text,
            holds: part.holds,
            decides: part.decides,
            value: part.value,
            absent: part.absent,
            since: part.since,
            next_turn: part.next_turn,
            members: part.members.into_iter().map(Self::from).collect(),
        }
    }
}

impl ConditionView {
    fn of(explanation: Explanation, at: DateTime<Utc>) -> Self {
        let deciding = explanation.deciding().into_iter().map(|part| part.text.clone()).collect();
        Self {
            at,
            holds: explanation.member,
            since: explanation.since,
            next_flip: explanation.next_flip,
            deciding,
            missing: explanation.missing,
            tree: explanation.tree.into(),
        }
    }
}

/// Why a customer belongs to a segment, or why not: since when, what the condition says of what the
/// customer has now, which clauses decide, what is missing, and when time alone will change it. What a
/// customer has is told to keys that carry `customers:read`, too.
#[utoipa::path(
    tag = "segments",
    operation_id = "explain_segment",
    security(("staff" = ["segments:read"])),
    params(
        ("id" = String, Path, description = "The segment's id, or its code."),
        ("customer_id" = Uuid, Path)
    ),
    responses((status = 200, body = SegmentExplanation))
)]
#[get("/v1/admin/segments/{id}/explain/{customer_id}")]
async fn explain(
    staff: Staff<SegmentsRead>,
    path: web::Path<(String, PathId)>,
    services: Data<Services>,
) -> Result<web::Json<SegmentExplanation>, Problem> {
    let (name, customer) = path.into_inner();
    let (name, customer) = (named(&name)?, CustomerId(customer.0));
    let (desk, now) = (services.segments.clone(), services.clock.now());
    let read = services.database.read(move |connection| {
        let (desk, name) = (desk.clone(), name.clone());
        Box::pin(async move { desk.why(connection, &name, customer, now).await })
    });
    let Why { segment, held, explanation } = read.await?.ok_or(Rejection::NotFound)?;
    // Whether a clause holds tells what the customer has, as much as the value does.
    let may_read = staff.carries::<CustomersRead>(&services).await?;
    let explanation = explanation.filter(|_| may_read);
    Ok(web::Json(SegmentExplanation {
        segment_id: segment.id.0,
        segment: segment.code.as_str().to_owned(),
        kind: segment.membership.kind().as_str(),
        state: segment.force.as_str(),
        customer_id: customer.0,
        member: held.is_some(),
        since: held.map(|held| held.since),
        cause: held.map(|held| held.cause.as_str()),
        condition: explanation.map(|explanation| ConditionView::of(explanation, now)),
    }))
}
