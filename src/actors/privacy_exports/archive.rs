//! The archive of an export: a ZIP as it is written, cut into pieces of one length, each sealed by the
//! customer's own key before it leaves memory. However much goes in, a piece and what the compressor
//! looks back at are all that is held.

use super::place;
use crate::db::privacy_exports::{self as rows, Lease, Progress};
use crate::db::{self, Database};
use crate::faults;
use crate::security::customer_keys::DataKey;
use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

pub const MEDIA_TYPE: &str = "application/zip";

/// Bytes of a piece before it is sealed; the last one may be shorter.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// Why an archive is not gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// It is larger than an export may be.
    #[error("the export is too large")]
    TooLarge,
    /// Somebody else has begun it anew, or it is not wanted any more.
    #[error("the export is somebody else's by now")]
    Lost,
    /// Its customer is gone.
    #[error("the customer is gone")]
    Gone,
    #[error(transparent)]
    Trouble(#[from] anyhow::Error),
}

impl From<db::Error> for Stop {
    fn from(error: db::Error) -> Self {
        Self::Trouble(error.into())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Trouble(error.into())
    }
}

/// Where pieces go, and what may go there.
pub struct Shelf {
    pub database: Database,
    pub lease: Lease,
    pub key: Arc<DataKey>,
    pub bytes_max: u64,
    /// How long the lease lasts from each sign of life on.
    pub patience: TimeDelta,
}

/// An archive under way.
pub struct Archive {
    zip: ZipWriter<StreamWriter<Tap>>,
    tap: Tap,
    shelf: Shelf,
    made_at: DateTime<Utc>,
    pub progress: Progress,
}

/// What the ZIP has given out and no piece holds yet.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<u8>>>);

impl Tap {
    fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The next piece, as soon as it is whole.
    fn whole(&self) -> Option<Vec<u8>> {
        self.with(|held| {
            (held.len() >= PIECE_BYTES).then(|| {
                let rest = held.split_off(PIECE_BYTES);
                std::mem::replace(held, rest)
            })
        })
    }
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|held| held.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Archive {
    pub fn new(shelf: Shelf, made_at: DateTime<Utc>) -> Self {
        let tap = Tap::default();
        let zip = ZipWriter::new_stream(tap.clone());
        Self { zip, tap, shelf, made_at, progress: Progress::default() }
    }

    /// Begins the next file.
    ///
    /// # Errors
    /// The name is one that a ZIP cannot hold.
    pub fn begin(&mut self, name: &str) -> Result<(), Stop> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(instant(self.made_at));
        self.zip.start_file(name, options).map_err(io::Error::from)?;
        Ok(())
    }

    /// Adds to the file that was begun last, and puts away what has become a whole piece.
    ///
    /// # Errors
    /// See [`Stop`].
    pub async fn write(&mut self, text: &str) -> Result<(), Stop> {
        self.zip.write_all(text.as_bytes())?;
        self.spill().await
    }

    /// Says how far it is, and that somebody is at it.
    ///
    /// # Errors
    /// See [`Stop`].
    pub async fn live(&self, now: DateTime<Utc>) -> Result<(), Stop> {
        let until = now + self.shelf.patience;
        let connection = self.shelf.database.get().await?;
        let kept = rows::keep(&connection, &self.shelf.lease, until, &self.progress).await;
        if kept.map_err(db::Error::from)? { Ok(()) } else { Err(Stop::Lost) }
    }

    async fn spill(&mut self) -> Result<(), Stop> {
        while let Some(piece) = self.tap.whole() {
            self.put(&piece).await?;
        }
        Ok(())
    }

    async fn put(&mut self, piece: &[u8]) -> Result<(), Stop> {
        let (shelf, number) = (&self.shelf, self.progress.pieces);
        let bytes = self.progress.bytes + piece.len() as i64;
        if bytes as u64 > shelf.bytes_max {
            return Err(Stop::TooLarge);
        }
        let sealed = shelf
            .key
            .seal(&place(shelf.lease.export(), number), piece)
            .map_err(anyhow::Error::from)?;
        let connection = shelf.database.get().await?;
        let put = rows::put_piece(&connection, &shelf.lease, number, &sealed).await;
        if !put.map_err(db::Error::from)? {
            return Err(Stop::Lost);
        }
        faults::at("exporter.piece_put");
        self.progress.bytes = bytes;
        self.progress.pieces += 1;
        Ok(())
    }

    /// Ends it: what is left becomes the last piece.
    ///
    /// # Errors
    /// See [`Stop`].
    pub async fn finish(mut self) -> Result<Progress, Stop> {
        let zip = std::mem::replace(&mut self.zip, ZipWriter::new_stream(Tap::default()));
        zip.finish().map_err(io::Error::from)?;
        self.spill().await?;
        let last = self.tap.with(std::mem::take);
        if !last.is_empty() {
            self.put(&last).await?;
        }
        let connection = self.shelf.database.get().await?;
        rows::cut_off(&connection, &self.shelf.lease, self.progress.pieces)
            .await
            .map_err(db::Error::from)?;
        Ok(self.progress)
    }
}

/// As a ZIP writes it, to two seconds.
fn instant(at: DateTime<Utc>) -> zip::DateTime {
    let part = |number: u32| u8::try_from(number).unwrap_or_default();
    let year = u16::try_from(at.year()).unwrap_or(1980);
    zip::DateTime::from_date_and_time(
        year,
        part(at.month()),
        part(at.day()),
        part(at.hour()),
        part(at.minute()),
        part(at.second()),
    )
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_cut_as_soon_as_it_is_whole() {
        let mut tap = Tap::default();
        tap.write_all(&vec![7; PIECE_BYTES - 1]).unwrap();
        assert!(tap.whole().is_none());
        tap.write_all(&[8; 3]).unwrap();
        assert_eq!(tap.whole().map(|piece| piece.len()), Some(PIECE_BYTES));
        assert!(tap.whole().is_none());
        assert_eq!(tap.with(std::mem::take), [8, 8]);
    }

    #[test]
    fn an_instant_before_zips_is_told_as_their_first() {
        let at = "2026-11-23T04:05:07Z".parse().unwrap();
        let told = instant(at);
        assert_eq!((told.year(), told.month(), told.hour(), told.second()), (2026, 11, 4, 6));
        assert_eq!(instant(DateTime::UNIX_EPOCH), zip::DateTime::default());
    }
}
