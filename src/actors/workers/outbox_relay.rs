//! The outbox relay: publishes what the outbox holds, in the order of each customer, and forgets
//! nothing. It owns groups of shards, reads after its cursors, keeps many messages in flight but
//! never two of one customer, and moves a cursor only over what the broker has confirmed.
//!
//! What memory knows is a hint, what the cursors in the database say is the truth: after any
//! doubt about ownership everything in memory is dropped and read again. The price is duplicates,
//! which carry the same message id; first deliveries stay in order.
//!
//! `window` decides what may go, `parking` what becomes of messages that fail by their own fault,
//! `patience` what is done while the broker takes nothing, or not everything.

mod dirty;
mod letter;
mod metrics;
mod parking;
mod patience;
mod session;
pub(super) mod survey;
mod window;

use std::sync::Arc;
use std::time::Duration;

use ::metrics::counter;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::actors::worker::{Done, Worker};
use crate::brokers::rabbit::{Delivery, FaultClass, PublishFault, Rabbit, Verdict};
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::domain::shard::SHARDS;
use crate::faults;

pub use dirty::Dirty;
use letter::Letter;
pub use letter::outgoing;
pub use parking::AfterParking;
use parking::Books;
use patience::{Probes, Refusals};
use session::Session;
use survey::{Survey, bit, shards_in, shards_of};
use window::Window;

/// The server ends the session, and with it the ownership, after this long without a statement.
const IDLE_SECONDS: u64 = 8;

/// Time between two signs of life on the session. But for the first second of one, a cursor is written at
/// most this often.
const BEAT: Duration = Duration::from_secs(1);

/// A run hands back after this long, so that a stop or a pause is heard.
const RUN_TIME_MAX: Duration = Duration::from_secs(1);

/// The shortest time between two reads of everything; it grows while these find nothing.
const POLL_MIN: Duration = Duration::from_millis(20);

/// How many messages of one shard are remembered behind one that is held. Beyond it the shard
/// stands still instead of filling the memory.
const TRACKED_MAX: usize = 10_000;

/// The least that is asked for of one shard in one read.
const SHARD_READ_MIN: usize = 16;

/// How long the stop waits for confirmations that are under way.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Rest after the first fault of a message's own; it doubles, up to an hour (rule M3).
const HOLD_FIRST: Duration = Duration::from_secs(1);
const HOLD_MAX: Duration = Duration::from_secs(3_600);

/// Mean of the longest rest while the broker or the database is away. A try costs one connection,
/// and who waits for messages would rather not wait for us.
const REST_MAX: Duration = Duration::from_secs(1);

/// What the connection is for on which suspects are tried.
const TRIALS: &str = "trials";

/// How the relay reads and publishes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name, shown as the owner of a group.
    pub owner: String,
    /// Where the schemas of messages are served, without a slash at the end.
    pub schemas: String,
    /// Rows of one read.
    pub read_max: usize,
    /// Messages in flight.
    pub window_max: usize,
    /// The longest time between two reads of everything.
    pub poll: Duration,
    /// So often a message may fail by its own fault before it is parked; at least 1.
    pub tries: u32,
    pub after_parking: AfterParking,
}

/// The worker; see the module. Not to be started without a broker.
pub struct OutboxRelay {
    database: Database,
    rabbit: Rabbit,
    /// A connection of its own for messages under suspicion.
    trials: Rabbit,
    clock: Arc<dyn Clock>,
    dirty: Dirty,
    settings: Settings,
    session: Option<Session>,
    window: Window<Letter>,
    flights: FuturesUnordered<BoxFuture<'static, Landing>>,
    /// Whether one of the flights is a trial.
    on_trial: bool,
    books: Books,
    probes: Probes,
    refusals: Refusals,
    /// Shards that may have rows after what was read, as a bit set.
    unread: u64,
    /// Time between reads of everything, now.
    poll: Duration,
    survey_at: Instant,
    /// When it is looked again at what waits.
    measure_at: Instant,
}

/// What became of a message on its way.
struct Landing {
    letter: Arc<Letter>,
    outcome: Outcome,
}

