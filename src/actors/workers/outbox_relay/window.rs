//! What the relay knows of the messages between reading and confirmation: which may be published
//! next, and how far each shard is done. Pure: no I/O, no clock.
//!
//! Two promises hold by construction. Of one customer at most one message is in flight, the one
//! that comes next, so a refusal can never let a later message overtake an earlier one. And a
//! position moves only over messages that are done without a gap, so none is ever skipped. Done
//! is what is confirmed, and what is kept elsewhere: parked, or behind a parked one.

use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;
use uuid::Uuid;

/// So often a message may be under way when the broker closes the channel, before it is published
/// alone: the first time it is likely a neighbour's fault.
const CLOSURES_MAX: u32 = 2;

/// Where a message stands and whose it is.
pub trait Entry {
    /// Its logical shard.
    fn shard(&self) -> i16;
    /// Its number, rising within the shard.
    fn seq(&self) -> i64;
    /// Its hour, never falling within the shard.
    fn bucket(&self) -> i32;
    /// Whom it is about.
    fn customer(&self) -> Uuid;
    /// When it was decided.
    fn occurred_at(&self) -> DateTime<Utc>;
    /// Whether it comes from what is parked, and no position waits for it.
    fn stored(&self) -> bool;
}

/// The messages read and not yet done, of the shards owned.
#[derive(Debug)]
pub struct Window<M> {
    in_flight_max: usize,
    in_flight: usize,
    shards: BTreeMap<i16, Progress>,
    lanes: HashMap<Uuid, Lane<M>>,
    /// Customers whose next message may go now.
    ready: VecDeque<Uuid>,
    /// Customers whose next message may go now, but only alone.
    suspects: VecDeque<Uuid>,
    /// Customers whose next message the broker has refused: it goes again as a probe.
    refused: VecDeque<Uuid>,
    /// Customers whose messages are kept behind those that are parked.
    blocked: HashSet<Uuid>,
    /// Messages of blocked customers, to be kept.
    diverted: Vec<Arc<M>>,
}

/// What was noted of a message by an owner before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is kept elsewhere.
    Kept,
    /// It failed so often by its own fault.
    Tried(u32),
}

/// One shard: done up to `position`, read up to `read_to`.
#[derive(Debug)]
struct Progress {
    position: i64,
    read_to: i64,
    /// No row after `read_to` lies in an earlier bucket, now or ever.
    floor: i32,
    /// Read and beyond `position`, ascending.
    pending: VecDeque<Pending>,
    /// How many of `pending` are not done.
    open: usize,
    /// Of messages that are not read yet.
    known: BTreeMap<i64, Known>,
}

#[derive(Debug)]
struct Pending {
    seq: i64,
    bucket: i32,
    occurred_at: DateTime<Utc>,
    done: bool,
}

/// One customer's messages that are not done, in order.
#[derive(Debug)]
struct Lane<M> {
    waiting: VecDeque<Waiting<M>>,
    state: LaneState,
}

