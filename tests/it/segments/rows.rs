//! Customers as rows, from the facts that are to be read of them.

use customer_service::domain::attribute::Part;
use customer_service::domain::consent::Channel;
use customer_service::domain::order::OrderStatus;
use customer_service::domain::segment::Facts;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::generate;
use crate::harness::db::TestDatabase;

/// A text as a literal.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn maybe(text: Option<String>) -> String {
    text.map_or("NULL".to_owned(), |text| quoted(&text))
}

fn array(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("ARRAY[{}]::text[]", texts.join(","))
}

/// The groups that random customers belong to.
pub async fn groups(database: &TestDatabase) {
    database
        .execute(
            "INSERT INTO customer_groups (code, name, updated_at, version) \
             VALUES ('retail', 'Retail', now(), 1), ('vip', 'VIP', now(), 1) ON CONFLICT DO NOTHING",
        )
        .await;
}

/// Makes customers of these, whose ids follow that one; answers with them.
pub async fn add(database: &TestDatabase, after: Uuid, all: &[Facts]) -> Vec<Uuid> {
    let mut sql = "BEGIN;".to_owned();
    let id = |n: usize| Uuid::from_u128(after.as_u128() + n as u128);
    let ids: Vec<Uuid> = (1..=all.len()).map(id).collect();
    for (id, facts) in ids.iter().zip(all) {
        sql.push_str(&customer(*id, facts));
        sql.push_str(&parts(*id, facts));
        sql.push_str(&orders(*id, facts));
    }
    sql.push_str("COMMIT");
    database.execute(&sql).await;
    ids
}

fn customer(id: Uuid, facts: &Facts) -> String {
    let custom = |of: Part| {
        let schema = generate::schema(chrono_tz::Tz::UTC);
        let held = facts.custom.iter().filter(|(key, _)| schema.custom[*key].part == of);
        let held: Map<String, Value> =
            held.map(|(key, value)| (key.clone(), value.clone())).collect();
        quoted(&Value::Object(held).to_string())
    };
    let contact = |channel| facts.contact.contains(&channel);
    let phone = facts.phone_verified_at.map(|_| "+84901234567".to_owned());
    let address = quoted(&format!("{id}@{}", facts.email_domain));
    format!(
        "INSERT INTO customers (id, email, email_canonical, email_verified_at, phone, phone_verified_at, \
         first_name, last_name, customer_type, group_code, status, tags, accepts_marketing, \
         last_sign_in_at, created_at, updated_at, version, sequence) VALUES ('{id}', {address}, {address}, \
         {}, {}, {}, 'Lan', 'Nguyễn', '{}', '{}', '{}', {}, {}, {}, '{}', now(), 1, 0); \
         INSERT INTO customer_profiles (customer_id, date_of_birth, custom, version) \
         VALUES ('{id}', {}, {}, 1); \
         INSERT INTO customer_preferences VALUES ('{id}', '{}', '{}', '{}', {}, {}, {}, {}, {}, 1);",
        maybe(facts.email_verified_at.map(|at| at.to_rfc3339())),
        maybe(phone),
        maybe(facts.phone_verified_at.map(|at| at.to_rfc3339())),
        facts.customer_type,
        facts.group,
        facts.status,
        array(&facts.tags),
        facts.accepts_marketing,
        maybe(facts.last_sign_in_at.map(|at| at.to_rfc3339())),
        facts.added_at.to_rfc3339(),
        maybe(facts.birth_date.map(|day| day.to_string())),
        custom(Part::Profile),
        facts.locale,
        facts.time_zone,
        facts.currency,
        contact(Channel::Email),
        contact(Channel::Sms),
        contact(Channel::Push),
        array(&facts.topics),
        custom(Part::Preferences),
    )
}

