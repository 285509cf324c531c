//! The audit sealer: gathers entries into blocks and blocks under signed checkpoints (rule P5), some
//! time after they were written and without being in anybody's way.
//!
//! An entry has its place from a sequence before it is committed, so a place that is not there may yet
//! come. Each run notes how far places were given away, and seals that far in a later run, once every
//! transaction has ended that was under way then. Of several nodes one does it at a time; a kill costs
//! nothing, for a checkpoint is one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};

use crate::actors::audit_trail::hex;
use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::audit_chain::{self, Horizon, Signed};
use crate::db::transactions::{begin, commit, rollback};
use crate::db::{self, Database};
use crate::domain::audit_chain::{Block, Checkpoint, Record};
use crate::security::audit_seal::AuditKey;

/// Entries under one checkpoint.
const ENTRIES_MAX: usize = 5_000;

/// The worker; see the module.
pub struct AuditSealer {
    database: Database,
    clock: Arc<dyn Clock>,
    key: Arc<AuditKey>,
    period: Duration,
    /// How far to seal, once it is settled.
    horizon: Option<Horizon>,
}

impl AuditSealer {
    /// A sealer that looks every `period`.
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        key: Arc<AuditKey>,
        period: Duration,
    ) -> Self {
        Self { database, clock, key, period, horizon: None }
    }

    /// Seals what was settled since the last time; answers with the number of entries and whether
    /// there are more.
    ///
    /// # Errors
    /// Those of the database; nothing is sealed then.
    pub async fn seal(&mut self) -> Result<(usize, bool), db::Error> {
        let mut connection = self.database.get().await?;
        let settled = match self.horizon {
            Some(horizon) if audit_chain::is_settled(&connection, horizon).await? => horizon,
            // Somebody's transaction stays open: the age of what waits for it must be seen to grow.
            Some(_) => {
                self.tell(&connection, 0).await?;
                return Ok((0, false));
            }
            None => {
                self.horizon = Some(audit_chain::horizon(&connection).await?);
                self.tell(&connection, 0).await?;
                return Ok((0, false));
            }
        };
        begin(&mut connection).await?;
        let (sealed, more) = match self.within(&connection, settled.seq).await {
            Ok(done) => done,
            Err(error) => {
                rollback(&mut connection).await;
                // That nothing is sealed must be seen above all now.
                self.tell(&connection, 0).await.ok();
                return Err(error.into());
            }
        };
        commit(&mut connection).await?;
        if !more {
            self.horizon = Some(audit_chain::horizon(&connection).await?);
        }
        self.tell(&connection, sealed).await?;
        Ok((sealed, more))
    }

    async fn within(
        &self,
        connection: &db::Connection,
        up_to: i64,
    ) -> Result<(usize, bool), db::transactions::QueryError> {
        if !audit_chain::claim(connection).await? {
            return Ok((0, false));
        }
        let last = audit_chain::last(connection).await?.map(|signed| signed.checkpoint);
        // Before the first are those, too, whose places somebody chose by hand.
        let after = last.as_ref().map_or(i64::MIN, |last| last.up_to);
        let limit = ENTRIES_MAX as i64;
        let entries = audit_chain::entries(connection, after, up_to, limit).await?;
        let more = entries.len() == ENTRIES_MAX;
        let Some(newest) = entries.last() else { return Ok((0, false)) };
        let up_to = if more { newest.seq } else { up_to };
        let before = last.map(|last| (last.number, last.hash()));
        let blocks = self.blocks(connection, &entries, before.map_or(1, |(n, _)| n + 1)).await?;
        let checkpoint = Checkpoint::of(&blocks, up_to, before, self.clock.now());
        let hash = checkpoint.hash();
        let signed = Signed {
            key: self.key.public().to_string(),
            signature: self.key.sign(&hash).to_vec(),
            checkpoint,
        };
        audit_chain::append(connection, &blocks, &signed).await?;
        // What is told elsewhere holds whoever could cut the end of the chain off.
        tracing::info!(
            checkpoint = signed.checkpoint.number,
            up_to,
            hash = hex(&hash),
            entries = entries.len(),
            "sealed the audit trail"
        );
        Ok((entries.len(), more))
    }

    async fn blocks(
        &self,
        connection: &db::Connection,
        entries: &[Record],
        checkpoint: i64,
    ) -> Result<Vec<Block>, db::transactions::QueryError> {
        let mut shards: BTreeMap<i16, Vec<&Record>> = BTreeMap::new();
        for entry in entries {
            shards.entry(entry.shard).or_default().push(entry);
        }
        let wanted: Vec<_> = shards.keys().copied().collect();
        let heads = audit_chain::heads(connection, &wanted).await?;
        let heads: BTreeMap<_, _> =
            heads.iter().map(|block| (block.shard, (block.number, block.hash()))).collect();
        let block = |(shard, entries): (&i16, &Vec<&Record>)| {
            Block::of(entries, heads.get(shard).copied(), checkpoint)
        };
        Ok(shards.iter().filter_map(block).collect())
    }

    async fn tell(&self, connection: &db::Connection, sealed: usize) -> Result<(), db::Error> {
        counter!("audit_entries_sealed_total").increment(sealed as u64);
        let last = audit_chain::last(connection).await?;
        let after = last.map_or(i64::MIN, |last| last.checkpoint.up_to);
        let first = audit_chain::first_unsealed(connection, after).await?;
        let age = first.map_or(0.0, |at| (self.clock.now() - at).as_seconds_f64());
        gauge!("audit_unsealed_seconds").set(age);
        gauge!("audit_seal_interval_seconds").set(self.period.as_secs_f64());
        Ok(())
    }
}

impl Worker for AuditSealer {
    fn name(&self) -> &'static str {
        "audit_sealer"
    }

    fn period(&self) -> Duration {
        self.period
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let (handled, more) = self.seal().await?;
        Ok(Done { handled, more })
    }
}
