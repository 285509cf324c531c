//! A toy resource on the whole stack: shows how the parts of this folder fit together and proves
//! that they do.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer, body::MessageBody, dev::ServiceResponse, get,
    http::header, patch, post, test::TestRequest, web,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use utoipa::ToSchema;
use utoipa_actix_web::{AppExt, service_config::ServiceConfig};
use uuid::Uuid;

use super::{
    body::{BodyLimits, JsonBody},
    catalogue::{self, Code},
    client_address::ClientAddress,
    conditional::{IfMatch, IfNoneMatch, etag},
    docs,
    field::{FieldFault, Patch, Raw},
    form::Form,
    idempotency::IdempotencyHeader,
    pages::{Page, PageRequest},
    problem::{Problem, ProblemDocument},
    query::Query,
    request_id::{RequestIdentity, RequestLayer},
};

// ---- the resource: what a file of a real one looks like

/// A thing.
#[derive(Serialize, ToSchema)]
struct Thing {
    id: i64,
    #[schema(required = false)]
    label: Option<String>,
    version: i64,
}

/// What a new thing is made from.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the fields describe the body; the toy stores nothing")]
struct NewThing {
    label: String,
    size: Option<i64>,
}

impl NewThing {
    fn read(form: &mut Form<'_>) -> Option<NewThing> {
        let label = form.required("label", |raw| raw.bounded_text(1, 10));
        let size = form.optional("size", |raw| raw.bounded_integer(1, 9));
        Some(NewThing { label: label?, size })
    }
}

/// A change of a thing.
#[derive(ToSchema)]
struct ThingPatch {
    #[schema(value_type = Option<String>)]
    label: Patch<String>,
}

impl ThingPatch {
    fn read(form: &mut Form<'_>) -> Option<ThingPatch> {
        let label = form.patch("label", |raw: Raw<'_>| match raw.text()? {
            "taken" => Err(FieldFault::new("taken", "Is in use.")),
            text => Ok(text.to_owned()),
        });
        Some(ThingPatch { label })
    }
}

fn routes(cfg: &mut ServiceConfig) {
    cfg.service(list).service(create).service(show).service(change).service(panics);
    // what misbehaves otherwise is of no interest to the document
    cfg.route("/v1/sleeps", web::get().to(sleeps));
    cfg.route("/v1/bare", web::get().to(|| async { HttpResponse::Conflict().finish() }));
    cfg.route("/v1/io", web::get().to(fails));
}

/// All things.
#[utoipa::path(
    tag = "things",
    params(("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<Thing>))
)]
#[get("/v1/things")]
async fn list(request: HttpRequest) -> Result<web::Json<Page<Thing>>, Problem> {
    let page =
        Query::read(request.query_string(), |query| PageRequest::<i64>::read(query, "things"))?;
    let first = page.after.map_or(0, |after| after + 1);
    let rows: Vec<i64> = (first..30).take(page.fetch() as usize).collect();
    let thing = |id| Thing { id, label: None, version: 1 };
    Ok(web::Json(page.page(rows, |id| *id, thing)))
}

/// A new thing.
#[utoipa::path(
    tag = "things",
    request_body = NewThing,
    security(("staff" = [])),
    responses((status = 201, body = Thing), (status = 409, body = ProblemDocument))
)]
#[post("/v1/things")]
async fn create(
    request: HttpRequest,
    identity: RequestIdentity,
    address: ClientAddress,
    body: JsonBody,
) -> Result<HttpResponse, Problem> {
    let new = body.read(NewThing::read)?;
    let key = IdempotencyHeader::of(&request, &body.sha256)?;
    if new.label == "taken" {
        return Err(Problem::new(Code::EmailTaken));
    }
    Ok(HttpResponse::Created().insert_header(etag(1)).json(json!({
        "label": new.label,
        "key": key.map(|key| key.key),
        "address": address.ip(),
        "seen_id": identity.id(),
        "trace": identity.trace_parent(),
    })))
}

/// One thing.
#[utoipa::path(tag = "things", params(("id" = i64, Path)), responses((status = 200, body = Thing)))]
#[get("/v1/things/{id}")]
async fn show(id: web::Path<i64>, known: IfNoneMatch) -> HttpResponse {
    known.answer(7, &Thing { id: *id, label: None, version: 7 })
}

