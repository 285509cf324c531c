//! `?expand=`: a customer with its parts, as many as there are, in one round trip to the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use customer_service::clock::{Clock, SystemClock};
use customer_service::db::whole::{self, Parts};
use customer_service::db::{Database, DatabaseSettings};
use customer_service::domain::CustomerId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::shopper::address;
use crate::harness::{Shop, Shopper};
use crate::orders;
use crate::segments::shelf::{SEGMENTS, by_hand};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_is_what_its_own_route_shows() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let key = &shop.staff_key;
    let shopper = Shopper::new(&shop, &node).await;
    shopper.again(&node).await;
    shopper.add_address(&node, "Huế").await;
    for number in 0..3 {
        let list = json!({ "name": format!("List {number}"), "shared": number == 0 });
        shopper.post(&node, "/v1/me/wishlists", list).send().await.expect(201);
    }
    orders::heard(&shop, &shopper.id).await;
    let consent = json!({ "granted": true, "text_version": "1" });
    shopper.put(&node, "/v1/me/consents/analytics", consent).send().await.expect(200);
    let admin = format!("/v1/admin/customers/{}", shopper.id);
    for number in 0..27 {
        let note = json!({ "text": format!("Note {number}") });
        node.post(&format!("{admin}/notes"), note).bearer(key).send().await.expect(201);
    }
    for code in ["b", "a", "c"] {
        by_hand(&shop, &node, code).await;
    }
    for code in ["b", "a"] {
        let put = format!("{SEGMENTS}/{code}/members/{}", shopper.id);
        node.post(&put, json!({})).bearer(key).send().await.expect(204);
    }
    let parts = [
        "profile",
        "preferences",
        "addresses",
        "wishlists",
        "consents",
        "identities",
        "sessions",
        "stats",
    ];
    let own = format!("/v1/me?expand={},segments", parts.join(","));
    let own = shopper.get(&node, &own).send().await.expect(200).json();
    let staffs = format!("{admin}?expand={},segments,notes", parts.join(","));
    let staffs = node.get(&staffs).bearer(key).send().await.expect(200).json();
    for part in parts {
        let route = shopper.get(&node, &format!("/v1/me/{part}")).send().await.expect(200).json();
        // These two are lists of which all is shown.
        let shown =
            if part == "addresses" || part == "identities" { &route["items"] } else { &route };
        assert_eq!(&own[part], shown, "{part} of /v1/me");
        if part != "identities" {
            let route = node.get(&format!("{admin}/{part}")).bearer(key).send().await.expect(200);
            let route = route.json();
            let shown = if part == "addresses" { &route["items"] } else { &route };
            assert_eq!(&staffs[part], shown, "{part} for staff");
        }
    }
    assert_eq!(own["wishlists"]["items"].as_array().map(Vec::len), Some(3));
    assert!(own["wishlists"]["items"][0]["share_token"].is_string());
    assert!(staffs["wishlists"]["items"][0]["share_token"].is_null(), "the owner's to hand out");
    assert_eq!(own["sessions"]["items"].as_array().map(Vec::len), Some(2));
    assert!(own.get("notes").is_none());
    let segments: Vec<_> =
        own["segments"].as_array().unwrap().iter().map(|of| &of["segment"]).collect();
    assert_eq!(segments, ["a", "b"], "in the order of their codes");
    assert_eq!(staffs["segments"], own["segments"]);
    // A list that is longer goes on where it has its own route.
    assert_eq!(staffs["notes"]["items"].as_array().map(Vec::len), Some(25));
    let cursor = staffs["notes"]["next_cursor"].as_str().unwrap();
    let rest = format!("{admin}/notes?cursor={cursor}");
    let rest = node.get(&rest).bearer(key).send().await.expect(200).json();
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(2));
    let plain = shopper.get(&node, "/v1/me").send().await.expect(200).json();
    assert!(parts.iter().all(|part| plain.get(part).is_none()), "{plain}");
    unknown_parts(&shop, &node, &shopper).await;
}

