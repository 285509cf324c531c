//! The notes that commands need: how many there are, and of the notes, which may be a thousand,
//! those that are named; all of them only where they move with their customer.

use super::{Wanted, unless_empty};
use crate::db;
use crate::db::transactions::QueryError;
use crate::domain::note::Note;
use crate::domain::{CustomerId, State};
use std::collections::HashMap;

pub(super) struct Found {
    counts: Vec<(CustomerId, usize)>,
    notes: Vec<(CustomerId, Note)>,
}

pub(super) async fn load(
    connection: &db::Connection,
    wanted: &Wanted,
) -> Result<Found, QueryError> {
    let (counted, named) = (&wanted.note_counts, &wanted.notes);
    let all = &wanted.all_notes;
    let (counts, mut notes, every) = tokio::try_join!(
        unless_empty(counted, db::notes::counts(connection, counted)),
        unless_empty(named, db::notes::named(connection, named)),
        unless_empty(all, db::notes::of_customers(connection, all)),
    )?;
    notes.extend(every);
    Ok(Found { counts, notes })
}

impl Found {
    pub(super) fn add_to(self, states: &mut HashMap<CustomerId, State>) {
        for (id, count) in self.counts {
            states.entry(id).or_default().notes.count = count;
        }
        for (id, note) in self.notes {
            states.entry(id).or_default().notes.named.insert(note.id, note);
        }
    }
}
