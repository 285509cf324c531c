//! Makes `src/security/breached-passwords.fuse16` from lists of passwords, one a line. Run by
//! `dev/breached-passwords`, which fetches the lists and checks that they are the right ones.
//!
//! `cargo run --example breached_passwords -- OUTPUT LIST...`

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, bail};
use customer_service::security::breached;
use customer_service::security::passwords::{MIN_CODE_POINTS, Password};
use xorf::{BinaryFuse16, DmaSerializable, Filter};

/// How many random keys the rate of false positives is measured with.
const PROBES: u64 = 10_000_000;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let output = arguments.next().context("no output file is named")?;
    // A set in order: the filter depends on it, and the file shall come out the same each time.
    let mut keys = BTreeSet::new();
    for list in arguments {
        let before = keys.len();
        let text = fs::read(&list).with_context(|| format!("cannot read {list}"))?;
        keys.extend(
            String::from_utf8_lossy(&text).lines().filter(|l| long_enough(l)).map(breached::key),
        );
        println!("{list}: {} passwords that were not known yet", keys.len() - before);
    }
    let keys: Vec<u64> = keys.into_iter().collect();
    let filter = BinaryFuse16::try_from(&keys).map_err(anyhow::Error::msg)?;
    if let Some(missed) = keys.iter().find(|key| !filter.contains(key)) {
        bail!("the filter does not contain key {missed}");
    }
    let file = encode(&filter);
    fs::write(&output, &file).with_context(|| format!("cannot write {output}"))?;
    println!("{} passwords, {} bytes, all of them found", keys.len(), file.len());
    println!("{} of {PROBES} others are found too", false_positives(&filter, &keys));
    Ok(())
}

/// Whether it could be chosen at all: what is too short is refused for that.
fn long_enough(line: &str) -> bool {
    let password = Password::presented(line);
    String::from_utf8_lossy(password.as_bytes()).chars().count() >= MIN_CODE_POINTS
}

/// The descriptor, then the fingerprints, each in two bytes, the low one first.
fn encode(filter: &BinaryFuse16) -> Vec<u8> {
    let mut file = vec![0; BinaryFuse16::DESCRIPTOR_LEN];
    filter.dma_copy_descriptor_to(&mut file);
    file.extend(filter.fingerprints.iter().flat_map(|fingerprint| fingerprint.to_le_bytes()));
    file
}

fn false_positives(filter: &BinaryFuse16, keys: &[u64]) -> usize {
    // an odd constant times a counter visits each number once, as evenly as random ones would
    let others = (1..=PROBES).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    others.filter(|key| keys.binary_search(key).is_err() && filter.contains(key)).count()
}
