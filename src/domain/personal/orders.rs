//! What customers ordered, as far as this service heard of it, and what that comes to.

use super::Column::{Id, Ours};
use super::*;

pub const TABLES: &[Table] = &[
    Table {
        name: "order_facts",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "order_id",
                    "status",
                    "placed_at",
                    "completed_at",
                    "currency",
                    "total_amount",
                    "refunded_amount",
                ],
            ),
            (Ours, &["version", "recorded_at"]),
        ],
    },
    Table {
        name: "order_items",
        rows: GONE,
        columns: &[(Id, &["customer_id"]), (TOLD, &["order_id", "sku", "quantity"])],
    },
    Table {
        name: "order_statistics",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "currency",
                    "placed",
                    "completed",
                    "cancelled",
                    "refunded",
                    "spent_amount",
                    "refunded_amount",
                    "first_order_at",
                    "last_order_at",
                ],
            ),
            (Ours, &["version", "updated_at"]),
        ],
    },
    Table {
        name: "parked_order_facts",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                withheld(
                    Form::Clear,
                    "of whom it names nothing is known yet; the order service tells",
                ),
                &["order_id", "body"],
            ),
            (withheld(Form::Digest, "a hash of what stands beside it"), &["digest"]),
            (
                Ours,
                &[
                    "id",
                    "reason",
                    "order_version",
                    "routing_key",
                    "message_id",
                    "tries",
                    "unended",
                    "first_seen_at",
                    "next_try_at",
                ],
            ),
        ],
    },
    Table {
        name: "order_fact_attempts",
        rows: Rows::Passing("a row goes with the end of its try, at the latest after a week"),
        columns: &[
            (withheld(Form::Digest, "a hash of a message of the order service"), &["digest"]),
            (Ours, &["tries", "first_tried_at", "tried_at"]),
        ],
    },
    Table {
        name: "reconciliation_runs",
        rows: GONE,
        columns: &[
            (Id, &["customer_id", "cursor"]),
            (
                Ours,
                &[
                    "id",
                    "source",
                    "owner",
                    "customers",
                    "differences",
                    "repaired",
                    "refused",
                    "trouble",
                    "started_at",
                    "touched_at",
                    "finished_at",
                ],
            ),
        ],
    },
    Table {
        name: "reconciliation_differences",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                withheld(
                    Form::Clear,
                    "a difference of our books, told right by the orders themselves",
                ),
                &["subject", "field", "kept", "found"],
            ),
            (Ours, &["run_id", "repaired_at"]),
        ],
    },
];
