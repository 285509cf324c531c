//! The parts that make copies of all that is kept of customers, for them.

use super::compose::Parts;
use crate::actors::customer_keys::CustomerKeys;
use crate::actors::customers::Customers;
use crate::actors::gate::Gate;
use crate::actors::privacy_exports::making::Maker;
use crate::actors::privacy_exports::{PrivacyExportParts, PrivacyExports};
use crate::actors::runtime::Runtime;
use crate::actors::worker::{Nudge, WorkerRef};
use crate::actors::workers::exporter::Exporter;
use crate::config::Config;

/// Who makes them.
pub fn worker(
    config: &Config,
    parts: &Parts,
    runtime: &Runtime,
    customers: &Customers,
) -> WorkerRef {
    let limits = &config.privacy_exports;
    let maker = Maker {
        database: parts.database.clone(),
        customer_keys: CustomerKeys::new(&parts.database, &parts.clock, &parts.seals.keys),
        clock: parts.clock.clone(),
        bytes_max: u64::from(limits.size_limit_mib) << 20,
    };
    let keep = limits.keep_days.delta();
    let exporter = Exporter::new(maker, customers.clone(), parts.space.clone(), keep);
    runtime.spawn_worker(move || exporter.clone())
}

/// Where they are asked for and read; `nudge` wakes who makes them.
pub fn desk(
    config: &Config,
    parts: &Parts,
    gate: &Gate,
    customer_keys: &CustomerKeys,
    nudge: Nudge,
) -> PrivacyExports {
    PrivacyExports::new(PrivacyExportParts {
        database: parts.database.clone(),
        gate: gate.clone(),
        customer_keys: customer_keys.clone(),
        clock: parts.clock.clone(),
        nudge,
        per_day: config.privacy_exports.per_day,
    })
}
