//! The rate limiter against a real Redis (`TEST_REDIS_URL`), and against one that fails.

use std::time::{Duration, Instant};

use customer_service::brokers::brake::{BrakePolicy, Guess};
use customer_service::brokers::limits::{Limit, Limiter, LimiterUnavailable, OnFailure};
use customer_service::brokers::redis::{Redis, RedisFault, Settings};
use customer_service::clock::{Clock, SystemClock};
use tokio::net::TcpListener;
use uuid::Uuid;

fn redis_url() -> String {
    std::env::var("TEST_REDIS_URL")
        .expect("set TEST_REDIS_URL to a Redis for tests, as `make test` does")
}

fn redis_at(url: &str) -> Redis {
    redis_within(url, Duration::from_millis(100))
}

fn redis_within(url: &str, timeout: Duration) -> Redis {
    let url = url.to_owned().into();
    Redis::new(&Settings { url, cluster: false, timeout, pool_size: 8 }).unwrap()
}

/// Waits for the first connection: the pool opens it in the background.
async fn real_redis() -> Redis {
    let redis = redis_at(&redis_url());
    let give_up = Instant::now() + Duration::from_secs(5);
    while let Err(fault) = redis.ping("key").await {
        assert!(Instant::now() < give_up, "{fault}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    redis
}

fn limit(name: &'static str, key: Uuid, quota: u32, window: Duration) -> Limit {
    Limit { name, key: key.as_bytes().to_vec(), quota, window }
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_exactly_the_quota_passes_under_concurrency_and_over_nodes() {
    let key = SystemClock.new_id();
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(std::sync::Arc::new(Limiter::shared(real_redis().await, OnFailure::Closed)));
    }
    let calls = (0..100).map(|number| {
        let limiter = nodes[number % nodes.len()].clone();
        tokio::spawn(async move {
            let limits = [limit("sign_in", key, 10, Duration::from_secs(60))];
            loop {
                // The machine may be slow; unavailable is an answer that lets nobody pass.
                if let Ok(decision) = limiter.check(&limits).await {
                    return decision;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    });
    let decisions = futures_util::future::join_all(calls).await;
    let (allowed, refused): (Vec<_>, Vec<_>) =
        decisions.into_iter().map(Result::unwrap).partition(|decision| decision.allowed);
    // A call that timed out may have counted all the same, so fewer may be seen to pass.
    assert!((1..=10).contains(&allowed.len()), "{} passed", allowed.len());
    for decision in refused {
        let wait = decision.retry_after.unwrap();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(6), "{wait:?}");
        assert_eq!(decision.remaining, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_counts_down_and_time_gives_back() {
    let limiter = Limiter::shared(real_redis().await, OnFailure::Closed);
    let limits = [limit("countdown", SystemClock.new_id(), 3, Duration::from_millis(1500))];
    for left in [2, 1, 0] {
        let decision = limiter.check(&limits).await.unwrap();
        assert!(decision.allowed);
        assert_eq!(decision.remaining, left);
        assert!(decision.reset_after <= Duration::from_millis(1500));
    }
    let refused = limiter.check(&limits).await.unwrap();
    assert!(!refused.allowed);
    tokio::time::sleep(refused.retry_after.unwrap() + Duration::from_millis(5)).await;
    assert!(limiter.check(&limits).await.unwrap().allowed);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_limits_count_or_none_does() {
    let limiter = Limiter::shared(real_redis().await, OnFailure::Closed);
    let minute = Duration::from_secs(60);
    let both = [
        limit("wide", SystemClock.new_id(), 5, minute),
        limit("narrow", SystemClock.new_id(), 1, minute),
    ];
    assert!(limiter.check(&both).await.unwrap().allowed);
    for _ in 0..10 {
        let refused = limiter.check(&both).await.unwrap();
        assert!(!refused.allowed);
        assert_eq!(refused.decided_by, 1);
    }
    assert_eq!(limiter.check(&both[..1]).await.unwrap().remaining, 3);
}

/// So slow that time plays no part in a test.
const HOUR: Duration = Duration::from_secs(3_600);

fn brake(key: Uuid) -> BrakePolicy {
    BrakePolicy {
        key: key.as_bytes().to_vec(),
        window: HOUR,
        min_failures: 25,
        failure_percent: 60,
        hold: HOUR,
        quota: 6,
        quota_window: HOUR,
        identifiers: 12,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_redis_and_the_process_judge_guesses_alike() {
    let run = SystemClock.new_id();
    let mut numbers = [0; 4_000];
    SystemClock.random(&mut numbers);
    println!("run {run}");
    // Patient: an answer that is lost may have counted.
    let redis = redis_within(&redis_url(), Duration::from_secs(10));
    let shared = Limiter::shared(redis, OnFailure::Closed).with_brake(brake(run));
    let local = Limiter::local().with_brake(brake(run));
    let key = |what: &str, number: u8| format!("{what} {number} of {run}").into_bytes();
    let (mut engaged, mut braked) = (0, 0);
    for [address, identifier, device, outcome] in numbers.as_chunks::<4>().0 {
        // Some addresses are alone in their network, some are many.
        let address = address % 40;
        let guess = Guess {
            address: key("address", address),
            network: key("network", if address < 20 { address } else { 99 }),
            identifier: u64::from(*identifier),
            claims_device: *device < 25,
        };
        let limits = [Limit { name: "login", key: key("login", address), quota: 60, window: HOUR }];
        let limits = if *device > 250 { &limits[..0] } else { &limits[..] };
        let (one, other) = (shared.guess(limits, &guess).await, local.guess(limits, &guess).await);
        let (one, other) = (one.unwrap(), other.unwrap());
        let brief = |guessed: customer_service::brokers::limits::Guessed| {
            (guessed.decision.allowed, guessed.decision.remaining, guessed.braked, guessed.engaged)
        };
        assert_eq!(brief(one), brief(other), "{one:?} {other:?}");
        engaged += u32::from(one.engaged);
        braked += u32::from(one.braked.is_some() && !one.decision.allowed);
        if one.decision.allowed {
            for limiter in [&shared, &local] {
                limiter.note_outcome(*outcome > 40);
            }
        }
    }
    assert!(engaged > 500 && braked > 100, "{engaged} {braked}");
    assert!(shared.is_braking() && local.is_braking());
}

/// An estimate would let one more through now and then.
#[tokio::test(flavor = "multi_thread")]
async fn a5_a_network_tries_exactly_as_many_identifiers_as_it_may() {
    let run = SystemClock.new_id();
    let redis = redis_within(&redis_url(), Duration::from_secs(10));
    let policy = BrakePolicy { identifiers: 2_000, min_failures: 1, ..brake(run) };
    let limiter = Limiter::shared(redis, OnFailure::Closed).with_brake(policy);
    limiter.note_outcome(true);
    let mut passed = 0;
    for number in 0..2_100_u64 {
        let guess = Guess {
            address: format!("address {number} of {run}").into_bytes(),
            network: run.as_bytes().to_vec(),
            identifier: u64::MAX / 2_100 * number,
            claims_device: false,
        };
        passed += u32::from(limiter.guess(&[], &guess).await.unwrap().decision.allowed);
    }
    assert_eq!(passed, 2_000);
}

/// A server that accepts and says nothing: worse than none.
async fn hanging_server() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://:s3cr3t-word@{}", listener.local_addr().unwrap());
    (listener, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn a5_a_failing_redis_gives_no_free_pass() {
    let (_listener, url) = hanging_server().await;
    let minute = Duration::from_secs(60);
    let limits = [limit("sign_in", SystemClock.new_id(), 10, minute)];

    let closed = Limiter::shared(redis_at(&url), OnFailure::Closed);
    assert_eq!(closed.check(&limits).await, Err(LimiterUnavailable));

    let local = Limiter::shared(redis_at(&url), OnFailure::Local);
    let mut passed = 0;
    for _ in 0..20 {
        passed += u32::from(local.check(&limits).await.unwrap().allowed);
    }
    assert_eq!(passed, 5, "half the quota");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_makes_a_hanging_redis_cheap() {
    let (_listener, url) = hanging_server().await;
    let redis = redis_at(&url);
    for _ in 0..5 {
        let fault = redis.ping("key").await.unwrap_err();
        assert_eq!(fault, RedisFault::TimedOut);
        assert!(!format!("{fault} {fault:?} {redis:?}").contains("s3cr3t-word"));
    }
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(redis.ping("key").await, Err(RedisFault::BreakerOpen));
    }
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
}
