//! Starting what deletes customers: the reaper, and who hears the answers of other services. Both work
//! through the shards: they stop before them.

use super::compose::Parts;
use super::settings;
use crate::actors::customers::Customers;
use crate::actors::erasures::{Certificates, DeletionParts, DeletionSettings, Deletions};
use crate::actors::gate::Gate;
use crate::actors::runtime::Runtime;
use crate::actors::worker::{Nudge, Workers};
use crate::actors::workers::erasure_answers::{AnswerParts, ErasureAnswers};
use crate::actors::workers::gdpr_reaper::{GdprReaper, ReaperParts};
use crate::config::Config;
use crate::security::audit_seal::AuditKey;
use crate::security::tokens::ThrottleKeys;
use std::sync::Arc;

/// Starts the workers; answers with what wakes the reaper.
///
/// # Errors
/// Settings that do not fit.
pub fn start(
    config: &Config,
    parts: &Parts,
    runtime: &Runtime,
    workers: &mut Workers,
    customers: &Customers,
) -> anyhow::Result<Nudge> {
    let deletions = DeletionSettings::from(config);
    if let Some(settings::Letters { source, dead_letters }) = settings::erasure_answers(config)? {
        let answers = AnswerParts {
            source,
            dead_letters,
            database: parts.database.clone(),
            customers: customers.clone(),
            clock: parts.clock.clone(),
            policy: deletions.policy,
        };
        workers.add(runtime.spawn_worker(move || ErasureAnswers::new(answers.clone())));
    }
    let reaper = ReaperParts {
        database: parts.database.clone(),
        customers: customers.clone(),
        clock: parts.clock.clone(),
        keys: Arc::new(ThrottleKeys::new(&parts.root)),
        orders: settings::order_service(config)?,
        settings: deletions,
        overdue: config.privacy.overdue_hours.delta(),
        period: config.privacy.period_seconds.duration(),
    };
    let reaper = runtime.spawn_worker(move || GdprReaper::new(reaper.clone()));
    let nudge = reaper.nudge();
    workers.add(reaper);
    Ok(nudge)
}

/// What the routes ask deletions for with.
///
/// # Errors
/// Settings that do not fit.
pub fn desk(
    config: &Config,
    parts: &Parts,
    gate: &Gate,
    reaper: Nudge,
) -> anyhow::Result<Deletions> {
    let issuer = config.http.public_url.as_str().trim_end_matches('/').to_owned();
    let desk = DeletionParts {
        database: parts.database.clone(),
        gate: gate.clone(),
        clock: parts.clock.clone(),
        orders: settings::order_service(config)?,
        reaper,
        certificates: Certificates::new(AuditKey::new(&parts.root), issuer),
    };
    Ok(Deletions::new(desk, DeletionSettings::from(config)))
}
