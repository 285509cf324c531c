//! What differs of exports: those that were asked for, that ended, that were handed out.

use super::all_done;
use crate::db::Connection;
use crate::db::statements::{EndPrivacyExports, InsertPrivacyExports, NotePrivacyDownloads};
use crate::db::transactions::QueryError;
use crate::domain::CustomerId;
use crate::domain::privacy_export::PrivacyExports;
use futures_util::FutureExt;
use futures_util::future::join_all;

#[derive(Default)]
pub(super) struct PrivacyExportRows {
    new: InsertPrivacyExports,
    ended: EndPrivacyExports,
    downloads: NotePrivacyDownloads,
}

impl PrivacyExportRows {
    /// The rows of one customer that differ.
    pub(super) fn push(&mut self, id: CustomerId, before: &PrivacyExports, after: &PrivacyExports) {
        for (key, export) in after {
            let old = before.get(key);
            if old.is_none() {
                self.new.push(id, export);
            }
            if let Some(end) = &export.end
                && old.is_none_or(|old| old.end.is_none())
            {
                self.ended.push(id, export, end);
            }
            if let Some(at) = export.downloaded_at
                && old.is_none_or(|old| old.downloaded_at != Some(at))
            {
                self.downloads.push(id, export, at);
            }
        }
    }

    /// Rows to write; each is there to be written, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.ended.len() + self.downloads.len()
    }

    /// Sends the statements without waiting in between. Answers with the number of rows written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.new.execute(connection).boxed(),
            self.ended.execute(connection).boxed(),
            self.downloads.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}
