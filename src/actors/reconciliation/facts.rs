//! Statistics against the facts they come from: a page of customers is one comparison, and whoever
//! differs is counted anew under its own lock, one after the other.

use super::{Engine, Run, Seen, Step, Trouble};
use crate::db;
use crate::db::reconciliation::{Compared, compare};
use crate::domain::CustomerId;
use std::collections::BTreeSet;

pub(super) async fn step(run: &mut Run, engine: &Engine) -> Result<Step, Trouble> {
    let compared = page(run, engine).await?;
    let Some(last) = compared.last else { return run.over(engine).await };
    let mut step = Step { customers: compared.customers, rest: true, ..Step::default() };
    for one in &compared.differing {
        step.differences.extend(one.kept.differences(&one.counted).into_iter().map(|difference| {
            let (customer, subject) = (one.customer_id, one.currency.as_str().to_owned());
            Seen { customer, subject, difference, repaired: false }
        }));
    }
    run.note(engine, &step.differences).await?;
    let mut left = Vec::new();
    if let Some(id) = run.id {
        let whose: BTreeSet<CustomerId> =
            compared.differing.iter().map(|one| one.customer_id).collect();
        for customer in whose {
            let context = engine.context(id, engine.settings.actor.clone());
            if !engine.door.reconcile(customer, &context).await? {
                let its = compared.differing.iter().filter(|one| one.customer_id == customer);
                left.extend(its.map(|one| (customer, one.currency.as_str().to_owned())));
            }
        }
    }
    run.done(engine, last, step, &left).await
}

/// The next page. One that takes the database too long is tried again with half as many customers.
async fn page(run: &mut Run, engine: &Engine) -> Result<Compared, Trouble> {
    loop {
        let (after, only, limit) = (run.cursor, run.only, run.page);
        let read = engine.database.read(move |connection| {
            Box::pin(async move { compare(connection, after, only, limit).await })
        });
        match read.await {
            Err(db::Error::Transient(_)) if run.page > 1 => run.page /= 2,
            compared => return Ok(compared?),
        }
    }
}
