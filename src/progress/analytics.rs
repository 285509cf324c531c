//! `customer-service analytics refit` and `… rfm` as people see them.

use crate::{AnalyticsCommand, Failure};
use customer_service::actors::analytics::{Outcome, Watcher};
use customer_service::app::analytics;
use customer_service::config::Config;
use customer_service::db::predictions::{KeptCutPoints, KeptModel};
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Carries it out and tells how it goes. Exit code 1 where there was nothing to compute from.
pub fn run(config: &Config, command: AnalyticsCommand) -> Result<ExitCode, Failure> {
    let mut shown = Shown::new();
    let nothing = match command {
        AnalyticsCommand::Rfm => match analytics::rfm(config, &mut shown)? {
            Outcome::Done(kept) => tell_cut_points(&shown, &kept),
            Outcome::Nothing(why) => Some(why),
        },
        AnalyticsCommand::Refit => match analytics::refit(config, &mut shown)? {
            Outcome::Done(model) => tell_model(&shown, &model),
            Outcome::Nothing(why) => Some(why),
        },
    };
    shown.bar.finish_and_clear();
    let Some(why) = nothing else { return Ok(ExitCode::SUCCESS) };
    eprintln!("customer-service: nothing was computed: {why}");
    Ok(ExitCode::FAILURE)
}

fn tell_cut_points(shown: &Shown, kept: &KeptCutPoints) -> Option<&'static str> {
    shown.bar.finish_and_clear();
    println!("version    {} of {} customers", kept.version, kept.customers);
    println!("recency    {:?} days since the last order", kept.cuts.recency_days);
    println!("frequency  {:?} orders", kept.cuts.orders);
    println!("monetary   {:?} in minor units", kept.cuts.spent);
    None
}

fn tell_model(shown: &Shown, model: &KeptModel) -> Option<&'static str> {
    shown.bar.finish_and_clear();
    let purchases = model.models.purchases;
    println!(
        "version    {} of {} customers, {} of whom bought again; {:.1} s",
        model.version, model.customers, model.repeaters, model.seconds
    );
    println!(
        "purchases  r {:.4}  alpha {:.4} weeks  a {:.4}  b {:.4}  log-likelihood {:.1}",
        purchases.r, purchases.alpha, purchases.a, purchases.b, model.log_likelihood
    );
    match (model.models.value, &model.value) {
        (Some(value), Ok(fit)) => println!(
            "value      p {:.4}  q {:.4}  gamma {:.2}  correlation {:.2}",
            value.p, value.q, value.gamma, fit.correlation
        ),
        (_, Err(why)) => println!("value      not modelled: {why}"),
        (None, Ok(_)) => {}
    }
    println!(
        "expected   {:.1} days with purchases within {} months",
        model.total.purchases, model.outlook.months
    );
    None
}

/// A spinner on a terminal, plain lines elsewhere.
struct Shown {
    bar: ProgressBar,
    /// Without a terminal: when the last line was written.
    lines: Option<Instant>,
}

impl Shown {
    fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let target = match terminal {
            true => ProgressDrawTarget::stderr_with_hz(5),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.enable_steady_tick(TICK);
        Self { bar, lines: (!terminal).then(Instant::now) }
    }
}

impl Watcher for Shown {
    fn moved(&mut self, stage: &str, customers: i64, evaluations: i64) {
        let text = match evaluations {
            0 => format!("{stage}: {customers} customers"),
            _ => format!("{stage}: {customers} customers, {evaluations} evaluations"),
        };
        match &mut self.lines {
            None => self.bar.set_message(text),
            Some(last) if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                eprintln!("{text}");
            }
            Some(_) => {}
        }
    }
}