/// Changes a thing.
#[utoipa::path(
    tag = "things",
    params(("id" = i64, Path)),
    request_body = ThingPatch,
    responses((status = 200, body = Thing))
)]
#[patch("/v1/things/{id}")]
async fn change(id: web::Path<i64>, on: IfMatch, body: JsonBody) -> Result<HttpResponse, Problem> {
    let patch = body.read(ThingPatch::read)?;
    on.require()?.check(7)?;
    let label = patch.label.apply(Some("old".to_owned()));
    Ok(HttpResponse::Ok().insert_header(etag(8)).json(Thing { id: *id, label, version: 8 }))
}

/// A handler with a mistake in it.
#[utoipa::path(tag = "things", params(("id" = i64, Path)), responses((status = 200)))]
#[get("/v1/panics/{id}")]
async fn panics(id: web::Path<i64>) -> HttpResponse {
    panic!("secret {id}");
}

async fn sleeps() -> HttpResponse {
    std::future::pending().await
}

async fn fails() -> Result<HttpResponse, actix_web::Error> {
    Err(std::io::Error::other("secret").into())
}

// ---- the app: how app.rs puts the parts together

fn new_ids() -> impl Fn() -> Uuid + Clone + 'static {
    let next = Arc::new(AtomicU64::new(1));
    move || Uuid::from_u128(u128::from(next.fetch_add(1, Ordering::Relaxed)))
}

macro_rules! app {
    ($new_id:expr) => {
        docs::finish(
            App::new()
                .wrap(RequestLayer::new($new_id, Duration::from_millis(300)))
                .app_data(BodyLimits { bytes: 256, deadline: Duration::from_millis(100) })
                .into_utoipa_app()
                .openapi(docs::root(&"http://127.0.0.1:8080".parse().unwrap()))
                .configure(docs::routes)
                .configure(catalogue::routes)
                .configure(routes),
        )
    };
}

struct Answer {
    status: u16,
    headers: header::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    async fn of(response: ServiceResponse<impl MessageBody>) -> Answer {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = actix_web::body::to_bytes(response.into_body()).await.ok().unwrap().to_vec();
        Answer { status, headers, body }
    }
}

/// Sends one request to a fresh app, as the server would: an error becomes its answer.
async fn send(request: TestRequest) -> Answer {
    let app = actix_web::test::init_service(app!(new_ids())).await;
    match actix_web::test::try_call_service(&app, request.to_request()).await {
        Ok(response) => Answer::of(response).await,
        Err(error) => {
            let request = TestRequest::default().to_http_request();
            Answer::of(ServiceResponse::new(request, error.error_response())).await
        }
    }
}

fn get(uri: &str) -> TestRequest {
    TestRequest::get().uri(uri)
}

fn post(body: &str) -> TestRequest {
    let request = TestRequest::post().uri("/v1/things").set_payload(body.to_owned());
    request.insert_header((header::CONTENT_TYPE, "application/json"))
}

fn patch(body: &str) -> TestRequest {
    let request = TestRequest::patch().uri("/v1/things/1").set_payload(body.to_owned());
    request.insert_header((header::CONTENT_TYPE, "application/merge-patch+json"))
}

async fn refusal(request: TestRequest) -> (u16, String) {
    let answer = send(request).await;
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let json = answer.json();
    let code = json["code"].as_str().unwrap().to_owned();
    assert_eq!(json["status"], answer.status);
    assert_eq!(json["type"], format!("/problems/{code}"));
    assert_eq!(json["request_id"], answer.header("x-request-id").unwrap());
    assert!(json["instance"].as_str().unwrap().starts_with('/'));
    assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
    (answer.status, code)
}

