//! Killed at any instant, and gone on with: by the same node, by another, by a second run of the
//! command. Exactly as many rows, messages and entries as the file has lines, whatever happened.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use customer_service::actors::batch::{AfterCommit, Batches};
use customer_service::actors::imports::engine::{Engine, Step};
use customer_service::actors::imports::settings::{Format, Settings, begin};
use customer_service::actors::imports::source::Source;
use customer_service::actors::imports::{Wish, new_row};
use customer_service::clock::{Clock, SystemClock};
use customer_service::config::Config;
use customer_service::db;
use customer_service::db::imports::Row;
use customer_service::domain::ImportId;
use customer_service::domain::command::Actor;
use serde_json::json;
use tokio::task::JoinSet;

use super::{CSV, counts, over, rows, send, whole};
use crate::harness::{Shop, Shopper, eventually};

/// Small blocks: many instants between two commits.
const SMALL: &[(&str, &str)] = &[("IMPORTS__BLOCK_ROWS", "40"), ("IMPORTS__YIELD_PERCENT", "0")];

async fn imported(shop: &Shop) -> i64 {
    shop.database.count("SELECT count(*) FROM customers").await
}

/// How many rows went in by the import's own word, and how many customers there are, at one instant.
async fn told_and_imported(shop: &Shop) -> (String, String) {
    let both = "SELECT rows_imported::text || ' ' || (SELECT count(*) FROM customers) FROM imports";
    let both = shop.database.one(both).await;
    let (told, imported) = both.split_once(' ').expect("an import");
    (told.to_owned(), imported.to_owned())
}

