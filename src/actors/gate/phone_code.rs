//! The code that was sent to a phone: looked at with the key that made it, judged and counted with
//! the number it confirms (rules A8, L7).

use super::super::allowance::Counted;
use super::super::origin::{Origin, Trouble};
use super::{Gate, GateError, Path, SignedIn};
use crate::db;
use crate::domain::command::Subject;
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::proof::Proof;
use crate::domain::throttle::Factor;
use crate::domain::{Actor, Command, MailId};
use crate::security::phone_codes::PhoneCode;
use futures_util::FutureExt;

impl Gate {
    /// Confirms the number that waits for this code; answers with the customer as it then is.
    pub async fn confirm_phone(
        &self,
        who: SignedIn,
        code: PhoneCode,
        origin: &Origin,
    ) -> Counted<Result<Outcome, GateError>> {
        self.pass(Path::PhoneCode, origin, self.judge_phone_code(who, code, origin)).await
    }

    async fn judge_phone_code(
        &self,
        SignedIn { customer, .. }: SignedIn,
        code: PhoneCode,
        origin: &Origin,
    ) -> Result<Outcome, GateError> {
        let parts = &self.0.parts;
        let waiting = parts.database.read(move |connection| {
            async move { db::phone_confirmations::pending_phone(connection, customer).await }
                .boxed()
        });
        let phone = waiting.await.map_err(Trouble::from)?;
        let phone = phone.ok_or(GateError::Rejected(Rejection::TokenInvalid))?;
        // Should another number wait by the time it is judged, then this code is wrong for that one.
        let hash = parts.phone_codes.hash(customer.0, phone.as_str(), &code);
        let proof = Proof::PhoneCode { guard: self.guard(Factor::PhoneCode, customer), hash };
        let command = Command::ConfirmPhone { proof, mail_id: MailId(parts.clock.new_id()) };
        self.judge(Subject::Customer(customer), Actor::Customer(customer), command, origin).await
    }
}
