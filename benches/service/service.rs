//! The service as a process of its own: started with its configuration in the environment, asked
//! until it is ready, told to end by SIGTERM.

use super::load::{Connection, request};
use anyhow::{Context, Result, bail};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(30);
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// A program of this repository and what all its runs have in common.
#[derive(Clone)]
pub struct Program {
    pub path: PathBuf,
    pub environment: Vec<(String, String)>,
    pub log: PathBuf,
}

/// A running process; killed when dropped, if it was not ended before.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

impl Program {
    /// The command, with nothing of this process's environment but the path. `BENCH_SERVE_ON` names the
    /// processors that it is given, as `taskset` wants them.
    fn command(&self, arguments: &[&str], settings: &[(&str, String)]) -> Result<Command> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = match std::env::var_os("BENCH_SERVE_ON") {
            // It becomes the program: the process is the same.
            Some(processors) => {
                let mut taskset = Command::new("taskset");
                taskset.arg("--cpu-list").arg(processors).arg(&self.path);
                taskset
            }
            None => Command::new(&self.path),
        };
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.environment.iter().cloned())
            .envs(settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Runs to the end.
    pub fn run(&self, arguments: &[&str]) -> Result<()> {
        let status = self.command(arguments, &[])?.status()?;
        if !status.success() {
            bail!("{arguments:?} ended with {status}; see {}", self.log.display());
        }
        Ok(())
    }

    /// Runs to the end, and gives what it said on its standard output.
    pub fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = self.command(arguments, &[])?.stdout(Stdio::piped()).output()?;
        if !output.status.success() {
            bail!("{arguments:?} ended with {}; see {}", output.status, self.log.display());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Starts a server and waits until `ready` answers 200.
    pub async fn start(
        &self,
        arguments: &[&str],
        settings: &[(&str, String)],
        ready: &str,
    ) -> Result<Running> {
        // Free now; nothing else on this machine asks for ports while a benchmark runs.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut settings = settings.to_vec();
        settings.push(("CUSTOMER_SERVICE__HTTP__BIND", address.to_string()));
        let child = self
            .command(arguments, &settings)?
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let mut running = Running { child, address };
        let since = Instant::now();
        while !is_ready(address, ready).await {
            if let Some(status) = running.child.try_wait()? {
                bail!("ended at its start with {status}; see {}", self.log.display());
            }
            if since.elapsed() > READY_WITHIN {
                bail!("not ready after {READY_WITHIN:?}; see {}", self.log.display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(running)
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }
}

async fn is_ready(address: SocketAddr, path: &str) -> bool {
    let Ok(mut connection) = Connection::open(address).await else { return false };
    let answer = connection.exchange(&request("GET", path, None, None)).await;
    answer.is_ok_and(|answer| answer.status == 200)
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) -> Result<()> {
        // `kill` of the shell: sending a signal otherwise takes unsafe code or a crate.
        let pid = self.pid();
        Command::new("sh").arg("-c").arg(format!("kill -TERM {pid}")).status()?;
        let since = Instant::now();
        while self.child.try_wait()?.is_none() {
            if since.elapsed() > ENDED_WITHIN {
                bail!("process {pid} did not end within {ENDED_WITHIN:?} of SIGTERM");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It is ours and still runs; whether it could be killed changes nothing any more.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
