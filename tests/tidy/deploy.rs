//! `deploy/` and `docs/operations.md` held against the code: what they set, ask, run and name is there.

mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use customer_service::config::Config;

use super::{nothing_found, sources};

const DOCUMENT: &str = "docs/operations.md";

/// What the process may take after its own deadline: `LAST_WORDS` of `src/app/mod.rs`.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// A value for each secret, by the name of its file.
const SECRETS: &[(&str, &str)] = &[
    ("database_url", "postgres://customer_service:x@db:5432/customers"),
    ("migration_url", "postgres://owner:x@db:5432/customers"),
    ("redis_url", "redis://:x@redis:6379"),
    ("amqp_url", "amqp://customer_service:x@rabbitmq:5672/%2f"),
    ("smtp_url", "smtp://shop:x@mail:587?tls=required"),
    ("root_key", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="),
    ("wrapping_keys", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> BTreeMap<String, String> {
    yaml::read(&text(path)).unwrap_or_else(|fault| panic!("{path}: {fault}"))
}

/// All files below `deploy/`, from the root; without what `deploy/secrets` makes.
fn files() -> Vec<String> {
    let mut folders: Vec<PathBuf> = vec![root().join("deploy")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("deploy").flatten() {
            let path = entry.path();
            if entry.file_name() == ".secrets" {
            } else if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root()).expect("inside").display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn is_known(variable: &str) -> bool {
    let environment = BTreeMap::from([(variable.to_owned(), "?".to_owned())]);
    let faults = Config::from_sources(None, &environment).err().unwrap_or_default();
    !faults.iter().any(|fault| fault.wrong == "is not a key of this service")
}

/// The pieces of `text` that begin with `start` and go on with what `goes_on` takes.
fn words<'t>(
    text: &'t str,
    start: &'t str,
    goes_on: fn(char) -> bool,
) -> impl Iterator<Item = &'t str> {
    text.match_indices(start).map(move |(at, _)| {
        let rest = &text[at..];
        &rest[..rest.find(|letter| !goes_on(letter)).unwrap_or(rest.len())]
    })
}

#[test]
fn every_variable_that_is_named_is_known() {
    let mut findings = String::new();
    let mut seen = BTreeSet::new();
    for file in files().into_iter().chain([DOCUMENT.to_owned()]) {
        let text = text(&file);
        let name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
        for variable in words(&text, "CUSTOMER_SERVICE__", name) {
            seen.insert(variable.to_owned());
            if !is_known(variable) {
                writeln!(findings, "{file}: the service knows no {variable}").unwrap();
            }
        }
    }
    assert!(seen.len() > 10, "only {seen:?} were found");
    assert!(!is_known("CUSTOMER_SERVICE__HTTP__BNID"), "a check that cannot fail proves nothing");
    nothing_found(&findings);
}

/// What is set, with each file of a secret replaced by a value, as the service reads it.
fn configured(file: Option<&str>, set: &[(String, String)]) -> Config {
    let environment = set.iter().filter(|(name, _)| name.starts_with("CUSTOMER_SERVICE__"));
    let environment = environment.map(|(name, value)| match name.strip_suffix("_FILE") {
        None => (name.clone(), value.clone()),
        Some(name) => {
            let secret = value.rsplit('/').next().expect("a path");
            let (_, value) = SECRETS.iter().find(|(known, _)| *known == secret).expect(secret);
            (name.to_owned(), (*value).to_owned())
        }
    });
    let text = file.map(text);
    Config::from_sources(text.as_deref(), &environment.collect())
        .unwrap_or_else(|faults| panic!("{file:?} with {set:?}: {faults:#?}"))
}

/// Variables of a mapping of a YAML file.
fn mapping(yaml: &BTreeMap<String, String>, place: &str) -> Vec<(String, String)> {
    let below = format!("{place}.");
    yaml.iter()
        .filter_map(|(path, value)| Some((path.strip_prefix(&below)?.to_owned(), value.clone())))
        .collect()
}

/// Variables of a container.
fn container(yaml: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let place = "spec.template.spec.containers[0].env";
    let names = (0..).map_while(|n| {
        let name = yaml.get(&format!("{place}[{n}].name"))?;
        Some((name.clone(), yaml[&format!("{place}[{n}].value")].clone()))
    });
    names.collect()
}

/// `ENV` of the image.
fn image() -> Vec<(String, String)> {
    let text = text("deploy/Dockerfile").replace("\\\n", " ");
    let env = text.lines().filter_map(|line| line.strip_prefix("ENV "));
    env.flat_map(|line| line.split_whitespace())
        .map(|pair| pair.split_once('=').expect("name=value"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// `Environment=` of a unit.
fn unit(path: &str) -> Vec<(String, String)> {
    let text = text(path);
    let set = text.lines().filter_map(|line| line.strip_prefix("Environment=")?.split_once('='));
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn seconds(text: &str) -> Duration {
    let number = text.trim_end_matches('s').parse();
    Duration::from_secs(number.unwrap_or_else(|_| panic!("{text:?} is no number of seconds")))
}

/// How long the service may take to end.
fn end(config: &Config) -> Duration {
    let http = &config.http;
    http.drain_delay_ms.duration() + http.shutdown_timeout_seconds.duration() + LAST_WORDS
}

#[test]
fn the_cluster_asks_what_is_served_and_waits_for_the_end() {
    let deployment = yaml("deploy/kubernetes/deployment.yaml");
    let config = configured(Some("deploy/kubernetes/config.toml"), &container(&deployment));
    let place = "spec.template.spec.containers[0]";
    let ops = config.http.ops_bind.expect("operators have an address of their own").port();
    for (number, name, port) in [(0, "http", config.http.bind.port()), (1, "ops", ops)] {
        assert_eq!(deployment[&format!("{place}.ports[{number}].name")], name);
        assert_eq!(deployment[&format!("{place}.ports[{number}].containerPort")], port.to_string());
    }
    let served = text("src/http/health.rs");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = &deployment[&format!("{place}.{probe}.httpGet.path")];
        assert!(served.contains(&format!("#[get(\"{path}\")]")), "{probe} asks {path}");
        assert_eq!(deployment[&format!("{place}.{probe}.httpGet.port")], "ops", "{probe}");
    }
    let grace = seconds(&deployment["spec.template.spec.terminationGracePeriodSeconds"]);
    assert!(grace >= end(&config), "{grace:?} is less than {:?}", end(&config));
    for (variable, path) in container(&deployment) {
        if let Some(name) = path.strip_prefix("/run/secrets/customer-service/") {
            let brought = deployment.iter().any(|(at, key)| at.contains(".items[") && key == name);
            assert!(brought, "{variable}: no secret brings {name}");
        }
    }
    configured(None, &container(&yaml("deploy/kubernetes/migration/job.yaml")));
}

#[test]
fn the_cluster_gets_every_file_and_nothing_it_can_do_without() {
    for folder in ["deploy/kubernetes/", "deploy/kubernetes/migration/"] {
        let listed = yaml(&format!("{folder}kustomization.yaml"));
        let listed: BTreeSet<_> = listed
            .iter()
            .filter(|(path, _)| path.starts_with("resources["))
            .map(|(_, name)| name.clone())
            .collect();
        let there: BTreeSet<_> = files()
            .iter()
            .filter_map(|path| path.strip_prefix(folder))
            .filter(|name| name.ends_with(".yaml") && !name.contains('/'))
            .filter(|name| *name != "kustomization.yaml")
            .map(str::to_owned)
            .collect();
        assert_eq!(listed, there, "{folder}kustomization.yaml");
    }
    for path in files().iter().filter(|path| path.starts_with("deploy/kubernetes/")) {
        let Some(_) = path.strip_suffix(".yaml") else { continue };
        let yaml = yaml(path);
        assert!(yaml.contains_key("apiVersion") && yaml.contains_key("kind"), "{path}");
        assert!(!yaml.contains_key("metadata.namespace"), "{path}: the namespace is the overlay's");
        if !yaml.contains_key("spec.template.spec.containers[0].name") {
            continue;
        }
        for (place, value) in [
            ("securityContext.runAsNonRoot", "true"),
            ("securityContext.seccompProfile.type", "RuntimeDefault"),
            ("automountServiceAccountToken", "false"),
            ("containers[0].securityContext.allowPrivilegeEscalation", "false"),
            ("containers[0].securityContext.readOnlyRootFilesystem", "true"),
            ("containers[0].securityContext.capabilities.drop[0]", "ALL"),
        ] {
            assert_eq!(yaml[&format!("spec.template.spec.{place}")], value, "{path}: {place}");
        }
    }
}

#[test]
fn compose_and_units_configure_the_service_and_wait_for_its_end() {
    let compose = yaml("deploy/compose.yaml");
    for service in ["serve", "migrate"] {
        let mut set = image();
        set.extend(mapping(&compose, &format!("services.{service}.environment")));
        let config = configured(None, &set);
        if service == "serve" {
            let ports = [config.http.bind.port(), config.http.ops_bind.expect("set").port()];
            for (number, port) in ports.into_iter().enumerate() {
                let mapped = &compose[&format!("services.serve.ports[{number}]")];
                assert!(mapped.ends_with(&format!(":{port}")), "{mapped} leads to no {port}");
                assert!(text("deploy/Dockerfile").contains(&format!("{port}")), "EXPOSE {port}");
            }
            let grace = seconds(&compose["services.serve.stop_grace_period"]);
            assert!(grace >= end(&config), "{grace:?} is less than {:?}", end(&config));
        }
    }
    for (path, value) in &compose {
        if let Some((_, secret)) = path.split_once(".secrets[").filter(|(at, _)| !at.is_empty()) {
            let named = secret.ends_with(']') || secret.ends_with("].source");
            let known = compose.contains_key(&format!("secrets.{value}.file"));
            assert!(!named || known, "{path}: there is no secret {value}");
        }
        if let Some(secret) = path.strip_prefix("secrets.") {
            let secret = secret.strip_suffix(".file").expect("secrets are files");
            let made = [format!("once {secret}"), format!("password {secret}")];
            let script = text("deploy/secrets");
            assert!(made.iter().any(|made| script.contains(made)), "nobody makes {secret}");
        }
    }
    let units = ["deploy/systemd/customer-service.service", MIGRATE_UNIT];
    for path in units {
        let file = (path != MIGRATE_UNIT).then_some("deploy/systemd/config.toml");
        let config = configured(file, &unit(path));
        let text = text(path);
        for (name, value) in unit(path) {
            if let Some(credential) = value.strip_prefix("%d/") {
                assert!(text.contains(&format!("LoadCredential={credential}:")), "{path}: {name}");
            }
        }
        if let Some(line) = text.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")) {
            assert!(seconds(line) >= end(&config), "{path}: TimeoutStopSec={line}");
        }
    }
}

const MIGRATE_UNIT: &str = "deploy/systemd/customer-service-migrate.service";

/// Commands that a text tells to run: the words after the program's name, and the options after them.
fn commands(text: &str) -> BTreeSet<(Vec<String>, Vec<String>)> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        for (at, name) in line.match_indices("customer-service ") {
            let rest = &line[at + name.len()..];
            let rest = &rest[..rest.find(['`', '#', '"']).unwrap_or(rest.len())];
            let word = |word: &&str| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
            };
            let told: Vec<_> =
                rest.split_whitespace().take_while(word).map(str::to_owned).collect();
            let options = rest.split_whitespace().filter(|word| word.starts_with("--"));
            let options =
                options.map(|word| word.trim_end_matches(['…', ']', ',', '.']).to_owned());
            if !told.is_empty() {
                found.insert((told, options.collect()));
            }
        }
    }
    found
}

#[test]
fn every_command_that_is_told_exists() {
    let mut told = BTreeSet::new();
    for file in files().iter().filter(|path| path.ends_with(".service")) {
        let text = text(file);
        let start = text.lines().filter(|line| line.starts_with("ExecStart=")).collect::<String>();
        told.extend(commands(&start));
    }
    let document = text(DOCUMENT);
    let mut fenced = false;
    for line in document.lines() {
        fenced ^= line.starts_with("```");
        // In a text only what is code.
        match fenced {
            true => told.extend(commands(line)),
            false => {
                line.split('`').skip(1).step_by(2).for_each(|code| told.extend(commands(code)))
            }
        }
    }
    for (place, file) in [
        ("services.serve.command[0]", "deploy/compose.yaml"),
        ("services.migrate.command[0]", "deploy/compose.yaml"),
        ("spec.template.spec.containers[0].args[0]", "deploy/kubernetes/deployment.yaml"),
        ("spec.template.spec.containers[0].args[0]", "deploy/kubernetes/migration/job.yaml"),
    ] {
        told.insert((vec![yaml(file)[place].clone()], Vec::new()));
    }
    assert!(told.len() > 15, "only {told:?} were found");
    let mut findings = String::new();
    for (command, options) in told {
        let help = Command::new(env!("CARGO_BIN_EXE_customer-service"))
            .args(&command)
            .arg("--help")
            .output()
            .expect("the program runs");
        let shown = String::from_utf8_lossy(&help.stdout);
        if !help.status.success() {
            writeln!(findings, "there is no command {command:?}").unwrap();
        }
        for option in options.iter().filter(|option| !shown.contains(option.as_str())) {
            writeln!(findings, "{command:?} has no option {option}").unwrap();
        }
    }
    nothing_found(&findings);
}

/// All sources as one text, with strings of several lines as they are at run time.
fn code() -> String {
    let mut all = String::new();
    for source in sources("src").iter().filter(|source| !source.is_test()) {
        let mut pieces = source.text.split("\\\n");
        all.push_str(pieces.next().unwrap_or_default());
        pieces.for_each(|piece| all.push_str(piece.trim_start()));
    }
    all
}

fn is_named(code: &str, word: &str) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_';
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(part) && !code[at + word.len()..].starts_with(part))
}

