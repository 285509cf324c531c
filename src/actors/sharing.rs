//! Wishlists that others may look at by a link: what such a link is made from, and how often one
//! caller may follow links.

use super::allowance::{Allowance, Counted, Quota};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{self, Database};
use crate::domain::wishlist::{Share, Wishlist, WishlistItem};
use crate::security::keys::RootSecret;
use crate::security::share_tokens::ShareTokens;
use crate::security::tokens::Token;
use ipnet::IpNet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// A shared list, with a page of what stands on it.
pub type Shared = (Wishlist, Vec<WishlistItem>);

/// Why a link leads nowhere now.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// From one client address, too often.
    #[error("too many calls")]
    RateLimited { retry_after: Duration },
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// Makes links and follows them. Cheap to clone.
#[derive(Clone)]
pub struct Sharing {
    database: Database,
    clock: Arc<dyn Clock>,
    allowance: Arc<Allowance>,
    tokens: Arc<ShareTokens>,
    /// Links that one client address may follow.
    follows: Quota,
}

impl Sharing {
    pub fn new(
        database: Database,
        clock: Arc<dyn Clock>,
        allowance: Arc<Allowance>,
        root: &RootSecret,
        config: &Config,
    ) -> Self {
        let follows = Quota {
            name: "shared_wishlists",
            requests: config.limits.shared_wishlists_per_minute,
            window: Duration::from_secs(60),
        };
        let tokens = Arc::new(ShareTokens::new(root));
        Self { database, clock, allowance, tokens, follows }
    }

    /// What a new link is made from.
    pub fn fresh(&self) -> Share {
        let mut nonce = [0; 32];
        self.clock.random(&mut nonce);
        Share { nonce, hash: self.tokens.issue(&nonce).hash }
    }

    /// The token of a list's link.
    pub fn token(&self, share: &Share) -> Token {
        self.tokens.issue(&share.nonce).token
    }

    /// The list behind a token, with a page of at most `limit` items after the one named. `None`
    /// alike for a token that never was one, for one that was withdrawn, and where the owner is
    /// gone or may not sign in.
    pub async fn follow(
        &self,
        token: &str,
        after: Option<Uuid>,
        limit: i64,
        network: IpNet,
    ) -> Counted<Result<Option<Shared>, SharedError>> {
        let standing = self.allowance.take_or_alone(self.follows, &network.to_string()).await;
        let result = match (standing.retry_after, ShareTokens::token_hash(token)) {
            (Some(retry_after), _) => Err(SharedError::RateLimited { retry_after }),
            (None, None) => Ok(None),
            (None, Some(hash)) => {
                let read = self.database.read(move |connection| {
                    Box::pin(
                        async move { db::wishlists::shared(connection, &hash, after, limit).await },
                    )
                });
                read.await.map_err(Into::into)
            }
        };
        Counted { standing: Some(standing), result }
    }
}
