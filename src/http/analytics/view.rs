//! What several of these answers are made of.

use super::Asked;
use super::plots::Plot;
use crate::db::predictions::Run;
use crate::domain::analytics::calendar::Span;
use crate::domain::money::Money;
use crate::domain::place::Currency;
use crate::http::wishlists::view::MoneyView;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// Which days were looked at, and how they are told.
#[derive(Serialize, ToSchema)]
pub struct RangeView {
    pub from: NaiveDate,
    /// Included.
    pub to: NaiveDate,
    /// `day`, `week` or `month`.
    #[schema(example = "day")]
    pub by: &'static str,
    /// Whose days they are.
    #[schema(example = "Asia/Ho_Chi_Minh")]
    pub time_zone: &'static str,
    /// The customer group that was asked for.
    pub group: Option<String>,
}

impl From<&Asked> for RangeView {
    fn from(asked: &Asked) -> RangeView {
        RangeView {
            from: asked.span.from,
            to: asked.span.to,
            by: asked.unit.as_str(),
            time_zone: asked.zone.name(),
            group: asked.group.clone(),
        }
    }
}

/// How far the latest computation is, or how it ended.
#[derive(Serialize, ToSchema)]
#[schema(as = AnalyticsRun)]
pub struct RunView {
    /// `reading`, `fitting`, `done` or `failed`.
    #[schema(example = "done")]
    pub stage: String,
    pub started_at: DateTime<Utc>,
    /// Its latest sign of life.
    pub touched_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Read so far.
    pub customers: i64,
    /// How often the likelihood was computed so far.
    pub evaluations: i64,
    /// Why nothing was computed: `no_customers`, `too_few_customers`, `undetermined` (the data do not
    /// tell it), `failed` (see the log).
    #[schema(example = "too_few_customers")]
    pub fault: Option<String>,
}

impl From<Run> for RunView {
    fn from(run: Run) -> RunView {
        RunView {
            stage: run.stage,
            started_at: run.started_at,
            touched_at: run.touched_at,
            finished_at: run.finished_at,
            customers: run.customers,
            evaluations: run.evaluations,
            fault: run.fault,
        }
    }
}

/// An amount in minor units.
pub fn money(amount: i64, currency: &str) -> MoneyView {
    Money::from_stored(amount, Currency::from_stored(currency.to_owned())).into()
}

/// A predicted amount, in whole minor units.
pub fn predicted(amount: f64, currency: &str) -> MoneyView {
    // beyond what 64 bits hold the cast stays at their end
    money(amount.round() as i64, currency)
}

/// The mean of so many, in whole minor units, the half rounded up; `None` of none.
pub fn mean(sum: i64, count: i64, currency: &str) -> Option<MoneyView> {
    (count > 0).then(|| {
        let (sum, count) = (i128::from(sum), i128::from(count));
        money(i64::try_from((2 * sum + count).div_euclid(2 * count)).unwrap_or(i64::MAX), currency)
    })
}

/// A piece on an axis.
pub fn label(piece: &Span, unit: &str) -> String {
    match unit {
        "month" => piece.from.format("%Y-%m").to_string(),
        _ => piece.from.format("%m-%d").to_string(),
    }
}

/// A plot of figures of a range.
pub fn titled<'a>(title: &'a str, description: &'a str) -> Plot<'a> {
    Plot { title, description }
}
