//! `/v1/admin/attributes`: which custom attributes the shop keeps of its customers. Their values are
//! in `profile` and `preferences`.

use super::body::JsonBody;
use super::conditional::{IfMatch, IfNoneMatch, etag};
use super::field::{FieldFault, Raw};
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::{CustomersRead, CustomersWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{
    IdempotencyParam, IfMatchParam, IfNoneMatchParam, PageParams, change, given, parsed, word,
};
use crate::actors::customers::Answered;
use crate::db;
use crate::domain::attribute::{
    AttributeCommand, AttributeKey, Audience, CHOICES_MAX, Definition, DefinitionChange, Kind,
    Limits, LimitsChange, NewDefinition, Part, Rule, SUBJECT, access_fault, description,
};
use crate::domain::command::Command;
use crate::domain::ids::AttributeId;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::text::Label;
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, delete, get, patch, post};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(create).service(show).service(change_attribute).service(remove);
}

/// How a bound is written: as a value of the attribute's type is.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes a value that the domain reads")]
enum Bound {
    Number(f64),
    Text(String),
}

/// A custom attribute.
#[derive(Serialize, ToSchema)]
#[schema(as = Attribute)]
pub struct AttributeView {
    /// What requests, messages and conditions name it by; never another one.
    #[schema(example = "shoe_size")]
    pub key: String,
    /// Where the values are: `profile` or `preferences`, there in `custom`.
    #[schema(example = "profile")]
    pub part: &'static str,
    /// `text`, `integer`, `decimal`, `boolean`, `date`, `instant`, `choice` or `list`.
    #[schema(example = "integer")]
    pub r#type: &'static str,
    /// Of a text, in characters.
    pub min_length: Option<u32>,
    /// Of a text, or of each member of a list, in characters.
    pub max_length: Option<u32>,
    /// Of a number, date or instant, written as a value is; included.
    #[schema(value_type = Option<Bound>, inline, example = 15)]
    pub minimum: Option<Value>,
    #[schema(value_type = Option<Bound>, inline, example = 60)]
    pub maximum: Option<Value>,
    /// What a choice, or a member of a list, may be. Empty: a list of any texts.
    pub choices: Vec<String>,
    /// Of a list.
    pub max_items: Option<u32>,
    /// Who may write values: `customer` (and staff) or `staff` alone.
    #[schema(example = "customer")]
    pub write: &'static str,
    /// Who may read them: likewise.
    #[schema(example = "customer")]
    pub read: &'static str,
    #[schema(example = "Shoe size")]
    pub title: String,
    pub description: Option<String>,
    /// Whether `GET /v1/admin/customers` may ask for it.
    pub searchable: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises with each change; the `ETag`.
    pub version: i64,
}

impl From<Definition> for AttributeView {
    fn from(definition: Definition) -> AttributeView {
        let limits = definition.rule.limits().clone();
        AttributeView {
            key: definition.key.as_str().to_owned(),
            part: definition.part.as_str(),
            r#type: definition.rule.kind().as_str(),
            min_length: limits.min_length,
            max_length: limits.max_length,
            minimum: limits.minimum,
            maximum: limits.maximum,
            choices: limits.choices,
            max_items: limits.max_items,
            write: definition.write.as_str(),
            read: definition.read.as_str(),
            title: definition.title.as_str().to_owned(),
            description: definition.description,
            searchable: definition.searchable,
            created_at: definition.created_at,
            updated_at: definition.updated_at,
            version: definition.version,
        }
    }
}

