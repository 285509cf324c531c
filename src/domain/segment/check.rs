//! From what is written to what can be evaluated: names are looked up, and values must be of the type
//! of what they are compared with. All mistakes are found in one go.
//!
//! Values that may be written in several ways, such as the case of a choice, get their one form in the
//! syntax tree too, so that the canonical form shows it.

use super::attributes::{Function, Mark, Param};
use super::condition::{
    Aggregate, Ask, Condition, Filter, Leaf, Matches, Numbers, Operand, Test, ValueKind, Words,
};
use super::fold::folded;
use super::mistake::{Mistake, Span, nearest};
use super::number::Number;
use super::resolve;
use super::schema::Schema;
use super::syntax::{self, At, Clause, Comparison, Date, Node, Value};
use super::when::{DayPoint, Point, Range, Remembered, When};
use std::collections::BTreeSet;

/// What is found out about a definition on the way.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub mistakes: Vec<Mistake>,
    /// Names of attributes and functions that are read.
    pub reads: BTreeSet<String>,
    pub marks: BTreeSet<Mark>,
    /// Names of segments that are asked about.
    pub segments: BTreeSet<String>,
}

/// The condition of a tree; of what is wrong in it nothing, and the mistakes are among the findings.
pub(super) fn condition(
    node: &mut Node,
    schema: &Schema,
    findings: &mut Findings,
) -> Option<Condition> {
    let all = |members: &mut Vec<Node>, findings: &mut Findings| {
        let checked: Vec<_> =
            members.iter_mut().map(|member| condition(member, schema, findings)).collect();
        checked.into_iter().collect::<Option<Vec<_>>>()
    };
    match node {
        Node::And(members) => all(members, findings).map(Condition::All),
        Node::Or(members) => all(members, findings).map(Condition::Any),
        Node::Not(inner) => {
            condition(inner, schema, findings).map(|inner| Condition::Not(Box::new(inner)))
        }
        Node::Clause(clause) => {
            let span = clause.span;
            let asks = ask(&mut clause.it, schema, findings, span)?;
            Some(Condition::Leaf(Leaf { text: clause.to_string(), span, asks }))
        }
        Node::Broken => None,
    }
}

fn ask(clause: &mut Clause, schema: &Schema, findings: &mut Findings, span: Span) -> Option<Ask> {
    match clause {
        Clause::Attribute { name, test } => {
            let operand = operand(name, schema, findings)?;
            let test = kept(tested(&operand, test, span), findings)?;
            Some(Ask::Attribute { operand, test })
        }
        Clause::Function { name, negated, params } => {
            let negated = *negated;
            matches(name, negated, params, schema, findings).map(Ask::Matches)
        }
        Clause::Anniversary { name, test } => {
            let operand = operand(name, schema, findings)?;
            let days = kept(remembered(&operand, name.span, test, span), findings)?;
            Some(Ask::Remembered { operand, days })
        }
        Clause::Segment { name } => {
            kept(resolve::segment(&name.it, name.span, schema), findings)?;
            findings.segments.insert(name.it.clone());
            findings.marks.insert(Mark::Segment(name.it.clone()));
            Some(Ask::Segment(name.it.clone()))
        }
    }
}

fn kept<T>(found: Result<T, Mistake>, findings: &mut Findings) -> Option<T> {
    found.map_err(|mistake| findings.mistakes.push(mistake)).ok()
}

fn operand(name: &At<String>, schema: &Schema, findings: &mut Findings) -> Option<Operand> {
    let (operand, marks) = kept(resolve::operand(name, schema), findings)?;
    findings.reads.insert(operand.name.clone());
    findings.marks.extend(marks);
    Some(operand)
}

type Checked<T> = Result<T, Mistake>;

/// `X says …`, where the place is the value's.
fn wrong_type(span: Span, detail: String) -> Mistake {
    Mistake::new("wrong_type", span, detail)
}

/// What is asked of a value of the operand's type.
fn tested(operand: &Operand, test: &mut syntax::Test, span: Span) -> Checked<Test> {
    if let syntax::Test::Null { negated } = test {
        return Ok(Test::Null { negated: *negated });
    }
    let name = operand.name.as_str();
    Ok(match &operand.kind {
        ValueKind::Moment => Test::Moment(when(name, test, false, span)?),
        ValueKind::Day => Test::Day(when(name, test, true, span)?),
        ValueKind::Count | ValueKind::Money { .. } | ValueKind::Number { .. } => {
            Test::Number(numbers(name, test, span)?)
        }
        ValueKind::Text => Test::Text(words(name, test, &[], span)?),
        ValueKind::Choice(choices) => Test::Text(words(name, test, choices, span)?),
        ValueKind::Flag => Test::Flag(flag(name, test, span)?),
        ValueKind::List(choices) => Test::List(members(name, test, choices, span)?),
    })
}

