//! Medians, percentiles, spread; and the table of verdicts.

use serde_json::{Value, json};

/// The middle of some figures; 0 of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[half],
        _ => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

/// Milliseconds below which `share` of the ascending microseconds lie.
pub fn percentile_ms(ascending: &[u32], share: f64) -> f64 {
    if ascending.is_empty() {
        return 0.0;
    }
    let at = ((ascending.len() as f64 * share) as usize).min(ascending.len() - 1);
    f64::from(ascending[at]) / 1000.0
}

/// One figure over all rounds, as text: the median and, in brackets, the least and the greatest.
pub fn spread(figures: &[f64], digits: usize) -> String {
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = figures.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} [{least:.digits$}–{greatest:.digits$}]", median(figures))
}

/// What a row has to reach.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// To be shown, without a bound.
    Shown,
}

/// One line of the final table.
pub struct Row {
    pub name: &'static str,
    pub what: String,
    pub figure: f64,
    pub unit: &'static str,
    pub target: Target,
    /// Every round and what the figure was made of.
    pub details: Value,
}

impl Row {
    fn verdict(&self) -> &'static str {
        let reached = match self.target {
            Target::AtLeast(bound) => self.figure >= bound,
            Target::AtMost(bound) => self.figure <= bound,
            Target::Shown => return "shown",
        };
        if reached { "pass" } else { "falls short" }
    }

    fn target_text(&self) -> String {
        match self.target {
            Target::AtLeast(bound) => format!("≥ {bound}"),
            Target::AtMost(bound) => format!("≤ {bound}"),
            Target::Shown => "–".to_owned(),
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "row": self.name, "what": self.what, "figure": self.figure, "unit": self.unit,
            "target": self.target_text(), "verdict": self.verdict(), "details": self.details,
        })
    }
}

/// The table as text.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        format!("{:<4} {:<66} {:>9}    {:<8} {}\n", "row", "what", "figure", "target", "verdict");
    for row in rows {
        let figure = format!("{:.2}", row.figure);
        let (target, verdict) = (row.target_text(), row.verdict());
        text += &format!(
            "{:<4} {:<66} {figure:>9} {:<2} {target:<8} {verdict}\n",
            row.name, row.what, row.unit
        );
    }
    text
}
