//! A shop that keeps nothing of its own, as definitions of segments are checked against it.

use crate::domain::place::TimeZone;
use crate::domain::segment::Schema;
use crate::domain::segment::record::Rule;

pub fn schema() -> Schema {
    Schema::new(chrono_tz::UTC, "USD")
}

pub fn rule() -> Rule {
    let (uses, attributes) = Default::default();
    let time_zone = TimeZone::parse("UTC").expect("a zone");
    Rule { definition: "number_of_orders >= 1".to_owned(), time_zone, uses, attributes }
}
