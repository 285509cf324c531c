//! `/v1/me/addresses`: the address book (rules D1, D2).

use super::body::JsonBody;
use super::conditional::{IfMatch, IfNoneMatch, etag};
use super::form::Form;
use super::idempotency::IdempotencyHeader;
use super::pages::{Page, PageRequest};
use super::principal::Owner;
use super::problem::Problem;
use super::query::Query;
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Services, note_replay};
use super::values::{
    IdempotencyParam, IfMatchParam, IfNoneMatchParam, PageParams, PathId, change, given, parsed,
};
use crate::actors::customers::Answered;
use crate::config::CustomersConfig;
use crate::db;
use crate::domain::AddressId;
use crate::domain::address::{Address, AddressFields, AddressKind, AddressLimits};
use crate::domain::command::{AddressChange, Change, Command};
use crate::domain::fault::Fault;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::phone::{PHONE_MAX, PhoneNumber};
use crate::domain::place::Country;
use crate::domain::postal_code;
use crate::domain::region::{self, RegionCode};
use crate::domain::text::{Label, Line, line};
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, delete, get, patch, post, put};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(create).service(show).service(change_address).service(remove);
    cfg.service(set_default);
}

/// An address.
#[derive(Serialize, ToSchema)]
#[schema(as = Address)]
pub struct AddressView {
    pub id: Uuid,
    /// The owner's name for it.
    #[schema(example = "home")]
    pub label: Option<String>,
    #[schema(example = "Nguyễn Thị Ánh")]
    pub recipient: String,
    pub company: Option<String>,
    #[schema(example = "12 Lê Lợi")]
    pub line1: String,
    pub line2: Option<String>,
    #[schema(example = "Thành phố Hồ Chí Minh")]
    pub city: String,
    /// As its owner wrote it.
    #[schema(example = "TP. Hồ Chí Minh")]
    pub region: Option<String>,
    /// What that is by ISO 3166-2; empty where it is none that is known.
    #[schema(example = "VN-SG")]
    pub region_code: Option<String>,
    /// In the one spelling of its country.
    #[schema(example = "700000")]
    pub postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(example = "VN")]
    pub country: String,
    /// E.164.
    pub phone: Option<String>,
    pub default_shipping: bool,
    pub default_billing: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Rises with each change, the defaults included; the `ETag`.
    pub version: i64,
}

impl From<Address> for AddressView {
    fn from(address: Address) -> AddressView {
        let text = |line: Option<Line>| line.map(|line| line.as_str().to_owned());
        let fields = address.fields;
        AddressView {
            id: address.id.0,
            label: fields.label.map(|label| label.as_str().to_owned()),
            recipient: fields.recipient.as_str().to_owned(),
            company: text(fields.company),
            line1: fields.line1.as_str().to_owned(),
            line2: text(fields.line2),
            city: fields.city.as_str().to_owned(),
            region: text(fields.region),
            region_code: fields.region_code.map(|code| code.as_str().to_owned()),
            postal_code: fields.postal_code,
            country: fields.country.as_str().to_owned(),
            phone: fields.phone.map(|phone| phone.as_str().to_owned()),
            default_shipping: address.default_shipping,
            default_billing: address.default_billing,
            created_at: address.created_at,
            updated_at: address.updated_at,
            version: address.version,
        }
    }
}