fn parts(id: Uuid, facts: &Facts) -> String {
    let mut sql = String::new();
    for (n, place) in facts.addresses.iter().enumerate() {
        let address = Uuid::from_u128(n as u128 + 1);
        sql.push_str(&format!(
            "INSERT INTO addresses (id, customer_id, recipient, line1, city, region, region_code, postal_code, \
             country, default_shipping, default_billing, created_at, updated_at, last_used_at, version) \
             VALUES ('{address}', '{id}', 'Lan', '1', {}, {}, {}, {}, '{}', false, false, now(), now(), now(), 1);",
            quoted(&place.city),
            maybe(place.region.clone()),
            maybe(place.region_code.clone()),
            maybe(place.postal_code.clone()),
            place.country,
        ));
    }
    for ((purpose, channel), granted) in &facts.consents {
        let channel = channel.as_str();
        let version = if *granted { "'1'" } else { "NULL" };
        sql.push_str(&format!(
            "INSERT INTO consents (customer_id, purpose, channel, granted, text_version, source, number, decided_at) \
             VALUES ('{id}', '{purpose}', '{channel}', {granted}, {version}, 'staff', 1, now());"
        ));
    }
    // on two lists
    for (n, items) in [facts.wishlist_items / 2, facts.wishlist_items - facts.wishlist_items / 2]
        .iter()
        .enumerate()
    {
        let list = Uuid::from_u128(n as u128 + 1);
        sql.push_str(&format!(
            "INSERT INTO wishlists (id, customer_id, name, item_count, created_at, version) \
             VALUES ('{list}', '{id}', 'A list', {items}, now(), 1);"
        ));
    }
    // One that is being set up is no second factor yet.
    let confirmed = if facts.mfa_enabled { "now(), 1" } else { "NULL, NULL" };
    sql.push_str(&format!(
        "INSERT INTO customer_totp (customer_id, secret, created_at, confirmed_at, last_step) \
         VALUES ('{id}', decode(repeat('00', 40), 'hex'), now() - interval '1 day', {confirmed});"
    ));
    for (n, at) in facts.sign_ins.iter().enumerate() {
        let entry = Uuid::from_u128(id.as_u128() * 1_000 + n as u128);
        let at = at.to_rfc3339();
        sql.push_str(&format!(
            "INSERT INTO audit_entries (id, shard, customer_id, actor_kind, action, data, request_id, occurred_at) \
             VALUES ('{entry}', 0, '{id}', 'customer', 'sign_in.succeeded', '{{}}', 'r', '{at}');"
        ));
    }
    sql
}

fn orders(id: Uuid, facts: &Facts) -> String {
    let mut sql = String::new();
    for (n, order) in facts.orders.iter().enumerate() {
        let name = format!("{id}-{n}");
        // Something was paid back of each; of some, more than they cost.
        let (total, back) = match order.amount {
            0 => (700, 900),
            amount => (amount + 500, 500),
        };
        let (status, currency) = (order.status.as_str(), &order.currency);
        let at = order.placed_at.to_rfc3339();
        sql.push_str(&format!(
            "INSERT INTO order_facts (customer_id, order_id, version, status, placed_at, currency, total_amount, \
             refunded_amount, recorded_at) VALUES ('{id}', '{name}', 1, '{status}', '{at}', '{currency}', {total}, \
             {back}, now());"
        ));
        for (sku, many) in &order.items {
            sql.push_str(&format!(
                "INSERT INTO order_items VALUES ('{id}', '{name}', '{sku}', {many});"
            ));
        }
    }
    let currencies: std::collections::BTreeSet<_> =
        facts.orders.iter().map(|order| &order.currency).collect();
    for currency in currencies {
        let of = |status| {
            let fits = |order: &&customer_service::domain::segment::OrderFact| {
                order.status == status && order.currency == *currency
            };
            facts.orders.iter().filter(fits).count()
        };
        let sums = facts.statistics.get(currency);
        let span = sums.and_then(|sums| sums.span);
        sql.push_str(&format!(
            "INSERT INTO order_statistics (customer_id, currency, placed, completed, cancelled, refunded, \
             spent_amount, refunded_amount, first_order_at, last_order_at, version, updated_at) \
             VALUES ('{id}', '{currency}', {}, {}, {}, {}, {}, 0, {}, {}, 1, now());",
            of(OrderStatus::Placed),
            of(OrderStatus::Completed),
            of(OrderStatus::Cancelled),
            of(OrderStatus::Refunded),
            sums.map_or(0, |sums| sums.spent),
            maybe(span.map(|(first, _)| first.to_rfc3339())),
            maybe(span.map(|(_, last)| last.to_rfc3339())),
        ));
    }
    sql
}
