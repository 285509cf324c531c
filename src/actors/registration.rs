//! Becoming a customer (rules L1, L5, L7) without telling whether an address is known (rule A12):
//! a known and an unknown address cost the same hash, the same look-up and one commit, and the
//! answer leaves at a round instant, so that not even the commits' own lengths can be told apart.

use super::allowance::{Allowance, Counted, Quota, Standing};
use super::consents::Purposes;
use super::customers::{Customers, SubmitError};
use super::gate::{GateError, hashing_trouble};
use super::origin::{Origin, Trouble, unexpected};
use super::sessions::{Opened, Sessions};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Database};
use crate::domain::command::{Register, Subject};
use crate::domain::credential;
use crate::domain::customer::{CustomerType, GroupCode};
use crate::domain::email::EmailAddress;
use crate::domain::handle::Handle;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::phone::PhoneNumber;
use crate::domain::place::{Currency, Locale, TimeZone};
use crate::domain::session::Client;
use crate::domain::text::PersonName;
use crate::domain::token::{FreshToken, Purpose};
use crate::domain::{Actor, ClaimId, Command, CustomerId, MailId, Submission};
use crate::faults;
use crate::security::hashing::{HashingPool, PasswordHash};
use crate::security::passwords::Password;
use crate::security::tokens::{OneTimeTokens, ThrottleKeys};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Answers leave at multiples of this since their request began. Far above what the commits of a
/// known and an unknown address differ by, far below what anybody waits for.
const PACE: Duration = Duration::from_millis(100);

/// An address may be taken or given up between its look-up and the commit; then the other way is
/// gone. More often than this it does not happen without somebody's doing.
const ROUNDS_MAX: usize = 4;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// Mails of one kind to one address: whoever asks, nobody's mailbox is flooded. (The quota of the
/// caller is configured; this one guards a third person.)
pub(super) const MAILS_PER_ADDRESS: u32 = 3;
/// Counted apart, and only by registrations: after the first of them the address is known either
/// way, so using it up tells nothing.
const REMINDERS: Quota = Quota { name: "mail_reminder", requests: MAILS_PER_ADDRESS, window: HOUR };
const RESENDS: Quota = Quota { name: "mail_resend", requests: MAILS_PER_ADDRESS, window: HOUR };

/// What registration offers and what new customers start with.
#[derive(Debug, Clone)]
pub struct RegistrationSettings {
    /// Calls of one client address that may cause a mail (20 an hour).
    pub quota: Quota,
    /// Life of the link in the verification mail.
    pub verify_email: TimeDelta,
    pub group_individual: GroupCode,
    pub group_business: GroupCode,
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
    pub purposes: Purposes,
}

impl From<&Config> for RegistrationSettings {
    /// The configuration was checked at start, and the groups against the database.
    fn from(config: &Config) -> Self {
        let customers = &config.customers;
        Self {
            quota: mail_quota(config),
            verify_email: config.tokens.verify_email_hours.delta(),
            group_individual: GroupCode::from_stored(customers.default_group_individual.clone()),
            group_business: GroupCode::from_stored(customers.default_group_business.clone()),
            locale: Locale::from_stored(customers.default_locale.clone()),
            timezone: TimeZone::from_stored(customers.default_timezone.name().to_owned()),
            currency: Currency::from_stored(customers.default_currency.clone()),
            purposes: Purposes::from(config),
        }
    }
}

/// What one client address may cause in mails, by whatever call.
pub(super) fn mail_quota(config: &Config) -> Quota {
    Quota { name: "mail", requests: config.limits.mail_requests_per_hour, window: HOUR }
}

/// Who wants to become a customer.
#[derive(Debug)]
pub struct Applicant {
    pub email: EmailAddress,
    /// Chosen and checked.
    pub password: Password,
    pub first_name: PersonName,
    pub last_name: PersonName,
    pub phone: Option<PhoneNumber>,
    pub customer_type: CustomerType,
    pub accepts_marketing: bool,
    pub locale: Option<Locale>,
    pub timezone: Option<TimeZone>,
}

/// Why a request that may cause a mail was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// Too many calls of this client address.
    #[error("too many calls")]
    RateLimited { retry_after: Duration },
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// What registration works with.
pub struct RegistrationParts {
    pub database: Database,
    pub customers: Customers,
    pub sessions: Arc<Sessions>,
    pub hashing: Arc<HashingPool>,
    pub allowance: Arc<Allowance>,
    pub keys: Arc<ThrottleKeys>,
    pub tokens: OneTimeTokens,
    pub clock: Arc<dyn Clock>,
}

