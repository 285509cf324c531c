//! A Redis Cluster of three masters with a replica each: limits count for all nodes together, a master
//! that keeps none of our keys may die unnoticed, and while the one that keeps them is replaced the
//! policy for a Redis that fails holds: nobody passes uncounted.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::shopper::address;
use crate::harness::{Node, Shop, eventually};
use crate::{state, together};

/// What every key of the limits begins with.
const KEY: &str = "customer-service:{limits}:";
const QUOTA: usize = 30;

/// Answers to sign-ins with an address that nobody has: judged, refused by the limit, not judged.
#[derive(Debug, Default, PartialEq, Eq)]
struct Answers {
    judged: usize,
    limited: usize,
    unavailable: usize,
}

/// So many sign-ins from one client address, at the nodes in turn.
async fn sign_ins(nodes: &[Node], from: &str, count: usize) -> Answers {
    let mut answers = Answers::default();
    for number in 0..count {
        let body = json!({ "email": address(), "password": "not the password 7" });
        let call = nodes[number % nodes.len()].post("/v1/auth/login", body).from(from);
        let answer = call.send().await;
        match (answer.status, answer.code().as_str()) {
            (401, _) => answers.judged += 1,
            (429, _) => answers.limited += 1,
            (503, "rate_limiter_unavailable") => answers.unavailable += 1,
            _ => panic!("{}", answer.text()),
        }
    }
    answers
}

struct Cluster {
    /// The first three began as masters.
    servers: Vec<PrivateServer>,
    secret: String,
}

impl Cluster {
    async fn start() -> Self {
        let cluster = ("REDIS_CLUSTER", "1");
        let first = PrivateServer::start_as("redis", &[cluster]);
        let member = |_| PrivateServer::start_as("redis", &[cluster, ("MEMBER_OF", state(&first))]);
        let others: Vec<_> = (1..6).map(member).collect();
        let secret = url::Url::parse(&first.url).unwrap().password().unwrap().to_owned();
        let servers = std::iter::once(first).chain(others).collect();
        let cluster = Self { servers, secret };
        let places: Vec<_> = cluster.servers.iter().map(place).collect();
        let mut create = vec!["--cluster", "create"];
        create.extend(places.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        cluster.ask(&create);
        eventually("the cluster is whole", Duration::from_secs(30), async || {
            let nodes = cluster.ask_at(0, &["cluster", "nodes"]);
            let replicas = nodes.lines().filter(|line| line.contains(" slave ")).count();
            let info = cluster.ask_at(0, &["cluster", "info"]);
            (info.contains("cluster_state:ok") && replicas == 3).then_some(())
        })
        .await;
        cluster
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let mut asked = Command::new("redis-cli");
        let output = asked.env("REDISCLI_AUTH", &self.secret).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "redis-cli: {told}");
        told
    }

    fn ask_at(&self, server: usize, arguments: &[&str]) -> String {
        let url = url::Url::parse(&self.servers[server].url).unwrap();
        let port = url.port().unwrap().to_string();
        self.ask(&[&["-h", "127.0.0.1", "-p", &port], arguments].concat())
    }

    /// Waits until each share of the keys has a living master, as this server sees it.
    async fn three_masters(&self, seen_by: usize) {
        eventually("a replica is promoted", Duration::from_secs(30), async || {
            let nodes = self.ask_at(seen_by, &["cluster", "nodes"]);
            let living = |line: &&str| line.contains("master") && !line.contains("fail");
            let failed = nodes.lines().any(|line| line.contains("fail"));
            (failed && nodes.lines().filter(living).count() == 3).then_some(())
        })
        .await;
    }

    /// Whoever keeps the keys of the limits, and a master that does not.
    fn keeper_and_another(&self) -> (usize, usize) {
        let keeps = |server: &usize| {
            let answer = self.ask_at(*server, &["exists", KEY]);
            !answer.contains("MOVED")
        };
        let keeper = (0..3).find(keeps).expect("a master keeps the slot");
        (keeper, (keeper + 1) % 3)
    }
}

