//! The facts of some customers, as conditions ask for them in memory: each table read once for all of
//! them, and no table that nobody asks about.

use super::Rfm;
use super::tiers::tier;
use crate::db::Connection;
use crate::db::predictions::KeptModel;
use crate::domain::analytics::history::Order;
use crate::domain::analytics::rfm::Bought;
use crate::domain::consent::Channel;
use crate::domain::order::OrderStatus;
use crate::domain::segment::attributes::{Field, Function};
use crate::domain::segment::condition::{Ask, Condition};
use crate::domain::segment::{AddressFact, Facts, OrderFact, OrderSums, RfmFact};
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Date, Integer, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use serde_json::Value;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Which tables conditions ask about, besides the customer's own row, profile and preferences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    pub addresses: bool,
    pub wishlists: bool,
    pub consents: bool,
    pub second_factors: bool,
    pub statistics: bool,
    /// With their items.
    pub orders: bool,
    pub sign_ins: bool,
}

impl Needs {
    /// What a condition needs, too.
    pub fn add(&mut self, condition: &Condition) {
        condition.leaves(&mut |leaf| match &leaf.asks {
            Ask::Attribute { operand, .. } | Ask::Remembered { operand, .. } => {
                self.add_field(&operand.field);
            }
            Ask::Matches(matches) => match matches.function {
                Function::SignedIn => self.sign_ins = true,
                Function::OrdersPlaced | Function::ProductsPurchased => self.orders = true,
            },
            Ask::Segment(_) => {}
        });
    }

    fn add_field(&mut self, field: &Field) {
        match field {
            Field::NumberOfAddresses
            | Field::Cities
            | Field::Regions
            | Field::Countries
            | Field::PostalCodes => self.addresses = true,
            Field::WishlistItems => self.wishlists = true,
            Field::Subscription(_) | Field::Consent { .. } => self.consents = true,
            Field::MfaEnabled => self.second_factors = true,
            Field::FirstOrderAt
            | Field::LastOrderAt
            | Field::NumberOfOrders
            | Field::Spent(_)
            | Field::Average(_)
            | Field::RfmGroup => self.statistics = true,
            Field::SpendTier => self.orders = true,
            Field::AddedAt
            | Field::LastSignInAt
            | Field::BirthDate
            | Field::EmailVerifiedAt
            | Field::PhoneVerifiedAt
            | Field::Status
            | Field::CustomerType
            | Field::Tags
            | Field::Topics
            | Field::EmailDomain
            | Field::Language
            | Field::Locale
            | Field::Currency
            | Field::TimeZone
            | Field::Group
            | Field::EmailVerified
            | Field::PhoneVerified
            | Field::AcceptsMarketing
            | Field::Contact(_)
            | Field::Custom { .. } => {}
        }
    }
}

/// A stored word that this version does not know: only a newer version can have written it.
fn unknown(column: &'static str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(format!("unknown value in {column}").into())
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    email_domain: String,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    email_verified_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    phone_verified_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Text)]
    customer_type: String,
    #[diesel(sql_type = Text)]
    group_code: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Array<Text>)]
    tags: Vec<String>,
    #[diesel(sql_type = Bool)]
    accepts_marketing: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_sign_in_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = Nullable<Date>)]
    date_of_birth: Option<NaiveDate>,
    #[diesel(sql_type = Text)]
    locale: String,
    #[diesel(sql_type = Text)]
    timezone: String,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Bool)]
    channel_email: bool,
    #[diesel(sql_type = Bool)]
    channel_sms: bool,
    #[diesel(sql_type = Bool)]
    channel_push: bool,
    #[diesel(sql_type = Array<Text>)]
    topics: Vec<String>,
    /// Keys are of one name over both parts.
    #[diesel(sql_type = Jsonb)]
    custom: Value,
}

