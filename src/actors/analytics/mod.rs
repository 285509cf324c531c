//! Computing what figures about customers are judged by: the cut points of RFM scores, and the models
//! of purchases and their value. The worker does it when it is time, the command line when it is told.
//!
//! Whoever computes holds one advisory lock, so that of several nodes one does the work. Reading goes
//! page by page, on a connection of its own and from the replica if there is one; fitting is done on a
//! thread of its own of low rank. How far it is can be read in `analytics_runs` at any time.

mod fitting;

use crate::clock::Clock;
use crate::config::Config;
use crate::db::predictions::{KeptCutPoints, KeptModel, Kind, Run, ValueFit};
use crate::db::{self, Database};
use crate::domain::analytics::history::History;
use crate::domain::analytics::model::{Fitted, Outlook};
use crate::domain::analytics::optimum::NotFitted;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use fitting::Fitting;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// A frozen owner loses its lock after this long.
const IDLE_SECONDS: u64 = 30;

/// How often somebody who computes says so.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Customers whose orders are read at once.
const PAGE: i64 = 2_000;

/// For one statement of a computation; one goes over all customers.
const STATEMENT_SECONDS: u64 = 300;

/// What is computed and when.
#[derive(Clone, Debug)]
pub struct Settings {
    pub zone: Tz,
    /// Of record.
    pub currency: String,
    pub outlook: Outlook,
    /// `None`: by command only.
    pub rfm_every: Option<TimeDelta>,
    /// `None`: by command only.
    pub predictions_every: Option<TimeDelta>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Self {
        let analytics = &config.analytics;
        let every = |delta: TimeDelta| (delta > TimeDelta::zero()).then_some(delta);
        Self {
            zone: analytics.time_zone,
            currency: currency_of_record(config),
            outlook: Outlook {
                months: analytics.horizon_months,
                discount_rate: f64::from(analytics.discount_percent) / 100.0,
            },
            rfm_every: every(analytics.rfm_hours.delta()),
            predictions_every: every(analytics.predictions_hours.delta()),
        }
    }
}

/// Whose orders scores and predictions are made of.
pub fn currency_of_record(config: &Config) -> String {
    let own = config.analytics.currency.as_ref();
    own.unwrap_or(&config.customers.default_currency).clone()
}

/// Who watches a computation.
pub trait Watcher: Send {
    /// What it does, how many customers it has read, how often it has computed the likelihood.
    fn moved(&mut self, stage: &str, customers: i64, evaluations: i64);
}

/// Nobody does.
pub struct Unwatched;

impl Watcher for Unwatched {
    fn moved(&mut self, _stage: &str, _customers: i64, _evaluations: i64) {}
}

/// What came of a computation that was carried out.
#[derive(Clone, Debug)]
pub enum Outcome<T> {
    Done(T),
    /// There is nothing to compute from, or the data do not determine it: by name.
    Nothing(&'static str),
}

/// See the module.
#[derive(Clone)]
pub struct Analyst {
    /// Where results are kept.
    pub database: Database,
    /// Where orders are read.
    pub reports: Database,
    pub clock: Arc<dyn Clock>,
    pub settings: Settings,
}

/// The right to compute, for as long as its session lives.
pub struct Turn {
    session: db::Connection,
    touched: Instant,
}

impl Turn {
    /// A sign of life, now and then. Without the lock somebody else may be at it: then we stop.
    async fn keep(&mut self) -> anyhow::Result<()> {
        if self.touched.elapsed() < SIGN_OF_LIFE {
            return Ok(());
        }
        self.touched = Instant::now();
        db::outbox::touch(&self.session).await.map_err(|_| anyhow::anyhow!("the lock was lost"))
    }
}

/// One computation: what is known of it by others.
struct Progress<'a> {
    analyst: &'a Analyst,
    kind: Kind,
    run: Run,
    noted: Instant,
    watcher: &'a mut dyn Watcher,
}

