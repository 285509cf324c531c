//! The keys of customers that were opened lately. Opening one costs a decryption and a derivation;
//! whoever is busy is asked for again and again.
//!
//! What is remembered is good for the very wrapped bytes that it was opened from: after a rotation the
//! row is opened anew, and without a row nothing is opened at all. It is wiped when it is forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use super::customer_keys::{DataKey, WrappedKey, WrappingKeys};
use super::remembered::Remembered;
use super::sealing::SealError;

/// Most keys that are remembered: some 400 bytes each.
pub const KEYS_MAX: usize = 16_384;

/// See the module.
pub struct KeyRing {
    wrapping: WrappingKeys,
    opened: Remembered<Uuid, Arc<Opened>>,
    unwrapped: AtomicU64,
}

struct Opened {
    wrapped: WrappedKey,
    key: Arc<DataKey>,
}

impl KeyRing {
    /// Remembers up to `max` keys.
    #[must_use]
    pub fn new(wrapping: WrappingKeys, max: usize) -> Self {
        Self { wrapping, opened: Remembered::new(max), unwrapped: AtomicU64::new(0) }
    }

    /// The keys that wrap.
    #[must_use]
    pub fn wrapping(&self) -> &WrappingKeys {
        &self.wrapping
    }

    /// The data key of a customer.
    ///
    /// # Errors
    /// [`SealError::Open`] unless one of the wrapping keys wrapped it for this customer.
    pub fn open(&self, customer: Uuid, wrapped: &WrappedKey) -> Result<Arc<DataKey>, SealError> {
        if let Some(known) = self.opened.get(&customer)
            && known.wrapped == *wrapped
        {
            return Ok(Arc::clone(&known.key));
        }
        let key = Arc::new(self.wrapping.open(customer, wrapped)?);
        self.unwrapped.fetch_add(1, Ordering::Relaxed);
        let opened = Opened { wrapped: wrapped.clone(), key: Arc::clone(&key) };
        self.opened.insert(customer, Arc::new(opened));
        Ok(key)
    }

    /// A new data key of 256 random bits, and what to keep of it. Remembered when it is first opened:
    /// it may never be kept.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the operating system gives no randomness.
    pub fn make(
        &self,
        customer: Uuid,
        random: [u8; 32],
    ) -> Result<(Arc<DataKey>, WrappedKey), SealError> {
        let (key, wrapped) = self.wrapping.make(customer, random)?;
        Ok((Arc::new(key), wrapped))
    }

    /// How many keys were unwrapped so far.
    #[must_use]
    pub fn unwrapped(&self) -> u64 {
        self.unwrapped.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRing").field("wrapping", &self.wrapping).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::RootSecret;
    use super::*;

    const CUSTOMER: Uuid = Uuid::from_u128(7);
    const OTHER: Uuid = Uuid::from_u128(8);

    fn ring(configured: &[[u8; 32]], max: usize) -> KeyRing {
        KeyRing::new(WrappingKeys::new(&RootSecret::new([1; 32]), configured), max)
    }

    #[test]
    fn a_hot_key_is_unwrapped_once() {
        let ring = ring(&[], KEYS_MAX);
        let (_, wrapped) = ring.make(CUSTOMER, [9; 32]).unwrap();
        for _ in 0..100 {
            ring.open(CUSTOMER, &wrapped).unwrap();
        }
        assert_eq!(ring.unwrapped(), 1);
    }

    /// Where what is remembered would be believed whatever the row says, a key whose row was changed or
    /// belongs to somebody else would go on opening.
    #[test]
    fn what_is_remembered_is_good_for_the_very_row_alone() {
        let ring = ring(&[[3; 32], [2; 32]], KEYS_MAX);
        let before = WrappingKeys::new(&RootSecret::new([1; 32]), &[[2; 32]]);
        let (_, wrapped) = before.make(CUSTOMER, [9; 32]).unwrap();
        let sealed = ring.open(CUSTOMER, &wrapped).unwrap().seal("place", b"secret").unwrap();
        let damaged = WrappedKey {
            bytes: wrapped.bytes.iter().map(|byte| byte ^ 1).collect(),
            ..wrapped.clone()
        };
        assert_eq!(ring.open(CUSTOMER, &damaged).unwrap_err(), SealError::Open);
        assert_eq!(ring.open(OTHER, &wrapped).unwrap_err(), SealError::Open);
        // Wrapped anew it is the same key, read from its new row.
        let anew = ring.wrapping().rewrap(CUSTOMER, &wrapped).unwrap();
        let key = ring.open(CUSTOMER, &anew).unwrap();
        assert_eq!(ring.unwrapped(), 2);
        assert_eq!(key.open("place", &sealed).unwrap().as_slice(), b"secret");
        ring.open(CUSTOMER, &anew).unwrap();
        assert_eq!(ring.unwrapped(), 2);
    }

    #[test]
    fn the_ring_is_bounded() {
        let ring = ring(&[], 64);
        for number in 0..1_000 {
            let customer = Uuid::from_u128(number);
            let (_, wrapped) = ring.make(customer, [9; 32]).unwrap();
            ring.open(customer, &wrapped).unwrap();
            assert!(ring.opened.len() <= 64);
        }
        assert_eq!(ring.unwrapped(), 1_000);
        assert_eq!(format!("{ring:?}").matches("KeyRing").count(), 1);
    }
}
