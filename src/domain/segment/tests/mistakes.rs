//! What is wrong is told where it is, with what was probably meant.

use super::*;

/// Definition, and of each mistake: code, column, suggestion.
type Told = &'static [(&'static str, usize, Option<&'static str>)];
const MISTAKES: &[(&str, Told)] = &[
    ("", &[("empty", 1, None)]),
    ("   ", &[("empty", 1, None)]),
    // names
    ("number_of_order >= 2", &[("unknown_attribute", 1, Some("number_of_orders"))]),
    ("Customer_Tags CONTAINS 'a'", &[("unknown_attribute", 1, Some("customer_tags"))]),
    ("custom.nik = 'a'", &[("unknown_attribute", 1, Some("custom.nick"))]),
    ("nick = 'a'", &[("unknown_attribute", 1, Some("custom.nick"))]),
    ("custom = 'a'", &[("unknown_attribute", 1, None)]),
    ("qwertyuiop = 1", &[("unknown_attribute", 1, None)]),
    ("group.x = 'a'", &[("unknown_attribute", 1, Some("group"))]),
    ("orders_placed > 2", &[("unknown_attribute", 1, Some("orders_placed MATCHES (…)"))]),
    ("amount_spent.eur > 1", &[("unknown_currency", 1, Some("amount_spent.EUR"))]),
    ("consent.marketin = true", &[("unknown_purpose", 1, Some("consent.marketing"))]),
    ("consent.marketing.mail = true", &[("unknown_purpose", 1, Some("consent.marketing.email"))]),
    ("consent.analytics.sms = true", &[("unknown_purpose", 1, None)]),
    ("order_placed MATCHES ()", &[("unknown_function", 1, Some("orders_placed"))]),
    ("signed_in MATCHES (dates > -7d)", &[("unknown_parameter", 20, Some("date"))]),
    ("signed_in MATCHES (sku = 'x')", &[("unknown_parameter", 20, None)]),
    ("IN SEGMENT 'al'", &[("unknown_segment", 12, Some("'all'"))]),
    // form
    ("number_of_orders", &[("unexpected_end", 17, None)]),
    ("number_of_orders >=", &[("unexpected_end", 20, None)]),
    ("number_of_orders >= 2 AND", &[("unexpected_end", 26, None)]),
    ("number_of_orders >= 2 mfa_enabled = true", &[("unexpected", 23, None)]),
    (">= 2", &[("unexpected", 1, None)]),
    ("NOT NOT mfa_enabled = true", &[("unexpected", 5, None)]),
    ("(mfa_enabled = true", &[("unclosed", 1, None)]),
    ("mfa_enabled = true)", &[("unopened", 19, None)]),
    ("number_of_orders IN 1, 2", &[("unexpected", 21, None)]),
    ("number_of_orders IN (1 2)", &[("unexpected", 24, None)]),
    ("number_of_orders IN ()", &[("unexpected", 22, None)]),
    ("number_of_orders BETWEEN 1", &[("unexpected_end", 27, None)]),
    ("number_of_orders NOT 5", &[("unexpected", 22, None)]),
    ("number_of_orders IS 5", &[("unexpected", 21, None)]),
    ("orders_placed MATCHES count > 2", &[("unexpected", 23, None)]),
    ("orders_placed MATCHES (count > 2", &[("unexpected_end", 33, None)]),
    ("IN SEGMENT all", &[("unquoted_text", 12, Some("'all'"))]),
    ("anniversary() = today", &[("unexpected", 12, None)]),
    // signs
    ("number_of_orders == 2", &[("unknown_sign", 18, Some("="))]),
    ("number_of_orders <> 2", &[("unknown_sign", 18, Some("!="))]),
    ("mfa_enabled = true && email_verified = true", &[("unknown_sign", 20, Some("AND"))]),
    ("number_of_orders = 2;", &[("unexpected_character", 21, None)]),
    ("group = \"vip\"", &[("wrong_quotes", 9, Some("'vip'"))]),
    ("group = “o'neill”", &[("wrong_quotes", 9, Some("'o\\'neill'"))]),
    ("group = 'vip", &[("unclosed_text", 9, None)]),
    ("group = vip", &[("unquoted_text", 9, Some("'vip'"))]),
    ("group = 'a\u{0}b'", &[("control_character", 9, None)]),
    ("group\u{0} = 'a'", &[("control_character", 6, None)]),
    // types
    ("number_of_orders = 'two'", &[("wrong_type", 20, None)]),
    ("number_of_orders = '2'", &[("wrong_type", 20, Some("2"))]),
    ("number_of_orders CONTAINS 2", &[("wrong_operator", 1, None)]),
    ("group = 5", &[("wrong_type", 9, Some("'5'"))]),
    ("group > 'a'", &[("wrong_operator", 1, None)]),
    ("mfa_enabled = 'true'", &[("wrong_type", 15, None)]),
    ("mfa_enabled > true", &[("wrong_operator", 1, None)]),
    ("customer_tags = 'a'", &[("wrong_operator", 1, Some("customer_tags CONTAINS 'a'"))]),
    ("customer_tags CONTAINS 5", &[("wrong_type", 24, Some("'5'"))]),
    ("customer_account_status = 'activ'", &[("unknown_value", 27, Some("'active'"))]),
    ("custom.colour = 'purple'", &[("unknown_value", 17, None)]),
    ("last_order_date > '2026-01-31'", &[("wrong_type", 19, Some("2026-01-31"))]),
    ("last_order_date > 7", &[("wrong_type", 19, None)]),
    ("last_order_date > 7d", &[("missing_sign", 19, Some("-7d"))]),
    ("last_order_date = -24h", &[("wrong_operator", 19, None)]),
    ("last_order_date > 2026-02-30", &[("invalid_date", 19, None)]),
    ("last_order_date > 2026-01-31T25:00:00", &[("invalid_date", 19, None)]),
    ("last_order_date > -101y", &[("out_of_range", 19, None)]),
    ("last_order_date > -99999999999d", &[("out_of_range", 19, None)]),
    ("date_of_birth > -24h", &[("wrong_type", 17, None)]),
    ("anniversary(group) = today", &[("wrong_type", 13, None)]),
    ("anniversary(date_of_birth) > today", &[("wrong_operator", 1, None)]),
    ("anniversary(date_of_birth) = -24h", &[("wrong_type", 30, None)]),
    ("number_of_orders = 1234567890123456", &[("out_of_range", 20, None)]),
    ("number_of_orders = 1.0123456789", &[("out_of_range", 20, None)]),
    ("orders_placed MATCHES (currency = 'eur')", &[("unknown_currency", 35, Some("'EUR'"))]),
    ("orders_placed MATCHES (currency != 'EUR')", &[("wrong_operator", 24, None)]),
    // several at once, each in its clause
    (
        "number_of_order > 1 AND group = 5 OR (custom.nik = 'a' AND last_order_date > 7d)",
        &[
            ("unknown_attribute", 1, Some("number_of_orders")),
            ("wrong_type", 33, Some("'5'")),
            ("unknown_attribute", 39, Some("custom.nick")),
            ("missing_sign", 78, Some("-7d")),
        ],
    ),
    (
        "number_of_orders >= AND group IN ('a' 'b') AND mfa_enabled = maybe",
        &[
            ("unexpected", 21, None),
            ("unexpected", 39, None),
            ("unquoted_text", 62, Some("'maybe'")),
        ],
    ),
];

