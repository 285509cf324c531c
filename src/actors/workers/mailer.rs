//! The mailer: sends the mails that committed transactions decided on (rule A11). At least once,
//! and recognisable: a mail that is sent twice after a crash carries the same `Message-ID`.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::config::LinkTemplate;
use crate::db::mails::DueMail;
use crate::db::{self, Database};
use crate::domain::token::Purpose;
use crate::mail::{Mail, MailFault, MailKind, Transport, Values};
use crate::security::tokens::OneTimeTokens;

/// Mails that are sent at the same time.
const SENDING_MAX: usize = 4;

/// For this long a mail that is being sent is nobody else's. Longer than a transport may take.
const LEASE: TimeDelta = TimeDelta::seconds(120);

/// No new mails are taken up after this part of a run, so that it ends before its time limit.
const RUN_TIME_MAX: Duration = Duration::from_secs(20);

/// Rest after the first failed try; it doubles up to an hour.
const RETRY_FIRST: TimeDelta = TimeDelta::seconds(30);
const RETRY_MAX: TimeDelta = TimeDelta::minutes(60);

/// Longest rest while the server is away: so much later than its return do mails leave.
const OUTAGE_REST_MAX: TimeDelta = TimeDelta::minutes(5);

/// The moments from the decision to the sending do not cost a whole hour in the mail's text.
const HOURS_SLACK: TimeDelta = TimeDelta::minutes(5);

/// The net under the nudges: retries become due, and other nodes' mails are sent if they die.
const PERIOD: Duration = Duration::from_secs(5);

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
#[derive(Clone)]
pub struct Mailer {
    database: Database,
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
        Self { database, transport, tokens, clock, settings }
    }

    /// Sends one leased mail and writes down what came of it.
    async fn deliver(&self, due: DueMail) -> Result<(), db::Error> {
        let sent = match self.compose(&due, self.clock.now()) {
            Ok(mail) => self.transport.send(&mail).await,
            Err(fault) => Err(fault),
        };
        let now = self.clock.now();
        // Only now a connection: none is held while a mail server thinks.
        let connection = self.database.get().await?;
        let outcome = match sent {
            Ok(()) => {
                db::mails::mark_sent(&connection, due.id, now).await?;
                let delay = (now - due.created_at).max(TimeDelta::zero());
                histogram!("mail_delay_seconds").record(delay.as_seconds_f64());
                "sent"
            }
            Err(MailFault::Unreachable(cause)) => {
                tracing::warn!(mail.id = %due.id, mail.kind = due.kind, cause, "a mail waits");
                let due_at = now + outage_rest(now - due.created_at);
                db::mails::postpone(&connection, due.id, due_at, &cause).await?;
                "put_off"
            }
            Err(MailFault::Transient(cause)) if !self.is_last(&due) => {
                tracing::warn!(mail.id = %due.id, mail.kind = due.kind, cause, "a mail was put off");
                let due_at = now + retry_time(due.tries);
                db::mails::put_off(&connection, due.id, due_at, &cause).await?;
                "put_off"
            }
            Err(MailFault::Transient(cause) | MailFault::Permanent(cause)) => {
                tracing::error!(mail.id = %due.id, mail.kind = due.kind, cause, "a mail was given up");
                db::mails::give_up(&connection, due.id, now, &cause).await?;
                "given_up"
            }
        };
        counter!("mails_total", "kind" => due.kind, "outcome" => outcome).increment(1);
        Ok(())
    }

    fn is_last(&self, due: &DueMail) -> bool {
        u32::try_from(due.tries).unwrap_or(0).saturating_add(1) >= self.settings.tries_max
    }

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
            | MailKind::SecondFactorLocked => {
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

    async fn claim(&self, limit: usize) -> Result<Vec<DueMail>, db::Error> {
        let now = self.clock.now();
        let connection = self.database.get().await?;
        Ok(db::mails::claim(&connection, now, now + LEASE, limit as i64).await?)
    }
}

impl Worker for Mailer {
    fn name(&self) -> &'static str {
        "mailer"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    /// Takes up a few mails at a time, no more than can be sent within their lease.
    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let started = Instant::now();
        let mut handled = 0;
        while handled < self.settings.batch_max && started.elapsed() < RUN_TIME_MAX {
            let wanted = SENDING_MAX.min(self.settings.batch_max - handled);
            let due = self.claim(wanted).await?;
            let claimed = due.len();
            let outcomes: Vec<_> = stream::iter(due)
                .map(|due| self.deliver(due))
                .buffer_unordered(SENDING_MAX)
                .collect()
                .await;
            handled += claimed;
            outcomes.into_iter().collect::<Result<(), _>>()?;
            if claimed < wanted {
                return Ok(Done { handled, more: false });
            }
        }
        Ok(Done { handled, more: true })
    }
}

fn retry_time(failed_before: i32) -> TimeDelta {
    let doublings = u32::try_from(failed_before).unwrap_or(0).min(16);
    RETRY_FIRST.checked_mul(1 << doublings).unwrap_or(RETRY_MAX).min(RETRY_MAX)
}

/// As long as the mail has waited, so that the rests double without a count of them.
fn outage_rest(age: TimeDelta) -> TimeDelta {
    age.clamp(RETRY_FIRST, OUTAGE_REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a11_the_rest_between_tries_doubles_up_to_an_hour() {
        let seconds: Vec<i64> = (0..9).map(|tries| retry_time(tries).num_seconds()).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600]);
        assert_eq!(retry_time(i32::MAX), RETRY_MAX);
        assert_eq!(retry_time(-1), RETRY_FIRST);
    }

    #[test]
    fn a11_an_outage_rests_for_as_long_as_the_mail_has_waited_within_bounds() {
        let seconds = [-9, 0, 30, 60, 120, 299, 301, i64::from(u32::MAX)];
        let rests = seconds.map(|age| outage_rest(TimeDelta::seconds(age)).num_seconds());
        assert_eq!(rests, [30, 30, 30, 60, 120, 299, 300, 300]);
    }
}
