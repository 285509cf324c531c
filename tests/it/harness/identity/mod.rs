//! An identity provider over HTTP on this machine, as real as one needs: discovery, keys that
//! rotate, codes that work once, PKCE, client authentication, Apple's signed secret, Facebook's
//! graph; and it can lie in every claim, be slow, refuse and be down.

mod facebook;
mod routes;
pub mod signing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use serde_json::{Value, json};
use url::Url;

use customer_service::clock::{Clock as _, SystemClock};

use super::unique;
pub use signing::{Signature, SigningKey};

pub const CLIENT_ID: &str = "shop";
pub const CLIENT_SECRET: &str = "the shop's secret: with/strange&signs";
pub const NATIVE_CLIENT_ID: &str = "shop-native";
pub const REDIRECT_URI: &str = "https://shop.example/sign-in/cb";

/// Somebody with an account at the provider.
#[derive(Clone, Debug)]
pub struct Person {
    pub subject: String,
    pub email: String,
    pub email_verified: Value,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
}

impl Person {
    /// Somebody new, whose address the provider has verified.
    pub fn new() -> Self {
        let subject = unique("sub");
        Self {
            email: format!("{}@people.example", unique("somebody")),
            email_verified: json!(true),
            subject,
            given_name: Some("Ánh".to_owned()),
            family_name: Some("Nguyễn".to_owned()),
        }
    }
}

/// What is wrong with the next tokens.
#[derive(Clone, Default)]
pub struct Lie {
    /// Claims that replace the true ones; `null` leaves one out.
    pub claims: Vec<(&'static str, Value)>,
    pub signature: Signature,
    pub kid: Option<String>,
    /// Instead of the configured client, at Facebook.
    pub app_id: Option<String>,
    pub user_id: Option<String>,
    pub invalid: bool,
}

impl Lie {
    pub fn claim(name: &'static str, value: Value) -> Self {
        Self { claims: vec![(name, value)], ..Self::default() }
    }

    pub fn signed(signature: Signature) -> Self {
        Self { signature, ..Self::default() }
    }
}

/// How it behaves; everything may change while it runs.
pub struct State {
    pub base: String,
    pub keys: Vec<SigningKey>,
    pub lie: Lie,
    /// Before every answer.
    pub delay: Duration,
    /// Instead of every answer.
    pub status: Option<u16>,
    /// Instead of the key set's own answer.
    pub jwks_status: Option<u16>,
    /// Overrides members of the discovery document.
    pub metadata: Value,
    /// Where the client secret must be a JWT by this key.
    pub apple: Option<Apple>,
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, Person>,
    /// Requests so far, by path.
    pub requests: HashMap<String, u32>,
}

/// What Apple knows of a developer.
pub struct Apple {
    pub team_id: String,
    pub key_id: String,
    pub key: p256::ecdsa::VerifyingKey,
}

/// What a code stands for.
struct Grant {
    person: Person,
    query: HashMap<String, String>,
}

/// A running provider, ended with the value.
pub struct IdentityProvider {
    pub base: String,
    state: Arc<Mutex<State>>,
    handle: ServerHandle,
}

impl IdentityProvider {
    /// One that signs with ES256.
    pub async fn start() -> Self {
        Self::with(SigningKey::es256()).await
    }

    pub async fn with(key: SigningKey) -> Self {
        let state = Arc::new(Mutex::new(State {
            base: String::new(),
            keys: vec![key],
            lie: Lie::default(),
            delay: Duration::ZERO,
            status: None,
            jwks_status: None,
            metadata: json!({}),
            apple: None,
            codes: HashMap::new(),
            tokens: HashMap::new(),
            requests: HashMap::new(),
        }));
        let (port, handle) = routes::serve(state.clone()).await;
        let base = format!("http://127.0.0.1:{port}");
        state.lock().unwrap().base.clone_from(&base);
        Self { base, state, handle }
    }

    /// Its state, to look at and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What is wrong with all tokens from now on.
    pub fn lie(&self, lie: Lie) {
        self.state().lie = lie;
    }

    /// Signs with another key from now on; the old one is published no more.
    pub fn rotate(&self, key: SigningKey) {
        self.state().keys = vec![key];
    }

    /// Settings (`SECTION__KEY`) of a service that knows it by `name`.
    pub fn settings(&self, name: &str) -> Vec<(String, String)> {
        let key = |key: &str| format!("SOCIAL__PROVIDERS__{}__{key}", name.to_uppercase());
        [
            ("ISSUER", self.base.as_str()),
            ("CLIENT_ID", CLIENT_ID),
            ("CLIENT_SECRET", CLIENT_SECRET),
            ("REDIRECT_URIS", REDIRECT_URI),
            ("AUDIENCES", NATIVE_CLIENT_ID),
        ]
        .map(|(name, value)| (key(name), value.to_owned()))
        .into()
    }

    /// As its page does when `person` agrees: the code that the browser carries back.
    pub fn agree(&self, authorization_url: &str, person: &Person) -> String {
        let url = Url::parse(authorization_url).unwrap();
        let query: HashMap<_, _> = url.query_pairs().into_owned().collect();
        for must in ["client_id", "redirect_uri", "scope", "state", "code_challenge"] {
            assert!(query.contains_key(must), "{must} is missing in {authorization_url}");
        }
        assert_eq!(query["response_type"], "code");
        assert_eq!(query["code_challenge_method"], "S256");
        let code = unique("code");
        self.state().codes.insert(code.clone(), Grant { person: person.clone(), query });
        code
    }

    /// As its library in a native app does: a token for `client`, with a nonce of the app's.
    pub fn id_token(&self, person: &Person, client: &str, nonce: &str) -> String {
        self.state().id_token(person, client, Some(nonce), None)
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

impl State {
    /// A token for a client, true but for the current lie.
    fn id_token(
        &self,
        person: &Person,
        client: &str,
        nonce: Option<&str>,
        at_hash: Option<String>,
    ) -> String {
        let now = SystemClock.now().timestamp();
        let mut claims = json!({
            "iss": self.base, "aud": client, "azp": client, "sub": person.subject,
            "iat": now, "exp": now + 3600, "email": person.email,
            "email_verified": person.email_verified,
        });
        let optional = [
            ("nonce", nonce.map(str::to_owned)),
            ("at_hash", at_hash),
            ("given_name", person.given_name.clone()),
            ("family_name", person.family_name.clone()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                claims[name] = json!(value);
            }
        }
        for (name, value) in &self.lie.claims {
            match value {
                Value::Null => {
                    claims.as_object_mut().unwrap().remove(*name);
                }
                value => claims[*name] = value.clone(),
            }
        }
        let key = self.keys.last().unwrap();
        key.token(&claims, self.lie.signature, self.lie.kid.as_deref(), CLIENT_SECRET)
    }
}
