//! Segments: both evaluators over real rows, the command that checks a definition, and who belongs to
//! which segment, whatever happens.

mod attributes;
mod book;
mod command;
mod defaults;
mod live;
mod nodes;
mod preview;
mod rows;
pub mod shelf;
mod walks;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use customer_service::db::predictions::{KeptModel, ValueFit};
use customer_service::db::segments::{
    Named, Needs, NotInSql, Rfm, Surroundings, compile, members, members_among, of, tiers,
};
use customer_service::domain;
use customer_service::domain::analytics::bg_nbd::BgNbd;
use customer_service::domain::analytics::gamma_gamma::GammaGamma;
use customer_service::domain::analytics::history::{History, Order};
use customer_service::domain::analytics::model::{Models, Outlook, Tier, TierCuts, Total};
use customer_service::domain::order::OrderStatus;
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

fn named(segments: &BTreeMap<String, Checked>) -> BTreeMap<String, Named> {
    let named = |checked: &Checked| Named::Rule(Box::new(checked.clone()));
    segments.iter().map(|(name, checked)| (name.clone(), named(checked))).collect()
}

/// Of a shop whose random customers fall into every tier.
fn model() -> KeptModel {
    let as_of = "2026-08-01T00:00:00Z".parse().unwrap();
    let cuts = TierCuts([20_000.0, 8_000.0, 1_000.0]);
    KeptModel {
        version: 1,
        fitted_at: as_of,
        as_of,
        seconds: 0.0,
        time_zone: chrono_tz::Tz::Asia__Ho_Chi_Minh,
        outlook: Outlook { months: 12, discount_rate: 0.1 },
        customers: 0,
        repeaters: 0,
        models: Models {
            purchases: BgNbd { r: 0.24, alpha: 4.41, a: 0.79, b: 2.43 },
            value: Some(GammaGamma { p: 6.25, q: 3.74, gamma: 1_544.0 }),
        },
        log_likelihood: 0.0,
        evaluations: 0,
        value: Ok(ValueFit { log_likelihood: 0.0, customers: 0, correlation: 0.0, cuts }),
        tiers: vec![Total::default(); 4],
        total: Total::default(),
    }
}

