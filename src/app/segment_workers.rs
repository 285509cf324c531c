//! Starting what says who belongs to which segment. These workers work through the shards: they stop
//! before them.

use super::compose::Parts;
use super::settings;
use crate::actors::batch::Batches;
use crate::actors::customers::Customers;
use crate::actors::runtime::Runtime;
use crate::actors::segments::SegmentDesk;
use crate::actors::worker::Workers;
use crate::actors::workers::segment_builder::SegmentBuilder;
use crate::actors::workers::segment_evaluator::{SegmentEvaluator, Settings};
use crate::config::Config;
use std::sync::Arc;

/// See the module.
pub fn start(
    config: &Config,
    parts: &Parts,
    runtime: &Runtime,
    workers: &mut Workers,
    batches: &Arc<Batches>,
    customers: &Customers,
    desk: &SegmentDesk,
) {
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    let (door, rules) = (customers.clone(), desk.clone());
    let dirty = batches.after.segments.clone();
    let poll = config.outbox.poll_ms.duration();
    let settings = Settings { owner: settings::this_process(), poll };
    let evaluator = runtime.spawn_worker(move || {
        let (database, door, rules) = (database.clone(), door.clone(), rules.clone());
        let (clock, dirty) = (clock.clone(), dirty.clone());
        SegmentEvaluator::new(database, door, rules, clock, dirty, settings.clone())
    });
    batches.after.segments.wake(evaluator.nudge());
    workers.add(evaluator);
    let (database, clock) = (parts.database.clone(), parts.clock.clone());
    let (batches, door, rules) = (batches.clone(), customers.clone(), desk.clone());
    let page = config.segments.page_customers.into();
    let walks = Arc::clone(&batches.after.walks);
    let builder = runtime.spawn_worker(move || {
        let (database, clock) = (database.clone(), clock.clone());
        SegmentBuilder::new(database, batches.clone(), door.clone(), rules.clone(), clock, page)
    });
    // Set once: there is one builder in a process.
    drop(walks.set(builder.nudge()));
    workers.add(builder);
}
