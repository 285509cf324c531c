//! Random definitions and customers: with everything that the language knows, and with values that lie
//! where answers turn, such as midnights, days of 23 and 25 hours, leap days and ends of months.
//!
//! Whoever includes this file has `domain` in scope, so that it serves tests inside and outside the
//! crate.

use super::domain::analytics::calendar::{day_of, start_of};
use super::domain::analytics::model::Tier;
use super::domain::analytics::rfm::{Bought, CutPoints};
use super::domain::attribute::{Kind, Part};
use super::domain::consent::Channel;
use super::domain::order::OrderStatus;
use super::domain::segment::{
    AddressFact, CustomAttribute, Facts, OrderFact, OrderSums, RfmFact, Schema,
};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde_json::{Value, json};

/// Numbers that follow from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to less than `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() % sides as u64).unwrap()
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }

    /// Once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.roll(n) == 0
    }
}

pub const ZONES: [Tz; 10] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Asia__Ho_Chi_Minh,
    Tz::Australia__Lord_Howe,
    Tz::America__Havana,
    Tz::Asia__Kathmandu,
    Tz::Africa__Cairo,
    Tz::America__Sao_Paulo,
    Tz::Pacific__Apia,
];

/// Days about which something is special: changes of clocks, leap days, ends of months and years.
const DAYS: [&str; 14] = [
    "2026-03-29",
    "2026-10-25",
    "2026-03-08",
    "2026-11-01",
    "2024-02-29",
    "2025-02-28",
    "2028-02-29",
    "2026-12-31",
    "2027-01-01",
    "2026-01-31",
    "2018-11-04",
    "2026-04-24",
    "2026-04-05",
    "2026-06-15",
];

const TEXTS: [&str; 10] =
    ["vip", "VIP", "o'neill", "Đà Nẵng", "ĐÀ NẴNG", "a\\b", "100%_", "", "İstanbul", "ΟΔΟΣ'; --"];
const SKUS: [&str; 4] = ["tee-1", "tee-2", "mug", "x"];

/// A shop with custom attributes of every type.
pub fn schema(zone: Tz) -> Schema {
    let mut schema = Schema::new(zone, "USD");
    let choices = vec!["Red".to_owned(), "Gre'en".to_owned(), "blue".to_owned()];
    for (key, kind, part) in [
        ("nick", Kind::Text, Part::Profile),
        ("points", Kind::Integer, Part::Profile),
        ("shoe_size", Kind::Decimal, Part::Preferences),
        ("newsletter", Kind::Boolean, Part::Preferences),
        ("wedding", Kind::Date, Part::Profile),
        ("seen", Kind::Instant, Part::Profile),
        ("colour", Kind::Choice, Part::Preferences),
        ("hobbies", Kind::List, Part::Profile),
    ] {
        let choices = if kind == Kind::Choice { choices.clone() } else { Vec::new() };
        schema.custom.insert(key.to_owned(), CustomAttribute { part, kind, choices });
    }
    let channels = vec![Channel::Email, Channel::Sms, Channel::Push];
    schema.purposes.insert("marketing".to_owned(), channels);
    schema.purposes.insert("analytics".to_owned(), Vec::new());
    schema.segments = Some(["all", "it's"].map(str::to_owned).into());
    schema.cost_max = u32::MAX;
    schema
}

/// Now: about a day on which something is special.
pub fn now(dice: &mut Dice, zone: Tz) -> DateTime<Utc> {
    let day: NaiveDate = dice.pick(&DAYS).parse().unwrap();
    near(dice, start_of(day, zone))
}

/// On the instant, or a little off.
fn near(dice: &mut Dice, instant: DateTime<Utc>) -> DateTime<Utc> {
    let off = match dice.roll(6) {
        0 => TimeDelta::zero(),
        1 => TimeDelta::microseconds(1),
        2 => TimeDelta::microseconds(-1),
        3 => TimeDelta::minutes(dice.roll(180) as i64 - 90),
        4 => TimeDelta::hours(dice.roll(50) as i64 - 25),
        _ => TimeDelta::seconds(dice.roll(86_400) as i64),
    };
    instant + off
}

