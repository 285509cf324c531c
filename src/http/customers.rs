//! `/v1/admin/customers`: what staff and services do with customers.

use super::body::JsonBody;
use super::conditional::IfMatch;
use super::customer_view::{self, CustomerView, Viewer};
use super::field::Patch;
use super::form::Form;
use super::idempotency::{IdempotencyHeader, REPLAYED};
use super::merges;
use super::principal::{CustomersRead, CustomersStatus, CustomersWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::request_id::RequestIdentity;
use super::services::Services;
use super::values::{
    ExpandParam, IdempotencyParam, IfMatchParam, PathId, change, given, parsed, word,
};
use crate::actors::consents::Purposes;
use crate::config::CustomersConfig;
use crate::db;
use crate::domain::command::{Change, Command, CreateByStaff, CustomerChange};
use crate::domain::customer::{CustomerType, GroupCode, Tags};
use crate::domain::email::EmailAddress;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::phone::PhoneNumber;
use crate::domain::place::{Currency, Locale, TimeZone};
use crate::domain::status::{ReasonCode, Status};
use crate::domain::text::PersonName;
use crate::domain::throttle::{Bucket, Factor};
use crate::domain::{CustomerId, MailId};
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(create).service(show).service(change_customer).service(remove);
    cfg.service(move_status).service(unlock);
}

/// What staff makes a new customer from. It has no password; its owner sets one by recovery.
#[derive(ToSchema)]
pub struct NewCustomer {
    #[schema(value_type = String, max_length = 254, example = "anh@example.org")]
    email: EmailAddress,
    #[schema(value_type = String, max_length = 100, example = "Thị Ánh")]
    first_name: PersonName,
    #[schema(value_type = String, max_length = 100, example = "Nguyễn")]
    last_name: PersonName,
    /// With country code; kept in E.164.
    #[schema(value_type = Option<String>, example = "+84 912 345 678")]
    phone: Option<PhoneNumber>,
    /// `individual`, which is the default, or `business`.
    #[schema(value_type = Option<String>, example = "individual")]
    customer_type: Option<CustomerType>,
    /// The code of a group; by default the one configured for the customer's type.
    #[schema(value_type = Option<String>, example = "individual")]
    group: Option<GroupCode>,
    #[schema(value_type = Option<Vec<String>>, max_items = 50)]
    tags: Option<Tags>,
    accepts_marketing: Option<bool>,
    #[schema(value_type = Option<String>, example = "vi-VN")]
    locale: Option<Locale>,
    #[schema(value_type = Option<String>, example = "Asia/Ho_Chi_Minh")]
    timezone: Option<TimeZone>,
    #[schema(value_type = Option<String>, example = "VND")]
    currency: Option<Currency>,
}

impl NewCustomer {
    pub(super) fn read(form: &mut Form<'_>) -> Option<NewCustomer> {
        let email = form.required("email", |raw| parsed(raw, EmailAddress::parse));
        let first_name = form.required("first_name", |raw| parsed(raw, PersonName::parse));
        let last_name = form.required("last_name", |raw| parsed(raw, PersonName::parse));
        let phone = form.optional("phone", |raw| parsed(raw, PhoneNumber::parse));
        let customer_type = form.optional("customer_type", |raw| parsed(raw, CustomerType::parse));
        let group = form.optional("group", |raw| parsed(raw, GroupCode::parse));
        let tags = tags(form);
        let accepts_marketing = form.optional("accepts_marketing", |raw| raw.boolean());
        let locale = form.optional("locale", |raw| parsed(raw, Locale::parse));
        let timezone = form.optional("timezone", |raw| parsed(raw, TimeZone::parse));
        let currency = form.optional("currency", |raw| parsed(raw, Currency::parse));
        Some(NewCustomer {
            email: email?,
            first_name: first_name?,
            last_name: last_name?,
            phone,
            customer_type,
            group,
            tags,
            accepts_marketing,
            locale,
            timezone,
            currency,
        })
    }

