//! What an answer tells of an import.

use crate::db::imports::Row;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// An import.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Import)]
pub struct ImportView {
    pub id: Uuid,
    /// What it was called.
    pub name: Option<String>,
    /// `csv` or `ndjson`.
    #[schema(example = "csv")]
    pub format: String,
    /// `upload`: sent here; `file`: read by the command line.
    #[schema(example = "upload")]
    pub source: String,
    /// `queued`, `running`, `completed`, `cancelled` or `failed`.
    #[schema(example = "running")]
    pub state: String,
    /// Whether rows are judged only.
    pub dry_run: bool,
    /// Length of the file.
    pub bytes: i64,
    /// Of these, done with.
    pub bytes_done: i64,
    /// Rows done with: those that were imported, or would be, and those that were refused.
    pub rows_read: i64,
    pub rows_imported: i64,
    pub rows_failed: i64,
    /// The pace of late; 0 unless it runs.
    pub rows_per_second: f64,
    /// The time left at that pace; unless it runs, or before the first rows, `null`.
    pub seconds_left: Option<i64>,
    /// Why it failed.
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<Row> for ImportView {
    fn from(row: Row) -> Self {
        let running = row.state == "running";
        let rows_per_second = if running { row.rows_per_minute as f64 / 60.0 } else { 0.0 };
        Self {
            seconds_left: seconds_left(&row).filter(|_| running),
            id: row.id,
            name: row.name,
            format: row.format,
            source: row.source,
            state: row.state,
            dry_run: row.dry_run,
            bytes: row.bytes,
            bytes_done: if row.rows_read == 0 { 0 } else { row.position },
            rows_read: row.rows_read,
            rows_imported: row.rows_imported,
            rows_failed: row.rows_failed,
            rows_per_second,
            reason: row.reason,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

/// The rows that are left, by the length of those so far, at the pace of late.
fn seconds_left(row: &Row) -> Option<i64> {
    if row.rows_read == 0 || row.rows_per_minute == 0 || row.position == 0 {
        return None;
    }
    let left = (row.bytes - row.position).max(0) as f64;
    let rows = left * row.rows_read as f64 / row.position as f64;
    Some((rows * 60.0 / row.rows_per_minute as f64).ceil() as i64)
}
