//! What a merchant asks about customers, as pure functions of what is kept: days and months in the
//! shop's time zone, RFM scores, cohorts, and the models that predict purchases and their value.
//!
//! Nothing here is stored by itself: a figure is computed from orders when it is asked for, so that a
//! late, repeated, re-dated or cancelled order moves it by being there. `docs/analytics.md` defines
//! each figure.

pub mod bg_nbd;
pub mod calendar;
pub mod cohorts;
pub mod gamma_gamma;
pub mod history;
pub mod model;
pub mod optimum;
pub mod rfm;
pub mod series;

#[cfg(test)]
mod tests;