impl From<Row> for Facts {
    fn from(row: Row) -> Self {
        let channels = [
            (Channel::Email, row.channel_email),
            (Channel::Sms, row.channel_sms),
            (Channel::Push, row.channel_push),
        ];
        let custom = match row.custom {
            Value::Object(custom) => custom.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        Self {
            status: row.status,
            customer_type: row.customer_type,
            group: row.group_code,
            tags: row.tags,
            email_domain: row.email_domain,
            email_verified_at: row.email_verified_at,
            phone_verified_at: row.phone_verified_at,
            accepts_marketing: row.accepts_marketing,
            last_sign_in_at: row.last_sign_in_at,
            birth_date: row.date_of_birth,
            locale: row.locale,
            time_zone: row.timezone,
            currency: row.currency,
            contact: channels.iter().filter(|(_, may)| *may).map(|(channel, _)| *channel).collect(),
            topics: row.topics,
            custom,
            ..Self::bare(row.created_at)
        }
    }
}

type All = BTreeMap<Uuid, Facts>;

/// The facts of living customers; those that are not there are left out. Membership of segments is not
/// read here.
///
/// # Errors
/// Those of the queries.
pub async fn of(
    mut conn: &Connection,
    customers: &[Uuid],
    needs: Needs,
    rfm: Option<&Rfm>,
    model: Option<(&KeptModel, &str)>,
) -> QueryResult<All> {
    let rows: Vec<Row> = diesel::sql_query(
        "SELECT c.id, substring(c.email_canonical FROM '[^@]*$') AS email_domain, c.email_verified_at, \
         c.phone_verified_at, c.customer_type, c.group_code, c.status, c.tags, c.accepts_marketing, \
         c.last_sign_in_at, c.created_at, p.date_of_birth, r.locale, r.timezone, r.currency, \
         r.channel_email, r.channel_sms, r.channel_push, r.topics, p.custom || r.custom AS custom \
         FROM customers AS c JOIN customer_profiles AS p ON p.customer_id = c.id \
         JOIN customer_preferences AS r ON r.customer_id = c.id \
         WHERE c.id = ANY ($1) AND c.deleted_at IS NULL",
    )
    .bind::<Array<SqlUuid>, _>(customers)
    .load(&mut conn)
    .await?;
    let mut all: All = rows.into_iter().map(|row| (row.id, row.into())).collect();
    if needs.addresses {
        addresses(conn, customers, &mut all).await?;
    }
    if needs.wishlists || needs.second_factors {
        counts(conn, customers, &mut all).await?;
    }
    if needs.consents {
        consents(conn, customers, &mut all).await?;
    }
    if needs.statistics {
        statistics(conn, customers, &mut all).await?;
        if let Some(rfm) = rfm {
            all.values_mut().for_each(|facts| facts.rfm = judged(facts, rfm));
        }
    }
    if needs.orders {
        orders(conn, customers, &mut all).await?;
        if let Some((model, currency)) = model {
            all.values_mut().for_each(|facts| predict(facts, model, currency));
        }
    }
    if needs.sign_ins {
        sign_ins(conn, customers, &mut all).await?;
    }
    Ok(all)
}

fn judged(facts: &Facts, rfm: &Rfm) -> Option<RfmFact> {
    let OrderSums { orders, spent, span } = *facts.statistics.get(&rfm.currency)?;
    let bought = Bought { orders, spent, last_order_at: span?.1 };
    Some(RfmFact { bought, cuts: rfm.cuts, zone: rfm.zone })
}

fn predict(facts: &mut Facts, model: &KeptModel, currency: &str) {
    let counts =
        |order: &&OrderFact| order.currency == currency && order.status != OrderStatus::Cancelled;
    let orders = facts.orders.iter().filter(counts);
    let orders = orders.map(|order| Order { placed_at: order.placed_at, value: order.amount });
    facts.spend_tier = tier(orders, model);
}

#[derive(QueryableByName)]
struct AddressRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Text)]
    city: String,
    #[diesel(sql_type = Nullable<Text>)]
    region: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    region_code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    postal_code: Option<String>,
    #[diesel(sql_type = Text)]
    country: String,
}

async fn addresses(mut conn: &Connection, of: &[Uuid], all: &mut All) -> QueryResult<()> {
    let rows: Vec<AddressRow> = diesel::sql_query(
        "SELECT customer_id, city, region, region_code, postal_code, country FROM addresses \
         WHERE customer_id = ANY ($1)",
    )
    .bind::<Array<SqlUuid>, _>(of)
    .load(&mut conn)
    .await?;
    for row in rows {
        let AddressRow { customer_id, city, region, region_code, postal_code, country } = row;
        if let Some(facts) = all.get_mut(&customer_id) {
            facts.addresses.push(AddressFact { city, region, region_code, postal_code, country });
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct CountsRow {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = BigInt)]
    wishlist_items: i64,
    #[diesel(sql_type = Bool)]
    mfa_enabled: bool,
}

async fn counts(mut conn: &Connection, of: &[Uuid], all: &mut All) -> QueryResult<()> {
    let rows: Vec<CountsRow> = diesel::sql_query(
        "SELECT n.id, coalesce((SELECT sum(w.item_count) FROM wishlists AS w WHERE w.customer_id = n.id), 0) \
         AS wishlist_items, \
         EXISTS (SELECT FROM customer_totp AS t WHERE t.customer_id = n.id AND t.confirmed_at IS NOT NULL) \
         OR EXISTS (SELECT FROM passkeys AS k WHERE k.customer_id = n.id AND k.second_factor) AS mfa_enabled \
         FROM unnest($1) AS n(id)",
    )
    .bind::<Array<SqlUuid>, _>(of)
    .load(&mut conn)
    .await?;
    for row in rows {
        if let Some(facts) = all.get_mut(&row.id) {
            facts.wishlist_items = row.wishlist_items;
            facts.mfa_enabled = row.mfa_enabled;
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct ConsentRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Text)]
    purpose: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Bool)]
    granted: bool,
}

