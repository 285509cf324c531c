//! Opening, keeping and ending sessions (rule A7): the secrets that a session's holder gets, the
//! rotation of the refresh token, signing out.

use super::customers::{Customers, SubmitError};
use super::origin::{Origin, Trouble, unexpected};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Database};
use crate::domain::command::{FreshSession, SessionDevice, Subject};
use crate::domain::customer::Customer;
use crate::domain::outcome::{Outcome, Rejection, SignedIn};
use crate::domain::session::{Client, Device, Session, SessionPolicy};
use crate::domain::status::Status;
use crate::domain::{Actor, Command, CustomerId, DeviceId, SessionId, Submission};
use crate::security::tokens::{Presented, RefreshTokens, Token, device_token};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long sessions and their access tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionSettings {
    pub policy: SessionPolicy,
}

impl From<&Config> for SessionSettings {
    fn from(config: &Config) -> Self {
        let sessions = &config.sessions;
        Self {
            policy: SessionPolicy {
                sliding: sessions.refresh_days.delta(),
                absolute: sessions.absolute_days.delta(),
                reuse_grace: sessions.reuse_grace_seconds.delta(),
            },
        }
    }
}

/// A session just opened, with what only its holder gets to see.
pub struct Opened {
    pub session: Session,
    pub customer: Customer,
    pub refresh_token: Token,
    /// Of the device it was opened from: new, or the one that was presented.
    pub device_token: Zeroizing<String>,
}

/// A session that goes on, with its next refresh token.
pub struct Refreshed {
    pub customer_id: CustomerId,
    pub status: Status,
    pub session: Session,
    pub refresh_token: Token,
}

/// A refresh token of ours, of a session that there once was.
pub(super) struct Held {
    presented: Presented,
    owner: CustomerId,
}

impl Held {
    pub(super) fn session(&self) -> SessionId {
        SessionId(self.presented.session_id)
    }
}

/// Why a refresh token gave no new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// Not one of ours, or of a session that is over.
    #[error("the refresh token is not valid")]
    Invalid,
    /// It was rotated before: its session is revoked now.
    #[error("the refresh token was used before")]
    Reused,
    /// Of one session, too often: a client that went wrong.
    #[error("too many calls")]
    RateLimited { retry_after: Duration },
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

/// The secrets of a session that is about to be opened.
pub(super) struct Secrets {
    refresh_token: Token,
    device_token: Zeroizing<String>,
}

/// A device that proved itself by its token.
pub(super) struct KnownDevice {
    pub id: DeviceId,
    pub token: Zeroizing<String>,
}

/// Opens, keeps and ends sessions.
pub struct Sessions {
    database: Database,
    customers: Customers,
    clock: Arc<dyn Clock>,
    tokens: RefreshTokens,
    settings: SessionSettings,
}

impl Sessions {
    pub fn new(
        database: Database,
        customers: Customers,
        clock: Arc<dyn Clock>,
        tokens: RefreshTokens,
        settings: SessionSettings,
    ) -> Self {
        Self { database, customers, clock, tokens, settings }
    }

    /// Makes what opening a session needs. Where no known device is given, it is a new one's.
    pub(super) fn prepare(
        &self,
        client: Client,
        known: Option<KnownDevice>,
    ) -> (FreshSession, Secrets) {
        let id = SessionId(self.clock.new_id());
        let refresh = self.tokens.first(id.0, self.random());
        let (device, device_token) = match known {
            Some(known) => (SessionDevice::Known(known.id), known.token),
            None => self.new_device(),
        };
        let fresh = FreshSession {
            id,
            refresh_hash: refresh.hash,
            client,
            device,
            policy: self.settings.policy,
        };
        (fresh, Secrets { refresh_token: refresh.token, device_token })
    }

    fn new_device(&self) -> (SessionDevice, Zeroizing<String>) {
        let id = DeviceId(self.clock.new_id());
        let issued = device_token(id.0, self.random());
        let now = self.clock.now();
        let device = Device { id, secret_hash: issued.hash, created_at: now, last_used_at: now };
        (SessionDevice::New(device), Zeroizing::new(issued.token.as_str().to_owned()))
    }

    /// Hands the secrets over once the session is committed.
    pub(super) fn opened(signed_in: SignedIn, secrets: Secrets) -> Opened {
        let SignedIn { session, customer, .. } = signed_in;
        let Secrets { refresh_token, device_token } = secrets;
        Opened { session, customer, refresh_token, device_token }
    }

    /// Whose a refresh token is; `None` for what is none, or of a session that never was.
    pub(super) async fn held(&self, token: &str) -> Result<Option<Held>, Trouble> {
        let Some(presented) = self.tokens.parse(token) else { return Ok(None) };
        let owner = self.owner(SessionId(presented.session_id)).await?;
        Ok(owner.map(|owner| Held { presented, owner }))
    }

    /// Puts the next refresh token in the place of one, which passed the gate.
    pub(super) async fn rotate(
        &self,
        held: Held,
        origin: &Origin,
    ) -> Result<Refreshed, RefreshError> {
        let child = self.tokens.child(&held.presented);
        let command = Command::Refresh {
            session_id: held.session(),
            presented: held.presented.hash,
            child: child.hash,
            policy: self.settings.policy,
        };
        match self.submit(held.owner, command, origin).await {
            Ok(Outcome::Refreshed { session, status }) => Ok(Refreshed {
                customer_id: held.owner,
                status,
                session: *session,
                refresh_token: child.token.clone(),
            }),
            Ok(Outcome::RefreshReused { .. }) => Err(RefreshError::Reused),
            Ok(_) => Err(unexpected("refresh").into()),
            Err(SubmitError::Rejected(Rejection::RefreshInvalid)) => Err(RefreshError::Invalid),
            Err(error) => Err(Trouble::from(error).into()),
        }
    }

    /// Ends the session of a refresh token. A token of no session has nothing to end, which is what
    /// its holder asked for: so repeating it, or sending anything at all, succeeds.
    ///
    /// # Errors
    /// [`Trouble`]: the session may live on.
    pub async fn sign_out(&self, token: &str, origin: &Origin) -> Result<(), Trouble> {
        let Some(held) = self.held(token).await? else { return Ok(()) };
        let command = Command::SignOut { session_id: held.session() };
        match self.submit(held.owner, command, origin).await? {
            Outcome::Revoked { .. } => Ok(()),
            _ => Err(unexpected("sign_out")),
        }
    }

    async fn owner(&self, id: SessionId) -> Result<Option<CustomerId>, Trouble> {
        let found = self.database.read(move |c| db::sessions::owner(c, id).boxed()).await?;
        Ok(found)
    }

    async fn submit(
        &self,
        owner: CustomerId,
        command: Command,
        origin: &Origin,
    ) -> Result<Outcome, SubmitError> {
        let submission = Submission {
            subject: Subject::Customer(owner),
            command,
            context: origin.context(Actor::Customer(owner), &*self.clock),
            idempotency: None,
        };
        Ok(self.customers.submit(submission).await?.outcome)
    }

    fn random(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.clock.random(&mut bytes);
        bytes
    }
}
