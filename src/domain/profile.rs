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
    /// Custom attributes by key, each as its definition says.
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
    fn avatars_are_https() {
        assert!(avatar_url("https://cdn.example.org/a.png").is_ok());
        for raw in
            ["http://x.org/a", "javascript:alert(1)", "https://", "data:,x", "https://u:p@x.org/"]
        {
            assert_eq!(avatar_url(raw).unwrap_err().code, "invalid_url", "{raw}");
        }
    }
}
