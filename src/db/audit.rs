//! Table `audit_entries`: append-only.

use super::statements::InsertAuditEntries;
use crate::domain::command::{Actor, Context};
use crate::domain::event::Trace;
use crate::domain::{CustomerId, EntryId};

impl InsertAuditEntries {
    pub fn push(
        &mut self,
        id: EntryId,
        shard: u16,
        customer: Option<CustomerId>,
        context: &Context,
        trace: Trace,
    ) {
        let (kind, actor) = match &context.actor {
            Actor::Anonymous => ("anonymous", None),
            Actor::Customer(id) => ("customer", Some(id.to_string())),
            Actor::Staff(id) => ("staff", Some(id.clone())),
        };
        self.id.push(id.0);
        self.shard.push(shard as i16);
        self.customer_id.push(customer.map(|id| id.0));
        self.actor_kind.push(kind.to_owned());
        self.actor_id.push(actor);
        self.action.push(trace.action.to_owned());
        self.data.push(trace.data);
        self.request_id.push(context.request_id.clone());
        self.occurred_at.push(context.now);
    }
}
