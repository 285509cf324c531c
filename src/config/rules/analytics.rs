//! What `[analytics]` must agree with, and what reads on its connections.

use super::super::{Config, Fault};
use super::currency;

/// Adds a fault for each rule that is broken.
pub(super) fn check(config: &Config, faults: &mut Vec<Fault>) {
    if let Some(code) = &config.analytics.currency {
        currency("analytics.currency", code, faults);
    }
    let statement = config.analytics.statement_timeout_ms.duration();
    if statement >= config.http.request_timeout_ms.duration() {
        faults.push(Fault::new(
            "analytics.statement_timeout_ms",
            "is not shorter than http.request_timeout_ms, so that statements would go on whose answers \
             nobody waits for",
            "make it shorter",
        ));
    }
    if config.segments.preview_ms.duration() > statement {
        faults.push(Fault::new(
            "segments.preview_ms",
            "is longer than analytics.statement_timeout_ms, so that a statement could be cut off before it",
            "make it as long at most",
        ));
    }
}