/// Registers customers and verifies their addresses. Cheap to clone.
#[derive(Clone)]
pub struct Registration(Arc<Inner>);

struct Inner {
    parts: RegistrationParts,
    settings: RegistrationSettings,
}

impl Registration {
    pub fn new(parts: RegistrationParts, settings: RegistrationSettings) -> Self {
        Self(Arc::new(Inner { parts, settings }))
    }

    /// Takes a registration. Its answer is the same for a free address, which becomes a customer
    /// that waits for its verification, and a taken one, whose owner is told by mail.
    pub async fn register(
        &self,
        applicant: Applicant,
        origin: &Origin,
    ) -> Counted<Result<(), RegistrationError>> {
        let standing = self.count(origin).await;
        let result = match standing.retry_after {
            Some(retry_after) => Err(RegistrationError::RateLimited { retry_after }),
            None => paced(self.0.register(applicant, origin)).await.map_err(Into::into),
        };
        Counted { standing: Some(standing), result }
    }

    /// Sends the verification mail again, where there is an address to verify. The answer is the
    /// same where there is not, and where this address was written to too often.
    pub async fn resend(
        &self,
        email: &EmailAddress,
        origin: &Origin,
    ) -> Counted<Result<(), RegistrationError>> {
        let standing = self.count(origin).await;
        let result = match standing.retry_after {
            Some(retry_after) => Err(RegistrationError::RateLimited { retry_after }),
            None => paced(self.0.resend(email, origin)).await.map_err(Into::into),
        };
        Counted { standing: Some(standing), result }
    }

    /// Verifies the address that a mailed token belongs to, and signs its owner in.
    ///
    /// # Errors
    /// See [`GateError`]; a token that is unknown and one that was used are not told apart.
    pub async fn verify(
        &self,
        token: &str,
        client: Client,
        origin: &Origin,
    ) -> Result<Opened, GateError> {
        let Inner { parts, .. } = &*self.0;
        let invalid = GateError::Rejected(Rejection::TokenInvalid);
        let token_hash = OneTimeTokens::token_hash(token).ok_or_else(|| invalid.clone())?;
        let owner = parts
            .database
            .read(move |c| async move { db::one_time_tokens::owner(c, &token_hash).await }.boxed())
            .await
            .map_err(Trouble::from)?
            .ok_or(invalid)?;
        let (session, secrets) = parts.sessions.prepare(client, None);
        let command = Command::VerifyEmail { token_hash, session: Box::new(session) };
        match self.0.submit(Subject::Customer(owner), command, origin).await? {
            Outcome::SignedIn(signed_in) => Ok(Sessions::opened(*signed_in, secrets)),
            Outcome::SignInRefused(refusal) => Err(GateError::Refused(refusal)),
            _ => Err(unexpected("verify_email").into()),
        }
    }

    async fn count(&self, origin: &Origin) -> Standing {
        let network = origin.network.to_string();
        self.0.parts.allowance.take_or_alone(self.0.settings.quota, &network).await
    }
}

