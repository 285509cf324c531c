//! Staff's search by custom attributes: with all else that can be asked for, page by page, by an
//! index.

use std::collections::BTreeSet;

use customer_service::db::customer_search::{Filter, Held, plan};
use customer_service::domain::attribute::Part;
use serde_json::{Value, json};

use crate::attributes::{customer, define, write};
use crate::harness::{Api, Shop};

/// The e-mail addresses are random: who was found, by id, newest first.
async fn found(node: &Api, shop: &Shop, query: &str) -> Vec<String> {
    let path = format!("/v1/admin/customers?{query}");
    let answer = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
    let items = answer["items"].as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_finds_customers_by_attributes_together_with_all_else() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    for (key, more) in [
        ("size", json!({ "type": "integer" })),
        ("ratio", json!({ "type": "decimal" })),
        ("fan", json!({ "type": "boolean" })),
        ("motto", json!({ "type": "text" })),
        ("since", json!({ "type": "date" })),
        ("likes", json!({ "type": "list", "part": "preferences" })),
        ("secret", json!({ "type": "text", "searchable": false })),
    ] {
        define(&node, &shop, key, more).await.expect(201);
    }
    let one = customer(&node, &shop, json!({ "tags": ["vip"] })).await;
    let two = customer(&node, &shop, json!({ "group": "business" })).await;
    let three = customer(&node, &shop, json!({})).await;
    let profile = json!({ "size": 42, "ratio": 0.5, "fan": true, "motto": "A \"b\" {c}, %_'" });
    write(&node, &shop, &one, "profile", profile).await.expect(200);
    let profile = json!({ "size": 42, "fan": false, "since": "2024-02-29" });
    write(&node, &shop, &two, "profile", profile).await.expect(200);
    write(&node, &shop, &three, "profile", json!({ "size": 43, "secret": "x" })).await.expect(200);
    write(&node, &shop, &one, "preferences", json!({ "likes": ["tea", "cats"] })).await.expect(200);
    write(&node, &shop, &three, "preferences", json!({ "likes": ["tea"] })).await.expect(200);
    let (one, two, three) = (one.as_str(), two.as_str(), three.as_str());
    for (query, expected) in [
        ("attribute.size=42", vec![two, one]),
        ("attribute.size=44", vec![]),
        ("attribute.ratio=0.50", vec![one]),
        ("attribute.fan=true", vec![one]),
        ("attribute.since=2024-02-29", vec![two]),
        ("attribute.motto=A+%22b%22+%7Bc%7D%2C+%25_%27", vec![one]),
        ("attribute.motto=a", vec![]),
        ("attribute.likes=tea", vec![three, one]),
        ("attribute.likes=tea&attribute.size=42", vec![one]),
        ("attribute.size=42&attribute.fan=false", vec![two]),
        ("attribute.size=42&tag=vip", vec![one]),
        ("attribute.size=42&group=business&status=active", vec![two]),
        ("attribute.size=42&tag=vip&group=business", vec![]),
        (
            "attribute.likes=tea&q=b&created_from=2020-01-01T00:00:00Z&status=active",
            vec![three, one],
        ),
        ("attribute.likes=tea&created_to=2020-01-01T00:00:00Z", vec![]),
        ("has_attribute=fan", vec![two, one]),
        ("has_attribute=likes&attribute.size=43", vec![three]),
        ("has_attribute=secret", vec![three]),
    ] {
        assert_eq!(found(&node, &shop, query).await, expected, "{query}");
    }
    let write_more = write(&node, &shop, two, "profile", json!({ "size": null }));
    write_more.await.expect(200);
    assert_eq!(found(&node, &shop, "attribute.size=42").await, [one], "read your writes");
    for (query, faults) in [
        ("attribute.sise=42", vec!["attribute.sise unknown_attribute"]),
        ("attribute.=42", vec!["attribute. unknown_attribute"]),
        ("attribute.Size=42", vec!["attribute.Size unknown_attribute"]),
        ("attribute.secret=x", vec!["attribute.secret not_searchable"]),
        (
            "attribute.size=big&attribute.since=now",
            vec!["attribute.since invalid_date", "attribute.size malformed"],
        ),
        ("attribute.motto=", vec!["attribute.motto required"]),
        ("attribute=x", vec!["attribute unknown_parameter"]),
        ("has_attribute=none", vec!["has_attribute unknown_attribute"]),
        ("has_attribute=", vec!["has_attribute unknown_attribute"]),
        (
            "attribute.a=1&attribute.b=1&attribute.c=1&attribute.d=1&attribute.e=1&attribute.f=1",
            vec!["attribute.f too_many"],
        ),
    ] {
        let path = format!("/v1/admin/customers?{query}");
        let answer = node.get(&path).bearer(&shop.staff_key).send().await;
        assert_eq!(answer.problem(422, "validation_failed").faults(), faults, "{query}");
    }
    let twice = "/v1/admin/customers?attribute.size=1&attribute.size=2";
    let twice = node.get(twice).bearer(&shop.staff_key).send().await;
    twice.problem(400, "malformed_query");
    let (_, other) = shop.key("groups:write");
    let path = "/v1/admin/customers?attribute.size=42";
    node.get(path).bearer(&other).send().await.problem(403, "insufficient_scope");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_by_attribute_show_each_customer_once_while_others_change() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    define(&node, &shop, "size", json!({ "type": "integer" })).await.expect(201);
    let mut ids = Vec::new();
    for _ in 0..20 {
        let id = customer(&node, &shop, json!({})).await;
        write(&node, &shop, &id, "profile", json!({ "size": 7 })).await.expect(200);
        ids.push(id);
    }
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    for turn in 0.. {
        let after = cursor.as_deref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let path = format!("/v1/admin/customers?attribute.size=7&limit=3{after}");
        let page = node.get(&path).bearer(&shop.staff_key).send().await.expect(200).json();
        let items = page["items"].as_array().unwrap().iter();
        seen.extend(items.map(|item| item["id"].as_str().unwrap().to_owned()));
        // Between two pages others come to have the value, and who was seen changes.
        let new = customer(&node, &shop, json!({})).await;
        write(&node, &shop, &new, "profile", json!({ "size": 7 })).await.expect(200);
        let seen_before = format!("/v1/admin/customers/{}/profile", ids[19 - turn % 20]);
        let bio = node.patch(&seen_before, json!({ "bio": format!("turn {turn}") }));
        bio.bearer(&shop.staff_key).send().await.expect(200);
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    ids.reverse();
    assert_eq!(seen, ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_search_by_attribute_reads_a_whole_table() {
    const MANY: usize = 40_000;
    let shop = Shop::new().await;
    let columns = "id, email, email_canonical, first_name, last_name, customer_type, group_code, \
                   status, tags, accepts_marketing, created_at, updated_at, version, sequence";
    let fill = format!(
        "INSERT INTO customers ({columns}) SELECT gen_random_uuid(), 'u' || n || '@x.example', \
         'u' || n || '@x.example', 'A', 'B', 'individual', \
         CASE n % 200 WHEN 0 THEN 'business' ELSE 'individual' END, \
         CASE n % 100 WHEN 0 THEN 'suspended' ELSE 'active' END, \
         CASE n % 400 WHEN 0 THEN ARRAY['vip'] ELSE '{{}}' END, false, \
         timestamptz '2026-01-01' + n * interval '1 minute', now(), 1, 1 \
         FROM generate_series(1, {MANY}) AS n; \
         INSERT INTO customer_profiles (customer_id, custom, version) SELECT id, \
         CASE WHEN n % 4 = 0 THEN jsonb_build_object('size', n % 2000, 'fan', n % 8 = 0) ELSE '{{}}' END, 1 \
         FROM (SELECT id, row_number() OVER (ORDER BY created_at) AS n FROM customers) AS c; \
         INSERT INTO customer_preferences (customer_id, locale, timezone, currency, channel_email, \
         channel_sms, channel_push, topics, custom, version) SELECT id, 'en', 'UTC', 'EUR', false, \
         false, false, '{{}}', CASE WHEN n % 400 = 0 THEN '{{\"likes\": [\"a\", \"b\"]}}'::jsonb \
         ELSE '{{}}' END, 1 \
         FROM (SELECT id, row_number() OVER (ORDER BY created_at) AS n FROM customers) AS c"
    );
    shop.database.execute(&fill).await;
    for table in ["customers", "customer_profiles", "customer_preferences"] {
        shop.database.execute(&format!("VACUUM ANALYZE {table}")).await;
    }
    let having = |values: Value| Held::These(values.as_object().cloned().unwrap());
    let profile = |values| vec![(Part::Profile, having(values))];
    let preferences = |values| vec![(Part::Preferences, having(values))];
    let filter = Filter::default;
    let deep = Some(("2026-01-10T00:00:00Z".parse().unwrap(), uuid::Uuid::nil()));
    let rare = || Filter { attributes: profile(json!({ "size": 44 })), ..filter() };
    let frequent = || Filter { attributes: profile(json!({ "fan": true })), ..filter() };
    let any = |part, key: &str| Filter {
        attributes: vec![(part, Held::Any(key.to_owned()))],
        ..filter()
    };
    let searches = [
        ("a rare value", rare(), None),
        ("its deep page", rare(), deep),
        (
            "a value that nobody has",
            Filter { attributes: profile(json!({ "size": -1 })), ..filter() },
            None,
        ),
        ("any value of a rare one", any(Part::Preferences, "likes"), None),
        ("any value of a frequent one", any(Part::Profile, "fan"), None),
        ("any value that nobody has", any(Part::Profile, "none"), None),
        ("a frequent value", frequent(), None),
        ("its deep page", frequent(), deep),
        (
            "a member",
            Filter { attributes: preferences(json!({ "likes": ["a"] })), ..filter() },
            None,
        ),
        (
            "two of one part",
            Filter { attributes: profile(json!({ "size": 44, "fan": false })), ..filter() },
            None,
        ),
        (
            "both parts",
            Filter {
                attributes: [
                    profile(json!({ "fan": true })),
                    preferences(json!({ "likes": ["a"] })),
                ]
                .concat(),
                ..filter()
            },
            None,
        ),
        ("with a tag", Filter { tag: Some("vip".to_owned()), ..frequent() }, None),
        ("with a group", Filter { group: Some("business".to_owned()), ..frequent() }, None),
        (
            "a rare one with a group",
            Filter { group: Some("individual".to_owned()), ..rare() },
            None,
        ),
    ];
    let database = shop.database.database();
    let mut indexes = BTreeSet::new();
    for (name, filter, after) in searches {
        let read = database.read(move |connection| {
            let filter = filter.clone();
            Box::pin(async move { plan(connection, &filter, after, 26).await })
        });
        let plan = read.await.unwrap().join("\n");
        println!("{name}:\n{plan}\n");
        assert!(!plan.contains("Seq Scan"), "{name} reads the whole table:\n{plan}");
        let words = plan.split_whitespace().filter(|word| word.starts_with("customer"));
        indexes.extend(words.map(str::to_owned));
    }
    for index in ["customer_profiles_custom", "customer_preferences_custom", "customers_created"] {
        assert!(indexes.contains(index), "{index} is not used: {indexes:?}");
    }
}
