//! The repository's lint of itself: what the compiler cannot see, but a reader would.
//!
//! Works on the text of the sources. A finding names file and line, the rule and what to do.

#[path = "tidy/watching.rs"]
mod watching;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

#[path = "tidy/deploy.rs"]
mod deploy;

/// Most lines of a file: beyond that it holds more than one idea.
const FILE_LINES_MAX: usize = 600;

/// Most lines of a function. A list (routes, columns, a match over every variant) may be longer.
const FUNCTION_LINES_MAX: usize = 100;

struct Source {
    /// From the repository's root, e.g. `src/db/pool.rs`.
    path: String,
    text: String,
}

impl Source {
    /// Whether the whole file is a test.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.ends_with("/example.rs")
    }

    /// The lines outside test-only items, numbered from 1.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut skipped: Option<usize> = None;
        self.text.lines().enumerate().filter_map(move |(n, line)| {
            let indent = line.len() - line.trim_start().len();
            match skipped {
                Some(at) => {
                    // The item ends with its own brace, or is a declaration of one line.
                    let ends =
                        indent == at && (line.trim() == "}" || line.trim_end().ends_with(';'));
                    skipped = (!ends).then_some(at);
                    None
                }
                None if line.trim() == "#[cfg(test)]" => {
                    skipped = Some(indent);
                    None
                }
                None => Some((n + 1, line)),
            }
        })
    }

    /// The same without comments.
    fn statements(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// `db` for `src/db/pool.rs`, `clock` for `src/clock.rs`.
    fn layer(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.split(['/', '.']).next().unwrap_or(inner)
    }
}

fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source is text");
                let path = path.strip_prefix(root).expect("inside the root").display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

fn nothing_found(findings: &str) {
    assert!(findings.is_empty(), "\n{findings}");
}

/// What each layer may name of ours; `lib.rs` states the same in words.
const LAYERS: &[(&str, &[&str])] = &[
    ("domain", &["domain"]),
    ("clock", &["clock"]),
    ("config", &["config"]),
    ("traces", &["traces", "config"]),
    ("telemetry", &["telemetry", "config", "brokers", "traces"]),
    ("deadline", &["deadline"]),
    ("db", &["db", "domain", "deadline", "faults"]),
    ("security", &["security", "config", "clock", "deadline"]),
    ("brokers", &["brokers", "config", "clock"]),
    ("order_service", &["order_service", "domain"]),
    ("mail", &["mail", "brokers", "config", "clock"]),
    // `mail` for the languages that people are written to in
    ("sms", &["sms", "mail", "config", "clock"]),
    (
        "actors",
        &[
            "actors",
            "domain",
            "db",
            "security",
            "brokers",
            "order_service",
            "mail",
            "sms",
            "config",
            "clock",
            "deadline",
            "faults",
            "traces",
        ],
    ),
    (
        "http",
        &[
            "http",
            "actors",
            "domain",
            "security",
            "db",
            "config",
            "clock",
            "deadline",
            "telemetry",
            "traces",
        ],
    ),
];

#[test]
fn layers_are_kept() {
    let mut findings = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == source.layer()) else {
            continue; // app, lib and main see everything
        };
        for (line, text) in source.statements() {
            for named in text.split("crate::").skip(1) {
                let module =
                    named.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
                if !module.is_empty() && !allowed.contains(&module) {
                    let layer = source.layer();
                    writeln!(findings, "{}:{line}: {layer} must not use {module}", source.path)
                        .unwrap();
                }
            }
        }
    }
    nothing_found(&findings);
}

/// Who may name a crate whose machinery is kept in one place.
const DOORS: &[(&str, &[&str])] = &[
    ("diesel", &["src/db/"]),
    ("diesel_async", &["src/db/"]),
    ("diesel_migrations", &["src/db/"]),
    ("lapin", &["src/brokers/rabbit"]),
    ("async_rs", &["src/brokers/rabbit"]),
    // in the settings `redis` is our own module of that name
    ("redis", &["src/brokers/redis", "src/app/settings.rs"]),
    ("lettre", &["src/mail/", "src/config"]),
    ("reqwest", &["src/sms/", "src/security/social/", "src/order_service.rs", "src/top.rs"]),
    ("argon2", &["src/security/"]),
    ("actix", &["src/actors/runtime/", "src/actors/shard.rs", "src/actors/worker.rs", "src/app/"]),
    ("actix_web", &["src/http/", "src/app/"]),
];

