//! The judgement of an `id_token`: OpenID Connect Core 3.1.3.7, each rule of it, with nothing
//! taken on trust that the token itself says about how to check it.

use std::ops::Deref;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{
    CoreIdToken, CoreIdTokenClaims, CoreIdTokenVerifier, CoreJsonWebKeySet,
    CoreJwsSigningAlgorithm as Algorithm,
};
use openidconnect::{
    AccessToken, AccessTokenHash, ClaimsVerificationError, ClientId, IssuerUrl, LocalizedClaim,
    Nonce, SignatureVerificationError,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Refusal, VerifiedIdentity, filled, subject};

/// Asymmetric ones only: with a symmetric one our own client secret, or worse a public key, would
/// sign.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RsaSsaPkcs1V15Sha256,
    Algorithm::RsaSsaPkcs1V15Sha384,
    Algorithm::RsaSsaPkcs1V15Sha512,
    Algorithm::RsaSsaPssSha256,
    Algorithm::RsaSsaPssSha384,
    Algorithm::RsaSsaPssSha512,
    Algorithm::EcdsaP256Sha256,
    Algorithm::EcdsaP384Sha384,
    Algorithm::EdDsa,
];

/// What a token must say.
pub(super) struct Expected<'a> {
    pub issuer: &'a IssuerUrl,
    /// The client ids that are ours: the token must be for one of them and for nobody else.
    pub clients: &'a [String],
    pub nonce: ExpectedNonce<'a>,
    /// The access token that came along, to which the token is bound if it says so.
    pub access_token: Option<&'a str>,
    pub now: DateTime<Utc>,
    pub skew: TimeDelta,
}

/// How the nonce stands in the token.
#[derive(Clone, Copy)]
pub(super) enum ExpectedNonce<'a> {
    /// As we sent it.
    Same(&'a str),
    /// As the app chose it, or its SHA-256 in hexadecimal: what apps hand to Apple's library, so
    /// that a stolen token alone is worth nothing.
    SameOrHashed(&'a str),
}

/// Judges `token`.
///
/// # Errors
/// The check that failed; [`Refusal::UnknownKey`] may be worth a look at newer keys.
pub(super) fn judge(
    provider: &str,
    token: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'_>,
) -> Result<VerifiedIdentity, Refusal> {
    let text = token;
    let token: CoreIdToken = text.parse().map_err(|_| Refusal::Malformed)?;
    // before the claims: a token is looked at for whether its key is known first of all
    token.signing_alg().map_err(|_| Refusal::Algorithm)?;
    let mut last = Refusal::Audience;
    for client in expected.clients {
        let verifier = verifier(client, keys, expected);
        match token.claims(&verifier, |nonce: Option<&Nonce>| expected.nonce.check(nonce)) {
            Ok(claims) => {
                check_begun(text, expected)?;
                check_party(claims, expected)?;
                check_access_token(&token, claims, &verifier, expected)?;
                return identity(provider, claims, expected);
            }
            Err(error) => last = refusal(&error),
        }
        if last != Refusal::Audience {
            break;
        }
    }
    Err(last)
}

fn verifier<'a>(
    client: &str,
    keys: &CoreJsonWebKeySet,
    expected: &Expected<'a>,
) -> CoreIdTokenVerifier<'a> {
    let (now, skew, clients) = (expected.now, expected.skew, expected.clients);
    let client = ClientId::new(client.to_owned());
    CoreIdTokenVerifier::new_public_client(client, expected.issuer.clone(), keys.clone())
        .set_allowed_algs(ALGORITHMS)
        .set_other_audience_verifier_fn(move |audience| clients.contains(audience))
        .set_time_fn(move || now - skew)
        .set_issue_time_verifier_fn(move |issued_at| match issued_at <= now + skew {
            true => Ok(()),
            false => Err(ISSUED_IN_THE_FUTURE.to_owned()),
        })
}

/// How our own check of `iat` is told from the library's other complaints.
const ISSUED_IN_THE_FUTURE: &str = "issued in the future";

