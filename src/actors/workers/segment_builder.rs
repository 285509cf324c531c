//! The segment builder: carries what a segment's new revision means to all customers, page by page (rule
//! S3). One walk at a time in the whole deployment, on whichever node holds the lock. The lock only saves
//! work; that nothing is done twice follows from the walk's progress, which a page moves from where it
//! took it to be, or not at all.
//!
//! Customers are looked at without a lock, and whoever may have to join or leave is judged under one, as
//! after every change. Nobody is missed: a change that was not seen here is judged by the evaluator, by
//! the same rules, for these are in force from the commit that began the walk.

use crate::actors::batch::Batches;
use crate::actors::batch::walk::by_rows::ByRows;
use crate::actors::batch::walk::{Page, Walked, Work};
use crate::actors::customers::{Customers, SubmitError};
use crate::actors::segments::{Known, SegmentDesk};
use crate::actors::worker::{Done, Worker};
use crate::clock::Clock;
use crate::db::segment_builds::{self, Build};
use crate::db::segments::{Needs, Sql, Surroundings};
use crate::db::{self, Database};
use crate::domain::CustomerId;
use crate::domain::command::{
    Actor, Command, Context, MembershipCommand, SegmentCommand, Subject, Submission,
};
use crate::domain::message::MembershipCause;
use crate::domain::segment::evaluate;
use crate::domain::segment::membership::{Asked, Program};
use crate::domain::segment::record::{Force, SUBJECT, Segment, SegmentName};
use crate::faults;
use anyhow::bail;
use metrics::{counter, gauge};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How often a node looks whether there is a walk to go on with, when nobody wakes it.
const PERIOD: Duration = Duration::from_secs(1);

/// A run hands back after this long, so that a stop or a pause is heard.
const SLICE: Duration = Duration::from_secs(1);

/// A frozen owner loses its lock after this long; longer than a page may take.
const IDLE_SECONDS: u64 = 30;

/// Customers that one page judges by their facts: their rows are locked until it is done, which is felt by
/// others.
const JUDGED_MAX: usize = 100;

/// Customers that one page changes by a condition over rows, likewise: each of them takes far less time. At
/// most as many as are looked at for a page elsewhere. Pages of 1,000 fill a segment up to 1.5 times as fast,
/// and others feel them twice as much: from the append of its messages to its commit, a page holds up all
/// who have a message to append.
const CHANGED_MAX: i64 = 250;

/// The longest stretch of customers of whom the database says in one statement who differs: what is told of
/// the progress moves by no more.
const STRETCH_MAX: i64 = 50_000;

/// After a page that changed somebody, rest for this part of the time that it took: its messages and the
/// changes of others are to be written meanwhile, too.
const REST: f64 = 0.5;

/// Flips that are forgotten in one transaction.
const FORGOTTEN_MAX: i64 = 5_000;

/// What a look at the next customers found.
struct Found {
    /// Who is to be judged, in the order of their ids.
    differ: Vec<Uuid>,
    /// The last one that was looked at. `None`: nobody was.
    to: Option<Uuid>,
    looked_at: i64,
    /// Whether nobody comes after.
    last: bool,
}

/// The worker; see the module.
pub struct SegmentBuilder {
    database: Database,
    batches: Arc<Batches>,
    customers: Customers,
    desk: SegmentDesk,
    clock: Arc<dyn Clock>,
    /// Customers that are looked at for one page.
    page: i64,
    /// Of whom the database is asked next. It grows while few differ.
    stretch: i64,
    /// The session that holds the lock.
    turn: Option<db::Connection>,
}

impl SegmentBuilder {
    /// `page`: how many customers are looked at for one page.
    pub fn new(
        database: Database,
        batches: Arc<Batches>,
        customers: Customers,
        desk: SegmentDesk,
        clock: Arc<dyn Clock>,
        page: i64,
    ) -> Self {
        Self { database, batches, customers, desk, clock, page, stretch: page, turn: None }
    }

