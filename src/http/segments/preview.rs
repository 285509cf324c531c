//! `POST /v1/admin/segments/preview`: what a definition would come to, before it is saved.

use super::forms::fault;
use crate::actors::segments::preview::{Grounds, Moves, NotRedefinable, Order, Preview};
use crate::db;
use crate::domain::customer::Customer;
use crate::domain::place::TimeZone;
use crate::domain::segment::record::SegmentName;
use crate::domain::segment::{Checked, Place, Schema, Warning};
use crate::http::body::JsonBody;
use crate::http::customer_view::CustomerView;
use crate::http::field::FieldFault;
use crate::http::form::Form;
use crate::http::principal::{CustomersRead, SegmentsRead, Staff};
use crate::http::problem::Problem;
use crate::http::services::Services;
use crate::http::values::parsed;
use actix_web::post;
use actix_web::web::{self, Data};
use serde::Serialize;
use std::collections::HashMap;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(preview);
}

/// Most customers that are named, of each kind.
const SAMPLE_MAX: i64 = 100;
const SAMPLE: i64 = 10;

/// What is to be tried.
#[derive(ToSchema)]
#[schema(as = SegmentTrial)]
#[expect(dead_code, reason = "describes the fields; they are read into a `Trial`")]
pub struct TrialForm {
    /// The condition, in the segment language.
    #[schema(example = "number_of_orders >= 3 AND last_order_date >= -90d")]
    definition: String,
    /// Where its days begin and end; IANA name. By default as in `segment`, or else the shop's.
    #[schema(example = "Europe/Berlin")]
    time_zone: Option<String>,
    /// The id or code of a segment that this would redefine: who would join it, and who leave.
    #[schema(example = "regulars")]
    segment: Option<String>,
    /// How many customers are to be named, of each kind.
    #[schema(minimum = 0, maximum = 100, default = 10)]
    sample: Option<i64>,
}

/// What was asked for.
pub struct Trial {
    definition: String,
    zone: Option<TimeZone>,
    segment: Option<SegmentName>,
    sample: usize,
}

impl TrialForm {
    pub fn read(form: &mut Form<'_>) -> Option<Trial> {
        let definition = form.required("definition", |raw| raw.text());
        let zone = form.optional("time_zone", |raw| parsed(raw, TimeZone::parse));
        let segment = form
            .optional("segment", |raw| SegmentName::parse(raw.text()?).ok_or_else(unknown_segment));
        let sample = form.optional("sample", |raw| raw.bounded_integer(0, SAMPLE_MAX));
        let sample = usize::try_from(sample.unwrap_or(SAMPLE)).unwrap_or(0);
        Some(Trial { definition: definition?.to_owned(), zone, segment, sample })
    }
}

fn unknown_segment() -> FieldFault {
    FieldFault::new("unknown_segment", "There is no such segment.")
}

/// What a definition would come to.
#[derive(Serialize, ToSchema)]
pub struct SegmentPreview {
    /// The definition in its canonical form.
    definition: String,
    #[schema(example = "Europe/Berlin")]
    time_zone: String,
    /// What it costs to evaluate.
    cost: u32,
    /// What is doubtful about it.
    warnings: Vec<WarningView>,
    /// Customers that fulfil it. Where `complete` is false, among those looked at: there are as many at
    /// least.
    customers: i64,
    looked_at: i64,
    /// How many customers there are; about, where `complete` is false.
    total: i64,
    /// False: time was up before all customers were looked at.
    complete: bool,
    /// Some of those customers, of all times.
    sample: Vec<SampledCustomer>,
    /// `null` without `segment`.
    change: Option<RedefinitionView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SegmentWarning)]
struct WarningView {
    /// `missing_value`, `never` or `always`.
    #[schema(example = "missing_value")]
    code: &'static str,
    detail: String,
    /// From 1.
    line: usize,
    /// From 1, in characters.
    column: usize,
}

/// A customer that was found.
#[derive(Serialize, ToSchema)]
struct SampledCustomer {
    id: Uuid,
    /// `null` for a key without the scope `customers:read`, and of a customer that has gone since.
    customer: Option<CustomerView>,
}

/// What the definition would change.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentRedefinition)]
struct RedefinitionView {
    /// Who belongs to the segment now, among those looked at.
    members: i64,
    joins: MovesView,
    leaves: MovesView,
}

/// Who would join, or leave.
#[derive(Serialize, ToSchema)]
#[schema(as = SegmentMoves)]
struct MovesView {
    customers: i64,
    sample: Vec<SampledCustomer>,
    /// The clauses that decide it, most first. One customer may be counted at several: where they decide
    /// together, or each by itself.
    clauses: Vec<DecidingClause>,
}

