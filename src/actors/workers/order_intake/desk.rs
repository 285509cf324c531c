//! What becomes of one fact, whoever brings it: the queue, or the table of those that were parked.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::sleep;
use uuid::Uuid;

use super::room::{NoRoom, Room};
use crate::actors::customers::{Answered, Customers, SubmitError};
use crate::brokers::rabbit::{DeadLetter, DeadLetters, PublishFault};
use crate::clock::Clock;
use crate::db::order_intake::{Digest, ParkReason, Parked};
use crate::db::{self, Database};
use crate::domain::command::{Command, OrderCommand, Subject};
use crate::domain::order::{OrderFact, OrderStatus};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{Actor, Context, CustomerId, Submission};

/// Customers who were merged into customers who were merged: so many are followed.
const HOPS_MAX: usize = 8;

/// Statements beside the batches that run at the same time, whatever the number of facts: the pool
/// is everybody's.
const STATEMENTS_MAX: usize = 2;

/// The longest rest of a fact that was turned away by a full queue.
const OVERLOAD_REST_MAX: Duration = Duration::from_secs(1);

/// The first rest of a fact whose customer is not known; it doubles up to the second.
const RETRY_FIRST: TimeDelta = TimeDelta::seconds(1);
const RETRY_MAX: TimeDelta = TimeDelta::minutes(10);

/// A longer name of a message is not repeated in logs and audit entries.
const MESSAGE_ID_MAX: usize = 128;

/// The types of messages that are facts, which are their routing keys.
pub fn routing_keys() -> Vec<String> {
    OrderStatus::ALL.into_iter().map(|status| format!("order.{}", status.as_str())).collect()
}

/// What facts are recorded with.
pub struct Desk {
    pub(super) database: Database,
    customers: Customers,
    pub(super) clock: Arc<dyn Clock>,
    dead_letters: DeadLetters,
    statements: Semaphore,
    routing_keys: Vec<String>,
    body_limit: usize,
    give_up_after: TimeDelta,
    /// How many facts may wait for their customer.
    pub(super) room: Room,
}

/// What recording a fact came to.
#[derive(Debug)]
pub enum Verdict {
    /// Committed; or there was nothing to write, because the same or a later version was known.
    Recorded {
        news: bool,
    },
    /// Deleted or erased: the fact is of no use any more.
    CustomerGone,
    UnknownCustomer,
    /// Trying again would change nothing.
    Refused(Refusal),
    /// No end: not available, or not known to be done.
    NotNow(&'static str),
}

/// Why a message cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable code.
    pub reason: &'static str,
    /// For people; without a value of the message.
    pub detail: String,
}

/// A message as far as it is not its body's affair.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub routing_key: &'a str,
    pub message_id: Option<&'a str>,
    pub body: &'a [u8],
    pub first_seen: DateTime<Utc>,
    pub tries: u32,
}

impl Desk {
    pub fn new(
        database: Database,
        customers: Customers,
        clock: Arc<dyn Clock>,
        dead_letters: DeadLetters,
        body_limit: usize,
        give_up_after: TimeDelta,
        parked_max: u32,
    ) -> Self {
        Self {
            database,
            customers,
            clock,
            dead_letters,
            statements: Semaphore::new(STATEMENTS_MAX),
            routing_keys: routing_keys(),
            body_limit,
            give_up_after,
            room: Room::of(parked_max),
        }
    }

    /// The fact that a message is, or what keeps it from being one.
    pub fn read(&self, routing_key: &str, body: &[u8]) -> Result<OrderFact, Refusal> {
        if body.len() > self.body_limit {
            let detail = format!("{} bytes are more than {}", body.len(), self.body_limit);
            return Err(Refusal { reason: "too_large", detail });
        }
        // Bound to nothing else; so somebody bound the queue, or wrote into it by its name.
        if !self.routing_keys.iter().any(|known| known == routing_key) {
            let detail = "the routing key is none of an order's facts".to_owned();
            return Err(Refusal { reason: "unknown_type", detail });
        }
        OrderFact::parse(body)
            .map_err(|fault| Refusal { reason: fault.code, detail: fault.to_string() })
    }

    /// Records a fact at its customer, or at whom that one became one with.
    pub async fn record(
        &self,
        fact: &OrderFact,
        message_id: Option<&str>,
        traceparent: Option<&str>,
    ) -> Verdict {
        let request_id = match message_id.filter(|id| is_plain(id)) {
            Some(id) => id.to_owned(),
            None => self.clock.new_id().to_string(),
        };
        let traceparent = traceparent.filter(|text| is_traceparent(text)).map(str::to_owned);
        let (mut customer, mut hops) = (fact.customer_id, 0);
        while hops <= HOPS_MAX {
            let context = Context {
                actor: Actor::Service,
                now: self.clock.now(),
                request_id: request_id.clone(),
                traceparent: traceparent.clone(),
            };
            match self.submit(customer, fact, context).await {
                Err(SubmitError::Rejected(Rejection::CustomerMerged { into })) => {
                    customer = into;
                    hops += 1;
                }
                // Nothing was changed, and nobody is to blame.
                Err(SubmitError::Overloaded { retry_after }) => {
                    sleep(retry_after.min(OVERLOAD_REST_MAX)).await;
                }
                answer => return verdict_of(answer),
            }
        }
        Verdict::NotNow("merged_too_often")
    }

