//! What a consumer remembers, in a file that is only appended to: each line holds a message, so its
//! number and what it changes are durable together or not at all. A line that a crash cut short is
//! cut off; its message was not acknowledged and comes again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A message about a customer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    pub customer: String,
    /// Counts the customer's messages from 1.
    pub sequence: i64,
    pub kind: String,
    pub data: Value,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Message(Message),
    /// The customer as the service told it, up to the message of this number.
    Anew {
        customer: String,
        sequence: i64,
        addresses: BTreeSet<String>,
    },
}

/// Messages that are missing, by the first and the last number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    pub customer: String,
    pub first: i64,
    pub last: i64,
}

#[derive(Default)]
struct Customer {
    last: i64,
    addresses: BTreeSet<String>,
    waiting: BTreeMap<i64, Message>,
}

/// What was seen since the start.
#[derive(Default)]
struct Seen {
    applied: u64,
    copies: u64,
    early: u64,
    read: u64,
}

/// Which addresses each customer has, as far as its messages have told.
pub struct Book {
    file: File,
    customers: BTreeMap<String, Customer>,
    seen: Seen,
}

impl Book {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// Those of the file; a line that is none of ours.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let mut text = String::new();
        io::Read::read_to_string(&mut file, &mut text)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        let mut book = Self { file, customers: BTreeMap::new(), seen: Seen::default() };
        for line in text[..whole].lines() {
            match serde_json::from_str(line)? {
                Line::Message(message) => book.admit(message),
                Line::Anew { customer, sequence, addresses } => {
                    book.begin(&customer, sequence, addresses);
                }
            }
        }
        book.seen = Seen::default();
        Ok(book)
    }

    /// One message. A copy changes nothing, not even the file.
    ///
    /// # Errors
    /// Those of the file; the message must not be acknowledged then.
    pub fn take(&mut self, message: Message) -> io::Result<()> {
        let known = self.customers.entry(message.customer.clone()).or_default();
        if message.sequence <= known.last || known.waiting.contains_key(&message.sequence) {
            self.seen.copies += 1;
            return Ok(());
        }
        self.write(&Line::Message(message.clone()))?;
        self.admit(message);
        Ok(())
    }

    /// From what the service says now; what waits goes on from there.
    ///
    /// # Errors
    /// Those of the file.
    pub fn start_anew(&mut self, gap: &Gap, addresses: BTreeSet<String>) -> io::Result<()> {
        let (customer, sequence) = (gap.customer.clone(), gap.last);
        self.write(&Line::Anew { customer, sequence, addresses: addresses.clone() })?;
        self.begin(&gap.customer, sequence, addresses);
        self.seen.read += 1;
        Ok(())
    }

    pub fn gaps(&self) -> Vec<Gap> {
        let gap = |(customer, known): (&String, &Customer)| {
            let (next, _) = known.waiting.first_key_value()?;
            Some(Gap { customer: customer.clone(), first: known.last + 1, last: next - 1 })
        };
        self.customers.iter().filter_map(gap).collect()
    }

    pub fn state(&self) -> Value {
        let all = self.customers.values();
        json!({
            "messages": all.clone().map(|one| one.last).sum::<i64>(),
            "customers": all.clone().filter(|one| one.last > 0).count(),
            "addresses": all.clone().map(|one| one.addresses.len()).sum::<usize>(),
            "waiting": all.map(|one| one.waiting.len()).sum::<usize>(),
            "applied": self.seen.applied, "copies": self.seen.copies,
            "early": self.seen.early, "read": self.seen.read,
        })
    }

    fn admit(&mut self, message: Message) {
        let known = self.customers.entry(message.customer.clone()).or_default();
        self.seen.early += u64::from(message.sequence > known.last + 1);
        known.waiting.insert(message.sequence, message);
        self.seen.applied += known.go_on();
    }

    fn begin(&mut self, customer: &str, sequence: i64, addresses: BTreeSet<String>) {
        let known = self.customers.entry(customer.to_owned()).or_default();
        known.last = sequence;
        known.addresses = addresses;
        self.seen.applied += known.go_on();
    }

    /// Durable before the broker hears that the message is done.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }
}

impl Customer {
    /// Applies what waits and is next; tells how many.
    fn go_on(&mut self) -> u64 {
        let mut applied = 0;
        while let Some(next) = self.waiting.remove(&(self.last + 1)) {
            self.apply(&next);
            applied += 1;
        }
        applied
    }

    /// A type that is not known here changes nothing.
    fn apply(&mut self, message: &Message) {
        let address = || message.data["address_id"].as_str().unwrap_or_default().to_owned();
        match message.kind.as_str() {
            "address.created" => drop(self.addresses.insert(address())),
            "address.deleted" => drop(self.addresses.remove(&address())),
            "customer.deleted" => self.addresses.clear(),
            _ => {}
        }
        self.last = message.sequence;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: i64) -> Message {
        let data = json!({ "customer_id": "c", "address_id": format!("a{sequence}") });
        Message { customer: "c".to_owned(), sequence, kind: "address.created".to_owned(), data }
    }

    #[test]
    fn a_file_that_a_crash_cut_short_forgets_that_message_only() {
        let path = std::env::temp_dir().join(format!("consumer-journal-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let mut book = Book::open(&path).unwrap();
        for sequence in [1, 4, 2, 2] {
            book.take(message(sequence)).unwrap();
        }
        assert_eq!(book.gaps(), [Gap { customer: "c".to_owned(), first: 3, last: 3 }]);
        drop(book);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let mut book = Book::open(&path).unwrap();
        assert_eq!(book.state()["messages"], 1, "4 waits, 2 was cut short");
        book.take(message(2)).unwrap();
        book.take(message(3)).unwrap();
        let state = Book::open(&path).unwrap().state();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            (&state["messages"], &state["addresses"], &state["waiting"]),
            (&json!(4), &json!(4), &json!(0))
        );
    }
}
