//! Step two: the commands in arrival order through `decide` and `evolve`; later ones see what
//! earlier ones did. Pure but for the ids of messages and entries, and the keys and nonces that they are
//! sealed by.

use super::Answer;
use super::defaults::{self, DefaultSegment};
use super::load::{FoundAttributes, Loaded};
use super::sealing::{NewKey, Sealing, Seals};
use crate::actors::customers::{Answered, SubmitError};
use crate::clock::Clock;
use crate::db::erasures::Gone;
use crate::db::idempotency::Remembered;
use crate::domain::attribute::{
    AttributeKey, Attributes, Definition, Signpost, Standing as Defined,
};
use crate::domain::command::{Command, IdempotencyKey};
use crate::domain::consent;
use crate::domain::customer::GroupCode;
use crate::domain::decide::decide;
use crate::domain::event::Trace;
use crate::domain::evolve::evolve;
use crate::domain::flow::Flow;
use crate::domain::group::Standing;
use crate::domain::mail::Mail;
use crate::domain::merge::MergeReport;
use crate::domain::message::{Message, Sealed};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::segment::record::{SegmentEvent, Segments};
use crate::domain::session::SecretHash;
use crate::domain::status::Status;
use crate::domain::text_message::TextMessage;
use crate::domain::throttle::{Bucket, Throttle};
use crate::domain::welcome::Series;
use crate::domain::{
    Context, CustomerId, EntryId, Event, MailId, MessageId, State, Submission, shard,
};
use chrono::{DateTime, Utc};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What a batch came to, to be saved.
#[derive(Default)]
pub struct Folded<'a> {
    pub before: HashMap<CustomerId, State>,
    pub after: HashMap<CustomerId, State>,
    /// When each customer was last decided about.
    pub decided_at: HashMap<CustomerId, DateTime<Utc>>,
    pub throttles: Vec<(Bucket, Throttle, DateTime<Utc>)>,
    pub flows: Vec<Flow>,
    /// Groups that came to be, were renamed or deleted: as they were found and as they are.
    pub groups: Vec<(Option<Standing>, Option<Standing>)>,
    /// Definitions of attributes that came to be, changed or went: likewise.
    pub attributes: Vec<(Option<Definition>, Option<Definition>)>,
    /// Segments that came to be, changed or went: likewise, each with who did it.
    pub segments: Vec<SegmentStep<'a>>,
    /// All segments after the batch, where a command of it is about one.
    pub known_segments: Segments,
    /// Keys of customers who had none.
    pub new_keys: Vec<NewKey>,
    pub messages: Vec<Outgoing<'a>>,
    pub entries: Vec<Entry<'a>>,
    pub mails: Vec<(Mail, DateTime<Utc>)>,
    pub texts: Vec<(TextMessage, DateTime<Utc>)>,
    /// New lines of the ledger of consents.
    pub consents: Vec<(CustomerId, consent::Entry, &'a Context)>,
    pub merges: Vec<(MergeReport, DateTime<Utc>)>,
    /// Those of whom nothing is to be left.
    pub erased: Vec<Gone>,
    /// Where their tries to sign in are counted.
    pub erased_buckets: Vec<Bucket>,
    /// Requests to remember, with what their callers are told.
    pub keys: Vec<(&'a IdempotencyKey, Option<CustomerId>, Outcome, DateTime<Utc>)>,
    pub answers: Vec<Answer>,
}

impl<'a> Folded<'a> {
    /// What of an event is written as it is, beside its message and its entry.
    fn keep(&mut self, event: Event, customer_id: Option<CustomerId>, context: &'a Context) {
        match (event, customer_id) {
            (Event::MailQueued(mail), _) => self.mails.push((*mail, context.now)),
            (Event::TextQueued(text), _) => self.texts.push((*text, context.now)),
            (Event::Consent(entry), Some(id)) => self.consents.push((id, *entry, context)),
            (Event::Merged(report), _) => self.merges.push((*report, context.now)),
            (Event::Erasure(event), Some(customer)) => {
                let gone = event.erases();
                self.erased.extend(gone.map(|(erasure, at)| Gone { customer, erasure, at }));
            }
            (Event::Segment(event), _) => self.segments.push((event, context)),
            _ => {}
        }
    }
}

/// What became of a segment, and who did it.
pub type SegmentStep<'a> = (SegmentEvent, &'a Context);

