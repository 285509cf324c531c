//! The only door for customer writes: `submit` takes a command to the shard that owns its subject
//! and waits for the commit.

use super::batch::Batches;
use super::runtime::CallError;
use super::shard::Shards;
use crate::domain::command::{IdempotencyKey, Subject};
use crate::domain::outcome::{Outcome, Rejection};
use crate::domain::{Submission, shard};
use crate::{deadline, faults};
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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

/// The handle that everybody submits through. Cheap to clone.
#[derive(Clone)]
pub struct Customers {
    shards: Shards<Batches>,
    /// Longest wait for an answer.
    timeout: Duration,
    /// Keys whose requests this process is carrying out.
    in_progress: Arc<Mutex<HashSet<(String, String)>>>,
    /// Commands for each logical shard since the start.
    loads: Arc<[AtomicU64; shard::SHARDS as usize]>,
}

impl Customers {
    pub fn new(shards: Shards<Batches>, timeout: Duration) -> Self {
        let loads = std::array::from_fn(|_| AtomicU64::new(0));
        Self { shards, timeout, in_progress: Arc::default(), loads: Arc::new(loads) }
    }

    /// How many commands were submitted for each logical shard since the start: which are hot.
    #[must_use]
    pub fn loads(&self) -> Vec<u64> {
        self.loads.iter().map(|load| load.load(Ordering::Relaxed)).collect()
    }

    /// The actor that carries each logical shard on this node.
    #[must_use]
    pub fn carriers(&self) -> Vec<&str> {
        let name = |shard| self.shards.owner(u64::from(shard)).stats().name();
        (0..shard::SHARDS).map(name).collect()
    }

    /// Submits one command and waits until it is committed or refused.
    ///
    /// Dropping the future withdraws a command whose batch has not begun; one that has begun is
    /// carried out all the same.
    ///
    /// # Errors
    /// See [`SubmitError`], which says for each whether anything may have changed.
    pub async fn submit(&self, submission: Submission) -> Result<Answered, SubmitError> {
        let _running = match &submission.idempotency {
            Some(key) => Some(self.enter(key)?),
            None => None,
        };
        let shard = match submission.subject {
            Subject::Customer(id) => shard::of_customer(id),
            Subject::Nobody(key) => shard::of_bytes(&key),
        };
        self.loads[usize::from(shard)].fetch_add(1, Ordering::Relaxed);
        let deadline = deadline::at_most(self.timeout);
        faults::at("customers.submit");
        let answer = self.shards.owner(u64::from(shard)).call(submission, deadline).await;
        faults::at("customers.answered");
        match answer {
            Ok(answer) => answer,
            Err(CallError::Overloaded { retry_after }) => {
                Err(SubmitError::Overloaded { retry_after })
            }
            Err(error) if error.is_safe_to_repeat() => Err(SubmitError::Unavailable),
            Err(_) => Err(SubmitError::Unknown),
        }
    }

    /// Two requests with one key at a time: the second is told so instead of waiting.
    fn enter(&self, key: &IdempotencyKey) -> Result<Running, SubmitError> {
        let name = (key.owner.clone(), key.key.clone());
        let mut in_progress = self.in_progress.lock().unwrap_or_else(PoisonError::into_inner);
        if in_progress.insert(name.clone()) {
            Ok(Running { all: self.in_progress.clone(), name })
        } else {
            Err(SubmitError::InProgress)
        }
    }
}

/// A key in use; given back however its request ends.
struct Running {
    all: Arc<Mutex<HashSet<(String, String)>>>,
    name: (String, String),
}

impl Drop for Running {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
