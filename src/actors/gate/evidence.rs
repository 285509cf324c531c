//! Proofs asked again of somebody who is signed in, before what a thief of the session must not do:
//! changing the password or the address, adding or removing a way in or a factor.

use super::super::allowance::Counted;
use super::super::origin::{Origin, Trouble};
use super::claimed::{Try, changed_meanwhile};
use super::codes::Code;
use super::{Gate, GateError, Path, hashing_trouble};
use crate::db;
use crate::db::customers::Credential;
use crate::domain::command::Subject;
use crate::domain::outcome::Outcome;
use crate::domain::proof::Proof;
use crate::domain::second_factor::offered;
use crate::domain::session::SecondFactor;
use crate::domain::throttle::Factor;
use crate::domain::{Actor, Command, CustomerId, SessionId};
use crate::security::passwords::Password;
use futures_util::FutureExt;
use std::sync::Arc;
use tokio::time::Instant;

/// As in signing in.
const ROUNDS_MAX: usize = 3;

/// Who is signed in, and by which session.
#[derive(Debug, Clone, Copy)]
pub struct SignedIn {
    pub customer: CustomerId,
    pub session: SessionId,
}

/// What somebody who is signed in shows again.
pub enum Evidence {
    /// Made by [`Password::presented`].
    Password(Password),
    /// Of the authenticator, or a backup code.
    Code(Code),
    /// Nothing but the session: enough for who signed in just now.
    RecentSession,
}

impl Gate {
    /// Has a proof looked at and carries out the command that is made of it, in one transaction
    /// with its judgement. `command` may be asked for more than once; only one is committed.
    ///
    /// Answers with what the command came to: never a refusal of the proof.
    pub async fn prove(
        &self,
        who: SignedIn,
        evidence: Evidence,
        origin: &Origin,
        command: impl Fn(Proof) -> Command + Send + Sync + 'static,
    ) -> Counted<Result<Outcome, GateError>> {
        self.prove_prepared(who, evidence, origin, async { Ok(command) }).await
    }

    /// As [`Gate::prove`], where making the command is work of its own: that is done before the
    /// proof is looked at, and only within the limit of calls.
    pub async fn prove_prepared<C>(
        &self,
        who: SignedIn,
        evidence: Evidence,
        origin: &Origin,
        prepare: impl Future<Output = Result<C, GateError>>,
    ) -> Counted<Result<Outcome, GateError>>
    where
        C: Fn(Proof) -> Command + Send + Sync + 'static,
    {
        self.pass(Path::Reauthentication, origin, async {
            let command = prepare.await?;
            match evidence {
                Evidence::Password(password) => {
                    self.password_again(who.customer, password, origin, Arc::new(command)).await
                }
                Evidence::Code(code) => {
                    let proof = self.code_proof(who.customer, &code).await?;
                    self.act(who.customer, command(proof), origin).await
                }
                Evidence::RecentSession => {
                    self.must_show_nothing(who.customer).await?;
                    let max_age = self.0.settings.recent;
                    let proof = Proof::RecentSession { session: who.session, max_age };
                    self.act(who.customer, command(proof), origin).await
                }
            }
        })
        .await
    }

    /// The session alone stands for its owner only where there is nothing else to show: neither a
    /// password nor codes.
    async fn must_show_nothing(&self, customer: CustomerId) -> Result<(), GateError> {
        let read = self.0.parts.database.read(move |connection| {
            async move {
                let connection = &*connection;
                tokio::try_join!(
                    db::passwords::find(connection, customer),
                    db::second_factors::of_customer(connection, customer)
                )
            }
            .boxed()
        });
        let (password, factors) = read.await.map_err(Trouble::from)?;
        // A passkey is shown by signing in with it, which makes the session a recent one.
        let codes = offered(&factors, None).contains(&SecondFactor::Totp);
        let nothing = password.is_none() && !codes;
        if nothing { Ok(()) } else { Err(GateError::ProofNeeded) }
    }

    pub(super) async fn act(
        &self,
        customer: CustomerId,
        command: Command,
        origin: &Origin,
    ) -> Result<Outcome, GateError> {
        self.judge(Subject::Customer(customer), Actor::Customer(customer), command, origin).await
    }

    async fn password_again(
        &self,
        customer: CustomerId,
        password: Password,
        origin: &Origin,
        command: Arc<dyn Fn(Proof) -> Command + Send + Sync>,
    ) -> Result<Outcome, GateError> {
        let inner = &self.0;
        inner.parts.hashing.check_room().map_err(hashing_trouble)?;
        let deadline = Instant::now() + inner.settings.wait;
        for _ in 0..ROUNDS_MAX {
            let hash = inner.parts.database.read(move |connection| {
                async move { db::passwords::find(connection, customer).await }.boxed()
            });
            let password_hash = hash.await.map_err(Trouble::from)?;
            let command = Arc::clone(&command);
            let one = Try {
                inner: Arc::clone(inner),
                guard: self.guard(Factor::Reauthentication, customer),
                account: Some(Credential { customer_id: customer, password_hash }),
                password: password.clone(),
                actor: Actor::Customer(customer),
                origin: origin.clone(),
                deadline,
                settle: Arc::new(move |proof, _| command(proof)),
            };
            let answer = one.carry_out().await;
            if changed_meanwhile(&answer) {
                continue;
            }
            return match answer {
                Err(GateError::InvalidCredentials) => Err(GateError::InvalidProof),
                Ok(Outcome::ProofRefused(refusal)) => Err(inner.refused(refusal)),
                other => other,
            };
        }
        Err(GateError::InvalidProof)
    }
}
