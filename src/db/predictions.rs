//! Tables `rfm_cut_points`, `prediction_models` and `analytics_runs`, and what they are computed from.
//! Rows of the first two are never changed: each computation is a version.

use super::Connection;
use crate::domain::CustomerId;
use crate::domain::analytics::bg_nbd::BgNbd;
use crate::domain::analytics::gamma_gamma::GammaGamma;
use crate::domain::analytics::history::Order;
use crate::domain::analytics::model::{Models, Outlook, TierCuts, Total};
use crate::domain::analytics::rfm::{Bought, CutPoints, days_since};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use serde_json::Value;
use uuid::Uuid;

/// Key of the advisory lock that whoever computes holds.
const LOCK: i64 = 0x6373_616e_616c_7973;

/// Takes the lock for as long as the session lives; false when somebody else has it.
///
/// # Errors
/// Those of the query.
pub async fn try_lock(mut conn: &Connection) -> QueryResult<bool> {
    #[derive(QueryableByName)]
    struct Lock {
        #[diesel(sql_type = Bool)]
        had: bool,
    }
    let lock: Lock = diesel::sql_query("SELECT pg_try_advisory_lock($1) AS had")
        .bind::<BigInt, _>(LOCK)
        .get_result(&mut conn)
        .await?;
    Ok(lock.had)
}

/// Lets the statements of this session take longer than a request's may.
///
/// # Errors
/// Those of the statement.
pub async fn take_time(conn: &mut Connection, seconds: u64) -> QueryResult<()> {
    conn.batch_execute(&format!("SET statement_timeout = '{seconds}s'")).await
}

/// Kept cut points.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptCutPoints {
    pub version: i64,
    pub computed_at: DateTime<Utc>,
    pub as_of: DateTime<Utc>,
    /// With orders, when they were computed.
    pub customers: i64,
    pub cuts: CutPoints,
}

#[derive(QueryableByName)]
struct CutPointsRow {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Timestamptz)]
    computed_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    as_of: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    customers: i64,
    #[diesel(sql_type = Array<BigInt>)]
    recency_days: Vec<i64>,
    #[diesel(sql_type = Array<BigInt>)]
    orders: Vec<i64>,
    #[diesel(sql_type = Array<BigInt>)]
    spent: Vec<i64>,
}

/// An array of a fixed length, which a check of the table ensures.
fn fixed<T, const N: usize>(values: Vec<T>) -> QueryResult<[T; N]> {
    values.try_into().map_err(|_| {
        diesel::result::Error::DeserializationError("an array of another length".into())
    })
}

/// The newest cut points of a currency.
///
/// # Errors
/// Those of the query.
pub async fn cut_points(
    mut conn: &Connection,
    currency: &str,
) -> QueryResult<Option<KeptCutPoints>> {
    let row: Option<CutPointsRow> = diesel::sql_query(
        "SELECT version, computed_at, as_of, customers, recency_days, orders, spent \
         FROM rfm_cut_points WHERE currency = $1 ORDER BY version DESC LIMIT 1",
    )
    .bind::<Text, _>(currency)
    .get_result(&mut conn)
    .await
    .optional()?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(KeptCutPoints {
        version: row.version,
        computed_at: row.computed_at,
        as_of: row.as_of,
        customers: row.customers,
        cuts: CutPoints {
            recency_days: fixed(row.recency_days)?,
            orders: fixed(row.orders)?,
            spent: fixed(row.spent)?,
        },
    }))
}

#[derive(QueryableByName)]
struct FifthsRow {
    #[diesel(sql_type = BigInt)]
    customers: i64,
    #[diesel(sql_type = Nullable<Array<Timestamptz>>)]
    last: Option<Vec<DateTime<Utc>>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    orders: Option<Vec<i64>>,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    spent: Option<Vec<i64>>,
}

