//! BG/NBD: how often a customer buys while it is alive, and whether it still is.
//!
//! P. S. Fader, B. G. S. Hardie, K. L. Lee: "Counting Your Customers" the Easy Way: An Alternative to
//! the Pareto/NBD Model. Marketing Science 24 (2005), 275–284. While alive, a customer buys as a
//! Poisson process; after each purchase it is gone for good with a probability of its own. The rates
//! are gamma distributed over the customers (r, α), the probabilities beta distributed (a, b).
//! Numbers of equations are the paper's. Time is in weeks.

use super::history::History;
use super::optimum::{GoOn, NotFitted, Optimum, minimise};
use super::series::gauss;
use libm::lgamma;

const DAYS_OF_A_WEEK: f64 = 7.0;

/// Fewer customers with a second purchase tell nothing of four parameters.
pub const REPEATERS_MIN: u64 = 10;

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BgNbd {
    pub r: f64,
    /// In weeks.
    pub alpha: f64,
    pub a: f64,
    pub b: f64,
}

/// Customers with the same history, as far as this model looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alike {
    pub repeats: u32,
    pub age: u32,
    pub last: u32,
    pub customers: u64,
}

/// Counts those who are alike, ascending by repeats, age and last.
pub fn alike(histories: &[History]) -> Vec<Alike> {
    let key =
        |one: &History| Alike { repeats: one.repeats, age: one.age, last: one.last, customers: 1 };
    let mut all: Vec<Alike> = histories.iter().map(key).collect();
    all.sort_unstable();
    all.dedup_by(|next, kept| {
        let same = (next.repeats, next.age, next.last) == (kept.repeats, kept.age, kept.last);
        if same {
            kept.customers += next.customers;
        }
        same
    });
    all.shrink_to_fit();
    all
}

/// Parameters with how likely they make what was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    pub model: BgNbd,
    pub log_likelihood: f64,
    pub evaluations: u64,
}

impl BgNbd {
    /// The parameters that make these histories most likely.
    ///
    /// # Errors
    /// Too few who bought twice; data that do not determine the parameters; stopped.
    pub fn fit(groups: &[Alike], go_on: GoOn<'_>) -> Result<Fitted, NotFitted> {
        let customers: u64 = groups.iter().map(|group| group.customers).sum();
        let again = groups.iter().filter(|group| group.repeats > 0);
        if again.map(|group| group.customers).sum::<u64>() < REPEATERS_MIN {
            return Err(NotFitted::TooFew);
        }
        let oldest = groups.iter().map(|group| group.age.max(group.last)).max().unwrap_or(0);
        let n = customers as f64;
        let cost = |[r, alpha, a, b]: &[f64; 4]| {
            let model = BgNbd { r: *r, alpha: *alpha, a: *a, b: *b };
            -model.log_likelihood(groups, oldest) / n
        };
        // A customer in ten weeks; gone after every fourth purchase.
        let start = [1.0, (f64::from(oldest) / DAYS_OF_A_WEEK / 4.0).max(0.1), 1.0, 3.0];
        let Optimum { parameters: [r, alpha, a, b], cost, evaluations } =
            minimise(start, &cost, go_on)?;
        let model = BgNbd { r, alpha, a, b };
        Ok(Fitted { model, log_likelihood: -cost * n, evaluations })
    }

    /// The logarithm of the likelihood of what was seen of all of them; nobody is older than
    /// `oldest` days. Equation (6).
    pub fn log_likelihood(&self, groups: &[Alike], oldest: u32) -> f64 {
        let BgNbd { r, alpha, a, b } = *self;
        // Times are whole days: their logarithms are taken once, not once a customer.
        let logarithms: Vec<f64> =
            (0..=oldest).map(|day| (alpha + f64::from(day) / DAYS_OF_A_WEEK).ln()).collect();
        let ln_alpha = alpha.ln();
        let mut of_x = (u32::MAX, 0.0, 0.0);
        let mut sum = 0.0;
        for group in groups {
            let x = f64::from(group.repeats);
            if of_x.0 != group.repeats {
                let first = lgamma(r + x) - lgamma(r) + r * ln_alpha;
                let second = lgamma(a + b) + lgamma(b + x) - lgamma(b) - lgamma(a + b + x);
                let gone =
                    if group.repeats == 0 { f64::NEG_INFINITY } else { (a / (b + x - 1.0)).ln() };
                of_x = (group.repeats, first + second, gone);
            }
            let (_, common, gone) = of_x;
            let alive = -(r + x) * logarithms[group.age as usize];
            let one = if group.repeats == 0 {
                alive
            } else {
                // ln(e^alive + e^gone), by the larger one
                let gone = gone - (r + x) * logarithms[group.last as usize];
                let (more, less) = if alive > gone { (alive, gone) } else { (gone, alive) };
                more + (less - more).exp().ln_1p()
            };
            sum += (common + one) * group.customers as f64;
        }
        sum
    }

    /// The probability that a customer with this history will buy again, 0 to 1. It is 1 before the
    /// second purchase: in this model nobody goes but after a purchase that repeats.
    pub fn alive(&self, history: &History) -> f64 {
        1.0 / (1.0 + self.odds_of_gone(history))
    }

    /// How much likelier it is that it went after its last purchase than that it did not.
    fn odds_of_gone(&self, history: &History) -> f64 {
        if history.repeats == 0 {
            return 0.0;
        }
        let BgNbd { r, alpha, a, b } = *self;
        let x = f64::from(history.repeats);
        let (last, age) = (weeks(history.last), weeks(history.age));
        let silence = (r + x) * ((alpha + age).ln() - (alpha + last).ln());
        (a.ln() - (b + x - 1.0).ln() + silence).exp()
    }

    /// Purchases to be expected of a customer with this history in the next `horizon` weeks.
    /// Equation (10).
    pub fn expected(&self, history: &History, horizon: f64) -> f64 {
        self.if_alive(history.repeats, history.age, horizon) * self.alive(history)
    }

    /// The numerator of equation (10), which does not depend on when the last purchase was.
    pub fn if_alive(&self, repeats: u32, age: u32, horizon: f64) -> f64 {
        let BgNbd { r, alpha, b, .. } = *self;
        // The formula has a hole at a = 1, which the function has not.
        let a = if (self.a - 1.0).abs() < 1e-6 { 1.0 + 1e-6 } else { self.a };
        let (x, age) = (f64::from(repeats), weeks(age));
        let c = a + b + x - 1.0;
        let c = if c.abs() < 1e-9 { 1e-9 } else { c };
        let end = alpha + age + horizon;
        let (before, ahead) = ((alpha + age) / end, horizon / end);
        let silence = if c < r + b + 2.0 * x {
            // Of many purchases in no time the power is nought and the series is endless. Euler's
            // transformation (DLMF 15.8.1) says the same by small numbers: before = 1 − ahead.
            before.powf(c - b - x) * gauss(c - r - x, c - b - x, c, ahead)
        } else {
            before.powf(r + x) * gauss(r + x, b + x, c, ahead)
        };
        c / (a - 1.0) * (1.0 - silence)
    }
}

fn weeks(days: u32) -> f64 {
    f64::from(days) / DAYS_OF_A_WEEK
}
