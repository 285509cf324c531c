//! Passkeys (W3C WebAuthn Level 3): what is asked of an authenticator, and whether what it answers
//! is true. Whose passkey it is, whether a challenge was used before and whether the counter went
//! back is decided in the transaction, by the domain.
//!
//! Over webauthn-rs, with four deviations from its ready-made ceremonies:
//! - it asks for credentials that need not be discoverable, ours must be: without a typed name
//!   there is nothing else to find them by. The options are changed on their way out; the state
//!   holds nothing of it.
//! - it compares counters with those of the moment it is given; two nodes could each see an old
//!   one. It is given a credential whose counter is 0, so that it never does, and the counter is a
//!   value of the result.
//! - it accepts an assertion made in a frame of another site (`crossOrigin`); we do not.
//! - one kind of sign-in state serves both the sign-in without a name and the second factor; the
//!   latter only lists which credentials may answer.

use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{
    AttestationFormat, AttestationMetadata, Credential, DiscoverableAuthentication,
    ParsedAttestation, ParsedAttestationData, Passkey, PasskeyRegistration, PublicKeyCredential,
    RegisterPublicKeyCredential, Webauthn, WebauthnBuilder, WebauthnError,
};
use zeroize::Zeroizing;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::config::PasskeysConfig;

/// How long an authenticator may take; the challenge dies with it.
pub const CHALLENGE_LIFE: std::time::Duration = std::time::Duration::from_secs(5 * 60);

/// The standard's limit for the id of a credential, in bytes.
const CREDENTIAL_ID_BYTES_MAX: usize = 1_023;

/// The only kind of credential that there is.
const PUBLIC_KEY: &str = "public-key";

/// The member of a kept credential that tells the domain it was made for: with another one, or
/// none, no browser offers it, and operators are told whom that leaves out.
pub const MADE_FOR: &str = "rp_id";

/// The shop as authenticators know it.
#[derive(Clone, Debug)]
pub struct RelyingParty {
    webauthn: Webauthn,
    rp_id: String,
}

/// Whom a passkey is made for.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// What the authenticator answers a sign-in without a name with; tells nothing about a person.
    pub handle: Uuid,
    /// Shown by the owner's device to tell accounts apart: the e-mail address.
    pub name: &'a str,
    /// Shown beside it; empty where no name is known.
    pub display_name: &'a str,
}

/// A ceremony that has begun.
#[derive(Debug)]
pub struct Begun {
    /// For the browser: `PublicKeyCredentialCreationOptionsJSON` or `…RequestOptionsJSON`.
    pub options: Value,
    /// For the server only: needed to finish, and never to be seen by the client.
    pub state: Zeroizing<Vec<u8>>,
}

/// What `navigator.credentials.create()` answered, as it is; nothing of it is proven.
#[derive(Clone, Debug)]
pub struct Attestation(RegisterPublicKeyCredential);

/// What `navigator.credentials.get()` answered, as it is; nothing of it is proven.
#[derive(Clone, Debug)]
pub struct Assertion(PublicKeyCredential);

/// Not what the standard's JSON looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a credential in the JSON of WebAuthn")]
pub struct Malformed;

/// A new passkey, proven to be in the hands of who asked for it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewPasskey {
    pub credential_id: Vec<u8>,
    /// The public key and what the crate needs to verify with it; holds nothing secret.
    pub credential: Value,
    pub counter: u32,
    /// May leave its device: synchronised between several, or backed up.
    pub backup_eligible: bool,
    /// Has left its device.
    pub backed_up: bool,
}

/// A true answer to a challenge: the key signed it, here, now, and knew its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub credential_id: Vec<u8>,
    /// To be greater than the last one, or both 0.
    pub counter: u32,
    pub backed_up: bool,
}

