//! Row e: from a change to its consumer, at a steady 200 and a steady 1,000 changes a second. Two
//! spans, both ending when the consumer has the message: from the moment the change was decided (the
//! message's `cloudEvents:time`; it holds saving and committing, so it is an upper bound of commit →
//! consumer), and from the moment the client had its answer (a lower bound; negative where the
//! consumer was first).

use super::Bench;
use crate::broker::{self, Broker};
use crate::database::id_of;
use crate::load::Connection;
use crate::stats::{Row, Target};
use anyhow::{Result, ensure};
use customer_service::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 32;
const SECONDS: u64 = 20;
/// Left out at the beginning.
const WARM_UP_SECONDS: u64 = 2;
/// How long the last messages may be under way.
const LAST_WITHIN: Duration = Duration::from_secs(10);

/// A steady load: so many clients, each change at an instant of its own.
#[derive(Clone, Copy)]
pub struct Pace {
    pub clients: usize,
    pub per_second: u64,
    /// Of what counts.
    pub seconds: u64,
}

/// Milliseconds to the consumer, of each message that counts; ascending.
#[derive(Default)]
pub struct Delays {
    pub from_decision: Vec<f64>,
    pub from_answer: Vec<f64>,
}

/// When a customer's changes were answered, and when their messages came; in order on both sides.
#[derive(Default)]
struct Instants {
    answered: Vec<f64>,
    received: Vec<f64>,
}

type Book = Rc<RefCell<HashMap<String, Instants>>>;

fn now_ms() -> f64 {
    SystemClock.now().timestamp_micros() as f64 / 1000.0
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\ne: change to consumer");
    let Some(queue) = &bench.broker else {
        println!("  left out: no broker");
        return Ok(Vec::new());
    };
    let mut rows = Vec::new();
    for (per_second, names) in [(200, ["e1", "e2"]), (1_000, ["e3", "e4"])] {
        let running = bench.serve(&[]).await?;
        let pace = Pace { clients: CLIENTS, per_second, seconds: bench.seconds(SECONDS) };
        let delays = watch(bench, queue, running.address, pace).await?;
        running.stop().await?;
        rows.extend(judge(pace, &delays, names));
    }
    Ok(rows)
}

/// Changes at the pace, and their messages at a consumer. Fails when a message is missing.
pub async fn watch(
    bench: &Bench,
    queue: &Broker,
    address: SocketAddr,
    pace: Pace,
) -> Result<Delays> {
    let book = Book::default();
    let from_decision: Rc<RefCell<Vec<f64>>> = Rc::default();
    let mut consumer = queue.consumer().await?;
    let consuming = {
        let (book, from_decision) = (Rc::clone(&book), Rc::clone(&from_decision));
        tokio::task::spawn_local(async move {
            while let Some(message) = broker::next(&mut consumer).await? {
                let now = now_ms();
                if message.kind == "customer.updated" {
                    from_decision.borrow_mut().extend(message.decided_ms.map(|then| now - then));
                    book.borrow_mut().entry(message.customer_id).or_default().received.push(now);
                }
            }
            anyhow::Ok(())
        })
    };
    let sent = send(bench, address, pace, &book).await?;
    let waited = Instant::now();
    while from_decision.borrow().len() < sent && waited.elapsed() < LAST_WITHIN {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    queue.cancel().await?;
    consuming.abort();
    let from_decision = from_decision.take();
    ensure!(from_decision.len() == sent, "{sent} changes, {} messages", from_decision.len());
    let warm_up = (WARM_UP_SECONDS * pace.per_second) as usize;
    let mut delays = Delays {
        from_decision: from_decision.into_iter().skip(warm_up).collect(),
        from_answer: Vec::new(),
    };
    for one in book.borrow().values() {
        let spans = one.received.iter().zip(&one.answered).map(|(got, then)| got - then);
        delays.from_answer.extend(spans.skip(warm_up / pace.clients));
    }
    delays.from_decision.sort_by(f64::total_cmp);
    delays.from_answer.sort_by(f64::total_cmp);
    Ok(delays)
}

/// Changes at fixed instants; tells how many.
async fn send(bench: &Bench, address: SocketAddr, pace: Pace, book: &Book) -> Result<usize> {
    let total = ((pace.seconds + WARM_UP_SECONDS) * pace.per_second) as usize;
    let begin = Instant::now() + Duration::from_millis(50);
    let step = bench.holders.len() / pace.clients;
    let mut clients = Vec::new();
    for (index, cycle) in bench.changes(pace.clients).into_iter().enumerate() {
        let customer = id_of(bench.holders[index * step].number).to_string();
        let mut connection = Connection::open(address).await?;
        let book = Rc::clone(book);
        clients.push(tokio::task::spawn_local(async move {
            for at in (index..total).step_by(pace.clients) {
                let due = begin + Duration::from_secs_f64(at as f64 / pace.per_second as f64);
                tokio::time::sleep_until(due.into()).await;
                let answer = connection.exchange(&cycle[(at / pace.clients) % cycle.len()]).await?;
                ensure!(answer.status == 200, "a change answered {}", answer.status);
                let now = now_ms();
                book.borrow_mut().entry(customer.clone()).or_default().answered.push(now);
            }
            Ok(())
        }));
    }
    for client in clients {
        client.await??;
    }
    Ok(total)
}

impl Delays {
    /// Takes others in.
    pub fn merge(&mut self, others: Self) {
        self.from_decision.extend(others.from_decision);
        self.from_answer.extend(others.from_answer);
        self.from_decision.sort_by(f64::total_cmp);
        self.from_answer.sort_by(f64::total_cmp);
    }

    pub fn to_json(&self) -> Value {
        let told =
            |of: &[f64]| json!({ "p50": at(of, 0.5), "p99": at(of, 0.99), "max": of.last() });
        json!({
            "messages": self.from_decision.len(),
            "from_decision_ms": told(&self.from_decision),
            "from_answer_ms": told(&self.from_answer),
        })
    }
}

/// What a share of the ascending figures lies below; 0 of none.
pub fn at(ascending: &[f64], share: f64) -> f64 {
    ascending.get((ascending.len() as f64 * share) as usize).copied().unwrap_or_default()
}

fn judge(pace: Pace, delays: &Delays, names: [&'static str; 2]) -> Vec<Row> {
    let details = delays.to_json();
    println!("  {}/s: {details}", pace.per_second);
    let shares = [("p50", 0.5), ("p99", 0.99)];
    let row = |(name, (label, share)): (&'static str, (&str, f64))| Row {
        name,
        what: format!(
            "decision to consumer at {}/s, {label} (answer to consumer {:.1} ms)",
            pace.per_second,
            at(&delays.from_answer, share)
        ),
        figure: at(&delays.from_decision, share),
        unit: "ms",
        target: Target::Shown,
        details: details.clone(),
    };
    names.into_iter().zip(shares).map(row).collect()
}
