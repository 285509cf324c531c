//! The HTTP client for identity providers: no redirects (a provider's answer is never to be found
//! elsewhere), bodies of bounded size, and no detail of a failure that could hold a secret.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::Failure;

/// Discovery documents and key sets are some kilobytes; this is far above.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// A provider that cannot be connected to in this time is taken for down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(super) struct Wire(Client);

/// An answer that a provider gave on purpose.
pub(super) enum Answer<T> {
    Ok(T),
    /// It refused, with the `error` of RFC 6749 where one could be read.
    Refused(String),
}

impl Wire {
    pub fn new(timeout: Duration) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .user_agent(concat!("customer-service/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self(client))
    }

    /// Reads a document that must be there.
    pub async fn document<T: DeserializeOwned>(&self, url: &Url) -> Result<T, Failure> {
        match self.send(self.0.get(url.clone())).await? {
            Answer::Ok(document) => Ok(document),
            Answer::Refused(_) => Err(Failure::Unreachable("it refuses to show a document")),
        }
    }

    /// `GET` with a bearer token.
    pub async fn get<T: DeserializeOwned>(
        &self,
        url: &Url,
        token: &str,
    ) -> Result<Answer<T>, Failure> {
        self.send(self.0.get(url.clone()).bearer_auth(token)).await
    }

    /// `POST` of a form, with HTTP Basic credentials where given.
    pub async fn post<T: DeserializeOwned>(
        &self,
        url: &Url,
        form: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<Answer<T>, Failure> {
        let request = self.0.post(url.clone()).form(form);
        let request = match basic {
            Some((name, secret)) => request.basic_auth(encoded(name), Some(encoded(secret))),
            None => request,
        };
        self.send(request).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<Answer<T>, Failure> {
        let request = request.header("accept", "application/json");
        // the error of a request may quote its address with its query: only its kind goes on
        let mut response = request.send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| unreachable(&error))? {
            if body.len() + part.len() > BODY_BYTES_MAX {
                return Err(Failure::Unreachable("its answer is too long"));
            }
            body.extend_from_slice(&part);
        }
        match status {
            StatusCode::OK => serde_json::from_slice(&body)
                .map(Answer::Ok)
                .map_err(|_| Failure::Unreachable("its answer is not what was asked for")),
            StatusCode::TOO_MANY_REQUESTS => Err(Failure::Unreachable("it limits our calls")),
            status if status.is_client_error() => Ok(Answer::Refused(error_code(&body))),
            status if status.is_redirection() => Err(Failure::Unreachable("it redirects")),
            _ => Err(Failure::Unreachable("it answers with an error")),
        }
    }
}

fn unreachable(error: &reqwest::Error) -> Failure {
    Failure::Unreachable(match error {
        error if error.is_timeout() => "no answer in time",
        error if error.is_connect() => "no connection",
        _ => "the connection broke",
    })
}

/// RFC 6749 section 2.3.1: form-encoded before they are joined.
fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// `{"error": "invalid_grant"}`, or Facebook's `{"error": {"type": …}}`, of which the kind is
/// enough.
fn error_code(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    error.as_str().or_else(|| error["type"].as_str()).unwrap_or_default().to_owned()
}
