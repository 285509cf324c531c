//! Time-based codes (RFC 6238, rule A9): the secret that an authenticator shares with us, how it is
//! handed over, and which time step a code belongs to.
//!
//! SHA-1, six digits, thirty seconds, one step of drift either way: the only parameters that every
//! authenticator understands. That a step is accepted once is not decided here but where the
//! last accepted step is kept; [`TotpSecret::matching_step`] names the step to compare.

use std::fmt;

use chrono::{DateTime, Utc};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};
use totp_rs::{Algorithm, Builder, Totp};
use unicode_normalization::UnicodeNormalization;
use uuid::Uuid;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::customer_keys::DataKey;
use super::sealing::{Format, SealError, Sealer};

/// Bytes of a secret: the 160 bits that RFC 4226 recommends.
pub const SECRET_BYTES: usize = 20;

/// Seconds of a time step.
pub const STEP_SECONDS: i64 = 30;

/// Steps that a code may be early or late.
const DRIFT: i64 = 1;

const DIGITS: usize = 6;

/// Longest text that is looked at as a code: six digits with more between them than anybody types.
const CODE_TEXT_MAX: usize = 64;

/// Where a sealed secret belongs: the table and, in it, the customer.
const PLACE: &str = "customer_totp";

/// What our server and one authenticator know. Wiped when dropped, shown by no `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TotpSecret([u8; SECRET_BYTES]);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(..)")
    }
}

/// A code as typed: six digits and nothing else. Wiped when dropped, shown by no `Debug`.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct TotpCode(String);

impl fmt::Debug for TotpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpCode(..)")
    }
}

impl TotpCode {
    /// Reads a code as people type and paste it: white space and dashes between the digits are
    /// dropped, full-width digits count as their plain form. `None` for what is no code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > CODE_TEXT_MAX {
            return None;
        }
        // The exact size first: a growing string would leave copies behind that nobody wipes.
        let mut digits = String::with_capacity(CODE_TEXT_MAX);
        digits.extend(text.nfkc().filter(|c| !is_separator(*c)).take(DIGITS + 1));
        let code = Self(digits);
        let whole = code.0.len() == DIGITS && code.0.bytes().all(|byte| byte.is_ascii_digit());
        whole.then_some(code)
    }
}

/// What stands between the groups of a code and carries no meaning: white space and dashes.
pub(super) fn is_separator(c: char) -> bool {
    c.is_whitespace() || c == '-' || ('\u{2010}'..='\u{2015}').contains(&c) || c == '\u{2212}'
}

/// What an owner needs to set up an authenticator. Every form holds the secret.
pub struct Provisioning {
    /// The secret in base32, to be typed where no camera is.
    pub secret: Zeroizing<String>,
    /// `otpauth://totp/…`, to be opened on the phone itself.
    pub uri: Zeroizing<String>,
    /// The URI as a QR code: an SVG element, fit to stand in a page as it is.
    pub qr_svg: Zeroizing<String>,
}

impl fmt::Debug for Provisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provisioning(..)")
    }
}

/// A secret could not be written as a QR code: the names around it are too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("issuer and account do not fit in a QR code")]
pub struct ProvisioningError;

impl TotpSecret {
    /// A secret from 160 random bits.
    #[must_use]
    pub fn new(random: [u8; SECRET_BYTES]) -> Self {
        Self(random)
    }

    /// The form at rest: sealed with the customer's own key, and bound to this place of it.
    ///
    /// # Errors
    /// [`SealError::Seal`] when the operating system gives no randomness.
    pub fn seal(&self, key: &DataKey, customer: Uuid) -> Result<Vec<u8>, SealError> {
        key.seal(&place(customer), &self.0)
    }

    /// Opens what [`seal`](Self::seal) made for the same customer. What was set up before customers
    /// had keys is sealed with the root key's.
    ///
    /// # Errors
    /// [`SealError::Open`] for everything that is not exactly that.
    pub fn open(
        key: Option<&DataKey>,
        root: &Sealer,
        customer: Uuid,
        sealed: &[u8],
    ) -> Result<Self, SealError> {
        let place = place(customer);
        let bytes = if Format::Root.is_of(sealed) {
            root.open(&place, sealed)?
        } else {
            key.ok_or(SealError::Open)?.open(&place, sealed)?
        };
        bytes.as_slice().try_into().map(Self).map_err(|_| SealError::Open)
    }

