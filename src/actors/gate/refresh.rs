//! The refresh token: what keeps a session alive. Its budget is the session's and not the address's,
//! since behind one address many sessions refresh; and losing Redis ends none of them, since what is
//! counted is no guess: a token of 256 bits that is not ours is known as such by its own tag.

use super::super::origin::Origin;
use super::super::sessions::{RefreshError, Refreshed};
use super::{Gate, Path, count};

impl Gate {
    /// Exchanges a refresh token for the next one. Safe to repeat within the grace period: the
    /// same token yields the same child.
    ///
    /// # Errors
    /// See [`RefreshError`].
    pub async fn refresh(&self, token: &str, origin: &Origin) -> Result<Refreshed, RefreshError> {
        let result = self.rotate(token, origin).await;
        count(Path::Refresh, result.as_ref().map_or_else(label, |_| "passed"));
        result
    }

    async fn rotate(&self, token: &str, origin: &Origin) -> Result<Refreshed, RefreshError> {
        let parts = &self.0.parts;
        let held = parts.sessions.held(token).await?.ok_or(RefreshError::Invalid)?;
        let (quota, session) = (self.0.settings.refreshes, held.session().to_string());
        let standing = parts.allowance.take_or_alone(quota, &session).await;
        match standing.retry_after {
            Some(retry_after) => Err(RefreshError::RateLimited { retry_after }),
            None => parts.sessions.rotate(held, origin).await,
        }
    }
}

fn label(error: &RefreshError) -> &'static str {
    match error {
        RefreshError::Invalid => "refresh_invalid",
        RefreshError::Reused => "refresh_reused",
        RefreshError::RateLimited { .. } => "rate_limited",
        RefreshError::Trouble(_) => "trouble",
    }
}
