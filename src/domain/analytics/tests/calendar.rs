//! Days where clocks are put forward or back, and that every instant is in exactly one day.

use super::super::calendar::{Span, Unit, bounds, day_of, start_of};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::{Africa, America, Asia, Australia, Europe, Pacific, Tz};
use proptest::prelude::*;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[test]
fn a_day_begins_when_the_shops_clock_says_so() {
    for (zone, date, begins, hours) in [
        (Tz::UTC, "2026-03-29", "2026-03-29T00:00:00Z", 24),
        (Asia::Ho_Chi_Minh, "2026-03-29", "2026-03-28T17:00:00Z", 24),
        // an hour is skipped, and comes twice
        (Europe::Berlin, "2026-03-29", "2026-03-28T23:00:00Z", 23),
        (Europe::Berlin, "2026-10-25", "2026-10-24T22:00:00Z", 25),
        (America::New_York, "2026-03-08", "2026-03-08T05:00:00Z", 23),
        (America::New_York, "2026-11-01", "2026-11-01T04:00:00Z", 25),
        // half an hour, south of the equator
        (Australia::Lord_Howe, "2026-04-05", "2026-04-04T13:00:00Z", 24),
        // midnight itself is skipped, and comes twice
        (America::Sao_Paulo, "2018-11-04", "2018-11-04T03:00:00Z", 23),
        (America::Havana, "2026-03-08", "2026-03-08T05:00:00Z", 23),
        (America::Havana, "2026-11-01", "2026-11-01T04:00:00Z", 25),
        (Africa::Cairo, "2026-04-24", "2026-04-23T22:00:00Z", 23),
        // the day that Samoa left out
        (Pacific::Apia, "2011-12-30", "2011-12-30T10:00:00Z", 0),
        (Pacific::Apia, "2011-12-31", "2011-12-30T10:00:00Z", 24),
    ] {
        let date = day(date);
        let start = start_of(date, zone);
        assert_eq!(start, at(begins), "{zone} {date}");
        let end = start_of(date + Days::new(1), zone);
        let long = (end - start).num_minutes();
        let half = if zone == Australia::Lord_Howe { 30 } else { 0 };
        assert_eq!(long, hours * 60 + half, "{zone} {date}");
    }
}

#[test]
fn a_span_is_cut_at_the_ends_of_its_units() {
    let span = |from: &str, to: &str| Span { from: day(from), to: day(to) };
    let whole = span("2026-01-30", "2026-03-02");
    assert_eq!((whole.days(), whole.split(Unit::Day).len()), (32, 32));
    assert_eq!(
        whole.split(Unit::Month),
        [
            span("2026-01-30", "2026-01-31"),
            span("2026-02-01", "2026-02-28"),
            span("2026-03-01", "2026-03-02"),
        ]
    );
    // 30 January 2026 is a Friday
    let weeks = whole.split(Unit::Week);
    assert_eq!(weeks[0], span("2026-01-30", "2026-02-01"));
    assert_eq!(weeks[1], span("2026-02-02", "2026-02-08"));
    assert_eq!(weeks.last(), Some(&span("2026-03-02", "2026-03-02")));
    let starts = bounds(&weeks, Tz::UTC);
    assert_eq!(starts.len(), weeks.len() + 1);
    assert_eq!(starts.last(), Some(&at("2026-03-03T00:00:00Z")));
    assert!(bounds(&[], Tz::UTC).is_empty());
}

const ZONES: [Tz; 8] = [
    Tz::UTC,
    Asia::Ho_Chi_Minh,
    Europe::Berlin,
    America::Havana,
    America::Sao_Paulo,
    America::St_Johns,
    Pacific::Apia,
    Australia::Lord_Howe,
];

proptest! {
    #[test]
    fn every_instant_is_in_the_day_between_whose_ends_it_is(
        seconds in 946_684_800..2_000_000_000_i64, zone in 0..ZONES.len(),
    ) {
        let (instant, zone) = (DateTime::from_timestamp(seconds, 0).unwrap(), ZONES[zone]);
        let day = day_of(instant, zone);
        prop_assert!(start_of(day, zone) <= instant);
        prop_assert!(instant < start_of(day + Days::new(1), zone));
        prop_assert!(start_of(day, zone) <= start_of(day + Days::new(1), zone));
        // close by, as well
        let start = start_of(day, zone);
        prop_assert!(day_of(start, zone) == day);
        prop_assert!(day_of(start - TimeDelta::seconds(1), zone) < day);
    }

    #[test]
    fn pieces_join_to_the_whole(from in 0..20_000u64, days in 0..900u64, unit in 0..3usize) {
        let from = day("1990-01-01") + Days::new(from);
        let span = Span { from, to: from + Days::new(days) };
        let pieces = span.split(Unit::ALL[unit]);
        prop_assert_eq!(pieces[0].from, span.from);
        prop_assert_eq!(pieces.last().unwrap().to, span.to);
        for pair in pieces.windows(2) {
            prop_assert_eq!(pair[0].to + Days::new(1), pair[1].from);
            prop_assert_eq!(Unit::ALL[unit].first_day(pair[1].from), pair[1].from);
        }
        prop_assert_eq!(pieces.iter().map(|piece| piece.days()).sum::<i64>(), span.days());
    }
}
