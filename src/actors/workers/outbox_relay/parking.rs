//! Messages that fail by their own fault: tried alone a few times, then parked, so that nobody else
//! waits for them. What their customer is told later is kept behind them, in order, or passes, as
//! configured; what staff releases goes out again.
//!
//! The relay alone moves a customer on. While anything of a customer's is kept, its new messages
//! are kept behind that; the relay publishes what is kept one by one and lets the customer go back
//! to the outbox only when a look finds nothing left. Both happen in one task on the session that
//! owns the shard, so nothing comes in between.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use metrics::{counter, gauge};
use tokio::time::Instant;
use uuid::Uuid;

use super::letter::Letter;
use super::session::Session;
use super::survey::shards_of;
use super::window::Known;
use super::{BEAT, Landing, OutboxRelay, Outcome, Trouble, hold_time};
use crate::brokers::rabbit::{FaultClass, PublishFault};
use crate::db::outbox_parked::{self, Fence, Note, Reason, State};
use crate::db::{self, outbox::Cursor};

/// Rest of a message of which a trial proved nothing.
const UNPROVEN_REST: Duration = Duration::from_secs(1);

/// Messages that are kept by one statement.
const KEPT_TOGETHER: usize = 500;

/// Customers that are looked after in one round, and rounds before others get their turn.
const CUSTOMERS_TOGETHER: usize = 100;
const ROUNDS_MAX: usize = 10;

/// How often what is parked is counted.
const COUNT_PERIOD: Duration = Duration::from_secs(10);

/// The longest of a broker's words that is kept, in characters.
const DETAIL_MAX: usize = 300;

/// What becomes of a customer's later messages when one is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AfterParking {
    /// They are kept behind it, in order.
    #[default]
    Wait,
    /// They are published.
    Pass,
}

/// What is known and not yet written down, and whose messages are to be looked for.
pub struct Books {
    /// Proven at fault, once more.
    guilty: VecDeque<(Arc<Letter>, PublishFault)>,
    /// With the broker, of those that were parked.
    published: Vec<Uuid>,
    /// With the broker after all.
    cleared: Vec<Uuid>,
    /// Customers whose next kept message is to be looked for.
    looking: BTreeSet<Uuid>,
    /// Customers one of whose kept messages is in the window.
    under_way: HashSet<Uuid>,
    hear_at: Instant,
    count_at: Instant,
}

impl Books {
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            guilty: VecDeque::new(),
            published: Vec::new(),
            cleared: Vec::new(),
            looking: BTreeSet::new(),
            under_way: HashSet::new(),
            hear_at: now,
            count_at: now,
        }
    }

    /// Whether something waits to be written down.
    pub fn open(&self) -> bool {
        !(self.guilty.is_empty() && self.published.is_empty() && self.cleared.is_empty())
    }

    /// The broker has a message that failed `tries` times before.
    pub fn delivered(&mut self, letter: &Letter, tries: u32) {
        if letter.stored {
            self.published.push(letter.row.id);
            self.under_way.remove(&letter.row.customer_id);
            self.looking.insert(letter.row.customer_id);
        } else if tries > 0 {
            self.cleared.push(letter.row.id);
        }
    }

    pub fn proven(&mut self, letter: Arc<Letter>, fault: PublishFault) {
        self.guilty.push_back((letter, fault));
    }
}