/// A test that the type does not know.
fn no_such_test<T>(name: &str, is: &str, instead: &str, span: Span) -> Checked<T> {
    let detail = format!("{name} is {is}: {instead}");
    Err(Mistake::new("wrong_operator", span, detail))
}

// --- numbers ----------------------------------------------------------------------------------

fn numbers(name: &str, test: &syntax::Test, span: Span) -> Checked<Numbers> {
    let number = |value: &At<Value>| match &value.it {
        Value::Number(number) => Ok(*number),
        Value::Text(text) => {
            let mistake = wrong_type(value.span, format!("{name} is a number"));
            Err(match Number::parse(text) {
                Some(number) => mistake.suggest(number.to_string()),
                None => mistake,
            })
        }
        _ => Err(wrong_type(value.span, format!("{name} is a number"))),
    };
    match test {
        syntax::Test::Compare { how, value } => {
            Ok(Numbers::Compare { how: *how, with: number(value)? })
        }
        syntax::Test::Between { negated, from, to } => {
            Ok(Numbers::Between { negated: *negated, from: number(from)?, to: number(to)? })
        }
        syntax::Test::In { negated, values } => {
            let numbers = values.iter().map(number).collect::<Checked<_>>()?;
            Ok(Numbers::OneOf { negated: *negated, numbers })
        }
        syntax::Test::Contains { .. } | syntax::Test::Null { .. } => {
            no_such_test(name, "a number", "ask it with =, !=, >, >=, <, <=, BETWEEN or IN", span)
        }
    }
}

// --- texts ------------------------------------------------------------------------------------

/// A text; of a choice, the choice that is meant, whatever its case.
fn text(name: &str, value: &mut At<Value>, choices: &[String]) -> Checked<String> {
    let At { it: Value::Text(text), span } = value else {
        let mistake = wrong_type(value.span, format!("{name} is a text"));
        return Err(match &value.it {
            Value::Number(_) | Value::Flag(_) => mistake.suggest(format!("'{}'", value.it)),
            _ => mistake,
        });
    };
    if choices.is_empty() {
        return Ok(text.clone());
    }
    let folded_text = folded(text);
    match choices.iter().find(|choice| folded(choice) == folded_text) {
        Some(choice) => {
            text.clone_from(choice);
            Ok(choice.clone())
        }
        None => {
            const SHOWN: usize = 12;
            let some: Vec<_> = choices.iter().take(SHOWN).map(String::as_str).collect();
            let more = if choices.len() > SHOWN { ", …" } else { "" };
            let detail = format!("{name} is one of {}{more}", some.join(", "));
            let near = nearest(text, choices.iter().map(String::as_str));
            let suggestion = near.map(|near| super::print::Quoted(near).to_string());
            Err(Mistake { suggestion, ..Mistake::new("unknown_value", *span, detail) })
        }
    }
}

fn words(name: &str, test: &mut syntax::Test, choices: &[String], span: Span) -> Checked<Words> {
    match test {
        syntax::Test::Compare { how: how @ (Comparison::Equal | Comparison::Unequal), value } => {
            let any_of = vec![text(name, value, choices)?];
            Ok(Words { negated: *how == Comparison::Unequal, any_of })
        }
        syntax::Test::In { negated, values } => {
            let any_of = values.iter_mut().map(|value| text(name, value, choices));
            Ok(Words { negated: *negated, any_of: any_of.collect::<Checked<_>>()? })
        }
        _ => no_such_test(name, "a text", "ask it with =, !=, IN or IS NULL", span),
    }
}

fn members(name: &str, test: &mut syntax::Test, choices: &[String], span: Span) -> Checked<Words> {
    let folded_member = |value: &mut At<Value>| text(name, value, choices).map(|one| folded(&one));
    match test {
        syntax::Test::Contains { negated, value } => {
            Ok(Words { negated: *negated, any_of: vec![folded_member(value)?] })
        }
        syntax::Test::In { negated, values } => {
            let any_of = values.iter_mut().map(folded_member).collect::<Checked<_>>()?;
            Ok(Words { negated: *negated, any_of })
        }
        syntax::Test::Compare { how: Comparison::Equal, value } => {
            let mistake = no_such_test::<Words>(name, "a list", "ask it with CONTAINS", span);
            mistake.map_err(|mistake| mistake.suggest(format!("{name} CONTAINS {value}")))
        }
        _ => no_such_test(name, "a list", "ask it with CONTAINS, IN or IS NULL", span),
    }
}

