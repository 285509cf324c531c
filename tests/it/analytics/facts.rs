//! Customers and orders as rows: what the figures are computed from, here and there.

use chrono::{DateTime, TimeDelta, Utc};
use customer_service::clock::{Clock, SystemClock};

use crate::harness::db::TestDatabase;

/// An order as its newest version tells it.
#[derive(Clone, Debug)]
pub struct Fact {
    pub id: String,
    /// Place among the customers.
    pub customer: usize,
    pub status: &'static str,
    pub at: DateTime<Utc>,
    pub currency: &'static str,
    pub total: i64,
    pub refunded: i64,
}

impl Fact {
    pub fn counts(&self, currency: &str) -> bool {
        self.status != "cancelled" && self.currency == currency
    }

    /// What was paid and kept.
    pub fn paid(&self) -> i64 {
        (self.total - self.refunded).max(0)
    }
}

/// Numbers that look random and are the same each time (a linear congruential generator).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Orders of `customers` within `days` from `start`, in all statuses and two currencies.
pub fn orders(customers: usize, number: usize, start: DateTime<Utc>, days: u64) -> Vec<Fact> {
    let mut dice = Dice(7);
    let one = |number: usize| {
        let status =
            ["placed", "completed", "completed", "cancelled", "refunded"][dice.below(5) as usize];
        let total = dice.below(20_000) as i64;
        let refunded = match status {
            // now and then more than was paid
            "refunded" => dice.below(25_000) as i64,
            _ => 0,
        };
        Fact {
            id: format!("o-{number}"),
            // some buy often, some hardly ever
            customer: (dice.below(customers as u64) * dice.below(customers as u64)
                / customers as u64) as usize,
            status,
            at: start + TimeDelta::seconds(dice.below(days * 86_400) as i64),
            currency: if dice.below(6) == 0 { "EUR" } else { "USD" },
            total,
            refunded,
        }
    };
    (0..number).map(one).collect()
}

/// Customers, every third one a business; answers with their ids.
pub async fn customers(database: &TestDatabase, number: usize) -> Vec<String> {
    let sql = format!(
        "INSERT INTO customers (id, email, email_canonical, first_name, last_name, customer_type, \
         group_code, status, accepts_marketing, created_at, updated_at, version, sequence) \
         SELECT gen_random_uuid(), n || '@example.org', n || '@example.org', 'Lan', 'Nguyễn', \
         CASE n % 3 WHEN 0 THEN 'business' ELSE 'individual' END, \
         CASE n % 3 WHEN 0 THEN 'business' ELSE 'individual' END, 'pending', false, \
         '2020-01-01T00:00:00Z'::timestamptz, now(), 1, 0 FROM generate_series(0, {number} - 1) AS n"
    );
    database.execute(&sql).await;
    let ids = "SELECT id FROM customers ORDER BY split_part(email, '@', 1)::int";
    database.column(ids).await
}

/// Makes these the orders of the shop, and the statistics what they come to.
pub async fn put(database: &TestDatabase, customers: &[String], facts: &[Fact]) {
    let rows = facts.iter().map(|fact| {
        let Fact { id, customer, status, at, currency, total, refunded } = fact;
        let customer = &customers[*customer];
        let at = at.to_rfc3339();
        format!("('{customer}', '{id}', 1, '{status}', '{at}', '{currency}', {total}, {refunded}, now())")
    });
    let rows: Vec<String> = rows.collect();
    let mut sql = "BEGIN; DELETE FROM order_facts; DELETE FROM order_statistics;".to_owned();
    for rows in rows.chunks(1_000) {
        sql.push_str(
            "INSERT INTO order_facts (customer_id, order_id, version, status, placed_at, currency, \
             total_amount, refunded_amount, recorded_at) VALUES ",
        );
        sql.push_str(&rows.join(","));
        sql.push(';');
    }
    sql.push_str(
        "INSERT INTO order_statistics SELECT customer_id, currency, \
         count(*) FILTER (WHERE status = 'placed'), count(*) FILTER (WHERE status = 'completed'), \
         count(*) FILTER (WHERE status = 'cancelled'), count(*) FILTER (WHERE status = 'refunded'), \
         coalesce(sum(greatest(total_amount - refunded_amount, 0)) FILTER (WHERE status <> 'cancelled'), 0), \
         coalesce(sum(least(total_amount, refunded_amount)) FILTER (WHERE status <> 'cancelled'), 0), \
         min(placed_at) FILTER (WHERE status <> 'cancelled'), \
         max(placed_at) FILTER (WHERE status <> 'cancelled'), 1, now() \
         FROM order_facts GROUP BY 1, 2; COMMIT",
    );
    database.execute(&sql).await;
}

pub fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// The sample of CDNOW (see `tests/data`) as orders: each customer's first one so many days ago as it
/// was observed, the last one when it was, the others between; what the first one was worth is not in
/// the sample.
pub fn cdnow() -> Vec<Fact> {
    let text = include_str!("../../data/cdnow.csv");
    let now = now();
    let mut facts = Vec::new();
    for (customer, line) in text.lines().skip(1).enumerate() {
        let fields: Vec<f64> = line.split(',').map(|field| field.trim().parse().unwrap()).collect();
        let days = |weeks: f64| (weeks * 7.0).round() as i64;
        let (repeats, last, age) = (fields[1] as i64, days(fields[2]), days(fields[3]));
        let mut put = |number: i64, day: i64, total: i64| {
            let fact = Fact {
                id: format!("{customer}-{number}"),
                customer,
                status: "completed",
                at: now - TimeDelta::days(age - day),
                currency: "USD",
                total,
                refunded: 0,
            };
            facts.push(fact);
        };
        put(0, 0, 4_711);
        for number in 1..=repeats {
            let day = if number == repeats { last } else { number };
            put(number, day, (fields[4] * 100.0).round() as i64);
        }
    }
    facts
}
