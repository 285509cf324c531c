//! Tables `customers`, `customer_profiles`, `customer_preferences` and `customer_identifiers`.

use super::Connection;
use super::customer_keys::{KeptKey, decode};
use super::schema::{
    customer_identifiers, customer_preferences, customer_profiles, customers, data_keys,
};
use super::statements::{
    DeleteCustomers, InsertCustomers, InsertPreferences, InsertProfiles, TouchCustomers,
    UpdateCustomers, UpdatePreferences, UpdateProfiles,
};
use crate::domain::CustomerId;
use crate::domain::customer::{Customer, CustomerType, GroupCode, Tags};
use crate::domain::email::EmailAddress;
use crate::domain::handle::{Handle, HandleKind};
use crate::domain::phone::PhoneNumber;
use crate::domain::place::{Currency, Locale, TimeZone};
use crate::domain::preferences::{Channels, Preferences, Topics};
use crate::domain::profile::Profile;
use crate::domain::status::Status;
use crate::domain::text::{Line, PersonName};
use crate::faults;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde_json::Value;
use uuid::Uuid;

#[derive(Queryable, Selectable)]
#[diesel(table_name = customers, check_for_backend(diesel::pg::Pg))]
pub(super) struct CustomerRow {
    id: Uuid,
    email: String,
    email_canonical: String,
    email_verified_at: Option<DateTime<Utc>>,
    phone: Option<String>,
    phone_verified_at: Option<DateTime<Utc>>,
    first_name: String,
    last_name: String,
    customer_type: String,
    group_code: String,
    status: String,
    status_before_deletion: Option<String>,
    tags: Vec<String>,
    accepts_marketing: bool,
    last_sign_in_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i64,
    sequence: i64,
}

/// A stored word that this version does not know: only a newer version can have written it.
fn unknown(column: &'static str) -> diesel::result::Error {
    diesel::result::Error::DeserializationError(format!("unknown value in {column}").into())
}

impl TryFrom<CustomerRow> for Customer {
    type Error = diesel::result::Error;

    fn try_from(row: CustomerRow) -> Result<Self, Self::Error> {
        let status = |text: &str| Status::parse(text).ok_or_else(|| unknown("customers.status"));
        Ok(Self {
            id: CustomerId(row.id),
            email: EmailAddress::from_stored(row.email, row.email_canonical),
            email_verified_at: row.email_verified_at,
            phone: row.phone.map(PhoneNumber::from_stored),
            phone_verified_at: row.phone_verified_at,
            first_name: PersonName::from_stored(row.first_name),
            last_name: PersonName::from_stored(row.last_name),
            customer_type: CustomerType::parse(&row.customer_type)
                .map_err(|_| unknown("customers.customer_type"))?,
            group: GroupCode::from_stored(row.group_code),
            status: status(&row.status)?,
            status_before_deletion: row
                .status_before_deletion
                .as_deref()
                .map(status)
                .transpose()?,
            tags: Tags::from_stored(row.tags),
            accepts_marketing: row.accepts_marketing,
            last_sign_in_at: row.last_sign_in_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
            sequence: row.sequence,
        })
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_profiles, check_for_backend(diesel::pg::Pg))]
struct ProfileRow {
    customer_id: Uuid,
    date_of_birth: Option<NaiveDate>,
    gender: Option<String>,
    avatar_url: Option<String>,
    company: Option<String>,
    tax_id: Option<String>,
    bio: Option<String>,
    custom: Value,
    version: i64,
}

impl From<ProfileRow> for (CustomerId, Profile) {
    fn from(row: ProfileRow) -> Self {
        let profile = Profile {
            date_of_birth: row.date_of_birth,
            gender: row.gender,
            avatar_url: row.avatar_url,
            company: row.company.map(Line::from_stored),
            tax_id: row.tax_id,
            bio: row.bio,
            custom: object(row.custom),
            version: row.version,
        };
        (CustomerId(row.customer_id), profile)
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = customer_preferences, check_for_backend(diesel::pg::Pg))]
struct PreferencesRow {
    customer_id: Uuid,
    locale: String,
    timezone: String,
    currency: String,
    channel_email: bool,
    channel_sms: bool,
    channel_push: bool,
    topics: Vec<String>,
    custom: Value,
    version: i64,
}

