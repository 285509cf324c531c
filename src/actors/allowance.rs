//! Counting requests against named quotas (rule A5), under keys that tell nobody's address.

use crate::brokers::brake::{BrakePolicy, Guess};
use crate::brokers::limits::{Decision, Guessed, Limit, Limiter, LimiterUnavailable};
use crate::config::{StuffingConfig, Switch};
use crate::security::tokens::ThrottleKeys;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::IpAddr;
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

    /// Of an attempt at a credential: told under the same name, whichever quota it met.
    fn guessed(quota: Quota, guessed: Guessed) -> Self {
        let braked = guessed.braked.map(|(requests, window)| Quota { requests, window, ..quota });
        Self::new(braked.unwrap_or(quota), guessed.decision)
    }
}

/// What came of a request that was counted, with how its caller then stands; no standing where
/// nobody could count.
#[derive(Debug)]
pub struct Counted<T> {
    pub standing: Option<Standing>,
    pub result: T,
}

/// Who tries what, for the brake on credential stuffing.
#[derive(Clone, Copy)]
pub struct Trial<'a> {
    /// The client's address, or for IPv6 its /64.
    pub address: IpNet,
    /// The kind of the identifier that is tried, and its canonical form.
    pub kind: &'static str,
    pub identifier: &'a str,
    /// Whether it says that it comes from a known device, which nobody has looked at yet.
    pub claims_device: bool,
}

/// How an attempt at a credential stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    pub standing: Standing,
    /// The brake is engaged and let the attempt pass for the device that it claims: if that is not
    /// a known one, it must be asked again ([`Allowance::brake`]).
    pub owes_device: bool,
}

/// The brake as it is configured; none when it is switched off.
pub fn brake_policy(config: &StuffingConfig, keys: &ThrottleKeys) -> Option<BrakePolicy> {
    (config.brake == Switch::On).then(|| BrakePolicy {
        // The nodes of one deployment have one root key; others may share its Redis.
        key: keys.bucket("stuffing", "").to_vec(),
        window: config.window_seconds.duration(),
        min_failures: config.min_failures,
        failure_percent: config.failure_percent,
        hold: config.hold_seconds.duration(),
        quota: config.sign_in_per_minute,
        quota_window: MINUTE,
        identifiers: config.network_identifiers,
    })
}

