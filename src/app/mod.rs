//! The composition root: configuration → pools → actors → HTTP, and the order of shutdown.
//!
//! Two runtimes: one multi-thread runtime owns every connection to PostgreSQL, Redis and RabbitMQ
//! and runs batches and workers' runs; the actix `System` of the main thread owns supervisors,
//! signals and the HTTP server. Actors start here and nowhere else: inside the `App` factory they
//! would live on an HTTP worker's thread, which stops first.

pub mod analytics;
pub mod audit;
mod compose;
pub mod customer_keys;
mod erasures;
pub mod imports;
pub mod keys;
mod operators;
pub mod outbox;
mod preconditions;
pub mod privacy;
mod privacy_exports;
mod probes;
pub mod reconcile;
mod segment_workers;
pub mod segments;
mod settings;
mod shutdown;
pub mod signing_keys;
mod stranded;
mod watches;

use crate::config::Config;
use crate::db;
use crate::faults;
use crate::http;
use crate::telemetry::Telemetry;
use actix_web::HttpServer;
use actix_web::dev::ServerHandle;
use anyhow::Context;
use compose::{Parts, Running};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads of the database's runtime.
const DATABASE_THREADS: usize = 2;

/// How long what is left on the database's runtime may take at the very end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the service until it is told to end. The code is a failure when something accepted could
/// not be finished, or when an actor was given up.
///
/// # Errors
/// What keeps it from starting: the schema, the groups, an address that is taken.
pub fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::start(&config.telemetry)?;
    let runtime = database_runtime()?;
    let config = Arc::new(config);
    let parts = runtime.block_on(compose::parts(config.clone(), &telemetry))?;
    let outcome = actix::System::new().block_on(run(config, parts, runtime.handle().clone()));
    runtime.shutdown_timeout(LAST_WORDS);
    outcome
}

/// Brings the schema to this version, and gives the application role its rights, if there is to be
/// one.
///
/// # Errors
/// Those of connecting, of the migrations and of the grants.
pub fn migrate(config: &Config) -> anyhow::Result<()> {
    let settings = settings::owner(config);
    let runtime = database_runtime()?;
    let applied = runtime.block_on(db::migrations::run(&settings))?;
    for version in &applied {
        tracing::info!(version, "applied a migration");
    }
    tracing::info!(applied = applied.len(), "the schema is up to date");
    match settings::application_role(config) {
        Some(role) => {
            let made = runtime.block_on(db::roles::grant(&settings, &role))?;
            tracing::info!(role = role.name, made, "the application role has its rights");
        }
        None => tracing::warn!(
            "database.application_role is not set: where the service signs in as the owner of the \
             tables, nothing but its code keeps messages and audit trail from being changed"
        ),
    }
    Ok(())
}

fn database_runtime() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(DATABASE_THREADS)
        .thread_name("db")
        .enable_all()
        .build()
        .context("no threads for the database")
}

async fn run(config: Arc<Config>, parts: Parts, database: Handle) -> anyhow::Result<ExitCode> {
    // Else the first signed-in requests would find no answer to whether their session lives.
    watches::know_revocations(&config, &parts, &database).await?;
    stranded::tell(config.passkeys.rp_id.clone(), &parts.database);
    let running = compose::start(&config, parts, database)?;
    let servers = listen(&config, &running)?;
    tracing::info!(address = %config.http.bind, "serving");
    faults::at("serve.begun");
    actix::spawn(shutdown::hear_hangups());
    let end = shutdown::awaited(running.escalated.clone()).await;
    running.services.readiness.stop();
    Ok(shutdown::carry_out(&config, end, servers, running).await)
}

/// Binds and starts the HTTP servers: one for everything, or two when operators have an address
/// of their own.
fn listen(config: &Config, running: &Running) -> anyhow::Result<Vec<ServerHandle>> {
    let everything = config.http.ops_bind.is_none();
    let public = server(config, running, config.http.bind, http::Surface::public(everything))?;
    let operators = config
        .http
        .ops_bind
        .map(|address| server(config, running, address, http::Surface::operators()))
        .transpose()?;
    Ok([Some(public), operators].into_iter().flatten().collect())
}

fn server(
    config: &Config,
    running: &Running,
    address: std::net::SocketAddr,
    surface: http::Surface,
) -> anyhow::Result<ServerHandle> {
    let services = running.services.clone();
    let server = HttpServer::new(move || http::app(services.clone(), surface))
        .workers(config.http.workers_or_cores())
        .max_connections(config.http.max_connections)
        .client_request_timeout(config.http.head_timeout_ms.duration())
        .keep_alive(config.http.keep_alive_seconds.duration())
        .shutdown_timeout(config.http.shutdown_timeout_seconds.count())
        .disable_signals()
        .bind(address)
        .with_context(|| format!("cannot listen on {address}"))?
        .run();
    let handle = server.handle();
    actix::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "an HTTP server ended");
        }
    });
    Ok(handle)
}
