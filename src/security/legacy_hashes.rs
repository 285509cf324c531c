//! Password hashes that other systems made, verified once and then replaced (rule A1): bcrypt,
//! PBKDF2, scrypt and Firebase's own scrypt. Argon2 in all its variants is [`super::argon`]'s.
//!
//! An import writes a hash as one of these texts. Base64 is the standard alphabet, with or without
//! padding; passlib's `.` for `+` is understood too.
//!
//! | kind | text |
//! |---|---|
//! | bcrypt | `$2b$12$` salt hash, also `$2a$` and `$2y$` |
//! | PBKDF2 | `$pbkdf2-sha256$i=600000$salt$hash`, also `-sha1` and `-sha512`, with `l=32` or without |
//! | PBKDF2, passlib | `$pbkdf2-sha256$29000$salt$hash`; `$pbkdf2$` means SHA-1 |
//! | PBKDF2, Django | `pbkdf2_sha256$600000$salt$hash`, also `pbkdf2_sha1`; the salt is text |
//! | scrypt | `$scrypt$ln=17,r=8,p=1$salt$hash` |
//! | scrypt, Firebase | `$firebase-scrypt$ln=14,r=8,sep=Bw==,key=SIGNERKEY$salt$hash` |
//!
//! In Firebase's words `ln` is `mem_cost`, `r` is `rounds`, `sep` is `base64_salt_separator` and
//! `key` is `base64_signer_key`; salt and hash are `salt` and `passwordHash` of the exported user.
//!
//! bcrypt reads 72 bytes: what a password has beyond them was never looked at by the system it
//! comes from, and is not looked at here. The hash that replaces it covers the whole password as
//! typed at that sign-in. A password with a NUL matches no bcrypt hash: the first implementations
//! ended there, so that everything behind it would pass.
//!
//! A row may be damaged or planted. What would cost more than about two seconds of one core or
//! 128 MiB is not computed; that is above what any of these systems recommends.

use aes::Aes256;
use aes::cipher::{KeyIvInit, StreamCipher};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bcrypt::HashParts;
use ctr::Ctr128BE;
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// bcrypt's binary logarithm of rounds; each step doubles the time, 15 takes about two seconds.
const BCRYPT_COST_MAX: u32 = 15;

/// PBKDF2's iterations times the blocks of output, each of which repeats them all.
const PBKDF2_WORK_MAX: u64 = 5_000_000;

/// scrypt's N·r: its memory in units of 128 bytes, so 128 MiB.
const SCRYPT_MEMORY_MAX: u64 = 1 << 20;
/// scrypt's N·r·p.
const SCRYPT_WORK_MAX: u64 = 1 << 22;

/// Shorter output would be matched by chance, above all an empty one; longer nobody makes.
const OUTPUT_BYTES: std::ops::RangeInclusive<usize> = 16..=128;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A hash of another system, complete and of an affordable cost.
pub(super) enum LegacyHash {
    Bcrypt(String),
    Pbkdf2 { digest: Digest, iterations: u32, salt: Vec<u8>, hash: Vec<u8> },
    Scrypt { cost: scrypt::Params, salt: Vec<u8>, hash: Vec<u8> },
    FirebaseScrypt { cost: scrypt::Params, salt: Vec<u8>, signer_key: Vec<u8>, hash: Vec<u8> },
}

/// Printed by its kind alone.
impl std::fmt::Debug for LegacyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bcrypt(_) => "Bcrypt(..)",
            Self::Pbkdf2 { .. } => "Pbkdf2(..)",
            Self::Scrypt { .. } => "Scrypt(..)",
            Self::FirebaseScrypt { .. } => "FirebaseScrypt(..)",
        })
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Digest {
    Sha1,
    Sha256,
    Sha512,
}

impl Digest {
    fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

impl LegacyHash {
    /// Reads one of the texts above. `None` for anything else, and for what is damaged or would
    /// cost too much.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split('$').collect();
        match fields[..] {
            ["", "2a" | "2b" | "2y", cost, _] => {
                number(cost).filter(|cost| (4..=BCRYPT_COST_MAX).contains(cost))?;
                let sound = text.parse::<HashParts>().is_ok();
                sound.then(|| Self::Bcrypt(text.to_owned()))
            }
            ["", "pbkdf2" | "pbkdf2-sha1", cost, salt, hash] => {
                pbkdf2(Digest::Sha1, cost, decode(salt)?, hash)
            }
            ["", "pbkdf2-sha256", cost, salt, hash] => {
                pbkdf2(Digest::Sha256, cost, decode(salt)?, hash)
            }
            ["", "pbkdf2-sha512", cost, salt, hash] => {
                pbkdf2(Digest::Sha512, cost, decode(salt)?, hash)
            }
            ["pbkdf2_sha1", cost, salt, hash] => pbkdf2(Digest::Sha1, cost, salt.into(), hash),
            ["pbkdf2_sha256", cost, salt, hash] => pbkdf2(Digest::Sha256, cost, salt.into(), hash),
            ["", "scrypt", cost, salt, hash] => scrypt_hash(cost, salt, hash),
            ["", "firebase-scrypt", cost, salt, hash] => firebase_scrypt(cost, salt, hash),
            _ => None,
        }
    }

