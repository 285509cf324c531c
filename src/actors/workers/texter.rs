//! The texter: sends the text messages that committed transactions decided on. A message whose code
//! has expired, or in whose place a newer one has come, is given up unsent.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::counter;
use uuid::Uuid;

use super::dispatcher::{Dispatcher, Due, Pace, Post, Undelivered};
use crate::clock::Clock;
use crate::db::deliveries::Queue;
use crate::db::text_messages::DueText;
use crate::db::{self, Database};
use crate::domain::text_message::TextBody;
use crate::mail::Language;
use crate::security::phone_codes::PhoneCodes;
use crate::sms::{CodeText, Gateway, TextFault, TextMessage, segments};

/// Messages of one run.
const BATCH_MAX: usize = 50;

/// The moments from the decision to the sending do not cost a whole minute in the text.
const MINUTES_SLACK: TimeDelta = TimeDelta::seconds(30);

/// The worker; see the module.
pub type Texter = Dispatcher<Texts>;

/// How text messages are written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Failed tries after which a message is given up.
    pub tries_max: u32,
    /// Who writes.
    pub shop: String,
    /// The site that phones may fill codes in on.
    pub domain: Option<String>,
}

/// What the texter sends.
#[derive(Clone)]
pub struct Texts {
    gateway: Arc<dyn Gateway>,
    codes: Arc<PhoneCodes>,
    clock: Arc<dyn Clock>,
    settings: Settings,
}

impl Texter {
    /// A texter that derives the codes with `codes`.
    pub fn new(
        database: Database,
        gateway: Arc<dyn Gateway>,
        codes: Arc<PhoneCodes>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        let texts = Texts { gateway, codes, clock: clock.clone(), settings };
        Self::over(database, clock, texts)
    }
}

impl Texts {
    fn write(&self, due: &DueText) -> Result<TextMessage, Undelivered> {
        let permanent = |cause: &str| Undelivered::Permanent(cause.to_owned());
        if due.kind != "phone_code" {
            return Err(permanent("the kind is not known"));
        }
        let minutes = minutes_left(due.expires_at, self.clock.now())
            .ok_or_else(|| permanent("its code has expired"))?;
        let to = due.to.clone().ok_or_else(|| permanent("no number waits for its code"))?;
        let nonce = due.nonce.as_deref().and_then(|nonce| nonce.try_into().ok());
        let nonce = nonce.ok_or_else(|| permanent("it has no nonce for its code"))?;
        let code = self.codes.code(due.customer_id, &to, nonce);
        let text = CodeText {
            code: code.as_str(),
            shop: &self.settings.shop,
            minutes,
            domain: self.settings.domain.as_deref(),
        };
        let text = text.write(Language::of(&due.locale));
        Ok(TextMessage { id: due.id, to, text, created_at: due.created_at })
    }
}

/// Whole minutes that a code is still good, at least one; `None` when it is not.
fn minutes_left(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<i64> {
    let left = expires_at - now;
    (left > TimeDelta::zero()).then(|| (left + MINUTES_SLACK).num_minutes().max(1))
}

impl Post for Texts {
    type Due = DueText;

    const NAME: &'static str = "texter";
    const QUEUE: Queue = Queue::TextMessages;
    /// A code lives for minutes, so all is quicker than with mails.
    const PACE: Pace = Pace {
        sending_max: 4,
        lease: TimeDelta::seconds(40),
        retry_first: TimeDelta::seconds(5),
        retry_max: TimeDelta::seconds(60),
        outage_rest_max: TimeDelta::seconds(20),
        period: Duration::from_secs(2),
    };
    const TOTAL: &'static str = "text_messages_total";
    const DELAY: &'static str = "text_message_delay_seconds";

    fn kinds() -> impl Iterator<Item = &'static str> {
        [TextBody::PhoneCode { nonce: [0; 32] }.kind()].into_iter()
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
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
    ) -> Result<Vec<DueText>, db::Error> {
        Ok(db::text_messages::claim(connection, now, until, limit).await?)
    }

    async fn send(&self, due: &DueText) -> Result<(), Undelivered> {
        let message = self.write(due)?;
        self.gateway.send(&message).await?;
        counter!("text_message_segments_total").increment(segments(&message.text) as u64);
        Ok(())
    }
}

impl Due for DueText {
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

impl From<TextFault> for Undelivered {
    fn from(fault: TextFault) -> Self {
        match fault {
            TextFault::Unreachable(cause) => Self::Unreachable(cause),
            TextFault::Transient(cause) => Self::Transient(cause),
            TextFault::Permanent(cause) => Self::Permanent(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a8_the_minutes_told_are_those_that_are_left() {
        let end = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        for (seconds, minutes) in [
            (300, Some(5)),
            (299, Some(5)),
            (271, Some(5)),
            (269, Some(4)),
            (60, Some(1)),
            (1, Some(1)),
            (0, None),
            (-5, None),
        ] {
            assert_eq!(minutes_left(end, end - TimeDelta::seconds(seconds)), minutes, "{seconds}");
        }
    }
}
