//! Reads of personal data by staff leave an entry of the audit trail (rule P5): which route, by which
//! key, what for, about whom where the path says so, how many where it is a list.
//!
//! No handler can forget it: whoever takes a [`Staff`](super::principal::Staff) key on a route of this
//! list is noted, and a test holds the list against the API description. The entry is one insert,
//! committed before the answer leaves; what cannot be written down is not shown.

use super::catalogue::Code;
use super::problem::Problem;
use super::request_id::RequestIdentity;
use super::services::Services;
use crate::config::Switch;
use crate::db;
use crate::db::audit::Deed;
use crate::domain::command::Actor;
use actix_web::body::{BodySize, BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HeaderName;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;
use std::time::Duration;
use utoipa::IntoParams;
use utoipa::openapi::path::Parameter;
use uuid::Uuid;

/// What somebody reads for.
pub const X_PURPOSE: HeaderName = HeaderName::from_static("x-purpose");

/// Most characters of a purpose.
const PURPOSE_MAX: usize = 120;

/// When to come again after an entry could not be written.
const RETRY: Duration = Duration::from_secs(2);

/// What a route shows of customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shows {
    /// One customer, or a part of it: the one whom the path names.
    One,
    /// Several rows, which are counted.
    List,
    /// As many as there are, as a stream: noted before the first leaves, and not counted.
    Stream,
    /// Nothing that is personal, for the reason told.
    Nothing(&'static str),
}

const DEFINITIONS: Shows = Shows::Nothing("what the shop defines, about no customer");
const FIGURES: Shows = Shows::Nothing("figures of many, which name nobody");
const MACHINERY: Shows =
    Shows::Nothing("ids and states of messages and runs, no value of a person");

/// Every route by which staff reads.
pub const READS: &[(&str, Shows)] = &[
    ("/v1/admin/customers", Shows::List),
    ("/v1/admin/customers/{id}", Shows::One),
    ("/v1/admin/customers/{id}/profile", Shows::One),
    ("/v1/admin/customers/{id}/preferences", Shows::One),
    ("/v1/admin/customers/{id}/addresses", Shows::List),
    ("/v1/admin/customers/{id}/addresses/{address}", Shows::One),
    ("/v1/admin/customers/{id}/sessions", Shows::List),
    ("/v1/admin/customers/{id}/wishlists", Shows::List),
    ("/v1/admin/customers/{id}/wishlists/{wishlist_id}", Shows::One),
    ("/v1/admin/customers/{id}/wishlists/{wishlist_id}/items", Shows::List),
    ("/v1/admin/customers/{id}/tags", Shows::List),
    ("/v1/admin/customers/{id}/notes", Shows::List),
    ("/v1/admin/customers/{id}/notes/{note_id}", Shows::One),
    ("/v1/admin/customers/{id}/consents", Shows::List),
    ("/v1/admin/customers/{id}/consents/{purpose}", Shows::One),
    ("/v1/admin/customers/{id}/consents/{purpose}/ledger", Shows::List),
    ("/v1/admin/customers/{id}/stats", Shows::One),
    ("/v1/admin/customers/{id}/orders", Shows::List),
    ("/v1/admin/customers/{id}/predictions", Shows::One),
    (
        "/v1/admin/customers/{id}/timeline",
        Shows::Nothing("the trail itself; where values are opened, that is an entry of its own"),
    ),
    ("/v1/admin/customers/{id}/data_key", Shows::Nothing("a key, which is an entry of its own")),
    (
        "/v1/admin/customers/{id}/privacy/export/{export_id}",
        Shows::Nothing("how far a copy is, and nothing of what it holds"),
    ),
    (
        "/v1/admin/customers/{id}/deletion",
        Shows::Nothing("how far a deletion is, and nothing of what it takes"),
    ),
    ("/v1/admin/segments/{id}/explain/{customer_id}", Shows::One),
    ("/v1/admin/segments/{id}/members", Shows::List),
    ("/v1/admin/exports/customers", Shows::Stream),
    ("/v1/admin/exports/segments/{id}", Shows::Stream),
    ("/v1/admin/segments", DEFINITIONS),
    ("/v1/admin/segments/{id}", DEFINITIONS),
    ("/v1/admin/attributes", DEFINITIONS),
    ("/v1/admin/attributes/{key}", DEFINITIONS),
    ("/v1/admin/groups", DEFINITIONS),
    ("/v1/admin/groups/{code}", DEFINITIONS),
    ("/v1/admin/imports", MACHINERY),
    ("/v1/admin/imports/{id}", MACHINERY),
    ("/v1/admin/imports/{id}/errors", MACHINERY),
    ("/v1/admin/orders/parked", MACHINERY),
    ("/v1/admin/orders/reconciliations", MACHINERY),
    ("/v1/admin/orders/reconciliations/{id}/differences", Shows::List),
    ("/v1/admin/erasures", MACHINERY),
    ("/v1/admin/erasures/{id}", MACHINERY),
    ("/v1/admin/erasures/{id}/certificate", MACHINERY),
    ("/v1/admin/retention", MACHINERY),
    ("/v1/admin/events/dead_letters", MACHINERY),
    ("/v1/admin/events/dead_letters/{id}", MACHINERY),
    ("/v1/admin/events/replays/{id}", MACHINERY),
    ("/v1/admin/analytics/registrations", FIGURES),
    ("/v1/admin/analytics/logins", FIGURES),
    ("/v1/admin/analytics/orders", FIGURES),
    ("/v1/admin/analytics/consents", FIGURES),
    ("/v1/admin/analytics/segments", FIGURES),
    ("/v1/admin/analytics/rfm", FIGURES),
    ("/v1/admin/analytics/cohorts", FIGURES),
    ("/v1/admin/analytics/predictions", FIGURES),
];

/// Routes that are asked by POST and show customers all the same: as [`Shows::Stream`].
const READS_BY_POST: &[&str] = &["/v1/admin/segments/preview"];

/// What a route shows staff of customers, where that is noted.
fn noted(method: &str, route: &str) -> Option<Shows> {
    let reads = method == "GET" || READS_BY_POST.contains(&route);
    if !reads || !route.starts_with("/v1/admin/") {
        return None;
    }
    // What is not on the list is noted all the same.
    let known = READS.iter().find(|(known, _)| *known == route);
    let shows = known.map_or(Shows::Stream, |(_, shows)| *shows);
    (!matches!(shows, Shows::Nothing(_))).then_some(shows)
}

/// The header of a read that is noted.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header; `purpose` reads it")]
struct PurposeParam {
    /// What it is read for: the code of a ticket, 1 to 120 letters, digits and signs of `-`, `_`, `.`,
    /// `#`, `/` and `:`, no spaces. It stays in the audit trail, so name no person. Some shops require
    /// it.
    #[param(
        rename = "X-Purpose",
        required = false,
        min_length = 1,
        max_length = 120,
        pattern = "^[A-Za-z0-9._#/:-]{1,120}$",
        example = "SUP-4711"
    )]
    x_purpose: Option<String>,
}

