//! Backup codes (rule A9): ten codes of 75 bits on paper, each good once in place of a lost
//! authenticator; at rest a keyed hash bound to their owner.
//!
//! The hash is peppered rather than slow: nobody guesses 75 bits, and without the root key a copy
//! of the table does not even tell a right guess from a wrong one.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::keys::{KeyPurpose, RootSecret, SubKey};
use super::tokens::{BASE32, Issued, Token, TokenHash};
use super::totp::is_separator;

/// Codes in a set.
pub const SET: usize = 10;

/// Random bytes that a set is made from.
pub const RANDOM_BYTES: usize = SET * CODE_BYTES;

/// Random bytes of one code, of which five bits are left over.
const CODE_BYTES: usize = 10;

/// Digits of a code, five bits each, and how many stand together: `xxxxx-xxxxx-xxxxx`.
const DIGITS: usize = 15;
const GROUP: usize = 5;

/// Longest text that is looked at as a code.
const TEXT_MAX: usize = 128;

/// Makes sets of backup codes and recognises a code that is presented.
#[derive(Debug)]
pub struct BackupCodes {
    key: SubKey,
}

/// A backup code as typed, in its one form. Wiped when dropped, shown by no `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct BackupCode(String);

impl fmt::Debug for BackupCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupCode(..)")
    }
}

impl BackupCode {
    /// Reads a code as people copy it from paper: in either case, with any or no dashes and white
    /// space, `O` for zero, `I` and `L` for one. `None` for what cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_MAX {
            return None;
        }
        // The exact size first: a growing string would leave copies behind that nobody wipes.
        let mut code = Self(String::with_capacity(TEXT_MAX));
        for c in text.nfkc().filter(|c| !is_separator(*c)) {
            code.0.push(digit(c).filter(|_| code.0.len() < DIGITS)?);
        }
        (code.0.len() == DIGITS).then_some(code)
    }
}

/// Crockford's reading of a letter; `None` for one that stands for no digit.
fn digit(c: char) -> Option<char> {
    let c = match c.to_ascii_lowercase() {
        'o' => '0',
        'i' | 'l' => '1',
        c => c,
    };
    BASE32.iter().any(|digit| char::from(*digit) == c).then_some(c)
}

