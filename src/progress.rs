//! Commands that take their time, as people see them: a bar with rate and time left on a terminal,
//! plain lines elsewhere, and an exit code that tells what came of it. Here `customer-service import`.

pub mod analytics;
pub mod audit;
pub mod privacy;
mod reconcile;

pub use reconcile::reconcile;
pub mod outbox;

use super::{Failure, ImportArguments};
use customer_service::actors::imports::settings::Unreadable;
use customer_service::app::imports::{FileWish, Watcher, import as carry_out};
use customer_service::config::Config;
use customer_service::db::imports::Progress;
use customer_service::domain::import::fields::Mapping;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The file or the way it is asked for is at fault, as a configuration may be.
const EXIT_NOT_READABLE: u8 = 2;
/// All rows were looked at, and some were refused.
const EXIT_ROWS_REFUSED: u8 = 3;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Imports a file and tells how it goes.
pub fn import(config: &Config, arguments: ImportArguments) -> Result<ExitCode, Failure> {
    let mut mapping = Mapping { ignore_unknown: arguments.ignore_unknown, ..Mapping::default() };
    for pair in &arguments.map {
        if let Err(wrong) = mapping.add(pair) {
            eprintln!("--map {pair}: {wrong}");
            return Ok(ExitCode::from(EXIT_NOT_READABLE));
        }
    }
    let wish = FileWish {
        file: arguments.file,
        format: arguments.format,
        mapping,
        delimiter: arguments.delimiter,
        hash_parameters: arguments.hash_parameters,
        dry_run: arguments.dry_run,
        errors: arguments.errors,
        rate: arguments.rate,
        again: arguments.again,
    };
    let mut shown = Shown::new();
    let done = carry_out(config, wish, &mut shown);
    shown.bar.finish_and_clear();
    let summary = match done {
        Ok(summary) => summary,
        Err(error) if error.is::<Unreadable>() => {
            eprintln!("customer-service: {error:#}");
            return Ok(ExitCode::from(EXIT_NOT_READABLE));
        }
        Err(error) => return Err(Failure::Failed(error)),
    };
    let Progress { rows_read, rows_imported, rows_failed, .. } = summary.progress;
    let what = match (summary.dry_run, summary.before) {
        (true, _) => "could be imported",
        (false, true) => "were imported by an earlier run (--again imports them once more)",
        (false, false) => "were imported",
    };
    println!("import  {}", summary.import);
    println!("rows    {rows_read}: {rows_imported} {what}, {rows_failed} were refused");
    Ok(if rows_failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_ROWS_REFUSED) })
}

/// What people see.
struct Shown {
    bar: ProgressBar,
    /// Without a terminal: when the last line was written.
    lines: Option<Instant>,
    /// Rows and bytes done before this run, and when it began.
    began: Option<(i64, u64, Instant)>,
}

impl Shown {
    fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let target = match terminal {
            true => ProgressDrawTarget::stderr_with_hz(5),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = "{spinner} {wide_bar} {percent:>3} %  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, lines: (!terminal).then(Instant::now), began: None }
    }
}

impl Watcher for Shown {
    fn told(&mut self, text: &str) {
        match self.lines {
            Some(_) => eprintln!("{text}"),
            None => self.bar.set_message(text.to_owned()),
        }
    }

    fn moved(&mut self, progress: Progress, bytes: u64) {
        let position = progress.position.unsigned_abs();
        let now = (progress.rows_read, position, Instant::now());
        let (before, passed, since) = *self.began.get_or_insert(now);
        let took = since.elapsed().as_secs_f64().max(0.001);
        let rate = (progress.rows_read - before) as f64 / took;
        let text = format!(
            "{} rows, {} refused, {rate:.0} rows/s",
            progress.rows_read, progress.rows_failed
        );
        match &mut self.lines {
            None => {
                self.bar.set_length(bytes);
                if before == progress.rows_read {
                    // what an earlier run did is not this one's pace
                    self.bar.reset_eta();
                }
                self.bar.set_position(position);
                self.bar.set_message(text);
            }
            Some(last) if progress.rows_read > before && last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let percent = position * 100 / bytes.max(1);
                let done = (position - passed.min(position)).max(1) as f64;
                let left = bytes.saturating_sub(position) as f64 * took / done;
                eprintln!("{percent} %  {text}, about {left:.0} s left");
            }
            Some(_) => {}
        }
    }
}
