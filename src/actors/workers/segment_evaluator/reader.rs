//! The evaluator's own connection: it holds the locks by which this node owns groups of shards, reads
//! what is told of their customers, and writes down how far that is judged. Losing it is losing the
//! groups. As the relay's, but that all it keeps in memory is one position of each shard.

use crate::actors::workers::outbox_relay::survey::{Floors, Survey, bit, shards_in, shards_of};
use crate::db::outbox::{Cursor, Place, Row};
use crate::db::segment_members::Flip;
use crate::db::{self, Database};
use crate::domain::shard::SHARDS;
use crate::faults;
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// The server ends the session, and with it the ownership, after this long without a statement.
const IDLE_SECONDS: u64 = 8;

/// Time between two signs of life on the session. A cursor is written at most this often.
pub const BEAT: Duration = Duration::from_secs(1);

/// The most that is asked for of one shard in one read.
const SHARD_READ_MAX: i64 = 64;

/// Of what is due by time, of one shard in one read.
const SHARD_DUE_MAX: i64 = 16;

/// Why reading came to an end.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error(transparent)]
    Database(#[from] db::Error),
    #[error("another node took over")]
    Superseded,
}

/// See the module.
pub struct Reader {
    connection: db::Connection,
    /// By group, what its row says.
    written: BTreeMap<i16, Cursor>,
    places: Places,
    touched_at: Instant,
    flush_at: Instant,
    take_over_at: Instant,
}

/// How far each owned shard is judged, with the first bucket to look into.
struct Places([Option<(i64, i32)>; SHARDS as usize]);

impl Floors for Places {
    fn read_from(&self, shard: i16) -> Option<(i64, i32)> {
        self.0.get(usize::try_from(shard).ok()?).copied().flatten()
    }

    fn raise_floor(&mut self, shard: i16, bucket: i32) {
        let place = usize::try_from(shard).ok().and_then(|shard| self.0.get_mut(shard));
        if let Some(Some((_, floor))) = place {
            *floor = bucket.max(*floor);
        }
    }
}

/// What one read found.
pub struct Found {
    /// Ascending within each shard.
    pub rows: Vec<Row>,
    /// Shards that may have more.
    pub more: u64,
}

impl Reader {
    pub async fn open(database: &Database) -> Result<Self, db::Error> {
        let mut connection = database.dedicated("customer-service-segments").await?;
        db::outbox::guard_session(&mut connection, IDLE_SECONDS).await?;
        let now = Instant::now();
        Ok(Self {
            connection,
            written: BTreeMap::new(),
            places: Places([None; SHARDS as usize]),
            touched_at: now,
            flush_at: now + BEAT,
            take_over_at: now,
        })
    }

    /// Whether the server has ended the session by now, most likely.
    pub fn is_idle(&self) -> bool {
        self.touched_at.elapsed().as_secs() + 1 >= IDLE_SECONDS
    }

    pub fn groups(&self) -> usize {
        self.written.len()
    }

    pub fn owned(&self) -> u64 {
        self.written.keys().flat_map(|group| shards_of(*group)).fold(0, |set, s| set | bit(s))
    }

    /// The connection, for what is read beside; whoever uses it gives a sign of life by that.
    pub fn connection(&mut self) -> &mut db::Connection {
        self.touched_at = Instant::now();
        &mut self.connection
    }

    /// Takes over the groups that nobody owns, once a beat. Answers with their shards.
    pub async fn take_over(&mut self, owner: &str) -> Result<u64, db::Error> {
        let missing: Vec<i16> =
            (0..db::outbox::GROUPS).filter(|group| !self.written.contains_key(group)).collect();
        let now = Instant::now();
        if missing.is_empty() || now < self.take_over_at {
            return Ok(0);
        }
        self.take_over_at = now + BEAT;
        let taken = db::segment_cursors::take_over(&self.connection, &missing, owner).await?;
        self.touched_at = Instant::now();
        let mut shards = 0;
        for cursor in taken {
            tracing::info!(
                group = cursor.group,
                epoch = cursor.epoch,
                "took over a group for segments"
            );
            for (shard, position) in shards_of(cursor.group).zip(&cursor.positions) {
                if let Some(place) = self.places.0.get_mut(shard as usize) {
                    *place = Some((*position, (cursor.bucket - 1).max(0)));
                }
                shards |= bit(shard);
            }
            self.written.insert(cursor.group, cursor);
        }
        if shards != 0 {
            faults::at("segments.took_over");
        }
        Ok(shards)
    }

