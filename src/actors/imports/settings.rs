//! What an import was told when it was asked for, kept with it so that any node can go on.

use super::records::{Place, Shape, Splitter, Step};
use crate::domain::import::fields::{Field, Mapping, Plain};
use serde::{Deserialize, Serialize};

/// How the file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Csv,
    Ndjson,
}

impl Format {
    pub const ALL: [Self; 2] = [Self::Csv, Self::Ndjson];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
        }
    }

    /// The format of this name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub mapping: Mapping,
    /// Of CSV.
    pub delimiter: char,
    /// See `Rules::hash_parameters`.
    pub hash_parameters: Option<HashParameters>,
    /// What the columns of CSV mean, in their order; read from its header.
    pub columns: Vec<Field>,
    /// Where the first row begins: bytes before it, and its line.
    pub start: (u64, u64),
}

impl Settings {
    /// Settings of a file of which nothing was read yet.
    pub fn new(mapping: Mapping, delimiter: char, hash_parameters: Option<HashParameters>) -> Self {
        Self { mapping, delimiter, hash_parameters, columns: Vec::new(), start: (0, 1) }
    }
}

/// Parameters that hashes of a whole system share. They hold a key: never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HashParameters(pub String);

impl std::fmt::Debug for HashParameters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashParameters(..)")
    }
}

/// Delimiters that a file may have.
pub const DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// Longest header, with its byte order mark.
pub const HEADER_MAX: usize = 65_536;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a file cannot be read at all. Never tells what stands in it: a file without a header
/// begins with a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("The file is empty.")]
    Empty,
    #[error("The file is not UTF-8 but UTF-16. Save it as UTF-8.")]
    Utf16,
    #[error("Column {column} of the header is not UTF-8. Save the file as UTF-8.")]
    HeaderNotUtf8 { column: usize },
    #[error("The header does not end within {HEADER_MAX} bytes, or has too many columns.")]
    HeaderTooLong,
    #[error(
        "Column {column} of the header is no field. Name it with map, map it to - to read over it, \
         or ignore unknown columns; and look whether the delimiter is right."
    )]
    UnknownColumn { column: usize },
    #[error("Columns {first} and {second} of the header are the same field.")]
    SameColumn { first: usize, second: usize },
    #[error("No column is {name}.")]
    MissingColumn { name: &'static str },
}

impl Unreadable {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "empty_file",
            Self::Utf16 | Self::HeaderNotUtf8 { .. } => "wrong_encoding",
            Self::HeaderTooLong => "header_too_long",
            Self::UnknownColumn { .. } => "unknown_column",
            Self::SameColumn { .. } => "same_column",
            Self::MissingColumn { .. } => "missing_column",
        }
    }
}

/// Reads what stands before the first row: a byte order mark, and of CSV the header, into
/// `settings`. `head` is how the file begins, at least [`HEADER_MAX`] bytes of it, or all (`whole`).
///
/// # Errors
/// Why nothing can be read.
pub fn begin(
    format: Format,
    settings: &mut Settings,
    head: &[u8],
    whole: bool,
) -> Result<Place, Unreadable> {
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return Err(Unreadable::Utf16);
    }
    let mark = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let start = Place { offset: mark as u64, line: 1 };
    let rest = &head[mark..];
    if whole && rest.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable::Empty);
    }
    let place = match format {
        Format::Ndjson => start,
        Format::Csv => header(settings, rest, start, whole)?,
    };
    settings.start = (place.offset, place.line);
    Ok(place)
}

fn header(
    settings: &mut Settings,
    rest: &[u8],
    start: Place,
    whole: bool,
) -> Result<Place, Unreadable> {
    let mut splitter = Splitter::csv(settings.delimiter as u8, HEADER_MAX, start);
    let (_, step) = splitter.step(rest, whole);
    let record = splitter.record();
    if step != Step::Record || record.shape != Shape::Whole {
        return Err(Unreadable::HeaderTooLong);
    }
    let mut columns: Vec<Field> = Vec::new();
    for (at, name) in record.fields().enumerate() {
        let column = at + 1;
        let name = std::str::from_utf8(name).map_err(|_| Unreadable::HeaderNotUtf8 { column })?;
        let field = settings.mapping.field(name).ok_or(Unreadable::UnknownColumn { column })?;
        let same = columns.iter().position(|known| *known == field && field != Field::Ignored);
        if let Some(first) = same {
            return Err(Unreadable::SameColumn { first: first + 1, second: column });
        }
        columns.push(field);
    }
    for needed in [Plain::Email, Plain::FirstName, Plain::LastName] {
        if !columns.contains(&Field::Plain(needed)) {
            return Err(Unreadable::MissingColumn { name: needed.name() });
        }
    }
    settings.columns = columns;
    Ok(splitter.place())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(Mapping::default(), ',', None)
    }

    fn csv(head: &[u8]) -> Result<(Place, usize), &'static str> {
        let mut settings = settings();
        let place = begin(Format::Csv, &mut settings, head, true);
        place.map(|place| (place, settings.columns.len())).map_err(|error| error.code())
    }

    #[test]
    fn a_header_is_read_with_its_mark_and_line_ends() {
        let at = |offset, line| Place { offset, line };
        assert_eq!(csv(b"email,First Name,last-name\nx"), Ok((at(27, 2), 3)));
        assert_eq!(csv(b"\xef\xbb\xbfemail,first_name,last_name\r\nx").unwrap().1, 3);
        assert_eq!(csv(b"\n\nemail,first_name,last_name").unwrap().0.line, 3);
    }

    #[test]
    fn what_cannot_be_read_is_told_without_its_text() {
        for (head, code) in [
            (&b""[..], "empty_file"),
            (b"\xef\xbb\xbf\r\n", "empty_file"),
            (b"\xff\xfee\0m\0", "wrong_encoding"),
            (b"email,first_name,last_name,Stra\xdfe\n", "wrong_encoding"),
            (b"email,first_name,last_name,street\n", "unknown_column"),
            (b"email;first_name;last_name\n", "unknown_column"),
            (b"anna@example.org,Anna,Nguyen\n", "unknown_column"),
            (b"email,first_name,last_name,E Mail,EMAIL\n", "unknown_column"),
            (b"email,first_name,last_name,EMAIL\n", "same_column"),
            (b"email,first_name\n", "missing_column"),
            (b"email,\"first_name\n", "header_too_long"),
        ] {
            assert_eq!(csv(head), Err(code), "{}", String::from_utf8_lossy(head));
        }
        let mut settings = settings();
        let long = vec![b'x'; HEADER_MAX + 1];
        let told = begin(Format::Csv, &mut settings, &long, false);
        assert_eq!(told.unwrap_err().code(), "header_too_long");
        let told = begin(Format::Csv, &mut settings, b"anna@example.org,Anna", true).unwrap_err();
        assert!(!told.to_string().contains("nna"), "{told}");
    }
}
