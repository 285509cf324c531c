//! Customers as a stream of NDJSON or CSV: a page at a time, with the names that an import reads; and the
//! members of a segment likewise.
//!
//! Not one snapshot: a transaction that lasts as long as a slow reader would keep the database
//! from tidying up. Every customer that is there all the time is in it exactly once.

use super::imports::settings::Format;
use crate::db::whole::Whole;
use crate::db::{self, Database};
use crate::domain::ids::SegmentId;
use bytes::Bytes;
use chrono::SecondsFormat;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Customers of one page.
const PAGE: i64 = 500;

/// The columns of CSV. What has parts of its own is JSON in its column.
const COLUMNS: [&str; 27] = [
    "id",
    "email",
    "email_verified",
    "phone",
    "phone_verified",
    "first_name",
    "last_name",
    "customer_type",
    "group",
    "status",
    "tags",
    "accepts_marketing",
    "locale",
    "timezone",
    "currency",
    "date_of_birth",
    "gender",
    "avatar_url",
    "company",
    "tax_id",
    "bio",
    "custom",
    "addresses",
    "last_sign_in_at",
    "created_at",
    "updated_at",
    "version",
];

/// What is told a page at a time.
pub trait Pages {
    /// The next page as text; `None`: that was all.
    ///
    /// # Errors
    /// Those of the database; the page can be asked for again.
    fn next(&mut self) -> impl Future<Output = Result<Option<Bytes>, db::Error>>;
}

impl Pages for Export {
    async fn next(&mut self) -> Result<Option<Bytes>, db::Error> {
        self.page().await
    }
}

/// Members of one page.
const MEMBERS_PAGE: i64 = 5_000;

/// The export of a segment's members under way.
pub struct MemberExport {
    database: Database,
    segment: SegmentId,
    format: Format,
    after: Option<Uuid>,
    begun: bool,
    over: bool,
}

impl MemberExport {
    pub fn new(database: Database, segment: SegmentId, format: Format) -> Self {
        Self { database, segment, format, after: None, begun: false, over: false }
    }
}

impl Pages for MemberExport {
    async fn next(&mut self) -> Result<Option<Bytes>, db::Error> {
        if self.over {
            return Ok(None);
        }
        let (segment, after) = (self.segment, self.after);
        let read = self.database.read(move |connection| {
            Box::pin(async move {
                db::segment_members::page(connection, segment, after, MEMBERS_PAGE).await
            })
        });
        let page = read.await?;
        self.after = page.last().map(|member| member.customer_id.0);
        self.over = (page.len() as i64) < MEMBERS_PAGE;
        let mut text = Vec::with_capacity(page.len() * 96);
        let columns = ["customer_id", "since", "cause"].map(str::to_owned).to_vec();
        if !self.begun && self.format == Format::Csv {
            write_csv(&mut text, std::iter::once(columns));
        }
        self.begun = true;
        match self.format {
            Format::Ndjson => page.iter().for_each(|member| {
                let (since, cause) = (member.held.since, member.held.cause.as_str());
                let line =
                    json!({ "customer_id": member.customer_id, "since": since, "cause": cause });
                text.extend_from_slice(line.to_string().as_bytes());
                text.push(b'\n');
            }),
            Format::Csv => write_csv(
                &mut text,
                page.iter().map(|member| {
                    let since = member.held.since.to_rfc3339_opts(SecondsFormat::AutoSi, true);
                    let cause = member.held.cause.as_str().to_owned();
                    vec![member.customer_id.to_string(), since, cause]
                }),
            ),
        }
        Ok(Some(text.into()))
    }
}

/// An export under way.
pub struct Export {
    database: Database,
    format: Format,
    after: Option<Uuid>,
    begun: bool,
    over: bool,
}

impl Export {
    pub fn new(database: Database, format: Format) -> Self {
        Self { database, format, after: None, begun: false, over: false }
    }

