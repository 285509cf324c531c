//! The welcome series: mails that a customer gets after its address was verified for the first
//! time. All of them are decided on at that moment, as rows of its transaction; each is looked at
//! again when it is due, by whoever sends it.
//!
//! An address is verified for the first time once in a customer's life, so the series begins once,
//! whichever way led there and however often the address changes afterwards.

use super::event::Event;
use super::ids::MailId;
use super::mail::{Mail, MailBody};
use super::state::State;
use chrono::{DateTime, TimeDelta, Utc};

/// Which text a step has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A greeting.
    Welcome,
    /// What one can do with an account.
    Guide,
    /// News and offers, which is advertising.
    Offers,
}

impl Template {
    /// The name under which the mail is stored and its templates are kept.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Guide => "welcome_guide",
            Self::Offers => "welcome_offers",
        }
    }
}

/// One mail of the series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it is known by for good: a customer gets each step once.
    pub name: String,
    pub template: Template,
    /// From the verification.
    pub delay: TimeDelta,
}

/// The mails of a series; none of them, where the shop sends none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series(Vec<Step>);

/// A step on its way to one customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WelcomeMail {
    pub step: String,
    pub template: Template,
    /// Not before.
    pub due_at: DateTime<Utc>,
}

impl Series {
    pub fn new(steps: Vec<Step>) -> Self {
        Self(steps)
    }

    /// The mails that follow from an event, which has not been applied yet.
    pub fn follows(
        &self,
        before: &State,
        event: &Event,
        mut new_id: impl FnMut() -> MailId,
    ) -> Vec<Event> {
        let (Event::EmailVerified { at }, Some(customer)) = (event, &before.customer) else {
            return Vec::new();
        };
        if customer.email_verified_at.is_some() {
            return Vec::new();
        }
        let locale = before.locale();
        let mail = |step: &Step| Mail {
            id: new_id(),
            customer_id: customer.id,
            // The customer's address of the time of sending, which may be another one by then.
            to: None,
            body: MailBody::Welcome(WelcomeMail {
                step: step.name.clone(),
                template: step.template,
                due_at: *at + step.delay,
            }),
            locale: locale.clone(),
        };
        self.0.iter().map(mail).map(|mail| Event::MailQueued(Box::new(mail))).collect()
    }
}
