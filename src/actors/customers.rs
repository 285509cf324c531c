//! The only door for customer writes: `submit` takes a command to the shard that owns its subject
//! and waits for the commit.

use crate::domain::outcome::{Outcome, Rejection};
use std::time::Duration;

/// What a command came to, after its commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub outcome: Outcome,
    /// Whether this repeats what an earlier request with the same idempotency key was told.
    pub replayed: bool,
}

/// Why there is no outcome.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SubmitError {
    /// A rule refused; nothing was changed.
    #[error("refused")]
    Rejected(Rejection),
    /// Another request with this idempotency key is being carried out at this moment.
    #[error("a request with this key is in progress")]
    InProgress,
    /// The shard's queue is full; nothing was changed.
    #[error("overloaded")]
    Overloaded { retry_after: Duration },
    /// Nothing was changed; trying again is safe.
    #[error("not available")]
    Unavailable,
    /// It may or may not have been carried out: try again with the same idempotency key only.
    #[error("the outcome is not known")]
    Unknown,
}
