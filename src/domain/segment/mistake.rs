//! What is wrong with a definition, or doubtful about it, and where: a code for programs, a sentence
//! for people, the place in bytes, lines and columns, and what was probably meant.
//!
//! All mistakes that can be told apart are told at once, so that nobody mends them one by one.

use std::fmt;

/// A piece of a definition, in bytes; both ends are ends of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    pub start: usize,
    /// Excluded.
    pub end: usize,
}

impl Span {
    /// From the beginning of this to the end of the other.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start, end: self.end.max(other.end) }
    }
}

/// Where in a text, for people and for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// From 0.
    pub byte: usize,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// Of a byte that begins a character of the text, or of its end.
    pub fn of(text: &str, byte: usize) -> Self {
        let before = text.get(..byte).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            byte: before.len(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// For programs: `unknown_attribute`.
    pub code: &'static str,
    /// For people: one sentence, without what is suggested. Quotes pieces of the definition only.
    pub detail: String,
    /// What to write there instead.
    pub suggestion: Option<String>,
    pub span: Span,
}

impl Mistake {
    pub fn new(code: &'static str, span: Span, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), suggestion: None, span }
    }

    #[must_use]
    pub fn suggest(mut self, instead: impl Into<String>) -> Self {
        self.suggestion = Some(instead.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

/// What is doubtful about a definition that is in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// For programs: `missing_value`, `never`, `always`.
    pub code: &'static str,
    /// For people: one sentence.
    pub detail: String,
    pub span: Span,
}

/// Everything that is wrong with a definition; at least one thing, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    pub list: Vec<Mistake>,
    /// How many more there are than are told.
    pub more: usize,
}

impl Mistakes {
    /// Most that are told.
    pub const TOLD_MAX: usize = 20;

    pub(super) fn of(mut list: Vec<Mistake>) -> Self {
        list.sort_by_key(|mistake| mistake.span);
        // What is wrong with a piece's form comes first and says it all.
        list.dedup_by_key(|mistake| mistake.span);
        let more = list.len().saturating_sub(Self::TOLD_MAX);
        list.truncate(Self::TOLD_MAX);
        Self { list, more }
    }
}

impl From<Mistake> for Mistakes {
    fn from(mistake: Mistake) -> Self {
        Self { list: vec![mistake], more: 0 }
    }
}

/// Most characters of a line that are shown.
const SHOWN_MAX: usize = 100;

/// What is said about a piece of a text, with the line that it stands in and a mark under it:
///
/// ```text
/// line 1, column 1: there is no attribute amount_spnt; did you mean amount_spent?
///   | amount_spnt > 100
///   | ^^^^^^^^^^^
/// ```
pub fn shown(text: &str, span: Span, said: &impl fmt::Display) -> String {
    let place = Place::of(text, span.start);
    let line = text.lines().nth(place.line - 1).unwrap_or("");
    // A long line is shown from a little before the place on.
    let skipped = if place.column > SHOWN_MAX / 2 { place.column - SHOWN_MAX / 4 } else { 0 };
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let part: String = line.chars().skip(skipped).take(SHOWN_MAX).map(visible).collect();
    let room = part.chars().count().saturating_sub(place.column - 1 - skipped);
    let piece = text.get(span.start..span.end).unwrap_or("");
    let marks = piece.lines().next().map_or(0, |piece| piece.chars().count()).min(room).max(1);
    let before = " ".repeat(place.column - 1 - skipped);
    let Place { line, column, .. } = place;
    format!("line {line}, column {column}: {said}\n  | {part}\n  | {before}{}\n", "^".repeat(marks))
}

/// The one of `known` that `written` is probably meant to be.
pub(super) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    const LEAST: f64 = 0.6;
    let written: String = written.chars().take(80).flat_map(char::to_lowercase).collect();
    let likeness = |name: &'a str| {
        let lower = name.to_lowercase();
        (strsim::normalized_damerau_levenshtein(&lower, &written), name)
    };
    let likely = known.into_iter().map(likeness).filter(|(likeness, _)| *likeness >= LEAST);
    likely.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, name)| name)
}
