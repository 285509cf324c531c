//! What is doubtful is told, and what is not is not.

use super::*;

/// Definition, and of each warning: code, column.
const WARNINGS: &[(&str, &[(&str, usize)])] = &[
    // the forgotten case
    ("custom.nick != 'a'", &[("missing_value", 1)]),
    ("custom.nick NOT IN ('a')", &[("missing_value", 1)]),
    ("last_order_date NOT BETWEEN -7d AND today", &[("missing_value", 1)]),
    ("average_order_value != 5", &[("missing_value", 1)]),
    ("NOT custom.nick = 'a'", &[("missing_value", 5)]),
    ("NOT anniversary(date_of_birth) = today", &[("missing_value", 5)]),
    ("custom.nick != 'a' OR custom.nick IS NULL", &[]),
    ("custom.nick != 'a' AND custom.nick IS NOT NULL", &[]),
    ("custom.nick = 'a'", &[]),
    ("last_order_date < -7d", &[]),
    // nobody is without
    ("group != 'a'", &[]),
    ("customer_tags NOT CONTAINS 'a'", &[]),
    ("NOT number_of_orders = 0", &[]),
    // contradictions
    ("number_of_orders > 5 AND number_of_orders < 3", &[("never", 1)]),
    ("number_of_orders > 1 AND number_of_orders < 2", &[("never", 1)]),
    ("amount_spent > 1 AND amount_spent < 2", &[]),
    ("number_of_orders < 0", &[("never", 1)]),
    ("number_of_orders = 1.5", &[("never", 1)]),
    ("number_of_orders BETWEEN 5 AND 3", &[("never", 1)]),
    ("mfa_enabled = true AND (number_of_orders = 1 AND number_of_orders = 2)", &[("never", 25)]),
    ("group = 'a' AND mfa_enabled = true AND group = 'b'", &[("never", 1)]),
    ("group IN ('a', 'b') AND group != 'a' AND group != 'b'", &[("never", 1)]),
    ("customer_type = 'business' AND customer_type = 'individual'", &[("never", 1)]),
    ("mfa_enabled = true AND NOT mfa_enabled = true", &[("never", 1)]),
    ("last_order_date > -7d AND last_order_date < -30d", &[("never", 1)]),
    ("last_order_date < -7d AND last_order_date > -30d", &[]),
    ("last_order_date > 2026-05-01 AND last_order_date < 2026-04-01", &[("never", 1)]),
    ("last_order_date > -1m AND last_order_date < -1y", &[("never", 1)]),
    // cannot be told beforehand
    ("last_order_date > -7d AND last_order_date < 2026-04-01", &[]),
    ("group IS NULL", &[("never", 1)]),
    ("custom.nick = 'a' AND custom.nick IS NULL", &[("never", 1)]),
    // lists have several members
    ("customer_tags CONTAINS 'a' AND customer_tags CONTAINS 'b'", &[]),
    // tautologies
    ("number_of_orders >= 0", &[("always", 1)]),
    ("number_of_orders > 5 OR number_of_orders <= 5", &[("always", 1)]),
    ("group != 'a' OR group != 'b'", &[("always", 1)]),
    ("mfa_enabled = true OR mfa_enabled = false", &[("always", 1)]),
    ("custom.nick IS NULL OR custom.nick IS NOT NULL", &[("always", 1)]),
    ("custom.points > 5 OR custom.points <= 5", &[]),
    ("custom.points > 5 OR custom.points <= 5 OR custom.points IS NULL", &[("always", 1)]),
    ("customer_type IN ('business', 'individual')", &[("always", 1)]),
    (
        "last_order_date >= -7d OR last_order_date < -7d OR last_order_date IS NULL",
        &[("always", 1)],
    ),
    ("last_order_date > -7d OR last_order_date < -7d OR last_order_date IS NULL", &[]),
];

#[test]
fn s1_doubtful_conditions_are_told_and_others_are_not() {
    for (text, told) in WARNINGS {
        let read = checked(text, Tz::UTC);
        let found: Vec<_> = read
            .warnings()
            .iter()
            .map(|warning| (warning.code, Place::of(text, warning.span.start).column))
            .collect();
        assert_eq!(found, *told, "{text}: {:?}", read.warnings());
    }
}
