//! A password as typed, normalised once. What may be chosen as one is
//! [`super::password_policy`]'s.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use super::password_policy::PasswordFault;

/// Fewest code points (after NFKC) of a chosen password.
pub const MIN_CODE_POINTS: usize = 8;
/// Most code points (after NFKC) of a chosen password.
pub const MAX_CODE_POINTS: usize = 128;

/// A clear-text password: NFKC-normalised, never trimmed, wiped when dropped, shown by no `Debug`.
/// A copy is wiped like the original.
#[derive(Clone)]
pub struct Password {
    normalised: Zeroizing<String>,
    /// The text before it was normalised, where that is another one.
    typed: Option<Zeroizing<String>>,
}

impl Password {
    /// A password that is being chosen: its length counts.
    ///
    /// # Errors
    /// [`PasswordFault::TooShort`] or [`PasswordFault::TooLong`], counted in code points after
    /// normalisation.
    pub fn chosen(text: &str) -> Result<Self, PasswordFault> {
        let password = Self::presented(text);
        match password.as_str().chars().count() {
            ..MIN_CODE_POINTS => Err(PasswordFault::TooShort),
            MIN_CODE_POINTS..=MAX_CODE_POINTS => Ok(password),
            _ => Err(PasswordFault::TooLong),
        }
    }

    /// A password presented at sign-in. No length is refused here: an imported one may be shorter
    /// than today's minimum, and a wrong one must cost and answer like any other wrong one.
    #[must_use]
    pub fn presented(text: &str) -> Self {
        // The exact size first: a growing string would leave copies behind that nobody wipes.
        let mut normalised =
            Zeroizing::new(String::with_capacity(text.nfkc().map(char::len_utf8).sum()));
        normalised.extend(text.nfkc());
        let typed = (*normalised != text).then(|| Zeroizing::new(text.to_owned()));
        Self { normalised, typed }
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.normalised.as_bytes()
    }

    /// The same as text.
    pub(super) fn as_str(&self) -> &str {
        &self.normalised
    }

    /// The bytes that are hashed, then those as typed where they differ: what another system may
    /// have hashed.
    pub(super) fn spellings(&self) -> impl Iterator<Item = &[u8]> {
        let typed = self.typed.as_ref().map(|text| text.as_bytes());
        std::iter::once(self.as_bytes()).chain(typed)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn length_fault(text: &str) -> Option<&'static str> {
        Password::chosen(text).err().map(PasswordFault::code)
    }

    #[test]
    fn a1_length_counts_code_points_after_normalisation() {
        let decomposed = "e\u{301}".repeat(128);
        let cases = [
            ("1234567".to_owned(), Some("too_short")),
            ("12345678".to_owned(), None),
            ("ünïcödé!".to_owned(), None),
            ("密码密码密码密".to_owned(), Some("too_short")),
            ("密码密码密码密码".to_owned(), None),
            ("🐧".repeat(8), None),
            ("a".repeat(128), None),
            ("a".repeat(129), Some("too_long")),
            (decomposed, None),
            // one ligature of eighteen letters is eighteen code points
            ("\u{fdfa}".to_owned(), None),
            (String::new(), Some("too_short")),
        ];
        for (text, expected) in cases {
            assert_eq!(length_fault(&text), expected, "{text}");
        }
    }

    #[test]
    fn a1_nothing_is_trimmed_and_no_character_refused() {
        for text in ["  padded  ", "nul\0inside", "tab\tand\nline", "no-digits-no-capitals"] {
            let password = Password::chosen(text).unwrap();
            assert_eq!(password.as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn equivalent_spellings_are_one_password() {
        let (a, b) =
            (Password::presented("Ångström①"), Password::presented("A\u{30a}ngstro\u{308}m1"));
        assert_eq!(a.as_bytes(), b.as_bytes());
    }

    #[test]
    fn the_typed_spelling_is_kept_where_it_is_another_one() {
        let spellings = |text| -> Vec<Vec<u8>> {
            Password::presented(text).spellings().map(<[u8]>::to_vec).collect()
        };
        assert_eq!(spellings("plain é"), ["plain é".as_bytes()]);
        assert_eq!(spellings("m²"), ["m2".as_bytes(), "m²".as_bytes()]);
        assert_eq!(spellings("e\u{301}"), ["é".as_bytes(), "e\u{301}".as_bytes()]);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Password::presented("hunter2hunter2")), "Password(..)");
    }

    proptest! {
        #[test]
        fn normalising_again_changes_nothing(text in any::<String>()) {
            let once = Password::presented(&text);
            let again = Password::presented(once.as_str());
            prop_assert_eq!(again.as_bytes(), once.as_bytes());
            prop_assert_eq!(again.spellings().count(), 1);
        }
    }
}
