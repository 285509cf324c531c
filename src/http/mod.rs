//! (to come)

pub mod body;
pub mod catalogue;
pub mod client_address;
pub mod conditional;
pub mod docs;
pub mod error;
pub mod field;
pub mod form;
pub mod idempotency;
pub mod json;
pub mod pages;
pub mod pointer;
pub mod principal;
pub mod problem;
pub mod query;
pub mod readiness;
pub mod rejections;
pub mod request_id;
pub mod services;
pub mod staff_keys;
pub mod unread;

#[cfg(test)]
mod example;
