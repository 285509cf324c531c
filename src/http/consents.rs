//! `/v1/me/consents` and the same for staff: what a customer agreed to, now or at some instant, and
//! the ledger that tells how it came to be.
//!
//! There is no `If-None-Match` here: what a purpose's answer shows of the shop's own terms changes
//! without a new entry, and so without a new version.

mod shown;

use super::body::JsonBody;
use super::conditional::{IfMatch, etag};
use super::field::{FieldFault, Raw};
use super::form::Form;
use super::merges;
use super::pages::{Page, PageRequest};
use super::principal::{CustomersRead, CustomersWrite, Leaving, Owner, Staff};
use super::problem::{Problem, ProblemDocument};
use super::query::{Parameter, Query};
use super::rejections::unexpected;
use super::request_id::RequestIdentity;
use super::services::{Principal, Services};
use super::values::{IfMatchParam, PageParams, PathId, parsed};
use crate::actors::consents::Purposes;
use crate::db;
use crate::domain::CustomerId;
use crate::domain::command::{Command, ConsentCommand};
use crate::domain::consent::{
    Channel, Consents, Purpose, PurposeConsents, Reference, TextVersion, Will,
};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::place::Locale;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, get, put};
use chrono::{DateTime, Utc};
pub use shown::ConsentView;
use shown::EntryView;
use std::collections::BTreeSet;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(show).service(declare).service(ledger);
    cfg.service(list_of).service(show_of).service(declare_for).service(ledger_of);
}

// --- what is asked ----------------------------------------------------------------------------

/// A grant or a withdrawal. What holds already changes nothing.
#[derive(ToSchema)]
pub struct ConsentChange {
    granted: bool,
    /// `email`, `sms` or `push`; `all`, the default, for every channel of the purpose.
    #[schema(value_type = Option<String>, default = "all", example = "email")]
    channel: Option<Channel>,
    /// Of the text that was shown; a grant must name it, and it must be the one in use.
    #[schema(value_type = Option<String>, max_length = 32, example = "2026-11")]
    text_version: Option<TextVersion>,
    /// In which language it was shown; by default the customer's own. For a grant.
    #[schema(value_type = Option<String>, example = "vi-VN")]
    locale: Option<Locale>,
    /// Where the proof is kept, such as the number of a form: letters, digits, dot, `_`, `:`, `/` and
    /// `-`. Nothing personal.
    #[schema(value_type = Option<String>, max_length = 100, example = "form:2026/117")]
    reference: Option<Reference>,
}

const CHANNELS: [(&str, Channel); 4] = [
    ("all", Channel::All),
    ("email", Channel::Email),
    ("sms", Channel::Sms),
    ("push", Channel::Push),
];

impl ConsentChange {
    pub(super) fn read(form: &mut Form<'_>) -> Option<ConsentChange> {
        let granted = form.required("granted", Raw::boolean);
        let channel = form.optional("channel", |raw| raw.one_of(&CHANNELS));
        let mut faulty = false;
        let text_version = form.optional("text_version", |raw| {
            let version = parsed(raw, TextVersion::parse);
            faulty = version.is_err();
            version
        });
        let locale = form.optional("locale", |raw| parsed(raw, Locale::parse));
        let reference = form.optional("reference", |raw| parsed(raw, Reference::parse));
        if granted == Some(true) && text_version.is_none() && !faulty {
            let detail = "A grant must name the version of the text that was shown.";
            form.refuse("text_version", FieldFault::new("required", detail));
        }
        Some(ConsentChange { granted: granted?, channel, text_version, locale, reference })
    }

    fn into_command(
        self,
        purpose: Purpose,
        purposes: &Purposes,
        if_match: Option<i64>,
    ) -> ConsentCommand {
        let ConsentChange { granted, channel, text_version, locale, reference } = self;
        let will = match text_version.filter(|_| granted) {
            Some(text_version) => Will::Grant { text_version, locale },
            None => Will::Withdraw,
        };
        ConsentCommand {
            terms: purposes.terms(&purpose).cloned(),
            purpose,
            channel: channel.unwrap_or(Channel::All),
            will,
            reference,
            if_match,
        }
    }
}

/// A purpose in a path; looked at after the body, whose faults are told first. Whatever cannot be one
/// names nothing.
fn named(purpose: &str) -> Result<Purpose, Problem> {
    Purpose::parse(purpose).map_err(|_| Rejection::NotFound.into())
}

/// At which instant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter; `read_at` reads it")]
struct AtParam {
    /// What held at this instant (RFC 3339); by default what holds now.
    #[param(required = false, example = "2026-01-01T00:00:00Z")]
    at: Option<DateTime<Utc>>,
}

fn read_at(query: &mut Query<'_>) -> Option<DateTime<Utc>> {
    query.optional("at", Parameter::instant)
}

async fn read(
    services: &Services,
    customer: CustomerId,
    at: Option<DateTime<Utc>>,
) -> Result<Consents, Problem> {
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            match at {
                None => db::consents::find(connection, customer).await,
                Some(at) => db::consents::find_at(connection, customer, at).await,
            }
        })
    });
    Ok(read.await?.ok_or(Rejection::NotFound)?)
}

