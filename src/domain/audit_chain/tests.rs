//! Whatever is done to a chain, the walk along it names the first place.

use super::*;
use proptest::prelude::*;

fn record(seq: i64) -> Record {
    Record {
        seq,
        id: Uuid::from_u128(seq as u128),
        shard: (seq % 3) as i16,
        customer_id: (seq % 2 == 0).then(|| Uuid::from_u128(7)),
        actor_kind: "staff".to_owned(),
        actor_id: Some("k1".to_owned()),
        action: "customer.updated".to_owned(),
        data: format!("{{\"version\": {seq}}}"),
        request_id: format!("r{seq}"),
        occurred_at: DateTime::from_timestamp(1_700_000_000 + seq, 0).unwrap(),
    }
}

/// Entries 1 to `count` without every seventh place, sealed `page` at a time.
#[derive(Clone)]
struct Trail {
    entries: Vec<Record>,
    checkpoints: Vec<(Checkpoint, Vec<Block>)>,
}

impl Trail {
    fn new(count: i64, page: usize) -> Self {
        let entries: Vec<_> = (1..=count).filter(|seq| seq % 7 != 0).map(record).collect();
        let mut checkpoints: Vec<(Checkpoint, Vec<Block>)> = Vec::new();
        let mut heads: BTreeMap<i16, (i64, Hash)> = BTreeMap::new();
        for part in entries.chunks(page) {
            let before = checkpoints.last().map(|(last, _)| (last.number, last.hash()));
            let number = before.map_or(0, |(number, _)| number) + 1;
            let mut blocks = Vec::new();
            for shard in 0..3 {
                let own: Vec<_> = part.iter().filter(|entry| entry.shard == shard).collect();
                if let Some(block) = Block::of(&own, heads.get(&shard).copied(), number) {
                    heads.insert(shard, (block.number, block.hash()));
                    blocks.push(block);
                }
            }
            let up_to = part.last().unwrap().seq;
            let checkpoint = Checkpoint::of(&blocks, up_to, before, sealed_at());
            checkpoints.push((checkpoint, blocks));
        }
        Self { entries, checkpoints }
    }

    fn walk(&self, may_expire: i64) -> Result<Walk, Broken> {
        let (mut walk, mut from) = (Walk::default(), 0);
        for (checkpoint, blocks) in &self.checkpoints {
            let span: Vec<_> = self
                .entries
                .iter()
                .filter(|entry| entry.seq > from && entry.seq <= checkpoint.up_to)
                .cloned()
                .collect();
            from = checkpoint.up_to;
            walk.step(checkpoint.clone(), blocks, &span, may_expire)?;
        }
        Ok(walk)
    }

    fn harm(&self) -> Option<(i64, Harm)> {
        match self.walk(0) {
            Err(Broken::Entry { seq, harm, .. }) => Some((seq, harm)),
            _ => None,
        }
    }
}

fn sealed_at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

#[test]
fn p5_an_untouched_trail_is_intact() {
    let trail = Trail::new(100, 17);
    let walk = trail.walk(0).unwrap_or_else(|broken| panic!("{broken:?}"));
    assert_eq!((walk.intact, walk.expired), (trail.entries.len() as u64, 0));
    assert_eq!(walk.last().unwrap().0.up_to, 100);
}

#[test]
fn p5_every_change_of_any_column_is_named() {
    let trail = Trail::new(60, 11);
    let changes: [fn(&mut Record); 9] = [
        |entry| entry.id = Uuid::from_u128(99),
        |entry| entry.shard = 9,
        |entry| entry.customer_id = Some(Uuid::from_u128(8)),
        |entry| entry.actor_kind = "customer".to_owned(),
        |entry| entry.actor_id = None,
        |entry| entry.action.push('x'),
        |entry| entry.data = "{}".to_owned(),
        |entry| entry.request_id.clear(),
        |entry| entry.occurred_at += chrono::TimeDelta::microseconds(1),
    ];
    for change in changes {
        for index in 0..trail.entries.len() {
            let mut harmed = trail.clone();
            change(&mut harmed.entries[index]);
            assert_eq!(harmed.harm(), Some((trail.entries[index].seq, Harm::Changed)));
        }
    }
    // What moves from one field into the next is another entry, too.
    let mut moved = trail.clone();
    moved.entries[4].action.push('r');
    moved.entries[4].data.insert(0, 'r');
    assert_eq!(moved.harm(), Some((5, Harm::Changed)));
}

