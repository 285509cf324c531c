//! Carries an import out, block by block. While the database commits one, the next is read and
//! judged on another thread; nothing but two blocks and a chunk is ever in memory.

use super::ids::Ids;
use super::pace::{Limits, Pace};
use super::reader::{Need, Reader, Row};
use super::records::Place;
use super::settings::{Format, Settings};
use super::source::{Lost, Source};
use crate::actors::batch::Batches;
use crate::actors::batch::block::{Block, Carried, Seen};
use crate::actors::consents::Purposes;
use crate::actors::customers::SubmitError;
use crate::config::Config;
use crate::db;
use crate::db::imports::Progress;
use crate::domain::ImportId;
use crate::domain::address::AddressLimits;
use crate::domain::command::Actor;
use crate::domain::consent::TextVersion;
use crate::domain::customer::GroupCode;
use crate::domain::import::row::Rules;
use crate::domain::place::{Currency, Locale, TimeZone};
use crate::domain::shard::SHARDS;
use crate::security::argon::is_readable;
use anyhow::{Context, anyhow};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a row of a customer who accepts advertising names, when it names none: the wording is
/// nobody's knowledge here.
const UNRECORDED: &str = "unrecorded";

/// What carries imports out.
#[derive(Clone)]
pub struct Engine {
    pub batches: Arc<Batches>,
    rules: Rules,
    record_max: usize,
    pub limits: Limits,
}

/// An import that is being carried out.
pub struct Run {
    pub id: ImportId,
    dry_run: bool,
    /// Both are away while the next block is read.
    source: Option<Source>,
    reader: Option<Reader>,
    ahead: Option<tokio::task::JoinHandle<Result<Ahead, Lost>>>,
    rules: Rules,
    progress: Progress,
    pace: Pace,
    seen: Seen,
}

/// A block that was read ahead.
struct Ahead {
    reader: Reader,
    source: Source,
    rows: Vec<Row>,
    over: bool,
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many rows more are done with.
    Block(usize),
    /// The import is completed.
    Over,
    /// It was cancelled, or somebody else goes on with it.
    Superseded,
    /// It can never be carried out; it has failed.
    Failed,
}

impl Engine {
    pub fn new(config: &Config, batches: Arc<Batches>) -> Self {
        let purposes = Purposes::from(config);
        let mut marketing = purposes.marketing(true).terms;
        marketing.text_version = TextVersion::from_stored(UNRECORDED.to_owned());
        let (customers, imports) = (&config.customers, &config.imports);
        let (individual, business) = customers.address_limits();
        // the configured defaults were checked at the start
        let rules = Rules {
            group_individual: GroupCode::from_stored(customers.default_group_individual.clone()),
            group_business: GroupCode::from_stored(customers.default_group_business.clone()),
            locale: Locale::from_stored(customers.default_locale.clone()),
            timezone: TimeZone::from_stored(customers.default_timezone.name().to_owned()),
            currency: Currency::from_stored(customers.default_currency.clone()),
            marketing,
            address_limits: AddressLimits { individual, business },
            hash_parameters: None,
            readable: is_readable,
            now: batches.clock.now(),
        };
        let limits = Limits {
            block_rows: imports.block_rows,
            block_time: imports.block_ms.duration(),
            yield_percent: imports.yield_percent,
            rest_max: imports.rest_max_ms.duration(),
            rows_per_second: Some(imports.rows_per_second).filter(|rate| *rate > 0),
        };
        Self { batches, rules, record_max: imports.record_limit_bytes, limits }
    }

    /// Takes an import up where it is.
    ///
    /// # Errors
    /// Settings that this version does not know, which only a newer one can have written.
    pub fn open(&self, row: &db::imports::Row, source: Source) -> anyhow::Result<Run> {
        let id = ImportId(row.id);
        let settings: Settings = serde_json::from_value(row.settings.clone())
            .context("the settings of an import are not known")?;
        let format = Format::parse(&row.format).context("the format of an import is not known")?;
        let actor = match &row.actor_id {
            Some(id) => Actor::Staff(id.clone()),
            None => Actor::Operator,
        };
        let progress = row.progress();
        let from = Place { offset: progress.position as u64, line: progress.line as u64 };
        let parameters = settings.hash_parameters.as_ref();
        let rules = Rules {
            hash_parameters: parameters.map(|parameters| parameters.0.clone()),
            ..self.rules.clone()
        };
        Ok(Run {
            id,
            dry_run: row.dry_run,
            source: Some(source),
            reader: Some(Reader::new(id, actor, format, &settings, self.record_max, from)),
            ahead: None,
            rules,
            progress,
            pace: Pace::new(self.limits, progress.rows_per_minute),
            seen: Seen::new(),
        })
    }
}

