//! Whether a customer is a member, rule by rule.

use super::*;
use crate::domain::consent::Channel;
use crate::domain::order::OrderStatus;
use serde_json::json;

const NOW: &str = "2026-06-15T12:00:00Z";

fn customer() -> Facts {
    let mut facts = Facts::bare(at("2026-03-29T12:00:00Z"));
    facts.tags = vec!["VIP".into(), "ĐÀ NẴNG".into()];
    facts.email_domain = "example.com".into();
    facts.locale = "vi-VN".into();
    facts.custom.insert("points".into(), json!(42));
    facts.custom.insert("shoe_size".into(), json!(41.5));
    facts.consents.insert(("marketing".into(), Channel::Email), true);
    facts.consents.insert(("marketing".into(), Channel::Sms), false);
    let order =
        |placed_at: &str, status, currency: &str, amount, items: &[(&str, i64)]| OrderFact {
            placed_at: at(placed_at),
            status,
            currency: currency.into(),
            amount,
            items: items.iter().map(|(sku, many)| ((*sku).to_owned(), *many)).collect(),
        };
    facts.orders = vec![
        order(
            "2026-06-01T12:00:00Z",
            OrderStatus::Completed,
            "USD",
            9_950,
            &[("tee", 2), ("mug", 1)],
        ),
        order("2026-05-01T12:00:00Z", OrderStatus::Placed, "USD", 1_000, &[("tee", 1)]),
        order("2026-06-10T12:00:00Z", OrderStatus::Cancelled, "USD", 50_000, &[("sofa", 1)]),
        order("2026-06-05T12:00:00Z", OrderStatus::Completed, "VND", 200_000, &[("tee", 5)]),
    ];
    let sums = |orders, spent, first: &str, last: &str| OrderSums {
        orders,
        spent,
        span: Some((at(first), at(last))),
    };
    let usd = sums(2, 10_950, "2026-05-01T12:00:00Z", "2026-06-01T12:00:00Z");
    let vnd = sums(1, 200_000, "2026-06-05T12:00:00Z", "2026-06-05T12:00:00Z");
    facts.statistics = [("USD".into(), usd), ("VND".into(), vnd)].into();
    facts.sign_ins = vec![at("2026-06-14T12:00:00Z"), at("2026-01-14T12:00:00Z")];
    facts
}

fn judge(cases: &[(&str, bool)]) {
    for (text, member) in cases {
        assert_eq!(is_member(text, &customer(), NOW, Tz::UTC), *member, "{text}");
    }
}

/// A comparison with an absent value is false, and so is its opposite; NOT turns either round.
#[test]
fn s4_missing_values() {
    judge(&[
        ("custom.nick = 'a'", false),
        ("custom.nick != 'a'", false),
        ("custom.nick IN ('a')", false),
        ("custom.nick NOT IN ('a')", false),
        ("NOT custom.nick = 'a'", true),
        ("NOT custom.nick != 'a'", true),
        ("custom.nick != 'a' OR custom.nick IS NULL", true),
        ("custom.nick IS NULL", true),
        ("custom.nick IS NOT NULL", false),
        ("date_of_birth < today", false),
        ("date_of_birth != today", false),
        ("last_sign_in_date NOT BETWEEN -7d AND today", false),
        ("anniversary(date_of_birth) = today", false),
        ("custom.newsletter = false", false),
        ("custom.newsletter != true", false),
        ("average_order_value.EUR > 0", false),
        ("average_order_value.EUR IS NULL", true),
        // what is counted is 0, and a list is empty: not absent
        ("amount_spent.EUR = 0", true),
        ("number_of_addresses = 0", true),
        ("customer_cities NOT CONTAINS 'Huế'", true),
        ("customer_cities IS NULL", true),
        ("custom.hobbies NOT CONTAINS 'chess'", true),
        ("rfm_group = 'lost'", false),
        ("rfm_group != 'lost'", false),
    ]);
}

/// Exact, but members of lists in any case; accents count.
#[test]
fn s4_texts() {
    judge(&[
        ("customer_email_domain = 'example.com'", true),
        ("customer_email_domain = 'Example.com'", false),
        ("customer_tags CONTAINS 'vip'", true),
        ("customer_tags CONTAINS 'đà nẵng'", true),
        ("customer_tags CONTAINS 'Đà Nẵng'", true),
        ("customer_tags CONTAINS 'da nang'", false),
        ("customer_tags NOT CONTAINS 'ViP'", false),
        ("customer_tags IN ('x', 'Vip')", true),
        ("customer_tags NOT IN ('x', 'y')", true),
        ("customer_language = 'vi'", true),
        ("customer_locale = 'vi-VN'", true),
        ("group IN ('retail', 'other')", true),
    ]);
}

