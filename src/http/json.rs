//! Strict JSON: bytes to a [`Value`] that holds nothing a later layer would stumble over.
//!
//! `serde_json` keeps the last of two equal keys, nests to 128, and takes `\u0000`, which
//! PostgreSQL's text cannot store, and integers that a JavaScript client would round. One walk
//! with an own visitor refuses them all, so that every reader behind it may trust its input.

use std::{
    cell::{Cell, RefCell},
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{
    catalogue::Code,
    field::FieldFault,
    pointer::Path,
    problem::{FIELD_ERRORS_MAX, FieldError, Problem},
};

/// How deep arrays and objects may nest; the outermost counts as one.
pub const DEPTH_MAX: usize = 32;

/// The greatest magnitude of a number: up to here a double holds every integer exactly.
pub const MAGNITUDE_MAX: u64 = 1 << 53;

/// Why a text was refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The text as a whole is not acceptable; lines and columns count from one, columns in bytes.
    Malformed { reason: Reason, line: usize, column: usize },
    /// It is fine but for the character U+0000 in these places (JSON pointers).
    NulCharacters(Vec<String>),
}

/// What makes a text malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Empty,
    NotUtf8,
    Grammar,
    DuplicateKey,
    TooDeep,
    NumberTooGreat,
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Problem {
        let (reason, line, column) = match refused {
            Refused::NulCharacters(pointers) => {
                return Problem::invalid(pointers.into_iter().map(nul_fault).collect());
            }
            Refused::Malformed { reason, line, column } => (reason, line, column),
        };
        let what = match reason {
            Reason::Empty => return Problem::new(Code::MalformedJson).detail("The body is empty."),
            Reason::NotUtf8 => "The body is not UTF-8",
            Reason::Grammar => "The body is not JSON",
            Reason::DuplicateKey => "An object names a key twice",
            Reason::TooDeep => "The body nests deeper than 32 levels",
            Reason::NumberTooGreat => "A number lies outside ±2^53",
        };
        Problem::new(Code::MalformedJson).detail(format!("{what}: line {line}, column {column}."))
    }
}

fn nul_fault(pointer: String) -> FieldError {
    FieldFault::new("nul_character", "The character U+0000 is not allowed.").at(pointer)
}

/// Reads one JSON text.
///
/// # Errors
/// [`Refused`] with the first thing that makes the text malformed, or else with every place that
/// holds U+0000.
pub fn parse(bytes: &[u8]) -> Result<Value, Refused> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (line, column) = position(&bytes[..error.valid_up_to()]);
        Refused::Malformed { reason: Reason::NotUtf8, line, column }
    })?;
    if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
        return Err(Refused::Malformed { reason: Reason::Empty, line: 1, column: 1 });
    }
    let scan = Scan::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Node { scan: &scan, path: &Path::Root, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| Refused::Malformed {
            reason: scan.reason.get().unwrap_or(Reason::Grammar),
            line: error.line(),
            column: error.column(),
        })?;
    let pointers = scan.nul.into_inner();
    if pointers.is_empty() { Ok(value) } else { Err(Refused::NulCharacters(pointers)) }
}

/// Line and column of what follows `read`.
fn position(read: &[u8]) -> (usize, usize) {
    let line = read.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = read.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (line, column)
}

/// What the walk has found, beside the value.
#[derive(Default)]
struct Scan {
    reason: Cell<Option<Reason>>,
    nul: RefCell<Vec<String>>,
}

/// One value to be read, at its place in the text.
#[derive(Clone, Copy)]
struct Node<'a> {
    scan: &'a Scan,
    path: &'a Path<'a>,
    /// How many arrays and objects are around it.
    depth: usize,
}

