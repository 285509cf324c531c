//! `customer-service import FILE` and `customer-service export customers`: the engines of the
//! service without the service.

use super::{database_runtime, settings};
use crate::actors::batch::{AfterCommit, Batches};
use crate::actors::consents::welcome_series;
use crate::actors::exports::{Export, Pages};
use crate::actors::imports::engine::{Engine, Step};
use crate::actors::imports::settings::{Format, HEADER_MAX, HashParameters, Settings, begin};
use crate::actors::imports::source::Source;
use crate::actors::imports::{Wish, kept, new_row};
use crate::actors::workers::clock_watch::shared_clock_of;
use crate::actors::workers::importer::beginning;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::imports::{Progress, Row};
use crate::db::{self, Database};
use crate::domain::ImportId;
use crate::domain::command::Actor;
use crate::domain::import::fields::Mapping;
use crate::http::imports::errors;
use anyhow::{Context, anyhow, bail, ensure};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

/// Pieces in which a file is hashed.
const PIECE: usize = 1 << 20;

/// How often the lock is tried for while another import runs.
const RETRY: Duration = Duration::from_millis(500);

/// A frozen process loses the lock after this long.
const IDLE_SECONDS: u64 = 8;

/// Errors that are read at once.
const ERRORS_PAGE: i64 = 5_000;

/// What is asked for at the command line.
pub struct FileWish {
    pub file: PathBuf,
    /// `None`: by the file's name.
    pub format: Option<Format>,
    pub mapping: Mapping,
    pub delimiter: char,
    pub hash_parameters: Option<String>,
    pub dry_run: bool,
    /// Where the errors are written to.
    pub errors: Option<PathBuf>,
    /// Rows a second; `None`: as configured.
    pub rate: Option<u32>,
    /// Also a file that was imported before.
    pub again: bool,
}

/// What came of it.
pub struct Summary {
    pub import: String,
    pub dry_run: bool,
    pub progress: Progress,
    /// It was completed by an earlier run of the command; this one did nothing.
    pub before: bool,
}

/// Who watches.
pub trait Watcher {
    /// Something to tell, such as what is waited for.
    fn told(&mut self, text: &str);
    /// How far the import is, of a file of so many bytes.
    fn moved(&mut self, progress: Progress, bytes: u64);
}

/// Imports a file, or goes on with it where an earlier run of this command was killed.
///
/// # Errors
/// What keeps it from being done; what is imported by then stays, and a second run goes on there.
pub fn import(
    config: &Config,
    wish: FileWish,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Summary> {
    let runtime = database_runtime()?;
    let done = runtime.block_on(carry_out(config, wish, watcher));
    runtime.shutdown_timeout(RETRY);
    done
}

async fn carry_out(
    config: &Config,
    wish: FileWish,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<Summary> {
    let path = wish.file.clone();
    let format = wish.format.or_else(|| by_name(&path));
    let format = format.context("the file's name tells no format: say --format csv or ndjson")?;
    let parameters = wish
        .hash_parameters
        .clone()
        .map(|text| HashParameters(format!("$firebase-scrypt${}", text.trim())));
    let mut told = Settings::new(wish.mapping.clone(), wish.delimiter, parameters);
    watcher.told("reading the file");
    let opened = || async { File::open(&path).await.with_context(|| path.display().to_string()) };
    let mut file = opened().await?;
    let (bytes, hash) = read_once(&mut file, format, &mut told).await?;
    let digest = digest(&hash, format, &told);
    let engine = engine(config, wish.rate).await?;
    let database = engine.batches.database.clone();
    let pending = db::migrations::pending(&settings::database(config)).await?;
    ensure!(pending.is_empty(), "the schema is not this version's: run `customer-service migrate`");
    // Held until the end: one import at a time, and nobody else goes on with this one.
    let turn = take_turn(&database, watcher).await?;
    let row = match known(&database, &digest, wish.dry_run).await? {
        Some(row) if row.finished_at.is_none() => {
            watcher.told(&format!("going on behind row {}", row.rows_read));
            row
        }
        Some(row) if row.state == "completed" && !wish.again && !wish.dry_run => {
            let (import, progress) = (row.id.to_string(), row.progress());
            write_errors(&database, ImportId(row.id), wish.errors.as_deref()).await?;
            return Ok(Summary { import, dry_run: row.dry_run, progress, before: true });
        }
        _ => {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let wish = Wish {
                format,
                settings: told.clone(),
                name: name.map(|name| name.chars().take(200).collect()),
                dry_run: wish.dry_run,
                actor: Actor::Operator,
            };
            begin_row(&database, &*engine.batches.clock, &wish, digest, bytes).await?
        }
    };
    let id = ImportId(row.id);
    let source = Source::file(opened().await?, row.position as u64).await?;
    let mut run = engine.open(&row, source)?;
    watcher.moved(run.progress(), bytes);
    // Once for the whole file: nobody would hear a signal between two of them.
    let mut told_to_end = pin!(told_to_end());
    loop {
        db::outbox::touch(&turn).await.map_err(|_| anyhow!("the lock of imports was lost"))?;
        let step = tokio::select! {
            biased;
            step = run.step(&engine) => step?,
            () = &mut told_to_end => bail!("told to end: a second run goes on with this import"),
        };
        match step {
            Step::Block(_) => watcher.moved(run.progress(), bytes),
            Step::Over => break,
            Step::Superseded => bail!("the import was cancelled, or carried on by somebody else"),
            Step::Failed => bail!("the import failed"),
        }
    }
    let progress = run.progress();
    write_errors(&database, id, wish.errors.as_deref()).await?;
    Ok(Summary { import: id.to_string(), dry_run: row.dry_run, progress, before: false })
}

/// SIGINT or SIGTERM. What was begun then is given up, and not committed.
pub(super) async fn told_to_end() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn by_name(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "csv" | "tsv" | "txt" => Some(Format::Csv),
        "ndjson" | "jsonl" | "json" => Some(Format::Ndjson),
        _ => None,
    }
}

/// Length and hash of a file, and what stands before its first row.
async fn read_once(
    file: &mut File,
    format: Format,
    told: &mut Settings,
) -> anyhow::Result<(u64, [u8; 32])> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut head = Vec::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece).await?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        bytes += read as u64;
        if head.len() <= HEADER_MAX {
            head.extend_from_slice(&piece[..read]);
        }
    }
    begin(format, told, &head, head.len() as u64 == bytes)?;
    Ok((bytes, hash.finalize().into()))
}

