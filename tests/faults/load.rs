//! Customers who change their names over and over, and add addresses under idempotency keys until
//! they are told that it is done, whatever happens to the service meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::harness::checker::{self, Acknowledged, Verdict};
use crate::harness::consumer::Consumer;
use crate::harness::shopper::home;
use crate::harness::{Answer, Api, Shop, Shopper, unique};
use crate::report::Report;

/// Every so many changes a writer adds an address.
const ADDRESS_EVERY: usize = 10;

/// One call and what came of it.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub began: Instant,
    pub took: Duration,
    /// `None`: no answer.
    pub status: Option<u16>,
    pub is_read: bool,
}

/// The nodes that serve at present; each call takes the next one. Clones are one.
#[derive(Clone)]
pub struct Route(Arc<(Mutex<Vec<Api>>, AtomicUsize)>);

impl Route {
    pub fn to(nodes: &[Api]) -> Self {
        Self(Arc::new((Mutex::new(nodes.to_vec()), AtomicUsize::new(0))))
    }

    pub fn change(&self, nodes: &[Api]) {
        *self.0.0.lock().unwrap() = nodes.to_vec();
    }

    /// How many serve.
    pub fn nodes(&self) -> usize {
        self.0.0.lock().unwrap().len()
    }

    pub fn next(&self) -> Api {
        let (nodes, turn) = &*self.0;
        let nodes = nodes.lock().unwrap();
        nodes[turn.fetch_add(1, Ordering::AcqRel) % nodes.len()].clone()
    }
}

/// What the writers share.
struct Shared {
    route: Route,
    ended: AtomicBool,
    attempts: Mutex<Vec<Attempt>>,
    acknowledged: Mutex<Vec<Acknowledged>>,
    /// Addresses acknowledged, each under a key of its own.
    added: AtomicUsize,
    /// Answers that nothing excuses.
    odd: Mutex<Vec<String>>,
}

/// A load that runs; see the module.
pub struct Load {
    shared: Arc<Shared>,
    writers: JoinSet<()>,
}

/// What a load was told.
pub struct Told {
    pub attempts: Vec<Attempt>,
    pub acknowledged: Vec<Acknowledged>,
    pub added: usize,
    pub odd: Vec<String>,
    pub took: Duration,
}

impl Load {
    /// So many writers, together about so many changes a second; every fifth call is a read.
    pub async fn begin(shop: &Shop, nodes: &[Api], writers: usize, per_second: u32) -> Self {
        Self::along(Route::to(nodes), shop, writers, per_second).await
    }

    /// As [`Load::begin`], to whom the route leads, which may change.
    pub async fn along(route: Route, shop: &Shop, writers: usize, per_second: u32) -> Self {
        let shared = Arc::new(Shared {
            route,
            ended: AtomicBool::new(false),
            attempts: Mutex::default(),
            acknowledged: Mutex::default(),
            added: AtomicUsize::new(0),
            odd: Mutex::default(),
        });
        let mut running = JoinSet::new();
        let pace = Duration::from_secs(writers as u64) / per_second;
        let mut shoppers = Vec::new();
        for _ in 0..writers {
            // One node for all that makes one customer.
            let node = shared.node();
            shoppers.push(Shopper::new(shop, &node).await);
        }
        for shopper in shoppers {
            running.spawn(write(shared.clone(), shopper, pace));
        }
        Self { shared, writers: running }
    }

    /// Who serves from now on.
    pub fn go_to(&self, nodes: &[Api]) {
        self.shared.route.change(nodes);
    }

