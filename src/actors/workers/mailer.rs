//! The mailer: sends the mails that committed transactions decided on (rule A11). At least once,
//! and recognisable: a mail that is sent twice after a crash carries the same `Message-ID`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::dispatcher::{Dispatcher, Due, Pace, Post, Undelivered};
use crate::clock::Clock;
use crate::config::{LinkTemplate, WelcomeCondition};
use crate::db::deliveries::Queue;
use crate::db::mails::DueMail;
use crate::db::{self, Database};
use crate::domain::token::Purpose;
use crate::mail::{Mail, MailFault, MailKind, Transport, Values};
use crate::security::tokens::OneTimeTokens;

/// The moments from the decision to the sending do not cost a whole hour in the mail's text, nor
/// more than a sixtieth of a shorter life.
const SLACK_MAX: TimeDelta = TimeDelta::minutes(5);

/// How mails are sent and what they link to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Mails of one run.
    pub batch_max: usize,
    /// Failed tries after which a mail is given up.
    pub tries_max: u32,
    /// The link of a confirmation.
    pub verify_email: Link,
    /// The link to a new password.
    pub reset_password: Link,
    /// The link that confirms another address.
    pub change_email: Link,
    /// The link that takes the old address back.
    pub undo_email_change: Link,
    /// Where one signs in.
    pub sign_in: Url,
    /// The steps of the welcome series, each with what must hold when it is sent.
    pub welcome: BTreeMap<String, WelcomeCondition>,
}

/// A link with a token.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where it leads.
    pub page: LinkTemplate,
    /// How long it is good from the decision on the mail.
    pub life: TimeDelta,
}

/// The worker; see the module.
pub type Mailer = Dispatcher<Letters>;

/// What the mailer sends.
#[derive(Clone)]
pub struct Letters {
    transport: Arc<Transport>,
    tokens: Arc<OneTimeTokens>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl Mailer {
    /// A mailer that derives the links' tokens with `tokens`.
    pub fn new(
        database: Database,
        transport: Arc<Transport>,
        tokens: Arc<OneTimeTokens>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let letters = Letters { transport, tokens, clock: clock.clone(), settings };
        Self::over(database, clock, letters)
    }
}

impl Letters {
    fn compose(&self, due: &DueMail, now: DateTime<Utc>) -> Result<Mail, MailFault> {
        let permanent = |cause: &str| MailFault::Permanent(cause.to_owned());
        let kind = MailKind::parse(&due.kind).ok_or_else(|| permanent("the kind is not known"))?;
        let to = due.to.clone().ok_or_else(|| permanent("the customer is gone"))?;
        let mut values = match self.link(kind) {
            Some((purpose, link)) => {
                let left = time_left(link.life, due.created_at, now)
                    .ok_or_else(|| permanent("its link has expired"))?;
                let nonce: [u8; 32] = due
                    .nonce
                    .as_deref()
                    .and_then(|nonce| nonce.try_into().ok())
                    .ok_or_else(|| permanent("the mail has no nonce for its link"))?;
                let issued = self.tokens.issue(purpose.as_str(), nonce);
                Values::from_iter([
                    ("link".to_owned(), json!(link.page.with_token(issued.token.as_str()))),
                    ("valid_hours".to_owned(), json!(left.num_hours().max(1))),
                    ("valid_minutes".to_owned(), json!(left.num_minutes().max(1))),
                ])
            }
            None => Values::from_iter([("link".to_owned(), json!(self.settings.sign_in.as_str()))]),
        };
        if let Some(left) = due.codes_left {
            values.insert("codes_left".to_owned(), json!(left));
        }
        if let Some(instant) = due.tells_of {
            values.insert("day".to_owned(), json!(instant.format("%Y-%m-%d").to_string()));
        }
        let (locale, created_at) = (due.locale.clone(), due.created_at);
        Ok(Mail { id: due.id, to, kind, locale, values, created_at })
    }

    /// Whether a step of the welcome series is still to be sent, now that it is due.
    fn still_welcome(&self, step: &str, due: &DueMail) -> Result<(), Undelivered> {
        let condition = self.settings.welcome.get(step);
        let condition = condition.ok_or(Undelivered::Stopped("the step is not configured"))?;
        if !due.welcome {
            return Err(Undelivered::Stopped("the account is not active and verified"));
        }
        match condition {
            WelcomeCondition::MarketingConsent if !due.accepts_marketing => {
                Err(Undelivered::Stopped("there is no consent to marketing by mail"))
            }
            WelcomeCondition::MarketingConsent | WelcomeCondition::Always => Ok(()),
        }
    }

