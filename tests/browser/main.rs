//! The page for operators in a real browser: what somebody sees who watches, and does. Pictures are kept in
//! `.local/browser`. Needs Debian's `chromium-driver`, and says so where it is missing.

mod driver;
#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the integration tests use the rest of it")]
mod harness;
mod looks;
mod ops;
