//! The intake of order facts: reads the order service's queue and records each fact through the one
//! door for changes (rules O1, O3). Many are under way at once, those of one customer one after the
//! other; a message is acknowledged when what it says is committed, and not before.
//!
//! Whatever keeps a fact from coming to an end is one of two things. The world is at fault (the
//! database is away): then the intake stops, says why, keeps what it has read and charges nothing
//! to anybody. Or the message is: it kills the process, panics, or fails alone while others are
//! recorded. So what came to no end is a suspect: it is tried alone, with nothing else under way,
//! and each such try is written down before it begins. After [`TRIES_MAX`] it is given up. What
//! merely shared a process with a killer is redelivered too, but was not being tried, and is charged
//! nothing.

mod desk;
mod lanes;
mod parked;
mod room;
mod trial;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use metrics::{counter, gauge};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::actors::worker::{Done, Worker};
use crate::brokers::rabbit::{Feed, Letter, PublishFault, Source};
use crate::db;
use crate::domain::CustomerId;
use crate::faults;

pub use desk::{Desk, routing_keys};
use lanes::Lanes;
pub use parked::ParkedOrders;
use trial::{End, Ending, Held, handle, suspected};

/// Tries of one message that may come to no end.
pub const TRIES_MAX: i32 = 5;

/// A run hands back after this long, so that a stop or a pause is heard.
const RUN_TIME_MAX: Duration = Duration::from_secs(1);

/// How long what is under way may take to end once the intake has to stop or is told to.
const LANDING_TIME_MAX: Duration = Duration::from_secs(10);

/// How often everything is declared again while it is read: an exchange or a binding that somebody
/// deleted beside the living queue is missed by nobody else.
const DECLARE_PERIOD: Duration = Duration::from_secs(30);

/// Rests between the tries of one suspect: none, then the first, doubling up to the second.
const SUSPECT_REST_FIRST: Duration = Duration::from_secs(1);
const SUSPECT_REST_MAX: Duration = Duration::from_secs(60);

/// The worker; see the module. Not to be started without a broker.
pub struct OrderIntake {
    source: Source,
    desk: Arc<Desk>,
    in_flight_max: usize,
    feed: Option<Feed>,
    declare_at: Instant,
    lanes: Lanes<Lane, Arc<Held>>,
    suspects: Vec<Suspect>,
    flights: FuturesUnordered<BoxFuture<'static, Landing>>,
    /// A suspect is under way, and nothing else may be.
    alone: bool,
    /// Everything that was read and not acknowledged, by its number: since when.
    held: BTreeMap<u64, Instant>,
    read: u64,
    /// Facts committed: what tells a suspect that the world is well.
    recorded: u64,
}

/// What goes one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Lane {
    Customer(CustomerId),
    /// What is no fact.
    Refused,
}

/// A message that was perhaps the reason for a try without an end.
struct Suspect {
    held: Arc<Held>,
    due: Instant,
    misses: u32,
    /// The try that is written down has not ended; how many facts were recorded when it failed. It
    /// is charged with another one only when more are.
    open: Option<u64>,
}

/// What is under way.
enum Flight {
    Usual(Lane),
    Suspect(Suspect),
}

/// What became of it; `None`: it panicked.
struct Landing {
    held: Arc<Held>,
    flight: Flight,
    ending: Option<Ending>,
}

/// Why the intake stops for now.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("waits for the database: {0}")]
    Database(db::Error),
    #[error("{0}")]
    Broker(#[from] PublishFault),
}

impl OrderIntake {
    /// An intake that has read nothing yet.
    pub fn new(source: Source, desk: Arc<Desk>, in_flight_max: usize) -> Self {
        Self {
            source,
            desk,
            in_flight_max,
            feed: None,
            declare_at: Instant::now(),
            lanes: Lanes::new(),
            suspects: Vec::new(),
            flights: FuturesUnordered::new(),
            alone: false,
            held: BTreeMap::new(),
            read: 0,
            recorded: 0,
        }
    }

