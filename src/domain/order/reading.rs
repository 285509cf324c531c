//! From the body of a message to a fact, or to the first thing that is wrong with it.
//!
//! Members that nobody here knows are the order service's own affair. What is wrong is told by a
//! stable code and the name of the member, never by its value: it ends in logs and in the header of
//! a dead letter.

use super::{Item, OrderFact, OrderId, OrderStatus};
use crate::domain::fault::Fault;
use crate::domain::ids::CustomerId;
use crate::domain::money::Money;
use crate::domain::place::Currency;
use crate::domain::wishlist::Sku;
use chrono::{DateTime, Datelike, SubsecRound, Utc};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Why a body is no fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactFault {
    /// Which member, as a path of names such as `total.amount`; `body`: all of it.
    pub member: &'static str,
    /// Stable code for programs, e.g. `out_of_range`.
    pub code: &'static str,
    /// What is wrong, for people. Never holds the refused value.
    pub detail: String,
}

impl FactFault {
    fn new(member: &'static str, code: &'static str, detail: &str) -> Self {
        Self { member, code, detail: detail.to_owned() }
    }

    fn of(member: &'static str, fault: Fault) -> Self {
        Self { member, code: fault.code, detail: fault.detail }
    }
}

impl std::fmt::Display for FactFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.code, self.member, self.detail)
    }
}

impl std::error::Error for FactFault {}

impl OrderFact {
    /// Reads the body of a message. Instants are kept to the microsecond.
    ///
    /// # Errors
    /// The first fault; `not_json`, `wrong_type`, `missing`, `out_of_range`, `too_many_items`,
    /// `currency_mismatch`, or what the values themselves are refused with (`invalid_order_id`,
    /// `invalid_customer_id`, `invalid_instant`, `invalid_sku`, `unknown_status`,
    /// `unknown_currency`).
    pub fn parse(body: &[u8]) -> Result<Self, FactFault> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|_| FactFault::new("body", "not_json", "must be JSON in UTF-8"))?;
        let body = object("body", &body)?;
        let order_id = text("order_id", body.get("order_id"))?;
        let order_id = OrderId::parse(order_id).map_err(|f| FactFault::of("order_id", f))?;
        let customer_id = customer_id(text("customer_id", body.get("customer_id"))?)?;
        let version = whole("version", body.get("version"), 1, i64::MAX)?;
        let status =
            OrderStatus::from_name(text("status", body.get("status"))?).ok_or_else(|| {
                let detail = "must be placed, completed, cancelled or refunded";
                FactFault::new("status", "unknown_status", detail)
            })?;
        let placed_at = instant("placed_at", text("placed_at", body.get("placed_at"))?)?;
        let completed_at = match present(body.get("completed_at")) {
            Some(value) => Some(instant("completed_at", text("completed_at", Some(value))?)?),
            None => None,
        };
        let total = money(TOTAL, body.get("total"))?;
        let refunded = match present(body.get("refunded")) {
            Some(value) => money(REFUNDED, Some(value))?,
            None => Money::from_stored(0, total.currency().clone()),
        };
        if refunded.currency() != total.currency() {
            let detail = "must be the currency of the total";
            return Err(FactFault::new("refunded.currency", "currency_mismatch", detail));
        }
        let items = items(body.get("items"))?;
        Ok(Self {
            order_id,
            customer_id,
            version,
            status,
            placed_at,
            completed_at,
            refunded: refunded.amount(),
            total,
            items,
        })
    }
}

/// Nothing is said by `null`, either.
fn present(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !value.is_null())
}

fn required<'a>(member: &'static str, value: Option<&'a Value>) -> Result<&'a Value, FactFault> {
    present(value).ok_or_else(|| FactFault::new(member, "missing", "must be given"))
}

fn object<'a>(member: &'static str, value: &'a Value) -> Result<&'a Map<String, Value>, FactFault> {
    value.as_object().ok_or_else(|| FactFault::new(member, "wrong_type", "must be an object"))
}

fn text<'a>(member: &'static str, value: Option<&'a Value>) -> Result<&'a str, FactFault> {
    required(member, value)?
        .as_str()
        .ok_or_else(|| FactFault::new(member, "wrong_type", "must be a text"))
}