impl BackupCodes {
    /// Backup codes under the root secret.
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self { key: root.derive(KeyPurpose::BackupCode) }
    }

    /// A new set for a customer: the codes for their owner, shown once, and the hashes for the
    /// database.
    #[must_use]
    pub fn issue(&self, customer: Uuid, random: [u8; RANDOM_BYTES]) -> Vec<Issued> {
        let random = Zeroizing::new(random);
        random.chunks_exact(CODE_BYTES).map(|bytes| self.issue_one(customer, bytes)).collect()
    }

    /// What the database keeps of a customer's code. The same code of two customers has two hashes.
    #[must_use]
    pub fn hash(&self, customer: Uuid, code: &BackupCode) -> TokenHash {
        self.key.mac("backup_code", &[customer.as_bytes(), code.0.as_bytes()])
    }

    fn issue_one(&self, customer: Uuid, bytes: &[u8]) -> Issued {
        let mut number = bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
        let mut code = BackupCode(String::with_capacity(DIGITS));
        let mut shown = Zeroizing::new(String::with_capacity(DIGITS + DIGITS / GROUP));
        for n in 0..DIGITS {
            let digit = char::from(BASE32[(number & 31) as usize]);
            number >>= 5;
            if n > 0 && n % GROUP == 0 {
                shown.push('-');
            }
            shown.push(digit);
            code.0.push(digit);
        }
        number.zeroize();
        Issued { token: Token::new(&shown), hash: self.hash(customer, &code) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const ANNA: Uuid = Uuid::from_u128(1);
    const BEN: Uuid = Uuid::from_u128(2);

    fn codes() -> BackupCodes {
        BackupCodes::new(&RootSecret::new([1; 32]))
    }

    fn random(seed: u8) -> [u8; RANDOM_BYTES] {
        std::array::from_fn(|n| (n as u8).wrapping_mul(151).wrapping_add(seed))
    }

    fn parse(text: &str) -> BackupCode {
        BackupCode::parse(text).unwrap()
    }

    #[test]
    fn a9_a_set_is_ten_readable_codes_with_hashes_of_their_own() {
        let set = codes().issue(ANNA, random(3));
        assert_eq!(set.len(), SET);
        for issued in &set {
            let text = issued.token.as_str();
            assert_eq!(text.len(), 17, "{text}");
            for (n, byte) in text.bytes().enumerate() {
                let dash = n == 5 || n == 11;
                assert!(if dash { byte == b'-' } else { BASE32.contains(&byte) }, "{text}");
            }
            assert_eq!(codes().hash(ANNA, &parse(text)), issued.hash);
        }
        let hashes: HashSet<_> = set.iter().map(|issued| issued.hash).collect();
        assert_eq!(hashes.len(), SET);
    }

    #[test]
    fn a9_a_code_is_its_owners_and_of_this_root_key_only() {
        let issued = &codes().issue(ANNA, random(3))[0];
        let code = parse(issued.token.as_str());
        assert_ne!(codes().hash(BEN, &code), issued.hash);
        let other = BackupCodes::new(&RootSecret::new([2; 32]));
        assert_ne!(other.hash(ANNA, &code), issued.hash);
    }

    /// 75 bits: each bit of the randomness but the five upper ones of a code changes it.
    #[test]
    fn every_bit_of_randomness_counts() {
        let first =
            |random: [u8; RANDOM_BYTES]| codes().issue(ANNA, random)[0].token.as_str().to_owned();
        let base = first([0; RANDOM_BYTES]);
        let mut seen = HashSet::from([base.clone()]);
        for bit in 0..CODE_BYTES * 8 {
            let mut changed = [0; RANDOM_BYTES];
            changed[bit / 8] ^= 0x80 >> (bit % 8);
            assert_eq!(seen.insert(first(changed)), bit >= 5, "bit {bit}");
        }
        assert_eq!(seen.len(), 76);
    }

    #[test]
    fn codes_are_read_as_people_copy_them() {
        let expected = parse("0123a-bcd1e-fgh01");
        for text in [
            "0123abcd1efgh01",
            "0123A-BCD1E-FGH01",
            "O123a bcdIe fghoL",
            " o1-23-ab cd\u{2013}le\u{a0}fgh0i\n",
            "０１２３ａ－ｂｃｄ１ｅ－ｆｇｈ０１",
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        let long = "-".repeat(1_000) + "0123abcd1efgh01";
        for text in ["", "0123a-bcd1e-fgh0", "0123a-bcd1e-fgh011", "u123a-bcd1e-fgh01", "ö", &long]
        {
            assert!(BackupCode::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn debug_shows_no_code() {
        let shown = format!("{:?} {:?}", codes(), parse("0123a-bcd1e-fgh01"));
        assert_eq!(shown, "BackupCodes { key: SubKey(..) } BackupCode(..)");
    }

    proptest! {
        #[test]
        fn every_issued_code_is_recognised(random: [u8; RANDOM_BYTES], upper: bool, dashes: bool) {
            for issued in codes().issue(BEN, random) {
                let mut text = issued.token.as_str().to_owned();
                if upper {
                    text = text.to_uppercase();
                }
                if !dashes {
                    text = text.replace('-', "");
                }
                prop_assert_eq!(codes().hash(BEN, &parse(&text)), issued.hash);
            }
        }

        #[test]
        fn any_text_is_a_code_or_none(text in "\\PC*") {
            if let Some(code) = BackupCode::parse(&text) {
                prop_assert!(code.0.len() == DIGITS);
                prop_assert!(code.0.bytes().all(|byte| BASE32.contains(&byte)));
            }
        }
    }
}
