//! Every route for customers and for staff, from the description that the service serves: called
//! right, wrong, by nobody, without the scope, and for what is another customer's.
//!
//! A row of `mine` or `staff` says how an operation is called right; everything else follows from it
//! and from the description. An operation without a row fails the test, so that no route is
//! forgotten.

mod mine;
mod reads;
mod scans;
mod staff;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use customer_service::clock::{Clock, SystemClock};
use customer_service::http::principal::SCOPES;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::api::Call;
use crate::harness::{Answer, IdentityProvider, Node, Shop, Shopper};

/// A right call.
pub struct Trial {
    path: String,
    body: Sent,
    status: u16,
}

enum Sent {
    Nothing,
    Json(Value),
    Csv(&'static str),
}

impl Trial {
    /// Answered with 200.
    fn at(path: impl Into<String>) -> Self {
        Self { path: path.into(), body: Sent::Nothing, status: 200 }
    }

    fn with(self, body: Value) -> Self {
        Self { body: Sent::Json(body), ..self }
    }

    fn csv(self, text: &'static str) -> Self {
        Self { body: Sent::Csv(text), ..self }
    }

    fn answers(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// A service with every way in switched on, and two customers who have nothing to do with each
/// other.
pub struct World {
    shop: Shop,
    node: Node,
    provider: IdentityProvider,
    one: Shopper,
    other: Shopper,
}

impl World {
    async fn new() -> Self {
        Self::arranged("").await
    }

    /// With something done to the database (SQL) before anybody connects.
    async fn arranged(sql: &str) -> Self {
        let provider = IdentityProvider::start().await;
        let mut settings = provider.settings("google");
        let passkeys = crate::passkeys::SETTINGS;
        settings.extend(passkeys.map(|(key, value)| (key.to_owned(), value.to_owned())));
        settings.push(("PRIVACY__COMMANDS".to_owned(), "order.anonymize".to_owned()));
        settings.push(("ORDERS__RECONCILIATION__EVERY_HOURS".to_owned(), "1".to_owned()));
        let settings: Vec<_> = settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let shop = Shop::configured(&settings).await;
        shop.database.execute(sql).await;
        let node = shop.node().await;
        let one = Shopper::new(&shop, &node).await;
        let other = Shopper::new(&shop, &node).await;
        Self { shop, node, provider, one, other }
    }

    /// Who calls: somebody new where the call changes how one signs in.
    async fn someone(&self, operation: &Operation) -> Shopper {
        let new = || Shopper::new(&self.shop, &self.node);
        if operation.template == "/v1/me/privacy/deletion" {
            return match operation.method {
                Method::POST => new().await,
                _ => mine::leaving(self, &new().await).await,
            };
        }
        let delicate =
            ["/mfa", "/passkeys", "/identities", "/phone", "/password", "/email", "/privacy"];
        match delicate.iter().any(|part| operation.template.contains(part)) {
            true => Shopper::new(&self.shop, &self.node).await,
            false => self.one.clone(),
        }
    }

    fn call(&self, operation: &Operation, path: &str, body: &Sent) -> Call {
        let call = self.node.call(operation.method.clone(), path);
        match body {
            Sent::Nothing => call,
            Sent::Json(body) => call.json(body.clone()),
            Sent::Csv(text) => call.body("text/csv", text.as_bytes().to_vec()),
        }
    }
}

/// What the description says about an operation.
struct Operation {
    method: Method,
    template: String,
    name: String,
    /// Empty for a customer's.
    scopes: Vec<String>,
    takes_json: bool,
    query: BTreeSet<String>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (template, item) in document["paths"].as_object().unwrap() {
        if !template.starts_with("/v1/me") && !template.starts_with("/v1/admin/") {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            let scopes = operation["security"][0]["staff"].as_array().into_iter().flatten();
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let method = method.to_uppercase();
            found.push(Operation {
                name: format!("{method} {template}"),
                method: method.parse().unwrap(),
                template: template.clone(),
                scopes: scopes.map(|scope| scope.as_str().unwrap().to_owned()).collect(),
                takes_json: operation["requestBody"]["content"]["application/json"].is_object(),
                query: parameters
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                    .collect(),
            });
        }
    }
    found
}

/// What went otherwise than it should, all of it.
#[derive(Default)]
struct Findings(String);

impl Findings {
    fn note(&mut self, what: &str, answer: &Answer) {
        writeln!(self.0, "{what}: {} {}", answer.status, answer.text()).unwrap();
    }

    /// The answer must be this problem, as a problem document.
    fn problem(&mut self, what: &str, answer: &Answer, status: u16, codes: &[&str]) {
        let is_document = answer.header("content-type") == "application/problem+json";
        if answer.status != status || !codes.contains(&answer.code().as_str()) || !is_document {
            self.note(&format!("{what}: expected {status} {codes:?}"), answer);
        }
    }
}

const MALFORMED: &[&str] = &["malformed_json"];
const INVALID: &[&str] = &["validation_failed"];

impl World {
    /// Without credentials, and with somebody else's kind of credentials.
    async fn by_nobody(&self, operation: &Operation, trial: &Trial, findings: &mut Findings) {
        let call = || self.call(operation, &trial.path, &trial.body);
        let name = &operation.name;
        let bare = call().send().await;
        findings.problem(&format!("{name} by nobody"), &bare, 401, &["unauthorized"]);
        let foreign = match operation.scopes.is_empty() {
            true => &self.shop.staff_key,
            false => &self.one.access,
        };
        let mixed = call().bearer(foreign).send().await;
        findings.problem(&format!("{name} by the wrong kind"), &mixed, 401, &["unauthorized"]);
    }

    /// A body, a parameter or an id that nobody can mean.
    async fn wrong(
        &self,
        operation: &Operation,
        trial: &Trial,
        key: &str,
        findings: &mut Findings,
    ) {
        let name = &operation.name;
        if operation.takes_json {
            let half = self.node.call(operation.method.clone(), &trial.path);
            let half = half.bearer(key).body("application/json", b"{\"a\":".to_vec()).send().await;
            findings.problem(&format!("{name} with half a body"), &half, 400, MALFORMED);
            let bogus = Sent::Json(json!({ "bogus": 1 }));
            let bogus = self.call(operation, &trial.path, &bogus).bearer(key).send().await;
            findings.problem(&format!("{name} with a bogus field"), &bogus, 422, INVALID);
            if bogus.status == 422 && !bogus.faults().contains(&"#/bogus unknown_field".to_owned())
            {
                findings.note(&format!("{name} does not name the bogus field"), &bogus);
            }
        }
        for (parameter, value) in [
            ("limit", "0"),
            ("expand", "bogus"),
            ("at", "soon"),
            ("from", "soon"),
            ("by", "hour"),
            ("group", "A B"),
            ("currency", "BTC"),
            ("format", "png"),
        ] {
            if operation.query.contains(parameter) {
                let path = format!("{}?{parameter}={value}", trial.path);
                let bad = self.call(operation, &path, &trial.body).bearer(key).send().await;
                findings.problem(&format!("{name} with a bad {parameter}"), &bad, 422, INVALID);
            }
        }
        if let Some(id) = ids(&trial.path).first() {
            let path = trial.path.replace(id, "x");
            let bad = self.call(operation, &path, &trial.body).bearer(key).send().await;
            findings.problem(&format!("{name} with a bad id"), &bad, 404, &["not_found"]);
        }
    }

    /// What is not there and what is another customer's are answered alike.
    async fn foreign(
        &self,
        operation: &Operation,
        (trial, foreign): (&Trial, &str),
        key: &str,
        findings: &mut Findings,
    ) {
        let name = &operation.name;
        let own = ids(&trial.path);
        let Some(last) = own.last() else { return };
        let absent = trial.path.replace(last, &SystemClock.new_id().to_string());
        let absent = self.call(operation, &absent, &trial.body).bearer(key).send().await;
        findings.problem(&format!("{name} of what is absent"), &absent, 404, &["not_found"]);
        if foreign == trial.path {
            return;
        }
        let theirs = self.call(operation, foreign, &trial.body).bearer(key).send().await;
        findings.problem(&format!("{name} of another customer"), &theirs, 404, &["not_found"]);
        if theirs.status == 404 && shape(&theirs) != shape(&absent) {
            findings.note(
                &format!("{name}: another customer's can be told from an absent one"),
                &theirs,
            );
        }
    }
}

/// The ids in a path, in their order.
fn ids(path: &str) -> Vec<String> {
    let parts = path.split(['/', '?']).filter(|part| part.len() == 36);
    parts.filter(|part| Uuid::parse_str(part).is_ok()).map(str::to_owned).collect()
}

/// All of a problem but what names the request.
fn shape(answer: &Answer) -> Value {
    let mut body = answer.json();
    for member in ["request_id", "instance"] {
        body[member] = Value::Null;
    }
    body
}

/// The staff keys that the trials need: one that carries exactly these scopes, one that carries all
/// others.
struct Keys(BTreeMap<Vec<String>, (String, String)>);

impl Keys {
    fn new(shop: &Shop, operations: &[Operation]) -> Self {
        let mut keys = BTreeMap::new();
        for operation in operations.iter().filter(|operation| !operation.scopes.is_empty()) {
            keys.entry(operation.scopes.clone()).or_insert_with(|| {
                let needed = |scope: &&&str| operation.scopes.iter().any(|one| one == **scope);
                let others: Vec<_> =
                    SCOPES.iter().filter(|scope| !needed(scope)).copied().collect();
                (shop.key(&operation.scopes.join(",")).1, shop.key(&others.join(",")).1)
            });
        }
        Self(keys)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_customers_is_tried_right_wrong_and_by_others() {
    let world = World::new().await;
    let document = world.node.get("/openapi.json").send().await.expect(200).json();
    let mut findings = Findings::default();
    let mut tried = 0;
    for operation in operations(&document) {
        if !operation.template.starts_with("/v1/me") {
            continue;
        }
        let name = operation.name.as_str();
        let who = world.someone(&operation).await;
        let Some(trial) = mine::trial(&world, &who, name).await else {
            panic!("{name} has no row: add it to tests/it/routes/mine.rs");
        };
        let foreign = match ids(&trial.path).is_empty() {
            true => trial.path.clone(),
            false => mine::trial(&world, &world.other, name).await.expect("the same row").path,
        };
        world.by_nobody(&operation, &trial, &mut findings).await;
        world.wrong(&operation, &trial, &who.access, &mut findings).await;
        world.foreign(&operation, (&trial, &foreign), &who.access, &mut findings).await;
        let right = world.call(&operation, &trial.path, &trial.body).bearer(&who.access);
        let right = right.send().await;
        if right.status != trial.status {
            findings.note(&format!("{name} right: expected {}", trial.status), &right);
        }
        tried += 1;
    }
    assert!(findings.0.is_empty(), "\n{}", findings.0);
    assert!(tried >= 50, "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_of_staff_is_tried_right_wrong_and_without_its_scope() {
    let world = World::new().await;
    let document = world.node.get("/openapi.json").send().await.expect(200).json();
    let operations = operations(&document);
    let keys = Keys::new(&world.shop, &operations);
    let mut findings = Findings::default();
    let mut tried = 0;
    for operation in operations.iter().filter(|one| one.template.starts_with("/v1/admin/")) {
        let name = operation.name.as_str();
        let Some((needed, others)) = keys.0.get(&operation.scopes) else {
            panic!("{name} documents no scope");
        };
        let Some(trial) = staff::trial(&world, &world.one, name).await else {
            panic!("{name} has no row: add it to tests/it/routes/staff.rs");
        };
        // what belongs to another customer, below the first one; who is in a segment belongs to nobody
        let mut foreign = trial.path.clone();
        if let [_, own] = ids(&trial.path).as_slice()
            && !trial.path.starts_with("/v1/admin/segments/")
        {
            let theirs = staff::trial(&world, &world.other, name).await.expect("the same row");
            foreign = foreign.replace(own, &ids(&theirs.path)[1]);
        }
        world.by_nobody(operation, &trial, &mut findings).await;
        let barred = world.call(operation, &trial.path, &trial.body).bearer(others).send().await;
        findings.problem(&format!("{name} without scope"), &barred, 403, &["insufficient_scope"]);
        world.wrong(operation, &trial, needed, &mut findings).await;
        world.foreign(operation, (&trial, &foreign), needed, &mut findings).await;
        let right = world.call(operation, &trial.path, &trial.body).bearer(needed).send().await;
        if right.status != trial.status {
            findings.note(&format!("{name} right: expected {}", trial.status), &right);
        }
        tried += 1;
    }
    assert!(findings.0.is_empty(), "\n{}", findings.0);
    assert!(tried >= 40, "{tried}");
}