fn place(server: &PrivateServer) -> String {
    let url = url::Url::parse(&server.url).unwrap();
    format!("127.0.0.1:{}", url.port().unwrap())
}

pub async fn limits_hold_on_a_cluster_whose_masters_die() {
    let cluster = Cluster::start().await;
    let all: Vec<_> = cluster.servers.iter().map(|server| server.url.as_str()).collect();
    let urls = together(&all[..3]);
    let quota = QUOTA.to_string();
    let settings = [
        ("REDIS__URL", urls.as_str()),
        ("REDIS__CLUSTER", "on"),
        ("REDIS__TIMEOUT_MS", "1000"),
        ("LIMITS__SIGN_IN_PER_MINUTE", &quota),
    ];
    let shop = Shop::with(TestDatabase::new().await, &settings).await;
    let nodes = [shop.node().await, shop.node().await];
    let began = Instant::now();
    let answers = sign_ins(&nodes, "198.51.100.1", QUOTA + 20).await;
    // The quota comes back while one asks: a share of it for each second.
    let regained = QUOTA * began.elapsed().as_millis() as usize / 60_000 + 1;
    println!("two nodes, one cluster: {answers:?} in {:?}", began.elapsed());
    assert!((QUOTA..=QUOTA + regained).contains(&answers.judged), "{answers:?}");
    assert_eq!(answers.unavailable, 0);

    let (keeper, another) = cluster.keeper_and_another();
    cluster.servers[another].stop("KILL").await;
    let answers = sign_ins(&nodes, "198.51.100.2", 10).await;
    assert_eq!(answers, Answers { judged: 10, ..Answers::default() }, "another master died");
    // Masters are replaced by a majority of masters: one at a time.
    cluster.three_masters(keeper).await;

    let killed_at = Instant::now();
    cluster.servers[keeper].stop("KILL").await;
    let answers = sign_ins(&nodes, "198.51.100.3", 2).await;
    // Nobody is elected before the time that a master may be silent is over.
    if killed_at.elapsed() < Duration::from_secs(2) {
        assert_eq!(answers, Answers { unavailable: 2, ..Answers::default() }, "passed uncounted");
    }
    eventually("a replica takes over", Duration::from_secs(60), async || {
        let answers = sign_ins(&nodes, "198.51.100.4", 2).await;
        (answers.judged == 2).then_some(())
    })
    .await;
    println!(
        "the master of the limits died: sign-ins are judged again after {:?}",
        killed_at.elapsed()
    );
    let began = Instant::now();
    let answers = sign_ins(&nodes, "198.51.100.5", QUOTA + 20).await;
    let regained = QUOTA * began.elapsed().as_millis() as usize / 60_000 + 1;
    assert!(answers.judged <= QUOTA + regained && answers.unavailable == 0, "{answers:?}");
}

/// The other policy: each node gives half of the budget by itself.
pub async fn without_the_cluster_each_node_gives_half_when_it_is_told_to() {
    let cluster = Cluster::start().await;
    let urls = together(&[&cluster.servers[0].url, &cluster.servers[1].url]);
    let quota = QUOTA.to_string();
    let settings = [
        ("REDIS__URL", urls.as_str()),
        ("REDIS__CLUSTER", "on"),
        ("REDIS__ON_FAILURE", "local"),
        ("REDIS__TIMEOUT_MS", "300"),
        ("LIMITS__SIGN_IN_PER_MINUTE", &quota),
    ];
    let shop = Shop::with(TestDatabase::new().await, &settings).await;
    let nodes = [shop.node().await];
    assert_eq!(sign_ins(&nodes, "198.51.100.1", 2).await.judged, 2);
    for server in &cluster.servers {
        server.stop("KILL").await;
    }
    let began = Instant::now();
    let answers = sign_ins(&nodes, "198.51.100.2", QUOTA).await;
    let regained = QUOTA * began.elapsed().as_millis() as usize / 120_000 + 1;
    assert!((QUOTA / 2..=QUOTA / 2 + regained).contains(&answers.judged), "{answers:?}");
    assert_eq!(answers.unavailable, 0);
}