/// Why an answer was refused. For the audit trail: callers are told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// `webauthn.create` where a sign-in was asked for, or the reverse.
    #[error("the answer to another kind of ceremony")]
    Ceremony,
    #[error("not the challenge that was sent")]
    Challenge,
    /// Made on another site, or in a frame of one.
    #[error("made at an origin that is not ours")]
    Origin,
    #[error("made for another relying party")]
    RelyingParty,
    #[error("nobody was present")]
    UserAbsent,
    #[error("the authenticator did not verify its user")]
    UserUnverified,
    #[error("the signature is not by this passkey")]
    Signature,
    #[error("a key of an algorithm that was not asked for")]
    Algorithm,
    /// Kept by the server side only, so that nobody could sign in without typing a name.
    #[error("the credential is not discoverable")]
    NotDiscoverable,
    #[error("the authenticator has this account's passkey already")]
    Known,
    #[error("the flags about backup contradict one another or what they were")]
    Backup,
    /// Not decodable, or an attestation that does not hold.
    #[error("the answer is damaged")]
    Damaged,
}

/// The server's own part of a ceremony is at fault.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A stored state or credential cannot be read, or the options cannot be made.
    #[error("the ceremony cannot be carried out: {0}")]
    Unexpected(String),
}

impl RelyingParty {
    /// The shop of this configuration; `None` where passkeys are off.
    ///
    /// # Panics
    /// Where the configuration was not checked.
    #[must_use]
    pub fn new(config: &PasskeysConfig) -> Option<Self> {
        let rp_id = config.rp_id.as_deref()?;
        let mut web = config.origins.iter().filter(|origin| origin.is_web());
        let first = web.next().expect("config::rules asks for a web origin");
        let builder = WebauthnBuilder::new(rp_id, first.url())
            .expect("config::rules asks for origins below rp_id")
            .rp_name(&config.rp_name)
            .timeout(CHALLENGE_LIFE);
        let builder = config
            .origins
            .iter()
            .fold(builder, |builder, origin| builder.append_allowed_origin(origin.url()));
        let webauthn = builder.build().expect("the builder has checked all there is");
        Some(Self { webauthn, rp_id: rp_id.to_owned() })
    }

    /// Asks for a new passkey on an authenticator that holds none of `known` (credential ids).
    ///
    /// # Errors
    /// [`CeremonyError::Unexpected`] where the options cannot be made.
    pub fn begin_registration(
        &self,
        owner: Owner<'_>,
        known: Vec<Vec<u8>>,
    ) -> Result<Begun, CeremonyError> {
        // the standard wants both, and an empty one is refused
        let shown = if owner.display_name.is_empty() { owner.name } else { owner.display_name };
        let (options, state) = self
            .webauthn
            .start_passkey_registration(owner.handle, owner.name, shown, Some(known))
            .map_err(unexpected)?;
        let mut options = json(&options.public_key)?;
        options["authenticatorSelection"]["residentKey"] = json!("required");
        options["authenticatorSelection"]["requireResidentKey"] = json!(true);
        Ok(Begun { options, state: sealed_later(&state)? })
    }

