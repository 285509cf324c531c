//! Finding the parameters that make what was seen most likely: the simplex of Nelder and Mead, which
//! needs no derivatives, begun anew at what it found until that is found again.
//!
//! All parameters of our models are positive; they are looked for by their logarithms.

use argmin::core::{CostFunction, Error, Executor, State};
use argmin::solver::neldermead::NelderMead;
use std::cell::Cell;

/// Beyond e^±14 (a million) a parameter says that the data do not tell it, and differences of ln Γ lose
/// their digits.
const LOGARITHM_MAX: f64 = 14.0;

/// A side of the first simplex, in logarithms; of those after it.
const STEPS: [f64; 2] = [0.5, 0.1];

/// The values at the simplex's corners agree to this much when it is done.
const AGREEMENT: f64 = 1e-12;

/// The search is over when a new beginning finds less than this.
const GAIN_MIN: f64 = 1e-9;

const ITERATIONS_MAX: u64 = 3_000;
const BEGINNINGS_MAX: usize = 8;

/// Why there are no parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFitted {
    #[error("there are too few customers with more than one purchase")]
    TooFew,
    #[error("the data do not determine the parameters")]
    Undetermined,
    #[error("it was stopped")]
    Stopped,
}

impl NotFitted {
    /// For programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooFew => "too_few_customers",
            Self::Undetermined => "undetermined",
            Self::Stopped => "stopped",
        }
    }
}

/// Asked now and then whether to go on, with the number of evaluations so far.
pub type GoOn<'a> = &'a dyn Fn(u64) -> bool;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Optimum<const N: usize> {
    pub parameters: [f64; N],
    pub cost: f64,
    /// How often the cost was computed.
    pub evaluations: u64,
}

struct Problem<'a, const N: usize> {
    cost: &'a dyn Fn(&[f64; N]) -> f64,
    go_on: GoOn<'a>,
    evaluations: &'a Cell<u64>,
    stopped: &'a Cell<bool>,
}

impl<const N: usize> CostFunction for Problem<'_, N> {
    type Param = Vec<f64>;
    type Output = f64;

    fn cost(&self, logarithms: &Vec<f64>) -> Result<f64, Error> {
        self.evaluations.set(self.evaluations.get() + 1);
        if !(self.go_on)(self.evaluations.get()) {
            self.stopped.set(true);
            return Err(NotFitted::Stopped.into());
        }
        if logarithms.iter().any(|one| one.abs() > LOGARITHM_MAX) {
            return Ok(f64::MAX);
        }
        let mut parameters = [0.0; N];
        for (parameter, logarithm) in parameters.iter_mut().zip(logarithms) {
            *parameter = logarithm.exp();
        }
        let cost = (self.cost)(&parameters);
        Ok(if cost.is_finite() { cost } else { f64::MAX })
    }
}

/// The positive parameters with the least cost, near or far from `start`.
///
/// # Errors
/// [`NotFitted::Stopped`] when `go_on` says so; [`NotFitted::Undetermined`] when the search runs away
/// or does not settle.
pub fn minimise<const N: usize>(
    start: [f64; N],
    cost: &dyn Fn(&[f64; N]) -> f64,
    go_on: GoOn<'_>,
) -> Result<Optimum<N>, NotFitted> {
    let (evaluations, stopped) = (Cell::new(0), Cell::new(false));
    let mut best: (Vec<f64>, f64) = (start.iter().map(|one| one.ln()).collect(), f64::MAX);
    for beginning in 0..BEGINNINGS_MAX {
        let step = if beginning == 0 { STEPS[0] } else { STEPS[1] };
        let mut corners = vec![best.0.clone()];
        for side in 0..N {
            let mut corner = best.0.clone();
            corner[side] += step;
            corners.push(corner);
        }
        let solver = NelderMead::new(corners).with_sd_tolerance(AGREEMENT);
        let solver = solver.map_err(|_| NotFitted::Undetermined)?;
        let problem = Problem { cost, go_on, evaluations: &evaluations, stopped: &stopped };
        let run = Executor::new(problem, solver)
            .configure(|state| state.max_iters(ITERATIONS_MAX))
            .timer(false)
            .run();
        let why = if stopped.get() { NotFitted::Stopped } else { NotFitted::Undetermined };
        let found = run.map_err(|_| why)?;
        let state = found.state();
        let (Some(logarithms), found) = (state.get_best_param().cloned(), state.get_best_cost())
        else {
            return Err(NotFitted::Undetermined);
        };
        let gain = best.1 - found;
        if gain > 0.0 {
            best = (logarithms, found);
        }
        if gain < GAIN_MIN {
            let away = best.0.iter().any(|one| one.abs() > LOGARITHM_MAX - 1.0);
            if away || best.1 == f64::MAX {
                return Err(NotFitted::Undetermined);
            }
            let mut parameters = [0.0; N];
            for (parameter, logarithm) in parameters.iter_mut().zip(&best.0) {
                *parameter = logarithm.exp();
            }
            return Ok(Optimum { parameters, cost: best.1, evaluations: evaluations.get() });
        }
    }
    Err(NotFitted::Undetermined)
}
