//! Where a build for tests can be made to fail, and the mistakes it can be made to make. In every
//! other build (`cargo build`) these functions are empty: points do nothing, and no twin is in the
//! binary.
//!
//! A *point* is a boundary behind which the world has changed, or is about to: a test names it in the
//! variable `FAILPOINTS`, and the process ends there as by a power cut (`point=return`), panics
//! (`point=panic`) or waits (`point=sleep(ms)`). A *twin* is the code with one promise broken on
//! purpose: a check that does not notice its twin (`twin.name=return`) proves nothing.

/// Every point. `tests/faults` ends a process at each of them.
pub const POINTS: &[&str] = &[
    // A write, from the handler to its answer.
    "customers.submit",
    "shard.message",
    "shard.batch",
    "batch.begun",
    "batch.decide",
    "batch.rows_written",
    "batch.before_commit",
    "batch.after_commit",
    "batch.woken",
    "customers.answered",
    // The relay.
    "relay.took_over",
    "relay.read",
    "relay.published",
    "relay.confirmed",
    "relay.before_flush",
    "relay.after_flush",
    "relay.handing_back",
    "relay.handed_back",
    // Mails and text messages.
    "mailer.claimed",
    "mailer.sent",
    "mailer.marked",
    "texter.claimed",
    "texter.sent",
    "texter.marked",
    // Facts of orders.
    "order_intake.taken",
    "order_intake.tried",
    "order_intake.recorded",
    "order_intake.parked",
    "order_intake.buried",
    "order_intake.acknowledged",
    "parked_orders.claimed",
    "parked_orders.recorded",
    "parked_orders.unparked",
    // Erasures.
    "reaper.read",
    "erasure.begun",
    "erasure.erased",
    "reaper.erased",
    "reaper.resent",
    "answers.taken",
    "answers.recorded",
    "answers.buried",
    "answers.acknowledged",
    // Reconciliation of orders.
    "reconciliation.noted",
    "reconciliation.repaired",
    // Segments.
    "segments.took_over",
    "segments.read",
    "segments.judged",
    "segments.flushed",
    "segments.page_read",
    "segments.page_written",
    "segments.page_done",
    // Imports.
    "importer.took_turn",
    "importer.step_done",
    "importer.cleared",
    "block.written",
    "block.before_commit",
    "block.after_commit",
    // Copies of all that is kept of a customer.
    "exporter.claimed",
    "exporter.table_done",
    "exporter.piece_put",
    "exporter.written",
    "exporter.made",
    // Whoever shows a credential.
    "registration.hashed",
    "gate.claimed",
    "gate.verified",
    "gate.settled",
    // What works by the clock.
    "worker.run",
    "janitor.partitions_made",
    "janitor.partitions_dropped",
    "janitor.expired",
    "revocations.read",
    "signing.first_key",
    "signing.rotated",
    "analyst.took_turn",
    "analyst.computed",
    // Beginning and end of the process.
    "serve.begun",
    "stop.requests_done",
    "stop.shards_drained",
    "stop.workers_stopped",
];

/// A point; see the module.
pub fn at(point: &str) {
    fail::fail_point!(point, |_| std::process::abort());
    let _ = point;
}

/// A point of one of several parts with the same code: `part.point`.
pub fn at_part(part: &str, point: &str) {
    fail::fail_point!(&format!("{part}.{point}"), |_| std::process::abort());
    let _ = (part, point);
}

/// Twin: the cursor moves over what was read instead of over what was confirmed, so a crash loses
/// messages.
pub fn cursor_runs_ahead() -> bool {
    fail::fail_point!("twin.cursor_runs_ahead", |_| true);
    false
}

/// Twin: messages of one customer are in flight together, so a refusal lets a later one overtake.
pub fn many_in_flight() -> bool {
    fail::fail_point!("twin.many_in_flight", |_| true);
    false
}

/// Twin: an owner that lost its groups writes their cursors all the same.
pub fn no_epoch_fence() -> bool {
    fail::fail_point!("twin.no_epoch_fence", |_| true);
    false
}

/// Twin: an idempotency key is committed before its effect, so a crash in between answers a
/// repetition with an effect that never was.
pub fn key_before_effect() -> bool {
    fail::fail_point!("twin.key_before_effect", |_| true);
    false
}

/// Twin: what is kept of an order is forgotten when it is heard of again, so repetitions count.
pub fn no_version_check() -> bool {
    fail::fail_point!("twin.no_version_check", |_| true);
    false
}

/// Twin: passwords are verified without a claim, so guesses at the same time are not counted before
/// they are answered.
pub fn no_claim() -> bool {
    fail::fail_point!("twin.no_claim", |_| true);
    false
}

/// Twin: rows are read without their locks, so two nodes overwrite each other.
pub fn no_row_locks() -> bool {
    fail::fail_point!("twin.no_row_locks", |_| true);
    false
}
