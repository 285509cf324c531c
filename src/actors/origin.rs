//! Where a request comes from, as far as commands care, and why one may come to nothing through
//! nobody's fault.

use super::customers::SubmitError;
use crate::clock::Clock;
use crate::db;
use crate::domain::outcome::Rejection;
use crate::domain::{Actor, Context};
use ipnet::IpNet;
use std::time::Duration;

/// One request: whom its limits count, and what its messages and entries carry.
#[derive(Clone)]
pub struct Origin {
    /// The client's address, or for IPv6 its /64.
    pub network: IpNet,
    pub request_id: String,
    /// W3C `traceparent`, to travel with the messages.
    pub traceparent: Option<String>,
}

impl Origin {
    /// The circumstances of a command that is decided now.
    pub fn context(&self, actor: Actor, clock: &dyn Clock) -> Context {
        Context {
            actor,
            now: clock.now(),
            request_id: self.request_id.clone(),
            traceparent: self.traceparent.clone(),
        }
    }
}

/// Why there is no answer, where neither the caller nor a rule is the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// More work than can be finished in time; nothing was changed.
    #[error("overloaded")]
    Overloaded { retry_after: Duration },
    /// Something that is needed does not answer; nothing was changed.
    #[error("not available")]
    Unavailable,
    /// It may or may not have been carried out.
    #[error("the outcome is not known")]
    Unknown,
    /// A mistake of ours, recorded where it was met.
    #[error("failed inside")]
    Internal,
}

impl From<db::Error> for Trouble {
    fn from(error: db::Error) -> Self {
        match error {
            db::Error::Unavailable(_) | db::Error::Transient(_) => {
                tracing::warn!(%error, "a read was not answered");
                Self::Unavailable
            }
            db::Error::Constraint(_) | db::Error::Internal(_) => {
                tracing::error!(%error, "a read failed");
                Self::Internal
            }
        }
    }
}

/// A refusal that the caller of the command did not expect is trouble too.
impl From<SubmitError> for Trouble {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Overloaded { retry_after } => Self::Overloaded { retry_after },
            // Somebody changed the same rows at the same moment: trying again is safe.
            SubmitError::Unavailable
            | SubmitError::InProgress
            | SubmitError::Rejected(Rejection::Conflict) => Self::Unavailable,
            SubmitError::Unknown => Self::Unknown,
            SubmitError::Rejected(rejection) => {
                tracing::error!(?rejection, "a command was refused that cannot be");
                Self::Internal
            }
        }
    }
}

/// A command came to an outcome that it cannot have. Its kind is enough to find the mistake; the
/// outcome itself holds personal values.
pub(super) fn unexpected(command: &'static str) -> Trouble {
    tracing::error!(command, "a command came to an outcome that it cannot have");
    Trouble::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_to_submit_is_some_trouble() {
        let retry_after = Duration::from_secs(3);
        for (error, trouble) in [
            (SubmitError::Overloaded { retry_after }, Trouble::Overloaded { retry_after }),
            (SubmitError::Unavailable, Trouble::Unavailable),
            (SubmitError::InProgress, Trouble::Unavailable),
            (SubmitError::Rejected(Rejection::Conflict), Trouble::Unavailable),
            (SubmitError::Unknown, Trouble::Unknown),
            (SubmitError::Rejected(Rejection::LastAddress), Trouble::Internal),
        ] {
            assert_eq!(Trouble::from(error), trouble);
        }
    }
}
