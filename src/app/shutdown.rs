//! The order of the end: not ready → stop accepting (requests, and facts from the broker) → finish
//! what was accepted → drain shards → stop workers (the relay flushes its cursor) → stop arbiters →
//! close connections. A deadline ends it; a second signal ends it at once.
//!
//! The deadline is one for everything, known before the first step, so that an orchestrator's grace
//! period can be set by it.

use super::compose::Running;
use crate::actors::runtime::Escalated;
use crate::config::Config;
use crate::faults;
use actix_web::dev::ServerHandle;
use futures_util::future::join_all;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

/// Why the service ends.
pub enum End {
    Signal,
    /// An actor was given up, which no restart mends: the orchestrator shall start a new process.
    Escalated(Escalated),
}

/// Waits for the first reason to end.
pub async fn awaited(mut escalated: watch::Receiver<Option<Escalated>>) -> End {
    tokio::select! {
        () = any_signal() => End::Signal,
        Ok(reason) = escalated.wait_for(Option::is_some) => {
            reason.clone().map_or(End::Signal, End::Escalated)
        }
    }
}

/// Ends everything in order. Failure when something accepted could not be finished.
pub async fn carry_out(
    config: &Config,
    end: End,
    servers: Vec<ServerHandle>,
    running: Running,
) -> ExitCode {
    let failed = match &end {
        End::Signal => {
            tracing::info!("told to end: finishing what was accepted");
            false
        }
        End::Escalated(Escalated { actor, reason }) => {
            tracing::error!(actor, reason, "ending, since this process cannot do its work");
            true
        }
    };
    let late = tokio::select! {
        late = in_order(config, servers, running) => late,
        () = any_signal() => {
            tracing::warn!("told twice: ending at once");
            return ExitCode::FAILURE;
        }
    };
    for name in &late {
        tracing::warn!(name, "did not finish in time");
    }
    tracing::info!("ended");
    if failed || !late.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn in_order(config: &Config, servers: Vec<ServerHandle>, running: Running) -> Vec<String> {
    let delay = config.http.drain_delay_ms.duration();
    let time = config.http.shutdown_timeout_seconds.duration();
    let deadline = Instant::now() + delay + time;
    // The balancer needs a moment to see that this node is not ready.
    sleep(delay).await;
    // A connection that never ends must not use up the time of what was accepted. Nothing
    // accepted is lost by going on: the draining shards answer the handlers that still run.
    let requests_deadline = deadline - time / 4;
    let stopped = join_all(servers.iter().map(|server| server.stop(true)));
    let requests = timeout_at(requests_deadline, stopped);
    let (requests, mut late) = tokio::join!(requests, running.intake.stop(requests_deadline));
    if requests.is_err() {
        tracing::warn!("connections are still open");
    }
    faults::at("stop.requests_done");
    // Handlers are done; what they left behind in the shards is finished first, then the workers
    // pass on what that wrote.
    late.extend(running.shards.drain(deadline).await);
    faults::at("stop.shards_drained");
    late.extend(running.workers.stop(deadline).await);
    faults::at("stop.workers_stopped");
    if running.runtime.stop(deadline).await > 0 {
        late.push("arbiters".to_owned());
    }
    let hashing = running.hashing;
    // Joins threads: not on this one, which still has to see a second signal.
    let joined = tokio::task::spawn_blocking(move || hashing.shutdown());
    if timeout_at(deadline, joined).await.is_err() {
        late.push("hashing".to_owned());
    }
    if let Some(rabbit) = running.rabbit {
        // A broker that does not say good-bye loses nothing: all that it has is confirmed.
        drop(timeout_at(deadline, rabbit.close()).await);
    }
    late
}

/// SIGHUP ends a process that does not hear it. Of this one nobody should expect that, nor that it reads
/// its configuration anew.
pub async fn hear_hangups() {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        tracing::warn!("a hang-up changes nothing: the configuration is read at the start alone");
    }
}

/// SIGTERM from an orchestrator, SIGINT from a terminal.
async fn any_signal() {
    let (Ok(mut term), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without signal handlers the default action ends the process; there is nothing to wait for.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}
