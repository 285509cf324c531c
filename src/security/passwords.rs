//! A password as typed, normalised once, and the policy for choosing one (rule A1): long enough,
//! not common, not the person's own name or address. Nothing about character classes.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;

/// Fewest code points (after NFKC) of a chosen password.
pub const MIN_CODE_POINTS: usize = 8;
/// Most code points (after NFKC) of a chosen password.
pub const MAX_CODE_POINTS: usize = 128;

/// Shortest piece of a name or address that a password is compared with: shorter ones ("Ann")
/// stand in too many good passphrases by chance.
const MIN_PIECE: usize = 4;

/// The most frequent passwords of at least eight characters, lower case, one a line, most frequent
/// first. An excerpt of the public list that Royce Williams compiled and that Django ships.
const COMMON_LIST: &str = include_str!("common-passwords.txt");

static COMMON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| COMMON_LIST.lines().collect());

/// A clear-text password: NFKC-normalised, never trimmed, wiped when dropped, shown by no `Debug`.
/// A copy is wiped like the original.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

/// Why a password may not be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// Fewer than [`MIN_CODE_POINTS`].
    #[error("the password is too short")]
    TooShort,
    /// More than [`MAX_CODE_POINTS`].
    #[error("the password is too long")]
    TooLong,
    /// Among the passwords everybody tries first.
    #[error("the password is too common")]
    TooCommon,
    /// Made from the person's own name or e-mail address.
    #[error("the password is derived from the person's name or address")]
    DerivedFromPerson,
}

impl PasswordFault {
    /// The code that clients see.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::TooCommon => "too_common",
            Self::DerivedFromPerson => "derived_from_person",
        }
    }
}

/// What a password must not be derived from.
#[derive(Clone, Copy, Default)]
pub struct Person<'a> {
    /// Given name, family name, company: whatever the person is called.
    pub names: &'a [&'a str],
    /// The e-mail address, as entered or canonical.
    pub email: Option<&'a str>,
}

impl Password {
    /// A password that is being chosen: its length counts.
    ///
    /// # Errors
    /// [`PasswordFault::TooShort`] or [`PasswordFault::TooLong`], counted in code points after
    /// normalisation.
    pub fn chosen(text: &str) -> Result<Self, PasswordFault> {
        let password = Self::presented(text);
        match password.0.chars().count() {
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
        Self(normalised)
    }

    /// Judges a chosen password against the lists and the person it is for.
    ///
    /// # Errors
    /// [`PasswordFault::TooCommon`] or [`PasswordFault::DerivedFromPerson`].
    pub fn check(&self, person: Person<'_>) -> Result<(), PasswordFault> {
        if is_common(&self.0) {
            return Err(PasswordFault::TooCommon);
        }
        if is_derived(&self.0, person) {
            return Err(PasswordFault::DerivedFromPerson);
        }
        Ok(())
    }

    /// The bytes that are hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// Whether a password, in whatever case, is one of the most common.
#[must_use]
pub fn is_common(password: &str) -> bool {
    COMMON.contains(fold(password, |_| true).as_str())
}

/// Whether the password contains a piece of the person's name or address, or is itself contained
/// in one. Case, accents and everything but letters and digits are ignored on both sides, so that
/// `Nguyễn-1999` is seen to be made from `NGUYEN`.
fn is_derived(password: &str, person: Person<'_>) -> bool {
    let password = fold(password, char::is_alphanumeric);
    if password.chars().count() < MIN_PIECE {
        return false;
    }
    pieces(person)
        .iter()
        .filter(|piece| piece.chars().count() >= MIN_PIECE)
        .any(|piece| password.contains(piece.as_str()) || piece.contains(password.as_str()))
}

/// The words of the names and of the address's local part, each alone and all joined, and the
/// address's domain as a whole (a lone `gmail` is no trait of a person).
fn pieces(person: Person<'_>) -> Vec<String> {
    let squeeze = |text: &str| fold(text, char::is_alphanumeric).to_string();
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c)).map(squeeze).collect()
    };
    let mut pieces: Vec<String> = person.names.iter().flat_map(|name| words(name)).collect();
    pieces.extend(person.names.iter().map(|name| squeeze(name)));
    pieces.push(person.names.iter().map(|name| squeeze(name)).collect());
    pieces.push(person.names.iter().rev().map(|name| squeeze(name)).collect());
    if let Some(email) = person.email {
        let (local, domain) = email.rsplit_once('@').unwrap_or((email, ""));
        pieces.extend(words(local));
        pieces.extend([squeeze(local), squeeze(domain), squeeze(email)]);
    }
    pieces
}