enum Outcome {
    Sent(Result<Delivery, PublishFault>),
    Tried(Verdict),
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The session is lost, or must be taken for lost.
    #[error(transparent)]
    Database(#[from] db::Error),
    /// Another node writes this group's cursor.
    #[error("another node took over")]
    Superseded,
    /// The broker; nothing is charged to a message.
    #[error(transparent)]
    Broker(#[from] PublishFault),
}

impl OutboxRelay {
    /// A relay that owns nothing yet. `dirty` is where committed batches announce their shards.
    pub fn new(
        database: Database,
        rabbit: Rabbit,
        clock: Arc<dyn Clock>,
        dirty: Dirty,
        settings: Settings,
    ) -> Self {
        Self {
            database,
            trials: rabbit.apart(TRIALS),
            rabbit,
            clock,
            dirty,
            window: Window::new(settings.window_max),
            settings,
            session: None,
            flights: FuturesUnordered::new(),
            on_trial: false,
            books: Books::new(),
            probes: Probes::new(),
            refusals: Refusals::none(),
            unread: 0,
            poll: POLL_MIN,
            survey_at: Instant::now(),
            measure_at: Instant::now(),
        }
    }

    /// The groups this node relays now.
    pub fn groups(&self) -> Vec<i16> {
        self.session.iter().flat_map(|session| session.written.keys().copied()).collect()
    }

    /// Forgets all that ownership rests on. What is in flight is left to its fate: whoever takes
    /// over publishes it again from the cursor.
    fn forget(&mut self) {
        self.session = None;
        self.window.clear();
        self.flights = FuturesUnordered::new();
        if std::mem::take(&mut self.on_trial) {
            // What is on its way there could still be taken for the next one's fault.
            self.trials = self.rabbit.apart(TRIALS);
        }
        self.books = Books::new();
        self.unread = 0;
        self.measure_at = Instant::now();
    }

    async fn run(&mut self) -> Result<Done, Trouble> {
        self.own().await?;
        self.beat().await?;
        // Also without traffic: consumers bind their queues to the exchange, which must exist. A
        // frozen broker takes long to be given up, and costs us neither the session nor a figure.
        let rabbit = self.rabbit.clone();
        if let Err(fault) = self.while_beating(async move { rabbit.connect().await }).await? {
            // What staff has decided meanwhile is carried out as far as that needs no broker.
            self.keep_books().await?;
            return Err(fault.into());
        }
        if self.flights.is_empty() && !self.sit_out_alarm().await? {
            self.keep_books().await?;
            return Ok(Done { handled: 0, more: true });
        }
        let until = Instant::now() + RUN_TIME_MAX;
        let mut handled = 0;
        let mut fault = None;
        loop {
            self.beat().await?;
            self.window.release_due(Instant::now());
            if fault.is_none() {
                self.read().await?;
                self.keep_books().await?;
                fault = self.launch().await?;
                self.launch_trial();
            }
            if self.flights.is_empty() && (fault.is_some() || !self.books.open()) {
                break;
            }
            if fault.is_none() && Instant::now() >= until {
                return Ok(Done { handled, more: true });
            }
            let landed = self.land().await;
            handled += landed.handled;
            fault = fault.or(landed.fault);
        }
        self.report();
        match fault {
            Some(fault) => Err(fault.into()),
            None => Ok(Done { handled, more: self.readable() != 0 }),
        }
    }

    /// Sees to it that there is a session, and takes over what nobody owns.
    async fn own(&mut self) -> Result<(), Trouble> {
        // After a long back-off the server has ended the session: no need to run into it.
        let idle = |session: &Session| session.touched_at.elapsed().as_secs() + 1 >= IDLE_SECONDS;
        if self.session.as_ref().is_some_and(idle) {
            self.forget();
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.database).await?,
        };
        let found = session.take_over(&self.settings.owner).await?;
        if !found.is_empty() {
            faults::at("relay.took_over");
        }
        for cursor in &found {
            tracing::info!(group = cursor.group, epoch = cursor.epoch, "took over an outbox group");
            for (shard, position) in shards_of(cursor.group).zip(&cursor.positions) {
                self.window.own(shard, *position, (cursor.bucket - 1).max(0));
                self.unread |= bit(shard);
            }
            session.written.insert(cursor.group, cursor.clone());
            self.survey_at = Instant::now();
        }
        self.session = Some(session);
        self.learn(&found).await
    }

    /// A sign of life on the session, when one is due: a changed cursor, or else a bare one; and a
    /// look at what waits.
    async fn beat(&mut self) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let now = Instant::now();
        if now >= session.flush_at {
            session.flush(&self.window).await?;
            self.report();
        } else if now >= session.touched_at + BEAT {
            session.touch().await?;
        }
        self.measure().await
    }

