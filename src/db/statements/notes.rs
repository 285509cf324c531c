//! The bulk statements of the table `customer_notes`.

use super::*;

bulk! {
    InsertNotes [
        "INSERT INTO customer_notes (id, customer_id, text, author, created_at) SELECT * FROM unnest(",
        ")"
    ] {
        id: SqlUuid = Uuid,
        customer_id: SqlUuid = Uuid,
        text: Text = String,
        author: Text = String,
        created_at: Timestamptz = DateTime<Utc>,
    }

    DeleteNotes [
        "DELETE FROM customer_notes AS t USING unnest(",
        ") AS u (customer_id, id) WHERE t.customer_id = u.customer_id AND t.id = u.id"
    ] {
        customer_id: SqlUuid = Uuid,
        id: SqlUuid = Uuid,
    }
}
