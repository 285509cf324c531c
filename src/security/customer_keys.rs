//! Keys of customers: each has a data key of its own, which seals what is sealed of it. At rest a data
//! key is wrapped by a key from the configuration, so neither the database nor a backup of it opens
//! anything; with the row of its data key all that was sealed of a customer is gone, in every copy.
//!
//! Secrets of the account are sealed by the data key itself; what others may open is not. Envelopes in
//! messages and in audit entries have a key each that follows from it (HKDF-SHA256): who is given the
//! former opens neither the latter nor a secret.

use ring::{digest, hkdf};
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

use super::envelopes::EnvelopeKey;
use super::keys::{KeyPurpose, RootSecret};
use super::sealing::{Format, SealError, Sealer};

/// Bytes of a wrapped key: format, nonce, key and tag.
pub const WRAPPED_BYTES: usize = 1 + 12 + 32 + 16;

/// A data key as it is at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Encrypted, and bound to the customer.
    pub bytes: Vec<u8>,
    /// The name of the key that wraps it.
    pub by: String,
}

/// Separates the keys that follow from a data key from any other use of its bytes.
const SALT: &[u8] = b"customer-service/data-key/v1";

/// What seals the values of one customer. Shown by no `Debug`, and wiped when it is dropped.
pub struct DataKey {
    bytes: Zeroizing<[u8; 32]>,
    messages: EnvelopeKey,
    entries: EnvelopeKey,
}

impl DataKey {
    fn new(bytes: &[u8; 32]) -> Self {
        let source = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(bytes);
        let derived = |label: &str| {
            let mut derived = Zeroizing::new([0; 32]);
            source
                .expand(&[label.as_bytes()], hkdf::HKDF_SHA256)
                .and_then(|key| key.fill(derived.as_mut_slice()))
                .expect("HKDF-SHA256 always yields 32 bytes");
            derived
        };
        let kid: String =
            derived("name").iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let key = |label| EnvelopeKey { kid: kid.clone(), bytes: derived(label) };
        let (messages, entries) = (key("messages"), key("audit_entries"));
        Self { bytes: Zeroizing::new(*bytes), messages, entries }
    }

    /// What opens the customer's envelopes in messages: the one key that others are given.
    #[must_use]
    pub fn messages(&self) -> &EnvelopeKey {
        &self.messages
    }

    /// What opens those in the audit trail.
    #[must_use]
    pub fn entries(&self) -> &EnvelopeKey {
        &self.entries
    }

    fn sealer(&self) -> Sealer {
        Sealer::under(&self.bytes, Format::Customer)
    }

    /// Seals a value of its customer for the place named by `place` (say `customer_totp/<id>`).
    ///
    /// # Errors
    /// [`SealError::Seal`] when the operating system gives no randomness.
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        self.sealer().seal(place, plaintext)
    }

    /// Opens what [`seal`](Self::seal) made for the same place.
    ///
    /// # Errors
    /// [`SealError::Open`] for everything that is not exactly that.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.sealer().open(place, sealed)
    }
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(..)")
    }
}

/// The keys that wrap data keys: the first wraps, all open. That of the root key is always the last, so
/// that what was wrapped before any were configured opens.
pub struct WrappingKeys(Vec<WrappingKey>);

struct WrappingKey {
    name: String,
    sealer: Sealer,
}

impl WrappingKey {
    fn new(key: &[u8; 32]) -> Self {
        // A name by which rows say what opens them; of the key it tells nothing.
        let mut named = Zeroizing::new(b"customer-service/wrapping-key/".to_vec());
        named.extend_from_slice(key);
        let hash = digest::digest(&digest::SHA256, &named);
        let name = hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name, sealer: Sealer::under(key, Format::Wrapping) }
    }
}

impl WrappingKeys {
    /// Those that are configured, the one that wraps first, and the root key's.
    #[must_use]
    pub fn new(root: &RootSecret, configured: &[[u8; 32]]) -> Self {
        let mut keys: Vec<_> = configured.iter().map(WrappingKey::new).collect();
        keys.push(WrappingKey::new(root.derive(KeyPurpose::Wrapping).bytes()));
        Self(keys)
    }

    /// The name of the key that wraps from now on.
    #[must_use]
    pub fn current(&self) -> &str {
        &self.first().name
    }

    /// Whether what the key of this name wrapped can be opened.
    #[must_use]
    pub fn know(&self, name: &str) -> bool {
        self.0.iter().any(|key| key.name == name)
    }

    /// The names of all, the one that wraps first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.name.as_str())
    }

    fn first(&self) -> &WrappingKey {
        self.0.first().expect("the root key's is always there")
    }

    /// A new data key of 256 random bits, and what to keep of it.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the operating system gives no randomness.
    pub fn make(
        &self,
        customer: Uuid,
        mut random: [u8; 32],
    ) -> Result<(DataKey, WrappedKey), SealError> {
        let made = self.wrap(customer, &random).map(|wrapped| (DataKey::new(&random), wrapped));
        random.zeroize();
        made
    }

    /// The data key of a customer.
    ///
    /// # Errors
    /// [`SealError::Open`] unless one of these keys wrapped it for this customer.
    pub fn open(&self, customer: Uuid, wrapped: &WrappedKey) -> Result<DataKey, SealError> {
        self.unwrap(customer, wrapped).map(|bytes| DataKey::new(&bytes))
    }

    /// The same data key, wrapped by the key that wraps now.
    ///
    /// # Errors
    /// As of [`open`](Self::open), and [`SealError::Seal`].
    pub fn rewrap(&self, customer: Uuid, wrapped: &WrappedKey) -> Result<WrappedKey, SealError> {
        self.wrap(customer, &*self.unwrap(customer, wrapped)?)
    }

    fn wrap(&self, customer: Uuid, key: &[u8; 32]) -> Result<WrappedKey, SealError> {
        let by = self.first();
        let bytes = by.sealer.seal(&place(customer), key)?;
        Ok(WrappedKey { bytes, by: by.name.clone() })
    }

    fn unwrap(
        &self,
        customer: Uuid,
        wrapped: &WrappedKey,
    ) -> Result<Zeroizing<[u8; 32]>, SealError> {
        let by = self.0.iter().find(|key| key.name == wrapped.by).ok_or(SealError::Open)?;
        let bytes = by.sealer.open(&place(customer), &wrapped.bytes)?;
        bytes.as_slice().try_into().map(Zeroizing::new).map_err(|_| SealError::Open)
    }
}

