//! Changing the keys that sign access tokens: nobody notices, unless the keys are revoked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::harness::shopper::{PASSWORD, refresh, sign_in};
use crate::harness::{Api, Shop, Shopper, eventually};

/// A verifier elsewhere: it has the list of keys from this node, and asks for it again only when
/// the answer that it has is older than it may be cached.
struct Verifier {
    api: Api,
    keys: JwkSet,
    fresh_until: Instant,
    rules: Validation,
}

impl Verifier {
    async fn new(api: Api) -> Self {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&["shop"]);
        rules.set_issuer(&["customer-service"]);
        rules.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        rules.validate_nbf = true;
        let mut verifier =
            Self { api, keys: JwkSet { keys: Vec::new() }, fresh_until: Instant::now(), rules };
        verifier.read().await;
        verifier
    }

    async fn read(&mut self) {
        let answer = self.api.get("/.well-known/jwks.json").send().await.expect(200);
        let control = answer.header("cache-control").to_owned();
        let age = control.strip_prefix("public, max-age=").expect("it may be cached");
        self.fresh_until = Instant::now() + Duration::from_secs(age.parse().unwrap());
        self.keys = serde_json::from_value(answer.json()).unwrap();
    }

    /// The key's name and the time of issue.
    async fn verify(&mut self, token: &str) -> Result<(String, i64), String> {
        if Instant::now() >= self.fresh_until {
            self.read().await;
        }
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let key = self.keys.find(&kid).ok_or_else(|| format!("{kid} is not in the cached list"))?;
        let key = DecodingKey::from_jwk(key).unwrap();
        let read = jsonwebtoken::decode::<Value>(token, &key, &self.rules);
        let claims = read.map_err(|error| error.to_string())?.claims;
        Ok((kid, claims["iat"].as_i64().unwrap()))
    }
}

/// What one stream of requests saw.
#[derive(Default)]
struct Seen {
    checks: usize,
    failures: Vec<String>,
    /// Key and time of issue of every token.
    tokens: BTreeSet<(String, i64)>,
}

impl Seen {
    async fn check(&mut self, what: &str, token: &str, nodes: &[Api], verifier: &mut Verifier) {
        for (at, node) in nodes.iter().enumerate() {
            let answer = node.get("/v1/me").bearer(token).send().await;
            self.checks += 1;
            if answer.status != 200 {
                self.failures.push(format!("{what}, node {at}: {}", answer.text()));
            }
        }
        self.checks += 1;
        match verifier.verify(token).await {
            Ok(token) => drop(self.tokens.insert(token)),
            Err(error) => self.failures.push(format!("{what}, verifier: {error}")),
        }
    }
}

