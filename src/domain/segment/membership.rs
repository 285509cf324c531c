//! Who belongs to which segment (rules S2, S3).
//!
//! A customer is judged in the batch that writes the verdict, by what is known of it under its lock: so
//! no verdict is ever older than what it judges. All rules in force come with the command, each after
//! those that it names; a membership that changes has those judged as well that ask about it.

use super::attributes::Mark;
use super::record::SegmentCode;
use super::{Checked, Facts, evaluate, nesting};
use crate::domain::event::{Event, Trace};
use crate::domain::ids::{CustomerId, SegmentId};
use crate::domain::message::{MembershipCause, Message, SegmentAssigned, SegmentRemoved};
use chrono::{DateTime, Utc};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A rule in force.
#[derive(Debug)]
pub struct Program {
    pub id: SegmentId,
    pub code: SegmentCode,
    pub checked: Checked,
}

/// All rules in force.
#[derive(Debug, Default)]
pub struct Programs {
    /// Of which state of all definitions.
    pub version: i64,
    /// Each after those that it names.
    programs: Vec<Program>,
    /// Which of them a mark makes worth judging.
    by_mark: HashMap<Mark, Vec<usize>>,
    by_id: HashMap<SegmentId, usize>,
}

impl Programs {
    /// The rules name each other without a cycle.
    pub fn new(version: i64, rules: Vec<Program>) -> Self {
        let programs = in_order(rules);
        let mut by_mark: HashMap<Mark, Vec<usize>> = HashMap::new();
        for (index, program) in programs.iter().enumerate() {
            for mark in program.checked.marks() {
                by_mark.entry(mark.clone()).or_default().push(index);
            }
        }
        let by_id = programs.iter().enumerate().map(|(index, one)| (one.id, index)).collect();
        Self { version, programs, by_mark, by_id }
    }

    /// All of them, each after those that it names.
    pub fn iter(&self) -> impl Iterator<Item = &Program> {
        self.programs.iter()
    }

    /// The rule of a segment, if it is in force.
    pub fn rule(&self, id: SegmentId) -> Option<&Program> {
        self.by_id.get(&id).and_then(|index| self.programs.get(*index))
    }

    /// Whether any rule reads what these marks mark.
    pub fn concerns(&self, marks: &BTreeSet<Mark>) -> bool {
        match marks.contains(&Mark::Created) {
            true => !self.programs.is_empty(),
            false => marks.iter().any(|mark| self.by_mark.contains_key(mark)),
        }
    }

    /// Whether any other asks about the members of this one's segment.
    pub fn is_asked_about(&self, program: &Program) -> bool {
        self.askers(&program.code).next().is_some()
    }

    /// All that may be judged when these are asked: those that ask about their members, too.
    pub fn reached(&self, asked: &Asked) -> Vec<&Program> {
        let mut ahead = self.asked(asked);
        let mut reached = Vec::new();
        while let Some(program) = ahead.pop_first().and_then(|index| self.programs.get(index)) {
            ahead.extend(self.askers(&program.code));
            reached.push(program);
        }
        reached
    }

    fn asked(&self, asked: &Asked) -> BTreeSet<usize> {
        match asked {
            Asked::All => (0..self.programs.len()).collect(),
            Asked::Marks(marks) if marks.contains(&Mark::Created) => self.asked(&Asked::All),
            Asked::Marks(marks) => {
                marks.iter().filter_map(|mark| self.by_mark.get(mark)).flatten().copied().collect()
            }
            Asked::These(ids) => ids.iter().filter_map(|id| self.by_id.get(id)).copied().collect(),
        }
    }

    /// Those that ask about the members of a segment; each comes after it.
    fn askers(&self, code: &SegmentCode) -> impl Iterator<Item = usize> {
        let mark = Mark::Segment(code.as_str().to_owned());
        self.by_mark.get(&mark).into_iter().flatten().copied()
    }
}

fn in_order(rules: Vec<Program>) -> Vec<Program> {
    let asks = rules.iter().map(|rule| {
        let known = rule.checked.segments();
        (rule.code.as_str().to_owned(), known.clone())
    });
    let asks: BTreeMap<String, BTreeSet<String>> = asks.collect();
    let mut rules: HashMap<String, Program> =
        rules.into_iter().map(|rule| (rule.code.as_str().to_owned(), rule)).collect();
    nesting::in_order(&asks).into_iter().filter_map(|code| rules.remove(code)).collect()
}

/// Which rules are to be judged.
#[derive(Debug, Clone)]
pub enum Asked {
    All,
    /// Those that read what changed.
    Marks(BTreeSet<Mark>),
    These(BTreeSet<SegmentId>),
}

/// What may be done about a customer's memberships.
#[derive(Debug, Clone)]
pub enum MembershipCommand {
    Judge {
        programs: Arc<Programs>,
        asked: Asked,
        cause: MembershipCause,
    },
    /// Into a static segment.
    Put {
        segment: SegmentId,
        code: SegmentCode,
    },
    /// Out of a segment: by hand out of a static one, or because the segment is not in force.
    Take {
        segment: SegmentId,
        code: SegmentCode,
        cause: MembershipCause,
    },
}

impl MembershipCommand {
    /// Whether all must be known that conditions may ask about.
    pub fn judges(&self) -> bool {
        matches!(self, Self::Judge { .. })
    }

