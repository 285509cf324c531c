//! Every way to come near a good token without having one, against the running service: none is
//! accepted, and all get one and the same answer, so that nobody learns what was nearly right.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use customer_service::clock::{Clock, SystemClock};
use customer_service::security::keys::RootSecret;
use customer_service::security::sealing::Sealer;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::{Signer, SigningKey};
use futures_util::{StreamExt, stream};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::harness::shopper::{PASSWORD, address, refresh, register, verify};
use crate::harness::{Answer, Api, Node, Shop, Shopper};

/// Headers that tell of the call, or name a set in any order.
const UNSTEADY: &[&str] = &["x-request-id", "date", "ratelimit", "access-control-expose-headers"];

/// Calls under way at once.
const AT_ONCE: usize = 24;

/// Everything one step away from a token, and some things further off.
fn neighbours(token: &str) -> Vec<String> {
    let mut found = BTreeSet::new();
    for length in 0..token.len() {
        found.insert(token[..length].to_owned());
        found.insert(token[length + 1..].to_owned());
    }
    for at in 0..token.len() {
        for bit in 0..8 {
            // The eighth bit makes another character of Latin-1.
            let flipped = char::from(token.as_bytes()[at] ^ (1 << bit));
            found.insert(format!("{}{flipped}{}", &token[..at], &token[at + 1..]));
        }
    }
    for more in ["A", "0", "=", "==", ".", "_", "-", "%00", "\u{200b}", "\0", "\n", " ", "é", "\""]
    {
        found.extend([format!("{token}{more}"), format!("{more}{token}")]);
    }
    found.extend([
        token.replace('-', "+").replace('_', "/"),
        token.to_uppercase(),
        token.to_lowercase(),
        token.chars().rev().collect(),
        token.repeat(2),
        format!("\"{token}\""),
        STANDARD.encode(token),
        "A".repeat(token.len()),
        "x".repeat(3_000),
        "null".into(),
        "undefined".into(),
        "' OR 1=1 --".into(),
        "../../etc/passwd".into(),
    ]);
    if let Ok(bytes) = URL_SAFE_NO_PAD.decode(token) {
        found.extend([STANDARD.encode(&bytes), URL_SAFE.encode(&bytes), hex(&bytes)]);
        found.extend((0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            URL_SAFE_NO_PAD.encode(flipped)
        }));
    }
    found.remove(token);
    found.into_iter().collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a client sees, without what names the one request.
fn told(answer: &Answer) -> String {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(members) = body.as_object_mut() {
        members.remove("request_id");
    }
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !UNSTEADY.contains(&name.as_str()))
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    headers.sort();
    format!("{} {headers:?} {body}", answer.status)
}