pub struct Outgoing<'a> {
    pub id: MessageId,
    pub shard: u16,
    /// Whom it is about; the id of a definition where it is about one.
    pub customer_id: CustomerId,
    /// Its number among those about it.
    pub customer_sequence: i64,
    pub message: Message,
    pub sealed: Option<Sealed>,
    pub context: &'a Context,
}

pub struct Entry<'a> {
    pub id: EntryId,
    pub shard: u16,
    pub customer_id: Option<CustomerId>,
    pub trace: Trace,
    pub context: &'a Context,
}

pub fn fold<'a>(
    loaded: Loaded,
    submissions: impl IntoIterator<Item = &'a Submission>,
    welcome: &Series,
    seals: &Seals,
    clock: &dyn Clock,
) -> Folded<'a> {
    let mut fold = Fold {
        folded: Folded {
            before: loaded.states.clone(),
            after: loaded.states,
            ..Default::default()
        },
        throttles: loaded.throttles.into_iter().map(|(bucket, t)| (bucket, (t, None))).collect(),
        groups: loaded.groups.into_iter().map(|(c, g)| (c, (Some(g.clone()), Some(g)))).collect(),
        attributes: Definitions::found(loaded.attributes),
        segments: loaded.segments,
        flows: loaded.flows.into_iter().map(|(hash, flow)| (hash, (flow, false))).collect(),
        remembered: loaded.remembered,
        sealing: Sealing::new(seals, clock, loaded.keys),
        defaults: loaded.defaults,
        welcome,
        clock,
    };
    for submission in submissions {
        let answer = fold.one(submission);
        fold.folded.answers.push(answer);
    }
    let changed = fold.throttles.into_iter();
    fold.folded.throttles =
        changed.filter_map(|(bucket, (t, at))| at.map(|at| (bucket, t, at))).collect();
    let flows = fold.flows.into_values();
    fold.folded.flows = flows.filter_map(|(flow, changed)| changed.then_some(flow)).collect();
    let groups = fold.groups.into_values();
    fold.folded.groups = groups.filter(|(before, after)| before != after).collect();
    fold.folded.attributes = fold.attributes.changed();
    fold.folded.known_segments = fold.segments;
    fold.folded.new_keys = fold.sealing.made();
    fold.folded
}

struct Fold<'a, 'c> {
    folded: Folded<'a>,
    /// Each bucket with the instant of its latest change in this batch.
    throttles: HashMap<Bucket, (Throttle, Option<DateTime<Utc>>)>,
    /// Each flow, and whether this batch changed it.
    flows: HashMap<SecretHash, (Flow, bool)>,
    /// Each group as it was found, and as it is by now.
    groups: HashMap<GroupCode, (Option<Standing>, Option<Standing>)>,
    attributes: Definitions,
    /// All of them by now, where a command of the batch is about one.
    segments: Segments,
    remembered: Vec<Remembered>,
    sealing: Sealing<'c>,
    defaults: Vec<DefaultSegment>,
    welcome: &'c Series,
    clock: &'c dyn Clock,
}

