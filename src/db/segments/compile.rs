//! A condition as SQL over the row `customers AS c`.
//!
//! What a condition means was decided by the checker, and where days begin is computed here, not by the
//! server: SQL compares instants. A comparison with an absent value is NULL at first; under `NOT` it is
//! made false, as the evaluator in memory has it.

use super::functions;
use super::sql::{Sql, Value};
use super::tiers::Tiers;
use crate::domain::analytics::calendar::start_of;
use crate::domain::analytics::rfm::{CutPoints, Score};
use crate::domain::attribute::Part;
use crate::domain::consent::Channel;
use crate::domain::segment::attributes::Field;
use crate::domain::segment::condition::{
    Ask, Condition, Leaf, Numbers, Operand, Test, ValueKind, Words,
};
use crate::domain::segment::syntax::Comparison;
use crate::domain::segment::when::{Now, Point, Remembered, When};
use crate::domain::segment::{Checked, Number, decimals, replacements};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use std::collections::BTreeMap;
use uuid::Uuid;

/// What a condition is evaluated against besides rows.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    pub now: DateTime<Utc>,
    /// `None`: nobody has an RFM group.
    pub rfm: Option<&'a Rfm>,
    /// How the members of the segments that are asked about are found, by name.
    pub segments: &'a BTreeMap<String, Named>,
    /// Predicted tiers of all customers that are looked at; `None`: they were not computed.
    pub tiers: Option<&'a Tiers>,
}

/// How the members of a segment are found that a condition asks about.
#[derive(Debug, Clone)]
pub enum Named {
    /// By its condition.
    Rule(Box<Checked>),
    /// They are kept, under this id of the segment.
    Kept(Uuid),
}

/// What RFM groups are judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct Rfm {
    pub cuts: CutPoints,
    /// Of the orders that are looked at.
    pub currency: String,
    /// Whose days are counted.
    pub zone: Tz,
}

/// Why a condition cannot be asked of the database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotInSql {
    /// Its values are in no row, and who has which was not told.
    #[error("{0} is computed, and was not")]
    Computed(String),
    /// Unknown, or on a cycle.
    #[error("the segment {0:?} is not known, or asks about itself")]
    Segment(String),
}

/// The condition of a definition, as a boolean expression that is true of its members.
///
/// # Errors
/// See [`NotInSql`].
pub fn compile(checked: &Checked, around: Surroundings<'_>) -> Result<Sql, NotInSql> {
    Compiler { around, now: Now::new(around.now, checked.time_zone()), above: Vec::new() }
        .condition(checked.condition(), false)
}

/// The clauses of a definition, from left to right, as boolean expressions that are never NULL.
///
/// # Errors
/// See [`NotInSql`].
pub fn clauses(checked: &Checked, around: Surroundings<'_>) -> Result<Vec<Sql>, NotInSql> {
    let now = Now::new(around.now, checked.time_zone());
    let compiler = Compiler { around, now, above: Vec::new() };
    let mut leaves = Vec::new();
    checked.condition().leaves(&mut |leaf| leaves.push(leaf));
    leaves.into_iter().map(|leaf| compiler.leaf(leaf, true)).collect()
}

/// Where a value is found.
enum Source {
    /// In the customer's own row: an expression.
    Own(&'static str),
    /// As column `v` of a select.
    Select(Sql),
}

struct Compiler<'a> {
    around: Surroundings<'a>,
    now: Now,
    /// Names of the segments whose conditions this one stands in.
    above: Vec<&'a str>,
}

type Compiled<T> = Result<T, NotInSql>;

