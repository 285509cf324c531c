//! How each operation under `/v1/admin` is called right.

use std::time::Duration;

use serde_json::{Value, json};

use super::mine::wishlist;
use super::{Trial, World};
use crate::dead_letters::{Mailbox, parked};
use crate::harness::shopper::{address, home};
use crate::harness::{Shopper, eventually, unique};

const CUSTOMERS: &str = "/v1/admin/customers";

/// With what it needs made; what has to belong to somebody with a session belongs to `who`.
pub async fn trial(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let (_, path) = name.split_once(' ')?;
    let parts: Vec<&str> = path.split('/').collect();
    match (parts.get(3), parts.get(4), parts.get(5)) {
        (Some(&"customers"), None | Some(&"merge"), None) => everybody(world, name).await,
        (Some(&"customers"), Some(_), Some(&"addresses")) => addresses(world, name).await,
        (Some(&"customers"), Some(_), Some(&"wishlists")) => wishlists(world, who, name).await,
        (Some(&"customers"), Some(_), Some(&"notes" | &"tags")) => remarks(world, name).await,
        (Some(&"customers"), Some(_), Some(&"privacy")) => privacy(world, name).await,
        (Some(&"customers"), Some(_), Some(&"deletion" | &"legal_hold")) => {
            deletion(world, name).await
        }
        (Some(&"customers"), Some(_), _) => customer(world, name).await,
        (Some(&"erasures"), ..) => erasures(world, name).await,
        (Some(&"retention"), ..) => Some(Trial::at("/v1/admin/retention")),
        (Some(&"groups"), ..) => groups(world, name).await,
        (Some(&"attributes"), ..) => attributes(world, name).await,
        (Some(&"segments"), ..) | (Some(&"exports"), Some(&"segments"), _) => {
            segments(world, name).await
        }
        (Some(&"imports" | &"exports"), ..) => files(world, name).await,
        (Some(&"analytics"), ..) => Some(Trial::at(path)),
        (Some(&"events"), ..) => dead_letters(world, name).await,
        (Some(&"orders"), Some(&"parked"), _) => parked_orders(world, name).await,
        (Some(&"orders"), Some(&"reconciliations"), _) => reconciliations(world, name).await,
        _ => None,
    }
}

/// The answer of staff's call, which must be this status.
async fn done(world: &World, path: &str, body: Value, status: u16) -> Value {
    let call = world.node.post(path, body).bearer(&world.shop.staff_key);
    call.send().await.expect(status).json()
}

fn id(made: &Value) -> String {
    made["id"].as_str().unwrap().to_owned()
}

fn new_customer() -> Value {
    json!({ "email": address(), "first_name": "Ánh", "last_name": "Trần" })
}

/// The path of a new customer.
async fn somebody(world: &World) -> String {
    format!("{CUSTOMERS}/{}", id(&done(world, CUSTOMERS, new_customer(), 201).await))
}

async fn everybody(world: &World, name: &str) -> Option<Trial> {
    Some(match name {
        "GET /v1/admin/customers" => Trial::at(CUSTOMERS),
        "POST /v1/admin/customers" => Trial::at(CUSTOMERS).with(new_customer()).answers(201),
        "POST /v1/admin/customers/merge" => {
            let from = id(&done(world, CUSTOMERS, new_customer(), 201).await);
            let into = id(&done(world, CUSTOMERS, new_customer(), 201).await);
            Trial::at(format!("{CUSTOMERS}/merge")).with(json!({ "from": from, "into": into }))
        }
        _ => return None,
    })
}

async fn privacy(world: &World, name: &str) -> Option<Trial> {
    let all = format!("{}/privacy/export", somebody(world).await);
    Some(match name {
        "POST /v1/admin/customers/{id}/privacy/export" => Trial::at(all).answers(202),
        "GET /v1/admin/customers/{id}/privacy/export/{export_id}" => {
            let call = world.node.call(reqwest::Method::POST, &all);
            let asked = call.bearer(&world.shop.staff_key).send().await.expect(202);
            Trial::at(asked.header("location").to_owned())
        }
        _ => return None,
    })
}

