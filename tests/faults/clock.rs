//! Nodes whose machines' clocks are wrong or are set while they run, beside one whose clock is right:
//! all go by the database's.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::time::{sleep, sleep_until};
use totp_rs::{Builder, Secret};

use crate::ground::Ground;
use crate::harness::shopper::{PASSWORD, refresh, sign_in};
use crate::harness::{Api, Node, Shop, Shopper};
use crate::report::Report;
use crate::{Scenario, played};

pub const SCENARIOS: &[Scenario] = &[Scenario {
    id: "F20",
    fault: "nodes' clocks ten minutes ahead, ten minutes behind, an hour behind, and put back by an hour while one runs",
    criterion: "tokens, refreshes and TOTP by the database's time: nobody refused wrongly, nobody accepted wrongly",
    play: played!(wrong_clocks),
    short: false,
}];

/// Life of an access token, and how much longer it is tolerated.
const LIFE: Duration = Duration::from_secs(60);
const LEEWAY: Duration = Duration::from_secs(2);

/// Where Debian's package `faketime` has its library.
fn library() -> Option<String> {
    let output =
        Command::new("sh").args(["-c", "ls /usr/lib/*/faketime/libfaketime.so.1"]).output();
    let path = String::from_utf8_lossy(&output.ok()?.stdout).trim().to_owned();
    Path::new(&path).exists().then_some(path)
}

/// What went otherwise than it should, and how much was asked.
#[derive(Default)]
struct Answers {
    asked: usize,
    wrong: Vec<String>,
}

impl Answers {
    fn expect(&mut self, what: impl FnOnce() -> String, status: u16, expected: u16) {
        self.asked += 1;
        if status != expected && self.wrong.len() < 10 {
            self.wrong.push(format!("{}: {status}", what()));
        }
    }

    fn tell(self, about: &str, report: &mut Report) {
        let Self { asked, wrong } = self;
        report
            .must(wrong.is_empty(), format!("{about}: {} of {asked} wrong {wrong:?}", wrong.len()));
    }
}

async fn wrong_clocks(ground: &Ground, report: &mut Report) {
    let Some(library) = library() else {
        report.must(false, "not run: install the Debian package faketime");
        return;
    };
    let shop = ground.shop(&[("SESSIONS__ACCESS_TOKEN_MINUTES", "1")]).await;
    let given = shop.folder().join("time");
    std::fs::write(&given, "+0").unwrap();
    let given_path = given.display().to_string();
    let preload = [("LD_PRELOAD", library.as_str()), ("DONT_FAKE_MONOTONIC", "1")];
    let mut nodes = vec![("right", shop.node().await)];
    for (name, shift) in [("+10 min", "+600"), ("-10 min", "-600"), ("-1 h", "-3600")] {
        let settings = [preload[0], preload[1], ("FAKETIME", shift)];
        nodes.push((name, shop.node_with(&settings).await));
    }
    let file = ("FAKETIME_TIMESTAMP_FILE", given_path.as_str());
    let settings = [preload[0], preload[1], file, ("FAKETIME_CACHE_DURATION", "1")];
    nodes.push(("put back", shop.node_with(&settings).await));

    each_others(&shop, &nodes).await.tell("at once", report);
    second_factors(&shop, &nodes).await.tell("TOTP", report);
    std::fs::write(&given, "-3600").unwrap();
    sleep(Duration::from_millis(1_500)).await;
    each_others(&shop, &nodes).await.tell("after the step", report);
    offsets(&nodes, report).await;
    in_their_time(&shop, &nodes, report).await;
}

/// Every node's token and session at every node.
async fn each_others(shop: &Shop, nodes: &[(&str, Node)]) -> Answers {
    let mut answers = Answers::default();
    for (from, by) in nodes {
        let shopper = Shopper::new(shop, by).await;
        for (to, at) in nodes {
            let read = shopper.get(at, "/v1/me").send().await.status;
            answers.expect(|| format!("token of {from} at {to}"), read, 200);
            // Each on a session of its own, so that one refresh is not the other's reuse.
            let session = shopper.again(by).await;
            let refreshed = refresh(at, &session.refresh).await.status;
            answers.expect(|| format!("session of {from} refreshed at {to}"), refreshed, 200);
        }
    }
    answers
}

