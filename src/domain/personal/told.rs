//! What an export tells and what it withholds, read off the map: a column that is put on the map is in
//! the next export, and nowhere else is there a list of them.

use super::{Care, Column, Export, Rows, Table, tables};

/// A table of which an export tells something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// As the database names it; with its schema where that is not the service's own.
    pub name: &'static str,
    /// In which columns a customer's id makes a row its own.
    pub by: &'static [&'static str],
    /// What is told of each row.
    pub columns: Vec<&'static str>,
}

/// A column that its owner does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotTold {
    pub table: &'static str,
    pub column: &'static str,
    pub why: &'static str,
}

/// All that an export tells, in the order of the map.
pub fn told() -> impl Iterator<Item = Told> {
    tables().filter_map(|table| {
        let Rows::OfCustomer { by, .. } = table.rows else { return None };
        let columns: Vec<_> = cares(table)
            .filter(|(_, care)| care.export == Export::Told)
            .map(|(column, _)| column)
            .collect();
        (!columns.is_empty()).then_some(Told { name: table.name, by, columns })
    })
}

/// All that is personal and no export tells, of rows that are a customer's.
pub fn not_told() -> impl Iterator<Item = NotTold> {
    let of_customers = tables().filter(|table| match table.rows {
        Rows::OfCustomer { .. } | Rows::Found(_) => true,
        Rows::Passing(_) | Rows::Installation => false,
    });
    of_customers.flat_map(|table| {
        cares(table).filter_map(move |(column, care)| match care.export {
            Export::Told => None,
            Export::Withheld(why) => Some(NotTold { table: table.name, column, why }),
        })
    })
}

fn cares(table: &'static Table) -> impl Iterator<Item = (&'static str, Care)> {
    table.each().filter_map(|(column, what)| match what {
        Column::Personal(care) => Some((column, care)),
        Column::Ours | Column::Id => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P3: whatever is told is a customer's, so that it is somebody's to get.
    #[test]
    fn p3_every_told_column_is_of_a_table_whose_rows_have_an_owner() {
        let told: Vec<_> = told().collect();
        let of_told = |table: &str, column: &str| {
            told.iter().any(|one| one.name == table && one.columns.contains(&column))
        };
        let mut count = 0;
        for table in tables() {
            for (column, care) in cares(table) {
                assert_eq!(
                    of_told(table.name, column),
                    care.export == Export::Told,
                    "{}.{column}",
                    table.name
                );
                count += 1;
            }
        }
        assert!(count > 150 && told.len() > 20, "{count} columns of {} tables", told.len());
    }

    #[test]
    fn p3_what_is_withheld_has_its_reason() {
        assert!(not_told().count() > 20);
        assert!(not_told().all(|one| !one.why.is_empty()));
        assert!(not_told().any(|one| (one.table, one.column) == ("passwords", "hash")));
    }
}
