//! Reads a definition into its syntax tree, and tells every mistake of form at once: where a clause
//! is not understood, reading goes on at the next `AND`, `OR` or closing parenthesis.
//!
//! How deep parentheses nest is counted while the text is cut into tokens, before anything recurses: no
//! definition can exhaust the stack.

use super::lexer::{Lexeme, Token, tokens};
use super::mistake::{Mistake, Span};
use super::print::Quoted;
use super::syntax::{At, Clause, Comparison, Date, Node, Test, Value, is_keyword};
use winnow::Parser;
use winnow::combinator::{alt, delimited, opt, preceded, separated};
use winnow::error::{ErrMode, ParserError};
use winnow::stream::{Stateful, Stream, TokenSlice};
use winnow::token::any;

/// How much may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Of the text.
    pub bytes: usize,
    /// Parentheses within each other.
    pub depth: usize,
}

impl Bounds {
    /// Whatever is asked for, no deeper: the readers of the tree recurse as deep.
    pub const DEPTH_MAX: usize = 64;
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 16 * 1024, depth: 32 }
    }
}

/// What mistakes are collected in while the tokens are read.
#[derive(Debug)]
struct Found {
    mistakes: Vec<Mistake>,
    /// The end of the text.
    end: usize,
}

type Input<'t> = Stateful<TokenSlice<'t, Token>, Found>;

/// Why a piece was not read.
#[derive(Debug)]
struct Unread(Mistake);

impl<'t> ParserError<Input<'t>> for Unread {
    type Inner = Self;

    fn from_input(input: &Input<'t>) -> Self {
        Self(expected(input, "something else"))
    }

    fn into_inner(self) -> Result<Self, Self> {
        Ok(self)
    }
}

type Parsed<T> = Result<T, ErrMode<Unread>>;

/// The tree as far as it is understood, with the mistakes of form.
///
/// # Errors
/// What made the text not worth reading: its length or its depth.
pub(super) fn read(text: &str, bounds: Bounds) -> Result<(Node, Vec<Mistake>), Mistake> {
    if text.len() > bounds.bytes {
        let span = Span { start: 0, end: 0 };
        let (is, most) = (text.len(), bounds.bytes);
        let detail = format!("a definition has at most {most} bytes, this one has {is}");
        return Err(Mistake::new("too_long", span, detail));
    }
    let (tokens, mistakes) = tokens(text, bounds.depth.min(Bounds::DEPTH_MAX))?;
    let mut input =
        Stateful { input: TokenSlice::new(&tokens), state: Found { mistakes, end: text.len() } };
    let node = if tokens.is_empty() && input.state.mistakes.is_empty() {
        let detail =
            "a definition says which customers are meant, for example customer_type = 'business'";
        input.state.mistakes.push(Mistake::new("empty", Span::default(), detail));
        Node::Broken
    } else {
        group(&mut input, None)
    };
    Ok((node, input.state.mistakes))
}

/// Where the reader stands: the next token, or the end.
fn here(input: &Input<'_>) -> Span {
    let end = input.state.end;
    input.input.first().map_or(Span { start: end, end }, |token| token.span)
}

fn found(input: &Input<'_>) -> String {
    match input.input.first().map(|token| &token.lexeme) {
        None => "the definition ends".to_owned(),
        Some(Lexeme::Word(word)) => format!("there is {word}"),
        Some(Lexeme::Text(text)) if text.chars().count() > 30 => "there is a text".to_owned(),
        Some(Lexeme::Text(text)) => format!("there is {}", Quoted(text)),
        Some(Lexeme::Number(number)) => format!("there is {number}"),
        Some(Lexeme::Date(date)) => format!("there is {date}"),
        Some(Lexeme::Compare(how)) => format!("there is {}", how.sign()),
        Some(Lexeme::Open) => "there is (".to_owned(),
        Some(Lexeme::Close) => "there is )".to_owned(),
        Some(Lexeme::Comma) => "there is a comma".to_owned(),
    }
}