    /// Shards that may have rows to read and have room for them: half of what one read brings, so
    /// that a backlog is read by the hundred and not by the handful that was just confirmed.
    fn readable(&self) -> u64 {
        let room = (self.settings.read_max / 2).max(1);
        let has_room = |shard: &i16| {
            self.window.open(*shard) < room && self.window.tracked(*shard) < TRACKED_MAX
        };
        shards_in(self.unread).filter(has_room).map(bit).fold(0, |set, bit| set | bit)
    }

    /// Reads on in the shards that were announced; in all of them when it is time again, because
    /// other nodes announce nothing here.
    async fn read(&mut self) -> Result<(), Trouble> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let owned = session.owned_shards();
        if owned == 0 {
            return Ok(());
        }
        self.unread = (self.unread | self.dirty.take()) & owned;
        let announced = self.unread;
        let now = Instant::now();
        let survey = match now >= self.survey_at {
            true => {
                self.unread = owned;
                Some(Survey::of(&session.connection, &self.window, owned).await?)
            }
            false => None,
        };
        let asked = self.readable();
        if survey.is_some() {
            self.survey_at = now + self.poll;
        }
        if asked == 0 {
            return Ok(());
        }
        let found = self.read_shards(asked, survey.as_ref()).await?;
        if survey.is_some() {
            // What was found unannounced is another node's: it may have more.
            let news = found > 0 && announced == 0;
            self.poll = if news { POLL_MIN } else { (self.poll * 2).min(self.settings.poll) };
        }
        Ok(())
    }

    async fn read_shards(&mut self, asked: u64, survey: Option<&Survey>) -> Result<usize, Trouble> {
        let Some(session) = &mut self.session else { return Ok(0) };
        let limit = (self.settings.read_max / asked.count_ones() as usize).max(SHARD_READ_MIN);
        let places: Vec<_> = shards_in(asked)
            .filter_map(|shard| {
                let (after, bucket) = self.window.read_from(shard)?;
                Some(db::outbox::Place { shard, after, bucket })
            })
            .collect();
        let rows = db::outbox::next(&session.connection, &places, limit as i64).await;
        let rows = rows.map_err(db::Error::from)?;
        session.touched_at = Instant::now();
        let found = rows.len();
        if found > 0 {
            faults::at("relay.read");
        }
        let mut yields = [0_usize; SHARDS as usize];
        for row in rows {
            if let Some(count) = yields.get_mut(row.shard as usize) {
                *count += 1;
            }
            self.window.admit(Letter { row, stored: false });
        }
        let exhausted = |shard: i16| yields.get(shard as usize).is_some_and(|n| *n < limit);
        let done: Vec<_> = places.into_iter().filter(|place| exhausted(place.shard)).collect();
        for place in &done {
            self.unread &= !bit(place.shard);
        }
        if let Some(survey) = survey {
            let behind = survey.raise(&session.connection, &mut self.window, &done).await?;
            if behind != 0 {
                // Catching up, hour by hour.
                self.unread |= behind;
                self.survey_at = Instant::now();
            }
        }
        Ok(found)
    }

    /// Publishes what may go. A fault of the broker's ends it; one of a message's own is charged to
    /// that.
    async fn launch(&mut self) -> Result<Option<PublishFault>, Trouble> {
        if self.refusals.are_old(Instant::now()) && !self.connect_anew().await? {
            return Ok(None);
        }
        while let Some(letter) = self.next_letter() {
            let sending = self.rabbit.clone();
            let message = letter.outgoing(&self.rabbit, &self.settings.schemas);
            let mut step = letter::step(&message);
            let sent = self.while_beating(async move { sending.publish(message).await }).await?;
            let fault = match sent {
                Ok(pending) => {
                    faults::at("relay.published");
                    let flight = async move {
                        let confirmed = pending.confirm_event().await;
                        if let (Some(step), Err(fault)) = (&mut step, &confirmed) {
                            step.failed(fault.class().name());
                        }
                        Landing { letter, outcome: Outcome::Sent(confirmed) }
                    };
                    self.flights.push(flight.boxed());
                    continue;
                }
                Err(fault) => fault,
            };
            let outcome = Outcome::Sent(Err(fault));
            if let Some(fault) = self.settle(Landing { letter, outcome }) {
                return Ok(Some(fault));
            }
        }
        Ok(None)
    }

    /// Waits for something, but not so long that the server takes us for frozen.
    async fn while_beating<T: Send>(
        &mut self,
        work: impl Future<Output = T> + Send,
    ) -> Result<T, Trouble> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return Ok(result),
                () = sleep(BEAT) => self.beat().await?,
            }
        }
    }

    /// Waits for the next confirmation, a beat at most, and takes all that are there.
    async fn land(&mut self) -> Landed {
        let mut landed = Landed::default();
        // The next read may not wait for a slow broker.
        let now = Instant::now();
        let until = self.survey_at.clamp(now + POLL_MIN, now + BEAT);
        let mut next = tokio::select! {
            next = self.flights.next() => next,
            () = sleep_until(until) => None,
        };
        while let Some(landing) = next {
            match self.settle(landing) {
                None => landed.handled += 1,
                Some(fault) => landed.fault = Some(fault),
            }
            next = self.flights.next().now_or_never().flatten();
        }
        landed
    }

    /// Notes what became of a message. Answers with the fault if it is the broker's.
    fn settle(&mut self, landing: Landing) -> Option<PublishFault> {
        let letter = landing.letter;
        self.on_trial &= !matches!(landing.outcome, Outcome::Tried(_));
        let fault = match landing.outcome {
            Outcome::Sent(Ok(_)) | Outcome::Tried(Verdict::Delivered(_)) => {
                faults::at("relay.confirmed");
                counter!("outbox_published_total").increment(1);
                self.books.delivered(&letter, self.window.tries(&letter));
                if self.window.confirmed(&letter) {
                    self.refusals = Refusals::none();
                }
                return None;
            }
            Outcome::Tried(Verdict::Unproven(fault)) => {
                self.unproven(&letter, &fault);
                return None;
            }
            Outcome::Tried(Verdict::Guilty(fault)) => {
                self.books.proven(letter, fault);
                return None;
            }
            Outcome::Sent(Err(fault)) => fault,
        };
        match fault.class() {
            // Proven without the broker.
            FaultClass::Message => self.books.proven(letter, fault),
            FaultClass::Suspect => {
                counter!("outbox_channel_closures_total").increment(1);
                self.window.caught(&letter);
            }
            FaultClass::Broker if fault == PublishFault::Refused => self.refused(&letter),
            FaultClass::Broker | FaultClass::Topology => {
                self.window.failed(&letter);
                return Some(fault);
            }
        }
        None
    }

    /// Awaits what is under way, writes the cursors down and gives the groups back.
    async fn hand_back(&mut self) -> Result<(), Trouble> {
        let until = Instant::now() + STOP_PATIENCE;
        while let Ok(Some(landing)) = timeout_at(until, self.flights.next()).await {
            self.settle(landing);
        }
        self.write_books().await?;
        let Some(mut session) = self.session.take() else { return Ok(()) };
        faults::at("relay.handing_back");
        session.flush(&self.window).await?;
        let groups: Vec<i16> = session.written.keys().copied().collect();
        db::outbox::release(&session.connection, &groups).await.map_err(db::Error::from)?;
        faults::at("relay.handed_back");
        Ok(())
    }
}