impl From<PreferencesRow> for (CustomerId, Preferences) {
    fn from(row: PreferencesRow) -> Self {
        let preferences = Preferences {
            locale: Locale::from_stored(row.locale),
            timezone: TimeZone::from_stored(row.timezone),
            currency: Currency::from_stored(row.currency),
            channels: Channels {
                email: row.channel_email,
                sms: row.channel_sms,
                push: row.channel_push,
            },
            topics: Topics::from_stored(row.topics),
            custom: object(row.custom),
            version: row.version,
        };
        (CustomerId(row.customer_id), preferences)
    }
}

/// The column's CHECK says that it is an object.
fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => serde_json::Map::new(),
    }
}

// --- the write path -------------------------------------------------------------------------

/// Loads and locks living customers, in the order of their ids, so that no two batches wait for
/// each other; each with its key, as it was when the lock was asked for: of one that came meanwhile
/// nothing is seen, and whoever makes another then is told when it is kept.
///
/// # Errors
/// Those of the query.
pub async fn lock_many(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(Customer, Option<KeptKey>)>> {
    // A step into the index for each, and no join: one that was planned while there were few keys would
    // read all of them. In one column, for that is one step.
    let key = data_keys::table
        .filter(data_keys::customer_id.eq(customers::id))
        .select(decode(data_keys::wrapped_by, "hex").concat(data_keys::wrapped))
        .single_value();
    let living = customers::table
        .filter(customers::id.eq_any(ids))
        .filter(customers::deleted_at.is_null())
        .order(customers::id)
        .select((CustomerRow::as_select(), key));
    let rows: Vec<(CustomerRow, Option<Vec<u8>>)> = match faults::no_row_locks() {
        true => living.load(&mut conn).await?,
        false => living.for_update().load(&mut conn).await?,
    };
    let customer = |(row, key): (CustomerRow, Option<Vec<u8>>)| {
        Ok((row.try_into()?, key.and_then(KeptKey::from_packed)))
    };
    rows.into_iter().map(customer).collect()
}

/// Locks the living ones of these customers, in the order of their ids, and answers with the number of each
/// one's latest message: for who changes nothing else of a customer.
///
/// # Errors
/// Those of the query; a lock that could not be had in time.
pub async fn lock_sequences(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Vec<(Uuid, i64)>> {
    let living = customers::table
        .filter(customers::id.eq_any(ids))
        .filter(customers::deleted_at.is_null())
        .order(customers::id)
        .select((customers::id, customers::sequence));
    match faults::no_row_locks() {
        true => living.load(&mut conn).await,
        false => living.for_update().load(&mut conn).await,
    }
}

/// Loads and locks those of these customers that were deleted, in the order of their ids.
///
/// # Errors
/// Those of the query.
pub async fn lock_departed(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Vec<Customer>> {
    let departed = customers::table
        .filter(customers::id.eq_any(ids))
        .filter(customers::deleted_at.is_not_null())
        .order(customers::id)
        .select(CustomerRow::as_select());
    let rows: Vec<CustomerRow> = departed.for_update().load(&mut conn).await?;
    rows.into_iter().map(Customer::try_from).collect()
}

/// # Errors
/// Those of the query.
pub async fn profiles(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Profile)>> {
    let rows: Vec<ProfileRow> = customer_profiles::table
        .filter(customer_profiles::customer_id.eq_any(ids))
        .select(ProfileRow::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

/// # Errors
/// Those of the query.
pub async fn preferences(
    mut conn: &Connection,
    ids: &[Uuid],
) -> QueryResult<Vec<(CustomerId, Preferences)>> {
    let rows: Vec<PreferencesRow> = customer_preferences::table
        .filter(customer_preferences::customer_id.eq_any(ids))
        .select(PreferencesRow::as_select())
        .load(&mut conn)
        .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}

fn strings(list: &[String]) -> Value {
    Value::Array(list.iter().cloned().map(Value::String).collect())
}

impl InsertCustomers {
    pub fn push(&mut self, customer: &Customer) {
        self.id.push(customer.id.0);
        self.email.push(customer.email.as_str().to_owned());
        self.email_canonical.push(customer.email.canonical().to_owned());
        self.email_verified_at.push(customer.email_verified_at);
        self.phone.push(customer.phone.as_ref().map(|phone| phone.as_str().to_owned()));
        self.phone_verified_at.push(customer.phone_verified_at);
        self.first_name.push(customer.first_name.as_str().to_owned());
        self.last_name.push(customer.last_name.as_str().to_owned());
        self.customer_type.push(customer.customer_type.as_str().to_owned());
        self.group_code.push(customer.group.as_str().to_owned());
        self.status.push(customer.status.as_str().to_owned());
        self.status_before_deletion
            .push(customer.status_before_deletion.map(|s| s.as_str().to_owned()));
        self.tags.push(strings(customer.tags.as_slice()));
        self.accepts_marketing.push(customer.accepts_marketing);
        self.last_sign_in_at.push(customer.last_sign_in_at);
        self.created_at.push(customer.created_at);
        self.updated_at.push(customer.updated_at);
        self.version.push(customer.version);
        self.sequence.push(customer.sequence);
    }
}

impl UpdateCustomers {
    pub fn push(&mut self, customer: &Customer) {
        self.id.push(customer.id.0);
        self.email.push(customer.email.as_str().to_owned());
        self.email_canonical.push(customer.email.canonical().to_owned());
        self.email_verified_at.push(customer.email_verified_at);
        self.phone.push(customer.phone.as_ref().map(|phone| phone.as_str().to_owned()));
        self.phone_verified_at.push(customer.phone_verified_at);
        self.first_name.push(customer.first_name.as_str().to_owned());
        self.last_name.push(customer.last_name.as_str().to_owned());
        self.customer_type.push(customer.customer_type.as_str().to_owned());
        self.group_code.push(customer.group.as_str().to_owned());
        self.status.push(customer.status.as_str().to_owned());
        self.status_before_deletion
            .push(customer.status_before_deletion.map(|s| s.as_str().to_owned()));
        self.tags.push(strings(customer.tags.as_slice()));
        self.accepts_marketing.push(customer.accepts_marketing);
        self.last_sign_in_at.push(customer.last_sign_in_at);
        self.updated_at.push(customer.updated_at);
        self.version.push(customer.version);
        self.sequence.push(customer.sequence);
    }
}

impl TouchCustomers {
    /// Whether `after` differs from `before` in nothing but what this statement writes.
    pub fn suffices(before: &Customer, after: &Customer) -> bool {
        let touched = Customer {
            last_sign_in_at: after.last_sign_in_at,
            updated_at: after.updated_at,
            version: after.version,
            sequence: after.sequence,
            ..before.clone()
        };
        touched == *after
    }

    pub fn push(&mut self, customer: &Customer) {
        self.id.push(customer.id.0);
        self.last_sign_in_at.push(customer.last_sign_in_at);
        self.updated_at.push(customer.updated_at);
        self.version.push(customer.version);
        self.sequence.push(customer.sequence);
    }
}

impl DeleteCustomers {
    /// `customer` as it was deleted: its last change is that.
    pub fn push(&mut self, customer: &Customer) {
        self.id.push(customer.id.0);
        self.deleted_at.push(customer.updated_at);
        self.version.push(customer.version);
        self.sequence.push(customer.sequence);
    }
}

macro_rules! push_profile {
    ($($statement:ident),+) => {$(
        impl $statement {
            pub fn push(&mut self, id: CustomerId, profile: &Profile) {
                self.customer_id.push(id.0);
                self.date_of_birth.push(profile.date_of_birth);
                self.gender.push(profile.gender.clone());
                self.avatar_url.push(profile.avatar_url.clone());
                self.company.push(profile.company.as_ref().map(|line| line.as_str().to_owned()));
                self.tax_id.push(profile.tax_id.clone());
                self.bio.push(profile.bio.clone());
                self.custom.push(Value::Object(profile.custom.clone()));
                self.version.push(profile.version);
            }
        }
    )+};
}
push_profile!(InsertProfiles, UpdateProfiles);

macro_rules! push_preferences {
    ($($statement:ident),+) => {$(
        impl $statement {
            pub fn push(&mut self, id: CustomerId, preferences: &Preferences) {
                self.customer_id.push(id.0);
                self.locale.push(preferences.locale.as_str().to_owned());
                self.timezone.push(preferences.timezone.as_str().to_owned());
                self.currency.push(preferences.currency.as_str().to_owned());
                self.channel_email.push(preferences.channels.email);
                self.channel_sms.push(preferences.channels.sms);
                self.channel_push.push(preferences.channels.push);
                self.topics.push(strings(preferences.topics.as_slice()));
                self.custom.push(Value::Object(preferences.custom.clone()));
                self.version.push(preferences.version);
            }
        }
    )+};
}
push_preferences!(InsertPreferences, UpdatePreferences);

// --- reads ----------------------------------------------------------------------------------

/// One living customer.
///
/// # Errors
/// Those of the query.
pub async fn find(mut conn: &Connection, id: CustomerId) -> QueryResult<Option<Customer>> {
    let row: Option<CustomerRow> = customers::table
        .filter(customers::id.eq(id.0))
        .filter(customers::deleted_at.is_null())
        .select(CustomerRow::as_select())
        .first(&mut conn)
        .await
        .optional()?;
    row.map(Customer::try_from).transpose()
}

/// Those of these customers that live.
///
/// # Errors
/// Those of the query.
pub async fn find_all(mut conn: &Connection, ids: &[Uuid]) -> QueryResult<Vec<Customer>> {
    let rows: Vec<CustomerRow> = customers::table
        .filter(customers::id.eq_any(ids))
        .filter(customers::deleted_at.is_null())
        .select(CustomerRow::as_select())
        .load(&mut conn)
        .await?;
    rows.into_iter().map(Customer::try_from).collect()
}

/// Whether there is such a living customer: for reads of its parts, whose rows outlive it.
///
/// # Errors
/// Those of the query.
pub async fn lives(mut conn: &Connection, id: CustomerId) -> QueryResult<bool> {
    let living = customers::table.find(id.0).filter(customers::deleted_at.is_null());
    diesel::select(diesel::dsl::exists(living)).get_result(&mut conn).await
}

/// Whether there is such a customer, or was: for what outlives it.
///
/// # Errors
/// Those of the query.
pub async fn is_known(mut conn: &Connection, id: CustomerId) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(customers::table.find(id.0))).get_result(&mut conn).await
}

/// Who owns a canonical e-mail address, and how its owner wishes to be written to.
///
/// # Errors
/// Those of the query.
pub async fn owner_of_email(conn: &Connection, canonical: &str) -> QueryResult<Option<CustomerId>> {
    let handle = Handle { kind: HandleKind::Email, value: canonical.to_owned() };
    super::handles::owner(conn, &handle).await
}

/// What verifying a password needs: whose it is, and its hash.
pub struct Credential {
    pub customer_id: CustomerId,
    /// `None` for who never set a password.
    pub password_hash: Option<String>,
}

/// The credential behind an identifier (`email` canonical, or `phone` in E.164 and verified).
///
/// # Errors
/// Those of the query.
pub async fn credential(
    mut conn: &Connection,
    kind: &str,
    value: &str,
) -> QueryResult<Option<Credential>> {
    use super::schema::passwords;
    let found: Option<(Uuid, Option<String>)> = customer_identifiers::table
        .left_join(
            passwords::table.on(passwords::customer_id.eq(customer_identifiers::customer_id)),
        )
        .filter(customer_identifiers::kind.eq(kind))
        .filter(customer_identifiers::value.eq(value))
        .filter(customer_identifiers::held_until.is_null())
        .select((customer_identifiers::customer_id, passwords::hash.nullable()))
        .first(&mut conn)
        .await
        .optional()?;
    Ok(found.map(|(id, password_hash)| Credential { customer_id: CustomerId(id), password_hash }))
}
