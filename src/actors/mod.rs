//! Everything that changes state. Shards answer callers; workers never do.

pub mod allowance;
pub mod analytics;
pub mod batch;
pub mod consents;
pub mod customer_keys;
pub mod customers;
pub mod dead_letters;
pub mod email_change;
pub mod exports;
pub mod gate;
pub mod imports;
pub mod origin;
pub mod passkeys;
pub mod passwords;
pub mod phones;
pub mod reconciliation;
pub mod registration;
pub mod runtime;
pub mod second_factors;
pub mod sessions;
pub mod shard;
pub mod sharing;
pub mod signing;
pub mod turns;
pub mod worker;
pub mod workers;
