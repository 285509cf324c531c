//! `customer-service segment …` as people see it.

use crate::Failure;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use clap::Subcommand;
use customer_service::actors::segments::Why;
use customer_service::actors::segments::preview::{Moves, Preview};
use customer_service::app;
use customer_service::app::segments::{Trial, asks_database};
use customer_service::config::Config;
use customer_service::domain::CustomerId;
use customer_service::domain::segment::{Checked, Explained, Mistakes, shown};
use customer_service::telemetry::{self, LogTarget};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use uuid::Uuid;

/// Longer files are no definitions, whatever the shop allows: they are not read to their end.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Subcommand)]
pub enum SegmentCommand {
    /// Read a definition: show its canonical form and what it costs, or every mistake where it is
    #[command(
        after_help = "Exit codes: 0 in order, 1 mistakes, 2 configuration or command line at fault.\n\
        The database is asked only for custom attributes: without them no database.url is needed.\n\
        The language is in docs/segments.md."
    )]
    Check {
        /// The definition, in UTF-8; - reads standard input
        file: PathBuf,
        /// Whose days are meant, as an IANA time zone; otherwise analytics.time_zone
        #[arg(long, value_name = "ZONE")]
        time_zone: Option<chrono_tz::Tz>,
    },
    /// Tell what a definition would come to before it is saved: how many customers, some of them, and
    /// who would join and leave a segment that it would redefine
    #[command(
        after_help = "Exit codes: 0 told, 1 mistakes or failed, 2 configuration or command line at fault.\n\
        Changes nothing. Customers are named by their ids."
    )]
    Preview {
        /// The definition, in UTF-8; - reads standard input
        file: PathBuf,
        /// Whose days are meant, as an IANA time zone; otherwise those of the segment, or
        /// analytics.time_zone
        #[arg(long, value_name = "ZONE")]
        time_zone: Option<chrono_tz::Tz>,
        /// The code or id of a segment that it would redefine
        #[arg(long, value_name = "SEGMENT")]
        segment: Option<String>,
        /// How many customers are named, of each kind
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=1000))]
        sample: u16,
        /// Tell what was reached after so many seconds
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=3600))]
        seconds: u16,
    },
    /// Tell why a customer belongs to a segment, or why not: clause by clause, with what the customer has
    #[command(
        after_help = "Exit codes: 0 told, 1 no such segment or customer, or failed, 2 configuration or \
        command line at fault.\nShows personal data."
    )]
    Explain {
        /// The code or id of the segment
        segment: String,
        /// The customer's id
        customer: Uuid,
    },
}

/// Carries a command out.
pub fn run(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
    command: SegmentCommand,
) -> Result<ExitCode, Failure> {
    let load = || {
        let config = Config::load(path, environment).map_err(Failure::NotConfigured)?;
        telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
        Ok::<_, Failure>(config)
    };
    match command {
        SegmentCommand::Check { file, time_zone } => check(path, environment, &file, time_zone),
        SegmentCommand::Preview { file, time_zone, segment, sample, seconds } => {
            let asked = Asked { file, zone: time_zone, segment, sample, seconds };
            preview(&load()?, &asked)
        }
        SegmentCommand::Explain { segment, customer } => explain(&load()?, &segment, customer),
    }
}

/// What a service must be told and a definition need not know.
const SECRETS: [&str; 2] = ["database.url", "secrets.root_key"];