impl Progress<'_> {
    /// Writes down how far it is, at once where the stage changes and now and then where it does not.
    async fn note(
        &mut self,
        stage: &str,
        customers: i64,
        evaluations: i64,
    ) -> Result<(), db::Error> {
        let same = self.run.stage == stage;
        self.run.stage = stage.to_owned();
        (self.run.customers, self.run.evaluations) = (customers, evaluations);
        self.watcher.moved(stage, customers, evaluations);
        if same && self.noted.elapsed() < SIGN_OF_LIFE {
            return Ok(());
        }
        self.write().await
    }

    async fn write(&mut self) -> Result<(), db::Error> {
        self.noted = Instant::now();
        self.run.touched_at = self.analyst.clock.now();
        let connection = self.analyst.database.get().await?;
        let currency = &self.analyst.settings.currency;
        Ok(db::predictions::note_run(&connection, self.kind, currency, &self.run).await?)
    }

    async fn end(&mut self, fault: Option<&str>) -> Result<(), db::Error> {
        self.run.stage = if fault.is_some() { "failed" } else { "done" }.to_owned();
        self.run.fault = fault.map(str::to_owned);
        self.run.finished_at = Some(self.analyst.clock.now());
        self.write().await
    }
}

impl Analyst {
    /// Takes the lock; `None` when somebody else computes.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn take_turn(&self) -> Result<Option<Turn>, db::Error> {
        let mut session = self.database.dedicated("customer-service-analyst").await?;
        db::outbox::guard_session(&mut session, IDLE_SECONDS).await?;
        let had = db::predictions::try_lock(&session).await?;
        Ok(had.then(|| Turn { session, touched: Instant::now() }))
    }

    /// The latest run of a kind.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn latest(&self, kind: Kind) -> Result<Option<Run>, db::Error> {
        let connection = self.database.get().await?;
        Ok(db::predictions::run(&connection, kind, &self.settings.currency).await?)
    }

    /// Computes the cut points of RFM scores anew.
    ///
    /// # Errors
    /// Those of the database; the lock that was lost.
    pub async fn recompute_rfm(
        &self,
        turn: &mut Turn,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<Outcome<KeptCutPoints>> {
        let mut progress = self.begin(Kind::Rfm, watcher).await?;
        let done = self.rfm(turn, &mut progress).await;
        conclude(&mut progress, done).await
    }

    /// Fits the models anew.
    ///
    /// # Errors
    /// Those of the database; the lock that was lost.
    pub async fn refit(
        &self,
        turn: &mut Turn,
        watcher: &mut dyn Watcher,
    ) -> anyhow::Result<Outcome<KeptModel>> {
        let mut progress = self.begin(Kind::Predictions, watcher).await?;
        let done = self.predictions(turn, &mut progress).await;
        conclude(&mut progress, done).await
    }

    async fn begin<'a>(
        &'a self,
        kind: Kind,
        watcher: &'a mut dyn Watcher,
    ) -> Result<Progress<'a>, db::Error> {
        let now = self.clock.now();
        let run = Run {
            started_at: now,
            touched_at: now,
            stage: "reading".to_owned(),
            customers: 0,
            evaluations: 0,
            finished_at: None,
            fault: None,
        };
        let mut progress = Progress { analyst: self, kind, run, noted: Instant::now(), watcher };
        progress.write().await?;
        Ok(progress)
    }

    /// A connection that may take its time, outside the pool of requests.
    async fn reader(&self) -> Result<db::Connection, db::Error> {
        let mut reader = self.reports.dedicated("customer-service-analyst-reads").await?;
        db::predictions::take_time(&mut reader, STATEMENT_SECONDS).await?;
        Ok(reader)
    }

    async fn rfm(
        &self,
        turn: &mut Turn,
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<Outcome<KeptCutPoints>> {
        let Settings { zone, currency, .. } = &self.settings;
        let as_of = self.clock.now();
        let reader = self.reader().await?;
        let looked_at = (as_of, *zone);
        let fifths = async { db::predictions::fifths(&reader, currency, looked_at).await };
        tokio::pin!(fifths);
        // One statement over all customers: the lock is kept meanwhile.
        let fifths = loop {
            tokio::select! {
                fifths = &mut fifths => break fifths.map_err(db::Error::from)?,
                () = tokio::time::sleep(SIGN_OF_LIFE) => turn.keep().await?,
            }
        };
        let Some((customers, cuts)) = fifths else { return Ok(Outcome::Nothing("no_customers")) };
        progress.note("reading", customers, 0).await?;
        let computed_at = self.clock.now();
        let connection = self.database.get().await?;
        let times = (computed_at, as_of);
        let kept =
            db::predictions::keep_cut_points(&connection, currency, times, customers, &cuts).await;
        let version = kept.map_err(db::Error::from)?;
        Ok(Outcome::Done(KeptCutPoints { version, computed_at, as_of, customers, cuts }))
    }

    async fn predictions(
        &self,
        turn: &mut Turn,
        progress: &mut Progress<'_>,
    ) -> anyhow::Result<Outcome<KeptModel>> {
        let (began, as_of) = (Instant::now(), self.clock.now());
        let histories = self.histories(turn, progress, as_of).await?;
        let customers = histories.len() as i64;
        progress.note("fitting", customers, 0).await?;
        let mut fitting = Fitting::start(histories, self.settings.outlook)?;
        let fitted = loop {
            tokio::select! {
                fitted = fitting.done() => break fitted,
                () = tokio::time::sleep(SIGN_OF_LIFE) => {
                    turn.keep().await?;
                    progress.note("fitting", customers, fitting.evaluations()).await?;
                }
            }
        };
        let fitted = match fitted {
            Ok(fitted) => fitted,
            Err(NotFitted::Stopped) => anyhow::bail!("the fit was broken off"),
            Err(why) => return Ok(Outcome::Nothing(why.code())),
        };
        let mut model = self.as_kept(&fitted, as_of, began.elapsed());
        progress.note("fitting", customers, model.evaluations).await?;
        let connection = self.database.get().await?;
        let currency = &self.settings.currency;
        let kept = db::predictions::keep_model(&connection, currency, &model).await;
        model.version = kept.map_err(db::Error::from)?;
        Ok(Outcome::Done(model))
    }

    /// What all living customers bought, up to a time.
    async fn histories(
        &self,
        turn: &mut Turn,
        progress: &mut Progress<'_>,
        as_of: DateTime<Utc>,
    ) -> anyhow::Result<Vec<History>> {
        let Settings { zone, currency, .. } = &self.settings;
        let reader = self.reader().await?;
        let (mut histories, mut after) = (Vec::new(), Uuid::nil());
        loop {
            turn.keep().await?;
            let page = db::predictions::buyers(&reader, currency, after, PAGE).await;
            let page = page.map_err(db::Error::from)?;
            let Some(last) = page.last() else { break };
            after = *last;
            let orders = db::predictions::orders_of(&reader, currency, &page).await;
            for (_, orders) in orders.map_err(db::Error::from)? {
                histories.extend(History::of(orders, as_of, *zone));
            }
            progress.note("reading", histories.len() as i64, 0).await?;
        }
        Ok(histories)
    }

    fn as_kept(&self, fitted: &Fitted, as_of: DateTime<Utc>, took: Duration) -> KeptModel {
        let value = match (&fitted.value, fitted.cuts) {
            (Ok(value), Some(cuts)) => Ok(ValueFit {
                log_likelihood: value.log_likelihood,
                customers: value.customers as i64,
                correlation: value.correlation,
                cuts,
            }),
            (Err(why), _) => Err(why.code().to_owned()),
            (Ok(_), None) => Err(NotFitted::Undetermined.code().to_owned()),
        };
        let of_value = fitted.value.as_ref().map_or(0, |value| value.evaluations);
        KeptModel {
            version: 0,
            fitted_at: self.clock.now(),
            as_of,
            seconds: took.as_secs_f64(),
            time_zone: self.settings.zone,
            outlook: self.settings.outlook,
            customers: fitted.customers as i64,
            repeaters: fitted.repeaters as i64,
            models: fitted.models,
            log_likelihood: fitted.purchases.log_likelihood,
            evaluations: (fitted.purchases.evaluations + of_value) as i64,
            value,
            tiers: fitted.tiers.to_vec(),
            total: fitted.total,
        }
    }
}

/// Writes down how it ended. What nobody could have computed is an answer; what went wrong is not.
async fn conclude<T>(
    progress: &mut Progress<'_>,
    done: anyhow::Result<Outcome<T>>,
) -> anyhow::Result<Outcome<T>> {
    let fault = match &done {
        Ok(Outcome::Done(_)) => None,
        Ok(Outcome::Nothing(why)) => Some(*why),
        Err(_) => Some("failed"),
    };
    let noted = progress.end(fault).await;
    let outcome = done?;
    noted?;
    Ok(outcome)
}
