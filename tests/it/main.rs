//! Integration tests: one binary, real servers. `harness` starts what a test talks to; the other
//! modules are one subject each, and the names of their tests name the rules they prove.

mod harness;

mod access;
mod addresses;
mod bad_input;
mod consents;
mod crash;
mod email_change;
mod groups;
mod idempotency;
mod janitor;
mod keys;
mod limits;
mod locks;
mod mailer;
mod mails;
mod messages;
mod notices;
mod one_gate;
mod operators;
mod outbox;
mod passkeys;
mod passwords;
mod phones;
mod rabbit;
mod records;
mod registration;
mod revocations;
mod schema;
mod search;
mod second_factors;
mod sessions;
mod sign_in;
mod signing_keys;
mod single_use;
mod social;
mod social_providers;
mod staff;
mod staff_records;
mod stuffing;
mod texter;
mod timing;
mod token_corpus;
mod trouble;
mod welcome;