async fn unknown_parts(shop: &Shop, node: &crate::harness::Api, shopper: &Shopper) {
    let admin = format!("/v1/admin/customers/{}", shopper.id);
    for words in ["orders", "segment", "notes,orders", "", "profile,", "Profile"] {
        let answer =
            node.get(&format!("{admin}?expand={words}")).bearer(&shop.staff_key).send().await;
        let answer = answer.problem(422, "validation_failed");
        assert_eq!(answer.faults(), ["expand unknown_value"], "{words}");
        assert!(answer.text().contains("sessions, stats, segments, notes"), "{}", answer.text());
    }
    let notes = shopper.get(node, "/v1/me?expand=notes").send().await;
    let notes = notes.problem(422, "validation_failed");
    assert!(notes.text().contains("identities, sessions, stats, segments."), "{}", notes.text());
    let nobody = "/v1/admin/customers/01890000-0000-7000-8000-000000000000?expand=profile";
    node.get(nobody).bearer(&shop.staff_key).send().await.problem(404, "not_found");
    let (_, other) = shop.key("groups:write");
    let refused = node.get(&format!("{admin}?expand=notes")).bearer(&other).send().await;
    refused.problem(403, "insufficient_scope");
    shopper.get(node, &admin).send().await.problem(401, "unauthorized");
}

/// A wire to the database on which every answer takes its time, and which counts how often one side
/// waits for the other: the round trips.
struct SlowWire {
    url: String,
    trips: Arc<AtomicUsize>,
}

const DELAY: Duration = Duration::from_millis(40);

impl SlowWire {
    async fn to(database: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut url = url::Url::parse(database).unwrap();
        let far = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
        url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
        let trips = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&trips);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(far.clone()).await.unwrap();
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                let answered = Arc::new(AtomicBool::new(true));
                tokio::spawn(ask(near_in, far_out, Arc::clone(&answered), Arc::clone(&counted)));
                tokio::spawn(answer(far_in, near_out, answered));
            }
        });
        Self { url: url.into(), trips }
    }
}

async fn ask(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    answered: Arc<AtomicBool>,
    trips: Arc<AtomicUsize>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if answered.swap(false, Ordering::AcqRel) {
            trips.fetch_add(1, Ordering::AcqRel);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn answer(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    answered: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        tokio::time::sleep(DELAY).await;
        answered.store(true, Ordering::Release);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_parts_travel_in_one_round_trip() {
    let shop = Shop::new().await;
    let node = shop.node().await;
    let body = json!({ "email": address(), "first_name": "A", "last_name": "B" });
    let made = node.post("/v1/admin/customers", body).bearer(&shop.staff_key).send().await;
    let made: Value = made.expect(201).json();
    let id = CustomerId(made["id"].as_str().unwrap().parse().unwrap());
    let wire = SlowWire::to(&shop.database.service_url).await;
    let settings =
        DatabaseSettings { url: wire.url.clone(), pool_size: 1, ..shop.database.settings() };
    let database = Database::new(settings, tokio::runtime::Handle::current());
    let read = |parts: Parts| {
        let (database, trips) = (database.clone(), Arc::clone(&wire.trips));
        let now = SystemClock.now();
        async move {
            let before = trips.load(Ordering::Acquire);
            let found = database
                .read(move |connection| Box::pin(whole::find(connection, id, parts, now, 26)));
            let found = found.await.unwrap().expect("the customer");
            (found, trips.load(Ordering::Acquire) - before)
        }
    };
    // The first time statements are prepared.
    read(Parts::ALL).await;
    let (one, alone) = read(Parts::default()).await;
    let (all, together) = read(Parts::ALL).await;
    println!("{alone} round trip for the customer alone, {together} with all parts");
    assert_eq!((alone, together), (1, 1));
    assert_eq!(one.customer, all.customer);
    assert!(all.profile.is_some() && all.notes.is_some() && one.profile.is_none());
}
