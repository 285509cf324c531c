//! Carries out uploaded imports: one at a time in the whole deployment, on whichever node holds the
//! lock. The lock only saves work; that no row is imported twice follows from the transaction of
//! each block, which begins where the last one that was committed ended, or not at all.

use crate::actors::imports::engine::{Engine, Run, Step};
use crate::actors::imports::settings::Settings;
use crate::actors::imports::source::Source;
use crate::actors::worker::{Done, Worker};
use crate::actors::workers::space_watch::Space;
use crate::db::{self, Database};
use crate::domain::ImportId;
use crate::faults;
use std::time::Duration;
use tokio::time::Instant;

/// How often a node looks for imports that others have taken in, or have left behind.
const PERIOD: Duration = Duration::from_secs(2);

/// After so long a run lets others know that it lives; it goes on at once.
const SLICE: Duration = Duration::from_secs(3);

/// A frozen owner loses its lock after this long.
const IDLE_SECONDS: u64 = 8;

/// The worker; see the module.
pub struct Importer {
    engine: Engine,
    space: Space,
    /// The session that holds the lock.
    turn: Option<db::Connection>,
    run: Option<Run>,
}

impl Importer {
    /// An importer that rests while `space` is tight.
    pub fn new(engine: Engine, space: Space) -> Self {
        Self { engine, space, turn: None, run: None }
    }

    fn database(&self) -> &Database {
        &self.engine.batches.database
    }

    /// Goes on with the import at hand, or with the oldest one that waits.
    async fn work(&mut self) -> anyhow::Result<Done> {
        if self.space.is_tight() {
            if self.turn.is_some() {
                self.keep_turn().await?;
            }
            return Ok(Done::default());
        }
        let Some(mut run) = self.take_up().await? else { return Ok(Done::default()) };
        let until = Instant::now() + SLICE;
        let mut handled = 0;
        loop {
            self.keep_turn().await?;
            let step = run.step(&self.engine).await?;
            faults::at("importer.step_done");
            match step {
                Step::Block(rows) => handled += rows,
                Step::Over | Step::Superseded | Step::Failed => {
                    let import = run.id;
                    let progress = run.progress();
                    drop(run);
                    self.clear(import).await?;
                    faults::at("importer.cleared");
                    tracing::info!(
                        %import,
                        rows = progress.rows_read,
                        failed = progress.rows_failed,
                        "an import is over"
                    );
                    return Ok(Done { handled, more: true });
                }
            }
            if Instant::now() >= until {
                self.run = Some(run);
                return Ok(Done { handled, more: true });
            }
        }
    }

    async fn take_up(&mut self) -> anyhow::Result<Option<Run>> {
        if let Some(run) = self.run.take() {
            return Ok(Some(run));
        }
        let waiting = self.next().await?;
        let Some(waiting) = waiting else {
            // Nothing waits: whoever is next may have the lock.
            self.turn = None;
            return Ok(None);
        };
        if self.turn.is_none() && !self.take_turn().await? {
            return Ok(None);
        }
        // Under the lock: the one before us may have gone on meanwhile.
        let Some(row) = self.next().await? else { return Ok(None) };
        let id = ImportId(row.id);
        let now = self.engine.batches.clock.now();
        {
            let connection = self.database().get().await?;
            db::imports::start(&connection, id, now).await.map_err(db::Error::from)?;
            if row.dry_run && row.rows_read > 0 {
                db::imports::restart(&connection, id, beginning(&row)?)
                    .await
                    .map_err(db::Error::from)?;
            }
        }
        let row = self.next().await?.filter(|row| row.id == id.0).unwrap_or(waiting);
        tracing::info!(import = %id, rows_done = row.rows_read, "an import is taken up");
        let (at, bytes) = (row.position as u64, row.bytes as u64);
        let source = Source::chunks(self.database().clone(), id, at, bytes);
        Ok(Some(self.engine.open(&row, source)?))
    }

    async fn next(&self) -> Result<Option<db::imports::Row>, db::Error> {
        let connection = self.database().get().await?;
        Ok(db::imports::next(&connection).await?)
    }

    async fn take_turn(&mut self) -> Result<bool, db::Error> {
        let mut session = self.database().dedicated("customer-service-importer").await?;
        db::outbox::guard_session(&mut session, IDLE_SECONDS).await?;
        if db::imports::try_lock(&session).await? {
            self.turn = Some(session);
            faults::at("importer.took_turn");
            return Ok(true);
        }
        Ok(false)
    }

    /// A sign of life. Without the lock somebody else may be at it: then we stop.
    async fn keep_turn(&mut self) -> anyhow::Result<()> {
        let alive = match &self.turn {
            Some(session) => db::outbox::touch(session).await.is_ok(),
            None => false,
        };
        if !alive {
            self.turn = None;
            anyhow::bail!("the lock of imports was lost");
        }
        Ok(())
    }

    /// Deletes what is left of an upload that is over.
    async fn clear(&mut self, id: ImportId) -> anyhow::Result<()> {
        let row = {
            let connection = self.database().get().await?;
            db::imports::find(&connection, id).await.map_err(db::Error::from)?
        };
        // Gone on with by somebody else: the bytes are still needed.
        if let Some(row) = row.filter(|row| row.finished_at.is_some()) {
            let bytes = row.bytes as u64;
            let mut source = Source::chunks(self.database().clone(), id, bytes, bytes);
            source.forget().await?;
        }
        Ok(())
    }
}

/// How far an import is of which nothing was read.
pub fn beginning(row: &db::imports::Row) -> anyhow::Result<db::imports::Progress> {
    let settings: Settings = serde_json::from_value(row.settings.clone())?;
    let (offset, line) = settings.start;
    Ok(db::imports::Progress {
        position: offset as i64,
        line: line as i64,
        rows_read: 0,
        rows_imported: 0,
        rows_failed: 0,
        rows_per_minute: row.rows_per_minute,
    })
}

impl Worker for Importer {
    fn name(&self) -> &'static str {
        "importer"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        // On the heap: with all that a block may lead to it is large.
        let done = Box::pin(self.work()).await;
        if done.is_err() {
            // What is known of the import may be wrong by now: it is asked anew.
            self.run = None;
        }
        done
    }

    async fn on_stop(&mut self) -> anyhow::Result<()> {
        self.run = None;
        self.turn = None;
        Ok(())
    }
}
