//! A body that nobody reads to its end must not hold its connection.
//!
//! When a handler drops a chunked body, actix-http 3.20 goes on reading it for the sake of the
//! next request, with no time limit: a client that never ends its body keeps the socket. While
//! somebody still holds the body, actix-http closes the connection after the answer instead. So
//! the answer itself holds it, until it is sent.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage,
    body::{BodySize, BoxBody, MessageBody},
    dev::{Payload, ServiceRequest},
    error::PayloadError,
};
use bytes::Bytes;
use futures_util::Stream;

/// A share in a request's body.
#[derive(Clone)]
pub struct Unread(Rc<RefCell<Payload>>);

impl Unread {
    /// Takes a share, if the request has a body at all. The request reads on as before.
    pub fn share(request: &mut ServiceRequest) -> Option<Unread> {
        match request.take_payload() {
            Payload::None => None,
            payload => {
                let unread = Unread(Rc::new(RefCell::new(payload)));
                request.set_payload(Payload::Stream { payload: Box::pin(unread.clone()) });
                Some(unread)
            }
        }
    }

    /// Lets an answer hold the share.
    pub fn held_by(self, body: BoxBody) -> BoxBody {
        BoxBody::new(Holding { body, _unread: self })
    }
}

impl Stream for Unread {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

struct Holding {
    body: BoxBody,
    _unread: Unread,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
