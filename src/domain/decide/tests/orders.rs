//! Order facts and what they come to (rule O1): whatever the order of arrival, however often, and in
//! whichever batches.

use super::*;
use crate::domain::event::OrderEvent;
use crate::domain::money::Money;
use crate::domain::order::{
    Cause, Counted, Gone, Item, Order, OrderFact, OrderId, OrderStatus, Orders, Span, Statistics,
};
use crate::domain::wishlist::Sku;
use OrderStatus::{Cancelled, Completed, Placed, Refunded};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

pub(super) fn order_id(n: u8) -> OrderId {
    OrderId::parse(&format!("ORD-{n}")).unwrap()
}

pub(super) fn currency(code: &str) -> Currency {
    Currency::parse(code).unwrap()
}

pub(super) fn money(amount: i64, code: &str) -> Money {
    Money::new(amount, currency(code)).unwrap()
}

/// Order `n`, placed at second `n`, of 1,000 dong.
pub(super) fn fact(n: u8, version: i64, status: OrderStatus) -> OrderFact {
    OrderFact {
        order_id: order_id(n),
        customer_id: customer_id(),
        version,
        status,
        placed_at: at(i64::from(n)),
        completed_at: None,
        total: money(1_000, "VND"),
        refunded: 0,
        items: vec![Item { sku: Sku::parse("A").unwrap(), quantity: 2 }],
    }
}

fn record(fact: OrderFact) -> Command {
    Command::Order(OrderCommand::Record(Box::new(fact)))
}

pub(super) fn hears(state: State, fact: OrderFact) -> Then {
    given(state).by(Actor::Service).when(record(fact))
}

pub(super) fn of(then: &Then, code: &str) -> Statistics {
    then.after.orders.statistics[&currency(code)].clone()
}

/// Placed, completed, cancelled, refunded; spent, paid back.
pub(super) fn numbers(s: &Statistics) -> ([u32; 4], [i64; 2]) {
    ([s.placed, s.completed, s.cancelled, s.refunded], [s.spent, s.paid_back])
}

// --- for the other tests of this folder ---------------------------------------------------------

/// Who tells of it: of orders the service alone does.
pub(super) fn teller(command: &Command, actor: Actor) -> Actor {
    if matches!(command, Command::Order(_)) { Actor::Service } else { actor }
}

/// For random sequences; `a` and `b` are small, so that facts meet.
pub(super) fn some(a: u8, b: u8) -> Command {
    let mut fact = fact(a % 3, i64::from(b) + 1, OrderStatus::ALL[usize::from((a + b) % 4)]);
    fact.placed_at = at(i64::from(b) * 100);
    fact.refunded = i64::from(b) * 300;
    if b == 4 {
        fact.total = money(70, "EUR");
    }
    record(fact)
}

/// What a customer has of three orders, as it is loaded for a merge.
pub(super) fn three() -> Orders {
    let statistics = Statistics {
        placed: 1,
        completed: 1,
        refunded: 1,
        spent: 2_000,
        paid_back: 1_000,
        span: Some(Span { first: at(-900), last: at(900) }),
        version: 7,
        ..Statistics::default()
    };
    Orders { count: 3, statistics: [(currency("VND"), statistics)].into(), ..Orders::default() }
}

pub(super) fn sound(orders: &Orders) {
    for (currency, statistics) in &orders.statistics {
        let none = statistics.number_of_orders() == 0;
        assert_eq!(statistics.span.is_none(), none, "O2: {currency:?}");
        assert!(statistics.span.is_none_or(|span| span.first <= span.last));
        assert!(statistics.spent >= 0 && statistics.paid_back >= 0 && statistics.version >= 1);
    }
}

pub(super) fn events() -> Vec<Event> {
    let order = Box::new(Order { fact: fact(1, 1, Placed), recorded_at: at(1) });
    let counted = |cause, order_id| {
        let statistics = Statistics { version: 2, ..Statistics::default() };
        let changed = vec!["orders.placed".into(), "first_order_at".into()];
        Box::new(Counted { currency: currency("VND"), statistics, changed, order_id, cause })
    };
    let mut events = vec![
        OrderEvent::Recorded { order: order.clone(), counted: None },
        OrderEvent::Recorded { order, counted: Some(counted(Cause::Fact, Some(order_id(1)))) },
    ];
    let causes = [Cause::Fact, Cause::Merge, Cause::Reconciliation];
    events.extend(causes.map(|cause| OrderEvent::Counted(counted(cause, None))));
    events.into_iter().map(Event::Order).collect()
}