fn refusal(error: &ClaimsVerificationError) -> Refusal {
    use SignatureVerificationError as Signature;
    match error {
        ClaimsVerificationError::InvalidIssuer(_) => Refusal::Issuer,
        ClaimsVerificationError::InvalidAudience(_) => Refusal::Audience,
        ClaimsVerificationError::InvalidNonce(_) => Refusal::Nonce,
        ClaimsVerificationError::Expired(why) if why.contains(ISSUED_IN_THE_FUTURE) => {
            Refusal::IssuedAt
        }
        ClaimsVerificationError::Expired(_) => Refusal::Expired,
        ClaimsVerificationError::InvalidSubject(_) => Refusal::Subject,
        ClaimsVerificationError::SignatureVerification(error) => match error {
            Signature::NoMatchingKey => Refusal::UnknownKey,
            Signature::NoSignature | Signature::DisallowedAlg(_) | Signature::UnsupportedAlg(_) => {
                Refusal::Algorithm
            }
            _ => Refusal::Signature,
        },
        _ => Refusal::Malformed,
    }
}

/// `nbf`: from when on it counts (RFC 7519, 4.1.5). OpenID Connect does not know it, so the library
/// does not look; of a token that has been verified, its middle part is what was signed.
fn check_begun(token: &str, expected: &Expected<'_>) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Claims {
        nbf: Option<f64>,
    }
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let claims = payload.and_then(|json| serde_json::from_slice::<Claims>(&json).ok());
    let not_before = claims.ok_or(Refusal::Malformed)?.nbf;
    let latest = (expected.now + expected.skew).timestamp() as f64;
    match not_before {
        Some(begins) if begins > latest => Err(Refusal::NotBefore),
        _ => Ok(()),
    }
}

/// `azp`: who asked for the token. It must be one of ours where it stands, and it must stand where
/// there are several audiences.
fn check_party(claims: &CoreIdTokenClaims, expected: &Expected<'_>) -> Result<(), Refusal> {
    match claims.authorized_party() {
        Some(party) if expected.clients.contains(party) => Ok(()),
        Some(_) => Err(Refusal::AuthorizedParty),
        None if claims.audiences().len() > 1 => Err(Refusal::AuthorizedParty),
        None => Ok(()),
    }
}

/// `at_hash`: a token that came with another access token is not accepted with this one.
fn check_access_token(
    token: &CoreIdToken,
    claims: &CoreIdTokenClaims,
    verifier: &CoreIdTokenVerifier<'_>,
    expected: &Expected<'_>,
) -> Result<(), Refusal> {
    let (Some(hash), Some(access_token)) = (claims.access_token_hash(), expected.access_token)
    else {
        return Ok(());
    };
    let algorithm = token.signing_alg().map_err(|_| Refusal::Algorithm)?;
    let key = token.signing_key(verifier).map_err(|_| Refusal::UnknownKey)?;
    let access_token = AccessToken::new(access_token.to_owned());
    match AccessTokenHash::from_token(&access_token, algorithm, key) {
        Ok(own) if own == *hash => Ok(()),
        _ => Err(Refusal::AccessTokenHash),
    }
}

fn identity(
    provider: &str,
    claims: &CoreIdTokenClaims,
    expected: &Expected<'_>,
) -> Result<VerifiedIdentity, Refusal> {
    Ok(VerifiedIdentity {
        provider: provider.to_owned(),
        subject: subject(claims.subject())?,
        email: claims.email().and_then(|email| filled(email)),
        // absent means that nobody vouches for it
        email_verified: claims.email_verified().unwrap_or(false),
        given_name: claims.given_name().and_then(plain).or_else(|| claims.name().and_then(plain)),
        family_name: claims.family_name().and_then(plain),
        expires_at: claims.expiration() + expected.skew,
    })
}

/// A name, be it in one language only.
fn plain<T: Deref<Target = String>>(claim: &LocalizedClaim<T>) -> Option<String> {
    let written = claim.get(None).or_else(|| claim.iter().next().map(|(_, name)| name))?;
    filled(written)
}

impl ExpectedNonce<'_> {
    fn check(self, found: Option<&Nonce>) -> Result<(), String> {
        let found = found.map_or("", |nonce| nonce.secret());
        let same = |expected: &str| bool::from(expected.as_bytes().ct_eq(found.as_bytes()));
        let sound = match self {
            _ if found.is_empty() => false,
            Self::Same(nonce) => same(nonce),
            Self::SameOrHashed(nonce) => same(nonce) | same(&hexadecimal(nonce)),
        };
        if sound { Ok(()) } else { Err("another nonce".to_owned()) }
    }
}

fn hexadecimal(nonce: &str) -> String {
    Sha256::digest(nonce).iter().map(|byte| format!("{byte:02x}")).collect()
}