fn flag(name: &str, test: &syntax::Test, span: Span) -> Checked<bool> {
    let syntax::Test::Compare { how, value } = test else {
        return no_such_test(name, "true or false", "ask it with = or !=", span);
    };
    let Value::Flag(flag) = value.it else {
        return Err(wrong_type(value.span, format!("{name} is true or false, without quotes")));
    };
    match how {
        Comparison::Equal => Ok(flag),
        Comparison::Unequal => Ok(!flag),
        _ => no_such_test(name, "true or false", "ask it with = or !=", span),
    }
}

// --- dates ------------------------------------------------------------------------------------

/// The span of time that a date is: its first point, and the first after it.
fn span_of(name: &str, value: &At<Value>, whole_days: bool) -> Checked<(Point, Point)> {
    let date = match &value.it {
        Value::Date(date) => *date,
        Value::Text(text) => {
            let mistake =
                wrong_type(value.span, format!("{name} is a date, written without quotes"));
            let likely = text.get(..10).filter(|day| day.parse::<chrono::NaiveDate>().is_ok());
            return Err(Mistake { suggestion: likely.map(str::to_owned), ..mistake });
        }
        _ => {
            let detail = format!("{name} is a date, such as 2026-01-31, -7d or today");
            return Err(wrong_type(value.span, detail));
        }
    };
    if let Some(day) = DayPoint::of(date) {
        return Ok((Point::Day { day, plus: 0 }, Point::Day { day, plus: 1 }));
    }
    if whole_days {
        let detail = format!("{name} is a day without a time: hours say nothing about it");
        return Err(wrong_type(value.span, detail));
    }
    Ok(match date {
        Date::Time(shown) => (Point::Clock { shown, plus: 0 }, Point::Clock { shown, plus: 1 }),
        Date::Offset { number, .. } => {
            let hours = number.into();
            (Point::Hours { hours, after: false }, Point::Hours { hours, after: true })
        }
        // whole days all of them, see above
        Date::Day(_) | Date::Today | Date::Yesterday => {
            let day = DayPoint::TODAY;
            (Point::Day { day, plus: 0 }, Point::Day { day, plus: 1 })
        }
    })
}

fn when(name: &str, test: &syntax::Test, whole_days: bool, span: Span) -> Checked<When> {
    let exact = |value: &At<Value>| {
        let (from, to) = span_of(name, value, whole_days)?;
        if matches!(from, Point::Hours { .. }) {
            let detail =
                "hours are told to the instant, which nothing equals: use >, >=, <, <= or BETWEEN";
            return Err(Mistake::new("wrong_operator", value.span, detail));
        }
        Ok(Range { from: Some(from), to: Some(to) })
    };
    let (ranges, negated) = match test {
        syntax::Test::Compare { how, value } => match how {
            Comparison::Equal => (vec![exact(value)?], false),
            Comparison::Unequal => (vec![exact(value)?], true),
            _ => {
                let (from, to) = span_of(name, value, whole_days)?;
                let range = match how {
                    Comparison::Greater => Range { from: Some(to), to: None },
                    Comparison::AtLeast => Range { from: Some(from), to: None },
                    Comparison::Less => Range { from: None, to: Some(from) },
                    _ => Range { from: None, to: Some(to) },
                };
                (vec![range], false)
            }
        },
        syntax::Test::Between { negated, from, to } => {
            let (from, _) = span_of(name, from, whole_days)?;
            let (_, to) = span_of(name, to, whole_days)?;
            (vec![Range { from: Some(from), to: Some(to) }], *negated)
        }
        syntax::Test::In { negated, values } => {
            (values.iter().map(exact).collect::<Checked<_>>()?, *negated)
        }
        syntax::Test::Contains { .. } | syntax::Test::Null { .. } => {
            return no_such_test(
                name,
                "a date",
                "ask it with =, !=, >, >=, <, <=, BETWEEN or IN",
                span,
            );
        }
    };
    Ok(When { ranges, negated })
}

