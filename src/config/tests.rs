//! The whole of configuration through its public door, with environments made for each case.

use base64::engine::general_purpose::STANDARD;

use super::layers::{DEFAULTS, variable};
use super::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The least that must be set, and `more` above it; with neighbours that are no settings.
fn environment(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([
        ("DATABASE_URL".to_owned(), "postgres://shop:hunter2@db:5432/customers".to_owned()),
        (variable("secrets.root_key"), KEY.to_owned()),
        ("CUSTOMER_SERVICE_PORT".to_owned(), "tcp://10.0.0.1:80".to_owned()),
        ("HOME".to_owned(), "/root".to_owned()),
    ]);
    all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    all
}

fn config(file: &str, more: &[(&str, &str)]) -> Config {
    Config::from_sources(Some(file), &environment(more)).unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))
    })
}

fn faults(file: &str, more: &[(&str, &str)]) -> Vec<Fault> {
    Config::from_sources(Some(file), &environment(more)).expect_err("is refused")
}

/// One key of a file text, with the comment above it.
struct Documented {
    key: String,
    comment: String,
}

fn documented(text: &str) -> Vec<Documented> {
    let (mut section, mut comment, mut found) = (String::new(), String::new(), Vec::new());
    for line in text.lines() {
        if let Some(words) = line.strip_prefix('#') {
            comment.push_str(words);
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.to_owned();
            comment.clear();
        } else if let Some((name, _)) = line.split_once(" = ") {
            let comment = std::mem::take(&mut comment);
            found.push(Documented { key: format!("{section}.{name}"), comment });
        } else {
            assert!(line.is_empty(), "a line that is neither key nor comment: {line}");
            comment.clear();
        }
    }
    found
}

#[test]
fn default_toml_lists_exactly_the_keys_of_the_structs() {
    let mut keys = Vec::new();
    config("", &[]).visit("", &mut |leaf| keys.push(leaf.key));
    let listed: Vec<_> = documented(DEFAULTS).into_iter().map(|entry| entry.key).collect();
    assert_eq!(listed, keys, "same keys, same order");
    let mut sorted = keys.clone();
    sorted.sort();
    let layers = Layers::gather(None, &BTreeMap::new());
    assert_eq!(layers.default_keys().cloned().collect::<Vec<_>>(), sorted);
}

#[test]
fn every_key_has_a_comment_directly_above_it_and_numbers_tell_their_range() {
    let entries = documented(DEFAULTS);
    for Documented { key, comment } in &entries {
        assert!(comment.len() > 15, "{key} has no comment directly above it");
    }
    config("", &[]).ranges("", &mut |ranged| {
        let entry = entries.iter().find(|entry| entry.key == ranged.key).expect("is listed");
        let range = format!("Range {} to {}", ranged.range.start(), ranged.range.end());
        assert!(entry.comment.contains(&range), "{}: the comment lacks \"{range}\"", ranged.key);
    });
}

#[test]
fn every_number_has_a_range() {
    let config = config("", &[]);
    let mut ranged_keys = Vec::new();
    config.ranges("", &mut |ranged| ranged_keys.push(ranged.key));
    config.visit("", &mut |leaf| {
        let is_number = leaf.shown.bytes().all(|byte| byte.is_ascii_digit());
        assert_eq!(is_number, ranged_keys.contains(&leaf.key), "{}", leaf.key);
    });
}

