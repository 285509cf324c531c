//! `JsonBody`: the extractor that takes a JSON body off the wire, within its limits.
//!
//! actix has no time limit for a body at all and a media type check that forgives; here the type
//! is enforced, the size bounded while reading, and the whole body must arrive before a deadline.

use std::time::Duration;

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::{
        Method,
        header::{self, HeaderName, HeaderValue},
    },
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, future::LocalBoxFuture};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{catalogue::Code, form::Form, json, problem::Problem};

/// The limits of a body; put into the app's data, or a scope's to have others there.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// The greatest length in bytes.
    pub bytes: usize,
    /// How long the whole body may take, from the moment that the handler asks for it.
    pub deadline: Duration,
}

impl Default for BodyLimits {
    fn default() -> BodyLimits {
        BodyLimits { bytes: 64 * 1024, deadline: Duration::from_secs(10) }
    }
}

/// A JSON body that has passed every check of [`json::parse`].
pub struct JsonBody {
    /// What was sent.
    pub value: Value,
    /// SHA-256 of the bytes as sent, for idempotency.
    pub sha256: [u8; 32],
}

impl JsonBody {
    /// Reads the body's fields.
    ///
    /// # Errors
    /// 422 with every failing field.
    pub fn read<'a, T>(
        &'a self,
        read: impl FnOnce(&mut Form<'a>) -> Option<T>,
    ) -> Result<T, Problem> {
        Form::read(&self.value, read)
    }
}

impl FromRequest for JsonBody {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<JsonBody, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limits = request.app_data::<BodyLimits>().copied().unwrap_or_default();
        let allowed = check_type(request).and_then(|()| check_length(request, limits));
        let payload = payload.take();
        Box::pin(async move {
            allowed?;
            let bytes = tokio::time::timeout(limits.deadline, collect(payload, limits.bytes))
                .await
                .map_err(|_| Problem::new(Code::BodyTimeout))??;
            let value = json::parse(&bytes)?;
            Ok(JsonBody { value, sha256: Sha256::digest(&bytes).into() })
        })
    }
}

/// A body that may be left out: `None` when nothing was sent, otherwise as [`JsonBody`]. A body that
/// cannot be read is refused and never taken for one that was left out.
pub struct MaybeJsonBody(pub Option<JsonBody>);

impl FromRequest for MaybeJsonBody {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<MaybeJsonBody, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if is_absent(request) {
            return Box::pin(async { Ok(MaybeJsonBody(None)) });
        }
        let body = JsonBody::from_request(request, payload);
        Box::pin(async move { body.await.map(Some).map(MaybeJsonBody) })
    }
}

/// Whether the request has no body: by its framing (RFC 9112, section 6.3), not by its type.
fn is_absent(request: &HttpRequest) -> bool {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
    !headers.contains_key(header::TRANSFER_ENCODING) && matches!(length, None | Some(b"0"))
}

/// Refuses every media type but JSON, and any content encoding: decompression would let a small
/// body grow past its limit.
fn check_type(request: &HttpRequest) -> Result<(), Problem> {
    let patch = request.method() == Method::PATCH;
    let json = match request.mime_type() {
        Ok(Some(mime)) => {
            let named = mime.essence_str() == "application/json"
                || patch && mime.essence_str() == "application/merge-patch+json";
            named && mime.get_param("charset").is_none_or(|charset| charset == "utf-8")
        }
        _ => false,
    };
    let once = request.headers().get_all(header::CONTENT_TYPE).count() <= 1;
    let plain = request
        .headers()
        .get_all(header::CONTENT_ENCODING)
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if json && once && plain {
        return Ok(());
    }
    let (name, value) = if patch {
        let both = "application/merge-patch+json, application/json";
        (HeaderName::from_static("accept-patch"), HeaderValue::from_static(both))
    } else {
        (header::ACCEPT, HeaderValue::from_static("application/json"))
    };
    Err(Problem::new(Code::UnsupportedMediaType).header(name, value))
}

/// Refuses a body that announces itself as too long, before a byte of it is read.
fn check_length(request: &HttpRequest, limits: BodyLimits) -> Result<(), Problem> {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    match announced {
        Some(length) if length > limits.bytes => Err(too_large(limits.bytes)),
        _ => Ok(()),
    }
}

async fn collect(mut payload: Payload, limit: usize) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| match error {
            PayloadError::Overflow => too_large(limit),
            _ => Problem::new(Code::MalformedRequest).detail("The body ended too early."),
        })?;
        if body.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Code::PayloadTooLarge).detail(format!("At most {limit} bytes are taken."))
}