impl OutboxRelay {
    /// Learns what owners before have kept, of groups just taken over and before any of their rows
    /// is read.
    pub(super) async fn learn(&mut self, found: &[Cursor]) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        if found.is_empty() {
            return Ok(());
        }
        let shards: Vec<i16> = found.iter().flat_map(|cursor| shards_of(cursor.group)).collect();
        let positions: Vec<i64> =
            found.iter().flat_map(|cursor| cursor.positions.iter().copied()).collect();
        let connection = &session.connection;
        let pass = self.settings.after_parking == AfterParking::Pass;
        outbox_parked::forget_passed(connection, &shards, &positions)
            .await
            .map_err(db::Error::from)?;
        let beyond = outbox_parked::beyond(connection, &shards, &positions).await;
        for known in beyond.map_err(db::Error::from)? {
            let what = match known.trying {
                true => Known::Tried(known.tries.unsigned_abs()),
                false => Known::Kept,
            };
            self.window.know(known.shard, known.seq, what);
        }
        let waiting = outbox_parked::waiting_customers(connection, &shards, pass).await;
        for customer in waiting.map_err(db::Error::from)? {
            self.window.block(customer.customer_id);
            if !customer.parked {
                self.books.looking.insert(customer.customer_id);
            }
        }
        session.touched_at = Instant::now();
        Ok(())
    }

    /// Has the next message under suspicion tried alone, unless one is.
    pub(super) fn launch_trial(&mut self) {
        if self.on_trial {
            return;
        }
        let Some(letter) = self.window.take_suspect() else { return };
        self.on_trial = true;
        let trials = self.trials.clone();
        let message = letter.outgoing(&trials, &self.settings.schemas);
        let trial = async move {
            let outcome = Outcome::Tried(trials.try_alone(message).await);
            Landing { letter, outcome }
        };
        self.flights.push(trial.boxed());
    }

    /// A trial proved nothing: the message rests a little and costs nothing.
    pub(super) fn unproven(&mut self, letter: &Letter, fault: &PublishFault) {
        tracing::warn!(message.id = %letter.row.id, %fault, "a trial of a message proved nothing");
        let tries = self.window.tries(letter);
        self.window.hold(letter, tries, Instant::now() + UNPROVEN_REST);
    }

    /// Writes down what became of messages at fault, keeps what is to be kept, and brings in what
    /// is next of what was kept. Nothing to do, as almost always, is no round trip but one a beat.
    pub(super) async fn keep_books(&mut self) -> Result<(), Trouble> {
        self.write_books().await?;
        self.hear_staff().await?;
        for _ in 0..ROUNDS_MAX {
            if !self.look_after_customers().await? {
                break;
            }
        }
        self.count_parked().await
    }

    /// The part of [`Self::keep_books`] that must not be lost at a stop.
    pub(super) async fn write_books(&mut self) -> Result<(), Trouble> {
        while let Some((letter, fault)) = self.books.guilty.pop_front() {
            self.sentence(&letter, &fault).await?;
        }
        self.keep_diverted().await?;
        let Some(session) = &mut self.session else { return Ok(()) };
        if !self.books.published.is_empty() {
            let (fence, now) = (session.fence(), self.clock.now());
            let noted =
                outbox_parked::published(&session.connection, &fence, &self.books.published, now);
            owned(noted.await)?;
            self.books.published.clear();
        }
        if !self.books.cleared.is_empty() {
            let forgotten =
                outbox_parked::forget_tries(&session.connection, &self.books.cleared).await;
            forgotten.map_err(db::Error::from)?;
            self.books.cleared.clear();
        }
        Ok(())
    }

    /// Charges a proven fault to its message: another try after a rest, or it is parked. That is
    /// written down first, so that a successor counts on.
    async fn sentence(&mut self, letter: &Letter, fault: &PublishFault) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let row = &letter.row;
        let tries = self.window.tries(letter) + 1;
        let given_up = tries >= self.settings.tries;
        let reason = match fault.class() {
            FaultClass::Message => Reason::NotEncodable,
            _ => Reason::Refused,
        };
        let state = match (given_up, letter.stored) {
            (true, _) => State::Parked,
            (false, true) => State::Released,
            (false, false) => State::Trying,
        };
        let words: String = fault.to_string().chars().take(DETAIL_MAX).collect();
        let note = Note { state, reason, detail: Some(&words), tries, now: self.clock.now() };
        let (connection, fence) = (&session.connection, session.fence());
        owned(match letter.stored {
            true => outbox_parked::failed_again(connection, &fence, row.id, &note).await,
            false => outbox_parked::keep(connection, &fence, &[row], &note).await,
        })?;
        session.touched_at = Instant::now();
        counter!("outbox_message_faults_total", "type" => row.kind.clone()).increment(1);
        if !given_up {
            tracing::warn!(
                message.id = %row.id, message.kind = row.kind, tries, %fault,
                "a message cannot be published; its customer's later ones wait"
            );
            self.window.hold(letter, tries, Instant::now() + hold_time(tries));
            return Ok(());
        }
        counter!("outbox_parked_total", "reason" => reason.as_str()).increment(1);
        tracing::error!(
            message.id = %row.id, message.kind = row.kind, customer.id = %row.customer_id, tries,
            reason = reason.as_str(), %fault, "a message is parked: staff has to replay or discard it"
        );
        fail::fail_point!(&format!("outbox_relay.parked.{}", row.id), |_| Err(Trouble::Superseded));
        self.window.park(letter, self.settings.after_parking == AfterParking::Wait);
        if letter.stored {
            self.books.under_way.remove(&row.customer_id);
            self.books.looking.insert(row.customer_id);
        }
        Ok(())
    }

    /// Keeps the messages that came in behind parked ones.
    async fn keep_diverted(&mut self) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        while !self.window.diverted().is_empty() {
            let some: Vec<_> = self
                .window
                .diverted()
                .iter()
                .take(KEPT_TOGETHER)
                .map(|letter| &letter.row)
                .collect();
            let note = Note {
                state: State::Behind,
                reason: Reason::Behind,
                detail: None,
                tries: 0,
                now: self.clock.now(),
            };
            owned(outbox_parked::keep(&session.connection, &session.fence(), &some, &note).await)?;
            let count = some.len();
            session.touched_at = Instant::now();
            counter!("outbox_parked_total", "reason" => Reason::Behind.as_str())
                .increment(count as u64);
            self.window.kept(count);
        }
        Ok(())
    }

    /// Asks, once a beat, of whom staff has decided something.
    async fn hear_staff(&mut self) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let now = Instant::now();
        if now < self.books.hear_at {
            return Ok(());
        }
        let shards: Vec<i16> = session.written.keys().flat_map(|group| shards_of(*group)).collect();
        if shards.is_empty() {
            return Ok(());
        }
        let known: Vec<Uuid> =
            self.books.under_way.iter().chain(&self.books.looking).copied().collect();
        let pass = self.settings.after_parking == AfterParking::Pass;
        let limit = CUSTOMERS_TOGETHER as i64;
        let decided =
            outbox_parked::decided(&session.connection, &shards, &known, pass, limit).await;
        self.books.looking.extend(decided.map_err(db::Error::from)?);
        session.touched_at = Instant::now();
        self.books.hear_at = now + BEAT;
        Ok(())
    }

    /// Brings in the next kept message of the customers whose turn it is; one of whom nothing is
    /// left goes back to the outbox. Whether there is more to look for at once.
    async fn look_after_customers(&mut self) -> Result<bool, Trouble> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let customers: Vec<Uuid> =
            self.books.looking.iter().take(CUSTOMERS_TOGETHER).copied().collect();
        if customers.is_empty() {
            return Ok(false);
        }
        let pass = self.settings.after_parking == AfterParking::Pass;
        let heads = outbox_parked::heads(&session.connection, &customers, pass).await;
        let mut heads: HashMap<Uuid, outbox_parked::Head> = heads
            .map_err(db::Error::from)?
            .into_iter()
            .map(|head| (head.customer_id, head))
            .collect();
        let on_the_move = |head: &&outbox_parked::Head| {
            [State::Behind.as_str(), State::Discarded.as_str()].contains(&head.state.as_str())
        };
        let to_move: Vec<Uuid> = heads.values().filter(on_the_move).map(|head| head.id).collect();
        let released = match to_move.is_empty() {
            true => Vec::new(),
            false => outbox_parked::move_on(&session.connection, &to_move, self.clock.now())
                .await
                .map_err(db::Error::from)?,
        };
        session.touched_at = Instant::now();
        for customer in customers {
            let Some(head) = heads.remove(&customer) else {
                self.books.looking.remove(&customer);
                self.window.unblock(customer);
                continue;
            };
            if head.state == State::Released.as_str() || released.contains(&head.id) {
                self.books.looking.remove(&customer);
                self.books.under_way.insert(customer);
                let tries = head.tries.unsigned_abs();
                self.window.admit_stored(Letter { row: head.into(), stored: true }, tries);
            } else if head.state == State::Parked.as_str() {
                self.books.looking.remove(&customer);
            }
        }
        Ok(!self.books.looking.is_empty())
    }

    async fn count_parked(&mut self) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let now = Instant::now();
        if now < self.books.count_at {
            return Ok(());
        }
        self.books.count_at = now + COUNT_PERIOD;
        let counts = outbox_parked::counts(&session.connection).await;
        for (state, count) in counts.map_err(db::Error::from)? {
            gauge!("outbox_parked", "state" => state.as_str()).set(count as f64);
        }
        session.touched_at = Instant::now();
        Ok(())
    }
}

impl Session {
    /// By what this session's writes prove that the groups are still its own.
    fn fence(&self) -> Fence {
        let mut fence = Fence::default();
        for cursor in self.written.values() {
            fence.push(cursor.group, cursor.epoch);
        }
        fence
    }
}

/// The answer to a fenced write.
fn owned(written: Result<bool, db::transactions::QueryError>) -> Result<(), Trouble> {
    match written.map_err(db::Error::from)? {
        true => Ok(()),
        false => Err(Trouble::Superseded),
    }
}