/// Presents every token and answers with what was told, which must be one and the same.
async fn one_answer<F: Future<Output = Answer>>(
    what: &str,
    tokens: Vec<String>,
    present: impl Fn(String) -> F,
) -> String {
    let count = tokens.len();
    let answers: Vec<_> = stream::iter(tokens)
        .map(|token| {
            let answer = present(token.clone());
            async move { (token, answer.await) }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (first, expected) = (&answers[0].0, told(&answers[0].1));
    for (token, answer) in &answers {
        assert_eq!(told(answer), expected, "{what}: {token:?}, unlike {first:?}");
    }
    println!("{what}: {count} tokens, all told {}", answers[0].1.code());
    expected
}

/// Those that a body may hold: one with a NUL is refused whatever its field.
fn texts(token: &str) -> Vec<String> {
    neighbours(token).into_iter().filter(|near| !near.contains('\0')).collect()
}

/// Whether it can stand behind `Bearer ` and is still another token there.
fn fits_a_header(token: &str, good: &str) -> bool {
    let text = token.bytes().all(|byte| byte >= b' ' && byte != 0x7f);
    text && !token.is_empty() && token.trim_matches(' ') != good && token.len() < 3_500
}

async fn read_as(api: &Api, token: String) -> Answer {
    api.get("/v1/me").bearer(&token).send().await
}

/// The private key of the running service, opened as only the holder of the root key can.
struct Forge {
    key: SigningKey,
    kid: String,
    customer: String,
    session: String,
}

impl Forge {
    async fn of(shop: &Shop, shopper: &Shopper) -> Self {
        let sql = "SELECT kid, encode(sealed_private_key, 'hex') FROM signing_keys";
        let [Some(kid), Some(sealed)] = &shop.database.rows(sql).await[0][..] else { panic!() };
        let sealed: Vec<u8> = (0..sealed.len() / 2)
            .map(|at| u8::from_str_radix(&sealed[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        let sealer = Sealer::new(&RootSecret::new(shop.root_key));
        let der = sealer.open(&format!("signing_keys/{kid}"), &sealed).unwrap();
        let (customer, session) = (shopper.id.clone(), shopper.session.clone());
        Self { key: SigningKey::from_pkcs8_der(&der).unwrap(), kid: kid.clone(), customer, session }
    }

    fn header(&self) -> Value {
        json!({ "alg": "EdDSA", "typ": "at+jwt", "kid": self.kid })
    }

    fn claims(&self) -> Value {
        let now = SystemClock.now().timestamp();
        json!({ "iss": "customer-service", "aud": "shop", "sub": self.customer,
            "sid": self.session, "jti": SystemClock.new_id(), "iat": now, "nbf": now,
            "exp": now + 600, "aal": 1, "amr": ["pwd"], "auth_time": now })
    }

    /// Signed with the service's own key, so that nothing but the content can be what is refused.
    fn sign(&self, header: &str, claims: &str) -> String {
        let input = input(header, claims);
        let signature = self.key.sign(input.as_bytes()).to_bytes();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn with_claim(&self, name: &str, value: Option<Value>) -> String {
        self.sign(&self.header().to_string(), &with(&self.claims(), name, value).to_string())
    }

    fn with_header(&self, name: &str, value: Option<Value>) -> String {
        self.sign(&with(&self.header(), name, value).to_string(), &self.claims().to_string())
    }
}

fn input(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn with(object: &Value, name: &str, value: Option<Value>) -> Value {
    let mut members = object.as_object().unwrap().clone();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    Value::Object(members)
}

fn wrong_claims(forge: &Forge) -> Vec<String> {
    let mut tokens = Vec::new();
    for (name, good) in forge.claims().as_object().unwrap() {
        if name != "jti" {
            tokens.push(forge.with_claim(name, None));
        }
        let other = if good.is_string() { json!(7) } else { json!("1800000000") };
        let mut values = vec![json!(null), json!(true), json!({}), json!([[]]), json!(1.5)];
        values.extend([json!(""), json!([good]), other, json!("x".repeat(1_500)), json!(-1)]);
        values.extend([json!(i64::MAX), json!(u64::MAX), json!(1e300)]);
        tokens.extend(values.into_iter().map(|value| forge.with_claim(name, Some(value))));
    }
    let now = SystemClock.now().timestamp();
    let hour = 3_600;
    for (name, value) in [
        ("exp", json!(now - 60)),
        ("exp", json!(now + 2 * hour)),
        ("exp", json!(0)),
        ("nbf", json!(now + hour)),
        ("iat", json!(now + hour)),
        ("auth_time", json!(now + 2 * hour)),
        ("aal", json!(0)),
        ("aal", json!(3)),
        ("iss", json!("another")),
        ("iss", json!("CUSTOMER-SERVICE")),
        ("aud", json!("another")),
        ("aud", json!(["shop", "another"])),
        ("sub", json!("00000000-0000-0000-0000-00000000000g")),
        ("sid", json!("../../")),
    ] {
        tokens.push(forge.with_claim(name, Some(value)));
    }
    tokens
}

fn wrong_headers(forge: &Forge) -> Vec<String> {
    let mut tokens = Vec::new();
    let stranger = SigningKey::from_bytes(&[9; 32]);
    let x = URL_SAFE_NO_PAD.encode(stranger.verifying_key().as_bytes());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x });
    for name in ["alg", "typ", "kid"] {
        tokens.push(forge.with_header(name, None));
        for value in [json!(null), json!(7), json!(""), json!([]), json!({}), json!(true)] {
            tokens.push(forge.with_header(name, Some(value)));
        }
    }
    for alg in
        "none None NONE nOnE HS256 HS512 RS256 ES256 eddsa EDDSA EdDsa Ed25519 Ed448".split(' ')
    {
        tokens.push(forge.with_header("alg", Some(json!(alg))));
    }
    for typ in "JWT jwt AT+JWT at+JWT id+jwt application/at+jwt dpop+jwt".split(' ') {
        tokens.push(forge.with_header("typ", Some(json!(typ))));
    }
    let kid = &forge.kid;
    for other in [
        "unknown".to_owned(),
        "../../../../dev/null".into(),
        "/etc/passwd".into(),
        "' OR 1=1 --".into(),
        "https://evil.example/key".into(),
        format!("{kid}\0"),
        format!(" {kid}"),
        kid.to_lowercase(),
        kid.repeat(20),
    ] {
        tokens.push(forge.with_header("kid", Some(json!(other))));
    }
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("jwk", jwk.clone()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
    ] {
        tokens.push(forge.with_header(name, Some(value.clone())));
        // and signed by the stranger whose key it brings along
        let header = with(&forge.header(), name, Some(value)).to_string();
        let input = input(&header, &forge.claims().to_string());
        let signature = stranger.sign(input.as_bytes()).to_bytes();
        tokens.push(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)));
    }
    tokens
}

fn wrong_signatures(forge: &Forge) -> Vec<String> {
    let (header, claims) = (forge.header().to_string(), forge.claims().to_string());
    let mut tokens = Vec::new();
    let good = input(&header, &claims);
    for alg in ["none", "EdDSA", "HS256"] {
        let head = with(&forge.header(), "alg", Some(json!(alg))).to_string();
        let input = input(&head, &claims);
        tokens.extend(["", "AA", &"A".repeat(86)].map(|signature| format!("{input}.{signature}")));
        tokens.push(input);
    }
    // HMAC keyed with the public key, in each form in which the public can know it
    let public = forge.key.verifying_key();
    let x = URL_SAFE_NO_PAD.encode(public.as_bytes());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(
            [&[0x30, 42, 48, 5, 6, 3, 43, 101, 112, 3, 33, 0], &public.as_bytes()[..]].concat()
        )
    );
    for secret in [public.as_bytes().as_slice(), x.as_bytes(), pem.as_bytes(), b""] {
        let mut head = jsonwebtoken::Header::new(Algorithm::HS256);
        head.kid = Some(forge.kid.clone());
        head.typ = Some("at+jwt".into());
        let secret = EncodingKey::from_secret(secret);
        let token = jsonwebtoken::encode(&head, &forge.claims(), &secret).unwrap();
        let signature = token.rsplit_once('.').unwrap().1;
        tokens.push(format!("{good}.{signature}"));
        tokens.push(token);
    }
    // the signature of another content, and a second one appended
    let other = forge.with_claim("aal", Some(json!(2)));
    tokens.push(format!("{good}.{}", other.rsplit_once('.').unwrap().1));
    let whole = forge.sign(&header, &claims);
    tokens.push(format!("{whole}.{}", whole.rsplit_once('.').unwrap().1));
    tokens.push(format!("..{}", whole.rsplit_once('.').unwrap().1));
    tokens
}

fn doubled_members(forge: &Forge) -> Vec<String> {
    let mut tokens = Vec::new();
    for (own, is_header) in [(forge.header(), true), (forge.claims(), false)] {
        for (name, value) in own.as_object().unwrap() {
            for second in [value.clone(), json!("x"), json!(null)] {
                let (text, member) = (own.to_string(), format!("{name:?}:{second}"));
                let before = text.replacen('{', &format!("{{{member},"), 1);
                let after = format!("{},{member}}}", text.strip_suffix('}').unwrap());
                for twice in [before, after] {
                    tokens.push(if is_header {
                        forge.sign(&twice, &forge.claims().to_string())
                    } else {
                        forge.sign(&forge.header().to_string(), &twice)
                    });
                }
            }
        }
    }
    for claims in ["null", "[]", "{}", "", "7", "\"\"", &"[".repeat(1_000), "{\"a\":", "\u{feff}{}"]
    {
        tokens.push(forge.sign(&forge.header().to_string(), claims));
        tokens.push(forge.sign(claims, &forge.claims().to_string()));
    }
    tokens
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_access_token_but_a_genuine_one_opens_anything() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let forge = Forge::of(&shop, &shopper).await;
    // The forge is a good one: what it makes without a fault is accepted.
    let whole = forge.sign(&forge.header().to_string(), &forge.claims().to_string());
    node.get("/v1/me").bearer(&whole).send().await.expect(200);
    let api = node.api();
    let present = |token| {
        let api = api.clone();
        async move { read_as(&api, token).await }
    };
    let mut near = neighbours(&shopper.access);
    near.retain(|token| fits_a_header(token, &shopper.access));
    let mut told = BTreeSet::new();
    for (what, tokens) in [
        ("claims", wrong_claims(&forge)),
        ("headers", wrong_headers(&forge)),
        ("signatures", wrong_signatures(&forge)),
        ("doubled members", doubled_members(&forge)),
        ("neighbours", near),
        ("others", vec![shopper.refresh.clone(), shopper.device.clone(), shop.staff_key.clone()]),
    ] {
        told.insert(one_answer(what, tokens, present).await);
    }
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told.first().unwrap().starts_with("401 ") && told.first().unwrap().contains("unauthorized")
    );
    node.get("/v1/me").bearer(&shopper.access).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_refresh_token_but_a_genuine_one_is_taken_and_none_ends_the_session() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let api = node.api();
    let mut tokens = texts(&shopper.refresh);
    tokens.extend([shopper.access.clone(), shopper.device.clone(), shop.staff_key.clone()]);
    let told = one_answer("refresh tokens", tokens, |token| {
        let api = api.clone();
        async move { refresh(&api, &token).await }
    })
    .await;
    assert!(told.starts_with("401 ") && told.contains("refresh_invalid"), "{told}");
    refresh(&node, &shopper.refresh).await.expect(200);
    node.get("/v1/me").bearer(&shopper.access).send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mailed_token_but_a_genuine_one_is_taken() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let email = address();
    register(&node, &email).await.expect(202);
    let token = shop.mail_to(&email, 1).await.token();
    let api = node.api();
    let told = one_answer("mailed tokens", texts(&token), |token| {
        let api = api.clone();
        async move { verify(&api, &token).await }
    })
    .await;
    assert!(told.starts_with("422 ") && told.contains("token_invalid"), "{told}");
    verify(&node, &token).await.expect(200);
    // spent, it is told the same as a forged one
    assert_eq!(self::told(&verify(&node, &token).await), told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_staff_key_but_a_genuine_one_is_taken() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let api = node.api();
    let mut tokens = neighbours(&shop.staff_key);
    tokens.extend([shop.staff_key.replacen("csk_", "CSK_", 1), shop.staff_key.replace('_', "-")]);
    let (_, other) = shop.key("ops:read");
    let (head, _) = shop.staff_key.rsplit_once('_').unwrap();
    let (_, secret) = other.rsplit_once('_').unwrap();
    // one key's name with another's secret
    tokens.push(format!("{head}_{secret}"));
    tokens.retain(|token| fits_a_header(token, &shop.staff_key));
    let told = one_answer("staff keys", tokens, |token| {
        let api = api.clone();
        async move { api.get("/v1/admin/customers").bearer(&token).send().await }
    })
    .await;
    assert!(told.starts_with("401 ") && told.contains("unauthorized"), "{told}");
    node.get("/v1/admin/customers").bearer(&shop.staff_key).send().await.expect(200);
}

/// Signing in with a device that is not known is allowed; then it becomes known by another token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_no_device_token_but_a_genuine_one_is_a_known_device() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    assert_eq!(device_after(&node, &shopper, &shopper.device).await, shopper.device);
    let near = texts(&shopper.device);
    // Each is a sign-in of its own, so one in nine: another one for each character and bit.
    for token in near.iter().step_by(9) {
        let device = device_after(&node, &shopper, token).await;
        assert!(device != shopper.device && device != *token && !device.is_empty(), "{token:?}");
    }
    // another customer's device is not this one's
    let other = Shopper::new(&shop, &node).await;
    assert_ne!(device_after(&node, &shopper, &other.device).await, other.device);
}

async fn device_after(node: &Node, shopper: &Shopper, device: &str) -> String {
    let body = json!({ "email": shopper.email, "password": PASSWORD, "device_token": device });
    let answer = node.post("/v1/auth/login", body).send().await.expect(200);
    Shopper::of(&shopper.email, &answer).device
}
