//! A corpus of tokens that differ from a good one in one point each: none may pass.

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde_json::{Map, Value, json};

use super::super::signing::{Period, PublicKey, SigningKey};
use super::*;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap()
}

fn settings() -> AccessSettings {
    AccessSettings {
        issuer: "customer-service".into(),
        audience: "shop".into(),
        lifetime: Duration::from_secs(600),
        leeway: Duration::from_secs(2),
        cache_max: 1024,
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::generate([seed; 32])
}

/// One key that signs, and others that are verified by, all without an end.
fn set(current: SigningKey, others: Vec<PublicKey>) -> KeySet {
    let always = Period { signs_from: DateTime::UNIX_EPOCH, ends: None };
    let others = others.into_iter().map(|key| (key, always)).collect();
    KeySet::new(vec![(current, always)], others).unwrap()
}

fn tokens() -> AccessTokens {
    AccessTokens::new(settings(), set(key(1), vec![]))
}

fn access() -> Access {
    Access {
        customer_id: Uuid::from_u128(1),
        session_id: Uuid::from_u128(2),
        aal: 1,
        amr: vec!["pwd".into()],
        auth_time: at(NOW - 100),
        token_id: None,
        leaving: false,
    }
}

/// A token of arbitrary parts, properly signed by the current key.
fn signed(header: &Value, claims: &Value) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    signed_raw(header.as_bytes(), claims.as_bytes())
}

fn signed_raw(header: &[u8], claims: &[u8]) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key(1).sign(input.as_bytes())))
}

fn good_header() -> Value {
    json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": key(1).kid() })
}

fn good_claims() -> Value {
    json!({
        "iss": "customer-service", "aud": "shop",
        "sub": Uuid::from_u128(1), "sid": Uuid::from_u128(2), "jti": Uuid::from_u128(3),
        "iat": NOW, "nbf": NOW, "exp": NOW + 600,
        "aal": 1, "amr": ["pwd"], "auth_time": NOW - 100,
    })
}

fn with(object: &Value, name: &str, value: Option<Value>) -> Value {
    let mut members: Map<String, Value> = object.as_object().unwrap().clone();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    Value::Object(members)
}

fn judge(token: &str) -> Result<Arc<Verified>, AccessError> {
    tokens().verify(token, at(NOW))
}

#[test]
fn an_issued_token_is_read_back() {
    let tokens = tokens();
    for token_id in [None, Some(Uuid::from_u128(9))] {
        let access = Access { token_id, ..access() };
        let issued = tokens.issue(&access, at(NOW));
        assert_eq!(issued.expires_at, at(NOW + 600));
        let expected = Verified { access, issued_at: at(NOW), expires_at: at(NOW + 600) };
        for _ in 0..3 {
            assert_eq!(*tokens.verify(&issued.token, at(NOW)).unwrap(), expected);
        }
    }
}

