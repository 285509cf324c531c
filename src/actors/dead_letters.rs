//! What staff does about messages that could not be published, and for consumers that missed some:
//! the same for routes and for the command line. Deciding is a change of a row, which the relay
//! that owns the shard carries out within about a second; telling one consumer once more is done
//! here, past the outbox, and changes nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::workers::outbox_relay::outgoing;
use crate::brokers::rabbit::{OpenQueue, PublishFault, QueueFault, Rabbit};
use crate::clock::Clock;
use crate::db::audit::Deed;
use crate::db::dead_letters::{DeadLetter, Filter};
use crate::db::outbox_parked::State;
use crate::db::replays::Kept;
use crate::db::{self, Database};
use crate::domain::CustomerId;
use crate::domain::command::Actor;

/// Messages that one call releases at most; asking again releases more.
pub const RELEASED_MAX: i64 = 10_000;

/// Of them, in one transaction.
const RELEASED_TOGETHER: i64 = 500;

/// Messages that one replay to a queue tells at most; the next one goes on where it ended.
pub const REPLAYED_MAX: i64 = 10_000;

/// Of them, on their way at once.
const REPLAYED_TOGETHER: usize = 200;

/// The longest reason of a discard, in characters.
pub const REASON_MAX: usize = 64;

/// The name in an object of what only its reader may open: not for staff either.
const SEALED: &str = "sealed";

/// The desk; cheap to clone.
#[derive(Clone)]
pub struct DeadLetterDesk {
    database: Database,
    clock: Arc<dyn Clock>,
    /// `None`: no broker is configured.
    rabbit: Option<Rabbit>,
    settings: Settings,
}

/// What the desk may do.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the schemas of messages are served, without a slash at the end.
    pub schemas: String,
    /// Queues that may be told messages once more: names, or beginnings of names before a `*`.
    pub replay_queues: Vec<String>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    pub actor: Actor,
    pub request_id: String,
}

impl Asker {
    /// Who it is, for people who look: the id of a key.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.actor {
            Actor::Staff(key) => key.clone(),
            Actor::Customer(_) | Actor::Operator | Actor::Service | Actor::Anonymous => {
                "operator".to_owned()
            }
        }
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error("there is no such message among those that are kept, or no such customer")]
    NotFound,
    /// Its state does not allow it; why, for people.
    #[error("{0}")]
    State(&'static str),
    #[error("no broker is configured")]
    NoBroker,
    #[error("the queue is not among those that messages may be replayed to (outbox.replay_queues)")]
    QueueNotAllowed,
    #[error("there is no queue of this name")]
    NoSuchQueue,
    #[error("the queue belongs to one connection alone")]
    ExclusiveQueue,
    #[error("the queue cannot be written to: {0}")]
    Broker(PublishFault),
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl From<QueueFault> for Refused {
    fn from(fault: QueueFault) -> Self {
        match fault {
            QueueFault::Missing => Self::NoSuchQueue,
            QueueFault::Exclusive => Self::ExclusiveQueue,
            QueueFault::Broker(fault) => Self::Broker(fault),
        }
    }
}

/// A replay of many: its name, by which its progress can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    pub id: Uuid,
    pub released: i64,
    /// More are parked that fit.
    pub more: bool,
}

/// How far a replay has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub published: i32,
    /// To be published.
    pub released: i32,
    /// Failed again.
    pub parked: i32,
}

/// Which messages of a customer are to be told once more, and to whom.
#[derive(Clone, Debug)]
pub struct CustomerReplay {
    pub customer: CustomerId,
    pub from_sequence: i64,
    /// `None`: up to the latest.
    pub to_sequence: Option<i64>,
    pub queue: String,
}

/// What a queue was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub published: usize,
    /// Of what was published.
    pub first_sequence: Option<i64>,
    pub last_sequence: Option<i64>,
    /// First and last sequence of each gap that is no longer kept, nor anything before it.
    pub missing: Vec<(i64, i64)>,
    /// Sequences of messages that are parked, wait behind one, or were discarded.
    pub withheld: Vec<i64>,
    /// There is more after `last_sequence`: ask again from there.
    pub more: bool,
    /// Why it ended early.
    pub fault: Option<PublishFault>,
}