/// Signs in and refreshes at one node in turn, and shows each token to both and to a verifier.
async fn stream(
    shopper: Shopper,
    nodes: Vec<Api>,
    at: usize,
    end: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> Seen {
    // Its list of keys comes from the other node than the tokens.
    let mut verifier = Verifier::new(nodes[(at + 1) % nodes.len()].clone()).await;
    let mut seen = Seen::default();
    let mut number = at;
    while !end.load(Ordering::Relaxed) {
        number += 1;
        let answer = sign_in(&nodes[number % nodes.len()], &shopper.email, PASSWORD).await;
        let pair = Shopper::of(&shopper.email, &answer.expect(200));
        seen.check("sign-in", &pair.access, &nodes, &mut verifier).await;
        let answer = refresh(&nodes[(number + 1) % nodes.len()], &pair.refresh).await.expect(200);
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        seen.check("refresh", &token, &nodes, &mut verifier).await;
        seen.check("earlier token", &pair.access, &nodes, &mut verifier).await;
        done.fetch_add(1, Ordering::Relaxed);
    }
    seen
}

fn listed(shop: &Shop) -> Vec<Value> {
    let output = shop.run(&["key", "signing", "list", "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice::<Value>(&output.stdout).unwrap().as_array().unwrap().clone()
}

fn stages(shop: &Shop) -> Vec<String> {
    listed(shop).iter().map(|key| key["stage"].as_str().unwrap().to_owned()).collect()
}

async fn published(api: &Api) -> Vec<String> {
    let keys = api.get("/.well-known/jwks.json").send().await.expect(200).json();
    let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
    keys["keys"].as_array().unwrap().iter().map(kid).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_under_load_without_a_failed_verification() {
    let shop = Shop::configured(&[("SESSIONS__JWKS_MAX_AGE_SECONDS", "2")]).await;
    let nodes = [shop.node().await, shop.node().await];
    let apis: Vec<Api> = nodes.iter().map(|node| node.api()).collect();
    let first = Shopper::new(&shop, &nodes[0]).await;
    let (end, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut streams = Vec::new();
    for at in 0..4 {
        let shopper = Shopper::new(&shop, &nodes[at % 2]).await;
        streams.push(tokio::spawn(stream(shopper, apis.clone(), at, end.clone(), done.clone())));
    }
    for rotation in 1..=3 {
        let output = shop.run(&["key", "rotate-signing"]);
        assert!(output.status.success(), "{output:?}");
        let stages_now = stages(&shop);
        assert_eq!((stages_now[0].as_str(), stages_now[1].as_str()), ("next", "current"));
        assert_eq!(stages_now.len(), rotation + 1);
        // Both nodes list the new key, behind the one that signs.
        let keys = listed(&shop);
        for api in &apis {
            eventually("the next key is published", Duration::from_secs(3), async || {
                let names = published(api).await;
                let at = names.iter().position(|kid| keys[0]["kid"] == kid.as_str());
                at.filter(|at| *at > 0 && names.len() == rotation + 1)
            })
            .await;
        }
        // One after the other.
        let early = shop.run(&["key", "rotate-signing"]);
        assert_eq!(early.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&early.stderr).contains("is published already"));
        eventually("the next key signs", Duration::from_secs(12), async || {
            (stages(&shop)[0] == "current").then_some(())
        })
        .await;
        let before = done.load(Ordering::Relaxed);
        eventually("the streams go on", Duration::from_secs(10), async || {
            (done.load(Ordering::Relaxed) > before + 8).then_some(())
        })
        .await;
    }
    end.store(true, Ordering::Relaxed);
    let mut all = Seen::default();
    for stream in streams {
        let seen = stream.await.unwrap();
        all.checks += seen.checks;
        all.failures.extend(seen.failures);
        all.tokens.extend(seen.tokens);
    }
    assert!(
        all.failures.is_empty(),
        "{} of {}: {:#?}",
        all.failures.len(),
        all.checks,
        all.failures
    );
    // Each key signed in its own time, on both nodes.
    let keys = listed(&shop);
    let mut used = BTreeMap::new();
    for key in &keys {
        let instant =
            |name: &str| key[name].as_str().map(|at| at.parse::<DateTime<Utc>>().unwrap());
        let (from, to) = (instant("signs_from").unwrap(), instant("retired_at"));
        for (_, issued) in all.tokens.iter().filter(|(kid, _)| key["kid"] == kid.as_str()) {
            let in_time =
                *issued >= from.timestamp() && to.is_none_or(|to| *issued <= to.timestamp());
            assert!(in_time, "{issued} is not from {from} to {to:?}");
            *used.entry(key["kid"].to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(used.len(), 4, "{used:?}");
    println!("{} verifications, none failed; tokens a key: {used:?}", all.checks);
    // A token of the first key is as good as ever.
    for api in &apis {
        api.get("/v1/me").bearer(&first.access).send().await.expect(200);
        let names = published(api).await;
        assert_eq!(names.len(), 4);
        assert_eq!(keys[0]["kid"], names[0].as_str());
    }
    let told = shop.database.column("SELECT actor_kind || ' ' || action FROM audit_entries WHERE action LIKE 'signing_key%'").await;
    assert_eq!(told, ["operator signing_key.rotated"; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_emergency_every_earlier_key_is_refused_and_the_new_one_works() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let shopper = Shopper::new(&shop, &nodes[0]).await;
    // Also one that was still waiting for its time.
    assert!(shop.run(&["key", "rotate-signing"]).status.success());
    let began = Instant::now();
    let output = shop.run(&["key", "rotate-signing", "--now"]);
    assert!(output.status.success(), "{output:?}");
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(warning.contains("WARNING") && warning.contains("300 s"), "{warning}");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(told.matches("is revoked from").count(), 2, "{told}");
    for node in &nodes {
        eventually("the old key is refused", Duration::from_secs(5), async || {
            let answer = node.get("/v1/me").bearer(&shopper.access).send().await;
            (answer.status == 401).then(|| answer.problem(401, "unauthorized"))
        })
        .await;
    }
    println!("refused everywhere {:?} after the command began", began.elapsed());
    eventually("the new key signs", Duration::from_secs(3), async || {
        (stages(&shop) == ["current", "revoked", "revoked"]).then_some(())
    })
    .await;
    let keys = listed(&shop);
    // The session has outlived it, on either node; whatever is signed now is good on both.
    let mut refresh_token = shopper.refresh.clone();
    for node in [&nodes[1], &nodes[0]] {
        let pair = refresh(node, &refresh_token).await.expect(200).json();
        refresh_token = pair["refresh_token"].as_str().unwrap().to_owned();
        let token = pair["access_token"].as_str().unwrap();
        for other in &nodes {
            other.get("/v1/me").bearer(token).send().await.expect(200);
            assert_eq!(published(other).await, [keys[0]["kid"].as_str().unwrap()]);
            let mut verifier = Verifier::new(other.api()).await;
            assert_eq!(verifier.verify(token).await.unwrap().0, keys[0]["kid"]);
            assert!(verifier.verify(&shopper.access).await.is_err());
        }
    }
    // A node that starts now knows no better.
    let late = shop.node().await;
    late.get("/v1/me").bearer(&shopper.access).send().await.problem(401, "unauthorized");
    let actions = "SELECT action FROM audit_entries WHERE actor_kind = 'operator' AND action LIKE 'signing%' ORDER BY id";
    assert_eq!(
        shop.database.column(actions).await,
        ["signing_key.rotated", "signing_key.replaced"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_key_is_followed_by_one_new_key_whichever_node_sees_it_first() {
    let shop = Shop::configured(&[("SESSIONS__SIGNING_KEY_DAYS", "30")]).await;
    let nodes = [shop.node().await, shop.node().await, shop.node().await];
    let age = |days: u32| {
        format!(
            "UPDATE signing_keys SET created_at = created_at - interval '{days} days', signs_from = signs_from - interval '{days} days'"
        )
    };
    shop.database.execute(&age(29)).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(stages(&shop), ["current"]);
    shop.database.execute(&age(1)).await;
    eventually("a new key is made", Duration::from_secs(5), async || {
        (stages(&shop) == ["next", "current"]).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(stages(&shop), ["next", "current"], "one is enough");
    for node in &nodes {
        assert_eq!(published(node).await.len(), 2);
    }
    let told = "SELECT actor_kind || ' ' || action FROM audit_entries WHERE action LIKE 'signing%'";
    assert_eq!(shop.database.column(told).await, ["service signing_key.rotated"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_deleted_when_its_last_token_has_expired() {
    let shop = Shop::configured(&[("SESSIONS__JWKS_MAX_AGE_SECONDS", "1")]).await;
    let node = shop.node().await;
    assert!(shop.run(&["key", "rotate-signing"]).status.success());
    let janitor = || crate::janitor::janitor(&shop.database);
    let back = |minutes: u32| {
        format!(
            "UPDATE signing_keys SET created_at = created_at - interval '{minutes} minutes', signs_from = signs_from - interval '{minutes} minutes', retired_at = retired_at - interval '{minutes} minutes'"
        )
    };
    shop.database.execute(&back(11)).await;
    janitor().clean().await.unwrap();
    assert_eq!(stages(&shop), ["current", "retiring"]);
    shop.database.execute(&back(2)).await;
    let over = stages(&shop);
    // The node's own janitor may come first.
    assert!(over == ["current", "ended"] || over == ["current"], "{over:?}");
    eventually("the key is listed no more", Duration::from_secs(5), async || {
        (published(&node).await.len() == 1).then_some(())
    })
    .await;
    janitor().clean().await.unwrap();
    assert_eq!(stages(&shop), ["current"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_under_another_root_key_is_not_let_in() {
    let shop = Shop::new().await;
    let early = shop.run(&["key", "rotate-signing"]);
    assert!(String::from_utf8_lossy(&early.stderr).contains("there is no signing key yet"));
    let _node = shop.node().await;
    let other = STANDARD.encode([9; 32]);
    for arguments in [&["key", "rotate-signing"][..], &["key", "rotate-signing", "--now"]] {
        let mut command = shop.command(&[("SECRETS__ROOT_KEY", &other)]);
        let output = command.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("does not open with secrets.root_key"), "{told}");
    }
    assert_eq!(stages(&shop), ["current"]);
}
