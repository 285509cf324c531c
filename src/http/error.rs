//! Where errors become answers: actix's own errors, unknown routes and wrong methods, all turned
//! into [`Problem`]s. Internal text never leaves.

use actix_web::{
    HttpRequest,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    web::Data,
};

use super::{catalogue::Code, docs::Description, problem::Problem};

/// The service for everything that no route takes: 405 with `Allow` where the path exists, else
/// 404. Register it with `App::default_service(web::to(no_such_route))`.
///
/// # Errors
/// Always.
pub async fn no_such_route(request: HttpRequest) -> Result<actix_web::HttpResponse, Problem> {
    let allowed = request
        .app_data::<Data<Description>>()
        .map(|description| description.methods_of(request.path()))
        .unwrap_or_default();
    if allowed.is_empty() {
        return Err(Problem::new(Code::NotFound));
    }
    let allow = HeaderValue::from_str(&allowed.join(", "))
        .expect("method names are tokens, which a header may hold");
    Err(Problem::new(Code::MethodNotAllowed).header(header::ALLOW, allow))
}

/// What actix's own errors (a path that does not parse, a body that is too long, …) mean. The
/// status they would have had decides; their text, which may repeat input, is dropped.
pub fn of_actix(error: &actix_web::Error) -> Problem {
    of_status(error.as_response_error().status_code())
}

/// The problem for an answer that has nothing but a status.
pub fn of_status(status: StatusCode) -> Problem {
    Problem::new(match status {
        StatusCode::UNAUTHORIZED => Code::Unauthorized,
        StatusCode::FORBIDDEN => Code::Forbidden,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => Code::BodyTimeout,
        StatusCode::CONFLICT => Code::Conflict,
        StatusCode::PRECONDITION_FAILED => Code::PreconditionFailed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::PayloadTooLarge,
        StatusCode::URI_TOO_LONG => Code::UriTooLong,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Code::ValidationFailed,
        StatusCode::TOO_MANY_REQUESTS => Code::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.is_client_error() => Code::MalformedRequest,
        _ => Code::Internal,
    })
}

#[cfg(test)]
mod tests {
    use actix_web::error::{ErrorBadRequest, PathError, PayloadError, QueryPayloadError};
    use serde::de::Error;

    use super::*;

    #[test]
    fn errors_of_actix_keep_their_class_and_lose_their_text() {
        let path = PathError::Deserialize(serde::de::value::Error::custom("secret"));
        let query = QueryPayloadError::Deserialize(serde::de::value::Error::custom("secret"));
        for (error, code) in [
            (path.into(), Code::MalformedRequest),
            (query.into(), Code::MalformedRequest),
            (PayloadError::Overflow.into(), Code::PayloadTooLarge),
            (PayloadError::EncodingCorrupted.into(), Code::MalformedRequest),
            (ErrorBadRequest("secret"), Code::MalformedRequest),
            (std::io::Error::other("secret").into(), Code::Internal),
        ] {
            let error: actix_web::Error = error;
            let problem = of_actix(&error);
            assert_eq!(problem.code(), code);
            let document = String::from_utf8(problem.document(None)).unwrap();
            assert!(!document.contains("secret"), "{document}");
        }
    }

    #[test]
    fn every_error_status_has_a_problem_of_its_class() {
        for number in 400..600 {
            let status = StatusCode::from_u16(number).unwrap();
            let problem = of_status(status).status();
            assert_eq!(problem.is_client_error(), status.is_client_error(), "{number}");
        }
    }
}
