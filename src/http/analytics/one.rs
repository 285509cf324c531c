//! `/v1/admin/customers/{id}/predictions`: what a customer's orders make of it.

use super::view::predicted;
use super::{ALL, Asked, CurrencyParam, Takes};
use crate::db;
use crate::db::predictions::{KeptCutPoints, KeptModel};
use crate::domain::CustomerId;
use crate::domain::analytics::calendar::Unit;
use crate::domain::analytics::history::History;
use crate::domain::analytics::rfm::Bought;
use crate::domain::outcome::Rejection;
use crate::http::merges;
use crate::http::principal::{AnalyticsRead, Staff};
use crate::http::problem::Problem;
use crate::http::services::Services;
use crate::http::values::PathId;
use crate::http::wishlists::view::MoneyView;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, get};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(of_customer);
}

const OF_MONEY: Takes = Takes { range: false, by: false, group: false, format: false, ..ALL };

/// What is to be expected of a customer.
#[derive(Serialize, ToSchema)]
struct CustomerPredictions {
    customer_id: Uuid,
    #[schema(example = "USD")]
    currency: String,
    /// The time that they are of: now.
    at: DateTime<Utc>,
    /// `null` without orders in the currency, and without cut points.
    rfm: Option<CustomerScore>,
    /// `null` without orders in the currency, and without a model.
    prediction: Option<CustomerPrediction>,
}

/// From 1 (worst) to 5 (best).
#[derive(Serialize, ToSchema)]
struct CustomerScore {
    recency: u8,
    frequency: u8,
    monetary: u8,
    #[schema(example = "loyal")]
    group: &'static str,
    /// Of the cut points.
    version: i64,
}

#[derive(Serialize, ToSchema)]
struct CustomerPrediction {
    /// Of the models.
    version: i64,
    horizon_months: u32,
    /// Days with purchases after the first one, which the model looks at.
    repeats: u32,
    /// Days from the first purchase to the last one.
    last_day: u32,
    /// Days from the first purchase to today.
    age_days: u32,
    /// Days with purchases to be expected within the horizon.
    expected_purchases: f64,
    /// That it will buy again, 0 to 1.
    alive: f64,
    /// Of a day with purchases; `null` without a model of values.
    purchase_value: Option<MoneyView>,
    /// Of all of them within the horizon, discounted; `null` as above.
    lifetime_value: Option<MoneyView>,
    /// By the cut points of the fit; `null` as above.
    #[schema(example = "high")]
    tier: Option<&'static str>,
}

/// A customer's RFM score and group, purchases to be expected, the probability that it will buy again,
/// and its predicted value: computed now from its orders, by the newest cut points and models.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(("id" = Uuid, Path), CurrencyParam),
    responses((status = 200, body = CustomerPredictions))
)]
#[get("/v1/admin/customers/{id}/predictions")]
async fn of_customer(
    _staff: Staff<AnalyticsRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<CustomerPredictions>, Problem> {
    let id = CustomerId(id.0);
    let asked = Asked::read(&services, request.query_string(), OF_MONEY, Unit::Day).await?;
    merges::followed(&services, id, judged(&services, id, &asked).await).await
}

async fn judged(
    services: &Services,
    id: CustomerId,
    asked: &Asked,
) -> Result<web::Json<CustomerPredictions>, Problem> {
    let currency = asked.currency.clone();
    // One customer's orders: where they were just written, not where they will be soon.
    let read = services.database.read(move |connection| {
        let currency = currency.clone();
        Box::pin(async move {
            if db::customers::find(connection, id).await?.is_none() {
                return Ok(None);
            }
            let bought = db::predictions::bought(connection, id, &currency).await?;
            let orders = db::predictions::orders_of(connection, &currency, &[id.0]).await?;
            let cuts = db::predictions::cut_points(connection, &currency).await?;
            let model = db::predictions::model(connection, &currency).await?;
            Ok(Some((bought, orders, cuts, model)))
        })
    });
    let (bought, orders, cuts, model) = read.await?.ok_or(Rejection::NotFound)?;
    let orders = orders.into_iter().flat_map(|(_, orders)| orders);
    let prediction = model.and_then(|model| {
        let history = History::of(orders, asked.now, model.time_zone)?;
        Some(prediction(&model, &history, &asked.currency))
    });
    Ok(web::Json(CustomerPredictions {
        customer_id: id.0,
        currency: asked.currency.clone(),
        at: asked.now,
        rfm: cuts.zip(bought).map(|(cuts, bought)| score(&cuts, &bought, asked.now, asked.zone)),
        prediction,
    }))
}

fn score(kept: &KeptCutPoints, bought: &Bought, now: DateTime<Utc>, zone: Tz) -> CustomerScore {
    let score = kept.cuts.score(bought, now, zone);
    CustomerScore {
        recency: score.recency,
        frequency: score.frequency,
        monetary: score.monetary,
        group: score.group().as_str(),
        version: kept.version,
    }
}

fn prediction(kept: &KeptModel, history: &History, currency: &str) -> CustomerPrediction {
    let told = kept.models.predict(history, kept.outlook);
    let cuts = kept.value.as_ref().ok().map(|fit| fit.cuts);
    CustomerPrediction {
        version: kept.version,
        horizon_months: kept.outlook.months,
        repeats: history.repeats,
        last_day: history.last,
        age_days: history.age,
        expected_purchases: told.purchases,
        alive: told.alive,
        purchase_value: told.purchase_value.map(|value| predicted(value, currency)),
        lifetime_value: told.lifetime_value.map(|value| predicted(value, currency)),
        tier: cuts.zip(told.lifetime_value).map(|(cuts, value)| cuts.tier(value).as_str()),
    }
}
