//! How each operation under `/v1/me` is called right.

use serde_json::{Value, json};

use super::{Trial, World};
use crate::harness::Shopper;
use crate::harness::identity::{Person, REDIRECT_URI};
use crate::harness::shopper::{PASSWORD, address, home};
use crate::second_factors::{self, Authenticator};
use crate::{export, passkeys, phones, social};

/// With what it needs made for this customer; `None` where there is no such row.
pub async fn trial(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let (_, path) = name.split_once(' ')?;
    let subject = path.split('/').nth(3).unwrap_or_default();
    match subject {
        "" => record(name),
        "activity" => Some(Trial::at("/v1/me/activity")),
        "profile" | "preferences" | "consents" | "stats" | "email" | "password" => parts(name),
        "addresses" => addresses(world, who, name).await,
        "wishlists" => wishlists(world, who, name).await,
        "sessions" => sessions(world, who, name).await,
        "phone" => phone(world, who, name).await,
        "mfa" => mfa(world, who, name).await,
        "passkeys" => passkey(world, who, name).await,
        "identities" => identity(world, who, name).await,
        "privacy" => privacy(world, who, name).await,
        _ => None,
    }
}

fn proof() -> Value {
    json!({ "password": PASSWORD })
}

fn record(name: &str) -> Option<Trial> {
    let me = Trial::at("/v1/me");
    match name {
        "GET /v1/me" => Some(me),
        "PATCH /v1/me" => Some(me.with(json!({ "first_name": "Thị Ánh" }))),
        _ => None,
    }
}

fn parts(name: &str) -> Option<Trial> {
    let marketing = "/v1/me/consents/marketing";
    let passwords =
        json!({ "current_password": PASSWORD, "new_password": "another horse staple 9" });
    let grant = json!({ "granted": true, "channel": "email", "text_version": "1" });
    Some(match name {
        "GET /v1/me/profile" => Trial::at("/v1/me/profile"),
        "PATCH /v1/me/profile" => Trial::at("/v1/me/profile").with(json!({ "bio": "Xin chào" })),
        "GET /v1/me/preferences" => Trial::at("/v1/me/preferences"),
        "PATCH /v1/me/preferences" => {
            Trial::at("/v1/me/preferences").with(json!({ "currency": "VND" }))
        }
        "GET /v1/me/stats" => Trial::at("/v1/me/stats"),
        "GET /v1/me/consents" => Trial::at("/v1/me/consents"),
        "GET /v1/me/consents/{purpose}" => Trial::at(marketing),
        "PUT /v1/me/consents/{purpose}" => Trial::at(marketing).with(grant),
        "GET /v1/me/consents/{purpose}/ledger" => Trial::at(format!("{marketing}/ledger")),
        "POST /v1/me/email" => {
            let body = json!({ "new_email": address(), "password": PASSWORD });
            Trial::at("/v1/me/email").with(body).answers(202)
        }
        "POST /v1/me/password" => Trial::at("/v1/me/password").with(passwords).answers(204),
        _ => return None,
    })
}

async fn addresses(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let book = Trial::at("/v1/me/addresses");
    match name {
        "GET /v1/me/addresses" => return Some(book),
        "POST /v1/me/addresses" => return Some(book.with(home("Huế")).answers(201)),
        _ => {}
    }
    // the last one cannot be deleted
    who.add_address(&world.node, "Hà Nội").await;
    let id = who.add_address(&world.node, "Huế").await;
    let one = Trial::at(format!("/v1/me/addresses/{id}"));
    Some(match name {
        "GET /v1/me/addresses/{id}" => one,
        "PATCH /v1/me/addresses/{id}" => one.with(json!({ "label": "home" })),
        "DELETE /v1/me/addresses/{id}" => one.answers(204),
        "PUT /v1/me/addresses/{id}/default" => {
            Trial::at(format!("{}/default", one.path)).with(json!({ "kind": "billing" }))
        }
        _ => return None,
    })
}

