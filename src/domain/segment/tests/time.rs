//! What time does to an answer: the next flip, against looking at every minute.

use super::*;
use chrono::TimeDelta;
use generate::Dice;
use proptest::prelude::*;

/// The instants to look at after now: every minute of two days, or about every midnight of a year.
fn samples(seed: u64, now: DateTime<Utc>, zone: Tz) -> Vec<DateTime<Utc>> {
    use crate::domain::analytics::calendar::{day_of, start_of};
    if seed.is_multiple_of(8) {
        return (1..=2 * 24 * 60).map(|minutes| now + TimeDelta::minutes(minutes)).collect();
    }
    let today = day_of(now, zone);
    let midnights = (1..=400).map(|days| start_of(today + chrono::Days::new(days), zone));
    let about = |at: DateTime<Utc>| {
        [at - TimeDelta::microseconds(1), at, at + TimeDelta::minutes(1), at + TimeDelta::hours(12)]
    };
    let mut samples: Vec<_> = midnights.flat_map(about).collect();
    let hours = (1..=72).map(|hours| now + TimeDelta::hours(hours));
    samples.extend(hours.flat_map(|at| [at, at + TimeDelta::microseconds(1)]));
    samples.sort();
    samples
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(
            std::env::var("SEGMENT_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100),
        )
    })]

    /// Never later than the true flip; and where it is not looked at again, exactly there.
    #[test]
    fn the_next_flip_is_never_late(seed: u64) {
        let mut dice = Dice::new(seed);
        let zone = generate::ZONES[dice.roll(generate::ZONES.len())];
        let text = generate::definition(&mut dice);
        let definition = checked(&text, zone);
        let now = generate::now(&mut dice, zone);
        let facts = generate::facts(&mut dice, now, zone);
        let answer = evaluate(&definition, &facts, now);
        if let Some(flip) = answer.next_flip {
            prop_assert!(flip > now);
            let before = evaluate(&definition, &facts, flip - TimeDelta::microseconds(1));
            prop_assert_eq!(before.member, answer.member, "just before {} in {}: {}", flip, zone, text);
            if !text.contains("anniversary") {
                let then = evaluate(&definition, &facts, flip);
                prop_assert_ne!(then.member, answer.member, "at {} in {}: {}", flip, zone, text);
            }
        }
        for at in samples(seed, now, zone) {
            if answer.next_flip.is_some_and(|flip| at >= flip) {
                break;
            }
            let member = domain::segment::evaluate::holds(
                definition.condition(), &facts, &when::Now::new(at, zone),
            );
            prop_assert_eq!(
                member, answer.member,
                "flips by {} already, told for {:?}; from {} in {}: {}",
                at, answer.next_flip, now, zone, text
            );
        }
    }
}

const BERLIN: Tz = Tz::Europe__Berlin;