/// What a new attribute is made from. Limits that the type does not know are refused.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the limits describe fields; they are read into `rule`")]
pub struct NewAttribute {
    /// 1 to 64 of `a-z`, `0-9` and `_`; one name over profile and preferences.
    #[schema(value_type = String, max_length = 64, example = "shoe_size")]
    key: AttributeKey,
    /// `profile`, which is the default, or `preferences`.
    #[schema(value_type = Option<String>, example = "profile")]
    part: Part,
    /// `text`, `integer`, `decimal`, `boolean`, `date`, `instant`, `choice` or `list`.
    #[schema(rename = "type", value_type = String, example = "integer")]
    rule: Rule,
    /// Of a text, in characters.
    #[schema(minimum = 1, maximum = 500)]
    min_length: Option<u32>,
    /// Of a text (500 by default), or of each member of a list (80), in characters.
    #[schema(minimum = 1, maximum = 500)]
    max_length: Option<u32>,
    /// Of a number, date or instant, written as a value is; included.
    #[schema(value_type = Option<Bound>, inline, example = 15)]
    minimum: Option<Value>,
    #[schema(value_type = Option<Bound>, inline, example = 60)]
    maximum: Option<Value>,
    /// What a choice, or a member of a list, may be.
    #[schema(max_items = 100)]
    choices: Option<Vec<String>>,
    /// Of a list; 50 by default.
    #[schema(minimum = 1, maximum = 50)]
    max_items: Option<u32>,
    /// Who may write values: `customer` (and staff), or `staff` alone, which is the default.
    #[schema(value_type = Option<String>, example = "customer")]
    write: Audience,
    /// Who may read them: likewise; by default those who may write.
    #[schema(value_type = Option<String>, example = "customer")]
    read: Audience,
    #[schema(value_type = String, max_length = 80, example = "Shoe size")]
    title: Label,
    #[schema(max_length = 500)]
    description: Option<String>,
    /// Whether `GET /v1/admin/customers` may ask for it.
    #[schema(value_type = Option<bool>, default = false)]
    searchable: bool,
}

impl NewAttribute {
    pub(super) fn read(form: &mut Form<'_>) -> Option<NewDefinition> {
        let key = form.required("key", |raw| parsed(raw, AttributeKey::parse));
        let part = form.optional("part", |raw| raw.one_of(&Part::ALL)).unwrap_or(Part::Profile);
        let kind = form.required("type", |raw| raw.one_of(&Kind::ALL));
        let limits = Limits {
            min_length: form.optional("min_length", length),
            max_length: form.optional("max_length", length),
            minimum: form.optional("minimum", bound),
            maximum: form.optional("maximum", bound),
            choices: form.optional_list("choices", CHOICES_MAX, word).unwrap_or_default(),
            max_items: form.optional("max_items", length),
        };
        let rule = kind.and_then(|kind| {
            let refuse = |(name, fault)| form.refuse(name, FieldFault::from(fault));
            Rule::new(kind, limits).map_err(|faults| faults.into_iter().for_each(refuse)).ok()
        });
        let write = form.optional("write", |raw| raw.one_of(&Audience::ALL));
        let write = write.unwrap_or(Audience::Staff);
        let read = form.optional("read", |raw| raw.one_of(&Audience::ALL)).unwrap_or(write);
        if let Some(fault) = access_fault(write, read) {
            form.refuse("write", fault.into());
        }
        let title = form.required("title", |raw| parsed(raw, Label::parse));
        let description = form.optional("description", |raw| parsed(raw, description));
        let searchable = form.optional("searchable", |raw| raw.boolean()).unwrap_or(false);
        Some(NewDefinition {
            key: key?,
            part,
            rule: rule?,
            write,
            read,
            title: title?,
            description,
            searchable,
        })
    }
}

fn length(raw: Raw<'_>) -> Result<u32, FieldFault> {
    let number = raw.bounded_integer(0, i64::from(u32::MAX))?;
    // What is sensible depends on the type and is the domain's to say.
    u32::try_from(number).map_err(|_| FieldFault::new("out_of_range", "Is too great."))
}

/// Which of the two it must be depends on the type.
fn bound(raw: Raw<'_>) -> Result<Value, FieldFault> {
    match raw.value() {
        Value::Number(number) => Ok(number.clone().into()),
        // dates and instants are shorter
        Value::String(_) => raw.bounded_text(1, 40).map(Into::into),
        _ => Err(FieldFault::wrong_type("a number or a text")),
    }
}

/// A change of an attribute; `null` lifts a limit. While customers hold values, the type stays and
/// no limit is narrowed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the fields; they are read into a `DefinitionChange`")]
pub struct AttributePatch {
    #[schema(nullable = false, value_type = Option<String>, example = "decimal")]
    r#type: Option<Kind>,
    #[schema(minimum = 1, maximum = 500)]
    min_length: Option<u32>,
    #[schema(minimum = 1, maximum = 500)]
    max_length: Option<u32>,
    #[schema(value_type = Option<Bound>, inline, example = 10)]
    minimum: Option<Value>,
    #[schema(value_type = Option<Bound>, inline, example = 70)]
    maximum: Option<Value>,
    /// Replaces all of them.
    #[schema(max_items = 100)]
    choices: Option<Vec<String>>,
    #[schema(minimum = 1, maximum = 50)]
    max_items: Option<u32>,
    #[schema(nullable = false, value_type = Option<String>, example = "staff")]
    write: Option<Audience>,
    #[schema(nullable = false, value_type = Option<String>, example = "customer")]
    read: Option<Audience>,
    #[schema(nullable = false, value_type = Option<String>, max_length = 80)]
    title: Option<Label>,
    #[schema(max_length = 500)]
    description: Option<String>,
    #[schema(nullable = false)]
    searchable: Option<bool>,
}

