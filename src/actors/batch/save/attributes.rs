//! What differs of the definitions of custom attributes.

use super::all_done;
use crate::db::Connection;
use crate::db::statements::{DeleteAttributes, InsertAttributes, UpdateAttributes};
use crate::db::transactions::QueryError;
use crate::domain::attribute::Definition;
use futures_util::FutureExt;
use futures_util::future::join_all;

#[derive(Default)]
pub(super) struct AttributeRows {
    new: InsertAttributes,
    changed: UpdateAttributes,
    deleted: DeleteAttributes,
}

impl AttributeRows {
    /// One definition as it was found and as it is.
    pub(super) fn push(&mut self, (before, after): &(Option<Definition>, Option<Definition>)) {
        match (before, after) {
            (None, Some(new)) => self.new.push(new),
            (Some(_), Some(changed)) => self.changed.push(changed),
            (Some(old), None) => self.deleted.push(&old.key),
            (None, None) => {}
        }
    }

    /// Rows to write; each is locked, or new, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.changed.len() + self.deleted.len()
    }

    /// Sends the statements without waiting in between. Answers with the number of rows written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.deleted.execute(connection).boxed(),
            self.changed.execute(connection).boxed(),
            self.new.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}