/// What a new address is made from.
#[derive(ToSchema)]
pub struct NewAddress {
    /// The owner's name for it.
    #[schema(value_type = Option<String>, max_length = 80, example = "home")]
    label: Option<Label>,
    #[schema(value_type = String, max_length = 200, example = "Nguyễn Thị Ánh")]
    recipient: Line,
    #[schema(value_type = Option<String>, max_length = 200)]
    company: Option<Line>,
    #[schema(value_type = String, max_length = 200, example = "12 Lê Lợi")]
    line1: Line,
    #[schema(value_type = Option<String>, max_length = 200)]
    line2: Option<Line>,
    #[schema(value_type = String, max_length = 200, example = "Thành phố Hồ Chí Minh")]
    city: Line,
    /// By its name or its code of ISO 3166-2. Where the country's post requires one of a list, an
    /// unknown one is refused; elsewhere it is kept as written. See `/v1/countries/{country}`.
    #[schema(value_type = Option<String>, max_length = 200, example = "TP. Hồ Chí Minh")]
    region: Option<(Line, Option<RegionCode>)>,
    /// In the format of its country, where that has one; kept in its one spelling.
    #[schema(max_length = 16, example = "700000")]
    postal_code: Option<String>,
    /// ISO 3166-1 alpha-2.
    #[schema(value_type = String, example = "VN")]
    country: Country,
    /// With country code, or as it is dialled in the address's country; kept in E.164.
    #[schema(value_type = Option<String>, example = "+84 912 345 678")]
    phone: Option<PhoneNumber>,
    /// `true` makes it the default; the first address becomes both defaults anyway.
    default_shipping: Option<bool>,
    /// As `default_shipping`.
    default_billing: Option<bool>,
}

impl NewAddress {
    pub(super) fn read(form: &mut Form<'_>) -> Option<NewAddress> {
        let label = form.optional("label", |raw| parsed(raw, Label::parse));
        let recipient = form.required("recipient", |raw| parsed(raw, Line::parse));
        let company = form.optional("company", |raw| parsed(raw, Line::parse));
        let line1 = form.required("line1", |raw| parsed(raw, Line::parse));
        let line2 = form.optional("line2", |raw| parsed(raw, Line::parse));
        let city = form.required("city", |raw| parsed(raw, Line::parse));
        let country = form.required("country", |raw| parsed(raw, Country::parse));
        let region = form.optional("region", |raw| match &country {
            Some(country) => parsed(raw, |text| region::resolve(Line::parse(text)?, country)),
            None => parsed(raw, |text| Ok((Line::parse(text)?, None))),
        });
        let postal_code = form.optional("postal_code", |raw| match &country {
            Some(country) => parsed(raw, |text| postal_code::parse(text, country)),
            None => parsed(raw, |text| line(text, postal_code::MAX)),
        });
        let phone = form.optional("phone", |raw| match &country {
            Some(country) => parsed(raw, |text| PhoneNumber::parse_in(text, country)),
            None => parsed(raw, PhoneNumber::parse),
        });
        let default_shipping = form.optional("default_shipping", |raw| raw.boolean());
        let default_billing = form.optional("default_billing", |raw| raw.boolean());
        Some(NewAddress {
            label,
            recipient: recipient?,
            company,
            line1: line1?,
            line2,
            city: city?,
            region,
            postal_code,
            country: country?,
            phone,
            default_shipping,
            default_billing,
        })
    }

    /// Adds it to a book.
    pub(super) fn into_command(self, id: AddressId, config: &CustomersConfig) -> Command {
        Command::AddAddress {
            id,
            defaults: self.defaults(),
            fields: Box::new(self.into()),
            limits: limits(config),
        }
    }

    /// The kinds it is to be the default of.
    fn defaults(&self) -> Vec<AddressKind> {
        let wishes = [
            (AddressKind::Shipping, self.default_shipping),
            (AddressKind::Billing, self.default_billing),
        ];
        wishes.into_iter().filter(|(_, wish)| *wish == Some(true)).map(|(kind, _)| kind).collect()
    }
}

/// How many addresses a book may have.
fn limits(config: &CustomersConfig) -> AddressLimits {
    let (individual, business) = config.address_limits();
    AddressLimits { individual, business }
}

impl From<NewAddress> for AddressFields {
    fn from(new: NewAddress) -> AddressFields {
        let (region, region_code) =
            new.region.map_or((None, None), |(kept, code)| (Some(kept), code));
        AddressFields {
            label: new.label,
            recipient: new.recipient,
            company: new.company,
            line1: new.line1,
            line2: new.line2,
            city: new.city,
            region,
            region_code,
            postal_code: new.postal_code,
            country: new.country,
            phone: new.phone,
        }
    }
}

