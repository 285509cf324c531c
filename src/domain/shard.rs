//! Which of the 64 logical shards owns a customer (or a sign-in bucket).
//!
//! The number is stored with every message, so neither it nor the hash may ever change.

use super::ids::CustomerId;

/// Logical shards of the whole installation.
pub const SHARDS: u16 = 64;

/// The logical shard of a customer, 0–63.
pub fn of_customer(id: CustomerId) -> u16 {
    of_bytes(id.0.as_bytes())
}

/// The logical shard of any key: FNV-1a, 64 bit (Fowler, Noll, Vo), folded to 0–63.
pub fn of_bytes(bytes: &[u8]) -> u16 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    // The high bits are the best mixed ones; 6 of them name one shard of 64.
    (hash >> 58) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_mapping_never_changes() {
        // Stored messages depend on these very numbers.
        assert_eq!(of_bytes(b""), 50);
        assert_eq!(of_customer(CustomerId(Uuid::from_u128(1))), 34);
    }

    #[test]
    fn ids_spread_over_all_shards() {
        let mut counts = [0_u32; SHARDS as usize];
        for n in 0..6_400_u128 {
            // The shape of a UUIDv7: a slowly moving front, random-looking tail.
            let tail = n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 66;
            counts[of_customer(CustomerId(Uuid::from_u128((n << 80) | tail))) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (50..=160).contains(count)), "{counts:?}");
    }
}
