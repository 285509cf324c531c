//! Postal codes, in the spelling of their country (rule D2).
//!
//! People write them in lower case, with and without the space or hyphen, with the digits of their
//! own script, and behind the sign of their country; what is kept has one spelling, so that codes
//! can be compared and printed.

use super::address_format::AddressFormat;
use super::fault::Fault;
use super::place::Country;
use super::text;
use regex::{Regex, RegexBuilder};
use std::sync::OnceLock;
use unicode_normalization::UnicodeNormalization;

/// The longest postal code of any country, in characters.
pub const MAX: usize = 16;

/// A code in the spelling of its country; where that has no codes that are known here, a short line
/// in capitals.
///
/// # Errors
/// `invalid_postal_code`, or those of [`text::line`].
pub fn parse(raw: &str, country: &Country) -> Result<String, Fault> {
    // In the end's form first: it can be longer (ß is SS), and the length is the table's.
    let plain: String = raw.nfkc().map(ascii_digit).flat_map(char::to_uppercase).collect();
    let written = text::line(&plain, MAX)?;
    let Some(codes) = AddressFormat::of(country).and_then(|format| format.postal_codes.as_ref())
    else {
        return Ok(written);
    };
    codes.spelled(&written).ok_or_else(|| {
        let example = codes.examples.first().map_or(String::new(), |one| format!(", e.g. {one}"));
        let detail = format!("does not have the format of {}{example}", country.as_str());
        Fault::new("invalid_postal_code", detail)
    })
}

/// The postal codes of a country.
pub struct PostalCodes {
    /// What they are called: `zip`, `pin`, `eircode`, else `postal`.
    pub kind: &'static str,
    /// What every code matches as a whole; a regular expression for any engine.
    pub pattern: &'static str,
    pub examples: Vec<&'static str>,
    /// What stands within a code, where it does in print.
    separator: Option<char>,
    /// What is written before codes without being a part of them: `D`, `SE`.
    prefixes: Vec<&'static str>,
    /// What every code begins with, and what people leave out: `LV-`.
    start: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl PostalCodes {
    pub(super) fn new(
        kind: &'static str,
        separator: Option<char>,
        prefixes: Vec<&'static str>,
        start: &'static str,
        pattern: &'static str,
        examples: Vec<&'static str>,
    ) -> Self {
        let compiled = OnceLock::new();
        Self { kind, pattern, examples, separator, prefixes, start, compiled }
    }

    /// The one spelling of a code that was written in capitals and plain digits.
    fn spelled(&self, written: &str) -> Option<String> {
        let bare = compact(written);
        let without = self.prefixes.iter().filter_map(|prefix| bare.strip_prefix(prefix));
        let with_start = (!self.start.is_empty()).then(|| compact(self.start) + &bare);
        [bare.as_str()]
            .into_iter()
            .chain(without)
            .chain(with_start.as_deref())
            .find_map(|bare| self.with_separator(bare))
    }

    /// Letters and digits alone, put into the spelling that fits the pattern: that of print first.
    fn with_separator(&self, bare: &str) -> Option<String> {
        // what is not plain has been matched by no pattern, and must not be cut in the middle
        if !bare.is_ascii() {
            return None;
        }
        let split = |mark: char| {
            (1..bare.len()).map(move |at| format!("{}{mark}{}", &bare[..at], &bare[at..]))
        };
        let printed = self.separator.into_iter().flat_map(split);
        let others = [' ', '-'].into_iter().flat_map(split);
        printed.chain([bare.to_owned()]).chain(others).find(|code| self.fits(code))
    }

    fn fits(&self, code: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| {
            // ASCII classes: the digits of other scripts have been made plain
            RegexBuilder::new(&format!("^(?:{})$", self.pattern)).unicode(false).build().ok()
        });
        compiled.as_ref().is_some_and(|pattern| pattern.is_match(code))
    }
}

/// Without spaces, hyphens and the sign that Japan puts before its codes.
fn compact(code: &str) -> String {
    let separates = |c: char| {
        c.is_whitespace() || matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | 'ー' | '〒')
    };
    code.chars().filter(|c| !separates(*c)).collect()
}

