//! Signing in with nothing but a passkey: a challenge that anybody may ask for, and its answer,
//! which tells whose it is.
//!
//! The signature is verified here, where the relying party is; that the challenge is used once,
//! that the passkey is still there and that its counter rose is decided in the transaction.

use super::super::allowance::Counted;
use super::super::origin::{Origin, Trouble, unexpected};
use super::super::sessions::{KnownDevice, Opened, Sessions};
use super::ceremonies::ceremony_trouble;
use super::sign_in::known_device;
use super::{Gate, GateError, Inner, Path};
use crate::db;
use crate::domain::command::Subject;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::passkey::{Asserted, Passkey, SignInByPasskey};
use crate::domain::proof::{Proof, ProofRefusal};
use crate::domain::session::{Client, Device, SecretHash};
use crate::domain::throttle::Factor;
use crate::domain::{Actor, Command, CustomerId, DeviceId, MailId};
use crate::security::passkeys::{Assertion, CeremonyError, RelyingParty};
use crate::security::tokens::{OneTimeTokens, Token, parse_device_token};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde_json::Value;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What an authenticator is asked, and the token that its answer is sent back with.
#[derive(Debug)]
pub struct PasskeyChallenge {
    pub token: Token,
    /// For the browser.
    pub options: Value,
    pub expires_at: DateTime<Utc>,
}

/// One attempt to sign in by passkey.
pub struct PasskeyAttempt {
    /// The challenge's token as presented.
    pub challenge: Zeroizing<String>,
    pub assertion: Assertion,
    /// As sent; one that is not this customer's counts for nothing.
    pub device_token: Option<Zeroizing<String>>,
    pub client: Client,
    pub origin: Origin,
}

/// What an attempt refers to, as it was read; it is judged on the locked rows.
struct Referred {
    flow: Flow,
    passkey: Option<(CustomerId, Passkey)>,
    device: Option<(CustomerId, Device)>,
}

impl Gate {
    /// A challenge for whoever has a passkey.
    pub async fn passkey_challenge(
        &self,
        origin: &Origin,
    ) -> Counted<Result<PasskeyChallenge, GateError>> {
        self.pass(Path::PasskeyChallenge, origin, async {
            let begun = self.0.relying_party()?.begin_sign_in().map_err(ceremony_trouble)?;
            let (token, flow) = self.ceremony(FlowKind::PasskeySignIn, None, &begun.state)?;
            let (hash, expires_at) = (flow.hash, flow.expires_at);
            let command = Command::OpenFlow { flow: Box::new(flow) };
            self.judge(Subject::Nobody(hash), Actor::Anonymous, command, origin).await?;
            Ok(PasskeyChallenge { token, options: begun.options, expires_at })
        })
        .await
    }

    /// Lets one attempt to sign in by passkey through, or says why not.
    pub async fn passkey_sign_in(
        &self,
        attempt: PasskeyAttempt,
    ) -> Counted<Result<Opened, GateError>> {
        let origin = attempt.origin.clone();
        self.pass(Path::Passkey, &origin, self.enter(attempt)).await
    }

    async fn enter(&self, attempt: PasskeyAttempt) -> Result<Opened, GateError> {
        let invalid = || GateError::Rejected(Rejection::FlowInvalid);
        let kind = FlowKind::PasskeySignIn;
        let hash = OneTimeTokens::token_hash(&attempt.challenge).ok_or_else(invalid)?;
        let Referred { flow, passkey, device } =
            self.0.refer(hash, &attempt).await?.ok_or_else(invalid)?;
        // Not worth a verification; it is decided on the locked row.
        if !flow.is_usable(kind, self.0.parts.clock.now()) {
            return Err(invalid());
        }
        let state = self.ceremony_state(&flow, kind)?;
        let Some((customer, passkey)) = passkey else {
            return self.nobodys(hash, &attempt.origin).await;
        };
        // Without a name before it the answer must tell whose it is (WebAuthn Level 3, 7.2).
        let named = matches!(attempt.assertion.user_handle(), Ok(Some(_)));
        let shown = self.0.asserted(&state, &attempt.assertion, &passkey)?.filter(|_| named);
        let proof = self.passkey_proof(customer, shown);
        let presented = attempt.device_token.as_deref().and_then(|text| parse_device_token(text));
        let known = known_device(presented, device, Some(customer)).zip(attempt.device_token);
        let known = known.map(|(id, token)| KnownDevice { id, token });
        let (session, secrets) = self.0.parts.sessions.prepare(attempt.client, known);
        let command = SignInByPasskey { flow: hash, proof, session };
        let command = Command::SignInByPasskey(Box::new(command));
        let subject = Subject::Customer(customer);
        match self.0.submit(subject, Actor::Anonymous, command, &attempt.origin).await? {
            Outcome::SignedIn(signed_in) => Ok(Sessions::opened(*signed_in, secrets)),
            Outcome::SignInRefused(refusal) => Err(GateError::Refused(refusal)),
            Outcome::ProofRefused(ProofRefusal::Wrong) => Err(GateError::InvalidCredentials),
            Outcome::ProofRefused(refusal) => Err(self.0.refused(refusal)),
            _ => Err(unexpected("sign_in_by_passkey").into()),
        }
    }