async fn customer(world: &World, name: &str) -> Option<Trial> {
    let one = somebody(world).await;
    let part = |part: &str| Trial::at(format!("{one}/{part}"));
    let consent = "consents/marketing";
    let grant = json!({ "granted": true, "channel": "email", "text_version": "1" });
    let (method, path) = name.split_once(' ')?;
    let below = path.strip_prefix("/v1/admin/customers/{id}")?;
    Some(match (method, below) {
        ("GET", "") => Trial::at(one),
        ("PATCH", "") => Trial::at(one).with(json!({ "last_name": "Trần Thị" })),
        ("DELETE", "") => Trial::at(one).answers(204),
        ("GET", "/profile") => part("profile"),
        ("PATCH", "/profile") => part("profile").with(json!({ "bio": "Xin chào" })),
        ("GET", "/preferences") => part("preferences"),
        ("PATCH", "/preferences") => part("preferences").with(json!({ "currency": "VND" })),
        ("GET", "/consents") => part("consents"),
        ("GET", "/consents/{purpose}") => part(consent),
        ("PUT", "/consents/{purpose}") => part(consent).with(grant),
        ("GET", "/consents/{purpose}/ledger") => part("consents/marketing/ledger"),
        ("GET", "/stats") => part("stats"),
        ("GET", "/orders") => part("orders"),
        ("GET", "/sessions") => part("sessions"),
        ("DELETE", "/sessions") => part("sessions").answers(204),
        ("DELETE", "/mfa") => part("mfa").answers(204),
        ("POST", "/unlock") => part("unlock").answers(204),
        ("POST", "/status") => {
            part("status").with(json!({ "to": "suspended", "reason": "fraud_suspected" }))
        }
        ("GET", "/timeline") => part("timeline"),
        ("GET", "/data_key") => part("data_key"),
        ("GET", "/predictions") => part("predictions"),
        ("POST", "/messages/replay") => {
            let queue = Mailbox::new("example.routes").await.name;
            part("messages/replay").with(json!({ "from_sequence": 1, "queue": queue }))
        }
        _ => return None,
    })
}

async fn addresses(world: &World, name: &str) -> Option<Trial> {
    let book = format!("{}/addresses", somebody(world).await);
    done(world, &book, home("Hà Nội"), 201).await;
    let one = format!("{book}/{}", id(&done(world, &book, home("Huế"), 201).await));
    let (method, path) = name.split_once(' ')?;
    let below = path.strip_prefix("/v1/admin/customers/{id}/addresses")?;
    Some(match (method, below) {
        ("GET", "") => Trial::at(book),
        ("POST", "") => Trial::at(book).with(home("Đà Nẵng")).answers(201),
        ("GET", "/{address}") => Trial::at(one),
        ("PATCH", "/{address}") => Trial::at(one).with(json!({ "label": "home" })),
        ("DELETE", "/{address}") => Trial::at(one).answers(204),
        ("PUT", "/{address}/default") => {
            Trial::at(format!("{one}/default")).with(json!({ "kind": "billing" }))
        }
        _ => return None,
    })
}

async fn remarks(world: &World, name: &str) -> Option<Trial> {
    let one = somebody(world).await;
    let (notes, tags) = (format!("{one}/notes"), format!("{one}/tags"));
    done(world, &tags, json!({ "tag": "vip" }), 200).await;
    let note = id(&done(world, &notes, json!({ "text": "Thích đèn lồng" }), 201).await);
    let note = Trial::at(format!("{notes}/{note}"));
    let (method, path) = name.split_once(' ')?;
    let below = path.strip_prefix("/v1/admin/customers/{id}")?;
    Some(match (method, below) {
        ("GET", "/notes") => Trial::at(notes),
        ("POST", "/notes") => Trial::at(notes).with(json!({ "text": "Gọi lại" })).answers(201),
        ("GET", "/notes/{note_id}") => note,
        ("DELETE", "/notes/{note_id}") => note.answers(204),
        ("GET", "/tags") => Trial::at(tags),
        ("POST", "/tags") => Trial::at(tags).with(json!({ "tag": "early" })),
        ("DELETE", "/tags/{tag}") => Trial::at(format!("{tags}/vip")).answers(204),
        _ => return None,
    })
}

async fn wishlists(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let all = format!("{CUSTOMERS}/{}/wishlists", who.id);
    let own = wishlist(world, who).await;
    let one = format!("{all}/{}", own.rsplit('/').next()?);
    Some(match name {
        "GET /v1/admin/customers/{id}/wishlists" => Trial::at(all),
        "GET /v1/admin/customers/{id}/wishlists/{wishlist_id}" => Trial::at(one),
        "GET /v1/admin/customers/{id}/wishlists/{wishlist_id}/items" => {
            Trial::at(format!("{one}/items"))
        }
        _ => return None,
    })
}

async fn groups(world: &World, name: &str) -> Option<Trial> {
    let all = "/v1/admin/groups";
    let new = || json!({ "code": unique("g").replace('-', "_"), "name": "Bạn bè" });
    let one = async || {
        let made = done(world, all, new(), 201).await;
        Trial::at(format!("{all}/{}", made["code"].as_str().unwrap()))
    };
    Some(match name {
        "GET /v1/admin/groups" => Trial::at(all),
        "POST /v1/admin/groups" => Trial::at(all).with(new()).answers(201),
        "GET /v1/admin/groups/{code}" => one().await,
        "PATCH /v1/admin/groups/{code}" => one().await.with(json!({ "name": "Khách quen" })),
        "DELETE /v1/admin/groups/{code}" => one().await.answers(204),
        _ => return None,
    })
}

