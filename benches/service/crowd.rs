//! A database with many customers: names as people have them, in several scripts and of very
//! different frequency, groups and tags that are on many and on few.

use super::database::{ID_END, Server, id_of};
use super::service::{Program, Running};
use anyhow::{Context, Result};
use serde_json::Value;
use uuid::Uuid;

const SCOPES: &str = "customers:read,customers:write,segments:read,segments:write";

const FIRST_NAMES: &str = "Ánh,Minh,Zoë,Max,Anna,José,Søren,Łukasz,Emily,Olivia,Noah,Liam,Mehmet,\
    Fatma,Yuki,Haruto,Wei,Fang,Priya,Arjun,Ivan,Olga,Иван,Мария,محمد,فاطمة,Chloé,Léa,Björn,Åsa,\
    Siobhán,Niamh,Thảo,Hương,Đức,Quỳnh,Joao,Beatriz,Kwame,Amina";
const LAST_NAMES: &str = "Nguyễn,Trần,Lê,Phạm,Smith,Jones,Müller,Schmidt,O'Neill,García,Rossi,\
    Yılmaz,Şahin,Kim,Lee,Wang,Li,Zhang,Sato,Suzuki,Patel,Sharma,Ivanova,Петров,Kowalski,Nowak,\
    Hansen,Jensen,Svensson,Silva,Santos,Mensah,Okafor,Dubois,Lefèvre,Cohen,Al-Farsi,van der Berg,\
    Mac Giolla,Đặng";

/// A database of its own, and the service's program pointed at it.
pub struct Crowd {
    pub customers: u32,
    server: Server,
    program: Program,
    /// Of a staff member who may read and write customers.
    pub staff_key: String,
}

impl Crowd {
    /// Makes the database `name` with `customers` customers, newest last.
    pub async fn gather(
        given: &str,
        program: &Program,
        name: &str,
        customers: u32,
    ) -> Result<Self> {
        let server = Server::create(given, name).await?;
        let mut program = program.clone();
        let address = ("CUSTOMER_SERVICE__DATABASE__URL".to_owned(), server.url.to_string());
        program.environment.push(address);
        program.run(&["migrate"]).context("the database cannot be migrated")?;
        server.execute(&filling(customers)).await?;
        let made =
            program.ask(&["key", "create", "--name", "bench", "--scopes", SCOPES, "--json"])?;
        let made: Value = serde_json::from_str(&made)?;
        let staff_key = made["key"].as_str().context("no key was made")?.to_owned();
        Ok(Self { customers, server, program, staff_key })
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Starts a service on it.
    pub async fn serve(&self) -> Result<Running> {
        self.program.start(&["serve"], &[], "/health/ready").await
    }

    /// Dead rows away and everything written back, so that no phase pays for the one before.
    pub async fn settle(&self) -> Result<()> {
        for statement in ["TRUNCATE outbox_events, audit_entries", "VACUUM ANALYZE", "CHECKPOINT"] {
            self.server.execute(statement).await?;
        }
        Ok(())
    }
}

/// Customer number `turn` of a walk that meets all of `customers` in no order.
pub fn anyone(turn: u32, customers: u32) -> u32 {
    // The golden ratio of 2³²: neighbours in the walk lie far apart in the table.
    let spread = u64::from(turn.wrapping_mul(2_654_435_769));
    ((spread * u64::from(customers)) >> 32) as u32
}

pub fn anyone_id(turn: u32, customers: u32) -> Uuid {
    id_of(anyone(turn, customers)).0
}

/// Indexes on words are made after the rows: row by row they take ten times as long.
fn filling(customers: u32) -> String {
    format!(
        "BEGIN;
         INSERT INTO customer_groups (code, name, created_at, updated_at, version)
             VALUES ('vip', 'Very important', now(), now(), 1);
         CREATE TEMPORARY TABLE index_of_words ON COMMIT DROP AS
             SELECT indexdef FROM pg_indexes WHERE indexname = 'customers_search';
         DROP INDEX customers_search;
         CREATE TEMPORARY TABLE seed ON COMMIT DROP AS
             SELECT n, (lpad(n::text, 8, '0') || '{ID_END}')::uuid AS id,
                    hashint4(n) & 1023 AS dice, (hashint4(n + 7) & 65535) AS many_dice,
                    'shopper-' || n || '@mail-' || n % 20 || '.example' AS email
             FROM generate_series(0, {customers} - 1) AS n;
         INSERT INTO customers (id, email, email_canonical, email_verified_at, phone, first_name, last_name,
             customer_type, group_code, status, tags, accepts_marketing, created_at, updated_at, version, sequence)
             SELECT id, email, email, now(), '+8490' || (1000000 + n),
                    (string_to_array($names${FIRST_NAMES}$names$, ','))[1 + least(dice, many_dice) % 40],
                    (string_to_array($names${LAST_NAMES}$names$, ','))[1 + (hashint4(n + 3) & 1023) % 40],
                    CASE WHEN dice % 20 = 0 THEN 'business' ELSE 'individual' END,
                    CASE WHEN dice % 100 = 1 THEN 'vip' WHEN dice % 20 = 0 THEN 'business' ELSE 'individual' END,
                    CASE WHEN dice % 50 = 3 THEN 'inactive' ELSE 'active' END,
                    array_remove(ARRAY[
                        CASE WHEN many_dice % 10000 = 5 THEN 'founder' END,
                        CASE WHEN dice % 5 = 0 THEN 'newsletter' END,
                        CASE WHEN many_dice % 1000 = 7 THEN 'wholesale' END], NULL),
                    dice % 3 = 0, now() - ({customers} - n) * interval '20 seconds', now(), 1, 0 FROM seed;
         INSERT INTO customer_identifiers (kind, value, customer_id) SELECT 'email', email, id FROM seed;
         INSERT INTO customer_profiles (customer_id, company, bio, custom, version)
             SELECT id, 'Bench & Sons', 'A few lines about oneself.', '{{}}', 1 FROM seed;
         INSERT INTO customer_preferences (customer_id, locale, timezone, currency, channel_email, channel_sms,
             channel_push, topics, custom, version)
             SELECT id, 'en', 'UTC', 'USD', true, false, false, '{{}}', '{{}}', 1 FROM seed;
         DO $$ BEGIN EXECUTE (SELECT indexdef FROM index_of_words); END $$;
         COMMIT;"
    )
}
