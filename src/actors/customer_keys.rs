//! Keys of customers, between the row where a key is wrapped and the key that opens it. Who has none
//! yet is given one when something is first sealed of it.

use super::origin::Trouble;
use crate::clock::Clock;
use crate::db::audit::Deed;
use crate::db::customer_keys::KeptKey;
use crate::db::{self, Database};
use crate::domain::{Context, CustomerId};
use crate::security::customer_keys::{DataKey, WrappedKey, WrappingKeys};
use crate::security::key_ring::KeyRing;
use anyhow::ensure;
use futures_util::FutureExt;
use serde_json::json;
use std::sync::Arc;
use zeroize::Zeroizing;

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct CustomerKeys(Arc<Parts>);

struct Parts {
    database: Database,
    clock: Arc<dyn Clock>,
    keys: Arc<KeyRing>,
}

impl CustomerKeys {
    pub fn new(database: &Database, clock: &Arc<dyn Clock>, keys: &Arc<KeyRing>) -> Self {
        let (database, clock, keys) = (database.clone(), clock.clone(), keys.clone());
        Self(Arc::new(Parts { database, clock, keys }))
    }

    /// The key of a living customer, made if there was none. `None`: there is no such customer.
    ///
    /// # Errors
    /// The database does not answer, or the kept key does not open.
    pub async fn of(&self, customer: CustomerId) -> Result<Option<Arc<DataKey>>, Trouble> {
        let read = self.0.database.read(move |connection| {
            async move { db::customer_keys::of(connection, customer.0).await }.boxed()
        });
        let kept = match read.await? {
            Some(kept) => Some(kept),
            None => self.make(customer).await?,
        };
        kept.map(|kept| self.open(customer, kept)).transpose()
    }

    /// The key that was kept for a customer, for somebody who may read by it: that is written down as
    /// `action`. `None`: there is none, or none any more.
    ///
    /// # Errors
    /// The database does not answer, or the kept key does not open.
    pub async fn tell(
        &self,
        customer: CustomerId,
        action: &'static str,
        context: &Context,
    ) -> Result<Option<Arc<DataKey>>, Trouble> {
        let (parts, id, context) = (self.0.clone(), self.0.clock.new_id(), context.clone());
        let telling = self.0.database.spawn(async move {
            let mut connection = parts.database.get().await?;
            let deed = Deed {
                id,
                actor: &context.actor,
                action,
                data: json!({}),
                request_id: &context.request_id,
                occurred_at: context.now,
            };
            Ok(db::customer_keys::tell(&mut connection, customer.0, &deed).await?)
        });
        let kept: Result<_, db::Error> =
            telling.await.unwrap_or_else(|error| Err(db::Error::Internal(error.to_string())));
        kept?.map(|kept| self.open(customer, kept)).transpose()
    }

    /// The key that was kept for a customer.
    ///
    /// # Errors
    /// It was wrapped for somebody else, by a key that is not configured, or is damaged.
    pub fn open(&self, customer: CustomerId, kept: KeptKey) -> Result<Arc<DataKey>, Trouble> {
        self.0.keys.open(customer.0, &wrapped(kept)).map_err(|error| {
            tracing::error!(%error, customer_id = %customer, "a customer's key does not open");
            Trouble::Internal
        })
    }

    /// Of several that make one at once, all get the one that came first.
    async fn make(&self, customer: CustomerId) -> Result<Option<KeptKey>, Trouble> {
        let mut random = Zeroizing::new([0; 32]);
        self.0.clock.random(random.as_mut_slice());
        let (_, made) = self.0.keys.make(customer.0, *random).map_err(|error| {
            tracing::error!(%error, "a key was not wrapped");
            Trouble::Internal
        })?;
        let (database, made, now) = (self.0.database.clone(), kept(made), self.0.clock.now());
        let keeping = self.0.database.spawn(async move {
            let connection = database.get().await?;
            Ok(db::customer_keys::keep(&connection, customer.0, &made, now).await?)
        });
        let kept: Result<_, db::Error> =
            keeping.await.unwrap_or_else(|error| Err(db::Error::Internal(error.to_string())));
        Ok(kept?)
    }
}

/// A key as its row has it, for what opens it.
pub fn wrapped(KeptKey { wrapped, wrapped_by }: KeptKey) -> WrappedKey {
    WrappedKey { bytes: wrapped, by: wrapped_by }
}

/// A wrapped key, for its row.
pub fn kept(WrappedKey { bytes, by }: WrappedKey) -> KeptKey {
    KeptKey { wrapped: bytes, wrapped_by: by }
}

/// At the start: whatever wraps keys of customers is configured.
///
/// # Errors
/// Something is not, or the database does not answer.
pub async fn all_open(database: &Database, wrapping: &WrappingKeys) -> anyhow::Result<()> {
    let names = database
        .read(|connection| async move { db::customer_keys::wrapping(connection).await }.boxed())
        .await?;
    let unknown: Vec<_> = names.into_iter().filter(|name| !wrapping.know(name)).collect();
    ensure!(
        unknown.is_empty(),
        "keys of customers are wrapped by {}, which is not among secrets.wrapping_keys and does not \
         follow from secrets.root_key: what is sealed of those customers would not open",
        unknown.join(", ")
    );
    Ok(())
}
