//! Statistics that are not what the facts come to, and what puts them right (rule O4).

use super::orders::{currency, fact, hears, money, numbers, of};
use super::*;
use crate::domain::order::{Gone, OrderFact, OrderStatus, Orders, Span, Statistics};
use serde_json::json;

fn reconcile(state: State) -> Then {
    given(state).by(Actor::Service).when(Command::Order(OrderCommand::Reconcile))
}

/// What a customer with two orders in dong and one in euro has, counted anew as well.
fn counted() -> State {
    let mut state = hears(active(), fact(1, 1, OrderStatus::Placed)).after;
    state = hears(state, OrderFact { refunded: 400, ..fact(5, 1, OrderStatus::Refunded) }).after;
    let euro = OrderFact { total: money(70, "EUR"), ..fact(9, 1, OrderStatus::Cancelled) };
    state = hears(state, euro).after;
    // Neither the version nor the time is counted.
    let bare = |statistics: &Statistics| Statistics {
        version: 0,
        updated_at: DateTime::default(),
        ..statistics.clone()
    };
    let statistics = state.orders.statistics.iter();
    state.orders.recounted = statistics.map(|(key, one)| (key.clone(), bare(one))).collect();
    state
}

/// With one thing of the kept statistics in dong made wrong.
fn broken(wrong: fn(&mut Statistics)) -> State {
    let mut state = counted();
    wrong(state.orders.statistics.get_mut(&currency("VND")).unwrap());
    state
}

#[test]
fn o4_what_is_right_stays_untouched() {
    let then = reconcile(counted()).changes_nothing();
    assert_eq!(then.outcome(), Outcome::Reconciled { currencies: 0 });
    reconcile(active()).changes_nothing();
    // Every order left the currency: nothing is what nothing comes to.
    let mut left = counted();
    left.orders.statistics.insert(
        currency("USD"),
        Statistics { version: 4, updated_at: at(1), ..Statistics::default() },
    );
    reconcile(left).changes_nothing();
}

#[test]
fn o4_each_wrong_number_is_found_named_and_put_right() {
    type Row = (fn(&mut Statistics), &'static [&'static str]);
    let rows: [Row; 8] = [
        (|s| s.placed = 0, &["number_of_orders", "orders.placed", "average"]),
        (|s| s.completed = 7, &["number_of_orders", "orders.completed", "average"]),
        (|s| s.cancelled = 1, &["orders.cancelled"]),
        (|s| s.refunded = 3, &["number_of_orders", "orders.refunded", "average"]),
        (|s| s.spent = 9, &["spent", "average"]),
        (|s| s.paid_back = 0, &["refunded"]),
        (|s| s.span = Some(Span { first: at(-9), last: at(5) }), &["first_order_at"]),
        (|s| s.span = None, &["first_order_at", "last_order_at"]),
    ];
    for (wrong, names) in rows {
        let before = broken(wrong);
        let then = reconcile(before.clone()).happens(&["Order"]);
        assert_eq!(then.outcome(), Outcome::Reconciled { currencies: 1 });
        let mended = of(&then, "VND");
        let sound = &counted().orders.statistics[&currency("VND")];
        assert_eq!((numbers(&mended), mended.span), (numbers(sound), sound.span), "{names:?}");
        assert_eq!((mended.version, mended.updated_at), (sound.version + 1, at(1_000)));
        let told = then.messages();
        assert_eq!(
            told,
            [(
                "statistics.updated",
                json!({ "customer_id": customer_id(), "order_id": null, "currency": "VND",
                        "changed": names, "cause": "reconciliation",
                        "version": sound.version + 1 })
            )]
        );
        let trace = then.events()[0].trace().unwrap();
        assert_eq!(
            (trace.action, &trace.data["cause"]),
            ("statistics.updated", &json!("reconciliation"))
        );
        // The same again finds nothing.
        reconcile(then.after).changes_nothing();
    }
}

#[test]
fn o4_statistics_that_are_missing_or_of_no_order_are_wrong_too() {
    let mut state = counted();
    state.orders.statistics.remove(&currency("EUR"));
    let invented = Statistics { cancelled: 2, version: 3, ..Statistics::default() };
    state.orders.statistics.insert(currency("USD"), invented);
    let then = reconcile(state).happens(&["Order", "Order"]);
    assert_eq!(then.outcome(), Outcome::Reconciled { currencies: 2 });
    assert_eq!((numbers(&of(&then, "EUR")), of(&then, "EUR").version), (([0, 0, 1, 0], [0, 0]), 1));
    assert_eq!((numbers(&of(&then, "USD")), of(&then, "USD").version), (([0; 4], [0; 2]), 4));
}

#[test]
fn o4_differences_have_both_values_as_people_read_them() {
    let sound = counted().orders.statistics[&currency("VND")].clone();
    let wrong = broken(|s| {
        s.placed = 3;
        s.spent = 12;
        s.span = None;
    });
    let wrong = &wrong.orders.statistics[&currency("VND")];
    let told: Vec<_> = wrong
        .differences(&sound)
        .into_iter()
        .map(|one| (one.field, one.kept.unwrap_or_default(), one.found.unwrap_or_default()))
        .collect();
    let text = str::to_owned;
    let instant = |second| at(second).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    assert_eq!(
        told,
        [
            ("orders.placed", text("3"), text("1")),
            ("spent", text("12"), text("1600")),
            ("first_order_at", text(""), instant(1)),
            ("last_order_at", text(""), instant(5)),
        ]
    );
    assert_eq!(sound.differences(&sound), []);
}

#[test]
fn o4_the_service_and_operators_put_right_whoever_lives() {
    let wrong = || broken(|s| s.spent = 9);
    let by = |actor| given(wrong()).by(actor).when(Command::Order(OrderCommand::Reconcile));
    by(Actor::Operator).happens(&["Order"]);
    for actor in [owner(), staff(), Actor::Anonymous] {
        by(actor).refused(Rejection::NotFound);
    }
    reconcile(State::default()).refused(Rejection::NotFound);
    let gone = Orders { gone: Some(Gone::Deleted), ..Orders::default() };
    reconcile(State { orders: gone, ..State::default() }).refused(Rejection::CustomerGone);
    for status in Status::ALL {
        let then = reconcile(State { orders: wrong().orders, ..with_status(status) });
        match status {
            Status::Erased => then.refused(Rejection::CustomerGone),
            _ => drop(then.happens(&["Order"])),
        }
    }
}

#[test]
fn a_reconciliation_stands_alone_and_names_no_order() {
    let command = Command::Order(OrderCommand::Reconcile);
    assert!(command.stands_alone() && command.order().is_none());
    assert!(command.needs().statistics && command.needs().recount);
    let record = Command::Order(OrderCommand::Record(Box::new(fact(1, 1, OrderStatus::Placed))));
    assert!(!record.stands_alone() && !record.needs().recount);
}
