//! The chain that the audit trail is sealed by: what an entry, a block and a checkpoint hash to, and
//! what is wrong with them (rule P5).
//!
//! Entries are gathered into blocks, one a shard at a time; a block is the root of a Merkle tree over
//! its entries (RFC 9162, section 2.1) and names the block before it of its shard. A checkpoint is the
//! root over the blocks that were made with it, names the checkpoint before it, and is signed. So whoever
//! has one signed checkpoint can tell of every entry up to it whether it was there, unchanged; and an
//! entry is shown to be there by a few hashes, without the others.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// SHA-256.
pub type Hash = [u8; 32];

/// What the first of a chain names as the one before it.
pub const NONE_BEFORE: Hash = [0; 32];

/// An entry as it is sealed: every column of its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its place among all; gaps mean nothing.
    pub seq: i64,
    pub id: Uuid,
    pub shard: i16,
    pub customer_id: Option<Uuid>,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub action: String,
    /// As PostgreSQL writes a `jsonb`, which has one form of each value.
    pub data: String,
    pub request_id: String,
    pub occurred_at: DateTime<Utc>,
}

impl Record {
    /// The leaf that stands for the entry.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        let mut hash = Fields::new(0);
        hash.add(&self.seq.to_be_bytes());
        hash.add(self.id.as_bytes());
        hash.add(&self.shard.to_be_bytes());
        hash.maybe(self.customer_id.as_ref().map(|id| id.as_bytes().as_slice()));
        hash.add(self.actor_kind.as_bytes());
        hash.maybe(self.actor_id.as_deref().map(str::as_bytes));
        hash.add(self.action.as_bytes());
        hash.add(self.data.as_bytes());
        hash.add(self.request_id.as_bytes());
        hash.add(&self.occurred_at.timestamp_micros().to_be_bytes());
        hash.done()
    }
}

/// Entries of one shard that were sealed at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub shard: i16,
    /// From 1, per shard, without a gap.
    pub number: i64,
    /// The checkpoint that it was made with.
    pub checkpoint: i64,
    /// How many entries it is of.
    pub size: i32,
    /// Over the leaves of its entries.
    pub root: Hash,
    /// The hash of the block before it.
    pub previous: Hash,
    /// The entries by their places, and their leaves; neither once they have been deleted for their age.
    pub entries: Vec<i64>,
    pub leaves: Vec<Hash>,
    pub expired: bool,
}

impl Block {
    /// A block of entries in the order of their places; `before`: number and hash of the last block.
    #[must_use]
    pub fn of(entries: &[&Record], before: Option<(i64, Hash)>, checkpoint: i64) -> Option<Self> {
        let leaves: Vec<_> = entries.iter().map(|entry| entry.leaf()).collect();
        let (number, previous) = before.unwrap_or((0, NONE_BEFORE));
        Some(Self {
            shard: entries.first()?.shard,
            number: number + 1,
            checkpoint,
            size: i32::try_from(entries.len()).ok()?,
            root: root(&leaves),
            previous,
            entries: entries.iter().map(|entry| entry.seq).collect(),
            leaves,
            expired: false,
        })
    }

    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut hash = Fields::new(2);
        hash.add(&self.shard.to_be_bytes());
        hash.add(&self.number.to_be_bytes());
        hash.add(&self.checkpoint.to_be_bytes());
        hash.add(&self.size.to_be_bytes());
        hash.add(&self.root);
        hash.add(&self.previous);
        hash.done()
    }

    /// Whether what it lists is what it is the root of; one whose entries were deleted lists none.
    fn holds(&self) -> bool {
        if self.expired {
            return self.entries.is_empty() && self.leaves.is_empty();
        }
        let ascending = self.entries.is_sorted_by(|one, next| one < next);
        let counts = [self.entries.len(), self.leaves.len()];
        counts.iter().all(|count| i32::try_from(*count) == Ok(self.size))
            && self.size > 0
            && ascending
            && root(&self.leaves) == self.root
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// From 1, without a gap.
    pub number: i64,
    /// Every entry up to this place is in a block of this checkpoint or of one before it.
    pub up_to: i64,
    /// How many blocks were made with it, and the root over their hashes in the order of the shards.
    pub blocks: i32,
    pub root: Hash,
    /// The hash of the checkpoint before it.
    pub previous: Hash,
    pub sealed_at: DateTime<Utc>,
}