// --- one fact ---------------------------------------------------------------------------------

#[test]
fn o1_a_fact_is_kept_counted_and_told_without_amounts() {
    let then = hears(active(), fact(1, 3, Placed)).happens(&["Order"]);
    assert_eq!(then.outcome(), Outcome::Order { recorded: true });
    let statistics = of(&then, "VND");
    assert_eq!(numbers(&statistics), ([1, 0, 0, 0], [1_000, 0]));
    assert_eq!(statistics.span, Some(Span::at(at(1))));
    assert_eq!((statistics.version, statistics.updated_at), (1, at(1_000)));
    let kept = &then.after.orders.facts[&order_id(1)];
    assert_eq!((&kept.fact, kept.recorded_at), (&fact(1, 3, Placed), at(1_000)));
    assert_eq!(
        then.messages(),
        [(
            "statistics.updated",
            json!({ "customer_id": customer_id(), "order_id": "ORD-1", "currency": "VND",
                    "changed": ["number_of_orders", "orders.placed", "spent", "average",
                                "first_order_at", "last_order_at"],
                    "cause": "fact", "version": 1 })
        )]
    );
    let trace = then.events()[0].trace().unwrap();
    assert_eq!(trace.action, "order.recorded");
    assert_eq!(
        trace.data,
        json!({ "order_id": "ORD-1", "status": "placed", "version": 3,
                "changed": then.messages()[0].1["changed"] })
    );
    let (before, after) = then.versions();
    assert_eq!(before, after, "an order is no change of the customer");
}

#[test]
fn o1_what_is_known_or_out_of_date_changes_nothing() {
    let known = hears(active(), fact(1, 3, Completed)).after;
    for version in [1, 2, 3] {
        let mut late = fact(1, version, Cancelled);
        late.total = money(9, "EUR");
        let then = hears(known.clone(), late).changes_nothing();
        assert_eq!(then.outcome(), Outcome::Order { recorded: false });
        assert_eq!(then.before, then.after);
    }
    hears(known, fact(1, 4, Cancelled)).happens(&["Order"]);
}

#[test]
fn o1_each_move_of_an_order_counts_as_if_it_had_been_nothing_else() {
    let of_status = |status| {
        let mut fact = fact(1, 1, status);
        fact.refunded = if status == Refunded { 400 } else { 0 };
        fact
    };
    let alone = |status| match status {
        Placed => ([1, 0, 0, 0], [1_000, 0]),
        Completed => ([0, 1, 0, 0], [1_000, 0]),
        Cancelled => ([0, 0, 1, 0], [0, 0]),
        Refunded => ([0, 0, 0, 1], [600, 400]),
    };
    for from in OrderStatus::ALL {
        for to in OrderStatus::ALL {
            let before = hears(active(), of_status(from)).after;
            let then = hears(before, OrderFact { version: 2, ..of_status(to) });
            let statistics = of(&then, "VND");
            assert_eq!(numbers(&statistics), alone(to), "{from:?} to {to:?}");
            let counts = (to != Cancelled).then(|| Span::at(at(1)));
            assert_eq!(statistics.span, counts, "{from:?} to {to:?}");
            assert_eq!(then.messages().len(), usize::from(from != to));
        }
    }
}

#[test]
fn o1_no_refund_takes_spent_below_zero() {
    for (refunded, spent, paid_back) in [(0, 1_000, 0), (999, 1, 999), (5_000, 0, 1_000)] {
        for status in [Placed, Completed, Refunded] {
            let then = hears(active(), OrderFact { refunded, ..fact(1, 1, status) });
            assert_eq!(numbers(&of(&then, "VND")).1, [spent, paid_back], "{refunded}");
        }
        let then = hears(active(), OrderFact { refunded, ..fact(1, 1, Cancelled) });
        assert_eq!(numbers(&of(&then, "VND")).1, [0, 0]);
    }
}