/// The path of a new one.
pub async fn wishlist(world: &World, who: &Shopper) -> String {
    let made = who.post(&world.node, "/v1/me/wishlists", json!({ "name": "Sinh nhật" }));
    made.send().await.expect(201).header("location").to_owned()
}

/// The path of a new item on a new list.
async fn item(world: &World, who: &Shopper) -> String {
    let list = wishlist(world, who).await;
    let made = who.post(&world.node, &format!("{list}/items"), json!({ "sku": "LANTERN-7" }));
    let id = made.send().await.expect(201).json()["id"].as_str().unwrap().to_owned();
    format!("{list}/items/{id}")
}

async fn wishlists(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let all = Trial::at("/v1/me/wishlists");
    let list = async || Trial::at(wishlist(world, who).await);
    let items = async || Trial::at(format!("{}/items", wishlist(world, who).await));
    let one = async || Trial::at(item(world, who).await);
    Some(match name {
        "GET /v1/me/wishlists" => all,
        "POST /v1/me/wishlists" => all.with(json!({ "name": "Tết" })).answers(201),
        "GET /v1/me/wishlists/{id}" => list().await,
        "PATCH /v1/me/wishlists/{id}" => list().await.with(json!({ "name": "Tết" })),
        "DELETE /v1/me/wishlists/{id}" => list().await.answers(204),
        "GET /v1/me/wishlists/{id}/items" => items().await,
        "POST /v1/me/wishlists/{id}/items" => {
            items().await.with(json!({ "sku": "LANTERN-7", "quantity": 2 })).answers(201)
        }
        "GET /v1/me/wishlists/{id}/items/{item_id}" => one().await,
        "PATCH /v1/me/wishlists/{id}/items/{item_id}" => one().await.with(json!({ "quantity": 3 })),
        "DELETE /v1/me/wishlists/{id}/items/{item_id}" => one().await.answers(204),
        "POST /v1/me/wishlists/{id}/items/{item_id}/move" => {
            let to = wishlist(world, who).await;
            let to = to.rsplit('/').next().unwrap();
            let path = format!("{}/move", one().await.path);
            Trial::at(path).with(json!({ "to": to })).answers(201)
        }
        _ => return None,
    })
}

async fn sessions(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    Some(match name {
        "GET /v1/me/sessions" => Trial::at("/v1/me/sessions"),
        "DELETE /v1/me/sessions" => Trial::at("/v1/me/sessions").answers(204),
        "DELETE /v1/me/sessions/{id}" => {
            let again = who.again(&world.node).await;
            Trial::at(format!("/v1/me/sessions/{}", again.session)).answers(204)
        }
        _ => return None,
    })
}

async fn phone(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    Some(match name {
        "POST /v1/me/phone" => {
            Trial::at("/v1/me/phone").with(json!({ "phone": "+84912345670" })).answers(202)
        }
        "POST /v1/me/phone/confirm" => {
            let number = "+84912345671";
            phones::ask(&world.node, who, number).await.expect(202);
            let code = world.shop.text_to(number, 1).await.code();
            Trial::at("/v1/me/phone/confirm").with(json!({ "code": code }))
        }
        "DELETE /v1/me/phone" => {
            phones::own(&world.shop, &world.node, who, "+84912345672").await;
            Trial::at("/v1/me/phone").with(proof()).answers(204)
        }
        _ => return None,
    })
}

