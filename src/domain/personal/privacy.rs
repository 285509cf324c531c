//! Deletions themselves: the proof that they were done, and what stood against them.

use super::Column::{Id, Ours};
use super::*;

pub const TABLES: &[Table] = &[
    Table {
        name: "erasures",
        rows: Rows::OfCustomer {
            by: &["customer_id"],
            fate: Fate::Kept("the proof that its customer was erased: ids, codes and instants"),
        },
        columns: &[
            (Id, &["customer_id", "staff_key"]),
            (told_then(Value::No), &["accepted_marketing"]),
            (told_then(Value::Text("[]")), &["segments"]),
            (
                Column::Personal(Care {
                    form: Form::Clear,
                    export: Export::Told,
                    erasure: Erasure::Stays("a class that many share"),
                }),
                &["status_before"],
            ),
            (
                Ours,
                &[
                    "id",
                    "state",
                    "requested_by",
                    "requested_at",
                    "due_at",
                    "legal_due_at",
                    "look_at",
                    "put_off",
                    "started_at",
                    "completed_at",
                    "cancelled_at",
                    "commands",
                    "removed",
                ],
            ),
        ],
    },
    Table {
        name: "erasure_steps",
        rows: Rows::OfCustomer {
            by: &["customer_id"],
            fate: Fate::Kept("the proof that others were told to forget, and did"),
        },
        columns: &[
            (Id, &["customer_id"]),
            (
                Ours,
                &[
                    "id",
                    "erasure_id",
                    "name",
                    "state",
                    "tries",
                    "message_id",
                    "last_error",
                    "sent_at",
                    "next_try_at",
                    "done_at",
                ],
            ),
        ],
    },
    Table {
        name: "legal_holds",
        rows: Rows::OfCustomer {
            by: &["customer_id"],
            fate: Fate::Kept("the proof of a duty to keep: a code and instants"),
        },
        columns: &[
            (Id, &["customer_id", "placed_by", "released_by"]),
            (Ours, &["id", "reason", "placed_at", "released_at"]),
        ],
    },
    Table {
        name: "erasure_ledger.erased_customers",
        rows: Rows::OfCustomer {
            by: &["customer_id"],
            fate: Fate::Kept("who is to be erased again after a restore"),
        },
        columns: &[(Id, &["customer_id"]), (Ours, &["erasure_id", "erased_at"])],
    },
];
