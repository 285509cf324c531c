//! `customer-service outbox …` as people see it.

use crate::{Failure, OutboxCommand, time};
use chrono::{DateTime, Utc};
use customer_service::actors::dead_letters::{CustomerReplay, Told};
use customer_service::app::outbox::{Outbox, Status};
use customer_service::config::Config;
use customer_service::db::dead_letters::{DeadLetter, Filter};
use customer_service::db::outbox_parked::State;
use customer_service::domain::CustomerId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal};
use std::process::ExitCode;

/// Carries a command out. Exit code 1 where not everything could be published.
pub fn run(config: &Config, command: OutboxCommand) -> Result<ExitCode, Failure> {
    let outbox = Outbox::open(config)?;
    match command {
        OutboxCommand::Status => tell_status(&outbox.status()?),
        OutboxCommand::Parked { state, kind, customer, limit } => {
            for row in outbox.parked(Filter { state, kind, customer }, limit)? {
                tell_line(&row);
            }
        }
        OutboxCommand::Show { message } => {
            let (row, data) = outbox.show(message)?;
            tell_whole(&row);
            println!("data      {data:#}");
        }
        OutboxCommand::Replay { message: Some(message), .. } => {
            tell_line(&outbox.replay(message)?);
        }
        OutboxCommand::Replay { message: None, kind, customer, .. } => {
            return replay_many(&outbox, &Filter { state: None, kind, customer });
        }
        OutboxCommand::Discard { message, reason } => {
            tell_line(&outbox.discard(message, &reason)?);
        }
        OutboxCommand::ReplayCustomer { customer, from, to, queue } => {
            let wish = CustomerReplay {
                customer: CustomerId(customer),
                from_sequence: from,
                to_sequence: to,
                queue,
            };
            return Ok(tell_told(&outbox.replay_customer(wish)?));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn tell_status(status: &Status) {
    for group in &status.groups {
        let owner = group.owner.as_deref().unwrap_or("nobody");
        let idle = match group.idle_seconds {
            Some(seconds) => format!("{seconds:.0} s ago"),
            None => "never".to_owned(),
        };
        println!(
            "group {}  epoch {}  cursor written {idle}  taken over last by {owner}",
            group.group, group.epoch
        );
    }
    for (state, count) in &status.kept {
        println!("{:<9} {count}", state.as_str());
    }
}

fn tell_line(row: &DeadLetter) {
    println!(
        "{}  {:<9}  {:<13}  tries {}  {}  customer {} message {}",
        row.id, row.state, row.reason, row.tries, row.kind, row.customer_id, row.customer_sequence
    );
}

fn tell_whole(row: &DeadLetter) {
    let instant = |at: Option<DateTime<Utc>>| at.map_or_else(|| "-".to_owned(), time);
    println!("id        {}", row.id);
    println!("type      {}", row.kind);
    println!("customer  {}, its message {}", row.customer_id, row.customer_sequence);
    println!("occurred  {}", time(row.occurred_at));
    println!("state     {}", row.state);
    println!("reason    {}, {} tries", row.reason, row.tries);
    println!("detail    {}", row.detail.as_deref().unwrap_or("-"));
    println!("parked    {}", time(row.parked_at));
    println!("discarded {}", row.discard_reason.as_deref().unwrap_or("-"));
    println!("settled   {}", instant(row.settled_at));
}

/// A bar on a terminal, and a summary everywhere.
fn replay_many(outbox: &Outbox, filter: &Filter) -> Result<ExitCode, Failure> {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr_with_hz(5),
        false => ProgressDrawTarget::hidden(),
    };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_bar} {pos}/{len}  {msg}") {
        bar.set_style(style);
    }
    let (replay, progress) = outbox.replay_many(filter, |replay, progress| {
        bar.set_length(replay.released.unsigned_abs());
        bar.set_position(u64::from(progress.published.unsigned_abs()));
        bar.set_message(format!("{} parked again", progress.parked));
    })?;
    bar.finish_and_clear();
    println!("replay    {}", replay.id);
    println!(
        "messages  {}: {} published, {} parked again, {} on their way",
        replay.released, progress.published, progress.parked, progress.released
    );
    if replay.more {
        println!("more are parked that fit: run it again");
    }
    let done = progress.parked == 0 && progress.released == 0 && !replay.more;
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell_told(told: &Told) -> ExitCode {
    let range = match (told.first_sequence, told.last_sequence) {
        (Some(first), Some(last)) => format!(", from {first} to {last}"),
        _ => String::new(),
    };
    println!("published {}{range}", told.published);
    for (first, last) in &told.missing {
        println!("missing   {first} to {last}: no longer kept");
    }
    for sequence in &told.withheld {
        println!("withheld  {sequence}: parked, behind a parked one, or discarded");
    }
    if let Some(fault) = &told.fault {
        eprintln!("customer-service: it ended early: {fault}");
        return ExitCode::FAILURE;
    }
    if told.more {
        println!("there is more: run it again with --from after the last one");
    }
    ExitCode::SUCCESS
}

/// A state by its word.
pub fn state(word: &str) -> Result<State, String> {
    let words = || State::ALL.map(State::as_str).join(", ");
    State::parse(word).ok_or_else(|| format!("one of {}", words()))
}