    async fn submit(
        &self,
        customer: CustomerId,
        fact: &OrderFact,
        context: Context,
    ) -> Result<Answered, SubmitError> {
        // No idempotency key: the version of the order tells a repetition, for ever.
        let submission = Submission {
            subject: Subject::Customer(customer),
            command: Command::Order(OrderCommand::Record(Box::new(fact.clone()))),
            context,
            idempotency: None,
        };
        self.customers.submit(submission).await
    }

    /// Hands a message over to the dead letters; it is safe there when this returns.
    pub async fn bury(
        &self,
        envelope: Envelope<'_>,
        refusal: &Refusal,
    ) -> Result<(), PublishFault> {
        let letter = DeadLetter {
            routing_key: envelope.routing_key,
            body: envelope.body,
            message_id: envelope.message_id,
            reason: refusal.reason,
            detail: &refusal.detail,
            first_seen: envelope.first_seen,
            tries: envelope.tries,
        };
        self.dead_letters.bury(&letter).await?;
        counter!("order_facts_dead_letters_total", "reason" => refusal.reason).increment(1);
        tracing::warn!(
            reason = refusal.reason,
            detail = refusal.detail,
            message.id = envelope.message_id.filter(|id| is_plain(id)),
            "a message about an order cannot be used"
        );
        Ok(())
    }

    /// Keeps a message whose customer is not known, in one durable statement.
    pub async fn park(&self, envelope: Envelope<'_>, fact: &OrderFact) -> Result<(), NoRoom> {
        if self.room.is_full() {
            self.make_room().await?;
        }
        let row = self.row(envelope, ParkReason::UnknownCustomer, Some(fact));
        let _turn = self.turn().await;
        let connection = self.database.get().await?;
        db::order_intake::park(&connection, &row).await.map_err(db::Error::from)?;
        self.room.taken();
        Ok(())
    }

    /// A fact is parked no more.
    pub(super) async fn unpark(&self, id: Uuid) -> Result<(), db::Error> {
        let _turn = self.turn().await;
        let connection = self.database.get().await?;
        db::order_intake::unpark(&connection, id).await?;
        self.room.left();
        Ok(())
    }

    /// A parked fact is tried again when it is `due`; `tried`: its customer was looked for.
    pub(super) async fn put_off(
        &self,
        id: Uuid,
        tried: bool,
        due: DateTime<Utc>,
    ) -> Result<(), db::Error> {
        let _turn = self.turn().await;
        let connection = self.database.get().await?;
        Ok(db::order_intake::put_off(&connection, id, tried, due).await?)
    }

    /// Keeps a message that is not to be tried again.
    pub async fn condemn(&self, envelope: Envelope<'_>) -> Result<(), db::Error> {
        // It is not read again, whatever reading it may have led to.
        let row = self.row(envelope, ParkReason::Poison, None);
        let _turn = self.turn().await;
        let connection = self.database.get().await?;
        Ok(db::order_intake::condemn(&connection, &row).await?)
    }

    /// Writes down that a message is tried; how often it was since it last came to an end.
    pub async fn begin_try(&self, digest: &[u8]) -> Result<(i32, DateTime<Utc>), db::Error> {
        let _turn = self.turn().await;
        let connection = self.database.get().await?;
        Ok(db::order_intake::begin_try(&connection, digest, self.clock.now()).await?)
    }

    /// Writes down that a try came to its end. Should that fail, the janitor does it one day.
    pub async fn end_try(&self, digest: &[u8]) {
        let ended = async {
            let _turn = self.turn().await;
            let connection = self.database.get().await?;
            Ok::<_, db::Error>(db::order_intake::end_try(&connection, digest).await?)
        };
        if let Err(error) = ended.await {
            tracing::warn!(%error, "the end of a try was not written down");
        }
    }

