//! Servers that a test may stop and start: its own, made by the same script as everybody's.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use customer_service::clock::{Clock, SystemClock};

use super::unique;

/// One private server of a kind; the tests' shared servers stand in for the others.
pub struct PrivateServer {
    /// `postgres`, `redis` or `rabbitmq`.
    name: &'static str,
    /// The folder by which `dev/servers` knows it.
    pub state: PathBuf,
    /// A range of ports of its own: while it is stopped, nobody else shall take its place.
    port_offset: u16,
    /// What `dev/servers` is told beside.
    more: Vec<(&'static str, String)>,
    /// How clients reach it.
    pub url: String,
}

impl PrivateServer {
    /// Starts one. Takes 2 s, RabbitMQ 10 s.
    pub fn start(name: &'static str) -> Self {
        Self::start_as(name, &[])
    }

    /// A RabbitMQ that takes no message with a larger body.
    pub fn small_broker(bytes_max: usize) -> Self {
        let line = format!("max_message_size = {bytes_max}");
        Self::start_as("rabbitmq", &[("RABBITMQ_EXTRA_SETTINGS", &line)])
    }

    /// Starts one as these settings of `dev/servers` have it, such as `MEMBER_OF`.
    pub fn start_as(name: &'static str, more: &[(&'static str, &str)]) -> Self {
        Self::start_at(name, std::env::temp_dir().join(unique("it-servers")), more)
    }

    /// The same, its data below this folder.
    pub fn start_at(name: &'static str, state: PathBuf, more: &[(&'static str, &str)]) -> Self {
        std::fs::create_dir_all(&state).unwrap();
        // Below 32768, where the kernel hands out ports to outgoing connections.
        let slot = SystemClock.new_id().as_bytes()[15] % 110;
        let port_offset = 500 + 100 * u16::from(slot);
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut server = Self { name, state, port_offset, more, url: String::new() };
        server.servers("up");
        let told = server.servers("env");
        let prefix = format!("export {}=", server.variable());
        let line = told.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap();
        // The script quotes for a shell; in our addresses it is the per cent sign at most.
        server.url = line.trim_matches('\'').replace('\\', "");
        server
    }

    /// Starts it again, on the same port and data.
    pub fn start_again(&self) {
        self.servers("up");
    }

    /// Sends it a signal (`TERM`, `KILL`, `INT`, `QUIT`) and waits until it has gone.
    pub async fn stop(&self, signal: &str) {
        let pid = self.pid();
        self.signal(signal);
        let began = Instant::now();
        while running(&pid) {
            assert!(began.elapsed() < Duration::from_secs(30), "{} does not end", self.name);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends it a signal, such as `STOP` and `CONT`.
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid()]).status();
        assert!(sent.unwrap().success(), "{} had ended", self.name);
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        let file = self.state.join("servers/logs").join(self.name);
        String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
    }

    /// The process, the first one where there are several.
    pub fn pid(&self) -> String {
        let file = self.state.join("servers/pids").join(self.name);
        let text = std::fs::read_to_string(file).unwrap();
        text.split_whitespace().next().unwrap().to_owned()
    }

    fn variable(&self) -> &'static str {
        match self.name {
            "postgres" => "DATABASE_URL",
            "redis" => "REDIS_URL",
            "rabbitmq" => "AMQP_URL",
            "pgbouncer" => "POOLER_URL",
            other => panic!("no server called {other}"),
        }
    }

    fn servers(&self, command: &str) -> String {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/servers");
        let mut servers = Command::new(script);
        // Durable, unlike the shared one: what it acknowledged must survive its end.
        servers.arg(command).arg(&self.state).env("DURABLE", "1");
        servers.env("PORT_OFFSET", self.port_offset.to_string());
        // Whatever is named counts as somebody else's, so only ours is started.
        for variable in ["DATABASE_URL", "REDIS_URL", "AMQP_URL"] {
            servers.env(variable, "elsewhere://");
        }
        servers.env_remove(self.variable()).envs(self.more.iter().cloned());
        let output = servers.output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "dev/servers {command}: {told}{complaints}");
        told
    }
}

impl Drop for PrivateServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would hide the first.
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/dev/servers");
            Command::new(script).arg("clean").arg(&self.state).output().ok();
        } else {
            self.servers("clean");
        }
        std::fs::remove_dir_all(&self.state).ok();
    }
}

/// A zombie does not run: its parent may take its time.
fn running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
