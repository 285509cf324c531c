//! The peer of the write path: pgbench, sending the very statements of one change in a transaction
//! of its own.
//!
//! The writes are taken from the service's own statements, so they cannot drift apart; the two
//! reads are as the service's log shows them. Each client keeps to one customer, as each connection of
//! the load generator does, and no two clients share a customer, a page or a shard: nothing but the
//! database itself holds pgbench up.

use super::database::{ID_END, Server, shard_of};
use super::stats::median;
use anyhow::{Context, Result, bail, ensure};
use customer_service::db::statements::{
    AppendToOutbox, InsertAuditEntries, TouchCustomers, UpdateProfiles,
};
use diesel::pg::Pg;
use diesel::query_builder::QueryFragment;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The customer of this client. Built in the statement, for a variable of pgbench is a number.
pub const CUSTOMER: &str = "(lpad(:n::text, 8, '0') || '-0000-7000-8000-be9cbe9cbe9c')::uuid";
/// An id that sorts by time, as the service's do.
pub const NEW_ID: &str = "(lpad(to_hex((extract(epoch FROM now()) * 1000000)::bigint), 16, '0') || \
                      lpad(to_hex(:random::bigint), 16, '0'))::uuid";

pub const LOCK_CUSTOMER: &str = "SELECT \"customers\".\"id\", \"customers\".\"email\", \"customers\".\"email_canonical\", \
    \"customers\".\"email_verified_at\", \"customers\".\"phone\", \"customers\".\"phone_verified_at\", \
    \"customers\".\"first_name\", \"customers\".\"last_name\", \"customers\".\"customer_type\", \
    \"customers\".\"group_code\", \"customers\".\"status\", \"customers\".\"status_before_deletion\", \
    \"customers\".\"tags\", \"customers\".\"accepts_marketing\", \"customers\".\"last_sign_in_at\", \
    \"customers\".\"created_at\", \"customers\".\"updated_at\", \"customers\".\"version\", \"customers\".\"sequence\" \
    FROM \"customers\" WHERE ((\"customers\".\"id\" = ANY($1)) AND (\"customers\".\"deleted_at\" IS NULL)) \
    ORDER BY \"customers\".\"id\" FOR UPDATE";
const READ_PROFILE: &str = "SELECT \"customer_profiles\".\"customer_id\", \"customer_profiles\".\"date_of_birth\", \
    \"customer_profiles\".\"gender\", \"customer_profiles\".\"avatar_url\", \"customer_profiles\".\"company\", \
    \"customer_profiles\".\"tax_id\", \"customer_profiles\".\"bio\", \"customer_profiles\".\"custom\", \
    \"customer_profiles\".\"version\" FROM \"customer_profiles\" \
    WHERE (\"customer_profiles\".\"customer_id\" = ANY($1))";

/// A statement with its `$1, $2, …` replaced by expressions.
pub fn filled(sql: &str, values: &[String]) -> Result<String> {
    let mut text = sql.to_owned();
    // From the last, for `$1` also begins `$12`.
    for (index, value) in values.iter().enumerate().rev() {
        let place = format!("${}", index + 1);
        ensure!(text.contains(&place), "a statement of a change has no {place} any more: {sql}");
        text = text.replace(&place, value);
    }
    ensure!(!text.contains('$'), "a statement of a change has more parameters than known: {sql}");
    Ok(text)
}

/// The text of one of the service's statements.
pub fn text_of(statement: &impl QueryFragment<Pg>) -> String {
    let shown = diesel::debug_query::<Pg, _>(statement).to_string();
    shown.split(" -- binds").next().unwrap_or_default().trim().to_owned()
}

/// The number of each client's customer, or what follows from it.
pub fn of_client(customers: &[u32], value: impl Fn(u32) -> String) -> String {
    let cases: Vec<String> = customers
        .iter()
        .enumerate()
        .map(|(client, number)| format!("WHEN :client_id = {client} THEN {}", value(*number)))
        .collect();
    format!("CASE {} END", cases.join(" "))
}

/// One value as the column of a bulk statement.
pub fn one(value: &str, kind: &str) -> String {
    format!("ARRAY[{value}]::{kind}[]")
}

/// NULL as the column of a bulk statement.
pub fn none(kind: &str) -> String {
    format!("ARRAY[NULL]::{kind}[]")
}

