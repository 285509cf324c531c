//! Which values of one attribute a condition takes, as a set: so that what no value fulfils, and what
//! every value does, is seen before a customer is looked at.
//!
//! Sets are of numbers on a line (amounts, days, places in a list of choices) or of texts; whether
//! absence is taken is a part of the set. What cannot be put on one line is not judged.

use super::condition::{Ask, Condition, Leaf, Numbers, Operand, Test, ValueKind, Words};
use super::number::Number;
use super::syntax::Comparison;
use super::when::{DayPoint, Point, When};
use chrono::Datelike;
use std::collections::BTreeSet;

/// Half-open, ascending, not touching.
type Ranges = Vec<(i128, i128)>;

const LEAST: i128 = i128::MIN;
const MOST: i128 = i128::MAX;

/// What the numbers of a line are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Billionths, units, or places.
    Values,
    /// Days from today.
    Moving,
    /// Days of the calendar.
    Calendar,
    /// Months from today, in steps that leave room for a day.
    Months,
}

#[derive(Debug, Clone, PartialEq)]
enum Set {
    /// None or all of whatever there is.
    Either(bool),
    On(Line, Ranges),
    /// These, or all but these.
    Texts {
        but: bool,
        texts: BTreeSet<String>,
    },
}

/// The values of one attribute that are taken.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values {
    pub operand: String,
    /// Whether who has no value is taken.
    absent: bool,
    set: Set,
    /// Whether there are customers without a value.
    may_be_absent: bool,
    /// What there is on a line of values.
    least: i128,
    most: i128,
}

impl Values {
    /// Of a condition that asks for one attribute only and can be judged.
    pub fn of(condition: &Condition) -> Option<Self> {
        let joined = |members: &[Condition], join: fn(Self, Self) -> Option<Self>| {
            let mut sets = members.iter().map(Self::of);
            let first = sets.next()??;
            sets.try_fold(first, |all, one| join(all, one?))
        };
        match condition {
            Condition::All(members) => joined(members, Self::and),
            Condition::Any(members) => joined(members, Self::or),
            Condition::Not(inner) => Self::of(inner).map(Self::not),
            Condition::Leaf(leaf) => Self::of_leaf(leaf),
        }
    }

    fn of_leaf(leaf: &Leaf) -> Option<Self> {
        let Ask::Attribute { operand, test } = &leaf.asks else { return None };
        if matches!(operand.kind, ValueKind::List(_)) {
            return None;
        }
        let (least, most) = extent(operand);
        let (absent, set) = match test {
            Test::Null { negated } => (!negated, Set::Either(*negated)),
            Test::Flag(is) => {
                (false, Set::On(Line::Values, vec![(i128::from(*is), i128::from(*is) + 1)]))
            }
            Test::Number(numbers) => (false, of_numbers(operand, numbers)),
            Test::Text(words) => (false, of_words(operand, words)),
            Test::Moment(when) | Test::Day(when) => (false, of_when(when)?),
            Test::List(_) => return None,
        };
        let may_be_absent = operand.may_be_absent;
        let absent = absent && may_be_absent;
        let values =
            Self { operand: operand.name.clone(), absent, set, may_be_absent, least, most };
        Some(values.clipped())
    }

    /// Those that both take; `None` where they cannot be compared.
    pub fn and(self, other: Self) -> Option<Self> {
        // What both take is what neither leaves out.
        self.not().or(other.not()).map(Self::not)
    }

    /// Those that either takes.
    pub fn or(self, other: Self) -> Option<Self> {
        if self.operand != other.operand {
            return None;
        }
        let set = match (self.set, other.set) {
            (Set::Either(true), _) | (_, Set::Either(true)) => Set::Either(true),
            (Set::Either(false), set) | (set, Set::Either(false)) => set,
            (Set::On(line, one), Set::On(same, two)) if line == same => {
                Set::On(line, joined(one.into_iter().chain(two).collect()))
            }
            (Set::Texts { but, texts }, Set::Texts { but: same, texts: more }) => match (but, same)
            {
                (false, false) => Set::Texts { but, texts: &texts | &more },
                (true, true) => Set::Texts { but, texts: &texts & &more },
                (true, false) => Set::Texts { but, texts: &texts - &more },
                (false, true) => Set::Texts { but: same, texts: &more - &texts },
            },
            _ => return None,
        };
        Some(Self { absent: self.absent || other.absent, set, ..self })
    }

    fn not(self) -> Self {
        let set = match self.set {
            Set::Either(all) => Set::Either(!all),
            Set::On(line, ranges) => Set::On(line, gaps(&ranges)),
            Set::Texts { but, texts } => Set::Texts { but: !but, texts },
        };
        let absent = self.may_be_absent && !self.absent;
        Self { absent, set, ..self }.clipped()
    }

