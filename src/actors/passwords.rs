//! Another password (rules A1, A8, A12): asking for a link, using it, changing it while signed in,
//! and judging one that is thought of.

use super::allowance::{Allowance, Counted, Quota};
use super::customers::{Customers, SubmitError};
use super::gate::{Evidence, Gate, GateError, Path, SignedIn, hashing_trouble};
use super::origin::{Origin, Trouble, unexpected};
use super::registration::{self, MAILS_PER_ADDRESS, RegistrationError, paced};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Database};
use crate::domain::command::{ChangePassword, ResetPassword, Subject};
use crate::domain::credential::PasswordHash;
use crate::domain::customer::Customer;
use crate::domain::email::EmailAddress;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::throttle::{Bucket, Factor};
use crate::domain::token::{FreshToken, Purpose};
use crate::domain::{Actor, Command, CustomerId, Fault, MailId, Submission};
use crate::security::hashing::HashingPool;
use crate::security::password_policy::{Appraisal, PasswordPolicy, Person};
use crate::security::passwords::Password;
use crate::security::tokens::{OneTimeTokens, ThrottleKeys};
use chrono::TimeDelta;
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Guards a third person's mailbox, whoever asks; see its likes in registration.
const RESETS: Quota =
    Quota { name: "mail_reset", requests: MAILS_PER_ADDRESS, window: Duration::from_secs(60 * 60) };

/// Where a fault of the new password is told to be.
const NEW_PASSWORD: &str = "#/new_password";

/// How passwords are replaced.
#[derive(Debug, Clone, Copy)]
pub struct PasswordSettings {
    /// Calls of one client address that may cause a mail; the same budget as registration's.
    pub mails: Quota,
    /// Calls of one client address that have a password judged.
    pub checks: Quota,
    /// Life of the link in the mail.
    pub reset: TimeDelta,
}

impl From<&Config> for PasswordSettings {
    fn from(config: &Config) -> Self {
        Self {
            mails: registration::mail_quota(config),
            checks: Quota {
                name: "password_check",
                requests: config.limits.password_checks_per_minute,
                window: Duration::from_secs(60),
            },
            reset: config.tokens.reset_password_minutes.delta(),
        }
    }
}

/// What replacing passwords works with.
pub struct PasswordParts {
    pub database: Database,
    pub customers: Customers,
    pub gate: Gate,
    pub hashing: Arc<HashingPool>,
    pub allowance: Arc<Allowance>,
    pub keys: Arc<ThrottleKeys>,
    pub tokens: OneTimeTokens,
    pub policy: Arc<PasswordPolicy>,
    pub clock: Arc<dyn Clock>,
}

/// Whom a password is thought of for, as far as that was told.
#[derive(Default)]
pub struct Candidate {
    pub names: Vec<String>,
    pub email: Option<String>,
}

/// Replaces passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    parts: PasswordParts,
    settings: PasswordSettings,
}

impl Passwords {
    pub fn new(parts: PasswordParts, settings: PasswordSettings) -> Self {
        Self(Arc::new(Inner { parts, settings }))
    }

    /// Mails a link that leads to a new password, where the address has an account. The answer is
    /// the same where it has none, and where it was written to too often.
    pub async fn forgot(
        &self,
        email: &EmailAddress,
        origin: &Origin,
    ) -> Counted<Result<(), RegistrationError>> {
        let Inner { parts, settings } = &*self.0;
        let network = origin.network.to_string();
        let standing = parts.allowance.take_or_alone(settings.mails, &network).await;
        let result = match standing.retry_after {
            Some(retry_after) => Err(RegistrationError::RateLimited { retry_after }),
            None => paced(self.0.forgot(email, origin)).await.map_err(Into::into),
        };
        Counted { standing: Some(standing), result }
    }

    /// Gives the account that a mailed token belongs to another password, and ends its sessions.
    ///
    /// Refused with [`Rejection::TokenInvalid`] or, leaving the token good, with
    /// [`Rejection::Invalid`] for a password that the policy does not allow.
    pub async fn reset(
        &self,
        token: &str,
        password: Password,
        origin: &Origin,
    ) -> Counted<Result<(), GateError>> {
        let work = self.0.reset(token, password, origin);
        self.0.parts.gate.pass(Path::PasswordReset, origin, work).await
    }

    /// Gives a signed-in customer who proves to know its password another one, and ends its other
    /// sessions.
    pub async fn change(
        &self,
        who: SignedIn,
        current: Password,
        new: Password,
        origin: &Origin,
    ) -> Counted<Result<(), GateError>> {
        let prepare = async {
            let hash = self.0.chosen(who.customer, new).await?;
            let mail_id = self.0.mail_id();
            Ok(move |proof| {
                Command::ChangePassword(Box::new(ChangePassword {
                    proof,
                    password_hash: hash.clone(),
                    keep: who.session,
                    mail_id,
                }))
            })
        };
        let evidence = Evidence::Password(current);
        let gate = &self.0.parts.gate;
        let Counted { standing, result } =
            gate.prove_prepared(who, evidence, origin, prepare).await;
        Counted { standing, result: result.and_then(|outcome| done("change_password", &outcome)) }
    }

