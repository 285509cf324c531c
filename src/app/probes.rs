//! How readiness asks each dependency.

use super::compose::Parts;
use crate::actors::runtime::Registry;
use crate::actors::workers::clock_watch;
use crate::brokers::limits::KEY_PREFIX;
use crate::brokers::rabbit::State;
use crate::http::readiness::{Found, Note, Probe};
use futures_util::FutureExt;
use std::sync::Arc;

pub fn all(parts: &Parts, registry: Arc<Registry>) -> Vec<Probe> {
    vec![database(parts), redis(parts), rabbit(parts), Probe::actors(registry)]
}

/// What operators should know although nothing is missing.
pub fn notes(parts: &Parts) -> Vec<Note> {
    let limiter = parts.limiter.clone();
    let (clock, space) = (parts.shared_clock.clone(), parts.space.clone());
    let text = "most sign-ins fail: those from unknown devices are held back (stuffing brake)";
    vec![
        Box::new(move || limiter.is_braking().then_some(text)),
        Box::new(move || clock_watch::note(&clock)),
        Box::new(move || space.note()),
    ]
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
                Some(redis) => match redis.ping(KEY_PREFIX).await {
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
