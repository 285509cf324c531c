//! The gate: the one place that every attempt at a credential passes (rules A3–A6).
//!
//! In this order: limit, lock, credential, and — decided with the session, in the domain — status
//! and verified address. A try is *claimed* in the database before its password is looked at and
//! *settled* after (wrong, right, or never verified), so the count of tries is exact under any
//! concurrency and on any number of nodes. From the claim to its settlement the attempt runs in a
//! task of its own: a caller that goes away leaves nothing half done. A claim that nobody settles
//! counts as a failure in the end, so nothing that goes wrong here gives a free try.

use super::allowance::{Allowance, Counted, Quota};
use super::customers::{Customers, SubmitError};
use super::origin::{Origin, Trouble, unexpected};
use super::sessions::{KnownDevice, Opened, Sessions};
use super::turns::{Turn, Turns};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::customers::Credential;
use crate::db::{self, Database};
use crate::domain::command::{SignIn, Subject};
use crate::domain::email::EmailAddress;
use crate::domain::outcome::{Outcome, Rejection, SignInRefusal};
use crate::domain::phone::PhoneNumber;
use crate::domain::session::{Client, Device};
use crate::domain::throttle::{Admission, Bucket, ThrottlePolicy};
use crate::domain::{Actor, ClaimId, Command, CustomerId, DeviceId, Submission};
use crate::security::hashing::{HashError, HashingPool, PasswordHash, Reference, Verdict};
use crate::security::passwords::Password;
use crate::security::tokens::{PresentedDevice, ThrottleKeys, parse_device_token, same_hash};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// First pause before asking again for a try that other nodes hold; doubles up to the second.
const BUSY_PAUSE: Duration = Duration::from_millis(15);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(240);

/// First pause before settling again what could not be settled; doubles up to the second.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
const SETTLE_PAUSE_MAX: Duration = Duration::from_secs(2);

/// When to come again after waiting in vain for a turn.
const BUSY_RETRY: Duration = Duration::from_secs(2);

/// A password that changed while it was verified is verified anew this often at most. It changes
/// by its owner's hand, or in cost by another sign-in that runs beside this one.
const ROUNDS_MAX: usize = 3;

/// How the gate judges.
#[derive(Debug, Clone, Copy)]
pub struct SignInSettings {
    pub throttle: ThrottlePolicy,
    /// Calls of one client address (10 a minute).
    pub quota: Quota,
    /// Longest wait for a turn, and for a try that other nodes hold.
    pub wait: Duration,
}

impl From<&Config> for SignInSettings {
    fn from(config: &Config) -> Self {
        let sign_in = &config.sign_in;
        Self {
            throttle: ThrottlePolicy {
                max_failures: usize::try_from(sign_in.max_failures).unwrap_or(usize::MAX),
                window: sign_in.window_minutes.delta(),
                lock: sign_in.lock_minutes.delta(),
                lock_max: sign_in.lock_max_hours.delta(),
                claim_timeout: sign_in.claim_timeout_seconds.delta(),
            },
            quota: Quota {
                name: "login",
                requests: config.limits.sign_in_per_minute,
                window: Duration::from_secs(60),
            },
            wait: sign_in.wait_ms.duration(),
        }
    }
}

/// Whom somebody claims to be.
#[derive(Debug, Clone)]
pub enum Identifier {
    Email(EmailAddress),
    Phone(PhoneNumber),
}

impl Identifier {
    /// The kind under which identifiers are stored; also that of its bucket.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Phone(_) => "phone",
        }
    }

    /// The form to look up and to count by.
    pub fn value(&self) -> &str {
        match self {
            Self::Email(email) => email.canonical(),
            Self::Phone(phone) => phone.as_str(),
        }
    }
}

/// One attempt to sign in.
pub struct Attempt {
    pub identifier: Identifier,
    /// Made by [`Password::presented`].
    pub password: Password,
    /// As sent; one that is not this customer's counts for nothing.
    pub device_token: Option<Zeroizing<String>>,
    pub client: Client,
    pub origin: Origin,
}

