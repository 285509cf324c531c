//! A database for each test, copied from a template that is migrated once: tests commit for real
//! and never meet each other.

use std::path::Path;
use std::time::Duration;

use customer_service::clock::{Clock, SystemClock};
use customer_service::db::roles::ApplicationRole;
use customer_service::db::{self, Database, DatabaseSettings, Purpose};
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use url::Url;
use uuid::Uuid;

/// Key of the advisory lock under which the template is made.
const LOCK: i64 = 0x6373_7465_6d70_6c61;

/// One row as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// The role that services under test work as: it owns nothing.
pub const SERVICE_ROLE: &str = "customer_service_it";
const SERVICE_PASSWORD: &str = "it";

/// A private database; dropped at the end.
pub struct TestDatabase {
    /// As the owner: for tests that arrange and look, and for migrations.
    pub url: String,
    /// As the service is to work, with no right that it does not need.
    pub service_url: String,
    server: String,
    name: String,
}

impl TestDatabase {
    /// A migrated one on the tests' server.
    pub async fn new() -> Self {
        Self::on(&server_url()).await
    }

    /// A migrated one on the server of this address: copies the template, after making it if this
    /// is the first test with these migrations.
    pub async fn on(server: &str) -> Self {
        let server = server.to_owned();
        // The migrations need a multi-thread runtime, whichever one the test has.
        apart(move || async move {
            let template = template(&server).await;
            Self::create(server, &template).await
        })
        .await
    }

    /// One without any table.
    pub async fn empty() -> Self {
        Self::empty_on(&server_url()).await
    }

    /// One without any table on the server of this address.
    pub async fn empty_on(server: &str) -> Self {
        Self::create(server.to_owned(), "template0").await
    }

    async fn create(server: String, template: &str) -> Self {
        let name = format!("cs_test_{}_{}", std::process::id(), SystemClock.new_id().simple());
        let create = format!("CREATE DATABASE {name} TEMPLATE {template}");
        let admin = client(&database_url(&server, "postgres")).await;
        admin.batch_execute(&create).await.expect("a copy of the template can be made");
        let url = database_url(&server, &name);
        Self { service_url: service_url(&url), url, server, name }
    }

    /// How the service would be configured for it.
    pub fn settings(&self) -> DatabaseSettings {
        settings(&self.service_url)
    }

    /// How its owner would be.
    pub fn owner_settings(&self) -> DatabaseSettings {
        settings(&self.url)
    }

    /// The service's own handle, on the test's runtime.
    pub fn database(&self) -> Database {
        Database::new(self.settings(), tokio::runtime::Handle::current())
    }

    /// A plain connection, to arrange and to look.
    pub async fn client(&self) -> Client {
        client(&self.url).await
    }

    /// The rows of a query.
    pub async fn rows(&self, sql: &str) -> Vec<Row> {
        let answer = self.client().await.simple_query(sql).await;
        let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let rows = answer.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect())
            }
            _ => None,
        });
        rows.collect()
    }

    /// The first column of a query, without NULLs.
    pub async fn column(&self, sql: &str) -> Vec<String> {
        self.rows(sql).await.into_iter().filter_map(|mut row| row.swap_remove(0)).collect()
    }

    /// The one value of a query; NULL and no row are empty text.
    pub async fn one(&self, sql: &str) -> String {
        self.column(sql).await.into_iter().next().unwrap_or_default()
    }

    /// The one number of a query.
    pub async fn count(&self, sql: &str) -> i64 {
        let text = self.one(sql).await;
        text.parse().unwrap_or_else(|_| panic!("{sql} answered {text:?}"))
    }

    /// Runs statements that answer nothing.
    pub async fn execute(&self, sql: &str) {
        let done = self.client().await.batch_execute(sql).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let drop_it = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let admin = database_url(&self.server, "postgres");
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(async {
                let connecting = tokio_postgres::connect(&admin, NoTls);
                let connected = tokio::time::timeout(Duration::from_secs(5), connecting).await;
                let Ok(Ok((client, connection))) = connected else {
                    return; // the test's own server has ended, and the database with it
                };
                tokio::spawn(connection);
                if let Err(error) = client.batch_execute(&drop_it).await {
                    eprintln!("a test database is left behind: {error}");
                }
            });
        });
        drop(thread.join());
    }
}

fn settings(url: &str) -> DatabaseSettings {
    DatabaseSettings {
        url: url.to_owned(),
        purpose: Purpose::Writes,
        pool_size: 8,
        acquire_timeout: Duration::from_secs(5),
        connect_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        lock_timeout: Duration::from_secs(3),
        max_connection_age: Duration::from_secs(3_600),
    }
}

/// The tests' server.
fn server_url() -> String {
    std::env::var("TEST_DATABASE_URL").expect(
        "set TEST_DATABASE_URL to a PostgreSQL for tests (a superuser's), as `make test` does",
    )
}

