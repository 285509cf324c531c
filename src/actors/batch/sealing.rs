//! What a batch tells of a person is sealed by the person's own key, in memory, between deciding and
//! saving (rule M6). Keys come with the customers that were loaded; who has none is given one here, and
//! it is kept by the transaction that first needs it.

use super::fold::{Entry, Outgoing};
use crate::actors::customer_keys::{kept, wrapped};
use crate::clock::Clock;
use crate::db::customer_keys::KeptKey;
use crate::domain::event::PersonalValues;
use crate::domain::message::{SEALED, Sealed};
use crate::domain::{CustomerId, Event};
use crate::security::customer_keys::DataKey;
use crate::security::envelopes::{Envelope, EnvelopeKey, Place};
use crate::security::key_ring::KeyRing;
use crate::security::sealing::SealError;
use chrono::{DateTime, Utc};
use serde_json::json;
use std::collections::HashMap;
use std::sync::Arc;

/// What batches seal by. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Seals {
    pub keys: Arc<KeyRing>,
    /// Whether messages and entries carry personal values sealed, or not at all.
    pub values: bool,
}

/// A key that a customer was given.
pub struct NewKey {
    pub customer: CustomerId,
    pub key: KeptKey,
    pub at: DateTime<Utc>,
}

/// The keys of a batch.
pub(super) struct Sealing<'c> {
    seals: &'c Seals,
    clock: &'c dyn Clock,
    /// As they were loaded.
    kept: HashMap<CustomerId, KeptKey>,
    /// `None`: it does not open, which was told.
    open: HashMap<CustomerId, Option<Arc<DataKey>>>,
    made: Vec<NewKey>,
}

impl<'c> Sealing<'c> {
    pub(super) fn new(
        seals: &'c Seals,
        clock: &'c dyn Clock,
        kept: HashMap<CustomerId, KeptKey>,
    ) -> Self {
        Self { seals, clock, kept, open: HashMap::new(), made: Vec::new() }
    }

    /// What is to be kept of those that were given one.
    pub(super) fn made(self) -> Vec<NewKey> {
        self.made
    }

    /// Puts what an event brings of a customer under seal into its message and its entry. Whoever is
    /// new gets a key in any case, and nobody who is not there any more. A key that does not open holds
    /// nobody up: then nothing is told.
    pub(super) fn seal(
        &mut self,
        customer: CustomerId,
        lives: bool,
        event: &Event,
        message: Option<&mut Outgoing<'_>>,
        entry: Option<&mut Entry<'_>>,
    ) {
        let values = event.personal_values().filter(|_| self.seals.values);
        if values.is_none() && !matches!(event, Event::Created(_)) {
            return;
        }
        let Some(key) = self.key_of(customer, lives) else { return };
        let Some(values) = values else { return };
        if let Some(outgoing) = message
            && outgoing.message.seals()
        {
            let place = Place::Message { customer: customer.0, id: outgoing.id.0 };
            outgoing.sealed = self.envelope(key.messages(), place, &values);
        }
        if let Some(entry) = entry {
            let place = Place::Entry { customer: customer.0, id: entry.id.0 };
            if let Some(sealed) = self.envelope(key.entries(), place, &values) {
                entry.trace.data[SEALED] = json!(sealed);
            }
        }
    }

    fn envelope(&self, key: &EnvelopeKey, place: Place, values: &PersonalValues) -> Option<Sealed> {
        let mut nonce = [0; 12];
        self.clock.random(&mut nonce);
        match key.seal(place, values.to_json(), nonce) {
            Ok(Envelope { kid, alg, nonce, ciphertext }) => {
                Some(Sealed { kid, alg, nonce, ciphertext })
            }
            Err(error) => {
                tracing::error!(%error, "personal values were not sealed");
                None
            }
        }
    }

    fn key_of(&mut self, customer: CustomerId, lives: bool) -> Option<Arc<DataKey>> {
        if let Some(known) = self.open.get(&customer) {
            return known.clone();
        }
        let key = match self.kept.remove(&customer) {
            Some(row) => self.seals.keys.open(customer.0, &wrapped(row)),
            None if lives => self.make(customer),
            None => return None,
        };
        let key = key.map_err(|error| {
            metrics::counter!("customer_keys_shut_total").increment(1);
            tracing::error!(%error, customer_id = %customer, "a customer's key does not open");
        });
        self.open.insert(customer, key.clone().ok());
        key.ok()
    }

    fn make(&mut self, customer: CustomerId) -> Result<Arc<DataKey>, SealError> {
        let mut random = [0; 32];
        self.clock.random(&mut random);
        let (key, made) = self.seals.keys.make(customer.0, random)?;
        self.made.push(NewKey { customer, key: kept(made), at: self.clock.now() });
        Ok(key)
    }
}
