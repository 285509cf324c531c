//! Gamma-Gamma: what a customer's purchases are worth on average, if we saw enough of them.
//!
//! P. S. Fader, B. G. S. Hardie: The Gamma-Gamma Model of Monetary Value (2013),
//! brucehardie.com/notes/025. Values of a customer's purchases are gamma distributed around a mean of
//! its own; the means differ over the customers by another gamma distribution (p, q, γ). Independent
//! of how often it buys. Numbers of equations are the note's.

use super::history::History;
use super::optimum::{GoOn, NotFitted, Optimum, minimise};
use libm::lgamma;

/// Fewer customers with a second purchase tell nothing of three parameters.
pub const SPENDERS_MIN: usize = 10;

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GammaGamma {
    pub p: f64,
    pub q: f64,
    /// In the unit of the values.
    pub gamma: f64,
}

/// Parameters with how likely they make what was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    pub model: GammaGamma,
    pub log_likelihood: f64,
    pub customers: usize,
    pub evaluations: u64,
    /// Between number and mean value of purchases, −1 to 1: far from 0 the model does not hold.
    pub correlation: f64,
}

/// Purchases and their mean value, of one customer.
type Spender = (u32, f64);

impl GammaGamma {
    /// The parameters that make these mean values most likely. Customers without a second purchase,
    /// or whose purchases were all paid back, say nothing.
    ///
    /// # Errors
    /// Too few that say something; data that do not determine the parameters; stopped.
    pub fn fit(histories: &[History], go_on: GoOn<'_>) -> Result<Fitted, NotFitted> {
        let said = histories.iter().filter(|one| one.repeats > 0 && one.mean > 0.0);
        let mut spenders: Vec<Spender> = said.map(|one| (one.repeats, one.mean)).collect();
        if spenders.len() < SPENDERS_MIN {
            return Err(NotFitted::TooFew);
        }
        spenders.sort_unstable_by_key(|(repeats, _)| *repeats);
        let n = spenders.len() as f64;
        let correlation = correlation(&spenders);
        // In the mean value: whatever the currency, the search begins near what it looks for.
        let scale = spenders.iter().map(|(_, mean)| mean).sum::<f64>() / n;
        spenders.iter_mut().for_each(|(_, mean)| *mean /= scale);
        let cost = |[p, q, gamma]: &[f64; 3]| {
            -GammaGamma { p: *p, q: *q, gamma: *gamma }.log_likelihood(&spenders) / n
        };
        let Optimum { parameters: [p, q, gamma], evaluations, .. } =
            minimise([2.0, 3.0, 1.0], &cost, go_on)?;
        spenders.iter_mut().for_each(|(_, mean)| *mean *= scale);
        let model = GammaGamma { p, q, gamma: gamma * scale };
        // Without a mean value of all customers nothing can be said of new ones.
        if model.q <= 1.0 {
            return Err(NotFitted::Undetermined);
        }
        Ok(Fitted {
            model,
            log_likelihood: model.log_likelihood(&spenders),
            customers: spenders.len(),
            evaluations,
            correlation,
        })
    }

    /// Equation (1a), its logarithm, over all of them; those with the same number of purchases stand
    /// together.
    pub fn log_likelihood(&self, spenders: &[Spender]) -> f64 {
        let GammaGamma { p, q, gamma } = *self;
        let (ln_gamma_q, ln_gamma) = (lgamma(q), gamma.ln());
        let mut of_x = (0, 0.0);
        let mut sum = 0.0;
        for (repeats, mean) in spenders {
            let x = f64::from(*repeats);
            if of_x.0 != *repeats {
                let px = p * x;
                let common = lgamma(px + q) - lgamma(px) - ln_gamma_q + q * ln_gamma + px * x.ln();
                of_x = (*repeats, common);
            }
            sum += of_x.1 + (p * x - 1.0) * mean.ln() - (p * x + q) * (gamma + mean * x).ln();
        }
        sum
    }

    /// The mean value to be expected of the purchases to come. Equation (5): between what we saw of
    /// the customer and the mean of all, nearer to the former the more we saw.
    pub fn expected(&self, repeats: u32, mean: f64) -> f64 {
        let GammaGamma { p, q, gamma } = *self;
        let x = f64::from(repeats);
        p * (gamma + mean * x) / (p * x + q - 1.0)
    }
}

/// Pearson's coefficient.
fn correlation(spenders: &[Spender]) -> f64 {
    let n = spenders.len() as f64;
    let mean_of = |value: &dyn Fn(&Spender) -> f64| spenders.iter().map(value).sum::<f64>() / n;
    let (repeats, values) = (mean_of(&|one| f64::from(one.0)), mean_of(&|one| one.1));
    let both = mean_of(&|one| (f64::from(one.0) - repeats) * (one.1 - values));
    let (of_x, of_m) = (
        mean_of(&|one| (f64::from(one.0) - repeats).powi(2)),
        mean_of(&|one| (one.1 - values).powi(2)),
    );
    match of_x > 0.0 && of_m > 0.0 {
        true => both / (of_x * of_m).sqrt(),
        false => 0.0,
    }
}
