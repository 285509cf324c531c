//! `customer-service reconcile`: each difference on a line of standard output, the progress beside it,
//! and one last line for each run.

use super::LINE_EVERY;
use crate::{Failure, ReconcileArguments};
use customer_service::actors::reconciliation::Seen;
use customer_service::app::reconcile::{Summary, Watcher, Wish, reconcile as carry_out};
use customer_service::config::Config;
use customer_service::db::reconciliation::Source;
use customer_service::domain::CustomerId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Instant;

/// Some of what differed still does.
const EXIT_LEFT: u8 = 3;

/// Reconciles and tells how it goes.
pub fn reconcile(config: &Config, arguments: ReconcileArguments) -> Result<ExitCode, Failure> {
    let wish = Wish {
        customer: arguments.customer.map(CustomerId),
        dry_run: arguments.dry_run,
        orders: arguments.orders,
    };
    let mut shown = Shown::new(arguments.dry_run);
    let done = carry_out(config, wish, &mut shown);
    shown.bar.finish_and_clear();
    let summaries = done.map_err(Failure::Failed)?;
    Ok(if summaries.iter().any(|one| one.unreachable.is_some()) {
        ExitCode::FAILURE
    } else if summaries.iter().any(|one| one.left > 0 || one.refused > 0) {
        ExitCode::from(EXIT_LEFT)
    } else {
        ExitCode::SUCCESS
    })
}

/// What people see.
struct Shown {
    bar: ProgressBar,
    dry_run: bool,
    /// Without a terminal: when the last line was written.
    lines: Option<Instant>,
}

impl Shown {
    fn new(dry_run: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let target = match terminal {
            true => ProgressDrawTarget::stderr_with_hz(5),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = "{spinner} {wide_bar} {pos} of about {len} customers  {msg}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self { bar, dry_run, lines: (!terminal).then(Instant::now) }
    }
}

impl Watcher for Shown {
    fn told(&mut self, text: &str) {
        match self.lines {
            Some(_) => eprintln!("{text}"),
            None => self.bar.set_message(text.to_owned()),
        }
    }

    fn began(&mut self, _source: Source, about: Option<u64>) {
        self.bar.reset();
        if let Some(about) = about {
            self.bar.set_length(about);
        }
    }

    fn moved(&mut self, so_far: &Summary) {
        let customers = so_far.customers as u64;
        let text = format!("{} differences", so_far.differences);
        match &mut self.lines {
            None => {
                // What was known before may be less than there is.
                if self.bar.length().is_some_and(|about| about < customers) {
                    self.bar.set_length(customers);
                }
                self.bar.set_position(customers);
                self.bar.set_message(text);
            }
            Some(last) if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                eprintln!("{customers} customers, {text}");
            }
            Some(_) => {}
        }
    }

    fn differs(&mut self, seen: &Seen) {
        let Seen { customer, subject, difference, repaired } = seen;
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let (kept, found) = (value(&difference.kept), value(&difference.found));
        let end = match (repaired, self.dry_run) {
            (true, _) => "  repaired",
            (false, true) => "",
            (false, false) => "  NOT REPAIRED",
        };
        let field = difference.field;
        self.bar.suspend(|| {
            println!("{customer}  {subject}  {field}  {kept} should be {found}{end}");
        });
    }

    fn over(&mut self, source: Source, summary: &Summary) {
        let Summary { customers, differences, left, refused, unreachable } = summary;
        let repaired = differences - left;
        self.bar.suspend(|| {
            let source = source.as_str();
            print!("{source}  {customers} customers, {differences} differences");
            print!(", {repaired} repaired, {left} left");
            if *refused > 0 {
                print!(", {refused} facts that cannot be used");
            }
            match unreachable {
                Some(why) => println!(", not brought to its end: {why}"),
                None => println!(),
            }
        });
    }
}
