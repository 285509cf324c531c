//! `customer-service top`: what the page for operators shows, in a terminal: one node's state, its queues and
//! what waits, each second anew. It asks the running service by HTTP, with a key of staff's, as the page does;
//! nothing of it needs the database.

use crate::{Failure, health};
use anyhow::{Context as _, bail};
use clap::Args;
use console::{Term, style};
use customer_service::config::Config;
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use url::Url;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// An answer that is not there by then is none; the next look asks again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Without a terminal there is no width: that of most.
const WIDTH: usize = 120;

/// A failure is worth being seen first for so long.
const RECENT_SECONDS: f64 = 60.0;

/// What the service must be told and this question need not know.
const NOT_NEEDED: [&str; 2] = ["database.url", "secrets.root_key"];

/// What to watch, and how.
#[derive(Args)]
pub struct TopArguments {
    /// Where the node answers operators; otherwise that of this configuration, on this machine
    #[arg(long)]
    url: Option<Url>,
    /// A file with a key of scope ops:read; otherwise the variable CUSTOMER_SERVICE_STAFF_KEY, or it is asked for
    #[arg(long, value_name = "PATH")]
    key_file: Option<PathBuf>,
    /// Print one look and end, as when there is no terminal
    #[arg(long)]
    once: bool,
}

/// Shows looks until it is ended.
pub fn run(
    path: Option<&Path>,
    environment: &BTreeMap<String, String>,
    arguments: &TopArguments,
) -> Result<ExitCode, Failure> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => {
            let config = Config::load_without(&NOT_NEEDED, path, environment);
            let http = config.map_err(Failure::NotConfigured)?.http;
            let address = health::from_here(http.ops_bind.unwrap_or(http.bind));
            Url::parse(&format!("http://{address}")).context("no address")?
        }
    };
    let node = Node {
        actors: url.join("/ops/actors").context("--url is no address of a node")?,
        key: key(arguments)?,
        client: reqwest::Client::builder().timeout(PATIENCE).build().context("no client")?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let term = Term::stdout();
    let once = arguments.once || !term.is_term();
    Ok(runtime.context("no runtime")?.block_on(watch(&node, &term, once))?)
}

/// Never on the command line: everybody on the machine could read it there.
fn key(arguments: &TopArguments) -> anyhow::Result<SecretString> {
    let text = match (&arguments.key_file, std::env::var("CUSTOMER_SERVICE_STAFF_KEY")) {
        (Some(path), _) => std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))?,
        (None, Ok(key)) => key,
        (None, Err(_)) => {
            let term = Term::stderr();
            if !term.is_term() {
                bail!("no key: name a file by --key-file, or set CUSTOMER_SERVICE_STAFF_KEY");
            }
            term.write_str("A key of staff's with the scope ops:read: ")?;
            term.read_secure_line()?
        }
    };
    Ok(SecretString::from(text.trim()))
}

/// The node that is watched.
struct Node {
    actors: Url,
    key: SecretString,
    client: reqwest::Client,
}

/// One look, and when it was had.
struct Look {
    overview: Value,
    at: Instant,
}

impl Node {
    async fn look(&self) -> anyhow::Result<Look> {
        let key = self.key.expose_secret();
        let answer = self.client.get(self.actors.clone()).bearer_auth(key).send().await;
        // Its text has the address, which was given, and the key is in a header.
        let answer = answer.context("the node does not answer")?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => bail!("the key is refused: it is none, or is revoked"),
            StatusCode::FORBIDDEN => bail!("the key has not the scope ops:read"),
            status => bail!("the node answers {status}; is --url that of its operators' routes?"),
        }
        let overview = answer.json().await.context("the node's answer cannot be read")?;
        Ok(Look { overview, at: Instant::now() })
    }
}

async fn watch(node: &Node, term: &Term, once: bool) -> anyhow::Result<ExitCode> {
    // A key that is refused and a wrong address are told at once, and not looked at for ever.
    let mut look = node.look().await?;
    let mut before = None;
    let mut trouble = None;
    if !once {
        term.clear_screen()?;
    }
    loop {
        let size = term.size_checked();
        let (height, width) =
            size.map_or((usize::MAX, WIDTH), |(height, width)| (height.into(), width.into()));
        let mut lines = frame(&look, before.as_ref(), width);
        if let Some(trouble) = &trouble {
            let age = look.at.elapsed().as_secs();
            lines.insert(0, style(format!("{age} s old: {trouble}")).red().bold().to_string());
        }
        if once {
            lines.iter().for_each(|line| println!("{}", line.trim_end()));
            return Ok(ExitCode::SUCCESS);
        }
        lines.truncate(height.saturating_sub(1));
        // Over what stands there, and no flicker in between.
        term.move_cursor_to(0, 0)?;
        for line in &lines {
            term.clear_line()?;
            term.write_line(line)?;
        }
        term.clear_to_end_of_screen()?;
        tokio::select! {
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(EVERY) => {}
        }
        match node.look().await {
            Ok(newer) => {
                before = Some(std::mem::replace(&mut look, newer));
                trouble = None;
            }
            Err(error) => trouble = Some(format!("{error:#}")),
        }
    }
}

