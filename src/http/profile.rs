//! `/v1/me/profile`: what a customer may tell about itself beyond its name.

use super::body::JsonBody;
use super::conditional::{IfMatch, IfNoneMatch, etag};
use super::custom_values::{hide_unshown, keep_shown};
use super::form::Form;
use super::principal::Owner;
use super::problem::Problem;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::{IfMatchParam, IfNoneMatchParam, change, custom, parsed};
use crate::actors::customers::Answered;
use crate::db;
use crate::domain::command::{Change, Command, ProfileChange};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::profile::{self, Profile};
use crate::domain::text::Line;
use actix_web::web::Data;
use actix_web::{HttpResponse, get, patch};
use chrono::NaiveDate;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show).service(change_profile);
}

/// The optional particulars of a customer.
#[derive(Serialize, ToSchema)]
#[schema(as = Profile)]
pub struct ProfileView {
    pub date_of_birth: Option<NaiveDate>,
    /// In the person's own words.
    pub gender: Option<String>,
    pub avatar_url: Option<String>,
    pub company: Option<String>,
    pub tax_id: Option<String>,
    pub bio: Option<String>,
    /// Custom attributes by key: texts, numbers, booleans and lists of texts, as their definitions
    /// say. A customer sees those that customers may read.
    pub custom: Map<String, Value>,
    /// Rises with each change of the profile; its `ETag`.
    pub version: i64,
}

impl From<Profile> for ProfileView {
    fn from(profile: Profile) -> ProfileView {
        ProfileView {
            date_of_birth: profile.date_of_birth,
            gender: profile.gender,
            avatar_url: profile.avatar_url,
            company: profile.company.map(|company| company.as_str().to_owned()),
            tax_id: profile.tax_id,
            bio: profile.bio,
            custom: profile.custom,
            version: profile.version,
        }
    }
}

/// A change of the profile; `null` empties a field.
#[derive(ToSchema)]
pub struct ProfilePatch {
    #[schema(value_type = Option<NaiveDate>, example = "1990-02-28")]
    date_of_birth: Change<NaiveDate>,
    #[schema(value_type = Option<String>, max_length = 40)]
    gender: Change<String>,
    /// An `https` address.
    #[schema(value_type = Option<String>, max_length = 500, example = "https://cdn.example.org/a.png")]
    avatar_url: Change<String>,
    #[schema(value_type = Option<String>, max_length = 200)]
    company: Change<Line>,
    #[schema(value_type = Option<String>, max_length = 40)]
    tax_id: Change<String>,
    #[schema(value_type = Option<String>, max_length = 1000)]
    bio: Change<String>,
    /// Merged key by key: a value sets an attribute as its definition says, `null` removes it. At
    /// most 64 are kept, of 16 KiB in all.
    #[schema(required = false, example = json!({"shoe_size": 42, "vip": true, "old": null}))]
    custom: Map<String, Value>,
}

impl ProfilePatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<ProfilePatch> {
        Some(ProfilePatch {
            date_of_birth: change(form.patch("date_of_birth", |raw| parsed(raw, profile::date))),
            gender: change(form.patch("gender", |raw| parsed(raw, profile::gender))),
            avatar_url: change(form.patch("avatar_url", |raw| parsed(raw, profile::avatar_url))),
            company: change(form.patch("company", |raw| parsed(raw, Line::parse))),
            tax_id: change(form.patch("tax_id", |raw| parsed(raw, profile::tax_id))),
            bio: change(form.patch("bio", |raw| parsed(raw, profile::bio))),
            custom: custom(form),
        })
    }
}

impl From<ProfilePatch> for ProfileChange {
    fn from(patch: ProfilePatch) -> ProfileChange {
        ProfileChange {
            date_of_birth: patch.date_of_birth,
            gender: patch.gender,
            avatar_url: patch.avatar_url,
            company: patch.company,
            tax_id: patch.tax_id,
            bio: patch.bio,
            custom: patch.custom,
        }
    }
}

/// My profile.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(IfNoneMatchParam),
    responses((status = 200, body = ProfileView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/me/profile")]
async fn show(
    owner: Owner,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = owner.customer_id;
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let connection = &*connection;
            tokio::try_join!(
                db::customers::profiles(connection, std::slice::from_ref(&id.0)),
                db::attributes::shown_to_customers(connection)
            )
        })
    });
    let (mut part, shown) = read.await?;
    let (_, mut profile) = part.pop().ok_or(Rejection::NotFound)?;
    keep_shown(&mut profile.custom, &shown);
    Ok(known.answer(profile.version, &ProfileView::from(profile)))
}

/// Changes my profile.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(IfMatchParam),
    request_body = ProfilePatch,
    responses((status = 200, body = ProfileView))
)]
#[patch("/v1/me/profile")]
async fn change_profile(
    owner: Owner,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = Box::new(body.read(ProfilePatch::read)?.into());
    let command = Command::UpdateProfile { change, if_match: on.version()? };
    let mut answered = services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    if let Outcome::Profile(profile) = &mut answered.outcome {
        hide_unshown(&services, &mut profile.custom).await?;
    }
    answer(answered)
}

/// The answer to a change of a profile.
///
/// # Errors
/// 500 when the command came to something else.
pub(super) fn answer(answered: Answered) -> Result<HttpResponse, Problem> {
    match answered.outcome {
        Outcome::Profile(profile) => Ok(HttpResponse::Ok()
            .insert_header(etag(profile.version))
            .json(ProfileView::from(*profile))),
        other => Err(unexpected(&other)),
    }
}