/// Definition, last order, now, member, next flip: all in Berlin.
const FLIPS: &[(&str, &str, &str, bool, Option<&str>)] = &[
    // leaves at the start of local day D+N
    (
        "last_order_date > -7d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        true,
        Some("2026-03-16T23:00:00Z"),
    ),
    (
        "last_order_date >= -7d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        true,
        Some("2026-03-17T23:00:00Z"),
    ),
    // joins at the start of local day D+N+1
    (
        "last_order_date < -7d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        false,
        Some("2026-03-17T23:00:00Z"),
    ),
    (
        "last_order_date <= -7d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        false,
        Some("2026-03-16T23:00:00Z"),
    ),
    // over the change of clocks: the day begins an hour earlier
    (
        "last_order_date > -30d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        true,
        Some("2026-04-08T22:00:00Z"),
    ),
    // up to two instants: first it joins, then it leaves
    (
        "last_order_date BETWEEN -3d AND -2d",
        "2026-03-10T11:00:00Z",
        "2026-03-10T12:00:00Z",
        false,
        Some("2026-03-11T23:00:00Z"),
    ),
    (
        "last_order_date BETWEEN -3d AND -2d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T12:00:00Z",
        true,
        Some("2026-03-13T23:00:00Z"),
    ),
    (
        "last_order_date BETWEEN -3d AND -2d",
        "2026-03-10T11:00:00Z",
        "2026-03-14T12:00:00Z",
        false,
        None,
    ),
    (
        "last_order_date = today",
        "2026-03-10T11:00:00Z",
        "2026-03-10T12:00:00Z",
        true,
        Some("2026-03-10T23:00:00Z"),
    ),
    (
        "last_order_date = yesterday",
        "2026-03-10T11:00:00Z",
        "2026-03-10T12:00:00Z",
        false,
        Some("2026-03-10T23:00:00Z"),
    ),
    // a day of 23 hours, and one of 25
    (
        "last_order_date = today",
        "2026-03-29T11:00:00Z",
        "2026-03-28T23:00:00Z",
        true,
        Some("2026-03-29T22:00:00Z"),
    ),
    (
        "last_order_date = today",
        "2026-10-25T11:00:00Z",
        "2026-10-24T22:00:00Z",
        true,
        Some("2026-10-25T23:00:00Z"),
    ),
    // hours are instants, also there
    (
        "last_order_date > -24h",
        "2026-03-28T11:00:00Z",
        "2026-03-28T12:00:00Z",
        true,
        Some("2026-03-29T11:00:00Z"),
    ),
    (
        "last_order_date >= -24h",
        "2026-03-28T11:00:00Z",
        "2026-03-28T12:00:00Z",
        true,
        Some("2026-03-29T11:00:00.000001Z"),
    ),
    (
        "last_order_date < -24h",
        "2026-03-28T11:00:00Z",
        "2026-03-28T12:00:00Z",
        false,
        Some("2026-03-29T11:00:00.000001Z"),
    ),
    // months clamp: of 31 March, -1m is 28 February
    (
        "last_order_date >= -1m",
        "2026-02-28T11:00:00Z",
        "2026-03-01T12:00:00Z",
        true,
        Some("2026-03-31T22:00:00Z"),
    ),
    (
        "last_order_date > -1m",
        "2026-02-28T11:00:00Z",
        "2026-03-01T12:00:00Z",
        true,
        Some("2026-03-27T23:00:00Z"),
    ),
    (
        "last_order_date >= -1y",
        "2024-02-29T11:00:00Z",
        "2025-02-27T12:00:00Z",
        true,
        Some("2025-02-28T23:00:00Z"),
    ),
    // a month after 30 March is 30 April, and one after 31 March too
    (
        "last_order_date >= -1m",
        "2026-03-30T11:00:00Z",
        "2026-04-10T12:00:00Z",
        true,
        Some("2026-04-30T22:00:00Z"),
    ),
    (
        "last_order_date <= +1m",
        "2026-03-31T10:00:00Z",
        "2026-02-20T12:00:00Z",
        false,
        Some("2026-02-28T23:00:00Z"),
    ),
    // what is fixed stays
    ("last_order_date > 2026-01-01", "2026-03-10T11:00:00Z", "2026-03-12T00:00:00Z", true, None),
    // only what can change the answer counts
    (
        "last_order_date > -7d AND number_of_orders > 5",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        false,
        None,
    ),
    (
        "last_order_date > -7d OR number_of_orders = 1",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        true,
        None,
    ),
    (
        "NOT last_order_date > -7d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        false,
        Some("2026-03-16T23:00:00Z"),
    ),
    (
        "last_order_date > -7d AND NOT last_order_date > -3d",
        "2026-03-10T11:00:00Z",
        "2026-03-12T00:00:00Z",
        false,
        Some("2026-03-12T23:00:00Z"),
    ),
];

#[test]
fn s2_a_flip_is_told_to_the_instant() {
    for (text, last, now, member, flip) in FLIPS {
        let mut facts = Facts::bare(at("2024-01-01T00:00:00Z"));
        let span = Some((at(last), at(last)));
        facts.statistics.insert("USD".into(), OrderSums { orders: 1, spent: 100, span });
        let answer = evaluate(&checked(text, BERLIN), &facts, at(now));
        let wanted = Answer { member: *member, next_flip: flip.map(at) };
        assert_eq!(answer, wanted, "{text}, last order {last}, at {now}");
    }
}