impl<'a> Fold<'a, '_> {
    fn one(&mut self, submission: &'a Submission) -> Answer {
        if let Some(answer) = self.replay(submission) {
            return answer;
        }
        let nobody = &mut State::default();
        let customer_id = submission.customer_id();
        let other = submission.command.merges();
        let lent = other.map(|id| Box::new(self.folded.after.remove(&id).unwrap_or_default()));
        let state = match customer_id {
            Some(id) => self.folded.after.entry(id).or_default(),
            None => nobody,
        };
        for bucket in submission.command.buckets() {
            let throttle = self.throttles.entry(bucket).or_default().0.clone();
            state.throttles.insert(bucket, throttle);
        }
        let flow = submission.command.flow().and_then(|hash| self.flows.get(&hash));
        state.flow = flow.map(|(flow, _)| flow.clone());
        let group = submission.command.group();
        state.group = group.and_then(|code| self.groups.get(code)?.1.clone());
        self.attributes.lend(&submission.command, &mut state.attributes);
        if submission.command.is_about_segments() {
            state.segments = std::mem::take(&mut self.segments);
        }
        state.other = lent;
        let decided = match decide(state, &submission.command, &submission.context) {
            Ok(decided) => decided,
            Err(rejection) => {
                state.attributes = Attributes::default();
                self.segments.append(&mut state.segments);
                state.throttles.clear();
                state.flow = None;
                state.group = None;
                let lent = state.other.take();
                self.folded.after.extend(other.zip(lent.map(|lent| *lent)));
                return Err(SubmitError::Rejected(rejection));
            }
        };
        if let Some(id) = customer_id {
            self.folded.decided_at.insert(id, submission.context.now);
        }
        if let (Some(id), Some(other)) = (other, state.other.as_deref_mut()) {
            self.folded.decided_at.insert(id, submission.context.now);
            let (clock, context) = (self.clock, &submission.context);
            let records = Records { clock, context, customer_id: Some(id) };
            for event in &decided.of_other {
                evolve(other, event);
                let (messages, entries) = (&mut self.folded.messages, &mut self.folded.entries);
                records.note(messages, entries, &mut self.sealing, other, event);
            }
        }
        let mut events = VecDeque::from(decided.events);
        let mut happened = Vec::new();
        while let Some(event) = events.pop_front() {
            let new_id = || MailId(self.clock.new_id());
            events.extend(self.welcome.follows(state, &event, new_id));
            events.extend(defaults::follow(&self.defaults, &event, &submission.context));
            evolve(state, &event);
            let records = Records { clock: self.clock, context: &submission.context, customer_id };
            let (messages, entries) = (&mut self.folded.messages, &mut self.folded.entries);
            records.note(messages, entries, &mut self.sealing, state, &event);
            happened.push(event);
        }
        if let Command::Deletion(command) = &submission.command {
            self.folded.erased_buckets.extend(command.erased_buckets());
        }
        let outcome = decided.answer.outcome(state);
        // What was lent goes back.
        for (bucket, throttle) in std::mem::take(&mut state.throttles) {
            let kept = self.throttles.entry(bucket).or_default();
            if kept.0 != throttle {
                *kept = (throttle, Some(submission.context.now));
            }
        }
        if let Some(flow) = state.flow.take()
            && self.flows.get(&flow.hash).is_none_or(|(kept, _)| *kept != flow)
        {
            self.flows.insert(flow.hash, (flow, true));
        }
        if let Some(code) = group {
            self.groups.entry(code.clone()).or_default().1 = state.group.take();
        }
        self.attributes.take_back(&submission.command, std::mem::take(&mut state.attributes));
        self.segments.append(&mut state.segments);
        let lent = state.other.take();
        self.folded.after.extend(other.zip(lent.map(|lent| *lent)));
        for event in happened {
            self.folded.keep(event, customer_id, &submission.context);
        }
        if let Some(key) = &submission.idempotency {
            self.remember(key, customer_id, &outcome, submission.context.now);
        }
        Ok(Answered { outcome, replayed: false })
    }

    /// The answer that an earlier request with the same key got, in this batch or before it.
    fn replay(&self, submission: &Submission) -> Option<Answer> {
        let key = submission.idempotency.as_ref()?;
        let found = self
            .remembered
            .iter()
            .find(|known| known.owner == key.owner && known.key == key.key)?;
        Some(if found.request_hash == key.request_hash {
            Ok(Answered { outcome: found.outcome.clone(), replayed: true })
        } else {
            Err(SubmitError::Rejected(Rejection::IdempotencyKeyReused))
        })
    }

    fn remember(
        &mut self,
        key: &'a IdempotencyKey,
        customer_id: Option<CustomerId>,
        outcome: &Outcome,
        now: DateTime<Utc>,
    ) {
        self.remembered.push(Remembered {
            owner: key.owner.clone(),
            key: key.key.clone(),
            request_hash: key.request_hash,
            outcome: outcome.clone(),
        });
        self.folded.keys.push((key, customer_id, outcome.clone(), now));
    }
}