/// A change of an address; `null` empties an optional field.
#[derive(ToSchema)]
pub struct AddressPatch {
    #[schema(value_type = Option<String>, max_length = 80)]
    label: Change<Label>,
    #[schema(nullable = false, value_type = Option<String>, max_length = 200)]
    recipient: Option<Line>,
    #[schema(value_type = Option<String>, max_length = 200)]
    company: Change<Line>,
    #[schema(nullable = false, value_type = Option<String>, max_length = 200)]
    line1: Option<Line>,
    #[schema(value_type = Option<String>, max_length = 200)]
    line2: Change<Line>,
    #[schema(nullable = false, value_type = Option<String>, max_length = 200)]
    city: Option<Line>,
    /// Of the country that the address then has, as for a new address.
    #[schema(value_type = Option<String>, max_length = 200)]
    region: Change<Line>,
    /// In the format of the country that the address then has.
    #[schema(value_type = Option<String>, max_length = 16)]
    postal_code: Change<String>,
    #[schema(nullable = false, value_type = Option<String>, example = "VN")]
    country: Option<Country>,
    /// With country code, or as it is dialled in the country that the address then has.
    #[schema(value_type = Option<String>)]
    phone: Change<String>,
    /// `true` makes it the default. A default is handed over, never given up: `false` is refused
    /// on the address that holds it.
    #[schema(nullable = false)]
    default_shipping: Option<bool>,
    /// As `default_shipping`.
    #[schema(nullable = false)]
    default_billing: Option<bool>,
}

impl AddressPatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<AddressPatch> {
        let label = change(form.patch("label", |raw| parsed(raw, Label::parse)));
        let recipient = given(form.patch_required("recipient", |raw| parsed(raw, Line::parse)));
        let company = change(form.patch("company", |raw| parsed(raw, Line::parse)));
        let line1 = given(form.patch_required("line1", |raw| parsed(raw, Line::parse)));
        let line2 = change(form.patch("line2", |raw| parsed(raw, Line::parse)));
        let city = given(form.patch_required("city", |raw| parsed(raw, Line::parse)));
        // Without a country, the one that the rest goes with is known under the row lock only.
        let country = given(form.patch_required("country", |raw| parsed(raw, Country::parse)));
        let region = change(form.patch("region", |raw| match &country {
            Some(country) => parsed(raw, |text| {
                region::resolve(Line::parse(text)?, country).map(|(kept, _)| kept)
            }),
            None => parsed(raw, Line::parse),
        }));
        let postal_code = change(form.patch("postal_code", |raw| match &country {
            Some(country) => parsed(raw, |text| postal_code::parse(text, country)),
            None => parsed(raw, |text| line(text, postal_code::MAX)),
        }));
        let phone = change(form.patch("phone", |raw| parsed(raw, |text| phone(text, &country))));
        let default_shipping = form.patch_required("default_shipping", |raw| raw.boolean());
        let default_billing = form.patch_required("default_billing", |raw| raw.boolean());
        Some(AddressPatch {
            label,
            recipient,
            company,
            line1,
            line2,
            city,
            region,
            postal_code,
            country,
            phone,
            default_shipping: given(default_shipping),
            default_billing: given(default_billing),
        })
    }
}

/// A number that is a valid one, or may be one of a country that is not known yet.
fn phone(raw: &str, country: &Option<Country>) -> Result<String, Fault> {
    let known = match country {
        Some(country) => PhoneNumber::parse_in(raw, country)?,
        None if raw.trim().starts_with('+') => PhoneNumber::parse(raw)?,
        None => return line(raw, PHONE_MAX),
    };
    Ok(known.as_str().to_owned())
}

impl From<AddressPatch> for AddressChange {
    fn from(patch: AddressPatch) -> AddressChange {
        AddressChange {
            label: patch.label,
            recipient: patch.recipient,
            company: patch.company,
            line1: patch.line1,
            line2: patch.line2,
            city: patch.city,
            region: patch.region,
            postal_code: patch.postal_code,
            country: patch.country,
            phone: patch.phone,
            default_shipping: patch.default_shipping,
            default_billing: patch.default_billing,
        }
    }
}

/// What an address is to be the default of.
#[derive(ToSchema)]
pub struct DefaultKind {
    /// `shipping` or `billing`.
    #[schema(value_type = String, example = "shipping")]
    pub(super) kind: AddressKind,
}