impl DeadLetterDesk {
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        rabbit: Option<Rabbit>,
        settings: Settings,
    ) -> Self {
        Self { database, clock, rabbit, settings }
    }

    /// A page of the messages that are kept, after the one of an id.
    ///
    /// # Errors
    /// Those of the read.
    pub async fn list(
        &self,
        filter: Filter,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<DeadLetter>, db::Error> {
        let read = self.database.read(move |connection| {
            let filter = filter.clone();
            Box::pin(async move { db::dead_letters::list(connection, &filter, after, limit).await })
        });
        read.await
    }

    /// One message with its body, without what is sealed in it.
    ///
    /// # Errors
    /// [`Refused::NotFound`], or those of the read.
    pub async fn show(&self, message: Uuid) -> Result<(DeadLetter, Value), Refused> {
        let read = self.database.read(move |connection| {
            Box::pin(async move { db::dead_letters::find(connection, message).await })
        });
        let (row, data) = read.await?.ok_or(Refused::NotFound)?;
        Ok((row, without_sealed(data)))
    }

    /// Has a parked message published again. One that is released or published already stays so.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn replay(&self, message: Uuid, asker: &Asker) -> Result<DeadLetter, Refused> {
        let replay = self.clock.new_id();
        let data = json!({ "message_id": message, "replay_id": replay });
        let (actor, id, now) = (asker.clone(), self.clock.new_id(), self.clock.now());
        let released = self
            .write(move |mut connection| async move {
                let deed = deed(id, &actor, "message.replayed", data, now);
                Ok(db::dead_letters::release(&mut connection, message, replay, &deed).await?)
            })
            .await?;
        match released {
            Some(row) => Ok(row),
            None => self.settled(message, State::Released).await,
        }
    }

    /// Gives a message up for good, so that later ones of its customer go on. Asked for again with
    /// the same reason, it stays so.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn discard(
        &self,
        message: Uuid,
        reason: &str,
        asker: &Asker,
    ) -> Result<DeadLetter, Refused> {
        let data = json!({ "message_id": message, "reason": reason });
        let (actor, id, now) = (asker.clone(), self.clock.new_id(), self.clock.now());
        let why = reason.to_owned();
        let discarded = self
            .write(move |mut connection| async move {
                let deed = deed(id, &actor, "message.discarded", data, now);
                Ok(db::dead_letters::discard(&mut connection, message, &why, &deed).await?)
            })
            .await?;
        match discarded {
            Some(row) => Ok(row),
            None => {
                let row = self.settled(message, State::Discarded).await?;
                match row.discard_reason.as_deref() == Some(reason) {
                    true => Ok(row),
                    false => Err(Refused::State("It was discarded before, for another reason.")),
                }
            }
        }
    }

    /// The message as it is, if that is what was asked for; else why it cannot be.
    async fn settled(&self, message: Uuid, wanted: State) -> Result<DeadLetter, Refused> {
        let (row, _) = self.show(message).await?;
        let state = State::parse(&row.state);
        match (state, wanted) {
            (Some(State::Released | State::Published), State::Released)
            | (Some(State::Discarded), State::Discarded) => Ok(row),
            (Some(State::Trying), _) => {
                Err(Refused::State("It is still being tried; when it is given up it is parked."))
            }
            (Some(State::Behind), _) => Err(Refused::State(
                "Nothing is wrong with it: it goes out by itself after the one that it waits for.",
            )),
            (Some(State::Discarded), _) => Err(Refused::State("It was discarded.")),
            (Some(State::Published), _) => Err(Refused::State("It is published.")),
            (Some(State::Released), _) => Err(Refused::State("It is on its way.")),
            // It was parked between two looks.
            (Some(State::Parked) | None, _) => {
                Err(Refused::State("Its state has just changed; look again."))
            }
        }
    }

    /// Has all parked messages that fit published again, up to [`RELEASED_MAX`].
    ///
    /// # Errors
    /// Those of the database; what was released by then stays so.
    pub async fn replay_many(&self, filter: Filter, asker: &Asker) -> Result<Replay, Refused> {
        let replay = self.clock.new_id();
        let mut released = 0;
        loop {
            let limit = RELEASED_TOGETHER.min(RELEASED_MAX - released);
            let data = json!({
                "replay_id": replay, "kind": filter.kind, "customer_id": filter.customer,
            });
            let (actor, id, now) = (asker.clone(), self.clock.new_id(), self.clock.now());
            let wanted = filter.clone();
            let some = self
                .write(move |mut connection| async move {
                    let deed = deed(id, &actor, "messages.replayed", data, now);
                    let released = db::dead_letters::release_many(
                        &mut connection,
                        &wanted,
                        replay,
                        limit,
                        &deed,
                    );
                    Ok(released.await?)
                })
                .await?;
            released += some;
            if some < limit || released >= RELEASED_MAX {
                return Ok(Replay { id: replay, released, more: some == limit });
            }
        }
    }

    /// How far a replay has come; all zero for one that is not known.
    ///
    /// # Errors
    /// Those of the read.
    pub async fn progress(&self, replay: Uuid) -> Result<Progress, db::Error> {
        let read = self.database.read(move |connection| {
            Box::pin(async move { db::dead_letters::progress(connection, replay).await })
        });
        let mut progress = Progress::default();
        for (state, count) in read.await? {
            match state {
                State::Published => progress.published += count,
                State::Parked => progress.parked += count,
                State::Released | State::Behind | State::Trying => progress.released += count,
                State::Discarded => {}
            }
        }
        Ok(progress)
    }

    /// Publishes messages of one customer to one queue once more, in their order, under their ids.
    ///
    /// # Errors
    /// [`Refused`]; a fault on the way is part of the answer.
    pub async fn replay_customer(
        &self,
        wish: CustomerReplay,
        asker: &Asker,
    ) -> Result<Told, Refused> {
        let Some(rabbit) = self.rabbit.clone() else { return Err(Refused::NoBroker) };
        if !self.settings.replay_queues.iter().any(|pattern| fits(pattern, &wish.queue)) {
            return Err(Refused::QueueNotAllowed);
        }
        let (desk, asker) = (self.clone(), asker.clone());
        let work = self.database.spawn(async move { desk.tell(&rabbit, &wish, &asker).await });
        work.await.map_err(|error| db::Error::Internal(error.to_string()))?
    }

    /// On the database's runtime, where the connection to the broker can live.
    async fn tell(
        &self,
        rabbit: &Rabbit,
        wish: &CustomerReplay,
        asker: &Asker,
    ) -> Result<Told, Refused> {
        let queue = rabbit.open_queue(&wish.queue).await?;
        let told = self.tell_queue(rabbit, &queue, wish).await;
        queue.close().await;
        let told = told?;
        let data = json!({
            "customer_id": wish.customer.0, "queue": wish.queue, "published": told.published,
            "from_sequence": wish.from_sequence, "to_sequence": told.last_sequence,
        });
        let deed =
            deed(self.clock.new_id(), asker, "messages.replayed_to_queue", data, self.clock.now());
        let mut connection = self.database.get().await?;
        db::audit::append_deed(&mut connection, &deed, Some(wish.customer.0))
            .await
            .map_err(db::Error::from)?;
        Ok(told)
    }

    async fn tell_queue(
        &self,
        rabbit: &Rabbit,
        queue: &OpenQueue,
        wish: &CustomerReplay,
    ) -> Result<Told, Refused> {
        let (first, last) = (wish.from_sequence, wish.to_sequence.unwrap_or(i64::MAX));
        let connection = self.database.get().await?;
        let customer = wish.customer;
        let mut kept = db::replays::kept(&connection, customer, first, last, REPLAYED_MAX + 1)
            .await
            .map_err(db::Error::from)?;
        // Of a customer that was erased, or of what is none, messages may still be kept.
        if kept.is_empty()
            && !db::customers::is_known(&connection, customer).await.map_err(db::Error::from)?
        {
            return Err(Refused::NotFound);
        }
        let mut told = Told { more: kept.len() as i64 > REPLAYED_MAX, ..Told::default() };
        kept.truncate(REPLAYED_MAX as usize);
        let asked_to = match (told.more, wish.to_sequence) {
            (false, Some(last)) => last,
            _ => kept.last().map_or(last, |kept| kept.customer_sequence),
        };
        told.withheld = db::replays::withheld(&connection, customer, first, asked_to, REPLAYED_MAX)
            .await
            .map_err(db::Error::from)?;
        drop(connection);
        let up_to = (asked_to != i64::MAX).then_some(asked_to);
        told.missing = gaps(first, up_to, &kept, &told.withheld);
        for some in kept.chunks(REPLAYED_TOGETHER) {
            let connection = self.database.get().await?;
            let rows = db::replays::bodies(&connection, some).await.map_err(db::Error::from)?;
            drop(connection);
            let sequences: Vec<i64> = rows.iter().map(|row| row.customer_sequence).collect();
            let message = |row| outgoing(row, rabbit, &self.settings.schemas);
            let run = queue.publish(rows.iter().map(message).collect()).await;
            told.published += run.confirmed;
            told.first_sequence =
                told.first_sequence.or(sequences.first().copied().filter(|_| run.confirmed > 0));
            if let Some(last) = run.confirmed.checked_sub(1).and_then(|at| sequences.get(at)) {
                told.last_sequence = Some(*last);
            }
            if run.fault.is_some() {
                told.fault = run.fault;
                told.more = true;
                break;
            }
        }
        Ok(told)
    }

    async fn write<T, F>(
        &self,
        work: impl FnOnce(db::PooledConnection) -> F + Send + 'static,
    ) -> Result<T, Refused>
    where
        F: Future<Output = Result<T, db::Error>> + Send,
        T: Send + 'static,
    {
        let database = self.database.clone();
        let done = self.database.spawn(async move { work(database.get().await?).await });
        Ok(done.await.map_err(|error| db::Error::Internal(error.to_string()))??)
    }
}

