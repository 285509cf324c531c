//! Cuts a file into records, piece by piece: CSV by the grammar of RFC 4180 (csv-core), NDJSON by
//! lines. A record costs a bounded amount of memory however long it is, and each knows where it
//! ends, so that reading can go on there after a kill.

use csv_core::{ReadRecordResult, Reader as CsvCore, ReaderBuilder};

/// Most columns of CSV.
pub const COLUMNS_MAX: usize = 1_000;

/// A place in a file, between two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Bytes before it.
    pub offset: u64,
    /// The line, from 1, that it lies in.
    pub line: u64,
}

impl Place {
    pub const START: Self = Self { offset: 0, line: 1 };
}

/// What one step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// More of the file is needed.
    NeedsInput,
    /// There is a record, see [`Splitter::record`].
    Record,
    /// The file is over.
    End,
}

/// What a record is like as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Whole,
    /// Longer than may be; what it holds was not kept.
    TooLong,
    TooManyColumns,
    /// The file ended inside quotes.
    Unclosed,
}

/// One record.
pub struct Record<'a> {
    /// Where it begins.
    pub line: u64,
    pub shape: Shape,
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Record<'a> {
    /// The fields of CSV; a line of NDJSON is one.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &'a [u8]> {
        let (bytes, ends) = (self.bytes, self.ends);
        (0..ends.len()).map(move |at| {
            let from = if at == 0 { 0 } else { ends[at - 1] };
            bytes.get(from..ends[at]).unwrap_or_default()
        })
    }
}

enum Grammar {
    Csv(Box<CsvCore>),
    Lines,
}

/// The state between two pieces of a file.
pub struct Splitter {
    grammar: Grammar,
    /// The fields of the record at hand, one behind the other.
    buffer: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    fields: usize,
    shape: Shape,
    /// Where the record at hand begins; `None` between two.
    begun: Option<u64>,
    quotes: usize,
    place: Place,
}

impl Splitter {
    /// Reads CSV from a place on. Records longer than `record_max` bytes are not kept.
    pub fn csv(delimiter: u8, record_max: usize, from: Place) -> Self {
        let core = ReaderBuilder::new().delimiter(delimiter).build();
        Self::new(Grammar::Csv(Box::new(core)), record_max, from)
    }

    /// Reads lines from a place on.
    pub fn lines(record_max: usize, from: Place) -> Self {
        Self::new(Grammar::Lines, record_max, from)
    }

    fn new(grammar: Grammar, record_max: usize, from: Place) -> Self {
        Self {
            grammar,
            buffer: vec![0; record_max],
            filled: 0,
            ends: vec![0; COLUMNS_MAX + 1],
            fields: 0,
            shape: Shape::Whole,
            begun: None,
            quotes: 0,
            place: from,
        }
    }

