//! What may be chosen as a password (rule A1): long enough, not breached, not the person's own
//! name or address, not the shop's name. Nothing about character classes. And how strong it is by
//! the guesses that it takes, which is told and never judged.

use std::fmt;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use zeroize::Zeroizing;
use zxcvbn::feedback::{Suggestion, Warning};

use super::breached;
use super::passwords::{MAX_CODE_POINTS, MIN_CODE_POINTS, Password};

/// Shortest piece of a name or address that a password is compared with: shorter ones ("Ann")
/// stand in too many good passphrases by chance.
const MIN_PIECE: usize = 4;

/// Most words of the person and the shop that the estimate of strength is told of.
const HINTS_MAX: usize = 32;

/// Most code points whose strength is estimated: the time grows with their square at least.
const ESTIMATED_MAX: usize = 64;

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
    /// Little else than the shop's own name.
    #[error("the password is derived from the shop's name")]
    DerivedFromShop,
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
            Self::DerivedFromShop => "derived_from_shop",
        }
    }

    /// What is wrong, for people.
    #[must_use]
    pub fn detail(self) -> String {
        match self {
            Self::TooShort => format!("Must have at least {MIN_CODE_POINTS} characters."),
            Self::TooLong => format!("Must have at most {MAX_CODE_POINTS} characters."),
            Self::TooCommon => "Is known from breaches, and tried before all others.".to_owned(),
            Self::DerivedFromPerson => "Must not be made from the name or address.".to_owned(),
            Self::DerivedFromShop => "Must not be little else than the shop's name.".to_owned(),
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

/// All that can be said about a password that somebody thinks of choosing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appraisal {
    /// Why it may not be chosen; empty when it may.
    pub faults: Vec<PasswordFault>,
    /// 0 (guessed at once) to 4 (more than 10¹⁰ guesses), by zxcvbn; 0 when it is listed as
    /// breached, at most 1 with any other fault.
    pub score: u8,
    /// What makes it weak and what would help; nothing for the strong.
    pub advice: Vec<Advice>,
}

/// One thing that makes a password weak, or would make it stronger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// For programs.
    pub code: &'static str,
    /// For people, in English.
    pub detail: String,
}

/// The policy of one shop.
#[derive(Clone, Default)]
pub struct PasswordPolicy {
    /// Folded, of at least [`MIN_PIECE`], longest first.
    shop_words: Vec<String>,
}

impl PasswordPolicy {
    /// A policy that also knows what the shop is called: each text as a whole and its words.
    pub fn new<'a>(shop: impl IntoIterator<Item = &'a str>) -> Self {
        let mut shop_words: Vec<String> = shop
            .into_iter()
            .flat_map(|text| words(text).into_iter().chain([squeeze(text)]))
            .filter(|word| word.chars().count() >= MIN_PIECE)
            .collect();
        shop_words.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        shop_words.dedup();
        Self { shop_words }
    }

    /// Judges a chosen password.
    ///
    /// # Errors
    /// The first of [`PasswordFault::TooCommon`], [`PasswordFault::DerivedFromPerson`] and
    /// [`PasswordFault::DerivedFromShop`].
    pub fn judge(&self, password: &Password, person: Person<'_>) -> Result<(), PasswordFault> {
        self.faults(password.as_str(), person).next().map_or(Ok(()), Err)
    }

    /// Says all about a text that may become a password. Takes a few milliseconds of a core.
    #[must_use]
    pub fn appraise(&self, text: &str, person: Person<'_>) -> Appraisal {
        let (password, fault) = match Password::chosen(text) {
            Ok(password) => (password, None),
            Err(fault) => {
                let beginning: Zeroizing<String> =
                    Zeroizing::new(text.chars().take(MAX_CODE_POINTS).collect());
                (Password::presented(&beginning), Some(fault))
            }
        };
        let faults: Vec<_> =
            fault.into_iter().chain(self.faults(password.as_str(), person)).collect();
        let (score, advice) = self.estimate(password.as_str(), person);
        let ceiling = match faults[..] {
            [] => 4,
            _ if faults.contains(&PasswordFault::TooCommon) => 0,
            _ => 1,
        };
        Appraisal { faults, score: score.min(ceiling), advice }
    }

    fn faults(
        &self,
        password: &str,
        person: Person<'_>,
    ) -> impl Iterator<Item = PasswordFault> + use<> {
        use PasswordFault::{DerivedFromPerson, DerivedFromShop, TooCommon};
        let found = [
            (breached::contains(password), TooCommon),
            (is_derived(password, person), DerivedFromPerson),
            (self.is_shop(password), DerivedFromShop),
        ];
        found.into_iter().filter_map(|(is, fault)| is.then_some(fault))
    }

    /// Whether what is left without the shop's words would be too short for a password.
    fn is_shop(&self, password: &str) -> bool {
        let whole = fold(password, char::is_alphanumeric);
        let mut left = whole.clone();
        for word in &self.shop_words {
            if left.contains(word) {
                left = Zeroizing::new(left.replace(word, ""));
            }
        }
        left.len() < whole.len() && left.chars().count() < MIN_CODE_POINTS
    }

    fn estimate(&self, password: &str, person: Person<'_>) -> (u8, Vec<Advice>) {
        let beginning: Zeroizing<String> =
            Zeroizing::new(password.chars().take(ESTIMATED_MAX).collect());
        let mut hints = pieces(person);
        hints.extend(self.shop_words.iter().cloned());
        hints.truncate(HINTS_MAX);
        let hints: Vec<&str> = hints.iter().map(String::as_str).collect();
        let estimate = zxcvbn::zxcvbn(&beginning, &hints);
        let advice = estimate.feedback().map_or_else(Vec::new, |feedback| {
            let warning = feedback
                .warning()
                .map(|warning| Advice { code: warning_code(warning), detail: warning.to_string() });
            let suggestions = feedback.suggestions().iter().map(|suggestion| Advice {
                code: suggestion_code(*suggestion),
                detail: suggestion.to_string(),
            });
            warning.into_iter().chain(suggestions).collect()
        });
        (estimate.score().into(), advice)
    }
}