/// Where the fifths of all living customers with orders end, with their number; `None` without any.
///
/// # Errors
/// Those of the query.
pub async fn fifths(
    mut conn: &Connection,
    currency: &str,
    (now, zone): (DateTime<Utc>, Tz),
) -> QueryResult<Option<(i64, CutPoints)>> {
    let row: FifthsRow = diesel::sql_query(
        "SELECT count(*) AS customers, \
         percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY s.last_order_at DESC) AS last, \
         percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) \
         WITHIN GROUP (ORDER BY (s.placed + s.completed + s.refunded)::bigint) AS orders, \
         percentile_disc(ARRAY[0.2, 0.4, 0.6, 0.8]) WITHIN GROUP (ORDER BY s.spent_amount) AS spent \
         FROM order_statistics AS s JOIN customers AS c ON c.id = s.customer_id \
         WHERE s.currency = $1 AND s.first_order_at IS NOT NULL AND c.deleted_at IS NULL",
    )
    .bind::<Text, _>(currency)
    .get_result(&mut conn)
    .await?;
    let (Some(last), Some(orders), Some(spent)) = (row.last, row.orders, row.spent) else {
        return Ok(None);
    };
    let days: [DateTime<Utc>; 4] = fixed(last)?;
    let cuts = CutPoints {
        // Later orders are fewer days ago: the order is kept.
        recency_days: days.map(|last| days_since(last, now, zone)),
        orders: fixed(orders)?,
        spent: fixed(spent)?,
    };
    Ok(Some((row.customers, cuts)))
}

/// Keeps cut points as the next version, and answers with it.
///
/// # Errors
/// Those of the statement.
pub async fn keep_cut_points(
    mut conn: &Connection,
    currency: &str,
    (computed_at, as_of): (DateTime<Utc>, DateTime<Utc>),
    customers: i64,
    cuts: &CutPoints,
) -> QueryResult<i64> {
    let kept: Version = diesel::sql_query(
        "INSERT INTO rfm_cut_points (currency, version, computed_at, as_of, customers, recency_days, orders, spent) \
         SELECT $1, coalesce((SELECT version FROM rfm_cut_points WHERE currency = $1 \
         ORDER BY version DESC LIMIT 1), 0) + 1, $2, $3, $4, $5, $6, $7 RETURNING version",
    )
    .bind::<Text, _>(currency)
    .bind::<Timestamptz, _>(computed_at)
    .bind::<Timestamptz, _>(as_of)
    .bind::<BigInt, _>(customers)
    .bind::<Array<BigInt>, _>(cuts.recency_days.to_vec())
    .bind::<Array<BigInt>, _>(cuts.orders.to_vec())
    .bind::<Array<BigInt>, _>(cuts.spent.to_vec())
    .get_result(&mut conn)
    .await?;
    Ok(kept.version)
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = BigInt)]
    version: i64,
}

/// A kept model.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptModel {
    /// 0 before it is kept.
    pub version: i64,
    pub fitted_at: DateTime<Utc>,
    pub as_of: DateTime<Utc>,
    pub seconds: f64,
    pub time_zone: Tz,
    pub outlook: Outlook,
    pub customers: i64,
    pub repeaters: i64,
    pub models: Models,
    pub log_likelihood: f64,
    pub evaluations: i64,
    /// Or why there is no model of values, by name.
    pub value: Result<ValueFit, String>,
    /// Best tier first.
    pub tiers: Vec<Total>,
    pub total: Total,
}

/// What is known of the model of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValueFit {
    pub log_likelihood: f64,
    pub customers: i64,
    pub correlation: f64,
    pub cuts: TierCuts,
}

