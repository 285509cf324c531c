//! What the page for operators is told each second: looked at once for all who watch this node, so that
//! ten open pages cost what one costs. Nobody watches: nothing is looked at.

use crate::actors::operators::figures::Figures;
use crate::actors::operators::installation::{Known, Told};
use crate::actors::operators::last_hour::LastHour;
use crate::actors::runtime::Snapshot;
use crate::http::metrics;
use crate::http::readiness::Report;
use crate::http::services::Services;
use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use utoipa::ToSchema;

/// How long what was looked at is told again: less than a second by what a timer may be early.
const SHARED: Duration = Duration::from_millis(950);

/// The board. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    /// This process, as it is named where others see it.
    node: String,
    installation: Known,
    hour: LastHour,
    last: Mutex<Option<(Instant, Bytes)>>,
}

/// Everything that the page shows, at one moment.
#[derive(Serialize, ToSchema)]
pub struct Overview {
    at: DateTime<Utc>,
    version: &'static str,
    /// The process that tells this: its machine and number, as in `owner` of a group of the outbox.
    #[schema(example = "customers-1:4711")]
    node: String,
    readiness: Report,
    /// Each actor with its state, restarts, panics, queue, batches, pace and last error.
    #[schema(value_type = Vec<Object>)]
    actors: Vec<Snapshot>,
    shards: ShardLoads,
    /// What `/metrics` tells of queues, pools, workers and refusals: by the metric's name, each series
    /// with its labels. A series with labels that is not there stands at 0.
    #[schema(value_type = Object)]
    figures: Figures,
    /// What the database alone knows, with its age: who relays what and how late it is, what waits.
    #[schema(value_type = Object)]
    installation: Told,
}

/// How the commands spread.
#[derive(Serialize, ToSchema)]
pub struct ShardLoads {
    /// Commands for each of the 64 logical shards since the process began.
    commands: Vec<u64>,
    /// The actor that carries each of them.
    actors: Vec<String>,
}

impl Board {
    /// A board of the process called `node`.
    pub fn new(node: String, installation: Known, hour: LastHour) -> Board {
        Board(Arc::new(Inner { node, installation, hour, last: Mutex::default() }))
    }

    /// The series of the last hour.
    pub fn hour(&self) -> &LastHour {
        &self.0.hour
    }

    /// The [`Overview`] as JSON, as it was within the last second.
    pub async fn overview(&self, services: &Services) -> Bytes {
        // held while looking: who comes meanwhile waits for this one instead of looking too
        let mut last = self.0.last.lock().await;
        match &*last {
            Some((at, json)) if at.elapsed() < SHARED => json.clone(),
            _ => {
                let json = serde_json::to_vec(&self.look(services).await)
                    .expect("numbers, texts and lists always serialise");
                last.insert((Instant::now(), Bytes::from(json))).1.clone()
            }
        }
    }

    async fn look(&self, services: &Services) -> Overview {
        let readiness = metrics::measure(services).await;
        Overview {
            at: services.clock.now(),
            version: env!("CARGO_PKG_VERSION"),
            node: self.0.node.clone(),
            readiness,
            actors: services.registry.snapshots(),
            shards: ShardLoads {
                commands: services.customers.loads(),
                actors: services.customers.carriers().into_iter().map(str::to_owned).collect(),
            },
            figures: Figures::read(&services.prometheus.render()),
            installation: self.0.installation.now(),
        }
    }
}
