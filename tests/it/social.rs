//! Signing in by identity providers (rules A10, L1) over the API, against a real provider that can
//! lie: whole ways there and back, what is refused, and what is exactly once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::identity::{CLIENT_ID, Lie, NATIVE_CLIENT_ID, Person, REDIRECT_URI, Signature};
use crate::harness::shopper::{PASSWORD, address, register, sign_in};
use crate::harness::{Answer, Api, IdentityProvider, Node, Shop, Shopper, SigningKey, eventually};
use crate::second_factors::{Guarded, second_step};

pub const NONCE: &str = "0123456789abcdef";

/// A shop that knows one provider by two names.
struct Stage {
    shop: Shop,
    node: Node,
    provider: IdentityProvider,
}

async fn stage_with(more: &[(&str, &str)]) -> Stage {
    let provider = IdentityProvider::start().await;
    let mut settings = provider.settings("google");
    settings.extend(provider.settings("other"));
    let mut settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    // a slow machine is not taken for a fault
    settings.push(("HTTP__REQUEST_TIMEOUT_MS", "25000"));
    settings.push(("HTTP__SHUTDOWN_TIMEOUT_SECONDS", "30"));
    settings.push(("SIGN_IN__CLAIM_TIMEOUT_SECONDS", "30"));
    settings.extend(more);
    let shop = Shop::configured(&settings).await;
    let node = shop.node().await;
    Stage { shop, node, provider }
}

async fn stage() -> Stage {
    stage_with(&[]).await
}

impl Stage {
    /// Goes to the provider's page: its address, and the state that comes back.
    async fn begin(&self, name: &str) -> (String, String) {
        begin(&self.node.get(&path(name)).send().await)
    }

    /// Goes there and agrees: the body to come back with.
    async fn way(&self, name: &str, person: &Person) -> Value {
        let (url, state) = self.begin(name).await;
        json!({ "code": self.provider.agree(&url, person), "state": state })
    }

    /// The whole way.
    async fn sign_in(&self, person: &Person) -> Answer {
        let body = self.way("google", person).await;
        post(&self.node, "google", body).await
    }

    fn id_token(&self, person: &Person) -> Value {
        let id_token = self.provider.id_token(person, NATIVE_CLIENT_ID, NONCE);
        json!({ "id_token": id_token, "nonce": NONCE })
    }

    /// The whole way of a signed-in customer who links.
    async fn link(&self, owner: &Shopper, name: &str, person: &Person) -> Answer {
        let body = self.linking_way(owner, name, person).await;
        owner.post(&self.node, &format!("/v1/me/identities/{name}"), body).send().await
    }

    async fn linking_way(&self, owner: &Shopper, name: &str, person: &Person) -> Value {
        self.proven_way(owner, name, person, Some(PASSWORD)).await
    }

    async fn proven_way(
        &self,
        owner: &Shopper,
        name: &str,
        person: &Person,
        password: Option<&str>,
    ) -> Value {
        let body = json!({ "redirect_uri": REDIRECT_URI, "password": password });
        let (url, state) = begin(&self.begin_linking(owner, name, body).await);
        json!({ "code": self.provider.agree(&url, person), "state": state })
    }

    async fn begin_linking(&self, owner: &Shopper, name: &str, body: Value) -> Answer {
        let path = format!("/v1/me/identities/{name}/authorize");
        owner.post(&self.node, &path, body).send().await
    }

    async fn customers(&self, person: &Person) -> i64 {
        let sql = format!("SELECT count(*) FROM customers WHERE email = '{}'", person.email);
        self.shop.database.count(&sql).await
    }
}

pub fn path(name: &str) -> String {
    format!("/v1/auth/social/{name}/authorize?redirect_uri={REDIRECT_URI}")
}

pub fn begin(answer: &Answer) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let begun = answer.json();
    let text = |name: &str| begun[name].as_str().unwrap().to_owned();
    (text("authorization_url"), text("state"))
}

pub async fn post(node: &Api, name: &str, body: Value) -> Answer {
    node.post(&format!("/v1/auth/social/{name}"), body).send().await
}

/// Waits for a mail with these words: there may be others, say of a new device.
async fn told(stage: &Stage, email: &str, words: &str) {
    eventually(words, Duration::from_secs(20), async || {
        let mails = stage.shop.mails_to(email);
        mails.iter().any(|mail| mail.text().contains(words)).then_some(())
    })
    .await;
}

