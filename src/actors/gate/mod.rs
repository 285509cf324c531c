//! The gate: the one place that every attempt at a credential passes (rules A3–A6).
//!
//! In this order: limit, lock, credential, and — decided in the domain, in the transaction that
//! acts on it — second factor, status and verified address. A password takes its time to verify,
//! so its try is *claimed* in the database before and *settled* after ([`claimed`]); what takes no
//! time to verify is judged and counted by one command. Either way the count of tries is exact
//! under any concurrency and on any number of nodes.
//!
//! [`Path`] lists the ways in; a [`Proof`](crate::domain::proof::Proof) is made nowhere else.

mod ceremonies;
mod claimed;
mod codes;
mod evidence;
mod passkeys;
mod path;
mod phone_code;
mod refresh;
mod second_step;
mod sign_in;
mod social;

pub use ceremonies::ceremony_trouble;
pub use codes::Code;
pub use evidence::{Evidence, SignedIn};
pub use passkeys::{PasskeyAttempt, PasskeyChallenge};
pub use path::Path;
pub use second_step::{Challenge, Entered, SecondStep, Shown};
pub use sign_in::{Attempt, Identifier};
pub use social::{
    Begun, Brought, Linking, SocialAttempt, SocialEntry, SocialRefusal, SocialSettings,
};

use super::allowance::{Allowance, Counted, Quota, Standing, Trial};
use super::customer_keys::CustomerKeys;
use super::customers::{Customers, SubmitError};
use super::origin::{Origin, Trouble};
use super::sessions::Sessions;
use super::turns::Turns;
use crate::brokers::limits::LimiterUnavailable;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Database;
use crate::domain::command::Subject;
use crate::domain::outcome::{Outcome, Rejection, SignInRefusal};
use crate::domain::proof::ProofRefusal;
use crate::domain::throttle::{Bucket, Factor, Guard, ThrottlePolicy};
use crate::domain::{Actor, Command, Submission};
use crate::security::backup_codes::BackupCodes;
use crate::security::hashing::{HashError, HashingPool};
use crate::security::phone_codes::PhoneCodes;

use crate::security::passkeys::RelyingParty;
use crate::security::sealing::Sealer;
use crate::security::social::Social;
use crate::security::tokens::ThrottleKeys;
use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;

/// How the gate judges.
#[derive(Debug, Clone)]
pub struct GateSettings {
    /// Of passwords.
    pub throttle: ThrottlePolicy,
    /// Of second factors, each kind for itself.
    pub second_factor: ThrottlePolicy,
    /// How long the second step of a sign-in may follow the first (5 min).
    pub challenge_life: TimeDelta,
    /// Calls of one client address on one path, per minute (10).
    pub calls_per_minute: u32,
    /// Exchanges of the refresh tokens of one session (30 a minute).
    pub refreshes: Quota,
    /// Longest wait for a turn, and for a try that other nodes hold.
    pub wait: Duration,
    /// For this long after its sign-in a session stands for its owner (10 min).
    pub recent: TimeDelta,
    pub social: SocialSettings,
}

impl From<&Config> for GateSettings {
    fn from(config: &Config) -> Self {
        let sign_in = &config.sign_in;
        let throttle = ThrottlePolicy {
            max_failures: usize::try_from(sign_in.max_failures).unwrap_or(usize::MAX),
            window: sign_in.window_minutes.delta(),
            lock: sign_in.lock_minutes.delta(),
            lock_max: sign_in.lock_max_hours.delta(),
            claim_timeout: sign_in.claim_timeout_seconds.delta(),
        };
        let max_failures = sign_in.second_factor_max_failures;
        Self {
            throttle,
            second_factor: ThrottlePolicy {
                max_failures: usize::try_from(max_failures).unwrap_or(usize::MAX),
                window: sign_in.second_factor_window_minutes.delta(),
                lock: sign_in.second_factor_lock_minutes.delta(),
                ..throttle
            },
            challenge_life: sign_in.challenge_minutes.delta(),
            calls_per_minute: config.limits.sign_in_per_minute,
            refreshes: Quota {
                name: Path::Refresh.as_str(),
                requests: config.limits.refresh_per_minute,
                window: Duration::from_secs(60),
            },
            wait: sign_in.wait_ms.duration(),
            recent: sign_in.recent_minutes.delta(),
            social: config.into(),
        }
    }
}

