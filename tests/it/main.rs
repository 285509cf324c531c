//! Integration tests: one binary, real servers.

mod limits;
mod mails;
mod rabbit;
