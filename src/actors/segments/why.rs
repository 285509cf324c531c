//! Why a customer belongs to a segment, or why not: what is kept, and what the condition says of the
//! customer as it is now. Nothing is written.

use super::SegmentDesk;
use super::desk::checked;
use crate::db::segments::{Needs, Rfm};
use crate::db::transactions::QueryError;
use crate::db::{self, Connection};
use crate::domain::ids::CustomerId;
use crate::domain::segment::membership::Held;
use crate::domain::segment::record::{Segment, SegmentName};
use crate::domain::segment::{Explanation, explain};
use chrono::{DateTime, Utc};

/// See the module.
#[derive(Debug)]
pub struct Why {
    pub segment: Segment,
    /// The membership, as it is kept.
    pub held: Option<Held>,
    /// What the condition says now; `None` of a static segment, and of a definition that the shop's
    /// configuration does not understand any more.
    pub explanation: Option<Explanation>,
}

impl SegmentDesk {
    /// See the module; `None`: there is no such segment, or no such customer.
    ///
    /// # Errors
    /// Those of the queries.
    pub async fn why(
        &self,
        connection: &Connection,
        name: &SegmentName,
        customer: CustomerId,
        now: DateTime<Utc>,
    ) -> Result<Option<Why>, QueryError> {
        let Some(segment) = db::segment_book::find(connection, name).await? else {
            return Ok(None);
        };
        if db::customers::find(connection, customer).await?.is_none() {
            return Ok(None);
        }
        let memberships = db::segment_members::of_customers(connection, &[customer.0]).await?;
        let held = memberships.iter().find(|one| one.segment_id == segment.id);
        let held = held.map(|one| one.held);
        let schema = self.schema(connection).await?;
        let Some(Ok(checked)) = checked(&segment, &schema) else {
            return Ok(Some(Why { segment, held, explanation: None }));
        };
        let mut needs = Needs::default();
        needs.add(checked.condition());
        let (currency, zone) = (self.shop.currency.as_str(), self.shop.time_zone);
        let (cuts, model) = tokio::try_join!(
            db::predictions::cut_points(connection, currency),
            db::predictions::model(connection, currency),
        )?;
        let rfm = cuts.map(|kept| Rfm { cuts: kept.cuts, currency: currency.to_owned(), zone });
        let model = model.as_ref().map(|model| (model, currency));
        let mut all =
            db::segments::of(connection, &[customer.0], needs, rfm.as_ref(), model).await?;
        let explanation = all.remove(&customer.0).map(|mut facts| {
            let codes = memberships.iter().map(|one| one.code.as_str().to_owned());
            facts.segments = codes.collect();
            explain(&checked, &facts, now)
        });
        Ok(Some(Why { segment, held, explanation }))
    }
}
