//! What operators see at `/ops` and do there: the numbers and the stream, restarts, pauses, and what each
//! leaves behind.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dead_letters::parked;
use crate::harness::{Answer, Api, Shop, Shopper, eventually};

/// For what is seen a moment later.
const LIMIT: Duration = Duration::from_secs(20);

struct Operator<'a> {
    node: &'a Api,
    key: String,
}

impl Operator<'_> {
    async fn overview(&self) -> Value {
        self.node.get("/ops/actors").bearer(&self.key).send().await.expect(200).json()
    }

    async fn actor(&self, name: &str) -> Value {
        let overview = self.overview().await;
        let actors = overview["actors"].as_array().unwrap();
        actors.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}")).clone()
    }

    async fn act(&self, name: &str, action: &str, body: Value) -> Answer {
        let path = format!("/ops/actors/{name}/{action}");
        self.node.post(&path, body).bearer(&self.key).send().await
    }

    async fn resume(&self, name: &str) -> Answer {
        let path = format!("/ops/actors/{name}/resume");
        self.node.call(reqwest::Method::POST, &path).bearer(&self.key).send().await
    }

    /// The overview once the database was asked.
    async fn installation(&self) -> Value {
        eventually("the database was asked", LIMIT, async || {
            let overview = self.overview().await;
            let told = &overview["installation"];
            told["answer"].is_object().then(|| told.clone())
        })
        .await
    }
}

