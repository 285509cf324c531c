//! What the order service said of a customer's orders, and what they come to: `/v1/me/stats`, and for
//! staff both. Nobody writes them here.

use super::conditional::IfNoneMatch;
use super::customer_parts::of_living;
use super::pages::{Page, PageRequest};
use super::principal::{CustomersRead, Owner, Staff};
use super::problem::Problem;
use super::query::Query;
use super::services::Services;
use super::values::{IfNoneMatchParam, PageParams, PathId};
use super::wishlists::view::MoneyView;
use crate::db;
use crate::domain::CustomerId;
use crate::domain::money::Money;
use crate::domain::order::{Order, Statistics};
use crate::domain::place::Currency;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show_own).service(show).service(list);
}

/// What a customer's orders come to. Currencies are never added up.
#[derive(Serialize, ToSchema)]
#[schema(as = Stats)]
pub struct StatsView {
    /// By currency, of those in which there ever was an order.
    pub items: Vec<CurrencyStatsView>,
    /// Rises with each change of any of them; the `ETag`. 0 where there never was an order.
    pub version: i64,
}

/// What a customer's orders in one currency come to.
#[derive(Serialize, ToSchema)]
#[schema(as = CurrencyStats)]
pub struct CurrencyStatsView {
    /// ISO 4217.
    #[schema(example = "VND")]
    pub currency: String,
    /// Those that were not cancelled, which all but `orders` is about.
    pub number_of_orders: u32,
    pub orders: OrderCountsView,
    /// What was paid and kept: totals less what was paid back, of no order less than nothing.
    pub spent: MoneyView,
    /// What was paid back, of no order more than its total.
    pub refunded: MoneyView,
    /// `spent` by `number_of_orders`, to the nearest minor unit; `null` where there are none.
    pub average: Option<MoneyView>,
    pub first_order_at: Option<DateTime<Utc>>,
    pub last_order_at: Option<DateTime<Utc>>,
    /// Rises with each change; in every `statistics.updated`.
    pub version: i64,
    pub updated_at: DateTime<Utc>,
}

/// How many orders stand where.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderCounts)]
pub struct OrderCountsView {
    /// Active: neither completed nor given up yet.
    pub placed: u32,
    pub completed: u32,
    pub cancelled: u32,
    pub refunded: u32,
}

impl StatsView {
    pub fn new(all: Vec<(Currency, Statistics)>) -> StatsView {
        // Each only rises, and none goes: so does their sum.
        let version = all.iter().map(|(_, statistics)| statistics.version).sum();
        StatsView { items: all.into_iter().map(CurrencyStatsView::from).collect(), version }
    }
}

impl From<(Currency, Statistics)> for CurrencyStatsView {
    fn from((currency, statistics): (Currency, Statistics)) -> CurrencyStatsView {
        let money = |amount| MoneyView::from(Money::from_stored(amount, currency.clone()));
        CurrencyStatsView {
            number_of_orders: statistics.number_of_orders(),
            orders: OrderCountsView {
                placed: statistics.placed,
                completed: statistics.completed,
                cancelled: statistics.cancelled,
                refunded: statistics.refunded,
            },
            spent: money(statistics.spent),
            refunded: money(statistics.paid_back),
            average: statistics.average().map(money),
            first_order_at: statistics.span.map(|span| span.first),
            last_order_at: statistics.span.map(|span| span.last),
            version: statistics.version,
            updated_at: statistics.updated_at,
            currency: currency.as_str().to_owned(),
        }
    }
}

/// An order, as the order service told of it last.
#[derive(Serialize, ToSchema)]
#[schema(as = Order)]
pub struct OrderView {
    /// The order service's name for it.
    #[schema(example = "ORD-2026-000017")]
    pub order_id: String,
    /// As the order service counts.
    pub version: i64,
    /// `placed`, `completed`, `cancelled` or `refunded`.
    #[schema(example = "completed")]
    pub status: &'static str,
    pub placed_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub total: MoneyView,
    /// What was paid back; may be more than `total`.
    pub refunded: MoneyView,
    /// By sku, each once.
    pub items: Vec<OrderItemView>,
    /// When this version was heard of.
    pub recorded_at: DateTime<Utc>,
}

/// A product in an order.
#[derive(Serialize, ToSchema)]
#[schema(as = OrderItem)]
pub struct OrderItemView {
    /// The shop's name for the product.
    #[schema(example = "LAMP-7/red")]
    pub sku: String,
    #[schema(minimum = 1, maximum = 1_000_000)]
    pub quantity: u32,
}

impl From<Order> for OrderView {
    fn from(order: Order) -> OrderView {
        let fact = order.fact;
        let refunded = Money::from_stored(fact.refunded, fact.total.currency().clone());
        let item = |item: crate::domain::order::Item| OrderItemView {
            sku: item.sku.as_str().to_owned(),
            quantity: item.quantity,
        };
        OrderView {
            order_id: fact.order_id.as_str().to_owned(),
            version: fact.version,
            status: fact.status.as_str(),
            placed_at: fact.placed_at,
            completed_at: fact.completed_at,
            total: fact.total.into(),
            refunded: refunded.into(),
            items: fact.items.into_iter().map(item).collect(),
            recorded_at: order.recorded_at,
        }
    }
}

/// What my orders come to, by currency.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(IfNoneMatchParam),
    responses((status = 200, body = StatsView, headers(("ETag" = String))), (status = 304, description = "Still the version named"))
)]
#[get("/v1/me/stats")]
async fn show_own(
    owner: Owner,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = owner.customer_id;
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::orders::statistics(connection, id).await })
    });
    let view = StatsView::new(read.await?);
    Ok(known.answer(view.version, &view))
}

/// What a customer's orders come to, by currency.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = StatsView, headers(("ETag" = String))), (status = 304, description = "Still the version named"))
)]
#[get("/v1/admin/customers/{id}/stats")]
async fn show(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = CustomerId(id.0);
    let read = of_living(&services, id, move |connection| {
        Box::pin(db::orders::statistics(connection, id))
    });
    let view = StatsView::new(read.await?);
    Ok(known.answer(view.version, &view))
}

/// A customer's orders, by their ids.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<OrderView>))
)]
#[get("/v1/admin/customers/{id}/orders")]
async fn list(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<OrderView>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<String>::read(query, "orders"))?;
    let (id, after, limit) = (CustomerId(id.0), page.after.clone(), page.fetch());
    let read = of_living(&services, id, move |connection| {
        let after = after.clone();
        Box::pin(async move { db::orders::list(connection, id, after.as_deref(), limit).await })
    });
    let position = |order: &Order| order.fact.order_id.as_str().to_owned();
    Ok(web::Json(page.page(read.await?, position, OrderView::from)))
}
