//! Tables `consent_entries`, the ledger, and `consents`, what holds by it.

use super::schema::{consent_entries, consents};
use super::statements::{InsertConsentEntries, SaveConsents};
use super::{Connection, audit, customers};
use crate::domain::consent::{Channel, Consent, Consents, Entry, Purpose, Source, TextVersion};
use crate::domain::place::Locale;
use crate::domain::{Context, CustomerId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use tokio::try_join;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = consents, check_for_backend(diesel::pg::Pg))]
struct Row {
    customer_id: Uuid,
    purpose: String,
    channel: String,
    granted: bool,
    text_version: Option<String>,
    locale: Option<String>,
    source: String,
    number: i64,
    decided_at: DateTime<Utc>,
}

/// What holds for a customer about one purpose and channel.
pub type Holding = (CustomerId, (Purpose, Channel, Consent));

/// A stored word that this version does not know: only a newer version can have written it.
fn unknown(column: &'static str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(format!("unknown value in {column}").into())
}

fn channel(name: &str) -> QueryResult<Channel> {
    Channel::parse(name).ok_or_else(|| unknown("channel"))
}

fn source(name: &str) -> QueryResult<Source> {
    Source::parse(name).ok_or_else(|| unknown("source"))
}

impl TryFrom<Row> for Holding {
    type Error = diesel::result::Error;

    fn try_from(row: Row) -> QueryResult<Self> {
        let consent = Consent {
            granted: row.granted,
            text_version: row.text_version.map(TextVersion::from_stored),
            locale: row.locale.map(Locale::from_stored),
            source: source(&row.source)?,
            number: row.number,
            at: row.decided_at,
        };
        let purpose = Purpose::from_stored(row.purpose);
        Ok((CustomerId(row.customer_id), (purpose, channel(&row.channel)?, consent)))
    }
}

/// One line of the ledger as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub number: i64,
    pub channel: Channel,
    pub granted: bool,
    pub text_version: Option<String>,
    pub locale: Option<String>,
    pub source: Source,
    pub reference: Option<String>,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub request_id: String,
    pub at: DateTime<Utc>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = consent_entries, check_for_backend(diesel::pg::Pg))]
struct EntryRow {
    number: i64,
    purpose: String,
    channel: String,
    granted: bool,
    text_version: Option<String>,
    locale: Option<String>,
    source: String,
    reference: Option<String>,
    actor_kind: String,
    actor_id: Option<String>,
    request_id: String,
    occurred_at: DateTime<Utc>,
}

impl TryFrom<EntryRow> for Record {
    type Error = diesel::result::Error;

    fn try_from(row: EntryRow) -> QueryResult<Self> {
        Ok(Self {
            number: row.number,
            channel: channel(&row.channel)?,
            granted: row.granted,
            text_version: row.text_version,
            locale: row.locale,
            source: source(&row.source)?,
            reference: row.reference,
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            request_id: row.request_id,
            at: row.occurred_at,
        })
    }
}

/// What holds for the customers.
///
/// # Errors
/// Those of the query.
pub async fn of_customers(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Vec<Holding>> {
    let rows: Vec<Row> = consents::table
        .filter(consents::customer_id.eq_any(ids))
        .select(Row::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// What holds for a living customer; `None` when there is none.
///
/// # Errors
/// Those of the queries.
pub async fn find(conn: &Connection, customer: CustomerId) -> QueryResult<Option<Consents>> {
    let ids = [customer.0];
    let (living, held) = try_join!(customers::find(conn, customer), of_customers(conn, &ids))?;
    let mut consents = Consents::default();
    for (_, (purpose, channel, consent)) in held {
        consents.put(purpose, channel, consent);
    }
    Ok(living.map(|_| consents))
}

/// What held for a living customer at an instant, by the ledger; `None` when there is no such
/// customer now.
///
/// # Errors
/// Those of the queries.
pub async fn find_at(
    conn: &Connection,
    customer: CustomerId,
    at: DateTime<Utc>,
) -> QueryResult<Option<Consents>> {
    let newest = consent_entries::table
        .filter(consent_entries::customer_id.eq(customer.0))
        .filter(consent_entries::occurred_at.le(at))
        .distinct_on((consent_entries::purpose, consent_entries::channel))
        .order((consent_entries::purpose, consent_entries::channel, consent_entries::number.desc()))
        .select(EntryRow::as_select());
    let newest = async {
        let mut own = conn;
        newest.load::<EntryRow>(&mut own).await
    };
    let (living, newest) = try_join!(customers::find(conn, customer), newest)?;
    let mut consents = Consents::default();
    for row in newest {
        let consent = Consent {
            granted: row.granted,
            text_version: row.text_version.map(TextVersion::from_stored),
            locale: row.locale.map(Locale::from_stored),
            source: source(&row.source)?,
            number: row.number,
            at: row.occurred_at,
        };
        consents.put(Purpose::from_stored(row.purpose), channel(&row.channel)?, consent);
    }
    Ok(living.map(|_| consents))
}

/// A page of a living customer's ledger of one purpose, newest first; `None` when there is no such
/// customer.
///
/// # Errors
/// Those of the queries.
pub async fn ledger(
    conn: &Connection,
    customer: CustomerId,
    purpose: &Purpose,
    before: Option<i64>,
    limit: i64,
) -> QueryResult<Option<Vec<Record>>> {
    let page = consent_entries::table
        .filter(consent_entries::customer_id.eq(customer.0))
        .filter(consent_entries::purpose.eq(purpose.as_str()))
        .filter(consent_entries::number.lt(before.unwrap_or(i64::MAX)))
        .order(consent_entries::number.desc())
        .limit(limit)
        .select(EntryRow::as_select());
    let page = async {
        let mut own = conn;
        page.load::<EntryRow>(&mut own).await
    };
    let (living, page) = try_join!(customers::find(conn, customer), page)?;
    let records = page.into_iter().map(Record::try_from).collect::<QueryResult<Vec<_>>>()?;
    Ok(living.map(|_| records))
}

impl InsertConsentEntries {
    pub fn push(&mut self, customer: CustomerId, entry: &Entry, context: &Context) {
        let (actor_kind, actor_id) = audit::actor(&context.actor);
        self.customer_id.push(customer.0);
        self.number.push(entry.number);
        self.purpose.push(entry.purpose.as_str().to_owned());
        self.channel.push(entry.channel.as_str().to_owned());
        self.granted.push(entry.granted);
        self.text_version.push(entry.text_version.as_ref().map(|v| v.as_str().to_owned()));
        self.locale.push(entry.locale.as_ref().map(|locale| locale.as_str().to_owned()));
        self.source.push(entry.source.as_str().to_owned());
        self.reference.push(entry.reference.as_ref().map(|r| r.as_str().to_owned()));
        self.actor_kind.push(actor_kind.to_owned());
        self.actor_id.push(actor_id);
        self.request_id.push(context.request_id.clone());
        self.occurred_at.push(entry.at);
    }
}

impl SaveConsents {
    pub fn push(
        &mut self,
        customer: CustomerId,
        purpose: &Purpose,
        channel: Channel,
        consent: &Consent,
    ) {
        self.customer_id.push(customer.0);
        self.purpose.push(purpose.as_str().to_owned());
        self.channel.push(channel.as_str().to_owned());
        self.granted.push(consent.granted);
        self.text_version.push(consent.text_version.as_ref().map(|v| v.as_str().to_owned()));
        self.locale.push(consent.locale.as_ref().map(|locale| locale.as_str().to_owned()));
        self.source.push(consent.source.as_str().to_owned());
        self.number.push(consent.number);
        self.decided_at.push(consent.at);
    }
}
