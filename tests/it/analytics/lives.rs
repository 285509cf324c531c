//! Cohorts, RFM groups and predictions: equal to what follows from the orders, and moved by orders
//! that come late, twice, with another date, or are cancelled.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::{America, Asia, Tz};
use customer_service::domain::analytics::rfm::{Bought, CutPoints, Group};
use serde_json::{Value, json};

use super::facts::{Fact, cdnow, now, orders};
use super::{Desk, at};

/// Months since the year 0, by the shop's calendar.
fn month(at: DateTime<Utc>, zone: Tz) -> i32 {
    let local = at.with_timezone(&zone);
    local.year() * 12 + local.month0() as i32
}

/// Cohort, months since, customers, revenue: of all cells with somebody in them.
type Cells = BTreeSet<(String, i64, i64, i64)>;

fn expected_cells(facts: &[Fact], zone: Tz, from: &str, to: &str) -> Cells {
    let name = |month: i32| format!("{:04}-{:02}", month.div_euclid(12), month.rem_euclid(12) + 1);
    let mut first: BTreeMap<usize, DateTime<Utc>> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.counts("USD")) {
        let first = first.entry(fact.customer).or_insert(fact.at);
        *first = fact.at.min(*first);
    }
    let mut cells: BTreeMap<(i32, i32), (BTreeSet<usize>, i64)> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.counts("USD")) {
        let cohort = month(first[&fact.customer], zone);
        let cell = cells.entry((cohort, month(fact.at, zone) - cohort)).or_default();
        cell.0.insert(fact.customer);
        cell.1 += fact.paid();
    }
    let told = |((cohort, since), (customers, revenue)): ((i32, i32), (BTreeSet<usize>, i64))| {
        (name(cohort), i64::from(since), customers.len() as i64, revenue, name(cohort + since))
    };
    let cells = cells.into_iter().map(told);
    let within = cells.filter(|cell| cell.0.as_str() >= from && cell.4.as_str() <= to);
    within
        .map(|(cohort, since, customers, revenue, _)| (cohort, since, customers, revenue))
        .collect()
}

fn told_cells(told: &Value) -> Cells {
    let mut cells = Cells::new();
    for cohort in told["cohorts"].as_array().unwrap() {
        let size = cohort["customers"].as_i64().unwrap();
        for month in cohort["months"].as_array().unwrap() {
            let customers = month["customers"].as_i64().unwrap();
            let revenue = month["revenue"]["amount"].as_i64().unwrap();
            let retention = month["retention"].as_f64().unwrap();
            if customers > 0 {
                assert!((retention - customers as f64 / size as f64).abs() < 1e-12, "{month}");
                let name = cohort["month"].as_str().unwrap().to_owned();
                cells.insert((name, month["since"].as_i64().unwrap(), customers, revenue));
            } else {
                assert_eq!((retention, revenue), (0.0, 0), "{month}");
            }
        }
    }
    cells
}

pub async fn cohorts_agree(desk: &Desk, what: &str) {
    let told = desk.get("cohorts?from=2026-02-10&to=2026-10-31").await;
    assert_eq!(told["cohorts"].as_array().unwrap().len(), 9);
    let expected = expected_cells(&desk.facts, desk.zone, "2026-02", "2026-10");
    assert!(expected.len() > 20, "{what}");
    assert_eq!(told_cells(&told), expected, "{what}");
}

/// Who bought what until now, from the orders alone.
fn bought(facts: &[Fact]) -> BTreeMap<usize, Bought> {
    let mut all: BTreeMap<usize, Bought> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.counts("USD")) {
        let none = Bought { orders: 0, spent: 0, last_order_at: fact.at };
        let one = all.entry(fact.customer).or_insert(none);
        one.orders += 1;
        one.spent += fact.paid();
        one.last_order_at = one.last_order_at.max(fact.at);
    }
    all
}

/// The values that a fifth, two, three and four fifths do not exceed.
fn fifths(values: impl Iterator<Item = i64>) -> [i64; 4] {
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    [1, 2, 3, 4].map(|fifth| values[(values.len() * fifth).div_ceil(5) - 1])
}

fn days_since(last: DateTime<Utc>, now: DateTime<Utc>, zone: Tz) -> i64 {
    let date = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
    (date(now) - date(last)).num_days()
}

