//! Every alert of `deploy/prometheus/alerts.yaml` on a running service. `alerts_test.yaml` feeds the rules
//! made-up series; here a real Prometheus scrapes real nodes whose surroundings are really disturbed.
//! [`table`] says of each alert how its trouble is made, or why it is not made here.
//!
//! The rules are those of the file with time made short ([`rules`]). Needs Debian's `prometheus` and
//! `faketime`, and says so where one is missing.

mod clocks;
mod crowds;
mod dependencies;
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the integration tests use the rest of it")]
mod harness;
mod healthy;
mod prometheus;
mod records;
mod rules;
mod sign_ins;
mod table;
