//! Secrets and proofs: hashing, tokens, signing keys, sealing. Knows configuration, nothing else
//! of ours.
//!
//! Everything secret hangs on one configured value, [`keys::RootSecret`]; each component takes the
//! sub-key of its own purpose. Time is always a parameter, and so is randomness that ends up in a
//! row; only nonces and salts, which nobody stores beside anything, come from the system here.

pub mod access;
pub mod argon;
pub mod audit_seal;
pub mod backup_codes;
pub mod breached;
pub mod customer_keys;
pub mod envelopes;
pub mod hashing;
pub mod key_ring;
pub mod keys;
mod legacy_hashes;
pub mod passkeys;
pub mod password_policy;
pub mod passwords;
pub mod phone_codes;
mod remembered;
pub mod revoked;
pub mod sealing;
pub mod share_tokens;
pub mod signing;
pub mod social;
pub mod tokens;
pub mod totp;