impl<'a> Compiler<'a> {
    /// `sure`: it must not be NULL, since it stands under `NOT`.
    fn condition(&self, condition: &'a Condition, sure: bool) -> Compiled<Sql> {
        let all = |members: &'a [Condition]| {
            members.iter().map(|member| self.condition(member, sure)).collect::<Compiled<Vec<_>>>()
        };
        Ok(match condition {
            Condition::All(members) => Sql::joined(all(members)?, " AND "),
            Condition::Any(members) => Sql::joined(all(members)?, " OR "),
            Condition::Not(inner) => {
                let mut sql = Sql::fixed("NOT ");
                sql.append(self.condition(inner, true)?);
                sql
            }
            Condition::Leaf(leaf) => self.leaf(leaf, sure)?,
        })
    }

    fn leaf(&self, leaf: &'a Leaf, sure: bool) -> Compiled<Sql> {
        match &leaf.asks {
            Ask::Attribute { operand, test } => self.attribute(operand, test, sure),
            Ask::Matches(matches) => Ok(functions::matches(matches, &self.now)),
            Ask::Remembered { operand, days } => {
                let source = self.source(operand)?;
                Ok(asked(source, sure, |v| self.remembered(operand, days, v)))
            }
            Ask::Segment(name) => self.segment(name, sure),
        }
    }

    /// Who is kept as a member of another segment, or its condition in its own time zone.
    fn segment(&self, name: &'a str, sure: bool) -> Compiled<Sql> {
        let known = self.around.segments.get(name).filter(|_| !self.above.contains(&name));
        let checked = match known {
            Some(Named::Rule(checked)) => checked,
            Some(Named::Kept(id)) => {
                let mut sql = Sql::fixed(
                    "EXISTS (SELECT FROM segment_members AS m WHERE m.customer_id = c.id AND m.segment_id = ",
                );
                sql.bind(Value::Id(*id)).push(")");
                return Ok(sql);
            }
            None => return Err(NotInSql::Segment(name.to_owned())),
        };
        let mut above = self.above.clone();
        above.push(name);
        let now = Now::new(self.around.now, checked.time_zone());
        Compiler { around: self.around, now, above }.condition(checked.condition(), sure)
    }

    fn attribute(&self, operand: &Operand, test: &Test, sure: bool) -> Compiled<Sql> {
        if let ValueKind::List(_) = operand.kind {
            return Ok(list(&operand.field, test));
        }
        if operand.field == Field::SpendTier {
            return self.tier(operand, test);
        }
        if let (Field::RfmGroup, Test::Text(words)) = (&operand.field, test) {
            let codes = codes_of(words);
            return Ok(asked(self.score(), sure, |v| one_of(v, Value::Integers(codes), false)));
        }
        let source = self.source(operand)?;
        Ok(match test {
            Test::Null { negated } => null(source, *negated),
            Test::Moment(when) => asked(source, sure, |v| moment(when, &self.now, v)),
            Test::Day(when) => asked(source, sure, |v| day(when, &self.now, v)),
            Test::Number(test) => {
                let units = match &operand.kind {
                    ValueKind::Money { currency } => decimals(currency),
                    _ => 0,
                };
                asked(source, sure, |v| numbers(test, units, v))
            }
            Test::Text(words) | Test::List(words) => {
                let any_of = Value::Texts(words.any_of.clone());
                asked(source, sure, |v| one_of(v, any_of, words.negated))
            }
            Test::Flag(is) => asked(source, sure, |v| {
                let mut sql = Sql::fixed(v);
                sql.push(" = ").bind(Value::Flag(*is));
                sql
            }),
        })
    }

    /// By who has which tier: never NULL.
    fn tier(&self, operand: &Operand, test: &Test) -> Compiled<Sql> {
        let computed = || NotInSql::Computed(operand.name.clone());
        let tiers = self.around.tiers.ok_or_else(computed)?;
        let (ids, negated) = match test {
            Test::Text(words) => (tiers.of_those(|tier| words.holds(tier.as_str())), false),
            Test::Null { negated } => (tiers.of_those(|_| true), !negated),
            _ => return Err(computed()),
        };
        Ok(one_of("c.id", Value::Ids(ids), negated))
    }

    fn remembered(&self, operand: &Operand, days: &Remembered, v: &'static str) -> Sql {
        let bounds = days.bounds(&self.now);
        let bounds = match operand.kind {
            ValueKind::Day => Value::Days(bounds),
            _ => Value::Instants(bounds.iter().map(|day| start_of(*day, self.now.zone)).collect()),
        };
        // Spans begin and end in turn: who has passed an odd number of bounds is within one.
        let mut sql = Sql::fixed("width_bucket(");
        sql.push(v).push(", ").bind(bounds).push(") % 2 = 1");
        sql
    }

    /// Recency, frequency and value as one number; see [`code`].
    fn score(&self) -> Source {
        let Some(Rfm { cuts, currency, zone }) = self.around.rfm else {
            return Source::Select(Sql::fixed("SELECT NULL::integer AS v WHERE false"));
        };
        let bounds = cuts.recency_bounds(self.now.instant, *zone).to_vec();
        let mut sql = Sql::fixed("SELECT 25 * width_bucket(s.last_order_at, ");
        sql.bind(Value::Instants(bounds))
            .push(") + 5 * width_bucket((s.placed + s.completed + s.refunded)::bigint - 1, ")
            .bind(Value::BigInts(cuts.orders.to_vec()))
            .push(") + width_bucket(s.spent_amount - 1, ")
            .bind(Value::BigInts(cuts.spent.to_vec()))
            .push(") AS v FROM order_statistics AS s WHERE s.customer_id = c.id AND s.currency = ")
            .bind(Value::Text(currency.clone()))
            .push(" AND s.first_order_at IS NOT NULL");
        Source::Select(sql)
    }

    fn source(&self, operand: &Operand) -> Compiled<Source> {
        use Source::{Own, Select};
        let select = |text: &'static str| Ok(Select(Sql::fixed(text)));
        let with = |before: &'static str, value: &str, after: &'static str| {
            let mut sql = Sql::fixed(before);
            sql.bind(Value::Text(value.to_owned())).push(after);
            Ok(Select(sql))
        };
        match &operand.field {
            Field::AddedAt => Ok(Own("c.created_at")),
            Field::LastSignInAt => Ok(Own("c.last_sign_in_at")),
            Field::EmailVerifiedAt => Ok(Own("c.email_verified_at")),
            Field::PhoneVerifiedAt => Ok(Own("c.phone_verified_at")),
            Field::Status => Ok(Own("c.status")),
            Field::CustomerType => Ok(Own("c.customer_type")),
            Field::Group => Ok(Own("c.group_code")),
            Field::EmailDomain => Ok(Own("substring(c.email_canonical FROM '[^@]*$')")),
            Field::EmailVerified => Ok(Own("(c.email_verified_at IS NOT NULL)")),
            Field::PhoneVerified => Ok(Own("(c.phone_verified_at IS NOT NULL)")),
            Field::AcceptsMarketing => Ok(Own("c.accepts_marketing")),
            Field::MfaEnabled => Ok(Own(
                "(EXISTS (SELECT FROM customer_totp AS t WHERE t.customer_id = c.id AND t.confirmed_at IS NOT NULL) \
                 OR EXISTS (SELECT FROM passkeys AS t WHERE t.customer_id = c.id AND t.second_factor))",
            )),
            Field::BirthDate => select(
                "SELECT p.date_of_birth AS v FROM customer_profiles AS p WHERE p.customer_id = c.id",
            ),
            Field::Language => select(
                "SELECT split_part(p.locale, '-', 1) AS v FROM customer_preferences AS p WHERE p.customer_id = c.id",
            ),
            Field::Locale => select(
                "SELECT p.locale AS v FROM customer_preferences AS p WHERE p.customer_id = c.id",
            ),
            Field::TimeZone => select(
                "SELECT p.timezone AS v FROM customer_preferences AS p WHERE p.customer_id = c.id",
            ),
            Field::Currency => select(
                "SELECT p.currency AS v FROM customer_preferences AS p WHERE p.customer_id = c.id",
            ),
            Field::Contact(channel) => select(match channel {
                Channel::Email => {
                    "SELECT p.channel_email AS v FROM customer_preferences AS p WHERE p.customer_id = c.id"
                }
                Channel::Sms => {
                    "SELECT p.channel_sms AS v FROM customer_preferences AS p WHERE p.customer_id = c.id"
                }
                Channel::Push => {
                    "SELECT p.channel_push AS v FROM customer_preferences AS p WHERE p.customer_id = c.id"
                }
                Channel::All => "SELECT false AS v",
            }),
            Field::Subscription(channel) => with(
                "SELECT coalesce((SELECT CASE WHEN k.granted THEN 'subscribed' ELSE 'unsubscribed' END FROM consents AS k \
                 WHERE k.customer_id = c.id AND k.purpose = 'marketing' AND k.channel = ",
                channel.as_str(),
                "), 'not_subscribed') AS v",
            ),
            Field::Consent { purpose, channel } => Ok(Select(consent(purpose, *channel))),
            Field::NumberOfOrders => select(
                "SELECT coalesce(sum(s.placed + s.completed + s.refunded), 0) AS v FROM order_statistics AS s \
                 WHERE s.customer_id = c.id",
            ),
            Field::FirstOrderAt => select(
                "SELECT min(s.first_order_at) AS v FROM order_statistics AS s WHERE s.customer_id = c.id",
            ),
            Field::LastOrderAt => select(
                "SELECT max(s.last_order_at) AS v FROM order_statistics AS s WHERE s.customer_id = c.id",
            ),
            Field::Spent(currency) => with(
                "SELECT coalesce((SELECT s.spent_amount FROM order_statistics AS s WHERE s.customer_id = c.id AND s.currency = ",
                currency,
                "), 0) AS v",
            ),
            Field::Average(currency) => with(
                "SELECT (2 * s.spent_amount + n) / (2 * n) AS v FROM order_statistics AS s, \
                 LATERAL (SELECT nullif(s.placed + s.completed + s.refunded, 0)::bigint AS n) AS o \
                 WHERE s.customer_id = c.id AND s.currency = ",
                currency,
                "",
            ),
            Field::NumberOfAddresses => {
                select("SELECT count(*) AS v FROM addresses AS a WHERE a.customer_id = c.id")
            }
            Field::WishlistItems => select(
                "SELECT coalesce(sum(w.item_count), 0) AS v FROM wishlists AS w WHERE w.customer_id = c.id",
            ),
            Field::RfmGroup => Ok(self.score()),
            Field::Custom { part, key } => Ok(Select(custom(*part, key, &operand.kind))),
            // see `tier`
            Field::SpendTier => Err(NotInSql::Computed(operand.name.clone())),
            // lists; see `list`
            Field::Tags
            | Field::Cities
            | Field::Regions
            | Field::Countries
            | Field::PostalCodes
            | Field::Topics => Ok(Select(members_of(&operand.field))),
        }
    }
}

