//! `/v1/me/preferences`: how a customer wants to be spoken to.

use super::body::JsonBody;
use super::conditional::{IfMatch, IfNoneMatch, etag};
use super::custom_values::{hide_unshown, keep_shown};
use super::field::{FieldFault, Patch};
use super::form::Form;
use super::principal::Owner;
use super::problem::Problem;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::{IfMatchParam, IfNoneMatchParam, custom, given, parsed, word};
use crate::actors::customers::Answered;
use crate::db;
use crate::domain::command::{Command, PreferencesChange};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::place::{Currency, Locale, TimeZone};
use crate::domain::preferences::{Channels, Preferences, Topics};
use actix_web::web::Data;
use actix_web::{HttpResponse, get, patch};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show).service(change_preferences);
}

/// How a customer wants to be spoken to.
#[derive(Serialize, ToSchema)]
#[schema(as = Preferences)]
pub struct PreferencesView {
    #[schema(example = "vi-VN")]
    pub locale: String,
    #[schema(example = "Asia/Ho_Chi_Minh")]
    pub timezone: String,
    #[schema(example = "VND")]
    pub currency: String,
    pub channels: ChannelsView,
    pub topics: Vec<String>,
    /// Custom attributes by key: texts, numbers, booleans and lists of texts, as their definitions
    /// say. A customer sees those that customers may read.
    pub custom: Map<String, Value>,
    /// Rises with each change of the preferences; their `ETag`.
    pub version: i64,
}

/// By which ways a customer may be contacted for what is not strictly necessary.
#[derive(Serialize, ToSchema)]
#[schema(as = Channels)]
pub struct ChannelsView {
    pub email: bool,
    pub sms: bool,
    pub push: bool,
}

impl From<Preferences> for PreferencesView {
    fn from(preferences: Preferences) -> PreferencesView {
        let Channels { email, sms, push } = preferences.channels;
        PreferencesView {
            locale: preferences.locale.as_str().to_owned(),
            timezone: preferences.timezone.as_str().to_owned(),
            currency: preferences.currency.as_str().to_owned(),
            channels: ChannelsView { email, sms, push },
            topics: preferences.topics.as_slice().to_vec(),
            custom: preferences.custom,
            version: preferences.version,
        }
    }
}

/// A change of the preferences.
#[derive(ToSchema)]
pub struct PreferencesPatch {
    #[schema(nullable = false, value_type = Option<String>, example = "vi-VN")]
    locale: Option<Locale>,
    #[schema(nullable = false, value_type = Option<String>, example = "Asia/Ho_Chi_Minh")]
    timezone: Option<TimeZone>,
    #[schema(nullable = false, value_type = Option<String>, example = "VND")]
    currency: Option<Currency>,
    #[schema(required = false)]
    channels: ChannelsPatch,
    /// Replaces all topics; `null` or an empty list clears them.
    #[schema(value_type = Option<Vec<String>>, max_items = 50, example = json!(["news", "sales"]))]
    topics: Option<Topics>,
    /// Merged key by key: a value sets an attribute as its definition says, `null` removes it. At
    /// most 64 are kept, of 16 KiB in all.
    #[schema(required = false, example = json!({"theme": "dark", "old": null}))]
    custom: Map<String, Value>,
}

/// A change of the channels; those that are left out stay.
#[derive(Default, ToSchema)]
pub struct ChannelsPatch {
    #[schema(nullable = false)]
    email: Option<bool>,
    #[schema(nullable = false)]
    sms: Option<bool>,
    #[schema(nullable = false)]
    push: Option<bool>,
}

impl ChannelsPatch {
    fn read(form: &mut Form<'_>) -> Option<ChannelsPatch> {
        Some(ChannelsPatch {
            email: given(form.patch_required("email", |raw| raw.boolean())),
            sms: given(form.patch_required("sms", |raw| raw.boolean())),
            push: given(form.patch_required("push", |raw| raw.boolean())),
        })
    }
}

impl PreferencesPatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<PreferencesPatch> {
        Some(PreferencesPatch {
            locale: given(form.patch_required("locale", |raw| parsed(raw, Locale::parse))),
            timezone: given(form.patch_required("timezone", |raw| parsed(raw, TimeZone::parse))),
            currency: given(form.patch_required("currency", |raw| parsed(raw, Currency::parse))),
            channels: channels(form),
            topics: topics(form),
            custom: custom(form),
        })
    }
}

