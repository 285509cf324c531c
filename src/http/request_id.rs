//! The outermost layer of every request: its id in and out, its one access record, its metrics,
//! the headers that every answer bears, and the promise that whatever goes wrong inside, even a
//! panic, is answered with a problem document.

use std::{
    cell::Cell,
    future::{Ready, ready},
    panic::AssertUnwindSafe,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, FromRequest, HttpMessage, HttpRequest,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform},
    error::InternalError,
    http::{
        Method, StatusCode, Uri,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web::Data,
};
use futures_util::{FutureExt, future::LocalBoxFuture};
use metrics::Gauge;
use tracing::Instrument;
use uuid::Uuid;

use crate::deadline;

use super::{
    admission::Refused,
    catalogue::Code,
    docs::Description,
    error,
    problem::{Occurrence, Problem},
    unread::Unread,
};
use crate::traces::{Span, TraceId};

/// The header that carries the id both ways.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id from outside is replaced by one of ours.
const REQUEST_ID_MAX: usize = 128;
/// How an answer is counted that belongs to no route.
const NO_ROUTE: &str = "none";
/// The longest path with query that is taken, in bytes.
const URI_MAX: usize = 4096;

/// Who this request is, for handlers. An extractor; only behind [`RequestLayer`].
#[derive(Clone)]
pub struct RequestIdentity(Rc<Identity>);

struct Identity {
    id: String,
    trace_parent: Option<String>,
}

impl RequestIdentity {
    /// The value of `x-request-id`: 1 to 128 visible ASCII characters.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// A valid W3C `traceparent` to be handed on with messages: of this request's own span, or that of the
    /// caller while this request is not recorded.
    pub fn trace_parent(&self) -> Option<&str> {
        self.0.trace_parent.as_deref()
    }
}

impl FromRequest for RequestIdentity {
    type Error = Problem;
    type Future = Ready<Result<RequestIdentity, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let identity = request.extensions().get::<RequestIdentity>().cloned();
        ready(identity.ok_or(Problem::new(Code::Internal)))
    }
}

/// The layer; wrap the app in it last, so that it is outermost.
#[derive(Clone)]
pub struct RequestLayer {
    new_id: Rc<dyn Fn() -> Uuid>,
    limit: Duration,
    /// A path whose bodies may take longer, and how long.
    upload: Option<(&'static str, Duration)>,
}

impl RequestLayer {
    /// `new_id` gives ids to requests that come without one. A request unanswered after `limit`
    /// gets 503 `timed_out`; set it above the body's own deadline, which knows better what to say.
    pub fn new(new_id: impl Fn() -> Uuid + 'static, limit: Duration) -> RequestLayer {
        RequestLayer { new_id: Rc::new(new_id), limit, upload: None }
    }

    /// Lets a `POST` to one path take longer: its body is a file.
    pub fn with_upload(self, path: &'static str, limit: Duration) -> RequestLayer {
        RequestLayer { upload: Some((path, limit)), ..self }
    }

    fn limit_of(&self, request: &ServiceRequest) -> Duration {
        match self.upload {
            Some((path, limit)) if request.method() == Method::POST && request.path() == path => {
                limit
            }
            _ => self.limit,
        }
    }
}

impl<S, B> Transform<S, ServiceRequest> for RequestLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = RequestService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let active = metrics::gauge!("http_server_active_requests");
        ready(Ok(RequestService { service: Rc::new(service), layer: self.clone(), active }))
    }
}

/// The layer around one worker's app.
pub struct RequestService<S> {
    service: Rc<S>,
    layer: RequestLayer,
    /// How many requests are under way.
    active: Gauge,
}