impl Inner {
    async fn register(&self, applicant: Applicant, origin: &Origin) -> Result<(), Trouble> {
        let address = applicant.email.canonical();
        // Counted for every registration, though it only ever holds back reminders.
        let may_remind = self.parts.allowance.take_or_alone(REMINDERS, address).await;
        let hash = self.parts.hashing.hash(applicant.password.clone()).await;
        let hash = hash.map_err(hashing_trouble)?;
        faults::at("registration.hashed");
        for _ in 0..ROUNDS_MAX {
            let (subject, command) = match self.holder(&applicant.email).await? {
                None => self.creation(&applicant, &hash),
                Some((owner, None)) if may_remind.retry_after.is_none() => (
                    Subject::Customer(owner),
                    Command::RemindOfAccount {
                        mail_id: self.mail_id(),
                        token: self.token(),
                        password_hash: credential::PasswordHash::new(hash.as_str()),
                    },
                ),
                // Written to often enough; or given up lately, and kept for who may take it back.
                Some(_) => decoy(&self.parts.keys, &*self.parts.clock, &applicant.email),
            };
            match self.submit(subject, command, origin).await {
                Ok(_) => return Ok(()),
                // Taken, or given up, since it was looked up.
                Err(SubmitError::Rejected(Rejection::EmailTaken | Rejection::NotFound)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Trouble::Unavailable)
    }

    async fn resend(&self, email: &EmailAddress, origin: &Origin) -> Result<(), Trouble> {
        let may_send = self.parts.allowance.take_or_alone(RESENDS, email.canonical()).await;
        let owner = self.owner(email.canonical()).await?;
        let (subject, command) = match owner.filter(|_| may_send.retry_after.is_none()) {
            Some(owner) => (
                Subject::Customer(owner),
                Command::ResendVerification { mail_id: self.mail_id(), token: self.token() },
            ),
            None => decoy(&self.parts.keys, &*self.parts.clock, email),
        };
        match self.submit(subject, command, origin).await {
            // Deleted since it was looked up: nobody to write to.
            Ok(_) | Err(SubmitError::Rejected(Rejection::NotFound)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn creation(&self, applicant: &Applicant, hash: &PasswordHash) -> (Subject, Command) {
        let settings = &self.settings;
        let id = CustomerId(self.parts.clock.new_id());
        let group = match applicant.customer_type {
            CustomerType::Individual => &settings.group_individual,
            CustomerType::Business => &settings.group_business,
        };
        let register = Register {
            id,
            email: applicant.email.clone(),
            password_hash: hash.as_str().to_owned(),
            first_name: applicant.first_name.clone(),
            last_name: applicant.last_name.clone(),
            phone: applicant.phone.clone(),
            customer_type: applicant.customer_type,
            group: group.clone(),
            marketing: settings.purposes.marketing_at_creation(applicant.accepts_marketing),
            locale: applicant.locale.clone().unwrap_or_else(|| settings.locale.clone()),
            timezone: applicant.timezone.clone().unwrap_or_else(|| settings.timezone.clone()),
            currency: settings.currency.clone(),
            mail_id: self.mail_id(),
            token: self.token(),
        };
        (Subject::Customer(id), Command::Register(Box::new(register)))
    }

    fn mail_id(&self) -> MailId {
        MailId(self.parts.clock.new_id())
    }

    fn token(&self) -> FreshToken {
        let mut nonce = [0; 32];
        self.parts.clock.random(&mut nonce);
        let issued = self.parts.tokens.issue(Purpose::VerifyEmail.as_str(), nonce);
        let expires_at = self.parts.clock.now() + self.settings.verify_email;
        FreshToken { nonce, hash: issued.hash, expires_at }
    }

    /// Who has an address, or until when it is kept for who gave it up.
    async fn holder(
        &self,
        email: &EmailAddress,
    ) -> Result<Option<(CustomerId, Option<DateTime<Utc>>)>, Trouble> {
        let handle = Handle::email(email);
        let found = self.parts.database.read(move |c| {
            let handle = handle.clone();
            async move { db::handles::find(c, &handle).await }.boxed()
        });
        let now = self.parts.clock.now();
        Ok(found.await?.filter(|(_, held_until)| held_until.is_none_or(|until| until > now)))
    }

    async fn owner(&self, address: &str) -> Result<Option<CustomerId>, Trouble> {
        let address = address.to_owned();
        let found = self.parts.database.read(move |c| {
            let address = address.clone();
            async move { db::customers::owner_of_email(c, &address).await }.boxed()
        });
        Ok(found.await?)
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

/// A transaction that changes nothing, where there is nothing to do but the time to take: giving
/// back a claim that nobody holds.
pub(super) fn decoy(
    keys: &ThrottleKeys,
    clock: &dyn Clock,
    email: &EmailAddress,
) -> (Subject, Command) {
    let bucket = keys.bucket("email", email.canonical());
    let claim = ClaimId(clock.new_id());
    (Subject::Nobody(bucket), Command::ReleaseAttempt { bucket, claim })
}

/// Lets work take until the next multiple of [`PACE`].
pub(super) async fn paced<T>(work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let result = work.await;
    round_instant(start).await;
    result
}

/// Waits until a multiple of [`PACE`] has passed since `start`.
pub(super) async fn round_instant(start: Instant) {
    let steps = start.elapsed().as_nanos().div_ceil(PACE.as_nanos());
    let steps = u32::try_from(steps).unwrap_or(u32::MAX).max(1);
    sleep_until(start + PACE * steps).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a12_answers_leave_at_round_instants() {
        for (work, expected) in [(0, 100), (3, 100), (99, 100), (101, 200), (199, 200), (950, 1000)]
        {
            let start = Instant::now();
            paced(tokio::time::sleep(Duration::from_millis(work))).await;
            assert_eq!(start.elapsed().as_millis(), expected, "{work}");
        }
    }
}
