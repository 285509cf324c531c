//! `customer-service outbox …`: the desk of the service without the service.

use super::{database_runtime, settings};
use crate::actors::dead_letters::{Asker, CustomerReplay, DeadLetterDesk, Progress, Replay, Told};
use crate::actors::workers::clock_watch::shared_clock_of;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::db::dead_letters::{DeadLetter, Filter};
use crate::db::outbox_parked::State;
use crate::db::{self, Database};
use crate::domain::command::Actor;
use anyhow::ensure;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use uuid::Uuid;

/// How often a replay is asked how far it is, and for how long when nothing moves.
const LOOK_EVERY: Duration = Duration::from_millis(500);
const PATIENCE: u32 = 60;

/// The desk with what it runs on.
pub struct Outbox {
    runtime: Runtime,
    desk: DeadLetterDesk,
    database: Database,
    asker: Asker,
}

/// How each group of shards stands.
pub struct Group {
    pub group: i16,
    pub epoch: i64,
    pub owner: Option<String>,
    /// Seconds since its cursor was written; `None`: never.
    pub idle_seconds: Option<f64>,
}

/// How the outbox stands.
pub struct Status {
    pub groups: Vec<Group>,
    /// Messages that are kept, by state, counted up to 10 000.
    pub kept: Vec<(State, i64)>,
}

impl Outbox {
    /// # Errors
    /// A schema that is not this version's, or settings that do not fit.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let runtime = database_runtime()?;
        let (desk, database) = runtime.block_on(async {
            let pending = db::migrations::pending(&settings::database(config)).await?;
            ensure!(
                pending.is_empty(),
                "the schema is not this version's: run `customer-service migrate`"
            );
            let database = Database::new(settings::database(config), Handle::current());
            let rabbit = settings::rabbit(config)?;
            let clock = shared_clock_of(&database).await?;
            let desk = DeadLetterDesk::new(
                database.clone(),
                Arc::new(clock),
                rabbit,
                settings::dead_letters(config),
            );
            anyhow::Ok((desk, database))
        })?;
        // There is no request; the id finds the audit entry just as well.
        let request_id = SystemClock.new_id().to_string();
        Ok(Self { runtime, desk, database, asker: Asker { actor: Actor::Operator, request_id } })
    }

    /// # Errors
    /// Those of the database.
    pub fn status(&self) -> anyhow::Result<Status> {
        let database = self.database.clone();
        self.runtime.block_on(async {
            let connection = database.get().await?;
            let owners = db::outbox::owners(&connection).await?;
            let groups = owners.into_iter().map(|owner| Group {
                group: owner.relay_group,
                epoch: owner.epoch,
                owner: owner.owner,
                idle_seconds: owner.idle_seconds,
            });
            let kept = db::outbox_parked::counts(&connection).await?;
            Ok(Status { groups: groups.collect(), kept })
        })
    }

    /// # Errors
    /// Those of the database.
    pub fn parked(&self, filter: Filter, limit: i64) -> anyhow::Result<Vec<DeadLetter>> {
        Ok(self.runtime.block_on(self.desk.list(filter, None, limit))?)
    }

    /// # Errors
    /// There is no such message; those of the database.
    pub fn show(&self, message: Uuid) -> anyhow::Result<(DeadLetter, Value)> {
        Ok(self.runtime.block_on(self.desk.show(message))?)
    }

    /// # Errors
    /// Why it was not done.
    pub fn replay(&self, message: Uuid) -> anyhow::Result<DeadLetter> {
        Ok(self.runtime.block_on(self.desk.replay(message, &self.asker))?)
    }

    /// Releases all that fit and watches until they are published or parked again, or until
    /// nothing has moved for half a minute.
    ///
    /// # Errors
    /// Those of the database.
    pub fn replay_many(
        &self,
        filter: &Filter,
        mut watch: impl FnMut(&Replay, Progress),
    ) -> anyhow::Result<(Replay, Progress)> {
        self.runtime.block_on(async {
            let replay = self.desk.replay_many(filter.clone(), &self.asker).await?;
            let (mut before, mut idle) = (Progress::default(), 0);
            loop {
                let progress = self.desk.progress(replay.id).await?;
                watch(&replay, progress);
                idle = if progress == before { idle + 1 } else { 0 };
                if progress.released == 0 || idle > PATIENCE {
                    return Ok((replay, progress));
                }
                before = progress;
                tokio::time::sleep(LOOK_EVERY).await;
            }
        })
    }

    /// # Errors
    /// Why it was not done.
    pub fn discard(&self, message: Uuid, reason: &str) -> anyhow::Result<DeadLetter> {
        Ok(self.runtime.block_on(self.desk.discard(message, reason, &self.asker))?)
    }

    /// # Errors
    /// Why it was not done.
    pub fn replay_customer(&self, wish: CustomerReplay) -> anyhow::Result<Told> {
        Ok(self.runtime.block_on(self.desk.replay_customer(wish, &self.asker))?)
    }
}