/// Another database of the same server.
fn database_url(server: &str, database: &str) -> String {
    let mut url = Url::parse(server).expect("a server's address");
    url.set_path(&format!("/{database}"));
    url.into()
}

/// The same, signed in as the service's role.
fn service_url(url: &str) -> String {
    let mut url = Url::parse(url).expect("a database's address");
    url.set_username(SERVICE_ROLE).expect("it has a host");
    url.set_password(Some(SERVICE_PASSWORD)).expect("it has a host");
    url.into()
}

pub async fn client(url: &str) -> Client {
    let (client, connection) =
        tokio_postgres::connect(url, NoTls).await.expect("the test PostgreSQL can be reached");
    tokio::spawn(connection);
    client
}

/// The name of the migrated template; it is made under another name, so that a half-made one is
/// never copied.
async fn template(server: &str) -> String {
    let admin = client(&database_url(server, "postgres")).await;
    let name = format!("cs_template_{}", migrations_hash());
    let lock = format!("SELECT pg_advisory_lock({LOCK})");
    admin.batch_execute(&lock).await.expect("the template's lock");
    let known = "SELECT 1 FROM pg_database WHERE datname = $1";
    let exists = admin.query_opt(known, &[&name]).await.expect("the catalogue can be read");
    if exists.is_none() {
        let making = format!("{name}_making");
        for statement in [
            format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)"),
            format!("CREATE DATABASE {making}"),
        ] {
            admin.batch_execute(&statement).await.expect("a database can be made");
        }
        let settings = settings(&database_url(server, &making));
        db::migrations::run(&settings).await.expect("the migrations apply");
        let role = ApplicationRole {
            name: SERVICE_ROLE.to_owned(),
            password: Some(SERVICE_PASSWORD.to_owned().into()),
        };
        // Of the copies, too: they have the template's rights.
        db::roles::grant(&settings, &role).await.expect("the service's role has its rights");
        let rename = format!("ALTER DATABASE {making} RENAME TO {name}");
        // The server takes a moment to see that the migrating connection is closed.
        let mut patience = 100;
        while let Err(error) = admin.batch_execute(&rename).await {
            assert!(patience > 0, "the template cannot be named: {error}");
            patience -= 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        sweep(&admin).await;
    }
    let unlock = format!("SELECT pg_advisory_unlock({LOCK})");
    admin.batch_execute(&unlock).await.expect("the lock is given back");
    name
}

/// Drops what earlier processes left behind when they were killed.
async fn sweep(admin: &Client) {
    let left = "SELECT datname::text FROM pg_database WHERE datname LIKE 'cs_test_%'";
    for row in admin.query(left, &[]).await.expect("the catalogue can be read") {
        let name: String = row.get(0);
        let process = name.split('_').nth(2).unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            drop(admin.batch_execute(&statement).await);
        }
    }
}

fn migrations_hash() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let entries = |folder: &Path| {
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .expect("the migrations are there")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths.sort();
        paths
    };
    let mut hash = Sha256::new();
    hash.update(db::roles::GRANTS);
    for file in entries(&folder).iter().flat_map(|migration| entries(migration)) {
        hash.update(file.to_string_lossy().as_bytes());
        hash.update(std::fs::read(file).expect("a migration can be read"));
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

async fn apart<T, F>(work: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let done = tokio::task::spawn_blocking(|| {
        tokio::runtime::Runtime::new().expect("a runtime").block_on(work())
    });
    done.await.expect("the test database can be made")
}

/// A customer with nothing but what the tables demand.
pub async fn insert_customer(client: &Client, id: Uuid, email: &str) {
    client
        .batch_execute(&format!(
            "INSERT INTO customers (id, email, email_canonical, first_name, last_name, \
             customer_type, group_code, status, accepts_marketing, created_at, updated_at, \
             version, sequence) VALUES ('{id}', '{email}', '{email}', 'Lan', 'Nguyễn', \
             'individual', 'individual', 'pending', false, now(), now(), 1, 0)"
        ))
        .await
        .expect("a customer can be added");
}

/// A session; `ends` gives its expiry and its revocation as SQL.
pub async fn insert_session(client: &Client, customer: Uuid, id: Uuid, ends: &str) {
    client
        .batch_execute(&format!(
            "INSERT INTO sessions (id, customer_id, method, refresh_hash, generation, created_at, \
             last_seen_at, expires_at, absolute_expires_at, revoked_at) \
             SELECT '{id}', '{customer}', 'password', sha256('x'), 0, now() - interval '200 days', \
             now() - interval '200 days', e, e + interval '150 days', r FROM (VALUES ({ends})) \
             AS ends (e, r)"
        ))
        .await
        .expect("a session can be added");
}