impl AttributePatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<DefinitionChange> {
        let kind = form.patch_required("type", |raw| raw.one_of(&Kind::ALL));
        let limits = LimitsChange {
            min_length: change(form.patch("min_length", length)),
            max_length: change(form.patch("max_length", length)),
            minimum: change(form.patch("minimum", bound)),
            maximum: change(form.patch("maximum", bound)),
            choices: change(form.patch_list("choices", CHOICES_MAX, word)),
            max_items: change(form.patch("max_items", length)),
        };
        let audience = |form: &mut Form<'_>, name| {
            given(form.patch_required(name, |raw| raw.one_of(&Audience::ALL)))
        };
        let (write, read) = (audience(form, "write"), audience(form, "read"));
        let title = form.patch_required("title", |raw| parsed(raw, Label::parse));
        let description = form.patch("description", |raw| parsed(raw, description));
        let searchable = form.patch_required("searchable", |raw| raw.boolean());
        Some(DefinitionChange {
            kind: given(kind),
            limits,
            write,
            read,
            title: given(title),
            description: change(description),
            searchable: given(searchable),
        })
    }
}

/// The custom attributes in the order of their keys.
#[utoipa::path(
    tag = "attributes",
    security(("staff" = ["customers:read"])),
    params(PageParams),
    responses((status = 200, body = Page<AttributeView>))
)]
#[get("/v1/admin/attributes")]
async fn list(
    _staff: Staff<CustomersRead>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<AttributeView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<String>::read(query, "attributes")
    })?;
    let (after, limit) = (page.after.clone(), page.fetch());
    let read = services.database.read(move |connection| {
        let after = after.clone();
        Box::pin(async move { db::attributes::page(connection, after.as_deref(), limit).await })
    });
    let position = |definition: &Definition| definition.key.as_str().to_owned();
    Ok(web::Json(page.page(read.await?, position, AttributeView::from)))
}

/// A new custom attribute. From then on customers can have values of it.
#[utoipa::path(
    tag = "attributes",
    security(("staff" = ["customers:write"])),
    params(IdempotencyParam),
    request_body = NewAttribute,
    responses(
        (status = 201, body = AttributeView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`attribute_exists`, `attribute_limit_reached`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/attributes")]
async fn create(
    staff: Staff<CustomersWrite>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let new = Box::new(body.read(NewAttribute::read)?);
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let location = format!("/v1/admin/attributes/{}", new.key.as_str());
    let id = AttributeId(services.clock.new_id());
    let command = Command::Attribute(AttributeCommand::Create { id, new });
    let answered = services.submit_about(SUBJECT, &staff, &identity, command, key).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location));
    answer(response, answered)
}