/// Everything, line by line; rates are those since the look before.
fn frame(look: &Look, before: Option<&Look>, width: usize) -> Vec<String> {
    let now = &look.overview;
    let rates = Rates { look, before };
    let mut lines = vec![heading(now), dependencies(now), traffic(now, &rates), waiting(now)];
    lines.extend(outbox(now));
    lines.push(String::new());
    lines.extend(actors(now));
    lines.iter().map(|line| console::truncate_str(line, width, "…").into_owned()).collect()
}

fn heading(now: &Value) -> String {
    let status = text(&now["readiness"]["status"]);
    let status = match status {
        "ready" => style(status).green(),
        "degraded" => style(status).yellow(),
        _ => style(status).red(),
    };
    let at = text(&now["at"]).get(11..19).unwrap_or_default();
    let (version, node) = (text(&now["version"]), text(&now["node"]));
    format!("customer-service {version}  {node}  {at} UTC  {}", status.bold())
}

fn dependencies(now: &Value) -> String {
    let all = now["readiness"]["dependencies"].as_object().into_iter().flatten();
    let told: Vec<String> = all
        .map(|(name, one)| match text(&one["state"]) {
            "down" => {
                let why = text(&one["reason"]);
                style(format!("{name} DOWN {why}")).red().to_string()
            }
            state => format!("{name} {state}"),
        })
        .collect();
    told.join(" · ")
}

/// What comes in and what it costs here.
fn traffic(now: &Value, rates: &Rates<'_>) -> String {
    let requests = rates.of("http_server_request_duration_seconds_count");
    let problems = rates.of("http_problems_total");
    let under_way = sum(now, "http_server_active_requests", "");
    let hashing = sum(now, "password_hash_queue_depth", "");
    let hashing_limit = sum(now, "password_hash_queue_limit", "");
    let used = sum(now, "db_client_connection_count", "used");
    let most = sum(now, "db_client_connection_max", "");
    format!(
        "requests {requests}/s, {under_way:.0} under way, {problems}/s refused or failed · passwords \
         waiting {hashing:.0} of {hashing_limit:.0} · connections in use {used:.0} of {most:.0}"
    )
}

/// What waits in the installation.
fn waiting(now: &Value) -> String {
    let known = &now["installation"];
    let answer = &known["answer"];
    if answer.is_null() {
        return match known["trouble"].as_str() {
            Some(trouble) => style(format!("what waits is not known: {trouble}")).red().to_string(),
            // The node asks the database every few seconds while somebody looks.
            None => "what waits is asked for".to_owned(),
        };
    }
    let parked = answer["dead_letters"]["counts"]["parked"].as_i64().unwrap_or(0);
    let dead = format!("dead letters {parked}{}", aged(&answer["dead_letters"]["oldest_seconds"]));
    let dead = if parked > 0 { style(dead).red().to_string() } else { dead };
    let one = |name: &str, of: &Value| {
        format!("{name} {}{}", of["waiting"].as_i64().unwrap_or(0), aged(&of["oldest_seconds"]))
    };
    let mut told =
        vec![dead, one("mails", &answer["mails"]), one("texts", &answer["text_messages"])];
    let erasures = answer["erasures"].as_array().into_iter().flatten();
    told.extend(erasures.map(|step| {
        format!("erasures {} {} {}", text(&step["step"]), text(&step["state"]), step["count"])
    }));
    let walks = &answer["segments"]["walks"];
    if walks["open"].as_i64().unwrap_or(0) > 0 {
        told.push(format!("segments filled {} of about {}", walks["looked_at"], walks["total"]));
    }
    told.push(format!("locked sign-ins {}", answer["locks"]["locked"]));
    if let Some(trouble) = known["trouble"].as_str() {
        let age = known["age_seconds"].as_f64().unwrap_or(0.0);
        told.insert(0, style(format!("{} old ({trouble})", span(age))).red().to_string());
    }
    told.join(" · ")
}

