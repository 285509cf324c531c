//! Codes of a second factor: looked at here, where the keys are, and judged by the domain, where
//! used steps and codes are known. Looking takes no time, so no try is claimed before.

use super::super::origin::Trouble;
use super::{Gate, GateError};
use crate::db;
use crate::domain::proof::Proof;
use crate::domain::second_factor::ShownCode;
use crate::domain::session::SecondFactor;
use crate::domain::throttle::Factor;
use crate::domain::{CustomerId, MailId};
use crate::security::backup_codes::BackupCode;
use crate::security::totp::{TotpCode, TotpSecret};
use futures_util::FutureExt;

/// A code as somebody typed it.
#[derive(Debug, Clone)]
pub enum Code {
    /// What an authenticator shows.
    Totp(TotpCode),
    /// One from paper.
    Backup(BackupCode),
}

impl Code {
    /// Reads a code of either kind: six digits are an authenticator's, fifteen characters a backup
    /// code. `None` for what is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let totp = TotpCode::parse(text).map(Self::Totp);
        totp.or_else(|| BackupCode::parse(text).map(Self::Backup))
    }

    /// The factor that it stands for.
    pub fn factor(&self) -> SecondFactor {
        match self {
            Self::Totp(_) => SecondFactor::Totp,
            Self::Backup(_) => SecondFactor::BackupCode,
        }
    }
}

impl Gate {
    /// The proof that a code makes of a customer.
    pub(super) async fn code_proof(
        &self,
        customer: CustomerId,
        code: &Code,
    ) -> Result<Proof, GateError> {
        Ok(match code {
            Code::Totp(code) => Proof::Totp {
                guard: self.guard(Factor::Totp, customer),
                shown: self.shown_code(customer, code).await?,
            },
            Code::Backup(code) => Proof::BackupCode {
                guard: self.guard(Factor::BackupCode, customer),
                hash: self.0.parts.backup_codes.hash(customer.0, code),
                mail_id: MailId(self.0.parts.clock.new_id()),
            },
        })
    }

    /// Which step of the customer's authenticator a code is of, at present. Without authenticator
    /// it is of none.
    ///
    /// # Errors
    /// [`GateError::Trouble`] where the database does not answer or the stored secret does not open.
    pub async fn shown_code(
        &self,
        customer: CustomerId,
        code: &TotpCode,
    ) -> Result<ShownCode, GateError> {
        let parts = &self.0.parts;
        let read = parts.database.read(move |connection| {
            async move { db::second_factors::totp(connection, customer).await }.boxed()
        });
        let Some((totp, key)) = read.await.map_err(Trouble::from)? else {
            return Ok(ShownCode { secret: Vec::new(), step: None });
        };
        let key = key.map(|key| parts.customer_keys.open(customer, key)).transpose()?;
        let opened = TotpSecret::open(key.as_deref(), &parts.sealer, customer.0, &totp.secret);
        let secret = opened.map_err(|error| {
            tracing::error!(%error, customer_id = %customer, "a stored TOTP secret cannot be read");
            Trouble::Internal
        })?;
        let step = secret.matching_step(code, parts.clock.now());
        Ok(ShownCode { secret: totp.secret, step })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_code_is_told_by_its_form() {
        for (text, factor) in [
            ("123 456", Some(SecondFactor::Totp)),
            ("01234-abcde-fgh12", Some(SecondFactor::BackupCode)),
            ("12345-67890-12345", Some(SecondFactor::BackupCode)),
            ("1234567", None),
            ("", None),
        ] {
            assert_eq!(Code::parse(text).map(|code| code.factor()), factor, "{text}");
        }
    }
}
