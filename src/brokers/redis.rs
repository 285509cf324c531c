//! Redis as something that may be slow or gone at any moment: every call has one deadline for
//! connection and answer together, and after a few misses in a row a breaker answers at once, so
//! that a sick Redis costs a request nothing.
//!
//! It may be one server or a cluster (`servers`); what is asked is the same.

mod servers;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bb8::{Pool, RunError};
use metrics::{counter, gauge};
use redis::{ErrorKind, RedisError, RedisResult, Script, ServerErrorKind};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::time::Instant;

use servers::{Link, Servers};

/// Misses in a row that open the breaker.
const MISSES_MAX: u32 = 5;

/// How long the open breaker answers by itself before it lets one call through as a probe.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// What [`Redis`] needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `redis://user:password@host:port/db` or `rediss://…`; of a cluster some of its nodes, with
    /// commas. Never logged.
    pub url: SecretString,
    /// Whether the address is that of a Redis Cluster.
    pub cluster: bool,
    /// For one call: getting a connection, asking and hearing the answer.
    pub timeout: Duration,
    /// Connections at most; commands are multiplexed, so a few are many.
    pub pool_size: u32,
}

/// Why Redis gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisFault {
    #[error("Redis did not answer in time")]
    TimedOut,
    /// The breaker is open: Redis was not asked.
    #[error("Redis is not asked after repeated failures")]
    BreakerOpen,
    /// Its category, without values or addresses.
    #[error("Redis failed: {0}")]
    Failed(String),
}

/// The address in [`Settings::url`] is not one of Redis.
#[derive(Debug, thiserror::Error)]
#[error("redis.url is not a valid address (redis://user:password@host:port/db)")]
pub struct InvalidUrl;

/// A Lua script, sent by its hash, and whole to a server that does not know it.
pub struct LuaScript {
    known: Script,
    source: String,
}

impl LuaScript {
    pub fn new(source: &str) -> Self {
        Self { known: Script::new(source), source: source.to_owned() }
    }

    /// `SCRIPT LOAD` is not used: in a cluster it goes to every master, and one that is away would
    /// keep the script from all.
    async fn run(
        &self,
        connection: &mut Link,
        keys: &[Vec<u8>],
        arguments: &[i64],
    ) -> RedisResult<Vec<i64>> {
        let hash = self.known.get_hash();
        let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
        match ask("EVALSHA", hash, keys, arguments).query_async(connection).await {
            Err(error) if error.kind() == unknown => {
                ask("EVAL", &self.source, keys, arguments).query_async(connection).await
            }
            answer => answer,
        }
    }
}

fn ask(command: &str, script: &str, keys: &[Vec<u8>], arguments: &[i64]) -> redis::Cmd {
    let mut asked = redis::cmd(command);
    asked.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    asked
}

/// A handle to Redis; clones share one pool and one breaker.
#[derive(Clone)]
pub struct Redis {
    pool: Pool<Servers>,
    breaker: Arc<Breaker>,
    timeout: Duration,
    runtime: Handle,
}

impl Redis {
    /// Prepares the pool without waiting for Redis. Must be called inside a tokio runtime: the
    /// connections live on that one, whichever thread asks later.
    pub fn new(settings: &Settings) -> Result<Self, InvalidUrl> {
        let url = settings.url.expose_secret();
        let servers = match settings.cluster {
            true => Servers::cluster(url, settings.timeout),
            false => Servers::one(url),
        };
        let servers = servers.map_err(|_| InvalidUrl)?;
        // The look per checkout stays on: it is the only thing that finds dead connections.
        let pool = Pool::builder()
            .max_size(settings.pool_size)
            .min_idle(Some(1))
            .connection_timeout(settings.timeout)
            .test_on_check_out(true)
            .build_unchecked(servers);
        let breaker = Arc::new(Breaker::default());
        Ok(Self { pool, breaker, timeout: settings.timeout, runtime: Handle::current() })
    }

    /// Asks for a sign of life, through the breaker; for readiness. `key`: one of those that are
    /// used, so that in a cluster the master is asked that keeps them.
    pub async fn ping(&self, key: &'static str) -> Result<(), RedisFault> {
        self.call(move |mut connection| async move {
            redis::cmd("EXISTS").arg(key).query_async::<()>(&mut connection).await
        })
        .await
    }

    /// Runs a script whose answer is an array of integers.
    ///
    /// `keys` must share a hash tag, for Redis Cluster.
    pub async fn run_script(
        &self,
        script: &'static LuaScript,
        keys: Vec<Vec<u8>>,
        arguments: Vec<i64>,
    ) -> Result<Vec<i64>, RedisFault> {
        self.call(move |mut connection| async move {
            script.run(&mut connection, &keys, &arguments).await
        })
        .await
    }

