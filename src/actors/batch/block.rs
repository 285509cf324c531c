//! A block of rows of an import: the same fold and the same statements as a batch, with the
//! import's own progress and its errors in the same transaction. So a kill at any instant leaves
//! either all of it or nothing, and whoever goes on begins behind what is there.
//!
//! A row at fault is told so and the others go in: what is taken is asked for before, and a block
//! that the database refuses all the same (somebody registered an address meanwhile) is asked about
//! anew, then cut in halves down to the row at fault.

use super::fold::{self, Folded};
use super::load::{FoundAttributes, Loaded, read_attributes};
use super::save::Plan;
use super::{Batches, Failure};
use crate::actors::customers::SubmitError;
use crate::actors::imports::reader::Row;
use crate::db;
use crate::db::imports::Progress;
use crate::db::statements::InsertImportErrors;
use crate::db::transactions::{commit, rollback};
use crate::domain::command::Command;
use crate::domain::import::ImportCustomer;
use crate::domain::import::fields::Plain;
use crate::domain::import::{RowFault, line_of, row_request_ids};
use crate::domain::outcome::Rejection;
use crate::domain::{Fault, ImportId};
use crate::faults;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use uuid::Uuid;

/// How often a refused block is tried again as it is, before it is cut.
const TRIES: usize = 3;

/// Rows that are carried out together.
pub struct Block {
    pub import: ImportId,
    pub dry_run: bool,
    /// How far the import is before it.
    pub from: Progress,
    /// In the order of the file; never empty.
    pub rows: Vec<Row>,
    /// Lines of addresses in earlier blocks, of a dry run.
    pub seen: Seen,
}

/// The addresses of a dry run so far, each by a hash, with its line: the database does not know them.
pub type Seen = HashMap<u64, u64>;

/// Addresses that a dry run remembers: 35 to 70 MB.
const SEEN_MAX: usize = 2_000_000;

/// What became of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// It is committed, and the import is this far.
    Done(Progress),
    /// The import was cancelled, or somebody else goes on with it: nothing was done.
    Superseded,
}

