//! Histories of many writers and readers of the same customers, and whether they are linear: as if
//! every operation had happened at one instant between its call and its answer.
//!
//! Customers have a total order of versions, which makes the question cheap, O(n log n): each
//! acknowledged write occupies exactly one version, the one after the version it was conditional on;
//! whoever begins after an answer sees no older version than that answer told; every version that is
//! seen was written by somebody who had begun by then. A write without an answer is a *maybe*: it
//! may occupy one version or none.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

/// One operation on one customer, as its caller saw it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub customer: String,
    pub began: Instant,
    /// When the answer came; for a maybe, when its caller gave up.
    pub ended: Instant,
    pub what: What,
}

/// What was done and answered. Values are unique to their write within a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A read that was answered.
    Read { version: i64, value: String },
    /// A write on the condition that the version is `base` (`If-Match`), answered with `version`.
    Written { base: i64, version: i64, value: String },
    /// A write that was refused because the version was not `base`.
    Refused { base: i64 },
    /// A write that got no answer, or one that leaves it open.
    Maybe { base: i64, value: String },
}

impl What {
    /// The version that the answer told.
    fn seen(&self) -> Option<i64> {
        match self {
            Self::Read { version, .. } | Self::Written { version, .. } => Some(*version),
            Self::Refused { .. } | Self::Maybe { .. } => None,
        }
    }
}

/// Where a customer stood before the first operation and after the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: (i64, String),
    pub last: (i64, String),
}

/// What was counted in a linear history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub customers: usize,
    pub operations: usize,
    pub written: usize,
    pub read: usize,
    pub refused: usize,
    pub maybe: usize,
    /// Maybes of which it turned out that they did happen.
    pub happened: usize,
}

/// One way in which a history is not linear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Two acknowledged writes have the same version: one of them is lost.
    SameVersion { customer: String, version: i64 },
    /// A write's version is not the one after its base: it overwrote what it did not know.
    NotNext { customer: String, base: i64, version: i64 },
    /// Somebody saw an older version than an answer before had told.
    BackInTime { customer: String, seen: i64, told_before: i64 },
    /// A version's value is not what was written as this version.
    WrongValue { customer: String, version: i64, value: String },
    /// A version that nobody can have written by the time it was seen.
    Unwritten { customer: String, version: i64 },
    /// A write was refused although its base was the version all the while.
    RefusedWithoutCause { customer: String, base: i64 },
    /// An acknowledged version lies beyond the last one.
    Lost { customer: String, version: i64, last: i64 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Checks a history. `spans`: every customer in it.
///
/// # Errors
/// Every violation found.
pub fn check(
    operations: &[Operation],
    spans: &HashMap<String, Span>,
) -> Result<Summary, Vec<Violation>> {
    let mut summary = Summary { operations: operations.len(), ..Summary::default() };
    let mut by_customer: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        match operation.what {
            What::Read { .. } => summary.read += 1,
            What::Written { .. } => summary.written += 1,
            What::Refused { .. } => summary.refused += 1,
            What::Maybe { .. } => summary.maybe += 1,
        }
        by_customer.entry(&operation.customer).or_default().push(operation);
    }
    summary.customers = by_customer.len();
    let mut violations = Vec::new();
    for (customer, operations) in by_customer {
        let Some(span) = spans.get(customer) else {
            panic!("nothing is known of customer {customer}");
        };
        let mut chain = Chain::of(customer, &operations, span, &mut violations);
        chain.values(&operations, span, &mut violations);
        in_real_time(customer, &operations, &mut violations);
        chain.refusals(&operations, &mut violations);
        summary.happened += chain.happened();
    }
    if violations.is_empty() { Ok(summary) } else { Err(violations) }
}

/// The versions of one customer and who may have written them.
struct Chain<'a> {
    customer: &'a str,
    /// By version, the acknowledged write of it.
    written: BTreeMap<i64, &'a Operation>,
    /// By base, the writes of which nobody knows.
    maybes: HashMap<i64, Vec<&'a Operation>>,
    /// By version, the value that a maybe must have given it.
    revealed: BTreeMap<i64, String>,
    first: i64,
    last: i64,
}

