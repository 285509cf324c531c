//! `/v1/admin/orders/reconciliations`: when what is kept of orders was held against where it comes
//! from, how far that is, and what was found to differ.

use super::catalogue::Code;
use super::pages::{Page, PageRequest};
use super::principal::{OpsRead, Staff};
use super::problem::Problem;
use super::query::Query;
use super::services::Services;
use super::values::{PageParams, PathId};
use crate::db::reconciliation::Source;
use crate::db::reconciliation_runs::{self as runs, Kept, Place, Row};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(differences);
}

/// A walk through the customers that compares what is kept of their orders.
#[derive(Serialize, ToSchema)]
#[schema(as = Reconciliation)]
pub struct ReconciliationView {
    pub id: Uuid,
    /// `facts`: statistics are compared with the facts they come from; `order_service`: these with
    /// what the order service says.
    #[schema(example = "facts")]
    pub source: String,
    /// The one customer that it is about; null: everybody.
    pub customer_id: Option<Uuid>,
    /// The process that carries it out, or did last.
    #[schema(example = "node-1:4711")]
    pub owner: String,
    /// Customers that are done with.
    pub customers: i64,
    /// What was found to differ.
    pub differences: i64,
    /// Of that, what was put right.
    pub repaired: i64,
    /// Facts that the order service answered and nobody can use.
    pub refused: i64,
    /// What it waits for, such as an order service that gives no answer; null: nothing.
    pub trouble: Option<String>,
    pub started_at: DateTime<Utc>,
    /// When it last did something.
    pub touched_at: DateTime<Utc>,
    /// Null: it is under way, or was left behind and is gone on with.
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<Row> for ReconciliationView {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            source: row.source,
            customer_id: row.customer_id,
            owner: row.owner,
            customers: row.customers,
            differences: row.differences,
            repaired: row.repaired,
            refused: row.refused,
            trouble: row.trouble,
            started_at: row.started_at,
            touched_at: row.touched_at,
            finished_at: row.finished_at,
        }
    }
}

/// Something that was not what it should be.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationDifference)]
pub struct DifferenceView {
    pub customer_id: Uuid,
    /// The currency of the statistics; null where an order differs.
    #[schema(example = "VND")]
    pub currency: Option<String>,
    /// The order service's name for the order; null where statistics differ.
    pub order_id: Option<String>,
    /// What differs, by the name that `/stats` has for it; of an order `version`.
    #[schema(example = "orders.placed")]
    pub field: String,
    /// What was kept, sums in minor units; null: nothing.
    #[schema(example = "3")]
    pub kept: Option<String>,
    /// What it should be; null: nothing.
    #[schema(example = "2")]
    pub found: Option<String>,
    /// Null: it was not put right in this run.
    pub repaired_at: Option<DateTime<Utc>>,
}

impl DifferenceView {
    fn new(of_order: bool, kept: Kept) -> Self {
        let (currency, order_id) = match of_order {
            true => (None, Some(kept.subject)),
            false => (Some(kept.subject), None),
        };
        Self {
            customer_id: kept.customer_id,
            currency,
            order_id,
            field: kept.field,
            kept: kept.kept,
            found: kept.found,
            repaired_at: kept.repaired_at,
        }
    }
}

/// Reconciliations of orders of the last 90 days, newest first.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:read"])),
    params(PageParams),
    responses((status = 200, body = Page<ReconciliationView>))
)]
#[get("/v1/admin/orders/reconciliations")]
async fn list(
    _staff: Staff<OpsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ReconciliationView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "reconciliations")
    })?;
    let (before, limit) = (page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { runs::list(connection, before, limit).await })
    });
    Ok(web::Json(page.page(read.await?, |row| row.id, ReconciliationView::from)))
}

/// What a reconciliation found to differ, by customer.
#[utoipa::path(
    tag = "operators",
    security(("staff" = ["ops:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<DifferenceView>))
)]
#[get("/v1/admin/orders/reconciliations/{id}/differences")]
async fn differences(
    _staff: Staff<OpsRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<DifferenceView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Place>::read(query, "reconciliation_differences")
    })?;
    let (id, after, limit) = (id.0, page.after.clone(), page.fetch());
    let read = services.database.read(move |connection| {
        let after = after.clone();
        Box::pin(async move {
            let Some(run) = runs::find(connection, id).await? else { return Ok(None) };
            Ok(Some((run, runs::differences(connection, id, after, limit).await?)))
        })
    });
    let (run, found) = read.await?.ok_or(Problem::new(Code::NotFound))?;
    let of_order = run.source == Source::OrderService.as_str();
    let place = |one: &Kept| (one.customer_id, one.subject.clone(), one.field.clone());
    Ok(web::Json(page.page(found, place, |one| DifferenceView::new(of_order, one))))
}