impl fmt::Debug for PasswordPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordPolicy").field("shop_words", &self.shop_words).finish()
    }
}

fn warning_code(warning: Warning) -> &'static str {
    match warning {
        Warning::StraightRowsOfKeysAreEasyToGuess => "row_of_keys",
        Warning::ShortKeyboardPatternsAreEasyToGuess => "keyboard_pattern",
        Warning::RepeatsLikeAaaAreEasyToGuess
        | Warning::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => "repeats",
        Warning::ThisIsATop10Password
        | Warning::ThisIsATop100Password
        | Warning::ThisIsACommonPassword => "common",
        Warning::ThisIsSimilarToACommonlyUsedPassword => "similar_to_common",
        Warning::SequencesLikeAbcAreEasyToGuess => "sequence",
        Warning::RecentYearsAreEasyToGuess => "recent_year",
        Warning::AWordByItselfIsEasyToGuess => "single_word",
        Warning::DatesAreOftenEasyToGuess => "date",
        Warning::NamesAndSurnamesByThemselvesAreEasyToGuess
        | Warning::CommonNamesAndSurnamesAreEasyToGuess => "name",
    }
}

fn suggestion_code(suggestion: Suggestion) -> &'static str {
    match suggestion {
        Suggestion::UseAFewWordsAvoidCommonPhrases => "use_a_few_words",
        Suggestion::NoNeedForSymbolsDigitsOrUppercaseLetters => "symbols_not_needed",
        Suggestion::AddAnotherWordOrTwo => "add_words",
        Suggestion::CapitalizationDoesntHelpVeryMuch => "capitals_help_little",
        Suggestion::AllUppercaseIsAlmostAsEasyToGuessAsAllLowercase => "all_capitals_help_little",
        Suggestion::ReversedWordsArentMuchHarderToGuess => "reversing_helps_little",
        Suggestion::PredictableSubstitutionsDontHelpVeryMuch => "substitutions_help_little",
        Suggestion::UseALongerKeyboardPatternWithMoreTurns => "longer_pattern",
        Suggestion::AvoidRepeatedWordsAndCharacters => "avoid_repeats",
        Suggestion::AvoidSequences => "avoid_sequences",
        Suggestion::AvoidRecentYears => "avoid_recent_years",
        Suggestion::AvoidYearsThatAreAssociatedWithYou
        | Suggestion::AvoidDatesAndYearsThatAreAssociatedWithYou => "avoid_own_dates",
    }
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

fn squeeze(text: &str) -> String {
    fold(text, char::is_alphanumeric).to_string()
}

fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c)).map(squeeze).collect()
}

