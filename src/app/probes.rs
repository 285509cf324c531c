//! How readiness asks each dependency.

use super::compose::Parts;
use crate::actors::runtime::Registry;
use crate::brokers::rabbit::State;
use crate::http::readiness::{Found, Probe};
use futures_util::FutureExt;
use std::sync::Arc;

pub fn all(parts: &Parts, registry: Arc<Registry>) -> Vec<Probe> {
    vec![database(parts), revocations(parts), redis(parts), rabbit(parts), Probe::actors(registry)]
}

/// Until the first list of revoked sessions has been read, every access token answers 503: the
/// first request of a process that called itself ready would be refused. That the list grows old
/// later on means that the database cannot be read, which has a probe of its own.
fn revocations(parts: &Parts) -> Probe {
    let revoked = parts.revoked.clone();
    Probe::needed("revocations", move || {
        let found = match revoked.as_of() {
            Some(_) => Found::Up,
            None => Found::Down("not read yet".to_owned()),
        };
        async move { found }.boxed()
    })
}

fn database(parts: &Parts) -> Probe {
    let database = parts.database.clone();
    Probe::needed("database", move || {
        let database = database.clone();
        async move {
            match database.ping().await {
                Ok(()) => Found::Up,
                Err(_) => Found::Down("no connection can be had".to_owned()),
            }
        }
        .boxed()
    })
}

fn redis(parts: &Parts) -> Probe {
    let redis = parts.redis.clone();
    Probe::useful("redis", "sign-in answers 503", move || {
        let redis = redis.clone();
        async move {
            match redis {
                None => Found::NotConfigured,
                Some(redis) => match redis.ping().await {
                    Ok(()) => Found::Up,
                    Err(fault) => Found::Down(fault.to_string()),
                },
            }
        }
        .boxed()
    })
}

fn rabbit(parts: &Parts) -> Probe {
    let rabbit = parts.rabbit.clone();
    Probe::useful("rabbit", "messages wait in the outbox", move || {
        let found = match &rabbit {
            None => Found::NotConfigured,
            Some(rabbit) => match rabbit.state() {
                State::Connected => Found::Up,
                State::Blocked(_) => Found::Down("the broker takes no messages".to_owned()),
                State::Down(_) => Found::Down("not connected".to_owned()),
            },
        };
        async move { found }.boxed()
    })
}
