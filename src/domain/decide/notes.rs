//! What staff writes down about a customer.

use super::{Answer, Decision, decided, writable};
use crate::domain::command::{Actor, Context};
use crate::domain::event::Event;
use crate::domain::ids::NoteId;
use crate::domain::note::{Note, NoteCommand, NoteEvent, NoteText};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::state::State;

pub fn decide(state: &State, command: &NoteCommand, context: &Context) -> Decision {
    // To anybody else there are no notes.
    let Actor::Staff(author) = &context.actor else {
        return Err(Rejection::NotFound);
    };
    writable(state, context)?;
    match command {
        NoteCommand::Add { id, text, limit } => add(state, *id, text, author, *limit, context),
        NoteCommand::Remove { id } => remove(state, *id),
    }
}

fn add(
    state: &State,
    id: NoteId,
    text: &NoteText,
    author: &str,
    limit: usize,
    context: &Context,
) -> Decision {
    if state.notes.count >= limit {
        return Err(Rejection::NoteLimitReached { limit });
    }
    let note = Note { id, text: text.clone(), author: author.to_owned(), created_at: context.now };
    decided(vec![Event::Note(NoteEvent::Added(Box::new(note)))], Answer::Note(id))
}

fn remove(state: &State, id: NoteId) -> Decision {
    if !state.notes.named.contains_key(&id) {
        return Err(Rejection::NotFound);
    }
    decided(vec![Event::Note(NoteEvent::Removed { id })], Answer::Now(Outcome::Done))
}
