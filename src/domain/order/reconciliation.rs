//! What statistics should be, by the facts alone (rule O4): what differs has a name, and becomes what
//! the facts come to.

use super::statistics::{Cause, Counted, Statistics};
use super::{Orders, Span};
use crate::domain::place::Currency;
use chrono::{DateTime, SecondsFormat, Utc};
use std::collections::BTreeSet;

/// Something that is not what it should be, as people read it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// By the name that whoever reads statistics knows.
    pub field: &'static str,
    /// What is kept; `None`: nothing.
    pub kept: Option<String>,
    /// What it should be; `None`: nothing.
    pub found: Option<String>,
}

impl Statistics {
    /// What of the kept numbers is another in `found`; what follows from them is not told apart.
    /// Sums are in minor units, instants as the API writes them.
    pub fn differences(&self, found: &Self) -> Vec<Difference> {
        let instant = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let values = |of: &Self| {
            let end = |end: fn(Span) -> DateTime<Utc>| of.span.map(|span| instant(end(span)));
            [
                ("orders.placed", Some(of.placed.to_string())),
                ("orders.completed", Some(of.completed.to_string())),
                ("orders.cancelled", Some(of.cancelled.to_string())),
                ("orders.refunded", Some(of.refunded.to_string())),
                ("spent", Some(of.spent.to_string())),
                ("refunded", Some(of.paid_back.to_string())),
                ("first_order_at", end(|span| span.first)),
                ("last_order_at", end(|span| span.last)),
            ]
        };
        let both = values(self).into_iter().zip(values(found));
        both.filter(|((_, kept), (_, found))| kept != found)
            .map(|((field, kept), (_, found))| Difference { field, kept, found })
            .collect()
    }
}

impl Orders {
    /// The statistics that are not what the facts come to, as these say. The facts must have been
    /// counted anew.
    pub fn reconciled(&self, at: DateTime<Utc>) -> Vec<Counted> {
        let currencies: BTreeSet<&Currency> =
            self.statistics.keys().chain(self.recounted.keys()).collect();
        let differing = currencies.into_iter().filter_map(|currency| {
            let before = self.statistics.get(currency).cloned().unwrap_or_default();
            let counted = self.recounted.get(currency).cloned().unwrap_or_default();
            let changed = counted.changed_since(&before);
            (!changed.is_empty()).then(|| Counted {
                currency: currency.clone(),
                statistics: Statistics { version: before.version + 1, updated_at: at, ..counted },
                changed,
                order_id: None,
                cause: Cause::Reconciliation,
            })
        });
        differing.collect()
    }
}
