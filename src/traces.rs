//! Traces, for a collector that takes OTLP over HTTP. One trace leads from the request that asks for a
//! change to the batch that commits it and to the publishing of its messages, which carry it on to their
//! consumers as `traceparent` (W3C Trace Context). Spans have the names and attributes of OpenTelemetry's
//! semantic conventions where there is one, and nothing of anybody: routes instead of paths, ids of
//! messages, sizes.
//!
//! Without a collector, and for a request that is not recorded, nothing of it happens: a caller's
//! `traceparent` is handed on as it came.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
pub use opentelemetry::trace::TraceId;
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags,
    TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use crate::config::TelemetryConfig;

const SERVICE: &str = "customer-service";

/// How long the collector may take for one export.
const EXPORT_WITHIN: Duration = Duration::from_secs(5);

/// How long the last export may hold up the end of the process.
const LAST_EXPORT_WITHIN: Duration = Duration::from_secs(3);

/// Unset while there is no collector.
static TRACER: OnceLock<Tracer> = OnceLock::new();

/// What makes the process's spans.
#[derive(Debug)]
struct Tracer {
    spans: SdkTracer,
    /// Of the requests about which no caller decided, from 0 to 1.
    share: f64,
}

/// The export of spans. Dropping it sends what waits and ends it; not inside an async runtime, for it
/// blocks.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to export, when there is a collector. What the collector cannot take is dropped, never waited
    /// for: at most 2,048 spans wait in memory.
    ///
    /// # Errors
    /// When there is no thread for it, or when it was begun before in this process.
    pub fn start(config: &TelemetryConfig) -> anyhow::Result<Option<Self>> {
        let Some(url) = &config.traces_url else { return Ok(None) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(url.as_str())
            .with_timeout(EXPORT_WITHIN)
            .build()
            .context("traces cannot be exported")?;
        let share = f64::from(config.traces_percent) / 100.0;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        // Also reads OTEL_RESOURCE_ATTRIBUTES.
        let resource = Resource::builder().with_service_name(SERVICE).with_attribute(version);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // What is not to be recorded is not begun, see `Span::of_request`.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource.build())
            .build();
        let begun = TRACER.set(Tracer { spans: provider.tracer(SERVICE), share });
        begun.map_err(|_| anyhow::anyhow!("traces are exported already"))?;
        Ok(Some(Self(provider)))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_EXPORT_WITHIN) {
            tracing::warn!(%error, "the last traces were not exported");
        }
    }
}

/// One step of a trace. It ends when it is dropped.
pub struct Span(opentelemetry_sdk::trace::Span);

impl Span {
    /// That of a request, within the trace of its caller, if it names one. Whether it is recorded is the
    /// caller's decision, or else that of the configured share. `None` where it is not: such a request costs
    /// what it costs without a collector.
    pub fn of_request(caller: Option<&str>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = match caller.and_then(parse) {
            Some(caller) if caller.is_sampled() => Context::new().with_remote_span_context(caller),
            Some(_) => return None,
            None => rand::random_bool(tracer.share).then(Context::new)?,
        };
        let builder = SpanBuilder::from_name("request").with_kind(SpanKind::Server);
        Some(Self(builder.start_with_context(&tracer.spans, &parent)))
    }

    /// A step for the request that `traceparent` names. `None` while traces are off, or where that request is
    /// not recorded: then it costs a comparison.
    pub fn within(
        traceparent: Option<&str>,
        kind: SpanKind,
        described: impl FnOnce() -> (Cow<'static, str>, Vec<KeyValue>),
    ) -> Option<Self> {
        let tracer = &TRACER.get()?.spans;
        let parent = parse(traceparent?).filter(SpanContext::is_sampled)?;
        let (name, attributes) = described();
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_attributes(attributes);
        let parent = Context::new().with_remote_span_context(parent);
        Some(Self(builder.start_with_context(tracer, &parent)))
    }

    /// What makes further steps part of this one, here and elsewhere.
    pub fn traceparent(&self) -> String {
        let here = self.0.span_context();
        let flags = here.trace_flags().to_u8();
        format!("00-{}-{}-{flags:02x}", here.trace_id(), here.span_id())
    }

    /// The trace's id, for logs.
    pub fn trace_id(&self) -> TraceId {
        self.0.span_context().trace_id()
    }

    /// Ends that of a request with what it was answered. A refusal is no failure of the service.
    pub fn answered(mut self, method: &'static str, route: &str, status: u16) {
        self.0.update_name(format!("{method} {route}"));
        self.0.set_attribute(KeyValue::new("http.request.method", method));
        self.0.set_attribute(KeyValue::new("http.route", route.to_owned()));
        self.0.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        if status >= 500 {
            self.failed(status.to_string());
        }
    }

    /// Notes that it came to nothing, and of which kind the failure is.
    pub fn failed(&mut self, kind: impl Into<Cow<'static, str>>) {
        self.0.set_attribute(KeyValue::new("error.type", kind.into()));
        self.0.set_status(Status::error(""));
    }
}

/// Version 00 of W3C Trace Context. What is not that is none.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let parts: Vec<&str> = traceparent.splitn(5, '-').collect();
    let &["00", trace, span, flags] = &parts[..] else { return None };
    let flags = u8::from_str_radix(flags, 16).ok()?;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, TraceFlags::new(flags), true, TraceState::NONE);
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_or_is_none() {
        let read = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        assert_eq!(read.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(read.span_id().to_string(), "b7ad6b7169203331");
        assert!(read.is_sampled() && read.is_remote());
        let unrecorded = parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00").unwrap();
        assert!(!unrecorded.is_sampled());
        for odd in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319z-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
        ] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn without_a_collector_there_is_no_span() {
        let caller = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert!(Span::of_request(caller).is_none());
        let described = || panic!("nobody is to describe it");
        assert!(Span::within(caller, SpanKind::Internal, described).is_none());
    }
}
