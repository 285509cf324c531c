//! F26: a backup from before an erasure brings customers back; the ledger, which was kept apart, says who
//! is to be erased again.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::ground::{dump, give_keys, marked, seed};
use crate::harness::db::TestDatabase;
use crate::harness::{Shop, eventually};

const CUSTOMERS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p2_whoever_a_backup_brings_back_is_erased_again() {
    let shop = Shop::new().await;
    let ids = seed(&shop.database, CUSTOMERS).await;
    // One that lives on, to be left alone.
    let lives = "DELETE FROM erasures WHERE customer_id = $; UPDATE customers SET status = 'active', \
        status_before_deletion = NULL WHERE id = $";
    shop.database.execute(&lives.replace('$', &format!("'{}'", ids[0]))).await;
    let node = shop.node().await;
    give_keys(&shop.database).await;
    let backup = dump(&shop.database.url);
    let due = "UPDATE erasures SET due_at = now(), look_at = now()";
    shop.database.execute(due).await;
    let open = "SELECT count(*) FROM erasures WHERE state <> 'completed'";
    eventually("all are erased", Duration::from_secs(60), async || {
        (shop.database.count(open).await == 0).then_some(())
    })
    .await;
    drop(node);
    let ledger = shop.run(&["privacy", "ledger"]);
    assert!(ledger.status.success(), "{}", String::from_utf8_lossy(&ledger.stderr));
    let ledger = String::from_utf8(ledger.stdout).unwrap();
    assert_eq!(ledger.lines().count(), CUSTOMERS - 1);
    assert_eq!(marked(&ledger), Vec::<String>::new(), "ids and instants alone");

    // The disaster, and the backup from before.
    let restored = TestDatabase::empty().await;
    restore(&restored.url, &backup);
    let shop = Shop::with(restored, &[("PRIVACY__COMMANDS", "order.anonymize")]).await;
    assert!(!marked(&dump(&shop.database.url)).is_empty(), "they are back");
    let file = shop.folder().join("ledger.ndjson");
    std::fs::write(&file, &ledger).unwrap();
    let file = file.display().to_string();
    let began = Instant::now();
    let replayed = shop.run(&["privacy", "replay", &file]);
    let told = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
    let expected = format!("{0} entries: {0} erased again", CUSTOMERS - 1);
    assert!(told.starts_with(&expected), "{told}");
    println!("{} erased again in {:?}", CUSTOMERS - 1, began.elapsed());
    let left = "SELECT count(*) FROM customers WHERE status <> 'erased'";
    assert_eq!(shop.database.count(left).await, 1);
    let own =
        marked(&dump(&shop.database.url).replace("zqmark000000", "").replace("+84998760000", ""));
    let own: Vec<_> = own.into_iter().filter(|line| !line.contains(&ids[0])).collect();
    let strangers: Vec<_> = own.into_iter().filter(|line| line.contains("zqmark")).collect();
    assert_eq!(strangers, Vec::<String>::new());

    let told_rows = "SELECT count(*) FROM outbox_events WHERE kind = 'order.anonymize'";
    // The other services are told anew, each of whom once, by erasures that wait for their answers.
    let told = "SELECT count(DISTINCT data->>'customer_id') FROM outbox_events WHERE kind = 'order.anonymize'";
    assert_eq!(shop.database.count(told).await, CUSTOMERS as i64 - 1);
    let running = "SELECT count(*) FROM erasures AS e JOIN erasure_steps AS s ON s.erasure_id = e.id \
        WHERE e.state = 'running' AND s.state = 'sent' AND s.name = 'order.anonymize'";
    assert_eq!(shop.database.count(running).await, CUSTOMERS as i64 - 1);

    // Again: nothing is left to do, and nobody is told twice.
    let again = shop.run(&["privacy", "replay"]);
    let told = String::from_utf8_lossy(&again.stdout).into_owned();
    let expected = format!("{0} entries: 0 erased again, {0} erased already", CUSTOMERS - 1);
    assert!(told.starts_with(&expected), "{told}");
    assert_eq!(shop.database.count(told_rows).await, CUSTOMERS as i64 - 1);
    // A line that is none is told, and what comes before it is done.
    std::fs::write(shop.folder().join("bad"), "nonsense\n").unwrap();
    let bad = shop.run(&["privacy", "replay", &shop.folder().join("bad").display().to_string()]);
    assert!(!bad.status.success());
    assert!(String::from_utf8_lossy(&bad.stderr).contains("line 1 is no entry of a ledger"));
}

fn restore(url: &str, dump: &str) {
    let mut psql = Command::new("psql")
        .args(["--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("psql is there");
    psql.stdin.take().unwrap().write_all(dump.as_bytes()).unwrap();
    let done = psql.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
