//! The bulk statements of the tables about segments.

use super::*;

bulk! {
    InsertSegments [
        "INSERT INTO segments (code, id, kind, title, description, tags, definition, time_zone, state, revision, \
         created_at, updated_at, version) SELECT code, id, kind, title, description, \
         ARRAY(SELECT jsonb_array_elements_text(tags)), definition, time_zone, state, revision, created_at, \
         updated_at, version FROM unnest(",
        ") AS u (code, id, kind, title, description, tags, definition, time_zone, state, revision, created_at, \
         updated_at, version)"
    ] {
        code: Text = String,
        id: SqlUuid = Uuid,
        kind: Text = String,
        title: Text = String,
        description: Nullable<Text> = Option<String>,
        tags: Jsonb = Value,
        definition: Nullable<Text> = Option<String>,
        time_zone: Nullable<Text> = Option<String>,
        state: Text = String,
        revision: BigInt = i64,
        created_at: Timestamptz = DateTime<Utc>,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    /// Every column that may change.
    UpdateSegments [
        "UPDATE segments AS t SET title = u.title, description = u.description, \
         tags = ARRAY(SELECT jsonb_array_elements_text(u.tags)), definition = u.definition, \
         time_zone = u.time_zone, state = u.state, revision = u.revision, updated_at = u.updated_at, \
         version = u.version FROM unnest(",
        ") AS u (id, title, description, tags, definition, time_zone, state, revision, updated_at, version) \
         WHERE t.id = u.id"
    ] {
        id: SqlUuid = Uuid,
        title: Text = String,
        description: Nullable<Text> = Option<String>,
        tags: Jsonb = Value,
        definition: Nullable<Text> = Option<String>,
        time_zone: Nullable<Text> = Option<String>,
        state: Text = String,
        revision: BigInt = i64,
        updated_at: Timestamptz = DateTime<Utc>,
        version: BigInt = i64,
    }

    DeleteSegments [
        "DELETE FROM segments WHERE id = ANY (",
        ")"
    ] {
        id: SqlUuid = Uuid,
    }

    InsertSegmentRevisions [
        "INSERT INTO segment_revisions (segment_id, revision, definition, time_zone, state, changed_at, changed_by) \
         SELECT * FROM unnest(",
        ")"
    ] {
        segment_id: SqlUuid = Uuid,
        revision: BigInt = i64,
        definition: Nullable<Text> = Option<String>,
        time_zone: Nullable<Text> = Option<String>,
        state: Text = String,
        changed_at: Timestamptz = DateTime<Utc>,
        changed_by: Text = String,
    }

    /// What a definition named before its change.
    ForgetSegmentUses [
        "DELETE FROM segment_uses WHERE segment_id = ANY (",
        ")"
    ] {
        segment_id: SqlUuid = Uuid,
    }

    InsertSegmentUses [
        "INSERT INTO segment_uses (segment_id, used_id) SELECT * FROM unnest(",
        ")"
    ] {
        segment_id: SqlUuid = Uuid,
        used_id: SqlUuid = Uuid,
    }

    ForgetSegmentAttributes [
        "DELETE FROM segment_attributes WHERE segment_id = ANY (",
        ")"
    ] {
        segment_id: SqlUuid = Uuid,
    }

    InsertSegmentAttributes [
        "INSERT INTO segment_attributes (segment_id, key) SELECT * FROM unnest(",
        ")"
    ] {
        segment_id: SqlUuid = Uuid,
        key: Text = String,
    }

    /// A walk over all customers begins for each revision; one that was under way for an earlier
    /// revision begins again.
    BeginSegmentBuilds [
        "INSERT INTO segment_builds (segment_id, revision, total, started_at, updated_at) \
         SELECT u.segment_id, u.revision, greatest(0, (SELECT reltuples::bigint FROM pg_class \
         WHERE oid = 'customers'::regclass)), u.at, u.at FROM unnest(",
        ") AS u (segment_id, revision, at) ON CONFLICT (segment_id) DO UPDATE SET revision = excluded.revision, \
         after_id = NULL, looked_at = 0, joined = 0, parted = 0, total = excluded.total, \
         started_at = excluded.started_at, updated_at = excluded.updated_at, finished_at = NULL"
    ] {
        segment_id: SqlUuid = Uuid,
        revision: BigInt = i64,
        at: Timestamptz = DateTime<Utc>,
    }

    SaveSegmentMembers [
        "INSERT INTO segment_members (customer_id, segment_id, since, cause) SELECT * FROM unnest(",
        ")"
    ] {
        customer_id: SqlUuid = Uuid,
        segment_id: SqlUuid = Uuid,
        since: Timestamptz = DateTime<Utc>,
        cause: Text = String,
    }

    DeleteSegmentMembers [
        "DELETE FROM segment_members AS t USING unnest(",
        ") AS u (customer_id, segment_id) WHERE t.customer_id = u.customer_id AND t.segment_id = u.segment_id"
    ] {
        customer_id: SqlUuid = Uuid,
        segment_id: SqlUuid = Uuid,
    }

    SaveSegmentFlips [
        "INSERT INTO segment_flips (customer_id, segment_id, shard, due_at) SELECT * FROM unnest(",
        ") ON CONFLICT (customer_id, segment_id) DO UPDATE SET due_at = excluded.due_at"
    ] {
        customer_id: SqlUuid = Uuid,
        segment_id: SqlUuid = Uuid,
        shard: SmallInt = i16,
        due_at: Timestamptz = DateTime<Utc>,
    }

    DeleteSegmentFlips [
        "DELETE FROM segment_flips AS t USING unnest(",
        ") AS u (customer_id, segment_id) WHERE t.customer_id = u.customer_id AND t.segment_id = u.segment_id"
    ] {
        customer_id: SqlUuid = Uuid,
        segment_id: SqlUuid = Uuid,
    }
}
