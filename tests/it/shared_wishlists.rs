//! Links of shared wishlists: whoever has one sees the list, until it is withdrawn or its owner may
//! not sign in; it tells nothing else, and is followed so often and no more.

use serde_json::json;

use crate::harness::{Api, Shop, Shopper};

const LISTS: &str = "/v1/me/wishlists";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_list_is_seen_by_its_link_until_that_is_withdrawn() {
    let shop = Shop::new().await;
    let nodes = [shop.node().await, shop.node().await];
    let node = &nodes[0];
    let shopper = Shopper::new(&shop, node).await;
    let body = json!({ "name": "Birthday", "shared": true });
    let made = shopper.post(node, LISTS, body).send().await.expect(201);
    let (list, path) = (made.json(), made.header("location").to_owned());
    let read = async |node: &Api| shopper.get(node, &path).send().await.expect(200).json();
    let token = list["share_token"].as_str().unwrap().to_owned();
    assert_eq!((token.len(), &list["shared"]), (43, &json!(true)), "256 bits");
    assert_eq!(read(node).await["share_token"], list["share_token"]);
    for sku in ["A", "B", "C"] {
        let price = json!({ "amount": 4_711, "currency": "EUR" });
        let wish = json!({ "sku": sku, "quantity": 2, "note": "a secret", "price_seen": price });
        shopper.post(node, &format!("{path}/items"), wish).send().await.expect(201);
    }
    let link = |token: &str| format!("/v1/wishlists/shared/{token}");
    let seen = nodes[1].get(&format!("{}?limit=2", link(&token))).send().await.expect(200);
    assert_eq!(seen.header("cache-control"), "no-store");
    assert!(seen.header("ratelimit-policy").starts_with("\"shared_wishlists\";q="));
    let page = seen.json();
    assert_eq!((&page["name"], &page["item_count"]), (&json!("Birthday"), &json!(3)));
    let expected = json!([{ "sku": "A", "quantity": 2 }, { "sku": "B", "quantity": 2 }]);
    assert_eq!(page["items"], expected, "products and quantities, and nothing else");
    let next = format!("{}?cursor={}", link(&token), page["next_cursor"].as_str().unwrap());
    let rest = node.get(&next).send().await.expect(200).json();
    assert_eq!((&rest["items"][0]["sku"], &rest["next_cursor"]), (&json!("C"), &json!(null)));
    for told in [seen.text(), rest.to_string()] {
        for own in ["secret", &shopper.id, &shopper.email, "4711", list["id"].as_str().unwrap()] {
            assert!(!told.contains(own), "{own} in {told}");
        }
    }
    // Nothing at rest is the link.
    let stored = "SELECT encode(share_nonce, 'base64') FROM wishlists UNION ALL \
        SELECT encode(share_hash, 'base64') FROM wishlists UNION ALL SELECT outcome::text FROM idempotency_keys";
    for stored in shop.database.column(stored).await {
        let stored = stored.replace('+', "-").replace('/', "_");
        assert!(!stored.contains(&token), "the token is kept");
    }
    assert!(!nodes[0].log().contains(&token) && !nodes[1].log().contains(&token));

    let share = |shared: bool| shopper.patch(node, &path, json!({ "shared": shared })).send();
    assert_eq!(share(true).await.expect(200).json()["share_token"], json!(token), "it stays");
    assert_eq!(share(false).await.expect(200).json()["share_token"], json!(null));
    for node in &nodes {
        node.get(&link(&token)).send().await.problem(404, "not_found");
    }
    let fresh = share(true).await.expect(200).json()["share_token"].as_str().unwrap().to_owned();
    assert_ne!(fresh, token);
    node.get(&link(&fresh)).send().await.expect(200);
    node.get(&link(&token)).send().await.problem(404, "not_found");

    // Whoever may not sign in shows nothing; the answers do not tell why.
    let status = |to: &str| {
        let body = json!({ "to": to, "reason": "asked_for" });
        let path = format!("/v1/admin/customers/{}/status", shopper.id);
        node.post(&path, body).bearer(&shop.staff_key).send()
    };
    status("suspended").await.expect(200);
    let suspended = node.get(&link(&fresh)).send().await.problem(404, "not_found").json();
    let unknown = "A".repeat(43);
    let unknown = node.get(&link(&unknown)).send().await.problem(404, "not_found").json();
    for member in ["type", "title", "detail", "code"] {
        assert_eq!(suspended[member], unknown[member]);
    }
    status("active").await.expect(200);
    node.get(&link(&fresh)).send().await.expect(200);
    for token in ["x", "%00", &format!("{fresh}A"), &fresh.to_lowercase()] {
        let answer = node.get(&link(token)).send().await;
        assert!(matches!(answer.status, 400 | 404), "{token}: {}", answer.status);
        answer.assert_problem();
    }
    let customer = format!("/v1/admin/customers/{}", shopper.id);
    node.delete(&customer).bearer(&shop.staff_key).send().await.expect(204);
    let lists = format!("{customer}/wishlists");
    node.get(&lists).bearer(&shop.staff_key).send().await.problem(404, "not_found");
    node.get(&link(&fresh)).send().await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_are_followed_so_often_and_no_more() {
    let shop = Shop::configured(&[("LIMITS__SHARED_WISHLISTS_PER_MINUTE", "5")]).await;
    let node = shop.node().await;
    let link = format!("/v1/wishlists/shared/{}", "A".repeat(43));
    let mut statuses = Vec::new();
    for _ in 0..8 {
        let answer = node.get(&link).from("203.0.113.9").send().await;
        assert!(answer.header("ratelimit").starts_with("\"shared_wishlists\";r="));
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [404, 404, 404, 404, 404, 429, 429, 429]);
    node.get(&link).from("203.0.113.9").send().await.problem(429, "rate_limited");
    node.get(&link).from("203.0.113.10").send().await.problem(404, "not_found");
}