/// What a file and the way it is read are known by.
fn digest(content: &[u8; 32], format: Format, told: &Settings) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(content);
    hash.update(format.as_str());
    hash.update(kept(told).to_string());
    hash.finalize().into()
}

async fn engine(config: &Config, rate: Option<u32>) -> anyhow::Result<Engine> {
    let database = Database::new(settings::database(config), Handle::current());
    let clock: Arc<dyn Clock> = Arc::new(shared_clock_of(&database).await?);
    let batches = Batches {
        database,
        clock,
        keep_keys: config.idempotency.keep_hours.delta(),
        welcome: welcome_series(config),
        defaults: settings::default_segments(config),
        standards: Default::default(),
        seals: settings::seals(config),
        // The relays of the nodes find new messages when they next look.
        after: AfterCommit::default(),
    };
    let mut engine = Engine::new(config, Arc::new(batches));
    engine.limits.rows_per_second = rate.or(engine.limits.rows_per_second);
    Ok(engine)
}

async fn take_turn(
    database: &Database,
    watcher: &mut dyn Watcher,
) -> anyhow::Result<db::Connection> {
    let mut session = database.dedicated("customer-service-import").await?;
    db::outbox::guard_session(&mut session, IDLE_SECONDS).await?;
    let mut told = false;
    while !db::imports::try_lock(&session).await? {
        if !std::mem::replace(&mut told, true) {
            watcher.told("waiting: another import is running");
        }
        tokio::time::sleep(RETRY).await;
    }
    Ok(session)
}

/// The newest import of this file. A dry run that was broken off begins anew.
async fn known(
    database: &Database,
    digest: &[u8; 32],
    dry_run: bool,
) -> anyhow::Result<Option<Row>> {
    let connection = database.get().await?;
    let row = db::imports::by_digest(&connection, digest, dry_run).await?;
    let Some(row) = row else { return Ok(None) };
    if row.dry_run && row.finished_at.is_none() {
        db::imports::restart(&connection, ImportId(row.id), beginning(&row)?).await?;
    }
    Ok(db::imports::find(&connection, ImportId(row.id)).await?)
}

async fn begin_row(
    database: &Database,
    clock: &dyn Clock,
    wish: &Wish,
    digest: [u8; 32],
    bytes: u64,
) -> anyhow::Result<Row> {
    let (offset, line) = wish.settings.start;
    let now = clock.now();
    let mut row = new_row(ImportId(clock.new_id()), wish, "file", now);
    row.state = "running".to_owned();
    row.digest = Some(digest.to_vec());
    row.bytes = i64::try_from(bytes)?;
    (row.position, row.line) = (i64::try_from(offset)?, i64::try_from(line)?);
    row.started_at = Some(now);
    let connection = database.get().await?;
    db::imports::insert(&connection, &row).await?;
    Ok(row)
}

/// Writes the errors of an import to a file, if one is asked for.
async fn write_errors(
    database: &Database,
    import: ImportId,
    path: Option<&Path>,
) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let format = by_name(path).unwrap_or(Format::Csv);
    let mut out = std::io::BufWriter::new(
        std::fs::File::create(path).with_context(|| path.display().to_string())?,
    );
    let connection = database.get().await?;
    let mut after = (0, -1);
    loop {
        let page = db::imports::errors(&connection, import, after, ERRORS_PAGE).await?;
        out.write_all(&errors::text(format, after == (0, -1), &page))?;
        match page.last() {
            Some(last) if page.len() as i64 == ERRORS_PAGE => after = (last.line, last.number),
            _ => break,
        }
    }
    Ok(out.flush()?)
}

/// Writes all customers to `out`.
///
/// # Errors
/// Those of the database and of writing.
pub fn export(config: &Config, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    let runtime = database_runtime()?;
    let settings = settings::database(config);
    runtime.block_on(async {
        let mut export = Export::new(Database::new(settings, Handle::current()), format);
        while let Some(page) = export.next().await? {
            out.write_all(&page)?;
        }
        Ok(out.flush()?)
    })
}