/// What the API description tells of the header, of an operation that takes it.
pub fn parameters(method: &str, route: &str) -> Vec<Parameter> {
    match noted(method, route) {
        Some(_) => PurposeParam::into_params(|| None),
        None => Vec::new(),
    }
}

/// What is under way: by whom, what for.
struct Reading {
    route: String,
    key: String,
    purpose: Option<String>,
    customer: Option<Uuid>,
    shows: Shows,
}

/// A key was proven on this request: if it reads what is personal, that will be noted.
///
/// # Errors
/// 400 for a purpose that is none, or that is missing where one is required.
pub fn begin(request: &HttpRequest, key: &str, services: &Services) -> Result<(), Problem> {
    let Some(route) = request.match_pattern() else { return Ok(()) };
    let Some(shows) = noted(request.method().as_str(), &route) else { return Ok(()) };
    let purpose = purpose(request)?;
    if purpose.is_none() && services.config.audit.purpose_required == Switch::On {
        return Err(Problem::new(Code::PurposeRequired));
    }
    let name = if route.contains("{customer_id}") { "customer_id" } else { "id" };
    let named = route.starts_with("/v1/admin/customers/{id}") || name == "customer_id";
    let customer = request.match_info().get(name).filter(|_| named);
    let customer = customer.and_then(|id| Uuid::parse_str(id).ok());
    let reading = Reading { route, key: key.to_owned(), purpose, customer, shows };
    request.extensions_mut().insert(reading);
    Ok(())
}

/// The one `X-Purpose` of a request. One word of few signs, so that it can hold the code of a ticket, and
/// neither the names of a person, an address nor a line of another record.
fn purpose(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all(X_PURPOSE);
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| is_purpose(text));
    let text = text.filter(|_| values.next().is_none());
    text.map(|text| Some(text.to_owned())).ok_or_else(|| {
        Problem::new(Code::MalformedHeader).detail(format!(
            "X-Purpose is the code of a ticket: 1 to {PURPOSE_MAX} letters of A-Z and a-z, digits and \
             signs of - _ . # / :, and no space. It comes once."
        ))
    })
}

fn is_purpose(text: &str) -> bool {
    let signs = |sign: char| sign.is_ascii_alphanumeric() || "-_.#/:".contains(sign);
    (1..=PURPOSE_MAX).contains(&text.len()) && text.chars().all(signs)
}

