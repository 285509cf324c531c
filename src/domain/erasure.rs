//! The deletion of a customer, from the wish to the last service that forgot (rules P1, P2, P4).
//!
//! It is asked for, and the account is frozen at once. When its grace is over, all that is kept here
//! goes in one transaction, which also commands the other services to forget. Each of these is a step,
//! commanded again until it answers that it is done.

use super::customer::Customer;
use super::ids::{CustomerId, ErasureId, HoldId, MailId, MessageId, SegmentId, StepId};
use super::proof::Proof;
use super::segment::record::SegmentCode;
use super::status::{ReasonCode, Status};
use super::throttle::Bucket;
use chrono::{DateTime, Months, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long an erasure that something stands against rests before it is looked at again.
pub const PUT_OFF: TimeDelta = TimeDelta::hours(1);

/// How far a deletion has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureState {
    /// Within its grace, or something stands against it.
    Scheduled,
    Cancelled,
    /// Nothing is kept here any more; others are still asked.
    Running,
    Completed,
}

impl ErasureState {
    pub const ALL: [Self; 4] = [Self::Scheduled, Self::Cancelled, Self::Running, Self::Completed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Cancelled => "cancelled",
            Self::Running => "running",
            Self::Completed => "completed",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What an erasure consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StepName {
    /// All that is kept here.
    #[serde(rename = "local")]
    Local,
    #[serde(rename = "order.anonymize")]
    AnonymizeOrders,
    #[serde(rename = "payment.delete_methods")]
    DeletePaymentMethods,
    #[serde(rename = "notification.forget")]
    ForgetNotifications,
}

impl StepName {
    /// Those that other services are commanded.
    pub const COMMANDS: [Self; 3] =
        [Self::AnonymizeOrders, Self::DeletePaymentMethods, Self::ForgetNotifications];

    /// As it is stored; of a command also its type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::AnonymizeOrders => "order.anonymize",
            Self::DeletePaymentMethods => "payment.delete_methods",
            Self::ForgetNotifications => "notification.forget",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Local].into_iter().chain(Self::COMMANDS);
        all.into_iter().find(|name| name.as_str() == text)
    }
}

/// Whether a message of this type is a command to another service, and goes where commands go.
pub fn is_command(kind: &str) -> bool {
    StepName::COMMANDS.iter().any(|name| name.as_str() == kind)
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Sent,
    Failed,
    Done,
}

impl StepState {
    pub const ALL: [Self; 3] = [Self::Sent, Self::Failed, Self::Done];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Done => "done",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// One step of an erasure that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub id: StepId,
    pub name: StepName,
    pub state: StepState,
    /// How often it was commanded.
    pub tries: i32,
    /// The message of the last command; none of what is done here.
    pub message: Option<MessageId>,
    /// What the last answer that it failed gave as its code.
    pub last_error: Option<String>,
    pub sent_at: DateTime<Utc>,
    /// When it is commanded again; `None`: it is done.
    pub next_try_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
}

impl Step {
    pub fn is_done(&self) -> bool {
        self.state == StepState::Done
    }
}

/// Who asked for a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requester {
    Owner,
    /// By the id of the key.
    Staff(String),
    /// Whoever restored a backup, by the ledger of who was erased.
    Operator,
}

/// Why an erasure that is due waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Obstacle {
    LegalHold,
    ActiveOrders,
}

impl Obstacle {
    pub const ALL: [Self; 2] = [Self::LegalHold, Self::ActiveOrders];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::LegalHold => "legal_hold",
            Self::ActiveOrders => "active_orders",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|obstacle| obstacle.as_str() == text)
    }
}

/// A static segment that was left, to come back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftSegment {
    pub id: SegmentId,
    pub since: DateTime<Utc>,
}

/// A deletion that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    pub id: ErasureId,
    pub customer_id: CustomerId,
    pub state: ErasureState,
    pub requested_by: Requester,
    /// What cancelling brings back, like the one below.
    pub status_before: Status,
    pub segments: Vec<LeftSegment>,
    pub requested_at: DateTime<Utc>,
    /// The end of its grace.
    pub due_at: DateTime<Utc>,
    /// A month after it was asked for: by then the law wants it answered (GDPR, article 12).
    pub legal_due_at: DateTime<Utc>,
    /// When the reaper looks at it.
    pub look_at: DateTime<Utc>,
    /// What stood against it when it was last looked at.
    pub put_off: Option<Obstacle>,
    pub started_at: Option<DateTime<Utc>>,
    pub completed_at: Option<DateTime<Utc>>,
    pub cancelled_at: Option<DateTime<Utc>>,
    /// Commands sent so far.
    pub commands: i64,
    pub steps: Vec<Step>,
}

