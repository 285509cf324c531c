//! The segment evaluator: judges customers anew when they changed, and when time makes it due (rule S2).
//!
//! What changed is read from the outbox, in the order of commits and after cursors of its own: each
//! change wrote its message in its transaction, so that none is missed and nothing else is written to
//! tell of it. Customers that no rule asks about are passed over. The others are judged through the one
//! door, by what is known of them in the transaction that writes the verdict: so it does no harm that a
//! change is looked at late, twice or along with the next one, and after a kill all that was not written
//! down as judged is judged again, which changes nothing.

mod reader;

use crate::actors::customers::{Customers, SubmitError};
use crate::actors::segments::{Known, SegmentDesk};
use crate::actors::worker::{Done, Worker};
use crate::actors::workers::outbox_relay::Dirty;
use crate::clock::Clock;
use crate::db::outbox::Row;
use crate::db::segment_members::Flip;
use crate::db::{self, Database};
use crate::domain::CustomerId;
use crate::domain::command::{Actor, Command, Context, MembershipCommand, Subject, Submission};
use crate::domain::message::MembershipCause;
use crate::domain::outcome::Rejection;
use crate::domain::segment::attributes::Mark;
use crate::domain::segment::marks;
use crate::domain::segment::membership::Asked;
use crate::faults;
use chrono::TimeDelta;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use metrics::{counter, gauge, histogram};
use reader::{BEAT, Lost, Reader};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A run hands back after this long, so that a stop or a pause is heard.
const RUN_TIME_MAX: Duration = Duration::from_secs(1);

/// Customers that are judged at once: as many as share a commit.
const AT_ONCE: usize = 256;

/// How often a customer is tried to be judged by what is in force by then.
const TRIES: usize = 20;

/// Between two looks at what time has made due.
const DUE_EVERY: Duration = Duration::from_millis(200);

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Lost(#[from] Lost),
    /// What was asked for is not known to be done.
    #[error("a customer could not be judged: {0}")]
    NotJudged(#[from] SubmitError),
}

impl From<db::Error> for Trouble {
    fn from(error: db::Error) -> Self {
        Self::Lost(error.into())
    }
}

/// How the evaluator works.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This node's name, shown as the owner of a group.
    pub owner: String,
    /// The longest time between two reads of everything.
    pub poll: Duration,
}

/// The worker; see the module.
pub struct SegmentEvaluator {
    database: Database,
    customers: Customers,
    desk: SegmentDesk,
    clock: Arc<dyn Clock>,
    dirty: Dirty,
    settings: Settings,
    reader: Option<Reader>,
    /// Shards that may have rows after what was read, as a bit set.
    unread: u64,
    survey_at: Instant,
    due_at: Instant,
    refresh_at: Instant,
}

impl SegmentEvaluator {
    /// An evaluator that owns nothing yet. `dirty` is where committed batches announce their shards.
    pub fn new(
        database: Database,
        customers: Customers,
        desk: SegmentDesk,
        clock: Arc<dyn Clock>,
        dirty: Dirty,
        settings: Settings,
    ) -> Self {
        Self {
            database,
            customers,
            desk,
            clock,
            dirty,
            settings,
            reader: None,
            unread: 0,
            survey_at: Instant::now(),
            due_at: Instant::now(),
            refresh_at: Instant::now(),
        }
    }

    async fn run(&mut self) -> Result<Done, Trouble> {
        let mut reader = match self.reader.take().filter(|reader| !reader.is_idle()) {
            Some(reader) => reader,
            None => Reader::open(&self.database).await?,
        };
        let taken = reader.take_over(&self.settings.owner).await?;
        if taken != 0 {
            self.survey_at = Instant::now();
        }
        self.unread |= taken;
        gauge!("segment_groups_owned").set(reader.groups() as f64);
        let until = Instant::now() + RUN_TIME_MAX;
        let mut handled = 0;
        if Instant::now() >= self.refresh_at {
            // New figures come into force by this, also where nothing happens.
            self.refresh_at = Instant::now() + BEAT;
            self.desk.refresh(reader.connection(), self.clock.now()).await?;
        }
        loop {
            reader.beat().await?;
            let changed = self.changes(&mut reader).await?;
            let due = self.due(&mut reader).await?;
            handled += changed + due;
            let more = self.unread != 0 || due > 0;
            if !more || Instant::now() >= until {
                self.reader = Some(reader);
                return Ok(Done { handled, more });
            }
        }
    }

    /// Judges whom the next messages are about. Answers with the number of messages.
    async fn changes(&mut self, reader: &mut Reader) -> Result<usize, Trouble> {
        let owned = reader.owned();
        self.unread = (self.unread | self.dirty.take()) & owned;
        let now = Instant::now();
        let survey = now >= self.survey_at && owned != 0;
        if survey {
            self.unread = owned;
            self.survey_at = now + self.settings.poll;
        }
        if self.unread == 0 {
            gauge!("segment_backlog_seconds").set(0.0);
            return Ok(0);
        }
        let found = reader.next(self.unread, survey).await?;
        self.unread = found.more;
        let Some(oldest) = found.rows.iter().map(|row| row.occurred_at).min() else {
            return Ok(0);
        };
        gauge!("segment_backlog_seconds").set(seconds(self.clock.now() - oldest));
        faults::at("segments.read");
        // After the rows: whatever was in force when they were written is known by then.
        let known = self.desk.refresh(reader.connection(), self.clock.now()).await?;
        let whom = marked(&found.rows, &known);
        let latest: Vec<_> = whom.values().map(|(_, at)| *at).collect();
        let asked = whom.into_iter().map(|(id, (marks, _))| (id, Asked::Marks(marks)));
        self.judge(reader, asked.collect(), MembershipCause::Change).await?;
        let done_at = self.clock.now();
        for at in latest {
            histogram!("segment_change_lag_seconds").record(seconds(done_at - at));
        }
        reader.judged(&found.rows);
        faults::at("segments.judged");
        Ok(found.rows.len())
    }