#[test]
fn s4_numbers_are_exact() {
    judge(&[
        ("custom.points = 42.0", true),
        ("custom.points > 41.999999999", true),
        ("custom.shoe_size = 41.5", true),
        ("custom.shoe_size IN (41, 41.500)", true),
        ("custom.shoe_size BETWEEN 41.5 AND 41.5", true),
        ("custom.shoe_size NOT BETWEEN 42 AND 41", true),
        ("amount_spent = 109.5", true),
        ("amount_spent = 10950", false),
        ("amount_spent > 109.499999999", true),
        ("average_order_value = 54.75", true),
        ("amount_spent.VND = 200000", true),
        ("number_of_orders = 3", true),
    ]);
}

#[test]
fn s4_consents() {
    judge(&[
        ("consent.marketing = true", true),
        ("consent.marketing.email = true", true),
        ("consent.marketing.sms = false", true),
        ("consent.marketing.push = false", true),
        ("consent.analytics = true", false),
        ("email_subscription_status = 'subscribed'", true),
        ("sms_subscription_status = 'unsubscribed'", true),
        ("push_subscription_status = 'not_subscribed'", true),
    ]);
}

#[test]
fn s4_functions() {
    judge(&[
        ("orders_placed MATCHES ()", true),
        ("orders_placed NOT MATCHES ()", false),
        ("orders_placed MATCHES (count = 3)", true),
        // amounts are of the currency of record
        ("orders_placed MATCHES (amount > 0, count = 2)", true),
        ("orders_placed MATCHES (sum_amount = 109.5)", true),
        ("orders_placed MATCHES (sum_amount >= 200000, currency = 'VND')", true),
        ("orders_placed MATCHES (currency = 'VND', count = 1)", true),
        ("orders_placed MATCHES (date >= -30d, count = 2)", true),
        ("orders_placed MATCHES (date >= -30d, date < 2026-06-02, count = 1)", true),
        ("orders_placed MATCHES (status = 'cancelled')", true),
        ("orders_placed MATCHES (status != 'completed', count = 2)", true),
        ("orders_placed MATCHES (sku = 'tee', count = 3)", true),
        ("orders_placed MATCHES (sku = 'sofa')", false),
        ("orders_placed MATCHES (sku != 'mug', count = 2)", true),
        // of none, the sum is 0
        ("orders_placed MATCHES (sku = 'sofa', sum_amount = 0)", true),
        ("orders_placed MATCHES (sku = 'sofa', count = 0)", true),
        ("orders_placed MATCHES (sku = 'sofa', sum_amount = 0, count > 0)", false),
        ("products_purchased MATCHES (sku = 'tee')", true),
        ("products_purchased MATCHES (sku = 'TEE')", false),
        ("products_purchased MATCHES (sku = 'tee', sum_quantity = 8)", true),
        ("products_purchased MATCHES (sku = 'tee', date >= 2026-06-01, sum_quantity = 7)", true),
        ("products_purchased MATCHES (quantity >= 2, count = 2)", true),
        ("products_purchased MATCHES (sku NOT IN ('tee', 'mug'))", false),
        ("signed_in MATCHES (date >= -7d)", true),
        ("signed_in MATCHES (date >= -1y, count >= 3)", false),
    ]);
}