/// The definitions of attributes as they were found, and as they are by now.
#[derive(Default)]
struct Definitions {
    found: HashMap<AttributeKey, Definition>,
    named: HashMap<AttributeKey, Defined>,
    all: Arc<Vec<Signpost>>,
}

impl Definitions {
    fn found(FoundAttributes { named, all }: FoundAttributes) -> Self {
        let definition =
            |(key, one): (&AttributeKey, &Defined)| (key.clone(), one.definition.clone());
        Self { found: named.iter().map(definition).collect(), named, all }
    }

    /// Lends those that a command names; most commands name none.
    fn lend(&self, command: &Command, to: &mut Attributes) {
        let keys = command.attributes();
        if !keys.is_empty() {
            let known = |key: AttributeKey| Some((key.clone(), self.named.get(&key)?.clone()));
            to.named = keys.into_iter().filter_map(known).collect();
            to.all = Arc::clone(&self.all);
        }
    }

    fn take_back(&mut self, command: &Command, mut lent: Attributes) {
        let keys = command.attributes();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            match lent.named.remove(&key) {
                Some(standing) => self.named.insert(key, standing),
                None => self.named.remove(&key),
            };
        }
        self.all = lent.all;
    }

    fn changed(mut self) -> Vec<(Option<Definition>, Option<Definition>)> {
        let mut changes = Vec::new();
        for (key, before) in self.found {
            let after = self.named.remove(&key).map(|standing| standing.definition);
            if after.as_ref() != Some(&before) {
                changes.push((Some(before), after));
            }
        }
        changes.extend(self.named.into_values().map(|new| (None, Some(new.definition))));
        changes
    }
}

/// Turns events into messages and entries: every event, so none can be forgotten.
struct Records<'a, 'c> {
    clock: &'c dyn Clock,
    context: &'a Context,
    customer_id: Option<CustomerId>,
}

impl<'a> Records<'a, '_> {
    fn note(
        &self,
        messages: &mut Vec<Outgoing<'a>>,
        entries: &mut Vec<Entry<'a>>,
        sealing: &mut Sealing<'_>,
        state: &mut State,
        event: &Event,
    ) {
        let shard = self.customer_id.map_or(0, shard::of_customer);
        let living = state.customer.as_ref();
        let lives = living.is_some_and(|customer| customer.status != Status::Erased);
        let customer = state.customer.as_mut().or(state.departed.as_mut());
        let told = match (event.place(), self.customer_id, customer) {
            (Some((id, sequence)), _, _) => {
                let about = CustomerId(id);
                event.message(about).map(|message| (about, sequence, message))
            }
            (None, Some(id), Some(customer)) => event.message(id).map(|message| {
                customer.sequence += 1;
                (id, customer.sequence, message)
            }),
            _ => None,
        };
        let mut outgoing = told.map(|(customer_id, customer_sequence, message)| Outgoing {
            id: event.message_id().unwrap_or_else(|| MessageId(self.clock.new_id())),
            shard: shard::of_customer(customer_id),
            customer_id,
            customer_sequence,
            message,
            sealed: None,
            context: self.context,
        });
        let mut entry = event.trace().map(|trace| Entry {
            id: EntryId(self.clock.new_id()),
            shard,
            customer_id: self.customer_id,
            trace,
            context: self.context,
        });
        if let Some(customer) = self.customer_id {
            sealing.seal(customer, lives, event, outgoing.as_mut(), entry.as_mut());
        }
        messages.extend(outgoing);
        entries.extend(entry);
    }
}