/// One custom attribute.
#[utoipa::path(
    tag = "attributes",
    security(("staff" = ["customers:read"])),
    params(("key" = String, Path), IfNoneMatchParam),
    responses((status = 200, body = AttributeView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/admin/attributes/{key}")]
async fn show(
    _staff: Staff<CustomersRead>,
    key: web::Path<String>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let key = named(&key)?;
    let read = services.database.read(move |connection| {
        let key = key.clone();
        Box::pin(async move { db::attributes::find(connection, key.as_str()).await })
    });
    let definition = read.await?.ok_or(Rejection::NotFound)?;
    Ok(known.answer(definition.version, &AttributeView::from(definition)))
}

/// Changes a custom attribute. While customers hold values, its type stays and no limit is narrowed:
/// no value that is kept is ever wrong. Key and part stay for good.
#[utoipa::path(
    tag = "attributes",
    security(("staff" = ["customers:write"])),
    params(("key" = String, Path), IfMatchParam),
    request_body = AttributePatch,
    responses(
        (status = 200, body = AttributeView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`attribute_in_use`")
    )
)]
#[patch("/v1/admin/attributes/{key}")]
async fn change_attribute(
    staff: Staff<CustomersWrite>,
    key: web::Path<String>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = Box::new(body.read(AttributePatch::read)?);
    let (key, if_match) = (named(&key)?, on.version()?);
    let command = AttributeCommand::Change { key, change, if_match };
    let command = Command::Attribute(command);
    let answered = services.submit_about(SUBJECT, &staff, &identity, command, None).await?;
    answer(HttpResponse::Ok(), answered)
}

/// Deletes a custom attribute of which no customer holds a value.
#[utoipa::path(
    tag = "attributes",
    security(("staff" = ["customers:write"])),
    params(("key" = String, Path), IfMatchParam),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`attribute_in_use`")
    )
)]
#[delete("/v1/admin/attributes/{key}")]
async fn remove(
    staff: Staff<CustomersWrite>,
    key: web::Path<String>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = AttributeCommand::Delete { key: named(&key)?, if_match: on.version()? };
    let command = Command::Attribute(command);
    services.submit_about(SUBJECT, &staff, &identity, command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The key in a path. What cannot be one names nothing: 404.
fn named(key: &str) -> Result<AttributeKey, Problem> {
    AttributeKey::parse(key).map_err(|_| Rejection::NotFound.into())
}

fn answer(mut response: HttpResponseBuilder, answered: Answered) -> Result<HttpResponse, Problem> {
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Attribute(definition) => {
            response.insert_header(etag(definition.version));
            Ok(response.json(AttributeView::from(*definition)))
        }
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::Change;
    use serde_json::json;

    fn told<T>(read: Result<T, Problem>) -> Vec<(String, &'static str)> {
        let problem = read.err().unwrap();
        let errors = problem.errors().iter();
        errors.map(|error| (error.pointer.clone().unwrap_or_default(), error.code)).collect()
    }

    fn pairs(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect()
    }

    fn create(body: Value) -> Result<NewDefinition, Problem> {
        Form::read(&body, NewAttribute::read)
    }

    #[test]
    fn what_is_not_said_is_staffs_own() {
        let new = create(json!({ "key": "score", "type": "integer", "title": "Score" })).unwrap();
        assert_eq!(
            (new.part, new.write, new.read),
            (Part::Profile, Audience::Staff, Audience::Staff)
        );
        assert!(!new.searchable && new.description.is_none());
        let body = json!({ "key": "a", "type": "text", "title": "A", "write": "customer" });
        assert_eq!(create(body).unwrap().read, Audience::Customer);
    }

    #[test]
    fn every_fault_of_a_new_attribute_is_told_at_once() {
        let body = json!({
            "key": "Shoe size", "part": "address", "type": "integer", "min_length": 1,
            "minimum": 9, "maximum": 3, "title": "", "description": "\u{1}", "write": "customer",
            "read": "staff", "searchable": 1, "pattern": ".*",
        });
        let expected = pairs(&[
            ("#/key", "invalid_key"),
            ("#/part", "unknown_value"),
            ("#/min_length", "not_applicable"),
            ("#/write", "conflicting"),
            ("#/title", "required"),
            ("#/description", "control_character"),
            ("#/searchable", "wrong_type"),
            ("#/pattern", "unknown_field"),
        ]);
        assert_eq!(told(create(body)), expected);
        let limits =
            json!({ "key": "a", "type": "integer", "title": "A", "minimum": 9, "maximum": 3 });
        assert_eq!(told(create(limits)), pairs(&[("#/minimum", "conflicting")]));
        let none = json!({ "key": "a", "type": "choice", "title": "A" });
        assert_eq!(told(create(none)), pairs(&[("#/choices", "required")]));
    }

    #[test]
    fn a_patch_keeps_lifts_and_sets() {
        let body = json!({ "minimum": null, "maximum": 9, "description": null, "title": "B" });
        let change = Form::read(&body, AttributePatch::read).unwrap();
        assert_eq!(change.limits.minimum, Change::Clear);
        assert_eq!(change.limits.maximum, Change::Set(json!(9)));
        assert_eq!(change.limits.max_length, Change::Keep);
        assert!(change.kind.is_none() && change.title.is_some());
        let fixed = json!({ "key": "b", "part": "profile", "type": null });
        let expected = pairs(&[
            ("#/type", "required"),
            ("#/key", "unknown_field"),
            ("#/part", "unknown_field"),
        ]);
        assert_eq!(told(Form::read(&fixed, AttributePatch::read)), expected);
    }
}
