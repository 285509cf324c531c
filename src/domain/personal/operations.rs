//! What runs the shop: definitions, keys of staff, imports, computations, positions.

use super::Column::{Id, Ours};
use super::*;

/// Of an installation's row: somebody's words that may name a person, and stay.
const fn stays(why: &'static str) -> Column {
    let export = Export::Withheld("of no customer");
    Column::Personal(Care { form: Form::Clear, export, erasure: Erasure::Stays(why) })
}

pub const TABLES: &[Table] = &[
    Table {
        name: "attribute_definitions",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &[
                "key",
                "id",
                "part",
                "kind",
                "limits",
                "writer",
                "reader",
                "title",
                "description",
                "searchable",
                "created_at",
                "updated_at",
                "version",
            ],
        )],
    },
    Table {
        name: "customer_groups",
        rows: Rows::Installation,
        columns: &[(Ours, &["code", "name", "created_at", "updated_at", "version"])],
    },
    Table {
        name: "staff_keys",
        rows: Rows::Installation,
        columns: &[
            (Id, &["id"]),
            (
                stays("it may be the name of somebody of the staff, whose deeds it tells apart"),
                &["name"],
            ),
            (Ours, &["secret_hash", "scopes", "created_at", "revoked_at"]),
        ],
    },
    Table {
        name: "signing_keys",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &[
                "kid",
                "sealed_private_key",
                "public_key",
                "created_at",
                "retired_at",
                "signs_from",
                "revoked_at",
            ],
        )],
    },
    Table {
        name: "imports",
        rows: Rows::Installation,
        columns: &[
            (Id, &["actor_id"]),
            (stays("the name of a file; gone after imports.keep_days"), &["name"]),
            (
                Ours,
                &[
                    "id",
                    "state",
                    "source",
                    "format",
                    "settings",
                    "dry_run",
                    "digest",
                    "bytes",
                    "position",
                    "line",
                    "rows_read",
                    "rows_imported",
                    "rows_failed",
                    "rows_per_minute",
                    "reason",
                    "actor_kind",
                    "idempotency_key",
                    "request_hash",
                    "created_at",
                    "touched_at",
                    "started_at",
                    "finished_at",
                ],
            ),
        ],
    },
    Table {
        name: "import_chunks",
        rows: Rows::Passing("gone within an hour of the end of the import, or of its breaking off"),
        columns: &[
            (
                withheld(Form::Clear, "a file of many persons, on its way into their records"),
                &["data"],
            ),
            (Ours, &["import_id", "number"]),
        ],
    },
    Table {
        name: "import_errors",
        rows: Rows::Installation,
        columns: &[(Ours, &["import_id", "line", "number", "field", "code", "detail"])],
    },
    Table {
        name: "outbox_cursors",
        rows: Rows::Installation,
        columns: &[(Ours, &["relay_group", "epoch", "owner", "positions", "bucket", "flushed_at"])],
    },
    Table {
        name: "analytics_runs",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &[
                "kind",
                "currency",
                "started_at",
                "touched_at",
                "stage",
                "customers",
                "evaluations",
                "finished_at",
                "fault",
            ],
        )],
    },
    Table {
        name: "prediction_models",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &[
                "currency",
                "version",
                "fitted_at",
                "as_of",
                "seconds",
                "time_zone",
                "horizon_months",
                "discount_rate",
                "customers",
                "repeaters",
                "purchases",
                "purchases_log_likelihood",
                "evaluations",
                "value",
                "value_log_likelihood",
                "value_customers",
                "value_correlation",
                "value_fault",
                "tier_cuts",
                "tiers",
                "total",
            ],
        )],
    },
    Table {
        name: "rfm_cut_points",
        rows: Rows::Installation,
        columns: &[(
            Ours,
            &[
                "currency",
                "version",
                "computed_at",
                "as_of",
                "customers",
                "recency_days",
                "orders",
                "spent",
            ],
        )],
    },
];
