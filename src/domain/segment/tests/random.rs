//! What must hold of any text, any definition and any customer.

use super::*;
use generate::Dice;
use proptest::prelude::*;

/// As many cases as `SEGMENT_CASES` says, or these.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("SEGMENT_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(asked.unwrap_or(usual))
    }
}

/// What pieces of definitions look like, also where they do not belong.
const PIECES: &[&str] = &[
    "(",
    ")",
    ",",
    "=",
    "!=",
    ">=",
    "<",
    "'",
    "'a'",
    "\\",
    "\\'",
    "AND",
    "or",
    "NOT",
    "BETWEEN",
    "IN",
    "SEGMENT",
    "CONTAINS",
    "IS",
    "NULL",
    "MATCHES",
    "anniversary",
    "today",
    "-7d",
    "+1y",
    "2026-01-31",
    "2026-02-31",
    "2026-01-31T08:00:00",
    "1",
    "-1.5",
    "99999999999999999999",
    "customer_tags",
    "amount_spent.EUR",
    "custom.nick",
    "custom.",
    "orders_placed",
    "date",
    "count",
    "ả",
    "\u{0}",
    "\n",
    "\u{202e}",
    "-9999999999d",
    "…",
    "true",
];

proptest! {
    #![proptest_config(cases(400))]

    /// No text breaks the parser, and each mistake lies within the text.
    #[test]
    fn any_text_is_read_or_its_mistakes_are_told(text in ".{0,200}") {
        judge(&text);
    }

    #[test]
    fn any_pieces_are_read_or_their_mistakes_are_told(
        pieces in proptest::collection::vec((0..PIECES.len(), 0..3_usize), 0..40),
    ) {
        let text: String = pieces
            .iter()
            .map(|(piece, space)| format!("{}{}", PIECES[*piece], " ".repeat(*space)))
            .collect();
        judge(&text);
    }

    /// A character less, more or another one.
    #[test]
    fn a_definition_that_was_mistyped_is_read_or_its_mistakes_are_told(
        seed: u64, place: prop::sample::Index, typed: char,
    ) {
        let mut text: Vec<char> = generate::definition(&mut Dice::new(seed)).chars().collect();
        let place = place.index(text.len());
        match seed % 3 {
            0 => { text.remove(place); }
            1 => text.insert(place, typed),
            _ => text[place] = typed,
        }
        judge(&text.into_iter().collect::<String>());
    }

    /// The canonical form says the same, and is its own.
    #[test]
    fn what_is_printed_is_read_as_the_same(seed: u64) {
        let mut dice = Dice::new(seed);
        let zone = generate::ZONES[dice.roll(generate::ZONES.len())];
        let text = generate::definition(&mut dice);
        let read = checked(&text, zone);
        let again = checked(read.canonical(), zone);
        prop_assert_eq!(again.condition(), read.condition(), "{}", text);
        prop_assert_eq!(again.canonical(), read.canonical());
        prop_assert_eq!((again.cost(), again.reads()), (read.cost(), read.reads()));
        let bounds = Bounds::default();
        let (tree, mistakes) = parser::read(&text, bounds).unwrap();
        prop_assert!(mistakes.is_empty());
        let (same, _) = parser::read(&tree.to_string(), bounds).unwrap();
        prop_assert_eq!(same, tree);
    }

    /// The tree of an explanation says what the evaluation says, and the clauses that decide do.
    #[test]
    fn an_explanation_agrees_with_the_evaluation(seed: u64) {
        let mut dice = Dice::new(seed);
        let zone = generate::ZONES[dice.roll(generate::ZONES.len())];
        let definition = checked(&generate::definition(&mut dice), zone);
        let now = generate::now(&mut dice, zone);
        let facts = generate::facts(&mut dice, now, zone);
        let answer = evaluate(&definition, &facts, now);
        let told = explain(&definition, &facts, now);
        prop_assert_eq!((told.member, told.next_flip), (answer.member, answer.next_flip));
        prop_assert_eq!(told.tree.holds, answer.member);
        prop_assert_eq!(&told.tree.text, definition.canonical());
        prop_assert!(!told.deciding().is_empty());
        prop_assert!(told.since.is_none_or(|since| since <= now));
        // where only is known which clauses hold, the same ones decide
        let mut clauses = Vec::new();
        let then = when::Now::new(now, zone);
        definition.condition().leaves(&mut |leaf| {
            let leaf = condition::Condition::Leaf(leaf.clone());
            clauses.push((leaf.clone(), evaluate::holds(&leaf, &facts, &then)));
        });
        let hold: Vec<bool> = clauses.iter().map(|(_, holds)| *holds).collect();
        let (holds, places) = deciding(definition.condition(), &hold);
        prop_assert_eq!(holds, answer.member);
        let texts = places.iter().map(|place| match &clauses[*place].0 {
            condition::Condition::Leaf(leaf) => leaf.text.as_str(),
            _ => "",
        });
        let explained = told.deciding();
        prop_assert!(texts.eq(explained.iter().map(|part| part.text.as_str())));
        // what is missing is missing, and nothing is of a member
        prop_assert_eq!(told.missing.is_none(), answer.member);
        if let Some(missing) = &told.missing {
            prop_assert!(!evaluate(&checked(missing, zone), &facts, now).member, "{}", missing);
        }
    }

    /// What is warned of as never or always true is so of any customer.
    #[test]
    fn warnings_of_never_and_always_are_true(seed: u64) {
        let mut dice = Dice::new(seed);
        let zone = generate::ZONES[dice.roll(generate::ZONES.len())];
        let text = generate::definition(&mut dice);
        let definition = checked(&text, zone);
        for warning in definition.warnings() {
            let piece = &text[warning.span.start..warning.span.end];
            // a part of a list of members may be named whose parentheses lie outside
            let Ok(part) = Checked::parse(piece, &generate::schema(zone)) else { continue };
            let judged = part.warnings().iter().find(|one| one.code == warning.code);
            let whole = judged.is_some_and(|one| one.span.start == 0 && one.span.end == piece.len());
            if warning.code == "missing_value" || !whole {
                continue;
            }
            let now = generate::now(&mut dice, zone);
            for _ in 0..20 {
                let facts = generate::facts(&mut dice, now, zone);
                let member = evaluate(&part, &facts, now).member;
                prop_assert_eq!(member, warning.code == "always", "{}", piece);
            }
        }
    }
}

fn judge(text: &str) {
    match Checked::parse(text, &generate::schema(Tz::UTC)) {
        Ok(read) => assert_eq!(checked(read.canonical(), Tz::UTC).canonical(), read.canonical()),
        Err(mistakes) => {
            assert!(!mistakes.list.is_empty());
            for mistake in mistakes.list {
                let Span { start, end } = mistake.span;
                assert!(start <= end && text.get(start..end).is_some(), "{text}: {mistake:?}");
                assert!(shown(text, mistake.span, &mistake).starts_with("line "));
            }
        }
    }
}
