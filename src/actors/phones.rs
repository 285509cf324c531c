//! Sending codes to phones: what it may cost, and what a code is made of.
//!
//! Whoever lets a service send text messages to numbers that earn by each of them makes money at
//! the shop's expense. So messages are counted before anything is decided: for the number (whoever
//! asks), for the customer, and for the whole service; and only countries that the shop sells to
//! are written to.

use super::allowance::{Allowance, Quota};
use super::gate::GateError;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::fault::Fault;
use crate::domain::outcome::Rejection;
use crate::domain::phone::PhoneNumber;
use crate::domain::phone_confirmation::FreshCode;
use crate::domain::{Command, CustomerId, TextMessageId};
use crate::security::phone_codes::PhoneCodes;
use chrono::TimeDelta;
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;

/// Text messages are counted by the hour.
const WINDOW: Duration = Duration::from_secs(3_600);

/// What sending codes may cost.
#[derive(Debug, Clone)]
pub struct PhoneSettings {
    pub per_number: u32,
    pub per_customer: u32,
    /// Of the whole service.
    pub total: u32,
    /// Codes of ISO 3166-1; empty: every country.
    pub countries: Vec<String>,
    /// Of a code.
    pub life: TimeDelta,
}

impl From<&Config> for PhoneSettings {
    fn from(config: &Config) -> Self {
        let countries = config.sms.countries.iter().map(|country| country.code().to_owned());
        Self {
            per_number: config.limits.sms_per_number_per_hour,
            per_customer: config.limits.sms_per_customer_per_hour,
            total: config.limits.sms_per_hour,
            countries: countries.collect(),
            life: config.tokens.phone_code_minutes.delta(),
        }
    }
}

/// Makes requests of codes.
pub struct Phones {
    allowance: Arc<Allowance>,
    codes: Arc<PhoneCodes>,
    clock: Arc<dyn Clock>,
    settings: PhoneSettings,
}

impl Phones {
    pub fn new(
        allowance: Arc<Allowance>,
        codes: Arc<PhoneCodes>,
        clock: Arc<dyn Clock>,
        settings: PhoneSettings,
    ) -> Self {
        Self { allowance, codes, clock, settings }
    }

    /// The command that sends a code to `phone`, once it is within all budgets.
    ///
    /// # Errors
    /// A number that is not written to, or a budget that is used up. The answer does not tell which
    /// one: that of a number would tell that others ask for it.
    pub async fn request(
        &self,
        customer: CustomerId,
        phone: PhoneNumber,
    ) -> Result<Command, GateError> {
        self.check_reach(&phone)?;
        let PhoneSettings { per_number, per_customer, total, .. } = self.settings;
        let quota = |name, requests| Quota { name, requests, window: WINDOW };
        let customer_key = customer.to_string();
        let wanted = [
            (quota("sms_number", per_number), phone.as_str()),
            (quota("sms_customer", per_customer), customer_key.as_str()),
            (quota("sms_total", total), ""),
        ];
        // A message costs money: where it cannot be counted, none is sent.
        let counted = self.allowance.take_all(&wanted).await;
        let standing = counted.map_err(|_| GateError::LimiterUnavailable)?;
        if let Some(retry_after) = standing.retry_after {
            counter!("text_messages_refused_total", "budget" => standing.quota.name).increment(1);
            tracing::warn!(budget = standing.quota.name, "a budget of text messages is used up");
            return Err(GateError::RateLimited { retry_after });
        }
        let code = self.fresh_code(customer, &phone);
        Ok(Command::RequestPhone { phone, code })
    }

    fn check_reach(&self, phone: &PhoneNumber) -> Result<(), GateError> {
        let refuse = |code, detail| {
            let fault = Fault::new(code, detail);
            Err(GateError::Rejected(Rejection::Invalid { pointer: "#/phone", fault }))
        };
        if !phone.takes_texts() {
            return refuse("no_text_messages", "must be a number that receives text messages");
        }
        let served = &self.settings.countries;
        let country = phone.country();
        if !served.is_empty() && !country.is_some_and(|code| served.iter().any(|s| s == code)) {
            return refuse("country_not_served", "must be of a country that the shop serves");
        }
        Ok(())
    }

    fn fresh_code(&self, customer: CustomerId, phone: &PhoneNumber) -> FreshCode {
        let mut nonce = [0; 32];
        self.clock.random(&mut nonce);
        let code = self.codes.code(customer.0, phone.as_str(), &nonce);
        FreshCode {
            text_id: TextMessageId(self.clock.new_id()),
            nonce,
            hash: self.codes.hash(customer.0, phone.as_str(), &code),
            expires_at: self.clock.now() + self.settings.life,
        }
    }
}