#[test]
fn s2_what_changes_no_number_changes_what_segments_look_at() {
    let before = hears(active(), fact(1, 1, Placed)).after;
    let mut next = fact(1, 2, Placed);
    next.items = vec![Item { sku: Sku::parse("B").unwrap(), quantity: 1 }];
    let then = hears(before.clone(), next.clone()).happens(&["Order"]);
    let then = then.tells(&["statistics.updated"]);
    assert_eq!(then.messages()[0].1["changed"], serde_json::json!(["orders"]));
    assert_eq!(then.outcome(), Outcome::Order { recorded: true });
    assert_eq!(then.after.orders.facts[&order_id(1)].fact, next);
    assert_eq!(of(&then, "VND").version, 2);
    // A version that says the same is kept, and told to nobody.
    let same = hears(before, fact(1, 2, Placed)).happens(&["Order"]).tells(&[]);
    assert_eq!(of(&same, "VND").version, 1);
}

#[test]
fn o2_the_first_and_the_last_order_are_found_again_when_they_move_or_are_cancelled() {
    let mut state = active();
    for n in [20, 30, 40] {
        state = hears(state, fact(n, 1, Placed)).after;
    }
    // Of the orders that this batch does not name, which nobody has read.
    let others = Span { first: at(25), last: at(35) };
    state.orders.others.insert(currency("VND"), others);
    let span = |first, last| Some(Span { first: at(first), last: at(last) });
    assert_eq!(of(&hears(state.clone(), fact(50, 1, Placed)), "VND").span, span(20, 50));
    assert_eq!(of(&hears(state.clone(), fact(10, 1, Placed)), "VND").span, span(10, 40));
    let first_cancelled = hears(state.clone(), fact(20, 2, Cancelled));
    assert_eq!(of(&first_cancelled, "VND").span, span(25, 40));
    let last_cancelled = hears(first_cancelled.after, fact(40, 2, Cancelled));
    assert_eq!(of(&last_cancelled, "VND").span, span(25, 35));
    let redated = OrderFact { placed_at: at(33), ..fact(20, 2, Placed) };
    assert_eq!(of(&hears(state.clone(), redated), "VND").span, span(25, 40));
    // Of another currency are none of them.
    let then = hears(state, OrderFact { total: money(5, "EUR"), ..fact(60, 1, Placed) });
    assert_eq!((of(&then, "EUR").span, of(&then, "VND").span), (span(60, 60), span(20, 40)));
}

#[test]
fn an_order_that_is_in_another_currency_now_leaves_the_one_it_was_in() {
    let before = hears(active(), fact(1, 1, Completed)).after;
    let next = OrderFact { total: money(50, "EUR"), ..fact(1, 2, Completed) };
    let then = hears(before, next).happens(&["Order", "Order"]);
    let told = then.messages();
    let currencies: Vec<_> = told.iter().map(|(_, data)| data["currency"].clone()).collect();
    assert_eq!(currencies, ["VND", "EUR"]);
    assert_eq!((numbers(&of(&then, "VND")), of(&then, "VND").span), (([0; 4], [0; 2]), None));
    assert_eq!(numbers(&of(&then, "EUR")), ([0, 1, 0, 0], [50, 0]));
    assert_eq!((of(&then, "VND").version, of(&then, "EUR").version), (2, 1));
}

#[test]
fn averages_are_to_the_nearest_minor_unit_and_changes_have_names() {
    let of = |placed, spent| Statistics { placed, spent, ..Statistics::default() };
    for (number, spent, average) in [(0, 0, None), (3, 1_000, Some(333)), (3, 1_001, Some(334))] {
        assert_eq!(of(number, spent).average(), average);
    }
    let half = Statistics { placed: 2, spent: 5, ..Statistics::default() };
    assert_eq!(half.average(), Some(3));
    let all = Statistics {
        placed: 1,
        completed: 2,
        cancelled: 3,
        refunded: 4,
        spent: 5,
        paid_back: 6,
        span: Some(Span::at(at(7))),
        ..Statistics::default()
    };
    assert_eq!(
        all.changed_since(&Statistics::default()),
        [
            "number_of_orders",
            "orders.placed",
            "orders.completed",
            "orders.cancelled",
            "orders.refunded",
            "spent",
            "refunded",
            "average",
            "first_order_at",
            "last_order_at"
        ]
    );
    let touched = Statistics { version: 9, updated_at: at(9), ..all.clone() };
    assert_eq!(touched.changed_since(&all), Vec::<String>::new());
}

#[test]
fn sums_have_an_end() {
    let most = OrderFact { total: money(Money::MAX, "VND"), ..fact(1, 1, Placed) };
    let full = hears(active(), most).after;
    let then = hears(full.clone(), fact(2, 1, Placed));
    match then.decision {
        Err(Rejection::Invalid { pointer: "#/total", fault }) => {
            assert_eq!(fault.code, "out_of_range");
        }
        other => panic!("{other:?}"),
    }
    hears(full, fact(2, 1, Cancelled)).happens(&["Order"]);
}

