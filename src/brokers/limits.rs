//! Request-rate limits by GCRA: one number per key (the *theoretical arrival time*) gives an exact
//! sliding limit with a burst of the whole quota. Several limits of one request (address,
//! account, everyone) are decided together: either all count it or none does.
//!
//! The numbers live in Redis, updated by one script in one round trip under Redis's own clock, or,
//! without Redis, in this process. When Redis fails there is never a free pass: see [`OnFailure`].
//! Keys come in already keyed-hashed; nothing here can be traced back to a person.

mod scripts;

pub use scripts::KEY_PREFIX;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::time::Instant;

use super::brake::{Brake, BrakePolicy, Guess, Networks, Outcomes, Tally, Verdict};
use super::redis::Redis;

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

/// How one attempt at a credential stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guessed {
    pub decision: Decision,
    /// Where the figures are those of the smaller budget that an address has while the brake on
    /// credential stuffing is engaged: that budget, with its window.
    pub braked: Option<(u32, Duration)>,
    /// Whether the brake is engaged.
    pub engaged: bool,
}

/// Decides whether a request may pass.
pub struct Limiter {
    redis: Option<(Redis, OnFailure)>,
    local: LocalLimiter,
    brake: Option<Brake>,
}

impl Limiter {
    /// Counts in Redis, for all nodes together.
    pub fn shared(redis: Redis, on_failure: OnFailure) -> Self {
        Self { redis: Some((redis, on_failure)), local: LocalLimiter::new(), brake: None }
    }

    /// Counts in this process: for one node.
    pub fn local() -> Self {
        Self { redis: None, local: LocalLimiter::new(), brake: None }
    }

    /// With a brake on credential stuffing, which applies to [`Self::guess`].
    #[must_use]
    pub fn with_brake(self, policy: BrakePolicy) -> Self {
        Self { brake: Some(Brake::new(policy)), ..self }
    }

    /// Counts one attempt at a credential against all `limits`, or against none if one of them is
    /// used up, and, while the brake is engaged, against what that leaves it. With no limits, what
    /// the brake says of an attempt that was counted before.
    pub async fn guess(
        &self,
        limits: &[Limit],
        guess: &Guess,
    ) -> Result<Guessed, LimiterUnavailable> {
        let Some(brake) = &self.brake else {
            let decision = self.check(limits).await?;
            return Ok(Guessed { decision, braked: None, engaged: false });
        };
        let policy = &brake.policy;
        let outcomes = brake.take_unreported();
        let now = Instant::now();
        let (standings, verdict) = match &self.redis {
            None => self.local.guess(limits, policy, guess, outcomes, now),
            Some((redis, on_failure)) => {
                let asked = scripts::guess(redis, limits, policy, guess, outcomes).await;
                match (asked, on_failure) {
                    (Some(answer), _) => answer,
                    (None, OnFailure::Closed) => {
                        counter!("rate_limiter_failures_total").increment(1);
                        brake.give_back(outcomes);
                        return Err(LimiterUnavailable);
                    }
                    (None, OnFailure::Local) => {
                        counter!("rate_limiter_failures_total").increment(1);
                        let half =
                            BrakePolicy { quota: policy.quota.div_ceil(2), ..policy.clone() };
                        self.local.guess(&halved(limits), &half, guess, outcomes, now)
                    }
                }
            }
        };
        brake.learn(verdict, now);
        Ok(guessed(limits, &standings, policy, verdict))
    }

    /// An attempt that passed [`Self::guess`] came to its end: whether the credential was wrong.
    pub fn note_outcome(&self, failed: bool) {
        if let Some(brake) = &self.brake {
            brake.note(failed);
        }
    }

    /// Whether the brake on credential stuffing is engaged, as far as this node knows.
    pub fn is_braking(&self) -> bool {
        self.brake.as_ref().is_some_and(|brake| brake.is_engaged(Instant::now()))
    }

