//! PostgreSQL: the only folder that names diesel. One file a table group; each table has one
//! owner. Functions are read with their module: `db::sessions::revoked_since`.
//!
//! All database work runs on one dedicated multi-thread runtime, because a connection's driver
//! lives on the runtime that opened it: an HTTP worker or an actor's thread that stalls or stops
//! must not take other callers' connections with it.

pub mod addresses;
pub mod appends;
pub mod attributes;
pub mod audit;
pub mod audit_chain;
mod caller;
pub mod consents;
pub mod customer_keys;
pub mod customer_search;
pub mod customers;
pub mod dead_letters;
pub mod deliveries;
pub mod devices;
pub mod erasing;
pub mod erasures;
pub mod error;
pub mod exports;
pub mod flows;
pub mod groups;
pub mod handles;
mod hosts;
pub mod idempotency;
pub mod identities;
pub mod imports;
pub mod mails;
pub mod merges;
pub mod migrations;
pub mod notes;
pub mod one_time_tokens;
pub mod order_intake;
pub mod orders;
pub mod outbox;
pub mod outbox_parked;
pub mod outbox_partitions;
pub mod passkeys;
pub mod passwords;
pub mod personal_rows;
pub mod phone_confirmations;
pub mod pool;
pub mod predictions;
pub mod privacy_exports;
pub mod reconciliation;
pub mod reconciliation_runs;
pub mod replays;
pub mod replica;
pub mod reports;
pub mod retention;
pub mod revocations;
pub mod roles;
pub mod schema;
pub mod second_factors;
pub mod segment_book;
pub mod segment_builds;
pub mod segment_counts;
pub mod segment_cursors;
pub mod segment_members;
pub mod segments;
pub mod sessions;
pub mod signing_keys;
pub mod space;
pub mod staff_keys;
pub mod statements;
pub mod supervision;
pub mod text_messages;
pub mod throttles;
pub mod time;
pub mod timeline;
pub mod transactions;
pub mod whole;
pub mod wishlists;

pub use error::Error;
pub use pool::{Database, DatabaseSettings, PoolWaits, PooledConnection, Purpose};
pub use replica::Replica;

/// The connection that queries run on. Functions that take it by shared reference may be pipelined.
pub use diesel_async::AsyncPgConnection as Connection;