    /// Judges the answer to [`begin_registration`](Self::begin_registration).
    ///
    /// # Errors
    /// [`CeremonyError::Refused`] where it is not true; [`CeremonyError::Unexpected`] where the
    /// state is not one of ours.
    pub fn finish_registration(
        &self,
        state: &[u8],
        answer: &Attestation,
    ) -> Result<NewPasskey, CeremonyError> {
        let state: PasskeyRegistration = serde_json::from_slice(state).map_err(unexpected)?;
        let answer = &answer.0;
        same_site(&answer.response.client_data_json)?;
        // what the client says is unsigned: a hint that saves the customer a surprise, no proof
        if answer.extensions.cred_props.as_ref().is_some_and(|props| props.rk == Some(false)) {
            return Err(Refused::NotDiscoverable.into());
        }
        let passkey = self.webauthn.finish_passkey_registration(answer, &state).map_err(refused)?;
        let made = Credential::from(passkey);
        if made.cred_id.len() > CREDENTIAL_ID_BYTES_MAX || made.cred_id != answer.raw_id {
            return Err(Refused::Damaged.into());
        }
        let kept = Credential {
            counter: 0,
            // who made the authenticator was not asked and is not kept
            attestation: ParsedAttestation {
                data: ParsedAttestationData::None,
                metadata: AttestationMetadata::None,
            },
            attestation_format: AttestationFormat::None,
            // unsigned, so the crate drops them; browsers need them to find the authenticator again
            transports: answer.response.transports.clone().map(|mut transports| {
                transports.retain(|transport| transport.as_ref() != "unknown");
                transports
            }),
            ..made.clone()
        };
        let mut credential = json(&kept)?;
        credential[MADE_FOR] = json!(self.rp_id);
        Ok(NewPasskey {
            credential,
            credential_id: made.cred_id,
            counter: made.counter,
            backup_eligible: made.backup_eligible,
            backed_up: made.backup_state,
        })
    }

    /// Asks for a signature of any passkey of this shop.
    ///
    /// # Errors
    /// [`CeremonyError::Unexpected`] where the options cannot be made.
    pub fn begin_sign_in(&self) -> Result<Begun, CeremonyError> {
        let (options, state) =
            self.webauthn.start_discoverable_authentication().map_err(unexpected)?;
        Ok(Begun { options: json(&options.public_key)?, state: sealed_later(&state)? })
    }

    /// The options of a sign-in for these passkeys only ([`NewPasskey::credential`]). Whether one of
    /// them answers is the caller's to judge, as ever.
    ///
    /// # Errors
    /// [`CeremonyError::Unexpected`] where a stored credential cannot be read.
    pub fn restrict(mut options: Value, allowed: &[Value]) -> Result<Value, CeremonyError> {
        let allowed = allowed.iter().map(descriptor).collect::<Result<Vec<_>, _>>()?;
        options["allowCredentials"] = Value::Array(allowed);
        Ok(options)
    }

    /// Judges the answer to [`begin_sign_in`](Self::begin_sign_in) by the stored credential that it
    /// names. That the credential may answer at all, and its counter, are the caller's to judge.
    ///
    /// # Errors
    /// As [`finish_registration`](Self::finish_registration).
    pub fn finish_sign_in(
        &self,
        state: &[u8],
        answer: &Assertion,
        credential: &Value,
    ) -> Result<Verified, CeremonyError> {
        let state: DiscoverableAuthentication =
            serde_json::from_slice(state).map_err(unexpected)?;
        let credential = Credential::deserialize(credential).map_err(unexpected)?;
        same_site(&answer.0.response.client_data_json)?;
        let result = self
            .webauthn
            .finish_discoverable_authentication_v2(&answer.0, state, Passkey::from(credential))
            .map_err(refused)?;
        Ok(Verified {
            credential_id: result.cred_id().clone(),
            counter: result.counter(),
            backed_up: result.backup_state(),
        })
    }
}

impl Attestation {
    /// Reads the standard's `RegistrationResponseJSON`; members that it does not know are ignored,
    /// for browsers add some.
    ///
    /// # Errors
    /// [`Malformed`] for anything else.
    pub fn parse(credential: Value) -> Result<Self, Malformed> {
        let read = RegisterPublicKeyCredential::deserialize(credential).map_err(|_| Malformed)?;
        sound(&read.type_, &read.id, &read.raw_id)?;
        Ok(Self(read))
    }
}

impl Assertion {
    /// Reads the standard's `AuthenticationResponseJSON`, as [`Attestation::parse`].
    ///
    /// # Errors
    /// [`Malformed`] for anything else.
    pub fn parse(credential: Value) -> Result<Self, Malformed> {
        let read = PublicKeyCredential::deserialize(credential).map_err(|_| Malformed)?;
        sound(&read.type_, &read.id, &read.raw_id)?;
        Ok(Self(read))
    }

