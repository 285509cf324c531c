//! Text that people wrote (rule L8): kept in their own spelling, byte for byte after NFC; trimmed,
//! inner spaces single, never re-cased. Control characters and invisible direction overrides are
//! refused, since they only serve to deceive a reader.

use super::fault::Fault;
use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

/// One line of text: 1 to `max` characters (Unicode scalar values) after normalisation.
///
/// # Errors
/// `required` when nothing is left, `too_long`, `control_character`.
pub fn line(raw: &str, max: usize) -> Result<String, Fault> {
    let text = collapse_spaces(&raw.nfc().collect::<String>());
    check(&text, max, |c| is_hidden(c) || c.is_control())?;
    Ok(text)
}

/// Text of several lines (`\n`), otherwise like [`line`]; inner spaces are the writer's own.
///
/// # Errors
/// As [`line`].
pub fn paragraph(raw: &str, max: usize) -> Result<String, Fault> {
    let text = raw.replace("\r\n", "\n").nfc().collect::<String>().trim().to_owned();
    check(&text, max, |c| is_hidden(c) || (c.is_control() && c != '\n' && c != '\t'))?;
    Ok(text)
}

fn check(text: &str, max: usize, refused: impl Fn(char) -> bool) -> Result<(), Fault> {
    if text.is_empty() {
        return Err(Fault::new("required", "must not be empty"));
    }
    if text.chars().count() > max {
        return Err(Fault::new("too_long", format!("must have at most {max} characters")));
    }
    if text.chars().any(refused) {
        return Err(Fault::new(
            "control_character",
            "must not contain control characters or direction overrides",
        ));
    }
    Ok(())
}

fn collapse_spaces(text: &str) -> String {
    // Only spaces collapse: a tab or a line break is a control character and is refused, not mended.
    text.trim().split(' ').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Line and paragraph separators, and the bidirectional embeddings, overrides and isolates.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A `Debug` that says the type and nothing of the value: for what is personal or secret, so that
/// it reaches no log by way of whatever holds it.
macro_rules! never_printed {
    ($($name:ident),+ $(,)?) => {$(
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    )+};
}
pub(super) use never_printed;

macro_rules! line_type {
    ($($(#[$doc:meta])* $name:ident: $max:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Most characters it may have.
            pub const MAX: usize = $max;

            /// # Errors
            /// As [`line`].
            pub fn parse(raw: &str) -> Result<Self, Fault> {
                line(raw, Self::MAX).map(Self)
            }

            /// A value that this service itself stored after parsing it.
            pub fn from_stored(text: String) -> Self {
                Self(text)
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        never_printed!($name);
    )+};
}

line_type!(
    /// A first or last name.
    PersonName: 100,
    /// One line of an address, a recipient, a company.
    Line: 200,
    /// A short label: an address's name, a device's name, a tag's text.
    Label: 80,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l8_spelling_survives_byte_for_byte_after_nfc() {
        for name in
            ["Nguyễn Thị Ánh", "İbrahim Şahin", "陳大文", "عبد الله", "Zoë 👩‍👩‍👧", "McDONALD", "d'Árc"]
        {
            let nfc: String = name.nfc().collect();
            assert_eq!(PersonName::parse(name).unwrap().as_str(), nfc);
        }
        assert_eq!(PersonName::parse("Nguye\u{302}\u{303}n").unwrap().as_str(), "Nguyễn");
    }

    #[test]
    fn l8_spaces_and_refusals() {
        let code = |raw: &str| PersonName::parse(raw).unwrap_err().code;
        assert_eq!(PersonName::parse("  Anna   Maria ").unwrap().as_str(), "Anna Maria");
        assert_eq!(code(""), "required");
        assert_eq!(code("   "), "required");
        assert_eq!(code("a\u{0}b"), "control_character");
        assert_eq!(code("a\tb"), "control_character");
        assert_eq!(code("a\nb"), "control_character");
        assert_eq!(code("a\u{85}b"), "control_character");
        assert_eq!(code("gpj\u{202e}exe"), "control_character");
        assert_eq!(code(&"x".repeat(101)), "too_long");
        assert!(PersonName::parse(&"é".repeat(100)).is_ok());
    }

    #[test]
    fn paragraphs_keep_their_lines() {
        assert_eq!(paragraph(" a\r\n b ", 10).unwrap(), "a\n b");
        assert_eq!(paragraph("a\u{7}", 10).unwrap_err().code, "control_character");
    }

    proptest::proptest! {
        #[test]
        fn l8_parsing_twice_is_parsing_once(raw in "\\PC{0,120}") {
            if let Ok(once) = line(&raw, 100) {
                proptest::prop_assert_eq!(line(&once, 100).unwrap(), once);
            }
        }
    }
}
