//! From the bytes of a file to rows, each a command or all that is wrong with it. Works with what
//! it is fed and knows neither where that comes from nor where rows go.

use super::ids::Ids;
use super::records::{Place, Record, Shape, Splitter, Step};
use super::settings::{Format, Settings};
use super::strict;
use crate::domain::command::{Actor, Command, Context, Subject, Submission};
use crate::domain::import::fields::{Field, Mapping};
use crate::domain::import::row::{Cell, Rules, read};
use crate::domain::import::{RowFault, row_request_id};
use crate::domain::{Fault, ImportId};
use bytes::Bytes;
use std::collections::HashMap;

/// Names of NDJSON that are remembered with their fields; more than any file has.
const NAMES_MAX: usize = 1_000;

/// Faults of one row that are told; more help nobody.
const FAULTS_MAX: usize = 20;

/// One row of a file.
#[derive(Debug)]
pub struct Row {
    /// Where it begins.
    pub line: u64,
    /// Where the next one does.
    pub end: Place,
    /// What it asks for; `None`: nothing, see the faults.
    pub submission: Option<Submission>,
    pub faults: Vec<RowFault>,
}

/// What a reader needs to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// More of the file.
    Input,
    /// Nothing: there are as many rows as were asked for.
    Nothing,
    /// Nothing: the file is over.
    TheEnd,
}

/// A file that is being read.
pub struct Reader {
    import: ImportId,
    actor: Actor,
    splitter: Splitter,
    /// Of CSV.
    columns: Option<Vec<Field>>,
    mapping: Mapping,
    names: HashMap<String, Option<Field>>,
    input: Bytes,
    last: bool,
}

impl Reader {
    /// Reads on from a place.
    pub fn new(
        import: ImportId,
        actor: Actor,
        format: Format,
        settings: &Settings,
        record_max: usize,
        from: Place,
    ) -> Self {
        let (splitter, columns) = match format {
            Format::Csv => (
                Splitter::csv(settings.delimiter as u8, record_max, from),
                Some(settings.columns.clone()),
            ),
            Format::Ndjson => (Splitter::lines(record_max, from), None),
        };
        Self {
            import,
            actor,
            splitter,
            columns,
            mapping: settings.mapping.clone(),
            names: HashMap::new(),
            input: Bytes::new(),
            last: false,
        }
    }

    /// More of the file; empty: there is no more.
    pub fn feed(&mut self, input: Bytes) {
        self.last = input.is_empty();
        self.input = input;
    }

    /// Reads until there are `max` rows, or more of the file is needed.
    pub fn fill(
        &mut self,
        rows: &mut Vec<Row>,
        max: usize,
        rules: &Rules,
        ids: &mut Ids<'_>,
    ) -> Need {
        while rows.len() < max {
            let (used, step) = self.splitter.step(&self.input, self.last);
            self.input = self.input.slice(used..);
            match step {
                Step::NeedsInput => return Need::Input,
                Step::End => return Need::TheEnd,
                Step::Record => {
                    let read = self.row(rules, ids);
                    self.splitter.done();
                    rows.extend(read);
                }
            }
        }
        Need::Nothing
    }

    /// The row of the record at hand; `None` for a line of nothing but blanks.
    fn row(&mut self, rules: &Rules, ids: &mut Ids<'_>) -> Option<Row> {
        let record = self.splitter.record();
        let (line, end) = (record.line, self.splitter.place());
        let customer = ids.customer();
        let mut any = || ids.in_a_row();
        let asked = match (whole(&record), &self.columns) {
            (Err(fault), _) => Err(vec![fault]),
            (Ok(()), Some(columns)) => {
                cells(&record, columns).and_then(|cells| read(cells, rules, customer, &mut any))
            }
            (Ok(()), None) => {
                let text = record.fields().next().unwrap_or_default();
                if text.iter().all(u8::is_ascii_whitespace) {
                    return None;
                }
                match strict::object(text) {
                    Ok(object) => {
                        let (known, unknown) = fields(&mut self.names, &self.mapping, &object);
                        let cells = known.iter().map(|(field, value)| (field, Cell::Value(value)));
                        match read(cells, rules, customer, &mut any) {
                            Ok(asked) if unknown.is_empty() => Ok(asked),
                            Ok(_) => Err(unknown),
                            Err(faults) => Err([unknown, faults].concat()),
                        }
                    }
                    Err(fault) => Err(vec![fault]),
                }
            }
        };
        let context = Context {
            actor: self.actor.clone(),
            now: rules.now,
            request_id: row_request_id(self.import, line),
            traceparent: None,
        };
        let (submission, mut faults) = match asked {
            Ok(asked) => {
                let subject = Subject::Customer(customer);
                let command = Command::Import(Box::new(asked));
                (Some(Submission { subject, command, context, idempotency: None }), Vec::new())
            }
            Err(faults) => (None, faults),
        };
        faults.truncate(FAULTS_MAX);
        Some(Row { line, end, submission, faults })
    }
}