/// What is wrong with a piece of code in the document, in words.
fn wrong(code: &str, deploy: &str, span: &str) -> Option<&'static str> {
    if let Some(record) = span.strip_prefix('"').and_then(|span| span.strip_suffix('"')) {
        return (!code.contains(record)).then_some("the service says no such thing");
    }
    let method = ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "];
    let route = method.iter().find_map(|method| span.strip_prefix(method));
    let route = route.or_else(|| {
        ["/health", "/metrics", "/ops"].iter().find_map(|at| span.starts_with(at).then_some(span))
    });
    if let Some(route) = route {
        let path = route.split('?').next().unwrap_or(route);
        return (!code.contains(&format!("(\"{path}\")"))).then_some("there is no such route");
    }
    let name = span.split('{').next().unwrap_or(span);
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
    if !name.bytes().all(plain) || !name.contains(['_', '.']) {
        return None;
    }
    if let Some((section, _)) = name.split_once('.') {
        let is_section = text("config/default.toml").lines().any(|line| {
            line.strip_prefix('[')
                .is_some_and(|line| line.split(['.', ']']).next() == Some(section))
        });
        let variable = format!("CUSTOMER_SERVICE__{}", name.replace('.', "__").to_uppercase());
        return (is_section && !is_known(&variable)).then_some("there is no such key");
    }
    // PostgreSQL's own, and secrets by the names of their files.
    let elsewhere = name.starts_with("pg_") || name == "max_connections" || is_named(deploy, name);
    (!elsewhere && !is_named(code, name)).then_some("the code names no such thing")
}

