//! A customer as answers show it, and the parts that `?expand=` adds, read in one round trip.

use super::addresses::AddressView;
use super::conditional::etag;
use super::preferences::PreferencesView;
use super::problem::Problem;
use super::profile::ProfileView;
use super::query::Query;
use super::rejections::unexpected;
use super::services::{Services, note_replay};
use crate::actors::customers::Answered;
use crate::db;
use crate::db::whole::{Parts, Whole};
use crate::domain::CustomerId;
use crate::domain::customer::Customer;
use crate::domain::outcome::{Outcome, Rejection};
use actix_web::{HttpResponse, HttpResponseBuilder};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A customer.
#[derive(Serialize, ToSchema)]
#[schema(as = Customer)]
pub struct CustomerView {
    pub id: Uuid,
    #[schema(example = "anh@example.org")]
    pub email: String,
    pub email_verified: bool,
    /// E.164.
    #[schema(example = "+84912345678")]
    pub phone: Option<String>,
    pub phone_verified: bool,
    #[schema(example = "Thị Ánh")]
    pub first_name: String,
    #[schema(example = "Nguyễn")]
    pub last_name: String,
    /// `individual` or `business`.
    #[schema(example = "individual")]
    pub customer_type: &'static str,
    #[schema(example = "individual")]
    pub group: String,
    /// `pending`, `active`, `inactive`, `suspended`, `deletion_scheduled` or `erased`.
    #[schema(example = "active")]
    pub status: &'static str,
    pub tags: Vec<String>,
    pub accepts_marketing: bool,
    pub last_sign_in_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises with each change of the customer, its profile or its preferences; the `ETag`.
    pub version: i64,
    /// With `?expand=profile`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub profile: Option<ProfileView>,
    /// With `?expand=preferences`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub preferences: Option<PreferencesView>,
    /// With `?expand=addresses`: all of them, in the order of their creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    pub addresses: Option<Vec<AddressView>>,
}

impl From<Customer> for CustomerView {
    fn from(customer: Customer) -> CustomerView {
        CustomerView {
            id: customer.id.0,
            email: customer.email.as_str().to_owned(),
            email_verified: customer.email_verified_at.is_some(),
            phone: customer.phone.map(|phone| phone.as_str().to_owned()),
            phone_verified: customer.phone_verified_at.is_some(),
            first_name: customer.first_name.as_str().to_owned(),
            last_name: customer.last_name.as_str().to_owned(),
            customer_type: customer.customer_type.as_str(),
            group: customer.group.as_str().to_owned(),
            status: customer.status.as_str(),
            tags: customer.tags.as_slice().to_vec(),
            accepts_marketing: customer.accepts_marketing,
            last_sign_in_at: customer.last_sign_in_at,
            created_at: customer.created_at,
            updated_at: customer.updated_at,
            version: customer.version,
            profile: None,
            preferences: None,
            addresses: None,
        }
    }
}

impl From<Whole> for CustomerView {
    fn from(whole: Whole) -> CustomerView {
        let addresses = whole.addresses;
        CustomerView {
            profile: whole.profile.map(ProfileView::from),
            preferences: whole.preferences.map(PreferencesView::from),
            addresses: addresses.map(|all| all.into_iter().map(AddressView::from).collect()),
            ..whole.customer.into()
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Profile,
    Preferences,
    Addresses,
}

const PARTS: [(&str, Part); 3] = [
    ("profile", Part::Profile),
    ("preferences", Part::Preferences),
    ("addresses", Part::Addresses),
];

/// Reads from a query string which parts to add.
///
/// # Errors
/// 422 that names the parts there are.
pub fn expand(query: &str) -> Result<Parts, Problem> {
    let words = Query::read(query, |query| {
        Some(query.optional("expand", |raw| raw.words(&PARTS)).unwrap_or_default())
    })?;
    let mut parts = Parts::default();
    for word in words {
        match word {
            Part::Profile => parts.profile = true,
            Part::Preferences => parts.preferences = true,
            Part::Addresses => parts.addresses = true,
        }
    }
    Ok(parts)
}

/// The answer to a read of a customer. Never 304: the time of the last sign-in changes, as
/// addresses do, without a new version.
///
/// # Errors
/// 404 when there is no such living customer; those of the read.
pub async fn show(
    services: &Services,
    id: CustomerId,
    parts: Parts,
) -> Result<HttpResponse, Problem> {
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::whole::find(connection, id, parts).await })
    });
    let view = CustomerView::from(read.await?.ok_or(Rejection::NotFound)?);
    Ok(HttpResponse::Ok().insert_header(etag(view.version)).json(view))
}

/// The answer to a change of a customer, or to a creation with `HttpResponse::Created`.
///
/// # Errors
/// 500 when the command came to something else than a customer.
pub fn answer(
    mut response: HttpResponseBuilder,
    answered: Answered,
) -> Result<HttpResponse, Problem> {
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Customer(customer) => {
            response.insert_header(etag(customer.version));
            Ok(response.json(CustomerView::from(*customer)))
        }
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_named_between_commas() {
        let parts = |query: &str| expand(query).unwrap();
        assert_eq!(parts(""), Parts::default());
        let two = Parts { profile: true, addresses: true, ..Parts::default() };
        assert_eq!(parts("expand=profile,addresses"), two);
        assert_eq!(parts("expand=addresses%2Cprofile,profile"), two);
    }

    #[test]
    fn an_unknown_part_is_refused_with_those_there_are() {
        for query in ["expand=stats", "expand=", "expand=profile,", "expand=Profile"] {
            let problem = expand(query).unwrap_err();
            assert_eq!(problem.status(), 422, "{query}");
            assert_eq!(problem.errors()[0].parameter.as_deref(), Some("expand"));
            assert!(problem.errors()[0].detail.contains("profile, preferences, addresses"));
        }
        assert_eq!(expand("expnd=profile").unwrap_err().errors()[0].code, "unknown_parameter");
    }
}
