//! A Prometheus of the test's own: it scrapes nodes every two seconds and goes by the rules made short.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::harness::{Api, Node, unique};
use crate::rules;
use crate::table::{FIRED, Stage};

/// An alert that does not fire by then does not fire; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// Two seconds: a node whose database does not answer takes one to say so.
const CONFIGURATION: &str =
    "global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: customer-service
    static_configs:
      - targets: [";

/// The server; ended with the value.
pub struct Prometheus {
    api: Api,
    child: Child,
    folder: PathBuf,
    /// Alerts that were seen to fire.
    seen: Mutex<BTreeSet<String>>,
}

impl Prometheus {
    /// Starts one that has looked at these nodes twice.
    pub async fn watch(nodes: &[&Node]) -> Self {
        let folder = std::env::temp_dir().join(unique("customer-service-alerts"));
        std::fs::create_dir_all(&folder).unwrap();
        let targets: Vec<_> =
            nodes.iter().map(|node| node.base().trim_start_matches("http://").to_owned()).collect();
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        let text = format!("{CONFIGURATION}{}]\n", targets.join(", "));
        std::fs::write(folder.join("prometheus.yaml"), text).unwrap();
        std::fs::write(folder.join("rules.yaml"), rules::short()).unwrap();
        for _ in 0..5 {
            let mut server = Self::spawn(&folder);
            if server.is_ready().await {
                server.has_looked_at(targets.len()).await;
                return server;
            }
            // Somebody took the port between our look and its bind: another one.
            server.child.wait().unwrap();
        }
        panic!("Prometheus does not start: {}", log(&folder));
    }

    fn spawn(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let told = File::create(folder.join("log")).unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(told.try_clone().unwrap())
            .stderr(told)
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("prometheus is missing ({error}): as root, `dev/install prometheus` brings it")
        });
        let api = Api::new(format!("http://{address}"));
        Self { api, child, folder: folder.to_owned(), seen: Mutex::default() }
    }

    /// False when it ended.
    async fn is_ready(&mut self) -> bool {
        let began = Instant::now();
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            match self.api.get("/-/ready").try_send().await {
                Ok(answer) if answer.status == 200 => return true,
                _ => assert!(began.elapsed() < PATIENCE, "{}", log(&self.folder)),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn has_looked_at(&self, nodes: usize) {
        let looked = "count(sum_over_time(up[1m]) >= 2) or vector(0)";
        self.until("it looks at the nodes", async || self.number(looked).await == nodes as f64)
            .await;
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !holds().await {
            let firing = self.firing().await;
            assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}; {firing:?} fire");
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// The value of a query that has one; no value is not a number.
    pub async fn number(&self, query: &str) -> f64 {
        let mut path = url::Url::parse("http://here/api/v1/query").unwrap();
        path.query_pairs_mut().append_pair("query", query);
        let path = format!("{}?{}", path.path(), path.query().unwrap_or_default());
        let told = self.api.get(&path).send().await.expect(200).json();
        let value = told["data"]["result"][0]["value"][1].as_str();
        value.map_or(f64::NAN, |value| value.parse().unwrap())
    }

    async fn alerts(&self) -> Vec<Value> {
        let told = self.api.get("/api/v1/alerts").send().await.expect(200).json();
        told["data"]["alerts"].as_array().unwrap().clone()
    }

    /// The names of those that fire at this moment.
    pub async fn firing(&self) -> BTreeSet<String> {
        let firing = self.alerts().await.into_iter().filter(|one| one["state"] == "firing");
        firing.map(|one| one["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until an alert fires, and looks whether it says where to read on.
    pub async fn fires(&self, alert: &str) {
        self.fires_while(alert, async || ()).await;
    }

    /// The same, while something is done again and again.
    pub async fn fires_while(&self, alert: &str, mut trouble: impl AsyncFnMut()) {
        let began = Instant::now();
        self.until(&format!("{alert} fires"), async || {
            trouble().await;
            self.firing().await.contains(alert)
        })
        .await;
        println!("{alert} fires after {:.1?}", began.elapsed());
        for one in self.alerts().await.iter().filter(|one| one["labels"]["alertname"] == alert) {
            let url = one["annotations"]["runbook_url"].as_str().unwrap_or_default();
            assert!(rules::is_section(url), "{alert}: {url:?} is no section");
        }
        self.seen.lock().unwrap().insert(alert.to_owned());
    }

    /// Waits until alerts fire no more.
    pub async fn end(&self, alerts: &[&str]) {
        let began = Instant::now();
        self.until(&format!("{alerts:?} end"), async || {
            let firing = self.firing().await;
            !alerts.iter().any(|alert| firing.contains(*alert))
        })
        .await;
        println!("{alerts:?} end after {:.1?}", began.elapsed());
    }

    /// Whether every alert of a stage was seen, and no other one was asked for.
    pub fn has_seen_all_of(&self, stage: Stage) {
        let expected =
            FIRED.iter().filter(|row| row.stage == stage).map(|row| row.alert.to_owned());
        assert_eq!(*self.seen.lock().unwrap(), expected.collect());
    }
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}
