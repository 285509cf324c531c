//! A primary with a streaming standby, by one address with both hosts: the primary is killed under load,
//! the standby promoted, and the service goes on by itself. What was acknowledged is there:
//! all of it with synchronous replication; with asynchronous replication all but the last moment's.

use std::time::{Duration, Instant};

use crate::harness::checker;
use crate::harness::db::TestDatabase;
use crate::harness::servers::PrivateServer;
use crate::harness::{Shop, Shopper, eventually};
use crate::load::{Load, changed};
use crate::{at, state, together};

/// A primary, its standby, and a shop that knows both.
pub struct Pair {
    pub primary: PrivateServer,
    pub standby: PrivateServer,
    pub shop: Shop,
    /// The shop's database at the standby.
    pub at_standby: String,
}

/// When an acknowledged change is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// When the standby has it on disk.
    Synchronous,
    /// When the primary has it on disk.
    Asynchronous,
}

impl Pair {
    pub async fn start(replication: Replication, settings: &[(&str, &str)]) -> Self {
        let primary = PrivateServer::start("postgres");
        let standby = PrivateServer::start_as("postgres", &[("MEMBER_OF", state(&primary))]);
        let database = TestDatabase::on(&primary.url).await;
        if replication == Replication::Synchronous {
            let synchronous = "ALTER SYSTEM SET synchronous_standby_names = 'standby'";
            database.execute(synchronous).await;
            database.execute("SELECT pg_reload_conf()").await;
        }
        let wanted = match replication {
            Replication::Synchronous => "sync",
            Replication::Asynchronous => "async",
        };
        let state = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'";
        eventually("the standby follows", Duration::from_secs(30), async || {
            (database.one(state).await == wanted).then_some(())
        })
        .await;
        let at_standby = at(&standby.url, &database.url);
        // The standby first: the order says nothing of who takes writes.
        let both = together(&[&at(&standby.url, &database.service_url), &database.service_url]);
        let mut all = vec![("DATABASE__URL", both.as_str())];
        all.extend(settings);
        let shop = Shop::with(database, &all).await;
        Self { primary, standby, shop, at_standby }
    }

    /// As a tool for high availability does it. Answers when the standby takes writes.
    pub async fn promote(&mut self) {
        self.shop.database.url = self.at_standby.clone();
        self.shop.database.execute("SELECT pg_promote()").await;
        eventually("the standby is promoted", Duration::from_secs(30), async || {
            (self.shop.database.one("SELECT pg_is_in_recovery()").await == "f").then_some(())
        })
        .await;
    }
}

/// Kills the primary under load and promotes the standby. Answers with the changes that were
/// acknowledged and are not there.
async fn fail_over(replication: Replication) -> usize {
    let mut pair = Pair::start(replication, &[]).await;
    let consumer = pair.shop.consumer().await;
    let nodes = [pair.shop.node().await, pair.shop.node().await];
    let load = Load::start(&pair.shop, &[nodes[0].api(), nodes[1].api()], 16).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let killed_at = Instant::now();
    pair.primary.stop("KILL").await;
    pair.promote().await;
    let promoted_at = Instant::now();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let told = load.stop().await;
    let changes = told.changes();
    let rows = pair.shop.database.rows(
        "SELECT customer_id, data->>'version' FROM outbox_events WHERE kind = 'customer.updated'",
    );
    let there: std::collections::HashSet<_> = rows
        .await
        .into_iter()
        .map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap_or_default()))
        .collect();
    let is_lost = |change: &checker::Acknowledged| {
        !there.contains(&(change.customer_id.clone(), change.version.to_string()))
    };
    let lost: Vec<_> = told.acknowledged.iter().filter(|(_, change)| is_lost(change)).collect();
    let again = told.acknowledged.iter().find(|(at, _)| *at > promoted_at);
    let (again, _) = again.expect("changes are acknowledged after the promotion");
    println!(
        "{replication:?}: {} changes acknowledged, {} calls refused, {} lost; promoted {:?} after the \
         kill, changes again {:?} after the kill, {:?} after the promotion; longest pause {:?}",
        changes.len(),
        told.refused,
        lost.len(),
        promoted_at - killed_at,
        *again - killed_at,
        *again - promoted_at,
        told.longest_gap(),
    );
    assert!(changes.len() > 200, "too little load");
    assert!(*again - promoted_at < Duration::from_secs(5), "slow to find the new primary");
    for (at, change) in &lost {
        let before = killed_at.saturating_duration_since(*at);
        assert!(
            before < Duration::from_secs(1),
            "{change:?} was old when the primary died: {before:?}"
        );
    }
    if lost.is_empty() {
        let limit = Duration::from_secs(90);
        println!("{:?}", checker::check(&pair.shop.database, &consumer, &changes, limit).await);
    }
    consumer.close().await;
    lost.len()
}