impl Run {
    /// How far it is.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Carries out one block, and rests as long as is fitting.
    ///
    /// # Errors
    /// The database's, when it is not there: take the import up anew later.
    pub async fn step(&mut self, engine: &Engine) -> anyhow::Result<Step> {
        let ahead = match self.ahead.take() {
            Some(reading) => reading.await.map_err(|error| anyhow!("reading failed: {error}"))?,
            None => {
                let reading = self.read_ahead(engine)?;
                reading.await.map_err(|error| anyhow!("reading failed: {error}"))?
            }
        };
        let Ahead { reader, source, rows, over } = match ahead {
            Ok(ahead) => ahead,
            // The bytes are gone: no later try finds them.
            Err(Lost::Chunk) => return self.fail(engine, "upload_lost").await,
            Err(error) => return Err(error.into()),
        };
        (self.reader, self.source) = (Some(reader), Some(source));
        if rows.is_empty() {
            return self.complete(engine).await;
        }
        if !over {
            self.ahead = Some(self.read_ahead(engine)?);
        }
        self.block(engine, rows).await
    }

    async fn block(&mut self, engine: &Engine, rows: Vec<Row>) -> anyhow::Result<Step> {
        let began = Instant::now();
        let count = rows.len();
        self.progress.rows_per_minute = self.pace.rows_per_minute();
        let seen = std::mem::take(&mut self.seen);
        let (import, dry_run, from) = (self.id, self.dry_run, self.progress);
        let mut block = Block { import, dry_run, from, rows, seen };
        let carried = engine.batches.carry_out(&mut block).await;
        self.seen = block.seen;
        match carried {
            Ok(Carried::Done(progress)) => self.progress = progress,
            Ok(Carried::Superseded) => return Ok(Step::Superseded),
            Err(SubmitError::Rejected(_)) => return self.fail(engine, "refused").await,
            Err(error) => return Err(anyhow!("a block was not carried out: {error}")),
        }
        let failed = self.progress.rows_failed - from.rows_failed;
        metrics::counter!("import_rows_total", "outcome" => "imported")
            .increment((count as u64).saturating_sub(failed as u64));
        metrics::counter!("import_rows_total", "outcome" => "failed").increment(failed as u64);
        let took = began.elapsed();
        metrics::histogram!("import_block_seconds").record(took.as_secs_f64());
        self.rest(engine, count, took).await?;
        Ok(Step::Block(count))
    }

    async fn rest(&mut self, engine: &Engine, rows: usize, took: Duration) -> anyhow::Result<()> {
        let busy = {
            let connection = engine.batches.database.get().await?;
            db::imports::busy_sessions(&connection).await.map_err(db::Error::from)?
        };
        let rest = self.pace.rest(rows, took, u32::try_from(busy).unwrap_or(0));
        if !rest.is_zero() {
            sleep(rest).await;
        }
        self.pace.note(rows);
        Ok(())
    }

    async fn complete(&mut self, engine: &Engine) -> anyhow::Result<Step> {
        let ended = self.end(engine, "completed", None).await?;
        Ok(if ended { Step::Over } else { Step::Superseded })
    }

    async fn fail(&mut self, engine: &Engine, reason: &'static str) -> anyhow::Result<Step> {
        tracing::error!(import = %self.id, reason, "an import failed");
        self.end(engine, "failed", Some(reason)).await?;
        Ok(Step::Failed)
    }

    async fn end(
        &mut self,
        engine: &Engine,
        state: &str,
        reason: Option<&str>,
    ) -> anyhow::Result<bool> {
        let now = engine.batches.clock.now();
        let connection = engine.batches.database.get().await?;
        let ended = db::imports::end(&connection, self.id, state, reason, now).await;
        Ok(ended.map_err(db::Error::from)?)
    }

    /// Begins to read the next block. The reader and the source go along and come back with it.
    fn read_ahead(
        &mut self,
        engine: &Engine,
    ) -> anyhow::Result<tokio::task::JoinHandle<Result<Ahead, Lost>>> {
        let mut reader = self.reader.take().context("the next block is being read")?;
        let mut source = self.source.take().context("the next block is being read")?;
        let clock = engine.batches.clock.clone();
        let max = self.pace.block_rows();
        let rules = Rules { now: clock.now(), ..self.rules.clone() };
        let done = self.progress.position as u64;
        // Another shard for each block, by and by all of them.
        let shard = (self.progress.rows_read.unsigned_abs() / 97 % u64::from(SHARDS)) as u16;
        // A dry run that another node takes up begins anew: it needs its bytes once more.
        let keep = self.dry_run;
        Ok(tokio::spawn(async move {
            if !keep {
                source.forget_before(done).await?;
            }
            let mut rows = Vec::with_capacity(max);
            loop {
                let (clock, rules) = (clock.clone(), rules.clone());
                // Apart from the database's threads: judging a row is work.
                let reading = tokio::task::spawn_blocking(move || {
                    let mut ids = Ids::new(&*clock, shard);
                    let need = reader.fill(&mut rows, max, &rules, &mut ids);
                    (reader, rows, need)
                });
                let need;
                (reader, rows, need) =
                    reading.await.map_err(|error| std::io::Error::other(error.to_string()))?;
                match need {
                    Need::Input => reader.feed(source.next().await?),
                    Need::Nothing => return Ok(Ahead { reader, source, rows, over: false }),
                    Need::TheEnd => return Ok(Ahead { reader, source, rows, over: true }),
                }
            }
        }))
    }
}