    /// Where the next record begins, right after a step that made one.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The record that a step has made, until the next step.
    pub fn record(&self) -> Record<'_> {
        Record {
            line: self.begun.unwrap_or(self.place.line),
            shape: self.shape,
            bytes: &self.buffer[..self.filled],
            ends: &self.ends[..self.fields],
        }
    }

    /// Ends the record that was made.
    pub fn done(&mut self) {
        self.begun = None;
    }

    /// Reads on in `input`, which is all there is when `last`. Answers with how many bytes of it
    /// were used.
    pub fn step(&mut self, input: &[u8], last: bool) -> (usize, Step) {
        let mut used = 0;
        if self.begun.is_none() {
            // Empty lines are no records.
            used = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.pass(&input[..used]);
            if used == input.len() {
                return (used, if last { Step::End } else { Step::NeedsInput });
            }
            self.begun = Some(self.place.line);
            (self.filled, self.fields, self.quotes) = (0, 0, 0);
            self.shape = Shape::Whole;
        }
        let (more, step) = match self.grammar {
            Grammar::Csv(_) => self.csv_record(&input[used..], last),
            Grammar::Lines => self.line(&input[used..], last),
        };
        (used + more, step)
    }

    fn pass(&mut self, bytes: &[u8]) {
        self.place.offset += bytes.len() as u64;
        self.place.line += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    }

    fn csv_record(&mut self, input: &[u8], last: bool) -> (usize, Step) {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            // To csv-core an empty input is the end of the file.
            if rest.is_empty() && !last {
                return (used, Step::NeedsInput);
            }
            let Grammar::Csv(core) = &mut self.grammar else { return (used, Step::End) };
            let (result, read, wrote, ended) = core.read_record(
                rest,
                &mut self.buffer[self.filled..],
                &mut self.ends[self.fields..],
            );
            self.filled += wrote;
            self.fields += ended;
            self.quotes += rest[..read].iter().filter(|byte| **byte == b'"').count();
            self.pass(&rest[..read]);
            used += read;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => {
                    (self.filled, self.shape) = (0, Shape::TooLong);
                }
                ReadRecordResult::OutputEndsFull => {
                    self.fields = 0;
                    if self.shape == Shape::Whole {
                        self.shape = Shape::TooManyColumns;
                    }
                }
                ReadRecordResult::Record => {
                    // A quote inside quotes is doubled, so of a sound record they are even.
                    if rest.is_empty() && self.quotes % 2 == 1 {
                        self.shape = Shape::Unclosed;
                    }
                    self.keep_what_is_whole();
                    return (used, Step::Record);
                }
                ReadRecordResult::End => return (used, Step::End),
            }
        }
    }

    fn line(&mut self, input: &[u8], last: bool) -> (usize, Step) {
        let end = input.iter().position(|byte| *byte == b'\n');
        let text = &input[..end.unwrap_or(input.len())];
        let room = self.buffer.len() - self.filled;
        if text.len() > room {
            self.shape = Shape::TooLong;
        }
        let kept = text.len().min(room);
        self.buffer[self.filled..self.filled + kept].copy_from_slice(&text[..kept]);
        self.filled += kept;
        let used = text.len() + usize::from(end.is_some());
        self.pass(&input[..used]);
        if end.is_none() && !last {
            return (used, Step::NeedsInput);
        }
        (self.fields, self.ends[0]) = (1, self.filled);
        self.keep_what_is_whole();
        (used, Step::Record)
    }

    fn keep_what_is_whole(&mut self) {
        if self.shape != Shape::Whole {
            (self.filled, self.fields) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Told = (u64, Shape, Vec<String>, u64);

    /// All records of a file that comes in pieces of `piece` bytes.
    fn read(mut splitter: Splitter, file: &[u8], piece: usize) -> Vec<Told> {
        let mut told = Vec::new();
        let mut at = 0;
        loop {
            let to = (at + piece).min(file.len());
            let (used, step) = splitter.step(&file[at..to], to == file.len());
            at += used;
            match step {
                Step::NeedsInput => assert_eq!(at, to, "all of a piece is used"),
                Step::End => return told,
                Step::Record => {
                    let record = splitter.record();
                    let fields = record.fields().map(|it| String::from_utf8_lossy(it).into());
                    let (line, shape, fields) = (record.line, record.shape, fields.collect());
                    told.push((line, shape, fields, splitter.place().offset));
                    splitter.done();
                }
            }
        }
    }

    fn csv(file: &str, piece: usize) -> Vec<(u64, Shape, Vec<String>)> {
        let read = read(Splitter::csv(b',', 20, Place::START), file.as_bytes(), piece);
        read.into_iter().map(|(line, shape, fields, _)| (line, shape, fields)).collect()
    }

    fn whole(line: u64, fields: &[&str]) -> (u64, Shape, Vec<String>) {
        (line, Shape::Whole, fields.iter().map(|&field| field.to_owned()).collect())
    }

    #[test]
    fn records_know_the_line_they_begin_in() {
        for piece in [1, 2, 7, 100] {
            let file = "a,b\r\n\r\n\"x\ny\",\"say \"\"z\"\"\"\r\nlast,";
            let expected =
                [whole(1, &["a", "b"]), whole(3, &["x\ny", "say \"z\""]), whole(5, &["last", ""])];
            assert_eq!(csv(file, piece), expected, "pieces of {piece}");
            assert_eq!(csv("", piece), []);
            assert_eq!(csv("\r\n\n", piece), []);
        }
    }

    #[test]
    fn what_is_too_long_is_passed_by() {
        for piece in [1, 13, 100_000] {
            let file = format!("a,b\n\"{}\",x\nc,d\n", "long\n".repeat(5_000));
            let too_long = (2, Shape::TooLong, Vec::new());
            let expected = [whole(1, &["a", "b"]), too_long, whole(5_003, &["c", "d"])];
            assert_eq!(csv(&file, piece), expected);
            let many = format!("{}\nc,d\n", ",".repeat(3 * COLUMNS_MAX));
            let told = csv(&many, piece);
            assert_eq!((told[0].1, told[0].2.len()), (Shape::TooManyColumns, 0));
            assert_eq!(told[1], whole(2, &["c", "d"]));
            let lines = format!("{}\nshort\n", "x".repeat(50));
            let told = read(Splitter::lines(20, Place::START), lines.as_bytes(), piece);
            assert_eq!(
                (told[0].1, told[1].1, &told[1].2[..]),
                (Shape::TooLong, Shape::Whole, &["short".to_owned()][..])
            );
        }
    }

    #[test]
    fn quotes_that_are_never_closed_are_told() {
        for piece in [1, 100] {
            let told = csv("a,b\nc,\"d\ne,f\n", piece);
            assert_eq!(told[1], (2, Shape::Unclosed, Vec::new()), "{told:?}");
            assert_eq!(told.len(), 2);
            assert_eq!(csv("a,\"b\"", piece), [whole(1, &["a", "b"])]);
        }
    }

    proptest! {
        /// However a file is cut into pieces, and wherever reading begins anew.
        #[test]
        fn pieces_and_places_make_no_difference(file in "[ab,\"\r\n]{0,60}", piece in 1_usize..20) {
            let at_once = read(Splitter::csv(b',', 20, Place::START), file.as_bytes(), 1_000);
            let in_pieces = read(Splitter::csv(b',', 20, Place::START), file.as_bytes(), piece);
            prop_assert_eq!(&at_once, &in_pieces);
            if let Some((_, _, _, offset)) = at_once.first() {
                let rest = &file.as_bytes()[usize::try_from(*offset).unwrap()..];
                let from = Place { offset: *offset, line: 1 };
                let fields = |told: &[Told]| -> Vec<_> {
                    told.iter().map(|told| (told.1, told.2.clone(), told.3)).collect()
                };
                let resumed = read(Splitter::csv(b',', 20, from), rest, piece);
                prop_assert_eq!(fields(&at_once[1..]), fields(&resumed));
            }
        }
    }
}
