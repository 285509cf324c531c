//! The facts against what the order service says now, a customer at a time. An order that it knows and
//! nobody here, or in a later version, is a difference; it is recorded like a fact that came as a
//! message. One that it does not know is none: what was said once is not taken back by silence.

use super::{Engine, Run, Seen, Step, Trouble};
use crate::db::reconciliation::{orderers, versions};
use crate::domain::order::{Difference, OrderFact, OrderId};
use crate::domain::{Actor, CustomerId};
use crate::order_service::{OrderService, Page, Unreachable};
use std::collections::{BTreeMap, HashMap};

/// Pages of one customer's orders. Nobody has that many: they go round in circles.
const PAGES_MAX: usize = 1_000;

const NO_END: Unreachable = Unreachable("its pages do not end");

pub(super) async fn step(run: &mut Run, engine: &Engine) -> Result<Step, Trouble> {
    let Some(service) = &engine.orders else {
        return Err(Unreachable("orders.service.url is not set").into());
    };
    let Some(customer) = next(run, engine).await? else { return run.over(engine).await };
    let mut step = Step { customers: 1, ..Step::default() };
    let mut left = Vec::new();
    let mut pages = Pages::of(service, customer);
    while let Some(page) = pages.next().await? {
        let news = news(engine, customer, page, &mut step).await?;
        let seen: Vec<Seen> = news.iter().map(|(_, seen)| seen.clone()).collect();
        run.note(engine, &seen).await?;
        step.differences.extend(seen);
        let Some(id) = run.id else { continue };
        for (fact, seen) in news {
            // Whoever asked for it, it is the order service's word.
            let context = engine.context(id, Actor::Service);
            if !engine.door.record(&fact, &context).await? {
                left.push((customer, seen.subject));
            }
        }
    }
    run.waiting.pop_front();
    step.rest = run.waiting.is_empty();
    let done = run.done(engine, customer.0, step, &left).await;
    if done.is_err() {
        // It is asked for again.
        run.waiting.clear();
    }
    done
}

/// All of a customer's orders, page by page.
pub(super) struct Pages<'a> {
    service: &'a OrderService,
    customer: CustomerId,
    /// Where the next page begins.
    cursor: Option<String>,
    /// How many more there may be.
    patience: usize,
    over: bool,
}

impl<'a> Pages<'a> {
    pub(super) fn of(service: &'a OrderService, customer: CustomerId) -> Self {
        Self { service, customer, cursor: None, patience: PAGES_MAX, over: false }
    }

    pub(super) async fn next(&mut self) -> Result<Option<Page>, Unreachable> {
        if self.over {
            return Ok(None);
        }
        let mut page = self.service.page(self.customer, self.cursor.as_deref()).await?;
        let next = page.next_cursor.take();
        self.over = next.is_none();
        self.patience -= 1;
        if !self.over && (next == self.cursor || self.patience == 0) {
            return Err(NO_END);
        }
        self.cursor = next;
        Ok(Some(page))
    }
}

/// The customer that is next; it waits until it is done with.
async fn next(run: &mut Run, engine: &Engine) -> Result<Option<CustomerId>, Trouble> {
    if run.waiting.is_empty() {
        match run.only {
            Some(customer) => run.waiting.extend(Some(customer).filter(|one| one.0 > run.cursor)),
            None => {
                let (after, limit) = (run.cursor, run.page);
                let read = engine.database.read(move |connection| {
                    Box::pin(async move { orderers(connection, after, limit).await })
                });
                run.waiting.extend(read.await?);
            }
        }
    }
    Ok(run.waiting.front().copied())
}

/// What of a page is not known here, or only in an earlier version.
async fn news(
    engine: &Engine,
    customer: CustomerId,
    page: Page,
    step: &mut Step,
) -> Result<Vec<(OrderFact, Seen)>, Trouble> {
    let mut said: BTreeMap<OrderId, OrderFact> = BTreeMap::new();
    for fact in page.facts {
        match fact {
            Ok(fact) if fact.customer_id == customer => {
                let known = said.get(&fact.order_id).map_or(0, |known| known.version);
                if known < fact.version {
                    said.insert(fact.order_id.clone(), fact);
                }
            }
            Ok(_) => refuse(step, "other_customer", "customer_id: is not whom it was asked for"),
            Err(fault) => refuse(step, fault.code, &fault.to_string()),
        }
    }
    let names: Vec<String> = said.keys().map(|order| order.as_str().to_owned()).collect();
    let read = engine.database.read(move |connection| {
        let names = names.clone();
        Box::pin(async move {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            versions(connection, &names).await
        })
    });
    let kept: HashMap<OrderId, i64> = read.await?.into_iter().collect();
    let differing = said.into_values().filter_map(|fact| {
        let known = kept.get(&fact.order_id).copied();
        known.is_none_or(|known| known < fact.version).then(|| {
            let difference = Difference {
                field: "version",
                kept: known.map(|version| version.to_string()),
                found: Some(fact.version.to_string()),
            };
            let subject = fact.order_id.as_str().to_owned();
            (fact, Seen { customer, subject, difference, repaired: false })
        })
    });
    Ok(differing.collect())
}

fn refuse(step: &mut Step, reason: &'static str, detail: &str) {
    step.refused += 1;
    tracing::warn!(reason, detail, "the order service says what cannot be used");
}
