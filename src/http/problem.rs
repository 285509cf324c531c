//! `Problem`: the one shape of an error answer, `application/problem+json` (RFC 9457).
//!
//! A handler fails with a [`Problem`]; the request layer adds `instance` and `request_id`.
//! `Debug` and `Display` tell the code alone, since both end up in logs: neither the detail nor
//! the fields are ever printed.

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::catalogue::Code;

/// At most this many failing fields are listed in one answer, so that a hostile body of thousands
/// of unknown fields cannot make us write a long answer.
pub const FIELD_ERRORS_MAX: usize = 100;

/// One failing field.
#[derive(Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where in the body: a JSON pointer as a URI fragment, such as `#/address/city`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pointer: Option<String>,
    /// Or the name of the query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong, for programs, such as `too_long`.
    pub code: &'static str,
    /// What is wrong, for people. Never repeats what was sent.
    pub detail: String,
}

impl fmt::Debug for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // a pointer holds names that the client made up, which may be personal
        write!(f, "FieldError({})", self.code)
    }
}

/// An error answer. Built from a [`Code`] only, so each one has a page in the catalogue.
#[derive(Clone)]
pub struct Problem(Box<Parts>);

#[derive(Clone)]
struct Parts {
    code: Code,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    merged_into: Option<Uuid>,
}

/// What an answer tells about the request it belongs to.
#[derive(Clone, Copy)]
pub struct Occurrence<'a> {
    /// The request's path, without its query.
    pub instance: &'a str,
    /// The id in `x-request-id`.
    pub request_id: &'a str,
}

/// The members of a problem document.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument<'a> {
    /// `/problems/<code>`, which resolves to a page that explains the problem.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "/problems/validation_failed")]
    type_: String,
    #[schema(example = "Some fields are not valid")]
    title: &'static str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What happened this time, for people.
    detail: &'a str,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    /// The name of the problem, for programs.
    code: &'static str,
    /// The id to quote when asking for help.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// With status 422: every failing field at once.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldError],
    /// With status 404, to staff: the customer that has what the one asked for had.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    merged_into: Option<Uuid>,
}

impl Problem {
    /// A problem with the catalogue's own words.
    pub fn new(code: Code) -> Problem {
        let (errors, headers) = (Vec::new(), Vec::new());
        Problem(Box::new(Parts { code, detail: None, errors, headers, merged_into: None }))
    }

    /// 422 with every failing field. More than [`FIELD_ERRORS_MAX`] are cut off and counted.
    pub fn invalid(mut errors: Vec<FieldError>) -> Problem {
        let total = errors.len();
        let mut problem = Problem::new(Code::ValidationFailed);
        if total > FIELD_ERRORS_MAX {
            errors.truncate(FIELD_ERRORS_MAX);
            problem.0.detail =
                Some(format!("The first {FIELD_ERRORS_MAX} of {total} faults are listed.").into());
        }
        problem.0.errors = errors;
        problem
    }

    /// Says what happened this time. Must not repeat what was sent, nor tell internals.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Problem {
        self.0.detail = Some(detail.into());
        self
    }

    /// Says who has what the customer that was asked for had.
    pub fn merged_into(mut self, customer: Uuid) -> Problem {
        self.0.merged_into = Some(customer);
        self
    }

    /// Adds a response header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.0.headers.push((name, value));
        self
    }

    /// Tells when to come back, in whole seconds, rounded up and at least one.
    pub fn retry_after(self, wait: Duration) -> Problem {
        let seconds = wait.as_millis().div_ceil(1000).clamp(1, u64::MAX as u128) as u64;
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Which problem it is.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The failing fields of a 422.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// The status that belongs to the code.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.entry().status)
            .expect("the catalogue holds valid statuses only; a test walks it")
    }

    /// The body; with an occurrence, `instance` and `request_id` are told too.
    pub fn document(&self, occurrence: Option<Occurrence<'_>>) -> Vec<u8> {
        let entry = self.0.code.entry();
        let document = ProblemDocument {
            type_: format!("/problems/{}", entry.code),
            title: entry.title,
            status: entry.status,
            detail: self.0.detail.as_deref().unwrap_or(entry.explanation),
            instance: occurrence.map(|occurrence| occurrence.instance),
            code: entry.code,
            request_id: occurrence.map(|occurrence| occurrence.request_id),
            errors: &self.0.errors,
            merged_into: self.0.merged_into,
        };
        serde_json::to_vec(&document).expect("strings and numbers always serialise")
    }

    /// Sets the problem's headers, with those that its status demands.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.status() {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        for (name, value) in &self.0.headers {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// The whole answer.
    pub fn respond(&self, occurrence: Option<Occurrence<'_>>) -> HttpResponse {
        let mut response = HttpResponse::new(self.status());
        self.write_headers(response.headers_mut());
        response.set_body(actix_web::body::BoxBody::new(self.document(occurrence)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0.code.entry();
        write!(f, "{} ({})", entry.code, entry.status)
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Problem({self})")
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.respond(None)
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Problem {
        Problem::new(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(problem: &Problem) -> serde_json::Value {
        let occurrence = Occurrence { instance: "/v1/me", request_id: "r-1" };
        serde_json::from_slice(&problem.document(Some(occurrence))).unwrap()
    }

    #[test]
    fn the_document_has_the_members_of_the_contract() {
        let problem = Problem::invalid(vec![FieldError {
            pointer: Some("#/address/city".into()),
            parameter: None,
            code: "too_long",
            detail: "At most 100 characters.".into(),
        }]);
        assert_eq!(
            json(&problem),
            serde_json::json!({
                "type": "/problems/validation_failed",
                "title": "Some fields are not valid",
                "status": 422,
                "detail": Code::ValidationFailed.entry().explanation,
                "instance": "/v1/me",
                "code": "validation_failed",
                "request_id": "r-1",
                "errors": [{"pointer": "#/address/city", "code": "too_long", "detail": "At most 100 characters."}],
            })
        );
    }

    #[test]
    fn neither_debug_nor_display_tell_what_was_sent() {
        let problem = Problem::invalid(vec![FieldError {
            pointer: Some("#/ada@example.org".into()),
            parameter: None,
            code: "unknown_field",
            detail: "secret".into(),
        }])
        .detail("secret");
        for text in
            [format!("{problem:?}"), format!("{problem}"), format!("{:?}", problem.errors())]
        {
            assert!(!text.contains("secret") && !text.contains("ada"), "{text}");
        }
    }

    #[test]
    fn waiting_times_are_whole_seconds_and_never_zero() {
        for (wait, expected) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
            let problem = Problem::new(Code::RateLimited).retry_after(Duration::from_millis(wait));
            assert_eq!(problem.respond(None).headers().get("retry-after").unwrap(), expected);
        }
        let answer = Problem::new(Code::Overloaded).respond(None);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "1");
        let answer = Problem::new(Code::Unauthorized).respond(None);
        assert_eq!(answer.headers().get("www-authenticate").unwrap(), "Bearer");
    }

    #[test]
    fn a_flood_of_faults_is_cut_and_counted() {
        let fault = FieldError {
            pointer: Some("#/a".into()),
            parameter: None,
            code: "unknown_field",
            detail: String::new(),
        };
        let problem = Problem::invalid(vec![fault; FIELD_ERRORS_MAX + 1]);
        assert_eq!(problem.errors().len(), FIELD_ERRORS_MAX);
        assert_eq!(json(&problem)["detail"], "The first 100 of 101 faults are listed.");
    }
}
