//! No statement of any route, nor of the workers behind them, has to read a whole table: the planner
//! is forbidden to wherever an index would do, so that what it reads whole all the same has none.

use std::time::Duration;

use super::{World, mine, operations, staff};

/// Tables that are read whole on purpose, and why that stays cheap.
const SMALL: &[(&str, &str)] = &[
    ("attribute_definitions", "at most 200, read whole to suggest a key"),
    ("imports", "one row for each file of the last `imports.keep_days`"),
    ("segment_book", "one row"),
    ("signing_keys", "a few, read whole by every node's watch"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_route_and_no_worker_reads_a_table_without_an_index() {
    let mut world = World::arranged(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', \
         current_database()); END $$; SELECT pg_stat_reset()",
    )
    .await;
    let document = world.node.get("/openapi.json").send().await.expect(200).json();
    for operation in operations(&document) {
        let name = operation.name.as_str();
        let who = world.someone(&operation).await;
        let (trial, key) = match operation.scopes.is_empty() {
            true => (mine::trial(&world, &who, name).await, who.access.clone()),
            false => (staff::trial(&world, &who, name).await, world.shop.staff_key.clone()),
        };
        let trial = trial.unwrap_or_else(|| panic!("{name} has no row"));
        let call = world.call(&operation, &trial.path, &trial.body).bearer(&key);
        call.send().await.expect(trial.status);
    }
    // Time for the workers; and what a connection has counted is told when it ends.
    tokio::time::sleep(Duration::from_secs(2)).await;
    world.node.sigterm();
    world.node.ended(Duration::from_secs(20)).await;
    // Rows, because a new partition is looked through, empty, when it is attached.
    let read_whole =
        "SELECT relname FROM pg_stat_user_tables WHERE seq_tup_read > 0 ORDER BY relname";
    let found = world.shop.database.column(read_whole).await;
    let known: Vec<&str> = SMALL.iter().map(|(table, _)| *table).collect();
    let scanned: Vec<_> = found.iter().filter(|table| !known.contains(&table.as_str())).collect();
    assert!(scanned.is_empty(), "read whole for want of an index: {scanned:?}");
}
