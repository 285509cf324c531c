//! Cohorts: customers by the month of their first order, and how many of them bought again in each
//! month after it, for how much.

use super::calendar::Span;

/// What was counted: customers of one cohort who ordered in one month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Place of the month of the first order, from 0.
    pub cohort: usize,
    /// Months after it, from 0.
    pub since: usize,
    /// Who ordered.
    pub customers: i64,
    /// What they paid and did not get back, in minor units.
    pub revenue: i64,
}

/// One cohort.
#[derive(Clone, Debug, PartialEq)]
pub struct Cohort {
    pub month: Span,
    pub customers: i64,
    /// From the month of the first order to the last month that is told.
    pub months: Vec<Month>,
}

/// One month of a cohort.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Month {
    pub customers: i64,
    /// Of the cohort's customers, 0 to 1.
    pub retention: f64,
    pub revenue: i64,
}

/// The table of all cohorts, with the months in which nobody ordered. In the first month everybody
/// of a cohort ordered: that is what makes the cohort.
pub fn table(months: &[Span], cells: &[Cell]) -> Vec<Cohort> {
    let mut cohorts: Vec<Cohort> = months
        .iter()
        .enumerate()
        .map(|(place, month)| {
            let empty = Month { customers: 0, retention: 0.0, revenue: 0 };
            Cohort { month: *month, customers: 0, months: vec![empty; months.len() - place] }
        })
        .collect();
    for cell in cells {
        let month = cohorts.get_mut(cell.cohort).and_then(|one| one.months.get_mut(cell.since));
        if let Some(month) = month {
            month.customers += cell.customers;
            month.revenue += cell.revenue;
        }
    }
    for cohort in &mut cohorts {
        cohort.customers = cohort.months.first().map_or(0, |month| month.customers);
        for month in &mut cohort.months {
            // Counts of customers are far below what a double holds exactly.
            month.retention = match cohort.customers {
                0 => 0.0,
                all => month.customers as f64 / all as f64,
            };
        }
    }
    cohorts
}
