//! What integration tests stand on: a database of their own, and a wire to the broker that can
//! be cut.

pub mod db;
pub mod wire;
