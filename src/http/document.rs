//! The OpenAPI document as generators of clients need it: an id for every operation that makes a good
//! name of a method, a description for every answer, one schema for one thing.
//!
//! What follows from the shape of a route is made here for all of them at once, so that a new route
//! has it without a word; `tests` hold what no rule can make.

use serde_json::{Map, Value, json};

/// Operations whose path and method do not say what they do.
const IDS: &[(&str, &str, &str)] = &[
    ("POST", "/v1/auth/register", "register"),
    ("POST", "/v1/auth/login", "log_in"),
    ("POST", "/v1/auth/logout", "log_out"),
    ("POST", "/v1/auth/refresh", "refresh_tokens"),
    ("POST", "/v1/auth/mfa", "answer_challenge"),
    ("POST", "/v1/auth/email/verify", "verify_email"),
    ("POST", "/v1/auth/email/resend", "resend_verification"),
    ("POST", "/v1/auth/passkey", "log_in_by_passkey"),
    ("POST", "/v1/auth/passkey/challenge", "begin_passkey_login"),
    ("GET", "/v1/auth/social/{provider}/authorize", "begin_social_login"),
    ("POST", "/v1/auth/social/{provider}", "log_in_by_provider"),
    ("GET", "/v1/me", "get_me"),
    ("PATCH", "/v1/me", "change_me"),
    ("POST", "/v1/me/email", "request_email_change"),
    ("POST", "/v1/me/password", "change_my_password"),
    ("POST", "/v1/me/phone", "request_phone_code"),
    ("GET", "/v1/me/identities", "list_my_identities"),
    ("POST", "/v1/me/identities/{provider}", "link_identity"),
    ("POST", "/v1/me/identities/{provider}/authorize", "begin_identity_link"),
    ("DELETE", "/v1/me/identities/{provider}", "unlink_identity"),
    ("POST", "/v1/me/mfa/backup_codes", "renew_backup_codes"),
    ("POST", "/v1/me/mfa/totp", "begin_totp"),
    ("POST", "/v1/me/mfa/totp/confirm", "confirm_totp"),
    ("DELETE", "/v1/me/mfa/totp", "remove_totp"),
    ("POST", "/v1/me/passkeys/challenge", "begin_passkey"),
    ("DELETE", "/v1/me/sessions", "revoke_my_other_sessions"),
    ("DELETE", "/v1/me/sessions/{id}", "revoke_my_session"),
    ("GET", "/v1/wishlists/shared/{token}", "get_shared_wishlist"),
    ("GET", "/v1/countries", "list_countries"),
    ("DELETE", "/v1/admin/customers/{id}/mfa", "reset_customer_mfa"),
    ("DELETE", "/v1/admin/customers/{id}/sessions", "revoke_customer_sessions"),
    ("POST", "/v1/admin/customers/{id}/status", "move_customer_status"),
    ("POST", "/v1/admin/customers/{id}/tags", "add_customer_tag"),
    ("POST", "/v1/admin/imports", "start_import"),
    ("GET", "/v1/admin/exports/customers", "export_customers"),
    ("GET", "/v1/admin/analytics/registrations", "get_registration_figures"),
    ("GET", "/v1/admin/analytics/logins", "get_sign_in_figures"),
    ("GET", "/v1/admin/analytics/orders", "get_order_figures"),
    ("GET", "/v1/admin/analytics/consents", "get_consent_figures"),
    ("GET", "/v1/admin/analytics/rfm", "get_rfm_groups"),
    ("GET", "/v1/admin/analytics/cohorts", "get_cohorts"),
    ("GET", "/v1/admin/analytics/predictions", "get_predictions"),
    ("GET", "/v1/admin/customers/{id}/predictions", "get_customer_predictions"),
    ("GET", "/problems", "list_problems"),
    ("GET", "/schemas/{kind}.json", "get_message_schema"),
];

/// Bodies that are objects; all others are files, which generators know as binary.
const JSON: [&str; 2] = ["application/json", "application/merge-patch+json"];

/// Makes the finished document fit for generators.
pub fn fit(document: &mut Value) {
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        name_items(schemas);
        spread_choices(schemas);
    }
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            operation["operationId"] = operation_id(&method.to_uppercase(), path, operation).into();
            // not by index, which would put a null where there is nothing
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for schema in parameters.into_iter().flatten().filter_map(|one| one.get_mut("schema")) {
                never_null(schema);
            }
            let bodies = operation.pointer_mut("/requestBody/content");
            for (kind, body) in bodies.and_then(Value::as_object_mut).into_iter().flatten() {
                if !JSON.contains(&kind.as_str())
                    && let Some(schema) = body.get_mut("schema").and_then(Value::as_object_mut)
                {
                    schema.insert("format".to_owned(), "binary".into());
                }
            }
            for (status, answer) in operation["responses"].as_object_mut().into_iter().flatten() {
                describe(status, answer);
            }
        }
    }
}