/// The tier that a customer is made in.
fn tier(facts: &Facts, model: &KeptModel) -> Option<Tier> {
    let counts = |order: &&domain::segment::OrderFact| {
        order.currency == "USD" && order.status != OrderStatus::Cancelled
    };
    let orders = facts.orders.iter().filter(counts);
    let orders = orders.map(|order| Order { placed_at: order.placed_at, value: order.amount });
    let history = History::of(orders, model.as_of, model.time_zone)?;
    let value = model.models.predict(&history, model.outlook).lifetime_value?;
    Some(model.value.as_ref().ok()?.cuts.tier(value))
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
    let (segments, rfm, model) = (segments(), rfm(), model());
    let named = named(&segments);
    let mut in_tiers = BTreeMap::new();
    let mut tried = 0;
    let mut taken = 0;
    let mut round = 0;
    while tried < triples() {
        round += 1;
        let mut dice = Dice::new(20_261_122 + round);
        let zone = generate::ZONES[dice.roll(generate::ZONES.len())];
        let now = generate::now(&mut dice, zone);
        let mut made: Vec<Facts> =
            (0..CUSTOMERS).map(|_| generate::facts(&mut dice, now, zone)).collect();
        for facts in &mut made {
            facts.spend_tier = tier(facts, &model);
            *in_tiers.entry(facts.spend_tier).or_insert(0) += 1;
        }
        let after = Uuid::from_u128(1_000 * u128::from(round));
        let ids = rows::add(&database, after, &made).await;
        let handle = database.database();
        let connection = handle.dedicated("segments").await.unwrap();
        let tiers = tiers(&connection, &ids, (&model, "USD")).await.unwrap();
        for _ in 0..10 {
            let text = generate::definition(&mut dice);
            let definition = checked(&text, zone);
            // Time goes on, too, by whole days as often as not.
            let later = if dice.once_in(2) { 24 } else { 1 };
            let now = now + TimeDelta::hours(later * dice.roll(9) as i64);
            let (rfm, tiers) = (Some(&rfm), Some(&tiers));
            let around = Surroundings { now, rfm, segments: &named, tiers };
            let sql = compile(&definition, around).unwrap();
            let found = members(&connection, &sql, after, 1_000).await;
            let found = found.unwrap_or_else(|error| panic!("{text}\n{}\n{error}", sql.text()));
            let mut needs = Needs::default();
            needs.add(definition.condition());
            segments.values().for_each(|segment| needs.add(segment.condition()));
            let predicted = Some((&model, "USD"));
            let mut read = of(&connection, &ids, needs, rfm, predicted).await.unwrap();
            let among = members_among(&connection, &sql, &ids).await.unwrap();
            assert_eq!(among, found, "{text}");
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
    println!("{tried} triples, {taken} of them members; customers by tier: {in_tiers:?}");
    assert_eq!(in_tiers.len(), 5, "{in_tiers:?}");
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
    let around = Surroundings { now, rfm: None, segments: &segments, tiers: None };
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

/// Whatever is written in a definition, it never becomes a part of the statement's text: it finds who
/// has just that, among others, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn s4_values_are_bound_and_never_text() {
    let database = TestDatabase::new().await;
    rows::groups(&database).await;
    let evil = "x\\'); DROP TABLE customers; --";
    let (mut one, other) = (cases::customer(), cases::customer());
    one.tags = vec![evil.replace("\\'", "'")];
    one.custom.insert("nick".into(), one.tags[0].clone().into());
    let ids = rows::add(&database, Uuid::nil(), &[one, other]).await;
    let handle = database.database();
    let connection = handle.dedicated("segments").await.unwrap();
    let text = format!(
        "custom.nick = '{evil}' AND customer_tags CONTAINS '{evil}' AND group NOT IN ('{evil}') \
         AND customer_cities NOT IN ('{evil}', '$1') \
         AND orders_placed NOT MATCHES (sku = '{evil}', currency = 'USD', amount > 12345.67) \
         AND NOT consent.marketing.sms = true AND NOT amount_spent.EUR > 98765"
    );
    let definition = checked(&text, chrono_tz::Tz::UTC);
    let (segments, now) = (BTreeMap::new(), "2026-01-01T00:00:00Z".parse().unwrap());
    let around = Surroundings { now, rfm: None, segments: &segments, tiers: None };
    let sql = compile(&definition, around).unwrap();
    for value in ["DROP", "12345", "98765", "USD", "EUR", "sms", "nick"] {
        assert!(!sql.text().contains(value), "{value} in {}", sql.text());
    }
    let found = members(&connection, &sql, Uuid::nil(), 10).await.unwrap();
    assert_eq!(found, [ids[0]]);
}

#[tokio::test]
async fn s4_what_the_database_cannot_be_asked_is_told() {
    let asked = |text: &str, segments: &BTreeMap<String, Named>| {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let around = Surroundings { now, rfm: None, segments, tiers: None };
        compile(&checked(text, chrono_tz::Tz::UTC), around).unwrap_err()
    };
    let mut segments = BTreeMap::new();
    let tier = asked("predicted_spend_tier = 'top'", &segments);
    assert_eq!(tier, NotInSql::Computed("predicted_spend_tier".into()));
    assert_eq!(asked("IN SEGMENT 'all'", &segments), NotInSql::Segment("all".into()));
    // A cycle that was not noticed ends all the same.
    let circle = checked("mfa_enabled = true OR IN SEGMENT 'all'", chrono_tz::Tz::UTC);
    segments.insert("all".to_owned(), Named::Rule(Box::new(circle)));
    assert_eq!(asked("IN SEGMENT 'all'", &segments), NotInSql::Segment("all".into()));
}
