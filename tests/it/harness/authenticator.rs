//! An authenticator with its browser, in software: makes passkeys (ES256, no attestation) and signs
//! challenges as the standard says, and can lie in every way that a server must notice.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// One untruth in an otherwise sound answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Signs another challenge than it was sent.
    Challenge,
    /// Was used on another site.
    Origin,
    /// Was used in a frame of another site.
    Frame,
    /// Signs for another relying party.
    RelyingParty,
    /// Says that nobody touched it.
    Absent,
    /// Says that it did not verify its user.
    Unverified,
    /// One bit of the signature is wrong (of the key, where there is no signature).
    Signature,
    /// Signed with a key of another credential.
    Key,
    /// Answers the other kind of ceremony.
    Ceremony,
    /// Claims to be synchronised, and was not when it was made.
    Synchronised,
    /// Names another account.
    Handle,
}

impl Lie {
    /// Every lie that a sign-in can contain.
    pub const ALL: [Self; 11] = [
        Self::Challenge,
        Self::Origin,
        Self::Frame,
        Self::RelyingParty,
        Self::Absent,
        Self::Unverified,
        Self::Signature,
        Self::Key,
        Self::Ceremony,
        Self::Synchronised,
        Self::Handle,
    ];
}

const USER_PRESENT: u8 = 0x01;
const USER_VERIFIED: u8 = 0x04;
const BACKUP_ELIGIBLE: u8 = 0x08;
const BACKED_UP: u8 = 0x10;
const ATTESTED: u8 = 0x40;

/// One passkey in one authenticator, used by a browser at one origin.
#[derive(Clone)]
pub struct Authenticator {
    pub key: SigningKey,
    pub credential_id: Vec<u8>,
    /// The account, once a passkey was made.
    pub user_handle: Vec<u8>,
    pub origin: String,
    /// Counts signatures; 0 for good where `counts` is false, as synchronised passkeys do.
    pub counter: u32,
    pub counts: bool,
    /// Eligible for backup and backed up, as synchronised passkeys are.
    pub synchronised: bool,
    /// The algorithm that the key claims to be of (COSE).
    pub algorithm: i8,
}

impl Authenticator {
    /// A device-bound one that counts; equal seeds are equal authenticators.
    pub fn new(seed: [u8; 32], origin: &str) -> Self {
        Self {
            key: SigningKey::from_slice(&Sha256::digest(seed))
                .expect("almost every number is a key"),
            credential_id: Sha256::digest([&seed[..], b"id"].concat()).to_vec(),
            user_handle: Vec::new(),
            origin: origin.to_owned(),
            counter: 0,
            counts: true,
            synchronised: false,
            algorithm: -7,
        }
    }

    /// Answers `navigator.credentials.create()` with these options (`publicKey`).
    pub fn create(&mut self, options: &Value, lie: Option<Lie>) -> Value {
        self.user_handle = bytes(&options["user"]["id"]);
        let rp_id = options["rp"]["id"].as_str().expect("a relying party");
        let client_data = self.client_data("webauthn.create", options, lie);
        let mut data = self.authenticator_data(rp_id, ATTESTED, lie);
        // no maker: attestation was not asked for
        data.extend([0; 16]);
        data.extend(u16::try_from(self.credential_id.len()).unwrap().to_be_bytes());
        data.extend(&self.credential_id);
        data.extend(self.public_key(lie));
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt");
        object.push(0x64);
        object.extend(b"none");
        object.push(0x67);
        object.extend(b"attStmt");
        object.extend([0xa0, 0x68]);
        object.extend(b"authData");
        object.push(0x59);
        object.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        object.extend(data);
        self.credential(json!({
            "clientDataJSON": text(&client_data),
            "attestationObject": text(&object),
            "transports": ["internal", "hybrid"],
        }))
    }