pub async fn a_promoted_standby_has_all_that_was_acknowledged_with_synchronous_replication() {
    assert_eq!(fail_over(Replication::Synchronous).await, 0);
}

/// What is lost is told, and is of the last moment; that nothing is lost is luck, not a promise.
pub async fn a_promoted_standby_goes_on_with_asynchronous_replication() {
    fail_over(Replication::Asynchronous).await;
}

/// Error 25006: the connections live, and their server has become one that only reads.
pub async fn a_demoted_primary_is_left_for_the_promoted_standby_although_it_still_answers() {
    let mut pair = Pair::start(Replication::Asynchronous, &[]).await;
    let node = pair.shop.node().await;
    let shopper = Shopper::new(&pair.shop, &node).await;
    changed(&node, &shopper, Duration::from_secs(5)).await;
    let caught_up = "SELECT pg_current_wal_flush_lsn() = replay_lsn FROM pg_stat_replication";
    pair.shop.database.execute("ALTER SYSTEM SET default_transaction_read_only = on").await;
    pair.shop.database.execute("SELECT pg_reload_conf()").await;
    eventually("the standby has everything", Duration::from_secs(10), async || {
        (pair.shop.database.one(caught_up).await == "t").then_some(())
    })
    .await;
    // Nobody takes writes now: refused, and soon no connection is left that would be asked.
    let body = serde_json::json!({ "first_name": "Nobody" });
    let refused = shopper.patch(&node, "/v1/me", body).send().await;
    refused.problem(503, "unavailable");
    let demoted = pair.shop.database.url.clone();
    pair.promote().await;
    let promoted_at = Instant::now();
    changed(&node, &shopper, Duration::from_secs(10)).await;
    println!("demoted: changes again {:?} after the promotion", promoted_at.elapsed());
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'customer-service' \
        AND datname = current_database()";
    let promoted = std::mem::replace(&mut pair.shop.database.url, demoted);
    eventually("no connection to the demoted one", Duration::from_secs(20), async || {
        // Each use of the pool looks at the connections it takes.
        for _ in 0..4 {
            shopper.get(&node, "/v1/me").send().await;
        }
        (pair.shop.database.count(left).await == 0).then_some(())
    })
    .await;
    pair.shop.database.url = promoted;
}

pub async fn migrations_find_the_primary_among_several_hosts() {
    let pair = Pair::start(Replication::Asynchronous, &[]).await;
    pair.shop.database.execute("CREATE DATABASE empty").await;
    let mut url = url::Url::parse(&pair.shop.database.url).unwrap();
    url.set_path("/empty");
    let standby = at(&pair.standby.url, url.as_str());
    let both = together(&[&standby, url.as_str()]);
    let migrated = pair.shop.command(&[("DATABASE__URL", &both)]).arg("migrate").output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let alone = pair.shop.command(&[("DATABASE__URL", standby.as_str())]).arg("migrate").output();
    assert!(!alone.unwrap().status.success(), "a standby alone takes no migration");
}
