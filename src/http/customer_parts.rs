//! `/v1/admin/customers/{id}/…`: the parts of a customer's record, as staff and services read and
//! change them. The commands are the owner's; who asks stands in the audit trail.

use super::addresses::{self, AddressPatch, AddressView, DefaultKind, NewAddress};
use super::body::JsonBody;
use super::conditional::{IfMatch, IfNoneMatch};
use super::idempotency::IdempotencyHeader;
use super::merges;
use super::pages::{Page, PageRequest};
use super::preferences::{self, PreferencesPatch, PreferencesView};
use super::principal::{CustomersRead, CustomersWrite, Staff};
use super::problem::{Problem, ProblemDocument};
use super::profile::{self, ProfilePatch, ProfileView};
use super::query::Query;
use super::request_id::RequestIdentity;
use super::services::Services;
use super::sessions::SessionView;
use super::values::{IdempotencyParam, IfMatchParam, IfNoneMatchParam, PageParams, PathId};
use crate::db::{self, Connection};
use crate::domain::command::Command;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{AddressId, CustomerId};
use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, put};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use utoipa_actix_web::service_config::ServiceConfig;
use uuid::Uuid;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(show_profile).service(change_profile);
    cfg.service(show_preferences).service(change_preferences);
    cfg.service(list_addresses).service(create_address).service(show_address);
    cfg.service(change_address).service(remove_address).service(set_default_address);
    cfg.service(list_sessions).service(revoke_sessions);
}

/// Reads a part of a living customer; the rows of its parts outlive it.
pub(super) async fn of_living<T, F>(
    services: &Services,
    id: CustomerId,
    read: F,
) -> Result<T, Problem>
where
    T: Send + 'static,
    F: for<'c> Fn(&'c Connection) -> BoxFuture<'c, Result<T, db::transactions::QueryError>>,
    F: Send + Sync + 'static,
{
    let read = Arc::new(read);
    let both = services.database.read(move |connection| {
        let read = Arc::clone(&read);
        Box::pin(async move {
            let connection = &*connection;
            tokio::try_join!(db::customers::lives(connection, id), read(connection))
        })
    });
    let (lives, part) = both.await?;
    if lives { Ok(part) } else { Err(merges::absent(services, id).await) }
}

/// A customer's profile.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = ProfileView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/admin/customers/{id}/profile")]
async fn show_profile(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = CustomerId(id.0);
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let connection = &*connection;
            let part = db::customers::profiles(connection, std::slice::from_ref(&id.0));
            tokio::try_join!(db::customers::lives(connection, id), part)
        })
    });
    let (lives, mut part) = read.await?;
    let Some((_, part)) = part.pop().filter(|_| lives) else {
        return Err(merges::absent(&services, id).await);
    };
    Ok(known.answer(part.version, &ProfileView::from(part)))
}

/// Changes a customer's profile.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = ProfilePatch,
    responses((status = 200, body = ProfileView))
)]
#[patch("/v1/admin/customers/{id}/profile")]
async fn change_profile(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = Box::new(body.read(ProfilePatch::read)?.into());
    let command = Command::UpdateProfile { change, if_match: on.version()? };
    let answered = services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    profile::answer(answered)
}

/// A customer's preferences.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = PreferencesView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/admin/customers/{id}/preferences")]
async fn show_preferences(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let id = CustomerId(id.0);
    let read = services.database.read(move |connection| {
        Box::pin(async move {
            let connection = &*connection;
            let part = db::customers::preferences(connection, std::slice::from_ref(&id.0));
            tokio::try_join!(db::customers::lives(connection, id), part)
        })
    });
    let (lives, mut part) = read.await?;
    let Some((_, part)) = part.pop().filter(|_| lives) else {
        return Err(merges::absent(&services, id).await);
    };
    Ok(known.answer(part.version, &PreferencesView::from(part)))
}

/// Changes a customer's preferences.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IfMatchParam),
    request_body = PreferencesPatch,
    responses((status = 200, body = PreferencesView))
)]
#[patch("/v1/admin/customers/{id}/preferences")]
async fn change_preferences(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = Box::new(body.read(PreferencesPatch::read)?.into());
    let command = Command::UpdatePreferences { change, if_match: on.version()? };
    let answered = services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    preferences::answer(answered)
}

/// A customer's addresses, in the order of their creation.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<AddressView>))
)]
#[get("/v1/admin/customers/{id}/addresses")]
async fn list_addresses(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<AddressView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "customer_addresses")
    })?;
    let (id, after, limit) = (CustomerId(id.0), page.after, page.fetch());
    let read = of_living(&services, id, move |connection| {
        Box::pin(db::addresses::list(connection, id, after, limit))
    });
    Ok(web::Json(page.page(read.await?, |address| address.id.0, AddressView::from)))
}

