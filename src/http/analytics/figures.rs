//! Registrations, sign-ins, orders and consents, by day, week or month.

use super::plots::Series;
use super::view::{RangeView, label, mean, money, titled};
use super::{ALL, Asked, CurrencyParam, FormatParam, GroupParam, RangeParams, Takes};
use crate::db;
use crate::domain::analytics::calendar::{Span, Unit};
use crate::http::principal::{AnalyticsRead, Staff};
use crate::http::problem::Problem;
use crate::http::services::Services;
use crate::http::wishlists::view::MoneyView;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, get};
use chrono::NaiveDate;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(registrations).service(sign_ins).service(orders).service(consents);
}

const BY_TIME: Takes = Takes { currency: false, ..ALL };

/// Rows of a piece, whose number the database tells.
fn of_piece<T>(rows: &[T], number: usize, piece: impl Fn(&T) -> Option<i32>) -> Vec<&T> {
    let same = |row: &&T| piece(row).is_some_and(|one| usize::try_from(one) == Ok(number));
    rows.iter().filter(same).collect()
}

/// A number for each customer group, by its code.
fn by_group<'a>(rows: impl IntoIterator<Item = (&'a str, i64)>) -> BTreeMap<String, i64> {
    let mut groups = BTreeMap::new();
    for (code, number) in rows {
        *groups.entry(code.to_owned()).or_default() += number;
    }
    groups
}

fn labels(pieces: &[Span], unit: Unit) -> Vec<String> {
    pieces.iter().map(|piece| label(piece, unit.as_str())).collect()
}

// --- registrations ----------------------------------------------------------------------------

/// Customers who came to be within the range.
#[derive(Serialize, ToSchema)]
struct RegistrationFigures {
    range: RangeView,
    customers: i64,
    /// Of those, who has verified its address by now.
    verified: i64,
    periods: Vec<RegistrationPeriod>,
}

#[derive(Serialize, ToSchema)]
struct RegistrationPeriod {
    from: NaiveDate,
    /// Included.
    to: NaiveDate,
    customers: i64,
    verified: i64,
    /// Customers by the code of their group; groups without any are left out.
    groups: BTreeMap<String, i64>,
}

