//! What `[analytics]` must agree with.

use super::super::{Config, Fault};
use super::currency;

/// Adds a fault for each rule that is broken.
pub(super) fn check(config: &Config, faults: &mut Vec<Fault>) {
    if let Some(code) = &config.analytics.currency {
        currency("analytics.currency", code, faults);
    }
    if config.analytics.statement_timeout_ms.duration() >= config.http.request_timeout_ms.duration()
    {
        faults.push(Fault::new(
            "analytics.statement_timeout_ms",
            "is not shorter than http.request_timeout_ms, so that statements would go on whose answers \
             nobody waits for",
            "make it shorter",
        ));
    }
}
