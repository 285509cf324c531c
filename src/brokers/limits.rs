//! Request-rate limits by GCRA: one number per key (the *theoretical arrival time*) gives an exact
//! sliding limit with a burst of the whole quota. Several limits of one request (address,
//! account, everyone) are decided together: either all count it or none does.
//!
//! The numbers live in Redis, updated by one script in one round trip under Redis's own clock, or,
//! without Redis, in this process. When Redis fails there is never a free pass: see [`OnFailure`].
//! Keys come in already keyed-hashed; nothing here can be traced back to a person.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use super::redis::{LuaScript, Redis};

/// All keys share one hash tag: a script may only touch keys of one slot in Redis Cluster.
const KEY_PREFIX: &str = "customer-service:{limits}:";

/// Keys kept in process at most. An attacker with many addresses must not fill the memory.
const LOCAL_KEYS_MAX: usize = 200_000;

/// One limit that a request counts against.
#[derive(Clone, Debug)]
pub struct Limit {
    /// For example `sign_in`; part of the key and of the `RateLimit` headers.
    pub name: &'static str,
    /// Keyed hash of what is limited.
    pub key: Vec<u8>,
    /// Requests per window, all of which may come at once. Zero allows nothing.
    pub quota: u32,
    /// At least a millisecond for each request of the quota.
    pub window: Duration,
}

/// The answer for all limits of a request; the figures are those of the limit that is nearest to
/// its end (when refused: that makes the caller wait longest).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// Which of the given limits the figures are of.
    pub decided_by: usize,
    /// Requests left at this moment.
    pub remaining: u32,
    /// Until the whole quota is there again.
    pub reset_after: Duration,
    /// When refused: until one request would pass.
    pub retry_after: Option<Duration>,
}

/// Redis failed and the policy is [`OnFailure::Closed`]: answer 503 `rate_limiter_unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rate limiter is not available")]
pub struct LimiterUnavailable;

/// What happens when Redis is configured and fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Nobody passes.
    #[default]
    Closed,
    /// This process counts by itself, with half the quota.
    Local,
}

/// Decides whether a request may pass.
pub struct Limiter {
    redis: Option<(Redis, OnFailure)>,
    local: LocalLimiter,
}

impl Limiter {
    /// Counts in Redis, for all nodes together.
    pub fn shared(redis: Redis, on_failure: OnFailure) -> Self {
        Self { redis: Some((redis, on_failure)), local: LocalLimiter::default() }
    }

    /// Counts in this process: for one node.
    pub fn local() -> Self {
        Self { redis: None, local: LocalLimiter::default() }
    }

    /// Counts one request against all `limits`, or against none if one of them is used up.
    pub async fn check(&self, limits: &[Limit]) -> Result<Decision, LimiterUnavailable> {
        if limits.is_empty() {
            return Ok(Decision::unlimited());
        }
        let Some((redis, on_failure)) = &self.redis else {
            return Ok(self.local.check(limits, Instant::now()));
        };
        match check_in_redis(redis, limits).await {
            Some(decision) => Ok(decision),
            None => {
                counter!("rate_limiter_failures_total").increment(1);
                match on_failure {
                    OnFailure::Closed => Err(LimiterUnavailable),
                    OnFailure::Local => Ok(self.local.check(&halved(limits), Instant::now())),
                }
            }
        }
    }
}

impl Decision {
    fn unlimited() -> Self {
        Self {
            allowed: true,
            decided_by: 0,
            remaining: u32::MAX,
            reset_after: Duration::ZERO,
            retry_after: None,
        }
    }
}

fn halved(limits: &[Limit]) -> Vec<Limit> {
    let half = |limit: &Limit| Limit { quota: limit.quota.div_ceil(2), ..limit.clone() };
    limits.iter().map(half).collect()
}

/// The arithmetic of one limit, in microseconds.
#[derive(Clone, Copy)]
struct Gcra {
    /// Time that one request costs.
    emission: i64,
    /// The whole quota's worth of time.
    window: i64,
}

/// How one limit stands, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Standing {
    /// Arrival time after this request, relative to now; zero means unused.
    used: i64,
    /// Until a request would pass; zero when this one does.
    wait: i64,
}

