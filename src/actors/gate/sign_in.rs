//! Signing in by password.

use super::super::allowance::{Counted, Trial};
use super::super::origin::{Origin, Trouble};
use super::super::registration::round_instant;
use super::super::sessions::KnownDevice;
use super::claimed::{Try, changed_meanwhile};
use super::second_step::Entered;
use super::{Gate, GateError, Inner, Path, hashing_trouble, note};
use crate::db;
use crate::db::customers::Credential;
use crate::domain::command::SignIn;
use crate::domain::credential::PasswordHash;
use crate::domain::email::EmailAddress;
use crate::domain::phone::PhoneNumber;
use crate::domain::proof::Proof;
use crate::domain::session::{Client, Device, SignInMethod};
use crate::domain::throttle::{Factor, Guard};
use crate::domain::{Actor, Command, CustomerId, DeviceId};
use crate::security::passwords::Password;
use crate::security::tokens::{PresentedDevice, parse_device_token, same_hash};
use futures_util::FutureExt;
use std::sync::Arc;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// A password that changed while it was verified is verified anew this often at most. It changes
/// by its owner's hand, or in cost by another sign-in that runs beside this one.
const ROUNDS_MAX: usize = 3;

/// Whom somebody claims to be.
#[derive(Debug, Clone)]
pub enum Identifier {
    Email(EmailAddress),
    Phone(PhoneNumber),
}

impl Identifier {
    /// The kind under which identifiers are stored; also that of its bucket.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Phone(_) => "phone",
        }
    }

    /// The form to look up and to count by.
    pub fn value(&self) -> &str {
        match self {
            Self::Email(email) => email.canonical(),
            Self::Phone(phone) => phone.as_str(),
        }
    }
}

/// One attempt to sign in.
pub struct Attempt {
    pub identifier: Identifier,
    /// Made by [`Password::presented`].
    pub password: Password,
    /// As sent; one that is not this customer's counts for nothing.
    pub device_token: Option<Zeroizing<String>>,
    pub client: Client,
    pub origin: Origin,
}

/// Who is behind an identifier, and the counter that the attempt counts in.
struct Found {
    account: Option<Credential>,
    device: Option<DeviceId>,
    guard: Guard,
}

impl Gate {
    /// Lets one attempt to sign in through, or says why not.
    ///
    /// In a storm most attempts find the hashing queue full. They end here, before each has cost a
    /// look at the limits, a read and two transactions (one to claim a try and one to give it back):
    /// refusing must stay cheap. It is the one answer that comes before the limits, because it
    /// depends on nothing that the caller sent; and nobody fills the queue without passing them.
    pub async fn sign_in(&self, attempt: Attempt) -> Counted<Result<Entered, GateError>> {
        let path = Path::Password;
        if let Err(full) = self.0.parts.hashing.check_room() {
            let result = Err(GateError::from(hashing_trouble(full)));
            note(path, &result);
            return Counted { standing: None, result };
        }
        let sign_in = |owes_device| alike(self.0.sign_in(&attempt, owes_device));
        self.pass_brake(path, attempt.trial(), sign_in).await
    }
}

/// A wrong password and a lock are answered at round instants (rule A12). The work is the same
/// whether or not somebody has the identifier, but a customer's row takes its time to read, and a new
/// lock is a message and a mail. A right password is answered at once.
async fn alike<T>(work: impl Future<Output = Result<T, GateError>>) -> Result<T, GateError> {
    let start = Instant::now();
    let result = work.await;
    if let Err(GateError::InvalidCredentials | GateError::Locked { .. }) = &result {
        round_instant(start).await;
    }
    result
}

impl Attempt {
    fn trial(&self) -> Trial<'_> {
        Trial {
            address: self.origin.network,
            kind: self.identifier.kind(),
            identifier: self.identifier.value(),
            claims_device: self.presented().is_some(),
        }
    }

    fn presented(&self) -> Option<PresentedDevice> {
        self.device_token.as_deref().and_then(|text| parse_device_token(text))
    }
}

