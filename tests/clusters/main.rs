//! The service on clusters instead of single servers: a PostgreSQL primary with a standby, three nodes of
//! RabbitMQ, a Redis Cluster, PgBouncer in front of reads. All are started by the scenarios, on the
//! loopback, and broken by them.
//!
//! `make clusters` runs all of it, `cargo test` the short form. Scenarios run one after the other, since
//! each has a machine's worth of servers, and measures. Arguments name scenarios to run:
//! `cargo test --test clusters -- rabbit::`.

#[path = "../it/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the integration tests use the rest of it")]
mod harness;

mod load;
mod pooler;
mod postgres;
mod rabbit;
#[path = "../faults/rabbitmqctl.rs"]
mod rabbitmqctl;
mod redis;
mod replica;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

/// No scenario takes longer, whatever goes wrong.
const LIMIT: Duration = Duration::from_secs(900);

/// What is broken, and what must hold in spite of it: its name says both.
struct Scenario {
    name: &'static str,
    play: fn() -> BoxFuture<'static, ()>,
    /// Whether the short form has it.
    short: bool,
}

macro_rules! scenario {
    ($path:path, short: $short:literal) => {
        Scenario { name: stringify!($path), play: || Box::pin($path()), short: $short }
    };
}

const SCENARIOS: &[Scenario] = &[
    scenario!(
        postgres::a_promoted_standby_has_all_that_was_acknowledged_with_synchronous_replication,
        short: false
    ),
    scenario!(postgres::a_promoted_standby_goes_on_with_asynchronous_replication, short: false),
    scenario!(
        postgres::a_demoted_primary_is_left_for_the_promoted_standby_although_it_still_answers,
        short: true
    ),
    scenario!(postgres::migrations_find_the_primary_among_several_hosts, short: true),
    scenario!(
        replica::a_list_from_the_replica_shows_what_was_committed_before_and_the_primary_stands_in,
        short: false
    ),
    scenario!(
        pooler::reads_through_a_pooler_of_transactions_are_whole_and_leave_nothing_behind,
        short: false
    ),
    scenario!(pooler::a_pooler_that_is_taken_for_postgresql_is_not_read_and_costs_no_read, short: false),
    scenario!(rabbit::a_broker_node_that_dies_costs_no_message_whichever_it_is, short: false),
    scenario!(rabbit::a_queue_that_found_another_leader_is_published_to, short: false),
    scenario!(redis::limits_hold_on_a_cluster_whose_masters_die, short: false),
    scenario!(redis::without_the_cluster_each_node_gives_half_when_it_is_told_to, short: false),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names: Vec<_> = arguments.iter().filter(|one| !one.starts_with('-')).collect();
    let whole = std::env::var("CLUSTERS").is_ok_and(|form| form == "all");
    let chosen: Vec<&Scenario> = SCENARIOS
        .iter()
        .filter(|scenario| match names.is_empty() {
            true => whole || scenario.short,
            false => names.iter().any(|name| scenario.name.starts_with(name.as_str())),
        })
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        chosen.iter().for_each(|scenario| println!("{}: test", scenario.name));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(&chosen))
}

async fn run(chosen: &[&Scenario]) -> ExitCode {
    let (began, mut failed) = (Instant::now(), Vec::new());
    for Scenario { name, play, .. } in chosen {
        let began = Instant::now();
        println!("--- {name}");
        // On a task of its own: its servers are started and ended by blocking calls, and a panic is its.
        let mut playing = tokio::spawn(play());
        let held = matches!(tokio::time::timeout(LIMIT, &mut playing).await, Ok(Ok(())));
        playing.abort();
        println!("{} ({} s)", if held { "ok" } else { "FAILED" }, began.elapsed().as_secs());
        if !held {
            failed.push(*name);
        }
    }
    let passed = chosen.len() - failed.len();
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {} failed {failed:?}; finished in {} s",
        failed.len(),
        began.elapsed().as_secs()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The text of an address with several hosts, from addresses that differ in their hosts alone.
fn together(addresses: &[&str]) -> String {
    let host = |address: &str| {
        let url = url::Url::parse(address).unwrap();
        format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
    };
    let hosts: Vec<_> = addresses.iter().map(|address| host(address)).collect();
    addresses[0].replacen(&host(addresses[0]), &hosts.join(","), 1)
}

/// The same database at another server.
fn at(server: &str, database: &str) -> String {
    let (server, mut url) = (url::Url::parse(server).unwrap(), url::Url::parse(database).unwrap());
    url.set_host(server.host_str()).unwrap();
    url.set_port(server.port()).unwrap();
    url.into()
}

/// How another server is told of this one.
fn state(server: &harness::servers::PrivateServer) -> &str {
    server.state.to_str().unwrap()
}