    /// The forms in which the owner takes the secret over. `issuer` names the shop, `account` the
    /// account within it: what tells entries apart in the authenticator, and no more than that.
    ///
    /// # Errors
    /// [`ProvisioningError`] when both together are too long for a QR code (beyond 2,000 bytes) or
    /// one of them is empty.
    pub fn provisioning(
        &self,
        issuer: &str,
        account: &str,
    ) -> Result<Provisioning, ProvisioningError> {
        // A colon separates the two and may stand in neither.
        let named = self
            .builder()
            .with_issuer(Some(issuer.replace(':', " ")))
            .with_account_name(account.replace(':', " "));
        let totp = named.build().map_err(|_| ProvisioningError)?;
        let uri = Zeroizing::new(totp.to_url().map_err(|_| ProvisioningError)?);
        let qr_svg = qr_svg(&uri)?;
        Ok(Provisioning { secret: Zeroizing::new(totp.secret().to_base32()), uri, qr_svg })
    }

    /// The time step whose code this is, if it is one of the present, the last and the next step.
    ///
    /// All three are always computed and compared in constant time, so the duration tells neither
    /// how near a guess was nor which step it met. Should one code belong to two steps, the later
    /// counts: the earlier may be used up.
    #[must_use]
    pub fn matching_step(&self, code: &TotpCode, now: DateTime<Utc>) -> Option<i64> {
        let totp = self.totp();
        let present = now.timestamp().div_euclid(STEP_SECONDS);
        (present - DRIFT..=present + DRIFT).fold(None, |met, step| {
            // Without drift of its own: the library stops at the first step that fits.
            let meets = u64::try_from(step * STEP_SECONDS)
                .is_ok_and(|seconds| totp.check(&code.0, seconds).is_some());
            if meets { Some(step) } else { met }
        })
    }

    /// The code of a time step, as the authenticator shows it. The service itself never asks for
    /// it; clients of its tests do.
    #[must_use]
    pub fn code_of(&self, step: i64) -> TotpCode {
        let seconds = u64::try_from(step * STEP_SECONDS).unwrap_or(0);
        TotpCode(self.totp().generate(seconds).to_string())
    }

    fn totp(&self) -> Totp {
        self.builder().build_noncompliant()
    }

    fn builder(&self) -> Builder {
        Builder::new()
            .with_algorithm(Algorithm::SHA1)
            .with_digits(6)
            .with_step_duration(STEP_SECONDS.unsigned_abs())
            .with_skew(0)
            .with_secret(self.0)
    }
}

fn place(customer: Uuid) -> String {
    format!("{PLACE}/{customer}")
}

