//! The fit on a thread of its own: it takes a core for seconds, so it stands back behind everything
//! else on the machine, and it ends soon after nobody waits for it any more.

use crate::domain::analytics::history::History;
use crate::domain::analytics::model::{Fitted, Outlook, fit};
use crate::domain::analytics::optimum::NotFitted;
use anyhow::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::oneshot;

/// How far the thread stands back (the nice value, 0 to 19): behind hashing, for which people wait.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 15;

/// A fit in progress. To drop it is to stop it.
pub struct Fitting {
    shared: Arc<Shared>,
    done: oneshot::Receiver<Result<Fitted, NotFitted>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    evaluations: AtomicU64,
}

impl Fitting {
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(histories: Vec<History>, outlook: Outlook) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (answer, done) = oneshot::channel();
        let seen = shared.clone();
        let work = move || {
            stand_back();
            let go_on = |evaluations| {
                seen.evaluations.store(evaluations, Ordering::Relaxed);
                !seen.stop.load(Ordering::Relaxed)
            };
            // Nobody waits any more: then nobody is told.
            let _ = answer.send(fit(histories, outlook, &go_on));
        };
        let thread = std::thread::Builder::new().name("fit".to_owned());
        thread.spawn(work).context("no thread to fit on")?;
        Ok(Self { shared, done })
    }

    /// What came of it; may be asked again as long as there was no answer.
    ///
    /// # Errors
    /// What kept it from being fitted; [`NotFitted::Stopped`] also when the thread ended without a
    /// word.
    pub async fn done(&mut self) -> Result<Fitted, NotFitted> {
        (&mut self.done).await.unwrap_or(Err(NotFitted::Stopped))
    }

    /// How often the likelihood was computed so far, by the model that is being fitted.
    pub fn evaluations(&self) -> i64 {
        self.shared.evaluations.load(Ordering::Relaxed) as i64
    }
}

impl Drop for Fitting {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Lowers the rank of the calling thread. Linux alone counts it by thread; elsewhere it would lower
/// the whole service's.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::info!(%error, "the fit keeps the rank of all other threads");
    }
}