/// What `test` asks of a value, wherever it is. A select that yields no row yields no value.
fn asked(source: Source, sure: bool, test: impl FnOnce(&'static str) -> Sql) -> Sql {
    match source {
        Source::Own(column) => {
            let mut sql = Sql::fixed(if sure { "coalesce(" } else { "(" });
            sql.append(test(column)).push(if sure { ", false)" } else { ")" });
            sql
        }
        Source::Select(select) => {
            let mut sql = Sql::fixed("EXISTS (SELECT FROM (");
            sql.append(select).push(") AS x WHERE ").append(test("x.v")).push(")");
            sql
        }
    }
}

fn null(source: Source, negated: bool) -> Sql {
    match source {
        Source::Own(column) => {
            let mut sql = Sql::fixed("(");
            sql.push(column).push(if negated { " IS NOT NULL)" } else { " IS NULL)" });
            sql
        }
        Source::Select(select) => {
            let mut sql = Sql::fixed(if negated { "" } else { "NOT " });
            sql.push("EXISTS (SELECT FROM (").append(select).push(") AS x WHERE x.v IS NOT NULL)");
            sql
        }
    }
}

// --- tests of a value -------------------------------------------------------------------------

pub(super) fn moment(when: &When, now: &Now, v: &'static str) -> Sql {
    ranges(when, v, |point| Some(Value::Instant(point.instant(now))))
}

fn day(when: &When, now: &Now, v: &'static str) -> Sql {
    ranges(when, v, |point| point.day(now).map(Value::Day))
}

fn ranges(when: &When, v: &'static str, value: impl Fn(Point) -> Option<Value>) -> Sql {
    let mut sql = Sql::fixed(if when.negated { "NOT " } else { "" });
    let ranges = when.ranges.iter().map(|range| {
        let ends = [(" >= ", range.from), (" < ", range.to)];
        let ends = ends.into_iter().filter_map(|(sign, end)| {
            let mut sql = Sql::fixed(v);
            sql.push(sign).bind(value(end?)?);
            Some(sql)
        });
        Sql::joined(ends, " AND ")
    });
    sql.append(Sql::joined(ranges, " OR "));
    sql
}

/// A number as PostgreSQL reads it, exactly; `units`: in the smallest units of a currency.
fn number(number: Number, units: u32) -> String {
    number.in_units(units).to_string()
}

pub(super) fn numbers(test: &Numbers, units: u32, v: &'static str) -> Sql {
    let numeric = |sql: &mut Sql, of: Number| {
        sql.push("CAST(").bind(Value::Text(number(of, units))).push(" AS numeric)");
    };
    let mut sql = Sql::fixed(v);
    match test {
        Numbers::Compare { how, with } => {
            sql.push(match how {
                Comparison::Equal => " = ",
                Comparison::Unequal => " <> ",
                Comparison::Greater => " > ",
                Comparison::AtLeast => " >= ",
                Comparison::Less => " < ",
                Comparison::AtMost => " <= ",
            });
            numeric(&mut sql, *with);
        }
        Numbers::Between { negated, from, to } => {
            sql.push(if *negated { " NOT BETWEEN " } else { " BETWEEN " });
            numeric(&mut sql, *from);
            sql.push(" AND ");
            numeric(&mut sql, *to);
        }
        Numbers::OneOf { negated, numbers } => {
            let texts = numbers.iter().map(|one| number(*one, units)).collect();
            sql.push(if *negated { " <> ALL (CAST(" } else { " = ANY (CAST(" });
            sql.bind(Value::Texts(texts)).push(" AS numeric[]))");
        }
    }
    sql
}

pub(super) fn one_of(v: &'static str, any_of: Value, negated: bool) -> Sql {
    let mut sql = Sql::fixed(v);
    sql.push(if negated { " <> ALL (" } else { " = ANY (" }).bind(any_of).push(")");
    sql
}

/// The place of a score among all of them, from how many cut points each part of it passes.
fn code(recency: i32, frequency: i32, monetary: i32) -> i32 {
    25 * recency + 5 * frequency + monetary
}

/// All scores whose group is asked for.
fn codes_of(words: &Words) -> Vec<i32> {
    let scores = (0..5).flat_map(|r| (0..5).flat_map(move |f| (0..5).map(move |m| (r, f, m))));
    let wanted =
        |(r, f, m): &(i32, i32, i32)| words.holds(Score::from_passed(*r, *f, *m).group().as_str());
    scores.filter(wanted).map(|(r, f, m)| code(r, f, m)).collect()
}

// --- where values are -------------------------------------------------------------------------

fn consent(purpose: &str, channel: Option<Channel>) -> Sql {
    let mut sql = Sql::fixed(
        "SELECT EXISTS (SELECT FROM consents AS k WHERE k.customer_id = c.id AND k.granted AND k.purpose = ",
    );
    sql.bind(Value::Text(purpose.to_owned()));
    if let Some(channel) = channel {
        sql.push(" AND k.channel = ").bind(Value::Text(channel.as_str().to_owned()));
    }
    sql.push(") AS v");
    sql
}

/// Table and alias of a part.
fn part_of(part: Part) -> &'static str {
    match part {
        Part::Profile => " FROM customer_profiles AS p WHERE p.customer_id = c.id",
        Part::Preferences => " FROM customer_preferences AS p WHERE p.customer_id = c.id",
    }
}

