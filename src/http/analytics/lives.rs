//! What customers' orders make of them all: RFM groups, cohorts, predictions.

use super::view::{RangeView, RunView, label, mean, money, predicted, titled};
use super::{ALL, Asked, CurrencyParam, FormatParam, GroupParam, Takes};
use crate::db;
use crate::db::predictions::{KeptCutPoints, KeptModel, Kind};
use crate::domain::analytics::calendar::Unit;
use crate::domain::analytics::cohorts::table;
use crate::domain::analytics::model::{Tier, Total};
use crate::domain::analytics::rfm::Group;
use crate::http::principal::{AnalyticsRead, Staff};
use crate::http::problem::Problem;
use crate::http::services::Services;
use crate::http::wishlists::view::MoneyView;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(rfm).service(cohorts).service(predictions);
}

// --- RFM --------------------------------------------------------------------------------------

/// How many customers are in which group now.
#[derive(Serialize, ToSchema)]
struct RfmFigures {
    #[schema(example = "USD")]
    currency: String,
    /// The customer group that was asked for.
    group: Option<String>,
    /// The time that the scores are of: now.
    at: DateTime<Utc>,
    /// What they were judged by; `null` as long as nobody has ordered.
    cut_points: Option<CutPointsView>,
    /// Living customers with orders in the currency.
    customers: i64,
    /// The eleven groups, best first; empty without cut points.
    groups: Vec<RfmGroupView>,
    /// The latest computation of cut points.
    run: Option<RunView>,
}

/// Where the fifths of all customers end, ascending.
#[derive(Serialize, ToSchema)]
#[schema(as = RfmCutPoints)]
struct CutPointsView {
    version: i64,
    computed_at: DateTime<Utc>,
    /// From when days were counted.
    as_of: DateTime<Utc>,
    /// How many customers there were then.
    customers: i64,
    /// Days since the last order: who has not more than the first has recency 5.
    recency_days: Vec<i64>,
    /// Who has more orders than the last has frequency 5.
    orders: Vec<i64>,
    /// Who has spent more than the last has monetary 5; in minor units.
    spent: Vec<i64>,
}

