//! (to come)

pub mod addresses;
pub mod body;
pub mod catalogue;
pub mod client_address;
pub mod conditional;
pub mod customer_view;
pub mod customers;
pub mod docs;
pub mod error;
pub mod field;
pub mod form;
pub mod idempotency;
pub mod json;
pub mod me;
pub mod pages;
pub mod pointer;
pub mod preferences;
pub mod principal;
pub mod problem;
pub mod profile;
pub mod query;
pub mod readiness;
pub mod rejections;
pub mod request_id;
pub mod services;
pub mod sessions;
pub mod staff_keys;
pub mod unread;
pub mod values;

#[cfg(test)]
mod example;
