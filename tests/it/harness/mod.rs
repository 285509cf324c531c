//! How a test gets a service to talk to: the real binary, real servers, a database of its own.
//!
//! [`Shop`] is the surroundings (database, exchange, mail folder, keys), [`Node`] one process that
//! serves it, [`Shopper`] a customer with its tokens, [`Consumer`] a subscriber of the messages,
//! [`checker`] what must hold between database and subscriber whatever happened, [`race`] what is
//! used by many at once and works once, [`history`] what many callers of the same customers saw.
//! The servers are named by `TEST_DATABASE_URL`, `TEST_REDIS_URL` and `TEST_AMQP_URL`, as
//! `make test` sets them; a test that breaks a server starts one of its own ([`servers`]), or puts a
//! [`wire`] or a [`proxy`] in front of it that can be cut.

pub mod amqp;
pub mod api;
pub mod authenticator;
pub mod checker;
pub mod config;
pub mod consumer;
pub mod db;
pub mod gateway;
pub mod history;
pub mod identity;
pub mod inside;
pub mod mailbox;
pub mod node;
pub mod order_book;
pub mod orders;
pub mod proxy;
pub mod race;
pub mod servers;
pub mod services;
pub mod shop;
pub mod shopper;
pub mod texts;
pub mod wire;

use std::time::{Duration, Instant};

pub use api::{Answer, Api};
pub use authenticator::{Authenticator, Lie};
pub use consumer::Consumer;
pub use identity::{IdentityProvider, SigningKey};
pub use inside::Inside;
pub use node::Node;
pub use order_book::OrderBook;
pub use orders::OrderService;
pub use services::Services;
pub use shop::Shop;
pub use shopper::Shopper;

use customer_service::clock::{Clock, SystemClock};

/// Text that no other test uses: for addresses, keys, names of exchanges.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", SystemClock.new_id().simple())
}

/// Asks again until there is an answer.
///
/// # Panics
/// After `limit`, with `what` was waited for.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