impl Erasure {
    /// One that is asked for at `now` and is due at `due_at`, of a customer who is in no static segment.
    pub fn scheduled(
        id: ErasureId,
        customer: &Customer,
        requested_by: Requester,
        now: DateTime<Utc>,
        due_at: DateTime<Utc>,
    ) -> Self {
        Self {
            id,
            customer_id: customer.id,
            state: ErasureState::Scheduled,
            requested_by,
            status_before: customer.status_before_deletion.unwrap_or(customer.status),
            segments: Vec::new(),
            requested_at: now,
            due_at,
            legal_due_at: a_month_after(now),
            look_at: due_at,
            put_off: None,
            started_at: None,
            completed_at: None,
            cancelled_at: None,
            commands: 0,
            steps: Vec::new(),
        }
    }

    /// Whether its grace ends within the month that the law gives.
    pub fn is_within_legal_month(&self) -> bool {
        self.due_at <= self.legal_due_at
    }

    pub fn step(&self, id: StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }

    pub fn is_done(&self) -> bool {
        self.steps.iter().all(Step::is_done)
    }
}

/// The same day and time of the next month, or the last day of that month where it has no such day.
pub fn a_month_after(instant: DateTime<Utc>) -> DateTime<Utc> {
    instant.checked_add_months(Months::new(1)).unwrap_or(instant)
}

/// A duty to keep, which stands against an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegalHold {
    pub id: HoldId,
    pub customer_id: CustomerId,
    pub reason: ReasonCode,
    /// The id of the staff key.
    pub placed_by: String,
    pub placed_at: DateTime<Utc>,
    pub released: Option<Release>,
}

/// The end of a duty to keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The id of the staff key.
    pub by: String,
    pub at: DateTime<Utc>,
}

/// What is known of a customer's deletion, as a command finds it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deletions {
    /// The open one: scheduled or running. What a command ends stays here until it is saved.
    pub request: Option<Erasure>,
    /// The one that stands, or that the command at hand released.
    pub hold: Option<LegalHold>,
    /// A hold of somebody who became one with the customer, which stands against it as well.
    pub held_within: bool,
    /// What the static segments to come back to are called now; of those that are still there.
    pub codes: BTreeMap<SegmentId, SegmentCode>,
}

impl Deletions {
    /// The duty that stands.
    pub fn hold(&self) -> Option<&LegalHold> {
        self.hold.as_ref().filter(|hold| hold.released.is_none())
    }

    pub fn is_held(&self) -> bool {
        self.hold().is_some() || self.held_within
    }

    pub fn open(&self, state: ErasureState) -> Option<&Erasure> {
        self.request.as_ref().filter(|request| request.state == state)
    }
}

/// When a step is commanded again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// An answer may take this long.
    pub patience: TimeDelta,
    /// The rest after a first failure; it doubles.
    pub first: TimeDelta,
    /// The longest.
    pub most: TimeDelta,
}

impl RetryPolicy {
    /// After the `tries`-th try has failed.
    pub fn after_failure(&self, tries: i32, now: DateTime<Utc>) -> DateTime<Utc> {
        let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(20);
        now + self.first.checked_mul(1 << doublings).unwrap_or(self.most).min(self.most)
    }

    /// Where nobody answers the `tries`-th try.
    pub fn after_silence(&self, tries: i32, now: DateTime<Utc>) -> DateTime<Utc> {
        self.after_failure(tries, now).max(now + self.patience)
    }
}

/// Who asks for a deletion, with what that takes.
#[derive(Debug, Clone)]
pub enum Asking {
    Owner(Proof),
    Staff,
}

