//! Whether this process can do its work: probes of everything it depends on, asked together, with
//! an answer that is shared for a moment so that nobody can wear the dependencies out by asking.

use futures_util::future::{BoxFuture, join_all};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use utoipa::ToSchema;

use crate::actors::runtime::Registry;

/// A probe that takes longer has failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an answer is shared.
const SHARED: Duration = Duration::from_millis(250);

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Up,
    /// Configured away; the service does without.
    NotConfigured,
    /// One sentence for the operator. It is told to whoever asks, so it must not hold addresses,
    /// credentials or personal data.
    Down(String),
}

/// One dependency and how to ask for it.
pub struct Probe {
    name: &'static str,
    needed: bool,
    without: &'static str,
    ask: Box<dyn Fn() -> BoxFuture<'static, Found> + Send + Sync>,
}

impl Probe {
    /// A dependency without which the process is not ready.
    pub fn needed(
        name: &'static str,
        ask: impl Fn() -> BoxFuture<'static, Found> + Send + Sync + 'static,
    ) -> Probe {
        Probe { name, needed: true, without: "nothing can be served", ask: Box::new(ask) }
    }

    /// A dependency that may be missing; `without` says what then happens, in a few words.
    pub fn useful(
        name: &'static str,
        without: &'static str,
        ask: impl Fn() -> BoxFuture<'static, Found> + Send + Sync + 'static,
    ) -> Probe {
        Probe { name, needed: false, without, ask: Box::new(ask) }
    }

    /// The actors of this process: down as soon as one was given up, which no restart mends.
    pub fn actors(registry: Arc<Registry>) -> Probe {
        Probe::needed("actors", move || {
            let failed = registry.failed();
            Box::pin(async move {
                match failed[..] {
                    [] => Found::Up,
                    _ => Found::Down(format!("given up: {}", failed.join(", "))),
                }
            })
        })
    }
}

/// Says, while it holds, something that operators should know although nothing is missing. Told to
/// whoever asks, like [`Found::Down`].
pub type Note = Box<dyn Fn() -> Option<&'static str> + Send + Sync>;

/// The state of the process. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Readiness(Arc<Inner>);

struct Inner {
    probes: Vec<Probe>,
    notes: Vec<Note>,
    stopping: AtomicBool,
    last: Mutex<Option<(Instant, Report)>>,
}

/// What `/health/ready` tells.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Report {
    pub status: Overall,
    /// Each dependency by its name.
    pub dependencies: BTreeMap<&'static str, Dependency>,
    /// What else operators should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, required = false)]
    pub notes: Vec<&'static str>,
}

/// The process as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overall {
    Ready,
    /// Serves, but something it would like to have is down.
    Degraded,
    NotReady,
    /// Told to end.
    Stopping,
}

impl Overall {
    /// Whether requests should be sent here.
    pub fn takes_requests(self) -> bool {
        matches!(self, Overall::Ready | Overall::Degraded)
    }
}

/// One dependency at this moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Dependency {
    pub state: State,
    /// Whether the process is not ready without it.
    pub needed: bool,
    /// How long the probe took, in milliseconds.
    pub latency_ms: f64,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What happens while it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Up,
    Down,
    NotConfigured,
}

impl Readiness {
    /// Ready as long as every needed probe finds its dependency.
    pub fn new(probes: Vec<Probe>, notes: Vec<Note>) -> Readiness {
        let (stopping, last) = (AtomicBool::new(false), Mutex::new(None));
        Readiness(Arc::new(Inner { probes, notes, stopping, last }))
    }

    /// What operators should know at this moment.
    pub fn notes(&self) -> Vec<&'static str> {
        self.0.notes.iter().filter_map(|note| note()).collect()
    }

    /// The process was told to end: from now on it is not ready.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Whether the process was told to end.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// Asks every dependency, or repeats what was found a moment ago.
    pub async fn report(&self) -> Report {
        // held while asking: who comes meanwhile waits for this answer instead of asking too
        let mut last = self.0.last.lock().await;
        let report = match &*last {
            Some((at, report)) if at.elapsed() < SHARED => report.clone(),
            _ => {
                let dependencies = join_all(self.0.probes.iter().map(probe)).await;
                let report = summary(dependencies.into_iter().collect(), self.notes());
                last.insert((Instant::now(), report)).1.clone()
            }
        };
        if self.is_stopping() { Report { status: Overall::Stopping, ..report } } else { report }
    }
}

