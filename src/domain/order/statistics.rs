//! What the orders of a customer in one currency come to.
//!
//! A fact adds what it says and takes back what was said of its order before, so statistics are kept
//! without ever being counted anew. What cannot be taken back, the first and the last order, is
//! found again among the customer's other orders.

use super::{OrderFact, OrderId, OrderStatus, Orders};
use crate::domain::fault::Fault;
use crate::domain::money::Money;
use crate::domain::place::Currency;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

/// From the first to the last of some orders, by when they were placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub first: DateTime<Utc>,
    pub last: DateTime<Utc>,
}

impl Span {
    /// Of one order.
    pub fn at(instant: DateTime<Utc>) -> Self {
        Self { first: instant, last: instant }
    }

    /// Over both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// What a customer's orders in one currency come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Active orders.
    pub placed: u32,
    pub completed: u32,
    /// They count for nothing else.
    pub cancelled: u32,
    pub refunded: u32,
    /// What was paid and kept, in minor units: of no order less than nothing.
    pub spent: i64,
    /// What was paid back, in the same: of no order more than its total.
    pub paid_back: i64,
    /// `None`: there is no order that counts.
    pub span: Option<Span>,
    /// Rises by one with each change; 0 of what was never kept.
    pub version: i64,
    pub updated_at: DateTime<Utc>,
}

impl Statistics {
    /// The largest sum, in minor units: as much as anything may cost.
    pub const SUM_MAX: i64 = Money::MAX;

    /// Those that were not cancelled.
    pub fn number_of_orders(&self) -> u32 {
        self.placed + self.completed + self.refunded
    }

    /// What an order came to on average, to the nearest minor unit. `None` without orders.
    pub fn average(&self) -> Option<i64> {
        let number = i64::from(self.number_of_orders());
        (number > 0).then(|| (2 * self.spent + number) / (2 * number))
    }

    /// What one fact says.
    fn of(fact: &OrderFact) -> Self {
        let one = |status| u32::from(fact.status == status);
        let total = if fact.counts() { fact.total.amount() } else { 0 };
        let paid_back = fact.refunded.min(total);
        Self {
            placed: one(OrderStatus::Placed),
            completed: one(OrderStatus::Completed),
            cancelled: one(OrderStatus::Cancelled),
            refunded: one(OrderStatus::Refunded),
            spent: total - paid_back,
            paid_back,
            span: fact.counts().then(|| Span::at(fact.placed_at)),
            ..Self::default()
        }
    }

    /// Both together, a version later than `self`.
    ///
    /// # Errors
    /// `out_of_range` beyond [`Statistics::SUM_MAX`].
    pub fn and(&self, other: &Self, at: DateTime<Utc>) -> Result<Self, Fault> {
        let sum = |one: i64, other: i64| {
            Some(one + other).filter(|sum| *sum <= Self::SUM_MAX).ok_or_else(|| {
                let most = Self::SUM_MAX;
                Fault::new("out_of_range", format!("must not take a customer's sums beyond {most}"))
            })
        };
        Ok(Self {
            placed: self.placed.saturating_add(other.placed),
            completed: self.completed.saturating_add(other.completed),
            cancelled: self.cancelled.saturating_add(other.cancelled),
            refunded: self.refunded.saturating_add(other.refunded),
            spent: sum(self.spent, other.spent)?,
            paid_back: sum(self.paid_back, other.paid_back)?,
            span: self.span.into_iter().chain(other.span).reduce(Span::and),
            version: self.version + 1,
            updated_at: at,
        })
    }

    /// Without `other`, but for the span, which may be another one now. Nothing falls below zero,
    /// also where the statistics were wrong before.
    fn without(&self, other: &Self) -> Self {
        Self {
            placed: self.placed.saturating_sub(other.placed),
            completed: self.completed.saturating_sub(other.completed),
            cancelled: self.cancelled.saturating_sub(other.cancelled),
            refunded: self.refunded.saturating_sub(other.refunded),
            spent: (self.spent - other.spent).max(0),
            paid_back: (self.paid_back - other.paid_back).max(0),
            ..self.clone()
        }
    }