/// What was written into the audit trail about no customer, in order.
async fn deeds(shop: &Shop) -> Vec<String> {
    shop.database
        .column(
            "SELECT action || ' ' || actor_kind || ' ' || actor_id || ' ' || (data ->> 'actor') \
             FROM audit_entries WHERE customer_id IS NULL AND actor_kind = 'staff' ORDER BY seq",
        )
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_rests_visibly_for_a_while_and_goes_on_when_told() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (id, key) = shop.key("ops:read,ops:write");
    let operator = Operator { node: &node, key };
    let paused = operator.act("mailer", "pause", json!({ "minutes": 15 })).await.expect(200).json();
    assert_eq!(paused["actor"]["pause"]["by"], id.as_str());
    let again = operator.act("mailer", "pause", json!({ "minutes": 60 })).await.expect(200).json();
    let until = |one: &Value| one["actor"]["pause"]["until"].as_str().unwrap().to_owned();
    assert!(until(&again) > until(&paused), "said anew, it rests for longer");
    assert_eq!(operator.actor("mailer").await["pause"], again["actor"]["pause"]);
    // Nobody overlooks it: readiness, metrics.
    eventually("readiness, which is shared for a moment, tells of it", LIMIT, async || {
        let ready = node.get("/health/ready").send().await.expect(200).json();
        ready["notes"].to_string().contains("rests").then_some(())
    })
    .await;
    assert_eq!(node.metric_where("actor_paused", "\"mailer\"").await, 1.0);
    // What is due waits.
    let email = crate::harness::shopper::address();
    crate::harness::shopper::register(&node, &email).await.expect(202);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM mails WHERE sent_at IS NULL").await, 1);
    operator.act("mailer", "restart", json!({ "generation": 1 })).await.problem(409, "conflict");
    let resumed = operator.resume("mailer").await.expect(200).json();
    assert_eq!(resumed["actor"]["pause"], Value::Null);
    eventually("the mail is sent", LIMIT, async || {
        let waits = shop.database.count("SELECT count(*) FROM mails WHERE sent_at IS NULL").await;
        (waits == 0).then_some(())
    })
    .await;
    operator.resume("mailer").await.expect(200);
    assert_eq!(node.metric_where("actor_paused", "\"mailer\"").await, 0.0);
    let deed = |action: &str| format!("{action} staff {id} mailer");
    let expected = ["worker.paused", "worker.paused", "worker.resumed"].map(deed);
    assert_eq!(deeds(&shop).await, expected, "each deed once; what changed nothing is none");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_is_restarted_once_for_each_incarnation_that_was_seen() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let (id, key) = shop.key("ops:read,ops:write");
    let operator = Operator { node: &node, key };
    for name in ["customers-0", "customers-1", "mailer"] {
        let before = operator.actor(name).await["generation"].as_u64().unwrap();
        let restart = || operator.act(name, "restart", json!({ "generation": before }));
        let (one, two, three) = tokio::join!(restart(), restart(), restart());
        for answer in [one, two, three] {
            let actor = &answer.expect(200).json()["actor"];
            assert_eq!(actor["generation"], before + 1, "{actor}");
            assert_eq!(actor["restarts"], 1, "it is no failure, and counted all the same");
            assert_eq!((&actor["panics"], &actor["last_error"]), (&json!(0), &Value::Null));
        }
        eventually("it runs, in what is looked at once a second", LIMIT, async || {
            let after = operator.actor(name).await;
            (after["state"] == "running" && after["restarts"] == 1).then_some(())
        })
        .await;
        let ahead = json!({ "generation": before + 7 });
        operator.act(name, "restart", ahead).await.problem(409, "conflict");
    }
    shopper.patch(&node, "/v1/me", json!({ "first_name": "B" })).send().await.expect(200);
    let expected = ["customers-0", "customers-1", "mailer"]
        .map(|name| format!("actor.restarted staff {id} {name}"));
    assert_eq!(deeds(&shop).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_not_be_done_is_refused_with_what_to_do() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (_, key) = shop.key("ops:read,ops:write");
    let operator = Operator { node: &node, key };
    let minutes = json!({ "minutes": 5 });
    for name in ["revocation_watch", "signing_watch", "clock_watch"] {
        let refused = operator.act(name, "pause", minutes.clone()).await.problem(409, "conflict");
        assert!(refused.text().contains("Restart it instead"), "{}", refused.text());
    }
    let shard = operator.act("customers-0", "pause", minutes.clone()).await;
    assert!(shard.problem(409, "conflict").text().contains("restart it instead"));
    operator.resume("customers-0").await.problem(409, "conflict");
    for name in ["nobody", "customers-99"] {
        operator.act(name, "pause", minutes.clone()).await.problem(404, "not_found");
    }
    for (body, fault) in [
        (json!({ "minutes": 0 }), "#/minutes out_of_range"),
        (json!({ "minutes": 61 }), "#/minutes out_of_range"),
        (json!({}), "#/minutes required"),
    ] {
        let refused = operator.act("mailer", "pause", body).await;
        assert_eq!(refused.problem(422, "validation_failed").faults(), [fault]);
    }
    let reader = Operator { node: &node, key: shop.key("ops:read").1 };
    let refused = reader.act("mailer", "pause", minutes).await.problem(403, "insufficient_scope");
    assert!(refused.text().contains("ops:write"), "it says which");
    assert_eq!(deeds(&shop).await, [""; 0]);
    assert_eq!(operator.actor("mailer").await["pause"], Value::Null);
}

/// Rule: what cannot be written down is not done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_audit_trail_nothing_is_done() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let (_, key) = shop.key("ops:read,ops:write");
    let operator = Operator { node: &node, key };
    let before = operator.actor("mailer").await["generation"].clone();
    shop.database
        .execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
             CREATE TRIGGER refuse BEFORE INSERT ON audit_entries FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .await;
    let restart = operator.act("mailer", "restart", json!({ "generation": before })).await;
    let pause = operator.act("mailer", "pause", json!({ "minutes": 5 })).await;
    for refused in [restart, pause] {
        assert!(refused.status >= 500, "{} {}", refused.status, refused.text());
    }
    let after = operator.actor("mailer").await;
    assert_eq!((&after["generation"], &after["pause"]), (&before, &Value::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_tells_what_waits_in_the_installation() {
    let shop = Shop::configured(&[("RABBIT__URL", "amqp://nobody:nothing@127.0.0.1:9/%2f")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    parked(&shop, 3).await;
    shop.database
        .execute(
            "INSERT INTO sign_in_throttles (bucket, state, locked_until, updated_at) VALUES \
             (sha256('a'), '{}', now() + interval '1 hour', now()), (sha256('b'), '{}', now() - interval '1 hour', now())",
        )
        .await;
    let operator = Operator { node: &node, key: shop.key("ops:read").1 };
    let told = eventually("all of it", Duration::from_secs(30), async || {
        let told = operator.installation().await;
        (told["answer"]["dead_letters"]["counts"]["parked"] == 1).then_some(told)
    })
    .await;
    let answer = &told["answer"];
    assert_eq!(answer["dead_letters"]["counts"]["behind"], 2);
    assert!(answer["dead_letters"]["oldest_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(answer["locks"]["locked"], 1, "{answer}");
    let groups = answer["outbox"].as_array().unwrap();
    assert_eq!(groups.len(), 8);
    let late = groups.iter().filter(|one| one["lag_seconds"].as_f64().unwrap() > 0.0).count();
    assert!(late >= 1, "nobody publishes, and the database says since when: {answer}");
    let overview = operator.overview().await;
    let owners = groups.iter().filter(|one| one["owner"] == overview["node"]).count();
    assert_eq!(owners, 8, "{groups:?}");
    let commands = overview["shards"]["commands"].as_array().unwrap();
    let total: u64 = commands.iter().map(|one| one.as_u64().unwrap()).sum();
    assert!(commands.len() == 64 && total >= 1, "{commands:?}");
    assert!(overview["figures"]["db_client_connection_max"].is_array());
    assert!(!overview.to_string().contains(&shopper.id), "nobody's id");
    assert!(!overview.to_string().contains('@'));
}

/// While PostgreSQL cannot be asked the last answer is told, with its age and the reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_overview_outlives_the_database() {
    use crate::harness::db::TestDatabase;
    use crate::harness::servers::PrivateServer;
    let postgres = PrivateServer::start("postgres");
    let settings =
        [("DATABASE__ACQUIRE_TIMEOUT_MS", "1000"), ("DATABASE__CONNECT_TIMEOUT_MS", "1000")];
    let shop = Shop::with(TestDatabase::on(&postgres.url).await, &settings).await;
    let node = shop.node().await;
    let operator = Operator { node: &node, key: shop.staff_key.clone() };
    let mut stream = Stream::open(&node, &operator.key).await;
    stream
        .until("the database was asked", |name, data| {
            name == "overview" && data["installation"]["answer"].is_object()
        })
        .await;
    let backends = shop
        .database
        .column("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'customer-service%'")
        .await;
    // With those who serve its connections: they would go on answering.
    let freeze = |signal: &str| {
        postgres.signal(signal);
        let sent = Command::new("kill").arg(format!("-{signal}")).args(&backends).status();
        assert!(sent.unwrap().success());
    };
    freeze("STOP");
    let began = Instant::now();
    let told = stream
        .until("it is told to be old", |name, data| {
            let age = data["installation"]["age_seconds"].as_f64().unwrap_or(0.0);
            name == "overview" && age > 8.0 && data["installation"]["trouble"].is_string()
        })
        .await;
    assert!(told["installation"]["answer"].is_object(), "the last values stay");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    freeze("CONT");
    stream
        .until("it is asked again", |name, data| {
            let age = data["installation"]["age_seconds"].as_f64().unwrap_or(99.0);
            name == "overview" && age < 5.0 && data["installation"]["trouble"].is_null()
        })
        .await;
}

/// The stream of the page, read event by event.
struct Stream {
    response: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(node: &Api, key: &str) -> Self {
        let client = reqwest::Client::new();
        let request = client.get(format!("{}/ops/stream", node.base())).bearer_auth(key);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (name, data) = event.split_once('\n').unwrap();
                let name = name.strip_prefix("event: ").unwrap().to_owned();
                let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                self.text = rest.to_owned();
                return (name, data);
            }
            let chunk = self.response.chunk().await.unwrap().expect("the stream goes on");
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    async fn until(&mut self, what: &str, fits: impl Fn(&str, &Value) -> bool) -> Value {
        let search = async {
            loop {
                let (name, data) = self.next().await;
                if fits(&name, &data) {
                    return data;
                }
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(60), search).await;
        found.unwrap_or_else(|_| panic!("{what}: not within a minute"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_tells_the_last_hour_once_and_then_what_is_new() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let mut stream = Stream::open(&node, &shop.staff_key).await;
    let (name, hour) = stream.next().await;
    assert_eq!(name, "hour");
    let series = hour["series"].as_array().unwrap().len();
    assert_eq!((series, &hour["step_seconds"]), (6, &json!(10)));
    assert_eq!(stream.next().await.0, "overview");
    let points = stream.until("a point", |name, _| name == "points").await;
    let point = points[0].as_array().unwrap();
    assert_eq!(point.len(), 1 + series);
    assert!(point[1].is_number(), "what is counted is known by the second point: {points}");
    let mut late = Stream::open(&node, &shop.staff_key).await;
    let (_, hour) = late.next().await;
    assert_eq!(
        hour["points"].as_array().unwrap().last().unwrap(),
        &points[points.as_array().unwrap().len() - 1]
    );
}

/// Many who watch cost what one costs: all are told the same second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_watch_are_told_what_was_looked_up_once() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let began = Instant::now();
    let watching = (0..10).map(|_| async {
        let mut stream = Stream::open(&node, &shop.staff_key).await;
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let (name, data) = stream.next().await;
            if name == "overview" {
                seen.push(data["at"].as_str().unwrap().to_owned());
            }
        }
        seen
    });
    let seen = futures_util::future::join_all(watching).await;
    let took = began.elapsed();
    let different: std::collections::BTreeSet<_> = seen.iter().flatten().collect();
    let most = took.as_secs_f64() / 0.95 + 2.0;
    assert!((different.len() as f64) <= most, "{} looks in {took:?}", different.len());
}
