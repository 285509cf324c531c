//! Traces: one leads from a request to the batch that commits it, to the publishing of its messages and to
//! their consumers; and a collector that is away is nobody's trouble.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;
use serde_json::{Value, json};

use crate::harness::shopper::home;
use crate::harness::{Node, Shop, Shopper, eventually};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const UNWANTED: &str = "5bf92f3577b34da6a3ce929d0e0e4737";
const CALLER: &str = "00f067aa0ba902b7";

/// Long enough for what a node does at its end.
const END_LIMIT: Duration = Duration::from_secs(20);

/// A collector that keeps what it is sent.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
    handle: ServerHandle,
}

impl Collector {
    async fn start() -> Self {
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let (tell, told) = mpsc::channel();
        let kept = web::Data::from(spans.clone());
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    App::new().app_data(kept.clone()).route("/v1/traces", web::post().to(collect))
                });
                let server = server.workers(1).shutdown_timeout(0).disable_signals();
                let server = server.bind("127.0.0.1:0").unwrap();
                let port = server.addrs()[0].port();
                let server = server.run();
                tell.send((port, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (port, handle) =
            tokio::task::spawn_blocking(move || told.recv().unwrap()).await.unwrap();
        Self { url: format!("http://127.0.0.1:{port}/v1/traces"), spans, handle }
    }

    /// Those of one trace, by its id.
    fn of(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| hex(&span.trace_id) == trace).cloned().collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
    }
}

async fn collect(spans: web::Data<Mutex<Vec<Span>>>, body: web::Bytes) -> HttpResponse {
    let request = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
    HttpResponse::Ok().finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn only(spans: &[Span], kind: SpanKind) -> &Span {
    let found: Vec<_> = spans.iter().filter(|span| span.kind == kind as i32).collect();
    assert_eq!(found.len(), 1, "{kind:?}: {spans:#?}");
    found[0]
}

/// What a message of the customer's bears as its origin; null for none.
async fn origin(consumer: &crate::harness::Consumer, shopper: &Shopper, kind: &str) -> Value {
    let header = eventually(kind, END_LIMIT, async || {
        let delivered = consumer.delivered();
        let mut of_kind = delivered
            .iter()
            .filter(|(message, _)| message.customer_id == shopper.id && message.kind == kind);
        of_kind.next().map(|(_, headers)| headers["cloudEvents:traceparent"].clone())
    });
    header.await
}

async fn end(node: &mut Node) {
    node.sigterm();
    assert!(node.ended(END_LIMIT).await.success(), "{}", node.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_leads_from_the_request_over_the_batch_to_the_consumer() {
    let collector = Collector::start().await;
    let settings =
        [("TELEMETRY__TRACES_URL", collector.url.as_str()), ("TELEMETRY__TRACES_PERCENT", "0")];
    let shop = Shop::configured(&settings).await;
    let consumer = shop.consumer().await;
    let mut node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let change = shopper.patch(&node, "/v1/me", json!({ "first_name": "Pangolin" }));
    let caller = format!("00-{TRACE}-{CALLER}-01");
    change.header("traceparent", &caller).send().await.expect(200);
    let origin_of_change = origin(&consumer, &shopper, "customer.updated").await;
    let refused = shopper.get(&node, "/v1/me/addresses/0").header("traceparent", &caller);
    let refused = refused.send().await;
    assert!((400..500).contains(&refused.status), "{}", refused.status);
    // Who decides nothing is not traced where none in a hundred are; who decides against it is not either,
    // and the consumer is told so.
    let unasked = origin(&consumer, &shopper, "customer.created").await;
    assert_eq!(unasked, Value::Null);
    let unwanted = format!("00-{UNWANTED}-{CALLER}-00");
    let add = shopper.post(&node, "/v1/me/addresses", home("Huế"));
    add.header("traceparent", &unwanted).send().await.expect(201);
    let origin_of_unwanted = origin(&consumer, &shopper, "address.created").await;
    assert_eq!(origin_of_unwanted, unwanted);
    // The last are sent at the end, which comes before the exporter's own time.
    end(&mut node).await;
    let spans = collector.of(TRACE);
    let by_name = |name: &str| {
        let found = spans.iter().find(|span| span.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
    };
    let request = by_name("PATCH /v1/me");
    assert_eq!(request.kind, SpanKind::Server as i32);
    assert_eq!(hex(&request.parent_span_id), CALLER);
    let here = hex(&request.span_id);
    assert_eq!(origin_of_change, format!("00-{TRACE}-{here}-01"));
    for step in [by_name("batch"), only(&spans, SpanKind::Producer)] {
        assert_eq!(hex(&step.parent_span_id), here, "{step:#?}");
        assert!(step.start_time_unix_nano >= request.start_time_unix_nano, "{step:#?}");
        assert!(step.end_time_unix_nano > step.start_time_unix_nano, "{step:#?}");
    }
    assert!(by_name("batch").end_time_unix_nano <= request.end_time_unix_nano + 50_000_000);
    let refusal = spans.iter().find(|span| span.name.starts_with("GET ")).unwrap();
    let status = refusal.status.as_ref().map(|status| status.code).unwrap_or_default();
    assert_eq!(status, 0, "a refusal is no failure: {refusal:#?}");
    let all = format!("{:?}", collector.spans.lock().unwrap());
    for personal in ["Pangolin", shopper.email.as_str(), shopper.id.as_str()] {
        assert!(!all.contains(personal), "{personal} is told to the collector");
    }
    let traced = collector.spans.lock().unwrap().iter().all(|span| hex(&span.trace_id) == TRACE);
    assert!(traced, "a trace that nobody asked for: {all}");
    assert!(node.log().contains(TRACE), "the log names the trace");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_is_nobodys_trouble() {
    let settings = [
        ("TELEMETRY__TRACES_URL", "http://127.0.0.1:9/v1/traces"),
        ("TELEMETRY__TRACES_PERCENT", "100"),
    ];
    let shop = Shop::configured(&settings).await;
    let consumer = shop.consumer().await;
    let mut node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    for round in 0..20 {
        let change = json!({ "first_name": format!("Anna {round}") });
        shopper.patch(&node, "/v1/me", change).send().await.expect(200);
    }
    let origin = origin(&consumer, &shopper, "customer.updated").await;
    assert!(origin.as_str().unwrap().ends_with("-01"), "{origin}");
    end(&mut node).await;
    consumer.close().await;
}
