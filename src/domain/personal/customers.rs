//! What customers are, have and want: their record, addresses, wishlists, consents, and what staff
//! wrote about them.

use super::Column::{Id, Ours};
use super::*;

pub const TABLES: &[Table] = &[
    Table {
        name: "customers",
        rows: Rows::OfCustomer {
            by: &["id"],
            fate: Fate::Kept(
                "an empty row: its id is never given anew, and what refers to it stays whole",
            ),
        },
        columns: &[
            (Id, &["id"]),
            (told_then(Value::Text("")), &["email"]),
            (
                Column::Personal(Care {
                    form: Form::Clear,
                    export: Export::Withheld("the address once more, in a form to compare"),
                    erasure: Erasure::Set(Value::Text("")),
                }),
                &["email_canonical"],
            ),
            (told_then(Value::Null), &["email_verified_at", "phone", "phone_verified_at"]),
            (told_then(Value::Text("-")), &["first_name", "last_name"]),
            (told_then(Value::Text("erased")), &["status"]),
            (told_then(Value::Null), &["status_before_deletion"]),
            (told_then(Value::EmptyList), &["tags"]),
            (told_then(Value::No), &["accepts_marketing"]),
            (told_then(Value::Null), &["last_sign_in_at"]),
            (
                Column::Personal(Care {
                    form: Form::Clear,
                    export: Export::Told,
                    erasure: Erasure::Stays(
                        "a class or an instant that many share; counts stay true",
                    ),
                }),
                &["customer_type", "group_code", "created_at", "updated_at", "deleted_at"],
            ),
            (Ours, &["version", "sequence"]),
            (
                Column::Personal(Care {
                    form: Form::Clear,
                    export: Export::Withheld("names and address once more, in a form to search"),
                    erasure: Erasure::Follows,
                }),
                &["search_text"],
            ),
        ],
    },
    Table {
        name: "customer_profiles",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &["date_of_birth", "gender", "avatar_url", "company", "tax_id", "bio", "custom"],
            ),
            (Ours, &["version"]),
        ],
    },
    Table {
        name: "customer_preferences",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "locale",
                    "timezone",
                    "currency",
                    "channel_email",
                    "channel_sms",
                    "channel_push",
                    "topics",
                    "custom",
                ],
            ),
            (Ours, &["version"]),
        ],
    },
    Table {
        name: "addresses",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "label",
                    "recipient",
                    "company",
                    "line1",
                    "line2",
                    "city",
                    "region",
                    "postal_code",
                    "country",
                    "phone",
                    "default_shipping",
                    "default_billing",
                    "created_at",
                    "updated_at",
                    "last_used_at",
                    "region_code",
                ],
            ),
            (Ours, &["id", "version"]),
        ],
    },
    Table {
        name: "wishlists",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            // By its id an item names it.
            (TOLD, &["id", "name", "item_count", "created_at"]),
            (withheld(Form::Clear, SECRET), &["share_nonce"]),
            (withheld(Form::Digest, SECRET), &["share_hash"]),
            (Ours, &["version"]),
        ],
    },
    Table {
        name: "wishlist_items",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "wishlist_id",
                    "sku",
                    "quantity",
                    "note",
                    "price_amount",
                    "price_currency",
                    "added_at",
                ],
            ),
            (Ours, &["id", "version"]),
        ],
    },
    Table {
        name: "consent_entries",
        rows: GONE,
        columns: &[
            (Id, &["customer_id", "actor_id"]),
            (
                TOLD,
                &[
                    "number",
                    "purpose",
                    "channel",
                    "granted",
                    "text_version",
                    "locale",
                    "source",
                    "reference",
                    "actor_kind",
                    "request_id",
                    "occurred_at",
                ],
            ),
        ],
    },
    Table {
        name: "consents",
        rows: GONE,
        columns: &[
            (Id, &["customer_id"]),
            (
                TOLD,
                &[
                    "purpose",
                    "channel",
                    "granted",
                    "text_version",
                    "locale",
                    "source",
                    "decided_at",
                ],
            ),
            (Ours, &["number"]),
        ],
    },
    Table {
        name: "customer_notes",
        rows: GONE,
        columns: &[
            (Id, &["customer_id", "author"]),
            (TOLD, &["text", "created_at"]),
            (Ours, &["id"]),
        ],
    },
    Table {
        name: "customer_merges",
        rows: Rows::OfCustomer {
            by: &["from_id", "into_id"],
            fate: Fate::Kept("ids and counts: who is to be erased along, also after a restore"),
        },
        columns: &[(Id, &["from_id", "into_id"]), (Ours, &["report", "merged_at"])],
    },
];