fn expected(input: &Input<'_>, what: &str) -> Mistake {
    let code = if input.input.is_empty() { "unexpected_end" } else { "unexpected" };
    Mistake::new(code, here(input), format!("here should be {what}, but {}", found(input)))
}

/// Ends the reading of a clause: nothing else could be meant.
fn fail<T>(input: &Input<'_>, what: &str) -> Parsed<T> {
    Err(ErrMode::Cut(Unread(expected(input, what))))
}

fn lexeme<'t>(wanted: Lexeme) -> impl Parser<Input<'t>, Span, ErrMode<Unread>> {
    any.verify_map(move |token: &Token| (token.lexeme == wanted).then_some(token.span))
}

fn keyword<'t>(wanted: &'static str) -> impl Parser<Input<'t>, Span, ErrMode<Unread>> {
    any.verify_map(move |token: &Token| match &token.lexeme {
        Lexeme::Word(word) if word.eq_ignore_ascii_case(wanted) => Some(token.span),
        _ => None,
    })
}

/// A condition and whatever follows it, up to the parenthesis that closes what `opened`, or to the
/// end of the definition.
fn group(input: &mut Input<'_>, opened: Option<Span>) -> Node {
    let mut parts = vec![or(input)];
    loop {
        let span = here(input);
        match (input.input.first().map(|token| &token.lexeme), opened) {
            (Some(Lexeme::Close), Some(_)) => {
                input.next_token();
                break;
            }
            (None, Some(opened)) => {
                let detail = "this parenthesis is never closed";
                input.state.mistakes.push(Mistake::new("unclosed", opened, detail));
                break;
            }
            (None, None) => break,
            (Some(Lexeme::Close), None) => {
                let detail = "this parenthesis closes none";
                input.state.mistakes.push(Mistake::new("unopened", span, detail));
                input.next_token();
                if input.input.is_empty() {
                    break;
                }
            }
            (Some(_), _) => {
                let mistake = expected(input, "AND or OR");
                input.state.mistakes.push(mistake);
            }
        }
        // What follows is looked at for mistakes of its own.
        if !matches!(input.input.first().map(|token| &token.lexeme), Some(Lexeme::Close)) {
            let _ = opt::<_, _, ErrMode<Unread>, _>(alt((keyword("AND"), keyword("OR"))))
                .parse_next(input);
            parts.push(or(input));
        }
    }
    Node::all(parts)
}

fn or(input: &mut Input<'_>) -> Node {
    let mut members = vec![and(input)];
    while let Ok(Some(_)) = opt(keyword("OR")).parse_next(input) {
        members.push(and(input));
    }
    Node::any(members)
}

fn and(input: &mut Input<'_>) -> Node {
    let mut members = vec![not(input)];
    while let Ok(Some(_)) = opt(keyword("AND")).parse_next(input) {
        members.push(not(input));
    }
    Node::all(members)
}

fn not(input: &mut Input<'_>) -> Node {
    match opt(keyword("NOT")).parse_next(input) {
        Ok(Some(_)) => Node::not(primary(input)),
        _ => primary(input),
    }
}

/// A clause or a condition in parentheses. Never fails: a mistake is kept, and what belongs to it is
/// read over.
fn primary(input: &mut Input<'_>) -> Node {
    if let Ok(Some(opened)) = opt(lexeme(Lexeme::Open)).parse_next(input) {
        return group(input, Some(opened));
    }
    let before = input.input.len();
    match clause(input) {
        Ok(clause) => Node::Clause(clause),
        Err(ErrMode::Backtrack(Unread(mistake)) | ErrMode::Cut(Unread(mistake))) => {
            input.state.mistakes.push(mistake);
            skip_clause(input, before);
            Node::Broken
        }
        // of streams that are read in parts
        Err(ErrMode::Incomplete(_)) => Node::Broken,
    }
}