/// Why an attempt did not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
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
    /// The credential was right, the account may not sign in.
    #[error("refused")]
    Refused(SignInRefusal),
    /// Of somebody who is signed in: the password or code shown again is wrong.
    #[error("the proof is wrong")]
    InvalidProof,
    /// Of somebody who is signed in: the session is too old to stand for its owner.
    #[error("a fresh proof is needed")]
    ProofNeeded,
    /// What an identity provider says is not enough.
    #[error("not accepted from an identity provider")]
    Social(SocialRefusal),
    /// What was to be done once the credential had been shown is not possible.
    #[error("rejected")]
    Rejected(Rejection),
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl GateError {
    fn label(&self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::LimiterUnavailable => "limiter_unavailable",
            Self::Locked { .. } => "locked",
            Self::InvalidCredentials => "invalid_credentials",
            Self::Refused(_) => "refused",
            Self::InvalidProof => "invalid_proof",
            Self::ProofNeeded => "proof_needed",
            Self::Social(refusal) => refusal.label(),
            Self::Rejected(_) => "rejected",
            Self::Trouble(_) => "trouble",
        }
    }
}

impl From<SubmitError> for GateError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Rejected(rejection) => Self::Rejected(rejection),
            other => Self::Trouble(other.into()),
        }
    }
}

/// What the gate works with.
pub struct GateParts {
    pub database: Database,
    pub customers: Customers,
    pub sessions: Arc<Sessions>,
    pub hashing: Arc<HashingPool>,
    pub allowance: Arc<Allowance>,
    pub keys: Arc<ThrottleKeys>,
    pub phone_codes: Arc<PhoneCodes>,
    pub sealer: Arc<Sealer>,
    pub customer_keys: CustomerKeys,
    pub backup_codes: Arc<BackupCodes>,
    pub social: Arc<Social>,
    /// `None`: passkeys are off.
    pub relying_party: Option<Arc<RelyingParty>>,
    pub clock: Arc<dyn Clock>,
}

/// The gate. Cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    parts: GateParts,
    settings: GateSettings,
    turns: Turns<Bucket, Lock>,
}

/// Until when a bucket is locked, as one attempt at it learned.
type Lock = DateTime<Utc>;

impl Gate {
    pub fn new(parts: GateParts, settings: GateSettings) -> Self {
        let turns = Turns::new(settings.throttle.max_failures);
        Self(Arc::new(Inner { parts, settings, turns }))
    }

    /// Lets one attempt on a path through: counts the call of this client address, and what comes
    /// of it. `work` is only begun within the limit.
    pub async fn pass<T>(
        &self,
        path: Path,
        origin: &Origin,
        work: impl Future<Output = Result<T, GateError>>,
    ) -> Counted<Result<T, GateError>> {
        let network = origin.network.to_string();
        let counted = self.0.parts.allowance.take(self.quota(path), &network).await;
        let (standing, result) = match within(counted) {
            Ok(standing) => (Some(standing), work.await),
            Err(refused) => refused,
        };
        note(path, &result);
        Counted { standing, result }
    }

