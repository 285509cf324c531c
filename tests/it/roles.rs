//! Who the service is to its database: a role that owns nothing. Every other test runs as it, which
//! shows that its rights suffice; here is what they do not suffice for.

use customer_service::clock::{Clock, SystemClock};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use crate::harness::db::{TestDatabase, client};
use crate::harness::{Shop, Shopper};

/// One message, appended as the shard actors append.
fn append(customer: Uuid, sequence: i64) -> String {
    format!(
        "SELECT outbox_append('{{5}}', '{{{}}}', '{{{customer}}}', '{{{sequence}}}', \
         '{{customer.updated}}', '{{2026-01-01}}', '{{NULL}}', ARRAY['{{}}']::jsonb[])",
        SystemClock.new_id()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_p5_the_service_cannot_change_what_is_only_appended_to() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    assert!(!shop.messages(&shopper.id).await.is_empty());
    drop(node);
    let (service, mut owner) =
        (client(&shop.database.service_url).await, shop.database.client().await);
    let partition = shop.database.one("SELECT 'outbox_events_' || outbox_hour()").await;
    let columns = "bucket, shard, seq, id, customer_id, customer_sequence, kind, occurred_at, data";
    let forged = format!("SELECT {columns} FROM outbox_events LIMIT 0");
    let statements = [
        format!("INSERT INTO outbox_events ({columns}) {forged}"),
        format!("INSERT INTO outbox_events_default ({columns}) {forged}"),
        format!("INSERT INTO {partition} ({columns}) {forged}"),
        "UPDATE outbox_events SET kind = 'customer.deleted'".to_owned(),
        format!("UPDATE {partition} SET kind = 'customer.deleted'"),
        "DELETE FROM outbox_events".to_owned(),
        "DELETE FROM outbox_events_default".to_owned(),
        format!("DELETE FROM {partition}"),
        "TRUNCATE outbox_events".to_owned(),
        format!("DROP TABLE {partition}"),
        format!("ALTER TABLE outbox_events DETACH PARTITION {partition}"),
        "ALTER TABLE outbox_events ALTER COLUMN traceparent SET DEFAULT 'x'".to_owned(),
        "SELECT nextval('outbox_seq')".to_owned(),
        "SELECT setval('outbox_hours', 1)".to_owned(),
        "UPDATE audit_entries SET action = 'nothing'".to_owned(),
        "DELETE FROM audit_entries".to_owned(),
        "TRUNCATE audit_entries".to_owned(),
        "UPDATE audit_blocks SET root = previous".to_owned(),
        "DELETE FROM audit_blocks".to_owned(),
        "UPDATE audit_checkpoints SET up_to = 0".to_owned(),
        "DELETE FROM audit_checkpoints".to_owned(),
        "TRUNCATE consent_entries".to_owned(),
        "ALTER TABLE consent_entries DISABLE TRIGGER consent_entries_stay".to_owned(),
        "DROP TRIGGER consent_entries_stay ON consent_entries".to_owned(),
        "DELETE FROM __diesel_schema_migrations".to_owned(),
        "CREATE TABLE mine (id integer)".to_owned(),
        "ALTER FUNCTION outbox_hour() SECURITY INVOKER".to_owned(),
        "GRANT USAGE ON SEQUENCE outbox_seq TO PUBLIC".to_owned(),
    ];
    for statement in statements {
        let refused = service.batch_execute(&statement).await.expect_err(&statement);
        let code = refused.code().cloned();
        assert_eq!(code, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{statement}: {refused:?}");
        // It is the right that is missing, and nothing else: the owner could. (But for TRUNCATE of
        // the ledger of consents, which a trigger forbids everybody.)
        let trial = owner.transaction().await.unwrap();
        let done = trial.batch_execute(&statement).await;
        assert!(done.is_ok() || statement.contains("TRUNCATE consent"), "{statement}: {done:?}");
        trial.rollback().await.unwrap();
    }
}

/// The rights are broken on purpose, one after the other: what is refused above is refused by the
/// right that it names, and a migration takes back what somebody gave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_p5_a_right_too_many_opens_what_it_names_until_the_next_migration() {
    let database = TestDatabase::new().await;
    let (service, owner) = (client(&database.service_url).await, database.client().await);
    service.batch_execute(&append(Uuid::from_u128(1), 1)).await.unwrap();
    let role = service.query_one("SELECT current_user::text", &[]).await.unwrap();
    let role = role.get::<_, String>(0);
    let columns = "bucket, shard, seq, id, customer_id, customer_sequence, kind, occurred_at, data";
    let copied = format!(
        "INSERT INTO outbox_events ({columns}) SELECT bucket, shard, seq + 1000, gen_random_uuid(), \
         customer_id, 2, kind, occurred_at, data FROM outbox_events"
    );
    let rights = [
        ("INSERT ON outbox_events", copied.as_str()),
        ("UPDATE ON outbox_events", "UPDATE outbox_events SET kind = 'customer.deleted'"),
        ("DELETE ON outbox_events", "DELETE FROM outbox_events"),
        ("TRUNCATE ON outbox_events", "TRUNCATE outbox_events"),
        ("USAGE ON SEQUENCE outbox_seq", "SELECT nextval('outbox_seq')"),
        ("UPDATE ON audit_entries", "UPDATE audit_entries SET action = 'nothing'"),
        ("DELETE ON audit_entries", "DELETE FROM audit_entries"),
    ];
    let give_again = format!(
        "BEGIN; SELECT set_config('customer_service.application_role', '{role}', true); {}; COMMIT",
        customer_service::db::roles::GRANTS
    );
    for (right, statement) in rights {
        let trial = format!("BEGIN; {statement}; ROLLBACK");
        let refused = async |when: &str| {
            let refused =
                service.batch_execute(&trial).await.expect_err(&format!("{right} {when}"));
            service.batch_execute("ROLLBACK").await.unwrap();
            assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{right} {when}");
        };
        refused("before").await;
        owner.batch_execute(&format!("GRANT {right} TO {role}")).await.unwrap();
        let done = service.batch_execute(&trial).await;
        assert!(done.is_ok(), "{right} does not open {statement}: {done:?}");
        owner.batch_execute(&give_again).await.unwrap();
        refused("after a migration").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_the_door_to_the_outbox_leads_nowhere_else() {
    let database = TestDatabase::new().await;
    let service = client(&database.service_url).await;
    // Whoever can have the function find a table of his own by its name could read and forge.
    service
        .batch_execute("CREATE TEMPORARY TABLE outbox_events (LIKE outbox_events)")
        .await
        .unwrap();
    service.batch_execute("SET search_path = pg_temp, public").await.unwrap();
    service.batch_execute(&append(Uuid::from_u128(1), 1)).await.unwrap();
    let there = |table: &str| format!("SELECT count(*) FROM {table}");
    assert_eq!(database.count(&there("public.outbox_events")).await, 1);
    let row = service.query_one(&there("pg_temp.outbox_events"), &[]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 0);
    // And others have not even the door.
    let stranger = "CREATE ROLE stranger_of_it NOLOGIN";
    database.execute(&format!("BEGIN; {stranger}; SET LOCAL ROLE stranger_of_it; ROLLBACK")).await;
    let knocking =
        format!("BEGIN; {stranger}; SET LOCAL ROLE stranger_of_it; {}", append(Uuid::nil(), 1));
    let refused = database.client().await.batch_execute(&knocking).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m5_an_hour_with_unpublished_messages_cannot_be_dropped() {
    let database = TestDatabase::new().await;
    let service = client(&database.service_url).await;
    let make = "SELECT outbox_partition_make(outbox_hour())";
    let drop_it = "SELECT outbox_partition_drop(outbox_hour())";
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox_events'::regclass";
    let before = database.count(partitions).await;
    service.batch_execute(make).await.unwrap();
    service.batch_execute(&append(Uuid::from_u128(1), 1)).await.unwrap();
    let refused = service.batch_execute(drop_it).await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::RESTRICT_VIOLATION), "{refused:?}");
    assert_eq!(database.count(partitions).await, before + 1);
    for cursors in ["outbox_cursors", "segment_cursors"] {
        let done =
            format!("UPDATE {cursors} SET positions = array_fill(1000000::bigint, ARRAY[8])");
        service.batch_execute(&done).await.unwrap();
    }
    service.batch_execute(drop_it).await.unwrap();
    assert_eq!(database.count(partitions).await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_makes_the_role_and_gives_it_its_rights() {
    let shop = Shop::new().await;
    let empty = TestDatabase::empty().await;
    let role = format!("it_{}", SystemClock.new_id().simple());
    let url = empty.service_url.replacen("customer_service_it", &role, 1);
    let settings = [
        ("DATABASE__URL", url.as_str()),
        ("DATABASE__MIGRATION_URL", empty.url.as_str()),
        ("DATABASE__APPLICATION_ROLE", role.as_str()),
    ];
    let migrate = || shop.command(&settings).arg("migrate").spawn().unwrap();
    // Two at once, and once more: what is there stays.
    let (mut first, mut second) = (migrate(), migrate());
    assert!(first.wait().unwrap().success() && second.wait().unwrap().success());
    assert!(migrate().wait().unwrap().success());
    // As that role, with that password.
    let service = client(&url).await;
    service.batch_execute(&append(Uuid::from_u128(1), 1)).await.unwrap();
    let refused = service.batch_execute("DELETE FROM outbox_events").await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused:?}");
    // A table of a later version is the service's, too, before anybody looks at it.
    empty.execute("CREATE TABLE later (id integer GENERATED ALWAYS AS IDENTITY)").await;
    service.batch_execute("INSERT INTO later DEFAULT VALUES; DELETE FROM later").await.unwrap();
    // But no partition of the outbox.
    service.batch_execute("SELECT outbox_partition_make(outbox_hour() + 900)").await.unwrap();
    let hour = empty.one("SELECT outbox_hour() + 900").await;
    let refused = service.batch_execute(&format!("DELETE FROM outbox_events_{hour}")).await;
    assert_eq!(refused.unwrap_err().code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    drop(service);
    empty.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_owns_the_tables_cannot_be_the_services_role_and_is_warned() {
    let shop = Shop::new().await;
    let owner = shop.database.url.as_str();
    let name = shop.database.one("SELECT current_user").await;
    let settings = [("DATABASE__URL", owner), ("DATABASE__APPLICATION_ROLE", name.as_str())];
    let refused = shop.command(&settings).arg("migrate").output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && told.contains("owns the tables"), "{told}");

    let warning = "works as the owner of its tables";
    let node = shop.node_with(&[("DATABASE__URL", owner)]).await;
    assert!(node.log().contains(warning), "{}", node.log());
    drop(node);
    let node = shop.node().await;
    assert!(!node.log().contains(warning), "{}", node.log());
    let migrated = shop.command(&[("DATABASE__URL", owner)]).arg("migrate").output().unwrap();
    let told = String::from_utf8_lossy(&migrated.stderr).into_owned();
    assert!(migrated.status.success() && told.contains("application_role is not set"), "{told}");
}
