//! Every metric of the service, in one list: its name, kind, labels with what they can say, and what
//! it means. What is counted anywhere stands here and the other way round (`tests/tidy.rs`);
//! `docs/metrics.md` is written from it.
//!
//! A label says one of a few words that are known beforehand: never an id, an address, a path as it
//! was asked for, or anything else that a caller chose.

mod carrying;
mod serving;

use metrics::{Label as Pair, Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// Upper bounds of histograms of what somebody waits for: OpenTelemetry's for HTTP.
pub const WAITS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Upper bounds of histograms of what goes on behind everybody's back, up to six hours.
pub const DELAYS: &[f64] =
    &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0];

/// Upper bounds of histograms of counts, up to the largest batch that is allowed.
pub const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// A counter of at most so many series stands at 0 from the start, so that its first increase is one.
const BORN_MAX: usize = 16;

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [Label],
    /// One sentence without its full stop.
    pub meaning: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// A label and what it can say.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of a list that stands elsewhere, in words.
    Listed(&'static str),
}

/// Metrics that are looked at together.
pub struct Section {
    pub title: &'static str,
    pub metrics: &'static [Metric],
}

const fn counter(name: &'static str, labels: &'static [Label], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, meaning }
}

const fn gauge(name: &'static str, labels: &'static [Label], meaning: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, meaning }
}

const fn histogram(
    name: &'static str,
    bounds: &'static [f64],
    labels: &'static [Label],
    meaning: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Histogram(bounds), labels, meaning }
}

const fn words(name: &'static str, words: &'static [&'static str]) -> Label {
    Label { name, values: Values::Words(words) }
}

const fn listed(name: &'static str, what: &'static str) -> Label {
    Label { name, values: Values::Listed(what) }
}

/// All of them, in the order of the page.
pub fn sections() -> impl Iterator<Item = &'static Section> {
    serving::SECTIONS.iter().chain(carrying::SECTIONS)
}

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    sections().flat_map(|section| section.metrics)
}

impl Metric {
    fn unit(&self) -> Unit {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        match name.rsplit('_').next() {
            Some("seconds") => Unit::Seconds,
            Some("bytes") => Unit::Bytes,
            _ => Unit::Count,
        }
    }

    /// The word that Prometheus has for its kind.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }

    /// Every combination of its labels' words; none where a label's words stand elsewhere.
    fn combinations(&self) -> Vec<Vec<Pair>> {
        let start = vec![Vec::new()];
        self.labels.iter().fold(start, |so_far, label| {
            let words = match label.values {
                Values::Words(words) => words,
                Values::Listed(_) => &[],
            };
            let with = |pairs: &Vec<Pair>| {
                let pairs = pairs.clone();
                words.iter().map(move |word| {
                    let mut pairs = pairs.clone();
                    pairs.push(Pair::from_static_parts(label.name, word));
                    pairs
                })
            };
            so_far.iter().flat_map(with).collect()
        })
    }
}

/// Tells the recorder what each metric means, and begins the small counters at 0; once per process.
pub fn describe() {
    for metric in all() {
        let (unit, meaning) = (metric.unit(), metric.meaning);
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, meaning),
            Kind::Gauge => describe_gauge!(metric.name, unit, meaning),
            Kind::Histogram(_) => describe_histogram!(metric.name, unit, meaning),
        }
        let combinations = metric.combinations();
        if metric.kind == Kind::Counter && combinations.len() <= BORN_MAX {
            for pairs in combinations {
                counter!(metric.name, pairs).increment(0);
            }
        }
    }
}

#[cfg(test)]
mod tests;