    /// Judges a password that somebody thinks of. It is neither kept nor noted anywhere.
    pub async fn check(
        &self,
        password: Zeroizing<String>,
        candidate: Candidate,
        origin: &Origin,
    ) -> Counted<Result<Appraisal, RegistrationError>> {
        let Inner { parts, settings } = &*self.0;
        let network = origin.network.to_string();
        let standing = parts.allowance.take_or_alone(settings.checks, &network).await;
        let result = match standing.retry_after {
            Some(retry_after) => Err(RegistrationError::RateLimited { retry_after }),
            None => {
                let policy = Arc::clone(&parts.policy);
                let appraisal = parts.hashing.appraise(move || {
                    let names: Vec<&str> = candidate.names.iter().map(String::as_str).collect();
                    let email = candidate.email.as_deref();
                    policy.appraise(&password, Person { names: &names, email })
                });
                appraisal.await.map_err(|error| hashing_trouble(error).into())
            }
        };
        Counted { standing: Some(standing), result }
    }
}

impl Inner {
    async fn forgot(&self, email: &EmailAddress, origin: &Origin) -> Result<(), Trouble> {
        let may_send = self.parts.allowance.take_or_alone(RESETS, email.canonical()).await;
        let address = email.canonical().to_owned();
        let owner = self.parts.database.read(move |c| {
            let address = address.clone();
            async move { db::customers::owner_of_email(c, &address).await }.boxed()
        });
        let owner = owner.await?.filter(|_| may_send.retry_after.is_none());
        let (subject, command) = match owner {
            Some(owner) => (
                Subject::Customer(owner),
                Command::RequestPasswordReset { mail_id: self.mail_id(), token: self.token() },
            ),
            None => registration::decoy(&self.parts.keys, &*self.parts.clock, email),
        };
        match self.submit(subject, command, origin).await {
            // Deleted since it was looked up: nobody to write to.
            Ok(_) | Err(SubmitError::Rejected(Rejection::NotFound)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn reset(
        &self,
        token: &str,
        password: Password,
        origin: &Origin,
    ) -> Result<(), GateError> {
        let invalid = || GateError::Rejected(Rejection::TokenInvalid);
        let token_hash = OneTimeTokens::token_hash(token).ok_or_else(invalid)?;
        let now = self.parts.clock.now();
        // Before a hash is spent on it; whether it is still good is decided with its use.
        let owner = self.parts.database.read(move |c| {
            let purpose = Purpose::ResetPassword;
            async move { db::one_time_tokens::usable(c, &token_hash, purpose, now).await }.boxed()
        });
        let owner = owner.await.map_err(Trouble::from)?.ok_or_else(invalid)?;
        let customer = self.customer(owner).await?.ok_or_else(invalid)?;
        let password_hash = self.hash(&customer, password).await?;
        let command = Command::ResetPassword(Box::new(ResetPassword {
            token_hash,
            password_hash,
            buckets: self.buckets(&customer),
            mail_id: self.mail_id(),
        }));
        match self.submit(Subject::Customer(owner), command, origin).await? {
            Outcome::Done => Ok(()),
            other => done("reset_password", &other),
        }
    }

    /// The hash of a new password of a customer, when the policy allows it.
    async fn chosen(&self, id: CustomerId, password: Password) -> Result<PasswordHash, GateError> {
        let gone = GateError::Rejected(Rejection::NotFound);
        let customer = self.customer(id).await?.ok_or(gone)?;
        self.hash(&customer, password).await
    }

    async fn hash(
        &self,
        customer: &Customer,
        password: Password,
    ) -> Result<PasswordHash, GateError> {
        let names = [customer.first_name.as_str(), customer.last_name.as_str()];
        let person = Person { names: &names, email: Some(customer.email.as_str()) };
        if let Err(fault) = self.parts.policy.judge(&password, person) {
            let fault = Fault::new(fault.code(), fault.detail());
            return Err(GateError::Rejected(Rejection::Invalid { pointer: NEW_PASSWORD, fault }));
        }
        let hash = self.parts.hashing.hash(password).await.map_err(hashing_trouble)?;
        Ok(PasswordHash::new(hash.as_str()))
    }

    async fn customer(&self, id: CustomerId) -> Result<Option<Customer>, Trouble> {
        let found = self
            .parts
            .database
            .read(move |c| async move { db::customers::find(c, id).await }.boxed());
        Ok(found.await?)
    }

    /// Where wrong passwords of the customer are counted: its address, its verified number, and
    /// itself. Its devices are forgotten, and their counters with them.
    fn buckets(&self, customer: &Customer) -> Vec<Bucket> {
        let keys = &self.parts.keys;
        let phone = customer.phone.as_ref().filter(|_| customer.phone_verified_at.is_some());
        let phone = phone.map(|phone| keys.bucket("phone", phone.as_str()));
        let again = self.parts.gate.guard(Factor::Reauthentication, customer.id).bucket;
        let email = keys.bucket("email", customer.email.canonical());
        [email, again].into_iter().chain(phone).collect()
    }

    fn mail_id(&self) -> MailId {
        MailId(self.parts.clock.new_id())
    }

    fn token(&self) -> FreshToken {
        let mut nonce = [0; 32];
        self.parts.clock.random(&mut nonce);
        let issued = self.parts.tokens.issue(Purpose::ResetPassword.as_str(), nonce);
        let expires_at = self.parts.clock.now() + self.settings.reset;
        FreshToken { nonce, hash: issued.hash, expires_at }
    }

    async fn submit(
        &self,
        subject: Subject,
        command: Command,
        origin: &Origin,
    ) -> Result<Outcome, SubmitError> {
        let context = origin.context(Actor::Anonymous, &*self.parts.clock);
        let submission = Submission { subject, command, context, idempotency: None };
        Ok(self.parts.customers.submit(submission).await?.outcome)
    }
}

fn done(what: &'static str, outcome: &Outcome) -> Result<(), GateError> {
    match outcome {
        Outcome::Done => Ok(()),
        _ => Err(unexpected(what).into()),
    }
}
