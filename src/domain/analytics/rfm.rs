//! RFM: how recently, how often and for how much a customer bought, as scores from 1 to 5 against the
//! fifths of all customers, and the eleven groups that merchants speak of.
//!
//! A score is a function of the customer's statistics, the cut points and the time: it is computed
//! when it is looked at, so an order moves it by being there. Cut points alone are kept, as versions.

use super::calendar::{day_of, start_of};
use chrono::{DateTime, Days, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

/// What scores are made of, in one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bought {
    /// Orders that were not cancelled.
    pub orders: i64,
    /// What was paid for them and not given back, in minor units.
    pub spent: i64,
    pub last_order_at: DateTime<Utc>,
}

/// Where the fifths of all customers end, ascending: for each scale the values that a fifth, two,
/// three and four fifths of the customers do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPoints {
    /// Days since the last order.
    pub recency_days: [i64; 4],
    pub orders: [i64; 4],
    /// Minor units.
    pub spent: [i64; 4],
}

/// Each from 1 (worst) to 5 (best).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Score {
    pub recency: u8,
    pub frequency: u8,
    pub monetary: u8,
}

/// Days of the shop's calendar since an order; none for one that is yet to come.
pub fn days_since(order: DateTime<Utc>, now: DateTime<Utc>, zone: Tz) -> i64 {
    (day_of(now, zone) - day_of(order, zone)).num_days().max(0)
}

impl CutPoints {
    /// The score of a customer at a time.
    pub fn score(&self, bought: &Bought, now: DateTime<Utc>, zone: Tz) -> Score {
        let days = days_since(bought.last_order_at, now, zone);
        let above = |value: i64, cuts: &[i64; 4]| 1 + count(cuts, |cut| value > cut);
        Score {
            recency: 1 + count(&self.recency_days, |cut| days <= cut),
            frequency: above(bought.orders, &self.orders),
            monetary: above(bought.spent, &self.spent),
        }
    }

    /// The same of recency as instants, ascending: the score is one more than the number of those
    /// that the last order is not before.
    pub fn recency_bounds(&self, now: DateTime<Utc>, zone: Tz) -> [DateTime<Utc>; 4] {
        let today = day_of(now, zone);
        let mut bounds =
            self.recency_days.map(|days| start_of(today - Days::new(days.unsigned_abs()), zone));
        bounds.reverse();
        bounds
    }
}

fn count(cuts: &[i64; 4], holds: impl Fn(i64) -> bool) -> u8 {
    cuts.iter().map(|cut| u8::from(holds(*cut))).sum()
}

/// The usual eleven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    Champions,
    Loyal,
    PotentialLoyalists,
    New,
    Promising,
    NeedAttention,
    AboutToSleep,
    AtRisk,
    CannotLoseThem,
    Hibernating,
    Lost,
}

use Group::{
    AboutToSleep, AtRisk, CannotLoseThem, Champions, Hibernating, Lost, Loyal, NeedAttention, New,
    PotentialLoyalists, Promising,
};

/// By recency (the row, 1 to 5) and the mean of frequency and monetary (the column, 1 to 5).
const GROUPS: [[Group; 5]; 5] = [
    [Lost, Lost, AtRisk, CannotLoseThem, CannotLoseThem],
    [Hibernating, Hibernating, AtRisk, AtRisk, AtRisk],
    [AboutToSleep, AboutToSleep, NeedAttention, Loyal, Loyal],
    [Promising, PotentialLoyalists, PotentialLoyalists, Loyal, Champions],
    [New, PotentialLoyalists, PotentialLoyalists, Champions, Champions],
];

impl Group {
    pub const ALL: [Self; 11] = [
        Champions,
        Loyal,
        PotentialLoyalists,
        New,
        Promising,
        NeedAttention,
        AboutToSleep,
        AtRisk,
        CannotLoseThem,
        Hibernating,
        Lost,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Champions => "champions",
            Loyal => "loyal",
            PotentialLoyalists => "potential_loyalists",
            New => "new",
            Promising => "promising",
            NeedAttention => "need_attention",
            AboutToSleep => "about_to_sleep",
            AtRisk => "at_risk",
            CannotLoseThem => "cannot_lose_them",
            Hibernating => "hibernating",
            Lost => "lost",
        }
    }

    /// As people read it.
    pub fn title(self) -> &'static str {
        match self {
            Champions => "Champions",
            Loyal => "Loyal",
            PotentialLoyalists => "Potential loyalists",
            New => "New",
            Promising => "Promising",
            NeedAttention => "Need attention",
            AboutToSleep => "About to sleep",
            AtRisk => "At risk",
            CannotLoseThem => "Cannot lose them",
            Hibernating => "Hibernating",
            Lost => "Lost",
        }
    }
}

impl Score {
    /// A score from how many cut points each value passes, 0 to 4.
    pub fn from_passed(recency: i32, frequency: i32, monetary: i32) -> Self {
        // lossless: clamped
        let score = |passed: i32| 1 + passed.clamp(0, 4) as u8;
        Self { recency: score(recency), frequency: score(frequency), monetary: score(monetary) }
    }

    /// How often and for how much together: their mean, the half rounded up.
    pub fn worth(self) -> u8 {
        (self.frequency + self.monetary).div_ceil(2)
    }

    pub fn group(self) -> Group {
        let place = |score: u8| usize::from(score.clamp(1, 5) - 1);
        GROUPS[place(self.recency)][place(self.worth())]
    }
}
