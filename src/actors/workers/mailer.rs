//! The mailer: sends the mails that committed transactions decided on (rule A11). At least once,
//! and recognisable: a mail that is sent twice after a crash carries the same `Message-ID`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{Unit, describe_counter, describe_histogram};
use serde_json::json;
use url::Url;
use uuid::Uuid;

use super::dispatcher::{Dispatcher, Due, Pace, Post, Undelivered};
use crate::clock::Clock;
use crate::config::LinkTemplate;
use crate::db::deliveries::Queue;
use crate::db::mails::DueMail;
use crate::db::{self, Database};
use crate::domain::token::Purpose;
use crate::mail::{Mail, MailFault, MailKind, Transport, Values};
use crate::security::tokens::OneTimeTokens;

/// The moments from the decision to the sending do not cost a whole hour in the mail's text.
const HOURS_SLACK: TimeDelta = TimeDelta::minutes(5);

/// How mails are sent and what they link to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Mails of one run.
    pub batch_max: usize,
    /// Failed tries after which a mail is given up.
    pub tries_max: u32,
    /// Where the link of a confirmation leads.
    pub verify_email: LinkTemplate,
    /// How long that link is good from the decision on the mail, in hours.
    pub verify_email_hours: u64,
    /// Where one signs in.
    pub sign_in: Url,
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

/// Describes the mailer's metrics; once per process.
pub fn describe_metrics() {
    describe_counter!(
        "mails_total",
        Unit::Count,
        "Tries to send a mail, by kind and outcome: sent, put_off, given_up"
    );
    describe_histogram!(
        "mail_delay_seconds",
        Unit::Seconds,
        "From the decision on a mail until the mail server had it"
    );
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
        let mut values = Values::new();
        match kind {
            MailKind::VerifyEmail | MailKind::AlreadyRegisteredPending => {
                let hours = self
                    .valid_hours(due.created_at, now)
                    .ok_or_else(|| permanent("its link has expired"))?;
                let nonce: [u8; 32] = due
                    .nonce
                    .as_deref()
                    .and_then(|nonce| nonce.try_into().ok())
                    .ok_or_else(|| permanent("the mail has no nonce for its link"))?;
                let issued = self.tokens.issue(Purpose::VerifyEmail.as_str(), nonce);
                let link = self.settings.verify_email.with_token(issued.token.as_str());
                values.insert("link".to_owned(), json!(link));
                values.insert("valid_hours".to_owned(), json!(hours));
            }
            MailKind::AlreadyRegistered
            | MailKind::TotpEnabled
            | MailKind::TotpRemoved
            | MailKind::BackupCodesRenewed
            | MailKind::FactorsReset
            | MailKind::SecondFactorLocked
            | MailKind::PhoneChanged
            | MailKind::PhoneRemoved
            | MailKind::PasskeyAdded
            | MailKind::PasskeyRemoved
            | MailKind::PasskeyRequired
            | MailKind::PasskeyNotRequired
            | MailKind::PasskeySuspected => {
                values.insert("link".to_owned(), json!(self.settings.sign_in.as_str()));
            }
        }
        let (locale, created_at) = (due.locale.clone(), due.created_at);
        Ok(Mail { id: due.id, to, kind, locale, values, created_at })
    }

    /// Whole hours that a link decided on at `created_at` is still good, at least one; `None` when
    /// it is not.
    fn valid_hours(&self, created_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<i64> {
        let life = TimeDelta::try_hours(i64::try_from(self.settings.verify_email_hours).ok()?)?;
        let left = life - (now - created_at);
        (left > TimeDelta::zero()).then(|| (left + HOURS_SLACK).min(life).num_hours().max(1))
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
