//! The file: customers as a shop has them, with a phone number, tags and an attribute.

use anyhow::Result;
use std::io::{BufWriter, Write};
use std::path::Path;

const FIRST: [&str; 8] = ["Ánh", "Anna", "Björn", "Chloé", "Đức", "Elif", "Fatima", "Georg"];
const LAST: [&str; 8] =
    ["Nguyễn", "O’Neill", "Ó Briain", "Yılmaz", "Müller", "Rossi", "Li", "Kowalski"];

/// Writes part `part`, of `count` rows.
pub fn write(path: &Path, part: usize, count: usize) -> Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    writeln!(
        out,
        "email,first_name,last_name,phone,locale,tags,company,custom.points,email_verified,created_at"
    )?;
    for n in 0..count {
        let mixed = n.wrapping_mul(2_654_435_761);
        writeln!(
            out,
            "shopper-{part}-{n}@mail{}.example,{} {},{},+8491{:07},vi-VN,\"vip, wave {}\",,{},true,2024-0{}-1{} 0{}:15:00",
            mixed % 50,
            FIRST[mixed / 7 % 8],
            n % 977,
            LAST[mixed / 57 % 8],
            n % 10_000_000,
            n % 20,
            mixed % 5_000,
            1 + n % 9,
            n % 10,
            n % 10,
        )?;
    }
    Ok(out.flush()?)
}