impl Inner {
    /// Mostly one round: another follows only when the password changed during its verification.
    async fn sign_in(
        self: &Arc<Self>,
        attempt: &Attempt,
        mut owes_device: bool,
    ) -> Result<Entered, GateError> {
        let deadline = Instant::now() + self.settings.wait;
        for _ in 0..ROUNDS_MAX {
            let found = self.find(attempt).await?;
            if std::mem::take(&mut owes_device) && found.device.is_none() {
                self.brake(attempt).await?;
            }
            let known = found.device.zip(attempt.device_token.clone());
            let known = known.map(|(id, token)| KnownDevice { id, token });
            let client = &attempt.client;
            let method = SignInMethod::Password;
            let prepared = self.prepare_challenge(method, client, known.as_ref());
            let (session, secrets) = self.parts.sessions.prepare(attempt.client.clone(), known);
            let (inner, sealing) = (Arc::clone(self), prepared.clone());
            let settle = move |proof: Proof, rehash: Option<PasswordHash>| {
                let password = rehash.as_ref().or(proof.verified_hash());
                let challenge = inner.seal_challenge(&sealing, password);
                let session = session.clone();
                Command::SignIn(Box::new(SignIn { proof, rehash, session, challenge }))
            };
            let one = Try {
                inner: Arc::clone(self),
                guard: found.guard,
                account: found.account,
                password: attempt.password.clone(),
                actor: Actor::Anonymous,
                origin: attempt.origin.clone(),
                deadline,
                settle: Arc::new(settle),
            };
            let answer = one.carry_out().await;
            if changed_meanwhile(&answer) {
                continue;
            }
            return Self::entered(answer?, secrets, prepared);
        }
        Err(GateError::InvalidCredentials)
    }

    /// For an attempt that was let through for the known device that it claimed and has not.
    async fn brake(&self, attempt: &Attempt) -> Result<(), GateError> {
        let quota = Path::Password.quota(self.settings.calls_per_minute);
        let standing = self.parts.allowance.brake(quota, attempt.trial()).await;
        match standing.map_err(|_| GateError::LimiterUnavailable)?.retry_after {
            Some(retry_after) => Err(GateError::RateLimited { retry_after }),
            None => Ok(()),
        }
    }

    /// One read, with the same questions whether or not anybody has the identifier.
    async fn find(&self, attempt: &Attempt) -> Result<Found, Trouble> {
        let (kind, value) = (attempt.identifier.kind(), attempt.identifier.value().to_owned());
        let presented = attempt.presented();
        let device_id = presented.map(|device| DeviceId(device.device_id));
        let (account, device) = self
            .parts
            .database
            .read(move |connection| {
                let value = value.clone();
                async move {
                    let connection = &*connection;
                    let device = async {
                        match device_id {
                            Some(id) => db::devices::find(connection, id).await,
                            None => Ok(None),
                        }
                    };
                    tokio::try_join!(db::customers::credential(connection, kind, &value), device)
                }
                .boxed()
            })
            .await?;
        let device =
            known_device(presented, device, account.as_ref().map(|known| known.customer_id));
        let keys = &self.parts.keys;
        let bucket = match device {
            Some(id) => keys.bucket("device", &id.to_string()),
            None => keys.bucket(kind, attempt.identifier.value()),
        };
        let guard = Guard { bucket, factor: Factor::Password, policy: self.settings.throttle };
        Ok(Found { account, device, guard })
    }
}

/// The device, if the token presented is its own and it is this customer's (rule A4).
pub(super) fn known_device(
    presented: Option<PresentedDevice>,
    stored: Option<(CustomerId, Device)>,
    account: Option<CustomerId>,
) -> Option<DeviceId> {
    let (owner, device) = stored?;
    let proven = same_hash(&device.secret_hash, &presented?.hash);
    (proven && account? == owner).then_some(device.id)
}