#[cfg(test)]
mod tests {
    use actix_web::{http::header::ContentType, test::TestRequest};
    use futures_util::{StreamExt, stream};

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { bytes: 32, deadline: Duration::from_millis(50) };

    async fn extract(request: TestRequest) -> Result<JsonBody, Problem> {
        let (request, mut payload) = request.app_data(LIMITS).to_http_parts();
        JsonBody::from_request(&request, &mut payload).await
    }

    async fn code(request: TestRequest) -> Option<Code> {
        extract(request).await.err().map(|problem| problem.code())
    }

    fn post(content_type: &'static str) -> TestRequest {
        TestRequest::post().insert_header((header::CONTENT_TYPE, content_type)).set_payload("{}")
    }

    #[actix_web::test]
    async fn only_json_is_taken() {
        for fine in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/json; charset=\"utf-8\"",
        ] {
            assert_eq!(code(post(fine)).await, None, "{fine}");
        }
        for refused in [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "application/merge-patch+json",
            "application/json; charset=latin1",
            "application/problem+json",
            "json",
            "",
        ] {
            assert_eq!(code(post(refused)).await, Some(Code::UnsupportedMediaType), "{refused}");
        }
        let bare = TestRequest::post().set_payload("{}");
        assert_eq!(code(bare).await, Some(Code::UnsupportedMediaType));
        let zipped = post("application/json").insert_header((header::CONTENT_ENCODING, "gzip"));
        assert_eq!(code(zipped).await, Some(Code::UnsupportedMediaType));
        let merge = || post("application/merge-patch+json").method(Method::PATCH);
        assert_eq!(code(merge()).await, None);
        assert_eq!(code(post("application/json").method(Method::PATCH)).await, None);
    }

    #[actix_web::test]
    async fn the_size_is_bounded_announced_or_not() {
        let json =
            |body: String| TestRequest::post().insert_header(ContentType::json()).set_payload(body);
        assert_eq!(code(json(format!("\"{}\"", "x".repeat(30)))).await, None);
        let long = format!("\"{}\"", "x".repeat(31));
        assert_eq!(code(json(long)).await, Some(Code::PayloadTooLarge));
        assert_eq!(code(json(String::new())).await, Some(Code::MalformedJson));
        let announced = TestRequest::post()
            .insert_header(ContentType::json())
            .insert_header((header::CONTENT_LENGTH, "33"));
        assert_eq!(code(announced).await, Some(Code::PayloadTooLarge));
        // in chunks that are each small enough
        let chunks =
            stream::iter([Ok(Bytes::from(vec![b' '; 20])), Ok(Bytes::from(vec![b' '; 20]))]);
        let mut payload = Payload::Stream { payload: chunks.boxed_local() };
        let request = TestRequest::post()
            .insert_header(ContentType::json())
            .app_data(LIMITS)
            .to_http_request();
        let problem = JsonBody::from_request(&request, &mut payload).await.err().unwrap();
        assert_eq!(problem.code(), Code::PayloadTooLarge);
    }

    #[actix_web::test]
    async fn a_body_that_never_ends_or_breaks_off_is_given_up() {
        let request = TestRequest::post()
            .insert_header(ContentType::json())
            .app_data(LIMITS)
            .to_http_request();
        let trickle = stream::iter([Ok(Bytes::from_static(b"{"))]).chain(stream::pending());
        let mut payload = Payload::Stream { payload: trickle.boxed_local() };
        let problem = JsonBody::from_request(&request, &mut payload).await.err().unwrap();
        assert_eq!(problem.code(), Code::BodyTimeout);
        let broken = stream::iter([Err(PayloadError::Incomplete(None))]);
        let mut payload = Payload::Stream { payload: broken.boxed_local() };
        let problem = JsonBody::from_request(&request, &mut payload).await.err().unwrap();
        assert_eq!(problem.code(), Code::MalformedRequest);
    }

    #[actix_web::test]
    async fn the_hash_is_that_of_the_bytes() {
        let request = |body: &'static str| {
            TestRequest::post().insert_header(ContentType::json()).set_payload(body)
        };
        let (one, other) =
            (extract(request("{}")).await.unwrap(), extract(request("{ }")).await.unwrap());
        assert_eq!(one.value, other.value);
        assert_ne!(one.sha256, other.sha256);
        assert_eq!(one.sha256[..4], [0x44, 0x13, 0x6f, 0xa3]);
    }
}