fn channels(form: &mut Form<'_>) -> ChannelsPatch {
    match form.patch_object("channels", ChannelsPatch::read) {
        Patch::Set(channels) => channels,
        Patch::Keep => ChannelsPatch::default(),
        Patch::Clear => {
            form.refuse("channels", FieldFault::new("required", "Cannot be cleared."));
            ChannelsPatch::default()
        }
    }
}

fn topics(form: &mut Form<'_>) -> Option<Topics> {
    let words = match form.patch_list("topics", Topics::MAX, word) {
        Patch::Keep => return None,
        Patch::Clear => Vec::new(),
        Patch::Set(words) => words,
    };
    Topics::parse(&words).map_err(|fault| form.refuse("topics", fault.into())).ok()
}

impl From<PreferencesPatch> for PreferencesChange {
    fn from(patch: PreferencesPatch) -> PreferencesChange {
        PreferencesChange {
            locale: patch.locale,
            timezone: patch.timezone,
            currency: patch.currency,
            email: patch.channels.email,
            sms: patch.channels.sms,
            push: patch.channels.push,
            topics: patch.topics,
            custom: patch.custom,
        }
    }
}

/// My preferences.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(IfNoneMatchParam),
    responses((status = 200, body = PreferencesView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/me/preferences")]
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
                db::customers::preferences(connection, std::slice::from_ref(&id.0)),
                db::attributes::shown_to_customers(connection)
            )
        })
    });
    let (mut part, shown) = read.await?;
    let (_, mut preferences) = part.pop().ok_or(Rejection::NotFound)?;
    keep_shown(&mut preferences.custom, &shown);
    Ok(known.answer(preferences.version, &PreferencesView::from(preferences)))
}

/// Changes my preferences.
#[utoipa::path(
    tag = "me",
    security(("customer" = [])),
    params(IfMatchParam),
    request_body = PreferencesPatch,
    responses((status = 200, body = PreferencesView))
)]
#[patch("/v1/me/preferences")]
async fn change_preferences(
    owner: Owner,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = Box::new(body.read(PreferencesPatch::read)?.into());
    let command = Command::UpdatePreferences { change, if_match: on.version()? };
    let mut answered = services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    if let Outcome::Preferences(preferences) = &mut answered.outcome {
        hide_unshown(&services, &mut preferences.custom).await?;
    }
    answer(answered)
}

/// The answer to a change of preferences.
///
/// # Errors
/// 500 when the command came to something else.
pub(super) fn answer(answered: Answered) -> Result<HttpResponse, Problem> {
    match answered.outcome {
        Outcome::Preferences(preferences) => Ok(HttpResponse::Ok()
            .insert_header(etag(preferences.version))
            .json(PreferencesView::from(*preferences))),
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<PreferencesChange, Problem> {
        Form::read(&body, PreferencesPatch::read).map(PreferencesChange::from)
    }

    #[test]
    fn fields_that_are_left_out_stay() {
        let change = read(json!({"channels": {"sms": true}})).unwrap();
        assert_eq!((change.email, change.sms, change.push), (None, Some(true), None));
        assert!(change.locale.is_none() && change.topics.is_none() && change.custom.is_empty());
    }

    #[test]
    fn topics_are_replaced_sorted_and_cleared() {
        let topics = |body| read(body).unwrap().topics.map(|topics| topics.as_slice().to_vec());
        assert_eq!(topics(json!({"topics": ["b", " a ", "b"]})).unwrap(), ["a", "b"]);
        assert_eq!(topics(json!({"topics": null})), Some(vec![]));
        assert_eq!(topics(json!({})), None);
    }

    #[test]
    fn every_fault_has_its_place() {
        let body = json!({
            "locale": "english", "timezone": "Mars/Olympus", "currency": null,
            "channels": {"email": "yes", "fax": true}, "topics": ["ok", "", 7],
            "custom": {"A": 1},
        });
        let problem = read(body).err().unwrap();
        let told: Vec<_> = problem
            .errors()
            .iter()
            .map(|error| (error.pointer.as_deref().unwrap(), error.code))
            .collect();
        assert_eq!(
            told,
            [
                ("#/locale", "invalid_locale"),
                ("#/timezone", "unknown_timezone"),
                ("#/currency", "required"),
                ("#/channels/email", "wrong_type"),
                ("#/channels/fax", "unknown_field"),
                ("#/topics/1", "required"),
                ("#/topics/2", "wrong_type"),
                ("#/custom/A", "invalid_key"),
            ]
        );
    }
}