    fn into_command(
        self,
        id: CustomerId,
        defaults: &CustomersConfig,
        purposes: &Purposes,
    ) -> CreateByStaff {
        let customer_type = self.customer_type.unwrap_or(CustomerType::Individual);
        let default_group = match customer_type {
            CustomerType::Individual => &defaults.default_group_individual,
            CustomerType::Business => &defaults.default_group_business,
        };
        let stored = |text: &str| text.to_owned();
        CreateByStaff {
            id,
            email: self.email,
            first_name: self.first_name,
            last_name: self.last_name,
            phone: self.phone,
            customer_type,
            group: self.group.unwrap_or_else(|| GroupCode::from_stored(stored(default_group))),
            tags: self.tags.unwrap_or_default(),
            marketing: purposes.marketing_at_creation(self.accepts_marketing.unwrap_or(false)),
            // the configured defaults were checked at the start
            locale: self
                .locale
                .unwrap_or_else(|| Locale::from_stored(stored(&defaults.default_locale))),
            timezone: self
                .timezone
                .unwrap_or_else(|| TimeZone::from_stored(stored(defaults.default_timezone.name()))),
            currency: self
                .currency
                .unwrap_or_else(|| Currency::from_stored(stored(&defaults.default_currency))),
        }
    }
}

/// Tags as they are sent: all of them, or none for `null`.
fn tags(form: &mut Form<'_>) -> Option<Tags> {
    let words = match form.patch_list("tags", Tags::MAX, word) {
        Patch::Keep => return None,
        Patch::Clear => Vec::new(),
        Patch::Set(words) => words,
    };
    Tags::parse(&words).map_err(|fault| form.refuse("tags", fault.into())).ok()
}

/// A change of a customer by staff. The status has a route of its own.
#[derive(ToSchema)]
pub struct CustomerPatch {
    #[schema(nullable = false, value_type = Option<String>, max_length = 100)]
    first_name: Option<PersonName>,
    #[schema(nullable = false, value_type = Option<String>, max_length = 100)]
    last_name: Option<PersonName>,
    #[schema(nullable = false)]
    accepts_marketing: Option<bool>,
    /// A new number is unverified; `null` removes it.
    #[schema(value_type = Option<String>, example = "+84 912 345 678")]
    phone: Change<PhoneNumber>,
    /// `individual` or `business`.
    #[schema(nullable = false, value_type = Option<String>, example = "business")]
    customer_type: Option<CustomerType>,
    /// The code of a group.
    #[schema(nullable = false, value_type = Option<String>, example = "business")]
    group: Option<GroupCode>,
    /// Replaces all tags; `null` or an empty list clears them.
    #[schema(value_type = Option<Vec<String>>, max_items = 50)]
    tags: Option<Tags>,
}

impl CustomerPatch {
    pub(super) fn read(form: &mut Form<'_>) -> Option<CustomerPatch> {
        let first_name = form.patch_required("first_name", |raw| parsed(raw, PersonName::parse));
        let last_name = form.patch_required("last_name", |raw| parsed(raw, PersonName::parse));
        let accepts_marketing = form.patch_required("accepts_marketing", |raw| raw.boolean());
        let phone = form.patch("phone", |raw| parsed(raw, PhoneNumber::parse));
        let customer_type =
            form.patch_required("customer_type", |raw| parsed(raw, CustomerType::parse));
        let group = form.patch_required("group", |raw| parsed(raw, GroupCode::parse));
        Some(CustomerPatch {
            first_name: given(first_name),
            last_name: given(last_name),
            accepts_marketing: given(accepts_marketing),
            phone: change(phone),
            customer_type: given(customer_type),
            group: given(group),
            tags: tags(form),
        })
    }

    fn into_change(self, mail_id: MailId, purposes: &Purposes) -> CustomerChange {
        CustomerChange {
            first_name: self.first_name,
            last_name: self.last_name,
            marketing: self.accepts_marketing.map(|accepts| purposes.marketing(accepts)),
            phone: self.phone,
            mail_id: Some(mail_id),
            customer_type: self.customer_type,
            group: self.group,
            tags: self.tags,
        }
    }
}