impl<S, B> Service<ServiceRequest> for RequestService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    actix_web::dev::forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        // Probes and scrapes are many and tell nothing.
        let traced = request.path().starts_with("/v1/");
        let (identity, trace) = identify(request.headers(), &*self.layer.new_id, traced);
        let trace_id = trace.as_ref().map(Span::trace_id);
        let active = self.active.clone();
        let exchange = Exchange::begin(&mut request, identity.clone(), trace, active);
        request.extensions_mut().insert(identity.clone());
        if request.uri().path_and_query().is_some_and(|text| text.as_str().len() > URI_MAX) {
            let problem = Problem::new(Code::UriTooLong);
            return Box::pin(ready(Ok(exchange.end(request.error_response(problem)))));
        }
        // HEAD is GET without its body (RFC 9110, 9.3.2); the connection leaves the body out
        if request.method() == Method::HEAD {
            request.head_mut().method = Method::GET;
        }
        let trace_id = trace_id.map(tracing::field::display);
        let span = tracing::info_span!("request", request_id = identity.id(), trace_id);
        let (service, limit) = (self.service.clone(), self.layer.limit_of(&request));
        // called inside the guarded future: a panic may also come from the call itself
        let until = tokio::time::Instant::now() + limit;
        let answer = deadline::within(until, async move { service.call(request).await });
        let guarded = AssertUnwindSafe(tokio::time::timeout(limit, answer)).catch_unwind();
        let guarded = async move {
            match guarded.await {
                Ok(Ok(Ok(response))) => Ok(exchange.end(response.map_into_boxed_body())),
                Ok(Ok(Err(error))) => Err(exchange.end_without_request(problem_of(&error))),
                Ok(Err(_late)) => Err(exchange.end_without_request(Problem::new(Code::TimedOut))),
                Err(_panic) => {
                    // the panic hook has recorded where it happened
                    metrics::counter!("http_handler_panics_total").increment(1);
                    Err(exchange.end_without_request(Problem::new(Code::Internal)))
                }
            }
        };
        Box::pin(guarded.instrument(span))
    }
}

/// One request from its first byte to its answer.
struct Exchange {
    identity: RequestIdentity,
    method: &'static str,
    uri: Uri,
    description: Option<Data<Description>>,
    unread: Option<Unread>,
    started: Instant,
    /// Ends with what it is answered; with the exchange, if its caller goes away before.
    trace: Cell<Option<Span>>,
    trace_id: Option<TraceId>,
    _active: Active,
}

impl Exchange {
    fn begin(
        request: &mut ServiceRequest,
        identity: RequestIdentity,
        trace: Option<Span>,
        active: Gauge,
    ) -> Exchange {
        Exchange {
            identity,
            method: method_label(request.method()),
            uri: request.uri().clone(),
            description: request.app_data::<Data<Description>>().cloned(),
            unread: Unread::share(request),
            started: Instant::now(),
            trace_id: trace.as_ref().map(Span::trace_id),
            trace: Cell::new(trace),
            _active: Active::begin(active),
        }
    }

    /// Completes an answer that came back whole.
    fn end(&self, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        if let Some(problem) = problem_in(&response) {
            count(&problem);
            let document = problem.document(Some(self.occurrence()));
            response = response.map_body(|head, _| {
                head.status = problem.status();
                problem.write_headers(&mut head.headers);
                BoxBody::new(document)
            });
        }
        self.complete_headers(response.headers_mut());
        // A flood of refusals must cost next to nothing: no route is looked for, and the log tells of all
        // of them at once (admission/watch.rs).
        let refused = response.request().extensions().contains::<Refused>();
        let route = if refused { None } else { response.request().match_pattern() };
        self.count(route.as_deref(), response.status());
        if !refused {
            self.record(route.as_deref(), response.status());
        }
        response.map_body(|_, body| self.hold_unread(body))
    }

    /// Answers in place of a service that failed and took the request with it.
    fn end_without_request(&self, problem: Problem) -> Error {
        count(&problem);
        let mut response = problem.respond(Some(self.occurrence()));
        self.complete_headers(response.headers_mut());
        let route = self.description.as_ref().and_then(|all| all.template_of(self.uri.path()));
        self.count(route, problem.status());
        self.record(route, problem.status());
        let response = response.map_body(|_, body| self.hold_unread(body));
        InternalError::from_response(problem, response).into()
    }

    fn hold_unread(&self, body: BoxBody) -> BoxBody {
        match &self.unread {
            Some(unread) => unread.clone().held_by(body),
            None => body,
        }
    }