impl From<&KeptCutPoints> for CutPointsView {
    fn from(kept: &KeptCutPoints) -> CutPointsView {
        CutPointsView {
            version: kept.version,
            computed_at: kept.computed_at,
            as_of: kept.as_of,
            customers: kept.customers,
            recency_days: kept.cuts.recency_days.to_vec(),
            orders: kept.cuts.orders.to_vec(),
            spent: kept.cuts.spent.to_vec(),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = RfmGroup)]
struct RfmGroupView {
    #[schema(example = "champions")]
    group: &'static str,
    #[schema(example = "Champions")]
    title: &'static str,
    customers: i64,
    /// Of all customers, 0 to 1.
    share: f64,
    orders: i64,
    spent: MoneyView,
    /// Spent by one customer; `null` without any.
    average_spent: Option<MoneyView>,
}

const BY_GROUP: Takes = Takes { range: false, by: false, ..ALL };

/// RFM groups: how many customers are in each of the eleven now, by recency, frequency and value of
/// their orders against the newest cut points.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(GroupParam, CurrencyParam, FormatParam),
    responses((status = 200, content((RfmFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/rfm")]
async fn rfm(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&services, request.query_string(), BY_GROUP, Unit::Day).await?;
    let (currency, group) = (asked.currency.clone(), asked.group.clone());
    let at = (asked.now, asked.zone);
    let read = services.reports.read(move |connection| {
        let (currency, group) = (currency.clone(), group.clone());
        Box::pin(async move {
            let run = db::predictions::run(connection, Kind::Rfm, &currency).await?;
            let kept = db::predictions::cut_points(connection, &currency).await?;
            let scored = match &kept {
                Some(kept) => {
                    let group = group.as_deref();
                    db::reports::scores(connection, &kept.cuts, at, &currency, group).await?
                }
                None => Vec::new(),
            };
            Ok((run, kept, scored))
        })
    });
    let (run, kept, scored) = read.await?;
    let currency = asked.currency.as_str();
    let all: i64 = scored.iter().map(|row| row.customers).sum();
    let group = |group: &Group| {
        let of_group = || scored.iter().filter(|row| row.score.group() == *group);
        let customers = of_group().map(|row| row.customers).sum();
        let spent = of_group().map(|row| row.spent).fold(0, i64::saturating_add);
        RfmGroupView {
            group: group.as_str(),
            title: group.title(),
            customers,
            share: if all == 0 { 0.0 } else { customers as f64 / all as f64 },
            orders: of_group().map(|row| row.orders).sum(),
            spent: money(spent, currency),
            average_spent: mean(spent, customers, currency),
        }
    };
    let groups = kept.as_ref().map(|_| Group::ALL.iter().map(group).collect());
    let figures = RfmFigures {
        currency: currency.to_owned(),
        group: asked.group.clone(),
        at: asked.now,
        cut_points: kept.as_ref().map(CutPointsView::from),
        customers: all,
        groups: groups.unwrap_or_default(),
        run: run.map(RunView::from),
    };
    Ok(asked.answer(&figures, |figures| {
        let row = |group: &RfmGroupView| {
            let told = format!("{} ({:.1} %)", group.customers, group.share * 100.0);
            (group.title.to_owned(), group.customers as f64, told)
        };
        let told = format!(
            "{} customers with orders in {}, by recency, frequency and value of their orders.",
            figures.customers, figures.currency
        );
        titled("RFM groups", &told).rows(&figures.groups.iter().map(row).collect::<Vec<_>>())
    }))
}

// --- cohorts ----------------------------------------------------------------------------------

/// Of which months.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters; `Asked` reads them")]
struct MonthsParams {
    /// A day of the first month, in the shop's time zone; by default of the eleventh month before `to`.
    #[param(required = false, example = "2026-01-01")]
    from: Option<NaiveDate>,
    /// The last day that is looked at; by default today.
    #[param(required = false, example = "2026-12-31")]
    to: Option<NaiveDate>,
}

/// Customers by the month of their first order.
#[derive(Serialize, ToSchema)]
struct CohortFigures {
    range: RangeView,
    #[schema(example = "USD")]
    currency: String,
    cohorts: Vec<CohortView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Cohort)]
struct CohortView {
    #[schema(example = "2026-01")]
    month: String,
    /// Whose first order was placed in it.
    customers: i64,
    /// From the month of the first order to the last month of the range.
    months: Vec<CohortMonth>,
}

#[derive(Serialize, ToSchema)]
struct CohortMonth {
    /// Months after the first order.
    since: usize,
    /// Who ordered in it.
    customers: i64,
    /// Of the cohort's customers, 0 to 1.
    retention: f64,
    revenue: MoneyView,
}

const BY_MONTH: Takes = Takes { by: false, ..ALL };

/// Cohorts: customers by the month of their first order, how many of them ordered in each month after
/// it, and for how much. Orders that were cancelled do not count, nor does what was paid back.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(MonthsParams, GroupParam, CurrencyParam, FormatParam),
    responses((status = 200, content((CohortFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/cohorts")]
async fn cohorts(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let mut asked = Asked::read(&services, request.query_string(), BY_MONTH, Unit::Month).await?;
    // A cohort is of a whole month.
    asked.span.from = Unit::Month.first_day(asked.span.from);
    let (pieces, slice, currency) = (asked.pieces(), asked.slice(), asked.currency.clone());
    let read = services.reports.read(move |connection| {
        let (slice, currency) = (slice.clone(), currency.clone());
        Box::pin(async move { db::reports::cohorts(connection, &slice, &currency).await })
    });
    let cells = read.await?;
    let currency = asked.currency.as_str();
    let view = |cohort: crate::domain::analytics::cohorts::Cohort| CohortView {
        month: label(&cohort.month, "month"),
        customers: cohort.customers,
        months: cohort
            .months
            .iter()
            .enumerate()
            .map(|(since, month)| CohortMonth {
                since,
                customers: month.customers,
                retention: month.retention,
                revenue: money(month.revenue, currency),
            })
            .collect(),
    };
    let figures = CohortFigures {
        range: RangeView::from(&asked),
        currency: currency.to_owned(),
        cohorts: table(&pieces, &cells).into_iter().map(view).collect(),
    };
    Ok(asked.answer(&figures, draw_cohorts))
}

fn draw_cohorts(figures: &CohortFigures) -> String {
    let row = |cohort: &CohortView| {
        let cell =
            |month: &CohortMonth| (month.retention, format!("{:.0} %", month.retention * 100.0));
        let cells = match cohort.customers {
            0 => Vec::new(),
            _ => cohort.months.iter().map(cell).collect(),
        };
        (format!("{} ({})", cohort.month, cohort.customers), cells)
    };
    let columns: Vec<String> = (0..figures.cohorts.len()).map(|since| since.to_string()).collect();
    let told = format!(
        "Each line is the customers whose first order in {} was placed in one month, with their number; \
         each column is a month after it, with the share of them who ordered.",
        figures.currency
    );
    titled("Cohorts: months since the first order", &told)
        .heat(&columns, &figures.cohorts.iter().map(row).collect::<Vec<_>>())
}

// --- predictions ------------------------------------------------------------------------------

/// The models in use, and what they make of all customers.
#[derive(Serialize, ToSchema)]
struct PredictionFigures {
    #[schema(example = "USD")]
    currency: String,
    /// `null` as long as none could be fitted.
    model: Option<ModelView>,
    /// Customers by their predicted value when the model was fitted, best tier first.
    tiers: Vec<TierView>,
    total: Option<TotalView>,
    /// The latest fit.
    run: Option<RunView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PredictionModel)]
struct ModelView {
    version: i64,
    fitted_at: DateTime<Utc>,
    /// Orders up to then were looked at.
    as_of: DateTime<Utc>,
    /// How long it took.
    seconds: f64,
    /// Whose days were counted.
    time_zone: &'static str,
    horizon_months: u32,
    /// By which money that comes a year later is worth less.
    discount_rate: f64,
    customers: i64,
    /// Who bought on a second day.
    repeaters: i64,
    /// BG/NBD, in weeks.
    purchases: PurchasesView,
    /// Gamma-Gamma; `null` where the data do not determine it.
    value: Option<ValueView>,
    /// Why there is none.
    value_fault: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BgNbd)]
struct PurchasesView {
    r: f64,
    alpha: f64,
    a: f64,
    b: f64,
    log_likelihood: f64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = GammaGamma)]
struct ValueView {
    p: f64,
    q: f64,
    /// In minor units.
    gamma: f64,
    log_likelihood: f64,
    customers: i64,
    /// Between number and mean value of purchases; the farther from 0, the less the model holds.
    correlation: f64,
}

impl From<&KeptModel> for ModelView {
    fn from(kept: &KeptModel) -> ModelView {
        let purchases = kept.models.purchases;
        let value = kept.models.value.zip(kept.value.as_ref().ok());
        ModelView {
            version: kept.version,
            fitted_at: kept.fitted_at,
            as_of: kept.as_of,
            seconds: kept.seconds,
            time_zone: kept.time_zone.name(),
            horizon_months: kept.outlook.months,
            discount_rate: kept.outlook.discount_rate,
            customers: kept.customers,
            repeaters: kept.repeaters,
            purchases: PurchasesView {
                r: purchases.r,
                alpha: purchases.alpha,
                a: purchases.a,
                b: purchases.b,
                log_likelihood: kept.log_likelihood,
            },
            value: value.map(|(model, fit)| ValueView {
                p: model.p,
                q: model.q,
                gamma: model.gamma,
                log_likelihood: fit.log_likelihood,
                customers: fit.customers,
                correlation: fit.correlation,
            }),
            value_fault: kept.value.as_ref().err().cloned(),
        }
    }
}

/// What customers come to together.
#[derive(Serialize, ToSchema)]
#[schema(as = PredictionTotal)]
struct TotalView {
    customers: u64,
    /// Days with purchases within the horizon.
    expected_purchases: f64,
    /// How many of them are expected to buy again.
    expected_alive: f64,
    /// Within the horizon, discounted; `null` without a model of values.
    lifetime_value: Option<MoneyView>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = PredictionTier)]
struct TierView {
    /// `top` (the best twentieth), `high` (up to the best fifth), `middle` (up to the better half), `low`.
    #[schema(example = "top")]
    tier: &'static str,
    /// The value above which it begins; `null` for the lowest, and without a model of values.
    above: Option<MoneyView>,
    #[serde(flatten)]
    total: TotalView,
}

fn total(total: &Total, has_value: bool, currency: &str) -> TotalView {
    TotalView {
        customers: total.customers,
        expected_purchases: total.purchases,
        expected_alive: total.alive,
        lifetime_value: has_value.then(|| predicted(total.lifetime_value, currency)),
    }
}

const OF_MONEY: Takes = Takes { group: false, ..BY_GROUP };

/// Predictions: the models of purchases (BG/NBD) and of their value (Gamma-Gamma) as they were last
/// fitted, and what they make of all customers.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(CurrencyParam, FormatParam),
    responses((status = 200, content((PredictionFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/predictions")]
async fn predictions(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&services, request.query_string(), OF_MONEY, Unit::Day).await?;
    let currency = asked.currency.clone();
    let read = services.reports.read(move |connection| {
        let currency = currency.clone();
        Box::pin(async move {
            let run = db::predictions::run(connection, Kind::Predictions, &currency).await?;
            Ok((run, db::predictions::model(connection, &currency).await?))
        })
    });
    let (run, kept) = read.await?;
    let currency = asked.currency.as_str();
    let tiers = kept.as_ref().map(|kept| {
        let cuts = kept.value.as_ref().ok().map(|fit| fit.cuts.0);
        let each = Tier::ALL.iter().zip(&kept.tiers).enumerate();
        let view = |(place, (tier, sum)): (usize, (&Tier, &Total))| TierView {
            tier: tier.as_str(),
            above: cuts.and_then(|cuts| Some(predicted(*cuts.get(place)?, currency))),
            total: total(sum, cuts.is_some(), currency),
        };
        each.map(view).collect()
    });
    let figures = PredictionFigures {
        currency: currency.to_owned(),
        model: kept.as_ref().map(ModelView::from),
        tiers: tiers.unwrap_or_default(),
        total: kept.as_ref().map(|kept| total(&kept.total, kept.value.is_ok(), currency)),
        run: run.map(RunView::from),
    };
    Ok(asked.answer(&figures, draw_predictions))
}

fn draw_predictions(figures: &PredictionFigures) -> String {
    let row = |tier: &TierView| {
        let value = tier.total.lifetime_value.as_ref().map_or(0, |value| value.amount);
        let told = format!("{value} of {} customers", tier.total.customers);
        (tier.tier.to_owned(), value as f64, told)
    };
    let told = match &figures.model {
        Some(model) => format!(
            "Predicted value of {} customers within {} months, in minor units of {}, by tier.",
            model.customers, model.horizon_months, figures.currency
        ),
        None => "There is no model yet.".to_owned(),
    };
    titled("Predicted lifetime value by tier", &told)
        .rows(&figures.tiers.iter().map(row).collect::<Vec<_>>())
}