#[derive(QueryableByName)]
struct ModelRow {
    #[diesel(sql_type = BigInt)]
    version: i64,
    #[diesel(sql_type = Timestamptz)]
    fitted_at: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    as_of: DateTime<Utc>,
    #[diesel(sql_type = Double)]
    seconds: f64,
    #[diesel(sql_type = Text)]
    time_zone: String,
    #[diesel(sql_type = Integer)]
    horizon_months: i32,
    #[diesel(sql_type = Double)]
    discount_rate: f64,
    #[diesel(sql_type = BigInt)]
    customers: i64,
    #[diesel(sql_type = BigInt)]
    repeaters: i64,
    #[diesel(sql_type = Array<Double>)]
    purchases: Vec<f64>,
    #[diesel(sql_type = Double)]
    purchases_log_likelihood: f64,
    #[diesel(sql_type = BigInt)]
    evaluations: i64,
    #[diesel(sql_type = Nullable<Array<Double>>)]
    value: Option<Vec<f64>>,
    #[diesel(sql_type = Nullable<Double>)]
    value_log_likelihood: Option<f64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    value_customers: Option<i64>,
    #[diesel(sql_type = Nullable<Double>)]
    value_correlation: Option<f64>,
    #[diesel(sql_type = Nullable<Text>)]
    value_fault: Option<String>,
    #[diesel(sql_type = Nullable<Array<Double>>)]
    tier_cuts: Option<Vec<f64>>,
    #[diesel(sql_type = Jsonb)]
    tiers: Value,
    #[diesel(sql_type = Jsonb)]
    total: Value,
}

impl TryFrom<ModelRow> for KeptModel {
    type Error = diesel::result::Error;

    fn try_from(row: ModelRow) -> QueryResult<Self> {
        let wrong = |what: &'static str| {
            diesel::result::Error::DeserializationError(format!("not understood: {what}").into())
        };
        let [r, alpha, a, b] = fixed(row.purchases)?;
        let known = (row.value_log_likelihood, row.value_customers, row.value_correlation);
        let value = match (row.value, row.tier_cuts, known) {
            (
                Some(value),
                Some(cuts),
                (Some(log_likelihood), Some(customers), Some(correlation)),
            ) => {
                let cuts = TierCuts(fixed(cuts)?);
                Ok((fixed(value)?, ValueFit { log_likelihood, customers, correlation, cuts }))
            }
            _ => Err(row.value_fault.unwrap_or_default()),
        };
        let of_value = value.as_ref().ok().map(|([p, q, gamma], _)| GammaGamma {
            p: *p,
            q: *q,
            gamma: *gamma,
        });
        Ok(Self {
            version: row.version,
            fitted_at: row.fitted_at,
            as_of: row.as_of,
            seconds: row.seconds,
            time_zone: row.time_zone.parse().map_err(|_| wrong("time_zone"))?,
            outlook: Outlook {
                months: u32::try_from(row.horizon_months).map_err(|_| wrong("horizon_months"))?,
                discount_rate: row.discount_rate,
            },
            customers: row.customers,
            repeaters: row.repeaters,
            models: Models { purchases: BgNbd { r, alpha, a, b }, value: of_value },
            log_likelihood: row.purchases_log_likelihood,
            evaluations: row.evaluations,
            value: value.map(|(_, fit)| fit),
            tiers: serde_json::from_value(row.tiers).map_err(|_| wrong("tiers"))?,
            total: serde_json::from_value(row.total).map_err(|_| wrong("total"))?,
        })
    }
}

/// The newest model of a currency.
///
/// # Errors
/// Those of the query.
pub async fn model(mut conn: &Connection, currency: &str) -> QueryResult<Option<KeptModel>> {
    let row: Option<ModelRow> = diesel::sql_query(
        "SELECT version, fitted_at, as_of, seconds, time_zone, horizon_months, discount_rate, customers, \
         repeaters, purchases, purchases_log_likelihood, evaluations, value, value_log_likelihood, \
         value_customers, value_correlation, value_fault, tier_cuts, tiers, total \
         FROM prediction_models WHERE currency = $1 ORDER BY version DESC LIMIT 1",
    )
    .bind::<Text, _>(currency)
    .get_result(&mut conn)
    .await
    .optional()?;
    row.map(KeptModel::try_from).transpose()
}

