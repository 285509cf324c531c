//! The surroundings of a service: a database, an exchange, a mail folder, keys. Any number of nodes
//! may serve one shop, one after the other or at once.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::{Engine, engine::general_purpose::STANDARD};
use customer_service::clock::{Clock, SystemClock};
use serde_json::Value;

use super::consumer::Consumer;
use super::db::TestDatabase;
use super::mailbox::{self, Mail};
use super::node::Node;
use super::orders::OrderService;
use super::texts::{self, Text};
use super::unique;

/// Every scope that a staff key may carry.
pub const ALL_SCOPES: &str = "customers:read,customers:write,customers:status,customers:unseal,\
    groups:write,segments:read,segments:write,privacy:write,audit:read,analytics:read,ops:read,ops:write,keys:write";

/// Small pools and no waiting where tests run beside each other on few cores; generous time limits,
/// so that a slow machine is not taken for a fault.
const SETTINGS: &[(&str, &str)] = &[
    ("HTTP__WORKERS", "2"),
    ("HTTP__TRUSTED_PROXIES", "127.0.0.0/8"),
    ("DATABASE__POOL_SIZE", "12"),
    ("DATABASE__ACQUIRE_TIMEOUT_MS", "6000"),
    ("DATABASE__CONNECT_TIMEOUT_MS", "5000"),
    ("DATABASE__STATEMENT_TIMEOUT_MS", "8000"),
    ("REDIS__TIMEOUT_MS", "3000"),
    ("SHARDS__ACTORS", "2"),
    ("SHARDS__CALL_TIMEOUT_MS", "9000"),
    // Within a second or refused: more chances where a busy machine delays one look.
    ("SESSIONS__REVOCATION_POLL_MS", "100"),
    ("OUTBOX__POLL_MS", "100"),
    ("HASHING__MEMORY_KIB", "256"),
    ("HASHING__PASSES", "1"),
    ("HASHING__QUEUE_MAX", "2000"),
    ("HASHING__DEADLINE_MS", "5000"),
    // Tests beside each other fill the machine; whose tests are of overload says when it is one.
    ("OVERLOAD__DELAY_MS", "10000"),
    ("LIMITS__SIGN_IN_PER_MINUTE", "1000000"),
    ("LIMITS__MAIL_REQUESTS_PER_HOUR", "1000000"),
    ("LIMITS__REFRESH_PER_MINUTE", "1000000"),
    ("LIMITS__SHARED_WISHLISTS_PER_MINUTE", "1000000"),
    // Tests fail sign-ins by the thousand.
    ("STUFFING__MIN_FAILURES", "1000000"),
    ("LIMITS__SMS_PER_NUMBER_PER_HOUR", "1000000"),
    ("LIMITS__SMS_PER_CUSTOMER_PER_HOUR", "1000000"),
    ("LIMITS__SMS_PER_HOUR", "1000000"),
    ("PRIVACY_EXPORTS__PER_DAY", "100"),
    // All shops share a broker; whose tests are of orders has an `OrderService` of its own.
    ("ORDERS__INTAKE__ENABLED", "off"),
    // Whose tests are of reconciliations says when.
    ("ORDERS__RECONCILIATION__EVERY_HOURS", "0"),
    // Whose tests are of erasures says who is told to forget.
    ("PRIVACY__COMMANDS", ""),
    ("PRIVACY__PERIOD_SECONDS", "1"),
    ("TELEMETRY__LOG", "info,customer_service=debug"),
];

/// What nodes serve; see the module.
pub struct Shop {
    pub database: TestDatabase,
    /// Where the messages go.
    pub exchange: String,
    pub amqp_url: String,
    /// From which the nodes derive every key.
    pub root_key: [u8; 32],
    /// The service, as these tests were built with it unless a test takes another.
    pub program: PathBuf,
    folder: PathBuf,
    settings: Vec<(String, String)>,
    /// Variables of the environment that it does not get: of settings that an earlier program does not know.
    pub left_out: Vec<String>,
    /// A key with every scope.
    pub staff_key: String,
}

impl Shop {
    /// A shop of the test's own on the shared servers.
    pub async fn new() -> Self {
        Self::with(TestDatabase::new().await, &[]).await
    }

    /// As [`Shop::new`], with settings (`SECTION__KEY`) that differ.
    pub async fn configured(settings: &[(&str, &str)]) -> Self {
        Self::with(TestDatabase::new().await, settings).await
    }

    /// A shop that hears of orders from this service.
    pub async fn hearing(orders: &OrderService, settings: &[(&str, &str)]) -> Self {
        Self::hearing_on(TestDatabase::new().await, orders, settings).await
    }

    /// As [`Shop::hearing`], on this database.
    pub async fn hearing_on(
        database: TestDatabase,
        orders: &OrderService,
        settings: &[(&str, &str)],
    ) -> Self {
        let own = orders.settings();
        let own = own.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let all: Vec<_> = own.chain(settings.iter().copied()).collect();
        Self::with(database, &all).await
    }

    /// A shop on this database.
    pub async fn with(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let mut shop = Self::before_any_key(database, settings);
        shop.staff_key = shop.key(ALL_SCOPES).1;
        shop
    }

