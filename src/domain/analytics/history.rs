//! What the models know of a customer: how many days of purchases after the first one, when the last
//! one was, since when it is observed, and what a purchase after the first is worth to it.

use super::calendar::day_of;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use std::collections::BTreeMap;

/// One order that was not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub placed_at: DateTime<Utc>,
    /// What was paid and not given back, in minor units.
    pub value: i64,
}

/// See the module. Orders of one day are one purchase, as in the published data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    /// Days with purchases after the first one (x).
    pub repeats: u32,
    /// Days from the first purchase to the last one (t_x); 0 where there is one only.
    pub last: u32,
    /// Days from the first purchase to the time of looking (T).
    pub age: u32,
    /// Mean value of the purchases after the first one, in minor units; 0 where there are none.
    pub mean: f64,
}

impl History {
    /// From orders in any order; those after `until` are not known yet. `None` without a purchase.
    pub fn of(
        orders: impl IntoIterator<Item = Order>,
        until: DateTime<Utc>,
        zone: Tz,
    ) -> Option<Self> {
        let mut days: BTreeMap<NaiveDate, i64> = BTreeMap::new();
        for order in orders {
            if order.placed_at <= until {
                let day = days.entry(day_of(order.placed_at, zone)).or_default();
                *day = day.saturating_add(order.value);
            }
        }
        let (first, worth) = days.first_key_value().map(|(day, value)| (*day, *value))?;
        let (last, _) = days.last_key_value()?;
        let since = |day: NaiveDate| u32::try_from((day - first).num_days()).unwrap_or(0);
        let repeats = u32::try_from(days.len() - 1).unwrap_or(u32::MAX);
        let later: f64 = days.values().map(|value| *value as f64).sum::<f64>() - worth as f64;
        Some(Self {
            repeats,
            last: since(*last),
            age: since(day_of(until, zone)),
            mean: if repeats == 0 { 0.0 } else { later / f64::from(repeats) },
        })
    }
}
