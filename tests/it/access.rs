//! Every route of the API description, called without and with the wrong credentials. A new route
//! cannot escape: the list is the description itself.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::harness::{Api, Shop, Shopper};

/// What anybody may call.
const PUBLIC: &[&str] = &[
    "/v1/auth/",
    "/v1/countries",
    "/v1/wishlists/shared/",
    "/problems",
    "/health/",
    "/livez",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/asyncapi.json",
    "/schemas",
    "/.well-known/",
];

/// One operation of the API description.
pub struct Operation {
    pub method: Method,
    /// With parameters in braces.
    pub template: String,
    /// `customer`, `staff`, or nothing.
    pub security: Vec<String>,
    /// The schema of its JSON body.
    pub body: Option<Value>,
    /// The names of everything that it takes: parameters, and fields of its body at any depth.
    pub fields: BTreeSet<String>,
    /// The statuses that it may answer with.
    pub answers: BTreeSet<String>,
}

impl Operation {
    /// The path with every parameter replaced.
    pub fn path(&self, parameter: &str) -> String {
        let mut path = self.template.clone();
        while let (Some(from), Some(to)) = (path.find('{'), path.find('}')) {
            path.replace_range(from..=to, parameter);
        }
        path
    }

    /// `GET /v1/me`
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.template)
    }
}

/// Every operation that the service describes.
pub async fn operations(node: &Api) -> Vec<Operation> {
    let document = node.get("/openapi.json").send().await.expect(200).json();
    let mut operations = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if !operation.is_object() || method.as_str() == "PARAMETERS" {
                continue;
            }
            let security = operation["security"].as_array().cloned().unwrap_or_default();
            let names =
                security.iter().filter_map(|scheme| scheme.as_object()?.keys().next().cloned());
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let mut fields: BTreeSet<_> = parameters
                .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
                .collect();
            let body = &operation["requestBody"];
            collect_fields(&document, body, &mut BTreeSet::new(), &mut fields);
            let answers = operation["responses"].as_object().into_iter().flatten();
            operations.push(Operation {
                method,
                template: template.clone(),
                security: names.collect(),
                body: schema.is_object().then(|| resolved(&document, schema)),
                fields,
                answers: answers.map(|(status, _)| status.clone()).collect(),
            });
        }
    }
    assert!(operations.len() >= 25, "only {} operations are described", operations.len());
    operations
}

fn resolved(document: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap().clone(),
        None => schema.clone(),
    }
}

/// Adds the names of all properties below a node, through its references.
fn collect_fields(
    document: &Value,
    node: &Value,
    seen: &mut BTreeSet<String>,
    fields: &mut BTreeSet<String>,
) {
    for (name, value) in node.as_object().into_iter().flatten() {
        if name == "properties" {
            fields.extend(value.as_object().into_iter().flatten().map(|(field, _)| field.clone()));
        }
        if let ("$ref", Some(reference)) = (name.as_str(), value.as_str())
            && seen.insert(reference.to_owned())
        {
            collect_fields(document, document.pointer(&reference[1..]).unwrap(), seen, fields);
        }
        collect_fields(document, value, seen, fields);
    }
    for item in node.as_array().into_iter().flatten() {
        collect_fields(document, item, seen, fields);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_that_is_not_public_asks_who_is_there() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let shopper = Shopper::new(&shop, &node).await;
    let id = "0190b4a0-0000-7000-8000-000000000000";
    for operation in operations(&node).await {
        let (name, path) = (operation.name(), operation.path(id));
        // The supervision page is empty until it is given a key.
        let public = operation.template == "/ops"
            || PUBLIC.iter().any(|prefix| operation.template.starts_with(prefix));
        assert_eq!(public, operation.security.is_empty(), "{name}: {:?}", operation.security);
        if public {
            continue;
        }
        let call = || node.call(operation.method.clone(), &path);
        let bare = call().send().await.problem(401, "unauthorized");
        assert_eq!(bare.header("www-authenticate"), "Bearer", "{name}");
        let other = match operation.security[0].as_str() {
            "customer" => shop.staff_key.as_str(),
            "staff" => shopper.access.as_str(),
            scheme => panic!("{name} has the scheme {scheme}"),
        };
        for token in ["x", "csk_aaaaaaaaaaaa_bbbbbbbbbbbbbbbbbbbb", other] {
            let refused = call().bearer(token).send().await.problem(401, "unauthorized");
            assert!(refused.header("www-authenticate").contains("invalid_token"), "{name}");
        }
        let basic = call().header("authorization", "Basic YTpi").send().await;
        basic.problem(401, "unauthorized");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_staff_route_asks_for_a_scope() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let [(_, analyst), (_, locksmith)] =
        ["analytics:read", "keys:write"].map(|scope| shop.key(scope));
    let id = "0190b4a0-0000-7000-8000-000000000000";
    for operation in operations(&node).await {
        if operation.security.first().is_some_and(|scheme| scheme == "staff") {
            let path = operation.path(id);
            let counts = path.contains("/analytics/") || path.ends_with("/predictions");
            let key = if counts { &locksmith } else { &analyst };
            let call = node.call(operation.method.clone(), &path).bearer(key);
            call.send().await.problem(403, "insufficient_scope");
        }
    }
}
