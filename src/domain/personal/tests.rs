//! The map agrees with itself.

use super::*;
use std::collections::BTreeSet;

#[test]
fn p3_each_table_and_each_column_stands_on_the_map_once() {
    let mut seen = BTreeSet::new();
    for table in tables() {
        assert!(seen.insert((table.name, "")), "{} twice", table.name);
        for (column, _) in table.each() {
            assert!(seen.insert((table.name, column)), "{}.{column} twice", table.name);
        }
    }
    assert!(seen.len() > 400, "only {} columns", seen.len());
}

/// What becomes of a value follows from what becomes of its row.
#[test]
fn p2_what_erasure_leaves_of_a_column_fits_its_row() {
    for table in tables() {
        for (column, what) in table.each() {
            let Column::Personal(care) = what else { continue };
            let row_goes = match table.rows {
                Rows::OfCustomer { fate: Fate::Deleted, .. }
                | Rows::Found(_)
                | Rows::Passing(_) => true,
                Rows::OfCustomer { fate: Fate::Kept(_), .. } | Rows::Installation => false,
            };
            let goes_with_row = care.erasure == Erasure::WithRow;
            assert_eq!(goes_with_row, row_goes, "{}.{column}", table.name);
        }
    }
}

#[test]
fn p2_rows_of_customers_are_found_by_ids() {
    for table in tables() {
        let Rows::OfCustomer { by, .. } = table.rows else { continue };
        assert!(!by.is_empty(), "{}", table.name);
        for name in by {
            let found = table.each().find(|(column, _)| column == name);
            assert_eq!(found.map(|(_, what)| what), Some(Column::Id), "{}.{name}", table.name);
        }
    }
}

/// P3: an export holds what erasure would remove; what it does not hold has a reason, and nobody is
/// told a secret or a hash.
#[test]
fn p3_whatever_is_sealed_or_hashed_is_withheld() {
    for table in tables() {
        for (column, what) in table.each() {
            let Column::Personal(care) = what else { continue };
            if let Export::Withheld(why) = care.export {
                assert!(!why.is_empty(), "{}.{column}", table.name);
            } else {
                assert_eq!(care.form, Form::Clear, "{}.{column} is told", table.name);
            }
        }
    }
}

#[test]
fn values_are_written_as_sql() {
    let values = [Value::Null, Value::Text("it's"), Value::No, Value::EmptyList];
    assert_eq!(values.map(Value::as_sql), ["NULL", "'it''s'", "false", "'{}'"]);
}