impl Batches {
    /// Carries out a block; the rows that were refused have their faults by then.
    ///
    /// # Errors
    /// The database's, when it is not there. What was committed until then is: ask the import how
    /// far it is.
    pub async fn carry_out(self: &Arc<Self>, block: &mut Block) -> Result<Carried, SubmitError> {
        let mut from = block.from;
        let mut waiting = std::mem::take(&mut block.rows);
        let mut done = Vec::with_capacity(waiting.len());
        let mut size = waiting.len();
        let mut tries = 0;
        while !waiting.is_empty() {
            let rest = waiting.split_off(size.min(waiting.len()));
            block.from = from;
            block.rows = std::mem::replace(&mut waiting, rest);
            match self.try_block(block).await {
                Ok(Carried::Superseded) => return Ok(Carried::Superseded),
                Ok(Carried::Done(progress)) => {
                    from = progress;
                    done.append(&mut block.rows);
                    (size, tries) = (waiting.len(), 0);
                }
                Err(failure) if failure.concerns_one() && tries < TRIES => {
                    tries += 1;
                    block.rows.append(&mut waiting);
                    waiting = std::mem::take(&mut block.rows);
                }
                Err(Failure::Refused(rejection)) => {
                    match &mut block.rows[..] {
                        [row] => {
                            row.submission = None;
                            row.faults = faults_of(&rejection);
                        }
                        rows => size = rows.len() / 2,
                    }
                    block.rows.append(&mut waiting);
                    waiting = std::mem::take(&mut block.rows);
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
        block.rows = done;
        Ok(Carried::Done(from))
    }

    async fn try_block(self: &Arc<Self>, block: &mut Block) -> Result<Carried, Failure> {
        self.refuse_what_is_taken(block).await?;
        let defined = self.definitions(block).await?;
        let loaded = Loaded {
            attributes: defined.clone(),
            defaults: self.defaults.all(&self.database).await?,
            ..Loaded::default()
        };
        let (plan, shards) = self.plan_block(block, loaded).await?;
        let progress = progress_after(block);
        let mut errors = InsertImportErrors::default();
        for row in &block.rows {
            errors.push(block.import, row.line as i64, &row.faults);
        }
        let mut connection = self.begin().await?;
        let written = self.write(&mut connection, block, &plan, &errors, progress, &defined).await;
        match written {
            Ok(true) => {}
            Ok(false) => {
                rollback(&mut connection).await;
                return Ok(Carried::Superseded);
            }
            Err(failure) => {
                rollback(&mut connection).await;
                return Err(failure);
            }
        }
        faults::at("block.before_commit");
        commit(&mut connection).await.map_err(|error| match db::Error::from(error) {
            error @ (db::Error::Constraint(_) | db::Error::Transient(_)) => Failure::from(error),
            error => Failure::Unknown(error),
        })?;
        faults::at("block.after_commit");
        self.wake(&plan.written(shards));
        Ok(Carried::Done(progress))
    }

    /// All of a block, up to its commit. False when the import is not where the block begins.
    async fn write(
        &self,
        connection: &mut db::PooledConnection,
        block: &Block,
        plan: &Plan,
        errors: &InsertImportErrors,
        progress: Progress,
        defined: &FoundAttributes,
    ) -> Result<bool, Failure> {
        if !db::imports::fence(connection, block.import, block.from.position).await? {
            return Ok(false);
        }
        if !block.dry_run {
            hold(connection, defined).await?;
            plan.rows(connection).await?;
        }
        errors.execute(connection).await?;
        faults::at("block.written");
        let now = Some(self.clock.now());
        db::imports::advance(connection, block.import, progress, now).await?;
        if !block.dry_run {
            // The keys to other tables cost most of a commit's time, and they need no lock.
            db::imports::check_now(connection).await?;
            plan.append(connection).await?;
        }
        Ok(true)
    }

    /// Finds out which addresses and groups cannot be had, so that their rows are told and the
    /// others go in. Somebody may still be faster; then the database says so.
    async fn refuse_what_is_taken(&self, block: &mut Block) -> Result<(), Failure> {
        let mut addresses = Vec::new();
        let mut groups = BTreeSet::new();
        for customer in block.rows.iter().filter_map(asked) {
            addresses.push(customer.email.canonical().to_owned());
            groups.insert(customer.group.as_str().to_owned());
        }
        if addresses.is_empty() {
            return Ok(());
        }
        let groups: Vec<String> = groups.into_iter().collect();
        let connection = self.database.get().await?;
        let (owners, known) = tokio::try_join!(
            db::imports::owners(&connection, &addresses),
            db::groups::known(&connection, &groups),
        )?;
        let owners: HashMap<String, Uuid> = owners.into_iter().collect();
        let customers: Vec<Uuid> = owners.values().copied().collect();
        let lines: HashMap<Uuid, u64> = match customers.is_empty() {
            true => HashMap::new(),
            false => {
                let ours = row_request_ids(block.import);
                let found = db::imports::origins(&connection, &customers, &ours).await?;
                let line = |(customer, request): (Uuid, String)| {
                    Some((customer, line_of(&request, block.import)?))
                };
                found.into_iter().filter_map(line).collect()
            }
        };
        drop(connection);
        let mut here: HashMap<String, u64> = HashMap::new();
        for row in &mut block.rows {
            let Some(customer) = asked(row) else { continue };
            let address = customer.email.canonical().to_owned();
            let earlier = match (here.get(&address), owners.get(&address)) {
                (Some(line), _) => Some(Some(*line)),
                (None, Some(owner)) => Some(lines.get(owner).copied()),
                // a row that is tried again has been seen itself
                (None, None) => {
                    let line = block.seen.get(&hash(&address)).filter(|line| **line != row.line);
                    line.copied().map(Some)
                }
            };
            if let Some(earlier) = earlier {
                refuse(row, taken(earlier));
            } else if !known.contains(&customer.group.as_str().to_owned()) {
                refuse(row, fault_of(&Rejection::UnknownGroup));
            } else {
                here.insert(address, row.line);
            }
        }
        Ok(())
    }

    /// The definitions of the attributes that rows name, for deciding. They are locked and compared
    /// where the block is written.
    async fn definitions(&self, block: &Block) -> Result<FoundAttributes, Failure> {
        let submissions = block.rows.iter().filter_map(|row| row.submission.as_ref());
        let keys: BTreeSet<String> = submissions
            .flat_map(|one| one.command.attributes())
            .map(|key| key.as_str().to_owned())
            .collect();
        if keys.is_empty() {
            return Ok(FoundAttributes::default());
        }
        let keys: Vec<String> = keys.into_iter().collect();
        let connection = self.database.get().await?;
        Ok(read_attributes(&connection, &keys).await?)
    }

    /// Decides the rows, and says what is to be written. Apart from the database's runtime, whose
    /// threads serve everybody.
    async fn plan_block(
        self: &Arc<Self>,
        block: &mut Block,
        loaded: Loaded,
    ) -> Result<(Plan, BTreeSet<u16>), Failure> {
        let (batches, mut rows) = (self.clone(), std::mem::take(&mut block.rows));
        let work = move || {
            let mut refused = Vec::new();
            let since = batches.clock.now() - batches.keep_keys;
            let planned = {
                let submissions = rows.iter().filter_map(|row| row.submission.as_ref());
                let (welcome, seals) = (&batches.welcome, &batches.seals);
                let folded: Folded<'_> =
                    fold::fold(loaded, submissions, welcome, seals, &*batches.clock);
                let asked = rows.iter().enumerate().filter(|(_, row)| row.submission.is_some());
                for ((at, _), answer) in asked.zip(&folded.answers) {
                    if let Err(SubmitError::Rejected(rejection)) = answer {
                        refused.push((at, faults_of(rejection)));
                    }
                }
                Plan::of(&folded, since)
            };
            for (at, faults) in refused {
                faults.into_iter().for_each(|fault| refuse(&mut rows[at], fault));
            }
            (rows, planned)
        };
        let done = tokio::task::spawn_blocking(work).await;
        let (rows, planned) =
            done.map_err(|error| Failure::NotDone(db::Error::Internal(error.to_string())))?;
        block.rows = rows;
        if block.dry_run {
            for row in &block.rows {
                if let Some(customer) = asked(row).filter(|_| block.seen.len() < SEEN_MAX) {
                    block.seen.insert(hash(customer.email.canonical()), row.line);
                }
            }
        }
        Ok(planned)
    }
}

/// The customer that a row asks for.
fn asked(row: &Row) -> Option<&ImportCustomer> {
    match &row.submission.as_ref()?.command {
        Command::Import(customer) => Some(customer),
        _ => None,
    }
}

fn refuse(row: &mut Row, fault: RowFault) {
    row.submission = None;
    row.faults.push(fault);
}

fn taken(earlier: Option<u64>) -> RowFault {
    let fault = match earlier {
        Some(line) => Fault::new("duplicate_in_file", format!("is that of line {line} already")),
        None => Fault::new("email_taken", "is already a customer's"),
    };
    RowFault::of_field(Plain::Email.name(), fault)
}

/// Locks the definitions that the rows were decided by. Where one has changed since, the block is
/// decided anew.
async fn hold(connection: &db::Connection, defined: &FoundAttributes) -> Result<(), Failure> {
    if defined.named.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = defined.named.keys().map(|key| key.as_str().to_owned()).collect();
    let locked = db::attributes::lock_to_use(connection, &keys).await?;
    let same = locked
        .iter()
        .all(|one| defined.named.get(&one.key).is_some_and(|standing| standing.definition == *one));
    if same && locked.len() == keys.len() {
        return Ok(());
    }
    let changed = "a definition has changed meanwhile".to_owned();
    Err(Failure::NotDone(db::Error::Transient(changed)))
}

/// What is wrong with a row by a refusal, field by field.
fn faults_of(rejection: &Rejection) -> Vec<RowFault> {
    let Rejection::InvalidFields(faults) = rejection else { return vec![fault_of(rejection)] };
    let field = |pointer: &str| pointer.trim_start_matches("#/").replace('/', ".");
    faults
        .iter()
        .map(|(pointer, fault)| RowFault::of_field(field(pointer), fault.clone()))
        .collect()
}

/// A refusal, in the words of a row.
fn fault_of(rejection: &Rejection) -> RowFault {
    match rejection {
        Rejection::Invalid { pointer, fault } => {
            RowFault::of_field(pointer.trim_start_matches("#/").replace('/', "."), fault.clone())
        }
        Rejection::EmailTaken => taken(None),
        Rejection::UnknownGroup => RowFault::of_field(
            Plain::Group.name(),
            Fault::new("unknown_group", "is no group; make it before, or leave it out"),
        ),
        Rejection::AddressLimitReached { limit } => RowFault::of_field(
            Plain::Addresses.name(),
            Fault::new("address_limit_reached", format!("are more than {limit}")),
        ),
        _ => RowFault::of_row("refused", "the row was refused"),
    }
}

/// How far the import is once the block is committed.
fn progress_after(block: &Block) -> Progress {
    let failed = block.rows.iter().filter(|row| row.submission.is_none()).count() as i64;
    let read = block.rows.len() as i64;
    let end = block.rows.last().map(|row| row.end);
    let from = block.from;
    Progress {
        position: end.map_or(from.position, |end| end.offset as i64),
        line: end.map_or(from.line, |end| end.line as i64),
        rows_read: from.rows_read + read,
        rows_imported: from.rows_imported + read - failed,
        rows_failed: from.rows_failed + failed,
        rows_per_minute: from.rows_per_minute,
    }
}

/// Of an address. A collision would refuse a row of a dry run, once in some billion of rows.
fn hash(address: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    hasher.finish()
}
