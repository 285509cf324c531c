//! Keys of staff, keys that sign, and groups, as stored.

use customer_service::clock::{Clock, SystemClock};
use customer_service::db::audit::{OwnActor, OwnEntry};
use customer_service::db::signing_keys::StoredKey;
use customer_service::db::staff_keys::{ListedStaffKey, NewStaffKey};
use customer_service::db::{groups, signing_keys, staff_keys};
use serde_json::json;

use crate::harness::db::TestDatabase;

fn signing_key(kid: &str) -> StoredKey {
    StoredKey {
        kid: kid.to_owned(),
        sealed_private_key: vec![1; 64],
        public_key: vec![2; 32],
        created_at: SystemClock.now(),
        signs_from: SystemClock.now(),
        retired_at: None,
        revoked_at: None,
    }
}

fn entry(action: &'static str) -> OwnEntry {
    let (id, occurred_at) = (SystemClock.new_id(), SystemClock.now());
    OwnEntry { id, actor: OwnActor::Operator, action, data: json!({}), occurred_at }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_at_once_end_with_one_signing_key() {
    let test = TestDatabase::new().await;
    let database = test.database();
    let starts: Vec<_> = (0..6)
        .map(|node| {
            let inner = database.clone();
            database.spawn(async move {
                let mut connection = inner.get().await.unwrap();
                let key = signing_key(&format!("node-{node}"));
                signing_keys::insert_if_none(&mut connection, &key).await.unwrap()
            })
        })
        .collect();
    let mut added = 0;
    for start in starts {
        added += usize::from(start.await.unwrap());
    }
    assert_eq!(added, 1);
    let connection = database.get().await.unwrap();
    assert_eq!(signing_keys::load_all(&connection).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staff_key_is_found_until_it_is_revoked() {
    let test = TestDatabase::new().await;
    let mut connection = test.database().get().await.unwrap();
    let key = NewStaffKey {
        id: "abcdefgh01234567".to_owned(),
        name: "Support".to_owned(),
        secret_hash: [3; 32],
        scopes: vec!["customers:read".to_owned(), "customers:write".to_owned()],
        created_at: SystemClock.now(),
    };
    staff_keys::insert(&mut connection, &key, &entry("staff_key.created")).await.unwrap();
    let again = staff_keys::insert(&mut connection, &key, &entry("staff_key.created")).await;
    assert!(again.is_err(), "an id is given once");
    let found = staff_keys::find(&connection, &key.id).await.unwrap().unwrap();
    assert_eq!((found.secret_hash, &found.scopes), ([3; 32], &key.scopes));
    assert_eq!(staff_keys::find(&connection, "nobody").await.unwrap(), None);
    let revoked = entry("staff_key.revoked");
    assert!(staff_keys::revoke(&mut connection, &key.id, &revoked).await.unwrap());
    let again = staff_keys::revoke(&mut connection, &key.id, &entry("staff_key.revoked")).await;
    assert!(!again.unwrap(), "once");
    let told =
        test.column("SELECT actor_kind || ' ' || action FROM audit_entries ORDER BY id").await;
    assert_eq!(told, ["operator staff_key.created", "operator staff_key.revoked"]);
    assert_eq!(staff_keys::find(&connection, &key.id).await.unwrap(), None);
    let NewStaffKey { id, name, scopes, created_at, .. } = key;
    let listed =
        ListedStaffKey { id, name, scopes, created_at, revoked_at: Some(revoked.occurred_at) };
    assert_eq!(staff_keys::list(&connection).await.unwrap(), [listed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_groups_are_there() {
    let test = TestDatabase::new().await;
    let connection = test.database().get().await.unwrap();
    assert!(groups::exists(&connection, "business").await.unwrap());
    assert!(!groups::exists(&connection, "nobody").await.unwrap());
    let all = groups::page(&connection, None, 10).await.unwrap();
    let codes: Vec<_> = all.iter().map(|group| group.code.as_str()).collect();
    assert_eq!(codes, ["business", "individual"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_shop_has_nobody_who_could_sign_in() {
    let test = TestDatabase::new().await;
    for table in ["customers", "passwords", "passkeys", "staff_keys", "sessions"] {
        assert_eq!(test.count(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}