/// A customer's person at the provider: the same address, verified there.
fn same(shopper: &Shopper) -> Person {
    Person { email: shopper.email.to_uppercase(), ..Person::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_l1_who_is_new_becomes_an_active_customer_in_one_transaction() {
    let stage = stage().await;
    let person = Person::new();
    let first = stage.sign_in(&person).await.expect(200);
    assert_eq!(first.header("cache-control"), "no-store");
    assert_eq!(first.json()["created"], true);
    let shopper = Shopper::of(&person.email, &first);
    let me = shopper.get(&stage.node, "/v1/me?expand=profile,preferences").send().await;
    let me = me.expect(200).json();
    assert_eq!((&me["status"], &me["email_verified"]), (&json!("active"), &json!(true)));
    assert_eq!((&me["first_name"], &me["last_name"]), (&json!("Ánh"), &json!("Nguyễn")));
    assert_eq!(me["group"], "individual");
    assert!(me["profile"].is_object() && me["preferences"].is_object(), "{me}");
    let messages = stage.shop.messages(&shopper.id).await;
    let expected =
        ["customer.created", "customer.verified", "customer.identity_linked", "customer.signed_in"];
    assert_eq!(messages, expected);
    let entries = stage.shop.entries(&shopper.id).await;
    assert!(entries.contains(&"customer.identity_linked".to_owned()), "{entries:?}");
    let mail = stage.shop.mail_to(&person.email, 1).await;
    assert!(mail.text().contains("elsewhere"), "{}", mail.text());
    // nobody has this password, and nobody is told so
    sign_in(&stage.node, &person.email, PASSWORD).await.problem(401, "invalid_credentials");

    let again = stage.sign_in(&person).await.expect(200);
    assert_eq!(
        (again.json()["created"].clone(), Shopper::of("", &again).id),
        (json!(false), shopper.id.clone())
    );
    let listed = shopper.get(&stage.node, "/v1/me/identities").send().await.expect(200).json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{listed}");
    assert_eq!(
        (&items[0]["provider"], &items[0]["email"]),
        (&json!("google"), &json!(person.email))
    );
    assert!(!listed.to_string().contains(&person.subject), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_names_come_from_the_provider_the_page_or_the_address() {
    let stage = stage().await;
    let name = async |answer: Answer| {
        let shopper = Shopper::of("", &answer.expect(200));
        let me = shopper.get(&stage.node, "/v1/me").send().await.expect(200).json();
        (
            me["first_name"].as_str().unwrap().to_owned(),
            me["last_name"].as_str().unwrap().to_owned(),
        )
    };
    let nameless = || Person { given_name: None, family_name: None, ..Person::new() };
    let person = nameless();
    let mut body = stage.way("google", &person).await;
    body["first_name"] = json!("İbrahim");
    body["last_name"] = json!("Şahin");
    let told = name(post(&stage.node, "google", body).await).await;
    assert_eq!(told, ("İbrahim".to_owned(), "Şahin".to_owned()));
    let person = Person { email: format!("anna.{}", Person::new().email), ..nameless() };
    let (first, last) = name(stage.sign_in(&person).await).await;
    assert_eq!((&*first, &*last), (person.email.split('@').next().unwrap(), "-"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_nothing_false_is_accepted() {
    let stage = stage().await;
    let person = Person::new();
    let now = chrono::DateTime::timestamp(&customer_service::clock::Clock::now(
        &customer_service::clock::SystemClock,
    ));
    let claim = Lie::claim;
    let lies = vec![
        claim("iss", json!("https://accounts.google.com")),
        claim("aud", json!("another-shop")),
        claim("aud", json!([CLIENT_ID, "another-shop"])),
        claim("azp", json!("another-shop")),
        claim("exp", json!(now - 120)),
        claim("iat", json!(now + 600)),
        claim("nbf", json!(now + 600)),
        claim("nbf", json!((now + 600) as f64 + 0.5)),
        claim("nbf", json!("soon")),
        claim("nonce", json!("another")),
        claim("nonce", Value::Null),
        claim("sub", Value::Null),
        claim("sub", json!("")),
        claim("at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA")),
        Lie::signed(Signature::None),
        Lie::signed(Signature::PublicKeyAsSecret),
        Lie::signed(Signature::ClientSecret),
        Lie::signed(Signature::Stranger),
        Lie::signed(Signature::Damaged),
        Lie { kid: Some("unknown".to_owned()), ..Lie::default() },
    ];
    for lie in lies {
        let shown = format!("{:?} {:?} {:?}", lie.claims, lie.signature, lie.kid);
        stage.provider.lie(lie);
        let refused = stage.sign_in(&person).await;
        assert_eq!(
            (refused.status, refused.code()),
            (401, "identity_invalid".to_owned()),
            "{shown}"
        );
        // what is bound to a code says nothing in a token that came without one
        let token = stage.id_token(&person);
        if !shown.contains("at_hash") && !shown.contains("\"another\"") && !shown.contains("nonce")
        {
            post(&stage.node, "google", token).await.problem(401, "identity_invalid");
        }
    }
    for value in [json!(false), json!("false"), Value::Null] {
        stage.provider.lie(claim("email_verified", value));
        let refused = stage.sign_in(&person).await;
        refused.problem(422, "email_not_verified_by_provider");
    }
    stage.provider.lie(claim("email", Value::Null));
    stage.sign_in(&person).await.problem(422, "email_not_verified_by_provider");
    stage.provider.lie(Lie::default());
    assert_eq!(stage.customers(&person).await, 0);
    // a clock that is a little ahead is no lie
    stage.provider.lie(claim("nbf", json!(now + 20)));
    stage.sign_in(&Person::new()).await.expect(200);
    stage.provider.lie(Lie::default());
    let mut body = stage.way("google", &person).await;
    body["email"] = json!(address());
    post(&stage.node, "google", body).await.problem(422, "email_mismatch");
    assert_eq!(stage.customers(&person).await, 0);
    let mut body = stage.way("google", &person).await;
    body["email"] = json!(person.email.to_uppercase());
    post(&stage.node, "google", body).await.expect(200);
    let passed = stage.node.metric_where("gate_passages_total", "invalid_identity").await;
    assert!(passed > 20.0, "{passed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_a_state_is_worth_one_try_by_who_began_it_there() {
    let stage = stage_with(&[("SOCIAL__STATE_MINUTES", "1")]).await;
    let person = Person::new();
    let invalid = |answer: Answer| answer.problem(401, "identity_invalid");
    let body = stage.way("google", &person).await;
    post(&stage.node, "google", body.clone()).await.expect(200);
    invalid(post(&stage.node, "google", body).await);

    // consumed by a wrong code, and at another provider
    let mut body = stage.way("google", &person).await;
    let right = body["code"].clone();
    body["code"] = json!("wrong");
    invalid(post(&stage.node, "google", body.clone()).await);
    body["code"] = right;
    invalid(post(&stage.node, "google", body).await);
    let body = stage.way("google", &person).await;
    invalid(post(&stage.node, "other", body.clone()).await);
    invalid(post(&stage.node, "google", body).await);

    // PKCE: another's code with one's own state
    let (mine, theirs) = (stage.way("google", &person).await, stage.way("google", &person).await);
    let mixed = json!({ "code": theirs["code"], "state": mine["state"] });
    invalid(post(&stage.node, "google", mixed).await);
    for state in ["", "abc", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let body = json!({ "code": "x", "state": state });
        invalid(post(&stage.node, "google", body).await);
    }

    // one that is too old
    let body = stage.way("google", &person).await;
    let sql = "UPDATE sign_in_flows SET created_at = created_at - interval '61 s', \
               expires_at = expires_at - interval '61 s' WHERE used_at IS NULL";
    stage.shop.database.execute(sql).await;
    invalid(post(&stage.node, "google", body).await);

    let uri = "/v1/auth/social/google/authorize?redirect_uri=";
    for other in ["https://evil.example/cb", "https://shop.example/sign-in/cb/"] {
        let call = stage.node.get(&format!("{uri}{other}"));
        call.send().await.problem(422, "redirect_uri_not_allowed");
    }
    stage.node.get("/v1/auth/social/google/authorize").send().await.expect(422);
    stage.node.get(&path("nobody")).send().await.problem(404, "not_found");
    post(&stage.node, "nobody", json!({ "code": "x", "state": "y" }))
        .await
        .problem(404, "not_found");
    for body in [
        json!({}),
        json!({ "code": "x" }),
        json!({ "id_token": "x" }),
        json!({ "code": "x", "state": "y", "id_token": "z", "nonce": "n" }),
    ] {
        post(&stage.node, "google", body).await.problem(422, "validation_failed");
    }
    let kept = "SELECT count(*) FROM sign_in_flows WHERE position(convert_to('google', 'UTF8') IN payload) > 0";
    assert_eq!(stage.shop.database.count(kept).await, 0, "payloads are sealed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_a_token_from_an_app_is_worth_one_sign_in() {
    let stage = stage().await;
    let person = Person::new();
    let body = stage.id_token(&person);
    let first = post(&stage.node, "google", body.clone()).await.expect(200);
    assert_eq!(first.json()["created"], true);
    post(&stage.node, "google", body.clone()).await.problem(401, "identity_invalid");
    let mut wrong = stage.id_token(&person);
    wrong["nonce"] = json!("another");
    post(&stage.node, "google", wrong).await.problem(401, "identity_invalid");
    let second = post(&stage.node, "google", stage.id_token(&person)).await;
    // within one second the provider signs the very same token but for its signature
    assert!(matches!(second.status, 200 | 401), "{}", second.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_an_existing_customer_is_linked_only_if_both_sides_verified_the_address() {
    let stage = stage().await;
    let shopper = Shopper::new(&stage.shop, &stage.node).await;
    let person = same(&shopper);
    let unverified = Person { email_verified: json!(false), ..person.clone() };
    stage.sign_in(&unverified).await.problem(422, "email_not_verified_by_provider");
    let answer = stage.sign_in(&person).await.expect(200);
    assert_eq!(answer.json()["created"], false);
    assert_eq!(Shopper::of("", &answer).id, shopper.id);
    told(&stage, &shopper.email, "has just been linked").await;
    let messages = stage.shop.messages(&shopper.id).await;
    assert!(messages.contains(&"customer.identity_linked".to_owned()), "{messages:?}");
    // signs in by the account, whatever its address is by now
    let moved = Person { email: address(), email_verified: json!(false), ..person.clone() };
    assert_eq!(Shopper::of("", &stage.sign_in(&moved).await.expect(200)).id, shopper.id);
    // another account of the same address at the same provider is not let in beside it
    stage.sign_in(&same(&shopper)).await.problem(409, "link_required");

    // a registration that nobody confirmed may be a stranger's
    let pending = address();
    register(&stage.node, &pending).await.expect(202);
    let victim = Person { email: pending, ..Person::new() };
    stage.sign_in(&victim).await.problem(409, "link_required");
    let sql = format!("SELECT count(*) FROM identities WHERE email = '{}'", victim.email);
    assert_eq!(stage.shop.database.count(&sql).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_a10_the_status_is_judged() {
    let stage = stage().await;
    let person = Person::new();
    let linked = Shopper::of("", &stage.sign_in(&person).await.expect(200));
    let unlinked = Shopper::new(&stage.shop, &stage.node).await;
    for (shopper, person) in [(&linked, person), (&unlinked, same(&unlinked))] {
        let path = format!("/v1/admin/customers/{}/status", shopper.id);
        let body = json!({ "to": "suspended", "reason": "fraud_suspected" });
        stage.node.post(&path, body).bearer(&stage.shop.staff_key).send().await.expect(200);
        stage.sign_in(&person).await.problem(403, "account_suspended");
    }
    let sql = format!("SELECT count(*) FROM identities WHERE customer_id = '{}'", unlinked.id);
    assert_eq!(stage.shop.database.count(&sql).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a6_a10_the_second_factor_is_asked_for() {
    let stage = stage().await;
    let guarded = Guarded::new(&stage.shop, &stage.node).await;
    let person = same(&guarded.shopper);
    // once while it is linked on the way, once when it is
    for code in &guarded.backup_codes[..2] {
        let asked = stage.sign_in(&person).await.expect(200).json();
        assert_eq!((&asked["status"], &asked["created"]), (&json!("mfa_required"), &json!(false)));
        assert!(asked.get("access_token").is_none(), "{asked}");
        let challenge = asked["challenge"].as_str().unwrap();
        let wrong = second_step(&stage.node, challenge, "totp", "000000").await;
        assert_eq!(wrong.status, 401, "{}", wrong.text());
        let answer = second_step(&stage.node, challenge, "backup_code", code).await.expect(200);
        assert_eq!(Shopper::of("", &answer).id, guarded.shopper.id);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_linking_is_by_the_owner_alone_and_the_last_way_in_stays() {
    let stage = stage().await;
    let shopper = Shopper::new(&stage.shop, &stage.node).await;
    let person = Person::new();
    let linked = stage.link(&shopper, "google", &person).await.expect(200).json();
    assert_eq!((&linked["provider"], &linked["email"]), (&json!("google"), &json!(person.email)));
    stage.link(&shopper, "google", &person).await.expect(200);
    let messages = stage.shop.messages(&shopper.id).await;
    let count = messages.iter().filter(|kind| *kind == "customer.identity_linked").count();
    assert_eq!(count, 1, "the same one again changes nothing: {messages:?}");
    assert_eq!(Shopper::of("", &stage.sign_in(&person).await.expect(200)).id, shopper.id);
    let another = stage.link(&shopper, "google", &Person::new()).await;
    another.problem(409, "provider_already_linked");

    // another customer's
    let other = Shopper::new(&stage.shop, &stage.node).await;
    stage.link(&other, "google", &person).await.problem(409, "identity_taken");
    // a way that somebody else began, or that was begun to sign in
    let theirs = stage.linking_way(&shopper, "other", &Person::new()).await;
    let link = |body: Value| other.post(&stage.node, "/v1/me/identities/other", body);
    link(theirs).send().await.problem(401, "identity_invalid");
    let begun = stage.way("other", &Person::new()).await;
    link(begun).send().await.problem(401, "identity_invalid");
    let begun = stage.linking_way(&other, "other", &Person::new()).await;
    post(&stage.node, "other", begun).await.problem(401, "identity_invalid");

    let path = "/v1/me/identities/google";
    let proof = json!({ "password": PASSWORD });
    other.delete(&stage.node, path).send().await.problem(403, "proof_needed");
    let unlinked = other.delete(&stage.node, path).json(proof);
    unlinked.send().await.problem(404, "not_found");
    let wrong = shopper.delete(&stage.node, path).json(json!({ "password": "wrong password 12" }));
    wrong.send().await.problem(403, "proof_invalid");
    let right = shopper.delete(&stage.node, path).json(json!({ "password": PASSWORD }));
    right.send().await.expect(204);
    told(&stage, &shopper.email, "no longer linked").await;
    let messages = stage.shop.messages(&shopper.id).await;
    assert_eq!(messages.last().map(String::as_str), Some("customer.identity_unlinked"));
    // free again, for whoever comes
    stage.link(&other, "google", &person).await.expect(200);

    let only = Shopper::of("", &stage.sign_in(&Person::new()).await.expect(200));
    only.delete(&stage.node, path).send().await.problem(409, "last_sign_in_method");
    let body = stage.proven_way(&only, "other", &Person::new(), None).await;
    only.post(&stage.node, "/v1/me/identities/other", body).send().await.expect(200);
    only.delete(&stage.node, path).send().await.expect(204);
}

/// Who stole a session could else sign in by an account of his own for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_linking_begins_with_a_fresh_proof() {
    let stage = stage().await;
    let shopper = Shopper::new(&stage.shop, &stage.node).await;
    for (proof, code) in [
        (json!({}), "proof_needed"),
        (json!({ "password": "wrong password 12" }), "proof_invalid"),
        (json!({ "code": "123456" }), "proof_invalid"),
    ] {
        for uri in [json!(REDIRECT_URI), Value::Null] {
            let mut body = proof.clone();
            body["redirect_uri"] = uri;
            stage.begin_linking(&shopper, "google", body).await.problem(403, code);
        }
    }
    let flows = "SELECT count(*) FROM sign_in_flows";
    assert_eq!(stage.shop.database.count(flows).await, 0, "nothing was begun");
    let link = |body: Value| shopper.post(&stage.node, "/v1/me/identities/google", body).send();
    // an app's token is no way round: it comes with the state of a proof, once
    let app = |state: Option<&str>| {
        let mut body = stage.id_token(&Person::new());
        body["state"] = json!(state);
        link(body)
    };
    assert_eq!(app(None).await.faults(), ["#/state required"]);
    app(Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")).await.problem(401, "identity_invalid");
    let begun = |proof: Value| stage.begin_linking(&shopper, "google", proof);
    let answer = begun(json!({ "password": PASSWORD })).await.expect(200);
    assert!(answer.json().get("authorization_url").is_none(), "{}", answer.text());
    let state = answer.json()["state"].as_str().unwrap().to_owned();
    app(Some(&state)).await.expect(200);
    app(Some(&state)).await.problem(401, "identity_invalid");
    let answer = begun(json!({ "password": PASSWORD })).await.expect(200).json();
    let code = json!({ "code": "x", "state": answer["state"] });
    link(code).await.problem(401, "identity_invalid");
    let nobody = stage.begin_linking(&shopper, "nobody", json!({ "password": PASSWORD })).await;
    nobody.problem(404, "not_found");
    let elsewhere = json!({ "password": PASSWORD, "redirect_uri": "https://evil.example/cb" });
    begun(elsewhere).await.problem(422, "redirect_uri_not_allowed");
    // who has nothing to show but the sign-in itself shows that, for a while
    let only = Shopper::of("", &stage.sign_in(&Person::new()).await.expect(200));
    stage.begin_linking(&only, "other", json!({})).await.expect(200);
    let older = "UPDATE sessions SET created_at = created_at - interval '11 min'";
    stage.shop.database.execute(older).await;
    stage.begin_linking(&only, "other", json!({})).await.problem(403, "proof_needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_a_provider_that_is_down_or_slow_disturbs_nobody_else() {
    let stage = stage_with(&[("SOCIAL__TIMEOUT_MS", "500")]).await;
    let shopper = Shopper::new(&stage.shop, &stage.node).await;
    let body = stage.way("google", &Person::new()).await;
    stage.provider.state().delay = Duration::from_secs(20);
    let storm = join_all((0..40).map(|_| stage.node.get(&path("other")).send()));
    let calm = async {
        let began = Instant::now();
        for _ in 0..10 {
            shopper.get(&stage.node, "/v1/me").send().await.expect(200);
        }
        sign_in(&stage.node, &shopper.email, PASSWORD).await.expect(200);
        began.elapsed()
    };
    let (answers, calm) = tokio::join!(storm, calm);
    for answer in answers {
        let retry = answer.header("retry-after").to_owned();
        answer.problem(503, "provider_unavailable");
        assert_eq!(retry, "10");
    }
    assert!(calm < Duration::from_secs(8), "{calm:?}");
    let began = Instant::now();
    post(&stage.node, "google", body).await.problem(503, "provider_unavailable");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_keys_rotate_under_way() {
    let stage = stage().await;
    let person = Person::new();
    stage.sign_in(&person).await.expect(200);
    let begun = stage.way("google", &person).await;
    stage.provider.rotate(SigningKey::rs256());
    post(&stage.node, "google", begun).await.expect(200);
    stage.sign_in(&person).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_l5_64_parallel_first_sign_ins_of_one_person_are_one_customer() {
    let stage = stage().await;
    let second = stage.shop.node().await;
    let nodes = [stage.node.api(), second.api()];
    let person = Person::new();
    let mut bodies = Vec::new();
    for _ in 0..64 {
        bodies.push(stage.way("google", &person).await);
    }
    let calls = bodies.into_iter().enumerate();
    let calls = calls.map(|(number, body)| post(&nodes[number % 2], "google", body));
    let mut ids = BTreeMap::new();
    let mut created = 0;
    for answer in join_all(calls).await {
        if answer.status == 503 {
            continue;
        }
        let answer = answer.expect(200);
        created += usize::from(answer.json()["created"] == true);
        *ids.entry(Shopper::of("", &answer).id).or_insert(0) += 1;
    }
    assert!(ids.len() == 1 && created <= 1, "{created} {ids:?}");
    assert_eq!(stage.customers(&person).await, 1);
    let id = ids.into_keys().next().unwrap();
    let messages = stage.shop.messages(&id).await;
    let made = messages.iter().filter(|kind| *kind == "customer.created").count();
    assert_eq!(made, 1, "{messages:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a10_a_subject_is_somebody_at_one_provider_only() {
    let stage = stage().await;
    let person = Person::new();
    let owner = stage.sign_in(&person).await.expect(200).json();
    // The other provider calls somebody else the same.
    let namesake = Person { subject: person.subject.clone(), ..Person::new() };
    let body = stage.way("other", &namesake).await;
    let other = post(&stage.node, "other", body).await.expect(200).json();
    assert_eq!((&other["created"], &owner["created"]), (&json!(true), &json!(true)));
    assert_ne!(other["customer_id"], owner["customer_id"]);
    let again = stage.sign_in(&person).await.expect(200).json();
    assert_eq!(again["customer_id"], owner["customer_id"]);
}
