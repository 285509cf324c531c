//! What differs of notes: those that are new and those that are gone, since none is changed.

use super::all_done;
use crate::db::Connection;
use crate::db::statements::{DeleteNotes, InsertNotes};
use crate::db::transactions::QueryError;
use crate::domain::CustomerId;
use crate::domain::note::Notes;
use futures_util::FutureExt;
use futures_util::future::join_all;

#[derive(Default)]
pub(super) struct NoteRows {
    new: InsertNotes,
    deleted: DeleteNotes,
}

impl NoteRows {
    /// The rows of one customer that differ.
    pub(super) fn push(&mut self, id: CustomerId, before: &Notes, after: &Notes) {
        for gone in before.named.keys().filter(|key| !after.named.contains_key(key)) {
            self.deleted.push(id, *gone);
        }
        for (_, note) in after.named.iter().filter(|(key, _)| !before.named.contains_key(key)) {
            self.new.push(id, note);
        }
    }

    /// Rows to write; each is there to be written, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.deleted.len()
    }

    /// Sends the statements without waiting in between. Answers with the number of rows written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.deleted.execute(connection).boxed(),
            self.new.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}