fn deed<'a>(
    id: Uuid,
    asker: &'a Asker,
    action: &'static str,
    data: Value,
    occurred_at: DateTime<Utc>,
) -> Deed<'a> {
    Deed { id, actor: &asker.actor, action, data, request_id: &asker.request_id, occurred_at }
}

/// Whether a text may be the reason of a discard: a code, so that nobody's name gets into the audit.
pub fn is_reason(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    (1..=REASON_MAX).contains(&text.len()) && text.chars().all(fits)
}

/// A name, or the beginning of one before a `*`.
fn fits(pattern: &str, queue: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => queue.starts_with(beginning),
        None => queue == pattern,
    }
}

/// First and last of each run of sequences from `first` on that is neither kept nor withheld; both
/// lists ascend. Without `last`, up to the latest that is known.
fn gaps(first: i64, last: Option<i64>, kept: &[Kept], withheld: &[i64]) -> Vec<(i64, i64)> {
    let mut known: Vec<i64> = kept.iter().map(|kept| kept.customer_sequence).collect();
    known.extend(withheld);
    known.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = first;
    for sequence in known {
        if sequence > next {
            gaps.push((next, sequence - 1));
        }
        next = next.max(sequence.saturating_add(1));
    }
    if let Some(last) = last.filter(|last| *last >= next) {
        gaps.push((next, last));
    }
    gaps
}

