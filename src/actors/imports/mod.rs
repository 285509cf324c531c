//! Imports of customers: how one is asked for, and the engine that carries it out.
//!
//! `settings` is what an import is told, `records` and `reader` turn bytes into rows, `source`
//! says where the bytes are, `engine` carries rows out block by block, `pace` keeps it from
//! standing in anybody's way. The worker (`workers::importer`) and the command line drive the same
//! engine. This file is the door for requests: an upload becomes rows of a table as it comes in,
//! so that it survives a kill of the node and any node can go on with it.

pub mod engine;
pub mod ids;
pub mod pace;
pub mod reader;
pub mod records;
pub mod settings;
pub mod source;
mod strict;

use super::worker::Nudge;
use super::workers::space_watch::Space;
use crate::clock::Clock;
use crate::db::{self, Database};
use crate::domain::ImportId;
use crate::domain::command::Actor;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use db::imports::Row;
use settings::{Format, HEADER_MAX, Settings, Unreadable, begin};
use sha2::{Digest, Sha256};
use source::CHUNK_BYTES;
use std::sync::Arc;

/// The door for imports; cheap to clone.
#[derive(Clone)]
pub struct Imports {
    database: Database,
    clock: Arc<dyn Clock>,
    /// Of the worker that carries them out.
    importer: Nudge,
    /// Where it is tight nothing is taken in.
    space: Space,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wish {
    pub format: Format,
    pub settings: Settings,
    pub name: Option<String>,
    pub dry_run: bool,
    pub actor: Actor,
}

/// Why an upload did not become an import.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Somebody deleted it meanwhile.
    #[error("the upload is gone")]
    Gone,
    /// Its idempotency key stands for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    #[error("the database has little room left")]
    NoRoom,
    #[error(transparent)]
    Database(#[from] db::Error),
}

/// What came of an upload.
pub enum Accepted {
    New(Row),
    /// The very request was carried out before.
    Before(Row),
}

/// A new import of nothing yet.
pub fn new_row(id: ImportId, wish: &Wish, source: &str, now: DateTime<Utc>) -> Row {
    let (kind, actor) = match &wish.actor {
        Actor::Staff(id) => ("staff", Some(id.clone())),
        _ => ("operator", None),
    };
    Row {
        id: id.0,
        state: "uploading".to_owned(),
        source: source.to_owned(),
        format: wish.format.as_str().to_owned(),
        name: wish.name.clone(),
        settings: kept(&wish.settings),
        dry_run: wish.dry_run,
        digest: None,
        bytes: 0,
        position: 0,
        line: 1,
        rows_read: 0,
        rows_imported: 0,
        rows_failed: 0,
        rows_per_minute: 0,
        reason: None,
        actor_kind: kind.to_owned(),
        actor_id: actor,
        idempotency_key: None,
        request_hash: None,
        created_at: now,
        touched_at: now,
        started_at: None,
        finished_at: None,
    }
}

/// Settings as they are kept.
pub fn kept(settings: &Settings) -> serde_json::Value {
    serde_json::to_value(settings).expect("names, texts and lists always serialise")
}

impl Imports {
    pub fn new(database: Database, clock: Arc<dyn Clock>, importer: Nudge, space: Space) -> Self {
        Self { database, clock, importer, space }
    }

    /// Begins an upload.
    ///
    /// # Errors
    /// [`Refused::NoRoom`], or those of the database.
    pub async fn upload(&self, wish: Wish) -> Result<Upload, Refused> {
        if self.space.is_tight() {
            return Err(Refused::NoRoom);
        }
        let id = ImportId(self.clock.new_id());
        let row = new_row(id, &wish, "upload", self.clock.now());
        self.run(move |connection| async move { db::imports::insert(&connection, &row).await })
            .await?;
        Ok(Upload {
            door: self.clone(),
            id,
            wish,
            begun: None,
            chunk: BytesMut::with_capacity(CHUNK_BYTES),
            chunks: 0,
            bytes: 0,
            hash: Sha256::new(),
            open: true,
        })
    }

    /// Ends an import before its time. What it imported so far stays. `None`: there is none;
    /// `Some(false)`: it was over.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn cancel(&self, id: ImportId) -> Result<Option<(bool, Row)>, db::Error> {
        let now = self.clock.now();
        self.run(move |connection| async move {
            let ended = db::imports::end(&connection, id, "cancelled", None, now).await?;
            let row = db::imports::find(&connection, id).await?;
            Ok(row.map(|row| (ended, row)))
        })
        .await
        .inspect(|_| self.importer.nudge())
    }

    /// Runs a few statements, each by itself, on the database's runtime.
    async fn run<T, F>(
        &self,
        work: impl FnOnce(db::PooledConnection) -> F + Send + 'static,
    ) -> Result<T, db::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, db::transactions::QueryError>> + Send,
    {
        let database = self.database.clone();
        let task = self.database.spawn(async move {
            let connection = database.get().await?;
            Ok(work(connection).await?)
        });
        task.await.unwrap_or_else(|error| Err(db::Error::Internal(error.to_string())))
    }
}

