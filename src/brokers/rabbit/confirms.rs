//! Which message was returned? lapin hangs a returned message on *whatever* confirmation it
//! settles next, not on the one of that message, and settles the confirmations of one
//! `multiple` ack in random order. In a pipelined window that turns a lost message into a
//! success and its healthy neighbour into a failure. So verdicts are given here, by message id.
//!
//! What makes it exact: the broker sends `basic.return` before the ack of the same message, and
//! lapin pops its queue of returned messages once per settled confirmation. Read in the order of
//! settling, a confirmation that carries *nothing* proves that every return before it is known.

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::poll_fn;
use futures_util::task::AtomicWaker;
use lapin::{Confirmation, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::PublishFault;

/// Where the verdict on one message goes.
pub(super) type Reply = oneshot::Sender<Result<(), PublishFault>>;

/// A message that is on the wire and awaits its confirmation.
pub(super) struct InFlight {
    pub id: Uuid,
    pub confirm: PublisherConfirm,
    pub reply: Reply,
}

/// Awaits the confirmations of one channel and answers each message's [`Reply`].
///
/// `arrivals` must be fed in the order of publishing. Ends when the link is dropped, or with the
/// first error, which is the channel's death: `on_death` hears of it *before* the replies left
/// are dropped, so that whoever awaits one can learn the cause.
pub(super) async fn collect(
    mut arrivals: mpsc::UnboundedReceiver<InFlight>,
    on_death: impl Fn(&lapin::Error),
) {
    let mut collector = Collector::default();
    poll_fn(move |cx| {
        collector.settled.waker.register(cx.waker());
        while let Poll::Ready(arrival) = arrivals.poll_recv(cx) {
            match arrival {
                Some(in_flight) => collector.admit(in_flight),
                None => return Poll::Ready(()),
            }
        }
        match collector.settle_ready() {
            Ok(()) => Poll::Pending,
            Err(error) => {
                on_death(&error);
                Poll::Ready(())
            }
        }
    })
    .await;
}

#[derive(Default)]
struct Collector {
    next_ticket: u64,
    waiting: HashMap<u64, Waiting>,
    /// Results that were there at the first look; they queue behind what settled before them.
    early: HashMap<u64, lapin::Result<Confirmation>>,
    settled: Arc<Settled>,
    ledger: Ledger,
}

struct Waiting {
    in_flight: InFlight,
    waker: Waker,
}

/// Tickets in the order in which lapin's I/O thread settled them.
#[derive(Default)]
struct Settled {
    tickets: Mutex<VecDeque<u64>>,
    waker: AtomicWaker,
}

struct Ticket {
    number: u64,
    settled: Arc<Settled>,
}

impl Wake for Ticket {
    fn wake(self: Arc<Self>) {
        self.settled.push(self.number);
        self.settled.waker.wake();
    }
}

impl Settled {
    fn push(&self, ticket: u64) {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).push_back(ticket);
    }

    fn pop(&self) -> Option<u64> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Collector {
    /// Looks at a new confirmation once, which registers its ticket. One that is settled already
    /// goes to the tail: everything settled before it has queued its ticket by then.
    fn admit(&mut self, mut in_flight: InFlight) {
        let number = self.next_ticket;
        self.next_ticket += 1;
        let waker = Waker::from(Arc::new(Ticket { number, settled: self.settled.clone() }));
        if let Poll::Ready(result) = poll(&mut in_flight.confirm, &waker) {
            self.early.insert(number, result);
            self.settled.push(number);
        }
        self.waiting.insert(number, Waiting { in_flight, waker });
    }

    fn settle_ready(&mut self) -> Result<(), lapin::Error> {
        while let Some(ticket) = self.settled.pop() {
            let Some(waiting) = self.waiting.get_mut(&ticket) else { continue };
            let result = match self.early.remove(&ticket) {
                Some(result) => result,
                None => match poll(&mut waiting.in_flight.confirm, &waiting.waker) {
                    Poll::Ready(result) => result,
                    Poll::Pending => continue,
                },
            };
            let confirmation = result?;
            if let Some(Waiting { in_flight, .. }) = self.waiting.remove(&ticket) {
                let last = self.waiting.is_empty();
                self.ledger.settle(in_flight.id, in_flight.reply, confirmation.into(), last);
            }
        }
        Ok(())
    }
}

fn poll(confirm: &mut PublisherConfirm, waker: &Waker) -> Poll<lapin::Result<Confirmation>> {
    Pin::new(confirm).poll(&mut Context::from_waker(waker))
}

/// A confirmation as far as it can be trusted: whether the broker took the message, and the id of
/// *some* returned message.
struct Settlement {
    taken: bool,
    carried: Option<Carried>,
}

struct Carried(Option<Uuid>);

impl From<Confirmation> for Settlement {
    fn from(confirmation: Confirmation) -> Self {
        let taken = confirmation.is_ack();
        let carried = confirmation.take_message().map(|returned| {
            let id = returned.properties.message_id().as_ref();
            Carried(id.and_then(|id| Uuid::parse_str(id.as_str()).ok()))
        });
        Self { taken, carried }
    }
}

/// Gives verdicts from settlements read in the order of settling.
#[derive(Default)]
struct Ledger {
    /// Returned messages whose own settlement has not come yet.
    returned: HashSet<Uuid>,
    /// Taken, but their settlement carried another message's return: their own may follow.
    undecided: Vec<(Uuid, Reply)>,
}

impl Ledger {
    /// `last`: nothing else is in flight, hence no return is left unknown.
    fn settle(&mut self, id: Uuid, reply: Reply, settlement: Settlement, last: bool) {
        let all_returns_known = settlement.carried.is_none() || last;
        if let Some(Carried(Some(returned))) = settlement.carried {
            match self.undecided.iter().position(|(id, _)| *id == returned) {
                Some(position) => {
                    let (_, reply) = self.undecided.swap_remove(position);
                    answer(reply, Err(PublishFault::Returned));
                }
                None => {
                    self.returned.insert(returned);
                }
            }
        }
        if self.returned.remove(&id) {
            answer(reply, Err(PublishFault::Returned));
        } else if !settlement.taken {
            answer(reply, Err(PublishFault::Refused));
        } else {
            self.undecided.push((id, reply));
        }
        if all_returns_known {
            for (_, reply) in self.undecided.drain(..) {
                answer(reply, Ok(()));
            }
        }
    }
}

/// A caller that stopped waiting has its own answer (a timeout) already.
fn answer(reply: Reply, verdict: Result<(), PublishFault>) {
    drop(reply.send(verdict));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settles messages in the given order, each with the return it happens to carry, and
    /// tells which were judged returned.
    fn verdicts(settlements: &[(u128, Option<u128>)]) -> Vec<(u128, bool)> {
        let mut ledger = Ledger::default();
        let mut receivers = Vec::new();
        for (position, (id, carried)) in settlements.iter().enumerate() {
            let (reply, receiver) = oneshot::channel();
            receivers.push((*id, receiver));
            let carried = carried.map(|id| Carried(Some(Uuid::from_u128(id))));
            let last = position + 1 == settlements.len();
            ledger.settle(Uuid::from_u128(*id), reply, Settlement { taken: true, carried }, last);
        }
        receivers
            .into_iter()
            .map(|(id, mut receiver)| {
                let verdict = receiver.try_recv().expect("every message gets a verdict");
                (id, verdict == Err(PublishFault::Returned))
            })
            .collect()
    }

    #[test]
    fn a_return_is_found_on_a_neighbours_confirmation() {
        assert_eq!(
            verdicts(&[(1, Some(3)), (2, None), (3, None)]),
            [(1, false), (2, false), (3, true)]
        );
    }

    #[test]
    fn a_multiple_ack_in_random_order_confuses_nobody() {
        // Returns of 3 and 7 wait when one ack settles 7, 1, 3 in this order.
        assert_eq!(
            verdicts(&[(7, Some(3)), (1, Some(7)), (3, None)]),
            [(7, true), (1, false), (3, true)]
        );
    }

    #[test]
    fn the_last_confirmation_leaves_no_doubt() {
        assert_eq!(verdicts(&[(1, Some(2)), (2, Some(1))]), [(1, true), (2, true)]);
        assert_eq!(verdicts(&[(2, None), (1, Some(1))]), [(2, false), (1, true)]);
    }

    #[test]
    fn a_refusal_is_told_from_a_return() {
        let mut ledger = Ledger::default();
        let (reply, mut receiver) = oneshot::channel();
        ledger.settle(Uuid::nil(), reply, Settlement { taken: false, carried: None }, true);
        assert_eq!(receiver.try_recv(), Ok(Err(PublishFault::Refused)));
    }
}
