//! The order service over HTTP, for who wants to know what it says now: the orders of a customer, a
//! page at a time, each as the fact that its messages carry.
//!
//! An answer is 200 with a page; whoever has no orders has an empty one. Everything else (another
//! status, a redirect, silence, a page that cannot be read) is no answer, and nothing follows from
//! it: who asked tries again later.

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::domain::CustomerId;
use crate::domain::order::{FactFault, OrderFact};

/// A page is read up to here: a thousand orders of common size.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A longer cursor is none.
const CURSOR_MAX: usize = 2_048;

/// It stands in an internal network: who does not take a connection by then is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How to reach it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `{url}/customers/{id}/orders` is asked.
    pub url: Url,
    /// Sent as a bearer's.
    pub token: Option<SecretString>,
    /// For one page: connection, request and answer.
    pub timeout: Duration,
}

/// Why there is no answer. Never holds what was sent or received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the order service cannot be asked: {0}")]
pub struct Unreachable(pub &'static str);

/// The HTTP client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the client of the order service cannot be made: {0}")]
pub struct SetupFault(String);

/// Some orders of a customer.
#[derive(Debug, Default)]
pub struct Page {
    pub facts: Vec<Result<OrderFact, FactFault>>,
    /// Where the next page begins; `None`: this was the last.
    pub next_cursor: Option<String>,
}

/// The order service; see the module. Cheap to clone.
#[derive(Clone)]
pub struct OrderService {
    client: Client,
    settings: Settings,
}

/// A page as it comes; members that nobody here knows are its own affair.
#[derive(Deserialize)]
struct Wire {
    items: Vec<Value>,
    next_cursor: Option<String>,
}

impl OrderService {
    /// # Errors
    /// What the HTTP client says of the machine's TLS roots.
    pub fn new(settings: Settings) -> Result<Self, SetupFault> {
        let client = Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(CONNECT_TIMEOUT.min(settings.timeout))
            // A redirect would carry the token to an address that nobody configured.
            .redirect(Policy::none())
            // Where it is stands in the configuration, not in the environment.
            .no_proxy()
            .user_agent(concat!("customer-service/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| SetupFault(error.to_string()))?;
        Ok(Self { client, settings })
    }

    /// The orders of a customer from a cursor on; from the first one without.
    ///
    /// # Errors
    /// [`Unreachable`] for whatever is not a page.
    pub async fn page(
        &self,
        customer: CustomerId,
        cursor: Option<&str>,
    ) -> Result<Page, Unreachable> {
        let mut request = self.client.get(self.address(customer, cursor)?);
        if let Some(token) = &self.settings.token {
            request = request.bearer_auth(token.expose_secret());
        }
        let request = request.header(ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(|error| trouble(&error))?;
        if answer.status() != StatusCode::OK {
            return Err(refusal(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|error| trouble(&error))? {
            if body.len() + part.len() > PAGE_BYTES_MAX {
                return Err(Unreachable("its answer is too long"));
            }
            body.extend_from_slice(&part);
        }
        read(&body)
    }

    fn address(&self, customer: CustomerId, cursor: Option<&str>) -> Result<Url, Unreachable> {
        let mut url = self.settings.url.clone();
        url.path_segments_mut()
            .map_err(|()| Unreachable("orders.service.url is no place to add a path to"))?
            .pop_if_empty()
            .extend(["customers", &customer.to_string(), "orders"]);
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        Ok(url)
    }
}

/// The page that a body is. Facts are judged one by one: a bad one spoils no other.
fn read(body: &[u8]) -> Result<Page, Unreachable> {
    let wire: Wire =
        serde_json::from_slice(body).map_err(|_| Unreachable("its answer is no page of orders"))?;
    if wire.next_cursor.as_ref().is_some_and(|next| next.is_empty() || next.len() > CURSOR_MAX) {
        return Err(Unreachable("its answer has no usable cursor"));
    }
    let fact = |item: &Value| OrderFact::parse(item.to_string().as_bytes());
    Ok(Page { facts: wire.items.iter().map(fact).collect(), next_cursor: wire.next_cursor })
}

fn refusal(status: StatusCode) -> Unreachable {
    Unreachable(match status.as_u16() {
        401 | 403 => "it refuses our token",
        404 => "it does not know the address",
        408 | 425 | 429 => "it asks for patience",
        300..=399 => "it redirects",
        500..=599 => "it answers with an error",
        _ => "it answers with something else than 200",
    })
}

/// Kind only: the library's texts hold the address.
fn trouble(error: &reqwest::Error) -> Unreachable {
    Unreachable(match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "no connection",
        _ => "the connection broke",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use uuid::Uuid;

    fn service(url: &str) -> OrderService {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, timeout) = (Url::parse(url).unwrap(), Duration::from_secs(1));
        OrderService::new(Settings { url, token: None, timeout }).unwrap()
    }

    #[test]
    fn addresses_are_below_the_configured_one_and_escape_the_cursor() {
        let customer = CustomerId(Uuid::from_u128(7));
        let below = "/customers/00000000-0000-0000-0000-000000000007/orders";
        for (base, start) in [
            ("https://orders.example", "https://orders.example"),
            ("https://orders.example/", "https://orders.example"),
            ("https://orders.example/v2", "https://orders.example/v2"),
            ("https://orders.example/v2/", "https://orders.example/v2"),
        ] {
            let address = service(base).address(customer, None).unwrap();
            assert_eq!(address.as_str(), format!("{start}{below}"));
        }
        let address = service("https://orders.example").address(customer, Some("a&b=ü c"));
        assert_eq!(address.unwrap().query(), Some("cursor=a%26b%3D%C3%BC+c"));
    }

    #[test]
    fn o4_each_fact_of_a_page_is_judged_by_itself() {
        let fact = json!({
            "order_id": "ORD-1", "customer_id": "0198a5b0-0000-7000-8000-000000000001",
            "version": 2, "status": "placed", "placed_at": "2026-03-01T10:00:00Z",
            "total": { "amount": 5, "currency": "VND" }, "items": [],
        });
        let page =
            json!({ "items": [fact, { "order_id": "ORD-2" }, 7], "next_cursor": "x", "more": 1 });
        let page = read(page.to_string().as_bytes()).unwrap();
        assert_eq!(page.facts[0].as_ref().unwrap().version, 2);
        assert_eq!(page.facts[1].as_ref().unwrap_err().code, "missing");
        assert_eq!(page.facts[2].as_ref().unwrap_err().code, "wrong_type");
        assert_eq!(page.next_cursor.as_deref(), Some("x"));
        for last in [json!({ "items": [] }), json!({ "items": [], "next_cursor": null })] {
            assert_eq!(read(last.to_string().as_bytes()).unwrap().next_cursor, None);
        }
    }

    #[test]
    fn whatever_is_no_page_is_no_answer() {
        for body in ["", "[]", "{}", "{\"items\":1}", "{\"items\":[],\"next_cursor\":\"\"}"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let long = json!({ "items": [], "next_cursor": "x".repeat(CURSOR_MAX + 1) });
        assert!(read(long.to_string().as_bytes()).is_err());
        for status in [204, 301, 400, 401, 404, 429, 500, 503] {
            // Of no status follows that there are no orders.
            let told = refusal(StatusCode::from_u16(status).unwrap()).to_string();
            assert!(told.starts_with("the order service cannot be asked"), "{told}");
        }
    }
}