    async fn work(&mut self) -> anyhow::Result<Done> {
        if !self.has_turn().await? {
            return Ok(Done::default());
        }
        let until = Instant::now() + SLICE;
        let mut handled = 0;
        loop {
            let mut connection = self.database.get().await?;
            let known = self.desk.refresh(&mut connection, self.clock.now()).await?;
            let open = segment_builds::open(&connection, 100).await.map_err(db::Error::from)?;
            gauge!("segment_walks_open").set(open.len() as f64);
            let Some(build) = open.into_iter().next() else {
                // Nothing is left: whoever is next may have the lock.
                self.turn = None;
                return Ok(Done { handled, more: false });
            };
            let looked_at = self.step(&mut connection, build, &known).await?;
            handled += usize::try_from(looked_at).unwrap_or(0);
            if Instant::now() >= until {
                return Ok(Done { handled, more: true });
            }
        }
    }

    /// Whether there is a walk and this node is to carry it out.
    async fn has_turn(&mut self) -> anyhow::Result<bool> {
        if let Some(session) = &self.turn {
            if db::outbox::touch(session).await.is_err() {
                self.turn = None;
                bail!("the lock of walks was lost");
            }
            return Ok(true);
        }
        let connection = self.database.get().await?;
        let open = segment_builds::open(&connection, 1).await.map_err(db::Error::from)?;
        drop(connection);
        gauge!("segment_walks_open").set(open.len() as f64);
        if open.is_empty() {
            return Ok(false);
        }
        let mut session = self.database.dedicated("customer-service-segment-builder").await?;
        db::outbox::guard_session(&mut session, IDLE_SECONDS).await.map_err(db::Error::from)?;
        let had = segment_builds::try_lock(&session).await.map_err(db::Error::from)?;
        self.turn = had.then_some(session);
        Ok(had)
    }

    /// One page of a walk. Answers with the number of customers looked at.
    async fn step(
        &mut self,
        connection: &mut db::Connection,
        build: Build,
        known: &Known,
    ) -> anyhow::Result<i64> {
        let name = SegmentName::Id(build.segment());
        let found = db::segment_book::find(connection, &name).await.map_err(db::Error::from)?;
        let Some(segment) = found.filter(|segment| segment.revision == build.revision) else {
            // It began again, or is gone, since it was read.
            return Ok(0);
        };
        if segment.force != Force::Active {
            return self.empty(connection, build, &segment, known).await;
        }
        let Some(program) = known.programs.rule(segment.id) else {
            // A definition that cannot be read (which is told): its members stay as they are.
            let work = Work::Judged(Vec::new());
            let page = Page { from: build, work, to: None, looked_at: 0, last: true };
            self.carry_out(page).await?;
            return Ok(0);
        };
        // Nothing flips by time any more. Of a rule that time turns, each verdict sets its own.
        let begins = build.after_id.is_none();
        if begins && !program.checked.is_timed() && !self.sweep(connection, &build, known).await? {
            return Ok(0);
        }
        let page = self.page(connection, build, program, known).await?;
        let looked_at = page.looked_at;
        self.carry_out(page).await?;
        counter!("segment_walk_customers_total").increment(looked_at.unsigned_abs());
        Ok(looked_at)
    }

    /// The members of a segment that is not in force leave; when the last one has left a segment that is
    /// to go, it goes.
    async fn empty(
        &mut self,
        connection: &mut db::Connection,
        build: Build,
        segment: &Segment,
        known: &Known,
    ) -> anyhow::Result<i64> {
        if !self.sweep(connection, &build, known).await? {
            return Ok(0);
        }
        let most = CHANGED_MAX.min(self.page);
        let members = db::segment_members::page(connection, segment.id, None, most);
        let members = members.await.map_err(db::Error::from)?;
        faults::at("segments.page_read");
        if members.is_empty() && segment.force == Force::Deleting {
            let command = Command::Segment(SegmentCommand::Finish { id: segment.id });
            let submission = Submission {
                subject: SUBJECT,
                command,
                context: self.context(),
                idempotency: None,
            };
            self.customers.submit(submission).await?;
            return Ok(0);
        }
        let looked_at = members.len() as i64;
        let customers = members.iter().map(|member| member.customer_id.0);
        let page = Page {
            work: Work::ByRows(ByRows {
                segment: segment.id,
                code: segment.code.clone(),
                condition: Sql::nobody(),
                version: known.programs.version,
                customers: customers.collect(),
                context: self.context(),
            }),
            to: members.last().map(|member| member.customer_id.0),
            looked_at,
            last: members.is_empty(),
            from: build,
        };
        self.carry_out(page).await?;
        Ok(looked_at)
    }