#[test]
fn p5_removed_inserted_and_swapped_entries_are_named() {
    let trail = Trail::new(60, 11);
    for index in 0..trail.entries.len() {
        let mut harmed = trail.clone();
        let removed = harmed.entries.remove(index);
        assert_eq!(harmed.harm(), Some((removed.seq, Harm::Removed)));
        if let Some(next) = trail.entries.get(index + 1) {
            let mut harmed = trail.clone();
            let (one, other) = (trail.entries[index].clone(), next.clone());
            harmed.entries[index] = Record { seq: one.seq, ..other.clone() };
            harmed.entries[index + 1] = Record { seq: other.seq, ..one.clone() };
            assert_eq!(harmed.harm(), Some((one.seq, Harm::Changed)));
        }
    }
    for place in [7, 14, 56] {
        let mut harmed = trail.clone();
        let index = harmed.entries.partition_point(|entry| entry.seq < place);
        harmed.entries.insert(index, record(place));
        assert_eq!(harmed.harm(), Some((place, Harm::Inserted)));
    }
}

/// Whoever also rewrites what was sealed is found out one step higher.
#[test]
fn p5_blocks_and_checkpoints_cannot_be_made_to_fit() {
    let trail = Trail::new(60, 11);
    let mut harmed = trail.clone();
    harmed.entries[20].data = "{}".to_owned();
    let (index, place) = (harmed.entries[20].clone(), harmed.entries[20].seq);
    let found = harmed.checkpoints.iter().position(|(point, _)| point.up_to >= place).unwrap();
    let block =
        harmed.checkpoints[found].1.iter_mut().find(|block| block.shard == index.shard).unwrap();
    let at = block.entries.iter().position(|seq| *seq == place).unwrap();
    block.leaves[at] = index.leaf();
    assert!(matches!(
        harmed.walk(0),
        Err(Broken::Block { why: "lists other entries than were sealed", .. })
    ));
    let block =
        harmed.checkpoints[found].1.iter_mut().find(|block| block.shard == index.shard).unwrap();
    block.root = root(&block.leaves);
    let number = harmed.checkpoints[found].0.number;
    assert_eq!(
        harmed.walk(0).err(),
        Some(Broken::Checkpoint { number, why: "was made with other blocks" })
    );
    // And with a checkpoint that fits: the block after it does not, and it is not what was signed.
    let hashes: Vec<_> = harmed.checkpoints[found].1.iter().map(Block::hash).collect();
    let before = harmed.checkpoints[found].0.hash();
    harmed.checkpoints[found].0.root = root(&hashes);
    assert_ne!(harmed.checkpoints[found].0.hash(), before);
    assert!(matches!(
        harmed.walk(0),
        Err(Broken::Checkpoint { why: "does not follow the one before it", .. }
            | Broken::Block { why: "does not follow the one before it", .. })
    ));
    // One that is taken out, and one that is cut short.
    let mut harmed = trail.clone();
    harmed.checkpoints.remove(2);
    assert_eq!(harmed.walk(0).err(), Some(Broken::Checkpoint { number: 3, why: "is missing" }));
    let mut harmed = trail.clone();
    harmed.checkpoints[2].1.pop();
    assert_eq!(
        harmed.walk(0).err(),
        Some(Broken::Checkpoint { number: 3, why: "was made with other blocks" })
    );
}

#[test]
fn p5_what_was_deleted_for_its_age_keeps_the_chain() {
    let mut trail = Trail::new(60, 11);
    let end = trail.checkpoints[1].0.up_to;
    for (_, blocks) in &mut trail.checkpoints[..2] {
        for block in blocks {
            (block.entries, block.leaves, block.expired) = (Vec::new(), Vec::new(), true);
        }
    }
    let before = trail.entries.len();
    trail.entries.retain(|entry| entry.seq > end);
    let walk = trail.walk(2).unwrap_or_else(|broken| panic!("{broken:?}"));
    assert_eq!((walk.intact + walk.expired) as usize, before);
    // Not without the chain's own word for it, and not with entries that come back.
    assert!(matches!(trail.walk(1), Err(Broken::Block { .. })));
    trail.entries.insert(0, record(3));
    assert!(matches!(trail.walk(2), Err(Broken::Entry { seq: 3, harm: Harm::Inserted, .. })));
}

/// The root by leaf and path, as RFC 9162 (2.1.3.2) has it: with another algorithm than ours.
fn by_path(leaf: Hash, mut index: usize, size: usize, path: &[Hash]) -> Option<Hash> {
    let (mut last, mut hash) = (size - 1, leaf);
    for other in path {
        if last == 0 {
            return None;
        }
        if index % 2 == 1 || index == last {
            hash = node(other, &hash);
            while index.is_multiple_of(2) && index != 0 {
                (index, last) = (index >> 1, last >> 1);
            }
        } else {
            hash = node(&hash, other);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    (last == 0).then_some(hash)
}

proptest! {
    #[test]
    fn p5_a_path_leads_from_each_leaf_to_the_root_and_from_no_other(size in 1_usize..70) {
        let leaves: Vec<Hash> = (0..size).map(|n| record(n as i64).leaf()).collect();
        for index in 0..size {
            let path = path(&leaves, index);
            prop_assert_eq!(by_path(leaves[index], index, size, &path), Some(root(&leaves)));
            prop_assert_ne!(by_path(record(1_000).leaf(), index, size, &path), Some(root(&leaves)));
        }
    }
}