    /// The segment that somebody is put into.
    pub fn puts_into(&self) -> Option<SegmentId> {
        match self {
            Self::Put { segment, .. } => Some(*segment),
            Self::Judge { .. } | Self::Take { .. } => None,
        }
    }
}

/// What is in force in the transaction that writes a verdict: nobody changes it before that ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InForce {
    /// Of the state of all definitions.
    pub version: i64,
    /// Static segments among those that somebody is to be put into.
    pub open: BTreeSet<SegmentId>,
}

/// A customer's memberships, as a command finds them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memberships {
    pub held: BTreeMap<SegmentId, Held>,
    /// When time alone may change a verdict.
    pub flips: BTreeMap<SegmentId, DateTime<Utc>>,
    /// What the segments that it belongs to are called.
    pub codes: BTreeMap<SegmentId, SegmentCode>,
    /// All that rules may ask about, where one is to be judged.
    pub facts: Option<Arc<Facts>>,
    /// Where somebody is judged, or put into a segment.
    pub in_force: Option<Arc<InForce>>,
}

/// Since when, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub since: DateTime<Utc>,
    pub cause: MembershipCause,
}

/// What became of a membership.
#[derive(Debug, Clone, PartialEq)]
pub enum MembershipEvent {
    Joined {
        segment: SegmentId,
        code: SegmentCode,
        held: Held,
    },
    Left {
        segment: SegmentId,
        code: SegmentCode,
        cause: MembershipCause,
    },
    /// Time alone may change the verdict at another instant, or never.
    Due {
        segment: SegmentId,
        at: Option<DateTime<Utc>>,
    },
}

impl MembershipEvent {
    pub(in crate::domain) fn apply(&self, memberships: &mut Memberships) {
        match self {
            Self::Joined { segment, code, held } => {
                memberships.held.insert(*segment, *held);
                memberships.codes.insert(*segment, code.clone());
            }
            Self::Left { segment, .. } => {
                memberships.held.remove(segment);
                memberships.codes.remove(segment);
            }
            Self::Due { segment, at: Some(at) } => {
                memberships.flips.insert(*segment, *at);
            }
            Self::Due { segment, at: None } => {
                memberships.flips.remove(segment);
            }
        }
    }

    pub(in crate::domain) fn message(&self, customer_id: CustomerId) -> Option<Message> {
        match self {
            Self::Joined { segment, code, held } => {
                let (segment_id, segment) = (*segment, code.clone());
                let cause = held.cause;
                Some(SegmentAssigned { customer_id, segment_id, segment, cause }.into())
            }
            Self::Left { segment, code, cause } => {
                let (segment_id, segment, cause) = (*segment, code.clone(), *cause);
                Some(SegmentRemoved { customer_id, segment_id, segment, cause }.into())
            }
            Self::Due { .. } => None,
        }
    }

    pub(in crate::domain) fn trace(&self) -> Option<Trace> {
        let trace = |action, code: &SegmentCode, cause: MembershipCause| {
            Some(Trace { action, data: json!({ "segment": code, "cause": cause }) })
        };
        match self {
            Self::Joined { code, held, .. } => trace("segment.assigned", code, held.cause),
            Self::Left { code, cause, .. } => trace("segment.removed", code, *cause),
            Self::Due { .. } => None,
        }
    }
}

/// What ends with the customer: it leaves every segment.
pub fn leave_all(memberships: &Memberships, cause: MembershipCause) -> Vec<Event> {
    let left = memberships.held.keys().filter_map(|id| {
        let code = memberships.codes.get(id)?.clone();
        Some(MembershipEvent::Left { segment: *id, code, cause })
    });
    let never = memberships.flips.keys().map(|id| MembershipEvent::Due { segment: *id, at: None });
    left.chain(never).map(Event::Membership).collect()
}

/// Judges a customer anew. Events in the order of the rules; none where nothing changes.
pub fn judge(
    memberships: &Memberships,
    programs: &Programs,
    asked: &Asked,
    cause: MembershipCause,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let Some(facts) = &memberships.facts else { return Vec::new() };
    let mut facts = Facts::clone(facts);
    let names = memberships.codes.values().map(|code| code.as_str().to_owned());
    facts.segments = names.collect();
    let mut ahead = programs.asked(asked);
    let mut events = Vec::new();
    while let Some(program) = ahead.pop_first().and_then(|index| programs.programs.get(index)) {
        let Program { id, code, checked } = program;
        let answer = evaluate(checked, &facts, now);
        let held = memberships.held.contains_key(id);
        if answer.member != held {
            let (segment, code) = (*id, code.clone());
            if answer.member {
                facts.segments.insert(code.as_str().to_owned());
            } else {
                facts.segments.remove(code.as_str());
            }
            ahead.extend(programs.askers(&code));
            events.push(match answer.member {
                true => MembershipEvent::Joined { segment, code, held: Held { since: now, cause } },
                false => MembershipEvent::Left { segment, code, cause },
            });
        }
        if answer.next_flip.as_ref() != memberships.flips.get(id) {
            events.push(MembershipEvent::Due { segment: *id, at: answer.next_flip });
        }
    }
    events.into_iter().map(Event::Membership).collect()
}
