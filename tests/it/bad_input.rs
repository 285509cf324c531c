//! Bad input over every route that the API description lists: the documented status with the field
//! named, never a 500.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::access::{Operation, operations};
use crate::harness::api::Call;
use crate::harness::{Answer, Api, Node, Shop, Shopper};
use crate::segments::shelf::{by_hand, rule};

/// The segments there are.
const SEGMENT: &str = "hostile";
const BY_HAND: &str = "by-hand";

/// A service, and a caller for each kind of route.
struct Stage {
    shop: Shop,
    node: Node,
    shopper: Shopper,
    address: String,
    /// Of another customer.
    erasure: String,
}

impl Stage {
    async fn new() -> Self {
        let shop = Shop::new().await;
        let node = shop.node().await;
        let shopper = Shopper::new(&shop, &node).await;
        let address = shopper.add_address(&node, "Huế").await;
        rule(&shop, &node, SEGMENT, "mfa_enabled = true").await;
        by_hand(&shop, &node, BY_HAND).await;
        let leaver = Shopper::new(&shop, &node).await;
        let path = format!("/v1/admin/customers/{}/deletion", leaver.id);
        let asked = node.post(&path, json!({})).bearer(&shop.staff_key).send().await.expect(202);
        let erasure = asked.json()["id"].as_str().unwrap().to_owned();
        Self { shop, node, shopper, address, erasure }
    }

    /// A call that only its input can make fail.
    fn call(&self, operation: &Operation) -> Call {
        let id: &str = if operation.template.contains("/addresses/") {
            &self.address
        } else if operation.template.contains("/sessions/") {
            &self.shopper.session
        } else if operation.template.ends_with("/{id}/members") {
            BY_HAND
        } else if operation.template.contains("/erasures/") {
            &self.erasure
        } else if operation.template.contains("/segments/") {
            SEGMENT
        } else {
            &self.shopper.id
        };
        let call = self.node.call(operation.method.clone(), &operation.path(id));
        self.signed(operation, call)
    }

    fn signed(&self, operation: &Operation, call: Call) -> Call {
        match operation.security.first().map(String::as_str) {
            Some("customer") => call.bearer(&self.shopper.access),
            Some("staff") => call.bearer(&self.shop.staff_key),
            _ => call,
        }
    }
}