/// Writes down what was read, before the answer leaves.
///
/// # Errors
/// Those of the service within; what is refused here is an answer.
pub async fn note(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let answered = next.call(request).await?;
    let reading = answered.request().extensions_mut().remove::<Reading>();
    let Some(reading) = reading.filter(|_| answered.status().is_success()) else {
        return Ok(answered);
    };
    let (request, response) = answered.into_parts();
    let (response, body) = response.into_parts();
    let (body, count) = match reading.shows {
        Shows::List => counted(body).await?,
        Shows::One | Shows::Stream | Shows::Nothing(_) => (body, None),
    };
    if let Err(error) = write(&request, reading, count).await {
        tracing::warn!(%error, "a read of personal data could not be noted, and was refused");
        let problem = Problem::new(Code::Unavailable)
            .detail(
                "Reads of personal data are noted, and this one could not be. Nothing is shown.",
            )
            .retry_after(RETRY);
        let answered = ServiceResponse::from_err(problem, request);
        return Ok(answered);
    }
    Ok(ServiceResponse::new(request, response.set_body(body)))
}

/// The body, which is whole, and how many items it lists.
async fn counted(body: BoxBody) -> Result<(BoxBody, Option<usize>), Error> {
    if !matches!(body.size(), BodySize::Sized(_)) {
        return Ok((body, None));
    }
    let bytes = to_bytes(body).await?;
    Ok((BoxBody::new(bytes.clone()), items(&bytes)))
}

fn items(bytes: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct Listed {
        items: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Listed>(bytes).ok().map(|listed| listed.items.len())
}

async fn write(
    request: &HttpRequest,
    reading: Reading,
    count: Option<usize>,
) -> Result<(), db::Error> {
    let internal = |what: &str| db::Error::Internal(what.to_owned());
    let services = request.app_data::<Data<Services>>().ok_or_else(|| internal("no services"))?;
    let identity = RequestIdentity::extract(request).await;
    let request_id = identity.map_err(|_| internal("no request id"))?.id().to_owned();
    let (id, occurred_at) = (services.clock.new_id(), services.clock.now());
    let database = services.database.clone();
    let written = services.database.spawn(async move {
        let Reading { route, key, purpose, customer, .. } = reading;
        let mut data = json!({ "route": route, "purpose": purpose });
        if let Some(count) = count {
            data["count"] = json!(count);
        }
        let actor = Actor::Staff(key);
        let action = "personal_data.read";
        let request_id = request_id.as_str();
        let deed = Deed { id, actor: &actor, action, data, request_id, occurred_at };
        let mut connection = database.get().await?;
        Ok(db::audit::append_deed(&mut connection, &deed, customer).await?)
    });
    written.await.unwrap_or_else(|error| Err(db::Error::Internal(error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn p5_a_purpose_is_the_code_of_a_ticket_and_has_no_room_for_a_person() {
        for good in ["4711", "SUP-12", "desk:SUP-12/order#9.2_b", "#9", "x", &"x".repeat(120)] {
            assert!(is_purpose(good), "{good}");
        }
        let names = ["Anna Nguyen", "ticket 4711", "Anna\u{a0}Nguyen", "Nguyen,Anna", "\u{c1}nh"];
        let others = ["", " ", "anna@example.org", "a\nb", "a\tb", "<b>", "\"x\"", "a+b", "%20"];
        for bad in names.into_iter().chain(others).chain([&*"x".repeat(121)]) {
            assert!(!is_purpose(bad), "{bad:?}");
        }
    }

    #[test]
    fn p5_what_is_noted_says_that_it_takes_a_purpose() {
        for (method, route, expected) in [
            ("GET", "/v1/admin/customers", true),
            ("GET", "/v1/admin/customers/{id}", true),
            ("GET", "/v1/admin/nobody/listed/it", true),
            ("POST", "/v1/admin/segments/preview", true),
            ("GET", "/v1/admin/groups", false),
            ("POST", "/v1/admin/customers", false),
            ("PATCH", "/v1/admin/customers/{id}", false),
            ("GET", "/v1/me", false),
        ] {
            let names: Vec<_> = parameters(method, route).into_iter().map(|one| one.name).collect();
            assert_eq!(names == ["X-Purpose"], expected, "{method} {route}");
            assert_eq!(names.is_empty(), !expected, "{method} {route}");
        }
    }

    #[test]
    fn p5_each_route_is_listed_once_and_each_that_is_not_noted_has_its_reason() {
        let patterns: BTreeSet<_> = READS.iter().map(|(route, _)| route).collect();
        assert_eq!(patterns.len(), READS.len());
        for (route, shows) in READS {
            assert!(route.starts_with("/v1/admin/"), "{route}");
            if let Shows::Nothing(why) = shows {
                assert!(!why.is_empty(), "{route}");
            }
        }
    }

    #[test]
    fn items_of_a_page_are_counted_and_of_nothing_else() {
        assert_eq!(items(br#"{"items":[{"a":[1,2]},{}],"next_cursor":null}"#), Some(2));
        assert_eq!(items(br#"{"items":3}"#), None);
        assert_eq!(items(b"<svg/>"), None);
    }
}
