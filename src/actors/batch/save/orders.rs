//! What differs of orders: the facts that are news, of their items those that are others, and the
//! statistics; and the orders that move with a merge, which nobody has read.

use super::all_done;
use crate::actors::batch::fold::Folded;
use crate::db::Connection;
use crate::db::statements::{
    DeleteOrderItems, DeleteOrderStatistics, MoveOrders, SaveOrderFacts, SaveOrderItems,
    SaveOrderStatistics,
};
use crate::db::transactions::QueryError;
use crate::domain::CustomerId;
use crate::domain::order::{Order, Orders};
use futures_util::FutureExt;
use futures_util::future::join_all;

#[derive(Default)]
pub(super) struct OrderRows {
    facts: SaveOrderFacts,
    deleted_items: DeleteOrderItems,
    items: SaveOrderItems,
    deleted_statistics: DeleteOrderStatistics,
    statistics: SaveOrderStatistics,
    moves: MoveOrders,
    /// Orders that `moves` finds.
    moved: usize,
}

impl OrderRows {
    pub(super) fn of(folded: &Folded<'_>) -> Self {
        let mut rows = Self::default();
        for (report, _) in folded.merges.iter().filter(|(report, _)| report.moved.orders > 0) {
            rows.moves.push(report.from, report.into);
            rows.moved += report.moved.orders;
        }
        rows
    }

    /// The rows of one customer that differ.
    pub(super) fn push(&mut self, id: CustomerId, before: &Orders, after: &Orders) {
        for (name, order) in &after.facts {
            let kept = before.facts.get(name);
            if kept != Some(order) {
                self.facts.push(id, order);
                self.changed_items(id, kept, order);
            }
        }
        for gone in before.statistics.keys().filter(|key| !after.statistics.contains_key(key)) {
            self.deleted_statistics.push(id, gone);
        }
        for (currency, statistics) in &after.statistics {
            if before.statistics.get(currency) != Some(statistics) {
                self.statistics.push(id, currency, statistics);
            }
        }
    }

    fn changed_items(&mut self, id: CustomerId, kept: Option<&Order>, order: &Order) {
        let (name, items) = (&order.fact.order_id, &order.fact.items);
        let kept = kept.map_or(&[][..], |kept| &kept.fact.items);
        for item in items.iter().filter(|item| !kept.contains(item)) {
            self.items.push(id, name, item);
        }
        for gone in kept.iter().filter(|kept| items.iter().all(|item| item.sku != kept.sku)) {
            self.deleted_items.push(id, name, &gone.sku);
        }
    }

    /// Rows to write; each is locked, or new, so as many must be.
    pub(super) fn len(&self) -> usize {
        let items = self.deleted_items.len() + self.items.len();
        let statistics = self.deleted_statistics.len() + self.statistics.len();
        self.facts.len() + items + statistics + self.moved
    }

    /// Sends the statements in order, without waiting in between. Answers with the number of rows
    /// written.
    pub(super) async fn execute(&self, connection: &Connection) -> Result<usize, QueryError> {
        let written = join_all([
            self.moves.execute(connection).boxed(),
            self.facts.execute(connection).boxed(),
            self.deleted_items.execute(connection).boxed(),
            self.items.execute(connection).boxed(),
            self.deleted_statistics.execute(connection).boxed(),
            self.statistics.execute(connection).boxed(),
        ]);
        Ok(all_done(written.await)?.into_iter().sum())
    }
}
