//! The one map of personal data: what every column of every table is to a person. Export, erasure,
//! sealing and `docs/data-map.md` follow it; a test holds it against the migrated database, so no
//! column comes or goes without being declared here (rule P3).

mod customers;
mod operations;
mod orders;
mod privacy;
mod records;
mod segments;
mod sign_in;
#[cfg(test)]
mod tests;
mod told;

pub use told::{NotTold, Told, not_told, told};

/// A table, with each of its columns once.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// As the database names it; with its schema where that is not the service's own.
    pub name: &'static str,
    pub rows: Rows,
    /// Columns by what they are.
    pub columns: &'static [(Column, &'static [&'static str])],
}

/// Whose rows a table has, and what becomes of them when their customer is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Each is a customer's, whose id stands in one of these columns; empty ones are nobody's.
    OfCustomer { by: &'static [&'static str], fate: Fate },
    /// Each is a customer's and bears no id; erasure finds them in the way told, and deletes them.
    Found(&'static str),
    /// They may hold personal data of whom nobody can tell, and end of themselves, as told.
    Passing(&'static str),
    /// The shop's own: no row is about a customer.
    Installation,
}

/// What erasure does with a customer's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Deleted,
    /// It stays without what names a person, for the reason told.
    Kept(&'static str),
}

/// What a column is to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Tells nothing of a person: numbers of versions, ids of rows, instants of machinery, settings.
    Ours,
    /// The id of a customer or of a staff key: names nobody once no row tells who that is.
    Id,
    Personal(Care),
}

/// How a personal column is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Care {
    pub form: Form,
    pub export: Export,
    pub erasure: Erasure,
}

/// In which form a value is at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Clear,
    /// Encrypted, by a key that is not in the table.
    Sealed(SealedBy),
    /// A keyed hash, by which an equal value is found and nothing is read.
    BlindIndex,
    /// A hash of a secret that somebody shows.
    Digest,
}

/// Which key opens a sealed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedBy {
    /// One that follows from the configured root key.
    Root,
    /// One that is configured for keys of customers.
    Wrapping,
    /// The customer's own, which goes when the customer is erased: backups hold nothing that opens it.
    Customer,
}

/// Whether its owner gets the value in an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    Told,
    /// For the reason told.
    Withheld(&'static str),
}

/// What erasure leaves of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Nothing: the row goes.
    WithRow,
    /// This instead: the row stays.
    Set(Value),
    /// What the database makes anew of the columns beside it, from which it is computed.
    Follows,
    /// The value, for the reason told.
    Stays(&'static str),
}

/// What stands where a personal value stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Null,
    Text(&'static str),
    No,
    EmptyList,
}

impl Value {
    /// As SQL writes it.
    #[must_use]
    pub fn as_sql(self) -> String {
        match self {
            Self::Null => "NULL".to_owned(),
            Self::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Self::No => "false".to_owned(),
            Self::EmptyList => "'{}'".to_owned(),
        }
    }
}

/// Every table.
pub fn tables() -> impl Iterator<Item = &'static Table> {
    let all = [
        customers::TABLES,
        sign_in::TABLES,
        orders::TABLES,
        segments::TABLES,
        records::TABLES,
        privacy::TABLES,
        operations::TABLES,
    ];
    all.into_iter().flatten()
}

impl Table {
    /// Every column, with what it is.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, Column)> + use<> {
        self.columns.iter().flat_map(|(what, names)| names.iter().map(|name| (*name, *what)))
    }
}

/// A value that its owner gave or was told, in the clear; goes with its row.
const TOLD: Column =
    Column::Personal(Care { form: Form::Clear, export: Export::Told, erasure: Erasure::WithRow });

/// Likewise, but of no use to its owner, for the reason told.
const fn withheld(form: Form, why: &'static str) -> Column {
    Column::Personal(Care { form, export: Export::Withheld(why), erasure: Erasure::WithRow })
}

/// A value of a row that stays; this stands there afterwards.
const fn told_then(value: Value) -> Column {
    let erasure = Erasure::Set(value);
    Column::Personal(Care { form: Form::Clear, export: Export::Told, erasure })
}

/// Rows of the customer whose id stands in `customer_id`; none stays.
const GONE: Rows = Rows::OfCustomer { by: &["customer_id"], fate: Fate::Deleted };

const SECRET: &str = "a secret of the account, of use to whoever steals it alone";