/// Whether there is a record to look into.
fn whole(record: &Record<'_>) -> Result<(), RowFault> {
    match record.shape {
        Shape::Whole => Ok(()),
        Shape::TooLong => Err(RowFault::of_row(
            "row_too_long",
            "the row is longer than imports.record_limit_bytes; perhaps a quote is not closed",
        )),
        Shape::TooManyColumns => {
            Err(RowFault::of_row("wrong_column_count", "the row has more than 1000 columns"))
        }
        Shape::Unclosed => Err(RowFault::of_row(
            "unclosed_quote",
            "a quote of this row is never closed: nothing behind it was read",
        )),
    }
}

/// The cells of a row of CSV.
fn cells<'r>(
    record: &Record<'r>,
    columns: &'r [Field],
) -> Result<Vec<(&'r Field, Cell<'r>)>, Vec<RowFault>> {
    let fields = record.fields();
    if fields.len() != columns.len() {
        let (has, should) = (fields.len(), columns.len());
        let detail = format!("the row has {has} columns, the header {should}");
        return Err(vec![RowFault::of_row("wrong_column_count", detail)]);
    }
    let mut cells = Vec::with_capacity(columns.len());
    let mut faults = Vec::new();
    for (field, bytes) in columns.iter().zip(fields) {
        match std::str::from_utf8(bytes) {
            Ok(text) => cells.push((field, Cell::Text(text))),
            Err(_) if *field == Field::Ignored => {}
            Err(_) => {
                let fault = Fault::new("not_utf8", "is not UTF-8; save the file as UTF-8");
                faults.push(RowFault::of_field(field.name(), fault));
            }
        }
    }
    if faults.is_empty() { Ok(cells) } else { Err(faults) }
}

type Known<'o> = Vec<(Field, &'o serde_json::Value)>;

/// The fields of an object of NDJSON, and faults for its names that are none.
fn fields<'o>(
    names: &mut HashMap<String, Option<Field>>,
    mapping: &Mapping,
    object: &'o serde_json::Map<String, serde_json::Value>,
) -> (Known<'o>, Vec<RowFault>) {
    let mut known: Known<'o> = Vec::with_capacity(object.len());
    let mut faults = Vec::new();
    for (name, value) in object {
        let field = match names.get(name) {
            Some(field) => field.clone(),
            None => {
                let field = mapping.field(name);
                if names.len() < NAMES_MAX {
                    names.insert(name.clone(), field.clone());
                }
                field
            }
        };
        match field {
            None => {
                let fault =
                    Fault::new("unknown_field", "is no field; map it, or ignore unknown ones");
                faults.push(RowFault::of_field(harmless(name), fault));
            }
            Some(field)
                if known.iter().any(|(same, _)| *same == field && field != Field::Ignored) =>
            {
                let fault = Fault::new("same_column", "is given twice, by two names");
                faults.push(RowFault::of_field(field.name(), fault));
            }
            Some(field) => known.push((field, value)),
        }
    }
    (known, faults)
}

/// A name of the file's own, if it reads like one: others may be a person's data.
fn harmless(name: &str) -> String {
    let sign = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b' ');
    let plain = (1..=64).contains(&name.len()) && name.bytes().all(sign);
    if plain { name.to_owned() } else { "(unnamed)".to_owned() }
}

#[cfg(test)]
mod tests;