#[derive(Serialize, ToSchema)]
struct DecidingClause {
    #[schema(example = "last_order_date >= -90d")]
    clause: String,
    customers: i64,
}

/// What a definition would come to before it is saved: how many customers, some of them, and who would
/// join and leave a segment that it would redefine. Within `segments.preview_ms`; what was reached by
/// then is told. Changes nothing.
#[utoipa::path(
    tag = "segments",
    operation_id = "preview_segment",
    security(("staff" = ["segments:read"])),
    request_body = TrialForm,
    responses((status = 200, body = SegmentPreview))
)]
#[post("/v1/admin/segments/preview")]
async fn preview(
    staff: Staff<SegmentsRead>,
    body: JsonBody,
    services: Data<Services>,
) -> Result<web::Json<SegmentPreview>, Problem> {
    let Trial { definition, zone, segment, sample } = body.read(TrialForm::read)?;
    let desk = services.segments.clone();
    let read = services.database.read(move |connection| {
        let (desk, segment) = (desk.clone(), segment.clone());
        Box::pin(async move { desk.grounds(connection, segment.as_ref()).await })
    });
    let Grounds { mut schema, redefines } = read.await?.map_err(|why| {
        let fault = match why {
            NotRedefinable::Unknown => unknown_segment(),
            NotRedefinable::Static => {
                FieldFault::new("not_applicable", "A static segment has no definition.")
            }
        };
        Problem::invalid(vec![fault.at("#/segment")])
    })?;
    schema.time_zone = zone.and_then(|zone| zone.zone()).unwrap_or(schema.time_zone);
    let checked = checked(&definition, &schema)?;
    let (own, statement) =
        (services.config.segments.preview_ms, services.config.analytics.statement_timeout_ms);
    let limit = own.duration().min(statement.duration());
    let order = Order { checked: checked.clone(), redefines, sample, limit };
    let now = services.clock.now();
    let found = services.segments.preview(&services.reports, order, now).await?;
    let known = match staff.carries::<CustomersRead>(&services).await? {
        true => named(&services, &found).await?,
        false => HashMap::new(),
    };
    Ok(web::Json(view(&definition, &checked, found, &known)))
}

fn checked(text: &str, schema: &Schema) -> Result<Checked, Problem> {
    Checked::parse(text, schema).map_err(|mistakes| {
        let faults = mistakes.list.iter().map(|one| fault(text, one).at("#/definition"));
        Problem::invalid(faults.collect())
    })
}

/// The customers that are named, for who may read them.
async fn named(services: &Services, found: &Preview) -> Result<HashMap<Uuid, Customer>, Problem> {
    let moves = found.change.iter().flat_map(|change| [&change.joins, &change.leaves]);
    let ids = found.sample.iter().chain(moves.flat_map(|moves| &moves.sample));
    let ids: Vec<Uuid> = ids.copied().collect();
    let read = services.lists.read(move |connection| {
        let ids = ids.clone();
        Box::pin(async move { db::customers::find_all(connection, &ids).await })
    });
    Ok(read.await?.into_iter().map(|one| (one.id.0, one)).collect())
}

fn view(
    text: &str,
    checked: &Checked,
    found: Preview,
    known: &HashMap<Uuid, Customer>,
) -> SegmentPreview {
    let sampled = |ids: Vec<Uuid>| -> Vec<SampledCustomer> {
        let customer = |id| known.get(&id).cloned().map(CustomerView::from);
        ids.into_iter().map(|id| SampledCustomer { id, customer: customer(id) }).collect()
    };
    let sample = sampled(found.sample);
    let moves = |moves: Moves| MovesView {
        customers: moves.customers,
        sample: sampled(moves.sample),
        clauses: moves
            .clauses
            .into_iter()
            .map(|(clause, customers)| DecidingClause { clause, customers })
            .collect(),
    };
    let change = found.change.map(|change| RedefinitionView {
        members: change.members,
        joins: moves(change.joins),
        leaves: moves(change.leaves),
    });
    SegmentPreview {
        definition: checked.canonical().to_owned(),
        time_zone: checked.time_zone().name().to_owned(),
        cost: checked.cost(),
        warnings: checked.warnings().iter().map(|warning| warned(text, warning)).collect(),
        customers: found.customers,
        looked_at: found.looked_at,
        total: found.total,
        complete: found.complete,
        sample,
        change,
    }
}

fn warned(text: &str, warning: &Warning) -> WarningView {
    let Place { line, column, .. } = Place::of(text, warning.span.start);
    WarningView { code: warning.code, detail: warning.detail.clone(), line, column }
}
