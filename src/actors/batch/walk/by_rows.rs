//! Who joins and who leaves by a condition over rows: for a rule that time does not turn and no other rule
//! asks about, and for a segment that is to have no members. Nobody's facts are read; the condition is asked
//! anew under the customers' locks, by a statement of its own, which sees all that was committed before
//! these were had. What is written for each is what a verdict on it alone would write.

use super::Walked;
use crate::actors::batch::Failure;
use crate::actors::batch::save::all_done;
use crate::clock::Clock;
use crate::db::segments::{Differs, Sql};
use crate::db::statements::{
    AppendToOutbox, DeleteSegmentMembers, InsertAuditEntries, NumberCustomers, SaveSegmentMembers,
};
use crate::db::{self, Connection};
use crate::domain::command::Context;
use crate::domain::event::Event;
use crate::domain::ids::{CustomerId, EntryId, MessageId, SegmentId};
use crate::domain::message::MembershipCause;
use crate::domain::outcome::Rejection;
use crate::domain::segment::membership::{Held, MembershipEvent};
use crate::domain::segment::record::SegmentCode;
use crate::domain::shard;
use crate::faults;
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::collections::{BTreeSet, HashMap};
use uuid::Uuid;

/// Why whoever joins or leaves does so.
const DEFINITION: MembershipCause = MembershipCause::Definition;

/// What is asked, and of whom.
pub struct ByRows {
    pub segment: SegmentId,
    pub code: SegmentCode,
    /// Who is to belong to it.
    pub condition: Sql,
    /// Of what was in force when the condition was made: it says nothing of what is in force later.
    pub version: i64,
    /// Those who seemed to differ, in the order of their ids.
    pub customers: Vec<Uuid>,
    pub context: Context,
}

/// What there is to write.
#[derive(Default)]
pub(super) struct Rows {
    numbers: NumberCustomers,
    joined: SaveSegmentMembers,
    left: DeleteSegmentMembers,
    entries: InsertAuditEntries,
    outbox: AppendToOutbox,
    pub(super) shards: BTreeSet<u16>,
}

impl ByRows {
    /// Locks the customers and what is in force, and asks who differs.
    pub(super) async fn find(
        &self,
        connection: &Connection,
        clock: &dyn Clock,
    ) -> Result<Result<Rows, Walked>, Failure> {
        let locked = db::customers::lock_sequences(connection, &self.customers).await?;
        let in_force = db::segment_book::hold(connection, &[]).await?;
        if in_force.version != self.version {
            return Ok(Err(Walked::Outdated));
        }
        let (condition, segment) = (&self.condition, self.segment);
        let differ =
            db::segments::differing_among(connection, condition, segment, &self.customers).await?;
        let numbers: HashMap<Uuid, i64> = locked.into_iter().collect();
        let mut rows = Rows::default();
        for one in differ {
            if let Some(latest) = numbers.get(&one.customer) {
                rows.push(self, one, latest + 1, clock);
            }
        }
        Ok(Ok(rows))
    }

    /// What becomes of the membership of whoever differs.
    fn event(&self, belongs: bool) -> Event {
        let (segment, code, cause) = (self.segment, self.code.clone(), DEFINITION);
        Event::Membership(match belongs {
            true => MembershipEvent::Left { segment, code, cause },
            false => MembershipEvent::Joined { segment, code, held: self.held() },
        })
    }

    fn held(&self) -> Held {
        Held { since: self.context.now, cause: DEFINITION }
    }
}

impl Rows {
    fn push(&mut self, of: &ByRows, one: Differs, number: i64, clock: &dyn Clock) {
        let (id, event) = (CustomerId(one.customer), of.event(one.belongs));
        let shard = shard::of_customer(id);
        self.numbers.id.push(id.0);
        self.numbers.sequence.push(number);
        match one.belongs {
            true => self.left.push(id, of.segment),
            false => self.joined.push(id, of.segment, &of.held()),
        }
        if let Some(trace) = event.trace() {
            let entry = EntryId(clock.new_id());
            self.entries.push(entry, shard, Some(id), &of.context, trace);
        }
        if let Some(message) = event.message(id) {
            self.shards.insert(shard);
            let message_id = MessageId(clock.new_id());
            // A membership tells nothing that is to be sealed.
            self.outbox.push(message_id, id, number, &message, None, &of.context);
        }
    }

    /// How many join and how many leave.
    pub(super) fn changes(&self) -> (i64, i64) {
        (self.joined.len() as i64, self.left.len() as i64)
    }

    /// Writes all, the messages last.
    pub(super) async fn save(&self, connection: &Connection) -> Result<(), Failure> {
        let written = join_all([
            self.numbers.execute(connection).boxed(),
            self.left.execute(connection).boxed(),
            self.joined.execute(connection).boxed(),
            self.entries.execute(connection).boxed(),
        ]);
        let written: usize = all_done(written.await)?.into_iter().sum();
        let changed = self.joined.len() + self.left.len();
        if written != self.numbers.len() + changed + self.entries.len() {
            return Err(Failure::Refused(Rejection::Conflict));
        }
        faults::at("batch.rows_written");
        self.outbox.execute(connection).await?;
        Ok(())
    }
}