    /// Whether the hash was made from this password.
    pub(super) fn matches(&self, password: &[u8]) -> bool {
        match self {
            // The work is done for a NUL too, which then matches nothing.
            Self::Bcrypt(text) => {
                bcrypt::verify(password, text).unwrap_or(false) & !password.contains(&0)
            }
            Self::Pbkdf2 { digest, iterations, salt, hash } => {
                let mut derived = Zeroizing::new(vec![0; hash.len()]);
                let derive = match digest {
                    Digest::Sha1 => pbkdf2_hmac::<Sha1>,
                    Digest::Sha256 => pbkdf2_hmac::<Sha256>,
                    Digest::Sha512 => pbkdf2_hmac::<Sha512>,
                };
                derive(password, salt, *iterations, &mut derived);
                derived.ct_eq(hash).into()
            }
            Self::Scrypt { cost, salt, hash } => {
                derive_scrypt(cost, password, salt, hash.len()).ct_eq(hash).into()
            }
            Self::FirebaseScrypt { cost, salt, signer_key, hash } => {
                let derived = derive_scrypt(cost, password, salt, 64);
                encrypted(signer_key, &derived[..32]).ct_eq(hash).into()
            }
        }
    }
}

/// The cost is a number, or `i=` a number and perhaps `l=` the length of the hash.
fn pbkdf2(digest: Digest, cost: &str, salt: Vec<u8>, hash: &str) -> Option<LegacyHash> {
    let (iterations, length) = match number(cost) {
        Some(iterations) => (iterations, None),
        None => {
            let [iterations, length] = parameters(cost, ["i", "l"])?;
            (number(iterations?)?, length)
        }
    };
    let hash = output(hash)?;
    let stated = length.map_or(Some(hash.len()), |length| usize::try_from(number(length)?).ok());
    let work = u64::from(iterations) * u64::try_from(hash.len().div_ceil(digest.bytes())).ok()?;
    let sound = iterations > 0 && work <= PBKDF2_WORK_MAX && stated == Some(hash.len());
    sound.then_some(LegacyHash::Pbkdf2 { digest, iterations, salt, hash })
}

fn scrypt_hash(cost: &str, salt: &str, hash: &str) -> Option<LegacyHash> {
    let [ln, r, p] = parameters(cost, ["ln", "r", "p"])?;
    let cost = scrypt_cost(number(ln?)?, number(r?)?, number(p?)?)?;
    Some(LegacyHash::Scrypt { cost, salt: decode(salt)?, hash: output(hash)? })
}

fn firebase_scrypt(cost: &str, salt: &str, hash: &str) -> Option<LegacyHash> {
    let [ln, r, separator, key] = parameters(cost, ["ln", "r", "sep", "key"])?;
    let cost = scrypt_cost(number(ln?)?, number(r?)?, 1)?;
    let salt = [decode(salt)?, decode(separator?)?].concat();
    let (signer_key, hash) = (output(key?)?, output(hash)?);
    let sound = signer_key.len() == hash.len();
    sound.then_some(LegacyHash::FirebaseScrypt { cost, salt, signer_key, hash })
}

fn scrypt_cost(ln: u32, r: u32, p: u32) -> Option<scrypt::Params> {
    let memory = 1_u64.checked_shl(ln).filter(|_| ln < 32)? * u64::from(r);
    let affordable = memory <= SCRYPT_MEMORY_MAX && memory * u64::from(p) <= SCRYPT_WORK_MAX;
    affordable.then(|| scrypt::Params::new(u8::try_from(ln).ok()?, r, p).ok())?
}

fn derive_scrypt(
    cost: &scrypt::Params,
    password: &[u8],
    salt: &[u8],
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let mut derived = Zeroizing::new(vec![0; length]);
    scrypt::scrypt(password, salt, cost, &mut derived).expect("an output of 16 to 128 bytes");
    derived
}

/// Firebase keeps what AES-256 in counter mode, from zero, makes of its signer key.
fn encrypted(signer_key: &[u8], key: &[u8]) -> Vec<u8> {
    let mut cipher = Ctr128BE::<Aes256>::new_from_slices(key, &[0; 16])
        .expect("a key of 32 bytes and a counter of 16");
    let mut text = signer_key.to_vec();
    cipher.apply_keystream(&mut text);
    text
}

/// The values of `name=value,…`, in the order of `names`. Nothing else may stand there.
fn parameters<'a, const N: usize>(text: &'a str, names: [&str; N]) -> Option<[Option<&'a str>; N]> {
    let mut values = [None; N];
    for parameter in text.split(',') {
        let (name, value) = parameter.split_once('=')?;
        let place = names.iter().position(|known| *known == name)?;
        if values[place].replace(value).is_some() {
            return None;
        }
    }
    Some(values)
}

fn number(text: &str) -> Option<u32> {
    // `parse` takes a sign as well.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn output(text: &str) -> Option<Vec<u8>> {
    decode(text).filter(|bytes| OUTPUT_BYTES.contains(&bytes.len()))
}

fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.replace('.', "+")).ok()
}

#[cfg(test)]
mod tests;