#[test]
fn s1_each_mistake_is_told_where_it_is() {
    let mut wrong = Vec::new();
    for (text, told) in MISTAKES {
        let mistakes = Checked::parse(text, &generate::schema(Tz::UTC)).expect_err(text);
        let found: Vec<_> = mistakes
            .list
            .iter()
            .map(|mistake| {
                let place = Place::of(text, mistake.span.start);
                assert_eq!((place.line, place.byte), (1, mistake.span.start), "{text}");
                (mistake.code, place.column, mistake.suggestion.as_deref())
            })
            .collect();
        if found != *told {
            wrong.push(format!("{text}\n  {found:?}"));
        }
        // a sentence: it says something, and does not end
        for mistake in &mistakes.list {
            assert!(mistake.detail.len() > 10 && !mistake.detail.ends_with('.'), "{mistake:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn s1_a_place_is_told_in_bytes_lines_and_columns() {
    let text = "customer_cities CONTAINS 'Đà Nẵng'\n  AND grup = 'x'";
    let mistakes = Checked::parse(text, &generate::schema(Tz::UTC)).unwrap_err();
    let mistake = &mistakes.list[0];
    let place = Place::of(text, mistake.span.start);
    assert_eq!(place, Place { byte: text.find("grup").unwrap(), line: 2, column: 7 });
    assert_eq!(
        shown(text, mistake.span, mistake),
        "line 2, column 7: there is no attribute grup; did you mean group?\n\
         \x20 |   AND grup = 'x'\n  |       ^^^^\n"
    );
}

/// What is too much is refused before it is read.
#[test]
fn s1_a_definition_too_long_too_deep_or_too_dear_is_refused_at_once() {
    let schema = generate::schema(Tz::UTC);
    let code = |text: &str, schema: &Schema| Checked::parse(text, schema).unwrap_err().list[0].code;
    let began = std::time::Instant::now();
    assert_eq!(code(&"mfa_enabled = true OR ".repeat(50_000), &schema), "too_long");
    let nested = format!("{}mfa_enabled = true{}", "(".repeat(8_000), ")".repeat(8_000));
    assert_eq!(code(&nested, &schema), "too_deep");
    assert_eq!(code(&"(".repeat(10_000), &schema), "too_deep");
    assert_eq!(code(&"NOT ".repeat(4_000), &schema), "unexpected");
    assert_eq!(code(&"\u{0}".repeat(10_000), &schema), "control_character");
    assert!(Checked::parse(&"'".repeat(16_000), &schema).is_err());
    // Whatever the shop allows, no deeper than the stack bears.
    let generous = Bounds { bytes: 1 << 20, depth: usize::MAX };
    let generous = Schema { bounds: generous, ..schema.clone() };
    let deep = |n: usize| format!("{}mfa_enabled = true{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(code(&deep(100_000), &generous), "too_deep");
    assert!(Checked::parse(&deep(Bounds::DEPTH_MAX), &generous).is_ok());
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[test]
fn s1_a_definition_that_costs_too_much_says_what_costs_it() {
    let schema = Schema { cost_max: 60, ..generate::schema(Tz::UTC) };
    let text = "mfa_enabled = true OR products_purchased MATCHES (sku = 'x') \
                OR orders_placed MATCHES (date >= -7d)";
    let mistakes = Checked::parse(text, &schema).unwrap_err();
    let mistake = &mistakes.list[0];
    assert_eq!((mistake.code, mistake.span.start), ("too_dear", 22));
    assert_eq!(
        mistake.detail,
        "it costs 66 to evaluate, and may cost 60: products_purchased MATCHES (sku = 'x') costs 40, \
         orders_placed MATCHES (date >= -7d) costs 22, mfa_enabled = true costs 4"
    );
    assert!(Checked::parse(text, &Schema { cost_max: 66, ..schema }).is_ok());
}

#[test]
fn s1_most_mistakes_are_told_and_the_rest_is_counted() {
    let text = vec!["x = 1"; 50].join(" AND ");
    let mistakes = Checked::parse(&text, &generate::schema(Tz::UTC)).unwrap_err();
    assert_eq!((mistakes.list.len(), mistakes.more), (Mistakes::TOLD_MAX, 30));
}
