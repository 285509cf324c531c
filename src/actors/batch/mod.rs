//! One batch: load → decide → save → commit → answer. Plain async; knows no actor.
//!
//! Everything that the commands of a batch change, with their messages, audit entries, mails and
//! idempotency keys, is one transaction. A refusal answers its own caller and touches nobody
//! else. When the database refuses the batch as a whole (a constraint, an identifier or a key that
//! somebody else took meanwhile), it is rolled back and its commands run one by one, so that only
//! the one at fault is refused.

pub mod block;
pub mod defaults;
mod fold;
mod load;
mod save;
mod sealing;
pub mod walk;

pub use sealing::Seals;

use super::customers::{Answered, SubmitError};
use super::runtime::{CallError, Reply};
use super::segments::Standards;
use super::shard::BatchRunner;
use super::worker::Nudge;
use super::workers::outbox_relay::Dirty;
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::domain::outcome::Rejection;
use crate::domain::welcome::Series;
use crate::domain::{CustomerId, Submission};
use crate::faults;
use crate::security::revoked::RevokedSessions;
use crate::traces::Span;
use chrono::{DateTime, TimeDelta, Utc};
use db::transactions::{QueryError, begin, commit, rollback};
use defaults::Defaults;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// What a caller of the shard reads.
pub type Answer = Result<Answered, SubmitError>;

/// Whom a commit wakes.
#[derive(Clone, Default)]
pub struct AfterCommit {
    /// The relay, and which shards it shall look into.
    pub outbox: Dirty,
    /// Those who look for changes of membership, likewise.
    pub segments: Dirty,
    /// Those who carry a segment's new revision to all customers; there when they are started.
    pub walks: Arc<OnceLock<Nudge>>,
    pub mailer: Option<Nudge>,
    pub texter: Option<Nudge>,
    /// Sessions that this node refuses at once; the other nodes read them from the database.
    pub revoked: Arc<RevokedSessions>,
    /// For how long: until the last access token of a session has expired on every clock.
    pub remember_revoked: TimeDelta,
}

/// Runs batches against the database.
pub struct Batches {
    pub database: Database,
    pub clock: Arc<dyn Clock>,
    /// How long a request is remembered by its idempotency key.
    pub keep_keys: TimeDelta,
    /// The mails that follow from a first verification.
    pub welcome: Series,
    /// The segments that new customers are put into.
    pub defaults: Defaults,
    /// What customers are judged by.
    pub standards: Standards,
    /// What is told of persons is sealed by it.
    pub seals: Seals,
    pub after: AfterCommit,
}

/// Why an attempt came to nothing.
enum Failure {
    /// The database refused something that one of the commands asked for.
    Refused(Rejection),
    /// Another node carried out a request with this idempotency key a moment ago.
    KeyTaken,
    /// Nothing was committed; the database is not there or gave up.
    NotDone(db::Error),
    /// The connection was lost during the commit.
    Unknown(db::Error),
}

impl From<db::Error> for Failure {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Constraint(name) => Self::Refused(rejection_of(name.as_deref())),
            other => Self::NotDone(other),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        db::Error::from(error).into()
    }
}

/// The rule that a constraint guards.
fn rejection_of(constraint: Option<&str>) -> Rejection {
    match constraint {
        Some("customer_groups_pkey") => Rejection::GroupExists,
        Some("attribute_definitions_pkey") => Rejection::AttributeExists,
        Some("customers_group_fkey") => Rejection::UnknownGroup,
        Some("passkeys_credential_id") => Rejection::PasskeyKnown,
        Some("order_facts_order") => Rejection::OrderOfAnotherCustomer,
        _ => Rejection::Conflict,
    }
}

impl BatchRunner for Batches {
    type Work = Submission;
    type Answer = Answer;

    fn run(self: Arc<Self>, batch: Vec<(Submission, Reply<Answer>)>) -> BoxFuture<'static, ()> {
        async move {
            let (submissions, replies): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let committing = AtomicBool::new(false);
            let _steps = steps(&submissions);
            let answers = AssertUnwindSafe(self.answers(&submissions, &committing)).catch_unwind();
            match answers.await {
                Ok(answers) => {
                    for (reply, answer) in replies.into_iter().zip(answers) {
                        reply.answer(answer);
                    }
                }
                Err(panic) => {
                    // Before the first commit was sent, the dropped connection rolls back.
                    if !committing.load(Ordering::Acquire) {
                        replies.into_iter().for_each(|reply| reply.refuse(CallError::NotStarted));
                    }
                    // The shard counts it and goes on.
                    std::panic::resume_unwind(panic);
                }
            }
        }
        .boxed()
    }
}

