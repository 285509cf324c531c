//! Six-digit codes for text messages (rule A8): each of 000000–999999 is as likely as any other.
//!
//! A code is a keyed function of a random nonce, of the customer and of the number it goes to. So
//! the row of a text message carries the nonce alone, and whoever reads the database learns no
//! code: neither from the nonce nor from the hash, which is keyed as well. A plain hash would be
//! undone by trying all the million codes.

use std::fmt;

use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::keys::{KeyPurpose, RootSecret, SubKey};
use super::tokens::TokenHash;

/// How many codes there are.
const CODES: u32 = 1_000_000;

/// The greatest multiple of [`CODES`] that fits: words from here on are drawn again, since they
/// would make the codes below 967 296 likelier than the others.
const WORDS: u32 = u32::MAX / CODES * CODES;

/// Digits of a code.
const DIGITS: usize = 6;

/// A code in clear text, on its way to or from its holder. Wiped when dropped, shown by no `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PhoneCode(String);

impl PhoneCode {
    /// Reads what a person typed; spaces and hyphens between the digits are the person's own.
    /// `None` when it cannot be a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // Longer than any spelling of six digits: not worth a look.
        if text.len() > 4 * DIGITS {
            return None;
        }
        let code = Self(text.chars().filter(|c| !matches!(c, ' ' | '-')).collect());
        let sound = code.0.len() == DIGITS && code.0.bytes().all(|byte| byte.is_ascii_digit());
        sound.then_some(code)
    }

    fn of_number(number: u32) -> Self {
        Self(format!("{number:06}"))
    }

    /// The clear text: six digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PhoneCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneCode(..)")
    }
}

/// The codes that confirm phone numbers.
#[derive(Debug)]
pub struct PhoneCodes {
    key: SubKey,
}

impl PhoneCodes {
    /// Codes under the root secret.
    #[must_use]
    pub fn new(root: &RootSecret) -> Self {
        Self { key: root.derive(KeyPurpose::PhoneCode) }
    }

    /// The code of a nonce, for this customer at this number (E.164); always the same for all
    /// three.
    #[must_use]
    pub fn code(&self, customer_id: Uuid, number: &str, nonce: &[u8; 32]) -> PhoneCode {
        let mut round = 0_u32;
        loop {
            let fields: [&[u8]; 4] =
                [customer_id.as_bytes(), number.as_bytes(), nonce, &round.to_be_bytes()];
            let drawn = self.key.mac("code", &fields);
            let mut words = drawn.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word));
            if let Some(number) = words.find_map(fair) {
                return PhoneCode::of_number(number);
            }
            // All eight words were refused: one time in 10^29.
            round = round.wrapping_add(1);
        }
    }

    /// What the database keeps of a code: good for this customer and this number only.
    #[must_use]
    pub fn hash(&self, customer_id: Uuid, number: &str, code: &PhoneCode) -> TokenHash {
        let fields: [&[u8]; 3] =
            [customer_id.as_bytes(), number.as_bytes(), code.as_str().as_bytes()];
        self.key.mac("hash", &fields)
    }
}

/// The number of a code, or `None` for a word that would favour some codes.
fn fair(word: u32) -> Option<u32> {
    (word < WORDS).then_some(word % CODES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "+84912345678";

    fn codes() -> PhoneCodes {
        PhoneCodes::new(&RootSecret::new([5; 32]))
    }

    fn nonce(n: u64) -> [u8; 32] {
        let mut nonce = [0; 32];
        nonce[..8].copy_from_slice(&n.to_be_bytes());
        nonce
    }

    #[test]
    fn a8_every_code_has_as_many_words() {
        assert_eq!(WORDS, 4_294_000_000);
        for (word, number) in [
            (0, Some(0)),
            (999_999, Some(999_999)),
            (1_000_000, Some(0)),
            (4_293_999_999, Some(999_999)),
            (4_294_000_000, None),
            (u32::MAX, None),
        ] {
            assert_eq!(fair(word), number, "{word}");
        }
    }

    /// Nonces that count up, so the figure is the same on every run. With 999 degrees of freedom a
    /// chi-square lies within 999 ± 6·44.7 but for one time in 10^8.
    #[test]
    fn a8_codes_are_spread_evenly_over_all_numbers() {
        const DRAWS: usize = 200_000;
        let (codes, customer) = (codes(), Uuid::from_u128(1));
        let (mut thousands, mut rest) = (vec![0_u32; 1000], vec![0_u32; 1000]);
        let mut lead = [0_u32; 10];
        for n in 0..DRAWS {
            let code = codes.code(customer, NUMBER, &nonce(n as u64));
            let number: usize = code.as_str().parse().unwrap();
            thousands[number / 1000] += 1;
            rest[number % 1000] += 1;
            lead[number / 100_000] += 1;
        }
        for bins in [&thousands, &rest] {
            let expected = DRAWS as f64 / 1000.0;
            let chi: f64 = bins.iter().map(|n| (f64::from(*n) - expected).powi(2) / expected).sum();
            assert!((731.0..1267.0).contains(&chi), "{chi}");
        }
        assert!(lead[0] > 19_000, "codes with leading zeros are codes like others: {lead:?}");
    }

    #[test]
    fn a8_a_code_is_bound_to_nonce_customer_number_and_root() {
        let (codes, customer, number) = (codes(), Uuid::from_u128(1), NUMBER);
        let code = codes.code(customer, number, &nonce(1));
        assert_eq!(codes.code(customer, number, &nonce(1)), code);
        let hash = codes.hash(customer, number, &code);
        // One other thing each time: a code may be the same by chance, its hash may not.
        assert_ne!(codes.hash(Uuid::from_u128(2), number, &code), hash);
        assert_ne!(codes.hash(customer, "+84912345679", &code), hash);
        assert_ne!(PhoneCodes::new(&RootSecret::new([6; 32])).hash(customer, number, &code), hash);
        let others: Vec<PhoneCode> = (0..20)
            .flat_map(|n| {
                [
                    codes.code(Uuid::from_u128(n + 2), number, &nonce(1)),
                    codes.code(customer, &format!("+849123456{n:02}"), &nonce(1)),
                    codes.code(customer, number, &nonce(n as u64 + 2)),
                ]
            })
            .filter(|other| *other == code)
            .collect();
        assert!(others.len() < 2, "{}", others.len());
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for (text, code) in [
            ("000000", Some("000000")),
            ("012345", Some("012345")),
            (" 123 456 ", Some("123456")),
            ("123-456", Some("123456")),
            ("", None),
            ("12345", None),
            ("1234567", None),
            ("12345a", None),
            ("١٢٣٤٥٦", None),
            ("+12345", None),
            ("123456                      ", None),
        ] {
            assert_eq!(PhoneCode::parse(text).as_ref().map(PhoneCode::as_str), code, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a8_the_code_sent_is_the_code_read(nonce in proptest::array::uniform32(0_u8..), id: u128) {
            let codes = codes();
            let code = codes.code(Uuid::from_u128(id), NUMBER, &nonce);
            proptest::prop_assert_eq!(code.as_str().len(), 6);
            let read = PhoneCode::parse(code.as_str());
            proptest::prop_assert_eq!(read, Some(code));
        }
    }

    #[test]
    fn debug_shows_no_code() {
        assert_eq!(format!("{:?}", PhoneCode::parse("123456")), "Some(PhoneCode(..))");
    }
}
