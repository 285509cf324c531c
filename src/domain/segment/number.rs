//! Numbers as definitions write them and as customers' facts hold them: exact, up to nine decimals.

use std::fmt;

/// A decimal number, kept in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(i128);

impl Number {
    /// Most decimals.
    pub const DECIMALS: u32 = 9;
    /// Most digits before the point, in a definition.
    pub const DIGITS: usize = 15;
    const ONE: i128 = 1_000_000_000;

    /// A whole number.
    pub fn whole(number: i64) -> Self {
        Self(i128::from(number) * Self::ONE)
    }

    /// So many of the smallest units of which ten to the power of `decimals` make one.
    pub fn of_units(units: i64, decimals: u32) -> Self {
        Self(i128::from(units) * 10_i128.pow(Self::DECIMALS.saturating_sub(decimals)))
    }

    /// From digits with or without sign and point, such as `-12.50`.
    pub fn parse(text: &str) -> Option<Self> {
        let unsigned = text.trim_start_matches(['-', '+']);
        let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let fits = digits(whole)
            && digits(decimals)
            && whole.trim_start_matches('0').len() <= Self::DIGITS
            && decimals.len() <= Self::DECIMALS as usize
            && text.len() - unsigned.len() <= 1;
        if !fits {
            return None;
        }
        let padded = format!("{whole}{decimals:0<9}");
        let number: i128 = padded.parse().ok()?;
        Some(Self(if text.starts_with('-') { -number } else { number }))
    }

    /// From a number of JSON with at most nine decimals; `None` of another one.
    pub fn of_json(number: &serde_json::Number) -> Option<Self> {
        if let Some(whole) = number.as_i64() {
            return Some(Self::whole(whole));
        }
        // The shortest text that is this number, with all decimals and no exponent.
        number.as_f64().map(|float| format!("{float}")).and_then(|text| Self::parse(&text))
    }

    /// In billionths.
    pub(super) fn billionths(self) -> i128 {
        self.0
    }

    /// Whether it has no decimals.
    pub fn is_whole(self) -> bool {
        self.0 % Self::ONE == 0
    }

    /// So many smallest units, as far as one of them is `10^-decimals`: `99.50` is `9950` hundredths.
    #[must_use]
    pub fn in_units(self, decimals: u32) -> Self {
        Self(self.0.saturating_mul(10_i128.pow(decimals)))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (whole, rest) =
            (self.0.unsigned_abs() / 1_000_000_000, self.0.unsigned_abs() % 1_000_000_000);
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let decimals = format!("{rest:09}");
        write!(f, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
    }
}

/// How many decimals a currency has: the minor unit of ISO 4217.
pub fn decimals(currency: &str) -> u32 {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "UYI" | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}