async fn more_than(shop: &Shop, rows: i64) {
    eventually("rows come in", Duration::from_secs(60), async || {
        (imported(shop).await > rows).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_a_node_killed_in_the_middle_is_followed_by_another_and_no_row_is_doubled() {
    let shop = Shop::configured(SMALL).await;
    let mut node = shop.node().await;
    let file = rows(4_000);
    let accepted = send(&shop, &node, "", CSV, file.clone()).send().await.expect(202);
    let location = accepted.header("location").to_owned();
    for kill in 1..=4 {
        more_than(&shop, 600 * kill - 500).await;
        tokio::time::sleep(Duration::from_millis(13 * kill as u64)).await;
        node.kill9();
        let left = imported(&shop).await;
        let told = shop.database.count("SELECT rows_imported FROM imports").await;
        assert_eq!(told, left, "progress and rows are one transaction");
        node = shop.node().await;
    }
    let done = over(&shop, &node, &location).await;
    assert_eq!(counts(&done), (4_000, 4_000, 0));
    whole(&shop, 4_000).await;
}

/// Breaks off right before and right after commits, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_a_block_that_breaks_off_around_its_commit_is_done_once() {
    let shop = Shop::configured(SMALL).await;
    let points = "block.before_commit=30%panic;block.after_commit=30%panic";
    let mut node = shop.node_with(&[("FAILPOINTS", points)]).await;
    let accepted = send(&shop, &node, "", CSV, rows(600)).send().await.expect(202);
    let location = accepted.header("location").to_owned();
    // A few panics are borne; then the process gives up, and another one goes on.
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let (told, left) = told_and_imported(&shop).await;
        assert_eq!(told, left);
        if left == "600" || !node.runs() {
            break;
        }
    }
    assert!(node.log().contains("panicked"), "the failpoint was met");
    node.kill9();
    let node = shop.node().await;
    assert_eq!(counts(&over(&shop, &node, &location).await), (600, 600, 0));
    whole(&shop, 600).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_never_both_run_one_import() {
    let shop = Shop::configured(SMALL).await;
    let (mut one, other) = tokio::join!(shop.node(), shop.node());
    let mut locations = Vec::new();
    for part in 0..2 {
        let file: String = rows(1_500).replace("@shop", &format!("@shop{part}"));
        let accepted = send(&shop, &other, "", CSV, file).send().await.expect(202);
        locations.push(accepted.header("location").to_owned());
    }
    // One holder of the lock, however often one looks; and one import runs.
    let began = Instant::now();
    let holders = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database \
        JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' \
        AND d.datname = current_database() AND a.application_name = 'customer-service-importer'";
    let running = "SELECT count(*) FROM imports WHERE state = 'running'";
    while began.elapsed() < Duration::from_secs(2) {
        assert!(shop.database.count(holders).await <= 1);
        assert!(shop.database.count(running).await <= 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let at_work = [&one, &other].into_iter().filter(|node| node.log().contains("is taken up"));
    assert_eq!(at_work.count(), 1, "the other one waits");
    // Whichever it was, the other one is enough.
    one.kill9();
    for location in &locations {
        assert_eq!(counts(&over(&shop, &other, location).await), (1_500, 1_500, 0));
    }
    whole(&shop, 3_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_a_killed_command_goes_on_where_it_was() {
    let shop = Shop::configured(SMALL).await;
    let path = shop.folder().join("shop.csv");
    std::fs::write(&path, rows(3_000)).unwrap();
    let run = || {
        let mut command = shop.command(&[]);
        command.arg("import").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    };
    for kill in 1..=3 {
        let mut child = run();
        more_than(&shop, 700 * kill - 600).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let (told, left) = told_and_imported(&shop).await;
        assert_eq!(told, left);
    }
    assert!(run().wait().unwrap().success());
    whole(&shop, 3_000).await;
    assert_eq!(shop.database.count("SELECT count(*) FROM imports").await, 1);
    let done = "SELECT state || ' ' || rows_read || ' ' || rows_failed FROM imports";
    assert_eq!(shop.database.one(done).await, "completed 3000 0");
}

/// While an import runs, the service answers, and what it acknowledges is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_writes_go_on_during_an_import() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let mut shoppers = Vec::new();
    for _ in 0..4 {
        shoppers.push(Shopper::new(&shop, &node).await);
    }
    let before = imported(&shop).await;
    let accepted = send(&shop, &node, "", CSV, rows(6_000)).send().await.expect(202);
    let ended = Arc::new(AtomicBool::new(false));
    let writers = shoppers.into_iter().map(|shopper| {
        let (node, ended) = (node.api(), ended.clone());
        tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            let mut writes = 0;
            while !ended.load(Ordering::Acquire) {
                let began = Instant::now();
                let body = json!({ "first_name": format!("Anna {writes}") });
                let answer = shopper.patch(&node, "/v1/me", body).send().await;
                assert_eq!(answer.expect(200).json()["first_name"], format!("Anna {writes}"));
                slowest = slowest.max(began.elapsed());
                writes += 1;
            }
            (writes, slowest)
        })
    });
    let writers: Vec<_> = writers.collect();
    let done = over(&shop, &node, accepted.header("location")).await;
    ended.store(true, Ordering::Release);
    assert_eq!(counts(&done), (6_000, 6_000, 0));
    for writer in writers {
        let (writes, slowest) = writer.await.unwrap();
        println!("{writes} writes, the slowest took {slowest:?}");
        assert!(writes > 20 && slowest < Duration::from_secs(3), "{writes} {slowest:?}");
    }
    assert_eq!(imported(&shop).await, before + 6_000);
}

/// The lock only saves work: should two carry out one import all the same, one having been frozen
/// perhaps, whoever comes second with a block finds the import elsewhere and does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m1_who_comes_second_with_a_block_does_nothing() {
    const ROWS: usize = 900;
    let shop = Shop::new().await;
    let path = shop.folder().join("shop.csv");
    let file = rows(ROWS);
    std::fs::write(&path, &file).unwrap();
    let (engine, row) = ready(&shop, file.as_bytes()).await;
    let open = async || {
        let file = tokio::fs::File::open(&path).await.unwrap();
        let source = Source::file(file, row.position as u64).await.unwrap();
        engine.open(&row, source).unwrap()
    };
    let (mut one, mut other) = (open().await, open().await);
    assert_eq!(one.step(&engine).await.unwrap(), Step::Block(100));
    assert_eq!(other.step(&engine).await.unwrap(), Step::Superseded);
    assert_eq!(imported(&shop).await, 100);
    // Many at once, over and over from where it is.
    drop((one, other));
    let mut racers = JoinSet::new();
    for _ in 0..4 {
        let (engine, path, database) = (engine.clone(), path.clone(), shop.database.database());
        racers.spawn(async move {
            loop {
                let row = {
                    let connection = database.get().await.unwrap();
                    db::imports::find(&connection, ImportId(row.id)).await.unwrap().unwrap()
                };
                if row.finished_at.is_some() {
                    break;
                }
                let file = tokio::fs::File::open(&path).await.unwrap();
                let source = Source::file(file, row.position as u64).await.unwrap();
                let mut run = engine.open(&row, source).unwrap();
                while let Step::Block(_) = run.step(&engine).await.unwrap() {}
            }
        });
    }
    racers.join_all().await;
    whole(&shop, ROWS as i64).await;
    let done = "SELECT state || ' ' || rows_imported || ' ' || rows_failed FROM imports";
    assert_eq!(shop.database.one(done).await, format!("completed {ROWS} 0"));
}

/// An engine of blocks of a hundred rows, and an import of a file that runs.
async fn ready(shop: &Shop, file: &[u8]) -> (Engine, Row) {
    let environment = [
        ("CUSTOMER_SERVICE__DATABASE__URL", shop.database.service_url.as_str()),
        ("CUSTOMER_SERVICE__SECRETS__ROOT_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ("CUSTOMER_SERVICE__IMPORTS__BLOCK_ROWS", "100"),
        ("CUSTOMER_SERVICE__IMPORTS__BLOCK_MS", "2000"),
        ("CUSTOMER_SERVICE__IMPORTS__YIELD_PERCENT", "0"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::from_sources(None, &environment.into()).unwrap();
    let database = shop.database.database();
    let batches = Batches {
        database: database.clone(),
        clock: Arc::new(SystemClock),
        keep_keys: TimeDelta::hours(24),
        welcome: Default::default(),
        defaults: Default::default(),
        standards: Default::default(),
        seals: crate::harness::inside::seals(shop.root_key),
        after: AfterCommit::default(),
    };
    let mut settings = Settings::new(Default::default(), ',', None);
    let place = begin(Format::Csv, &mut settings, file, true).unwrap();
    let (format, actor) = (Format::Csv, Actor::Operator);
    let wish = Wish { format, settings, name: None, dry_run: false, actor };
    let mut row = new_row(ImportId(SystemClock.new_id()), &wish, "file", SystemClock.now());
    row.state = "running".to_owned();
    row.bytes = file.len() as i64;
    (row.position, row.line) = (place.offset as i64, place.line as i64);
    let connection = database.get().await.unwrap();
    db::imports::insert(&connection, &row).await.unwrap();
    (Engine::new(&config, Arc::new(batches)), row)
}