/// The batch as a step of each trace that it serves.
fn steps(submissions: &[Submission]) -> Vec<Span> {
    let step = |submission: &Submission| {
        let traceparent = submission.context.traceparent.as_deref();
        Span::within(traceparent, SpanKind::Internal, || {
            let size = i64::try_from(submissions.len()).unwrap_or(i64::MAX);
            ("batch".into(), vec![KeyValue::new("batch.size", size)])
        })
    };
    submissions.iter().filter_map(step).collect()
}

impl Batches {
    /// Carries out one command here and now, for who has no shards: on the command line.
    pub async fn submit(&self, submission: &Submission) -> Answer {
        let committing = AtomicBool::new(false);
        let answers = Box::pin(self.answers(std::slice::from_ref(submission), &committing)).await;
        answers.into_iter().next().unwrap_or(Err(SubmitError::Unknown))
    }

    /// Carries several out likewise, together as far as they can be.
    pub async fn submit_all(&self, submissions: &[Submission]) -> Vec<Answer> {
        let committing = AtomicBool::new(false);
        Box::pin(self.answers(submissions, &committing)).await
    }

    /// In order of arrival, in one transaction as far as they can be together.
    async fn answers(&self, submissions: &[Submission], committing: &AtomicBool) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(submissions.len());
        for part in parts(submissions) {
            answers.extend(self.together(part, committing).await);
        }
        answers
    }

    async fn together(&self, submissions: &[Submission], committing: &AtomicBool) -> Vec<Answer> {
        match self.attempt(submissions, committing).await {
            Ok(answers) => answers,
            Err(failure) if !failure.concerns_one() => {
                vec![Err(failure.into_error()); submissions.len()]
            }
            Err(failure) => {
                if let [submission] = submissions {
                    return vec![self.settle(submission, failure, committing).await];
                }
                metrics::counter!("batch_split_total").increment(1);
                let mut answers = Vec::with_capacity(submissions.len());
                for submission in submissions {
                    answers.push(match self.alone(submission, committing).await {
                        Ok(answer) => answer,
                        Err(failure) => self.settle(submission, failure, committing).await,
                    });
                }
                answers
            }
        }
    }

    async fn alone(
        &self,
        submission: &Submission,
        committing: &AtomicBool,
    ) -> Result<Answer, Failure> {
        let mut answers = self.attempt(std::slice::from_ref(submission), committing).await?;
        Ok(answers.pop().unwrap_or(Err(SubmitError::Unknown)))
    }

    /// What to answer to a command that failed alone.
    async fn settle(
        &self,
        submission: &Submission,
        failure: Failure,
        committing: &AtomicBool,
    ) -> Answer {
        match failure {
            // Its twin has committed: run again, it finds what that one was answered. And what a
            // deadlock or a lock limit kept from happening may happen now.
            Failure::KeyTaken | Failure::NotDone(db::Error::Transient(_)) => {
                let again = self.alone(submission, committing).await;
                again.unwrap_or_else(|failure| Err(failure.into_error()))
            }
            failure => Err(failure.into_error()),
        }
    }

    /// Carries out `submissions` as one transaction. `committing` is set when the commit is sent.
    async fn attempt(
        &self,
        submissions: &[Submission],
        committing: &AtomicBool,
    ) -> Result<Vec<Answer>, Failure> {
        let mut connection = self.begin().await?;
        let done = self.within(&mut connection, submissions).await;
        let (answers, written) = match done {
            Ok(done) => done,
            Err(failure) => {
                rollback(&mut connection).await;
                return Err(failure);
            }
        };
        faults::at("batch.before_commit");
        committing.store(true, Ordering::Release);
        if let Err(error) = commit(&mut connection).await {
            return Err(match db::Error::from(error) {
                // Deferred constraints speak at commit: the transaction is rolled back.
                db::Error::Constraint(name) => Failure::Refused(rejection_of(name.as_deref())),
                error @ db::Error::Transient(_) => Failure::NotDone(error),
                error => Failure::Unknown(error),
            });
        }
        faults::at("batch.after_commit");
        self.wake(&written);
        faults::at("batch.woken");
        Ok(answers)
    }

    /// A connection with an open transaction. A pooled connection may have died unnoticed; as
    /// nothing has begun, another one is tried.
    async fn begin(&self) -> Result<db::PooledConnection, Failure> {
        let mut connection = self.database.get().await?;
        match begin(&mut connection).await {
            Ok(()) => Ok(connection),
            Err(_) => {
                drop(connection);
                let mut connection = self.database.get().await?;
                begin(&mut connection).await?;
                Ok(connection)
            }
        }
    }

    async fn within(
        &self,
        connection: &mut db::PooledConnection,
        submissions: &[Submission],
    ) -> Result<(Vec<Answer>, save::Written), Failure> {
        faults::at("batch.begun");
        let since = self.clock.now() - self.keep_keys;
        let loaded = self.load(connection, submissions, since).await?;
        faults::at("batch.decide");
        let folded = fold::fold(loaded, submissions, &self.welcome, &self.seals, &*self.clock);
        let written = save::save(connection, &folded, since).await?;
        Ok((folded.answers, written))
    }

    async fn load(
        &self,
        connection: &db::Connection,
        submissions: &[Submission],
        since: DateTime<Utc>,
    ) -> Result<load::Loaded, Failure> {
        let (now, standards) = (self.clock.now(), &self.standards);
        load::load(connection, submissions, since, now, standards, &self.defaults).await
    }

    fn wake(&self, written: &save::Written) {
        for (session, at) in &written.revoked {
            self.after.revoked.mark(session.0, *at + self.after.remember_revoked);
        }
        self.after.outbox.mark(written.shards.iter().copied());
        self.after.segments.mark(written.shards.iter().copied());
        if written.walks
            && let Some(builder) = self.after.walks.get()
        {
            builder.nudge();
        }
        if written.mails
            && let Some(mailer) = &self.after.mailer
        {
            mailer.nudge();
        }
        if written.texts
            && let Some(texter) = &self.after.texter
        {
            texter.nudge();
        }
    }
}