    async fn page(&mut self) -> Result<Option<Bytes>, db::Error> {
        if self.over {
            return Ok(None);
        }
        let after = self.after;
        let read = self.database.read(move |connection| {
            Box::pin(async move { db::exports::page(connection, after, PAGE).await })
        });
        let page = read.await?;
        self.after = page.last().map(|whole| whole.customer.id.0);
        self.over = (page.len() as i64) < PAGE;
        let mut text = Vec::with_capacity(page.len() * 512);
        if !self.begun && self.format == Format::Csv {
            write_csv(&mut text, std::iter::once(COLUMNS.map(str::to_owned).to_vec()));
        }
        self.begun = true;
        let objects = page.iter().map(object);
        match self.format {
            Format::Ndjson => objects.for_each(|object| {
                text.extend_from_slice(Value::Object(object).to_string().as_bytes());
                text.push(b'\n');
            }),
            Format::Csv => write_csv(&mut text, objects.map(|object| cells(&object))),
        }
        Ok(Some(text.into()))
    }
}

fn write_csv(text: &mut Vec<u8>, rows: impl Iterator<Item = Vec<String>>) {
    let mut writer = csv::Writer::from_writer(text);
    for row in rows {
        writer.write_record(&row).expect("memory takes every row, and all rows are of one length");
    }
    writer.flush().expect("memory takes what is left");
}

fn cells(object: &Map<String, Value>) -> Vec<String> {
    let cell = |name: &&str| match object.get(*name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) if parts.is_empty() => String::new(),
        Some(Value::Array(words)) if *name == "tags" => {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            // one with a comma would be two
            let plain = words.iter().all(|word| !word.contains(',') && !word.starts_with('['));
            if plain { words.join(",") } else { json!(words).to_string() }
        }
        Some(Value::Object(parts)) if parts.is_empty() => String::new(),
        Some(other) => other.to_string(),
    };
    COLUMNS.iter().map(cell).collect()
}

/// A customer with its parts, by the names that an import reads.
fn object(whole: &Whole) -> Map<String, Value> {
    let customer = &whole.customer;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    put("id", json!(customer.id));
    put("email", json!(customer.email.as_str()));
    put("email_verified", json!(customer.email_verified_at.is_some()));
    put("phone", json!(customer.phone));
    put("phone_verified", json!(customer.phone_verified_at.is_some()));
    put("first_name", json!(customer.first_name));
    put("last_name", json!(customer.last_name));
    put("customer_type", json!(customer.customer_type));
    put("group", json!(customer.group));
    put("status", json!(customer.status));
    put("tags", json!(customer.tags));
    put("accepts_marketing", json!(customer.accepts_marketing));
    if let Some(preferences) = &whole.preferences {
        put("locale", json!(preferences.locale));
        put("timezone", json!(preferences.timezone));
        put("currency", json!(preferences.currency));
    }
    if let Some(profile) = &whole.profile {
        put("date_of_birth", json!(profile.date_of_birth));
        put("gender", json!(profile.gender));
        put("avatar_url", json!(profile.avatar_url));
        put("company", json!(profile.company));
        put("tax_id", json!(profile.tax_id));
        put("bio", json!(profile.bio));
        put("custom", Value::Object(profile.custom.clone()));
    }
    let addresses = whole.addresses.iter().flatten().map(|address| {
        let fields = &address.fields;
        json!({
            "label": fields.label, "recipient": fields.recipient, "company": fields.company,
            "line1": fields.line1, "line2": fields.line2, "city": fields.city,
            "region": fields.region, "postal_code": fields.postal_code,
            "country": fields.country, "phone": fields.phone,
            "default_shipping": address.default_shipping,
            "default_billing": address.default_billing,
        })
    });
    put("addresses", addresses.collect());
    put("last_sign_in_at", json!(customer.last_sign_in_at));
    put("created_at", json!(customer.created_at));
    put("updated_at", json!(customer.updated_at));
    put("version", json!(customer.version));
    object
}