#[test]
fn the_defaults_are_those_of_the_plan_and_lack_two_things_only() {
    let missing = Config::from_sources(None, &BTreeMap::new()).expect_err("is incomplete");
    let keys: Vec<_> = missing.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["database.url", "secrets.root_key"]);

    let config = config("", &[]);
    assert_eq!(config.http.bind, "127.0.0.1:8080".parse().unwrap());
    assert_eq!(config.http.ops_bind, None);
    assert_eq!(config.http.request_timeout_ms.duration(), std::time::Duration::from_secs(10));
    assert_eq!(config.sessions.refresh_days.delta(), chrono::TimeDelta::days(30));
    assert_eq!(config.sessions.on_revocation_unknown, OnRevocationUnknown::Closed);
    assert_eq!(config.redis.on_failure, OnRedisFailure::Closed);
    assert!(config.redis.url.is_none() && config.rabbit.url.is_none());
    assert_eq!(config.mail.transport, MailTransport::Files);
    assert_eq!(
        config.mail.links.verify_email.with_token("abc"),
        "https://shop.example/verify-email?token=abc"
    );
    assert!(config.http.workers_or_cores() >= 1);
}

#[test]
fn development_toml_is_valid_and_documented() {
    let text = include_str!("../../config/development.toml");
    assert_eq!(config(text, &[]).http.trusted_proxies.len(), 2);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let file = "[database]\npool_size = 20\nacquire_timeout_ms = 700\n";
    let config = config(file, &[("CUSTOMER_SERVICE__DATABASE__POOL_SIZE", "30")]);
    assert_eq!(config.database.pool_size, 30);
    assert_eq!(config.database.acquire_timeout_ms, Millis::of(700));
    assert_eq!(config.database.connect_timeout_ms, Millis::of(2_000));
}

#[test]
fn platform_names_are_taken_where_the_own_variable_is_unset() {
    let both = [
        ("REDIS_URL", "redis://platform:6379"),
        ("AMQP_URL", "amqp://platform"),
        ("CUSTOMER_SERVICE__RABBIT__URL", ""),
    ];
    let config = config("[redis]\nurl = \"redis://file\"", &both);
    assert_eq!(config.redis.url.unwrap().expose(), "redis://platform:6379");
    assert!(config.rabbit.url.is_none(), "set to nothing on purpose");
    assert_eq!(config.database.url.expose(), "postgres://shop:hunter2@db:5432/customers");
}

#[test]
fn lists_nested_keys_and_addresses_are_read_from_the_environment() {
    let config = config(
        "",
        &[
            ("CUSTOMER_SERVICE__HTTP__TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8,192.0.2.7"),
            ("CUSTOMER_SERVICE__HTTP__CORS_ORIGINS", "https://shop.example/,http://[::1]:3000"),
            ("CUSTOMER_SERVICE__MAIL__LINKS__SIGN_IN", "https://shop.example/vi/sign-in"),
            ("CUSTOMER_SERVICE__HTTP__OPS_BIND", "[::1]:9090"),
            ("CUSTOMER_SERVICE__DATABASE__URL", "postgres://postgres@%2Frun%2Fpg:54329/cust"),
        ],
    );
    assert_eq!(config.http.trusted_proxies[2].to_string(), "192.0.2.7/32");
    let origins: Vec<_> = config.http.cors_origins.iter().map(Origin::as_str).collect();
    assert_eq!(origins, ["https://shop.example", "http://[::1]:3000"]);
    assert_eq!(config.mail.links.sign_in.path(), "/vi/sign-in");
    assert_eq!(config.http.ops_bind, Some("[::1]:9090".parse().unwrap()));
    assert_eq!(config.database.url.to_string(), "postgres://postgres@%2Frun%2Fpg:54329/cust");
}

