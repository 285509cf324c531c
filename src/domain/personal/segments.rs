//! Which segments the shop keeps, and who belongs to them: what is found out about a customer.

use super::Column::{Id, Ours};
use super::*;

pub const TABLES: &[Table] = &[
    Table {
        name: "segments",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &[
                "code",
                "id",
                "kind",
                "title",
                "description",
                "tags",
                "definition",
                "time_zone",
                "state",
                "revision",
                "created_at",
                "updated_at",
                "version",
            ],
        )],
    },
    Table {
        name: "segment_book",
        rows: Rows::Installation,
        columns: &[(Ours, &["single", "version", "cut_points", "models"])],
    },
    Table {
        name: "segment_revisions",
        rows: Rows::Installation,
        columns: &[
            (Id, &["changed_by"]),
            (Ours, &["segment_id", "revision", "definition", "time_zone", "state", "changed_at"]),
        ],
    },
    Table {
        name: "segment_uses",
        rows: Rows::Installation,
        columns: &[(Ours, &["segment_id", "used_id"])],
    },
    Table {
        name: "segment_attributes",
        rows: Rows::Installation,
        columns: &[(Ours, &["segment_id", "key"])],
    },
    Table {
        name: "segment_members",
        rows: GONE,
        columns: &[(Id, &["customer_id"]), (TOLD, &["segment_id", "since"]), (Ours, &["cause"])],
    },
    Table {
        name: "segment_flips",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                withheld(Form::Clear, "when the service looks again, which follows from the rest"),
                &["segment_id", "due_at"],
            ),
            (Ours, &["shard"]),
        ],
    },
    Table {
        name: "segment_cursors",
        rows: Rows::Installation,
        columns: &[(Ours, &["shard_group", "epoch", "owner", "positions", "bucket", "flushed_at"])],
    },
    Table {
        name: "segment_builds",
        rows: Rows::Installation,
        columns: &[
            (Id, &["after_id"]),
            (
                Ours,
                &[
                    "segment_id",
                    "revision",
                    "looked_at",
                    "joined",
                    "parted",
                    "total",
                    "started_at",
                    "updated_at",
                    "finished_at",
                ],
            ),
        ],
    },
    Table {
        name: "segment_counts",
        rows: Rows::Installation,
        columns: &[(Ours, &["segment_id", "counted_at", "members"])],
    },
];
