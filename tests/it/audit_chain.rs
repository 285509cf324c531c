//! The sealed audit trail (rule P5): whatever is done to it behind the service's back is named, and an
//! entry is shown to be in it without the database.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use customer_service::actors::audit_trail::{self, Verdict};
use customer_service::actors::workers::audit_sealer::AuditSealer;
use customer_service::clock::{Clock, ManualClock, SystemClock};
use customer_service::db;
use customer_service::domain::audit_chain::{Broken, Harm};
use customer_service::security::audit_seal::AuditKey;
use customer_service::security::keys::RootSecret;
use diesel_async::SimpleAsyncConnection;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::harness::db::{TestDatabase, client};
use crate::harness::{Shop, Shopper, eventually};

const ROOT: [u8; 32] = [5; 32];

fn key() -> AuditKey {
    AuditKey::new(&RootSecret::new(ROOT))
}

fn sealer(database: &TestDatabase, clock: Arc<dyn Clock>) -> AuditSealer {
    AuditSealer::new(database.database(), clock, Arc::new(key()), Duration::from_secs(60))
}

/// Seals whatever there is.
async fn seal(database: &TestDatabase) -> usize {
    sealed(&mut sealer(database, Arc::new(SystemClock))).await
}

/// Looks until something is sealed, and all of it. The first look only notes how far that is; and
/// what is settled waits for whoever began a transaction before, in any database of the server.
async fn sealed(sealer: &mut AuditSealer) -> usize {
    let mut sealed = 0;
    for _ in 0..1_000 {
        let (count, more) = sealer.seal().await.unwrap();
        sealed += count;
        if count > 0 && !more {
            return sealed;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never settles");
}

/// One entry, as the service would write it.
fn entry(shard: i16) -> String {
    let (id, customer) = (SystemClock.new_id(), SystemClock.new_id());
    format!(
        "INSERT INTO audit_entries (id, shard, customer_id, actor_kind, actor_id, action, data, request_id, \
         occurred_at) VALUES ('{id}', {shard}, '{customer}', 'staff', 'k', 'customer.updated', \
         '{{\"version\": {shard}}}', 'r-{id}', now());"
    )
}

/// Entries in four shards, sealed in three checkpoints.
async fn trail() -> TestDatabase {
    let database = TestDatabase::new().await;
    for _ in 0..3 {
        let entries: String = (0..24).map(|n| entry(n % 4)).collect();
        database.execute(&entries).await;
        assert_eq!(seal(&database).await, 24);
    }
    database
}

async fn verify(connection: &db::Connection) -> Verdict {
    audit_trail::verify(connection, &[key().public()], None, |_| {}).await.unwrap()
}

/// What is found after some harm, which is taken back.
async fn after(connection: &mut db::Connection, harm: &str) -> Option<Broken> {
    connection.batch_execute(&format!("BEGIN; {harm}")).await.unwrap();
    let verdict = verify(connection).await;
    connection.batch_execute("ROLLBACK").await.unwrap();
    verdict.broken
}

fn harmed(broken: Option<Broken>) -> (i64, Harm) {
    match broken {
        Some(Broken::Entry { seq, harm, .. }) => (seq, harm),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_one_byte_changed_one_row_removed_inserted_or_swapped_is_named() {
    let database = trail().await;
    let mut owner = db::pool::connect_once(&database.owner_settings()).await.unwrap();
    let intact = verify(&owner).await;
    assert_eq!((intact.broken, intact.intact, intact.unsealed), (None, 72, 0));
    assert_eq!(intact.last.map(|(number, ..)| number), Some(3));
    let places: Vec<i64> = database
        .column("SELECT seq FROM audit_entries ORDER BY seq")
        .await
        .iter()
        .map(|seq| seq.parse().unwrap())
        .collect();
    let columns = [
        "id = overlay(id::text placing to_hex(15 - ('x' || right(id::text, 1))::bit(4)::int) from 36)::uuid",
        "shard = (shard + 1) % 64",
        "customer_id = NULL",
        "actor_kind = 'customer'",
        "actor_id = NULL",
        "actor_id = 'K'",
        "action = 'customer.updateD'",
        "data = jsonb_set(data, '{version}', '9')",
        "request_id = request_id || ' '",
        "occurred_at = occurred_at + interval '1 microsecond'",
    ];
    for (n, place) in places.iter().enumerate() {
        let column = columns[n % columns.len()];
        let change = format!("UPDATE audit_entries SET {column} WHERE seq = {place}");
        assert_eq!(harmed(after(&mut owner, &change).await), (*place, Harm::Changed), "{change}");
        let remove = format!("DELETE FROM audit_entries WHERE seq = {place}");
        assert_eq!(harmed(after(&mut owner, &remove).await), (*place, Harm::Removed));
    }
    for (one, other) in [(places[3], places[4]), (places[0], places[71]), (places[10], places[30])]
    {
        let swap = format!(
            "DROP INDEX audit_entries_seq; \
             UPDATE audit_entries SET seq = CASE seq WHEN {one} THEN {other} ELSE {one} END \
             WHERE seq IN ({one}, {other})"
        );
        assert_eq!(harmed(after(&mut owner, &swap).await), (one, Harm::Changed), "{one} {other}");
    }
    // A place that was given to nobody: of a transaction that came to nothing, or before the first.
    let gap = "BEGIN; SELECT nextval('audit_entries_seq_seq'); ROLLBACK";
    database.execute(gap).await;
    let gap = places[71] + 1;
    database.execute(&entry(1)).await;
    seal(&database).await;
    for place in [gap, -5] {
        let insert = entry(2)
            .replace("(id, ", "(seq, id, ")
            .replace(" VALUES (", &format!(" VALUES ({place}, "));
        assert_eq!(harmed(after(&mut owner, &insert).await), (place, Harm::Inserted));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_who_rewrites_the_chain_as_well_lacks_the_signature() {
    let database = trail().await;
    let mut owner = db::pool::connect_once(&database.owner_settings()).await.unwrap();
    let harms = [
        // A checkpoint: its hash is signed.
        (
            "UPDATE audit_checkpoints SET up_to = up_to + 1 WHERE number = 3",
            3,
            "is not what was signed",
        ),
        (
            "UPDATE audit_checkpoints SET sealed_at = now() WHERE number = 2",
            2,
            "is not what was signed",
        ),
        (
            "UPDATE audit_checkpoints SET signature = set_byte(signature, 3, get_byte(signature, 3) # 1) WHERE number = 1",
            1,
            "is not what was signed",
        ),
        (
            "UPDATE audit_checkpoints SET key = 'mine' WHERE number = 2",
            2,
            "is signed by a key that is not trusted",
        ),
        (
            "ALTER TABLE audit_blocks DROP CONSTRAINT audit_blocks_checkpoint_fkey; DELETE FROM audit_checkpoints WHERE number = 2",
            2,
            "is missing",
        ),
        (
            "DELETE FROM audit_blocks WHERE checkpoint = 2 AND shard = 3",
            2,
            "was made with other blocks",
        ),
        (
            "UPDATE audit_blocks SET root = sha256('x') WHERE checkpoint = 3 AND shard = 1",
            0,
            "lists other entries than were sealed",
        ),
        (
            "UPDATE audit_blocks SET previous = sha256('x') WHERE checkpoint = 2 AND shard = 1",
            0,
            "does not follow the one before it",
        ),
    ];
    for (harm, number, why) in harms {
        match after(&mut owner, harm).await {
            Some(Broken::Checkpoint { number: found, why: told }) => {
                assert_eq!((found, told), (number, why), "{harm}");
            }
            Some(Broken::Block { shard: 1, why: told, .. }) => {
                assert_eq!((0, told), (number, why), "{harm}")
            }
            other => panic!("{harm}: {other:?}"),
        }
    }
    // The end cut off, with all that belongs to it: only who noted a checkpoint can tell.
    let cut = "DELETE FROM audit_entries WHERE seq > (SELECT up_to FROM audit_checkpoints WHERE number = 2); \
        DELETE FROM audit_blocks WHERE checkpoint = 3; DELETE FROM audit_checkpoints WHERE number = 3";
    assert_eq!(after(&mut owner, cut).await, None);
    let (number, hash, _) = verify(&owner).await.last.unwrap();
    owner.batch_execute(&format!("BEGIN; {cut}")).await.unwrap();
    let keys = [key().public()];
    let noted = audit_trail::verify(&owner, &keys, Some((number, hash)), |_| {}).await.unwrap();
    assert_eq!(noted.broken, Some(Broken::Checkpoint { number: 3, why: "is missing" }));
    owner.batch_execute("ROLLBACK").await.unwrap();
    let other = audit_trail::verify(&owner, &keys, Some((2, hash)), |_| {}).await.unwrap();
    let why = "is another one than was noted";
    assert_eq!(other.broken, Some(Broken::Checkpoint { number: 2, why }));
}

/// A place is given before the commit: what is sealed must not pass one by that is still to come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_an_entry_that_is_committed_late_is_sealed_with_the_others() {
    let database = TestDatabase::new().await;
    let late = client(&database.service_url).await;
    late.batch_execute(&format!("BEGIN; {}", entry(1))).await.unwrap();
    database.execute(&format!("{}{}", entry(1), entry(2))).await;
    let mut sealer = sealer(&database, Arc::new(SystemClock));
    for _ in 0..5 {
        assert_eq!(sealer.seal().await.unwrap(), (0, false), "the first place is still open");
    }
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(sealed(&mut sealer).await, 3);
    let owner = db::pool::connect_once(&database.owner_settings()).await.unwrap();
    let verdict = verify(&owner).await;
    assert_eq!((verdict.broken, verdict.intact, verdict.unsealed), (None, 3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p5_several_sealers_and_writers_leave_no_entry_out() {
    let database = Arc::new(TestDatabase::new().await);
    let writers: Vec<_> = (0..6_i16)
        .map(|n| {
            let database = database.clone();
            tokio::spawn(async move {
                let client = client(&database.service_url).await;
                for round in 0..40_u64 {
                    let end = if round % 5 == 4 { "ROLLBACK" } else { "COMMIT" };
                    client
                        .batch_execute(&format!("BEGIN; {}{}", entry(n), entry(n + 7)))
                        .await
                        .unwrap();
                    tokio::time::sleep(Duration::from_millis(round * 7 % 23)).await;
                    client.batch_execute(end).await.unwrap();
                }
            })
        })
        .collect();
    let sealers: Vec<_> = (0..3)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move {
                let mut sealer = sealer(&database, Arc::new(SystemClock));
                for _ in 0..80 {
                    sealer.seal().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(11)).await;
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(sealers) {
        task.await.unwrap();
    }
    database.execute(&entry(63)).await;
    seal(&database).await;
    let owner = db::pool::connect_once(&database.owner_settings()).await.unwrap();
    let verdict = verify(&owner).await;
    assert_eq!((verdict.broken, verdict.intact, verdict.unsealed), (None, 6 * 32 * 2 + 1, 0));
    assert!(verdict.last.unwrap().0 > 3, "in several checkpoints");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_entries_go_for_their_age_alone_and_the_chain_says_so() {
    let database = TestDatabase::new().await;
    let old: DateTime<Utc> = SystemClock.now() - TimeDelta::days(50);
    for days in 0..3 {
        database.execute(&format!("{}{}", entry(1), entry(2))).await;
        let clock = Arc::new(ManualClock::at(old + TimeDelta::days(days)));
        assert_eq!(sealed(&mut sealer(&database, clock)).await, 2);
    }
    database.execute(&entry(1)).await;
    seal(&database).await;
    // As the service's role, which cannot delete by itself.
    let service = db::pool::connect_once(&database.settings()).await.unwrap();
    let month = SystemClock.now() - TimeDelta::days(29);
    let young = db::audit_chain::expire(&service, month, SystemClock.new_id(), 1_000).await;
    assert!(young.unwrap_err().to_string().contains("30 days at least"));
    let before = old + TimeDelta::days(1) + TimeDelta::hours(1);
    let expire = async |places| {
        db::audit_chain::expire(&service, before, SystemClock.new_id(), places).await.unwrap()
    };
    // By one checkpoint at a time, where no more are wanted.
    assert_eq!((expire(1).await, expire(1_000).await, expire(1_000).await), (2, 2, 0));
    let mut owner = db::pool::connect_once(&database.owner_settings()).await.unwrap();
    let verdict = verify(&owner).await;
    assert_eq!((verdict.broken, verdict.intact, verdict.expired), (None, 3, 4));
    seal(&database).await;
    let verdict = verify(&owner).await;
    assert_eq!((verdict.broken, verdict.intact, verdict.expired), (None, 5, 4));
    // By hand, without the trail's word for it.
    let by_hand = "DELETE FROM audit_entries WHERE seq <= (SELECT up_to FROM audit_checkpoints WHERE number = 3) \
            AND action <> 'audit.expired'; \
        UPDATE audit_blocks SET entries = '{}', leaves = '', expired_at = now() WHERE checkpoint = 3";
    assert!(matches!(after(&mut owner, by_hand).await, Some(Broken::Block { .. })));
    // Nor does what went come back.
    let back = entry(1).replace("(id, ", "(seq, id, ").replace(" VALUES (", " VALUES (1, ");
    assert_eq!(harmed(after(&mut owner, &back).await), (1, Harm::Inserted));
}

fn hashed(parts: &[&[u8]]) -> Vec<u8> {
    Sha256::digest(parts.concat()).to_vec()
}

fn fields(kind: u8, fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = vec![kind];
    for field in fields {
        match field {
            Some(field) => {
                bytes.extend((field.len() as u64).to_be_bytes());
                bytes.extend(*field);
            }
            None => bytes.extend([0xff; 8]),
        }
    }
    Sha256::digest(bytes).to_vec()
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// RFC 9162, section 2.1.3.2.
fn climb(leaf: Vec<u8>, index: u64, size: u64, path: &Value) -> Vec<u8> {
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for other in path.as_array().unwrap() {
        assert!(last > 0);
        if place % 2 == 1 || place == last {
            hash = hashed(&[&[1], &unhex(other), &hash]);
            while place % 2 == 0 && place > 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = hashed(&[&[1], &hash, &unhex(other)]);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    assert_eq!(last, 0);
    hash
}

/// Checks a proof by what docs/audit.md says of it, with nothing of the service's.
fn check(proof: &Value, public: &str) {
    let (entry, block, point) = (&proof["entry"], &proof["block"], &proof["checkpoint"]);
    let (number, text) = (
        |value: &Value| value.as_i64().unwrap(),
        |value: &Value| value.as_str().map(str::to_owned),
    );
    let micros = |value: &Value| {
        DateTime::parse_from_rfc3339(value.as_str().unwrap())
            .unwrap()
            .timestamp_micros()
            .to_be_bytes()
    };
    let id = |value: &Value| value.as_str().map(|text| *Uuid::parse_str(text).unwrap().as_bytes());
    let (own, customer) = (id(&entry["id"]).unwrap(), id(&entry["customer_id"]));
    let texts =
        ["actor_kind", "actor_id", "action", "data", "request_id"].map(|name| text(&entry[name]));
    let [kind, actor, action, data, request] =
        texts.each_ref().map(|text| text.as_deref().map(str::as_bytes));
    let (seq, shard) =
        (number(&entry["seq"]).to_be_bytes(), (number(&entry["shard"]) as i16).to_be_bytes());
    let at = micros(&entry["occurred_at"]);
    let leaf = fields(
        0,
        &[
            Some(&seq),
            Some(&own),
            Some(&shard),
            customer.as_ref().map(|id| id.as_slice()),
            kind,
            actor,
            action,
            data,
            request,
            Some(&at),
        ],
    );
    let size = number(&block["size"]);
    let root = climb(leaf, number(&block["index"]) as u64, size as u64, &block["path"]);
    let whole = |value: &Value| number(value).to_be_bytes();
    let hash = fields(
        2,
        &[
            Some(&(number(&block["shard"]) as i16).to_be_bytes()),
            Some(&whole(&block["number"])),
            Some(&whole(&block["checkpoint"])),
            Some(&(size as i32).to_be_bytes()),
            Some(&root),
            Some(&unhex(&block["previous"])),
        ],
    );
    let blocks = number(&point["blocks"]);
    let root = climb(hash, number(&point["index"]) as u64, blocks as u64, &point["path"]);
    let hash = fields(
        3,
        &[
            Some(&whole(&point["number"])),
            Some(&whole(&point["up_to"])),
            Some(&(blocks as i32).to_be_bytes()),
            Some(&root),
            Some(&unhex(&point["previous"])),
            Some(&micros(&point["sealed_at"])),
        ],
    );
    let signed = [b"customer-service/audit-checkpoint/v1".as_slice(), &hash].concat();
    let public = STANDARD.decode(public).unwrap();
    let signature = STANDARD.decode(point["signature"].as_str().unwrap()).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
    key.verify(&signed, &signature).expect("the checkpoint's signature");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_the_service_seals_and_the_command_verifies_and_proves() {
    let shop = Shop::configured(&[("AUDIT__SEAL_SECONDS", "1")]).await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.add_address(&node, "Huế").await;
    let ids =
        format!("SELECT id FROM audit_entries WHERE customer_id = '{}' ORDER BY seq", shopper.id);
    let ids = shop.database.column(&ids).await;
    assert!(ids.len() > 3, "{ids:?}");
    let limit = Duration::from_secs(30);
    let last = ids.last().unwrap().clone();
    eventually("the last entry is sealed", limit, || async {
        shop.run(&["audit", "proof", &last]).status.success().then_some(())
    })
    .await;
    let public = String::from_utf8(shop.run(&["audit", "key"]).stdout).unwrap().trim().to_owned();
    for id in &ids {
        let output = shop.run(&["audit", "proof", id]);
        assert!(output.status.success(), "{output:?}");
        check(&serde_json::from_slice(&output.stdout).unwrap(), &public);
    }
    let verify = |more: &[&str]| {
        let output =
            shop.command(&[]).args(["audit", "verify", "--json"]).args(more).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = verify(&[]);
    assert_eq!((code, &told["broken"]), (Some(0), &Value::Null), "{told}");
    assert!(told["intact"].as_u64().unwrap() >= ids.len() as u64, "{told}");
    let noted = format!(
        "{}:{}",
        told["checkpoint"]["number"],
        told["checkpoint"]["hash"].as_str().unwrap()
    );
    assert_eq!(verify(&["--checkpoint", &noted]).0, Some(0));
    assert!(node.metric("audit_entries_sealed_total").await >= ids.len() as f64);
    // Another root key signs otherwise; the former public key is still good for what it signed.
    let other = STANDARD.encode([9; 32]);
    let under = [("SECRETS__ROOT_KEY", other.as_str())];
    let foreign = shop.command(&under).args(["audit", "verify"]).output().unwrap();
    assert_eq!(foreign.status.code(), Some(3), "{foreign:?}");
    let trusting =
        shop.command(&under).args(["audit", "verify", "--trust", &public]).output().unwrap();
    assert_eq!(trusting.status.code(), Some(0), "{trusting:?}");
    // Harm is named by its entry.
    let id = &ids[1];
    let harm = format!("UPDATE audit_entries SET action = 'nothing' WHERE id = '{id}'");
    shop.database.execute(&harm).await;
    let (code, told) = verify(&[]);
    assert_eq!((code, told["broken"]["id"].as_str()), (Some(3), Some(id.as_str())), "{told}");
    assert_eq!(told["broken"]["harm"], "changed");
    assert_eq!(shop.run(&["audit", "proof", id]).status.code(), Some(3));
}