impl Checkpoint {
    /// The one over these blocks, which are in the order of their shards.
    #[must_use]
    pub fn of(
        blocks: &[Block],
        up_to: i64,
        before: Option<(i64, Hash)>,
        sealed_at: DateTime<Utc>,
    ) -> Self {
        let (number, previous) = before.unwrap_or((0, NONE_BEFORE));
        let hashes: Vec<_> = blocks.iter().map(Block::hash).collect();
        Self {
            number: number + 1,
            up_to,
            blocks: i32::try_from(hashes.len()).expect("there is at most one a shard"),
            root: root(&hashes),
            previous,
            sealed_at,
        }
    }

    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut hash = Fields::new(3);
        hash.add(&self.number.to_be_bytes());
        hash.add(&self.up_to.to_be_bytes());
        hash.add(&self.blocks.to_be_bytes());
        hash.add(&self.root);
        hash.add(&self.previous);
        hash.add(&self.sealed_at.timestamp_micros().to_be_bytes());
        hash.done()
    }
}

/// SHA-256 over fields of which none can be taken for another: a kind, then each with its length.
struct Fields(Sha256);

impl Fields {
    fn new(kind: u8) -> Self {
        Self(Sha256::new_with_prefix([kind]))
    }

    fn add(&mut self, field: &[u8]) {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    fn maybe(&mut self, field: Option<&[u8]>) {
        match field {
            Some(field) => self.add(field),
            // longer than anything: no field
            None => self.0.update(u64::MAX.to_be_bytes()),
        }
    }

    fn done(self) -> Hash {
        self.0.finalize().into()
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hash = Sha256::new_with_prefix([1]);
    hash.update(left);
    hash.update(right);
    hash.finalize().into()
}

/// Where a tree over so many leaves parts: the largest power of two below their number.
fn middle(leaves: usize) -> usize {
    leaves.next_power_of_two() / 2
}

/// The root of the Merkle tree over the leaves; of none it is [`NONE_BEFORE`].
#[must_use]
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => NONE_BEFORE,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(middle(leaves.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The hashes by which the leaf at `index` is shown to be under the root, from the leaf upwards.
#[must_use]
pub fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(middle(leaves.len()));
    let (mut below, other) = if index < left.len() {
        (path(left, index), root(right))
    } else {
        (path(right, index - left.len()), root(left))
    };
    below.push(other);
    below
}

/// What is broken first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A checkpoint is not the one that was signed, or not behind the one before it.
    Checkpoint { number: i64, why: &'static str },
    /// A block is not the one that its checkpoint was made with.
    Block { shard: i16, number: i64, why: &'static str },
    /// An entry.
    Entry { seq: i64, id: Option<Uuid>, harm: Harm },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It is not what it was when it was sealed.
    Changed,
    /// It was sealed and is not there.
    Removed,
    /// It was not there when its time was sealed.
    Inserted,
}

impl Harm {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Removed => "removed",
            Self::Inserted => "inserted",
        }
    }
}

/// Goes along the chain from its first checkpoint; holds the ends of what it has seen.
#[derive(Default)]
pub struct Walk {
    last: Option<(Checkpoint, Hash)>,
    heads: BTreeMap<i16, (i64, Hash)>,
    /// Entries that are as they were sealed.
    pub intact: u64,
    /// Entries that were deleted for their age.
    pub expired: u64,
}

impl Walk {
    /// The last checkpoint that was in order, with its hash.
    #[must_use]
    pub fn last(&self) -> Option<&(Checkpoint, Hash)> {
        self.last.as_ref()
    }

    /// The next checkpoint with its blocks in the order of their shards, and all entries that there are
    /// in its span, in the order of their places. `may_expire`: the last checkpoint whose entries
    /// were deleted for their age, by what the chain itself says.
    ///
    /// # Errors
    /// What is broken first.
    pub fn step(
        &mut self,
        checkpoint: Checkpoint,
        blocks: &[Block],
        entries: &[Record],
        may_expire: i64,
    ) -> Result<(), Broken> {
        let number = checkpoint.number;
        let wrong = |why| Broken::Checkpoint { number, why };
        let (before, previous, from) = match &self.last {
            Some((last, hash)) => (last.number, *hash, last.up_to),
            None => (0, NONE_BEFORE, 0),
        };
        if number != before + 1 {
            return Err(Broken::Checkpoint { number: before + 1, why: "is missing" });
        }
        if checkpoint.previous != previous {
            return Err(wrong("does not follow the one before it"));
        }
        if checkpoint.up_to <= from {
            return Err(wrong("ends before it begins"));
        }
        let hashes: Vec<_> = blocks.iter().map(Block::hash).collect();
        // Before what the checkpoint says of all, so that the one at fault is named.
        let mut expected = BTreeMap::new();
        for (block, hash) in blocks.iter().zip(&hashes) {
            self.block(block, *hash, number, may_expire)?;
            let places = block.entries.iter().copied();
            expected.extend(places.zip(block.leaves.iter().copied()));
        }
        if i32::try_from(hashes.len()) != Ok(checkpoint.blocks) || root(&hashes) != checkpoint.root
        {
            return Err(wrong("was made with other blocks"));
        }
        compare(&expected, entries)?;
        self.intact += entries.len() as u64;
        let hash = checkpoint.hash();
        self.last = Some((checkpoint, hash));
        Ok(())
    }

    fn block(
        &mut self,
        block: &Block,
        hash: Hash,
        checkpoint: i64,
        may_expire: i64,
    ) -> Result<(), Broken> {
        let wrong = |why| Broken::Block { shard: block.shard, number: block.number, why };
        let (number, previous) = self.heads.get(&block.shard).copied().unwrap_or((0, NONE_BEFORE));
        if block.checkpoint != checkpoint {
            return Err(wrong("is of another checkpoint"));
        }
        if block.number != number + 1 || block.previous != previous {
            return Err(wrong("does not follow the one before it"));
        }
        if !block.holds() {
            return Err(wrong("lists other entries than were sealed"));
        }
        if block.expired && checkpoint > may_expire {
            return Err(wrong("lists no entries, though they were not deleted for their age"));
        }
        if block.expired {
            self.expired += u64::try_from(block.size).unwrap_or(0);
        }
        self.heads.insert(block.shard, (block.number, hash));
        Ok(())
    }
}

/// The entries that there are, against those that were sealed.
fn compare(expected: &BTreeMap<i64, Hash>, entries: &[Record]) -> Result<(), Broken> {
    let mut sealed = expected.iter().peekable();
    let removed = |seq: i64| Broken::Entry { seq, id: None, harm: Harm::Removed };
    for entry in entries {
        let broken = |harm| Broken::Entry { seq: entry.seq, id: Some(entry.id), harm };
        match sealed.next_if(|(seq, _)| **seq <= entry.seq) {
            Some((seq, _)) if *seq < entry.seq => return Err(removed(*seq)),
            Some((_, leaf)) if *leaf != entry.leaf() => return Err(broken(Harm::Changed)),
            Some(_) => {}
            None => return Err(broken(Harm::Inserted)),
        }
    }
    match sealed.next() {
        Some((seq, _)) => Err(removed(*seq)),
        None => Ok(()),
    }
}
