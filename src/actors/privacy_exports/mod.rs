//! Copies of all that is kept of a customer, made for it (rule P3): asking for one, making it
//! ([`making`], driven by a worker) and reading one that is made.

mod archive;
pub mod making;
mod page;

pub use archive::{MEDIA_TYPE, Stop};

use super::allowance::Counted;
use super::customer_keys::CustomerKeys;
use super::gate::{Evidence, Gate, GateError, SignedIn};
use super::origin::{Origin, Trouble, unexpected};
use super::worker::Nudge;
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::domain::command::{Command, PrivacyExportCommand};
use crate::domain::outcome::Outcome;
use crate::domain::privacy_export::PrivacyExport;
use crate::domain::{CustomerId, PrivacyExportId};
use crate::security::customer_keys::DataKey;
use futures_util::FutureExt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What this works with.
pub struct PrivacyExportParts {
    pub database: Database,
    pub gate: Gate,
    pub customer_keys: CustomerKeys,
    pub clock: Arc<dyn Clock>,
    /// Wakes who makes them.
    pub nudge: Nudge,
    /// How many a customer may ask for within a day.
    pub per_day: usize,
}

/// Where exports are asked for and read. Cheap to clone.
#[derive(Clone)]
pub struct PrivacyExports(Arc<PrivacyExportParts>);

impl PrivacyExports {
    pub fn new(parts: PrivacyExportParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Asks for one, by its owner who shows again who it is.
    pub async fn ask(
        &self,
        who: SignedIn,
        evidence: Evidence,
        origin: &Origin,
    ) -> Counted<Result<PrivacyExport, GateError>> {
        let (id, session, per_day) = (self.new_id(), who.session, self.0.per_day);
        let command = move |proof| {
            let ask = PrivacyExportCommand::Ask { id, session, proof, per_day };
            Command::PrivacyExport(Box::new(ask))
        };
        let Counted { standing, result } = self.0.gate.prove(who, evidence, origin, command).await;
        let result = result.and_then(|outcome| match outcome {
            Outcome::PrivacyExport(export) => {
                self.wake();
                Ok(*export)
            }
            _ => Err(unexpected("ask_privacy_export").into()),
        });
        Counted { standing, result }
    }

    /// Of one that is about to be asked for.
    pub fn new_id(&self) -> PrivacyExportId {
        PrivacyExportId(self.0.clock.new_id())
    }

    /// Somebody asked for one.
    pub fn wake(&self) {
        self.0.nudge.nudge();
    }

    /// What opens the archives of a customer.
    ///
    /// # Errors
    /// The database does not answer, or the key does not open; there is no such customer.
    pub async fn reader(&self, customer: CustomerId) -> Result<Option<Reader>, Trouble> {
        let key = self.0.customer_keys.of(customer).await?;
        Ok(key.map(|key| Reader::new(self.0.database.clone(), customer, key)))
    }
}

/// Opens the archives of one customer.
pub struct Reader {
    database: Database,
    customer: CustomerId,
    key: Arc<DataKey>,
}

impl Reader {
    /// Of the customer whose key it is.
    pub fn new(database: Database, customer: CustomerId, key: Arc<DataKey>) -> Self {
        Self { database, customer, key }
    }

    /// A piece of an archive. `None`: it has gone.
    ///
    /// # Errors
    /// The database does not answer, or the piece does not open.
    pub async fn piece(
        &self,
        id: PrivacyExportId,
        number: i32,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Trouble> {
        let customer = self.customer;
        let read = self.database.read(move |connection| {
            async move { db::privacy_exports::piece(connection, customer, id, number).await }
                .boxed()
        });
        let Some(sealed) = read.await? else { return Ok(None) };
        let opened = self.key.open(&place(id, number), &sealed).map_err(|error| {
            tracing::error!(%error, export = %id, number, "a piece of an export does not open");
            Trouble::Internal
        });
        opened.map(Some)
    }
}

/// What a sealed piece is bound to.
fn place(id: PrivacyExportId, number: i32) -> String {
    format!("privacy_exports/{id}/{number}")
}