    fn occurrence(&self) -> Occurrence<'_> {
        Occurrence { instance: self.uri.path(), request_id: self.identity.id() }
    }

    fn complete_headers(&self, headers: &mut HeaderMap) {
        let id = HeaderValue::from_str(self.identity.id())
            .expect("ids are visible ASCII, which a header may hold");
        headers.insert(X_REQUEST_ID, id);
        let mut default = |name: HeaderName, value: &'static str| {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        default(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        default(header::REFERRER_POLICY, "no-referrer");
        default(header::X_FRAME_OPTIONS, "DENY");
        default(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
        if self.uri.path().starts_with("/v1/") {
            default(header::CACHE_CONTROL, "no-store");
        }
    }

    /// The metrics, and the end of its trace. The route is the template: a path may hold an id or a token, so it is told nowhere.
    fn count(&self, route: Option<&str>, status: StatusCode) {
        let route = route.unwrap_or(NO_ROUTE);
        if let Some(trace) = self.trace.take() {
            trace.answered(self.method, route, status.as_u16());
        }
        metrics::histogram!(
            "http_server_request_duration_seconds",
            "http_request_method" => self.method,
            "http_route" => route.to_owned(),
            "http_response_status_code" => status.as_str().to_owned(),
        )
        .record(self.started.elapsed().as_secs_f64());
    }

    /// The access record. It names the request itself, so it stands in no span, whose fields would be
    /// written once more with each.
    fn record(&self, route: Option<&str>, status: StatusCode) {
        let elapsed = self.started.elapsed().as_secs_f64();
        tracing::info!(
            parent: None,
            http.request.method = self.method,
            http.route = route.unwrap_or(NO_ROUTE),
            http.response.status_code = status.as_u16(),
            duration_ms = elapsed * 1000.0,
            request_id = self.identity.id(),
            trace_id = self.trace_id.map(tracing::field::display),
            "answered",
        );
    }
}

/// The problem that an answer stands for: one of ours, one of actix's, or a bare error status.
fn problem_in(response: &ServiceResponse<BoxBody>) -> Option<Problem> {
    if let Some(error) = response.response().error() {
        return Some(problem_of(error));
    }
    let status = response.status();
    let failed = status.is_client_error() || status.is_server_error();
    let bare = matches!(response.response().body().size(), BodySize::None | BodySize::Sized(0));
    (failed && bare).then(|| error::of_status(status))
}

fn problem_of(error: &Error) -> Problem {
    match error.as_error::<Problem>() {
        Some(problem) => problem.clone(),
        None => error::of_actix(error),
    }
}

fn count(problem: &Problem) {
    metrics::counter!("http_problems_total", "code" => problem.code().as_str()).increment(1);
}

fn identify(
    headers: &HeaderMap,
    new_id: &dyn Fn() -> Uuid,
    traced: bool,
) -> (RequestIdentity, Option<Span>) {
    let sent = headers.get(X_REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = sent.filter(|id| is_request_id(id)).map(str::to_owned);
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let caller = trace.filter(|text| is_trace_parent(text));
    let span = traced.then(|| Span::of_request(caller)).flatten();
    let here = span.as_ref().map(Span::traceparent);
    let identity = RequestIdentity(Rc::new(Identity {
        id: id.unwrap_or_else(|| new_id().to_string()),
        trace_parent: here.or_else(|| caller.map(str::to_owned)),
    }));
    (identity, span)
}

fn is_request_id(id: &str) -> bool {
    (1..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Version 00 of W3C Trace Context: `00-<trace id>-<parent id>-<flags>`, neither id all zero.
fn is_trace_parent(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let parts: Vec<_> = text.splitn(5, '-').collect();
    matches!(parts[..], ["00", trace, parent, flags]
        if hex(trace, 32) && hex(parent, 16) && hex(flags, 2)
            && trace.bytes().any(|byte| byte != b'0') && parent.bytes().any(|byte| byte != b'0'))
}

/// The method as a label; clients may invent methods, and each label is a time series.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// Counts a request as under way until it is dropped, also when its client goes away.
struct Active(Gauge);

impl Active {
    fn begin(all: Gauge) -> Active {
        all.increment(1.0);
        Active(all)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_outside_are_kept_only_when_harmless() {
        let long = "x".repeat(REQUEST_ID_MAX);
        for kept in ["a", "0190b4a0-0000-7000-8000-000000000000", "!~", &long] {
            assert!(is_request_id(kept), "{kept}");
        }
        for replaced in ["", "a b", "a\tb", "ä", "a\n", &format!("{long}x")] {
            assert!(!is_request_id(replaced), "{replaced:?}");
        }
    }

    #[test]
    fn only_valid_trace_parents_are_handed_on() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_trace_parent(valid));
        for invalid in [
            "",
            "00",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(!is_trace_parent(invalid), "{invalid}");
        }
    }

    #[test]
    fn invented_methods_share_one_label() {
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "_OTHER");
        assert_eq!(method_label(&Method::PATCH), "PATCH");
    }
}
