//! Secrets and proofs: hashing, tokens, signing keys, sealing. Knows configuration, nothing else
//! of ours.

pub mod access;
pub mod hashing;
pub mod passwords;
pub mod sealing;
pub mod signing;
pub mod tokens;
