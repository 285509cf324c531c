//! Signing in by password.

use super::super::allowance::Counted;
use super::super::origin::{Origin, Trouble};
use super::super::sessions::KnownDevice;
use super::claimed::{Try, changed_meanwhile};
use super::second_step::Entered;
use super::{Gate, GateError, Inner, Path, hashing_trouble};
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
    pub async fn sign_in(&self, attempt: Attempt) -> Counted<Result<Entered, GateError>> {
        let origin = attempt.origin.clone();
        self.pass(Path::Password, &origin, self.0.sign_in(attempt)).await
    }
}

impl Inner {
    /// In a storm most attempts find the hashing queue full: they end here, before each has cost a
    /// read and two transactions, one to claim a try and one to give it back. Mostly one round:
    /// another follows only when the password changed during its verification.
    async fn sign_in(self: &Arc<Self>, attempt: Attempt) -> Result<Entered, GateError> {
        self.parts.hashing.check_room().map_err(hashing_trouble)?;
        let deadline = Instant::now() + self.settings.wait;
        for _ in 0..ROUNDS_MAX {
            let found = self.find(&attempt).await?;
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

    /// One read, with the same questions whether or not anybody has the identifier.
    async fn find(&self, attempt: &Attempt) -> Result<Found, Trouble> {
        let (kind, value) = (attempt.identifier.kind(), attempt.identifier.value().to_owned());
        let presented = attempt.device_token.as_deref().and_then(|text| parse_device_token(text));
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
        let owner = account.as_ref().map(|account| account.customer_id);
        let device = known_device(presented, device, owner);
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
