//! `customer-service privacy …`: the ledger of who was erased, written out to be kept apart from the
//! backups, and replayed after one of these was restored.

use super::{database_runtime, settings};
use crate::actors::batch::{AfterCommit, Batches};
use crate::actors::consents::welcome_series;
use crate::actors::customers::SubmitError;
use crate::actors::erasures::{DeletionSettings, buckets, fresh_steps};
use crate::actors::workers::clock_watch::shared_clock_of;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::erasures::{self, LedgerEntry};
use crate::db::{self, Database};
use crate::domain::command::Subject;
use crate::domain::erasure::{DeletionCommand, EraseAgain};
use crate::domain::outcome::Rejection;
use crate::domain::{Actor, Command, Context, CustomerId, ErasureId, Submission};
use crate::security::keys::RootSecret;
use crate::security::tokens::ThrottleKeys;
use anyhow::{Context as _, bail, ensure};
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// Entries that are looked at together, and customers erased in one transaction.
const PAGE: usize = 100;

/// How long what is left on the runtime may take at the end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Entries of the ledger.
    pub entries: usize,
    /// Customers that were back, and are erased again.
    pub erased: usize,
    /// Customers that were erased when they were looked at.
    pub already: usize,
    /// Customers that this database never knew: the backup is older than they.
    pub unknown: usize,
}

/// Writes the ledger as lines of JSON, in the order of time; answers with their number.
///
/// # Errors
/// Those of the database and of the output.
pub fn ledger(config: &Config, out: &mut impl Write) -> anyhow::Result<usize> {
    database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::database(config)).await?;
        let (mut after, mut written) = (None, 0);
        loop {
            let page = erasures::ledger(&connection, after, PAGE as i64).await?;
            for entry in &page {
                writeln!(out, "{}", serde_json::to_string(entry)?)?;
            }
            written += page.len();
            match page.last() {
                Some(last) if page.len() == PAGE => {
                    after = Some((last.erased_at, last.customer_id))
                }
                _ => break,
            }
        }
        out.flush()?;
        Ok(written)
    })
}

/// Erases again whom the ledger names and the database has: that of `file`, which is entered into the
/// database's own, or else the database's own. Killed and run again it goes on: who is erased is
/// passed by.
///
/// # Errors
/// A line that is no entry, or those of the database; what was erased by then stays erased.
pub fn replay(
    config: &Config,
    file: Option<&mut dyn BufRead>,
    mut told: impl FnMut(&Replayed),
) -> anyhow::Result<Replayed> {
    let runtime = database_runtime()?;
    let done = runtime.block_on(async {
        let replay = Replay::new(config).await?;
        let mut so_far = Replayed::default();
        match file {
            Some(file) => {
                let mut lines = file.lines().enumerate();
                loop {
                    let page = read_page(&mut lines)?;
                    if page.is_empty() {
                        break;
                    }
                    let connection = replay.database.get().await?;
                    erasures::write_ledger(&connection, &page).await.map_err(db::Error::from)?;
                    drop(connection);
                    replay.page(&page, &mut so_far).await?;
                    told(&so_far);
                }
            }
            None => {
                let mut after = None;
                loop {
                    let connection = replay.database.get().await?;
                    let page = erasures::ledger(&connection, after, PAGE as i64).await;
                    let page = page.map_err(db::Error::from)?;
                    drop(connection);
                    let Some(last) = page.last() else { break };
                    after = Some((last.erased_at, last.customer_id));
                    replay.page(&page, &mut so_far).await?;
                    told(&so_far);
                }
            }
        }
        anyhow::Ok(so_far)
    });
    runtime.shutdown_timeout(LAST_WORDS);
    done
}

/// The next entries of a file; empty lines are passed by.
fn read_page(
    lines: &mut impl Iterator<Item = (usize, std::io::Result<String>)>,
) -> anyhow::Result<Vec<LedgerEntry>> {
    let mut page = Vec::new();
    for (number, line) in lines {
        let line = line.with_context(|| format!("line {} cannot be read", number + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        let entry = serde_json::from_str(&line).with_context(|| {
            format!("line {} is no entry of a ledger, as `privacy ledger` writes them", number + 1)
        })?;
        page.push(entry);
        if page.len() == PAGE {
            break;
        }
    }
    Ok(page)
}

struct Replay {
    database: Database,
    batches: Batches,
    keys: ThrottleKeys,
    clock: Arc<dyn Clock>,
    settings: DeletionSettings,
}

impl Replay {
    async fn new(config: &Config) -> anyhow::Result<Self> {
        let pending = db::migrations::pending(&settings::database(config)).await?;
        ensure!(
            pending.is_empty(),
            "the schema is not this version's: run `customer-service migrate`"
        );
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
        let keys = ThrottleKeys::new(&RootSecret::new(*config.secrets.root_key.expose()));
        let settings = DeletionSettings::from(config);
        Ok(Self { database, batches, keys, clock, settings })
    }

    async fn page(&self, page: &[LedgerEntry], so_far: &mut Replayed) -> anyhow::Result<()> {
        let ids: Vec<_> = page.iter().map(|entry| entry.customer_id).collect();
        let connection = self.database.get().await?;
        let known = erasures::known(&connection, &ids).await.map_err(db::Error::from)?;
        let back: Vec<_> =
            page.iter().filter(|entry| known.get(&entry.customer_id) == Some(&false)).collect();
        let customers: Vec<_> = back.iter().map(|entry| CustomerId(entry.customer_id)).collect();
        let mut buckets = match customers.is_empty() {
            true => Vec::new(),
            false => buckets(&connection, &self.keys, &customers).await?,
        };
        drop(connection);
        let submissions: Vec<_> = back
            .iter()
            .map(|entry| Submission {
                subject: Subject::Customer(CustomerId(entry.customer_id)),
                command: Command::Deletion(DeletionCommand::EraseAgain(Box::new(EraseAgain {
                    id: ErasureId(self.clock.new_id()),
                    repeats: ErasureId(entry.erasure_id),
                    // All of them with the first: they go in one statement.
                    buckets: std::mem::take(&mut buckets),
                    steps: fresh_steps(&self.settings.commands, &*self.clock),
                    policy: self.settings.policy,
                }))),
                context: Context {
                    actor: Actor::Operator,
                    now: self.clock.now(),
                    request_id: self.clock.new_id().to_string(),
                    traceparent: None,
                },
                idempotency: None,
            })
            .collect();
        for answer in self.batches.submit_all(&submissions).await {
            match answer {
                // Erased by somebody else a moment ago.
                Ok(_) | Err(SubmitError::Rejected(Rejection::NotFound)) => so_far.erased += 1,
                Err(error) => bail!("a customer was not erased: {error}; run the replay again"),
            }
        }
        so_far.entries += page.len();
        so_far.already += known.values().filter(|erased| **erased).count();
        so_far.unknown += page.len() - known.len();
        Ok(())
    }
}
