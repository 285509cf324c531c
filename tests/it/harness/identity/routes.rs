//! The provider's addresses, and the checks that real ones make: who the client is, whether the
//! code is fresh, and whether who began is who ends (PKCE).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, mpsc};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev, web};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Verifier as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use customer_service::clock::{Clock as _, SystemClock};

use super::{Apple, CLIENT_ID, CLIENT_SECRET, Grant, State, facebook};
use crate::harness::unique;

pub type Shared = web::Data<Mutex<State>>;

/// Serves on a port of its own, on a thread of its own.
pub async fn serve(state: Arc<Mutex<State>>) -> (u16, ServerHandle) {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let state = web::Data::from(state);
            let server = HttpServer::new(move || {
                App::new()
                    .app_data(state.clone())
                    .wrap(from_fn(behave))
                    .route("/.well-known/openid-configuration", web::get().to(discovery))
                    .route("/jwks", web::get().to(jwks))
                    .route("/token", web::post().to(token))
                    .service(facebook::scope())
            })
            .workers(1)
            .shutdown_timeout(0)
            .disable_signals()
            .bind("127.0.0.1:0")
            .unwrap();
            let port = server.addrs()[0].port();
            let server = server.run();
            tell.send((port, server.handle())).unwrap();
            server.await.unwrap();
        });
    });
    tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap()
}

/// Counts, waits and fails as it was told to.
async fn behave(
    request: dev::ServiceRequest,
    next: Next<impl actix_web::body::MessageBody + 'static>,
) -> Result<dev::ServiceResponse<impl actix_web::body::MessageBody>, actix_web::Error> {
    let (delay, status) = {
        let state = request.app_data::<Shared>().unwrap();
        let mut state = state.lock().unwrap();
        *state.requests.entry(request.path().to_owned()).or_default() += 1;
        (state.delay, state.status)
    };
    tokio::time::sleep(delay).await;
    match status {
        Some(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            let answer = HttpResponse::build(status)
                .insert_header(("location", "http://127.0.0.1:1/elsewhere"))
                .body("<html>trouble</html>");
            Ok(request.into_response(answer).map_into_right_body())
        }
        None => Ok(next.call(request).await?.map_into_left_body()),
    }
}

async fn discovery(state: Shared) -> HttpResponse {
    let state = state.lock().unwrap();
    let base = &state.base;
    let methods = match state.apple {
        Some(_) => json!(["client_secret_post"]),
        None => json!(["client_secret_basic", "client_secret_post"]),
    };
    let mut document = json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/authorize?tenant=a"),
        "token_endpoint": format!("{base}/token"),
        "jwks_uri": format!("{base}/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none", "X-NEW"],
        "token_endpoint_auth_methods_supported": methods,
        "something_new": {"a": 1},
    });
    for (name, value) in state.metadata.as_object().unwrap() {
        document[name] = value.clone();
    }
    HttpResponse::Ok().json(document)
}

async fn jwks(state: Shared) -> HttpResponse {
    let state = state.lock().unwrap();
    if let Some(status) = state.jwks_status {
        return HttpResponse::build(StatusCode::from_u16(status).unwrap()).finish();
    }
    let mut keys: Vec<Value> = state.keys.iter().map(|key| key.jwk()).collect();
    // kinds that nobody knows yet must not hide the others
    keys.push(json!({ "kty": "NEW", "kid": "future" }));
    HttpResponse::Ok().json(json!({ "keys": keys }))
}

fn refused(code: &str) -> HttpResponse {
    let status = if code == "invalid_client" { 401 } else { 400 };
    let status = StatusCode::from_u16(status).unwrap();
    HttpResponse::build(status).json(json!({ "error": code, "error_description": "no" }))
}

async fn token(
    request: HttpRequest,
    form: web::Form<HashMap<String, String>>,
    state: Shared,
) -> HttpResponse {
    let mut state = state.lock().unwrap();
    if !is_client(&request, &form, &state) {
        return refused("invalid_client");
    }
    let Some(grant) = redeem(&mut state, &form) else { return refused("invalid_grant") };
    let access_token = unique("access");
    let hash = Sha256::digest(&access_token);
    let at_hash = URL_SAFE_NO_PAD.encode(&hash[..16]);
    let nonce = grant.query.get("nonce").map(String::as_str);
    let id_token = state.id_token(&grant.person, CLIENT_ID, nonce, Some(at_hash));
    HttpResponse::Ok().json(json!({
        "access_token": access_token, "token_type": "Bearer", "expires_in": 3600,
        "id_token": id_token,
    }))
}

/// The grant of a code, which is worth nothing afterwards.
pub fn redeem(state: &mut State, form: &HashMap<String, String>) -> Option<Grant> {
    let grant = state.codes.remove(form.get("code")?)?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(form.get("code_verifier")?));
    let sound = form.get("grant_type")? == "authorization_code"
        && form.get("redirect_uri") == grant.query.get("redirect_uri")
        && grant.query.get("code_challenge") == Some(&challenge);
    sound.then_some(grant)
}

fn is_client(request: &HttpRequest, form: &HashMap<String, String>, state: &State) -> bool {
    if let Some(apple) = &state.apple {
        return form.get("client_id").is_some_and(|id| id == CLIENT_ID)
            && form.get("client_secret").is_some_and(|secret| apple.accepts(secret, &state.base));
    }
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    let Some(basic) = header.and_then(|value| value.strip_prefix("Basic ")) else { return false };
    let text = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
    let (name, secret) = text.split_once(':').unwrap();
    let decoded = |text: &str| {
        let pairs = format!("x={text}");
        url::form_urlencoded::parse(pairs.as_bytes()).next().unwrap().1.into_owned()
    };
    decoded(name) == CLIENT_ID && decoded(secret) == CLIENT_SECRET
}

impl Apple {
    fn accepts(&self, secret: &str, issuer: &str) -> bool {
        let parts: Vec<_> = secret.split('.').collect();
        let [header, claims, signature] = parts[..] else { return false };
        let bytes = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let json = |part: &str| serde_json::from_slice::<Value>(&bytes(part)).unwrap();
        let signed = p256::ecdsa::Signature::from_slice(&bytes(signature)).unwrap();
        let message = format!("{header}.{claims}");
        let (header, claims) = (json(header), json(claims));
        let now = SystemClock.now().timestamp();
        let (from, until) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
        self.key.verify(message.as_bytes(), &signed).is_ok()
            && header == json!({ "alg": "ES256", "kid": self.key_id })
            && claims["iss"] == self.team_id.as_str()
            && claims["sub"] == CLIENT_ID
            && claims["aud"] == issuer
            && from <= now
            && (now..=now + 15_777_000).contains(&until)
    }
}