    /// A passkey that nobody has. There is nobody's counter to count in, but its challenge is used
    /// up as it is by any other answer.
    async fn nobodys(&self, hash: SecretHash, origin: &Origin) -> Result<Opened, GateError> {
        let command = Command::TakeFlow { hash, kind: FlowKind::PasskeySignIn };
        self.judge(Subject::Nobody(hash), Actor::Anonymous, command, origin).await?;
        Err(GateError::InvalidCredentials)
    }

    /// The proof that an answer makes of a customer who was asked for one of its own passkeys.
    pub(super) async fn passkey_shown(
        &self,
        customer: CustomerId,
        state: &[u8],
        assertion: &Assertion,
    ) -> Result<Proof, GateError> {
        let credential_id: Arc<[u8]> = assertion.credential_id().into();
        let read = self.0.parts.database.read(move |connection| {
            let credential_id = Arc::clone(&credential_id);
            async move { db::passkeys::by_credential(connection, &credential_id).await }.boxed()
        });
        let passkey = read.await.map_err(Trouble::from)?;
        let own = passkey.filter(|(owner, _)| *owner == customer);
        let shown = match own {
            Some((_, passkey)) => self.0.asserted(state, assertion, &passkey)?,
            None => None,
        };
        Ok(self.passkey_proof(customer, shown))
    }

    /// The proof that a signature makes of a customer; `None` was found to be untrue.
    fn passkey_proof(&self, customer: CustomerId, shown: Option<Asserted>) -> Proof {
        let mail_id = MailId(self.0.parts.clock.new_id());
        Proof::Passkey { guard: self.guard(Factor::Passkey, customer), shown, mail_id }
    }
}

impl Inner {
    /// What to ask an authenticator in a second step, and the server's part of it; `None` where
    /// passkeys are off.
    pub(super) fn passkey_asked(&self) -> Option<(Value, Zeroizing<Vec<u8>>)> {
        let begun = self.parts.relying_party.as_ref()?.begin_sign_in();
        let begun = begun.inspect_err(|error| tracing::error!(%error, "no passkey is asked for"));
        begun.ok().map(|begun| (begun.options, begun.state))
    }

    fn relying_party(&self) -> Result<&Arc<RelyingParty>, GateError> {
        // Handlers tell that passkeys are off before they come here.
        self.parts.relying_party.as_ref().ok_or(GateError::Trouble(Trouble::Unavailable))
    }

    /// What a signature shows of a passkey; `None` where it is untrue.
    fn asserted(
        &self,
        state: &[u8],
        assertion: &Assertion,
        passkey: &Passkey,
    ) -> Result<Option<Asserted>, GateError> {
        // An authenticator that was told which passkeys to use may leave the account out.
        let handle = assertion.user_handle();
        if handle.is_err() || handle.is_ok_and(|h| h.is_some_and(|h| h != passkey.user_handle)) {
            tracing::info!(passkey_id = %passkey.id, "a passkey's answer names another account");
            return Ok(None);
        }
        match self.relying_party()?.finish_sign_in(state, assertion, &passkey.credential) {
            Ok(verified) => Ok(Some(Asserted {
                passkey: passkey.id,
                counter: verified.counter,
                backed_up: verified.backed_up,
            })),
            Err(CeremonyError::Refused(reason)) => {
                tracing::info!(%reason, passkey_id = %passkey.id, "a passkey's answer was refused");
                Ok(None)
            }
            Err(error) => Err(ceremony_trouble(error)),
        }
    }

    async fn refer(
        &self,
        hash: SecretHash,
        attempt: &PasskeyAttempt,
    ) -> Result<Option<Referred>, Trouble> {
        let credential_id: Arc<[u8]> = attempt.assertion.credential_id().into();
        let presented = attempt.device_token.as_deref().and_then(|text| parse_device_token(text));
        let device_id = presented.map(|device| DeviceId(device.device_id));
        let read = self.parts.database.read(move |connection| {
            let credential_id = Arc::clone(&credential_id);
            async move {
                let connection = &*connection;
                let device = async {
                    match device_id {
                        Some(id) => db::devices::find(connection, id).await,
                        None => Ok(None),
                    }
                };
                tokio::try_join!(
                    db::flows::find(connection, &hash),
                    db::passkeys::by_credential(connection, &credential_id),
                    device
                )
            }
            .boxed()
        });
        let (flow, passkey, device) = read.await?;
        Ok(flow.map(|flow| Referred { flow, passkey, device }))
    }
}
