//! What is known of customers' deletions, and those who were deleted before, of whom a deletion may
//! still be asked for.
//!
//! Whoever became one with a customer is locked along, before it is looked at what stands against its
//! deletion: a hold is placed under the lock of the customer that it names, so one that is being placed
//! is waited for, and one that comes later finds nobody (rule P4). All of these are dead, so that they
//! come after the living in every batch, and nobody joins them any more.

use super::unless_empty;
use crate::db;
use crate::db::erasures::Held;
use crate::db::transactions::QueryError;
use crate::domain::customer::Customer;
use crate::domain::erasure::Erasure;
use crate::domain::ids::SegmentId;
use crate::domain::segment::record::SegmentCode;
use crate::domain::{CustomerId, State};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

pub(super) struct Found {
    departed: Vec<Customer>,
    open: Vec<Erasure>,
    held: Vec<Held>,
    codes: BTreeMap<SegmentId, SegmentCode>,
}

pub(super) async fn load(connection: &db::Connection, ids: &[Uuid]) -> Result<Found, QueryError> {
    let whole = unless_empty(ids, db::merges::whole(connection, ids)).await?;
    let whole: Vec<Uuid> = whole.into_iter().map(|part| part.id).collect();
    let mut departed =
        unless_empty(&whole, db::customers::lock_departed(connection, &whole)).await?;
    departed.retain(|customer| ids.contains(&customer.id.0));
    let open = unless_empty(ids, db::erasures::open(connection, ids)).await?;
    let held = unless_empty(ids, db::erasures::held(connection, ids)).await?;
    let left: Vec<Uuid> =
        open.iter().flat_map(|one| one.segments.iter().map(|left| left.id.0)).collect();
    let codes = unless_empty(&left, db::erasures::static_segments(connection, &left)).await?;
    Ok(Found { departed, open, held, codes: codes.into_iter().collect() })
}

impl Found {
    pub(super) fn add_to(self, states: &mut HashMap<CustomerId, State>) {
        for customer in self.departed {
            let id = customer.id;
            states.entry(id).or_default().departed = Some(customer);
        }
        for erasure in self.open {
            let deletions = &mut states.entry(erasure.customer_id).or_default().deletions;
            let left = erasure.segments.iter();
            let known = left.filter_map(|left| Some((left.id, self.codes.get(&left.id)?.clone())));
            deletions.codes = known.collect();
            deletions.request = Some(erasure);
        }
        for held in self.held {
            let deletions = &mut states.entry(held.of).or_default().deletions;
            if held.hold.customer_id == held.of {
                deletions.hold = Some(held.hold);
            } else {
                deletions.held_within = true;
            }
        }
    }
}