/// Why an attempt did not sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// Too many calls of this client address.
    #[error("too many calls")]
    RateLimited { retry_after: Duration },
    /// Attempts cannot be counted, so none is allowed.
    #[error("the rate limiter is not available")]
    LimiterUnavailable,
    /// Too many failures; the same for identifiers that nobody has.
    #[error("locked")]
    Locked { retry_after: Duration },
    #[error("the credentials are not right")]
    InvalidCredentials,
    /// The password was right, the account may not sign in.
    #[error("refused")]
    Refused(SignInRefusal),
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl SignInError {
    fn label(self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::LimiterUnavailable => "limiter_unavailable",
            Self::Locked { .. } => "locked",
            Self::InvalidCredentials => "invalid_credentials",
            Self::Refused(_) => "refused",
            Self::Trouble(_) => "trouble",
        }
    }
}

/// What the gate works with.
pub struct SignInParts {
    pub database: Database,
    pub customers: Customers,
    pub sessions: Arc<Sessions>,
    pub hashing: Arc<HashingPool>,
    pub allowance: Arc<Allowance>,
    pub keys: Arc<ThrottleKeys>,
    pub clock: Arc<dyn Clock>,
}

/// The gate. Cheap to clone.
#[derive(Clone)]
pub struct SignInGate(Arc<Gate>);

struct Gate {
    parts: SignInParts,
    settings: SignInSettings,
    turns: Turns<Bucket, Lock>,
}

/// Until when a bucket is locked, as one attempt at it learned.
type Lock = DateTime<Utc>;

/// Who is behind an identifier, and which bucket the attempt counts in.
struct Found {
    account: Option<Credential>,
    device: Option<DeviceId>,
    bucket: Bucket,
}

impl Found {
    /// Whose shard decides: the customer's, so that a lock is its message and entry too; of an
    /// identifier that nobody has, the bucket's.
    fn subject(&self) -> Subject {
        let account = self.account.as_ref();
        account.map_or(Subject::Bucket(self.bucket), |known| Subject::Customer(known.customer_id))
    }

    /// What to verify against: the same work where there is no account, or one without password.
    fn reference(&self) -> Reference {
        let hash = self.account.as_ref().and_then(|account| account.password_hash.clone());
        hash.map_or(Reference::Dummy, |hash| Reference::Stored(PasswordHash::stored(hash)))
    }
}

impl SignInGate {
    pub fn new(parts: SignInParts, settings: SignInSettings) -> Self {
        let turns = Turns::new(settings.throttle.max_failures);
        Self(Arc::new(Gate { parts, settings, turns }))
    }

    /// Lets one attempt through, or says why not.
    pub async fn sign_in(&self, attempt: Attempt) -> Counted<Result<Opened, SignInError>> {
        let network = attempt.origin.network.to_string();
        let gate = &self.0;
        let (standing, result) =
            match gate.parts.allowance.take(gate.settings.quota, &network).await {
                Err(_) => (None, Err(SignInError::LimiterUnavailable)),
                Ok(standing) => match standing.retry_after {
                    Some(retry_after) => {
                        (Some(standing), Err(SignInError::RateLimited { retry_after }))
                    }
                    None => (Some(standing), self.pass(attempt).await),
                },
            };
        let outcome = result.as_ref().map_or_else(|error| error.label(), |_| "signed_in");
        counter!("sign_in_attempts_total", "outcome" => outcome).increment(1);
        Counted { standing, result }
    }

    /// In a storm most attempts find the hashing queue full: they end here, before each has cost a
    /// read and two transactions, one to claim a try and one to give it back.
    async fn pass(&self, attempt: Attempt) -> Result<Opened, SignInError> {
        self.0.parts.hashing.check_room().map_err(hashing_trouble)?;
        self.rounds(Arc::new(attempt)).await
    }

    /// Mostly one round: another follows only when the password changed during its verification.
    async fn rounds(&self, attempt: Arc<Attempt>) -> Result<Opened, SignInError> {
        let deadline = Instant::now() + self.0.settings.wait;
        for _ in 0..ROUNDS_MAX {
            match self.round(&attempt, deadline).await {
                Err(SignInError::Refused(SignInRefusal::PasswordChanged)) => {}
                other => return other,
            }
        }
        Err(SignInError::InvalidCredentials)
    }

    async fn round(
        &self,
        attempt: &Arc<Attempt>,
        deadline: Instant,
    ) -> Result<Opened, SignInError> {
        let found = self.0.find(attempt).await?;
        let turn = self.0.turns.wait(found.bucket, deadline).await;
        let turn = turn.ok_or(Trouble::Overloaded { retry_after: BUSY_RETRY })?;
        if let Some(until) = turn.word() {
            return Err(self.0.locked(until));
        }
        let (caller, answer) = oneshot::channel();
        let one = Try { gate: Arc::clone(&self.0), attempt: Arc::clone(attempt), found, deadline };
        // On the database's runtime: it outlives the HTTP worker that asks.
        self.0.parts.database.spawn(one.run(turn, caller));
        // No answer: the task panicked, or its runtime ends. The claim, if any, becomes a failure.
        answer.await.unwrap_or(Err(SignInError::Trouble(Trouble::Unknown)))
    }
}

