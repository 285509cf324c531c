//! The reply guard: a caller always gets an answer, and an honest one.
//!
//! Whatever happens to a [`Reply`] (dropped by a batch that panicked, by an actor that died, by
//! an arbiter that was stopped), its caller reads whether the work was begun. The [`Ticket`]
//! settles the race between a batch that begins the work and a caller who gives up: exactly one
//! of them wins, so "not started" is a fact and not a guess.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use actix::dev::OneshotSender;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::admission::CallError;

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const ABANDONED: u8 = 2;

/// Shared by one caller and one reply: who came first, the batch or the deadline.
#[derive(Debug, Default)]
pub(crate) struct Ticket(AtomicU8);

impl Ticket {
    /// The batch begins the work. False when the caller gave up before: then do not do it.
    fn begin(&self) -> bool {
        self.settle(BEGUN)
    }

    /// The caller gives up. False when the work was begun before: then its outcome is unknown.
    pub fn abandon(&self) -> bool {
        self.settle(ABANDONED)
    }

    fn begun(&self) -> bool {
        self.0.load(Ordering::Acquire) == BEGUN
    }

    /// True when `to` is how it ended, whoever said so first.
    fn settle(&self, to: u8) -> bool {
        match self.0.compare_exchange(WAITING, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(settled) => settled == to,
        }
    }
}

/// The duty to answer one caller. Dropping it answers too: [`CallError::NotStarted`] before
/// [`begin`](Self::begin), [`CallError::Unknown`] after it. It holds the caller's place in the
/// queue until then.
#[derive(Debug)]
#[must_use = "dropping a reply tells the caller that the work got lost"]
pub struct Reply<T> {
    sender: Option<OneshotSender<Result<T, CallError>>>,
    ticket: Arc<Ticket>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<T> Reply<T> {
    pub(crate) fn new(
        sender: Option<OneshotSender<Result<T, CallError>>>,
        ticket: Arc<Ticket>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { sender, ticket, permit: Some(permit) }
    }

    /// A reply and the end that its caller would hold, without an actor: for tests of a batch.
    pub fn pair() -> (Self, oneshot::Receiver<Result<T, CallError>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Some(sender), ticket: Arc::default(), permit: None }, receiver)
    }

    /// Marks the work as begun: from now on a lost reply reads `Unknown`. False when the caller
    /// gave up before; the work must then not be done. The shard calls this for a whole batch
    /// just before it runs it.
    pub fn begin(&mut self) -> bool {
        self.ticket.begin()
    }

    /// Answers the caller.
    pub fn answer(mut self, answer: T) {
        self.send(Ok(answer));
    }

    /// Answers that there is no answer, where the batch knows better than the guard: for example
    /// `NotStarted` when its transaction is proven to be rolled back.
    pub fn refuse(mut self, error: CallError) {
        self.send(Err(error));
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.as_ref().is_none_or(OneshotSender::is_closed)
    }

    fn send(&mut self, outcome: Result<T, CallError>) {
        // First the place in the queue, then the answer: who was answered finds room again.
        drop(self.permit.take());
        if let Some(sender) = self.sender.take() {
            // A caller who left needs no answer.
            drop(sender.send(outcome));
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let lost = if self.ticket.begun() { CallError::Unknown } else { CallError::NotStarted };
        self.send(Err(lost));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_reply_says_whether_the_work_was_begun() {
        let (reply, mut caller) = Reply::<()>::pair();
        drop(reply);
        assert_eq!(caller.try_recv().unwrap(), Err(CallError::NotStarted));

        let (mut reply, mut caller) = Reply::<()>::pair();
        assert!(reply.begin());
        drop(reply);
        assert_eq!(caller.try_recv().unwrap(), Err(CallError::Unknown));

        let (mut reply, mut caller) = Reply::pair();
        assert!(reply.begin());
        reply.answer(7);
        assert_eq!(caller.try_recv().unwrap(), Ok(7));
    }

    #[test]
    fn either_the_batch_begins_or_the_caller_gives_up() {
        let ticket = Ticket::default();
        assert!(ticket.abandon());
        assert!(!ticket.begin());
        let ticket = Ticket::default();
        assert!(ticket.begin());
        assert!(ticket.begin(), "beginning twice is harmless");
        assert!(!ticket.abandon());
    }

    #[test]
    fn a_reply_knows_that_its_caller_left() {
        let (reply, caller) = Reply::<()>::pair();
        assert!(!reply.is_closed());
        drop(caller);
        assert!(reply.is_closed());
    }
}
