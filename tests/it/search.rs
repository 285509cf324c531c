//! Staff's search: by words whatever their accents and case, by whole addresses and numbers, by
//! status, group and tag, page by page, each by an index.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use customer_service::db::customer_search::{Filter, Word, page, plan};
use customer_service::domain::status::Status;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Api, Shop};

/// Enough that reading them all is the slower way.
const MANY: usize = 40_000;

async fn create(node: &Api, shop: &Shop, first: &str, last: &str, email: &str) -> String {
    let body = json!({ "email": email, "first_name": first, "last_name": last });
    let made = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    made.expect(201).json()["id"].as_str().unwrap().to_owned()
}

/// The addresses that a query finds, newest first.
async fn found(node: &Api, shop: &Shop, query: &[(&str, &str)]) -> Vec<String> {
    let answer = node.get(&path(query)).bearer(&shop.staff_key).send().await.expect(200);
    emails(&answer.json())
}

fn path(query: &[(&str, &str)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    format!("/v1/admin/customers?{query}")
}

fn emails(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|item| item["email"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_find_names_and_addresses_whatever_their_accents_and_case() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    for (first, last, email) in [
        ("Ánh", "Nguyễn", "anh.one@shop.example"),
        ("Minh", "Đặng", "minh@shop.example"),
        ("Jürgen", "O'Neill-Groß", "j_n%x@shop.example"),
        ("Łukasz", "İnce", "lukasz@other.example"),
        ("Иван", "Ёлкин", "ivan@other.example"),
        ("小明", "王", "xm@other.example"),
    ] {
        create(&node, &shop, first, last, email).await;
    }
    for (words, expected) in [
        ("nguyen", vec!["anh.one@shop.example"]),
        ("NGUYỄN", vec!["anh.one@shop.example"]),
        ("anh nguy", vec!["anh.one@shop.example"]),
        ("nguyen minh", vec![]),
        ("dang", vec!["minh@shop.example"]),
        ("đặng", vec!["minh@shop.example"]),
        ("anh.o", vec!["anh.one@shop.example"]),
        ("guyen", vec![]),
        ("*guye", vec!["anh.one@shop.example"]),
        ("*@shop *min", vec!["minh@shop.example"]),
        ("jurgen o'neill-gross", vec!["j_n%x@shop.example"]),
        ("j_", vec!["j_n%x@shop.example"]),
        ("*_n%", vec!["j_n%x@shop.example"]),
        // signs are looked up as letters, but are none: these are the letters
        ("*łn%", vec![]),
        ("anhđone", vec![]),
        ("oıneill", vec![]),
        ("*%%%", vec![]),
        (r"*\\\", vec![]),
        ("lukasz ince", vec!["lukasz@other.example"]),
        ("иван ёлк", vec!["ivan@other.example"]),
        ("ＩＶＡＮ", vec!["ivan@other.example"]),
        ("王", vec!["xm@other.example"]),
        ("小", vec!["xm@other.example"]),
    ] {
        assert_eq!(found(&node, &shop, &[("q", words)]).await, expected, "{words}");
    }
    let together = [("q", "*shop"), ("status", "active"), ("group", "individual")];
    assert_eq!(found(&node, &shop, &together).await.len(), 3);
    assert_eq!(found(&node, &shop, &[("q", "*shop"), ("tag", "vip")]).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_found_at_once_and_faults_are_told() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let id = create(&node, &shop, "Zoë", "Smith", "z@shop.example").await;
    assert_eq!(found(&node, &shop, &[("q", "zoe")]).await.len(), 1);
    let to = node.patch(&format!("/v1/admin/customers/{id}"), json!({ "first_name": "Chloé" }));
    to.bearer(&shop.staff_key).send().await.expect(200);
    assert_eq!(found(&node, &shop, &[("q", "zoe smith")]).await.len(), 0);
    assert_eq!(found(&node, &shop, &[("q", "chloe smith")]).await.len(), 1);
    for (words, fault) in [
        ("", "q required"),
        ("*ab", "q too_short"),
        ("a b c d e f", "q too_long"),
        ("a\u{1}b", "q control_character"),
        (&"x".repeat(101), "q too_long"),
    ] {
        let answer = node.get(&path(&[("q", words)])).bearer(&shop.staff_key).send().await;
        assert_eq!(answer.problem(422, "validation_failed").faults(), [fault], "{words:?}");
    }
    let (_, reader) = shop.key("segments:read");
    node.get(&path(&[("q", "zoe")]))
        .bearer(&reader)
        .send()
        .await
        .problem(403, "insufficient_scope");
    node.get(&path(&[("q", "zoe")])).send().await.problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_show_each_customer_once_while_others_are_made_and_changed() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let mut ids = Vec::new();
    for number in 0..30 {
        let email = format!("old{number}@shop.example");
        ids.push(create(&node, &shop, "Old", "One", &email).await);
    }
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    for turn in 0.. {
        let mut query = vec![("q", "one"), ("limit", "4")];
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page = node.get(&path(&query)).bearer(&shop.staff_key).send().await.expect(200).json();
        seen.extend(emails(&page));
        // Between two pages others come to be, and those that were seen, or not yet, change.
        create(&node, &shop, "New", "One", &format!("new{turn}@shop.example")).await;
        for id in [&ids[turn % 30], &ids[29 - turn % 30]] {
            let change = json!({ "tags": [format!("turn{turn}")] });
            let change = node.patch(&format!("/v1/admin/customers/{id}"), change);
            change.bearer(&shop.staff_key).send().await.expect(200);
        }
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..30).rev().map(|n| format!("old{n}@shop.example")).collect();
    assert_eq!(seen, expected);
}

/// Many customers, of whom one is newer than the next by a minute.
async fn fill(shop: &Shop) {
    let columns = "id, email, email_canonical, phone, first_name, last_name, customer_type, \
                   group_code, status, tags, accepts_marketing, created_at, updated_at, version, sequence";
    let fill = format!(
        "INSERT INTO customers ({columns}) SELECT gen_random_uuid(), 'u' || n || '@x.example', \
         'u' || n || '@x.example', CASE WHEN n % 2 = 0 THEN '+8490' || (1000000 + n) END, \
         (ARRAY['Ánh', 'Minh', 'Zoë', 'Max'])[1 + n % 4], \
         CASE n % 3 WHEN 0 THEN 'Nguyễn' ELSE initcap(substr(md5(n::text), 1, 8)) END, 'individual', \
         CASE n % 200 WHEN 0 THEN 'business' ELSE 'individual' END, \
         CASE n % 100 WHEN 0 THEN 'suspended' ELSE 'active' END, \
         CASE n % 400 WHEN 0 THEN ARRAY['vip'] ELSE '{{}}' END, false, \
         timestamptz '2026-01-01' + n * interval '1 minute', now(), 1, 1 \
         FROM generate_series(1, {MANY}) AS n"
    );
    shop.database.execute(&fill).await;
    shop.database
        .execute(
            "INSERT INTO customer_identifiers (kind, value, customer_id) \
             SELECT 'email', email_canonical, id FROM customers",
        )
        .await;
    shop.database.execute("VACUUM ANALYZE customers").await;
    shop.database.execute("ANALYZE customer_identifiers").await;
}

/// Whether it stands among those that come next, or far behind them; whether the index knows all of
/// it or only its beginning.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beginning_is_found_wherever_it_stands() {
    let shop = Shop::new().await;
    fill(&shop).await;
    let database = shop.database.database();
    for (words, at_least) in [
        (vec!["nguyen"], 26),
        (vec!["u39999"], 1),
        (vec!["u77"], 26),
        (vec!["u4001"], 1),
        (vec!["u4001@x.example"], 1),
        (vec!["u12345@x.example"], 1),
        (vec!["u12345@x.examplf"], 0),
        (vec!["zoe", "u10"], 10),
        (vec!["zoe", "max"], 0),
        (vec!["12345"], 0),
    ] {
        for after in [None, Some(("2026-01-20T00:00:00Z".parse().unwrap(), Uuid::nil()))] {
            let word = |text: &&str| Word { text: (*text).to_owned(), anywhere: false };
            let filter = Filter { words: words.iter().map(word).collect(), ..Filter::default() };
            let read = database.read(move |connection| {
                let filter = filter.clone();
                Box::pin(async move { page(connection, &filter, after, 26).await })
            });
            let found: Vec<_> = read.await.unwrap().iter().map(|one| one.id.to_string()).collect();
            let holds = words
                .iter()
                .map(|word| format!("(' ' || search_text) LIKE searchable('% {word}%')"));
            let holds: Vec<_> = holds.collect();
            let before =
                after.map_or("infinity".to_owned(), |(at, _): (DateTime<Utc>, _)| at.to_rfc3339());
            let wanted = format!(
                "SELECT coalesce(string_agg(id::text, ',' ORDER BY created_at DESC, id DESC), '') FROM \
                 (SELECT id, created_at FROM customers WHERE created_at < '{before}' AND {} \
                 ORDER BY created_at DESC, id DESC LIMIT 26) AS page",
                holds.join(" AND ")
            );
            let expected = shop.database.one(&wanted).await;
            assert_eq!(found.join(","), expected, "{words:?} after {after:?}");
            assert!(after.is_some() || found.len() >= at_least, "{words:?}: {}", found.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_search_reads_the_whole_table() {
    let shop = Shop::new().await;
    fill(&shop).await;
    let word = |text: &str, anywhere| vec![Word { text: text.to_owned(), anywhere }];
    let filter = Filter::default;
    let deep: Option<(DateTime<Utc>, Uuid)> =
        Some(("2026-01-10T00:00:00Z".parse().unwrap(), Uuid::nil()));
    let searches = [
        ("all", filter(), None),
        ("a deep page of all", filter(), deep),
        ("e-mail", Filter { email: Some("u77@x.example".to_owned()), ..filter() }, None),
        ("phone", Filter { phone: Some("+84901000002".to_owned()), ..filter() }, None),
        ("a frequent beginning", Filter { words: word("nguyen", false), ..filter() }, None),
        ("its deep page", Filter { words: word("nguyen", false), ..filter() }, deep),
        ("a rare beginning", Filter { words: word("u7777", false), ..filter() }, None),
        ("a frequent part", Filter { words: word("guye", true), ..filter() }, None),
        ("a rare part", Filter { words: word("7777@", true), ..filter() }, None),
        ("a part that nobody has", Filter { words: word("qqqq", true), ..filter() }, None),
        ("status", Filter { status: Some(Status::Suspended), ..filter() }, None),
        ("group", Filter { group: Some("business".to_owned()), ..filter() }, None),
        ("a deep page of a group", Filter { group: Some("business".to_owned()), ..filter() }, deep),
        ("tag", Filter { tag: Some("vip".to_owned()), ..filter() }, None),
        ("a tag that nobody has", Filter { tag: Some("none".to_owned()), ..filter() }, None),
        (
            "group and tag",
            Filter { group: Some("business".to_owned()), tag: Some("vip".to_owned()), ..filter() },
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
        let words = plan.split_whitespace().filter(|word| word.starts_with("customers_"));
        indexes.extend(words.map(str::to_owned));
    }
    for index in [
        "customers_beginnings",
        "customers_created",
        "customers_group",
        "customers_phone",
        "customers_search",
    ] {
        assert!(indexes.contains(index), "{index} is not used: {indexes:?}");
    }
}

/// Trigrams end at signs: the pieces of `max-0` are on every row here, the whole on one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_word_with_a_sign_is_found_by_the_index_alone() {
    let shop = Shop::new().await;
    let database = &shop.database;
    let letters = "SELECT folded('ŧđłøħıŋæŦĐŁØĦŊÆ') ~ '[ŧđłøħıŋæ]'";
    assert_eq!(database.one(letters).await, "f", "they are nobody's once they are folded");
    database
        .execute(
            "INSERT INTO customers (id, email, email_canonical, first_name, last_name, \
             customer_type, group_code, status, accepts_marketing, created_at, updated_at, version, \
             sequence) SELECT gen_random_uuid(), e, e, 'Max', 'One', 'individual', 'individual', \
             'active', false, now(), now(), 1, 1 FROM (SELECT 'max-' || n || '@mail-0.example' AS e \
             FROM generate_series(0, 1999) AS n) AS emails",
        )
        .await;
    database.execute("VACUUM ANALYZE customers").await;
    let looked_up = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM customers \
        WHERE deleted_at IS NULL AND search_text LIKE searchable('% max-0%')";
    let client = database.client().await;
    client.batch_execute("SET enable_seqscan = off; SET enable_indexscan = off").await.unwrap();
    let plan = client.query(looked_up, &[]).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("customers_search") && plan.contains("rows=1 "), "{plan}");
    assert!(!plan.contains("Rows Removed by Index Recheck"), "{plan}");
}
