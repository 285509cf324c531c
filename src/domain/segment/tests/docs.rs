//! The tables in `docs/segments.md`, which are made from the lists.

use super::attributes::{FUNCTIONS, all};
use std::fmt::Write;
use std::path::Path;

const BEGINS: &str = "<!-- generated: UPDATE_SEGMENTS=1 cargo test --lib segment -->\n";
const ENDS: &str = "<!-- end of what is generated -->";

fn tables() -> String {
    let mut out = String::from("\n| attribute | type | |\n|---|---|---|\n");
    for entry in all() {
        let name = match entry.name {
            "custom" => "custom.<key>",
            "consent" => "consent.<purpose>[.<channel>]",
            name => name,
        };
        let absent = entry.absent.map(|whose| format!(" Absent for customers {whose}."));
        let timed = if entry.timed { " Changes by time alone, too." } else { "" };
        let (kind, about, absent) = (entry.kind.name(), entry.about, absent.unwrap_or_default());
        let (cost, example) = (entry.cost, entry.example);
        writeln!(out, "| `{name}` | {kind} | {about}{absent}{timed} Cost {cost}. `{example}` |")
            .unwrap();
    }
    out.push_str("\n| function | parameters | |\n|---|---|---|\n");
    for entry in &FUNCTIONS {
        let params: Vec<_> = entry
            .params
            .iter()
            .map(|param| format!("`{}` ({})", param.name(), param.kind().name()))
            .collect();
        let (name, params, about) = (entry.name, params.join(", "), entry.about);
        let (cost, example) = (entry.cost, entry.example);
        writeln!(out, "| `{name}` | {params} | {about} Cost {cost}. `{example}` |").unwrap();
    }
    out.push('\n');
    out
}

#[test]
fn s1_the_documented_attributes_are_those_of_the_list() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/segments.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGINS).expect("where the tables begin");
    let (kept, after) = rest.split_once(ENDS).expect("where they end");
    let made = tables();
    if std::env::var_os("UPDATE_SEGMENTS").is_some() {
        std::fs::write(&path, format!("{before}{BEGINS}{made}{ENDS}{after}")).unwrap();
        return;
    }
    assert!(
        kept == made,
        "write docs/segments.md anew: UPDATE_SEGMENTS=1 cargo test --lib segment"
    );
}