#[actix_web::test]
async fn a_sound_request_passes_through_every_part() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = post(r#"{"label": "Phở", "size": null}"#)
        .insert_header(("idempotency-key", "\"k-1\""))
        .insert_header(("x-request-id", "mine"))
        .insert_header(("traceparent", trace))
        .peer_addr("[2001:db8::1]:1".parse().unwrap());
    let answer = send(request).await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.json(),
        json!({"label": "Phở", "key": "k-1", "address": "2001:db8::1", "seen_id": "mine", "trace": trace})
    );
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[actix_web::test]
async fn bad_bodies_get_the_status_of_the_contract() {
    for (body, status, code) in [
        ("", 400, "malformed_json"),
        ("{", 400, "malformed_json"),
        (r#"{"label":"a","label":"b"}"#, 400, "malformed_json"),
        (r#"{"label":"\ud800"}"#, 400, "malformed_json"),
        (r#"{"label":"\u0000"}"#, 422, "validation_failed"),
        (r#"{"label":1}"#, 422, "validation_failed"),
        (r#"{"label":"a","other":1}"#, 422, "validation_failed"),
        ("[]", 422, "validation_failed"),
        (r#"{"label":"taken"}"#, 409, "email_taken"),
    ] {
        assert_eq!(refusal(post(body)).await, (status, code.to_owned()), "{body}");
    }
    let deep = format!("{}{}", "[".repeat(33), "]".repeat(33));
    assert_eq!(refusal(post(&deep)).await.0, 400);
    assert_eq!(refusal(post(&" ".repeat(257))).await, (413, "payload_too_large".into()));
    let merge = post("{}").insert_header((header::CONTENT_TYPE, "application/merge-patch+json"));
    assert_eq!(refusal(merge).await, (415, "unsupported_media_type".into()));
    let key = post(r#"{"label":"a"}"#).insert_header(("idempotency-key", "a b"));
    assert_eq!(refusal(key).await, (400, "malformed_idempotency_key".into()));
}

#[actix_web::test]
async fn every_faulty_field_is_in_the_answer() {
    let answer = send(post(r#"{"size":10,"secret":"secret"}"#)).await;
    assert_eq!(answer.status, 422);
    let errors = answer.json()["errors"].clone();
    assert_eq!(
        errors,
        json!([
            {"pointer": "#/label", "code": "required", "detail": "Must be given."},
            {"pointer": "#/size", "code": "out_of_range", "detail": "Must be from 1 to 9."},
            {"pointer": "#/secret", "code": "unknown_field", "detail": "There is no field of this name."},
        ])
    );
}

#[actix_web::test]
async fn changes_are_conditional_and_patches_merge() {
    assert_eq!(refusal(patch("{}")).await, (428, "precondition_required".into()));
    let with = |body, tag: &'static str| patch(body).insert_header((header::IF_MATCH, tag));
    assert_eq!(refusal(with("{}", "\"6\"")).await, (412, "precondition_failed".into()));
    assert_eq!(refusal(with("{}", "6")).await, (400, "malformed_header".into()));
    for (body, label) in
        [("{}", json!("old")), (r#"{"label":null}"#, json!(null)), (r#"{"label":"n"}"#, json!("n"))]
    {
        let answer = send(with(body, "\"6\", \"7\"")).await;
        assert_eq!((answer.status, &answer.json()["label"]), (200, &label), "{body}");
    }
    assert_eq!(refusal(with(r#"{"label":"taken"}"#, "*")).await.0, 422);
    let known = get("/v1/things/1").insert_header((header::IF_NONE_MATCH, "\"7\""));
    let answer = send(known).await;
    assert_eq!((answer.status, answer.body.len()), (304, 0));
    assert_eq!(answer.header("etag"), Some("\"7\""));
}

#[actix_web::test]
async fn lists_go_page_by_page() {
    let (mut uri, mut seen) = ("/v1/things".to_owned(), Vec::new());
    loop {
        let json = send(get(&uri)).await.json();
        seen.extend(json["items"].as_array().unwrap().iter().map(|item| item["id"].clone()));
        match json["next_cursor"].as_str() {
            Some(cursor) => uri = format!("/v1/things?cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..30).map(Value::from).collect::<Vec<_>>());
    for (query, status) in [
        ("limit=0", 422),
        ("limt=1", 422),
        ("cursor=x", 422),
        ("limit=%ff", 400),
        ("limit=1&limit=2", 400),
    ] {
        assert_eq!(refusal(get(&format!("/v1/things?{query}"))).await.0, status, "{query}");
    }
}

#[actix_web::test]
async fn unknown_paths_and_wrong_methods_are_told_apart() {
    assert_eq!(refusal(get("/v1/nothing")).await, (404, "not_found".into()));
    assert_eq!(refusal(get("/")).await, (404, "not_found".into()));
    // a path that does not parse names nothing
    assert_eq!(refusal(get("/v1/things/abc")).await, (404, "not_found".into()));
    let delete = || TestRequest::delete().uri("/v1/things/1");
    assert_eq!(refusal(delete()).await, (405, "method_not_allowed".into()));
    assert_eq!(send(delete()).await.header("allow"), Some("GET, HEAD, PATCH"));
    let brew = TestRequest::default()
        .method(actix_web::http::Method::from_bytes(b"BREW").unwrap())
        .uri("/v1/things");
    assert_eq!(send(brew).await.header("allow"), Some("GET, HEAD, POST"));
    let head = TestRequest::default().method(actix_web::http::Method::HEAD).uri("/v1/things/1");
    assert_eq!(send(head).await.status, 200);
    let long = get(&format!("/v1/things?cursor={}", "x".repeat(5000)));
    assert_eq!(refusal(long).await, (414, "uri_too_long".into()));
}

#[actix_web::test]
async fn whatever_goes_wrong_inside_is_answered() {
    let refused = refusal(get("/v1/panics/1")).await;
    assert_eq!(refused, (500, "internal".into()));
    assert_eq!(refusal(get("/v1/io")).await, (500, "internal".into()));
    assert_eq!(refusal(get("/v1/bare")).await, (409, "conflict".into()));
    assert_eq!(refusal(get("/v1/sleeps")).await, (503, "timed_out".into()));
    let answer = send(get("/v1/sleeps")).await;
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    // a harmful id from outside is replaced
    let spaced = get("/v1/things").insert_header(("x-request-id", "a b"));
    let fresh = "00000000-0000-0000-0000-000000000001";
    assert_eq!(send(spaced).await.header("x-request-id"), Some(fresh));
}

#[actix_web::test]
async fn the_document_describes_the_routes_and_their_problems() {
    let answer = send(get("/openapi.json")).await;
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let responses = &document["paths"]["/v1/things"]["post"]["responses"];
    for (status, name) in [
        ("400", "MalformedRequest"),
        ("401", "Unauthorized"),
        ("415", "UnsupportedMediaType"),
        ("422", "ValidationFailed"),
        ("503", "Unavailable"),
        ("default", "Problem"),
    ] {
        let reference = format!("#/components/responses/{name}");
        assert_eq!(responses[status]["$ref"], reference, "{status}");
    }
    // what an operation says itself stays
    assert!(responses["409"]["content"].is_object());
    assert!(document["paths"]["/v1/things"]["get"]["responses"].get("401").is_none());
    let patch = &document["paths"]["/v1/things/{id}"]["patch"]["requestBody"]["content"];
    assert_eq!(patch["application/merge-patch+json"], patch["application/json"]);
    assert!(patch["application/json"]["schema"].is_object());
    let components = &document["components"];
    assert_eq!(components["securitySchemes"]["customer"]["scheme"], "bearer");
    assert_eq!(components["securitySchemes"]["staff"]["scheme"], "bearer");
    let codes = components["schemas"]["Problem"]["properties"]["code"]["enum"].as_array().unwrap();
    assert_eq!(codes.len(), catalogue::PROBLEMS.len());
    for schema in ["Problem", "FieldError", "Thing", "NewThing", "ThingPatch", "ProblemType"] {
        assert!(components["schemas"].get(schema).is_some(), "{schema}");
    }
    assert_no_dangling_references(&document, &document);
}

fn assert_no_dangling_references(document: &Value, node: &Value) {
    if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
    }
    let children: Vec<&Value> = match node {
        Value::Array(items) => items.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => return,
    };
    children.into_iter().for_each(|child| assert_no_dangling_references(document, child));
}

#[actix_web::test]
async fn the_reference_page_needs_no_foreign_host() {
    let answer = send(get("/docs")).await;
    assert_eq!((answer.status, answer.header("location")), (308, Some("/docs/")));
    let page = send(get("/docs/")).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'self'"));
    for part in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        let answer = send(get(&format!("/docs/{part}"))).await;
        assert!(answer.status == 200 && !answer.body.is_empty(), "{part}");
    }
    let script = send(get("/docs/swagger-initializer.js")).await.body;
    assert!(String::from_utf8(script).unwrap().contains("/openapi.json"));
    assert_eq!(refusal(get("/docs/none.js")).await, (404, "not_found".into()));
}

/// Records what a thread logs, as the service would write it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn records_and_metrics_tell_the_route_and_nothing_of_the_request() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let requests = async {
        send(get("/v1/things/987654321?private=1").insert_header(("x-request-id", "r-1"))).await;
        send(get("/v1/panics/987654321")).await;
        send(get("/v1/nothing/987654321")).await;
        send(patch(r#"{"label":"private"}"#)).await;
    };
    // While there is one dispatcher alone, tracing asks the thread that meets a record first whether anybody
    // wants it: that may be another test's, which has none, and its no would stand for this one.
    let _second = tracing::dispatcher::Dispatch::new(tracing_subscriber::registry());
    metrics::with_local_recorder(&recorder, || {
        tracing::subscriber::with_default(subscriber, || {
            actix_web::rt::System::new().block_on(requests);
        });
    });
    let metrics = recorder.handle().render();
    for expected in [
        r#"http_request_method="GET",http_route="/v1/things/{id}",http_response_status_code="200""#,
        r#"http_request_method="GET",http_route="/v1/panics/{id}",http_response_status_code="500""#,
        r#"http_request_method="GET",http_route="none",http_response_status_code="404""#,
        r#"http_request_method="PATCH",http_route="/v1/things/{id}",http_response_status_code="428""#,
        "http_handler_panics_total 1",
        "http_server_active_requests 0",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 4, "one record each: {log}");
    let first = &records[0]["fields"];
    assert_eq!(first["http.route"], "/v1/things/{id}");
    assert_eq!(first["http.response.status_code"], 200);
    assert_eq!(first["request_id"], "r-1");
    assert_eq!(records[0]["level"], "INFO");
    for text in [&log, &metrics] {
        assert!(!text.contains("987654321") && !text.contains("private"), "{text}");
    }
}

/// Sends bytes over a real connection and reads what comes back until the server closes it.
async fn exchange(server: SocketAddr, parts: &[&[u8]]) -> String {
    let mut connection = TcpStream::connect(server).await.unwrap();
    for part in parts {
        // the server may have answered and closed before it took everything
        let _ = connection.write_all(part).await;
    }
    let mut answer = Vec::new();
    let read = connection.read_to_end(&mut answer);
    let ended = tokio::time::timeout(Duration::from_secs(5), read).await.is_ok();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(ended, "the connection stays open after: {answer}");
    answer
}

#[actix_web::test]
async fn on_a_real_connection() {
    let new_id = new_ids();
    let server = HttpServer::new(move || app!(new_id.clone()))
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    let running = tokio::spawn(server);
    let head = "HEAD /v1/things/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(address, &[head.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("etag: \"7\"") && answer.contains("content-length: "), "{answer}");

    let post = "POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                connection: close\r\n";
    // a body that is announced and never comes
    let announced = format!("{post}content-length: 9\r\n\r\n{{");
    let answer = exchange(address, &[announced.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    // one that grows past the limit without having said so
    let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n");
    let chunk = format!("3e8\r\n{}\r\n", " ".repeat(1000));
    let answer = exchange(address, &[chunked.as_bytes(), chunk.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("payload_too_large"), "{answer}");

    // nor does one hold its connection that no handler wants
    let elsewhere = chunked.replace("/v1/things", "/v1/nothing");
    let answer = exchange(address, &[elsewhere.as_bytes(), chunk.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    // one that is read to its end costs nothing: the connection serves the next request
    let whole = "POST /v1/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                 transfer-encoding: chunked\r\n\r\nd\r\n{\"label\":\"a\"}\r\n0\r\n\r\n";
    let answer = exchange(address, &[whole.as_bytes(), head.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("HTTP/1.1 200"), "{answer}");

    // a panic costs its own request only: the worker serves on
    let broken = "GET /v1/panics/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for _ in 0..3 {
        let answer = exchange(address, &[broken.as_bytes()]).await;
        assert!(
            answer.starts_with("HTTP/1.1 500") && answer.contains("x-request-id: "),
            "{answer}"
        );
    }
    let answer = exchange(address, &[head.as_bytes()]).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    handle.stop(true).await;
    running.await.unwrap().unwrap();
}
