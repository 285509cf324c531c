//! What a merge writes beside the rows that differ: the merge itself, and the handles that go from
//! one customer to the other, which nobody else may get hold of in between.

use super::all_done;
use crate::actors::batch::fold::Folded;
use crate::db::Connection;
use crate::db::statements::{BackdateCustomers, InsertMerges, MoveIdentifiers};
use crate::db::transactions::QueryError;
use crate::domain::customer::Customer;
use crate::domain::handle::Handle;
use futures_util::FutureExt;
use futures_util::future::join_all;
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct MergeRows {
    merges: InsertMerges,
    handles: MoveIdentifiers,
    backdated: BackdateCustomers,
    /// Those of `handles`: neither claimed nor released.
    moved: BTreeSet<Handle>,
}

impl MergeRows {
    pub(super) fn of(folded: &Folded<'_>) -> Self {
        let mut rows = Self::default();
        for (report, at) in &folded.merges {
            rows.merges.push(report, *at);
            let before = folded.before.get(&report.from).map(|from| &from.handles);
            let after = folded.after.get(&report.into).map(|into| &into.handles);
            for handle in before.into_iter().flat_map(|handles| handles.keys()) {
                if after.is_some_and(|handles| handles.contains_key(handle)) {
                    rows.handles.push(report.from, report.into, handle);
                    rows.moved.insert(handle.clone());
                }
            }
        }
        rows
    }

    pub(super) fn moves(&self, handle: &Handle) -> bool {
        self.moved.contains(handle)
    }

    /// The change of a customer that other statements leave out.
    pub(super) fn changed(&mut self, before: &Customer, after: &Customer) {
        if before.created_at != after.created_at {
            self.backdated.push(after);
        }
    }

    /// Rows to write; each is there to be written, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.merges.len() + self.handles.len() + self.backdated.len()
    }

    /// Sends the statements without waiting in between. Answers with the number of rows written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.merges.execute(connection).boxed(),
            self.handles.execute(connection).boxed(),
            self.backdated.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}