/// Who relays which group of shards, and how late it is; groups of one owner that are not late together.
fn outbox(now: &Value) -> Vec<String> {
    let groups = now["installation"]["answer"]["outbox"].as_array().into_iter().flatten();
    let mut by_owner: BTreeMap<&str, (Vec<String>, f64)> = BTreeMap::new();
    for group in groups {
        let owner = group["owner"].as_str().unwrap_or("nobody");
        let (numbers, lag) = by_owner.entry(owner).or_default();
        numbers.push(group["group"].to_string());
        *lag = lag.max(group["lag_seconds"].as_f64().unwrap_or(0.0));
    }
    let line = |(owner, (numbers, lag)): (&str, (Vec<String>, f64))| {
        let late = format!("{} behind", span(lag));
        let late = if lag >= 5.0 { style(late).yellow().to_string() } else { late };
        format!("outbox groups {} at {owner}: {late}", numbers.join(" "))
    };
    by_owner.into_iter().map(line).collect()
}

/// Who is in trouble first, then who has the most to do.
fn actors(now: &Value) -> Vec<String> {
    let mut all: Vec<&Value> = now["actors"].as_array().into_iter().flatten().collect();
    let queue = |one: &Value| one["queue_depth"].as_u64().unwrap_or(0);
    let pace = |one: &Value| one["handled_per_second"].as_f64().unwrap_or(0.0);
    all.sort_by(|a, b| {
        let by_trouble = trouble_of(b).is_some().cmp(&trouble_of(a).is_some());
        let by_work = queue(b).cmp(&queue(a)).then(pace(b).total_cmp(&pace(a)));
        by_trouble.then(by_work).then(text(&a["name"]).cmp(text(&b["name"])))
    });
    let head = format!(
        "{:<24}{:<11}{:>9}{:>7}{:>12}{:>9}{:>7}{:>9}{:>9}  {}",
        "ACTOR",
        "STATE",
        "RESTARTS",
        "PANICS",
        "QUEUE",
        "OLDEST",
        "BATCH",
        "PER S",
        "RUN",
        "LAST ERROR"
    );
    std::iter::once(style(head).bold().to_string()).chain(all.into_iter().map(actor)).collect()
}

fn actor(one: &Value) -> String {
    let depth = one["queue_depth"].as_u64().unwrap_or(0);
    let queue =
        one["queue_limit"].as_u64().map_or(String::new(), |limit| format!("{depth}/{limit}"));
    let seconds = |value: &Value| value.as_f64().map_or(String::new(), span);
    let state = if one["pause"].is_object() { "paused" } else { text(&one["state"]) };
    let error = one["last_error"].as_object().map_or(String::new(), |error| {
        let age = error["seconds_ago"].as_f64().unwrap_or(0.0);
        format!("{} ago: {}", span(age), text(&error["text"]))
    });
    let line = format!(
        "{:<24}{state:<11}{:>9}{:>7}{queue:>12}{:>9}{:>7}{:>9.1}{:>9}  {error}",
        text(&one["name"]),
        one["restarts"].as_u64().unwrap_or(0),
        one["panics"].as_u64().unwrap_or(0),
        seconds(&one["oldest_waiting_seconds"]),
        one["batch_size_last"].as_u64().unwrap_or(0),
        one["handled_per_second"].as_f64().unwrap_or(0.0),
        seconds(&one["run_last_seconds"]),
    );
    match trouble_of(one) {
        Some(Trouble::Now) => style(line).red().to_string(),
        Some(Trouble::Lately) => style(line).yellow().to_string(),
        None => line,
    }
}

enum Trouble {
    Now,
    Lately,
}

fn trouble_of(one: &Value) -> Option<Trouble> {
    let failed_lately =
        one["last_error"]["seconds_ago"].as_f64().is_some_and(|age| age < RECENT_SECONDS);
    if text(&one["state"]) != "running" {
        Some(Trouble::Now)
    } else if failed_lately || one["pause"].is_object() {
        Some(Trouble::Lately)
    } else {
        None
    }
}

/// What counters have risen by.
struct Rates<'a> {
    look: &'a Look,
    before: Option<&'a Look>,
}

impl Rates<'_> {
    /// Of all series of a metric, each second; a dash at the first look, and where the node began anew.
    fn of(&self, name: &str) -> String {
        let Some(before) = self.before else { return "–".to_owned() };
        let risen = sum(&self.look.overview, name, "") - sum(&before.overview, name, "");
        let seconds = (self.look.at - before.at).as_secs_f64();
        if risen < 0.0 || seconds <= 0.0 {
            "–".to_owned()
        } else {
            format!("{:.0}", risen / seconds)
        }
    }
}

