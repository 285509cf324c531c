//! The breached passwords that ship with the service (rule A1): the 611 199 that stood most often
//! in public breaches, of those that are long enough to be chosen, in whatever case.
//!
//! They are kept as a binary fuse filter of 16-bit fingerprints, 18 bits a password: every listed
//! password is found, and of those not listed one in 65 536 is taken for listed (measured: 151 of
//! ten million). With 8 bits that would be one in 256, and each 256th customer with a perfect
//! password would be told that it was breached. A list ten times as long would hardly help: what
//! stands far down in it is not reached by guesses that a lock holds to a few a day.
//!
//! `dev/breached-passwords` makes the file anew, byte for byte, and names the sources with their
//! versions, checksums and licences.

use sha2::{Digest, Sha256};
use xorf::{BinaryFuse16, BinaryFuse16Ref, DmaSerializable, Filter, FilterRef};

use super::password_policy::fold;

/// Bytes that begin where a number may: the filter reads its fingerprints in place.
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

/// The filter's descriptor, then its fingerprints, each in two bytes, the low one first (as every
/// machine that we build for keeps them). It stays in the binary: a process that chooses no
/// password never reads it.
static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("breached-passwords.fuse16"));

/// Whether a password, in whatever case and with whatever accents, is listed.
#[must_use]
pub fn contains(password: &str) -> bool {
    filter().contains(&key(password))
}

/// What the filter knows a password by: 64 bits of the SHA-256 of its folded form.
#[must_use]
pub fn key(password: &str) -> u64 {
    let digest = Sha256::digest(fold(password, |_| true).as_bytes());
    u64::from_le_bytes(digest[..8].try_into().expect("eight of 32 bytes"))
}

fn filter() -> BinaryFuse16Ref<'static> {
    let (descriptor, fingerprints) = FILE.0.split_at(BinaryFuse16::DESCRIPTOR_LEN);
    BinaryFuse16Ref::from_dma(descriptor, fingerprints)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of the sources, of which every line must be found.
    const COMMON: &str = include_str!("common-passwords.txt");

    #[test]
    fn a1_every_listed_password_is_found_in_any_case() {
        for line in COMMON.lines() {
            assert!(contains(line), "{line}");
            assert!(contains(&line.to_uppercase()), "{line}");
        }
        for text in ["Homelesspa", "ｐａｓｓｗｏｒｄ", "Pässwörd", "zaq12wsxcde3", "cjmasterinf"]
        {
            assert!(contains(text), "{text}");
        }
    }

    #[test]
    fn passwords_that_nobody_lists_are_hardly_ever_found() {
        let filter = filter();
        // an odd constant times a counter: spread as evenly as hashes, the same in every run
        let keys = (1..=1_000_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let found = keys.filter(|key| filter.contains(key)).count();
        assert!((1..=32).contains(&found), "{found} of a million, where 15 are expected");
        let texts = (0..20_000).map(|n| format!("no list has {n} in it"));
        assert!(texts.filter(|text| contains(text)).count() <= 3);
    }

    #[test]
    fn the_file_is_the_one_that_was_made() {
        // as `dev/breached-passwords` prints it
        let expected = "342705948953600c887be9c643bca69df25c1a800816346425c4a27ef646029e";
        let digest = Sha256::digest(&FILE.0);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, expected);
        assert!(FILE.0.len() < 2_000_000, "{}", FILE.0.len());
    }
}