    /// One call under breaker and deadline. It runs as a task of its own, on the runtime of the
    /// connections: a caller that goes away can neither leave the breaker half open nor stall
    /// the connection.
    async fn call<T, F, A>(&self, ask: F) -> Result<T, RedisFault>
    where
        T: Send + 'static,
        F: FnOnce(Link) -> A + Send + 'static,
        A: Future<Output = RedisResult<T>> + Send,
    {
        if !self.breaker.admits(Instant::now()) {
            counter!("redis_calls_total", "outcome" => "breaker_open").increment(1);
            return Err(RedisFault::BreakerOpen);
        }
        let Self { pool, timeout, breaker, .. } = self.clone();
        let call = self.runtime.spawn(async move {
            // Counts as a miss unless it is told otherwise, also when the task is cut off.
            let mut attempt = Attempt { breaker, answered: false };
            let answer = tokio::time::timeout(timeout, async {
                let connection = pool.get().await.map_err(pool_fault)?;
                ask(connection.clone()).await.map_err(|error| command_fault(&error))
            });
            let outcome = answer.await.unwrap_or(Err(RedisFault::TimedOut));
            attempt.answered = outcome.is_ok();
            outcome
        });
        let shut_down = |_| Err(RedisFault::Failed("the runtime is shutting down".to_owned()));
        let outcome = call.await.unwrap_or_else(shut_down);
        let label = if outcome.is_ok() { "ok" } else { "failed" };
        counter!("redis_calls_total", "outcome" => label).increment(1);
        outcome
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

fn pool_fault(error: RunError<RedisError>) -> RedisFault {
    match error {
        RunError::TimedOut => RedisFault::TimedOut,
        RunError::User(error) => command_fault(&error),
    }
}

/// The category only: texts of the server may quote what was sent.
fn command_fault(error: &RedisError) -> RedisFault {
    if error.is_timeout() {
        return RedisFault::TimedOut;
    }
    let code = error.code().unwrap_or_else(|| error.category());
    RedisFault::Failed(code.to_owned())
}

/// One admitted call; reports to the breaker however it ends.
struct Attempt {
    breaker: Arc<Breaker>,
    answered: bool,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.breaker.learn(self.answered, Instant::now());
    }
}

/// Closed: everyone asks. Open: nobody asks. After [`OPEN_FOR`] one call probes.
#[derive(Default)]
struct Breaker {
    state: Mutex<BreakerState>,
}

#[derive(Default)]
struct BreakerState {
    misses: u32,
    /// While set, calls are refused until then; afterwards one probe moves it on.
    open_until: Option<Instant>,
}

impl Breaker {
    fn admits(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.open_until {
            None => true,
            Some(until) if now < until => false,
            // This caller is the probe; the others wait for what it learns.
            Some(_) => {
                state.open_until = Some(now + OPEN_FOR);
                true
            }
        }
    }

    fn learn(&self, answered: bool, now: Instant) {
        let mut state = self.state();
        if answered {
            if state.open_until.take().is_some() {
                tracing::info!("Redis answers again");
                gauge!("redis_breaker_open").set(0);
            }
            state.misses = 0;
            return;
        }
        state.misses = state.misses.saturating_add(1);
        if state.misses < MISSES_MAX {
            return;
        }
        if state.open_until.is_none() {
            tracing::warn!("Redis missed {MISSES_MAX} calls in a row, asking it less");
            gauge!("redis_breaker_open").set(1);
        }
        state.open_until = Some(now + OPEN_FOR);
    }

    fn state(&self) -> MutexGuard<'_, BreakerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_breaker_opens_after_five_misses_and_probes_with_one_call() {
        let breaker = Breaker::default();
        let start = Instant::now();
        for _ in 0..MISSES_MAX {
            assert!(breaker.admits(start));
            breaker.learn(false, start);
        }
        assert!(!breaker.admits(start), "open");
        let later = start + OPEN_FOR;
        assert!(breaker.admits(later), "the probe");
        assert!(!breaker.admits(later), "one probe at a time");
        breaker.learn(false, later);
        assert!(!breaker.admits(later + OPEN_FOR / 2), "a failed probe keeps it open");
        assert!(breaker.admits(later + OPEN_FOR));
        breaker.learn(true, later + OPEN_FOR);
        assert!(breaker.admits(later + OPEN_FOR) && breaker.admits(later + OPEN_FOR), "closed");
    }

    #[test]
    fn a_hit_forgets_the_misses() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for round in 0..20 {
            assert!(breaker.admits(now));
            breaker.learn(round % 4 == 3, now);
        }
        assert!(breaker.admits(now));
    }
}