async fn attributes(world: &World, name: &str) -> Option<Trial> {
    let all = "/v1/admin/attributes";
    let new = || {
        let key = unique("a").replace('-', "_");
        json!({ "key": key, "type": "integer", "title": "Cỡ giày" })
    };
    let one = async || {
        let made = done(world, all, new(), 201).await;
        Trial::at(format!("{all}/{}", made["key"].as_str().unwrap()))
    };
    Some(match name {
        "GET /v1/admin/attributes" => Trial::at(all),
        "POST /v1/admin/attributes" => Trial::at(all).with(new()).answers(201),
        "GET /v1/admin/attributes/{key}" => one().await,
        "PATCH /v1/admin/attributes/{key}" => one().await.with(json!({ "title": "Cỡ mũ" })),
        "DELETE /v1/admin/attributes/{key}" => one().await.answers(204),
        _ => return None,
    })
}

async fn segments(world: &World, name: &str) -> Option<Trial> {
    let all = "/v1/admin/segments";
    let new = || json!({ "code": unique("s"), "title": "Khách quen", "definition": "number_of_orders >= 1" });
    let of = async |body: Value| {
        let made = done(world, all, body, 201).await;
        format!("{all}/{}", id(&made))
    };
    let friends = || json!({ "code": unique("s"), "title": "Bạn bè", "kind": "static" });
    let somebody = async || somebody(world).await.rsplit('/').next().unwrap().to_owned();
    let members = async || format!("{}/members", of(friends()).await);
    Some(match name {
        "GET /v1/admin/segments" => Trial::at(all),
        "POST /v1/admin/segments" => Trial::at(all).with(new()).answers(201),
        "GET /v1/admin/segments/{id}" => Trial::at(of(new()).await),
        "PATCH /v1/admin/segments/{id}" => {
            Trial::at(of(new()).await).with(json!({ "title": "Khách thân" }))
        }
        "DELETE /v1/admin/segments/{id}" => Trial::at(of(new()).await).answers(202),
        "GET /v1/admin/segments/{id}/members" => Trial::at(members().await),
        "POST /v1/admin/segments/{id}/members" => {
            Trial::at(members().await).with(json!({ "add": [somebody().await] }))
        }
        "POST /v1/admin/segments/{id}/members/{customer_id}"
        | "DELETE /v1/admin/segments/{id}/members/{customer_id}" => {
            Trial::at(format!("{}/{}", members().await, somebody().await)).answers(204)
        }
        "POST /v1/admin/segments/preview" => {
            Trial::at(format!("{all}/preview")).with(json!({ "definition": "mfa_enabled = true" }))
        }
        "GET /v1/admin/segments/{id}/explain/{customer_id}" => {
            Trial::at(format!("{}/explain/{}", of(new()).await, somebody().await))
        }
        "GET /v1/admin/exports/segments/{id}" => {
            Trial::at(of(friends()).await.replace("/segments/", "/exports/segments/"))
        }
        _ => return None,
    })
}

const FILE: &str = "email,first_name,last_name\nlan@people.example,Lan,Nguyễn\n";

async fn files(world: &World, name: &str) -> Option<Trial> {
    let all = "/v1/admin/imports";
    let one = async || {
        let sent = world.node.call(reqwest::Method::POST, all).body("text/csv", FILE.into());
        let sent = sent.bearer(&world.shop.staff_key).send().await.expect(202);
        sent.header("location").to_owned()
    };
    Some(match name {
        "POST /v1/admin/imports" => Trial::at(all).csv(FILE).answers(202),
        "GET /v1/admin/imports" => Trial::at(all),
        "GET /v1/admin/imports/{id}" => Trial::at(one().await),
        "GET /v1/admin/imports/{id}/errors" => Trial::at(format!("{}/errors", one().await)),
        "POST /v1/admin/imports/{id}/cancel" => loop {
            // Repeating it changes nothing; one that is over cannot be cancelled.
            let path = format!("{}/cancel", one().await);
            let call = world.node.call(reqwest::Method::POST, &path);
            if call.bearer(&world.shop.staff_key).send().await.status == 200 {
                break Trial::at(path);
            }
        },
        "GET /v1/admin/exports/customers" => Trial::at("/v1/admin/exports/customers"),
        _ => return None,
    })
}