#[test]
fn what_the_operators_page_names_is_in_the_code() {
    let (code, document) = (code(), text(DOCUMENT));
    let deploy: String = files().iter().map(|path| text(path)).collect();
    let mut findings = String::new();
    let (mut fenced, mut spans) = (false, 0);
    for (number, line) in document.lines().enumerate() {
        fenced ^= line.starts_with("```");
        for span in line.split('`').skip(1).step_by(2).filter(|_| !fenced) {
            spans += 1;
            if let Some(wrong) = wrong(&code, &deploy, span) {
                writeln!(findings, "{DOCUMENT}:{}: `{span}`: {wrong}", number + 1).unwrap();
            }
        }
    }
    assert!(spans > 100, "only {spans} pieces of code were found");
    for made_up in
        ["\"no record says this\"", "GET /v1/nowhere", "outbox_lagg_seconds", "http.bnid"]
    {
        assert!(wrong(&code, &deploy, made_up).is_some(), "{made_up} is not noticed");
    }
    nothing_found(&findings);
}

/// As GitHub makes an anchor of a heading.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

#[test]
fn links_of_the_operators_page_lead_somewhere() {
    let document = text(DOCUMENT);
    let mut findings = String::new();
    let links = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links {
        let (file, wanted) = link.split_once('#').unwrap_or((link, ""));
        let path = if file.is_empty() { DOCUMENT.to_owned() } else { format!("docs/{file}") };
        let there = root().join(&path).is_file() && {
            let text = text(&path);
            let mut headings = text.lines().filter(|line| line.starts_with('#'));
            wanted.is_empty() || headings.any(|heading| anchor(heading) == wanted)
        };
        if !there {
            writeln!(findings, "{DOCUMENT}: nothing at {link}").unwrap();
        }
    }
    nothing_found(&findings);
}
