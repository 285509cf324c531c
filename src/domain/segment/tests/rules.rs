//! Whether a customer is a member, rule by rule.

use super::cases::{self, NOW, customer};
use super::*;

fn judge(cases: &[(&str, bool)]) {
    for (text, member) in cases {
        assert_eq!(is_member(text, &customer(), NOW, Tz::UTC), *member, "{text}");
    }
}

/// A comparison with an absent value is false, and so is its opposite; NOT turns either round.
#[test]
fn s4_missing_values() {
    judge(cases::MISSING_VALUES);
}

/// Exact, but members of lists in any case; accents count.
#[test]
fn s4_texts() {
    judge(cases::TEXTS);
}

#[test]
fn s4_numbers_are_exact() {
    judge(cases::NUMBERS_ARE_EXACT);
}

#[test]
fn s4_consents() {
    judge(cases::CONSENTS);
}

#[test]
fn s4_functions() {
    judge(cases::FUNCTIONS);
}

#[test]
fn s4_a_day_begins_at_its_first_instant() {
    judge(cases::DATES);
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
    assert_eq!(told.missing.as_deref(), Some("last_order_date > -7d OR custom.nick = 'a'"));

    let text =
        "orders_placed MATCHES (date >= -30d, sum_amount > 90) AND customer_added_date > -1y";
    let told = explain(&checked(text, Tz::UTC), &customer(), at(NOW));
    assert!(told.member);
    assert_eq!(told.tree.members[0].value.as_deref(), Some("sum_amount 99.5 USD"));
    assert_eq!(told.next_flip, Some(at("2026-07-02T00:00:00Z")));
    assert_eq!(told.deciding().len(), 2);
    assert!(told.since.is_some());
    assert_eq!(told.missing, None);
}

/// What is missing is the rest of the condition, without what is so already.
#[test]
fn s4_an_explanation_says_what_is_missing() {
    let cases = [
        ("mfa_enabled = true", "mfa_enabled = true"),
        ("mfa_enabled = true AND customer_tags CONTAINS 'vip'", "mfa_enabled = true"),
        (
            "NOT (customer_tags CONTAINS 'vip' AND customer_type = 'individual') AND mfa_enabled = true",
            "(NOT customer_tags CONTAINS 'vip' OR NOT customer_type = 'individual') AND mfa_enabled = true",
        ),
        (
            "NOT (customer_tags CONTAINS 'vip' OR customer_type = 'business')",
            "NOT customer_tags CONTAINS 'vip'",
        ),
        (
            "mfa_enabled = true AND (number_of_orders > 10 OR custom.nick = 'a' AND group = 'retail')",
            "mfa_enabled = true AND (number_of_orders > 10 OR custom.nick = 'a')",
        ),
    ];
    for (text, missing) in cases {
        let told = explain(&checked(text, Tz::UTC), &customer(), at(NOW));
        assert_eq!(told.missing.as_deref(), Some(missing), "{text}");
    }
}
