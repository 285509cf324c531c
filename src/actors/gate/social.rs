//! Identity providers (rule A10): the way to one and back, and what may be done with what it says.
//!
//! A state is consumed before its code is exchanged, and a token from an app before it is acted
//! on, each once over all nodes: who brings one a second time is refused whatever it is worth.

use super::super::allowance::Counted;
use super::super::customers::SubmitError;
use super::super::origin::{Origin, Trouble, unexpected};
use super::super::sessions::KnownDevice;
use super::sign_in::known_device;
use super::{Entered, Evidence, Gate, GateError, Inner, Path, SignedIn};
use crate::config::Config;
use crate::db;
use crate::domain::command::{RegisterByIdentity, SignInByIdentity, Subject};
use crate::domain::customer::GroupCode;
use crate::domain::email::EmailAddress;
use crate::domain::flow::{Flow, FlowKind};
use crate::domain::handle::Handle;
use crate::domain::identity::{Account, Identity};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::place::{Currency, Locale, TimeZone};
use crate::domain::session::{Client, Device, SecretHash, SignInMethod};
use crate::domain::text::PersonName;
use crate::domain::{Actor, Command, CustomerId, DeviceId, MailId};
use crate::security::social::{Ceremony, SocialError, VerifiedIdentity};
use crate::security::tokens::{Issued, OneTimeTokens, Token, flow_token, parse_device_token};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt;
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// An account or an address may be taken or given up between its look-up and the commit.
const ROUNDS_MAX: usize = 4;

/// Where a provider tells no last name, and nobody else does: the owner can change it.
const NO_NAME: &str = "-";

/// How sign-in by identity providers works, and what customers who come by it start with.
#[derive(Debug, Clone)]
pub struct SocialSettings {
    /// Time to come back from a provider (10 min).
    pub state_life: TimeDelta,
    pub group: GroupCode,
    pub locale: Locale,
    pub timezone: TimeZone,
    pub currency: Currency,
}

impl From<&Config> for SocialSettings {
    /// The configuration was checked at start, and the groups against the database.
    fn from(config: &Config) -> Self {
        let customers = &config.customers;
        Self {
            state_life: config.social.state_minutes.delta(),
            group: GroupCode::from_stored(customers.default_group_individual.clone()),
            locale: Locale::from_stored(customers.default_locale.clone()),
            timezone: TimeZone::from_stored(customers.default_timezone.name().to_owned()),
            currency: Currency::from_stored(customers.default_currency.clone()),
        }
    }
}

/// Why what an identity provider says is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocialRefusal {
    /// No such provider is configured.
    UnknownProvider,
    RedirectNotAllowed,
    /// Code, state, token or a claim of it is not right; callers are not told which.
    Invalid,
    /// Somebody else's address than the one claimed.
    EmailMismatch,
    /// The provider tells no address, or does not vouch for it.
    EmailNotVerified,
    Unavailable {
        retry_after: Duration,
    },
}

impl SocialRefusal {
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::UnknownProvider => "unknown_provider",
            Self::RedirectNotAllowed => "redirect_not_allowed",
            Self::Invalid => "invalid_identity",
            Self::EmailMismatch => "email_mismatch",
            Self::EmailNotVerified => "email_not_verified",
            Self::Unavailable { .. } => "provider_unavailable",
        }
    }
}

impl From<SocialRefusal> for GateError {
    fn from(refusal: SocialRefusal) -> Self {
        Self::Social(refusal)
    }
}

impl From<SocialError> for GateError {
    fn from(error: SocialError) -> Self {
        Self::Social(match error {
            SocialError::UnknownProvider => SocialRefusal::UnknownProvider,
            SocialError::RedirectNotAllowed => SocialRefusal::RedirectNotAllowed,
            SocialError::Unavailable { retry_after } => SocialRefusal::Unavailable { retry_after },
            // which check failed is logged and counted where it is made
            SocialError::Refused(_) => SocialRefusal::Invalid,
        })
    }
}