/// Keeps a model as the next version, and answers with it.
///
/// # Errors
/// Those of the statement.
pub async fn keep_model(
    mut conn: &Connection,
    currency: &str,
    model: &KeptModel,
) -> QueryResult<i64> {
    let BgNbd { r, alpha, a, b } = model.models.purchases;
    let json = |value: serde_json::Result<Value>| {
        value.map_err(|error| diesel::result::Error::SerializationError(error.into()))
    };
    let fit = model.value.as_ref().ok();
    let kept: Version = diesel::sql_query(
        "INSERT INTO prediction_models (currency, version, fitted_at, as_of, seconds, time_zone, horizon_months, \
         discount_rate, customers, repeaters, purchases, purchases_log_likelihood, evaluations, value, \
         value_log_likelihood, value_customers, value_correlation, value_fault, tier_cuts, tiers, total) \
         SELECT $1, coalesce((SELECT version FROM prediction_models WHERE currency = $1 \
         ORDER BY version DESC LIMIT 1), 0) + 1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
         $15, $16, $17, $18, $19, $20 RETURNING version",
    )
    .bind::<Text, _>(currency)
    .bind::<Timestamptz, _>(model.fitted_at)
    .bind::<Timestamptz, _>(model.as_of)
    .bind::<Double, _>(model.seconds)
    .bind::<Text, _>(model.time_zone.name())
    // lossless: the range of the key ends at 120
    .bind::<Integer, _>(model.outlook.months as i32)
    .bind::<Double, _>(model.outlook.discount_rate)
    .bind::<BigInt, _>(model.customers)
    .bind::<BigInt, _>(model.repeaters)
    .bind::<Array<Double>, _>(vec![r, alpha, a, b])
    .bind::<Double, _>(model.log_likelihood)
    .bind::<BigInt, _>(model.evaluations)
    .bind::<Nullable<Array<Double>>, _>(model.models.value.map(|m| vec![m.p, m.q, m.gamma]))
    .bind::<Nullable<Double>, _>(fit.map(|fit| fit.log_likelihood))
    .bind::<Nullable<BigInt>, _>(fit.map(|fit| fit.customers))
    .bind::<Nullable<Double>, _>(fit.map(|fit| fit.correlation))
    .bind::<Nullable<Text>, _>(model.value.as_ref().err())
    .bind::<Nullable<Array<Double>>, _>(fit.map(|fit| fit.cuts.0.to_vec()))
    .bind::<Jsonb, _>(json(serde_json::to_value(&model.tiers))?)
    .bind::<Jsonb, _>(json(serde_json::to_value(model.total))?)
    .get_result(&mut conn)
    .await?;
    Ok(kept.version)
}

#[derive(QueryableByName)]
struct OrderRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    placed_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    value: i64,
}

impl From<&OrderRow> for Order {
    fn from(row: &OrderRow) -> Self {
        Self { placed_at: row.placed_at, value: row.value }
    }
}

#[derive(QueryableByName)]
struct Id {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// The next living customers with orders in a currency after one, at most `limit`.
///
/// # Errors
/// Those of the query.
pub async fn buyers(
    mut conn: &Connection,
    currency: &str,
    after: Uuid,
    limit: i64,
) -> QueryResult<Vec<Uuid>> {
    let ids: Vec<Id> = diesel::sql_query(
        "SELECT s.customer_id AS id FROM order_statistics AS s JOIN customers AS c ON c.id = s.customer_id \
         WHERE s.customer_id > $1 AND s.currency = $2 AND s.first_order_at IS NOT NULL \
         AND c.deleted_at IS NULL ORDER BY s.customer_id LIMIT $3",
    )
    .bind::<SqlUuid, _>(after)
    .bind::<Text, _>(currency)
    .bind::<BigInt, _>(limit)
    .load(&mut conn)
    .await?;
    Ok(ids.into_iter().map(|row| row.id).collect())
}

/// The orders of customers in a currency that were not cancelled, customer by customer.
///
/// # Errors
/// Those of the query.
pub async fn orders_of(
    mut conn: &Connection,
    currency: &str,
    customers: &[Uuid],
) -> QueryResult<Vec<(Uuid, Vec<Order>)>> {
    let rows: Vec<OrderRow> = diesel::sql_query(
        "SELECT customer_id, placed_at, \
         total_amount - least(refunded_amount, total_amount) AS value FROM order_facts \
         WHERE customer_id = ANY ($1) AND currency = $2 AND status <> 'cancelled' ORDER BY customer_id",
    )
    .bind::<Array<SqlUuid>, _>(customers)
    .bind::<Text, _>(currency)
    .load(&mut conn)
    .await?;
    let of_one = rows.chunk_by(|one, next| one.customer_id == next.customer_id);
    Ok(of_one.map(|rows| (rows[0].customer_id, rows.iter().map(Order::from).collect())).collect())
}

#[derive(QueryableByName)]
struct BoughtRow {
    #[diesel(sql_type = BigInt)]
    orders: i64,
    #[diesel(sql_type = BigInt)]
    spent: i64,
    #[diesel(sql_type = Timestamptz)]
    last_order_at: DateTime<Utc>,
}

/// What a customer's scores are made of; `None` without orders.
///
/// # Errors
/// Those of the query.
pub async fn bought(
    mut conn: &Connection,
    customer: CustomerId,
    currency: &str,
) -> QueryResult<Option<Bought>> {
    let row: Option<BoughtRow> = diesel::sql_query(
        "SELECT (placed + completed + refunded)::bigint AS orders, spent_amount AS spent, last_order_at \
         FROM order_statistics WHERE customer_id = $1 AND currency = $2 AND last_order_at IS NOT NULL",
    )
    .bind::<SqlUuid, _>(customer.0)
    .bind::<Text, _>(currency)
    .get_result(&mut conn)
    .await
    .optional()?;
    Ok(row.map(|row| Bought {
        orders: row.orders,
        spent: row.spent,
        last_order_at: row.last_order_at,
    }))
}

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Rfm,
    Predictions,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rfm => "rfm",
            Self::Predictions => "predictions",
        }
    }
}