    /// A shop on this database, which may be empty: nobody of staff has a key yet.
    pub fn before_any_key(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let exchange = unique("it.events");
        let folder = std::env::temp_dir().join(unique("customer-service-it"));
        std::fs::create_dir_all(folder.join("mail")).unwrap();
        let mut root_key = [0; 32];
        SystemClock.random(&mut root_key);
        // The tests' servers are asked for only where no other ones are given.
        let unless_given = |key: &str, variable| {
            let given = settings.iter().any(|(known, _)| *known == key);
            if given { String::new() } else { server(variable) }
        };
        let own = [
            ("DATABASE__URL", database.service_url.clone()),
            ("REDIS__URL", unless_given("REDIS__URL", "TEST_REDIS_URL")),
            ("RABBIT__URL", unless_given("RABBIT__URL", "TEST_AMQP_URL")),
            ("RABBIT__EXCHANGE", exchange.clone()),
            ("RABBIT__NOTIFICATIONS_EXCHANGE", format!("{exchange}.notifications")),
            ("PRIVACY__EXCHANGE", super::consumer::commands_of(&exchange)),
            ("PRIVACY__ANSWER_QUEUE", format!("{exchange}.answers")),
            ("MAIL__FOLDER", folder.join("mail").display().to_string()),
            ("SMS__FOLDER", folder.join("sms").display().to_string()),
            ("SECRETS__ROOT_KEY", STANDARD.encode(root_key)),
        ];
        let defaults = SETTINGS.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let given = settings.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let mut merged: Vec<(String, String)> = Vec::new();
        for (key, value) in defaults.chain(own).chain(given) {
            merged.retain(|(known, _)| known != key);
            merged.push((key.to_owned(), value));
        }
        let amqp = merged.iter().find(|(key, _)| key == "RABBIT__URL");
        let amqp_url = amqp.map(|(_, value)| value.clone()).unwrap_or_default();
        Self {
            database,
            exchange,
            amqp_url,
            root_key,
            program: env!("CARGO_BIN_EXE_customer-service").into(),
            folder,
            settings: merged,
            left_out: Vec::new(),
            staff_key: String::new(),
        }
    }

    /// One more node of this shop, ready to serve.
    pub async fn node(&self) -> Node {
        self.node_with(&[]).await
    }

    /// A node with settings (`SECTION__KEY`), or plain variables in lower case, that differ.
    pub async fn node_with(&self, settings: &[(&str, &str)]) -> Node {
        Node::start(self, settings).await
    }

    /// A subscriber to all messages of this shop, from now on.
    pub async fn consumer(&self) -> Consumer {
        Consumer::bind(&self.amqp_url, &self.exchange).await
    }

    /// Makes a staff key by the command line; answers with its id and the key.
    pub fn key(&self, scopes: &str) -> (String, String) {
        let output = self.run(&["key", "create", "--name", "test", "--scopes", scopes, "--json"]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_str(&told).unwrap();
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        (text("id"), text("key"))
    }

    /// Runs a subcommand to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(&[]).args(arguments).output().unwrap()
    }

    /// The binary with this shop's environment and nothing else of the test's.
    pub fn command(&self, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().current_dir(&self.folder);
        for (key, value) in &self.settings {
            command.env(format!("CUSTOMER_SERVICE__{key}"), value);
        }
        for (key, value) in settings {
            if key.contains("__") {
                command.env(format!("CUSTOMER_SERVICE__{key}"), value);
            } else {
                command.env(key, value);
            }
        }
        for variable in &self.left_out {
            command.env_remove(variable);
        }
        command
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The mails to an address so far, oldest first.
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        mailbox::mails_to(&self.folder.join("mail"), address)
    }

    /// Waits for the `number`-th mail to an address, counted from 1.
    pub async fn mail_to(&self, address: &str, number: usize) -> Mail {
        mailbox::mail_to(&self.folder.join("mail"), address, number).await
    }

    /// The text messages to a number so far, oldest first.
    pub fn texts_to(&self, number: &str) -> Vec<Text> {
        texts::texts_to(&self.folder.join("sms"), number)
    }

    /// Waits for the `count`-th text message to a number, counted from 1.
    pub async fn text_to(&self, number: &str, count: usize) -> Text {
        texts::text_to(&self.folder.join("sms"), number, count).await
    }

    /// The messages of a customer in the outbox, in order, as `kind`.
    pub async fn messages(&self, customer: &str) -> Vec<String> {
        let sql = format!(
            "SELECT kind FROM outbox_events WHERE customer_id = '{customer}' ORDER BY customer_sequence"
        );
        self.database.column(&sql).await
    }

    /// The audit entries of a customer, in order, as `action`: what was done. That a test looked at it
    /// by a key of staff is an entry too, and no deed of anybody's.
    pub async fn entries(&self, customer: &str) -> Vec<String> {
        let sql = format!(
            "SELECT action FROM audit_entries WHERE customer_id = '{customer}' \
             AND action <> 'personal_data.read' ORDER BY id"
        );
        self.database.column(&sql).await
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

/// The address of one of the tests' servers.
pub(super) fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("set {variable} to a server for tests, as `make test` does"))
}