/// Another library accepts our token by our published keys.
#[test]
fn a_foreign_verifier_accepts_our_tokens() {
    let tokens = tokens();
    let issued = tokens.issue(&access(), crate::clock::Clock::now(&crate::clock::SystemClock));
    let header = jsonwebtoken::decode_header(&issued.token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let keys: JwkSet = serde_json::from_value(tokens.keys().jwks(at(NOW))).unwrap();
    let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.set_audience(&["shop"]);
    rules.set_issuer(&["customer-service"]);
    rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
    rules.validate_nbf = true;
    let claims = jsonwebtoken::decode::<Value>(&issued.token, &key, &rules).unwrap().claims;
    assert_eq!(claims["sid"], json!(Uuid::from_u128(2)));
}

#[test]
fn the_corpus_starts_from_a_good_token() {
    assert!(judge(&signed(&good_header(), &good_claims())).is_ok());
    let without_jti = with(&good_claims(), "jti", None);
    assert!(judge(&signed(&good_header(), &without_jti)).is_ok());
    let newer_node = with(&good_claims(), "tier", Some(json!("all")));
    assert!(judge(&signed(&good_header(), &newer_node)).is_ok());
    // A scope narrows, and one that is not known here may allow nothing.
    for (scope, good) in [("deletion", true), ("all", false), ("", false)] {
        let narrowed = with(&good_claims(), "scope", Some(json!(scope)));
        assert_eq!(judge(&signed(&good_header(), &narrowed)).is_ok(), good, "{scope}");
    }
}

#[test]
fn each_claim_missing_null_or_of_another_type_is_refused() {
    let wrong =
        [json!(null), json!(true), json!({}), json!([]), json!([[]]), json!(1.5), json!("")];
    for (name, good) in good_claims().as_object().unwrap() {
        let other_type = if good.is_string() { json!(7) } else { json!("1800000000") };
        let mut values: Vec<_> = wrong.iter().cloned().chain([other_type, json!([good])]).collect();
        // an empty list is a list
        values.retain(|value| name != "amr" || *value != json!([]));
        for value in values {
            let claims = with(&good_claims(), name, Some(value.clone()));
            assert!(judge(&signed(&good_header(), &claims)).is_err(), "{name}: {value}");
        }
        if name != "jti" {
            let claims = with(&good_claims(), name, None);
            assert!(judge(&signed(&good_header(), &claims)).is_err(), "{name} missing");
        }
    }
    for name in ["iat", "nbf", "exp", "auth_time"] {
        let far = json!(i64::from(u32::MAX) * 2);
        for value in [json!(i64::MAX), json!(i64::MIN), json!(u64::MAX), json!(-1e300), far] {
            let claims = with(&good_claims(), name, Some(value.clone()));
            let judged = judge(&signed(&good_header(), &claims));
            assert!(judged.is_err(), "{name}: {value}");
        }
    }
}

#[test]
fn levels_and_lifetimes_that_are_never_issued_are_refused() {
    for aal in [0, 3, 255, 256, -1] {
        let claims = with(&good_claims(), "aal", Some(json!(aal)));
        assert_eq!(judge(&signed(&good_header(), &claims)), Err(AccessError::Malformed), "{aal}");
    }
    for (name, most) in [("exp", NOW + 3600), ("auth_time", NOW + 3600)] {
        let claims = |value: i64| with(&good_claims(), name, Some(json!(value)));
        assert!(judge(&signed(&good_header(), &claims(most))).is_ok(), "{name}");
        let judged = judge(&signed(&good_header(), &claims(most + 1)));
        assert_eq!(judged, Err(AccessError::Malformed), "{name}");
    }
    let endless = with(&good_claims(), "amr", Some(json!(vec!["pwd"; 1000])));
    assert!(judge(&signed(&good_header(), &endless)).is_err());
}

#[test]
fn wrong_parties_are_refused() {
    for (name, value) in [
        ("iss", "another"),
        ("iss", "Customer-Service"),
        ("iss", "customer-service/"),
        ("iss", "customer-service\0"),
        ("aud", "another"),
        ("aud", "shop "),
        ("aud", "SHOP"),
        ("aud", "shop,another"),
    ] {
        let claims = with(&good_claims(), name, Some(json!(value)));
        let judged = judge(&signed(&good_header(), &claims));
        assert_eq!(judged, Err(AccessError::WrongParty), "{name}: {value}");
    }
}

#[test]
fn times_count_to_the_second_with_leeway() {
    let tokens = tokens();
    let token = tokens.issue(&access(), at(NOW)).token;
    let cases = [
        (NOW - 3, Err(AccessError::NotYetValid)),
        (NOW - 2, Ok(())),
        (NOW + 601, Ok(())),
        (NOW + 602, Err(AccessError::Expired)),
        (NOW + 100_000, Err(AccessError::Expired)),
        // also from the cache, and back again
        (NOW - 3, Err(AccessError::NotYetValid)),
        (NOW, Ok(())),
    ];
    for (now, expected) in cases {
        assert_eq!(tokens.verify(&token, at(now)).map(drop), expected, "{}", now - NOW);
    }
    for (name, seconds) in [("nbf", NOW + 3), ("iat", NOW + 3)] {
        let claims = with(&good_claims(), name, Some(json!(seconds)));
        let judged = judge(&signed(&good_header(), &claims));
        assert_eq!(judged, Err(AccessError::NotYetValid), "{name}");
    }
}

#[test]
fn leeway_is_never_more_than_five_seconds() {
    let settings = AccessSettings { leeway: Duration::from_secs(3600), ..settings() };
    let tokens = AccessTokens::new(settings, set(key(1), vec![]));
    let token = tokens.issue(&access(), at(NOW)).token;
    assert!(tokens.verify(&token, at(NOW + 604)).is_ok());
    assert_eq!(tokens.verify(&token, at(NOW + 605)), Err(AccessError::Expired));
}

#[test]
fn other_headers_are_refused() {
    let cases = [
        ("alg", Some(json!("none"))),
        ("alg", Some(json!("None"))),
        ("alg", Some(json!("HS256"))),
        ("alg", Some(json!("ES256"))),
        ("alg", Some(json!("eddsa"))),
        ("alg", Some(json!("EDDSA"))),
        ("alg", Some(json!("EdDsa"))),
        ("alg", Some(json!("EdDSA "))),
        ("alg", Some(json!("EdDSA\0"))),
        ("alg", Some(json!("Ed25519"))),
        ("alg", Some(json!("NONE"))),
        ("alg", Some(json!("nOnE"))),
        ("alg", Some(json!("RS256"))),
        ("alg", Some(json!(""))),
        ("alg", Some(json!(7))),
        ("alg", Some(json!(null))),
        ("alg", Some(json!(["EdDSA"]))),
        ("alg", None),
        ("typ", Some(json!("JWT"))),
        ("typ", Some(json!("id+jwt"))),
        ("typ", Some(json!("AT+JWT"))),
        ("typ", Some(json!("at+jwt "))),
        ("typ", Some(json!("application/at+jwt"))),
        ("typ", Some(json!("refresh+jwt"))),
        ("typ", Some(json!(["at+jwt"]))),
        ("typ", Some(json!(null))),
        ("typ", None),
        ("kid", Some(json!("another"))),
        ("kid", Some(json!(""))),
        ("kid", Some(json!("../../../../dev/null"))),
        ("kid", Some(json!("/dev/null"))),
        ("kid", Some(json!("file:///etc/passwd"))),
        ("kid", Some(json!("' OR 1=1 --"))),
        ("kid", Some(json!(format!("{}\0", key(1).kid())))),
        ("kid", Some(json!(key(1).kid().to_lowercase()))),
        ("kid", Some(json!([key(1).kid()]))),
        ("kid", Some(json!({ "kid": key(1).kid() }))),
        ("kid", Some(json!(0))),
        ("kid", Some(json!(null))),
        ("kid", None),
        ("crit", Some(json!(["b64"]))),
        ("b64", Some(json!(false))),
        ("jwk", Some(key(2).public().jwk())),
        ("jwk", Some(key(1).public().jwk())),
        ("jku", Some(json!("https://evil.example/keys"))),
        ("x5c", Some(json!(["MIIB"]))),
        ("cty", Some(json!("JWT"))),
        ("crit", Some(json!([]))),
        ("ALG", Some(json!("EdDSA"))),
        ("zip", Some(json!("DEF"))),
        ("x5u", Some(json!("https://evil.example/cert"))),
    ];
    for (name, value) in cases {
        let header = with(&good_header(), name, value.clone());
        assert!(judge(&signed(&header, &good_claims())).is_err(), "{name}: {value:?}");
    }
}

/// A stranger's key that the token itself brings along, or points to.
#[test]
fn a_key_that_comes_with_the_token_is_not_used() {
    let stranger = key(2);
    for (name, value) in [
        ("jwk", stranger.public().jwk()),
        ("jku", json!("https://evil.example/.well-known/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
    ] {
        for kid in [key(1).kid(), stranger.kid()] {
            let header =
                with(&with(&good_header(), "kid", Some(json!(kid))), name, Some(value.clone()));
            let (header, claims) = (header.to_string(), good_claims().to_string());
            let input =
                format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
            let signature = URL_SAFE_NO_PAD.encode(stranger.sign(input.as_bytes()));
            assert!(judge(&format!("{input}.{signature}")).is_err(), "{name} {kid}");
        }
    }
}

#[test]
fn unsigned_and_hmac_tokens_are_refused() {
    let claims = URL_SAFE_NO_PAD.encode(good_claims().to_string());
    for alg in ["none", "EdDSA"] {
        let header = with(&good_header(), "alg", Some(json!(alg)));
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        for signature in ["", "AA", &"A".repeat(86)] {
            assert!(judge(&format!("{header}.{claims}.{signature}")).is_err(), "{alg} {signature}");
        }
    }
    // the classic confusion: HMAC keyed with the public key, in each form it is known in
    let public = key(1);
    let x = public.public().jwk()["x"].as_str().unwrap().to_owned();
    let jwks = tokens().keys().jwks(at(NOW)).to_string();
    let secrets: [&[u8]; 3] = [public.public().as_bytes(), x.as_bytes(), jwks.as_bytes()];
    for secret in secrets {
        let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
        header.kid = Some(key(1).kid().to_owned());
        header.typ = Some("at+jwt".into());
        let secret = EncodingKey::from_secret(secret);
        let token = jsonwebtoken::encode(&header, &good_claims(), &secret).unwrap();
        assert_eq!(judge(&token), Err(AccessError::WrongKind));
        // and the same with the algorithm's name replaced
        let (_, rest) = token.split_once('.').unwrap();
        let header = URL_SAFE_NO_PAD.encode(good_header().to_string());
        assert_eq!(judge(&format!("{header}.{rest}")), Err(AccessError::BadSignature));
    }
}

#[test]
fn damaged_tokens_are_refused() {
    let good = signed(&good_header(), &good_claims());
    for length in 0..good.len() {
        assert!(judge(&good[..length]).is_err(), "cut to {length}");
    }
    let tokens = tokens();
    for at_byte in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone().into_bytes();
            bytes[at_byte] ^= 1 << bit;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert!(tokens.verify(&flipped, at(NOW)).is_err(), "byte {at_byte} bit {bit}");
        }
    }
    // other characters of base64, and what a lenient decoder passes over
    for at_byte in 0..=good.len() {
        for more in ['A', 'z', '-', '+', '/', '=', '.', ' ', '\n', '\0', 'é'] {
            let extended = format!("{}{more}{}", &good[..at_byte], &good[at_byte..]);
            assert!(tokens.verify(&extended, at(NOW)).is_err(), "{more:?} at {at_byte}");
            if good[at_byte..].starts_with(more) || at_byte == good.len() {
                continue;
            }
            let replaced = format!("{}{more}{}", &good[..at_byte], &good[at_byte + 1..]);
            assert!(tokens.verify(&replaced, at(NOW)).is_err(), "{more:?} for {at_byte}");
        }
    }
    let parts: Vec<&str> = good.split('.').collect();
    let other = key(2);
    let input = format!("{}.{}", parts[0], parts[1]);
    let foreign = URL_SAFE_NO_PAD.encode(other.sign(input.as_bytes()));
    let shapes = [
        format!("{input}.{foreign}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{}", parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{good}=="),
        format!(" {good}"),
        format!("{good}\n"),
        format!("Bearer {good}"),
        "..".into(),
        "é.é.é".into(),
        "a".repeat(1_000_000),
    ];
    for shape in shapes {
        assert!(judge(&shape).is_err(), "{:.60}", shape);
    }
}

#[test]
fn parts_that_are_not_the_expected_json_are_refused() {
    let (header, claims) = (good_header().to_string(), good_claims().to_string());
    assert!(judge(&signed_raw(header.as_bytes(), claims.as_bytes())).is_ok());
    let twice = |json: &str, member: &str| json.replacen('{', &format!("{{{member},"), 1);
    for bad in [
        twice(&header, r#""alg":"EdDSA""#),
        format!("{header}{header}"),
        json!(["EdDSA", "at+jwt", key(1).kid()]).to_string(),
        "null".into(),
        String::new(),
    ] {
        assert!(judge(&signed_raw(bad.as_bytes(), claims.as_bytes())).is_err(), "{bad}");
    }
    for bad in [
        twice(&claims, r#""sub":"00000000-0000-0000-0000-000000000007""#),
        twice(&claims, r#""exp":9999999999"#),
        format!("{claims} x"),
        "[]".into(),
        "null".into(),
        "[".repeat(2000),
        String::new(),
    ] {
        assert!(judge(&signed_raw(header.as_bytes(), bad.as_bytes())).is_err(), "{bad}");
    }
    assert!(judge(&signed_raw(header.as_bytes(), b"\xff\xfe")).is_err());
    // every member twice, with the same and with another value, before and after
    for (json, other) in [(good_header(), &claims), (good_claims(), &header)] {
        for (name, value) in json.as_object().unwrap() {
            for second in [value.clone(), json!("x"), json!(null)] {
                let (text, member) = (json.to_string(), format!("{:?}:{second}", name));
                let before = text.replacen('{', &format!("{{{member},"), 1);
                let after = format!("{},{member}}}", text.strip_suffix('}').unwrap());
                for twice in [before, after] {
                    let token = if json == good_header() {
                        signed_raw(twice.as_bytes(), other.as_bytes())
                    } else {
                        signed_raw(other.as_bytes(), twice.as_bytes())
                    };
                    assert!(judge(&token).is_err(), "{twice}");
                }
            }
        }
    }
}

#[test]
fn keys_rotate_without_a_refused_token_and_then_end() {
    let tokens = tokens();
    let old = tokens.issue(&access(), at(NOW)).token;
    tokens.verify(&old, at(NOW)).unwrap();
    // the next key is published before it signs
    tokens.replace_keys(set(key(1), vec![key(2).public().clone()]));
    let elsewhere = AccessTokens::new(settings(), set(key(2), vec![]));
    let new = elsewhere.issue(&access(), at(NOW)).token;
    for token in [&old, &new] {
        assert!(tokens.verify(token, at(NOW)).is_ok());
    }
    // it signs, the older one is still verified by, cached or not
    tokens.replace_keys(set(key(2), vec![key(1).public().clone()]));
    assert!(tokens.verify(&old, at(NOW)).is_ok());
    assert_eq!(elsewhere.verify(&old, at(NOW)), Err(AccessError::UnknownKey));
    // the older one ends, also for a token that was verified before
    tokens.replace_keys(set(key(2), vec![]));
    assert_eq!(tokens.verify(&old, at(NOW)), Err(AccessError::UnknownKey));
    assert!(tokens.verify(&new, at(NOW)).is_ok());
}

/// The set itself knows when its keys change; nobody has to replace it at that instant.
#[test]
fn keys_take_over_and_end_at_their_instants() {
    let from = |seconds| Period { signs_from: at(NOW + seconds), ends: None };
    let first = Period { ends: Some(at(NOW + 100 + 720)), ..from(-1000) };
    let keys = || KeySet::new(vec![(key(1), first), (key(2), from(100))], vec![]).unwrap();
    let (here, there) =
        (AccessTokens::new(settings(), keys()), AccessTokens::new(settings(), keys()));
    let signer = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    for (now, seed) in [(0, 1), (99, 1), (100, 2), (819, 2)] {
        let token = here.issue(&access(), at(NOW + now)).token;
        assert_eq!(signer(&token), key(seed).kid(), "{now}");
        // a node whose clock is two seconds off, either way
        for skew in [-2, 0, 2] {
            assert!(there.verify(&token, at(NOW + now + skew)).is_ok(), "{now} {skew}");
        }
    }
    // the last token of the old key lives its whole life
    let last = here.issue(&access(), at(NOW + 99)).token;
    assert!(there.verify(&last, at(NOW + 699)).is_ok());
    // revoked from an instant on, cached or not
    let revoked = Period { ends: Some(at(NOW + 100)), ..first };
    let keys = KeySet::new(vec![(key(1), revoked), (key(2), from(100))], vec![]).unwrap();
    there.replace_keys(keys);
    assert!(there.verify(&last, at(NOW + 99)).is_ok());
    assert_eq!(there.verify(&last, at(NOW + 100)), Err(AccessError::UnknownKey));
    let unseen = here.issue(&access(), at(NOW + 98)).token;
    assert_eq!(there.verify(&unseen, at(NOW + 100)), Err(AccessError::UnknownKey));
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_used() {
    let settings = AccessSettings { cache_max: 64, ..settings() };
    let tokens = AccessTokens::new(settings, set(key(1), vec![]));
    let issue = |number| {
        let access = Access { session_id: Uuid::from_u128(number), ..access() };
        tokens.issue(&access, at(NOW)).token
    };
    let hot = issue(0);
    let hot_digest: [u8; 32] = Sha256::digest(&hot).into();
    tokens.verify(&hot, at(NOW)).unwrap();
    for number in 1..300 {
        tokens.verify(&issue(number), at(NOW)).unwrap();
        assert!(tokens.cache.len() <= 64);
        assert!(tokens.cache.get(&hot_digest).is_some(), "forgotten after {number}");
    }
    assert!(tokens.cache.len() > 16);
}

#[test]
fn refused_tokens_are_not_remembered_and_no_cache_is_allowed() {
    let tokens = tokens();
    let token = tokens.issue(&access(), at(NOW)).token;
    let _ = tokens.verify(&token, at(NOW + 9999));
    let _ = tokens.verify(&token[..token.len() - 1], at(NOW));
    assert_eq!(tokens.cache.len(), 0);
    let settings = AccessSettings { cache_max: 0, ..settings() };
    let uncached = AccessTokens::new(settings, set(key(1), vec![]));
    for _ in 0..2 {
        assert!(uncached.verify(&token, at(NOW)).is_ok());
    }
    assert_eq!(uncached.cache.len(), 0);
}
