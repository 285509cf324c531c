//! `Idempotency-Key`: the caller's name for one request, with the hash that tells whether a second
//! one of that name is the same request.

use std::fmt;

use actix_web::{
    HttpRequest,
    http::header::{HeaderName, HeaderValue},
};
use sha2::{Digest, Sha256};

use super::{catalogue::Code, problem::Problem};

/// The longest key, in characters.
const KEY_MAX: usize = 255;

/// The request's header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that was given before.
pub const REPLAYED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));

/// The key of a request and what it stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct IdempotencyHeader {
    /// 1 to 255 visible ASCII characters, without the quotes it may have come in.
    pub key: String,
    /// SHA-256 over method, path with query, and body.
    pub request_hash: [u8; 32],
}

impl fmt::Debug for IdempotencyHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // callers choose keys; some choose an e-mail address
        f.write_str("IdempotencyHeader(..)")
    }
}

impl IdempotencyHeader {
    /// Reads the header; `body` is the SHA-256 of the body ([`JsonBody`](super::body::JsonBody)
    /// has it), or of nothing.
    ///
    /// # Errors
    /// 400 `malformed_idempotency_key`.
    pub fn of(request: &HttpRequest, body: &[u8; 32]) -> Result<Option<Self>, Problem> {
        let mut values = request.headers().get_all(IDEMPOTENCY_KEY);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let key = value.to_str().ok().and_then(parse).filter(|_| values.next().is_none());
        let key = key.ok_or(Problem::new(Code::MalformedIdempotencyKey))?;
        Ok(Some(IdempotencyHeader { key, request_hash: hash(request, body) }))
    }
}

/// Each part has its length before it, so that no two requests run together to the same bytes.
fn hash(request: &HttpRequest, body: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    for part in [request.method().as_str().as_bytes(), target.as_bytes(), body] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// A structured-field string (RFC 9651, 3.3.3) in quotes, or the key as it is.
fn parse(value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\t']);
    let key = match value.strip_prefix('"') {
        None => value.to_owned(),
        Some(quoted) => unquote(quoted)?,
    };
    let sound =
        (1..=KEY_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    sound.then_some(key)
}

/// Reads up to the closing quote, which must be the end.
fn unquote(quoted: &str) -> Option<String> {
    let mut key = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => key.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            character => key.push(character),
        }
    }
    characters.as_str().is_empty().then_some(key)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_and_quoted_keys_are_the_same() {
        for (sent, key) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            ("  abc ", "abc"),
            ("\"a\\\"b\\\\c\"", "a\"b\\c"),
            ("a\"b", "a\"b"),
            ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ] {
            assert_eq!(parse(sent).as_deref(), Some(key), "{sent}");
        }
        let long = "x".repeat(KEY_MAX);
        assert!(parse(&long).is_some() && parse(&format!("\"{long}\"")).is_some());
        for refused in [
            "",
            "\"\"",
            "a b",
            "\"a b\"",
            "\"abc",
            "\"abc\"d",
            "\"abc\";p=1",
            "\"a\\n\"",
            "\"a\\",
            "\"",
            "é",
        ] {
            assert_eq!(parse(refused), None, "{refused}");
        }
        assert_eq!(parse(&format!("{long}x")), None);
    }

    fn header(request: TestRequest, body: u8) -> Result<Option<IdempotencyHeader>, Code> {
        let request = request.to_http_request();
        IdempotencyHeader::of(&request, &[body; 32]).map_err(|problem| problem.code())
    }

    fn post(uri: &str) -> TestRequest {
        TestRequest::post().uri(uri).insert_header((IDEMPOTENCY_KEY, "k"))
    }

    #[test]
    fn the_hash_tells_requests_apart() {
        let first = header(post("/a?b"), 1).unwrap().unwrap();
        assert_eq!(header(post("/a?b"), 1).unwrap().unwrap(), first);
        for other in [
            header(post("/a?b"), 2),
            header(post("/a"), 1),
            header(post("/a?b").method(actix_web::http::Method::PATCH), 1),
        ] {
            let other = other.unwrap().unwrap();
            assert_eq!(other.key, first.key);
            assert_ne!(other.request_hash, first.request_hash);
        }
    }

    #[test]
    fn absent_twice_and_malformed() {
        assert_eq!(header(TestRequest::post(), 1), Ok(None));
        let twice = post("/a").append_header((IDEMPOTENCY_KEY, "k"));
        assert_eq!(header(twice, 1), Err(Code::MalformedIdempotencyKey));
        let empty = TestRequest::post().insert_header((IDEMPOTENCY_KEY, ""));
        assert_eq!(header(empty, 1), Err(Code::MalformedIdempotencyKey));
    }

    proptest! {
        #[test]
        fn every_key_survives_quoting(key in "[!-~]{1,255}") {
            let quoted = format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(parse(&quoted), Some(key));
        }

        #[test]
        fn never_panics(value in "\\PC{0,40}") {
            let _ = parse(&value);
        }
    }
}