    async fn run(&mut self) -> Result<Done, Trouble> {
        if let Err(fault) = self.attend().await {
            return Err(self.come_to_rest(fault.into()).await);
        }
        let until = Instant::now() + RUN_TIME_MAX;
        let mut handled = 0;
        loop {
            self.launch();
            let look_again = self.next_due().min(until);
            let Some(feed) = &mut self.feed else { break };
            let step = tokio::select! {
                Some(landing) = self.flights.next() => self.land(landing).map(|()| handled += 1),
                letter = feed.next() => match letter {
                    Ok(letter) => { self.admit(letter); Ok(()) }
                    Err(fault) => Err(fault.into()),
                },
                () = sleep_until(look_again) => Ok(()),
            };
            if let Err(trouble) = step {
                return Err(self.come_to_rest(trouble).await);
            }
            if Instant::now() >= until {
                break;
            }
        }
        Ok(Done { handled, more: true })
    }

    /// Sees to it that there is a feed, and what it is fed by.
    async fn attend(&mut self) -> Result<(), PublishFault> {
        match &self.feed {
            None => self.feed = Some(self.source.open().await?),
            Some(feed) if Instant::now() >= self.declare_at => self.source.declare(feed).await?,
            Some(_) => return Ok(()),
        }
        self.declare_at = Instant::now() + DECLARE_PERIOD;
        Ok(())
    }

    /// Takes a message in.
    fn admit(&mut self, letter: Letter) {
        faults::at("order_intake.taken");
        self.read += 1;
        let (number, now) = (self.read, Instant::now());
        self.held.insert(number, now);
        let first_seen = self.desk.clock.now();
        if letter.redelivered {
            // Whoever had it may have died of it: not even read before that is written down.
            let held = Arc::new(Held { number, letter, first_seen, fact: None });
            self.suspects.push(Suspect { held, due: now, misses: 0, open: None });
            return;
        }
        let read = || self.desk.read(&letter.routing_key, &letter.body);
        let Ok(fact) = std::panic::catch_unwind(AssertUnwindSafe(read)) else {
            tracing::error!("reading a message about an order panicked");
            let held = Arc::new(Held { number, letter, first_seen, fact: None });
            self.suspects.push(Suspect { held, due: now, misses: 0, open: None });
            return;
        };
        let lane = match &fact {
            Ok(fact) => Lane::Customer(fact.customer_id),
            Err(_) => Lane::Refused,
        };
        self.lanes.push(lane, Arc::new(Held { number, letter, first_seen, fact: Some(fact) }));
    }

    /// Lets go whatever may. A suspect goes alone: what is under way lands first.
    fn launch(&mut self) {
        if self.alone {
            return;
        }
        let now = Instant::now();
        let due = self.suspects.iter().enumerate().filter(|(_, suspect)| suspect.due <= now);
        let first = due.min_by_key(|(_, suspect)| suspect.held.number).map(|(index, _)| index);
        if let Some(index) = first {
            if self.flights.is_empty() {
                let suspect = self.suspects.swap_remove(index);
                let charge = suspect.open.is_none_or(|recorded| self.recorded > recorded);
                let (desk, held) = (self.desk.clone(), suspect.held.clone());
                let trial = async move { suspected(&desk, &held, charge).await };
                self.alone = true;
                self.fly(suspect.held.clone(), Flight::Suspect(suspect), trial);
            }
            return;
        }
        while self.flights.len() < self.in_flight_max {
            let Some((lane, held)) = self.lanes.take() else { break };
            let (desk, one) = (self.desk.clone(), held.clone());
            self.fly(held, Flight::Usual(lane), async move { handle(&desk, &one, 0).await });
        }
    }

    fn fly(
        &mut self,
        held: Arc<Held>,
        flight: Flight,
        trial: impl Future<Output = Ending> + Send + 'static,
    ) {
        let landing = async move {
            let ending = AssertUnwindSafe(trial).catch_unwind().await.ok();
            Landing { held, flight, ending }
        };
        self.flights.push(landing.boxed());
    }

