//! Phone numbers: accepted in any common formatting with a country code, kept in E.164.

use super::fault::Fault;
use super::place::Country;
use serde::{Deserialize, Serialize};

/// An upper bound before the parser, in bytes: its regular expressions need not see a novel.
pub const PHONE_MAX: usize = 40;

/// A possible and valid phone number in E.164, e.g. `+84912345678`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// # Errors
    /// `invalid_phone` unless it is a valid number with its country code (`+84 912 345 678`).
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let fault = || {
            Fault::new(
                "invalid_phone",
                "must be a valid phone number with country code, e.g. +84 912 345 678",
            )
        };
        let trimmed = raw.trim();
        if trimmed.len() > PHONE_MAX || !trimmed.starts_with('+') {
            return Err(fault());
        }
        Self::of(phonenumber::parse(None, trimmed).ok()).ok_or_else(fault)
    }

    /// Also as it is dialled within a country: `0912 345 678` in Vietnam.
    ///
    /// # Errors
    /// `invalid_phone` unless it is a valid number, with its country code or of this country.
    pub fn parse_in(raw: &str, country: &Country) -> Result<Self, Fault> {
        let trimmed = raw.trim();
        if trimmed.starts_with('+') {
            return Self::parse(trimmed);
        }
        let fault = || {
            let detail = "must be a valid phone number, with country code (+84 912 345 678) or of \
                          the address's country";
            Fault::new("invalid_phone", detail)
        };
        if trimmed.len() > PHONE_MAX {
            return Err(fault());
        }
        let country = country.as_str().parse().map_err(|_| fault())?;
        Self::of(phonenumber::parse(Some(country), trimmed).ok()).ok_or_else(fault)
    }

    fn of(number: Option<phonenumber::PhoneNumber>) -> Option<Self> {
        let number = number.filter(|number| number.is_valid() && number.extension().is_none())?;
        Some(Self(number.format().mode(phonenumber::Mode::E164).to_string()))
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(e164: String) -> Self {
        Self(e164)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The country whose number it is, by its ISO 3166-1 alpha-2 code; `None` for numbers of no
    /// country, satellite phones for instance.
    pub fn country(&self) -> Option<&'static str> {
        let number = phonenumber::parse(None, &self.0).ok()?;
        let id = number.country().id()?;
        rust_iso3166::from_alpha2(id.as_ref()).map(|country| country.alpha2)
    }

    /// Whether a text message to it makes sense: not to a fixed line, and not to a number that is
    /// paid for being called.
    pub fn takes_texts(&self) -> bool {
        use phonenumber::Type;
        phonenumber::parse(None, &self.0).is_ok_and(|number| {
            let kind = number.number_type(&phonenumber::metadata::DATABASE);
            matches!(kind, Type::Mobile | Type::FixedLineOrMobile | Type::PersonalNumber)
        })
    }
}

/// Personal: never printed.
impl std::fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PhoneNumber(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_kept_in_e164() {
        for raw in ["+84912345678", "+84 912 345 678", "+84 (0) 912-345-678", " +84.912.345.678 "] {
            assert_eq!(
                PhoneNumber::parse(raw).map(|p| p.0),
                Ok("+84912345678".to_owned()),
                "{raw}"
            );
        }
    }

    #[test]
    fn d2_a_number_without_country_code_is_of_the_country_of_its_address() {
        let parse = |raw, country| {
            PhoneNumber::parse_in(raw, &Country::parse(country).unwrap()).map(|phone| phone.0)
        };
        for (raw, country, kept) in [
            ("0912 345 678", "VN", "+84912345678"),
            ("(202) 555-0123", "US", "+12025550123"),
            ("030 901820", "DE", "+4930901820"),
            ("0044 7400 123456", "DE", "+447400123456"),
            ("020 7946 0958", "GB", "+442079460958"),
            ("03-1234-5678", "JP", "+81312345678"),
            ("+84 912 345 678", "US", "+84912345678"),
        ] {
            assert_eq!(parse(raw, country), Ok(kept.to_owned()), "{country} {raw}");
        }
        for (raw, country) in [("0912", "DE"), ("0912 345 678", "US"), ("", "VN"), ("x", "VN")] {
            assert_eq!(parse(raw, country).unwrap_err().code, "invalid_phone", "{country} {raw}");
        }
    }

    #[test]
    fn refused() {
        for raw in [
            "",
            "0912345678",
            "+84",
            "+999123456789",
            "+8491234567890123",
            "+84912345678 ext. 5",
            "+84abc",
        ] {
            assert_eq!(PhoneNumber::parse(raw).unwrap_err().code, "invalid_phone", "{raw}");
        }
    }

    #[test]
    fn a_number_knows_its_country_and_whether_it_takes_texts() {
        for (raw, country, takes) in [
            ("+84912345678", Some("VN"), true),
            ("+842838123456", Some("VN"), false),
            ("+12025550123", Some("US"), true),
            ("+14165550123", Some("CA"), true),
            ("+18765550123", Some("JM"), true),
            ("+19005550123", Some("US"), false),
            ("+447400123456", Some("GB"), true),
            ("+882161234567890", None, false),
        ] {
            let number = PhoneNumber::from_stored(raw.to_owned());
            assert_eq!((number.country(), number.takes_texts()), (country, takes), "{raw}");
        }
    }
}
