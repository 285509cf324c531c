//! What a scenario reached, criterion by criterion, as one line and as a row of the table.

use std::fmt::Display;

/// Gathers what one scenario reached.
#[derive(Debug, Default)]
pub struct Report {
    reached: Vec<String>,
    missed: Vec<String>,
}

impl Report {
    /// A criterion with the figure that was reached; it fails the scenario unless it holds. The
    /// scenario goes on, so that the other figures are known as well.
    pub fn must(&mut self, holds: bool, figure: impl Display) {
        let figure = figure.to_string();
        if !holds {
            println!("    missed: {figure}");
            self.missed.push(figure.clone());
        }
        self.reached.push(if holds { figure } else { format!("**missed:** {figure}") });
    }

    /// A figure that no criterion is about.
    pub fn note(&mut self, figure: impl Display) {
        self.reached.push(figure.to_string());
    }

    /// Whether every criterion was met.
    pub fn is_met(&self) -> bool {
        self.missed.is_empty()
    }

    pub fn text(&self) -> String {
        self.reached.join("; ")
    }
}

/// Thousandths of a second in words.
pub fn ms(duration: std::time::Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1_000.0)
}

/// The value below which the given share of them lies, 0 of none.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(0.0)
}
