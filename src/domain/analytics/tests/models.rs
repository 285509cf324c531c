//! The models on the data that they were published with.
//!
//! `tests/data/cdnow.csv` is the one-in-ten sample of the 1997 cohort of CDNOW: 2357 customers with
//! their repeated purchases in the first 39 weeks (x, t_x, T in weeks, z̄ in dollars). B. G. S. Hardie
//! published it with both models (brucehardie.com/notes/004, /025); the file is that of the Python
//! package `lifetimes` (github.com/CamDavidsonPilon/lifetimes, MIT licence, © 2015 Cameron
//! Davidson-Pilon), `lifetimes/datasets/cdnow_customers_summary_with_transactions.csv`.

use super::super::bg_nbd::{Alike, BgNbd, alike};
use super::super::gamma_gamma::GammaGamma;
use super::super::history::{History, Order};
use super::super::model::{Models, Outlook, Tier, TierCuts, fit};
use super::super::optimum::NotFitted;
use super::super::series::gauss;
use chrono::{TimeZone, Utc};
use proptest::prelude::*;

fn cdnow() -> Vec<History> {
    let text = include_str!("../../../../tests/data/cdnow.csv");
    let rows = text.lines().skip(1).map(|line| {
        let fields: Vec<f64> = line.split(',').map(|field| field.trim().parse().unwrap()).collect();
        let [_, x, t_x, age, mean] = fields[..] else { panic!("{line}") };
        // The file rounds weeks to two digits; they are of whole days.
        let days = |weeks: f64| (weeks * 7.0).round() as u32;
        History { repeats: x as u32, last: days(t_x), age: days(age), mean }
    });
    rows.collect()
}

fn near(found: f64, published: f64, tolerance: f64) {
    assert!((found - published).abs() <= tolerance, "{found} is not {published}");
}

const PUBLISHED: BgNbd = BgNbd { r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };

/// Repeats, days to the last, age in days; the probability of being alive; purchases in 39 weeks.
const INTEGRATED: [((u32, u32, u32), f64, f64); 5] = [
    ((0, 0, 272), 1.0, 0.195_109_664_993),
    ((2, 213, 272), 0.726_589_721_835, 1.226_115_806_149),
    ((1, 12, 272), 0.212_260_062_555, 0.203_351_041_087),
    ((26, 250, 260), 0.932_479_452_433, 17.622_763_790_463),
    ((7, 100, 200), 0.148_354_470_389, 0.958_441_242_314),
];

#[test]
fn bg_nbd_finds_the_published_parameters_of_cdnow() {
    let histories = cdnow();
    assert_eq!(histories.len(), 2357);
    let found = BgNbd::fit(&alike(&histories), &|_| true).unwrap();
    // Fader, Hardie, Lee 2005, table 2.
    near(found.model.r, 0.243, 0.0005);
    near(found.model.alpha, 4.414, 0.0005);
    near(found.model.a, 0.793, 0.0005);
    near(found.model.b, 2.426, 0.0005);
    near(found.log_likelihood, -9582.4, 0.05);
}

#[test]
fn gamma_gamma_finds_the_published_parameters_of_cdnow() {
    let found = GammaGamma::fit(&cdnow(), &|_| true).unwrap();
    // Fader, Hardie 2013, section 4: of the 946 customers who bought again.
    assert_eq!(found.customers, 946);
    near(found.model.p, 6.25, 0.005);
    near(found.model.q, 3.74, 0.005);
    near(found.model.gamma, 15.44, 0.01);
    // "the correlation between average transaction value and the number of transactions is 0.11"
    near(found.correlation, 0.11, 0.005);
}