fn custom(part: Part, key: &str, kind: &ValueKind) -> Sql {
    let key = || Value::Text(key.to_owned());
    let mut sql = Sql::default();
    match kind {
        ValueKind::Flag => sql.push("SELECT (p.custom -> ").bind(key()).push(")::boolean AS v"),
        ValueKind::Moment => {
            sql.push("SELECT (p.custom ->> ").bind(key()).push(")::timestamptz AS v")
        }
        ValueKind::Day => sql.push("SELECT (p.custom ->> ").bind(key()).push(")::date AS v"),
        ValueKind::Count | ValueKind::Money { .. } | ValueKind::Number { .. } => {
            sql.push("SELECT (p.custom ->> ").bind(key()).push(")::numeric AS v")
        }
        ValueKind::List(_) => sql
            .push("SELECT jsonb_array_elements_text(coalesce(p.custom -> ")
            .bind(key())
            .push(", '[]')) AS v"),
        ValueKind::Text | ValueKind::Choice(_) => {
            sql.push("SELECT p.custom ->> ").bind(key()).push(" AS v")
        }
    };
    sql.push(part_of(part));
    sql
}

/// The members of a list, as column `v`.
fn members_of(field: &Field) -> Sql {
    if let Field::Custom { part, key } = field {
        return custom(*part, key, &ValueKind::List(Vec::new()));
    }
    Sql::fixed(match field {
        Field::Topics => {
            "SELECT unnest(p.topics) AS v FROM customer_preferences AS p WHERE p.customer_id = c.id"
        }
        Field::Cities => "SELECT a.city AS v FROM addresses AS a WHERE a.customer_id = c.id",
        Field::Countries => "SELECT a.country AS v FROM addresses AS a WHERE a.customer_id = c.id",
        Field::PostalCodes => {
            "SELECT a.postal_code AS v FROM addresses AS a WHERE a.customer_id = c.id"
        }
        Field::Regions => {
            "SELECT unnest(ARRAY[a.region, a.region_code]) AS v FROM addresses AS a WHERE a.customer_id = c.id"
        }
        // tags: the only list in the customer's own row
        _ => "SELECT unnest(c.tags) AS v",
    })
}

fn list(field: &Field, test: &Test) -> Sql {
    let (any_of, negated) = match test {
        Test::List(words) => (Some(&words.any_of), words.negated),
        Test::Null { negated } => (None, !negated),
        _ => (None, false),
    };
    let mut sql = Sql::fixed(if negated { "NOT " } else { "" });
    sql.push("EXISTS (SELECT FROM (").append(members_of(field)).push(") AS x WHERE ");
    match any_of {
        // the database's locale has no say: it is told what to replace
        Some(any_of) => {
            let (from, to) = replacements(any_of);
            sql.push("translate(x.v, ").bind(Value::Text(from)).push(", ").bind(Value::Text(to));
            sql.push(") = ANY (").bind(Value::Texts(any_of.clone())).push("))");
        }
        None => {
            sql.push("x.v IS NOT NULL)");
        }
    }
    sql
}