/// With a message that is parked.
async fn dead_letters(world: &World, name: &str) -> Option<Trial> {
    let (_, ids) = parked(&world.shop, 1).await;
    let list = "/v1/admin/events/dead_letters";
    let one = format!("{list}/{}", ids[0]);
    Some(match name {
        "GET /v1/admin/events/dead_letters" => Trial::at(list),
        "GET /v1/admin/events/dead_letters/{id}" => Trial::at(one),
        "POST /v1/admin/events/dead_letters/{id}/replay" => Trial::at(format!("{one}/replay")),
        "POST /v1/admin/events/dead_letters/{id}/discard" => {
            Trial::at(format!("{one}/discard")).with(json!({ "reason": "test_data" }))
        }
        "POST /v1/admin/events/dead_letters/replay" => {
            Trial::at(format!("{list}/replay")).with(json!({}))
        }
        "GET /v1/admin/events/replays/{id}" => {
            let replay = done(world, &format!("{list}/replay"), json!({}), 200).await;
            Trial::at(format!("/v1/admin/events/replays/{}", id(&replay)))
        }
        _ => return None,
    })
}

/// With a fact of a customer who is not known.
async fn parked_orders(world: &World, name: &str) -> Option<Trial> {
    let path = "/v1/admin/orders/parked";
    let parked = "INSERT INTO parked_order_facts (id, digest, reason, routing_key, body, tries, \
        first_seen_at, next_try_at) VALUES (gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), \
        'unknown_customer', 'order.placed', '{}', 1, now(), now() + interval '1 hour') RETURNING id";
    let id = world.shop.database.one(parked).await;
    Some(match name {
        "GET /v1/admin/orders/parked" => Trial::at(path),
        "POST /v1/admin/orders/parked/{id}/retry" => Trial::at(format!("{path}/{id}/retry")),
        _ => return None,
    })
}

/// With a run that found something.
async fn reconciliations(world: &World, name: &str) -> Option<Trial> {
    let path = "/v1/admin/orders/reconciliations";
    let found = format!(
        "WITH run AS (INSERT INTO reconciliation_runs (id, source, owner, cursor, customers, differences, \
         repaired, refused, started_at, touched_at, finished_at) VALUES (gen_random_uuid(), 'facts', 'test', \
         gen_random_uuid(), 1, 1, 0, 0, now(), now(), now()) RETURNING id) \
         INSERT INTO reconciliation_differences (run_id, customer_id, subject, field, kept, found) \
         SELECT id, '{}', 'VND', 'spent', '1', '2' FROM run RETURNING run_id",
        world.one.id
    );
    let run = world.shop.database.one(&found).await;
    Some(match name {
        "GET /v1/admin/orders/reconciliations" => Trial::at(path),
        "GET /v1/admin/orders/reconciliations/{id}/differences" => {
            Trial::at(format!("{path}/{run}/differences"))
        }
        _ => return None,
    })
}

async fn deletion(world: &World, name: &str) -> Option<Trial> {
    let one = somebody(world).await;
    let (deletion, hold) = (format!("{one}/deletion"), format!("{one}/legal_hold"));
    let because = || json!({ "reason": "tax_audit" });
    Some(match name {
        "POST /v1/admin/customers/{id}/deletion" => {
            Trial::at(deletion).with(json!({})).answers(202)
        }
        "GET /v1/admin/customers/{id}/deletion" => {
            done(world, &deletion, json!({}), 202).await;
            Trial::at(deletion)
        }
        "DELETE /v1/admin/customers/{id}/deletion" => {
            done(world, &deletion, json!({}), 202).await;
            Trial::at(deletion).answers(204)
        }
        "POST /v1/admin/customers/{id}/legal_hold" => Trial::at(hold).with(because()).answers(201),
        "DELETE /v1/admin/customers/{id}/legal_hold" => {
            done(world, &hold, because(), 201).await;
            Trial::at(hold).answers(204)
        }
        _ => return None,
    })
}

/// With one that has begun, and waits for the order service.
async fn erasures(world: &World, name: &str) -> Option<Trial> {
    let all = "/v1/admin/erasures";
    let path = format!("{}/deletion", somebody(world).await);
    let one = id(&done(world, &path, json!({ "at_once": true }), 202).await);
    let began = format!("SELECT count(*) FROM erasures WHERE id = '{one}' AND state = 'running'");
    eventually("the erasure begins", Duration::from_secs(20), async || {
        (world.shop.database.count(&began).await == 1).then_some(())
    })
    .await;
    let one = format!("{all}/{one}");
    Some(match name {
        "GET /v1/admin/erasures" => Trial::at(all),
        "GET /v1/admin/erasures/{id}" => Trial::at(one),
        "POST /v1/admin/erasures/{id}/retry" => Trial::at(format!("{one}/retry")).answers(202),
        "GET /v1/admin/erasures/{id}/certificate" => {
            let over = "UPDATE erasure_steps SET state = 'done', done_at = now(), next_try_at = NULL \
                WHERE state <> 'done'; UPDATE erasures SET state = 'completed', completed_at = now() \
                WHERE state = 'running'";
            world.shop.database.execute(over).await;
            Trial::at(format!("{one}/certificate"))
        }
        _ => return None,
    })
}