#[derive(Debug)]
struct Waiting<M> {
    message: Arc<M>,
    /// How often it failed by its own fault.
    tries: u32,
    /// How often it was under way when the broker closed the channel.
    closures: u32,
    /// Whether the broker has refused it since it last took one that it had refused.
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneState {
    Ready,
    InFlight,
    /// On its way alone; not counted as in flight.
    OnTrial,
    Held(Instant),
}

impl<M: Entry> Window<M> {
    /// Nothing owned, nothing read. At most `in_flight_max` messages will be in flight at once.
    pub fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max,
            in_flight: 0,
            shards: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            suspects: VecDeque::new(),
            refused: VecDeque::new(),
            blocked: HashSet::new(),
            diverted: Vec::new(),
        }
    }

    /// Begins with a shard that is done up to `position` and has no unpublished row in a bucket
    /// before `floor`.
    pub fn own(&mut self, shard: i16, position: i64, floor: i32) {
        let progress = Progress {
            position,
            read_to: position,
            floor,
            pending: VecDeque::new(),
            open: 0,
            known: BTreeMap::new(),
        };
        self.shards.insert(shard, progress);
    }

    /// Notes what is known of a message of an owned shard that is yet to be read.
    pub fn know(&mut self, shard: i16, seq: i64, known: Known) {
        if let Some(progress) = self.shards.get_mut(&shard).filter(|shard| shard.read_to < seq) {
            progress.known.insert(seq, known);
        }
    }

    /// Forgets everything, messages in flight included.
    pub fn clear(&mut self) {
        *self = Self::new(self.in_flight_max);
    }

    /// Where to read on in a shard: after which `seq`, from which bucket on.
    pub fn read_from(&self, shard: i16) -> Option<(i64, i32)> {
        self.shards.get(&shard).map(|progress| (progress.read_to, progress.floor))
    }

    /// What to write down for a shard: its position, and the bucket before which nothing is left.
    pub fn progress(&self, shard: i16) -> Option<(i64, i32)> {
        self.shards.get(&shard).map(|progress| {
            let bucket = progress.pending.front().map_or(progress.floor, |first| first.bucket);
            (progress.position, bucket)
        })
    }

    /// Messages of a shard that are not done.
    pub fn open(&self, shard: i16) -> usize {
        self.shards.get(&shard).map_or(0, |progress| progress.open)
    }

    /// Messages of a shard that are remembered, be it only because an earlier one is not done.
    pub fn tracked(&self, shard: i16) -> usize {
        self.shards.get(&shard).map_or(0, |progress| progress.pending.len())
    }

    /// Messages that are not done, of all shards.
    pub fn open_total(&self) -> usize {
        self.shards.values().map(|progress| progress.open).sum()
    }

    /// Customers whose messages wait because of a faulty one.
    pub fn held(&self) -> usize {
        let held = |lane: &&Lane<M>| matches!(lane.state, LaneState::Held(_));
        self.lanes.values().filter(held).count() + self.blocked.len() + self.refused.len()
    }

    /// When the oldest message of these shards that is not done was decided.
    pub fn oldest(&self, shards: Range<i16>) -> Option<DateTime<Utc>> {
        let owned = self.shards.range(shards).map(|(_, progress)| progress);
        let firsts = owned.filter_map(|progress| progress.pending.front());
        firsts.map(|first| first.occurred_at).min()
    }

    /// From now on this customer's messages are kept behind those that are parked.
    pub fn block(&mut self, customer: Uuid) {
        self.blocked.insert(customer);
    }

    /// Nothing of this customer's is kept any more: its messages go their way again.
    pub fn unblock(&mut self, customer: Uuid) {
        self.blocked.remove(&customer);
    }

    /// Takes in a message that was read. False for one that is not news: its shard is not owned,
    /// or it was read before.
    pub fn admit(&mut self, message: M) -> bool {
        let Some(progress) = self.shards.get_mut(&message.shard()) else { return false };
        if message.seq() <= progress.read_to {
            return false;
        }
        progress.read_to = message.seq();
        progress.floor = progress.floor.max(message.bucket());
        progress.open += 1;
        progress.pending.push_back(Pending {
            seq: message.seq(),
            bucket: message.bucket(),
            occurred_at: message.occurred_at(),
            done: false,
        });
        let tries = match progress.known.remove(&message.seq()) {
            Some(Known::Kept) => {
                progress.finish(message.seq());
                return true;
            }
            Some(Known::Tried(tries)) => tries,
            None => 0,
        };
        if self.blocked.contains(&message.customer()) {
            self.diverted.push(Arc::new(message));
        } else {
            self.line_up(message, tries);
        }
        true
    }

    /// Takes in the next of a customer's messages that are parked, to be published.
    pub fn admit_stored(&mut self, message: M, tries: u32) {
        self.line_up(message, tries);
    }

    fn line_up(&mut self, message: M, tries: u32) {
        let customer = message.customer();
        let lane = self.lanes.entry(customer);
        let lane =
            lane.or_insert_with(|| Lane { waiting: VecDeque::new(), state: LaneState::Ready });
        lane.waiting.push_back(Waiting {
            message: Arc::new(message),
            tries,
            closures: 0,
            refused: false,
        });
        if lane.waiting.len() == 1 {
            self.set_off(customer);
        }
    }

    /// It was proven that no row after what was read lies in a bucket before `floor`.
    pub fn raise_floor(&mut self, shard: i16, floor: i32) {
        if let Some(progress) = self.shards.get_mut(&shard) {
            progress.floor = progress.floor.max(floor);
        }
    }

    /// The next message to publish; it counts as in flight from now on. `None` when nothing may
    /// go at this moment.
    pub fn take(&mut self) -> Option<Arc<M>> {
        if self.in_flight >= self.in_flight_max {
            return None;
        }
        let customer = self.ready.pop_front()?;
        self.take_of(customer)
    }

    /// The next message to publish of those that were refused, each in its turn; it counts as in
    /// flight from now on.
    pub fn take_refused(&mut self) -> Option<Arc<M>> {
        let customer = self.refused.pop_front()?;
        self.take_of(customer)
    }

    /// How many customers' messages were refused and are not on their way again.
    pub fn refused_count(&self) -> usize {
        self.refused.len()
    }

    fn take_of(&mut self, customer: Uuid) -> Option<Arc<M>> {
        let lane = self.lanes.get_mut(&customer)?;
        lane.state = LaneState::InFlight;
        self.in_flight += 1;
        lane.waiting.front().map(|first| first.message.clone())
    }

    /// The next message to publish alone.
    pub fn take_suspect(&mut self) -> Option<Arc<M>> {
        let customer = self.suspects.pop_front()?;
        let lane = self.lanes.get_mut(&customer)?;
        lane.state = LaneState::OnTrial;
        lane.waiting.front().map(|first| first.message.clone())
    }

    /// How often a message on its way has failed by its own fault.
    pub fn tries(&self, message: &M) -> u32 {
        let lane = self.lanes.get(&message.customer());
        let first = lane.and_then(|lane| lane.waiting.front());
        first.filter(|first| first.message.seq() == message.seq()).map_or(0, |first| first.tries)
    }

    /// The broker has the message. Where it had refused that before, there is room again, and all
    /// others that it refused may go as well; that is answered.
    pub fn confirmed(&mut self, message: &M) -> bool {
        let Some(lane) = self.landed(message) else { return false };
        let room_again = lane.waiting.front().is_some_and(|first| first.refused);
        self.finish_first(message);
        if room_again {
            for customer in std::mem::take(&mut self.refused) {
                if let Some(first) =
                    self.lanes.get_mut(&customer).and_then(|lane| lane.waiting.front_mut())
                {
                    first.refused = false;
                }
                self.set_off(customer);
            }
        }
        room_again
    }

    /// The broker refuses the message for now, by no fault of its own: it goes again as a probe,
    /// while those of other customers go on.
    pub fn refused(&mut self, message: &M) {
        let Some(lane) = self.landed(message) else { return };
        if let Some(first) = lane.waiting.front_mut() {
            first.refused = true;
        }
        self.set_off(message.customer());
    }

    /// The broker does not (surely) have the message, by no fault of its own: it goes again.
    pub fn failed(&mut self, message: &M) {
        if self.landed(message).is_some() {
            self.set_off(message.customer());
        }
    }

    /// The broker closed the channel on which the message was: it goes again, alone if that
    /// happened to it before.
    pub fn caught(&mut self, message: &M) {
        let Some(lane) = self.landed(message) else { return };
        if let Some(first) = lane.waiting.front_mut() {
            first.closures += 1;
        }
        self.set_off(message.customer());
    }

    /// It and its customer's later ones wait until a moment. `tries` is how often it has failed by
    /// its own fault.
    pub fn hold(&mut self, message: &M, tries: u32, until: Instant) {
        let Some(lane) = self.landed(message) else { return };
        lane.state = LaneState::Held(until);
        if let Some(first) = lane.waiting.front_mut() {
            first.tries = tries;
            // What is held once has been alone, and goes alone again.
            first.closures = CLOSURES_MAX;
        }
    }

    /// The message is parked. With `behind` its customer's later ones are to be kept behind it,
    /// else they go on.
    pub fn park(&mut self, message: &M, behind: bool) {
        if self.landed(message).is_none() {
            return;
        }
        if behind {
            let customer = message.customer();
            self.block(customer);
            if let Some(lane) = self.lanes.get_mut(&customer) {
                let later = lane.waiting.drain(1..).map(|waiting| waiting.message);
                self.diverted.extend(later.filter(|later| !later.stored()));
            }
        }
        self.finish_first(message);
    }

    /// The messages of blocked customers that are to be kept; see [`Window::kept`].
    pub fn diverted(&self) -> &[Arc<M>] {
        &self.diverted
    }

    /// The first `count` of [`Window::diverted`] are kept.
    pub fn kept(&mut self, count: usize) {
        for message in self.diverted.drain(..count.min(self.diverted.len())) {
            if let Some(progress) = self.shards.get_mut(&message.shard()) {
                progress.finish(message.seq());
            }
        }
    }

    /// Gives the held messages whose time has come another try.
    pub fn release_due(&mut self, now: Instant) {
        let due = |lane: &Lane<M>| matches!(lane.state, LaneState::Held(until) if until <= now);
        let due: Vec<Uuid> =
            self.lanes.iter().filter(|(_, lane)| due(lane)).map(|(id, _)| *id).collect();
        for customer in due {
            self.set_off(customer);
        }
    }

    /// The lane whose message on its way this is; it is no longer on its way then.
    fn landed(&mut self, message: &M) -> Option<&mut Lane<M>> {
        let lane = self.lanes.get_mut(&message.customer())?;
        let first = lane.waiting.front().is_some_and(|first| {
            first.message.seq() == message.seq() && first.message.stored() == message.stored()
        });
        match lane.state {
            _ if !first => return None,
            LaneState::InFlight => self.in_flight -= 1,
            LaneState::OnTrial => {}
            LaneState::Ready | LaneState::Held(_) => return None,
        }
        lane.state = LaneState::Ready;
        Some(lane)
    }

    /// The first message of its customer is done.
    fn finish_first(&mut self, message: &M) {
        let customer = message.customer();
        if let Some(lane) = self.lanes.get_mut(&customer) {
            lane.waiting.pop_front();
        }
        self.set_off(customer);
        if !message.stored()
            && let Some(progress) = self.shards.get_mut(&message.shard())
        {
            progress.finish(message.seq());
        }
    }

    /// Lines a customer up for its next message, if there is one.
    fn set_off(&mut self, customer: Uuid) {
        let Some(lane) = self.lanes.get_mut(&customer) else { return };
        let Some(first) = lane.waiting.front() else {
            self.lanes.remove(&customer);
            return;
        };
        lane.state = LaneState::Ready;
        if first.tries > 0 || first.closures >= CLOSURES_MAX {
            self.suspects.push_back(customer);
        } else if first.refused {
            self.refused.push_back(customer);
        } else {
            self.ready.push_back(customer);
        }
    }
}

impl Progress {
    fn finish(&mut self, seq: i64) {
        let Ok(index) = self.pending.binary_search_by_key(&seq, |pending| pending.seq) else {
            return;
        };
        if let Some(pending) = self.pending.get_mut(index)
            && !pending.done
        {
            pending.done = true;
            self.open -= 1;
        }
        while let Some(first) = self.pending.front().filter(|first| first.done) {
            self.position = first.seq;
            self.pending.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