/// Of the series of a metric that have a label of this value; of all for none.
fn sum(overview: &Value, name: &str, label: &str) -> f64 {
    let series = overview["figures"][name].as_array().into_iter().flatten();
    let fits = |one: &&Value| {
        let mut labels = one["labels"].as_object().into_iter().flatten();
        label.is_empty() || labels.any(|(_, value)| value == label)
    };
    // Not `sum`, which of nothing is minus 0.
    series.filter(fits).filter_map(|one| one["value"].as_f64()).fold(0.0, |sum, one| sum + one)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// An age in brackets; nothing of nothing.
fn aged(seconds: &Value) -> String {
    seconds.as_f64().map_or(String::new(), |seconds| format!(" (oldest {})", span(seconds)))
}

/// A span of time in two digits or so.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1_000.0),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn look(requests: f64) -> Look {
        let actor = |name: &str, state: &str, depth: u64| {
            json!({
                "name": name, "kind": "shard", "state": state, "pause": null, "restarts": 1, "panics": 0,
                "queue_depth": depth, "queue_limit": 256, "oldest_waiting_seconds": 0.25,
                "batch_size_last": 12, "handled_per_second": 8.5, "run_last_seconds": 0.004,
                "last_error": null,
            })
        };
        let overview = json!({
            "at": "2026-11-23T08:26:28Z", "version": "0.1.0", "node": "shop-1:4711",
            "readiness": { "status": "degraded", "dependencies": {
                "database": { "state": "up" }, "rabbitmq": { "state": "down", "reason": "refused" } } },
            "actors": [actor("customers-0", "running", 0), actor("customers-1", "running", 9),
                       actor("mailer", "restarting", 0)],
            "figures": { "http_server_request_duration_seconds_count": [
                { "labels": { "http_route": "/v1/me" }, "value": requests } ] },
            "installation": { "age_seconds": 12.0, "trouble": "PostgreSQL did not answer within a second",
                "answer": { "outbox": [
                    { "group": 0, "owner": "shop-1:4711", "lag_seconds": 0.0 },
                    { "group": 1, "owner": null, "lag_seconds": 600.0 } ],
                "dead_letters": { "counts": { "parked": 3 }, "oldest_seconds": 7_300.0 },
                "mails": { "waiting": 2, "oldest_seconds": 4.0 },
                "text_messages": { "waiting": 0, "oldest_seconds": null },
                "segments": { "walks": { "open": 1, "looked_at": 500, "total": 1_000 } },
                "erasures": [], "locks": { "locked": 1 } } },
        });
        Look { overview, at: Instant::now() }
    }

    fn plain(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect()
    }

    #[test]
    fn a_frame_tells_trouble_first_and_what_waits() {
        let mut before = look(100.0);
        let now = look(350.0);
        before.at = now.at.checked_sub(Duration::from_secs(2)).unwrap();
        let lines = plain(&frame(&now, Some(&before), 200));
        assert_eq!(lines[0], "customer-service 0.1.0  shop-1:4711  08:26:28 UTC  degraded");
        assert_eq!(lines[1], "database up · rabbitmq DOWN refused");
        assert!(lines[2].starts_with("requests 125/s,"), "{}", lines[2]);
        assert!(lines[3].starts_with("12 s old (PostgreSQL did not answer"), "{}", lines[3]);
        assert!(
            lines[3].contains("dead letters 3 (oldest 2 h) · mails 2 (oldest 4 s) · texts 0 ·")
        );
        assert!(lines[3].contains("segments filled 500 of about 1000"), "{}", lines[3]);
        assert_eq!(lines[4], "outbox groups 1 at nobody: 10 min behind");
        assert_eq!(lines[5], "outbox groups 0 at shop-1:4711: 0 ms behind");
        let order: Vec<_> = lines[8..].iter().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(order, ["mailer", "customers-1", "customers-0"]);
        assert!(lines[9].contains("9/256") && lines[9].contains("250 ms"), "{}", lines[9]);
    }

    #[test]
    fn a_narrow_terminal_cuts_lines_and_the_first_look_has_no_rates() {
        let lines = plain(&frame(&look(1.0), None, 40));
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
        assert!(plain(&frame(&look(1.0), None, 200))[2].starts_with("requests –/s,"));
    }

    #[test]
    fn an_answer_with_nothing_in_it_is_no_panic() {
        let look = Look { overview: json!({}), at: Instant::now() };
        let lines = plain(&frame(&look, None, 200));
        assert!(lines[2].ends_with("connections in use 0 of 0"), "{}", lines[2]);
        assert!(lines.contains(&"what waits is asked for".to_owned()), "{lines:?}");
    }
}