/// What can be one transaction. A command that changes two customers, or counts all of one's orders, has
/// one of its own: so what comes after it reads what it moved, and it counts what came before it.
/// Whoever was changed is judged in the next one, which reads anew all that is judged.
fn parts(submissions: &[Submission]) -> Vec<&[Submission]> {
    let mut parts = Vec::new();
    let mut changed: HashSet<CustomerId> = HashSet::new();
    let mut rest = submissions;
    let mut length = 0;
    while let Some(next) = rest.get(length) {
        let alone = |submission: &Submission| submission.command.stands_alone();
        let whom = next.customer_id();
        let judged_late = next.command.reads_all() && whom.is_some_and(|id| changed.contains(&id));
        let after_alone = length > 0 && (alone(next) || alone(&rest[length - 1]));
        if after_alone || judged_late {
            let (part, others) = rest.split_at(length);
            parts.push(part);
            (rest, length) = (others, 0);
            changed.clear();
            continue;
        }
        length += 1;
        changed.extend(whom.filter(|_| !next.command.is_about_membership()));
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts
}

impl Failure {
    /// Whether running the commands one by one may help some of them.
    fn concerns_one(&self) -> bool {
        match self {
            Self::Refused(_) | Self::KeyTaken => true,
            Self::NotDone(error) => {
                matches!(error, db::Error::Transient(_) | db::Error::Internal(_))
            }
            Self::Unknown(_) => false,
        }
    }

    fn into_error(self) -> SubmitError {
        match self {
            Self::Refused(rejection) => SubmitError::Rejected(rejection),
            Self::KeyTaken => SubmitError::InProgress,
            Self::NotDone(error) => {
                tracing::warn!(%error, "a batch was not carried out");
                SubmitError::Unavailable
            }
            Self::Unknown(error) => {
                tracing::warn!(%error, "the outcome of a commit is not known");
                SubmitError::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Actor, Command, Context, MembershipCommand, Subject, TagCommand};
    use crate::domain::message::MembershipCause;
    use crate::domain::segment::membership::Asked;
    use crate::domain::text::Label;
    use chrono::DateTime;
    use uuid::Uuid;

    fn about(customer: u128, command: Command) -> Submission {
        let context = Context {
            actor: Actor::Service,
            now: DateTime::UNIX_EPOCH,
            request_id: "request".to_owned(),
            traceparent: None,
        };
        let subject = Subject::Customer(CustomerId(Uuid::from_u128(customer)));
        Submission { subject, command, context, idempotency: None }
    }

    fn change(customer: u128) -> Submission {
        let tag = Label::parse("a").unwrap();
        about(customer, Command::Tag(TagCommand::Add { tag }))
    }

    fn judge(customer: u128) -> Submission {
        let (programs, cause) = (Arc::default(), MembershipCause::Change);
        let judge = MembershipCommand::Judge { programs, asked: Asked::All, cause };
        about(customer, Command::Membership(judge))
    }

    #[test]
    fn s2_whoever_was_changed_is_judged_by_what_is_read_after_it() {
        let lengths = |submissions: &[Submission]| -> Vec<usize> {
            parts(submissions).into_iter().map(<[Submission]>::len).collect()
        };
        assert!(lengths(&[]).is_empty());
        assert_eq!(lengths(&[change(1), change(1), judge(2), change(3)]), [4]);
        assert_eq!(lengths(&[judge(1), change(1), judge(1), judge(1), judge(2)]), [2, 3]);
        assert_eq!(lengths(&[change(1), judge(1), change(1), judge(1)]), [1, 2, 1]);
        assert_eq!(lengths(&[change(1), change(2), judge(3), judge(2), judge(1)]), [3, 2]);
    }
}
