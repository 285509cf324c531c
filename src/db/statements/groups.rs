//! The bulk statements of the table `customer_groups`.

use super::*;

bulk! {
    InsertGroups [
        "INSERT INTO customer_groups (code, name, created_at, updated_at, version) SELECT * FROM unnest(",
        ")"
    ] {
        code: Text = String,
        name: Text = String,
        created_at: Timestamptz = DateTime<Utc>,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    UpdateGroups [
        "UPDATE customer_groups AS t SET name = u.name, updated_at = u.updated_at, version = u.version FROM unnest(",
        ") AS u (code, name, updated_at, version) WHERE t.code = u.code"
    ] {
        code: Text = String,
        name: Text = String,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    DeleteGroups [
        "DELETE FROM customer_groups WHERE code = ANY (",
        ")"
    ] {
        code: Text = String,
    }
}