/// Every purpose that is asked for, or of which something was said.
async fn all_of(
    services: &Services,
    customer: CustomerId,
    request: &HttpRequest,
) -> Result<web::Json<Page<ConsentView>>, Problem> {
    let (page, at) = Query::read(request.query_string(), |query| {
        let page = PageRequest::<String>::read(query, "consents");
        let at = read_at(query);
        Some((page?, at))
    })?;
    let consents = read(services, customer, at).await?;
    Ok(web::Json(self::page(&page, &consents, &services.purposes)))
}

/// A page of the purposes, each with what was agreed to.
pub(super) fn page(
    page: &PageRequest<String>,
    consents: &Consents,
    purposes: &Purposes,
) -> Page<ConsentView> {
    let asked = purposes.all().filter(|(_, terms)| terms.offered).map(|(purpose, _)| purpose);
    let said = consents.all().map(|(purpose, ..)| purpose);
    let names: BTreeSet<&Purpose> = asked.chain(said).collect();
    let after = page.after.as_deref().unwrap_or_default();
    let views = names.into_iter().filter(|purpose| purpose.as_str() > after).map(|purpose| {
        ConsentView::new(&PurposeConsents::of(consents, purpose), purposes.terms(purpose))
    });
    page.page(views.collect(), |view| view.purpose.clone(), |view| view)
}

async fn one_of(
    services: &Services,
    customer: CustomerId,
    purpose: &Purpose,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let at = Query::read(request.query_string(), |query| Some(read_at(query)))?;
    let consents = read(services, customer, at).await?;
    let terms = services.purposes.terms(purpose);
    if terms.is_none() && consents.version(purpose) == 0 {
        return Err(Rejection::NotFound.into());
    }
    let view = ConsentView::new(&PurposeConsents::of(&consents, purpose), terms);
    Ok(HttpResponse::Ok().insert_header(etag(view.version)).json(view))
}

async fn carry_out(
    services: &Services,
    principal: &impl Principal,
    identity: &RequestIdentity,
    customer: CustomerId,
    command: ConsentCommand,
) -> Result<HttpResponse, Problem> {
    let command = Command::Consent(Box::new(command));
    let answered = services.submit(principal, identity, customer, command, None).await?;
    match answered.outcome {
        Outcome::Consents(consents) => {
            let terms = services.purposes.terms(&consents.purpose);
            let view = ConsentView::new(&consents, terms);
            Ok(HttpResponse::Ok().insert_header(etag(view.version)).json(view))
        }
        other => Err(unexpected(&other)),
    }
}

async fn ledger_page(
    services: &Services,
    customer: CustomerId,
    purpose: Purpose,
    request: &HttpRequest,
    for_staff: bool,
) -> Result<web::Json<Page<EntryView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<i64>::read(query, "consent_entries")
    })?;
    let (before, limit) = (page.after, page.fetch());
    let known = services.purposes.terms(&purpose).is_some();
    let read = services.database.read(move |connection| {
        let purpose = purpose.clone();
        Box::pin(async move {
            db::consents::ledger(connection, customer, &purpose, before, limit).await
        })
    });
    let records = read.await?.filter(|records| known || before.is_some() || !records.is_empty());
    let records = records.ok_or(Rejection::NotFound)?;
    let view = |record| EntryView::new(record, for_staff);
    Ok(web::Json(page.page(records, |record| record.number, view)))
}

// --- the customer's own -----------------------------------------------------------------------

/// What I agreed to, purpose by purpose, by name.
#[utoipa::path(
    tag = "consents",
    security(("customer" = [])),
    params(AtParam, PageParams),
    responses((status = 200, body = Page<ConsentView>))
)]
#[get("/v1/me/consents")]
async fn list(
    owner: Owner,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ConsentView>>, Problem> {
    all_of(&services, owner.customer_id, &request).await
}

/// What I agreed to for one purpose.
#[utoipa::path(
    tag = "consents",
    security(("customer" = [])),
    params(("purpose" = String, Path, example = "marketing"), AtParam),
    responses((status = 200, body = ConsentView, headers(("ETag" = String))))
)]
#[get("/v1/me/consents/{purpose}")]
async fn show(
    owner: Owner,
    purpose: web::Path<String>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    one_of(&services, owner.customer_id, &named(&purpose)?, &request).await
}

/// Grants or withdraws my consent. What holds already changes nothing. While my deletion is scheduled I
/// may withdraw, and grant nothing.
#[utoipa::path(
    tag = "consents",
    security(("customer" = [])),
    params(("purpose" = String, Path, example = "marketing"), IfMatchParam),
    request_body = ConsentChange,
    responses(
        (status = 200, body = ConsentView, headers(("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`consent_not_offered`, `consent_text_outdated`, `account_frozen`")
    )
)]
#[put("/v1/me/consents/{purpose}")]
async fn declare(
    Leaving(owner): Leaving,
    purpose: web::Path<String>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = body.read(ConsentChange::read)?;
    let command = change.into_command(named(&purpose)?, &services.purposes, on.version()?);
    carry_out(&services, &owner, &identity, owner.customer_id, command).await
}

