//! Conditional requests (RFC 9110, 13): a resource's version is its entity tag, `ETag: "7"`.
//!
//! `If-Match` guards a change: the versions go with the command, which is decided under the row
//! lock; a handler must not compare and then act. `If-None-Match` saves a read its body. It fits
//! only representations that change with the version and nothing else.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::Serialize;

use super::{catalogue::Code, problem::Problem};

/// More tags in one header than any honest client sends.
const TAGS_MAX: usize = 32;

/// The header `ETag` of a version.
pub fn etag(version: i64) -> (HeaderName, HeaderValue) {
    let value = HeaderValue::from_str(&format!("\"{version}\""))
        .expect("digits and quotes are visible ASCII");
    (header::ETAG, value)
}

/// What `If-Match` asks for. An extractor; a malformed header is 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// The header is absent: no condition.
    Absent,
    /// `*`: the resource must exist.
    Any,
    /// One of these versions; empty when no tag can be a version, which then fails always.
    Versions(Vec<i64>),
}

impl IfMatch {
    /// Whether a resource of this version may be changed.
    pub fn allows(&self, version: i64) -> bool {
        match self {
            IfMatch::Absent | IfMatch::Any => true,
            IfMatch::Versions(versions) => versions.contains(&version),
        }
    }

    /// The versions to hand on with a command; `None` means any.
    pub fn versions(&self) -> Option<&[i64]> {
        match self {
            IfMatch::Absent | IfMatch::Any => None,
            IfMatch::Versions(versions) => Some(versions),
        }
    }

    /// The one version to hand on with a command that takes no more; `None` means any.
    ///
    /// # Errors
    /// 412 when no tag can be a version, 400 when several are named.
    pub fn version(&self) -> Result<Option<i64>, Problem> {
        match self.versions() {
            None => Ok(None),
            Some([version]) => Ok(Some(*version)),
            Some([]) => Err(Problem::new(Code::PreconditionFailed)),
            Some(_) => {
                Err(Problem::new(Code::MalformedHeader).detail("If-Match takes one version here."))
            }
        }
    }

    /// # Errors
    /// 412 unless this version may be changed.
    pub fn check(&self, version: i64) -> Result<(), Problem> {
        if self.allows(version) { Ok(()) } else { Err(Problem::new(Code::PreconditionFailed)) }
    }

    /// For routes that change nothing without a condition.
    ///
    /// # Errors
    /// 428 when the header is absent.
    pub fn require(self) -> Result<IfMatch, Problem> {
        match self {
            IfMatch::Absent => Err(Problem::new(Code::PreconditionRequired)),
            present => Ok(present),
        }
    }
}

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<IfMatch, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.headers(), header::IF_MATCH).map(|tags| match tags {
            None => IfMatch::Absent,
            Some(Tags::Any) => IfMatch::Any,
            // weak tags never match here: the comparison is the strong one
            Some(Tags::List(tags)) => IfMatch::Versions(
                tags.into_iter().filter(|tag| !tag.weak).filter_map(|tag| tag.version).collect(),
            ),
        }))
    }
}

/// What `If-None-Match` of a read asks for. An extractor; a malformed header is 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfNoneMatch(IfMatch);

impl IfNoneMatch {
    /// Whether the caller already has this version.
    pub fn has(&self, version: i64) -> bool {
        self.0 != IfMatch::Absent && self.0.allows(version)
    }

    /// The answer to a read: 304 without a body when the caller has this version, else 200.
    pub fn answer(&self, version: i64, body: &impl Serialize) -> HttpResponse {
        let mut response =
            if self.has(version) { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response.insert_header(etag(version));
        if self.has(version) { response.finish() } else { response.json(body) }
    }
}

impl FromRequest for IfNoneMatch {
    type Error = Problem;
    type Future = Ready<Result<IfNoneMatch, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(parse(request.headers(), header::IF_NONE_MATCH).map(|tags| {
            IfNoneMatch(match tags {
                None => IfMatch::Absent,
                Some(Tags::Any) => IfMatch::Any,
                Some(Tags::List(tags)) => {
                    IfMatch::Versions(tags.into_iter().filter_map(|tag| tag.version).collect())
                }
            })
        }))
    }
}

enum Tags {
    Any,
    List(Vec<Tag>),
}

struct Tag {
    weak: bool,
    /// `None` when the text between the quotes is not one of our versions.
    version: Option<i64>,
}

/// Reads `*` or a list of entity tags, which may stand in several lines.
fn parse(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let malformed = || {
        Problem::new(Code::MalformedHeader)
            .detail("Must be * or entity tags in double quotes, between commas.")
    };
    let mut lines = Vec::new();
    for value in headers.get_all(&name) {
        lines.push(value.to_str().map_err(|_| malformed())?.trim());
    }
    match lines[..] {
        [] => return Ok(None),
        ["*"] => return Ok(Some(Tags::Any)),
        _ => {}
    }
    let mut tags = Vec::new();
    for line in lines {
        let mut rest = line;
        while !rest.is_empty() {
            let (tag, after) = split_tag(rest).ok_or_else(malformed)?;
            tags.push(tag);
            rest = match after.trim_start() {
                "" => "",
                more => more.strip_prefix(',').ok_or_else(malformed)?.trim_start(),
            };
        }
    }
    if tags.is_empty() || tags.len() > TAGS_MAX {
        return Err(malformed());
    }
    Ok(Some(Tags::List(tags)))
}