impl Gate {
    fn locked(&self, until: Lock) -> SignInError {
        let wait = until - self.parts.clock.now();
        SignInError::Locked { retry_after: wait.to_std().unwrap_or_default() }
    }

    /// One read, with the same questions whether or not anybody has the identifier.
    async fn find(&self, attempt: &Attempt) -> Result<Found, Trouble> {
        let (kind, value) = (attempt.identifier.kind(), attempt.identifier.value().to_owned());
        let presented = attempt.device_token.as_deref().and_then(|text| parse_device_token(text));
        let device_id = presented.map(|device| DeviceId(device.device_id));
        let (account, device) = self
            .parts
            .database
            .read(move |connection| {
                let value = value.clone();
                async move {
                    let connection = &*connection;
                    let device = async {
                        match device_id {
                            Some(id) => db::devices::find(connection, id).await,
                            None => Ok(None),
                        }
                    };
                    tokio::try_join!(db::customers::credential(connection, kind, &value), device)
                }
                .boxed()
            })
            .await?;
        let device = known_device(presented, device, account.as_ref());
        let keys = &self.parts.keys;
        let bucket = match device {
            Some(id) => keys.bucket("device", &id.to_string()),
            None => keys.bucket(kind, attempt.identifier.value()),
        };
        Ok(Found { account, device, bucket })
    }
}

/// The device, if the token presented is its own and it is this customer's (rule A4).
fn known_device(
    presented: Option<PresentedDevice>,
    stored: Option<(CustomerId, Device)>,
    account: Option<&Credential>,
) -> Option<DeviceId> {
    let (owner, device) = stored?;
    let proven = same_hash(&device.secret_hash, &presented?.hash);
    (proven && account?.customer_id == owner).then_some(device.id)
}

type Answer = Result<Opened, SignInError>;

/// One try: claim, verify, settle.
struct Try {
    gate: Arc<Gate>,
    attempt: Arc<Attempt>,
    found: Found,
    deadline: Instant,
}

/// What a verified try came to, and the claim where it is still open.
struct Verified {
    answer: Answer,
    unsettled: Option<Command>,
}

/// Why there is no try, and the claim that may stand all the same.
struct Unclaimed {
    error: SignInError,
    stray: Option<ClaimId>,
}

