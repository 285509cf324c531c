//! What a customer may tell about itself beyond its name.

use super::fault::Fault;
use super::text::{Line, line, paragraph};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

/// The optional particulars; every field may be absent.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    pub date_of_birth: Option<NaiveDate>,
    pub gender: Option<String>,
    pub avatar_url: Option<String>,
    pub company: Option<Line>,
    pub tax_id: Option<String>,
    pub bio: Option<String>,
    /// Custom attributes by key; only scalars.
    pub custom: serde_json::Map<String, serde_json::Value>,
    /// Rises by one with each change.
    pub version: i64,
}

/// Personal: never printed.
impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("version", &self.version).finish_non_exhaustive()
    }
}

/// Oldest believable birth, before `today`, in years.
const MAX_AGE_YEARS: u32 = 130;

/// A calendar date `YYYY-MM-DD`; that it lies in the past is [`is_believable_birth`]'s to say,
/// since it depends on the day of asking.
///
/// # Errors
/// `invalid_date`.
pub fn date(raw: &str) -> Result<NaiveDate, Fault> {
    let fault = || Fault::new("invalid_date", "must be a date YYYY-MM-DD");
    if raw.len() != 10 || !raw.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
        return Err(fault());
    }
    NaiveDate::parse_from_str(raw, "%Y-%m-%d").map_err(|_| fault())
}

/// Whether somebody alive on `today` can have been born on `date`.
pub fn is_believable_birth(date: NaiveDate, today: NaiveDate) -> bool {
    date <= today && today.years_since(date).is_some_and(|years| years <= MAX_AGE_YEARS)
}

/// Free text of at most 40 characters: how people name their gender is theirs to say.
///
/// # Errors
/// Those of [`line`].
pub fn gender(raw: &str) -> Result<String, Fault> {
    line(raw, 40)
}

/// An `https` address of at most 500 characters.
///
/// # Errors
/// `invalid_url`, or those of [`line`].
pub fn avatar_url(raw: &str) -> Result<String, Fault> {
    let text = line(raw, 500)?;
    let url = url::Url::parse(&text)
        .ok()
        .filter(|url| url.scheme() == "https" && url.host().is_some() && url.username().is_empty());
    url.map(String::from).ok_or_else(|| Fault::new("invalid_url", "must be an https address"))
}

/// A tax number as its country writes it, at most 40 characters.
///
/// # Errors
/// Those of [`line`].
pub fn tax_id(raw: &str) -> Result<String, Fault> {
    line(raw, 40)
}

/// At most 1,000 characters, several lines.
///
/// # Errors
/// Those of [`paragraph`].
pub fn bio(raw: &str) -> Result<String, Fault> {
    paragraph(raw, 1_000)
}

/// Most custom attributes of a customer, and most characters of a text value.
const CUSTOM_MAX: usize = 64;
const CUSTOM_TEXT_MAX: usize = 500;

/// Checks one custom attribute: key of 1–64 `a-z 0-9 _`, value a scalar.
///
/// # Errors
/// `invalid_key`, `wrong_type`, or those of [`line`].
pub fn custom_attribute(key: &str, value: &serde_json::Value) -> Result<serde_json::Value, Fault> {
    let ok = (1..=64).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !ok {
        return Err(Fault::new("invalid_key", "keys must be 1 to 64 of a-z, 0-9 and _"));
    }
    match value {
        serde_json::Value::String(text) => line(text, CUSTOM_TEXT_MAX).map(Into::into),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Ok(value.clone()),
        _ => Err(Fault::new("wrong_type", "must be a text, a number or a boolean")),
    }
}

/// `current` after a merge patch (RFC 7396): `null` removes a key.
///
/// # Errors
/// `too_many` when more than 64 attributes would remain, and more than there are: a merge of two
/// customers may have brought more, which can then become fewer.
pub fn merge_custom(
    current: &serde_json::Map<String, serde_json::Value>,
    patch: &serde_json::Map<String, serde_json::Value>,
) -> Result<serde_json::Map<String, serde_json::Value>, Fault> {
    let mut merged = current.clone();
    for (key, value) in patch {
        if value.is_null() {
            merged.remove(key);
        } else {
            merged.insert(key.clone(), value.clone());
        }
    }
    if merged.len() > CUSTOM_MAX.max(current.len()) {
        return Err(Fault::new(
            "too_many",
            format!("must have at most {CUSTOM_MAX} custom attributes"),
        ));
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn births() {
        let today = date("2026-11-21").unwrap();
        for (raw, believable) in [
            ("2026-11-21", true),
            ("2026-11-22", false),
            ("1896-11-21", true),
            ("1895-11-20", false),
        ] {
            assert_eq!(is_believable_birth(date(raw).unwrap(), today), believable, "{raw}");
        }
        for raw in [
            "2026-02-30",
            "26-01-01",
            "2026-1-1",
            "2026-01-01T00:00",
            "+2026-01-1",
            "2026-01--1",
            "",
        ] {
            assert_eq!(date(raw).unwrap_err().code, "invalid_date", "{raw}");
        }
    }

    #[test]
    fn attributes_above_the_limit_may_only_become_fewer() {
        let of = |numbers: std::ops::Range<usize>, value: serde_json::Value| {
            numbers.map(|n| (format!("k{n}"), value.clone())).collect::<serde_json::Map<_, _>>()
        };
        let (some, none) = (serde_json::Value::from(1), serde_json::Value::Null);
        assert_eq!(
            merge_custom(&of(0..63, some.clone()), &of(63..64, some.clone())).unwrap().len(),
            64
        );
        let over = merge_custom(&of(0..64, some.clone()), &of(64..65, some.clone()));
        assert_eq!(over.unwrap_err().code, "too_many");
        let many = of(0..70, some.clone());
        assert_eq!(merge_custom(&many, &of(0..2, none)).unwrap().len(), 68);
        assert_eq!(merge_custom(&many, &of(70..71, some)).unwrap_err().code, "too_many");
    }

    #[test]
    fn avatars_are_https() {
        assert!(avatar_url("https://cdn.example.org/a.png").is_ok());
        for raw in
            ["http://x.org/a", "javascript:alert(1)", "https://", "data:,x", "https://u:p@x.org/"]
        {
            assert_eq!(avatar_url(raw).unwrap_err().code, "invalid_url", "{raw}");
        }
    }
}