impl Worker for OutboxRelay {
    fn name(&self) -> &'static str {
        "outbox_relay"
    }

    fn period(&self) -> Duration {
        // A node that only stands by need not look more often than it may take over.
        if self.groups().is_empty() { BEAT } else { self.poll }
    }

    fn rest_max(&self) -> Duration {
        REST_MAX
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let run = self.run().await;
        if let Err(Trouble::Database(_) | Trouble::Superseded) = &run {
            self.forget();
            self.report();
        }
        if let Err(Trouble::Superseded) = &run {
            self.tell_nothing_waits();
        }
        Ok(run?)
    }

    async fn on_stop(&mut self) -> anyhow::Result<()> {
        let handed_back = self.hand_back().await;
        self.trials.close().await;
        self.forget();
        Ok(handed_back?)
    }
}

/// What a round of landings came to.
#[derive(Default)]
struct Landed {
    handled: usize,
    fault: Option<PublishFault>,
}

fn hold_time(failures: u32) -> Duration {
    HOLD_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(12)).min(HOLD_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m3_a_faulty_messages_rest_doubles_up_to_an_hour() {
        let seconds = |failures| hold_time(failures).as_secs();
        assert_eq!([seconds(1), seconds(2), seconds(3), seconds(12)], [1, 2, 4, 2_048]);
        assert_eq!([seconds(13), seconds(14), seconds(u32::MAX)], [3_600; 3]);
    }

    #[test]
    fn every_shard_has_one_bit_and_one_group() {
        let all = (0..db::outbox::GROUPS).flat_map(shards_of).fold(0, |set, s| set ^ bit(s));
        assert_eq!(all, u64::MAX);
        assert_eq!(shards_in(bit(63) | bit(5)).collect::<Vec<_>>(), [5, 63]);
    }
}