impl std::fmt::Debug for WrappingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// What a wrapped key is bound to.
fn place(customer: Uuid) -> String {
    format!("data_keys/{customer}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CUSTOMER: Uuid = Uuid::from_u128(7);
    const OTHER: Uuid = Uuid::from_u128(8);

    fn root() -> RootSecret {
        RootSecret::new([1; 32])
    }

    #[test]
    fn a_data_key_opens_what_it_sealed_wherever_it_was_wrapped() {
        let before = WrappingKeys::new(&root(), &[]);
        let (key, wrapped) = before.make(CUSTOMER, [9; 32]).unwrap();
        assert_eq!(wrapped.bytes.len(), WRAPPED_BYTES);
        let sealed = key.seal("place", b"secret").unwrap();
        // A key is configured: what the root key's wrapped still opens, and is wrapped anew by it.
        let after = WrappingKeys::new(&root(), &[[2; 32]]);
        assert_ne!(before.current(), after.current());
        let anew = after.rewrap(CUSTOMER, &wrapped).unwrap();
        assert_eq!(anew.by, after.current());
        for wrapped in [&wrapped, &anew] {
            let key = after.open(CUSTOMER, wrapped).unwrap();
            assert_eq!(key.open("place", &sealed).unwrap().as_slice(), b"secret");
        }
        // A second one takes over; the first is still needed for what it wrapped, and then no more.
        let both = WrappingKeys::new(&root(), &[[3; 32], [2; 32]]);
        let newest = both.rewrap(CUSTOMER, &anew).unwrap();
        let last = WrappingKeys::new(&root(), &[[3; 32]]);
        assert!(last.open(CUSTOMER, &newest).is_ok() && last.know(&newest.by));
        assert!(last.open(CUSTOMER, &anew).is_err() && !last.know(&anew.by));
    }

    #[test]
    fn a_wrapped_key_is_nobody_elses() {
        let keys = WrappingKeys::new(&root(), &[[2; 32]]);
        let (key, wrapped) = keys.make(CUSTOMER, [9; 32]).unwrap();
        assert_eq!(keys.open(OTHER, &wrapped).unwrap_err(), SealError::Open);
        assert_eq!(keys.rewrap(OTHER, &wrapped).unwrap_err(), SealError::Open);
        for bit in 0..wrapped.bytes.len() * 8 {
            let mut damaged = wrapped.clone();
            damaged.bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.open(CUSTOMER, &damaged).is_err(), "bit {bit}");
        }
        // Nor is a value a key, or one of the root key's.
        let sealed = key.seal(&place(CUSTOMER), &[9; 32]).unwrap();
        let disguised = WrappedKey { bytes: sealed.clone(), by: wrapped.by.clone() };
        assert!(keys.open(CUSTOMER, &disguised).is_err());
        assert!(Sealer::new(&root()).open(&place(CUSTOMER), &sealed).is_err());
        let (other, _) = keys.make(OTHER, [10; 32]).unwrap();
        assert!(other.open(&place(CUSTOMER), &sealed).is_err());
    }

    /// Whoever is given the key of messages opens those and nothing else of the customer.
    #[test]
    fn m6_the_key_of_messages_opens_neither_entries_nor_secrets() {
        use super::super::envelopes::Place;
        let keys = WrappingKeys::new(&root(), &[]);
        let (key, _) = keys.make(CUSTOMER, [9; 32]).unwrap();
        let place = Place::Entry { customer: CUSTOMER, id: OTHER };
        let entry = key.entries().seal(place, b"{}".to_vec(), [1; 12]).unwrap();
        assert!(key.entries().open(place, &entry).is_ok());
        assert_eq!(key.messages().open(place, &entry).unwrap_err(), SealError::Open);
        let secret = key.seal("place", b"secret").unwrap();
        for derived in [&key.messages, &key.entries] {
            let sealer = Sealer::under(&derived.bytes, Format::Customer);
            assert!(sealer.open("place", &secret).is_err());
            assert_ne!(*derived.bytes, *key.bytes);
        }
        // Of one name, which is that of no other customer's key, and no part of any key.
        let (other, _) = keys.make(OTHER, [10; 32]).unwrap();
        assert_eq!(key.messages().kid(), key.entries().kid());
        assert_ne!(key.messages().kid(), other.messages().kid());
        assert_eq!(key.messages().kid().len(), 16);
    }

    #[test]
    fn names_and_debug_show_no_key() {
        let keys = WrappingKeys::new(&root(), &[[65; 32], [66; 32]]);
        let names: Vec<_> = keys.names().collect();
        assert_eq!(names.len(), 3);
        assert!(names.iter().all(|name| name.len() == 16 && keys.know(name)), "{names:?}");
        let (key, _) = keys.make(CUSTOMER, [65; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "DataKey(..)");
        let shown = format!("{keys:?}");
        assert!(
            !shown.contains("AAAA") && !shown.contains("4141") && !shown.contains("65"),
            "{shown}"
        );
    }
}
