//! Days, weeks and months as the shop's clock has them: where each begins, as an instant. A day of 23
//! or 25 hours is a day, and one that begins at one o'clock, because its midnight was skipped, too.
//!
//! Instants are put into days here and nowhere else; SQL is given where each day begins. So the
//! figures do not depend on the tables of time zones of the database server.

use chrono::{DateTime, Datelike, Days, MappedLocalTime, Months, NaiveDate, NaiveDateTime};
use chrono::{NaiveTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// What figures are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Day,
    /// From Monday, as ISO 8601 counts.
    Week,
    Month,
}

impl Unit {
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// The first day of the unit that `day` is in.
    pub fn first_day(self, day: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => day,
            Self::Week => day - Days::new(day.weekday().num_days_from_monday().into()),
            Self::Month => day.with_day(1).unwrap_or(day),
        }
    }

    /// The first day of the next one.
    pub fn next(self, day: NaiveDate) -> NaiveDate {
        let first = self.first_day(day);
        match self {
            Self::Day => first + Days::new(1),
            Self::Week => first + Days::new(7),
            Self::Month => first + Months::new(1),
        }
    }
}

/// Days that are told together: whole ones, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub from: NaiveDate,
    pub to: NaiveDate,
}

impl Span {
    /// How many days.
    pub fn days(self) -> i64 {
        (self.to - self.from).num_days() + 1
    }

    /// Cut at the units' ends. The first and the last piece are as long as the span lets them be.
    pub fn split(self, unit: Unit) -> Vec<Span> {
        let mut pieces = Vec::new();
        let mut from = self.from;
        while from <= self.to {
            let next = unit.next(from);
            pieces.push(Span { from, to: (next - Days::new(1)).min(self.to) });
            from = next;
        }
        pieces
    }
}

/// Where each of the pieces begins, and where the last one ends. Ascending.
pub fn bounds(pieces: &[Span], zone: Tz) -> Vec<DateTime<Utc>> {
    let starts = pieces.iter().map(|piece| piece.from);
    let end = pieces.last().map(|piece| piece.to + Days::new(1));
    starts.chain(end).map(|day| start_of(day, zone)).collect()
}

/// The first instant of a day. Where its midnight comes twice, the first one; where it is skipped,
/// the instant of the skip.
pub fn start_of(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    instant_of(day.and_time(NaiveTime::MIN), zone)
}

/// The instant at which clocks show this. Where they show it twice, the first one; where it is
/// skipped, the instant of the skip.
pub fn instant_of(shown: NaiveDateTime, zone: Tz) -> DateTime<Utc> {
    match zone.from_local_datetime(&shown) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => {
            instant.to_utc()
        }
        // No clock showed it: the first instant at which clocks showed more.
        MappedLocalTime::None => {
            let (mut before, mut after) =
                (shown.and_utc() - TimeDelta::hours(36), shown.and_utc() + TimeDelta::hours(36));
            while after - before > TimeDelta::seconds(1) {
                let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
                match middle.with_timezone(&zone).naive_local() < shown {
                    true => before = middle,
                    false => after = middle,
                }
            }
            after
        }
    }
}

/// The day that an instant is in: the last one that had begun by then.
pub fn day_of(instant: DateTime<Utc>, zone: Tz) -> NaiveDate {
    let shown = instant.with_timezone(&zone).date_naive();
    // Clocks that were put back over midnight show yesterday again; the day has begun all the same.
    let next = shown + Days::new(1);
    if start_of(next, zone) <= instant { next } else { shown }
}