impl<'a> Chain<'a> {
    fn of(
        customer: &'a str,
        operations: &[&'a Operation],
        span: &Span,
        violations: &mut Vec<Violation>,
    ) -> Self {
        let mut chain = Self {
            customer,
            written: BTreeMap::new(),
            maybes: HashMap::new(),
            revealed: BTreeMap::new(),
            first: span.first.0,
            last: span.last.0,
        };
        for operation in operations {
            match &operation.what {
                What::Written { base, version, .. } => {
                    let (base, version) = (*base, *version);
                    let customer = customer.to_owned();
                    if version != base + 1 {
                        let customer = customer.clone();
                        violations.push(Violation::NotNext { customer, base, version });
                    }
                    if version > chain.last {
                        let (customer, last) = (customer.clone(), chain.last);
                        violations.push(Violation::Lost { customer, version, last });
                    }
                    if chain.written.insert(version, operation).is_some() {
                        violations.push(Violation::SameVersion { customer, version });
                    }
                }
                What::Maybe { base, .. } => chain.maybes.entry(*base).or_default().push(operation),
                What::Read { .. } | What::Refused { .. } => {}
            }
        }
        // Whatever was acknowledged by nobody, somebody without an answer must have written.
        for version in chain.first + 1..=chain.last {
            let known = chain.written.contains_key(&version);
            if !known && !chain.maybes.contains_key(&(version - 1)) {
                let customer = customer.to_owned();
                violations.push(Violation::Unwritten { customer, version });
            }
        }
        chain
    }

    /// Every value seen is the one written as that version, by somebody who had begun.
    fn values(
        &mut self,
        operations: &[&'a Operation],
        span: &Span,
        violations: &mut Vec<Violation>,
    ) {
        let reads = operations.iter().filter_map(|operation| match &operation.what {
            What::Read { version, value } => Some((*version, value, Some(operation.ended))),
            _ => None,
        });
        let last = (span.last.0, &span.last.1, None);
        for (version, value, at) in reads.chain([last]) {
            let customer = self.customer.to_owned();
            if version == self.first {
                if *value != span.first.1 {
                    let value = value.clone();
                    violations.push(Violation::WrongValue { customer, version, value });
                }
            } else if let Some(Operation { what: What::Written { value: own, .. }, .. }) =
                self.written.get(&version)
            {
                if own != value {
                    let value = value.clone();
                    violations.push(Violation::WrongValue { customer, version, value });
                }
            } else if !self.reveals(version, value, at) {
                violations.push(Violation::Unwritten { customer, version });
            } else if self.revealed.get(&version).is_some_and(|known| known != value) {
                let value = value.clone();
                violations.push(Violation::WrongValue { customer, version, value });
            } else {
                self.revealed.insert(version, value.clone());
            }
        }
    }

    /// Whether a maybe that had begun can have given this version its value.
    fn reveals(&self, version: i64, value: &str, seen: Option<Instant>) -> bool {
        self.maybes.get(&(version - 1)).into_iter().flatten().any(|maybe| {
            let begun = seen.is_none_or(|seen| maybe.began <= seen);
            begun && matches!(&maybe.what, What::Maybe { value: own, .. } if own == value)
        })
    }

    /// Who was refused must have met another version than its base at some instant: an older one
    /// before, or a newer one whose writer had begun.
    fn refusals(&self, operations: &[&'a Operation], violations: &mut Vec<Violation>) {
        for operation in operations {
            let What::Refused { base } = &operation.what else { continue };
            let newer = |version: i64, writer: &Operation| {
                version > *base && writer.began <= operation.ended
            };
            let written = self.written.range(base + 1..).any(|(version, one)| newer(*version, one));
            let maybe = self
                .maybes
                .iter()
                .any(|(base, writers)| writers.iter().any(|writer| newer(base + 1, writer)));
            // The base itself may not have been written yet, only guessed; ours never guess.
            if !written && !maybe {
                let customer = self.customer.to_owned();
                violations.push(Violation::RefusedWithoutCause { customer, base: *base });
            }
        }
    }

    fn happened(&self) -> usize {
        let gaps = (self.first + 1..=self.last).filter(|at| !self.written.contains_key(at));
        gaps.count()
    }
}

/// What was told is not untold: a sweep over the calls in order of their beginnings, with the
/// newest version that had been told before each.
fn in_real_time(customer: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let telling = || operations.iter().filter(|operation| operation.what.seen().is_some());
    let mut by_begin: Vec<_> = telling().collect();
    let mut by_end = by_begin.clone();
    by_begin.sort_by_key(|operation| operation.began);
    by_end.sort_by_key(|operation| operation.ended);
    let mut ended = by_end.into_iter().peekable();
    let mut told = None;
    for operation in by_begin {
        while let Some(before) = ended.next_if(|before| before.ended < operation.began) {
            told = told.max(before.what.seen());
        }
        let (Some(told_before), Some(seen)) = (told, operation.what.seen()) else { continue };
        let is_write = matches!(operation.what, What::Written { .. });
        if seen < told_before || (is_write && seen == told_before) {
            let customer = customer.to_owned();
            violations.push(Violation::BackInTime { customer, seen, told_before });
        }
    }
}

/// A history made by hand: times in milliseconds from a common beginning.
pub fn at(origin: Instant, customer: &str, began: u64, ended: u64, what: What) -> Operation {
    let instant = |ms| origin + Duration::from_millis(ms);
    Operation { customer: customer.to_owned(), began: instant(began), ended: instant(ended), what }
}