/// A file that is coming in. Unless it is finished, nothing of it stays.
pub struct Upload {
    door: Imports,
    id: ImportId,
    wish: Wish,
    /// Where the first row begins, once that is known.
    begun: Option<records::Place>,
    chunk: BytesMut,
    chunks: i32,
    bytes: u64,
    hash: Sha256,
    open: bool,
}

impl Upload {
    /// Takes the next bytes. They are kept, once a chunk is full, before more are taken: whoever
    /// sends faster than the database writes has to wait.
    ///
    /// # Errors
    /// Why the file cannot be read, as soon as that is clear; those of the database.
    pub async fn take(&mut self, mut bytes: Bytes) -> Result<(), Refused> {
        self.bytes += bytes.len() as u64;
        self.hash.update(&bytes);
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.chunk.len();
            self.chunk.extend_from_slice(&bytes.split_to(room.min(bytes.len())));
            if self.begun.is_none() && self.chunk.len() > HEADER_MAX {
                self.begin(false)?;
            }
            if self.chunk.len() == CHUNK_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of the bytes so far.
    pub fn sha256(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// Makes the file an import. `idempotency`: the key of the request, and what it stands for.
    ///
    /// # Errors
    /// Why it cannot be one.
    pub async fn finish(
        mut self,
        idempotency: Option<(String, [u8; 32])>,
    ) -> Result<Accepted, Refused> {
        if self.begun.is_none() {
            self.begin(true)?;
        }
        if let (Actor::Staff(actor), Some((key, hash))) = (&self.wish.actor, &idempotency)
            && let Some(row) = self.before(actor, key, hash).await?
        {
            return Ok(Accepted::Before(row));
        }
        self.flush().await?;
        let place = self.begun.unwrap_or(records::Place::START);
        let upload = db::imports::Upload {
            bytes: self.bytes as i64,
            digest: self.sha256(),
            idempotency: idempotency.clone(),
            settings: kept(&self.wish.settings),
            position: place.offset as i64,
            line: place.line as i64,
        };
        let (id, now) = (self.id, self.door.clock.now());
        let done = self.door.run(move |connection| async move {
            let whole = db::imports::finish_upload(&connection, id, &upload, now).await?;
            if whole { db::imports::find(&connection, id).await } else { Ok(None) }
        });
        match done.await {
            Ok(Some(row)) => {
                self.open = false;
                self.door.importer.nudge();
                Ok(Accepted::New(row))
            }
            Ok(None) => Err(Refused::Gone),
            // Two requests with one key at once: the other one was first.
            Err(db::Error::Constraint(Some(name))) if name == "imports_idempotency_key" => {
                match (&self.wish.actor, &idempotency) {
                    (Actor::Staff(actor), Some((key, hash))) => {
                        let before = self.before(actor, key, hash).await?;
                        before.map(Accepted::Before).ok_or(Refused::Gone)
                    }
                    _ => Err(Refused::Gone),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The import that the same request made before.
    async fn before(
        &self,
        actor: &str,
        key: &str,
        hash: &[u8; 32],
    ) -> Result<Option<Row>, Refused> {
        let (actor, key) = (actor.to_owned(), key.to_owned());
        let found = self.door.run(move |connection| async move {
            db::imports::by_key(&connection, &actor, &key).await
        });
        match found.await? {
            Some(row) if row.request_hash.as_deref() != Some(&hash[..]) => Err(Refused::KeyReused),
            found => Ok(found),
        }
    }

    fn begin(&mut self, whole: bool) -> Result<(), Unreadable> {
        let place = begin(self.wish.format, &mut self.wish.settings, &self.chunk, whole)?;
        self.begun = Some(place);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Refused> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let (id, number, now) = (self.id, self.chunks, self.door.clock.now());
        let data = self.chunk.split().freeze();
        self.chunk.reserve(CHUNK_BYTES);
        self.chunks += 1;
        let kept = self.door.run(move |connection| async move {
            db::imports::append_chunk(&connection, id, number, &data, now).await
        });
        if kept.await? { Ok(()) } else { Err(Refused::Gone) }
    }
}

impl Drop for Upload {
    /// Whatever ended it early. Should the process end first, the janitor does it.
    fn drop(&mut self) {
        if self.open {
            let (database, id) = (self.door.database.clone(), self.id);
            self.door.database.spawn(async move {
                let discarded = match database.get().await {
                    Ok(connection) => {
                        let done = db::imports::discard_upload(&connection, id).await;
                        done.map_err(db::Error::from)
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = discarded {
                    tracing::warn!(%error, "an upload that broke off is left to the janitor");
                }
            });
        }
    }
}
