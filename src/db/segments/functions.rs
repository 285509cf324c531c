//! Functions over several facts as SQL: what orders, their items and sign-ins of a customer come to.

use super::compile::{moment, numbers, one_of};
use super::sql::{Sql, Value};
use crate::domain::segment::attributes::Function;
use crate::domain::segment::condition::{Aggregate, Filter, Matches, Words};
use crate::domain::segment::decimals;
use crate::domain::segment::when::Now;

/// What was paid for an order and kept, in minor units.
const PAID: &str = "(o.total_amount - least(o.refunded_amount, o.total_amount))";

/// Whether the facts are as asked; never NULL.
pub(super) fn matches(matches: &Matches, now: &Now) -> Sql {
    let units = matches.currency.as_deref().map_or(0, decimals);
    let fulfilled = matches.aggregates.iter().map(|(aggregate, test)| match aggregate {
        Aggregate::Count => numbers(test, 0, "count(*)"),
        Aggregate::SumQuantity => numbers(test, 0, "coalesce(sum(i.quantity), 0)"),
        Aggregate::SumAmount => numbers(
            test,
            units,
            "coalesce(sum(o.total_amount - least(o.refunded_amount, o.total_amount)), 0)",
        ),
    });
    let mut sql = Sql::fixed(if matches.negated { "NOT (SELECT " } else { "(SELECT " });
    sql.append(Sql::joined(fulfilled, " AND ")).push(match matches.function {
        Function::OrdersPlaced => " FROM order_facts AS o WHERE o.customer_id = c.id",
        Function::ProductsPurchased => {
            " FROM order_facts AS o JOIN order_items AS i \
             ON i.customer_id = o.customer_id AND i.order_id = o.order_id WHERE o.customer_id = c.id"
        }
        Function::SignedIn => {
            " FROM audit_entries AS e WHERE e.customer_id = c.id AND e.action = 'sign_in.succeeded'"
        }
    });
    if matches.function != Function::SignedIn {
        if !matches.any_status() {
            sql.push(" AND o.status <> 'cancelled'");
        }
        if let Some(currency) = &matches.currency {
            sql.push(" AND o.currency = ").bind(Value::Text(currency.clone()));
        }
    }
    for filter in &matches.filters {
        sql.push(" AND ").append(self::filter(matches.function, filter, units, now));
    }
    sql.push(")");
    sql
}

fn filter(function: Function, filter: &Filter, units: u32, now: &Now) -> Sql {
    match filter {
        Filter::Date(when) => {
            let at = if function == Function::SignedIn { "e.occurred_at" } else { "o.placed_at" };
            moment(when, now, at)
        }
        Filter::Amount(test) => numbers(test, units, PAID),
        Filter::Status(words) => one_of("o.status", texts(words), words.negated),
        Filter::Quantity(test) => numbers(test, 0, "i.quantity"),
        Filter::Sku(words) if function == Function::ProductsPurchased => {
            one_of("i.sku", texts(words), words.negated)
        }
        // an order has the skus of its items
        Filter::Sku(words) => {
            let mut sql = Sql::fixed(if words.negated { "NOT " } else { "" });
            sql.push(
                "EXISTS (SELECT FROM order_items AS i WHERE i.customer_id = o.customer_id \
                 AND i.order_id = o.order_id AND ",
            );
            sql.append(one_of("i.sku", texts(words), false)).push(")");
            sql
        }
    }
}

fn texts(words: &Words) -> Value {
    Value::Texts(words.any_of.clone())
}