/// An instant about now: on the start of a day, so many hours away, or long ago.
fn moment(dice: &mut Dice, now: DateTime<Utc>, zone: Tz) -> DateTime<Utc> {
    let back = Days::new([0, 0, 1, 2, 7, 8, 28, 30, 31, 365, 366, 730][dice.roll(12)]);
    let day = match dice.once_in(8) {
        true => day_of(now, zone) + Days::new(1),
        false => day_of(now, zone) - back,
    };
    match dice.roll(3) {
        0 => now - TimeDelta::hours([0, 1, 24, 25, 48][dice.roll(5)]),
        _ => near(dice, start_of(day, zone)),
    }
}

// --- definitions ------------------------------------------------------------------------------

/// The text of a definition that is in order.
pub fn definition(dice: &mut Dice) -> String {
    condition(dice, 3)
}

fn condition(dice: &mut Dice, depth: usize) -> String {
    if depth == 0 || dice.once_in(3) {
        return clause(dice);
    }
    let members: Vec<String> = (0..2 + dice.roll(2)).map(|_| condition(dice, depth - 1)).collect();
    let joined = members.join(dice.pick(&[" AND ", " OR ", "\n  and ", " Or "]));
    match dice.roll(3) {
        0 => joined,
        1 => format!("({joined})"),
        _ => format!("NOT ({joined})"),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn listed(dice: &mut Dice, mut value: impl FnMut(&mut Dice) -> String) -> String {
    let values: Vec<String> = (0..1 + dice.roll(3)).map(|_| value(dice)).collect();
    format!("({})", values.join(", "))
}

fn sign<'a>(dice: &mut Dice) -> &'a str {
    dice.pick(&["=", "!=", ">", ">=", "<", "<="])
}

fn not<'a>(dice: &mut Dice) -> &'a str {
    if dice.once_in(3) { "NOT " } else { "" }
}

fn day(dice: &mut Dice) -> String {
    match dice.roll(6) {
        0 => "today".to_owned(),
        1 => "Yesterday".to_owned(),
        2 => dice.pick(&DAYS).to_owned(),
        3 => format!("{}{}m", dice.pick(&["-", "-", "+"]), dice.roll(14)),
        4 => format!("{}{}", dice.pick(&["-1", "-2", "+1"]), dice.pick(&["w", "y", "m", "D"])),
        _ => format!("{}{}d", dice.pick(&["-", "-", "+"]), [0, 1, 2, 7, 28, 30, 365][dice.roll(7)]),
    }
}

fn date(dice: &mut Dice) -> String {
    match dice.roll(6) {
        0 => format!("{}T0{}:30:00", dice.pick(&DAYS), dice.roll(4)),
        _ => day(dice),
    }
}

fn of_date(dice: &mut Dice, whole_days: bool) -> String {
    let one = |dice: &mut Dice| if whole_days { day(dice) } else { date(dice) };
    match dice.roll(5) {
        0 => format!("{}BETWEEN {} AND {}", not(dice), one(dice), one(dice)),
        1 => format!("{}IN {}", not(dice), listed(dice, one)),
        2 if !whole_days => {
            format!("{} -{}h", dice.pick(&[">", ">=", "<", "<="]), [0, 1, 24, 48][dice.roll(4)])
        }
        _ => format!("{} {}", sign(dice), one(dice)),
    }
}

fn of_number(dice: &mut Dice, values: &[&'static str]) -> String {
    let one = |dice: &mut Dice| dice.pick(values).to_owned();
    match dice.roll(5) {
        0 => format!("{}BETWEEN {} AND {}", not(dice), one(dice), one(dice)),
        1 => format!("{}IN {}", not(dice), listed(dice, one)),
        _ => format!("{} {}", sign(dice), one(dice)),
    }
}

fn of_text(dice: &mut Dice, values: &[&'static str]) -> String {
    let one = |dice: &mut Dice| quoted(dice.pick(values));
    match dice.roll(3) {
        0 => format!("{}IN {}", not(dice), listed(dice, one)),
        _ => format!("{} {}", dice.pick(&["=", "!="]), one(dice)),
    }
}

fn of_list(dice: &mut Dice, values: &[&'static str]) -> String {
    let one = |dice: &mut Dice| quoted(dice.pick(values));
    match dice.roll(4) {
        0 => format!("{}IN {}", not(dice), listed(dice, one)),
        _ => format!("{}CONTAINS {}", not(dice), one(dice)),
    }
}

const COUNTS: [&str; 6] = ["0", "1", "2", "3", "2.5", "-1"];
const AMOUNTS: [&str; 6] = ["0", "10", "99.50", "99.505", "300", "1000"];

fn clause(dice: &mut Dice) -> String {
    let turned = if dice.once_in(6) { "NOT " } else { "" };
    let clause = match dice.roll(12) {
        0 => {
            let name = dice.pick(&[
                "date_of_birth",
                "customer_added_date",
                "custom.wedding",
                "last_order_date",
            ]);
            match dice.once_in(3) {
                true => format!("anniversary({name}) = {}", day(dice)),
                false => format!("anniversary({name}) BETWEEN {} AND {}", day(dice), day(dice)),
            }
        }
        1 => format!("In Segment {}", dice.pick(&["'all'", "'it\\'s'"])),
        2..=4 => function(dice),
        _ => attribute(dice),
    };
    format!("{turned}{clause}")
}

fn attribute(dice: &mut Dice) -> String {
    let name = ATTRIBUTES[dice.roll(ATTRIBUTES.len())];
    if dice.once_in(8) {
        return format!("{name} IS {}NULL", not(dice));
    }
    let test = match name {
        "date_of_birth" | "custom.wedding" => of_date(dice, true),
        _ if name.ends_with("_date") || name == "custom.seen" => of_date(dice, false),
        "number_of_orders" | "number_of_addresses" | "wishlist_items" | "custom.points" => {
            of_number(dice, &COUNTS)
        }
        "custom.shoe_size" => of_number(dice, &["41.5", "42", "0.1", "-3", "0.000000001"]),
        _ if name.starts_with("amount") || name.starts_with("average") => of_number(dice, &AMOUNTS),
        "customer_account_status" => of_text(dice, &["active", "PENDING", "suspended"]),
        "customer_type" => of_text(dice, &["individual", "business"]),
        "custom.colour" => of_text(dice, &["red", "gre'en", "BLUE"]),
        "predicted_spend_tier" => of_text(dice, &["top", "HIGH", "middle", "low"]),
        "rfm_group" => of_text(dice, &["champions", "LOYAL", "new", "lost", "promising"]),
        _ if name.ends_with("subscription_status") => {
            of_text(dice, &["subscribed", "unsubscribed", "not_subscribed"])
        }
        "group" => of_text(dice, &["retail", "vip"]),
        "customer_language" => of_text(dice, &["en", "vi", "de"]),
        "customer_locale" => of_text(dice, &["en", "vi-VN", "de-AT"]),
        "customer_currency" => of_text(dice, &["USD", "VND"]),
        "customer_time_zone" => of_text(dice, &["UTC", "Asia/Ho_Chi_Minh"]),
        "customer_email_domain" => of_text(dice, &["example.com", "o'neill.example"]),
        "custom.nick" => of_text(dice, &TEXTS),
        "customer_countries" => of_list(dice, &["VN", "de", "US"]),
        "customer_regions" => of_list(dice, &["US-NY", "us-ny", "ĐÀ NẴNG", "vip"]),
        _ if name.starts_with("customer_") || name == "topics" || name == "custom.hobbies" => {
            of_list(dice, &TEXTS)
        }
        _ => format!("{} {}", dice.pick(&["=", "!="]), dice.pick(&["true", "FALSE"])),
    };
    format!("{name} {test}")
}

const ATTRIBUTES: [&str; 51] = [
    "customer_added_date",
    "customer_account_status",
    "customer_type",
    "group",
    "customer_tags",
    "customer_email_domain",
    "email_verified",
    "email_verified_date",
    "phone_verified",
    "phone_verified_date",
    "mfa_enabled",
    "last_sign_in_date",
    "date_of_birth",
    "customer_language",
    "customer_locale",
    "customer_time_zone",
    "customer_currency",
    "topics",
    "accepts_marketing",
    "accepts_email",
    "accepts_sms",
    "accepts_push",
    "email_subscription_status",
    "sms_subscription_status",
    "push_subscription_status",
    "consent.marketing",
    "consent.marketing.sms",
    "consent.analytics",
    "number_of_addresses",
    "customer_cities",
    "customer_regions",
    "customer_postal_codes",
    "customer_countries",
    "wishlist_items",
    "number_of_orders",
    "amount_spent",
    "amount_spent.VND",
    "average_order_value",
    "average_order_value.VND",
    "first_order_date",
    "last_order_date",
    "rfm_group",
    "predicted_spend_tier",
    "custom.nick",
    "custom.points",
    "custom.shoe_size",
    "custom.newsletter",
    "custom.wedding",
    "custom.seen",
    "custom.colour",
    "custom.hobbies",
];

fn function(dice: &mut Dice) -> String {
    let name = dice.pick(&["orders_placed", "products_purchased", "signed_in"]);
    let mut params = Vec::new();
    for _ in 0..dice.roll(4) {
        params.push(match (dice.roll(6), name) {
            (0, "orders_placed") => format!("amount {}", of_number(dice, &AMOUNTS)),
            (1, "orders_placed") => format!("sum_amount {}", of_number(dice, &AMOUNTS)),
            (2, "orders_placed") => {
                format!("status {}", of_text(dice, &["placed", "CANCELLED", "refunded"]))
            }
            (3, "orders_placed" | "products_purchased") => format!("sku {}", of_text(dice, &SKUS)),
            (0, "products_purchased") => format!("quantity {}", of_number(dice, &COUNTS)),
            (1, "products_purchased") => format!("sum_quantity {}", of_number(dice, &COUNTS)),
            (4, _) => format!("count {}", of_number(dice, &COUNTS)),
            _ => format!("date {}", of_date(dice, false)),
        });
    }
    if name == "orders_placed" && dice.once_in(4) {
        params.push("currency = 'VND'".to_owned());
    }
    format!("{name} {}MATCHES ({})", not(dice), params.join(", "))
}

// --- customers --------------------------------------------------------------------------------

/// A customer, with values missing here and there.
pub fn facts(dice: &mut Dice, now: DateTime<Utc>, zone: Tz) -> Facts {
    let mut facts = Facts::bare(moment(dice, now, zone));
    let maybe = |dice: &mut Dice| {
        let value = moment(dice, now, zone);
        (!dice.once_in(4)).then_some(value)
    };
    facts.status = dice.pick(&["pending", "active", "suspended"]).to_owned();
    facts.customer_type = dice.pick(&["individual", "business"]).to_owned();
    facts.group = dice.pick(&["retail", "vip"]).to_owned();
    facts.email_domain = dice.pick(&["example.com", "other.example"]).to_owned();
    facts.email_verified_at = maybe(dice);
    facts.phone_verified_at = maybe(dice);
    facts.last_sign_in_at = maybe(dice);
    facts.accepts_marketing = dice.once_in(2);
    facts.mfa_enabled = dice.once_in(3);
    facts.birth_date = maybe(dice).map(|moment| {
        let day = day_of(moment, zone);
        let years = 12 * [1, 4, 20, 31][dice.roll(4)];
        if dice.once_in(4) {
            NaiveDate::from_ymd_opt(1996, 2, 29).unwrap()
        } else {
            day - chrono::Months::new(years)
        }
    });
    facts.locale = dice.pick(&["en", "vi-VN", "de-AT"]).to_owned();
    facts.time_zone = dice.pick(&["UTC", "Asia/Ho_Chi_Minh"]).to_owned();
    facts.currency = dice.pick(&["USD", "VND"]).to_owned();
    for channel in [Channel::Email, Channel::Sms, Channel::Push] {
        if dice.once_in(2) {
            facts.contact.insert(channel);
        }
        if dice.once_in(2) {
            facts.consents.insert(("marketing".to_owned(), channel), dice.once_in(2));
        }
    }
    if dice.once_in(2) {
        facts.consents.insert(("analytics".to_owned(), Channel::All), dice.once_in(2));
    }
    facts.tags = texts(dice);
    facts.topics = texts(dice);
    for _ in 0..dice.roll(3) {
        let country = dice.pick(&["VN", "DE", "US"]);
        let region = dice.once_in(2).then(|| some_text(dice));
        let known = region.is_some() && country == "US" && dice.once_in(2);
        facts.addresses.push(AddressFact {
            city: some_text(dice),
            region,
            region_code: known.then(|| "US-NY".to_owned()),
            postal_code: dice.once_in(2).then(|| some_text(dice)),
            country: country.to_owned(),
        });
    }
    facts.wishlist_items = dice.roll(4) as i64;
    custom(dice, &mut facts, now, zone);
    orders(dice, &mut facts, now, zone);
    for _ in 0..dice.roll(4) {
        facts.sign_ins.push(moment(dice, now, zone));
    }
    facts.spend_tier = dice.once_in(2).then_some(Tier::High);
    for segment in ["all", "it's"] {
        if dice.once_in(2) {
            facts.segments.insert(segment.to_owned());
        }
    }
    facts
}

fn some_text(dice: &mut Dice) -> String {
    let text = dice.pick(&TEXTS);
    if text.is_empty() { "none".to_owned() } else { text.to_owned() }
}

fn texts(dice: &mut Dice) -> Vec<String> {
    let mut texts: Vec<_> = (0..dice.roll(3)).map(|_| some_text(dice)).collect();
    texts.sort();
    texts.dedup();
    texts
}

fn custom(dice: &mut Dice, facts: &mut Facts, now: DateTime<Utc>, zone: Tz) {
    let seen = moment(dice, now, zone);
    let values: [(&str, Value); 8] = [
        ("nick", json!(some_text(dice))),
        ("points", json!(dice.roll(4))),
        (
            "shoe_size",
            [json!(41.5), json!(42), json!(0.1), json!(1e-9), json!(-3)][dice.roll(5)].clone(),
        ),
        ("newsletter", json!(dice.once_in(2))),
        ("wedding", json!(day_of(moment(dice, now, zone), zone).to_string())),
        ("seen", json!(seen.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))),
        ("colour", json!(dice.pick(&["Red", "Gre'en", "blue"]))),
        ("hobbies", json!(texts(dice))),
    ];
    for (key, value) in values {
        if !dice.once_in(3) {
            facts.custom.insert(key.to_owned(), value);
        }
    }
}

fn orders(dice: &mut Dice, facts: &mut Facts, now: DateTime<Utc>, zone: Tz) {
    const STATUSES: [OrderStatus; 4] = [
        OrderStatus::Placed,
        OrderStatus::Completed,
        OrderStatus::Cancelled,
        OrderStatus::Refunded,
    ];
    for _ in 0..dice.roll(5) {
        let mut items: Vec<(String, i64)> =
            SKUS.iter().filter(|_| dice.once_in(3)).map(|sku| ((*sku).to_owned(), 0)).collect();
        items.iter_mut().for_each(|(_, many)| *many = 1 + dice.roll(3) as i64);
        facts.orders.push(OrderFact {
            placed_at: moment(dice, now, zone),
            status: STATUSES[dice.roll(4)],
            currency: dice.pick(&["USD", "USD", "VND"]).to_owned(),
            amount: [0, 1_000, 9_950, 30_000][dice.roll(4)],
            items,
        });
    }
    for order in facts.orders.iter().filter(|order| order.status != OrderStatus::Cancelled) {
        let at = order.placed_at;
        let none = OrderSums { orders: 0, spent: 0, span: None };
        let sums = facts.statistics.entry(order.currency.clone()).or_insert(none);
        sums.orders += 1;
        sums.spent += order.amount;
        let (first, last) = sums.span.unwrap_or((at, at));
        sums.span = Some((first.min(at), last.max(at)));
    }
    facts.rfm = facts.statistics.get("USD").map(|sums| RfmFact {
        bought: Bought {
            orders: sums.orders,
            spent: sums.spent,
            last_order_at: sums.span.unwrap().1,
        },
        cuts: cuts(),
        zone: Tz::Europe__Berlin,
    });
}

/// The cut points that every customer is judged by.
pub fn cuts() -> CutPoints {
    CutPoints {
        recency_days: [1, 7, 30, 300],
        orders: [1, 1, 2, 3],
        spent: [1_000, 9_950, 10_000, 40_000],
    }
}