/// A whole number within bounds: `1.0` is none, since money that went through floating point is
/// not to be trusted.
fn whole(
    member: &'static str,
    value: Option<&Value>,
    least: i64,
    most: i64,
) -> Result<i64, FactFault> {
    let number = match required(member, value)? {
        Value::Number(number) if number.is_i64() || number.is_u64() => number,
        _ => return Err(FactFault::new(member, "wrong_type", "must be a whole number")),
    };
    number.as_i64().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        FactFault::new(member, "out_of_range", &format!("must be from {least} to {most}"))
    })
}

fn customer_id(raw: &str) -> Result<CustomerId, FactFault> {
    let detail = "must be a UUID";
    Uuid::try_parse(raw)
        .map(CustomerId)
        .map_err(|_| FactFault::new("customer_id", "invalid_customer_id", detail))
}

fn instant(member: &'static str, raw: &str) -> Result<DateTime<Utc>, FactFault> {
    DateTime::parse_from_rfc3339(raw)
        .ok()
        .map(|at| at.with_timezone(&Utc).trunc_subsecs(6))
        // before the first shop, and beyond what RFC 3339 can write in another zone
        .filter(|at| (1970..=9998).contains(&at.year()))
        .ok_or_else(|| {
            let detail = "must be an instant of RFC 3339 from 1970 on";
            FactFault::new(member, "invalid_instant", detail)
        })
}

/// The names of an amount's members, as faults tell them.
struct MoneyNames {
    whole: &'static str,
    amount: &'static str,
    currency: &'static str,
}

const TOTAL: MoneyNames =
    MoneyNames { whole: "total", amount: "total.amount", currency: "total.currency" };
const REFUNDED: MoneyNames =
    MoneyNames { whole: "refunded", amount: "refunded.amount", currency: "refunded.currency" };

fn money(names: MoneyNames, value: Option<&Value>) -> Result<Money, FactFault> {
    let members = object(names.whole, required(names.whole, value)?)?;
    let amount = whole(names.amount, members.get("amount"), 0, Money::MAX)?;
    let currency = text(names.currency, members.get("currency"))?;
    let currency =
        Currency::parse(currency).map_err(|fault| FactFault::of(names.currency, fault))?;
    Ok(Money::from_stored(amount, currency))
}