/// Reads over the rest of a clause that began when so many tokens were ahead, with the parentheses
/// that it opened.
fn skip_clause(input: &mut Input<'_>, before: usize) {
    let read = input.input.previous_tokens().take(before - input.input.len());
    let (mut opened, mut closed) = (0_usize, 0_usize);
    for token in read {
        opened += usize::from(token.lexeme == Lexeme::Open);
        closed += usize::from(token.lexeme == Lexeme::Close);
    }
    let mut depth = opened.saturating_sub(closed);
    while let Some(token) = input.input.first() {
        match &token.lexeme {
            Lexeme::Open => depth += 1,
            Lexeme::Close if depth == 0 => return,
            Lexeme::Close => depth -= 1,
            Lexeme::Word(word) if depth == 0 && joins(word) => return,
            _ => {}
        }
        input.next_token();
    }
}

/// Whether a word joins two conditions.
fn joins(word: &str) -> bool {
    ["AND", "OR"].iter().any(|one| one.eq_ignore_ascii_case(word))
}

fn clause(input: &mut Input<'_>) -> Parsed<At<Clause>> {
    let start = here(input);
    let it = match opt(keyword("IN")).parse_next(input)? {
        Some(_) => segment(input)?,
        None => named(input)?,
    };
    let end = input.input.previous_tokens().next().map_or(start, |token| token.span);
    Ok(At { it, span: start.to(end) })
}

fn segment(input: &mut Input<'_>) -> Parsed<Clause> {
    if opt(keyword("SEGMENT")).parse_next(input)?.is_none() {
        return fail(input, "SEGMENT");
    }
    match value(input)? {
        At { it: Value::Text(it), span } => Ok(Clause::Segment { name: At { it, span } }),
        At { span, .. } => {
            let detail = "a segment is named by a text in single quotes";
            Err(ErrMode::Cut(Unread(Mistake::new("wrong_type", span, detail))))
        }
    }
}

fn name<'t>(input: &mut Input<'t>) -> Parsed<At<String>> {
    any.verify_map(|token: &Token| match &token.lexeme {
        Lexeme::Word(word) if !is_keyword(word) => Some(At { it: word.clone(), span: token.span }),
        _ => None,
    })
    .parse_next(input)
}

fn named(input: &mut Input<'_>) -> Parsed<Clause> {
    let Some(written) = opt(name).parse_next(input)? else {
        return fail(input, "a condition, such as number_of_orders >= 1");
    };
    let next = input.input.first().map(|token| &token.lexeme);
    if written.it.eq_ignore_ascii_case("anniversary") && next == Some(&Lexeme::Open) {
        let open = lexeme(Lexeme::Open);
        let close = lexeme(Lexeme::Close);
        let Some(name) = opt(delimited(open, name, close)).parse_next(input)? else {
            return fail(input, "the name of a date in parentheses, such as (date_of_birth)");
        };
        let Some(test) = test(input)? else {
            return fail(input, "= or BETWEEN");
        };
        return Ok(Clause::Anniversary { name, test });
    }
    let matches = alt((
        preceded(keyword("NOT"), keyword("MATCHES")).map(|_| true),
        keyword("MATCHES").map(|_| false),
    ));
    if let Some(negated) = opt(matches).parse_next(input)? {
        let params = params(input)?;
        return Ok(Clause::Function { name: written, negated, params });
    }
    match test(input)? {
        Some(test) => Ok(Clause::Attribute { name: written, test }),
        None => {
            let what = format!(
                "what is asked of {}: =, !=, >, >=, <, <=, BETWEEN, IN, CONTAINS or IS NULL",
                written.it
            );
            fail(input, &what)
        }
    }
}

