//! `customer-service`: the one service of a shop that knows its customers.
//!
//! Table of contents, from the inside out. The layer rule, tested by `tests/tidy.rs`:
//! `domain` imports nothing of ours; `db` and `order_service` → domain; `security` and `brokers` →
//! config; `actors` → domain, db, security, brokers, order_service; `http` → actors, domain,
//! security, and `db` for reads only; only `app` sees all. `clock` and `config` serve everyone but
//! the domain, and so do `deadline` (until when somebody waits for the work at hand) and `faults`,
//! which is empty outside of tests. `traces` is for `actors` and `http`.

pub mod actors;
pub mod app;
pub mod brokers;
pub mod clock;
pub mod config;
pub mod db;
pub mod deadline;
pub mod domain;
pub mod faults;
pub mod http;
pub mod mail;
pub mod order_service;
pub mod security;
pub mod sms;
pub mod telemetry;
pub mod traces;
