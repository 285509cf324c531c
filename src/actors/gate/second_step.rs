//! The second step of a sign-in: a right first factor is answered with a challenge where a second
//! one is set up, and the challenge is finished by a proof of it.
//!
//! What the first step learned travels sealed with the challenge, bound to it: how the customer
//! began, and the hash of the password it showed, so that a change in between voids the challenge.

use super::super::allowance::Counted;
use super::super::origin::{Origin, Trouble, unexpected};
use super::super::sessions::{KnownDevice, Opened, Sessions};
use super::ceremonies::ceremony_trouble;
use super::codes::Code;
use super::{Gate, GateError, Inner, Path};
use crate::db;
use crate::domain::command::{AnswerChallenge, FirstStep, FreshChallenge, Subject};
use crate::domain::credential::PasswordHash;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::proof::ProofRefusal;
use crate::domain::session::{Client, SecondFactor, SecretHash, SignInMethod};
use crate::domain::{Actor, Command, CustomerId, DeviceId, MailId};
use crate::security::passkeys::{Assertion, RelyingParty};
use crate::security::tokens::{OneTimeTokens, Token, flow_token};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Somebody whose first factor was right.
pub enum Entered {
    /// There is no second factor.
    SignedIn(Box<Opened>),
    /// The second factor is asked for.
    Challenged(Challenge),
}

/// What a second step answers.
#[derive(Debug)]
pub struct Challenge {
    pub token: Token,
    /// How it can be answered.
    pub methods: Vec<SecondFactor>,
    /// What to ask an authenticator, where a passkey is one of the methods.
    pub passkey: Option<Value>,
    pub expires_at: DateTime<Utc>,
}

/// A challenge on its way: not in the database yet, nor with its holder.
#[derive(Clone)]
pub(super) struct Prepared {
    token: Token,
    expires_at: DateTime<Utc>,
    sealed: SealedStep,
    /// What to ask an authenticator; `None` where passkeys are off.
    passkey: Option<Value>,
}

/// What the second step needs of the first, still open: the hash that was verified joins it last.
#[derive(Clone)]
struct SealedStep {
    hash: SecretHash,
    method: SignInMethod,
    device_name: Option<String>,
    device: Option<(DeviceId, Zeroizing<String>)>,
    /// The server's part of a passkey's ceremony.
    passkey: Option<Zeroizing<Vec<u8>>>,
}

/// The sealed form.
#[derive(Serialize, Deserialize)]
struct Payload {
    method: SignInMethod,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(Uuid, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passkey: Option<Vec<u8>>,
}

/// What is shown in answer to a challenge.
pub enum Shown {
    Code(Code),
    Passkey(Box<Assertion>),
}

/// One answer to a challenge.
pub struct SecondStep {
    /// The challenge as presented.
    pub challenge: Zeroizing<String>,
    pub shown: Shown,
    pub client: Client,
    pub origin: Origin,
}

impl Gate {
    /// Lets the second step of a sign-in through, or says why not.
    pub async fn second_step(&self, step: SecondStep) -> Counted<Result<Opened, GateError>> {
        let origin = step.origin.clone();
        self.pass(Path::SecondFactor, &origin, self.answer(step)).await
    }

    async fn answer(&self, step: SecondStep) -> Result<Opened, GateError> {
        let (customer, hash, payload) = self.0.begun(&step.challenge).await?;
        let (factor, proof) = match &step.shown {
            Shown::Code(code) => (code.factor(), self.code_proof(customer, code).await?),
            Shown::Passkey(assertion) => {
                let state = payload.passkey.as_deref();
                let state = state.ok_or(GateError::Rejected(Rejection::FlowInvalid))?;
                (SecondFactor::Passkey, self.passkey_shown(customer, state, assertion).await?)
            }
        };
        let known = payload
            .device
            .map(|(id, token)| KnownDevice { id: DeviceId(id), token: Zeroizing::new(token) });
        let client = Client { device_name: payload.device_name, ..step.client };
        let (session, secrets) = self.0.parts.sessions.prepare(client, known);
        let command = Command::AnswerChallenge(Box::new(AnswerChallenge {
            challenge: hash,
            first: FirstStep {
                method: payload.method,
                password: payload.password.as_deref().map(PasswordHash::new),
            },
            shown: factor,
            proof,
            session,
            mail_id: MailId(self.0.parts.clock.new_id()),
        }));
        let subject = Subject::Customer(customer);
        match self.0.submit(subject, Actor::Anonymous, command, &step.origin).await? {
            Outcome::SignedIn(signed_in) => Ok(Sessions::opened(*signed_in, secrets)),
            Outcome::SignInRefused(refusal) => Err(GateError::Refused(refusal)),
            Outcome::ProofRefused(ProofRefusal::Wrong) => Err(GateError::InvalidCredentials),
            Outcome::ProofRefused(refusal) => Err(self.0.refused(refusal)),
            _ => Err(unexpected("answer_challenge").into()),
        }
    }
}

impl Inner {
    /// Makes a challenge for somebody who shows a first factor.
    pub(super) fn prepare_challenge(
        &self,
        method: SignInMethod,
        client: &Client,
        known: Option<&KnownDevice>,
    ) -> Prepared {
        let mut random = [0; 32];
        self.parts.clock.random(&mut random);
        let issued = flow_token(random);
        let (options, state) = self.passkey_asked().unzip();
        let sealed = SealedStep {
            hash: issued.hash,
            method,
            device_name: client.device_name.clone(),
            device: known.map(|known| (known.id, known.token.clone())),
            passkey: state,
        };
        let expires_at = self.parts.clock.now() + self.settings.challenge_life;
        Prepared { token: issued.token, expires_at, sealed, passkey: options }
    }

