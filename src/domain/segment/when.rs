//! Spans of time as conditions mean them: of whole local days, and moving with now.
//!
//! An end of a span is a point that moves with now and never backwards. So a value is passed by it
//! once, at an instant that can be told beforehand: between those instants no answer changes by time
//! alone. SQL is given the ends as they are at an instant, so that both evaluators ask the same.

use super::syntax::{Date, Unit};
use crate::domain::analytics::calendar::{day_of, instant_of, start_of};
use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;

/// An instant with the local day that it is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    pub instant: DateTime<Utc>,
    pub zone: Tz,
    pub today: NaiveDate,
}

impl Now {
    pub fn new(instant: DateTime<Utc>, zone: Tz) -> Self {
        Self { instant, zone, today: day_of(instant, zone) }
    }
}

/// The least step of time that is told apart, here and in PostgreSQL.
const STEP: TimeDelta = TimeDelta::microseconds(1);

/// A day, as far from today as is said, or a fixed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayPoint {
    Fixed(NaiveDate),
    /// First by months, whose ends clamp, then by days.
    Moving {
        months: i32,
        days: i64,
    },
}

impl DayPoint {
    pub const TODAY: Self = Self::Moving { months: 0, days: 0 };

    /// The day that is written; `None` of what has a time of day.
    pub(super) fn of(date: Date) -> Option<Self> {
        let days = |days: i64| Some(Self::Moving { months: 0, days });
        match date {
            Date::Day(day) => Some(Self::Fixed(day)),
            Date::Time(_) => None,
            Date::Today => days(0),
            Date::Yesterday => days(-1),
            Date::Offset { number, unit } => match unit {
                Unit::Hours => None,
                Unit::Days => days(number.into()),
                Unit::Weeks => days(7 * i64::from(number)),
                Unit::Months => Some(Self::Moving { months: number, days: 0 }),
                Unit::Years => Some(Self::Moving { months: 12 * number, days: 0 }),
            },
        }
    }

    /// The day, where today is this one.
    pub fn on(self, today: NaiveDate) -> NaiveDate {
        match self {
            Self::Fixed(day) => day,
            Self::Moving { months, days } => later(by_months(today, months), days),
        }
    }

    pub(super) fn moves(self) -> bool {
        matches!(self, Self::Moving { .. })
    }

    /// The first today on which it is `day` or later; `None` where it does not move.
    fn reaches(self, day: NaiveDate) -> Option<NaiveDate> {
        let Self::Moving { months, days } = self else { return None };
        let before = later(day, -days);
        // The ends of months clamp, so the way back may miss by the length of February.
        let guess = by_months(before, -months);
        (-5..=5).map(|miss| later(guess, miss)).find(|today| self.on(*today) >= day)
    }
}

fn later(day: NaiveDate, days: i64) -> NaiveDate {
    let by = Days::new(days.unsigned_abs());
    let moved = if days < 0 { day.checked_sub_days(by) } else { day.checked_add_days(by) };
    moved.unwrap_or(day)
}

fn by_months(day: NaiveDate, months: i32) -> NaiveDate {
    let by = Months::new(months.unsigned_abs());
    let moved = if months < 0 { day.checked_sub_months(by) } else { day.checked_add_months(by) };
    moved.unwrap_or(day)
}

/// An end of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// So many days after the start of a day.
    Day { day: DayPoint, plus: i64 },
    /// So many seconds after clocks show this.
    Clock { shown: NaiveDateTime, plus: i64 },
    /// So many hours from now; `after`: the first instant after that.
    Hours { hours: i64, after: bool },
}

impl Point {
    pub fn instant(self, now: &Now) -> DateTime<Utc> {
        match self {
            Self::Day { day, plus } => start_of(later(day.on(now.today), plus), now.zone),
            Self::Clock { shown, plus } => instant_of(shown, now.zone) + TimeDelta::seconds(plus),
            Self::Hours { hours, after } => {
                let step = if after { STEP } else { TimeDelta::zero() };
                now.instant + TimeDelta::hours(hours) + step
            }
        }
    }

    /// The day that it begins; `None` of what has a time of day.
    pub fn day(self, now: &Now) -> Option<NaiveDate> {
        match self {
            Self::Day { day, plus } => Some(later(day.on(now.today), plus)),
            Self::Clock { .. } | Self::Hours { .. } => None,
        }
    }

    /// The instant at which it passes an instant: the first one at which it is later.
    fn passes_moment(self, moment: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        match self {
            Self::Day { day, plus } => {
                let next = day_of(moment, zone) + Days::new(1);
                day.reaches(later(next, -plus)).map(|today| start_of(today, zone))
            }
            Self::Clock { .. } => None,
            Self::Hours { hours, after } => {
                let step = if after { TimeDelta::zero() } else { STEP };
                Some(moment - TimeDelta::hours(hours) + step)
            }
        }
    }

    fn passes_day(self, passed: NaiveDate, zone: Tz) -> Option<DateTime<Utc>> {
        match self {
            Self::Day { day, plus } => {
                let next = later(passed, 1 - plus);
                day.reaches(next).map(|today| start_of(today, zone))
            }
            Self::Clock { .. } | Self::Hours { .. } => None,
        }
    }
}

