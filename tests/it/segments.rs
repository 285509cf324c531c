//! Segments: both evaluators over real rows, the command that checks a definition, and who belongs to
//! which segment, whatever happens.

mod attributes;
mod book;
mod command;
mod live;
mod nodes;
mod rows;
pub mod shelf;
mod walks;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use customer_service::db::segments::{Needs, NotInSql, Rfm, Surroundings, compile, members, of};
use customer_service::domain;
use customer_service::domain::segment::{Checked, Facts, evaluate, shown};
use uuid::Uuid;

use crate::harness::db::TestDatabase;
use generate::Dice;

#[path = "../../src/domain/segment/tests/cases.rs"]
mod cases;
#[path = "../../src/domain/segment/tests/generate.rs"]
mod generate;

/// How many definitions are asked of how many customers: a triple each. `SEGMENT_TRIPLES=10000` is the
/// long form.
const CUSTOMERS: usize = 10;
const TRIPLES: usize = 1_000;

fn triples() -> usize {
    let asked = std::env::var("SEGMENT_TRIPLES").ok().and_then(|triples| triples.parse().ok());
    asked.unwrap_or(TRIPLES)
}

fn checked(text: &str, zone: chrono_tz::Tz) -> Checked {
    Checked::parse(text, &generate::schema(zone)).unwrap_or_else(|mistakes| {
        let told = mistakes.list.iter().map(|mistake| shown(text, mistake.span, mistake));
        panic!("{}", told.collect::<String>())
    })
}

/// The segments that random definitions ask about.
fn segments() -> BTreeMap<String, Checked> {
    let zone = chrono_tz::Tz::Asia__Kathmandu;
    let all = [
        ("all", "customer_type = 'business' OR last_order_date > -30d"),
        ("it's", "NOT custom.nick != 'vip' AND NOT IN SEGMENT 'all'"),
    ];
    all.map(|(name, text)| (name.to_owned(), checked(text, zone))).into()
}

fn rfm() -> Rfm {
    let zone = chrono_tz::Tz::Europe__Berlin;
    Rfm { cuts: generate::cuts(), currency: "USD".to_owned(), zone }
}

/// Random definitions, customers and instants: the statement and the evaluation in memory, over the
/// rows and over what the rows were made from, agree.
#[tokio::test(flavor = "multi_thread")]
async fn s4_both_evaluators_agree() {
    let database = TestDatabase::new().await;
    rows::groups(&database).await;
    let (segments, rfm) = (segments(), rfm());
    let mut tried = 0;
    let mut taken = 0;
    let mut round = 0;
    while tried < triples() {
        round += 1;
        let mut dice = Dice::new(20_261_122 + round);
        let zone = generate::ZONES[dice.roll(generate::ZONES.len())];
        let now = generate::now(&mut dice, zone);
        let made: Vec<Facts> =
            (0..CUSTOMERS).map(|_| generate::facts(&mut dice, now, zone)).collect();
        let after = Uuid::from_u128(1_000 * u128::from(round));
        let ids = rows::add(&database, after, &made).await;
        let handle = database.database();
        let connection = handle.dedicated("segments").await.unwrap();
        for _ in 0..10 {
            let text = generate::definition(&mut dice);
            let definition = checked(&text, zone);
            // Time goes on, too, by whole days as often as not.
            let later = if dice.once_in(2) { 24 } else { 1 };
            let now = now + TimeDelta::hours(later * dice.roll(9) as i64);
            let around = Surroundings { now, rfm: Some(&rfm), segments: &segments };
            let sql = compile(&definition, around).unwrap();
            let found = members(&connection, &sql, after, 1_000).await;
            let found = found.unwrap_or_else(|error| panic!("{text}\n{}\n{error}", sql.text()));
            let mut needs = Needs::default();
            needs.add(definition.condition());
            segments.values().for_each(|segment| needs.add(segment.condition()));
            let mut read = of(&connection, &ids, needs, Some(&rfm), None).await.unwrap();
            for (id, made) in ids.iter().zip(&made) {
                let read = read.get_mut(id).expect("a living customer");
                let mut made = made.clone();
                for facts in [&mut *read, &mut made] {
                    facts.segments.clear();
                    for name in ["all", "it's"] {
                        if evaluate(&segments[name], facts, now).member {
                            facts.segments.insert(name.to_owned());
                        }
                    }
                }
                let in_sql = found.contains(id);
                let (in_memory, as_made) = (
                    evaluate(&definition, read, now).member,
                    evaluate(&definition, &made, now).member,
                );
                assert_eq!(
                    (in_sql, in_memory),
                    (as_made, as_made),
                    "in SQL and in memory, made as {as_made}, customer {id} at {now} in {zone}:\n{text}\n{}",
                    sql.text()
                );
                tried += 1;
                taken += usize::from(in_sql);
            }
        }
    }
    println!("{tried} triples, {taken} of them members");
    assert!(taken > tried / 10 && taken < tried * 9 / 10, "{taken} of {tried}");
}