#[test]
fn each_crate_has_its_door() {
    let mut findings = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for (line, text) in source.statements() {
            for (name, doors) in DOORS {
                let names =
                    text.contains(&format!("use {name}::")) || text.contains(&format!(" {name}::"));
                if names && !doors.iter().any(|door| source.path.starts_with(door)) {
                    writeln!(
                        findings,
                        "{}:{line}: only {} may name {name}",
                        source.path,
                        doors.join(", ")
                    )
                    .unwrap();
                }
            }
        }
    }
    nothing_found(&findings);
}

#[test]
fn the_domain_is_pure() {
    let mut findings = String::new();
    for source in sources("src/domain").iter().filter(|source| !source.is_test()) {
        for (line, text) in source.statements() {
            for banned in [
                "async ", ".await", "tokio", "actix", "Utc::now", "rand::", "now_v7", "new_v4",
                "std::env",
            ] {
                if text.contains(banned) {
                    writeln!(findings, "{}:{line}: {banned} in the domain", source.path).unwrap();
                }
            }
        }
    }
    nothing_found(&findings);
}

/// Marks of unfinished or careless work, with what to do instead. Written in two halves, so that
/// this file does not find itself.
const BANNED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "finish it"),
    (concat!("unimplemented", "!("), "finish it"),
    (concat!("dbg", "!("), "log it, or remove it"),
    (concat!("FIX", "ME"), "fix it, or say it in an issue"),
    (concat!("allow(dead", "_code"), "remove what is not used"),
    (concat!("#[ig", "nore"), "a test that does not run proves nothing"),
    (concat!(".do", "_send("), "it drops messages silently: call through the runtime"),
];

#[test]
fn nothing_unfinished_is_left() {
    let mut findings = String::new();
    for source in sources("src").iter().chain(&sources("tests")).chain(&sources("examples")) {
        for (line, text) in source.text.lines().enumerate() {
            for (banned, instead) in BANNED {
                if text.contains(banned) {
                    writeln!(findings, "{}:{}: {banned} … {instead}", source.path, line + 1)
                        .unwrap();
                }
            }
        }
    }
    nothing_found(&findings);
}

#[test]
fn nothing_panics_on_purpose_outside_tests() {
    let mut findings = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        for (line, text) in source.statements() {
            if text.contains(".unwrap()") || text.contains("panic!(") {
                writeln!(
                    findings,
                    "{}:{line}: handle it, or `expect` with the invariant that makes it impossible",
                    source.path
                )
                .unwrap();
            }
        }
    }
    nothing_found(&findings);
}

#[test]
fn every_file_says_its_idea() {
    let mut findings = String::new();
    for source in sources("src").iter().chain(&sources("tests")).chain(&sources("examples")) {
        if !source.text.starts_with("//! ") {
            writeln!(
                findings,
                "{}: the first line must say what the file is for (`//! …`)",
                source.path
            )
            .unwrap();
        }
        let lines = source.text.lines().count();
        // Generated, or a list of statements.
        let list =
            source.path.ends_with("db/schema.rs") || source.path.ends_with("db/statements.rs");
        if lines > FILE_LINES_MAX && !list {
            writeln!(findings, "{}: {lines} lines; split it by its ideas", source.path).unwrap();
        }
    }
    nothing_found(&findings);
}

#[test]
fn functions_fit_on_a_screen() {
    let mut findings = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let mut open: Option<(usize, usize, &str)> = None;
        for (line, text) in source.code() {
            let indent = text.len() - text.trim_start().len();
            let starts = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(super) fn ",
                "pub(crate) fn ",
            ];
            if open.is_none() && starts.iter().any(|start| text.trim_start().starts_with(start)) {
                open = Some((line, indent, text.trim()));
            } else if let Some((start, at, name)) = open
                && indent == at
                && text.trim() == "}"
            {
                // A function whose body is one match over every variant is a list.
                if line - start > FUNCTION_LINES_MAX && !is_list(name) {
                    writeln!(findings, "{}:{start}: {} lines: {name}", source.path, line - start)
                        .unwrap();
                }
                open = None;
            }
            if text.trim_end().ends_with(';') && open.is_some_and(|(start, ..)| start == line) {
                open = None; // a declaration without a body
            }
        }
    }
    nothing_found(&findings);
}

