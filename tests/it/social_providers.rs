//! Identity providers over real HTTP (rule A10), below the API: what is accepted, what is refused
//! and why, and what happens while a provider is down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use customer_service::clock::SystemClock;
use customer_service::config::Config;
use customer_service::security::social::{Refusal, Social, SocialError, VerifiedIdentity};
use p256::pkcs8::EncodePrivateKey as _;
use serde_json::{Value, json};

use crate::harness::IdentityProvider;
use crate::harness::identity::{
    Apple, CLIENT_ID, Lie, NATIVE_CLIENT_ID, Person, REDIRECT_URI, Signature, SigningKey, signing,
};

/// The nonce of a native app.
const NONCE: &str = "0123456789abcdef";

fn social(settings: &[(String, String)]) -> Social {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let must = [
        ("DATABASE__URL", "postgres://db/x"),
        ("SECRETS__ROOT_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    let must = must.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let environment: BTreeMap<_, _> = must
        .into_iter()
        .chain(settings.iter().cloned())
        .map(|(key, value)| (format!("CUSTOMER_SERVICE__{key}"), value))
        .collect();
    let config = Config::from_sources(None, &environment).unwrap();
    let runtime = tokio::runtime::Handle::current();
    Social::new(&config.social, Arc::new(SystemClock), runtime).unwrap()
}

fn with(mut settings: Vec<(String, String)>, more: &[(&str, &str)]) -> Vec<(String, String)> {
    settings.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    settings
}

/// The whole way of a browser.
async fn sign_in(
    social: &Social,
    provider: &IdentityProvider,
    name: &str,
    person: &Person,
) -> Result<VerifiedIdentity, SocialError> {
    let begun = social.authorize(name, REDIRECT_URI, "the-state").await?;
    let code = provider.agree(begun.url.as_str(), person);
    social.exchange(name, begun.ceremony, &code).await
}

fn refused(result: Result<VerifiedIdentity, SocialError>) -> Refusal {
    match result {
        Err(SocialError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a10_a_code_is_worth_one_identity_with_es256_and_rs256() {
    for key in [SigningKey::es256(), SigningKey::rs256()] {
        let provider = IdentityProvider::with(key).await;
        let social = social(&provider.settings("test"));
        let person = Person::new();
        let begun = social.authorize("test", REDIRECT_URI, "the-state").await.unwrap();
        let query: BTreeMap<_, _> = begun.url.query_pairs().into_owned().collect();
        assert_eq!((&*query["tenant"], &*query["state"]), ("a", "the-state"));
        assert_eq!(query["scope"], "openid email profile");
        let code = provider.agree(begun.url.as_str(), &person);
        let ceremony = begun.ceremony.clone();
        let identity = social.exchange("test", begun.ceremony, &code).await.unwrap();
        assert_eq!((identity.subject, identity.email), (person.subject, Some(person.email)));
        assert_eq!(
            (identity.given_name, identity.family_name),
            (person.given_name, person.family_name)
        );
        assert!(identity.email_verified);
        let again = social.exchange("test", ceremony, &code).await;
        assert_eq!(refused(again), Refusal::Code, "a code works once");
        assert_eq!(provider.state().requests["/.well-known/openid-configuration"], 1);
        assert_eq!(provider.state().requests["/jwks"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a10_no_claim_may_be_wrong() {
    let provider = IdentityProvider::start().await;
    let social = social(&provider.settings("test"));
    let now = chrono::DateTime::timestamp(&customer_service::clock::Clock::now(&SystemClock));
    let claim = Lie::claim;
    let signed = Lie::signed;
    let cases: Vec<(Lie, Refusal)> = vec![
        (claim("iss", json!("https://accounts.google.com")), Refusal::Issuer),
        (claim("iss", json!(format!("{}/", provider.base))), Refusal::Issuer),
        (claim("iss", Value::Null), Refusal::Malformed),
        (claim("aud", json!("another-shop")), Refusal::Audience),
        (claim("aud", json!([])), Refusal::Audience),
        (claim("aud", Value::Null), Refusal::Audience),
        (claim("aud", json!([CLIENT_ID, "another-shop"])), Refusal::Audience),
        (claim("aud", json!(NATIVE_CLIENT_ID)), Refusal::Audience),
        (claim("azp", json!("another-shop")), Refusal::AuthorizedParty),
        (claim("exp", json!(now - 120)), Refusal::Expired),
        (claim("exp", Value::Null), Refusal::Malformed),
        (claim("exp", json!(1e300)), Refusal::Malformed),
        (claim("iat", json!(now + 600)), Refusal::IssuedAt),
        (claim("iat", Value::Null), Refusal::Malformed),
        (claim("nonce", json!("another")), Refusal::Nonce),
        (claim("nonce", json!("")), Refusal::Nonce),
        (claim("nonce", Value::Null), Refusal::Nonce),
        (claim("sub", Value::Null), Refusal::Malformed),
        (claim("sub", json!("")), Refusal::Subject),
        (claim("sub", json!("x".repeat(256))), Refusal::Subject),
        (claim("sub", json!(7)), Refusal::Malformed),
        (claim("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")), Refusal::AccessTokenHash),
        (signed(Signature::None), Refusal::Algorithm),
        (signed(Signature::PublicKeyAsSecret), Refusal::Algorithm),
        (signed(Signature::ClientSecret), Refusal::Algorithm),
        (signed(Signature::Stranger), Refusal::Signature),
        (signed(Signature::Damaged), Refusal::Signature),
        (Lie { kid: Some("unknown".to_owned()), ..Lie::default() }, Refusal::UnknownKey),
        (Lie { kid: Some("future".to_owned()), ..Lie::default() }, Refusal::UnknownKey),
    ];
    let person = Person::new();
    for (lie, expected) in cases {
        provider.lie(lie.clone());
        let found = refused(sign_in(&social, &provider, "test", &person).await);
        assert_eq!(found, expected, "{:?} {:?} {:?}", lie.claims, lie.signature, lie.kid);
    }
    // a clock that is a little off, absent hints and a list of one are none of a lie
    for lie in [
        claim("exp", json!(now - 30)),
        claim("iat", json!(now + 30)),
        claim("azp", Value::Null),
        claim("at_hash", Value::Null),
        claim("aud", json!([CLIENT_ID])),
        Lie::default(),
    ] {
        provider.lie(lie.clone());
        sign_in(&social, &provider, "test", &person).await.expect("is true");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a10_whether_an_address_is_verified_is_what_the_provider_says() {
    let provider = IdentityProvider::start().await;
    let social = social(&provider.settings("test"));
    for (said, verified) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (Value::Null, false),
    ] {
        provider.lie(Lie::claim("email_verified", said.clone()));
        let identity = sign_in(&social, &provider, "test", &Person::new()).await.unwrap();
        assert_eq!(identity.email_verified, verified, "{said}");
    }
    provider.lie(Lie::claim("email", Value::Null));
    let identity = sign_in(&social, &provider, "test", &Person::new()).await.unwrap();
    assert_eq!(identity.email, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a10_who_began_must_end() {
    let provider = IdentityProvider::start().await;
    let mut settings = provider.settings("one");
    settings.extend(provider.settings("two"));
    let social = social(&settings);
    let person = Person::new();
    let mine = social.authorize("one", REDIRECT_URI, "a").await.unwrap();
    let theirs = social.authorize("one", REDIRECT_URI, "b").await.unwrap();
    let stolen = provider.agree(theirs.url.as_str(), &person);
    let injected = social.exchange("one", mine.ceremony, &stolen).await;
    assert_eq!(refused(injected), Refusal::Code, "PKCE: a code that was begun by another");
    let elsewhere = social.exchange("two", theirs.ceremony, "code").await;
    assert_eq!(refused(elsewhere), Refusal::Provider);
    for uri in ["https://evil.example/cb", "https://shop.example/sign-in/cb/", ""] {
        let refused = social.authorize("one", uri, "c").await.map(|begun| begun.url);
        assert_eq!(refused, Err(SocialError::RedirectNotAllowed), "{uri}");
    }
    let unknown = social.authorize("three", REDIRECT_URI, "c").await.map(|begun| begun.url);
    assert_eq!(unknown, Err(SocialError::UnknownProvider));
    for code in ["", &"x".repeat(20_000)] {
        let begun = social.authorize("one", REDIRECT_URI, "d").await.unwrap();
        assert_eq!(refused(social.exchange("one", begun.ceremony, code).await), Refusal::Code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a10_apps_bring_tokens_for_their_own_client_ids() {
    let provider = IdentityProvider::start().await;
    let social = social(&provider.settings("test"));
    let person = Person::new();
    let verify = async |token: &str, nonce: &str| social.verify("test", token, nonce).await;
    let hashed = "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f";
    for (client, nonce) in
        [(CLIENT_ID, NONCE), (NATIVE_CLIENT_ID, NONCE), (NATIVE_CLIENT_ID, hashed)]
    {
        let token = provider.id_token(&person, client, nonce);
        let identity = verify(&token, NONCE).await.unwrap();
        assert_eq!(identity.subject, person.subject);
        let hour = chrono::TimeDelta::minutes(59);
        assert!(identity.expires_at > customer_service::clock::Clock::now(&SystemClock) + hour);
        assert_eq!(refused(verify(&token, "another").await), Refusal::Nonce);
        assert_eq!(refused(verify(&token, "").await), Refusal::Nonce);
    }
    provider.lie(Lie::claim("azp", Value::Null));
    let token = provider.id_token(&person, "another-app", NONCE);
    assert_eq!(refused(verify(&token, NONCE).await), Refusal::Audience);
    // several audiences need one who asked
    provider.lie(Lie::claim("aud", json!([CLIENT_ID, NATIVE_CLIENT_ID])));
    let token = provider.id_token(&person, NATIVE_CLIENT_ID, NONCE);
    verify(&token, NONCE).await.expect("both are ours");
    let mut lie = Lie::claim("aud", json!([CLIENT_ID, NATIVE_CLIENT_ID]));
    lie.claims.push(("azp", Value::Null));
    provider.lie(lie);
    let token = provider.id_token(&person, NATIVE_CLIENT_ID, NONCE);
    assert_eq!(refused(verify(&token, NONCE).await), Refusal::AuthorizedParty);
    for token in ["", "a.b.c", "a", &format!("{token}.x"), &"x".repeat(20_000)] {
        assert_eq!(refused(verify(token, NONCE).await), Refusal::Malformed, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn social_keys_rotate_and_invented_names_do_not_flood_the_provider() {
    let provider = IdentityProvider::start().await;
    let social = social(&provider.settings("test"));
    let person = Person::new();
    let old = provider.id_token(&person, CLIENT_ID, NONCE);
    social.verify("test", &old, NONCE).await.unwrap();
    provider.rotate(SigningKey::rs256());
    sign_in(&social, &provider, "test", &person).await.expect("the new key is found");
    assert_eq!(refused(social.verify("test", &old, NONCE).await), Refusal::UnknownKey);
    for number in 0..50 {
        provider.lie(Lie { kid: Some(format!("invented-{number}")), ..Lie::default() });
        let token = provider.id_token(&person, CLIENT_ID, NONCE);
        assert_eq!(refused(social.verify("test", &token, NONCE).await), Refusal::UnknownKey);
    }
    assert_eq!(provider.state().requests["/jwks"], 6, "one at first and five looks a minute");
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a_provider_that_is_slow_or_down_costs_a_bounded_time() {
    let provider = IdentityProvider::start().await;
    let mut settings = with(provider.settings("test"), &[("SOCIAL__TIMEOUT_MS", "300")]);
    settings.extend(with(
        provider.settings("gone"),
        &[("SOCIAL__PROVIDERS__GONE__ISSUER", "http://127.0.0.1:1")],
    ));
    let social = Arc::new(social(&settings));
    let unavailable = |result: Result<VerifiedIdentity, SocialError>| match result {
        Err(SocialError::Unavailable { retry_after }) => {
            assert_eq!(retry_after, Duration::from_secs(10));
        }
        other => panic!("{other:?}"),
    };
    provider.state().delay = Duration::from_secs(5);
    let began = Instant::now();
    let calls = (0..100).map(|_| {
        let social = social.clone();
        tokio::spawn(async move { social.verify("test", "a.b.c", NONCE).await })
    });
    for result in futures_util::future::join_all(calls).await {
        unavailable(result.unwrap());
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let began = Instant::now();
    unavailable(social.verify("test", "a.b.c", NONCE).await);
    assert!(began.elapsed() < Duration::from_millis(100), "it is left alone");
    unavailable(social.verify("gone", "a.b.c", NONCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn social_what_is_known_serves_while_the_provider_is_down() {
    let provider = IdentityProvider::start().await;
    let social = social(&provider.settings("test"));
    let person = Person::new();
    let token = provider.id_token(&person, CLIENT_ID, NONCE);
    let begun = social.authorize("test", REDIRECT_URI, "s").await.unwrap();
    let code = provider.agree(begun.url.as_str(), &person);
    for status in [500, 503, 302, 429] {
        provider.state().status = Some(status);
        social.verify("test", &token, NONCE).await.expect("keys are known");
        let ceremony = begun.ceremony.clone();
        let answer = social.exchange("test", ceremony, &code).await;
        assert!(matches!(answer, Err(SocialError::Unavailable { .. })), "{status}: {answer:?}");
    }
    provider.state().status = Some(200);
    let answer = social.exchange("test", begun.ceremony.clone(), &code).await;
    assert!(matches!(answer, Err(SocialError::Unavailable { .. })), "HTML: {answer:?}");
    provider.state().status = None;
    social.exchange("test", begun.ceremony, &code).await.expect("is back");
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a_document_that_speaks_for_others_is_not_believed() {
    for metadata in [
        json!({ "issuer": "https://accounts.google.com" }),
        json!({ "jwks_uri": "http://evil.example/jwks" }),
        json!({ "token_endpoint": "http://169.254.169.254/token" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "jwks_uri": null }),
    ] {
        let provider = IdentityProvider::start().await;
        provider.state().metadata = metadata.clone();
        let social = social(&provider.settings("test"));
        let begun = social.authorize("test", REDIRECT_URI, "s").await.map(|begun| begun.url);
        assert!(matches!(begun, Err(SocialError::Unavailable { .. })), "{metadata}: {begun:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a10_apples_secret_is_signed_by_the_configured_key() {
    let provider = IdentityProvider::start().await;
    let key = signing::fresh_key();
    provider.state().apple = Some(Apple {
        team_id: "TEAM567890".to_owned(),
        key_id: "KEY4567890".to_owned(),
        key: *key.verifying_key(),
    });
    let secret = p256::SecretKey::from_slice(&key.to_bytes()).unwrap();
    let pem = secret.to_pkcs8_pem(Default::default()).unwrap();
    let mut settings = with(
        provider.settings("apple"),
        &[
            ("SOCIAL__PROVIDERS__APPLE__KIND", "apple"),
            ("SOCIAL__PROVIDERS__APPLE__TEAM_ID", "TEAM567890"),
            ("SOCIAL__PROVIDERS__APPLE__KEY_ID", "KEY4567890"),
            ("SOCIAL__PROVIDERS__APPLE__PRIVATE_KEY", &pem.replace('\n', "\\n")),
        ],
    );
    settings.retain(|(key, _)| !key.ends_with("CLIENT_SECRET"));
    let social = social(&settings);
    let mut person = Person::new();
    person.email_verified = json!("true");
    (person.given_name, person.family_name) = (None, None);
    person.email = "x7k2@privaterelay.appleid.com".to_owned();
    let begun = social.authorize("apple", REDIRECT_URI, "s").await.unwrap();
    assert!(begun.url.query().unwrap().contains("response_mode=form_post"), "{}", begun.url);
    let identity = sign_in(&social, &provider, "apple", &person).await.unwrap();
    assert!(identity.email_verified && identity.given_name.is_none());
    provider.state().apple.as_mut().unwrap().key = *signing::fresh_key().verifying_key();
    let refused = sign_in(&social, &provider, "apple", &person).await;
    assert!(matches!(refused, Err(SocialError::Unavailable { .. })), "ours to mend: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn social_a10_facebook_is_asked_whose_token_it_is() {
    let provider = IdentityProvider::start().await;
    let mut settings = provider.facebook_settings("facebook");
    settings.extend(with(
        provider.facebook_settings("trusted"),
        &[("SOCIAL__PROVIDERS__TRUSTED__TRUST_EMAIL", "always")],
    ));
    let social = social(&settings);
    let person = Person { subject: "10158".to_owned(), ..Person::new() };
    let identity = sign_in(&social, &provider, "facebook", &person).await.unwrap();
    assert_eq!((&*identity.subject, identity.email.as_ref()), ("10158", Some(&person.email)));
    assert_eq!(identity.given_name, person.given_name);
    assert!(!identity.email_verified, "Facebook does not say so");
    assert!(sign_in(&social, &provider, "trusted", &person).await.unwrap().email_verified);
    for (lie, expected) in [
        (Lie { app_id: Some("another app".to_owned()), ..Lie::default() }, Refusal::Audience),
        (Lie { invalid: true, ..Lie::default() }, Refusal::Expired),
        (Lie { user_id: Some("666".to_owned()), ..Lie::default() }, Refusal::Subject),
    ] {
        provider.lie(lie);
        assert_eq!(refused(sign_in(&social, &provider, "facebook", &person).await), expected);
    }
    let native = social.verify("facebook", "a.b.c", NONCE).await;
    assert_eq!(refused(native), Refusal::Kind);
}
