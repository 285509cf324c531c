//! The bodies of the sign-in routes: what they accept, what they refuse and with which codes.

use super::*;
use crate::actors::allowance::{Quota, Standing};
use actix_web::http::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;

fn faults(problem: &Problem) -> Vec<(String, &'static str)> {
    let told = problem.errors().iter();
    told.map(|error| (error.pointer.clone().unwrap_or_default(), error.code)).collect()
}

fn applicant(body: &Value) -> Result<Applicant, Problem> {
    Form::read(body, |form| read_applicant(form, &PasswordPolicy::default()))
}

fn sound() -> Value {
    json!({
        "email": " Ánh@Example.org ", "password": "correct horse battery",
        "first_name": " Thị  Ánh ", "last_name": "Nguyễn",
    })
}

fn with(body: Value, change: Value) -> Value {
    let (Value::Object(mut body), Value::Object(change)) = (body, change) else { unreachable!() };
    body.extend(change);
    Value::Object(body)
}

#[test]
fn an_applicant_has_defaults_and_keeps_its_own_spelling() {
    let read = applicant(&sound()).unwrap();
    assert_eq!(read.first_name.as_str(), "Thị Ánh");
    assert_eq!(read.email.as_str(), "Ánh@Example.org");
    assert_eq!(read.customer_type, CustomerType::Individual);
    assert!(!read.accepts_marketing);
    assert!(read.phone.is_none() && read.locale.is_none() && read.timezone.is_none());
    let full = with(
        sound(),
        json!({
            "phone": "+84 912 345 678", "locale": "vi_vn", "timezone": "Asia/Ho_Chi_Minh",
            "accepts_marketing": true, "customer_type": "business",
        }),
    );
    let read = applicant(&full).unwrap();
    assert_eq!(read.phone.unwrap().as_str(), "+84912345678");
    assert_eq!(read.locale.unwrap().as_str(), "vi-VN");
    assert_eq!(read.timezone.unwrap().as_str(), "Asia/Ho_Chi_Minh");
    assert_eq!(read.customer_type, CustomerType::Business);
    assert!(read.accepts_marketing);
}

#[test]
fn a1_each_password_fault_is_a_fault_of_its_field() {
    for (password, code) in [
        ("short".to_owned(), "too_short"),
        ("x".repeat(129), "too_long"),
        ("password123".to_owned(), "too_common"),
        ("nguyen-1999".to_owned(), "derived_from_person"),
        ("anh@example.org".to_owned(), "derived_from_person"),
    ] {
        let refused = applicant(&with(sound(), json!({ "password": password }))).unwrap_err();
        assert_eq!(faults(&refused), [("#/password".to_owned(), code)], "{password}");
    }
    let refused = applicant(&with(sound(), json!({"password": 12345678}))).unwrap_err();
    assert_eq!(faults(&refused), [("#/password".to_owned(), "wrong_type")]);
}

#[test]
fn every_fault_of_a_registration_is_told_at_once() {
    let body = json!({
        "email": "nobody", "password": "nguyen-1999", "first_name": "", "last_name": "Nguyễn",
        "phone": "1", "locale": "?", "timezone": "Moon/Sea", "accepts_marketing": "yes",
        "customer_type": "robot", "status": "active",
    });
    let refused = applicant(&body).unwrap_err();
    assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let mut places: Vec<_> = faults(&refused).into_iter().map(|(place, _)| place).collect();
    places.sort();
    assert_eq!(
        places,
        [
            "#/accepts_marketing",
            "#/customer_type",
            "#/email",
            "#/first_name",
            "#/locale",
            // judged against the one name that could be read
            "#/password",
            "#/phone",
            "#/status",
            "#/timezone",
        ]
    );
    let missing = applicant(&json!({})).unwrap_err();
    let places: Vec<_> = faults(&missing).into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, ["#/email", "#/password", "#/first_name", "#/last_name"]);
}

#[test]
fn a_sign_in_names_one_identifier() {
    let read = |body: Value| Form::read(&body, Login::read);
    let by_email = read(json!({"email": "ÁNH@example.org", "password": "x"})).unwrap();
    assert_eq!(
        (by_email.identifier.kind(), by_email.identifier.value()),
        ("email", "ánh@example.org")
    );
    let by_phone = read(json!({"phone": "+84912345678", "password": "", "email": null})).unwrap();
    assert_eq!(
        (by_phone.identifier.kind(), by_phone.identifier.value()),
        ("phone", "+84912345678")
    );
    for (body, expected) in [
        (json!({"password": "x"}), vec![("#/email", "required")]),
        (
            json!({"email": "a@example.org", "phone": "+84912345678", "password": "x"}),
            vec![("#/phone", "not_both")],
        ),
        (
            json!({"email": "nobody"}),
            vec![("#/email", "invalid_email"), ("#/password", "required")],
        ),
        (
            json!({"email": "a@example.org", "password": "x", "device_token": 1, "mfa": true}),
            vec![("#/device_token", "wrong_type"), ("#/mfa", "unknown_field")],
        ),
    ] {
        let refused = read(body).unwrap_err();
        let told = faults(&refused);
        let told: Vec<_> = told.iter().map(|(place, code)| (place.as_str(), *code)).collect();
        assert_eq!(told, expected);
    }
    // A sign-in judges no length: an imported password may be shorter than today's minimum.
    assert!(read(json!({"email": "a@example.org", "password": "x"})).is_ok());
}

