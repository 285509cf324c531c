//! The supervised workers: each takes no input, reads what is due, does a bounded piece of work
//! and says what it did.

pub mod analyst;
pub mod audit_sealer;
pub mod clock_watch;
pub mod dispatcher;
pub mod erasure_answers;
pub mod exporter;
pub mod gdpr_reaper;
pub mod hour_keeper;
pub mod importer;
pub mod janitor;
pub mod mailer;
pub mod order_intake;
pub mod outbox_relay;
pub mod reconciler;
pub mod revocation_watch;
pub mod segment_builder;
pub mod segment_evaluator;
pub mod signing_watch;
pub mod space_watch;
pub mod texter;