/// Adds an address to a customer's book. The first one becomes both defaults.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), IdempotencyParam),
    request_body = NewAddress,
    responses(
        (status = 201, body = AddressView, headers(("Location" = String), ("ETag" = String))),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`address_limit_reached`, `account_frozen`, `idempotency_in_progress`")
    )
)]
#[post("/v1/admin/customers/{id}/addresses")]
async fn create_address(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    request: HttpRequest,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let new = body.read(NewAddress::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    let address = AddressId(services.clock.new_id());
    let command = new.into_command(address, &services.config.customers);
    let answered = services.submit(&staff, &identity, CustomerId(id.0), command, key).await?;
    let mut response = HttpResponse::Created();
    if let Outcome::Address(address) = &answered.outcome {
        let location = format!("/v1/admin/customers/{}/addresses/{}", id.0, address.id);
        response.insert_header((header::LOCATION, location));
    }
    addresses::answer(response, answered)
}

/// One of a customer's addresses.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), ("address" = Uuid, Path), IfNoneMatchParam),
    responses((status = 200, body = AddressView), (status = 304, description = "Still the version named"))
)]
#[get("/v1/admin/customers/{id}/addresses/{address}")]
async fn show_address(
    _staff: Staff<CustomersRead>,
    ids: web::Path<(PathId, PathId)>,
    known: IfNoneMatch,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, address) = (CustomerId(ids.0.0), AddressId(ids.1.0));
    let read = of_living(&services, id, move |connection| {
        Box::pin(db::addresses::find(connection, id, address))
    });
    let address = read.await?.ok_or(Rejection::NotFound)?;
    Ok(known.answer(address.version, &AddressView::from(address)))
}

/// Changes one of a customer's addresses.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), ("address" = Uuid, Path), IfMatchParam),
    request_body = AddressPatch,
    responses((status = 200, body = AddressView))
)]
#[patch("/v1/admin/customers/{id}/addresses/{address}")]
async fn change_address(
    staff: Staff<CustomersWrite>,
    ids: web::Path<(PathId, PathId)>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let change = Box::new(body.read(AddressPatch::read)?.into());
    let (id, address) = (CustomerId(ids.0.0), AddressId(ids.1.0));
    let command = Command::ChangeAddress { id: address, change, if_match: on.version()? };
    let answered = services.submit(&staff, &identity, id, command, None).await?;
    addresses::answer(HttpResponse::Ok(), answered)
}

/// Deletes one of a customer's addresses. Its defaults go to the most recently used other one.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), ("address" = Uuid, Path), IfMatchParam),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, body = ProblemDocument, content_type = "application/problem+json",
            description = "`last_address`, `account_frozen`")
    )
)]
#[delete("/v1/admin/customers/{id}/addresses/{address}")]
async fn remove_address(
    staff: Staff<CustomersWrite>,
    ids: web::Path<(PathId, PathId)>,
    on: IfMatch,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let (id, address) = (CustomerId(ids.0.0), AddressId(ids.1.0));
    let command = Command::DeleteAddress { id: address, if_match: on.version()? };
    services.submit(&staff, &identity, id, command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Makes one of a customer's addresses the default of a kind.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path), ("address" = Uuid, Path), IfMatchParam),
    request_body = DefaultKind,
    responses((status = 200, body = AddressView))
)]
#[put("/v1/admin/customers/{id}/addresses/{address}/default")]
async fn set_default_address(
    staff: Staff<CustomersWrite>,
    ids: web::Path<(PathId, PathId)>,
    on: IfMatch,
    body: JsonBody,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let kind = body.read(DefaultKind::read)?.kind;
    let (id, address) = (CustomerId(ids.0.0), AddressId(ids.1.0));
    let command = Command::SetDefaultAddress { id: address, kind, if_match: on.version()? };
    let answered = services.submit(&staff, &identity, id, command, None).await?;
    addresses::answer(HttpResponse::Ok(), answered)
}

/// Where a customer is signed in, newest first.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:read"])),
    params(("id" = Uuid, Path), PageParams),
    responses((status = 200, body = Page<SessionView>))
)]
#[get("/v1/admin/customers/{id}/sessions")]
async fn list_sessions(
    _staff: Staff<CustomersRead>,
    id: web::Path<PathId>,
    request: HttpRequest,
    services: Data<Services>,
) -> Result<web::Json<Page<SessionView>>, Problem> {
    let page = Query::read(request.query_string(), |query| {
        PageRequest::<Uuid>::read(query, "customer_sessions")
    })?;
    let (id, now, before) = (CustomerId(id.0), services.clock.now(), page.after);
    let limit = page.fetch();
    let read = of_living(&services, id, move |connection| {
        Box::pin(db::sessions::list_live(connection, id, now, before, limit))
    });
    let view = |session| SessionView::new(session, None);
    Ok(web::Json(page.page(read.await?, |session| session.id.0, view)))
}

/// Signs a customer out everywhere.
#[utoipa::path(
    tag = "customers",
    security(("staff" = ["customers:write"])),
    params(("id" = Uuid, Path)),
    responses((status = 204, description = "No session is left"))
)]
#[delete("/v1/admin/customers/{id}/sessions")]
async fn revoke_sessions(
    staff: Staff<CustomersWrite>,
    id: web::Path<PathId>,
    identity: RequestIdentity,
    services: Data<Services>,
) -> Result<HttpResponse, Problem> {
    let command = Command::RevokeAllSessions;
    services.submit(&staff, &identity, CustomerId(id.0), command, None).await?;
    Ok(HttpResponse::NoContent().finish())
}
