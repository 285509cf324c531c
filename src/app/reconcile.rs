//! `customer-service reconcile`: the engine of the service without the service. What a killed run left
//! is gone on with, by this command or by a node.

use super::{database_runtime, settings};
use crate::actors::batch::{AfterCommit, Batches};
use crate::actors::consents::welcome_series;
use crate::actors::reconciliation::{Door, Engine, Run, Seen, Trouble};
use crate::actors::workers::clock_watch::shared_clock_of;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::reconciliation::Source;
use crate::db::reconciliation_runs as runs;
use crate::db::{self, Database};
use crate::domain::{Actor, CustomerId};
use anyhow::{anyhow, bail, ensure};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How often the lock is tried for while another run is under way.
const RETRY: Duration = Duration::from_millis(500);

/// A frozen process loses the lock after this long; longer than a customer's orders may take.
const IDLE_SECONDS: u64 = 330;

const TOLD_TO_END: &str = "told to end: a second run goes on with this one";

/// What is asked for at the command line.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// `None`: everybody.
    pub customer: Option<CustomerId>,
    pub dry_run: bool,
    /// Whether the order service is asked first.
    pub orders: bool,
}

/// What came of one run, as far as this process carried it out.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub customers: usize,
    pub differences: usize,
    /// Differences that are still there.
    pub left: usize,
    /// Facts of the order service that nobody can use.
    pub refused: usize,
    /// Why the run could not be brought to its end.
    pub unreachable: Option<String>,
}

/// Who watches.
pub trait Watcher {
    /// Something to tell, such as what is waited for.
    fn told(&mut self, text: &str);
    /// A run begins, through about so many customers.
    fn began(&mut self, source: Source, about: Option<u64>);
    /// How far the run is.
    fn moved(&mut self, so_far: &Summary);
    fn differs(&mut self, seen: &Seen);
    fn over(&mut self, source: Source, summary: &Summary);
}

/// Compares and repairs.
///
/// # Errors
/// What keeps it from being done; what was repaired by then stays.
pub fn reconcile(
    config: &Config,
    wish: Wish,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Vec<Summary>> {
    let runtime = database_runtime()?;
    let done = runtime.block_on(carry_out(config, wish, watcher));
    runtime.shutdown_timeout(RETRY);
    done
}

async fn carry_out(
    config: &Config,
    wish: Wish,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Vec<Summary>> {
    let engine = engine(config).await?;
    ensure!(
        !wish.orders || engine.orders.is_some(),
        "orders.service.url is not set: there is no order service to ask"
    );
    let pending = db::migrations::pending(&settings::database(config)).await?;
    ensure!(pending.is_empty(), "the schema is not this version's: run `customer-service migrate`");
    if let Some(customer) = wish.customer {
        let connection = engine.database.get().await?;
        ensure!(db::customers::is_known(&connection, customer).await?, "there is no such customer");
    }
    // One walk through everybody at a time; a look, and one customer, are in nobody's way.
    let turn = match wish {
        Wish { customer: None, dry_run: false, .. } => {
            Some(take_turn(&engine.database, watcher).await?)
        }
        _ => None,
    };
    let mut summaries = Vec::new();
    // Orders first: statistics are then compared with what was brought in, too.
    for source in [Source::OrderService, Source::Facts] {
        if source == Source::OrderService && !wish.orders {
            continue;
        }
        let run = open(&engine, source, wish, watcher).await?;
        let summary = walk(&engine, run, turn.as_ref(), watcher).await?;
        watcher.over(source, &summary);
        summaries.push(summary);
    }
    Ok(summaries)
}

async fn open(
    engine: &Engine,
    source: Source,
    wish: Wish,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Run> {
    let (about, latest) = {
        let connection = engine.database.get().await?;
        let about = db::reconciliation::about(&connection, source).await?;
        (about, runs::latest(&connection, source).await?)
    };
    watcher.began(source, if wish.customer.is_some() { Some(1) } else { about });
    Ok(match latest.filter(|row| row.finished_at.is_none()) {
        _ if wish.dry_run => engine.look(source, wish.customer),
        Some(row) if wish.customer.is_none() => {
            watcher.told(&format!("going on behind {} customers", row.customers));
            engine.go_on(source, &row).await?
        }
        _ => engine.begin(source, wish.customer).await?,
    })
}

async fn walk(
    engine: &Engine,
    mut run: Run,
    turn: Option<&db::Connection>,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    // Once for the whole walk: nobody would hear a signal between two of them.
    let mut told_to_end = pin!(super::imports::told_to_end());
    loop {
        if let Some(turn) = turn {
            let alive = db::outbox::touch(turn).await;
            alive.map_err(|_| anyhow!("the lock of reconciliations was lost"))?;
        }
        let step = tokio::select! {
            biased;
            step = run.step(engine) => step,
            () = &mut told_to_end => bail!(TOLD_TO_END),
        };
        let step = match step {
            Ok(step) => step,
            Err(Trouble::Unreachable(why)) => {
                if let Some(id) = run.id() {
                    let connection = engine.database.get().await?;
                    runs::wait(&connection, id, &why.to_string(), engine.clock.now()).await?;
                }
                summary.unreachable = Some(why.to_string());
                return Ok(summary);
            }
            Err(trouble) => return Err(trouble.into()),
        };
        summary.customers += step.customers;
        summary.differences += step.differences.len();
        summary.left += step.differences.iter().filter(|seen| !seen.repaired).count();
        summary.refused += step.refused;
        step.differences.iter().for_each(|seen| watcher.differs(seen));
        watcher.moved(&summary);
        if step.over {
            return Ok(summary);
        }
        if step.rest {
            tokio::select! {
                () = tokio::time::sleep(engine.settings.pause) => {}
                () = &mut told_to_end => bail!(TOLD_TO_END),
            }
        }
    }
}

async fn engine(config: &Config) -> anyhow::Result<Engine> {
    let database = Database::new(settings::database(config), Handle::current());
    let clock: Arc<dyn Clock> = Arc::new(shared_clock_of(&database).await?);
    let batches = Batches {
        database: database.clone(),
        clock: clock.clone(),
        keep_keys: config.idempotency.keep_hours.delta(),
        welcome: welcome_series(config),
        defaults: settings::default_segments(config),
        standards: Default::default(),
        seals: settings::seals(config),
        // The relays of the nodes find new messages when they next look.
        after: AfterCommit::default(),
    };
    Ok(Engine {
        database,
        clock,
        door: Door::Batches(Arc::new(batches)),
        orders: settings::order_service(config)?,
        settings: settings::reconciliation(config, Actor::Operator),
    })
}

async fn take_turn(
    database: &Database,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<db::Connection> {
    let mut session = database.dedicated("customer-service-reconcile").await?;
    db::outbox::guard_session(&mut session, IDLE_SECONDS).await?;
    let mut told = false;
    while !runs::try_lock(&session).await? {
        if !std::mem::replace(&mut told, true) {
            watcher.told("waiting: another reconciliation is under way");
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(session)
}