    /// Judges for whom time may have turned an answer. Answers with the number of these answers.
    async fn due(&mut self, reader: &mut Reader) -> Result<usize, Trouble> {
        let now = Instant::now();
        if now < self.due_at || reader.owned() == 0 {
            return Ok(0);
        }
        let due = reader.due(self.clock.now()).await?;
        if due.is_empty() {
            self.due_at = now + DUE_EVERY;
            return Ok(0);
        }
        let known = self.desk.refresh(reader.connection(), self.clock.now()).await?;
        let (alive, dead): (Vec<Flip>, Vec<Flip>) =
            due.iter().cloned().partition(|flip| known.programs.rule(flip.segment_id).is_some());
        if !dead.is_empty() {
            let version = known.programs.version;
            self.desk.forget_flips(reader.connection(), version, &dead).await?;
        }
        let mut whom: BTreeMap<CustomerId, BTreeSet<_>> = BTreeMap::new();
        for flip in &alive {
            whom.entry(flip.customer_id).or_default().insert(flip.segment_id);
        }
        let asked = whom.into_iter().map(|(id, segments)| (id, Asked::These(segments))).collect();
        self.judge(reader, asked, MembershipCause::Time).await?;
        let done_at = self.clock.now();
        for flip in &alive {
            histogram!("segment_time_lag_seconds").record(seconds(done_at - flip.due_at));
        }
        Ok(due.len())
    }

    /// Judges customers, many at once, and stays alive for the server meanwhile.
    async fn judge(
        &self,
        reader: &mut Reader,
        whom: Vec<(CustomerId, Asked)>,
        cause: MembershipCause,
    ) -> Result<(), Trouble> {
        if whom.is_empty() {
            return Ok(());
        }
        counter!("segment_verdicts_total", "cause" => cause.as_str()).increment(whom.len() as u64);
        let verdicts = stream::iter(whom)
            .map(|(id, asked)| self.one(id, asked, cause).boxed())
            .buffer_unordered(AT_ONCE);
        let mut verdicts = pin!(verdicts);
        loop {
            tokio::select! {
                biased;
                verdict = verdicts.next() => match verdict {
                    Some(verdict) => verdict?,
                    None => return Ok(()),
                },
                () = sleep(BEAT) => {}
            }
            reader.beat().await?;
        }
    }

    /// Judges one customer by what is in force. One that is gone has left its segments with its end.
    async fn one(
        &self,
        id: CustomerId,
        asked: Asked,
        cause: MembershipCause,
    ) -> Result<(), Trouble> {
        let mut tries = 0;
        loop {
            let programs = Arc::clone(&self.desk.standards().known().programs);
            let asked = asked.clone();
            let command = MembershipCommand::Judge { programs, asked, cause };
            let submission = Submission {
                subject: Subject::Customer(id),
                command: Command::Membership(command),
                context: Context {
                    actor: Actor::Service,
                    now: self.clock.now(),
                    request_id: format!("segments-{}", id.0),
                    traceparent: None,
                },
                idempotency: None,
            };
            tries += 1;
            match self.customers.submit(submission).await {
                Ok(_) | Err(SubmitError::Rejected(Rejection::NotFound)) => return Ok(()),
                Err(SubmitError::Rejected(Rejection::Conflict)) if tries < TRIES => {
                    let mut connection = self.database.get().await?;
                    self.desk.refresh(&mut connection, self.clock.now()).await?;
                }
                Err(SubmitError::Overloaded { retry_after }) if tries < TRIES => {
                    sleep(retry_after).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whom the messages are about, as far as rules ask about what changed; with the instant of the first.
fn marked(
    rows: &[Row],
    known: &Known,
) -> BTreeMap<CustomerId, (BTreeSet<Mark>, chrono::DateTime<chrono::Utc>)> {
    let mut whom = BTreeMap::new();
    for row in rows {
        // A type that only a newer version writes may mean anything.
        let data = serde_json::from_str(&row.data).unwrap_or_default();
        let marks = marks::of_message(&row.kind, &data);
        let marks = marks.unwrap_or_else(|| BTreeSet::from([Mark::Created]));
        if known.programs.concerns(&marks) {
            let at = row.occurred_at;
            let entry = whom.entry(CustomerId(row.customer_id));
            let (all, _) = entry.or_insert_with(|| (BTreeSet::new(), at));
            all.extend(marks);
        }
    }
    whom
}

fn seconds(delta: TimeDelta) -> f64 {
    delta.max(TimeDelta::zero()).as_seconds_f64()
}

impl Worker for SegmentEvaluator {
    fn name(&self) -> &'static str {
        "segment_evaluator"
    }

    fn period(&self) -> Duration {
        // A node that only stands by need not look more often than it may take over.
        match &self.reader {
            Some(reader) if reader.groups() > 0 => self.settings.poll.min(DUE_EVERY),
            _ => BEAT,
        }
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let run = self.run().await;
        if run.is_err() {
            // The session was dropped, and with it all that rests on it.
            self.unread = 0;
            gauge!("segment_groups_owned").set(0.0);
        }
        Ok(run?)
    }

    async fn on_stop(&mut self) -> anyhow::Result<()> {
        match self.reader.take() {
            Some(mut reader) => Ok(reader.release().await?),
            None => Ok(()),
        }
    }
}