fn refused(answer: &Answer, name: &str, what: &str, status: u16, code: &str) {
    let told = format!("{name} with {what}: {} {}", answer.status, answer.text());
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{told}");
    answer.assert_problem();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_cannot_be_read_are_told_so_by_every_route() {
    let stage = Stage::new().await;
    let deep = format!("{}1{}", "{\"a\":".repeat(40), "}".repeat(40));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(70_000));
    for operation in operations(&stage.node).await {
        let Some(schema) = &operation.body else { continue };
        // Without a field that must be there, the whole body may be left out.
        let optional = schema["required"].as_array().is_none_or(Vec::is_empty);
        let name = operation.name();
        let json = "application/json";
        for (what, content_type, body, status, code) in [
            ("an open brace", json, b"{".to_vec(), 400, "malformed_json"),
            ("nothing", json, Vec::new(), 400, "malformed_json"),
            (
                "a doubled field",
                json,
                br#"{"email":"a","email":"b"}"#.to_vec(),
                400,
                "malformed_json",
            ),
            (
                "bytes that are no UTF-8",
                json,
                b"{\"a\":\"\xff\xfe\"}".to_vec(),
                400,
                "malformed_json",
            ),
            ("half a surrogate", json, br#"{"a":"\ud800"}"#.to_vec(), 400, "malformed_json"),
            ("a deep nest", json, deep.clone().into_bytes(), 400, "malformed_json"),
            ("a huge number", json, br#"{"a":1e400}"#.to_vec(), 400, "malformed_json"),
            ("too much", json, large.clone().into_bytes(), 413, "payload_too_large"),
            ("plain text", "text/plain", b"{}".to_vec(), 415, "unsupported_media_type"),
            (
                "a form",
                "application/x-www-form-urlencoded",
                b"a=b".to_vec(),
                415,
                "unsupported_media_type",
            ),
            ("an array", json, b"[]".to_vec(), 422, "validation_failed"),
            ("a string", json, b"\"x\"".to_vec(), 422, "validation_failed"),
        ] {
            let answer = stage.call(&operation).body(content_type, body).send().await;
            if optional && what == "nothing" && answer.status < 500 {
                continue;
            }
            refused(&answer, &name, what, status, code);
        }
        let unknown = stage.call(&operation).json(json!({ "no_such_field": 1 })).send().await;
        refused(&unknown, &name, "an unknown field", 422, "validation_failed");
        let faults = unknown.faults();
        assert!(faults.contains(&"#/no_such_field unknown_field".to_owned()), "{name}: {faults:?}");
        let bare = stage.call(&operation).send().await;
        let left_out = optional && bare.status < 500;
        assert!(
            left_out || matches!(bare.status, 400 | 415),
            "{name} without a body: {}",
            bare.text()
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_of_every_body_is_named_when_its_value_is_hostile() {
    let stage = Stage::new().await;
    let long = "x".repeat(20_000);
    let zalgo = format!("a{}", "\u{0301}".repeat(5_000));
    let hostile: Vec<(&str, Value)> = vec![
        ("an object in a list", json!([{ "a": [] }])),
        ("a nul", json!("a\u{0}b")),
        ("an overlong text", json!(long)),
        ("stacked accents", json!(zalgo)),
        ("a direction override", json!("gpj\u{202e}exe")),
        ("a huge integer", json!(9_007_199_254_740_991_i64)),
        ("a fraction", json!(1.5)),
        ("an empty text", json!("")),
        ("a path", json!("../../etc/passwd")),
        ("SQL", json!("'; DROP TABLE customers; --")),
    ];
    // What may stand in any text is accepted; these never may.
    let never =
        ["an object in a list", "a nul", "an overlong text", "stacked accents", "a fraction"];
    let mut fields = 0;
    for operation in operations(&stage.node).await {
        let Some(schema) = &operation.body else { continue };
        let name = operation.name();
        for field in schema["properties"].as_object().into_iter().flat_map(|all| all.keys()) {
            fields += 1;
            for (what, value) in &hostile {
                let answer = stage.call(&operation).json(json!({ field: value })).send().await;
                let told =
                    format!("{name}: {what} as {field}: {} {}", answer.status, answer.text());
                assert!(answer.status < 500, "{told}");
                // A token that is no token is answered as one that is not valid.
                let token = field.contains("token")
                    || field.contains("password")
                    || field.contains("challenge")
                    || operation.template.contains("/social/")
                    || operation.template.contains("/identities/");
                // The bounds of a decimal attribute.
                let number = matches!(field.as_str(), "minimum" | "maximum");
                let right = token || (number && *what == "a fraction");
                if never.contains(what) && !right {
                    assert_eq!(answer.status, 422, "{told}");
                    let place = format!("#/{field}");
                    let named = answer.faults().iter().any(|fault| fault.starts_with(&place));
                    assert!(named, "{told}");
                    answer.assert_problem();
                }
            }
        }
    }
    assert!(fields >= 40, "only {fields} fields were tried");
    assert_eq!(
        stage.shop.database.count("SELECT count(*) FROM customers WHERE deleted_at IS NULL").await,
        2,
        "those of the stage"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_methods_ids_and_parameters_have_their_status() {
    let stage = Stage::new().await;
    let operations = operations(&stage.node).await;
    let templates: BTreeSet<_> = operations.iter().map(|o| o.template.clone()).collect();
    for template in &templates {
        let known: BTreeSet<String> = operations
            .iter()
            .filter(|operation| &operation.template == template)
            .map(|operation| operation.method.to_string())
            .collect();
        let first = operations.iter().find(|operation| &operation.template == template).unwrap();
        let path = first.path(&stage.shopper.id);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"] {
            if known.contains(method) {
                continue;
            }
            let call = stage.node.call(method.parse::<Method>().unwrap(), &path);
            let answer = stage.signed(first, call).send().await;
            // /a/{id} may also be what another template calls /a/default, and then wants a body.
            if answer.status == 405 {
                assert!(!answer.header("allow").is_empty(), "{method} {template}");
                answer.problem(405, "method_not_allowed");
            } else {
                assert!(
                    matches!(answer.status, 401 | 404 | 415),
                    "{method} {template}: {}",
                    answer.status
                );
            }
        }
    }
    for operation in &operations {
        if !operation.template.contains('{') || operation.template.starts_with("/docs") {
            continue;
        }
        for id in
            ["x", "%00", "..%2f..", "0190b4a0000070008000000000000000", "%F0%9F%91%8B", "-1", "%ff"]
        {
            let call = stage.node.call(operation.method.clone(), &operation.path(id));
            let call = stage.signed(operation, call);
            let call = if operation.body.is_some() { call.json(json!({})) } else { call };
            let answer = call.send().await;
            let told =
                format!("{} with id {id}: {} {}", operation.name(), answer.status, answer.text());
            // Whoever shows no proof learns nothing of the id.
            let unproven = answer.status == 403 && answer.code() == "proof_needed";
            assert!(unproven || matches!(answer.status, 400 | 404 | 422), "{told}");
            answer.assert_problem();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_are_read_as_strictly_as_bodies() {
    let stage = Stage::new().await;
    let addresses = "/v1/me/addresses";
    let customers = "/v1/admin/customers";
    let (owner, staff) = (stage.shopper.access.as_str(), stage.shop.staff_key.as_str());
    for (path, token) in [(addresses, owner), (customers, staff)] {
        for (query, status) in [
            ("limit=0", 422),
            ("limit=101", 422),
            ("limit=x", 422),
            ("limit=-1", 422),
            ("limit=1e2", 422),
            ("cursor=x", 422),
            ("cursor=W10", 422),
            ("cursor=WyJ0aGluZ3MiLDFd", 422),
            ("limt=1", 422),
            ("limit=1&limit=2", 400),
            ("limit=%ff", 400),
        ] {
            let answer = stage.node.get(&format!("{path}?{query}")).bearer(token).send().await;
            let told = format!("{path}?{query}: {} {}", answer.status, answer.text());
            assert_eq!(answer.status, status, "{told}");
            answer.assert_problem();
            if status == 422 {
                let parameter = query.split('=').next().unwrap();
                assert!(answer.faults()[0].starts_with(&format!("{parameter} ")), "{told}");
            }
        }
    }
    for query in ["status=gone", "expand=stats", "created_from=yesterday", "email=x"] {
        let answer = stage.node.get(&format!("{customers}?{query}")).bearer(staff).send().await;
        let told = format!("{query}: {} {}", answer.status, answer.text());
        assert!(matches!(answer.status, 200 | 422), "{told}");
    }
    for query in ["email=%00", "q=%00"] {
        let answer = stage.node.get(&format!("{customers}?{query}")).bearer(staff).send().await;
        answer.problem(400, "malformed_query");
    }
    let long = format!("{customers}?q={}", "x".repeat(5000));
    stage.node.get(&long).bearer(staff).send().await.problem(414, "uri_too_long");
    let unknown = stage.node.get("/v1/me?expand=secrets").bearer(owner).send().await;
    assert_eq!(unknown.problem(422, "validation_failed").faults()[0], "expand unknown_value");
    for path in ["/", "/v1", "/v1/nothing", "/v1/me/", "//v1/me", "/v1/admin"] {
        stage.node.get(path).send().await.problem(404, "not_found");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_faults_of_a_body_are_told_at_once_and_none_repeats_what_was_sent() {
    let stage = Stage::new().await;
    let body = json!({
        "email": "secret-hawthorne", "password": "short", "first_name": "", "phone": "secret-hawthorne",
        "locale": "secret-hawthorne", "timezone": "Mars/Olympus", "customer_type": "king", "extra": 1,
    });
    let answer = stage.node.post("/v1/auth/register", body).send().await;
    let answer = answer.problem(422, "validation_failed");
    let named: BTreeSet<_> =
        answer.faults().iter().map(|fault| fault.split(' ').next().unwrap().to_owned()).collect();
    let expected = [
        "#/customer_type",
        "#/email",
        "#/extra",
        "#/first_name",
        "#/last_name",
        "#/locale",
        "#/password",
        "#/phone",
        "#/timezone",
    ];
    let expected: BTreeSet<_> = expected.into_iter().map(str::to_owned).collect();
    assert_eq!(named, expected);
    assert!(!answer.text().contains("hawthorne"), "{}", answer.text());
    assert!(!stage.node.log().contains("hawthorne"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_names_survive_in_every_script() {
    let stage = Stage::new().await;
    let node: &Api = &stage.node;
    for name in [
        "Nguyễn Thị Ánh",
        "İbrahim Şahin",
        "陳大文",
        "عبد الله",
        "Zoë 👩‍👩‍👧",
        "McDONALD",
        "d'Árc",
        "O’Neill",
    ] {
        let body = json!({ "first_name": format!("  {name} "), "last_name": name });
        let changed = stage.shopper.patch(node, "/v1/me", body).send().await.expect(200).json();
        assert_eq!((&changed["first_name"], &changed["last_name"]), (&json!(name), &json!(name)));
        let read = stage.shopper.get(node, "/v1/me").send().await.expect(200).json();
        assert_eq!(read["first_name"], name);
    }
}