    /// The link of a mail that has one with a token, and what that token is for. The others lead
    /// to where one signs in.
    fn link(&self, kind: MailKind) -> Option<(Purpose, &Link)> {
        match kind {
            MailKind::VerifyEmail | MailKind::AlreadyRegisteredPending => {
                Some((Purpose::VerifyEmail, &self.settings.verify_email))
            }
            MailKind::ResetPassword | MailKind::EmailChangeUndone => {
                Some((Purpose::ResetPassword, &self.settings.reset_password))
            }
            MailKind::ChangeEmail => Some((Purpose::ChangeEmail, &self.settings.change_email)),
            MailKind::EmailChanged => {
                Some((Purpose::UndoEmailChange, &self.settings.undo_email_change))
            }
            MailKind::AlreadyRegistered
            | MailKind::PhoneChanged
            | MailKind::PhoneRemoved
            | MailKind::TotpEnabled
            | MailKind::TotpRemoved
            | MailKind::BackupCodesRenewed
            | MailKind::BackupCodeUsed
            | MailKind::FactorsReset
            | MailKind::SecondFactorLocked
            | MailKind::PasskeyAdded
            | MailKind::PasskeyRemoved
            | MailKind::PasskeyRequired
            | MailKind::PasskeyNotRequired
            | MailKind::PasskeySuspected
            | MailKind::Merged
            | MailKind::ExportReady
            | MailKind::DeletionScheduled
            | MailKind::DeletionCancelled
            | MailKind::SignInLocked
            | MailKind::NewDevice
            | MailKind::IdentityWelcome
            | MailKind::IdentityLinked
            | MailKind::IdentityUnlinked
            | MailKind::PasswordChanged
            | MailKind::ChangeEmailTaken
            | MailKind::ChangeEmailRequested
            | MailKind::EmailChangedAgain
            | MailKind::Welcome
            | MailKind::WelcomeGuide
            | MailKind::WelcomeOffers => None,
        }
    }
}

impl Post for Letters {
    type Due = DueMail;

    const NAME: &'static str = "mailer";
    const QUEUE: Queue = Queue::Mails;
    const PACE: Pace = Pace {
        sending_max: 4,
        lease: TimeDelta::seconds(120),
        retry_first: TimeDelta::seconds(30),
        retry_max: TimeDelta::minutes(60),
        outage_rest_max: TimeDelta::minutes(5),
        period: Duration::from_secs(5),
    };
    const TOTAL: &'static str = "mails_total";
    const DELAY: &'static str = "mail_delay_seconds";

    fn kinds() -> impl Iterator<Item = &'static str> {
        MailKind::ALL.iter().map(|kind| kind.as_str())
    }

    fn batch_max(&self) -> usize {
        self.settings.batch_max
    }

    fn tries_max(&self) -> u32 {
        self.settings.tries_max
    }

    async fn claim(
        &self,
        connection: &db::Connection,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<DueMail>, db::Error> {
        Ok(db::mails::claim(connection, now, until, limit).await?)
    }

    async fn send(&self, due: &DueMail) -> Result<(), Undelivered> {
        if let Some(step) = &due.step {
            self.still_welcome(step, due)?;
        }
        let mail = self.compose(due, self.clock.now())?;
        Ok(self.transport.send(&mail).await?)
    }
}

impl Due for DueMail {
    fn id(&self) -> Uuid {
        self.id
    }

    fn kind(&self) -> &str {
        &self.kind
    }

    fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    fn tries(&self) -> i32 {
        self.tries
    }
}

impl From<MailFault> for Undelivered {
    fn from(fault: MailFault) -> Self {
        match fault {
            MailFault::Unreachable(cause) => Self::Unreachable(cause),
            MailFault::Transient(cause) => Self::Transient(cause),
            MailFault::Permanent(cause) => Self::Permanent(cause),
        }
    }
}

/// How much is left of the life of a link decided on at `created_at`; `None` when it is over.
fn time_left(life: TimeDelta, created_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<TimeDelta> {
    let left = life - (now - created_at);
    let slack = (life / 60).min(SLACK_MAX);
    (left > TimeDelta::zero()).then(|| (left + slack).min(life))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_says_how_long_its_link_is_good_from_its_sending() {
        let began = DateTime::UNIX_EPOCH;
        let left = |life, age| time_left(life, began, began + age);
        let (hour, day) = (TimeDelta::hours(1), TimeDelta::hours(24));
        assert_eq!(left(hour, TimeDelta::seconds(2)), Some(hour));
        assert_eq!(left(hour, TimeDelta::minutes(20)), Some(TimeDelta::minutes(41)));
        assert_eq!(left(hour, hour), None);
        assert_eq!(left(day, TimeDelta::minutes(4)), Some(day));
        assert_eq!(left(day, TimeDelta::hours(1)), Some(TimeDelta::minutes(23 * 60 + 5)));
    }
}