#[test]
fn secrets_may_come_from_files() {
    let folder = std::env::temp_dir().join(format!("customer-config-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("root_key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let path = path.to_str().unwrap();

    let mut only_file = environment(&[("CUSTOMER_SERVICE__SECRETS__ROOT_KEY_FILE", path)]);
    only_file.remove(&variable("secrets.root_key"));
    let config = Config::from_sources(None, &only_file).expect("is read");
    assert_eq!(config.secrets.root_key.expose()[..4], [0, 1, 2, 3]);

    let twice = faults("", &[("CUSTOMER_SERVICE__SECRETS__ROOT_KEY_FILE", path)]);
    assert!(twice[0].wrong.contains("set twice"), "{twice:?}");
    let absent = [("CUSTOMER_SERVICE__REDIS__URL_FILE", "/nonexistent/secret")];
    assert!(faults("", &absent)[0].wrong.contains("/nonexistent/secret"));
    let no_secret = [("CUSTOMER_SERVICE__HTTP__BIND_FILE", path)];
    assert!(faults("", &no_secret)[0].wrong.contains("no secret"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Setting this one key to this TOML value gives a fault of this key, with these words.
const REFUSED: &[(&str, &str, &str)] = &[
    // values that do not fit their type
    ("http.bind", "\"8080\"", "no address with a port"),
    ("http.bind", "8080", "is a number"),
    ("http.ops_bind", "\"localhost:1\"", "no address with a port"),
    ("http.public_url", "\"shop.example\"", "no web address"),
    ("http.public_url", "\"ftp://shop.example\"", "no web address"),
    ("http.trusted_proxies", "[\"10.0.0.0/33\"]", "no network"),
    ("http.trusted_proxies", "\"10.0.0.0/8\"", "is a text"),
    ("http.trusted_proxies", "[1]", "more than texts"),
    ("http.cors_origins", "[\"*\"]", "every origin"),
    ("http.cors_origins", "[\"https://shop.example/a\"]", "more than an origin"),
    ("http.cors_origins", "[\"https://u:p@shop.example\"]", "more than an origin"),
    ("http.cors_origins", "[\"shop\"]", "no origin"),
    ("database.pool_size", "\"16\"", "is a text"),
    ("database.pool_size", "-1", "is -1"),
    ("database.pool_size", "1.5", "is a fraction"),
    ("database.pool_size", "5000000000", "is 5000000000"),
    ("database.url", "\"localhost\"", "is no address"),
    ("redis.on_failure", "\"open\"", "is \"open\""),
    ("redis.on_failure", "true", "true or false"),
    ("sessions.on_revocation_unknown", "\"local\"", "is \"local\""),
    ("mail.transport", "\"sendmail\"", "is \"sendmail\""),
    ("mail.from", "\"shop\"", "no sender"),
    ("mail.links.verify_email", "\"https://shop.example/verify\"", "{token} 0 times"),
    ("mail.links.verify_email", "\"https://a.example/{token}/{token}\"", "{token} 2 times"),
    ("mail.links.verify_email", "\"https://a.example/{token}/{id}\"", "braces"),
    ("mail.links.verify_email", "\"/verify?token={token}\"", "no web address"),
    ("mail.links.sign_in", "\"/sign-in\"", "no web address"),
    ("customers.default_timezone", "\"Mars/Olympus\"", "no time zone"),
    ("telemetry.format", "\"xml\"", "is \"xml\""),
    // relations and rules
    ("http.ops_bind", "\"127.0.0.1:8080\"", "same address"),
    ("http.security_contact", "\"security@shop.example\"", "neither a mail nor a web address"),
    ("http.security_contact", "\"mailto:a@b.example\\nExpires: x\"", "neither a mail"),
    ("http.trusted_proxies", "[\"0.0.0.0/0\"]", "whole internet"),
    ("http.trusted_proxies", "[\"::/0\"]", "whole internet"),
    ("http.public_url", "\"https://shop.example/?a=b\"", "query"),
    ("http.shutdown_timeout_seconds", "9", "cut accepted requests"),
    ("database.pool_size", "8", "leave reads waiting"),
    ("database.lock_timeout_ms", "2000", "never be reached"),
    ("database.url", "\"mysql://db/a\"", "no PostgreSQL address"),
    ("database.url", "\"postgres://db:port/a\"", "refused by the driver"),
    ("database.url", "\"postgres://db/a?sslmode=maybe\"", "refused by the driver"),
    ("redis.url", "\"http://cache\"", "no address of such a server"),
    ("redis.url", "\"redis://\"", "no address of such a server"),
    ("redis.url", "\"redis://one,two\"", "only a cluster has"),
    ("redis.cluster", "true", "true or false"),
    ("database.url", "\"postgres://one,two/a?target_session_attrs=read-only\"", "no writes"),
    ("database.read_pooler", "\"session\"", "is \"session\""),
    ("rabbit.url", "\"amqp://one,:5672/%2f\"", "no address of such a server"),
    ("rabbit.url", "\"redis://mq\"", "no address of such a server"),
    ("rabbit.exchange", "\"\"", "no name"),
    ("rabbit.exchange", "\"amq.topic\"", "no name"),
    ("rabbit.notifications_exchange", "\"customer.events\"", "same as rabbit.exchange"),
    ("orders.intake.enabled", "true", "true or false"),
    ("orders.intake.queue", "\"amq.gen\"", "no name"),
    ("orders.intake.dead_letter_queue", "\"customer.order-facts\"", "again and again"),
    ("orders.intake.dead_letter_exchange", "\"order.events\"", "all become dead letters"),
    ("orders.intake.exchange", "\"customer.notifications\"", "of another kind"),
    ("shards.arbiters", "5", "nothing to do"),
    ("shards.call_timeout_ms", "10000", "cut off"),
    ("hashing.memory_kib", "7", "is 7"),
    ("hashing.lanes", "0", "is 0"),
    ("sign_in.lock_minutes", "1441", "is 1441"),
    ("sign_in.claim_timeout_seconds", "9", "given up"),
    ("sign_in.wait_ms", "8500", "cut off"),
    ("sessions.absolute_days", "29", "sliding time"),
    ("sessions.revocation_poll_ms", "501", "is 501"),
    ("tokens.issuer", "\"\"", "empty"),
    ("tokens.audience", "\"the shop\"", "space"),
    ("mail.transport", "\"message\"", "rabbit.url is not set"),
    ("mail.smtp_url", "\"http://mail\"", "no address of such a server"),
    ("mail.folder", "\"\"", "is empty"),
    ("customers.default_group_individual", "\" \"", "is empty"),
    ("customers.default_group_business", "\"\"", "is empty"),
    ("customers.default_locale", "\"english\"", "no language tag"),
    ("customers.default_locale", "\"en_GB\"", "no language tag"),
    ("customers.default_currency", "\"usd\"", "no currency code"),
    ("analytics.currency", "\"Dong\"", "no currency code"),
    ("analytics.statement_timeout_ms", "10000", "not shorter than http.request_timeout_ms"),
    ("database.read_url", "\"http://replica\"", "no PostgreSQL address"),
    ("database.migration_url", "\"http://owner\"", "no PostgreSQL address"),
    ("database.application_role", "\"Shop Role\"", "needs no quotes"),
    ("telemetry.log", "\"info,customer=loudly\"", "no filter"),
    ("telemetry.traces_url", "\"grpc://collector:4317\"", "no web address"),
    ("telemetry.traces_url", "\"http://collector:4318\"", "has no path"),
    ("audit.keep_days", "29", "stay for 30"),
    ("secrets.root_key", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"", "stands in a"),
    ("secrets.wrapping_keys", "\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"", "stands in a"),
];

#[test]
fn every_bad_value_is_a_fault_of_its_key_that_says_what_to_do() {
    for (key, value, words) in REFUSED {
        let (section, name) = key.rsplit_once('.').expect("section.name");
        let text = format!("[{section}]\n{name} = {value}\n");
        // the platform's variable would hide the file's
        let mut environment = environment(&[]);
        if key == &"database.url" {
            environment.remove("DATABASE_URL");
        }
        let found = match Config::from_sources(Some(&text), &environment) {
            Err(found) => found,
            Ok(_) => panic!("{key} = {value} is accepted"),
        };
        let of_key: Vec<_> = found.iter().filter(|fault| fault.key == *key).collect();
        assert_eq!(of_key.len(), 1, "{key} = {value}: {found:?}");
        assert!(of_key[0].wrong.contains(words), "{key} = {value}: {:?}", of_key[0]);
        assert!(of_key[0].fix.len() > 8, "{:?}", of_key[0]);
        let origin = ValueOrigin::File("the configuration file".to_owned());
        assert_eq!(of_key[0].origin, Some(origin), "{key} = {value}");
    }
}

#[test]
fn every_number_is_held_to_its_range() {
    let mut limits = Vec::new();
    config("", &[]).ranges("", &mut |ranged| limits.push((ranged.key, ranged.range)));
    for (key, range) in limits {
        let below = range.start().checked_sub(1);
        for number in below.into_iter().chain([range.end() + 1, u64::MAX]) {
            let found = faults("", &[(&variable(&key), &number.to_string())]);
            let said = found.iter().any(|fault| {
                fault.key == key
                    && (fault.fix.contains(&format!("to {}", range.end()))
                        || fault.fix.contains("smaller number"))
            });
            assert!(said, "{key} = {number}: {found:?}");
        }
    }
}

#[test]
fn rules_about_several_keys() {
    let cases = [
        ("[shards]\nbatch_max = 64\nqueue_max = 32", "shards.batch_max", "ever fill"),
        ("[mail]\ntransport = \"smtp\"", "mail.smtp_url", "not set"),
        ("[hashing]\nlanes = 4\nmemory_kib = 31", "hashing.memory_kib", "4 lanes"),
        (
            "[sign_in]\nlock_minutes = 61\nlock_max_hours = 1",
            "sign_in.lock_max_hours",
            "first lock",
        ),
        ("[shards]\nactors = 12", "database.pool_size", "12 shards"),
    ];
    for (text, key, words) in cases {
        let found = faults(text, &[]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].key, key);
        assert!(found[0].wrong.contains(words), "{:?}", found[0]);
    }
    config("[mail]\ntransport = \"smtp\"\nsmtp_url = \"smtps://u:p@mail.example\"", &[]);
    config("[mail]\ntransport = \"message\"", &[("AMQP_URL", "amqp://u:p@mq:5672/%2f")]);
    config("[http]\nbind = \"127.0.0.1:0\"\nops_bind = \"127.0.0.1:0\"", &[]);
    config("[shards]\nactors = 12\n[database]\npool_size = 17", &[]);
}

#[test]
fn unknown_names_are_refused_with_the_nearest_known_one() {
    let cases = [
        ("CUSTOMER_SERVICE__HTTP__BNID", "CUSTOMER_SERVICE__HTTP__BIND"),
        ("CUSTOMER_SERVICE__REDIS__POOL_SIZE", "CUSTOMER_SERVICE__DATABASE__POOL_SIZE"),
        ("CUSTOMER_SERVICE__SECRET__ROOTKEY", "CUSTOMER_SERVICE__SECRETS__ROOT_KEY"),
        (
            "CUSTOMER_SERVICE__MAIL__LINK__VERIFY_EMAIL",
            "CUSTOMER_SERVICE__MAIL__LINKS__VERIFY_EMAIL",
        ),
        ("CUSTOMER_SERVICE__ZEBRA", "default.toml"),
    ];
    for (name, advice) in cases {
        let found = faults("", &[(name, "1")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].fix.contains(advice), "{name}: {:?}", found[0]);
        assert_eq!(found[0].origin, Some(ValueOrigin::Environment(name.to_owned())));
    }
    let found = faults("http = 5\n[databse]\npool_size = 3\n[mail.links]\nsignin = \"\"", &[]);
    let keys: Vec<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["databse.pool_size", "http", "mail.links.signin"]);
    assert!(found[0].fix.contains("database.pool_size"));
    assert!(found[2].fix.contains("sign_in"));
}

#[test]
fn all_faults_are_told_at_once() {
    let file =
        "[http]\nbind = \"x\"\nnothing = 1\n[database]\npool_size = 3\nlock_timeout_ms = 9000";
    let missing = BTreeMap::from([(variable("redis.timeout_ms"), "soon".to_owned())]);
    let found = Config::from_sources(Some(file), &missing).expect_err("is refused");
    let keys: BTreeSet<_> = found.iter().map(|fault| fault.key.as_str()).collect();
    let expected = [
        "database.lock_timeout_ms",
        "database.pool_size",
        "database.url",
        "http.bind",
        "http.nothing",
        "redis.timeout_ms",
        "secrets.root_key",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
}

#[test]
fn a_file_that_is_no_toml_is_named_without_quoting_it() {
    for text in ["[database]\nurl = \"postgres://a:hunter2@db/x\nb = 1", "[a]\nb=1\nb=2", "<xml>"] {
        let found = faults(text, &[]);
        assert_eq!((found.len(), found[0].key.as_str()), (1, "(file)"), "{found:?}");
        assert!(!found[0].to_string().contains("hunter2"), "{}", found[0]);
        assert!(found[0].wrong.contains("line"), "{}", found[0]);
    }
}

#[test]
fn an_unreadable_file_is_a_fault() {
    let path = Path::new("/nonexistent/customer.toml");
    let found = Config::load(Some(path), &environment(&[])).expect_err("is refused");
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().contains("/nonexistent/customer.toml"), "{}", found[0]);
}

#[test]
fn no_secret_is_ever_shown() {
    let secrets = [
        ("CUSTOMER_SERVICE__REDIS__URL", "rediss://u:hunter2@cache:6379"),
        ("CUSTOMER_SERVICE__RABBIT__URL", "amqps://u:hunter2@mq/shop"),
        ("CUSTOMER_SERVICE__MAIL__SMTP_URL", "smtp://u:hunter2@mail:587"),
        ("CUSTOMER_SERVICE__DATABASE__URL", "postgres://u@db/x?password=hunter2"),
    ];
    let shown = format!("{:?}", config("", &secrets));
    let overview = overview(None, &environment(&secrets)).expect("is valid");
    for text in [shown, overview] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!text.contains("AAECAw") && !text.contains("[0, 1, 2"), "{text}");
        assert!(text.contains("rediss://u:***@cache:6379"), "{text}");
    }
    let bad = [
        ("CUSTOMER_SERVICE__REDIS__URL", "hunter2"),
        ("CUSTOMER_SERVICE__RABBIT__URL", "http://u:hunter2@mq"),
        ("CUSTOMER_SERVICE__DATABASE__URL", "postgres://u:hunter2@db:port/x?hunter2=hunter2"),
        ("CUSTOMER_SERVICE__SECRETS__ROOT_KEY", "hunter2"),
    ];
    let found = faults("", &bad);
    assert_eq!(found.len(), 4, "{found:?}");
    for fault in found {
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}

#[test]
fn the_root_key_must_be_32_bytes_that_are_not_all_zero() {
    let zero = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    for (text, words) in [
        ("AAECAw==", "4 bytes long"),
        ("not base64!", "base64"),
        ("", "not set"),
        (zero, "not set"),
    ] {
        let found = faults("", &[("CUSTOMER_SERVICE__SECRETS__ROOT_KEY", text)]);
        assert_eq!((found.len(), found[0].key.as_str()), (1, "secrets.root_key"), "{found:?}");
        assert!(found[0].wrong.contains(words), "{}", found[0]);
    }
}

#[test]
fn wrapping_keys_are_several_keys_of_32_bytes_each_once() {
    let (one, two) = (
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=",
    );
    let variable = "CUSTOMER_SERVICE__SECRETS__WRAPPING_KEYS";
    for text in [format!("{one},{two}"), format!(" {one}\n{two}\n"), format!("{one}, {two}")] {
        let config = config("", &[(variable, text.as_str())]);
        let keys = config.secrets.wrapping_keys.expose();
        assert_eq!((keys.len(), keys[0][1], keys[1][1]), (2, 1, 254), "{text}");
    }
    assert!(config("", &[]).secrets.wrapping_keys.expose().is_empty());
    let many: Vec<String> =
        (1..=9).map(|byte: u8| base64::Engine::encode(&STANDARD, [byte; 32])).collect();
    for (text, words) in [
        ("AAECAw==".to_owned(), "4 bytes instead"),
        (format!("{one},hunter2"), "key 2 that is not written in base64"),
        (format!("{one},{one}"), "there already"),
        ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_owned(), "is empty"),
        (many.join(","), "more than 8"),
    ] {
        let found = faults("", &[(variable, text.as_str())]);
        assert_eq!((found.len(), found[0].key.as_str()), (1, "secrets.wrapping_keys"), "{found:?}");
        assert!(found[0].wrong.contains(words), "{}", found[0]);
        assert!(!found[0].to_string().contains("hunter2"), "{}", found[0]);
    }
}

#[test]
fn the_overview_tells_origins_and_notes() {
    let text = overview(None, &environment(&[("CUSTOMER_SERVICE__SHARDS__ACTORS", "2")]))
        .expect("is valid");
    let line = |start: &str| {
        text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default()
    };
    assert!(line("actors = 2").ends_with("# CUSTOMER_SERVICE__SHARDS__ACTORS"), "{text}");
    assert!(line("url = postgres://shop:***@db").ends_with("# DATABASE_URL"), "{text}");
    assert_eq!(line("arbiters = 1").trim(), "arbiters = 1");
    assert!(line("redis.url:").contains("run one node"), "{text}");
}

#[test]
fn addresses_may_list_several_hosts_and_show_them_without_the_password() {
    let config = config(
        "[redis]\ncluster = \"on\"\nurl = \"redis://:hunter2@one:7000,two:7001/0\"\n\
         [rabbit]\nurl = \"amqp://shop:hunter2@mq1,mq2:5673/%2f?heartbeat=hunter2\"",
        &[("CUSTOMER_SERVICE__DATABASE__URL", "postgres://a:hunter2@a:5432,b:5433/customers")],
    );
    assert_eq!(config.redis.url.unwrap().to_string(), "redis://:***@one:7000,two:7001/0");
    assert_eq!(config.rabbit.url.unwrap().to_string(), "amqp://shop:***@mq1,mq2:5673/%2f?***");
    assert_eq!(config.database.url.to_string(), "postgres://a:***@a:5432,b:5433/customers");
}

#[test]
fn language_tags() {
    for tag in ["en", "vi", "en-GB", "zh-Hant-TW", "es-419", "fil"] {
        config(&format!("[customers]\ndefault_locale = \"{tag}\""), &[]);
    }
    for tag in ["", "e", "EN", "en-", "en-gb", "en-GB-x", "zh-Han1", "english-GB"] {
        faults(&format!("[customers]\ndefault_locale = \"{tag}\""), &[]);
    }
}

#[test]
fn text_messages_need_what_their_transport_needs() {
    let http = "[sms]\ntransport = \"http\"\n";
    let keys = |file: &str, more: &[(&str, &str)]| -> Vec<String> {
        faults(file, more).into_iter().map(|fault| fault.key).collect()
    };
    assert_eq!(keys(http, &[]), ["sms.url", "sms.secret"]);
    let secret = ("CUSTOMER_SERVICE__SMS__SECRET", "hunter2");
    let file = format!("{http}url = \"https://gateway.example/messages\"\n");
    let set = config(&file, &[secret]);
    assert_eq!(set.sms.secret.as_ref().unwrap().expose(), "hunter2");
    let mut shown = format!("{set:?}");
    set.visit("", &mut |leaf| shown.push_str(&leaf.shown));
    assert!(!shown.contains("hunter2"), "{shown}");
    for (line, key) in [
        ("success_statuses = []", "sms.success_statuses"),
        ("success_statuses = [\"99\"]", "sms.success_statuses"),
        ("id_header = \"a b\"", "sms.id_header"),
        ("body = \"to={to}\"", "sms.body"),
        ("countries = [\"XX\"]", "sms.countries"),
        ("domain = \"https://shop.example\"", "sms.domain"),
        ("domain = \"shop.example/path\"", "sms.domain"),
    ] {
        assert_eq!(keys(&format!("{file}{line}\n"), &[secret]), [key], "{line}");
    }
}

#[test]
fn passkeys_are_off_by_default_and_their_origins_belong_to_the_domain() {
    let off = config("", &[]);
    assert_eq!((off.passkeys.rp_id, off.passkeys.limit), (None, 20));
    let hash = "android:apk-key-hash:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let on = |rp_id: &str, origins: &str| {
        faults(&format!("[passkeys]\nrp_id = \"{rp_id}\"\norigins = [{origins}]"), &[])
            .iter()
            .map(Fault::to_string)
            .collect::<String>()
    };
    let file = format!(
        "[passkeys]\nrp_id = \"shop.example\"\norigins = [\"https://www.shop.example\", \
         \"https://shop.example:8443\", \"{hash}\"]"
    );
    assert_eq!(config(&file, &[]).passkeys.origins.len(), 3);
    for (rp_id, origins, fault) in [
        ("https://shop.example", "\"https://shop.example\"", "is no domain"),
        ("Shop.example", "\"https://shop.example\"", "is no domain"),
        ("127.0.0.1", "\"https://127.0.0.1\"", "is no domain"),
        ("shop.example", "", "no web origin"),
        ("shop.example", &format!("\"{hash}\""), "no web origin"),
        ("shop.example", "\"https://badshop.example\"", "neither passkeys.rp_id nor below"),
        ("shop.example", "\"https://example\"", "neither passkeys.rp_id nor below"),
        ("shop.example", "\"http://shop.example\"", "is not https"),
        ("shop.example", "\"https://shop.example/login\"", "more than an origin"),
        ("shop.example", "\"android:apk-key-hash:AAAA\"", "names no app"),
    ] {
        let told = on(rp_id, origins);
        assert!(told.contains(fault), "{rp_id} {origins}: {told}");
    }
}

#[test]
fn the_order_service_is_shown_its_token_and_nobody_else() {
    let off = config("", &[]);
    assert!(off.orders.service.url.is_none() && off.orders.service.token.is_none());
    let token = ("CUSTOMER_SERVICE__ORDERS__SERVICE__TOKEN", "hunter2");
    let file = |url: &str| format!("[orders.service]\nurl = \"{url}\"\n");
    let set = config(&file("https://orders.example/v2"), &[token]);
    assert_eq!(set.orders.service.token.as_ref().unwrap().expose(), "hunter2");
    let mut shown = format!("{set:?}");
    set.visit("", &mut |leaf| shown.push_str(&leaf.shown));
    assert!(!shown.contains("hunter2"), "{shown}");
    let keys = |file: &str, more: &[(&str, &str)]| -> Vec<String> {
        faults(file, more).into_iter().map(|fault| fault.key).collect()
    };
    assert_eq!(keys("", &[token]), ["orders.service.token"]);
    for url in ["https://a:b@orders.example", "https://orders.example?x=1", "orders.example"] {
        assert_eq!(keys(&file(url), &[]), ["orders.service.url"], "{url}");
    }
    assert_eq!(
        keys("[orders.reconciliation]\npage = 0\nevery_hours = 9000\n", &[]),
        ["orders.reconciliation.every_hours", "orders.reconciliation.page"]
    );
}
