//! Setting up and taking away second factors (rule A9): the secrets that their owner gets to see
//! once, and the commands that keep what is needed to recognise them.

use super::allowance::Counted;
use super::customer_keys::CustomerKeys;
use super::gate::{Evidence, Gate, GateError, Path, SignedIn};
use super::origin::{Origin, Trouble};
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::domain::command::{Command, SealedSecret, Subject};
use crate::domain::outcome::Rejection;
use crate::domain::session::SecretHash;
use crate::domain::{Actor, CustomerId, MailId};
use crate::security::backup_codes::{self, BackupCodes};
use crate::security::tokens::{Issued, Token};
use crate::security::totp::{Provisioning, SECRET_BYTES, TotpCode, TotpSecret};
use futures_util::FutureExt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What this works with.
pub struct SecondFactorParts {
    pub database: Database,
    pub gate: Gate,
    pub customer_keys: CustomerKeys,
    pub backup_codes: Arc<BackupCodes>,
    pub clock: Arc<dyn Clock>,
    /// The shop's name in authenticators.
    pub issuer: String,
}

/// See the module. Cheap to clone.
#[derive(Clone)]
pub struct SecondFactors(Arc<SecondFactorParts>);

impl SecondFactors {
    pub fn new(parts: SecondFactorParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Hands out a secret for an authenticator, to somebody who shows again who it is. It counts
    /// once its first code is confirmed; until then another call replaces it.
    pub async fn start_totp(
        &self,
        who: SignedIn,
        evidence: Evidence,
        origin: &Origin,
    ) -> Counted<Result<Provisioning, GateError>> {
        let (secret, sealed) = match self.fresh_secret(who.customer).await {
            Ok(made) => made,
            Err(error) => return Counted { standing: None, result: Err(error) },
        };
        let command = move |proof| Command::StartTotp { proof, secret: sealed.clone() };
        let Counted { standing, result } = self.0.gate.prove(who, evidence, origin, command).await;
        // Drawn only for who was let through.
        let result = match result {
            Ok(_) => self.provision(who.customer, &secret).await,
            Err(error) => Err(error),
        };
        Counted { standing, result }
    }

    async fn fresh_secret(
        &self,
        customer: CustomerId,
    ) -> Result<(TotpSecret, SealedSecret), GateError> {
        let key = self.0.customer_keys.of(customer).await?;
        let key = key.ok_or(GateError::Rejected(Rejection::NotFound))?;
        let mut random = Zeroizing::new([0; SECRET_BYTES]);
        self.0.clock.random(random.as_mut_slice());
        let secret = TotpSecret::new(*random);
        let sealed = secret.seal(&key, customer.0).map_err(|error| {
            tracing::error!(%error, "a TOTP secret was not sealed");
            Trouble::Internal
        })?;
        Ok((secret, SealedSecret(sealed)))
    }

    async fn provision(
        &self,
        customer: CustomerId,
        secret: &TotpSecret,
    ) -> Result<Provisioning, GateError> {
        let read = self.0.database.read(move |connection| {
            async move { db::customers::find(connection, customer).await }.boxed()
        });
        let found = read.await.map_err(Trouble::from)?;
        let found = found.ok_or(GateError::Rejected(Rejection::NotFound))?;
        secret.provisioning(&self.0.issuer, found.email.as_str()).map_err(|error| {
            tracing::error!(%error, "a TOTP secret cannot be handed out");
            Trouble::Internal.into()
        })
    }

    /// Enables the authenticator by its first code. Answers with the backup codes, which nobody
    /// gets to see again.
    pub async fn confirm_totp(
        &self,
        who: SignedIn,
        code: TotpCode,
        origin: &Origin,
    ) -> Counted<Result<Vec<Token>, GateError>> {
        let gate = &self.0.gate;
        gate.pass(Path::TotpConfirmation, origin, async {
            let shown = gate.shown_code(who.customer, &code).await?;
            let (tokens, codes) = self.codes(who.customer);
            let command = Command::ConfirmTotp { shown, codes, mail_id: self.mail_id() };
            let (subject, actor) = (Subject::Customer(who.customer), Actor::Customer(who.customer));
            gate.judge(subject, actor, command, origin).await?;
            Ok(tokens)
        })
        .await
    }

    /// Takes the authenticator away.
    pub async fn remove_totp(
        &self,
        who: SignedIn,
        evidence: Evidence,
        origin: &Origin,
    ) -> Counted<Result<(), GateError>> {
        let mail_id = self.mail_id();
        let command = move |proof| Command::RemoveTotp { proof, mail_id };
        let proved = self.0.gate.prove(who, evidence, origin, command).await;
        Counted { standing: proved.standing, result: proved.result.map(|_| ()) }
    }

    /// Issues a new set of backup codes and voids the old one.
    pub async fn renew_backup_codes(
        &self,
        who: SignedIn,
        evidence: Evidence,
        origin: &Origin,
    ) -> Counted<Result<Vec<Token>, GateError>> {
        let (tokens, codes) = self.codes(who.customer);
        let mail_id = self.mail_id();
        let command =
            move |proof| Command::RenewBackupCodes { proof, codes: codes.clone(), mail_id };
        let proved = self.0.gate.prove(who, evidence, origin, command).await;
        Counted { standing: proved.standing, result: proved.result.map(|_| tokens) }
    }

    /// A new set of backup codes, and what the database keeps of them.
    pub fn codes(&self, customer: CustomerId) -> (Vec<Token>, Vec<SecretHash>) {
        let mut random = Zeroizing::new([0; backup_codes::RANDOM_BYTES]);
        self.0.clock.random(random.as_mut_slice());
        let issued = self.0.backup_codes.issue(customer.0, *random);
        issued.into_iter().map(|Issued { token, hash }| (token, hash)).unzip()
    }

    /// Of the mail that tells the owner.
    pub fn mail_id(&self) -> MailId {
        MailId(self.0.clock.new_id())
    }
}