    /// The challenge for the command that shows the first factor; `password` is the hash that was
    /// verified, or its successor. `None` when it cannot be sealed, which is recorded.
    pub(super) fn seal_challenge(
        &self,
        prepared: &Prepared,
        password: Option<&PasswordHash>,
    ) -> Option<FreshChallenge> {
        let step = &prepared.sealed;
        let payload = Payload {
            method: step.method,
            password: password.map(|hash| hash.as_str().to_owned()),
            device_name: step.device_name.clone(),
            device: step.device.as_ref().map(|(id, token)| (id.0, token.as_str().to_owned())),
            passkey: step.passkey.as_ref().map(|state| state.to_vec()),
        };
        let json = serde_json::to_vec(&payload).map(Zeroizing::new);
        let json = json.expect("words and options of words are always JSON");
        let sealed = self.parts.sealer.seal(&place(&step.hash), &json);
        let sealed = sealed.inspect_err(|error| tracing::error!(%error, "no challenge was made"));
        Some(FreshChallenge {
            hash: step.hash,
            payload: sealed.ok()?,
            expires_at: prepared.expires_at,
        })
    }

    /// What a sign-in came to, for who began it.
    pub(super) fn entered(
        outcome: Outcome,
        secrets: super::super::sessions::Secrets,
        prepared: Prepared,
    ) -> Result<Entered, GateError> {
        match outcome {
            Outcome::SignedIn(signed_in) => {
                Ok(Entered::SignedIn(Box::new(Sessions::opened(*signed_in, secrets))))
            }
            Outcome::SecondFactorRequired { methods, passkeys } => {
                let Prepared { token, expires_at, passkey, .. } = prepared;
                let offered = methods.contains(&SecondFactor::Passkey);
                let options = passkey.filter(|_| offered);
                let passkey = options
                    .map(|options| RelyingParty::restrict(options, &passkeys))
                    .transpose()
                    .map_err(ceremony_trouble)?;
                Ok(Entered::Challenged(Challenge { token, methods, passkey, expires_at }))
            }
            Outcome::SignInRefused(refusal) => Err(GateError::Refused(refusal)),
            _ => Err(unexpected("sign_in").into()),
        }
    }

    /// Reads what a challenge was made with. Whether it can still be finished is decided later, on
    /// the locked row.
    async fn begun(&self, challenge: &str) -> Result<(CustomerId, SecretHash, Payload), GateError> {
        let invalid = || GateError::Rejected(Rejection::FlowInvalid);
        let hash = OneTimeTokens::token_hash(challenge).ok_or_else(invalid)?;
        let read = self.parts.database.read(move |connection| {
            async move { db::flows::find(connection, &hash).await }.boxed()
        });
        let flow = read.await.map_err(Trouble::from)?.ok_or_else(invalid)?;
        let customer = flow.customer_id.ok_or_else(invalid)?;
        // A flow of another kind is sealed for another place.
        let opened = self.parts.sealer.open(&place(&hash), &flow.payload).map_err(|_| invalid())?;
        let payload = serde_json::from_slice(&opened).map_err(|_| invalid())?;
        Ok((customer, hash, payload))
    }
}

/// What a sealed step is bound to.
fn place(hash: &SecretHash) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    format!("sign_in_flows/second_factor/{}", URL_SAFE_NO_PAD.encode(hash))
}