/// What the rules say of one customer, the statement says too, and the evaluation of what is read.
#[tokio::test(flavor = "multi_thread")]
async fn s4_rows_keep_the_rules() {
    let database = TestDatabase::new().await;
    rows::groups(&database).await;
    let ids = rows::add(&database, Uuid::nil(), &[cases::customer()]).await;
    let handle = database.database();
    let connection = handle.dedicated("segments").await.unwrap();
    // The customer of the table is judged by no cut points.
    let (now, segments) = (cases::NOW.parse().unwrap(), BTreeMap::new());
    let around = Surroundings { now, rfm: None, segments: &segments };
    let all = [
        cases::MISSING_VALUES,
        cases::TEXTS,
        cases::NUMBERS_ARE_EXACT,
        cases::CONSENTS,
        cases::FUNCTIONS,
        cases::DATES,
    ];
    let mut wrong = Vec::new();
    for (text, member) in all.concat() {
        let definition = checked(text, chrono_tz::Tz::UTC);
        let sql = compile(&definition, around).unwrap();
        let found = members(&connection, &sql, Uuid::nil(), 10).await.unwrap();
        let mut needs = Needs::default();
        needs.add(definition.condition());
        let read = of(&connection, &ids, needs, None, None).await.unwrap();
        let in_memory = evaluate(&definition, &read[&ids[0]], now).member;
        if (found.contains(&ids[0]), in_memory) != (member, member) {
            wrong.push(format!("{text}\n  in memory {in_memory}; {}", sql.text()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whatever is written in a definition, it never becomes a part of the statement's text.
#[tokio::test(flavor = "multi_thread")]
async fn s4_values_are_bound_and_never_text() {
    let database = TestDatabase::new().await;
    let handle = database.database();
    let connection = handle.dedicated("segments").await.unwrap();
    let evil = "x\\'); DROP TABLE customers; --";
    let text = format!(
        "custom.nick = '{evil}' OR customer_tags CONTAINS '{evil}' OR group IN ('{evil}') \
         OR customer_cities NOT IN ('{evil}', '$1') \
         OR orders_placed MATCHES (sku = '{evil}', currency = 'USD', amount > 12345.67) \
         OR consent.marketing.sms = true OR NOT amount_spent.EUR > 98765"
    );
    let definition = checked(&text, chrono_tz::Tz::UTC);
    let (segments, now) = (BTreeMap::new(), "2026-01-01T00:00:00Z".parse().unwrap());
    let sql = compile(&definition, Surroundings { now, rfm: None, segments: &segments }).unwrap();
    for value in ["DROP", "12345", "98765", "USD", "EUR", "sms", "nick"] {
        assert!(!sql.text().contains(value), "{value} in {}", sql.text());
    }
    assert!(members(&connection, &sql, Uuid::nil(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn s4_what_the_database_cannot_be_asked_is_told() {
    let asked = |text: &str, segments: &BTreeMap<String, Checked>| {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let around = Surroundings { now, rfm: None, segments };
        compile(&checked(text, chrono_tz::Tz::UTC), around).unwrap_err()
    };
    let mut segments = BTreeMap::new();
    let tier = asked("predicted_spend_tier = 'top'", &segments);
    assert_eq!(tier, NotInSql::Computed("predicted_spend_tier".into()));
    assert_eq!(asked("IN SEGMENT 'all'", &segments), NotInSql::Segment("all".into()));
    // A cycle that was not noticed ends all the same.
    let circle = checked("mfa_enabled = true OR IN SEGMENT 'all'", chrono_tz::Tz::UTC);
    segments.insert("all".to_owned(), circle);
    assert_eq!(asked("IN SEGMENT 'all'", &segments), NotInSql::Segment("all".into()));
}