async fn consents(mut conn: &Connection, of: &[Uuid], all: &mut All) -> QueryResult<()> {
    let rows: Vec<ConsentRow> = diesel::sql_query(
        "SELECT customer_id, purpose, channel, granted FROM consents WHERE customer_id = ANY ($1)",
    )
    .bind::<Array<SqlUuid>, _>(of)
    .load(&mut conn)
    .await?;
    for row in rows {
        let channel = Channel::parse(&row.channel).ok_or_else(|| unknown("channel"))?;
        if let Some(facts) = all.get_mut(&row.customer_id) {
            facts.consents.insert((row.purpose, channel), row.granted);
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct StatisticsRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    orders: i64,
    #[diesel(sql_type = BigInt)]
    spent_amount: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first_order_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last_order_at: Option<DateTime<Utc>>,
}

async fn statistics(mut conn: &Connection, of: &[Uuid], all: &mut All) -> QueryResult<()> {
    let rows: Vec<StatisticsRow> = diesel::sql_query(
        "SELECT customer_id, currency, (placed + completed + refunded)::bigint AS orders, spent_amount, \
         first_order_at, last_order_at FROM order_statistics WHERE customer_id = ANY ($1)",
    )
    .bind::<Array<SqlUuid>, _>(of)
    .load(&mut conn)
    .await?;
    for row in rows {
        if let Some(facts) = all.get_mut(&row.customer_id) {
            let span = row.first_order_at.zip(row.last_order_at);
            let sums = OrderSums { orders: row.orders, spent: row.spent_amount, span };
            facts.statistics.insert(row.currency, sums);
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct OrderRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    placed_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = Array<Text>)]
    skus: Vec<String>,
    #[diesel(sql_type = Array<Integer>)]
    quantities: Vec<i32>,
}

async fn orders(mut conn: &Connection, of: &[Uuid], all: &mut All) -> QueryResult<()> {
    let rows: Vec<OrderRow> = diesel::sql_query(
        "SELECT o.customer_id, o.placed_at, o.status, o.currency, \
         o.total_amount - least(o.refunded_amount, o.total_amount) AS amount, \
         coalesce(i.skus, '{}') AS skus, coalesce(i.quantities, '{}') AS quantities \
         FROM order_facts AS o LEFT JOIN LATERAL (SELECT array_agg(i.sku ORDER BY i.sku) AS skus, \
         array_agg(i.quantity ORDER BY i.sku) AS quantities FROM order_items AS i \
         WHERE i.customer_id = o.customer_id AND i.order_id = o.order_id) AS i ON true \
         WHERE o.customer_id = ANY ($1)",
    )
    .bind::<Array<SqlUuid>, _>(of)
    .load(&mut conn)
    .await?;
    for row in rows {
        let status = OrderStatus::from_name(&row.status).ok_or_else(|| unknown("status"))?;
        if let Some(facts) = all.get_mut(&row.customer_id) {
            facts.orders.push(OrderFact {
                placed_at: row.placed_at,
                status,
                currency: row.currency,
                amount: row.amount,
                items: row
                    .skus
                    .into_iter()
                    .zip(row.quantities.into_iter().map(i64::from))
                    .collect(),
            });
        }
    }
    Ok(())
}

#[derive(QueryableByName)]
struct SignInRow {
    #[diesel(sql_type = SqlUuid)]
    customer_id: Uuid,
    #[diesel(sql_type = Timestamptz)]
    occurred_at: DateTime<Utc>,
}

async fn sign_ins(mut conn: &Connection, of: &[Uuid], all: &mut All) -> QueryResult<()> {
    let rows: Vec<SignInRow> = diesel::sql_query(
        "SELECT customer_id, occurred_at FROM audit_entries \
         WHERE customer_id = ANY ($1) AND action = 'sign_in.succeeded'",
    )
    .bind::<Array<SqlUuid>, _>(of)
    .load(&mut conn)
    .await?;
    for row in rows {
        if let Some(facts) = all.get_mut(&row.customer_id) {
            facts.sign_ins.push(row.occurred_at);
        }
    }
    Ok(())
}