/// A way to a provider.
pub struct Begun {
    /// The provider's page; `None` for an app, which asks the provider's own library.
    pub url: Option<Url>,
    pub state: Token,
}

/// What somebody brings from a provider.
pub enum Brought {
    /// From the provider's page, by way of the redirect.
    Code { code: Zeroizing<String>, state: Zeroizing<String> },
    /// From the provider's library in a native app, which chose the nonce. With the state of a
    /// linking; signing in by an app begins nowhere here.
    IdToken {
        id_token: Zeroizing<String>,
        nonce: Zeroizing<String>,
        state: Option<Zeroizing<String>>,
    },
}

/// One attempt to sign in by a provider.
pub struct SocialAttempt {
    pub provider: String,
    pub proof: Brought,
    /// The address that the caller takes for the account's.
    pub email: Option<EmailAddress>,
    /// For who is new here and whose provider tells no name.
    pub first_name: Option<PersonName>,
    pub last_name: Option<PersonName>,
    /// As sent; one that is not this customer's counts for nothing.
    pub device_token: Option<Zeroizing<String>>,
    pub client: Client,
    pub origin: Origin,
}

/// Somebody who signed in by a provider.
pub struct SocialEntry {
    pub entered: Entered,
    /// Whether the customer is new.
    pub created: bool,
}

/// One account to link.
pub struct Linking {
    pub who: SignedIn,
    pub provider: String,
    pub proof: Brought,
    pub origin: Origin,
}

/// What was consumed: nobody brings it again.
struct Vouched {
    identity: VerifiedIdentity,
    /// Of a token from an app: to be remembered as used.
    spent: Option<SecretHash>,
}

/// Who may be meant, as it was read; it is decided on the locked rows.
struct Met {
    owner: Option<CustomerId>,
    device: Option<(CustomerId, Device)>,
}

impl Gate {
    /// Begins the way to a provider to sign in.
    pub async fn social_authorization(
        &self,
        provider: &str,
        redirect_uri: &str,
        origin: &Origin,
    ) -> Counted<Result<Begun, GateError>> {
        self.pass(Path::SocialAuthorization, origin, async {
            let (begun, flow) = self.0.way(provider, Some(redirect_uri), None).await?;
            let subject = Subject::Nobody(flow.hash);
            let command = Command::OpenFlow { flow: Box::new(flow) };
            self.judge(subject, Actor::Anonymous, command, origin).await?;
            Ok(begun)
        })
        .await
    }

    /// Begins the linking of an account, for somebody who shows again who it is.
    pub async fn begin_linking(
        &self,
        who: SignedIn,
        evidence: Evidence,
        provider: &str,
        redirect_uri: Option<&str>,
        origin: &Origin,
    ) -> Counted<Result<Begun, GateError>> {
        let mut way = None;
        let prepare = async {
            let (begun, flow) = self.0.way(provider, redirect_uri, Some(who.customer)).await?;
            way = Some(begun);
            let flow = Box::new(flow);
            Ok(move |proof| Command::BeginLinking { proof, flow: flow.clone() })
        };
        let Counted { standing, result } =
            self.prove_prepared(who, evidence, origin, prepare).await;
        let result = result.and_then(|outcome| match (outcome, way) {
            (Outcome::Done, Some(begun)) => Ok(begun),
            _ => Err(unexpected("begin_linking").into()),
        });
        Counted { standing, result }
    }

    /// Lets one attempt to sign in by a provider through, or says why not.
    pub async fn social_sign_in(
        &self,
        attempt: SocialAttempt,
    ) -> Counted<Result<SocialEntry, GateError>> {
        let origin = attempt.origin.clone();
        self.pass(Path::Social, &origin, self.0.social_sign_in(attempt)).await
    }

    /// Links the account that a provider vouches for to its signed-in owner.
    pub async fn link(&self, linking: Linking) -> Counted<Result<Identity, GateError>> {
        let origin = linking.origin.clone();
        self.pass(Path::Social, &origin, self.0.link(linking)).await
    }
}