/// Case-folded, without accents, only the characters that `keep` names.
fn fold(text: &str, keep: impl Fn(char) -> bool) -> Zeroizing<String> {
    // Case folding can triple a character's length: room for that, so that no copy is left behind.
    let length: usize = text.nfkd().map(char::len_utf8).sum();
    let mut folded = Zeroizing::new(String::with_capacity(3 * length));
    folded.extend(
        text.nfkd().filter(|&c| !is_combining_mark(c)).default_case_fold().filter(|&c| keep(c)),
    );
    folded
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
            assert_eq!(password.check(Person::default()), Ok(()));
        }
    }

    #[test]
    fn equivalent_spellings_are_one_password() {
        let (a, b) =
            (Password::presented("Ångström①"), Password::presented("A\u{30a}ngstro\u{308}m1"));
        assert_eq!(a.as_bytes(), b.as_bytes());
    }

    #[test]
    fn a1_common_passwords_are_refused_in_any_case() {
        for text in ["password", "PassWord1", "1234567890", "QWERTYUIOP", "ｐａｓｓｗｏｒｄ"]
        {
            let password = Password::chosen(text).unwrap();
            assert_eq!(password.check(Person::default()), Err(PasswordFault::TooCommon), "{text}");
        }
        assert!(!is_common("correct horse battery staple"));
    }

    #[test]
    fn the_list_is_folded_long_enough_and_without_repeats() {
        assert!(COMMON.len() >= 1000);
        assert_eq!(COMMON.len(), COMMON_LIST.lines().count());
        for line in COMMON_LIST.lines() {
            assert!(line.chars().count() >= MIN_CODE_POINTS, "{line}");
            assert_eq!(fold(line, |_| true).as_str(), line);
        }
    }

    #[test]
    fn a1_password_must_not_be_derived_from_the_person() {
        let names = ["Thị Minh", "Nguyễn"];
        let person = Person { names: &names, email: Some("Schmidt.Anna+shop@Example.com") };
        let cases = [
            ("nguyen1999", true),
            ("xX-NGUYỄN-Xx", true),
            ("thi.minh.2024", true),
            ("minhnguyen", true),
            ("nguyenthiminh", true),
            ("Anna!Anna!", true),
            ("schmidtanna", true),
            ("schmidt.anna+shop@example.com", true),
            ("example.com1", true),
            ("annashop", true),
            ("tannaschmi", true),
            ("correct horse battery", false),
            ("ngu yes 77 fine", false),
            ("!!!!!!!!!!", false),
            ("thi-5-tree-rocks", false),
        ];
        for (text, derived) in cases {
            let expected = if derived { Err(PasswordFault::DerivedFromPerson) } else { Ok(()) };
            assert_eq!(Password::chosen(text).unwrap().check(person), expected, "{text}");
        }
    }

    #[test]
    fn empty_and_short_names_refuse_nobody() {
        let person = Person { names: &["", " ", "Al", "李"], email: Some("a@b.de") };
        for text in ["alabaster moon", "李白乘舟将欲行忽", "quiet river"] {
            assert_eq!(Password::chosen(text).unwrap().check(person), Ok(()), "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Password::presented("hunter2hunter2")), "Password(..)");
    }

    proptest! {
        #[test]
        fn any_text_is_judged_without_panic(text in any::<String>(), name in any::<String>(), email in any::<String>()) {
            if let Ok(password) = Password::chosen(&text) {
                let _ = password.check(Person { names: &[&name], email: Some(&email) });
                let again = Password::presented(std::str::from_utf8(password.as_bytes()).unwrap());
                prop_assert_eq!(again.as_bytes(), password.as_bytes());
            }
        }

        #[test]
        fn a_name_inside_a_password_is_always_seen(name in "[a-zA-Z]{4,12}", before in "[0-9 ]{3,6}", after in "[!-/]{3,6}") {
            let text = format!("{before}{}{after}", name.to_uppercase());
            let judged = Password::chosen(&text).unwrap().check(Person { names: &[&name], email: None });
            prop_assert_eq!(judged, Err(PasswordFault::DerivedFromPerson));
        }
    }
}
