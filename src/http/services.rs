//! `Services`: all that handlers work with, put together once by the composition root, and the
//! one way in which they submit a command.

use super::admission::Admission;
use super::idempotency::{IdempotencyHeader, REPLAYED};
use super::merges;
use super::ops::board::Board;
use super::problem::Problem;
use super::readiness::Readiness;
use super::request_id::RequestIdentity;
use super::staff_keys::StaffKeys;
use crate::actors::consents::Purposes;
use crate::actors::customer_keys::CustomerKeys;
use crate::actors::customers::{Answered, Customers};
use crate::actors::dead_letters::DeadLetterDesk;
use crate::actors::email_change::EmailChange;
use crate::actors::erasures::Deletions;
use crate::actors::gate::Gate;
use crate::actors::imports::Imports;
use crate::actors::operators::desk::ActorDesk;
use crate::actors::passkeys::Passkeys;
use crate::actors::passwords::Passwords;
use crate::actors::phones::Phones;
use crate::actors::privacy_exports::PrivacyExports;
use crate::actors::registration::Registration;
use crate::actors::retention::Retention;
use crate::actors::runtime::Registry;
use crate::actors::second_factors::SecondFactors;
use crate::actors::segments::SegmentDesk;
use crate::actors::sessions::Sessions;
use crate::actors::sharing::Sharing;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::Database;
use crate::domain::CustomerId;
use crate::domain::command::{Actor, Command, Context, IdempotencyKey, Subject, Submission};
use crate::security::access::AccessTokens;
use crate::security::hashing::HashingPool;
use crate::security::password_policy::PasswordPolicy;
use crate::security::revoked::RevokedSessions;
use crate::security::tokens::ThrottleKeys;
use crate::telemetry::levels::Levels;
use actix_web::HttpResponseBuilder;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;

/// What handlers work with. Held as `web::Data<Services>`; cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// The only door for writes.
    pub customers: Customers,
    /// Where every attempt at a credential passes.
    pub gate: Gate,
    pub registration: Registration,
    pub phones: Arc<Phones>,
    pub passwords: Passwords,
    pub email_change: EmailChange,
    pub password_policy: Arc<PasswordPolicy>,
    pub second_factors: SecondFactors,
    /// What opens what is sealed of customers.
    pub customer_keys: CustomerKeys,
    pub sessions: Arc<Sessions>,
    /// Where imports are asked for.
    pub imports: Imports,
    /// Where copies of all that is kept of a customer are asked for and read.
    pub privacy_exports: PrivacyExports,
    /// Where messages lie that could not be published.
    pub dead_letters: DeadLetterDesk,
    /// Where deletions are asked for.
    pub deletions: Deletions,
    /// Where definitions of segments are checked.
    pub segments: SegmentDesk,
    /// The links of shared wishlists.
    pub sharing: Sharing,
    /// `None`: passkeys are off.
    pub passkeys: Option<Passkeys>,
    /// For reads.
    pub database: Database,
    /// For lists and searches of staff, which a replica may answer.
    pub lists: Database,
    /// For figures of all customers, which may take longer.
    pub reports: Database,
    pub access: Arc<AccessTokens>,
    pub revoked: Arc<RevokedSessions>,
    pub staff_keys: StaffKeys,
    pub throttle_keys: Arc<ThrottleKeys>,
    /// What customers are asked consent for.
    pub purposes: Arc<Purposes>,
    pub clock: Arc<dyn Clock>,
    pub config: Arc<Config>,
    /// How long rows are kept that end of themselves.
    pub retention: Retention,
    /// For its numbers; passwords pass the gate.
    pub hashing: Arc<HashingPool>,
    /// All actors and their numbers.
    pub registry: Arc<Registry>,
    pub readiness: Readiness,
    /// What operators watch.
    pub board: Board,
    /// Where actors are restarted, and workers told to rest.
    pub actors: ActorDesk,
    /// Who is refused when more is asked than can be worked off.
    pub admission: Admission,
    /// What this node logs.
    pub levels: Levels,
    /// Renders `/metrics`.
    pub prometheus: PrometheusHandle,
}

/// Who a request comes from, once it is proven.
pub trait Principal {
    /// As the audit trail names it.
    fn actor(&self) -> Actor;

    /// Whose idempotency keys its requests bear: those of different callers never meet.
    fn key_owner(&self) -> String;
}

impl Services {
    /// The circumstances of a command that is asked for now.
    pub fn context(&self, actor: Actor, identity: &RequestIdentity) -> Context {
        Context {
            actor,
            now: self.clock.now(),
            request_id: identity.id().to_owned(),
            traceparent: identity.trace_parent().map(str::to_owned),
        }
    }

    /// Submits a command about a customer and waits for its commit. With `key`, it is carried out
    /// once however often it is sent.
    ///
    /// # Errors
    /// What refused it or kept it from being carried out, as its answer.
    pub async fn submit(
        &self,
        principal: &impl Principal,
        identity: &RequestIdentity,
        customer: CustomerId,
        command: Command,
        key: Option<IdempotencyHeader>,
    ) -> Result<Answered, Problem> {
        let subject = Subject::Customer(customer);
        let answered = self.submit_about(subject, principal, identity, command, key).await;
        match principal.actor() {
            Actor::Staff(_) => merges::followed(self, customer, answered).await,
            Actor::Customer(_) | Actor::Operator | Actor::Service | Actor::Anonymous => answered,
        }
    }

    /// As [`Self::submit`], about whatever the command is about.
    ///
    /// # Errors
    /// As there.
    pub async fn submit_about(
        &self,
        subject: Subject,
        principal: &impl Principal,
        identity: &RequestIdentity,
        command: Command,
        key: Option<IdempotencyHeader>,
    ) -> Result<Answered, Problem> {
        let submission = self.submission(subject, principal, identity, command, key);
        Ok(self.customers.submit(submission).await?)
    }

    /// A command with all that submitting it takes.
    pub(super) fn submission(
        &self,
        subject: Subject,
        principal: &impl Principal,
        identity: &RequestIdentity,
        command: Command,
        key: Option<IdempotencyHeader>,
    ) -> Submission {
        let idempotency = key.map(|header| IdempotencyKey {
            owner: principal.key_owner(),
            key: header.key,
            request_hash: header.request_hash,
        });
        let context = self.context(principal.actor(), identity);
        Submission { subject, command, context, idempotency }
    }
}

/// Tells the caller that it was told this before.
pub fn note_replay(response: &mut HttpResponseBuilder, answered: &Answered) {
    if answered.replayed {
        response.insert_header(REPLAYED);
    }
}