    /// As [`Self::pass`], for attempts at a credential that somebody may have from a list: besides,
    /// the brake on credential stuffing is asked, and learns what came of it. `work` is given
    /// whether it has to ask the brake again (see [`Tried::owes_device`]).
    async fn pass_brake<T, F>(
        &self,
        path: Path,
        trial: Trial<'_>,
        work: impl FnOnce(bool) -> F,
    ) -> Counted<Result<T, GateError>>
    where
        F: Future<Output = Result<T, GateError>>,
    {
        let allowance = &self.0.parts.allowance;
        let tried = allowance.attempt(self.quota(path), trial).await;
        let owes_device = tried.as_ref().is_ok_and(|tried| tried.owes_device);
        let (mut standing, result) = match within(tried.map(|tried| tried.standing)) {
            Ok(standing) => (Some(standing), work(owes_device).await),
            Err(refused) => refused,
        };
        match &result {
            Ok(_) | Err(GateError::Refused(_)) => allowance.note_outcome(false),
            Err(GateError::InvalidCredentials) => allowance.note_outcome(true),
            // Refused by the brake after all: the figures are of a quota that was not met.
            Err(GateError::RateLimited { .. }) if owes_device => standing = None,
            Err(_) => {}
        }
        note(path, &result);
        Counted { standing, result }
    }

    fn quota(&self, path: Path) -> Quota {
        path.quota(self.0.settings.calls_per_minute)
    }

    /// The counter of one of a customer's credentials that is not its password at sign-in: of
    /// `factor`, by the customer's id.
    pub fn guard(&self, factor: Factor, customer: crate::domain::CustomerId) -> Guard {
        let bucket = self.0.parts.keys.bucket(factor.as_str(), &customer.to_string());
        let settings = &self.0.settings;
        let policy = match factor {
            Factor::Totp | Factor::BackupCode => settings.second_factor,
            _ => settings.throttle,
        };
        Guard { bucket, factor, policy }
    }

    /// Submits a command that carries a proof, and turns the refusal of the proof into an error.
    ///
    /// # Errors
    /// See [`GateError`].
    pub async fn judge(
        &self,
        subject: Subject,
        actor: Actor,
        command: Command,
        origin: &Origin,
    ) -> Result<Outcome, GateError> {
        match self.0.submit(subject, actor, command, origin).await? {
            Outcome::ProofRefused(refusal) => Err(self.0.refused(refusal)),
            Outcome::SignInRefused(refusal) => Err(GateError::Refused(refusal)),
            outcome => Ok(outcome),
        }
    }
}

/// The standing of a call that is within its limit; otherwise what to answer.
#[expect(clippy::result_large_err, reason = "taken apart at once by its one caller")]
fn within<T>(
    counted: Result<Standing, LimiterUnavailable>,
) -> Result<Standing, (Option<Standing>, Result<T, GateError>)> {
    let standing = counted.map_err(|_| (None, Err(GateError::LimiterUnavailable)))?;
    match standing.retry_after {
        Some(retry_after) => Err((Some(standing), Err(GateError::RateLimited { retry_after }))),
        None => Ok(standing),
    }
}

fn note<T>(path: Path, result: &Result<T, GateError>) {
    count(path, result.as_ref().map_or_else(GateError::label, |_| "passed"));
}

fn count(path: Path, outcome: &'static str) {
    counter!("gate_passages_total", "path" => path.as_str(), "outcome" => outcome).increment(1);
}

impl Inner {
    async fn submit(
        &self,
        subject: Subject,
        actor: Actor,
        command: Command,
        origin: &Origin,
    ) -> Result<Outcome, SubmitError> {
        let context = origin.context(actor, &*self.parts.clock);
        let submission = Submission { subject, command, context, idempotency: None };
        Ok(self.parts.customers.submit(submission).await?.outcome)
    }

    fn locked(&self, until: Lock) -> GateError {
        let wait = until - self.parts.clock.now();
        GateError::Locked { retry_after: wait.to_std().unwrap_or_default() }
    }

    /// What a proof that proves nothing is told as.
    fn refused(&self, refusal: ProofRefusal) -> GateError {
        match refusal {
            ProofRefusal::Wrong | ProofRefusal::Changed => GateError::InvalidProof,
            ProofRefusal::Locked { until } => self.locked(until),
            ProofRefusal::TooOld => GateError::ProofNeeded,
        }
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