    /// Notes what became of a message.
    fn land(&mut self, landing: Landing) -> Result<(), Trouble> {
        let Landing { held, flight, ending } = landing;
        let (mut suspect, usual) = match flight {
            Flight::Suspect(suspect) => {
                self.alone = false;
                (suspect, false)
            }
            Flight::Usual(lane) => {
                self.lanes.done(lane);
                let held = held.clone();
                (Suspect { held, due: Instant::now(), misses: 0, open: None }, true)
            }
        };
        let (cause, trouble) = match ending {
            Some(Ending::Ended(end)) => {
                counter!("order_facts_total", "outcome" => end.as_str()).increment(1);
                self.recorded += u64::from(end == End::Recorded);
                self.held.remove(&held.number);
                return Ok(());
            }
            Some(Ending::NotBegun(error)) => ("database", Some(Trouble::Database(error))),
            Some(Ending::Database(error)) => {
                suspect.open = (!usual).then_some(u64::MAX);
                ("database", Some(Trouble::Database(error)))
            }
            // It comes again with the next feed, if it was not acknowledged.
            Some(Ending::Feed(fault)) => ("feed", Some(Trouble::Broker(fault))),
            Some(Ending::DeadLetters(fault)) => {
                tracing::warn!(%fault, "a message that cannot be used waits: {fault}");
                // The broker's fault, whatever else is recorded meanwhile.
                suspect.open = Some(u64::MAX);
                // Not at once, as the first time otherwise.
                suspect.misses += 1;
                ("dead_letters", None)
            }
            Some(Ending::NotNow(cause)) => {
                suspect.open = (!usual).then_some(self.recorded);
                (cause, None)
            }
            None => {
                tracing::error!("recording a fact panicked");
                suspect.open = None;
                ("panic", None)
            }
        };
        counter!("order_facts_retries_total", "cause" => cause).increment(1);
        if trouble.is_none() {
            suspect.misses += 1;
            suspect.due = Instant::now() + suspect_rest(suspect.misses);
        }
        self.suspects.push(suspect);
        trouble.map_or(Ok(()), Err)
    }

    /// Nothing more goes; what is under way ends. After a fault of the feed everything is forgotten:
    /// it comes again.
    async fn come_to_rest(&mut self, trouble: Trouble) -> Trouble {
        let lost = !self.land_all().await || matches!(trouble, Trouble::Broker(_));
        if lost {
            self.forget();
        }
        trouble
    }

    /// Waits for what is under way. False when the feed was lost in the meantime, or time was.
    async fn land_all(&mut self) -> bool {
        let until = Instant::now() + LANDING_TIME_MAX;
        let mut whole = true;
        while let Ok(next) = timeout_at(until, self.flights.next()).await {
            let Some(landing) = next else { return whole };
            whole &= !matches!(self.land(landing), Err(Trouble::Broker(_)));
        }
        false
    }

    fn forget(&mut self) {
        self.feed = None;
        self.lanes.clear();
        self.suspects.clear();
        self.flights = FuturesUnordered::new();
        self.alone = false;
        self.held.clear();
    }

    /// When the next suspect may go, where none may now.
    fn next_due(&self) -> Instant {
        let now = Instant::now();
        let dues = self.suspects.iter().map(|suspect| suspect.due).filter(|due| *due > now);
        dues.min().unwrap_or(now + RUN_TIME_MAX)
    }

    fn report(&self) {
        gauge!("order_facts_in_flight").set(self.flights.len() as f64);
        gauge!("order_facts_in_flight_limit").set(self.in_flight_max as f64);
        gauge!("order_facts_held").set(self.held.len() as f64);
        let oldest = self.held.values().next().map(Instant::elapsed).unwrap_or_default();
        gauge!("order_facts_oldest_seconds").set(oldest.as_secs_f64());
    }
}

impl Worker for OrderIntake {
    fn name(&self) -> &'static str {
        "order_intake"
    }

    fn period(&self) -> Duration {
        RUN_TIME_MAX
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let run = self.run().await;
        gauge!("order_intake_paused").set(if run.is_err() { 1.0 } else { 0.0 });
        self.report();
        Ok(run?)
    }

    async fn on_stop(&mut self) -> anyhow::Result<()> {
        self.land_all().await;
        // What has not begun goes back to the queue.
        if let Some(feed) = self.feed.take() {
            feed.close().await;
        }
        self.forget();
        self.report();
        Ok(())
    }
}

fn suspect_rest(misses: u32) -> Duration {
    match misses.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => {
            SUSPECT_REST_FIRST.saturating_mul(1 << doublings.min(16)).min(SUSPECT_REST_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspect_is_tried_at_once_and_then_ever_less_often() {
        let seconds = |misses| suspect_rest(misses).as_secs();
        assert_eq!([0, 1, 2, 3, 4].map(seconds), [0, 0, 1, 2, 4]);
        assert_eq!([7, 8, 9, u32::MAX].map(seconds), [32, 60, 60, 60]);
    }
}