    /// Acknowledged changes so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    /// Waits until a change that begins after now is acknowledged; answers with how long that took.
    pub async fn works_again(&self, limit: Duration) -> Option<Duration> {
        let asked = Instant::now();
        while asked.elapsed() < limit {
            let found = {
                let attempts = self.shared.attempts.lock().unwrap();
                let fresh =
                    |one: &&Attempt| one.began >= asked && one.status == Some(200) && !one.is_read;
                attempts.iter().rev().take(5_000).find(fresh).cloned()
            };
            if let Some(one) = found {
                return Some(one.began + one.took - asked);
            }
            sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// Ends it once every writer has its last answer.
    pub async fn end(mut self) -> Told {
        self.shared.ended.store(true, Ordering::Release);
        while let Some(writer) = self.writers.join_next().await {
            writer.expect("a writer ends");
        }
        let shared = &self.shared;
        let attempts = std::mem::take(&mut *shared.attempts.lock().unwrap());
        let first = attempts.iter().map(|one| one.began).min();
        let last = attempts.iter().map(|one| one.began + one.took).max();
        Told {
            took: first.zip(last).map(|(first, last)| last - first).unwrap_or_default(),
            attempts,
            acknowledged: std::mem::take(&mut *shared.acknowledged.lock().unwrap()),
            added: shared.added.load(Ordering::Acquire),
            odd: std::mem::take(&mut *shared.odd.lock().unwrap()),
        }
    }
}

impl Shared {
    fn node(&self) -> Api {
        self.route.next()
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Notes a call. A dead node gives no answer, one in trouble 503, a repetition that comes too
    /// soon 409, and nothing else is an excuse.
    fn note(&self, began: Instant, answer: Option<&Answer>, expected: u16, is_read: bool) -> bool {
        let status = answer.map(|answer| answer.status);
        self.attempts.lock().unwrap().push(Attempt {
            began,
            took: began.elapsed(),
            status,
            is_read,
        });
        let Some(answer) = answer.filter(|answer| answer.status != expected) else {
            return status.is_some();
        };
        let hinted = answer.status != 503 || !answer.header("retry-after").is_empty();
        if !matches!(answer.status, 503 | 409) || !hinted {
            let mut odd = self.odd.lock().unwrap();
            if odd.len() < 5 {
                odd.push(format!("{} {}", answer.status, answer.text()));
            }
        }
        false
    }
}

async fn write(shared: Arc<Shared>, shopper: Shopper, pace: Duration) {
    let mut ticks = interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        ticks.tick().await;
        if shared.ended() {
            return;
        }
        let body = json!({ "first_name": format!("Anna {number}") });
        let began = Instant::now();
        // One connection a call: a kept one may be closed while idle, which no server can help.
        let call = shopper.patch(&shared.node(), "/v1/me", body).header("connection", "close");
        let answer = call.try_send().await.ok();
        if shared.note(began, answer.as_ref(), 200, false) {
            let version = answer.expect("it was noted").version();
            let customer_id = shopper.id.clone();
            shared.acknowledged.lock().unwrap().push(Acknowledged { customer_id, version });
        }
        if number % 5 == 0 {
            let began = Instant::now();
            let call = shopper.get(&shared.node(), "/v1/me").header("connection", "close");
            let answer = call.try_send().await.ok();
            shared.note(began, answer.as_ref(), 200, true);
        }
        if number % ADDRESS_EVERY == ADDRESS_EVERY - 1 {
            add_address(&shared, &shopper, number).await;
        }
    }
}

/// Adds an address and insists, under one key, until it is acknowledged.
async fn add_address(shared: &Shared, shopper: &Shopper, number: usize) {
    let key = unique("key");
    loop {
        let began = Instant::now();
        let home = home(&format!("City {number}"));
        let call = shopper.post(&shared.node(), "/v1/me/addresses", home).idempotency_key(&key);
        let answer = call.header("connection", "close").try_send().await.ok();
        if shared.note(began, answer.as_ref(), 201, false) {
            break;
        }
        // Odd answers end nothing: they are told.
        if answer.is_some_and(|answer| !matches!(answer.status, 201 | 409 | 503)) {
            return;
        }
        sleep(Duration::from_millis(30)).await;
    }
    shared.added.fetch_add(1, Ordering::AcqRel);
}

impl Told {
    /// Everything that holds whatever happened: nothing acknowledged is lost, each key had one
    /// effect, each message arrived, first deliveries in order.
    pub async fn judge(&self, shop: &Shop, consumer: &Consumer, report: &mut Report) -> Verdict {
        report.must(self.odd.is_empty(), format!("{} odd answers {:?}", self.odd.len(), self.odd));
        let kept = shop.database.count("SELECT count(*) FROM addresses").await;
        let added = i64::try_from(self.added).unwrap();
        report.must(kept == added, format!("{kept} addresses of {added} acknowledged under a key"));
        let limit = Duration::from_secs(120);
        let verdict = checker::check(&shop.database, consumer, &self.acknowledged, limit).await;
        report.note(format!(
            "lost 0 of {} acknowledged, out of order 0 of {} messages, {} duplicates",
            verdict.acknowledged, verdict.messages, verdict.duplicates
        ));
        verdict
    }

    /// Calls by status, for telling.
    pub fn statuses(&self) -> String {
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for one in &self.attempts {
            let name = one.status.map_or("none".to_owned(), |status| status.to_string());
            *counted.entry(name).or_default() += 1;
        }
        let told: Vec<_> = counted.iter().map(|(status, n)| format!("{n}×{status}")).collect();
        told.join(" ")
    }

    /// Times of the calls of a kind that were answered with success, in milliseconds.
    pub fn times(&self, is_read: bool) -> Vec<f64> {
        let good = |one: &&Attempt| {
            one.is_read == is_read && one.status.is_some_and(|status| status < 300)
        };
        self.attempts.iter().filter(good).map(|one| one.took.as_secs_f64() * 1_000.0).collect()
    }

    /// Acknowledged changes a second.
    pub fn rate(&self) -> f64 {
        self.acknowledged.len() as f64 / self.took.as_secs_f64().max(0.001)
    }
}
