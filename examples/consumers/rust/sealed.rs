//! The personal values of messages, for a consumer that may read them: AES-256-GCM by the customer's own
//! key, which the service tells to keys of the scope `customers:unseal`.

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};

/// A customer's key, in memory alone.
pub struct Key {
    kid: String,
    key: LessSafeKey,
}

impl Key {
    /// From the service's answer.
    pub fn of(told: &Value) -> Result<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(told["key"].as_str().context("a key")?)?;
        let key =
            UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| anyhow!("no key of 256 bits"))?;
        let kid = told["kid"].as_str().context("the name of a key")?.to_owned();
        Ok(Self { kid, key: LessSafeKey::new(key) })
    }
}

/// Opens values.
#[derive(Default)]
pub struct Unsealer {
    /// By customer; `None` where we may not have it, and where the customer was erased.
    keys: HashMap<String, Option<Key>>,
    /// Messages whose values were opened, and such as stay shut.
    pub opened: BTreeSet<String>,
    pub shut: BTreeSet<String>,
}

impl Unsealer {
    /// Whether the key that a message names has to be asked for.
    pub fn lacks(&self, customer: &str, data: &Value) -> bool {
        let known = self.keys.get(customer).and_then(Option::as_ref);
        data["sealed"]["kid"].as_str().is_some_and(|kid| known.is_none_or(|key| key.kid != kid))
    }

    pub fn learn(&mut self, customer: &str, key: Option<Key>) {
        self.keys.insert(customer.to_owned(), key);
    }

    /// What a message carries sealed; `None` where there is nothing that we can open.
    pub fn values(&mut self, customer: &str, message: &str, data: &Value) -> Result<Option<Value>> {
        let sealed = &data["sealed"];
        if sealed["alg"] != "A256GCM" {
            return Ok(None);
        }
        let key = self.keys.get(customer).and_then(Option::as_ref);
        let Some(key) = key.filter(|key| sealed["kid"] == key.kid.as_str()) else {
            self.shut.insert(message.to_owned());
            return Ok(None);
        };
        let part = |name: &str| {
            Ok::<_, anyhow::Error>(
                URL_SAFE_NO_PAD.decode(sealed[name].as_str().context("a text")?)?,
            )
        };
        let (nonce, mut secret) = (part("nonce")?, part("ciphertext")?);
        let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| anyhow!("no nonce"))?;
        // Bound to the message that it came with.
        let place = Aad::from(format!("message/{customer}/{message}"));
        let values = key.key.open_in_place(nonce, place, &mut secret);
        let values = values.map_err(|_| anyhow!("it is sealed for another message"))?;
        self.opened.insert(message.to_owned());
        Ok(Some(serde_json::from_slice(values)?))
    }
}
