//! Facebook's dialect of the same provider: a graph that tells whose a token is.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, web};
use ring::hmac;
use serde_json::json;

use super::routes::{Shared, redeem};
use super::{CLIENT_ID, CLIENT_SECRET, IdentityProvider, REDIRECT_URI};
use crate::harness::unique;

pub fn scope() -> actix_web::Scope {
    web::scope("/graph")
        .route("/oauth/access_token", web::post().to(token))
        .route("/debug_token", web::get().to(inspect))
        .route("/me", web::get().to(me))
}

impl IdentityProvider {
    /// Settings (`SECTION__KEY`) of a service that knows it as Facebook, by `name`.
    pub fn facebook_settings(&self, name: &str) -> Vec<(String, String)> {
        let key = |key: &str| format!("SOCIAL__PROVIDERS__{}__{key}", name.to_uppercase());
        [
            ("KIND", "facebook".to_owned()),
            ("CLIENT_ID", CLIENT_ID.to_owned()),
            ("CLIENT_SECRET", CLIENT_SECRET.to_owned()),
            ("REDIRECT_URIS", REDIRECT_URI.to_owned()),
            ("AUTHORIZE_URL", format!("{}/dialog/oauth", self.base)),
            ("GRAPH_URL", format!("{}/graph", self.base)),
        ]
        .map(|(name, value)| (key(name), value))
        .into()
    }
}

fn refused() -> HttpResponse {
    HttpResponse::BadRequest().json(json!({
        "error": { "message": "no", "type": "OAuthException", "code": 100 },
    }))
}

async fn token(form: web::Form<HashMap<String, String>>, state: Shared) -> HttpResponse {
    let mut state = state.lock().unwrap();
    let is_app = form.get("client_id").is_some_and(|id| id == CLIENT_ID)
        && form.get("client_secret").is_some_and(|secret| secret == CLIENT_SECRET);
    match redeem(&mut state, &form) {
        Some(grant) if is_app => {
            let token = unique("EAA");
            state.tokens.insert(token.clone(), grant.person);
            HttpResponse::Ok().json(json!({
                "access_token": token, "token_type": "bearer", "expires_in": 5_000_000,
            }))
        }
        _ => refused(),
    }
}

fn bearer(request: &HttpRequest) -> Option<String> {
    let header = request.headers().get("authorization")?.to_str().ok()?;
    header.strip_prefix("Bearer ").map(str::to_owned)
}

async fn inspect(
    request: HttpRequest,
    query: web::Query<HashMap<String, String>>,
    state: Shared,
) -> HttpResponse {
    let state = state.lock().unwrap();
    if bearer(&request) != Some(format!("{CLIENT_ID}|{CLIENT_SECRET}")) {
        return refused();
    }
    let Some(person) = query.get("input_token").and_then(|token| state.tokens.get(token)) else {
        return refused();
    };
    HttpResponse::Ok().json(json!({ "data": {
        "app_id": state.lie.app_id.as_deref().unwrap_or(CLIENT_ID),
        "type": "USER",
        "is_valid": !state.lie.invalid,
        "expires_at": 0,
        "user_id": state.lie.user_id.as_deref().unwrap_or(&person.subject),
    }}))
}

async fn me(
    request: HttpRequest,
    query: web::Query<HashMap<String, String>>,
    state: Shared,
) -> HttpResponse {
    let state = state.lock().unwrap();
    let Some(token) = bearer(&request) else { return refused() };
    let Some(person) = state.tokens.get(&token) else { return refused() };
    let key = hmac::Key::new(hmac::HMAC_SHA256, CLIENT_SECRET.as_bytes());
    let proof = hmac::sign(&key, token.as_bytes());
    let proof: String = proof.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if query.get("appsecret_proof") != Some(&proof) {
        return refused();
    }
    HttpResponse::Ok().json(json!({
        "id": person.subject, "email": person.email,
        "first_name": person.given_name, "last_name": person.family_name,
    }))
}