/// What may be done about a customer's deletion.
#[derive(Debug, Clone)]
pub enum DeletionCommand {
    Request(Box<RequestDeletion>),
    /// Within the grace: all is as it was.
    Cancel {
        mail_id: MailId,
    },
    PlaceHold {
        id: HoldId,
        reason: ReasonCode,
    },
    ReleaseHold,
    /// The grace is over: all that is kept goes, and others are commanded to forget.
    Begin(Box<BeginErasure>),
    /// Steps that are not done are commanded again.
    Resend {
        erasure: ErasureId,
        /// Fresh ids, one for each step at most.
        messages: Vec<MessageId>,
        policy: RetryPolicy,
        /// Also those whose time has not come.
        all: bool,
    },
    /// Another service says what became of its step.
    Answer {
        erasure: ErasureId,
        step: StepId,
        answer: StepAnswer,
        policy: RetryPolicy,
    },
    /// A restored backup brought back who was erased before.
    EraseAgain(Box<EraseAgain>),
}

#[derive(Debug, Clone)]
pub struct RequestDeletion {
    /// A fresh id.
    pub id: ErasureId,
    pub asking: Asking,
    pub grace: TimeDelta,
    /// Without a grace.
    pub at_once: bool,
    /// By what the order service says now; `None`: by what is kept.
    pub active_orders: Option<usize>,
    pub mail_id: MailId,
}

#[derive(Debug, Clone)]
pub struct BeginErasure {
    /// What counts the customer's tries to sign in, found by its address, number and devices.
    pub buckets: Vec<Bucket>,
    /// One for what is done here, and one for each service that is commanded.
    pub steps: Vec<FreshStep>,
    /// As in [`RequestDeletion`].
    pub active_orders: Option<usize>,
    pub policy: RetryPolicy,
}

/// With what is erased who was erased before.
#[derive(Debug, Clone)]
pub struct EraseAgain {
    /// A fresh id, for one that the backup does not know of.
    pub id: ErasureId,
    /// The erasure that the ledger names.
    pub repeats: ErasureId,
    /// As in [`BeginErasure`].
    pub buckets: Vec<Bucket>,
    /// As in [`BeginErasure`].
    pub steps: Vec<FreshStep>,
    pub policy: RetryPolicy,
}

/// A step about to be made.
#[derive(Debug, Clone, Copy)]
pub struct FreshStep {
    pub id: StepId,
    pub name: StepName,
    pub message: MessageId,
}

/// What another service says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepAnswer {
    Done,
    /// With its code for why.
    Failed(String),
}

impl DeletionCommand {
    /// The buckets that go.
    pub fn erased_buckets(&self) -> &[Bucket] {
        match self {
            Self::Begin(begin) => &begin.buckets,
            Self::EraseAgain(again) => &again.buckets,
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn p1_the_legal_month_ends_on_the_same_day_or_the_last_of_a_shorter_month() {
        for (asked, ends) in [
            ("2026-11-23T08:00:00Z", "2026-12-23T08:00:00Z"),
            ("2027-01-31T23:59:59Z", "2027-02-28T23:59:59Z"),
            ("2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("2026-12-15T12:00:00Z", "2027-01-15T12:00:00Z"),
        ] {
            assert_eq!(a_month_after(at(asked)), at(ends), "{asked}");
        }
    }

    #[test]
    fn p2_rests_double_up_to_the_longest_and_silence_is_given_its_time() {
        let policy = RetryPolicy {
            patience: TimeDelta::minutes(10),
            first: TimeDelta::minutes(1),
            most: TimeDelta::minutes(60),
        };
        let now = at("2026-11-23T08:00:00Z");
        let failed = |tries| (policy.after_failure(tries, now) - now).num_minutes();
        assert_eq!([1, 2, 3, 6, 7, i32::MAX].map(failed), [1, 2, 4, 32, 60, 60]);
        let silent = |tries| (policy.after_silence(tries, now) - now).num_minutes();
        assert_eq!([1, 4, 5, 7].map(silent), [10, 10, 16, 60]);
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for state in ErasureState::ALL {
            assert_eq!(ErasureState::parse(state.as_str()), Some(state));
        }
        for state in StepState::ALL {
            assert_eq!(StepState::parse(state.as_str()), Some(state));
        }
        for name in StepName::COMMANDS.into_iter().chain([StepName::Local]) {
            assert_eq!(StepName::parse(name.as_str()), Some(name));
            assert_eq!(serde_json::json!(name), name.as_str());
            assert_eq!(is_command(name.as_str()), name != StepName::Local);
        }
        for obstacle in Obstacle::ALL {
            assert_eq!(Obstacle::parse(obstacle.as_str()), Some(obstacle));
        }
        assert!(!is_command("customer.created"));
    }
}