fn qr_svg(uri: &str) -> Result<Zeroizing<String>, ProvisioningError> {
    // Medium correction: it is read from a screen, which neither tears nor stains.
    let code =
        QrCode::with_error_correction_level(uri, EcLevel::M).map_err(|_| ProvisioningError)?;
    let document = Zeroizing::new(
        code.render::<svg::Color<'_>>().module_dimensions(4, 4).quiet_zone(true).build(),
    );
    let element = document.find("<svg").and_then(|at| document.get(at..));
    Ok(Zeroizing::new(element.ok_or(ProvisioningError)?.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use qrcode::Color;

    use super::super::customer_keys::WrappingKeys;
    use super::super::keys::RootSecret;
    use super::*;

    const CUSTOMER: Uuid = Uuid::from_u128(7);

    fn rfc() -> TotpSecret {
        TotpSecret::new(*b"12345678901234567890")
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn code(text: &str) -> TotpCode {
        TotpCode::parse(text).unwrap()
    }

    /// RFC 6238, appendix B, SHA-1: its codes have eight digits, ours are their last six.
    const VECTORS: [(i64, &str); 6] = [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ];

    #[test]
    fn a9_codes_are_those_of_rfc_6238() {
        for (seconds, eight) in VECTORS {
            let step = seconds / STEP_SECONDS;
            assert_eq!(rfc().code_of(step).0, eight[2..], "{seconds}");
            assert_eq!(rfc().matching_step(&code(&eight[2..]), at(seconds)), Some(step));
        }
    }

    #[test]
    fn a9_a_code_may_be_one_step_early_or_late_and_no_more() {
        let step = 1_234_567_890 / STEP_SECONDS;
        let code = rfc().code_of(step);
        let (begins, ends) = (step * STEP_SECONDS, (step + 1) * STEP_SECONDS);
        let cases = [
            (begins - STEP_SECONDS - 1, None),
            (begins - STEP_SECONDS, Some(step)),
            (begins, Some(step)),
            (ends - 1, Some(step)),
            (ends, Some(step)),
            (ends + STEP_SECONDS - 1, Some(step)),
            (ends + STEP_SECONDS, None),
        ];
        for (seconds, expected) in cases {
            assert_eq!(rfc().matching_step(&code, at(seconds)), expected, "{seconds}");
        }
    }

    /// One code in a million fits two neighbouring steps. The later one is told, so that the owner
    /// is not refused for an earlier step that is used up.
    #[test]
    fn a9_a_code_of_two_steps_counts_as_the_later() {
        let step = 910_737;
        let code = code("911617");
        assert_eq!(code, rfc().code_of(step));
        assert_eq!(code, rfc().code_of(step + 1));
        assert_eq!(rfc().matching_step(&code, at(step * STEP_SECONDS)), Some(step + 1));
    }

    /// The code of a step by another library's HMAC, written out from RFC 4226, section 5.3.
    fn other_code(secret: &TotpSecret, step: i64) -> u32 {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret.0);
        let tag = ring::hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let four: [u8; 4] = tag[offset..offset + 4].try_into().unwrap();
        (u32::from_be_bytes(four) & 0x7fff_ffff) % 1_000_000
    }

    #[test]
    fn instants_before_1970_have_no_code_and_do_no_harm() {
        assert_eq!(rfc().matching_step(&rfc().code_of(0), at(-31)), None);
        assert_eq!(rfc().matching_step(&rfc().code_of(0), at(-30)), Some(0));
        let first = DateTime::<Utc>::MIN_UTC;
        assert_eq!(rfc().matching_step(&rfc().code_of(0), first), None);
        assert_eq!(rfc().matching_step(&rfc().code_of(0), DateTime::<Utc>::MAX_UTC), None);
    }

    #[test]
    fn codes_are_read_as_people_type_them() {
        for text in ["287082", "287 082", " 28 70 82 ", "287-082", "287\u{a0}082", "２８７０８２"]
        {
            assert_eq!(code(text).0, "287082", "{text}");
        }
        let long = " ".repeat(1_000) + "287082";
        for text in ["", "28708", "2870822", "28708a", "+87082", "-", "٢٨٧٠٨٢", "²87082x", &long]
        {
            assert!(TotpCode::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn sealed_secrets_open_for_their_own_customer_only() {
        let root = RootSecret::new([1; 32]);
        let (sealer, wrapping) = (Sealer::new(&root), WrappingKeys::new(&root, &[]));
        let (key, _) = wrapping.make(CUSTOMER, [3; 32]).unwrap();
        let (other, _) = wrapping.make(CUSTOMER, [4; 32]).unwrap();
        let open = |key, customer, sealed: &[u8]| TotpSecret::open(key, &sealer, customer, sealed);
        let sealed = rfc().seal(&key, CUSTOMER).unwrap();
        assert_eq!(open(Some(&key), CUSTOMER, &sealed).unwrap(), rfc());
        for (key, customer) in
            [(Some(&key), Uuid::from_u128(8)), (Some(&other), CUSTOMER), (None, CUSTOMER)]
        {
            assert_eq!(open(key, customer, &sealed).unwrap_err(), SealError::Open);
        }
        let short = key.seal(&place(CUSTOMER), &[1; SECRET_BYTES - 1]).unwrap();
        assert_eq!(open(Some(&key), CUSTOMER, &short).unwrap_err(), SealError::Open);
        // From before customers had keys.
        let old = sealer.seal(&place(CUSTOMER), &rfc().0).unwrap();
        assert_eq!(open(None, CUSTOMER, &old).unwrap(), rfc());
        assert_eq!(open(Some(&key), CUSTOMER, &old).unwrap(), rfc());
    }

    #[test]
    fn the_uri_names_shop_and_account() {
        let provisioning = rfc().provisioning("Chợ Nhà", "anh+shop@example.org").unwrap();
        assert_eq!(provisioning.secret.as_str(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(
            provisioning.uri.as_str(),
            "otpauth://totp/Ch%E1%BB%A3%20Nh%C3%A0:anh%2Bshop%40example.org\
             ?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Ch%E1%BB%A3%20Nh%C3%A0"
        );
    }

    #[test]
    fn names_that_could_break_the_uri_are_tamed_or_refused() {
        let uri = rfc().provisioning("A:B", "c:d@e.f?x&secret=AAAA").unwrap().uri;
        assert!(uri.starts_with("otpauth://totp/A%20B:c%20d%40e.f%3Fx%26secret%3DAAAA?secret=GEZ"));
        let long = "a".repeat(3_000);
        for (issuer, account) in [("Shop", ""), ("Shop", long.as_str())] {
            let refused = rfc().provisioning(issuer, account);
            assert_eq!(refused.unwrap_err(), ProvisioningError, "{issuer}");
        }
        // The longest address there is, all of it percent-encoded.
        let longest = format!("{}@{}", "é".repeat(32), "ü".repeat(94));
        assert!(rfc().provisioning("Shop", &longest).is_ok());
    }

    /// Reads the squares of the SVG back and compares them with the code of the URI.
    #[test]
    fn the_qr_code_is_that_of_the_uri() {
        let provisioning = rfc().provisioning("Shop", "anna@example.org").unwrap();
        let svg = provisioning.qr_svg.as_str();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>"), "{svg}");
        let expected =
            QrCode::with_error_correction_level(provisioning.uri.as_str(), EcLevel::M).unwrap();
        let path = svg.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
        let dark: std::collections::HashSet<(usize, usize)> = path
            .split('M')
            .skip(1)
            .map(|square| {
                let (left, rest) = square.split_once(' ').unwrap();
                let top = rest.split('h').next().unwrap();
                // four pixels a module, four modules of quiet around
                (left.parse::<usize>().unwrap() / 4 - 4, top.parse::<usize>().unwrap() / 4 - 4)
            })
            .collect();
        for y in 0..expected.width() {
            for x in 0..expected.width() {
                assert_eq!(dark.contains(&(x, y)), expected[(x, y)] == Color::Dark, "{x} {y}");
            }
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?}",
            rfc(),
            code("123456"),
            rfc().provisioning("Shop", "anna@example.org").unwrap()
        );
        assert_eq!(shown, "TotpSecret(..) TotpCode(..) Provisioning(..)");
    }

    proptest! {
        /// Whatever the secret and the instant: the own code is found at its own step, and a code
        /// that belongs to none of the three steps is not.
        #[test]
        fn a9_exactly_the_codes_of_three_steps_fit(
            bytes: [u8; SECRET_BYTES], seconds in 0_i64..4_000_000_000, guess in 0_u32..1_000_000,
        ) {
            let secret = TotpSecret::new(bytes);
            let present = seconds / STEP_SECONDS;
            let steps = [present - 1, present, present + 1];
            for step in steps.into_iter().filter(|step| *step >= 0) {
                let met = secret.matching_step(&secret.code_of(step), at(seconds)).unwrap();
                prop_assert!(met >= step && secret.code_of(met) == secret.code_of(step));
                let expected = other_code(&secret, step);
                prop_assert_eq!(secret.code_of(step).0.clone(), format!("{expected:06}"));
            }
            let guess = code(&format!("{guess:06}"));
            let fits = steps.iter().rev().find(|step| **step >= 0 && secret.code_of(**step) == guess);
            prop_assert_eq!(secret.matching_step(&guess, at(seconds)), fits.copied());
        }

        /// No text makes the parser panic, and what it takes is six plain digits.
        #[test]
        fn any_text_is_a_code_or_none(text in "\\PC*") {
            if let Some(code) = TotpCode::parse(&text) {
                prop_assert!(code.0.len() == DIGITS && code.0.bytes().all(|b| b.is_ascii_digit()));
            }
        }
    }
}