    /// Answers `navigator.credentials.get()` with these options (`publicKey`).
    pub fn get(&mut self, options: &Value, lie: Option<Lie>) -> Value {
        let rp_id = options["rpId"].as_str().expect("a relying party");
        if self.counts {
            self.counter += 1;
        }
        let client_data = self.client_data("webauthn.get", options, lie);
        let data = self.authenticator_data(rp_id, 0, lie);
        let signed = [data.as_slice(), &Sha256::digest(&client_data)].concat();
        let other = SigningKey::from_slice(&Sha256::digest(b"another")).unwrap();
        let key = if lie == Some(Lie::Key) { &other } else { &self.key };
        let signature: Signature = key.sign(&signed);
        let mut signature = signature.to_der().as_bytes().to_vec();
        if lie == Some(Lie::Signature) {
            *signature.last_mut().unwrap() ^= 1;
        }
        let handle = match lie {
            Some(Lie::Handle) => vec![7; 16],
            _ => self.user_handle.clone(),
        };
        self.credential(json!({
            "clientDataJSON": text(&client_data),
            "authenticatorData": text(&data),
            "signature": text(&signature),
            "userHandle": text(&handle),
        }))
    }

    fn credential(&self, response: Value) -> Value {
        let id = text(&self.credential_id);
        json!({
            "id": id, "rawId": id, "type": "public-key", "response": response,
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
        })
    }

    fn client_data(&self, kind: &str, options: &Value, lie: Option<Lie>) -> Vec<u8> {
        let other = if kind == "webauthn.get" { "webauthn.create" } else { "webauthn.get" };
        let challenge = match lie {
            Some(Lie::Challenge) => text(&[9; 32]),
            _ => options["challenge"].as_str().expect("a challenge").to_owned(),
        };
        let origin = match lie {
            Some(Lie::Origin) => "https://evil.example",
            _ => &self.origin,
        };
        let data = json!({
            "type": if lie == Some(Lie::Ceremony) { other } else { kind },
            "challenge": challenge,
            "origin": origin,
            "crossOrigin": lie == Some(Lie::Frame),
            "other_keys_can_be_added_here": "do not compare clientDataJSON against a template",
        });
        data.to_string().into_bytes()
    }

    fn authenticator_data(&self, rp_id: &str, more: u8, lie: Option<Lie>) -> Vec<u8> {
        let rp_id = if lie == Some(Lie::RelyingParty) { "evil.example" } else { rp_id };
        let mut flags = USER_PRESENT | USER_VERIFIED | more;
        if self.synchronised || lie == Some(Lie::Synchronised) {
            flags |= BACKUP_ELIGIBLE | BACKED_UP;
        }
        match lie {
            Some(Lie::Absent) => flags &= !USER_PRESENT,
            Some(Lie::Unverified) => flags &= !USER_VERIFIED,
            _ => {}
        }
        let mut data = Sha256::digest(rp_id.as_bytes()).to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }

    /// COSE_Key: `{1: 2 (EC2), 3: alg, -1: 1 (P-256), -2: x, -3: y}`.
    fn public_key(&self, lie: Option<Lie>) -> Vec<u8> {
        let point = self.key.verifying_key().to_sec1_point(false);
        let mut y = point.y().unwrap().to_vec();
        if lie == Some(Lie::Signature) {
            y[31] ^= 1;
        }
        // a negative number n is written as -1 - n, in one byte where it is below 24
        let algorithm = u8::try_from(-1 - self.algorithm).unwrap();
        let mut cose = vec![0xa5, 0x01, 0x02, 0x03];
        cose.extend(if algorithm < 24 { vec![0x20 | algorithm] } else { vec![0x38, algorithm] });
        cose.extend([0x20, 0x01, 0x21, 0x58, 0x20]);
        cose.extend(point.x().unwrap());
        cose.extend([0x22, 0x58, 0x20]);
        cose.extend(y);
        cose
    }
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(text: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text.as_str().expect("a text")).expect("base64url")
}