    /// Forgets when time would turn answers that no rule in force gives. False: another one may be.
    async fn sweep(
        &self,
        connection: &mut db::Connection,
        build: &Build,
        known: &Known,
    ) -> anyhow::Result<bool> {
        let (version, segment) = (known.programs.version, build.segment());
        loop {
            let forgotten =
                self.desk.forget_all_flips(connection, version, segment, FORGOTTEN_MAX).await?;
            match forgotten {
                None => return Ok(false),
                Some(0) => break,
                Some(_) => {}
            }
        }
        Ok(true)
    }

    /// The next customers, and which of them are to be judged.
    async fn page(
        &mut self,
        connection: &db::Connection,
        build: Build,
        program: &Program,
        known: &Known,
    ) -> anyhow::Result<Page> {
        let after = build.after_id.unwrap_or(Uuid::nil());
        let none = BTreeMap::new();
        let (now, rfm) = (self.clock.now(), known.rfm.as_ref());
        let around = Surroundings { now, rfm, segments: &none, tiers: None };
        // What time turns must be known by its instant, and what is computed is in no row.
        let condition = match db::segments::compile(&program.checked, around) {
            Ok(condition) if !program.checked.is_timed() => Some(condition),
            _ => None,
        };
        // Who asks about its members is judged together with them.
        let (found, condition) = match condition {
            Some(condition) if !known.programs.is_asked_about(program) => {
                let most = CHANGED_MAX.min(self.page);
                (self.by_rows(connection, program, &condition, after, most).await?, Some(condition))
            }
            Some(condition) => {
                let most = JUDGED_MAX as i64;
                (self.by_rows(connection, program, &condition, after, most).await?, None)
            }
            None => (self.by_facts(connection, program, known, after).await?, None),
        };
        faults::at("segments.page_read");
        let Found { differ, to, looked_at, last } = found;
        let work = match condition {
            Some(condition) => Work::ByRows(ByRows {
                segment: program.id,
                code: program.code.clone(),
                condition,
                version: known.programs.version,
                customers: differ,
                context: self.context(),
            }),
            None => Work::Judged(self.judging(program, known, differ)),
        };
        Ok(Page { work, to, looked_at, last, from: build })
    }

    fn judging(&self, program: &Program, known: &Known, customers: Vec<Uuid>) -> Vec<Submission> {
        let asked = Asked::These(BTreeSet::from([program.id]));
        let submission = |id| Submission {
            subject: Subject::Customer(CustomerId(id)),
            command: Command::Membership(MembershipCommand::Judge {
                programs: Arc::clone(&known.programs),
                asked: asked.clone(),
                cause: MembershipCause::Definition,
            }),
            context: self.context(),
            idempotency: None,
        };
        customers.into_iter().map(submission).collect()
    }

    /// The database is asked who differs, in a stretch as long as suits their number.
    async fn by_rows(
        &mut self,
        connection: &db::Connection,
        program: &Program,
        condition: &Sql,
        after: Uuid,
        most: i64,
    ) -> Result<Found, db::Error> {
        let stretch = db::segments::next_stretch(connection, after, self.stretch).await?;
        let Some((to, living)) = stretch else {
            return Ok(Found { differ: vec![], to: None, looked_at: 0, last: true });
        };
        let span = (after, to);
        let differ = db::segments::differing(connection, condition, program.id, span, most).await?;
        let differ: Vec<Uuid> = differ.into_iter().map(|one| one.customer).collect();
        // More may differ behind the last one that was told: that is where the next page begins.
        if let Some(to) = differ.last().copied().filter(|_| differ.len() as i64 == most) {
            let looked_at = db::segments::living_between(connection, after, to).await?;
            self.stretch = (looked_at * 2).clamp(self.page, STRETCH_MAX);
            return Ok(Found { differ, to: Some(to), looked_at, last: false });
        }
        let last = living < self.stretch;
        self.stretch = (self.stretch * 2).min(STRETCH_MAX);
        Ok(Found { differ, to: Some(to), looked_at: living, last })
    }

