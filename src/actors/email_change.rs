//! Changing the e-mail address (rules A8, A12): asked for with a fresh proof, confirmed by a link
//! in the new mailbox, taken back by one in the old.

use super::allowance::{Allowance, Counted, Quota};
use super::customers::Customers;
use super::gate::{Evidence, Gate, GateError, Path, SignedIn};
use super::origin::{Origin, Trouble, unexpected};
use super::registration::{MAILS_PER_ADDRESS, paced};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Database};
use crate::domain::command::{
    ConfirmEmailChange, Letter, RequestEmailChange, Subject, UndoEmailChange,
};
use crate::domain::email::EmailAddress;
use crate::domain::handle::{ADDRESS_HELD, Handle};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::session::SecretHash;
use crate::domain::token::{FreshToken, Purpose};
use crate::domain::{Actor, Command, CustomerId, MailId, Submission};
use crate::security::tokens::OneTimeTokens;
use chrono::TimeDelta;
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;

/// Guards a third person's mailbox, whoever asks; see its likes in registration.
const LETTERS: Quota = Quota {
    name: "mail_change",
    requests: MAILS_PER_ADDRESS,
    window: Duration::from_secs(60 * 60),
};

/// How long the links are good.
#[derive(Debug, Clone, Copy)]
pub struct EmailChangeSettings {
    /// The one that confirms.
    pub change: TimeDelta,
    /// The one to a new password, after a change was taken back.
    pub reset: TimeDelta,
}

impl From<&Config> for EmailChangeSettings {
    fn from(config: &Config) -> Self {
        Self {
            change: config.tokens.change_email_hours.delta(),
            reset: config.tokens.reset_password_minutes.delta(),
        }
    }
}

/// What changing addresses works with.
pub struct EmailChangeParts {
    pub database: Database,
    pub customers: Customers,
    pub gate: Gate,
    pub allowance: Arc<Allowance>,
    pub tokens: OneTimeTokens,
    pub clock: Arc<dyn Clock>,
}

/// Changes addresses. Cheap to clone.
#[derive(Clone)]
pub struct EmailChange(Arc<Inner>);

struct Inner {
    parts: EmailChangeParts,
    settings: EmailChangeSettings,
}

impl EmailChange {
    pub fn new(parts: EmailChangeParts, settings: EmailChangeSettings) -> Self {
        Self(Arc::new(Inner { parts, settings }))
    }

    /// Mails a link to the new address, on behalf of a signed-in customer who proves to be the
    /// owner. The answer is the same where somebody else has that address, who is told instead.
    pub async fn request(
        &self,
        who: SignedIn,
        evidence: Evidence,
        email: EmailAddress,
        origin: &Origin,
    ) -> Counted<Result<(), GateError>> {
        let prepare = async {
            let letter = self.0.letter(who.customer, &email).await?;
            let token = self.0.token(Purpose::ChangeEmail, self.0.settings.change);
            let (letter_id, notice_id) = (self.0.mail_id(), self.0.mail_id());
            Ok(move |proof| {
                Command::RequestEmailChange(Box::new(RequestEmailChange {
                    proof,
                    email: email.clone(),
                    letter,
                    letter_id,
                    notice_id,
                    token: token.clone(),
                }))
            })
        };
        let gate = &self.0.parts.gate;
        let proven = paced(Box::pin(gate.prove_prepared(who, evidence, origin, prepare))).await;
        let Counted { standing, result } = proven;
        let result = result.and_then(|outcome| done("request_email_change", &outcome));
        Counted { standing, result }
    }

    /// Makes the address that a mailed token is about the customer's.
    ///
    /// Refused with [`Rejection::TokenInvalid`], or with [`Rejection::EmailTaken`] where somebody
    /// else has the address by now: who holds the token reads that mailbox, and may know.
    pub async fn confirm(&self, token: &str, origin: &Origin) -> Counted<Result<(), GateError>> {
        let work = self.0.by_token(token, origin, |token_hash| {
            Command::ConfirmEmailChange(Box::new(ConfirmEmailChange {
                token_hash,
                mail_id: self.0.mail_id(),
                undo: self.0.token(Purpose::UndoEmailChange, ADDRESS_HELD),
            }))
        });
        self.0.parts.gate.pass(Path::EmailChange, origin, work).await
    }

    /// Gives the customer back the address that a mailed token is about, ends every session, voids
    /// the password and what else was added to sign in by, and mails a link to a new password
    /// there.
    ///
    /// Refused with [`Rejection::TokenInvalid`].
    pub async fn undo(&self, token: &str, origin: &Origin) -> Counted<Result<(), GateError>> {
        let work = self.0.by_token(token, origin, |token_hash| {
            Command::UndoEmailChange(Box::new(UndoEmailChange {
                token_hash,
                mail_id: self.0.mail_id(),
                reset: self.0.token(Purpose::ResetPassword, self.0.settings.reset),
                reach: self.0.settings.change,
            }))
        });
        self.0.parts.gate.pass(Path::EmailChangeUndo, origin, work).await
    }
}

impl Inner {
    /// What the new address is written. Asked before the proof is looked at, and whatever comes of
    /// that, so that the answer takes the same time.
    async fn letter(&self, asking: CustomerId, email: &EmailAddress) -> Result<Letter, Trouble> {
        let may_send = self.parts.allowance.take_or_alone(LETTERS, email.canonical()).await;
        let handle = Handle::email(email);
        let found = self.parts.database.read(move |c| {
            let handle = handle.clone();
            async move { db::handles::find(c, &handle).await }.boxed()
        });
        let now = self.parts.clock.now();
        Ok(match found.await? {
            _ if may_send.retry_after.is_some() => Letter::None,
            Some((owner, None)) if owner != asking => Letter::Taken,
            // Kept for somebody who gave it up: whoever reads that mailbox was told already.
            Some((owner, Some(until))) if owner != asking && until > now => Letter::None,
            _ => Letter::Confirmation,
        })
    }

    async fn by_token(
        &self,
        token: &str,
        origin: &Origin,
        command: impl Fn(SecretHash) -> Command,
    ) -> Result<(), GateError> {
        let invalid = || GateError::Rejected(Rejection::TokenInvalid);
        let token_hash = OneTimeTokens::token_hash(token).ok_or_else(invalid)?;
        let owner = self
            .parts
            .database
            .read(move |c| async move { db::one_time_tokens::owner(c, &token_hash).await }.boxed());
        let owner = owner.await.map_err(Trouble::from)?.ok_or_else(invalid)?;
        let context = origin.context(Actor::Anonymous, &*self.parts.clock);
        let subject = Subject::Customer(owner);
        let command = command(token_hash);
        let submission = Submission { subject, command, context, idempotency: None };
        let answered = self.parts.customers.submit(submission).await;
        done("email_change", &answered.map_err(GateError::from)?.outcome)
    }

    fn token(&self, purpose: Purpose, life: TimeDelta) -> FreshToken {
        let mut nonce = [0; 32];
        self.parts.clock.random(&mut nonce);
        let issued = self.parts.tokens.issue(purpose.as_str(), nonce);
        let expires_at = self.parts.clock.now() + life;
        FreshToken { nonce, hash: issued.hash, expires_at }
    }

    fn mail_id(&self) -> MailId {
        MailId(self.parts.clock.new_id())
    }
}

fn done(what: &'static str, outcome: &Outcome) -> Result<(), GateError> {
    match outcome {
        Outcome::Done => Ok(()),
        _ => Err(unexpected(what).into()),
    }
}