impl DefaultKind {
    pub(super) fn read(form: &mut Form<'_>) -> Option<DefaultKind> {
        let kind = form.required("kind", |raw| parsed(raw, AddressKind::parse));
        Some(DefaultKind { kind: kind? })
    }
}

/// My addresses, in the order of their creation.
#[utoipa::path(
    tag = "addresses",
    security(("customer" = [])),
    params(PageParams),
    responses((status = 200, body = Page<AddressView>))
)]
#[get("/v1/me/addresses")]
async fn list(
    owner: Owner,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<AddressView>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<Uuid>::read(query, "addresses"))?;
    let (id, after, limit) = (owner.customer_id, page.after, page.fetch());
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::addresses::list(connection, id, after, limit).await })
    });
    Ok(web::Json(page.page(read.await?, |address| address.id.0, AddressView::from)))
}

/// Adds an address. The first one becomes both defaults.
#[utoipa::path(
    tag = "addresses",
    security(("customer" = [])),
    params(IdempotencyParam),
    request_body = NewAddress,
    responses(
        (status = 201, body = AddressView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = super::problem::ProblemDocument, content_type = "application/problem+json",
            description = "`address_limit_reached`, `account_frozen`, `idempotency_in_progress`")
    )
)]
#[post("/v1/me/addresses")]
async fn create(
    owner: Owner,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let new = body.read(NewAddress::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let id = AddressId(services.clock.new_id());
    let command = new.into_command(id, &services.config.customers);
    let answered = services.submit(&owner, &identity, owner.customer_id, command, key).await?;
    let mut response = HttpResponse::Created();
    if let Outcome::Address(address) = &answered.outcome {
        let location = format!("/v1/me/addresses/{}", address.id);
        response.insert_header((header::LOCATION, location));
    }
    answer(response, answered)
}

/// One of my addresses.
#[utoipa::path(
    tag = "addresses",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = AddressView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/me/addresses/{id}")]
async fn show(
    owner: Owner,
    id: web::Path<PathId>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (customer, id) = (owner.customer_id, AddressId(id.0));
    let read = services.database.read(move |connection| {
        Box::pin(async move { db::addresses::find(connection, customer, id).await })
    });
    let address = read.await?.ok_or(Rejection::NotFound)?;
    Ok(known.answer(address.version, &AddressView::from(address)))
}

/// Changes one of my addresses.
#[utoipa::path(
    tag = "addresses",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = AddressPatch,
    responses((status = 200, body = AddressView))
)]
#[patch("/v1/me/addresses/{id}")]
async fn change_address(
    owner: Owner,
    id: web::Path<PathId>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = Box::new(body.read(AddressPatch::read)?.into());
    let command = Command::ChangeAddress { id: AddressId(id.0), change, if_match: on.version()? };
    let answered = services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    answer(HttpResponse::Ok(), answered)
}

/// Deletes one of my addresses. Its defaults go to the most recently used other one.
#[utoipa::path(
    tag = "addresses",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfMatchParam),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = super::problem::ProblemDocument, content_type = "application/problem+json",
            description = "`last_address`, `account_frozen`")
    )
)]
#[delete("/v1/me/addresses/{id}")]
async fn remove(
    owner: Owner,
    id: web::Path<PathId>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = Command::DeleteAddress { id: AddressId(id.0), if_match: on.version()? };
    services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Makes one of my addresses the default of a kind.
#[utoipa::path(
    tag = "addresses",
    security(("customer" = [])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = DefaultKind,
    responses((status = 200, body = AddressView))
)]
#[put("/v1/me/addresses/{id}/default")]
async fn set_default(
    owner: Owner,
    id: web::Path<PathId>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let kind = body.read(DefaultKind::read)?.kind;
    let command = Command::SetDefaultAddress { id: AddressId(id.0), kind, if_match: on.version()? };
    let answered = services.submit(&owner, &identity, owner.customer_id, command, None).await?;
    answer(HttpResponse::Ok(), answered)
}