/// The same document without the values of members that are called `sealed`.
fn without_sealed(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, _)| name != SEALED)
            .map(|(name, value)| (name, without_sealed(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_sealed).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(sequences: &[i64]) -> Vec<Kept> {
        let kept =
            |sequence: &i64| Kept { bucket: 0, shard: 0, seq: 0, customer_sequence: *sequence };
        sequences.iter().map(kept).collect()
    }

    #[test]
    fn what_is_no_longer_kept_is_named() {
        assert_eq!(gaps(1, None, &kept(&[4, 5, 8]), &[6]), [(1, 3), (7, 7)]);
        assert_eq!(gaps(4, Some(9), &kept(&[4, 5, 8]), &[6, 7]), [(9, 9)]);
        assert_eq!(gaps(3, Some(4), &[], &[]), [(3, 4)]);
        assert_eq!(gaps(3, None, &[], &[]), []);
        assert_eq!(gaps(1, Some(2), &kept(&[1, 2]), &[]), []);
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        assert!(fits("shop.mails", "shop.mails") && fits("shop.*", "shop.mails") && fits("*", "x"));
        assert!(!fits("shop.mails", "shop.mails2") && !fits("shop.*", "shop") && !fits("", "x"));
    }

    #[test]
    fn m6_sealed_parts_are_not_shown() {
        let data =
            json!({ "id": 1, "email": { "sealed": "abc" }, "list": [{ "sealed": 1, "n": 2 }] });
        assert_eq!(without_sealed(data), json!({ "id": 1, "email": {}, "list": [{ "n": 2 }] }));
    }
}
