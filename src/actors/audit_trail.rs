//! The sealed audit trail, looked at from outside: a walk along the chain that tells what is broken
//! first, and the proof that one entry is in it. What the command line and the routes drive.

use crate::db::{self, audit_chain};
use crate::domain::audit_chain::{Broken, Harm, Hash, Record, Walk, path};
use crate::security::audit_seal::AuditPublicKey;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use db::transactions::QueryError;
use serde_json::{Value, json};
use uuid::Uuid;

/// Checkpoints read at a time.
const CHECKPOINTS: i64 = 256;

/// Places that are looked at in one piece, unless one checkpoint is of more.
const PLACES: i64 = 20_000;

/// What a walk came to.
#[derive(Debug)]
pub struct Verdict {
    /// The last checkpoint that is in order: its number, its hash, and when it was made.
    pub last: Option<(i64, Hash, DateTime<Utc>)>,
    /// Entries that are as they were sealed.
    pub intact: u64,
    /// Entries that were deleted for their age.
    pub expired: u64,
    /// Entries that no checkpoint covers yet.
    pub unsealed: i64,
    pub broken: Option<Broken>,
}

/// Walks along the whole chain, on a connection with a transaction that sees one moment. Checkpoints
/// must be signed by one of `trusted`. `noted`: number and hash of a checkpoint that was written down
/// elsewhere; it must be there, or the end of the chain was cut off.
///
/// # Errors
/// Those of the queries.
pub async fn verify(
    connection: &db::Connection,
    trusted: &[AuditPublicKey],
    noted: Option<(i64, Hash)>,
    mut told: impl FnMut(&Walk),
) -> Result<Verdict, QueryError> {
    let mut walk = Walk::default();
    let first = audit_chain::blocks(connection, 1, 1).await?;
    let may_expire = match first.first() {
        Some(block) if block.expired => audit_chain::expired_up_to(connection).await?,
        _ => 0,
    };
    let mut broken = None;
    while broken.is_none() {
        let (after, from) = reached(&walk);
        let page = audit_chain::checkpoints(connection, after, CHECKPOINTS).await?;
        if page.is_empty() {
            break;
        }
        let near =
            page.iter().take_while(|signed| signed.checkpoint.up_to.saturating_sub(from) <= PLACES);
        let part = &page[..near.count().max(1)];
        broken = piece(connection, &mut walk, part, trusted, may_expire).await?;
        if let Some((number, hash)) = noted
            && let Some(signed) = part.iter().find(|signed| signed.checkpoint.number == number)
            && signed.checkpoint.hash() != hash
        {
            let why = "is another one than was noted";
            broken = broken.or(Some(Broken::Checkpoint { number, why }));
        }
        told(&walk);
    }
    let (last, up_to) = reached(&walk);
    if let Some((number, _)) = noted.filter(|(number, _)| *number > last) {
        broken = broken.or(Some(Broken::Checkpoint { number, why: "is missing" }));
    }
    let unsealed = audit_chain::unsealed(connection, up_to).await?;
    let last = walk.last().map(|(last, hash)| (last.number, *hash, last.sealed_at));
    Ok(Verdict { last, intact: walk.intact, expired: walk.expired, unsealed, broken })
}

/// The last checkpoint, and the place it goes up to.
fn reached(walk: &Walk) -> (i64, i64) {
    walk.last().map_or((0, i64::MIN), |(last, _)| (last.number, last.up_to))
}

async fn piece(
    connection: &db::Connection,
    walk: &mut Walk,
    part: &[audit_chain::Signed],
    trusted: &[AuditPublicKey],
    may_expire: i64,
) -> Result<Option<Broken>, QueryError> {
    let ([first, ..], [.., last]) = (part, part) else { return Ok(None) };
    let numbers = (first.checkpoint.number, last.checkpoint.number);
    let (_, from) = reached(walk);
    let blocks = audit_chain::blocks(connection, numbers.0, numbers.1).await?;
    let entries = audit_chain::entries(connection, from, last.checkpoint.up_to, i64::MAX).await?;
    let mut rest = entries.as_slice();
    for signed in part {
        if let Some(broken) = unsigned(signed, trusted) {
            return Ok(Some(broken));
        }
        let number = signed.checkpoint.number;
        let own: Vec<_> =
            blocks.iter().filter(|block| block.checkpoint == number).cloned().collect();
        let span = rest.partition_point(|entry| entry.seq <= signed.checkpoint.up_to);
        let (span, after) = rest.split_at(span);
        rest = after;
        if let Err(broken) = walk.step(signed.checkpoint.clone(), &own, span, may_expire) {
            return Ok(Some(broken));
        }
    }
    Ok(None)
}