impl Node<'_> {
    /// Ends the walk. serde_json adds the position on the way out.
    fn refuse<E: Error>(self, reason: Reason) -> E {
        self.scan.reason.set(Some(reason));
        E::custom("refused")
    }

    fn note_nul(self, text: &str) {
        let mut nul = self.scan.nul.borrow_mut();
        if text.contains('\0') && nul.len() < FIELD_ERRORS_MAX {
            nul.push(self.path.pointer());
        }
    }

    fn enter<E: Error>(self) -> Result<(), E> {
        if self.depth >= DEPTH_MAX { Err(self.refuse(Reason::TooDeep)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if value > MAGNITUDE_MAX {
            return Err(self.refuse(Reason::NumberTooGreat));
        }
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAGNITUDE_MAX {
            return Err(self.refuse(Reason::NumberTooGreat));
        }
        Ok(Value::Number(value.into()))
    }

    /// Integers beyond 64 bits arrive here too; above 2^53 a double has no fraction anyway, so
    /// one bound serves both.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match Number::from_f64(value) {
            Some(number) if value.abs() <= MAGNITUDE_MAX as f64 => Ok(Value::Number(number)),
            _ => Err(self.refuse(Reason::NumberTooGreat)),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        self.note_nul(&value);
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut list = Vec::new();
        loop {
            let path = Path::Index(self.path, list.len());
            let node = Node { scan: self.scan, path: &path, depth: self.depth + 1 };
            match items.next_element_seed(node)? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.enter()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.refuse(Reason::DuplicateKey));
            }
            // such a name cannot stand in a pointer that people can read: its object is named
            self.note_nul(&key);
            let path = Path::Key(self.path, &key);
            let node = Node { scan: self.scan, path: &path, depth: self.depth + 1 };
            let value = entries.next_value_seed(node)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reason(text: &str) -> Option<Reason> {
        match parse(text.as_bytes()) {
            Err(Refused::Malformed { reason, .. }) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn each_class_is_refused_with_its_position() {
        for (text, expected, line, column) in [
            ("", Reason::Empty, 1, 1),
            (" \n\t", Reason::Empty, 1, 1),
            ("{\"a\":1,\n\"a\":2}", Reason::DuplicateKey, 2, 3),
            ("{\"a\" 1}", Reason::Grammar, 1, 6),
            ("{\"a\":1}x", Reason::Grammar, 1, 8),
            ("{\"a\":\"\\ud800\"}", Reason::Grammar, 1, 13),
            ("{\"a\":1e400}", Reason::Grammar, 1, 10),
            ("{\"a\":NaN}", Reason::Grammar, 1, 6),
            ("\u{feff}{}", Reason::Grammar, 1, 1),
        ] {
            let refused = Refused::Malformed { reason: expected, line, column };
            assert_eq!(parse(text.as_bytes()), Err(refused), "{text:?}");
        }
        assert_eq!(
            parse(b"{\n \"a\": \"\xff\"}"),
            Err(Refused::Malformed { reason: Reason::NotUtf8, line: 2, column: 8 })
        );
    }

    #[test]
    fn keys_are_compared_after_unescaping() {
        assert_eq!(reason(r#"{"a":1,"\u0061":2}"#), Some(Reason::DuplicateKey));
        assert_eq!(reason(r#"{"x":{"a":1},"y":{"a":1}}"#), None);
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(reason(&nested(DEPTH_MAX)), None);
        assert_eq!(reason(&nested(DEPTH_MAX + 1)), Some(Reason::TooDeep));
        assert_eq!(reason(&nested(100_000)), Some(Reason::TooDeep));
        assert_eq!(reason(&"{\"a\":".repeat(100_000)), Some(Reason::TooDeep));
    }

    #[test]
    fn numbers_end_at_two_to_the_53() {
        for text in ["9007199254740992", "-9007199254740992", "0.1", "-0", "1e15", "1e-300"] {
            assert!(parse(text.as_bytes()).is_ok(), "{text}");
        }
        for text in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775809",
            "1e16",
            "1e300",
        ] {
            assert_eq!(reason(text), Some(Reason::NumberTooGreat), "{text}");
        }
    }

    #[test]
    fn every_nul_is_named_unless_the_text_is_malformed_anyway() {
        let text = r#"{"a":"x\u0000","b":[{"c/d":"\u0000"}],"e":{"\u0000":1}}"#;
        let places = ["#/a", "#/b/0/c~1d", "#/e"].map(String::from).to_vec();
        assert_eq!(parse(text.as_bytes()), Err(Refused::NulCharacters(places)));
        assert_eq!(reason(r#"{"a":"\u0000","a":1}"#), Some(Reason::DuplicateKey));
        // a raw control character is no JSON at all
        assert_eq!(reason("\"\0\""), Some(Reason::Grammar));
    }

    /// JSON with everything that may be wrong with it, so that the verdict is known beforehand.
    #[derive(Clone, Debug)]
    enum Tree {
        Scalar(String),
        Text(String),
        List(Vec<Tree>),
        Object(Vec<(String, Tree)>),
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let text = "[a\u{0}\"\\\\/é😀]{0,3}";
        let leaf = prop_oneof![
            text.prop_map(Tree::Text),
            any::<i64>().prop_map(|n| Tree::Scalar(n.to_string())),
            (-100i64..100).prop_map(|n| Tree::Scalar(n.to_string())),
            any::<f64>().prop_filter_map("finite", |n| n
                .is_finite()
                .then(|| Tree::Scalar(format!("{n:e}")))),
            prop_oneof!["true", "false", "null"].prop_map(Tree::Scalar),
        ];
        leaf.prop_recursive(40, 64, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Tree::List),
                prop::collection::vec((text, inner), 0..4).prop_map(Tree::Object),
            ]
        })
    }

    fn write(tree: &Tree, out: &mut String) {
        match tree {
            Tree::Scalar(text) => out.push_str(text),
            Tree::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
            Tree::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { " , " } else { "" });
                    write(item, out);
                }
                out.push(']');
            }
            Tree::Object(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    out.push_str(&serde_json::to_string(key).unwrap());
                    out.push_str(": ");
                    write(value, out);
                }
                out.push('}');
            }
        }
    }

    /// An independent reading of the rules: (malformed, holds U+0000).
    fn verdict(tree: &Tree, depth: usize) -> (bool, bool) {
        let join = |parts: Vec<(bool, bool)>| {
            parts.into_iter().fold((false, false), |a, b| (a.0 | b.0, a.1 | b.1))
        };
        match tree {
            Tree::Scalar(text) => (
                text.parse::<f64>().is_ok_and(|n| n.abs() > 9_007_199_254_740_992.0)
                    || text.parse::<i128>().is_ok_and(|n| n.abs() > 1 << 53),
                false,
            ),
            Tree::Text(text) => (false, text.contains('\0')),
            Tree::List(items) => {
                let inner = join(items.iter().map(|item| verdict(item, depth + 1)).collect());
                (inner.0 || depth >= DEPTH_MAX, inner.1)
            }
            Tree::Object(entries) => {
                let mut keys: Vec<_> = entries.iter().map(|(key, _)| key).collect();
                let nul = keys.iter().any(|key| key.contains('\0'));
                keys.sort();
                let twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
                let inner =
                    join(entries.iter().map(|(_, item)| verdict(item, depth + 1)).collect());
                (inner.0 || twice || depth >= DEPTH_MAX, inner.1 || nul)
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn accepts_what_serde_json_accepts_minus_the_refused_classes(tree in tree()) {
            let mut text = String::new();
            write(&tree, &mut text);
            let theirs: Value = serde_json::from_str(&text).unwrap();
            match (parse(text.as_bytes()), verdict(&tree, 0)) {
                (Ok(ours), (false, false)) => prop_assert_eq!(ours, theirs),
                (Err(Refused::NulCharacters(places)), (false, true)) => {
                    prop_assert!(!places.is_empty());
                }
                (Err(Refused::Malformed { reason, .. }), (true, _)) => {
                    prop_assert_ne!(reason, Reason::Grammar);
                }
                (ours, expected) => prop_assert!(false, "{ours:?} but expected {expected:?}: {text}"),
            }
        }

        #[test]
        fn never_panics_and_never_accepts_more(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let ours = parse(&bytes);
            match serde_json::from_slice::<Value>(&bytes) {
                Err(_) => prop_assert!(ours.is_err()),
                Ok(theirs) => prop_assert!(ours.is_err() || ours == Ok(theirs)),
            }
        }

        #[test]
        fn neither_on_texts_that_look_like_json(text in r#"([\[\]{}",:\\ue0123456789dDcC.\-+ a]|true|null|\\u0000|\\ud83d\\ude00){0,40}"#) {
            let ours = parse(text.as_bytes());
            match serde_json::from_str::<Value>(&text) {
                Err(_) => prop_assert!(ours.is_err()),
                Ok(theirs) => prop_assert!(ours.is_err() || ours == Ok(theirs)),
            }
        }
    }
}
