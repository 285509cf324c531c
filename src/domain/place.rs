//! Where a person is, by standards: country (ISO 3166-1), postal code, time zone (IANA), language
//! (BCP 47), currency (ISO 4217).

use super::fault::Fault;
use serde::{Deserialize, Serialize};

macro_rules! code_type {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A value that this service itself stored after parsing it.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    )+};
}

code_type!(
    /// ISO 3166-1 alpha-2, upper case.
    Country,
    /// An IANA time zone name, e.g. `Asia/Ho_Chi_Minh`.
    TimeZone,
    /// A language tag of BCP 47 in its usual casing, e.g. `vi-VN`.
    Locale,
    /// ISO 4217 alphabetic code, upper case.
    Currency,
);

impl Country {
    /// # Errors
    /// `unknown_country`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let code = raw.trim().to_ascii_uppercase();
        match rust_iso3166::from_alpha2(&code) {
            Some(_) => Ok(Self(code)),
            None => {
                Err(Fault::new("unknown_country", "must be an ISO 3166-1 alpha-2 code, e.g. VN"))
            }
        }
    }
}

impl TimeZone {
    /// # Errors
    /// `unknown_timezone`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        raw.parse::<chrono_tz::Tz>().map(|zone| Self(zone.name().to_owned())).map_err(|_| {
            Fault::new("unknown_timezone", "must be an IANA time zone, e.g. Asia/Ho_Chi_Minh")
        })
    }
}

impl Locale {
    /// Language, optional script, optional region: `vi`, `vi-VN`, `zh-Hant-TW`.
    ///
    /// # Errors
    /// `invalid_locale`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let fault = || Fault::new("invalid_locale", "must be a language tag, e.g. en or vi-VN");
        let mut parts = raw.trim().split(['-', '_']);
        let alphabetic = |part: &&str| part.chars().all(|c| c.is_ascii_alphabetic());
        let language = parts.next().filter(alphabetic).filter(|p| matches!(p.len(), 2 | 3));
        let mut tag = language.ok_or_else(fault)?.to_ascii_lowercase();
        let mut rest = parts.peekable();
        if let Some(script) = rest.next_if(|p| p.len() == 4 && alphabetic(p)) {
            tag.push('-');
            tag.push_str(&script[..1].to_ascii_uppercase());
            tag.push_str(&script[1..].to_ascii_lowercase());
        }
        let region = |p: &&str| {
            (p.len() == 2 && alphabetic(p))
                || (p.len() == 3 && p.chars().all(|c| c.is_ascii_digit()))
        };
        if let Some(part) = rest.next_if(region) {
            tag.push('-');
            tag.push_str(&part.to_ascii_uppercase());
        }
        if rest.next().is_some() { Err(fault()) } else { Ok(Self(tag)) }
    }
}

impl Currency {
    /// # Errors
    /// `unknown_currency`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let code = raw.trim().to_ascii_uppercase();
        if CURRENCIES.split(' ').any(|known| known == code) {
            Ok(Self(code))
        } else {
            Err(Fault::new("unknown_currency", "must be an ISO 4217 code, e.g. VND"))
        }
    }
}

/// ISO 4217 list one (active codes), without funds, metals and test codes.
const CURRENCIES: &str = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP \
     BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS \
     GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD \
     KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO \
     NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS \
     SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST \
     XAF XCD XCG XOF XPF YER ZAR ZMW ZWG";

/// A postal code in the spelling its country uses.
///
/// The countries listed have one format and are checked; every other is taken as a short line
/// (rule D2).
///
/// # Errors
/// `invalid_postal_code`, or those of [`text::line`](super::text::line).
pub fn postal_code(raw: &str, country: &Country) -> Result<String, Fault> {
    // Upper case first: it can be longer (ß is SS), and the length is the table's.
    let code = super::text::line(&raw.to_uppercase(), 16)?;
    let Some((_, patterns)) = POSTAL_FORMATS.iter().find(|(c, _)| *c == country.as_str()) else {
        return Ok(code);
    };
    if patterns.split('|').any(|pattern| fits(&code, pattern)) {
        Ok(code)
    } else {
        Err(Fault::new(
            "invalid_postal_code",
            format!("does not have the format of {}", country.as_str()),
        ))
    }
}