/// The groups that the route tells are those of each customer's score by the cut points in use; and
/// each customer's own route agrees.
pub async fn rfm_agrees(desk: &Desk, what: &str) {
    let told = desk.get("rfm").await;
    let cuts = |member: &str| -> [i64; 4] {
        let cuts = told["cut_points"][member].as_array().unwrap().iter();
        cuts.map(|cut| cut.as_i64().unwrap()).collect::<Vec<_>>().try_into().unwrap()
    };
    let cuts = CutPoints {
        recency_days: cuts("recency_days"),
        orders: cuts("orders"),
        spent: cuts("spent"),
    };
    let now = at(told["at"].as_str().unwrap());
    let all = bought(&desk.facts);
    let mut groups: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (customer, bought) in &all {
        let score = cuts.score(bought, now, desk.zone);
        let group = groups.entry(score.group().as_str()).or_default();
        *group = (group.0 + 1, group.1 + bought.spent);
        if customer % 7 == 0 {
            let told = desk.of(*customer).await;
            let expected = json!({ "recency": score.recency, "frequency": score.frequency,
                "monetary": score.monetary, "group": score.group().as_str(),
                "version": told["rfm"]["version"] });
            assert_eq!(told["rfm"], expected, "{what}: {bought:?}");
        }
    }
    assert_eq!(told["customers"], all.len(), "{what}");
    let names: Vec<_> =
        told["groups"].as_array().unwrap().iter().map(|g| g["group"].as_str().unwrap()).collect();
    assert_eq!(names, Group::ALL.map(Group::as_str));
    for group in told["groups"].as_array().unwrap() {
        let expected = groups.get(group["group"].as_str().unwrap()).copied().unwrap_or_default();
        let found =
            (group["customers"].as_i64().unwrap(), group["spent"]["amount"].as_i64().unwrap());
        assert_eq!(found, expected, "{what}: {group}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cohorts_and_scores_follow_from_the_orders_and_move_with_them() {
    let zone = America::New_York;
    let facts = orders(60, 400, at("2026-01-05T00:00:00Z"), 310);
    let mut desk = Desk::open(zone, 60, facts).await;
    assert_eq!(desk.get("rfm").await["cut_points"], Value::Null, "nothing was computed yet");
    desk.command("rfm");
    // the cut points are the fifths of the customers
    let told = desk.get("rfm").await;
    let (all, cut_points) = (bought(&desk.facts), &told["cut_points"]);
    let as_of = at(cut_points["as_of"].as_str().unwrap());
    let days = all.values().map(|one| days_since(one.last_order_at, as_of, zone));
    assert_eq!(cut_points["recency_days"], json!(fifths(days)));
    assert_eq!(cut_points["orders"], json!(fifths(all.values().map(|one| one.orders))));
    assert_eq!(cut_points["spent"], json!(fifths(all.values().map(|one| one.spent))));
    assert_eq!((&cut_points["version"], &cut_points["customers"]), (&json!(1), &json!(all.len())));
    cohorts_agree(&desk, "at first").await;
    rfm_agrees(&desk, "at first").await;
    for (what, facts) in moved(&desk.facts) {
        desk.now_are(facts).await;
        cohorts_agree(&desk, what).await;
        rfm_agrees(&desk, what).await;
    }
    // and computed anew the cut points are those of the orders as they are now
    desk.command("rfm");
    let told = desk.get("rfm").await;
    assert_eq!(told["cut_points"]["version"], 2);
    let spent = bought(&desk.facts).into_values().map(|one| one.spent).collect::<Vec<_>>();
    assert_eq!(told["cut_points"]["spent"], json!(fifths(spent.into_iter())));
    rfm_agrees(&desk, "computed anew").await;
}

/// The same orders after news of some of them, one kind after the other.
pub fn moved(facts: &[Fact]) -> Vec<(&'static str, Vec<Fact>)> {
    let counted = |facts: &[Fact], customer| {
        let own = facts.iter().enumerate();
        let own = own.filter(|(_, fact)| fact.counts("USD") && fact.customer == customer);
        own.min_by_key(|(_, fact)| fact.at).map(|(place, _)| place).expect("it has ordered")
    };
    let mut steps = Vec::new();
    // heard of late: an order before all others of its customer
    let mut late = facts.to_vec();
    let first = late[counted(&late, 3)].clone();
    late.push(Fact { id: "late".into(), at: first.at - TimeDelta::days(70), ..first });
    steps.push(("late", late.clone()));
    // with another date: over the end of a month, in New York alone
    let mut dated = late.clone();
    let place = counted(&dated, 0);
    dated[place].at = at("2026-04-01T03:59:59Z");
    steps.push(("dated to the last second of March", dated.clone()));
    dated[place].at = at("2026-04-01T04:00:00Z");
    steps.push(("dated to the first second of April", dated.clone()));
    // cancelled: the first order of a customer, then all of another
    let mut cancelled = dated.clone();
    let place = counted(&cancelled, 5);
    cancelled[place].status = "cancelled";
    steps.push(("the first was cancelled", cancelled.clone()));
    cancelled
        .iter_mut()
        .filter(|fact| fact.customer == 2)
        .for_each(|fact| fact.status = "cancelled");
    steps.push(("all of a customer were cancelled", cancelled.clone()));
    // paid back, in full and more
    let mut refunded = cancelled.clone();
    for fact in refunded.iter_mut().filter(|fact| fact.customer == 1) {
        fact.refunded = fact.total + 1;
    }
    steps.push(("all of a customer were paid back", refunded));
    steps
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_customer_has_no_score_and_leaves_its_revenue() {
    let facts = orders(12, 80, at("2026-06-01T00:00:00Z"), 150);
    let desk = Desk::open(Tz::UTC, 12, facts).await;
    desk.command("rfm");
    let (before, cohorts) = (desk.get("rfm").await, desk.get("cohorts").await);
    let path = format!("/v1/admin/customers/{}", desk.customers[0]);
    desk.node.delete(&path).bearer(&desk.shop.staff_key).send().await.expect(204);
    let after = desk.get("rfm").await;
    assert_eq!(after["customers"].as_i64().unwrap(), before["customers"].as_i64().unwrap() - 1);
    assert_eq!(desk.get("cohorts").await["cohorts"], cohorts["cohorts"]);
    let of_deleted = desk.node.get(&format!("{path}/predictions")).bearer(&desk.shop.staff_key);
    of_deleted.send().await.problem(404, "not_found");
}

/// A zone in which it is neither nearly midnight nor just after, so that the day does not change while
/// a test runs.
fn quiet_zone() -> Tz {
    if (2..21).contains(&now().hour()) { Tz::UTC } else { Asia::Tokyo }
}

fn near(told: &Value, expected: f64, tolerance: f64) {
    let told = told.as_f64().unwrap_or_else(|| panic!("{told} is no number"));
    assert!((told - expected).abs() <= tolerance, "{told} is not {expected}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_models_fitted_to_orders_are_the_published_ones() {
    let desk = Desk::open(quiet_zone(), 2_357, cdnow()).await;
    let told = desk.get("predictions").await;
    assert_eq!((&told["model"], &told["tiers"]), (&Value::Null, &json!([])));
    assert_eq!(desk.of(0).await["prediction"], Value::Null);
    let output = desk.command("refit");
    assert!(
        output.contains("version    1 of 2357 customers, 946 of whom bought again"),
        "{output}"
    );
    let told = desk.get("predictions").await;
    let model = &told["model"];
    assert_eq!((&model["customers"], &model["repeaters"]), (&json!(2_357), &json!(946)));
    let purchases = &model["purchases"];
    near(&purchases["r"], 0.243, 0.0005);
    near(&purchases["alpha"], 4.414, 0.0005);
    near(&purchases["a"], 0.793, 0.0005);
    near(&purchases["b"], 2.426, 0.0005);
    near(&purchases["log_likelihood"], -9582.4, 0.05);
    let value = &model["value"];
    near(&value["p"], 6.25, 0.005);
    near(&value["q"], 3.74, 0.005);
    // in cents
    near(&value["gamma"], 1544.0, 1.0);
    assert_eq!((&told["run"]["stage"], &told["run"]["fault"]), (&json!("done"), &Value::Null));
    // the tiers are all customers, and what they come to
    let tiers = told["tiers"].as_array().unwrap();
    let sum = |member: &str| tiers.iter().map(|tier| tier[member].as_f64().unwrap()).sum::<f64>();
    assert_eq!((sum("customers"), tiers.len()), (2357.0, 4));
    near(&told["total"]["expected_purchases"], sum("expected_purchases"), 1e-6);
    // customer 1 of the sample: x = 2, t_x = 30.43, T = 38.86 weeks, z̄ = 22.35 dollars
    let one = desk.of(0).await;
    let prediction = &one["prediction"];
    assert_eq!(
        (&prediction["repeats"], &prediction["last_day"], &prediction["age_days"]),
        (&json!(2), &json!(213), &json!(272))
    );
    near(&prediction["alive"], 0.7266, 0.0005);
    near(&prediction["purchase_value"]["amount"], 2_465.0, 2.0);
    let value = prediction["lifetime_value"]["amount"].as_f64().unwrap();
    let above = tiers
        .iter()
        .find(|tier| tier["above"].is_null() || value > tier["above"]["amount"].as_f64().unwrap());
    assert_eq!(prediction["tier"], above.unwrap()["tier"]);
    // an order moves it at once, without a fit
    let mut facts = desk.facts.clone();
    let fresh = Fact { id: "new".into(), at: now(), ..facts[0].clone() };
    facts.push(fresh);
    let mut desk = desk;
    desk.now_are(facts).await;
    let after = desk.of(0).await;
    assert_eq!(after["prediction"]["repeats"], 3);
    assert!(after["prediction"]["alive"].as_f64() > prediction["alive"].as_f64());
}