impl Gcra {
    fn of(limit: &Limit) -> Self {
        let window = i64::try_from(limit.window.as_micros()).unwrap_or(i64::MAX / 4).max(1);
        let emission = (window / i64::from(limit.quota.max(1))).max(1);
        // A quota of zero has a window smaller than one request: nothing ever fits.
        Self { emission, window: emission.saturating_mul(i64::from(limit.quota)) }
    }

    /// `used` as stored, relative to now. The script below is this function in Lua.
    fn judge(self, used: i64) -> Standing {
        // A clock that was set back must not lock anybody out for longer than the window.
        let used = used.clamp(0, self.window);
        let after = used + self.emission;
        match after - self.window {
            wait if wait > 0 => Standing { used, wait },
            _ => Standing { used: after, wait: 0 },
        }
    }

    fn remaining(self, standing: Standing) -> u32 {
        let left = (self.window - standing.used).max(0) / self.emission;
        u32::try_from(left).unwrap_or(u32::MAX)
    }
}

/// Puts the standings of all limits into one answer.
fn decide(limits: &[Limit], standings: &[Standing]) -> Decision {
    let allowed = standings.iter().all(|standing| standing.wait == 0);
    let remaining = |index: usize| Gcra::of(&limits[index]).remaining(standings[index]);
    let indexes = 0..standings.len();
    let decided_by = if allowed {
        indexes.min_by_key(|index| remaining(*index))
    } else {
        indexes.max_by_key(|index| standings[*index].wait)
    }
    .unwrap_or_default();
    let standing = standings[decided_by];
    Decision {
        allowed,
        decided_by,
        remaining: if allowed { remaining(decided_by) } else { 0 },
        reset_after: micros(standing.used),
        retry_after: (!allowed).then(|| micros(standing.wait)),
    }
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

/// KEYS: one per limit. ARGV: emission and window of each. Answer: used and wait of each.
static SCRIPT: LazyLock<LuaScript> = LazyLock::new(|| {
    LuaScript::new(
        r"
        local time = redis.call('TIME')
        local now = time[1] * 1000000 + time[2]
        local answer, passes = {}, true
        for i, key in ipairs(KEYS) do
            local emission, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
            local used = (tonumber(redis.call('GET', key)) or now) - now
            used = math.max(0, math.min(window, used))
            local wait = used + emission - window
            if wait > 0 then
                passes = false
            else
                wait, used = 0, used + emission
            end
            answer[2 * i - 1], answer[2 * i] = used, wait
        end
        if passes then
            for i, key in ipairs(KEYS) do
                local used = answer[2 * i - 1]
                redis.call('SET', key, string.format('%.0f', now + used),
                    'PX', math.ceil(used / 1000))
            end
        end
        return answer
        ",
    )
});

/// `None` when Redis gave no usable answer.
async fn check_in_redis(redis: &Redis, limits: &[Limit]) -> Option<Decision> {
    let keys = limits.iter().map(storage_key).collect();
    let arguments =
        limits.iter().map(Gcra::of).flat_map(|gcra| [gcra.emission, gcra.window]).collect();
    let answer = redis.run_script(&SCRIPT, keys, arguments).await.ok()?;
    let standings: Vec<_> =
        answer.chunks_exact(2).map(|pair| Standing { used: pair[0], wait: pair[1] }).collect();
    (standings.len() == limits.len()).then(|| decide(limits, &standings))
}

fn storage_key(limit: &Limit) -> Vec<u8> {
    let mut key = Vec::with_capacity(KEY_PREFIX.len() + limit.name.len() + 1 + limit.key.len());
    key.extend_from_slice(KEY_PREFIX.as_bytes());
    key.extend_from_slice(limit.name.as_bytes());
    key.push(b':');
    key.extend_from_slice(&limit.key);
    key
}

/// The same in process. Not the `governor` crate: it decides one key at a time and would count
/// a request that another limit refuses.
#[derive(Default)]
struct LocalLimiter {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// When a key's use is forgotten (its arrival time).
    free_at: HashMap<Vec<u8>, Instant>,
    /// Size at which the table is swept next; doubles, so that sweeping costs O(1) per request.
    sweep_at: usize,
}

impl LocalLimiter {
    fn check(&self, limits: &[Limit], now: Instant) -> Decision {
        let keys: Vec<_> = limits.iter().map(storage_key).collect();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let standings: Vec<_> = limits
            .iter()
            .zip(&keys)
            .map(|(limit, key)| Gcra::of(limit).judge(table.used(key, now)))
            .collect();
        let decision = decide(limits, &standings);
        if decision.allowed {
            for (key, standing) in keys.into_iter().zip(standings) {
                table.free_at.insert(key, now + micros(standing.used));
            }
            table.sweep(now);
        }
        decision
    }
}

impl Table {
    fn used(&self, key: &[u8], now: Instant) -> i64 {
        let free_at = self.free_at.get(key).copied().unwrap_or(now);
        i64::try_from(free_at.saturating_duration_since(now).as_micros()).unwrap_or(i64::MAX / 4)
    }

    fn sweep(&mut self, now: Instant) {
        const SWEEP_MIN: usize = 1024;
        if self.free_at.len() <= self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.free_at.retain(|_, free_at| *free_at > now);
        if self.free_at.len() > LOCAL_KEYS_MAX {
            // Under such a flood the half that would be forgotten first is forgotten now.
            let mut times: Vec<_> = self.free_at.values().copied().collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.free_at.retain(|_, free_at| *free_at > median);
        }
        self.sweep_at = (self.free_at.len() * 2).min(LOCAL_KEYS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &'static str, key: &[u8], quota: u32) -> Limit {
        Limit { name, key: key.to_vec(), quota, window: Duration::from_secs(60) }
    }

    #[test]
    fn a5_the_quota_passes_at_once_and_then_one_by_one() {
        let (limiter, start) = (LocalLimiter::default(), Instant::now());
        let limits = [limit("sign_in", b"a", 10)];
        for left in (0..10).rev() {
            let decision = limiter.check(&limits, start);
            assert!(decision.allowed);
            assert_eq!(decision.remaining, left);
        }
        let refused = limiter.check(&limits, start);
        assert!(!refused.allowed);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(6)));
        assert_eq!(refused.reset_after, Duration::from_secs(60));
        assert!(!limiter.check(&limits, start + Duration::from_millis(5_999)).allowed);
        assert!(limiter.check(&limits, start + Duration::from_secs(6)).allowed);
        assert!(!limiter.check(&limits, start + Duration::from_secs(6)).allowed);
    }

    #[test]
    fn a_refused_request_counts_against_no_limit() {
        let (limiter, now) = (LocalLimiter::default(), Instant::now());
        let both = [limit("wide", b"w", 5), limit("narrow", b"n", 1)];
        assert!(limiter.check(&both, now).allowed);
        for _ in 0..10 {
            let refused = limiter.check(&both, now);
            assert!(!refused.allowed);
            assert_eq!(refused.decided_by, 1);
        }
        assert_eq!(limiter.check(&both[..1], now).remaining, 3);
    }

    #[test]
    fn zero_allows_nothing() {
        let limiter = LocalLimiter::default();
        assert!(!limiter.check(&[limit("never", b"k", 0)], Instant::now()).allowed);
    }

    #[test]
    fn memory_is_bounded_and_free_keys_are_forgotten() {
        let (limiter, start) = (LocalLimiter::default(), Instant::now());
        for key in 0..(LOCAL_KEYS_MAX as u32 + 5_000) {
            limiter.check(&[limit("flood", &key.to_be_bytes(), 10)], start);
        }
        let kept = || limiter.table.lock().unwrap().free_at.len();
        assert!(kept() <= LOCAL_KEYS_MAX + 1, "{}", kept());
        for key in 0..(LOCAL_KEYS_MAX as u32) {
            limiter
                .check(&[limit("later", &key.to_be_bytes(), 10)], start + Duration::from_secs(61));
        }
        assert!(kept() <= LOCAL_KEYS_MAX + 1, "{}", kept());
    }

    #[test]
    fn half_the_quota_is_at_least_one() {
        let halves = halved(&[limit("a", b"", 1), limit("b", b"", 10)]);
        assert_eq!((halves[0].quota, halves[1].quota), (1, 5));
    }
}
