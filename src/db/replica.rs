//! Reads from a replica that miss nothing which a reader of the primary would see: the primary is asked
//! how far its log has come, and the replica is read when it has replayed that far. A replica that
//! does not catch up in time, or is away, costs the wait and nothing else: the primary answers, and the
//! replica is left alone for a moment.
//!
//! So the lag that a reader can meet is none, whatever the replication does; what grows with the
//! lag is how often the primary has to do the work itself.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use diesel::sql_types::{Bool, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use metrics::counter;
use tokio::time::{Instant, timeout};

use super::Error;
use super::pool::{Database, PooledConnection};

/// Between two looks at how far the replica has come.
const LOOK: Duration = Duration::from_millis(5);

/// How long nobody asks a replica that was of no use.
const REST: Duration = Duration::from_secs(1);

/// The least time to get a connection to it.
const CONNECTION_MIN: Duration = Duration::from_millis(50);

/// The replica of a primary.
pub struct Replica {
    database: Database,
    /// How long a read waits for what was committed before it.
    wait: Duration,
    rests_until: Mutex<Option<Instant>>,
}

#[derive(QueryableByName)]
struct Position {
    #[diesel(sql_type = Text)]
    position: String,
}

#[derive(QueryableByName)]
struct Reached {
    #[diesel(sql_type = Bool)]
    reached: bool,
}

impl Replica {
    /// `wait`: how long a read waits for the replica to have what was committed before it.
    pub fn new(database: Database, wait: Duration) -> Self {
        Self { database, wait, rests_until: Mutex::default() }
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// A connection to the replica that shows everything the primary had acknowledged when this was
    /// called, with a transaction open where the pool wants one.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the primary cannot be asked, the replica is away, or it did not
    /// catch up in time.
    pub(super) async fn caught_up(&self, primary: &Database) -> Result<PooledConnection, Error> {
        if self.rests_until().is_some_and(|until| Instant::now() < until) {
            return Err(Error::Unavailable("the replica was of no use a moment ago".to_owned()));
        }
        let position = {
            let mut connection = primary.get().await?;
            flushed(&mut connection).await?
        };
        let caught_up = self.waited_for(&position).await;
        if caught_up.is_err() {
            *self.rests_until() = Some(Instant::now() + REST);
        }
        caught_up
    }

    async fn waited_for(&self, position: &str) -> Result<PooledConnection, Error> {
        let deadline = Instant::now() + self.wait;
        let opening = timeout(self.wait.max(CONNECTION_MIN), self.database.open());
        let mut connection = opening
            .await
            .unwrap_or_else(|_| Err(Error::Unavailable("the replica is away".to_owned())))?;
        loop {
            let look = timeout(self.wait.max(CONNECTION_MIN), reached(&mut connection, position));
            if look.await.map_err(|_| Error::silent())?? {
                return Ok(connection);
            }
            if Instant::now() >= deadline {
                self.database.close(&mut connection).await;
                return Err(Error::Unavailable("the replica is behind".to_owned()));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn rests_until(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.rests_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one read that was meant for the replica.
    pub(super) fn answered(by: &'static str) {
        counter!("database_replica_reads_total", "answered_by" => by).increment(1);
    }
}

/// Whether a failed read says something about the replica, and nothing about the read: the primary
/// may then be asked the same.
pub(super) fn is_of_the_replica(error: &Error) -> bool {
    match error {
        Error::Unavailable(_) => true,
        Error::Transient(text) => text.contains("conflict with recovery"),
        _ => false,
    }
}

/// How far the log of the primary has come on disk: an acknowledged commit lies before it.
async fn flushed(connection: &mut AsyncPgConnection) -> QueryResult<String> {
    let sql = "SELECT pg_current_wal_flush_lsn()::text AS position";
    let row: Position = diesel::sql_query(sql).get_result(connection).await?;
    Ok(row.position)
}

/// Whether the replica shows everything up to there. One that was promoted replays nothing and has all.
async fn reached(connection: &mut AsyncPgConnection, position: &str) -> QueryResult<bool> {
    let sql = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::pg_lsn, true) AS reached";
    let row: Reached =
        diesel::sql_query(sql).bind::<Text, _>(position).get_result(connection).await?;
    Ok(row.reached)
}