/// The items by their skus; what names one product several times is added up.
fn items(value: Option<&Value>) -> Result<Vec<Item>, FactFault> {
    let lines = required("items", value)?
        .as_array()
        .ok_or_else(|| FactFault::new("items", "wrong_type", "must be a list"))?;
    if lines.len() > OrderFact::ITEMS_MAX {
        let detail = format!("must be at most {}", OrderFact::ITEMS_MAX);
        return Err(FactFault::new("items", "too_many_items", &detail));
    }
    let most = i64::from(Item::QUANTITY_MAX);
    let mut quantities = BTreeMap::<Sku, u32>::new();
    for line in lines {
        let line = object("items", line)?;
        let sku = Sku::parse(text("items.sku", line.get("sku"))?)
            .map_err(|fault| FactFault::of("items.sku", fault))?;
        let quantity = whole("items.quantity", line.get("quantity"), 1, most)?;
        let sum = quantities.entry(sku).or_default();
        // five hundred times a million is far below the bound of the type
        *sum += u32::try_from(quantity).unwrap_or(Item::QUANTITY_MAX);
        if *sum > Item::QUANTITY_MAX {
            let detail = format!("must be at most {most} of one product");
            return Err(FactFault::new("items.quantity", "out_of_range", &detail));
        }
    }
    Ok(quantities.into_iter().map(|(sku, quantity)| Item { sku, quantity }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body() -> Value {
        json!({
            "order_id": "ORD-1",
            "customer_id": "0198a5b0-0000-7000-8000-000000000001",
            "version": 3,
            "status": "refunded",
            "placed_at": "2026-03-01T10:00:00.123456789+07:00",
            "completed_at": "2026-03-04T00:00:00Z",
            "total": { "amount": 250_000, "currency": "VND" },
            "refunded": { "amount": 50_000, "currency": "VND" },
            "items": [
                { "sku": "B", "quantity": 1, "price": 7 },
                { "sku": "A", "quantity": 2 },
                { "sku": "B", "quantity": 3 },
            ],
            "shipping": { "to": "somebody" },
        })
    }

    fn parse(body: &Value) -> Result<OrderFact, (&'static str, &'static str)> {
        OrderFact::parse(body.to_string().as_bytes()).map_err(|fault| (fault.code, fault.member))
    }

    /// The body with another value at a JSON pointer; `None`: with none.
    fn with(pointer: &str, value: Option<Value>) -> Value {
        let mut body = body();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = body.pointer_mut(parent).unwrap();
        match value {
            Some(value) => parent[name] = value,
            None => drop(parent.as_object_mut().unwrap().remove(name)),
        }
        body
    }

    fn follows_the_schema(body: &Value) -> bool {
        let formats = jsonschema::draft202012::options().should_validate_formats(true);
        formats.build(&OrderFact::schema()).unwrap().is_valid(body)
    }

    #[test]
    fn a_fact_is_read_whole() {
        assert!(follows_the_schema(&body()) && follows_the_schema(&OrderFact::example()));
        assert!(parse(&OrderFact::example()).is_ok());
        let fact = parse(&body()).unwrap();
        assert_eq!(fact.order_id.as_str(), "ORD-1");
        assert_eq!(fact.customer_id.to_string(), "0198a5b0-0000-7000-8000-000000000001");
        assert_eq!((fact.version, fact.status), (3, OrderStatus::Refunded));
        assert_eq!(fact.placed_at.to_rfc3339(), "2026-03-01T03:00:00.123456+00:00");
        assert_eq!(fact.completed_at.unwrap().to_rfc3339(), "2026-03-04T00:00:00+00:00");
        assert_eq!((fact.total.amount(), fact.total.currency().as_str()), (250_000, "VND"));
        assert_eq!(fact.refunded, 50_000);
        let items: Vec<_> = fact.items.iter().map(|i| (i.sku.as_str(), i.quantity)).collect();
        assert_eq!(items, [("A", 2), ("B", 4)]);
    }

    #[test]
    fn what_may_be_left_out() {
        for value in [None, Some(Value::Null)] {
            assert_eq!(parse(&with("/completed_at", value.clone())).unwrap().completed_at, None);
            assert!(follows_the_schema(&with("/completed_at", value.clone())));
            assert!(follows_the_schema(&with("/refunded", value.clone())));
            assert_eq!(parse(&with("/refunded", value)).unwrap().refunded, 0);
        }
        assert!(parse(&with("/items", Some(json!([])))).unwrap().items.is_empty());
        // More may be paid back than was paid: rule O1 looks at it.
        let more = json!({ "amount": 999_999, "currency": "VND" });
        assert_eq!(parse(&with("/refunded", Some(more))).unwrap().refunded, 999_999);
    }

    #[test]
    fn o3_each_fault_has_a_code_and_names_its_member() {
        let many: Vec<_> =
            (0..501).map(|n| json!({ "sku": format!("S{n}"), "quantity": 1 })).collect();
        let much = [("A", 999_999), ("A", 2)].map(|(s, q)| json!({ "sku": s, "quantity": q }));
        let euro = json!({ "amount": 1, "currency": "EUR" });
        let rows = [
            ("/order_id", None, "missing", "order_id"),
            ("/order_id", Some(Value::Null), "missing", "order_id"),
            ("/order_id", Some(json!(7)), "wrong_type", "order_id"),
            ("/order_id", Some(json!("a b")), "invalid_order_id", "order_id"),
            ("/customer_id", None, "missing", "customer_id"),
            ("/customer_id", Some(json!(7)), "wrong_type", "customer_id"),
            ("/customer_id", Some(json!("me")), "invalid_customer_id", "customer_id"),
            ("/version", None, "missing", "version"),
            ("/version", Some(json!("3")), "wrong_type", "version"),
            ("/version", Some(json!(1.5)), "wrong_type", "version"),
            ("/version", Some(json!(1.0)), "wrong_type", "version"),
            ("/version", Some(json!(0)), "out_of_range", "version"),
            ("/version", Some(json!(-1)), "out_of_range", "version"),
            ("/version", Some(json!(u64::MAX)), "out_of_range", "version"),
            ("/status", None, "missing", "status"),
            ("/status", Some(json!(1)), "wrong_type", "status"),
            ("/status", Some(json!("shipped")), "unknown_status", "status"),
            ("/placed_at", None, "missing", "placed_at"),
            ("/placed_at", Some(json!(0)), "wrong_type", "placed_at"),
            ("/placed_at", Some(json!("2026-03-01")), "invalid_instant", "placed_at"),
            ("/placed_at", Some(json!("1969-12-31T23:59:59Z")), "invalid_instant", "placed_at"),
            ("/placed_at", Some(json!("2026-02-30T00:00:00Z")), "invalid_instant", "placed_at"),
            ("/completed_at", Some(json!("soon")), "invalid_instant", "completed_at"),
            ("/completed_at", Some(json!([])), "wrong_type", "completed_at"),
            ("/total", None, "missing", "total"),
            ("/total", Some(json!(5)), "wrong_type", "total"),
            ("/total/amount", None, "missing", "total.amount"),
            ("/total/amount", Some(json!(-1)), "out_of_range", "total.amount"),
            ("/total/amount", Some(json!(9.99)), "wrong_type", "total.amount"),
            ("/total/amount", Some(json!(Money::MAX + 1)), "out_of_range", "total.amount"),
            ("/total/currency", None, "missing", "total.currency"),
            ("/total/currency", Some(json!(704)), "wrong_type", "total.currency"),
            ("/total/currency", Some(json!("BTC")), "unknown_currency", "total.currency"),
            ("/refunded", Some(json!("all")), "wrong_type", "refunded"),
            ("/refunded/amount", Some(json!(-1)), "out_of_range", "refunded.amount"),
            ("/refunded/currency", Some(json!("???")), "unknown_currency", "refunded.currency"),
            ("/refunded", Some(euro.clone()), "currency_mismatch", "refunded.currency"),
            ("/items", None, "missing", "items"),
            ("/items", Some(json!({})), "wrong_type", "items"),
            ("/items", Some(json!(["A"])), "wrong_type", "items"),
            ("/items", Some(json!(many)), "too_many_items", "items"),
            ("/items", Some(json!([{ "quantity": 1 }])), "missing", "items.sku"),
            ("/items", Some(json!([{ "sku": 1, "quantity": 1 }])), "wrong_type", "items.sku"),
            ("/items", Some(json!([{ "sku": "é", "quantity": 1 }])), "invalid_sku", "items.sku"),
            ("/items", Some(json!([{ "sku": "A" }])), "missing", "items.quantity"),
            (
                "/items",
                Some(json!([{ "sku": "A", "quantity": 0 }])),
                "out_of_range",
                "items.quantity",
            ),
            (
                "/items",
                Some(json!([{ "sku": "A", "quantity": "1" }])),
                "wrong_type",
                "items.quantity",
            ),
            ("/items", Some(json!(&much)), "out_of_range", "items.quantity"),
        ];
        // What no schema can say; all else its schema says, too.
        let beyond = [json!(1.0), json!("1969-12-31T23:59:59Z"), json!("BTC"), euro, json!(much)];
        for (pointer, value, code, member) in rows {
            let body = with(pointer, value.clone());
            assert_eq!(parse(&body), Err((code, member)), "{pointer} {value:?}");
            let unsaid = value.as_ref().is_some_and(|value| beyond.contains(value));
            assert_eq!(follows_the_schema(&body), unsaid, "{pointer} {value:?}");
        }
    }

    #[test]
    fn o3_whatever_is_no_object_of_json_is_told() {
        let bodies: [(&[u8], &str); 7] = [
            (b"", "not_json"),
            (b"{", "not_json"),
            (b"order_id=1", "not_json"),
            (b"{\"order_id\":\"\xff\"}", "not_json"),
            (b"[]", "wrong_type"),
            (b"null", "wrong_type"),
            (b"\"order\"", "wrong_type"),
        ];
        for (body, code) in bodies {
            let fault = OrderFact::parse(body).unwrap_err();
            assert_eq!((fault.code, fault.member), (code, "body"), "{body:?}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(OrderFact::parse(deep.as_bytes()).unwrap_err().code, "not_json");
    }

    #[test]
    fn m6_no_fault_repeats_what_it_refuses() {
        for pointer in ["/order_id", "/customer_id", "/status", "/placed_at", "/total/currency"] {
            let fault = OrderFact::parse(
                with(pointer, Some(json!("Ánh 0901234567"))).to_string().as_bytes(),
            )
            .unwrap_err();
            assert!(!fault.to_string().contains("0901234567"), "{fault}");
        }
    }
}