#[test]
fn predictions_are_the_published_ones() {
    // Hardie's note 004, "Implementing the BG/NBD Model in Excel": the first customer, 39 weeks ahead.
    let first = History { repeats: 2, last: 213, age: 272, mean: 22.35 };
    near(PUBLISHED.expected(&first, 39.0), 1.226, 0.001);
    // By integrating the likelihood over rate and probability (mpmath, 20 digits): without equation
    // (10) and without the hypergeometric function.
    let of = |repeats, last, age| History { repeats, last, age, mean: 0.0 };
    for (history, alive, ahead) in INTEGRATED {
        let history = of(history.0, history.1, history.2);
        near(PUBLISHED.alive(&history), alive, 1e-8);
        near(PUBLISHED.expected(&history, 39.0), ahead, 1e-6);
    }
    let value = GammaGamma { p: 6.25, q: 3.74, gamma: 15.44 };
    // Note 025, table 2: p = 6.25, q = 3.74, γ = 15.44; the first three customers of the file.
    near(value.expected(2, 22.35), 24.65, 0.02);
    near(value.expected(1, 11.77), 18.91, 0.02);
    near(value.expected(0, 0.0), 35.17, 0.06);
}

#[test]
fn the_series_is_known_functions() {
    for z in [0.0, 0.1, 0.5, 0.9, 0.999_f64] {
        near(gauss(1.0, 1.0, 2.0, z) * z, -(1.0 - z).ln(), 1e-12);
        near(gauss(0.7, 2.0, 2.0, z), (1.0 - z).powf(-0.7), 1e-10 * (1.0 - z).powf(-0.7));
        near(gauss(0.5, 0.5, 1.5, z * z) * z, z.asin(), 1e-12);
    }
}

#[test]
fn customers_who_are_alike_are_counted() {
    let one = |repeats, last| History { repeats, last, age: 100, mean: 1.0 };
    let found = alike(&[one(2, 50), one(0, 0), one(2, 50), one(0, 0), one(2, 51)]);
    let group = |repeats, last, customers| Alike { repeats, last, age: 100, customers };
    assert_eq!(found, [group(0, 0, 2), group(2, 50, 2), group(2, 51, 1)]);
    // and to count them changes nothing
    let all = cdnow();
    let together = PUBLISHED.log_likelihood(&alike(&all), 300);
    let apart: f64 = all.iter().map(|one| PUBLISHED.log_likelihood(&alike(&[*one]), 300)).sum();
    near(together, apart, 1e-6);
}

#[test]
fn a_fit_says_what_all_customers_come_to() {
    let outlook = Outlook { months: 12, discount_rate: 0.1 };
    let found = fit(cdnow(), outlook, &|_| true).unwrap();
    assert_eq!((found.customers, found.repeaters), (2357, 946));
    let (total, tiers) = (found.total, found.tiers);
    assert_eq!(tiers.iter().map(|tier| tier.customers).sum::<u64>(), 2357);
    assert_eq!(total.customers, 2357);
    near(tiers.iter().map(|tier| tier.lifetime_value).sum(), total.lifetime_value, 1e-6);
    // a twentieth, three, six and ten of them; fewer where several have the value of a cut point
    assert!(tiers[0].customers <= 118 && tiers[0].customers > 100, "{tiers:?}");
    let each = cdnow().into_iter().map(|history| found.models.predict(&history, outlook));
    let (mut purchases, mut value) = (0.0, 0.0);
    for (prediction, history) in each.zip(cdnow()) {
        purchases += prediction.purchases;
        value += prediction.lifetime_value.unwrap();
        near(prediction.purchases, found.models.purchases.expected(&history, 365.25 / 7.0), 1e-9);
    }
    near(total.purchases, purchases, 1e-6);
    near(total.lifetime_value, value, 1e-6);
}

#[test]
fn money_that_comes_later_is_worth_less() {
    let models =
        Models { purchases: PUBLISHED, value: Some(GammaGamma { p: 6.25, q: 3.74, gamma: 15.44 }) };
    let history = History { repeats: 2, last: 213, age: 272, mean: 22.35 };
    let of = |months, discount_rate| {
        models.predict(&history, Outlook { months, discount_rate }).lifetime_value.unwrap()
    };
    let prediction = models.predict(&history, Outlook { months: 12, discount_rate: 0.0 });
    near(of(12, 0.0), prediction.purchases * prediction.purchase_value.unwrap(), 1e-9);
    assert!(of(12, 0.1) < of(12, 0.0) && of(12, 0.1) > of(12, 0.0) / 1.1);
    assert!(of(24, 0.1) > of(12, 0.1));
}

