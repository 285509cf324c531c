//! Integration tests: one binary, real servers.

mod limits;
mod rabbit;
