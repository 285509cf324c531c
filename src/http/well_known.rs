//! `/.well-known`: what others look for at fixed places (RFC 8615).

use super::catalogue::Code;
use super::problem::Problem;
use super::services::Services;
use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use chrono::{DateTime, NaiveTime, SecondsFormat, TimeDelta, Utc};
use utoipa_actix_web::service_config::ServiceConfig;

/// How long what we say about security holds; RFC 9116 recommends less than a year.
const SECURITY_TXT_DAYS: i64 = 180;

pub fn routes(cfg: &mut ServiceConfig) {
    cfg.service(jwks).service(security_txt);
}

/// The keys that verify access tokens (RFC 7517): the one that signs, the next one, and earlier ones
/// until their last token has expired. May be cached for as long as the answer says: a new key is
/// listed for longer before it signs. Only after all keys were revoked at once can a token name one
/// that a cached list lacks; that is a reason to read it anew.
#[utoipa::path(
    tag = "well-known",
    responses((status = 200, body = Object, content_type = "application/jwk-set+json"))
)]
#[get("/.well-known/jwks.json")]
async fn jwks(services: Data<Services>) -> HttpResponse {
    let max_age = services.config.sessions.jwks_max_age_seconds.count();
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, format!("public, max-age={max_age}")))
        .content_type("application/jwk-set+json")
        .body(services.access.keys().jwks(services.clock.now()).to_string())
}

/// Whom to tell about a vulnerability (RFC 9116).
#[utoipa::path(
    tag = "well-known",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 404, description = "No contact is configured")
    )
)]
#[get("/.well-known/security.txt")]
async fn security_txt(services: Data<Services>) -> Result<HttpResponse, Problem> {
    let http = &services.config.http;
    let contact = http.security_contact.as_deref().ok_or(Problem::new(Code::NotFound))?;
    let text = render(contact, http.public_url.as_str(), services.clock.now());
    Ok(HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "public, max-age=86400"))
        .content_type("text/plain; charset=utf-8")
        .body(text))
}

/// The day changes the text, not the second, so that caches and people see one text a day.
fn render(contact: &str, public_url: &str, now: DateTime<Utc>) -> String {
    let today = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let expires = today + TimeDelta::days(SECURITY_TXT_DAYS);
    let expires = expires.to_rfc3339_opts(SecondsFormat::Secs, true);
    let base = public_url.trim_end_matches('/');
    format!(
        "Contact: {contact}\nExpires: {expires}\nPreferred-Languages: en, vi\n\
         Canonical: {base}/.well-known/security.txt\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_txt_has_the_fields_of_rfc_9116() {
        let now = "2026-11-21T22:26:00.5Z".parse().unwrap();
        assert_eq!(
            render("mailto:security@shop.example", "https://api.shop.example/", now),
            "Contact: mailto:security@shop.example\nExpires: 2027-05-20T00:00:00Z\n\
             Preferred-Languages: en, vi\n\
             Canonical: https://api.shop.example/.well-known/security.txt\n"
        );
    }
}
