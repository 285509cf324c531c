//! What customers sign in by, and what is known of their signing in.

use super::Column::{Id, Ours};
use super::*;

pub const TABLES: &[Table] = &[
    Table {
        name: "customer_identifiers",
        rows: GONE,
        columns: &[(Id, &["customer_id"]), (TOLD, &["kind", "value", "held_until"])],
    },
    Table {
        name: "passwords",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Digest, SECRET), &["hash"]),
            (TOLD, &["changed_at"]),
        ],
    },
    Table {
        name: "customer_totp",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Sealed(SealedBy::Customer), SECRET), &["secret"]),
            (TOLD, &["created_at", "confirmed_at"]),
            (Ours, &["last_step"]),
        ],
    },
    Table {
        name: "customer_keys.data_keys",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Sealed(SealedBy::Wrapping), SECRET), &["wrapped"]),
            (Ours, &["wrapped_by", "created_at", "wrapped_at"]),
        ],
    },
    Table {
        name: "backup_codes",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Digest, SECRET), &["code_hash"]),
            (TOLD, &["created_at"]),
        ],
    },
    Table {
        name: "passkeys",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                withheld(Form::Clear, "the authenticator's own, which has it already"),
                &["credential_id", "user_handle", "credential", "counter"],
            ),
            (
                TOLD,
                &[
                    "name",
                    "second_factor",
                    "backup_eligible",
                    "backed_up",
                    "created_at",
                    "last_used_at",
                ],
            ),
            (Ours, &["id", "version"]),
        ],
    },
    Table {
        name: "identities",
        rows: GONE,
        columns: &[(Id, &["customer_id"]), (TOLD, &["provider", "subject", "email", "linked_at"])],
    },
    Table {
        name: "devices",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Digest, SECRET), &["secret_hash"]),
            (TOLD, &["id", "created_at", "last_used_at"]),
        ],
    },
    Table {
        name: "sessions",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "id",
                    "method",
                    "device_id",
                    "device_name",
                    "user_agent",
                    "client_address",
                    "second_factor",
                    "created_at",
                    "last_seen_at",
                    "expires_at",
                    "absolute_expires_at",
                    "revoked_at",
                ],
            ),
            (withheld(Form::Digest, SECRET), &["refresh_hash", "previous_hash"]),
            (Ours, &["generation", "rotated_at"]),
        ],
    },
    Table {
        name: "one_time_tokens",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Digest, SECRET), &["token_hash", "password_hash"]),
            (TOLD, &["purpose", "email", "created_at", "expires_at", "used_at", "voided_at"]),
        ],
    },
    Table {
        name: "phone_confirmations",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Digest, SECRET), &["code_hash"]),
            (TOLD, &["phone", "created_at", "expires_at"]),
            (Ours, &["text_message_id", "tries"]),
        ],
    },
    Table {
        name: "sign_in_flows",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (withheld(Form::Digest, SECRET), &["token_hash"]),
            (withheld(Form::Sealed(SealedBy::Root), SECRET), &["payload"]),
            (Ours, &["kind", "created_at", "expires_at", "failures", "used_at"]),
        ],
    },
    Table {
        name: "sign_in_throttles",
        rows: Rows::Found(
            "by the keyed hash of each address, number, device and proof of the customer",
        ),
        columns: &[
            (withheld(Form::BlindIndex, "a hash by which nothing is read"), &["bucket"]),
            (
                withheld(Form::Clear, "of no one account: it counts tries at an address or device"),
                &["state", "locked_until", "updated_at"],
            ),
        ],
    },
];