/// One match over every event or command.
fn is_list(name: &str) -> bool {
    ["fn message(", "fn trace(", "fn evolve(", "fn decide(", "fn load(", "fn services("]
        .iter()
        .any(|list| name.contains(list))
}

#[test]
fn transactions_open_in_batches_and_workers_only() {
    let mut findings = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let may = ["src/actors/batch/", "src/actors/workers/", "src/db/"]
            .iter()
            .any(|folder| source.path.starts_with(folder));
        for (line, text) in source.statements() {
            let opens = text.contains("transactions::begin") || text.contains(".transaction(");
            if opens && !may {
                writeln!(findings, "{}:{line}: submit a command instead", source.path).unwrap();
            }
        }
    }
    nothing_found(&findings);
}

/// Rule A4: whoever wants a credential to count goes through the gate, since nobody else makes
/// proofs, and only what judges them opens sessions.
#[test]
fn proofs_are_made_in_the_gate_and_sessions_opened_by_what_judges_them() {
    let mut findings = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let gate = source.path.starts_with("src/actors/gate/");
        let domain = source.path.starts_with("src/domain/");
        let judges = ["sign_in", "registration", "identities"]
            .map(|name| format!("src/domain/decide/{name}.rs"));
        for (line, text) in source.statements() {
            if makes_proof(text) && !gate && !domain {
                writeln!(findings, "{}:{line}: ask the gate for the proof", source.path).unwrap();
            }
            if text.contains("open_session(") && !judges.contains(&source.path) {
                writeln!(findings, "{}:{line}: sign_in::complete opens it", source.path).unwrap();
            }
        }
    }
    nothing_found(&findings);
}

/// Names a kind of the domain's `Proof`, not of a type whose name ends like it.
fn makes_proof(text: &str) -> bool {
    text.match_indices("Proof::").any(|(at, _)| {
        !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    })
}

/// The variants of `enum name` in `text`.
fn variants(text: &str, name: &str) -> BTreeSet<String> {
    let start = text.find(&format!("pub enum {name} {{")).expect("the enum is there");
    let body = &text[start..];
    let end = body.find("\n}").expect("the enum ends");
    body[..end]
        .lines()
        .filter(|line| line.starts_with("    ") && !line.starts_with("     "))
        .map(|line| {
            line.trim().split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_owned()
        })
        .filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()))
        .collect()
}

#[test]
fn every_rejection_is_used() {
    let all = sources("src");
    let outcome =
        all.iter().find(|source| source.path == "src/domain/outcome.rs").expect("outcome.rs");
    let mut findings = String::new();
    for variant in variants(&outcome.text, "Rejection") {
        let name = format!("Rejection::{variant}");
        let made = all
            .iter()
            .filter(|source| !source.is_test() && source.path != "src/http/rejections.rs")
            .any(|source| source.statements().any(|(_, line)| line.contains(&name)));
        if !made {
            writeln!(findings, "{name} is never made: remove it").unwrap();
        }
    }
    nothing_found(&findings);
}

/// Else the test of the one gate would not miss it.
#[test]
fn every_path_through_the_gate_is_in_its_list() {
    let all = sources("src/actors/gate");
    let path = all.iter().find(|source| source.path.ends_with("/path.rs")).expect("path.rs");
    let mut findings = String::new();
    for variant in variants(&path.text, "Path") {
        if !path.text.lines().any(|line| line == format!("        Self::{variant},")) {
            writeln!(findings, "{}: {variant} is missing in Path::ALL", path.path).unwrap();
        }
    }
    nothing_found(&findings);
}