/// Decimal digits of the scripts in which shoppers type codes, as those of ASCII. (Wide ones have
/// been made plain by NFKC.)
fn ascii_digit(c: char) -> char {
    /// Zero: Arabic, Persian, Devanagari, Bengali, Thai, Lao, Burmese, Khmer.
    const ZEROS: [u32; 8] = [0x660, 0x6f0, 0x966, 0x9e6, 0xe50, 0xed0, 0x1040, 0x17e0];
    let digit = ZEROS.iter().find_map(|zero| (c as u32).checked_sub(*zero).filter(|n| *n < 10));
    digit.and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::string::string_regex;

    fn code(raw: &str, country: &str) -> Result<String, &'static str> {
        parse(raw, &Country::parse(country).unwrap()).map_err(|fault| fault.code)
    }

    fn codes(country: &Country) -> Option<&'static PostalCodes> {
        AddressFormat::of(country)?.postal_codes.as_ref()
    }

    #[test]
    fn d2_a_code_has_the_spelling_of_its_country_however_it_is_written() {
        for (country, written, kept) in [
            ("AT", "A-1010", "1010"),
            ("AU", "2060", "2060"),
            ("BR", "01310100", "01310-100"),
            ("CA", "k1a0b1", "K1A 0B1"),
            ("CH", "CH-8001", "8001"),
            ("CN", "100096", "100096"),
            ("CZ", "11000", "110 00"),
            ("DE", "D-10115", "10115"),
            ("ES", "28013", "28013"),
            ("FI", "FI-00100", "00100"),
            ("FR", "75 001", "75001"),
            ("GB", "sw1a1aa", "SW1A 1AA"),
            ("GB", "M2 5bq", "M2 5BQ"),
            ("GB", "bfpo61", "BFPO 61"),
            ("GR", "10564", "105 64"),
            ("IE", "d02af30", "D02 AF30"),
            ("IN", "110 001", "110001"),
            ("IR", "۱۱۹۳۶۱۲۳۴۵", "11936-12345"),
            ("JP", "〒１５０－０００２", "150-0002"),
            ("JP", "1500002", "150-0002"),
            ("KR", "03051", "03051"),
            ("KY", "1-1100", "KY1-1100"),
            ("KZ", "a15e3b3", "A15E3B3"),
            ("LT", "LT-01103", "01103"),
            ("LV", "1050", "LV-1050"),
            ("MD", "MD-2001", "2001"),
            ("MT", "VLT1117", "VLT 1117"),
            ("NL", "1012js", "1012 JS"),
            ("PL", "00950", "00-950"),
            ("PR", "00926", "00926"),
            ("PT", "1250 096", "1250-096"),
            ("SA", "١١٥٦٤", "11564"),
            ("SE", "SE-114 55", "114 55"),
            ("SE", "11455", "114 55"),
            ("SG", "546080", "546080"),
            ("SK", "811 01", "811 01"),
            ("TH", "๑๐๑๕๐", "10150"),
            ("TR", "34381", "34381"),
            ("TW", "10603", "10603"),
            ("UA", "01001", "01001"),
            ("US", "902101234", "90210-1234"),
            ("US", "90210 1234", "90210-1234"),
            ("US", "90210–1234", "90210-1234"),
            ("VI", "008021222", "00802-1222"),
            ("VN", "700000", "700000"),
            ("VN", "70010", "70010"),
            // no codes that are known here: as written, in capitals
            ("HK", "999077", "999077"),
            ("AE", "anything 1", "ANYTHING 1"),
            ("GH", "GA-183-8164", "GA-183-8164"),
        ] {
            assert_eq!(code(written, country), Ok(kept.to_owned()), "{country} {written}");
        }
    }

    #[test]
    fn d2_what_is_no_code_of_the_country_is_refused() {
        for (country, written) in [
            ("US", "1234"),
            ("US", "902101"),
            ("DE", "ABCDE"),
            ("DE", "X-10115"),
            ("CA", "D1A 0B1"),
            ("GB", "ZZ1 1AA"),
            ("JP", "150-000"),
            ("VN", "7000"),
            ("IE", "D02"),
            ("PR", "90210"),
            ("IN", "11000１１"),
            ("NL", "1012 SS"),
            ("BR", "0131-0100a"),
            ("TW", "١"),
            ("SE", "é1455"),
        ] {
            assert_eq!(code(written, country), Err("invalid_postal_code"), "{country} {written}");
        }
        assert_eq!(code(&"ß".repeat(9), "AE"), Err("too_long"));
        assert_eq!(code(" ", "US"), Err("required"));
        assert_eq!(code("90210\u{0}", "US"), Err("control_character"));
    }

    #[test]
    fn d2_every_pattern_compiles_and_fits_its_own_examples() {
        for country in Country::all() {
            let Some(codes) = codes(&country) else { continue };
            assert!(!codes.examples.is_empty(), "{}", country.as_str());
            for example in &codes.examples {
                assert!(codes.fits(example), "{} {example}", country.as_str());
                let kept = parse(example, &country).unwrap();
                assert_eq!(compact(&kept), compact(example), "{}", country.as_str());
            }
        }
    }

    /// A code of some country, as its own pattern makes one.
    fn any_code() -> impl Strategy<Value = (Country, String)> {
        let all: Vec<_> = Country::all().filter(|country| codes(country).is_some()).collect();
        prop::sample::select(all).prop_flat_map(|country| {
            let pattern = codes(&country).unwrap().pattern.replace(r"\d", "[0-9]");
            (Just(country), string_regex(&pattern).unwrap())
        })
    }

    proptest! {
        #[test]
        fn d2_every_code_that_fits_is_taken_and_has_one_spelling((country, code) in any_code()) {
            let kept = parse(&code, &country).unwrap();
            prop_assert_eq!(&compact(&kept), &compact(&code));
            prop_assert_eq!(&parse(&kept, &country).unwrap(), &kept, "parsing twice");
            prop_assert_eq!(&parse(&kept.to_lowercase(), &country).unwrap(), &kept);
            prop_assert_eq!(&parse(&compact(&kept), &country).unwrap(), &kept);
            let wide = kept.chars().map(|c| match c {
                '0'..='9' => char::from_u32(c as u32 - 0x30 + 0xff10).unwrap(),
                other => other,
            });
            prop_assert_eq!(&parse(&wide.collect::<String>(), &country).unwrap(), &kept);
        }

        #[test]
        fn d2_no_text_is_taken_that_does_not_fit(raw in "\\PC{0,12}", at in 0usize..300) {
            let all: Vec<_> = Country::all().filter(|country| codes(country).is_some()).collect();
            let country = &all[at % all.len()];
            if let Ok(kept) = parse(&raw, country) {
                prop_assert!(codes(country).unwrap().fits(&kept));
            }
        }
    }
}