impl Inner {
    async fn social_sign_in(&self, attempt: SocialAttempt) -> Result<SocialEntry, GateError> {
        let SocialAttempt { provider, proof, origin, .. } = &attempt;
        let vouched = self.vouched(provider, proof, None, origin).await?;
        let account = account(&vouched.identity);
        if let Some(claimed) = &attempt.email {
            let told = account.email.as_ref().map(EmailAddress::canonical);
            if told != Some(claimed.canonical()) {
                return Err(SocialRefusal::EmailMismatch.into());
            }
        }
        let verified_email = account.email.clone().filter(|_| vouched.identity.email_verified);
        let mut spent = vouched.spent;
        for _ in 0..ROUNDS_MAX {
            let met = self.meet(&account, verified_email.as_ref(), &attempt).await?;
            let Some(owner) = met.owner.or_else(|| verified_email.as_ref().map(|_| self.new_id()))
            else {
                return Err(SocialRefusal::EmailNotVerified.into());
            };
            if let Some(hash) = spent.take() {
                self.spend(hash, vouched.identity.expires_at, origin).await?;
            }
            let known = self.known(&met, &attempt);
            let client = &attempt.client;
            let prepared = self.prepare_challenge(SignInMethod::Social, client, known.as_ref());
            let (session, secrets) = self.parts.sessions.prepare(client.clone(), known);
            let created = met.owner.is_none();
            let mail_id = MailId(self.parts.clock.new_id());
            let (account, verified_email) = (account.clone(), verified_email.clone());
            let command = match verified_email {
                Some(email) if created => {
                    let (first_name, last_name) = names(&attempt, &vouched.identity, &email);
                    let start = &self.settings.social;
                    Command::RegisterByIdentity(Box::new(RegisterByIdentity {
                        id: owner,
                        account,
                        email,
                        first_name,
                        last_name,
                        group: start.group.clone(),
                        locale: start.locale.clone(),
                        timezone: start.timezone.clone(),
                        currency: start.currency.clone(),
                        mail_id,
                        session,
                    }))
                }
                verified_email => Command::SignInByIdentity(Box::new(SignInByIdentity {
                    account,
                    verified_email,
                    mail_id,
                    session,
                    challenge: self.seal_challenge(&prepared, None),
                })),
            };
            match self.submit(Subject::Customer(owner), Actor::Anonymous, command, origin).await {
                Ok(outcome) => {
                    let entered = Self::entered(outcome, secrets, prepared)?;
                    return Ok(SocialEntry { entered, created });
                }
                // Taken, linked or given up since it was looked up.
                Err(SubmitError::Rejected(
                    Rejection::EmailTaken | Rejection::IdentityTaken | Rejection::NotFound,
                )) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // The address is kept for somebody who gave it up a short while ago.
        Err(GateError::Rejected(Rejection::LinkRequired))
    }

    async fn link(&self, linking: Linking) -> Result<Identity, GateError> {
        let Linking { who, provider, proof, origin } = linking;
        let customer = who.customer;
        let vouched = self.vouched(&provider, &proof, Some(customer), &origin).await?;
        let account = Box::new(account(&vouched.identity));
        if let Some(hash) = vouched.spent {
            self.spend(hash, vouched.identity.expires_at, &origin).await?;
        }
        let mail_id = MailId(self.parts.clock.new_id());
        let command = Command::LinkIdentity { account, mail_id };
        let actor = Actor::Customer(customer);
        match self.submit(Subject::Customer(customer), actor, command, &origin).await? {
            Outcome::Identity(identity) => Ok(*identity),
            _ => Err(unexpected("link_identity").into()),
        }
    }

    /// Who somebody is at the provider. A state is consumed on the way, whatever comes of it: it
    /// must have been begun by `owner`, or by nobody who was signed in.
    async fn vouched(
        &self,
        provider: &str,
        proof: &Brought,
        owner: Option<CustomerId>,
        origin: &Origin,
    ) -> Result<Vouched, GateError> {
        let social = &self.parts.social;
        if !social.knows(provider) {
            return Err(SocialRefusal::UnknownProvider.into());
        }
        match proof {
            Brought::Code { code, state } => {
                let (hash, payload) = self.finished(state, owner, origin).await?;
                let opened = self.parts.sealer.open(&place(&hash), &payload);
                let ceremony = opened.ok().and_then(|json| serde_json::from_slice(&json).ok());
                let ceremony = ceremony.ok_or(SocialRefusal::Invalid)?;
                let identity = social.exchange(provider, ceremony, code).await?;
                Ok(Vouched { identity, spent: None })
            }
            Brought::IdToken { id_token, nonce, state } => {
                if owner.is_some() {
                    let state = state.as_ref().ok_or(SocialRefusal::Invalid)?;
                    self.finished(state, owner, origin).await?;
                }
                let identity = social.verify(provider, id_token, nonce).await?;
                Ok(Vouched { identity, spent: Some(signed_part(id_token)) })
            }
        }
    }

    /// Consumes a state that must have been begun by `owner`; what it was begun with, sealed.
    async fn finished(
        &self,
        state: &str,
        owner: Option<CustomerId>,
        origin: &Origin,
    ) -> Result<(SecretHash, Vec<u8>), GateError> {
        let hash = OneTimeTokens::token_hash(state).ok_or(SocialRefusal::Invalid)?;
        let command = Command::TakeFlow { hash, kind: FlowKind::Social };
        let taken = self.submit(Subject::Nobody(hash), Actor::Anonymous, command, origin).await;
        match taken {
            Ok(Outcome::FlowTaken { customer_id, payload }) if customer_id == owner => {
                Ok((hash, payload))
            }
            Ok(Outcome::FlowTaken { .. }) => Err(SocialRefusal::Invalid.into()),
            Ok(_) => Err(unexpected("take_flow").into()),
            Err(error) => Err(used(error)),
        }
    }

    /// Remembers a token from an app as used, for as long as it could be shown again.
    async fn spend(
        &self,
        hash: SecretHash,
        until: DateTime<Utc>,
        origin: &Origin,
    ) -> Result<(), GateError> {
        let life = until - self.parts.clock.now();
        let mut flow = self.flow(hash, FlowKind::Spent, None, Vec::new(), life);
        flow.used_at = Some(flow.created_at);
        let command = Command::OpenFlow { flow: Box::new(flow) };
        let spent = self.submit(Subject::Nobody(hash), Actor::Anonymous, command, origin).await;
        spent.map(|_| ()).map_err(used)
    }

    /// One read: whose the account is, or else the address; and whose the device.
    async fn meet(
        &self,
        account: &Account,
        verified: Option<&EmailAddress>,
        attempt: &SocialAttempt,
    ) -> Result<Met, Trouble> {
        let (handle, email) = (account.handle(), verified.map(Handle::email));
        let presented = attempt.device_token.as_deref().and_then(|text| parse_device_token(text));
        let device_id = presented.map(|device| DeviceId(device.device_id));
        let found = self.parts.database.read(move |connection| {
            let (handle, email) = (handle.clone(), email.clone());
            async move {
                let connection = &*connection;
                let by_email = async {
                    match &email {
                        Some(email) => db::handles::owner(connection, email).await,
                        None => Ok(None),
                    }
                };
                let device = async {
                    match device_id {
                        Some(id) => db::devices::find(connection, id).await,
                        None => Ok(None),
                    }
                };
                tokio::try_join!(db::handles::owner(connection, &handle), by_email, device)
            }
            .boxed()
        });
        let (by_account, by_email, device) = found.await?;
        Ok(Met { owner: by_account.or(by_email), device })
    }

    fn known(&self, met: &Met, attempt: &SocialAttempt) -> Option<KnownDevice> {
        let presented = attempt.device_token.as_deref().and_then(|text| parse_device_token(text));
        let known = known_device(presented, met.device.clone(), met.owner);
        let known = known.zip(attempt.device_token.clone());
        known.map(|(id, token)| KnownDevice { id, token })
    }

    /// The way to a provider and back, and the flow that its state stands for.
    async fn way(
        &self,
        provider: &str,
        redirect_uri: Option<&str>,
        owner: Option<CustomerId>,
    ) -> Result<(Begun, Flow), GateError> {
        let social = &self.parts.social;
        let mut random = [0; 32];
        self.parts.clock.random(&mut random);
        let Issued { token, hash } = flow_token(random);
        let (url, payload) = match redirect_uri {
            Some(uri) => {
                let begun = social.authorize(provider, uri, token.as_str()).await?;
                (Some(begun.url), self.sealed(&hash, &begun.ceremony)?)
            }
            None if social.knows(provider) => (None, Vec::new()),
            None => return Err(SocialRefusal::UnknownProvider.into()),
        };
        let life = self.settings.social.state_life;
        let flow = self.flow(hash, FlowKind::Social, owner, payload, life);
        Ok((Begun { url, state: token }, flow))
    }

    fn new_id(&self) -> CustomerId {
        CustomerId(self.parts.clock.new_id())
    }

    fn flow(
        &self,
        hash: SecretHash,
        kind: FlowKind,
        customer_id: Option<CustomerId>,
        payload: Vec<u8>,
        life: TimeDelta,
    ) -> Flow {
        let created_at = self.parts.clock.now();
        let expires_at = created_at + life;
        let (failures, used_at) = (0, None);
        Flow { hash, kind, customer_id, payload, created_at, expires_at, failures, used_at }
    }

    fn sealed(&self, hash: &SecretHash, ceremony: &Ceremony) -> Result<Vec<u8>, GateError> {
        let json = serde_json::to_vec(ceremony).map(Zeroizing::new).ok();
        let sealed = json.and_then(|json| self.parts.sealer.seal(&place(hash), &json).ok());
        sealed.ok_or_else(|| {
            tracing::error!("the way to an identity provider could not be sealed");
            Trouble::Internal.into()
        })
    }
}

fn place(hash: &SecretHash) -> String {
    format!("sign_in_flows/social/{}", URL_SAFE_NO_PAD.encode(hash))
}

/// A state or token that was consumed before is no more valid than one that never was.
fn used(error: SubmitError) -> GateError {
    match error {
        SubmitError::Rejected(Rejection::FlowInvalid | Rejection::Conflict) => {
            SocialRefusal::Invalid.into()
        }
        error => error.into(),
    }
}

/// What a token is remembered by: what was signed, and nothing that anybody could write otherwise
/// for the same token, as the signature of some algorithms can be.
fn signed_part(id_token: &str) -> SecretHash {
    let signed = id_token.rsplit_once('.').map_or(id_token, |(signed, _)| signed);
    Sha256::digest(signed).into()
}

fn account(identity: &VerifiedIdentity) -> Account {
    let email = identity.email.as_deref().and_then(|email| EmailAddress::parse(email).ok());
    let (provider, subject) = (identity.provider.clone(), identity.subject.clone());
    Account { provider, subject, email }
}

/// The names of somebody new: the provider's, else the caller's (Apple tells a name only once, to
/// the page), else what the address gives.
fn names(
    attempt: &SocialAttempt,
    identity: &VerifiedIdentity,
    email: &EmailAddress,
) -> (PersonName, PersonName) {
    let told =
        |name: &Option<String>| name.as_deref().and_then(|name| PersonName::parse(name).ok());
    let local = email.as_str().rsplit_once('@').map_or("", |(local, _)| local);
    let first = told(&identity.given_name).or_else(|| attempt.first_name.clone());
    let first = first.or_else(|| PersonName::parse(local).ok());
    let last = told(&identity.family_name).or_else(|| attempt.last_name.clone());
    let none = || PersonName::from_stored(NO_NAME.to_owned());
    (first.unwrap_or_else(none), last.unwrap_or_else(none))
}