#[test]
fn tiers_are_shares_of_the_customers() {
    let values: Vec<f64> = (1..=100).map(f64::from).collect();
    let cuts = TierCuts::of(&values);
    assert_eq!(cuts.0, [95.0, 80.0, 50.0]);
    let count = |tier| values.iter().filter(|value| cuts.tier(**value) == tier).count();
    assert_eq!(Tier::ALL.map(count), [5, 15, 30, 50]);
    assert_eq!(TierCuts::of(&[]).0, [0.0; 3]);
}

#[test]
fn what_cannot_be_fitted_is_refused_and_a_stop_is_heard() {
    let outlook = Outlook { months: 12, discount_rate: 0.1 };
    assert_eq!(fit(Vec::new(), outlook, &|_| true), Err(NotFitted::TooFew));
    let once = vec![History { repeats: 0, last: 0, age: 50, mean: 0.0 }; 1_000];
    assert_eq!(fit(once, outlook, &|_| true), Err(NotFitted::TooFew));
    assert_eq!(fit(cdnow(), outlook, &|evaluations| evaluations < 40), Err(NotFitted::Stopped));
    // everybody the same: no spread to fit a distribution to, and yet an end
    let same = vec![History { repeats: 5, last: 50, age: 60, mean: 10.0 }; 1_000];
    if let Ok(found) = fit(same, outlook, &|_| true) {
        assert!(found.total.purchases.is_finite() && found.total.lifetime_value.is_finite());
    }
    // without values the purchases are predicted all the same
    let mut free = cdnow();
    free.iter_mut().for_each(|one| one.mean = 0.0);
    let found = fit(free, outlook, &|_| true).unwrap();
    assert_eq!((found.value, found.cuts), (Err(NotFitted::TooFew), None));
    assert_eq!(found.tiers[3].customers, 2357);
}

#[test]
fn a_history_is_of_days_with_purchases() {
    let zone = chrono_tz::Asia::Ho_Chi_Minh;
    let at = |month, day, hour| Utc.with_ymd_and_hms(2026, month, day, hour, 0, 0).unwrap();
    let order = |placed_at, value| Order { placed_at, value };
    let orders = [
        order(at(3, 10, 18), 700), // the 11th in Vietnam
        order(at(1, 5, 10), 1_000),
        order(at(3, 11, 3), 300), // the 11th, too
        order(at(2, 1, 2), 500),
        order(at(5, 1, 2), 9_999), // later than the time of looking
    ];
    let found = History::of(orders, at(4, 1, 0), zone).unwrap();
    assert_eq!(found, History { repeats: 2, last: 65, age: 86, mean: 750.0 });
    // in the order in which they come
    let mut turned = orders;
    turned.reverse();
    assert_eq!(History::of(turned, at(4, 1, 0), zone), Some(found));
    let first = History::of(orders, at(1, 31, 0), zone).unwrap();
    assert_eq!(first, History { repeats: 0, last: 0, age: 26, mean: 0.0 });
    assert_eq!(History::of(orders, at(1, 1, 0), zone), None);
}

proptest! {
    #[test]
    fn predictions_are_sound_whatever_the_history(
        (r, alpha, a, b) in (0.05..5.0, 0.1..50.0, 0.05..5.0, 0.05..10.0),
        repeats in 0..200u32, age in 0..4_000u32, share in 0.0..=1.0, horizon in 0.1..300.0,
    ) {
        let model = BgNbd { r, alpha, a, b };
        let last = if repeats == 0 { 0 } else { (f64::from(age) * share) as u32 };
        let history = History { repeats, last, age, mean: 10.0 };
        let alive = model.alive(&history);
        prop_assert!((0.0..=1.0).contains(&alive));
        let near = model.expected(&history, horizon);
        let far = model.expected(&history, horizon * 2.0);
        prop_assert!(near.is_finite() && near >= -1e-9, "{}", near);
        prop_assert!(far >= near - 1e-9, "{} {}", near, far);
        // who bought lately is likelier to be alive than who did long ago
        if repeats > 0 && last < age {
            let later = History { last: last + 1, ..history };
            prop_assert!(model.alive(&later) >= alive);
        }
    }
}
