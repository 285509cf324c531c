//! E-mail addresses (rule L5): kept as written for sending, compared in one canonical form.

use super::fault::Fault;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// Longest address, in bytes (RFC 5321 §4.5.3.1.3 less the brackets).
const MAX_BYTES: usize = 254;
/// Longest part before the `@`, in bytes (RFC 5321 §4.5.3.1.1).
const MAX_LOCAL_BYTES: usize = 64;

/// A syntactically valid address with its canonical form.
///
/// The canonical form is NFKC, trimmed, full Unicode case folding, domain in its ASCII form
/// (UTS 46). Two addresses with one canonical form are one address; neither `+tags` nor dots fold.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmailAddress {
    written: String,
    canonical: String,
}

impl EmailAddress {
    /// # Errors
    /// `required`, `too_long`, `invalid_email`.
    pub fn parse(raw: &str) -> Result<Self, Fault> {
        let written: String = raw.trim().nfc().collect();
        if written.is_empty() {
            return Err(Fault::new("required", "must not be empty"));
        }
        if written.len() > MAX_BYTES {
            return Err(Fault::new("too_long", format!("must have at most {MAX_BYTES} bytes")));
        }
        let canonical = canonical(&written).ok_or_else(|| {
            Fault::new("invalid_email", "must be an e-mail address such as anna@example.org")
        })?;
        Ok(Self { written, canonical })
    }

    /// A value that this service itself stored after parsing it.
    pub fn from_stored(written: String, canonical: String) -> Self {
        Self { written, canonical }
    }

    /// As its owner wrote it; the form to send to and to show.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The form to compare and to look up by.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// Personal: never printed.
impl std::fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EmailAddress(..)")
    }
}

fn canonical(written: &str) -> Option<String> {
    let compatible: String = written.nfkc().collect();
    let folded: String = caseless::default_case_fold_str(compatible.trim()).nfkc().collect();
    let (local, domain) = folded.rsplit_once('@')?;
    if !is_local_part(local) {
        return None;
    }
    let domain = idna::domain_to_ascii_strict(domain).ok()?;
    let labels = domain.split('.').count();
    let ok = labels >= 2 && domain.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    (ok && local.len() + domain.len() < MAX_BYTES).then(|| format!("{local}@{domain}"))
}

/// A dot-atom (RFC 5322 §3.2.3) widened to letters of any script (RFC 6531); no quoted strings.
fn is_local_part(local: &str) -> bool {
    let atom = |c: char| {
        c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || (!c.is_ascii() && c.is_alphanumeric())
            || unicode_normalization::char::is_combining_mark(c)
    };
    local.len() <= MAX_LOCAL_BYTES
        && local.split('.').all(|part| !part.is_empty() && part.chars().all(atom))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l5_one_address_however_it_is_spelled() {
        for (left, right) in [
            ("Anna@Example.ORG", "anna@example.org"),
            ("  anna@example.org ", "anna@example.org"),
            ("ＡＮＮＡ@example.org", "anna@example.org"),
            ("straße@example.org", "STRASSE@example.org"),
            ("anna@bücher.example", "anna@xn--bcher-kva.example"),
        ] {
            let canonical = |raw| EmailAddress::parse(raw).unwrap().canonical;
            assert_eq!(canonical(left), canonical(right), "{left} {right}");
        }
    }

    #[test]
    fn l5_different_addresses_stay_different() {
        let canonical = |raw| EmailAddress::parse(raw).unwrap().canonical;
        assert_ne!(canonical("a.b@example.org"), canonical("ab@example.org"));
        assert_ne!(canonical("a+x@example.org"), canonical("a@example.org"));
    }

    #[test]
    fn the_spelling_is_kept_for_sending() {
        assert_eq!(
            EmailAddress::parse("Anna.K@Example.org").unwrap().as_str(),
            "Anna.K@Example.org"
        );
    }

    #[test]
    fn refused() {
        for raw in [
            "anna",
            "@example.org",
            "anna@",
            "anna@localhost",
            "a b@example.org",
            "a@b@example.org",
            ".a@example.org",
            "a..b@example.org",
            "a@-x.org",
            "a@exa mple.org",
            "a\u{0}@example.org",
            "a\r\nBcc: x@example.org",
            "\"a\"@example.org",
            "a@example..org",
            "a@[127.0.0.1]",
        ] {
            assert_eq!(EmailAddress::parse(raw).unwrap_err().code, "invalid_email", "{raw:?}");
        }
        assert_eq!(EmailAddress::parse(" ").unwrap_err().code, "required");
        let long = format!("{}@example.org", "a".repeat(250));
        assert_eq!(EmailAddress::parse(&long).unwrap_err().code, "too_long");
    }

    proptest::proptest! {
        #[test]
        fn l5_the_canonical_form_is_its_own_canonical_form(raw in "[a-zA-ZäßİΣ.+]{1,10}@[a-zA-Zäß]{1,8}\\.[a-z]{2,3}") {
            if let Ok(email) = EmailAddress::parse(&raw) {
                let again = EmailAddress::parse(email.canonical()).unwrap();
                proptest::prop_assert_eq!(again.canonical(), email.canonical());
            }
        }
    }
}
