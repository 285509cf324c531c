//! A customer's own passkeys: made, changed, removed.

use super::allowance::Counted;
use super::gate::{Evidence, Gate, GateError, PasskeyChallenge, Path, SignedIn};
use super::origin::{Origin, Trouble};
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::domain::command::{Command, Subject};
use crate::domain::flow::FlowKind;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::passkey::{AddPasskey, Passkey, PasskeyChange};
use crate::domain::text::Label;
use crate::domain::{Actor, CustomerId, MailId, PasskeyId};
use crate::security::passkeys::{Attestation, CeremonyError, Owner, RelyingParty};
use crate::security::tokens::OneTimeTokens;
use futures_util::FutureExt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What this works with.
pub struct PasskeyParts {
    pub database: Database,
    pub gate: Gate,
    pub relying_party: Arc<RelyingParty>,
    pub clock: Arc<dyn Clock>,
    /// Passkeys that one customer may keep.
    pub limit: usize,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct Passkeys(Arc<PasskeyParts>);

/// The answer to the challenge of a new passkey.
pub struct Finish {
    /// The challenge's token as presented.
    pub challenge: Zeroizing<String>,
    pub attestation: Attestation,
    pub name: Option<Label>,
}

impl Passkeys {
    pub fn new(parts: PasskeyParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Asks for a new passkey, of somebody who shows again who it is.
    pub async fn begin(
        &self,
        who: SignedIn,
        evidence: Evidence,
        origin: &Origin,
    ) -> Counted<Result<PasskeyChallenge, GateError>> {
        let (challenge, flow) = match self.challenge(who.customer).await {
            Ok(begun) => begun,
            Err(error) => return Counted { standing: None, result: Err(error) },
        };
        let limit = self.0.limit;
        let command = move |proof| Command::BeginPasskey { proof, flow: flow.clone(), limit };
        let Counted { standing, result } = self.0.gate.prove(who, evidence, origin, command).await;
        Counted { standing, result: result.map(|_| challenge) }
    }

    async fn challenge(
        &self,
        customer: CustomerId,
    ) -> Result<(PasskeyChallenge, Box<crate::domain::flow::Flow>), GateError> {
        let ids = [customer.0];
        let read = self.0.database.read(move |connection| {
            async move {
                let connection = &*connection;
                tokio::try_join!(
                    db::customers::find(connection, customer),
                    db::passkeys::of_customers(connection, &ids)
                )
            }
            .boxed()
        });
        let (owner, known) = read.await.map_err(Trouble::from)?;
        let owner = owner.ok_or(GateError::Rejected(Rejection::NotFound))?;
        let name = format!("{} {}", owner.first_name.as_str(), owner.last_name.as_str());
        let owner = Owner {
            handle: Passkey::handle_of(customer),
            name: owner.email.as_str(),
            display_name: name.trim(),
        };
        let known = known.into_iter().map(|(_, passkey)| passkey.credential_id).collect();
        let begun = self.0.relying_party.begin_registration(owner, known);
        let begun = begun.map_err(super::gate::ceremony_trouble)?;
        let kind = FlowKind::PasskeyRegistration;
        let (token, flow) = self.0.gate.ceremony(kind, Some(customer), &begun.state)?;
        let challenge =
            PasskeyChallenge { token, options: begun.options, expires_at: flow.expires_at };
        Ok((challenge, Box::new(flow)))
    }

    /// Judges the answer to [`begin`](Self::begin); answers with the command that keeps the new
    /// passkey, for the caller to submit under its idempotency key.
    pub async fn finish(
        &self,
        customer: CustomerId,
        finish: Finish,
        origin: &Origin,
    ) -> Counted<Result<Command, GateError>> {
        let work = self.judge(customer, finish, origin);
        self.0.gate.pass(Path::PasskeyRegistration, origin, work).await
    }

    async fn judge(
        &self,
        customer: CustomerId,
        finish: Finish,
        origin: &Origin,
    ) -> Result<Command, GateError> {
        let invalid = || GateError::Rejected(Rejection::FlowInvalid);
        let hash = OneTimeTokens::token_hash(&finish.challenge).ok_or_else(invalid)?;
        let read = self.0.database.read(move |connection| {
            async move { db::flows::find(connection, &hash).await }.boxed()
        });
        let flow = read.await.map_err(Trouble::from)?;
        let flow = flow.filter(|flow| flow.customer_id == Some(customer)).ok_or_else(invalid)?;
        let kind = FlowKind::PasskeyRegistration;
        let state = self.0.gate.ceremony_state(&flow, kind)?;
        let made = match self.0.relying_party.finish_registration(&state, &finish.attestation) {
            Ok(made) => made,
            Err(CeremonyError::Refused(reason)) => {
                tracing::info!(%reason, customer_id = %customer, "a new passkey was refused");
                // Used up by whatever answers it, as at sign-in.
                let command = Command::TakeFlow { hash, kind };
                let (subject, actor) = (Subject::Customer(customer), Actor::Customer(customer));
                self.0.gate.judge(subject, actor, command, origin).await?;
                return Err(GateError::Rejected(Rejection::PasskeyRefused));
            }
            Err(error) => return Err(super::gate::ceremony_trouble(error)),
        };
        let passkey = Passkey {
            id: PasskeyId(self.0.clock.new_id()),
            credential_id: made.credential_id,
            user_handle: Passkey::handle_of(customer),
            credential: made.credential,
            counter: made.counter,
            name: finish.name.unwrap_or_else(|| Label::from_stored(Passkey::UNNAMED.to_owned())),
            second_factor: false,
            backup_eligible: made.backup_eligible,
            backed_up: made.backed_up,
            created_at: self.0.clock.now(),
            last_used_at: None,
            version: 1,
        };
        let (mail_id, limit) = (self.mail_id(), self.0.limit);
        Ok(Command::AddPasskey(Box::new(AddPasskey { flow: hash, passkey, mail_id, limit })))
    }

    /// Removes a passkey, for somebody who shows again who it is.
    pub async fn remove(
        &self,
        who: SignedIn,
        id: PasskeyId,
        if_match: Option<i64>,
        evidence: Evidence,
        origin: &Origin,
    ) -> Counted<Result<Outcome, GateError>> {
        let mail_id = self.mail_id();
        let command = move |proof| Command::RemovePasskey { id, proof, mail_id, if_match };
        self.0.gate.prove(who, evidence, origin, command).await
    }

    /// Changes a passkey in a way that takes a proof.
    pub async fn change(
        &self,
        who: SignedIn,
        change: PasskeyChange,
        evidence: Evidence,
        origin: &Origin,
    ) -> Counted<Result<Outcome, GateError>> {
        let command = move |proof| {
            let change = PasskeyChange { proof: Some(proof), ..change.clone() };
            Command::ChangePasskey(Box::new(change))
        };
        self.0.gate.prove(who, evidence, origin, command).await
    }

    /// For the mail that a change may send.
    pub fn mail_id(&self) -> MailId {
        MailId(self.0.clock.new_id())
    }
}