    /// Counts one request against all `limits`, or against none if one of them is used up.
    pub async fn check(&self, limits: &[Limit]) -> Result<Decision, LimiterUnavailable> {
        if limits.is_empty() {
            return Ok(Decision::unlimited());
        }
        let Some((redis, on_failure)) = &self.redis else {
            return Ok(self.local.check(limits, Instant::now()));
        };
        match scripts::check(redis, limits).await {
            Some(standings) => Ok(decide(limits, &standings)),
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

/// Puts the standings of a guess's limits and what the brake says into one answer.
fn guessed(
    limits: &[Limit],
    standings: &[Standing],
    policy: &BrakePolicy,
    verdict: Verdict,
) -> Guessed {
    let ordinary = match limits {
        [] => Decision::unlimited(),
        limits => decide(limits, standings),
    };
    let (engaged, braked) = (verdict.engaged > 0, Some((policy.quota, policy.quota_window)));
    // Of two refusals the one that makes wait longer: coming again before is in vain.
    let brake_wait = verdict.address_wait.max(verdict.network_wait);
    let waits_longer = ordinary.retry_after.is_none_or(|wait| micros(brake_wait) > wait);
    if verdict.refuses() && waits_longer {
        let reset_after = micros(verdict.used.max(brake_wait));
        let retry_after = Some(micros(brake_wait));
        let decision =
            Decision { allowed: false, decided_by: 0, remaining: 0, reset_after, retry_after };
        return Guessed { decision, braked, engaged };
    }
    let budget = Gcra::of(&brake_limit(policy, Vec::new()));
    let remaining = budget.remaining(Standing { used: verdict.used, wait: 0 });
    if engaged && ordinary.allowed && verdict.used > 0 && remaining < ordinary.remaining {
        let decision = Decision { remaining, reset_after: micros(verdict.used), ..ordinary };
        return Guessed { decision, braked, engaged };
    }
    Guessed { decision: ordinary, braked: None, engaged }
}

/// The budget of an address while the brake is engaged.
fn brake_limit(policy: &BrakePolicy, key: Vec<u8>) -> Limit {
    Limit { name: "stuffing_address", key, quota: policy.quota, window: policy.quota_window }
}

/// The same in process. Not the `governor` crate: it decides one key at a time and would count
/// a request that another limit refuses.
struct LocalLimiter {
    /// Where its time begins.
    start: Instant,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// For the brake on credential stuffing.
    tally: Tally,
    networks: Networks,
    /// When a key's use is forgotten (its arrival time).
    free_at: HashMap<Vec<u8>, Instant>,
    /// Size at which the table is swept next; doubles, so that sweeping costs O(1) per request.
    sweep_at: usize,
}

impl LocalLimiter {
    fn new() -> Self {
        Self { start: Instant::now(), table: Mutex::default() }
    }

    fn check(&self, limits: &[Limit], now: Instant) -> Decision {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        decide(limits, &table.count(limits, now))
    }

    /// As the script of the same name in Redis.
    fn guess(
        &self,
        limits: &[Limit],
        policy: &BrakePolicy,
        guess: &Guess,
        outcomes: Outcomes,
        now: Instant,
    ) -> (Vec<Standing>, Verdict) {
        let time = i64::try_from(now.saturating_duration_since(self.start).as_micros());
        let time = time.unwrap_or(i64::MAX / 4);
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let standings = table.count(limits, now);
        let passes = standings.iter().all(|standing| standing.wait == 0);
        let engaged = table.tally.weigh(outcomes, time, policy);
        let mut verdict = Verdict { engaged, ..Verdict::default() };
        if engaged == 0 || guess.claims_device {
            return (standings, verdict);
        }
        let limit = brake_limit(policy, guess.address.clone());
        let standing = table.judge(&limit, now);
        verdict.used = standing.used;
        verdict.address_wait = standing.wait;
        verdict.network_wait = table.networks.wait(guess, time, policy);
        if passes && verdict.refuses() {
            table.tally.note_held_back();
        } else if passes {
            table.keep(&limit, standing, now);
            table.networks.note(guess, time, policy);
        }
        (standings, verdict)
    }
}

impl Table {
    /// Counts a request against all limits, or against none.
    fn count(&mut self, limits: &[Limit], now: Instant) -> Vec<Standing> {
        let standings: Vec<_> = limits.iter().map(|limit| self.judge(limit, now)).collect();
        if standings.iter().all(|standing| standing.wait == 0) {
            for (limit, standing) in limits.iter().zip(&standings) {
                self.keep(limit, *standing, now);
            }
            self.sweep(now);
        }
        standings
    }

    fn judge(&self, limit: &Limit, now: Instant) -> Standing {
        Gcra::of(limit).judge(self.used(&scripts::storage_key(limit), now))
    }

    fn keep(&mut self, limit: &Limit, standing: Standing, now: Instant) {
        self.free_at.insert(scripts::storage_key(limit), now + micros(standing.used));
    }

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
        let (limiter, start) = (LocalLimiter::new(), Instant::now());
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
        let (limiter, now) = (LocalLimiter::new(), Instant::now());
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
        let limiter = LocalLimiter::new();
        assert!(!limiter.check(&[limit("never", b"k", 0)], Instant::now()).allowed);
    }

    #[test]
    fn memory_is_bounded_and_free_keys_are_forgotten() {
        let (limiter, start) = (LocalLimiter::new(), Instant::now());
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
