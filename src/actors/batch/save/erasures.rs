//! What differs of customers' deletions; and at the end of all rows, nothing is left of who is erased.

use super::all_done;
use crate::actors::batch::fold::Folded;
use crate::db::statements::{SaveErasureSteps, SaveErasures, SaveLegalHolds};
use crate::db::transactions::QueryError;
use crate::db::{self, Connection};
use crate::domain::erasure::Deletions;
use crate::faults;
use futures_util::FutureExt;
use futures_util::future::join_all;

#[derive(Default)]
pub(super) struct ErasureRows {
    erasures: SaveErasures,
    steps: SaveErasureSteps,
    holds: SaveLegalHolds,
}

impl ErasureRows {
    /// The rows of one customer that differ.
    pub(super) fn push(&mut self, before: &Deletions, after: &Deletions) {
        if let Some(request) = &after.request
            && before.request.as_ref() != Some(request)
        {
            self.erasures.push(request);
            for step in &request.steps {
                let known = before.request.as_ref().and_then(|it| it.step(step.id));
                if known != Some(step) {
                    self.steps.push(request, step);
                }
            }
        }
        if let Some(hold) = &after.hold
            && before.hold.as_ref() != Some(hold)
        {
            self.holds.push(hold);
        }
    }

    /// Rows to write; each is locked with its customer, or new, so as many must be.
    pub(super) fn len(&self) -> usize {
        self.erasures.len() + self.steps.len() + self.holds.len()
    }

    /// Sends the statements in order, without waiting in between. Answers with the number of rows
    /// written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.erasures.execute(connection).boxed(),
            self.steps.execute(connection).boxed(),
            self.holds.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}

/// Takes all that is kept of who is erased, in the transaction that says so.
pub(super) async fn erase(connection: &Connection, folded: &Folded<'_>) -> Result<(), QueryError> {
    if folded.erased.is_empty() {
        return Ok(());
    }
    faults::at("erasure.begun");
    db::erasures::erase(connection, &folded.erased, &folded.erased_buckets).await?;
    faults::at("erasure.erased");
    Ok(())
}