impl From<SignInError> for Unclaimed {
    fn from(error: SignInError) -> Self {
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
    async fn run(self, turn: Turn<Bucket, Lock>, caller: oneshot::Sender<Answer>) {
        let verified = match self.claim(&turn, &caller).await {
            Ok(claim) if caller.is_closed() => Verified {
                // Nobody waits for the answer: not worth a hash, and no failure either.
                answer: Err(Trouble::Unavailable.into()),
                unsettled: Some(self.release(claim)),
            },
            Ok(claim) => self.verify(claim).await,
            Err(Unclaimed { error, stray }) => {
                Verified { answer: Err(error), unsettled: stray.map(|claim| self.release(claim)) }
            }
        };
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
        let policy = self.gate.settings.throttle;
        let mut pause = BUSY_PAUSE;
        loop {
            let claim = ClaimId(self.gate.parts.clock.new_id());
            let command = Command::ClaimAttempt { bucket: self.found.bucket, claim, policy };
            match self.submit(self.found.subject(), command).await {
                Ok(Outcome::Admission(Admission::Claimed)) => return Ok(claim),
                Ok(Outcome::Admission(Admission::Busy)) => {}
                Ok(Outcome::Admission(Admission::Locked { until })) => {
                    turn.leave_word(until);
                    return Err(self.gate.locked(until).into());
                }
                Ok(_) => return Err(SignInError::from(unexpected("claim_attempt")).into()),
                Err(error) => return Err(Unclaimed::new(claim, error)),
            }
            if caller.is_closed() || Instant::now() + pause > self.deadline {
                let busy = Trouble::Overloaded { retry_after: BUSY_RETRY };
                return Err(SignInError::from(busy).into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(BUSY_PAUSE_MAX);
        }
    }

    /// Verifies the password, holding neither a connection nor a shard, and settles the claim.
    async fn verify(&self, claim: ClaimId) -> Verified {
        let password = self.attempt.password.clone();
        let verdict = self.gate.parts.hashing.verify(password, self.found.reference()).await;
        match verdict {
            Ok(verdict) => match &self.found.account {
                Some(Credential { customer_id, password_hash: Some(hash) }) if verdict.matches => {
                    self.succeed(claim, *customer_id, hash, verdict).await
                }
                _ => self.fail(claim, self.found.subject()).await,
            },
            Err(HashError::Unreadable) => {
                let customer_id = self.found.account.as_ref().map(|account| account.customer_id);
                tracing::error!(?customer_id, "a stored password hash cannot be read");
                self.fail(claim, self.found.subject()).await
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
        customer_id: CustomerId,
        hash: &str,
        verdict: Verdict,
    ) -> Verified {
        let rehash = if verdict.needs_rehash { self.rehash().await } else { None };
        let known = self.found.device.zip(self.attempt.device_token.clone());
        let known = known.map(|(id, token)| KnownDevice { id, token });
        let sessions = &self.gate.parts.sessions;
        let (session, secrets) = sessions.prepare(self.attempt.client.clone(), known);
        let command = Command::SignIn(Box::new(SignIn {
            bucket: self.found.bucket,
            claim,
            verified_hash: hash.to_owned(),
            rehash,
            session,
        }));
        match self.submit(Subject::Customer(customer_id), command).await {
            Ok(Outcome::SignedIn(signed_in)) => {
                Verified::settled(Ok(Sessions::opened(*signed_in, secrets)))
            }
            Ok(Outcome::SignInRefused(refusal)) => {
                Verified::settled(Err(SignInError::Refused(refusal)))
            }
            Ok(_) => Verified {
                answer: Err(unexpected("sign_in").into()),
                unsettled: Some(self.release(claim)),
            },
            // Deleted since it was found: from now on an identifier that nobody has.
            Err(SubmitError::Rejected(Rejection::NotFound)) => {
                self.fail(claim, Subject::Bucket(self.found.bucket)).await
            }
            Err(error) => Verified {
                answer: Err(Trouble::from(error).into()),
                unsettled: Some(self.release(claim)),
            },
        }
    }

    /// A hash of today's cost. Where there is no thread for it now, the next sign-in makes it.
    async fn rehash(&self) -> Option<String> {
        let hash = self.gate.parts.hashing.hash(self.attempt.password.clone()).await;
        hash.map(PasswordHash::into_string).ok()
    }

    /// Also the failure that locks is answered as a failure; the next attempt meets the lock.
    async fn fail(&self, claim: ClaimId, subject: Subject) -> Verified {
        let policy = self.gate.settings.throttle;
        let command = Command::FailAttempt { bucket: self.found.bucket, claim, policy };
        match self.submit(subject, command.clone()).await {
            Ok(_) => Verified::settled(Err(SignInError::InvalidCredentials)),
            // Not told apart from a right password that could not be settled either.
            Err(error) => {
                Verified { answer: Err(Trouble::from(error).into()), unsettled: Some(command) }
            }
        }
    }

    fn release(&self, claim: ClaimId) -> Command {
        Command::ReleaseAttempt { bucket: self.found.bucket, claim }
    }

    /// Settles until it is settled, or the claim has become a failure by itself. Settling twice is
    /// harmless: a claim is only ever taken away once.
    async fn insist(&self, command: Command) {
        let timeout = self.gate.settings.throttle.claim_timeout.to_std().unwrap_or_default();
        let end = Instant::now() + timeout;
        let mut pause = SETTLE_PAUSE;
        loop {
            let error = match self.submit(self.found.subject(), command.clone()).await {
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
        let parts = &self.gate.parts;
        let context = self.attempt.origin.context(Actor::Anonymous, &*parts.clock);
        let submission = Submission { subject, command, context, idempotency: None };
        Ok(parts.customers.submit(submission).await?.outcome)
    }
}

/// Why a password was neither hashed nor verified, for callers.
pub(super) fn hashing_trouble(error: HashError) -> Trouble {
    match error {
        HashError::Overloaded { retry_after } => Trouble::Overloaded { retry_after },
        HashError::Closed => Trouble::Unavailable,
        HashError::Unreadable | HashError::Failed => {
            tracing::error!(%error, "a password could not be hashed");
            Trouble::Internal
        }
    }
}
