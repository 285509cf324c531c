//! What differs of memberships: who joined, who left, and what time will change by when.

use super::all_done;
use crate::db::Connection;
use crate::db::statements::{
    DeleteSegmentFlips, DeleteSegmentMembers, SaveSegmentFlips, SaveSegmentMembers,
};
use crate::db::transactions::QueryError;
use crate::domain::CustomerId;
use crate::domain::segment::membership::Memberships;
use futures_util::FutureExt;
use futures_util::future::join_all;

#[derive(Default)]
pub(super) struct MembershipRows {
    left: DeleteSegmentMembers,
    joined: SaveSegmentMembers,
    never: DeleteSegmentFlips,
    due: SaveSegmentFlips,
}

impl MembershipRows {
    /// The rows of one customer that differ.
    pub(super) fn push(&mut self, id: CustomerId, before: &Memberships, after: &Memberships) {
        for (segment, held) in &before.held {
            // One that left and joined again in one batch is a new row.
            if after.held.get(segment) != Some(held) {
                self.left.push(id, *segment);
            }
        }
        for (segment, held) in &after.held {
            if before.held.get(segment) != Some(held) {
                self.joined.push(id, *segment, held);
            }
        }
        for gone in before.flips.keys().filter(|key| !after.flips.contains_key(key)) {
            self.never.push(id, *gone);
        }
        for (segment, at) in &after.flips {
            if before.flips.get(segment) != Some(at) {
                self.due.push(id, *segment, *at);
            }
        }
    }

    /// Rows to write; each is locked with its customer, or new, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.left.len() + self.joined.len() + self.never.len() + self.due.len()
    }

    /// Sends the statements in order, without waiting in between. Answers with the number of rows
    /// written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.left.execute(connection).boxed(),
            self.joined.execute(connection).boxed(),
            self.never.execute(connection).boxed(),
            self.due.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}
