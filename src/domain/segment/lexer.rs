//! Cuts a definition into words, values and signs. What cannot be one is told and, where it is clear
//! what was meant, read as that, so that the rest is still looked at.

use super::mistake::{Mistake, Span};
use super::number::Number;
use super::syntax::{Comparison, Date, Unit};
use chrono::NaiveDate;
use unicode_normalization::UnicodeNormalization;
use winnow::ModalResult;
use winnow::ascii::{digit1, multispace0};
use winnow::combinator::{alt, opt, peek, preceded};
use winnow::prelude::*;
use winnow::stream::{LocatingSlice, Location};
use winnow::token::{any, one_of, take, take_while};

/// Most characters of a text.
pub(super) const TEXT_MAX: usize = 500;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lexeme {
    /// A name or a keyword.
    Word(String),
    Text(String),
    Number(Number),
    Date(Date),
    Compare(Comparison),
    Open,
    Close,
    Comma,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub lexeme: Lexeme,
    pub span: Span,
}

type Input<'t> = LocatingSlice<&'t str>;

/// A lexeme with what is wrong with it: code, sentence, suggestion.
type Read = (Lexeme, Option<(&'static str, String, Option<String>)>);

/// All that the text is made of, and what of it is wrong.
///
/// # Errors
/// `too_deep` where parentheses nest deeper than `depth_max`.
pub(super) fn tokens(text: &str, depth_max: usize) -> Result<(Vec<Token>, Vec<Mistake>), Mistake> {
    let (mut tokens, mut mistakes) = (Vec::new(), Vec::new());
    let mut depth = 0_usize;
    let mut input = LocatingSlice::new(text);
    loop {
        let _: ModalResult<&str> = multispace0.parse_next(&mut input);
        let start = input.current_token_start();
        let read: ModalResult<Read> = lexeme.parse_next(&mut input);
        let Ok((lexeme, fault)) = read else {
            let skipped: ModalResult<char> = any.parse_next(&mut input);
            let Ok(skipped) = skipped else { break };
            let span = Span { start, end: input.current_token_start() };
            mistakes.push(stray(skipped, span));
            continue;
        };
        let span = Span { start, end: input.current_token_start() };
        if let Some((code, detail, suggestion)) = fault {
            mistakes.push(Mistake { code, detail, suggestion, span });
        }
        match lexeme {
            Lexeme::Open => depth += 1,
            Lexeme::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > depth_max {
            let detail = format!("parentheses nest at most {depth_max} deep");
            return Err(Mistake::new("too_deep", span, detail));
        }
        tokens.push(Token { lexeme, span });
    }
    Ok((tokens, mistakes))
}

fn stray(character: char, span: Span) -> Mistake {
    if character.is_control() {
        let detail = format!("the control character U+{:04X} has no place here", character as u32);
        return Mistake::new("control_character", span, detail);
    }
    Mistake::new("unexpected_character", span, format!("{character} has no meaning here"))
}

fn lexeme(input: &mut Input<'_>) -> ModalResult<Read> {
    alt((text, date, number, word, sign)).parse_next(input)
}

fn sign(input: &mut Input<'_>) -> ModalResult<Read> {
    use Comparison::{AtLeast, AtMost, Equal, Greater, Less, Unequal};
    let meant = |lexeme: Lexeme, instead: &str| {
        let detail = "this sign is not of the language".to_owned();
        (lexeme, Some(("unknown_sign", detail, Some(instead.to_owned()))))
    };
    let word = |word: &str| Lexeme::Word(word.to_owned());
    alt((
        ">=".map(|_| (Lexeme::Compare(AtLeast), None)),
        "<=".map(|_| (Lexeme::Compare(AtMost), None)),
        "!=".map(|_| (Lexeme::Compare(Unequal), None)),
        "<>".map(move |_| meant(Lexeme::Compare(Unequal), "!=")),
        "==".map(move |_| meant(Lexeme::Compare(Equal), "=")),
        "&&".map(move |_| meant(word("AND"), "AND")),
        "||".map(move |_| meant(word("OR"), "OR")),
        alt((
            '='.map(|_| (Lexeme::Compare(Equal), None)),
            '>'.map(|_| (Lexeme::Compare(Greater), None)),
            '<'.map(|_| (Lexeme::Compare(Less), None)),
            '!'.map(move |_| meant(word("NOT"), "NOT")),
            '('.map(|_| (Lexeme::Open, None)),
            ')'.map(|_| (Lexeme::Close, None)),
            ','.map(|_| (Lexeme::Comma, None)),
        )),
    ))
    .parse_next(input)
}

/// A name, with parts after dots: `custom.shoe_size`.
fn word(input: &mut Input<'_>) -> ModalResult<Read> {
    let first = |c: char| c.is_alphabetic() || c == '_';
    let inner = |c: char| c.is_alphanumeric() || c == '_';
    let part = |c: char| inner(c) || c == '-';
    let more = preceded('.', take_while(1.., part));
    let more = winnow::combinator::repeat::<_, _, (), _, _>(0.., more);
    (one_of(first), take_while(0.., inner), more)
        .take()
        .map(|word: &str| (Lexeme::Word(word.to_owned()), None))
        .parse_next(input)
}

fn digits<'t>(
    count: usize,
) -> impl Parser<Input<'t>, &'t str, winnow::error::ErrMode<winnow::error::ContextError>> {
    take_while(count, |c: char| c.is_ascii_digit())
}

/// `2026-01-31`, `2026-01-31T08:00:00`, `-7d`.
fn date(input: &mut Input<'_>) -> ModalResult<Read> {
    alt((fixed_date, offset)).parse_next(input)
}

fn fixed_date(input: &mut Input<'_>) -> ModalResult<Read> {
    let day = (digits(4), '-', digits(2), '-', digits(2)).take();
    let time = (one_of(['T', 't']), digits(2), ':', digits(2), ':', digits(2)).take();
    let (day, time): (&str, Option<&str>) = (day, opt(time)).parse_next(input)?;
    let known = NaiveDate::parse_from_str(day, "%Y-%m-%d").ok();
    // Years without a century are mistyped rather than meant, and PostgreSQL knows no year 0.
    let known = known.filter(|day| (1000..=9999).contains(&chrono::Datelike::year(day)));
    let fallback = known.unwrap_or_default();
    let Some(time) = time else {
        let fault =
            known.is_none().then(|| ("invalid_date", format!("there is no day {day}"), None));
        return Ok((Lexeme::Date(Date::Day(fallback)), fault));
    };
    let part = |at: usize| time.get(at..at + 2).and_then(|two| two.parse::<u32>().ok());
    let shown = match (known, part(1), part(4), part(7)) {
        (Some(day), Some(hour), Some(minute), Some(second)) => {
            day.and_hms_opt(hour, minute, second)
        }
        _ => None,
    };
    let fault =
        shown.is_none().then(|| ("invalid_date", format!("there is no time {day}{time}"), None));
    Ok((Lexeme::Date(Date::Time(shown.unwrap_or_default())), fault))
}

fn offset(input: &mut Input<'_>) -> ModalResult<Read> {
    let ends = peek(winnow::combinator::not(one_of(|c: char| c.is_alphanumeric() || c == '_')));
    let letter = one_of(['h', 'd', 'w', 'm', 'y', 'H', 'D', 'W', 'M', 'Y']);
    let (sign, number, letter, ()): (Option<char>, &str, char, ()) =
        (opt(one_of(['+', '-'])), digit1, letter, ends).parse_next(input)?;
    let unit = Unit::of(letter.to_ascii_lowercase()).unwrap_or(Unit::Days);
    let most = unit.most();
    let known = number.parse().ok().filter(|number: &i32| *number <= most);
    let far = known.unwrap_or(0);
    let lexeme =
        Lexeme::Date(Date::Offset { number: if sign == Some('-') { -far } else { far }, unit });
    let fault = match (sign, known) {
        (_, None) => Some((
            "out_of_range",
            format!("an offset reaches a century at most: {most}{}", unit.letter()),
            None,
        )),
        (None, Some(_)) => Some((
            "missing_sign",
            format!("{number}{} says neither before nor after today", unit.letter()),
            Some(format!("-{number}{}", unit.letter())),
        )),
        (Some(_), Some(_)) => None,
    };
    Ok((lexeme, fault))
}

fn number(input: &mut Input<'_>) -> ModalResult<Read> {
    let parts = (opt(one_of(['+', '-'])), digit1, opt(('.', digit1)));
    let written: &str = parts.take().parse_next(input)?;
    let known = Number::parse(written);
    let fault = known.is_none().then(|| {
        let (digits, decimals) = (Number::DIGITS, Number::DECIMALS);
        let detail = format!(
            "a number has at most {digits} digits before the point and {decimals} after it"
        );
        ("out_of_range", detail, None)
    });
    Ok((Lexeme::Number(known.unwrap_or(Number::whole(0))), fault))
}

/// In single quotes; in others it is told, and read all the same.
fn text(input: &mut Input<'_>) -> ModalResult<Read> {
    let opened = one_of(['\'', '"', '‘', '’', '“', '”', '`']).parse_next(input)?;
    let ends = |c: char| match opened {
        '‘' | '’' => matches!(c, '‘' | '’'),
        '“' | '”' => matches!(c, '“' | '”'),
        _ => c == opened,
    };
    let (mut text, mut closed) = (String::new(), false);
    loop {
        let next: ModalResult<&str> = take(1_usize).parse_next(input);
        let Some(next) = next.ok().and_then(|next| next.chars().next()) else { break };
        if ends(next) {
            closed = true;
            break;
        }
        let escaped: ModalResult<Option<char>> = match next {
            '\\' => opt(one_of(['\'', '\\'])).parse_next(input),
            _ => Ok(None),
        };
        text.push(escaped.ok().flatten().unwrap_or(next));
    }
    let text: String = text.nfc().collect();
    let fault = if !closed {
        Some(("unclosed_text", "this text is never closed".to_owned(), None))
    } else if let Some(control) = text.chars().find(|c| c.is_control()) {
        let detail = format!("a text must not hold the control character U+{:04X}", control as u32);
        Some(("control_character", detail, None))
    } else if text.chars().count() > TEXT_MAX {
        Some(("too_long", format!("a text has at most {TEXT_MAX} characters"), None))
    } else if opened != '\'' {
        let instead = super::print::Quoted(&text).to_string();
        Some(("wrong_quotes", "texts stand in single quotes".to_owned(), Some(instead)))
    } else {
        None
    };
    Ok((Lexeme::Text(text), fault))
}
