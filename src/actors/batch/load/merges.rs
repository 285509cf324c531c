//! How customers that a merge names ended before, should they be merged already: then the answer of
//! that time is given again.

use super::{Wanted, unless_empty};
use crate::db;
use crate::db::transactions::QueryError;
use crate::domain::merge::MergeReport;
use crate::domain::{CustomerId, State};
use std::collections::HashMap;

pub(super) struct Found(Vec<(CustomerId, MergeReport)>);

pub(super) async fn load(
    connection: &db::Connection,
    wanted: &Wanted,
) -> Result<Found, QueryError> {
    let merged = &wanted.merged;
    unless_empty(merged, db::merges::of_customers(connection, merged)).await.map(Found)
}

impl Found {
    pub(super) fn add_to(self, states: &mut HashMap<CustomerId, State>) {
        for (id, report) in self.0 {
            states.entry(id).or_default().merged = Some(report);
        }
    }
}
