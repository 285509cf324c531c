//! Making an export: everything that the map tells, read from one state of the database, twice over:
//! once as JSON for programs, once as a page for people. Whoever breaks off leaves nothing that counts:
//! the next one begins anew, with a state of its own, and writes over what is there.

use super::Stop;
use super::archive::{Archive, Shelf};
use super::page::{Layout, Page};
use crate::actors::customer_keys::CustomerKeys;
use crate::clock::Clock;
use crate::db::personal_rows::{Described, Snapshot};
use crate::db::privacy_exports::{Lease, Progress};
use crate::db::{self, Database, merges};
use crate::domain::personal::{self, Told};
use crate::domain::{CustomerId, PrivacyExportId};
use crate::faults;
use crate::mail::Language;
use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures_util::TryStreamExt;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// The names of the files in an archive.
pub const FILES: [&str; 3] = ["customer.json", "index.html", "manifest.json"];

/// What programs know the form of these files by.
pub const FORM: &str = "customer-service/privacy-export/1";

/// How long nobody else begins an export after a sign of life of who is at it.
pub const PATIENCE: TimeDelta = TimeDelta::seconds(15);

/// Rows between two signs of life.
const ROWS_BETWEEN_SIGNS: i64 = 500;

/// What makes exports. Cheap to clone.
#[derive(Clone)]
pub struct Maker {
    pub database: Database,
    pub customer_keys: CustomerKeys,
    pub clock: Arc<dyn Clock>,
    pub bytes_max: u64,
}

/// One table, as it is told.
struct Section {
    told: Told,
    described: Described,
    rows: i64,
}

/// One export under way.
struct Making<'a> {
    clock: &'a dyn Clock,
    snapshot: Snapshot,
    archive: Archive,
    sections: Vec<Section>,
    customer: CustomerId,
    /// The customer, and everybody who became one with it.
    whole: Vec<Uuid>,
    export: PrivacyExportId,
    made_at: DateTime<Utc>,
}

impl Maker {
    /// Makes the export that was leased.
    ///
    /// # Errors
    /// Why it was not made: see [`Stop`].
    pub async fn make(&self, lease: Lease) -> Result<Progress, Stop> {
        let (customer, export) = (lease.customer(), lease.export());
        let key = self.customer_keys.of(customer).await.map_err(anyhow::Error::from)?;
        let key = key.ok_or(Stop::Gone)?;
        let made_at = self.clock.now();
        let mut snapshot = Snapshot::take(&self.database).await?;
        let whole = merges::whole(snapshot.connection(), &[customer.0]).await;
        let whole = whole.map_err(db::Error::from)?.into_iter().map(|part| part.id).collect();
        let mut sections = Vec::new();
        for told in personal::told() {
            let described = snapshot.describe(told.name).await?;
            sections.push(Section { told, described, rows: 0 });
        }
        let locale = db::customers::preferences(snapshot.connection(), &[customer.0]).await;
        let locale = locale.map_err(db::Error::from)?.pop();
        let locale = locale.map_or_else(String::new, |(_, found)| found.locale.as_str().to_owned());
        let shelf = Shelf {
            database: self.database.clone(),
            lease,
            key,
            bytes_max: self.bytes_max,
            patience: PATIENCE,
        };
        let mut archive = Archive::new(shelf, made_at);
        archive.progress.tables_total = i32::try_from(2 * sections.len()).unwrap_or(i32::MAX);
        let clock = &*self.clock;
        let mut making =
            Making { clock, snapshot, archive, sections, customer, whole, export, made_at };
        let [data, page, manifest] = FILES;
        making.data(data).await?;
        making.page(page, Language::of(&locale)).await?;
        making.manifest(manifest).await?;
        faults::at("exporter.written");
        // Of the archive, which is moved into it: kept off the stack of who awaits.
        Box::pin(making.archive.finish()).await
    }
}