/// In Berlin the customer came on the day of 23 hours.
#[test]
fn s4_dates_are_whole_local_days() {
    let berlin = Tz::Europe__Berlin;
    let cases = [
        ("customer_added_date = 2026-03-29", "2026-03-28T23:00:00Z", true),
        ("customer_added_date = 2026-03-29", "2026-03-28T22:59:59.999999Z", false),
        ("customer_added_date = 2026-03-29", "2026-03-29T21:59:59.999999Z", true),
        ("customer_added_date = 2026-03-29", "2026-03-29T22:00:00Z", false),
        ("customer_added_date > 2026-03-29", "2026-03-29T21:59:59Z", false),
        ("customer_added_date > 2026-03-29", "2026-03-29T22:00:00Z", true),
        ("customer_added_date <= 2026-03-29", "2026-03-29T21:59:59Z", true),
        ("customer_added_date <= 2026-03-29", "2026-03-29T22:00:00Z", false),
        ("customer_added_date < 2026-03-29", "2026-03-28T23:00:00Z", false),
        ("customer_added_date != 2026-03-29", "2026-03-29T22:00:00Z", true),
        // a second; one that is skipped is the instant of the skip
        ("customer_added_date = 2026-03-29T08:00:00", "2026-03-29T06:00:00.5Z", true),
        ("customer_added_date > 2026-03-29T08:00:00", "2026-03-29T06:00:00.5Z", false),
        ("customer_added_date >= 2026-03-29T02:30:00", "2026-03-29T01:00:00Z", true),
        ("customer_added_date >= 2026-03-29T02:30:00", "2026-03-29T00:59:59Z", false),
        // one that comes twice is its first
        ("customer_added_date >= 2026-10-25T02:30:00", "2026-10-25T00:30:00Z", true),
        // from today, 15 June
        ("customer_added_date = today", "2026-06-14T22:00:00Z", true),
        ("customer_added_date = yesterday", "2026-06-14T21:59:59Z", true),
        ("customer_added_date = -2w", "2026-06-01T12:00:00Z", true),
        ("customer_added_date = +1d", "2026-06-16T12:00:00Z", true),
        ("customer_added_date = -1y", "2025-06-15T12:00:00Z", true),
        ("customer_added_date > -24h", "2026-06-14T12:00:00Z", false),
        ("customer_added_date >= -24h", "2026-06-14T12:00:00Z", true),
        ("customer_added_date BETWEEN -24h AND today", "2026-06-15T21:59:59Z", true),
        ("customer_added_date IN (2026-06-01, -14d, today)", "2026-06-01T12:00:00Z", true),
        ("anniversary(customer_added_date) = today", "2024-06-15T12:00:00Z", true),
        // not on the day itself
        ("anniversary(customer_added_date) = today", "2026-06-15T12:00:00Z", false),
        ("anniversary(customer_added_date) BETWEEN -1m AND today", "2023-05-15T12:00:00Z", true),
        (
            "anniversary(customer_added_date) BETWEEN 2025-12-30 AND 2026-01-02",
            "2020-01-01T12:00:00Z",
            true,
        ),
        (
            "anniversary(customer_added_date) BETWEEN 2025-12-30 AND 2026-01-02",
            "2020-01-03T12:00:00Z",
            false,
        ),
    ];
    for (text, added_at, member) in cases {
        let facts = Facts::bare(at(added_at));
        assert_eq!(is_member(text, &facts, NOW, berlin), member, "{text}, added at {added_at}");
    }
}

#[test]
fn s4_segments() {
    let mut facts = customer();
    facts.segments.insert("it's".into());
    assert!(is_member("IN SEGMENT 'it\\'s' AND NOT IN SEGMENT 'all'", &facts, NOW, Tz::UTC));
    assert!(!is_member("IN SEGMENT 'all'", &facts, NOW, Tz::UTC));
}

/// What the customer has, which clause decides, since when, and until when.
#[test]
fn s4_an_explanation_says_why_and_since_when() {
    let text = "customer_tags CONTAINS 'vip' AND (last_order_date > -7d OR custom.nick = 'a')";
    let told = explain(&checked(text, Tz::UTC), &customer(), at(NOW));
    assert!(!told.member);
    let deciding: Vec<_> = told.deciding().iter().map(|part| part.text.as_str()).collect();
    assert_eq!(deciding, ["last_order_date > -7d", "custom.nick = 'a'"]);
    let inner = &told.tree.members[1].members;
    assert_eq!(inner[0].value.as_deref(), Some("2026-06-05T12:00:00Z"));
    assert_eq!((inner[1].value.as_deref(), inner[1].absent), (None, true));
    assert_eq!(inner[0].since, Some(at("2026-06-12T00:00:00Z")));
    assert_eq!(told.tree.members[0].value.as_deref(), Some("VIP, ĐÀ NẴNG"));

    let text =
        "orders_placed MATCHES (date >= -30d, sum_amount > 90) AND customer_added_date > -1y";
    let told = explain(&checked(text, Tz::UTC), &customer(), at(NOW));
    assert!(told.member);
    assert_eq!(told.tree.members[0].value.as_deref(), Some("sum_amount 99.5 USD"));
    assert_eq!(told.next_flip, Some(at("2026-07-02T00:00:00Z")));
    assert_eq!(told.deciding().len(), 2);
    assert!(told.since.is_some());
}