    /// What differs, by the names that whoever reads statistics knows.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let differences = [
            ("number_of_orders", self.number_of_orders() != before.number_of_orders()),
            ("orders.placed", self.placed != before.placed),
            ("orders.completed", self.completed != before.completed),
            ("orders.cancelled", self.cancelled != before.cancelled),
            ("orders.refunded", self.refunded != before.refunded),
            ("spent", self.spent != before.spent),
            ("refunded", self.paid_back != before.paid_back),
            ("average", self.average() != before.average()),
            ("first_order_at", self.span.map(|s| s.first) != before.span.map(|s| s.first)),
            ("last_order_at", self.span.map(|s| s.last) != before.span.map(|s| s.last)),
        ];
        differences.iter().filter(|(_, differs)| *differs).map(|(n, _)| (*n).to_owned()).collect()
    }
}

/// Why statistics are others now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-open" = true))]
pub enum Cause {
    /// The order service told of an order.
    Fact,
    /// The orders of a customer that was merged with this one came along.
    Merge,
    /// They were not what the facts come to, and are now.
    Reconciliation,
}

/// Statistics that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    pub currency: Currency,
    /// As they are by now.
    pub statistics: Statistics,
    /// What of them changed; never empty.
    pub changed: Vec<String>,
    /// By which order, where it was one.
    pub order_id: Option<OrderId>,
    pub cause: Cause,
}

/// Whether another thing was bought, or at another time or price: the window of orders that segments
/// look at is another one then, also where all sums are the same.
fn differs(kept: &OrderFact, fact: &OrderFact) -> bool {
    kept.placed_at != fact.placed_at
        || kept.items != fact.items
        || kept.total != fact.total
        || kept.refunded != fact.refunded
}

impl Orders {
    /// What the statistics come to when `fact` takes the place of what is kept of its order: those
    /// that change by it, at most one of each currency that the order was or is in. That of the
    /// fact's own currency comes last.
    ///
    /// # Errors
    /// Those of [`Statistics::and`].
    pub fn counted(&self, fact: &OrderFact, at: DateTime<Utc>) -> Result<Vec<Counted>, Fault> {
        let kept = self.facts.get(&fact.order_id).map(|order| &order.fact);
        let moved = kept.map(|kept| kept.total.currency()).filter(|c| *c != fact.total.currency());
        let mut changes = Vec::new();
        for currency in moved.into_iter().chain([fact.total.currency()]) {
            let here = |one: &&OrderFact| one.total.currency() == currency;
            let before = self.statistics.get(currency).cloned().unwrap_or_default();
            let without = kept
                .filter(here)
                .map_or_else(|| before.clone(), |kept| before.without(&Statistics::of(kept)));
            let said = Some(fact).filter(here).map(Statistics::of).unwrap_or_default();
            let mut after = without.and(&said, at)?;
            after.span = match after.number_of_orders() {
                0 => None,
                // Where the statistics were wrong before, there may be none to be found.
                _ => self.span(currency, fact).or(after.span),
            };
            let mut changed = after.changed_since(&before);
            if changed.is_empty() && kept.filter(here).is_some_and(|kept| differs(kept, fact)) {
                changed.push("orders".to_owned());
            }
            if !changed.is_empty() {
                changes.push(Counted {
                    currency: currency.clone(),
                    statistics: after,
                    changed,
                    order_id: Some(fact.order_id.clone()),
                    cause: Cause::Fact,
                });
            }
        }
        Ok(changes)
    }

    /// From the first to the last order in a currency, once `fact` is kept.
    fn span(&self, currency: &Currency, fact: &OrderFact) -> Option<Span> {
        let kept = self.facts.values().map(|order| &order.fact);
        let known = kept
            .filter(|kept| kept.order_id != fact.order_id)
            .chain([fact])
            .filter(|one| one.counts() && one.total.currency() == currency)
            .map(|one| Span::at(one.placed_at));
        self.others.get(currency).copied().into_iter().chain(known).reduce(Span::and)
    }

    /// What the statistics come to with those of another customer: those that change by it.
    ///
    /// # Errors
    /// Those of [`Statistics::and`].
    pub fn joined(&self, other: &Self, at: DateTime<Utc>) -> Result<Vec<Counted>, Fault> {
        let mut changes = Vec::new();
        for (currency, theirs) in &other.statistics {
            let before = self.statistics.get(currency).cloned().unwrap_or_default();
            let statistics = before.and(theirs, at)?;
            let changed = statistics.changed_since(&before);
            if !changed.is_empty() {
                let (currency, cause) = (currency.clone(), Cause::Merge);
                let counted = Counted { currency, statistics, changed, order_id: None, cause };
                changes.push(counted);
            }
        }
        Ok(changes)
    }
}