#[test]
fn statistics_that_are_wrong_stop_no_fact() {
    let mut state = hears(active(), fact(1, 1, Placed)).after;
    let mut wrong = state.orders.statistics[&currency("VND")].clone();
    (wrong.placed, wrong.completed, wrong.spent) = (0, 3, 10);
    state.orders.statistics.insert(currency("VND"), wrong);
    let then = hears(state, fact(1, 2, Cancelled)).happens(&["Order"]);
    assert_eq!(numbers(&of(&then, "VND")), ([0, 3, 1, 0], [0, 0]));
    sound(&then.after.orders);
}

// --- whose ------------------------------------------------------------------------------------

#[test]
fn orders_are_kept_of_everybody_who_lives() {
    for status in Status::ALL {
        let then = hears(with_status(status), fact(1, 1, Placed));
        match status {
            Status::Erased => then.refused(Rejection::CustomerGone),
            _ => drop(then.happens(&["Order"])),
        }
    }
    hears(State::default(), fact(1, 1, Placed)).refused(Rejection::NotFound);
    let gone = |gone| State { orders: Orders { gone, ..Orders::default() }, ..State::default() };
    hears(gone(Some(Gone::Deleted)), fact(1, 1, Placed)).refused(Rejection::CustomerGone);
    let into = super::strangers::stranger_id(1);
    let merged = gone(Some(Gone::Merged { into }));
    hears(merged, fact(1, 1, Placed)).refused(Rejection::CustomerMerged { into });
    let deleted = given(active()).by(staff()).when(Command::DeleteCustomer { if_match: None });
    hears(deleted.after, fact(1, 1, Placed)).refused(Rejection::CustomerGone);
}

#[test]
fn only_the_service_speaks_for_the_order_service() {
    for actor in [owner(), staff(), Actor::Anonymous, Actor::Operator] {
        let then = given(active()).by(actor).when(record(fact(1, 1, Placed)));
        then.refused(Rejection::NotFound);
    }
}

#[test]
fn an_order_stays_its_customers() {
    let mut state = active();
    state.orders.elsewhere.insert(order_id(1));
    hears(state.clone(), fact(1, 9, Placed)).refused(Rejection::OrderOfAnotherCustomer);
    hears(state, fact(2, 1, Placed)).happens(&["Order"]);
    // Who was merged into the customer is meant as the customer.
    let named = super::strangers::stranger_id(1);
    let then = hears(active(), OrderFact { customer_id: named, ..fact(1, 1, Placed) });
    assert_eq!(then.after.orders.facts[&order_id(1)].fact.customer_id, customer_id());
}

#[test]
fn p1_active_orders_are_those_that_are_placed_in_any_currency() {
    let mut state = active();
    assert_eq!(state.orders.active(), 0);
    for (n, status) in [(1, Placed), (2, Completed), (3, Cancelled), (4, Refunded)] {
        state = hears(state, fact(n, 1, status)).after;
    }
    state = hears(state, OrderFact { total: money(5, "EUR"), ..fact(5, 1, Placed) }).after;
    assert_eq!(state.orders.active(), 2);
    assert_eq!(hears(state, fact(1, 2, Completed)).after.orders.active(), 1);
}

// --- merged -----------------------------------------------------------------------------------

#[test]
fn l10_what_orders_come_to_is_added_up_and_leaves_the_other() {
    let mut into = hears(active(), fact(100, 1, Cancelled)).after;
    into = hears(into, fact(101, 1, Placed)).after;
    let from = super::strangers::stranger(super::strangers::stranger_id(1), 0);
    let both = State { other: Some(Box::new(from)), ..into };
    let merge = super::strangers::merge_of(super::strangers::stranger_id(1), false);
    let then = given(both).by(staff()).when(merge);
    let statistics = of(&then, "VND");
    assert_eq!(numbers(&statistics), ([2, 1, 1, 1], [3_000, 1_000]));
    assert_eq!(statistics.span, Some(Span { first: at(-900), last: at(900) }));
    assert_eq!(statistics.version, 3);
    let told: Vec<_> = then.messages();
    let (_, told) = told.iter().find(|(kind, _)| *kind == "statistics.updated").unwrap();
    assert_eq!((&told["cause"], &told["order_id"]), (&json!("merge"), &Value::Null));
    assert_eq!(then.after.other.as_ref().unwrap().orders, Orders::default());
}

