//! A customer of the tests, with its tokens.

use serde_json::{Value, json};

use super::api::{Answer, Api, Call};
use super::shop::Shop;
use super::unique;

/// A password that every policy accepts.
pub const PASSWORD: &str = "correct horse battery staple 7";

/// A customer who verified the address and is signed in.
#[derive(Clone, Debug)]
pub struct Shopper {
    pub id: String,
    pub email: String,
    pub access: String,
    pub refresh: String,
    pub session: String,
    pub device: String,
}

impl Shopper {
    /// Registers, reads the mail, verifies.
    pub async fn new(shop: &Shop, api: &Api) -> Self {
        let email = address();
        register(api, &email).await.expect(202);
        let token = shop.mail_to(&email, 1).await.token();
        let answer = verify(api, &token).await.expect(200);
        Self::of(&email, &answer)
    }

    /// From the answer of a sign-in.
    pub fn of(email: &str, answer: &Answer) -> Self {
        let pair = answer.json();
        let text = |name: &str| match pair[name].as_str() {
            Some(text) => text.to_owned(),
            None => panic!("no {name} in {pair}"),
        };
        assert_eq!(pair["token_type"], "Bearer");
        Self {
            id: text("customer_id"),
            email: email.to_owned(),
            access: text("access_token"),
            refresh: text("refresh_token"),
            session: text("session_id"),
            // Told once, when the device becomes known.
            device: pair["device_token"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Signs in once more: another session of the same customer.
    pub async fn again(&self, api: &Api) -> Self {
        Self::of(&self.email, &sign_in(api, &self.email, PASSWORD).await.expect(200))
    }

    pub fn get(&self, api: &Api, path: &str) -> Call {
        api.get(path).bearer(&self.access)
    }

    pub fn post(&self, api: &Api, path: &str, body: Value) -> Call {
        api.post(path, body).bearer(&self.access)
    }

    pub fn patch(&self, api: &Api, path: &str, body: Value) -> Call {
        api.patch(path, body).bearer(&self.access)
    }

    pub fn put(&self, api: &Api, path: &str, body: Value) -> Call {
        api.put(path, body).bearer(&self.access)
    }

    pub fn delete(&self, api: &Api, path: &str) -> Call {
        api.delete(path).bearer(&self.access)
    }

    /// Adds an address in this city; answers with its id.
    pub async fn add_address(&self, api: &Api, city: &str) -> String {
        let added = self.post(api, "/v1/me/addresses", home(city)).send().await.expect(201);
        added.json()["id"].as_str().unwrap().to_owned()
    }
}

/// An e-mail address that nobody else uses.
pub fn address() -> String {
    format!("{}@shoppers.example", unique("anna"))
}

/// A valid body for `POST /v1/me/addresses`.
pub fn home(city: &str) -> Value {
    json!({ "recipient": "Anna Nguyễn", "line1": "1 Lê Lợi", "city": city, "country": "VN" })
}

/// A valid body for `POST /v1/auth/register`.
pub fn registration(email: &str) -> Value {
    json!({ "email": email, "password": PASSWORD, "first_name": "Ánh", "last_name": "Nguyễn" })
}

pub async fn register(api: &Api, email: &str) -> Answer {
    api.post("/v1/auth/register", registration(email)).send().await
}

pub async fn verify(api: &Api, token: &str) -> Answer {
    api.post("/v1/auth/email/verify", json!({ "token": token })).send().await
}

pub async fn sign_in(api: &Api, email: &str, password: &str) -> Answer {
    api.post("/v1/auth/login", json!({ "email": email, "password": password })).send().await
}

pub async fn refresh(api: &Api, token: &str) -> Answer {
    refresh_call(api, token).send().await
}

pub fn refresh_call(api: &Api, token: &str) -> Call {
    api.post("/v1/auth/refresh", json!({ "refresh_token": token }))
}
