//! The definitions of custom attributes that commands name, locked: against change for those who
//! write values, against everybody for those who change them. Batches without such commands read
//! nothing.

use super::Wanted;
use crate::db;
use crate::db::transactions::QueryError;
use crate::domain::Submission;
use crate::domain::attribute::{AttributeKey, Definition, Signpost, Standing};
use crate::domain::command::Command;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Which definitions a batch wants.
#[derive(Default)]
pub(super) struct WantedAttributes {
    keys: BTreeSet<String>,
    /// Whether a command changes definitions: then all of them are locked for that, for a lock that
    /// is taken twice may have to be waited for twice.
    to_change: bool,
    /// Whose holders matter.
    asked_for: BTreeSet<String>,
}

impl WantedAttributes {
    pub(super) fn note(&mut self, submission: &Submission) {
        let named = submission.command.attributes();
        self.keys.extend(named.iter().map(|key| key.as_str().to_owned()));
        if let Command::Attribute(command) = &submission.command {
            self.to_change = true;
            if command.asks_for_holders() {
                self.asked_for.insert(command.key().as_str().to_owned());
            }
        }
    }
}

/// The definitions as they are found.
#[derive(Clone, Default)]
pub struct FoundAttributes {
    pub named: HashMap<AttributeKey, Standing>,
    /// All there are, where one that is named is not.
    pub all: Arc<Vec<Signpost>>,
}

/// The definitions of these keys as they are now, not locked: for who locks and compares them later.
pub async fn read(
    connection: &db::Connection,
    keys: &[String],
) -> Result<FoundAttributes, QueryError> {
    let found = db::attributes::find_many(connection, keys).await?;
    let all = match found.len() < keys.len() {
        true => db::attributes::signposts(connection).await?,
        false => Vec::new(),
    };
    let standing =
        |definition: Definition| (definition.key.clone(), Standing { definition, in_use: false });
    Ok(FoundAttributes { named: found.into_iter().map(standing).collect(), all: Arc::new(all) })
}

pub(super) async fn lock(
    connection: &db::Connection,
    wanted: &Wanted,
) -> Result<FoundAttributes, QueryError> {
    let wanted = &wanted.attributes;
    if wanted.keys.is_empty() {
        return Ok(FoundAttributes::default());
    }
    let keys: Vec<String> = wanted.keys.iter().cloned().collect();
    let locked = match wanted.to_change {
        true => db::attributes::lock_to_change(connection, &keys).await?,
        false => db::attributes::lock_to_use(connection, &keys).await?,
    };
    // In statements of their own: they see what was committed while the locks were waited for.
    let all = match locked.len() < keys.len() {
        true => db::attributes::signposts(connection).await?,
        false => Vec::new(),
    };
    let mut named = HashMap::with_capacity(locked.len());
    for definition in locked {
        let Definition { key, part, .. } = &definition;
        let asked_for = wanted.asked_for.contains(key.as_str());
        let in_use = asked_for
            && (db::attributes::in_use(connection, key, *part).await?
                || db::segment_book::read_attribute(connection, key).await?);
        named.insert(key.clone(), Standing { definition, in_use });
    }
    Ok(FoundAttributes { named, all: Arc::new(all) })
}