async fn mfa(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let begun = async || {
        let setup = second_factors::start(&world.node, who).await.expect(200).json();
        Authenticator::new(&setup)
    };
    let on = async || {
        let code = begun().await.code(0);
        second_factors::confirm(&world.node, who, &code).await.expect(200);
    };
    Some(match name {
        "GET /v1/me/mfa" => Trial::at("/v1/me/mfa"),
        "POST /v1/me/mfa/totp" => Trial::at("/v1/me/mfa/totp").with(proof()),
        "POST /v1/me/mfa/totp/confirm" => {
            let code = begun().await.code(0);
            Trial::at("/v1/me/mfa/totp/confirm").with(json!({ "code": code }))
        }
        "DELETE /v1/me/mfa/totp" => {
            on().await;
            Trial::at("/v1/me/mfa/totp").with(proof()).answers(204)
        }
        "POST /v1/me/mfa/backup_codes" => {
            on().await;
            Trial::at("/v1/me/mfa/backup_codes").with(proof())
        }
        _ => return None,
    })
}

async fn passkey(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let one = async || {
        let id = passkeys::enrol(who, &world.node, &mut passkeys::device()).await;
        Trial::at(format!("/v1/me/passkeys/{id}"))
    };
    Some(match name {
        "GET /v1/me/passkeys" => Trial::at("/v1/me/passkeys"),
        "POST /v1/me/passkeys/challenge" => Trial::at("/v1/me/passkeys/challenge").with(proof()),
        "POST /v1/me/passkeys" => {
            let asked = passkeys::begin(who, &world.node).await;
            let credential = passkeys::device().create(&asked["public_key"], None);
            let body = json!({ "challenge": asked["challenge"], "credential": credential });
            Trial::at("/v1/me/passkeys").with(body).answers(201)
        }
        "GET /v1/me/passkeys/{id}" => one().await,
        "PATCH /v1/me/passkeys/{id}" => one().await.with(json!({ "name": "Điện thoại" })),
        "DELETE /v1/me/passkeys/{id}" => one().await.with(proof()).answers(204),
        _ => return None,
    })
}

async fn privacy(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let (all, deletion) =
        (Trial::at("/v1/me/privacy/export"), Trial::at("/v1/me/privacy/deletion"));
    let one = async || Trial::at(export::made(&world.node, who).await);
    Some(match name {
        "POST /v1/me/privacy/export" => all.with(proof()).answers(202),
        "GET /v1/me/privacy/export" => all,
        "GET /v1/me/privacy/export/{id}" => one().await,
        "GET /v1/me/privacy/export/{id}/download" => {
            Trial::at(format!("{}/download", one().await.path))
        }
        "POST /v1/me/privacy/deletion" => deletion.with(proof()).answers(202),
        "GET /v1/me/privacy/deletion" => deletion,
        "DELETE /v1/me/privacy/deletion" => deletion.answers(204),
        _ => return None,
    })
}

async fn identity(world: &World, who: &Shopper, name: &str) -> Option<Trial> {
    let google = "/v1/me/identities/google";
    let begin = json!({ "redirect_uri": REDIRECT_URI, "password": PASSWORD });
    let way = async || {
        let path = format!("{google}/authorize");
        let begun = who.post(&world.node, &path, begin.clone()).send().await;
        let (url, state) = social::begin(&begun);
        json!({ "code": world.provider.agree(&url, &Person::new()), "state": state })
    };
    Some(match name {
        "GET /v1/me/identities" => Trial::at("/v1/me/identities"),
        "POST /v1/me/identities/{provider}/authorize" => {
            Trial::at(format!("{google}/authorize")).with(begin)
        }
        "POST /v1/me/identities/{provider}" => Trial::at(google).with(way().await),
        "DELETE /v1/me/identities/{provider}" => {
            who.post(&world.node, google, way().await).send().await.expect(200);
            Trial::at(google).with(proof()).answers(204)
        }
        _ => return None,
    })
}

/// Signed in within the grace of a deletion that staff asked for.
pub async fn leaving(world: &World, who: &Shopper) -> Shopper {
    let path = format!("/v1/admin/customers/{}/deletion", who.id);
    let asked = world.node.post(&path, json!({})).bearer(&world.shop.staff_key);
    asked.send().await.expect(202);
    who.again(&world.node).await
}
