//! One of the two databases: the one that is imported into, or the one that `COPY` fills with the
//! same rows.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, pin_mut};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};
use url::Url;

/// Every table that an import of these rows writes, each after those that it refers to.
pub const TABLES: [&str; 6] = [
    "customers",
    "customer_identifiers",
    "customer_profiles",
    "customer_preferences",
    "audit_entries",
    "outbox_events",
];

const PIECE: usize = 256 * 1024;

pub struct Side {
    pub url: Url,
    name: &'static str,
    client: Client,
}

/// The rows of one part, as files.
pub struct Dumped(Vec<(&'static str, String, PathBuf)>);

impl Side {
    /// Makes the database anew.
    pub async fn create(given: &str, name: &'static str) -> Result<Self> {
        let mut url = Url::parse(given).context("BENCH_DATABASE_URL is not an address")?;
        let admin = connect(&url).await?;
        admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?;
        admin.batch_execute(&format!("CREATE DATABASE {name}")).await?;
        url.set_path(name);
        let client = connect(&url).await?;
        Ok(Self { url, name, client })
    }

    /// What the figures were taken on.
    pub async fn told(&self) -> Result<String> {
        let sql = "SELECT 'PostgreSQL ' || current_setting('server_version') || ', fsync=' || \
            current_setting('fsync') || ', synchronous_commit=' || current_setting('synchronous_commit')";
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let told: String = self.client.query_one(sql, &[]).await?.get(0);
        Ok(format!("machine: {cores} cores; {told}"))
    }

    /// Defines the attribute that the file gives values of.
    pub async fn define(&self) -> Result<()> {
        let sql = "INSERT INTO attribute_definitions (key, id, part, kind, limits, writer, reader, title, \
            searchable, created_at, updated_at, version) VALUES ('points', gen_random_uuid(), 'profile', \
            'integer', '{}', 'staff', 'staff', 'Points', true, now(), now(), 1)";
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Rows that were imported so far, by the word of their imports: quick to ask for.
    pub async fn imported(&self) -> Result<i64> {
        let sql = "SELECT coalesce(sum(rows_imported), 0)::int8 FROM imports";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }

    /// What must each be as many as there are rows.
    pub async fn counts(&self) -> Result<Vec<(&'static str, i64)>> {
        let mut counts = Vec::new();
        for (what, sql) in [
            ("customers", "SELECT count(*) FROM customers"),
            ("different addresses", "SELECT count(DISTINCT email_canonical) FROM customers"),
            ("identifiers", "SELECT count(*) FROM customer_identifiers"),
            ("profiles", "SELECT count(*) FROM customer_profiles"),
            ("preferences", "SELECT count(*) FROM customer_preferences"),
            ("messages", "SELECT count(*) FROM outbox_events"),
            ("customers with a message", "SELECT count(DISTINCT customer_id) FROM outbox_events"),
            ("audit entries", "SELECT count(*) FROM audit_entries"),
            ("rows by the word of the imports", "SELECT sum(rows_imported)::int8 FROM imports"),
        ] {
            counts.push((what, self.client.query_one(sql, &[]).await?.get(0)));
        }
        Ok(counts)
    }

    /// Writes the rows of a part to files. Rows of one part have its number in their address.
    pub async fn dump(&self, folder: &Path, part: usize) -> Result<Dumped> {
        let ids = format!("SELECT id FROM customers WHERE email LIKE 'shopper-{part}-%'");
        let mut dumped = Vec::new();
        for table in TABLES {
            // What is generated cannot be copied.
            let columns = "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
                WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''";
            let columns: String = self.client.query_one(columns, &[&table]).await?.get(0);
            let key = if table == "customers" { "id" } else { "customer_id" };
            let sql =
                format!("COPY (SELECT {columns} FROM {table} WHERE {key} IN ({ids})) TO STDOUT");
            let path = folder.join(format!("{table}.copy"));
            let mut out = std::fs::File::create(&path)?;
            let rows = self.client.copy_out(&sql).await?;
            pin_mut!(rows);
            while let Some(piece) = rows.next().await {
                out.write_all(&piece?)?;
            }
            dumped.push((table, columns, path));
        }
        Ok(Dumped(dumped))
    }

    /// Copies the rows of a part in, in one transaction. Answers with the time.
    pub async fn copy(&self, dumped: &Dumped) -> Result<Duration> {
        // The same start for every round.
        self.client.batch_execute("CHECKPOINT").await?;
        let since = Instant::now();
        self.client.batch_execute("BEGIN").await?;
        for (table, columns, path) in &dumped.0 {
            let sql = format!("COPY {table} ({columns}) FROM STDIN");
            let sink = self.client.copy_in::<_, Bytes>(&sql).await?;
            pin_mut!(sink);
            let mut file = BufReader::new(std::fs::File::open(path)?);
            loop {
                let mut piece = vec![0; PIECE];
                let read = file.read(&mut piece)?;
                if read == 0 {
                    break;
                }
                piece.truncate(read);
                sink.send(piece.into()).await?;
            }
            ensure!(sink.finish().await? > 0, "no rows of {table}");
        }
        self.client.batch_execute("COMMIT").await?;
        let took = since.elapsed();
        for (_, _, path) in &dumped.0 {
            std::fs::remove_file(path)?;
        }
        // And the same for the import that follows.
        self.client.batch_execute("CHECKPOINT").await?;
        Ok(took)
    }

    pub async fn drop_database(self, given: &str) -> Result<()> {
        drop(self.client);
        let admin = connect(&Url::parse(given)?).await?;
        let name = self.name;
        Ok(admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await?)
    }
}

async fn connect(url: &Url) -> Result<Client> {
    let (client, connection) =
        tokio_postgres::connect(url.as_str(), NoTls).await.context("cannot reach PostgreSQL")?;
    // Ends with the client; what ends it early fails the client's next query.
    tokio::spawn(connection);
    Ok(client)
}
