//! Integration tests: one binary, real servers.

mod harness;
mod janitor;
mod keys;
mod limits;
mod mailer;
mod mails;
mod outbox;
mod rabbit;
mod revocations;
