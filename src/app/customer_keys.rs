//! `customer-service key customers` and `key rotate-customers`: the keys that wrap keys of customers.
//!
//! Each row tells which key wraps it, and every node opens what any of its configured keys wrapped. So
//! rows are wrapped anew one after the other while all work; a rotation that was killed is run again.

use super::{database_runtime, settings};
use crate::actors::customer_keys::{kept, wrapped};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::db::audit::{OwnActor, OwnEntry};
use crate::db::statements::RewrapDataKeys;
use crate::db::{self, customer_keys};
use crate::security::customer_keys::WrappingKeys;
use anyhow::{bail, ensure};
use serde_json::json;
use uuid::Uuid;

/// Rows of one statement: a few milliseconds of work, for which those rows are locked.
const PAGE: i64 = 500;

/// A wrapping key as `key customers list` shows it.
pub struct ListedKey {
    pub name: String,
    /// `current` wraps, `opens` opens what it wrapped, `unknown` is not configured.
    pub stage: &'static str,
    /// How many keys of customers it wraps.
    pub customers: i64,
}

/// The configured keys, the one that wraps first, and others that keys of customers are wrapped by.
///
/// # Errors
/// Those of the database.
pub fn list(config: &Config) -> anyhow::Result<Vec<ListedKey>> {
    let keys = settings::wrapping_keys(config);
    database_runtime()?.block_on(async {
        let connection = db::pool::connect_once(&settings::database(config)).await?;
        let kept = customer_keys::wrapping(&connection).await?;
        let unknown = kept.iter().map(String::as_str).filter(|name| !keys.know(name));
        let mut listed = Vec::new();
        for name in keys.names().chain(unknown) {
            let stage = match name {
                _ if name == keys.current() => "current",
                _ if keys.know(name) => "opens",
                _ => "unknown",
            };
            let customers = customer_keys::count(&connection, name).await?;
            listed.push(ListedKey { name: name.to_owned(), stage, customers });
        }
        Ok(listed)
    })
}

/// What a rotation came to.
pub struct Rotated {
    /// The key that wraps all now.
    pub name: String,
    /// How many keys of customers were wrapped anew.
    pub customers: usize,
}

/// Wraps every key of a customer that another one wraps by the first of the configured keys; tells how
/// many are done from page to page.
///
/// # Errors
/// A key that is not configured wraps some, some do not open (all others are done then), or those of
/// the database.
pub fn rotate(config: &Config, told: impl FnMut(usize)) -> anyhow::Result<Rotated> {
    let keys = settings::wrapping_keys(config);
    let name = keys.current().to_owned();
    let customers = database_runtime()?.block_on(async {
        let mut connection = db::pool::connect_once(&settings::database(config)).await?;
        let walked = Walk { keys: &keys, done: 0, shut: Vec::new(), told }.all(&connection).await?;
        if walked.done > 0 {
            let clock = SystemClock;
            let entry = OwnEntry {
                id: clock.new_id(),
                actor: OwnActor::Operator,
                action: "customer_keys.rotated",
                data: json!({ "wrapped_by": keys.current(), "customers": walked.done }),
                occurred_at: clock.now(),
            };
            db::audit::append(&mut connection, &entry).await?;
        }
        if let [first, ..] = walked.shut[..] {
            bail!(
                "the keys of {} customers do not open and stay as they are, the first of them {first}'s; \
                 all others are wrapped by {}",
                walked.shut.len(),
                keys.current()
            );
        }
        Ok(walked.done)
    })?;
    Ok(Rotated { name, customers })
}

struct Walk<'k, T> {
    keys: &'k WrappingKeys,
    done: usize,
    /// Customers whose keys do not open.
    shut: Vec<Uuid>,
    told: T,
}

impl<T: FnMut(usize)> Walk<'_, T> {
    /// Until a walk through all finds nothing to do: a node with the keys in their former order may
    /// have made one behind us.
    async fn all(mut self, connection: &db::Connection) -> anyhow::Result<Self> {
        loop {
            let before = self.done;
            self.shut.clear();
            for name in customer_keys::wrapping(connection).await? {
                ensure!(
                    self.keys.know(&name),
                    "keys of customers are wrapped by {name}, which is not configured"
                );
                if name != self.keys.current() {
                    self.those_of(connection, &name).await?;
                }
            }
            if self.done == before {
                return Ok(self);
            }
        }
    }

    async fn those_of(&mut self, connection: &db::Connection, name: &str) -> anyhow::Result<()> {
        let mut last = Uuid::nil();
        loop {
            let page = customer_keys::page(connection, name, last, PAGE).await?;
            let Some((customer, _)) = page.last() else { return Ok(()) };
            last = *customer;
            let mut rows = RewrapDataKeys::default();
            for (customer, before) in page {
                match self.keys.rewrap(customer, &wrapped(before.clone())) {
                    Ok(after) => rows.push(customer, before, kept(after), SystemClock.now()),
                    Err(_) => self.shut.push(customer),
                }
            }
            self.done += rows.execute(connection).await?;
            (self.told)(self.done);
        }
    }
}
