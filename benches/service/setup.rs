//! Everything the rows need: the servers, a migrated and filled database, signed-in customers.

use super::broker::{Broker, EXCHANGE, NOTIFICATIONS};
use super::database::{self, CUSTOMERS, Server, email_of};
use super::load::{Connection, request};
use super::machine;
use super::pgbench::Pgbench;
use super::rows::{Bench, Holder};
use super::service::{Program, Running};
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use customer_service::clock::{Clock, SystemClock};
use customer_service::security::hashing::{HashingPool, HashingSettings};
use customer_service::security::passwords::Password;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The password of all customers of the bench.
pub const PASSWORD: &str = "nine lamps above the quiet harbour";
/// Customers with an access token; the most connections that a row uses.
pub const HOLDERS: u32 = 256;
/// Clients that pgbench may have at most.
pub const PGBENCH_CLIENTS: usize = 32;

/// The configured cost of a password, and one that costs nothing, for signing in holders quickly.
pub const FULL_COST: (u32, u32) = (19_456, 2);
const CHEAP_COST: (u32, u32) = (8, 1);

/// Hashing threads that the service is told to have; 0 leaves it to the number of cores.
fn threads() -> Result<usize> {
    match std::env::var("CUSTOMER_SERVICE__HASHING__THREADS") {
        Ok(text) => text.parse().context("CUSTOMER_SERVICE__HASHING__THREADS"),
        Err(_) => Ok(0),
    }
}

/// Hashing as the service does it, in this process.
pub fn hashing(cost: (u32, u32)) -> Result<HashingPool> {
    Ok(HashingPool::start(HashingSettings {
        threads: threads()?,
        queue_max: 64,
        deadline: Duration::from_secs(10),
        memory_kib: cost.0,
        passes: cost.1,
        lanes: 1,
    })?)
}

pub fn password() -> Password {
    Password::presented(PASSWORD)
}

/// Prepares a run.
pub async fn prepare() -> Result<Bench> {
    let variable = |name: &str| {
        std::env::var(name).with_context(|| format!("{name} is not set; run `make bench`"))
    };
    let binary = std::env::var_os("BENCH_SERVICE")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_customer-service")), PathBuf::from);
    let folder = target_folder()?;
    let server = Server::create(&variable("BENCH_DATABASE_URL")?, database::NAME).await?;
    let broker = match std::env::var("BENCH_AMQP_URL") {
        Ok(url) if !url.is_empty() => Some(Broker::open(&url).await?),
        _ => None,
    };
    let program = Program {
        environment: environment(&server, broker.is_some())?,
        log: folder.join("service.log"),
        path: binary,
    };
    // A new log for each run.
    std::fs::write(program.log(), "")?;
    program.run(&["migrate"]).context("the database cannot be migrated")?;
    let cheap = hashing(CHEAP_COST)?.hash(password()).await?;
    let full = hashing(FULL_COST)?.hash(password()).await?;
    server.seed(cheap.as_str(), full.as_str()).await?;
    let holders = sign_in_holders(&program).await?;
    let customers = customers_of_pgbench();
    let pgbench = Pgbench::new(&variable("BENCH_PGBENCH")?, &folder, &customers)?;
    let machine = format!(
        "machine: {} cores; PostgreSQL {}, {}; making 8 KiB durable takes {:.2} ms; broker {}",
        machine::cores(),
        server.version,
        server.durability,
        machine::sync_ms(&folder)?,
        if broker.is_some() { "connected" } else { "left out" },
    );
    let wanted = std::env::var("ROW").unwrap_or_default();
    let rows = wanted.split(',').map(|row| row.trim().to_owned()).filter(|row| !row.is_empty());
    let quick = std::env::var("QUICK").is_ok_and(|value| !value.is_empty() && value != "0");
    Ok(Bench {
        folder,
        server,
        broker,
        program,
        holders,
        pgbench,
        machine,
        rows: rows.collect(),
        quick,
        loads: Default::default(),
    })
}

