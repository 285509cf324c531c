//! A service that is always started again, as its orchestrator would: whoever waits for it sees it
//! come back.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::harness::api::Call;
use crate::harness::{Answer, Api, Node, Shop, unique};

/// How often it is looked whether the process lives.
const LOOK: Duration = Duration::from_millis(5);

/// See the module. Ended with the value.
pub struct Rescued {
    state: Arc<Mutex<State>>,
    watching: JoinHandle<()>,
}

struct State {
    api: Api,
    pid: u32,
    /// The signals that processes ended by; 0: none.
    deaths: Vec<i32>,
    /// Times from a death to readiness.
    back: Vec<Duration>,
}

/// A process of the service.
enum Process {
    /// One that may die at any time, even before it serves.
    Doomed(Child),
    Sound(Node),
}

impl Process {
    /// The signal that it ended by, 0 for none; `None` while it runs.
    fn ended(&mut self) -> Option<i32> {
        match self {
            Self::Doomed(child) => {
                let status = child.try_wait().unwrap()?;
                Some(status.signal().unwrap_or(0))
            }
            Self::Sound(node) => (!node.runs()).then_some(9),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Self::Doomed(child) = self {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Rescued {
    /// Watches over a node that serves this shop; its successors have no settings of their own.
    pub fn watch(shop: Arc<Shop>, node: Node) -> Self {
        let (api, pid) = (node.api(), node.pid());
        Self::over(shop, Process::Sound(node), api, pid)
    }

    /// Starts a process with these failure points and watches over it. It need not live to serve.
    pub fn doomed(shop: Arc<Shop>, failpoints: &str) -> Self {
        let (child, api) = spawn(&shop, failpoints);
        let pid = child.id();
        Self::over(shop, Process::Doomed(child), api, pid)
    }

    fn over(shop: Arc<Shop>, mut process: Process, api: Api, pid: u32) -> Self {
        let state = State { api, pid, deaths: Vec::new(), back: Vec::new() };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let watching = tokio::spawn(async move {
            loop {
                sleep(LOOK).await;
                let Some(signal) = process.ended() else { continue };
                let began = Instant::now();
                shared.lock().unwrap().deaths.push(signal);
                let node = shop.node().await;
                let mut state = shared.lock().unwrap();
                (state.api, state.pid) = (node.api(), node.pid());
                state.back.push(began.elapsed());
                process = Process::Sound(node);
            }
        });
        Self { state, watching }
    }

    /// Tells the process of this moment to end.
    pub fn sigterm(&self) {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().unwrap();
    }

    pub fn pid(&self) -> u32 {
        self.state.lock().unwrap().pid
    }

    /// Who serves now.
    pub fn api(&self) -> Api {
        self.state.lock().unwrap().api.clone()
    }

    /// The signals that processes ended by, in turn; 0: none.
    pub fn deaths(&self) -> Vec<i32> {
        self.state.lock().unwrap().deaths.clone()
    }

    /// The longest time from a death to readiness.
    pub fn slowest_return(&self) -> Duration {
        self.state.lock().unwrap().back.iter().max().copied().unwrap_or_default()
    }

    /// Calls until there is the answer; what died in between is asked again.
    ///
    /// # Panics
    /// On an answer that nothing excuses, and after a minute without any.
    pub async fn insist(&self, statuses: &[u16], call: impl Fn(&Api) -> Call) -> Answer {
        let began = Instant::now();
        loop {
            match call(&self.api()).header("connection", "close").try_send().await {
                Ok(answer) if statuses.contains(&answer.status) => return answer,
                Ok(answer) => {
                    let excused = matches!(answer.status, 409 | 503);
                    assert!(excused, "{} {}", answer.status, answer.text());
                }
                Err(_) => {}
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no answer within a minute");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until so many deaths were survived; false when they were fewer within `limit`.
    pub async fn survived(&self, deaths: usize, limit: Duration) -> bool {
        let began = Instant::now();
        while self.state.lock().unwrap().back.len() < deaths {
            if began.elapsed() > limit {
                return false;
            }
            sleep(LOOK).await;
        }
        true
    }
}

impl Drop for Rescued {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// A process with these failure points, and where it may come to serve.
fn spawn(shop: &Shop, failpoints: &str) -> (Child, Api) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bind = format!("127.0.0.1:{port}");
    let base = format!("http://{bind}");
    let log = File::create(shop.folder().join(format!("{}.log", unique("doomed")))).unwrap();
    let settings =
        [("HTTP__BIND", &*bind), ("HTTP__PUBLIC_URL", &*base), ("FAILPOINTS", failpoints)];
    let mut command = shop.command(&settings);
    command.arg("serve").stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    (command.spawn().unwrap(), Api::new(base))
}

/// A process with these failure points, to its end.
///
/// # Panics
/// When it lives for half a minute.
pub async fn dies(shop: &Shop, failpoints: &str) {
    let mut process = Process::Doomed(spawn(shop, failpoints).0);
    let began = Instant::now();
    while process.ended().is_none() {
        assert!(began.elapsed() < Duration::from_secs(30), "{failpoints}: it lives");
        sleep(LOOK).await;
    }
}
