//! One customer, and whether it is a member, rule by rule: asked in memory here, and of PostgreSQL by
//! `tests/it/segments.rs`. Whoever includes this file has `domain` in scope.

use super::domain::consent::Channel;
use super::domain::order::OrderStatus;
use super::domain::segment::{Facts, OrderFact, OrderSums};
use chrono::{DateTime, Utc};
use serde_json::json;

/// The instant at which it is asked, in UTC.
pub const NOW: &str = "2026-06-15T12:00:00Z";

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A customer of the group retail, of whom much is not known.
pub fn customer() -> Facts {
    let mut facts = Facts::bare(at("2026-03-29T12:00:00Z"));
    facts.tags = vec!["VIP".into(), "ĐÀ NẴNG".into()];
    facts.email_domain = "example.com".into();
    facts.locale = "vi-VN".into();
    facts.email_verified_at = Some(at("2026-06-08T00:00:00Z"));
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
        order("2026-05-01T12:00:00Z", OrderStatus::Placed, "USD", 1_002, &[("tee", 1)]),
        // more was paid back than it cost
        order("2026-04-01T12:00:00Z", OrderStatus::Refunded, "USD", 0, &[]),
        order("2026-06-10T12:00:00Z", OrderStatus::Cancelled, "USD", 50_000, &[("sofa", 1)]),
        order("2026-06-05T12:00:00Z", OrderStatus::Completed, "VND", 200_000, &[("tee", 5)]),
    ];
    let sums = |orders, spent, first: &str, last: &str| OrderSums {
        orders,
        spent,
        span: Some((at(first), at(last))),
    };
    let usd = sums(3, 10_952, "2026-04-01T12:00:00Z", "2026-06-01T12:00:00Z");
    let vnd = sums(1, 200_000, "2026-06-05T12:00:00Z", "2026-06-05T12:00:00Z");
    facts.statistics = [("USD".into(), usd), ("VND".into(), vnd)].into();
    facts.sign_ins = vec![at("2026-06-14T12:00:00Z"), at("2026-01-14T12:00:00Z")];
    facts
}

/// A comparison with an absent value is false, and so is its opposite; NOT turns either round.
pub const MISSING_VALUES: &[(&str, bool)] = &[
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
];

/// Exact, but members of lists in any case; accents count.
pub const TEXTS: &[(&str, bool)] = &[
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
];

pub const NUMBERS_ARE_EXACT: &[(&str, bool)] = &[
    ("custom.points = 42.0", true),
    ("custom.points > 41.999999999", true),
    ("custom.shoe_size = 41.5", true),
    ("custom.shoe_size IN (41, 41.500)", true),
    ("custom.shoe_size BETWEEN 41.5 AND 41.5", true),
    ("custom.shoe_size NOT BETWEEN 42 AND 41", true),
    ("amount_spent = 109.52", true),
    ("amount_spent = 10952", false),
    ("amount_spent > 109.519999999", true),
    // to the nearest cent
    ("average_order_value = 36.51", true),
    ("amount_spent.VND = 200000", true),
    ("number_of_orders = 4", true),
];

pub const CONSENTS: &[(&str, bool)] = &[
    ("consent.marketing = true", true),
    ("consent.marketing.email = true", true),
    ("consent.marketing.sms = false", true),
    ("consent.marketing.push = false", true),
    ("consent.analytics = true", false),
    ("email_subscription_status = 'subscribed'", true),
    ("sms_subscription_status = 'unsubscribed'", true),
    ("push_subscription_status = 'not_subscribed'", true),
];

pub const FUNCTIONS: &[(&str, bool)] = &[
    ("orders_placed MATCHES ()", true),
    ("orders_placed NOT MATCHES ()", false),
    ("orders_placed MATCHES (count = 4)", true),
    // amounts are of the currency of record
    ("orders_placed MATCHES (amount > 0, count = 2)", true),
    ("orders_placed MATCHES (sum_amount = 109.52)", true),
    ("orders_placed MATCHES (sum_amount >= 200000, currency = 'VND')", true),
    ("orders_placed MATCHES (currency = 'VND', count = 1)", true),
    ("orders_placed MATCHES (date >= -30d, count = 2)", true),
    ("orders_placed MATCHES (date >= -30d, date < 2026-06-02, count = 1)", true),
    ("orders_placed MATCHES (status = 'cancelled')", true),
    ("orders_placed MATCHES (status = 'refunded', amount = 0, sum_amount = 0)", true),
    ("orders_placed MATCHES (status != 'completed', count = 3)", true),
    ("orders_placed MATCHES (sku = 'tee', count = 3)", true),
    ("orders_placed MATCHES (sku = 'sofa')", false),
    ("orders_placed MATCHES (sku != 'mug', count = 3)", true),
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
];

/// The address was verified at the first instant of a day.
pub const DATES: &[(&str, bool)] = &[
    ("email_verified_date = -7d", true),
    ("email_verified_date = -1w", true),
    ("email_verified_date = -8d", false),
    ("email_verified_date >= -7d", true),
    ("email_verified_date > -7d", false),
    ("email_verified_date > -8d", true),
    ("email_verified_date < -7d", false),
    ("email_verified_date <= -7d", true),
    ("email_verified_date <= -8d", false),
    ("email_verified_date != -7d", false),
    ("email_verified_date = 2026-06-08T00:00:00", true),
    ("email_verified_date > 2026-06-08T00:00:00", false),
    ("email_verified_date >= -180h", true),
    ("email_verified_date > -180h", false),
    ("email_verified_date BETWEEN 2026-06-08 AND 2026-06-08", true),
    ("anniversary(email_verified_date) BETWEEN 2027-06-08 AND 2027-06-09", true),
    ("anniversary(email_verified_date) BETWEEN 2027-06-06 AND 2027-06-07", false),
    ("anniversary(email_verified_date) = -7d", false),
];
