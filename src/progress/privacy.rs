//! `customer-service privacy …` as people see it.

use super::LINE_EVERY;
use crate::Failure;
use clap::Subcommand;
use customer_service::app::privacy::{Replayed, ledger, replay};
use customer_service::config::Config;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Of whom nothing is to be kept.
#[derive(Subcommand)]
pub enum PrivacyCommand {
    /// Write the ledger of who was erased to standard output, one JSON object a line
    Ledger,
    /// Erase again whom the ledger names, after a backup from before their erasure was restored. Killed
    /// and run again, it goes on where it was
    #[command(
        after_help = "Exit codes: 0 nothing is kept of anybody in the ledger, 1 failed (run it again to go on),\n\
        2 configuration or command line at fault. docs/erasure.md explains."
    )]
    Replay {
        /// A ledger that was kept apart, as `privacy ledger` wrote it; - is standard input. Without it
        /// the database's own
        file: Option<PathBuf>,
    },
}

/// Carries a command out.
pub fn run(config: &Config, command: PrivacyCommand) -> Result<ExitCode, Failure> {
    match command {
        PrivacyCommand::Ledger => {
            let written = ledger(config, &mut io::stdout().lock())?;
            eprintln!("{written} entries");
        }
        PrivacyCommand::Replay { file } => {
            let mut opened: Option<Box<dyn BufRead>> = match file {
                None => None,
                Some(path) if path.as_os_str() == "-" => Some(Box::new(io::stdin().lock())),
                Some(path) => {
                    let opened = File::open(&path);
                    let opened = opened.map_err(|error| {
                        Failure::Failed(anyhow::anyhow!("{}: {error}", path.display()))
                    })?;
                    Some(Box::new(BufReader::new(opened)))
                }
            };
            let mut last = Instant::now();
            let done =
                replay(config, opened.as_deref_mut().map(|it| it as &mut dyn BufRead), |so_far| {
                    if last.elapsed() >= LINE_EVERY {
                        last = Instant::now();
                        eprintln!("{}", words(so_far));
                    }
                })?;
            writeln!(io::stdout().lock(), "{}", words(&done)).map_err(anyhow::Error::from)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn words(replayed: &Replayed) -> String {
    let Replayed { entries, erased, already, unknown } = replayed;
    format!(
        "{entries} entries: {erased} erased again, {already} erased already, {unknown} not known here"
    )
}