async fn probe(probe: &Probe) -> (&'static str, Dependency) {
    let began = Instant::now();
    let found = tokio::time::timeout(PROBE_TIMEOUT, (probe.ask)()).await;
    let (state, reason) = match found {
        Ok(Found::Up) => (State::Up, None),
        Ok(Found::NotConfigured) => (State::NotConfigured, None),
        Ok(Found::Down(reason)) => (State::Down, Some(reason)),
        Err(_) => (State::Down, Some("no answer in time".to_owned())),
    };
    let dependency = Dependency {
        state,
        needed: probe.needed,
        latency_ms: began.elapsed().as_secs_f64() * 1000.0,
        reason,
        without: (state == State::Down).then_some(probe.without),
    };
    (probe.name, dependency)
}

fn summary(dependencies: BTreeMap<&'static str, Dependency>, notes: Vec<&'static str>) -> Report {
    let down =
        |needed| dependencies.values().any(|one| one.state == State::Down && one.needed == needed);
    let status = match (down(true), down(false)) {
        (true, _) => Overall::NotReady,
        (false, true) => Overall::Degraded,
        (false, false) => Overall::Ready,
    };
    Report { status, dependencies, notes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    fn found(found: Found) -> impl Fn() -> BoxFuture<'static, Found> + Send + Sync {
        move || {
            let found = found.clone();
            Box::pin(async move { found })
        }
    }

    fn down() -> Found {
        Found::Down("refused".to_owned())
    }

    async fn status(database: Found, rabbit: Found) -> Overall {
        let readiness = Readiness::new(
            vec![
                Probe::needed("database", found(database)),
                Probe::useful("rabbit", "messages wait in the outbox", found(rabbit)),
            ],
            Vec::new(),
        );
        readiness.report().await.status
    }

    #[tokio::test]
    async fn only_what_is_needed_makes_not_ready() {
        assert_eq!(status(Found::Up, Found::Up).await, Overall::Ready);
        assert_eq!(status(Found::Up, Found::NotConfigured).await, Overall::Ready);
        assert_eq!(status(Found::Up, down()).await, Overall::Degraded);
        assert_eq!(status(down(), Found::Up).await, Overall::NotReady);
        assert_eq!(status(down(), down()).await, Overall::NotReady);
    }

    #[tokio::test]
    async fn each_dependency_tells_its_state_and_what_is_missing_without_it() {
        let readiness = Readiness::new(
            vec![
                Probe::needed("database", found(Found::Up)),
                Probe::useful("rabbit", "messages wait in the outbox", found(down())),
            ],
            Vec::new(),
        );
        let json = serde_json::to_value(readiness.report().await).unwrap();
        assert_eq!(json["status"], "degraded");
        assert_eq!(json["dependencies"]["database"]["state"], "up");
        assert_eq!(json["dependencies"]["database"]["needed"], true);
        assert!(json["dependencies"]["database"].get("without").is_none());
        assert_eq!(json["dependencies"]["rabbit"]["reason"], "refused");
        assert_eq!(json["dependencies"]["rabbit"]["without"], "messages wait in the outbox");
    }

    #[tokio::test]
    async fn a_process_that_stops_is_not_ready_at_once() {
        let readiness =
            Readiness::new(vec![Probe::needed("database", found(Found::Up))], Vec::new());
        assert!(readiness.report().await.status.takes_requests());
        readiness.clone().stop();
        assert_eq!(readiness.report().await.status, Overall::Stopping);
        assert!(!Overall::Stopping.takes_requests());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_is_down() {
        let hangs = || -> BoxFuture<'static, Found> { Box::pin(std::future::pending()) };
        let report =
            Readiness::new(vec![Probe::needed("database", hangs)], Vec::new()).report().await;
        assert_eq!(report.status, Overall::NotReady);
        let reason = report.dependencies["database"].reason.as_deref();
        assert_eq!(reason, Some("no answer in time"));
    }

    #[tokio::test]
    async fn many_who_ask_at_once_cost_one_probe() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let readiness = Readiness::new(
            vec![Probe::needed("database", move || {
                counter.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { Found::Up })
            })],
            Vec::new(),
        );
        join_all((0..100).map(|_| readiness.report())).await;
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_note_is_told_and_takes_nobody_out_of_service() {
        let note: Note = Box::new(|| Some("mind the step"));
        let notes = vec![note, Box::new(|| None)];
        let readiness = Readiness::new(vec![Probe::needed("database", found(Found::Up))], notes);
        let json = serde_json::to_value(readiness.report().await).unwrap();
        assert_eq!(
            (&json["status"], &json["notes"]),
            (&"ready".into(), &["mind the step"][..].into())
        );
    }
}
