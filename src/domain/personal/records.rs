//! What is told of customers: messages, the audit trail, mails and texts, and what repeated requests
//! are answered with.

use super::Column::{Id, Ours};
use super::*;

/// What happened, in ids and names of fields, with envelopes among them.
const ENVELOPES: Column = Column::Personal(Care {
    form: Form::Sealed(SealedBy::Customer),
    export: Export::Withheld("each value is told where it is kept"),
    erasure: Erasure::Stays("what is sealed in it opens no more, for its key goes"),
});

pub const TABLES: &[Table] = &[
    Table {
        name: "audit_entries",
        rows: Rows::OfCustomer {
            by: &["customer_id"],
            fate: Fate::Kept(
                "the proof of what was done: ids, names of fields, values that nobody opens any more",
            ),
        },
        columns: &[
            (Id, &["customer_id", "actor_id"]),
            (Ours, &["id", "shard", "actor_kind", "action", "request_id", "occurred_at", "seq"]),
            (ENVELOPES, &["data"]),
        ],
    },
    Table {
        name: "audit_blocks",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &[
                "shard",
                "number",
                "checkpoint",
                "size",
                "root",
                "previous",
                "entries",
                "leaves",
                "expired_at",
            ],
        )],
    },
    Table {
        name: "audit_checkpoints",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &["number", "up_to", "blocks", "root", "previous", "sealed_at", "key", "signature"],
        )],
    },
    Table {
        name: "outbox_events",
        rows: Rows::OfCustomer {
            by: &["customer_id"],
            fate: Fate::Kept(
                "ids, names of fields and sealed values, on their way; gone with their hour",
            ),
        },
        columns: &[
            (Id, &["customer_id"]),
            (
                Ours,
                &[
                    "bucket",
                    "shard",
                    "seq",
                    "id",
                    "customer_sequence",
                    "kind",
                    "occurred_at",
                    "traceparent",
                ],
            ),
            (ENVELOPES, &["data"]),
        ],
    },
    Table {
        name: "outbox_parked",
        rows: Rows::OfCustomer {
            by: &["customer_id"],
            fate: Fate::Kept("as in outbox_events, until staff has decided and a month has passed"),
        },
        columns: &[
            (Id, &["customer_id"]),
            (
                Ours,
                &[
                    "id",
                    "shard",
                    "seq",
                    "customer_sequence",
                    "kind",
                    "occurred_at",
                    "traceparent",
                    "state",
                    "reason",
                    "detail",
                    "tries",
                    "parked_at",
                    "replay_id",
                    "discard_reason",
                    "settled_at",
                ],
            ),
            (ENVELOPES, &["data"]),
        ],
    },
    Table {
        name: "mails",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "kind",
                    "locale",
                    "address",
                    "created_at",
                    "sent_at",
                    "step",
                    "codes_left",
                    "tells_of",
                ],
            ),
            (withheld(Form::Clear, SECRET), &["nonce"]),
            (Ours, &["id", "due_at", "tries", "last_error", "given_up_at"]),
        ],
    },
    Table {
        name: "text_messages",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (TOLD, &["kind", "locale", "created_at", "sent_at"]),
            (withheld(Form::Clear, SECRET), &["nonce"]),
            (Ours, &["id", "expires_at", "due_at", "tries", "last_error", "given_up_at"]),
        ],
    },
    Table {
        name: "privacy_exports",
        rows: GONE,
        columns: &[
            (Id, &["customer_id", "actor_id"]),
            (TOLD, &["actor_kind", "created_at", "finished_at", "downloaded_at"]),
            (
                Ours,
                &[
                    "id",
                    "state",
                    "reason",
                    "session_id",
                    "attempt",
                    "leased_until",
                    "tables_done",
                    "tables_total",
                    "row_count",
                    "bytes",
                    "pieces",
                    "started_at",
                    "expires_at",
                ],
            ),
        ],
    },
    Table {
        name: "privacy_export_pieces",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                withheld(Form::Sealed(SealedBy::Customer), "an export made before, of all this"),
                &["data"],
            ),
            (Ours, &["export_id", "number"]),
        ],
    },
    Table {
        name: "idempotency_keys",
        rows: GONE,
        columns: &[
            (Id, &["owner", "customer_id"]),
            (
                withheld(Form::Clear, "an answer that was given before, kept for a day"),
                &["key", "outcome"],
            ),
            (withheld(Form::Digest, "a hash of a request"), &["request_hash"]),
            (Ours, &["created_at"]),
        ],
    },
];