/// The full names of all tests: `sign_in::…` of `tests/it/sign_in.rs`, else by module.
fn tests_by_name() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in sources("src").iter().chain(&sources("tests")) {
        let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = ["src/", "tests/it/", "tests/"].iter().find_map(|at| path.strip_prefix(at));
        let module = module.unwrap_or(path).replace('/', "::");
        let mut is_test = false;
        for line in source.text.lines() {
            let code = line.trim_start();
            if code.starts_with("#[") {
                is_test |= code.starts_with("#[test]")
                    || code.starts_with("#[tokio::test")
                    || code.starts_with("#[actix_web::test");
            } else if let Some(named) = code.trim_start_matches("async ").strip_prefix("fn ") {
                let name = named.split('(').next().unwrap_or(named);
                // Indented in code, it stands in the file's own `mod tests`.
                let whole = source.is_test() || source.path.starts_with("tests/");
                let inner = if code.len() < line.len() && !whole { "tests::" } else { "" };
                if std::mem::take(&mut is_test) {
                    found.insert(format!("{module}::{inner}{name}"));
                }
            }
        }
    }
    found
}

/// Sections of OWASP ASVS 5.0 that `docs/asvs.md` goes through, and how many requirements each has.
const ASVS: &str = "2.4:2 6.1:3 6.2:12 6.3:8 6.4:6 6.5:8 6.6:4 6.7:2 6.8:4 7.1:3 7.2:4 7.3:2 7.4:5 \
    7.5:3 7.6:2 9.1:3 9.2:4 10.1:2 10.2:3 10.3:5 10.4:16 10.5:5 10.6:2 10.7:3 11.1:4 11.2:5 11.3:5 \
    11.4:4 11.5:2 11.6:2 11.7:2 16.1:1 16.2:5 16.3:4 16.4:3 16.5:4";

#[test]
fn the_table_of_the_asvs_is_whole_and_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/asvs.md")).expect("docs/asvs.md");
    let mut missing: BTreeSet<String> = BTreeSet::new();
    for section in ASVS.split_whitespace() {
        let (section, number) = section.split_once(':').expect("section:number");
        missing.extend((1..=number.parse().unwrap()).map(|n: u32| format!("{section}.{n}")));
    }
    let (all, tests) = (missing.len(), tests_by_name());
    assert!(tests.len() > 300, "only {} tests were found", tests.len());
    let mut findings = String::new();
    let mut verdicts = [("met", 0), ("falls short", 0), ("front end", 0), ("not applicable", 0)];
    for (line, row) in text.lines().enumerate() {
        // Every other piece between backticks is code.
        for code in row.split('`').skip(1).step_by(2) {
            if code.contains("::") && !code.ends_with('…') && !tests.contains(code) {
                writeln!(findings, "docs/asvs.md:{}: there is no test {code}", line + 1).unwrap();
            }
        }
        let cells: Vec<&str> = row.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let [number, _, _, verdict, proof] = cells[..] else { continue };
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            continue;
        }
        if !missing.remove(number) {
            writeln!(findings, "docs/asvs.md: {number} is unknown, or stands twice").unwrap();
        }
        match verdicts.iter_mut().find(|(known, _)| verdict.split(':').next() == Some(known)) {
            Some((_, count)) => *count += 1,
            None => writeln!(findings, "docs/asvs.md: {number}: no verdict {verdict}").unwrap(),
        }
        if verdict.starts_with("met") && proof == "–" {
            writeln!(findings, "docs/asvs.md: {number}: met, says who?").unwrap();
        }
    }
    for number in missing {
        writeln!(findings, "docs/asvs.md: {number} is missing").unwrap();
    }
    let [met, short, front, not] = verdicts.map(|(_, count)| count);
    let told = format!(
        "Of {all} requirements {met} are met, {short} fall short, {front} are the front end's, \
         {not} are not applicable."
    );
    if !text.contains(&told) {
        writeln!(findings, "docs/asvs.md: say: {told}").unwrap();
    }
    nothing_found(&findings);
}

#[test]
fn documents_are_where_they_are_looked_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", ".ci/run"]
    {
        assert!(root.join(name).is_file(), "{name} is missing at the top");
    }
    for folder in std::fs::read_dir(root.join("migrations")).expect("migrations").flatten() {
        for file in ["up.sql", "down.sql"] {
            assert!(folder.path().join(file).is_file(), "{} lacks {file}", folder.path().display());
        }
    }
}