fn unsigned(signed: &audit_chain::Signed, trusted: &[AuditPublicKey]) -> Option<Broken> {
    let number = signed.checkpoint.number;
    let why = match trusted.iter().find(|key| key.to_string() == signed.key) {
        None => "is signed by a key that is not trusted",
        Some(key) if !key.has_signed(&signed.checkpoint.hash(), &signed.signature) => {
            "is not what was signed"
        }
        Some(_) => return None,
    };
    Some(Broken::Checkpoint { number, why })
}

/// Whether an entry can be shown to be in the chain.
#[derive(Debug)]
pub enum Shown {
    /// There is no such entry.
    Unknown,
    /// No checkpoint covers it yet.
    Unsealed,
    /// It is not what was sealed.
    Broken(Broken),
    /// Everything that is needed to check it, without the database.
    Proof(Value),
}

/// The proof that an entry is in the chain.
///
/// # Errors
/// Those of the queries.
pub async fn prove(connection: &db::Connection, id: Uuid) -> Result<Shown, QueryError> {
    let Some(entry) = audit_chain::entry(connection, id).await? else { return Ok(Shown::Unknown) };
    let Some(signed) = audit_chain::checkpoint_of(connection, entry.seq).await? else {
        return Ok(Shown::Unsealed);
    };
    let broken = |harm| Shown::Broken(Broken::Entry { seq: entry.seq, id: Some(id), harm });
    let number = signed.checkpoint.number;
    let blocks = audit_chain::blocks(connection, number, number).await?;
    let found = blocks.iter().enumerate().find_map(|(at, block)| {
        let place = block.entries.iter().position(|seq| *seq == entry.seq)?;
        Some((at, block, place))
    });
    let Some((at, block, place)) = found else { return Ok(broken(Harm::Inserted)) };
    if block.leaves.get(place) != Some(&entry.leaf()) {
        return Ok(broken(Harm::Changed));
    }
    let hashes: Vec<_> = blocks.iter().map(|block| block.hash()).collect();
    let checkpoint = &signed.checkpoint;
    Ok(Shown::Proof(json!({
        "entry": entry_json(&entry),
        "leaf": hex(&entry.leaf()),
        "block": {
            "shard": block.shard, "number": block.number, "checkpoint": block.checkpoint,
            "size": block.size, "root": hex(&block.root), "previous": hex(&block.previous),
            "index": place, "path": hexes(&path(&block.leaves, place)),
        },
        "checkpoint": {
            "number": checkpoint.number, "up_to": checkpoint.up_to, "blocks": checkpoint.blocks,
            "root": hex(&checkpoint.root), "previous": hex(&checkpoint.previous),
            "sealed_at": time(checkpoint.sealed_at),
            "index": at, "path": hexes(&path(&hashes, at)),
            "hash": hex(&checkpoint.hash()),
            "key": signed.key, "signature": STANDARD.encode(&signed.signature),
        },
    })))
}

fn entry_json(entry: &Record) -> Value {
    json!({
        "seq": entry.seq, "id": entry.id, "shard": entry.shard, "customer_id": entry.customer_id,
        "actor_kind": entry.actor_kind, "actor_id": entry.actor_id, "action": entry.action,
        "data": entry.data, "request_id": entry.request_id, "occurred_at": time(entry.occurred_at),
    })
}

fn time(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(|hash| hex(hash)).collect()
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash that such digits write.
#[must_use]
pub fn hash(digits: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_written_and_read_as_digits() {
        let bytes: Hash = std::array::from_fn(|n| (n * 9) as u8);
        assert_eq!(hash(&hex(&bytes)), Some(bytes));
        for text in ["", "00", &"g".repeat(64), &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(hash(text), None, "{text}");
        }
    }
}