pub(super) fn answer(
    mut response: HttpResponseBuilder,
    answered: Answered,
) -> Result<HttpResponse, Problem> {
    note_replay(&mut response, &answered);
    match answered.outcome {
        Outcome::Address(address) => {
            response.insert_header(etag(address.version));
            Ok(response.json(AddressView::from(*address)))
        }
        other => Err(unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told<T>(read: Result<T, Problem>) -> Vec<(String, &'static str)> {
        let problem = read.err().unwrap();
        let told = |error: &super::super::problem::FieldError| {
            (error.pointer.clone().unwrap_or_default(), error.code)
        };
        problem.errors().iter().map(told).collect()
    }

    fn pairs(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect()
    }

    fn full() -> Value {
        json!({
            "label": "home", "recipient": "Nguyễn  Thị Ánh", "company": null, "line1": "12 Lê Lợi",
            "city": "Thành phố Hồ Chí Minh", "postal_code": "700000", "country": "vn",
            "phone": "+84 912 345 678", "default_shipping": true, "default_billing": false,
        })
    }

    #[test]
    fn d2_values_are_parsed_once() {
        let body = full();
        let new = Form::read(&body, NewAddress::read).unwrap();
        assert_eq!(new.defaults(), [AddressKind::Shipping]);
        let fields = AddressFields::from(new);
        assert_eq!(fields.recipient.as_str(), "Nguyễn Thị Ánh");
        assert_eq!(fields.country.as_str(), "VN");
        assert_eq!(fields.phone.unwrap().as_str(), "+84912345678");
    }

    #[test]
    fn d2_every_fault_of_a_new_address_is_told_at_once() {
        let body = json!({
            "recipient": "", "line1": "x".repeat(201), "city": "a\u{0}b", "country": "DE",
            "postal_code": "ABC", "phone": "0912", "default_billing": "yes", "planet": "Mars",
        });
        assert_eq!(
            told(Form::read(&body, NewAddress::read)),
            pairs(&[
                ("#/recipient", "required"),
                ("#/line1", "too_long"),
                ("#/city", "control_character"),
                ("#/postal_code", "invalid_postal_code"),
                ("#/phone", "invalid_phone"),
                ("#/default_billing", "wrong_type"),
                ("#/planet", "unknown_field"),
            ])
        );
        let required = told(Form::read(&json!({}), NewAddress::read));
        let expected = ["#/recipient", "#/line1", "#/city", "#/country"].map(|at| (at, "required"));
        assert_eq!(required, pairs(&expected));
    }

    #[test]
    fn a_patch_keeps_clears_and_sets() {
        let body = json!({"label": null, "city": "Huế", "postal_code": "53000"});
        let change = AddressChange::from(Form::read(&body, AddressPatch::read).unwrap());
        assert_eq!(change.label, Change::Clear);
        assert_eq!(change.city.unwrap().as_str(), "Huế");
        assert_eq!(change.postal_code, Change::Set("53000".to_owned()));
        assert_eq!(change.company, Change::Keep);
        assert!(change.recipient.is_none() && change.country.is_none());
    }

    #[test]
    fn d2_a_patch_checks_the_postal_code_with_the_country_it_brings() {
        let read = |body: &Value| told(Form::read(body, AddressPatch::read));
        let body = json!({"country": "DE", "postal_code": "ABC", "city": null});
        let faults = pairs(&[("#/city", "required"), ("#/postal_code", "invalid_postal_code")]);
        assert_eq!(read(&body), faults);
        // without a country the domain decides, which knows the address
        assert!(Form::read(&json!({"postal_code": "ABC"}), AddressPatch::read).is_ok());
        let long = json!({"postal_code": "1".repeat(17)});
        assert_eq!(read(&long), pairs(&[("#/postal_code", "too_long")]));
    }

    #[test]
    fn d1_kinds_have_two_names() {
        let read = |body: Value| Form::read(&body, DefaultKind::read).map(|body| body.kind);
        assert_eq!(read(json!({"kind": "billing"})).unwrap(), AddressKind::Billing);
        assert_eq!(told(read(json!({"kind": "Billing"}))), pairs(&[("#/kind", "unknown_value")]));
        assert_eq!(told(read(json!({}))), pairs(&[("#/kind", "required")]));
    }
}