/// Reads a definition and tells what it is, or what is wrong with it. Exit code 1 where something is.
fn check(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
    file: &Path,
    zone: Option<Tz>,
) -> Result<ExitCode, Failure> {
    let text = read(file)?;
    let [_, root_key] = SECRETS;
    let spared = if asks_database(&text) { &[root_key][..] } else { &SECRETS[..] };
    let config = Config::load_without(spared, path, environment).map_err(Failure::NotConfigured)?;
    telemetry::start_logs(&config.telemetry, LogTarget::Stderr)?;
    let schema = app::segments::schema(&config, &text, zone)?;
    match Checked::parse(&text, &schema) {
        Ok(checked) => {
            tell(&mut io::stdout().lock(), &text, &checked, schema.cost_max)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            complain(&mut io::stderr().lock(), &text, &mistakes)?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    } else {
        let opened = std::fs::File::open(file)
            .map_err(|error| anyhow::anyhow!("cannot read {}: {error}", file.display()))?;
        opened.take(FILE_BYTES_MAX).read_to_string(&mut text)?;
    }
    // Editors end a file with a line break; it is no part of the last line.
    Ok(text.trim_end().to_owned())
}

fn tell(out: &mut impl Write, text: &str, checked: &Checked, most: u32) -> io::Result<()> {
    writeln!(out, "{}", checked.canonical())?;
    writeln!(out)?;
    writeln!(out, "cost       {} of {most}", checked.cost())?;
    writeln!(out, "time zone  {}", checked.time_zone())?;
    let reads: Vec<_> = checked.reads().iter().map(String::as_str).collect();
    writeln!(out, "reads      {}", reads.join(", "))?;
    for warning in checked.warnings() {
        write!(out, "\nwarning: {}", shown(text, warning.span, &warning.detail))?;
    }
    Ok(())
}

fn complain(out: &mut impl Write, text: &str, mistakes: &Mistakes) -> io::Result<()> {
    for mistake in &mistakes.list {
        writeln!(out, "{}", shown(text, mistake.span, mistake))?;
    }
    let count = mistakes.list.len() + mistakes.more;
    let more = match mistakes.more {
        0 => String::new(),
        more => format!(", {more} of them not shown"),
    };
    writeln!(out, "{count} mistake{}{more}", if count == 1 { "" } else { "s" })
}

/// What `preview` was called with.
struct Asked {
    file: PathBuf,
    zone: Option<Tz>,
    segment: Option<String>,
    sample: u16,
    seconds: u16,
}

/// Tells what a definition would come to, or what is wrong with it.
fn preview(config: &Config, asked: &Asked) -> Result<ExitCode, Failure> {
    let text = read(&asked.file)?;
    let trial = Trial {
        text: &text,
        zone: asked.zone,
        segment: asked.segment.as_deref(),
        sample: asked.sample.into(),
        limit: Duration::from_secs(asked.seconds.into()),
    };
    match app::segments::preview(config, &trial)? {
        Ok((checked, preview)) => {
            let out = &mut io::stdout().lock();
            tell(out, &text, &checked, config.segments.cost_max)?;
            writeln!(out)?;
            foretell(out, &preview)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            complain(&mut io::stderr().lock(), &text, &mistakes)?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn foretell(out: &mut impl Write, preview: &Preview) -> io::Result<()> {
    let Preview { customers, looked_at, total, .. } = preview;
    if preview.complete {
        writeln!(out, "customers  {customers} of {total}")?;
    } else {
        writeln!(
            out,
            "customers  at least {customers}: time was up after {looked_at} of about {total}"
        )?;
    }
    name(out, &preview.sample)?;
    let Some(change) = &preview.change else { return Ok(()) };
    writeln!(out, "members    {} now", change.members)?;
    for (word, moves) in [("joins", &change.joins), ("leaves", &change.leaves)] {
        let Moves { customers, sample, clauses } = moves;
        writeln!(out, "{word:<10} {customers}")?;
        for (clause, customers) in clauses {
            writeln!(out, "           {customers} by {clause}")?;
        }
        name(out, sample)?;
    }
    Ok(())
}

fn name(out: &mut impl Write, sample: &[Uuid]) -> io::Result<()> {
    sample.iter().try_for_each(|id| writeln!(out, "           {id}"))
}

/// Tells why a customer belongs to a segment, or why not.
fn explain(config: &Config, segment: &str, customer: Uuid) -> Result<ExitCode, Failure> {
    let Some(why) = app::segments::why(config, segment, CustomerId(customer))? else {
        writeln!(io::stderr(), "there is no such segment, or no such customer")?;
        return Ok(ExitCode::FAILURE);
    };
    justify(&mut io::stdout().lock(), &why)?;
    Ok(ExitCode::SUCCESS)
}

fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn justify(out: &mut impl Write, why: &Why) -> io::Result<()> {
    let state = why.segment.force.as_str();
    writeln!(out, "segment    {}, {state}", why.segment.code.as_str())?;
    match why.held {
        Some(held) => {
            writeln!(out, "member     since {}, by {}", instant(held.since), held.cause.as_str())?;
        }
        None => writeln!(out, "member     no")?,
    }
    let Some(told) = &why.explanation else { return Ok(()) };
    let since = told
        .since
        .map_or(String::new(), |since| format!(" since {} at the latest", instant(since)));
    writeln!(out, "condition  {}{since}", if told.member { "holds" } else { "does not hold" })?;
    let next = told.next_flip.map_or("never by time alone".to_owned(), instant);
    writeln!(out, "next flip  {next}")?;
    if let Some(missing) = &told.missing {
        writeln!(out, "missing    {missing}")?;
    }
    writeln!(out)?;
    branch(out, &told.tree, 0)
}

/// A part, with those below it: `+` holds, `-` does not, `*` decides.
fn branch(out: &mut impl Write, part: &Explained, depth: usize) -> io::Result<()> {
    let sign = if part.holds { '+' } else { '-' };
    let mark = if part.decides && part.members.is_empty() { '*' } else { ' ' };
    let has = match &part.value {
        Some(value) => format!("   has {value}"),
        None if part.absent => "   has none".to_owned(),
        None => String::new(),
    };
    writeln!(out, "{}{sign}{mark} {}{has}", "  ".repeat(depth), part.text)?;
    part.members.iter().try_for_each(|member| branch(out, member, depth + 1))
}
