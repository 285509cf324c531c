//! What is read, and its canonical form.

use super::*;

/// What is written, and its canonical form.
const FORMS: &[(&str, &str)] = &[
    ("number_of_orders>=2", "number_of_orders >= 2"),
    ("  number_of_orders\n\t=\r\n2 ", "number_of_orders = 2"),
    ("number_of_orders = -0.50", "number_of_orders = -0.5"),
    ("number_of_orders = 007", "number_of_orders = 7"),
    ("number_of_orders not between 1 and 3", "number_of_orders NOT BETWEEN 1 AND 3"),
    ("number_of_orders In (1,2 , 3)", "number_of_orders IN (1, 2, 3)"),
    ("custom.nick != 'O\\'Neill'", "custom.nick != 'O\\'Neill'"),
    ("custom.nick = 'a\\b'", "custom.nick = 'a\\\\b'"),
    ("custom.nick = 'a\\\\b'", "custom.nick = 'a\\\\b'"),
    ("custom.nick is not null", "custom.nick IS NOT NULL"),
    // one spelling of letters with marks
    ("custom.nick = 'A\u{301}nh'", "custom.nick = 'Ánh'"),
    // choices in any case
    ("customer_account_status = 'ACTIVE'", "customer_account_status = 'active'"),
    ("custom.colour IN ('RED', 'gre\\'en')", "custom.colour IN ('Red', 'Gre\\'en')"),
    ("customer_tags contains 'VIP'", "customer_tags CONTAINS 'VIP'"),
    ("customer_tags not contains 'VIP'", "customer_tags NOT CONTAINS 'VIP'"),
    ("email_verified = TRUE", "email_verified = true"),
    ("last_order_date > -0D", "last_order_date > +0d"),
    ("last_order_date between YESTERDAY and Today", "last_order_date BETWEEN yesterday AND today"),
    ("last_order_date >= 2026-01-31t08:00:00", "last_order_date >= 2026-01-31T08:00:00"),
    ("Anniversary( date_of_birth ) = today", "anniversary(date_of_birth) = today"),
    ("in segment 'it\\'s'", "IN SEGMENT 'it\\'s'"),
    ("not in segment 'all'", "NOT IN SEGMENT 'all'"),
    ("orders_placed matches()", "orders_placed MATCHES ()"),
    (
        "products_purchased NOT matches (sku = 'x',date>=-30d, count >= 2)",
        "products_purchased NOT MATCHES (sku = 'x', date >= -30d, count >= 2)",
    ),
    ("consent.marketing.sms = true", "consent.marketing.sms = true"),
    // AND binds before OR
    (
        "mfa_enabled = true OR email_verified = true AND phone_verified = true",
        "mfa_enabled = true OR email_verified = true AND phone_verified = true",
    ),
    (
        "(mfa_enabled = true OR email_verified = true) AND phone_verified = true",
        "(mfa_enabled = true OR email_verified = true) AND phone_verified = true",
    ),
    (
        "((mfa_enabled = true) AND ((email_verified = true AND phone_verified = true)))",
        "mfa_enabled = true AND email_verified = true AND phone_verified = true",
    ),
    ("NOT (mfa_enabled = true)", "NOT mfa_enabled = true"),
    ("NOT (NOT mfa_enabled = true)", "mfa_enabled = true"),
    (
        "not (mfa_enabled = true or email_verified = true)",
        "NOT (mfa_enabled = true OR email_verified = true)",
    ),
];

#[test]
fn s1_each_form_has_one_canonical_form() {
    for (written, canonical) in FORMS {
        assert_eq!(checked(written, Tz::UTC).canonical(), *canonical, "{written}");
    }
}

#[test]
fn s1_examples_of_the_list_are_in_order() {
    let attributes = attributes::all().map(|entry| (entry.name, entry.example));
    let functions = attributes::FUNCTIONS.iter().map(|entry| (entry.name, entry.example));
    let mut schema = generate::schema(Tz::UTC);
    schema.purposes.insert("personalisation".into(), Vec::new());
    for (name, example) in attributes.chain(functions) {
        let read = Checked::parse(example, &schema).unwrap_or_else(|m| panic!("{example}: {m:?}"));
        assert_eq!(read.canonical(), example);
        assert!(read.warnings().is_empty(), "{example}: {:?}", read.warnings());
        assert!(read.reads().iter().any(|read| read.starts_with(name)), "{example}");
        assert!(name == "customer_added_date" || !read.marks().is_empty(), "{example}");
    }
}

#[test]
fn s2_a_definition_knows_what_it_reads_and_what_marks_it() {
    let read = checked(
        "amount_spent.EUR > 5 AND (custom.nick = 'a' OR NOT IN SEGMENT 'all') \
         AND signed_in MATCHES (count > 2)",
        Tz::UTC,
    );
    let names: Vec<_> = read.reads().iter().map(String::as_str).collect();
    assert_eq!(names, ["amount_spent.EUR", "custom.nick", "signed_in"]);
    let marks =
        [Mark::SignIn, Mark::Orders, Mark::Custom("nick".into()), Mark::Segment("all".into())];
    assert_eq!(read.marks().iter().collect::<Vec<_>>(), marks.iter().collect::<Vec<_>>());
    assert_eq!(read.segments().iter().collect::<Vec<_>>(), ["all"]);
}

#[test]
fn s1_segments_may_ask_about_segments_but_not_about_themselves() {
    let asks = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let known =
        [("a", asks(&["b", "c"])), ("b", asks(&["d"])), ("c", asks(&[])), ("d", asks(&["e"]))];
    let known = known.map(|(name, asks)| (name.to_owned(), asks)).into();
    assert_eq!(nesting::cycle("e", &asks(&["c"]), &known), None);
    let path = nesting::cycle("e", &asks(&["c", "a"]), &known).unwrap();
    assert_eq!(path, ["e", "a", "b", "d", "e"]);
    assert_eq!(nesting::cycle("x", &asks(&["x"]), &known).unwrap(), ["x", "x"]);
    let order = nesting::in_order(&known);
    let place = |name| order.iter().position(|one| *one == name).unwrap();
    assert!(place("d") < place("b") && place("b") < place("a") && place("c") < place("a"));
    let looped = [("a", asks(&["b"])), ("b", asks(&["a"])), ("c", asks(&["a"])), ("d", asks(&[]))];
    let looped = looped.map(|(name, asks)| (name.to_owned(), asks)).into();
    assert_eq!(nesting::in_order(&looped), ["d"]);
}

/// Many segments that ask about each other in layers: each is looked at once.
#[test]
fn s1_a_web_of_segments_is_looked_through_in_no_time() {
    let name = |layer: usize, n: usize| format!("{layer}.{n}");
    let layer = |layer: usize| (0..30).map(|n| name(layer + 1, n)).collect::<BTreeSet<_>>();
    let known = (0..30).flat_map(|of| (0..30).map(move |n| (name(of, n), layer(of)))).collect();
    assert_eq!(nesting::cycle("top", &layer(0), &known), None);
    assert_eq!(nesting::in_order(&known).len(), 900);
}
