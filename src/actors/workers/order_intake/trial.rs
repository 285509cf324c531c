//! One try of one message, to its end: recorded, parked or buried, and acknowledged.

use chrono::{DateTime, Utc};

use super::TRIES_MAX;
use super::desk::{Desk, Envelope, Refusal, Verdict, digest};
use super::room::NoRoom;
use crate::brokers::rabbit::{Letter, PublishFault};
use crate::db;
use crate::domain::order::OrderFact;
use crate::faults;

/// A message that was read and not acknowledged.
pub struct Held {
    /// In the order of arrival.
    pub number: u64,
    pub letter: Letter,
    pub first_seen: DateTime<Utc>,
    /// The fact that it is, where it was looked at.
    pub fact: Option<Result<OrderFact, Refusal>>,
}

/// How a message ended. It is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Recorded,
    /// The same or a later version was known.
    Known,
    CustomerGone,
    Parked,
    Buried,
}

impl End {
    /// Short, stable name for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Known => "known",
            Self::CustomerGone => "customer_gone",
            Self::Parked => "parked",
            Self::Buried => "dead_letter",
        }
    }
}

/// How a try ended.
#[derive(Debug)]
pub enum Ending {
    Ended(End),
    /// The message came to no end.
    NotNow(&'static str),
    /// That it is tried could not be written down, so it was not.
    NotBegun(db::Error),
    /// It could not be parked.
    Database(db::Error),
    /// It could not be buried.
    DeadLetters(PublishFault),
    /// It could not be acknowledged.
    Feed(PublishFault),
}

/// Tries a message. `before`: tries that came to no end.
pub async fn handle(desk: &Desk, held: &Held, before: u32) -> Ending {
    let letter = &held.letter;
    let read;
    let fact = match &held.fact {
        Some(fact) => fact,
        None => {
            read = desk.read(&letter.routing_key, &letter.body);
            &read
        }
    };
    let envelope = envelope(held, held.first_seen, before + 1);
    let end = match fact {
        Ok(fact) => settle(desk, letter, fact, envelope).await,
        Err(refusal) => bury(desk, envelope, refusal).await,
    };
    match end {
        Ok(end) => acknowledge(letter, end).await,
        Err(ending) => ending,
    }
}

/// Tries a message that may have been the end of a process: writes that down first, and gives it up
/// when it stands there too often. `charge`: this is a try of its own, and not one that the world
/// kept from ending.
pub async fn suspected(desk: &Desk, held: &Held, charge: bool) -> Ending {
    let letter = &held.letter;
    let digest = digest(&letter.routing_key, &letter.body);
    let mut before = 0;
    if charge {
        let (tries, first_tried) = match desk.begin_try(&digest).await {
            Ok(begun) => begun,
            Err(error) => return Ending::NotBegun(error),
        };
        faults::at("order_intake.tried");
        if tries > TRIES_MAX {
            return give_up(desk, held, tries, first_tried.min(held.first_seen)).await;
        }
        before = u32::try_from(tries - 1).unwrap_or(0);
    } else if let Err(error) = desk.database.ping().await {
        return Ending::NotBegun(error);
    }
    let ending = handle(desk, held, before).await;
    if matches!(ending, Ending::Ended(_)) {
        desk.end_try(&digest).await;
    }
    ending
}

async fn settle(
    desk: &Desk,
    letter: &Letter,
    fact: &OrderFact,
    envelope: Envelope<'_>,
) -> Result<End, Ending> {
    // Named after the order, so that a test can have one message kill the process.
    fail::fail_point!(&format!("order_intake.fact.{}", fact.order_id.as_str()), |_| {
        std::process::abort()
    });
    let (id, trace) = (letter.message_id.as_deref(), letter.traceparent.as_deref());
    let verdict = desk.record(fact, id, trace).await;
    faults::at("order_intake.recorded");
    match verdict {
        Verdict::Recorded { news: true } => Ok(End::Recorded),
        Verdict::Recorded { news: false } => Ok(End::Known),
        Verdict::CustomerGone => Ok(End::CustomerGone),
        Verdict::NotNow(cause) => Err(Ending::NotNow(cause)),
        Verdict::Refused(refusal) => bury(desk, envelope, &refusal).await,
        Verdict::UnknownCustomer => match desk.park(envelope, fact).await {
            Ok(()) => {
                faults::at("order_intake.parked");
                Ok(End::Parked)
            }
            Err(NoRoom::Database(
                error @ (db::Error::Unavailable(_) | db::Error::Transient(_)),
            )) => Err(Ending::Database(error)),
            Err(NoRoom::DeadLetters(fault)) => Err(Ending::DeadLetters(fault)),
            Err(NoRoom::Database(error)) => {
                tracing::error!(%error, "a fact could not be parked");
                Err(Ending::NotNow("parking"))
            }
        },
    }
}

async fn bury(desk: &Desk, envelope: Envelope<'_>, refusal: &Refusal) -> Result<End, Ending> {
    let buried = desk.bury(envelope, refusal).await;
    faults::at("order_intake.buried");
    buried.map(|()| End::Buried).map_err(Ending::DeadLetters)
}

/// Keeps it for staff, and buries it. The tries stay written down until the broker has forgotten it.
async fn give_up(desk: &Desk, held: &Held, tries: i32, first_seen: DateTime<Utc>) -> Ending {
    let tries = u32::try_from(tries - 1).unwrap_or(0);
    let envelope = envelope(held, first_seen, tries);
    if let Err(error) = desk.condemn(envelope).await {
        return Ending::NotBegun(error);
    }
    if let Err(fault) = desk.bury(envelope, &poison()).await {
        return Ending::DeadLetters(fault);
    }
    let ending = acknowledge(&held.letter, End::Buried).await;
    if matches!(ending, Ending::Ended(_)) {
        desk.end_try(&digest(&held.letter.routing_key, &held.letter.body)).await;
    }
    ending
}

/// Why a message is given up that came to no end.
pub fn poison() -> Refusal {
    let detail = format!("{TRIES_MAX} tries to record it did not come to an end");
    Refusal { reason: "poison", detail }
}

async fn acknowledge(letter: &Letter, end: End) -> Ending {
    match letter.acknowledge().await {
        Ok(()) => {
            faults::at("order_intake.acknowledged");
            Ending::Ended(end)
        }
        Err(fault) => Ending::Feed(fault),
    }
}

fn envelope(held: &Held, first_seen: DateTime<Utc>, tries: u32) -> Envelope<'_> {
    Envelope {
        routing_key: &held.letter.routing_key,
        message_id: held.letter.message_id.as_deref(),
        body: &held.letter.body,
        first_seen,
        tries,
    }
}