const MINUTE: Duration = Duration::from_secs(60);

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

    /// Counts one attempt at a credential against the quota of its address, and against what the
    /// brake on credential stuffing leaves it while that is engaged.
    ///
    /// # Errors
    /// [`LimiterUnavailable`]: whoever asks for this must refuse.
    pub async fn attempt(
        &self,
        quota: Quota,
        trial: Trial<'_>,
    ) -> Result<Tried, LimiterUnavailable> {
        let limit = self.limit(quota, &trial.address.to_string());
        let guessed = self.limiter.guess(&[limit], &self.guess(trial)).await?;
        let owes_device = guessed.engaged && trial.claims_device;
        Ok(Tried { standing: Standing::guessed(quota, guessed), owes_device })
    }

    /// What the brake says to an attempt that was counted and whose device turned out to be unknown.
    ///
    /// # Errors
    /// [`LimiterUnavailable`]: whoever asks for this must refuse.
    pub async fn brake(
        &self,
        quota: Quota,
        trial: Trial<'_>,
    ) -> Result<Standing, LimiterUnavailable> {
        let guess = self.guess(Trial { claims_device: false, ..trial });
        let guessed = self.limiter.guess(&[], &guess).await?;
        Ok(Standing::guessed(quota, guessed))
    }

    /// An attempt that was let through came to its end: whether the credential was wrong.
    pub fn note_outcome(&self, failed: bool) {
        self.limiter.note_outcome(failed);
    }

    fn guess(&self, trial: Trial<'_>) -> Guess {
        let Trial { address, kind, identifier, claims_device } = trial;
        let key = |name, whose: &str| self.keys.bucket(name, whose);
        let [a, b, c, d, e, f, g, h, ..] = key(kind, identifier);
        Guess {
            address: key("stuffing_address", &address.to_string()).to_vec(),
            network: key("stuffing_network", &network(address).to_string()).to_vec(),
            identifier: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            claims_device,
        }
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

/// The network that an address most likely shares its owner with.
fn network(address: IpNet) -> IpNet {
    match address.addr() {
        IpAddr::V4(address) => IpNet::V4(Ipv4Net::new_assert(address, 24).trunc()),
        IpAddr::V6(address) => IpNet::V6(Ipv6Net::new_assert(address, 48).trunc()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;
    use crate::security::keys::RootSecret;

    fn stuffing() -> StuffingConfig {
        StuffingConfig {
            brake: Switch::On,
            window_seconds: Span::of(60),
            min_failures: 10,
            failure_percent: 70,
            hold_seconds: Span::of(60),
            sign_in_per_minute: 3,
            network_identifiers: 8,
        }
    }

    /// An allowance that counts in process, with the brake of [`stuffing`].
    fn braking() -> Allowance {
        let keys = Arc::new(ThrottleKeys::new(&RootSecret::new([1; 32])));
        let policy = brake_policy(&stuffing(), &keys).unwrap();
        Allowance::new(Arc::new(Limiter::local().with_brake(policy)), keys)
    }

    fn trial<'a>(address: &str, identifier: &'a str) -> Trial<'a> {
        let address = address.parse().unwrap();
        Trial { address, kind: "email", identifier, claims_device: false }
    }

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

    #[test]
    fn an_address_belongs_to_a_24_or_a_48() {
        for (address, expected) in
            [("198.51.100.7/32", "198.51.100.0/24"), ("2001:db8:1:2::/64", "2001:db8:1::/48")]
        {
            assert_eq!(network(address.parse().unwrap()).to_string(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a5_the_brake_makes_attempts_dearer_for_unknown_devices_alone() {
        let allowance = braking();
        let quota = Quota { requests: 10, window: MINUTE, ..QUOTA };
        // Ten identifiers from ten networks, all wrong.
        for number in 0..10 {
            let (address, identifier) = (format!("10.0.{number}.1/32"), format!("{number}"));
            let tried = allowance.attempt(quota, trial(&address, &identifier)).await.unwrap();
            assert_eq!((tried.standing.quota.requests, tried.standing.retry_after), (10, None));
            allowance.note_outcome(true);
        }
        // From now on three a minute, told as such.
        for remaining in [2, 1, 0] {
            let tried = allowance.attempt(quota, trial("192.0.2.1/32", "anna")).await.unwrap();
            assert_eq!((tried.standing.quota.requests, tried.standing.remaining), (3, remaining));
        }
        let refused = allowance.attempt(quota, trial("192.0.2.1/32", "anna")).await.unwrap();
        assert_eq!(refused.standing.retry_after, Some(Duration::from_secs(20)));
        assert!(!refused.owes_device);
        // A known device has its ordinary budget; one that only says so pays after all.
        let claims = Trial { claims_device: true, ..trial("192.0.2.1/32", "anna") };
        let tried = allowance.attempt(quota, claims).await.unwrap();
        assert_eq!((tried.standing.quota.requests, tried.standing.retry_after), (10, None));
        assert!(tried.owes_device);
        let standing = allowance.brake(quota, claims).await.unwrap();
        assert_eq!(standing.retry_after, Some(Duration::from_secs(20)));
        // The attempts that were held back kept it engaged; it lets go by itself.
        tokio::time::advance(Duration::from_secs(181)).await;
        let tried = allowance.attempt(quota, trial("192.0.2.1/32", "anna")).await.unwrap();
        assert_eq!((tried.standing.quota.requests, tried.standing.remaining), (10, 9));
    }

    #[tokio::test(start_paused = true)]
    async fn a5_a_network_that_tries_many_identifiers_is_refused_while_the_brake_is_engaged() {
        let allowance = braking();
        let quota = Quota { requests: 10, window: MINUTE, ..QUOTA };
        let mut passed = 0;
        for number in 0..30 {
            let (address, identifier) = (format!("203.0.113.{number}/32"), format!("{number}"));
            let tried = allowance.attempt(quota, trial(&address, &identifier)).await.unwrap();
            if tried.standing.retry_after.is_none() {
                passed += 1;
                allowance.note_outcome(true);
            }
        }
        assert_eq!(passed, 10 + 8, "until it engaged, and then what a network may");
        let neighbour = allowance.attempt(quota, trial("203.0.113.99/32", "new")).await.unwrap();
        assert_eq!(neighbour.standing.retry_after, Some(MINUTE));
        let other = allowance.attempt(quota, trial("203.0.114.1/32", "new")).await.unwrap();
        assert_eq!(other.standing.retry_after, None);
    }
}