/// From one point, included, to another, excluded; without one, from or to wherever time goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub from: Option<Point>,
    pub to: Option<Point>,
}

/// What is asked of a date: to be within one of the ranges; or, negated, within none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    pub ranges: Vec<Range>,
    pub negated: bool,
}

impl When {
    pub fn moment_is(&self, moment: DateTime<Utc>, now: &Now) -> bool {
        let within = |range: &Range| {
            range.from.is_none_or(|from| moment >= from.instant(now))
                && range.to.is_none_or(|to| moment < to.instant(now))
        };
        self.ranges.iter().any(within) != self.negated
    }

    pub fn day_is(&self, day: NaiveDate, now: &Now) -> bool {
        let start = |point: Point| point.day(now);
        let within = |range: &Range| {
            range.from.and_then(start).is_none_or(|from| day >= from)
                && range.to.and_then(start).is_none_or(|to| day < to)
        };
        self.ranges.iter().any(within) != self.negated
    }

    fn points(&self) -> impl Iterator<Item = Point> {
        self.ranges.iter().flat_map(|range| [range.from, range.to]).flatten()
    }

    /// When an instant may begin or cease to be within.
    pub(super) fn turns_of_moment(
        &self,
        moment: DateTime<Utc>,
        zone: Tz,
    ) -> impl Iterator<Item = DateTime<Utc>> {
        self.points().filter_map(move |point| point.passes_moment(moment, zone))
    }

    /// The same of a day.
    pub(super) fn turns_of_day(
        &self,
        day: NaiveDate,
        zone: Tz,
    ) -> impl Iterator<Item = DateTime<Utc>> {
        self.points().filter_map(move |point| point.passes_day(day, zone))
    }

    pub(super) fn moves(&self) -> bool {
        self.points().any(|point| match point {
            Point::Day { day, .. } => day.moves(),
            Point::Clock { .. } => false,
            Point::Hours { .. } => true,
        })
    }
}

/// The day on which a day is remembered in another year: 29 February on 28 February where there is
/// none.
pub fn anniversary(of: NaiveDate, year: i32) -> NaiveDate {
    by_months(of, 12 * (year - of.year()))
}

/// Days on which something is remembered: both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    pub from: DayPoint,
    pub to: DayPoint,
}

/// The first year whose days are remembered.
pub const REMEMBERED_FROM: i32 = 1900;
/// For how many years ahead it is computed when a day will be remembered.
const YEARS_AHEAD: i32 = 5;

impl Remembered {
    /// Whether a day is remembered on one of them; on itself it is not.
    pub fn holds(&self, day: NaiveDate, now: &Now) -> bool {
        let (from, to) = (self.from.on(now.today), self.to.on(now.today));
        if day.year() < REMEMBERED_FROM || from > to {
            return false;
        }
        // Of three years in a row the one between has all of its days within.
        let first = from.year().max(day.year() + 1);
        let last = to.year().min(first + 2);
        (first..=last).map(|year| anniversary(day, year)).any(|day| from <= day && day <= to)
    }

    /// The days that are remembered on one of them, as days at which such a span begins and, in turn,
    /// at which it has ended, ascending: for SQL, which finds its place among them.
    pub fn bounds(&self, now: &Now) -> Vec<NaiveDate> {
        let (from, to) = (self.from.on(now.today), self.to.on(now.today));
        let mut bounds: Vec<NaiveDate> = Vec::new();
        if from > to {
            return bounds;
        }
        for year in REMEMBERED_FROM..to.year() {
            let mut day = NaiveDate::from_yo_opt(year, 1);
            // By days rather than by rules: what holds of a day is said in one place.
            while let Some(one) = day.filter(|one| one.year() == year) {
                let within = self.holds(one, now);
                if within == bounds.len().is_multiple_of(2) {
                    bounds.push(one);
                }
                day = one.succ_opt();
            }
        }
        if bounds.len() % 2 == 1 {
            bounds.extend(NaiveDate::from_yo_opt(to.year().max(REMEMBERED_FROM), 1));
        }
        bounds
    }

    /// When a day may begin or cease to be remembered, for some years about `now`; and until when
    /// that is known.
    pub(super) fn turns(
        &self,
        day: NaiveDate,
        now: &Now,
    ) -> (Vec<DateTime<Utc>>, Option<DateTime<Utc>>) {
        let mut turns = Vec::new();
        // From may lie after to, as yet: the span is empty then, until to has come so far.
        let (from, to) = (self.from.on(now.today).year(), self.to.on(now.today).year());
        let around = from.min(to) - 2..=from.max(to) + YEARS_AHEAD;
        let mut known = None;
        for year in around {
            let remembered = anniversary(day, year.max(day.year()));
            let enters = self.to.reaches(remembered);
            let leaves = self.from.reaches(later(remembered, 1));
            let of_year: Vec<_> = [enters, leaves].into_iter().flatten().collect();
            turns.extend(of_year.iter().map(|today| start_of(*today, now.zone)));
            // Of later years nothing comes before the last year's first.
            known = of_year.iter().min().map(|today| start_of(*today, now.zone));
        }
        (turns, known)
    }
}
