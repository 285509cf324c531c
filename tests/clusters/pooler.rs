//! Reads through PgBouncer in transaction mode, which lends a session for one transaction: what Debian has
//! (1.18) keeps no prepared statements and refuses our settings, so each read brings both itself.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::{Node, Shop, Shopper};
use crate::state;

const READS: usize = 300;
const AT_ONCE: usize = 12;

async fn reads(node: &Node, shop: &Shop, shoppers: &[Shopper]) -> Duration {
    let began = Instant::now();
    let one_caller = async |caller: usize| {
        for number in 0..READS / AT_ONCE {
            let shopper = &shoppers[(caller + number) % shoppers.len()];
            let path = match number % 3 {
                0 => format!("/v1/admin/customers?email={}", shopper.email),
                1 => format!("/v1/admin/customers/{}/timeline", shopper.id),
                _ => "/v1/admin/customers?limit=5".to_owned(),
            };
            node.get(&path).bearer(&shop.staff_key).send().await.expect(200);
        }
    };
    join_all((0..AT_ONCE).map(one_caller)).await;
    began.elapsed()
}

async fn answered_by(node: &Node, who: &str) -> f64 {
    node.metric_where("database_replica_reads_total", &format!("answered_by=\"{who}\"")).await
}

pub async fn reads_through_a_pooler_of_transactions_are_whole_and_leave_nothing_behind() {
    let postgres = PrivateServer::start("postgres");
    let pooler = PrivateServer::start_as("pgbouncer", &[("POOLER_OF", state(&postgres))]);
    let shop = Shop::with(TestDatabase::on(&postgres.url).await, &[]).await;
    let mut through = url::Url::parse(&pooler.url).unwrap();
    through.set_path(url::Url::parse(&shop.database.url).unwrap().path());
    let pooled = [
        ("DATABASE__READ_URL", through.as_str()),
        ("DATABASE__READ_POOLER", "transaction"),
        // Three sessions for all: who waits for one shall not go to the primary instead.
        ("DATABASE__READ_WAIT_MS", "9000"),
    ];
    // Two nodes give their statements the same names, and share the pooler's three sessions.
    let (one, two) = (shop.node_with(&pooled).await, shop.node_with(&pooled).await);
    let direct = shop.node().await;
    let mut shoppers = Vec::new();
    for _ in 0..6 {
        shoppers.push(Shopper::new(&shop, &direct).await);
    }
    let (first, second) =
        tokio::join!(reads(&one, &shop, &shoppers), reads(&two, &shop, &shoppers));
    for node in [&one, &two] {
        assert_eq!(answered_by(node, "primary").await, 0.0, "{}", node.log());
        assert_eq!(answered_by(node, "replica").await, READS as f64);
    }
    let alone = reads(&direct, &shop, &shoppers).await;
    let pooled_alone = reads(&one, &shop, &shoppers).await;
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE client_addr = '127.0.0.1' \
        AND datname = current_database() AND pid <> pg_backend_pid() \
        AND query LIKE '%READ ONLY%' OR query IN ('COMMIT', 'ROLLBACK')";
    println!(
        "{READS} reads at {AT_ONCE} callers: direct {alone:?}, through PgBouncer {pooled_alone:?} \
         (two nodes at once: {first:?}, {second:?}); sessions of the pooler {}",
        shop.database.one(sessions).await
    );
    // And changes go on directly.
    let body = serde_json::json!({ "first_name": "Direct" });
    shoppers[0].patch(&one, "/v1/me", body).send().await.expect(200);
}

/// Why there is a setting for it.
pub async fn a_pooler_that_is_taken_for_postgresql_is_not_read_and_costs_no_read() {
    let postgres = PrivateServer::start("postgres");
    let pooler = PrivateServer::start_as("pgbouncer", &[("POOLER_OF", state(&postgres))]);
    let shop = Shop::with(TestDatabase::on(&postgres.url).await, &[]).await;
    let mut through = url::Url::parse(&pooler.url).unwrap();
    through.set_path(url::Url::parse(&shop.database.url).unwrap().path());
    let settings =
        [("DATABASE__READ_URL", through.as_str()), ("DATABASE__ACQUIRE_TIMEOUT_MS", "500")];
    let node = shop.node_with(&settings).await;
    let shopper = Shopper::new(&shop, &node).await;
    for _ in 0..3 {
        let path = format!("/v1/admin/customers?email={}", shopper.email);
        node.get(&path).bearer(&shop.staff_key).send().await.expect(200);
    }
    assert_eq!(answered_by(&node, "replica").await, 0.0);
    assert_eq!(answered_by(&node, "primary").await, 3.0);
}