/// The script of one change for clients whose customers are given by number.
pub fn script(customers: &[u32]) -> Result<String> {
    let version = ":c_version::bigint + 1";
    let sequence = ":c_sequence::bigint + 1";
    let touch = filled(
        &text_of(&TouchCustomers::default()),
        &[
            one(CUSTOMER, "uuid"),
            none("timestamptz"),
            one("now()", "timestamptz"),
            one(version, "bigint"),
            one(sequence, "bigint"),
        ],
    )?;
    let profile = filled(
        &text_of(&UpdateProfiles::default()),
        &[
            one(CUSTOMER, "uuid"),
            none("date"),
            none("text"),
            none("text"),
            one("'Bench & Sons'", "text"),
            none("text"),
            one("'A few lines about oneself, ' || :p_version::text", "text"),
            one("'{}'", "jsonb"),
            one(":p_version::bigint + 1", "bigint"),
        ],
    )?;
    let entry = filled(
        &text_of(&InsertAuditEntries::default()),
        &[
            one(NEW_ID, "uuid"),
            one(":shard::smallint", "smallint"),
            one(CUSTOMER, "uuid"),
            one("'customer'", "text"),
            one(&format!("lpad(:n::text, 8, '0') || '{ID_END}'"), "text"),
            one("'profile.updated'", "text"),
            one(
                "('{\"changed\": [\"profile.bio\"], \"version\": ' || :c_version::text || '}')",
                "jsonb",
            ),
            one(&format!("{NEW_ID}::text"), "text"),
            one("now()", "timestamptz"),
        ],
    )?;
    let message = format!(
        "('{{\"customer_id\": \"' || lpad(:n::text, 8, '0') || '{ID_END}\", \
         \"changed\": [\"profile.bio\"], \"version\": ' || :c_version::text || '}}')"
    );
    let outbox = filled(
        &text_of(&AppendToOutbox::default()),
        &[
            one(":shard::smallint", "smallint"),
            one(NEW_ID, "uuid"),
            one(CUSTOMER, "uuid"),
            one(sequence, "bigint"),
            one("'customer.updated'", "text"),
            one("now()", "timestamptz"),
            none("text"),
            one(&message, "jsonb"),
        ],
    )?;
    let lock = filled(LOCK_CUSTOMER, &[one(CUSTOMER, "uuid")])?;
    let read = filled(READ_PROFILE, &[one(CUSTOMER, "uuid")])?;
    Ok(format!(
        "\\set n {}\n\\set shard {}\n\\set random random(1, 9000000000000000000)\n\
         BEGIN;\n{lock} \\gset c_\n{read} \\gset p_\n{touch};\n{profile};\n{entry};\n{outbox};\nCOMMIT;\n",
        of_client(customers, |number| number.to_string()),
        of_client(customers, |number| shard_of(number).to_string()),
    ))
}

/// pgbench with a script for up to as many clients as there are customers.
pub struct Pgbench {
    pub program: PathBuf,
    pub folder: PathBuf,
    pub script: PathBuf,
}

/// What a run of pgbench came to, its first second left out.
pub struct Run {
    pub transactions_per_second: f64,
    /// Processor time of the database for one transaction, in microseconds.
    pub database_micros: Option<f64>,
}

impl Pgbench {
    pub fn new(program: &str, folder: &Path, customers: &[u32]) -> Result<Self> {
        let path = folder.join("change.pgbench.sql");
        std::fs::write(&path, script(customers)?)?;
        Ok(Self { program: program.into(), folder: folder.to_owned(), script: path })
    }

    /// The same with another script, of a name of its own.
    pub fn with(&self, name: &str, script: &str) -> Result<Self> {
        let path = self.folder.join(format!("{name}.pgbench.sql"));
        std::fs::write(&path, script)?;
        Ok(Self { program: self.program.clone(), folder: self.folder.clone(), script: path })
    }

    fn command(&self, server: &Server, clients: usize, seconds: u64) -> Command {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.folder)
            .args(["--no-vacuum", "--protocol=prepared", "--file"])
            .arg(&self.script)
            .arg(format!("--client={clients}"))
            .arg(format!("--jobs={}", clients.min(super::machine::cores())))
            .arg(format!("--time={seconds}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .arg("--progress=1")
            .arg(server.url.as_str());
        command
    }

    /// Runs for a second to warm up and for `seconds` that count. Blocks: nothing else is to run.
    pub fn run(&self, server: &Server, clients: usize, seconds: u64) -> Result<Run> {
        // Its last second may bring no line of progress any more.
        let mut child = self.command(server, clients, seconds + 2).spawn().context("pgbench")?;
        let stderr = child.stderr.take().context("pgbench has no stderr")?;
        let (mut rates, mut said) = (Vec::new(), String::new());
        let (mut before, mut after) = (None, None);
        for line in BufReader::new(stderr).lines() {
            let line = line?;
            match progress(&line) {
                Some(_) if before.is_none() => before = Some(server.cpu()),
                Some(rate) if rates.len() < seconds as usize => {
                    rates.push(rate);
                    after = server.cpu();
                }
                Some(_) => {}
                None => said = said + &line + "\n",
            }
        }
        let status = child.wait()?;
        let transactions: f64 = rates.iter().sum();
        if !status.success() || transactions == 0.0 {
            bail!("pgbench failed ({status}): {said}");
        }
        let spent = before.flatten().zip(after).map(|(before, after)| after - before);
        Ok(Run {
            transactions_per_second: transactions / rates.len() as f64,
            database_micros: spent.map(|seconds| seconds * 1e6 / transactions),
        })
    }

    /// Median latency of one client alone, in milliseconds.
    pub fn alone_ms(&self, server: &Server, seconds: u64) -> Result<f64> {
        let prefix = self.folder.join("pgbench-log");
        let output = self
            .command(server, 1, seconds)
            .arg("--log")
            .arg(format!("--log-prefix={}", prefix.display()))
            .output()?;
        ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
        let mut latencies = Vec::new();
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("pgbench-log.") {
                let log = std::fs::read_to_string(entry.path())?;
                // client, number, time in microseconds, script, time of day
                latencies.extend(log.lines().filter_map(|line| {
                    line.split(' ').nth(2)?.parse::<f64>().ok().map(|micros| micros / 1000.0)
                }));
                std::fs::remove_file(entry.path())?;
            }
        }
        ensure!(!latencies.is_empty(), "pgbench wrote no log");
        Ok(median(&latencies))
    }
}

/// The rate in a line such as `progress: 1.0 s, 812.3 tps, lat 1.2 ms stddev 0.3, 0 failed`.
fn progress(line: &str) -> Option<f64> {
    line.strip_prefix("progress: ")?.split(", ").nth(1)?.strip_suffix(" tps")?.parse().ok()
}
