//! One line of NDJSON as strictly as a body of the API: an object, no key twice at any depth, no
//! number that a double would round.

use crate::domain::import::RowFault;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::fmt;

/// Up to here a double holds every integer.
const MAGNITUDE_MAX: u64 = 1 << 53;

/// Reads a line.
///
/// # Errors
/// What is wrong with it.
pub fn object(line: &[u8]) -> Result<Map<String, Value>, RowFault> {
    let text = std::str::from_utf8(line)
        .map_err(|_| RowFault::of_row("not_utf8", "the line is not UTF-8"))?;
    let reason = Cell::new(("malformed_json", "the line is not one JSON object"));
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict(&reason).deserialize(&mut deserializer);
    match value.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(Value::Object(object)) => Ok(object),
        _ => {
            let (code, detail) = reason.get();
            Err(RowFault::of_row(code, detail))
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'r>(&'r Cell<(&'static str, &'static str)>);

impl Strict<'_> {
    fn refuse<E: Error>(self, code: &'static str, detail: &'static str) -> E {
        self.0.set((code, detail));
        E::custom("refused")
    }

    fn too_great<E: Error>(self) -> E {
        self.refuse("number_too_great", "a number lies outside ±2^53")
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        let fits = value.unsigned_abs() <= MAGNITUDE_MAX;
        if fits { Ok(value.into()) } else { Err(self.too_great()) }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        if value <= MAGNITUDE_MAX { Ok(value.into()) } else { Err(self.too_great()) }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let fits = value.abs() <= MAGNITUDE_MAX as f64;
        let number = Number::from_f64(value).filter(|_| fits);
        number.map(Value::Number).ok_or_else(|| self.too_great())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if map.insert(key, value).is_some() {
                return Err(self.refuse("duplicate_key", "an object names a key twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sound_objects_are_read() {
        let read = |text: &str| object(text.as_bytes()).map_err(|told| told.fault.code);
        let sound = r#" {"a": [1, -2.5, null, true, "x", {"b": 9007199254740992}]} "#;
        assert_eq!(
            Value::Object(read(sound).unwrap()),
            serde_json::from_str::<Value>(sound).unwrap()
        );
        for (text, code) in [
            ("", "malformed_json"),
            ("[]", "malformed_json"),
            ("1", "malformed_json"),
            (r#"{"a": 1"#, "malformed_json"),
            (r#"{"a": 1} {"#, "malformed_json"),
            (r#"{"a": 1, "a": 1}"#, "duplicate_key"),
            (r#"{"a": [{"b": 1, "b": 2}]}"#, "duplicate_key"),
            (r#"{"a": 9007199254740993}"#, "number_too_great"),
            (r#"{"a": -1e300}"#, "number_too_great"),
        ] {
            assert_eq!(read(text), Err(code), "{text}");
        }
        assert_eq!(object(b"{\"a\": \"\xe9\"}").unwrap_err().fault.code, "not_utf8");
    }
}