/// Each grant and each withdrawal of mine for one purpose, newest first.
#[utoipa::path(
    tag = "consents",
    security(("customer" = [])),
    params(("purpose" = String, Path, example = "marketing"), PageParams),
    responses((status = 200, body = Page<EntryView>))
)]
#[get("/v1/me/consents/{purpose}/ledger")]
async fn ledger(
    owner: Owner,
    purpose: web::Path<String>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<EntryView>>, Problem> {
    ledger_page(&services, owner.customer_id, named(&purpose)?, &request, false).await
}

// --- by staff ---------------------------------------------------------------------------------

/// What a customer agreed to, purpose by purpose, by name.
#[utoipa::path(
    tag = "consents",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), AtParam, PageParams),
    responses((status = 200, body = Page<ConsentView>))
)]
#[get("/v1/admin/customers/{id}/consents")]
async fn list_of(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<ConsentView>>, Problem> {
    let id = CustomerId(id.0);
    merges::followed(&services, id, all_of(&services, id, &request).await).await
}

/// What a customer agreed to for one purpose.
#[utoipa::path(
    tag = "consents",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), ("purpose" = String, Path, example = "marketing"), AtParam),
    responses((status = 200, body = ConsentView, headers(("ETag" = String))))
)]
#[get("/v1/admin/customers/{id}/consents/{purpose}")]
async fn show_of(
    _staff: Staff<CustomersRead>,
    path: web::Path<(PathId, String)>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, purpose) = path.into_inner();
    let (id, purpose) = (CustomerId(id.0), named(&purpose)?);
    merges::followed(&services, id, one_of(&services, id, &purpose, &request).await).await
}

/// Grants or withdraws consent in a customer's name. What holds already changes nothing. While its deletion
/// is scheduled consent can be withdrawn, and none granted.
#[utoipa::path(
    tag = "consents",
    security(("staff" = ["customers:write"])),
    params(
        ("id" = Uuid, Path),
        ("purpose" = String, Path, example = "marketing"),
        IfMatchParam
    ),
    request_body = ConsentChange,
    responses(
        (status = 200, body = ConsentView, headers(("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`consent_not_offered`, `consent_text_outdated`, `account_frozen`")
    )
)]
#[put("/v1/admin/customers/{id}/consents/{purpose}")]
async fn declare_for(
    staff: Staff<CustomersWrite>,
    path: web::Path<(PathId, String)>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, purpose) = path.into_inner();
    let change = body.read(ConsentChange::read)?;
    let command = change.into_command(named(&purpose)?, &services.purposes, on.version()?);
    carry_out(&services, &staff, &identity, CustomerId(id.0), command).await
}

/// Each grant and each withdrawal of a customer for one purpose, newest first.
#[utoipa::path(
    tag = "consents",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), ("purpose" = String, Path, example = "marketing"), PageParams),
    responses((status = 200, body = Page<EntryView>))
)]
#[get("/v1/admin/customers/{id}/consents/{purpose}/ledger")]
async fn ledger_of(
    _staff: Staff<CustomersRead>,
    path: web::Path<(PathId, String)>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<EntryView>>, Problem> {
    let (id, purpose) = path.into_inner();
    let (id, purpose) = (CustomerId(id.0), named(&purpose)?);
    let page = ledger_page(&services, id, purpose, &request, true).await;
    merges::followed(&services, id, page).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn told(body: Value) -> Vec<(String, &'static str)> {
        let problem = Form::read(&body, ConsentChange::read).err().unwrap();
        let told = |error: &super::super::problem::FieldError| {
            (error.pointer.clone().unwrap_or_default(), error.code)
        };
        problem.errors().iter().map(told).collect()
    }

    #[test]
    fn a_grant_names_its_text_and_a_withdrawal_need_not() {
        let required = ("#/text_version".to_owned(), "required");
        assert_eq!(told(json!({"granted": true})), [required]);
        let sound = json!({"granted": true, "text_version": "1", "channel": "sms", "locale": "vi"});
        assert!(Form::read(&sound, ConsentChange::read).is_ok());
        assert!(Form::read(&json!({"granted": false}), ConsentChange::read).is_ok());
        let body = json!({
            "granted": true, "text_version": "a b", "channel": "fax", "locale": "english",
            "reference": "anh@example.org", "purpose": "x",
        });
        let faults = told(body);
        let places: Vec<_> = faults.iter().map(|(place, code)| (place.as_str(), *code)).collect();
        assert_eq!(
            places,
            [
                ("#/channel", "unknown_value"),
                ("#/text_version", "invalid_version"),
                ("#/locale", "invalid_locale"),
                ("#/reference", "invalid_reference"),
                ("#/purpose", "unknown_field"),
            ]
        );
    }
}
