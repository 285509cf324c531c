//! The bulk statements of the table `attribute_definitions`.

use super::*;

bulk! {
    InsertAttributes [
        "INSERT INTO attribute_definitions (key, id, part, kind, limits, writer, reader, title, description, \
         searchable, created_at, updated_at, version) SELECT * FROM unnest(",
        ")"
    ] {
        key: Text = String,
        id: SqlUuid = Uuid,
        part: Text = String,
        kind: Text = String,
        limits: Jsonb = Value,
        writer: Text = String,
        reader: Text = String,
        title: Text = String,
        description: Nullable<Text> = Option<String>,
        searchable: Bool = bool,
        created_at: Timestamptz = DateTime<Utc>,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    /// Every column but the key: within one batch a definition may go and another of its key come.
    UpdateAttributes [
        "UPDATE attribute_definitions AS t SET id = u.id, part = u.part, kind = u.kind, limits = u.limits, \
         writer = u.writer, reader = u.reader, title = u.title, description = u.description, \
         searchable = u.searchable, created_at = u.created_at, updated_at = u.updated_at, \
         version = u.version FROM unnest(",
        ") AS u (key, id, part, kind, limits, writer, reader, title, description, searchable, created_at, \
         updated_at, version) WHERE t.key = u.key"
    ] {
        key: Text = String,
        id: SqlUuid = Uuid,
        part: Text = String,
        kind: Text = String,
        limits: Jsonb = Value,
        writer: Text = String,
        reader: Text = String,
        title: Text = String,
        description: Nullable<Text> = Option<String>,
        searchable: Bool = bool,
        created_at: Timestamptz = DateTime<Utc>,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    DeleteAttributes [
        "DELETE FROM attribute_definitions WHERE key = ANY (",
        ")"
    ] {
        key: Text = String,
    }
}