    /// The passkey that it says it is of.
    #[must_use]
    pub fn credential_id(&self) -> &[u8] {
        &self.0.raw_id
    }

    /// The account that it says it is for. `Ok(None)` where the authenticator told none, which it
    /// may where it was told which credentials to use.
    ///
    /// # Errors
    /// [`Refused::Damaged`] for a handle that none of ours can be.
    pub fn user_handle(&self) -> Result<Option<Uuid>, Refused> {
        self.0
            .get_user_unique_id()
            .map(|bytes| Uuid::from_slice(bytes).map_err(|_| Refused::Damaged))
            .transpose()
    }
}

/// What holds for every credential in the standard's JSON.
fn sound(kind: &str, id: &str, raw_id: &[u8]) -> Result<(), Malformed> {
    let length = (1..=CREDENTIAL_ID_BYTES_MAX).contains(&raw_id.len());
    let agrees = kind == PUBLIC_KEY && length && id == URL_SAFE_NO_PAD.encode(raw_id);
    if agrees { Ok(()) } else { Err(Malformed) }
}

/// Refuses what was made in a frame of another site: its page could have led the user there.
fn same_site(client_data: &[u8]) -> Result<(), Refused> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Place {
        #[serde(default)]
        cross_origin: Option<bool>,
        #[serde(default)]
        top_origin: Option<String>,
    }
    let place: Place = serde_json::from_slice(client_data).map_err(|_| Refused::Damaged)?;
    let framed = place.cross_origin == Some(true) || place.top_origin.is_some();
    if framed { Err(Refused::Origin) } else { Ok(()) }
}

/// A stored credential as the options list it, with the ways by which browsers may reach it.
fn descriptor(credential: &Value) -> Result<Value, CeremonyError> {
    let credential = Credential::deserialize(credential).map_err(unexpected)?;
    let mut listed =
        json!({ "type": PUBLIC_KEY, "id": URL_SAFE_NO_PAD.encode(&credential.cred_id) });
    if let Some(transports) = &credential.transports {
        listed["transports"] = json(transports)?;
    }
    Ok(listed)
}

fn json(value: &impl serde::Serialize) -> Result<Value, CeremonyError> {
    serde_json::to_value(value).map_err(unexpected)
}

/// The state as bytes, to be sealed by who keeps it.
fn sealed_later(state: &impl serde::Serialize) -> Result<Zeroizing<Vec<u8>>, CeremonyError> {
    serde_json::to_vec(state).map(Zeroizing::new).map_err(unexpected)
}

fn unexpected(error: impl std::fmt::Display) -> CeremonyError {
    CeremonyError::Unexpected(error.to_string())
}

fn refused(error: WebauthnError) -> CeremonyError {
    CeremonyError::Refused(match error {
        WebauthnError::InvalidClientDataType => Refused::Ceremony,
        WebauthnError::MismatchedChallenge => Refused::Challenge,
        WebauthnError::InvalidRPOrigin | WebauthnError::CredentialCrossOrigin => Refused::Origin,
        WebauthnError::InvalidRPIDHash => Refused::RelyingParty,
        WebauthnError::UserNotPresent => Refused::UserAbsent,
        WebauthnError::UserNotVerified => Refused::UserUnverified,
        WebauthnError::AuthenticationFailure | WebauthnError::SignatureInvalid => {
            Refused::Signature
        }
        WebauthnError::CredentialExcludedFromRequest => Refused::Known,
        WebauthnError::CredentialAlteredAlgFromRequest | WebauthnError::COSEKeyInvalidAlgorithm => {
            Refused::Algorithm
        }
        WebauthnError::CredentialMayNotBeHardwareBound
        | WebauthnError::CredentialBackupEligibilityInconsistent => Refused::Backup,
        _ => Refused::Damaged,
    })
}

#[cfg(test)]
mod tests;