#[test]
fn a_user_agent_is_kept_as_far_as_it_is_decent() {
    for (sent, kept) in [
        (b"Mozilla/5.0".as_slice(), Some("Mozilla/5.0")),
        (b" a\tb\x7f ", Some("ab")),
        (b"", None),
        (b"\t ", None),
        (b"\xff", Some("\u{fffd}")),
    ] {
        assert_eq!(user_agent(sent).as_deref(), kept);
    }
    let long = "ü".repeat(1000);
    assert_eq!(user_agent(long.as_bytes()).unwrap().chars().count(), USER_AGENT_MAX);
}

fn told(problem: &Problem) -> (u16, &'static str, Option<String>) {
    let answer = problem.respond(None);
    let retry = answer.headers().get(header::RETRY_AFTER);
    let retry = retry.map(|value| value.to_str().unwrap().to_owned());
    (problem.status().as_u16(), problem.code().as_str(), retry)
}

#[test]
fn every_refusal_of_a_sign_in_has_the_answer_of_the_contract() {
    let retry_after = Duration::from_millis(2_100);
    let overloaded = Trouble::Overloaded { retry_after };
    for (error, status, code, retry) in [
        (GateError::RateLimited { retry_after }, 429, "rate_limited", Some("3")),
        (GateError::LimiterUnavailable, 503, "rate_limiter_unavailable", Some("1")),
        (GateError::Locked { retry_after }, 429, "login_locked", Some("3")),
        (GateError::InvalidCredentials, 401, "invalid_credentials", None),
        (GateError::Refused(SignInRefusal::EmailUnverified), 403, "email_unverified", None),
        (GateError::Refused(SignInRefusal::Suspended), 403, "account_suspended", None),
        (GateError::Refused(SignInRefusal::Inactive), 403, "account_inactive", None),
        (GateError::Refused(SignInRefusal::DeletionScheduled), 403, "account_inactive", None),
        (GateError::Refused(SignInRefusal::PasswordChanged), 401, "invalid_credentials", None),
        (GateError::Trouble(overloaded), 503, "overloaded", Some("3")),
        (GateError::Trouble(Trouble::Unavailable), 503, "unavailable", Some("1")),
        (GateError::Trouble(Trouble::Unknown), 503, "outcome_unknown", Some("1")),
        (GateError::Trouble(Trouble::Internal), 500, "internal", None),
    ] {
        assert_eq!(
            told(&error.clone().into()),
            (status, code, retry.map(str::to_owned)),
            "{error}"
        );
    }
}

#[test]
fn every_other_refusal_has_its_answer() {
    let retry_after = Duration::from_secs(60);
    for (problem, status, code) in [
        (Problem::from(RegistrationError::RateLimited { retry_after }), 429, "rate_limited"),
        (RegistrationError::from(Trouble::Unavailable).into(), 503, "unavailable"),
        (GateError::Rejected(crate::domain::Rejection::TokenInvalid).into(), 422, "token_invalid"),
        (GateError::Refused(SignInRefusal::Suspended).into(), 403, "account_suspended"),
        (GateError::from(Trouble::Internal).into(), 500, "internal"),
        (RefreshError::Invalid.into(), 401, "refresh_invalid"),
        (RefreshError::Reused.into(), 401, "refresh_reused"),
        (RefreshError::RateLimited { retry_after }.into(), 429, "rate_limited"),
        (RefreshError::from(Trouble::Unavailable).into(), 503, "unavailable"),
    ] {
        assert_eq!((problem.status().as_u16(), problem.code().as_str()), (status, code));
    }
}

#[actix_web::test]
async fn a12_an_accepted_request_is_always_told_the_same() {
    let quota = Quota { name: "mail", requests: 20, window: Duration::from_secs(3600) };
    let standing =
        Standing { quota, remaining: 19, reset_after: Duration::from_secs(180), retry_after: None };
    let answer =
        sent(Counted { standing: Some(standing), result: Ok(()) }, "verification_sent").unwrap();
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    assert_eq!(answer.headers().get("ratelimit").unwrap(), "\"mail\";r=19;t=180");
    let body = actix_web::body::to_bytes(answer.into_body()).await.unwrap();
    assert_eq!(body, r#"{"status":"verification_sent"}"#);

    let retry_after = Duration::from_secs(90);
    let standing = Standing { remaining: 0, retry_after: Some(retry_after), ..standing };
    let error = RegistrationError::RateLimited { retry_after };
    let refused =
        sent(Counted { standing: Some(standing), result: Err(error) }, "verification_sent")
            .unwrap_err();
    assert_eq!(told(&refused), (429, "rate_limited", Some("90".to_owned())));
    let fields = refused.respond(None);
    assert_eq!(fields.headers().get("ratelimit").unwrap(), "\"mail\";r=0;t=90");
    assert_eq!(fields.headers().get("ratelimit-policy").unwrap(), "\"mail\";q=20;w=3600");
}
