//! Whether what is kept of orders is what it should be (rule O4): statistics against the facts, and
//! the facts against what the order service says now. What differs is written down, then repaired
//! through the one door, then marked as repaired; so a kill at any instant loses none of it, and
//! whoever goes on begins behind the last customer that is done with.
//!
//! Nothing is repaired by guess. Statistics are counted anew under the lock of their customer's row,
//! and what the order service says is recorded like any fact, by its version. What it does not say,
//! or cannot be asked for, changes nothing.

pub mod active;
mod door;
mod facts;
mod orders;

pub use door::Door;

use crate::clock::Clock;
use crate::db::reconciliation::Source;
use crate::db::reconciliation_runs::{self as runs, At, Found, Row, Stepped};
use crate::db::{self, Database};
use crate::domain::order::Difference;
use crate::domain::{Actor, Context, CustomerId};
use crate::faults;
use crate::order_service::{OrderService, Unreachable};
use metrics::counter;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How much is done at once, and by whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Customers of one page.
    pub page: i64,
    /// Rest after each page.
    pub pause: Duration,
    /// This process, for people who read who carries a run out.
    pub owner: String,
    /// On whose behalf repairs are made.
    pub actor: Actor,
}

/// What a reconciliation works with. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub database: Database,
    pub clock: Arc<dyn Clock>,
    pub door: Door,
    /// `None`: it is not configured.
    pub orders: Option<OrderService>,
    pub settings: Settings,
}

/// Why a step was not done. It can be done again.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// A repair came to no end.
    #[error("a repair was not carried out: {0}")]
    NotNow(&'static str),
    #[error("somebody else has gone on with the run")]
    Superseded,
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// Something that differs, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub customer: CustomerId,
    /// The currency of the statistics, or the order.
    pub subject: String,
    pub difference: Difference,
    /// False as long as it is not, and for ever in a dry run.
    pub repaired: bool,
}

/// What a step came to.
#[derive(Debug, Default)]
pub struct Step {
    /// Customers that are done with.
    pub customers: usize,
    pub differences: Vec<Seen>,
    /// Facts of the order service that cannot be used.
    pub refused: usize,
    /// Whether a rest is due.
    pub rest: bool,
    /// The run is through.
    pub over: bool,
}

/// A run under way.
pub struct Run {
    /// `None`: a dry run, which writes nothing and repairs nothing.
    id: Option<Uuid>,
    source: Source,
    only: Option<CustomerId>,
    cursor: Uuid,
    /// Customers of one page; fewer where one took too long.
    page: i64,
    /// Customers of this page who are still to be asked for.
    waiting: VecDeque<CustomerId>,
}

impl Engine {
    /// Begins a run: through everybody, or of one customer only.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn begin(&self, source: Source, only: Option<CustomerId>) -> Result<Run, db::Error> {
        let row =
            Row::new(self.clock.new_id(), source, only, &self.settings.owner, self.clock.now());
        let connection = self.database.get().await?;
        runs::begin(&connection, &row).await?;
        Ok(self.run(Some(row.id), source, only, row.cursor))
    }

    /// Goes on with a run of this source that is not over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn go_on(&self, source: Source, row: &Row) -> Result<Run, db::Error> {
        let connection = self.database.get().await?;
        runs::take_over(&connection, row.id, &self.settings.owner, self.clock.now()).await?;
        Ok(self.run(Some(row.id), source, row.customer_id.map(CustomerId), row.cursor))
    }

    /// A run that only looks.
    pub fn look(&self, source: Source, only: Option<CustomerId>) -> Run {
        self.run(None, source, only, Uuid::nil())
    }

    fn run(&self, id: Option<Uuid>, source: Source, only: Option<CustomerId>, cursor: Uuid) -> Run {
        Run { id, source, only, cursor, page: self.settings.page, waiting: VecDeque::new() }
    }

    /// The circumstances of a repair.
    fn context(&self, run: Uuid, actor: Actor) -> Context {
        Context {
            actor,
            now: self.clock.now(),
            request_id: format!("reconciliation:{run}"),
            traceparent: None,
        }
    }
}

impl Run {
    /// `None` of a dry run.
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }

    pub fn source(&self) -> Source {
        self.source
    }

    /// Does a bounded piece: a page of customers, or one customer where the order service is asked.
    ///
    /// # Errors
    /// [`Trouble`]; the run is where it was.
    pub async fn step(&mut self, engine: &Engine) -> Result<Step, Trouble> {
        match self.source {
            Source::Facts => facts::step(self, engine).await,
            Source::OrderService => orders::step(self, engine).await,
        }
    }

    /// Writes down what differs.
    async fn note(&self, engine: &Engine, seen: &[Seen]) -> Result<(), Trouble> {
        let Some(at) = self.at().filter(|_| !seen.is_empty()) else { return Ok(()) };
        let mut found = Found::default();
        for one in seen {
            found.push(one.customer, &one.subject, &one.difference);
        }
        let connection = engine.database.get().await?;
        let noted = runs::note(&connection, at, &found, engine.clock.now()).await;
        let added = noted.map_err(db::Error::from)?.ok_or(Trouble::Superseded)?;
        let source = self.source.as_str();
        counter!("reconciliation_differences_total", "source" => source).increment(added as u64);
        faults::at("reconciliation.noted");
        Ok(())
    }

    /// Moves on to `to`; what was seen is repaired, but for what is left.
    async fn done(
        &mut self,
        engine: &Engine,
        to: Uuid,
        mut step: Step,
        left: &[(CustomerId, String)],
    ) -> Result<Step, Trouble> {
        if let Some(at) = self.at() {
            faults::at("reconciliation.repaired");
            let (customers, refused) = (step.customers, step.refused);
            let stepped = Stepped { to, customers, refused, left };
            let connection = engine.database.get().await?;
            let moved = runs::step(&connection, at, &stepped, engine.clock.now()).await;
            if !moved.map_err(db::Error::from)? {
                return Err(Trouble::Superseded);
            }
            for one in &mut step.differences {
                let is_left = |(customer, subject): &(CustomerId, String)| {
                    *customer == one.customer && *subject == one.subject
                };
                one.repaired = !left.iter().any(is_left);
            }
            let repaired = step.differences.iter().filter(|one| one.repaired).count();
            let source = self.source.as_str();
            counter!("reconciliation_customers_total", "source" => source)
                .increment(customers as u64);
            counter!("reconciliation_repaired_total", "source" => source)
                .increment(repaired as u64);
            counter!("reconciliation_refused_facts_total").increment(refused as u64);
        }
        self.cursor = to;
        Ok(step)
    }

    /// There is nobody left.
    async fn over(&self, engine: &Engine) -> Result<Step, Trouble> {
        if let Some(at) = self.at() {
            let connection = engine.database.get().await?;
            let finished = runs::finish(&connection, at, engine.clock.now()).await;
            if !finished.map_err(db::Error::from)? {
                return Err(Trouble::Superseded);
            }
        }
        Ok(Step { over: true, ..Step::default() })
    }

    fn at(&self) -> Option<At> {
        self.id.map(|run| At { run, cursor: self.cursor })
    }
}