/// A move of the status.
#[derive(ToSchema)]
pub struct StatusMove {
    /// `active`, `inactive` or `suspended`.
    #[schema(value_type = String, example = "suspended")]
    to: Status,
    /// A code of 1 to 64 of `a-z`, `0-9` and `_`: it travels in messages and the audit trail.
    #[schema(value_type = String, max_length = 64, example = "fraud_suspected")]
    reason: ReasonCode,
}

/// Where staff may move a status; deletion has its own routes.
const MOVES: [(&str, Status); 3] =
    [("active", Status::Active), ("inactive", Status::Inactive), ("suspended", Status::Suspended)];

impl StatusMove {
    pub(super) fn read(form: &mut Form<'_>) -> Option<StatusMove> {
        let to = form.required("to", |raw| raw.one_of(&MOVES));
        let reason = form.required("reason", |raw| parsed(raw, ReasonCode::parse));
        Some(StatusMove { to: to?, reason: reason? })
    }
}

/// A new customer, with profile, preferences and group.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(IdempotencyParam),
    request_body = NewCustomer,
    responses(
        (status = 201, body = CustomerView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`email_taken`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers")]
async fn create(
    staff: Staff<CustomersWrite>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let new = body.read(NewCustomer::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let id = CustomerId(services.clock.new_id());
    let create = new.into_command(id, &services.config.customers, &services.purposes);
    let command = Command::CreateByStaff(Box::new(create));
    let answered = services.submit(&staff, &identity, id, command, key).await?;
    let mut response = HttpResponse::Created();
    // a repeated request is told of the customer that the first one made
    if let Outcome::Customer(customer) = &answered.outcome {
        let location = format!("/v1/admin/customers/{}", customer.id);
        response.insert_header((header::LOCATION, location));
    }
    customer_view::answer(response, answered)
}

/// One customer.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), ExpandParam),
    responses((status = 200, body = CustomerView))
)]
#[get("/v1/admin/customers/{id}")]
async fn show(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let parts = customer_view::expand(request.query_string(), Viewer::Staff)?;
    let id = CustomerId(id.0);
    let shown = customer_view::show(&services, id, parts, Viewer::Staff).await;
    merges::followed(&services, id, shown).await
}

/// Changes a customer.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = CustomerPatch,
    responses((status = 200, body = CustomerView))
)]
#[patch("/v1/admin/customers/{id}")]
async fn change_customer(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let patch = body.read(CustomerPatch::read)?;
    let mail_id = MailId(services.clock.new_id());
    let change = Box::new(patch.into_change(mail_id, &services.purposes));
    let command = Command::UpdateCustomer { change, if_match: on.version()? };
    let answered = services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    customer_view::answer(HttpResponse::Ok(), answered)
}