/// A code of an authenticator whose clock is right, at every node.
async fn second_factors(shop: &Shop, nodes: &[(&str, Node)]) -> Answers {
    let mut answers = Answers::default();
    for (name, node) in nodes {
        let (_, right) = &nodes[0];
        let shopper = Shopper::new(shop, right).await;
        let begin = shopper.post(right, "/v1/me/mfa/totp", json!({ "password": PASSWORD }));
        let setup = begin.send().await.expect(200).json();
        let secret = Secret::try_from_base32(setup["secret"].as_str().unwrap()).unwrap();
        let app = Builder::new().with_secret(secret).build().unwrap();
        // The step before is used up by the confirmation, and is one that counts until the next.
        let left = 30 - now() % 30;
        if left < 10 {
            sleep(Duration::from_secs(left)).await;
        }
        let code = |seconds: u64| json!({ "code": app.generate(seconds).to_string() });
        let confirm = shopper.post(right, "/v1/me/mfa/totp/confirm", code(now() - 30));
        confirm.send().await.expect(200);
        let asked = sign_in(node, &shopper.email, PASSWORD).await.expect(200).json();
        let mut body = code(now());
        body["challenge"] = asked["challenge"].clone();
        body["method"] = json!("totp");
        let status = node.post("/v1/auth/mfa", body).send().await.status;
        answers.expect(|| format!("code at {name}"), status, 200);
    }
    answers
}

#[expect(clippy::disallowed_methods, reason = "an authenticator has a clock of its own")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Operators are told how wrong the machine's clock is.
async fn offsets(nodes: &[(&str, Node)], report: &mut Report) {
    let expected = [0.0, 600.0, -600.0, -3_600.0, -3_600.0];
    let mut told = Vec::new();
    for ((name, node), expected) in nodes.iter().zip(expected) {
        let offset = node.metric("clock_machine_offset_seconds").await;
        let noted = node.get("/health/ready").send().await.expect(200).text();
        let noted = noted.contains("this machine's clock differs");
        if (offset - expected).abs() > 1.0 || noted != (expected != 0.0) {
            told.push(format!("{name}: {offset:.3} s, noted {noted}"));
        }
    }
    report.must(told.is_empty(), format!("offsets told by metric and readiness, but {told:?}"));
}

/// A token is good everywhere until its end, and nowhere after it.
async fn in_their_time(shop: &Shop, nodes: &[(&str, Node)], report: &mut Report) {
    let mut tokens = Vec::new();
    for (from, by) in nodes {
        let shopper = Shopper::new(shop, by).await;
        // The time of the answer to a call that was made before: its end is known to that.
        let asked = Instant::now();
        let session = shopper.again(by).await;
        tokens.push((*from, session, asked, Instant::now()));
    }
    let first_end = tokens[0].2 + LIFE;
    sleep_until((first_end - Duration::from_secs(3)).into()).await;
    let mut before = Answers::default();
    for (from, session, asked, _) in &tokens {
        for (to, at) in nodes {
            let status = read(session, at).await;
            if asked.elapsed() < LIFE {
                before.expect(|| format!("{from} at {to}"), status, 200);
            }
        }
    }
    before.tell("just before their end", report);
    let last_end = tokens.iter().map(|(.., answered)| *answered).max().unwrap();
    // Times in a token are whole seconds.
    sleep_until((last_end + LIFE + LEEWAY + Duration::from_secs(1)).into()).await;
    let mut after = Answers::default();
    for (from, session, ..) in &tokens {
        for (to, at) in nodes {
            after.expect(|| format!("{from} at {to}"), read(session, at).await, 401);
        }
    }
    after.tell("after their end and the leeway of 2 s", report);
}

async fn read(session: &Shopper, at: &Api) -> u16 {
    session.get(at, "/v1/me").send().await.status
}
