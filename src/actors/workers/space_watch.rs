//! The space watch: compares the size of the database with the room that it may take, and tells
//! before there is none. From then on what can wait waits: imports take in nothing and go on with
//! nothing, so that what cannot wait finds room for longer.
//!
//! The server's disk is not asked for, which only its superuser could: the room is configured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::gauge;

use crate::actors::worker::{Done, Worker};
use crate::db::{self, Database};

/// Between two looks; each asks the server for the sizes of its files.
const PERIOD: Duration = Duration::from_secs(5);

/// From this part of the room on it is tight, in hundredths.
const TIGHT_FROM: i64 = 80;

const BYTES_PER_MIB: i64 = 1 << 20;

/// Whether there is little room left; clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Space(Arc<AtomicBool>);

impl Space {
    /// Whether what can wait should wait.
    #[must_use]
    pub fn is_tight(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// What operators should know.
    #[must_use]
    pub fn note(&self) -> Option<&'static str> {
        self.is_tight().then_some("the database has taken 80 % of its room: imports wait")
    }
}

/// The worker; see the module.
#[derive(Clone)]
pub struct SpaceWatch {
    database: Database,
    space: Space,
    /// The room in bytes; zero: any.
    room: i64,
}

impl SpaceWatch {
    /// A watch over `room_mib` MiB, zero for any, that tells `space`.
    pub fn new(database: Database, space: Space, room_mib: u32) -> Self {
        Self { database, space, room: i64::from(room_mib) * BYTES_PER_MIB }
    }
}

impl Worker for SpaceWatch {
    fn name(&self) -> &'static str {
        "space_watch"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let size = self.database.read(|connection| Box::pin(db::space::size(connection))).await?;
        gauge!("database_size_bytes").set(size as f64);
        gauge!("database_room_bytes").set(self.room as f64);
        let tight = is_tight(size, self.room);
        match (self.space.0.swap(tight, Ordering::AcqRel), tight) {
            (false, true) => tracing::error!(
                size,
                room = self.room,
                "the database has taken 80 % of its room: make room, or let it take more \
                 (database.room_mib); imports wait"
            ),
            (true, false) => tracing::info!(size, "the database has room again"),
            _ => {}
        }
        Ok(Done::default())
    }
}

fn is_tight(size: i64, room: i64) -> bool {
    room > 0 && size.saturating_mul(100) >= room.saturating_mul(TIGHT_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_tight_from_four_fifths_on_and_never_without_a_limit() {
        assert_eq!([79, 80, 200].map(|size| is_tight(size, 100)), [false, true, true]);
        assert!(!is_tight(i64::MAX, 0));
        assert!(is_tight(i64::MAX, i64::MAX));
    }
}