    /// When a fact is tried again whose customer was not known so often; `None`: it is given up.
    pub fn next_try(&self, first_seen: DateTime<Utc>, tries: i32) -> Option<DateTime<Utc>> {
        let now = self.clock.now();
        (now - first_seen < self.give_up_after).then(|| now + retry_rest(tries))
    }

    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        self.statements.acquire().await.expect("the semaphore is never closed")
    }

    fn row(&self, envelope: Envelope<'_>, reason: ParkReason, fact: Option<&OrderFact>) -> Parked {
        let known = self.routing_keys.iter().any(|known| known == envelope.routing_key);
        let waits = reason == ParkReason::UnknownCustomer;
        Parked {
            id: self.clock.new_id(),
            digest: digest(envelope.routing_key, envelope.body).to_vec(),
            reason: reason.as_str().to_owned(),
            customer_id: fact.map(|fact| fact.customer_id.0),
            order_id: fact.map(|fact| fact.order_id.as_str().to_owned()),
            order_version: fact.map(|fact| fact.version),
            routing_key: if known { envelope.routing_key } else { "" }.to_owned(),
            message_id: envelope.message_id.filter(|id| is_plain(id)).map(str::to_owned),
            body: envelope.body.to_vec(),
            tries: i32::from(waits),
            unended: 0,
            first_seen_at: envelope.first_seen,
            next_try_at: waits.then(|| self.clock.now() + RETRY_FIRST),
        }
    }
}

/// What makes two deliveries one message.
pub fn digest(routing_key: &str, body: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update(routing_key.as_bytes());
    hash.update([0]);
    hash.update(body);
    hash.finalize().into()
}

fn verdict_of(answer: Result<Answered, SubmitError>) -> Verdict {
    let rejection = match answer {
        Ok(Answered { outcome: Outcome::Order { recorded }, .. }) => {
            return Verdict::Recorded { news: recorded };
        }
        Ok(_) => {
            tracing::error!("a fact came to an outcome that it cannot have");
            return Verdict::NotNow("outcome");
        }
        Err(SubmitError::Rejected(rejection)) => rejection,
        Err(SubmitError::Unknown) => return Verdict::NotNow("unknown"),
        Err(
            SubmitError::Unavailable | SubmitError::InProgress | SubmitError::Overloaded { .. },
        ) => return Verdict::NotNow("unavailable"),
    };
    match rejection {
        Rejection::NotFound => Verdict::UnknownCustomer,
        Rejection::CustomerGone => Verdict::CustomerGone,
        // Somebody wrote the same rows at the same moment.
        Rejection::Conflict => Verdict::NotNow("conflict"),
        Rejection::OrderOfAnotherCustomer => Verdict::Refused(Refusal {
            reason: "order_of_another_customer",
            detail: "customer_id: the order is known as another customer's".to_owned(),
        }),
        Rejection::Invalid { pointer, fault } => {
            let member = pointer.trim_start_matches("#/").replace('/', ".");
            let detail = format!("{}: {member}: {}", fault.code, fault.detail);
            Verdict::Refused(Refusal { reason: fault.code, detail })
        }
        rejection => {
            tracing::error!(?rejection, "a fact was refused that cannot be");
            let detail = "a rule refused it that no fact should meet".to_owned();
            Verdict::Refused(Refusal { reason: "refused", detail })
        }
    }
}

pub(super) fn retry_rest(tries: i32) -> TimeDelta {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(16);
    RETRY_FIRST.checked_mul(1 << doublings).unwrap_or(RETRY_MAX).min(RETRY_MAX)
}

/// Whether a name that somebody else gave may stand in our logs and entries.
fn is_plain(id: &str) -> bool {
    (1..=MESSAGE_ID_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// A W3C trace context of version 00.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = |part: &&str| part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    lengths == [2, 32, 16, 2] && parts[0] == "00" && parts.iter().all(hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o3_the_rests_of_a_fact_double_up_to_ten_minutes() {
        let seconds = |tries| retry_rest(tries).num_seconds();
        assert_eq!([seconds(1), seconds(2), seconds(3), seconds(10)], [1, 2, 4, 512]);
        assert_eq!([seconds(11), seconds(12), seconds(i32::MAX)], [600; 3]);
        assert_eq!(seconds(0), 1);
    }

    #[test]
    fn the_routing_keys_are_the_four_types_of_facts() {
        let keys = ["order.placed", "order.completed", "order.cancelled", "order.refunded"];
        assert_eq!(routing_keys(), keys);
    }

    #[test]
    fn one_message_is_told_from_another_by_key_and_body() {
        let one = digest("order.placed", b"{}");
        assert_eq!(one, digest("order.placed", b"{}"));
        assert_ne!(one, digest("order.completed", b"{}"));
        assert_ne!(digest("order.placed", b"a"), digest("order.placeda", b""));
    }

    #[test]
    fn what_others_wrote_is_repeated_only_where_it_is_plain() {
        assert!(is_plain("0198a5b0-0000-7000-8000-000000000001"));
        for odd in ["", "a b", "a\nb", "Ánh", "x@shop.example", &"x".repeat(129)] {
            assert!(!is_plain(odd), "{odd:?}");
        }
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert!(is_traceparent(trace));
        for odd in ["", "00", &trace.to_uppercase(), &trace.replace("00-4", "ff-4"), &trace[1..]] {
            assert!(!is_traceparent(odd), "{odd:?}");
        }
    }
}
