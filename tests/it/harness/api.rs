//! Speaking HTTP to the service: short to write, and loud when the answer is not the expected one.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// The API of one node.
#[derive(Clone)]
pub struct Api {
    base: String,
    client: Client,
}

impl Api {
    pub fn new(base: String) -> Self {
        // As main does; whoever comes second is told that it is done.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(Duration::from_secs(30))
            // The service closes idle connections after 15 s; a reused one must not race with that.
            .pool_idle_timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { base, client }
    }

    /// Where it is, for who speaks HTTP by hand.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call {
        self.call(Method::POST, path).json(body)
    }

    pub fn patch(&self, path: &str, body: Value) -> Call {
        self.call(Method::PATCH, path).json(body)
    }

    pub fn put(&self, path: &str, body: Value) -> Call {
        self.call(Method::PUT, path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call {
        self.call(Method::DELETE, path)
    }

    pub fn call(&self, method: Method, path: &str) -> Call {
        let builder = self.client.request(method.clone(), format!("{}{path}", self.base));
        Call { builder, what: format!("{method} {path}") }
    }

    /// The sum of a metric over its labels; 0 when it was never counted.
    pub async fn metric(&self, name: &str) -> f64 {
        self.metric_where(name, "").await
    }

    /// As [`Api::metric`], of the series whose labels contain `label`.
    pub async fn metric_where(&self, name: &str, label: &str) -> f64 {
        let text = self.get("/metrics").send().await.expect(200).text();
        let series = text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| {
            (rest.starts_with('{') || rest.starts_with(' ')) && rest.contains(label)
        });
        // Not `sum`, which of nothing is minus 0.
        let values = series.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
        values.fold(0.0, |sum, value| sum + value)
    }
}

/// One request in the making.
pub struct Call {
    builder: RequestBuilder,
    what: String,
}

impl Call {
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    pub fn if_match(self, version: i64) -> Self {
        self.header("if-match", &format!("\"{version}\""))
    }

    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// As if the request came through a proxy from this address.
    pub fn from(self, address: &str) -> Self {
        self.header("x-forwarded-for", address)
    }

    pub fn json(self, body: Value) -> Self {
        self.body("application/json", body.to_string().into_bytes())
    }

    pub fn body(mut self, content_type: &str, body: Vec<u8>) -> Self {
        self.builder = self.builder.header("content-type", content_type).body(body);
        self
    }

    /// Sends it.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn send(self) -> Answer {
        let what = self.what.clone();
        self.try_send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"))
    }

    /// Sends it; no answer is an answer, too.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        let response = self.builder.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.bytes().await?.to_vec();
        Ok(Answer { what: self.what, status, headers, body })
    }
}

/// One answer, read to its end.
#[derive(Clone)]
pub struct Answer {
    what: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// # Panics
    /// Unless the answer has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        self
    }

    /// # Panics
    /// Unless the answer is this problem, in the form of a problem document.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.code(), code, "{}: {}", answer.what, answer.text());
        answer.assert_problem();
        answer
    }

    /// # Panics
    /// Unless this is a whole and sound problem document.
    #[track_caller]
    pub fn assert_problem(&self) {
        let (what, text) = (&self.what, self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{what}: {text}");
        let problem = self.json();
        let code = problem["code"].as_str().unwrap_or_default();
        assert_eq!(problem["type"], format!("/problems/{code}"), "{what}: {text}");
        assert_eq!(problem["status"], self.status, "{what}: {text}");
        assert_eq!(problem["request_id"], self.header("x-request-id"), "{what}: {text}");
        for member in ["title", "detail", "instance"] {
            assert!(problem[member].is_string(), "{what}: no {member} in {text}");
        }
        if matches!(self.status, 429 | 503) {
            let seconds = self.header("retry-after").parse::<u64>();
            assert!(seconds.is_ok_and(|s| s >= 1), "{what}: no retry-after with {text}");
        }
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error} in {}", self.what, self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The problem's code; empty when the answer is no problem.
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A header's value; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Which fields are faulty, as `pointer code` or `parameter code`, sorted.
    pub fn faults(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let place = |error: &Value| {
            let place = error["pointer"].as_str().or(error["parameter"].as_str());
            format!("{} {}", place.unwrap_or("?"), error["code"].as_str().unwrap_or("?"))
        };
        let mut faults: Vec<_> = errors.iter().map(place).collect();
        faults.sort();
        faults
    }

    /// The version in `ETag`.
    #[track_caller]
    pub fn version(&self) -> i64 {
        let tag = self.header("etag");
        tag.trim_matches('"').parse().unwrap_or_else(|_| panic!("{}: etag {tag:?}", self.what))
    }
}