/// Takes one entity tag off the front: `[W/]"<visible characters but the quote>"`.
fn split_tag(text: &str) -> Option<(Tag, &str)> {
    let (weak, text) = match text.strip_prefix("W/") {
        Some(text) => (true, text),
        None => (false, text),
    };
    let (opaque, rest) = text.strip_prefix('"')?.split_once('"')?;
    if !opaque.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    // compared as text, so that "07" is not "7"
    let version = opaque.parse().ok().filter(|version: &i64| version.to_string() == opaque);
    Some((Tag { weak, version }, rest))
}

#[cfg(test)]
mod tests {
    use actix_web::{http::StatusCode, test::TestRequest};
    use proptest::prelude::*;

    use super::*;

    fn if_match(lines: &[&str]) -> Result<IfMatch, Code> {
        let mut request = TestRequest::default();
        for line in lines {
            request = request.append_header((header::IF_MATCH, *line));
        }
        let request = request.to_http_request();
        let read = IfMatch::from_request(&request, &mut Payload::None).into_inner();
        read.map_err(|problem| problem.code())
    }

    #[test]
    fn headers_are_read_as_rfc_9110_has_them() {
        let versions = |versions: &[i64]| Ok(IfMatch::Versions(versions.to_vec()));
        assert_eq!(if_match(&[]), Ok(IfMatch::Absent));
        assert_eq!(if_match(&["*"]), Ok(IfMatch::Any));
        assert_eq!(if_match(&["\"7\""]), versions(&[7]));
        assert_eq!(if_match(&["\"7\" , \"8\",\"x\""]), versions(&[7, 8]));
        assert_eq!(if_match(&["\"7\"", "\"9\""]), versions(&[7, 9]));
        for never in ["W/\"7\"", "\"07\"", "\"+7\"", "\"\"", "\"99999999999999999999\"", "\"a,b\""]
        {
            assert_eq!(if_match(&[never]), versions(&[]), "{never}");
        }
        for malformed in
            ["", "7", "\"7", "\"7\" \"8\"", "*, \"7\"", "\"7\",x", "w/\"7\"", "\"a b\""]
        {
            assert_eq!(if_match(&[malformed]), Err(Code::MalformedHeader), "{malformed}");
        }
        assert_eq!(if_match(&["*", "*"]), Err(Code::MalformedHeader));
        assert_eq!(if_match(&[&"\"1\",".repeat(33)]), Err(Code::MalformedHeader));
    }

    #[test]
    fn changes_pass_or_fail_by_version() {
        let some = IfMatch::Versions(vec![7, 8]);
        assert!(some.check(8).is_ok() && IfMatch::Any.check(1).is_ok());
        assert_eq!(some.check(9).unwrap_err().code(), Code::PreconditionFailed);
        assert!(some.clone().require().is_ok());
        assert_eq!(IfMatch::Absent.require().unwrap_err().code(), Code::PreconditionRequired);
        assert_eq!(some.versions(), Some(&[7, 8][..]));
        assert_eq!(IfMatch::Any.versions(), None);
        let one = |versions: &[i64]| {
            IfMatch::Versions(versions.to_vec()).version().map_err(|problem| problem.code())
        };
        assert_eq!(one(&[7]), Ok(Some(7)));
        assert_eq!(one(&[]), Err(Code::PreconditionFailed));
        assert_eq!(one(&[7, 8]), Err(Code::MalformedHeader));
        assert_eq!(IfMatch::Absent.version().unwrap(), None);
    }

    #[actix_web::test]
    async fn a_read_is_spared_what_the_caller_has() {
        for (sent, status) in [
            (None, StatusCode::OK),
            (Some("\"6\""), StatusCode::OK),
            (Some("\"6\", W/\"7\""), StatusCode::NOT_MODIFIED),
            (Some("*"), StatusCode::NOT_MODIFIED),
        ] {
            let mut request = TestRequest::default();
            if let Some(sent) = sent {
                request = request.insert_header((header::IF_NONE_MATCH, sent));
            }
            let request = request.to_http_request();
            let answer = IfNoneMatch::extract(&request).await.unwrap().answer(7, &"body");
            assert_eq!(answer.status(), status, "{sent:?}");
            assert_eq!(answer.headers().get(header::ETAG).unwrap(), "\"7\"");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_reads_its_own_tags(text in "[W/\"0-9, *x]{0,24}", version in any::<i64>()) {
            let _ = if_match(&[&text]);
            let (_, tag) = etag(version);
            prop_assert_eq!(if_match(&[tag.to_str().unwrap()]), Ok(IfMatch::Versions(vec![version])));
        }
    }
}
