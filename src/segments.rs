//! `customer-service segment check` as people see it.

use crate::Failure;
use chrono_tz::Tz;
use customer_service::app;
use customer_service::config::Config;
use customer_service::domain::segment::{Checked, Mistakes, shown};
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// Longer files are no definitions, whatever the shop allows: they are not read to their end.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads a definition and tells what it is, or what is wrong with it. Exit code 1 where something is.
pub fn check(config: &Config, file: &Path, zone: Option<Tz>) -> Result<ExitCode, Failure> {
    let text = read(file)?;
    let schema = app::segments::schema(config, &text, zone)?;
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
