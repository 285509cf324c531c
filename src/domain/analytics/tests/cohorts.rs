//! The table of cohorts is made of what was counted, with the months in which nobody ordered.

use super::super::calendar::{Span, Unit};
use super::super::cohorts::{Cell, table};

#[test]
fn a_table_has_every_month_of_every_cohort() {
    let span = Span { from: "2026-01-01".parse().unwrap(), to: "2026-03-31".parse().unwrap() };
    let months = span.split(Unit::Month);
    let cell = |cohort, since, customers, revenue| Cell { cohort, since, customers, revenue };
    let cells = [
        cell(0, 0, 4, 4_000),
        cell(0, 2, 1, 700),
        cell(2, 0, 2, 100),
        // outside: not told
        cell(2, 1, 9, 9),
        cell(3, 0, 9, 9),
    ];
    let cohorts = table(&months, &cells);
    let told: Vec<_> = cohorts
        .iter()
        .map(|one| {
            let months = one.months.iter();
            (
                one.customers,
                months.map(|m| (m.customers, m.retention, m.revenue)).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (4, vec![(4, 1.0, 4_000), (0, 0.0, 0), (1, 0.25, 700)]),
            (0, vec![(0, 0.0, 0), (0, 0.0, 0)]),
            (2, vec![(2, 1.0, 100)]),
        ]
    );
    assert_eq!(cohorts[1].month, months[1]);
    assert!(table(&[], &cells).is_empty());
}
