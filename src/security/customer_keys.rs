//! Keys of customers: each has a data key of its own, which seals what is sealed of it. At rest a data
//! key is wrapped by a key from the configuration, so neither the database nor a backup of it opens
//! anything; with the row of its data key all that was sealed of a customer is gone, in every copy.

use ring::digest;
use uuid::Uuid;
use zeroize::{Zeroize, Zeroizing};

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

/// What seals the values of one customer. Shown by no `Debug`.
pub struct DataKey(Sealer);

impl DataKey {
    fn new(bytes: &[u8; 32]) -> Self {
        Self(Sealer::under(bytes, Format::Customer))
    }

    /// Seals a value of its customer for the place named by `place` (say `customer_totp/<id>`).
    ///
    /// # Errors
    /// [`SealError::Seal`] when the operating system gives no randomness.
    pub fn seal(&self, place: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        self.0.seal(place, plaintext)
    }

    /// Opens what [`seal`](Self::seal) made for the same place.
    ///
    /// # Errors
    /// [`SealError::Open`] for everything that is not exactly that.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.0.open(place, sealed)
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
