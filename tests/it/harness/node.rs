//! One process of the service, ended with the value.

use std::fs::File;
use std::net::TcpListener;
use std::ops::Deref;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::api::Api;
use super::shop::Shop;
use super::unique;

/// A started service may take this long on a busy machine.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Lines of the log that a failing test shows.
const LOG_LINES_SHOWN: usize = 60;

/// One process of the service.
pub struct Node {
    api: Api,
    child: Child,
    log: PathBuf,
}

impl Deref for Node {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}

impl Node {
    pub(super) async fn start(shop: &Shop, settings: &[(&str, &str)]) -> Self {
        for _ in 0..5 {
            let node = Self::spawn(shop, settings);
            if let Some(node) = node.ready().await {
                return node;
            }
            // Somebody took the port between our look and its bind: another one.
        }
        panic!("no free port in five tries");
    }

    fn spawn(shop: &Shop, settings: &[(&str, &str)]) -> Self {
        let port = free_port();
        let log = shop.folder().join(format!("{}.log", unique("node")));
        let file = File::create(&log).unwrap();
        let bind = format!("127.0.0.1:{port}");
        let base = format!("http://{bind}");
        let mut command = shop.command(&[("HTTP__BIND", &bind), ("HTTP__PUBLIC_URL", &base)]);
        for (key, value) in settings {
            let key = if key.contains("__") {
                format!("CUSTOMER_SERVICE__{key}")
            } else {
                (*key).to_owned()
            };
            command.env(key, value);
        }
        let child = command
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { api: Api::new(base), child, log }
    }

    /// Waits until it serves; `None` when it ended for want of the port.
    async fn ready(mut self) -> Option<Self> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = self.log();
                if log.contains("ddress already in use") || log.contains("os error 98") {
                    return None;
                }
                panic!("the service ended with {status}:\n{log}");
            }
            match self.api.get("/health/ready").try_send().await {
                Ok(answer) if answer.status == 200 => return Some(self),
                other if began.elapsed() > READY_LIMIT => {
                    let told = other.map(|answer| answer.text());
                    panic!("not ready within {READY_LIMIT:?}: {told:?}\n{}", self.log());
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub fn api(&self) -> Api {
        self.api.clone()
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Asks it to end, and goes on at once.
    pub fn sigterm(&self) {
        self.signal("TERM");
    }

    /// Sends it a signal, such as `STOP` (frozen) and `CONT`.
    pub fn signal(&self, signal: &str) {
        let (signal, pid) = (format!("-{signal}"), self.pid().to_string());
        let sent = Command::new("kill").args([&signal, &pid]).status().unwrap();
        assert!(sent.success(), "the service had ended before it was asked to");
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < limit, "still running after {limit:?}:\n{}", self.tail());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the last of {}:\n{}", self.log.display(), self.tail());
        }
        self.kill9();
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
