//! A password's try: claimed before it is looked at, verified, settled.
//!
//! From the claim to its settlement the try runs in a task of its own: a caller that goes away
//! leaves nothing half done. A claim that nobody settles counts as a failure in the end, so nothing
//! that goes wrong here gives a free try.

use super::super::customers::SubmitError;
use super::super::origin::{Origin, Trouble, unexpected};
use super::super::turns::Turn;
use super::{GateError, Inner, Lock, hashing_trouble};
use crate::db::customers::Credential;
use crate::domain::command::Subject;
use crate::domain::credential::PasswordHash;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::proof::{Proof, ProofRefusal};
use crate::domain::throttle::{Admission, Bucket, Guard};
use crate::domain::{Actor, ClaimId, Command};
use crate::security::hashing::{self, HashError, Place, Reference, Verdict};
use crate::security::passwords::Password;
use crate::{deadline, faults};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

/// First pause before asking again for a try that other nodes hold; doubles up to the second.
const BUSY_PAUSE: Duration = Duration::from_millis(15);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(240);

/// First pause before settling again what could not be settled; doubles up to the second.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(2);

/// When to come again after waiting in vain for a turn.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// Makes the command that a right password settles its claim with; the second is a hash of today's
/// cost, when the verified one was of another.
pub(super) type Settlement = dyn Fn(Proof, Option<PasswordHash>) -> Command + Send + Sync;

/// One try at a password.
pub(super) struct Try {
    pub inner: Arc<Inner>,
    pub guard: Guard,
    /// Whose password, if anybody's; and its hash, if it has one.
    pub account: Option<Credential>,
    pub password: Password,
    pub actor: Actor,
    pub origin: Origin,
    pub deadline: Instant,
    pub settle: Arc<Settlement>,
}

type Answer = Result<Outcome, GateError>;

/// What a verified try came to, and the claim where it is still open.
struct Verified {
    answer: Answer,
    unsettled: Option<Command>,
}

/// Why there is no try, and the claim that may stand all the same.
struct Unclaimed {
    error: GateError,
    stray: Option<ClaimId>,
}

impl From<GateError> for Unclaimed {
    fn from(error: GateError) -> Self {
        Self { error, stray: None }
    }
}

impl Unclaimed {
    fn new(claim: ClaimId, error: SubmitError) -> Self {
        let stray = (error == SubmitError::Unknown).then_some(claim);
        // That a claim may stand is no concern of the caller: nothing of its own was changed.
        let trouble = match Trouble::from(error) {
            Trouble::Unknown => Trouble::Unavailable,
            other => other,
        };
        Self { error: trouble.into(), stray }
    }
}

impl Verified {
    fn settled(answer: Answer) -> Self {
        Self { answer, unsettled: None }
    }
}

impl Try {
    /// Waits for a turn at the bucket and carries the try out. A right password answers with what
    /// its settlement came to; [`GateError::InvalidCredentials`] is a wrong one.
    pub(super) async fn carry_out(self) -> Answer {
        let turn = self.inner.turns.wait(self.guard.bucket, self.deadline).await;
        let turn = turn.ok_or(Trouble::Overloaded { retry_after: BUSY_RETRY })?;
        if let Some(until) = turn.word() {
            return Err(self.inner.locked(until));
        }
        // Nothing is claimed that could then not be verified.
        let place = self.inner.parts.hashing.keep_place().map_err(hashing_trouble)?;
        let (caller, answer) = oneshot::channel();
        let database = self.inner.parts.database.clone();
        // On the database's runtime: it outlives the HTTP worker that asks.
        database.spawn(self.run(turn, place, caller, deadline::current()));
        // No answer: the task panicked, or its runtime ends. The claim, if any, becomes a failure.
        answer.await.unwrap_or(Err(GateError::Trouble(Trouble::Unknown)))
    }

    /// Whose shard decides: the customer's, so that a lock is its message and entry too; of an
    /// identifier that nobody has, the bucket's.
    fn subject(&self) -> Subject {
        let account = self.account.as_ref();
        let nobody = Subject::Nobody(self.guard.bucket);
        account.map_or(nobody, |known| Subject::Customer(known.customer_id))
    }

    /// What to verify against: the same work where there is no account, or one without password.
    fn reference(&self) -> Reference {
        let hash = self.account.as_ref().and_then(|account| account.password_hash.clone());
        let stored = |hash| Reference::Stored(hashing::PasswordHash::stored(hash));
        hash.map_or(Reference::Dummy, stored)
    }

    async fn run(
        self,
        turn: Turn<Bucket, Lock>,
        place: Place,
        caller: oneshot::Sender<Answer>,
        until: Option<Instant>,
    ) {
        let verified = match self.claim(&turn, &caller).await {
            Ok(claim) if caller.is_closed() => {
                drop(place);
                // Nobody waits for the answer: not worth a hash, and no failure either.
                let unsettled = Some(self.release(claim));
                Verified { answer: Err(Trouble::Unavailable.into()), unsettled }
            }
            // What follows the verification settles the claim, whether or not anybody still waits.
            Ok(claim) => self.verify(claim, place, until).await,
            Err(Unclaimed { error, stray }) => {
                drop(place);
                Verified { answer: Err(error), unsettled: stray.map(|claim| self.release(claim)) }
            }
        };
        faults::at("gate.settled");
        // Who waits in line goes on while a straggling settlement is repeated.
        drop(turn);
        // The caller may be gone; what was decided stands.
        let _ = caller.send(verified.answer);
        if let Some(command) = verified.unsettled {
            self.insist(command).await;
        }
    }