fn remembered(
    operand: &Operand,
    name: Span,
    test: &syntax::Test,
    span: Span,
) -> Checked<Remembered> {
    if !matches!(operand.kind, ValueKind::Moment | ValueKind::Day) {
        let detail = format!("{} is no date and has no anniversary", operand.name);
        return Err(wrong_type(name, detail));
    }
    let day = |value: &At<Value>| match span_of("an anniversary", value, true)? {
        (Point::Day { day, .. }, _) => Ok(day),
        _ => Err(wrong_type(value.span, "an anniversary is a day".to_owned())),
    };
    match test {
        syntax::Test::Compare { how: Comparison::Equal, value } => {
            let from = day(value)?;
            Ok(Remembered { from, to: from })
        }
        syntax::Test::Between { negated: false, from, to } => {
            Ok(Remembered { from: day(from)?, to: day(to)? })
        }
        _ => no_such_test("an anniversary", "a day of the year", "ask it with = or BETWEEN", span),
    }
}

// --- functions --------------------------------------------------------------------------------

fn matches(
    name: &At<String>,
    negated: bool,
    params: &mut [(At<String>, syntax::Test)],
    schema: &Schema,
    findings: &mut Findings,
) -> Option<Matches> {
    let entry = kept(resolve::function(name), findings)?;
    findings.reads.insert(entry.name.to_owned());
    findings.marks.insert(entry.mark.clone());
    let (mut filters, mut aggregates, mut currency) = (Vec::new(), Vec::new(), None);
    let (mut sound, mut of_money) = (true, false);
    for (name, test) in params {
        let Some(param) = kept(resolve::param(entry, name), findings) else {
            sound = false;
            continue;
        };
        of_money |= matches!(param, Param::Amount | Param::SumAmount);
        let added = match param {
            Param::Currency => only_currency(name, test).map(|one| currency = Some(one)),
            _ => restriction(param, name, test).map(|restriction| match restriction {
                Restriction::Filter(filter) => filters.push(filter),
                Restriction::Aggregate(of, numbers) => aggregates.push((of, numbers)),
            }),
        };
        sound &= kept(added, findings).is_some();
    }
    if !sound {
        return None;
    }
    if aggregates.is_empty() {
        let some = Numbers::Compare { how: Comparison::AtLeast, with: Number::whole(1) };
        aggregates.push((Aggregate::Count, some));
    }
    if of_money && currency.is_none() && entry.function == Function::OrdersPlaced {
        currency = Some(schema.currency.clone());
    }
    let function = entry.function;
    Some(Matches { function, negated, filters, aggregates, currency, cost: entry.cost })
}

enum Restriction {
    Filter(Filter),
    Aggregate(Aggregate, Numbers),
}

fn restriction(param: Param, name: &At<String>, test: &mut syntax::Test) -> Checked<Restriction> {
    use Restriction::{Aggregate as Of, Filter as By};
    let (said, span) = (name.it.as_str(), name.span);
    Ok(match param {
        Param::Date => By(Filter::Date(when(said, test, false, span)?)),
        Param::Amount => By(Filter::Amount(numbers(said, test, span)?)),
        Param::Status => {
            let choices: Vec<_> =
                super::attributes::ORDER_STATUSES.iter().map(|&one| one.to_owned()).collect();
            By(Filter::Status(words(said, test, &choices, span)?))
        }
        Param::Sku | Param::Currency => By(Filter::Sku(words(said, test, &[], span)?)),
        Param::Quantity => By(Filter::Quantity(numbers(said, test, span)?)),
        Param::Count => Of(Aggregate::Count, numbers(said, test, span)?),
        Param::SumAmount => Of(Aggregate::SumAmount, numbers(said, test, span)?),
        Param::SumQuantity => Of(Aggregate::SumQuantity, numbers(said, test, span)?),
    })
}

fn only_currency(name: &At<String>, test: &mut syntax::Test) -> Checked<String> {
    let syntax::Test::Compare { how: Comparison::Equal, value } = test else {
        let detail = "one currency";
        return no_such_test("currency", detail, "ask it with =", name.span);
    };
    let code = text("currency", value, &[])?;
    if resolve::is_currency(&code) {
        return Ok(code);
    }
    let mistake = Mistake::new("unknown_currency", value.span, "a currency is a code of ISO 4217");
    let upper = code.to_uppercase();
    Err(match resolve::is_currency(&upper) {
        true => mistake.suggest(format!("'{upper}'")),
        false => mistake,
    })
}
