//! What a node learns of sessions that were revoked on another one.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use customer_service::actors::worker::Worker;
use customer_service::actors::workers::revocation_watch::RevocationWatch;
use customer_service::clock::{Clock, SystemClock};
use customer_service::db::{Database, DatabaseSettings};
use customer_service::security::revoked::{Liveness, RevokedSessions};

use crate::harness::db::{TestDatabase, insert_customer, insert_session};

fn watch(database: Database, revoked: &Arc<RevokedSessions>) -> RevocationWatch {
    let life = TimeDelta::minutes(10);
    let (clock, period) = (Arc::new(SystemClock), Duration::from_millis(400));
    RevocationWatch::new(database, clock, revoked.clone(), life, period)
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_a_session_revoked_elsewhere_is_known_after_one_run() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let customer = SystemClock.new_id();
    insert_customer(&client, customer, "lan@example.com").await;
    let [fresh, stale, live] = [(); 3].map(|()| SystemClock.new_id());
    for (session, revoked) in [
        (fresh, "now() - interval '9 minutes'"),
        (stale, "now() - interval '1 day'"),
        (live, "NULL::timestamptz"),
    ] {
        let ends = format!("now() + interval '1 day', {revoked}");
        insert_session(&client, customer, session, &ends).await;
    }
    let revoked = Arc::new(RevokedSessions::new());
    assert_eq!(revoked.check(live, customer, SystemClock.now()), Liveness::Unknown);
    let mut watch = watch(database.database(), &revoked);
    watch.run_once().await.unwrap();
    assert_eq!(revoked.check(fresh, customer, SystemClock.now()), Liveness::Revoked);
    assert_eq!(revoked.check(live, customer, SystemClock.now()), Liveness::Live);
    assert_eq!(
        revoked.check(stale, customer, SystemClock.now()),
        Liveness::Live,
        "its tokens are dead"
    );
    assert_eq!(watch.refresh().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a7_without_a_database_nothing_is_claimed_to_be_known() {
    let database = TestDatabase::new().await;
    let nowhere = DatabaseSettings {
        url: "postgres://postgres@127.0.0.1:1/none".to_owned(),
        acquire_timeout: Duration::from_millis(200),
        ..database.settings()
    };
    let revoked = Arc::new(RevokedSessions::new());
    let handle = tokio::runtime::Handle::current();
    let mut watch = watch(Database::new(nowhere, handle), &revoked);
    assert!(watch.run_once().await.is_ok(), "the next try must come soon");
    let now = SystemClock.now();
    assert_eq!(revoked.check(SystemClock.new_id(), SystemClock.new_id(), now), Liveness::Unknown);
}