/// `9` is a digit, `A` a letter, anything else itself; `|` separates alternatives.
/// Formats as published by the Universal Postal Union (POST*CODE address formats).
const POSTAL_FORMATS: &[(&str, &str)] = &[
    ("AT", "9999"),
    ("AU", "9999"),
    ("BE", "9999"),
    ("BR", "99999-999|99999999"),
    ("CA", "A9A 9A9|A9A9A9"),
    ("CH", "9999"),
    ("CN", "999999"),
    ("CZ", "999 99|99999"),
    ("DE", "99999"),
    ("DK", "9999"),
    ("EE", "99999"),
    ("ES", "99999"),
    ("FI", "99999"),
    ("FR", "99999"),
    (
        "GB",
        "A9 9AA|A99 9AA|AA9 9AA|AA99 9AA|A9A 9AA|AA9A 9AA|A99AA|A999AA|AA99AA|AA999AA|A9A9AA|AA9A9AA",
    ),
    ("GR", "999 99|99999"),
    ("HU", "9999"),
    ("ID", "99999"),
    ("IN", "999999|999 999"),
    ("IT", "99999"),
    ("JP", "999-9999|9999999"),
    ("KR", "99999"),
    ("LT", "LT-99999|99999"),
    ("LV", "LV-9999|9999"),
    ("MX", "99999"),
    ("MY", "99999"),
    ("NL", "9999 AA|9999AA"),
    ("NO", "9999"),
    ("NZ", "9999"),
    ("PH", "9999"),
    ("PL", "99-999"),
    ("PT", "9999-999"),
    ("RO", "999999"),
    ("RU", "999999"),
    ("SE", "999 99|99999"),
    ("SG", "999999"),
    ("SI", "9999"),
    ("SK", "999 99|99999"),
    ("TH", "99999"),
    ("TR", "99999"),
    ("TW", "999|99999|999999"),
    ("UA", "99999"),
    ("US", "99999|99999-9999"),
    ("VN", "99999|999999"),
    ("ZA", "9999"),
];

fn fits(code: &str, pattern: &str) -> bool {
    code.chars().count() == pattern.chars().count()
        && code.chars().zip(pattern.chars()).all(|(c, p)| match p {
            '9' => c.is_ascii_digit(),
            'A' => c.is_ascii_uppercase(),
            other => c == other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d2_country_is_iso_3166_1_alpha_2() {
        assert_eq!(Country::parse(" vn ").unwrap().as_str(), "VN");
        for raw in ["", "XX", "VNM", "Vietnam", "UK"] {
            assert_eq!(Country::parse(raw).unwrap_err().code, "unknown_country", "{raw}");
        }
    }

    #[test]
    fn d2_postal_code_is_checked_where_the_country_has_a_format() {
        let code = |raw: &str, country: &str| {
            postal_code(raw, &Country::parse(country).unwrap()).map_err(|fault| fault.code)
        };
        assert_eq!(code("700000", "VN"), Ok("700000".into()));
        assert_eq!(code("sw1a 1aa", "GB"), Ok("SW1A 1AA".into()));
        assert_eq!(code("k1a 0b1", "CA"), Ok("K1A 0B1".into()));
        assert_eq!(code("90210-1234", "US"), Ok("90210-1234".into()));
        assert_eq!(code("1234", "US"), Err("invalid_postal_code"));
        assert_eq!(code("ABCDE", "DE"), Err("invalid_postal_code"));
        assert_eq!(code("anything 1", "IE"), Ok("ANYTHING 1".into()));
        assert_eq!(code(&"ß".repeat(9), "IE"), Err("too_long"));
    }

    #[test]
    fn locales() {
        let parse = |raw| Locale::parse(raw).map(|locale| locale.0).map_err(|fault| fault.code);
        assert_eq!(parse("VI_vn"), Ok("vi-VN".into()));
        assert_eq!(parse("zh-hant-tw"), Ok("zh-Hant-TW".into()));
        assert_eq!(parse("es-419"), Ok("es-419".into()));
        for raw in ["", "x", "english", "en-", "en-USA-x", "vi-VN-../../etc", "é"] {
            assert_eq!(parse(raw), Err("invalid_locale"), "{raw}");
        }
    }

    #[test]
    fn zones_and_currencies() {
        assert_eq!(TimeZone::parse("Asia/Ho_Chi_Minh").unwrap().as_str(), "Asia/Ho_Chi_Minh");
        assert_eq!(TimeZone::parse("Mars/Olympus").unwrap_err().code, "unknown_timezone");
        assert_eq!(Currency::parse("vnd").unwrap().as_str(), "VND");
        assert_eq!(Currency::parse("BTC").unwrap_err().code, "unknown_currency");
    }
}