/// Case-folded, without accents, only the characters that `keep` names.
pub(super) fn fold(text: &str, keep: impl Fn(char) -> bool) -> Zeroizing<String> {
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

    fn judge(text: &str, person: Person<'_>) -> Result<(), PasswordFault> {
        PasswordPolicy::default().judge(&Password::chosen(text).unwrap(), person)
    }

    #[test]
    fn a1_common_passwords_are_refused_in_any_case() {
        for text in ["password", "PassWord1", "1234567890", "QWERTYUIOP", "ｐａｓｓｗｏｒｄ"]
        {
            assert_eq!(judge(text, Person::default()), Err(PasswordFault::TooCommon), "{text}");
        }
        for text in ["correct horse battery staple", "  padded  ", "nul\0inside"] {
            assert_eq!(judge(text, Person::default()), Ok(()), "{text}");
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
            assert_eq!(judge(text, person), expected, "{text}");
        }
    }

    #[test]
    fn empty_and_short_names_refuse_nobody() {
        let person = Person { names: &["", " ", "Al", "李"], email: Some("a@b.de") };
        for text in ["alabaster moon", "李白乘舟将欲行忽", "quiet river"] {
            assert_eq!(judge(text, person), Ok(()), "{text}");
        }
    }

    #[test]
    fn a1_the_shop_s_name_alone_is_no_password() {
        let policy = PasswordPolicy::new(["Chợ Lớn", "customer-service", "ab"]);
        let cases = [
            ("ChoLon2024", true),
            ("chợ-lớn-123456", true),
            ("CustomerService!", true),
            ("service service 7", true),
            ("customer brown horse", false),
            ("quiet customer river", false),
            ("abab abab abab", false),
        ];
        for (text, refused) in cases {
            let expected = if refused { Err(PasswordFault::DerivedFromShop) } else { Ok(()) };
            let judged = policy.judge(&Password::chosen(text).unwrap(), Person::default());
            assert_eq!(judged, expected, "{text}");
        }
    }

    #[test]
    fn an_appraisal_tells_everything_at_once() {
        let policy = PasswordPolicy::new(["Bazaar"]);
        let names = ["Ánh", "Nguyễn"];
        let person = Person { names: &names, email: Some("anh@example.org") };
        let appraise = |text: &str| {
            let Appraisal { faults, score, advice } = policy.appraise(text, person);
            let advice: Vec<_> = advice.iter().map(|advice| advice.code).collect();
            (faults, score, advice)
        };
        use PasswordFault::*;
        let (faults, score, advice) = appraise("qwerty");
        assert_eq!((faults, score), (vec![TooShort], 0));
        assert!(advice.contains(&"common"), "{advice:?}");
        let (faults, score, _) = appraise("password1");
        assert_eq!((faults, score), (vec![TooCommon], 0));
        let (faults, score, _) = appraise(&"nguyen-bazaar ".repeat(10));
        assert_eq!((faults, score), (vec![TooLong, DerivedFromPerson], 1));
        let (faults, _, advice) = appraise("bazaar-anh@example.org");
        assert_eq!(faults, [DerivedFromPerson]);
        assert!(advice.is_empty(), "{advice:?}");
        let (faults, score, _) = appraise("bazaar-2024");
        assert_eq!((faults, score), (vec![DerivedFromShop], 1));
        let (faults, score, _) = appraise("nguyen-wLq8vR2bXk");
        assert_eq!((faults, score), (vec![DerivedFromPerson], 1));
        let (faults, score, advice) = appraise("tractor-velvet-seven-moons");
        assert_eq!((faults, score, advice), (vec![], 4, vec![]));
        assert_eq!(appraise("").0, [TooShort]);
    }

    #[test]
    fn a_long_password_is_estimated_by_its_beginning() {
        // as much as a body can hold
        let long = "xq!7Zr".repeat(10_000);
        let started = std::time::Instant::now();
        let appraisal = PasswordPolicy::default().appraise(&long, Person::default());
        assert_eq!(appraisal.faults, [PasswordFault::TooLong]);
        assert!(started.elapsed().as_secs() < 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_judged_without_panic(text in any::<String>(), name in any::<String>(), email in any::<String>()) {
            let policy = PasswordPolicy::new([name.as_str()]);
            let person = Person { names: &[&name], email: Some(&email) };
            let appraisal = policy.appraise(&text, person);
            prop_assert!(appraisal.score <= 4);
            if let Ok(password) = Password::chosen(&text) {
                prop_assert_eq!(policy.judge(&password, person).is_ok(), appraisal.faults.is_empty());
            }
        }

        #[test]
        fn a_name_inside_a_password_is_always_seen(name in "[a-zA-Z]{4,12}", before in "[0-9 ]{3,6}", after in "[!-/]{3,6}") {
            let text = format!("{before}{}{after}", name.to_uppercase());
            let judged = judge(&text, Person { names: &[&name], email: None });
            prop_assert!(matches!(judged, Err(PasswordFault::DerivedFromPerson | PasswordFault::TooCommon)));
        }
    }
}