fn params(input: &mut Input<'_>) -> Parsed<Vec<(At<String>, Test)>> {
    if opt(lexeme(Lexeme::Open)).parse_next(input)?.is_none() {
        return fail(input, "( and what must match");
    }
    let mut params = Vec::new();
    if opt(lexeme(Lexeme::Close)).parse_next(input)?.is_some() {
        return Ok(params);
    }
    loop {
        let Some(name) = opt(name).parse_next(input)? else {
            return fail(input, "the name of a parameter");
        };
        let Some(test) = test(input)? else {
            return fail(input, &format!("what is asked of {}", name.it));
        };
        params.push((name, test));
        if opt(lexeme(Lexeme::Comma)).parse_next(input)?.is_some() {
            continue;
        }
        if opt(lexeme(Lexeme::Close)).parse_next(input)?.is_some() {
            return Ok(params);
        }
        return fail(input, "a comma or )");
    }
}

/// What is asked of a value; `None` where nothing of the kind follows.
fn test(input: &mut Input<'_>) -> Parsed<Option<Test>> {
    if let Some(how) = opt(comparison).parse_next(input)? {
        return Ok(Some(Test::Compare { how, value: value(input)? }));
    }
    if opt(keyword("IS")).parse_next(input)?.is_some() {
        let negated = opt(keyword("NOT")).parse_next(input)?.is_some();
        if opt(keyword("NULL")).parse_next(input)?.is_none() {
            return fail(input, "NULL or NOT NULL");
        }
        return Ok(Some(Test::Null { negated }));
    }
    let negated = opt(keyword("NOT")).parse_next(input)?.is_some();
    if opt(keyword("BETWEEN")).parse_next(input)?.is_some() {
        let from = value(input)?;
        if opt(keyword("AND")).parse_next(input)?.is_none() {
            return fail(input, "AND and the upper end");
        }
        return Ok(Some(Test::Between { negated, from, to: value(input)? }));
    }
    if opt(keyword("CONTAINS")).parse_next(input)?.is_some() {
        return Ok(Some(Test::Contains { negated, value: value(input)? }));
    }
    if opt(keyword("IN")).parse_next(input)?.is_some() {
        let listed = separated(1.., value, lexeme(Lexeme::Comma));
        let open = lexeme(Lexeme::Open);
        let Some(values) = opt(preceded(open, listed)).parse_next(input)? else {
            return fail(input, "a list of values in parentheses, such as (1, 2)");
        };
        if opt(lexeme(Lexeme::Close)).parse_next(input)?.is_none() {
            return fail(input, "a comma or )");
        }
        return Ok(Some(Test::In { negated, values }));
    }
    if negated {
        return fail(input, "BETWEEN, IN, CONTAINS or MATCHES after NOT");
    }
    Ok(None)
}

fn comparison(input: &mut Input<'_>) -> Parsed<Comparison> {
    any.verify_map(|token: &Token| match token.lexeme {
        Lexeme::Compare(how) => Some(how),
        _ => None,
    })
    .parse_next(input)
}

/// A value. A word that is none is told as a text without its quotes, and reading goes on after it.
fn value(input: &mut Input<'_>) -> Parsed<At<Value>> {
    let Some(token) = input.input.first() else {
        return fail(input, "a value");
    };
    let span = token.span;
    let it = match &token.lexeme {
        Lexeme::Number(number) => Value::Number(*number),
        Lexeme::Text(text) => Value::Text(text.clone()),
        Lexeme::Date(date) => Value::Date(*date),
        Lexeme::Word(word) => match word.to_ascii_lowercase().as_str() {
            "true" => Value::Flag(true),
            "false" => Value::Flag(false),
            "today" => Value::Date(Date::Today),
            "yesterday" => Value::Date(Date::Yesterday),
            _ if is_keyword(word) => return fail(input, "a value"),
            _ => {
                let detail = format!("{word} is no value; texts stand in single quotes");
                let mistake = Mistake::new("unquoted_text", span, detail);
                input.state.mistakes.push(mistake.suggest(Quoted(word).to_string()));
                Value::Broken
            }
        },
        _ => return fail(input, "a value"),
    };
    input.next_token();
    Ok(At { it, span })
}