    /// The facts of a page of customers are read, and judged here.
    async fn by_facts(
        &self,
        connection: &db::Connection,
        program: &Program,
        known: &Known,
        after: Uuid,
    ) -> Result<Found, db::Error> {
        let mut ids = db::segments::next_customers(connection, after, self.page).await?;
        let mut last = (ids.len() as i64) < self.page;
        let mut differ = match ids.is_empty() {
            true => Vec::new(),
            false => self.differing(connection, program, known, &ids).await?,
        };
        if let Some(next) = differ.get(JUDGED_MAX).copied() {
            // What is beyond waits for the next page.
            differ.truncate(JUDGED_MAX);
            ids.retain(|id| *id < next);
            last = false;
        }
        Ok(Found { differ, to: ids.last().copied(), looked_at: ids.len() as i64, last })
    }

    /// Those of whom something is kept that is not what the rule says of them now.
    async fn differing(
        &self,
        connection: &db::Connection,
        program: &Program,
        known: &Known,
        ids: &[Uuid],
    ) -> Result<Vec<Uuid>, db::Error> {
        let now = self.clock.now();
        let Program { id, checked, .. } = program;
        let mut needs = Needs::default();
        needs.add(checked.condition());
        let (facts, members, flips) = tokio::try_join!(
            known.facts(connection, ids, needs),
            db::segment_members::of_customers(connection, ids),
            db::segment_members::flips(connection, ids),
        )?;
        let mut segments: BTreeMap<Uuid, BTreeSet<String>> = BTreeMap::new();
        for member in members {
            let code = member.code.as_str().to_owned();
            segments.entry(member.customer_id.0).or_default().insert(code);
        }
        let flips: BTreeMap<Uuid, _> = flips
            .into_iter()
            .filter(|flip| flip.segment_id == *id)
            .map(|flip| (flip.customer_id.0, flip.due_at))
            .collect();
        let mut differ = Vec::new();
        for (customer, mut facts) in facts {
            facts.segments = segments.remove(&customer).unwrap_or_default();
            let answer = evaluate(checked, &facts, now);
            let held = facts.segments.contains(program.code.as_str());
            if answer.member != held || answer.next_flip.as_ref() != flips.get(&customer) {
                differ.push(customer);
            }
        }
        Ok(differ)
    }

    async fn carry_out(&mut self, page: Page) -> anyhow::Result<()> {
        let since = Instant::now();
        match self.batches.walk(&page).await {
            Ok(Walked::Done) => {
                if page.work.changes() {
                    sleep(since.elapsed().mul_f64(REST)).await;
                }
                Ok(())
            }
            // What the next look at it finds is what counts.
            Ok(Walked::Elsewhere | Walked::Outdated) => Ok(()),
            Err(SubmitError::Unavailable) => {
                // Perhaps only somebody who had one of the customers locked for long.
                sleep(Duration::from_millis(50)).await;
                Err(SubmitError::Unavailable.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn context(&self) -> Context {
        Context {
            actor: Actor::Service,
            now: self.clock.now(),
            request_id: "segment-builder".to_owned(),
            traceparent: None,
        }
    }
}

impl Worker for SegmentBuilder {
    fn name(&self) -> &'static str {
        "segment_builder"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn run_once(&mut self) -> anyhow::Result<Done> {
        let worked = self.work().await;
        if worked.is_err() {
            self.turn = None;
        }
        worked
    }
}