    /// Claims a try, waiting while other nodes hold them all.
    async fn claim(
        &self,
        turn: &Turn<Bucket, Lock>,
        caller: &oneshot::Sender<Answer>,
    ) -> Result<ClaimId, Unclaimed> {
        let mut pause = BUSY_PAUSE;
        loop {
            let claim = ClaimId(self.inner.parts.clock.new_id());
            if faults::no_claim() {
                return Ok(claim);
            }
            let command = Command::ClaimAttempt { guard: self.guard, claim };
            match self.submit(self.subject(), command).await {
                Ok(Outcome::Admission(Admission::Claimed)) => {
                    faults::at("gate.claimed");
                    return Ok(claim);
                }
                Ok(Outcome::Admission(Admission::Busy)) => {}
                Ok(Outcome::Admission(Admission::Locked { until })) => {
                    turn.leave_word(until);
                    return Err(self.inner.locked(until).into());
                }
                Ok(_) => return Err(GateError::from(unexpected("claim_attempt")).into()),
                Err(error) => return Err(Unclaimed::new(claim, error)),
            }
            if caller.is_closed() || Instant::now() + pause > self.deadline {
                let busy = Trouble::Overloaded { retry_after: BUSY_RETRY };
                return Err(GateError::from(busy).into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(BUSY_PAUSE_MAX);
        }
    }

    /// Verifies the password, holding neither a connection nor a shard, and settles the claim.
    async fn verify(&self, claim: ClaimId, place: Place, until: Option<Instant>) -> Verified {
        let password = self.password.clone();
        let verifying = self.inner.parts.hashing.verify_in(place, password, self.reference());
        let verdict = deadline::carried(until, verifying).await;
        faults::at("gate.verified");
        match verdict {
            Ok(verdict) => match &self.account {
                Some(Credential { customer_id, password_hash: Some(hash) }) if verdict.matches => {
                    self.succeed(claim, Subject::Customer(*customer_id), hash, verdict).await
                }
                _ => self.fail(claim, self.subject()).await,
            },
            Err(HashError::Unreadable) => {
                let customer_id = self.account.as_ref().map(|account| account.customer_id);
                tracing::error!(?customer_id, "a stored password hash cannot be read");
                self.fail(claim, self.subject()).await
            }
            Err(error) => Verified {
                answer: Err(hashing_trouble(error).into()),
                unsettled: Some(self.release(claim)),
            },
        }
    }

    async fn succeed(
        &self,
        claim: ClaimId,
        subject: Subject,
        hash: &str,
        verdict: Verdict,
    ) -> Verified {
        let rehash = if verdict.needs_rehash { self.rehash().await } else { None };
        let verified_hash = PasswordHash::new(hash);
        let proof = Proof::Password { guard: self.guard, claim, verified_hash };
        match self.submit(subject, (self.settle)(proof, rehash)).await {
            Ok(outcome) => Verified::settled(Ok(outcome)),
            // Deleted since it was found: from now on an identifier that nobody has. Of somebody
            // who is signed in it is what the proof was for that is not there.
            Err(SubmitError::Rejected(Rejection::NotFound)) if self.actor == Actor::Anonymous => {
                self.fail(claim, Subject::Nobody(self.guard.bucket)).await
            }
            Err(error) => {
                Verified { answer: Err(error.into()), unsettled: Some(self.release(claim)) }
            }
        }
    }

    /// A hash of today's cost. Where there is no thread for it now, the next sign-in makes it.
    async fn rehash(&self) -> Option<PasswordHash> {
        let hash = self.inner.parts.hashing.hash(self.password.clone()).await;
        hash.map(|hash| PasswordHash::new(hash.as_str())).ok()
    }

    /// Also the failure that locks is answered as a failure; the next attempt meets the lock.
    async fn fail(&self, claim: ClaimId, subject: Subject) -> Verified {
        let command = Command::FailAttempt { guard: self.guard, claim };
        match self.submit(subject, command.clone()).await {
            Ok(_) => Verified::settled(Err(GateError::InvalidCredentials)),
            // Not told apart from a right password that could not be settled either.
            Err(error) => {
                Verified { answer: Err(Trouble::from(error).into()), unsettled: Some(command) }
            }
        }
    }

    fn release(&self, claim: ClaimId) -> Command {
        Command::ReleaseAttempt { bucket: self.guard.bucket, claim }
    }

    /// Settles until it is settled, or the claim has become a failure by itself. Settling twice is
    /// harmless: a claim is only ever taken away once.
    async fn insist(&self, command: Command) {
        let timeout = self.guard.policy.claim_timeout.to_std().unwrap_or_default();
        let end = Instant::now() + timeout;
        let mut pause = SETTLE_PAUSE;
        loop {
            let error = match self.submit(self.subject(), command.clone()).await {
                Ok(_) => return,
                Err(error) => error,
            };
            if Instant::now() + pause > end {
                tracing::warn!(%error, "a sign-in attempt was left unsettled and counts as failed");
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(SETTLE_PAUSE_MAX);
        }
    }

    async fn submit(&self, subject: Subject, command: Command) -> Result<Outcome, SubmitError> {
        self.inner.submit(subject, self.actor.clone(), command, &self.origin).await
    }
}

/// Whether the password changed between its verification and the decision: it is then to be
/// verified anew.
pub(super) fn changed_meanwhile(answer: &Answer) -> bool {
    use crate::domain::outcome::SignInRefusal::PasswordChanged;
    matches!(
        answer,
        Ok(Outcome::SignInRefused(PasswordChanged) | Outcome::ProofRefused(ProofRefusal::Changed))
    )
}