/// A page inlines the schema of its items; a client would get a second type for each.
fn name_items(schemas: &mut Map<String, Value>) {
    let names: Vec<String> = schemas.keys().cloned().collect();
    for page in names.iter().filter(|name| name.starts_with("Page_")) {
        let item = &page["Page_".len()..];
        if names.iter().any(|name| name == item) {
            schemas[page]["properties"]["items"]["items"] = reference(item);
        }
    }
}

/// All of a choice and more is a choice again: generators join objects, not choices.
fn spread_choices(schemas: &mut Map<String, Value>) {
    let names: Vec<String> = schemas.keys().cloned().collect();
    for name in names {
        let Some(all) = schemas[&name]["allOf"].as_array().cloned() else { continue };
        let choice = all.iter().enumerate().find_map(|(at, part)| {
            let choice = schemas.get(named(part)?)?["oneOf"].as_array()?.clone();
            Some((at, choice))
        });
        let Some((at, choice)) = choice else { continue };
        let mut spread = Vec::new();
        for case in &choice {
            let Some(of) = named(case) else { continue };
            let whole = format!("{name}_{of}");
            spread.push(reference(&whole));
            let mut parts = all.clone();
            parts[at] = case.clone();
            schemas.insert(whole, json!({ "allOf": parts }));
        }
        let description = schemas[&name]["description"].clone();
        schemas.insert(name, json!({ "oneOf": spread, "description": description }));
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The name of the schema that is referred to.
fn named(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

/// A parameter is there or not: there is no null in a header or a query.
fn never_null(schema: &mut Value) {
    if let Some(types) = schema.get_mut("type").and_then(Value::as_array_mut) {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            schema["type"] = one.clone();
        }
    }
}

/// Every answer has a description (OpenAPI 3.1 insists), and every problem its media type.
fn describe(status: &str, answer: &mut Value) {
    if answer.get("$ref").is_some() {
        return;
    }
    if answer["description"].as_str().unwrap_or_default().is_empty() {
        let status = status.parse().ok().and_then(http_status);
        answer["description"] = status.unwrap_or("The answer").into();
    }
    if answer.get("content").is_none() && status.starts_with(['4', '5']) {
        let problem = json!({ "schema": reference("Problem") });
        answer["content"] = json!({ "application/problem+json": problem });
    }
    if let Some(content) = answer.get_mut("content").and_then(Value::as_object_mut)
        && content.get("application/json").is_some_and(is_problem)
        && let Some(problem) = content.remove("application/json")
    {
        content.insert("application/problem+json".to_owned(), problem);
    }
}

fn http_status(code: u16) -> Option<&'static str> {
    actix_web::http::StatusCode::from_u16(code).ok()?.canonical_reason()
}

fn is_problem(content: &Value) -> bool {
    named(&content["schema"]) == Some("Problem")
}

/// The name of the method in clients: what is done, and to what.
///
/// `GET` of a page is `list_…`, of anything else `get_…`; `POST` that answers 201 is `create_…`, another
/// one is named by the last word of its path, `unlock_customer`; `PATCH` is `change_…`, `PUT` `set_…`,
/// `DELETE` `delete_…`. Then come the nouns of the path, each in the singular where an id follows.
fn operation_id(method: &str, path: &str, operation: &Value) -> String {
    if let Some((.., id)) = IDS.iter().find(|(on, at, _)| (*on, *at) == (method, path)) {
        return (*id).to_owned();
    }
    let mut nouns = nouns(path);
    let answers = &operation["responses"];
    let verb = match method {
        "GET" => {
            let schema = &answers["200"]["content"]["application/json"]["schema"]["$ref"];
            if schema.as_str().is_some_and(|name| name.contains("/Page_")) { "list" } else { "get" }
        }
        "POST" if answers.get("201").is_some() && !path.ends_with("/move") => {
            if let Some(last) = nouns.last_mut() {
                *last = singular(last);
            }
            "create"
        }
        "POST" => return nouns.pop().into_iter().chain(nouns).collect::<Vec<_>>().join("_"),
        "PATCH" => "change",
        "PUT" => "set",
        _ => "delete",
    };
    [verb.to_owned()].into_iter().chain(nouns).collect::<Vec<_>>().join("_")
}

fn nouns(path: &str) -> Vec<String> {
    let mut nouns: Vec<String> = Vec::new();
    for part in path.split('/') {
        let part = part.trim_end_matches(".json").trim_end_matches(".txt").trim_start_matches('.');
        match part {
            "" | "v1" | "admin" | "auth" | "well-known" => {}
            "me" => nouns.push("my".to_owned()),
            id if id.starts_with('{') => {
                if let Some(last) = nouns.last_mut() {
                    *last = singular(last);
                }
            }
            noun => nouns.push(noun.replace(['-', '.'], "_")),
        }
    }
    nouns
}

fn singular(noun: &str) -> String {
    let plural = [("ies", "y"), ("sses", "ss"), ("s", "")];
    let ending = plural.iter().find(|(ending, _)| noun.ends_with(ending) && !noun.ends_with("ss"));
    match ending {
        Some((ending, one)) => noun[..noun.len() - ending.len()].to_owned() + one,
        None => noun.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_from_what_is_done_to_what() {
        let id = |method, path, answers: Value| {
            operation_id(method, path, &json!({ "responses": answers }))
        };
        let page = json!({"200": {"content": {"application/json":
            {"schema": {"$ref": "#/components/schemas/Page_Address"}}}}});
        let made = json!({"201": {}});
        let done = json!({"204": {}});
        for (method, path, answers, expected) in [
            ("GET", "/v1/me/addresses", &page, "list_my_addresses"),
            ("POST", "/v1/me/addresses", &made, "create_my_address"),
            ("GET", "/v1/me/addresses/{id}", &done, "get_my_address"),
            ("PUT", "/v1/me/addresses/{id}/default", &done, "set_my_address_default"),
            ("PATCH", "/v1/admin/customers/{id}/profile", &done, "change_customer_profile"),
            ("POST", "/v1/admin/customers/{id}/unlock", &done, "unlock_customer"),
            ("POST", "/v1/auth/password/forgot", &done, "forgot_password"),
            ("POST", "/v1/auth/email/change/undo", &done, "undo_email_change"),
            ("POST", "/v1/me/wishlists/{id}/items/{item_id}/move", &made, "move_my_wishlist_item"),
            ("GET", "/v1/countries/{country}", &done, "get_country"),
            ("GET", "/.well-known/jwks.json", &done, "get_jwks"),
            ("GET", "/health/live", &done, "get_health_live"),
            ("PATCH", "/v1/me", &done, "change_me"),
        ] {
            assert_eq!(id(method, path, answers.clone()), expected, "{method} {path}");
        }
    }

    #[test]
    fn answers_are_described_and_problems_have_their_media_type() {
        let problem =
            json!({"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}});
        let mut document = json!({
            "components": {"schemas": {
                "A": {}, "B": {}, "Either": {"oneOf": [reference("A"), reference("B")]},
                "More": {"allOf": [reference("Either"), {"type": "object"}], "description": "x"},
                "Page_Thing": {"properties": {"items": {"items": {"type": "object"}}}}, "Thing": {},
            }},
            "paths": {"/things": {"get": {
                "parameters": [{"schema": {"type": ["string", "null"]}}],
                "requestBody": {"content": {"text/csv": {"schema": {"type": "string"}}}},
                "responses": {"200": {}, "409": {"description": "no", "content": problem}},
            }}, "/bare": {"get": {"responses": {}}}},
        });
        fit(&mut document);
        let operation = &document["paths"]["/things"]["get"];
        assert_eq!(operation["responses"]["200"]["description"], "OK");
        let file = &operation["requestBody"]["content"]["text/csv"]["schema"];
        assert_eq!(file, &json!({"type": "string", "format": "binary"}));
        let bare = json!({"operationId": "get_bare", "responses": {}});
        assert_eq!(document["paths"]["/bare"]["get"], bare);
        let content = operation["responses"]["409"]["content"].as_object().unwrap();
        assert_eq!(content.keys().collect::<Vec<_>>(), ["application/problem+json"]);
        assert_eq!(operation["parameters"][0]["schema"]["type"], "string");
        let page = &document["components"]["schemas"]["Page_Thing"]["properties"]["items"]["items"];
        assert_eq!(page["$ref"], "#/components/schemas/Thing");
        let schemas = &document["components"]["schemas"];
        let choice = [reference("More_A"), reference("More_B")];
        assert_eq!(schemas["More"], json!({"oneOf": choice, "description": "x"}));
        assert_eq!(schemas["More_B"]["allOf"], json!([reference("B"), {"type": "object"}]));
    }
}
