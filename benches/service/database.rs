//! The bench's own database on the given server: made anew, filled, put back between phases; and
//! what the server itself spends.

use super::machine;
use anyhow::{Context, Result};
use customer_service::domain::{CustomerId, shard};
use tokio_postgres::{Client, NoTls};
use url::Url;
use uuid::Uuid;

/// The database of most rows.
pub const NAME: &str = "customer_service_bench";
/// Customers who change and read; as many as a small shop has on one day.
pub const CUSTOMERS: u32 = 2_048;
/// Customers who sign in; numbered after the others.
pub const SIGNERS: u32 = 512;
/// An id is the customer's number in eight decimal digits, and this. pgbench can build such an id
/// from a number, which is all its variables can be; and the shards, which hash the id from its
/// front, come out evenly.
pub const ID_END: &str = "-0000-7000-8000-be9cbe9cbe9c";

/// The id of customer `number`.
pub fn id_of(number: u32) -> CustomerId {
    let text = format!("{number:08}{ID_END}");
    CustomerId(text.parse::<Uuid>().expect("eight decimal digits begin a UUID"))
}

/// The logical shard of customer `number`.
pub fn shard_of(number: u32) -> u16 {
    shard::of_customer(id_of(number))
}

/// The address that customer `number` signs in with.
pub fn email_of(number: u32) -> String {
    format!("shopper-{number}@bench.example")
}

/// The server, and the bench's database on it.
pub struct Server {
    pub url: Url,
    pub version: String,
    /// `fsync` and `synchronous_commit`, as the server runs.
    pub durability: String,
    client: Client,
    postmaster: Option<u32>,
}

impl Server {
    /// Connects, and makes the database `name` anew.
    pub async fn create(given: &str, name: &str) -> Result<Self> {
        let mut url = Url::parse(given).context("BENCH_DATABASE_URL is not an address")?;
        let admin = connect(&url).await?;
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        url.set_path(name);
        let client = connect(&url).await?;
        let row = client
            .query_one(
                "SELECT current_setting('server_version'), current_setting('fsync'), \
                 current_setting('synchronous_commit'), pg_backend_pid()",
                &[],
            )
            .await?;
        let (fsync, synchronous): (String, String) = (row.get(1), row.get(2));
        let backend: i32 = row.get(3);
        Ok(Self {
            url,
            version: row.get(0),
            durability: format!("fsync={fsync}, synchronous_commit={synchronous}"),
            client,
            // Absent where the server runs on another machine: its processor time is not known then.
            postmaster: u32::try_from(backend).ok().and_then(machine::parent_of),
        })
    }

    /// Fills the tables as the service itself would: customers with a hash that is cheap to verify,
    /// and signers with one of the configured cost.
    pub async fn seed(&self, cheap_hash: &str, full_hash: &str) -> Result<()> {
        let all = CUSTOMERS + SIGNERS;
        self.client
            .batch_execute(&format!(
                "BEGIN;
                 CREATE TEMPORARY TABLE seed ON COMMIT DROP AS
                     SELECT n, (lpad(n::text, 8, '0') || '{ID_END}')::uuid AS id,
                            'shopper-' || n || '@bench.example' AS email FROM generate_series(0, {all} - 1) AS n;
                 INSERT INTO customers (id, email, email_canonical, email_verified_at, first_name, last_name,
                     customer_type, group_code, status, accepts_marketing, created_at, updated_at, version, sequence)
                     SELECT id, email, email, now(), 'Anna', 'Nguyễn', 'individual', 'individual', 'active', false,
                            now(), now(), 1, 0 FROM seed;
                 INSERT INTO customer_identifiers (kind, value, customer_id) SELECT 'email', email, id FROM seed;
                 INSERT INTO customer_profiles (customer_id, company, bio, custom, version)
                     SELECT id, 'Bench & Sons', 'A few lines about oneself.', '{{}}', 1 FROM seed;
                 INSERT INTO customer_preferences (customer_id, locale, timezone, currency, channel_email, channel_sms,
                     channel_push, topics, custom, version)
                     SELECT id, 'en', 'UTC', 'USD', true, false, false, '{{}}', '{{}}', 1 FROM seed;
                 INSERT INTO passwords (customer_id, hash, changed_at)
                     SELECT id, CASE WHEN n < {CUSTOMERS} THEN '{cheap_hash}' ELSE '{full_hash}' END, now() FROM seed;
                 COMMIT;
                 ANALYZE;"
            ))
            .await?;
        Ok(())
    }

    /// The same start for every phase: no messages or entries of the phase before, no dead rows,
    /// nothing left to write back. No service may run.
    pub async fn reset(&self) -> Result<()> {
        for statement in [
            "TRUNCATE outbox_events, audit_entries",
            "VACUUM customers",
            "VACUUM customer_profiles",
            "CHECKPOINT",
        ] {
            self.client.batch_execute(statement).await?;
        }
        Ok(())
    }

    /// Runs a script.
    pub async fn execute(&self, script: &str) -> Result<()> {
        Ok(self.client.batch_execute(script).await?)
    }

    /// Rows of a table.
    pub async fn count(&self, table: &str) -> Result<i64> {
        let row = self.client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?;
        Ok(row.get(0))
    }

    /// The one number of a query.
    pub async fn number(&self, query: &str) -> Result<i64> {
        Ok(self.client.query_one(query, &[]).await?.get(0))
    }

    /// Another connection to the bench's database.
    pub async fn connect(&self) -> Result<Client> {
        connect(&self.url).await
    }

    /// Bytes of write-ahead log written so far.
    pub async fn wal_bytes(&self) -> Result<f64> {
        let row = self
            .client
            .query_one("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8", &[])
            .await?;
        Ok(row.get(0))
    }

    /// Seconds of processor time of all processes of the server; `None` where they are elsewhere.
    pub fn cpu(&self) -> Option<f64> {
        self.postmaster.map(machine::cpu_of_family)
    }
}

async fn connect(url: &Url) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url.as_str(), NoTls).await.context("cannot reach PostgreSQL")?;
    // Ends with the client; what ends it early fails the client's next query.
    tokio::task::spawn_local(connection);
    Ok(client)
}
