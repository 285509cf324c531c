//! The one door for commands, in the test's own process: for commands that no request carries. Each
//! has actors of its own, as a node has; what it commits the nodes of the same shop publish.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use customer_service::actors::batch::{AfterCommit, Batches, Seals};
use customer_service::actors::customers::{Customers, SubmitError};
use customer_service::actors::runtime::{Backoff, Escalation, Intensity, Runtime, RuntimeSettings};
use customer_service::actors::shard::ShardSettings;
use customer_service::clock::{Clock, SystemClock};
use customer_service::domain::command::{Command, OrderCommand, Subject};
use customer_service::domain::order::OrderFact;
use customer_service::domain::outcome::{Outcome, Rejection};
use customer_service::domain::{Actor, Context, Submission};
use customer_service::security::customer_keys::WrappingKeys;
use customer_service::security::key_ring::{KEYS_MAX, KeyRing};
use customer_service::security::keys::RootSecret;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::db::TestDatabase;
use super::unique;

const PATIENCE: Duration = Duration::from_secs(30);

/// A door; closed when it is dropped.
pub struct Inside {
    customers: Customers,
    /// Dropped: the actors stop.
    _open: oneshot::Sender<()>,
}

impl Inside {
    /// Batches of up to `batch_max` commands.
    pub async fn open(database: &TestDatabase, batch_max: usize) -> Self {
        let batches = Arc::new(Batches {
            database: database.database(),
            clock: Arc::new(SystemClock),
            keep_keys: TimeDelta::hours(24),
            welcome: Default::default(),
            defaults: Default::default(),
            standards: Default::default(),
            seals: seals([7; 32]),
            after: AfterCommit::default(),
        });
        let on = tokio::runtime::Handle::current();
        let (given, taken) = oneshot::channel();
        let (open, closed) = oneshot::channel::<()>();
        // The actors want a thread of their own.
        std::thread::spawn(move || {
            actix::System::new().block_on(async move {
                let (escalation, _escalated) = Escalation::new();
                let runtime = Runtime::new(on, settings(), escalation).unwrap();
                let settings = ShardSettings {
                    actors: 2,
                    queue_max: 10_000,
                    batch_max,
                    batch_time_max: PATIENCE,
                };
                let shards = runtime.spawn_shards("inside", settings, &batches);
                let customers = Customers::new(shards.clone(), PATIENCE);
                let _ = given.send(customers);
                let _ = closed.await;
                let soon = Instant::now() + Duration::from_secs(5);
                shards.drain(soon).await;
                runtime.stop(soon).await;
            });
        });
        Self { customers: taken.await.unwrap(), _open: open }
    }

    /// The door itself.
    pub fn customers(&self) -> Customers {
        self.customers.clone()
    }

    /// What the intake does with a fact: tells whether it was news.
    pub async fn record(&self, fact: OrderFact) -> Result<bool, SubmitError> {
        let mut named = fact.customer_id;
        let command = Command::Order(OrderCommand::Record(Box::new(fact)));
        loop {
            let context = Context {
                actor: Actor::Service,
                now: SystemClock.now(),
                request_id: unique("fact"),
                traceparent: None,
            };
            let submission = Submission {
                subject: Subject::Customer(named),
                command: command.clone(),
                context,
                idempotency: None,
            };
            match self.customers.submit(submission).await {
                Ok(answered) => return Ok(answered.outcome == Outcome::Order { recorded: true }),
                Err(SubmitError::Rejected(Rejection::CustomerMerged { into })) => named = into,
                Err(error) => return Err(error),
            }
        }
    }
}

/// What is sealed by it no node opens, unless its root key is this.
pub fn seals(root_key: [u8; 32]) -> Seals {
    let wrapping = WrappingKeys::new(&RootSecret::new(root_key), &[]);
    Seals { keys: Arc::new(KeyRing::new(wrapping, KEYS_MAX)), values: true }
}

fn settings() -> RuntimeSettings {
    RuntimeSettings {
        arbiters: 0,
        backoff: Backoff { first: Duration::from_millis(50), max: PATIENCE, jitter: || 0.5 },
        intensity: Intensity { failures: 10, period: PATIENCE },
        stall_max: PATIENCE,
    }
}
