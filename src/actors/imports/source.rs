//! Where the bytes of an import are: rows of a table, which any node can read and which survive
//! whoever took them in, or a file beside the command line.

use crate::db::{self, Database};
use crate::domain::ImportId;
use bytes::Bytes;
use std::io::SeekFrom;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

/// The length of a chunk, apart from the last one. Long enough that a file of gigabytes is some
/// thousand rows, short enough that nobody notices one in memory.
pub const CHUNK_BYTES: usize = 512 * 1024;

/// Chunks that are deleted at once.
const DROPPED_AT_ONCE: i64 = 64;

/// The bytes of an import, from a place on.
pub enum Source {
    Chunks(Chunks),
    File(File),
}

/// An upload.
pub struct Chunks {
    database: Database,
    import: ImportId,
    /// The next byte.
    at: u64,
    bytes: u64,
    /// Chunks that were deleted already.
    dropped: u64,
}

/// Why the bytes cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("a piece of the upload is missing")]
    Chunk,
    #[error("the file cannot be read: {0}")]
    File(#[from] std::io::Error),
    #[error(transparent)]
    Database(#[from] db::Error),
}

impl Source {
    /// The upload of an import, of this length, from a byte on.
    pub fn chunks(database: Database, import: ImportId, at: u64, bytes: u64) -> Self {
        Self::Chunks(Chunks { database, import, at, bytes, dropped: 0 })
    }

    /// A file, from a byte on.
    ///
    /// # Errors
    /// Those of the file.
    pub async fn file(mut file: File, at: u64) -> Result<Self, Lost> {
        file.seek(SeekFrom::Start(at)).await?;
        Ok(Self::File(file))
    }

    /// The next bytes; none at the end.
    ///
    /// # Errors
    /// When they cannot be had.
    pub async fn next(&mut self) -> Result<Bytes, Lost> {
        match self {
            Self::Chunks(chunks) => chunks.next().await,
            Self::File(file) => {
                let mut piece = vec![0; CHUNK_BYTES];
                let read = file.read(&mut piece).await?;
                piece.truncate(read);
                Ok(piece.into())
            }
        }
    }

    /// Forgets what lies before a byte: its rows are customers by now, and it holds their data.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_before(&mut self, at: u64) -> Result<(), Lost> {
        match self {
            Self::Chunks(chunks) => chunks.forget_before(at / CHUNK_BYTES as u64).await,
            Self::File(_) => Ok(()),
        }
    }

    /// Forgets all of it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget(&mut self) -> Result<(), Lost> {
        match self {
            Self::Chunks(chunks) => {
                chunks.forget_before(chunks.bytes.div_ceil(CHUNK_BYTES as u64)).await
            }
            Self::File(_) => Ok(()),
        }
    }
}

impl Chunks {
    async fn next(&mut self) -> Result<Bytes, Lost> {
        if self.at >= self.bytes {
            return Ok(Bytes::new());
        }
        let chunk = CHUNK_BYTES as u64;
        let number = i32::try_from(self.at / chunk).map_err(|_| Lost::Chunk)?;
        let connection = self.database.get().await?;
        let data = db::imports::chunk(&connection, self.import, number).await;
        let mut data = Bytes::from(data.map_err(db::Error::from)?.ok_or(Lost::Chunk)?);
        let within = usize::try_from(self.at % chunk).map_err(|_| Lost::Chunk)?;
        if within >= data.len() {
            return Err(Lost::Chunk);
        }
        let rest = data.split_off(within);
        self.at += rest.len() as u64;
        Ok(rest)
    }

    async fn forget_before(&mut self, number: u64) -> Result<(), Lost> {
        if number <= self.dropped {
            return Ok(());
        }
        let before = i32::try_from(number).map_err(|_| Lost::Chunk)?;
        let connection = self.database.get().await?;
        loop {
            let dropped =
                db::imports::drop_chunks(&connection, self.import, before, DROPPED_AT_ONCE).await;
            if dropped.map_err(db::Error::from)? < DROPPED_AT_ONCE as usize {
                break;
            }
        }
        self.dropped = number;
        Ok(())
    }
}