fn order(placed_at: &str, amount: i64) -> OrderFact {
    OrderFact {
        placed_at: at(placed_at),
        status: domain::order::OrderStatus::Completed,
        currency: "USD".into(),
        amount,
        items: vec![("tee".into(), 2)],
    }
}

/// When the k-th newest fact ages out, and when enough of the oldest did.
#[test]
fn s2_facts_age_out_one_by_one() {
    let mut facts = Facts::bare(at("2024-01-01T00:00:00Z"));
    facts.orders = vec![
        order("2026-01-01T12:00:00Z", 5_000),
        order("2026-01-05T12:00:00Z", 2_000),
        order("2026-01-10T12:00:00Z", 1_000),
    ];
    let cases = [
        ("count >= 1", "2026-02-09T00:00:00Z"),
        ("count >= 2", "2026-02-04T00:00:00Z"),
        ("count >= 3", "2026-01-31T00:00:00Z"),
        ("sum_amount > 25", "2026-02-04T00:00:00Z"),
        ("sum_amount >= 80", "2026-01-31T00:00:00Z"),
        ("sum_amount > 9.99", "2026-02-09T00:00:00Z"),
    ];
    for (aggregate, flip) in cases {
        let text = format!("orders_placed MATCHES (date > -30d, {aggregate})");
        let answer = evaluate(&checked(&text, Tz::UTC), &facts, at("2026-01-11T00:00:00Z"));
        let wanted = Answer { member: true, next_flip: Some(at(flip)) };
        assert_eq!(answer, wanted, "{text}");
    }
}

#[test]
fn s2_a_birthday_comes_every_year_and_that_of_29_february_on_28_february() {
    let mut facts = Facts::bare(at("2024-01-01T00:00:00Z"));
    facts.birth_date = Some("1996-02-29".parse().unwrap());
    let definition = checked("anniversary(date_of_birth) BETWEEN today AND +7d", BERLIN);
    let cases = [
        ("2025-02-01T00:00:00Z", false, "2025-02-20T23:00:00Z"),
        ("2025-02-21T00:00:00Z", true, "2025-02-28T23:00:00Z"),
        ("2025-03-01T00:00:00Z", false, "2026-02-20T23:00:00Z"),
        ("2028-02-01T00:00:00Z", false, "2028-02-21T23:00:00Z"),
        ("2028-02-25T00:00:00Z", true, "2028-02-29T23:00:00Z"),
    ];
    for (now, member, flip) in cases {
        let answer = evaluate(&definition, &facts, at(now));
        assert_eq!(answer, Answer { member, next_flip: Some(at(flip)) }, "at {now}");
    }
}

/// The span is empty for years, until its moving end has passed its fixed one.
#[test]
fn s2_a_birthday_in_years_to_come_is_told() {
    let mut facts = Facts::bare(at("2016-01-01T00:00:00Z"));
    facts.birth_date = Some("1996-02-29".parse().unwrap());
    let text = "anniversary(date_of_birth) BETWEEN 2027-01-01 AND +8m";
    let answer = evaluate(&checked(text, Tz::UTC), &facts, at("2018-11-03T00:00:00Z"));
    let wanted = Answer { member: false, next_flip: Some(at("2026-06-28T00:00:00Z")) };
    assert_eq!(answer, wanted);
}

/// A recency score falls with the days, and the group with it.
#[test]
fn s2_an_rfm_group_changes_at_midnight() {
    let mut facts = Facts::bare(at("2024-01-01T00:00:00Z"));
    let bought = domain::analytics::rfm::Bought {
        orders: 4,
        spent: 50_000,
        last_order_at: at("2026-01-01T12:00:00Z"),
    };
    facts.rfm = Some(RfmFact { bought, cuts: generate::cuts(), zone: Tz::UTC });
    let definition = checked("rfm_group = 'champions'", BERLIN);
    let answer = evaluate(&definition, &facts, at("2026-01-02T00:00:00Z"));
    // 4 or 5 of recency: up to 7 days
    let wanted = Answer { member: true, next_flip: Some(at("2026-01-09T00:00:00Z")) };
    assert_eq!(answer, wanted);
}