impl Making<'_> {
    /// For programs: a JSON object, with the rows of each table.
    async fn data(&mut self, name: &str) -> Result<(), Stop> {
        self.archive.begin(name)?;
        let head = json!({
            "form": FORM,
            "export_id": self.export,
            "customer_id": self.customer,
            "merged_customer_ids": self.merged(),
            "made_at": time(self.made_at),
        });
        let head = head.to_string();
        // The object goes on with the tables.
        let head = head.strip_suffix('}').context("an object ends with a brace")?;
        self.archive.write(&format!("{head},\n\"tables\":{{")).await?;
        for place in 0..self.sections.len() {
            let name = Value::from(self.sections[place].told.name);
            let comma = if place == 0 { "" } else { "," };
            self.archive.write(&format!("{comma}\n{name}:[")).await?;
            let mut rows = self.rows(place).await?;
            let mut count = 0;
            while let Some(line) = rows.try_next().await? {
                let comma = if count == 0 { "\n" } else { ",\n" };
                self.archive.write(comma).await?;
                self.archive.write(&line).await?;
                count += 1;
                self.archive.progress.rows += 1;
                self.sign(count).await?;
            }
            self.sections[place].rows = count;
            self.archive.write("]").await?;
            self.table_done().await?;
        }
        self.archive.write("\n}}\n").await
    }

    /// For people: a page that needs nothing but a browser.
    async fn page(&mut self, name: &str, language: Language) -> Result<(), Stop> {
        self.archive.begin(name)?;
        let page = Page::new(language);
        let told = self.sections.iter().filter(|section| section.rows > 0);
        let contents: Vec<_> = told.map(|section| (section.told.name, section.rows)).collect();
        self.archive.write(&page.head(&time(self.made_at), &contents)).await?;
        for place in 0..self.sections.len() {
            let Section { told, described, rows: total } = &self.sections[place];
            if *total > 0 {
                let layout = Layout::of(*total);
                let head = page.table_head(told, described, layout);
                let (told, described) = (told.clone(), described.clone());
                self.archive.write(&head).await?;
                let mut rows = self.rows(place).await?;
                let mut count = 0;
                while let Some(line) = rows.try_next().await? {
                    let row: Map<String, Value> =
                        serde_json::from_str(&line).map_err(anyhow::Error::from)?;
                    self.archive.write(&page.row(&told, &described, layout, &row)).await?;
                    count += 1;
                    self.sign(count).await?;
                }
                self.archive.write(page.table_foot()).await?;
            }
            self.table_done().await?;
        }
        self.archive.write(page.foot()).await
    }

    /// What is in the archive, what each table and column means, and what is not told, with the reason.
    async fn manifest(&mut self, name: &str) -> Result<(), Stop> {
        self.archive.begin(name)?;
        let mut withheld: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for one in personal::not_told() {
            let column = json!({ "column": one.column, "why": one.why });
            withheld.entry(one.table).or_default().push(column);
        }
        let tables = self.sections.iter().map(|section| {
            let Section { told, described, rows } = section;
            let columns = told.columns.iter().map(|column| {
                let what = described.columns.get(*column);
                json!({ "name": column, "what": what })
            });
            json!({
                "name": told.name,
                "what": described.what,
                "rows": rows,
                "columns": columns.collect::<Vec<_>>(),
            })
        });
        let [data, page, _] = FILES;
        let manifest = json!({
            "form": FORM,
            "export_id": self.export,
            "customer_id": self.customer,
            "merged_customer_ids": self.merged(),
            "made_at": time(self.made_at),
            "files": [
                { "name": data, "what": "All values, for programs." },
                { "name": page, "what": "The same, to be read in a browser." },
            ],
            "tables": tables.collect::<Vec<_>>(),
            "withheld": withheld,
        });
        let text = serde_json::to_string_pretty(&manifest).map_err(anyhow::Error::from)?;
        self.archive.write(&text).await?;
        self.archive.write("\n").await
    }

    async fn rows(&mut self, place: usize) -> Result<db::personal_rows::Lines, Stop> {
        let section = &self.sections[place];
        Ok(self.snapshot.rows(&section.told, &section.described, &self.whole).await?)
    }

    /// Who became one with the customer.
    fn merged(&self) -> Vec<Uuid> {
        self.whole.iter().copied().filter(|id| *id != self.customer.0).collect()
    }

    async fn table_done(&mut self) -> Result<(), Stop> {
        self.archive.progress.tables_done += 1;
        self.archive.live(self.clock.now()).await?;
        faults::at("exporter.table_done");
        Ok(())
    }

    async fn sign(&self, rows: i64) -> Result<(), Stop> {
        if rows % ROWS_BETWEEN_SIGNS == 0 {
            self.archive.live(self.clock.now()).await?;
        }
        Ok(())
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