    /// Without what does not exist.
    fn clipped(mut self) -> Self {
        if let Set::On(Line::Values, ranges) = &mut self.set {
            for (from, to) in ranges.iter_mut() {
                *from = (*from).max(self.least);
                *to = (*to).min(self.most);
            }
            ranges.retain(|(from, to)| from < to);
        }
        self
    }

    /// Whether no customer is taken.
    pub fn is_none(&self) -> bool {
        !self.absent
            && match &self.set {
                Set::Either(all) => !all,
                Set::On(_, ranges) => ranges.is_empty(),
                Set::Texts { but, texts } => !but && texts.is_empty(),
            }
    }

    /// Whether every customer is.
    pub fn is_all(&self) -> bool {
        self.clone().not().is_none()
    }
}

/// What values there are: the first, and the first after the last.
fn extent(operand: &Operand) -> (i128, i128) {
    match &operand.kind {
        ValueKind::Count | ValueKind::Money { .. } => (0, MOST),
        ValueKind::Flag => (0, 2),
        ValueKind::Choice(choices) => (0, i128::try_from(choices.len()).unwrap_or(MOST)),
        _ => (LEAST, MOST),
    }
}

fn joined(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut all: Ranges = Vec::with_capacity(ranges.len());
    for (from, to) in ranges.into_iter().filter(|(from, to)| from < to) {
        match all.last_mut() {
            Some((_, end)) if from <= *end => *end = (*end).max(to),
            _ => all.push((from, to)),
        }
    }
    all
}

fn gaps(ranges: &[(i128, i128)]) -> Ranges {
    let mut gaps = Vec::new();
    let mut from = LEAST;
    for (start, end) in ranges {
        gaps.push((from, *start));
        from = *end;
    }
    gaps.push((from, MOST));
    gaps.retain(|(from, to)| from < to);
    gaps
}

fn of_numbers(operand: &Operand, numbers: &Numbers) -> Set {
    // The smallest step between two values, in billionths: a range of values is a range of steps.
    let whole = matches!(operand.kind, ValueKind::Count | ValueKind::Number { whole: true });
    let step: i128 = if whole { 1_000_000_000 } else { 1 };
    let up = |number: Number| {
        let (n, rest) =
            (number.billionths().div_euclid(step), number.billionths().rem_euclid(step));
        n + i128::from(rest > 0)
    };
    let above = |number: Number| number.billionths().div_euclid(step) + 1;
    let only = |number: Number| (up(number), above(number));
    let (ranges, negated) = match numbers {
        Numbers::Compare { how, with } => match how {
            Comparison::Equal => (vec![only(*with)], false),
            Comparison::Unequal => (vec![only(*with)], true),
            Comparison::Greater => (vec![(above(*with), MOST)], false),
            Comparison::AtLeast => (vec![(up(*with), MOST)], false),
            Comparison::Less => (vec![(LEAST, up(*with))], false),
            Comparison::AtMost => (vec![(LEAST, above(*with))], false),
        },
        Numbers::Between { negated, from, to } => (vec![(up(*from), above(*to))], *negated),
        Numbers::OneOf { negated, numbers } => {
            (numbers.iter().map(|number| only(*number)).collect(), *negated)
        }
    };
    on(Line::Values, ranges, negated)
}

fn on(line: Line, ranges: Ranges, negated: bool) -> Set {
    let ranges = joined(ranges);
    Set::On(line, if negated { gaps(&ranges) } else { ranges })
}

fn of_words(operand: &Operand, words: &Words) -> Set {
    let ValueKind::Choice(choices) = &operand.kind else {
        return Set::Texts { but: words.negated, texts: words.any_of.iter().cloned().collect() };
    };
    let place = |text: &String| choices.iter().position(|choice| choice == text);
    let places = words.any_of.iter().filter_map(place).filter_map(|place| place.try_into().ok());
    let ranges = places.map(|place: i128| (place, place + 1)).collect();
    on(Line::Values, ranges, words.negated)
}

fn of_when(when: &When) -> Option<Set> {
    const ROOM: i128 = 100;
    let mut line = None;
    let mut place = |point: Point| {
        let Point::Day { day, plus } = point else { return None };
        let plus = i128::from(plus);
        let (of, place) = match day {
            DayPoint::Fixed(day) => (Line::Calendar, i128::from(day.num_days_from_ce()) + plus),
            DayPoint::Moving { months: 0, days } => (Line::Moving, i128::from(days) + plus),
            DayPoint::Moving { months, days: 0 } => {
                (Line::Months, i128::from(months) * ROOM + plus)
            }
            DayPoint::Moving { .. } => return None,
        };
        (*line.get_or_insert(of) == of).then_some(place)
    };
    let mut ranges = Vec::new();
    for range in &when.ranges {
        let from = range.from.map_or(Some(LEAST), &mut place)?;
        let to = range.to.map_or(Some(MOST), &mut place)?;
        ranges.push((from, to));
    }
    Some(on(line?, ranges, when.negated))
}
