//! Counting requests against named quotas (rule A5), under keys that tell nobody's address.

use crate::brokers::limits::{Decision, Limit, Limiter, LimiterUnavailable};
use crate::security::tokens::ThrottleKeys;
use std::sync::Arc;
use std::time::Duration;

/// How many requests of one caller may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Names the limit in keys and in the `RateLimit` fields.
    pub name: &'static str,
    pub requests: u32,
    pub window: Duration,
}

/// How a caller stands after a request was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub quota: Quota,
    pub remaining: u32,
    /// Until the whole quota is there again.
    pub reset_after: Duration,
    /// When this request was one too many: until one would pass.
    pub retry_after: Option<Duration>,
}

impl Standing {
    fn new(quota: Quota, decision: Decision) -> Self {
        let Decision { allowed, remaining, reset_after, retry_after, .. } = decision;
        let retry_after = if allowed { None } else { retry_after.or(Some(quota.window)) };
        Self { quota, remaining, reset_after, retry_after }
    }
}

/// What came of a request that was counted, with how its caller then stands; no standing where
/// nobody could count.
#[derive(Debug)]
pub struct Counted<T> {
    pub standing: Option<Standing>,
    pub result: T,
}

/// Counts for all nodes together, or, where that is allowed, for this one alone.
pub struct Allowance {
    limiter: Arc<Limiter>,
    alone: Limiter,
    keys: Arc<ThrottleKeys>,
}

impl Allowance {
    pub fn new(limiter: Arc<Limiter>, keys: Arc<ThrottleKeys>) -> Self {
        Self { limiter, alone: Limiter::local(), keys }
    }

    /// Counts one request of `whose`.
    ///
    /// # Errors
    /// [`LimiterUnavailable`]: whoever asks for this must refuse.
    pub async fn take(&self, quota: Quota, whose: &str) -> Result<Standing, LimiterUnavailable> {
        let decision = self.limiter.check(&[self.limit(quota, whose)]).await?;
        Ok(Standing::new(quota, decision))
    }

    /// Counts one request against several quotas together: either all count it or none does. The
    /// standing is that of the quota nearest to its end.
    ///
    /// # Errors
    /// [`LimiterUnavailable`]: whoever asks for this must refuse.
    pub async fn take_all(&self, wanted: &[(Quota, &str)]) -> Result<Standing, LimiterUnavailable> {
        let limits: Vec<_> =
            wanted.iter().map(|(quota, whose)| self.limit(*quota, whose)).collect();
        let decision = self.limiter.check(&limits).await?;
        let (quota, _) = wanted.get(decision.decided_by).ok_or(LimiterUnavailable)?;
        Ok(Standing::new(*quota, decision))
    }

    /// Counts one request of `whose`; while the shared count cannot be had, this node counts by
    /// itself with half the quota. For what guards no credential: there a free pass is never given,
    /// but losing Redis must not end it either.
    pub async fn take_or_alone(&self, quota: Quota, whose: &str) -> Standing {
        if let Ok(standing) = self.take(quota, whose).await {
            return standing;
        }
        let half = Quota { requests: quota.requests.div_ceil(2), ..quota };
        // Only Redis makes a limiter unavailable, and this one has none.
        match self.alone.check(&[self.limit(half, whose)]).await {
            Ok(decision) => Standing::new(half, decision),
            Err(LimiterUnavailable) => Standing {
                quota: half,
                remaining: 0,
                reset_after: half.window,
                retry_after: Some(half.window),
            },
        }
    }

    fn limit(&self, quota: Quota, whose: &str) -> Limit {
        Limit {
            name: quota.name,
            key: self.keys.bucket(quota.name, whose).to_vec(),
            quota: quota.requests,
            window: quota.window,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::keys::RootSecret;

    const QUOTA: Quota = Quota { name: "login", requests: 3, window: Duration::from_secs(60) };

    #[tokio::test]
    async fn a5_each_caller_and_each_name_has_its_own_count() {
        let keys = Arc::new(ThrottleKeys::new(&RootSecret::new([1; 32])));
        let allowance = Allowance::new(Arc::new(Limiter::local()), keys);
        let other = Quota { name: "mail", ..QUOTA };
        for remaining in [2, 1, 0] {
            let standing = allowance.take(QUOTA, "198.51.100.1/32").await.unwrap();
            assert_eq!((standing.remaining, standing.retry_after), (remaining, None));
        }
        let refused = allowance.take(QUOTA, "198.51.100.1/32").await.unwrap();
        assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_secs(20)));
        for (quota, whose) in [(QUOTA, "198.51.100.2/32"), (other, "198.51.100.1/32")] {
            assert_eq!(allowance.take(quota, whose).await.unwrap().remaining, 2);
        }
    }

    #[test]
    fn a_refusal_always_says_when_to_come_again() {
        let decision = Decision {
            allowed: false,
            decided_by: 0,
            remaining: 0,
            reset_after: Duration::ZERO,
            retry_after: None,
        };
        assert_eq!(Standing::new(QUOTA, decision).retry_after, Some(QUOTA.window));
    }
}
