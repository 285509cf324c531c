//! How mails and messages enter their tables in a business transaction; what becomes of them is
//! the matter of `mails` and `outbox`.

use super::statements::{AppendToOutbox, InsertMails};
use crate::domain::mail::Mail;
use crate::domain::message::{Message, Sealed};
use crate::domain::{Context, CustomerId, MessageId, shard};
use chrono::{DateTime, Utc};

impl InsertMails {
    /// A mail that is to be sent later counts as of then: its date and its age begin there.
    pub fn push(&mut self, mail: &Mail, created_at: DateTime<Utc>) {
        self.id.push(mail.id.0);
        self.customer_id.push(mail.customer_id.0);
        self.address.push(mail.to.as_ref().map(|address| address.as_str().to_owned()));
        self.kind.push(mail.body.kind().to_owned());
        self.step.push(mail.body.step().map(str::to_owned));
        self.locale.push(mail.locale.as_str().to_owned());
        self.nonce.push(mail.body.nonce().map(|nonce| nonce.to_vec()));
        let codes_left = mail.body.codes_left();
        self.codes_left.push(codes_left.map(|left| i16::try_from(left).unwrap_or(i16::MAX)));
        self.tells_of.push(mail.body.tells_of());
        self.created_at.push(mail.body.due_at().unwrap_or(created_at));
    }
}

impl AppendToOutbox {
    pub fn push(
        &mut self,
        id: MessageId,
        customer: CustomerId,
        customer_sequence: i64,
        message: &Message,
        sealed: Option<&Sealed>,
        context: &Context,
    ) {
        self.shard.push(shard::of_customer(customer) as i16);
        self.id.push(id.0);
        self.customer_id.push(customer.0);
        self.customer_sequence.push(customer_sequence);
        self.kind.push(message.kind().to_owned());
        self.occurred_at.push(context.now);
        self.traceparent.push(context.traceparent.clone());
        self.data.push(message.body(sealed));
    }
}