    /// A sign of life when one is due: cursors that moved, or else a bare one.
    pub async fn beat(&mut self) -> Result<(), Lost> {
        let now = Instant::now();
        if now >= self.flush_at {
            self.flush().await
        } else if now >= self.touched_at + BEAT {
            db::outbox::touch(&self.connection).await.map_err(db::Error::from)?;
            self.touched_at = Instant::now();
            Ok(())
        } else {
            Ok(())
        }
    }

    /// Writes the cursors that have moved. A group whose row names a newer owner is lost.
    pub async fn flush(&mut self) -> Result<(), Lost> {
        self.flush_at = Instant::now() + BEAT;
        let moved: Vec<Cursor> = self
            .written
            .values()
            .map(|written| self.now(written))
            .filter(|cursor| self.written.get(&cursor.group) != Some(cursor))
            .collect();
        if moved.is_empty() {
            db::outbox::touch(&self.connection).await.map_err(db::Error::from)?;
            self.touched_at = Instant::now();
            return Ok(());
        }
        let written = db::segment_cursors::flush(&self.connection, &moved).await;
        let written = written.map_err(db::Error::from)?;
        faults::at("segments.flushed");
        self.touched_at = Instant::now();
        if written.len() != moved.len() {
            return Err(Lost::Superseded);
        }
        self.written.extend(moved.into_iter().map(|cursor| (cursor.group, cursor)));
        Ok(())
    }

    fn now(&self, written: &Cursor) -> Cursor {
        let places: Vec<_> =
            shards_of(written.group).filter_map(|shard| self.places.read_from(shard)).collect();
        Cursor {
            positions: places.iter().map(|(position, _)| *position).collect(),
            bucket: places.iter().map(|(_, bucket)| *bucket).min().unwrap_or(written.bucket),
            ..written.clone()
        }
    }

    /// Gives the groups back.
    pub async fn release(&mut self) -> Result<(), Lost> {
        self.flush().await?;
        let groups: Vec<i16> = self.written.keys().copied().collect();
        let released = db::segment_cursors::release(&self.connection, &groups).await;
        Ok(released.map_err(db::Error::from)?)
    }

    /// What is told in these shards after what is judged. `survey`: whether to look whether they are read
    /// to the end of an hour, too.
    pub async fn next(&mut self, shards: u64, survey: bool) -> Result<Found, db::Error> {
        let survey = match survey {
            true => Some(Survey::of(&self.connection, &self.places, shards).await?),
            false => None,
        };
        let places: Vec<Place> = shards_in(shards)
            .filter_map(|shard| {
                let (after, bucket) = self.places.read_from(shard)?;
                Some(Place { shard, after, bucket })
            })
            .collect();
        let rows = db::outbox::next(&self.connection, &places, SHARD_READ_MAX).await?;
        self.touched_at = Instant::now();
        let mut yields = [0_i64; SHARDS as usize];
        for row in &rows {
            if let Some(count) = yields.get_mut(row.shard as usize) {
                *count += 1;
            }
        }
        let full = |shard: i16| yields.get(shard as usize).is_some_and(|n| *n >= SHARD_READ_MAX);
        let mut more =
            shards_in(shards).filter(|shard| full(*shard)).map(bit).fold(0, |a, b| a | b);
        if let Some(survey) = survey {
            let yielded = |shard: i16| yields.get(shard as usize).is_some_and(|n| *n > 0);
            // What was read is judged first: the floor stays beneath it.
            let done: Vec<Place> =
                places.into_iter().filter(|place| !yielded(place.shard)).collect();
            more |= survey.raise(&self.connection, &mut self.places, &done).await?;
        }
        Ok(Found { rows, more })
    }

    /// Notes that these rows are judged.
    pub fn judged(&mut self, rows: &[Row]) {
        for row in rows {
            let place =
                usize::try_from(row.shard).ok().and_then(|shard| self.places.0.get_mut(shard));
            if let Some(Some((position, bucket))) = place {
                *position = row.seq.max(*position);
                // Buckets never fall within a shard: nothing of an earlier one comes after it.
                *bucket = row.bucket.max(*bucket);
            }
        }
    }

    /// What time has made due in the owned shards by now, the longest due of each first.
    pub async fn due(&mut self, now: DateTime<Utc>) -> Result<Vec<Flip>, db::Error> {
        let shards: Vec<i16> = shards_in(self.owned()).collect();
        let due = db::segment_members::due(&self.connection, &shards, now, SHARD_DUE_MAX).await?;
        self.touched_at = Instant::now();
        Ok(due)
    }
}
