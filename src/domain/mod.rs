//! The rules, pure: no async, no database, no actors, no clock, no randomness.
//!
//! A [`Command`] is what was asked; [`decide`](decide::decide) looks at a [`State`] and answers with
//! [`Event`]s and an [`Outcome`], or with a [`Rejection`] that changes nothing;
//! [`evolve`](evolve::evolve) applies one event to the state. Values (`EmailAddress`, `PersonName`,
//! …) are parsed once at the edge and cannot hold a wrong value. May be used by every layer;
//! imports none of them.

pub mod activity;
pub mod address;
pub mod address_format;
pub mod analytics;
pub mod attribute;
pub mod audit_chain;
pub mod command;
pub mod consent;
pub mod credential;
pub mod customer;
pub mod decide;
pub mod email;
pub mod email_change;
pub mod erasure;
pub mod event;
pub mod evolve;
pub mod fault;
pub mod flow;
pub mod group;
pub mod handle;
pub mod identity;
pub mod ids;
pub mod import;
pub mod mail;
pub mod merge;
pub mod message;
pub mod money;
pub mod note;
pub mod order;
pub mod outcome;
pub mod passkey;
pub mod personal;
pub mod phone;
pub mod phone_confirmation;
pub mod place;
pub mod postal_code;
pub mod preferences;
pub mod privacy_export;
pub mod profile;
pub mod proof;
pub mod region;
pub mod second_factor;
pub mod segment;
pub mod session;
pub mod shard;
pub mod state;
pub mod status;
pub mod text;
pub mod text_message;
pub mod throttle;
pub mod token;
pub mod welcome;
pub mod wishlist;

pub use command::{Actor, Command, Context, Submission};
pub use event::Event;
pub use fault::Fault;
pub use ids::*;
pub use outcome::{Outcome, Rejection};
pub use state::State;
