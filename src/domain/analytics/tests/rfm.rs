//! Scores at and beside each bound, groups without a gap, and what must hold of any customer.

use super::super::calendar::start_of;
use super::super::rfm::{Bought, CutPoints, Group, Score};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{America, Asia, Tz};
use proptest::prelude::*;
use std::collections::BTreeMap;

const CUTS: CutPoints = CutPoints {
    recency_days: [7, 30, 90, 180],
    orders: [1, 2, 4, 8],
    spent: [1_000, 5_000, 20_000, 100_000],
};

fn now() -> DateTime<Utc> {
    "2026-11-22T08:00:00Z".parse().unwrap()
}

fn score(days: i64, orders: i64, spent: i64) -> (u8, u8, u8) {
    let bought = Bought { orders, spent, last_order_at: now() - TimeDelta::days(days) };
    let Score { recency, frequency, monetary } = CUTS.score(&bought, now(), Tz::UTC);
    (recency, frequency, monetary)
}

#[test]
fn a_score_changes_behind_each_cut_point() {
    for (days, expected) in [
        (0, 5),
        (7, 5),
        (8, 4),
        (30, 4),
        (31, 3),
        (90, 3),
        (91, 2),
        (180, 2),
        (181, 1),
        (9_999, 1),
        (-1, 5),
    ] {
        assert_eq!(score(days, 1, 0).0, expected, "{days} days");
    }
    for (orders, expected) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5)] {
        assert_eq!(score(0, orders, 0).1, expected, "{orders} orders");
    }
    for (spent, expected) in
        [(0, 1), (1_000, 1), (1_001, 2), (5_000, 2), (20_001, 4), (100_000, 4), (100_001, 5)]
    {
        assert_eq!(score(0, 1, spent).2, expected, "{spent} spent");
    }
}

#[test]
fn days_are_those_of_the_shops_calendar() {
    let cuts = CutPoints { recency_days: [0, 1, 2, 3], ..CUTS };
    // 17:30 in New York on the 21st, 05:30 in Vietnam on the 22nd
    let last: DateTime<Utc> = "2026-11-21T22:30:00Z".parse().unwrap();
    let bought = Bought { orders: 1, spent: 0, last_order_at: last };
    for (zone, at, expected) in [
        (America::New_York, "2026-11-22T04:59:59Z", 5),
        (America::New_York, "2026-11-22T05:00:00Z", 4),
        (Asia::Ho_Chi_Minh, "2026-11-22T16:59:59Z", 5),
        (Asia::Ho_Chi_Minh, "2026-11-22T17:00:00Z", 4),
        (Tz::UTC, "2026-11-22T00:00:00Z", 4),
    ] {
        let score = cuts.score(&bought, at.parse().unwrap(), zone);
        assert_eq!(score.recency, expected, "{zone} {at}");
    }
}

#[test]
fn every_score_has_one_group_and_every_group_has_scores() {
    let mut scores: BTreeMap<Group, usize> = BTreeMap::new();
    for recency in 1..=5 {
        for frequency in 1..=5 {
            for monetary in 1..=5 {
                *scores.entry(Score { recency, frequency, monetary }.group()).or_default() += 1;
            }
        }
    }
    assert_eq!(scores.values().sum::<usize>(), 125);
    assert_eq!(scores.keys().copied().collect::<Vec<_>>().len(), Group::ALL.len());
    let names: std::collections::BTreeSet<_> = Group::ALL.map(Group::as_str).into();
    let titles: std::collections::BTreeSet<_> = Group::ALL.map(Group::title).into();
    assert_eq!((names.len(), titles.len()), (11, 11));
}

#[test]
fn the_groups_are_the_usual_ones() {
    let group = |recency, frequency, monetary| Score { recency, frequency, monetary }.group();
    for ((recency, frequency, monetary), expected) in [
        ((5, 5, 5), Group::Champions),
        ((4, 5, 4), Group::Champions),
        ((3, 4, 4), Group::Loyal),
        ((4, 4, 4), Group::Loyal),
        ((5, 2, 3), Group::PotentialLoyalists),
        ((5, 1, 1), Group::New),
        ((4, 1, 1), Group::Promising),
        ((3, 3, 3), Group::NeedAttention),
        ((3, 1, 2), Group::AboutToSleep),
        ((2, 4, 4), Group::AtRisk),
        ((1, 3, 3), Group::AtRisk),
        ((1, 5, 5), Group::CannotLoseThem),
        ((2, 1, 2), Group::Hibernating),
        ((1, 1, 1), Group::Lost),
    ] {
        assert_eq!(group(recency, frequency, monetary), expected);
    }
}

fn cuts() -> impl Strategy<Value = CutPoints> {
    let ascending = |most: i64| {
        prop::array::uniform4(0..most).prop_map(|mut cuts| {
            cuts.sort_unstable();
            cuts
        })
    };
    (ascending(400), ascending(20), ascending(1_000_000))
        .prop_map(|(recency_days, orders, spent)| CutPoints { recency_days, orders, spent })
}

const ZONES: [Tz; 3] = [Tz::UTC, Asia::Ho_Chi_Minh, America::Havana];

proptest! {
    #[test]
    fn who_bought_later_oftener_or_for_more_has_no_lower_score(
        cuts in cuts(), zone in 0..3usize, ago in 0..40_000_000i64, orders in 1..30i64,
        spent in 0..1_200_000i64, later in 0..5_000_000i64, more in 0..10i64, dearer in 0..500_000i64,
    ) {
        let (now, zone) = (now(), ZONES[zone]);
        let last_order_at = now - TimeDelta::seconds(ago);
        let bought = Bought { orders, spent, last_order_at };
        let score = |bought: &Bought| cuts.score(bought, now, zone);
        let one = score(&bought);
        for part in [one.recency, one.frequency, one.monetary] {
            prop_assert!((1..=5).contains(&part));
        }
        let lately = Bought { last_order_at: last_order_at + TimeDelta::seconds(later), ..bought };
        prop_assert!(score(&lately).recency >= one.recency);
        let oftener = Bought { orders: orders + more, ..bought };
        prop_assert!(score(&oftener).frequency >= one.frequency);
        let richer = Bought { spent: spent + dearer, ..bought };
        prop_assert!(score(&richer).monetary >= one.monetary);
        // and time alone never raises it
        let then = now + TimeDelta::seconds(later);
        prop_assert!(cuts.score(&bought, then, zone).recency <= one.recency);
    }

    #[test]
    fn instants_tell_the_same_recency_as_days(
        cuts in cuts(), zone in 0..3usize, ago in 0..60_000_000i64,
    ) {
        let (now, zone) = (now(), ZONES[zone]);
        let last_order_at = now - TimeDelta::seconds(ago);
        let bounds = cuts.recency_bounds(now, zone);
        prop_assert!(bounds.is_sorted());
        let passed = bounds.iter().filter(|bound| last_order_at >= **bound).count();
        let score = cuts.score(&Bought { orders: 1, spent: 0, last_order_at }, now, zone);
        prop_assert_eq!(usize::from(score.recency), 1 + passed);
        prop_assert!(bounds.iter().all(|b| *b == start_of(
            super::super::calendar::day_of(*b, zone), zone)));
    }
}