/// Registrations: customers by the day on which they came to be, by whatever door. Who was deleted
/// since is not counted.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(RangeParams, GroupParam, FormatParam),
    responses((status = 200, content((RegistrationFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/registrations")]
async fn registrations(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&services, request.query_string(), BY_TIME, Unit::Day).await?;
    let (pieces, slice) = (asked.pieces(), asked.slice());
    let read = services.reports.read(move |connection| {
        let slice = slice.clone();
        Box::pin(async move { db::reports::registrations(connection, &slice).await })
    });
    let rows = read.await?;
    let period = |(number, piece): (usize, &Span)| {
        let rows = of_piece(&rows, number, |row| Some(row.piece));
        RegistrationPeriod {
            from: piece.from,
            to: piece.to,
            customers: rows.iter().map(|row| row.customers).sum(),
            verified: rows.iter().map(|row| row.verified).sum(),
            groups: by_group(rows.iter().map(|row| (row.group_code.as_str(), row.customers))),
        }
    };
    let figures = RegistrationFigures {
        range: RangeView::from(&asked),
        customers: rows.iter().map(|row| row.customers).sum(),
        verified: rows.iter().map(|row| row.verified).sum(),
        periods: pieces.iter().enumerate().map(period).collect(),
    };
    Ok(asked.answer(&figures, |figures| {
        let values = |of: fn(&RegistrationPeriod) -> i64| {
            figures.periods.iter().map(|period| of(period) as f64).collect()
        };
        let told = format!(
            "{} customers registered from {} to {}, {} of whom have verified their address.",
            figures.customers, asked.span.from, asked.span.to, figures.verified
        );
        let series = [
            Series { name: "registered", values: values(|period| period.customers) },
            Series { name: "verified", values: values(|period| period.verified) },
        ];
        titled("Registrations", &told).bars(&labels(&pieces, asked.unit), &series)
    }))
}

// --- sign-ins ---------------------------------------------------------------------------------

/// Sessions that began within the range.
#[derive(Serialize, ToSchema)]
struct SignInFigures {
    range: RangeView,
    sign_ins: i64,
    /// Different customers who signed in; not the sum of the periods.
    active_customers: i64,
    periods: Vec<SignInPeriod>,
}

#[derive(Serialize, ToSchema)]
struct SignInPeriod {
    from: NaiveDate,
    /// Included.
    to: NaiveDate,
    sign_ins: i64,
    /// Different customers among them.
    active_customers: i64,
    /// Active customers by the code of their group; groups without any are left out.
    groups: BTreeMap<String, i64>,
}

/// Sign-ins, and the customers who were active: who signed in at least once. By the audit trail, so
/// that sessions that were deleted since are counted. Refreshes are no sign-ins.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(RangeParams, GroupParam, FormatParam),
    responses((status = 200, content((SignInFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/logins")]
async fn sign_ins(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&services, request.query_string(), BY_TIME, Unit::Day).await?;
    let (pieces, slice) = (asked.pieces(), asked.slice());
    let read = services.reports.read(move |connection| {
        let slice = slice.clone();
        Box::pin(async move { db::reports::sign_ins(connection, &slice).await })
    });
    let rows = read.await?;
    let period = |(number, piece): (usize, &Span)| {
        let rows = of_piece(&rows, number, |row| row.piece);
        SignInPeriod {
            from: piece.from,
            to: piece.to,
            sign_ins: rows.iter().map(|row| row.sign_ins).sum(),
            active_customers: rows.iter().map(|row| row.customers).sum(),
            groups: by_group(rows.iter().map(|row| (row.group_code.as_str(), row.customers))),
        }
    };
    let whole = || rows.iter().filter(|row| row.piece.is_none());
    let figures = SignInFigures {
        range: RangeView::from(&asked),
        sign_ins: whole().map(|row| row.sign_ins).sum(),
        active_customers: whole().map(|row| row.customers).sum(),
        periods: pieces.iter().enumerate().map(period).collect(),
    };
    Ok(asked.answer(&figures, |figures| {
        let values = |of: fn(&SignInPeriod) -> i64| {
            figures.periods.iter().map(|period| of(period) as f64).collect()
        };
        let told = format!(
            "{} sign-ins of {} different customers from {} to {}.",
            figures.sign_ins, figures.active_customers, asked.span.from, asked.span.to
        );
        let series = [
            Series { name: "sign-ins", values: values(|period| period.sign_ins) },
            Series { name: "active customers", values: values(|period| period.active_customers) },
        ];
        titled("Sign-ins and active customers", &told).bars(&labels(&pieces, asked.unit), &series)
    }))
}

// --- orders -----------------------------------------------------------------------------------

/// Orders that were placed within the range, in one currency.
#[derive(Serialize, ToSchema)]
struct OrderFigures {
    range: RangeView,
    #[schema(example = "USD")]
    currency: String,
    /// Not cancelled.
    orders: i64,
    cancelled: i64,
    /// Different customers with orders that were not cancelled; not the sum of the periods.
    customers: i64,
    /// Paid and not paid back.
    revenue: MoneyView,
    refunded: MoneyView,
    /// Revenue of an order; `null` without orders.
    average: Option<MoneyView>,
    periods: Vec<OrderPeriod>,
}

#[derive(Serialize, ToSchema)]
struct OrderPeriod {
    from: NaiveDate,
    /// Included.
    to: NaiveDate,
    orders: i64,
    cancelled: i64,
    customers: i64,
    revenue: MoneyView,
    refunded: MoneyView,
    average: Option<MoneyView>,
    /// Orders by the code of the customer's group; groups without any are left out.
    groups: BTreeMap<String, i64>,
}

/// Orders in one currency, by the day on which they were placed: number, revenue, mean value. A
/// refund lessens the revenue of the day of its order. Orders of deleted customers are counted.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(RangeParams, GroupParam, CurrencyParam, FormatParam),
    responses((status = 200, content((OrderFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/orders")]
async fn orders(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&services, request.query_string(), ALL, Unit::Day).await?;
    let (pieces, slice, currency) = (asked.pieces(), asked.slice(), asked.currency.clone());
    let read = services.reports.read(move |connection| {
        let (slice, currency) = (slice.clone(), currency.clone());
        Box::pin(async move { db::reports::orders(connection, &slice, &currency).await })
    });
    let rows = read.await?;
    let currency = asked.currency.as_str();
    let period = |(number, piece): (usize, &Span)| {
        let rows = of_piece(&rows, number, |row| row.piece);
        let sum = |of: fn(&db::reports::Orders) -> i64| saturated(rows.iter().map(|row| of(row)));
        let (orders, revenue) = (sum(|row| row.orders), sum(|row| row.revenue));
        OrderPeriod {
            from: piece.from,
            to: piece.to,
            orders,
            cancelled: sum(|row| row.cancelled),
            customers: sum(|row| row.customers),
            revenue: money(revenue, currency),
            refunded: money(sum(|row| row.refunded), currency),
            average: mean(revenue, orders, currency),
            groups: by_group(rows.iter().map(|row| (row.group_code.as_str(), row.orders))),
        }
    };
    let whole = |of: fn(&db::reports::Orders) -> i64| {
        saturated(rows.iter().filter(|row| row.piece.is_none()).map(of))
    };
    let (count, revenue) = (whole(|row| row.orders), whole(|row| row.revenue));
    let figures = OrderFigures {
        range: RangeView::from(&asked),
        currency: currency.to_owned(),
        orders: count,
        cancelled: whole(|row| row.cancelled),
        customers: whole(|row| row.customers),
        revenue: money(revenue, currency),
        refunded: money(whole(|row| row.refunded), currency),
        average: mean(revenue, count, currency),
        periods: pieces.iter().enumerate().map(period).collect(),
    };
    Ok(asked.answer(&figures, |figures| draw_orders(&asked, figures)))
}

fn draw_orders(asked: &Asked, figures: &OrderFigures) -> String {
    let OrderFigures { currency, orders: number, customers, revenue, .. } = figures;
    let told = format!(
        "{number} orders of {customers} customers from {} to {}, with a revenue of {} minor units of \
         {currency}. The bars are the revenue.",
        asked.span.from, asked.span.to, revenue.amount
    );
    let values = figures.periods.iter().map(|period| period.revenue.amount as f64).collect();
    let name = format!("revenue, minor units of {currency}");
    let series = [Series { name: &name, values }];
    titled("Revenue", &told).bars(&labels(&asked.pieces(), asked.unit), &series)
}

fn saturated(numbers: impl Iterator<Item = i64>) -> i64 {
    numbers.fold(0, i64::saturating_add)
}

// --- consents ---------------------------------------------------------------------------------

/// What customers declared within the range, and what holds now.
#[derive(Serialize, ToSchema)]
struct ConsentFigures {
    range: RangeView,
    /// What living customers agree to now, whenever they said so.
    held: Vec<ConsentHeld>,
    periods: Vec<ConsentPeriod>,
}

#[derive(Serialize, ToSchema)]
struct ConsentHeld {
    #[schema(example = "marketing")]
    purpose: String,
    /// `email`, `sms`, `push`; `all` where the purpose knows no channels.
    #[schema(example = "email")]
    channel: String,
    customers: i64,
}

#[derive(Serialize, ToSchema)]
struct ConsentPeriod {
    from: NaiveDate,
    /// Included.
    to: NaiveDate,
    /// Without those of which nothing was said.
    purposes: Vec<ConsentFlow>,
}

#[derive(Serialize, ToSchema)]
struct ConsentFlow {
    #[schema(example = "marketing")]
    purpose: String,
    #[schema(example = "email")]
    channel: String,
    granted: i64,
    /// Withdrawn, or refused before it was ever granted.
    withdrawn: i64,
}

/// Consents: grants and withdrawals by the ledger, and how many customers agree to what now.
#[utoipa::path(
    tag = "analytics",
    security(("staff" = ["analytics:read"])),
    params(RangeParams, GroupParam, FormatParam),
    responses((status = 200, content((ConsentFigures = "application/json"), (String = "image/svg+xml"))))
)]
#[get("/v1/admin/analytics/consents")]
async fn consents(
    _staff: Staff<AnalyticsRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let asked = Asked::read(&services, request.query_string(), BY_TIME, Unit::Day).await?;
    let (pieces, slice) = (asked.pieces(), asked.slice());
    let read = services.reports.read(move |connection| {
        let slice = slice.clone();
        Box::pin(async move {
            let group = slice.group.as_deref();
            let held = db::reports::consents_held(connection, group).await?;
            Ok((held, db::reports::consents(connection, &slice).await?))
        })
    });
    let (held, rows) = read.await?;
    let period = |(number, piece): (usize, &Span)| {
        let mut flows: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
        for row in of_piece(&rows, number, |row| Some(row.piece)) {
            let flow = flows.entry((&row.purpose, &row.channel)).or_default();
            let side = if row.granted { &mut flow.0 } else { &mut flow.1 };
            *side += row.entries;
        }
        let flow = |((purpose, channel), (granted, withdrawn)): ((&str, &str), (i64, i64))| {
            let (purpose, channel) = (purpose.to_owned(), channel.to_owned());
            ConsentFlow { purpose, channel, granted, withdrawn }
        };
        let purposes = flows.into_iter().map(flow).collect();
        ConsentPeriod { from: piece.from, to: piece.to, purposes }
    };
    let figures = ConsentFigures {
        range: RangeView::from(&asked),
        held: held
            .into_iter()
            .map(|row| ConsentHeld {
                purpose: row.purpose,
                channel: row.channel,
                customers: row.customers,
            })
            .collect(),
        periods: pieces.iter().enumerate().map(period).collect(),
    };
    Ok(asked.answer(&figures, |figures| draw_consents(&asked, figures)))
}

fn draw_consents(asked: &Asked, figures: &ConsentFigures) -> String {
    let values = |of: fn(&ConsentFlow) -> i64| {
        let sum = |period: &ConsentPeriod| period.purposes.iter().map(of).sum::<i64>() as f64;
        figures.periods.iter().map(sum).collect::<Vec<f64>>()
    };
    let series = [
        Series { name: "granted", values: values(|flow| flow.granted) },
        Series { name: "withdrawn", values: values(|flow| flow.withdrawn) },
    ];
    let sum = |series: &Series<'_>| series.values.iter().sum::<f64>();
    let told = format!(
        "{} grants and {} withdrawals of all purposes from {} to {}.",
        sum(&series[0]),
        sum(&series[1]),
        asked.span.from,
        asked.span.to
    );
    titled("Consents", &told).bars(&labels(&asked.pieces(), asked.unit), &series)
}