/// `bench` in cargo's target folder, which is where this program lies, some folders up.
fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    // target/release/deps/service-…
    let target = program.ancestors().nth(3).unwrap_or(Path::new("target"));
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// The service's configuration, for as much as it differs from the defaults.
fn environment(server: &Server, with_broker: bool) -> Result<Vec<(String, String)>> {
    let mut root_key = [0; 32];
    SystemClock.random(&mut root_key);
    let mut settings = vec![
        ("SECRETS__ROOT_KEY", base64::engine::general_purpose::STANDARD.encode(root_key)),
        ("DATABASE__URL", server.url.to_string()),
        ("MAIL__TRANSPORT", "none".to_owned()),
        // Row i hears of orders, in a queue of its own.
        ("ORDERS__INTAKE__ENABLED", "off".to_owned()),
        // A walk through everybody would be measured along.
        ("ORDERS__RECONCILIATION__EVERY_HOURS", "0".to_owned()),
        // All clients come from one address, and tokens must last as long as the run.
        ("LIMITS__SIGN_IN_PER_MINUTE", "1000000".to_owned()),
        ("SESSIONS__ACCESS_TOKEN_MINUTES", "60".to_owned()),
    ];
    if let Ok(url) = std::env::var("BENCH_REDIS_URL")
        && !url.is_empty()
    {
        settings.push(("REDIS__URL", url));
    }
    if with_broker {
        settings.push(("RABBIT__URL", std::env::var("BENCH_AMQP_URL")?));
        settings.push(("RABBIT__EXCHANGE", EXCHANGE.to_owned()));
        settings.push(("RABBIT__NOTIFICATIONS_EXCHANGE", NOTIFICATIONS.to_owned()));
    }
    let prefixed = |(name, value)| (format!("CUSTOMER_SERVICE__{name}"), value);
    let mut environment: Vec<(String, String)> = settings.into_iter().map(prefixed).collect();
    // To try other settings: the caller's own, which come last and win.
    let given =
        |name: &str| name.starts_with("CUSTOMER_SERVICE__") || name.starts_with("MIMALLOC_");
    environment.extend(std::env::vars().filter(|(name, _)| given(name)));
    Ok(environment)
}

/// Signs customers in over HTTP, at a service whose hashing costs next to nothing.
async fn sign_in_holders(program: &Program) -> Result<Vec<Holder>> {
    let cheap = [
        ("CUSTOMER_SERVICE__HASHING__MEMORY_KIB", CHEAP_COST.0.to_string()),
        ("CUSTOMER_SERVICE__HASHING__PASSES", CHEAP_COST.1.to_string()),
    ];
    let running = program.start(&["serve"], &cheap, "/health/ready").await?;
    let mut holders = Vec::new();
    for index in 0..HOLDERS {
        // Spread over the whole table, as the shoppers of one moment are.
        let number = index * (CUSTOMERS / HOLDERS);
        holders.push(sign_in(&running, number).await?);
    }
    running.stop().await?;
    Ok(holders)
}

async fn sign_in(running: &Running, number: u32) -> Result<Holder> {
    let mut connection = Connection::open(running.address).await?;
    let answer = connection.exchange(&sign_in_request(number)).await?;
    let body: Value = serde_json::from_slice(answer.body).unwrap_or_default();
    ensure!(answer.status == 200, "sign-in answered {}: {body}", answer.status);
    let text = |name: &str| {
        let text = body[name].as_str().with_context(|| format!("a sign-in brought no {name}"))?;
        anyhow::Ok(text.to_owned())
    };
    Ok(Holder { number, token: text("access_token")?, refresh: text("refresh_token")? })
}

/// A sign-in of customer `number` with the right password.
pub fn sign_in_request(number: u32) -> Vec<u8> {
    let body = json!({ "email": email_of(number), "password": PASSWORD }).to_string();
    request("POST", "/v1/auth/login", None, Some(&body))
}

/// One customer for each client: pages apart, and of different shards.
pub fn customers_of_pgbench() -> Vec<u32> {
    let per_client = CUSTOMERS / PGBENCH_CLIENTS as u32;
    let mut shards = std::collections::BTreeSet::new();
    (0..PGBENCH_CLIENTS as u32)
        .map(|client| {
            let mut own = client * per_client..(client + 1) * per_client;
            own.find(|number| shards.insert(database::shard_of(*number)))
                .unwrap_or(client * per_client)
        })
        .collect()
}