/// Deletes a customer. Softly: it is absent from then on, its sessions end, its address is free.
/// What has to be forgotten for good is asked for as a deletion (privacy).
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IfMatchParam),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`account_frozen`")
    )
)]
#[delete("/v1/admin/customers/{id}")]
async fn remove(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = Command::DeleteCustomer { if_match: on.version()? };
    services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Moves a customer's status. Leaving `active` ends its sessions.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:status"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = StatusMove,
    responses(
        (status = 200, body = CustomerView),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`transition_not_allowed`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/{id}/status")]
async fn move_status(
    staff: Staff<CustomersStatus>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let StatusMove { to, reason } = body.read(StatusMove::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let command = Command::MoveStatus { to, reason };
    let answered = services.submit(&staff, &identity, CustomerId(id.0), command, key).await?;
    customer_view::answer(HttpResponse::Ok(), answered)
}

/// Lifts the locks that failed sign-ins put on a customer.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    responses((status = 204, description = "No identifier and no device of the customer is locked"))
)]
#[post("/v1/admin/customers/{id}/unlock")]
async fn unlock(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = CustomerId(id.0);
    let key = IdempotencyHeader::of(&request, &Sha256::digest([]).into())?;
    let command = Command::Unlock { buckets: buckets(&services, id).await? };
    let answered = services.submit(&staff, &identity, id, command, key).await?;
    let mut response = HttpResponse::NoContent();
    if answered.replayed {
        response.insert_header(REPLAYED);
    }
    Ok(response.finish())
}

/// The buckets in which a customer's sign-ins are counted: that of its e-mail address, and those
/// of its verified phone number, its known devices and its factors (rules A3, A4).
async fn buckets(services: &Services, id: CustomerId) -> Result<Vec<Bucket>, Problem> {
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let customer = db::customers::find(connection, id).await?;
            Ok((customer, db::devices::of_customers(connection, &[id.0]).await?))
        })
    });
    let (customer, devices) = read.await?;
    let customer = customer.ok_or(Rejection::NotFound)?;
    let keys = &services.throttle_keys;
    // Only a verified number is the customer's own.
    let phone = customer.phone.filter(|_| customer.phone_verified_at.is_some());
    let phone = phone.map(|phone| keys.bucket("phone", phone.as_str()));
    let devices = devices.iter().map(|(_, device)| keys.bucket("device", &device.id.to_string()));
    let factors = Factor::ALL.iter().map(|factor| services.gate.guard(*factor, id).bucket);
    let email = keys.bucket("email", customer.email.canonical());
    Ok(std::iter::once(email).chain(phone).chain(devices).chain(factors).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told<T>(read: Result<T, Problem>) -> Vec<(String, &'static str)> {
        let problem = read.err().unwrap();
        let errors = problem.errors().iter();
        let place = |error: &super::super::problem::FieldError| {
            error.pointer.clone().or(error.parameter.clone()).unwrap_or_default()
        };
        errors.map(|error| (place(error), error.code)).collect()
    }

    fn pairs(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(place, code)| ((*place).to_owned(), *code)).collect()
    }

    #[test]
    fn every_fault_of_a_new_customer_is_told_at_once() {
        let body = json!({
            "email": "anna@localhost", "first_name": " ", "phone": "x", "customer_type": "robot",
            "group": "Big Spenders", "tags": ["ok", 1], "locale": "x", "timezone": "x",
            "currency": "BTC", "status": "active", "password": "x",
        });
        assert_eq!(
            told(Form::read(&body, NewCustomer::read)),
            pairs(&[
                ("#/email", "invalid_email"),
                ("#/first_name", "required"),
                ("#/last_name", "required"),
                ("#/phone", "invalid_phone"),
                ("#/customer_type", "unknown_value"),
                ("#/group", "invalid_group"),
                ("#/tags/1", "wrong_type"),
                ("#/locale", "invalid_locale"),
                ("#/timezone", "unknown_timezone"),
                ("#/currency", "unknown_currency"),
                ("#/password", "unknown_field"),
                ("#/status", "unknown_field"),
            ])
        );
    }

    #[test]
    fn l3_a_patch_cannot_touch_the_status() {
        let body = json!({"status": "active"});
        let faults = pairs(&[("#/status", "unknown_field")]);
        assert_eq!(told(Form::read(&body, CustomerPatch::read)), faults);
        assert_eq!(told(Form::read(&body, super::super::me::MePatch::read)), faults);
    }

    #[test]
    fn l3_staff_moves_to_three_statuses_with_a_reason_code() {
        let read = |body: Value| Form::read(&body, StatusMove::read).map(|it| it.to);
        for (word, status) in MOVES {
            assert_eq!(read(json!({"to": word, "reason": "r"})).unwrap(), status);
        }
        for word in ["pending", "deletion_scheduled", "erased", "Active"] {
            let faults = pairs(&[("#/to", "unknown_value")]);
            assert_eq!(told(read(json!({"to": word, "reason": "r"}))), faults);
        }
        let faults = pairs(&[("#/to", "required"), ("#/reason", "invalid_reason")]);
        assert_eq!(told(read(json!({"reason": "He is rude"}))), faults);
    }
}