// --- whatever comes in whatever order ---------------------------------------------------------

/// What is in the tables, as far as the load and the save of a batch know it.
#[derive(Default)]
struct Tables {
    facts: BTreeMap<OrderId, Order>,
    statistics: BTreeMap<Currency, Statistics>,
}

impl Tables {
    /// As a batch that names these orders loads them.
    fn load(&self, named: &[OrderId]) -> Orders {
        let (facts, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.facts.clone().into_iter().partition(|(id, _)| named.contains(id));
        let mut others = BTreeMap::new();
        for Order { fact, .. } in rest.values().filter(|order| order.fact.counts()) {
            let span = Span::at(fact.placed_at);
            let known = others.entry(fact.total.currency().clone()).or_insert(span);
            *known = known.and(span);
        }
        Orders { facts, others, statistics: self.statistics.clone(), ..Orders::default() }
    }

    fn batch(&mut self, facts: &[OrderFact]) {
        let named: Vec<_> = facts.iter().map(|fact| fact.order_id.clone()).collect();
        let mut state = State { orders: self.load(&named), ..active() };
        for fact in facts {
            let then = hears(state, fact.clone());
            sound(&then.after.orders);
            state = then.after;
        }
        self.facts.append(&mut state.orders.facts);
        self.statistics = state.orders.statistics;
    }
}

/// The same from scratch, without what tells how often it was changed.
fn from_scratch(facts: &[OrderFact]) -> BTreeMap<Currency, Statistics> {
    let mut newest: BTreeMap<&OrderId, &OrderFact> = BTreeMap::new();
    for fact in facts {
        let known = newest.entry(&fact.order_id).or_insert(fact);
        *known = if fact.version > known.version { fact } else { *known };
    }
    let mut all: BTreeMap<Currency, Statistics> = BTreeMap::new();
    for fact in newest.into_values() {
        let of = all.entry(fact.total.currency().clone()).or_default();
        match fact.status {
            Placed => of.placed += 1,
            Completed => of.completed += 1,
            Cancelled => of.cancelled += 1,
            Refunded => of.refunded += 1,
        }
        if fact.status != Cancelled {
            of.spent += (fact.total.amount() - fact.refunded).max(0);
            of.paid_back += fact.refunded.min(fact.total.amount());
            let span = Span::at(fact.placed_at);
            of.span = Some(of.span.map_or(span, |known| known.and(span)));
        }
    }
    all
}

/// A version of an order: it moves, is dated anew, refunded, and now and then in another currency.
fn versions() -> impl Strategy<Value = OrderFact> {
    let currency = prop_oneof![4 => Just("VND"), 1 => Just("EUR")];
    (0..5_u8, 1..5_i64, 0..4_usize, 0..6_i64, 0..4_i64, 0..5_i64, currency).prop_map(
        |(order, version, status, day, total, refunded, code)| OrderFact {
            placed_at: at(day * DAY),
            total: money(total * 100, code),
            refunded: refunded * 90,
            ..fact(order, version, OrderStatus::ALL[status])
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn o1_any_facts_in_any_order_and_any_batches_come_to_the_same(
        all in prop::collection::vec(versions(), 1..40),
        order in prop::collection::vec(any::<prop::sample::Index>(), 1..120),
        sizes in prop::collection::vec(1..9_usize, 1..8),
    ) {
        // Of one version of an order there is one fact.
        let all: BTreeMap<_, _> =
            all.into_iter().map(|fact| ((fact.order_id.clone(), fact.version), fact)).collect();
        let all: Vec<OrderFact> = all.into_values().collect();
        let arriving: Vec<_> = order.iter().map(|index| index.get(&all).clone()).collect();
        let mut tables = Tables::default();
        let mut rest = &arriving[..];
        for size in sizes.iter().cycle() {
            let (batch, later) = rest.split_at((*size).min(rest.len()));
            if batch.is_empty() {
                break;
            }
            tables.batch(batch);
            rest = later;
        }
        let expected = from_scratch(&arriving);
        for (currency, statistics) in &tables.statistics {
            let expected = expected.get(currency).cloned().unwrap_or_default();
            prop_assert_eq!(numbers(statistics), numbers(&expected));
            prop_assert_eq!(statistics.span, expected.span);
        }
        prop_assert!(expected.keys().all(|currency| tables.statistics.contains_key(currency)));
    }
}
