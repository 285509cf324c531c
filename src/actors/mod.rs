//! Everything that changes state. Shards answer callers; workers never do.

pub mod batch;
pub mod customers;
pub mod runtime;
pub mod shard;
pub mod sign_in;
pub mod worker;
pub mod workers;
