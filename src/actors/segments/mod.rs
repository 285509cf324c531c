//! What customers are judged by, as a node knows it: the rules in force, and the figures that rules may
//! ask about. Whoever judges carries the version of it; the batch that writes the verdict compares that
//! with what is in force under a lock, so that knowing late costs a repetition and never a wrong verdict.

mod desk;
pub mod preview;
mod why;

pub use desk::SegmentDesk;
pub use why::Why;

use crate::db::predictions::KeptModel;
use crate::db::segments::{Needs, Rfm};
use crate::db::transactions::QueryError;
use crate::db::{self, Connection};
use crate::domain::segment::Facts;
use crate::domain::segment::membership::Programs;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use uuid::Uuid;

/// What is known of what is in force. Never changed: a newer one takes its place.
#[derive(Debug, Default)]
pub struct Known {
    pub programs: Arc<Programs>,
    /// `None`: nobody has an RFM group.
    pub rfm: Option<Rfm>,
    pub model: Option<KeptModel>,
    /// Of record.
    pub currency: String,
}

/// The node's one copy; clones share it.
#[derive(Clone, Default)]
pub struct Standards(Arc<RwLock<Arc<Known>>>);

impl Known {
    /// The facts of living customers, as far as conditions need them.
    ///
    /// # Errors
    /// Those of the queries.
    pub async fn facts(
        &self,
        connection: &Connection,
        customers: &[Uuid],
        needs: Needs,
    ) -> Result<BTreeMap<Uuid, Facts>, QueryError> {
        let model = self.model.as_ref().map(|model| (model, self.currency.as_str()));
        db::segments::of(connection, customers, needs, self.rfm.as_ref(), model).await
    }
}

impl Standards {
    pub fn known(&self) -> Arc<Known> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is what is known.
    pub fn learn(&self, known: Known) -> Arc<Known> {
        let known = Arc::new(known);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&known);
        known
    }
}
