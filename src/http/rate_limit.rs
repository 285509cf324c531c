//! The `RateLimit` and `RateLimit-Policy` fields: how the caller of a limited route stands.

use super::problem::Problem;
use crate::actors::allowance::Standing;
use actix_web::HttpResponseBuilder;
use actix_web::http::header::{HeaderName, HeaderValue};
use std::time::Duration;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The fields of a standing; none where nobody could count.
fn fields(standing: Option<&Standing>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(Standing { quota, remaining, reset_after, retry_after }) = standing else {
        return Vec::new();
    };
    let name = quota.name;
    let policy = format!("\"{name}\";q={};w={}", quota.requests, seconds(quota.window));
    let until = seconds(retry_after.unwrap_or(*reset_after));
    let limit = format!("\"{name}\";r={remaining};t={until}");
    let value = |text: String| {
        HeaderValue::from_str(&text)
            .expect("names of quotas are words of ours and the rest is numbers")
    };
    vec![(RATE_LIMIT_POLICY, value(policy)), (RATE_LIMIT, value(limit))]
}

/// Tells a caller that is served how it stands.
pub fn tell(response: &mut HttpResponseBuilder, standing: Option<&Standing>) {
    for field in fields(standing) {
        response.insert_header(field);
    }
}

/// Tells a caller that is refused, for whatever reason, how it stands.
pub fn tell_refused(problem: Problem, standing: Option<&Standing>) -> Problem {
    fields(standing).into_iter().fold(problem, |problem, (name, value)| problem.header(name, value))
}

fn seconds(duration: Duration) -> u128 {
    duration.as_millis().div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::allowance::Quota;
    use crate::http::catalogue::Code;

    const QUOTA: Quota = Quota { name: "login", requests: 10, window: Duration::from_secs(60) };

    fn told(standing: Option<Standing>) -> Vec<(String, String)> {
        let answer = tell_refused(Problem::new(Code::RateLimited), standing.as_ref()).respond(None);
        let mut response = actix_web::HttpResponse::Ok();
        tell(&mut response, standing.as_ref());
        let served = response.finish();
        let mut told = Vec::new();
        for name in [RATE_LIMIT_POLICY, RATE_LIMIT] {
            assert_eq!(answer.headers().get(&name), served.headers().get(&name));
            if let Some(value) = answer.headers().get(&name) {
                told.push((name.to_string(), value.to_str().unwrap().to_owned()));
            }
        }
        told
    }

    #[test]
    fn the_fields_have_the_form_of_the_contract() {
        let standing = Standing {
            quota: QUOTA,
            remaining: 7,
            reset_after: Duration::from_millis(29_001),
            retry_after: None,
        };
        let policy = ("ratelimit-policy".to_owned(), "\"login\";q=10;w=60".to_owned());
        let limit = |value: &str| ("ratelimit".to_owned(), value.to_owned());
        assert_eq!(told(Some(standing)), [policy.clone(), limit("\"login\";r=7;t=30")]);
        let refused =
            Standing { remaining: 0, retry_after: Some(Duration::from_millis(5_200)), ..standing };
        assert_eq!(told(Some(refused)), [policy, limit("\"login\";r=0;t=6")]);
        assert_eq!(told(None), []);
    }
}