/// How far the latest computation is, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct Run {
    #[diesel(sql_type = Timestamptz)]
    pub started_at: DateTime<Utc>,
    /// Its latest sign of life.
    #[diesel(sql_type = Timestamptz)]
    pub touched_at: DateTime<Utc>,
    /// `reading`, `fitting`, `done` or `failed`.
    #[diesel(sql_type = Text)]
    pub stage: String,
    /// Read so far.
    #[diesel(sql_type = BigInt)]
    pub customers: i64,
    #[diesel(sql_type = BigInt)]
    pub evaluations: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub finished_at: Option<DateTime<Utc>>,
    /// Why it failed, by name.
    #[diesel(sql_type = Nullable<Text>)]
    pub fault: Option<String>,
}

/// # Errors
/// Those of the query.
pub async fn run(mut conn: &Connection, kind: Kind, currency: &str) -> QueryResult<Option<Run>> {
    diesel::sql_query(
        "SELECT started_at, touched_at, stage, customers, evaluations, finished_at, fault \
         FROM analytics_runs WHERE kind = $1 AND currency = $2",
    )
    .bind::<Text, _>(kind.as_str())
    .bind::<Text, _>(currency)
    .get_result(&mut conn)
    .await
    .optional()
}

/// # Errors
/// Those of the statement.
pub async fn note_run(
    mut conn: &Connection,
    kind: Kind,
    currency: &str,
    run: &Run,
) -> QueryResult<()> {
    diesel::sql_query(
        "INSERT INTO analytics_runs (kind, currency, started_at, touched_at, stage, customers, evaluations, \
         finished_at, fault) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         ON CONFLICT (kind, currency) DO UPDATE SET started_at = excluded.started_at, \
         touched_at = excluded.touched_at, stage = excluded.stage, customers = excluded.customers, \
         evaluations = excluded.evaluations, finished_at = excluded.finished_at, fault = excluded.fault",
    )
    .bind::<Text, _>(kind.as_str())
    .bind::<Text, _>(currency)
    .bind::<Timestamptz, _>(run.started_at)
    .bind::<Timestamptz, _>(run.touched_at)
    .bind::<Text, _>(&run.stage)
    .bind::<BigInt, _>(run.customers)
    .bind::<BigInt, _>(run.evaluations)
    .bind::<Nullable<Timestamptz>, _>(run.finished_at)
    .bind::<Nullable<Text>, _>(run.fault.as_deref())
    .execute(&mut conn)
    .await
    .map(|_| ())
}
