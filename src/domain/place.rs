//! Where a person is, by standards: country (ISO 3166-1), time zone (IANA), language (BCP 47),
//! currency (ISO 4217).

use super::fault::Fault;
use serde::{Deserialize, Serialize};

macro_rules! code_type {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// Every country, by its code.
    pub fn all() -> impl Iterator<Item = Country> {
        rust_iso3166::ALL_ALPHA2.iter().map(|code| Self((*code).to_owned()))
    }

    /// Its short name of ISO 3166-1, in English.
    pub fn name(&self) -> &'static str {
        rust_iso3166::from_alpha2(&self.0).map_or("", |country| country.name)
    }

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

    /// Its rules; `None` where it was stored by a version that knew it and this one does not.
    pub fn zone(&self) -> Option<chrono_tz::Tz> {
        self.0.parse().ok()
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
