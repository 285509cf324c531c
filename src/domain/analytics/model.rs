//! What is to be expected of a customer: purchases, whether it is still one, and what it will be worth
//! to the shop. Both models together, fitted to all histories at once.

use super::bg_nbd::{self, BgNbd};
use super::gamma_gamma::{self, GammaGamma};
use super::history::History;
use super::optimum::{GoOn, NotFitted};
use serde::{Deserialize, Serialize};

/// A year of 365.25 days.
const WEEKS_OF_A_YEAR: f64 = 365.25 / 7.0;
const MONTHS_OF_A_YEAR: f64 = 12.0;

/// How far is looked ahead, and what money is worth that comes later.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    pub months: u32,
    /// By which money that comes a year later is worth less: 0.1 is 10 %.
    pub discount_rate: f64,
}

/// The models as they were fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Models {
    pub purchases: BgNbd,
    /// `None` where the data do not determine it; values are not predicted then.
    pub value: Option<GammaGamma>,
}

/// What is to be expected of one customer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Days with purchases within the outlook.
    pub purchases: f64,
    /// That it will buy again, 0 to 1.
    pub alive: f64,
    /// Of one purchase, in minor units.
    pub purchase_value: Option<f64>,
    /// Of all purchases within the outlook, discounted, in minor units.
    pub lifetime_value: Option<f64>,
}

/// Purchases within an outlook if the customer is alive: as they are, and discounted.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ahead {
    purchases: f64,
    discounted: f64,
}

impl Models {
    pub fn predict(&self, history: &History, outlook: Outlook) -> Prediction {
        self.with(history, self.ahead(history.repeats, history.age, outlook))
    }

    /// Month by month: what is expected by its end and was not by its beginning counts at its end.
    fn ahead(&self, repeats: u32, age: u32, outlook: Outlook) -> Ahead {
        let mut ahead = Ahead { purchases: 0.0, discounted: 0.0 };
        for month in 1..=outlook.months {
            let years = f64::from(month) / MONTHS_OF_A_YEAR;
            let by_then = self.purchases.if_alive(repeats, age, years * WEEKS_OF_A_YEAR);
            let later = (1.0 + outlook.discount_rate).powf(years);
            ahead.discounted += (by_then - ahead.purchases) / later;
            ahead.purchases = by_then;
        }
        ahead
    }

    fn with(&self, history: &History, ahead: Ahead) -> Prediction {
        let alive = self.purchases.alive(history);
        let value = self.value.map(|value| value.expected(history.repeats, history.mean));
        Prediction {
            purchases: ahead.purchases * alive,
            alive,
            purchase_value: value,
            lifetime_value: value.map(|value| value * ahead.discounted * alive),
        }
    }
}

/// Customers by their predicted value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The best twentieth.
    Top,
    /// The rest of the best fifth.
    High,
    /// The rest of the better half.
    Middle,
    Low,
}

impl Tier {
    pub const ALL: [Self; 4] = [Self::Top, Self::High, Self::Middle, Self::Low];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Top => "top",
            Self::High => "high",
            Self::Middle => "middle",
            Self::Low => "low",
        }
    }
}

/// Shares of the customers that do not exceed each cut point, in percent.
const TIER_SHARES: [usize; 3] = [95, 80, 50];

/// Values above which the tiers begin, best tier first, in minor units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TierCuts(pub [f64; 3]);

impl TierCuts {
    /// `values` ascending; of no values, all cut points are 0.
    pub fn of(values: &[f64]) -> Self {
        Self(TIER_SHARES.map(|share| {
            let place = (values.len() * share).div_ceil(100).max(1) - 1;
            values.get(place).copied().unwrap_or(0.0)
        }))
    }

    pub fn tier(&self, value: f64) -> Tier {
        let place = self.0.iter().position(|cut| value > *cut).unwrap_or(3);
        Tier::ALL[place]
    }
}

/// All customers of a tier together, or of all tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Total {
    pub customers: u64,
    /// Days with purchases that are expected.
    pub purchases: f64,
    /// How many of them are expected to buy again.
    pub alive: f64,
    /// Minor units.
    pub lifetime_value: f64,
}

impl Total {
    fn add(&mut self, prediction: &Prediction) {
        self.customers += 1;
        self.purchases += prediction.purchases;
        self.alive += prediction.alive;
        self.lifetime_value += prediction.lifetime_value.unwrap_or(0.0);
    }
}

/// What a fit came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    pub models: Models,
    pub purchases: bg_nbd::Fitted,
    /// Why values are not predicted, if they are not.
    pub value: Result<gamma_gamma::Fitted, NotFitted>,
    pub customers: u64,
    /// With a second purchase.
    pub repeaters: u64,
    /// `None` where values are not predicted.
    pub cuts: Option<TierCuts>,
    /// Best tier first; without values all customers are of the lowest one.
    pub tiers: [Total; 4],
    pub total: Total,
}

/// Fits both models to the histories of all customers and says what they come to together.
///
/// # Errors
/// What kept the first model from being fitted, or either one from being finished.
pub fn fit(
    mut histories: Vec<History>,
    outlook: Outlook,
    go_on: GoOn<'_>,
) -> Result<Fitted, NotFitted> {
    let groups = bg_nbd::alike(&histories);
    let purchases = BgNbd::fit(&groups, go_on)?;
    drop(groups);
    let value = GammaGamma::fit(&histories, go_on);
    if value == Err(NotFitted::Stopped) {
        return Err(NotFitted::Stopped);
    }
    let models = Models { purchases: purchases.model, value: value.map(|fit| fit.model).ok() };
    // What depends on the number of purchases and the age alone is computed once for each of them.
    histories.sort_unstable_by_key(|one| (one.repeats, one.age));
    let mut predictions = Vec::with_capacity(histories.len());
    let mut known = None;
    for history in &histories {
        let key = (history.repeats, history.age);
        let ahead = match known {
            Some((same, ahead)) if same == key => ahead,
            _ => {
                if !go_on(purchases.evaluations) {
                    return Err(NotFitted::Stopped);
                }
                models.ahead(history.repeats, history.age, outlook)
            }
        };
        known = Some((key, ahead));
        predictions.push(models.with(history, ahead));
    }
    let mut values: Vec<f64> = predictions.iter().filter_map(|one| one.lifetime_value).collect();
    values.sort_unstable_by(f64::total_cmp);
    let cuts = models.value.map(|_| TierCuts::of(&values));
    let (mut tiers, mut total) = ([Total::default(); 4], Total::default());
    for prediction in &predictions {
        total.add(prediction);
        let value = prediction.lifetime_value;
        let tier = cuts.zip(value).map_or(Tier::Low, |(cuts, value)| cuts.tier(value));
        // the variants stand in this order
        tiers[tier as usize].add(prediction);
    }
    let repeaters = histories.iter().filter(|one| one.repeats > 0).count() as u64;
    let customers = histories.len() as u64;
    Ok(Fitted { models, purchases, value, customers, repeaters, cuts, tiers, total })
}
