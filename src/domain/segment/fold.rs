//! The form in which members of lists are compared: each character in lower case, by itself.
//!
//! One character stays one character, so that a statement can be told which ones to replace and no
//! database has to know the same rules: how PostgreSQL was built, and in which locale, has no say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// See the module.
pub fn folded(member: &str) -> String {
    member.chars().map(fold).collect()
}

fn fold(c: char) -> char {
    match c {
        // At the end of a word it looks different, and is the same letter.
        'ς' => 'σ',
        // In lower case it is two characters: a dotted i, as Unicode's table of single ones has it.
        'İ' => 'i',
        _ => {
            let mut lower = c.to_lowercase();
            match (lower.next(), lower.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        }
    }
}

/// Characters behind this one have no case.
const CASED_MAX: char = '\u{1ffff}';

/// All that become another character, by what they become.
static UNFOLDED: LazyLock<BTreeMap<char, Vec<char>>> = LazyLock::new(|| {
    let mut unfolded: BTreeMap<char, Vec<char>> = BTreeMap::new();
    for c in '\0'..=CASED_MAX {
        if fold(c) != c {
            unfolded.entry(fold(c)).or_default().push(c);
        }
    }
    unfolded
});

/// Characters, and beside each what to put in its place: a text that is treated so is one of these
/// folded members exactly if it would be, were it folded.
pub fn replacements(members: &[String]) -> (String, String) {
    let mut wanted: Vec<char> = members.iter().flat_map(|member| member.chars()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let of_one = |to: char| {
        let from = UNFOLDED.get(&to).into_iter().flatten();
        from.map(move |from| (*from, to)).collect::<Vec<_>>()
    };
    wanted.into_iter().flat_map(of_one).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s4_folding_again_changes_nothing() {
        for c in char::MIN..=char::MAX {
            assert_eq!(fold(fold(c)), fold(c), "{c:?}");
            assert!(fold(c) == c || c <= CASED_MAX, "{c:?}");
        }
    }

    #[test]
    fn s4_members_are_alike_in_any_case_and_their_accents_count() {
        let alike = |one: &str, other: &str| folded(one) == folded(other);
        assert!(alike("ĐÀ NẴNG", "đà nẵng") && alike("ΟΔΟΣ", "οδος") && alike("İZMİR", "izmir"));
        assert!(alike("\u{212a}iel", "kiel") && alike("ẞ", "ß"));
        assert!(!alike("Đà Nẵng", "Da Nang") && !alike("ß", "ss") && !alike("ı", "i"));
    }

    /// What the statement does, done here: against folding, for texts out of all that fold to a few.
    #[test]
    fn s4_replacing_some_characters_finds_what_folding_finds() {
        let pool: Vec<char> = "kKKσΣςiIİıßẞđĐ$".chars().collect();
        let texts = |n: usize| pool.iter().cycle().skip(n * 7).step_by(n % 5 + 1).take(n % 4 + 1);
        let texts: Vec<String> = (0..200).map(|n| texts(n).collect()).collect();
        for members in texts.chunks(3) {
            let members: Vec<String> = members.iter().map(|member| folded(member)).collect();
            let (from, to) = replacements(&members);
            assert_eq!(from.chars().count(), to.chars().count());
            let place = |c: char| from.chars().position(|one| one == c);
            let replaced = |text: &String| {
                let one = |c| place(c).and_then(|place| to.chars().nth(place)).unwrap_or(c);
                text.chars().map(one).collect::<String>()
            };
            for text in &texts {
                let (as_told, as_meant) = (replaced(text), folded(text));
                let found = (members.contains(&as_told), members.contains(&as_meant));
                assert_eq!(found.0, found.1, "{text} among {members:?}");
            }
        }
    }
}
