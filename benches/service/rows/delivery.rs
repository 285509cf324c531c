//! Row e: from a change to its consumer, at a steady 200 changes a second. Two spans, both ending when
//! the consumer has the message: from the moment the change was decided (the message's
//! `cloudEvents:time`; it holds saving and committing, so it is an upper bound of commit → consumer),
//! and from the moment the client had its answer (a lower bound; negative where the consumer was
//! first).

use super::Bench;
use crate::broker;
use crate::database::id_of;
use crate::load::Connection;
use crate::stats::{Row, Target};
use anyhow::{Result, ensure};
use customer_service::clock::{Clock, SystemClock};
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

const CLIENTS: usize = 32;
const CHANGES_PER_SECOND: f64 = 200.0;
const SECONDS: u64 = 20;
/// Left out at the beginning.
const WARM_UP_MESSAGES: usize = 400;

fn now_ms() -> f64 {
    SystemClock.now().timestamp_micros() as f64 / 1000.0
}

/// When a customer's changes were answered, and when their messages came; in order on both sides.
#[derive(Default)]
struct Instants {
    answered: Vec<f64>,
    received: Vec<f64>,
}

pub async fn measure(bench: &Bench) -> Result<Vec<Row>> {
    println!("\ne: change to consumer at {CHANGES_PER_SECOND} changes/s");
    let Some(queue) = &bench.broker else {
        println!("  left out: no broker");
        return Ok(Vec::new());
    };
    let running = bench.serve(&[]).await?;
    let book: Rc<RefCell<HashMap<String, Instants>>> = Rc::default();
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
    let sent = send(bench, running.address, &book).await?;
    let waited = Instant::now();
    while from_decision.borrow().len() < sent && waited.elapsed() < Duration::from_secs(10) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    queue.cancel().await?;
    consuming.abort();
    running.stop().await?;
    let from_decision = from_decision.take();
    ensure!(from_decision.len() == sent, "{sent} changes, {} messages", from_decision.len());
    let from_answer = book
        .borrow()
        .values()
        .flat_map(|one| one.received.iter().zip(&one.answered).map(|(got, then)| got - then))
        .collect();
    Ok(judge(sent, from_decision, from_answer))
}

/// Changes at fixed instants; tells how many.
async fn send(
    bench: &Bench,
    address: std::net::SocketAddr,
    book: &Rc<RefCell<HashMap<String, Instants>>>,
) -> Result<usize> {
    let total = (bench.seconds(SECONDS) as f64 * CHANGES_PER_SECOND) as usize + WARM_UP_MESSAGES;
    let begin = Instant::now() + Duration::from_millis(50);
    let step = bench.holders.len() / CLIENTS;
    let mut clients = Vec::new();
    for (index, cycle) in bench.changes(CLIENTS).into_iter().enumerate() {
        let customer = id_of(bench.holders[index * step].number).to_string();
        let mut connection = Connection::open(address).await?;
        let book = Rc::clone(book);
        clients.push(tokio::task::spawn_local(async move {
            for at in (index..total).step_by(CLIENTS) {
                let due = begin + Duration::from_secs_f64(at as f64 / CHANGES_PER_SECOND);
                tokio::time::sleep_until(due.into()).await;
                let answer = connection.exchange(&cycle[(at / CLIENTS) % cycle.len()]).await?;
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

fn judge(sent: usize, from_decision: Vec<f64>, mut from_answer: Vec<f64>) -> Vec<Row> {
    let mut counted: Vec<f64> = from_decision.into_iter().skip(WARM_UP_MESSAGES).collect();
    counted.sort_by(f64::total_cmp);
    from_answer.sort_by(f64::total_cmp);
    let at = |sorted: &[f64], share: f64| {
        sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or_default()
    };
    let details = json!({
        "changes": sent,
        "from_decision_ms": { "p50": at(&counted, 0.5), "p99": at(&counted, 0.99), "max": counted.last() },
        "from_answer_ms": { "p50": at(&from_answer, 0.5), "p99": at(&from_answer, 0.99), "max": from_answer.last() },
    });
    println!("  {details}");
    [("e1", "p50", 0.5), ("e2", "p99", 0.99)]
        .into_iter()
        .map(|(name, label, share)| Row {
            name,
            what: format!(
                "decision to consumer, {label} (answer to consumer {:.1} ms)",
                at(&from_answer, share)
            ),
            figure: at(&counted, share),
            unit: "ms",
            target: Target::Shown,
            details: details.clone(),
        })
        .collect()
}
